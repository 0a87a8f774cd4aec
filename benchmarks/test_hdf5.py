"""HDF5: contiguous datasets compared with the limit, chunked ones with h5py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from roiextractors_hdf5.dataset import Hdf5Dataset

import roiextractors_core as roi
from benchmarks import rivals
from benchmarks.conftest import READS, Beside

COUNT, ROWS, COLUMNS = 400, 512, 512
TARGETS = {"sequential": 0.85, "scattered": 0.7, "single": 0.5}
PACKED: dict[str, dict[str, Any]] = {
    "gzip": {"chunks": (1, ROWS, COLUMNS), "compression": "gzip", "compression_opts": 1},
    "gzip and shuffle": {"chunks": (1, ROWS, COLUMNS), "compression": "gzip", "compression_opts": 1, "shuffle": True},
    "gzip in tiles": {"chunks": (13, 32, 64), "compression": "gzip", "compression_opts": 1, "shuffle": True},
    "LZF in tiles": {"chunks": (8, 64, 64), "compression": "lzf", "shuffle": True},
    "uncompressed chunks": {"chunks": (1, ROWS, COLUMNS)},
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("movie") / "movie.h5"
    movie = np.random.default_rng(1).poisson(200, (COUNT, ROWS, COLUMNS)).astype(np.uint16)
    with h5py.File(found, "w") as file:
        file["plain"] = movie
        for name, how in PACKED.items():
            file.create_dataset(name, data=movie[: COUNT // 2], **how)
    return found


def dataset(path: Path, name: str) -> Any:
    return h5py.File(path, "r", locking=False)[name]


@pytest.mark.parametrize("what", READS)
def test_reading_plain_datasets(path: Path, what: str, beside: Beside) -> None:
    start = Hdf5Dataset(path, "plain").layout.offset
    offsets = [start + k * ROWS * COLUMNS * 2 for k in range(COUNT)]
    others: dict[str, Callable[[], Any]] = {
        "os.preadv": partial(rivals.preadv, path, offsets, (ROWS, COLUMNS), np.uint16),
        "h5py": partial(rivals.array, partial(dataset, path, "plain")),
    }
    with roi.open(path, dataset="plain") as recording:
        beside.reading("HDF5, contiguous", what, recording, others, targets=TARGETS)


@pytest.mark.parametrize("what", [what for what in READS if what != "scattered"])
@pytest.mark.parametrize("name", PACKED)
def test_reading_chunked_datasets(path: Path, name: str, what: str, beside: Beside) -> None:
    others = {"h5py": partial(rivals.array, partial(dataset, path, name))}
    with roi.open(path, dataset=name) as recording:
        beside.reading(f"HDF5, {name}", what, recording, others)


def test_frames_one_by_one_out_of_long_chunks(path: Path, beside: Beside) -> None:
    ours, theirs = Hdf5Dataset(path, "gzip in tiles"), dataset(path, "gzip in tiles")
    beside(
        "HDF5, gzip in tiles, 26 frames in order",
        lambda: [ours.read(slice(k, k + 1)) for k in range(26)],
        {"h5py": lambda: [theirs[k : k + 1] for k in range(26)]},
        group="single",
        per=26,
    )
    theirs.file.close()


@pytest.mark.parametrize("name", ["one frame per chunk", "tiles"])
def test_reading_what_roiextractors_reads(tmp_path: Path, name: str, beside: Beside) -> None:
    """roiextractors reads a file with one dataset of four axes, the channel first."""
    path = tmp_path / "movie.h5"
    movie = np.random.default_rng(1).poisson(200, (100, ROWS, COLUMNS)).astype(np.uint16)
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "mov", data=movie[None], chunks=(1, 1, ROWS, COLUMNS) if name != "tiles" else (1, 10, 64, 64)
        )
    others = {"roiextractors": partial(rivals.roiextractors, "Hdf5ImagingExtractor", str(path), "mov", 30.0)}
    with roi.open(path, dimension_order="CTYX") as recording:
        beside.reading(f"HDF5, one dataset, {name}", "sequential", recording, others)


def test_opening(path: Path, beside: Beside) -> None:
    def by_h5py() -> None:
        with h5py.File(path, "r", locking=False) as file:
            file["gzip"].shape  # noqa: B018 - what opening has to find

    beside(
        "HDF5",
        lambda: roi.open(path, dataset="gzip").close(),
        {"h5py": by_h5py},
        group="opening",
        limit="h5py",
        at_most=20,
        note="h5py is given the format and the path of the dataset",
    )

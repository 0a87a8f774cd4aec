"""OME-Zarr compared with zarr: chunks of one frame and of many, compressed and not."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import roiextractors_core as roi
from benchmarks import rivals
from benchmarks.conftest import READS, Beside

COUNT, ROWS, COLUMNS = 200, 512, 512
KINDS: dict[str, dict[str, Any]] = {
    "one frame per chunk": {"chunks": (1, ROWS, COLUMNS), "compressors": None},
    "tiles of ten frames": {"chunks": (10, 128, 128), "compressors": None},
    "one frame per chunk, zstd": {"chunks": (1, ROWS, COLUMNS), "compressors": "auto"},
}


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("movie") / "movie.ome.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    movie = np.random.default_rng(1).poisson(200, (COUNT, ROWS, COLUMNS)).astype(np.uint16)
    group.create_array("0", data=movie, **KINDS[request.param])
    axes = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    scales: Any = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": scales}
    return request.param, path


def held(path: Path) -> Any:
    return zarr.open_array(path / "0", mode="r")


@pytest.mark.parametrize("what", [what for what in READS if what != "scattered"])
def test_reading(kind: tuple[str, Path], what: str, beside: Beside) -> None:
    name, path = kind
    with roi.open(path) as recording:
        beside.reading(f"OME-Zarr, {name}", what, recording, {"zarr": partial(rivals.array, partial(held, path))})


def test_reading_scattered_frames(kind: tuple[str, Path], beside: Beside) -> None:
    name, path = kind
    indices, dataset = np.random.default_rng(1).permutation(COUNT)[:100], held(path)
    with roi.open(path) as recording:
        beside(
            f"OME-Zarr, {name}, 100 random frames",
            lambda: recording.get_samples(indices),
            {"zarr": lambda: dataset.oindex[indices]},
            group="scattered",
            nbytes=100 * ROWS * COLUMNS * 2,
        )


def test_opening(kind: tuple[str, Path], beside: Beside) -> None:
    name, path = kind
    note = "zarr is given the path of the array and does not read the OME metadata"
    theirs = {"zarr": partial(held, path)}
    beside(f"OME-Zarr, {name}", lambda: roi.open(path).close(), theirs, group="opening", limit="zarr", note=note)

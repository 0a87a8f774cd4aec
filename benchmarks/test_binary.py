"""Uncompressed movies of plain arrays: raw bytes, .npy, suite2p binaries, CaImAn memory maps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from benchmarks import rivals
from benchmarks.conftest import READS, Beside

COUNT, ROWS, COLUMNS = 400, 512, 512
SHAPE = (ROWS, COLUMNS)
MAPPED = "a memory map touches only the requested bytes, but a disk error would then kill the process"
TARGETS = {"sequential": 0.85, "scattered": 0.7, "single": 0.5}


def written(path: Path, dtype: str, count: int = COUNT) -> Path:
    frame = np.arange(ROWS * COLUMNS).astype(dtype)
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as stream:
        for k in range(count):
            stream.write(np.roll(frame, k).tobytes())
    return path


def suite2p(folder: Path, planes: int = 1, **more: object) -> Path:
    ops = {"nplanes": planes, "nchannels": 1, "Ly": ROWS, "Lx": COLUMNS, "nframes": COUNT, "fs": 30.0}
    written(folder / "data.bin", "<i2")
    np.save(folder / "ops.npy", {**ops, **more}, allow_pickle=True)  # type: ignore[arg-type]
    return folder / "data.bin"


@pytest.fixture(scope="module", params=["raw", "raw, non-native byte order", ".npy", "suite2p", "CaImAn, order F"])
def kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, dict[str, Any], str]:
    """Return the name of a kind, its file, the options of `open`, and the dtype of its samples."""
    folder, name = tmp_path_factory.mktemp("movie"), request.param
    if name == ".npy":
        np.save(folder / "movie.npy", np.arange(COUNT * ROWS * COLUMNS, dtype="<u2").reshape(COUNT, *SHAPE))
        return name, folder / "movie.npy", {}, "<u2"
    if name == "suite2p":
        pictures: Any = {key: np.zeros(SHAPE, np.float32) for key in ("meanImg", "meanImgE", "max_proj", "Vcorr")}
        return name, suite2p(folder, **pictures, regPC=np.zeros((2, 30, *SHAPE), np.float32)), {}, "<i2"
    if name == "CaImAn, order F":
        path = folder / f"Yr_d1_{COLUMNS}_d2_{ROWS}_d3_1_order_F_frames_{COUNT}.mmap"
        return name, written(path, "<f4"), {}, "<f4"
    dtype = "<u2" if name == "raw" else ">u2"
    return name, written(folder / "movie.raw", dtype), {"shape": (COUNT, *SHAPE), "dtype": dtype}, dtype


def others(name: str, path: Path, dtype: str) -> dict[str, Callable[[], Any]]:
    start = path.stat().st_size - COUNT * ROWS * COLUMNS * np.dtype(dtype).itemsize
    size = ROWS * COLUMNS * np.dtype(dtype).itemsize
    native = np.dtype(dtype).newbyteorder("=")
    offsets = [start + k * size for k in range(COUNT)]
    found: dict[str, Callable[[], Any]] = {"os.preadv": partial(rivals.preadv, path, offsets, SHAPE, native)}
    if name == ".npy":  # roiextractors interprets the axes differently
        found["numpy.memmap"] = partial(rivals.array, partial(np.load, path, mmap_mode="r"))
    elif name != "CaImAn, order F":
        mapped = partial(np.memmap, path, dtype, "r", shape=(COUNT, *SHAPE))
        found["numpy.memmap"] = partial(rivals.array, mapped)
    return found


@pytest.mark.parametrize("what", READS)
def test_reading(kind: tuple[str, Path, dict[str, Any], str], what: str, beside: Beside) -> None:
    name, path, options, dtype = kind
    is_swapped = dtype == ">u2"
    with roi.open(path, **options) as recording:
        beside.reading(
            name,
            what,
            recording,
            others(name, path, dtype),
            targets={} if is_swapped else TARGETS,
            unequal=("os.preadv",) if is_swapped or name.startswith("CaImAn") else (),
            note="; ".join(["the limit does not swap bytes"] * is_swapped + [MAPPED] * (what in ("single", "part"))),
        )


def test_opening(kind: tuple[str, Path, dict[str, Any], str], beside: Beside) -> None:
    name, path, options, _ = kind
    theirs: dict[str, Callable[[], object]] = {}
    if name == ".npy":
        theirs["numpy.memmap"] = lambda: np.load(path, mmap_mode="r")
    beside(
        name,
        lambda: roi.open(path, **options).close(),
        theirs,
        group="opening",
        at_most=20,
        limit="numpy.memmap",
        note="" if name != ".npy" else "numpy is given the format",
    )


@pytest.mark.parametrize("count", [1, 10, 100, 400])
def test_frames_of_caiman_in_order_c(tmp_path: Path, count: int, beside: Beside) -> None:
    path = written(tmp_path / f"Yr_d1_{COLUMNS}_d2_{ROWS}_d3_1_order_C_frames_{COUNT}.mmap", "<f4")

    def mapped() -> np.ndarray:
        start = 0 if count == COUNT else 200
        return np.array(np.memmap(path, "<f4", "r", shape=(ROWS * COLUMNS, COUNT))[:, start : start + count])

    start = 0 if count == COUNT else 200
    with roi.open(path) as recording:
        beside(
            f"CaImAn, order C, {count} {'frame' if count == 1 else 'frames'}",
            lambda: recording.get_series(start, start + count),
            {"numpy.memmap": mapped},
            group="sequential",
            nbytes=count * recording.nbytes // COUNT,
            unequal=("numpy.memmap",),
            note=f"the file stores all frames of one pixel together, and numpy's copy keeps that order; {MAPPED}",
        )


def test_volumes_of_suite2p(tmp_path: Path, beside: Beside) -> None:
    paths = [suite2p(tmp_path / f"plane{k}", planes=3) for k in range(3)]
    offsets = [k * ROWS * COLUMNS * 2 for k in range(COUNT)]

    def limit() -> np.ndarray:
        found = []
        for path in paths:
            with rivals.preadv(path, offsets, SHAPE, "<i2") as read:
                found.append(read(None, None))
        return found[0]

    with roi.open(tmp_path) as recording:
        beside(
            "suite2p, volumes of 3 planes",
            recording.get_series,
            {"os.preadv": limit},
            group="sequential",
            nbytes=recording.nbytes,
            limit="os.preadv",
            at_least=0.85,
            unequal=("os.preadv",),
            note="the limit does not interleave the planes",
        )

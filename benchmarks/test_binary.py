"""Uncompressed movies against the physical limit: `os.preadv` of the same bytes into a new array, in the same run."""

from __future__ import annotations

import functools
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

COUNT, ROWS, COLUMNS = 1000, 512, 512
SCATTERED = np.random.default_rng(1).permutation(COUNT)[:200].tolist()


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    result = call()
    took = time.perf_counter() - started
    del result
    return took


def ratio(limit: Callable[[], object], ours: Callable[[], object], rounds: int = 7) -> float:
    pairs = [(seconds(limit), seconds(ours)) for _ in range(rounds)]
    return statistics.median(a / b for a, b in pairs[1:])


def opening(path: Path, **options: Any) -> str:
    times = [seconds(lambda: roi.open(path, **options).close()) for _ in range(15)]
    return f"opening {statistics.median(times) * 1e3:.2f} ms (wanted < 20)"


def written(path: Path, dtype: str) -> Path:
    frame = np.arange(ROWS * COLUMNS).astype(dtype)
    with path.open("wb") as stream:
        for k in range(COUNT):
            stream.write(np.roll(frame, k).tobytes())
    return path


class Limit:
    """The same bytes by `os.preadv` alone."""

    def __init__(self, path: Path, frame_bytes: int) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)
        self.size = path.stat().st_size
        self.frame_bytes = frame_bytes

    def whole(self) -> np.ndarray:
        result, at = np.empty(self.size, np.uint8), 0
        while at < self.size:
            at += os.preadv(self.descriptor, [result[at:]], at)
        return result

    def frames(self, indices: list[int]) -> np.ndarray:
        result = np.empty((len(indices), self.frame_bytes), np.uint8)
        for frame, index in zip(result, indices, strict=True):
            os.preadv(self.descriptor, [frame], index * self.frame_bytes)
        return result


def report(name: str, path: Path, frame_bytes: int, **options: Any) -> None:
    limit = Limit(path if path.is_file() else path / "data.bin", frame_bytes)
    with roi.open(path, **options) as recording:
        whole = ratio(limit.whole, recording.get_series)
        scattered = ratio(lambda: limit.frames(SCATTERED), lambda: recording.get_samples(SCATTERED))
        singles = SCATTERED[:50]
        one = ratio(
            lambda: [limit.frames([k]) for k in singles], lambda: [recording.get_series(k, k + 1) for k in singles]
        )
    os.close(limit.descriptor)
    print(
        f"\n{name}: preadv / ours, the whole {whole:.2f} (wanted >= 0.85), 200 scattered frames {scattered:.2f}, "
        f"50 single frames {one:.2f}; {opening(path, **options)}"
    )


def test_suite2p(tmp_path: Path) -> None:
    written(tmp_path / "data.bin", "<i2")
    ops = {"nplanes": 1, "nchannels": 1, "Ly": ROWS, "Lx": COLUMNS, "nframes": COUNT, "fs": 30.0}
    pictures = {name: np.zeros((ROWS, COLUMNS), np.float32) for name in ("meanImg", "meanImgE", "max_proj", "Vcorr")}
    held = {**ops, **pictures, "regPC": np.zeros((2, 30, ROWS, COLUMNS), np.float32)}
    np.save(tmp_path / "ops.npy", held, allow_pickle=True)  # type: ignore[arg-type]
    report("suite2p data.bin", tmp_path, ROWS * COLUMNS * 2)


def test_raw(tmp_path: Path) -> None:
    path = written(tmp_path / "movie.raw", "<u2")
    report("raw", path, ROWS * COLUMNS * 2, shape=(COUNT, ROWS, COLUMNS), dtype="<u2")


def test_raw_of_the_other_byte_order(tmp_path: Path) -> None:
    path = written(tmp_path / "movie.raw", ">u2")
    report("raw, big endian (the limit does not swap)", path, ROWS * COLUMNS * 2, shape=(ROWS, COLUMNS), dtype=">u2")


def test_caiman_in_order_f(tmp_path: Path) -> None:
    path = written(tmp_path / f"Yr_d1_{COLUMNS}_d2_{ROWS}_d3_1_order_F_frames_{COUNT}.mmap", "<f4")
    report("CaImAn, order F", path, ROWS * COLUMNS * 4)


def test_caiman_in_order_c(tmp_path: Path) -> None:
    path = written(tmp_path / f"Yr_d1_{COLUMNS}_d2_{ROWS}_d3_1_order_C_frames_{COUNT}.mmap", "<f4")
    limit = Limit(path, 0)
    with roi.open(path) as recording:
        print(
            f"\nCaImAn, order C: preadv / ours, the whole {ratio(limit.whole, recording.get_series):.2f} (wanted >= 0.85)"
        )

        def mapped(start: int, stop: int) -> np.ndarray:
            return np.array(np.memmap(path, "<f4", "r", shape=(ROWS * COLUMNS, COUNT))[:, start:stop])

        for count in (1, 10, 100, 400, 600):
            found = ratio(
                functools.partial(mapped, 300, 300 + count), functools.partial(recording.get_series, 300, 300 + count)
            )
            print(f"CaImAn, order C: numpy.memmap's strided copy / ours, {count} frames: {found:.2f} (wanted >= 0.85)")
    os.close(limit.descriptor)
    print(opening(path))


@pytest.mark.parametrize("planes", [3])
def test_volumes_of_suite2p(tmp_path: Path, planes: int) -> None:
    for k in range(planes):
        folder = tmp_path / f"plane{k}"
        folder.mkdir()
        written(folder / "data.bin", "<i2")
        ops = {"nplanes": planes, "nchannels": 1, "Ly": ROWS, "Lx": COLUMNS, "nframes": COUNT, "fs": 10.0}
        np.save(folder / "ops.npy", ops, allow_pickle=True)  # type: ignore[arg-type]
    limits = [Limit(tmp_path / f"plane{k}" / "data.bin", ROWS * COLUMNS * 2) for k in range(planes)]
    with roi.open(tmp_path) as recording:
        found = ratio(lambda: [limit.whole() for limit in limits], recording.get_series)
    for limit in limits:
        os.close(limit.descriptor)
    print(f"\nsuite2p, volumes of {planes} planes: preadv / ours {found:.2f} (wanted >= 0.85); {opening(tmp_path)}")

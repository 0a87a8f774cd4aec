"""Reading and opening TIFF against the physical limit: `os.preadv` of the same bytes into a new array, in the same run."""

from __future__ import annotations

import functools
import os
import statistics
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from roiextractors_tiff.pages import PageIndex

import roiextractors_core as roi

COUNT, ROWS, COLUMNS = 1000, 512, 512
SCATTERED = np.random.default_rng(1).permutation(COUNT)[:200]


def write_paged(path: Path, count: int, rows: int, columns: int, *, sparse: bool = False) -> None:
    """Write BigTIFF pages at equal distances: directory, a description of 2,000 bytes, pixels."""
    size = rows * columns * 2
    head = 8 + 20 * 11 + 8
    step = head + 2000 + size
    with path.open("wb") as stream:
        stream.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16))
        stream.truncate(16 + count * step)
        for k in range(count):
            at = 16 + k * step
            values = {
                256: columns,
                257: rows,
                258: 16,
                259: 1,
                262: 1,
                270: at + head,
                273: at + head + 2000,
                277: 1,
                278: rows,
                279: size,
                339: 2,
            }
            stream.seek(at)
            stream.write(struct.pack("<Q", len(values)))
            for code, value in values.items():
                kind, number = (2, 2000) if code == 270 else (16, 1)
                stream.write(struct.pack("<HHQQ", code, kind, number, value))
            stream.write(struct.pack("<Q", at + step if k < count - 1 else 0))
            if not sparse:
                stream.write(b"frameNumbers = 1".ljust(2000, b"\0") + np.full(rows * columns, k, "<i2").tobytes())


@pytest.fixture(scope="module", params=["contiguous", "paged"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("movie") / f"{request.param}.tif"
    if request.param == "paged":
        write_paged(found, COUNT, ROWS, COLUMNS)
    else:
        tifffile.imwrite(found, np.arange(COUNT * ROWS * COLUMNS, dtype=np.int16).reshape(COUNT, ROWS, COLUMNS))
    return found


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    result = call()
    took = time.perf_counter() - started
    del result
    return took


def ratio(limit: Callable[[], object], ours: Callable[[], object], rounds: int = 7) -> float:
    pairs = [(seconds(limit), seconds(ours)) for _ in range(rounds)]
    return statistics.median(a / b for a, b in pairs[1:])


def page_offsets(path: Path) -> list[int]:
    with tifffile.TiffFile(path) as file:
        return [int(page.dataoffsets[0]) for page in file.pages]


def read_at(descriptor: int, offsets: list[int]) -> np.ndarray:
    result = np.empty((len(offsets), ROWS, COLUMNS), np.int16)
    for frame, offset in zip(result, offsets, strict=True):
        os.preadv(descriptor, [frame], offset)
    return result


def test_consecutive_scattered_and_single_frames_against_preadv(path: Path) -> None:
    offsets = page_offsets(path)
    recording = roi.open(path)
    descriptor = os.open(path, os.O_RDONLY)

    def whole() -> np.ndarray:
        result = np.empty(COUNT * ROWS * COLUMNS * 2, np.uint8)
        os.preadv(descriptor, [result], offsets[0])
        return result

    scattered = [offsets[k] for k in SCATTERED]
    indices = SCATTERED.tolist()
    print(
        f"\n{path.stem}: 1,000 consecutive frames, ours / preadv: {ratio(whole, recording.get_series):.2f} (wanted >= 0.9)"
    )
    print(
        f"{path.stem}: 200 scattered frames: {ratio(lambda: read_at(descriptor, scattered), lambda: recording.get_samples(indices)):.2f} (wanted >= 0.7)"
    )
    limit = statistics.median(seconds(functools.partial(read_at, descriptor, [offset])) for offset in scattered)
    ours = statistics.median(seconds(functools.partial(recording.get_series, k, k + 1)) for k in indices)
    print(
        f"{path.stem}: one frame of {ROWS} x {COLUMNS}: {ours * 1e3:.3f} ms, preadv alone {limit * 1e3:.3f} ms (wanted < 0.05)"
    )
    tracemalloc.start()
    series = recording.get_series()
    print(
        f"{path.stem}: peak beyond the result: {(tracemalloc.get_traced_memory()[1] - series.nbytes) / 2**20:.1f} MiB (wanted < 32)"
    )
    tracemalloc.stop()
    os.close(descriptor)


def test_opening_costs_the_same_at_any_number_of_pages(tmp_path: Path) -> None:
    took = {}
    for count in (1000, 100_000):
        write_paged(tmp_path / f"{count}.tif", count, 64, 64, sparse=True)
        took[count] = statistics.median(
            seconds(functools.partial(PageIndex.of, tmp_path / f"{count}.tif")) for _ in range(9)
        )
        assert PageIndex.of(tmp_path / f"{count}.tif").num_pages == count
    print(
        f"\nopening 100,000 pages / 1,000 pages: {took[100_000] / took[1000]:.2f} ({took[100_000] * 1e3:.2f} ms; wanted < 2)"
    )


def test_detecting_a_tiff_among_all_formats(path: Path) -> None:
    roi.explain(path)
    took = statistics.median(seconds(lambda: roi.explain(path)) for _ in range(200))
    print(f"\n{path.stem}: detection among {len(roi.formats())} formats: {took * 1e3:.3f} ms (wanted < 1)")


def test_compressed_pages_against_tifffile(tmp_path: Path) -> None:
    movie = np.random.default_rng(0).poisson(20, (100, ROWS, COLUMNS)).astype(np.uint16)
    for compression in ("zlib", "lzw", "zstd"):
        tifffile.imwrite(tmp_path / "c.tif", movie, compression=compression, rowsperstrip=ROWS)
        recording = roi.open(tmp_path / "c.tif")
        found = ratio(lambda: tifffile.imread(tmp_path / "c.tif"), recording.get_series, rounds=4)
        print(f"\n{compression}: tifffile.imread / ours: {found:.2f}")

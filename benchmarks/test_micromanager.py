"""NDTiff against the physical limits: `os.preadv` of the same bytes, and the index of a long recording, in the same run."""

from __future__ import annotations

import json
import os
import statistics
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi

COUNT, ROWS, COLUMNS = 800, 512, 512
ENTRIES = 100_000
TEXT = json.dumps({"ElapsedTime-ms": 12.5, "PixelSizeUm": 0.5, "Camera": "Camera", "Filler": "x" * 3000}).encode()


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    result = call()
    took = time.perf_counter() - started
    del result
    return took


def ratio(limit: Callable[[], object], ours: Callable[[], object], rounds: int = 7) -> float:
    pairs = [(seconds(limit), seconds(ours)) for _ in range(rounds)]
    return statistics.median(a / b for a, b in pairs[1:])


def write_dataset(
    folder: Path, count: int, rows: int, columns: int, axes: Callable[[int], dict[str, object]]
) -> list[int]:
    """Frames one behind the other with their metadata, without directories, and the index of them."""
    name, places, index = "movie_NDTiffStack.tif", [], []
    summary = json.dumps({"Interval_ms": 50.0}).encode()
    with (folder / name).open("wb") as stream:
        stream.write(struct.pack("<2sHI5I", b"II", 42, 0, 483729, 3, 3, 2355492, len(summary)) + summary)
        for k in range(count):
            at = stream.tell()
            places.append(at)
            stream.write(np.full((rows, columns), k % 65536, "<u2").tobytes() + TEXT)
            key = json.dumps(axes(k), separators=(",", ":")).encode()
            numbers = (at, columns, rows, 1, 0, at + 2 * rows * columns, len(TEXT), 0)
            index.append(
                struct.pack("<I", len(key))
                + key
                + struct.pack("<I", len(name))
                + name.encode()
                + struct.pack("<8I", *numbers)
            )
    (folder / "NDTiff.index").write_bytes(b"".join(index))
    return places


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    folder = tmp_path_factory.mktemp("movie")
    return folder, write_dataset(folder, COUNT, ROWS, COLUMNS, lambda k: {"channel": "GFP", "time": k})


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    write_dataset(folder, ENTRIES, 4, 4, lambda k: {"z": k % 5, "channel": "GFP", "position": 0, "time": k // 5})
    return folder


@pytest.mark.parametrize("what", ["all", "one by one", "scattered"])
def test_reading(movie: tuple[Path, list[int]], what: str) -> None:
    folder, places = movie
    descriptor = os.open(folder / "movie_NDTiffStack.tif", os.O_RDONLY)
    chosen = np.random.default_rng(1).permutation(COUNT)[:200] if what == "scattered" else np.arange(COUNT)

    def read(frames: np.ndarray) -> np.ndarray:
        result = np.empty((len(frames), ROWS, COLUMNS), np.uint16)
        for frame, k in zip(result, frames.tolist(), strict=True):
            os.preadv(descriptor, [frame], places[k])
        return result

    with roi.open(folder) as recording:
        calls: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "all": (lambda: read(chosen), recording.get_series),
            "scattered": (lambda: read(chosen), lambda: recording.get_samples(chosen)),
            "one by one": (
                lambda: [read(chosen[k : k + 1]) for k in range(300)] and None,
                lambda: [recording.get_series(k, k + 1) for k in range(300)] and None,
            ),
        }
        print(f"\nNDTiff, {what}: {ratio(*calls[what]):.2f} of preadv")
    os.close(descriptor)


def test_opening_an_index_of_a_hundred_thousand_entries(many: Path) -> None:
    index = many / "NDTiff.index"
    read = min(seconds(index.read_bytes) for _ in range(5))
    ours = min(seconds(lambda: roi.open(many).close()) for _ in range(5))
    with roi.open(many) as recording:
        times = seconds(lambda: recording.get_native_timestamps(0, 5000))
    print(
        f"\n{ENTRIES:,} entries: opened in {ours:.3f} s; the bytes alone are read in {read:.3f} s; 5,000 times in {times:.3f} s"
    )

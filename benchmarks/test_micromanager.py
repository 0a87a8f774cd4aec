"""Micro-Manager NDTiff: frames, and the index of a long recording."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from benchmarks import rivals
from benchmarks.conftest import READS, Beside

COUNT, ROWS, COLUMNS = 400, 512, 512
TARGETS = {"sequential": 0.85, "scattered": 0.7, "single": 0.5}
TEXT = json.dumps({"ElapsedTime-ms": 12.5, "PixelSizeUm": 0.5, "Camera": "Camera", "Filler": "x" * 3000}).encode()


def write_dataset(
    folder: Path, count: int, rows: int, columns: int, axes: Callable[[int], dict[str, object]]
) -> list[int]:
    """Write frames followed by their metadata, and the index; there are no TIFF directories."""
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


@pytest.mark.parametrize("what", READS)
def test_reading(movie: tuple[Path, list[int]], what: str, beside: Beside) -> None:
    folder, places = movie
    stack = folder / "movie_NDTiffStack.tif"
    others = {"os.preadv": partial(rivals.preadv, stack, places, (ROWS, COLUMNS), np.uint16)}
    with roi.open(folder) as recording:
        beside.reading("NDTiff", what, recording, others, targets=TARGETS)


@pytest.mark.parametrize("count", [1000, 10_000, 100_000])
def test_opening_by_the_entries_of_the_index(tmp_path: Path, count: int, beside: Beside) -> None:
    write_dataset(tmp_path, count, 4, 4, lambda k: {"z": k % 5, "channel": "GFP", "position": 0, "time": k // 5})
    beside(
        "opening an NDTiff",
        lambda: roi.open(tmp_path).close(),
        {"reading the index": (tmp_path / "NDTiff.index").read_bytes},
        group="opening",
        limit="reading the index",
        growth=("frames in an index", count),
    )


def test_times(tmp_path: Path, beside: Beside) -> None:
    write_dataset(tmp_path, 5000, 4, 4, lambda k: {"channel": "GFP", "time": k})
    with roi.open(tmp_path) as recording:
        beside("NDTiff, times of 5,000 frames", lambda: recording.get_native_timestamps(0, 5000), group="times")

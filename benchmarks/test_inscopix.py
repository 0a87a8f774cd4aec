"""Inscopix .isxd movies, with and without a header and footer around each frame."""

from __future__ import annotations

import json
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from benchmarks import rivals
from benchmarks.conftest import READS, Beside

COUNT, ROWS, COLUMNS = 200, 800, 1280
FRAME, HEADER = ROWS * COLUMNS * 2, 2 * 1280 * 2
TARGETS = {"sequential": 0.85, "scattered": 0.7, "single": 0.5}


def write_movie(path: Path, *, headers: bool) -> None:
    rng = np.random.default_rng(0)
    with path.open("wb") as stream:
        for _ in range(COUNT):
            pixels = rng.integers(0, 4096, (ROWS, COLUMNS), dtype=np.uint16).tobytes()
            stream.write(bytes(HEADER) + pixels + bytes(HEADER) if headers else pixels)
        ratio = {"num": 50, "den": 1000}
        footer = {
            "type": 0,
            "dataType": 0,
            "fileVersion": 1,
            "hasFrameHeaderFooter": headers,
            "producer": {"name": "benchmark", "version": [1]},
            "extraProperties": {"producer": {"version": "1.9.0"}},
            "spacingInfo": {"numPixels": {"x": COLUMNS, "y": ROWS}},
            "timingInfo": {"numTimes": COUNT, "period": ratio, "start": {"secsSinceEpoch": ratio, "utcOffset": 0}},
        }
        text = json.dumps(footer).encode()
        stream.write(text + b"\0" + struct.pack("<q", len(text)))


@pytest.fixture(scope="module", params=["without_headers", "with_headers"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("movie") / f"{request.param}.isxd"
    write_movie(found, headers=request.param == "with_headers")
    return found


@pytest.mark.parametrize("what", READS)
def test_reading(path: Path, what: str, beside: Beside) -> None:
    around = HEADER if path.stem == "with_headers" else 0
    offsets = [k * (FRAME + 2 * around) + around for k in range(COUNT)]
    others = {"os.preadv": partial(rivals.preadv, path, offsets, (ROWS, COLUMNS), np.uint16)}
    with roi.open(path) as recording:
        beside.reading(f"isxd {path.stem.replace('_', ' ')}", what, recording, others, targets=TARGETS)


def test_opening(path: Path, beside: Beside) -> None:
    beside(f"isxd {path.stem.replace('_', ' ')}", lambda: roi.open(path).close(), group="opening", at_most=20)

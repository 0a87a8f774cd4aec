"""Olympus FluoView `.oib`: frames in the sectors of a compound file."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_olympus.compound import CompoundFile

import roiextractors_core as roi
from benchmarks import rivals
from benchmarks.conftest import READS, Beside
from roiextractors_core.io import PositionedFile

COUNT, ROWS, COLUMNS = 400, 512, 512
TARGETS = {"sequential": 0.85, "scattered": 0.7, "single": 0.5}
WRITER = Path(__file__).resolve().parents[1] / "plugins" / "olympus" / "tests" / "conftest.py"


def writer() -> Any:
    """Import the module with which the tests of the plugin write files."""
    spec = importlib.util.spec_from_file_location("writer_of_oib", WRITER)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(WRITER)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found._write_oib


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = np.arange(COUNT * ROWS * COLUMNS, dtype=np.uint16).reshape(COUNT, 1, 1, ROWS, COLUMNS)
    found: Path = writer()(tmp_path_factory.mktemp("movie") / "movie.oib", frames)
    return found


def places(path: Path) -> list[int]:
    """Return the offset of the pixels of each frame: they are the last bytes of a TIFF with two strips."""
    file = CompoundFile(PositionedFile(path))
    streams = [file.stream(f"Stream{2 * k + 2:05}") for k in range(COUNT)]
    return [stream.runs[0][0] + stream.size - ROWS * COLUMNS * 2 for stream in streams]


@pytest.mark.parametrize("what", READS)
def test_reading(movie: Path, what: str, beside: Beside) -> None:
    others = {
        "os.preadv": partial(rivals.preadv, movie, places(movie), (ROWS, COLUMNS), np.uint16),
        "oiffile": partial(rivals.oiffile, movie, COUNT),
    }
    with roi.open(movie) as recording:
        beside.reading("Olympus OIB", what, recording, others, targets=TARGETS)


def test_opening(movie: Path, beside: Beside) -> None:
    beside("Olympus OIB", lambda: roi.open(movie).close(), {"oiffile": partial(listed, movie)}, group="opening")


def listed(path: Path) -> None:
    """Read what oiffile needs to read frames: the series."""
    from oiffile import OifFile

    with OifFile(path) as file:
        len(file.series)

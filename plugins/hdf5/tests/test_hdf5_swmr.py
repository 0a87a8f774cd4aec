"""Files that a writer is still writing, in SWMR mode, in another process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.io.hdf5 import lookup3

WRITER = """
import sys, h5py, numpy
file = h5py.File(sys.argv[1], "w", libver="latest")
movie = file.create_dataset("mov", (0, 16, 18), "u2", maxshape=(None, 16, 18), chunks=(1, 16, 18), **eval(sys.argv[2]))
movie.attrs["fr"] = 20.0
file.swmr_mode = True
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "close":
        break
    first = len(movie)
    movie.resize(first + int(line), axis=0)
    for k in range(first, len(movie)):
        movie[k] = numpy.arange(16 * 18).reshape(16, 18) + k
    movie.flush()
    print(len(movie), flush=True)
file.close()
print("closed", flush=True)
"""


class Writer:
    """A process that records to a file."""

    def __init__(self, path: Path, how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, words: Any) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture(params=["{}", "{'compression': 'gzip', 'shuffle': True}"])
def writer(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Writer]:
    made = Writer(tmp_path / "live.h5", request.param)
    yield made
    made.end()


def frames(count: int) -> np.ndarray:
    return (np.arange(16 * 18).reshape(16, 18) + np.arange(count)[:, None, None]).astype(np.uint16)


def test_a_file_that_is_being_written_in_swmr_mode_reads_and_goes_on_being_read(tmp_path: Path, writer: Writer) -> None:
    writer.tell(30)
    with roi.open(tmp_path / "live.h5") as recording:
        assert recording.get_sampling_frequency() == 20.0
        np.testing.assert_array_equal(recording.get_series(0, 10), frames(10))
        assert any("still being written" in note for note in recording.get_notes())
        writer.tell(400)
        np.testing.assert_array_equal(recording.get_series(), frames(30))
        with roi.open(tmp_path / "live.h5") as again:
            np.testing.assert_array_equal(again.get_series(), frames(430))
            assert writer.tell("close") == "closed"
            np.testing.assert_array_equal(again.get_series(100, 200), frames(430)[100:200])
        np.testing.assert_array_equal(recording.get_series(), frames(30))


def test_another_file_in_the_place_of_one_that_was_being_written_is_an_error(tmp_path: Path, writer: Writer) -> None:
    writer.tell(30)
    with roi.open(tmp_path / "live.h5") as recording:
        recording.get_series(0, 1)
        writer.tell("close")
        with h5py.File(tmp_path / "live.h5", "w", libver="latest") as file:
            file.create_dataset("mov", data=np.full((300, 16, 18), 7, np.uint16), chunks=(1, 16, 18))
        with pytest.raises((roi.SourceReadError, roi.TruncatedRecordingError), match="again"):
            recording.get_series(5, 10)


@pytest.mark.parametrize("size", [0, 1, 11, 12, 13, 24, 44, 100])
def test_the_checksum_of_metadata_is_that_of_imagecodecs(size: int) -> None:
    data = bytes(range(size))
    assert lookup3(data) == imagecodecs.h5checksum_lookup3(data)

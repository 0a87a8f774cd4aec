"""Missing samples, and files that change between pickling and opening again."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.io import missing_chunks, missing_samples


class Lossy(roi.NumpyImagingExtractor):
    """An acquisition that lost samples: left out of the recording, or in their places."""

    def __init__(self, count: int, missing: list[int], *, keeps: bool) -> None:
        super().__init__(np.arange(count, dtype=np.uint16)[:, None, None] * np.ones((3, 4), np.uint16), 10.0)
        self.missing, self.keeps_missing_samples = missing, keeps

    def get_missing_samples(self) -> np.ndarray:
        return np.array(self.missing, np.int64)


def test_nothing_is_missing_unless_a_format_says_so() -> None:
    recording = roi.NumpyImagingExtractor(np.zeros((3, 4, 5)))
    assert recording.get_missing_samples().tolist() == []
    assert recording.get_missing_samples().dtype == np.int64


@pytest.mark.parametrize(
    ("start", "end", "missing"), [(0, 4, [1, 4]), (1, 3, []), (0, 2, [1]), (2, 4, [1]), (1, 4, [2]), (2, 2, [])]
)
def test_a_view_counts_the_missing_samples_that_are_left_out_from_its_first(
    start: int, end: int, missing: list[int]
) -> None:
    # Acquired were 0 to 5; 1 and 4 are lost, so that samples 0, 1, 2, 3 are acquisitions 0, 2, 3, 5
    assert Lossy(4, [1, 4], keeps=False).slice_samples(start, end).get_missing_samples().tolist() == missing


def test_a_view_of_samples_that_keep_their_places() -> None:
    view = Lossy(6, [1, 4], keeps=True).slice_samples(1, 5)
    assert view.keeps_missing_samples
    assert view.get_missing_samples().tolist() == [0, 3]


def test_joined_recordings_count_on() -> None:
    left_out, kept = Lossy(4, [1, 4], keeps=False), Lossy(6, [0], keeps=True)
    assert roi.concatenate([left_out, left_out]).get_missing_samples().tolist() == [1, 4, 7, 10]
    assert roi.concatenate([kept, kept]).get_missing_samples().tolist() == [0, 6]
    assert roi.stack_planes([kept, Lossy(6, [0, 3], keeps=True)]).get_missing_samples().tolist() == [0, 3]


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    np.save(tmp_path / "m.npy", np.arange(20 * 64, dtype=np.uint16).reshape(20, 8, 8))
    return tmp_path / "m.npy"


def replace(path: Path, values: Any) -> None:
    np.save(path.with_name("new.npy"), values)
    path.with_name("new.npy").replace(path)


@pytest.mark.parametrize(
    "way",
    [
        "in place",
        pytest.param(
            "another file", marks=pytest.mark.skipif(os.name == "nt", reason="Windows refuses to replace an open file")
        ),
    ],
)
@pytest.mark.parametrize(
    "values",
    [
        np.zeros((10, 16, 8), np.uint16),
        np.zeros((20, 8, 8), np.int16),
        np.ones((20, 8, 8), np.uint16),
        np.ones((40, 8, 8), np.uint16),
    ],
    ids=["shape", "dtype", "pixels", "longer"],
)
def test_a_movie_that_was_replaced_is_an_error_here_and_in_another_process(movie: Path, way: str, values: Any) -> None:
    recording = roi.open(movie)
    recording[0]
    pickled = pickle.dumps(recording)
    (np.save if way == "in place" else replace)(movie, values)
    os.utime(movie, ns=(1, 1))
    if way == "in place":
        with pytest.raises(roi.RoiExtractorsError, match="rewritten since"):
            recording[3]
    else:  # the first file is still open, though no path names it any more
        np.testing.assert_array_equal(recording[3], np.arange(3 * 64, 4 * 64).reshape(8, 8))
    with pytest.raises(roi.SourceReadError, match=r"m\.npy was replaced or modified since this recording was pickled"):
        pickle.loads(pickled)
    np.testing.assert_array_equal(roi.open(movie)[...], values)


def test_an_inode_that_was_used_again_is_told_from_the_first(movie: Path) -> None:
    recording = roi.open(movie)
    pickled = pickle.dumps(recording)
    recording.close()
    movie.unlink()
    np.save(movie, np.ones((20, 8, 8), np.uint16))
    with pytest.raises(roi.SourceReadError, match="was replaced or modified"):
        pickle.loads(pickled)


def test_a_movie_that_is_gone_is_named(movie: Path) -> None:
    pickled = pickle.dumps(roi.open(movie))
    movie.unlink()
    with pytest.raises(roi.SourceNotFoundError, match=r"m\.npy no longer exists"):
        pickle.loads(pickled)


def test_a_recording_names_the_files_that_it_reads(movie: Path, tmp_path: Path) -> None:
    recording = roi.open(movie)
    assert recording.get_paths() == (str(movie),)
    assert roi.NpyImagingExtractor(str(movie)).get_paths() == (str(movie),)
    np.save(tmp_path / "other.npy", np.zeros((3, 8, 8), np.uint16))
    both = roi.concatenate([recording.slice_samples(0, 3), roi.open(tmp_path / "other.npy")])
    assert both.get_paths() == (str(movie), str(tmp_path / "other.npy"))
    assert roi.NumpyImagingExtractor(np.zeros((3, 4, 5))).get_paths() == ()


def test_very_many_missing_samples_are_not_listed(tmp_path: Path) -> None:
    """A damaged description states billions of them: the list would take the memory."""
    assert missing_samples(5, 3).tolist() == [3, 4]
    assert missing_samples(3, 5).tolist() == []
    assert missing_samples(10**12, 3).tolist() == []
    assert missing_samples(6, np.array([0, 2, 5])).tolist() == [1, 3, 4]
    assert missing_samples(10**12, np.array([0, 2])).tolist() == [1]
    assert missing_samples(10**12, np.array([0, 10**11])).tolist() == []
    present = np.array([True, False, True])
    assert missing_chunks(present, axis=0, chunk=10**9, num_samples=3 * 10**9).num_missing == 1
    header = f"{{'descr': '<u2', 'fortran_order': False, 'shape': ({10**11}, 4, 5), }}".ljust(117) + "\n"
    (tmp_path / "a.npy").write_bytes(
        b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(range(240))
    )
    with pytest.warns(roi.IncompleteRecordingWarning, match="6 of 100,000,000,000 samples"):
        recording = roi.open(tmp_path / "a.npy", allow_missing=True)
    assert len(recording.get_missing_samples()) == 0

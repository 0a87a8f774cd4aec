"""Indices of chunks that contradict themselves, as fuzzing found them."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import CorruptRecordingError, TruncatedRecordingError


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(1).integers(0, 4000, (200, 8, 9)).astype(np.uint16)
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file.create_dataset("movie", data=pixels, chunks=(1, 8, 9), compression="gzip", shuffle=True)
    return tmp_path / "movie.h5"


def put(path: Path, chunk: int, *, place: int = 0, form: str, value: int) -> None:
    """Change the key of a chunk in the tree: its size (byte 0), its mask (4), the sample that it begins with (8), its address (40)."""
    with h5py.File(path) as file:
        info = file["movie"].id.get_chunk_info(chunk)
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<IIQQQQQ", info.size, 0, chunk, 0, 0, 0, info.byte_offset))
    struct.pack_into(form, content, at + place, value)
    path.write_bytes(content)


def read(path: Path) -> np.ndarray:
    with roi.open(path, format="hdf5") as recording:
        return recording.get_series()


def test_a_chunk_that_is_listed_twice_is_refused(movie: Path) -> None:
    put(movie, 51, place=8, form="<Q", value=50)
    with pytest.raises(
        CorruptRecordingError, match=r"index of movie contradicts itself: the chunk at \(50, 0, 0\) is listed twice"
    ):
        read(movie)


@pytest.mark.parametrize("mask", [0xFFFFFFFF, 0b10])
def test_a_short_chunk_that_is_marked_as_unfiltered_is_refused(movie: Path, mask: int) -> None:
    put(movie, 51, place=4, form="<I", value=mask)
    with pytest.raises(
        CorruptRecordingError, match=r"chunk at \(51, 0, 0\) of movie is marked as stored without filters but has"
    ):
        read(movie)


def test_a_chunk_at_an_address_beyond_all_files_is_cut(movie: Path) -> None:
    put(movie, 51, place=40, form="<Q", value=(1 << 63) + 5)
    with pytest.raises((TruncatedRecordingError, CorruptRecordingError)):
        read(movie)


@pytest.mark.parametrize("address", [(1 << 63) + 5, (1 << 63) - 9, 1 << 62])
def test_an_address_that_no_file_has_is_a_missing_chunk_of_a_truncated_file(movie: Path, address: int) -> None:
    pixels = read(movie)
    put(movie, 51, place=40, form="<Q", value=address)
    with movie.open("r+b") as stream:
        stream.truncate(movie.stat().st_size - 10)
    with pytest.warns(roi.IncompleteRecordingWarning):
        recording = roi.open(movie, format="hdf5")
    with recording:
        assert 51 in recording.get_missing_samples()
        assert np.array_equal(recording.get_series(0, 51), pixels[:51])


def test_a_sample_that_nothing_accounts_for_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file.create_dataset("movie", (3, 50_000, 50_000), "u2", chunks=(1, 64, 64))
    with pytest.raises(
        CorruptRecordingError, match=r"claims 5,000,000,000 bytes for one sample or chunk .* but has only 0 bytes"
    ):
        read(tmp_path / "movie.h5")


@pytest.mark.parametrize("count", [1, 200])
def test_a_chunk_that_went_to_a_place_outside_is_not_taken_for_one_never_written(movie: Path, count: int) -> None:
    put(movie, 51, place=8, form="<Q", value=1 << 50)
    with (
        roi.open(movie, format="hdf5") as recording,
        pytest.raises(
            CorruptRecordingError,
            match=r"a chunk at \(1125899906842624, 0, 0\), outside of its shape, .* one inside is missing",
        ),
    ):
        recording.get_series(51, min(51 + count, 200))


def test_chunks_that_were_never_written_are_the_fill_value(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        made = file.create_dataset("movie", (40, 8, 9), "u2", chunks=(1, 8, 9), compression="gzip", fillvalue=7)
        made[3] = 9
    with pytest.warns(roi.IncompleteRecordingWarning, match="39 of 40 chunks of the pixels are missing"):
        recording = roi.open(tmp_path / "movie.h5", format="hdf5")
    with recording:
        assert [int(recording.get_series(k, k + 1).max()) for k in (2, 3, 4)] == [7, 9, 7]
        assert recording.get_series().min() == 7


def test_a_dataset_of_billions_of_samples_that_were_never_written_opens_at_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("mov", (10**12, 64, 64), "<u2")
    with pytest.warns(roi.IncompleteRecordingWarning, match="1 chunk of the pixels is missing"):
        recording = roi.open(tmp_path / "m.h5", dimension_order="TYX")
    assert recording[10**11].max() == 0


def test_contiguous_samples_of_zeros_at_the_end_are_said_and_count_as_missing(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(1, 900, (9, 24, 32)).astype(np.uint16)
    frames[6:] = 0
    for name, count in (("cut.h5", 9), ("whole.h5", 6)):
        with h5py.File(tmp_path / name, "w") as file:
            file["mov"] = frames[:count]
    with pytest.warns(roi.IncompleteRecordingWarning, match="ends in zeros: after the first 6 of 9 samples") as seen:
        recording = roi.open(tmp_path / "cut.h5", dimension_order="TYX")
    with recording:
        assert str(seen[0].message) in recording.get_notes()
        assert recording.get_missing_samples().tolist() == [6, 7, 8]
        np.testing.assert_array_equal(recording.get_series(), frames)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        roi.open(tmp_path / "whole.h5", dimension_order="TYX").close()

"""The Zhuang lab's .dax with its .inf."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    IncompleteRecordingWarning,
    RoiExtractorsWarning,
    SourceNotFoundError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import ImagingExtractorTests

COUNT, ROWS, COLUMNS = 64, 96, 128
INF = """information file for
movie_0001.dax
software version = NA
machine name = none
data type = 16 bit integers (binary, {order} endian)
number of frames = {count}
frame size = {size}
frame dimensions = {columns} x {rows}
binning = 1 x 1
Exposure Time = 0.1
Frames Per Second = 9.8765
camera head = DU897_BV
x_start = 1
x_end = {columns}
y_start = 1
y_end = {rows}
Stage X = -1.50
notes = a = b
"""


def write_dax(folder: Path, movie: np.ndarray, order: str = "big", text: str = INF) -> Path:
    count, rows, columns = movie.shape
    marks = {"order": order, "count": count, "rows": rows, "columns": columns, "size": rows * columns}
    (folder / "movie_0001.inf").write_text(text.format(**marks))
    with (folder / "movie_0001.dax").open("wb") as stream:
        for frame in movie:
            for row in frame:
                stream.writelines(int(value).to_bytes(2, order) for value in row)  # type: ignore[arg-type]
    return folder / "movie_0001.dax"


def movie(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 60_000, shape, dtype=np.uint16)


class TestDax(ImagingExtractorTests):
    format = "dax"

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return movie(COUNT, ROWS, COLUMNS)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        return write_dax(tmp_path, expected)

    @pytest.fixture
    def expected_rate(self) -> float:
        return 9.8765

    @pytest.fixture
    def expected_times(self) -> None:
        return None


@pytest.mark.parametrize("order", ["big", "little"])
def test_either_file_opens_the_movie_in_its_byte_order(tmp_path: Path, order: str) -> None:
    expected = movie(3, 4, 6)
    dax = write_dax(tmp_path, expected, order)
    for path in (dax, dax.with_suffix(".inf")):
        with roi.open(path) as recording:
            np.testing.assert_array_equal(recording.get_series(), expected)
            assert recording.metadata.device == "DU897_BV"
            assert recording.metadata.vendor["notes"] == "a = b"
            assert recording.get_notes() == ()


def test_a_suffix_in_capitals_finds_its_neighbour(tmp_path: Path) -> None:
    expected = movie(3, 4, 6)
    dax = write_dax(tmp_path, expected)
    dax.with_suffix(".inf").rename(tmp_path / "movie_0001.INF")
    with roi.open(dax) as recording:
        np.testing.assert_array_equal(recording.get_series(), expected)


def test_a_renamed_movie_opens_with_its_format_named(tmp_path: Path) -> None:
    expected = movie(3, 4, 6)
    renamed = write_dax(tmp_path, expected).rename(tmp_path / "movie_0001")
    with roi.open(renamed, format="dax") as recording:
        np.testing.assert_array_equal(recording.get_series(), expected)


def test_the_cameras_region_decides_where_rows_stand_first(tmp_path: Path) -> None:
    expected = movie(3, 4, 6)
    dax = write_dax(tmp_path, expected, text=INF.replace("{columns} x {rows}", "{rows} x {columns}"))
    with roi.open(dax) as recording:
        np.testing.assert_array_equal(recording.get_series(), expected)
        assert recording.get_notes() == (
            "movie_0001.inf writes the frame dimensions as rows x columns: x_end and y_end show frames of 4 x 6",
        )


def test_a_cut_movie_gives_its_whole_frames_and_says_so(tmp_path: Path) -> None:
    expected = movie(5, 4, 6)
    dax = write_dax(tmp_path, expected)
    dax.write_bytes(dax.read_bytes()[: 4 * 6 * 2 * 3 + 7])
    with pytest.warns(
        IncompleteRecordingWarning, match=r"3 complete frames and 7 bytes of another, but movie_0001\.inf says 5"
    ):
        recording = roi.open(dax)
    with recording:
        np.testing.assert_array_equal(recording.get_series(), expected[:3])
        assert "is truncated" in recording.get_notes()[0]
    dax.write_bytes(b"1234567")
    with pytest.raises(
        TruncatedRecordingError, match=r"7 bytes, less than one frame \(48 bytes according to movie_0001\.inf\)"
    ):
        roi.open(dax)


def test_more_frames_than_were_promised_are_read_and_noted(tmp_path: Path) -> None:
    expected = movie(5, 4, 6)
    dax = write_dax(tmp_path, expected, text=INF.replace("{count}", "3"))
    with roi.open(dax) as recording:
        np.testing.assert_array_equal(recording.get_series(), expected)
        assert recording.get_notes() == ("movie_0001.dax contains 5 frames, but movie_0001.inf says 3; reading all 5",)
    dax.write_bytes(dax.read_bytes()[:-1])
    with roi.open(dax) as recording:
        np.testing.assert_array_equal(recording.get_series(), expected[:3])
        assert (
            "has 95 bytes after the 3 frames that movie_0001.inf describes; they are ignored"
            in recording.get_notes()[0]
        )


@pytest.mark.parametrize(
    ("count", "category", "words"),
    [
        (
            "2",
            RoiExtractorsWarning,
            r"contains 4 frames, but movie_0001\.inf says 2.* exactly 2 times as many, .*format='raw'",
        ),
        (
            "8",
            IncompleteRecordingWarning,
            r"4 complete frames, but movie_0001\.inf says 8.* exactly 1/2, .*format='raw'",
        ),
    ],
)
def test_a_description_of_another_recording_is_suspected_by_an_exact_factor(
    tmp_path: Path, count: str, category: type[Warning], words: str
) -> None:
    dax = write_dax(tmp_path, movie(4, 4, 6), text=INF.replace("{count}", count))
    with pytest.warns(category, match=words) as caught:
        recording = roi.open(dax)
    with recording:
        assert recording.get_notes() == (str(caught[0].message),)
        assert recording.get_missing_samples().tolist() == list(range(4, int(count)))


def test_an_inf_that_contradicts_itself_is_told(tmp_path: Path) -> None:
    dax = write_dax(tmp_path, movie(4, 4, 6), text=INF.replace("{size}", "48"))
    with pytest.warns(RoiExtractorsWarning, match=r"says frames of 48 pixels \(frame size\), but its .* are 24 pixels"):
        roi.open(dax).close()


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    dax = write_dax(tmp_path, movie(3, 4, 6))
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(dax, alone / "movie.dax")
    shutil.copy(dax.with_suffix(".inf"), alone / "other.inf")
    with pytest.raises(
        SourceNotFoundError, match=r"movie\.dax.* needed: movie\.inf, which does not exist; .*format='raw'"
    ):
        roi.open(alone / "movie.dax")
    with pytest.raises(
        SourceNotFoundError, match=r"other\.inf describes .* whose pixels are in other\.dax, which does not exist"
    ):
        roi.open(alone / "other.inf", format="dax")


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ("number of frames = {count}", "", CorruptRecordingError, "has no 'number of frames'"),
        ("{count}", "-3", CorruptRecordingError, "number of frames = '-3', which is not an integer of 1 or more"),
        ("{count}", "9" * 60, CorruptRecordingError, "which is not an integer of 1 or more"),
        ("frame dimensions", "frame_dimensions", CorruptRecordingError, "has no 'frame dimensions'"),
        ("{columns} x {rows}", "wide", CorruptRecordingError, "frame dimensions = 'wide'"),
        ("{columns} x {rows}", "0 x 4", CorruptRecordingError, "frame dimensions = '0 x 4'"),
        ("{columns} x {rows}", "4 x 00", CorruptRecordingError, "frame dimensions = '4 x 00'"),
        (", {order} endian", "", ChoiceError, r"does not say whether .*byte_order='big'"),
        ("16 bit integers", "64 bit floats", UnsupportedRecordingError, "8, 16 and 32 bit integers are supported"),
        ("machine", "\0", CorruptRecordingError, "is not a text file: it contains NUL bytes"),
    ],
)
def test_an_inf_that_does_not_say_what_is_needed_is_refused(
    tmp_path: Path, old: str, new: str, kind: type[Exception], words: str
) -> None:
    dax = write_dax(tmp_path, movie(3, 4, 6), text=INF.replace(old, new))
    with pytest.raises(kind, match=words):
        roi.open(dax)


def test_the_users_byte_order_fills_the_gap(tmp_path: Path) -> None:
    expected = movie(3, 4, 6)
    dax = write_dax(tmp_path, expected, text=INF.replace(", {order} endian", ""))
    with roi.open(dax, byte_order="big") as recording:
        np.testing.assert_array_equal(recording.get_series(), expected)
    with pytest.raises(ChoiceError, match="byte_order must be 'big' or 'little', got 'middle'"):
        roi.open(dax, byte_order="middle")

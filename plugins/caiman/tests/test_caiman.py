"""CaImAn's memory-mapped movies."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    RoiExtractorsError,
    TruncatedRecordingError,
    UnknownFormatError,
)
from roiextractors_core.registry.evidence import Strength
from roiextractors_core.testing import ImagingExtractorTests


def movie(*shape: int) -> np.ndarray:
    return np.random.default_rng(6).normal(size=shape).astype(np.float32)


def write(folder: Path, frames: np.ndarray, order: str, base: str = "memmap_", end: str = "_") -> Path:
    """Write value by value: pixel = row + d1 * (column + d2 * plane)."""
    count, d1, d2 = frames.shape[:3]
    d3 = frames.shape[3] if frames.ndim == 4 else 1
    volumes = frames.reshape(count, d1, d2, d3)
    pixels = [(row, column, plane) for plane in range(d3) for column in range(d2) for row in range(d1)]
    path = folder / f"{base}_d1_{d1}_d2_{d2}_d3_{d3}_order_{order}_frames_{count}{end}.mmap"
    with path.open("wb") as stream:
        if order == "F":
            for volume in volumes:
                stream.write(np.array([volume[p] for p in pixels], "<f4").tobytes())
        else:
            for row, column, plane in pixels:
                stream.write(volumes[:, row, column, plane].astype("<f4").tobytes())
    return path


class CaimanTests(ImagingExtractorTests):
    format = "caiman"
    order = "F"

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return movie(64, 48, 64)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        return write(tmp_path, expected, self.order)

    @pytest.fixture
    def expected_rate(self) -> None:
        return None

    @pytest.fixture
    def expected_times(self) -> None:
        return None


class TestFrames(CaimanTests):
    pass


class TestTimeCourses(CaimanTests):
    has_own_code = True
    order = "C"
    frames_are_contiguous = False


class TestVolumes(CaimanTests):
    @pytest.fixture
    def expected(self) -> np.ndarray:
        return movie(64, 30, 20, 4)


class TestTimeCoursesOfVolumes(CaimanTests):
    order = "C"
    frames_are_contiguous = False

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return movie(300, 7, 6, 4)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("planes", [1, 3])
def test_it_is_what_caimans_own_account_of_the_layout_gives(tmp_path: Path, order: Any, planes: int) -> None:
    """CaImAn maps (pixels, frames) in the order of the name, and reshapes the transpose in Fortran order."""
    frames = movie(40, 6, 5, planes) if planes > 1 else movie(40, 6, 5)
    path = write(tmp_path, frames, order)
    mapped = np.memmap(path, np.float32, "r", shape=(6 * 5 * planes, 40), order=order)
    wanted = np.reshape(mapped.T, (40, 6, 5, planes)[: 3 + (planes > 1)], order="F")
    np.testing.assert_array_equal(wanted, frames)
    with roi.open(path) as recording:
        assert recording.shape == wanted.shape
        for part in (slice(None), slice(3, 5), slice(10, 39), [39, 0, 7]):
            np.testing.assert_array_equal(recording[part], wanted[part])
            np.testing.assert_array_equal(recording[part, 1:4, 2:3], wanted[part, 1:4, 2:3])
    mapped._mmap.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name",
    [
        "memmap__d1_6_d2_5_d3_1_order_F_frames_7_.mmap",
        "Yr_d1_6_d2_5_d3_1_order_F_frames_7.mmap",
        "mouse_d1_9_rig__d1_6_d2_5_d3_1_order_F_frames_7_.mmap",
        "order_C_els__D1_6_D2_5_D3_1_ORDER_F_FRAMES_7_.MMAP",
        "a_frames_900_x_d1_6_d2_5_d3_1_order_F_frames_7 (copy).mmap",
    ],
)
def test_the_last_mention_in_the_name_counts(tmp_path: Path, name: str) -> None:
    frames = movie(7, 6, 5)
    path = write(tmp_path, frames, "F").rename(tmp_path / name)
    best = roi.explain(path).best
    assert best is not None
    assert best.strength is Strength.NAME
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames)
        assert recording.metadata.vendor == {"d1": "6", "d2": "5", "d3": "1", "order": "F", "frames": "7"}
        twice = "d1 (6)" if "d1_9" in name else "frames (7)" if "900" in name else ""
        words = f"gives {twice} more than once; using the last, as CaImAn does"
        assert [words in note for note in recording.get_notes()] == ([True] if twice else [])


@pytest.mark.parametrize(
    "name", ["memmap__d1_10_d2_11_d3_1_order_F_frames_12_.mmap", "memmap__d1_10_d2_11_d3_13_order_F_frames_12_.mmap"]
)
def test_real_files_have_the_size_that_their_names_say(recordings: Path, name: str) -> None:
    with roi.open(recordings / "caiman" / "mmap" / name) as recording:
        assert recording.shape == ((12, 10, 11) if "_d3_1_" in name else (12, 10, 11, 13))
        assert recording.dtype == np.float32
        assert not recording.get_series().any()
        assert recording.get_sampling_frequency() is None


@pytest.mark.parametrize(
    ("size", "kind", "words"),
    [
        (5 * 6 * 4 * 6, TruncatedRecordingError, "need 840; num_frames=6 would fit"),
        (5 * 6 * 4 * 9, CorruptRecordingError, "need 840; num_frames=9 would fit"),
        (5 * 6 * 8 * 7, CorruptRecordingError, "num_frames=14 or dtype='float64' would fit"),
        (5 * 6 * 2 * 7, TruncatedRecordingError, "7 frames of 6 x 5 float32 need 840; dtype='uint16' would fit"),
        (500, TruncatedRecordingError, "it has room for 4 frames and 20 more bytes, so it is truncated"),
    ],
)
def test_a_size_that_does_not_fit_the_name_is_refused_with_what_would(
    tmp_path: Path, size: int, kind: type[Exception], words: str
) -> None:
    path = tmp_path / "Yr_d1_6_d2_5_d3_1_order_C_frames_7.mmap"
    path.write_bytes(bytes(size))
    with pytest.raises(kind) as caught:
        roi.open(path)
    assert words in str(caught.value)


def test_a_cut_file_of_frames_opens_with_the_number_that_is_left(tmp_path: Path) -> None:
    frames = movie(7, 6, 5)
    path = write(tmp_path, frames, "F")
    path.write_bytes(path.read_bytes()[: 6 * 5 * 4 * 4])
    with roi.open(path, num_frames=4) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames[:4])


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_renamed_file_opens_with_what_the_name_said(tmp_path: Path, order: str) -> None:
    frames = movie(7, 6, 5, 2)
    path = write(tmp_path, frames, order).rename(tmp_path / "movie.mmap")
    with pytest.raises(UnknownFormatError):
        roi.open(path)
    with roi.open(path, format="caiman", dims=(6, 5, 2), num_frames=7, order=order) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("movie.mmap", {}, r"does not contain 'd1'; .* or pass dims=\(rows, columns\)"),
        ("x_d1_6_d2_5.mmap", {}, "does not contain 'd3'"),
        ("x_d1_6_d2_5_d3_1_order_F.mmap", {}, "does not contain 'frames'; .* pass num_frames="),
        ("x_d1_6_d2_5_d3_1_frames_7.mmap", {}, "does not contain 'order'; .* pass order='C' or order='F'"),
        ("x_d1_0_d2_5_d3_1_order_F_frames_7.mmap", {}, "must be two or three positive integers"),
        ("x_d1_6_d2_5_d3_1_order_F_frames_0.mmap", {}, "must be a positive integer, got 0"),
        ("x_d1_999999999999999_d2_5_d3_1_order_F_frames_7.mmap", {}, "must be two or three positive integers"),
        ("movie.mmap", {"dims": (6,)}, "must be two or three positive integers"),
        ("movie.mmap", {"dims": (6, 5.5)}, "must be two or three positive integers"),
        ("movie.mmap", {"dims": 6}, "must be two or three positive integers"),
        ("movie.mmap", {"dims": (6, 5), "num_frames": "7"}, "must be a positive integer, got '7'"),
        ("movie.mmap", {"dims": (6, 5), "num_frames": 7, "dtype": "O"}, "dtype must be one of float32"),
        ("movie.mmap", {"dims": (6, 5), "num_frames": 7, "order": "K"}, "order must be 'C' or 'F', got 'K'"),
    ],
)
def test_what_is_not_said_is_asked_for(tmp_path: Path, name: str, options: dict[str, Any], words: str) -> None:
    (tmp_path / name).write_bytes(bytes(6 * 5 * 7 * 4))
    with pytest.raises(ChoiceError, match=words):
        roi.open(tmp_path / name, format="caiman", **options)


def test_other_names_with_the_suffix_are_not_claimed(tmp_path: Path) -> None:
    for name in ("movie.mmap", "x_d1_6_d2_5.mmap", "d1_6_d2_5_d3_1_order_F_frames_7_.bin"):
        (tmp_path / name).write_bytes(bytes(840))
        assert "caiman" not in [match.spec.name for match in roi.explain(tmp_path / name).matches]


def test_random_names_end_in_one_of_our_errors(tmp_path: Path) -> None:
    rng = random.Random(11)
    letters = "_d123orderCFframes0123456789.²٣- "
    for _ in range(300):
        name = list("x_d1_6_d2_5_d3_1_order_F_frames_7_")
        for _ in range(rng.choice((1, 2, 5))):
            at = rng.randrange(len(name))
            name[at : at + rng.randrange(3)] = rng.choice(letters)
        path = tmp_path / f"{''.join(name)}.mmap"
        path.write_bytes(bytes(840))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                with roi.open(path, format="caiman") as recording:
                    recording.get_series()
            except RoiExtractorsError:
                pass
        path.unlink()


def test_dimensions_that_are_exchanged_in_the_name_are_suspected_by_the_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:40, :56]
    still = sum(30 * np.exp(-((y - rng.uniform(0, 40)) ** 2 + (x - rng.uniform(0, 56)) ** 2) / 20) for _ in range(14))
    frames = (still + rng.normal(0, 1, (5, 40, 56))).astype(np.float32)
    right = write(tmp_path, frames, "F")
    with roi.open(right) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames)
        assert recording.get_notes() == ()
    wrong = right.rename(tmp_path / "m_d1_56_d2_40_d3_1_order_F_frames_5_.mmap")
    words = r"look like lines of 40, but they are read as 56 rows of 40 columns; .*dims=\(40, 56\)"
    with pytest.warns(roi.RoiExtractorsWarning, match=words) as caught:
        recording = roi.open(wrong)
    with recording:
        assert str(caught[0].message) in recording.get_notes()
    with roi.open(wrong, dims=(40, 56)) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames)


def test_exchanged_rows_and_columns_of_volumes_are_suspected_by_a_plane(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:40, :56]
    still = sum(30 * np.exp(-((y - rng.uniform(0, 40)) ** 2 + (x - rng.uniform(0, 56)) ** 2) / 20) for _ in range(14))
    volumes = (still[..., None] + rng.normal(0, 1, (5, 40, 56, 3))).astype(np.float32)
    right = write(tmp_path, volumes, "F")
    with roi.open(right) as recording:
        np.testing.assert_array_equal(recording.get_series(), volumes)
        assert recording.get_notes() == ()
    wrong = right.rename(tmp_path / "m_d1_56_d2_40_d3_3_order_F_frames_5_.mmap")
    with pytest.warns(roi.RoiExtractorsWarning, match=r"read as 56 rows of 40 columns; .*dims=\(40, 56, 3\)"):
        roi.open(wrong)
    with roi.open(wrong, dims=(40, 56, 3)) as recording:
        np.testing.assert_array_equal(recording.get_series(), volumes)


@pytest.mark.parametrize("written", [0.945, 0.6])
def test_pixels_of_zeros_at_the_end_of_time_courses_are_said(tmp_path: Path, written: float) -> None:
    frames = np.random.default_rng(3).normal(50, 1, (101, 12, 15)).astype(np.float32)
    path = write(tmp_path, frames, "C")
    whole = path.read_bytes()
    size = int(len(whole) * written) // 4 * 4
    path.write_bytes(whole[:size] + bytes(len(whole) - size))
    empty = 180 - -(-size // 404)
    with pytest.warns(roi.IncompleteRecordingWarning, match=f"ends in zeros: {empty} of 180 pixels are 0") as caught:
        recording = roi.open(path)
    with recording:
        assert str(caught[0].message) in recording.get_notes()


def test_a_dark_border_of_time_courses_is_nothing_to_warn_of(tmp_path: Path) -> None:
    frames = np.random.default_rng(3).poisson(0.3, (101, 12, 15)).astype(np.float32)
    frames[:, :, -2:] = 0
    frames[:, -1:] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with roi.open(write(tmp_path, frames, "C")) as recording:
            np.testing.assert_array_equal(recording.get_series(), frames)

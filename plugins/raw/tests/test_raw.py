"""Raw bytes with what the user says of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    RoiExtractorsWarning,
    SourceKindError,
    TruncatedRecordingError,
    UnknownFormatError,
)
from roiextractors_core.registry.evidence import Strength
from roiextractors_core.testing import ImagingExtractorTests

COUNT, ROWS, COLUMNS, PLANES = 64, 96, 128, 3


def numbers(*shape: int, dtype: Any = np.uint16, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(dtype)


class RawTests(ImagingExtractorTests):
    format = "raw"

    @pytest.fixture
    def expected_rate(self) -> None:
        return None

    @pytest.fixture
    def expected_times(self) -> None:
        return None


class TestFramesBehindAHeader(RawTests):
    open_options = {"shape": (COUNT, ROWS, COLUMNS), "dtype": ">i2", "offset": 100}

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return numbers(COUNT, ROWS, COLUMNS, dtype=np.int16) - 2000

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        (tmp_path / "movie.raw").write_bytes(b"h" * 100 + expected.astype(">i2").tobytes())
        return tmp_path / "movie.raw"


class TestVolumesWithPlanesBeforeRows(RawTests):
    open_options = {"shape": (COUNT, PLANES, 30, 40), "dtype": "<u2", "dimension_order": "TZYX"}

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return numbers(COUNT, 30, 40, PLANES)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        with (tmp_path / "movie.dat").open("wb") as stream:
            for volume in expected:
                for plane in range(PLANES):
                    stream.write(np.ascontiguousarray(volume[:, :, plane]).astype("<u2").tobytes())
        return tmp_path / "movie.dat"


class TestVolumesWithPlanesFastest(RawTests):
    open_options = {"shape": (COUNT, 30, 40, PLANES), "dtype": "float32"}

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return numbers(COUNT, 30, 40, PLANES, dtype=np.float32) / 8

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        (tmp_path / "movie.bin").write_bytes(b"".join(volume.tobytes() for volume in expected))
        return tmp_path / "movie.bin"


class TestTimeFastest(RawTests):
    """Fortran order: the time courses of the pixels lie one behind the other."""

    has_own_code = True
    open_options = {"shape": (COUNT, ROWS, COLUMNS), "dtype": "<u2", "order": "F"}
    frames_are_contiguous = False

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return numbers(COUNT, ROWS, COLUMNS)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        with (tmp_path / "movie.bin").open("wb") as stream:
            for column in range(COLUMNS):
                for row in range(ROWS):
                    stream.write(expected[:, row, column].astype("<u2").tobytes())
        return tmp_path / "movie.bin"


class TestLongTimeCourses(RawTests):
    """Time fastest, in courses so long that only parts of them are read."""

    open_options = {"shape": (4, 5, 3, 3000), "dtype": ">f8", "dimension_order": "ZXYT"}

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return numbers(3000, 3, 5, 4, dtype=np.float64)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        courses = [expected[:, y, x, z].astype(">f8") for z in range(4) for x in range(5) for y in range(3)]
        (tmp_path / "movie.raw").write_bytes(b"".join(course.tobytes() for course in courses))
        return tmp_path / "movie.raw"


AXES_3 = ["TYX", "TXY", "YTX", "XTY", "YXT", "XYT"]
AXES_4 = ["TZYX", "TYXZ", "TXZY", "ZTYX", "ZTXY", "YTXZ", "ZYTX", "XZTY", "ZYXT", "XYZT"]


@pytest.mark.parametrize("axes", AXES_3 + AXES_4)
@pytest.mark.parametrize("order", ["C", "F"])
def test_axes_in_any_order_give_what_numpy_gives(tmp_path: Path, axes: str, order: str) -> None:
    lengths = {"T": 1100, "Y": 6, "X": 5, "Z": 3}
    stored = numbers(*(lengths[axis] for axis in axes), dtype=np.int32)
    path = tmp_path / "movie.raw"
    path.write_bytes(stored.tobytes(order=order))  # type: ignore[arg-type]
    wanted = stored.transpose([axes.index(axis) for axis in "TYXZ" if axis in axes])
    with roi.open(path, shape=stored.shape, dtype="int32", order=order, dimension_order=axes) as recording:
        assert recording.shape == wanted.shape
        np.testing.assert_array_equal(recording.get_series(), wanted)
        np.testing.assert_array_equal(recording.get_series(7, 9), wanted[7:9])
        np.testing.assert_array_equal(recording.get_samples([1099, 0, 3, 3]), wanted[[1099, 0, 3, 3]])
        np.testing.assert_array_equal(recording[5:700, 1:4, 2:4], wanted[5:700, 1:4, 2:4])
        np.testing.assert_array_equal(recording[[9, 2], 1:4, 2:4], wanted[[9, 2], 1:4, 2:4])
        if "Z" in axes:
            np.testing.assert_array_equal(recording[3:5, :, 1:3, 1], wanted[3:5, :, 1:3, 1])


def raw(path: Path, size: int) -> Path:
    path.write_bytes(bytes(size))
    return path


def test_a_suffix_alone_is_the_weakest_match_and_asks_for_shape_and_dtype(tmp_path: Path) -> None:
    path = raw(tmp_path / "movie.raw", 512 * 512 * 2 * 100)
    best = roi.explain(path).best
    assert best is not None
    assert (best.spec.name, best.strength) == ("raw", Strength.NAME)
    with pytest.raises(ChoiceError) as caught:
        roi.open(path)
    assert str(caught.value) == (
        "movie.raw does not describe its content; pass the shape and the dtype: open(..., shape=(rows, columns), dtype='<u2'), "
        "or shape=(samples, rows, columns[, planes]). 52,428,800 bytes could be 100 samples of 512 x 512 uint16 "
        "or 400 samples of 256 x 256 uint16 or 25 samples of 1024 x 1024 uint16."
    )


def test_what_is_still_missing_is_asked_for(tmp_path: Path) -> None:
    path = raw(tmp_path / "movie.bin", 12345)
    with pytest.raises(
        ChoiceError, match=r"pass the shape: open\(..., shape=\(rows, columns\), dtype='>i2'\).* has 12,345 bytes"
    ):
        roi.open(path, dtype=">i2")
    with pytest.raises(ChoiceError, match=r"needs a dtype with its byte order: .*shape=\(5, 4\), dtype='<u2'"):
        roi.open(path, shape=(5, 4))


def test_no_other_suffix_is_claimed_and_format_opens_any(tmp_path: Path) -> None:
    path = raw(tmp_path / "movie.xyz", 40)
    with pytest.raises(UnknownFormatError):
        roi.open(path)
    with roi.open(path, format="raw", shape=(5, 4), dtype="<u2") as recording:
        assert recording.shape == (1, 5, 4)


@pytest.mark.parametrize(
    ("size", "options", "kind", "words"),
    [
        (
            1_000_000,
            {"shape": (100, 64, 64), "dtype": "uint16"},
            CorruptRecordingError,
            "has 1,000,000 bytes, but 100 samples of 64 x 64 uint16 need 819,200. It has room for 122 samples and "
            "576 more bytes; offset=180_800 would fit",
        ),
        (
            1_000_000,
            {"shape": (64, 64), "dtype": "uint16"},
            CorruptRecordingError,
            "has 1,000,000 bytes, but whole samples of 64 x 64 uint16 take 8,192 each. It has room for 122 samples and "
            "576 more bytes; offset=576 would fit",
        ),
        (
            8192,
            {"shape": (4, 32, 32), "dtype": "uint8"},
            CorruptRecordingError,
            "It has room for 8 samples; 8 as the number of samples, or dtype='uint16', or offset=4096 would fit",
        ),
        (
            4096,
            {"shape": (4, 32, 32), "dtype": "uint16"},
            TruncatedRecordingError,
            "4 samples of 32 x 32 uint16 need 8,192. It has room for 2 samples; 2 as the number of samples, or "
            "dtype='uint8' would fit",
        ),
        (
            100,
            {"shape": (32, 32), "dtype": "uint16"},
            TruncatedRecordingError,
            "It has room for 0 samples and 100 more bytes",
        ),
        (
            100,
            {"shape": (5, 5), "dtype": "uint8", "offset": 101},
            TruncatedRecordingError,
            "after the first 101 take 25 each. It has room for 0 samples",
        ),
        (
            7,
            {"shape": (1, 3, 3), "dtype": "uint8"},
            TruncatedRecordingError,
            "no other dtype or offset would fit",
        ),
    ],
)
def test_a_size_that_does_not_fit_is_refused_and_what_would_is_said(
    tmp_path: Path, size: int, options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as caught:
        roi.open(raw(tmp_path / "movie.raw", size), **options)
    assert words in str(caught.value)


def test_the_samples_are_counted_where_their_number_is_left_open(tmp_path: Path) -> None:
    path = raw(tmp_path / "movie.raw", 5 * 4 * 2 * 7)
    for shape in ((5, 4), (-1, 5, 4), "5, 4", "(-1, 5, 4)", [5, 4], np.array([7, 5, 4])):
        with roi.open(path, shape=shape, dtype="<u2") as recording:
            assert recording.shape == (7, 5, 4)
    with roi.open(path, shape=(4, -1, 5), dtype="<u2", dimension_order="XTY") as recording:
        assert recording.shape == (7, 5, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": (5,), "dtype": "u2"}, r"shape must be \(rows, columns\)"),
        ({"shape": (5, 0), "dtype": "u2"}, "shape must be"),
        ({"shape": (5, 4.5), "dtype": "u2"}, "shape must be"),
        ({"shape": (True, 4), "dtype": "u2"}, "shape must be"),
        ({"shape": "__import__('os')", "dtype": "u2"}, "shape must be"),
        ({"shape": (1 << 60, 1 << 60), "dtype": "u2"}, "shape must be"),
        ({"shape": 5, "dtype": "u2"}, "shape must be"),
        ({"shape": (-1, -1, 4), "dtype": "u2"}, "only the number of samples can be -1"),
        ({"shape": (-1, 4), "dtype": "u2"}, "only the number of samples can be -1"),
        ({"shape": (5, 4), "dtype": "u3"}, "is not a NumPy dtype"),
        ({"shape": (5, 4), "dtype": "O"}, "is not numeric"),
        ({"shape": (5, 4), "dtype": "U4"}, "is not numeric"),
        ({"shape": (5, 4), "dtype": [("a", "u2")]}, "is not numeric"),
        ({"shape": (5, 4), "dtype": "u2", "offset": -1}, "offset must be an integer >= 0"),
        ({"shape": (5, 4), "dtype": "u2", "offset": 1.5}, "offset must be"),
        ({"shape": (5, 4), "dtype": "u2", "order": "K"}, "order must be 'C'"),
        ({"shape": (5, 4), "dtype": "u2", "dimension_order": "TYX"}, "does not fit shape"),
        ({"shape": (5, 4, 3), "dtype": "u2", "dimension_order": "CYX"}, "does not fit shape"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ChoiceError, match=words):
        roi.open(raw(tmp_path / "movie.raw", 40), **options)


def test_several_files_and_folders_are_refused(tmp_path: Path) -> None:
    paths = [raw(tmp_path / name, 40) for name in ("a.raw", "b.raw")]
    with pytest.raises(SourceKindError, match="expected one file, got 2"):
        roi.open(paths, format="raw", shape=(5, 4), dtype="u2")
    with pytest.raises(SourceKindError, match="is a folder; open the file inside it"):
        roi.open(tmp_path, format="raw", shape=(5, 4), dtype="u2")
    with roi.open(paths[:1], shape=(5, 4), dtype="u2") as recording:
        assert len(recording) == 1


def test_a_file_cut_after_opening_is_told_and_never_garbage(tmp_path: Path) -> None:
    for order in ("C", "F"):
        path = raw(tmp_path / f"{order}.raw", 4 * 4 * 3000)
        with roi.open(path, shape=(3000, 4, 4), dtype="u1", order=order) as recording:
            path.write_bytes(bytes(4 * 4 * 20))
            for start, stop in ((0, 3000), (2000, 2001), (2999, 3000)):
                with pytest.raises(TruncatedRecordingError):
                    recording.get_series(start, stop)


@pytest.mark.parametrize("name", ["a.hdr", "A.XML", "a.raw.json", "Experiment.xml"])
def test_a_description_beside_that_is_not_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(4 * 6 * 8))
    (tmp_path / name).write_text("of something")
    with pytest.warns(RoiExtractorsWarning, match=f"'{name}' next to a.raw may describe it and is not read") as caught:
        recording = roi.open(tmp_path / "a.raw", format="raw", shape=(6, 8), dtype="u1")
    with recording:
        assert recording.get_notes() == (str(caught[0].message),)


def spots(count: int, rows: int, columns: int) -> np.ndarray:
    """Smooth spots and noise, so that a line resembles the next one."""
    rng = np.random.default_rng(rows)
    y, x = np.mgrid[:rows, :columns]
    still = sum(
        3000 * np.exp(-((y - rng.uniform(0, rows)) ** 2 + (x - rng.uniform(0, columns)) ** 2) / 20) for _ in range(14)
    )
    return (1000 + still + rng.normal(0, 100, (count, rows, columns))).astype("<u2")


def described(folder: Path, kind: str, frames: np.ndarray, rows: int, columns: int) -> tuple[Path, dict[str, Any]]:
    """Write a movie, and what describes it."""
    if kind == "dax":
        (folder / "m.dax").write_bytes(frames.tobytes())
        lines = [
            f"frame dimensions = {columns} x {rows}",
            f"number of frames = {len(frames)}",
            "data type = 16 bit integers (binary, little endian)",
        ]
        (folder / "m.inf").write_text("\n".join(lines))
        return folder / "m.dax", {}
    (folder / "m.raw").write_bytes(frames.tobytes())
    if kind == "picasso":
        text = f"Byte Order: <\nData Type: uint16\nFrames: {len(frames)}\nHeight: {rows}\nWidth: {columns}\n"
        (folder / "m.yaml").write_text(text)
        return folder / "m.raw", {}
    return folder / "m.raw", {"shape": (rows, columns), "dtype": "<u2"}


@pytest.mark.parametrize("kind", ["raw", "dax", "picasso"])
def test_samples_of_zeros_at_the_end_are_said_and_count_as_missing(tmp_path: Path, kind: str) -> None:
    frames = spots(7, 20, 30)
    frames[5:] = 0
    frames[4, 10:] = 0  # the program was interrupted inside this frame
    path, options = described(tmp_path, kind, frames, 20, 30)
    with pytest.warns(roi.IncompleteRecordingWarning, match="ends in zeros: after the first 4 of 7 samples") as caught:
        recording = roi.open(path, **options)
    with recording:
        assert recording.get_missing_samples().tolist() == [4, 5, 6]
        assert recording.keeps_missing_samples
        assert str(caught[0].message) in recording.get_notes()
        np.testing.assert_array_equal(recording.get_series(), frames)


@pytest.mark.parametrize("kind", ["raw", "dax", "picasso"])
def test_exchanged_rows_and_columns_are_suspected_by_the_pixels(tmp_path: Path, kind: str) -> None:
    frames = spots(5, 40, 56)
    path, options = described(tmp_path, kind, frames, 56, 40)
    with pytest.warns(RoiExtractorsWarning, match="look like lines of 56.* swap") as caught:
        recording = roi.open(path, **options)
    with recording:
        assert recording.shape == (5, 56, 40)
        assert str(caught[0].message) in recording.get_notes()
    path, options = described(tmp_path, kind, frames, 40, 56)
    with roi.open(path, **options) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames)
        assert recording.get_notes() == ()
        assert len(recording.get_missing_samples()) == 0


@pytest.mark.parametrize("kind", ["dax", "picasso"])
def test_an_absurd_number_of_frames_is_a_warning_and_takes_no_memory(tmp_path: Path, kind: str) -> None:
    path, options = described(tmp_path, kind, spots(7, 20, 30), 20, 30)
    beside = path.with_suffix(".inf" if kind == "dax" else ".yaml")
    text = beside.read_text()
    changed = re.sub(r"(?im)^(number of frames|Frames)(\s*[=:]\s*)7\b", r"\g<1>\g<2>99999999999", text)
    assert changed != text
    beside.write_text(changed)
    with pytest.warns(roi.IncompleteRecordingWarning, match="99,999,999,999"):
        recording = roi.open(path, **options)
    with recording:
        assert recording.get_missing_samples().size == 0


def test_pixels_of_zeros_at_the_end_where_time_varies_fastest_are_said(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(1, 99, (64, 10, 12), np.uint16)
    path = tmp_path / "m.bin"
    whole = frames.transpose(2, 1, 0).tobytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) // 2))
    with pytest.warns(roi.IncompleteRecordingWarning, match="60 of 120 pixels are 0 in all samples") as caught:
        recording = roi.open(path, shape=(64, 10, 12), dtype="<u2", order="F")
    assert str(caught[0].message) in recording.get_notes()

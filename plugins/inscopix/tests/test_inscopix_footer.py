"""Footers that are cut, damaged, or of something else than a movie."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_inscopix.hooks import roiextractors_formats

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsWarning,
    TruncatedRecordingError,
    UnknownFormatError,
    UnsupportedRecordingError,
)
from roiextractors_core.io import Source

Write = Callable[..., Path]
FRAMES = np.arange(5 * 6 * 8, dtype=np.uint16).reshape(5, 6, 8)


def finding(path: Path) -> bool | None:
    spec = next(roiextractors_formats())
    assert spec.evidence is not None
    with Source(path) as source:
        return spec.evidence.check(source).answer


def write_document(path: Path, document: Any) -> Path:
    text = json.dumps(document).encode()
    path.write_bytes(text + b"\0" + struct.pack("<q", len(text)))
    return path


@pytest.mark.parametrize("name", ["m.isxd", "m", "m.dat", "M.ISXD"])
def test_a_movie_is_recognised_by_its_footer_whatever_its_name(tmp_path: Path, write_isxd: Write, name: str) -> None:
    path = write_isxd(tmp_path / name, FRAMES)
    assert finding(path) is True
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), FRAMES)


def test_a_footer_of_several_mib_is_recognised(tmp_path: Path, write_isxd: Write) -> None:
    # A dropped frame takes 20 bytes of an indented list
    path = write_isxd(tmp_path / "m.bin", FRAMES, num_times=200_005, dropped=range(3, 200_003))
    assert path.stat().st_size > 3 << 20
    with pytest.warns(roi.IncompleteRecordingWarning, match="200,000 dropped of 200,005"):
        recording = roi.open(path)
    with recording:
        assert recording.provenance.format == "inscopix"
        np.testing.assert_array_equal(recording.get_samples([0, 2, 200_003]), FRAMES[[0, 2, 3]])


def test_other_json_at_an_end_is_not_claimed(tmp_path: Path) -> None:
    for document in ({"type": 0}, {"type": 77, "producer": {}}, {"type": True, "producer": {}}, {"a": 1}, []):
        assert finding(write_document(tmp_path / "x.bin", document)) is False


def test_a_file_cut_anywhere_says_that_its_footer_is_missing(tmp_path: Path, write_isxd: Write) -> None:
    whole = write_isxd(tmp_path / "whole.isxd", FRAMES).read_bytes()
    path = tmp_path / "cut.isxd"
    for size in (1, 7, 8, 9, 100, len(whole) - 40, len(whole) - 9, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert finding(path) is False
        words = r"cut.isxd( \(.* bytes\) has no footer|: expected a JSON footer)"
        with pytest.raises(TruncatedRecordingError, match=words):
            roi.open(path, format="inscopix")
        with pytest.raises(
            UnknownFormatError, match=f"Its suffix is that of Inscopix movie, whose plugin says: {words}"
        ):
            roi.open(path)


def test_a_footer_that_is_not_json_says_where_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "m.isxd"
    path.write_bytes(bytes(100) + b"{" + b"[" * 99_999 + b"\0" + struct.pack("<q", 100_000))
    with pytest.raises(
        TruncatedRecordingError, match=r"expected a JSON footer of 100,000 bytes at byte 100, got b'\{\[\["
    ):
        roi.open(path, format="inscopix")


def test_pixels_that_do_not_fit_before_the_footer_are_counted(tmp_path: Path, write_isxd: Write) -> None:
    path = write_isxd(tmp_path / "m.isxd", FRAMES, num_times=7)
    words = r"has 480 bytes of pixels before its footer, but 7 stored frames of 6 x 8 need 672: frame 5 is the first"
    with pytest.raises(CorruptRecordingError, match=words):
        roi.open(path, format="inscopix")
    with pytest.raises(UnknownFormatError, match=words):
        roi.open(path)


def test_bytes_behind_the_last_frame_are_noted(tmp_path: Path, write_isxd: Write) -> None:
    path = write_isxd(tmp_path / "m.isxd", FRAMES, num_times=3)
    words = "the footer does not account for 192 bytes after the last frame, which is exactly 2 more frames"
    with pytest.warns(RoiExtractorsWarning, match=words):
        recording = roi.open(path)
    with recording:
        np.testing.assert_array_equal(recording.get_series(), FRAMES[:3])
        assert recording.get_notes() == (words,)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "movie"}, r"has type 'movie', expected an integer from 0 to 9"),
        ({"dataType": 7}, r"has dataType = 7, expected an integer from 0 to 2"),
        ({"spacingInfo": {}}, r"has spacingInfo\.numPixels\.y = None"),
        ({"spacingInfo": {"numPixels": {"x": 8, "y": -6}}}, r"numPixels\.y = -6"),
        ({"spacingInfo": {"numPixels": {"x": 10**40, "y": 6}}}, r"numPixels\.x = 10{9,}"),
        ({"timingInfo": {"numTimes": 5.5}}, r"timingInfo\.numTimes = 5\.5"),
        ({"timingInfo": {"numTimes": True}}, r"timingInfo\.numTimes = True"),
    ],
)
def test_a_number_that_cannot_be_is_named(tmp_path: Path, write_isxd: Write, changes: Any, words: str) -> None:
    with pytest.raises(CorruptRecordingError, match=words):
        roi.open(write_isxd(tmp_path / "m.isxd", FRAMES, **changes), format="inscopix")


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        ({"period": (5, 0)}, r"timingInfo\.period = 5 / 0, which is not a valid time"),
        ({"period": (-5, 1)}, r"timingInfo\.period = -5 / 1, which is not a valid time"),
        ({"start": (1, 0)}, r"timingInfo\.start\.secsSinceEpoch = 1 / 0"),
        ({"dropped": [9]}, r"lists dropped samples outside its 5 samples: \[9\]"),
        ({"dropped": ["1"]}, r"lists dropped samples outside"),
        ({"blank": [-1]}, r"lists blank samples outside its 5"),
        ({"cropped": ["3 - 7"]}, r"lists a cropped run outside its 5 samples: '3 - 7'"),
        ({"cropped": ["4 - 2"]}, r"lists a cropped run"),
        ({"cropped": [3]}, r"lists a cropped run outside its 5 samples: 3"),
    ],
)
def test_times_that_cannot_be_are_named(tmp_path: Path, write_isxd: Write, timing: Any, words: str) -> None:
    with pytest.raises(CorruptRecordingError, match=words):
        roi.open(write_isxd(tmp_path / "m.isxd", FRAMES, **timing), format="inscopix")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            2,
            "contains a behavioural movie, expected a movie or an image; supported .isxd files are movies, images, cell sets",
        ),
        (3, "contains GPIO signals"),
        (8, "contains a vessel set"),
    ],
)
@pytest.mark.parametrize("name", ["x.isxd", "x"])
def test_a_file_that_is_not_a_movie_is_recognised_and_named(tmp_path: Path, kind: int, words: str, name: str) -> None:
    path = write_document(tmp_path / name, {"type": kind, "producer": {"name": "isxcore"}})
    assert finding(path) is True
    with pytest.raises(UnsupportedRecordingError, match=words):
        roi.open(path)


@pytest.mark.parametrize(("kind", "form"), [(1, "inscopix-segmentation"), (5, "inscopix-events")])
@pytest.mark.parametrize("name", ["x.isxd", "x"])
def test_a_cell_set_or_event_set_is_not_a_movie_but_a_segmentation(
    tmp_path: Path, kind: int, form: str, name: str
) -> None:
    path = write_document(tmp_path / name, {"type": kind, "producer": {"name": "isxcore"}, "CellNames": ["C0", "C1"]})
    assert finding(path) is False
    best = roi.explain(path, kind="segmentation").best
    assert best is not None
    assert (best.spec.name, best.strength.name) == (form, "CONTENT")
    with pytest.raises(
        UnsupportedRecordingError, match=r'\(2 cells\), expected .*; open it with .*kind="segmentation"'
    ):
        roi.open(path, format="inscopix")


def test_colour_pixels_are_recognised_and_refused(tmp_path: Path, write_isxd: Write) -> None:
    path = write_isxd(tmp_path / "m", FRAMES, dataType=3)
    assert finding(path) is True
    with pytest.raises(UnsupportedRecordingError, match=r"contains colour pixels \(RGB, dataType 3\)"):
        roi.open(path)


def test_control_characters_of_a_footer_do_not_reach_the_terminal(tmp_path: Path, write_isxd: Write) -> None:
    with pytest.raises(CorruptRecordingError) as caught:
        roi.open(write_isxd(tmp_path / "m.isxd", FRAMES, type="\x1b[31mred"), format="inscopix")
    assert "\x1b" not in str(caught.value)


def test_declaring_and_looking_import_no_extractor() -> None:
    code = (
        "import sys, roiextractors_inscopix.hooks as h; list(h.roiextractors_formats()); import roiextractors_inscopix.footer;"
        "print([m for m in sys.modules if m.startswith('roiextractors_inscopix.')])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "['roiextractors_inscopix.hooks', 'roiextractors_inscopix.footer']"

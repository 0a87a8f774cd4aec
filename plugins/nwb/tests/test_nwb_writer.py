"""The writer of this format keeps the rules of the core, and what it writes opens again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.testing import WriterTests

pytest.importorskip("pynwb", reason="pynwb is not installed: the extra [write]")


class TestWritingNwb(WriterTests):
    format = "nwb"
    target_name = "movie.nwb"
    dtypes = {"uint16": "uint16", "float32": "float32"}


def test_a_start_time_and_a_rate_are_required_before_anything_is_written(tmp_path: Path) -> None:
    bare = roi.NumpyImagingExtractor(np.zeros((3, 4, 5), np.uint8), sampling_frequency=1.0)
    with pytest.raises(roi.UnsupportedRecordingError, match=r"NWB needs a start time.*--start-time"):
        roi.convert(bare, tmp_path / "a.nwb")
    with pytest.raises(roi.UnsupportedRecordingError, match="ISO 8601 date and time, got 'noon'"):
        roi.convert(bare, tmp_path / "a.nwb", start_time="noon")
    without_rate = roi.NumpyImagingExtractor(np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(roi.TimesError, match="needs a sampling rate or times"):
        roi.convert(without_rate, tmp_path / "a.nwb", start_time="2026-01-31T12:00:00")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("start", ["2026-01-31T12:00:00", datetime(2026, 1, 31, 12)])
def test_a_start_time_can_be_passed(tmp_path: Path, start: str | datetime) -> None:
    recording = roi.NumpyImagingExtractor(np.ones((3, 4, 5), np.uint8), sampling_frequency=2.0)
    with roi.open(roi.convert(recording, tmp_path / "a.nwb", start_time=start)) as reopened:
        assert reopened.metadata.start_time is not None
        assert reopened.metadata.start_time.replace(tzinfo=None) == datetime(2026, 1, 31, 12)

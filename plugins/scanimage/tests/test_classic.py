"""The headers of versions before 2015, in the description of classic TIFF pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_scanimage.extractor import ScanImageImagingExtractor

from roiextractors_core.errors import StreamChoiceError

Make = Callable[..., Any]

SI4 = """scanimage.SI4.acqNumAveragedFrames = 1
scanimage.SI4.acqNumFrames = 3
scanimage.SI4.acqState = 'grab'
scanimage.SI4.channelsSave = [1;2]
scanimage.SI4.fastZDiscardFlybackFrames = false
scanimage.SI4.fastZEnable = false
scanimage.SI4.fastZNumDiscardFrames = 0
scanimage.SI4.fastZNumVolumes = 1
scanimage.SI4.loggingFramesPerFile = Inf
scanimage.SI4.scanFrameRate = 29.5
scanimage.SI4.stackNumSlices = 1
scanimage.SI4.stackZStepSize = 4
scanimage.SI4.triggerClockTimeFirst = '18-05-2015 11:58:43.788'
scanimage.SI4.versionMajor = 4.2
scanimage.SI4.versionMinor = 0
"""
STATE = {
    "state.configPath": "'C:\\Users\\lab'",
    "state.software.version": "3.8",
    "state.acq.numberOfZSlices": "1",
    "state.acq.numAvgFramesSave": "1",
    "state.acq.averaging": "1",
    "state.acq.numberOfFrames": "1220",
    "state.acq.zStepSize": "187",
    "state.acq.frameRate": "3.90625",
    "state.acq.savingChannel1": "1",
    "state.acq.savingChannel2": "0",
    "state.acq.savingChannel3": "0",
    "state.internal.triggerTimeString": "'10/9/2017 16:57:07.967'",
}


def state(**changes: str) -> str:
    lines = {**STATE, **{f"state.acq.{key}": value for key, value in changes.items()}}
    return "".join(f"{key}={value}\r" for key, value in lines.items())


@pytest.fixture
def make(tmp_path: Path, write_classic: Make, numbered_frames: Make) -> Make:
    def written(num_pages: int, text: str, before: Callable[[int], str] = lambda page: "") -> Path:
        texts = [before(page) + text for page in range(num_pages)]
        return Path(write_classic(tmp_path / "classic.tif", texts, numbered_frames(num_pages)))

    return written


def pages_of(block: np.ndarray) -> np.ndarray:
    return block[..., 0, 0] // 100 if block.ndim == 3 else block[:, 0, 0, :] // 100


def test_a_movie_of_version_4(make: Make) -> None:
    path = make(8, SI4)
    with pytest.raises(StreamChoiceError, match="'Channel 1' and 'Channel 2'"):
        ScanImageImagingExtractor(path)
    with ScanImageImagingExtractor(path, channel=2) as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [1, 3, 5, 7])
        assert recording.get_sampling_frequency() == 29.5
        assert recording.get_native_timestamps() is None
        assert recording.times_source == "computed"
        assert recording.metadata.start_time == datetime(2015, 5, 18, 11, 58, 43, 788_000)
        assert recording.metadata.device == "ScanImage 4.2.0"
        assert recording.metadata.vendor["scanimage.SI4.channelsSave"] == [1, 2]


def test_a_fast_stack_of_version_4_with_and_without_its_flyback(make: Make) -> None:
    text = SI4.replace("fastZEnable = false", "fastZEnable = true").replace("stackNumSlices = 1", "stackNumSlices = 3")
    text = text.replace("[1;2]", "1")
    with ScanImageImagingExtractor(make(9, text)) as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [[0, 1, 2], [3, 4, 5], [6, 7, 8]])
        assert recording.get_sampling_frequency() == 29.5 / 3
        assert recording.metadata.plane_spacing == 4.0
    discarding = text.replace("FlybackFrames = false", "FlybackFrames = true").replace(
        "DiscardFrames = 0", "DiscardFrames = 2"
    )
    with ScanImageImagingExtractor(make(10, discarding)) as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [[0, 1, 2], [5, 6, 7]])
        assert recording.get_sampling_frequency() == 29.5 / 5
    with ScanImageImagingExtractor(make(9, discarding)) as recording:
        assert len(recording) == 3


def test_a_slow_stack_of_version_4_has_no_rate_of_volumes(make: Make) -> None:
    text = SI4.replace("stackNumSlices = 1", "stackNumSlices = 2").replace("[1;2]", "1")
    with ScanImageImagingExtractor(make(12, text), slice_sample=2) as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [[2, 5], [8, 11]])
        assert recording.get_sampling_frequency() is None
        assert recording.frame_rate == 29.5


def test_the_pages_of_version_5_0_state_their_times(make: Make) -> None:
    text = (
        "scanimage.SI5.VERSION_MAJOR = 5\nscanimage.SI5.VERSION_MINOR = 0\nscanimage.SI5.acqNumAveragedFrames = 5\n"
        "scanimage.SI5.acqStartTime = [2015 6 3 17 2 52.583]\nscanimage.SI5.channelsSave = [1;2]\n"
        "scanimage.SI5.fastZEnable = false\nscanimage.SI5.scanFramePeriod = 0.0334177\nscanimage.SI5.stackNumSlices = 1\n"
    )
    path = make(
        6,
        text,
        lambda page: f"Frame Number = {(page // 2 + 1) * 5:16d}\nFrame Timestamp(s) = {page // 2 * 0.167:25.9f}\n",
    )
    with ScanImageImagingExtractor(path, channel="Channel 1") as recording:
        assert recording.shape == (3, 4, 6)
        np.testing.assert_allclose(recording.get_timestamps(), [0.0, 0.167, 0.334])
        assert recording.get_sampling_frequency() == 1 / 0.0334177 / 5
        assert recording.metadata.start_time == datetime(2015, 6, 3, 17, 2, 52, 583_000)
        assert recording.metadata.device == "ScanImage 5.0"
        assert recording.get_notes() == ()


def test_version_5_1_keeps_its_header_in_the_description(make: Make, header_text: Make) -> None:
    changes = {"SI.hStackManager.enable": "true", "SI.hStackManager.actualNumSlices": "2", "SI.VERSION_MAJOR": "'5.1'"}
    text = header_text({**changes, "SI.hStackManager.numFramesPerVolume": "2"}, prefix="scanimage.")
    path = make(6, text, lambda page: f"frameNumbers = {page + 1}\nframeTimestamps_sec = {page * 0.5:.9f}\n")
    with ScanImageImagingExtractor(path) as recording:
        assert recording.shape == (3, 4, 6, 2)
        np.testing.assert_allclose(recording.get_timestamps(), [0.5, 1.5, 2.5])
        assert recording.get_sampling_frequency() == 30.5


def test_a_movie_of_version_3_has_carriage_returns_between_its_lines(make: Make) -> None:
    with ScanImageImagingExtractor(make(5, state())) as recording:
        assert recording.shape == (5, 4, 6)
        assert recording.get_sampling_frequency() == 3.90625
        assert recording.metadata.start_time == datetime(2017, 10, 9, 16, 57, 7, 967_000)
        assert recording.metadata.vendor["state.acq.numberOfFrames"] == 1220
        assert recording.get_native_timestamps() is None


def test_version_3_averages_and_interleaves(make: Make) -> None:
    path = make(6, state(numAvgFramesSave="4", savingChannel3="1"))
    with ScanImageImagingExtractor(path, channel="Channel 3") as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [1, 3, 5])
        assert recording.get_sampling_frequency() == 3.90625 / 4


def test_a_stack_of_version_3_holds_its_frames_plane_by_plane(make: Make) -> None:
    with ScanImageImagingExtractor(
        make(6, state(numberOfZSlices="3", numberOfFrames="2")), slice_sample=1
    ) as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [[1, 3, 5]])
        assert recording.get_sampling_frequency() is None
        assert recording.metadata.plane_spacing == 187.0
    averaged = state(numberOfZSlices="3", numberOfFrames="8", numAvgFramesSave="8")
    with ScanImageImagingExtractor(make(3, averaged)) as recording:
        assert recording.shape == (1, 4, 6, 3)

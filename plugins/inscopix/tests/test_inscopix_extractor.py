"""Every rule of the core on the layouts that there are, and what is particular to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import ChoiceError, IncompleteRecordingWarning, SourceKindError
from roiextractors_core.testing import ImagingExtractorTests

Write = Callable[..., Path]
COUNTERS = [560_273_515_867 + 50_100 * k for k in range(9)]


def noise(count: int, rows: int, columns: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 250, (count, rows, columns)).astype(dtype)


class TestUint16WithFrameHeaders(ImagingExtractorTests):
    format = "inscopix"

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return noise(9, 24, 40, "uint16")

    @pytest.fixture
    def recording(self, tmp_path: Path, write_isxd: Write, expected: np.ndarray, microscope: Any) -> Path:
        return write_isxd(tmp_path / "m.isxd", expected, counters=COUNTERS, extra=microscope())

    @pytest.fixture
    def large_recording(self, tmp_path: Path, write_isxd: Write, microscope: Any) -> Path:
        frames = noise(80, 128, 160, "uint16")
        return write_isxd(tmp_path / "l.isxd", frames, counters=range(80), extra=microscope())

    @pytest.fixture
    def expected_rate(self) -> float:
        return 1e6 / 50_100

    @pytest.fixture
    def expected_times(self) -> None:
        return None


class TestFloat32(ImagingExtractorTests):
    format = "inscopix"

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return noise(7, 20, 31, "float32") / np.float32(3)

    @pytest.fixture
    def recording(self, tmp_path: Path, write_isxd: Write, expected: np.ndarray) -> Path:
        return write_isxd(tmp_path / "m.isxd", expected, period=(179_973, 1_000_000))

    @pytest.fixture
    def expected_rate(self) -> float:
        return 1e6 / 179_973

    @pytest.fixture
    def expected_times(self) -> None:
        return None


class TestUint8(ImagingExtractorTests):
    format = "inscopix"

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return noise(6, 33, 29, "uint8")

    @pytest.fixture
    def recording(self, tmp_path: Path, write_isxd: Write, expected: np.ndarray) -> Path:
        return write_isxd(tmp_path / "m.isxd", expected)

    @pytest.fixture
    def expected_rate(self) -> float:
        return 20.0

    @pytest.fixture
    def expected_times(self) -> None:
        return None


class TestMissingSamples(ImagingExtractorTests):
    format = "inscopix"

    @pytest.fixture
    def expected(self) -> np.ndarray:
        frames = noise(12, 16, 24, "uint16")
        frames[[0, 3, 5, 7, 8, 11]] = 0
        return frames

    @pytest.fixture
    def recording(self, tmp_path: Path, write_isxd: Write, expected: np.ndarray) -> Path:
        stored = expected[[1, 2, 4, 6, 9, 10]]
        return write_isxd(
            tmp_path / "m.isxd", stored, num_times=12, dropped=[5, 3], cropped=["7 - 8", "0"], blank=[11], period=(1, 7)
        )

    @pytest.fixture
    def expected_rate(self) -> float:
        return 7.0

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return np.array([k / 7 for k in range(12)])


class TestFocalPlanes(ImagingExtractorTests):
    format = "inscopix"
    has_own_code = True
    open_options = {"deinterleave": True}

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return np.moveaxis(noise(12, 20, 30, "uint16").reshape(4, 3, 20, 30), 1, 3)

    @pytest.fixture
    def recording(self, tmp_path: Path, write_isxd: Write, expected: np.ndarray, microscope: Any) -> Path:
        frames = np.moveaxis(expected, 3, 1).reshape(12, 20, 30)
        counters, focus = range(10**9, 10**9 + 12 * 50_000, 50_000), [170, 370, 570] * 4
        extra = microscope(planes=3)
        return write_isxd(tmp_path / "m.isxd", frames, counters=counters, focus=focus, extra=extra)

    @pytest.fixture
    def expected_rate(self) -> float:
        return 20 / 3

    @pytest.fixture
    def expected_times(self) -> None:
        return None


def test_missing_samples_are_named_and_counted(tmp_path: Path, write_isxd: Write) -> None:
    path = write_isxd(
        tmp_path / "m.isxd", noise(6, 4, 5, "uint16"), num_times=11, dropped=[3, 5], cropped=["7 - 8"], blank=[10]
    )
    words = "2 dropped, 2 cropped, 1 blank of 11 frames are not stored; their pixels are 0"
    with pytest.warns(IncompleteRecordingWarning, match=words):
        recording = roi.open(path)
    with recording:
        assert recording.get_missing_samples().tolist() == [3, 5, 7, 8, 10]
        assert recording.keeps_missing_samples
        assert recording.get_notes() == (
            "2 dropped, 2 cropped, 1 blank of 11 frames are not stored; their pixels are 0",
        )
        assert recording.times_source == "native"


def test_a_million_dropped_samples_take_no_memory_of_their_own(tmp_path: Path, write_isxd: Write) -> None:
    frames = noise(3, 4, 5, "uint16")
    path = write_isxd(tmp_path / "m.isxd", frames, num_times=10**12, cropped=[f"2 - {10**12 - 2}"])
    with pytest.warns(IncompleteRecordingWarning, match="999,999,999,997 cropped"):
        recording = roi.open(path)
    with recording:
        assert len(recording) == 10**12
        np.testing.assert_array_equal(recording.get_samples([0, 10**12 - 1, 5]), [frames[0], frames[2], 0 * frames[0]])


def test_the_counter_in_the_headers_gives_the_period_and_every_frames_time(
    tmp_path: Path, write_isxd: Write, microscope: Any
) -> None:
    counters = [1000, 51_000, 101_500, 151_000]
    frames = noise(4, 4, 5, "uint16")
    path = write_isxd(tmp_path / "m.isxd", frames, num_times=6, dropped=[0, 3], counters=counters, extra=microscope())
    with pytest.warns(IncompleteRecordingWarning, match="2 dropped of 6 frames"):
        recording = roi.open(path)
    with recording:
        assert recording.get_frame_timestamps().tolist() == [0, 1000, 51_000, 0, 101_500, 151_000]
        assert recording.get_sampling_frequency() == pytest.approx(4e6 / 150_000)
        np.testing.assert_allclose(recording.get_timestamps(), np.arange(6) * 0.0375)


@pytest.mark.parametrize(
    ("version", "rate"),
    [
        ("1.1.1", 40.0),
        ("2", 40.0),
        ("1.2.0-07a8ccc", 40.0),
        ("1.1.0", 20.0),
        ("1.1", 20.0),
        ("one", 20.0),
        (None, 20.0),
    ],
)
def test_headers_of_early_software_hold_no_counter(
    tmp_path: Path, write_isxd: Write, microscope: Any, version: Any, rate: float
) -> None:
    extra = microscope()
    extra["producer"]["version"] = version
    path = write_isxd(tmp_path / "m.isxd", noise(4, 4, 5, "uint16"), counters=range(0, 100_000, 25_000), extra=extra)
    with roi.open(path) as recording:
        assert recording.get_sampling_frequency() == rate
        assert (recording.get_frame_timestamps() is None) == (rate == 20.0)


def test_a_counter_that_does_not_rise_leaves_the_footers_period(
    tmp_path: Path, write_isxd: Write, microscope: Any
) -> None:
    for counters in ([5, 5, 5], [9, 8, 7]):
        path = write_isxd(tmp_path / "m.isxd", noise(3, 4, 5, "uint16"), counters=counters, extra=microscope())
        with roi.open(path) as recording:
            assert recording.get_sampling_frequency() == 20.0


def test_a_file_without_a_version_has_no_frame_headers(tmp_path: Path, write_isxd: Write) -> None:
    frames = noise(3, 4, 5, "uint16")
    path = write_isxd(tmp_path / "m.isxd", frames, fileVersion=0, hasFrameHeaderFooter=True)
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames)


def test_an_image_is_a_recording_of_one_sample(tmp_path: Path, write_isxd: Write) -> None:
    frame = noise(1, 4, 5, "float32")
    with roi.open(write_isxd(tmp_path / "mean.isxd", frame, type=4)) as recording:
        np.testing.assert_array_equal(recording.get_series(), frame)


def test_a_period_of_zero_is_an_unknown_rate(tmp_path: Path, write_isxd: Write) -> None:
    path = write_isxd(tmp_path / "m.isxd", noise(3, 4, 5, "uint8"), period=(0, 1), num_times=4, dropped=[1])
    with pytest.warns(IncompleteRecordingWarning, match="1 dropped of 4 frames"):
        recording = roi.open(path)
    with recording:
        assert recording.get_sampling_frequency() is None
        assert recording.times_source is None


def test_focal_planes_are_frames_unless_asked_for(tmp_path: Path, write_isxd: Write, microscope: Any) -> None:
    frames = noise(8, 4, 5, "uint16")
    path = write_isxd(
        tmp_path / "m.isxd", frames, counters=range(8), focus=[0, 500, 900] * 2 + [0, 500], extra=microscope(planes=3)
    )
    with roi.open(path) as recording:
        assert recording.shape == (8, 4, 5)
        assert "cycle through 3 focal planes (electronic focus 0, 500, 900)" in recording.get_notes()[0]
    with pytest.warns(IncompleteRecordingWarning, match="the last volume has 2 of 3 planes and was left out"):
        volumes = roi.open(path, deinterleave=True)
    with volumes:
        np.testing.assert_array_equal(volumes.get_series(), np.moveaxis(frames[:6].reshape(2, 3, 4, 5), 1, 3))
        assert volumes.get_notes() == ("the last volume has 2 of 3 planes and was left out",)


def test_volumes_that_lack_a_plane_are_missing_samples(tmp_path: Path, write_isxd: Write, microscope: Any) -> None:
    frames = noise(7, 4, 5, "uint16")
    focus = [0, 500, 900, 0, 900, 0, 500]
    path = write_isxd(
        tmp_path / "m.isxd",
        frames,
        num_times=9,
        dropped=[4, 8],
        counters=range(7),
        focus=focus,
        extra=microscope(planes=3),
    )
    with pytest.warns(IncompleteRecordingWarning, match="2 dropped of 9 frames are not stored"):
        volumes = roi.open(path, deinterleave=True)
    with volumes:
        assert volumes.get_missing_samples().tolist() == [1, 2]
        assert not volumes[1, :, :, 1].any()
        assert volumes.metadata.bit_depth == 12


@pytest.mark.parametrize(
    ("planes", "focus"), [(0, [0, 500, 900] * 2), (3, [0] * 6), (3, [0, 500, 900, 0, 900, 500]), (40, [0] * 6)]
)
def test_what_does_not_cycle_is_not_deinterleaved(
    tmp_path: Path, write_isxd: Write, microscope: Any, planes: int, focus: list[int]
) -> None:
    path = write_isxd(
        tmp_path / "m.isxd", noise(6, 4, 5, "uint16"), counters=range(6), focus=focus, extra=microscope(planes=planes)
    )
    with roi.open(path) as recording:
        assert recording.get_notes() == ()
    with pytest.raises(ChoiceError, match="do not cycle through focal planes, so there is nothing to deinterleave"):
        roi.open(path, deinterleave=True)


def test_metadata_says_when_where_and_by_what(tmp_path: Path, write_isxd: Write, microscope: Any) -> None:
    path = write_isxd(
        tmp_path / "m.isxd",
        noise(3, 4, 5, "uint16"),
        start=(1_570_465_321_524_186, 1_000_000),
        utc_offset=-25_200,
        extra=microscope(channel="red", efocus=370),
    )
    with roi.open(path) as recording:
        found = recording.metadata
    there = timezone(timedelta(hours=-7))
    assert found.start_time == datetime(2019, 10, 7, 9, 22, 1, 524_186, tzinfo=there)
    assert found.start_time.utcoffset() == timedelta(hours=-7)
    assert found.pixel_size == (3.5, 3.0)
    assert [(channel.name, channel.exposure_time) for channel in found.channels] == [("red", 0.02)]
    assert (found.modality, found.bit_depth) == ("one-photon", None)
    assert found.device == "Inscopix NVista3, serial number FA-1"
    assert found.software == "isxcore 1.9.5"
    acquisition = found.vendor["acquisition"]
    assert acquisition["Microscope EX LED Power (mw/mm^2)"] == 0.4
    assert acquisition["Microscope OG LED Power (mw/mm^2)"] == 0.2
    assert acquisition["Microscope Gain"] == 5.9
    assert acquisition["Acquisition SW Version"] == "1.9.0"
    assert acquisition["efocus"] == 370
    assert found.vendor["timingInfo"]["numTimes"] == 3
    assert json.loads(json.dumps(found.to_dict()))["start_time"] == "2019-10-07T09:22:01.524186-07:00"


def test_a_dual_colour_microscope_names_its_channel_and_both_leds(
    tmp_path: Path, write_isxd: Write, microscope: Any
) -> None:
    extra = microscope()
    extra["microscope"]["dualColor"] = {"enabled": True, "mode": "single", "single": {"channel": "green"}}
    with roi.open(write_isxd(tmp_path / "m.isxd", noise(3, 4, 5, "uint16"), extra=extra)) as recording:
        assert [channel.name for channel in recording.metadata.channels] == ["green"]
        acquisition = recording.metadata.vendor["acquisition"]
    assert acquisition["Microscope EX LED 1 Power (mw/mm^2)"] == 0.4
    assert acquisition["Microscope EX LED 2 Power (mw/mm^2)"] == 1.5


@pytest.mark.parametrize("start", [(0, 1), (10**18, 1)])
def test_a_start_that_is_not_known_or_cannot_be_is_none(tmp_path: Path, write_isxd: Write, start: Any) -> None:
    with roi.open(write_isxd(tmp_path / "m.isxd", noise(3, 4, 5, "uint8"), start=start)) as recording:
        assert recording.metadata.start_time is None


def test_several_files_are_not_one_movie(tmp_path: Path, write_isxd: Write) -> None:
    paths = [write_isxd(tmp_path / f"{k}.isxd", noise(3, 4, 5, "uint8")) for k in range(2)]
    with pytest.raises(SourceKindError, match=r"expected one file, got 2.*concatenate"):
        roi.open(paths)
    with roi.open(paths[:1]) as recording:
        assert len(recording) == 3

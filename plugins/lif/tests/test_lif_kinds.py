"""LIF files that are not tidy: tiles, stamps that contradict the samples, recordings that were stopped or cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi

pytest.importorskip("liffile", reason="liffile is not installed")

Write = Callable[..., Path]


def made(times: int, planes: int, channels: int) -> np.ndarray:
    """Return ``(times, planes, channels, 6, 8)``, each frame another, no pixel 0."""
    return np.random.default_rng(5).integers(1, 4000, (times, planes, channels, 6, 8)).astype(np.uint16)


def test_tiles_of_a_lif_are_streams_with_their_own_times(tmp_path: Path, write_lif: Write) -> None:
    data = made(4, 3, 2)
    path = write_lif(tmp_path / "a.lif", {"one": data}, plane_axis=10, stamps=np.arange(12) / 4, seconds=None)
    assert roi.streams(path)["tile"] == ("0", "1", "2")
    with pytest.raises(
        roi.StreamChoiceError, match=r"the tiles '0', '1' and '2'; choose one: open\(\.\.\., tile='0'\)"
    ):
        roi.open(path, channel=2)
    with roi.open(path, channel=2, tile=1) as recording:
        np.testing.assert_array_equal(recording.get_series(), data[:, 1, 1])
        np.testing.assert_array_equal(recording[1:3, 2:5, 3:], data[1:3, 1, 1, 2:5, 3:])
        assert recording.get_native_timestamps() == pytest.approx([0.25, 1.0, 1.75, 2.5])
        assert recording.get_sampling_frequency() == pytest.approx(1 / 0.75)


def test_a_cut_lif_gives_the_samples_of_the_chosen_tile(tmp_path: Path, write_lif: Write) -> None:
    data = made(4, 3, 1)
    path = write_lif(tmp_path / "a.lif", {"one": data}, plane_axis=10)
    path.write_bytes(path.read_bytes()[: -2 * 6 * 8 * 2])  # the last two tiles of the last sample
    with roi.open(path, tile=0) as whole:
        np.testing.assert_array_equal(whole.get_series(), data[:, 0, 0])
    with pytest.warns(roi.IncompleteRecordingWarning, match="3 of 4 samples are complete"):
        recording = roi.open(path, tile=1)
    np.testing.assert_array_equal(recording.get_series(), data[:3, 1, 0])
    assert recording.get_missing_samples().tolist() == [3]


def test_a_lif_that_was_stopped_early_gives_what_was_recorded(tmp_path: Path, write_lif: Write) -> None:
    data = made(6, 1, 1)
    data[4:] = 0
    path = write_lif(tmp_path / "a.lif", {"one": data}, stamps=[0.0, 1.0, 2.0, 3.0])
    with pytest.warns(roi.IncompleteRecordingWarning, match="stopped early: 4 of 6 samples were recorded"):
        recording = roi.open(path)
    np.testing.assert_array_equal(recording.get_series(), data[:4, 0, 0])
    assert recording.get_native_timestamps().tolist() == [0.0, 1.0, 2.0, 3.0]
    assert recording.get_missing_samples().tolist() == [4, 5]


def test_stamps_of_another_number_than_the_samples_raise_a_warning(tmp_path: Path, write_lif: Write) -> None:
    path = write_lif(tmp_path / "a.lif", {"one": made(4, 1, 1)}, stamps=[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    with pytest.warns(roi.RoiExtractorsWarning, match="6 time stamps, which cannot be assigned to its 4 samples"):
        recording = roi.open(path)
    assert recording.get_native_timestamps() is None
    assert recording.get_sampling_frequency() == 4.0
    assert "6 time stamps" in recording.get_notes()[0]


@pytest.mark.parametrize("stamps", [[0.0] * 4, [0.0, 3.0, 1.0, 2.0]])
def test_stamps_that_do_not_increase_fall_back_to_the_rate(
    tmp_path: Path, write_lif: Write, stamps: list[float]
) -> None:
    path = write_lif(tmp_path / "a.lif", {"one": made(4, 1, 1)}, stamps=stamps)
    with roi.open(path) as recording:
        assert recording.get_native_timestamps() is None
        assert recording.get_timestamps().tolist() == [0.0, 0.25, 0.5, 0.75]
        assert "do not increase" in recording.get_notes()[0]


def test_stamps_of_zeros_are_neither_times_nor_a_start(tmp_path: Path, write_lif: Write) -> None:
    zeros = '<TimeStampList NumberOfTimeStamps="4">0 0 0 0</TimeStampList>'
    path = write_lif(tmp_path / "a.lif", {"one": made(4, 1, 1)}, more=zeros)
    with roi.open(path) as recording:
        assert recording.get_native_timestamps() is None
        assert recording.metadata.start_time is None
        assert recording.get_sampling_frequency() == 4.0


def test_regular_stamps_give_the_rate_where_the_axis_has_no_length(tmp_path: Path, write_lif: Write) -> None:
    path = write_lif(tmp_path / "a.lif", {"one": made(5, 1, 1)}, stamps=np.arange(5) * 0.2, seconds=None)
    with roi.open(path) as recording:
        assert recording.get_sampling_frequency() == pytest.approx(5.0)


def hardware(lines: str, *, source: str = "Confocal", name: str = "SuperContVisible2") -> str:
    return (
        f'<Attachment Name="HardwareSetting" Software="LAS X 3.5" SystemTypeName="TCS SP8" DataSourceTypeName="{source}">'
        '<ATLConfocalSettingDefinition ObjectiveName="HC  APO 25x" Magnification="25" NumericalAperture="0.95" Zoom="2.5">'
        f'<AotfList><Aotf LightSourceName="{name}">{lines}</Aotf></AotfList><Spectro>'
        '<MultiBand Channel="1" LeftWorld="500" RightWorld="550"/><MultiBand Channel="3" LeftWorld="560" RightWorld="650"/>'
        '</Spectro><DetectorList><Detector Channel="1" IsActive="1"/><Detector Channel="2" IsActive="0"/>'
        '<Detector Channel="3" IsActive="1"/></DetectorList></ATLConfocalSettingDefinition></Attachment>'
    )


def test_the_light_path_of_a_lif_is_that_of_its_active_detectors(tmp_path: Path, write_lif: Write) -> None:
    on = '<LaserLineSetting LaserLine="488" IntensityDev="4.5" IsLineChecked="1"/>'
    off = '<LaserLineSetting LaserLine="561" IntensityDev="0" IsLineChecked="0"/>'
    path = write_lif(tmp_path / "a.lif", {"one": made(3, 1, 2)}, more=hardware(on + off))
    with roi.open(path, channel=2) as recording:
        found = recording.metadata
    assert (found.software, found.modality, found.zoom, found.bit_depth) == ("LAS X 3.5", "confocal", 2.5, 16)
    assert found.objective == roi.ObjectiveMetadata("HC APO 25x", 25.0, 0.95)
    one = found.channels[0]
    assert (one.detection_band, one.laser_lines, one.laser_power) == ((560.0, 650.0), (488.0,), 4.5)


def test_an_infrared_laser_makes_two_photon_recordings(tmp_path: Path, write_lif: Write) -> None:
    on = '<LaserLineSetting LaserLine="920" IntensityDev="12" IsLineChecked="1"/>'
    path = write_lif(tmp_path / "a.lif", {"one": made(3, 1, 1)}, more=hardware(on, name="IR"))
    with roi.open(path) as recording:
        assert recording.metadata.modality == "two-photon"
        assert recording.metadata.channels[0].detection_band is None  # two detectors for one channel


def test_pixels_of_twice_the_described_size_are_said(tmp_path: Path, write_lif: Write) -> None:
    data = made(6, 1, 1)
    path = write_lif(tmp_path / "a.lif", {"one": data})
    old, new = (f'DimID="4" NumberOfElements="{k}"'.encode("utf-16-le") for k in (6, 3))
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.warns(roi.RoiExtractorsWarning, match="2 times as many bytes as its axes describe"):
        recording = roi.open(path)
    np.testing.assert_array_equal(recording.get_series(), data[:3, 0, 0])

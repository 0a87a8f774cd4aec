"""Real recordings against what other people's readers found in them."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_scanimage.extractor import ScanImageImagingExtractor

from roiextractors_core.errors import ChoiceError, StreamChoiceError

# tifffile, the oracle of this file, gives no rate; its header says state.acq.frameRate=3.90625.
RATES_THAT_THE_ORACLE_LACKS = {"scanimage/3_8": 3.90625}


def expected(recordings: Path, name: str) -> dict[str, Any]:
    entries = json.loads((recordings / "EXPECTED.json").read_text(encoding="utf-8"))
    return next(entry for entry in entries if entry["id"] == name)


def digest(frame: np.ndarray) -> str:
    little = np.ascontiguousarray(frame.astype(frame.dtype.newbyteorder("<")))
    return hashlib.sha256(little.tobytes()).hexdigest()[:32]


@pytest.mark.parametrize(
    "name",
    [
        "scanimage/noroi/Channel 1/slice_sample 0",
        "scanimage/noroi/Channel 1/slice_sample 1",
        "scanimage/noroi/interleaved",
        "scanimage/vol1ch",
        "scanimage/3_8",
    ],
)
def test_a_real_recording_agrees_with_the_published_reader(recordings: Path, name: str) -> None:
    entry = expected(recordings, name)
    with ScanImageImagingExtractor(recordings / entry["path"], **entry["options"]) as recording:
        series = recording.get_series()
        assert recording.shape == series.shape == tuple(entry["array_shape"])
        assert str(recording.dtype) == str(series.dtype) == entry["dtype"]
        assert float(series.sum(dtype=np.float64)) == entry["sum"]
        for index, wanted in entry["frames"].items():
            assert digest(series[int(index)]) == digest(recording[int(index)]) == wanted
        rate = RATES_THAT_THE_ORACLE_LACKS.get(name, entry["sampling_frequency"])
        assert recording.get_sampling_frequency() == rate
        stamps, times = recording.get_native_timestamps(), entry["native_timestamps"]
        if times is None:
            assert stamps is None
        else:
            assert stamps is not None
            assert (len(stamps), list(stamps[:3]), list(stamps[-3:])) == (times["n"], times["first"], times["last"])


def test_the_pages_decide_where_the_header_lies_about_its_channels(recordings: Path) -> None:
    entry = expected(recordings, "scanimage/5_7")
    path = recordings / entry["path"]
    assert ScanImageImagingExtractor.get_streams(path) == {"channel": ("Channel 1", "Channel 2")}
    with pytest.raises(StreamChoiceError, match="has the channels 'Channel 1' and 'Channel 2'; choose one"):
        ScanImageImagingExtractor(path)
    for position, name in enumerate(("Channel 1", "Channel 2")):
        with ScanImageImagingExtractor(path, channel=name) as recording:
            assert [digest(frame) for frame in recording.get_series()] == entry["pages"][position::2]
            assert recording.get_sampling_frequency() == entry["header_rate"]
            assert recording.get_notes() == (
                "the header names 1 saved channel, but each frame number occurs on 2 pages: 2 are read",
                "the header states 54,000 frames, but the files contain 3",
            )
            np.testing.assert_array_equal(recording.get_timestamps(), [0.0, 0.03335195, 0.0667039])


def test_any_file_of_a_split_acquisition_and_its_folder_open_the_whole_of_it(recordings: Path) -> None:
    folder = recordings / "scanimage" / "volumetric_single_channel_multi_file"
    for path in (folder / "vol_one_ch_multi_files_00001_00010.tif", folder):
        with ScanImageImagingExtractor(path) as recording:
            assert recording.shape == (100, 20, 20, 9)
            assert recording.get_notes() == ()
            assert digest(recording[0]) == "baa9f43fefab50ac51690b9805a131a1"


def test_a_folder_of_several_acquisitions_asks_which(recordings: Path) -> None:
    with pytest.raises(ChoiceError, match=r"several acquisitions, among them 'sample_\w+\.tiff' and 'scanimage_"):
        ScanImageImagingExtractor(recordings / "scanimage")


def test_what_real_headers_say_beside_the_pixels(recordings: Path) -> None:
    folder = recordings / "scanimage"
    with ScanImageImagingExtractor(folder / "scanimage_20220923_noroi.tif", channel=4, slice_sample=0) as recording:
        found = recording.metadata
        assert found.start_time == datetime(2023, 9, 22, 12, 46, 9, 383_000)
        assert found.pixel_size == (2 * 2151.11 / 256, 2 * 2151.11 / 256)
        assert (found.plane_spacing, found.plane_positions) == (1.0, (-11179.5, -11178.5))
        assert [channel.name for channel in found.channels] == ["Channel 4"]
        assert found.device == found.software == "ScanImage 2023.0.0"
        assert (recording.frame_rate, recording.volume_rate) == (58.2068, 14.5517)
        assert found.vendor["SI.objectiveResolution"] == 239.012
        assert (found.zoom, found.bit_depth, found.channels[0].laser_power) == (1.0, 16, 0.0)
        assert found.vendor["RoiGroups"]["imagingRoiGroup"]["name"] == "Default Imaging ROI Group"
        assert json.loads(json.dumps(found.to_dict()))["start_time"] == "2023-09-22T12:46:09.383000"
    with ScanImageImagingExtractor(folder / "sample_scanimage_version_3_8.tiff") as recording:
        assert recording.metadata.start_time == datetime(2017, 10, 9, 16, 57, 7, 967_000)
        assert recording.metadata.device == "ScanImage 3.8"
        assert recording.metadata.zoom == 2.0
        assert recording.times_source == "computed"


def test_one_plane_of_volumes_bears_the_time_of_its_own_page(recordings: Path) -> None:
    path = recordings / "scanimage" / "scanimage_20220923_noroi.tif"
    with ScanImageImagingExtractor(path, channel="Channel 1", slice_sample=1, plane=0) as recording:
        assert recording.shape == (3, 256, 256)
        np.testing.assert_array_equal(recording.get_timestamps(), [0.0171776, 1.3466965, 3.09182845])
        np.testing.assert_array_equal(recording.get_original_frame_indices(), [2, 10, 18])
        assert recording.get_sampling_frequency() == 14.5517


def test_zoom_and_the_power_of_the_only_beam_that_is_on(recordings: Path) -> None:
    folder = recordings / "scanimage"
    with ScanImageImagingExtractor(folder / "volumetric_single_channel_multi_file") as recording:
        found = recording.metadata
        assert (found.zoom, found.bit_depth, found.channels[0].laser_power) == (8.0, 16, 15.0)
        assert len(recording.get_missing_samples()) == 0
        assert sum(path.endswith(".tif") for path in recording.get_paths()) == 10
    with ScanImageImagingExtractor(folder / "scanimage_5_7_two_channels.tif", channel=2) as recording:
        assert (recording.metadata.zoom, recording.metadata.channels[0].laser_power) == (2.0, 50.1)
        assert recording.metadata.modality is None

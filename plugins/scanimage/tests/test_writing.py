"""Files that write_scanimage writes: as others read them, and whole or not at all."""

from __future__ import annotations

import struct
import tracemalloc
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from roiextractors_scanimage.testing import write_scanimage

import roiextractors_core as roi
from roiextractors_core.testing.generators import (
    NoiseImagingExtractor,
)
from roiextractors_core.testing.writing import TargetExistsError


def peak_of(call: Any) -> int:
    """Return the most bytes that were in use at once during the call, beyond those before."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestScanImage:
    @pytest.fixture
    def volumes(self) -> list[Any]:
        return [NoiseImagingExtractor((4, 5, 6, 3), "int16", seed, sampling_frequency=10.0) for seed in (1, 2)]

    def test_it_is_scanimage_to_tifffile(self, tmp_path: Path, volumes: list[Any]) -> None:
        write_scanimage(volumes, tmp_path / "s.tif", num_flyback=1, pixel_size=0.5, channel_names=["Green", "it's red"])
        with tifffile.TiffFile(tmp_path / "s.tif") as file:
            assert file.is_scanimage
            assert file.is_bigtiff
            told = file.scanimage_metadata
            pages = np.stack([page.asarray() for page in file.pages]).reshape(4, 4, 2, 5, 6)
            stamps = [line for page in file.pages for line in page.aspage().description.splitlines()]
            resolution = file.pages[0].tags["XResolution"].value
        assert told["version"] == 4
        frame_data = told["FrameData"]
        assert frame_data["SI.hChannels.channelSave"] == [1, 2]
        assert frame_data["SI.hChannels.channelName"][0] == "Green"
        assert frame_data["SI.hStackManager.numSlices"] == 3
        assert frame_data["SI.hStackManager.numFramesPerVolumeWithFlyback"] == 4
        assert frame_data["SI.hRoiManager.scanFrameRate"] == 40.0
        assert frame_data["SI.hRoiManager.scanVolumeRate"] == 10.0
        assert told["RoiGroups"]["imagingRoiGroup"]["rois"]["scanfields"]["pixelResolutionXY"] == [6, 5]
        assert resolution[0] / resolution[1] == 20_000  # pixels a centimetre
        for channel, recording in enumerate(volumes):
            np.testing.assert_array_equal(pages[:, :3, channel], np.moveaxis(recording.get_series(), -1, 1))
        assert (pages[:, 3] == -32768).all()
        times = [float(line.split("=")[1]) for line in stamps if line.startswith("frameTimestamps_sec")]
        np.testing.assert_allclose(times, np.repeat(np.arange(16) / 40, 2), atol=1e-9)

    def test_the_pages_are_as_a_microscope_writes_them(self, tmp_path: Path, volumes: list[Any]) -> None:
        write_scanimage(volumes, tmp_path / "s.tif")
        data = (tmp_path / "s.tif").read_bytes()
        magic, version, header, regions = struct.unpack_from("<IIII", data, 16)
        assert (magic, version) == (117637889, 4)
        assert data[32 : 32 + header].startswith(b"SI.")
        assert data[32 + header - 1] == 0
        assert data[32 + header + regions - 1] == 0
        with tifffile.TiffFile(tmp_path / "s.tif") as file:
            pages = [page.aspage() for page in file.pages]
            assert {len(page.tags) for page in pages} == {18}
            assert {page.tags[270].count for page in pages} == {2001}
            assert {page.dataoffsets[0] - page.offset for page in pages} == {2384}
            assert set(np.diff([page.offset for page in pages])) == {2384 + 60}
            assert [page.tags[305].valueoffset for page in pages[:2]] == [32, 32]
            assert pages[0].tags[315].valueoffset == 32 + header
            assert pages[-1].offset + 2384 + 60 == len(data)

    def test_open_finds_channels_planes_rate_and_times(self, tmp_path: Path, volumes: list[Any]) -> None:
        pytest.importorskip("roiextractors_scanimage", reason="the ScanImage plugin is not installed")
        begin = datetime(2024, 2, 29, 23, 59, 58, 500_000)
        write_scanimage(volumes, tmp_path / "s.tif", num_flyback=2, start_time=begin, plane_spacing=12.5)
        assert roi.streams(tmp_path / "s.tif") == {"channel": ("Channel 1", "Channel 2")}
        with roi.open(tmp_path / "s.tif", channel="Channel 2") as found:
            np.testing.assert_array_equal(found.get_series(), volumes[1].get_series())
            assert found.get_sampling_frequency() == 10.0
            assert found.times_source == "native"
            assert found.metadata.start_time == begin
            assert found.metadata.pixel_size == (1.0, 1.0)
            assert found.metadata.plane_spacing == 12.5

    def test_one_channel_needs_no_list(self, tmp_path: Path) -> None:
        recording = NoiseImagingExtractor((5, 4, 6), "int16", sampling_frequency=None)
        write_scanimage(recording, tmp_path / "s.tif")
        with tifffile.TiffFile(tmp_path / "s.tif") as file:
            assert file.scanimage_metadata["FrameData"]["SI.hChannels.channelSave"] == 1
            assert file.scanimage_metadata["FrameData"]["SI.hRoiManager.scanFrameRate"] == 30
            np.testing.assert_array_equal(file.asarray(), recording.get_series())

    @pytest.mark.parametrize(
        ("channels", "options", "said"),
        [
            ([], {}, "needs a channel with a sample, one name per channel"),
            ([NoiseImagingExtractor((0, 4, 5), "int16")], {}, "needs a channel with a sample, one name per channel"),
            ([NoiseImagingExtractor((3, 4, 5), "uint16")], {}, "int16 and have the same shape"),
            ([NoiseImagingExtractor((3, 4, n), "int16") for n in (5, 6)], {}, "int16 and have the same shape"),
            ([NoiseImagingExtractor((3, 4, 5), "int16")], {"frame_rate": 0}, "above 0 and below 1e9"),
            ([NoiseImagingExtractor((3, 4, 5), "int16")], {"channel_names": ["a", "b"]}, "1 channels, 2 names"),
        ],
    )
    def test_what_scanimage_would_not_write_is_refused(
        self, tmp_path: Path, channels: Any, options: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(roi.DeclarationError, match=said):
            write_scanimage(channels, tmp_path / "s.tif", **options)


class TestWriting:
    def test_replaces_a_file_only_when_asked(self, tmp_path: Path) -> None:
        (tmp_path / "m").write_text("mine")
        with pytest.raises(TargetExistsError, match="already exists; pass overwrite=True"):
            write_scanimage(NoiseImagingExtractor((2, 3, 4), "int16"), tmp_path / "m")
        assert (tmp_path / "m").read_text() == "mine"
        write_scanimage(NoiseImagingExtractor((2, 3, 4), "int16"), tmp_path / "m", overwrite=True)
        assert (tmp_path / "m").read_bytes() != b"mine"

    def test_leaves_nothing_behind_when_it_is_interrupted(self, tmp_path: Path) -> None:
        (tmp_path / "m").write_text("mine")

        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_scanimage(NoiseImagingExtractor((2, 3, 4), "int16"), tmp_path / "m", overwrite=True, progress=stop)
        assert [path.name for path in tmp_path.iterdir()] == ["m"]
        assert (tmp_path / "m").read_text() == "mine"

    def test_tells_how_far_it_is(self, tmp_path: Path) -> None:
        told: list[tuple[int, int]] = []
        recording = NoiseImagingExtractor((40, 512, 512), "int16")
        write_scanimage(recording, tmp_path / "m", progress=lambda done, total: told.append((done, total)))
        assert len(told) > 2
        assert told == sorted(told)
        assert told[-1] == (40, 40)

    def test_writes_a_long_recording_in_little_memory(self, tmp_path: Path) -> None:
        recording = NoiseImagingExtractor((200, 512, 512), "int16")
        assert peak_of(lambda: write_scanimage(recording, tmp_path / "m")) < 32 << 20
        assert (tmp_path / "m").stat().st_size > recording.nbytes > 100e6

    def test_says_when_the_folder_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist"):
            write_scanimage(NoiseImagingExtractor((2, 3, 4), "int16"), tmp_path / "nowhere" / "m")

"""The rules of the house on FluoView recordings: one file or a folder, movies and volumes, one channel or two."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roiextractors_core.metadata import ChannelMetadata
from roiextractors_core.testing import ImagingExtractorTests


class OlympusTests(ImagingExtractorTests):
    fuzz_reader = f"{Path(__file__).with_name('by_oiffile.py')}:frames_of"

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 8.0

    @pytest.fixture
    def expected_metadata(self) -> Any:
        return {
            "start_time": datetime(2019, 3, 4, 5, 6, 7, 89_000),
            "pixel_size": (0.25, 0.5),
            "device": "FV1000",
            "software": "FLUOVIEW FV1000 2.1.2.5",
        }


class TestMovieInOneFile(OlympusTests):
    format = "oib"

    @pytest.fixture
    def frames(self, frames_of: Any) -> Any:
        return frames_of(30)

    @pytest.fixture
    def expected(self, frames: Any) -> Any:
        return frames[:, 0, 0]

    @pytest.fixture
    def recording(self, tmp_path: Any, frames: Any, write_oib: Any) -> Any:
        return write_oib(tmp_path / "movie.oib", frames)

    @pytest.fixture
    def expected_times(self) -> Any:
        return np.arange(30) / 8


class TestVolumesOfTwoChannelsInPieces(OlympusTests):
    """The sectors of every frame lie apart, and the table of sectors is too long for the header."""

    format = "oib"
    open_options = {"channel": "CH2"}

    @pytest.fixture
    def frames(self, frames_of: Any) -> Any:
        return frames_of(12, 3, 2, 128, 160)

    @pytest.fixture
    def expected(self, frames: Any) -> Any:
        return np.moveaxis(frames[:, :, 1], 1, 3)

    @pytest.fixture
    def recording(self, tmp_path: Any, frames: Any, write_oib: Any) -> Any:
        return write_oib(tmp_path / "volumes.oib", frames, sector=512, shuffled=True)

    @pytest.fixture
    def expected_streams(self) -> Any:
        return {"channel": ("CH1", "CH2")}

    @pytest.fixture
    def expected_times(self) -> Any:
        return np.arange(12) / 8

    @pytest.fixture
    def expected_metadata(self) -> Any:
        return {"plane_spacing": 2.5, "channels": (ChannelMetadata("CH2", 581, 920),)}


class TestFolderOfTwoChannels(OlympusTests):
    format = "oif"
    open_options = {"channel": "CH1"}

    @pytest.fixture
    def frames(self, frames_of: Any) -> Any:
        return frames_of(24, 1, 2)

    @pytest.fixture
    def expected(self, frames: Any) -> Any:
        return frames[:, 0, 0]

    @pytest.fixture
    def recording(self, tmp_path: Any, frames: Any, write_oif: Any) -> Any:
        return write_oif(tmp_path / "movie.oif", frames)

    @pytest.fixture
    def expected_streams(self) -> Any:
        return {"channel": ("CH1", "CH2")}

    @pytest.fixture
    def expected_times(self) -> Any:
        return np.arange(24) / 8


class TestVolumesInAFolder(OlympusTests):
    format = "oif"

    @pytest.fixture
    def frames(self, frames_of: Any) -> Any:
        return frames_of(8, 4, 1, 64, 96, np.uint8)

    @pytest.fixture
    def expected(self, frames: Any) -> Any:
        return np.moveaxis(frames[:, :, 0], 1, 3)

    @pytest.fixture
    def recording(self, tmp_path: Any, frames: Any, write_oif: Any) -> Any:
        return write_oif(tmp_path / "volumes.oif", frames, compression="lzw")

    @pytest.fixture
    def expected_times(self) -> Any:
        return np.arange(8) / 8

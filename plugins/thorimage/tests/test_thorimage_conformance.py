"""The rules of the house on ThorImage recordings of every layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from roiextractors_core.testing import ImagingExtractorTests


class ThorImageTests(ImagingExtractorTests):
    format = "thorimage"
    files_know_their_place = False  # the name of a TIFF file alone says which frame it is

    @pytest.fixture
    def expected_times(self) -> Any:
        return None


class TestTiffOfTwoChannels(ThorImageTests):
    open_options = {"channel": "ChanB"}

    @pytest.fixture
    def frames(self, frames_of: Any) -> Any:
        return frames_of(66, 1, 2, 96, 128)

    @pytest.fixture
    def expected(self, frames: Any) -> Any:
        return frames[:, 0, 1]

    @pytest.fixture
    def recording(self, tmp_path: Any, frames: Any, write_tiff: Any) -> Any:
        return write_tiff(tmp_path / "movie", frames, digits=3, average_mode=1)

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 30.0 / 5

    @pytest.fixture
    def expected_streams(self) -> Any:
        return {"channel": ("ChanA", "ChanB")}


class TestTiffVolumes(ThorImageTests):
    @pytest.fixture
    def frames(self, frames_of: Any) -> Any:
        return frames_of(12, 3)

    @pytest.fixture
    def expected(self, frames: Any) -> Any:
        return np.moveaxis(frames[:, :, 0], 1, 3)

    @pytest.fixture
    def recording(self, tmp_path: Any, frames: Any, write_tiff: Any) -> Any:
        return write_tiff(tmp_path / "volumes", frames, compression="lzw")

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 30.0 / (3 + 3)


class TestRawVolumesOfTwoChannels(ThorImageTests):
    has_own_code = True
    open_options = {"channel": "ChanA"}

    @pytest.fixture
    def frames(self, frames_of: Any) -> Any:
        return frames_of(40, 3, 2, 48, 64)

    @pytest.fixture
    def expected(self, frames: Any) -> Any:
        return np.moveaxis(frames[:, :, 0], 1, 3)

    @pytest.fixture
    def recording(self, tmp_path: Any, frames: Any, write_raw: Any) -> Any:
        return write_raw(tmp_path / "raw", frames, flyback=2)

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 30.0 / (3 + 2)

    @pytest.fixture
    def expected_streams(self) -> Any:
        return {"channel": ("ChanA", "ChanB")}


class TestRawWithTimes(ThorImageTests):
    optional_parts = ("timing.txt",)  # versions after 3 write none

    @pytest.fixture
    def frames(self, frames_of: Any) -> Any:
        return frames_of(70, 1, 1, 96, 128)

    @pytest.fixture
    def expected(self, frames: Any) -> Any:
        return frames[:, 0, 0]

    @pytest.fixture
    def expected_times(self) -> Any:
        return np.round(np.arange(70) / 29.97 + np.linspace(0, 0.01, 70), 4)

    @pytest.fixture
    def recording(self, tmp_path: Any, frames: Any, write_raw: Any, expected_times: Any) -> Any:
        folder = write_raw(tmp_path / "timed", frames, digits=3)
        (folder / "timing.txt").write_text("".join(f"{t:.4f}\n" for t in expected_times), encoding="ascii")
        return folder

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 30.0


class TestTheExperimentOpensTheRecording(ThorImageTests):
    @pytest.fixture
    def frames(self, frames_of: Any) -> Any:
        return frames_of(5)

    @pytest.fixture
    def expected(self, frames: Any) -> Any:
        return frames[:, 0, 0]

    @pytest.fixture
    def recording(self, tmp_path: Any, frames: Any, write_tiff: Any) -> Any:
        return write_tiff(tmp_path / "movie", frames) / "Experiment.xml"

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 30.0

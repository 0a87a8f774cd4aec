"""The tests that every plugin inherits, on ScanImage files of several layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from roiextractors_scanimage.testing import write_scanimage

from roiextractors_core.testing import ImagingExtractorTests, NoiseImagingExtractor


class _ScanImage(ImagingExtractorTests):
    format = "scanimage"
    shape: tuple[int, ...] = (24, 80, 112)

    @pytest.fixture
    def movie(self) -> NoiseImagingExtractor:
        return NoiseImagingExtractor(self.shape, "int16", seed=1)

    @pytest.fixture
    def expected(self, movie: NoiseImagingExtractor) -> np.ndarray:
        return movie.get_series()


class TestOneChannel(_ScanImage):
    @pytest.fixture
    def expected_rate(self) -> float:
        return 30.0

    @pytest.fixture
    def expected_times(self, expected: np.ndarray) -> np.ndarray:
        return np.arange(len(expected)) / 30.0

    @pytest.fixture
    def recording(self, tmp_path: Path, movie: NoiseImagingExtractor) -> Path:
        return write_scanimage(movie, tmp_path / "movie_00001.tif", frame_rate=30.0)


class TestOneOfTwoChannels(_ScanImage):
    open_options = {"channel": "Channel 2"}

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("Channel 1", "Channel 2")}

    @pytest.fixture
    def expected_rate(self) -> float:
        return 30.0

    @pytest.fixture
    def expected_times(self, expected: np.ndarray) -> np.ndarray:
        return np.arange(len(expected)) / 30.0

    @pytest.fixture
    def recording(self, tmp_path: Path, movie: NoiseImagingExtractor) -> Path:
        other = NoiseImagingExtractor(self.shape, "int16", seed=2)
        return write_scanimage([other, movie], tmp_path / "movie_00001.tif", frame_rate=30.0)


class TestVolumesWithFlyback(_ScanImage):
    shape = (8, 40, 56, 3)

    @pytest.fixture
    def expected_rate(self) -> float:
        return 10.0

    @pytest.fixture
    def expected_times(self, expected: np.ndarray) -> np.ndarray:
        return np.arange(len(expected)) / 10.0 + 2 / 40.0  # when the last plane came

    @pytest.fixture
    def recording(self, tmp_path: Path, movie: NoiseImagingExtractor) -> Path:
        return write_scanimage(movie, tmp_path / "movie_00001.tif", frame_rate=40.0, num_flyback=1)

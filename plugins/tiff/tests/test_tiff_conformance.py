"""The tests that every plugin inherits, on TIFF of several layouts that tifffile writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from roiextractors_core.testing import ImagingExtractorTests


class _Tiff(ImagingExtractorTests):
    format = "tiff"
    claims = ("tiff",)
    shape: tuple[int, ...] = (24, 80, 112)

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return np.random.default_rng(3).integers(0, 4000, self.shape).astype(np.uint16)

    @pytest.fixture
    def expected_rate(self) -> float | None:
        return None

    @pytest.fixture
    def expected_times(self) -> np.ndarray | None:
        return None


class TestPages(_Tiff):
    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        with tifffile.TiffWriter(tmp_path / "movie.tif") as writer:
            for frame in expected:
                writer.write(frame, contiguous=False, metadata=None)
        return tmp_path / "movie.tif"


class TestBigEndianBigTiffBehindOneDirectory(_Tiff):
    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        tifffile.imwrite(tmp_path / "movie.tif", expected, byteorder=">", bigtiff=True, photometric="minisblack")
        return tmp_path / "movie.tif"


class TestCompressedTilesWithAPredictor(_Tiff):
    has_own_code = True
    shape = (24, 72, 100)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        told = {"compression": "zlib", "predictor": True, "tile": (32, 48), "photometric": "minisblack"}
        tifffile.imwrite(tmp_path / "movie.tif", expected, **told)
        return tmp_path / "movie.tif"


class TestImageJHyperstackOfVolumes(_Tiff):
    shape = (8, 40, 56, 3)
    open_options = {"channel": "2"}

    @pytest.fixture
    def expected_rate(self) -> float:
        return 4.0

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("1", "2"), "plane": ("0", "1", "2")}

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        planes = np.moveaxis(expected, 3, 1)
        stack = np.stack([planes[::-1], planes], axis=2)
        facts = {"axes": "TZCYX", "finterval": 0.25, "unit": "um", "spacing": 3.0}
        tifffile.imwrite(tmp_path / "movie.tif", stack, imagej=True, metadata=facts, resolution=(2.0, 2.0))
        return tmp_path / "movie.tif"


class TestAFolderOfFiles(_Tiff):
    has_own_code = True
    optional_parts = ("m*.tif",)  # nothing in it says how many files there are

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        (tmp_path / "movie").mkdir()
        for number, frames in enumerate(np.split(expected, [9, 12])):
            tifffile.imwrite(tmp_path / "movie" / f"m{number:03d}.tif", frames, photometric="minisblack", metadata=None)
        return tmp_path / "movie"

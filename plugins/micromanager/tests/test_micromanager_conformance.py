"""The rules of the house on Micro-Manager datasets of every layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from roiextractors_core.testing import ImagingExtractorTests


class MicroManagerTests(ImagingExtractorTests):
    format = "micromanager"


class TestNDTiffMovie(MicroManagerTests):
    @pytest.fixture
    def block(self, pixels: Any) -> Any:
        return pixels(66, 1, 1, 96, 128)

    @pytest.fixture
    def expected(self, block: Any) -> Any:
        return block[:, 0, 0]

    @pytest.fixture
    def recording(self, tmp_path: Any, block: Any, by_axes: Any, write_ndtiff: Any) -> Any:
        return write_ndtiff(tmp_path / "movie", by_axes(block), per_file=30)

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 25.0

    @pytest.fixture
    def expected_times(self) -> Any:
        return (1000 + 33.5 * np.arange(66)) / 1000


class TestNDTiffVolumesOfTwoChannels(MicroManagerTests):
    open_options = {"channel": "mCherry"}

    @pytest.fixture
    def block(self, pixels: Any) -> Any:
        return pixels(40, 3, 2, 48, 64, dtype=np.uint8)

    @pytest.fixture
    def expected(self, block: Any) -> Any:
        return np.moveaxis(block[:, :, 1], 1, 3)

    @pytest.fixture
    def recording(self, tmp_path: Any, block: Any, by_axes: Any, write_ndtiff: Any) -> Any:
        return write_ndtiff(
            tmp_path / "volumes", by_axes(block, ("GFP", "mCherry")), bits=8, order=">", summary={"Interval_ms": 0}
        )

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 1000 / (6 * 33.5)

    @pytest.fixture
    def expected_times(self) -> Any:
        return (1000 + 33.5 * (6 * np.arange(40) + 1)) / 1000

    @pytest.fixture
    def expected_streams(self) -> Any:
        return {"channel": ("GFP", "mCherry")}


class TestTheIndexOpensTheDataset(MicroManagerTests):
    @pytest.fixture
    def block(self, pixels: Any) -> Any:
        return pixels(5)

    @pytest.fixture
    def expected(self, block: Any) -> Any:
        return block[:, 0, 0]

    @pytest.fixture
    def recording(self, tmp_path: Any, block: Any, by_axes: Any, write_ndtiff: Any) -> Any:
        folder = write_ndtiff(tmp_path / "movie", by_axes(block), texts=lambda number, axes: {"ElapsedTime-ms": None})
        return folder / "NDTiff.index"

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 25.0

    @pytest.fixture
    def expected_times(self) -> Any:
        return None


class TestImageFileStack(MicroManagerTests):
    has_own_code = True

    @pytest.fixture
    def block(self, pixels: Any) -> Any:
        return pixels(66, 1, 1, 96, 128)

    @pytest.fixture
    def expected(self, block: Any) -> Any:
        return block[:, 0, 0]

    @pytest.fixture
    def recording(self, tmp_path: Any, block: Any, by_index: Any, write_stack: Any) -> Any:
        return write_stack(tmp_path / "movie_MMStack_Pos0.ome.tif", by_index(block))

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 10.0

    @pytest.fixture
    def expected_times(self) -> Any:
        return (1000 + 33.5 * np.arange(66)) / 1000


class TestImageFileStacksOfTwoPositions(MicroManagerTests):
    open_options = {"channel": "Cy5", "position": "1-Pos_000_001"}

    @pytest.fixture
    def block(self, pixels: Any) -> Any:
        return pixels(12, 3, 2)

    @pytest.fixture
    def expected(self, block: Any) -> Any:
        return np.moveaxis(block[:, :, 1], 1, 3)

    @pytest.fixture
    def recording(self, tmp_path: Any, block: Any, by_index: Any, write_stack: Any) -> Any:
        labels = [{"Label": "1-Pos_000_000"}, {"Label": "1-Pos_000_001"}]
        summary = {"ChNames": ["GFP", "Cy5"], "StagePositions": labels}
        for position, data in enumerate((block[::-1], block)):
            name = f"scan_MMStack_{labels[position]['Label']}.ome.tif"
            write_stack(tmp_path / "scan" / name, by_index(data, position), summary=summary)
        return tmp_path / "scan"

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 10.0

    @pytest.fixture
    def expected_times(self) -> Any:
        return (1000 + 33.5 * (6 * np.arange(12) + 1)) / 1000

    @pytest.fixture
    def expected_streams(self) -> Any:
        return {"channel": ("GFP", "Cy5"), "position": ("1-Pos_000_000", "1-Pos_000_001")}

"""The tests of the kit: a dataset, and a dataset of a submission."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roiextractors_core import NumpySegmentationExtractor, RoiMasks
from roiextractors_core.testing import SegmentationExtractorTests

PIXELS = ([[1, 2], [1, 3], [2, 2]], [[5, 30], [5, 31]], [[19, 39]], [[0, 0], [1, 1], [2, 2], [3, 3]])


def masks() -> RoiMasks:
    return RoiMasks.from_pixels((20, 40), [np.transpose(pixels) for pixels in PIXELS])


class TestDataset(SegmentationExtractorTests):
    format = "neurofinder"
    optional_parts = ("info.json",)

    @pytest.fixture
    def expected(self) -> NumpySegmentationExtractor:
        return NumpySegmentationExtractor(masks(), {}, roi_ids=["9000", "9001", "9002", "17"], sampling_frequency=7.5)

    @pytest.fixture
    def recording(self, tmp_path: Path, write_dataset: Callable[..., Path]) -> Path:
        ids = (9000, 9001, 9002, 17)
        return write_dataset(
            tmp_path / "neurofinder.00.00",
            [{"id": key, "coordinates": pixels} for key, pixels in zip(ids, PIXELS, strict=True)],
        )


class TestSubmission(SegmentationExtractorTests):
    format = "neurofinder"
    open_options = {"dataset": "00.01.test", "frame_shape": (20, 40)}

    @pytest.fixture
    def expected(self) -> NumpySegmentationExtractor:
        return NumpySegmentationExtractor(masks(), {})

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"dataset": ("00.00.test", "00.01.test")}

    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        regions: list[dict[str, Any]] = [{"coordinates": pixels} for pixels in PIXELS]
        content = [{"dataset": "00.00.test", "regions": regions[:1]}, {"dataset": "00.01.test", "regions": regions}]
        (tmp_path / "results.json").write_text(json.dumps(content), encoding="utf-8")
        return tmp_path / "results.json"

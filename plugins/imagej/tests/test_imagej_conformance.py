"""The tests of the kit: an archive of ROIs of ImageJ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roiextractors_core import NumpySegmentationExtractor, RoiMasks
from roiextractors_core.testing import SegmentationExtractorTests

pytest.importorskip("roifile", reason="roifile is not installed: python -m pip install roifile")


class TestRoiSet(SegmentationExtractorTests):
    format = "imagej-roi"
    open_options = {"frame_shape": (40, 60)}

    @pytest.fixture
    def expected(self) -> NumpySegmentationExtractor:
        """By hand: a rectangle, a triangle with legs along the edges of pixels, an oval of 4 x 4 without its corners, and a point."""
        triangle = [(row, column) for row in range(5) for column in range(10) if (10 - column - 0.5) > 2 * (row + 0.5)]
        oval = [(row, column) for row in range(4) for column in range(4) if (row, column) not in self.corners]
        masks = RoiMasks.from_pixels(
            (40, 60),
            [
                np.mgrid[5:8, 20:31].reshape(2, -1),
                np.transpose(triangle) + np.array([[30], [2]]),
                np.transpose(oval) + np.array([[10], [50]]),
                ([39], [59]),
            ],
        )
        return NumpySegmentationExtractor(
            masks,
            {},
            roi_ids=["0006-0025", "triangle", "oval", "corner"],
            properties={
                "type": np.array(["rectangle", "polygon", "oval", "point"]),
                "group": np.array([0, 0, 7, 0]),
            },
        )

    corners = ((0, 0), (0, 3), (3, 0), (3, 3))

    @pytest.fixture
    def recording(
        self, tmp_path: Path, box: Callable[..., Any], outline: Callable[..., Any], pack: Callable[..., Path]
    ) -> Path:
        return pack(
            tmp_path / "RoiSet.zip",
            [
                ("0006-0025.roi", box(20, 5, 11, 3)),
                ("triangle.roi", outline([[2, 30], [12, 30], [2, 35]])),
                ("oval.roi", box(50, 10, 4, 4, "oval", group=7, version=228)),
                ("corner.roi", outline([[59, 39]], "point")),
            ],
        )

"""The writer of this format keeps the rules of the core, and what it writes opens again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.testing import WriterTests


class TestWritingOmeTiff(WriterTests):
    format = "ometiff"
    target_name = "movie.tif"
    dtypes = {"uint16": "uint16", "int8": "int8", "int32": "int32", "float64": "float64"}


def test_a_dtype_that_ome_does_not_have_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    recording = roi.NumpyImagingExtractor(np.zeros((3, 4, 5), np.int64), sampling_frequency=1.0)
    with pytest.raises(roi.UnsupportedRecordingError, match=r"OME-TIFF cannot store int64; write \.npy or \.zarr"):
        roi.convert(recording, tmp_path / "a.tif")
    with pytest.raises(roi.UnsupportedRecordingError, match="empty recording"):
        roi.convert(roi.NumpyImagingExtractor(np.zeros((0, 4, 5), np.uint8)), tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []

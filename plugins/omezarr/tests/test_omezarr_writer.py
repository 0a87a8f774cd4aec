"""The writer of this format keeps the rules of the core, and what it writes opens again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import roiextractors_core as roi
from roiextractors_core.testing import WriterTests


class TestWritingOmeZarr(WriterTests):
    format = "omezarr"
    target_name = "movie.zarr"
    dtypes = {name: name for name in ("uint16", "bool", "int64", "float16", "float64")}


def test_a_folder_that_is_a_target_is_replaced_whole(tmp_path: Path) -> None:
    recording = roi.NumpyImagingExtractor(np.ones((3, 4, 5), np.uint8), sampling_frequency=2.0)
    roi.convert(recording, tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "old").write_text("x")
    roi.convert(recording, tmp_path / "a.zarr", overwrite=True)
    assert not (tmp_path / "a.zarr" / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]

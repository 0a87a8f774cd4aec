"""The writer of this format keeps the rules of the core, and what it writes opens again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.testing import WriterTests


class TestWritingOmeZarr(WriterTests):
    format = "omezarr"
    target_name = "movie.zarr"
    dtypes = {name: name for name in ("uint16", "bool", "int64", "float16", "float64")}


def test_a_folder_that_is_a_target_is_replaced_whole(tmp_path: Path) -> None:
    recording = roi.NumpyImagingExtractor(np.ones((3, 4, 5), np.uint8), sampling_frequency=2.0)
    roi.convert(recording, tmp_path / "a.zarr")
    old = tmp_path / "a.zarr" / "0" / "c" / "9" / "0" / "0"
    old.parent.mkdir(parents=True)
    old.write_text("x")
    roi.convert(recording, tmp_path / "a.zarr", overwrite=True)
    assert not old.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.parametrize("name", ["notes.txt", "labels/cells/zarr.json", "0/c/readme", "1/mask.tif"])
def test_a_zarr_folder_with_something_else_in_it_is_not_replaced(tmp_path: Path, name: str) -> None:
    recording = roi.NumpyImagingExtractor(np.ones((3, 4, 5), np.uint8), sampling_frequency=2.0)
    roi.convert(recording, tmp_path / "a.zarr")
    other = tmp_path / "a.zarr" / name
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_text("three years")
    with pytest.raises(roi.SourceKindError, match="has other content"):
        roi.convert(recording, tmp_path / "a.zarr", overwrite=True)
    assert other.read_text() == "three years"

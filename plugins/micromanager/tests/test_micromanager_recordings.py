"""Datasets of Micro-Manager's own makers, by the numbers that other people's programs read from them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import TruncatedRecordingError

HERE = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA") or HERE.parent / "shared" / "recordings")


def _entries() -> dict[str, Any]:
    try:
        found = json.loads((FOLDER / "EXPECTED.json").read_text(encoding="utf-8"))
    except OSError:
        return {}
    return {one["id"].partition("/")[2]: one for one in found if one["id"].startswith("micromanager/")}


ENTRIES = _entries()
needs_recordings = pytest.mark.skipif(not ENTRIES, reason=f"no recordings at {FOLDER}")


def require_pages(recording: roi.ImagingExtractor, entry: dict[str, Any], pages: list[int]) -> float:
    """The frames, planes fastest, are these pages of the file; return their sum."""
    assert recording.provenance.format == "micromanager"
    series = recording.get_series()
    assert series.shape[1:3] == tuple(entry["page_shape"])
    assert series.dtype == np.dtype(entry["dtype"])
    frames = np.moveaxis(series, 3, 1).reshape(-1, *entry["page_shape"]) if series.ndim == 4 else series
    assert len(frames) == len(pages)
    for frame, page in zip(frames, pages, strict=True):
        if page < len(entry["pages"]):
            assert hashlib.sha256(np.ascontiguousarray(frame, "<u2").tobytes()).hexdigest()[:32] == entry["pages"][page]
    return float(frames.sum(dtype=np.float64))


@needs_recordings
def test_channels_of_twelve_bits_alternate() -> None:
    entry = ENTRIES["12_bit_pycromanager_mda"]
    total = 0.0
    for k, channel in enumerate(("DAPI", "FITC")):
        with roi.open(FOLDER / entry["path"], channel=channel) as recording:
            total += require_pages(recording, entry, [k, k + 2, k + 4, k + 6])
            assert recording.get_sampling_frequency() is None
            assert recording.times_source == "native"
            found = recording.metadata
            assert found.objective is not None
            assert (found.objective.name, found.objective.magnification) == ("Nikon 10X S Fluor", 10.0)
            assert (found.bit_depth, found.channels[0].exposure_time) == (12, 0.01)
    assert total == entry["sum"]


@needs_recordings
def test_labelled_positions_are_single_frames() -> None:
    entry = ENTRIES["labeled_positions_1"]
    total = 0.0
    for page, position in enumerate(("Pos2", "Pos0", "Pos1")):
        with roi.open(FOLDER / entry["path"], position=position) as recording:
            total += require_pages(recording, entry, [page])
    assert total == entry["sum"]


@needs_recordings
def test_volumes_of_sixteen_planes() -> None:
    entry = ENTRIES["ndtiff3.2_monochrome"]
    with roi.open(FOLDER / entry["path"]) as recording:
        assert recording.shape == (8, 64, 64, 16)
        assert require_pages(recording, entry, list(range(128))) == entry["sum"]
        assert (np.diff(recording.get_timestamps()) > 0).all()
        assert recording.metadata.plane_spacing == pytest.approx(0.4)


@needs_recordings
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mm_mda_tcz_15", r"describes 112 frames, but their file mm_mda_tcz_15_NDTiffStack.tif is missing"),
        ("mmstack_sidecar_only", r"contains DisplaySettings.json but no images"),
    ],
)
def test_incomplete_datasets_are_told(name: str, words: str) -> None:
    with pytest.raises(TruncatedRecordingError, match=words):
        roi.open(FOLDER / "micromanager" / name)

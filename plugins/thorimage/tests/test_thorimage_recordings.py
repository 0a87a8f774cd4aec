"""Recordings of real microscopes, by the numbers that other people's programs read from them."""

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


def _entries() -> list[Any]:
    try:
        found = json.loads((FOLDER / "EXPECTED.json").read_text(encoding="utf-8"))
    except OSError:
        return []
    return [pytest.param(one, id=one["id"]) for one in found if one["id"].startswith("thorimage/")]


needs_recordings = pytest.mark.skipif(not _entries(), reason=f"no recordings at {FOLDER}")


@needs_recordings
@pytest.mark.parametrize("entry", _entries())
def test_a_real_recording_is_what_others_read(entry: dict[str, Any]) -> None:
    channel = entry["options"].get("channel_name")
    with roi.open(FOLDER / entry["path"], **({"channel": channel} if channel else {})) as recording:
        assert recording.provenance.format == "thorimage"
        assert recording.shape == (entry["num_samples"], *entry["sample_shape"])
        assert recording.dtype == np.dtype(entry["dtype"])
        assert recording.get_sampling_frequency() == entry["sampling_frequency"]
        assert recording.get_native_timestamps() is None
        assert recording.metadata.modality == "two-photon"
        assert recording.metadata.objective is not None
        assert recording.metadata.objective.magnification in (16.0, 20.0)
        for index, digest in entry["frames"].items():
            sample = np.ascontiguousarray(recording.get_samples([int(index)])[0], "<u2")
            assert hashlib.sha256(sample.tobytes()).hexdigest()[:32] == digest
        assert float(recording.get_series().sum(dtype=np.float64)) == entry["sum"]


@needs_recordings
def test_a_real_recording_without_frames_is_told() -> None:
    with pytest.raises(TruncatedRecordingError, match=r"expected Image_0001_0001.raw"):
        roi.open(FOLDER / "thorimage" / "xml_only_raw_streaming")


@needs_recordings
def test_the_derived_files_beside_a_real_stack_are_not_claimed() -> None:
    folder = FOLDER / "thorimage" / "tiff_zstack_two_channels"
    for name in ("z_stack.tif", "z_stack.npy"):
        best = roi.explain(folder / name).best
        assert best is None or best.spec.name != "thorimage"

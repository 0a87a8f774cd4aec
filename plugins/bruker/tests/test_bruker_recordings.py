"""Real recordings against other people's reading of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.metadata import ObjectiveMetadata


def expected_entries() -> list[dict[str, Any]]:
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    path = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside)) / "EXPECTED.json"
    if not path.is_file():
        return []
    return [entry for entry in json.loads(path.read_text()) if entry["path"].startswith("bruker/")]


def digest(sample: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(sample, "<u2").tobytes()).hexdigest()[:32]


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["id"]) for entry in expected_entries()])
@pytest.mark.parametrize("through", ["folder", "xml", "tif"])
def test_a_real_recording_reads_as_others_read_it(recordings: Path, entry: dict[str, Any], through: str) -> None:
    folder = recordings / entry["path"]
    path = {"folder": folder, "xml": folder / f"{folder.name}.xml", "tif": sorted(folder.glob("*.tif"))[-1]}[through]
    found = roi.open(path)
    assert found.provenance.format == "bruker"
    assert len(found) == entry["num_samples"]
    assert found.get_sample_shape() == tuple(entry["sample_shape"])
    assert found.dtype == np.dtype(entry["dtype"])
    assert found.get_sampling_frequency() == pytest.approx(entry["sampling_frequency"], rel=1e-12)
    times = found.get_native_timestamps()
    assert times is not None
    assert [len(times), times[:3].tolist(), times[-3:].tolist()] == [
        entry["native_timestamps"][key] for key in ("n", "first", "last")
    ]
    series = found.get_series()
    assert {key: digest(series[int(key)]) for key in entry["frames"]} == entry["frames"]
    assert series.sum(dtype=np.float64) == entry["sum"]


def test_the_metadata_of_a_real_recording(recordings: Path) -> None:
    found = roi.open(recordings / "bruker" / "NCCR32_2022_11_03_IntoTheVoid_t_series-005").metadata
    assert found.start_time == datetime(2022, 11, 3, 11, 20, 34, 906667)
    assert found.objective == ObjectiveMetadata("16X", 16.0, 0.8)
    assert (found.zoom, found.bit_depth, found.modality) == (2.0, 13, "two-photon")
    assert found.channels[0].laser_lines == (920.0,)
    assert found.pixel_size == (1.1078125, 1.1078125)
    # focus at 166.575, the tunable lens at -130 and 130
    assert found.plane_positions == pytest.approx((36.575, 296.575))
    assert found.plane_spacing == pytest.approx(260)
    assert found.software == "Prairie View 5.6.64.400"
    assert found.channels[0].name == "Ch2"
    assert found.vendor["laserPower"]["0"] == {"value": "599.609375", "description": "920 Axon"}
    assert found.vendor["objectiveLens"] == "16X"


def test_a_real_xml_without_its_files_names_the_first_frame(recordings: Path) -> None:
    folder = recordings / "bruker" / "NCCR62_2023_07_06_IntoTheVoid_t_series_Dual_color-000"
    assert roi.streams(folder) == {"channel": ("Ch1", "Ch2")}
    for options in ({}, {"channel": "Ch1"}, {"channel": "Ch1", "allow_missing": True}):
        with pytest.raises(
            roi.SourceNotFoundError, match=r"frame 1 of cycle 1 \(page 1 of NCCR62.*Ch1_000001\.ome\.tif\) is missing"
        ):
            roi.open(folder, **options)


def test_two_files_of_a_real_recording_that_were_exchanged_are_refused(recordings: Path, tmp_path: Path) -> None:
    folder = recordings / "bruker" / "NCCR32_2022_11_03_IntoTheVoid_t_series-005"
    copy = Path(shutil.copytree(folder, tmp_path / folder.name))
    one, other = sorted(copy.glob("*.tif"))[3:5]
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    found = roi.open(copy)
    np.testing.assert_array_equal(found.get_series(0, 1), roi.open(folder).get_series(0, 1))
    with pytest.raises(roi.CorruptRecordingError, match=r"has the UUID of .*; the files were renamed"):
        found.get_series()
    with pytest.warns(roi.IncompleteRecordingWarning):
        rest = roi.open(copy, allow_missing=True)
    np.testing.assert_array_equal(rest.get_series(), roi.open(folder).get_series()[[0, 3, 4]])
    assert rest.get_missing_samples().tolist() == [1, 2]

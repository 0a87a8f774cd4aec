"""Files from real microscopes, against the library of the format."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi


def test_an_nd2_is_what_its_library_reads(recordings: Path) -> None:
    nd2 = pytest.importorskip("nd2")
    path = recordings / "nikon" / "cluster.nd2"
    whole = nd2.imread(path)  # T, Z, C, Y, X
    for c, channel in enumerate(roi.streams(path)["channel"]):
        with roi.open(path, channel=channel) as recording:
            np.testing.assert_array_equal(recording.get_series(), np.moveaxis(whole[:, :, c], 1, 3))
            found = recording.metadata
            assert found.start_time is not None  # a Julian day in float64 tells some 40 microseconds
            assert abs(found.start_time - datetime(2014, 6, 18, 13, 55, 23, 392019, UTC)).total_seconds() < 1e-4
            assert found.pixel_size == pytest.approx((0.167809, 0.167809), rel=1e-5)
            assert found.plane_spacing == 0.5
            assert found.device == "Nikon A1plus"
            assert found.software == "NIS-Elements AR 4.20.01 (Build 982)"
            assert found.objective == roi.ObjectiveMetadata("Plan Apo λ 60x", 60.0, 0.95)
            assert (found.zoom, found.bit_depth, found.modality) == (2.469, 12, "confocal")
            assert found.channels[0].laser_lines == (488.0, 561.0)
            assert found.channels[0].laser_power == (0.5, 9.0)[c]
            # The description names the filter cube 525/50
            assert found.channels[0].detection_band == ((500.0, 550.0), (662.5, 737.5))[c]
            assert found.channels[0].exposure_time is None


def test_a_real_nd2_that_was_cut_gives_its_whole_samples(recordings: Path, tmp_path: Path) -> None:
    nd2 = pytest.importorskip("nd2")
    path = recordings / "nikon" / "cluster.nd2"
    whole = nd2.imread(path)
    content = path.read_bytes()
    cut = tmp_path / "cut.nd2"
    cut.write_bytes(content[: content.index(b"ImageDataSeq|25!") + 5000])  # in the last volume
    with pytest.raises(roi.TruncatedRecordingError, match=r"frames \(4,712 bytes each\).*frame_shape="):
        roi.open(cut, channel=1)
    with pytest.warns(roi.IncompleteRecordingWarning, match="2 of 3 samples are complete"):
        recording = roi.open(cut, channel=2, frame_shape=(31, 38))
    np.testing.assert_array_equal(recording.get_series(), np.moveaxis(whole[:2, :, 1], 1, 3))
    assert recording.get_native_timestamps() == pytest.approx([0.445083498, 11.086180222])
    found = recording.metadata
    assert (found.objective, found.zoom) == (roi.ObjectiveMetadata("Plan Apo λ 60x", None, 0.95), 2.469)
    cut.write_bytes(content[:-100])  # only the map of chunks is lost
    with pytest.warns(roi.IncompleteRecordingWarning, match="30 complete frames"):
        recording = roi.open(cut, channel=2)
    np.testing.assert_array_equal(recording.get_series(), np.moveaxis(whole[:, :, 1], 1, 3))

"""Files from real microscopes, against the libraries of the format and against their bytes."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi


def lif_blocks(path: Path) -> list[bytes]:
    """Return the pixels of each image, by the file's own marks."""
    data, found, at = path.read_bytes(), [], 0
    at = 8 + struct.unpack_from("<I", data, 4)[0]
    while at < len(data):
        size = struct.unpack_from("<I", data, at + 4)[0]
        length = struct.unpack_from("<Q", data, at + 9)[0]
        start = at + 8 + size
        found += [data[start : start + length]] if length else []
        at = start + length
    return found


def test_a_lif_is_what_stands_in_its_blocks(recordings: Path) -> None:
    pytest.importorskip("liffile", reason="liffile is not installed")
    path = recordings / "leica" / "LeicaLASX_xz-plane_example.lif"
    xz, xzt, xzy = (np.frombuffer(block, np.uint8) for block in lif_blocks(path))
    with roi.open(path, scene="x-z") as recording:
        np.testing.assert_array_equal(recording.get_series()[0, 0].T, xz.reshape(512, 512))
        assert "a frame has one row" in recording.get_notes()[0]
    with roi.open(path, scene="x-z-t") as recording:
        np.testing.assert_array_equal(recording[:, 0], xzt.reshape(10, 128, 128).transpose(0, 2, 1))
        assert recording.get_sampling_frequency() == pytest.approx(9 / 4.905)
        assert recording.get_native_timestamps() == pytest.approx(np.arange(10) * 0.545, abs=2e-3)
        found = recording.metadata
        assert found.start_time == datetime(2021, 1, 29, 15, 45, 49, 503000, UTC)
        assert (found.software, found.device) == ("LAS X 3.5.7.23225", "TCS SP8")
        assert found.objective == roi.ObjectiveMetadata("HC PL APO CS2 63x/1.30 GLYC", 63.0, 1.3)
        assert (found.zoom, found.bit_depth, found.modality) == (pytest.approx(7.32238992), 8, "confocal")
        assert found.channels[0].detection_band == pytest.approx((553.0, 691.2154233))
        assert (found.channels[0].laser_lines, found.channels[0].laser_power) == ((543.0,), pytest.approx(4.99980533))
    with roi.open(path, scene="x-z-y") as recording:  # stored as Y, Z, X
        np.testing.assert_array_equal(recording[0], xzy.reshape(38, 64, 128).transpose(0, 2, 1))
        assert recording.get_notes() == ()


# readlif leaves the file to the garbage collector
@pytest.mark.filterwarnings("ignore", "error::roiextractors_core.errors.RoiExtractorsWarning")
def test_a_lif_is_what_another_library_reads(recordings: Path) -> None:
    pytest.importorskip("liffile", reason="liffile is not installed")
    readlif = pytest.importorskip("readlif.reader", reason="readlif is not installed")
    path = recordings / "leica" / "LeicaLASX_xz-plane_example.lif"
    image = readlif.LifFile(path).get_image(1)
    with roi.open(path, scene=1) as recording:
        for t in range(10):
            np.testing.assert_array_equal(recording[t, 0].T, np.asarray(image.get_plane(requested_dims={4: t})))

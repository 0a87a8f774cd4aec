"""Files from real microscopes, against the libraries of their formats and against their bytes."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi

needs_czi = pytest.mark.usefixtures("_czi")


@pytest.fixture
def _czi() -> None:
    pytest.importorskip("bioio_czi", reason="bioio-czi is not installed: roiextractors-bioio[czi]")


@needs_czi
@pytest.mark.parametrize("name", ["Airyscan.czi", "CellDivision_T3_Z5_CH2_X240_Y170.czi"])
def test_a_czi_is_what_zeiss_own_library_reads(recordings: Path, name: str) -> None:
    pyczi = pytest.importorskip("pylibCZIrw.czi")
    path = recordings / "zeiss" / name
    with pyczi.open_czi(str(path)) as document:
        extent = {axis: n for axis, (_, n) in document.total_bounding_box.items()}
        for c, channel in enumerate(roi.streams(path)["channel"]):
            with roi.open(path, channel=channel) as recording:
                assert recording.shape[:3] == (extent["T"], extent["Y"], extent["X"])
                for t, z in np.ndindex(extent["T"], extent.get("Z", 1)):
                    plane = document.read(plane={"T": t, "C": c, "Z": z})[..., 0]
                    seen = recording[t, :, :, z] if recording.is_volumetric else recording[t]
                    np.testing.assert_array_equal(seen, plane)


@needs_czi
def test_the_times_of_a_czi_are_those_of_its_frames(recordings: Path) -> None:
    path = recordings / "zeiss" / "CellDivision_T3_Z5_CH2_X240_Y170.czi"
    with roi.open(path, channel="LED470") as recording:
        # AcquisitionTime of T0 C0 Z0 is 09:47:08.2794823, and of C1 Z0: 09:47:08.6075011, 09:48:08.6279340, 09:49:08.6953697
        seen = recording.get_native_timestamps()
        assert seen == pytest.approx([0.3280188, 60.3484517, 120.4158874], abs=1e-7)
        assert recording.get_native_timestamps(0, 1) == pytest.approx([0.3280188], abs=1e-7)
        assert recording.get_native_timestamps(1, 3) == pytest.approx(seen[1:])
        found = recording.metadata
        assert found.start_time == datetime(2016, 2, 12, 9, 47, 8, 279482, UTC)
        assert found.plane_spacing == pytest.approx(0.32)
        assert found.pixel_size == pytest.approx((0.0905767, 0.0905767), rel=1e-5)
        assert (found.channels[0].emission_wavelength, found.channels[0].excitation_wavelength) == (517.0, 493.0)


@needs_czi
def test_a_czi_whose_frames_bear_no_time_has_those_of_its_time_stamps(recordings: Path) -> None:
    path = recordings / "zeiss" / "Airyscan.czi"
    # The attachment TimeStamps, as czifile reads it
    stamps = np.array([5657.48975321, 5658.01309867, 5658.53644412])
    with roi.open(path, channel="ChA-T2") as recording:
        assert recording.get_native_timestamps() == pytest.approx(stamps - stamps[0], abs=1e-8)
        assert recording.get_native_timestamps(1, 2) == pytest.approx(stamps[1:2] - stamps[0], abs=1e-8)
        assert recording.get_sampling_frequency() == pytest.approx(1.91078377, rel=1e-6)
        assert recording.metadata.plane_spacing is None
        assert recording.metadata.device == "Zeiss LSM 880, AxioObserver"
        assert recording.metadata.start_time is None  # T/StartTime is in the year 1
        assert recording.get_notes() == ()


@needs_czi
def test_the_time_stamps_of_a_czi_are_those_that_czifile_reads(recordings: Path) -> None:
    czifile = pytest.importorskip("czifile", reason="czifile is not installed")
    path = recordings / "zeiss" / "Airyscan.czi"
    with czifile.CziFile(str(path)) as file:
        right = next(
            np.asarray(a.data()) for a in file.attachments() if getattr(a, "attachment_entry", a).name == "TimeStamps"
        )
    with roi.open(path, channel="ChA-T1") as recording:
        np.testing.assert_array_equal(recording.get_native_timestamps(), right - right[0])


@needs_czi
def test_the_light_path_of_a_czi_is_in_its_metadata(recordings: Path) -> None:
    with roi.open(recordings / "zeiss" / "Airyscan.czi", channel="ChA-T1") as recording:
        found = recording.metadata
        assert found.objective is not None
        assert found.objective.name == "Plan-Apochromat 63x/1.4 Oil DIC M27"
        assert (found.objective.magnification, found.objective.numerical_aperture) == (63.0, pytest.approx(1.4))
        assert (found.zoom, found.bit_depth, found.modality) == (6.0, 16, "confocal")
        assert (found.channels[0].laser_lines, found.channels[0].laser_power) == ((561.0,), pytest.approx(0.4))
        assert found.software == "ZEN (blue edition) 3.5.093.00000"
    with roi.open(recordings / "zeiss" / "CellDivision_T3_Z5_CH2_X240_Y170.czi", channel="LED470") as recording:
        found = recording.metadata
        assert found.objective == roi.ObjectiveMetadata("Plan-Apochromat 50x/1.2", 50.0, 1.2)
        assert (found.bit_depth, found.modality, found.zoom) == (14, "one-photon", None)
        assert (found.channels[0].exposure_time, found.channels[0].laser_lines) == (pytest.approx(0.2), ())


def test_an_nd2_is_what_its_library_reads(recordings: Path) -> None:
    pytest.importorskip("bioio_nd2", reason="bioio-nd2 is not installed: roiextractors-bioio[nd2]")
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
    pytest.importorskip("liffile", reason="liffile is not installed: roiextractors-bioio[lif]")
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
    pytest.importorskip("liffile", reason="liffile is not installed: roiextractors-bioio[lif]")
    readlif = pytest.importorskip("readlif.reader", reason="readlif is not installed")
    path = recordings / "leica" / "LeicaLASX_xz-plane_example.lif"
    image = readlif.LifFile(path).get_image(1)
    with roi.open(path, scene=1) as recording:
        for t in range(10):
            np.testing.assert_array_equal(recording[t, 0].T, np.asarray(image.get_plane(requested_dims={4: t})))

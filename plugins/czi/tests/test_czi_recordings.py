"""Files from real microscopes, against Zeiss's library and another one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi


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


def test_the_time_stamps_of_a_czi_are_those_that_czifile_reads(recordings: Path) -> None:
    czifile = pytest.importorskip("czifile", reason="czifile is not installed")
    path = recordings / "zeiss" / "Airyscan.czi"
    with czifile.CziFile(str(path)) as file:
        right = next(
            np.asarray(a.data()) for a in file.attachments() if getattr(a, "attachment_entry", a).name == "TimeStamps"
        )
    with roi.open(path, channel="ChA-T1") as recording:
        np.testing.assert_array_equal(recording.get_native_timestamps(), right - right[0])


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

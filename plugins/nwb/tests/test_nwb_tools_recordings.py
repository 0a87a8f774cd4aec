"""Real recordings through the tools of others: NeuroConv carries what they say of themselves, and DANDI's checks pass.

``nwbinspector`` and ``neuroconv`` are installed in an environment of their own, see the README of the plugin.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

pytest.importorskip("pynwb", reason="pynwb is not installed: the extra [write]")
# what the tools and the packages that they import tell their authors
pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("ignore")]

START = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
SUBJECT = {"subject_id": "m1", "species": "Mus musculus", "sex": "F", "age": "P90D"}
SESSION = {"session_description": "spontaneous activity", "experimenter": "Doe, Jane", "lab": "A lab", "institution": "A university", "session_id": "s1"}  # fmt: skip

RECORDINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "ScanImage": ("scanimage/scanimage_5_7_two_channels.tif", {"channel": "Channel 2"}),
    "ScanImage volumes": ("scanimage/scanimage_20220923_noroi.tif", {"channel": "Channel 1", "slice_sample": 0}),
    "Bruker": ("bruker/NCCR32_2022_11_03_IntoTheVoid_t_series-005", {}),
    "ThorImage": ("thorimage/raw_two_channels", {"channel": "ChanB"}),
    "Femtonics": ("femtonics/p29.mesc", {"unit": "MUnit_1", "channel": "UG"}),
    "Inscopix": ("inscopix/movies/multiplane_movie.isxd", {}),
    "Miniscope": ("miniscope/C6-J588_Disc5", {"session": "15_03_28"}),
    "Leica": ("leica/LeicaLASX_xz-plane_example.lif", {"scene": "x-z-t"}),
}


@pytest.fixture(params=list(RECORDINGS))
def recording(request: pytest.FixtureRequest, recordings: Path) -> Iterator[Any]:
    path, options = RECORDINGS[request.param]
    try:
        opened = roi.open(recordings / path, **options)
        opened[:1]
    except (roi.MissingDependencyError, roi.FormatNotInstalledError, ImportError) as error:
        pytest.skip(str(error))
    with opened:
        yield opened


def _instant(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone()


def _same(mine: float | None, theirs: float | None) -> bool:
    return mine is None if theirs is None else mine is not None and math.isclose(mine, theirs, rel_tol=1e-6)


# NeuroConv


def test_neuroconv_carries_what_a_recording_says_of_itself(recording: Any, tmp_path: Path) -> None:
    pytest.importorskip("neuroconv", reason="neuroconv is not installed; it is tested in an environment of its own")
    from neuroconv.tools.roiextractors import add_imaging_to_nwbfile
    from pynwb import NWBHDF5IO, NWBFile
    from roiextractors_nwb.nwbfile import nwb_metadata, photon_series_type

    metadata = nwb_metadata(recording, indicator="GCaMP6f", location="VISp")
    start = metadata["NWBFile"].get("session_start_time", START)
    file = NWBFile(session_description="made up", identifier="1", session_start_time=start)
    kind: Any = photon_series_type(recording)
    add_imaging_to_nwbfile(recording, file, metadata=metadata, photon_series_type=kind)
    with NWBHDF5IO(str(tmp_path / "a.nwb"), "w") as stream:
        stream.write(file)
    _compare(tmp_path / "a.nwb", recording)


def test_several_channels_by_their_keys(recordings: Path, tmp_path: Path) -> None:
    pytest.importorskip("neuroconv", reason="neuroconv is not installed; it is tested in an environment of its own")
    from neuroconv.tools.roiextractors import add_imaging_to_nwbfile
    from pynwb import NWBHDF5IO, NWBFile
    from roiextractors_nwb.nwbfile import nwb_metadata

    path = recordings / "scanimage" / "scanimage_5_7_two_channels.tif"
    channels = {name: roi.open(path, channel=name) for name in roi.streams(path)["channel"]}
    metadata = nwb_metadata(channels)
    file = NWBFile(session_description="made up", identifier="1", session_start_time=START)
    for key, one in channels.items():
        add_imaging_to_nwbfile(one, file, metadata=metadata, metadata_key=key)
    with NWBHDF5IO(str(tmp_path / "a.nwb"), "w") as stream:
        stream.write(file)
    names = roi.streams(tmp_path / "a.nwb")["series"]
    assert names == ("TwoPhotonSeriesChannel1", "TwoPhotonSeriesChannel2")
    for name, one in zip(names, channels.values(), strict=True):
        with roi.open(tmp_path / "a.nwb", series=name) as found:
            np.testing.assert_array_equal(found[...], one[...])
            assert found.metadata.channels[0].name == one.metadata.channels[0].name
        one.close()


def test_add_to_nwbfile_carries_it_too(recording: Any, tmp_path: Path) -> None:
    from pynwb import NWBHDF5IO, NWBFile
    from roiextractors_nwb.nwbfile import add_to_nwbfile

    start = _instant(recording.metadata.start_time) or START
    file = NWBFile(session_description="made up", identifier="1", session_start_time=start)
    add_to_nwbfile(recording, file, indicator="GCaMP6f", location="VISp")
    with NWBHDF5IO(str(tmp_path / "a.nwb"), "w") as stream:
        stream.write(file)
    _compare(tmp_path / "a.nwb", recording)


def _compare(path: Path, made: Any) -> None:
    """Read the file without the sidecar of ``convert``: by the fields of NWB alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", roi.RoiExtractorsWarning)
        found = roi.open(path)
    with found:
        np.testing.assert_array_equal(found[...], made[...])
        np.testing.assert_allclose(found.get_timestamps(), made.get_timestamps(), rtol=0, atol=1e-6)
        mine, theirs = found.metadata, made.metadata
        regular = np.ptp(np.diff(made.get_timestamps())) < 1e-6
        assert not regular or found.get_sampling_frequency() == pytest.approx(made.get_sampling_frequency(), rel=1e-3)
        assert mine.device == (theirs.device or "Microscope")
        assert mine.pixel_size == (None if theirs.pixel_size is None else pytest.approx(theirs.pixel_size))
        if theirs.pixel_size is not None:
            assert _same(mine.plane_spacing, theirs.plane_spacing)
        assert [channel.name for channel in mine.channels] == [c.name for c in theirs.channels] or not theirs.channels
        for ours, own in zip(mine.channels, theirs.channels, strict=False):
            assert _same(ours.emission_wavelength, own.emission_wavelength)
            only_line = own.laser_lines[0] if len(own.laser_lines) == 1 else None
            assert _same(ours.excitation_wavelength, own.excitation_wavelength or only_line)
        # NWB has two types of series
        assert mine.modality == {"confocal": "one-photon", None: "two-photon"}.get(theirs.modality, theirs.modality)
        assert mine.start_time == _instant(theirs.start_time) or theirs.start_time is None
        plane = mine.vendor["imaging_plane"]
        assert (plane["indicator"], plane["location"]) == ("GCaMP6f", "VISp")


# DANDI


def _refusals(path: Path) -> list[str]:
    """Return what ``dandi validate`` (0.81) calls an error: nwbinspector with DANDI's configuration, and pynwb's validation."""
    inspector = pytest.importorskip("nwbinspector", reason="nwbinspector is not installed; see plugins/nwb/README.md")
    import pynwb

    messages = inspector.inspect_nwbfile(
        nwbfile_path=path,
        config=inspector.load_config(filepath_or_keyword="dandi"),
        importance_threshold=inspector.Importance.CRITICAL,
    )
    with pynwb.NWBHDF5IO(str(path), "r") as stream:
        return [str(message) for message in messages] + list(map(str, pynwb.validate(io=stream)))


@pytest.mark.parametrize("name", list(RECORDINGS))
def test_a_whole_recording_passes_dandis_checks(name: str, recordings: Path, tmp_path: Path) -> None:
    pytest.importorskip("nwbinspector", reason="nwbinspector is not installed; see plugins/nwb/README.md")
    options: dict[str, Any] = {"subject": SUBJECT, "session": SESSION, "start_time": START}
    try:
        path = roi.convert(
            recordings / RECORDINGS[name][0], tmp_path / "a.nwb", **options, indicator="GCaMP6f", location="VISp"
        )
    except (roi.MissingDependencyError, roi.FormatNotInstalledError) as error:
        pytest.skip(str(error))
    assert _refusals(path) == []


@pytest.mark.parametrize(
    "path", ["suite2p/two_plane_two_channel", "caiman/caiman_analysis.hdf5", "inscopix/cellsets/cellset.isxd"]
)
def test_rois_pass_dandis_checks(path: str, recordings: Path, tmp_path: Path) -> None:
    pytest.importorskip("nwbinspector", reason="nwbinspector is not installed; see plugins/nwb/README.md")
    given = {"subject": SUBJECT, "session": SESSION, "start_time": START, "kind": "segmentation"}
    assert _refusals(roi.convert(recordings / path, tmp_path / "a.nwb", **given)) == []


def test_the_checks_fail_without_a_subject(recordings: Path, tmp_path: Path) -> None:
    """The test can fail."""
    source = recordings / "scanimage" / "scanimage_5_7_two_channels.tif"
    refused = _refusals(roi.convert(source, tmp_path / "a.nwb", start_time=START))
    assert any("Subject is missing" in words for words in refused)

"""Recordings added to a file that somebody else makes by pynwb, and the metadata that NeuroConv takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.testing import NoiseImagingExtractor

pytest.importorskip("pynwb", reason="pynwb is not installed: the extra [write]")

from pynwb import NWBHDF5IO, NWBFile
from roiextractors_nwb.nwbfile import add_to_nwbfile, nwb_metadata, photon_series_type

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def new_file() -> NWBFile:
    return NWBFile(session_description="made up", identifier="1", session_start_time=START)


def movie(*planes: int, channel: str = "Green", **more: Any) -> roi.NumpyImagingExtractor:
    facts = {"start_time": START, "pixel_size": (0.5, 0.7), "device": "Rig 2", "modality": "two-photon", **more}
    metadata = roi.RecordingMetadata(channels=(roi.ChannelMetadata(channel, 510.0, 920.0),), **facts)
    pixels = NoiseImagingExtractor((40, 12, 9, *planes), "uint16", seed=len(channel))[...]
    return roi.NumpyImagingExtractor(pixels, sampling_frequency=8.0, metadata=metadata)


def written(file: NWBFile, path: Path) -> Path:
    with NWBHDF5IO(str(path), "w") as stream:
        stream.write(file)
    return path


@pytest.mark.parametrize("planes", [(), (3,)])
@pytest.mark.parametrize("compression", ["gzip", None])
def test_a_movie_comes_back_with_what_nwb_has_fields_for(
    tmp_path: Path, planes: tuple[int, ...], compression: str | None
) -> None:
    made = movie(*planes, **({"plane_spacing": 4.0} if planes else {}))
    file = new_file()
    series = add_to_nwbfile(made, file, indicator="GCaMP6f", location="VISp", compression=compression)
    assert (type(series).__name__, series.rate, series.starting_time) == ("TwoPhotonSeries", 8.0, 0.0)
    with roi.open(written(file, tmp_path / "a.nwb")) as found:
        np.testing.assert_array_equal(found[...], made[...])
        np.testing.assert_array_equal(found.get_timestamps(), made.get_timestamps())
        assert found.metadata.replaced(vendor={}) == made.metadata
        assert found.metadata.vendor["imaging_plane"]["indicator"] == "GCaMP6f"


def test_large_samples_are_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roiextractors_nwb.pixel_writer._CHUNK_BYTES", 1000)
    monkeypatch.setattr("roiextractors_nwb.nwbfile._BLOCK_BYTES", 9000)
    made = NoiseImagingExtractor((23, 40, 31, 3), "uint16", sampling_frequency=5.0)
    file = new_file()
    add_to_nwbfile(made, file)
    with roi.open(written(file, tmp_path / "a.nwb")) as found:
        np.testing.assert_array_equal(found[...], made[...])
        assert np.prod(found.get_chunk_shape()) * 2 <= 1000


def test_times_count_from_the_start_of_the_session() -> None:
    late = movie(start_time=START + timedelta(seconds=30))
    assert add_to_nwbfile(late, new_file()).starting_time == 30.0
    assert add_to_nwbfile(late, new_file(), align_times=False).starting_time == 0.0
    early = movie(start_time=START - timedelta(seconds=1))
    with pytest.raises(roi.UnsupportedRecordingError, match=r"after the recording.*align_times=False"):
        add_to_nwbfile(early, new_file())


def test_several_movies_and_rois_have_names(tmp_path: Path) -> None:
    file, green, red = new_file(), movie(), movie(channel="Red 1")
    masks = np.zeros((12, 9, 2), np.float32)
    masks[1, 2, 0] = masks[3, 4, 1] = 1.0
    rois = roi.NumpySegmentationExtractor(
        masks, {"raw": np.arange(80.0).reshape(40, 2), "dff": np.ones((40, 2))}, sampling_frequency=8.0
    )
    first, second = add_to_nwbfile(green, file, name="Green"), add_to_nwbfile(red, file, name="Red 1")
    table = add_to_nwbfile(rois, file, name="Green")
    assert table.imaging_plane is first.imaging_plane is not second.imaging_plane
    path = written(file, tmp_path / "a.nwb")
    assert roi.streams(path) == {"series": ("TwoPhotonSeriesGreen", "TwoPhotonSeriesRed1")}
    with roi.open(path, series="TwoPhotonSeriesRed1") as found:
        np.testing.assert_array_equal(found[...], red[...])
    with roi.open(path, kind="segmentation") as found:
        np.testing.assert_array_equal(found.get_roi_image_masks(), masks)
        np.testing.assert_array_equal(found.get_traces(name="raw"), rois.get_traces(name="raw"))
        assert found.metadata.channels[0].name == "Green"  # by the plane that it shares with the movie
        assert found.metadata.modality == "two-photon"  # by the movie


def test_a_name_that_is_taken_is_refused() -> None:
    file = new_file()
    add_to_nwbfile(movie(), file)
    with pytest.raises(roi.SourceKindError, match="already has 'TwoPhotonSeries'; pass another name"):
        add_to_nwbfile(movie(), file)
    with pytest.raises(roi.SourceKindError, match="already has ImagingPlane of 'Rig 2' with Green; pass another name"):
        add_to_nwbfile(movie(channel="Red"), file, modality="one-photon")
    rois = roi.NumpySegmentationExtractor(np.ones((12, 9, 2), np.float32), np.zeros((9, 2)), sampling_frequency=8.0)
    add_to_nwbfile(rois, file)
    with pytest.raises(roi.SourceKindError, match="already has 'PlaneSegmentation'"):
        add_to_nwbfile(rois, file)


def test_what_cannot_be_written_is_refused_before_anything_is_added() -> None:
    file = new_file()
    empty = roi.NumpyImagingExtractor(np.zeros((0, 4, 5)), sampling_frequency=1.0)
    without_rate = roi.NumpyImagingExtractor(np.zeros((3, 4, 5)))
    for wrong, kind, words in (
        (empty, roi.UnsupportedRecordingError, "empty recording"),
        (without_rate, roi.TimesError, "this recording has neither"),
    ):
        with pytest.raises(kind, match=words):
            add_to_nwbfile(wrong, file)
    with pytest.raises(roi.UnknownOptionError, match="compression must be"):
        add_to_nwbfile(movie(), file, compression="zip")
    assert not file.acquisition
    assert not file.imaging_planes


def test_the_metadata_are_devices_planes_and_series_by_key() -> None:
    one = nwb_metadata(movie(), indicator="GCaMP6f")
    assert one["NWBFile"] == {"session_start_time": START}
    assert one["Devices"] == {"default_metadata_key": {"name": "Rig 2"}}
    plane = one["Ophys"]["ImagingPlanes"]["default_metadata_key"]
    assert (plane["excitation_lambda"], plane["indicator"], plane["location"]) == (920.0, "GCaMP6f", "unknown")
    assert plane["grid_spacing"] == [0.7, 0.5]
    assert plane["device_metadata_key"] == "default_metadata_key"
    assert plane["optical_channel"][0] == {"name": "Green", "description": "Green", "emission_lambda": 510.0}
    series = one["Ophys"]["MicroscopySeries"]["default_metadata_key"]
    assert (series["name"], series["dimension"]) == ("TwoPhotonSeries", [9, 12])
    both = nwb_metadata({"g": movie(), "r": movie(channel="Red")}, location={"r": "VISp"})
    assert list(both["Devices"]) == ["g"]
    assert [both["Ophys"]["ImagingPlanes"][key]["device_metadata_key"] for key in "gr"] == ["g", "g"]
    assert [both["Ophys"]["ImagingPlanes"][key]["location"] for key in "gr"] == ["unknown", "VISp"]
    assert [both["Ophys"]["MicroscopySeries"][key]["name"] for key in "gr"] == ["TwoPhotonSeriesG", "TwoPhotonSeriesR"]
    rois = roi.NumpySegmentationExtractor(np.ones((4, 5, 2), np.float32), np.zeros((9, 2)))
    table = nwb_metadata(rois)["Ophys"]["PlaneSegmentations"]["default_metadata_key"]
    assert (table["name"], table["imaging_plane_metadata_key"]) == ("PlaneSegmentation", "default_metadata_key")
    with pytest.raises(roi.UnknownOptionError, match="'g' must be an opened recording, got str"):
        nwb_metadata({"g": "movie.tif"})


def test_the_type_of_the_series_follows_the_modality() -> None:
    assert photon_series_type(movie(modality="confocal")) == "OnePhotonSeries"
    assert photon_series_type(movie(modality=None)) == "TwoPhotonSeries"
    assert photon_series_type(movie(), "one-photon") == "OnePhotonSeries"

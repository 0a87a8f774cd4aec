"""suite2p's ROIs and traces in real folders, as roiextractors and numpy find them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

FOLDER = "suite2p/two_plane_two_channel"
CASES = [(plane, channel) for plane in ("plane0", "plane1") for channel in ("chan1", "chan2")]


@pytest.fixture(scope="session")
def entries(recordings: Path) -> dict[str, Any]:
    """What the published reader found, by the end of the id."""
    found = json.loads((recordings / "EXPECTED.json").read_text())
    mine = [e for e in found if e["kind"] == "segmentation" and e["path"] == FOLDER]
    return {e["id"].removeprefix(f"{FOLDER}/"): e for e in mine}


@pytest.mark.parametrize(("plane", "channel"), CASES)
def test_what_roiextractors_finds(recordings: Path, entries: dict[str, Any], plane: str, channel: str) -> None:
    expected = entries[f"{plane}/{channel}"]
    with roi.open(recordings / FOLDER, kind="segmentation", plane=plane, channel=channel) as rois:
        assert rois.get_num_rois() == expected["num_rois"]
        assert rois.get_roi_ids()[: len(expected["roi_ids"])] == expected["roi_ids"]
        assert rois.get_num_samples() == expected["num_samples"]
        assert list(rois.get_frame_shape()) == expected["frame_shape"]
        assert rois.get_sampling_frequency() == expected["sampling_frequency"]
        assert rois.get_background_ids() == expected["background_ids"]
        assert rois.get_native_timestamps() is None
        assert list(rois.get_trace_names()) == list(expected["traces"])
        for name, trace in expected["traces"].items():
            traces = rois.get_traces(name=name)
            assert list(traces.shape) == trace["shape"]
            assert traces.sum(dtype=np.float64) == pytest.approx(trace["sum"], rel=1e-9)
        for name, shape in expected["images"].items():
            assert list(rois.get_image(name).shape) == shape
        for mask, seen in zip(rois.get_roi_pixel_masks(), expected["masks"], strict=False):
            assert len(mask) == seen["pixels"]
            assert mask[:, 2].sum() == pytest.approx(seen["weight"], rel=1e-9)
        assert rois.get_notes() == ()


@pytest.mark.parametrize("plane", ["plane0", "plane1", "combined"])
def test_what_numpy_finds(recordings: Path, plane: str) -> None:
    """The oracle unpickles these very files, which are known; it is trusted with no other."""
    folder = recordings / FOLDER / plane
    stat, ops = np.load(folder / "stat.npy", allow_pickle=True), np.load(folder / "ops.npy", allow_pickle=True).item()
    with roi.open(recordings / FOLDER, kind="segmentation", plane=plane, channel="chan1") as rois:
        for mask, one in zip(rois.get_roi_pixel_masks(), stat, strict=True):
            np.testing.assert_array_equal(mask, np.stack([one["ypix"], one["xpix"], one["lam"]], axis=1))
        for name, file in (("raw", "F"), ("neuropil", "Fneu"), ("deconvolved", "spks")):
            oracle = np.load(folder / f"{file}.npy").T
            np.testing.assert_array_equal(rois.get_traces(name=name), oracle)
            np.testing.assert_array_equal(rois.get_traces(["7", "3"], 20, 31, name), oracle[20:31, [7, 3]])
        for key in ("npix", "skew", "std", "radius", "aspect_ratio", "compact", "npix_norm", "footprint"):
            np.testing.assert_array_equal(rois.get_property(key), [one[key] for one in stat])
        for name in ("iscell", "redcell"):
            table = np.load(folder / f"{name}.npy")
            np.testing.assert_array_equal(rois.get_property(name), table[:, 0] == 1)
            np.testing.assert_array_equal(rois.get_property(f"{name}_probability"), table[:, 1])
        pairs = {
            "mean": "meanImg",
            "mean_chan2": "meanImg_chan2",
            "correlation": "Vcorr",
            "maximum_projection": "max_proj",
        }
        for image, key in {**pairs, "mean_enhanced": "meanImgE"}.items():
            np.testing.assert_array_equal(rois.get_image(image), ops[key])


def test_the_combined_folder_is_a_mosaic(recordings: Path) -> None:
    with roi.open(recordings / FOLDER, kind="segmentation", plane="combined") as mosaic:
        planes = mosaic.get_property("iplane")
        assert mosaic.get_frame_shape() == (128, 256)
        assert mosaic.get_num_rois() == 40
        for number, shift in ((0, 0), (1, 128)):
            with roi.open(recordings / FOLDER, kind="segmentation", plane=number, channel="chan1") as part:
                ids = [str(k) for k in np.flatnonzero(planes == number)]
                for mask, expected in zip(mosaic.get_roi_pixel_masks(ids), part.get_roi_pixel_masks(), strict=True):
                    np.testing.assert_array_equal(mask, expected + [0, shift, 0])
                np.testing.assert_array_equal(mosaic.get_traces(ids), part.get_traces())


def test_streams_and_errors_name_planes_and_channels(recordings: Path) -> None:
    folder = recordings / FOLDER
    expected = {"plane": ("plane0", "plane1", "combined"), "channel": ("chan1", "chan2")}
    assert roi.streams(folder, kind="segmentation") == expected
    assert roi.streams(folder, kind="segmentation", plane=1) == expected
    assert roi.streams(folder, kind="segmentation", plane="combined") == {"plane": expected["plane"]}
    with pytest.raises(roi.StreamChoiceError, match=r"has the planes 'plane0', 'plane1' and 'combined'; choose one"):
        roi.open(folder, kind="segmentation")
    with pytest.raises(roi.StreamChoiceError, match=r"has the channels 'chan1' and 'chan2'; choose one"):
        roi.open(folder / "plane0", kind="segmentation")
    with pytest.raises(roi.StreamChoiceError, match=r"combined has the channel 'chan1', not 'chan2'"):
        roi.open(folder, kind="segmentation", plane="combined", channel="chan2")


def test_the_movie_is_missing_and_the_error_names_the_rois(recordings: Path) -> None:
    with pytest.raises(roi.SourceError, match=r"does not contain data.bin.* open\(..., kind='segmentation'\)"):
        roi.open(recordings / FOLDER)

"""The real NWB file of ROIs, read as roiextractors 0.10 and h5py read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import roiextractors_core as roi


@pytest.fixture
def entry(recordings: Path) -> dict[str, Any]:
    entries = json.loads((recordings / "EXPECTED.json").read_text())
    found: dict[str, Any] = next(e for e in entries if e["kind"] == "segmentation" and e["path"] == "nwb/nwb_test.nwb")
    return found


@pytest.fixture
def rois(recordings: Path, entry: dict[str, Any]) -> Any:
    with roi.open(recordings / entry["path"], kind="segmentation", **entry["options"]) as opened:
        yield opened


def test_the_real_file_is_read_as_other_readers_read_it(rois: Any, entry: dict[str, Any]) -> None:
    assert rois.get_num_rois() == entry["num_rois"]
    assert rois.get_roi_ids()[: len(entry["roi_ids"])] == entry["roi_ids"]
    assert rois.get_num_samples() == entry["num_samples"]
    assert list(rois.get_frame_shape()) == entry["frame_shape"]
    assert rois.get_sampling_frequency() == entry["sampling_frequency"]
    assert set(rois.get_trace_names()) == set(entry["traces"])
    for name, known in entry["traces"].items():
        trace = rois.get_traces(name=name)
        assert list(trace.shape) == known["shape"]
        assert trace.sum(dtype=np.float64) == pytest.approx(known["sum"], rel=1e-9)
    assert {name: list(image.shape) for name, image in rois.get_images_dict().items()} == entry["images"]
    masks = rois.get_roi_masks()
    for k, known in enumerate(entry["masks"]):
        assert masks.num_pixels[k] == known["pixels"]
        assert masks.weights_of(k).sum() == pytest.approx(known["weight"], rel=1e-9)
    assert rois.get_background_ids() == entry["background_ids"]
    known = entry["native_timestamps"]
    times = rois.get_native_timestamps()
    assert len(times) == known["n"]
    np.testing.assert_allclose(times[:3], known["first"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(times[-3:], known["last"], rtol=0, atol=1e-12)


def test_the_real_files_masks_and_images_are_those_in_the_file_with_x_as_the_column(
    rois: Any, recordings: Path, entry: dict[str, Any]
) -> None:
    with h5py.File(recordings / entry["path"]) as file:
        ophys = file["processing/ophys"]
        stored = ophys["ImageSegmentation/PlaneSegmentation/image_mask"][:]
        mean = ophys["SegmentationImages/mean"][:]
        accepted = ophys["ImageSegmentation/PlaneSegmentation/Accepted"][:]
        raw = ophys["Fluorescence/RoiResponseSeries/data"][:]
    np.testing.assert_array_equal(rois.get_roi_image_masks(), stored.transpose(2, 1, 0))
    np.testing.assert_array_equal(rois.get_image("mean"), mean.T)
    np.testing.assert_array_equal(rois.get_property("accepted"), accepted.astype(bool))
    np.testing.assert_array_equal(rois.get_traces(["7", "2"], 20, 30), raw[20:30, [7, 2]])


def test_the_real_files_roiextractors_oracle(rois: Any, recordings: Path, entry: dict[str, Any]) -> None:
    theirs = pytest.importorskip("roiextractors").NwbSegmentationExtractor(recordings / entry["path"])
    np.testing.assert_array_equal(rois.get_roi_image_masks(), theirs.get_roi_image_masks())
    for name in ("raw", "neuropil", "deconvolved"):
        np.testing.assert_array_equal(rois.get_traces(name=name), theirs.get_traces(name=name))
    np.testing.assert_array_equal(rois.get_image("correlation"), theirs.get_images_dict()["correlation"])


def test_an_imaging_open_of_the_real_file_names_the_kind(recordings: Path) -> None:
    with pytest.raises(roi.errors.RoiExtractorsError, match="kind='segmentation'"):
        roi.open(recordings / "nwb" / "nwb_test.nwb")


def test_a_real_file_whose_pixel_masks_are_outside_of_the_frame_gives_its_image_masks(recordings: Path) -> None:
    with roi.open(recordings / "nwb" / "unit" / "test_PlaneSegmentation.nwb", kind="segmentation") as rois:
        assert rois.get_roi_ids() == ["0", "1"]
        assert rois.get_frame_shape() == (5, 5)
        with pytest.warns(
            roi.RoiExtractorsWarning, match=r"pixel_mask has pixels .*outside.*image_mask is read instead"
        ):
            masks = rois.get_roi_image_masks()
        np.testing.assert_array_equal(masks[..., 0], np.ones((5, 5)))
        np.testing.assert_array_equal(masks[..., 1], np.full((5, 5), 2.0))

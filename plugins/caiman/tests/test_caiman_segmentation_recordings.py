"""Analyses that CaImAn itself saved, against what other readers found in them."""

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
    return next(item for item in entries if item["id"] == "caiman/caiman_analysis.hdf5")


def test_an_analysis_is_as_expected(recordings: Path, entry: dict[str, Any]) -> None:
    with roi.open(recordings / entry["path"], kind="segmentation") as rois:
        assert rois.provenance.format == "caiman-segmentation"
        assert rois.get_num_rois() == entry["num_rois"]
        assert rois.get_roi_ids()[: len(entry["roi_ids"])] == entry["roi_ids"]
        assert rois.get_num_samples() == entry["num_samples"]
        assert list(rois.get_frame_shape()) == entry["frame_shape"]
        assert rois.get_sampling_frequency() == entry["sampling_frequency"]
        traces = rois.get_traces_dict()
        assert set(traces) == set(entry["traces"])
        for name, expected in entry["traces"].items():
            assert list(traces[name].shape) == expected["shape"]
            assert traces[name].sum(dtype=np.float64) == pytest.approx(expected["sum"], rel=1e-9)
        assert {name: list(image.shape) for name, image in rois.get_images_dict().items()} == entry["images"]
        masks = rois.get_roi_masks()
        for k, expected in enumerate(entry["masks"]):
            assert masks.num_pixels[k] == expected["pixels"]
            assert masks.weights_of(k).sum() == pytest.approx(expected["weight"], rel=1e-6)
        assert rois.get_background_ids() == entry["background_ids"]
        # The components were not evaluated: nothing says which are accepted
        assert not {"is_accepted", "is_rejected"} & set(rois.get_property_keys())
        assert rois.metadata.software == "CaImAn 1.8.5"
        assert rois.get_notes() == ()


def test_masks_are_those_of_the_sparse_matrix_by_hand(recordings: Path, entry: dict[str, Any]) -> None:
    with h5py.File(recordings / entry["path"]) as file:
        data, indices, indptr = (file[f"estimates/A/{key}"][()] for key in ("data", "indices", "indptr"))
    with roi.open(recordings / entry["path"], kind="segmentation") as rois:
        images = rois.get_roi_image_masks(["0", "71", "40"])
    rows, columns = entry["frame_shape"]
    for image, k in zip(np.moveaxis(images, -1, 0), (0, 71, 40), strict=True):
        expected = np.zeros((rows, columns))
        for at in range(indptr[k], indptr[k + 1]):
            expected[indices[at] % rows, indices[at] // rows] = data[at]
        np.testing.assert_array_equal(image, expected)

"""A real folder of minian against what another reader found in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import RoiExtractorsError


def test_the_real_folder_agrees_with_roiextractors(recordings: Path) -> None:
    entries = json.loads((recordings / "EXPECTED.json").read_text(encoding="utf-8"))
    for expected in [entry for entry in entries if entry["path"].startswith("minian/")]:
        with roi.open(recordings / expected["path"], kind="segmentation", **expected["options"]) as rois:
            assert rois.provenance.format == "minian"
            assert rois.get_num_rois() == expected["num_rois"]
            assert rois.get_roi_ids() == expected["roi_ids"]
            assert rois.get_num_samples() == expected["num_samples"]
            assert list(rois.get_frame_shape()) == expected["frame_shape"]
            assert rois.get_sampling_frequency() == expected["sampling_frequency"]
            assert rois.get_background_ids() == expected["background_ids"]
            traces = rois.get_traces_dict()
            assert set(traces) == set(expected["traces"])
            for name, facts in expected["traces"].items():
                assert list(traces[name].shape) == facts["shape"]
                assert float(traces[name].sum()) == pytest.approx(facts["sum"], rel=1e-12)
            assert {k: list(v.shape) for k, v in rois.get_images_dict().items()} == expected["images"]
            masks = rois.get_roi_masks()
            assert masks.num_pixels.tolist() == [facts["pixels"] for facts in expected["masks"]]
            weights = [float(masks.weights_of(k).sum()) for k in range(len(masks))]
            assert weights == pytest.approx([facts["weight"] for facts in expected["masks"]], rel=1e-12)
            times = rois.get_native_timestamps()
            assert len(times) == expected["native_timestamps"]["n"]
            np.testing.assert_allclose(times[:3], expected["native_timestamps"]["first"], atol=1e-12)
            np.testing.assert_allclose(times[-3:], expected["native_timestamps"]["last"], atol=1e-12)
            assert rois.get_notes() == ()


def test_the_real_arrays_are_those_that_zarr_reads(recordings: Path) -> None:
    zarr = pytest.importorskip("zarr")
    folder = recordings / "minian" / "gin_minian" / "segmented_data_3units_100frames"
    with roi.open(folder, kind="segmentation") as rois:
        stored = {
            name: zarr.open_group(str(folder / f"{name}.zarr"), mode="r")[name][...] for name in ("A", "C", "max_proj")
        }
        np.testing.assert_array_equal(rois.get_roi_image_masks(), stored["A"].transpose(1, 2, 0))
        np.testing.assert_array_equal(rois.get_traces(name="denoised", roi_ids=["1"]), stored["C"][[1]].T)
        np.testing.assert_array_equal(rois.get_image("maximum_projection"), stored["max_proj"])
        assert rois.get_sampling_frequency() == pytest.approx(14.9, abs=0.05)
        assert dict(rois.metadata.vendor) == {
            "animal": "Ca_EEG3", "session": "Ca_EEG3_minian", "session_id": "Ca_EEG3-4"
        }  # fmt: skip


def test_the_real_folder_opened_as_a_movie_names_the_kind(recordings: Path) -> None:
    with pytest.raises(RoiExtractorsError, match="kind='segmentation'"):
        roi.open(recordings / "minian" / "gin_minian" / "segmented_data_3units_100frames")

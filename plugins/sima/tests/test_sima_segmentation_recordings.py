"""Real datasets of SIMA, by Python 2 and 3, against the standard library's unpickler, which is trusted with these known files."""

from __future__ import annotations

import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import RoiExtractorsError, StreamChoiceError

DATASETS = {"dataset_hdf5.sima": (None,), "dataset_tiff.sima": ("Green", "Blue"), "dataset_tiff2.sima": (None,)}


def unpickled(path: Path) -> Any:
    pytest.importorskip("scipy")
    with warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")  # scipy's modules have other names now
        return pickle.load(file, encoding="latin1")


@pytest.mark.parametrize("name", list(DATASETS))
def test_a_real_dataset_has_what_was_pickled(recordings: Path, name: str) -> None:
    folder = recordings / "sima" / name
    for number, channel in enumerate(DATASETS[name]):
        options = {} if channel is None else {"channel": channel}
        with roi.open(folder, kind="segmentation", **options) as rois:
            assert rois.provenance.format == "sima"
            assert rois.get_num_rois() == 86
            assert rois.get_frame_shape() == (127, 253)
            assert rois.metadata.software == "SIMA 1.3.2"
            assert rois.get_notes() == ()
            (entry,) = unpickled(folder / "rois.pkl").values()
            dense = rois.get_roi_image_masks()
            for k, one in enumerate(entry["rois"]):
                np.testing.assert_array_equal(dense[..., k], one["mask"][0].toarray())
            if not (folder / f"signals_{number}.pkl").exists():
                assert rois.get_trace_names() == ()
                continue
            (signals,) = unpickled(folder / f"signals_{number}.pkl").values()
            np.testing.assert_array_equal(rois.get_traces(), signals["raw"][0].T)
            np.testing.assert_array_equal(rois.get_traces(["7"], 3, 9)[:, 0], signals["raw"][0][7, 3:9])
            averages = unpickled(folder / "time_averages.pkl")
            np.testing.assert_array_equal(rois.get_image("mean"), averages[0, :, :, number])


@pytest.mark.parametrize("name", ["dataset_hdf5.sima", "dataset_tiff.sima"])
def test_the_pickles_of_python_2_are_the_same(recordings: Path, tmp_path: Path, name: str) -> None:
    old = tmp_path / name
    old.mkdir()
    for path in (recordings / "sima" / name).glob("*_p2.pkl"):
        shutil.copyfile(path, old / path.name.replace("_p2", ""))
    options = {} if DATASETS[name] == (None,) else {"channel": "Blue"}
    with (
        roi.open(old, kind="segmentation", **options) as before,
        roi.open(recordings / "sima" / name, kind="segmentation", **options) as after,
    ):
        np.testing.assert_array_equal(before.get_traces(), after.get_traces())
        assert before.get_roi_masks() == after.get_roi_masks()
        np.testing.assert_array_equal(before.get_image("mean"), after.get_image("mean"))
        assert before.metadata == after.metadata


def test_the_channels_of_a_real_dataset_are_named(recordings: Path) -> None:
    folder = recordings / "sima" / "dataset_tiff.sima"
    assert roi.streams(folder, kind="segmentation") == {"channel": ("Green", "Blue")}
    with pytest.raises(StreamChoiceError, match="'Green' and 'Blue'"):
        roi.open(folder, kind="segmentation")


def test_a_real_dataset_opened_as_a_movie_names_the_kind(recordings: Path) -> None:
    with pytest.raises(RoiExtractorsError, match="kind='segmentation'"):
        roi.open(recordings / "sima" / "dataset_tiff2.sima")

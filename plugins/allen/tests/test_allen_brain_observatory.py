"""NWB 1 files of the Brain Observatory, written by h5py alone, as AllenSDK reads them."""

from __future__ import annotations

import pickle
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from roiextractors_allen.brain_observatory import BrainObservatoryExtractor

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    RecordingError,
    RoiExtractorsWarning,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import SegmentationExtractorTests

PIPELINE = "processing/brain_observatory_pipeline"
PLANE = f"{PIPELINE}/ImageSegmentation/imaging_plane_1"
RAW = f"{PIPELINE}/Fluorescence/imaging_plane_1"
IDS = ["589", "12", "7003"]
TIMES = 9.5 + np.arange(11) / 30.1
MASKS = np.zeros((6, 10, 3), np.uint8)
MASKS[0:2, 7:9, 0] = 1
MASKS[4, 1, 1] = MASKS[5, 1, 1] = MASKS[5, 2, 1] = 1
MASKS[3, 9, 2] = 1


def traces(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((3, 11)).astype(np.float32)


def write(path: Path, *, is_old: bool = False, **changes: Any) -> Path:
    """Write an experiment; before version 2 of the pipeline the neuropil was in the group of the raw traces."""
    neuropil = f"{RAW}/neuropil_traces" if is_old else f"{RAW}_neuropil_response/data"
    factors = f"{RAW}/r" if is_old else f"{RAW}_neuropil_response/r"
    contents: dict[str, Any] = {
        "nwb_version": "NWB-1.0.5_beta",
        "session_start_time": "Thu May 12 10:13:26 2016",
        "general/session_id": "501940850",
        "general/devices/2-photon microscope": "Nikon A1R-MP multiphoton microscope.",
        f"{PIPELINE}/ImageSegmentation/roi_ids": np.array(IDS, "S"),
        f"{PIPELINE}/ImageSegmentation/cell_specimen_ids": np.array([517, 518, 519]),
        f"{PLANE}/roi_list": np.array(["roi_a", "roi_b", "roi_c"], "S"),
        f"{PLANE}/reference_images/maximum_intensity_projection_image/data": np.arange(60, dtype=np.uint8).reshape(
            6, 10
        ),
        f"{RAW}/data": traces(0),
        f"{RAW}/timestamps": TIMES,
        neuropil: traces(1),
        factors: np.array([0.5, 0.6, 0.7]),
        f"{PIPELINE}/DfOverF/imaging_plane_1/data": traces(3),
    }
    contents |= {f"{PLANE}/roi_{letter}/img_mask": MASKS[:, :, k] for k, letter in enumerate("abc")}
    if not is_old:
        contents[f"{RAW}_demixed_signal/data"] = traces(2)
    with h5py.File(path, "w") as file:
        for name, values in (contents | changes).items():
            if values is not None:
                file[name] = values
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "501940850.nwb")


class TestBrainObservatory(SegmentationExtractorTests):
    """The rules of the kit."""

    format = "allen-nwb1"

    @pytest.fixture
    def recording(self, path: Path) -> Path:
        return path

    @pytest.fixture
    def expected(self) -> roi.NumpySegmentationExtractor:
        names = ("raw", "neuropil", "demixed", "dff")
        return roi.NumpySegmentationExtractor(
            MASKS,
            {name: traces(seed).T for seed, name in enumerate(names)},
            roi_ids=IDS,
            images={"maximum_projection": np.arange(60, dtype=np.uint8).reshape(6, 10)},
            properties={"cell_specimen_id": [517, 518, 519], "neuropil_r": [0.5, 0.6, 0.7]},
            times=TIMES,
        )


def test_an_experiment_is_read(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rois = roi.open(path, kind="segmentation")
    with rois:
        assert rois.provenance.format == "allen-nwb1"
        assert rois.get_trace_names() == ("raw", "demixed", "neuropil", "dff")
        np.testing.assert_array_equal(rois.get_traces(["12"], 3, 5, name="dff"), traces(3)[[1], 3:5].T)
        assert rois.get_roi_pixel_masks(["12"])[0].tolist() == [[4, 1, 1], [5, 1, 1], [5, 2, 1]]
        assert rois.metadata.start_time == datetime(2016, 5, 12, 10, 13, 26)
        assert rois.metadata.device == "Nikon A1R-MP multiphoton microscope."
        assert rois.metadata.modality == "two-photon"
        assert rois.metadata.vendor["ophys_experiment_id"] == "501940850"
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(rois)).get_traces(), traces(0).T)


def test_the_older_pipeline_is_read(tmp_path: Path) -> None:
    with BrainObservatoryExtractor(write(tmp_path / "x.nwb", is_old=True)) as rois:
        assert rois.get_trace_names() == ("raw", "neuropil", "dff")
        np.testing.assert_array_equal(rois.get_traces(name="neuropil"), traces(1).T)
        assert rois.get_property("neuropil_r").tolist() == [0.5, 0.6, 0.7]


def test_traces_are_matched_by_the_names_beside_them(tmp_path: Path) -> None:
    names = np.array(["roi_c", "roi_a", "roi_b"], "S")
    with BrainObservatoryExtractor(write(tmp_path / "x.nwb", **{f"{RAW}/roi_names": names})) as rois:
        np.testing.assert_array_equal(rois.get_traces(), traces(0)[[1, 2, 0]].T)
    with pytest.raises(CorruptRecordingError, match="roi_names are not the names in roi_list"):
        BrainObservatoryExtractor(write(tmp_path / "y.nwb", **{f"{RAW}/roi_names": np.array(["x", "y", "z"], "S")}))


def test_traces_with_samples_first_are_turned(tmp_path: Path) -> None:
    with BrainObservatoryExtractor(write(tmp_path / "x.nwb", **{f"{RAW}/data": traces(0).T})) as rois:
        assert rois.get_num_samples() == 11
        np.testing.assert_array_equal(rois.get_traces(), traces(0).T)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({f"{RAW}/timestamps": TIMES[:5]}, "has 5 times for 11 samples"),
        ({f"{RAW}/timestamps": TIMES[::-1]}, "has 11 times for 11 samples, or they are not increasing"),
        (
            {f"{PIPELINE}/DfOverF/imaging_plane_1/data": np.zeros((3, 7))},
            "shape .3, 7., but there are 3 ROIs and 11 samples",
        ),
        (
            {f"{PIPELINE}/ImageSegmentation/cell_specimen_ids": np.arange(2)},
            "cell_specimen_ids has 2 values for 3 ROIs",
        ),
    ],
)
def test_what_contradicts_the_traces_is_left_out_with_a_warning(tmp_path: Path, changes: Any, words: str) -> None:
    path = write(tmp_path / "x.nwb", **changes)
    with pytest.warns(RoiExtractorsWarning, match=words):
        rois = BrainObservatoryExtractor(path)
    with rois:
        np.testing.assert_array_equal(rois.get_traces(), traces(0).T)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({f"{RAW}/data": None}, "has no traces"),
        ({f"{RAW}/data": np.zeros((4, 11), "f4")}, "shape .4, 11., but there are 3 ROIs"),
        ({f"{PLANE}/roi_list": np.array(["roi_a", "roi_b"], "S")}, "names 2 ROIs in roi_list, but 3 different ids"),
        ({f"{PLANE}/roi_list": np.array(["roi_a"] * 3, "S")}, "names 1 ROI in roi_list"),
        ({f"{PLANE}/roi_list": np.zeros(3)}, "roi_list must contain text or whole numbers"),
        ({f"{PLANE}/roi_list": None}, "roi_list is not a list of names"),
        ({f"{PIPELINE}/ImageSegmentation/roi_ids": np.array(["1", "1", "2"], "S")}, "2 different ids in roi_ids"),
        ({f"{PLANE}/roi_b/img_mask": None}, "has no mask of the ROI 'roi_b'"),
        ({f"{PLANE}/roi_b/img_mask": np.zeros((5, 5), "u1")}, "mask of ROI number 1 has shape .5, 5."),
        ({f"{PLANE}/roi_b/img_mask": np.full((6, 10), np.nan)}, "the weight nan"),
        ({f"{PLANE}/roi_list": np.array(["../roi_a", "roi_b", "roi_c"], "S")}, "no mask of the ROI '../roi_a'"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, changes: Any, words: str) -> None:
    path = write(tmp_path / "x.nwb", **changes)
    with pytest.raises(RecordingError, match=words):
        with BrainObservatoryExtractor(path) as rois:
            rois.get_roi_masks()


def test_lists_of_variable_length_are_not_read(tmp_path: Path) -> None:
    # libhdf5 crashes on those whose base type is damaged
    path = write(tmp_path / "x.nwb", **{"general/session_id": None})
    with h5py.File(path, "a") as file:
        file.create_dataset("general/session_id", (), h5py.vlen_dtype(np.int32))[()] = np.arange(3)
        file.create_dataset("lists", (3,), h5py.vlen_dtype(np.int32))[:] = np.arange(3)
    with BrainObservatoryExtractor(path) as rois:
        assert "ophys_experiment_id" not in rois.metadata.vendor
    with h5py.File(path, "a") as file:
        del file[f"{PLANE}/roi_list"]
        file[f"{PLANE}/roi_list"] = file["lists"]
    with pytest.raises(CorruptRecordingError, match="roi_list must contain text or whole numbers, got object"):
        BrainObservatoryExtractor(path)


def test_other_and_truncated_files_are_refused(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "other.nwb"
    with h5py.File(other, "w") as file:
        file["nwb_version"] = "NWB-1.0.5"
    with pytest.raises(UnsupportedRecordingError, match=r"other\.nwb has no ROIs of the Allen Brain Observatory"):
        BrainObservatoryExtractor(other)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(TruncatedRecordingError, match="is truncated: it lacks 500 bytes"):
        BrainObservatoryExtractor(path)

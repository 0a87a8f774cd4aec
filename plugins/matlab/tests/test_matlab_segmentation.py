"""EXTRACT, CNMF-E and CIAtah in every version of MATLAB file."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from roiextractors_matlab.segmentation import (
    CiatahSegmentationExtractor,
    CnmfeSegmentationExtractor,
    ExtractSegmentationExtractor,
)

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    RecordingError,
    RoiExtractorsWarning,
    SourceKindError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import SegmentationExtractorTests

Tree = dict[str, Any]
Write = Callable[[Path, Tree], Path]
ROWS, COLUMNS, ROIS, SAMPLES = 7, 5, 3, 60
RNG = np.random.default_rng(5)
RAW, DENOISED = RNG.normal(size=(ROIS, SAMPLES)), RNG.normal(size=(ROIS, SAMPLES)).astype(np.float32)
SPIKES = np.where(RNG.random((ROIS, SAMPLES)) > 0.8, 1.5, 0.0)
PICTURE = RNG.normal(size=(ROWS, COLUMNS))
_CLASSES = {"float64": b"double", "float32": b"single", "bool": b"logical"}
HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024 HDF5 schema 1.00 ."


class Sparse:
    """A sparse matrix, from a full one."""

    def __init__(self, dense: np.ndarray) -> None:
        self.dense = np.asarray(dense, np.float64)

    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return data, row numbers and where each column begins."""
        rows = [np.flatnonzero(column) for column in self.dense.T]
        data = [self.dense[places, k] for k, places in enumerate(rows)]
        jc = np.cumsum([0, *map(len, rows)])
        return np.concatenate([*data, []]), np.concatenate([*rows, np.empty(0, int)]).astype(int), jc


def write_mat73(path: Path, tree: dict[str, Any]) -> Path:
    with h5py.File(path, "w", userblock_size=512) as file:
        _write(file, tree)
    with path.open("r+b") as stream:
        stream.write(HEADER.ljust(124) + b"\x00\x02IM")
    return path


def _write(group: Any, tree: dict[str, Any]) -> None:
    for key, value in tree.items():
        if isinstance(value, dict):
            below = group.create_group(key)
            below.attrs["MATLAB_class"] = np.bytes_(b"struct")
            _write(below, value)
        elif isinstance(value, Sparse):
            data, rows, jc = value.parts()
            below = group.create_group(key)
            below.attrs["MATLAB_class"] = np.bytes_(b"double")
            below.attrs["MATLAB_sparse"] = np.uint64(value.dense.shape[0])
            below["jc"] = jc.astype(np.uint64)
            if len(data):  # MATLAB writes neither for a matrix of zeros
                below["data"], below["ir"] = data, rows.astype(np.uint64)
        elif isinstance(value, str):
            group[key] = np.array([[ord(letter)] for letter in value], np.uint16).reshape(-1, 1)
            group[key].attrs["MATLAB_class"] = np.bytes_(b"char")
        else:
            array = np.atleast_2d(np.asarray(value))
            if array.size:
                group[key] = array.T.astype(np.uint8 if array.dtype == bool else array.dtype)
            else:
                group[key] = np.array(array.shape, np.uint64)
                group[key].attrs["MATLAB_empty"] = np.uint8(1)
            group[key].attrs["MATLAB_class"] = np.bytes_(_CLASSES.get(str(array.dtype), str(array.dtype).encode()))


def write_mat5(path: Path, tree: dict[str, Any], *, compressed: bool) -> Path:
    from scipy.io import savemat

    savemat(path, _plain(tree), do_compression=compressed)
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sparse):
        from scipy.sparse import csc_matrix

        return csc_matrix(value.dense)
    return value


@pytest.fixture(params=["7.3", "7", "6"])
def write(request: pytest.FixtureRequest) -> Write:
    """Writes a MATLAB file of each version; 7 is compressed, 6 is not."""
    if request.param == "7.3":
        return write_mat73
    pytest.importorskip("scipy")
    return partial(write_mat5, compressed=request.param == "7")


def stack() -> np.ndarray:
    """Return ``(rows, columns, 3)``: different in every direction, the second ROI is one pixel."""
    images = np.zeros((ROWS, COLUMNS, ROIS), np.float32)
    images[1, 2, 0], images[2, 2, 0], images[2, 3, 0] = 0.5, 1.5, 0.25
    images[ROWS - 1, 0, 1] = 2.0
    images[0, 1:4, 2] = 1.0, 2.0, 3.0
    return images


def matrix() -> np.ndarray:
    """Return pixels by ROIs: pixel = row + rows * column."""
    result = np.zeros((ROWS * COLUMNS, ROIS))
    for row, column in np.ndindex(ROWS, COLUMNS):
        result[row + ROWS * column] = stack()[row, column]
    return result


def extract(**changes: Any) -> Tree:
    info = {"version": "1.3.0", "summary_image": PICTURE, "F_per_pixel": PICTURE + 1, "max_image": PICTURE + 2}
    cellcheck = {"is_bad": np.array([[0.0, 1.0, 0.0]])}
    output = {
        "spatial_weights": stack(),
        "temporal_weights": DENOISED.T,
        "info": {**info, "cellcheck": cellcheck},
        "config": {"preprocess": True, "avg_cell_radius": 6.0, "trace_output_option": "baseline_adjusted"},
    }
    return {"output": {**output, **changes}, "M": np.zeros((2, 2))}


def cnmfe(**changes: Any) -> Tree:
    results = {
        "A": Sparse(matrix()),
        "C": DENOISED.astype(np.float64),
        "C_raw": RAW,
        "S": Sparse(SPIKES),
        "Cn": PICTURE,
        "Fs": 12.5,
        "ids": np.array([[4.0, 7.0, 5.0]]),
        "tags": np.array([[0, 1, 0]], np.uint16),
        "options": {"d1": float(ROWS), "d2": float(COLUMNS), "gSig": 3.0},
    }
    return {k: v for k, v in {**results, **changes}.items() if v is not None}


class OnMatlab(SegmentationExtractorTests):
    """A file of each version; SegmentationExtractorTests writes it where ``recording`` says."""

    version = "7.3"

    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        path = tmp_path / "results.mat"
        if self.version == "7.3":
            return write_mat73(path, self.tree())
        pytest.importorskip("scipy")
        return write_mat5(path, self.tree(), compressed=self.version == "7")

    def tree(self) -> Tree:
        raise NotImplementedError


class TestExtract(OnMatlab):
    format = "extract"

    def tree(self) -> Tree:
        return extract()

    @pytest.fixture
    def expected(self) -> Any:
        images = {"summary_image": PICTURE, "f_per_pixel": PICTURE + 1, "max_image": PICTURE + 2}
        return roi.NumpySegmentationExtractor(
            stack(), {"dff": DENOISED.T}, images=images, properties={"is_bad": [False, True, False]}
        )


class TestExtractInVersion7(TestExtract):
    version = "7"


class TestExtractInVersion6(TestExtract):
    version = "6"


class TestCnmfe(OnMatlab):
    format = "cnmfe"

    def tree(self) -> Tree:
        return {"results": cnmfe()}

    @pytest.fixture
    def expected(self) -> Any:
        return roi.NumpySegmentationExtractor(
            stack().astype(np.float64),
            {"raw": RAW.T, "denoised": DENOISED.T.astype(np.float64), "deconvolved": SPIKES.T},
            roi_ids=["4", "7", "5"],
            images={"correlation": PICTURE},
            properties={"tags": [0, 1, 0]},
            sampling_frequency=12.5,
        )


class TestCnmfeInVersion7(TestCnmfe):
    version = "7"


class TestCnmfeInVersion6(TestCnmfe):
    version = "6"


class TestCiatah(OnMatlab):
    format = "ciatah"

    def tree(self) -> Tree:
        return {"cnmfeAnalysisOutput": ciatah("cnmfeAnalysisOutput")[0]}

    @pytest.fixture
    def expected(self) -> Any:
        return roi.NumpySegmentationExtractor(
            stack(), {"raw": RAW.T, "denoised": DENOISED.T, "deconvolved": SPIKES.T}, images={"correlation": PICTURE}
        )


class TestCiatahInVersion7(TestCiatah):
    version = "7"


class TestLongTraces(OnMatlab):
    format = "extract"
    traces = RNG.normal(size=(50_000, ROIS))

    def tree(self) -> Tree:
        return extract(temporal_weights=self.traces)

    @pytest.fixture
    def expected(self) -> Any:
        images = {"summary_image": PICTURE, "f_per_pixel": PICTURE + 1, "max_image": PICTURE + 2}
        return roi.NumpySegmentationExtractor(stack(), {"dff": self.traces}, images=images)


class TestLongTracesInVersion6(TestLongTraces):
    version = "6"


# EXTRACT


def test_extract_is_read_as_it_was_written(write: Write, tmp_path: Path) -> None:
    with roi.open(write(tmp_path / "a.mat", extract()), kind="segmentation") as rois:
        assert type(rois) is ExtractSegmentationExtractor
        assert rois.get_roi_ids() == ["0", "1", "2"]
        assert rois.get_frame_shape() == (ROWS, COLUMNS)
        assert rois.get_num_samples() == SAMPLES
        assert rois.get_sampling_frequency() is None
        assert rois.get_notes() == ()
        np.testing.assert_array_equal(rois.get_roi_image_masks(), stack())
        np.testing.assert_array_equal(rois.get_roi_pixel_masks(["1"])[0], [[ROWS - 1, 0, 2.0]])
        np.testing.assert_array_equal(rois.get_roi_image_masks(["2", "0"]), stack()[:, :, [2, 0]])
        assert rois.get_trace_names() == ("dff",)
        traces = rois.get_traces(name="dff")
        assert traces.dtype == np.float32
        np.testing.assert_array_equal(traces, DENOISED.T)
        np.testing.assert_array_equal(rois.get_traces(["2", "0"], 10, 20, name="dff"), DENOISED[[2, 0], 10:20].T)
        images = rois.get_images_dict()
        assert list(images) == ["summary_image", "f_per_pixel", "max_image"]
        for add, name in enumerate(images):
            np.testing.assert_array_equal(images[name], PICTURE + add)
        assert rois.get_property("is_bad").tolist() == [False, True, False]
        assert rois.metadata.software == "EXTRACT 1.3.0"
        assert rois.metadata.vendor["config"]["avg_cell_radius"] == 6.0
        assert rois.metadata.vendor["config"]["trace_output_option"] == "baseline_adjusted"


def test_traces_are_raw_without_extracts_preprocessing(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", extract(config={"preprocess": False}))
    with roi.open(path, kind="segmentation", sampling_frequency=30.0) as rois:
        assert rois.get_trace_names() == ("raw",)
        assert rois.get_sampling_frequency() == 30.0


def test_one_cell_has_lost_its_dimension(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", extract(spatial_weights=stack()[:, :, 0], temporal_weights=DENOISED[:1].T))
    with roi.open(path, kind="segmentation") as rois:
        np.testing.assert_array_equal(rois.get_roi_image_masks(), stack()[:, :, :1])
        np.testing.assert_array_equal(rois.get_traces(name="dff"), DENOISED[:1].T)


def test_an_output_without_cells_has_no_rois(write: Write, tmp_path: Path) -> None:
    nothing = np.empty((ROWS, COLUMNS, 0), np.float32)
    path = write(tmp_path / "a.mat", extract(spatial_weights=nothing, temporal_weights=np.empty((0, 0), np.float32)))
    with roi.open(path, kind="segmentation") as rois:
        assert (rois.get_num_rois(), rois.get_num_samples()) == (0, 0)
        assert rois.get_frame_shape() == (ROWS, COLUMNS)
        assert len(rois.get_roi_masks()) == 0


def test_a_variable_of_another_name_is_found_by_its_fields(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", {"x": np.zeros((2, 2)), "mouse7": extract()["output"]})
    with roi.open(path, kind="segmentation") as rois:
        np.testing.assert_array_equal(rois.get_roi_image_masks(), stack())
    for wrong in ("", "a/b", 3):
        with pytest.raises(ChoiceError, match="name of a variable"):
            ExtractSegmentationExtractor(path, variable=wrong)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedRecordingError, match=r"does not contain mouse8.spatial_weights.*'mouse7'"):
        ExtractSegmentationExtractor(path, variable="mouse8")


def test_several_variables_are_chosen_by_name(write: Write, tmp_path: Path) -> None:
    second = extract(spatial_weights=2 * stack())["output"]
    path = write(tmp_path / "a.mat", {"mouse7": extract()["output"], "mouse8": second})
    assert roi.streams(path, kind="segmentation") == {"variable": ("mouse7", "mouse8")}
    with pytest.raises(StreamChoiceError, match="has the variables 'mouse7' and 'mouse8'"):
        roi.open(path, kind="segmentation")
    with roi.open(path, kind="segmentation", variable="mouse8") as rois:
        np.testing.assert_array_equal(rois.get_roi_image_masks(), 2 * stack())
    methods = ("pcaicaAnalysisOutput", "cnmfeAnalysisOutput")
    path = write(tmp_path / "b.mat", {name: ciatah(name)[0] for name in methods})
    assert set(roi.streams(path, kind="segmentation")["variable"]) == set(methods)
    with roi.open(path, kind="segmentation", variable=methods[0]) as rois:
        assert rois.get_trace_names() == ("raw",)


def test_large_chunks_of_many_images_are_read_by_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.zeros((40, 6, 9), np.float32)
    for k in range(9):
        images[k * 4 : k * 4 + 3, k % 6, k] = k + 1
    path = write_mat73(
        tmp_path / "a.mat", extract(spatial_weights=images, temporal_weights=RNG.normal(size=(50, 9)), info={})
    )
    with h5py.File(path, "a") as file:
        attributes = dict(file["output/spatial_weights"].attrs)
        del file["output/spatial_weights"]
        data = file["output"].create_dataset("spatial_weights", data=images.T, chunks=(9, 6, 7), compression="gzip")
        data.attrs.update(attributes)
    import roiextractors_matlab.mat73 as module

    for limit in (1, 9 * 6 * 7 * 4, 1 << 30):
        monkeypatch.setattr(module, "_BLOCK", limit)
        with ExtractSegmentationExtractor(path) as rois:
            np.testing.assert_array_equal(rois.get_roi_image_masks(), images[:, :, :])
            np.testing.assert_array_equal(rois.get_roi_image_masks(["8", "3", "4"]), images[:, :, [8, 3, 4]])


def test_a_sparse_array_object_says_what_to_do_in_matlab(tmp_path: Path) -> None:
    path = write_mat73(tmp_path / "a.mat", extract())
    with h5py.File(path, "a") as file:
        attributes = file["output/spatial_weights"].attrs
        attributes["MATLAB_class"] = np.bytes_(b"ndSparse")
        attributes["MATLAB_object_decode"] = np.int32(3)
    with pytest.raises(UnsupportedRecordingError, match=r"object of class ndSparse.*full\(.*-v7.3"):
        ExtractSegmentationExtractor(path)


# CNMF-E


@pytest.mark.parametrize("variable", ["results", "neuron", "neuron_results", None])
def test_cnmfe_is_read_as_it_was_written(write: Write, tmp_path: Path, variable: str | None) -> None:
    tree = cnmfe() if variable is None else {variable: cnmfe()}
    with roi.open(write(tmp_path / "a.mat", tree), kind="segmentation") as rois:
        assert type(rois) is CnmfeSegmentationExtractor
        assert rois.get_roi_ids() == ["4", "7", "5"]
        assert rois.get_frame_shape() == (ROWS, COLUMNS)
        assert rois.get_sampling_frequency() == 12.5
        np.testing.assert_array_equal(rois.get_roi_image_masks(), stack())
        np.testing.assert_array_equal(rois.get_roi_pixel_masks(["7"])[0], [[ROWS - 1, 0, 2.0]])
        traces = rois.get_traces_dict()
        assert set(traces) == {"raw", "denoised", "deconvolved"}
        np.testing.assert_array_equal(traces["raw"], RAW.T)
        np.testing.assert_array_equal(traces["denoised"], DENOISED.T)
        np.testing.assert_array_equal(traces["deconvolved"], SPIKES.T)
        for name, expected in (("raw", RAW), ("deconvolved", SPIKES)):
            np.testing.assert_array_equal(rois.get_traces(["5", "4"], 7, 31, name=name), expected[[2, 0], 7:31].T)
        np.testing.assert_array_equal(rois.get_image("correlation"), PICTURE)
        assert rois.get_property("tags").tolist() == [0, 1, 0]
        assert rois.get_notes() == ()
        assert rois.metadata.vendor["options"]["gSig"] == 3.0


def test_a_full_matrix_of_cnmfe_is_read(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", {"results": cnmfe(A=matrix(), S=SPIKES)})
    with roi.open(path, kind="segmentation") as rois:
        np.testing.assert_array_equal(rois.get_roi_image_masks(), stack())
        np.testing.assert_array_equal(rois.get_roi_image_masks(["5", "4"]), stack()[:, :, [2, 0]])
        np.testing.assert_array_equal(rois.get_traces(name="deconvolved"), SPIKES.T)


def test_a_background_of_the_whole_frame_is_read(write: Write, tmp_path: Path) -> None:
    b, f = RNG.normal(size=(ROWS * COLUMNS, 2)), RNG.normal(size=(2, SAMPLES))
    with roi.open(write(tmp_path / "a.mat", {"results": cnmfe(b=b, f=f)}), kind="segmentation") as rois:
        assert rois.get_background_ids() == ["background0", "background1"]
        np.testing.assert_array_equal(rois.get_background_image_masks(), b.reshape(ROWS, COLUMNS, 2, order="F"))
        np.testing.assert_array_equal(rois.get_traces(name="background"), f.T)


def test_a_rate_that_was_not_set_is_not_invented(write: Write, tmp_path: Path) -> None:
    with roi.open(write(tmp_path / "a.mat", {"results": cnmfe(Fs=np.nan)}), kind="segmentation") as rois:
        assert rois.get_sampling_frequency() is None


def test_ids_that_repeat_are_not_used(write: Write, tmp_path: Path) -> None:
    for ids in (
        np.array([[4.0, 4.0, 5.0]]),
        np.array([[0.5, 1, 2]]),
        np.array([[1.0, 2.0]]),
        np.array([[np.nan, 1, 2]]),
    ):
        with roi.open(write(tmp_path / "a.mat", {"results": cnmfe(ids=ids)}), kind="segmentation") as rois:
            assert rois.get_roi_ids() == ["0", "1", "2"]


def test_the_correlation_image_gives_the_frame_where_the_options_do_not(write: Write, tmp_path: Path) -> None:
    with roi.open(write(tmp_path / "a.mat", {"results": cnmfe(options=None)}), kind="segmentation") as rois:
        np.testing.assert_array_equal(rois.get_roi_image_masks(), stack())


def test_results_without_neurons_have_no_rois(write: Write, tmp_path: Path) -> None:
    nothing = np.empty((0, 0))
    tree = cnmfe(A=np.empty((ROWS * COLUMNS, 0)), C=nothing, C_raw=nothing, S=nothing, ids=None, tags=None)
    with roi.open(write(tmp_path / "a.mat", {"results": tree}), kind="segmentation") as rois:
        assert rois.get_num_rois() == 0
        assert len(rois.get_roi_masks()) == 0


def test_neurons_without_a_spike_and_without_a_pixel(write: Write, tmp_path: Path) -> None:
    tree = cnmfe(A=Sparse(np.zeros((ROWS * COLUMNS, ROIS))), S=Sparse(np.zeros((ROIS, SAMPLES))))
    with roi.open(write(tmp_path / "a.mat", {"results": tree}), kind="segmentation") as rois:
        assert rois.get_roi_masks().num_pixels.tolist() == [0, 0, 0]
        assert not rois.get_traces(name="deconvolved").any()


def test_an_object_of_cnmfe_says_what_to_do_in_matlab(tmp_path: Path) -> None:
    path = write_mat73(tmp_path / "a.mat", {"use_parallel": 1.0})
    with h5py.File(path, "a") as file:
        file["neuron"] = np.zeros((1, 6), np.uint32)
        file["neuron"].attrs["MATLAB_class"] = np.bytes_(b"Sources2D")
        file["neuron"].attrs["MATLAB_object_decode"] = np.int32(3)
    with pytest.raises(UnsupportedRecordingError, match=r"class Sources2D.*neuron.obj2struct\(\)"):
        roi.open(path, kind="segmentation")


def test_an_object_in_a_file_of_version_7_says_so_too(tmp_path: Path) -> None:
    words = [element(1, b"neuron"), element(1, b"MCOS"), element(1, b"Sources2D")]
    content = element(6, struct.pack("<II", 17, 0)) + b"".join(words)
    path = mat5_of(tmp_path / "a.mat", element(14, content))
    with pytest.raises(UnsupportedRecordingError, match=r"class Sources2D.*neuron.obj2struct\(\)"):
        roi.open(path, kind="segmentation")


# CIAtah


def ciatah(variable: str) -> tuple[Tree, dict[str, np.ndarray]]:
    """Return the content of an analysis file, and its traces by name."""
    if variable == "extractAnalysisOutput":
        more = {"info": {"version": "0.9"}, "config": {"preprocess": True}, "time": {"totalTime": 12.0}}
        return {"filters": stack(), "traces": RAW, **more}, {"dff": RAW}
    if variable == "pcaicaAnalysisOutput":
        return {"IcaFilters": stack(), "IcaTraces": RAW, "imageSaveDimOrder": "xyz"}, {"raw": RAW}
    if variable == "cnmfeAnalysisOutput":
        signals = {
            "extractedSignals": DENOISED,
            "extractedSignalsEst": RAW,
            "extractedPeaks": Sparse(SPIKES),
            "Cn": PICTURE,
        }
        return {"extractedImages": stack(), **signals}, {"denoised": DENOISED, "raw": RAW, "deconvolved": SPIKES}
    if variable == "cnmfAnalysisOutput":
        # The last rows of C_df are the background's
        longer = np.concatenate([RAW, np.ones((1, SAMPLES))])
        signals = {"extractedSignals": longer, "extractedSignalsEst": DENOISED, "extractedPeaks": np.nan}
        return {"extractedImages": stack(), **signals}, {"dff": RAW, "denoised": DENOISED}
    if variable in ("cellmaxAnalysisOutput", "emAnalysisOutput"):
        signals = {"cellTraces": RAW, "scaledProbability": DENOISED}
        return {"cellImages": stack(), **signals}, {"raw": RAW, "scaled_probability": DENOISED}
    return {"filters": stack(), "traces": RAW, "tracesDemix": DENOISED}, {"raw": RAW, "demixed": DENOISED}


VARIABLES = {
    "extractAnalysisOutput": "extract",
    "pcaicaAnalysisOutput": "ciatah",
    "cnmfeAnalysisOutput": "ciatah",
    "cnmfAnalysisOutput": "ciatah",
    "cellmaxAnalysisOutput": "ciatah",
    "emAnalysisOutput": "ciatah",
    "roiAnalysisOutput": "ciatah",
}


@pytest.mark.parametrize("variable", VARIABLES)
def test_an_analysis_file_of_ciatah_is_read_as_it_was_written(write: Write, tmp_path: Path, variable: str) -> None:
    tree, expected = ciatah(variable)
    path = write(tmp_path / "a.mat", {variable: tree})
    with roi.open(path, kind="segmentation") as rois:
        assert rois.provenance.format == VARIABLES[variable]
        assert rois.get_frame_shape() == (ROWS, COLUMNS)
        assert rois.get_sampling_frequency() is None  # totalTime is how long the analysis ran
        np.testing.assert_array_equal(rois.get_roi_image_masks(), stack())
        assert set(rois.get_trace_names()) == set(expected)
        for name, traces in expected.items():
            np.testing.assert_array_equal(rois.get_traces(name=name), traces.T)
            np.testing.assert_array_equal(rois.get_traces(["1"], 3, 9, name=name), traces[1:2, 3:9].T)
        assert rois.get_notes() == ()
        assert rois.get_property_keys() == []
    with CiatahSegmentationExtractor(path) as rois:
        assert rois.get_num_rois() == ROIS


def test_filters_saved_with_the_components_first_are_turned(write: Write, tmp_path: Path) -> None:
    tree = {"IcaFilters": stack().transpose(2, 0, 1), "IcaTraces": RAW, "imageSaveDimOrder": "zxy"}
    with roi.open(write(tmp_path / "a.mat", {"pcaicaAnalysisOutput": tree}), kind="segmentation") as rois:
        np.testing.assert_array_equal(rois.get_roi_image_masks(), stack())
        np.testing.assert_array_equal(rois.get_roi_image_masks(["2", "0"]), stack()[:, :, [2, 0]])


@pytest.mark.parametrize(
    ("variable", "name", "decision", "decided"),
    [
        ("extractAnalysisOutput", "m1_extractAnalysis.mat", "m1_extractAnalysisSorted_anna.mat", "validEXTRACT"),
        ("cnmfeAnalysisOutput", "m[1]_cnmfeAnalysis.mat", "m[1]_cnmfeAnalysisSorted_anna.mat", "validCNMFE"),
        ("pcaicaAnalysisOutput", "m1_pcaicaAnalysis.mat", "m1_ICdecisions_anna.mat", "valid"),
    ],
)
def test_manual_decisions_beside_an_analysis_are_a_property(
    write: Write, tmp_path: Path, variable: str, name: str, decision: str, decided: str
) -> None:
    path = write(tmp_path / name, {variable: ciatah(variable)[0]})
    beside = write(tmp_path / decision, {decided: np.array([[1.0, 0.0, 1.0]]), "manualSort": {"scorerName": "anna"}})
    with roi.open(path, kind="segmentation") as rois:
        assert rois.get_property("is_accepted").tolist() == [True, False, True]
        assert rois.get_property_keys() == ["is_accepted"]
        assert str(beside) in rois.get_paths()
        assert any(decision in note for note in rois.get_notes())
    write(beside, {decided: np.array([[1.0, 3.0, 0.0]])})
    with roi.open(path, kind="segmentation") as rois:
        assert rois.get_property("manual_decision").tolist() == [1, 3, 0]
        assert rois.get_property("is_accepted").tolist() == [True, False, False]
    write(tmp_path / decision.replace("anna", "ben"), {decided: np.array([[1.0, 0.0, 1.0]])})
    with roi.open(path, kind="segmentation") as rois:
        assert rois.get_property_keys() == []
        assert any("several files; none of them is used" in note for note in rois.get_notes())


@pytest.mark.parametrize(
    "decisions",
    [{"validEXTRACT": np.array([[1.0, 0.0]])}, {"other": 1.0}, {"validEXTRACT": "yes"}],
)
def test_decisions_that_do_not_fit_are_left_out(write: Write, tmp_path: Path, decisions: Tree) -> None:
    path = write(tmp_path / "m_extractAnalysis.mat", {"extractAnalysisOutput": ciatah("extractAnalysisOutput")[0]})
    write(tmp_path / "m_extractAnalysisSorted_anna.mat", decisions)
    with pytest.warns(RoiExtractorsWarning, match="validEXTRACT is .*, expected one number for each of the 3 ROIs"):
        rois = roi.open(path, kind="segmentation")
    with rois:
        assert rois.get_property_keys() == []


# What all share


def test_it_pickles_and_opens_again(write: Write, tmp_path: Path) -> None:
    with roi.open(write(tmp_path / "a.mat", {"results": cnmfe()}), kind="segmentation") as rois:
        again = pickle.loads(pickle.dumps(rois))
        np.testing.assert_array_equal(again.get_traces(name="raw"), RAW.T)
        np.testing.assert_array_equal(again.get_traces(name="deconvolved"), SPIKES.T)
        again.close()


@pytest.mark.parametrize(
    "tree", [extract(), {"results": cnmfe()}, {"cnmfeAnalysisOutput": ciatah("cnmfeAnalysisOutput")[0]}]
)
def test_it_is_not_a_movie(write: Write, tmp_path: Path, tree: Tree) -> None:
    with pytest.raises(SourceKindError, match="kind='segmentation'"):
        roi.open(write(tmp_path / "a.mat", tree))


CONTRADICTIONS: list[tuple[str, Tree, str]] = [
    ("traces of other ROIs", extract(temporal_weights=np.zeros((SAMPLES, 4))), "does not fit 3 ROIs: the masks and the traces"),
    ("no masks", {"output": {k: v for k, v in extract()["output"].items() if k != "spatial_weights"}}, "does not contain"),
    ("masks of one dimension", extract(spatial_weights="text"), r"spatial_weights has the shape \(1, 4\) \(text\)"),
    ("other traces", {"results": cnmfe(C=np.zeros((4, SAMPLES)))}, "does not fit 3 ROIs"),
    ("A is text", {"results": cnmfe(A="text")}, "expected a matrix of pixels by neurons"),
    ("no frame", {"results": cnmfe(options=None, Cn=None)}, r"35 pixels: options.d1 and options.d2 are"),
    ("another frame", {"results": cnmfe(options={"d1": 6.0, "d2": 5.0})}, "35 pixels, but options.d1 and d2 are 6 and 5"),
    ("something else", {"x": np.zeros((3, 3))}, "does not contain"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tree", "words"), CONTRADICTIONS, ids=[name for name, _, _ in CONTRADICTIONS])
def test_a_contradiction_is_one_sentence_when_opening(
    write: Write, tmp_path: Path, name: str, tree: Tree, words: str
) -> None:
    kind = CnmfeSegmentationExtractor if "results" in tree else ExtractSegmentationExtractor
    with pytest.raises(RecordingError, match=words) as caught:
        kind(write(tmp_path / "a.mat", tree))
    assert "a.mat" in str(caught.value)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"results": cnmfe(C_raw=np.zeros((2, SAMPLES)))}, r"C_raw has the shape \(2, 60\), which does not fit 3 ROIs"),
        ({"results": cnmfe(C_raw=np.zeros((3, 9)), C=np.zeros((3, 60)), S=None)}, "C has 60 samples, expected 9"),
        ({"results": cnmfe(Cn=np.zeros((COLUMNS, ROWS)))}, r"Cn has the shape \(5, 7\), expected \(7, 5\)"),
    ],
)
def test_an_optional_part_that_does_not_fit_is_left_out(write: Write, tmp_path: Path, tree: Tree, words: str) -> None:
    with pytest.warns(RoiExtractorsWarning, match=words):
        rois = roi.open(write(tmp_path / "a.mat", tree), kind="segmentation")
    with rois:
        assert any("left out" in note for note in rois.get_notes())
        rois.get_traces_dict()
        rois.get_images_dict()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_names_its_roi(write: Write, tmp_path: Path, value: float) -> None:
    images, columns = stack(), matrix()
    images[3, 3, 1] = columns[3, 1] = value
    for tree in (extract(spatial_weights=images), {"results": cnmfe(A=columns, ids=None)}):
        with (
            roi.open(write(tmp_path / "a.mat", tree), kind="segmentation") as rois,
            pytest.raises(CorruptRecordingError, match=f"a.mat: ROI 1 has the weight {value}"),
        ):
            rois.get_roi_masks()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("jc", [0, 5, 3, 7], "with decreases"),
        ("jc", [0, 3, 4, 900], "from 0 to at most 7, got 0 to 900"),
        ("jc", [1, 3, 4, 7], "got 1 to 7"),
        ("ir", [0, 1, 2, 35, 4, 5, 6], "ROI 1 has the weight 2.0 at pixel 35"),
        ("ir", [0, 1, 1, 3, 4, 5, 6], "twice"),
        ("data", [1, 1, np.nan, 1, 1, 1, 1], "ROI 0 has the weight nan"),
        ("data", None, "ir or data is missing"),
    ],
)
def test_a_damaged_sparse_matrix_is_one_sentence(tmp_path: Path, key: str, value: Any, words: str) -> None:
    path = write_mat73(tmp_path / "a.mat", {"results": cnmfe()})
    with h5py.File(path, "a") as file:
        group = file["results/A"]
        dtype = group[key].dtype
        del group[key]
        if value is not None:
            group[key] = np.array(value, dtype)
    with CnmfeSegmentationExtractor(path) as rois, pytest.raises(CorruptRecordingError, match=words):
        rois.get_roi_masks()


def test_any_variables_named_a_and_c_are_not_cnmfe(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", {"A": Sparse(matrix()), "C": RAW})
    assert roi.explain(path, kind="segmentation").best is None
    with pytest.raises(UnsupportedRecordingError, match="does not contain"):
        CnmfeSegmentationExtractor(path)


def test_a_compressed_variable_is_recognised_by_its_first_kilobytes(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    path = write_mat5(tmp_path / "a.mat", {"results": cnmfe(W=RNG.normal(size=(400, 500)))}, compressed=True)
    whole = path.read_bytes()
    # Damage in the middle does not prevent the recognition, and then is one sentence
    path.write_bytes(whole[: len(whole) // 2] + bytes(1000) + whole[len(whole) // 2 + 1000 :])
    best = roi.explain(path, kind="segmentation").best
    assert best is not None
    assert best.spec.name == "cnmfe"
    with pytest.raises(CorruptRecordingError, match=r"cannot be decompressed.*incorrect data check"):
        roi.open(path, kind="segmentation")


@pytest.mark.parametrize("place", ["output/spatial_weights", "output/temporal_weights"])
def test_a_class_whose_type_is_damaged_does_not_end_the_process(tmp_path: Path, place: str) -> None:
    path = write_mat73(tmp_path / "a.mat", extract())
    with h5py.File(path, "a") as file:
        del file[place].attrs["MATLAB_class"]
        file[place].attrs["MATLAB_class"] = "double"
    content = path.read_bytes()
    # A variable-length type: version 1 and class 9, then whether it is text (1) or a list (0)
    text, damaged = (
        b"MATLAB_class\0\0\0\0" + b"\x19\x01\x01\x00\x10\x00\x00\x00",
        b"MATLAB_class\0\0\0\0" + b"\x19\x92\x01\x00\x10\x00\x00\x00",
    )
    assert text in content
    path.write_bytes(content.replace(text, damaged))
    script = f"import roiextractors_core as roi; print(roi.open({str(path)!r}, kind='segmentation').get_num_rois())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    with ExtractSegmentationExtractor(path) as rois:
        assert done.stdout.split() == [str(rois.get_num_rois())]


def test_references_that_form_a_circle_are_not_followed(tmp_path: Path) -> None:
    path = write_mat73(tmp_path / "a.mat", extract())
    with h5py.File(path, "a") as file:
        refs = file.create_group("#refs#")
        refs.create_dataset("a", (1, 1), h5py.ref_dtype)
        refs["a"][0, 0] = refs["a"].ref
        refs["a"].attrs["MATLAB_class"] = np.bytes_(b"cell")
        config = file["output/config"]
        config["loop"] = file["output"]  # a group that contains itself
        config.create_dataset("cell", (1, 1), h5py.ref_dtype)[0, 0] = refs["a"].ref
        config["cell"].attrs["MATLAB_class"] = np.bytes_(b"cell")
        del file["output/info/max_image"]
        file["output/info/max_image"] = refs["a"]
    with ExtractSegmentationExtractor(path) as rois:
        assert "max_image" not in rois.get_images_dict()
        assert rois.metadata.vendor["config"]["avg_cell_radius"] == 6.0


def test_a_link_to_another_file_is_not_followed(tmp_path: Path) -> None:
    write_mat73(tmp_path / "other.mat", extract())
    path = write_mat73(tmp_path / "a.mat", extract())
    with h5py.File(path, "a") as file:
        del file["output/temporal_weights"]
        file["output/temporal_weights"] = h5py.ExternalLink("other.mat", "/output/temporal_weights")
    with pytest.raises(UnsupportedRecordingError, match="link to another file"):
        ExtractSegmentationExtractor(path)


# Files of version 5 to 7, byte by byte


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def mat5_of(path: Path, *variables: bytes) -> Path:
    path.write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x01IM" + b"".join(variables))
    return path


def numbers(name: str, shape: tuple[int, ...], kind: int, content: bytes, flags: int = 6) -> bytes:
    head = element(6, struct.pack("<II", flags, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, head + element(1, name.encode()) + element(kind, content))


def structure(name: str, fields: dict[str, bytes]) -> bytes:
    head = element(6, struct.pack("<II", 2, 0)) + element(5, struct.pack("<2i", 1, 1)) + element(1, name.encode())
    names = b"".join(field.encode().ljust(32, b"\0") for field in fields)
    length = struct.pack("<HHi", 5, 4, 32)  # a small element
    return element(14, head + length + element(1, names) + b"".join(fields.values()))


def squeezed(variable: bytes) -> bytes:
    content = zlib.compress(variable)
    return struct.pack("<II", 15, len(content)) + content


def small_output() -> bytes:
    images = np.asarray(stack()).ravel(order="F").astype("<f4").tobytes()
    traces = np.arange(ROIS * 4, dtype=np.uint8).tobytes()  # doubles that are stored as bytes
    return structure(
        "output",
        {
            "spatial_weights": numbers("", (ROWS, COLUMNS, ROIS), 7, images, 7),
            "temporal_weights": numbers("", (4, ROIS), 2, traces),
        },
    )


@pytest.mark.parametrize("is_compressed", [True, False])
def test_numbers_in_a_smaller_type_become_their_class(tmp_path: Path, is_compressed: bool) -> None:
    variable = squeezed(small_output()) if is_compressed else small_output()
    with roi.open(mat5_of(tmp_path / "a.mat", variable), kind="segmentation") as rois:
        assert type(rois) is ExtractSegmentationExtractor
        traces = rois.get_traces(name="raw")
        assert traces.dtype == np.float64
        np.testing.assert_array_equal(traces, np.arange(12.0).reshape(3, 4).T)
        np.testing.assert_array_equal(rois.get_traces(["2"], 1, 3, name="raw"), [[9], [10]])
        np.testing.assert_array_equal(rois.get_roi_image_masks(), stack())


def test_numbers_in_a_larger_type_than_their_class_are_refused(tmp_path: Path) -> None:
    images = np.asarray(stack()).ravel(order="F").astype("<f4").tobytes()
    traces = np.arange(ROIS * 4.0).tobytes()
    fields = {
        "spatial_weights": numbers("", (ROWS, COLUMNS, ROIS), 7, images, 7),
        "temporal_weights": numbers("", (4, ROIS), 9, traces, flags=8),  # doubles in an array of int8
    }
    path = mat5_of(tmp_path / "a.mat", structure("output", fields))
    with pytest.raises(roi.CorruptRecordingError, match="of class i1 and stored as f8"):
        read_all(path)


@pytest.mark.parametrize("is_compressed", [True, False])
def test_every_truncation_is_one_sentence(tmp_path: Path, is_compressed: bool) -> None:
    whole = mat5_of(tmp_path / "a.mat", squeezed(small_output()) if is_compressed else small_output()).read_bytes()
    for size in [*range(0, len(whole) - 1, 7), len(whole) - 1]:
        path = tmp_path / "a.mat"
        path.write_bytes(whole[:size])
        with pytest.raises(RecordingError, match=r"a\.mat"):
            read_all(path)


@pytest.mark.parametrize("is_compressed", [True, False])
def test_a_truncated_file_is_recognised_and_says_that_it_is_truncated(tmp_path: Path, is_compressed: bool) -> None:
    variable = squeezed(small_output()) if is_compressed else small_output()
    path = mat5_of(tmp_path / "a.mat", variable)
    path.write_bytes(path.read_bytes()[:-20])
    best = roi.explain(path, kind="segmentation").best
    assert best is not None
    assert best.spec.name == "extract"
    with pytest.raises(TruncatedRecordingError, match=r"a\.mat contains a variable .* truncated"):
        roi.open(path, kind="segmentation")


def read_all(path: Path) -> None:
    with ExtractSegmentationExtractor(path) as rois:
        rois.get_roi_masks()
        rois.get_traces_dict()


def test_no_damaged_byte_does_anything_but_raise_one_sentence(tmp_path: Path) -> None:
    texts: set[str] = set()
    for variable in (small_output(), squeezed(small_output())):
        whole = mat5_of(tmp_path / "a.mat", variable).read_bytes()
        for at in range(124, min(len(whole), 460), 3):
            for value in (0, 0x7F, 0xFF):
                damaged = bytearray(whole)
                damaged[at] = value
                (tmp_path / "a.mat").write_bytes(damaged)
                try:
                    read_all(tmp_path / "a.mat")
                except RecordingError as error:
                    texts.add(str(error))
    assert all("a.mat" in text or "ROI number" in text for text in texts)


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        (numbers("output", (1 << 30, 1 << 30), 9, bytes(8)), None),
        (structure("output", {"spatial_weights": numbers("", (1 << 20, 1 << 20, 3), 7, bytes(64), 7)}), "in 64 bytes"),
        (structure("output", {"spatial_weights": numbers("", (-7, 5, 3), 7, bytes(64), 7)}), "dimensions"),
        (structure("output", {"spatial_weights": element(9, bytes(8))}), "expected a matrix"),
    ],
)
def test_a_claim_that_the_file_does_not_bear_is_refused(tmp_path: Path, variable: bytes, words: str | None) -> None:
    for content in (variable, squeezed(variable)):
        with pytest.raises(RecordingError, match=words):
            ExtractSegmentationExtractor(mat5_of(tmp_path / "a.mat", content))


def test_a_few_kilobytes_do_not_fill_the_memory(tmp_path: Path) -> None:
    """90 MB of zeros take 90 KB; nothing that compresses that well is kept in memory."""
    rows = 30_000_000
    traces = numbers("", (rows, ROIS), 2, b"")
    # The length is written by hand: the content itself would take 90 MB here
    at = len(traces) - 4
    size = rows * ROIS
    head = traces[8:at] + struct.pack("<I", size)
    images = numbers("", (ROWS, COLUMNS, ROIS), 7, np.asarray(stack()).ravel(order="F").astype("<f4").tobytes(), 7)
    field = struct.pack("<II", 14, len(head) + size) + head
    start = structure("output", {"spatial_weights": images, "temporal_weights": b""})
    total = len(start) - 8 + len(field) + size
    packer = zlib.compressobj(9)
    parts = [packer.compress(struct.pack("<II", 14, total) + start[8:] + field)]
    parts += [packer.compress(bytes(10_000_000)) for _ in range(size // 10_000_000)]
    content = b"".join([*parts, packer.flush()])
    assert len(content) < 150_000
    path = mat5_of(tmp_path / "a.mat", struct.pack("<II", 15, len(content)) + content)
    with ExtractSegmentationExtractor(path) as rois:
        assert rois.get_num_samples() == rows
        with pytest.raises(UnsupportedRecordingError, match="no recording compresses that well"):
            rois.get_traces(["0"], 0, 10, name="raw")


@pytest.mark.thorough
def test_a_file_of_very_many_variables_is_refused_soon(tmp_path: Path) -> None:
    path = mat5_of(tmp_path / "a.mat", numbers("x", (1, 1), 9, bytes(8)) * 25_000, small_output())
    started = time.process_time()
    with pytest.raises(RecordingError, match="more than 20,000 variables and fields"):
        ExtractSegmentationExtractor(path, variable="output")
    with pytest.raises(UnsupportedRecordingError, match="does not contain"):
        ExtractSegmentationExtractor(path)
    assert roi.explain(path, kind="segmentation").best is None
    assert time.process_time() - started < 10


def test_a_file_that_continues_with_zeros_is_refused_soon(tmp_path: Path) -> None:
    path = mat5_of(tmp_path / "a.mat", numbers("x", (1, 1), 9, bytes(8)), small_output())
    os.truncate(path, 1 << 30)
    started = time.process_time()
    assert roi.explain(path, kind="segmentation").best is not None  # the names are at the beginning
    with pytest.raises(RecordingError, match="more than 20,000 variables and fields"):
        ExtractSegmentationExtractor(path, variable="output")
    assert time.process_time() - started < 10


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    inner = numbers("", (1, 1), 9, struct.pack("<d", 1.0))
    for _ in range(2000):
        inner = structure("", {"a": inner})
    variable = structure("output", {"config": inner, **{}})
    with pytest.raises(UnsupportedRecordingError, match="does not contain"):
        ExtractSegmentationExtractor(mat5_of(tmp_path / "a.mat", variable))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    for content in (b"", b"something else entirely", b"MATLAB 5.0 MAT-file".ljust(128)):
        path.write_bytes(content)
        with pytest.raises(RecordingError, match=r"a\.mat"):
            ExtractSegmentationExtractor(path)


def test_a_big_endian_file_is_read(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    path = write_mat5(tmp_path / "a.mat", extract(), compressed=False)
    assert scipy_io.loadmat(path)["output"].shape == (1, 1)
    swapped = big_endian(path.read_bytes())
    path.write_bytes(swapped)
    assert scipy_io.loadmat(path)["output"].shape == (1, 1)
    with ExtractSegmentationExtractor(path) as rois:
        np.testing.assert_array_equal(rois.get_roi_image_masks(), stack())
        np.testing.assert_array_equal(rois.get_traces(name="dff"), DENOISED.T)
        assert rois.metadata.vendor["config"]["trace_output_option"] == "baseline_adjusted"


def big_endian(data: bytes) -> bytes:
    """Return an uncompressed little-endian file in the other byte order."""
    return data[:124] + b"\x01\x00MI" + turned(data[128:])


def turned(data: bytes) -> bytes:
    parts, at = [], 0
    widths = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2}
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        is_small = kind >> 16
        if is_small:
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            tag = struct.pack(">HH", size, kind)
        else:
            start = at + 8
            end = start + size + (-size % 8)
            tag = struct.pack(">II", kind, size)
        content = data[start : start + size]
        width = widths.get(kind, 1)
        new = turned(content) if kind == 14 else np.frombuffer(content, f"V{width}").tobytes()
        if kind != 14 and width > 1:
            new = np.frombuffer(content, f"u{width}").byteswap().tobytes()
        parts.append(tag + new + bytes(end - start - size))
        at = end
    return b"".join(parts)

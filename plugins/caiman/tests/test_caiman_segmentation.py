"""CaImAn's analyses: components, traces, background and evaluation."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from roiextractors_caiman.segmentation import CaimanSegmentationExtractor
from roiextractors_hdf5.dataset import Hdf5Dataset

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    RecordingError,
    RoiExtractorsWarning,
    SourceError,
    SourceKindError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import SegmentationExtractorTests

ROWS, COLUMNS, SAMPLES = 7, 5, 60
Tree = dict[str, Any]


def save(group: Any, tree: Tree, *, new: bool) -> None:
    """Write a tree as CaImAn does: None as text, strings as datasets, or as attributes since 1.9.9, tuples as groups of a matrix."""
    for key, value in tree.items():
        if isinstance(value, dict):
            save(group.create_group(key), value, new=new)
        elif value is None:
            group[key] = "NoneType"
        elif isinstance(value, str) and new:
            group.attrs[key] = value
        else:
            group[key] = value


def csc(dense: np.ndarray) -> Tree:
    """Return a matrix of pixels by components as CaImAn saves scipy's csc_matrix, column by column."""
    columns = [np.flatnonzero(dense[:, k]) for k in range(dense.shape[1])]
    return {
        "data": np.concatenate([dense[rows, k] for k, rows in enumerate(columns)] or [np.empty(0)]),
        "indices": np.concatenate(columns or [np.empty(0)]).astype(np.int32),
        "indptr": np.cumsum([0, *map(len, columns)]).astype(np.int32),
        "shape": np.array(dense.shape),
    }


def footprints(*dims: int) -> np.ndarray:
    """Return ``(rows, columns[, planes], 3)``: different in every direction, the second component is one pixel."""
    stack = np.zeros((*dims, 3))
    stack[1, 2, ..., 0], stack[2, 2, ..., 0], stack[2, 3, ..., 0] = 0.5, 1.5, 0.25
    stack[(dims[0] - 1, 0, *(0 for _ in dims[2:]), 1)] = 2.0
    stack[0, 1:4, ..., 2] = np.reshape([1.0, 2.0, 3.0], (3, *(1 for _ in dims[2:])))
    return stack


def matrix(stack: np.ndarray) -> np.ndarray:
    """Return pixels by components, value by value: pixel = row + rows * (column + columns * plane)."""
    rows, columns = stack.shape[:2]
    result = np.zeros((stack[..., 0].size, stack.shape[-1]))
    for place in np.ndindex(*stack.shape[:-1]):
        plane = place[2] if len(place) == 3 else 0
        result[place[0] + rows * (place[1] + columns * plane)] = stack[place]
    return result


def analysis(dims: tuple[int, ...] = (ROWS, COLUMNS), **changes: Any) -> Tree:
    """Return the tree of an analysis; changes are of its estimates."""
    rng = np.random.default_rng(3)
    dense = matrix(footprints(*dims))
    names = ("A", "b", "C", "f", "R", "S", "F_dff", "YrA", "Cn", "SNR_comp", "r_values", "cnn_preds", "idx_components")
    estimates: Tree = {
        **dict.fromkeys((*names, "idx_components_bad", "b0", "W", "bl", "g", "neurons_sn")),
        "A": csc(dense),
        "C": rng.normal(size=(3, SAMPLES)),
        "YrA": rng.normal(size=(3, SAMPLES)),
        "S": rng.normal(size=(3, SAMPLES)),
        "F_dff": rng.normal(size=(3, SAMPLES)),
        "b": rng.normal(size=(len(dense), 2)),
        "f": rng.normal(size=(2, SAMPLES)),
        "dims": np.array(dims),
        **changes,
    }
    version = {"caiman_version": "1.11.1", "fnames": ["a.tif"]}
    params = {"data": {"dims": np.array(dims), "fr": 12.5, "decay_time": 0.4, **version}, "init": {"K": 4}}
    return {"dims": np.array(dims), "dview": None, "estimates": estimates, "params": params, "mmap_file": None}


def write(path: Path, tree: Tree | None = None, *, new: bool = True, **changes: Any) -> Path:
    """Write an analysis; changes are of its estimates."""
    with h5py.File(path, "w") as file:
        save(file, tree or analysis(**changes), new=new)
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write(tmp_path / "analysis.hdf5")


class OnCaiman(SegmentationExtractorTests):
    """What every file below contains."""

    format = "caiman-segmentation"
    tolerance = 1e-12  # the mean image is computed
    dims: tuple[int, ...] = (ROWS, COLUMNS)
    samples = SAMPLES

    @pytest.fixture
    def expected(self) -> Any:
        estimates = analysis(self.dims, **self.estimates())["estimates"]
        b, f = estimates["b"], estimates["f"]
        movie_mean = matrix(footprints(*self.dims)) @ estimates["C"].mean(1) + b @ f.mean(1)
        images = {"correlation": estimates["Cn"], "mean": movie_mean.reshape(self.dims, order="F")}
        masks = roi.RoiMasks.from_dense(b.reshape(*self.dims, 2, order="F"))
        return roi.NumpySegmentationExtractor(
            footprints(*self.dims),
            {
                "raw": (estimates["C"] + estimates["YrA"]).T,
                "dff": estimates["F_dff"].T,
                "denoised": estimates["C"].T,
                "deconvolved": estimates["S"].T,
            },
            images=images,
            properties={"is_accepted": [True, False, True], "snr": [3.0, 1.0, 2.0]},
            background=roi.Background(("background0", "background1"), masks, {"background": f.T}),
            sampling_frequency=12.5,
        )

    def estimates(self) -> Tree:
        rng = np.random.default_rng(8)
        names = ("C", "YrA", "F_dff", "S")
        tables = {name: rng.normal(size=(3, self.samples)) for name in names}
        quality = {"idx_components": np.array([0, 2]), "SNR_comp": np.array([3.0, 1.0, 2.0])}
        image = {"Cn": rng.normal(size=self.dims)}
        return {**tables, "f": rng.normal(size=(2, self.samples)), **quality, **image}


class TestAnAnalysis(OnCaiman):
    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return write(tmp_path / "analysis.hdf5", dims=self.dims, **self.estimates())


class TestAnAnalysisOfAnOldVersion(OnCaiman):
    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return write(tmp_path / "analysis.hdf5", new=False, dims=self.dims, **self.estimates())


class TestDenseComponents(OnCaiman):
    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        estimates = {**self.estimates(), "A": matrix(footprints(*self.dims))}
        return write(tmp_path / "analysis.h5", dims=self.dims, **estimates)


class TestAVolume(OnCaiman):
    dims = (4, 6, 3)

    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return write(tmp_path / "analysis.hdf5", dims=self.dims, **self.estimates())


class TestLongTraces(OnCaiman):
    samples = 50_000

    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return write(tmp_path / "analysis.hdf5", dims=self.dims, **self.estimates())


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("is_sparse", [True, False])
def test_an_analysis_is_read_as_it_was_written(tmp_path: Path, new: bool, is_sparse: bool) -> None:
    tree = analysis()
    estimates = tree["estimates"]
    if not is_sparse:
        estimates["A"] = matrix(footprints(ROWS, COLUMNS))
        estimates["b"] = csc(estimates["b"])
    with roi.open(write(tmp_path / "a.hdf5", tree, new=new), kind="segmentation") as rois:
        assert type(rois) is CaimanSegmentationExtractor
        assert rois.get_roi_ids() == ["0", "1", "2"]
        assert rois.get_frame_shape() == (ROWS, COLUMNS)
        assert rois.get_num_samples() == SAMPLES
        assert rois.get_sampling_frequency() == 12.5
        assert rois.get_notes() == ()
        np.testing.assert_array_equal(rois.get_roi_image_masks(), footprints(ROWS, COLUMNS))
        np.testing.assert_array_equal(rois.get_roi_pixel_masks(["1"])[0], [[ROWS - 1, 0, 2.0]])
        traces = rois.get_traces_dict()
        assert set(traces) == {"raw", "dff", "denoised", "deconvolved", "background"}
        np.testing.assert_array_equal(traces["raw"], (estimates["C"] + estimates["YrA"]).T)
        for name, key in (("dff", "F_dff"), ("denoised", "C"), ("deconvolved", "S"), ("background", "f")):
            np.testing.assert_array_equal(traces[name], estimates[key].T)
        assert rois.get_background_ids() == ["background0", "background1"]
        background = rois.get_background_image_masks()
        expected = analysis()["estimates"]["b"]
        np.testing.assert_array_equal(background, expected.reshape(ROWS, COLUMNS, 2, order="F"))
        assert rois.get_property_keys() == []
        assert rois.metadata.software == "CaImAn 1.11.1"
        assert rois.metadata.vendor["data"]["decay_time"] == 0.4
        assert rois.metadata.vendor["init"] == {"K": 4}


def test_a_volume_has_planes_last(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5", dims=(4, 6, 3))
    with roi.open(path, kind="segmentation") as rois:
        assert (rois.get_frame_shape(), rois.get_num_planes(), rois.is_volumetric) == ((4, 6), 3, True)
        np.testing.assert_array_equal(rois.get_roi_image_masks(), footprints(4, 6, 3))
        np.testing.assert_array_equal(rois.get_roi_pixel_masks(["1"])[0], [[3, 0, 0, 2.0]])
        assert rois.get_background_image_masks().shape == (4, 6, 3, 2)
        assert rois.get_image("mean").shape == (4, 6, 3)


def test_a_volume_of_one_plane_is_planar(tmp_path: Path) -> None:
    with roi.open(write(tmp_path / "a.hdf5", dims=(4, 6, 1)), kind="segmentation") as rois:
        assert not rois.is_volumetric
        np.testing.assert_array_equal(rois.get_roi_image_masks(), footprints(4, 6, 1)[:, :, 0])


def test_one_roi_and_a_range_are_all_that_is_read(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    original = Hdf5Dataset.read_into

    def note(self: Hdf5Dataset, out: np.ndarray, box: Any) -> None:
        read.append(box)
        original(self, out, box)

    monkeypatch.setattr(Hdf5Dataset, "read_into", note)
    tree = analysis()["estimates"]
    with CaimanSegmentationExtractor(recording) as rois:
        assert not read
        part = rois.get_traces(["1"], 10, 30, name="denoised")
        np.testing.assert_array_equal(part, tree["C"][1:2, 10:30].T)
        assert read == [[(1, 2), (10, 30)]]
        part = rois.get_traces(["2", "0"], 5, 6, name="raw")
        np.testing.assert_array_equal(part, (tree["C"] + tree["YrA"])[[2, 0], 5:6].T)


def test_the_mean_image_is_that_of_the_movie_that_caiman_models(tmp_path: Path) -> None:
    tree = analysis()["estimates"]
    movie = matrix(footprints(ROWS, COLUMNS)) @ tree["C"] + tree["b"] @ tree["f"]
    with CaimanSegmentationExtractor(write(tmp_path / "a.hdf5")) as rois:
        assert rois.get_image_names() == ("mean",)
        np.testing.assert_allclose(rois.get_image("mean"), movie.mean(1).reshape(ROWS, COLUMNS, order="F"))
    # One-photon analyses have a constant baseline of each pixel in place of b and f
    b0 = np.arange(ROWS * COLUMNS) * 2.5
    movie = matrix(footprints(ROWS, COLUMNS)) @ tree["C"] + b0[:, np.newaxis]
    with CaimanSegmentationExtractor(write(tmp_path / "b.hdf5", b=None, f=None, b0=b0)) as rois:
        np.testing.assert_allclose(rois.get_image("mean"), movie.mean(1).reshape(ROWS, COLUMNS, order="F"))
        assert rois.get_background() is None
    with CaimanSegmentationExtractor(write(tmp_path / "c.hdf5", b=None, f=None)) as rois:
        assert rois.get_image_names() == ()


def test_the_correlation_image_is_the_stored_one(tmp_path: Path) -> None:
    image = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
    with CaimanSegmentationExtractor(write(tmp_path / "a.hdf5", Cn=image)) as rois:
        assert rois.get_image_names() == ("correlation", "mean")
        np.testing.assert_array_equal(rois.get_image("correlation"), image)


def test_the_evaluation_becomes_properties(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.hdf5",
        idx_components=np.array([0, 2]),
        idx_components_bad=np.array([1]),
        SNR_comp=np.array([3.0, 1.0, 2.0]),
        r_values=np.array([0.9, 0.1, 0.8]),
        cnn_preds=np.empty(0),  # an empty list where the network was not used
        bl=np.array(["1.5", "2.25", "-3.0"], "S32"),
        neurons_sn=np.array(["None", "1", "2"], "S32"),
        g=np.array([[0.9], [0.8], [0.7]]),
    )
    with CaimanSegmentationExtractor(path) as rois:
        found = {key: rois.get_property(key).tolist() for key in rois.get_property_keys()}
    assert found == {
        "is_accepted": [True, False, True],
        "is_rejected": [False, True, False],
        "snr": [3.0, 1.0, 2.0],
        "r_values": [0.9, 0.1, 0.8],
        "bl": [1.5, 2.25, -3.0],
        "g": [0.9, 0.8, 0.7],
    }


def test_an_evaluation_that_accepts_nothing_is_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5", idx_components=np.empty(0), idx_components_bad=np.arange(3))
    with CaimanSegmentationExtractor(path) as rois:
        assert rois.get_property("is_accepted").tolist() == [False] * 3


def test_an_analysis_without_components_has_no_rois(tmp_path: Path) -> None:
    empty = np.zeros((ROWS * COLUMNS, 0))
    traces = np.empty((0, SAMPLES))
    path = write(tmp_path / "a.hdf5", A=csc(empty), C=traces, S=traces, F_dff=None, YrA=traces)
    with roi.open(path, kind="segmentation") as rois:
        assert (rois.get_num_rois(), rois.get_num_samples()) == (0, SAMPLES)
        assert len(rois.get_roi_masks()) == 0
        assert rois.get_traces(name="raw").shape == (SAMPLES, 0)


def test_a_sparse_table_of_traces_is_left_out_with_a_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5", C=csc(np.eye(3, SAMPLES)))
    with pytest.warns(RoiExtractorsWarning, match="estimates/C is a sparse matrix"):
        rois = CaimanSegmentationExtractor(path)
    assert rois.get_trace_names() == ("dff", "deconvolved")
    rois.close()


def test_the_correlation_image_of_a_volume_with_a_single_plane(tmp_path: Path) -> None:
    image = np.arange(ROWS * COLUMNS, dtype=float).reshape(ROWS, COLUMNS, 1)
    with CaimanSegmentationExtractor(write(tmp_path / "a.hdf5", Cn=image, dims=np.array([ROWS, COLUMNS, 1]))) as rois:
        np.testing.assert_array_equal(rois.get_image("correlation"), image[..., 0])


def test_it_pickles(recording: Path) -> None:
    with CaimanSegmentationExtractor(recording) as rois:
        again = pickle.loads(pickle.dumps(rois))
        np.testing.assert_array_equal(again.get_traces(name="dff"), rois.get_traces(name="dff"))
        again.close()


def test_dims_can_be_given(tmp_path: Path) -> None:
    tree = analysis(dims=(ROWS, COLUMNS))
    tree["dims"] = tree["estimates"]["dims"] = None
    tree["params"]["data"].pop("dims")
    path = write(tmp_path / "a.hdf5", tree)
    with pytest.raises(UnsupportedRecordingError, match=r"35 pixels; pass dims=\(rows, columns\)"):
        CaimanSegmentationExtractor(path)
    with CaimanSegmentationExtractor(path, dims=(ROWS, COLUMNS)) as rois:
        np.testing.assert_array_equal(rois.get_roi_image_masks(), footprints(ROWS, COLUMNS))
    with pytest.raises(CorruptRecordingError, match="35 pixels, but dims are 6 x 5, a product of 30"):
        CaimanSegmentationExtractor(path, dims=(6, 5))
    for wrong in ((6,), (6, 0), "65", (6, 5, 2, 1), (True, 5)):
        with pytest.raises(ChoiceError, match="two or three positive integers"):
            CaimanSegmentationExtractor(path, dims=wrong)  # type: ignore[arg-type]


def test_sizes_that_contradict_each_other_are_said(tmp_path: Path) -> None:
    tree = analysis()
    tree["params"]["data"]["dims"] = np.array([COLUMNS, ROWS])
    path = write(tmp_path / "a.hdf5", tree)
    with pytest.warns(RoiExtractorsWarning, match="field of view as 7 x 5 and 5 x 7; using the first"):
        CaimanSegmentationExtractor(path).close()
    with CaimanSegmentationExtractor(path, dims=(COLUMNS, ROWS)) as rois:  # no warning
        assert rois.get_frame_shape() == (COLUMNS, ROWS)


# Planes in files of their own


class TestPlanes(OnCaiman):
    """Two files, of three components and of two."""

    @pytest.fixture
    def trees(self) -> list[Tree]:
        second = analysis(**self.estimates())["estimates"]
        tables = {key: second[key][[2, 0]] + 1 for key in ("C", "YrA", "F_dff", "S", "SNR_comp")}
        dense = 2 * matrix(footprints(ROWS, COLUMNS))[:, [2, 0]]
        second = {**second, **tables, "A": csc(dense), "idx_components": np.array([1])}
        return [analysis(**self.estimates()), analysis(**second)]

    @pytest.fixture
    def recording(self, tmp_path: Path, trees: list[Tree]) -> list[Path]:
        return [write(tmp_path / f"plane{k}.hdf5", tree) for k, tree in enumerate(trees)]

    @pytest.fixture
    def expected(self, trees: list[Tree]) -> Any:
        first, second = (tree["estimates"] for tree in trees)
        stack = np.zeros((ROWS, COLUMNS, 2, 5))
        stack[:, :, 0, :3] = footprints(ROWS, COLUMNS)
        stack[:, :, 1, 3:] = 2 * footprints(ROWS, COLUMNS)[:, :, [2, 0]]
        both = {key: np.concatenate([first[key], second[key]]).T for key in ("C", "YrA", "F_dff", "S", "f")}
        dense = [matrix(footprints(ROWS, COLUMNS)), 2 * matrix(footprints(ROWS, COLUMNS))[:, [2, 0]]]
        means = [
            a @ tree["C"].mean(1) + tree["b"] @ tree["f"].mean(1)
            for a, tree in zip(dense, (first, second), strict=True)
        ]
        mean = np.stack([image.reshape(ROWS, COLUMNS, order="F") for image in means], axis=-1)
        background = np.zeros((ROWS, COLUMNS, 2, 4))
        for plane, tree in enumerate((first, second)):
            background[:, :, plane, 2 * plane : 2 * plane + 2] = tree["b"].reshape(ROWS, COLUMNS, 2, order="F")
        return roi.NumpySegmentationExtractor(
            stack,
            {"raw": both["C"] + both["YrA"], "dff": both["F_dff"], "denoised": both["C"], "deconvolved": both["S"]},
            images={"correlation": np.stack([first["Cn"], second["Cn"]], axis=-1), "mean": mean},
            properties={
                "is_accepted": [True, False, True, False, True],
                "snr": [3.0, 1.0, 2.0, 3.0, 4.0],
                "plane": [0, 0, 0, 1, 1],
            },
            background=roi.Background(
                tuple(f"background{k}" for k in range(4)),
                roi.RoiMasks.from_dense(background),
                {"background": both["f"]},
            ),
            sampling_frequency=12.5,
        )


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (analysis(dims=(ROWS, 6)), r"frame size is \(7, 5\) in one and \(7, 6\)"),
        (
            analysis(C=np.zeros((3, 9)), YrA=None, S=None, F_dff=None, f=None),
            "the number of samples is 60 in one and 9",
        ),
        (analysis(dims=(ROWS, COLUMNS, 2)), "plane1.hdf5 is the analysis of a volume"),
    ],
)
def test_files_of_different_recordings_are_not_planes(tmp_path: Path, second: Tree, words: str) -> None:
    paths = [write(tmp_path / "plane0.hdf5"), write(tmp_path / "plane1.hdf5", second)]
    with pytest.raises(UnsupportedRecordingError, match=words):
        CaimanSegmentationExtractor(paths)


def test_a_list_of_one_file_is_that_file(recording: Path) -> None:
    with CaimanSegmentationExtractor([recording]) as rois:
        assert not rois.is_volumetric
        np.testing.assert_array_equal(rois.get_roi_image_masks(), footprints(ROWS, COLUMNS))
    with pytest.raises(SourceError, match="expected one file, got 0"):
        CaimanSegmentationExtractor([])


# Damage


def changed(key: str, value: Any) -> Tree:
    matrix_of = analysis()["estimates"]["A"]
    return {**matrix_of, key: value}


GOOD = analysis()["estimates"]["A"]
DAMAGED: list[tuple[str, Tree, str]] = [
    ("no A", {"A": None}, "no spatial components"),
    ("A is a list", {"A": np.arange(5.0)}, r"estimates/A has the shape \(5,\)"),
    ("A is text", {"A": np.array([["a", "b"]], "S1")}, "estimates/A has the shape"),
    ("no indices", {"A": {k: v for k, v in GOOD.items() if k != "indices"}}, "not a sparse matrix: indices is missing"),
    ("indptr decreases", {"A": changed("indptr", np.array([0, 5, 3, 7]))}, "must increase from 0 .* with decreases"),
    ("indptr overruns", {"A": changed("indptr", np.array([0, 3, 4, 900]))}, r"number of values \(7\), got 0 to 900"),
    ("indptr begins late", {"A": changed("indptr", np.array([1, 3, 4, 7]))}, "got 1 to 7"),
    ("indptr is short", {"A": changed("indptr", np.array([0, 3, 7]))}, "one more than the 3 components"),
    ("indptr is not whole", {"A": changed("indptr", np.array([0, 3.5, 4, 7]))}, "not integers"),
    ("data is short", {"A": changed("data", np.ones(6))}, "6 values but 7 indices"),
    ("shape of three", {"A": changed("shape", np.array([35, 3, 1]))}, "numbers of pixels and components"),
    ("shape is negative", {"A": changed("shape", np.array([-35, 3]))}, "numbers of pixels and components"),
    ("shape is infinite", {"A": changed("shape", np.array([np.inf, 3]))}, "numbers of pixels and components"),
    ("dims disagree", {"A": changed("shape", np.array([36, 3]))}, "36 pixels, but dims are 7 x 5, a product of 35"),
    ("other C", {"C": np.zeros((4, SAMPLES))}, r"estimates/C has the shape \(4, 60\), expected 3 components"),
]


@pytest.mark.parametrize(("name", "changes", "words"), DAMAGED, ids=[name for name, _, _ in DAMAGED])
def test_a_contradiction_is_one_sentence_when_opening(tmp_path: Path, name: str, changes: Tree, words: str) -> None:
    path = write(tmp_path / "a.hdf5", **changes)
    with pytest.raises(RecordingError, match=words) as caught:
        CaimanSegmentationExtractor(path)
    assert "a.hdf5" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "indices",
            np.array([0, 1, 2, 35, 4, 5, 6]),
            r"component 1 has the weight 2.0 at pixel 35, expected .* of the 35 pixels",
        ),
        ("indices", np.array([0, 1, 2, 3, -4, 5, 6]), "component 2 has the weight .* at pixel -4"),
        ("indices", np.arange(7.0), "of type float64, expected integers"),
        ("data", np.array([1, 1, np.nan, 1, 1, 1, 1]), "component 0 has the weight nan"),
        ("data", np.array([1, 1, 1, np.inf, 1, 1, 1]), "component 1 has the weight inf"),
        ("indices", np.array([0, 1, 1, 3, 4, 5, 6]), "twice"),
    ],
)
def test_a_bad_pixel_or_weight_is_one_sentence_naming_the_component(
    tmp_path: Path, key: str, value: np.ndarray, words: str
) -> None:
    with (
        CaimanSegmentationExtractor(write(tmp_path / "a.hdf5", A=changed(key, value))) as rois,
        pytest.raises(CorruptRecordingError, match=words),
    ):
        rois.get_roi_masks()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"F_dff": np.zeros((2, SAMPLES))}, r"F_dff has the shape \(2, 60\)"),
        ({"S": np.zeros((3, SAMPLES + 1))}, r"S has the shape \(3, 61\)"),
        ({"f": np.zeros((3, SAMPLES))}, r"estimates/f\) have the shape \(3, 60\)"),
        ({"b": np.zeros((12, 2))}, r"estimates/b\) has 12 pixels, expected 35"),
        ({"Cn": np.zeros((COLUMNS, ROWS))}, r"Cn\) has the shape \(5, 7\), expected \(7, 5\)"),
        ({"idx_components": np.array([0, 3])}, "idx_components contains values that are not indices of the 3"),
        ({"idx_components": np.array([-1, 2])}, "not indices"),
        ({"idx_components_bad": np.array([0.5])}, "not indices"),
    ],
)
def test_an_optional_part_that_does_not_fit_is_left_out(tmp_path: Path, changes: Tree, words: str) -> None:
    with pytest.warns(RoiExtractorsWarning, match=words):
        rois = CaimanSegmentationExtractor(write(tmp_path / "a.hdf5", **changes))
    with rois:
        assert any("left out" in note for note in rois.get_notes())
        assert len(rois.get_roi_masks()) == 3
        rois.get_traces_dict()
        rois.get_images_dict()
        assert not {"is_accepted", "is_rejected"} & set(rois.get_property_keys())


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["other"] = np.zeros(3)
    with pytest.raises(UnsupportedRecordingError, match="not an analysis of CaImAn"):
        CaimanSegmentationExtractor(tmp_path / "a.hdf5")


def test_a_link_to_another_file_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "other.hdf5")
    path = write(tmp_path / "a.hdf5")
    with h5py.File(path, "a") as file:
        del file["estimates/C"]
        file["estimates/C"] = h5py.ExternalLink("other.hdf5", "/estimates/C")
    with pytest.raises(UnsupportedRecordingError, match="link to another file"):
        CaimanSegmentationExtractor(path)


def test_links_that_form_a_circle_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5")
    with h5py.File(path, "a") as file:
        del file["estimates/A"]
        file["estimates/A"] = h5py.SoftLink("/estimates/A2")
        file["estimates/A2"] = h5py.SoftLink("/estimates/A")
    with pytest.raises(UnsupportedRecordingError, match="circle"):
        CaimanSegmentationExtractor(path)


def test_a_size_that_the_file_cannot_contain_is_not_allocated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5")
    with h5py.File(path, "a") as file:
        del file["estimates/A/data"], file["estimates/A/indices"], file["estimates/A/indptr"]
        for name in ("data", "indices", "indptr"):
            file["estimates/A"].create_dataset(name, (1 << 40,), "i8", chunks=(1 << 16,), compression="gzip")
        file["estimates/A/shape"][...] = [ROWS * COLUMNS, (1 << 40) - 1]
        del file["estimates/C"], file["estimates/S"], file["estimates/F_dff"], file["estimates/YrA"]
    with pytest.raises(CorruptRecordingError, match="claims"):
        CaimanSegmentationExtractor(path)


def test_a_truncated_file_is_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5")
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises((TruncatedRecordingError, CorruptRecordingError), match=r"a\.hdf5"):
        CaimanSegmentationExtractor(path)


def test_an_analysis_is_not_a_movie(recording: Path) -> None:
    with pytest.raises(SourceKindError, match="kind='segmentation'"):
        roi.open(recording)

"""The base class of segmentations, sparse masks, views, and how the second kind is found and opened."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core import Background, NumpySegmentationExtractor, RoiMasks
from roiextractors_core.registry.registry import Registry

ROWS, COLUMNS, SAMPLES = 6, 9, 40


def three_masks() -> RoiMasks:
    """Masks in a frame that is not square; the second overlaps the first."""
    return RoiMasks.from_pixels(
        (ROWS, COLUMNS),
        [
            ([0, 0, 1], [1, 2, 2], [0.5, 0.25, 0.25]),
            ([1, 2], [2, 3], [1.0, 3.0]),
            ([5], [8], [2.0]),
        ],
    )


def three_traces() -> np.ndarray:
    return (np.arange(SAMPLES)[:, None] + np.array([0, 100, 200])).astype(np.float32)


def made(**changes: Any) -> NumpySegmentationExtractor:
    traces = three_traces()
    return NumpySegmentationExtractor(
        three_masks(),
        {"raw": traces, "dff": traces / 10},
        **{
            "roi_ids": ["a", "b", "c"],
            "sampling_frequency": 20.0,
            "images": {"mean": np.arange(54.0).reshape(6, 9)},
            "properties": {"iscell": np.array([True, False, True]), "snr": np.array([1.0, 2.0, 3.0])},
            "background": Background(
                ("background0",),
                RoiMasks.from_images((ROWS, COLUMNS), [np.ones((ROWS, COLUMNS), np.float32)]),
                {"background": np.arange(SAMPLES, dtype=np.float32)[:, None]},
            ),
            **changes,
        },
    )


# Masks


def test_masks_are_the_same_from_every_source() -> None:
    masks, dense = three_masks(), three_masks().to_dense()
    assert dense.shape == (ROWS, COLUMNS, 3)
    assert dense[1, 2, 0] == 0.25
    assert dense[1, 2, 1] == 1.0
    assert dense[5, 8, 2] == 2.0
    np.testing.assert_array_equal(RoiMasks.from_dense(dense).to_dense(), dense)
    down_a_column = [(c * ROWS + r) for r, c in zip([0, 0, 1, 1, 2, 5], [1, 2, 2, 2, 3, 8], strict=True)]
    by_column = RoiMasks.from_columns((ROWS, COLUMNS), masks.offsets, down_a_column, masks.weights, order="F")
    assert by_column == masks
    assert RoiMasks.from_columns((ROWS, COLUMNS), masks.offsets, masks.pixels, masks.weights) == masks
    np.testing.assert_array_equal(np.stack([masks.image(k) for k in range(3)], axis=-1), dense)


def test_a_mask_has_pixels_with_planes() -> None:
    masks = RoiMasks.from_pixels((4, 5, 3), [([1, 1], [2, 2], [0, 2], [0.5, 1.5])])
    np.testing.assert_array_equal(masks.pixel_list(0), [[1, 2, 0, 0.5], [1, 2, 2, 1.5]])
    assert masks.to_dense().shape == (4, 5, 3, 1)
    np.testing.assert_array_equal(RoiMasks.from_dense(masks.to_dense()).pixel_list(0), masks.pixel_list(0))


def test_masks_are_chosen_in_any_order() -> None:
    masks = three_masks()
    chosen = masks[np.array([2, 0])]
    assert len(chosen) == 2
    np.testing.assert_array_equal(chosen.pixel_list(0), masks.pixel_list(2))
    np.testing.assert_array_equal(chosen.pixel_list(1), masks.pixel_list(0))
    assert masks[1:] == masks[np.array([1, 2])]
    assert len(masks[[]]) == 0
    assert masks[[]].to_dense().shape == (ROWS, COLUMNS, 0)
    with pytest.raises(roi.RangeError):
        masks[[3]]


def test_centers_and_labels() -> None:
    masks = three_masks()
    np.testing.assert_allclose(masks.centers(), [[0.25, 1.5], [1.75, 2.75], [5, 8]])
    labels = masks.to_labels()
    assert labels[1, 2] == 2  # the second has the greater weight there
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    again = RoiMasks.from_labels(labels)
    assert again.num_pixels.tolist() == [2, 2, 1]
    empty = RoiMasks((2, 3), [0, 0], [])
    assert np.isnan(empty.centers()).all()


def test_masks_as_a_sparse_matrix() -> None:
    pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    frame = np.arange(54.0)
    sums = three_masks().to_scipy() @ frame
    np.testing.assert_allclose(sums, [(three_masks().image(k).reshape(-1) * frame).sum() for k in range(3)])


def test_without_scipy_a_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(roi.MissingDependencyError, match="pip install scipy"):
        three_masks().to_scipy()


@pytest.mark.parametrize(
    ("shape", "offsets", "pixels", "weights", "words"),
    [
        ((2, 3), [0, 2], [0, 6], None, "ROI number 0 has pixel 6 outside of the frame"),
        ((2, 3), [0, 1, 2], [0, -1], None, "ROI number 1 has pixel -1 outside"),
        ((2, 3), [0, 2], np.array([0, 2**63 + 5], np.uint64), None, "outside"),
        ((2, 3), [0, 2], [0, 1], [1.0, np.nan], "ROI number 0 has the weight nan"),
        ((2, 3), [0, 2], [1, 1], None, r"pixel \(0, 1\) twice"),
        ((2, 3), [0, 3], [0, 1], None, "3 pixels have 2 positions"),
        ((2, 3), [0, 2], [0, 1], [1.0], "2 positions and 1 weights"),
        ((2, 3), [0, 2, 1], [0], None, "must not decrease"),
        ((2, 3), [0, 1], [0.5], None, "whole numbers"),
        ((2, 3), [0, 1], [0], ["x"], "must be numbers"),
    ],
)
def test_masks_that_contradict_themselves_are_refused(
    shape: Any, offsets: Any, pixels: Any, weights: Any, words: str
) -> None:
    with pytest.raises(roi.CorruptRecordingError, match=words):
        RoiMasks(shape, offsets, pixels, weights)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (([0, 2], [0, 0]), "ROI number 1 has row 2; the frame has 2 rows"),
        (([0], [-1]), "ROI number 1 has column -1; the frame has 3 columns"),
        (([0, 1], [0]), "different lengths: 2, 1"),
        (([0.5], [0]), "not whole numbers"),
        (([np.nan], [0]), "not whole numbers"),
    ],
)
def test_coordinates_outside_of_the_frame_are_refused(mask: Any, words: str) -> None:
    with pytest.raises(roi.CorruptRecordingError, match=words):
        RoiMasks.from_pixels((2, 3), [([0], [0]), mask])


def test_many_masks_take_little_memory() -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(20, 2000, (5000, 2))
    rows, columns = np.divmod(np.arange(225), 15)
    masks = RoiMasks.from_pixels((2048, 2048), ((r + rows, c + columns) for r, c in places))
    assert masks.nbytes < 30 << 20
    assert len(masks[np.arange(0, 5000, 7)]) == 715


# The extractor


def test_what_is_in_memory_is_given_back() -> None:
    rois = made()
    assert (rois.get_num_rois(), rois.get_num_samples(), rois.get_frame_shape()) == (3, SAMPLES, (ROWS, COLUMNS))
    assert rois.get_roi_ids() == ["a", "b", "c"]
    np.testing.assert_array_equal(rois.get_traces(), three_traces())
    np.testing.assert_array_equal(
        rois.get_traces(["c", "a"], 5, 10, name="dff"), three_traces()[5:10, [2, 0]] / np.float32(10)
    )
    assert sorted(rois.get_traces_dict()) == ["background", "dff", "raw"]
    assert rois.get_traces(name="background").shape == (SAMPLES, 1)
    assert rois.get_traces(["background0"], 3, 4, name="background").tolist() == [[3.0]]
    np.testing.assert_array_equal(rois.get_roi_image_masks(["b"])[..., 0], three_masks().image(1))
    np.testing.assert_array_equal(rois.get_roi_pixel_masks()[2], [[5, 8, 2.0]])
    assert rois.get_background_ids() == ["background0"]
    assert rois.get_num_background_components() == 1
    assert rois.get_background_image_masks().shape == (ROWS, COLUMNS, 1)
    assert rois.get_images_dict()["mean"].shape == (ROWS, COLUMNS)
    assert rois.get_property("iscell").tolist() == [True, False, True]
    assert rois.get_property("snr", ["c", "b"]).tolist() == [3.0, 2.0]
    np.testing.assert_allclose(rois.get_timestamps(2, 4), [0.1, 0.15])
    assert rois.get_roi_locations().tolist() == [[0, 2, 5], [2, 3, 8]]
    assert repr(rois) == (
        "<NumpySegmentationExtractor: 3 ROIs in 6 rows x 9 columns; raw, dff, background of 40 samples; 20 Hz, 2 s>"
    )


def test_results_belong_to_the_caller() -> None:
    traces = three_traces()
    rois = NumpySegmentationExtractor(three_masks(), traces)
    rois.get_traces()[:] = -1
    rois.get_traces(start_frame=0, end_frame=2)[:] = -1
    np.testing.assert_array_equal(traces, three_traces())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: r.get_traces(["z"]), "there is no ROI 'z'; the ids are 'a', 'b' and 'c'"),
        (lambda r: r.get_traces(name="spikes"), "there is no trace 'spikes'; available: 'raw', 'dff' and 'background'"),
        (lambda r: r.get_traces(start_frame=5, end_frame=41), "5 to 41 is outside the recording: there are 40 samples"),
        (lambda r: r.get_traces(start_frame=5, end_frame=4), "reversed"),
        (lambda r: r.get_image("max"), "there is no image 'max'; available: 'mean'"),
        (lambda r: r.get_property("size"), "there is no property 'size'"),
        (lambda r: r.select_rois(["a", "a"]), "named twice"),
        (lambda r: r.get_background_pixel_masks(["q"]), "there is no background component 'q'"),
    ],
)
def test_what_does_not_exist_is_named(call: Any, words: str) -> None:
    with pytest.raises(roi.RangeError, match=words):
        call(made())


def test_numbers_are_ids_too() -> None:
    rois = NumpySegmentationExtractor(three_masks(), three_traces())
    assert rois.get_roi_ids() == ["0", "1", "2"]
    np.testing.assert_array_equal(rois.get_traces([2, 0]), three_traces()[:, [2, 0]])
    np.testing.assert_array_equal(rois.get_traces(np.array([1])), three_traces()[:, [1]])
    np.testing.assert_array_equal(rois.get_traces(np.int64(1)), three_traces()[:, [1]])


def test_ids_that_appear_twice_are_refused() -> None:
    class Twice(NumpySegmentationExtractor):
        def get_roi_ids(self) -> list[str]:
            return ["a", "a", "b"]

    twice = Twice(three_masks(), three_traces())
    for _ in range(2):
        with pytest.raises(roi.CorruptRecordingError, match="more than once: 'a'"):
            twice.get_traces(["a"])


def test_views_keep_traces_masks_and_properties_together() -> None:
    rois = made()
    rois.set_property("depth", [10, 20, 30])
    view = rois.select_rois(["c", "a"]).slice_samples(10, 30)
    view.set_property("grade", ["x", "y"])
    again = view.slice_samples(5, 15).select_rois(["a", "c"])
    assert again.get_roi_ids() == ["a", "c"]
    np.testing.assert_array_equal(again.get_traces(), three_traces()[15:25, [0, 2]])
    np.testing.assert_array_equal(
        again.get_traces(["c"], 2, 3, name="dff"), three_traces()[17:18, [2]] / np.float32(10)
    )
    np.testing.assert_array_equal(again.get_roi_pixel_masks(["c"])[0], [[5, 8, 2.0]])
    assert again.get_property("snr").tolist() == [1.0, 3.0]
    assert again.get_property("depth").tolist() == [10, 30]
    assert again.get_property("grade").tolist() == ["y", "x"]
    np.testing.assert_allclose(again.get_timestamps(), np.arange(15, 25) / 20)
    assert again.get_traces(name="background")[:, 0].tolist() == list(range(15, 25))
    assert again.get_sampling_frequency() == 20.0
    with pytest.raises(roi.RangeError, match="there is no ROI 'b'"):
        again.get_traces(["b"])
    with pytest.raises(roi.RangeError):
        again.get_traces(start_frame=0, end_frame=11)


def test_properties_of_a_view_are_not_those_of_its_parent() -> None:
    rois = made()
    view = rois.select_rois(["b"])
    view.set_property("iscell", [True])
    assert rois.get_property("iscell").tolist() == [True, False, True]
    assert view.get_property("iscell").tolist() == [True]


def test_a_property_needs_a_value_for_each_roi() -> None:
    rois = made()
    rois.set_property("rank", [3, 1, 2], ids=["c", "a", "b"], description="by size")
    assert rois.get_property("rank").tolist() == [1, 2, 3]
    assert rois.get_property_info("rank").description == "by size"
    with pytest.raises(roi.DeclarationError, match="2 values for 3 ROIs"):
        rois.set_property("rank", [1, 2])
    with pytest.raises(roi.DeclarationError, match="one for each of the 3 ROIs"):
        rois.set_property("rank", [1, 2], ids=["a", "b"])


def test_times_of_the_user_and_of_views() -> None:
    rois = made(times=np.arange(SAMPLES) * 0.5 + 3)
    assert rois.times_source == "user"
    assert rois.has_time_vector()
    view = rois.slice_samples(10, 12)
    assert view.get_timestamps().tolist() == [8.0, 8.5]
    view.set_times([1.0, 2.0])
    assert view.slice_samples(1, 2).get_timestamps().tolist() == [2.0]
    assert rois.get_timestamps(10, 12).tolist() == [8.0, 8.5]


def test_thousands_of_views_compose() -> None:
    rois: Any = made()
    for _ in range(400):
        rois = rois.slice_samples(0, None).select_rois(["a", "b", "c"])
    np.testing.assert_array_equal(rois.get_traces(), three_traces())
    assert rois.get_property("snr").tolist() == [1.0, 2.0, 3.0]


def test_it_pickles_with_what_the_user_set() -> None:
    rois = made()
    rois.set_property("rank", [1, 2, 3])
    rois.set_times(np.arange(SAMPLES) * 2.0)
    for original in (rois, rois.select_rois(["c", "b"]).slice_samples(4, 9)):
        again = pickle.loads(pickle.dumps(original))
        assert again.get_roi_ids() == original.get_roi_ids()
        np.testing.assert_array_equal(again.get_traces(), original.get_traces())
        np.testing.assert_array_equal(again.get_timestamps(), original.get_timestamps())
        np.testing.assert_array_equal(again.get_property("rank"), original.get_property("rank"))
        assert again.get_roi_masks() == original.get_roi_masks()


def test_closing() -> None:
    rois = made()
    view = rois.select_rois(["a"])
    other = rois.select_rois(["b"])
    other.close()
    assert view.get_traces().shape == (SAMPLES, 1)
    with pytest.raises(roi.ClosedRecordingError):
        other.get_traces()
    with rois:
        pass
    for read in (view.get_traces, view.get_roi_masks, rois.get_traces, lambda: rois.get_property("snr")):
        with pytest.raises(roi.ClosedRecordingError):
            read()


def test_several_threads_read_at_once() -> None:
    rois, wrong = made(), []

    def read() -> None:
        for k in range(200):
            wrong.extend([k] if (rois.get_traces(["b"], k % 40, None)[0] != 100 + k % 40).any() else [])

    threads = [threading.Thread(target=read) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert wrong == []


def test_a_volume_of_one_plane_is_planar() -> None:
    rois = NumpySegmentationExtractor(np.ones((4, 5, 1, 2), np.float32))
    assert not rois.is_volumetric
    assert rois.get_roi_image_masks().shape == (4, 5, 2)
    volumes = NumpySegmentationExtractor(np.ones((4, 5, 3, 2), np.float32))
    assert volumes.is_volumetric
    assert volumes.get_roi_image_masks().shape == (4, 5, 3, 2)
    assert volumes.get_roi_pixel_masks()[0].shape == (60, 4)


def test_without_traces_or_masks() -> None:
    rois = NumpySegmentationExtractor(three_masks())
    assert rois.get_num_samples() == 0
    assert rois.get_traces_dict() == {}
    assert "no traces of 0 samples" in repr(rois)

    class Events(NumpySegmentationExtractor):
        has_masks = False

    with pytest.raises(roi.UnsupportedRecordingError, match="has no masks"):
        Events(three_masks(), three_traces()).select_rois(["0"]).get_roi_masks()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"traces": np.zeros((40, 2))}, "traces must all be"),
        ({"roi_ids": ["a", "b"]}, "3 masks and 2 different ids"),
        ({"roi_ids": ["a", "b", "b"]}, "3 masks and 2 different ids"),
        ({"images": {"mean": np.zeros((9, 6))}}, r"has shape \(9, 6\)"),
        ({"properties": {"snr": [1, 2]}}, "has 2 values for 3 ROIs"),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(changes: dict[str, Any], words: str) -> None:
    traces = changes.pop("traces", three_traces())
    with pytest.raises(roi.DeclarationError, match=words):
        NumpySegmentationExtractor(three_masks(), traces, **changes)


@pytest.mark.parametrize(
    ("method", "answer", "words"),
    [
        ("get_trace", lambda self, *a: np.zeros((3, 3)), r"returned shape \(3, 3\); expected 40 samples of 3 ROIs"),
        ("get_masks", lambda self, indices: three_masks()[:2], "returned 2 masks"),
    ],
)
def test_an_author_who_returns_another_shape_is_told(method: str, answer: Any, words: str) -> None:
    kind = type("Wrong", (NumpySegmentationExtractor,), {method: answer})
    rois = kind(three_masks(), three_traces())
    with pytest.raises(roi.RecordingError, match=words):
        rois.get_traces() if method == "get_trace" else rois.get_roi_masks()


# Finding and opening


class Stored(roi.SegmentationExtractor):
    """A made-up format: the number of ROIs as text; damaged when it is not a number."""

    error: type[Exception] = roi.CorruptRecordingError

    def __init__(self, file_path: Any, *, plane: str | None = None, sampling_frequency: float | None = None) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        words = Path(file_path).read_text().split()
        if not words[-1].isdigit():
            raise self.error(f"{file_path} has no number of ROIs")
        self._count = int(words[-1])

    def get_frame_shape(self) -> tuple[int, int]:
        return 4, 100

    def get_roi_ids(self) -> list[str]:
        return [str(k) for k in range(self._count)]

    def get_num_samples(self) -> int:
        return 10

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        return RoiMasks.from_pixels((4, 100), (([1], [k]) for k in roi_indices))

    def get_trace_names(self) -> tuple[str, ...]:
        return ("raw",)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        return np.zeros((end_sample - start_sample, len(roi_indices)))

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        return {"plane": ("plane0", "plane1")}


class Movie(roi.ImagingExtractor):
    def __init__(self, file_path: Any) -> None:
        super().__init__()
        if b"pixels" not in Path(file_path).read_bytes():
            raise roi.CorruptRecordingError(f"{file_path} has no pixels.")

    def get_image_shape(self) -> tuple[int, int]:
        return 2, 2

    def get_num_samples(self) -> int:
        return 3

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        return np.zeros((3, 2, 2), np.uint8)[start_sample:end_sample]


@pytest.fixture
def registry() -> Registry:
    both = Registry()
    roi.register(Movie, name="rig", extensions=(".both",), registry=both)
    roi.register(Stored, name="rig-segmentation", extensions=(".both",), registry=both)
    roi.register(Stored, name="cells", title="Cells of the rig", extensions=(".cells",), registry=both)
    return both


def file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_both_kinds_of_one_file(tmp_path: Path, registry: Registry) -> None:
    path = file(tmp_path, "a.both", "pixels 7")
    assert isinstance(roi.open(path, registry=registry), Movie)
    rois = roi.open(path, kind="segmentation", sampling_frequency=5.0, registry=registry)
    assert rois.get_num_rois() == 7
    assert rois.get_sampling_frequency() == 5.0
    assert rois.provenance.format == "rig-segmentation"
    assert roi.open(path, format="rig", kind="segmentation", registry=registry).get_num_rois() == 7
    assert roi.streams(path, kind="segmentation", registry=registry) == {"plane": ("plane0", "plane1")}
    found = roi.explain(path, registry=registry)
    assert found.kind == "imaging"
    assert [m.spec.name for m in found.other_kinds] == ["rig-segmentation"]
    assert "as segmentation: rig-segmentation" in str(found)
    assert roi.explain(path, kind="segmentation", registry=registry).best.spec.name == "rig-segmentation"  # type: ignore[union-attr]


def test_a_source_of_one_kind_says_which(tmp_path: Path, registry: Registry) -> None:
    path = file(tmp_path, "a.cells", "7")
    with pytest.raises(roi.SourceKindError, match=r"contains a segmentation, not a movie.*kind='segmentation'"):
        roi.open(path, registry=registry)
    with pytest.raises(roi.SourceKindError, match="kind='segmentation'"):
        roi.streams(path, registry=registry)
    found = roi.explain(path, registry=registry)
    assert found.kind == "segmentation"
    assert found.best is not None
    with pytest.raises(roi.UnknownFormatError, match=r"kind 'segmentation': open\(..., kind='segmentation'\)"):
        roi.open(path, format="cells", registry=registry)
    with pytest.raises(roi.UnknownFormatError, match=r"kind 'imaging': open\(..., kind='imaging'\)"):
        only = Registry()
        roi.register(Movie, name="rig", extensions=(".both",), registry=only)
        roi.open(file(tmp_path, "b.both", "pixels"), format="rig", kind="segmentation", registry=only)


@pytest.mark.parametrize(
    ("kind", "noun", "member"), [("imaging", "recording", "movie.raw"), ("segmentation", "segmentation", "found.cells")]
)
def test_a_folder_of_recordings_lists_those_of_the_kind(tmp_path: Path, kind: str, noun: str, member: str) -> None:
    only = Registry(entry_points=lambda: [])
    roi.register(Movie, name="movies", evidence=roi.Member("movie.raw"), registry=only)
    roi.register(Stored, name="cells", evidence=roi.Member("found.cells"), registry=only)
    for name in ("movie.raw", "found.cells"):
        for day in ("first", "second"):
            (tmp_path / f"{day} {name}").mkdir()
            file(tmp_path / f"{day} {name}", name, "7")
    words = f"is not a {noun}; it contains 2 {noun}s: 'first {member}' and 'second {member}'; open one of them"
    with pytest.raises(roi.UnknownFormatError, match=words):
        roi.open(tmp_path, kind=kind, registry=only)  # type: ignore[call-overload]
    shutil.rmtree(tmp_path / f"second {member}")
    with pytest.raises(roi.UnknownFormatError, match=f"it contains one {noun}, 'first {member}': open"):
        roi.open(tmp_path, kind=kind, registry=only)  # type: ignore[call-overload]


def test_a_movie_that_is_missing_beside_a_sound_segmentation(tmp_path: Path, registry: Registry) -> None:
    path = file(tmp_path, "a.both", "7")
    with pytest.raises(roi.SourceKindError, match=r"has no pixels. To open the segmentation: open\(..., kind="):
        roi.open(path, registry=registry)
    damaged = file(tmp_path, "b.both", "x")
    with pytest.raises(roi.CorruptRecordingError, match=r"has no pixels.$"):
        roi.open(damaged, registry=registry)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    for call in (roi.open, roi.streams, roi.explain):
        with pytest.raises(roi.UnknownOptionError, match="the kinds are 'imaging' and 'segmentation'"):
            call(tmp_path, kind="spikes")  # type: ignore[operator]


def test_a_class_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    registry = Registry()
    roi.register(Movie, name="rig", kind="segmentation", extensions=(".both",), registry=registry)
    with pytest.raises(roi.DeclarationError, match="is not a SegmentationExtractor"):
        roi.open(file(tmp_path, "a.both", "pixels"), kind="segmentation", registry=registry)


# The command line


class Planes(Stored):
    """Two planes, one of which must be chosen."""

    def __init__(self, file_path: Any, *, plane: str | None = None, sampling_frequency: float | None = None) -> None:
        super().__init__(file_path, sampling_frequency=sampling_frequency)
        if plane not in ("plane0", "plane1"):
            raise roi.StreamChoiceError.for_option("a.both", "plane", ("plane0", "plane1"))


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command in this process, which has formats of both kinds."""
    testing = pytest.importorskip("typer.testing", reason="typer is not installed")
    from roiextractors_core.cli.app import app

    monkeypatch.chdir(tmp_path)
    default = roi.default_registry()
    roi.register(Movie, name="rig", extensions=(".both",))
    roi.register(Planes, name="rig-segmentation", extensions=(".both",), streams=("plane",))
    roi.register(Stored, name="cells", extensions=(".cells",))
    yield lambda *words: testing.CliRunner().invoke(app, words)
    for name in ("rig", "rig-segmentation", "cells"):
        default.unregister(name)


def test_info_shows_what_there_is_of_each_kind(tmp_path: Path, command: Any) -> None:
    file(tmp_path, "a.both", "pixels 7")
    text = command("info", "a.both", "--no-picture").stdout
    assert "3 samples x 2 rows x 2 columns" in text
    assert text.count("7 in frames of 4 rows x 100 columns") == 2
    assert "raw; 10 samples" in text and "plane1" in text  # noqa: PT018
    only = command("info", "a.both", "--no-picture", "--kind", "segmentation", "--option", "plane=plane1").stdout
    assert "2 rows" not in only
    assert only.count("7 in frames") == 1


@pytest.mark.thorough
def test_info_draws_each_segmentation(tmp_path: Path, command: Any) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    file(tmp_path, "a.both", "pixels 7")
    done = command("info", "a.both")
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == ["a.both-plane0-rois-preview.png", "a.both-plane1-rois-preview.png", "a.both-preview.png"]
    assert all(name in done.stdout for name in pictures)
    command("preview", "a.both", "--kind", "segmentation", "--option", "plane=plane0", "-o", "one.png")
    assert (tmp_path / "one.png").is_file()


@pytest.mark.thorough
def test_info_of_one_kind_alone(tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file(tmp_path, "a.cells", "7")
    assert "7 in frames" in command("info", "a.cells", "--no-picture").stdout
    file(tmp_path, "b.both", "7")  # no pixels
    assert command("info", "b.both", "--no-picture").stdout.count("7 in frames") == 2
    file(tmp_path, "d.both", "pixels x")
    with monkeypatch.context() as changed:
        changed.setattr(Stored, "error", roi.UnsupportedRecordingError)  # it has no ROIs, which is no fault
        shown = command("info", "d.both", "--no-picture")
    assert "3 samples" in shown.stdout, shown.output
    assert "number of ROIs" not in shown.output
    file(tmp_path, "c.both", "pixels x")  # damaged ROIs: the movie is shown, and what is wrong is said
    shown = command("info", "c.both", "--no-picture")
    assert "3 samples" in shown.stdout
    assert "has no number of ROIs" in shown.output


def test_json_streams_and_explain_know_both_kinds(tmp_path: Path, command: Any) -> None:
    file(tmp_path, "a.both", "pixels 7")
    facts = json.loads(command("info", "a.both", "--json").stdout)
    assert [fact["kind"] for fact in facts] == ["imaging", "segmentation", "segmentation"]
    assert facts[1]["rois"] == 7
    assert json.loads(command("streams", "a.both", "--kind", "segmentation", "--json").stdout) == {
        "plane": ["plane0", "plane1"]
    }
    assert "as segmentation" in command("explain", "a.both").stdout
    found = json.loads(command("explain", "a.both", "--kind", "segmentation", "--json").stdout)
    assert found["best"]["format"] == "rig-segmentation"
    rows = json.loads(command("scan", ".", "--json").stdout)  # the same file is read by both
    assert [(row["kind"], row["shape"]) for row in rows] == [("imaging", [3, 2, 2]), ("segmentation", [10, 7])]
    assert rows[1]["streams"] == {"plane": ["plane0", "plane1"]}
    listed = command("formats").stdout
    assert "segmentation" in listed


def test_convert_says_how_many_rois(tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent)  # where this module, whose function is the writer, can be imported
    words = {"writer": f"{__name__}:write_cells", "writer_extensions": (".cells",)}
    roi.register(Stored, name="cells", extensions=(".cells",), **words)
    path = file(tmp_path, "a.cells", "7")
    done = command("convert", str(path), str(tmp_path / "b.cells"), "--kind", "segmentation")
    assert "b.cells: 7 ROIs, 10 samples" in done.stdout


# Converting


def write_cells(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    """The writer of a made-up format."""
    partial.write_text(str(recording.get_num_rois()))
    progress(1, 1)


def test_a_segmentation_is_written_by_a_writer_of_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    words = {"writer": f"{__name__}:write_cells", "writer_extensions": (".both",)}
    roi.register(Movie, name="rig", extensions=(".both",), registry=registry, **words)
    roi.register(Stored, name="rig-segmentation", extensions=(".both",), registry=registry, **words)
    rois = made()
    written = roi.convert(rois.select_rois(["a", "c"]), tmp_path / "out.both", registry=registry)
    assert written.read_text() == "2"
    assert roi.open(written, kind="segmentation", registry=registry).get_num_rois() == 2
    by_name = roi.convert(rois, tmp_path / "named.both", format="rig", registry=registry)
    assert by_name.read_text() == "3"
    again = roi.convert(by_name, tmp_path / "again.both", kind="segmentation", registry=registry)
    assert again.read_text() == "3"
    with pytest.raises(roi.SourceKindError, match=r"cannot write rois\.npy"):  # a movie could be
        roi.convert(rois, tmp_path / "rois.npy")
    monkeypatch.setattr("roiextractors_core.interop.convert.writable_formats", lambda registry: ())
    with pytest.raises(roi.SourceKindError, match="no installed format can be written from a segmentation"):
        roi.convert(rois, tmp_path / "rois.npy")
    with pytest.raises(roi.UnknownFormatError, match="cannot be written from a recording of kind 'segmentation'"):
        roi.convert(rois, tmp_path / "rois.npy", format="npy")
    assert not (tmp_path / "rois.npy").exists()

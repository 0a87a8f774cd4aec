"""Experiments of the Brain Observatory and planes of the AIND pipeline: what is joined, and what is refused.

The files are written by h5py and json alone, as the pipelines write them.
"""

from __future__ import annotations

import json
import pickle
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from roiextractors_allen.segmentation import AllenSegmentationExtractor

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    RecordingError,
    RoiExtractorsWarning,
    SourceNotFoundError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import SegmentationExtractorTests

Write = Callable[..., Path]

IDS = (1109811483, 1109811486, 1109811490)
ROWS, COLUMNS = 9, 14
BOXES = {IDS[0]: (2, 3), IDS[1]: (5, 11), IDS[2]: (0, 0)}  # row and column of the first pixel
BITS = {
    IDS[0]: [[0, 1, 1, 0], [1, 1, 1, 1]],
    IDS[1]: [[1, 0], [1, 1], [0, 1]],
    IDS[2]: [[1]],
}


def traces(seed: int, count: int = 3, samples: int = 20) -> np.ndarray:
    """Numbers that differ between ROIs, samples and seeds."""
    return np.random.default_rng(seed).random((count, samples))


def dense(order: tuple[int, ...] = IDS) -> np.ndarray:
    """The masks as ``(rows, columns, rois)``."""
    stack = np.zeros((ROWS, COLUMNS, len(order)), np.float32)
    for k, name in enumerate(order):
        row, column = BOXES[name]
        bits = np.array(BITS[name])
        stack[row : row + bits.shape[0], column : column + bits.shape[1], k] = bits
    return stack


def write_h5(path: Path, **datasets: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name.replace("__", "/"), data=values)
    return path


def entry(name: int, **changes: Any) -> dict[str, Any]:
    """One ROI as segmentation writes it."""
    bits = BITS[name]
    row, column = BOXES[name]
    return {
        "id": name,
        "x": column,
        "y": row,
        "width": len(bits[0]),
        "height": len(bits),
        "valid_roi": name != IDS[1],
        "mask_matrix": [[bool(bit) for bit in line] for line in bits],
        "max_correction_up": 1.0,
        "mask_image_plane": 0,
        "exclusion_labels": ["motion_border"] if name == IDS[1] else [],
    } | changes


def write_png_header(path: Path, rows: int, columns: int) -> None:
    """The beginning of a PNG, which is all that anything reads of it."""
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", columns, rows) + bytes(20))


def write_experiment(folder: Path) -> Path:
    """Write an experiment of the Brain Observatory: six files of traces, and the masks."""
    folder.mkdir(parents=True, exist_ok=True)
    text, numbers = np.array([str(name) for name in IDS], "S"), np.array(IDS)
    write_h5(folder / "roi_traces.h5", data=traces(0), roi_names=numbers)
    # Each file may have its own order
    back = [2, 0, 1]
    write_h5(folder / "neuropil_traces.h5", data=traces(1)[back], roi_names=text[back])
    write_h5(folder / "1234_demixed_traces.h5", data=traces(2), roi_names=text)
    write_h5(folder / "neuropil_correction.h5", FC=traces(3), r=[0.1, 0.2, 0.3], RMSE=[1.0, 2, 3], roi_names=text)
    write_h5(
        folder / "1234_dff.h5",
        data=traces(4),
        roi_names=text,
        sigma_dff=[4.0, 5, 6],
        num_small_baseline_frames=[0, 1, 2],
    )
    # Events are detected for valid ROIs only
    write_h5(
        folder / "1234_event.h5",
        events=traces(5)[[2, 0]],
        roi_names=numbers[[2, 0]],
        noise_stds=[0.3, 0.1],
        lambdas=[3.0, 1],
    )
    (folder / "rois.json").write_text(json.dumps([entry(name) for name in (IDS[2], IDS[0], IDS[1])]))
    write_png_header(folder / "maxInt_a13a.png", ROWS, COLUMNS)
    return folder


def write_plane(folder: Path, *, name: str = "VISp_0") -> Path:
    """Write one plane of the AIND pipeline, with a folder for each step; return the extraction file."""
    stack = dense() * np.array([0.5, 1, 2], np.float32)
    rois, rows, columns = np.nonzero(np.moveaxis(stack, 2, 0))
    write_h5(
        folder / "extraction" / f"{name}_extraction.h5",
        rois__coords=np.stack([rois, rows, columns]).astype(np.int16),
        rois__data=stack[rows, columns, rois],
        rois__shape=np.array([3, ROWS, COLUMNS], np.int16),
        rois__npix=np.array([6, 4, 1], np.int16),
        rois__soma_crop=np.ones(11, bool),
        traces__roi=traces(0).astype(np.float32),
        traces__neuropil=traces(1).astype(np.float32),
        traces__corrected=traces(3).astype(np.float32),
        traces__neuropil_rcoef=np.array([0.7, 0.8, 0.9]),
        iscell=np.array([[1, 0.9], [0, 0.2], [1, 0.8]], np.float32),
        meanImg=np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS),
        maxImg=np.ones((ROWS, COLUMNS), np.float32),
    )
    write_h5(
        folder / "dff" / f"{name}_dff.h5",
        data=traces(4),
        baseline=traces(6),
        noise=np.array([1.0, 2, 3]),
        skewness=np.array([0.1, 0.2, 0.3]),
    )
    write_h5(
        folder / "events" / f"{name}_events_oasis.h5",
        events=traces(5),
        denoised=traces(7),
        tau_hat=np.array([1.0, 2, 3]),
    )
    write_h5(
        folder / "classification" / f"{name}_classification.h5",
        soma__probabilities=np.array([0.9, 0.1, 0.7]),
        soma__predictions=np.array([1, 0, 1]),
        border__labels=np.array([False, True, False]),
    )
    return folder / "extraction" / f"{name}_extraction.h5"


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    return write_experiment(tmp_path / "experiment")


@pytest.fixture
def plane(tmp_path: Path) -> Path:
    return write_plane(tmp_path / "plane")


@pytest.fixture
def write() -> Callable[..., Path]:
    return write_h5


NAMES = [str(name) for name in IDS]


def rewrite(folder: Path, *rois: dict[str, Any], name: str = "rois.json") -> None:
    (folder / name).write_text(json.dumps(list(rois)))


# Brain Observatory


@pytest.mark.parametrize("name", ["", "roi_traces.h5", "neuropil_correction.h5"])
def test_the_files_of_an_experiment_are_read_together_and_matched_by_id(experiment: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rois = roi.open(experiment / name, kind="segmentation")
    with rois:
        assert rois.provenance.format == "allen"
        assert rois.get_roi_ids() == NAMES
        assert rois.get_trace_names() == ("raw", "demixed", "neuropil", "corrected", "dff", "events")
        for seed, trace in enumerate(("raw", "neuropil", "demixed", "corrected", "dff")):
            np.testing.assert_array_equal(rois.get_traces(name=trace), traces(seed).T)
        np.testing.assert_array_equal(
            rois.get_traces([NAMES[2], NAMES[0]], 3, 9, name="neuropil"), traces(1)[[2, 0], 3:9].T
        )
        np.testing.assert_array_equal(rois.get_roi_image_masks(), dense())
        assert rois.get_roi_pixel_masks([NAMES[1]])[0].tolist() == [[5, 11, 1], [6, 11, 1], [6, 12, 1], [7, 12, 1]]
        assert rois.get_frame_shape() == (ROWS, COLUMNS)
        assert rois.metadata.modality == "two-photon"
        assert rois.get_sampling_frequency() is None
        assert rois.times_source is None


def test_events_of_valid_rois_only_are_nan_for_the_others(experiment: Path) -> None:
    with AllenSegmentationExtractor(experiment) as rois:
        expected = traces(5)
        expected[1] = np.nan
        np.testing.assert_array_equal(rois.get_traces(name="events"), expected.T)
        np.testing.assert_array_equal(rois.get_property("noise_std"), [0.1, np.nan, 0.3])
        assert any(
            f"1234_event.h5 has no traces of 1 ROI, which are NaN there: {NAMES[1]!r}" in n for n in rois.get_notes()
        )


def test_values_of_rois_are_properties(experiment: Path) -> None:
    with AllenSegmentationExtractor(experiment) as rois:
        assert rois.get_property("valid").tolist() == [True, False, True]
        assert rois.get_property("exclusion_labels").tolist() == ["", "motion_border", ""]
        assert rois.get_property("mask_plane").tolist() == [0, 0, 0]
        assert rois.get_property("neuropil_r").tolist() == [0.1, 0.2, 0.3]
        assert rois.get_property("sigma_dff").tolist() == [4, 5, 6]


def test_the_rate_is_an_option_and_times_are_those_of_the_synchronization(experiment: Path, write: Write) -> None:
    with AllenSegmentationExtractor(experiment, sampling_frequency=31.0) as rois:
        assert rois.get_sampling_frequency() == 31
        np.testing.assert_allclose(rois.get_timestamps(), np.arange(20) / 31)
    times = 8.5 + np.arange(20) / 30.9
    path = write(experiment / "1234_time_synchronization.h5", twop_vsync_fall=times, stim_delta=1)
    with AllenSegmentationExtractor(experiment) as rois:
        assert rois.times_source == "native"
        np.testing.assert_array_equal(rois.get_timestamps(3, 6), times[3:6])
        assert str(path) in rois.get_paths()


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (np.arange(22.0), "has 22 times for 20 samples"),
        (np.zeros(20), "not increasing, or not finite"),
        (np.full(20, np.nan), "not increasing, or not finite"),
        (np.zeros((20, 2)), "has no times of the samples"),
    ],
)
def test_times_that_cannot_be_are_left_out_with_a_warning(
    experiment: Path, write: Write, times: np.ndarray, words: str
) -> None:
    write(experiment / "time_sync.h5", twop_vsync_fall=times)
    with pytest.warns(RoiExtractorsWarning, match=words):
        rois = AllenSegmentationExtractor(experiment)
    with rois:
        assert rois.get_native_timestamps() is None


def test_traces_without_masks_are_opened(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "roi_traces.h5", data=traces(0), roi_names=np.array(IDS))
    with roi.open(path, kind="segmentation") as rois:
        assert not rois.has_masks
        assert rois.get_frame_shape() == (0, 0)
        np.testing.assert_array_equal(rois.get_traces(), traces(0).T)
        with pytest.raises(UnsupportedRecordingError, match="no masks"):
            rois.get_roi_masks()


def test_masks_under_the_names_of_other_programs_are_read(experiment: Path) -> None:
    entries = [{**entry(name), "mask": entry(name)["mask_matrix"], "valid": True} for name in IDS]
    for one in entries:
        del one["mask_matrix"], one["valid_roi"]
    (experiment / "maxInt_a13a.png").unlink()
    for document in (
        {"roi_masks": entries, "image": {"width": COLUMNS, "height": ROWS}},
        {
            "rois": {one.pop("id"): one for one in json.loads(json.dumps(entries))},
            "image": {"width": COLUMNS, "height": ROWS},
        },
    ):
        (experiment / "rois.json").write_text(json.dumps(document))
        with AllenSegmentationExtractor(experiment) as rois:
            np.testing.assert_array_equal(rois.get_roi_image_masks(), dense())
            assert rois.get_property("valid").tolist() == [True, True, True]


def test_the_shape_of_the_frame_can_be_given(experiment: Path) -> None:
    with AllenSegmentationExtractor(experiment, frame_shape=(20, 30)) as rois:
        assert rois.get_frame_shape() == (20, 30)
    for shape in ((0, 3), (5,), "ab", 7):
        with pytest.raises(ChoiceError, match="frame_shape must be"):
            AllenSegmentationExtractor(experiment, frame_shape=shape)  # type: ignore[arg-type]


def test_a_frame_of_unknown_shape_ends_with_the_masks_and_a_warning(experiment: Path) -> None:
    (experiment / "maxInt_a13a.png").unlink()
    words = r"rois\.json does not say how large the frames are; 8 x 13 pixels is the smallest"
    with pytest.warns(RoiExtractorsWarning, match=words):
        rois = AllenSegmentationExtractor(experiment)
    with rois:
        np.testing.assert_array_equal(rois.get_roi_image_masks(), dense()[:8, :13])


def test_it_pickles_and_closes(experiment: Path) -> None:
    rois = AllenSegmentationExtractor(experiment, masks=experiment / "rois.json")
    with pickle.loads(pickle.dumps(rois)) as again:
        np.testing.assert_array_equal(again.get_traces(name="dff"), traces(4).T)
    rois.close()
    with pytest.raises(roi.ClosedRecordingError):
        rois.get_traces()


def test_masks_in_json_are_opened_with_the_traces_beside_them_or_alone(experiment: Path, tmp_path: Path) -> None:
    with roi.open(experiment / "rois.json", kind="segmentation") as rois:
        assert rois.get_roi_ids() == NAMES
        np.testing.assert_array_equal(rois.get_traces(name="dff"), traces(4).T)
        np.testing.assert_array_equal(rois.get_roi_image_masks(), dense())
    alone = tmp_path / "masks.json"
    (experiment / "rois.json").rename(alone)
    with roi.open(alone, kind="segmentation", frame_shape=(ROWS, COLUMNS)) as rois:
        order = (IDS[2], IDS[0], IDS[1])
        assert rois.get_roi_ids() == [str(name) for name in order]
        np.testing.assert_array_equal(rois.get_roi_image_masks(), dense(order))
        assert rois.get_trace_names() == ()
        assert rois.get_num_samples() == 0
        assert rois.get_property("valid").tolist() == [True, True, False]


def test_events_opened_by_name_are_those_of_valid_rois(experiment: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rois = AllenSegmentationExtractor(experiment / "1234_event.h5")
    with rois:
        assert rois.get_roi_ids() == [NAMES[2], NAMES[0]]
        np.testing.assert_array_equal(rois.get_traces(name="raw"), traces(0)[[2, 0]].T)
        assert any("has traces of 1 ROI that 1234_event.h5 does not have" in note for note in rois.get_notes())


class TestExperiment(SegmentationExtractorTests):
    """The rules of the kit, for a folder of the Brain Observatory."""

    format = "allen"
    optional_parts = ("*",)  # no file says which others there are

    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return write_experiment(tmp_path / "made" / "experiment")

    @pytest.fixture
    def expected(self) -> roi.NumpySegmentationExtractor:
        events = traces(5)
        events[1] = np.nan
        names = ("raw", "neuropil", "demixed", "corrected", "dff")
        values = {name: traces(seed).T for seed, name in enumerate(names)} | {"events": events.T}
        return roi.NumpySegmentationExtractor(
            dense(), values, roi_ids=NAMES, properties={"valid": [True, False, True], "sigma_dff": [4.0, 5, 6]}
        )


class TestPlane(SegmentationExtractorTests):
    """The rules of the kit, for an extraction file of the AIND pipeline by itself."""

    format = "allen"

    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return write_plane(tmp_path / "made").rename(tmp_path / "x_extraction.h5")

    @pytest.fixture
    def expected(self) -> roi.NumpySegmentationExtractor:
        values = {
            name: traces(seed).T.astype(np.float32) for seed, name in ((0, "raw"), (1, "neuropil"), (3, "corrected"))
        }
        image = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
        images = {"mean": image, "maximum_projection": np.ones_like(image)}
        weighted = dense() * np.array([0.5, 1, 2], np.float32)
        return roi.NumpySegmentationExtractor(
            weighted, values, images=images, properties={"iscell": [True, False, True]}
        )


# What does not match


def test_rois_without_a_mask_are_named_and_have_no_pixels(experiment: Path) -> None:
    rewrite(experiment, entry(IDS[2]), entry(IDS[0]))
    with pytest.warns(RoiExtractorsWarning, match=rf"rois\.json has no mask of 1 ROI with traces: '{IDS[1]}'"):
        rois = AllenSegmentationExtractor(experiment)
    with rois:
        assert [len(mask) for mask in rois.get_roi_pixel_masks()] == [6, 0, 1]


def test_masks_without_traces_are_noted(experiment: Path) -> None:
    rewrite(experiment, *(entry(name) for name in IDS), entry(IDS[0], id=77))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rois = AllenSegmentationExtractor(experiment)
    with rois:
        assert any("rois.json has 1 ROI without traces, which were left out: '77'" in note for note in rois.get_notes())


def test_masks_of_other_rois_are_not_used(experiment: Path) -> None:
    rewrite(experiment, *(entry(name, id=name + 1000) for name in IDS))
    words = r"rois\.json has masks of different ROIs \('1109812483', '1109812486' and '1109812490'\) and was left out"
    with pytest.warns(RoiExtractorsWarning, match=words):
        rois = AllenSegmentationExtractor(experiment)
    with rois:
        assert not rois.has_masks
    with pytest.raises(CorruptRecordingError, match=r"has masks of the ROIs .*, but the traces are of"):
        AllenSegmentationExtractor(experiment, masks=experiment / "rois.json")


def test_the_masks_of_the_most_rois_are_taken(experiment: Path) -> None:
    rewrite(experiment, entry(IDS[0]), name="a_rois.json")
    with AllenSegmentationExtractor(experiment) as rois:
        np.testing.assert_array_equal(rois.get_roi_image_masks(), dense())


def test_traces_of_another_length_are_left_out(experiment: Path, write: Write) -> None:
    write(experiment / "1234_dff.h5", data=traces(4, samples=19), roi_names=np.array(IDS))
    words = r"1234_dff\.h5 has 19 samples, but roi_traces\.h5 has 20; the trace 'dff' was left out"
    with pytest.warns(RoiExtractorsWarning, match=words):
        rois = AllenSegmentationExtractor(experiment)
    with rois:
        assert "dff" not in rois.get_trace_names()


def test_traces_that_only_some_rois_have_are_named(experiment: Path, write: Write) -> None:
    write(experiment / "1234_dff.h5", data=traces(4), roi_names=np.array([IDS[0], IDS[2], 5]))
    with pytest.warns(RoiExtractorsWarning) as caught:
        rois = AllenSegmentationExtractor(experiment)
    words = " ".join(str(warning.message) for warning in caught)
    assert f"1234_dff.h5 has no traces of 1 ROI, which are NaN there: {NAMES[1]!r}" in words
    assert "1234_dff.h5 has traces of 1 ROI that roi_traces.h5 does not have: '5'" in words
    with rois:
        expected = traces(4)[[0, 2, 1]]
        expected[1] = np.nan
        expected[2] = traces(4)[1]
        np.testing.assert_array_equal(rois.get_traces(name="dff"), expected.T)


def test_a_trace_that_two_files_contain_is_that_of_the_first(experiment: Path, write: Write) -> None:
    write(experiment / "roi_traces_old.h5", data=traces(9), roi_names=np.array(IDS))
    with pytest.warns(
        RoiExtractorsWarning, match=r"roi_traces\.h5 and roi_traces_old\.h5 both contain the trace 'raw'"
    ):
        rois = AllenSegmentationExtractor(experiment)
    with rois:
        np.testing.assert_array_equal(rois.get_traces(), traces(0).T)


def test_a_folder_of_several_experiments_is_refused(experiment: Path, write: Write) -> None:
    other = write(experiment / "99_dff.h5", data=traces(9), roi_names=np.array([1, 2, 3]))
    with pytest.raises(
        UnsupportedRecordingError, match=r"traces of several recordings: 'roi_traces\.h5' and '99_dff\.h5'"
    ):
        AllenSegmentationExtractor(experiment)
    with pytest.warns(RoiExtractorsWarning, match=r"rois\.json has masks of different ROIs"):
        rois = AllenSegmentationExtractor(other)
    with rois:
        assert rois.get_trace_names() == ("dff",)
        assert any("roi_traces.h5 and 99_dff.h5 have traces of different ROIs" in note for note in rois.get_notes())


# Damage


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": -1}, "has x = -1; expected a pixel of the frame"),
        ({"y": 1.5}, r"has y = 1\.5"),
        ({"x": True}, "has x = True"),
        ({"id": None}, "has an ROI whose id is None"),
        ({"id": IDS[1]}, f"contains the ROI '{IDS[1]}' more than once"),
        ({"width": 3}, "has width = 3, but its mask is 2 x 4 pixels"),
        ({"height": 9}, "has height = 9"),
        ({"mask_matrix": [[True], [True, False]]}, "has a mask that is not a rectangle"),
        ({"mask_matrix": "all"}, "has a mask that is not a rectangle"),
        ({"mask_matrix": [[None, True, True, True]] * 2}, "a value that is not true, false or a number"),
        ({"mask_matrix": [[10**400, 1, 1, 1]] * 2}, "too large"),
    ],
)
def test_a_mask_that_cannot_be_is_named(experiment: Path, changes: Any, words: str) -> None:
    rewrite(experiment, entry(IDS[0], **changes), entry(IDS[1]), entry(IDS[2]))
    with pytest.raises(CorruptRecordingError, match=words):
        AllenSegmentationExtractor(experiment, masks=experiment / "rois.json")
    with pytest.warns(RoiExtractorsWarning, match=words):
        rois = AllenSegmentationExtractor(experiment)
    with rois:
        np.testing.assert_array_equal(rois.get_traces(), traces(0).T)


@pytest.mark.parametrize(("place", "shown"), [((8, 3), "row 9 and column 6"), ((2, 11), "row 3 and column 14")])
def test_a_mask_outside_the_frame_is_refused(experiment: Path, place: tuple[int, int], shown: str) -> None:
    rewrite(experiment, entry(IDS[0], y=place[0], x=place[1]), entry(IDS[1]), entry(IDS[2]))
    words = rf"the mask of ROI '{IDS[0]}' extends to {shown}, outside the frame of 9 x 14 pixels"
    with pytest.raises(CorruptRecordingError, match=words):
        AllenSegmentationExtractor(experiment)


def test_a_mask_that_touches_the_border_is_inside(experiment: Path) -> None:
    rewrite(experiment, entry(IDS[0], y=ROWS - 2, x=COLUMNS - 4), entry(IDS[1]), entry(IDS[2]))
    with AllenSegmentationExtractor(experiment) as rois:
        assert rois.get_roi_pixel_masks([NAMES[0]])[0][-1].tolist() == [ROWS - 1, COLUMNS - 1, 1]


def test_a_weight_that_is_not_a_number_is_refused(experiment: Path) -> None:
    rewrite(experiment, entry(IDS[0], mask_matrix=[[0.5, 1, 1, float("nan")]] * 2), entry(IDS[1]), entry(IDS[2]))
    with AllenSegmentationExtractor(experiment) as rois, pytest.raises(CorruptRecordingError, match="the weight nan"):
        rois.get_roi_masks()


@pytest.mark.parametrize(
    ("datasets", "words"),
    [
        (
            {"data": traces(0), "roi_names": np.array(IDS[:2])},
            "contradicts itself: data has 3 ROIs, roi_names has 2 ROIs",
        ),
        ({"data": traces(0), "roi_names": np.array([1, 1, 2])}, "roi_names contains '1' more than once"),
        ({"data": traces(0), "roi_names": np.array([0.5, 1, 2])}, "roi_names must contain text or whole numbers"),
        ({"data": traces(0), "roi_names": np.array([[1], [2], [3]])}, "roi_names is not a list of names"),
        ({"events": traces(0), "denoised": traces(0, samples=4)}, "events has 20 samples, denoised has 4 samples"),
        ({"data": np.zeros(7), "roi_names": np.array(IDS)}, "contains no known traces"),
    ],
)
def test_tables_that_contradict_each_other_are_refused(tmp_path: Path, write: Write, datasets: Any, words: str) -> None:
    path = write(tmp_path / "x_traces.h5", **datasets)
    with pytest.raises(RecordingError, match=words):
        AllenSegmentationExtractor(path)


def test_a_truncated_file_is_refused(tmp_path: Path, experiment: Path) -> None:
    whole = (experiment / "roi_traces.h5").read_bytes()
    cut = tmp_path / "roi_traces.h5"
    cut.write_bytes(whole[: len(whole) - 300])
    with pytest.raises(TruncatedRecordingError, match=r"roi_traces\.h5 is truncated: it lacks 300 bytes"):
        AllenSegmentationExtractor(cut)
    cut.write_bytes(whole[:300])
    with pytest.raises(CorruptRecordingError, match=r"roi_traces\.h5"):
        AllenSegmentationExtractor(cut)


def test_a_truncated_file_beside_the_one_that_was_named_is_left_out_with_a_warning(experiment: Path) -> None:
    path = experiment / "1234_dff.h5"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(RoiExtractorsWarning, match=r"1234_dff\.h5 was left out: 1234_dff\.h5 is truncated"):
        rois = AllenSegmentationExtractor(experiment / "roi_traces.h5")
    with rois:
        assert "dff" not in rois.get_trace_names()
    with pytest.raises(TruncatedRecordingError, match=r"1234_dff\.h5 is truncated"):
        AllenSegmentationExtractor(experiment)


def test_json_that_is_not_json_is_left_out_or_refused(experiment: Path) -> None:
    (experiment / "rois.json").write_text("[{")
    with pytest.warns(RoiExtractorsWarning, match=r"rois\.json was left out: .*is not valid JSON"):
        AllenSegmentationExtractor(experiment).close()
    with pytest.raises(CorruptRecordingError, match="is not valid JSON"):
        AllenSegmentationExtractor(experiment, masks=experiment / "rois.json")
    (experiment / "rois.json").write_text('{"rois": 3}')
    with pytest.raises(UnsupportedRecordingError, match=r"rois\.json contains no ROIs"):
        AllenSegmentationExtractor(experiment, masks=experiment / "rois.json")
    with pytest.raises(SourceNotFoundError, match=r"masks=.*nothing\.json.*: this file does not exist"):
        AllenSegmentationExtractor(experiment, masks=experiment / "nothing.json")


def test_a_folder_without_traces_is_refused(tmp_path: Path) -> None:
    write_png_header(tmp_path / "maxInt_a13a.png", 3, 4)
    with pytest.raises(UnsupportedRecordingError, match="contains no known trace file"):
        AllenSegmentationExtractor(tmp_path)


# AIND


@pytest.mark.parametrize("source", ["extraction/VISp_0_extraction.h5", "extraction", ""])
def test_a_plane_of_the_aind_pipeline_is_read_with_its_later_steps(plane: Path, source: str) -> None:
    folder = plane.parent.parent
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rois = roi.open(folder / source, kind="segmentation")
    with rois:
        assert rois.get_roi_ids() == ["0", "1", "2"]
        assert rois.get_trace_names() == ("raw", "neuropil", "corrected", "dff", "baseline", "events", "denoised")
        for seed, trace in ((0, "raw"), (1, "neuropil"), (3, "corrected")):
            np.testing.assert_array_equal(rois.get_traces(name=trace), traces(seed).T.astype(np.float32))
        for seed, trace in ((4, "dff"), (6, "baseline"), (5, "events"), (7, "denoised")):
            np.testing.assert_array_equal(rois.get_traces(["2", "1"], 4, 6, name=trace), traces(seed)[[2, 1], 4:6].T)
        assert rois.get_frame_shape() == (ROWS, COLUMNS)
        np.testing.assert_array_equal(rois.get_roi_image_masks(), dense() * np.array([0.5, 1, 2], np.float32))
        assert rois.get_image_names() == ("mean", "maximum_projection")
        assert rois.get_image("mean")[1, 0] == COLUMNS
        assert rois.get_property("iscell").tolist() == [True, False, True]
        np.testing.assert_allclose(rois.get_property("iscell_probability"), [0.9, 0.2, 0.8], rtol=1e-6)
        assert rois.get_property("num_pixels").tolist() == [6, 4, 1]
        assert rois.get_property("is_soma").tolist() == [True, False, True]
        assert rois.get_property("is_at_border").tolist() == [False, True, False]
        assert rois.get_property("dff_noise").tolist() == [1, 2, 3]


def test_later_steps_of_another_plane_are_not_joined(plane: Path, tmp_path: Path) -> None:
    folder = plane.parent.parent
    other = write_plane(tmp_path / "other", name="VISl_1")
    for step in ("dff", "events", "classification"):
        for path in (other.parent.parent / step).iterdir():
            path.rename(folder / step / path.name)
    with AllenSegmentationExtractor(plane) as rois:
        np.testing.assert_array_equal(rois.get_traces(name="dff"), traces(4).T)
        assert any("VISl_1_dff.h5 was left out" in note for note in rois.get_notes())


def test_an_extraction_without_rois_is_empty(tmp_path: Path, write: Write) -> None:
    empty = np.empty((0, 20), np.float32)
    path = write(
        tmp_path / "x_extraction.h5",
        rois__coords=np.empty(0),
        rois__data=np.empty(0),
        rois__shape=np.array([0, ROWS, COLUMNS], np.int16),
        traces__roi=empty,
        traces__neuropil=empty,
        traces__corrected=empty,
    )
    with roi.open(path, kind="segmentation") as rois:
        assert rois.get_roi_ids() == []
        assert rois.get_traces().shape == (20, 0)
        assert rois.get_roi_image_masks().shape == (ROWS, COLUMNS, 0)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("rois/coords", np.zeros((3, 4), np.int16), r"rois/coords has shape \(3, 4\) and rois/data \(11,\)"),
        ("rois/coords", np.zeros((3, 11)), "rois/coords must contain whole numbers"),
        ("rois/coords", np.full((3, 11), 3, np.int16), "has pixels of ROIs 3 to 3, but there are 3 ROIs"),
        ("rois/coords", np.full((3, 11), -1, np.int16), "has pixels of ROIs -1 to -1"),
        (
            "rois/coords",
            np.stack([np.zeros(11, int), np.arange(11), np.zeros(11, int)]),
            "row 10; the frame has 9 rows",
        ),
        ("rois/coords", np.zeros((3, 11), np.int16), r"contains pixel \(0, 0\) twice"),
        ("rois/data", np.full(11, np.nan), "the weight nan"),
        ("rois/shape", np.array([4, ROWS, COLUMNS]), "rois/shape states 4 ROIs, but the traces have 3 ROIs"),
        ("rois/shape", np.array([3, ROWS]), "rois/shape must be the numbers of ROIs, rows and columns"),
        ("rois/shape", np.array([3, -1, 4]), "rois/shape must be the numbers"),
        ("rois/shape", np.array([3, np.nan, 4]), "rois/shape must be the numbers"),
    ],
)
def test_masks_of_an_extraction_that_cannot_be_are_refused(plane: Path, name: str, values: Any, words: str) -> None:
    with h5py.File(plane, "r+") as file:
        del file[name]
        file[name] = values
    with pytest.raises(RecordingError, match=words):
        with AllenSegmentationExtractor(plane) as rois:
            rois.get_roi_masks()


def test_options_that_an_extraction_contradicts_are_refused(plane: Path, tmp_path: Path) -> None:
    with pytest.raises(ChoiceError, match=r"has frames of \(9, 14\), but frame_shape=\(3, 4\)"):
        AllenSegmentationExtractor(plane, frame_shape=(3, 4))
    folder = write_experiment(tmp_path / "e")
    with pytest.raises(UnsupportedRecordingError, match="contains the masks itself"):
        AllenSegmentationExtractor(plane, masks=folder / "rois.json")

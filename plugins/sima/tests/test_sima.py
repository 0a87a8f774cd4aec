"""Datasets of SIMA: ROIs and signals by Python 2 and 3, and pickles that are not what they should be."""

from __future__ import annotations

import hashlib
import pickle
import random
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_sima.extractor import SimaSegmentationExtractor

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    PluginError,
    RoiExtractorsError,
    RoiExtractorsWarning,
    SourceKindError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import SegmentationExtractorTests

pytest.importorskip("scipy")
sys.path.insert(0, str(Path(__file__).parent))
from sima_folder import MEAN, RAW, ROWS, SAMPLES, dump, masks, polygon_rois, roi_of, signals_of, sima_rois, write_sima

PYTHONS = ("2", "3", "3.4", "3.8")


@pytest.mark.parametrize("python", PYTHONS)
def test_rois_signals_and_images_are_read(tmp_path: Path, python: str) -> None:
    folder = write_sima(tmp_path / "mouse.sima", python=python)
    with roi.open(folder, kind="segmentation") as rois:
        assert rois.provenance.format == "sima"
        assert rois.get_roi_ids() == ["0", "1", "2"]
        assert rois.get_frame_shape() == (ROWS, 5)
        assert rois.get_num_samples() == SAMPLES
        np.testing.assert_array_equal(rois.get_roi_image_masks(), masks().transpose(1, 2, 0))
        assert rois.get_trace_names() == ("raw",)
        np.testing.assert_array_equal(rois.get_traces(), RAW.T)
        assert rois.get_traces().dtype == np.float32
        np.testing.assert_array_equal(rois.get_image("mean"), MEAN[0, :, :, 0])
        assert rois.get_sampling_frequency() is None
        assert rois.metadata.software == "SIMA 1.3.2"
        assert [channel.name for channel in rois.metadata.channels] == ["Green"]
        assert rois.get_property_keys() == []
        assert rois.get_notes() == ()
    with roi.open(folder, kind="segmentation", sampling_frequency=8.0) as rois:
        np.testing.assert_allclose(rois.get_timestamps(2, 4), [0.25, 0.375])


@pytest.mark.parametrize("python", PYTHONS)
def test_parts_are_read_by_roi_and_range(tmp_path: Path, python: str) -> None:
    with roi.open(write_sima(tmp_path / "m.sima", python=python), kind="segmentation") as rois:
        np.testing.assert_array_equal(rois.get_traces(["2", "0"], 100, 107), RAW[[2, 0], 100:107].T)
        assert rois.get_roi_masks(["2", "0"]).num_pixels.tolist() == [3, 3]
        view = rois.select_rois(["1", "2"]).slice_samples(5, 50)
        np.testing.assert_array_equal(view.get_traces(), RAW[1:, 5:50].T)
        again = pickle.loads(pickle.dumps(rois))
        np.testing.assert_array_equal(again.get_traces(), RAW.T)
        again.close()


def test_only_the_part_of_a_signal_is_read(tmp_path: Path) -> None:
    raw = np.zeros((3, 4_000_000), np.float32)
    raw[1, -5:] = 7
    signals = {0: {"cells": signals_of(sima_rois(), [raw])}}
    folder = write_sima(tmp_path / "m.sima", signals=signals)
    tracemalloc.start()
    with roi.open(folder, kind="segmentation") as rois:
        np.testing.assert_array_equal(rois.get_traces(["1"], 3_999_990, None)[:, 0], raw[1, -10:])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_nothing_is_written_into_the_folder(tmp_path: Path) -> None:
    folder = write_sima(tmp_path / "m.sima", python="2")

    def state() -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    before = state()
    with roi.open(folder, kind="segmentation") as rois:
        rois.get_traces()
        rois.get_images_dict()
    roi.streams(folder, kind="segmentation")
    assert state() == before


def test_volumes_have_planes_last(tmp_path: Path) -> None:
    stack = np.zeros((3, ROWS, 5))
    stack[0, 1, 2], stack[2, 6, 4], stack[2, 0, 0] = 1.0, 2.0, 3.0
    average = np.random.default_rng(1).random((3, ROWS, 5, 1))
    # SIMA keeps the planes up to the last one that it needs
    rois = [roi_of(*stack), roi_of(stack[0])]
    drawn = polygon_rois([[[1, 2, 1], [3, 2, 1], [3, 3, 1], [1, 3, 1]], [[0, 0, 2], [1, 0, 2], [1, 1, 2], [0, 1, 2]]])
    signals = signals_of([*rois, *drawn], mean_frame=average[..., 0])
    folder = write_sima(
        tmp_path / "m.sima",
        sets={"all": [*rois, *drawn]},
        signals={0: {"x": signals}},
        channels=("Green",),
        averages=average,
        frame_shape=(3, ROWS, 5, 1),
    )
    with roi.open(folder, kind="segmentation") as found:
        assert found.get_num_planes() == 3
        dense = found.get_roi_image_masks()
        np.testing.assert_array_equal(dense[..., 0], stack.transpose(1, 2, 0))
        assert np.argwhere(dense[..., 1]).tolist() == [[1, 2, 0]]
        assert np.argwhere(dense[..., 2]).tolist() == [[0, 0, 2], [2, 1, 1], [2, 2, 1]]
        np.testing.assert_array_equal(found.get_image("mean"), average[..., 0].transpose(1, 2, 0))
        np.testing.assert_array_equal(found.get_traces(), RAW.T)


@pytest.mark.parametrize("python", PYTHONS)
def test_polygons_are_drawn_as_sima_draws_them(tmp_path: Path, python: str) -> None:
    square = [[1, 2, 0], [3, 2, 0], [3, 4, 0], [1, 4, 0], [1, 2, 0]]
    overlapping = [[2, 3, 0], [5, 3, 0], [5, 6, 0], [2, 6, 0]]
    beyond = [[4, 5, 0], [90, 5, 0], [90, 90, 0], [4, 90, 0]]
    sets = {"drawn": polygon_rois([square], [square, overlapping], [beyond], [])}
    folder = write_sima(tmp_path / "m.sima", python=python, sets=sets, signals={})
    with roi.open(folder, kind="segmentation") as rois:
        dense = rois.get_roi_image_masks()
        assert np.argwhere(dense[..., 0]).tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
        assert dense[..., 1].sum() == 4 + 9 - 1  # the pixel that both polygons contain counts once
        assert np.argwhere(dense[..., 2]).tolist() == [[5, 4], [6, 4]]
        assert dense[..., 3].sum() == 0
        assert rois.get_trace_names() == ()
        assert rois.get_num_samples() == 0


def test_ids_labels_and_tags_are_kept(tmp_path: Path) -> None:
    rois = sima_rois()
    for number, one in enumerate(rois):
        one.update(id=f"cell{number}", label=f"L{number}", tags={"b", "a"} if number == 1 else set())
    with roi.open(write_sima(tmp_path / "m.sima", sets={"x": rois}), kind="segmentation") as found:
        assert found.get_roi_ids() == ["cell0", "cell1", "cell2"]
        assert found.get_property("label").tolist() == ["L0", "L1", "L2"]
        assert found.get_property("tags").tolist() == ["", "a, b", ""]
        np.testing.assert_array_equal(found.get_traces(["cell2"]), RAW[2:].T)
    rois[0]["id"] = "cell2"  # ids that do not tell ROIs apart are not used
    with roi.open(write_sima(tmp_path / "n.sima", sets={"x": rois}), kind="segmentation") as found:
        assert found.get_roi_ids() == ["0", "1", "2"]


class OnSima(SegmentationExtractorTests):
    format = "sima"
    optional_parts = ("signals_*.pkl", "time_averages.pkl")  # extraction is a step of its own

    @pytest.fixture
    def expected(self) -> Any:
        return roi.NumpySegmentationExtractor(
            SIZES.transpose(1, 2, 0), {"raw": RAW.T}, images={"mean": MEAN[0, :, :, 0]}
        )


SIZES = masks()
SIZES[1, 6, 1] = 4.0  # masks of different sizes
SIZES[2, 0, 4] = 5.0


class TestADatasetOfPython3(OnSima):
    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return write_sima(tmp_path / "mouse.sima", sets={"auto_ROIs": [roi_of(plane) for plane in SIZES]})


class TestADatasetOfPython2(OnSima):
    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        sets = {"auto_ROIs": [roi_of(plane) for plane in SIZES]}
        return write_sima(tmp_path / "mouse.sima", sets=sets, python="2")


class TestOneOfTwoSetsInOneOfTwoChannels(OnSima):
    open_options = {"rois": "auto_ROIs", "channel": "Blue"}

    @pytest.fixture
    def expected(self) -> Any:
        images = {"mean": MEAN[0, :, :, 1]}
        return roi.NumpySegmentationExtractor(SIZES.transpose(1, 2, 0), {"raw": RAW.T}, images=images)

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("Green", "Blue"), "rois": ("auto_ROIs", "by hand")}

    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        rois = [roi_of(plane) for plane in SIZES]
        drawn = polygon_rois([[[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]]])
        signals = {
            0: {"cells": signals_of(rois, [RAW + 1])},
            1: {"cells": signals_of(rois, mean_frame=MEAN[..., 1])},
        }
        return write_sima(tmp_path / "m.sima", sets={"auto_ROIs": rois, "by hand": drawn}, signals=signals)


# What there is to choose


def test_several_sets_of_rois_are_chosen_by_their_label(tmp_path: Path) -> None:
    drawn = polygon_rois([[[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]]])
    sets = {"auto_ROIs": sima_rois(), "by hand": drawn}
    signals = {0: {"cells": signals_of(sima_rois()), "later": signals_of(drawn, [RAW[:1, :50]])}}
    folder = write_sima(tmp_path / "m.sima", sets=sets, signals=signals)
    assert roi.streams(folder, kind="segmentation") == {"rois": ("auto_ROIs", "by hand")}
    with pytest.raises(StreamChoiceError, match="has the rois 'auto_ROIs' and 'by hand'"):
        roi.open(folder, kind="segmentation")
    with roi.open(folder, kind="segmentation", rois="auto_ROIs") as rois:
        np.testing.assert_array_equal(rois.get_traces(), RAW.T)
    with roi.open(folder, kind="segmentation", rois="by hand") as rois:
        assert rois.get_roi_masks().num_pixels.tolist() == [4]
        np.testing.assert_array_equal(rois.get_traces(), RAW[:1, :50].T)
    with pytest.raises(StreamChoiceError, match="'auto_ROIs' and 'by hand'"):
        roi.open(folder, kind="segmentation", rois="other")


def test_signals_of_rois_that_were_edited_since_keep_their_own(tmp_path: Path) -> None:
    edited = sima_rois()[:2]
    signals = {0: {"cells": signals_of(sima_rois())}}
    folder = write_sima(tmp_path / "m.sima", sets={"auto_ROIs": edited}, signals=signals)
    assert roi.streams(folder, kind="segmentation") == {"rois": ("auto_ROIs", "cells")}
    with roi.open(folder, kind="segmentation", rois="auto_ROIs") as rois:
        assert rois.get_num_rois() == 2
        assert rois.get_trace_names() == ()
        assert any("the signals in signals_0.pkl belong to other ROIs" in text for text in rois.get_notes())
    with roi.open(folder, kind="segmentation", rois="cells") as rois:
        np.testing.assert_array_equal(rois.get_traces(), RAW.T)


def test_signals_are_read_without_the_file_of_rois(tmp_path: Path) -> None:
    folder = write_sima(tmp_path / "m.sima")
    (folder / "rois.pkl").unlink()
    with roi.open(folder, kind="segmentation") as rois:
        np.testing.assert_array_equal(rois.get_roi_image_masks(), masks().transpose(1, 2, 0))
        np.testing.assert_array_equal(rois.get_traces(), RAW.T)


def test_channels_are_chosen_by_name_or_number(tmp_path: Path) -> None:
    signals = {
        0: {"cells": signals_of(sima_rois())},
        1: {"cells": signals_of(sima_rois(), [RAW + 1], signal_channel=1, mean_frame=MEAN[..., 1])},
    }
    folder = write_sima(tmp_path / "m.sima", signals=signals)
    assert roi.streams(folder, kind="segmentation") == {"channel": ("Green", "Blue")}
    with pytest.raises(StreamChoiceError, match="has the channels 'Green' and 'Blue'"):
        roi.open(folder, kind="segmentation")
    for choice, expected, k in (("Green", RAW, 0), ("Blue", RAW + 1, 1), (1, RAW + 1, 1), ("0", RAW, 0)):
        with roi.open(folder, kind="segmentation", channel=choice) as rois:
            np.testing.assert_array_equal(rois.get_traces(), expected.T)
            np.testing.assert_array_equal(rois.get_image("mean"), MEAN[0, :, :, k])
    with pytest.raises(StreamChoiceError, match="'Green' and 'Blue'"):
        roi.open(folder, kind="segmentation", channel="Red")


def test_channels_without_a_name_of_their_own_go_by_their_number(tmp_path: Path) -> None:
    signals = {k: {"cells": signals_of(sima_rois(), [RAW + k])} for k in (0, 1, 3)}
    folder = write_sima(
        tmp_path / "m.sima", signals=signals, channels=("GFP", "GFP"), frame_shape=(1, ROWS, 5, 2), averages=None
    )
    (folder / "signals_9999999.pkl").write_bytes(b"not of a channel")
    assert roi.streams(folder, kind="segmentation") == {"channel": ("0", "1", "3")}
    with roi.open(folder, kind="segmentation", channel=3) as rois:
        np.testing.assert_array_equal(rois.get_traces(), RAW.T + 3)
    folder = write_sima(tmp_path / "n.sima", channels=("a",) * 100_000, frame_shape=(1, ROWS, 5, 2))
    with pytest.raises(CorruptRecordingError, match="has the names of 100,000 channels"):
        roi.open(folder, kind="segmentation")


def test_without_signals_every_channel_has_its_image(tmp_path: Path) -> None:
    folder = write_sima(tmp_path / "m.sima", signals={})
    with roi.open(folder, kind="segmentation") as rois:
        assert rois.get_image_names() == ("mean_Green", "mean_Blue")
        np.testing.assert_array_equal(rois.get_image("mean_Blue"), MEAN[0, :, :, 1])
    with roi.open(folder, kind="segmentation", channel="Blue") as rois:
        np.testing.assert_array_equal(rois.get_image("mean"), MEAN[0, :, :, 1])


def test_sequences_and_extractions_are_chosen(tmp_path: Path) -> None:
    first = signals_of(sima_rois(), [RAW, RAW[:, :9] + 1], timestamp="2020-02-03")
    second = signals_of(sima_rois(), [RAW + 2], timestamp="2020-02-04")
    folder = write_sima(tmp_path / "m.sima", signals={0: {"a": first, "b": second}})
    assert roi.streams(folder, kind="segmentation") == {"signals": ("a", "b")}
    assert roi.streams(folder, kind="segmentation", signals="a") == {"signals": ("a", "b"), "sequence": ("0", "1")}
    with pytest.raises(StreamChoiceError, match="signals 'a' and 'b'"):
        roi.open(folder, kind="segmentation")
    with pytest.raises(StreamChoiceError, match="sequence"):
        roi.open(folder, kind="segmentation", signals="a")
    with roi.open(folder, kind="segmentation", signals="a", sequence=1) as rois:
        np.testing.assert_array_equal(rois.get_traces(), RAW[:, :9].T + 1)
    with roi.open(folder, kind="segmentation", signals="b") as rois:
        np.testing.assert_array_equal(rois.get_traces(), RAW.T + 2)


def test_what_was_derived_from_the_signals_is_read(tmp_path: Path) -> None:
    more = {"demixed_raw": [RAW + 1], "spikes": [RAW + 2], "spikes_fits": [RAW + 3], "spikes_params": [{"gamma": 0.9}]}
    folder = write_sima(tmp_path / "m.sima", signals={0: {"x": signals_of(sima_rois(), **more)}})
    with roi.open(folder, kind="segmentation") as rois:
        assert rois.get_trace_names() == ("raw", "demixed", "deconvolved", "denoised")
        for number, name in enumerate(rois.get_trace_names()):
            np.testing.assert_array_equal(rois.get_traces(name=name), RAW.T + number)


def test_a_folder_without_a_shape_takes_that_of_its_rois(tmp_path: Path) -> None:
    folder = write_sima(tmp_path / "m.sima", signals={}, averages=None, frame_shape=...)
    with roi.open(folder, kind="segmentation") as rois:
        assert rois.get_frame_shape() == (ROWS, 5)
    drawn = polygon_rois([[[0, 0, 0], [2, 0, 0], [2, 2, 0]]])
    folder = write_sima(tmp_path / "n.sima", sets={"x": drawn}, signals={}, averages=None, frame_shape=...)
    with pytest.raises(CorruptRecordingError, match="none of its files states the size of a frame"):
        roi.open(folder, kind="segmentation")


# Damage, and pickles that would run something


class Runs:
    """Runs something when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


FILES = ("dataset", "rois", "signals_0")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("python", PYTHONS)
def test_code_in_a_pickle_is_named_and_never_run(tmp_path: Path, name: str, python: str) -> None:
    folder = write_sima(tmp_path / "m.sima", python=python)
    marker = tmp_path / "ran"
    (folder / f"{name}.pkl").write_bytes(dump({"channel_names": Runs(marker), "num_sequences": 1}, python))
    with pytest.raises(UnsupportedRecordingError, match=r"names .*(getattr|Path).*it was not imported"):
        roi.open(folder, kind="segmentation")
    roi.explain(folder)
    assert not marker.exists()


def test_pickles_that_are_not_needed_are_not_read(tmp_path: Path) -> None:
    folder = write_sima(tmp_path / "m.sima")
    marker = tmp_path / "ran"
    for name in ("sequences", "signals_0_p2", "anything"):
        (folder / f"{name}.pkl").write_bytes(dump(Runs(marker)))
    with roi.open(folder, kind="segmentation") as rois:
        np.testing.assert_array_equal(rois.get_traces(), RAW.T)
    assert not marker.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R.",
        b"csima.ROI\nROIList\n)\x81.",
        b"cscipy.sparse.lil\nlil_matrix\n)\x81cos\nsystem\nb.",
        b"cscipy.sparse\nload_npz\n.",
        b"(ios\nsystem\n.",
        b"]q\x00h\x00a.",
        b"\x8b\xff\xff\xff\x7f",
        b"}K\x01" + b"\x85" * 60_000 + b"K\x01s.",
        b"]" * 900_000,
        b"](K\x01K\x02eq\x00" + b"".join(b"](h%ch%ceq%c" % (k, k, k + 1) for k in range(100)) + b".",
        b"",
        b"not a pickle",
    ],
    ids=range(12),
)
@pytest.mark.parametrize("name", FILES)
def test_a_hostile_pickle_is_one_sentence(tmp_path: Path, name: str, body: bytes) -> None:
    folder = write_sima(tmp_path / "m.sima")
    (folder / f"{name}.pkl").write_bytes(b"\x80\x02" + body)
    with pytest.raises((UnsupportedRecordingError, CorruptRecordingError, TruncatedRecordingError)) as caught:
        SimaSegmentationExtractor(folder)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_pickle_is_an_error(tmp_path: Path, name: str) -> None:
    folder = write_sima(tmp_path / "m.sima")
    content = (folder / f"{name}.pkl").read_bytes()
    (folder / f"{name}.pkl").write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises((CorruptRecordingError, TruncatedRecordingError), match=name):
        SimaSegmentationExtractor(folder)


def changed(change: Callable[[dict[str, Any]], object]) -> list[dict[str, Any]]:
    rois = sima_rois()
    change(rois[1])
    return rois


def of_state(**changes: Any) -> list[dict[str, Any]]:
    """Return ROIs of which the sparse matrix of one has other attributes."""

    def change(one: dict[str, Any]) -> None:
        for key, value in changes.items():
            setattr(one["mask"][0], key, value)

    return changed(change)


def rows(*lists: list[Any]) -> np.ndarray:
    array = np.empty(len(lists), object)
    array[:] = lists
    return array


BAD_ROIS: dict[str, tuple[Any, str]] = {
    "no list": ("many", "should contain a list of ROIs"),
    "no dictionaries": ([1, 2], "should contain a list of ROIs"),
    "neither mask nor polygons": (changed(lambda one: one.update(mask=None)), "ROI number 1 has neither a mask nor polygons"),
    "a mask of text": (changed(lambda one: one.update(mask="all")), "ROI number 1 has a mask that is not a matrix"),
    "a mask outside": ([roi_of(np.ones((ROWS, 6)))], "ROI number 0 has a mask of 7 rows and 6 columns, outside of the frame of 7 rows and 5 columns"),
    "a transposed mask": ([roi_of(masks()[0].T)], "ROI number 0 has a mask of 5 rows and 7 columns, outside of the frame"),
    "a plane too many": ([roi_of(masks()[0], masks()[1])], "ROI number 0 has pixels in plane 1, and the frame has 1 plane"),
    "columns outside of the matrix": (of_state(rows=rows(*[[9]] * ROWS), data=rows(*[[1.0]] * ROWS)), "columns outside of its own 5"),
    "negative columns": (of_state(rows=rows(*[[-1]] * ROWS), data=rows(*[[1.0]] * ROWS)), "columns outside of its own 5"),
    "columns of text": (of_state(rows=rows(*[["x"]] * ROWS), data=rows(*[[1.0]] * ROWS)), "columns outside of its own 5"),
    "weights of text": (of_state(rows=rows(*[[1]] * ROWS), data=rows(*[["x"]] * ROWS)), "whose weights are not numbers"),
    "weights missing": (of_state(data=rows(*[[]] * ROWS)), "other numbers of columns than of weights"),
    "rows missing": (of_state(rows=rows([1]), data=rows([1.0])), "without a list for each of its 7 rows"),
    "a column twice": (of_state(rows=rows(*[[1, 1]] * ROWS), data=rows(*[[1.0, 2.0]] * ROWS)), "twice"),
    "a weight that is not a number": (of_state(rows=rows(*[[1]] * ROWS), data=rows(*[[np.nan]] * ROWS)), "has the weight nan"),
    "ragged values": (of_state(rows=rows(*[[[1, 2]]] * ROWS), data=rows(*[[1.0]] * ROWS)), "does not consist of numbers"),
    "a polygon of two corners": (polygon_rois([[[0, 0, 0], [1, 1, 0]]]), "has a polygon of 2 corners, expected three"),
    "a polygon of four coordinates": (polygon_rois([[[0, 0, 0, 0]] * 3]), "has a polygon of shape (3, 4)"),
    "a polygon of one number": ([roi_of(mask=None, polygons=[1.5])], "polygon"),
    "a polygon of text": ([roi_of(mask=None, polygons=[["a", "b", "c"]])], "does not consist of numbers"),
    "a polygon in another plane": (polygon_rois([[[0, 0, 3], [2, 0, 3], [2, 2, 3]]]), "has a polygon in plane 3, outside of the 1 plane"),
    "a polygon before the planes": (polygon_rois([[[0, 0, -1], [2, 0, -1], [2, 2, -1]]]), "has a polygon in plane -1"),
    "a polygon in no plane": (polygon_rois([[[0, 0, np.nan], [2, 0, 0], [2, 2, 0]]]), "has a polygon in plane nan"),
    "a polygon without end": (polygon_rois([[[0, 0, 0], [np.inf, 0, 0], [2, 2, 0]]]), "cannot be drawn: it has a corner that is not a finite number"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD_ROIS))
def test_rois_that_cannot_be_are_one_sentence(tmp_path: Path, name: str) -> None:
    rois, words = BAD_ROIS[name]
    folder = write_sima(tmp_path / "m.sima", sets={"x": rois}, signals={})
    with pytest.raises(CorruptRecordingError) as caught:
        roi.open(folder, kind="segmentation")
    assert words in str(caught.value)


BAD_SIGNALS: dict[str, tuple[Any, str]] = {
    "other rois": (signals_of(sima_rois(), [RAW[:2]]), "has the signals of 2 ROIs, but lists 3 ROIs"),
    "no arrays": (signals_of(sima_rois(), []), "should contain one array for each sequence"),
    "a number": (signals_of(sima_rois(), 7), "should contain one array for each sequence"),
    "one dimension": (signals_of(sima_rois(), [RAW[0]]), "should contain arrays of numbers, ROIs by samples"),
    "texts": (signals_of(sima_rois(), [RAW.astype(str)]), "should contain arrays of numbers"),
    "objects": (signals_of(sima_rois(), [RAW[:, :9].astype(object)]), "should contain arrays of numbers"),
    "no rois": ({"raw": [RAW]}, "should contain the signals 'raw' and their 'rois'"),
    "no dictionary": ([1], "should contain the signals 'raw' and their 'rois'"),
    "another length": (signals_of(sima_rois(), demixed_raw=[RAW[:, :7]]), "demixed has 3 x 7, and raw 3 x 600"),
    "another frame": (signals_of(sima_rois(), mean_frame=np.zeros((1, 9, 9))), "but the mean frame of the signals 'x' has (1, 9, 9)"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD_SIGNALS))
def test_signals_that_cannot_be_are_one_sentence(tmp_path: Path, name: str) -> None:
    signals, words = BAD_SIGNALS[name]
    folder = write_sima(tmp_path / "m.sima", signals={0: {"x": signals}})
    with pytest.raises(CorruptRecordingError) as caught:
        roi.open(folder, kind="segmentation")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "shape",
    [(1, 1 << 40, 1 << 40, 1), (1, 60_000, 60_000, 1), (0, 7, 5, 1), (1, True, 5, 1), (7, 5), "many", (1, 7.5, 5, 1)],
)
def test_an_impossible_shape_of_frames_is_an_error(tmp_path: Path, shape: Any) -> None:
    folder = write_sima(tmp_path / "m.sima", frame_shape=shape)
    with pytest.raises(CorruptRecordingError, match=r"dataset.pkl says that a frame has the shape"):
        roi.open(folder, kind="segmentation")


@pytest.mark.parametrize(
    "averages", ["many", MEAN[..., :1], MEAN.transpose(0, 2, 1, 3), {"a": 1}, MEAN.astype(object)], ids=range(5)
)
def test_an_image_that_does_not_fit_is_left_out(tmp_path: Path, averages: Any) -> None:
    folder = write_sima(tmp_path / "m.sima", averages=averages)
    with pytest.warns(RoiExtractorsWarning, match=r"the image in time_averages.pkl is left out"):
        rois = roi.open(folder, kind="segmentation")
    with rois:
        np.testing.assert_array_equal(rois.get_image("mean"), MEAN[0, :, :, 0])  # which is in the signals too


def test_a_hostile_image_is_left_out_and_never_run(tmp_path: Path) -> None:
    folder = write_sima(tmp_path / "m.sima")
    (folder / "time_averages.pkl").write_bytes(dump(Runs(tmp_path / "ran")))
    with pytest.warns(RoiExtractorsWarning, match="it was not imported"):
        roi.open(folder, kind="segmentation").close()
    assert not (tmp_path / "ran").exists()


def test_missing_files_are_named(tmp_path: Path) -> None:
    folder = write_sima(tmp_path / "m.sima", sets={}, signals={})
    with pytest.raises(UnsupportedRecordingError, match=r"contains no ROIs \(rois.pkl\) and no signals"):
        SimaSegmentationExtractor(folder)
    (folder / "dataset.pkl").unlink()
    with pytest.raises(CorruptRecordingError, match=r"does not contain dataset.pkl"):
        SimaSegmentationExtractor(folder)
    with pytest.raises(SourceKindError, match=r"is a file; open the .sima folder"):
        SimaSegmentationExtractor(folder / "time_averages.pkl")


def test_a_signal_whose_file_was_cut_since_is_an_error(tmp_path: Path) -> None:
    folder = write_sima(tmp_path / "m.sima")
    with roi.open(folder, kind="segmentation") as rois:
        path = folder / "signals_0.pkl"
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(TruncatedRecordingError, match=r"signals_0.pkl has 2,000 bytes, but had"):
            rois.get_traces()


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(4))
def test_random_damage_ends_in_one_of_our_errors(tmp_path: Path, seed: int) -> None:
    folder = write_sima(tmp_path / "m.sima", python=PYTHONS[seed])
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    rng = random.Random(seed)
    outcomes = set()
    for _ in range(150):
        path = rng.choice(files)
        content = path.read_bytes()
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 6))):
            at = rng.randrange(max(1, len(damaged)))
            change = rng.choice((rng.randbytes(1), b"", b"9", b"-", rng.randbytes(6)))
            damaged[at : at + rng.choice((0, 1, 1, 20))] = change
        path.write_bytes(bytes(damaged))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RoiExtractorsWarning)
            try:
                with roi.open(folder, kind="segmentation", format="sima") as rois:
                    rois.get_roi_masks()
                    rois.get_traces_dict()
                    rois.get_images_dict()
                    rois.metadata.to_dict()
                outcomes.add("read")
            except PluginError:
                raise
            except RoiExtractorsError as error:
                outcomes.add(type(error).__name__)
        path.write_bytes(content)
    assert {"read", "CorruptRecordingError"} <= outcomes

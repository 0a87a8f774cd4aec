"""Cell sets: masks, traces, properties, series, missing samples, and files that contradict themselves."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_inscopix.extractor import InscopixImagingExtractor
from roiextractors_inscopix.segmentation import InscopixSegmentationExtractor

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    RoiExtractorsWarning,
    SourceKindError,
    TruncatedRecordingError,
    UnknownFormatError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import SegmentationExtractorTests

Write = Callable[..., Path]
SECONDS = 1_600_000_000

# Three cells in frames of 4 x 7, each asymmetric in both axes, and 9 samples
MASKS = np.zeros((3, 4, 7), np.float32)
MASKS[0, 0, 5], MASKS[0, 1, 5], MASKS[0, 1, 6] = 0.5, 1, 0.25
MASKS[1, 3, 0] = 2
MASKS[2, 2, 1:4] = 0.125, 0.25, 0.375
TRACES = np.arange(27, dtype=np.float32).reshape(3, 9) ** 2 - 5


@pytest.fixture
def path(tmp_path: Path, write_cell_set: Write) -> Path:
    return write_cell_set(tmp_path / "cells.isxd", MASKS, TRACES)


def in_memory(traces: np.ndarray, **options: Any) -> roi.NumpySegmentationExtractor:
    """What a cell set of these traces contains, ``(cells, samples)``."""
    return roi.NumpySegmentationExtractor(
        np.moveaxis(MASKS, 0, 2),
        traces.T,
        roi_ids=["C0", "C1", "C2"],
        properties={"status": ["undecided"] * 3},
        sampling_frequency=20.0,
        **options,
    )


class TestCellSet(SegmentationExtractorTests):
    """The rules of the kit, for one file."""

    format = "inscopix-segmentation"

    @pytest.fixture
    def recording(self, path: Path) -> Path:
        return path

    @pytest.fixture
    def expected(self) -> roi.NumpySegmentationExtractor:
        return in_memory(TRACES)


class TestLargeCellSet(SegmentationExtractorTests):
    """The rules of the kit, for traces that are large enough to see how much is read."""

    format = "inscopix-segmentation"
    large = np.random.default_rng(8).random((3, 200_000)).astype(np.float32)

    @pytest.fixture
    def recording(self, tmp_path: Path, write_cell_set: Write) -> Path:
        return write_cell_set(tmp_path / "cells.isxd", MASKS, self.large)

    @pytest.fixture
    def expected(self) -> roi.NumpySegmentationExtractor:
        return in_memory(self.large)


class TestSeries(SegmentationExtractorTests):
    """The rules of the kit, for two files with a gap between them."""

    format = "inscopix-segmentation"

    @pytest.fixture
    def recording(self, tmp_path: Path, write_cell_set: Write) -> list[Path]:
        return [
            write_cell_set(tmp_path / "a.isxd", MASKS, TRACES, start=(SECONDS, 1)),
            write_cell_set(tmp_path / "b.isxd", MASKS, TRACES + 3, start=(SECONDS + 60, 1)),
        ]

    @pytest.fixture
    def expected(self) -> roi.NumpySegmentationExtractor:
        times = [*np.arange(9) / 20, *(60 + np.arange(9) / 20)]
        return in_memory(np.concatenate([TRACES, TRACES + 3], axis=1), times=times)


def test_masks_and_traces_are_those_of_the_file(path: Path) -> None:
    with InscopixSegmentationExtractor(path) as rois:
        assert rois.get_frame_shape() == (4, 7)
        assert rois.get_roi_ids() == ["C0", "C1", "C2"]
        assert rois.get_num_samples() == 9
        assert rois.get_trace_names() == ("raw",)
        np.testing.assert_array_equal(rois.get_traces(), TRACES.T)
        np.testing.assert_array_equal(rois.get_traces(["C2", "C0"], 2, 5), TRACES[[2, 0], 2:5].T)
        assert rois.get_traces(["C1"], 4, 4).shape == (0, 1)
        np.testing.assert_array_equal(rois.get_roi_image_masks(), np.moveaxis(MASKS, 0, 2))
        first, last = rois.get_roi_pixel_masks(["C0", "C2"])
        assert first.tolist() == [[0, 5, 0.5], [1, 5, 1], [1, 6, 0.25]]
        assert last.tolist() == [[2, 1, 0.125], [2, 2, 0.25], [2, 3, 0.375]]
        assert rois.get_sampling_frequency() == 20
        assert rois.get_native_timestamps() is None
        np.testing.assert_allclose(rois.get_timestamps(), np.arange(9) / 20)


def test_only_the_requested_samples_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with InscopixSegmentationExtractor(path) as rois:
        read: list[int] = []
        whole = type(rois._files[0]._traces).read_into

        def watched(self: Any, result: np.ndarray, *args: Any) -> None:
            read.append(result.nbytes)
            whole(self, result, *args)

        monkeypatch.setattr(type(rois._files[0]._traces), "read_into", watched)
        rois.get_traces(["C1"], 3, 5)
        assert read == [2 * 4]


def test_properties_are_the_vendors(tmp_path: Path, write_cell_set: Write) -> None:
    unknown = -(1 << 63)
    metrics = [
        [1, {"x": 5, "y": 1}, {"x": 6, "y": 2}, 3.5, 2.5, 4, 3],
        {},
        [2, {"x": unknown, "y": unknown}, {"x": 2, "y": 2}, 100.5, 100.5, 15, 15],
    ]
    path = write_cell_set(
        tmp_path / "c.isxd",
        MASKS,
        TRACES,
        statuses=[0, 2, 1],
        CellActivity=[True, False, True],
        CellColors=[0xFFF42C52, 0xFF000001, 0x00ABCDEF],
        cellMetrics=metrics,
    )
    with InscopixSegmentationExtractor(path) as rois:
        assert rois.get_property("status").tolist() == ["accepted", "rejected", "undecided"]
        assert rois.get_property("active").tolist() == [True, False, True]
        assert rois.get_property("color").tolist() == ["#f42c52", "#000001", "#abcdef"]
        np.testing.assert_array_equal(rois.get_property("num_components"), [1, np.nan, 2])
        np.testing.assert_array_equal(rois.get_property("center_row"), [1, np.nan, np.nan])
        np.testing.assert_array_equal(rois.get_property("largest_component_center_column"), [6, np.nan, 2])
        np.testing.assert_array_equal(rois.get_property("area"), [3.5, np.nan, 100.5])
        assert rois.get_property("status", ["C2", "C0"]).tolist() == ["undecided", "accepted"]


def test_without_metrics_and_with_older_footers_there_are_fewer_properties(
    tmp_path: Path, write_cell_set: Write
) -> None:
    path = write_cell_set(tmp_path / "c.isxd", MASKS, TRACES, CellActivity=None, CellColors=None, fileVersion=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with InscopixSegmentationExtractor(path) as rois:
            assert list(rois.get_own_properties()) == ["status"]


@pytest.mark.parametrize("statuses", [[1, 1], [1, 1, 7], [1, 1, "accepted"], [1, 1, True], "accepted"])
def test_statuses_that_cannot_be_are_left_out_with_a_warning(
    tmp_path: Path, write_cell_set: Write, statuses: Any
) -> None:
    path = write_cell_set(tmp_path / "c.isxd", MASKS, TRACES, CellStatuses=statuses)
    words = r"c\.isxd: CellStatuses is not one valid value for each of the 3 cells; the property 'status' was left out"
    with pytest.warns(RoiExtractorsWarning, match=words):
        rois = InscopixSegmentationExtractor(path)
    with rois:
        assert "status" not in rois.get_property_keys()
        assert any("CellStatuses" in note for note in rois.get_notes())


def test_an_empty_cell_set_is_one(tmp_path: Path, write_cell_set: Write) -> None:
    path = write_cell_set(tmp_path / "c.isxd", MASKS[:0], TRACES[:0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with InscopixSegmentationExtractor(path) as rois:
            assert rois.get_roi_ids() == []
            assert rois.get_num_samples() == 9
            assert rois.get_traces().shape == (9, 0)
            assert rois.get_roi_image_masks().shape == (4, 7, 0)
            assert rois.get_property("status").shape == (0,)


def test_metadata_is_as_of_a_movie(tmp_path: Path, write_cell_set: Write, microscope: Callable[..., Any]) -> None:
    extra = microscope(channel="green", cellset={"method": "cnmfe", "type": "analog", "units": "dF over noise"})
    path = write_cell_set(tmp_path / "c.isxd", MASKS, TRACES, start=(SECONDS, 1), utc_offset=3600, extra=extra)
    with InscopixSegmentationExtractor(path) as rois:
        assert rois.metadata.start_time == datetime.fromtimestamp(SECONDS, UTC)
        assert rois.metadata.start_time.isoformat().endswith("+01:00")
        assert rois.metadata.pixel_size == (3.5, 3.0)
        assert rois.metadata.device == "Inscopix NVista3, serial number FA-1"
        assert [channel.name for channel in rois.metadata.channels] == ["green"]
        assert rois.metadata.vendor["acquisition"]["Trace Units"] == "dF over noise"
        assert rois.metadata.vendor["acquisition"]["Cell Identification Method"] == "cnmfe"
        assert rois.metadata.vendor["CellNames"] == ["C0", "C1", "C2"]


def test_missing_samples_keep_their_times_and_stored_values(tmp_path: Path, write_cell_set: Write) -> None:
    traces = TRACES.copy()
    traces[:, [2, 5, 6]] = np.nan
    path = write_cell_set(tmp_path / "c.isxd", MASKS, traces, dropped=[2], cropped=["5 - 6"], period=(179_973, 10**6))
    words = r"c\.isxd: 1 dropped, 2 cropped of 9 samples are missing"
    with pytest.warns(IncompleteRecordingWarning, match=words):
        rois = InscopixSegmentationExtractor(path)
    with rois:
        assert rois.get_missing_samples().tolist() == [2, 5, 6]
        assert rois.times_source == "native"
        np.testing.assert_allclose(rois.get_timestamps(), np.arange(9) * 0.179973, rtol=1e-12)
        assert np.isfinite(rois.get_timestamps()).all()
        np.testing.assert_array_equal(rois.get_traces(), traces.T)
        assert any("missing" in note for note in rois.get_notes())


def test_it_pickles_and_closes(path: Path) -> None:
    rois = InscopixSegmentationExtractor(path)
    with pickle.loads(pickle.dumps(rois)) as again:
        np.testing.assert_array_equal(again.get_traces(), TRACES.T)
    rois.close()
    with pytest.raises(roi.ClosedRecordingError):
        rois.get_traces()


# Series


def test_the_parts_of_a_series_are_ordered_by_time_and_keep_their_gaps(tmp_path: Path, write_cell_set: Write) -> None:
    one = write_cell_set(tmp_path / "b.isxd", MASKS, TRACES, start=(SECONDS * 4 + 1, 4))
    # The second part lists its cells in another order
    order = [2, 0, 1]
    two = write_cell_set(
        tmp_path / "a.isxd", MASKS[order], TRACES[order, :4] + 100, names=["C2", "C0", "C1"], start=(SECONDS + 60, 1)
    )
    with InscopixSegmentationExtractor([two, one]) as rois:
        assert rois.get_roi_ids() == ["C0", "C1", "C2"]
        assert rois.get_num_samples() == 13
        joined = np.concatenate([TRACES, TRACES[:, :4] + 100], axis=1).T
        np.testing.assert_array_equal(rois.get_traces(), joined)
        np.testing.assert_array_equal(rois.get_traces(["C1"], 7, 11), joined[7:11, [1]])
        np.testing.assert_array_equal(rois.get_roi_image_masks(), np.moveaxis(MASKS, 0, 2))
        times = [*np.arange(9) / 20, *(59.75 + np.arange(4) / 20)]
        np.testing.assert_allclose(rois.get_timestamps(), times)
        np.testing.assert_allclose(rois.get_timestamps(8, 10), [0.4, 59.75])
        assert rois.get_sampling_frequency() == 20
        assert rois.metadata.start_time == datetime.fromtimestamp(SECONDS + 0.25, UTC)
        assert [Path(name).name for name in rois.get_paths()] == ["b.isxd", "a.isxd"]
        with pickle.loads(pickle.dumps(rois)) as again:
            np.testing.assert_array_equal(again.get_traces(), joined)


def test_missing_samples_of_later_parts_are_counted_from_the_first(tmp_path: Path, write_cell_set: Write) -> None:
    one = write_cell_set(tmp_path / "a.isxd", MASKS, TRACES, start=(SECONDS, 1))
    two = write_cell_set(tmp_path / "b.isxd", MASKS, TRACES, start=(SECONDS + 9, 1), dropped=[1])
    with pytest.warns(IncompleteRecordingWarning, match=r"b\.isxd: 1 dropped of 9"):
        rois = InscopixSegmentationExtractor([one, two])
    with rois:
        assert rois.get_missing_samples().tolist() == [10]


def test_parts_of_other_rates_have_times_but_no_rate(tmp_path: Path, write_cell_set: Write) -> None:
    one = write_cell_set(tmp_path / "a.isxd", MASKS, TRACES, start=(SECONDS, 1))
    two = write_cell_set(tmp_path / "b.isxd", MASKS, TRACES, start=(SECONDS + 9, 1), period=(1, 10))
    with InscopixSegmentationExtractor([one, two]) as rois:
        assert rois.get_sampling_frequency() is None
        np.testing.assert_allclose(rois.get_timestamps(7, 11), [0.35, 0.4, 9, 9.1])


def test_parts_without_start_times_keep_the_order_given_with_a_warning(tmp_path: Path, write_cell_set: Write) -> None:
    one = write_cell_set(tmp_path / "a.isxd", MASKS, TRACES)
    two = write_cell_set(tmp_path / "b.isxd", MASKS, TRACES + 1)
    with pytest.warns(
        RoiExtractorsWarning, match=r"'b\.isxd' and 'a\.isxd' have no start time: the 2 parts are in the"
    ):
        rois = InscopixSegmentationExtractor([two, one])
    with rois:
        np.testing.assert_array_equal(rois.get_traces(), np.concatenate([TRACES + 1, TRACES], axis=1).T)
        np.testing.assert_allclose(rois.get_timestamps(), np.arange(18) / 20)


def test_parts_without_times_or_a_common_period_are_refused(tmp_path: Path, write_cell_set: Write) -> None:
    one = write_cell_set(tmp_path / "a.isxd", MASKS, TRACES)
    two = write_cell_set(tmp_path / "b.isxd", MASKS, TRACES + 1, period=(1, 10))
    with pytest.raises(CorruptRecordingError, match=r"have no start time, and the parts have different periods"):
        InscopixSegmentationExtractor([one, two])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"names": ["C0", "C1", "D"]}, r"not parts of one series: only one of them has the cells 'C2' and 'D'"),
        ({"names": ["C0", "C1", "C1"]}, r"b\.isxd has cells whose names are repeated or empty"),
        ({"masks": MASKS[:, ::-1]}, r"not parts of one series: their masks of the cell 'C0' differ"),
        ({"masks": MASKS[:, :, :6]}, r"not parts of one series: their frames are \(4, 7\) and \(4, 6\)"),
        (
            {"start": (SECONDS * 5 + 1, 5)},
            r"b\.isxd begins 0\.250 s before the end of a\.isxd; parts of a series do not",
        ),
    ],
)
def test_files_that_are_not_one_series_are_refused(
    tmp_path: Path, write_cell_set: Write, changes: Any, words: str
) -> None:
    one = write_cell_set(tmp_path / "a.isxd", MASKS, TRACES, start=(SECONDS, 1))
    masks = changes.pop("masks", MASKS)
    two = write_cell_set(tmp_path / "b.isxd", masks, TRACES, **{"start": (SECONDS + 9, 1), **changes})
    with pytest.raises(CorruptRecordingError, match=words):
        InscopixSegmentationExtractor([one, two])


def test_the_same_part_twice_is_refused(tmp_path: Path, write_cell_set: Write) -> None:
    known = write_cell_set(tmp_path / "a.isxd", MASKS, TRACES, start=(SECONDS, 1))
    with pytest.raises(CorruptRecordingError, match=r"begins 0\.450 s before the end"):
        InscopixSegmentationExtractor([known, known])
    unknown = write_cell_set(tmp_path / "b.isxd", MASKS, TRACES)
    with pytest.raises(
        CorruptRecordingError, match=r"b\.isxd and b\.isxd contain the same traces; give each part once"
    ):
        InscopixSegmentationExtractor([unknown, unknown])


def test_no_file_at_all_is_refused() -> None:
    with pytest.raises(SourceKindError, match="got an empty list"):
        InscopixSegmentationExtractor([])


# Names


@pytest.mark.parametrize(
    ("names", "shown"),
    [(["A", "B", "A"], r"the cell names 'A' are"), (["A", "", "B"], r"the cell names '' are")],
)
def test_names_that_do_not_tell_cells_apart_become_a_property(
    tmp_path: Path, write_cell_set: Write, names: list[str], shown: str
) -> None:
    path = write_cell_set(tmp_path / "c.isxd", MASKS, TRACES, names=names)
    with pytest.warns(RoiExtractorsWarning, match=shown):
        rois = InscopixSegmentationExtractor(path)
    with rois:
        assert rois.get_roi_ids() == ["0", "1", "2"]
        assert rois.get_property("name").tolist() == names
        np.testing.assert_array_equal(rois.get_traces(["2"]), TRACES[[2]].T)


# Damage


def test_a_truncated_file_is_refused(tmp_path: Path, path: Path) -> None:
    whole = path.read_bytes()
    for size in (1, 9, 300, len(whole) - 1):
        (tmp_path / "cut.isxd").write_bytes(whole[:size])
        with pytest.raises(TruncatedRecordingError, match=r"cut\.isxd"):
            InscopixSegmentationExtractor(tmp_path / "cut.isxd")
    with pytest.raises(UnknownFormatError, match=r"suffix is that of Inscopix cell set, whose plugin says: cut\.isxd"):
        roi.open(tmp_path / "cut.isxd", kind="segmentation")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"names": ["C0", "C1"]},
            r"names 2 cells, but 444 bytes precede it, which are 3 cells of 4 x 7 pixels and 9 samples",
        ),
        ({"names": ["C0", "C1", "C2", "C3"]}, "names 4 cells, but 444 bytes"),
        ({"CellNames": None}, "CellNames = None, expected a list with the name of each cell"),
        ({"names": ["C0", "C1", 3]}, r"CellNames = \['C0', 'C1', 3\], expected"),
        ({"spacingInfo": {"numPixels": {"x": 7, "y": 0}}}, r"numPixels\.y = 0"),
        ({"spacingInfo": {"numPixels": {"x": 1 << 20, "y": 1 << 20}}}, "which are 0 cells of 1048576 x 1048576 pixels"),
        ({"timingInfo": {"numTimes": 1 << 40}}, r"timingInfo\.period = None"),
        ({"dropped": [9]}, "lists dropped samples outside its 9 samples"),
        ({"period": (1, 0)}, r"period = 1 / 0, which is not a valid time"),
    ],
)
def test_a_footer_that_contradicts_the_file_is_refused(
    tmp_path: Path, write_cell_set: Write, changes: Any, words: str
) -> None:
    path = write_cell_set(tmp_path / "c.isxd", MASKS, TRACES, **changes)
    with pytest.raises(CorruptRecordingError, match=words):
        InscopixSegmentationExtractor(path)


def test_bytes_behind_the_last_cell_are_noted(tmp_path: Path, write_cell_set: Write) -> None:
    path = write_cell_set(tmp_path / "c.isxd", MASKS, TRACES)
    whole = path.read_bytes()
    path.write_bytes(whole[:444] + bytes(20) + whole[444:])
    words = r"c\.isxd has 20 bytes after the last cell that its footer does not account for"
    with pytest.warns(RoiExtractorsWarning, match=words):
        rois = InscopixSegmentationExtractor(path)
    with rois:
        np.testing.assert_array_equal(rois.get_traces(), TRACES.T)


def test_a_mask_with_nan_is_refused_by_name_of_the_roi(tmp_path: Path, write_cell_set: Write) -> None:
    masks = MASKS.copy()
    masks[1, 2, 2] = np.nan
    with InscopixSegmentationExtractor(write_cell_set(tmp_path / "c.isxd", masks, TRACES)) as rois:
        with pytest.raises(CorruptRecordingError, match="mask of ROI number 1 has the weight nan"):
            rois.get_roi_masks()
        np.testing.assert_array_equal(rois.get_traces(), TRACES.T)


def test_another_kind_of_file_says_how_to_open_it(tmp_path: Path, path: Path, write_isxd: Write) -> None:
    movie = write_isxd(tmp_path / "m.isxd", np.zeros((2, 3, 4), np.uint16))
    with pytest.raises(
        UnsupportedRecordingError, match=r"m\.isxd contains a movie, expected a cell set; open it with open"
    ):
        InscopixSegmentationExtractor(movie)
    with pytest.raises(
        UnsupportedRecordingError,
        match=r'contains a cell set \(3 cells\), expected a movie or an image; open it with open\(path, kind="segmentation"\)',
    ):
        InscopixImagingExtractor(path)

"""Event sets: events as stored, the series that they are at samples, and files that contradict themselves."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_inscopix.events import InscopixEventsExtractor

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    RangeError,
    RoiExtractorsWarning,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import SegmentationExtractorTests

Write = Callable[..., Path]

# Microseconds, cell and amplitude; samples 1, 4 and 19 of B, and 4 of A, at 20 Hz
EVENTS = [(200_001, 1, 2.5), (50_000, 1, 0.5), (200_000, 0, -7.0), (949_999, 1, 1.0)]


@pytest.fixture
def path(tmp_path: Path, write_event_set: Write) -> Path:
    return write_event_set(tmp_path / "e.isxd", EVENTS)


class TestEventSet(SegmentationExtractorTests):
    """The rules of the kit."""

    format = "inscopix-events"
    samples = np.array([[0, 2.5, 0, 0, 0, 0, 1], [3, 0, 0, 0, 0, 0, 0], [0, 0, 0, -4, 0, 0, 0]], np.float32)

    @pytest.fixture
    def recording(self, tmp_path: Path, write_event_set: Write) -> Path:
        events = [(50_000 * int(k), int(cell), float(self.samples[cell, k])) for cell, k in np.argwhere(self.samples)]
        return write_event_set(tmp_path / "e.isxd", events, names=["A", "B", "C"], duration=(350, 1000))

    @pytest.fixture
    def expected(self) -> roi.NumpySegmentationExtractor:
        nothing = roi.RoiMasks((0, 0), [0, 0, 0, 0], [])
        rois = roi.NumpySegmentationExtractor(
            nothing,
            {"events": self.samples.T},
            roi_ids=["A", "B", "C"],
            properties={"num_events": [2, 1, 1]},
            sampling_frequency=20.0,
        )
        rois.has_masks = False
        return rois


def test_events_are_those_of_the_file_in_the_order_of_time(path: Path) -> None:
    with InscopixEventsExtractor(path) as rois:
        assert rois.get_roi_ids() == ["A", "B"]
        times, amplitudes = rois.get_events("B")
        np.testing.assert_allclose(times, [0.05, 0.200001, 0.949999], rtol=1e-12)
        assert amplitudes.tolist() == [0.5, 2.5, 1.0]
        assert amplitudes.dtype == np.float32
        assert rois.get_property("num_events").tolist() == [1, 3]
        with pytest.raises(RangeError):
            rois.get_events("C")


def test_the_trace_of_events_is_0_between_them(path: Path) -> None:
    with InscopixEventsExtractor(path) as rois:
        assert rois.get_trace_names() == ("events",)
        assert rois.get_num_samples() == 20
        expected = np.zeros((20, 2), np.float32)
        expected[4, 0], expected[1, 1], expected[4, 1], expected[19, 1] = -7, 0.5, 2.5, 1
        np.testing.assert_array_equal(rois.get_traces(name="events"), expected)
        np.testing.assert_array_equal(rois.get_traces(["B"], 4, 6, name="events"), expected[4:6, [1]])
        assert rois.get_sampling_frequency() == 20
        np.testing.assert_allclose(rois.get_timestamps(), np.arange(20) / 20)
        assert rois.metadata.start_time == datetime.fromtimestamp(1_600_000_000, UTC)


def test_there_are_no_masks(path: Path) -> None:
    with InscopixEventsExtractor(path) as rois:
        assert not rois.has_masks
        assert rois.get_frame_shape() == (0, 0)
        with pytest.raises(UnsupportedRecordingError, match="no masks"):
            rois.get_roi_masks()


@pytest.mark.parametrize(
    ("events", "options"),
    [
        ([(50_000, 0, 1.0), (60_000, 1, 1.0)], {}),  # a fifth of a period off
        ([(50_000, 0, 1.0), (50_001, 0, 2.0)], {}),  # two events in one sample
        ([(50_000, 0, 1.0)], {"signalSteps": [{"num": 1, "den": 20}, {"num": 1, "den": 10}]}),
        ([(50_000, 0, 1.0)], {"period": (0, 1)}),
    ],
)
def test_events_that_are_not_at_samples_are_no_trace(
    tmp_path: Path, write_event_set: Write, events: Any, options: Any
) -> None:
    with InscopixEventsExtractor(write_event_set(tmp_path / "e.isxd", events, **options)) as rois:
        assert rois.get_trace_names() == ()
        assert rois.get_num_samples() == 0
        assert [len(rois.get_events(cell)[0]) for cell in "AB"] == rois.get_property("num_events").tolist()


def test_events_of_two_cells_in_one_sample_are_a_trace(tmp_path: Path, write_event_set: Write) -> None:
    path = write_event_set(tmp_path / "e.isxd", [(50_000, 0, 1.0), (50_000, 1, 2.0)])
    with InscopixEventsExtractor(path) as rois:
        assert rois.get_traces(None, 1, 2, name="events").tolist() == [[1, 2]]


def test_a_cell_without_events_is_kept(tmp_path: Path, write_event_set: Write) -> None:
    with InscopixEventsExtractor(write_event_set(tmp_path / "e.isxd", [])) as rois:
        assert rois.get_roi_ids() == ["A", "B"]
        assert rois.get_traces(name="events").sum() == 0
        assert rois.get_events("A")[0].tolist() == []


def test_metrics_are_properties(tmp_path: Path, write_event_set: Write) -> None:
    path = write_event_set(tmp_path / "e.isxd", EVENTS, metrics=[[5.0, 1, 0.1, 2, None, 0.2, 0.3, 0.4, 0.5], {}])
    with InscopixEventsExtractor(path) as rois:
        np.testing.assert_array_equal(rois.get_property("snr"), [5, np.nan])
        np.testing.assert_array_equal(rois.get_property("event_amplitude_sd"), [np.nan, np.nan])
        np.testing.assert_array_equal(rois.get_property("decay_sd"), [0.5, np.nan])


def test_repeated_names_become_a_property(tmp_path: Path, write_event_set: Write) -> None:
    path = write_event_set(tmp_path / "e.isxd", EVENTS, names=["A", "A"])
    with pytest.warns(RoiExtractorsWarning, match="'A' are repeated or empty"):
        rois = InscopixEventsExtractor(path)
    with rois:
        assert rois.get_roi_ids() == ["0", "1"]
        assert rois.get_property("name").tolist() == ["A", "A"]


def test_it_pickles(path: Path) -> None:
    with InscopixEventsExtractor(path) as rois, pickle.loads(pickle.dumps(rois)) as again:
        np.testing.assert_array_equal(rois.get_traces(name="events"), again.get_traces(name="events"))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        (
            {"numSamples": [1, 4]},
            TruncatedRecordingError,
            "states 5 events, but 80 bytes of events precede it, which are 4",
        ),
        ({"numSamples": [1, 2]}, CorruptRecordingError, "states 3 events, but 80 bytes"),
        ({"numSamples": [1, 1 << 60]}, CorruptRecordingError, "expected the number of events of each cell"),
        ({"numSamples": [1, -1]}, CorruptRecordingError, "expected the number of events of each cell"),
        ({"numSamples": [4]}, CorruptRecordingError, r"2 cells, 1 number of events and 2 periods"),
        ({"channel list": None}, CorruptRecordingError, "channel list = None, expected a list with the name"),
        ({"signalSteps": [{"num": 1, "den": 0}] * 2}, CorruptRecordingError, "1 / 0, which is not a valid time"),
        ({"global times": []}, CorruptRecordingError, "no 'global times'"),
        ({"duration": (1 << 40, 1)}, CorruptRecordingError, "21,990,232,555,520 samples; expected from 0"),
        ({"duration": (-1, 1)}, CorruptRecordingError, "expected from 0"),
        ({"type": 3}, UnsupportedRecordingError, "contains GPIO signals.*expected an event set"),
    ],
)
def test_a_footer_that_contradicts_the_file_is_refused(
    tmp_path: Path, write_event_set: Write, changes: Any, error: type[Exception], words: str
) -> None:
    path = write_event_set(tmp_path / "e.isxd", EVENTS, **changes)
    with pytest.raises(error, match=words):
        InscopixEventsExtractor(path)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([(0, 0, 1.0), (0, 7, 1.0)], "has an event of cell number 7, but its footer names 2 cells"),
        ([(0, 0, 1.0), (0, (1 << 64) - 1, 1.0)], "cell number 18,446,744,073,709,551,615"),
        ([(0, 0, 1.0), (0, 0, 1.0)], "contains 2 events of the cell 'A', but its footer states 1"),
        ([(0, 0, 1.0), (5_000_000, 1, 1.0)], r"has an event at 5\.000 s, after the end of its 20 samples"),
    ],
)
def test_events_that_contradict_the_footer_are_refused(
    tmp_path: Path, write_event_set: Write, events: Any, words: str
) -> None:
    path = write_event_set(tmp_path / "e.isxd", events, numSamples=[1, 1])
    with InscopixEventsExtractor(path) as rois, pytest.raises(CorruptRecordingError, match=words):
        rois.get_trace_names()


# The first version


def test_events_of_the_first_version_are_read(tmp_path: Path, write_first_event_set: Write) -> None:
    path = write_first_event_set(
        tmp_path / "e.isxd", {"A": [(200_000, 7.0), (50_000, 0.5)], "B": [], "C": [(950_000, 0.0), (100_000, -1)]}
    )
    with roi.open(path, kind="segmentation") as rois:
        assert rois.provenance.format == "inscopix-events"
        assert rois.get_roi_ids() == ["A", "B", "C"]
        assert rois.get_property("num_events").tolist() == [2, 0, 2]
        times, amplitudes = rois.get_events("A")
        assert times.tolist() == [0.05, 0.2]
        assert amplitudes.tolist() == [0.5, 7.0]
        # An event without an amplitude is 1 when it is on, and 0 when it is off
        assert rois.get_events("C")[1].tolist() == [0, 1]
        expected = np.zeros((20, 3), np.float32)
        expected[1, 0], expected[4, 0], expected[19, 2] = 0.5, 7, 1
        np.testing.assert_array_equal(rois.get_traces(name="events"), expected)
        assert rois.get_sampling_frequency() == 20
        assert rois.metadata.start_time == datetime.fromtimestamp(1_600_000_000, UTC)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"channel offsets": None}, CorruptRecordingError, "no 'channel offsets'"),
        ({"channel offsets": {"A": 10_000}}, CorruptRecordingError, "has the cell 'A' at byte 10000, expected one of"),
        (
            {"channel offsets": {"A": 7}},
            CorruptRecordingError,
            "not valid JSON|does not describe the cell 'A' at byte 7",
        ),
        ({"channel offsets": {"B": 0}}, CorruptRecordingError, "does not describe the cell 'B' at byte 0"),
        ({"descriptions": {"A": {"Number of Packets": 9}}}, TruncatedRecordingError, "states 9 events of the cell 'A'"),
        ({"descriptions": {"A": {"Number of Packets": -1}}}, CorruptRecordingError, "states -1 events of the cell 'A'"),
        ({"descriptions": {"A": {"mode": "x" * 5000}}}, CorruptRecordingError, "does not describe the cell 'A'"),
        ({"num_times": 1 << 40}, CorruptRecordingError, "1,099,511,627,776 samples; expected from 0"),
        ({"start": (-5, 1)}, CorruptRecordingError, "states a start -5 s after 1970"),
        ({"start": (1 << 62, 1)}, CorruptRecordingError, "which is impossible"),
        ({"timing info": None}, CorruptRecordingError, r"timingInfo\.numTimes = None"),
    ],
)
def test_a_first_version_that_contradicts_itself_is_refused(
    tmp_path: Path, write_first_event_set: Write, options: Any, error: type[Exception], words: str
) -> None:
    path = write_first_event_set(tmp_path / "e.isxd", {} if "start" in options else {"A": [(50_000, 1.0)]}, **options)
    with pytest.raises(error, match=words):
        InscopixEventsExtractor(path)


def test_an_event_before_the_start_is_refused(tmp_path: Path, write_first_event_set: Write) -> None:
    path = write_first_event_set(tmp_path / "e.isxd", {"A": [(-50_000, 1.0)]})
    with (
        InscopixEventsExtractor(path) as rois,
        pytest.raises(CorruptRecordingError, match="'A' before the start of the recording"),
    ):
        rois.get_events("A")

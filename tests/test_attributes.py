"""What a recording offers beside its methods: attributes, the rate that its times give, names of roiextractors, arithmetic."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.clock import Clock
from roiextractors_core.io import require_rate

PIXELS = np.random.default_rng(0).integers(0, 4000, (12, 6, 5)).astype(np.uint16)


def made(count: int = 12, **options: Any) -> roi.NumpyImagingExtractor:
    return roi.NumpyImagingExtractor(np.resize(PIXELS, (count, 6, 5)), **options)


# The rate that the times give


def paused(count: int, rate: float = 14.98) -> np.ndarray:
    """Times at a rate, with a pause of five minutes in the middle."""
    times = np.arange(count) / rate
    times[count // 2 :] += 300
    return times


@pytest.mark.parametrize("count", [12, 3000, 20_000])
def test_the_median_rate_is_that_of_the_times_whatever_the_pauses(count: int) -> None:
    recording = made(count, times=paused(count))
    assert recording.median_rate == pytest.approx(14.98, rel=1e-9)
    assert recording.get_sampling_frequency() is None  # nothing is invented
    assert "rate unknown, its times give 14.98 Hz" in repr(recording)
    assert "its times give 14.98 Hz" in recording._repr_html_()
    assert roi.concatenate([recording, recording]).median_rate == pytest.approx(14.98, rel=1e-9)
    assert recording.slice_samples(0, 5).median_rate == pytest.approx(14.98, rel=1e-9)


def test_without_times_there_is_no_median_rate_and_with_a_rate_it_is_the_rate() -> None:
    assert made().median_rate is None
    assert made(sampling_frequency=20.0).median_rate == 20.0
    assert made(1, times=[3.0]).median_rate is None
    assert "rate unknown>" in repr(made())
    odd = made(5, times=[np.nan, 1.0, 1.0, 0.5, np.nan])
    assert odd.median_rate is None


def test_few_of_a_million_times_are_read_for_a_repr() -> None:
    read: list[int] = []

    class Long(roi.NumpyImagingExtractor):
        def get_num_samples(self) -> int:
            return 1_000_000

        def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
            read.append(end_sample - start_sample)
            return np.arange(start_sample, end_sample) / 25.0

    assert "its times give 25 Hz" in repr(Long(PIXELS))
    assert sum(read) < 4000


def test_times_that_are_known_say_which_rate_to_pass_to_what_needs_one(tmp_path: Path) -> None:
    recording = made(times=paused(12))
    with pytest.raises(
        roi.TimesError, match=r"suite2p.*only times, which give 14\.98 Hz; pass sampling_frequency=14\.98"
    ):
        roi.convert(recording, tmp_path / "suite2p", format="suite2p")
    written = roi.convert(recording, tmp_path / "suite2p", format="suite2p", sampling_frequency=14.98)
    assert roi.open(written).sampling_frequency == 14.98
    with pytest.raises(roi.TimesError, match="neither a rate nor times; pass sampling_frequency=<Hz>"):
        require_rate(made(), needed_by="it")
    with pytest.raises(roi.TimesError, match="above 0 Hz"):
        require_rate(made(), -3.0, needed_by="it")
    assert require_rate(made(sampling_frequency=5.0), 7.0, needed_by="it") == 7.0


def test_the_clock_itself_offers_the_median_rate() -> None:
    assert Clock(5, rate=4.0).median_rate == 4.0
    assert Clock(4, rate=None, source="user", read=lambda a, b: np.array([0, 1, 2, 60.0])[a:b]).median_rate == 1.0


# Attributes


def test_the_facts_are_attributes_too() -> None:
    metadata = roi.RecordingMetadata(channels=(roi.ChannelMetadata("GCaMP"),))
    recording = made(sampling_frequency=4.0, metadata=metadata)
    assert (recording.sampling_frequency, recording.duration, recording.num_planes) == (4.0, 3.0, 1)
    assert recording.channel_name == "GCaMP"
    assert recording.timestamps is not None
    np.testing.assert_array_equal(recording.timestamps, np.arange(12) / 4)
    recording.override_sampling_frequency(8.0)
    assert (recording.sampling_frequency, recording.duration) == (8.0, 1.5)
    view = recording.slice_samples(4, 8)
    assert (view.sampling_frequency, view.duration, view.channel_name) == (8.0, 0.5, "GCaMP")
    volumes = roi.NumpyImagingExtractor(PIXELS.reshape(4, 3, 6, 5).transpose(0, 2, 3, 1))
    assert (volumes.num_planes, volumes.select_plane(1).num_planes) == (3, 1)


def test_what_is_unknown_is_none() -> None:
    unknown = made()
    assert (unknown.sampling_frequency, unknown.timestamps, unknown.duration, unknown.channel_name) == (None,) * 4
    assert made(0).duration == 0.0


def test_the_duration_counts_pauses_and_the_last_sample() -> None:
    assert made(3, times=[1.0, 2.0, 5.0]).duration == 6.0  # the median period is 2 s
    assert made(3, times=[1.0, 2.0, 5.0], sampling_frequency=1.0).duration == 5.0


def test_a_segmentation_has_the_same_attributes() -> None:
    masks = np.zeros((6, 5, 2))
    masks[1:3, 1:3, 0] = masks[4, 4, 1] = 1
    rois = roi.NumpySegmentationExtractor(masks, np.zeros((12, 2)), sampling_frequency=4.0)
    assert (rois.sampling_frequency, rois.duration, rois.num_planes, rois.num_rois) == (4.0, 3.0, 1, 2)
    assert (rois.channel_name, rois.select_rois(["1"]).num_rois) == (None, 1)
    timed = roi.NumpySegmentationExtractor(masks, np.zeros((12, 2)), times=paused(12))
    assert "its times give 14.98 Hz" in repr(timed)


class Guide(roi.ImagingExtractor):
    """As the guide of roiextractors writes one: it sets attributes of the names that are attributes here."""

    def __init__(self, data: np.ndarray, sampling_frequency: float | None = None) -> None:
        super().__init__()
        self._data = data
        self.sampling_frequency = sampling_frequency or 20.0
        self.num_planes, self.channel_name, self.timestamps, self.duration = 7, "OpticalChannel", "mine", "mine too"

    def get_image_shape(self) -> tuple[int, int]:
        return self._data.shape[1], self._data.shape[2]

    def get_num_samples(self) -> int:
        return len(self._data)

    def get_sampling_frequency(self) -> float:
        return self.sampling_frequency

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        return self._data[start_sample:end_sample]


def test_a_class_may_set_attributes_of_these_names_in_its_constructor() -> None:
    extractor = Guide(PIXELS)
    assert (extractor.sampling_frequency, extractor.get_sampling_frequency()) == (20.0, 20.0)
    assert (extractor.num_planes, extractor.channel_name, extractor.timestamps) == (7, "OpticalChannel", "mine")
    assert extractor.slice_samples(0, 3).num_planes == 1
    assert pickle.loads(pickle.dumps(extractor)).sampling_frequency == 20.0
    extractor.override_sampling_frequency(50.0)
    assert (extractor.sampling_frequency, extractor.slice_samples(0, 3).sampling_frequency) == (50.0, 50.0)
    assert pickle.loads(pickle.dumps(extractor)).sampling_frequency == 50.0


# Names of roiextractors


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("get_video", "get_series"),
        ("get_frames", "get_samples"),
        ("frame_slice", "slice_samples"),
        ("get_image_size", "get_image_shape"),
        ("get_num_frames", "get_num_samples"),
        ("frame_to_time", "get_timestamps"),
        ("time_to_frame", "time_to_sample_indices"),
        ("get_channel_names", "channel_name"),
        ("get_num_channels", "roiextractors_core.streams"),
    ],
)
def test_an_old_name_of_roiextractors_names_the_new_one(old: str, new: str) -> None:
    recording = made()
    with pytest.raises(AttributeError, match=rf"{old}, use {new}"):
        getattr(recording, old)
    assert not hasattr(recording, old)
    name = new.rpartition(".")[2]
    assert hasattr(roi if "." in new else recording, name)


def test_other_missing_names_are_errors_as_usual() -> None:
    with pytest.raises(AttributeError, match=r"^'NumpyImagingExtractor' object has no attribute 'get_serie'$"):
        made().get_serie  # type: ignore[attr-defined]  # noqa: B018

    class Broken(Guide):
        @property
        def shape(self) -> Any:
            return self.not_there  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="not_there"):
        Broken(PIXELS).shape  # noqa: B018

"""What a recording offers beside its methods: attributes, the rate that its times give, names of roiextractors, arithmetic."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.cli.facts import facts_of, in_words
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


def test_info_gives_the_rate_of_the_times_and_the_option_to_pass() -> None:
    facts = facts_of(made(times=paused(12)), {})
    assert (facts["sampling_frequency"], facts["median_rate"]) == (None, pytest.approx(14.98))
    assert "its times give 14.98 Hz; to use that, pass --sampling-frequency 14.98" in dict(in_words(facts))["rate"]


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


def test_a_rate_or_times_that_are_assigned_to_an_open_recording_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    with roi.open(tmp_path / "a.npy", sampling_frequency=20.0) as recording:
        for one in (recording, recording.slice_samples(0, 3)):
            with pytest.raises(AttributeError, match=r"use recording\.override_sampling_frequency\("):
                one.sampling_frequency = 30.0
            with pytest.raises(AttributeError, match=r"use recording\.set_times\("):
                one.timestamps = np.arange(12.0)
        assert recording.sampling_frequency == 20.0


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
    with pytest.raises(AttributeError, match=r"read the pixels first: recording\[\.\.\.\]\.reshape$"):
        made().reshape  # type: ignore[attr-defined]  # noqa: B018

    class Broken(Guide):
        @property
        def shape(self) -> Any:
            return self.not_there  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="not_there"):
        Broken(PIXELS).shape  # noqa: B018


# Arithmetic: views that are computed when they are read

F0 = PIXELS.mean(axis=0) + 1
VOLUMES = np.random.default_rng(1).normal(size=(4, 6, 5, 3))

COMPUTED = {
    "minus a number": lambda e: e - 100,
    "a number minus": lambda e: 4000 - e,
    "times a fraction": lambda e: e * 0.5,
    "by an image": lambda e: e / F0,
    "dF/F": lambda e: (e - F0) / F0,
    "an image minus": lambda e: F0 - e,
    "a value for each column": lambda e: e + np.arange(5),
    "a value for each sample": lambda e: e * np.arange(12.0).reshape(12, 1, 1),
    "an array of the whole": lambda e: e - PIXELS[::-1],
    "a number of numpy": lambda e: e * np.float32(0.1),
    "negative": lambda e: -e,
    "absolute": lambda e: abs(e - 2000.0),
    "other operators": lambda e: (e // 7 % 5) ** 2,
    "a function of numpy": lambda e: np.sqrt(np.add(e, 1)),
    "astype": lambda e: e.astype("float32"),
    "astype of another order": lambda e: e.astype(">i4").astype(bool),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_arithmetic_is_that_of_numpy_when_it_is_read(name: str) -> None:
    compute, recording = COMPUTED[name], made(sampling_frequency=5.0)
    lazy, expected = compute(recording), compute(PIXELS)
    assert isinstance(lazy, roi.ImagingExtractor)
    assert (lazy.dtype, lazy.shape) == (expected.dtype.newbyteorder("="), expected.shape)
    np.testing.assert_array_equal(lazy[:], expected)
    assert lazy[:].dtype == lazy.dtype
    np.testing.assert_array_equal(lazy[[7, 2], 1:4, 2], expected[[7, 2], 1:4, 2])
    np.testing.assert_array_equal(lazy.get_samples([7, 2]), expected[[7, 2]])
    np.testing.assert_array_equal(lazy.slice_samples(3, 9).slice_field_of_view(1, 4, 0, 2)[:], expected[3:9, 1:4, :2])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy))[:], expected)
    np.testing.assert_array_equal(lazy.get_timestamps(), recording.get_timestamps())


def test_arithmetic_with_volumes_planes_and_views() -> None:
    recording = roi.NumpyImagingExtractor(VOLUMES, sampling_frequency=5.0)
    scale = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal((recording * scale)[:], VOLUMES * scale)
    np.testing.assert_array_equal((recording * scale).select_plane(2)[:], (VOLUMES * scale)[..., 2])
    np.testing.assert_array_equal((recording.select_plane(1) - F0)[:], VOLUMES[..., 1] - F0)
    part = recording.slice_samples(1, 3).slice_field_of_view(2, 5, 1, 4)
    computed = pickle.loads(pickle.dumps(part / VOLUMES[0, 2:5, 1:4]))
    np.testing.assert_array_equal(computed[:], VOLUMES[1:3, 2:5, 1:4] / VOLUMES[0, 2:5, 1:4])
    assert computed.get_timestamps().tolist() == [0.2, 0.4]


def test_nothing_is_read_and_operands_are_kept_as_they_were() -> None:
    class Counted(roi.NumpyImagingExtractor):
        def get_block(self, samples: Any, *box: Any) -> np.ndarray:
            reads.append(samples)
            return super().get_block(samples, *box)

        def _whole_samples(self, samples: Any) -> np.ndarray:
            reads.append(samples)
            return super()._whole_samples(samples)

    reads: list[Any] = []
    image = F0.copy()
    lazy = (Counted(PIXELS) - image) / image
    image[:] = 1
    assert (lazy.dtype, lazy.shape, reads) == (np.float64, (12, 6, 5), [])
    np.testing.assert_array_equal(lazy[3], (PIXELS[3] - F0) / F0)
    assert reads == [slice(3, 4)]


def test_a_computed_recording_says_so_and_closes_alone() -> None:
    metadata = roi.RecordingMetadata(bit_depth=12, device="Scope")
    recording = made(metadata=metadata)
    lazy = recording * 0.5
    assert (lazy.metadata.device, lazy.metadata.bit_depth) == ("Scope", None)
    assert lazy.get_notes() == lazy.provenance.notes == ("the pixels are computed: multiply(pixels, 0.5)",)
    lazy.close()
    with pytest.raises(roi.ClosedRecordingError):
        lazy[0]
    np.testing.assert_array_equal(recording[0], PIXELS[0])


@pytest.mark.parametrize(
    "compute",
    [
        lambda e: e - e,
        lambda e: np.add.reduce(e),
        lambda e: np.add(e, 1, out=np.empty(e.shape)),
        lambda e: np.isnan(e),
        lambda e: np.less(e, 5),
        lambda e: PIXELS @ e,
        lambda e: np.divmod(e, 2),
        lambda e: np.add(e, [1, 2]),
    ],
)
def test_what_is_not_computed_lazily_names_the_way(compute: Any) -> None:
    with pytest.raises(TypeError, match=r"read the pixels first: recording\[\.\.\.\]"):
        compute(made())


def test_an_image_that_does_not_fit_is_an_error_at_once() -> None:
    for shape in ((7,), (5, 6), (12, 6, 1, 5), (2, 12, 6, 5)):
        with pytest.raises(ValueError, match=r"does not fit a recording of shape \(12, 6, 5\)"):
            made() - np.zeros(shape)
    with pytest.raises(TypeError, match=r"unsupported operand"):
        made() - [1]  # type: ignore[operator]


@pytest.mark.parametrize("other", [5, 0.0, True, np.float32(1), PIXELS, np.array(3)], ids=repr)
def test_a_comparison_with_pixels_is_an_error_and_never_false(other: Any) -> None:
    recording = made()
    for compare in (
        lambda: recording == other,
        lambda: recording != other,
        lambda: recording < other,
        lambda: recording >= other,
        lambda: other == recording,
        lambda: other > recording,
    ):
        with pytest.raises(TypeError, match=r"recording\[\.\.\.\]"):
            compare()


def test_recordings_are_equal_to_themselves_and_work_as_keys() -> None:
    one, other = made(), made()
    assert one == one
    assert one != other
    for none_of_it in (None, "auto", [1, 2]):
        assert one != none_of_it
    assert one not in (None, "auto", other)
    assert {one: 1, other: 2}[one] == 1
    assert len({one, other, one}) == 2
    assert [other, one].index(one) == 1
    with pytest.raises(TypeError, match="not supported between"):
        one < other  # type: ignore[operator]  # noqa: B015


def test_a_computed_recording_is_converted_and_projected_like_any_other(tmp_path: Path) -> None:
    path = roi.convert(made() / F0, tmp_path / "ratio.npy")
    np.testing.assert_array_equal(np.load(path), PIXELS / F0)
    np.testing.assert_allclose(roi.projections(made() - 1000.0).mean, PIXELS.mean(axis=0) - 1000)
    pytest.importorskip("dask.array")
    np.testing.assert_array_equal((made() / F0).to_dask().compute(), PIXELS / F0)


# Arrays in memory that are sent to other processes


def pickled(recording: Any) -> None:
    """Pickle without copying the arrays."""
    pickle.dumps(recording, protocol=5, buffer_callback=lambda buffer: None)


def test_a_large_array_in_memory_warns_when_it_is_pickled_and_not_when_it_is_copied() -> None:
    large = roi.NumpyImagingExtractor(np.zeros((100, 1000, 1000), np.uint8))
    half = roi.NumpyImagingExtractor(np.zeros((50, 1000, 1000), np.uint8))
    for recording in (large, large.slice_samples(0, 2), large * 2.0, roi.concatenate([half, large])):
        with pytest.warns(roi.RoiExtractorsWarning, match=r"95\.4 MiB.*roiextractors_core\.convert and open the file"):
            pickled(recording)
    masks = np.zeros((6, 5, 2))
    masks[1:3, 1:3] = 1
    with pytest.warns(roi.RoiExtractorsWarning, match="its pickle contains no pixels"):
        pickled(roi.NumpySegmentationExtractor(masks, np.zeros((6_250_000, 2))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickled(half)
        one = made(sampling_frequency=3.0)
        np.testing.assert_array_equal(copy.deepcopy(one)[:], PIXELS)
        again = copy.deepcopy(large.slice_samples(0, 2))
        assert again.shape == (2, 1000, 1000)
        copied = copy.deepcopy(large)
        copied.override_sampling_frequency(5.0)
    assert large.sampling_frequency is None


# Every stream


def test_all_streams_open_by_name(tmp_path: Path) -> None:
    registry = roi.Registry()
    roi.register(Streams, name="streams", extensions=(".txt",), registry=registry)
    path = tmp_path / "movie.txt"
    path.write_text("x")
    with roi.open_all(path, registry=registry) as recordings:
        assert list(recordings) == ["green, plane 0", "green, plane 1", "red, plane 0"]
        assert [r.get_metadata().vendor for r in recordings.values()] == [
            {"channel": "green", "plane": "0"},
            {"channel": "green", "plane": "1"},
            {"channel": "red", "plane": "0"},
        ]
        assert recordings["red, plane 0"].provenance.options == {"channel": "red", "plane": "0"}
        one = recordings["green, plane 1"]
    with pytest.raises(roi.ClosedRecordingError):
        one[0]
    assert list(roi.open_all(path, registry=registry, channel="green")) == ["plane 0", "plane 1"]
    assert list(roi.open_all(path, registry=registry, plane="0")) == ["green", "red"]
    with pytest.raises(roi.UnknownOptionError, match="chanel"):
        roi.open_all(path, registry=registry, chanel="green")
    with pytest.raises(roi.SourceNotFoundError):
        roi.open_all(tmp_path / "nothing.txt", registry=registry)


def test_a_recording_without_streams_has_the_name_of_its_channel_or_file(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", PIXELS)
    assert list(roi.open_all(tmp_path / "movie.npy", sampling_frequency=3.0)) == ["movie.npy"]


def test_nothing_stays_open_when_one_stream_fails(tmp_path: Path) -> None:
    registry = roi.Registry()
    roi.register(OneIsBroken, name="broken", extensions=(".txt",), registry=registry)
    path = tmp_path / "movie.txt"
    path.write_text("x")
    OneIsBroken.opened.clear()
    with pytest.raises(roi.CorruptRecordingError, match="red is damaged"):
        roi.open_all(path, registry=registry)
    assert len(OneIsBroken.opened) == 1
    with pytest.raises(roi.ClosedRecordingError):
        OneIsBroken.opened[0][0]


class Streams(roi.NumpyImagingExtractor):
    """Two channels, of which one has two planes that are opened one by one."""

    def __init__(self, file_path: Any, *, channel: str | None = None, plane: str | None = None) -> None:
        super().__init__(PIXELS, metadata=roi.RecordingMetadata(vendor={"channel": channel, "plane": plane}))

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        planes = ("0",) if options.get("channel") == "red" else ("0", "1")
        return {"channel": ("green", "red"), "plane": planes}


class OneIsBroken(Streams):
    opened: list[Any] = []

    def __init__(self, file_path: Any, *, channel: str | None = None) -> None:
        super().__init__(file_path, channel=channel)
        if channel == "red":
            raise roi.CorruptRecordingError("red is damaged")
        self.opened.append(self)

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        return {"channel": ("green", "red")}

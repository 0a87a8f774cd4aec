"""Extractors that each break one rule, with the tests of the kit that must fail for it and what these must say.

A fault is a class and what is told of it by ``@planted``: the layout of the recording, what the declaration says
otherwise, the tests that fail, all of them, and words that one of their messages contains.
"""

from __future__ import annotations

import functools
import mmap
import os
import pickle
import struct
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import roiextractors_core as roi
from roiextractors_core.io import PositionedFile, ProcessLock, warn

from .sound import FIELDS, HEADER_BYTES, PIXEL, Beside, Delayed, Folder, Numbered, Planted, Raw, Session

__all__ = ["FAULTS", "Fault", "planted"]

FAULTS: dict[str, Fault] = {}


@dataclass(frozen=True)
class Fault:
    """One class, and what must come of it."""

    kind: type
    layout: str
    fails: tuple[str, ...]
    says: str
    declares: dict[str, Any] = field(default_factory=dict)
    wide: bool = False


def planted(
    *fails: str, says: str, layout: str = "planar", wide: bool = False, **declares: Any
) -> Callable[[type], type]:
    """Plant a fault; a wide one breaks so much that further tests may fail with those that are named."""

    def mark(kind: type) -> type:
        FAULTS[kind.__name__] = Fault(kind, layout, fails, says, declares, wide)
        return kind

    return mark


# Ranges


@planted("test_the_format_is_found_without_being_named", says="expected", wide=True)
class TheLastFrameIsTheOneBefore(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        found = super().get_series(start_sample, end_sample)
        if len(found) > 1 and end_sample in (None, self._num_samples):
            found[-1] = found[-2]
        return found


@planted("test_the_end_of_a_range_is_exclusive", says="expected", wide=True)
class OnlyTheVeryLastFrameAloneIsWrong(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        if start == end - 1 == self._num_samples - 1:
            return super().get_series(start - 1, end - 1)
        return super().get_series(start, end)


@planted("test_the_end_of_a_range_is_exclusive", says="resolve_range", wide=True)
class TheEndIsInclusive(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        return super().get_series(start, min(end + 1, self._num_samples))


@planted(
    "test_it_is_indexed_as_an_array",
    "test_samples_come_in_any_order_and_as_often_as_asked",
    says="get_samples",
)
class TheEndIsInclusiveInGetSamplesAlone(Planted):
    def get_samples(self, sample_indices: Any) -> np.ndarray:
        indices = self.resolve_indices(sample_indices)
        if len(indices) > 1 and (np.diff(indices) == 1).all():
            return self.get_series(indices[0], min(indices[-1] + 2, self._num_samples))
        return super().get_samples(indices)


@planted("test_a_range_outside_is_refused", "test_reading_changes_nothing", says="was not refused")
class ARangeThatIsTooLongIsCutInSilence(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        if isinstance(end_sample, int | np.integer):
            end_sample = min(int(end_sample), self._num_samples)
        return super().get_series(start_sample, end_sample)


@planted("test_a_negative_range_is_refused", says="resolve_range")
class ANegativeStartCountsFromTheEnd(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        if isinstance(start_sample, int | np.integer) and start_sample < 0:
            start_sample += self._num_samples
        return super().get_series(start_sample, end_sample)


@planted("test_a_reversed_range_is_refused", says="resolve_range")
class AReversedRangeIsEmpty(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        if isinstance(start_sample, int) and isinstance(end_sample, int) and 0 <= end_sample < start_sample:
            end_sample = start_sample
        return super().get_series(start_sample, end_sample)


@planted(
    "test_a_reversed_range_is_refused",
    "test_an_empty_range_keeps_shape_and_dtype",
    "test_zero_means_zero",
    says="resolve_range",
)
class ZeroMeansTheWhole(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        return super().get_series(start_sample or None, end_sample or None)


@planted(
    "test_a_block_is_the_part_that_was_asked_for",
    "test_a_slice_of_samples_is_the_same_data",
    "test_an_empty_range_keeps_shape_and_dtype",
    "test_the_end_of_a_range_is_exclusive",
    "test_zero_means_zero",
    says="empty range",
)
class AnEmptyRangeIsAFlatArray(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        found = super().get_series(start_sample, end_sample)
        return found if len(found) else np.array([])


@planted("test_what_is_no_integer_is_refused", says="resolve_range")
class FloatsAreCutToIntegers(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        return super().get_series(
            *(int(b) if isinstance(b, float) and b == b else b for b in (start_sample, end_sample))
        )


@planted("test_what_is_no_integer_is_refused", says="resolve_indices")
class FloatIndicesAreCutToIntegers(Planted):
    def get_samples(self, sample_indices: Any) -> np.ndarray:
        return super().get_samples(np.asarray(sample_indices).astype(np.int64))


@planted("test_a_sample_outside_is_refused", says="resolve_indices")
class NegativeIndicesCountFromTheEnd(Planted):
    def get_samples(self, sample_indices: Any) -> np.ndarray:
        indices = np.asarray(sample_indices)
        if indices.dtype.kind == "i":
            indices = np.where((indices < 0) & (indices >= -self._num_samples), indices + self._num_samples, indices)
        return super().get_samples(indices)


@planted(
    "test_a_negative_range_is_refused",
    "test_a_range_outside_is_refused",
    "test_a_reversed_range_is_refused",
    says="the number of samples",
)
class TheErrorDoesNotSayWhatWasAsked(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        try:
            return super().get_series(start_sample, end_sample)
        except roi.RangeError:
            raise roi.RangeError("out of range") from None


@planted(
    "test_a_negative_range_is_refused",
    "test_a_range_outside_is_refused",
    "test_a_reversed_range_is_refused",
    "test_reading_changes_nothing",
    says="RangeError",
)
class TheErrorIsAnIndexErrorOfAnotherKind(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        try:
            return super().get_series(start_sample, end_sample)
        except roi.RangeError as error:
            raise IndexError(str(error)) from None


@planted("test_numpy_integers_are_integers", says="OverflowError was raised")
class OffsetsAreComputedInTheTypeOfTheBound(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        self.resolve_range(start_sample, end_sample)
        if isinstance(start_sample, np.uint8):
            start_sample * self._frame_bytes
        return super().get_series(start_sample, end_sample)


# Samples by index


@planted(
    "test_a_block_is_the_part_that_was_asked_for",
    "test_it_can_be_read_from_several_threads",
    "test_numpy_integers_are_integers",
    "test_samples_come_in_any_order_and_as_often_as_asked",
    says="get_samples",
)
class RepeatsAreReadOnce(Planted):
    def get_samples(self, sample_indices: Any) -> np.ndarray:
        indices = self.resolve_indices(sample_indices)
        _, first = np.unique(indices, return_index=True)
        return super().get_samples(indices[np.sort(first)])


@planted(
    "test_a_block_is_the_part_that_was_asked_for",
    "test_a_slice_of_samples_is_the_same_data",
    "test_it_can_be_read_from_several_threads",
    "test_numpy_integers_are_integers",
    "test_samples_come_in_any_order_and_as_often_as_asked",
    "test_what_was_read_elsewhere_or_earlier_is_not_given_out",
    says="get_samples",
)
class SamplesComeSorted(Planted):
    def get_samples(self, sample_indices: Any) -> np.ndarray:
        return super().get_samples(np.sort(self.resolve_indices(sample_indices)))


@planted(
    "test_a_block_is_the_part_that_was_asked_for",
    "test_samples_come_in_any_order_and_as_often_as_asked",
    "test_the_same_question_gets_an_array_of_its_own_each_time",
    says="changed the indices",
)
class TheIndicesAreSortedInPlace(Planted):
    def get_samples(self, sample_indices: Any) -> np.ndarray:
        found = self.resolve_indices(sample_indices)
        result = super().get_samples(found)
        given = np.asarray(sample_indices)
        if given.ndim == 1 and given.dtype == np.int64 and given.flags.writeable:
            given.sort()
        return result


@planted(
    "test_it_can_be_read_from_several_threads",
    "test_samples_come_in_any_order_and_as_often_as_asked",
    says="changed the indices",
)
class AListOfIndicesIsSortedInPlace(Planted):
    def get_samples(self, sample_indices: Any) -> np.ndarray:
        result = super().get_samples(sample_indices)
        if isinstance(sample_indices, list):
            sample_indices.sort()
        return result


@planted("test_samples_come_in_any_order_and_as_often_as_asked", says="read-only")
class IndicesMustBeWritable(Planted):
    def get_samples(self, sample_indices: Any) -> np.ndarray:
        if isinstance(sample_indices, np.ndarray):
            sample_indices[...] = sample_indices.copy()
        return super().get_samples(sample_indices)


@planted(
    "test_a_block_is_the_part_that_was_asked_for",
    "test_the_same_question_gets_an_array_of_its_own_each_time",
    says="get_block changed the array",
)
class GetBlockSortsItsIndices(Planted):
    def get_block(self, samples: Any, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        found = super().get_block(samples, rows, columns, planes)
        if isinstance(samples, np.ndarray):
            samples.sort()
        return found


# Results


@planted(
    "test_a_later_read_does_not_change_an_earlier_result",
    "test_it_can_be_read_from_several_threads",
    "test_the_same_question_gets_an_array_of_its_own_each_time",
    says="numpy.array(part",
)
class ABufferIsKeptAndReturnedAgain(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        found = super().get_series(start_sample, end_sample)
        if getattr(self, "_buffer", None) is None or self._buffer.shape != found.shape:
            self._buffer = np.empty_like(found)
        self._buffer[...] = found
        return self._buffer


@planted(
    "test_it_can_be_read_from_several_threads",
    "test_the_same_question_gets_an_array_of_its_own_each_time",
    says="the same memory twice",
)
class TheLastAnswerIsKept(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        if getattr(self, "_last", (None, None))[0] != (start, end):
            self._last = ((start, end), super().get_series(start, end))
        return self._last[1]


@planted("test_results_are_writable_arrays_in_native_byte_order", says="expected a plain numpy.ndarray")
class AWindowOfTheMapIsReturned(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        shape = (self._num_samples, *self.get_sample_shape())
        return np.memmap(self._file.path, PIXEL, "c", self._frames_at, shape)[start:end]


@planted("test_results_are_writable_arrays_in_native_byte_order", says="window onto a memory-mapped file")
class AnArrayOverAMapIsReturned(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        with self._file.path.open("rb") as stream:
            window = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        whole = np.frombuffer(window, PIXEL, offset=self._frames_at)
        return whole.reshape(self._num_samples, *self.get_sample_shape())[start:end]


@planted(
    "test_results_are_writable_arrays_in_native_byte_order",
    "test_the_same_question_gets_an_array_of_its_own_each_time",
    says="read-only",
)
class ResultsAreReadOnly(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        found = super().get_series(start_sample, end_sample)
        found.flags.writeable = False
        return found


@planted(
    "test_an_empty_range_keeps_shape_and_dtype",
    "test_results_are_writable_arrays_in_native_byte_order",
    "test_the_dtype_is_that_of_the_samples_in_native_byte_order",
    says="byte order",
)
class ResultsAreBigEndian(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        found = super().get_series(start_sample, end_sample)
        return found.astype(found.dtype.newbyteorder(">"))


@planted(
    "test_an_empty_range_keeps_shape_and_dtype",
    "test_results_are_writable_arrays_in_native_byte_order",
    "test_the_dtype_is_that_of_the_samples_in_native_byte_order",
    says="byte order",
)
class TheDtypeIsBigEndianToo(ResultsAreBigEndian):
    def get_dtype(self) -> np.dtype[Any]:
        return PIXEL.newbyteorder(">")


@planted("test_results_are_writable_arrays_in_native_byte_order", says="expected a plain numpy.ndarray")
class ResultsAreMasked(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> Any:
        return np.ma.asarray(super().get_series(start_sample, end_sample))


@planted(
    "test_an_empty_range_keeps_shape_and_dtype",
    "test_the_dtype_is_that_of_the_samples_in_native_byte_order",
    says="one dtype from every read",
)
class SamplesByIndexAreFloats(Planted):
    def get_samples(self, sample_indices: Any) -> np.ndarray:
        return super().get_samples(sample_indices).astype(np.float64)


@planted(
    "test_a_later_read_does_not_change_an_earlier_result",
    "test_memory_is_bounded_by_the_request",
    "test_no_more_is_read_than_was_asked_for",
    "test_the_same_question_gets_an_array_of_its_own_each_time",
    says="the same memory twice",
)
class TheWholeIsKeptAndGivenOut(Planted):
    @functools.cached_property
    def _whole(self) -> np.ndarray:
        return super().get_series()

    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        return self._whole[start:end]


# Shape and type


@planted("test_the_shape_is_samples_rows_columns_planes", says="rows come before columns", wide=True)
class RowsAndColumnsAreExchanged(Planted):
    def get_image_shape(self) -> tuple[int, int]:
        return self._columns, self._rows


@planted("test_the_format_is_found_without_being_named", says="has shape", layout="volumes", wide=True)
class PlanesComeFirst(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(super().get_series(start_sample, end_sample), -1, 1))


@planted("test_the_shape_is_samples_rows_columns_planes", says="self.is_volumetric = True", layout="volumes", wide=True)
class VolumesAreNotSaidToBeVolumes(Planted):
    def _read_header(self, file: PositionedFile) -> None:
        super()._read_header(file)
        self.is_volumetric = False


@planted("test_the_shape_is_samples_rows_columns_planes", says="something other than integers")
class TheNumberOfSamplesIsAFloat(Planted):
    def get_num_samples(self) -> Any:
        return float(self._num_samples)


@planted("test_the_shape_is_samples_rows_columns_planes", says="shape is (39, 48, 64)", wide=True)
class TheLastFrameIsDroppedInSilence(Planted):
    def _read_header(self, file: PositionedFile) -> None:
        super()._read_header(file)
        self._num_samples -= 1


@planted("test_dtype_shape_and_repr_read_no_pixels", says="override get_dtype")
class TheDtypeReadsAFrame(Planted):
    def get_dtype(self) -> np.dtype[Any]:
        return self.get_series(0, 1).dtype


@planted(
    "test_dtype_shape_and_repr_read_no_pixels",
    "test_memory_is_bounded_by_the_request",
    "test_no_more_is_read_than_was_asked_for",
    says="from the disk",
)
class TheDtypeReadsTheFileBehindTheBack(Planted):
    def get_dtype(self) -> np.dtype[Any]:
        self._file.read(0, 1 << 20)
        return super().get_dtype()


@planted(
    "test_the_dtype_is_that_of_the_samples_in_native_byte_order",
    "test_an_empty_range_keeps_shape_and_dtype",
    says="get_dtype() is int16",
)
class TheDtypeIsAnother(Planted):
    def get_dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int16)


# Parts and views


@planted("test_a_block_is_the_part_that_was_asked_for", says="fix get_block")
class APartOfTheColumnsBeginsTooFarLeft(Planted):
    def get_block(self, samples: Any, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        if columns.start > 0 and columns.stop < self._columns:
            columns = slice(columns.start - 1, columns.stop - 1)
        return super().get_block(samples, rows, columns, planes)


@planted(
    "test_a_block_is_the_part_that_was_asked_for",
    "test_a_plane_is_what_was_recorded",
    "test_it_is_indexed_as_an_array",
    "test_views_of_views_compose",
    says="fix get_block",
    layout="volumes",
)
class PartsIgnoreThePlanes(Planted):
    def get_block(self, samples: Any, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        assert planes is not None
        return super().get_block(samples, rows, columns, slice(0, planes.stop - planes.start))


@planted("test_a_block_is_the_part_that_was_asked_for", "test_a_slice_of_samples_is_the_same_data", says="get_block")
class PartsOfUnorderedSamplesComeSorted(Planted):
    def get_block(self, samples: Any, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        if isinstance(samples, np.ndarray):
            samples = np.sort(samples)
        return super().get_block(samples, rows, columns, planes)


@planted("test_a_slice_keeps_its_place_in_time", "test_the_users_times_win", says="to the base class")
class SlicesForgetTheirOffset(Planted):
    def slice_samples(self, start_sample: Any = None, end_sample: Any = None) -> Any:
        found = super().slice_samples(start_sample, end_sample)
        found.set_times(np.arange(len(found)) / (self._rate or 1.0))
        return found


# Clock


@planted("test_the_rate_is_the_files_own", "test_times_are_native_before_computed", says="unrounded")
class TheRateIsRounded(Planted):
    def get_sampling_frequency(self) -> float:
        return float(round(self._rate))


@planted(
    "test_the_rate_is_the_files_own",
    "test_times_are_native_before_computed",
    says="an invented rate is worse than none",
    layout="unknown rate",
)
class AnUnknownRateIsInvented(Planted):
    def get_sampling_frequency(self) -> float:
        return self._rate or 30.0


@planted(
    "test_a_rate_that_cannot_be_is_refused",
    "test_the_class_itself_takes_the_users_rate",
    "test_the_users_rate_wins",
    says="pass sampling_frequency",
)
class TheUsersRateIsLeftOut(Planted):
    def override_sampling_frequency(self, sampling_frequency: float) -> None:
        if not 0 < sampling_frequency < float("inf"):
            super().override_sampling_frequency(sampling_frequency)


@planted(
    "test_a_cut_recording_is_told_and_never_garbage",
    "test_rates_are_in_hz_and_times_in_seconds",
    "test_the_native_times_are_the_hardwares",
    "test_times_are_native_before_computed",
    says="seconds, float64",
    layout="timed",
)
class NativeTimesAreWholeNumbers(Planted):
    def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> Any:
        found = super().get_native_timestamps(start_sample, end_sample)
        return None if found is None else found.astype(np.int64)


@planted(
    "test_a_slice_keeps_its_place_in_time",
    "test_the_native_times_are_the_hardwares",
    "test_times_are_native_before_computed",
    says="get_native_timestamps",
    layout="timed",
)
class NativeTimesIgnoreTheStart(Planted):
    def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> Any:
        start, end = self.resolve_range(start_sample, end_sample)
        return super().get_native_timestamps(0, end - start)


@planted(
    "test_a_cut_recording_is_told_and_never_garbage",
    "test_rates_are_in_hz_and_times_in_seconds",
    "test_the_native_times_are_the_hardwares",
    "test_times_are_native_before_computed",
    says="get_native_timestamps",
    layout="timed",
)
class NativeTimesAreInMilliseconds(Planted):
    def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> Any:
        found = super().get_native_timestamps(start_sample, end_sample)
        return None if found is None else found * 1000


@planted("test_the_same_question_gets_an_array_of_its_own_each_time", says="same memory", layout="timed")
class NativeTimesAreThoseThatAreKept(Planted):
    @functools.cached_property
    def _kept(self) -> Any:
        return super().get_native_timestamps()

    def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> Any:
        start, end = self.resolve_range(start_sample, end_sample)
        return self._kept[start:end]


@planted(
    "test_a_cut_recording_is_told_and_never_garbage",
    "test_a_slice_keeps_its_place_in_time",
    "test_a_time_finds_its_sample",
    "test_the_users_times_win",
    "test_times_are_native_before_computed",
    says="times_source",
    layout="timed",
)
class ComputedTimesComeBeforeNative(Planted):
    def get_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        return np.arange(start, end) / (self.get_sampling_frequency() or 1.0)


@planted("test_reading_changes_nothing", "test_two_openings_do_not_disturb_each_other", says="before reading")
class ReadingSetsTheTimes(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        found = super().get_series(start_sample, end_sample)
        if not self.has_time_vector():
            self.set_times(np.arange(self._num_samples) / self._rate)
        return found


@planted("test_the_users_times_win", says="set_times")
class TheUsersTimesAreKeptAsGiven(Planted):
    _given: Any = None

    def set_times(self, times: Any) -> None:
        super().set_times(times)
        self._given = times

    def get_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        if self._given is None:
            return super().get_timestamps(start_sample, end_sample)
        return np.array(self._given[start_sample:end_sample], float)


@planted("test_a_time_finds_its_sample", says="time_to_sample_indices")
class TimesFindTheSampleAfterThem(Planted):
    def time_to_sample_indices(self, times: Any) -> Any:
        return np.minimum(np.searchsorted(self.get_timestamps(), times), self._num_samples - 1)


# Streams


@planted("test_another_choice_gives_other_pixels", says="read the channel that was chosen", layout="channels")
class TheChannelIsIgnored(Planted):
    def _chosen(self, channel: str | None) -> int:
        super()._chosen(channel)
        return 1


@planted("test_of_several_channels_one_must_be_chosen", says="for_option", layout="channels")
class TheFirstChannelIsTakenInSilence(Planted):
    def _chosen(self, channel: str | None) -> int:
        return super()._chosen("1" if channel is None else channel)


@planted("test_an_unknown_stream_is_refused", says="for_option", layout="channels")
class AnUnknownChannelIsTheFirst(Planted):
    def _chosen(self, channel: str | None) -> int:
        return super()._chosen(channel if channel in (None, "1", "2", "3") else "1")


@planted(
    "test_another_choice_gives_other_pixels",
    "test_every_stream_can_be_opened",
    "test_the_metadata_names_the_channel_that_was_chosen",
    says="take every name that get_streams gives",
    layout="channels",
)
class ListedNamesAreRefused(Planted):
    def _chosen(self, channel: str | None) -> int:
        if channel == "3":
            raise roi.UnsupportedRecordingError("channel 3 is none")
        return super()._chosen(channel)


@planted("test_the_streams_are_those_of_the_recording", says="get_streams", layout="channels")
class TheListOfStreamsIsShort(Planted):
    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        found = super().get_streams(file_path, **options)
        return {key: values[:-1] for key, values in found.items()}


@planted(
    "test_no_file_stays_open",
    "test_opening_writes_nothing_and_runs_nothing_from_the_file",
    "test_the_source_is_untouched",
    "test_the_streams_are_those_of_the_recording",
    says="KeyError was raised",
    layout="channels",
)
class ListingStreamsFails(Planted):
    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        raise KeyError("streams")


# Metadata


@planted("test_the_metadata_serialises", says="expected a number, text, a date, a list")
class TheVendorsHeaderHoldsObjects(Planted):
    def get_metadata(self) -> roi.RecordingMetadata:
        return super().get_metadata().replaced(vendor={"file": self._file})


@planted("test_the_metadata_is_in_the_units_of_ome", says="no microscope")
class PixelsAreMeasuredInMetres(Planted):
    def get_metadata(self) -> roi.RecordingMetadata:
        return super().get_metadata().replaced(pixel_size=(5e-7, 5e-7))


@planted(
    "test_the_declaration_agrees_with_the_recording",
    "test_the_metadata_is_in_the_units_of_ome",
    says="expected a datetime",
)
class TheStartIsText(Planted):
    def get_metadata(self) -> roi.RecordingMetadata:
        return super().get_metadata().replaced(start_time="yesterday")


@planted("test_the_declaration_agrees_with_the_recording", says="name it in metadata=")
class MoreMetadataThanDeclared(Planted):
    def get_metadata(self) -> roi.RecordingMetadata:
        return super().get_metadata().replaced(device="a microscope")


@planted("test_reading_changes_nothing", "test_the_metadata_serialises", says="from one call to the next")
class MetadataCountsItsCalls(Planted):
    _calls = 0

    def get_metadata(self) -> roi.RecordingMetadata:
        self._calls += 1
        return super().get_metadata().replaced(vendor={"calls": self._calls})


@planted("test_the_provenance_says_where_it_came_from", says="a tuple of sentences")
class NotesAreAList(Planted):
    def get_notes(self) -> Any:
        return ["a note"]


# Pickling, threads, files, memory


@planted("test_it_pickles_into_a_fresh_process", says="contains pixels")
class PixelsArePickled(Planted):
    def __reduce__(self) -> Any:
        return (_unpickled, (type(self), str(self._file.path), self.get_series(0, 2)))


def _unpickled(kind: type, path: str, pixels: Any) -> Any:
    return kind(path)


@planted("test_it_pickles_into_a_fresh_process", says="more than opening it again needs")
class CompressedPixelsArePickled(Planted):
    def __reduce__(self) -> Any:
        return (_unpickled, (type(self), str(self._file.path), b"\0" * 200_000))


@planted("test_it_pickles_into_a_fresh_process", says="does not pickle")
class ALockIsPickled(Planted):
    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle '_thread.lock' object")


@planted("test_it_pickles_into_a_fresh_process", says="after pickling")
class ThePickleForgetsTheUsersTimes(Planted):
    def __reduce__(self) -> Any:
        return (type(self), (str(self._file.path),))


class _Seeking(Planted):
    """Keeps a stream open and moves about in it."""

    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        super().__init__(file_path, channel=channel, sampling_frequency=sampling_frequency)
        self._stream: Any = None

    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        if self._stream is None:
            self._stream = open(self._file.path, "rb")  # noqa: SIM115 - a fault
        return self._sought(start, end).reshape(end - start, *self.get_sample_shape())

    def _sought(self, start: int, end: int) -> np.ndarray:
        self._stream.seek(self._offset(start))
        return np.frombuffer(bytearray(self._stream.read((end - start) * self._frame_bytes)), PIXEL)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        super().close()

    def __del__(self) -> None:
        if getattr(self, "_stream", None) is not None:
            self._stream.close()


@planted("test_it_can_be_read_from_several_threads", says="share no position")
class ThreadsShareOnePosition(_Seeking):
    pass


@planted("test_it_can_be_read_from_several_threads", says="share no position")
class ThreadsShareOnePositionInOneLine(_Seeking):
    def _sought(self, start: int, end: int) -> np.ndarray:
        count = (end - start) * self._frame_bytes
        return np.frombuffer(bytearray((self._stream.seek(self._offset(start)), self._stream.read(count))[1]), PIXEL)


@planted("test_it_can_be_read_from_several_threads", says="share no position")
class ThreadsShareOneBuffer(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        self._shared = super().get_series(start_sample, end_sample)
        return self._shared.copy()


@planted("test_forked_processes_read_each_for_itself", says="a place in a file that was opened before is shared")
class ForksShareOnePosition(_Seeking):
    """Sound in threads."""

    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        super().__init__(file_path, channel=channel, sampling_frequency=sampling_frequency)
        self._lock = ProcessLock()

    def _sought(self, start: int, end: int) -> np.ndarray:
        with self._lock:
            self._stream.seek(self._offset(start))
            time.sleep(1e-3)
            return np.frombuffer(bytearray(self._stream.read((end - start) * self._frame_bytes)), PIXEL)


@planted(
    "test_forked_processes_read_each_for_itself",
    says="one raised what its parent does not raise alone, ValueError: a short read\n  to do: read at given offsets",
)
class AForkIsNotReadable(Planted):
    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        super().__init__(file_path, channel=channel, sampling_frequency=sampling_frequency)
        self._parent = os.getpid()

    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        if os.getpid() != self._parent:
            raise ValueError("a short read")
        return super().get_series(start_sample, end_sample)


@planted("test_forked_processes_read_each_for_itself", says="waited forever")
class ForksWaitForALock(Planted):
    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        super().__init__(file_path, channel=channel, sampling_frequency=sampling_frequency)
        self._lock, self._parent = threading.Lock(), os.getpid()

    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        if os.getpid() != self._parent:
            self._lock.acquire()  # as one that a thread of the parent held
        with self._lock:
            return super().get_series(start_sample, end_sample)


@planted("test_no_file_stays_open", says="close()")
class TheFileStaysOpenAfterClosing(_Seeking):
    def close(self) -> None:
        Planted.close(self)

    def _sought(self, start: int, end: int) -> np.ndarray:
        return np.frombuffer(
            bytearray(os.pread(self._stream.fileno(), (end - start) * self._frame_bytes, self._offset(start))), PIXEL
        )


@planted("test_a_cut_recording_is_told_and_never_garbage", says="when it raises")
class TheFileStaysOpenWhenOpeningFails(Planted):
    _left: list[Any] = []

    def _check_size(self, file: PositionedFile) -> None:
        stream = open(file.path, "rb")  # noqa: SIM115 - a fault
        try:
            super()._check_size(file)
        except roi.RoiExtractorsError:
            self._left.append(stream)
            raise
        stream.close()


@planted("test_no_file_stays_open", says="use `with` in get_streams")
class ListingStreamsLeavesTheFileOpen(Planted):
    _left: list[Any] = []

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        cls._left.append(open(file_path, "rb"))  # noqa: SIM115 - a fault
        return super().get_streams(file_path, **options)


@planted("test_reading_after_closing_is_refused", says="check_open")
class AClosedRecordingGoesOn(Planted):
    def close(self) -> None:
        self._file.close()


@planted("test_reading_after_closing_is_refused", says="get_block of one pixel after close()")
class AClosedRecordingGivesBlocks(Planted):
    def get_block(self, samples: Any, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        first = samples.start if isinstance(samples, slice) else int(samples[0])
        if isinstance(samples, slice) and samples.stop - samples.start == 1:
            frame = self._file.read_array(self._offset(first), (1, *self.get_sample_shape()), PIXEL)
            wanted = (rows, columns) if planes is None else (rows, columns, planes)
            return frame[(slice(None), *wanted)].astype(self.get_dtype())
        return super().get_block(samples, rows, columns, planes)


@planted(
    "test_memory_is_bounded_by_the_request", "test_no_more_is_read_than_was_asked_for", says="when it is asked for"
)
class TheWholeFileIsReadForOneFrame(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        whole = super().get_series()
        return whole[start:end].copy()


@planted("test_no_more_is_read_than_was_asked_for", says="compute the offsets of the samples")
class TheWholeFileIsReadThroughForOneFrame(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        for sample in range(self._num_samples):
            self._file.read(self._offset(sample), self._frame_bytes)
        return super().get_series(start, end)


@planted("test_memory_is_bounded_by_the_request", says="when it is asked for")
class EverythingIsReadAtOpening(Planted):
    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        super().__init__(file_path, channel=channel, sampling_frequency=sampling_frequency)
        self._all = super().get_series()

    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        return self._all[start:end].copy()


@planted("test_memory_is_bounded_by_the_request", says="keep none of it")
class EveryFrameThatWasReadIsKept(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        if not hasattr(self, "_kept"):
            self._kept: dict[int, np.ndarray] = {}
        for sample in range(start, end):
            if sample not in self._kept:
                self._kept[sample] = super().get_series(sample, sample + 1)
        frames = [self._kept[sample] for sample in range(start, end)]
        return np.concatenate(frames) if frames else super().get_series(start, end)


@functools.cache
def _frame_number(sample: int, path: str, offset: int, count: int) -> bytes:
    return PositionedFile(path).read(offset, count)


_BY_NUMBER: dict[int, np.ndarray] = {}
_BY_PATH: dict[tuple[str, int], np.ndarray] = {}


@planted("test_what_was_read_elsewhere_or_earlier_is_not_given_out", says="in no cache of the class or the module")
class FramesAreKeptForAllRecordings(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        result = super().get_series(start, end)
        for place, sample in enumerate(range(start, end)):
            result[place] = _BY_NUMBER.setdefault(sample, result[place].copy())
        return result


@planted(
    "test_memory_is_bounded_by_the_request",
    "test_what_was_read_elsewhere_or_earlier_is_not_given_out",
    says="in no cache of the class or the module",
)
class FramesAreKeptByPath(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        result = super().get_series(start, end)
        for place, sample in enumerate(range(start, end)):
            result[place] = _BY_PATH.setdefault((str(self._file.path), sample), result[place].copy())
        return result


@planted(
    "test_it_pickles_into_a_fresh_process",
    "test_times_are_native_before_computed",
    "test_two_openings_do_not_disturb_each_other",
    says="on the object, and not on the class",
)
class TheRateIsKeptOnTheClass(Planted):
    def override_sampling_frequency(self, sampling_frequency: float) -> None:
        super().override_sampling_frequency(sampling_frequency)
        type(self)._users = sampling_frequency

    def get_sampling_frequency(self) -> float:
        return getattr(type(self), "_users", self._rate)


@planted(
    "test_opening_writes_nothing_and_runs_nothing_from_the_file", "test_the_source_is_untouched", says="for writing"
)
class AnIndexIsWrittenBesideTheFile(Planted):
    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        super().__init__(file_path, channel=channel, sampling_frequency=sampling_frequency)
        Path(f"{file_path}.idx").write_bytes(b"index")


@planted("test_opening_writes_nothing_and_runs_nothing_from_the_file", says="for writing")
class ALockIsLaidDownAndTakenUp(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        lock = self._file.path.with_name(".lock")
        lock.write_bytes(b"")
        try:
            return super().get_series(start_sample, end_sample)
        finally:
            lock.unlink(missing_ok=True)


@planted(
    "test_opening_writes_nothing_and_runs_nothing_from_the_file", "test_the_source_is_untouched", says="write nothing"
)
class TheModificationTimeIsTouched(Planted):
    def close(self) -> None:
        os.utime(self._file.path)
        super().close()


@planted("test_opening_writes_nothing_and_runs_nothing_from_the_file", says="for writing")
class ALogIsWrittenWhereItIsOpened(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        Path("planted.log").write_text("read")
        return super().get_series(start_sample, end_sample)


@planted("test_opening_writes_nothing_and_runs_nothing_from_the_file", says="never unpickle")
class AHeaderIsUnpickled(Planted):
    def _read_header(self, file: PositionedFile) -> None:
        super()._read_header(file)
        pickle.loads(b"cbuiltins\nlen\n.")


@planted("test_opening_writes_nothing_and_runs_nothing_from_the_file", says="ran text as code")
class AHeaderIsEvaluated(Planted):
    def _read_header(self, file: PositionedFile) -> None:
        super()._read_header(file)
        eval("1 + 1")  # noqa: S307 - a fault


@planted(
    "test_the_process_is_left_as_it_was",
    "test_importing_and_the_first_opening_leave_the_process_as_it_was",
    says="the state of numpy.random",
)
class TheRandomNumbersAreSeeded(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        np.random.seed(0)  # noqa: NPY002 - a fault
        return super().get_series(start_sample, end_sample)


@planted(
    "test_the_process_is_left_as_it_was",
    "test_importing_and_the_first_opening_leave_the_process_as_it_was",
    says="changed the environment",
)
class TheEnvironmentIsChanged(Planted):
    def close(self) -> None:
        os.environ["PLANTED"] = str(time.monotonic_ns())
        super().close()


@planted("test_the_process_is_left_as_it_was", says="print nothing")
class ReadingPrints(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        print("reading")
        return super().get_series(start_sample, end_sample)


# Damage


@planted("test_a_disk_that_fails_is_an_error_and_the_next_read_is_right", says="contains")
class FramesThatTheDiskFailsToGiveAreZero(Planted):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        try:
            return super().get_series(start_sample, end_sample)
        except roi.SourceReadError:
            start, end = self.resolve_range(start_sample, end_sample)
            return np.zeros((end - start, *self.get_sample_shape()), self.get_dtype())


@planted("test_a_disk_that_fails_is_an_error_and_the_next_read_is_right", says="raised OSError")
class AFailingDiskIsAnOSError(_Seeking):
    def _sought(self, start: int, end: int) -> np.ndarray:
        os.stat(self._file.path)
        count = (end - start) * self._frame_bytes
        with open(self._file.path, "rb") as stream:
            return np.frombuffer(bytearray(os.pread(stream.fileno(), count, self._offset(start))), PIXEL)


@planted("test_a_descriptor_that_failed_is_not_used_again", says="failed again")
class ADescriptorThatFailedIsUsedAgain(_Seeking):
    def _sought(self, start: int, end: int) -> np.ndarray:
        try:
            data = os.pread(self._stream.fileno(), (end - start) * self._frame_bytes, self._offset(start))
        except OSError as error:
            raise roi.SourceReadError(f"{self._file.name} could not be read: {error.strerror}") from error
        return np.frombuffer(bytearray(data), PIXEL)


@planted(
    "test_a_pipe_or_a_device_in_place_of_a_file_is_refused",
    says="with a pipe in place of header.bin",
    layout="folder",
)
class APipeInAFolderIsAStructError(Folder):
    def __init__(self, folder_path: Any, *, sampling_frequency: Any = None) -> None:
        header = Path(folder_path) / "header.bin"
        if header.exists() and not header.is_file():
            with open(os.open(header, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
                FIELDS.unpack(stream.read(FIELDS.size))
        super().__init__(folder_path, sampling_frequency=sampling_frequency)


@planted("test_a_pipe_or_a_device_in_place_of_a_file_is_refused", says="it hangs", layout="folder")
class APipeIsWaitedFor(Folder):
    def __init__(self, folder_path: Any, *, sampling_frequency: Any = None) -> None:
        header = Path(folder_path) / "header.bin"
        if header.exists():
            with open(header, "rb") as stream:
                stream.read(HEADER_BYTES)
        super().__init__(folder_path, sampling_frequency=sampling_frequency)


class _Lenient(Planted):
    def _check_size(self, file: PositionedFile) -> None:
        pass


@planted("test_a_cut_recording_is_told_and_never_garbage", says="is not what was recorded")
class MissingPixelsAreZero(_Lenient):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        frames = []
        for sample in range(start, end):
            seen = self._file.read(self._offset(sample), self._frame_bytes).ljust(self._frame_bytes, b"\0")
            frames.append(np.frombuffer(bytearray(seen), PIXEL).reshape(self.get_sample_shape()))
        return np.stack(frames) if frames else super().get_series(start, end)


@planted("test_a_cut_recording_is_told_and_never_garbage", says="without a notice")
class MissingFramesAreLeftOutInSilence(Planted):
    def _check_size(self, file: PositionedFile) -> None:
        room = file.size - HEADER_BYTES - 8 * self._num_samples * self._timed
        self._num_samples = max(0, min(self._num_samples, room // (self._frame_bytes * self._num_channels)))


@planted("test_a_cut_recording_is_told_and_never_garbage", says="without a notice")
class MissingFramesAreLeftOutInSilenceWhenTheyAreWhole(MissingFramesAreLeftOutInSilence):
    def _check_size(self, file: PositionedFile) -> None:
        room = file.size - HEADER_BYTES - 8 * self._num_samples * self._timed
        if room % self._frame_bytes:
            Planted._check_size(self, file)
        super()._check_size(file)


@planted(
    "test_a_cut_recording_is_told_and_never_garbage",
    "test_what_is_another_format_is_refused_in_words",
    says="not a clear error",
)
class ACutHeaderIsAStructError(Planted):
    def _read_header(self, file: PositionedFile) -> None:
        FIELDS.unpack(file.read(0, FIELDS.size))
        super()._read_header(file)


@planted("test_a_cut_recording_is_told_and_never_garbage", says="did not end within", patience=10.0)
class ACutFileIsReadForEver(_Lenient):
    def _check_size(self, file: PositionedFile) -> None:
        while file.size < HEADER_BYTES + self._num_samples * self._frame_bytes:
            time.sleep(0.05)


# Finding, and what is declared


@planted("test_foreign_files_are_not_claimed", says="narrow evidence=", evidence=roi.Magic(b"\x89"))
class ASignatureOfOneByte(Planted):
    pass


@planted(
    "test_foreign_files_are_not_claimed", says="narrow evidence=", layout="tif", extensions=(".tif",), evidence=None
)
class EveryTifIsClaimed(Planted):
    pass


@planted(
    "test_foreign_files_are_not_claimed",
    says="narrow evidence=",
    layout="tif",
    extensions=(".tif",),
    evidence=roi.Name("*.tif"),
)
class EveryTifIsClaimedByName(Planted):
    pass


@planted(
    "test_foreign_files_are_not_claimed",
    "test_foreign_folders_are_not_claimed",
    "test_the_evidence_does_not_match_random_bytes",
    says="narrow evidence=",
    evidence=roi.Probe("planted.faults:always"),
)
class TheProbeAlwaysSaysYes(Planted):
    pass


def always(source: Any) -> bool:
    return True


@planted(
    "test_foreign_files_are_not_claimed",
    "test_looking_runs_no_extractor",
    says="narrow evidence=",
    evidence=roi.Probe("planted.faults:found_anywhere"),
)
class TheSignatureIsSoughtAnywhere(Planted):
    pass


def found_anywhere(source: Any) -> bool:
    return not source.is_folder and b"\x89PLANTED" in source.read_at(0, 1 << 20)


@planted(
    "test_looking_runs_no_extractor",
    says="bounded parts",
    evidence=roi.Magic(b"\x89PLANTED") & roi.Probe("planted.faults:reads_all"),
)
class TheProbeReadsTheWholeFile(Planted):
    pass


def reads_all(source: Any) -> bool:
    return len(Path(source.path).read_bytes()) > 0


@planted(
    "test_looking_runs_no_extractor",
    says="made an extractor",
    evidence=roi.Magic(b"\x89PLANTED") & roi.Probe("planted.faults:opens"),
)
class TheProbeOpensTheRecording(Planted):
    pass


def opens(source: Any) -> bool:
    TheProbeOpensTheRecording(source.path, channel="1").close()
    return True


@planted(
    "test_the_content_is_recognised",
    says="leave the name out of the evidence",
    evidence=roi.Magic(b"\x89PLANTED") & roi.Name("*.planted"),
)
class TheNameMustBeRight(Planted):
    pass


@planted("test_the_content_is_recognised", says="let the extractor open what it is given")
class TheExtractorLooksAtTheSuffix(Planted):
    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        if not str(file_path).lower().endswith(".planted"):
            raise roi.UnsupportedRecordingError(f"{file_path} does not end in .planted")
        super().__init__(file_path, channel=channel, sampling_frequency=sampling_frequency)


@planted("test_a_suffix_in_capitals_is_the_same_suffix", says="compare suffixes in lower case")
class TheExtractorLooksForSmallLetters(Planted):
    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        if str(file_path).endswith(".PLANTED"):
            raise roi.UnsupportedRecordingError(f"{file_path} does not end in .planted")
        super().__init__(file_path, channel=channel, sampling_frequency=sampling_frequency)


@planted("test_a_path_may_be_text_and_hold_any_letters", says="glob.escape")
class TheFileIsLookedForByGlob(Planted):
    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        import glob

        found = glob.glob(str(file_path))
        if not found:
            raise roi.SourceNotFoundError(f"{file_path} is not there")
        super().__init__(found[0], channel=channel, sampling_frequency=sampling_frequency)


@planted(
    "test_a_cut_recording_is_told_and_never_garbage",
    "test_what_is_another_format_is_refused_in_words",
    says="look at the signature",
)
class AnotherFormatIsAStructError(Planted):
    def _read_header(self, file: PositionedFile) -> None:
        if file.read(0, 8) != b"\x89PLANTED":
            struct.unpack("<I", b"")
        super()._read_header(file)


@planted("test_what_is_another_format_is_refused_in_words", says="was not refused")
class AnythingIsOpened(Planted):
    def _read_header(self, file: PositionedFile) -> None:
        try:
            super()._read_header(file)
        except roi.RoiExtractorsError:
            if file.read(0, 8) == b"\x89PLANTED":
                raise
            self._rows = self._columns = self._num_samples = self._num_channels = 1
            self._planes, self._timed, self._rate = 0, False, 0.0
            self.is_volumetric = False

    def _check_size(self, file: PositionedFile) -> None:
        if self._rows > 1:
            super()._check_size(file)


@planted("test_an_unknown_option_is_refused", "test_the_extractor_class_is_whole", says="misspelt option")
class AnyOptionIsTaken(Planted):
    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None, **more: Any) -> None:
        super().__init__(file_path, channel=channel, sampling_frequency=sampling_frequency)


@planted("test_the_extractor_class_is_whole", says="give key a default", wide=True)
class AnOptionIsNeeded(Planted):
    def __init__(self, file_path: Any, key: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        super().__init__(file_path, channel=channel, sampling_frequency=sampling_frequency)


@planted("test_the_declaration_agrees_with_the_recording", says="write clock='native'", layout="timed", clock="rate")
class TheClockIsDeclaredTooPoor(Planted):
    pass


@planted("test_the_declaration_agrees_with_the_recording", says="name them in streams=", layout="channels", streams=())
class TheStreamsAreNotDeclared(Planted):
    pass


@planted("test_the_declaration_is_valid", says="no format is called", specializes=("no-such-format",))
class AnUnknownFormatIsSpecialized(Planted):
    pass


@planted("test_the_declaration_is_valid", says="description is empty", description="")
class NothingIsDescribed(Planted):
    pass


@planted(
    "test_foreign_files_are_not_claimed",
    "test_the_extractor_class_is_whole",
    says="cannot be imported",
    evidence=roi.Magic(b"\x89PLANTED") | roi.Probe("planted.faults:not_there"),
)
class TheProbeIsNotThere(Planted):
    pass


@planted("test_the_declaration_agrees_with_the_recording", says="it does not open", wide=True)
class OpeningRaises(Planted):
    def _read_header(self, file: PositionedFile) -> None:
        raise KeyError("rows")


# Other layouts


@planted("test_a_cut_recording_is_told_and_never_garbage", says="without a notice", layout="raw")
class AnUnfinishedFrameIsLeftOutInSilence(Raw):
    def __init__(self, file_path: Any, *, sampling_frequency: Any = None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().__init__(file_path, sampling_frequency=sampling_frequency)

    def get_notes(self) -> tuple[str, ...]:
        return ()


@planted(
    "test_opening_writes_nothing_and_runs_nothing_from_the_file",
    "test_the_source_is_untouched",
    says="for writing",
    layout="folder",
)
class AFolderGetsAnIndex(Folder):
    def __init__(self, folder_path: Any, *, sampling_frequency: Any = None) -> None:
        super().__init__(folder_path, sampling_frequency=sampling_frequency)
        (Path(folder_path) / "index.bin").write_bytes(b"")


@planted("test_a_cut_recording_is_told_and_never_garbage", says="not a clear error", layout="folder")
class ACutHeaderOfAFolderIsAStructError(Folder):
    def _read_header(self, file: PositionedFile) -> None:
        FIELDS.unpack(file.read(0, FIELDS.size))
        super()._read_header(file)


@planted("test_a_missing_file_is_told_and_never_filled_in", says="or beside it, removed", layout="beside")
class MissingTimesAreMadeUp(Beside):
    def _read_times(self, path: Path) -> np.ndarray:
        if not path.is_file():
            return np.arange(self._num_samples) * 0.1
        return super()._read_times(path)


@planted("test_a_cut_recording_is_told_and_never_garbage", says="movie.times cut to", layout="beside")
class MissingTimesAreZero(Beside):
    def _read_times(self, path: Path) -> np.ndarray:
        if not path.is_file():
            return super()._read_times(path)
        seen = path.read_bytes().ljust(8 * self._num_samples, b"\0")
        return np.frombuffer(seen, "<f8").astype(float)


# A folder of chunks, a text header and a table


@planted(
    "test_every_choice_gives_the_pixels_recorded_for_it",
    "test_the_metadata_names_the_channel_that_was_chosen",
    says="open(..., channel='far-red')",
    layout="session",
)
class TwoOtherChannelsAreExchanged(Session):
    def __init__(self, folder_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        super().__init__(folder_path, channel=channel, sampling_frequency=sampling_frequency)
        self._channel = {2: 3, 3: 2}.get(self._channel, self._channel)


@planted(
    "test_every_choice_gives_the_pixels_recorded_for_it", says="read the channel that was chosen", layout="session"
)
class AnotherChannelIsOffByOneRow(Session):
    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        series = super().get_series(start_sample, end_sample)
        return series if self._channel == 1 else np.roll(series, 1, axis=1)


@planted(
    "test_every_choice_has_the_clock_recorded_for_it",
    says="open(..., channel='far-red').get_native_timestamps() contains",
    layout="session",
)
class AnotherChannelHasLaterTimes(Session):
    def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> Any:
        times = super().get_native_timestamps(start_sample, end_sample)
        return times + 0.1 if self._channel == 2 else times


@planted(
    "test_every_choice_has_the_clock_recorded_for_it",
    says="open(..., channel='dapi').get_sampling_frequency() is 31.0, expected 15.5",
    layout="session",
)
class AnotherChannelHasAnotherRate(Session):
    def get_sampling_frequency(self) -> float | None:
        return self._rate * (2 if self._channel == 3 else 1)


@planted(
    "test_every_choice_has_the_clock_recorded_for_it",
    says="open(..., channel='green').get_native_timestamps() contains",
    layout="delayed",
)
class TheClockIsAlwaysThatOfTheSecondChannel(Delayed):
    def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> Any:
        return Session.get_native_timestamps(self, start_sample, end_sample) + 0.01


class _NamesAnother(Session):
    name_of: Any = staticmethod(lambda names, channel: names[channel])

    def get_metadata(self) -> roi.RecordingMetadata:
        name = self.name_of(self._names, self._channel)
        return super().get_metadata().replaced(channels=(roi.ChannelMetadata(name),))


@planted(
    "test_the_metadata_names_the_channel_that_was_chosen",
    says="open(..., channel='green').metadata.channels names 'red'",
    layout="session",
)
class TheMetadataNamesTheSecondChannelAlways(_NamesAnother):
    name_of = staticmethod(lambda names, channel: names[1])


@planted(
    "test_the_metadata_names_the_channel_that_was_chosen",
    says="open(..., channel='red').metadata.channels names 'PMT 1', as it does for channel='green'",
    layout="session",
)
class TheMetadataNamesOneChannelForAll(_NamesAnother):
    name_of = staticmethod(lambda names, channel: "PMT 1")


@planted("test_the_streams_do_not_depend_on_the_hash_seed", says="the order of a set", layout="session", wide=True)
class ChannelsComeInTheOrderOfASet(Session):
    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        return {"channel": tuple(set(cls.read_names(Path(file_path))))}


@planted(
    "test_a_cut_recording_is_told_and_never_garbage",
    "test_a_missing_file_is_told_and_never_filled_in",
    "test_a_missing_key_is_told_and_never_filled_in",
    says="roi.streams raised KeyError",
    layout="session",
)
class ListingStreamsOfABrokenHeaderRaises(Session):
    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        try:
            return super().get_streams(file_path, **options)
        except roi.RoiExtractorsError:
            raise KeyError("channels") from None


@planted("test_a_missing_key_is_told_and_never_filled_in", says="header.ini without 'rate'", layout="session")
class AMissingKeyIsAKeyError(Session):
    @classmethod
    def _text(cls, header: dict[str, str], key: str) -> str:
        return header[key] if key == "rate" else super()._text(header, key)


@planted(
    "test_a_missing_key_is_told_and_never_filled_in", says="sampling frequency is 30.0, but that of", layout="session"
)
class AMissingRateIsADefault(Session):
    @classmethod
    def _number(cls, header: dict[str, str], key: str) -> float:
        return super()._number({"rate": "30", **header}, key)


@planted("test_a_missing_key_is_told_and_never_filled_in", says="pixel_size is [1.0, 1.0]", layout="session")
class AMissingPixelSizeIsOne(Session):
    @classmethod
    def _number(cls, header: dict[str, str], key: str) -> float:
        return super()._number({"pixel_size": "1", **header}, key)


@planted("test_a_missing_file_is_told_and_never_filled_in", says="the hardware's times are lost", layout="session")
class TheRateIsUsedForALostClock(Session):
    def _read_seconds(self, path: Path) -> np.ndarray | None:
        return super()._read_seconds(path) if path.is_file() else None


@planted("test_a_missing_file_is_told_and_never_filled_in", says="times.csv cut to 0", layout="session")
class AnEmptyTableIsNoClock(Session):
    def _read_seconds(self, path: Path) -> np.ndarray | None:
        return None if path.is_file() and path.stat().st_size == 0 else super()._read_seconds(path)


@planted(
    "test_a_cut_recording_is_told_and_never_garbage",
    says="the times of the samples that it offers are not what was recorded",
    layout="session",
)
class TheLastNumberOfACutTableIsTaken(Session):
    def _read_seconds(self, path: Path) -> np.ndarray | None:
        lines = path.read_text().splitlines() if path.is_file() else []
        if len(lines) != 1 + self._num_samples or not lines[-1].partition(",")[2]:
            return super()._read_seconds(path)
        return np.array([float(line.partition(",")[2]) for line in lines[1:]])


@planted(
    "test_a_cut_recording_is_told_and_never_garbage",
    "test_a_missing_file_is_told_and_never_filled_in",
    says="chunk_006.bin cut to",
    layout="session",
)
class ASmallChunkIsNotLookedAt(Session):
    def _is_whole(self, path: Path, needed: int) -> bool:
        return path.is_file() and (path.name == "chunk_006.bin" or super()._is_whole(path, needed))

    def _read_frame(self, file: PositionedFile, frame: np.ndarray, offset: int) -> None:
        seen = file.read(offset, frame.nbytes).ljust(frame.nbytes, b"\0")
        frame[...] = np.frombuffer(seen, PIXEL).reshape(frame.shape)


@planted("test_a_missing_file_is_told_and_never_filled_in", says="36 of 40 samples are left", layout="session")
class AMissingLastChunkIsLeftOutInSilence(Session):
    def _open_chunks(self) -> list[PositionedFile]:
        while not (self._folder / f"chunk_{(self._num_samples - 1) // self._in_a_file:03}.bin").is_file():
            self._num_samples -= self._num_samples % self._in_a_file or self._in_a_file
        return super()._open_chunks()


@planted(
    "test_exchanged_files_are_told_and_never_mixed_up",
    says="the contents of chunk_000.bin and chunk_001.bin exchanged: sample",
    layout="numbered",
)
class ChunksAreTakenByTheirNamesAlone(Numbered):
    def _is_whole(self, path: Path, needed: int) -> bool:
        return Session._is_whole(self, path, needed + 4)


@planted(
    "test_exchanged_files_are_told_and_never_mixed_up",
    says="write files_know_their_place = False in the test class",
    layout="session",
    files_know_their_place=None,
)
class TheAuthorDoesNotSayWhetherChunksKnowTheirPlace(Session):
    pass


@planted(
    "test_exchanged_files_are_told_and_never_mixed_up",
    says="chunk_001.bin exchanged: AssertionError",
    layout="numbered",
)
class AnotherNumberIsAForeignError(Numbered):
    def _is_whole(self, path: Path, needed: int) -> bool:
        if path.is_file() and path.stat().st_size == needed + 4 and not super()._is_whole(path, needed):
            raise AssertionError(path.name)
        return super()._is_whole(path, needed)


@planted(
    "test_a_cut_recording_is_told_and_never_garbage",
    says="header.ini cut after line 6 of 9, 'channels = green red far-red dapi': sampling frequency is 30.0",
    layout="session",
)
class AHeaderWithoutItsSecondHalfIsOfAnOldVersion(Session):
    @classmethod
    def read_header(cls, folder: Path) -> dict[str, str]:
        header = super().read_header(folder)
        if {"rate", "pixel_size", "software"} & {*header}:
            return header
        return {**header, "rate": "30", "pixel_size": "0.5", "software": "planted 1"}


@planted(
    "test_a_cut_recording_is_told_and_never_garbage",
    says="times.csv cut after line 40 of 41",
    layout="session",
)
class TheLastTimeIsMadeUp(Session):
    def _read_seconds(self, path: Path) -> np.ndarray | None:
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        if len(lines) != self._num_samples or not lines[-1].endswith("\n"):
            return super()._read_seconds(path)
        seconds = [float(line.partition(",")[2]) for line in lines[1:]]
        return np.array([*seconds, seconds[-1] + 0.1])


_HEADERS: dict[Path, dict[str, str]] = {}


@planted("test_a_file_that_changed_is_read_again", says="header.ini was changed", layout="session")
class HeadersAreKeptByPath(Session):
    @classmethod
    def read_header(cls, folder: Path) -> dict[str, str]:
        if not (folder / "header.ini").is_file() or folder.name != "movie":
            return super().read_header(folder)
        if folder not in _HEADERS:
            _HEADERS[folder] = super().read_header(folder)
        return _HEADERS[folder]


_SECONDS: dict[Path, Any] = {}


@planted("test_a_file_that_changed_is_read_again", says="times.csv was changed", layout="session")
class TimesAreKeptByPath(Session):
    def _read_seconds(self, path: Path) -> np.ndarray | None:
        if path not in _SECONDS:
            _SECONDS[path] = super()._read_seconds(path)
        return _SECONDS[path]


# What is said of a loss


class _Shortened(Planted):
    """Leaves out what is missing, and says so."""

    _notes: tuple[str, ...] = ()

    def _check_size(self, file: PositionedFile) -> None:
        self._stated = self._num_samples
        room = file.size - HEADER_BYTES - 8 * self._num_samples * self._timed
        self._num_samples = max(0, min(self._num_samples, room // (self._frame_bytes * self._num_channels)))
        if self._num_samples == 0:
            raise roi.TruncatedRecordingError(f"{file.name} ends before its first frame")
        if self._num_samples < self._stated:
            self._say(f"{file.name} is truncated: {self._num_samples} of {self._stated} samples are left")

    def _say(self, note: str) -> None:
        self._notes = (note,)
        warn(note)

    def get_notes(self) -> tuple[str, ...]:
        return self._notes


@planted("test_a_cut_recording_is_told_and_never_garbage", says="and get_notes() does not say so")
class AWarningWithoutANote(_Shortened):
    def get_notes(self) -> tuple[str, ...]:
        return ()


@planted("test_a_cut_recording_is_told_and_never_garbage", says="says so without a warning")
class ANoteWithoutAWarning(_Shortened):
    def _say(self, note: str) -> None:
        self._notes = (note,)


@planted("test_a_cut_recording_is_told_and_never_garbage", says="times for", layout="timed")
class NativeTimesOutliveTheFrames(_Shortened):
    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        super().__init__(file_path, channel=channel, sampling_frequency=sampling_frequency)
        self._frames_at = HEADER_BYTES + 8 * self._stated

    def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> Any:
        self.resolve_range(start_sample, end_sample)
        end = self._stated if end_sample is None else end_sample
        start = start_sample or 0
        return self._file.read_array(HEADER_BYTES + 8 * start, (end - start,), np.dtype("<f8")).astype(float)


# Made directly, and what is stated


@planted("test_the_class_itself_takes_the_users_rate", says="a class that is made directly")
class TheConstructorForgetsTheUsersRate(Planted):
    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        super().__init__(file_path, channel=channel)


@planted("test_the_metadata_serialises", says="bytes")
class TheVendorsHeaderHasBytes(Planted):
    def get_metadata(self) -> roi.RecordingMetadata:
        return super().get_metadata().replaced(vendor={"comment": b"of 1998"})


@planted("test_the_metadata_serialises", says="ndarray")
class TheVendorsHeaderHasAnArray(Planted):
    def get_metadata(self) -> roi.RecordingMetadata:
        return super().get_metadata().replaced(vendor={"table": np.arange(3)})


@planted("test_the_metadata_serialises", says="Path")
class TheVendorsHeaderHasAPath(Planted):
    def get_metadata(self) -> roi.RecordingMetadata:
        return super().get_metadata().replaced(vendor={"settings": Path("settings.xml")})


@planted("test_the_metadata_is_in_the_units_of_ome", says="plausible are 0.01 to 1,000")
class PixelsAreMeasuredInMillimetres(Planted):
    def get_metadata(self) -> roi.RecordingMetadata:
        return super().get_metadata().replaced(pixel_size=(5e-4, 5e-4))


@planted("test_rates_are_in_hz_and_times_in_seconds", says="expected about", layout="kilohertz")
class TheRateIsInKilohertz(Planted):
    pass


@planted(
    "test_one_common_file_name_is_not_evidence",
    says="a folder with a file 'header.ini'",
    layout="session",
    evidence=roi.Member("header.ini"),
)
class OneCommonNameIsTheEvidence(Session):
    pass


@planted("test_forked_processes_read_each_for_itself", says="while another thread read, one waited forever")
class ALockIsTakenOverAFork(Planted):
    def __init__(self, file_path: Any, *, channel: Any = None, sampling_frequency: Any = None) -> None:
        super().__init__(file_path, channel=channel, sampling_frequency=sampling_frequency)
        self._lock = threading.Lock()

    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        with self._lock:
            time.sleep(1e-3)
            return super().get_series(start_sample, end_sample)

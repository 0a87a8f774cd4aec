"""Reads Inscopix event sets: the time and amplitude of each event of each cell."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from roiextractors_core import RoiMasks, RoiProperty, SegmentationExtractor
from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsWarning,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io import PositionedFile, single_file, warn
from roiextractors_core.metadata import RecordingMetadata

from .acquisition import metadata_of
from .cells import metrics_of, names_of, unique_ids
from .first_events import FirstEventSet, read_first_version
from .footer import EVENT_SET, Footer, Timing, find, ratio_of, read_footer, require_kind, utc_offset_of

__all__ = ["InscopixEventsExtractor"]

# Packed, without padding: microseconds since the start, the number of the cell, and the amplitude
_EVENT = np.dtype([("offset", "<u8"), ("cell", "<u8"), ("amplitude", "<f4")])
_MAX_SAMPLES = (
    100_000_000  # at 20 Hz two months; a trace of events is as long as the recording, whatever the file's size
)
# The vendor writes whole microseconds, and rounds the period: 1.5 us off after 10 minutes
_MAX_OFF_GRID = 0.01  # periods

_METRICS = (
    ("snr", "Signal-to-noise ratio of the trace."),
    ("mad", "Median absolute deviation of the trace."),
    ("event_rate", "Events per second."),
    ("event_amplitude_median", "Median amplitude of the events."),
    ("event_amplitude_sd", "Standard deviation of the amplitudes of the events."),
    ("rise_median", "Median rise time of the events, in seconds."),
    ("rise_sd", "Standard deviation of the rise times, in seconds."),
    ("decay_median", "Median decay time of the events, in seconds."),
    ("decay_sd", "Standard deviation of the decay times, in seconds."),
)


class InscopixEventsExtractor(SegmentationExtractor):
    """An Inscopix event set: the events of cells, without masks.

    :meth:`get_events` returns the events as stored.  The trace ``"events"`` is the same as a series: the amplitude at the
    sample of each event, and 0 elsewhere.  It exists if every event is at a sample, within 1 % of a period, and no two events of a
    cell share one; so it is for events that were detected in traces.  Otherwise there are no traces and no samples.

    Parameters
    ----------
    file_path : str or os.PathLike
        An ``.isxd`` file.
    sampling_frequency : float, optional
        Samples per second (Hz); overrides the file's rate. Events keep their samples.

    Raises
    ------
    UnsupportedRecordingError
        The file is not an event set.
    TruncatedRecordingError
        The file ends without a footer, or has fewer events than the footer states.
    CorruptRecordingError
        The footer contradicts itself or the events.

    Warns
    -----
    RoiExtractorsWarning
        Names are repeated.

    References
    ----------
    The vendor's open-source core, https://github.com/inscopix/isxcore: ``isxEventBasedFileV1.cpp``,
    ``isxEventBasedFileV2.cpp`` and ``isxMosaicEvents.cpp``.
    """

    has_masks = False

    def __init__(self, file_path: str | os.PathLike[str], *, sampling_frequency: float | None = None) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._file = PositionedFile(single_file(file_path))
        footer = read_footer(self._file.read, self._file.size, self._file.name)
        self._document = footer.document
        self._first = _first_version(footer, self._file)
        self._set = (
            _event_set_of(footer, self._file.name) if self._first is None else _of_first(self._first, self._file.name)
        )
        self._ids, self._names_note = unique_ids(self._set.names, self._file.name)
        if self._names_note:
            warn(self._names_note, RoiExtractorsWarning)

    def get_frame_shape(self) -> tuple[int, int]:
        """Return ``(0, 0)``: an event set does not say in which frames its cells are."""
        return 0, 0

    def get_roi_ids(self) -> list[str]:
        """Return the names of the cells."""
        return list(self._ids)

    def get_num_samples(self) -> int:
        """Return the number of samples of the trace ``"events"``; 0 if there is no such trace."""
        return self._set.num_samples if self._samples is not None else 0

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        """Raise: there are no masks."""
        raise UnsupportedRecordingError(
            f"{self._file.name} contains events; the masks are in the cell set it was made from"
        )

    def get_trace_names(self) -> tuple[str, ...]:
        """Return ``("events",)``, or nothing if the events are not at samples."""
        return () if self._samples is None else ("events",)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        """Return ``(samples, rois)``, float32: amplitudes at the samples of events, and 0 elsewhere."""
        trace = np.zeros((end_sample - start_sample, len(roi_indices)), np.float32)
        for column, cell in enumerate(roi_indices):
            part = slice(*self._bounds[cell : cell + 2])
            samples = np.empty(0, np.int64) if self._samples is None else self._samples[part]
            inside = (samples >= start_sample) & (samples < end_sample)
            trace[samples[inside] - start_sample, column] = self._events["amplitude"][part][inside]
        return trace

    def get_events(self, roi_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the events of one cell.

        Parameters
        ----------
        roi_id : str

        Returns
        -------
        times : numpy.ndarray
            Seconds since the start, float64, ascending.
        amplitudes : numpy.ndarray
            float32.
        """
        cell = int(self.resolve_roi_ids([roi_id])[0])
        events = self._events[self._bounds[cell] : self._bounds[cell + 1]]
        return events["offset"] / 1e6, events["amplitude"].astype(np.float32)

    def get_own_properties(self) -> Mapping[str, RoiProperty]:
        """Return the number of events of each cell, and the vendor's metrics if there are any."""
        own = {"num_events": RoiProperty(np.array(self._set.counts, np.int64), "Number of events of the cell.")}
        if self._names_note:
            own["name"] = RoiProperty(np.array(self._set.names, dtype=str), "The name of the cell.")
        return own | metrics_of(self._document.get("metrics"), _METRICS, len(self._ids))

    def get_sampling_frequency(self) -> float | None:
        """Return the rate (Hz) of the traces in which the events were detected, or None if it differs between cells."""
        period = self._set.period
        return 1 / (period.numerator / period.denominator) if period else None

    def get_metadata(self) -> RecordingMetadata:
        """Return the footer's metadata; ``vendor`` is the footer itself plus the vendor's ``acquisition`` info."""
        return metadata_of(self._document, self._set.timing)

    def get_notes(self) -> tuple[str, ...]:
        """Return what was decided while opening."""
        return (self._names_note,) if self._names_note else ()

    def close(self) -> None:
        """Release the file."""
        self._file.close()
        super().close()

    @cached_property
    def _events(self) -> np.ndarray:
        """The events, sorted by cell and time."""
        self.check_open()
        counts = self._set.counts
        if self._first is None:
            events = self._file.read_array(0, (self._set.num_events,), _EVENT)
        else:
            events = np.empty(self._set.num_events, _EVENT)
            self._first.read(self._file, events)
        if len(events) and int(events["cell"].max()) >= len(counts):
            raise CorruptRecordingError(
                f"{self._file.name} has an event of cell number {int(events['cell'].max()):,}, but its footer names {counted(len(counts), 'cell')}"
            )
        found = np.bincount(events["cell"].astype(np.int64), minlength=len(counts))
        for cell in np.flatnonzero(found != np.array(counts, np.int64))[:1].tolist():
            raise CorruptRecordingError(
                f"{self._file.name} contains {counted(int(found[cell]), 'event')} of the cell {printable(self._set.names[cell])!r}, "
                f"but its footer states {counts[cell]:,}"
            )
        return events[np.lexsort((events["offset"], events["cell"]))]

    @cached_property
    def _bounds(self) -> np.ndarray:
        """The first event of each cell, and the number of all events."""
        return np.concatenate([[0], np.cumsum(self._set.counts)]).astype(np.int64)

    @cached_property
    def _samples(self) -> np.ndarray | None:
        """The sample of each event, or None if not every event is at one of its own."""
        period = self._set.period
        if not period:
            return None
        events = self._events
        exact = events["offset"] / (float(period.numerator) * 1e6) * float(period.denominator)
        samples = np.rint(exact)
        if (np.abs(exact - samples) > _MAX_OFF_GRID).any():
            return None
        if len(samples) and samples.max() >= self._set.num_samples:
            raise CorruptRecordingError(
                f"{self._file.name} has an event at {int(events['offset'].max()) / 1e6:,.3f} s, after the end of its "
                f"{counted(self._set.num_samples, 'sample')}"
            )
        whole = samples.astype(np.int64)
        same_cell = np.diff(events["cell"].astype(np.int64)) == 0
        return None if (same_cell & (np.diff(whole) == 0)).any() else whole


@dataclass(frozen=True, slots=True)
class _EventSet:
    """The events that a footer describes; ``period`` is 0 if it differs between cells."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    num_events: int
    period: Fraction
    num_samples: int
    timing: Timing


def _first_version(footer: Footer, file: PositionedFile) -> FirstEventSet | None:
    require_kind(footer.document, (EVENT_SET,), file.name, supported="an event set")
    return None if "fileType" in footer.document else read_first_version(footer, file)


def _of_first(events: FirstEventSet, name: str) -> _EventSet:
    timing = events.timing
    if timing.num_samples > _MAX_SAMPLES:
        raise CorruptRecordingError(
            f"the footer of {name} states {counted(timing.num_samples, 'sample')}; expected from 0 to {_MAX_SAMPLES:,}"
        )
    return _EventSet(events.names, events.counts, sum(events.counts), timing.period, timing.num_samples, timing)


def _event_set_of(footer: Footer, name: str) -> _EventSet:
    document = footer.document
    names = names_of(document, "channel list", name)
    counts, steps = document.get("numSamples"), document.get("signalSteps")
    if not isinstance(counts, list) or not all(type(n) is int and 0 <= n <= footer.start for n in counts):
        raise CorruptRecordingError(
            f"the footer of {name} has numSamples = {printable(repr(counts))[:60]}, expected the number of events of each cell"
        )
    if not isinstance(steps, list) or not len(steps) == len(counts) == len(names):
        sizes = f"{counted(len(names), 'cell')}, {counted(len(counts), 'number')} of events"
        raise CorruptRecordingError(
            f"the footer of {name} has {sizes} and {counted(len(steps) if isinstance(steps, list) else 0, 'period')}, which must be one for each cell"
        )
    stored, rest = divmod(footer.start, _EVENT.itemsize)
    if sum(counts) != stored or rest:
        raise (TruncatedRecordingError if sum(counts) > stored else CorruptRecordingError)(
            f"the footer of {name} states {counted(sum(counts), 'event')}, but {footer.start:,} bytes of events precede it, which are "
            f"{counted(stored, 'event')}"
            + (f" and {rest} bytes" if rest else "")
            + "; copy the file again from where it was made"
        )
    return _timed(document, name, names, tuple(counts), stored, steps)


def _timed(
    document: Mapping[str, Any],
    name: str,
    names: tuple[str, ...],
    counts: tuple[int, ...],
    stored: int,
    steps: list[Any],
) -> _EventSet:
    periods = {ratio_of({"step": step}, "step", name, low=0) for step in steps}
    period = periods.pop() if len(periods) == 1 else Fraction(0)
    ends = find(document, "global times")
    if not isinstance(ends, list) or len(ends) != 2:
        raise CorruptRecordingError(
            f"the footer of {name} has no 'global times' with the start and the end of the recording"
        )
    start, end = (ratio_of({"time": moment}, "time.secsSinceEpoch", name) for moment in ends)
    num_samples = math.ceil((end - start) / period) if period else 0
    if end < start or num_samples > _MAX_SAMPLES:
        raise CorruptRecordingError(
            f"the footer of {name} states a recording from {float(start):,.3f} to {float(end):,.3f} s with {num_samples:,} samples; "
            f"expected from 0 to {_MAX_SAMPLES:,}"
        )
    offset = utc_offset_of({"time": ends[0]}, "time.utcOffset")
    timing = Timing(num_samples, (), {}, period, start, offset)
    return _EventSet(names, counts, stored, period, num_samples, timing)

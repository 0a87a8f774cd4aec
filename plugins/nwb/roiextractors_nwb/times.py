"""The clock of a series: its timestamps, or its starting time and rate, in seconds of the session."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from roiextractors_hdf5.contents import named, open_hdf5

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, counted, printable
from roiextractors_core.io import describe_disorder, to_seconds

from .tree import Tree, is_zarr, read_zarr
from .values import finite, positive

__all__ = ["SeriesTimes", "StatedTimes", "stated_times"]

_MAX_COMPARED = 1 << 17  # timestamps that are looked at while opening: 1 MiB
_MAX_DIFFERENCE = 1e-2  # relative, between a stated rate and timestamps


@dataclass(frozen=True, slots=True)
class StatedTimes:
    """What a file states about the times of one series.

    Attributes
    ----------
    timestamps : str or None
        The path of its timestamps, with links followed.
    num_timestamps : int
    time_unit : float
        Seconds in one of the timestamps: 1 by the schema.
    starting_time, rate : float or None
        Seconds, Hz; None where there are timestamps.
    stated_rate : float or None
        The rate (Hz) that the file states beside timestamps, which it should not.
    notes : tuple of str
    """

    timestamps: str | None = None
    num_timestamps: int = 0
    time_unit: float = 1.0
    starting_time: float | None = None
    rate: float | None = None
    stated_rate: float | None = None
    notes: tuple[str, ...] = ()


def stated_times(tree: Tree, path: str) -> StatedTimes:
    """Return what the file states about the times of the series at a path."""
    timestamps, notes = _timestamps(tree, path)
    start = tree.value(f"{path}/starting_time")
    timing = tree.attributes(f"{path}/starting_time") if start is not None else {}
    rate = positive(timing.get("rate"))
    where = f"{printable(path)}/starting_time"
    if start is not None and rate is None:
        seen = f"the rate {printable(str(timing['rate'])[:40])}" if "rate" in timing else "no rate"
        notes = (*notes, f"{where} has {seen}; NWB requires a number above 0, so the clock is unknown")
    if timestamps is None and start is not None and finite(start) is None:
        notes = (*notes, f"{where} is {printable(str(start)[:40])}, not a number of seconds: the times begin at 0")
    if timestamps is None:
        return StatedTimes(starting_time=_scaled_start(start, timing), rate=rate, notes=notes)
    count = (tree.shape(timestamps) or (0,))[0]
    return StatedTimes(timestamps, count, _seconds_in(tree.attributes(timestamps)), stated_rate=rate, notes=notes)


class SeriesTimes:
    """The times of the samples of one series.

    Parameters
    ----------
    path : str
        The NWB file or folder.
    name : str
        Of the file, for messages.
    stated : StatedTimes
    num_needed : int
        The number of samples that the series should have, from its first.
    """

    def __init__(self, path: str, name: str, stated: StatedTimes, num_needed: int) -> None:
        self._path, self._name, self._stated, self._needed = path, name, stated, num_needed

    @cached_property
    def has_timestamps(self) -> bool:
        """Whether there are timestamps that can be used."""
        return (
            self._stated.timestamps is not None
            # With too few timestamps, it is unknown which samples lack one
            and self._stated.num_timestamps >= self._needed
            and not self._stands_still
        )

    @property
    def starting_time(self) -> float | None:
        """The time (s) of the first sample, where the file states it with a rate."""
        return self._stated.starting_time

    @property
    def stated_rate(self) -> float | None:
        """The rate (Hz) of a series without timestamps."""
        return self._stated.rate

    def read(self, start: int, end: int) -> np.ndarray:
        """Return the timestamps of the samples from ``start`` to ``end`` (exclusive) of the series, in seconds, float64.

        Raises
        ------
        CorruptRecordingError
            They are not numbers.
        """
        where = self._stated.timestamps or ""
        if is_zarr(self._path):
            found = read_zarr(self._path, where, (slice(start, end),))
        else:
            with open_hdf5(self._path) as file:
                found = named(file, where)[start:end]
        try:
            times: np.ndarray = np.asarray(found, dtype=np.float64) * self._stated.time_unit
            return times
        except (TypeError, ValueError) as error:
            raise CorruptRecordingError(
                f"{self._name}: {printable(where)} is not a list of seconds: {printable(error)}"
            ) from error

    def doubts(self, path: str) -> Iterator[str]:
        """Yield a sentence for each statement about the times that contradicts another one.

        Parameters
        ----------
        path : str
            Of the series, named where the file has several; empty if it need not be.
        """
        stated, needed = self._stated, self._needed
        if stated.timestamps is None:
            return
        of = f" of {printable(path)}" if path else ""
        if self._stands_still:
            yield f"{self._name}: the first and the last timestamp{of} are the same, so the timestamps are not used; pass sampling_frequency= or call set_times(...)"
        elif stated.num_timestamps != needed:
            used = (
                f"the first {needed:,} of them {'is' if needed == 1 else 'are'} used"
                if stated.num_timestamps > needed
                else "they are not used"
            )
            yield f"{self._name} has {counted(needed, 'sample')} but {counted(stated.num_timestamps, 'timestamp')}{of}; {used}"
        rate, count = stated.stated_rate, stated.num_timestamps
        if rate is not None and math.isfinite(rate) and count > 1 and not self._stands_still:
            first, last = (float(self.read(k, k + 1)[0]) for k in (0, count - 1))
            measured = (count - 1) / (last - first)
            # "not ... <=": NaN among the timestamps is a contradiction too
            if not abs(measured - rate) <= _MAX_DIFFERENCE * rate:
                yield f"{self._name}: its timestamps give {measured:g} Hz, but it also states a rate of {rate:g} Hz; the timestamps are used"
                return
        disorder = describe_disorder(self.read(0, needed)) if self.has_timestamps and count <= _MAX_COMPARED else ""
        if disorder:
            yield f"{self._name}: {disorder}"

    @cached_property
    def _stands_still(self) -> bool:
        """Whether the first and the last timestamp are the same: a clock that was not running."""
        last = self._stated.num_timestamps - 1
        if last < 1:
            return False
        first, end = (float(self.read(k, k + 1)[0]) for k in (0, last))
        return first == end


def _seconds_in(attributes: Mapping[str, Any]) -> float:
    """Return the seconds in the unit that is stated; the schema knows none but seconds, and programs write others."""
    return to_seconds(1.0, str(attributes.get("unit", "s"))) or 1.0


def _scaled_start(start: Any, timing: Mapping[str, Any]) -> float | None:
    value = finite(start)
    return None if value is None else value * _seconds_in(timing)


def _timestamps(tree: Tree, path: str) -> tuple[str | None, tuple[str, ...]]:
    try:
        where = tree.target(f"{path}/timestamps")
    except UnsupportedRecordingError as error:
        return None, (str(error),)  # a link to another file; the rest can be read without it
    shape = tree.shape(where) if where else None
    if where is None or shape is None or len(shape) != 1:
        return None, ()
    facts = tree.attributes(where)
    if _seconds_in(facts) == 1.0:
        return where, ()
    unit = printable(facts["unit"])[:40]
    return where, (f"its timestamps are in {unit!r}, contrary to the schema, and are converted to seconds",)

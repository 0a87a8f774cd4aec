"""Sample times: set by the user, recorded by the hardware, or computed from the rate, in that order of precedence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import RangeError, TimesError

__all__ = ["Clock", "checked_times"]

_MEDIAN_RUN = 1000  # times of each run: a repr asks, and some formats take a millisecond a time


class Clock:
    """One recording's clock: a vector of times, or a rate and the position of its first sample.

    Parameters
    ----------
    num_samples : int
    rate : float or None
        Samples per second (Hz).
    first : int
        Position of sample 0 on the grid of the rate; this is how a slice keeps its offset.
    source : str or None
        ``"user"``, ``"native"``, ``"computed"``, or None if no times are known.
    read : callable, optional
        ``read(start, end)`` returns the times of those samples in seconds, float64; only for a clock with a vector of times.
    """

    __slots__ = ("_read", "first", "num_samples", "rate", "source")

    def __init__(
        self,
        num_samples: int,
        *,
        rate: float | None,
        first: int = 0,
        source: str | None = None,
        read: Callable[[int, int], np.ndarray] | None = None,
    ) -> None:
        self.num_samples = num_samples
        self.rate = None if rate is None else float(rate)
        self.first = first
        self._read = read
        self.source = source if read is not None else ("computed" if rate is not None else None)

    def times(self, start: int = 0, end: int | None = None) -> np.ndarray:
        """Return the times of samples ``start`` to ``end`` (exclusive) in seconds, float64, owned by the caller.

        Raises
        ------
        TimesError
            Neither times nor a rate are known; the message says what to pass.
        """
        end = self.num_samples if end is None else end
        if self._read is not None:
            return np.array(self._read(start, end), dtype=np.float64)  # a copy: the vector is the recording's own
        if self.rate is None:
            raise TimesError(
                "this recording has no sample times: the file contains neither times nor a rate; pass open(..., sampling_frequency=<Hz>) "
                "or call set_times(<seconds>)"
            )
        # Divided, not multiplied by a rounded period: sample 3 at 10 Hz is at exactly 0.3 s
        return np.divide(np.arange(self.first + start, self.first + end, dtype=np.float64), self.rate)

    @property
    def median_rate(self) -> float | None:
        """Samples per second by the median distance of consecutive times, so that pauses do not count; None without times.

        Of a vector of more than 3,000 times, the first, the middle and the last 1,000 are read.
        """
        if self._read is None or self.num_samples < 2:
            return self.rate
        count, run = self.num_samples, _MEDIAN_RUN
        starts = (0, (count - run) // 2, count - run) if count > 3 * run else (0,)
        steps = np.concatenate([np.diff(self.times(a, a + run if len(starts) > 1 else count)) for a in starts])
        steps = steps[np.isfinite(steps) & (steps > 0)]  # a clock that was reset steps back
        return 1.0 / float(np.median(steps)) if len(steps) else self.rate

    def indices(self, times: Any) -> np.ndarray:
        """Return the index of the sample at each time, as ``ImagingExtractor.time_to_sample_indices`` describes.

        Raises
        ------
        RangeError
            A time is before the first sample, or more than one period after the last.
        TimesError
            A requested time is NaN, the timestamps decrease or contain NaN, or no times are known.
        """
        asked = np.asarray(times, dtype=np.float64)
        if np.isnan(asked).any():
            raise TimesError("requested times contain NaN")
        if self.num_samples == 0:
            raise RangeError("the recording has no samples")
        if self._read is None:
            first = self.times(0, 1)[0]
            with np.errstate(over="ignore"):  # a time far outside overflows to infinity, which is refused below
                indices = np.round((asked - first) * float(self.rate or 0.0))
            last = self.times(self.num_samples - 1, self.num_samples)[0]
        else:
            known = self.times()
            if np.isnan(known).any() or not (np.diff(known) >= 0).all():
                raise TimesError(
                    "timestamps are not increasing (or contain NaN), so a time does not map to one sample; call set_times(...) to replace them"
                )
            first, last = known[0], known[-1]
            indices = np.searchsorted(known, asked, side="right") - 1
            # The last sample lasts one period, as on the grid of a rate; later times belong to no sample
            indices = np.where(asked > last + self._period(known), self.num_samples, indices)
        outside = (indices < 0) | (indices >= self.num_samples)
        if outside.any():
            seen = asked[outside].ravel()[0]
            raise RangeError(f"{seen:g} s is outside the recording, which runs from {first:g} s to {last:g} s")
        return np.asarray(indices).astype(np.int64)

    def sliced(self, start: int, end: int) -> Clock:
        """Return the clock of samples ``start`` to ``end`` (exclusive), keeping its offset."""
        read = self._read
        if read is None:
            return Clock(end - start, rate=self.rate, first=self.first + start)
        return Clock(end - start, rate=self.rate, source=self.source, read=lambda a, b: read(start + a, start + b))

    def with_rate(self, rate: float | None) -> Clock:
        """Return this clock with another rate; a vector of times is kept, and a grid keeps its offset in samples."""
        return Clock(self.num_samples, rate=rate, first=self.first, source=self.source, read=self._read)

    def _period(self, known: np.ndarray) -> float:
        if len(known) > 1:
            return float(np.median(np.diff(known)))  # the mean would grow with every pause in the recording
        return 1.0 / self.rate if self.rate else 0.0


def checked_times(times: Any, num_samples: int) -> np.ndarray:
    """Return the times as a read-only float64 copy, one per sample.

    Parameters
    ----------
    times : array-like
        Seconds, shape ``(num_samples,)``.
    num_samples : int

    Raises
    ------
    TimesError
        The shape differs, or the values are not numbers.
    """
    try:
        given = np.asarray(times)
        if given.dtype.kind not in "iufO":  # numpy would convert text, dates and booleans to float64 without a word
            raise TypeError(f"got {given.dtype}")
        checked = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TimesError(f"times must be numbers in seconds, one per sample: {error}") from error
    if checked.shape != (num_samples,):
        raise TimesError(f"expected {num_samples:,} times, one per sample, got an array of shape {checked.shape}")
    checked.flags.writeable = False
    return checked

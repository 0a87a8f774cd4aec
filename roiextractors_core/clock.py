"""The times of samples: what the user set, before the hardware's own, before the rate's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import RangeError, TimesError

__all__ = ["Clock", "checked_times"]


class Clock:
    """One recording's clock: a vector of times, or a rate and the position of its first sample.

    Parameters
    ----------
    num_samples : int
    rate : float or None
        Samples a second.
    first : int
        The position of sample 0 on the rate's grid; a slice keeps its offset by it.
    source : str or None
        ``"user"``, ``"native"``, ``"computed"``, or None when nothing is known.
    read : callable, optional
        ``read(start, end)`` returns the seconds of those samples, float64; for a clock with a vector.
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
        """Return the seconds of samples ``start`` to ``end`` (exclusive), float64, owned by the caller.

        Raises
        ------
        TimesError
            When neither times nor a rate are known; the message says what to pass.
        """
        end = self.num_samples if end is None else end
        if self._read is not None:
            return np.array(self._read(start, end), dtype=np.float64)
        if self.rate is None:
            raise TimesError(
                "no times are known: the file holds neither times nor a rate; pass open(..., sampling_frequency=<Hz>), "
                "or call set_times(<seconds>)"
            )
        return np.divide(np.arange(self.first + start, self.first + end, dtype=np.float64), self.rate)

    def indices(self, times: Any) -> np.ndarray:
        """Return the sample that is in force at each time.

        For a vector of times: the last sample at or before it.  For a rate: the nearest sample.

        Parameters
        ----------
        times : float or array-like
            Seconds.

        Returns
        -------
        numpy.ndarray
            int64, the shape of ``times``.

        Raises
        ------
        RangeError
            When a time lies before the first sample or more than one period after the last.
        TimesError
            When a time is NaN, the clock steps backwards, or none is known.
        """
        asked = np.asarray(times, dtype=np.float64)
        if np.isnan(asked).any():
            raise TimesError("a time that is asked for is NaN")
        if self.num_samples == 0:
            raise RangeError("the recording holds no samples")
        if self._read is None:
            grid = self.times(0, 1)[0]
            with np.errstate(over="ignore"):  # a time far outside becomes infinite, and is refused below
                found = np.round((asked - grid) * float(self.rate or 0.0))
            last = self.times(self.num_samples - 1, self.num_samples)[0]
        else:
            known = self.times()
            if np.isnan(known).any() or not (np.diff(known) >= 0).all():
                raise TimesError(
                    "the clock steps backwards or holds NaN, so that no time names one sample; use set_times to mend it"
                )
            found = np.searchsorted(known, asked, side="right") - 1
            grid, last = known[0], known[-1]
            beyond = asked > last + self._period(known)
            found = np.where(beyond, self.num_samples, found)
        if ((found < 0) | (found >= self.num_samples)).any():
            seen = asked[(found < 0) | (found >= self.num_samples)].ravel()[0]
            raise RangeError(f"{seen:g} s lies outside the recording, whose samples run from {grid:g} s to {last:g} s")
        return np.asarray(found).astype(np.int64)

    def sliced(self, start: int, end: int) -> Clock:
        """Return the clock of samples ``start`` to ``end`` (exclusive), keeping its offset."""
        read = self._read
        if read is None:
            return Clock(end - start, rate=self.rate, first=self.first + start)
        return Clock(end - start, rate=self.rate, source=self.source, read=lambda a, b: read(start + a, start + b))

    def with_rate(self, rate: float | None) -> Clock:
        """Return this clock with another rate: a vector of times stays, a grid keeps its offset in samples."""
        return Clock(self.num_samples, rate=rate, first=self.first, source=self.source, read=self._read)

    def _period(self, known: np.ndarray) -> float:
        if len(known) > 1:
            return float(np.median(np.diff(known)))
        return 1.0 / self.rate if self.rate else 0.0


def checked_times(times: Any, num_samples: int) -> np.ndarray:
    """Return the times as a float64 copy, one a sample.

    Parameters
    ----------
    times : array-like
        Seconds, shape ``(num_samples,)``.
    num_samples : int

    Raises
    ------
    TimesError
        When the shape is another or the values are not numbers.
    """
    try:
        given = np.asarray(times)
        if given.dtype.kind not in "iufO":
            raise TypeError(f"they are {given.dtype}")
        found = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TimesError(f"times must be seconds, one number a sample: {error}") from error
    if found.shape != (num_samples,):
        raise TimesError(
            f"times must have one value a sample: {num_samples:,} samples, but times of shape {found.shape}"
        )
    found.flags.writeable = False
    return found

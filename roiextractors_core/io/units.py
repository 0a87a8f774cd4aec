"""Lengths in micrometres and times in seconds, from a number and the unit that a file gives with it; dates of a start; the rate of regular times, and that a writer needs; amounts in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from ..errors import TimesError

__all__ = [
    "MICROMETRES",
    "SECONDS",
    "amount",
    "describe_disorder",
    "duration",
    "plausible_start",
    "regular_rate",
    "require_rate",
    "to_micrometres",
    "to_seconds",
]


def _spelled(names: Mapping[str, float]) -> dict[str, float]:
    """Add the plural of every word; symbols (m, um) have none."""
    return {**names, **{f"{name}s": size for name, size in names.items() if len(name) > 3}}


# Symbols keep their case (mm is not Mm); words are compared in lower case. The micro sign and the Greek letter are both read as u.
MICROMETRES: Mapping[str, float] = _spelled(
    {
        **{"m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "um": 1.0, "nm": 1e-3, "pm": 1e-6, "km": 1e9},
        **{"meter": 1e6, "metre": 1e6, "centimeter": 1e4, "centimetre": 1e4, "millimeter": 1e3, "millimetre": 1e3},
        **{"micrometer": 1.0, "micrometre": 1.0, "micron": 1.0, "nanometer": 1e-3, "nanometre": 1e-3},
        **{"picometer": 1e-6, "angstrom": 1e-4, "å": 1e-4, "in": 25400.0, "inch": 25400.0, "inches": 25400.0},
    }
)
"""Micrometres in one of each unit of length."""

SECONDS: Mapping[str, float] = _spelled(
    {
        **{"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0},
        **{"sec": 1.0, "secs": 1.0, "msec": 1e-3, "usec": 1e-6, "nsec": 1e-9, "hr": 3600.0},
        **{"second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6, "nanosecond": 1e-9},
        **{"minute": 60.0, "hour": 3600.0, "day": 86400.0},
    }
)
"""Seconds in one of each unit of time."""


def to_micrometres(value: Any, unit: str | None) -> float | None:
    """Return a length in micrometres; None when the unit is not one of length or the value is not a finite number.

    Parameters
    ----------
    value : float or str
        The number as the file gives it.
    unit : str or None
        Its unit: a symbol (``"um"``, ``"µm"``) or a word, singular or plural (``"microns"``).
    """
    return _scaled(value, unit, MICROMETRES)


def to_seconds(value: Any, unit: str | None) -> float | None:
    """Return a duration in seconds; None when the unit is not one of time or the value is not a finite number.

    Parameters
    ----------
    value : float or str
        The number as the file gives it.
    unit : str or None
        Its unit: a symbol (``"ms"``) or a word, singular or plural (``"milliseconds"``).
    """
    return _scaled(value, unit, SECONDS)


def plausible_start(moment: datetime | None) -> datetime | None:
    """Return the moment; None if it is in 1970 or before: a clock that was never set counts from its epoch.

    Parameters
    ----------
    moment : datetime or None
        The start of a recording as the file states it.
    """
    return moment if moment is not None and moment.year > 1970 else None


def _scaled(value: Any, unit: str | None, sizes: Mapping[str, float]) -> float | None:
    size = _size(unit, sizes)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number * size if size is not None and math.isfinite(number) else None


def _size(unit: str | None, sizes: Mapping[str, float]) -> float | None:
    if not isinstance(unit, str):
        return None
    # ImageJ escapes the micro sign as \u00b5 in its descriptions
    name = unit.strip().replace("\\u00b5", "u").replace("µ", "u").replace("μ", "u").replace("\u212b", "å")
    exact = sizes.get(name)
    return exact if exact is not None or len(name) < 3 else sizes.get(name.lower())


def require_rate(recording: Any, given: float | None = None, *, needed_by: str) -> float:
    """Return the rate that was passed, else the recording's; for writers whose format requires one.

    Parameters
    ----------
    recording : Extractor
    given : float, optional
        The option ``sampling_frequency`` of the writer.
    needed_by : str
        What needs it, for the message: ``"suite2p"``.

    Raises
    ------
    TimesError
        The rate is unknown; if there are times, the message contains their rate.
    """
    rate = recording.get_sampling_frequency() if given is None else given
    if rate is not None:
        if not (math.isfinite(rate) and rate > 0):
            raise TimesError(f"sampling_frequency must be finite and above 0 Hz, got {rate!r:.80}")
        return float(rate)
    median = recording.median_rate
    advice = (
        "this recording has neither a rate nor times; pass sampling_frequency=<Hz>"
        if median is None
        else f"this recording has only times, which give {median:.6g} Hz; pass sampling_frequency={median:.6g}"
    )
    raise TimesError(f"{needed_by} needs a sampling rate: {advice}")


def regular_rate(
    times: np.ndarray, numbers: np.ndarray | None = None, *, resolution: float = 0.0, jitter: float = 1e-3
) -> float | None:
    """Return the rate in Hz of times at regular intervals, from their median; None for other times.

    Parameters
    ----------
    times : numpy.ndarray
        Of the samples, in seconds.
    numbers : numpy.ndarray, optional
        Numbers of the samples as acquired, if some are missing.
    resolution : float
        Seconds to which the times are rounded: intervals may differ by as much.
    jitter : float
        Relative difference from the median up to which an interval is regular.
    """
    if len(times) < 2 or not np.isfinite(times).all():
        return None
    steps = np.diff(times) if numbers is None else np.diff(times) / np.diff(numbers)
    median = float(np.median(steps))
    if median <= 10 * resolution or np.abs(steps - median).max() > max(jitter * median, 1.001 * resolution):
        return None
    # The mean of all intervals is more exact than one of them, which is rounded
    return float(steps.size / steps.sum()) if resolution else 1.0 / median


def describe_disorder(times: Any, *, first: int = 0) -> str:
    """Return the end of a sentence about times that do not increase, or are not numbers, for a warning; empty for times in order.

    Parameters
    ----------
    times : numpy.ndarray
        Of the samples, in their order.
    first : int
        The number of the first of these samples.
    """
    # "not ... >": a comparison with NaN is False
    places = (~(times[1:] > times[:-1])).nonzero()[0]
    if not len(places):
        return ""
    where = f"{len(places):,} place{'s' if len(places) > 1 else ''}, the first after sample {int(places[0]) + first:,}"
    return f"the times of the samples do not increase at {where}; they are given as stored"


def amount(count: float) -> str:
    """Return a number of bytes with its unit: ``152.6 MiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def duration(seconds: float) -> str:
    """Return a time with a unit that keeps the number small: ``33.33 s``, ``12.5 min``."""
    if seconds < 120:
        return f"{seconds:.4g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.2f} h"

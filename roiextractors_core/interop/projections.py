"""Mean, standard deviation, maximum, local correlation and mean trace of a recording, in one pass over it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..errors import RangeError
from ..imaging.extractor import unshadowed
from .one_pass import Span, in_one_pass

__all__ = ["Projections", "projections"]

_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # the other four neighbours are the same pairs in reverse


@dataclass(frozen=True, slots=True)
class Projections:
    """The projections of a recording.

    Attributes
    ----------
    mean, standard_deviation, maximum : numpy.ndarray
        ``(rows, columns)`` or ``(rows, columns, planes)``, float64, over the samples. The standard deviation is that of the population (``ddof=0``).
    correlation : numpy.ndarray
        The same shape: each pixel's mean correlation over time with its eight neighbours in the plane, which highlights cells;
        NaN where a pixel, or all of its neighbours, are constant.
    trace : numpy.ndarray
        ``(samples,)``, float64: the mean over all pixels of each sample.
    times : numpy.ndarray or None
        ``(samples,)``, seconds; None if there are no times.
    """

    mean: np.ndarray
    standard_deviation: np.ndarray
    maximum: np.ndarray
    correlation: np.ndarray
    trace: np.ndarray
    times: np.ndarray | None

    def to_dict(self) -> dict[str, np.ndarray | None]:
        """Return the arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def projections(
    recording: Any,
    *,
    scheduler: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Projections:
    """Compute projections in one pass, on all cores of this machine or on a running dask cluster.

    Parts are joined in a fixed order, so the result is the same to the last bit wherever, and however often, a part was computed.

    Parameters
    ----------
    recording : ImagingExtractor
        With at least one sample; pixels that are not finite give NaN.
    scheduler : str or distributed.Client, optional
        The address of a running scheduler (``"tcp://..."``) or a client of one; by default, this process.
    progress : callable, optional
        ``progress(done, total)`` in groups of parts.

    Returns
    -------
    Projections

    Raises
    ------
    RangeError
        The recording has no samples.
    MissingDependencyError
        A scheduler is given but ``distributed`` is not installed.
    """
    recording = unshadowed(recording)
    if len(recording) == 0 or 0 in recording.shape:
        raise RangeError(f"cannot project an empty recording (shape {recording.shape})")
    reference = _reference_of(recording)
    sums = _join_sums(
        in_one_pass(_sum_group, _reference_of, recording, prepared=reference, scheduler=scheduler, progress=progress)
    )
    times = recording.get_timestamps() if recording.times_source is not None else None
    return sums.result(reference, times)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over some consecutive samples, of deviations from one reference sample: a large offset then costs no precision."""

    count: int
    total: np.ndarray
    squares: np.ndarray
    products: tuple[np.ndarray, ...]
    maximum: np.ndarray
    trace: tuple[np.ndarray, ...]

    def joined(self, later: _Sums) -> _Sums:
        return _Sums(
            self.count + later.count,
            self.total + later.total,
            self.squares + later.squares,
            tuple(a + b for a, b in zip(self.products, later.products, strict=True)),
            np.maximum(self.maximum, later.maximum),
            (*self.trace, *later.trace),
        )

    def result(self, reference: np.ndarray, times: np.ndarray | None) -> Projections:
        mean = self.total / self.count
        # Rounding can make the variance of a constant pixel slightly negative
        variance = np.maximum(self.squares / self.count - mean**2, 0.0)
        return Projections(
            mean=reference + mean,
            standard_deviation=np.sqrt(variance),
            maximum=self.maximum,
            correlation=self._correlation(mean, variance),
            trace=np.concatenate(self.trace),
            times=times,
        )

    def _correlation(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        total, known = np.zeros(mean.shape), np.zeros(mean.shape, np.int64)
        spread = np.sqrt(variance)
        for step, product in zip(_NEIGHBOURS, self.products, strict=True):
            first, second = _pairs(step, mean.shape)
            with np.errstate(invalid="ignore", divide="ignore"):
                one = (product / self.count - mean[first] * mean[second]) / (spread[first] * spread[second])
            right = np.isfinite(one)  # 0 / 0 for a pixel that never changes
            for side in (first, second):
                total[side] += np.where(right, np.clip(one, -1.0, 1.0), 0.0)
                known[side] += right
        return np.where(known > 0, total / np.maximum(known, 1), np.nan)


def _pairs(step: tuple[int, int], shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the pixels that have a neighbour at this step, and those neighbours."""
    down, right = step
    rows, columns = shape[:2]
    if right < 0:
        return (slice(0, rows - down), slice(-right, columns)), (slice(down, rows), slice(0, columns + right))
    return (slice(0, rows - down), slice(0, columns - right)), (slice(down, rows), slice(right, columns))


def _sum_span(recording: Any, reference: np.ndarray, span: tuple[int, int]) -> _Sums:
    """Read consecutive samples and sum them."""
    start, end = span
    block = recording.get_series(start, end)
    if block.dtype.kind == "c":  # of complex pixels (OCT, holography), the magnitude
        block = np.abs(block)
    whole = tuple(range(1, block.ndim))
    total, squares = np.zeros(reference.shape), np.zeros(reference.shape)
    products = [np.zeros(total[_pairs(step, total.shape)[0]].shape) for step in _NEIGHBOURS]
    with np.errstate(invalid="ignore"):
        for sample in block:
            deviation = sample - reference
            total += deviation
            squares += deviation * deviation
            for step, product in zip(_NEIGHBOURS, products, strict=True):
                first, second = _pairs(step, total.shape)
                product += deviation[first] * deviation[second]
        trace = block.mean(axis=whole, dtype=np.float64)
        return _Sums(end - start, total, squares, tuple(products), block.max(axis=0).astype(np.float64), (trace,))


def _join_sums(parts: Iterable[_Sums]) -> _Sums:
    return functools.reduce(_Sums.joined, parts)  # in order: adding floats in another order changes the last bits


def _sum_group(recording: Any, reference: np.ndarray, spans: Sequence[Span]) -> _Sums:
    return _join_sums(_sum_span(recording, reference, span) for span in spans)


def _reference_of(recording: Any) -> np.ndarray:
    # Sums of deviations from a real frame keep their digits: x**2 of a 16-bit movie would not
    reference: np.ndarray = recording[0].astype(np.float64)
    return reference

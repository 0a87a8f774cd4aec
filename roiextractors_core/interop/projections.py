"""Mean, standard deviation, maximum, local correlation and mean trace of a recording, in one pass over it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..cards import describe_projections, projections_card
from ..errors import RangeError, RangeTypeError, listed
from ..imaging.extractor import unshadowed
from .one_pass import Span, in_one_pass
from .pixel_sums import PixelSums, join_in_pairs, reference_of

__all__ = ["Projections", "projections"]

_SUMS = {
    "mean": ("total",),
    "standard_deviation": ("total", "squares"),
    "maximum": ("maximum",),
    "correlation": ("total", "squares", "products"),
    "trace": ("trace",),
}


@dataclass(frozen=True, slots=True)
class Projections:
    """The projections of a recording. Values that are NaN or infinite are left out of all of them.

    Attributes
    ----------
    mean, standard_deviation, maximum : numpy.ndarray or None
        ``(rows, columns)`` or ``(rows, columns, planes)``, float64, over the samples; NaN where all values were left out.
        The standard deviation is that of the population (``ddof=0``). None for what was not computed, as below.
    correlation : numpy.ndarray or None
        The same shape: each pixel's mean correlation over time with its eight neighbours in the plane, which highlights cells;
        NaN where a pixel, or all of its neighbours, are constant.
    trace : numpy.ndarray or None
        ``(samples,)``, float64: the mean over the pixels of each sample; NaN where all of them were left out.
    times : numpy.ndarray or None
        ``(samples,)``, seconds; None if there are no times.
    num_left_out : int
        The number of values that are NaN or infinite.
    """

    mean: np.ndarray | None
    standard_deviation: np.ndarray | None
    maximum: np.ndarray | None
    correlation: np.ndarray | None
    trace: np.ndarray | None
    times: np.ndarray | None
    num_left_out: int = 0

    def to_dict(self) -> dict[str, np.ndarray | None]:
        """Return the arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "num_left_out"}

    def __repr__(self) -> str:
        return f"<Projections: {describe_projections(self)}>"

    def _repr_html_(self) -> str:
        return projections_card(self)


def projections(
    recording: Any,
    *,
    only: Sequence[str] | None = None,
    scheduler: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Projections:
    """Compute projections in one pass, on all cores of this machine or on a running dask cluster.

    Sums of integers of up to 16 bits are exact, others are of deviations from the first sample, in float64. Parts are joined in a
    fixed order, so the result is the same to the last bit wherever, and however often, a part was computed.

    Parameters
    ----------
    recording : ImagingExtractor
        With at least one sample. For complex pixels, the magnitude is used.
    only : sequence of str, optional
        The projections to compute, for example ``["mean", "maximum"]``; by default all. Without the correlation it takes half the time.
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
    RangeTypeError
        ``only`` names something else.
    MissingDependencyError
        A scheduler is given but ``distributed`` is not installed.
    """
    recording = unshadowed(recording)
    if len(recording) == 0 or 0 in recording.shape:
        raise RangeError(f"cannot project an empty recording (shape {recording.shape})")
    names = _checked(only)
    work = functools.partial(_sum_group, frozenset(sums for name in names for sums in _SUMS[name]))
    sums = join_in_pairs(
        in_one_pass(work, join_in_pairs, reference_of, recording, scheduler=scheduler, progress=progress)
    )
    times = recording.get_timestamps() if recording.times_source is not None else None
    computed = {name: _projected(sums, name) if name in names else None for name in _SUMS}
    return Projections(**computed, times=times, num_left_out=sums.num_left_out)


def _checked(only: Sequence[str] | None) -> tuple[str, ...]:
    names = tuple(_SUMS) if only is None else (only,) if isinstance(only, str) else tuple(only)
    if not names or not set(names) <= _SUMS.keys():
        raise RangeTypeError(f"only={only!r}: expected some of {listed(tuple(_SUMS))}")
    return names


def _sum_group(names: frozenset[str], recording: Any, reference: np.ndarray | None, spans: Sequence[Span]) -> PixelSums:
    """Read consecutive samples and sum them."""
    dtype = recording.dtype if recording.dtype.kind != "c" else np.abs(np.empty(0, recording.dtype)).dtype
    sums = PixelSums(recording.shape[1:], dtype, names, reference, skip=True)
    blocks = (recording.get_series(start, end) for start, end in spans)
    # Of complex pixels (OCT, holography), the magnitude
    sums.add(np.abs(block) if block.dtype.kind == "c" else block for block in blocks)
    return sums


def _projected(sums: PixelSums, name: str) -> np.ndarray:
    if name == "trace":
        return sums.trace
    if name == "correlation":
        return sums.correlation()
    if name == "maximum":
        return sums.extremum("maximum").astype(np.float64)
    found = sums.moments()
    values = found.mean if name == "mean" else np.sqrt(found.variance)
    return values.reshape(sums.shape)

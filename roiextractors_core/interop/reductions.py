"""numpy's reductions of a whole recording (mean, sum, standard deviation, ...), in one pass of bounded memory."""

from __future__ import annotations

import functools
import math
import operator
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import RangeTypeError
from .one_pass import Span, in_one_pass
from .pixel_sums import PixelSums, finite_reference, is_exact, join_in_pairs

__all__ = ["reduce_pixels"]

_JOINED_BY: Mapping[str, Any] = {"sum": np.add, "mean": np.add, "max": np.maximum, "min": np.minimum}

_MAX_NARROW = 1 << 15  # samples of 16 bits whose sum has at most 32


def reduce_pixels(recording: Any, name: str, *, axis: Any, out: Any, keepdims: bool = False, **options: Any) -> Any:
    """Return what numpy gives for the whole array; integers without rounding, floats from sums in float64.

    Parameters
    ----------
    recording : ImagingExtractor
    name : str
        ``"sum"``, ``"mean"``, ``"std"``, ``"var"``, ``"max"`` or ``"min"``.
    axis : None, int or tuple of int
    out : None
    keepdims : bool
    **options
        ``dtype`` and ``ddof``, where numpy has them.

    Raises
    ------
    RangeTypeError
        ``out``, or another argument of numpy's function, is given.
    """
    for word in (*(["out"] if out is not None else []), *(options.keys() - {"dtype", "ddof"})):
        raise RangeTypeError(
            f"recording.{name} does not take {word}=; np.{name}(recording[...], {word}=...) does, but reads all pixels into memory"
        )
    shape, source = recording.shape, recording.dtype
    options |= {"axis": axis, "keepdims": keepdims}
    if 0 in shape:  # as numpy: 0, NaN with a warning, or an error
        return getattr(np.empty(shape, source), name)(**options)
    # On one pixel, numpy checks the arguments and chooses the dtype
    checked = {**options, "ddof": 0} if "ddof" in options else options
    one = getattr(np.zeros((1,) * len(shape), source), name)(**checked)
    axes = _axes(axis, len(shape))
    if 0 not in axes:
        return _along_each_sample(recording, name, options, one, axes)
    if name in ("std", "var"):
        return _spread(recording, name, axes, one.dtype, keepdims, options["ddof"])
    frame = _along_samples(recording, name, one.dtype)[np.newaxis]
    if name in ("max", "min"):
        return getattr(frame, name)(axis=axes, keepdims=keepdims)
    wide = frame.dtype if name == "sum" else np.result_type(frame.dtype, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        total = frame.sum(axis=axes, dtype=wide, keepdims=keepdims)
        return (total if name == "sum" else total / math.prod(shape[k] for k in axes)).astype(one.dtype)


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(operator.index(one) % ndim for one in (axis if isinstance(axis, tuple) else (axis,)))


def _along_each_sample(
    recording: Any, name: str, options: Mapping[str, Any], one: np.ndarray, axes: tuple[int, ...]
) -> np.ndarray:
    kept = bool(options["keepdims"])
    shape = [1 if k in axes else n for k, n in enumerate(recording.shape) if kept or k not in axes]
    result = np.empty(shape, one.dtype)
    work, start = functools.partial(_reduce_blocks, name, dict(options)), 0
    for part in in_one_pass(work, _in_order, _nothing, recording):
        result[start : start + len(part)] = part
        start += len(part)
    return result


def _reduce_blocks(
    name: str, options: Mapping[str, Any], recording: Any, prepared: None, spans: Sequence[Span]
) -> np.ndarray:
    return _in_order(getattr(recording.get_series(start, end), name)(**options) for start, end in spans)


def _in_order(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(parts))


def _nothing(recording: Any) -> None:
    return None


def _along_samples(recording: Any, name: str, dtype: np.dtype[Any]) -> np.ndarray:
    """Return the sum, maximum or minimum of each pixel."""
    source, wide = recording.dtype, None
    if name == "sum" and dtype.kind in "iu":
        wide = np.dtype(np.uint64 if dtype.kind == "u" else np.int64)
    elif name == "mean" and source.kind in "iub" and source.itemsize <= 4:
        wide = np.dtype(np.int64)  # of 2**31 samples
    elif name in ("sum", "mean"):
        wide = np.result_type(dtype, np.float64)
    work, join = functools.partial(_reduce_frames, name, wide), functools.partial(_join_frames, name)
    return join(in_one_pass(work, join, _nothing, recording))


def _reduce_frames(
    name: str, wide: np.dtype[Any] | None, recording: Any, prepared: None, spans: Sequence[Span]
) -> np.ndarray:
    ufunc = _JOINED_BY[name]
    with np.errstate(all="ignore"):  # of inf - inf, and of sums that wrap around
        blocks = (recording.get_series(start, end) for start, end in spans)
        return functools.reduce(ufunc, (_reduce_block(ufunc, block, wide) for block in blocks))


def _reduce_block(ufunc: Any, block: np.ndarray, wide: np.dtype[Any] | None) -> np.ndarray:
    if wide is None or wide.kind not in "iu" or not is_exact(block.dtype) or len(block) > _MAX_NARROW:
        return np.asarray(ufunc.reduce(block, axis=0, dtype=wide))
    # Half the time of sums of 8 bytes
    narrow = np.int32 if block.dtype.kind == "i" else np.uint32
    return np.asarray(ufunc.reduce(block, axis=0, dtype=narrow).astype(wide))


def _join_frames(name: str, frames: Iterable[np.ndarray]) -> np.ndarray:
    with np.errstate(all="ignore"):
        return join_in_pairs(frames, _JOINED_BY[name])


def _spread(recording: Any, name: str, axes: tuple[int, ...], dtype: np.dtype[Any], keepdims: bool, ddof: float) -> Any:
    """Return the variance or the standard deviation, over samples and perhaps other axes."""
    sums = join_in_pairs(in_one_pass(_sum_group, join_in_pairs, _reference_of, recording))
    found, count = sums.moments(), len(recording)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean, within = (values.reshape(1, *sums.shape) for values in (found.mean, found.variance * count))
        between = count * (mean - mean.mean(axis=axes, keepdims=True)) ** 2
        squares = (within + between).sum(axis=axes, keepdims=keepdims)
        if recording.dtype.kind == "c":
            squares = squares.sum(axis=-1)
        freedom = math.prod(recording.shape[k] for k in axes) - ddof
        if freedom <= 0:
            warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=5)
        variance = squares / np.float64(max(freedom, 0))
        return (np.sqrt(variance) if name == "std" else variance).astype(dtype)


def _sum_group(recording: Any, reference: np.ndarray | None, spans: Sequence[Span]) -> PixelSums:
    empty = _as_real(np.empty((1, *recording.shape[1:]), recording.dtype))
    sums = PixelSums(empty.shape[1:], empty.dtype, ("total", "squares"), reference)
    sums.add(_as_real(recording.get_series(start, end)) for start, end in spans)
    return sums


def _reference_of(recording: Any) -> np.ndarray | None:
    return None if is_exact(recording.dtype) else finite_reference(_as_real(recording.get_series(0, 1))[0])


def _as_real(block: np.ndarray) -> np.ndarray:
    """Return complex numbers as their real and imaginary parts, along one more axis."""
    if block.dtype.kind != "c":
        return block
    return np.ascontiguousarray(block).view(block.real.dtype).reshape(*block.shape, 2)

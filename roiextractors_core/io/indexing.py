"""Numpy's indexing of arrays that stay in their files: the part to read along each axis, and the index left to apply to it."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import RangeError, RangeTypeError, counted, printable

__all__ = ["consecutive_runs", "plan_index", "resolve_bounds", "resolve_index", "resolve_indices", "resolve_span"]


def resolve_bounds(start: Any, end: Any, count: int, word: str, *, not_empty: str = "") -> tuple[int, int]:
    """Return a range of samples, rows, columns or planes with its defaults filled in: ``0 <= start <= end <= count``.

    ``not_empty`` says what the range is of, where ``start`` must be below ``end``.
    """
    if type(start) is int and type(end) is int and 0 <= start < end <= count:  # every read of a frame comes here
        return start, end
    # None is replaced before anything is computed: "start or 0" would also replace an end of 0
    first = 0 if start is None else _as_integer(start, word)
    last = count if end is None else _as_integer(end, word)
    if not 0 <= first <= last <= count:
        if min(first, last) < 0:
            why = "is negative"
        else:
            why = "is reversed" if last < first <= count else "is outside the recording"
        raise RangeError(
            f"the range of {word}s {first:,} to {last:,} {why}: there are {counted(count, word)} (0 to {count:,}, end exclusive)"
        )
    if not_empty and first == last:
        raise RangeError(f"{not_empty} is empty: {word}s {first} to {last}")
    return first, last


def resolve_span(given: tuple[int, int] | None, count: int, word: str) -> tuple[int, int]:
    """Return a range that was given as a pair, or None for all."""
    start, end = given or (None, None)
    return resolve_bounds(start, end, count, word)


def resolve_index(value: Any, count: int, word: str) -> int:
    """Return one index, from 0; negative ones are refused."""
    index = _as_integer(value, word)
    if not 0 <= index < count:
        raise _outside_error(word, index, count, word)
    return index


def resolve_indices(values: Any, count: int, word: str) -> np.ndarray:
    """Return indices, from 0, as a one-dimensional int64 array; negative ones are refused."""
    indices = np.atleast_1d(_as_array(values, word))
    if indices.size == 0:  # before the type is checked: an empty list becomes float64
        return np.empty(0, np.int64)
    if indices.dtype.kind not in "iu" or indices.ndim != 1:
        raise RangeTypeError(
            f"{word} indices must be whole numbers in one dimension, got {indices.dtype} of shape {indices.shape}"
        )
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= count:
        raise _outside_error(f"{word} index", low if low < 0 else high, count, word)
    return indices.astype(np.int64)


def consecutive_runs(ranked: np.ndarray, longest: int) -> Iterator[tuple[int, int]]:
    """Yield the ``(start, end)`` of each run of consecutive numbers in an ascending array; long runs are divided."""
    edges = (np.flatnonzero(np.diff(ranked) > 1) + 1).tolist()
    for start, end in zip([0, *edges], [*edges, len(ranked)], strict=True):
        yield from ((a, min(a + longest, end)) for a in range(start, end, longest))


def plan_index(key: Any, shape: tuple[int, ...]) -> tuple[tuple[Any, slice, slice, slice], tuple[Any, ...]]:
    """Split a numpy index into the part to read along each axis, and the index to apply to what was read."""
    reads: list[Any] = []
    rest: list[Any] = []
    for part in _expanded(key, len(shape)):
        if part is None:
            rest.append(None)  # np.newaxis reads nothing and stays in the index that is applied afterwards
            continue
        axis = len(reads)
        read, left = _axis_plan(part, shape[axis], axis)
        reads.append(read)
        rest.append(left)
    try:
        np.broadcast_shapes(*(left.shape for left in rest if isinstance(left, np.ndarray)))
    except ValueError as error:
        raise RangeError(f"the index arrays cannot be broadcast together: {error}") from None
    while len(reads) < 4:
        reads.append(slice(0, 1))  # a planar recording has one plane; the caller drops this slice
    return (reads[0], reads[1], reads[2], reads[3]), tuple(rest)


def _expanded(key: Any, ndim: int) -> list[Any]:
    parts: list[Any] = []
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, np.ndarray | list | tuple | range):
            part = _as_array(part, "sample")
            if part.dtype == bool and part.ndim > 1:
                # Numpy reads an n-dimensional mask as n index arrays
                parts.extend(map(_MaskPart, part.nonzero(), part.shape))
                continue
        parts.append(part)
    used = sum(1 for part in parts if part is not None and part is not Ellipsis)
    if sum(1 for part in parts if part is Ellipsis) > 1:
        raise RangeError("an index can only have a single ellipsis ('...')")
    if used > ndim:
        raise RangeError(
            f"too many indices: the recording has {ndim} axes (samples, rows, columns{', planes' if ndim == 4 else ''}), got {used}"
        )
    # By identity: "in" and index() would compare arrays element by element
    at = next((k for k, part in enumerate(parts) if part is Ellipsis), len(parts))
    return parts[:at] + [slice(None)] * (ndim - used) + parts[at + 1 :]


class _MaskPart:
    """One axis of a mask over several axes."""

    __slots__ = ("indices", "length")

    def __init__(self, indices: np.ndarray, length: int) -> None:
        self.indices = indices
        self.length = length


def _axis_plan(part: Any, count: int, axis: int) -> tuple[Any, Any]:
    word = ("sample", "row", "column", "plane")[axis]
    if isinstance(part, slice):
        return _slice_plan(part, count, axis)
    if isinstance(part, _MaskPart):
        if part.length != count:
            raise RangeError(f"the mask has {counted(part.length, word)}, expected {count:,}")
        return _array_plan(part.indices, axis)
    if isinstance(part, np.ndarray) and part.ndim > 0:
        if part.dtype == bool:
            return _axis_plan(_MaskPart(part.nonzero()[0], len(part)), count, axis)
        if part.size and part.dtype.kind not in "iu":
            raise RangeTypeError(f"{word} indices must be whole numbers, got {part.dtype}")
        _require_within(part, count, word)
        indices = part.astype(np.int64)  # after the check: uint64 beyond int64 would wrap around
        return _array_plan(np.where(indices < 0, indices + count, indices), axis)
    index = _as_integer(part, word)
    if not -count <= index < count:
        _require_within(np.array([index]), count, word)
    index += count if index < 0 else 0
    return slice(index, index + 1), 0


def _slice_plan(part: slice, count: int, axis: int) -> tuple[Any, Any]:
    try:
        start, stop, step = part.indices(count)
    except TypeError:
        raise RangeTypeError(f"slice bounds must be whole numbers, got {part}") from None
    chosen = range(start, stop, step)
    if len(chosen) == 0:
        return slice(0, 0), slice(None)
    low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1
    if step == 1 or len(chosen) == 1:
        return slice(low, high), slice(None)
    # Only samples can be read one by one: inside a frame, reading all rows and striding is faster
    if axis == 0 and abs(step) > 1:
        return np.arange(start, stop, step, dtype=np.int64), slice(None)
    return slice(low, high), slice(None, None, step)


def _array_plan(indices: np.ndarray, axis: int) -> tuple[Any, np.ndarray]:
    if indices.size == 0:
        return slice(0, 0), indices.astype(np.int64)
    if axis == 0:
        # Each sample is read once, however often it is asked for
        unique, inverse = np.unique(indices, return_inverse=True)
        return unique.astype(np.int64), inverse.reshape(indices.shape)
    low = int(indices.min())  # rows and columns: the span of the indices is read, and indexed in memory
    return slice(low, int(indices.max()) + 1), indices - low


def _require_within(indices: np.ndarray, count: int, word: str) -> None:
    outside = indices[(indices < -count) | (indices >= count)]
    if outside.size:
        raise RangeError(
            f"{word} {int(outside.ravel()[0]):,} is outside the recording: there are {counted(count, word)}"
        )


def _outside_error(what: str, index: int, count: int, word: str) -> RangeError:
    return RangeError(
        f"{what} {index:,} is outside the recording, which has {counted(count, word)} (0 to {count - 1:,})"
    )


def _as_array(value: Any, word: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise RangeTypeError(f"{word} indices must be whole numbers: {error}") from None


def _as_integer(value: Any, word: str) -> int:
    if isinstance(value, bool | np.bool_):  # operator.index takes True for 1, which is never meant as an index
        raise RangeTypeError(f"a {word} must be a whole number, got {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        raise RangeTypeError(f"a {word} must be a whole number, got {printable(repr(value))[:80]}") from None

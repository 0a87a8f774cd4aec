"""Reads raw binary files, whose shape and dtype the user gives."""

from __future__ import annotations

import ast
import math
import operator
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    RoiExtractorsWarning,
    TruncatedRecordingError,
    listed,
    printable,
)
from roiextractors_core.io import PositionedFile, single_file, warn

from .stored import StoredMovie, StoredMovieExtractor

__all__ = ["RawImagingExtractor"]

_USUAL_AXES = {3: "TYX", 4: "TYXZ"}
# Only suggested by the error that asks for the shape, never assumed
_USUAL_FRAMES = ((512, 512), (256, 256), (1024, 1024), (480, 752), (600, 600), (608, 608), (128, 128), (2048, 2048))
_USUAL_DTYPES = ("uint16", "uint8", "float32")
_MAX_LENGTH = 1 << 48
# Files that describe raw pixels: of ENVI, MetaImage, NRRD, HAL, Picasso, and ThorImage's
_DESCRIPTIONS = (".hdr", ".mhd", ".nhdr", ".inf", ".yaml", ".yml", ".xml", ".json")
_VENDOR_FILES = ("experiment.xml",)


class RawImagingExtractor(StoredMovieExtractor):
    """Raw bytes as a recording.

    Parameters
    ----------
    file_path : str or os.PathLike
    shape : tuple of int
        ``(samples, rows, columns)``, ``(samples, rows, columns, planes)``, or ``(rows, columns)``.  In the last case, or
        if samples is -1, the number of samples follows from the size of the file.
    dtype : str or numpy.dtype
        With its byte order: ``"<u2"``, ``">i2"``, ``"float32"``.
    offset : int
        Bytes before the first sample.
    order : str
        ``"C"``, the last axis of the shape varies fastest; ``"F"``, the first.
    dimension_order : str, optional
        The axes of ``shape`` if they differ from the above, one letter each: T (time), Z (planes), Y (rows), X (columns);
        for example ``"TZYX"``.
    sampling_frequency : float, optional
        Samples a second (Hz); the file contains none.

    Raises
    ------
    ChoiceError
        Shape or dtype are missing or invalid.
    CorruptRecordingError, TruncatedRecordingError
        The size of the file does not match; the message says what would fit.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        shape: Sequence[int] | str | None = None,
        dtype: Any = None,
        offset: int = 0,
        order: str = "C",
        dimension_order: str | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        file = PositionedFile(single_file(file_path))
        if shape is None or dtype is None:
            raise ChoiceError(_question(file, shape, dtype))
        stored = _checked_dtype(dtype)
        start = _whole_number(offset, "offset", least=0)
        axes, lengths = _axes_and_lengths(shape, dimension_order)
        lengths = _complete_shape(file, axes, lengths, stored, start)
        # A shape in Fortran order is the reversed shape in C order
        if _checked_order(order) == "F":
            axes, lengths = axes[::-1], lengths[::-1]
        movie = StoredMovie(file, axes=axes, shape=lengths, dtype=stored, offset=start)
        super().__init__(movie, sampling_frequency=sampling_frequency)
        self._notes = _unused_description(str(file.path))
        for words in self._notes:
            warn(words, RoiExtractorsWarning)
        self._notes += self.note_contradictions(fix="swap them in shape=")

    def get_notes(self) -> tuple[str, ...]:
        return self._notes


def _unused_description(path: str) -> tuple[str, ...]:
    """Return a sentence about a file next to the movie that describes it and is not read."""
    stem, name = os.path.splitext(os.path.basename(path))[0].lower(), os.path.basename(path).lower()
    try:
        names = os.listdir(os.path.dirname(path))
    except OSError:
        return ()
    described = {f"{base}{suffix}" for base in (stem, name) for suffix in _DESCRIPTIONS} | set(_VENDOR_FILES)
    found = sorted(beside for beside in names if beside.lower() in described and beside.lower() != name)
    if not found:
        return ()
    return (
        f"{listed(map(printable, found), limit=3)} next to {printable(os.path.basename(path))} may describe it and is not read; "
        "the layout is that of shape= and dtype=",
    )


def _question(file: PositionedFile, shape: Any, dtype: Any) -> str:
    """Return which options are needed, with suggestions that fit the size of the file."""
    if shape is not None:
        return f"{file.name} needs a dtype with its byte order: open(..., shape={shape!r:.80}, dtype='<u2')"
    size, name = file.size, "'<u2'" if dtype is None else repr(str(np.dtype(_checked_dtype(dtype)).str))
    dtypes = _USUAL_DTYPES if dtype is None else (str(_checked_dtype(dtype)),)
    guesses = _guesses(size, dtypes)
    seen = f" {size:,} bytes could be {' or '.join(guesses)}." if guesses else f" It has {size:,} bytes."
    return (
        f"{file.name} does not describe its content; pass the shape{' and the dtype' if dtype is None else ''}: "
        f"open(..., shape=(rows, columns), dtype={name}), or shape=(samples, rows, columns[, planes]).{seen}"
    )


def _guesses(size: int, dtypes: Sequence[str]) -> list[str]:
    found = []
    for (rows, columns), name in ((frame, name) for name in dtypes for frame in _USUAL_FRAMES):
        count, left = divmod(size, rows * columns * np.dtype(name).itemsize)
        if count and not left:
            found.append(f"{_samples(count)} of {rows} x {columns} {name}")
    return found[:3]


def _axes_and_lengths(shape: Sequence[int] | str, dimension_order: str | None) -> tuple[str, tuple[int, ...]]:
    lengths = _checked_shape(shape)
    if dimension_order is None:
        lengths = (-1, *lengths) if len(lengths) == 2 else lengths
        return _USUAL_AXES[len(lengths)], lengths
    axes = str(dimension_order).upper()
    if len(axes) != len(lengths) or len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes) <= set("TZYX"):
        raise ChoiceError(
            f"dimension_order={dimension_order!r:.40} does not fit shape={lengths}: expected one letter per axis, out of T, Z, Y and X, including Y and X"
        )
    return (axes, lengths) if "T" in axes else (f"T{axes}", (-1, *lengths))


def _checked_shape(shape: Any) -> tuple[int, ...]:
    try:
        given = ast.literal_eval(shape) if isinstance(shape, str) else shape
        lengths = tuple(_whole_number(n, "shape", least=-1) for n in given)
    except (TypeError, ValueError, SyntaxError, MemoryError, RecursionError):  # literal_eval of deeply nested text
        lengths = ()
    if not 2 <= len(lengths) <= 4 or 0 in lengths:
        raise ChoiceError(
            "shape must be (rows, columns), (samples, rows, columns) or (samples, rows, columns, planes), as positive "
            f"integers, got {printable(repr(shape))[:80]}"
        )
    return lengths


def _checked_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError) as error:
        raise ChoiceError(
            f"dtype={printable(repr(dtype))[:80]} is not a NumPy dtype; pass '<u2' or 'float32', for example"
        ) from error
    if found.kind not in "biufc" or found.itemsize == 0:
        raise ChoiceError(f"dtype={printable(repr(dtype))[:80]} is not numeric; pass '<u2' or 'float32', for example")
    return found


def _checked_order(order: Any) -> str:
    if not isinstance(order, str) or order.upper() not in ("C", "F"):
        raise ChoiceError(f"order must be 'C' (the last axis varies fastest) or 'F' (the first), got {order!r:.40}")
    return order.upper()


def _whole_number(value: Any, name: str, *, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number < _MAX_LENGTH:  # operator.index accepts True
        raise ChoiceError(f"{name} must be an integer >= {least}, got {printable(repr(value))[:80]}")
    return number


def _complete_shape(
    file: PositionedFile, axes: str, lengths: tuple[int, ...], dtype: np.dtype[Any], offset: int
) -> tuple[int, ...]:
    """Return the shape with the number of samples filled in, checked against the size of the file.

    Raises
    ------
    ChoiceError
        A length other than that of time is -1.
    CorruptRecordingError, TruncatedRecordingError
        The file has more or fewer bytes.
    """
    time = axes.index("T")
    sample = math.prod(n for k, n in enumerate(lengths) if k != time) * dtype.itemsize
    if any(n < 0 for k, n in enumerate(lengths) if k != time):
        raise ChoiceError(f"only the number of samples can be -1, got shape={lengths}")
    room = file.size - offset
    count, left = divmod(max(0, room), sample)
    wanted = count if lengths[time] < 0 else lengths[time]
    if left == 0 and count == wanted and count > 0 and room >= 0:
        return (*lengths[:time], count, *lengths[time + 1 :])
    kind = TruncatedRecordingError if room < max(1, wanted) * sample else CorruptRecordingError
    raise kind(_misfit(file, axes, lengths, dtype, offset))


def _misfit(file: PositionedFile, axes: str, lengths: tuple[int, ...], dtype: np.dtype[Any], offset: int) -> str:
    time, size = axes.index("T"), file.size
    inner = tuple(n for k, n in enumerate(lengths) if k != time)
    sample = math.prod(inner) * dtype.itemsize
    count, left = divmod(max(0, size - offset), sample)
    words = f"{' x '.join(map(str, inner))} {dtype}"
    needed = f"{_samples(lengths[time])} of {words}" if lengths[time] >= 0 else f"whole samples of {words}"
    total = f" need {lengths[time] * sample + offset:,}" if lengths[time] >= 0 else f" take {sample:,} each"
    before = f" after the first {offset:,}" if offset else ""
    room = f"{_samples(count)} and {left:,} more bytes" if left else _samples(count)
    fits = list(_what_fits(size, math.prod(inner), lengths[time], dtype, offset))
    advice = f"{', or '.join(fits)} would fit" if fits else "no other dtype or offset would fit"
    return f"{file.name} has {size:,} bytes, but {needed}{before}{total}. It has room for {room}; {advice}"


def _what_fits(size: int, pixels: int, samples: int, dtype: np.dtype[Any], offset: int) -> Iterator[str]:
    count, left = divmod(max(0, size - offset), pixels * dtype.itemsize)
    if count and not left:
        yield f"{count} as the number of samples"
    others = [
        np.dtype(name)
        for name in ("uint8", "uint16", "float32", "float64")
        if np.dtype(name).itemsize != dtype.itemsize
    ]
    for other in others:
        number, rest = divmod(max(0, size - offset), pixels * other.itemsize)
        if not rest and number and (samples < 0 or number == samples):
            yield f"dtype={other.name!r}" + (f" ({_samples(number)})" if samples < 0 else "")
    # The bytes that the samples leave over are most likely a header
    whole = size - samples * pixels * dtype.itemsize if samples >= 0 else size % (pixels * dtype.itemsize)
    if 0 <= whole < size and whole != offset and (samples >= 0 or count):
        # With underscores the suggestion can be pasted into Python
        yield f"offset={whole:,}".replace(",", "_") if whole >= 10_000 else f"offset={whole}"


def _samples(count: int) -> str:
    return f"{count:,} sample{'' if count == 1 else 's'}"

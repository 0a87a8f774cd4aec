"""Reads the .mmap movies of CaImAn, whose file names give their layout."""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from roiextractors_raw.stored import StoredMovie, StoredMovieExtractor

from roiextractors_core import RecordingMetadata
from roiextractors_core.errors import ChoiceError, CorruptRecordingError, TruncatedRecordingError, counted, printable
from roiextractors_core.io import PositionedFile, single_file

__all__ = ["CaimanMmapImagingExtractor"]

_DTYPES = ("float32", "float64", "uint16", "uint8")
_MAX_LENGTH = 1 << 40


class CaimanMmapImagingExtractor(StoredMovieExtractor):
    """A ``.mmap`` file of CaImAn as a recording.

    The file is a matrix of pixels by frames.  Pixels are counted along d1 (rows) first, then d2 (columns), then d3 (planes).
    In order F the file is a sequence of frames; in order C it is a sequence of the time courses of the pixels.

    Parameters
    ----------
    file_path : str or os.PathLike
        Named as by CaImAn: ``..._d1_512_d2_512_d3_1_order_C_frames_2000.mmap``.
    dims : tuple of int, optional
        ``(d1, d2)`` or ``(d1, d2, d3)``, if the name is missing it or is wrong.
    num_frames : int, optional
        The number of frames, likewise.
    order : str, optional
        ``"C"`` or ``"F"``, likewise.
    dtype : str, optional
        ``"float32"``, which CaImAn writes; or ``"float64"``, ``"uint16"``, ``"uint8"``.
    sampling_frequency : float, optional
        Samples a second (Hz); the file contains none.

    Raises
    ------
    ChoiceError
        The name is incomplete, and the missing part was not passed.
    CorruptRecordingError, TruncatedRecordingError
        The size of the file does not match; the message says what would fit.

    References
    ----------
    CaImAn's ``decode_mmap_filename_dict``, ``memmap_frames_filename`` and ``load_memmap``.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        dims: Sequence[int] | None = None,
        num_frames: int | None = None,
        order: str | None = None,
        dtype: str = "float32",
        sampling_frequency: float | None = None,
    ) -> None:
        file = PositionedFile(single_file(file_path))
        self._said = _parse_name(os.path.basename(file.path))
        lengths = _dims(dims, self._said, file.name)
        count = _count(num_frames, self._said, file.name)
        stored = _dtype(dtype)
        _check_size(file, lengths, count, stored)
        # Pixels are in Fortran order: rows vary fastest, which a C-ordered shape puts last
        axes, shape = ("ZXY", lengths[::-1]) if lengths[2] > 1 else ("XY", lengths[1::-1])
        # save_memmap(order="F") of a single movie writes order C under this name, and the size is the same
        if _order(order, self._said, file.name) == "F":
            axes, shape = f"T{axes}", (count, *shape)
        else:
            axes, shape = f"{axes}T", (*shape, count)
        movie = StoredMovie(file, axes=axes, shape=shape, dtype=stored)
        super().__init__(movie, sampling_frequency=sampling_frequency)
        self._notes = _two_spellings(os.path.basename(self._movie.file.path))
        planes = f", {lengths[2]}" if lengths[2] > 1 else ""
        self._notes += self.note_contradictions(fix=f"open(..., dims=({lengths[1]}, {lengths[0]}{planes}))")

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    def get_metadata(self) -> RecordingMetadata:
        return RecordingMetadata(software="CaImAn", vendor=dict(self._said))


def _parse_name(name: str) -> dict[str, str]:
    """Return d1, d2, d3, order and frames from a name; the last mention counts, as in CaImAn."""
    found = {}
    for key in ("d1", "d2", "d3", "frames"):
        numbers = re.findall(rf"(?<=_){key}_(\d{{1,15}})(?!\d)", name, re.IGNORECASE)
        if numbers:
            found[key] = numbers[-1]
    orders = re.findall(r"(?<=_)order_([CF])(?![A-Za-z0-9])", name, re.IGNORECASE)
    return {**found, "order": orders[-1].upper()} if orders else found


def _two_spellings(name: str) -> tuple[str, ...]:
    """Return a note on parts of the layout that a name gives twice, differently."""
    twice = []
    for key in ("d1", "d2", "d3", "frames", "order"):
        said = re.findall(rf"(?<=_){key}_(\d{{1,15}}(?!\d)|[CF](?![A-Za-z0-9]))", name, re.IGNORECASE)
        if len({value.upper() for value in said}) > 1:
            twice.append(f"{key} ({said[-1]})")
    if not twice:
        return ()
    return (f"the file name {printable(name)} gives {', '.join(twice)} more than once; using the last, as CaImAn does",)


def _dims(given: Any, said: Mapping[str, str], name: str) -> tuple[int, int, int]:
    if given is None:
        values = [_number(said, key, name, "dims=(rows, columns)") for key in ("d1", "d2", "d3")]
    else:
        try:
            values = [operator.index(n) for n in given]
        except TypeError:
            values = []
        values = [*values, 1] if len(values) == 2 else values
    if len(values) != 3 or not all(0 < n < _MAX_LENGTH for n in values):
        raise ChoiceError(
            f"dims of {name} must be two or three positive integers, got {printable(repr(given or values))[:60]}"
        )
    return values[0], values[1], values[2]


def _count(given: Any, said: Mapping[str, str], name: str) -> int:
    count = _number(said, "frames", name, "num_frames=") if given is None else given
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 0 < count < _MAX_LENGTH:
        raise ChoiceError(f"num_frames of {name} must be a positive integer, got {printable(repr(count))[:60]}")
    return int(count)


def _number(said: Mapping[str, str], key: str, name: str, option: str) -> int:
    if key not in said:
        raise ChoiceError(_describe_missing(key, name, option))
    return int(said[key])


def _order(given: Any, said: Mapping[str, str], name: str) -> str:
    order = said.get("order") if given is None else str(given).upper()
    if order not in ("C", "F"):
        raise ChoiceError(
            _describe_missing("order", name, "order='C' or order='F'")
            if given is None
            else f"order must be 'C' or 'F', got {given!r:.40}"
        )
    return order


def _describe_missing(key: str, name: str, option: str) -> str:
    return (
        f"the file name {name} does not contain {key!r}; CaImAn writes the layout into the name, as in "
        f"..._d1_512_d2_512_d3_1_order_C_frames_2000.mmap. Restore the name, or pass {option}"
    )


def _dtype(given: Any) -> np.dtype[Any]:
    # Classes such as np.float32, besides names
    name = given if isinstance(given, str) else getattr(given, "__name__", str(given))
    if name not in _DTYPES:
        raise ChoiceError(f"dtype must be one of {', '.join(_DTYPES)}, got {printable(name)[:40]!r}")
    # The name does not give the byte order; CaImAn writes the machine's
    return np.dtype(name).newbyteorder("<")


def _check_size(file: PositionedFile, dims: tuple[int, int, int], count: int, dtype: np.dtype[Any]) -> None:
    # The size must be exact: a wrong number of frames would shift every time course of order C
    needed = math.prod(dims) * count * dtype.itemsize
    if file.size == needed:
        return
    shown = " x ".join(map(str, dims if dims[2] > 1 else dims[:2]))
    kind = TruncatedRecordingError if file.size < needed else CorruptRecordingError
    raise kind(
        f"{file.name} has {file.size:,} bytes, but {counted(count, 'frame')} of {shown} {dtype.name} need {needed:,}; {_advice(file.size, dims, count, dtype)}"
    )


def _advice(size: int, dims: tuple[int, int, int], count: int, dtype: np.dtype[Any]) -> str:
    pixels = math.prod(dims)
    frames, left = divmod(size, pixels * dtype.itemsize)
    fits = [f"num_frames={frames}"] if frames and not left else []
    fits += [f"dtype={name!r}" for name in _DTYPES if pixels * count * np.dtype(name).itemsize == size]
    if fits:
        return f"{' or '.join(fits)} would fit"
    return (
        f"it has room for {counted(frames, 'frame')} and {left:,} more bytes, so it is truncated or its name is wrong"
    )

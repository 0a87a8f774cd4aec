"""The header of a .npy file, read without numpy's functions that may unpickle."""

from __future__ import annotations

import contextlib
import re
from typing import Any, NamedTuple

import numpy as np

from ..errors import CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError, printable
from .positioned import PositionedFile

__all__ = ["NpyHeader", "read_npy_header"]

_MAX_HEADER = 1 << 16  # bytes; headers of arrays of numbers have some hundred


class NpyHeader(NamedTuple):
    """What a ``.npy`` file says about its array.

    Attributes
    ----------
    shape : tuple of int
    is_fortran : bool
        Whether the first axis changes fastest in the file.
    dtype : numpy.dtype
        With the byte order of the file.
    offset : int
        Where the values begin in the file.
    """

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    offset: int


def read_npy_header(file: PositionedFile, objects: str | None = None, *, allow_objects: bool = False) -> NpyHeader:
    """Read the header of an array of numbers in a ``.npy`` file.

    Parameters
    ----------
    file : PositionedFile
    objects : str, optional
        What the file contains where it contains Python objects, for the error.
    allow_objects : bool
        Whether it may be an array of objects, of which the shape is of interest.

    Raises
    ------
    UnsupportedRecordingError
        It is an array of Python objects, which would have to be unpickled, of structures or of texts; or a later version of the format.
    CorruptRecordingError, TruncatedRecordingError
        It is not such a header. Whether the values are complete is not checked.

    References
    ----------
    NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays".
    """
    head = file.read(0, 12)
    if head[:6] != b"\x93NUMPY" or len(head) < 10:
        raise CorruptRecordingError(
            f"{file.name} is not a .npy file: its first bytes are {head[:8].hex(' ') or 'none'}"
        )
    version = (head[6], head[7])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise UnsupportedRecordingError(
            f"{file.name} has .npy version {version[0]}.{version[1]}; supported are 1.0, 2.0 and 3.0"
        )
    width = 2 if version == (1, 0) else 4  # version 2.0 widened the length of the header
    length, start = int.from_bytes(head[8 : 8 + width], "little"), 8 + width
    if length > _MAX_HEADER:
        raise CorruptRecordingError(
            f"{file.name} claims a header of {length:,} bytes, more than any array of numbers needs ({_MAX_HEADER:,})"
        )
    text = file.read(start, length)
    if len(text) < length:
        raise TruncatedRecordingError(f"{file.name} is truncated: got {len(text):,} of {length:,} header bytes")
    fields = _fields(text.decode("utf-8" if version == (3, 0) else "latin-1"), file.name)
    shape, dtype = _checked_shape(fields["shape"], file.name), _parsed_dtype(fields["descr"], file.name)
    if not (allow_objects and dtype.kind == "O"):
        _check_dtype(dtype, file.name, objects)
    return NpyHeader(shape, bool(fields["fortran_order"]), dtype, start + length)


def _fields(text: str, name: str) -> dict[str, Any]:
    import ast

    fields: Any = None
    with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        # As numpy does: literals only, so no code runs. Python 2 wrote long integers, as 12L
        fields = ast.literal_eval(re.sub(r"(?<=[0-9])L(?=[,)])", "", text.strip()))
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise CorruptRecordingError(
            f"the header of {name} is not a dictionary of descr, fortran_order and shape: {printable(text[:80])!r}"
        )
    return fields


def _checked_shape(shape: Any, name: str) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 62 for n in shape
    ):
        raise CorruptRecordingError(f"the header of {name} has an invalid shape: {printable(repr(shape))[:80]}")
    return shape


def _parsed_dtype(descr: Any, name: str) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(descr)
    except (TypeError, ValueError, SyntaxError, OverflowError, MemoryError, RecursionError) as error:
        raise CorruptRecordingError(
            f"the header of {name} has an unknown dtype: {printable(repr(descr))[:80]}"
        ) from error
    return dtype


def _check_dtype(dtype: np.dtype[Any], name: str, objects: str | None) -> None:
    # hasobject also finds objects inside structured types
    if dtype.hasobject:
        raise UnsupportedRecordingError(
            f"{name} contains {objects or 'Python objects'}, and unpickling them could run code; save it again as an array of numbers"
        )
    if dtype.kind not in "biufc":
        raise UnsupportedRecordingError(
            f"{name} is an array of {printable(dtype)[:80]}; a recording must be an array of numbers"
        )

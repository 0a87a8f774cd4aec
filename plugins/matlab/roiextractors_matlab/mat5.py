"""Reads MATLAB files of version 5 to 7 within bounds: no object is made, nothing is run, and only the needed values are in memory."""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import Budget, PositionedFile

from .values import Columns, MatFile, MatValue, MatView, check_sparse, gather_images

__all__ = ["Mat5File"]

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
# Numeric data types of the MAT-File Format: how values are stored
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _OPAQUE = 1, 2, 3, 4, 5, 17
# Numeric classes: the type in MATLAB, which may be larger than the one stored
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32", 4: "utf-16", 3: "utf-16"}
_COMPLEX = 0x0800
_MAX_LEVELS = 6
_MAX_MATRICES = 20_000
_MAX_HEADS = 2000  # variables, and structures, of which only the names are read
_MAX_FIELDS = 4096
_MAX_VALUE = 1 << 31  # bytes; MATLAB's own limit for a variable of these versions
_MAX_INFLATION = (
    400  # of a value that is kept, against the compressed bytes: beyond any recording, below deflate's 1032
)
_MIN_INFLATED = 64 << 20
_MAX_TEXT = 1 << 16
_MAX_KEPT = 1 << 30
_INPUT = 256 << 10


class _Source(Protocol):
    def read(self, at: int, count: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Part:
    """One stored element of numbers: its type, and where its bytes are."""

    form: str
    at: int
    nbytes: int

    @property
    def count(self) -> int:
        return self.nbytes // np.dtype(self.form).itemsize


@dataclass(frozen=True, slots=True)
class _Stored:
    """A value and its parts; ``compressed`` is the place of the compressed variable in the file, or None."""

    value: MatValue
    compressed: tuple[int, int] | None
    parts: tuple[_Part, ...] = ()
    dtype: str = "f8"
    fields: tuple[str, ...] = ()


class Mat5File(MatFile, MatView):
    """A file of version 5, 6 or 7, which is looked through once.

    Parameters
    ----------
    path : str or os.PathLike
    variables : frozenset of str or None
        As for :func:`open_mat`. None for the names of all variables and of the fields of structures alone, which are at their
        beginnings: a compressed variable is not decompressed as a whole.

    References
    ----------
    MAT-File Format, The MathWorks, https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
    """

    def __init__(self, path: str | os.PathLike[str], variables: frozenset[str] | None) -> None:
        self._file = PositionedFile(path)
        self.name = self._file.name
        head = self._file.read(0, min(_HEADER_BYTES, self._file.size))
        # The writer stores the characters "MI" as one 16-bit number, so a little-endian file begins with "IM"
        order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
        if order is None:
            raise UnsupportedRecordingError(f"{self.name} has an incomplete header for a MATLAB 5 file")
        self._order = order
        self._kept: dict[tuple[str, int], bytes] = {}
        self._values = _Index(self._file, order, variables).values()

    @contextmanager
    def open_view(self) -> Iterator[MatView]:
        yield self

    def value(self, path: str) -> MatValue | None:
        stored = self._values.get(path)
        return stored.value if stored else None

    def fields(self, path: str) -> tuple[str, ...]:
        if not path:
            return tuple(key for key in self._values if "/" not in key)
        stored = self._values.get(path)
        return stored.fields if stored else ()

    def text(self, path: str) -> str:
        stored = self._values.get(path)
        if stored is None or stored.value.kind != "text" or not stored.parts or stored.parts[0].nbytes > _MAX_TEXT:
            return ""
        part = stored.parts[0]
        content = self._bytes(stored, 0, 0, part.nbytes)
        coding = _TEXTS.get(int(part.form), "latin-1")
        if coding != "latin-1" and coding != "utf-8":
            coding += "-le" if self._order == "<" else "-be"
        return content.decode(coding, "replace").rstrip("\0")

    def numbers(self, path: str) -> np.ndarray:
        stored = self._values[path]
        flat = self._items(stored, 0, 0, math.prod(stored.value.shape))
        return flat.reshape(stored.value.shape, order="F")

    def columns(self, path: str, chosen: np.ndarray) -> Columns:
        stored = self._values[path]
        rows = stored.value.shape[0]
        if stored.value.kind != "sparse":
            vectors = (self._items(stored, 0, int(k) * rows, rows) for k in chosen)
            return gather_images(vectors)
        indptr = self._indptr(stored)
        spans = [(int(indptr[k]), int(indptr[k + 1])) for k in chosen]
        pixels = [self._items(stored, 0, start, stop - start, "i8") for start, stop in spans]
        weights = [self._items(stored, 2, start, stop - start) for start, stop in spans]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in pixels])]).astype(np.int64)
        return Columns(
            offsets,
            np.concatenate(pixels) if pixels else np.empty(0, np.int64),
            np.concatenate(weights) if weights else np.empty(0),
        )

    def images(self, path: str, chosen: np.ndarray, *, rois_axis: int) -> Columns:
        stored = self._values[path]
        shape = stored.value.shape
        if rois_axis == 0:
            stack = self.numbers(path)
            return gather_images(stack[int(k)] for k in chosen)
        frame, size = shape[:2], math.prod(shape[:2])
        return gather_images(self._items(stored, 0, int(k) * size, size).reshape(frame, order="F") for k in chosen)

    def table(self, path: str, start: int, end: int, rois: np.ndarray, *, rois_first: bool) -> np.ndarray:
        stored = self._values[path]
        rows = stored.value.shape[0]
        if stored.value.kind == "sparse":
            return self._sparse_table(stored, start, end, rois, rois_first=rois_first)
        if rois_first:
            # All ROIs of a sample are next to each other
            block = self._items(stored, 0, start * rows, (end - start) * rows)
            return block.reshape(end - start, rows)[:, rois]
        result = np.empty((len(rois), end - start), stored.dtype)
        for k, roi in enumerate(rois.tolist()):
            result[k] = self._items(stored, 0, roi * rows + start, end - start)
        return result.T

    def close(self) -> None:
        self._kept.clear()
        self._file.close()

    def _sparse_table(self, stored: _Stored, start: int, end: int, rois: np.ndarray, *, rois_first: bool) -> np.ndarray:
        chosen = np.arange(start, end) if rois_first else rois
        offsets, rows, weights = self.columns(stored.value.path, chosen)
        dense = np.zeros((len(chosen), stored.value.shape[0]))
        _check_rows(rows, stored.value.shape[0], f"{self.name}: {stored.value.path}")
        dense[np.repeat(np.arange(len(chosen)), np.diff(offsets)), rows] = weights
        return dense[:, rois] if rois_first else dense[:, start:end].T

    def _indptr(self, stored: _Stored) -> np.ndarray:
        columns = stored.value.shape[1]
        indptr = self._items(stored, 1, 0, columns + 1, "i8")
        count = min(stored.parts[0].count, stored.parts[2].count)
        return check_sparse(indptr, count, f"{self.name}: {stored.value.path}")

    def _items(self, stored: _Stored, number: int, first: int, count: int, dtype: str = "") -> np.ndarray:
        """Return numbers of one part, in the class of the value: whole numbers are stored in the smallest type that fits."""
        if not stored.parts or not count:
            return np.empty(0, dtype or stored.dtype)
        part = stored.parts[number]
        form = np.dtype(self._order + part.form)
        if not dtype and not _fits(form, np.dtype(stored.dtype)):
            raise CorruptRecordingError(
                f"{self.name}: {stored.value.path} is of class {stored.dtype} and stored as {part.form}, which is larger; the file is damaged"
            )
        content = self._bytes(stored, number, first * form.itemsize, count * form.itemsize)
        return np.frombuffer(content, form).astype(dtype or stored.dtype)

    def _bytes(self, stored: _Stored, number: int, first: int, count: int) -> bytes:
        part = stored.parts[number]
        if first < 0 or first + count > part.nbytes:
            raise CorruptRecordingError(
                f"{self.name}: {stored.value.path} has {part.nbytes:,} bytes, expected {first + count:,}"
            )
        if stored.compressed is None:
            return self._file.read(part.at + first, count)
        key = (stored.value.path, number)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._inflate(stored, part)
            # Inflating begins at the start of the variable, so each value is kept as long as there is room
            if sum(map(len, self._kept.values())) + len(kept) <= _MAX_KEPT:
                self._kept[key] = kept
        return kept[first : first + count]

    def _inflate(self, stored: _Stored, part: _Part) -> bytes:
        at, size = stored.compressed or (0, 0)
        if part.nbytes > max(_MIN_INFLATED, size * _MAX_INFLATION):
            raise UnsupportedRecordingError(
                f"{self.name}: {stored.value.path} has {part.nbytes:,} bytes, which are compressed to less than {size:,}; "
                "no recording compresses that well. Save it again with '-v7.3'"
            )
        return _Inflated(self._file, at, size).read(part.at, part.nbytes)


class _Inflated:
    """A compressed variable as bytes that are read forwards."""

    def __init__(self, file: PositionedFile, at: int, size: int) -> None:
        self._file, self._from, self._end = file, at, at + size
        self._stream = zlib.decompressobj()
        self._pending = b""
        self._at, self._last = 0, b""

    def read(self, at: int, count: int) -> bytes:
        """Return bytes at a position after the last read, or inside of it."""
        back = self._at - at
        if 0 < back <= len(self._last) and count <= back:
            first = len(self._last) - back
            return self._last[first : first + count]
        while self._at < at:
            self._pull(min(at - self._at, 1 << 20))
        parts: list[bytes] = []
        left = count
        # In pieces, so that a false length ends with the input and not in an allocation
        while left:
            parts.append(self._pull(min(left, 16 << 20)))
            left -= len(parts[-1])
        found = parts[0] if len(parts) == 1 else b"".join(parts)
        self._last = found if len(found) <= 8 else b""  # a small element has its content inside its tag
        return found

    def finish(self) -> None:
        """Decompress what is left, so that zlib compares the checksum at the end."""
        while not self._stream.eof:
            self._pull(1 << 20, is_end=True)

    def _pull(self, most: int, *, is_end: bool = False) -> bytes:
        """Return the next bytes; only at the end of a variable may there be none."""
        found = b""
        while not found:
            if not self._pending and self._from < self._end and not self._stream.eof:
                self._pending = self._file.read(self._from, min(_INPUT, self._end - self._from))
                self._from += len(self._pending)
            before = len(self._pending)
            try:
                found = self._stream.decompress(self._pending, most)
            except zlib.error as error:
                raise CorruptRecordingError(
                    f"{self._file.name} contains a compressed variable that cannot be decompressed: {error}; the file is damaged"
                ) from error
            self._pending = self._stream.unconsumed_tail
            is_used_up = self._stream.eof or (not self._pending and self._from >= self._end and not before)
            if not found and is_end and self._stream.eof:
                break
            if not found and is_used_up:
                raise TruncatedRecordingError(
                    f"{self._file.name} contains an incomplete compressed variable; the file is truncated or damaged"
                )
        self._at += len(found)
        return found


class _Index:
    """Walks through a file once, and notes where each value is."""

    def __init__(self, file: PositionedFile, order: str, variables: frozenset[str] | None) -> None:
        self._file, self._order, self._wanted = file, order, variables
        self._budget = Budget(_MAX_MATRICES if variables is not None else _MAX_HEADS, file.name, "variables and fields")
        self._values: dict[str, _Stored] = {}

    def values(self) -> dict[str, _Stored]:
        at = _HEADER_BYTES
        while at + 8 <= self._file.size and (self._budget.left or self._wanted is not None):
            kind, size = struct.unpack(f"{self._order}II", self._file.read(at, 8))
            # Of a damaged file, the names are still what tells which segmentation it contains
            with suppress(*((CorruptRecordingError, TruncatedRecordingError) if self._wanted is None else ())):
                self._variable(kind, at + 8, size)
            at += 8 + size
        return self._values

    def _variable(self, kind: int, at: int, size: int) -> None:
        left = self._file.size - at
        if size > left and self._wanted is not None:
            raise TruncatedRecordingError(
                f"{self._file.name} contains a variable at byte {at - 8:,} of {size:,} bytes, but only {left:,} are left; the file is "
                "truncated or damaged"
            )
        size = min(size, left)
        if kind == _MATRIX:
            self._matrix(self._file, at, at + size, None, None, 0)
            return
        if kind == _COMPRESSED and size:
            inflated = _Inflated(self._file, at, size)
            inner, length = struct.unpack(f"{self._order}II", inflated.read(0, 8))
            if inner == _MATRIX and length <= _MAX_VALUE:
                is_wanted = self._matrix(inflated, 8, 8 + length, None, (at, size), 0)
                if is_wanted and self._wanted is not None:
                    inflated.finish()
                return
        self._budget.spend()  # gigabytes of zeros are empty elements of 8 bytes each

    def _matrix(
        self, source: _Source, at: int, end: int, path: str | None, compressed: tuple[int, int] | None, level: int
    ) -> bool:
        """Note one matrix, and the fields of a structure; at the top, the path is its own name.

        Returns False for a variable that does not matter, of which only the name is read.
        """
        self._budget.spend()
        if at == end:  # an empty field
            self._values[path or ""] = _Stored(MatValue(path or "", "numbers", (0, 0)), compressed)
            return True
        kind, start, size, at = self._element(source, at, end)
        if kind != 6 or size != 8:
            raise self._damaged("a matrix without flags")
        flags, _ = struct.unpack(f"{self._order}II", source.read(start, 8))
        number = flags & 0xFF
        if number == _OPAQUE:
            self._opaque(source, at, end, path, compressed)
            return True
        kind, start, size, at = self._element(source, at, end)
        if kind != 5 or not 8 <= size <= 128 or size % 4:
            raise self._damaged("a matrix without dimensions")
        shape = struct.unpack(f"{self._order}{size // 4}i", source.read(start, size))
        if min(shape) < 0:
            raise self._damaged(f"a matrix of dimensions {shape}")
        _, start, size, at = self._element(source, at, end)
        name = printable(source.read(start, min(size, 256)).decode("latin-1"))
        full = name if path is None else path
        if path is None and not self._is_wanted(full, number):
            self._values.setdefault(full, _Stored(MatValue(full, "other", shape), compressed))
            return False
        if number == _STRUCT and math.prod(shape) == 1:
            self._structure(source, at, end, full, compressed, level)
        elif number in _NUMBERS and not flags & _COMPLEX:
            self._numbers(source, at, end, full, compressed, shape, _NUMBERS[number])
        elif number == _SPARSE and not flags & _COMPLEX and len(shape) == 2:
            self._sparse(source, at, end, full, compressed, shape)
        elif number == _CHAR:
            kind, start, size, _ = self._element(source, at, end)
            parts = (_Part(str(kind), start, size),)
            self._values[full] = _Stored(MatValue(full, "text", shape), compressed, parts)
        else:
            kinds = "object" if number == _OBJECT else "other"
            self._values[full] = _Stored(MatValue(full, kinds, shape), compressed)
        return True

    def _is_wanted(self, name: str, number: int) -> bool:
        if self._wanted is None:
            return number == _STRUCT
        return name in self._wanted or ("" in self._wanted and number != _STRUCT)

    def _opaque(self, source: _Source, at: int, end: int, path: str | None, compressed: tuple[int, int] | None) -> None:
        """Note an object of a MATLAB class, which has a name, the name of the type system, and the class."""
        words: list[str] = []
        while at + 8 <= end and len(words) < 3:
            kind, start, size, at = self._element(source, at, end)
            if kind not in (1, 2, 16):
                break
            words.append(printable(source.read(start, min(size, 256)).decode("latin-1")))
        words += [""] * (3 - len(words))
        full = words[0] if path is None else path
        self._values[full] = _Stored(MatValue(full, "object", (1, 1), words[2]), compressed)

    def _structure(
        self, source: _Source, at: int, end: int, path: str, compressed: tuple[int, int] | None, level: int
    ) -> None:
        if level >= _MAX_LEVELS:
            self._values[path] = _Stored(MatValue(path, "other", (1, 1)), compressed)
            return
        kind, start, size, at = self._element(source, at, end)
        width = struct.unpack(f"{self._order}i", source.read(start, 4))[0] if kind == 5 and size == 4 else 0
        _, start, size, at = self._element(source, at, end)
        # Names are stored in equal widths, in MATLAB's own files of 32 or 64 bytes
        if not 0 < width <= 256 or size % width or size // width > _MAX_FIELDS:
            raise self._damaged(f"a structure with {size:,} bytes of field names of {width} bytes each")
        names = source.read(start, size)
        fields = tuple(
            printable(names[k : k + width].split(b"\0", 1)[0].decode("latin-1")) for k in range(0, size, width)
        )
        self._values[path] = _Stored(MatValue(path, "struct", (1, 1)), compressed, fields=fields)
        if self._wanted is None:
            for field in fields:
                full = f"{path}/{field}"
                self._values[full] = _Stored(MatValue(full, "other"), compressed)
            return
        for field in fields:
            kind, start, size, at = self._element(source, at, end)
            if kind != _MATRIX:
                raise self._damaged(f"an element of type {kind}, expected a matrix")
            self._matrix(source, start, start + size, f"{path}/{field}", compressed, level + 1)

    def _numbers(
        self,
        source: _Source,
        at: int,
        end: int,
        path: str,
        compressed: tuple[int, int] | None,
        shape: tuple[int, ...],
        dtype: str,
    ) -> None:
        parts: tuple[_Part, ...] = ()
        if math.prod(shape):
            part, _ = self._part(source, at, end)
            if part.count != math.prod(shape):
                raise self._damaged(f"an array of dimensions {shape} in {part.nbytes:,} bytes ({path})")
            parts = (part,)
        self._values[path] = _Stored(MatValue(path, "numbers", shape), compressed, parts, dtype)

    def _sparse(
        self,
        source: _Source,
        at: int,
        end: int,
        path: str,
        compressed: tuple[int, int] | None,
        shape: tuple[int, ...],
    ) -> None:
        rows, at = self._part(source, at, end)
        columns, at = self._part(source, at, end)
        values = _Part("f8", at, 0)
        if at + 8 <= end:
            values, _ = self._part(source, at, end)
        if columns.count != shape[1] + 1 or rows.form[0] == "f" or columns.form[0] == "f":
            raise self._damaged(
                f"a sparse matrix of dimensions {shape} with offsets for {columns.count - 1:,} columns ({path})"
            )
        parts = (rows, columns, values)
        self._values[path] = _Stored(MatValue(path, "sparse", shape), compressed, parts)

    def _part(self, source: _Source, at: int, end: int) -> tuple[_Part, int]:
        kind, start, size, at = self._element(source, at, end)
        form = _STORED.get(kind)
        if form is None or size % np.dtype(form).itemsize:
            raise self._damaged(f"{size:,} bytes of type {kind}, expected numbers")
        return _Part(form, start, size), at

    def _element(self, source: _Source, at: int, end: int) -> tuple[int, int, int, int]:
        """Return type, first byte and length of the element at a position, and where the next one is."""
        if at + 8 > end:
            raise TruncatedRecordingError(f"{self._file.name} ends inside a variable; the file is truncated or damaged")
        kind, size = struct.unpack(f"{self._order}II", source.read(at, 8))
        # A small element: the length is packed with the type, and the content takes the place of the length
        if kind >> 16:
            kind, size, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise self._damaged(f"a small element of {size} bytes, expected at most 4")
        else:
            start = at + 8
            after = start + size + (-size % 8)
        if start + size > end:
            raise TruncatedRecordingError(
                f"{self._file.name} contains an element of {size:,} bytes inside a variable, but only {max(0, end - start):,} are "
                "left; the file is truncated or damaged"
            )
        return kind, start, size, min(after, end)

    def _damaged(self, words: str) -> CorruptRecordingError:
        return CorruptRecordingError(f"{self._file.name} contains {words}; the file is damaged")


def _fits(form: np.dtype[np.generic], dtype: np.dtype[np.generic]) -> bool:
    """Return whether MATLAB stores numbers of a class so: in the same type, or as whole numbers that are not larger."""
    return form.itemsize <= dtype.itemsize and (form.kind in "iu" or dtype.kind == "f")


def _check_rows(rows: np.ndarray, count: int, where: str) -> None:
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        raise CorruptRecordingError(f"{where} has a value in row {int(rows.max()):,} of {count:,}; the file is damaged")

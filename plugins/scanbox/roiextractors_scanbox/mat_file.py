"""Reads one variable of a MATLAB file as plain data, within bounds: no object is made, nothing is run.

A file that nests its values thousands of levels deep crashes a reader without a limit, and a compressed one of a few
kilobytes can fill the memory; here both end in an error.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    MissingDependencyError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import Budget, PositionedFile, attribute_value, open_hdf5_file

__all__ = ["read_variable"]

_HEADER_BYTES = 128
# Bytes: far above any info file, and small enough to read whole
_MAX_BYTES = 64 << 20
# Each level is a recursion, and Python ends at about a thousand
_MAX_LEVELS = 24
_MAX_FIELDS = 4096
# Variables, cells and fields, each parsed by itself; info files have some hundred
_MAX_MATRICES = 100_000
# Flags, dimensions and name of a matrix come first and fit into these bytes
_PEEKED = 1024

_MATRIX, _COMPRESSED = 14, 15
# Numeric data types of the MAT-File Format: how values are stored in the file
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
# The same for whole numbers as struct writes them: numpy takes longer for the few numbers of a flag or a shape
_INTEGERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 12: "q", 13: "Q"}
_CELL, _STRUCT, _CHAR, _OPAQUE = 1, 2, 4, 17
# Numeric classes of arrays: the type in MATLAB, which may differ from the type in the file
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}


def read_variable(file: PositionedFile, variable: str) -> Any:
    """Return the value of a variable, or None if the file does not contain it.

    Parameters
    ----------
    file : PositionedFile
        A MATLAB 5 to 7 file, or a 7.3 file (HDF5; needs h5py).
    variable : str

    Returns
    -------
    object
        A structure as a dict (several as a list of them), a cell as a list of rows, text as str (several rows as a
        list), numbers as a numpy.ndarray of two or more dimensions, and None for anything else: objects, functions, sparse arrays.

    Raises
    ------
    TruncatedRecordingError, CorruptRecordingError
        The file is cut or damaged.
    UnsupportedRecordingError
        The file is not a MATLAB file, or larger than any info file.

    References
    ----------
    MAT-File Format, The MathWorks, https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
    """
    size = file.size
    head = file.read(0, _HEADER_BYTES)
    if head.startswith(b"MATLAB 7.3"):
        return _hdf5_variable(file, variable)
    # The writer stores the characters "MI" as one 16-bit number, so a little-endian file begins with "IM"
    order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
    if not head.startswith(b"MATLAB 5.0") or order is None:
        raise UnsupportedRecordingError(
            f"{file.name} is not a MATLAB 5 to 7.3 file: it begins with {printable(repr(head[:16]))}"
        )
    if size > _MAX_BYTES:
        raise UnsupportedRecordingError(
            f"{file.name} has {size:,} bytes, but a Scanbox info file has at most {_MAX_BYTES:,}"
        )
    budget = Budget(_MAX_MATRICES, file.name, "variables, cells and fields")
    for content in _variables(memoryview(file.read(_HEADER_BYTES, size)), order, variable, file.name, budget):
        name, value = _Matrix(content, order, file.name, 0, budget).read()
        if name == variable:
            return value
    return None


def _variables(data: memoryview, order: str, variable: str, name: str, budget: Budget) -> Iterator[memoryview]:
    """Yield the matrices of a file; of the compressed ones only those with the variable's name at their beginning."""
    elements = _Elements(data, order, name, offset=_HEADER_BYTES)
    while elements.more():
        budget.spend()
        # Compressed elements are not padded to 8 bytes, unlike all others
        kind, content = elements.read(padded=False)
        if kind == _MATRIX:
            yield content
        # Other variables may be large; only the beginning of each is decompressed to see its name
        elif kind == _COMPRESSED and variable.encode() in _inflated(content, _PEEKED, name, whole=False):
            inflated = memoryview(_inflated(content, _MAX_BYTES, name, whole=True))
            kind, content = _Elements(inflated, order, name).read()
            if kind == _MATRIX:
                yield content


def _inflated(content: memoryview, most: int, name: str, *, whole: bool) -> bytes:
    stream = zlib.decompressobj()
    try:
        # With a limit: a few kilobytes of deflate can expand a thousandfold
        found = stream.decompress(content, most)
    except zlib.error as error:
        raise CorruptRecordingError(
            f"{name} contains a compressed variable that cannot be decompressed: {error}; the file is damaged"
        ) from error
    if whole and stream.unconsumed_tail:
        raise UnsupportedRecordingError(f"{name} contains a variable that decompresses to more than {most:,} bytes")
    # zlib reports no error where its input ends early
    if whole and not stream.eof:
        raise TruncatedRecordingError(f"{name} contains an incomplete compressed variable; the file is truncated")
    return found


class _Elements:
    """The elements of a stretch of bytes, one after the other: each a type, a length and its content."""

    def __init__(self, data: memoryview, order: str, name: str, *, offset: int = 0) -> None:
        self._data, self._order, self._name = data, order, name
        self._at, self._offset = 0, offset

    def more(self) -> bool:
        """Whether another element can begin here."""
        return len(self._data) - self._at >= 8

    def read(self, *, padded: bool = True) -> tuple[int, memoryview]:
        """Return the next element's type and content; ``padded`` when contents are filled up to 8 bytes."""
        if not self.more():
            raise self._cut(8, len(self._data) - self._at)
        kind, size = struct.unpack_from(f"{self._order}II", self._data, self._at)
        # A small element: the length is packed with the type, and the content takes the place of the length
        if kind >> 16:
            kind, size = kind & 0xFFFF, kind >> 16
            start, end = self._at + 4, self._at + 8
            if size > 4:
                raise CorruptRecordingError(
                    f"{self._name} contains a small element of {size} bytes, expected at most 4; the file is damaged"
                )
        else:
            start = self._at + 8
            end = start + size + (-size % 8 if padded else 0)
        if start + size > len(self._data):
            raise self._cut(size, len(self._data) - start)
        self._at = min(end, len(self._data))
        return kind, self._data[start : start + size]

    def numbers(self, most: int) -> list[int]:
        """Return the next element as whole numbers, at most so many."""
        kind, content = self.read()
        form = _INTEGERS.get(kind)
        if form is None or len(content) > 8 * most:
            raise CorruptRecordingError(
                f"{self._name} contains an element of type {kind}, expected integers; the file is damaged"
            )
        width = struct.calcsize(self._order + form)
        if len(content) % width:
            raise CorruptRecordingError(
                f"{self._name} contains {len(content):,} bytes, expected numbers of {width} bytes; the file is damaged"
            )
        return list(struct.unpack(f"{self._order}{len(content) // width}{form}", content))

    def _cut(self, wanted: int, seen: int) -> TruncatedRecordingError:
        where = f"at byte {self._offset + self._at:,}" if self._offset else "inside a variable"
        return TruncatedRecordingError(
            f"{self._name} contains an element {where} of {wanted:,} bytes, but only {max(0, seen):,} are left; the file is truncated or damaged"
        )


class _Matrix:
    """One matrix: its flags, dimensions, name and values."""

    def __init__(self, content: memoryview, order: str, name: str, level: int, budget: Budget) -> None:
        self._budget = budget
        self._elements = _Elements(content, order, name)
        self._empty = len(content) == 0
        self._order, self._name, self._level = order, name, level
        if level > _MAX_LEVELS:
            raise CorruptRecordingError(
                f"{name} nests its values more than {_MAX_LEVELS} levels deep; it is not a Scanbox info file, or is damaged"
            )

    def read(self) -> tuple[str, Any]:
        """Return the name and the value."""
        if self._empty:
            return "", np.empty((0, 0))
        flags = self._elements.numbers(2)
        kind = flags[0] & 0xFF if flags else 0
        if kind == _OPAQUE:
            return "", None
        shape = tuple(self._elements.numbers(32))
        if len(shape) < 2 or min(shape) < 0:
            raise CorruptRecordingError(f"{self._name} contains a matrix of dimensions {shape}; the file is damaged")
        name = bytes(self._elements.read()[1]).decode("latin-1")
        return name, self._value(kind, shape)

    def _value(self, kind: int, shape: tuple[int, ...]) -> Any:
        if kind == _CELL:
            return self._cell(shape)
        if kind == _STRUCT:
            return self._structure(math.prod(shape))
        if kind == _CHAR:
            return self._text(shape[0])
        if kind in _NUMBERS:
            return self._array(np.dtype(_NUMBERS[kind]), shape)
        return None

    def _array(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
        """Return numbers; they are stored in the smallest type that fits them. An imaginary part is left out."""
        kind, content = self._elements.read()
        form = _STORED.get(kind)
        width = np.dtype(form).itemsize if form else 1
        if form is None or len(content) != math.prod(shape) * width:
            raise CorruptRecordingError(
                f"{self._name} contains an array of dimensions {shape} in {len(content):,} bytes of type {kind}; the file is damaged"
            )
        # MATLAB stores doubles that are whole numbers as bytes or short integers; the cast restores the class
        stored = np.frombuffer(content, self._order + form)
        return stored.astype(dtype).reshape(shape, order="F")

    def _text(self, rows: int) -> str | list[str]:
        """Return the text, or the rows of a matrix of characters."""
        kind, content = self._elements.read()
        order = "le" if self._order == "<" else "be"
        if kind in _TEXTS:
            coding = _TEXTS[kind] + ("" if kind == 16 else f"-{order}")
        else:
            coding = f"utf-16-{order}" if kind in (3, 4) else "latin-1"
        text = bytes(content).decode(coding, "replace")
        # Characters are stored column by column, so a row is every rows-th character
        if rows < 2:
            return text
        self._budget.spend(min(rows, len(text)))
        return [text[row::rows] for row in range(min(rows, len(text)))]

    def _cell(self, shape: tuple[int, ...]) -> list[list[Any]]:
        """Return the rows; a cell of three or more dimensions has its later ones in its columns."""
        values = self._nested(math.prod(shape))
        rows = shape[0]
        return [values[row::rows] for row in range(rows)] if values else []

    def _structure(self, count: int) -> Any:
        width = (self._elements.numbers(1) or [0])[0]
        names = bytes(self._elements.read()[1])
        # Names are stored in equal widths, in MATLAB's own files of 32 or 64 bytes
        if not 0 < width <= 256 or len(names) % width or len(names) // width > _MAX_FIELDS:
            raise CorruptRecordingError(
                f"{self._name} contains a structure with {len(names):,} bytes of field names of {width} bytes each; the file is damaged"
            )
        fields = [names[at : at + width].split(b"\0", 1)[0].decode("latin-1") for at in range(0, len(names), width)]
        found = []
        for _ in range(count if fields else 0):
            found.append(dict(zip(fields, self._nested(len(fields)), strict=True)))
        return found[0] if count == 1 and found else found

    def _nested(self, count: int) -> list[Any]:
        found = []
        for _ in range(count):
            self._budget.spend()
            kind, content = self._elements.read()
            if kind != _MATRIX:
                raise CorruptRecordingError(
                    f"{self._name} contains an element of type {kind}, expected a matrix; the file is damaged"
                )
            found.append(_Matrix(content, self._order, self._name, self._level + 1, self._budget).read()[1])
        return found


def _hdf5_variable(file: PositionedFile, variable: str) -> Any:
    try:
        with open_hdf5_file(file.path) as root:
            budget = Budget(_MAX_MATRICES, file.name, "variables, cells and fields, or KiB in them")
            return _hdf5_value(root, variable, file.name, 0, budget)
    except ImportError as error:
        raise MissingDependencyError(
            f"{file.name} is a MATLAB 7.3 file, which is HDF5: python -m pip install h5py"
        ) from error
    # h5py raises each of these for damaged files, depending on the place of the damage
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise CorruptRecordingError(f"{file.name} cannot be read as MATLAB 7.3: {printable(error)}") from error


def _hdf5_value(group: Any, key: str, name: str, level: int, budget: Budget) -> Any:
    link = group.get(key, getlink=True)
    # An external link would open any other file that its author names
    if link is None or type(link).__name__ == "ExternalLink":
        return None
    return _hdf5_node(group[key], name, level, budget)


def _hdf5_node(node: Any, name: str, level: int, budget: Budget) -> Any:
    """Return the value of a group (a structure) or a dataset; dimensions are reversed in the file."""
    if level > _MAX_LEVELS:
        raise CorruptRecordingError(f"{name} nests its values more than {_MAX_LEVELS} levels deep")
    budget.spend()  # cells name others by reference, which may all be to the same ones
    if hasattr(node, "keys"):
        if len(node) > _MAX_FIELDS:
            raise CorruptRecordingError(
                f"{name} contains a structure of {len(node):,} fields, expected at most {_MAX_FIELDS:,}"
            )
        return {str(key): _hdf5_value(node, key, name, level + 1, budget) for key in node}
    # External and virtual datasets read other files; a declared size may be far above the size of the file
    if node.external or node.is_virtual or node.nbytes > _MAX_BYTES:
        return None
    budget.spend(node.nbytes >> 10)
    # MATLAB stores no lists of varying length; a text whose type is damaged looks like one, and reading it ends the process
    if type(node.id.get_type()).__name__ == "TypeVlenID":
        return None
    kind = attribute_value(node, "MATLAB_class") if "MATLAB_class" in node.attrs else ""
    # An empty array stores its dimensions as values
    if "MATLAB_empty" in node.attrs:
        return "" if kind == "char" else [] if kind == "cell" else np.empty((0, 0))
    values = np.asarray(node[()]).T
    if kind == "char":
        return "".join(map(chr, values.ravel(order="F").tolist()))
    if kind in ("cell", "struct"):
        rows = [[_hdf5_node(node.file[ref], name, level + 1, budget) for ref in row] for row in np.atleast_2d(values)]
        return rows if kind == "cell" else [value for row in rows for value in row]
    return values if values.dtype.kind in "biuf" and kind not in ("function_handle", "", None) else None

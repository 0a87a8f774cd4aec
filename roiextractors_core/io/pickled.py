"""Pickles of plain values and arrays, read without running anything that is in them.

The standard library's unpickler, in its Python form, moves the values about.  It is given only the opcodes that plain values
need, and the names in a pickle are never imported: a few that stand for arrays, numbers, times, paths and containers are
mapped to functions of this module, and any other name or opcode is refused.  Long payloads stay in the file.
"""

from __future__ import annotations

import ast
import math
import pickle
import re
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar, NoReturn

import numpy as np

from ..errors import (
    CorruptRecordingError,
    RoiExtractorsError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from .positioned import PositionedFile

__all__ = ["PickledArray", "PickledObject", "read_pickle", "read_pickled_npy", "texts_of_pickled_npy"]

_BUFFER_BYTES = 1 << 16
_MAX_INLINE = 4096  # a longer payload is left in the file until it is read
_MAX_OPCODES = 1_000_000  # bounds the time: each is a step of a Python loop
# Lists of ROIs are longer than this: an ROI has some 250 opcodes, a few dozen of which are calls of functions
_MAX_OBJECTS = 100_000
_MAX_OPCODES_AN_OBJECT = 500
_MAX_CALLS_AN_OBJECT = 50
_MAX_KEPT_AN_OBJECT = 1 << 14
_MAX_DEPTH = 100  # later code walks the values recursively
_MAX_VALUES = 5_000_000  # after unfolding: ten lists in each list, nine levels deep, are 10**9 values
_MAX_KEPT = 64 << 20  # bytes of all short payloads together
_MAX_LINE = 400  # the names that are known have under 40 letters
_MAX_DIMENSIONS = 64  # numpy's own limit since 2.0
_MAX_PARTS = 64

Read = Callable[[int, int], bytes]


def read_pickle(file: PositionedFile, *, classes: Collection[str] = (), max_opcodes: int = _MAX_OPCODES) -> Any:
    """Return the value of a pickle file of protocol 2 to 5, by Python 2 or 3.

    Parameters
    ----------
    file : PositionedFile
        It must stay open for as long as arrays are read.
    classes : collection of str
        Full names of classes, such as ``"scipy.sparse.lil.lil_matrix"``, of which the pickle may contain objects or which it may
        name; each becomes a :class:`PickledObject`. Nothing is imported for them.
    max_opcodes : int
        A longer pickle is refused; a million take about a second.

    Returns
    -------
    object
        Dictionaries, lists, tuples, numbers, texts, :class:`PickledArray`, :class:`PickledObject`.  Sets are lists, paths are str,
        and so are the byte strings of Python 2, decoded as Latin-1.

    Raises
    ------
    UnsupportedRecordingError, CorruptRecordingError, TruncatedRecordingError
        As :func:`read_pickled_npy`.
    """
    tape = _Tape(file.read, file.size, file.name, max_kept=max(_MAX_KEPT, 8 * max_opcodes))
    unpickler = _ObjectUnpickler(tape, classes)
    unpickler.max_opcodes = unpickler.max_calls = max_opcodes
    value = unpickler.load()
    if type(value) in _CONTAINERS:
        _measure(value, file.name, 0, {}, max(_MAX_VALUES, max_opcodes))
    return value


def read_pickled_npy(file: PositionedFile, *, num_objects: int = 0) -> list[Any]:
    """Return the pickled objects of a ``.npy`` file: dictionaries, lists, numbers, texts, :class:`PickledArray`.

    Nothing in the file is imported or run; the names of arrays, containers, numbers, times and paths are known, and any other
    is refused.

    Parameters
    ----------
    file : PositionedFile
        It must stay open for as long as arrays are read.
    num_objects : int
        How many objects are expected; the limits grow with it.

    Returns
    -------
    list
        One object for an array without dimensions, as ``numpy.save`` makes of a dictionary.  Sets are lists, paths are str.

    Raises
    ------
    UnsupportedRecordingError
        The pickle names something that is not an array, container, number, time or path; it was not imported.
    CorruptRecordingError, TruncatedRecordingError
        The bytes are not a pickle of such values, end too early, are nested too deeply or contain too many of them.
    """
    more = min(num_objects, _MAX_OBJECTS)
    tape = _Tape(file.read, file.size, file.name, max_kept=_MAX_KEPT + _MAX_KEPT_AN_OBJECT * more)
    count = _read_header(tape)
    unpickler = _Unpickler(tape)
    unpickler.max_opcodes = _MAX_OPCODES + _MAX_OPCODES_AN_OBJECT * more
    unpickler.max_calls = _MAX_OPCODES + _MAX_CALLS_AN_OBJECT * more
    array = unpickler.load()
    objects = array.objects if isinstance(array, PickledArray) else None
    if objects is None or len(objects) != count:
        raise CorruptRecordingError(
            f"{file.name} should contain {count:,} objects, but its pickle contains something else"
        )
    _measure(objects, file.name, 0, {})
    return objects


def texts_of_pickled_npy(read: Read, size: int) -> set[str]:
    """Return the short texts, dictionary keys among them, at the start of a ``.npy`` file of objects; none for other bytes.

    Parameters
    ----------
    read : callable
        From offset and count to bytes.
    size : int
        How many bytes may be looked at.
    """
    tape = _Tape(read, size, "the file")
    unpickler = _Unpickler(tape)
    try:
        _read_header(tape)
        unpickler.load()
    except (CorruptRecordingError, UnsupportedRecordingError):
        pass  # expected: the part that is looked at ends in the middle of the pickle
    return unpickler.texts


@dataclass(frozen=True, slots=True)
class _Payload:
    """Bytes that were left in the file; as text they are the UTF-8 of Latin-1 characters that stand for bytes."""

    fetch: Read
    offset: int
    length: int
    is_text: bool

    def __len__(self) -> int:
        return self.length

    def read(self) -> bytes:
        raw = self.fetch(self.offset, self.length)
        if len(raw) < self.length:
            raise TruncatedRecordingError(f"the file ends inside the {self.length:,} bytes at byte {self.offset:,}")
        try:
            return raw.decode("utf-8").encode("latin-1") if self.is_text else raw
        except UnicodeError as error:
            raise CorruptRecordingError(f"the text at byte {self.offset:,} does not encode bytes") from error


class PickledArray:
    """An array of a pickle; the bytes of a long one stay in the file until :meth:`read` is called.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        ``object`` where it contains objects.
    objects : list or None
        The objects of an object array, in the order of the file; None for numbers.
    """

    __slots__ = ("_content", "_order", "dtype", "shape")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = (0,)
        self.dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._order: Any = "C"
        self._content: bytes | _Payload | list[Any] = b""

    @property
    def objects(self) -> list[Any] | None:
        return self._content if isinstance(self._content, list) else None

    @property
    def offset(self) -> int | None:
        """Where the bytes of its numbers begin in the file, so that a part can be read; None where only :meth:`read` can."""
        is_plain = isinstance(self._content, _Payload) and not self._content.is_text and self._order == "C"
        return self._content.offset if is_plain else None  # type: ignore[union-attr]

    def fill(self, shape: Any, dtype: Any, is_fortran: Any, content: Any) -> None:
        """Set shape, dtype and content by the pickle. Nothing is allocated: the bytes must be there and fit the shape."""
        lengths = _expect(shape, tuple)
        if not isinstance(dtype, _Dtype) or len(lengths) > _MAX_DIMENSIONS:
            raise TypeError("an array needs a dtype and a shape")
        content = content.encode("latin-1") if isinstance(content, str) else content  # the bytes of Python 2
        for n in lengths:
            if type(n) is not int or not 0 <= n < 1 << 48:  # not isinstance(): True is an int too
                raise ValueError(f"{lengths!r:.80} is not the shape of an array")
        count, value = math.prod(lengths), dtype.value
        if isinstance(content, list):
            fits = value.hasobject and len(content) == count
        elif isinstance(content, _Payload) and content.is_text:  # a byte takes one or two bytes as UTF-8
            fits = not value.hasobject and content.length <= 2 * count * value.itemsize <= 2 * content.length
        else:
            size = len(_expect(content, (bytes, _Payload)))
            fits = not value.hasobject and size == count * value.itemsize
        if not fits:
            raise ValueError(f"the content of an array does not fit its shape {lengths} of {value}")
        self.shape, self.dtype, self._content = lengths, value, content
        self._order = "F" if is_fortran else "C"

    def read(self) -> np.ndarray:
        """Return the array.

        Raises
        ------
        CorruptRecordingError, TruncatedRecordingError
            The bytes in the file are not those of the array.
        """
        if isinstance(self._content, list):
            objects = np.empty(len(self._content), object)
            objects[:] = self._content
            return objects.reshape(self.shape, order=self._order)
        raw = self._content if isinstance(self._content, bytes) else self._content.read()
        try:
            array = np.frombuffer(raw, self.dtype) if raw else np.empty(0, self.dtype)
            # A copy: frombuffer is read-only
            return array.reshape(self.shape, order=self._order).copy(self._order)
        except ValueError as error:
            raise CorruptRecordingError(
                f"the bytes of an array do not fit its shape {self.shape} of {self.dtype}"
            ) from error

    def __repr__(self) -> str:
        return f"<array {self.shape} of {self.dtype}>"


@dataclass(slots=True, eq=False)
class PickledObject:
    """An object of a class that the caller of :func:`read_pickle` named, or the class itself, as plain data.

    Attributes
    ----------
    name : str
        Of the class, with its module.
    arguments : tuple or None
        Those of ``__new__`` or of the class, as the pickle gives them; None where the pickle names the class and makes no object.
    state : object
        What the object's ``__setstate__`` would get, most often a dictionary of its attributes; None where there is none.
    """

    name: str
    arguments: tuple[Any, ...] | None = None
    state: Any = None


@dataclass(slots=True)
class _Dtype:
    """A dtype; its byte order comes with a later opcode, and with it a function that unpacks one number of the common types."""

    value: np.dtype[Any]
    unpack: Callable[[bytes], tuple[Any, ...]] | None = None


class _Tape:
    """The bytes of the file, read forward in pieces; long payloads are skipped."""

    def __init__(self, read: Read, size: int, name: str, max_kept: int = _MAX_KEPT) -> None:
        self.fetch = read
        self.name = name
        self.position = 0
        self._size = size
        self._buffer, self._start = b"", 0
        self._kept, self._max_kept = 0, max_kept

    def look(self) -> tuple[bytes, int]:
        """Return the buffer and the place of the next byte; an opcode and its operand fit behind it unless the file ends."""
        at = self.position - self._start
        is_last = self._start + len(self._buffer) >= self._size
        if not 0 <= at < len(self._buffer) - (0 if is_last else _MARGIN):
            self._start, at = self.position, 0
            self._buffer = self.fetch(self.position, min(_BUFFER_BYTES, self._size - self.position))
        return self._buffer, at

    def move(self, at: int) -> None:
        """Go on at a place in the buffer."""
        self.keep(self._start + at - self.position)
        self.position = self._start + at

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most ``_BUFFER_BYTES``."""
        at = self.position - self._start
        if not 0 <= at <= len(self._buffer) - count:
            self._start, at = self.position, 0
            self._buffer = self.fetch(self.position, min(_BUFFER_BYTES, self._size - self.position))
            if len(self._buffer) < count:
                raise self._truncated(count)
        self.position += count
        self.keep(count)
        return self._buffer[at : at + count]

    def readline(self) -> bytes:
        """Return the next line, with its line feed."""
        line = bytearray()
        while not line.endswith(b"\n"):
            line += self.read(1)
            if len(line) > _MAX_LINE:
                raise ValueError(f"a name has over {_MAX_LINE} letters")
        return bytes(line)

    def number(self, form: str) -> Any:
        """Return one number, in the notation of ``struct``."""
        return struct.unpack(form, self.read(struct.calcsize(form)))[0]

    def skip(self, count: int) -> int:
        """Skip the next bytes and return where they begin."""
        start = self.position
        if count > self._size - start:
            raise self._truncated(count)
        self.position += count
        return start

    def keep(self, count: int) -> None:
        """Count bytes that stay in memory; many short values are refused like one long one."""
        self._kept += count
        if self._kept > self._max_kept:
            raise CorruptRecordingError(
                f"{self.name} contains over {self._max_kept:,} bytes of small values; not read further"
            )

    def _truncated(self, count: int) -> TruncatedRecordingError:
        return TruncatedRecordingError(
            f"{self.name} is truncated: it ends at byte {self._size:,}, and {count:,} bytes are needed at byte {self.position:,}"
        )


# The opcodes whose effect in the standard library is safe for any operands: they push plain values, or move values between
# the stack, the memo and lists.  The memo is a dictionary, so that high places in it cost nothing.  LONG4, INST, OBJ, NEWOBJ,
# EXT, persistent ids and the texts of protocol 0 are left out: numpy writes none of them.
_STANDARD_OPCODES = (
    pickle.NONE + pickle.NEWTRUE + pickle.NEWFALSE + pickle.BININT + pickle.BININT1 + pickle.BININT2 + pickle.LONG1
    + pickle.BINFLOAT + pickle.EMPTY_TUPLE + pickle.TUPLE + pickle.TUPLE1 + pickle.TUPLE2 + pickle.TUPLE3 + pickle.EMPTY_LIST
    + pickle.APPEND + pickle.APPENDS + pickle.EMPTY_DICT + pickle.MARK + pickle.BINPUT + pickle.LONG_BINPUT + pickle.MEMOIZE
    + pickle.BINGET + pickle.LONG_BINGET + pickle.GLOBAL + pickle.STACK_GLOBAL
)  # fmt: skip


# Those that lists of ROIs consist of
_BINBYTES, _BINGET, _BININT1, _BUILD, _LONG_BINGET, _LONG_BINPUT, _MARK, _MEMOIZE, _NEWFALSE, _REDUCE = (
    pickle.BINBYTES + pickle.BINGET + pickle.BININT1 + pickle.BUILD + pickle.LONG_BINGET + pickle.LONG_BINPUT + pickle.MARK
    + pickle.MEMOIZE + pickle.NEWFALSE + pickle.REDUCE
)  # fmt: skip
_SHORT_BINBYTES = pickle.SHORT_BINBYTES[0]
_TUPLE, _TUPLE1, _TUPLE2, _TUPLE3 = pickle.TUPLE + pickle.TUPLE1 + pickle.TUPLE2 + pickle.TUPLE3
_BINFLOAT, _BININT2, _EMPTY_LIST = pickle.BINFLOAT + pickle.BININT2 + pickle.EMPTY_LIST  # the rows of sparse matrices
_NONE_OF_THESE = -1
_MARGIN = 5  # bytes of an opcode and its operand
_FLOAT = struct.Struct(">d")
# Most rows of the sparse mask of an ROI are empty lists, each of which is put into the memo
_EMPTY_ROWS = re.compile(rb"(?:\]r.{4}){4,}", re.DOTALL)
_PUT = struct.Struct("<2xI")
_FORMS = {"f4": "f", "f8": "d", "i4": "i", "i8": "q", "b1": "?"}  # of struct, by the name of the dtype
_KEY_TYPES = frozenset({str, int, float, bool, bytes, type(None)})

_Standard: Any = pickle._Unpickler  # in Python; the one in C cannot be given fewer opcodes


class _Unpickler(_Standard):  # type: ignore[misc]
    """The standard library's unpickler with few opcodes, and with names that stand for functions of this module.

    Attributes
    ----------
    texts : set of str
        The short texts so far.
    max_opcodes, max_calls : int
        How many opcodes are followed, and how many of them by functions of the table ``dispatch``.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], Any]]] = {code: _Standard.dispatch[code] for code in _STANDARD_OPCODES}

    def __init__(self, tape: _Tape) -> None:
        super().__init__(tape)
        self.texts: set[str] = set()
        self.max_opcodes = self.max_calls = _MAX_OPCODES
        self._tape = tape

    def load(self) -> Any:
        """Follow the opcodes to STOP and return the one value that is left."""
        self.read, self.readline = self._tape.read, self._tape.readline
        self.metastack: list[list[Any]] = []
        self.stack: list[Any] = []
        try:
            self._follow()
            return self._last_value()
        except RoiExtractorsError:  # some of these are a ValueError too
            raise
        except (pickle.UnpicklingError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise CorruptRecordingError(
                f"the pickle in {self._tape.name} is damaged near byte {self._tape.position:,}: {printable(error)[:200]}"
            ) from error

    def _follow(self) -> None:
        """Follow the opcodes to STOP.

        A list of ROIs has a million opcodes, most of them of a dozen kinds.  These are followed here, in the order of how often
        they occur: with a function for each it would take four times as long.  The effects are those of the standard library.
        """
        tape, memo, stack, num_calls, num_lists = self._tape, self.memo, self.stack, 0, 0
        data, at = tape.look()
        end = len(data) - _MARGIN
        for _ in range(self.max_opcodes):
            if at >= end:
                tape.move(at)
                data, at = tape.look()
                end = len(data) - _MARGIN
            # At the end of the file the operands may be missing; the functions check that
            code = data[at] if at < end else _NONE_OF_THESE
            if code == _MEMOIZE:
                memo[len(memo)] = stack[-1]
                at += 1
            elif code == _BINGET:
                stack.append(memo[data[at + 1]])
                at += 2
            elif code == _BININT1:
                stack.append(data[at + 1])
                at += 2
            elif code == _LONG_BINPUT:
                memo[int.from_bytes(data[at + 1 : at + 5], "little")] = stack[-1]
                at += 5
            elif code == _EMPTY_LIST and num_lists < self.max_calls:  # a byte that takes 64 bytes of memory
                rows = _EMPTY_ROWS.match(data, at, max(at, end))
                lists: list[list[Any]] = [[] for _ in range(1 if rows is None else len(rows[0]) // _PUT.size)]
                stack.extend(lists)
                num_lists += len(lists)
                at += 1 if rows is None else len(rows[0])
                if rows is not None:
                    memo.update(zip((place for (place,) in _PUT.iter_unpack(rows[0])), lists, strict=True))
            elif code == _REDUCE:
                tape.move(at + 1)  # for the place in an error, and since the function counts bytes
                self._reduce()
                at += 1
                if data[at] == _MEMOIZE:  # here and below, since it nearly always follows
                    memo[len(memo)] = self.stack[-1]
                    at += 1
            elif code == _SHORT_BINBYTES and at + 2 + data[at + 1] < end:
                length = data[at + 1]
                at += 2 + length
                stack.append(data[at - length : at])
                if data[at] == _MEMOIZE:
                    memo[len(memo)] = stack[-1]
                    at += 1
            elif code == _TUPLE2 and type(stack[-1]) is not tuple:
                stack[-2:] = ((stack[-2], stack[-1]),)
                at += 1
                if data[at] == _MEMOIZE:
                    memo[len(memo)] = stack[-1]
                    at += 1
            elif code == _TUPLE1 and type(stack[-1]) is not tuple:  # a tuple of tuples of ... may be a bomb
                stack[-1] = (stack[-1],)
                at += 1
            elif code == _MARK and len(self.metastack) < _MAX_DEPTH:
                self.metastack.append(stack)
                self.stack = stack = []
                at += 1
            elif code == _TUPLE3:
                stack[-3:] = ((stack[-3], stack[-2], stack[-1]),)
                at += 1
            elif code == _NEWFALSE:
                stack.append(False)
                at += 1
            elif code == _TUPLE:
                content, stack = tuple(stack), self.metastack.pop()
                stack.append(content)
                self.stack = stack
                at += 1
            elif code == _BUILD:
                tape.move(at + 1)
                self._build()
                at += 1
            elif code == _BINBYTES and (length := int.from_bytes(data[at + 1 : at + 5], "little")) <= min(
                _MAX_INLINE, end - at - 5
            ):
                at += 5 + length
                stack.append(data[at - length : at])
            elif code == _LONG_BINGET:
                stack.append(memo[int.from_bytes(data[at + 1 : at + 5], "little")])
                at += 5
            elif code == _BININT2:
                stack.append(data[at + 1] | data[at + 2] << 8)
                at += 3
            elif code == _BINFLOAT and at + 9 < end:
                stack.append(_FLOAT.unpack_from(data, at + 1)[0])
                at += 9
            else:
                num_calls += 1
                if num_calls > self.max_calls:
                    break
                tape.move(at)
                self.append = stack.append
                opcode = tape.read(1)
                if opcode == pickle.STOP:
                    return
                (self.dispatch.get(opcode[0]) or _refuse_opcode)(self)
                stack = self.stack
                data, at = tape.look()
                end = len(data) - _MARGIN
        raise CorruptRecordingError(
            f"{tape.name} has over {min(self.max_opcodes, self.max_calls):,} pickle opcodes; not read further"
        )

    def find_class(self, module: str, name: str) -> _Name:
        """Return the function behind a name; nothing is imported."""
        make = _NAMES.get((module, name))
        if make is None:
            raise UnsupportedRecordingError(
                f"{self._tape.name} names {printable(f'{module}.{name}')[:120]} near byte {self._tape.position:,}, which is not an "
                "array, container, number, time or path; it was not imported. Save the file again without that object"
            )
        return _Name(f"{module}.{name}", make)

    def _last_value(self) -> Any:
        if self.metastack or len(self.stack) != 1:
            raise ValueError(f"it ends with {len(self.stack):,} values left")
        return self.stack[0]

    def _load_protocol(self) -> None:
        protocol = self._tape.number("B")
        if not 2 <= protocol <= 5:
            raise UnsupportedRecordingError(
                f"{self._tape.name} is a pickle of protocol {protocol}; protocols 2 to 5 are supported"
            )

    def _load_frame(self) -> None:
        self._tape.number(
            "<Q"
        )  # the standard library would read the whole frame into memory; the tape has its own buffer

    def _load_text(self, form: str) -> None:
        length = self._tape.number(form)
        if length > _MAX_INLINE:
            self.append(_Payload(self._tape.fetch, self._tape.skip(length), length, is_text=True))
            return
        text = self._tape.read(length).decode("utf-8", "surrogatepass")  # as pickle writes it
        self.texts.add(text)
        self.append(text)

    def _load_bytes(self, form: str) -> None:
        length = self._tape.number(form)
        is_long = length > _MAX_INLINE
        payload = _Payload(self._tape.fetch, self._tape.skip(length), length, is_text=False) if is_long else None
        self.append(payload or self._tape.read(length))

    def _set_items(self, items: list[Any]) -> None:
        # keys are simple: the hash of a tuple that is nested deeply overflows the stack of the interpreter
        target, keys = _expect(self.stack[-1], dict), items[::2]
        for kind in set(map(type, keys)) - _KEY_TYPES:
            raise TypeError(f"a {kind.__name__.strip('_')} is in an impossible place")
        target.update(zip(keys, items[1::2], strict=True))

    def _load_frozenset(self) -> None:
        members = self.pop_mark()  # which replaces self.append
        self.append(members)

    def _reduce(self) -> None:
        parts, name = self.stack.pop(), self.stack.pop()
        if type(parts) is not tuple or type(name) is not _Name:  # in line: this is half of the time of a list of ROIs
            parts, name = _expect(parts, tuple), _expect(name, _Name)
        try:
            value = name.make(*parts)
        except (TypeError, ValueError, OverflowError) as error:
            if isinstance(error, RoiExtractorsError):
                raise
            raise ValueError(f"{name.full} got impossible arguments ({error})") from error
        if type(value) in (str, bytes):
            self._tape.keep(len(value))
        self.stack.append(value)

    def _build(self) -> None:
        state, target = _expect(self.stack.pop(), tuple), _expect(self.stack[-1], (PickledArray, _Dtype))
        if isinstance(target, PickledArray):
            target.fill(*state[1:])  # without the version of the format
            return
        order, *structure = state[1:5]
        if structure != [None, None, None]:  # subdtype, names and fields, as dtype.__reduce__ gives them
            raise UnsupportedRecordingError("structured arrays in a pickle are not supported")
        if order not in ("<", ">", "|", "="):
            raise ValueError(f"{order!r:.20} is not a byte order")
        if target.value.itemsize and not target.value.hasobject:
            target.value = target.value.newbyteorder(order)
        form = _FORMS.get(target.value.str[1:])
        target.unpack = form and struct.Struct(target.value.str[0].replace("|", "=") + form).unpack

    dispatch |= {
        pickle.PROTO[0]: _load_protocol,
        pickle.FRAME[0]: _load_frame,
        pickle.SHORT_BINUNICODE[0]: lambda self: self._load_text("B"),
        pickle.BINUNICODE[0]: lambda self: self._load_text("<I"),
        pickle.BINUNICODE8[0]: lambda self: self._load_text("<Q"),
        pickle.SHORT_BINBYTES[0]: lambda self: self._load_bytes("B"),
        pickle.BINBYTES[0]: lambda self: self._load_bytes("<I"),
        pickle.BINBYTES8[0]: lambda self: self._load_bytes("<Q"),
        pickle.BYTEARRAY8[0]: lambda self: self._load_bytes("<Q"),
        pickle.SETITEM[0]: lambda self: self._set_items([self.stack.pop(-2), self.stack.pop()]),
        pickle.SETITEMS[0]: lambda self: self._set_items(self.pop_mark()),
        # a set becomes the list of its members, for the reason given at _set_items
        pickle.EMPTY_SET[0]: lambda self: self.append([]),
        pickle.ADDITEMS[0]: _Standard.dispatch[pickle.APPENDS[0]],
        pickle.FROZENSET[0]: _load_frozenset,
        pickle.REDUCE[0]: _reduce,
        pickle.BUILD[0]: _build,
    }


class _ObjectUnpickler(_Unpickler):
    """Reads also the strings of Python 2, and objects of named classes, as plain data."""

    dispatch: ClassVar[dict[int, Callable[[Any], Any]]] = dict(_Unpickler.dispatch)

    def __init__(self, tape: _Tape, classes: Collection[str]) -> None:
        super().__init__(tape)
        self._classes = frozenset(classes)

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in self._classes:
            return PickledObject(full)
        return _Name(full, _make_text) if full == _TEXT_OF_PYTHON_2 else super().find_class(module, name)

    def _new_object(self) -> None:
        arguments, kind = _expect(self.stack.pop(), tuple), self.stack.pop()
        if isinstance(kind, _Name) and kind.full == _TEXT_OF_PYTHON_2:
            self.append(kind.make(*arguments))
        else:
            self.append(_new(kind, arguments))

    def _reduce(self) -> None:
        if isinstance(self.stack[-2], PickledObject):
            arguments, kind = _expect(self.stack.pop(), tuple), self.stack.pop()
            self.stack.append(_new(kind, arguments))
        else:
            super()._reduce()

    def _build(self) -> None:
        target = self.stack[-2]
        if isinstance(target, PickledObject):
            if target.arguments is None or target.state is not None:
                raise TypeError(f"the state of {target.name} is in an impossible place")
            target.state = self.stack.pop()
        elif isinstance(target, str):  # attributes of a text, which are none
            self.stack.pop()
        else:
            super()._build()

    def _load_string(self, form: str) -> None:
        length = self._tape.number(form)
        if length < 0:
            raise ValueError(f"a string has {length} bytes")
        if length > _MAX_INLINE:
            self.append(_Payload(self._tape.fetch, self._tape.skip(length), length, is_text=False))
            return
        text = self._tape.read(length).decode("latin-1")
        self.texts.add(text)
        self.append(text)

    dispatch |= {
        pickle.NEWOBJ[0]: _new_object,
        pickle.REDUCE[0]: lambda self: self._reduce(),
        pickle.BUILD[0]: lambda self: self._build(),
        pickle.SHORT_BINSTRING[0]: lambda self: self._load_string("B"),
        pickle.BINSTRING[0]: lambda self: self._load_string("<i"),
    }


# Of the package future, with which programs of both Pythons wrote their texts
_TEXT_OF_PYTHON_2 = "future.types.newstr.newstr"


def _new(kind: Any, arguments: tuple[Any, ...]) -> PickledObject:
    if not isinstance(kind, PickledObject) or kind.arguments is not None:
        raise TypeError("an object is made of something that is not one of the known classes")
    return PickledObject(kind.name, arguments)


def _make_text(text: Any = "") -> str:
    return str(_expect(text, str))


def _refuse_opcode(unpickler: _Unpickler) -> NoReturn:
    import pickletools

    tape = unpickler._tape
    code = tape.fetch(tape.position - 1, 1)
    known = next((op for op in pickletools.opcodes if op.code == code.decode("latin-1")), None)
    word = f"the pickle opcode {known.name}" if known else f"the byte {code.hex()}, which is not a pickle opcode,"
    raise UnsupportedRecordingError(f"{tape.name} has {word} at byte {tape.position - 1:,}; it is not supported")


# The functions behind the names.  Arguments come from the file and are checked: a wrong one raises TypeError or ValueError.


@dataclass(frozen=True, slots=True)
class _Name:
    """A name in the pickle, and the function of this module that makes such a value."""

    full: str
    make: Callable[..., Any]


def _expect(value: Any, kind: type[Any] | tuple[type[Any], ...]) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__.strip('_')} is in an impossible place")
    return value


def _make_array(kind: Any, shape: Any, typecode: Any) -> PickledArray:
    if not isinstance(kind, _Name) or kind.full != "numpy.ndarray":
        raise TypeError("subclasses of ndarray are not supported")
    return PickledArray()


def _make_array_of_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    array = PickledArray()
    array.fill(shape, dtype, order == "F", content)
    return array


def _make_dtype(code: Any, align: Any = False, copy: Any = True) -> _Dtype:
    if not isinstance(code, str) or not re.fullmatch(r"[biufcSUO]\d{1,6}|\?", code):
        raise UnsupportedRecordingError(
            f"the dtype {printable(code)[:40]!r} in a pickle is not supported; numbers, texts and objects are"
        )
    return _Dtype(np.dtype("O" if code.startswith("O") else code))


def _make_scalar(dtype: Any, raw: Any) -> Any:
    if type(dtype) is _Dtype and dtype.unpack is not None and type(raw) is bytes and len(raw) == dtype.value.itemsize:
        return dtype.unpack(raw)[0]  # three times as fast, for the numbers in lists of ROIs
    kind = _expect(dtype, _Dtype).value
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw  # the bytes of Python 2
    if kind.hasobject or len(_expect(raw, bytes)) != kind.itemsize:
        raise TypeError("a number needs a dtype and its bytes")
    return np.frombuffer(raw, kind)[0].item()


def _make_bytes(text: Any = "", encoding: Any = "latin1") -> bytes | _Payload:
    """Return what protocol 2 writes as ``_codecs.encode(text, "latin1")``, or as ``bytes()`` when empty."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes are encoded as Latin-1")
    return text if isinstance(text, _Payload) else bytes(_expect(text, str).encode("latin-1"))


def _make_datetime(raw: Any, zone: Any = None) -> datetime:
    # not datetime(raw): the constructor takes the bytes of a pickle without checking days and hours
    packed = raw.encode("latin-1") if isinstance(raw, str) else raw
    if not isinstance(packed, bytes) or len(packed) != 10 or not isinstance(zone, timezone | None):
        raise TypeError("a time needs ten bytes, and perhaps a time zone")
    micro = int.from_bytes(packed[7:10], "big")
    year, month, fold = packed[0] << 8 | packed[1], packed[2] & 0x7F, packed[2] >> 7
    return datetime(year, month, packed[3], packed[4], packed[5], packed[6], micro, zone, fold=fold)


def _make_path(kind: type[PurePath]) -> Callable[..., str]:
    def make(*parts: Any) -> str:
        if len(parts) > _MAX_PARTS:
            raise ValueError(f"a path of {len(parts):,} parts")
        return str(kind(*(_expect(part, str) for part in parts)))

    return make


_PYTHON: Mapping[str, Callable[..., Any]] = {
    "bytes": lambda: b"",
    "bytearray": lambda content=b"": _expect(content, (bytes, _Payload)),
    "set": lambda items=(): _expect(items, (list, tuple)) or [],
    "frozenset": lambda items=(): _expect(items, (list, tuple)) or [],
    "complex": lambda real, imaginary: complex(_expect(real, float), _expect(imaginary, float)),
}
_PATHS = {
    **dict.fromkeys(("PosixPath", "PurePosixPath"), _make_path(PurePosixPath)),
    **dict.fromkeys(("WindowsPath", "PureWindowsPath"), _make_path(PureWindowsPath)),
}
_NAMES: Mapping[tuple[str, str], Callable[..., Any]] = {
    # Protocol 2 has Python 2's names
    **{(module, name): make for module in ("builtins", "__builtin__") for name, make in _PYTHON.items()},
    # Python 3.13 pickles paths as pathlib._local
    **{(module, name): make for module in ("pathlib", "pathlib._local") for name, make in _PATHS.items()},
    # numpy 2 renamed core to _core
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _make_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _make_scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _make_array_of_buffer for core in ("core", "_core")},
    ("numpy", "ndarray"): PickledArray,  # the word that _make_array asks for
    ("numpy", "dtype"): _make_dtype,
    ("_codecs", "encode"): _make_bytes,
    ("collections", "OrderedDict"): lambda: {},
    ("datetime", "datetime"): _make_datetime,
    ("datetime", "timedelta"): lambda *parts: timedelta(*(_expect(part, int) for part in parts)),
    ("datetime", "timezone"): lambda offset, name=None: timezone(_expect(offset, timedelta)),
}


def _read_header(tape: _Tape) -> int:
    """Read the header of a .npy file and return the number of objects in it."""
    head = tape.read(8)
    if head[:6] != b"\x93NUMPY" or head[6] not in (1, 2, 3):
        raise CorruptRecordingError(f"{tape.name} is not a .npy file: its first bytes are {head.hex(' ') or 'none'}")
    length = tape.number("<H" if head[6] == 1 else "<I")
    if length > _BUFFER_BYTES:  # headers have 128 bytes; numpy itself refuses over 10,000
        raise CorruptRecordingError(f"{tape.name} claims a header of {length:,} bytes")
    text = tape.read(length).decode("latin-1").strip()
    try:
        fields = ast.literal_eval(text)  # literals only, as numpy reads it
        dtype, count = fields["descr"], math.prod(fields["shape"])
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise CorruptRecordingError(
            f"the header of {tape.name} is not that of a .npy file: {printable(text[:60])!r}"
        ) from error
    if dtype not in ("|O", "O", "|O8") or not isinstance(count, int) or not 0 <= count <= _MAX_OPCODES:
        raise UnsupportedRecordingError(
            f"{tape.name} contains numbers or over {_MAX_OPCODES:,} objects, expected pickled objects"
        )
    return count


def _measure(
    value: Any, name: str, level: int, known: dict[int, tuple[int, int]], limit: int = _MAX_VALUES
) -> tuple[int, int]:
    """Return how many values a container unfolds to and how many levels it has; refuse too many of either.

    A pickle of a few bytes can refer to one list a billion times, or put a list into itself; the first is found by counting,
    the second by its endless levels.
    """
    size = known.get(id(value))
    if size is None and level <= _MAX_DEPTH:
        parts = _parts_of(value)
        # Arrays of numbers are values, and no containers are in them, nor in the empty rows of sparse matrices
        containers = [
            part for part in parts if part and type(part) in _CONTAINERS and getattr(part, "objects", part) is not None
        ]
        inner = [_measure(part, name, level + 1, known, limit) for part in containers]
        size = len(parts) + sum(count for count, _ in inner), 1 + max((levels for _, levels in inner), default=0)
        # Remembered by identity: a list that is referred to twice is measured once, so bombs take no time
        known[id(value)] = size
    if size is None or level + size[1] > _MAX_DEPTH:
        raise CorruptRecordingError(f"{name} is nested over {_MAX_DEPTH} levels deep; not read further")
    if size[0] > limit:
        raise CorruptRecordingError(f"{name} unfolds to over {counted(limit, 'value')}; not read further")
    return size


def _parts_of(value: Any) -> Collection[Any]:
    if isinstance(value, PickledArray):
        return value.objects or ()
    if isinstance(value, PickledObject):
        return (value.arguments, value.state)
    parts: Collection[Any] = value.values() if isinstance(value, dict) else value
    return parts


_CONTAINERS = frozenset({dict, list, tuple, PickledArray, PickledObject})

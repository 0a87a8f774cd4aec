"""Reads the pickled dictionaries in suite2p's .npy files by a machine of its own: nothing in the file is ever called.

The opcodes of pickle only move values about; what could run code are the names that a pickle looks up and calls.
Here names are looked up nowhere.  The few that stand for arrays, numbers, times, paths and containers are known as
words, and the values are made from their parts by this module; any other name, and any opcode that these values do
not need, is refused by its name.  Large payloads are not read but remembered by their place.
"""

from __future__ import annotations

import ast
import math
import pickletools
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import PositionedFile

__all__ = ["StoredArray", "read_objects", "texts_at_the_start"]

_BUFFER_BYTES = 1 << 16
_MAX_INLINE = 4096  # a longer payload is left in the file until it is asked for
_MAX_OPCODES = 1_000_000
_MAX_DEPTH = 100
_MAX_VALUES = 5_000_000
_MAX_BYTES = 64 << 20  # of all that is kept in memory
_MAX_LINE = 400
_MAX_DIMENSIONS = 64
_MAX_PARTS = 64
_MAX_HEADER = 1 << 16

Read = Callable[[int, int], bytes]


def read_objects(file: PositionedFile) -> list[Any]:
    """Return the objects of a .npy file: dictionaries, lists, numbers, texts, :class:`StoredArray`.

    Parameters
    ----------
    file : PositionedFile
        It must outlive the arrays that are read later.

    Returns
    -------
    list
        One object for an array of no dimensions, as ``numpy.save`` makes of a dictionary.

    Raises
    ------
    UnsupportedRecordingError
        The pickle names something that is no array, container, number, time or path; it was not looked up.
    CorruptRecordingError, TruncatedRecordingError
        The bytes are no pickle of such values, end too early, are nested too deeply or hold too many of them.
    """
    machine = _Machine(_Tape(file.read, file.size, file.name), file.read)
    count = _objects_in_header(machine.tape)
    found = machine.run()
    _check_size(found, file.name)
    objects = found.objects() if isinstance(found, StoredArray) else None
    if objects is None or len(objects) != count:
        raise CorruptRecordingError(
            f"{file.name} says that it holds {count:,} objects, and its pickle holds something else"
        )
    return objects


def texts_at_the_start(read: Read, size: int) -> set[str]:
    """Return the short texts, keys among them, at the start of a .npy file of objects; none for other bytes.

    Parameters
    ----------
    read : callable
        From offset and count to bytes.
    size : int
        How many bytes may be looked at.
    """
    machine = _Machine(_Tape(read, size, "the file"), read)
    try:
        _objects_in_header(machine.tape)
        machine.run()
    except (CorruptRecordingError, UnsupportedRecordingError):
        pass  # the part that was looked at ends in the middle
    return machine.texts


class StoredArray:
    """An array whose bytes stay in the file until :meth:`read` is called.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        ``object`` where it holds objects, which :meth:`objects` gives.
    """

    __slots__ = ("_content", "_fetch", "_fortran", "dtype", "shape")

    def __init__(self, fetch: Read) -> None:
        self.shape: tuple[int, ...] = (0,)
        self.dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._content: bytes | _Far | list[Any] = b""
        self._fortran = False
        self._fetch = fetch

    def fill(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool, content: bytes | _Far | list[Any]
    ) -> None:
        """Take what the pickle says of the array, when it fits together."""
        count = math.prod(shape)
        if isinstance(content, list):
            fits = dtype.hasobject and len(content) == count
        elif isinstance(content, _Far) and content.is_text:  # every byte takes one or two as UTF-8
            fits = not dtype.hasobject and content.length <= 2 * count * dtype.itemsize <= 2 * content.length
        else:
            fits = not dtype.hasobject and len(content) == count * dtype.itemsize
        if not fits:
            raise CorruptRecordingError(f"the content of a pickled array does not fit its shape {shape} of {dtype}")
        self.shape, self.dtype, self._fortran, self._content = shape, dtype, fortran, content

    def objects(self) -> list[Any] | None:
        """Return the objects of an object array, in the order in which they lie; None for numbers."""
        return self._content if isinstance(self._content, list) else None

    def read(self) -> np.ndarray:
        """Return the array.

        Raises
        ------
        CorruptRecordingError, TruncatedRecordingError
            The bytes in the file are not those of the array.
        """
        order: Any = "F" if self._fortran else "C"
        if isinstance(self._content, list):
            held = np.empty(len(self._content), object)
            held[:] = self._content
            return held.reshape(self.shape, order=order)
        raw = self._content if isinstance(self._content, bytes) else self._content.bytes(self._fetch)
        if len(raw) != math.prod(self.shape) * self.dtype.itemsize:
            raise CorruptRecordingError(
                f"the bytes of a pickled array do not fit its shape {self.shape} of {self.dtype}"
            )
        try:
            found = np.frombuffer(raw, self.dtype) if raw else np.empty(0, self.dtype)
            return found.reshape(self.shape, order=order).copy(order)
        except ValueError as error:
            raise CorruptRecordingError(f"no array has the shape {self.shape}") from error

    def __repr__(self) -> str:
        return f"<array {self.shape} of {self.dtype}>"


class _Far:
    """A payload that was not read: where it is, and whether it is UTF-8 text that stands for Latin-1 bytes."""

    __slots__ = ("is_text", "length", "offset")

    def __init__(self, offset: int, length: int, *, is_text: bool) -> None:
        self.offset = offset
        self.length = length
        self.is_text = is_text

    def __len__(self) -> int:
        return self.length

    def bytes(self, fetch: Read) -> bytes:
        raw = fetch(self.offset, self.length)
        if len(raw) < self.length:
            raise TruncatedRecordingError(f"the file ends inside the {self.length:,} bytes at byte {self.offset:,}")
        if not self.is_text:
            return raw
        try:
            return raw.decode("utf-8").encode("latin-1")
        except UnicodeError as error:
            raise CorruptRecordingError(f"the text at byte {self.offset:,} does not stand for bytes") from error


class _Name:
    """A name in the pickle that is known here; it is a word, and nothing behind it is ever called."""

    __slots__ = ("full", "kind")

    def __init__(self, full: str, kind: str) -> None:
        self.full = full
        self.kind = kind


class _Dtype:
    """A dtype that the pickle is still putting together."""

    __slots__ = ("found",)

    def __init__(self, found: np.dtype[Any]) -> None:
        self.found = found


class _Tape:
    """The bytes of the file, read forward in pieces; a payload can be passed by."""

    def __init__(self, read: Read, size: int, name: str) -> None:
        self._read = read
        self._size = size
        self._start = 0
        self._buffer = b""
        self._taken = 0
        self.name = name
        self.position = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes, at most ``_BUFFER_BYTES``."""
        at = self.position - self._start
        if not 0 <= at <= at + count <= len(self._buffer):
            self._start, at = self.position, 0
            self._buffer = self._read(self.position, min(_BUFFER_BYTES, self._size - self.position))
        found = self._buffer[at : at + count]
        if len(found) < count:
            raise self.cut(count)
        self.position += count
        self.weigh(count)
        return found

    def weigh(self, count: int) -> None:
        """Count what is kept in memory, and refuse what is beyond all use."""
        self._taken += count
        if self._taken > _MAX_BYTES:
            raise CorruptRecordingError(
                f"{self.name} fills over {_MAX_BYTES:,} bytes with small values, and is not read further"
            )

    def number(self, form: str) -> Any:
        """Return one number in the form of ``struct``."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        """Return the text up to the next line feed."""
        found = bytearray()
        while (byte := self.take(1)) != b"\n":
            found += byte
            if len(found) > _MAX_LINE:
                raise CorruptRecordingError(
                    f"{self.name} holds a name of over {_MAX_LINE} letters at byte {self.position:,}"
                )
        return found.decode("utf-8", "replace")

    def skip(self, count: int) -> int:
        """Pass by the next bytes and return where they begin."""
        start = self.position
        if count > self._size - start:
            raise self.cut(count)
        self.position += count
        return start

    def cut(self, count: int) -> TruncatedRecordingError:
        """Make the error for bytes that are not there."""
        return TruncatedRecordingError(
            f"{self.name} ends at byte {self._size:,}, and {count:,} bytes were needed from byte {self.position:,} on; it is cut"
        )


class _Machine:
    """The stack and the memo of pickle, for values alone."""

    def __init__(self, tape: _Tape, fetch: Read) -> None:
        self.tape = tape
        self.texts: set[str] = set()
        self._fetch = fetch
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Follow the opcodes to the end and return the one value that is left."""
        for _ in range(_MAX_OPCODES):
            opcode = self.tape.take(1)
            if opcode == b".":
                return self._last()
            step = _STEPS.get(opcode)
            if step is None:
                raise UnsupportedRecordingError(self._refusal(opcode))
            step(self)
        raise CorruptRecordingError(
            f"{self.tape.name} has over {_MAX_OPCODES:,} pickle opcodes, and is not read further"
        )

    def push(self, value: Any) -> None:
        """Lay a value on the stack."""
        self._stack.append(value)

    def push_text(self, form: str) -> None:
        """Lay a text on the stack, or its place when it is long."""
        length = self.tape.number(form)
        if length > _MAX_INLINE:
            self.push(_Far(self.tape.skip(length), length, is_text=True))
            return
        try:
            text = self.tape.take(length).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise self._corrupt("a text that is no UTF-8") from error
        self.texts.add(text)
        self.push(text)

    def push_bytes(self, form: str) -> None:
        """Lay bytes on the stack, or their place when they are many."""
        length = self.tape.number(form)
        if length > _MAX_INLINE:
            self.push(_Far(self.tape.skip(length), length, is_text=False))
        else:
            self.push(self.tape.take(length))

    def push_long(self, form: str) -> None:
        """Lay a whole number of any length on the stack."""
        length = self.tape.number(form)
        if not 0 <= length <= _MAX_INLINE:
            raise self._corrupt(f"a whole number of {length:,} bytes")
        self.push(int.from_bytes(self.tape.take(length), "little", signed=True))

    def push_name(self, module: Any, name: Any) -> None:
        """Lay a name on the stack as a word, when it is one of the few that are known."""
        kind = _NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if kind is None:
            full = printable(f"{module}.{name}")[:120]
            raise UnsupportedRecordingError(
                f"{self.tape.name} names {full} before byte {self.tape.position:,}, which is no array, container, number, time "
                "or path; it was not run, and the file is not read further. Save it again without that object"
            )
        self.push(_Name(f"{module}.{name}", kind))

    def remember(self, place: int) -> None:
        """Put the topmost value into the memo."""
        self._memo[place] = self._top()

    def memoize(self) -> None:
        """Put the topmost value into the memo's next place."""
        self.remember(len(self._memo))

    def recall(self, place: int) -> None:
        """Lay a value of the memo on the stack."""
        if place not in self._memo:
            raise self._corrupt(f"a reference to value {place:,}, which was not kept")
        self.push(self._memo[place])

    def mark(self) -> None:
        """Remember how high the stack is."""
        self._marks.append(len(self._stack))

    def since_mark(self) -> list[Any]:
        """Take off what lies above the last mark."""
        if not self._marks or self._marks[-1] > len(self._stack):
            raise self._corrupt("the end of a group that never began")
        start = self._marks.pop()
        found = self._stack[start:]
        del self._stack[start:]
        return found

    def take(self, count: int) -> list[Any]:
        """Take off the topmost values, the lowest first."""
        floor = self._marks[-1] if self._marks else 0
        if len(self._stack) - count < floor:
            raise self._corrupt("fewer values than an opcode needs")
        found = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return found

    def extend(self, items: Iterable[Any]) -> None:
        """Add items to the list on top of the stack."""
        target = self._top()
        if not isinstance(target, list):
            raise self._corrupt("items for what is no list")
        target.extend(items)

    def update(self, items: list[Any]) -> None:
        """Add keys and values to the dictionary on top of the stack."""
        target = self._top()
        if not isinstance(target, dict) or len(items) % 2:
            raise self._corrupt("keys and values for what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int | float | bytes | None):
                raise self._corrupt(f"a key that is {type(key).__name__.strip('_')}")
            target[key] = value

    def stack_name(self) -> None:
        """Take module and name off the stack and lay the word on it."""
        module, name = self.take(2)
        self.push_name(module, name)

    def reduce(self) -> None:
        """Make a value of a known kind from its parts."""
        name, parts = self.take(2)
        if not isinstance(name, _Name) or not isinstance(parts, tuple):
            raise self._corrupt("a call of what is no name")
        try:
            made = _MAKERS[name.kind](self._fetch, *parts)
        except (TypeError, ValueError, OverflowError, UnicodeError, KeyError) as error:
            if isinstance(error, CorruptRecordingError | UnsupportedRecordingError):
                raise
            raise self._corrupt(f"a {printable(name.full)} of parts that cannot be") from error
        self.push(made)
        self.tape.weigh(len(made) if isinstance(made, str | bytes) else 0)

    def build(self) -> None:
        """Complete the array or dtype on top of the stack."""
        (state,) = self.take(1)
        target = self._top()
        try:
            if isinstance(target, StoredArray):
                _complete_array(target, state)
            elif isinstance(target, _Dtype):
                _complete_dtype(target, state)
            else:
                raise self._corrupt("a state for what has none")
        except (TypeError, ValueError) as error:
            if isinstance(error, CorruptRecordingError | UnsupportedRecordingError):
                raise
            raise self._corrupt("an array or dtype in a state that cannot be") from error

    def _top(self) -> Any:
        floor = self._marks[-1] if self._marks else 0
        if len(self._stack) <= floor:
            raise self._corrupt("an opcode for a value that is not there")
        return self._stack[-1]

    def _last(self) -> Any:
        if len(self._stack) != 1 or self._marks:
            raise self._corrupt(f"an end with {len(self._stack):,} values left")
        return self._stack[0]

    def _refusal(self, opcode: bytes) -> str:
        known = next((op for op in pickletools.opcodes if op.code == opcode.decode("latin-1")), None)
        word = f"the pickle opcode {known.name}" if known else f"the byte {opcode.hex()}, which is no pickle opcode,"
        return f"{self.tape.name} has {word} at byte {self.tape.position - 1:,}; what it stands for is not made, and the file is not read further"

    def _corrupt(self, what: str) -> CorruptRecordingError:
        return CorruptRecordingError(
            f"{self.tape.name} has {what} before byte {self.tape.position:,}; its pickle is damaged"
        )


_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_PATHS = ("pathlib", "pathlib._local")
_NAMES: Mapping[tuple[str, str], str] = {
    ("numpy", "ndarray"): "class",
    ("numpy", "dtype"): "dtype",
    **{(module, "_reconstruct"): "array" for module in _ARRAYS},
    **{(module, "scalar"): "scalar" for module in _ARRAYS},
    **{(module, "_frombuffer"): "buffer" for module in _NUMERIC},
    ("_codecs", "encode"): "bytes",
    ("builtins", "bytes"): "no bytes",
    ("__builtin__", "bytes"): "no bytes",
    ("builtins", "bytearray"): "copy",
    ("__builtin__", "bytearray"): "copy",
    ("builtins", "set"): "list",
    ("builtins", "frozenset"): "list",
    ("__builtin__", "set"): "list",
    ("__builtin__", "frozenset"): "list",
    ("builtins", "complex"): "complex",
    ("__builtin__", "complex"): "complex",
    ("collections", "OrderedDict"): "dictionary",
    ("datetime", "datetime"): "datetime",
    ("datetime", "timedelta"): "timedelta",
    ("datetime", "timezone"): "timezone",
    **{(module, name): "posix" for module in _PATHS for name in ("PosixPath", "PurePosixPath")},
    **{(module, name): "windows" for module in _PATHS for name in ("WindowsPath", "PureWindowsPath")},
}

_STEPS: Mapping[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: _check_protocol(m.tape),
    b"\x95": lambda m: m.tape.number("<Q"),  # FRAME: how much follows, which the file shows itself
    b"\x94": lambda m: m.memoize(),
    b"q": lambda m: m.remember(m.tape.number("B")),
    b"r": lambda m: m.remember(m.tape.number("<I")),
    b"h": lambda m: m.recall(m.tape.number("B")),
    b"j": lambda m: m.recall(m.tape.number("<I")),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": lambda m: m.push(m.tape.number("<i")),
    b"K": lambda m: m.push(m.tape.number("B")),
    b"M": lambda m: m.push(m.tape.number("<H")),
    b"G": lambda m: m.push(m.tape.number(">d")),
    b"\x8a": lambda m: m.push_long("B"),
    b"\x8b": lambda m: m.push_long("<i"),
    b"X": lambda m: m.push_text("<I"),
    b"\x8c": lambda m: m.push_text("B"),
    b"\x8d": lambda m: m.push_text("<Q"),
    b"B": lambda m: m.push_bytes("<I"),
    b"C": lambda m: m.push_bytes("B"),
    b"\x8e": lambda m: m.push_bytes("<Q"),
    b"\x96": lambda m: m.push_bytes("<Q"),
    b"(": lambda m: m.mark(),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"\x85": lambda m: m.push(tuple(m.take(1))),
    b"\x86": lambda m: m.push(tuple(m.take(2))),
    b"\x87": lambda m: m.push(tuple(m.take(3))),
    b"]": lambda m: m.push([]),
    b"a": lambda m: m.extend(m.take(1)),
    b"e": lambda m: m.extend(m.since_mark()),
    b"}": lambda m: m.push({}),
    b"s": lambda m: m.update(m.take(2)),
    b"u": lambda m: m.update(m.since_mark()),
    b"\x8f": lambda m: m.push([]),  # a set is read as the list of its members
    b"\x90": lambda m: m.extend(m.since_mark()),
    b"\x91": lambda m: m.push(m.since_mark()),
    b"c": lambda m: m.push_name(m.tape.line(), m.tape.line()),
    b"\x93": lambda m: m.stack_name(),
    b"R": lambda m: m.reduce(),
    b"b": lambda m: m.build(),
}


def _make_array(fetch: Read, kind: Any, shape: Any, typecode: Any) -> StoredArray:
    if not isinstance(kind, _Name) or kind.full != "numpy.ndarray":
        raise TypeError("only plain arrays are made")
    return StoredArray(fetch)


def _make_dtype(fetch: Read, code: Any, align: Any = False, copy: Any = True) -> _Dtype:
    if not isinstance(code, str) or not re.fullmatch(r"[biufcSUO]\d{1,6}|\?", code):
        raise UnsupportedRecordingError(
            f"an array of the dtype {printable(code)[:40]!r} is pickled, and numbers, texts and objects are read"
        )
    return _Dtype(np.dtype("O" if code.startswith("O") else code))


def _make_scalar(fetch: Read, kind: Any, raw: Any) -> Any:
    if (
        not isinstance(kind, _Dtype)
        or kind.found.hasobject
        or not isinstance(raw, bytes)
        or len(raw) != kind.found.itemsize
    ):
        raise TypeError("a number is a dtype and its bytes")
    return np.frombuffer(raw, kind.found)[0].item()


def _make_from_buffer(fetch: Read, content: Any, kind: Any, shape: Any, order: Any) -> StoredArray:
    found = StoredArray(fetch)
    _complete_array(found, (1, shape, kind, order == "F", content))
    return found


def _make_bytes(fetch: Read, text: Any, encoding: Any) -> bytes | _Far:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes are pickled as Latin-1")
    return text if isinstance(text, _Far) else bytes(text.encode("latin-1"))


def _make_datetime(fetch: Read, raw: Any, zone: Any = None) -> datetime:
    packed = raw.encode("latin-1") if isinstance(raw, str) else raw
    if not isinstance(packed, bytes) or len(packed) != 10 or not isinstance(zone, timezone | None):
        raise TypeError("a time is ten bytes, and perhaps a zone")
    month, fold = packed[2] & 0x7F, packed[2] >> 7
    micro = int.from_bytes(packed[7:10], "big")
    year, (hour, minute, second) = packed[0] << 8 | packed[1], packed[4:7]
    return datetime(year, month, packed[3], hour, minute, second, micro, zone, fold=fold)


_MAKERS: Mapping[str, Callable[..., Any]] = {
    "array": _make_array,
    "dtype": _make_dtype,
    "scalar": _make_scalar,
    "buffer": _make_from_buffer,
    "bytes": _make_bytes,
    "no bytes": lambda fetch: b"",  # so are none written in protocol 2
    "copy": lambda fetch, content=b"": content,
    "list": lambda fetch, items=None: [] if items is None else _of(items, list),
    "complex": lambda fetch, real, imaginary: complex(_of(real, float), _of(imaginary, float)),
    "dictionary": lambda fetch: {},
    "datetime": _make_datetime,
    "timedelta": lambda fetch, days, seconds, micro: timedelta(_of(days, int), _of(seconds, int), _of(micro, int)),
    "timezone": lambda fetch, offset, name=None: timezone(_of(offset, timedelta)),
    "posix": lambda fetch, *parts: _made_path(PurePosixPath, parts),
    "windows": lambda fetch, *parts: _made_path(PureWindowsPath, parts),
}


def _made_path(kind: type[PurePath], parts: tuple[Any, ...]) -> str:
    if len(parts) > _MAX_PARTS:
        raise ValueError("a path has few parts")
    return str(kind(*(_of(part, str) for part in parts)))


def _of(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} was expected")
    return value


def _complete_array(target: StoredArray, state: Any) -> None:
    _, shape, kind, fortran, content = _of(state, tuple)
    lengths = _of(shape, tuple)
    if not isinstance(kind, _Dtype) or len(lengths) > _MAX_DIMENSIONS:
        raise TypeError("an array needs a dtype and a shape")
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 48 for n in lengths):
        raise ValueError("the shape of an array is of whole numbers")
    if not isinstance(content, bytes | _Far | list):
        raise TypeError("the content of an array is bytes or objects")
    target.fill(lengths, kind.found, bool(fortran), content)


def _complete_dtype(target: _Dtype, state: Any) -> None:
    order, below, names, fields = _of(state, tuple)[1:5]
    if (below, names, fields) != (None, None, None):
        raise UnsupportedRecordingError("a structured array is pickled, and arrays of plain numbers are read")
    if order not in ("<", ">", "|", "="):
        raise ValueError("a dtype has a byte order")
    if target.found.itemsize and not target.found.hasobject:
        target.found = target.found.newbyteorder(order)


def _check_protocol(tape: _Tape) -> None:
    protocol = tape.number("B")
    if not 2 <= protocol <= 5:
        raise UnsupportedRecordingError(f"{tape.name} is a pickle of protocol {protocol}, and 2 to 5 are read")


def _objects_in_header(tape: _Tape) -> int:
    """Read the header of a .npy file and return how many objects it promises."""
    head = tape.take(8)
    if head[:6] != b"\x93NUMPY" or head[6] not in (1, 2, 3):
        raise CorruptRecordingError(f"{tape.name} does not begin as a .npy file: its first bytes are {head.hex(' ')}")
    length = tape.number("<H" if head[6] == 1 else "<I")
    if length > min(_MAX_HEADER, _BUFFER_BYTES):
        raise CorruptRecordingError(f"{tape.name} claims a header of {length:,} bytes")
    text = tape.take(length).decode("latin-1").strip()
    try:
        found = ast.literal_eval(text)
        shape, kind = found["shape"], found["descr"]
        count = math.prod(shape)
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise CorruptRecordingError(
            f"the header of {tape.name} is none of a .npy file: {printable(text[:60])!r}"
        ) from error
    if kind not in ("|O", "O", "|O8") or not isinstance(count, int) or not 0 <= count <= _MAX_OPCODES:
        raise UnsupportedRecordingError(f"{tape.name} holds numbers or too many objects, and no dictionary of suite2p")
    return count


def _check_size(root: Any, name: str) -> None:
    """Refuse what is nested deeply or into itself, or grows large because its parts are used again and again."""
    known: dict[int, tuple[int, int]] = {}  # how many values are in a value, and how many levels
    entered: set[int] = set()
    pending = [root]
    while pending:
        value = pending[-1]
        key = id(value)
        below = [] if key in known else _members(value)
        if not below:
            known.setdefault(key, (1, 1))
            pending.pop()
        elif key in entered:
            inner = [known.get(id(member), (1, 1)) for member in below]
            known[key] = _checked(1 + sum(n for n, _ in inner), 1 + max(levels for _, levels in inner), name)
            entered.discard(key)
            pending.pop()
        else:
            entered.add(key)
            if any(id(member) in entered for member in below):
                raise CorruptRecordingError(f"{name} holds a value that holds itself, and is not read further")
            pending.extend(below)


def _checked(count: int, levels: int, name: str) -> tuple[int, int]:
    if count > _MAX_VALUES or levels > _MAX_DEPTH:
        what = (
            f"unfolds to over {_MAX_VALUES:,} values"
            if count > _MAX_VALUES
            else f"is nested over {_MAX_DEPTH} levels deep"
        )
        raise CorruptRecordingError(f"{name} {what}, and is not read further")
    return count, levels


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, StoredArray):
        return value.objects() or []
    return list(value) if isinstance(value, list | tuple) else []

"""Changes to the bytes of a recording: of its structure (counts, offsets, sizes, texts, links), and blind ones.

Everything is drawn from one generator of random numbers, so that a number names a change for ever.  The layouts known
here are TIFF, HDF5, RIFF, MAT, ZIP and text (XML, JSON, CSV, key = value, alone or inside another file); in others
the bytes that are not pixels are taken for numbers of 1, 2, 4 or 8 bytes.
"""

from __future__ import annotations

import io
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ...errors import counted
from .costly import costly_change

__all__ = ["Anatomy", "Change", "anatomy_of", "draw_change"]

_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TIFF_TAGS: tuple[int, ...] = (
    254,
    256,
    257,
    258,
    259,
    262,
    266,
    269,
    270,
    273,
    274,
    277,
    278,
    279,
    284,
    305,
    306,
    317,
    320,
    322,
    323,
)
_TIFF_TAGS += (324, 325, 330, 338, 339, 347, 34675, 50838, 50839, 51123)
_HDF5_SIGNS = re.compile(
    rb"\x89HDF\r\n\x1a\n|OHDR|OCHK|TREE|HEAP|SNOD|GCOL|FRHP|FHDB|FHIB|FSHD|FSSE|BTHD|BTIN|BTLF|FADB|FAHD|EAHD|EAIB|EASB|EADB"
)
_TEXT_RUN = re.compile(rb"[\x09\x0a\x0d\x20-\x7e]{20,}")
_NUMBER = re.compile(rb"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_QUOTED = re.compile(rb"\"[^\"<>\n]{0,200}\"|'[^'<>\n]{0,200}'")
_ELEMENT = re.compile(rb"<[A-Za-z][^<>]{0,2000}>|\"[^\"\n]{1,80}\"\s*[:=][^,{}\[\]\n]{0,200},?|[^\n]{1,400}\n")
_WORDS: tuple[bytes, ...] = (
    b"",
    b"x",
    b"nan",
    b"inf",
    b"-inf",
    b"1e308",
    b"1e-320",
    b"-1",
    b"0",
    b"0.5",
    b"1",
    b"2",
    b"3",
    b"255",
    b"65536",
)
_WORDS += (b"4294967296", b"1000000000000", b"99999999999999999999", b"9" * 5000, b"null", b"true", b"[]", b"{}")
# Paths out of the folder, terminal escapes, bytes that are not UTF-8, and a text longer than any buffer
_STRINGS: tuple[bytes, ...] = (
    b"",
    b"../../../../etc/passwd",
    b"/etc/passwd",
    b"\x1b[31m",
    b"a\nb",
    b"\xff\xfe",
    b"%s%n",
    b"x" * 5000,
)
_STRINGS += (b"&lol;", b"..", b".", b"CON", b"uint8", b"float64", b"O", b"XYCZT", b"XYTZC")
_H5PY_FAULTS = (OSError, RuntimeError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError)
_ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, NotImplementedError)
_MAX_FIELDS = 200_000  # a file of many pages has millions; drawing from the first ones is enough
_MAX_PAGES = 5000


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The places of the structure of one file.

    Attributes
    ----------
    fields : sequence of (int, int, str)
        Offset, size (bytes) and byte order of numbers that the layout is made of.
    texts : sequence of (int, int)
        Begin and end of runs of text; the whole file when it is a text.
    plain : sequence of (int, int)
        Begin and end of what is not pixels.
    kind : str
    """

    fields: Sequence[tuple[int, int, str]]
    texts: Sequence[tuple[int, int]]
    plain: Sequence[tuple[int, int]]
    kind: str = "bytes"


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to the files of a recording.

    Attributes
    ----------
    words : str
    content : mapping of str to (bytes or None)
        The new bytes of each file that changes; None where it is removed.
    """

    words: str
    content: Mapping[str, bytes | None] = field(default_factory=dict)


def anatomy_of(data: bytes, pixels: Sequence[tuple[int, int]] = ()) -> Anatomy:
    """Find the structure of a file.

    Parameters
    ----------
    data : bytes
    pixels : sequence of (int, int)
        Begin and end of what is known to be pixels, ascending.
    """
    plain = list(_gaps(pixels, len(data)))
    if _is_text(data):
        return Anatomy((), ((0, len(data)),), plain, "text")
    texts = [run for a, b in plain for run in _text_runs(data, a, b)]
    fields: list[tuple[int, int, str]] = []
    kind = "bytes"
    for name, sign, find in _LAYOUTS:
        if re.match(sign, data, re.DOTALL):
            kind = name
            with suppress(struct.error, IndexError):
                for found in find(data):
                    fields.append(found)
                    if len(fields) >= _MAX_FIELDS:
                        break
            break
    return Anatomy(fields, texts, plain, kind)


def draw_change(
    files: Mapping[str, bytes], anatomies: Mapping[str, Anatomy], draw: random.Random, *, costly: bool = False
) -> Change:
    """Draw one change to a recording.

    Parameters
    ----------
    files : mapping of str to bytes
        Every file of the recording.
    anatomies : mapping of str to Anatomy
    draw : random.Random
    costly : bool
        Whether the change is one of those that make a recording cost more than its size justifies.
    """
    if costly:
        name = _one_file(files, draw)
        content = bytearray(files[name])
        return Change(f"{name}: {costly_change(content, anatomies[name].kind, draw)}", {name: bytes(content)})
    # Missing, swapped and empty files: formats of many files trust their names and their count
    if len(files) > 1 and draw.random() < 0.12:
        return _among_files(files, draw)
    name = _one_file(files, draw)
    data = bytearray(files[name])
    words = []
    # Mostly one change: the first check that fails hides all others
    for _ in range(draw.choice((1, 1, 1, 1, 2, 3))):
        words.append(_one_change(data, anatomies[name], draw))
    return Change(f"{name}: {'; '.join(words)}", {name: bytes(data)})


def _one_file(files: Mapping[str, bytes], draw: random.Random) -> str:
    """Draw a file: small ones (headers, side files) as often as large ones, the first of many as often as the rest."""
    names = sorted(files)
    filled = [name for name in names if files[name]] or names
    suffixes = sorted({name.rpartition(".")[2] for name in filled})
    suffix = draw.choice(suffixes)
    same = [name for name in filled if name.rpartition(".")[2] == suffix]
    return same[0] if draw.random() < 0.4 else draw.choice(same)


def _among_files(files: Mapping[str, bytes], draw: random.Random) -> Change:
    names = sorted(files)
    one, other = draw.sample(names, 2)
    kind = draw.randrange(4)
    if kind == 0:
        return Change(f"{one} is gone", {one: None})
    if kind == 1:
        return Change(f"{one} and {other} are exchanged", {one: files[other], other: files[one]})
    if kind == 2:
        return Change(f"{one} is empty", {one: b""})
    return Change(f"{one} is a copy of {other}", {one: files[other]})


def _one_change(data: bytearray, anatomy: Anatomy, draw: random.Random) -> str:
    # Structure weighs more than blind bytes, most of which would only change pixels
    choices: list[tuple[float, Callable[[bytearray, Anatomy, random.Random], str]]] = [(1.0, _blind), (0.6, _number)]
    if anatomy.fields:
        choices.append((2.5, _field))
    if anatomy.texts:
        choices.append((2.5 if anatomy.kind == "text" else 1.2, _text))
    if anatomy.kind in _CONTAINERS:
        choices.append((1.5, _CONTAINERS[anatomy.kind]))
    _, chosen = draw.choices(choices, [weight for weight, _ in choices])[0]
    return chosen(data, anatomy, draw)


# Blind changes


def _blind(data: bytearray, anatomy: Anatomy, draw: random.Random) -> str:
    size = len(data)
    if not size:
        data += bytes(draw.randrange(1, 64))
        return "bytes put into an empty file"
    at = draw.randrange(size)
    count = min(size - at, draw.choice((1, 2, 4, 16, 200, 5000)))
    kind = draw.randrange(9)
    if kind <= 2:
        places = sorted(draw.randrange(size) for _ in range(draw.choice((1, 1, 2, 8, 64))))
        for place in places:
            data[place] ^= 1 << draw.randrange(8)
        return f"bits flipped at {places[:8]}"
    if kind == 3:
        # Cuts within the header and just before the end, where the last frame or an index is
        at = draw.choice((at, at, max(0, size - draw.randrange(1, 40)), min(size, draw.randrange(600))))
        del data[at:]
        return f"cut at {at} of {size}"
    if kind == 4:
        more = (
            draw.randbytes(draw.choice((1, 7, 512, 4096)))
            if draw.random() < 0.5
            else bytes(draw.choice((1, 512, 4096)))
        )
        data += more
        return f"{counted(len(more), 'byte')} added at the end"
    if kind == 5:
        to = draw.randrange(size)
        data[to : to + count] = data[at : at + count]
        return f"{counted(count, 'byte')} at {at} copied to {to}"
    if kind == 6:
        del data[at : at + count]
        return f"{counted(count, 'byte')} removed at {at}"
    if kind == 7:
        data[at : at + count] = bytes(count) if draw.random() < 0.5 else b"\xff" * count
        return f"{counted(count, 'byte')} wiped at {at}"
    data[at:at] = draw.randbytes(count)
    return f"{counted(count, 'byte')} inserted at {at}"


# Numbers


def _field(data: bytearray, anatomy: Anatomy, draw: random.Random) -> str:
    offset, size, order = draw.choice(anatomy.fields)
    if draw.random() < 0.25:  # where a file is long, most fields are those of its many pages: the first ones count more
        offset, size, order = draw.choice(anatomy.fields[:60])
    return _put_number(data, offset, size, order, anatomy, draw)


def _number(data: bytearray, anatomy: Anatomy, draw: random.Random) -> str:
    """Take bytes that are not pixels for a number."""
    begin, end = draw.choice(anatomy.plain or [(0, len(data))])
    size = draw.choice((1, 2, 4, 4, 8))
    edge = draw.random()
    span = max(1, end - begin)
    near = draw.randrange(min(span, 256))
    # The first and last 256 bytes are drawn more often: headers and trailers are there
    offset = begin + (near if edge < 0.4 else span - 1 - near if edge < 0.6 else draw.randrange(span))
    return _put_number(data, offset - offset % size, size, draw.choice("<>"), anatomy, draw)


def _number_at(data: bytearray, offset: int, size: int, order: str) -> int:
    return int.from_bytes(data[offset : offset + size], "little" if order == "<" else "big")


def _put_number(data: bytearray, offset: int, size: int, order: str, anatomy: Anatomy, draw: random.Random) -> str:
    if offset < 0 or offset + size > len(data):
        return f"nothing at {offset}"
    old = _number_at(data, offset, size, order)
    new = _drawn_number(old, size, len(data), anatomy, data, draw) % (1 << 8 * size)
    data[offset : offset + size] = new.to_bytes(size, "little" if order == "<" else "big")
    return f"the number at {offset} ({size} bytes, {order}) is {new} and was {old}"


def _drawn_number(old: int, size: int, length: int, anatomy: Anatomy, data: bytearray, draw: random.Random) -> int:
    top = 1 << 8 * size
    kind = draw.randrange(8)
    if kind == 0:
        return draw.choice((0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 32, 64))
    if kind == 1:
        return draw.choice((top - 1, top // 2, top // 2 - 1, top - 2, 65535, 65536, 1 << 30, 1 << 31, 10**9, 10**12))
    if kind == 2:
        return old + draw.choice((-2, -1, 1, 2))
    if kind == 3:
        return draw.choice((old * 2, old // 2, old * 256, old + 256, -old))
    if kind == 4:
        return length - draw.choice((0, 1, 2, 8, 100))
    # An offset copied from elsewhere: loops, and two parts that overlap
    if kind == 5 and anatomy.fields:
        offset, other, order = draw.choice(anatomy.fields)
        return _number_at(data, offset, other, order)
    if kind == 6:
        return draw.randrange(max(1, length))
    return draw.getrandbits(8 * size)


# Texts


def _text(data: bytearray, anatomy: Anatomy, draw: random.Random) -> str:
    begin, end = draw.choice(anatomy.texts)
    end = min(end, len(data))
    if draw.random() < 0.5:
        # The longest text is the description, which has the counts that decide about the shape
        begin, end = max(anatomy.texts, key=lambda run: run[1] - run[0])
        end = min(end, len(data))
    if end - begin > 4000 and draw.random() < 0.7:
        begin += draw.choice((0, 0, draw.randrange(end - begin)))
        end = min(end, begin + 4000)
    run = bytes(data[begin:end])
    new, words = _changed_text(run, draw)
    if anatomy.kind != "text" and draw.random() < 0.7:  # inside another file, lengths matter: mostly they stay
        new = new[: len(run)].ljust(len(run))
    data[begin:end] = new
    return f"text at {begin}: {words}"


def _changed_text(run: bytes, draw: random.Random) -> tuple[bytes, str]:
    kind = draw.randrange(10)
    if kind <= 3:
        return _replace(run, _NUMBER, lambda old: _drawn_word(old, draw), draw)
    if kind <= 5:
        return _replace(run, _QUOTED, lambda old: old[:1] + draw.choice((*_STRINGS, *_WORDS)) + old[:1], draw)
    if kind == 6:
        return _replace(run, _ELEMENT, lambda old: draw.choice((b"", old + old)), draw)
    if kind == 7:
        at = draw.randrange(len(run) + 1)
        extra = draw.choice(
            (b"[" * 3000, b"{" * 50, b"<a>" * 3000, b"\x00", b"\xff", b'"', b"<", b">", b",", b"\n", b"&#0;")
        )
        return run[:at] + extra + run[at:], f"{extra[:8]!r} put in at {at}"
    if kind == 8 and run:
        at = draw.randrange(len(run))
        return run[:at] + bytes([draw.randrange(256)]) + run[at + 1 :], f"one byte changed at {at}"
    words = [m.span() for m in re.finditer(rb"\w+", run)]
    if not words:
        return run, "nothing"
    (a, b), (c, d) = draw.choice(words), draw.choice(words)
    return run[:a] + run[c:d] + run[b:], f"{run[a:b][:30]!r} is {run[c:d][:30]!r}"


def _replace(
    run: bytes, pattern: re.Pattern[bytes], change: Callable[[bytes], bytes], draw: random.Random
) -> tuple[bytes, str]:
    spans = [m.span() for m in pattern.finditer(run) if m.end() > m.start()]
    if not spans:
        return run, "nothing"
    a, b = draw.choice(spans)
    new = change(run[a:b])
    return run[:a] + new + run[b:], f"{run[a:b][:40]!r} is {new[:40]!r}"


def _drawn_word(old: bytes, draw: random.Random) -> bytes:
    kind = draw.randrange(4)
    if kind == 0:
        return draw.choice(_WORDS)
    if kind == 1:
        return bytes(draw.choice(b"0123456789") if 48 <= c <= 57 else c for c in old)
    if kind == 2:
        return old.translate(bytes.maketrans(b"12345678", b"99999999")) if draw.random() < 0.5 else b"0" * len(old)
    try:
        number = int(old)
    except ValueError:
        return b"-" + old
    return str(draw.choice((number + 1, number - 1, number * 2, number // 2, number * 1000, -number))).encode()


# Layouts


def _tiff_fields(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield the numbers of the directories: offsets, counts, tags, types, values, and the arrays behind them."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    pointer, entry_size, count_size = (8, 20, 8) if big else (4, 12, 2)
    form = {2: "H", 4: "I", 8: "Q"}
    start = 8 if big else 4
    yield from ((2, 2, order), (start, pointer, order))
    at = struct.unpack_from(order + form[pointer], data, start)[0]
    seen: set[int] = set()
    # The chain of a seed that is already damaged may be circular
    while 0 < at < len(data) - count_size and at not in seen and len(seen) < _MAX_PAGES:
        seen.add(at)
        count = struct.unpack_from(order + form[count_size], data, at)[0]
        yield at, count_size, order
        for number in range(min(count, 200)):
            entry = at + count_size + number * entry_size
            yield from ((entry, 2, order), (entry + 2, 2, order), (entry + 4, pointer, order))
            yield from _tiff_values(data, entry, pointer, order)
        following = at + count_size + count * entry_size
        yield following, pointer, order
        at = struct.unpack_from(order + form[pointer], data, following)[0]


def _tiff_values(data: bytes, entry: int, pointer: int, order: str) -> Iterator[tuple[int, int, str]]:
    kind, items = struct.unpack_from(order + ("HQ" if pointer == 8 else "HI"), data, entry + 2)
    size, value = _TIFF_SIZES.get(kind, 1), entry + 4 + pointer
    if size * items <= pointer:
        yield from ((value + k * size, size, order) for k in range(items))
        return
    yield value, pointer, order
    there = struct.unpack_from(order + ("Q" if pointer == 8 else "I"), data, value)[0]
    if size > 1:
        yield from (
            (there + k * size, size, order) for k in range(min(items, 50)) if there + (k + 1) * size <= len(data)
        )


def _hdf5_fields(data: bytes) -> Iterator[tuple[int, int, str]]:
    for match in _HDF5_SIGNS.finditer(data):
        begin = match.start()
        # 96 bytes cover the header of each of these structures, and the first addresses in it
        for offset in range(begin, min(begin + 96, len(data) - 8)):
            yield offset, 1, "<"
            if offset % 2 == 0:
                yield from ((offset, 2, "<"), (offset, 4, "<"))
            if offset % 8 == 0:
                yield offset, 8, "<"


def _riff_fields(data: bytes, begin: int = 0, end: int | None = None, depth: int = 0) -> Iterator[tuple[int, int, str]]:
    end = len(data) if end is None else end
    while begin + 8 <= end and depth < 6:
        name, size = data[begin : begin + 4], struct.unpack_from("<I", data, begin + 4)[0]
        yield from ((begin, 4, "<"), (begin + 4, 4, "<"))
        stop = min(end, begin + 8 + size)
        if name in (b"RIFF", b"LIST"):
            yield from _riff_fields(data, begin + 12, stop, depth + 1)
        elif name in (b"avih", b"strh", b"strf", b"indx", b"dmlh", b"idx1") or name.startswith(b"ix"):
            yield from ((at, 4, "<") for at in range(begin + 8, min(stop - 3, begin + 8 + 400), 4))
            yield from ((at, 2, "<") for at in range(begin + 8, min(stop - 1, begin + 60), 2))
        begin = stop + (size & 1)


def _mat_fields(data: bytes) -> Iterator[tuple[int, int, str]]:
    yield from ((at, 4, "<") for at in range(112, min(len(data) - 4, 4096), 4))


def _no_fields(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield nothing: blind changes fail at a checksum, and the others are made in the members."""
    yield from ()


_LAYOUTS: tuple[tuple[str, bytes, Callable[[bytes], Iterator[tuple[int, int, str]]]], ...] = (
    ("tiff", rb"II[*+]\x00|MM\x00[*+]", _tiff_fields),
    ("hdf5", rb"\x89HDF\r\n\x1a\n|.{512}\x89HDF\r\n\x1a\n", _hdf5_fields),
    ("riff", rb"RIFF", _riff_fields),
    ("mat", rb"MATLAB 5\.0", _mat_fields),
    ("zip", rb"PK\x03\x04", _no_fields),
)


def _in_tiff(data: bytearray, anatomy: Anatomy, draw: random.Random) -> str:
    """Change a directory so that it is one still: another tag, another type, a chain that comes back."""
    tags = [(at, size, order) for at, size, order in anatomy.fields if size == 2]
    pointers = [(at, size, order) for at, size, order in anatomy.fields if size in (4, 8)]
    kind = draw.randrange(3)
    if kind == 0 and tags:
        at, size, order = draw.choice(tags)
        new = draw.choice(_TIFF_TAGS) if draw.random() < 0.6 else draw.choice(sorted(_TIFF_SIZES))
    elif pointers:
        at, size, order = draw.choice(pointers)
        other, other_size, _ = draw.choice(pointers)
        new = _number_at(data, other, other_size, order)
    else:
        return "nothing"
    if at + size > len(data):
        return f"nothing at {at}"
    data[at : at + size] = (new % (1 << 8 * size)).to_bytes(size, "little" if order == "<" else "big")
    return f"the tag, type or place at {at} is {new}"


def _in_hdf5(data: bytearray, anatomy: Anatomy, draw: random.Random) -> str:
    """Change objects through h5py, so that every checksum is right."""
    try:
        import h5py
    except ImportError:
        return _field(data, anatomy, draw)
    # Version 2 object headers have checksums, so that a blind change in them ends at libhdf5's own check
    stream = io.BytesIO(bytes(data))
    try:
        with h5py.File(stream, "r+") as file:
            words = _changed_object(file, h5py, draw)
    except _H5PY_FAULTS as error:
        return f"nothing, since h5py says {error!s:.60}"
    data[:] = stream.getvalue()
    return words


def _changed_object(file: Any, h5py: Any, draw: random.Random) -> str:
    names: list[str] = []
    file.visit(names.append)
    if not names:
        return "nothing in the file"
    name = draw.choice(names)
    kind = draw.randrange(7)
    if kind == 0:
        del file[name]
        return f"{name} is gone"
    if kind == 1:
        del file[name]
        file[name] = draw.choice(
            (
                h5py.SoftLink("/"),
                h5py.SoftLink(f"/{name}"),
                h5py.SoftLink("/nothing"),
                h5py.ExternalLink("/etc/passwd", "/x"),
            )
        )
        return f"{name} is a link"
    if kind == 2:
        other = draw.choice(names)
        del file[name]
        if other in file:
            file[name] = file[other]
        return f"{name} is {other}"
    if kind in (3, 4):
        return _changed_attribute(file[name] if draw.random() < 0.8 else file, draw)
    return _changed_dataset(file, name, draw)


def _changed_attribute(node: Any, draw: random.Random) -> str:
    names = sorted(node.attrs)
    if not names:
        return "no attribute to change"
    name = draw.choice(names)
    if draw.random() < 0.3:
        del node.attrs[name]
        return f"the attribute {name} of {node.name} is gone"
    value = draw.choice(
        (0, -1, 1, 10**12, 2.5, float("nan"), "", "x" * 3000, b"\xff\xfe", [1, 2, 3], [[1.0]], "int8", "../..")
    )
    del node.attrs[name]
    node.attrs[name] = value
    return f"the attribute {name} of {node.name} is {value!r:.40}"


def _changed_dataset(file: Any, name: str, draw: random.Random) -> str:
    node = file[name]
    if not hasattr(node, "shape") or node.shape is None:
        return f"{name} is a group"
    shape, dtype = node.shape, node.dtype
    kind = draw.randrange(3)
    # Only a chunked dataset can be resized; 10**9 samples need no bytes in the file, but would in memory
    if kind == 0 and node.chunks is not None and shape:
        axis = draw.randrange(len(shape))
        with suppress(TypeError):
            node.resize(draw.choice((0, 1, shape[axis] // 2, shape[axis] + 1, 10**9)), axis)
        return f"{name} has the shape {node.shape}"
    attributes = dict(node.attrs)
    new_dtype = draw.choice(("u1", "<u2", ">u2", "<i4", "<f4", "<f8", "S4", "<c8")) if kind == 1 else dtype
    new_shape = draw.choice(((), (0,), shape[::-1], (*shape, 1), (1, *shape), shape[1:], (10**6, *shape[1:])))
    del file[name]
    made = file.create_dataset(name, new_shape, new_dtype, chunks=True if new_shape and 0 not in new_shape else None)
    for key, value in attributes.items():
        with suppress(TypeError, ValueError, OSError, RuntimeError):
            made.attrs[key] = value
    return f"{name} is empty, {new_dtype} of shape {new_shape}"


def _in_mat(data: bytearray, anatomy: Anatomy, draw: random.Random) -> str:
    """Change the content of a compressed element, and compress it again."""
    order = "<" if data[126:128] == b"IM" else ">"
    places = []
    at = 128
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(order + "II", data, at)
        places.append((at, kind, size))
        at += 8 + size
    packed = [place for place in places if place[1] == 15]
    if not packed:
        return _number(data, anatomy, draw)
    # Flipping bits of the compressed bytes would only fail the checksum of zlib
    at, _, size = draw.choice(packed)
    try:
        inner = bytearray(zlib.decompress(data[at + 8 : at + 8 + size]))
    except zlib.error:
        return "nothing, since the element does not unpack"
    words = (
        _number(inner, Anatomy((), (), ((0, len(inner)),)), draw)
        if draw.random() < 0.6
        else _blind(inner, anatomy, draw)
    )
    new = zlib.compress(bytes(inner))
    data[at : at + 8 + size] = struct.pack(order + "II", 15, len(new)) + new
    return f"inside the element at {at}: {words}"


def _in_zip(data: bytearray, anatomy: Anatomy, draw: random.Random) -> str:
    """Change a member, or the members that there are, so that every checksum is right."""
    try:
        with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
    except _ZIP_FAULTS as error:
        return f"nothing, since zipfile says {error!s:.60}"
    if not members:
        return "nothing in the archive"
    at = draw.randrange(len(members))
    info, content = members[at]
    kind = draw.randrange(8)
    if kind == 0:
        del members[at]
        words = f"{info.filename} is gone"
    elif kind == 1:
        members.insert(at, members[at])
        words = f"{info.filename} is there twice"
    elif kind == 2:
        name = draw.choice(("../x.roi", "/x.roi", "x" * 300, "\x1b[31m.roi", "a/b.roi", "CON", info.filename.upper()))
        renamed = zipfile.ZipInfo(name)
        members[at] = (renamed, content)
        words = f"{info.filename} is named {name!r:.40}"
    else:
        inner = bytearray(content)
        change = _blind if not inner or draw.random() < 0.4 else _number
        words = f"inside {info.filename}: {change(inner, Anatomy((), (), ((0, len(inner)),)), draw)}"
        members[at] = (info, bytes(inner))
    stream = io.BytesIO()
    with warnings.catch_warnings():  # zipfile warns of names that repeat
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(stream, "w") as archive:
            for one, inside in members:
                archive.writestr(one, inside, one.compress_type if one.compress_type in (0, 8) else 0)
    data[:] = stream.getvalue()
    return words


_CONTAINERS: dict[str, Callable[[bytearray, Anatomy, random.Random], str]] = {
    "tiff": _in_tiff,
    "hdf5": _in_hdf5,
    "mat": _in_mat,
    "zip": _in_zip,
}


def _gaps(pixels: Sequence[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    at = 0
    for begin, end in pixels:
        if begin > at:
            yield at, begin
        at = max(at, end)
    if at < size:
        yield at, size


def _is_text(data: bytes) -> bool:
    head = data[:4096]
    # Up to 5 % of other bytes: texts of the field contain accents and the micro sign in Latin-1
    return bool(head) and b"\x00" not in head and sum(c < 9 or 13 < c < 32 or c > 126 for c in head) * 20 < len(head)


def _text_runs(data: bytes, begin: int, end: int) -> Iterator[tuple[int, int]]:
    yield from (m.span() for m in _TEXT_RUN.finditer(data, begin, end))

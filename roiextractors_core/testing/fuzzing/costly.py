"""Changes that make a recording cost more than its size justifies: enormous counts, long chains, circles, deep nesting, bombs.

They are drawn apart from the others, since a file of some megabytes takes far longer to write, to open and to judge than a seed.
"""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["costly_change"]

_MORE = 8 << 20  # bytes that a change may add
_MAX_REPEATS = 200_000
_BOMB = 128 << 20  # bytes that a compressed part unpacks to
_DEPTH = 50_000
_ELEMENT = re.compile(rb"<[A-Za-z][^<>]{0,2000}>|\"[^\"\n]{1,80}\"\s*[:=][^,{}\[\]\n]{0,200},?|[^\n]{1,400}\n")
_QUOTED = re.compile(rb"\"[^\"<>\n]{0,200}\"|'[^'<>\n]{0,200}'")
_NUMBER = re.compile(rb"(?<![\w.])\d+(?![\w.])")
_H5PY_FAULTS = (OSError, RuntimeError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError)


def costly_change(data: bytearray, kind: str, draw: random.Random) -> str:
    """Change a file in place, and return in words how.

    Parameters
    ----------
    data : bytearray
    kind : str
        Of its layout: ``"tiff"``, ``"hdf5"``, ``"riff"``, ``"mat"``, ``"zip"``, ``"text"``, or another word.
    draw : random.Random
    """
    change = draw.choice(_CHANGES.get(kind, (_multiplied,)))
    return change(data, draw)


def _multiplied(data: bytearray, draw: random.Random) -> str:
    """Repeat a part of the file at its place."""
    size = min(len(data), draw.choice((16, 64, 512, 4096))) or 1
    at = draw.randrange(max(1, len(data) - size + 1))
    part = bytes(data[at : at + size]) or b"\0"
    count = min(_MAX_REPEATS, _MORE // len(part))
    data[at:at] = part * count
    return f"{len(part)} bytes at {at} repeated {count:,} times"


# Text


def _elements(data: bytearray, draw: random.Random) -> str:
    """Repeat an element, a line or an entry of a text."""
    spans = [m.span() for m in _ELEMENT.finditer(data, 0, min(len(data), 1 << 18))]
    if not spans:
        return _multiplied(data, draw)
    a, b = draw.choice(spans)
    count = min(_MAX_REPEATS, _MORE // max(1, b - a))
    data[a:a] = bytes(data[a:b]) * count
    return f"{bytes(data[a:b])[:40]!r} repeated {count:,} times"


def _long_text(data: bytearray, draw: random.Random) -> str:
    spans = [m.span() for m in _QUOTED.finditer(data, 0, min(len(data), 1 << 18))]
    at = draw.choice(spans)[0] + 1 if spans else 0
    data[at:at] = b"x" * _MORE
    return f"a text of {_MORE:,} bytes at {at}"


def _nested(data: bytearray, draw: random.Random) -> str:
    at = draw.randrange(len(data) + 1)
    opened = draw.choice((b"<a>", b"[", b'{"a":', b'{"a":[', b"(", b"- "))
    data[at:at] = opened * _DEPTH
    return f"{opened!r} {_DEPTH:,} times at {at}"


def _enormous(data: bytearray, draw: random.Random) -> str:
    """Put enormous numbers in place of some, all at once: a count and the size that it is compared with."""
    spans = [m.span() for m in _NUMBER.finditer(data, 0, min(len(data), 1 << 18))]
    factor = draw.choice((10**3, 10**6, 10**9))
    for a, b in sorted(draw.sample(spans, min(len(spans), draw.choice((1, 2, 4)))), reverse=True):
        if b - a < 19:
            data[a:b] = str(int(data[a:b] or b"0") * factor).encode()
    return f"numbers multiplied by {factor:,}"


# TIFF


def _tiff(data: bytes | bytearray) -> tuple[str, bool, int]:
    order = "<" if data[:2] == b"II" else ">"
    big = len(data) >= 16 and struct.unpack_from(order + "H", data, 2)[0] == 43
    return order, big, struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]


def _chained(data: bytearray, draw: random.Random) -> str:
    """Append directories, copies of the first one and in part with a tag more, and let the chain end in them or in a circle."""
    try:
        order, big, at = _tiff(data)
        count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
    except struct.error:
        return "nothing, since the header is damaged"
    head, entry, field = (8, 20, 8) if big else (2, 12, 4)
    pointer = order + ("Q" if big else "I")
    table = bytes(data[at + head : at + head + count * entry])
    if len(table) != count * entry or not 0 < count < 1000:
        return "nothing, since the first directory is damaged"
    more = struct.pack(order + ("HHQQ" if big else "HHII"), 60_000, 4, 1, 7)
    kinds = [table, table + more][: draw.choice((1, 2))]
    last = at + head + count * entry  # where the offset of the next directory is
    end = len(data)
    number = min(_MAX_REPEATS, _MORE // (head + len(table) + entry + field))
    added = bytearray()
    for k in range(number):
        body = kinds[k % len(kinds)]
        added += struct.pack(order + ("Q" if big else "H"), len(body) // entry) + body
        following = end + len(added) + field
        added += struct.pack(pointer, following if k < number - 1 else draw.choice((0, 0, at, end)))
    data[last : last + field] = struct.pack(pointer, end)
    data += added
    return f"{number:,} directories of {len(kinds)} kinds behind the first one"


def _packed_strip(data: bytearray, draw: random.Random) -> str:
    """Let the first page's pixels be one compressed strip that unpacks to far more."""
    try:
        order, big, at = _tiff(data)
        count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
    except struct.error:
        return "nothing, since the header is damaged"
    head, entry = (8, 20) if big else (2, 12)
    bomb = zlib.compress(bytes(_BOMB), 9)
    values = {259: 8, 273: len(data), 279: len(bomb), 278: 1 << 20}
    for k in range(min(count, 1000)):
        place = at + head + k * entry
        if place + entry > len(data):
            break
        code = struct.unpack_from(order + "H", data, place)[0]
        if code in values:
            form = order + ("HHQQ" if big else "HHII")
            data[place : place + entry] = struct.pack(form, code, 16 if big else 4, 1, values[code])
    data += bomb
    return f"a strip of {len(bomb):,} bytes that unpacks to {_BOMB:,}"


# HDF5


def _hdf5(data: bytearray, draw: random.Random) -> str:
    """Change objects through h5py: circles of links, many or deep groups, tiny chunks, chunks that unpack to far more."""
    try:
        import h5py
    except ImportError:
        return _multiplied(data, draw)
    stream = io.BytesIO(bytes(data))
    try:
        with h5py.File(stream, "r+") as file:
            words = draw.choice((_circles, _many_groups, _deep_groups, _tiny_chunks, _packed_chunks))(file, draw)
    except _H5PY_FAULTS as error:
        return f"nothing, since h5py says {error!s:.60}"
    data[:] = stream.getvalue()
    return words


def _groups_of(file: Any) -> list[Any]:
    names: list[str] = [""]
    file.visit(names.append)
    return [node for node in (file[name] if name else file for name in names[:200]) if hasattr(node, "create_group")]


def _circles(file: Any, draw: random.Random) -> str:
    group = draw.choice(_groups_of(file))
    top = group
    for _ in range(40):
        below = group.require_group("x_circle")
        below["up"], below["itself"] = top, below
        group = below
    return f"groups in circles below {top.name}"


def _many_groups(file: Any, draw: random.Random) -> str:
    group = draw.choice(_groups_of(file))
    for k in range(5000):
        group.create_group(f"a_group_{k}") if k % 2 else group.create_dataset(f"a_number_{k}", data=k)
    return f"5,000 objects in {group.name}"


def _deep_groups(file: Any, draw: random.Random) -> str:
    group = draw.choice(_groups_of(file))
    top = group.name
    for _ in range(1000):
        group = group.create_group("d")
    return f"groups 1,000 deep below {top}"


def _datasets_of(file: Any) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    axes = {name: getattr(file[name], "ndim", 0) for name in names}
    filled = [name for name in names if axes[name] and 0 not in file[name].shape]
    # Movies, or else traces and masks
    return [name for name in filled if axes[name] >= 3] or [name for name in filled if file[name].dtype.kind in "iuf"]


def _tiny_chunks(file: Any, draw: random.Random) -> str:
    name = draw.choice(_datasets_of(file))
    old = file[name]
    shape, dtype, attributes = old.shape, old.dtype, dict(old.attrs)
    del file[name]
    wide = (*shape[:-2], *(n * 512 for n in shape[-2:]))
    made = file.create_dataset(name, wide, dtype, chunks=(1,) * len(wide), maxshape=(None, *wide[1:]))
    for key, value in attributes.items():
        made.attrs[key] = value
    return f"{name} has the shape {wide}, in chunks of one pixel"


def _packed_chunks(file: Any, draw: random.Random) -> str:
    name = draw.choice(_datasets_of(file))
    old = file[name]
    shape, dtype, attributes = old.shape, old.dtype, dict(old.attrs)
    del file[name]
    chunk = (1, *shape[1:])
    made = file.create_dataset(name, shape, dtype, chunks=chunk, compression="gzip")
    bomb = zlib.compress(bytes(_BOMB), 9)
    for k in range(min(shape[0], 8)):
        made.id.write_direct_chunk((k, *(0,) * (len(shape) - 1)), bomb)
    for key, value in attributes.items():
        made.attrs[key] = value
    return f"chunks of {name} unpack to {_BOMB:,} bytes"


# RIFF and MAT


def _riff_chunks(data: bytearray, draw: random.Random) -> str:
    """Put many chunks without content, or lists in lists, before the end."""
    one = draw.choice((b"JUNK\0\0\0\0", b"00dc\0\0\0\0", b"LIST\4\0\0\0movi", b"RIFF\4\0\0\0AVIX", b"ix00\0\0\0\0"))
    count = min(_MAX_REPEATS, _MORE // len(one))
    at = draw.choice((len(data), max(12, data.rfind(b"idx1")), max(12, data.find(b"movi") + 4)))
    data[at:at] = one * count
    return f"{count:,} times {one!r} at {at}"


def _riff_index(data: bytearray, draw: random.Random) -> str:
    at = data.rfind(b"idx1")
    if at < 0 or at + 24 > len(data):
        return _riff_chunks(data, draw)
    count = _MORE // 16
    entry = bytes(data[at + 8 : at + 24])
    data[at:] = b"idx1" + struct.pack("<I", 16 * count) + entry * count
    return f"an index of {count:,} entries"


def _packed_element(data: bytearray, draw: random.Random) -> str:
    """Append compressed elements that unpack to far more, or hold each other."""
    inner = bytes(_BOMB)
    for _ in range(draw.choice((1, 2))):
        inner = zlib.compress(inner, 9)
    data += struct.pack("<II", 15, len(inner)) + inner
    return f"an element of {len(inner):,} bytes that unpacks to {_BOMB:,}"


def _packed_member(data: bytearray, draw: random.Random) -> str:
    """Append a member to an archive that unpacks to far more, or very many small ones."""
    stream = io.BytesIO(bytes(data))
    try:
        with zipfile.ZipFile(stream, "a") as archive:
            name = draw.choice(archive.namelist())
            suffix = name.rpartition(".")[2]
            if draw.random() < 0.5:
                archive.writestr(f"bomb.{suffix}", bytes(_BOMB), zipfile.ZIP_DEFLATED)
                words = f"a member that unpacks to {_BOMB:,} bytes"
            else:
                content = archive.read(name)
                count = min(50_000, _MORE // (2 * len(content) + 200))
                for k in range(count):
                    archive.writestr(f"more{k}.{suffix}", content)
                words = f"{count:,} members like {name}"
    except (zipfile.BadZipFile, OSError, ValueError, LookupError) as error:
        return f"nothing, since zipfile says {error!s:.60}"
    data[:] = stream.getvalue()
    return words


_CHANGES: Mapping[str, tuple[Callable[[bytearray, random.Random], str], ...]] = {
    "text": (_elements, _elements, _long_text, _nested, _enormous),
    "tiff": (_chained, _chained, _packed_strip, _multiplied),
    "hdf5": (_hdf5, _hdf5, _hdf5, _multiplied),
    "riff": (_riff_chunks, _riff_index, _multiplied),
    "mat": (_packed_element, _multiplied),
    "zip": (_packed_member, _packed_member, _multiplied),
}

"""NDTiff: ``NDTiff.index`` gives the position of every frame and of its metadata."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import PositionedFile, Source

from .table import FrameTable, axes_of

__all__ = ["is_index", "read_index"]

_MAX_BYTES = 1 << 30
_MAX_UNCOMPARED = 16 << 20  # bytes; a larger index is compared with the files that it describes
_MAX_TEXT = 1 << 16  # of the axes or the file name of one entry
_BATCH = 1 << 12  # entries whose axes are parsed at once
_TAIL = 32  # uint32: pixel offset, width, height, type, compression; metadata offset, length, compression
_MAX_FINAL_ZEROS = 7  # of a complete entry: the last number, which is 0, and the upper bytes of the number before it

_Entries = tuple[list[bytes], list[bytes], list[bytes], str]
_DEPTHS = np.array([1, 2, 0, 2, 2, 2, 2])  # 8 bits, 16, RGB, 10, 12, 14, 11


def is_index(source: Source) -> bool:
    """Return whether a file begins with a complete entry of an index."""
    head = source.head(4096)
    order = _byte_order(head)
    try:
        texts, names, tails, _ = _entries(head, order, "", most=1)
        return bool(tails) and isinstance(json.loads(texts[0]), dict) and names[0].lower().endswith((b".tif", b".tiff"))
    except (CorruptRecordingError, ValueError):
        return False


def read_index(path: str) -> FrameTable:
    """Read the index.

    Parameters
    ----------
    path : str
        ``NDTiff.index``.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        The file is not an index, or is damaged; the message gives the position.
    UnsupportedRecordingError
        Compressed pixels.

    References
    ----------
    NDTiff specification 3.x, https://github.com/micro-manager/NDStorage.
    """
    file = PositionedFile(path)
    try:
        if file.size > _MAX_BYTES:
            raise CorruptRecordingError(f"{file.name} is too large for an NDTiff index ({file.size:,} bytes)")
        _require_pixels(path, file)
        data = file.read(0, file.size)
    finally:
        file.close()
    order = _byte_order(data)
    texts, names, tails, note = _without_zeros(data, file.name, _entries(data, order, file.name))
    if not tails:
        raise TruncatedRecordingError(
            f"{file.name} has no complete entry in its {len(data):,} bytes; the recording is incomplete"
        )
    axes = axes_of(_axes(texts, file.name), file.name)
    del texts, data
    # As int64, because sums of uint32 offsets and sizes would wrap
    table = np.frombuffer(b"".join(tails), f"{order}u4").reshape(-1, 8).astype(np.int64)
    files, numbers = _files(names, file.name)
    del names, tails
    _refuse_compressed(table, file.name)
    kinds = table[:, 3]
    # Both branches of np.where are evaluated, so an unknown type must still be a valid position
    depths = np.where(kinds < len(_DEPTHS), _DEPTHS[np.minimum(kinds, len(_DEPTHS) - 1)], 0)
    _require_apart(table, numbers, depths, files, file.name)
    _require_texts_behind(table, depths, file.name)
    return FrameTable(
        axes=axes,
        files=files,
        numbers=numbers,
        offsets=table[:, 0],
        shapes=table[:, [2, 1]],  # the index gives the width first
        depths=depths,
        texts=table[:, [5, 6]],
        order=order,
        warnings=(note,) if note else (),
    )


def _require_pixels(path: str, index: PositionedFile) -> None:
    """Refuse a large index with more bytes than the files that it describes: a frame has far more of them than its entry."""
    if index.size <= _MAX_UNCOMPARED:
        return
    with os.scandir(os.path.dirname(path) or ".") as entries:
        described = sum(entry.stat().st_size for entry in entries if entry.name.lower().endswith((".tif", ".tiff")))
    if index.size > described:
        raise CorruptRecordingError(
            f"{index.name} has {index.size:,} bytes, but the TIFF files that it describes have {described:,}; the index is "
            "damaged, or files are missing"
        )


def _without_zeros(data: bytes, name: str, entries: _Entries) -> _Entries:
    """Drop the last entry if zeros begin inside it, as in a file whose last block was never written."""
    texts, names, tails, note = entries
    sizes = [4 + len(text) + 4 + len(other) + _TAIL for text, other in zip(texts, names, strict=True)]
    end, used = sum(sizes), len(data.rstrip(b"\0"))
    if note or not tails:
        return entries
    if used > end:
        note = (
            f"{name} contains zeros from byte {end:,} and other bytes after them; it is damaged, and the {len(tails):,} entries before "
            "the zeros are read"
        )
    elif end - used > _MAX_FINAL_ZEROS and any(tail[20:28].strip(b"\0") for tail in tails[:-1]):
        # Only if another entry has metadata: without them, every entry ends in zeros
        texts, names, tails = texts[:-1], names[:-1], tails[:-1]
        note = f"{name} contains zeros from byte {used:,}, inside entry {len(tails):,}; the {len(tails):,} entries before it are read"
    return texts, names, tails, note


def _byte_order(head: bytes) -> str:
    """Return the byte order in which the first length is a small number, since the index does not state its own."""
    if len(head) < 4:
        return "<"
    # Compared with each other and not with a limit: 256 in one order is 65,536 in the other
    little, big = struct.unpack_from("<I", head)[0], struct.unpack_from(">I", head)[0]
    return "<" if little <= big else ">"


def _entries(data: bytes, order: str, name: str, *, most: int | None = None) -> _Entries:
    """Split the index into axes, file names and numbers; the last value describes a truncated end."""
    texts: list[bytes] = []
    names: list[bytes] = []
    tails: list[bytes] = []
    known: dict[bytes, bytes] = {}  # one object for each name of a file, not one for each entry
    length, at, end = struct.Struct(order + "I").unpack_from, 0, len(data)
    while at + 4 <= end and len(tails) != most:
        size = length(data, at)[0]
        if not size:
            break  # space that was allocated in advance and not used
        middle = at + 4 + size
        size_of_name = length(data, middle)[0] if middle + 4 <= end else 0
        # Before the check for truncation, which an impossible length would pass for
        if size > _MAX_TEXT or size_of_name > _MAX_TEXT:
            raise CorruptRecordingError(
                f"{name}: entry {len(tails):,} at byte {at:,} claims a text of {max(size, size_of_name):,} bytes; the index is damaged"
            )
        tail = middle + 4 + size_of_name
        if middle + 4 > end or tail + _TAIL > end:
            return texts, names, tails, _cut(name, end, at, len(tails))
        texts.append(data[at + 4 : middle])
        file_name = data[middle + 4 : tail]
        names.append(known.setdefault(file_name, file_name))
        tails.append(data[tail : tail + _TAIL])
        at = tail + _TAIL
    return texts, names, tails, _cut(name, end, at, len(tails)) if 0 < end - at < 4 else ""


def _cut(name: str, end: int, at: int, count: int) -> str:
    return (
        f"{name} ends at byte {end:,}, inside entry {count:,} at byte {at:,}; the {count:,} entries before it are read"
    )


def _axes(texts: Sequence[bytes], name: str) -> Iterator[Mapping[str, Any]]:
    """Parse the axes of all entries, many at once; if that fails, one by one, to name the damaged one."""
    for first in range(0, len(texts), _BATCH):
        batch = texts[first : first + _BATCH]
        try:
            found = json.loads(b"[" + b",".join(batch) + b"]")
        except (ValueError, RecursionError):
            found = []
        # The text "{},{}" is one entry, but two objects in the joined list
        if len(found) != len(batch) or any(type(one) is not dict for one in found):
            raise _wrong_axes(batch, first, name)
        yield from found


def _wrong_axes(texts: Sequence[bytes], first: int, name: str) -> CorruptRecordingError:
    for number, text in enumerate(texts, first):
        try:
            good = type(json.loads(text)) is dict
        except (ValueError, RecursionError):
            good = False
        if not good:
            return CorruptRecordingError(
                f"{name}: the axes of entry {number:,} are not a JSON object: {printable(text[:60].decode('utf-8', 'replace'))!r}"
            )
    return CorruptRecordingError(f"{name}: the axes are not JSON objects")


def _files(names: Sequence[bytes], index: str) -> tuple[tuple[str, ...], np.ndarray]:
    places: dict[bytes, int] = {}
    numbers = np.fromiter((places.setdefault(name, len(places)) for name in names), np.int64, len(names))
    files = tuple(name.decode("utf-8", "replace") for name in places)
    for name in files:
        # The index must not lead to other files; basename splits at a backslash on Windows only
        if not name or name in (".", "..") or os.path.basename(name) != name or "\\" in name or "\0" in name:
            raise CorruptRecordingError(
                f"{index} lists the file {printable(name)!r:.120}, which is outside its folder and is not opened"
            )
    return files, numbers


def _require_apart(table: np.ndarray, numbers: np.ndarray, depths: np.ndarray, files: Sequence[str], name: str) -> None:
    """Refuse an index with entries that overlap: one of them is damaged, and would return wrong pixels."""
    pixels = np.stack([table[:, 0], table[:, 0] + table[:, 1] * table[:, 2] * depths], axis=1)
    texts = np.stack([table[:, 5], table[:, 5] + table[:, 6]], axis=1)
    spans, owners = np.concatenate([pixels, texts]), np.concatenate([numbers, numbers])
    held = spans[:, 0] < spans[:, 1]  # frames without metadata have an empty span
    spans, owners = spans[held], owners[held]
    order = np.lexsort((spans[:, 0], owners))
    starts, ends, owners = spans[order, 0], spans[order, 1], owners[order]
    same_file, begins_alike = owners[1:] == owners[:-1], starts[1:] == starts[:-1]
    wrong = np.flatnonzero(same_file & ~begins_alike & (starts[1:] < ends[:-1]))
    if len(wrong):
        k = int(wrong[0])
        raise CorruptRecordingError(
            f"{name}: two entries claim the bytes {int(starts[k + 1]):,} to {int(min(ends[k], ends[k + 1])):,} of {printable(files[owners[k]])}; "
            "the index is damaged"
        )


def _require_texts_behind(table: np.ndarray, depths: np.ndarray, name: str) -> None:
    """Refuse an entry whose metadata do not follow its pixels, if those of most entries do: its pixels would be wrong."""
    gaps = table[:, 5] - table[:, 0] - table[:, 1] * table[:, 2] * depths
    judged = (depths > 0) & (table[:, 6] > 0)
    wrong = np.flatnonzero(judged & (gaps != 0))
    # If most entries differ, the file has another layout, which is not damage
    if len(wrong) and 2 * len(wrong) < judged.sum():
        k = int(wrong[0])
        raise CorruptRecordingError(
            f"{name}: the metadata of entry {k:,} are at byte {int(table[k, 5]):,}, but its pixels end at {int(table[k, 5] - gaps[k]):,}; "
            "in most entries these are equal, so the index is damaged"
        )


def _refuse_compressed(table: np.ndarray, name: str) -> None:
    compressed = np.flatnonzero(table[:, 4] != 0)
    if len(compressed):
        raise UnsupportedRecordingError(
            f"{name}: the pixels of entry {int(compressed[0]):,} are compressed by method {int(table[compressed[0], 4])}, which NDTiff does not define"
        )

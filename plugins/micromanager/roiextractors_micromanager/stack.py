"""The TIFF files of Micro-Manager: header, index map and directories."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import PositionedFile, parse_json

from .table import FrameTable, Value, axes_of

__all__ = ["StackHeader", "directories_from", "read_chains", "read_stacks", "text_of"]

# Magic numbers, from the file format specifications that StackHeader names
_INDEX_MAP, _INDEX_MAP_BLOCK, _NDTIFF, _SUMMARY = 54773648, 3453623, 483729, 2355492
_MAX_SUMMARY = 64 << 20
_MAX_TEXT = 16 << 20  # of one frame's metadata, which have several kilobytes
_MIN_FRAME = 128  # bytes of a directory of 8 tags, its entry in the index map, and any pixels
_MAX_UNCOMPARED = 1 << 16  # frames; an index map of more is compared with the size of the file
_DIRECTORY = 512  # bytes of one read, enough for 42 tags; Micro-Manager writes 10 or 13
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _STRIP, _STRIP_BYTES, _TEXT = 256, 257, 258, 259, 273, 279, 51123
_AXES = {"channel": "ChannelIndex", "z": "SliceIndex", "time": "FrameIndex", "position": "PositionIndex"}


@dataclass(frozen=True)
class StackHeader:
    """The beginning of a TIFF file of Micro-Manager.

    Attributes
    ----------
    is_ndtiff : bool
    order : str
        ``"<"`` or ``">"``.
    first : int
        Offset of the first directory.
    index_map : int
        Offset of the index map; 0 if there is none.
    summary : mapping
        The summary metadata; empty if they are incomplete.

    References
    ----------
    Micro-Manager File Formats, https://micro-manager.org/Micro-Manager_File_Formats; NDTiff specification 2 and 3.
    """

    is_ndtiff: bool
    order: str
    first: int
    index_map: int
    summary: Mapping[str, Any]

    @classmethod
    def of(cls, file: PositionedFile) -> StackHeader:
        """Read the header.

        Raises
        ------
        CorruptRecordingError
            The file is not a TIFF of Micro-Manager.
        UnsupportedRecordingError
            NDTiff 1.
        """
        head = file.read(0, 40)
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
        if order is None or len(head) < 28:
            raise CorruptRecordingError(
                f"{file.name} is not a TIFF of Micro-Manager: its first bytes are {head[:8].hex(' ') or 'none'}"
            )
        words = struct.unpack(f"{order}{len(head) // 4}I", head[: len(head) // 4 * 4])
        if words[2] == _NDTIFF:
            # The summary follows one number of the version, or two (3.x)
            at = next((4 * k for k in (4, 5) if words[k] == _SUMMARY), 0)
            return cls(True, order, words[1], 0, _summary(file, order, at))
        if words[2] != _INDEX_MAP:
            raise CorruptRecordingError(
                f"{file.name} is not a TIFF of Micro-Manager: expected {_INDEX_MAP:,} or {_NDTIFF:,} at byte 8, got {words[2]:,}"
            )
        # NDTiff 1 has the header of an image file stack and its own number only behind it
        if words[6] == _NDTIFF:
            raise UnsupportedRecordingError(
                f"{file.name} is NDTiff 1, which has no index file; only NDTiff 2 and 3 are supported. Read its pages with open(..., format='tiff')"
            )
        at = 32 if len(words) > 8 and words[8] == _SUMMARY else 0
        return cls(False, order, words[1], words[3], _summary(file, order, at))


def _summary(file: PositionedFile, order: str, at: int) -> Mapping[str, Any]:
    if not at:
        return {}
    raw = file.read(at + 4, 4)
    length = struct.unpack(f"{order}I", raw)[0] if len(raw) == 4 else 0
    if length > _MAX_SUMMARY:
        raise CorruptRecordingError(
            f"{file.name} claims summary metadata of {length:,} bytes at byte {at + 8:,}; the file is damaged"
        )
    return _parsed(file.read(at + 8, length))


def _parsed(text: bytes) -> Mapping[str, Any]:
    try:
        # A single byte that is not UTF-8 must not lose all metadata
        found = parse_json(text.rstrip(b"\0 \r\n").decode("utf-8", "replace").encode(), "metadata")
    except CorruptRecordingError:
        return {}
    return found if isinstance(found, dict) else {}


def text_of(file: PositionedFile, place: tuple[int, int]) -> Mapping[str, Any]:
    """Return a frame's metadata, or an empty mapping if they are incomplete.

    Parameters
    ----------
    file : PositionedFile
    place : tuple of int
        Their offset and number of bytes.
    """
    offset, length = place
    if not 0 < length <= _MAX_TEXT:
        return {}
    return _parsed(file.read(offset, length))


def read_stacks(folder: str, names: Sequence[str], headers: Sequence[StackHeader]) -> FrameTable:
    """Return the frames of image file stacks, from their index maps, or from their directories if a map was never written.

    Parameters
    ----------
    folder : str
    names : sequence of str
        The files of one dataset.
    headers : sequence of StackHeader
        One per file.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        The message names file and byte.
    """
    return _joined(folder, names, headers, _by_map)


def read_chains(folder: str, names: Sequence[str], headers: Sequence[StackHeader]) -> FrameTable:
    """Return the frames by following the directories and reading each frame's metadata: for files without an index."""
    return _joined(folder, names, headers, _by_chain)


@dataclass(frozen=True)
class _Part:
    """The frames of one file."""

    axes: list[dict[str, Value]]
    directories: _Directories
    note: str = ""
    warning: str = ""


def _joined(
    folder: str,
    names: Sequence[str],
    headers: Sequence[StackHeader],
    read: Callable[[PositionedFile, StackHeader], _Part],
) -> FrameTable:
    parts = []
    for name, header in zip(names, headers, strict=True):
        file = PositionedFile(os.path.join(folder, name))
        try:
            parts.append(read(file, header))
        finally:
            file.close()
    found = [part.directories for part in parts]
    axes = [one for part in parts for one in part.axes]
    if not axes:
        raise TruncatedRecordingError(f"{printable(names[0])} contains no frames; the recording is incomplete")
    return FrameTable(
        axes=axes_of(axes, printable(names[0])),
        files=tuple(names),
        numbers=np.repeat(np.arange(len(parts)), [len(part.axes) for part in parts]),
        offsets=np.concatenate([one.offsets for one in found]),
        shapes=np.concatenate([one.shapes for one in found]),
        depths=np.concatenate([one.depths for one in found]),
        texts=np.concatenate([one.texts for one in found]),
        order=headers[0].order,
        notes=tuple(part.note for part in parts if part.note),
        warnings=tuple(part.warning for part in parts if part.warning),
    )


def _by_map(file: PositionedFile, header: StackHeader) -> _Part:
    raw = file.read(header.index_map, 8) if header.index_map else b""
    block, count = struct.unpack(f"{header.order}II", raw) if len(raw) == 8 else (0, 0)
    # the map is written when the acquisition ends; after an interrupted one its place is empty
    if block != _INDEX_MAP_BLOCK or count * 20 > file.size - header.index_map - 8:
        part = _by_chain(file, header)
        sentence = f"{file.name} has no index map; its frames were found by their directories"
        if not header.index_map:
            return _Part(part.axes, part.directories, sentence)
        warning = (
            f"{file.name} is truncated or damaged: its index map should be at byte {header.index_map:,} of {file.size:,}; the "
            f"{len(part.axes):,} complete frames before it were found by their directories"
        )
        return _Part(part.axes, part.directories, warning=warning)
    if count > _MAX_UNCOMPARED and count * _MIN_FRAME > file.size:
        raise CorruptRecordingError(
            f"{file.name} has an index map of {count:,} frames, which do not fit into its {file.size:,} bytes; the file is damaged"
        )
    data = file.read(header.index_map + 8, count * 20)
    # Channel, slice, frame, position, and the offset of the directory
    table = np.frombuffer(data, f"{header.order}u4").reshape(-1, 5).astype(np.int64)
    places = [dict(zip(_AXES, row, strict=True)) for row in table[:, :4].tolist()]
    axes: list[dict[str, Value]] = [dict(place.items()) for place in places]
    directories = _Directories.of(file, header.order, table[:, 4].tolist())
    return _Part(
        axes,
        directories,
        warning=_more_than_mapped(file, header, table[:, 4]) or _contradicted(file, axes, directories),
    )


def _more_than_mapped(file: PositionedFile, header: StackHeader, places: np.ndarray) -> str:
    """Return a sentence about directories that follow the last one of the index map, if there are any."""
    if not len(places):
        return ""
    following = directories_from(file, header.order, int(places.max()))[1:]  # the first is in the map
    if not following:
        return ""
    return (
        f"{file.name} contains {len(following):,} more frames than the {len(places):,} of its index map, which are left out; read all of "
        "its pages with open(..., format='tiff')"
    )


def _contradicted(file: PositionedFile, axes: Sequence[Mapping[str, Value]], directories: _Directories) -> str:
    """Return a sentence about the first or last frame whose own metadata give another place than the index map."""
    # Not all frames: each costs a read
    for number in dict.fromkeys((0, len(axes) - 1) if axes else ()):
        offset, length = directories.texts[number].tolist()
        text = text_of(file, (offset, length))
        seen = {name: text[key] for name, key in _AXES.items() if type(text.get(key)) is int}
        if any(value != axes[number][name] for name, value in seen.items()):
            described = ", ".join(f"{name}={value}" for name, value in axes[number].items())
            own = ", ".join(f"{name}={value}" for name, value in seen.items())
            return f"{file.name}: the index map places frame {number:,} at {described}, but its own metadata at {own}; the index map is used"
    return ""


def directories_from(file: PositionedFile, order: str, at: int) -> list[int]:
    """Return the offsets of the directories from this one on, as long as each names the next."""
    offsets, size = [], file.size
    while 8 <= at < size - 2:
        raw = file.read(at, _DIRECTORY)
        count = struct.unpack_from(f"{order}H", raw)[0]
        if not 0 < count <= (_DIRECTORY - 6) // 12 or len(raw) < 6 + 12 * count:
            break
        codes = struct.unpack_from(f"{order}" + "H10x" * count, raw, 2)
        if _WIDTH not in codes or _STRIP not in codes:  # other bytes: no directory is without a size and pixels
            break
        offsets.append(at)
        following = struct.unpack_from(f"{order}I", raw, 2 + 12 * count)[0]
        if following <= at:  # Micro-Manager only appends, so that a step back would be a loop
            break
        at = following
    return offsets


def _by_chain(file: PositionedFile, header: StackHeader) -> _Part:
    offsets = directories_from(file, header.order, header.first)
    directories = _Directories.of(file, header.order, offsets)
    axes = [_axes_in(text_of(file, (int(a), int(n))), header.is_ndtiff) for a, n in directories.texts]
    # Metadata follow the pixels, so a frame without them was not written completely
    whole = next((k for k, one in enumerate(axes) if one is None), len(axes))
    return _Part([one for one in axes[:whole] if one is not None], directories.first(whole))


def _axes_in(text: Mapping[str, Any], is_ndtiff: bool) -> dict[str, Value] | None:
    if is_ndtiff:
        found = text.get("Axes")
        good = isinstance(found, dict) and all(type(value) in (int, str) for value in found.values())
        return dict(found) if good and isinstance(found, dict) else None
    values = {name: text.get(key, 0) for name, key in _AXES.items()}
    good = bool(text) and all(type(value) is int for value in values.values())
    return values if good else None


@dataclass(frozen=True)
class _Directories:
    """The directories of a file as columns, one row per frame."""

    offsets: np.ndarray
    shapes: np.ndarray
    depths: np.ndarray
    texts: np.ndarray

    def first(self, count: int) -> _Directories:
        return _Directories(self.offsets[:count], self.shapes[:count], self.depths[:count], self.texts[:count])

    @classmethod
    def of(cls, file: PositionedFile, order: str, places: Sequence[int]) -> _Directories:
        """Read the directories at these offsets; those with the same tags are parsed together, since most are alike."""
        found = cls(
            *(np.zeros(shape, np.int64) for shape in (len(places), (len(places), 2), len(places), (len(places), 2)))
        )
        groups: dict[bytes, list[int]] = {}
        tables = [_table(file, order, at, number) for number, at in enumerate(places)]
        for number, table in enumerate(tables):
            groups.setdefault(_kind(table), []).append(number)
        for numbers in groups.values():
            rows = np.frombuffer(b"".join(tables[number] for number in numbers), np.uint8).reshape(len(numbers), -1, 12)
            found._fill(np.array(numbers), _Columns(rows, order), file.name)
        return found

    def _fill(self, numbers: np.ndarray, columns: _Columns, name: str) -> None:
        missing = [code for code in (_WIDTH, _LENGTH, _STRIP) if not columns.has(code)]
        if missing:
            raise CorruptRecordingError(
                f"{name}: the directory of frame {int(numbers[0]):,} lacks the tag {missing[0]}; the file is damaged"
            )
        self.offsets[numbers] = columns.values(_STRIP)
        self.shapes[numbers] = np.stack([columns.values(_LENGTH), columns.values(_WIDTH)], axis=1)
        # RGB has three BitsPerSample; the pixels of several strips need not be contiguous
        plain = columns.counts(_BITS) == 1 and (columns.values(_COMPRESSION, 1) == 1) & (columns.counts(_STRIP) == 1)
        bits = columns.values(_BITS, 8)
        # 10 to 14 bits take 2 bytes; 0 marks an unsupported kind
        self.depths[numbers] = np.where(plain & (bits <= 16), (bits + 7) // 8, 0)
        if columns.has(_TEXT):
            length = columns.counts(_TEXT)
            self.texts[numbers] = np.stack([columns.values(_TEXT), np.full(len(numbers), length)], axis=1)


class _Columns:
    """The entries of directories with the same tags: ``rows`` are (frames, tags, 12 bytes)."""

    def __init__(self, rows: np.ndarray, order: str) -> None:
        self._rows, self._order = rows, order
        self._places = {int(code): k for k, code in enumerate(self._words(rows[:1, :, 0:2], "u2")[0])}

    def has(self, code: int) -> bool:
        return code in self._places

    def counts(self, code: int) -> int:
        """Return the number of values of a tag, which is the same in every row."""
        return int(self._words(self._rows[:1, self._places[code], 4:8], "u4")[0]) if self.has(code) else 1

    def values(self, code: int, default: int = 0) -> np.ndarray:
        """Return the value of a tag, or the offset of its values, for every row."""
        if not self.has(code):
            return np.full(len(self._rows), default, np.int64)
        entry = self._rows[:, self._places[code]]
        # TIFF 6.0: a SHORT is left-justified in the four bytes of the value, in both byte orders
        is_short = int(self._words(entry[:1, 2:4], "u2")[0]) == 3 and self.counts(code) == 1
        part, form = (entry[:, 8:10], "u2") if is_short else (entry[:, 8:12], "u4")
        return self._words(part, form).astype(np.int64)

    def _words(self, part: np.ndarray, form: str) -> np.ndarray:
        # A view as a wider item needs contiguous bytes
        return np.ascontiguousarray(part).view(self._order + form)[..., 0]


def _table(file: PositionedFile, order: str, at: int, number: int) -> bytes:
    raw = file.read(at, _DIRECTORY)
    count = struct.unpack_from(f"{order}H", raw)[0] if len(raw) >= 2 else 0
    if not 0 < count <= (_DIRECTORY - 6) // 12 or len(raw) < 2 + 12 * count:
        where = "is truncated" if at + _DIRECTORY > file.size else "is damaged"
        raise TruncatedRecordingError(
            f"{file.name}: the directory of frame {number:,} should be at byte {at:,} of {file.size:,}, but has {count:,} tags there; the file {where}"
        )
    return raw[2 : 2 + 12 * count]


def _kind(table: bytes) -> bytes:
    """Return codes, types and counts, without the values."""
    return b"".join([table[at : at + 8] for at in range(0, len(table), 12)])

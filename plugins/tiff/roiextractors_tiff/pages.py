"""The index of a TIFF recording's pages: where each one lies, proved or walked once, and the reads that follow from it."""

from __future__ import annotations

import bisect
import contextlib
import functools
import itertools
import json
import logging
import math
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    DeclarationError,
    RangeError,
    RecordingError,
    SourceError,
    SourceNotFoundError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import (
    PositionedFile,
    ProcessLock,
    StoredFrames,
    num_cores,
    read_once,
    run_on_cores,
    silenced,
    warn,
)

__all__ = ["Directory", "Page", "PageIndex", "Series", "described_shape", "series_of"]

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_FORMS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_MAX_TAGS = 4096
_MAX_VALUE = 64 << 20
_HEADER_BYTES = 8
_MAX_GAP = 1 << 16
_CHUNK = 4 << 20
_WIDTHS = {"u": (8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64), "c": (64, 128)}
_MAX_OPENED = 64  # files of a sequence whose layout is kept
_MAX_PATTERNS = 2
_FILES_A_TASK = 64
_LARGE_PAGE = 1 << 17  # below this, threads that open files wait for each other longer than they read
_JPEG = (6, 7)
_CODING_TAGS = (262, 266, 530)  # colours, the order of bits, the sampling of colours
_SHAPE_TAGS = (256, 257, 258, 259, 277, 278, 284, 317, 322, 323, 339)


class _TiffFile:
    """One file's header, and the reads of its directories."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.file = PositionedFile(path)
        self.size = self.file.size
        head = self.file.read(0, 16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        version = struct.unpack(order + "H", head[2:4])[0] if order and len(head) >= 8 else 0
        if version not in (42, 43):
            raise CorruptRecordingError(f"{self.name} is not TIFF: its first bytes are {head[:8].hex(' ') or 'none'}")
        self.order = str(order)
        self.big = version == 43
        if self.big and (len(head) < 16 or struct.unpack(self.order + "HH", head[4:8]) != (8, 0)):
            raise CorruptRecordingError(
                f"{self.name} begins as BigTIFF, but its header says no 8-byte offsets: {head[:16].hex(' ')}"
            )
        self.count_size, self.entry_size, self.field_size = (8, 20, 8) if self.big else (2, 12, 4)
        self.count_form, self.offset_form = (
            (self.order + "Q", self.order + "Q") if self.big else (self.order + "H", self.order + "I")
        )
        self.cut = ""
        self.first = struct.unpack(self.offset_form, head[8:16] if self.big else head[4:8])[0]

    @property
    def name(self) -> str:
        return self.file.name

    def directory(self, offset: int, page: int) -> Directory:
        """Read the directory of a page."""
        if offset < 8 or offset + self.count_size > self.size:
            raise CorruptRecordingError(
                f"{self.name}: the directory of page {page:,} should be at byte {offset:,}, outside the file of {self.size:,} bytes"
            )
        raw = self.file.read(offset, 1024)
        count = struct.unpack_from(self.count_form, raw)[0]
        if not 0 < count <= _MAX_TAGS:
            raise CorruptRecordingError(
                f"{self.name}: the directory of page {page:,} at byte {offset:,} claims {count:,} tags; the file is damaged"
            )
        length = self.count_size + count * self.entry_size + self.field_size
        if length > len(raw):
            raw = self.file.read(offset, length)
        if len(raw) < length - self.field_size:
            raise TruncatedRecordingError(
                f"{self.name} ends at byte {self.size:,}, inside the directory of page {page:,} at byte {offset:,}; the file is cut"
            )
        after = raw[length - self.field_size : length]
        following = struct.unpack(self.offset_form, after)[0] if len(after) == self.field_size else 0
        return Directory(self, offset, raw[: length - self.field_size], following, page)


class Directory:
    """One TIFF directory: its place, its table, and where the next one is said to be.

    References
    ----------
    TIFF Revision 6.0, Adobe 1992, section 2; BigTIFF design, Joris Van Damme et al., 2007.
    """

    __slots__ = ("_tiff", "entries", "next", "offset", "page", "table")

    def __init__(self, tiff: _TiffFile, offset: int, table: bytes, following: int, page: int) -> None:
        self._tiff = tiff
        self.offset = offset
        self.table = table
        self.next = following
        self.page = page
        form = tiff.order + ("HHQ" if tiff.big else "HHI")
        self.entries: dict[int, tuple[int, int, int]] = {}
        for at in range(tiff.count_size, len(table), tiff.entry_size):
            code, kind, count = struct.unpack_from(form, table, at)
            if code not in self.entries or code == 270:
                # Of a tag that is there twice the first counts, as for libtiff; of descriptions the second, tifffile's own
                self.entries[code] = (kind, count, at + tiff.entry_size - tiff.field_size)

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Directory:
        """Return the first directory of a file.

        Raises
        ------
        CorruptRecordingError, TruncatedRecordingError
            The file is no TIFF, or its first directory is not there.
        """
        tiff = _TiffFile(path)
        return tiff.directory(tiff.first, 0)

    @property
    def end(self) -> int:
        """The byte behind the directory."""
        return self.offset + len(self.table) + self._tiff.field_size

    def place(self, code: int) -> tuple[int, int]:
        """Return where a tag's value lies in the file, and its length in bytes."""
        kind, count, at = self.entries[code]
        size = _SIZES.get(kind, 1) * count
        if size <= self._tiff.field_size:
            return self.offset + at, size
        return struct.unpack_from(self._tiff.offset_form, self.table, at)[0], size

    def is_inline(self, code: int) -> bool:
        """Whether a tag's value stands in the table itself."""
        kind, count, _ = self.entries[code]
        return int(_SIZES.get(kind, 1) * count) <= self._tiff.field_size

    def begins_with(self, code: int, prefix: bytes) -> bool:
        """Whether a tag's bytes begin so; reads no more of them than it compares."""
        if code not in self.entries:
            return False
        offset, size = self.place(code)
        return size >= len(prefix) and self._tiff.file.read(offset, len(prefix)) == prefix

    def value(self, code: int) -> Any:
        """Return a tag's value: text as bytes, one number, or a tuple of numbers; None when it is not there."""
        if code not in self.entries:
            return None
        kind, count, at = self.entries[code]
        offset, size = self.place(code)
        if size > _MAX_VALUE or (not self.is_inline(code) and offset + size > self._tiff.size):
            raise CorruptRecordingError(
                f"{self._tiff.name}: tag {code} of page {self.page:,} claims {count:,} values at byte {offset:,}, "
                f"beyond the file of {self._tiff.size:,} bytes"
            )
        data = self.table[at : at + size] if self.is_inline(code) else self._tiff.file.read(offset, size)
        if kind in (5, 10):
            return tuple(struct.unpack(f"{self._tiff.order}{2 * count}{'I' if kind == 5 else 'i'}", data))
        form = _FORMS.get(kind)
        if form is None or (kind == 1 and count > 8):
            return data.split(b"\0", 1)[0] if kind == 2 else data
        numbers = struct.unpack(f"{self._tiff.order}{count}{form}", data)
        return numbers[0] if count == 1 else numbers

    def number(self, code: int, default: int) -> int:
        """Return a tag's one number."""
        value = self.value(code)
        if value is None:
            return default
        if isinstance(value, tuple):
            value = value[0] if value else default
        if not isinstance(value, int):
            raise CorruptRecordingError(
                f"{self._tiff.name}: tag {code} of page {self.page:,} at byte {self.offset:,} is {value!r:.40}, and not a number"
            )
        return value


@dataclass(frozen=True, slots=True)
class Page:
    """The facts of one page that all pages of a recording share."""

    rows: int
    columns: int
    samples: int
    planar: bool
    dtype: str
    bits: int
    compression: int
    tiled: bool
    predictor: int
    coding: tuple[int, ...] = ()  # of pages that are packed, what else their decoder goes by

    @property
    def nbytes(self) -> int:
        """Bytes of one page's pixels, decoded."""
        return self.rows * self.columns * self.samples * np.dtype(self.dtype).itemsize

    @property
    def is_plain(self) -> bool:
        """Whether the pixels stand in the file as they are."""
        return (
            self.compression == 1
            and not self.tiled
            and self.predictor == 1
            and self.bits == 8 * np.dtype(self.dtype).itemsize
            and not (self.planar and self.samples > 1)
        )


def _page_of(tiff: _TiffFile, directory: Directory) -> Page:
    where = f"{tiff.name}: page {directory.page:,} (directory at byte {directory.offset:,})"
    missing = [str(code) for code in (256, 257) if code not in directory.entries]
    if missing:
        raise CorruptRecordingError(f"{where} lacks the tags {', '.join(missing)} (width, length)")
    rows, columns = directory.number(257, 0), directory.number(256, 0)
    samples, compression = directory.number(277, 1), directory.number(259, 1)
    bits, sample_format = directory.number(258, 1), directory.number(339, 1)
    kind = {1: "u", 2: "i", 3: "f", 4: "u", 6: "c"}.get(sample_format, "")
    stored = {1: 8, 2: 8, 4: 8, 10: 16, 12: 16, 14: 16}.get(bits, bits)
    if stored not in _WIDTHS.get(kind, ()) or not 0 < samples <= 4096:
        raise UnsupportedRecordingError(
            f"{where} has {samples:,} samples of {bits:,} bits in format {sample_format}, which is not read"
        )
    dtype = f"{tiff.order}{kind}{stored // 8}" if stored > 8 else f"{kind}1"
    if bits == 1:
        dtype = "u1"
    if not (0 < rows <= 1 << 24 and 0 < columns <= 1 << 24) or rows * columns * samples * stored // 8 > 1 << 36:
        raise CorruptRecordingError(
            f"{where} claims {rows:,} rows of {columns:,} columns, which no recording has; the file is damaged"
        )
    planar, predictor = directory.number(284, 1) == 2, directory.number(317, 1)
    coding = () if compression == 1 else tuple(directory.number(code, 0) for code in _CODING_TAGS)
    tiled = 322 in directory.entries
    return Page(rows, columns, samples, planar, dtype, bits, compression, tiled, predictor, coding)


class _Regular:
    """Pages that lie at equal distances: a few numbers stand for all of them, and every read checks them again."""

    def __init__(
        self, tiff: _TiffFile, first: Directory, second: Directory, table_step: int, data_step: int, count: int
    ) -> None:
        self.count = count
        self.table = (first.offset, second.offset, table_step)
        self.data = (_strip(tiff, first)[0], _strip(tiff, second)[0], data_step)
        self.width = len(second.table) + tiff.field_size
        self.next_at = len(second.table)
        self.strip_at = second.entries[273][2]
        self.strip_form = tiff.order + _FORMS[second.entries[273][0]]
        self.word = tiff.offset_form
        self.expected = np.frombuffer(second.table, np.uint8)
        self.fixed = self._fixed_bytes(tiff, second)
        edges = np.flatnonzero(np.diff(self.fixed) > 1) + 1
        runs = [(int(run[0]), int(run[-1]) + 1) for run in np.split(self.fixed, edges)]
        self._runs = [(a, b, second.table[a:b]) for a, b in runs]

        self._text = self._text_place(tiff, second) if table_step == data_step else None

    @staticmethod
    def _text_place(tiff: _TiffFile, directory: Directory) -> tuple[int, int, int] | None:
        """How far behind a directory its description lies, how long it is, and where in the table that is said."""
        if 270 not in directory.entries or directory.is_inline(270):
            return None
        offset, length = directory.place(270)
        ahead = offset - directory.offset
        near = len(directory.table) + tiff.field_size <= ahead <= _MAX_GAP and length <= _MAX_GAP
        return (ahead, length, directory.entries[270][2]) if near else None

    def places(self, page: int) -> tuple[int, int]:
        """Return where one page's directory and pixels are."""
        if page == 0:
            return self.table[0], self.data[0]
        return self.table[1] + (page - 1) * self.table[2], self.data[1] + (page - 1) * self.data[2]

    def description(self, tiff: _TiffFile, page: int) -> bytes | None:
        """Read a page's directory and description in one go; None where they do not lie as in page 1."""
        if self._text is None:
            return None
        at = self.places(page)[0]
        ahead, length, field = self._text
        raw = tiff.file.read(at, ahead + length)
        good = len(raw) == ahead + length and self.is_as_predicted(page, raw)
        if not good or struct.unpack_from(self.word, raw, field)[0] != at + ahead:
            return None
        return raw[ahead:].split(b"\0", 1)[0]

    def is_as_predicted(self, page: int, table: bytes | bytearray) -> bool:
        """Return whether one page's directory is; the first page's was read when the index was made."""
        if page == 0:
            return True
        if any(table[a:b] != expected for a, b, expected in self._runs):
            return False
        if struct.unpack_from(self.strip_form, table, self.strip_at)[0] != self.places(page)[1]:
            return False
        last = page == self.count - 1
        return last or struct.unpack_from(self.word, table, self.next_at)[0] == self.places(page + 1)[0]

    @staticmethod
    def _fixed_bytes(tiff: _TiffFile, directory: Directory, more: Sequence[int] = ()) -> np.ndarray:
        """Which bytes of the table must be the same in every page: the count, all codes, and the shape's values."""
        mask = np.zeros(len(directory.table), bool)
        mask[: tiff.count_size] = True
        for entry in range(tiff.count_size, len(directory.table), tiff.entry_size):
            mask[entry : entry + 4] = True  # of a tag that is there twice, too
        for code, (_, _, at) in directory.entries.items():
            if code in (*_SHAPE_TAGS, 279, *more) and directory.is_inline(code):
                mask[at + tiff.field_size - tiff.entry_size : at + tiff.field_size] = True
        return np.flatnonzero(mask)

    def table_offsets(self, pages: np.ndarray) -> np.ndarray:
        first, second, step = self.table
        return np.where(pages == 0, first, second + (pages - 1) * step)

    def data_offsets(self, pages: np.ndarray) -> np.ndarray:
        first, second, step = self.data
        return np.where(pages == 0, first, second + (pages - 1) * step)

    def faults(self, pages: np.ndarray, tables: np.ndarray) -> np.ndarray:
        """Return which of these pages' directories (rows of bytes, page 0 left out) are not as predicted."""
        wrong = (tables[:, self.fixed] != self.expected[self.fixed]).any(axis=1)
        size = struct.calcsize(self.strip_form)
        strips = np.ascontiguousarray(tables[:, self.strip_at : self.strip_at + size]).view(self.strip_form)[:, 0]
        wrong |= strips.astype(np.int64) != self.data_offsets(pages)
        size = struct.calcsize(self.word)
        following = (
            np.ascontiguousarray(tables[:, self.next_at : self.next_at + size]).view(self.word)[:, 0].astype(np.int64)
        )
        wrong |= (following != self.table_offsets(pages + 1)) & (pages != self.count - 1)
        return np.asarray(pages[wrong])


def _strip(tiff: _TiffFile, directory: Directory) -> tuple[int, int]:
    """Return where a page's one block of bytes begins and how long it is; (-1, 0) when it is not one block."""
    offsets, counts = _segments(tiff, directory)
    if any(a + n != b for a, n, b in zip(offsets[:-1], counts[:-1], offsets[1:], strict=True)):
        return -1, 0
    return offsets[0], sum(counts)


def _segments(tiff: _TiffFile, directory: Directory) -> tuple[tuple[int, ...], tuple[int, ...]]:
    tiled = 322 in directory.entries
    offsets, counts = directory.value(324 if tiled else 273), directory.value(325 if tiled else 279)
    if offsets is None:
        raise CorruptRecordingError(
            f"{tiff.name}: page {directory.page:,} (directory at byte {directory.offset:,}) does not say where its pixels are"
        )
    offsets = offsets if isinstance(offsets, tuple) else (offsets,)
    if counts is None and len(offsets) == 1:
        counts = _page_of(tiff, directory).nbytes
    counts = counts if isinstance(counts, tuple) else (counts,)
    wrong = next(
        (value for value in (*offsets, *counts) if not isinstance(value, int) or not 0 <= value < 1 << 62), None
    )
    if wrong is not None:
        raise CorruptRecordingError(
            f"{tiff.name}: page {directory.page:,} at byte {directory.offset:,} says that its pixels are at {wrong!r:.40}, which is no place"
        )
    if len(counts) != len(offsets):
        raise CorruptRecordingError(
            f"{tiff.name}: page {directory.page:,} at byte {directory.offset:,} has {len(offsets):,} offsets and {len(counts):,} lengths"
        )
    return offsets, counts


class _Table:
    """Pages one by one: where each directory is, and where each page's bytes are."""

    def __init__(self, count: int, tables: np.ndarray, data: np.ndarray | None, segments: _Ragged | None) -> None:
        self.count = count
        self.tables = tables
        self.data = data
        self.segments = segments

    def table_offsets(self, pages: np.ndarray) -> np.ndarray:
        return np.asarray(self.tables[pages])

    def data_offsets(self, pages: np.ndarray) -> np.ndarray:
        if self.data is None:
            raise UnsupportedRecordingError("the pages of this file are not one block of bytes each")
        return np.asarray(self.data[pages])


class _Contiguous:
    """One directory, and the images one behind the other: ImageJ's layout for large stacks."""

    def __init__(self, table: int, data: int, step: int, count: int) -> None:
        self.count = count
        self._table, self._data, self._step = table, data, step

    def table_offsets(self, pages: np.ndarray) -> np.ndarray:
        return np.full(len(pages), self._table, np.int64)

    def data_offsets(self, pages: np.ndarray) -> np.ndarray:
        return self._data + pages * self._step


class _Ragged:
    """Offsets and lengths of the segments of every page."""

    def __init__(self, starts: np.ndarray, offsets: np.ndarray, counts: np.ndarray) -> None:
        self._starts, self._offsets, self._counts = starts, offsets, counts

    def of(self, page: int) -> tuple[list[int], list[int]]:
        part = slice(int(self._starts[page]), int(self._starts[page + 1]))
        return self._offsets[part].tolist(), self._counts[part].tolist()


def _prove(tiff: _TiffFile, first: Directory, page: Page) -> tuple[_Regular | None, str]:
    """Return the regular layout when it can be proved from the first, the last and some sampled pages; and a note on a cut end."""
    if not page.is_plain or not first.next:
        return None, ""
    second = tiff.directory(first.next, 1)
    if not second.next or second.next >= tiff.size:
        return None, ""
    third = tiff.directory(second.next, 2)
    inline = all(
        d.is_inline(273) and d.entries[273][1] == 1 and 273 in d.entries for d in (second, third) if 273 in d.entries
    )
    same = len(second.table) == len(third.table) and list(second.entries) == list(third.entries)
    if (
        not inline
        or not same
        or 273 not in second.entries
        or _page_of(tiff, second) != page
        or _strip(tiff, first)[0] < 0
    ):
        return None, ""
    table_step, data_step = third.offset - second.offset, _strip(tiff, third)[0] - _strip(tiff, second)[0]
    if table_step <= 0 or data_step <= 0:
        return None, ""
    here, limit = _strip(tiff, second)[0], _end_of_pages(tiff, first, second)
    fits = [(limit - second.end) // table_step, (limit - here - page.nbytes) // data_step]
    last = 1 + min(fits)
    if last < 2:
        return None, ""
    layout = _Regular(tiff, first, second, table_step, data_step, last + 1)
    end = _bytes_at(tiff, layout, np.array([last]))
    if end is None or len(layout.faults(np.array([last]), end)):
        return None, ""
    following = struct.unpack(tiff.offset_form, end[0, layout.next_at : layout.next_at + tiff.field_size].tobytes())[0]
    note = ""
    if following:
        if table_step != data_step or following != second.offset + last * table_step:
            return None, ""
        if _is_of_another_kind(tiff, page, following, last + 1):
            return None, ""
        note = f"{tiff.name} ends inside page {last + 1:,} (directory at byte {following:,} of {tiff.size:,}); the {last + 1:,} whole pages are read"
    sampled = np.unique(np.linspace(1, last, min(last, 32)).astype(np.int64))
    seen = _bytes_at(tiff, layout, sampled)
    return (layout, note) if seen is not None and not len(layout.faults(sampled, seen)) else (None, "")


def _end_of_pages(tiff: _TiffFile, first: Directory, second: Directory) -> int:
    """Return where the last page can end at most: some programs write the first page's description behind all pages."""
    if 270 not in first.entries or first.is_inline(270):
        return tiff.size
    offset, length = first.place(270)
    is_last = second.offset < offset and tiff.size - 16 <= offset + length <= tiff.size
    return offset if is_last else tiff.size


def _is_of_another_kind(tiff: _TiffFile, page: Page, offset: int, number: int) -> bool:
    """Whether a page that does not fit behind the others is no cut one, but one of another size or type."""
    try:
        return _page_of(tiff, tiff.directory(offset, number)) != page
    except RecordingError:
        return False


def _bytes_at(tiff: _TiffFile, layout: _Regular, pages: np.ndarray) -> np.ndarray | None:
    """Return the directories of these pages as rows of bytes, or None where the file ends before."""
    offsets = layout.table_offsets(pages)
    low = int(offsets.min())
    span = int(offsets.max()) + layout.width - low
    if span <= max(_MAX_GAP, 32 * layout.width * len(pages)):  # they lie together: one read for all
        raw = np.frombuffer(tiff.file.read(low, span), np.uint8)
        return raw[(offsets - low)[:, None] + np.arange(layout.width)] if len(raw) == span else None
    tables, width = bytearray(layout.width * len(pages)), layout.width
    try:
        with tiff.file.held_open() as read, memoryview(tables) as view:
            for at, offset in zip(range(0, len(tables), width), offsets.tolist(), strict=True):
                read(view[at : at + width], offset)
    except TruncatedRecordingError:
        return None
    return np.frombuffer(tables, np.uint8).reshape(len(pages), width)


def _chain(tiff: _TiffFile) -> Iterator[tuple[int, bytes]]:
    """Follow the directories: yield each one's offset and table, out of large reads where they lie together."""
    offset, page, mark, power = tiff.first, 0, -1, 1
    start, buffer = 0, b""
    count_size, entry, field = tiff.count_size, tiff.entry_size, tiff.field_size
    unpack_count, unpack_next = struct.Struct(tiff.count_form).unpack_from, struct.Struct(tiff.offset_form).unpack_from
    ahead = 1 << 12
    before = earlier = 0
    while offset:
        at = offset - start
        if at < 0 or at + count_size > len(buffer):
            if page > 1 and offset >= tiff.size - count_size and offset - before == before - earlier:
                tiff.cut = f"{tiff.name} ends inside page {page:,} (directory at byte {offset:,} of {tiff.size:,}); the {page:,} whole pages are read"
                return
            if not 8 <= offset <= tiff.size - count_size:
                raise CorruptRecordingError(
                    f"{tiff.name}: page {page:,} should have its directory at byte {offset:,}, outside the file of {tiff.size:,} bytes"
                )
            near = start <= offset <= start + len(buffer) + ahead and bool(buffer)
            ahead = min(_CHUNK, ahead * 4) if near else 1 << 12
            start, buffer, at = offset, tiff.file.read(offset, ahead), 0
        count = unpack_count(buffer, at)[0]
        if not 0 < count <= _MAX_TAGS:
            raise CorruptRecordingError(
                f"{tiff.name}: the directory of page {page:,} at byte {offset:,} claims {count:,} tags; the file is damaged"
            )
        length = count_size + count * entry
        if at + length + field > len(buffer):
            start, buffer, at = offset, tiff.file.read(offset, max(ahead, length + field)), 0
            if len(buffer) < length:
                raise TruncatedRecordingError(
                    f"{tiff.name} ends at byte {tiff.size:,}, inside the directory of page {page:,} at byte {offset:,}; the file is cut"
                )
        yield offset, buffer[at : at + length]
        page += 1
        following = unpack_next(buffer, at + length)[0] if at + length + field <= len(buffer) else 0
        if following in (mark, offset):
            raise CorruptRecordingError(
                f"{tiff.name}: the directories run in a circle: page {page - 1:,} at byte {offset:,} points back to byte {following:,}"
            )
        if page == power:
            mark, power = offset, power * 2
        earlier, before, offset = before, offset, following


def _walk(tiff: _TiffFile, page: Page, span: tuple[int, int] | None = None) -> tuple[_Table, str]:
    """Follow the chain and note where every page's bytes are; a cut last page is left out with a note."""
    tables: list[int] = []
    batch: list[bytes] = []
    pieces: list[_Piece] = []
    first, last = span or (0, None)
    for offset, table in itertools.islice(_chain(tiff), first, last):
        tables.append(offset)
        batch.append(table)
        if len(batch) == 1 << 16:
            pieces.append(_Piece.of(tiff, page, tables, batch))
            batch = []
    if batch:
        pieces.append(_Piece.of(tiff, page, tables, batch))
    starts = np.concatenate([[0], np.cumsum(np.concatenate([piece.lengths for piece in pieces]))])
    offsets = np.concatenate([piece.offsets for piece in pieces])
    counts = np.concatenate([piece.counts for piece in pieces])
    whole, note = _whole_pages(tiff, starts, offsets, counts, tables)
    one_block = page.is_plain and bool(
        ((offsets[:-1] + counts[:-1] == offsets[1:]) | np.isin(np.arange(1, len(offsets)), starts)).all()
    )
    data = offsets[starts[:-1]][:whole] if one_block else None
    if not one_block:
        _check_segments(tiff, page, tables, pieces)
    if one_block:
        sums = np.add.reduceat(counts, starts[:-1])[:whole]
        short = np.flatnonzero(sums < page.nbytes)
        if len(short):
            k = int(short[0])
            raise CorruptRecordingError(
                f"{tiff.name}: page {k:,} (directory at byte {tables[k]:,}) has {int(sums[k]):,} bytes of pixels, and {page.nbytes:,} are needed"
            )
    return _Table(whole, np.array(tables[:whole], np.int64), data, _Ragged(starts, offsets, counts)), note


def _segment_shape(directory: Directory, page: Page) -> tuple[int, int]:
    """Return the rows and columns of a page's tiles, or of its strips."""
    if page.tiled:
        return directory.number(323, 0), directory.number(322, 0)
    return min(page.rows, directory.number(278, page.rows)), page.columns


def _check_segments(tiff: _TiffFile, page: Page, tables: Sequence[int], pieces: Sequence[_Piece]) -> None:
    """Refuse pages whose strips or tiles do not cover them, or are shaped unlike those of the first: all are decoded alike."""
    shapes = [(shape, number) for piece in pieces for shape, number in piece.shapes]
    (rows, columns), _ = shapes[0]
    for shape, number in shapes:
        if shape != (rows, columns):
            raise CorruptRecordingError(
                f"{tiff.name}: page {number:,} (directory at byte {tables[number]:,}) has segments of {shape[0]:,} rows and {shape[1]:,} columns, "
                f"and the pages before of {rows:,} and {columns:,}; pages that differ are not read"
            )
    if rows < 1 or columns < 1:
        raise CorruptRecordingError(
            f"{tiff.name}: the directory at byte {tables[0]:,} claims segments of {rows:,} rows and {columns:,} columns"
        )
    wanted = -(-page.rows // rows) * -(-page.columns // columns) * (page.samples if page.planar else 1)
    lengths = np.concatenate([piece.lengths for piece in pieces])
    few = np.flatnonzero(lengths < wanted)
    if len(few):
        k = int(few[0])
        raise CorruptRecordingError(
            f"{tiff.name}: page {k:,} (directory at byte {tables[k]:,}) has {int(lengths[k]):,} segments of pixels, and {wanted:,} are needed"
        )


@dataclass(frozen=True, slots=True)
class _Piece:
    lengths: np.ndarray
    offsets: np.ndarray
    counts: np.ndarray
    shapes: tuple[tuple[tuple[int, int], int], ...]

    @classmethod
    def of(cls, tiff: _TiffFile, page: Page, tables: Sequence[int], batch: Sequence[bytes]) -> _Piece:
        """Read the places of the pixels out of a batch of directories, all at once where they are alike."""
        before = len(tables) - len(batch)
        lengths, offsets, counts = [], [], []
        shapes: dict[tuple[int, int], int] = {}
        for group in _alike(batch):
            template = Directory(tiff, tables[before + group.start], batch[group.start], 0, before + group.start)
            if _page_of(tiff, template) != page:
                raise _other_page(tiff, page, template)
            simple = all(code in template.entries and template.entries[code][1] == 1 for code in (273, 279))
            if simple and group.stop - group.start > 1:
                rows = np.frombuffer(b"".join(batch[group]), np.uint8).reshape(-1, len(template.table))
                fixed = _Regular._fixed_bytes(tiff, template, _CODING_TAGS if page.coding else ())
                fixed = fixed[
                    ~np.isin(fixed, np.arange(template.entries[279][2], template.entries[279][2] + tiff.field_size))
                ]
                other = np.flatnonzero((rows[:, fixed] != rows[0, fixed]).any(axis=1))
                if len(other):
                    k = before + group.start + int(other[0])
                    raise _other_page(tiff, page, Directory(tiff, tables[k], batch[k - before], 0, k))
                offsets.append(_column(tiff, template, rows, 273))
                counts.append(_column(tiff, template, rows, 279))
                lengths.append(np.ones(len(rows), np.int64))
                shapes.setdefault(_segment_shape(template, page), before + group.start)
                continue
            for k in range(group.start, group.stop):
                directory = Directory(tiff, tables[before + k], batch[k], 0, before + k)
                if _page_of(tiff, directory) != page:
                    raise _other_page(tiff, page, directory)
                where, sizes = _segments(tiff, directory)
                shapes.setdefault(_segment_shape(directory, page), directory.page)
                lengths.append(np.array([len(where)]))
                offsets.append(np.array(where, np.int64))
                counts.append(np.array(sizes, np.int64))
        return cls(np.concatenate(lengths), np.concatenate(offsets), np.concatenate(counts), tuple(shapes.items()))


def _alike(batch: Sequence[bytes]) -> Iterator[slice]:
    edges = [k for k in range(1, len(batch)) if len(batch[k]) != len(batch[k - 1])]
    for a, b in itertools.pairwise([0, *edges, len(batch)]):
        yield slice(a, b)


def _column(tiff: _TiffFile, template: Directory, rows: np.ndarray, code: int) -> np.ndarray:
    kind, _, at = template.entries[code]
    form = tiff.order + _FORMS[kind]
    return np.ascontiguousarray(rows[:, at : at + struct.calcsize(form)]).view(form)[:, 0].astype(np.int64)


def _other_page(tiff: _TiffFile, page: Page, directory: Directory) -> CorruptRecordingError:
    seen = _page_of(tiff, directory)
    return CorruptRecordingError(
        f"{tiff.name}: page {directory.page:,} (directory at byte {directory.offset:,}) has {seen.rows:,} rows of {seen.columns:,} columns, "
        f"{seen.samples} x {np.dtype(seen.dtype)}, compression {_packing(seen)}; the pages before have {page.rows:,} rows of "
        f"{page.columns:,} columns, {page.samples} x {np.dtype(page.dtype)}, compression {_packing(page)}"
    )


def _packing(page: Page) -> str:
    return f"{page.compression} (tags {_CODING_TAGS}: {page.coding})" if page.coding else str(page.compression)


def _whole_pages(
    tiff: _TiffFile, starts: np.ndarray, offsets: np.ndarray, counts: np.ndarray, tables: Sequence[int]
) -> tuple[int, str]:
    early = np.flatnonzero((offsets >= 0) & (offsets < _HEADER_BYTES) & (counts > 0))
    if len(early):
        k = int(np.searchsorted(starts, early[0], side="right")) - 1
        raise CorruptRecordingError(
            f"{tiff.name}: page {k:,} (directory at byte {tables[k]:,}) has its pixels at byte {int(offsets[early[0]]):,}, inside the file's header"
        )
    beyond = np.flatnonzero((offsets < 0) | (counts < 0) | (offsets + counts > tiff.size))
    if not len(beyond):
        return len(tables), tiff.cut
    k = int(np.searchsorted(starts, beyond[0], side="right")) - 1
    here = f"page {k:,} (directory at byte {tables[k]:,}) has its pixels at byte {int(offsets[beyond[0]]):,}"
    if k == 0 or k < len(tables) - 1:
        raise TruncatedRecordingError(f"{tiff.name} ends at byte {tiff.size:,}, and {here}; the file is cut")
    return k, f"{tiff.name} ends at byte {tiff.size:,}, and {here}; the {k:,} whole pages are read"


class _Opened:
    """One file of the recording: its first directory, and where its pages lie."""

    __slots__ = ("_decoder", "first", "layout", "tiff")

    def __init__(self, tiff: _TiffFile, first: Directory, layout: _Regular | _Table | _Contiguous) -> None:
        self.tiff, self.first, self.layout = tiff, first, layout
        self._decoder: _Decoder | None = None

    def decoder(self, page: Page) -> _Decoder:
        """Return what decodes this file's segments."""
        if self._decoder is None:
            self._decoder = _Decoder(self.tiff, self.first, page)
        return self._decoder

    def directory(self, page: int) -> Directory:
        """Read the directory of a page of this file."""
        return self.tiff.directory(int(self.layout.table_offsets(np.array([page]))[0]), page)


class _Pattern:
    """A file of one page, by which a sibling is read in one go: what must stand there is compared, and not parsed.

    The header, the directory's codes and kinds, all that makes the page's shape and all that says where its
    pixels are must be the same; texts and dates may differ.
    """

    __slots__ = ("_after", "_before", "_end", "_fixed_after", "_fixed_before", "_row_bytes", "_seen")

    def __init__(self, opened: _Opened, page: Page, data: int, places: Sequence[tuple[int, int]]) -> None:
        file = opened.tiff.file
        self._before, self._end = data, data + page.nbytes
        self._after = max(0, max(b for _, b in places) - self._end)
        self._row_bytes = page.nbytes // page.rows
        head, tail = file.read(0, self._before), file.read(self._end, self._after)
        self._fixed_before = _fields([(a, b) for a, b in places if b <= data])
        self._fixed_after = _fields([(a - self._end, b - self._end) for a, b in places if b > data])
        self._seen = (*self._fixed_before(head), *self._fixed_after(tail))

    @classmethod
    def of(cls, opened: _Opened, page: Page) -> _Pattern | None:
        """Return the pattern, or None where the file holds more pages or its parts lie far from each other."""
        layout = opened.layout
        if not isinstance(layout, _Table) or layout.count != 1 or layout.data is None or opened.first.next:
            return None
        data = int(layout.data[0])
        end, places = data + page.nbytes, _fixed_places(opened)
        apart = all(b <= data or a >= end for a, b in places)
        last = max(end, max(b for _, b in places))
        near = data + last - end <= _MAX_GAP
        return cls(opened, page, data, places) if apart and near and last <= opened.tiff.size else None

    def read(self, path: str, result: np.ndarray, top: int) -> bool:
        """Fill the rows from ``top`` on, and return whether the file is as this one."""
        head, tail = bytearray(self._before), bytearray(self._after)
        if result.nbytes == self._end - self._before:
            complete = read_once(path, [(0, [head, result, tail])])
        else:
            at = self._before + top * self._row_bytes
            complete = read_once(path, [(0, [head]), (at, [result]), (self._end, [tail])])
        return complete and (*self._fixed_before(head), *self._fixed_after(tail)) == self._seen


def _fields(places: Sequence[tuple[int, int]]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes these places, begin and end, out of bytes: by one call, for every file of a sequence."""
    begins = [0, *(b for _, b in places)]
    return struct.Struct("".join(f"{a - at}x{b - a}s" for (a, b), at in zip(places, begins, strict=False))).unpack_from


def _fixed_places(opened: _Opened) -> list[tuple[int, int]]:
    """Return the bytes of a file of one page that must be the same in a sibling, as begin and end, merged."""
    tiff, first = opened.tiff, opened.first
    places = [
        (0, 16 if tiff.big else 8),
        (first.offset, first.offset + tiff.count_size),
        (first.end - tiff.field_size, first.end),
    ]
    for code, (_, _, at) in first.entries.items():
        entry = first.offset + at + tiff.field_size - tiff.entry_size
        needed = code in (*_SHAPE_TAGS, 273, 279)
        places.append((entry, entry + tiff.entry_size if needed else entry + 4))
        if needed and not first.is_inline(code):
            begin, size = first.place(code)
            places.append((begin, begin + size))
    merged: list[tuple[int, int]] = []
    for a, b in sorted(places):
        if merged and a <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(b, merged[-1][1]))
        else:
            merged.append((a, b))
    return merged


class _InFolder(Sequence[str]):
    """Names in a folder as paths, made when they are asked for: a folder's name is not kept half a million times."""

    __slots__ = ("_before", "_names")

    def __init__(self, folder: str | os.PathLike[str], names: Sequence[str]) -> None:
        self._before, self._names = os.path.join(os.fspath(folder), ""), names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self._before + name for name in self._names[number]]
        return self._before + self._names[number]


class _FilesAtNeed:
    """The files of a sequence, each opened and checked at its first read; few of them are remembered.

    Parameters
    ----------
    paths : sequence of str
    counts : numpy.ndarray
        The pages that each file is said to hold.
    model : int
        The file that is opened at once and that all others must be like.
    """

    def __init__(self, paths: Sequence[str], counts: np.ndarray, model: int) -> None:
        self._paths, self._counts = paths, counts
        self._lock = ProcessLock()
        self._known: OrderedDict[int, _Opened] = OrderedDict()
        self._patterns: tuple[_Pattern, ...] = ()
        tiff = self._found(model)
        self.page = _page_of(tiff, tiff.directory(tiff.first, 0))
        self._keep(model, self._checked(model, tiff))

    def __getitem__(self, number: int) -> _Opened:
        with self._lock:
            found = self._known.get(number)
            if found is not None:
                self._known.move_to_end(number)
                return found
        return self._keep(number, self._checked(number, self._found(number)))

    def read_whole(self, number: int, result: np.ndarray, top: int) -> bool:
        """Fill the rows of a file of one page from ``top`` on; False where it does not lie as one that is known."""
        path = self._paths[number]
        for pattern in self._patterns:
            try:
                is_read = pattern.read(path, result, top)
            except SourceNotFoundError as error:
                raise self._missing(number) from error
            if is_read:
                if pattern is not self._patterns[0]:
                    self._patterns = (pattern, *(p for p in self._patterns if p is not pattern))
                return True
        return False

    def clear(self) -> None:
        """Release the files."""
        with self._lock:
            for opened in self._known.values():
                opened.tiff.file.close()
            self._known.clear()

    def _keep(self, number: int, opened: _Opened) -> _Opened:
        pattern = _Pattern.of(opened, self.page)
        with self._lock:
            self._known[number] = opened
            if len(self._known) > _MAX_OPENED:
                self._known.popitem(last=False)
            if pattern is not None:
                self._patterns = (pattern, *self._patterns)[:_MAX_PATTERNS]
        return opened

    def _found(self, number: int) -> _TiffFile:
        try:
            return _TiffFile(self._paths[number])
        except SourceNotFoundError as error:
            raise self._missing(number) from error

    def _missing(self, number: int) -> SourceNotFoundError:
        return SourceNotFoundError(
            f"{printable(self._paths[number])} is not there: file {number + 1:,} of the {len(self._paths):,} of this recording"
        )

    def _checked(self, number: int, tiff: _TiffFile) -> _Opened:
        promised = int(self._counts[number])
        first = tiff.directory(tiff.first, 0)
        if _page_of(tiff, first) != self.page:
            raise _other_page(tiff, self.page, first)
        layout, _ = _layout(tiff, first, self.page)
        if layout.count < promised:
            raise TruncatedRecordingError(
                f"{tiff.name}: page {layout.count:,} is not there: {promised:,} pages were promised, and the file of {tiff.size:,} bytes "
                f"holds {layout.count:,}"
            )
        if layout.count > promised:
            raise CorruptRecordingError(
                f"{tiff.name}: page {promised:,} is one too many: {promised:,} pages were promised, and the file holds {layout.count:,}"
            )
        return _Opened(tiff, first, layout)


class PageIndex:
    """The pages of a recording of one or several TIFF files, numbered through, and their reads.

    A file whose pages lie at equal distances is proved so by its first, last and some sampled pages
    and not walked; each page is checked when it is read.  Otherwise the chain is followed once.

    Where it is known how many pages each file holds (a sequence that a vendor's file describes), one file
    is opened at once, and every other at its first read; it must then hold pages like the first one's, and
    as many as were promised.

    Parameters
    ----------
    paths : sequence of str or os.PathLike
        In the order of the recording.
    span : tuple of int, optional
        First page and last page (exclusive) within each file; the chain is then walked.
    pages_per_file : sequence of int, optional
        How many pages each file is said to hold.
    names : collection of str, optional
        With ``pages_per_file``: the names that one listing of the folder found; a path whose name is not
        among them is in :attr:`absent`.  Without it nothing is looked for before it is read.
    folder : str or os.PathLike, optional
        Where ``paths`` are names in: half a million of them take half the memory of whole paths.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        The message names file, page and offset.
    UnsupportedRecordingError
        Pixels of a kind that is not read.
    SourceNotFoundError
        A file is not there; of a sequence, when it is read.

    References
    ----------
    TIFF Revision 6.0, Adobe 1992; BigTIFF design, 2007; ImageJ's TiffDecoder for stacks of one directory.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        span: tuple[int, int] | None = None,
        pages_per_file: Sequence[int] | np.ndarray | None = None,
        names: Collection[str] | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        given = tuple(os.fspath(path) for path in paths)
        self.paths: Sequence[str] = given if folder is None else _InFolder(folder, given)
        self._span = span
        self.notes: tuple[str, ...] = ()
        self.absent: tuple[int, ...] = ()
        self._counts: np.ndarray | None = None
        self._starts: list[int] = []
        if pages_per_file is None:
            counts: Sequence[int] | np.ndarray = self._open_all(span)
        else:
            counts = self._counts = _checked_counts(self.paths, span, pages_per_file)
            self._open_at_need(self._counts, names)
        self._one = self._shape(1, slice(0, self._page.rows), slice(0, self._page.columns))
        self._edges = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        if self._counts is None:
            self._starts = self._edges[:-1].tolist()

    def _open_all(self, span: tuple[int, int] | None) -> list[int]:
        files = [_TiffFile(path) for path in self.paths]
        firsts = [_first_directory(tiff, span) for tiff in files]
        self._page = _page_of(files[0], firsts[0])
        opened, notes = [], []
        for tiff, first in zip(files, firsts, strict=True):
            if _page_of(tiff, first) != self._page:
                raise _other_page(tiff, self._page, first)
            layout, note = _layout(tiff, first, self._page) if span is None else _walk(tiff, self._page, span)
            opened.append(_Opened(tiff, first, layout))
            if note:
                notes.append(note)
                warn(note)
        self.notes = tuple(notes)
        self._files: list[_Opened] | _FilesAtNeed = opened
        return [one.layout.count for one in opened]

    def _open_at_need(self, counts: np.ndarray, names: Collection[str] | None) -> None:
        if names is not None:
            found = names if isinstance(names, Set | Mapping) else frozenset(names)
            self.absent = tuple(k for k, path in enumerate(self.paths) if os.path.basename(path) not in found)
        model = next((k for k, absent in enumerate(itertools.chain(self.absent, [-1])) if k != absent), 0)
        if model >= len(self.paths):
            model = 0  # none is there: the first one's name is said
        self._files = files = _FilesAtNeed(self.paths, counts, model)
        self._page = files.page

    @classmethod
    def of(
        cls,
        paths: Any,
        *,
        span: tuple[int, int] | None = None,
        pages_per_file: Sequence[int] | np.ndarray | None = None,
        names: Collection[str] | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> PageIndex:
        """Make the index of one path or of a sequence of them, or of some pages of each file.

        Parameters
        ----------
        paths : str, os.PathLike or a sequence of them
        span, pages_per_file, names, folder : optional
            As in the constructor.
        """
        several = [paths] if isinstance(paths, str | os.PathLike) else paths
        return cls(several, span=span, pages_per_file=pages_per_file, names=names, folder=folder)

    @property
    def num_pages(self) -> int:
        """Pages in all files."""
        return int(self._edges[-1])

    @property
    def pages_per_file(self) -> tuple[int, ...]:
        """Pages in each file."""
        return tuple(np.diff(self._edges).tolist())

    @property
    def page_shape(self) -> tuple[int, int]:
        """``(rows, columns)``."""
        return self._page.rows, self._page.columns

    @property
    def samples_per_pixel(self) -> int:
        """Values a pixel."""
        return self._page.samples

    @property
    def dtype(self) -> np.dtype[Any]:
        """The pixels' dtype, in native byte order."""
        return np.dtype(self._page.dtype).newbyteorder("=")

    @property
    def is_regular(self) -> bool:
        """Whether no file had to be walked; of a sequence that is opened at need, False."""
        return self._counts is None and not any(
            isinstance(self._files[k].layout, _Table) for k in range(len(self.paths))
        )

    @property
    def first_tags(self) -> Mapping[int, Any]:
        """The decoded tags of the first page."""
        return self.tags(0)

    def tags(self, page: int) -> Mapping[int, Any]:
        """Return the decoded tags of a page: text as bytes, one number, or a tuple."""
        number, local = self._located(np.array([page]))[0]
        directory = self._files[number].directory(int(local[0]))
        return MappingProxyType({code: directory.value(code) for code in directory.entries})

    def descriptions(self, pages: Any) -> list[bytes]:
        """Return each page's own ImageDescription up to its first NUL; empty where it has none."""
        wanted = self._resolved(pages)
        found = [b""] * len(wanted)
        edges = np.searchsorted(self._edges, wanted, side="right") - 1
        for place, (page, number) in enumerate(zip(wanted.tolist(), edges.tolist(), strict=True)):
            opened = self._files[number]
            tiff, layout = opened.tiff, opened.layout
            local = page - int(self._edges[number])
            text = layout.description(tiff, local) if isinstance(layout, _Regular) and local else None
            if text is None:
                value = opened.directory(local).value(270)
                text = value if isinstance(value, bytes) else b""
            found[place] = text
        return found

    def read(self, pages: Any, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """Return pages as a new array.

        Parameters
        ----------
        pages : range, slice or array of int
            In any order, with repeats.
        rows, columns : slice
            With step 1.

        Returns
        -------
        numpy.ndarray
            ``(pages, rows, columns)`` or ``(pages, rows, columns, samples)``, native byte order.
        """
        wanted = self._resolved(pages)
        rows, columns = _within(rows, self._page.rows), _within(columns, self._page.columns)
        if len(wanted) == 1 and self._is_whole(rows, columns):
            single = self._read_one(int(wanted[0]))
            if single is not None:
                return single
        stored = np.dtype(self._page.dtype)
        result = np.empty(self._shape(len(wanted), rows, columns), stored)
        if result.size and self._counts is not None:
            self._read_sequence(result, wanted, rows, columns)
        elif result.size:
            self._read_pages(result, wanted, rows, columns)
        return result if stored.isnative else result.byteswap(inplace=True).view(stored.newbyteorder("="))

    def close(self) -> None:
        """Release the files."""
        if isinstance(self._files, _FilesAtNeed):
            self._files.clear()
            return
        for opened in self._files:
            opened.tiff.file.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._counts is None:
            return (_quietly, (tuple(self.paths), self._span))
        return (_unpacked, (_packed(self.paths), zlib.compress(self._counts.tobytes(), 1), self.absent))

    def _is_whole(self, rows: slice, columns: slice) -> bool:
        return (rows, columns) == (slice(0, self._page.rows), slice(0, self._page.columns))

    def _shape(self, count: int, rows: slice, columns: slice) -> tuple[int, ...]:
        tail = (self._page.samples,) if self._page.samples > 1 else ()
        return (count, rows.stop - rows.start, columns.stop - columns.start, *tail)

    def _read_sequence(self, result: np.ndarray, wanted: np.ndarray, rows: slice, columns: slice) -> None:
        """Read pages of files that are opened at need: files of one page whole, the others page by page."""
        owners = np.searchsorted(self._edges, wanted, side="right") - 1
        alone = np.diff(self._edges)[owners] == 1
        cuts = [0, *(np.flatnonzero(np.diff(alone)) + 1).tolist(), len(wanted)]
        for a, b in itertools.pairwise(cuts):
            if not alone[a]:
                self._read_pages(result[a:b], wanted[a:b], rows, columns)
                continue
            tasks = [
                functools.partial(self._read_files, result[a:b][part], owners[a:b][part], rows, columns)
                for part in (slice(k, k + _FILES_A_TASK) for k in range(0, b - a, _FILES_A_TASK))
            ]
            large = self._page.nbytes >= _LARGE_PAGE and len(tasks) > 1
            run_on_cores(tasks) if large else [task() for task in tasks]

    def _read_files(self, result: np.ndarray, numbers: np.ndarray, rows: slice, columns: slice) -> None:
        files = self._files
        whole_rows = slice(0, self._page.columns)
        scratch = None if columns == whole_rows else np.empty(self._shape(1, rows, whole_rows)[1:], result.dtype)
        for frame, number in zip(result, numbers.tolist(), strict=True):
            room = frame if scratch is None else scratch
            if isinstance(files, _FilesAtNeed) and not files.read_whole(number, room, rows.start):
                self._read_pages(frame[np.newaxis], self._edges[number : number + 1], rows, columns)
            elif scratch is not None:
                frame[...] = scratch[:, columns]

    def _read_pages(self, result: np.ndarray, wanted: np.ndarray, rows: slice, columns: slice) -> None:
        for place, number, local in self._by_file(wanted):
            opened = self._files[number]
            if isinstance(opened.layout, _Table) and opened.layout.data is None:
                self._decode(result[place], opened, local, rows, columns)
            elif self._is_whole(rows, columns):
                self._fill(result[place], opened, local)
            else:
                self._fill_parts(result[place], opened, local, rows, columns)

    def _read_one(self, page: int) -> np.ndarray | None:
        """Read one page of a regular file together with its directory; None where the page is of another kind."""
        if self._counts is not None:
            return None
        number = bisect.bisect_right(self._starts, page) - 1
        opened = self._files[number]
        tiff, layout = opened.tiff, opened.layout
        if not isinstance(layout, _Regular):
            return None
        page -= self._starts[number]
        at, data = layout.places(page)
        result = np.empty(self._one, self._page.dtype)
        table = bytearray(layout.width)
        gap = data - at - layout.width
        if page and 0 <= gap <= _MAX_GAP:
            tiff.file.read_into([table, bytearray(gap), result] if gap else [table, result], at)
        else:
            tiff.file.read_into([table], at)
            tiff.file.read_into([result], data)
        if not layout.is_as_predicted(page, table):
            raise _other_page(tiff, self._page, tiff.directory(at, page))
        return result if result.dtype.isnative else result.byteswap(inplace=True).view(result.dtype.newbyteorder("="))

    def _resolved(self, pages: Any) -> np.ndarray:
        if isinstance(pages, slice):
            pages = range(*pages.indices(self.num_pages))
        if isinstance(pages, range) and len(pages) == 1 and 0 <= pages.start < self.num_pages:
            return np.array([pages.start], np.int64)
        wanted = (
            np.arange(pages.start, pages.stop, pages.step, dtype=np.int64)
            if isinstance(pages, range)
            else np.atleast_1d(np.asarray(pages))
        )
        if wanted.size == 0:
            return np.empty(0, np.int64)
        if wanted.dtype.kind not in "iu" or wanted.min() < 0 or wanted.max() >= self.num_pages:
            raise RangeError(
                f"page {wanted.max():,} is asked for, and there are {self.num_pages:,} (0 to {self.num_pages - 1:,})"
            )
        return wanted.astype(np.int64)

    def _located(self, pages: np.ndarray) -> list[tuple[int, np.ndarray]]:
        return [(number, local) for _, number, local in self._by_file(self._resolved(pages))]

    def _by_file(self, wanted: np.ndarray) -> Iterator[tuple[slice, int, np.ndarray]]:
        owners = np.searchsorted(self._edges, wanted, side="right") - 1
        cuts = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), len(wanted)]
        for a, b in itertools.pairwise(cuts):
            number = int(owners[a])
            yield slice(a, b), number, wanted[a:b] - self._edges[number]

    def _fill_parts(self, result: np.ndarray, opened: _Opened, pages: np.ndarray, rows: slice, columns: slice) -> None:
        """Read a part of pages that are not coded; no other rows, and no memory for other columns."""
        native = result.view(self.dtype)  # bytes as they are: who asked swaps them
        frame = (self._page.rows, self._page.columns, *result.shape[3:])
        stored = StoredFrames([opened.tiff.file], shape=frame, dtype=native.dtype)
        stored.read_into(native, opened.layout.data_offsets(pages), rows, columns)
        if isinstance(opened.layout, _Regular):
            self._check(opened.tiff, opened.layout, pages)

    def _fill(self, result: np.ndarray, opened: _Opened, pages: np.ndarray) -> None:
        tiff, layout = opened.tiff, opened.layout
        offsets = layout.data_offsets(pages)
        step = result[0].nbytes
        near = np.diff(offsets)
        cuts = [
            0,
            *(np.flatnonzero((near < step) | (near - step > _MAX_GAP)) + 1).tolist(),
            len(pages),
        ]
        tasks: list[Any] = []
        for a, b in itertools.pairwise(cuts):
            parts = min(num_cores(), max(1, (b - a) * step >> 23)) if b - a > 1 else 0
            marks = [a + (b - a) * k // parts for k in range(parts + 1)] if parts else []
            tasks += [
                self._run_task(tiff, layout, pages[i:j], offsets[i:j], result[i:j])
                for i, j in itertools.pairwise(marks)
                if i < j
            ]
        alone = np.asarray(cuts[:-1], np.int64)[np.diff(cuts) == 1]
        for some in np.array_split(alone, num_cores()) if len(alone) else ():
            frames = [result[k] for k in some.tolist()]
            tasks.append(functools.partial(self._read_apart, tiff, layout, pages[some], offsets[some], frames))
        if len(tasks) > 64:
            groups = [tasks[k :: num_cores()] for k in range(num_cores())]
            tasks = [_in_turn(group) for group in groups]
        run_on_cores(tasks) if result.nbytes >= 1 << 23 else [task() for task in tasks]

    def _read_apart(
        self,
        tiff: _TiffFile,
        layout: Any,
        pages: np.ndarray,
        offsets: np.ndarray,
        frames: list[np.ndarray],
    ) -> None:
        """Read pages that lie apart, each with its directory by one call where it stands close before the pixels."""
        regular = isinstance(layout, _Regular)
        gap = layout.data[1] - layout.table[1] - layout.width if regular else -1
        near = 0 <= gap <= _MAX_GAP and layout.data[2] == layout.table[2]
        if not near:
            for frame, offset in zip(frames, offsets.tolist(), strict=True):
                tiff.file.read_into([frame], offset)
            if regular:
                self._check(tiff, layout, pages)
            return
        tables, between = np.empty((len(pages), layout.width), np.uint8), bytearray(gap)
        for page, frame, table, offset in zip(pages.tolist(), frames, tables, offsets.tolist(), strict=True):
            ahead = [table, between] if gap else [table]
            tiff.file.read_into([*ahead, frame] if page else [frame], offset - (layout.width + gap if page else 0))
        later = pages > 0
        self._require_as_predicted(tiff, layout, pages[later], tables[later])

    def _decode(self, result: np.ndarray, opened: _Opened, pages: np.ndarray, rows: slice, columns: slice) -> None:
        """Decode the segments of pages that are compressed, tiled, planar or in scattered strips, on all cores."""
        decoder = opened.decoder(self._page)
        tasks = [
            decoder.task(opened.layout, int(page), frame, rows, columns)
            for page, frame in zip(pages, result, strict=True)
        ]
        groups = [tasks[k :: num_cores()] for k in range(num_cores())]
        run_on_cores([_in_turn(group) for group in groups if group])

    def _run_task(
        self, tiff: _TiffFile, layout: Any, pages: np.ndarray, offsets: np.ndarray, result: np.ndarray
    ) -> Any:
        return lambda: self._read_run(tiff, layout, pages, offsets, result)

    def _read_run(
        self, tiff: _TiffFile, layout: Any, pages: np.ndarray, offsets: np.ndarray, result: np.ndarray
    ) -> None:
        """Read pages that lie behind each other: into the result, and what is between them into a scrap."""
        step = result[0].nbytes
        if len(pages) == 1 or (offsets[1:] - offsets[:-1] == step).all():
            tiff.file.read_into([result], int(offsets[0]))
            gaps = None
        else:
            gaps = [np.empty(n, np.uint8) for n in (offsets[1:] - offsets[:-1] - step).tolist()]
            buffers = [b for pair in itertools.zip_longest(result, gaps) for b in pair if b is not None]
            tiff.file.read_into(buffers, int(offsets[0]))
        if isinstance(layout, _Regular):
            self._check(tiff, layout, pages)

    def _check(self, tiff: _TiffFile, layout: _Regular, pages: np.ndarray) -> None:
        pages = pages[pages > 0]
        if not len(pages):
            return
        self._require_as_predicted(tiff, layout, pages, _bytes_at(tiff, layout, pages))

    def _require_as_predicted(
        self, tiff: _TiffFile, layout: _Regular, pages: np.ndarray, tables: np.ndarray | None
    ) -> None:
        wrong = pages[:1] if tables is None else layout.faults(pages, tables)
        if len(wrong):
            page = int(wrong[0])
            at = int(layout.table_offsets(wrong[:1])[0])
            raise _other_page(tiff, self._page, tiff.directory(at, page))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile from printing what this module says by its errors."""
    logger = logging.getLogger("tifffile")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Decoder:
    """Decodes the segments of one file's pages by tifffile and imagecodecs."""

    def __init__(self, tiff: _TiffFile, first: Directory, page: Page) -> None:
        import tifffile

        self._tiff = tiff
        self._page = page
        try:
            with _quiet(), tiff.file.stream() as stream, tifffile.TiffFile(stream, name=tiff.file.name) as opened:
                opened.filehandle.seek(first.offset)
                key = tifffile.TiffPage(opened, first.page)
                # The decoder of JPEG looks into the file when it is made
                self._shaped, self._decode = key.shaped, key.decode
        except Exception as error:
            _raise_fault_below(error)
            raise CorruptRecordingError(
                f"{tiff.name}: page {first.page:,} at byte {first.offset:,} cannot be understood: {printable(error)}"
            ) from error

        if math.prod(self._shaped) != page.rows * page.columns * page.samples:
            raise CorruptRecordingError(
                f"{tiff.name}: page {first.page:,} at byte {first.offset:,} has tags that contradict each other: {page.rows:,} x {page.columns:,} x "
                f"{page.samples} values, or {self._shaped}"
            )

    def task(self, layout: Any, page: int, frame: np.ndarray, rows: slice, columns: slice) -> Any:
        return lambda: self._into(layout, page, frame, rows, columns)

    def _into(self, layout: Any, page: int, frame: np.ndarray, rows: slice, columns: slice) -> None:
        out = np.zeros(self._shaped, self._page.dtype)
        tables = self._tables_of(layout, page)
        is_whole = frame.size == self._page.rows * self._page.columns * self._page.samples
        for number, (offset, count) in enumerate(zip(*layout.segments.of(page), strict=True)):
            if count == offset == 0:  # a segment that was never written, by the convention of sparse files
                continue
            where = f"{self._tiff.name}: page {page:,}, segment {number} at byte {offset:,}"
            if not (is_whole or self._is_wanted(number, rows, columns, where)):
                continue
            data = self._bytes_of(page, offset, count, where)
            with _damage_told(where):
                segment, (s, d, h, w, _), shape = self._decode(data, number, jpegtables=tables)
                if segment is not None:
                    room = out[s, d : d + shape[0], h : h + shape[1], w : w + shape[2]]
                    room[...] = segment[: room.shape[0], : room.shape[1], : room.shape[2]]
        image = np.moveaxis(out[:, 0, :, :, 0], 0, -1) if self._page.planar and self._page.samples > 1 else out[0, 0]
        image = image[rows, columns]
        frame[...] = image.reshape(frame.shape)

    def _tables_of(self, layout: Any, page: int) -> bytes | None:
        """Return the tables of a page of JPEG, which each page has for itself."""
        if self._page.compression not in _JPEG:
            return None
        directory = self._tiff.directory(int(layout.table_offsets(np.array([page]))[0]), page)
        found = directory.value(347)
        return found if isinstance(found, bytes) else None

    def _is_wanted(self, number: int, rows: slice, columns: slice, where: str) -> bool:
        """Whether something of the part lies in a segment."""
        with _damage_told(where):
            _, (_, _, row, column, _), shape = self._decode(None, number)
        is_beside = row >= rows.stop or row + shape[1] <= rows.start
        return not (is_beside or column >= columns.stop or column + shape[2] <= columns.start)

    def _bytes_of(self, page: int, offset: int, count: int, where: str) -> bytes:
        if count <= 0:
            raise CorruptRecordingError(f"{where} is said to have no bytes")
        data = self._tiff.file.read(offset, count)
        if len(data) < count:
            raise TruncatedRecordingError(
                f"{self._tiff.name}: page {page:,} is cut: {count:,} bytes at byte {offset:,} are not there"
            )
        return data


@contextlib.contextmanager
def _damage_told(where: str) -> Iterator[None]:
    """Tell what a decoder raises as damage."""
    try:
        yield
    except Exception as error:
        raise CorruptRecordingError(
            f"{where} cannot be decoded ({type(error).__name__}: {printable(error)[:120]})"
        ) from error


def _raise_fault_below(error: BaseException | None) -> None:
    """Raise the fault of the file itself, where that is what a library's error comes from."""
    while error is not None:
        if isinstance(error, SourceError):
            raise error
        error = error.__cause__ or error.__context__


def _within(part: slice, length: int) -> slice:
    start, stop, _ = part.indices(length)
    return slice(start, max(start, stop))


def _in_turn(tasks: Sequence[Any]) -> Any:
    def run() -> None:
        for task in tasks:
            task()

    return run


def _quietly(paths: Sequence[str], span: tuple[int, int] | None) -> PageIndex:
    with silenced():
        return PageIndex(paths, span=span)


def _packed(paths: Sequence[str]) -> bytes:
    return zlib.compress("\0".join(paths).encode("utf-8", "surrogateescape"), 1)


def _unpacked(paths: bytes, counts: bytes, absent: tuple[int, ...]) -> PageIndex:
    whole = zlib.decompress(paths).decode("utf-8", "surrogateescape").split("\0")
    missing = frozenset(absent)
    names = [os.path.basename(path) for k, path in enumerate(whole) if k not in missing] if absent else None
    return PageIndex(whole, pages_per_file=np.frombuffer(zlib.decompress(counts), np.int64), names=names)


def _checked_counts(paths: Sequence[str], span: Any, pages_per_file: Sequence[int] | np.ndarray) -> np.ndarray:
    counts = np.asarray(pages_per_file)
    if span is not None:
        raise DeclarationError("span and pages_per_file were both given, and only one of them can be meant")
    if counts.shape != (len(paths),) or counts.dtype.kind not in "iu" or not len(paths) or counts.min() < 1:
        raise DeclarationError(
            f"pages_per_file must be {len(paths):,} whole numbers of 1 or more, one a file, and is {pages_per_file!r:.80}"
        )
    return counts.astype(np.int64)


def _first_directory(tiff: _TiffFile, span: tuple[int, int] | None) -> Directory:
    if span is None:
        return tiff.directory(tiff.first, 0)
    for offset, _ in itertools.islice(_chain(tiff), span[0], None):
        return tiff.directory(offset, span[0])
    raise CorruptRecordingError(
        f"{tiff.name} holds no page {span[0]:,}: its first directory is said to be at byte {tiff.first:,}"
    )


@dataclass(frozen=True, slots=True)
class Series:
    """Consecutive pages of one file that were written as one array.

    Attributes
    ----------
    start, stop : int
        Pages, ``stop`` exclusive.
    shape : tuple of int
        The array's shape by its description; empty when it has none.
    page : Page
    """

    start: int
    stop: int
    shape: tuple[int, ...]
    page: Page


def series_of(path: str | os.PathLike[str]) -> tuple[Series, ...]:
    """Return the series of a file: a new one begins where a page tells an array's shape, or is of another kind.

    Parameters
    ----------
    path : str or os.PathLike

    References
    ----------
    tifffile's "shaped" series: a JSON object with the key ``shape`` in the ImageDescription of the first page.
    """
    tiff = _TiffFile(path)
    found: list[Series] = []
    for number, (offset, table) in enumerate(_chain(tiff)):
        directory = Directory(tiff, offset, table, 0, number)
        page, shape = _page_of(tiff, directory), described_shape(directory.value(270))
        if directory.number(254, 0) & 1:
            shape, page = (), page
        if not found or shape or page != found[-1].page:
            found.append(Series(number, number + 1, shape, page))
        else:
            found[-1] = Series(found[-1].start, number + 1, found[-1].shape, page)
    return tuple(found)


def described_shape(description: Any) -> tuple[int, ...]:
    """Return the shape that tifffile wrote into an ImageDescription, or nothing."""
    if not isinstance(description, bytes) or len(description) > 1 << 16:
        return ()
    if description.startswith(b"shape=("):
        numbers = description[7:].partition(b")")[0].split(b",")
        return tuple(int(n) for n in numbers if len(n) < 20 and n.strip().isdigit())
    if not description.startswith(b'{"'):
        return ()
    try:
        shape = json.loads(description).get("shape", [])
    except (ValueError, AttributeError, RecursionError):
        return ()
    good = isinstance(shape, list) and all(isinstance(n, int) and 0 < n < 1 << 40 for n in shape)
    return tuple(shape) if good else ()


def _layout(tiff: _TiffFile, first: Directory, page: Page) -> tuple[Any, str]:
    if not first.next and page.is_plain and first.begins_with(270, b"ImageJ="):
        description = first.value(270)
        lines = description.splitlines() if isinstance(description, bytes) else ()
        claimed = next(
            (
                int(line[7:])
                for line in lines
                if line.startswith(b"images=") and len(line) < 27 and line[7:].strip().isdigit()
            ),
            1,
        )
        data, length = _strip(tiff, first)
        if claimed > 1 and data >= 0:
            if data < _HEADER_BYTES or 0 < length < page.nbytes:
                raise CorruptRecordingError(
                    f"{tiff.name}: its pages have {page.nbytes:,} bytes of pixels, and its first directory tells of {length:,} at byte {data:,}"
                )
            held = max(1, min(claimed, (tiff.size - data) // page.nbytes))
            note = "" if held == claimed else f"{tiff.name} claims {claimed:,} images and holds {held:,}"
            return _Contiguous(first.offset, data, page.nbytes, held), note
    layout, note = _prove(tiff, first, page)
    return (layout, note) if layout is not None else _walk(tiff, page)

"""The files of a sequence whose numbers of pages are known: each is opened and checked at its first read."""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceNotFoundError,
    TruncatedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io import ProcessLock, read_once

from .directory import TiffFile
from .file import PagedFile, find_layout
from .page import SHAPE_TAGS, Page, differing_page
from .regular import MAX_GAP
from .walked import WalkedPages

__all__ = ["FolderPaths", "SequenceFiles"]

_MAX_KNOWN = 64  # a player goes to and fro over few files; half a million layouts would fill the memory
_MAX_PATTERNS = 2  # the first file of a recording often differs from all others, by its description's length


class SequenceFiles:
    """The files of a sequence, each opened and checked at its first read; few of them are remembered.

    Parameters
    ----------
    paths : sequence of str
    counts : numpy.ndarray
        The number of pages that each file should contain.
    model : int
        The file that is opened at once, and that all others must be like.

    Attributes
    ----------
    page : Page
        The properties of all pages.
    """

    def __init__(self, paths: Sequence[str], counts: np.ndarray, model: int) -> None:
        self._paths, self._counts = paths, counts
        self._lock = ProcessLock()
        self._known: OrderedDict[int, PagedFile] = OrderedDict()
        self._patterns: tuple[_Pattern, ...] = ()
        tiff = self._open(model)
        self.page = Page.of(tiff.directory(tiff.first, 0))
        self._keep(model, self._require_expected(model, tiff))

    def __getitem__(self, number: int) -> PagedFile:
        with self._lock:
            known = self._known.get(number)
            if known is not None:
                self._known.move_to_end(number)
                return known
        # Opened outside the lock, so that threads open different files at once; two may open the same one, to no harm
        return self._keep(number, self._require_expected(number, self._open(number)))

    def read_alike(self, number: int, result: np.ndarray, top: int) -> bool:
        """Fill the rows from ``top`` on of a file of one page; False where it is not laid out like a known file."""
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

    def close(self) -> None:
        """Release the files."""
        with self._lock:
            for file in self._known.values():
                file.close()
            self._known.clear()

    def _keep(self, number: int, file: PagedFile) -> PagedFile:
        pattern = _Pattern.of(file)
        with self._lock:
            self._known[number] = file
            if len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
            if pattern is not None:
                self._patterns = (pattern, *self._patterns)[:_MAX_PATTERNS]
        return file

    def _open(self, number: int) -> TiffFile:
        try:
            return TiffFile(self._paths[number])
        except SourceNotFoundError as error:
            raise self._missing(number) from error

    def _missing(self, number: int) -> SourceNotFoundError:
        return SourceNotFoundError(
            f"{printable(self._paths[number])} does not exist: file {number + 1:,} of the {len(self._paths):,} of this recording"
        )

    def _require_expected(self, number: int, tiff: TiffFile) -> PagedFile:
        """Return a file, when its pages are like the first file's, and as many as expected."""
        expected = int(self._counts[number])
        first = tiff.directory(tiff.first, 0)
        if Page.of(first) != self.page:
            raise differing_page(self.page, first)
        layout, _ = find_layout(first, self.page)
        if layout.count < expected:
            raise TruncatedRecordingError(
                f"{tiff.name}: page {layout.count:,} is missing: expected {counted(expected, 'page')}, but the "
                f"file of {tiff.size:,} bytes contains {layout.count:,}"
            )
        if layout.count > expected:
            raise CorruptRecordingError(
                f"{tiff.name}: page {expected:,} is one too many: expected {counted(expected, 'page')}, but the "
                f"file contains {layout.count:,}"
            )
        return PagedFile(first, self.page, layout)


class _Pattern:
    """A file of one page as a template: a sibling is read at once, and compared instead of parsed.

    In a sequence of one page a file, opening costs more than reading: header, directory and tags are read one after the
    other, and parsed.  But the files of one microscope differ in nothing but pixels, texts and dates.  So a whole file is
    read by one call, head and tail of it beside the pixels, and then the bytes that decide about the pixels are compared with
    those of a file that was parsed: the header, the directory's codes and types, the values that make the page's shape,
    and those that say where its pixels are.  A file that differs in one of them is opened in the ordinary way.
    """

    __slots__ = ("_after", "_before", "_end", "_fixed_after", "_fixed_before", "_row_bytes", "_seen")

    def __init__(self, opened: PagedFile, data: int, places: Sequence[tuple[int, int]]) -> None:
        file, page = opened.tiff.file, opened.page
        self._before, self._end = data, data + page.nbytes
        self._after = max(0, max(b for _, b in places) - self._end)
        self._row_bytes = page.nbytes // page.rows
        head, tail = file.read(0, self._before), file.read(self._end, self._after)
        self._fixed_before = _fields([(a, b) for a, b in places if b <= data])
        self._fixed_after = _fields([(a - self._end, b - self._end) for a, b in places if b > data])
        self._seen = (*self._fixed_before(head), *self._fixed_after(tail))

    @classmethod
    def of(cls, opened: PagedFile) -> _Pattern | None:
        """Return the pattern, or None where the file contains more pages or its parts are far from each other."""
        layout, page = opened.layout, opened.page
        if not isinstance(layout, WalkedPages) or not layout.is_one_block or layout.count != 1 or opened.first.next:
            return None
        data = int(layout.data_offsets(np.array([0]))[0])
        end, places = data + page.nbytes, _fixed_places(opened)
        apart = all(b <= data or a >= end for a, b in places)
        last = max(end, max(b for _, b in places))
        near = data + last - end <= MAX_GAP
        return cls(opened, data, places) if apart and near and last <= opened.tiff.size else None

    def read(self, path: str, result: np.ndarray, top: int) -> bool:
        """Fill the rows from ``top`` on, and return whether the file is like this one."""
        head, tail = bytearray(self._before), bytearray(self._after)
        if result.nbytes == self._end - self._before:
            complete = read_once(path, [(0, [head, result, tail])])
        else:
            at = self._before + top * self._row_bytes
            complete = read_once(path, [(0, [head]), (at, [result]), (self._end, [tail])])
        return complete and (*self._fixed_before(head), *self._fixed_after(tail)) == self._seen


def _fields(places: Sequence[tuple[int, int]]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes these places, begin and end, out of bytes: one call of struct for every file of a sequence."""
    begins = [0, *(b for _, b in places)]
    return struct.Struct("".join(f"{a - at}x{b - a}s" for (a, b), at in zip(places, begins, strict=False))).unpack_from


def _fixed_places(opened: PagedFile) -> list[tuple[int, int]]:
    """Return the bytes of a file of one page that must be the same in a sibling, as begin and end, merged."""
    tiff, first = opened.tiff, opened.first
    places = [
        (0, 16 if tiff.big else 8),
        (first.offset, first.offset + tiff.count_size),
        (first.end - tiff.field_size, first.end),
    ]
    for code, (_, _, at) in first.entries.items():
        entry = first.offset + at + tiff.field_size - tiff.entry_size
        is_needed = code in (*SHAPE_TAGS, 273, 279)
        places.append((entry, entry + tiff.entry_size if is_needed else entry + 4))
        if is_needed and not first.is_inline(code):
            begin, size = first.place(code)
            places.append((begin, begin + size))
    merged: list[tuple[int, int]] = []
    for a, b in sorted(places):
        if merged and a <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(b, merged[-1][1]))
        else:
            merged.append((a, b))
    return merged


class FolderPaths(Sequence[str]):
    """Names in a folder as paths, made on demand: the name of the folder is not kept half a million times."""

    __slots__ = ("_before", "_names")

    def __init__(self, folder: str | os.PathLike[str], names: Sequence[str]) -> None:
        self._before, self._names = os.path.join(os.fspath(folder), ""), names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self._before + name for name in self._names[number]]
        return self._before + self._names[number]

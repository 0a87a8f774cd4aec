"""Files whose pages are anywhere: the chain of directories is followed once, and every page's place is kept."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError

from .chain import Chain
from .directory import HEADER_BYTES, TYPE_FORMS, Directory, TiffFile
from .layout import Layout
from .page import CODING_TAGS, Page, differing_page, segment_shape, segments_of
from .regular import fixed_bytes

__all__ = ["Segments", "WalkedPages", "walk"]

_STRIP_OFFSETS, _STRIP_LENGTHS = 273, 279
_BATCH = 1 << 16  # directories parsed at once: the tables of more are not kept


class WalkedPages(Layout):
    """Pages one by one: where each directory is, and where each page's segments are.

    Parameters
    ----------
    tables : numpy.ndarray
        Offsets of the directories.
    data : numpy.ndarray or None
        Offsets of the pixels, where those of every page are one plain block.
    segments : Segments
    """

    def __init__(self, tables: np.ndarray, data: np.ndarray | None, segments: Segments) -> None:
        self.count = len(tables)
        self.segments = segments
        self._tables, self._data = tables, data

    @property
    def is_one_block(self) -> bool:
        return self._data is not None

    def table_offsets(self, pages: np.ndarray) -> np.ndarray:
        return np.asarray(self._tables[pages])

    def data_offsets(self, pages: np.ndarray) -> np.ndarray:
        if self._data is None:
            raise UnsupportedRecordingError("the pages of this file are not one block of bytes each")
        return np.asarray(self._data[pages])


@dataclass(frozen=True, slots=True)
class Segments:
    """Strips or tiles of all pages, page after page.

    Attributes
    ----------
    starts : numpy.ndarray
        For each page the position of its first segment, and the number of all segments; int64.
    offsets, lengths : numpy.ndarray
        Of each segment in bytes; int64.
    """

    starts: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray

    def of(self, page: int) -> tuple[list[int], list[int]]:
        """Return the offsets and lengths of one page's segments."""
        part = slice(int(self.starts[page]), int(self.starts[page + 1]))
        return self.offsets[part].tolist(), self.lengths[part].tolist()

    def are_blocks(self) -> bool:
        """Return whether each page's segments follow each other without gaps."""
        follows = self.offsets[:-1] + self.lengths[:-1] == self.offsets[1:]
        return bool((follows | np.isin(np.arange(1, len(self.offsets)), self.starts)).all())

    def page_of(self, segment: int) -> int:
        """Return the page of a segment."""
        return int(np.searchsorted(self.starts, segment, side="right")) - 1


def walk(tiff: TiffFile, page: Page, span: tuple[int, int] | None = None) -> tuple[WalkedPages, str]:
    """Follow the chain and keep where every page's bytes are.

    Parameters
    ----------
    tiff : TiffFile
    page : Page
        The properties that every page must have.
    span : tuple of int, optional
        First page and last page (exclusive).

    Returns
    -------
    WalkedPages, str
        Of complete pages; and a note when the last page is cut off.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        A page has other properties, or its pixels are not where they could be.
    """
    chain = Chain(tiff)
    steps = itertools.islice(iter(chain), *(span or (0, None)))
    tables: list[int] = []
    batches: list[_Batch] = []
    while some := list(itertools.islice(steps, _BATCH)):
        offsets, directories = zip(*some, strict=True)
        batches.append(_Batch.of(tiff, page, len(tables), offsets, directories))
        tables += offsets
    counts = np.concatenate([[0], *(batch.counts for batch in batches)])
    segments = Segments(
        np.cumsum(counts),
        np.concatenate([batch.offsets for batch in batches]),
        np.concatenate([batch.lengths for batch in batches]),
    )
    num_pages, note = _complete_pages(tiff, segments, tables, chain.note)
    is_block = page.is_plain and segments.are_blocks()
    if is_block:
        _require_enough_bytes(tiff, page, segments, tables, num_pages)
    else:
        _require_segments(tiff, page, tables, batches)
    data = segments.offsets[segments.starts[:-1]][:num_pages] if is_block else None
    return WalkedPages(np.array(tables[:num_pages], np.int64), data, segments), note


@dataclass(frozen=True, slots=True)
class _Batch:
    """The segments of consecutive pages.

    Attributes
    ----------
    counts : numpy.ndarray
        Segments of each page.
    offsets, lengths : numpy.ndarray
        Of each segment.
    shapes : tuple
        The different rows and columns of the segments, each with the number of the first page that has them.
    """

    counts: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    shapes: tuple[tuple[tuple[int, int], int], ...]

    @classmethod
    def of(cls, tiff: TiffFile, page: Page, first: int, places: Sequence[int], directories: Sequence[bytes]) -> _Batch:
        """Read the places of the pixels out of directories, those that are alike at once.

        Parameters
        ----------
        tiff : TiffFile
        page : Page
            The properties that every page must have.
        first : int
            Number of the first of these pages.
        places, directories : sequence
            Offset and table of each directory.
        """
        batch = _BatchColumns(tiff, page, first, places, directories)
        for group in _same_length(directories):
            batch.add(group)
        counts, offsets, lengths = map(np.concatenate, (batch.counts, batch.offsets, batch.lengths))
        return cls(counts, offsets, lengths, tuple(batch.shapes.items()))


class _BatchColumns:
    """Collects the segments of a batch of directories."""

    def __init__(
        self, tiff: TiffFile, page: Page, first: int, places: Sequence[int], directories: Sequence[bytes]
    ) -> None:
        self._tiff, self._page, self._first = tiff, page, first
        self._places, self._tables = places, directories
        self.counts: list[np.ndarray] = []
        self.offsets: list[np.ndarray] = []
        self.lengths: list[np.ndarray] = []
        self.shapes: dict[tuple[int, int], int] = {}

    def add(self, group: slice) -> None:
        """Add directories of one length."""
        template = self._directory(group.start)
        self._require_same_page(template)
        is_one_strip = all(
            code in template.entries and template.entries[code][1] == 1 for code in (_STRIP_OFFSETS, _STRIP_LENGTHS)
        )
        if is_one_strip and group.stop - group.start > 1:
            self._add_alike(template, group)
            return
        for k in range(group.start, group.stop):
            self._add_single(self._directory(k))

    def _add_alike(self, template: Directory, group: slice) -> None:
        """Add pages of one strip each by columns of bytes: a hundred times as fast as one by one."""
        rows = np.frombuffer(b"".join(self._tables[group]), np.uint8).reshape(-1, len(template.table))
        fixed = fixed_bytes(template, CODING_TAGS if self._page.coding else ())
        # Lengths vary with compression, and are compared with the pixels' size where they do not
        lengths_at = template.entries[_STRIP_LENGTHS][2]
        fixed = fixed[~np.isin(fixed, np.arange(lengths_at, lengths_at + self._tiff.field_size))]
        other = np.flatnonzero((rows[:, fixed] != rows[0, fixed]).any(axis=1))
        if len(other):
            raise differing_page(self._page, self._directory(group.start + int(other[0])))
        self.offsets.append(_column(template, rows, _STRIP_OFFSETS))
        self.lengths.append(_column(template, rows, _STRIP_LENGTHS))
        self.counts.append(np.ones(len(rows), np.int64))
        self.shapes.setdefault(segment_shape(template, self._page), template.page)

    def _add_single(self, directory: Directory) -> None:
        self._require_same_page(directory)
        offsets, lengths = segments_of(directory)
        self.counts.append(np.array([len(offsets)]))
        self.offsets.append(np.array(offsets, np.int64))
        self.lengths.append(np.array(lengths, np.int64))
        self.shapes.setdefault(segment_shape(directory, self._page), directory.page)

    def _directory(self, k: int) -> Directory:
        return Directory(self._tiff, self._places[k], self._tables[k], 0, self._first + k)

    def _require_same_page(self, directory: Directory) -> None:
        if Page.of(directory) != self._page:
            raise differing_page(self._page, directory)


def _same_length(tables: Sequence[bytes]) -> Iterator[slice]:
    lengths = np.fromiter(map(len, tables), np.int64, len(tables))
    edges = (np.flatnonzero(np.diff(lengths)) + 1).tolist()
    for a, b in itertools.pairwise([0, *edges, len(tables)]):
        yield slice(a, b)


def _column(template: Directory, rows: np.ndarray, code: int) -> np.ndarray:
    kind, _, at = template.entries[code]
    form = template.tiff.order + TYPE_FORMS[kind]
    return np.asarray(np.ascontiguousarray(rows[:, at : at + struct.calcsize(form)]).view(form)[:, 0].astype(np.int64))


def _complete_pages(tiff: TiffFile, segments: Segments, tables: Sequence[int], note: str) -> tuple[int, str]:
    """Return how many pages are complete, and the note on a cut; pixels that end early are a cut in the last page alone."""
    offsets, lengths = segments.offsets, segments.lengths
    early = np.flatnonzero((offsets >= 0) & (offsets < HEADER_BYTES) & (lengths > 0))
    if len(early):
        k = segments.page_of(early[0])
        raise CorruptRecordingError(
            f"{tiff.name}: page {k:,} (directory at byte {tables[k]:,}) has its pixels at byte {int(offsets[early[0]]):,}, inside the file's header"
        )
    beyond = np.flatnonzero((offsets < 0) | (lengths < 0) | (offsets + lengths > tiff.size))
    if not len(beyond):
        return len(tables), note
    k = segments.page_of(beyond[0])
    where = f"{tiff.name} ends at byte {tiff.size:,}, and page {k:,} (directory at byte {tables[k]:,}) has its pixels at byte {int(offsets[beyond[0]]):,}"
    if k == 0 or k < len(tables) - 1:
        raise TruncatedRecordingError(f"{where}; the file is truncated")
    return k, f"{where}; the {k:,} whole pages are read"


def _require_enough_bytes(
    tiff: TiffFile, page: Page, segments: Segments, tables: Sequence[int], num_pages: int
) -> None:
    sums = np.add.reduceat(segments.lengths, segments.starts[:-1])[:num_pages]
    short = np.flatnonzero(sums < page.nbytes)
    if len(short):
        k = int(short[0])
        raise CorruptRecordingError(
            f"{tiff.name}: page {k:,} (directory at byte {tables[k]:,}) has {int(sums[k]):,} bytes of pixels, expected {page.nbytes:,}"
        )


def _require_segments(tiff: TiffFile, page: Page, tables: Sequence[int], batches: Sequence[_Batch]) -> None:
    """Refuse pages whose strips or tiles do not cover them, or are shaped unlike those of the first page.

    The decoder is made from the first page, and would place the segments of another shape wrongly.
    """
    shapes = [(shape, number) for batch in batches for shape, number in batch.shapes]
    (rows, columns), _ = shapes[0]
    for shape, number in shapes:
        if shape != (rows, columns):
            raise CorruptRecordingError(
                f"{tiff.name}: page {number:,} (directory at byte {tables[number]:,}) has segments of {shape[0]:,} rows and {shape[1]:,} columns, "
                f"but those of the pages before have {rows:,} and {columns:,}; pages that differ are not supported"
            )
    if rows < 1 or columns < 1:
        raise CorruptRecordingError(
            f"{tiff.name}: the directory at byte {tables[0]:,} claims segments of {rows:,} rows and {columns:,} columns"
        )
    expected = -(-page.rows // rows) * -(-page.columns // columns) * (page.samples if page.planar else 1)
    counts = np.concatenate([batch.counts for batch in batches])
    few = np.flatnonzero(counts < expected)
    if len(few):
        k = int(few[0])
        raise CorruptRecordingError(
            f"{tiff.name}: page {k:,} (directory at byte {tables[k]:,}) has {int(counts[k]):,} segments of pixels, expected {expected:,}"
        )

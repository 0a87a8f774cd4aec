"""Files whose pages are anywhere: the chain of directories is followed once, and every page's place is kept."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError, counted
from roiextractors_core.io import Budget

from .chain import Chain
from .directory import HEADER_BYTES, TYPE_FORMS, Directory, TiffFile
from .groups import Group, groups_of, segment_tags, single_budget
from .layout import Layout
from .page import Page, differing_page, segment_shape, segments_of

__all__ = ["Segments", "Selection", "WalkedPages", "walk"]

_BATCH = 1 << 16  # directories parsed at once: the tables of more are not kept
_MAX_BARE = 1 << 19  # directories; those of more must have pixels of their own
_MIN_SEGMENT = 16  # bytes of a strip and its entries in the tables, where there are more than a million
_MAX_SEGMENTS = 1 << 17  # of one page that is decoded
_MIN_ZEROS = 512  # one sector of a disk: file systems leave whole ones unwritten
_OTHER_TYPES = (2, 5, 7, 10)  # text, rationals and bytes


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

    def before(self, page: int) -> Segments:
        """Return the segments of the pages before this one."""
        stop = int(self.starts[page])
        return Segments(self.starts[: page + 1], self.offsets[:stop], self.lengths[:stop])

    def page_of(self, segment: int) -> int:
        """Return the page of a segment."""
        return int(np.searchsorted(self.starts, segment, side="right")) - 1


@dataclass(frozen=True, slots=True)
class Selection:
    """Which directories of a chain are pages of the recording.

    Attributes
    ----------
    span : tuple of int or None
        First and last (exclusive) directory; then those that the file marks as secondary count too.
    secondary : bool
        Whether pages that the file marks as reduced images (thumbnails, levels of a pyramid) or masks count.
    kind : Page or None
        The properties of the pages that are taken; others are left out.  By default, pages that differ are an error.
    """

    span: tuple[int, int] | None = None
    secondary: bool = False
    kind: Page | None = None

    def takes(self, directory: Directory) -> bool:
        """Return whether a directory is a page of the recording.

        Raises
        ------
        CorruptRecordingError, UnsupportedRecordingError
            Its tags are impossible.
        """
        if not self.secondary and self.span is None and directory.is_secondary:
            return False
        return self.kind is None or Page.of(directory) == self.kind


def walk(tiff: TiffFile, page: Page, selection: Selection | None = None) -> tuple[WalkedPages, str]:
    """Follow the chain and keep where every page's bytes are.

    Parameters
    ----------
    tiff : TiffFile
    page : Page
        The properties that every page must have.
    selection : Selection, optional
        Which directories are pages; by default all that are not marked as secondary.

    Returns
    -------
    WalkedPages, str
        Of the whole pages before any damage; and a note when there is damage.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        A page has other properties, or no page is whole.
    """
    chain, batches, bounds = Chain(tiff), [], _Bounds(tiff)
    selection = selection or Selection()
    damage = ""
    for first, offsets, directories in _directories(chain, selection.span):
        batch = _Batch.of(tiff, page, first, offsets, directories, selection, bounds)
        bounds.add(directories, batch.lengths)
        batches.append(batch)
        damage = batch.damage
        if damage:
            break
    places = np.concatenate([np.empty(0, np.int64), *(batch.places for batch in batches)])
    if not len(places):
        raise CorruptRecordingError(f"{tiff.name} {damage or 'contains no page'}")
    segments = Segments(
        np.cumsum(np.concatenate([[0], *(batch.counts for batch in batches)])),
        np.concatenate([batch.offsets for batch in batches]),
        np.concatenate([batch.lengths for batch in batches]),
    )
    count, damage = _whole_pages(tiff, page, segments, places, damage or chain.damage, chain.zeros_from)
    segments, places = segments.before(count), places[:count]
    is_block = page.is_plain and segments.are_blocks()
    if is_block:
        _require_enough_bytes(tiff, page, segments, places)
    else:
        _require_segments(tiff, page, places, np.diff(segments.starts), batches)
    data = segments.offsets[segments.starts[:-1]] if is_block else None
    note = (
        f"{tiff.name} {damage}; the {counted(count, 'complete page')} {'is' if count == 1 else 'are'} read, of "
        f"at least {count + 1:,}"
        if damage
        else ""
    )
    return WalkedPages(places, data, segments), note


def _directories(chain: Chain, span: tuple[int, int] | None) -> Iterator[tuple[int, list[int], list[bytes]]]:
    """Yield directories in batches, each with the number of the first of them."""
    begin, end = span or (0, None)
    number = 0
    for offsets, tables in chain.batches(_BATCH if end is None else max(1, min(_BATCH, end))):
        part = slice(max(0, begin - number), None if end is None else max(0, end - number))
        if offsets[part]:
            yield number + (part.start or 0), offsets[part], tables[part]
        number += len(offsets)
        if end is not None and number >= end:
            return


@dataclass(frozen=True, slots=True)
class _Batch:
    """The segments of consecutive pages.

    Attributes
    ----------
    places : numpy.ndarray
        Offset of each page's directory.
    counts : numpy.ndarray
        Segments of each page.
    offsets, lengths : numpy.ndarray
        Of each segment.
    shapes : tuple
        The different rows and columns of the segments, each with the offset of the first directory that has them.
    damage : str
        In words, why the pages end before the batch does; else empty.
    """

    places: np.ndarray
    counts: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    shapes: tuple[tuple[tuple[int, int], int], ...]
    damage: str = ""

    @classmethod
    def of(
        cls,
        tiff: TiffFile,
        page: Page,
        first: int,
        places: Sequence[int],
        directories: Sequence[bytes],
        selection: Selection,
        bounds: _Bounds,
    ) -> _Batch:
        """Read the places of the pixels out of directories, those that are alike at once.

        Parameters
        ----------
        tiff : TiffFile
        page : Page
            The properties that every page must have.
        first : int
            Number of the first of these directories.
        places, directories : sequence
            Offset and table of each directory.
        selection : Selection
            Which of them are pages.
        bounds : _Bounds
            Of the file.

        Raises
        ------
        CorruptRecordingError
            A page differs from the others, or the file's first page is impossible.
        """
        batch = _BatchColumns(tiff, page, first, places, directories, selection, bounds)
        for group in groups_of(directories, batch.directory, bounds.singles, coded=bool(page.coding)):
            batch.add(group)
        return batch.collect()


class _Bounds:
    """What the pages of one file may cost together.

    Attributes
    ----------
    singles, segments : Budget
        Directories that are parsed one by one; strips and tiles.
    """

    def __init__(self, tiff: TiffFile) -> None:
        self._tiff = tiff
        self._tables = self._pixels = self._count = 0
        self.singles = single_budget(tiff)
        self.segments = Budget((1 << 20) + tiff.size // _MIN_SEGMENT, tiff.name, "strips and tiles for its size")

    def add(self, directories: Sequence[bytes], lengths: np.ndarray) -> None:
        """Count directories and the bytes of their pixels; raise where there is far more of the first than any program writes."""
        self._count += len(directories)
        self._tables += sum(map(len, directories))
        self._pixels += int(np.maximum(lengths, 0).sum())
        if self._count > _MAX_BARE and not self._tables <= self._pixels <= self._tiff.size:
            raise CorruptRecordingError(
                f"{self._tiff.name} has more than {_MAX_BARE:,} directories, with fewer bytes of pixels than of tags or with "
                "pixels in common; the file is damaged"
            )


class _BatchColumns:
    """Collects the segments of a batch of directories."""

    def __init__(
        self,
        tiff: TiffFile,
        page: Page,
        first: int,
        places: Sequence[int],
        directories: Sequence[bytes],
        selection: Selection,
        bounds: _Bounds,
    ) -> None:
        self._tiff, self._page, self._first = tiff, page, first
        self._places, self._tables, self._selection = places, directories, selection
        self._bounds = bounds
        self._pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        self._shapes: dict[tuple[int, int], int] = {}  # the first page, from the start of the batch, with each shape
        self._error: CorruptRecordingError | None = None
        self.end = len(directories)

    def add(self, group: Group) -> None:
        """Add directories that are alike, as far as they come before the first damaged one."""
        numbers, rows = group.numbers, group.rows
        if numbers[-1] >= self.end:
            keep = int(np.searchsorted(numbers, self.end))
            numbers, rows = numbers[:keep], rows[:keep]
        if not len(numbers) or not self._accepts(group.template, int(numbers[0])):
            return
        tags = segment_tags(group.template)
        try:
            shape = segment_shape(group.template, self._page)
            if tags is None or not self._add_alike(group.template, numbers, rows, tags):
                self._add_single(group.template, int(numbers[0]))
        except CorruptRecordingError as error:
            self._fail(int(numbers[0]), _damage(group.template, error))
            return
        self._shapes[shape] = min(int(numbers[0]), self._shapes.get(shape, self.end))

    def collect(self) -> _Batch:
        """Return what was collected, in the order of the directories, up to the first that is damaged."""
        if self._error is not None and (not isinstance(self._error, _Damage) or self._first + self.end == 0):
            raise self._error
        damage = "" if self._error is None else str(self._error)
        empty = (np.empty(0, np.int64),) * 4
        numbers, counts, offsets, lengths = map(np.concatenate, zip(empty, *self._pieces, strict=True))
        # Groups of alike pages were added one after the other; the order of the chain is restored here
        if len(self._pieces) > 1:
            segments = np.argsort(np.repeat(numbers, counts), kind="stable")
            order = np.argsort(numbers, kind="stable")
            numbers, counts, offsets, lengths = numbers[order], counts[order], offsets[segments], lengths[segments]
        if damage:
            keep = int(np.searchsorted(numbers, self.end))
            stop = int(counts[:keep].sum())
            numbers, counts, offsets, lengths = numbers[:keep], counts[:keep], offsets[:stop], lengths[:stop]
        places = np.asarray(self._places, np.int64)
        places = places if len(numbers) == len(places) else places[numbers]
        firsts = sorted(((number, shape) for shape, number in self._shapes.items() if number < self.end))
        shapes = tuple((shape, self._places[number]) for number, shape in firsts)
        return _Batch(places, counts, offsets, lengths, shapes, damage)

    def _add_alike(self, template: Directory, numbers: np.ndarray, rows: np.ndarray, tags: tuple[int, ...]) -> bool:
        """Add the pages that are like a directory; False where one of their tables is outside the file."""
        count = template.entries[tags[0]][1]
        self._bounds.segments.spend(count * len(numbers))
        offsets, *stated = (self._column(template, rows, code) for code in tags)
        lengths = stated[0] if stated else np.full(len(numbers), self._page.nbytes, np.int64)
        if offsets is None or lengths is None:
            return False
        self._pieces.append((numbers, np.full(len(numbers), count, np.int64), offsets, lengths))
        return True

    def _column(self, template: Directory, rows: np.ndarray, code: int) -> np.ndarray | None:
        """Return a tag's numbers of all pages, one page after the other; None where they are outside the file."""
        kind, count, at = template.entries[code]
        form = self._tiff.order + TYPE_FORMS[kind]
        size = struct.calcsize(form) * count
        if template.is_inline(code):
            return _numbers_at(rows, at, form, count)
        starts = _numbers_at(rows, at, self._tiff.offset_form, 1)
        if ((starts < 0) | (starts + size > self._tiff.size)).any():
            return None
        low, high = int(starts.min()), int(starts.max()) + size
        if high - low <= 2 * size * len(rows):  # close together: one read for all
            stored = np.frombuffer(self._tiff.file.read(low, high - low), np.uint8)
            chosen = np.lib.stride_tricks.sliding_window_view(stored, size)[starts - low]
            return np.asarray(np.ascontiguousarray(chosen).view(form).ravel().astype(np.int64))
        values, read = bytearray(size * len(rows)), self._tiff.file.hold_open()
        with memoryview(values) as view:
            for k, start in enumerate(starts.tolist()):
                read(view[k * size : (k + 1) * size], start)
        return np.asarray(np.frombuffer(values, form).astype(np.int64))

    def _add_single(self, directory: Directory, number: int) -> None:
        offsets, lengths = segments_of(directory)
        self._bounds.segments.spend(len(offsets))
        self._pieces.append(
            (np.array([number]), np.array([len(offsets)]), np.array(offsets, np.int64), np.array(lengths, np.int64))
        )

    def directory(self, k: int) -> Directory:
        """Return one of the directories by its position in the batch."""
        return Directory(self._tiff, self._places[k], self._tables[k], 0, self._first + k)

    def _accepts(self, directory: Directory, number: int) -> bool:
        """Return whether a directory is a page of the recording, and is not damaged."""
        try:
            _require_known_types(directory)
            if not self._selection.takes(directory):
                return False
            if Page.of(directory) == self._page:
                return True
        except CorruptRecordingError as error:
            self._fail(number, _damage(directory, error))
            return False
        self._fail(number, differing_page(self._page, directory))
        return False

    def _fail(self, number: int, error: CorruptRecordingError) -> None:
        """Keep the error of the first page that has one."""
        if number < self.end:
            self.end, self._error = number, error


class _Damage(CorruptRecordingError):
    """A directory that cannot be read; the pages before it can."""


def _damage(directory: Directory, error: CorruptRecordingError) -> CorruptRecordingError:
    if directory.page == 0:
        return error
    return _Damage(f"is damaged at the directory of page {directory.page:,} at byte {directory.offset:,}")


def _require_known_types(directory: Directory) -> None:
    """Refuse a directory of which a part was overwritten, by zeros for example."""
    for code, (kind, _, _) in directory.entries.items():
        if kind not in TYPE_FORMS and kind not in _OTHER_TYPES and directory.page:
            raise CorruptRecordingError(f"the tag {code} has a type that does not exist")


def _numbers_at(rows: np.ndarray, at: int, form: str, count: int) -> np.ndarray:
    stored = np.ascontiguousarray(rows[:, at : at + count * struct.calcsize(form)])
    return np.asarray(stored.view(form).ravel().astype(np.int64))


def _whole_pages(
    tiff: TiffFile, page: Page, segments: Segments, places: np.ndarray, damage: str, zeros_from: int
) -> tuple[int, str]:
    """Return how many pages are whole, and in words why the others are not."""
    offsets, lengths = segments.offsets, segments.lengths
    wrapped = _first_wrapped(tiff, offsets, lengths)
    # Offsets before the first wrapped one only: behind 4 GiB, small offsets have another cause
    early = np.flatnonzero((offsets[:wrapped] >= 0) & (offsets[:wrapped] < HEADER_BYTES) & (lengths[:wrapped] > 0))
    if len(early):
        k = segments.page_of(early[0])
        raise CorruptRecordingError(
            f"{tiff.name}: page {k:,} (directory at byte {places[k]:,}) has its pixels at byte {int(offsets[early[0]]):,}, inside the file's header"
        )
    # Negative: BigTIFF offsets of 2**63 and more, as int64
    beyond = np.flatnonzero((offsets < 0) | (lengths < 0) | (offsets + lengths > tiff.size))
    bad = min(wrapped, int(beyond[0]) if len(beyond) else len(offsets))
    if bad < len(offsets):
        k = segments.page_of(bad)
        where = f"page {k:,} (directory at byte {places[k]:,}) has its pixels at byte {int(offsets[bad]):,}"
        reason = (
            f"has {tiff.size:,} bytes, but {'its' if tiff.big else 'classic TIFF'} offsets restarted at 0 beyond 4 GiB ({where})"
            if bad == wrapped
            else f"ends at byte {tiff.size:,}, and {where}"
        )
        if k == 0:
            raise TruncatedRecordingError(f"{tiff.name} {reason}; the file is truncated")
        return k, reason
    last = len(places) - 1
    if last > 0 and _ends_in_zeros(tiff, page, segments, last, zeros_from, bool(damage)):
        where = f"page {last:,} (directory at byte {places[last]:,})"
        return last, damage or f"contains zeros at the end of {where}"
    return len(places), damage


def _first_wrapped(tiff: TiffFile, offsets: np.ndarray, lengths: np.ndarray) -> int:
    """Return the first segment whose offset began at 0 again behind 4 GiB; the number of segments when there is none."""
    if tiff.size <= 1 << 32:
        return len(offsets)
    # Files are written forwards: a leap back by over 2 GiB is an overflow, not a layout
    leaps = np.flatnonzero(offsets[1:] + (1 << 31) < offsets[:-1]) + 1
    if not len(leaps) or (tiff.big and not _overlap(offsets, lengths)):
        return len(offsets)  # BigTIFF can state any place, so a leap is an overflow only if pixels are given twice
    return int(leaps[0])


def _overlap(offsets: np.ndarray, lengths: np.ndarray) -> bool:
    order = np.argsort(offsets, kind="stable")
    ends = np.maximum.accumulate((offsets + lengths)[order])
    return bool((offsets[order][1:] < ends[:-1]).any())


def _ends_in_zeros(
    tiff: TiffFile, page: Page, segments: Segments, last: int, zeros_from: int, is_damaged: bool
) -> bool:
    """Return whether the last page's pixels reach into the zeros in which a damaged file ends.

    A camera may store zeros; they are damage where zeros follow in place of a directory, where zeros that no directory
    names follow up to the end of the file, or where compressed pixels end in them.
    """
    offsets, lengths = segments.of(last)
    end, count = max(a + n for a, n in zip(offsets, lengths, strict=True)), min(_MIN_ZEROS, sum(lengths))
    # Zeros in place of the next directory are proof already, so a few zero bytes before them are enough
    if end <= zeros_from:
        count = min(count, 4)
    elif page.compression != 1 and not page.tiled:
        # Compressed data rarely contain 16 zero bytes in a row, unless the compressor pads all of them (JPEG XR)
        count = min(count, _MIN_ZEROS // 32)
        first = max(a + n for a, n in zip(*segments.of(0), strict=True))
        if not any(tiff.file.read(first - count, count)):
            return False
    elif is_damaged or tiff.size - end < _MIN_ZEROS or any(tiff.file.read(tiff.size - _MIN_ZEROS, _MIN_ZEROS)):
        return False
    return count > 0 and not any(tiff.file.read(end - count, count))


def _require_enough_bytes(tiff: TiffFile, page: Page, segments: Segments, places: np.ndarray) -> None:
    sums = np.add.reduceat(segments.lengths, segments.starts[:-1])
    short = np.flatnonzero(sums < page.nbytes)
    if len(short):
        k = int(short[0])
        raise CorruptRecordingError(
            f"{tiff.name}: page {k:,} (directory at byte {places[k]:,}) has {int(sums[k]):,} bytes of pixels, expected {page.nbytes:,}"
        )


def _require_segments(
    tiff: TiffFile, page: Page, places: np.ndarray, counts: np.ndarray, batches: Sequence[_Batch]
) -> None:
    """Refuse pages whose strips or tiles do not cover them, or are shaped unlike those of the first page.

    The decoder is made from the first page, and would place the segments of another shape wrongly.
    """
    shapes = [(shape, place) for batch in batches for shape, place in batch.shapes]
    (rows, columns), _ = shapes[0]
    for shape, place in shapes:
        if shape != (rows, columns):
            raise CorruptRecordingError(
                f"{tiff.name}: page {int(np.searchsorted(places, place)):,} (directory at byte {place:,}) has segments of {shape[0]:,} rows and {shape[1]:,} columns, "
                f"but those of the pages before have {rows:,} and {columns:,}; pages that differ are not supported"
            )
    if rows < 1 or columns < 1:
        raise CorruptRecordingError(
            f"{tiff.name}: the directory at byte {places[0]:,} claims segments of {rows:,} rows and {columns:,} columns"
        )
    if int(counts.max()) > _MAX_SEGMENTS:
        raise UnsupportedRecordingError(
            f"{tiff.name} stores a page in {int(counts.max()):,} strips or tiles; at most {_MAX_SEGMENTS:,} are read. Write it "
            "again with larger ones"
        )
    expected = -(-page.rows // rows) * -(-page.columns // columns) * (page.samples if page.planar else 1)
    few = np.flatnonzero(counts < expected)
    if len(few):
        k = int(few[0])
        raise CorruptRecordingError(
            f"{tiff.name}: page {k:,} (directory at byte {places[k]:,}) has {int(counts[k]):,} segments of pixels, expected {expected:,}"
        )

"""Files whose pages are at equal distances: found in a few reads, and checked again by every read.

Why a few reads are enough
--------------------------
Cameras and microscopes write page after page with the same tags, so that directories and pixels are at equal distances,
and page k can be computed instead of following k directories.  From the second and the third directory comes a
candidate: two offsets and two distances (the first page may differ: it often bears a longer description).  Then

1. *each page is checked when it is read*: the bytes of its directory that decide about its pixels are those of the second one,
   its pixels and the next directory are where they should be.  The pages before may have been passed by, but if all of
   them are as predicted, then by induction the chain of directories visits exactly the predicted places: page 1
   is where page 0 points to, and page k + 1 is where page k was checked to point to;
2. *the number of pages is checked when the file is opened*: the last page that fits into the file is as predicted, and ends
   the chain or points to a further page that the file's end has cut off;
3. *32 pages between are sampled when the file is opened*, so that a file which changes on its way (a second series, another
   size) is walked, instead of failing at the first read of the part that differs.

So a file that differs at a page nobody sampled never gives wrong pixels of that page: reading it raises.

Offsets that wrapped
--------------------
Programs that count bytes in 32 bits begin at 0 again behind 4 GiB.  In a larger file an offset is therefore compared modulo
2**32: the directory itself is read at the predicted place, where only a page of this recording has these bytes.
"""

from __future__ import annotations

import struct

import numpy as np

from roiextractors_core.errors import RecordingError, TruncatedRecordingError, counted

from .directory import NEW_SUBFILE_TYPE, SUBFILE_TYPE, TYPE_FORMS, Directory
from .layout import Layout
from .page import SHAPE_TAGS, Page, block_of, differing_page

__all__ = ["MAX_GAP", "RegularPages", "find_regular_pages", "fixed_bytes"]

MAX_GAP = 1 << 16
"""Bytes that are read and dropped rather than split a read in two: about what a disk delivers in the time of one call."""

_MAX_SAMPLED = 32  # each is a read in another part of the file: a seek, or a round trip
_STRIP_OFFSETS, _STRIP_LENGTHS, _DESCRIPTION = 273, 279, 270
_OFFSET_PERIOD = 1 << 32  # where offsets of 32 bits begin at 0 again


class RegularPages(Layout):
    """Pages at equal distances: a few numbers stand for all of them.

    Parameters
    ----------
    first, second : Directory
    table_step, data_step : int
        Distance from one directory, and from one block of pixels, to the next; from the second page on.
    count : int

    Attributes
    ----------
    width : int
        Bytes of a directory, with the offset of the next one.
    """

    def __init__(self, first: Directory, second: Directory, table_step: int, data_step: int, count: int) -> None:
        tiff = second.tiff
        self.count = count
        self.tiff = tiff
        self.table = (first.offset, second.offset, table_step)
        self.data = (block_of(first)[0], block_of(second)[0], data_step)
        self.width = len(second.table) + tiff.field_size
        kind, _, self._strip_at = second.entries[_STRIP_OFFSETS]
        self._strip_form, self._next_form = tiff.order + TYPE_FORMS[kind], tiff.offset_form
        self._next_at = len(second.table)
        self._expected = np.frombuffer(second.table, np.uint8)
        self._fixed = fixed_bytes(second)
        mask = np.zeros(len(second.table), np.uint8)
        mask[self._fixed] = 0xFF
        self._mask = int.from_bytes(mask.tobytes(), "little")
        self._masked = self._mask & int.from_bytes(second.table, "little")
        self._strip_of = struct.Struct(self._strip_form).unpack_from
        self._next_of = struct.Struct(self._next_form).unpack_from
        self._text = _description_place(second) if table_step == data_step else None
        # Offsets are equal if they differ by multiples of this; no two of a smaller file do
        self._period = _OFFSET_PERIOD if tiff.size > _OFFSET_PERIOD else 1 << 64

    def are_equal(self, stated: int, predicted: int) -> bool:
        """Return whether a stated offset is the predicted one, which may have wrapped behind 4 GiB."""
        return (predicted - stated) % self._period == 0

    @property
    def is_beyond_offsets(self) -> bool:
        """Whether some pages are behind 4 GiB of a classic TIFF, whose offsets cannot state their places."""
        return not self.tiff.big and max(self.places(self.count - 1)) >= _OFFSET_PERIOD

    @property
    def gap(self) -> int:
        """Bytes between the end of a page's directory and its pixels; -1 when they do not follow each other."""
        gap = self.data[1] - self.table[1] - self.width
        return gap if gap >= 0 and self.data[2] == self.table[2] else -1

    def places(self, page: int) -> tuple[int, int]:
        """Return the offsets of one page's directory and pixels."""
        if page == 0:
            return self.table[0], self.data[0]
        return self.table[1] + (page - 1) * self.table[2], self.data[1] + (page - 1) * self.data[2]

    def table_offsets(self, pages: np.ndarray) -> np.ndarray:
        first, second, step = self.table
        return np.where(pages == 0, first, second + (pages - 1) * step)

    def data_offsets(self, pages: np.ndarray) -> np.ndarray:
        first, second, step = self.data
        return np.where(pages == 0, first, second + (pages - 1) * step)

    def description(self, page: int) -> bytes | None:
        """Read a page's directory and description at once; None where the description is not placed as in page 1."""
        if self._text is None:
            return None
        places = self.places(page)
        at = places[0]
        ahead, length, field = self._text
        raw = self.tiff.file.read(at, ahead + length)
        good = len(raw) == ahead + length and self.is_as_predicted(page, raw, places)
        if not good or not self.are_equal(struct.unpack_from(self._next_form, raw, field)[0], at + ahead):
            return None
        return raw[ahead:].split(b"\0", 1)[0]

    def is_as_predicted(self, page: int, table: bytes | bytearray, places: tuple[int, int] | None = None) -> bool:
        """Return whether one page's directory is; that of page 0 was read when the file was opened."""
        if page == 0:
            return True
        # As one number and not with numpy: one page is checked for each frame that is read alone
        if int.from_bytes(table[: self._next_at], "little") & self._mask != self._masked:
            return False
        at, data = places or self.places(page)
        if (data - self._strip_of(table, self._strip_at)[0]) % self._period:
            return False
        # The last page ends the chain, or points to one that the file's end cuts off; both were checked when opening
        following = at + self.table[2] - self._next_of(table, self._next_at)[0]
        return page == self.count - 1 or following % self._period == 0

    def unlike(self, pages: np.ndarray, tables: np.ndarray) -> np.ndarray:
        """Return which of these pages are not as predicted, given their directories as rows of bytes; page 0 excluded."""
        wrong = (tables[:, self._fixed] != self._expected[self._fixed]).any(axis=1)
        wrong |= self._differ(_numbers_at(tables, self._strip_at, self._strip_form), self.data_offsets(pages))
        following = self.next_offsets(tables)
        wrong |= self._differ(following, self.table_offsets(pages + 1)) & (pages != self.count - 1)
        return np.asarray(pages[wrong])

    def _differ(self, stated: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        differences = predicted - stated
        return np.asarray((differences % self._period if self._period < 1 << 63 else differences) != 0)

    def next_offsets(self, tables: np.ndarray) -> np.ndarray:
        """Return the offsets of the next directories that these directories, rows of bytes, state; int64."""
        return _numbers_at(tables, self._next_at, self._next_form)

    def check(self, page: Page, pages: np.ndarray, tables: np.ndarray | None = None) -> None:
        """Raise when one of the pages is not as predicted.

        Parameters
        ----------
        page : Page
            The properties of all pages, for the message.
        pages : numpy.ndarray of int64
        tables : numpy.ndarray of uint8, optional
            Their directories as rows of bytes, without page 0; by default they are read.

        Raises
        ------
        CorruptRecordingError
        """
        pages = pages[pages > 0]
        if not len(pages):
            return
        tables = self.read_tables(pages) if tables is None else tables
        wrong = pages[:1] if tables is None else self.unlike(pages, tables)
        if len(wrong):
            number = int(wrong[0])
            raise differing_page(page, self.tiff.directory(self.places(number)[0], number))

    def read_tables(self, pages: np.ndarray) -> np.ndarray | None:
        """Return the directories of these pages as rows of bytes, or None when the file ends before."""
        offsets = self.table_offsets(pages)
        low = int(offsets.min())
        span = int(offsets.max()) + self.width - low
        if span <= max(MAX_GAP, 32 * self.width * len(pages)):  # close together: one read for all
            raw = np.frombuffer(self.tiff.file.read(low, span), np.uint8)
            return raw[(offsets - low)[:, None] + np.arange(self.width)] if len(raw) == span else None
        tables, width = bytearray(self.width * len(pages)), self.width
        try:
            read = self.tiff.file.hold_open()
            with memoryview(tables) as view:
                for at, offset in zip(range(0, len(tables), width), offsets.tolist(), strict=True):
                    read(view[at : at + width], offset)
        except TruncatedRecordingError:
            return None
        return np.frombuffer(tables, np.uint8).reshape(len(pages), width)


def find_regular_pages(first: Directory, page: Page, *, secondary: bool = False) -> tuple[RegularPages | None, str]:
    """Return the regular layout of a file, or None; and a note when the last page is cut off.

    Parameters
    ----------
    first : Directory
        The first one of the file.
    page : Page
        Its properties.
    secondary : bool
        Whether pages that the file marks as reduced images or masks count.
    """
    try:
        layout = _candidate(first, page, secondary)
    except RecordingError:  # damaged or unsupported: the walk says which page, and how many are whole
        return None, ""
    note = None if layout is None else _verify(layout, page)
    return (None, "") if note is None else (layout, note)


def _candidate(first: Directory, page: Page, secondary: bool) -> RegularPages | None:
    """Return the layout that the first three directories suggest for the whole file, or None."""
    tiff = first.tiff
    if not page.is_plain or not first.next:
        return None
    second = tiff.directory(first.next, 1)
    # The first page may differ from all others, so a distance needs a third directory
    if not second.next or second.next >= tiff.size or (second.is_secondary and not secondary):
        return None
    third = tiff.directory(second.next, 2)
    if not _are_alike(second, third) or Page.of(second) != page or block_of(first)[0] < 0:
        return None
    data = block_of(second)[0]
    table_step, data_step = third.offset - second.offset, block_of(third)[0] - data
    if table_step <= 0 or data_step <= 0:  # backwards is allowed in TIFF, and left to the walk
        return None
    end = _end_of_pages(first, second)
    # The number of pages follows from the size of the file: counting them would read every directory
    last = 1 + min((end - second.end) // table_step, (end - data - page.nbytes) // data_step)
    return RegularPages(first, second, table_step, data_step, last + 1) if last >= 2 else None


def _are_alike(second: Directory, third: Directory) -> bool:
    """Return whether two directories have the same tags, and their pixels in one strip whose offset is in the table."""
    same = len(second.table) == len(third.table) and list(second.entries) == list(third.entries)
    # An offset that is not in the table could not be checked by reading the table alone
    return same and all(
        _STRIP_OFFSETS in one.entries and one.entries[_STRIP_OFFSETS][1] == 1 and one.is_inline(_STRIP_OFFSETS)
        for one in (second, third)
    )


def _verify(layout: RegularPages, page: Page) -> str | None:
    """Check the last and some sampled pages of a candidate; return a note on a cut end, or None when it is wrong."""
    last = layout.count - 1
    end = layout.tiff.file.read(layout.places(last)[0], layout.width)
    if len(end) < layout.width or not layout.is_as_predicted(last, end):
        return None
    note = ""
    following = struct.unpack_from(layout.tiff.offset_form, end, len(end) - layout.tiff.field_size)[0]
    if following:
        if not _is_cut_page(layout, page, following):
            return None
        note = (
            f"{layout.tiff.name} ends inside page {last + 1:,} (directory at byte {layout.places(last + 1)[0]:,} of {layout.tiff.size:,}); "
            f"the {counted(last + 1, 'complete page')} {'are' if last else 'is'} read"
        )
    steps = min(last, _MAX_SAMPLED) - 1
    sampled = np.array([1 + (last - 1) * k // steps for k in range(steps)], np.int64)
    tables = layout.read_tables(sampled)
    return note if tables is not None and not len(layout.unlike(sampled, tables)) else None


def _is_cut_page(layout: RegularPages, page: Page, offset: int) -> bool:
    """Return whether the chain goes on, behind the last page that fits, with a page that the end of the file cuts off.

    Otherwise it goes on with pages of another kind (a thumbnail, a second series), and the file must be walked.
    """
    _, second, step = layout.table
    predicted = second + (layout.count - 1) * step
    if step != layout.data[2] or not layout.are_equal(offset, predicted):
        return False
    try:
        return Page.of(layout.tiff.directory(predicted, layout.count)) == page
    except RecordingError:  # the cut is inside the directory
        return True


def _end_of_pages(first: Directory, second: Directory) -> int:
    """Return where the last page ends at the latest.

    Some programs write the first page's description behind all pages, when the recording has ended.
    """
    size = first.tiff.size
    if _DESCRIPTION not in first.entries or first.is_inline(_DESCRIPTION):
        return size
    offset, length = first.place(_DESCRIPTION)
    # Up to 16 bytes more: some writers pad the end
    is_last = second.offset < offset and size - 16 <= offset + length <= size
    return offset if is_last else size


def _description_place(directory: Directory) -> tuple[int, int, int] | None:
    """Return how far behind a directory its description is, how long it is, and where the table says so; None if far."""
    if _DESCRIPTION not in directory.entries or directory.is_inline(_DESCRIPTION):
        return None
    offset, length = directory.place(_DESCRIPTION)
    ahead = offset - directory.offset
    near = len(directory.table) + directory.tiff.field_size <= ahead <= MAX_GAP and length <= MAX_GAP
    return (ahead, length, directory.entries[_DESCRIPTION][2]) if near else None


def fixed_bytes(directory: Directory, more: tuple[int, ...] = ()) -> np.ndarray:
    """Return which bytes of a table are the same in every page: the number of tags, all codes, the shape's values, the flags.

    Parameters
    ----------
    directory : Directory
    more : tuple of int
        Further codes of tags whose values are the same in every page.
    """
    tiff = directory.tiff
    # A bytearray: numpy takes longer to set one range than this does for all
    mask = bytearray(len(directory.table))
    mask[: tiff.count_size] = b"\1" * tiff.count_size
    # From the table and not from the entries: of a tag that is there twice, both
    for entry in range(tiff.count_size, len(directory.table), tiff.entry_size):
        mask[entry : entry + 4] = b"\1\1\1\1"
    codes = {*SHAPE_TAGS, _STRIP_LENGTHS, NEW_SUBFILE_TYPE, SUBFILE_TYPE, *more}
    for code, (_, _, at) in directory.entries.items():
        if code in codes and directory.is_inline(code):
            mask[at + tiff.field_size - tiff.entry_size : at + tiff.field_size] = b"\1" * tiff.entry_size
    return np.flatnonzero(np.frombuffer(mask, bool))


def _numbers_at(tables: np.ndarray, at: int, form: str) -> np.ndarray:
    columns = np.ascontiguousarray(tables[:, at : at + struct.calcsize(form)])
    return np.asarray(columns.view(form)[:, 0].astype(np.int64))

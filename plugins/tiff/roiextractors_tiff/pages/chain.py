"""Follows the chain of directories through a file."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from roiextractors_core.errors import CorruptRecordingError, TruncatedRecordingError

from .directory import HEADER_BYTES, MAX_TAGS, TiffFile, too_many_tags, truncated_directory

__all__ = ["Chain"]

_MIN_AHEAD, _MAX_AHEAD = 4 << 10, 4 << 20  # 4 KiB cost as little as 100 bytes; see _Window
_MAX_BATCH_BYTES = 16 << 20  # of tables that are kept at once
_FEW = 64  # callers that go from directory to directory mostly stop early
_CLASSIC_LIMIT = 1 << 32  # offsets of classic TIFF have 32 bits, and begin at 0 again behind it


class Chain:
    """The directories of a file in the order of their chain.

    Parameters
    ----------
    tiff : TiffFile

    Attributes
    ----------
    damage : str
        After the last directory: why the chain breaks off there, as words that follow the file's name; else empty.
    zeros_from : int
        Where the directory should be in place of which the file contains zeros; -1 when there is none.
    """

    def __init__(self, tiff: TiffFile) -> None:
        self._tiff = tiff
        self.damage = ""
        self.zeros_from = -1

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield the offset and the table of each directory; see :meth:`batches`."""
        for offsets, tables in self.batches(_FEW):
            yield from zip(offsets, tables, strict=True)

    def batches(self, size: int) -> Iterator[tuple[list[int], list[bytes]]]:
        """Yield the offsets and the tables of directories, up to the end or to where the file is damaged.

        Parameters
        ----------
        size : int
            Directories at once; the last batch may have fewer, and those of long tables do.

        Raises
        ------
        CorruptRecordingError, TruncatedRecordingError
            The first directory is outside the file, cut or impossible, or the chain is circular; the directories have more
            bytes than the file, since they overlap.
        """
        tiff, window, cycle = self._tiff, _Window(self._tiff), _CycleDetector()
        count_size, entry, field = tiff.count_size, tiff.entry_size, tiff.field_size
        unpack_count = struct.Struct(tiff.count_form).unpack_from
        unpack_next = struct.Struct(tiff.offset_form).unpack_from
        # The window's state is kept in locals: this loop runs once a page, at a microsecond each
        start, buffer = 0, b""
        offset, page = tiff.first, 0
        offsets: list[int] = []
        tables: list[bytes] = []
        kept = total = 0  # bytes of tables
        while offset:
            at = offset - start
            if at < 0 or at + count_size > len(buffer):
                if not HEADER_BYTES <= offset <= tiff.size - count_size:
                    self._break_off(page, offset, self._outside(page, offset))
                    break
                start, buffer = window.move(offset)
                at = 0
            count = unpack_count(buffer, at)[0]
            # Zeros in place of a directory are kept apart: a recording that was interrupted ends in them
            if not 0 < count <= MAX_TAGS:
                self.zeros_from = -1 if count else offset
                self._break_off(page, offset, too_many_tags(tiff, page, offset, count))
                break
            end = at + count_size + count * entry
            if end + field > len(buffer):
                end -= at
                start, buffer = window.move(offset, end + field)
                at = 0
                if len(buffer) < end:
                    self._break_off(page, offset, truncated_directory(tiff, page, offset))
                    break
            offsets.append(offset)
            tables.append(buffer[at:end])
            kept += end - at
            if len(offsets) == size or kept > _MAX_BATCH_BYTES:
                yield offsets, tables
                total += kept
                if total > tiff.size:
                    raise CorruptRecordingError(
                        f"{tiff.name}: the directories up to page {page:,} overlap; the file is damaged"
                    )
                offsets, tables, kept = [], [], 0
            if end + field > len(buffer):
                self._break_off(page + 1, tiff.size, truncated_directory(tiff, page, offset))
                break
            following = unpack_next(buffer, end)[0]
            if 0 < following <= offset and cycle.closes(following):
                raise CorruptRecordingError(
                    f"{tiff.name}: the chain of directories is circular: page {page:,} at byte {offset:,} points back to byte {following:,}"
                )
            page += 1
            # A leap back by over 2 GiB in a larger file: the 32-bit offset has overflowed, and what is there is another
            # page
            if following and following + _CLASSIC_LIMIT // 2 < offset and self._may_wrap:
                self._break_off(page, following, self._outside(page, following))
                break
            offset = following
        if offsets:
            yield offsets, tables

    @property
    def _may_wrap(self) -> bool:
        """Whether the file is larger than its offsets can count."""
        return not self._tiff.big and self._tiff.size > _CLASSIC_LIMIT

    def _break_off(self, page: int, offset: int, error: CorruptRecordingError) -> None:
        """Keep in words why the chain ends before this page; of the first page it is an error."""
        if page == 0:
            raise error
        place = f"the directory of page {page:,} at byte {offset:,}"
        if self._may_wrap and offset + _CLASSIC_LIMIT // 2 < self._tiff.size:
            self.damage = (
                f"has {self._tiff.size:,} bytes, but offsets beyond 4 GiB do not fit into classic TIFF ({place})"
            )
        elif offset > self._tiff.size - self._tiff.count_size or isinstance(error, TruncatedRecordingError):
            self.damage = (
                f"ends at byte {self._tiff.size:,}, inside or before page {page:,} (directory at byte {offset:,})"
            )
        elif self.zeros_from >= 0:
            self.damage = f"contains zeros in place of {place}"
        else:
            self.damage = f"is damaged at {place}"

    def _outside(self, page: int, offset: int) -> CorruptRecordingError:
        return CorruptRecordingError(
            f"{self._tiff.name}: the directory of page {page:,} should be at byte {offset:,}, outside the file of {self._tiff.size:,} bytes"
        )


class _Window:
    """A stretch of the file in memory, which moves with the chain.

    A read costs the same for 100 bytes as for 4 KiB, and over a network the same as for megabytes.  Many programs write
    all directories together, or small pages, so that one read brings many directories: each time that the next one is
    within reach of the window, four times as much is read.  When the chain leaps over pixels, reading ahead would
    read pixels that nobody asked for, and begins anew with a few kilobytes.
    """

    def __init__(self, tiff: TiffFile) -> None:
        self._size, self._fill = tiff.size, tiff.file.hold_open()  # once for all directories: there may be a million
        self._start = self._stop = 0
        self._ahead = _MIN_AHEAD

    def move(self, offset: int, need: int = 0) -> tuple[int, bytes]:
        """Read from an offset on, and return it with the bytes; fewer than ``need`` only at the end of the file."""
        if not need:  # a further stretch, not more of this one
            is_near = self._start <= offset <= self._stop + self._ahead and self._stop > self._start
            self._ahead = min(_MAX_AHEAD, self._ahead * 4) if is_near else _MIN_AHEAD
        buffer = bytearray(min(max(self._ahead, need), self._size - offset))
        self._fill(memoryview(buffer), offset)
        self._start, self._stop = offset, offset + len(buffer)
        return offset, bytes(buffer)


class _CycleDetector:
    """Finds that a chain of directories has become circular, in constant memory.

    A circle must lead back to a smaller offset somewhere, and files are written forwards: looking at the steps back alone
    costs nothing in ordinary files.  Where a step back leads to depends only on where the last one led to, so these places
    become periodic when the chain is circular, and Brent's method finds it: one place is remembered, and replaced after
    1, 2, 4, 8, ... steps.  Once it is a part of the circle, and the next replacement is farther away than the circle is
    long, the chain comes back to it.  A set of all offsets would take tens of bytes a page.

    References
    ----------
    R. P. Brent, "An improved Monte Carlo factorization algorithm", BIT 20 (1980), 176-184.
    """

    __slots__ = ("_mark", "_power", "_steps")

    def __init__(self) -> None:
        self._mark, self._power, self._steps = -1, 1, 0

    def closes(self, target: int) -> bool:
        """Return whether a step back closes a circle."""
        if target == self._mark:
            return True
        self._steps += 1
        if self._steps == self._power:
            self._mark, self._power = target, self._power * 2
        return False

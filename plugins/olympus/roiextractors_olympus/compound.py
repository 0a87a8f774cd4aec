"""The streams of an OLE compound file as runs of bytes in the file, so that they can be read directly."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, SourceNotFoundError, TruncatedRecordingError, printable
from roiextractors_core.io import PositionedFile

__all__ = ["SIGNATURE", "CompoundFile", "Stream"]

SIGNATURE = bytes.fromhex("d0cf11e0a1b11ae1")

_LAST, _MAX_SECTOR = 0xFFFFFFFE, 0xFFFFFFFA
_HEADER = 512
_IN_HEADER = 109  # sectors of the sector table that the header lists
_MINI = 64  # bytes of a sector of the mini stream, for streams under the cutoff of 4096
_ENTRY = np.dtype(
    [
        ("name", "S64"),
        ("length", "<u2"),
        ("kind", "u1"),
        ("colour", "u1"),
        ("tree", "<u4", 3),
        ("class", "S16"),
        ("state", "<u4"),
        ("times", "<u8", 2),
        ("start", "<u4"),
        ("size", "<u8"),
    ]
)
_STREAM, _ROOT = 2, 5


@dataclass(frozen=True, slots=True)
class Stream:
    """The bytes of one stream, as runs in the file.

    Attributes
    ----------
    file : PositionedFile
    name : str
        For messages, safe to print.
    size : int
        Bytes.
    runs : tuple of (int, int)
        Offset in the file and number of bytes of each run, in the order of the stream.
    """

    file: PositionedFile
    name: str
    size: int
    runs: tuple[tuple[int, int], ...]

    def place(self, offset: int, count: int) -> int | None:
        """Return the file offset of some bytes; None if they are in several runs."""
        for start, length in self.runs:
            if offset < length:
                return start + offset if offset + count <= length else None
            offset -= length
        return None

    def read(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset``; fewer only at the end of the stream.

        Raises
        ------
        TruncatedRecordingError
            The file ends inside them.
        """
        data = bytearray(max(0, min(count, self.size - offset)))
        self.read_into(memoryview(data), offset)
        return bytes(data)

    def read_into(self, view: memoryview, offset: int) -> None:
        """Fill a view with the bytes from ``offset``.

        Raises
        ------
        TruncatedRecordingError
            The file, or the stream, ends inside them.
        """
        end = offset + len(view)
        if end > self.size:
            raise TruncatedRecordingError(
                f"{self.name} has {self.size:,} bytes, but bytes {offset:,} to {end:,} are needed"
            )
        for start, length in self.runs:
            if offset < length and len(view):
                here = min(len(view), length - offset)
                self.file.read_into([view[:here]], start + offset)
                view, offset = view[here:], 0
            else:
                offset -= min(offset, length)


class CompoundFile:
    """An OLE compound file, read-only.

    The sector table and the directory are read once.  Streams are found by their names, whatever storage they are in.

    Parameters
    ----------
    file : PositionedFile

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        It is not a compound file, or contradicts itself.

    References
    ----------
    [MS-CFB] Compound File Binary File Format, Microsoft, sections 2.2 to 2.7.
    """

    def __init__(self, file: PositionedFile) -> None:
        self.file = file
        self._size = file.size
        header = file.read(0, _HEADER)
        if len(header) < _HEADER or header[:8] != SIGNATURE:
            raise CorruptRecordingError(
                f"{file.name} is not a compound file: its first bytes are {header[:8].hex(' ') or 'none'}"
            )
        order, shift, mini = struct.unpack_from("<HHH", header, 28)
        # [MS-CFB] 2.2 requires these values
        if order != 0xFFFE or shift not in (9, 12) or mini != 6:
            raise CorruptRecordingError(
                f"{file.name} is not a valid compound file: expected sectors of 2^9 or 2^12 bytes, small ones of 2^6, and byte order "
                f"0xfffe; got 2^{shift}, 2^{mini} and {order:#06x}"
            )
        self._sector = 1 << shift
        self._max_sectors = (
            self._size // self._sector + 1
        )  # a chain with more of them than the file has room for is a loop
        first, _, self._cutoff, self._mini_start, _, more, _ = struct.unpack_from("<7I", header, 48)
        self._table = self._read_table(header, more)
        entries = np.frombuffer(self._sectors(self._chain(first, "directory")), _ENTRY)
        roots = entries[entries["kind"] == _ROOT]
        if not len(roots):
            raise CorruptRecordingError(f"{file.name} is damaged: its directory, at sector {first:,}, has no root")
        self._root, self._root_size = int(roots[0]["start"]), int(roots[0]["size"])
        mask = (
            0xFFFFFFFF if self._sector == 512 else -1
        )  # with sectors of 512 bytes, the upper half of the size is undefined
        self._entries = {
            _name_of(entry): (int(entry["start"]), int(entry["size"]) & mask)
            for entry in entries[entries["kind"] == _STREAM]
        }
        # Streams under the cutoff start at a sector of the mini stream, with numbers of its own
        large = [start for start, size in self._entries.values() if size >= self._cutoff]
        self._require_apart(self._table[: self._max_sectors], [first, self._mini_start, self._root, *large], "sectors")
        self._mini_table: np.ndarray | None = None
        self._mini_sectors: np.ndarray | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all streams, in whatever storage."""
        return tuple(self._entries)

    def stream(self, name: str, *, shown: str = "") -> Stream:
        """Return a stream by its name.

        Parameters
        ----------
        name : str
        shown : str
            Its name in messages, if another.

        Raises
        ------
        SourceNotFoundError
            There is no such stream.
        CorruptRecordingError
            The chain of its sectors is damaged.
        """
        if name not in self._entries:
            raise SourceNotFoundError(f"{self.file.name} does not contain {printable(shown or name)}")
        (start, size), words = self._entries[name], f"{self.file.name}: {printable(shown or name)}"
        if size > self._size:
            raise CorruptRecordingError(
                f"{words} claims {size:,} bytes, more than the {self._size:,} of the file; the file is damaged or truncated"
            )
        if size < self._cutoff:
            numbers, width = self._mini_chain(start, -(-size // _MINI), words), _MINI
            per, sectors = self._sector // _MINI, self._root_sectors()
            if len(numbers) and int(numbers.max()) // per >= len(sectors):
                raise CorruptRecordingError(f"{words} claims small sectors that do not exist; the file is damaged")
            # Sector 0 follows the header, which takes one sector
            offsets = (sectors[numbers // per] + 1) * self._sector + numbers % per * _MINI
        else:
            numbers, width = self._chain(start, words, -(-size // self._sector)), self._sector
            offsets = (numbers + 1) * self._sector
        return Stream(self.file, words, size, _runs(offsets, width, size))

    def _read_table(self, header: bytes, more: int) -> np.ndarray:
        """Read the table with the next sector of each sector."""
        named = np.frombuffer(header, "<u4", _IN_HEADER, 76).tolist()
        seen = 0
        while more < _MAX_SECTOR:
            seen += 1
            if seen > self._max_sectors:
                raise self._loop("the list of its table's sectors")
            *numbers, more = struct.unpack(f"<{self._sector // 4}I", self._sectors(np.array([more])))
            named += numbers
        # The list is filled up with FREESECT behind the last sector of the table
        places = np.array(list(itertools.takewhile(lambda number: number < _MAX_SECTOR, named)), np.int64)
        return np.frombuffer(self._sectors(places), "<u4")

    def _sectors(self, numbers: np.ndarray) -> bytes:
        """Read whole sectors, adjacent ones with one call."""
        if len(numbers) > self._max_sectors or (len(numbers) and int(numbers.max()) >= self._max_sectors):
            raise TruncatedRecordingError(
                f"{self.file.name} has {self._size:,} bytes, but sector {int(numbers.max()):,} of {self._sector:,} bytes is "
                "needed; the file is truncated or damaged"
            )
        data = bytearray(len(numbers) * self._sector)
        view = memoryview(data)
        for start, length in _runs((numbers + 1) * self._sector, self._sector, len(data)):
            self.file.read_into([view[:length]], start)
            view = view[length:]
        return bytes(data)

    def _chain(self, start: int, words: str, count: int | None = None) -> np.ndarray:
        """Return the sectors of a chain: the first ``count``, or all of them."""
        return self._follow(self._table, start, words, count)

    def _mini_chain(self, start: int, count: int, words: str) -> np.ndarray:
        if self._mini_table is None:  # large streams, such as pixels, do not need it
            chain = self._chain(self._mini_start, "the table of small sectors")
            self._mini_table = np.frombuffer(self._sectors(chain), "<u4")
            small = [start for start, size in self._entries.values() if 0 < size < self._cutoff]
            self._require_apart(self._mini_table[: -(-self._root_size // _MINI)], small, "small sectors")
        return self._follow(self._mini_table, start, words, count)

    def _root_sectors(self) -> np.ndarray:
        if self._mini_sectors is None:
            self._mini_sectors = self._chain(self._root, "the stream of small sectors")
        return self._mini_sectors

    def _follow(self, table: np.ndarray, start: int, words: str, count: int | None) -> np.ndarray:
        # A movie has millions of sectors: following them one by one in Python takes seconds
        numbers = self._adjacent(table, start, count)
        if numbers is None:
            numbers = np.array(self._walk(table, start, words, count), np.int64)
        following = int(table[numbers[-1]]) if len(numbers) else _LAST
        # Another value was written over the end of the chain, perhaps over the sectors before it too
        if len(table) <= following != _LAST:
            raise CorruptRecordingError(
                f"{self.file.name} is damaged: {words} continues in sector {int(numbers[-1]):,}, and the table gives {following:#x} as "
                "the next one"
            )
        return numbers

    @staticmethod
    def _adjacent(table: np.ndarray, start: int, count: int | None) -> np.ndarray | None:
        """Return the sectors of a chain if they are adjacent, as almost all are; else None."""
        if count is None or start + count > len(table):
            return None
        numbers = np.arange(start, start + count, dtype=np.int64)
        return numbers if (table[numbers[:-1]] == numbers[1:]).all() else None

    def _walk(self, table: np.ndarray, start: int, words: str, count: int | None) -> list[int]:
        numbers: list[int] = []
        while start < _MAX_SECTOR and (count is None or len(numbers) < count):
            if start >= len(table):
                raise CorruptRecordingError(
                    f"{self.file.name} is damaged: {words} continues in sector {start:,}, but the table has {len(table):,}"
                )
            if len(numbers) >= len(table):
                raise self._loop(words)
            numbers.append(start)
            start = int(table[start])
        if count is not None and len(numbers) < count:
            raise CorruptRecordingError(
                f"{self.file.name} is damaged: {words} needs {count:,} sectors, but its chain ends after {len(numbers):,}"
            )
        return numbers

    def _require_apart(self, table: np.ndarray, starts: Sequence[int], what: str) -> None:
        """Refuse chains that share a sector: the pixels of one stream would be read as those of the other."""
        following = np.concatenate([table, np.array(starts, np.uint32)])
        counts = np.bincount(following[following < len(table)], minlength=1)
        if counts.max() > 1:
            raise CorruptRecordingError(
                f"{self.file.name} is damaged: two chains of its {what} meet at {int(counts.argmax()):,}"
            )

    def _loop(self, words: str) -> CorruptRecordingError:
        return CorruptRecordingError(f"{self.file.name} is damaged: the sectors of {words} form a loop")


def _name_of(entry: np.void) -> str:
    count = max(0, min(64, int(entry["length"]) - 2))  # the length in bytes includes the final NUL
    return bytes(entry["name"]).ljust(64, b"\0")[:count].decode("utf-16-le", "replace")


def _runs(offsets: np.ndarray, width: int, size: int) -> tuple[tuple[int, int], ...]:
    """Join adjacent pieces of one width; the last run ends where the size is reached."""
    return tuple(_join(offsets, width, size))


def _join(offsets: np.ndarray, width: int, size: int) -> Iterator[tuple[int, int]]:
    cuts = [0, *(np.flatnonzero(np.diff(offsets) != width) + 1).tolist(), len(offsets)]
    for a, b in itertools.pairwise(cuts):
        length = min((b - a) * width, size - a * width)
        if length > 0:
            yield int(offsets[a]), length

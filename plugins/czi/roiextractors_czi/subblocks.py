"""Finds the subblocks of a CZI file and checks them."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, TruncatedRecordingError, counted
from roiextractors_core.io import PositionedFile

__all__ = ["AXES", "Subblocks"]

AXES = "STCZHIVRBM"  # as the format names dimensions; X and Y are extents
_ACQUIRED = re.compile(rb"<AcquisitionTime>([^<]{1,64})</AcquisitionTime>")
_MAX_METADATA = 1 << 20  # of one subblock; real ones have some kilobytes
_MAX_STAMPS = 1 << 26
_COLUMNS = (
    *("position", "dimensions", "part", "kind", "packing", "is_reduced"),
    *("x", "y", "columns", "rows"),
)

_SEGMENT = 32  # id, allocated and used bytes
_ENTRY = 32  # of an entry, before its dimensions
_DIMENSION = 20  # bytes: name, start, size, start coordinate, stored size
_MAX_DIMENSIONS = 40
_MIN_HEAD = 256  # of a subblock, before its metadata: room for 10 dimensions; more of them make the head longer
_AT_OPENING = (
    4096  # subblocks from either end that are checked when a file is opened; the others are checked when they are read
)


class Subblocks:
    """The positions of the subblocks of a CZI file, by its own directory.

    Parameters
    ----------
    path : str or os.PathLike
    by_directory : bool
        False finds the subblocks of a damaged file one after another, without its directory.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        The directory is not at the stated offset, or is longer than the file.

    References
    ----------
    ZEISS ZISRAW (CZI) file format, segments ``ZISRAWFILE``, ``ZISRAWDIRECTORY`` and ``ZISRAWSUBBLOCK``, ``DirectoryEntryDV``.
    """

    def __init__(self, path: str | os.PathLike[str], *, by_directory: bool = True) -> None:
        self._file = PositionedFile(path)
        self._size = self._file.size
        self.damage = ""
        """Why the subblocks were found without the directory; empty for a sound file."""
        self.header = ElementTree.Element("ImageDocument")
        """The metadata, once it is parsed."""
        self._found_xml = b""
        try:
            table = np.array(list(self._entries() if by_directory else self._chain()), np.int64).reshape(
                -1, len(_COLUMNS) + len(AXES)
            )
        finally:
            self._file.close()
        columns = dict(zip((*_COLUMNS, *AXES), table.T, strict=True))
        here = columns["part"] == 0
        self.has_parts = not here.all()
        self._columns = {name: column[here] for name, column in columns.items()}
        self._places, self._counts = self._columns["position"], self._columns["dimensions"]
        # Of the pixels of each subblock, once they are known: its metadata comes before them
        self._starts, self._sizes = np.full((2, len(self._places)), -1, np.int64)

    def select(self, **where: int) -> np.ndarray:
        """Return the numbers of the subblocks of full resolution, optionally at some values of axes, in file order."""
        chosen = self._columns["is_reduced"] == 0
        for axis, value in where.items():
            chosen &= self._columns[axis] == value
        return np.flatnonzero(chosen)

    def column(self, name: str) -> np.ndarray:
        """Return one number of each subblock, int64: its value along an axis (0 where the file does not name it), ``x``, ``y``, ``columns``, ``rows``, ``kind`` of pixels."""
        column: np.ndarray = self._columns[name]
        return column

    def are_sound(self, numbers: np.ndarray) -> np.ndarray:
        """Return for each subblock whether it is at its offset in the directory and fits into its space.

        Only those near either end of the list are checked; the others count as sound until they are read.
        """
        sound = np.ones(len(numbers), bool)
        near = np.r_[0 : min(_AT_OPENING, len(numbers)), max(_AT_OPENING, len(numbers) - _AT_OPENING) : len(numbers)]
        try:
            for k in near.tolist():
                try:
                    self._check(int(self._places[numbers[k]]), int(self._counts[numbers[k]]))
                except (CorruptRecordingError, TruncatedRecordingError):
                    sound[k] = False
        finally:
            self._file.close()
        return sound

    def pixels(self, number: int, needed: int) -> tuple[int, int]:
        """Return where the pixels of a subblock start in the file, and how many bytes they have.

        Parameters
        ----------
        number : int
        needed : int
            Bytes that it has at least.

        Raises
        ------
        CorruptRecordingError, TruncatedRecordingError
            The subblock is not sound, or has fewer bytes of pixels.
        """
        if self._starts[number] < 0:
            position, dimensions = int(self._places[number]), int(self._counts[number])
            try:
                self._check(position, dimensions)
                metadata, _, size = struct.unpack("<iiq", self._bytes(position + _SEGMENT, 16))
            finally:
                self._file.close()
            self._sizes[number] = size
            self._starts[number] = (
                position + _SEGMENT + max(_MIN_HEAD, 16 + _ENTRY + dimensions * _DIMENSION) + metadata
            )
        start, size = int(self._starts[number]), int(self._sizes[number])
        if size < needed:
            raise CorruptRecordingError(
                f"{self._file.name} is damaged: its subblock at byte {int(self._places[number]):,} has {size:,} bytes of pixels, "
                f"expected {needed:,}"
            )
        return start, size

    def xml(self) -> bytes:
        """Return the metadata of the file; empty where there is none."""
        if self.damage or self._found_xml:
            return self._found_xml
        try:
            at = struct.unpack("<q", self._bytes(92, 8))[0]  # MetadataPosition of the file header
            head = self._file.read(at, _SEGMENT + 256) if 0 < at < self._size else b""
            if not head.startswith(b"ZISRAWMETADATA\0") or len(head) < _SEGMENT + 256:
                return b""
            length = struct.unpack_from("<i", head, _SEGMENT)[0]
            return self._file.read(at + len(head), max(0, min(length, 64 * _MAX_METADATA)))
        finally:
            self._file.close()

    def acquisition_times(self, numbers: np.ndarray) -> list[str]:
        """Return the text of ``AcquisitionTime`` of some subblocks; empty where a subblock has none."""
        times = []
        try:
            for number in numbers.tolist():
                position, dimensions = int(self._places[number]), int(self._counts[number])
                self._check(position, dimensions)
                length = struct.unpack("<i", self._bytes(position + _SEGMENT, 4))[0]
                start = position + _SEGMENT + max(_MIN_HEAD, 16 + _ENTRY + dimensions * _DIMENSION)
                match = _ACQUIRED.search(self._bytes(start, min(length, _MAX_METADATA)))
                times.append(match[1].decode("ascii", "replace").strip() if match else "")
        finally:
            self._file.close()
        return times

    def attached_times(self) -> np.ndarray | None:
        """Return the seconds in the attachment ``TimeStamps``, or None if there is none.

        Raises
        ------
        CorruptRecordingError, TruncatedRecordingError
            The attachment is damaged.
        """
        try:
            directory = struct.unpack("<q", self._bytes(104, 8))[0]  # AttachmentDirectoryPosition of the file header
            if not 0 < directory < self._size - _SEGMENT - 256:
                return None
            head = self._bytes(directory, _SEGMENT + 256)
            count = struct.unpack_from("<i", head, _SEGMENT)[0]
            if not head.startswith(b"ZISRAWATTDIR\0") or not 0 < count <= (self._size - directory) // 128:
                return None
            entries = self._bytes(directory + len(head), 128 * min(count, 4096))  # AttachmentEntryA1
            for at in range(0, len(entries), 128):
                if entries[at + 40 : at + 48].rstrip(b"\0") == b"CZTIMS":
                    return self._stamps(struct.unpack_from("<q", entries, at + 12)[0])
            return None
        finally:
            self._file.close()

    def _stamps(self, position: int) -> np.ndarray:
        head = self._bytes(max(0, position), _SEGMENT + 256 + 8)
        length, count = struct.unpack_from("<ii", head, _SEGMENT + 256)
        if not head.startswith(b"ZISRAWATTACH\0") or not 0 <= 8 * count <= min(length, _MAX_STAMPS * 8):
            raise CorruptRecordingError(
                f"{self._file.name} is damaged: its attachment TimeStamps claims {counted(count, 'time')}"
            )
        return np.frombuffer(self._bytes(position + len(head), 8 * count), "<f8").astype(np.float64)

    def _entries(self) -> Iterator[tuple[int, ...]]:
        """Yield the numbers of each subblock in the order of ``_COLUMNS`` and ``AXES``."""
        name, size = self._file.name, self._size
        at = struct.unpack("<q", self._bytes(84, 8))[0]  # DirectoryPosition of the file header
        head = self._bytes(at, _SEGMENT + 128) if 0 <= at < size else b""
        if not head.startswith(b"ZISRAWDIRECTORY\0"):
            raise CorruptRecordingError(
                f"{name} is damaged: expected the directory of its subblocks at byte {at:,} of {size:,}"
            )
        count = struct.unpack_from("<i", head, _SEGMENT)[0]
        at += len(head)
        if not 0 <= count <= (size - at) // _ENTRY:
            raise CorruptRecordingError(f"{name} is damaged: the directory of its subblocks claims {count:,} entries")
        # Entries differ in length, so the directory is read up to its longest possible end
        data = self._file.read(at, min(size - at, count * (_ENTRY + _MAX_DIMENSIONS * _DIMENSION)))
        place = 0
        for _ in range(count):
            if place + _ENTRY > len(data):
                raise TruncatedRecordingError(
                    f"{name} ends inside the directory of its {count:,} subblocks; the file is truncated"
                )
            if data[place : place + 2] != b"DV":
                return  # an entry of another kind, whose length is unknown
            kind, position, part, packing, pyramid = struct.unpack_from("<iqiiB", data, place + 2)
            dimensions = struct.unpack_from("<i", data, place + 28)[0]
            if not 0 <= dimensions <= _MAX_DIMENSIONS:
                raise CorruptRecordingError(
                    f"{name} is damaged: an entry in the directory of its subblocks claims {counted(dimensions, 'dimension')}"
                )
            begin, place = place + _ENTRY, place + _ENTRY + dimensions * _DIMENSION
            yield (position, dimensions, part, kind, packing, *_extent(data[begin:place], pyramid > 0))

    def _chain(self) -> Iterator[tuple[int, ...]]:
        """Yield the same for each complete subblock, from the beginning of the file to the damage."""
        at = 0
        while at + _SEGMENT <= self._size:
            name, allocated = struct.unpack("<16sq", self._file.read(at, 24))
            end = at + _SEGMENT + allocated  # the next segment follows the allocated bytes, not the used ones
            if not name.startswith(b"ZISRAW") or allocated < 0 or end > self._size:
                return
            if name.startswith(b"ZISRAWSUBBLOCK") and allocated >= 16 + _ENTRY:
                entry = self._bytes(at + _SEGMENT + 16, _ENTRY)
                kind, part, packing, pyramid = struct.unpack_from("<i8xiiB", entry, 2)
                dimensions = struct.unpack_from("<i", entry, 28)[0]
                if entry[:2] != b"DV" or not 0 <= dimensions <= _MAX_DIMENSIONS:
                    return
                extent = self._bytes(at + _SEGMENT + 16 + _ENTRY, dimensions * _DIMENSION)
                yield (at, dimensions, part, kind, packing, *_extent(extent, pyramid > 0))
            if name.startswith(b"ZISRAWMETADATA") and allocated >= 256:
                length = struct.unpack("<i", self._bytes(at + _SEGMENT, 4))[0]
                self._found_xml = self._bytes(
                    at + _SEGMENT + 256, max(0, min(length, allocated - 256, 64 * _MAX_METADATA))
                )
            at = end

    def _check(self, position: int, dimensions: int) -> None:
        where = f"{self._file.name} is damaged: its subblock at byte {position:,}"
        if not 0 <= position <= self._size - _SEGMENT - _MIN_HEAD:
            raise CorruptRecordingError(f"{where} is outside the file of {self._size:,} bytes")
        head = self._bytes(position, _SEGMENT + 16 + _ENTRY)
        if not head.startswith(b"ZISRAWSUBBLOCK\0"):
            raise CorruptRecordingError(f"{where} is not a subblock: it begins with {head[:16].hex(' ')}")
        allocated, used, metadata, attached, pixels = struct.unpack_from("<qqiiq", head, 16)
        kind, stated = head[48:50], struct.unpack_from("<i", head, 76)[0]
        if kind == b"DV" and stated != dimensions:  # their number decides where the pixels start
            raise CorruptRecordingError(
                f"{where} claims {counted(stated, 'dimension')}, but the directory states {dimensions}"
            )
        room = min(used or allocated, self._size - position - _SEGMENT)  # a used size of 0 means the allocated one
        needed = max(_MIN_HEAD, 16 + _ENTRY + dimensions * _DIMENSION) + metadata + attached + pixels
        if min(metadata, attached, pixels) < 0 or needed > room:
            raise CorruptRecordingError(
                f"{where} claims {metadata:,} bytes of metadata, {attached:,} attached and {pixels:,} of pixels but has space for {room:,}"
            )

    def _bytes(self, at: int, count: int) -> bytes:
        data = self._file.read(at, count)
        if len(data) < count:
            raise TruncatedRecordingError(
                f"{self._file.name} ends at byte {self._size:,}, but bytes {at:,} to {at + count:,} are needed; the file is truncated"
            )
        return data


def _extent(dimensions: bytes, is_reduced: bool) -> tuple[int, ...]:
    """Return whether a subblock is reduced, X, Y, columns and rows, and the values along the axes."""
    starts, sizes, stored = {}, {}, {}
    for name, start, size, _, held in struct.iter_unpack("<4siifi", dimensions):
        axis = name.rstrip(b"\0").decode("latin-1")
        starts[axis], sizes[axis], stored[axis] = start, size, held or size  # 0 is not filled in
    # Levels of a pyramid store fewer pixels than they cover; their type is not always filled in
    is_reduced = is_reduced or any(stored.get(axis, 0) < sizes.get(axis, 0) for axis in "XY")
    where = (starts.get("X", 0), starts.get("Y", 0), sizes.get("X", 0), sizes.get("Y", 0))
    return (is_reduced, *where, *(starts.get(axis, 0) for axis in AXES))

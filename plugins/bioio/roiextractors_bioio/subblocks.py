"""Checks the subblocks of a CZI file before another library reads them: a damaged length there would crash the process."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, TruncatedRecordingError
from roiextractors_core.io import PositionedFile

__all__ = ["Subblocks"]

_SEGMENT = 32  # id, allocated and used bytes
_ENTRY = 32  # of an entry, before its dimensions
_DIMENSION = 20
_MAX_DIMENSIONS = 40
_MIN_HEAD = 256  # of a subblock, before its metadata
_AT_OPENING = (
    4096  # subblocks from either end that are checked when a file is opened; the others are checked when they are read
)


class Subblocks:
    """The positions of the subblocks of a CZI file, by its own directory.

    Parameters
    ----------
    path : str or os.PathLike

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        The directory is not at the stated offset, or is longer than the file.

    References
    ----------
    ZEISS ZISRAW (CZI) file format, segments ``ZISRAWFILE``, ``ZISRAWDIRECTORY`` and ``ZISRAWSUBBLOCK``, ``DirectoryEntryDV``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = PositionedFile(path)
        self._size = self._file.size
        try:
            found = np.array(list(self._entries()), np.int64).reshape(-1, 3)
        finally:
            self._file.close()
        self._places, starts, self._counts = found.T
        first = int(starts[starts >= 0].min(initial=np.iinfo(np.int64).max))
        self._samples = np.where(starts < 0, -1, starts - first)  # a part of a longer recording keeps its numbers
        self._are_sound = np.zeros(len(found), bool)

    def require_sound(self, samples: np.ndarray | None = None) -> None:
        """Check the heads of the subblocks of some samples, or of the first and last in the file.

        Parameters
        ----------
        samples : numpy.ndarray, optional
            Their numbers, from 0.

        Raises
        ------
        CorruptRecordingError
            A subblock is missing, or is longer than its space.
        """
        if self._are_sound.all():
            return
        if samples is None:
            numbers = np.arange(len(self._places))
            wanted = np.concatenate([numbers[:_AT_OPENING], numbers[_AT_OPENING:][-_AT_OPENING:]])
        else:
            wanted = np.flatnonzero(np.isin(self._samples, [-1, *samples.tolist()]))
        try:
            for number in wanted[~self._are_sound[wanted]].tolist():
                self._check(int(self._places[number]), int(self._counts[number]))
                self._are_sound[number] = True
        finally:
            self._file.close()

    def _entries(self) -> Iterator[tuple[int, int, int]]:
        """Yield the offset, the number along T (-1 without T) and the number of dimensions of each subblock in this file."""
        name, size = self._file.name, self._size
        at = struct.unpack("<q", self._bytes(84, 8))[0]
        head = self._bytes(at, _SEGMENT + 128) if 0 <= at < size else b""
        if not head.startswith(b"ZISRAWDIRECTORY\0"):
            raise CorruptRecordingError(
                f"{name} is damaged: expected the directory of its subblocks at byte {at:,} of {size:,}"
            )
        count = struct.unpack_from("<i", head, _SEGMENT)[0]
        at += len(head)
        if not 0 <= count <= (size - at) // _ENTRY:
            raise CorruptRecordingError(f"{name} is damaged: the directory of its subblocks claims {count:,} of them")
        data = self._file.read(at, min(size - at, count * (_ENTRY + _MAX_DIMENSIONS * _DIMENSION)))
        place = 0
        for _ in range(count):
            if place + _ENTRY > len(data) or data[place : place + 2] != b"DV":
                return  # an entry of another kind, whose length is unknown
            position, part = struct.unpack_from("<qi", data, place + 6)
            dimensions = struct.unpack_from("<i", data, place + 28)[0]
            if not 0 <= dimensions <= _MAX_DIMENSIONS:
                raise CorruptRecordingError(
                    f"{name} is damaged: an entry in the directory of its subblocks claims {dimensions:,} dimensions"
                )
            begin, place = place + _ENTRY, place + _ENTRY + dimensions * _DIMENSION
            if part == 0:
                yield position, _start(data[begin:place]), dimensions

    def _check(self, position: int, dimensions: int) -> None:
        where = f"{self._file.name} is damaged: its subblock at byte {position:,}"
        if not 0 <= position <= self._size - _SEGMENT - _MIN_HEAD:
            raise CorruptRecordingError(f"{where} is outside the file of {self._size:,} bytes")
        head = self._bytes(position, _SEGMENT + 16 + _ENTRY)
        if not head.startswith(b"ZISRAWSUBBLOCK\0"):
            raise CorruptRecordingError(f"{where} is not a subblock: it begins with {head[:16].hex(' ')}")
        allocated, used, metadata, attached, pixels = struct.unpack_from("<qqiiq", head, 16)
        kind, stated = head[48:50], struct.unpack_from("<i", head, 76)[0]
        if kind == b"DV" and stated != dimensions:
            raise CorruptRecordingError(f"{where} claims {stated:,} dimensions, but the directory states {dimensions}")
        room = min(used or allocated, self._size - position - _SEGMENT)
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


def _start(dimensions: bytes) -> int:
    for name, start in struct.iter_unpack("<4si12x", dimensions):
        if name.rstrip(b"\0") == b"T":
            return int(start)
    return -1

"""Finds the chunks of an ND2 file by its map, or one after another where the map is lost."""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, TruncatedRecordingError
from roiextractors_core.io import PositionedFile

__all__ = ["ATTRIBUTES", "TIMES", "Chunks"]

ATTRIBUTES = b"ImageAttributesLV!"
TIMES = b"CustomData|AcqTimesCache!"
_MAGIC = bytes.fromhex("dacebe0a")  # of the file, and of each chunk in it
_HEAD = 16  # magic, length of the name, length of the data; the name follows
_ALIGNMENT = 4096
_MAP = b"ND2 CHUNK MAP SIGNATURE 0000001!"
_MAP_NAME = b"ND2 FILEMAP SIGNATURE NAME 0001!"
_FRAME = re.compile(rb"ImageDataSeq\|(\d{1,12})!")
_AT_ENDS = 4096  # frames from either end whose beginning is looked at
_MAX_NAME = 1 << 16


class Chunks:
    """Where the chunks of a file are.

    Parameters
    ----------
    path : str or os.PathLike

    Attributes
    ----------
    is_legacy : bool
        Whether the file is one of JPEG 2000, which is read by its library alone and has no such chunks.
    damage : str
        Why the chunks were found without their map; empty for a sound file.
    places : dict of bytes to (int, int)
        Offset and length of the data of each chunk; the head of the chunk is at the offset.

    Raises
    ------
    TruncatedRecordingError
        The map is lost, and no frame is whole.

    References
    ----------
    The package nd2, ``_parse/_chunk_decode.py``: heads of chunks and their map.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.file = PositionedFile(path)
        self.damage = ""
        self.places: dict[bytes, tuple[int, int]] = {}
        self._tail = b""
        self._end = self.file.size
        try:
            self.is_legacy = self.file.read(0, 4) != _MAGIC
            if self.is_legacy:
                return
            try:
                self.places = dict(self._mapped())
            except (CorruptRecordingError, ValueError, struct.error) as error:
                self._rebuild(str(error))
            self._numbers, self._starts, self._lengths = self._frames()
        finally:
            self.file.close()

    @property
    def frames(self) -> np.ndarray:
        """The numbers of the frames in the file, ascending."""
        return self._numbers

    def frames_of(self, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the numbers of the frames that are whole, ascending, where their pixels start, and how many bytes they have.

        Parameters
        ----------
        length : int
            Bytes of pixels that a whole frame has; 0 for frames that are compressed.
        """
        whole = (self._lengths >= length) & (self._starts + np.maximum(self._lengths, length) <= self._end)
        return self._numbers[whole], self._starts[whole], self._lengths[whole]

    def data(self, name: bytes) -> bytes:
        """Return the data of a chunk; empty if there is none of this name."""
        if name not in self.places:
            return b""
        offset, size = self.places[name]
        head = self.file.read(offset, _HEAD)
        if len(head) < _HEAD or head[:4] != _MAGIC:
            return b""
        return self.file.read(offset + _HEAD + int.from_bytes(head[4:8], "little"), max(0, min(size, self.file.size)))

    def frame_times(self, numbers: np.ndarray) -> np.ndarray:
        """Return the milliseconds that stand before the pixels of some frames."""
        starts = dict(zip(self._numbers.tolist(), self._starts.tolist(), strict=True))
        stored = [self.file.read(starts[number] - 8, 8) if number in starts else b"" for number in numbers.tolist()]
        return np.array([struct.unpack("<d", data)[0] if len(data) == 8 else np.nan for data in stored])

    def add(self, name: bytes, data: bytes) -> None:
        """Add a chunk that the file lacks to what the library reads."""
        head = len(self._tail)
        self._tail += _chunk(name, data)
        self.places[name] = (self._end + head, len(data))

    def stream(self) -> io.RawIOBase:
        """Return the file for its library; a map of the chunks that are there takes the place of a lost one."""
        tail = b""
        if self.damage:
            entries = b"".join(name + struct.pack("<QQ", *place) for name, place in self.places.items())
            at = self._end + len(self._tail)
            tail = self._tail + _chunk(_MAP_NAME, entries + _MAP + struct.pack("<Q", at))
        return _Stream(self.file, self._end, tail)

    def _mapped(self) -> Iterator[tuple[bytes, tuple[int, int]]]:
        size = self.file.size
        signature, at = struct.unpack("<32sQ", self.file.read(max(0, size - 40), 40))
        head = self.file.read(at, _HEAD) if signature == _MAP and at < size else b""
        if len(head) < _HEAD or head[:4] != _MAGIC:
            raise TruncatedRecordingError(f"{self.file.name} is truncated: it does not end with its map of chunks")
        length, count = struct.unpack("<IQ", head[4:])
        data = self.file.read(at + _HEAD + length, min(count, size))
        place = 0
        while (end := data.index(b"!", place) + 1) and data[place:end] != _MAP:
            offset, found = struct.unpack_from("<QQ", data, end)
            yield data[place:end], (offset, found if offset != found else 0)
            place = end + 16

    def _rebuild(self, reason: str) -> None:
        """Find the complete chunks from the beginning of the file to the damage."""
        at = 0
        self._end = 0
        while at + _HEAD <= self.file.size:
            head = self.file.read(at, _HEAD)
            if head[:4] != _MAGIC:
                aligned = -(-at // _ALIGNMENT) * _ALIGNMENT  # NIS-Elements starts each chunk at such an offset
                if aligned == at:
                    break
                at = aligned
                continue
            named, length = struct.unpack("<IQ", head[4:])
            end = at + _HEAD + named + length
            if named > _MAX_NAME or end > self.file.size:
                break
            name = self.file.read(at + _HEAD, min(named, 256)).split(b"\0")[0]
            if name.endswith(b"!") and not name.startswith((_MAP_NAME, b"ND2 FILE SIGNATURE")):
                self.places[name] = (at, length)
            at = self._end = end
        count = sum(_FRAME.fullmatch(name) is not None for name in self.places)
        if not count:
            raise TruncatedRecordingError(f"{reason}, and no complete frame was found")
        self.damage = f"{reason}; {count:,} complete frames were found before the damage, and more may be lost"

    def _frames(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the numbers of the frames, where their pixels start, and the bytes of these."""
        places = sorted((int(m[1]), *self.places[name]) for name in self.places if (m := _FRAME.fullmatch(name)))
        near = {*range(_AT_ENDS), *range(max(0, len(places) - _AT_ENDS), len(places))}
        there, named = [], 0
        for k, (number, offset, size) in enumerate(places):
            if offset + size > self._end:
                continue
            if k in near:
                head = self.file.read(offset, _HEAD)
                if len(head) < _HEAD or head[:4] != _MAGIC:
                    continue
                named = int.from_bytes(head[4:8], "little")
            # A time, 8 bytes, stands before the pixels; all frames have names of the same length
            there.append((number, offset + _HEAD + named + 8, size - 8))
        table = np.array(there, np.int64).reshape(-1, 3)
        return table[:, 0], table[:, 1], table[:, 2]


def _chunk(name: bytes, data: bytes) -> bytes:
    return _MAGIC + struct.pack("<IQ", len(name), len(data)) + name + data


class _Stream(io.RawIOBase):
    """The beginning of a file, followed by other bytes; no read returns more than there is, whatever a damaged length says."""

    def __init__(self, file: PositionedFile, size: int, tail: bytes) -> None:
        self._file, self._size, self._tail, self._at = file, size, tail, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence, self._size + len(self._tail))
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}, which is before the start of the file")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size + len(self._tail) - self._at)
        count = left if size is None or size < 0 else min(size, left)
        here = min(count, max(0, self._size - self._at))
        data = self._file.read(self._at, here) if here else b""
        start = self._at + here - self._size
        data += self._tail[start : start + count - here] if count > here else b""
        self._at += len(data)
        return data

"""The frames of a recording: TIFF streams inside one file, or TIFF files in a folder."""

from __future__ import annotations

import itertools
import struct
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from roiextractors_tiff.pages import PageIndex

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, counted
from roiextractors_core.io import StoredFrames

from .compound import CompoundFile, Stream

__all__ = ["FileFrames", "Frames", "StreamFrames"]

_HEAD = 1024  # the header and the tags of a frame of FluoView, in one read
_MAX_TAGS = 256
_MAX_SEGMENTS = 1 << 16
_SIZES = {1: 1, 3: 2, 4: 4}
_FORMS = {1: "B", 3: "H", 4: "I"}
_KINDS = {1: "u", 2: "i", 3: "f"}
_MAX_SIDE = 1 << 20


class Frames(ABC):
    """The frames of one channel, numbered from 0."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    @abstractmethod
    def read(self, numbers: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Return ``(frames, rows, columns)`` in native byte order."""

    @abstractmethod
    def close(self) -> None:
        """Release the files."""


class FileFrames(Frames):
    """Frames in one TIFF file each.

    Parameters
    ----------
    folder : str
    names : sequence of str
        One per frame.
    listed : collection of str
        All names in the folder.
    """

    def __init__(self, folder: str, names: Sequence[str], listed: Collection[str]) -> None:
        self._index = PageIndex.of(names, folder=folder, pages_per_file=np.ones(len(names), np.int64), names=listed)
        if self._index.samples_per_pixel > 1:
            raise UnsupportedRecordingError(
                f"{names[0]} has {self._index.samples_per_pixel} values per pixel; expected one"
            )
        self.shape, self.dtype = self._index.page_shape, self._index.dtype

    def read(self, numbers: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        return self._index.read(numbers, rows, columns)

    def close(self) -> None:
        self._index.close()


class StreamFrames(Frames):
    """Frames in one TIFF each, which are streams of a compound file.

    The header of each is compared with that of the first, and its pixels are read directly from the file.

    Parameters
    ----------
    file : CompoundFile
    names : sequence of (str, str)
        The name of each frame's stream, and its name in messages.
    """

    def __init__(self, file: CompoundFile, names: Sequence[tuple[str, str]]) -> None:
        self._file, self._names = file, tuple(names)
        self._page = _Page.of(self._stream(0))
        self.shape, self.dtype = (self._page.rows, self._page.columns), self._page.dtype.newbyteorder("=")
        self._stored = StoredFrames([file.file], shape=self.shape, dtype=self._page.dtype)
        # file offsets of the pixels, for frames that are contiguous, once their headers have been read
        self._places = np.full(len(self._names), -1, np.int64)

    def read(self, numbers: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        for number in set(numbers[self._places[numbers] < 0].tolist()):
            self._check(number)
        places = self._places[numbers]
        if (places >= 0).all():
            return self._stored.read(places, rows, columns)
        # contiguous frames are read together, on all cores; only those scattered over the file one by one
        result = np.empty((len(numbers), rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        edges = [0, *(np.flatnonzero(np.diff(places >= 0)) + 1).tolist(), len(places)]
        for a, b in itertools.pairwise(edges):
            if places[a] >= 0:
                self._stored.read_into(result[a:b], places[a:b], rows, columns)
                continue
            for frame, number in zip(result[a:b], numbers[a:b].tolist(), strict=True):
                frame[...] = self._read_scattered(number)[rows, columns]
        return result

    def close(self) -> None:
        self._file.file.close()

    def _stream(self, number: int) -> Stream:
        name, shown = self._names[number]
        return self._file.stream(name, shown=shown)

    def _check(self, number: int) -> tuple[Stream, int]:
        """Compare a frame's header with that of the first, and note the position of its pixels."""
        stream = self._stream(number)
        page = self._page if number == 0 else _Page.of(stream)
        if (page.rows, page.columns, page.dtype) != (self._page.rows, self._page.columns, self._page.dtype):
            raise CorruptRecordingError(
                f"{stream.name} has {page.rows:,} x {page.columns:,} pixels of {page.dtype}, but the first frame has "
                f"{self._page.rows:,} x {self._page.columns:,} of {self._page.dtype}"
            )
        place = stream.place(page.offset, page.nbytes)
        if place is not None:
            self._places[number] = place
        return stream, page.offset

    def _read_scattered(self, number: int) -> np.ndarray:
        stream, offset = self._check(number)
        pixels = np.empty(self.shape, self._page.dtype)
        stream.read_into(memoryview(pixels.reshape(-1).view(np.uint8)), offset)  # type: ignore[arg-type]
        return pixels


@dataclass(frozen=True, slots=True)
class _Page:
    """The one page of a TIFF stream; its pixels are one block of bytes.

    References
    ----------
    TIFF Revision 6.0, Adobe 1992, section 2.
    """

    rows: int
    columns: int
    dtype: np.dtype[Any]
    offset: int

    @property
    def nbytes(self) -> int:
        return self.rows * self.columns * self.dtype.itemsize

    @classmethod
    def of(cls, stream: Stream) -> _Page:
        head = stream.read(0, _HEAD)
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
        if order is None or len(head) < 8:
            raise CorruptRecordingError(
                f"{stream.name} is not a TIFF: its first bytes are {head[:8].hex(' ') or 'none'}"
            )
        values = _tags(stream, head, order)
        rows, columns = _one(values, 257, 0), _one(values, 256, 0)
        packing, samples, bits, kind = (_one(values, tag, 1) for tag in (259, 277, 258, 339))
        if not (0 < rows <= _MAX_SIDE and 0 < columns <= _MAX_SIDE):
            raise CorruptRecordingError(f"{stream.name} claims {counted(rows, 'row')} of {columns:,} pixels")
        if packing != 1 or samples != 1 or bits not in (8, 16, 32) or kind not in _KINDS or (kind == 3 and bits != 32):
            raise UnsupportedRecordingError(
                f"{stream.name} is a TIFF with compression {packing}, {samples} values per pixel, {bits} bits in sample format {kind}; in "
                "an .oib only uncompressed grayscale is supported, as FluoView writes it. Save it as .oif, where TIFF files may be compressed"
            )
        page = cls(rows, columns, np.dtype(f"{order}{_KINDS[kind]}{bits // 8}"), _begin(stream, values))
        if page.offset + page.nbytes > stream.size or sum(values.get(279, (page.nbytes,))) < page.nbytes:
            raise CorruptRecordingError(
                f"{stream.name} has {stream.size:,} bytes, but its {rows:,} x {columns:,} pixels need {page.nbytes:,} from byte "
                f"{page.offset:,}"
            )
        return page


def _tags(stream: Stream, head: bytes, order: str) -> dict[int, tuple[int, ...]]:
    """Return the numbers in the first directory, by tag."""
    at = struct.unpack_from(order + "I", head, 4)[0]
    count = struct.unpack(order + "H", _bytes(stream, head, at, 2))[0]
    if not 0 < count <= _MAX_TAGS:
        raise CorruptRecordingError(f"{stream.name}: the directory at byte {at:,} claims {count:,} tags")
    table = _bytes(stream, head, at + 2, 12 * count)
    values: dict[int, tuple[int, ...]] = {}
    for tag, kind, number, place in struct.iter_unpack(order + "HHII", table):
        if tag not in (256, 257, 258, 259, 273, 277, 279, 339) or kind not in _FORMS or tag in values:
            continue  # the first of two equal tags counts, as in libtiff
        if not 0 < number <= _MAX_SEGMENTS:
            raise CorruptRecordingError(f"{stream.name}: the tag {tag} claims {counted(number, 'value')}")
        form, size = f"{order}{number}{_FORMS[kind]}", number * _SIZES[kind]
        # TIFF stores values of up to 4 bytes in place of their offset
        data = struct.pack(order + "I", place)[:size] if size <= 4 else _bytes(stream, head, place, size)
        values[tag] = struct.unpack(form, data)
    return values


def _begin(stream: Stream, values: dict[int, tuple[int, ...]]) -> int:
    """Return the offset of the pixels; strips must be contiguous."""
    offsets, counts = values.get(273, ()), values.get(279, ())
    if not offsets or (len(offsets) > 1 and len(counts) != len(offsets)):
        raise CorruptRecordingError(f"{stream.name} does not contain the offsets of its pixels")
    # The pixels of a frame are read as one block of bytes
    if any(a + n != b for (a, b), n in zip(itertools.pairwise(offsets), counts, strict=False)):
        raise UnsupportedRecordingError(
            f"{stream.name} has its pixels in {len(offsets):,} strips that are not contiguous, which is not supported; save it as .oif"
        )
    if offsets[0] < 8:
        raise CorruptRecordingError(f"{stream.name} has its pixels at byte {offsets[0]}, inside its header")
    return offsets[0]


def _one(values: dict[int, tuple[int, ...]], tag: int, default: int) -> int:
    return values.get(tag, (default,))[0]


def _bytes(stream: Stream, head: bytes, at: int, count: int) -> bytes:
    if at + count <= len(head):
        return head[at : at + count]
    data = stream.read(at, count)
    if len(data) < count:
        raise CorruptRecordingError(
            f"{stream.name} has {stream.size:,} bytes, but its tags point to bytes {at:,} to {at + count:,}"
        )
    return data

"""Opens HDF5 files through h5py and checks global heaps as they are read: libhdf5 loops forever on damaged ones.

A file cannot be checked before it is opened, because nothing lists its global heaps: only the values in them refer to them, and a
search for their signature would read the whole file.  So libhdf5 reads through a Python stream, which checks each heap when its
first bytes are read.  The cost is a Python call for each read of libhdf5: 0.1 ms when a file is opened, and, for metadata in
small pieces, up to about twice the time.  Pixels are not read this way where a plugin reads them by their offsets.
"""

from __future__ import annotations

import io
import itertools
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import CorruptRecordingError, SourceKindError
from .positioned import PositionedFile

__all__ = ["hdf5_nodes", "open_hdf5_file", "plain_attribute"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_HEAP = 64 << 20
_HEAD = 16


def open_hdf5_file(path: str | os.PathLike[str], *, end: int = 0) -> Any:
    """Open an HDF5 file read-only, without locking it.

    Strings and lists of variable length are stored in global heaps.  libhdf5 walks a heap from object to object by their
    sizes, and loops forever if a size is zero.  Each heap is therefore checked before libhdf5 receives it.

    Parameters
    ----------
    path : str or os.PathLike
    end : int
        The size that the file's header states, for a file that is shorter: bytes after its end then read as zeros, so that what
        is whole can be read.  libhdf5 refuses such a file.

    Returns
    -------
    h5py.File

    Raises
    ------
    ImportError
        h5py is not installed.
    SourceError
        The file does not exist, cannot be read, or is a folder.
    OSError, RuntimeError, ValueError, KeyError
        From h5py: the file is not HDF5, or is damaged.  A damaged heap raises CorruptRecordingError, now or when it is read.

    References
    ----------
    HDF5 File Format Specification, version 3.0, III.E, "Disk Format: Level 1E - Global Heap".
    """
    import h5py

    file = PositionedFile(path)
    if os.path.isdir(file.path):
        raise SourceKindError(f"{file.name} is a folder, not an HDF5 file")
    try:
        stream = _CheckedStream(file, end)
        return h5py.File(file.path, "r", driver="fileobj", fileobj=stream)
    except BaseException:  # whatever happens, the file must not stay open; the exception is raised again
        file.close()
        raise


class _CheckedStream(io.RawIOBase):
    """The file as a stream for h5py, with each global heap checked once."""

    def __init__(self, file: PositionedFile, end: int = 0) -> None:
        self._file, self._at = file, 0
        self._size = max(file.size, end)  # read once: h5py asks for it where it cannot pass on an exception
        self._checked: set[int] = set()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0 if whence == io.SEEK_SET else self._at if whence == io.SEEK_CUR else self._size)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        there = max(0, min(len(view), self._file.size - self._at))
        self._file.read_into([view[:there]], self._at)
        view[there:] = bytes(len(view) - there)
        # libhdf5 reads a heap from its first byte on, so its signature is at the start of a read
        if bytes(view[:4]) == b"GCOL" and self._at not in self._checked:
            self._check_heap(self._at)
            self._checked.add(self._at)
        self._at += len(view)
        return len(view)

    def _check_heap(self, start: int) -> None:
        width = self._width_of_lengths()
        head = self._file.read(start, min(_HEAD, self._file.size - start))
        size = int.from_bytes(head[8 : 8 + width], "little") if len(head) == _HEAD else 0
        if not _HEAD <= size <= min(_MAX_HEAP, self._file.size - start):
            raise self._damaged(start, f"claims {size:,} bytes")
        heap = self._file.read(start, size)
        # An object has a head of 16 bytes and is padded to 8; object 0 is the free space, whose size includes its head.
        at = _HEAD
        while at + _HEAD <= size:
            number, length = (
                struct.unpack_from("<H", heap, at)[0],
                int.from_bytes(heap[at + 8 : at + 8 + width], "little"),
            )
            step = _HEAD + (length + 7) // 8 * 8 if number else length
            if step < _HEAD or at + step > size:
                raise self._damaged(start, f"contains an object of {length:,} bytes at byte {at:,} of {size:,}")
            at += step

    def _width_of_lengths(self) -> int:
        """Return the size of a length in bytes, from the superblock, which is at byte 0 or after a user block."""
        offset = 0
        while offset + 32 <= self._file.size:
            head = self._file.read(offset, 32)
            if head[:8] == _SIGNATURE:
                width = head[14] if head[8] < 2 else head[10]
                return width if width in (2, 4) else 8
            offset = 512 if offset == 0 else offset * 2
        return 8

    def _damaged(self, start: int, words: str) -> CorruptRecordingError:
        return CorruptRecordingError(f"{self._file.name} is damaged: its global heap at byte {start:,} {words}")


def plain_attribute(value: Any) -> Any:
    """Return an attribute's value as a Python object; an array of one element becomes that element."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    while isinstance(plain, list) and len(plain) == 1:
        plain = plain[0]
    return plain.decode("utf-8", "replace") if isinstance(plain, bytes) else plain


def hdf5_nodes(node: Any, parts: Sequence[str]) -> Iterator[Any]:
    """Yield the nodes at a path below a node, of which a part may be ``"*"``; links to other files are not followed."""
    if not parts:
        yield node
        return
    if not hasattr(node, "keys"):
        return
    names = list(itertools.islice(node.keys(), 1000)) if parts[0] == "*" else [parts[0]]
    for name in names:
        link = node.get(name, getlink=True)
        if link is None or type(link).__name__ == "ExternalLink":
            continue
        below = node.get(name)
        if below is not None:
            yield from hdf5_nodes(below, parts[1:])

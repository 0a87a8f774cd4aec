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
from .known import is_folder
from .positioned import PositionedFile

__all__ = ["attribute_value", "hdf5_nodes", "open_hdf5_file", "plain_attribute"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_HEAP = 64 << 20  # libhdf5 makes heaps of 4 KiB and larger ones for single large values; all of one is read
_HEAD = 16  # of a heap, and of each object in it, with lengths of 8 bytes
_SUPERBLOCK = 12 + 4 * 8 + 4  # versions 2 and 3 with addresses of 8 bytes
_FLAGS, _END, _ROOT, _CHECKSUM = 11, 28, 36, 44  # where they are in it
_WRITTEN_BY_SWMR = 4


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
    if is_folder(file.path):
        raise SourceKindError(f"{file.name} is a folder, not an HDF5 file")
    try:
        unchanging = unchanging_superblock(file)
        if unchanging:
            file.compare_at(*unchanging)
        stream = _CheckedStream(file, end, superblock=unchanging[0][0] if unchanging else None)
        return h5py.File(file.path, "r", driver="fileobj", fileobj=stream)
    except BaseException:  # whatever happens, the file must not stay open; the exception is raised again
        file.close()
        raise


def unchanging_superblock(file: PositionedFile) -> tuple[tuple[int, int], ...]:
    """Return what stays the same in the superblock of a file that is being written in SWMR mode; empty for any other file.

    Returns
    -------
    tuple of (int, int)
        Offset and length of each part; the first one begins at the superblock.

    References
    ----------
    HDF5 File Format Specification, version 3.0, II.A, "Disk Format: Level 0A - Format Signature and Superblock", versions 2 and 3.
    """
    at, size = 0, file.size
    while at + _SUPERBLOCK <= size:
        head = bytearray(_HEAD)
        file.read_into([head], at)
        if head[:8] == _SIGNATURE:
            # Versions 2 and 3 have the flags of writing at byte 11; the offsets above are those for addresses of 8 bytes
            is_written = head[8] in (2, 3) and head[9] == 8 and head[_FLAGS] & _WRITTEN_BY_SWMR
            return ((at, _FLAGS), (at + _FLAGS + 1, _END - _FLAGS - 1), (at + _ROOT, 8)) if is_written else ()
        at = 512 if at == 0 else at * 2  # II.A: the superblock is at 0, 512, 1024, 2048, ...
    return ()


def lookup3(data: bytes) -> int:
    """Return the checksum of HDF5's metadata: Bob Jenkins' ``hashlittle`` of lookup3, with an initial value of 0."""
    mask = 0xFFFFFFFF

    def rotated(value: int, bits: int) -> int:
        return (value << bits | value >> (32 - bits)) & mask

    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + len(data)) & mask
    at, left = 0, len(data)
    while left > 12:  # not >= 12: lookup3 leaves the last block, whole or not, to the final mixing
        x, y, z = struct.unpack_from("<III", data, at)
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        a, c = ((a - c) & mask) ^ rotated(c, 4), (c + b) & mask
        b, a = ((b - a) & mask) ^ rotated(a, 6), (a + c) & mask
        c, b = ((c - b) & mask) ^ rotated(b, 8), (b + a) & mask
        a, c = ((a - c) & mask) ^ rotated(c, 16), (c + b) & mask
        b, a = ((b - a) & mask) ^ rotated(a, 19), (a + c) & mask
        c, b = ((c - b) & mask) ^ rotated(b, 4), (b + a) & mask
        at, left = at + 12, left - 12
    if not left:
        return c
    # Padding with zeros equals lookup3's switch over the last bytes, as it adds only bytes that are there
    x, y, z = struct.unpack("<III", data[at:].ljust(12, b"\0"))
    a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
    c = ((c ^ b) - rotated(b, 14)) & mask
    a = ((a ^ c) - rotated(c, 11)) & mask
    b = ((b ^ a) - rotated(a, 25)) & mask
    c = ((c ^ b) - rotated(b, 16)) & mask
    a = ((a ^ c) - rotated(c, 4)) & mask
    b = ((b ^ a) - rotated(a, 14)) & mask
    return int((c ^ b) - rotated(b, 24)) & mask


class _CheckedStream(io.RawIOBase):
    """The file as a stream for h5py, with each global heap checked once."""

    def __init__(self, file: PositionedFile, end: int = 0, *, superblock: int | None = None) -> None:
        self._file, self._at = file, 0
        self._superblock = superblock  # where it is, in a file that is being written by a single writer (SWMR)
        self._size = max(file.size, end)  # read once: h5py asks for it where it cannot pass on an exception
        self._checked: set[int] = set()
        self._width = 0  # of lengths, in bytes; 0 until the first heap needs it

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
        # A file that is written grows, and a truncated one reads as zeros up to the end that its header states
        there = max(0, min(len(view), self._file.size - self._at))
        self._file.read_into([view[:there]], self._at)
        view[there:] = bytes(len(view) - there)
        if (
            self._superblock is not None
            and self._at < self._superblock + _SUPERBLOCK
            and self._at + len(view) > self._superblock
        ):
            self._close_superblock(view, self._superblock)
        # libhdf5 reads a heap from its first byte on, so its signature is at the start of a read
        if bytes(view[:4]) == b"GCOL" and self._at not in self._checked:
            self._check_heap(self._at)
            self._checked.add(self._at)
        self._at += len(view)
        return len(view)

    def _close_superblock(self, view: memoryview, at: int) -> None:
        """Show the superblock as that of a file that was closed at its present size.

        libhdf5 reads a file in SWMR mode only through its own drivers.  The writer keeps the file readable at any moment, so that
        a superblock without the marks of writing, and with the present end of the file, is right.
        """
        block = bytearray(self._file.read(at, _SUPERBLOCK))
        block[_FLAGS] = 0
        struct.pack_into("<Q", block, _END, self._size - at)
        # libhdf5 compares the checksum of the superblock, so it must match the changed bytes
        struct.pack_into("<I", block, _CHECKSUM, lookup3(bytes(block[:_CHECKSUM])))
        first, last = max(self._at, at), min(self._at + len(view), at + _SUPERBLOCK)
        view[first - self._at : last - self._at] = block[first - at : last - at]

    def _check_heap(self, start: int) -> None:
        width = self._width = self._width or self._width_of_lengths()
        head = self._file.read(start, min(_HEAD, self._file.size - start))
        size = int.from_bytes(head[8 : 8 + width], "little") if len(head) == _HEAD else 0
        # Checked before it is read: the size of a damaged heap may be anything
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
                # "Size of Lengths" moved when version 2 dropped the fields before it
                width = head[14] if head[8] < 2 else head[10]
                return width if width in (2, 4) else 8
            offset = 512 if offset == 0 else offset * 2
        return 8

    def _damaged(self, start: int, words: str) -> CorruptRecordingError:
        return CorruptRecordingError(f"{self._file.name} is damaged: its global heap at byte {start:,} {words}")


def attribute_value(node: Any, name: str) -> Any:
    """Return an attribute of an open group or dataset as a Python object; None for a list of varying length.

    A text whose type is damaged looks like such a list, and reading it ends the process. An array of one element becomes that
    element, and bytes become text.
    """
    import h5py

    is_list = isinstance(node.attrs.get_id(name).get_type(), h5py.h5t.TypeVlenID)
    return None if is_list else plain_attribute(node.attrs[name])


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
    # A group of a damaged or foreign file may have millions of names
    names = list(itertools.islice(node.keys(), 1000)) if parts[0] == "*" else [parts[0]]
    for name in names:
        link = node.get(name, getlink=True)
        # The path in an external link comes from the file, and could name any file of the user
        if link is None or type(link).__name__ == "ExternalLink":
            continue
        below = node.get(name)
        if below is not None:
            yield from hdf5_nodes(below, parts[1:])

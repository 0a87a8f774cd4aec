"""An HDF5 file that can be written to a disk that becomes full."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

__all__ = ["SafeFile"]


class SafeFile:
    """A new HDF5 file, written through a stream that never fails before it is closed.

    libhdf5 writes its caches when a file is closed. If that fails, it keeps the file half open, and crashes the process later,
    when it exits or when the object is collected. The stream therefore remembers the first error of the system, keeps the data that
    libhdf5 writes afterwards in memory, and raises the error when libhdf5 has closed the file.

    Parameters
    ----------
    path : pathlib.Path
        The file to create.

    Attributes
    ----------
    hdf5 : h5py.File

    Raises
    ------
    OSError
        When the block ends: writing failed.
    """

    def __init__(self, path: Path) -> None:
        import h5py

        self._stream = _Stream(path.open("x+b", buffering=0))  # unbuffered: the write itself fails on a full disk
        try:
            self.hdf5: Any = h5py.File(self._stream, "w")
        except BaseException:  # whatever happens, the file must not stay open; the exception is raised again
            self._stream.end()
            raise

    def raise_failure(self) -> None:
        """Raise the error of the system, if there was one; call it from time to time."""
        if self._stream.failure is not None:
            raise self._stream.failure

    def __enter__(self) -> SafeFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if self.hdf5:  # False after pynwb has closed it
                self.hdf5.close()
        finally:
            self._stream.end()
        if error is None or isinstance(error, Exception):  # Ctrl-C is not replaced by another error
            self.raise_failure()


class _Stream(io.RawIOBase):
    """The file as libhdf5 sees it; after the first failure, written data stays in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at = file, 0
        self._kept: list[tuple[int, bytes]] = []
        self._size = 0
        self.failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self.failure is None:
            try:
                self._write(view)
            except OSError as error:
                self.failure = error
        if self.failure is not None:
            self._kept.append((self._at, bytes(view)))
        self._at += len(view)
        self._size = max(self._size, self._at)
        return len(view)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        self._file.seek(self._at)
        got = 0
        while got < len(view):
            count = self._file.readinto(view[got:])  # type: ignore[attr-defined]
            if not count:
                break
            got += count
        # The file is shorter than libhdf5 believes after a failure; the data in memory fill in the rest
        view[got:] = bytes(len(view) - got)
        for start, data in self._kept:
            first, last = max(start, self._at), min(start + len(data), self._at + len(view))
            if first < last:
                view[first - self._at : last - self._at] = data[first - start : last - start]
        self._at += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        size = self._at if size is None else size
        if self.failure is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self.failure = error
        self._size = size
        return size

    def flush(self) -> None:
        """Do nothing: the file has no buffer of its own."""

    def end(self) -> None:
        """Close the file."""
        try:
            os.fsync(self._file.fileno())  # a network share reports a full disk only now
        except OSError as error:
            self.failure = self.failure or error
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, view: memoryview) -> None:
        self._file.seek(self._at)
        written = 0
        while written < len(view):  # a disk that is nearly full takes a part
            written += self._file.write(view[written:])

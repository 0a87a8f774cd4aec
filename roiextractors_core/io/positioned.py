"""Thread-safe positioned reads (pread), with a small pool of open files."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import itertools
import operator
import os
import stat
import threading
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import (
    CorruptRecordingError,
    RoiExtractorsError,
    SourceError,
    SourceNotFoundError,
    SourcePermissionError,
    SourceReadError,
    TruncatedRecordingError,
    counted,
    printable,
)
from .known import KNOWN, MAX_SMALL_READ, KnownFile, KnownFiles, known_files
from .threads import num_cores, run_on_cores

__all__ = ["PositionedFile", "open_regular", "read_bounded", "read_once"]

_MAX_BYTES_A_CALL = 1 << 30  # Linux reads at most 2 GiB less a page in one call
_MAX_BUFFERS_A_CALL = 1024  # IOV_MAX on Linux and macOS
_MAX_UNCHECKED = (
    1 << 20
)  # a larger read checks the file size first, since a damaged header may ask for any number of bytes
_MAX_OFFSET = (1 << 63) - 1 - _MAX_BYTES_A_CALL
PARALLEL_BYTES = 16 << 20  # below this, starting threads costs more than it gains
_HEAD_BYTES = 4096  # compared when a file changed: a header, and often some pixels
_NOT_CONTIGUOUS = "the array to fill must be C-contiguous"
_HAS_PREADV = hasattr(os, "preadv")
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


def read_once(path: str, pieces: Sequence[tuple[int, Sequence[Any]]]) -> bool:
    """Fill buffers from a file that is opened for this read only, for sequences of one file per frame.

    Parameters
    ----------
    path : str
    pieces : sequence of (int, sequence of writable C-contiguous buffers)
        Offset of each piece in the file, and the buffers to fill from there, in order.

    Returns
    -------
    bool
        Whether the file has all of these bytes; if it ends earlier, the rest of the buffers is undefined.

    Raises
    ------
    SourceNotFoundError, SourcePermissionError, SourceReadError
    """
    entry = _Descriptor(path)
    descriptor = entry.descriptor
    try:
        for offset, buffers in pieces:
            num_bytes = 0
            for b in buffers:  # a hot loop: half of the time of reading many small files is spent here
                num_bytes += (
                    len(b) if type(b) is bytearray else b.nbytes if type(b) is np.ndarray else memoryview(b).nbytes
                )
            plain = num_bytes <= _MAX_BYTES_A_CALL and len(buffers) <= _MAX_BUFFERS_A_CALL
            got = _pread_into(descriptor, buffers, offset) if plain else -1
            if got != num_bytes and not (got and _is_filled(descriptor, buffers, offset, num_bytes)):
                return False
        return True
    except OSError as error:
        raise _not_read(path, error) from error
    finally:
        del entry  # an error that somebody keeps must not keep the file open


def size_of(path: str) -> int:
    """Return the size of a regular file in bytes, without opening it; errors are those of :func:`read_once`."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise _not_opened(path, error) from error
    _require_regular(path, status)
    return status.st_size


def _is_filled(descriptor: int, buffers: Sequence[Any], offset: int, num_bytes: int) -> bool:
    return PositionedFile._fill(descriptor, _views_of(buffers), offset) == num_bytes


class PositionedFile:
    """One file, read at given offsets by any number of threads.

    The descriptor is opened at the first read and shared. A process keeps only a few open, so
    a recording of ten thousand files stays within the system's limits.  Pickles as its path.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Raises
    ------
    SourceNotFoundError, SourcePermissionError, SourceReadError
        The file is missing, not permitted, unreadable, or was replaced since the first read.
    """

    __slots__ = ("_compared", "_forget", "_head", "_path", "_state")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._forget = functools.partial(_DESCRIPTORS.pop, self._path, None)
        self._state: _State | None = None
        self._compared: tuple[tuple[int, int], ...] = ((0, _HEAD_BYTES),)
        self._head: int | None = None  # not read by require_unchanged, which opens nothing

    @property
    def path(self) -> Path:
        """Where the file is."""
        return Path(self._path)

    @property
    def name(self) -> str:
        """The last part of the path, without control characters."""
        return printable(os.path.basename(self._path))

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        known = None if KNOWN.get() is None else known_files()
        if known is not None:
            return int(self._look(known).state.size)
        entry = _DESCRIPTORS.take(self._path, fresh=self._state is None)
        try:
            state = _State.of(os.fstat(entry.descriptor))
            if self._state is None:
                self._verify(entry.descriptor)
            elif state[:2] != self._state[:2]:
                raise self._replaced()
            return state.size
        except OSError as error:
            if isinstance(error, RoiExtractorsError):
                raise
            raise self._failed(entry, error) from error
        finally:
            del entry

    def require_unchanged(self) -> None:
        """Remember which file the path names, or raise if it names another file than before.

        Call it before and after another library opens the path.

        Raises
        ------
        SourceNotFoundError, SourcePermissionError, SourceReadError
        """
        known = None if KNOWN.get() is None else known_files()
        looked_at = None if known is None or self._state is not None else known.get(self._path)
        try:
            found = _State.of(os.stat(self._path)) if looked_at is None else looked_at.state
        except OSError as error:
            raise _not_opened(self._path, error) from error
        if self._state is None:
            self._state = found
        else:
            self._require_no_shorter(found)

    def compare_at(self, *regions: tuple[int, int]) -> None:
        """Name the bytes that stay the same while the file is still being written, in place of its first 4096.

        Parameters
        ----------
        *regions : tuple of (int, int)
            Offset and number of bytes.
        """
        self._compared, self._head = regions, None
        entry = self._taken()
        try:
            self._head = self._head_of(entry.descriptor, self._state)
        except OSError as error:
            raise self._failed(entry, error) from error
        finally:
            del entry

    def read(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset``; fewer only at the end of the file."""
        if 0 < count <= MAX_SMALL_READ and offset <= _MAX_OFFSET and KNOWN.get() is not None:
            known = known_files()
            if known is not None:
                return self._read_known(known, offset, count)
        if count > _MAX_UNCHECKED:
            count = min(count, max(0, self.size - offset))
        buffer = bytearray(max(0, count))
        view = memoryview(buffer)
        return bytes(view[: self._read([view], offset, count)])

    def end_of_data(self, start: int, end: int) -> int:
        """Return the byte after the last one that is not 0; ``start`` if there are only zeros.

        Programs that reserve the space of a recording leave zeros at its end when they are interrupted.

        Parameters
        ----------
        start, end : int
            The part of the file to look at; it is read backwards, and only as far as there are zeros.
        """
        step = _HEAD_BYTES  # nearly always decided by the last bytes, so little is read at first
        while end > start:
            first = max(start, end - step)
            if step > _HEAD_BYTES and self._is_hole(first, end):  # a file of a terabyte may contain a few bytes
                step *= 4
            elif step > _MAX_UNCHECKED:
                step = _MAX_UNCHECKED
                continue
            else:
                kept = len(self.read(first, end - first).rstrip(b"\0"))
                if kept:
                    return first + kept
                step = min(4 * step, _MAX_UNCHECKED)
            end = first
        return start

    def _is_hole(self, start: int, end: int) -> bool:
        """Whether the file system says that nothing was written to a range, which is zeros then."""
        if not hasattr(os, "SEEK_DATA"):
            return False
        entry = self._taken()
        try:
            return os.lseek(entry.descriptor, start, os.SEEK_DATA) >= end
        except OSError as error:
            return error.errno == errno.ENXIO  # no data up to the end of the file
        finally:
            del entry

    def read_into(self, buffers: Sequence[Any], offset: int) -> None:
        """Fill the buffers, in order, with the bytes from ``offset`` on.

        Parameters
        ----------
        buffers : sequence of writable C-contiguous buffers
            Arrays or byte arrays; any number, any size.
        offset : int
            Position in the file of the first buffer's first byte.

        Raises
        ------
        TruncatedRecordingError
            The file ends before the buffers are full.
        """
        num_bytes = 0
        for b in buffers:  # one loop, since single frames of small movies spend their time here
            if not isinstance(b, np.ndarray):
                num_bytes += len(b) if type(b) is bytearray else memoryview(b).nbytes
            elif b.flags.c_contiguous:
                num_bytes += b.nbytes
            else:
                raise ValueError(_NOT_CONTIGUOUS)
        got = self._read(buffers, offset, num_bytes)
        if got < num_bytes:
            raise self._ends_early(offset + got, offset, num_bytes)

    def hold_open(self) -> Callable[[memoryview, int], None]:
        """Return a function that fills a memoryview from an offset, for many short reads by one thread.

        The file stays open as long as the function is kept.
        """
        entry = self._taken()
        descriptor = entry.descriptor

        def read(view: memoryview, offset: int) -> None:
            if 0 < len(view) <= _MAX_BYTES_A_CALL and offset <= _MAX_OFFSET:
                try:
                    if _pread_into(descriptor, (view,), offset) == len(view):
                        return
                except OSError as error:
                    raise self._failed(entry, error) from error
            self.read_into([view], offset)

        return read

    def read_each(self, buffers: Sequence[Any], offsets: Sequence[int]) -> None:
        """Fill each buffer with the bytes from its own offset on: many short reads by one thread.

        Parameters
        ----------
        buffers : sequence of writable C-contiguous buffers
            Arrays, byte arrays or memoryviews.
        offsets : sequence of int
            Position in the file of the first byte of each.

        Raises
        ------
        TruncatedRecordingError
            The file ends before a buffer is full.
        """
        entry = self._taken()
        descriptor = entry.descriptor
        try:
            for buffer, offset in zip(buffers, offsets, strict=True):
                size = len(buffer) if type(buffer) is bytearray else buffer.nbytes
                if (
                    size > _MAX_BYTES_A_CALL
                    or offset > _MAX_OFFSET
                    or _pread_into(descriptor, (buffer,), offset) != size
                ):
                    self.read_into([buffer], offset)
        except OSError as error:
            if isinstance(error, RoiExtractorsError):
                raise
            raise self._failed(entry, error) from error
        finally:
            del entry

    def read_array(self, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return a new array of the bytes at ``offset``; large arrays are read on all cores.

        Parameters
        ----------
        offset : int
            Position of the array in the file.
        shape : tuple of int
            C order.
        dtype : numpy.dtype
            As in the file.

        Returns
        -------
        numpy.ndarray
            Owned by the caller, in the file's byte order.
        """
        result = np.empty(shape, dtype)
        self.read_array_into(result, offset)
        return result

    def read_array_into(self, result: np.ndarray, offset: int) -> None:
        """Fill a C-contiguous array from ``offset``; on all cores if it is large."""
        if result.nbytes == 0:
            return
        if result.nbytes < PARALLEL_BYTES:
            self.read_into([result], offset)
            return
        flat = bytes_of(result)
        parts = max(1, min(num_cores(), len(flat) // (PARALLEL_BYTES // 2)))
        cut = [len(flat) * k // parts for k in range(parts + 1)]
        run_on_cores([self._task(flat[a:b], offset + a) for a, b in itertools.pairwise(cut)])

    def stream(self) -> io.BufferedReader:
        """Return the file as a stream with its own position, for libraries that read streams; errors are those of this class."""
        return io.BufferedReader(_Stream(self))

    def close(self) -> None:
        """Close the descriptor; a later read opens the file again."""
        _DESCRIPTORS.drop(self._path)

    def __reduce__(self) -> tuple[Any, ...]:
        return (PositionedFile, (self._path,))

    def __repr__(self) -> str:
        return f"PositionedFile({self._path!r})"

    def _task(self, view: memoryview, offset: int) -> Any:
        return lambda: self.read_into([view], offset)

    __del__ = property(operator.attrgetter("_forget"))  # without a step of Python, see _Descriptor

    def _read(self, buffers: Sequence[Any], offset: int, num_bytes: int) -> int:
        if offset > _MAX_OFFSET:  # a damaged header may ask for any offset
            return 0
        if 0 < num_bytes <= MAX_SMALL_READ:
            known = None if KNOWN.get() is None else known_files()
            if known is not None:
                data, at = self._read_known(known, offset, num_bytes), 0
                for view in _views_of(buffers):
                    part = data[at : at + len(view)]
                    view[: len(part)] = part
                    at += len(part)
                return at
        entry = self._taken()
        try:
            if num_bytes <= _MAX_BYTES_A_CALL and len(buffers) <= _MAX_BUFFERS_A_CALL:
                got = _pread_into(entry.descriptor, buffers, offset) if num_bytes else 0
                if got == num_bytes or got == 0:
                    return got
            return self._fill(entry.descriptor, _views_of(buffers), offset)
        except OSError as error:
            raise self._failed(entry, error) from error
        finally:
            del entry  # an error that somebody keeps must not keep the file open

    def _read_known(self, known: KnownFiles, offset: int, num_bytes: int) -> bytes:
        """Return bytes from the blocks that were read while the recording is opened, and read those that are missing."""
        file = self._look(known)
        data = file.bytes_at(offset, num_bytes)
        if data is None:
            entry = self._reopened(known, file)
            try:
                data = _read_blocks(known, file, entry.descriptor, offset, num_bytes)
            except OSError as error:
                raise self._failed(entry, error) from error
            finally:
                del entry
        return data

    def _look(self, known: KnownFiles) -> KnownFile:
        """Return what is known of the file while the recording is opened; it is opened if nothing is."""
        file = known.get(self._path)
        if file is None:
            file = known.add(self._path, *_DESCRIPTORS.look(self._path))
        if file.entry is not None:
            _DESCRIPTORS.keep(self._path, file.entry)
        if file.state != self._state:
            self._accept(known, file)
        return file

    def _reopened(self, known: KnownFiles, file: KnownFile) -> _Descriptor:
        """Return the descriptor of a file, which may have been closed since, where many files are looked at."""
        if file.entry is None:
            file = known.add(self._path, *_DESCRIPTORS.look(self._path))
            _DESCRIPTORS.keep(self._path, file.entry)
            self._accept(known, file)
        entry: _Descriptor = file.entry
        return entry

    def _accept(self, known: KnownFiles, file: KnownFile) -> None:
        try:
            self._compare(file.state, lambda state: self._known_head(known, file, state))
        except OSError as error:
            if isinstance(error, RoiExtractorsError):
                raise
            raise _not_read(self._path, error) from error

    def _known_head(self, known: KnownFiles, file: KnownFile, state: _State) -> int:
        def read(view: memoryview, offset: int) -> int:
            data = file.bytes_at(offset, len(view))
            if data is None:
                data = _read_blocks(known, file, file.entry.descriptor, offset, len(view))
            view[: len(data)] = data
            return len(data)

        key = self._compared, state.size
        if key not in file.heads:  # several readers look at one file
            file.heads[key] = self._checksum(read, state)
        return file.heads[key]

    def _taken(self) -> _Descriptor:
        known = None if KNOWN.get() is None else known_files()
        if known is not None:
            return self._reopened(known, self._look(known))
        entry = _DESCRIPTORS.take(self._path, fresh=self._state is None)
        try:
            self._verify(entry.descriptor)
            return entry
        except OSError as error:
            if isinstance(error, RoiExtractorsError):
                raise
            raise self._failed(entry, error) from error
        finally:
            del entry

    def _failed(self, entry: _Descriptor, error: OSError) -> SourceReadError:
        """Return the error of a read, and open the file anew for the next one: a server that was restarted refuses old handles."""
        _DESCRIPTORS.drop(self._path, entry)
        known = None if KNOWN.get() is None else known_files()
        if known is not None:
            known.drop(self._path)
        return _not_read(self._path, error)

    def _verify(self, descriptor: int) -> None:
        """Raise if the file is not the one that was read first, or was written anew; a file that only grew is the same."""
        status = os.fstat(descriptor)
        # At each read, so it has to be fast: a tuple compares like a _State, and is made in a third of the time
        if (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) != self._state:
            self._compare(_State.of(status), lambda state: self._head_of(descriptor, state))

    def _compare(self, state: _State, head_of: Callable[[_State], int]) -> None:
        """Raise as :meth:`_verify`, from the state of the file now and a function that returns the checksum of its head.

        A file may be written anew in place, as ``numpy.save`` does: then the inode is the same and what was read of its header
        is no longer true.  A file that is still being recorded changes too, but its head stays and it does not shrink.
        """
        if self._state is not None:
            self._require_no_shorter(state)
            if self._head is not None and head_of(self._state) != self._head:
                raise self._replaced()
        self._state = state
        self._head = head_of(state)

    def _require_no_shorter(self, state: _State) -> None:
        if self._state is None or state[:2] != self._state[:2]:
            raise self._replaced()
        if state.size < self._state.size:
            raise TruncatedRecordingError(
                f"{self.name} has {counted(state.size, 'byte')}, but had {self._state.size:,} when it was opened; "
                "it was truncated or rewritten since then; open it again"
            )

    def _head_of(self, descriptor: int, state: _State | None) -> int:
        return self._checksum(lambda view, offset: _pread_into(descriptor, (view,), offset), state)

    def _checksum(self, read: Callable[[memoryview, int], int], state: _State | None) -> int:
        """Return a checksum of the bytes that are compared, of no more than the file had when it was last looked at."""
        end, found = 0 if state is None else state.size, 0
        for offset, count in self._compared:
            buffer = bytearray(max(0, min(count, end - offset)))
            got = read(memoryview(buffer), offset) if buffer else 0
            found = zlib.crc32(buffer[:got], found)
        return found

    def _ends_early(self, end: int, offset: int, count: int) -> TruncatedRecordingError:
        return TruncatedRecordingError(
            f"{self.name} ends at byte {end:,}, expected bytes {offset:,} to {offset + count:,}; "
            "the file is truncated, or was truncated since it was opened"
        )

    def _replaced(self) -> SourceReadError:
        return SourceReadError(f"{printable(self._path)} was replaced or rewritten since it was opened; open it again")

    @staticmethod
    def _fill(descriptor: int, views: list[memoryview], offset: int) -> int:
        total = 0
        pending = [view for view in views if len(view)]
        first = 0
        while first < len(pending):
            batch, size = [], 0
            for view in pending[first : first + _MAX_BUFFERS_A_CALL]:
                room = _MAX_BYTES_A_CALL - size
                batch.append(view[:room] if len(view) > room else view)
                size += len(batch[-1])
                if size >= _MAX_BYTES_A_CALL:
                    break
            got = _pread_into(descriptor, batch, offset + total)
            if got == 0:
                break
            total += got
            while got and first < len(pending):
                here = len(pending[first])
                if got >= here:
                    got -= here
                    first += 1
                else:
                    pending[first] = pending[first][got:]
                    got = 0
        return total


class _Stream(io.RawIOBase):
    """A stream with its own position in a shared file."""

    def __init__(self, file: PositionedFile) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = 0 if whence == io.SEEK_SET else self._at if whence == io.SEEK_CUR else self._file.size
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}, which is before the start of the file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        found = self._file.read(self._at, len(buffer))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def _views_of(buffers: Sequence[Any]) -> list[memoryview]:
    return [bytes_of(b) if isinstance(b, np.ndarray) else memoryview(b).cast("B") for b in buffers]


def bytes_of(array: np.ndarray) -> memoryview:
    if not array.flags.c_contiguous:
        raise ValueError(_NOT_CONTIGUOUS)
    if array.nbytes == 0:
        return memoryview(b"")
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


if _HAS_PREADV:

    def _pread_into(descriptor: int, views: Sequence[Any], offset: int) -> int:
        return os.preadv(descriptor, views, offset)

else:  # Windows: no positioned read, so one seek and read at a time
    _SEEK_LOCK = threading.RLock()  # a signal handler can read in the middle of a read

    def _pread_into(descriptor: int, views: Sequence[Any], offset: int) -> int:
        total = 0
        with _SEEK_LOCK, open(descriptor, "rb", buffering=0, closefd=False) as stream:
            before = stream.tell()
            try:
                stream.seek(offset)
                for view in views:
                    got = stream.readinto(view) or 0
                    total += got
                    if got < memoryview(view).nbytes:
                        break
            finally:
                stream.seek(before)
        return total


class _Descriptor:
    """An open descriptor, closed when it is forgotten."""

    __slots__ = ("_close", "_handles", "_status")

    def __init__(self, path: str) -> None:
        # Ctrl-C can come between any two steps of Python: between the return of os.open and the next one, and at the beginning of
        # a finalizer, which then does nothing. extend, and a deque that consumes map, are one step
        self._handles: list[int] = []
        self._close: Callable[[], Any] = functools.partial(deque, map(os.close, self._handles), 0)
        try:
            self._handles.extend(map(os.open, (path,), (_FLAGS,)))
            self._status = os.fstat(self._handles[0])
        except OSError as error:
            raise _not_opened(path, error) from error
        if not stat.S_ISREG(self._status.st_mode):
            _require_regular(path, self._status)

    @property
    def descriptor(self) -> int:
        return self._handles[0]

    @property
    def state(self) -> _State:
        """The file as it was when it was opened; most files of a sequence are opened for one read, and nobody asks."""
        return _State.of(self._status)

    def is_what_the_path_names(self, path: str) -> bool:
        try:
            return _State.of(os.stat(path))[:2] == self.state[:2]
        except OSError:
            return False

    __del__ = property(operator.attrgetter("_close"))


def _require_regular(path: str, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe" if stat.S_ISFIFO(status.st_mode) else "a device"
    raise SourceReadError(f"{printable(path)} could not be read: it is {kind}, not a file")


class _State(NamedTuple):
    """Which file it is, and the last change that can be seen from outside."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, status: os.stat_result) -> _State:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _read_blocks(known: KnownFiles, file: KnownFile, descriptor: int, offset: int, count: int) -> bytes:
    """Read a range of a file with the rest of its blocks, and remember them."""
    start, length = file.range_of(offset, count)
    buffer = bytearray(max(0, min(length, file.state.size - start)))
    got = _pread_into(descriptor, (buffer,), start) if buffer else 0
    if got < len(buffer):  # a network share may return less
        got = PositionedFile._fill(descriptor, [memoryview(buffer)], start)
    data = bytes(memoryview(buffer)[:got])
    known.keep(file, start, data)
    return data[offset - start :][:count]


class _RegularFile(io.FileIO):
    """A stream whose descriptor belongs to it from the moment the system returns it: Ctrl-C cannot come in between."""

    def __init__(self, entry: _Descriptor) -> None:
        self._entry: _Descriptor | None = entry
        super().__init__(entry.descriptor, "rb", closefd=False)

    def close(self) -> None:
        super().close()
        self._entry = None


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Return a regular file as a stream for reading, with a descriptor of its own, for libraries that need one.

    Opening never waits (a pipe without a writer would), and a device, pipe, socket or folder is refused before a byte is read: a
    link to ``/dev/zero`` has no end.

    Raises
    ------
    SourceNotFoundError, SourcePermissionError, SourceReadError
    """
    return io.BufferedReader(_RegularFile(_Descriptor(os.fspath(path))))


def read_bounded(path: str | os.PathLike[str], limit: int, *, offset: int = 0, count: int | None = None) -> bytes:
    """Return the content of a small file, or a range of it, for descriptions that are read whole.

    Parameters
    ----------
    path : str or os.PathLike
    limit : int
        Bytes that are returned at most.
    offset : int
        Start of the range; negative counts from the end of the file.
    count : int, optional
        Bytes in the range; by default up to the end of the file.

    Raises
    ------
    CorruptRecordingError
        The file, or the range, is longer than the limit.
    SourceNotFoundError, SourcePermissionError, SourceReadError
        It is missing, not permitted, unreadable, or not a regular file.
    """
    place = os.fspath(path)
    known = known_files()
    looked_at = None if known is None else known.get(place)
    entry = looked_at.entry if looked_at is not None and looked_at.entry is not None else _Descriptor(place)
    descriptor = entry.descriptor
    try:
        size = entry.state.size
        start = max(0, size + offset) if offset < 0 else min(offset, size)
        length = size - start if count is None else max(0, min(count, size - start))
        if length > limit:
            raise CorruptRecordingError(f"{printable(place)} has {length:,} bytes; at most {limit:,} expected")
        buffer = bytearray(length)
        got = PositionedFile._fill(descriptor, [memoryview(buffer)], start)
        return bytes(buffer[:got])
    except OSError as error:
        raise error if isinstance(error, RoiExtractorsError) else _not_read(place, error) from error
    finally:
        del entry  # an error that somebody keeps must not keep the file open


def _not_read(path: str, error: Exception) -> SourceReadError:
    return SourceReadError(f"{printable(path)} could not be read: {getattr(error, 'strerror', None) or error}")


def _not_opened(path: str, error: OSError) -> SourceError:
    """Return the error that says why a file cannot be opened."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SourceNotFoundError(f"{printable(path)} {broken_link(path) or 'no longer exists'}")
    if isinstance(error, PermissionError):
        if os.path.isdir(path):  # Windows opens no folder
            return SourceReadError(f"{printable(path)} could not be read: it is a folder, not a file")
        return SourcePermissionError(f"{printable(path)} cannot be read: {error.strerror}")
    return SourceReadError(f"{printable(path)} could not be opened: {error.strerror or error}")


def broken_link(path: str | os.PathLike[str]) -> str:
    """Return in words that a path is a link to nothing, as git-annex leaves it for content that was not downloaded; else empty."""
    try:
        target = os.readlink(path)
    except OSError:
        return ""
    advice = "; download it first: git annex get" if ".git/annex/" in target.replace(os.sep, "/") else ""
    return f"is a link to {printable(target)!r}, which does not exist{advice}"


class _Descriptors:
    """The pool of open descriptors; the least recently used leaves it first.

    There is no lock, and no count of users: a descriptor is closed when nothing refers to it any more, neither the pool nor a
    read. Each step is one call of a method of the dictionary, so a signal handler, a finalizer or another thread can come
    between any two, and Ctrl-C loses no descriptor.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: OrderedDict[str, _Descriptor] = OrderedDict()
        self.pop = self._open.pop  # in one step, without a step of Python

    def take(self, path: str, *, fresh: bool = False) -> _Descriptor:
        entry = self._open.get(path)
        if entry is not None and fresh and not entry.is_what_the_path_names(path):
            self.drop(path, entry)
            entry = None
        if entry is None:
            entry = self._open.setdefault(path, self._open_descriptor(path))
        try:  # at each read: contextlib.suppress would take longer than all else here
            self._open.move_to_end(path)
        except KeyError:  # another thread has closed it; it stays open as long as it is used here
            pass
        if len(self._open) > self._most:
            self._shrink()
        return entry

    def _shrink(self) -> None:
        while len(self._open) > self._most:
            with contextlib.suppress(KeyError):
                self._open.popitem(last=False)

    def look(self, path: str) -> tuple[_Descriptor, _State]:
        """Return a descriptor, and the state of the file now; the pool does not keep it."""
        entry = self._open.get(path)
        if entry is not None:
            with contextlib.suppress(OSError):
                state = _State.of(os.stat(path))
                if state[:2] == entry.state[:2]:
                    return entry, state
        entry = self._open_descriptor(path)
        return entry, entry.state

    def keep(self, path: str, entry: _Descriptor) -> None:
        """Keep a descriptor for later reads."""
        if self._open.get(path) is not entry:
            self._open[path] = entry
            self._shrink()

    def drop(self, path: str, entry: _Descriptor | None = None) -> None:
        """Remove a path from the pool; with an entry, only if it is still that one."""
        if entry is None or self._open.get(path) is entry:
            self._open.pop(path, None)

    def _open_descriptor(self, path: str) -> _Descriptor:
        try:
            return _Descriptor(path)
        except SourceReadError as error:
            if getattr(error.__cause__, "errno", None) not in (errno.EMFILE, errno.ENFILE):
                raise
        self._open.clear()
        known = None if KNOWN.get() is None else known_files()
        if known is not None:
            known.close()
        return _Descriptor(path)


_DESCRIPTORS = _Descriptors(most=32)

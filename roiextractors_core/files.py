"""Positioned reads from files that are opened when needed and never moved about in."""

from __future__ import annotations

import _thread
import contextlib
import errno
import functools
import io
import itertools
import math
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from .errors import (
    SourceError,
    SourceNotFoundError,
    SourcePermissionError,
    SourceReadError,
    TruncatedRecordingError,
    printable,
)

__all__ = ["PositionedFile", "StoredArray", "StoredFrames", "num_cores", "read_once", "run_on_cores"]

_MOST_BYTES_A_CALL = 1 << 30  # Linux moves at most 2 GiB less a page in one call
_MOST_BUFFERS_A_CALL = 1024  # IOV_MAX on Linux and macOS
_MOST_UNCHECKED = 1 << 20  # a larger read looks at the size first: a file may claim any number
_MOST_OFFSET = (1 << 63) - 1 - _MOST_BYTES_A_CALL
_PARALLEL_BYTES = 16 << 20  # below this, starting threads costs more than it gains
_PARALLEL_PIECE_BYTES = 128 << 10  # of one call; threads that make shorter ones wait for each other
_PIECE_BYTES = 4 << 20  # what one call reads: little enough to be still in the cache for what is done next
_LEAST_PIECE_BYTES = 128 << 10  # of what is read for little that is wanted out of it
_MOST_SCRATCH_BYTES = 1 << 20
_MOST_GAP = 1 << 16  # bytes between frames that are read over rather than sought over
_HAS_PREADV = hasattr(os, "preadv")
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


def num_cores() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_on_cores(tasks: Sequence[Any]) -> None:
    """Call every task, on all cores when there is more than one, and raise the first error.

    After an error, or Ctrl-C, tasks that have not begun are left out.  Where the system starts no more threads, the
    work is done on those that there are.

    Parameters
    ----------
    tasks : sequence of callables without arguments
        Work that releases the interpreter lock: reads and decoders.
    """
    if len(tasks) < 2 or num_cores() < 2:
        for task in tasks:
            task()
        return
    team = _Team(tasks)
    with contextlib.suppress(RuntimeError):  # no more threads: a limit of processes or of memory
        for _ in range(min(num_cores(), len(tasks)) - 1):
            _thread.start_new_thread(team.join_in, ())
    try:
        team.work()
    finally:
        team.finish()
    if team.failed:
        raise min(team.failed, key=lambda pair: pair[0])[1]


class _Team:
    """Threads that work off tasks, and among them the one that waits for all.

    A thread counts from when it runs, and not from when it was started: where memory is short the system loses some
    between the two, for which ``threading.Thread.start`` would wait for ever.
    """

    def __init__(self, tasks: Sequence[Any]) -> None:
        self.failed: list[tuple[int, BaseException]] = []
        self._pending = deque(enumerate(tasks))
        self._changed = threading.Condition()
        self._at_work = 0

    def join_in(self) -> None:
        """Work in a thread of its own."""
        with self._changed:
            self._at_work += 1
        try:
            self.work()
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()

    def work(self) -> None:
        """Take tasks until none is left."""
        while self._pending:
            try:
                number, task = self._pending.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                task()
            except Exception as error:  # noqa: BLE001 - raised again by who waits for all threads
                self._pending.clear()
                self.failed.append((number, error))

    def finish(self) -> None:
        """Leave out what has not begun, and wait for what has."""
        self._pending.clear()
        with self._changed:
            self._changed.wait_for(lambda: self._at_work == 0)


def read_once(path: str, pieces: Sequence[tuple[int, Sequence[Any]]]) -> bool:
    """Fill buffers from a file that is opened for this alone, as of a sequence of one file a frame.

    Parameters
    ----------
    path : str
    pieces : sequence of (int, sequence of writable C-contiguous buffers)
        Where in the file each piece begins, and what its bytes fill, one buffer after the other.

    Returns
    -------
    bool
        Whether the file holds all of these bytes; where it ends before, the rest of the buffers is undefined.

    Raises
    ------
    SourceNotFoundError, SourcePermissionError, SourceReadError
    """
    descriptor = _open(path)
    try:
        for offset, buffers in pieces:
            wanted = 0
            for b in buffers:  # one file after the other: half of the time is spent here
                wanted += (
                    len(b) if type(b) is bytearray else b.nbytes if type(b) is np.ndarray else memoryview(b).nbytes
                )
            plain = wanted <= _MOST_BYTES_A_CALL and len(buffers) <= _MOST_BUFFERS_A_CALL
            got = _pread_into(descriptor, buffers, offset) if plain else -1
            if got != wanted and not (got and _is_filled(descriptor, buffers, offset, wanted)):
                return False
        return True
    except OSError as error:
        raise _not_read(path, error) from error
    finally:
        os.close(descriptor)


def _is_filled(descriptor: int, buffers: Sequence[Any], offset: int, wanted: int) -> bool:
    views = [_bytes_of(b) if isinstance(b, np.ndarray) else memoryview(b).cast("B") for b in buffers]
    return PositionedFile._fill(descriptor, views, offset) == wanted


class PositionedFile:
    """One file, read at given offsets by any number of threads.

    The descriptor is opened at the first read and shared; a process keeps few of them, so that
    a recording of ten thousand files stays within the limits of the system.  Pickles as its path.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Raises
    ------
    SourceNotFoundError, SourcePermissionError, SourceReadError
        When the first read finds the file gone, forbidden or unreadable, or replaced since.
    """

    __slots__ = ("_identity", "_path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._identity: tuple[int, int] | None = None

    @property
    def path(self) -> Path:
        """Where the file is."""
        return Path(self._path)

    @property
    def name(self) -> str:
        """The last part of the path, safe to print."""
        return printable(os.path.basename(self._path))

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        entry = self._taken()
        try:
            return os.fstat(entry.descriptor).st_size
        finally:
            _DESCRIPTORS.give_back(entry)

    def require_unchanged(self) -> None:
        """Note which file the path names, or raise when it names another one than was noted or read.

        For those who let another library open the path: before and after.

        Raises
        ------
        SourceNotFoundError, SourcePermissionError, SourceReadError
        """
        try:
            found = _identity(os.stat(self._path))
        except OSError as error:
            raise _not_opened(self._path, error) from error
        if self._identity is None:
            self._identity = found
        elif self._identity != found:
            raise self._replaced()

    def read(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset``; fewer only where the file ends."""
        if count > _MOST_UNCHECKED:
            count = min(count, max(0, self.size - offset))
        buffer = bytearray(max(0, count))
        view = memoryview(buffer)
        return bytes(view[: self._read([view], offset, count)])

    def read_into(self, buffers: Sequence[Any], offset: int) -> None:
        """Fill the buffers, one after the other, with the bytes from ``offset`` on.

        Parameters
        ----------
        buffers : sequence of writable C-contiguous buffers
            Arrays or byte arrays; any number, any size.
        offset : int
            Where in the file the first buffer begins.

        Raises
        ------
        TruncatedRecordingError
            When the file ends before the buffers are full.
        """
        views = [_bytes_of(b) if isinstance(b, np.ndarray) else memoryview(b).cast("B") for b in buffers]
        views = [view for view in views if len(view)]
        wanted = sum(map(len, views))
        got = self._read(views, offset, wanted)
        if got < wanted:
            raise self._ends_early(offset + got, offset, wanted)

    @contextlib.contextmanager
    def held_open(self) -> Iterator[Callable[[memoryview, int], None]]:
        """Give a function that fills a view of bytes from an offset on, for many short reads by one thread, one after the other."""
        entry = self._taken()

        def read(view: memoryview, offset: int) -> None:
            if 0 < len(view) <= _MOST_BYTES_A_CALL and offset <= _MOST_OFFSET:
                try:
                    if _pread_into(entry.descriptor, (view,), offset) == len(view):
                        return
                except OSError as error:
                    raise _not_read(self._path, error) from error
            self.read_into([view], offset)

        try:
            yield read
        finally:
            _DESCRIPTORS.give_back(entry)

    def read_array(self, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return a new array of the bytes at ``offset``, large ones read on all cores.

        Parameters
        ----------
        offset : int
            Where the array begins in the file.
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
        """Fill a C-contiguous array from ``offset``, on all cores when it is large."""
        if result.nbytes == 0:
            return
        if result.nbytes < _PARALLEL_BYTES:
            self.read_into([result], offset)
            return
        flat = _bytes_of(result)
        parts = max(1, min(num_cores(), len(flat) // (_PARALLEL_BYTES // 2)))
        cut = [len(flat) * k // parts for k in range(parts + 1)]
        run_on_cores([self._task(flat[a:b], offset + a) for a, b in itertools.pairwise(cut)])

    def stream(self) -> io.BufferedReader:
        """Return the file as a stream of its own position, for a library that reads streams; errors are this class's."""
        return io.BufferedReader(_Stream(self))

    def close(self) -> None:
        """Release the descriptor; a later read would open the file again."""
        _DESCRIPTORS.drop(self._path)

    def __reduce__(self) -> tuple[Any, ...]:
        return (PositionedFile, (self._path,))

    def __repr__(self) -> str:
        return f"PositionedFile({self._path!r})"

    def _task(self, view: memoryview, offset: int) -> Any:
        return lambda: self.read_into([view], offset)

    def __del__(self) -> None:
        try:
            _DESCRIPTORS.drop_when_free(self._path)
        except (AttributeError, TypeError):  # half-made, or the interpreter has closed its modules
            pass

    def _read(self, views: list[memoryview], offset: int, wanted: int) -> int:
        if offset > _MOST_OFFSET:  # what a damaged file may claim: nothing lies there
            return 0
        entry = self._taken()
        try:
            if wanted <= _MOST_BYTES_A_CALL and len(views) <= _MOST_BUFFERS_A_CALL:
                got = _pread_into(entry.descriptor, views, offset) if views else 0
                if got == wanted or got == 0:
                    return got
            return self._fill(entry.descriptor, views, offset)
        except OSError as error:
            raise _not_read(self._path, error) from error
        finally:
            _DESCRIPTORS.give_back(entry)

    def _taken(self) -> _Descriptor:
        entry = _DESCRIPTORS.take(self._path, fresh=self._identity is None)
        if self._identity is None:
            self._identity = entry.identity
        elif self._identity != entry.identity:
            _DESCRIPTORS.give_back(entry)
            raise self._replaced()
        return entry

    def _ends_early(self, end: int, offset: int, count: int) -> TruncatedRecordingError:
        return TruncatedRecordingError(
            f"{self.name} ends at byte {end:,}, and bytes {offset:,} to {offset + count:,} were needed; "
            "the file is cut, or was cut since it was opened"
        )

    def _replaced(self) -> SourceReadError:
        return SourceReadError(
            f"{printable(self._path)} was replaced by another file since it was opened; open it again"
        )

    @staticmethod
    def _fill(descriptor: int, views: list[memoryview], offset: int) -> int:
        total = 0
        pending = [view for view in views if len(view)]
        first = 0
        while first < len(pending):
            batch, size = [], 0
            for view in pending[first : first + _MOST_BUFFERS_A_CALL]:
                room = _MOST_BYTES_A_CALL - size
                batch.append(view[:room] if len(view) > room else view)
                size += len(batch[-1])
                if size >= _MOST_BYTES_A_CALL:
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
    """A position in a file that others read, too."""

    def __init__(self, file: PositionedFile) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = 0 if whence == io.SEEK_SET else self._at if whence == io.SEEK_CUR else self._file.size
        if base + offset < 0:
            raise ValueError(f"a place before the file's first byte: {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        found = self._file.read(self._at, len(buffer))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


class StoredFrames:
    """Frames that lie uncompressed in one or several files, at places that are known.

    Frames that lie behind each other are read by one call, small gaps between them included; much
    is read on all cores.  Safe to use from several threads.

    Parameters
    ----------
    files : sequence of PositionedFile
    shape : tuple of int
        Of one frame, C order: ``(rows, columns)``, or ``(rows, columns, values)`` where each pixel holds several.
    dtype : numpy.dtype
        As in the files, with their byte order.
    """

    def __init__(self, files: Sequence[PositionedFile], *, shape: tuple[int, ...], dtype: Any) -> None:
        self.files = tuple(files)
        self.shape = tuple(int(n) for n in shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._row_bytes: int = math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.shape[0] * self._row_bytes

    def read(
        self,
        offsets: Any,
        rows: slice = slice(None),
        columns: slice = slice(None),
        *,
        numbers: Any = 0,
        apply: Callable[[np.ndarray], object] | None = None,
    ) -> np.ndarray:
        """Return frames as a new array.

        Parameters
        ----------
        offsets : array of int
            The byte at which each frame begins in its file; in any order, with repeats.
        rows, columns : slice
            With step 1; rows that are not asked for are not read.
        numbers : int or array of int
            The file of each frame, by its place in ``files``.
        apply : callable, optional
            Changes an array ``(frames, rows, columns[, values])`` in native byte order in place, on the core that has just read it.

        Returns
        -------
        numpy.ndarray
            ``(frames, rows, columns[, values])``, native byte order.

        Raises
        ------
        TruncatedRecordingError
            A file ends before a frame does.
        """
        count = len(np.atleast_1d(np.asarray(offsets)))
        tall, wide = _length(_consecutive(rows, self.shape[0])), _length(_consecutive(columns, self.shape[1]))
        dtype = self.dtype if wide == self.shape[1] else self.dtype.newbyteorder("=")
        result = np.empty((count, tall, wide, *self.shape[2:]), dtype)
        self.read_into(result, offsets, rows, columns, numbers=numbers, apply=apply)
        return result.view(self.dtype.newbyteorder("="))

    def read_into(
        self,
        result: np.ndarray,
        offsets: Any,
        rows: slice = slice(None),
        columns: slice = slice(None),
        *,
        numbers: Any = 0,
        apply: Callable[[np.ndarray], object] | None = None,
    ) -> None:
        """Fill a C-contiguous array of the part's shape; of any byte order, its bytes become native ones.

        Parameters
        ----------
        result : numpy.ndarray
            ``(frames, rows, columns[, values])``.
        offsets, rows, columns, numbers, apply
            As for :meth:`read`.

        Raises
        ------
        TruncatedRecordingError
            A file ends before a frame does.
        """
        if not result.size:
            return
        places = np.atleast_1d(np.asarray(offsets, np.int64))
        owners = np.broadcast_to(np.asarray(numbers, np.int64), places.shape)
        top, cut = rows.indices(self.shape[0])[0], _consecutive(columns, self.shape[1])
        is_wide = _length(cut) == self.shape[1]
        self._fill(result, owners, places + top * self._row_bytes, None if is_wide else cut, apply)

    def close(self) -> None:
        """Release the files."""
        for file in self.files:
            file.close()

    def _fill(
        self,
        result: np.ndarray,
        owners: np.ndarray,
        places: np.ndarray,
        cut: slice | None,
        apply: Callable[[np.ndarray], object] | None,
    ) -> None:
        step = result.shape[1] * self._row_bytes
        pieces = self._pieces(owners, places, step, _PIECE_BYTES if cut is None else _MOST_SCRATCH_BYTES)
        cores = num_cores()
        total = len(places) * step
        if total < max(_PARALLEL_BYTES, len(pieces) * _PARALLEL_PIECE_BYTES) or len(pieces) < 2 or cores < 2:
            self._read_pieces(result, owners, places, pieces, cut, apply)
            return
        marks = [len(pieces) * k // cores for k in range(cores + 1)]
        run_on_cores(
            [
                functools.partial(self._read_pieces, result, owners, places, pieces[a:b], cut, apply)
                for a, b in itertools.pairwise(marks)
                if a < b
            ]
        )

    @staticmethod
    def _pieces(owners: np.ndarray, places: np.ndarray, step: int, nbytes: int) -> list[tuple[int, int]]:
        """Cut the frames into runs that one call can read: of one file, in order, with small gaps."""
        if len(places) == 1:
            return [(0, 1)]
        gaps = np.diff(places) - step
        apart = (np.diff(owners) != 0) | (gaps < 0) | (gaps > min(_MOST_GAP, max(4096, step)))
        cuts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(places)]
        most = max(1, nbytes // step)
        return [(a, min(a + most, end)) for start, end in itertools.pairwise(cuts) for a in range(start, end, most)]

    def _read_pieces(
        self,
        result: np.ndarray,
        owners: np.ndarray,
        places: np.ndarray,
        pieces: Sequence[tuple[int, int]],
        cut: slice | None,
        apply: Callable[[np.ndarray], object] | None,
    ) -> None:
        """Read some pieces one after the other; what is done to each is done while it is in the core's cache."""
        step = result.shape[1] * self._row_bytes
        most = 0 if cut is None else max(b - a for a, b in pieces)
        scratch = np.empty((most, result.shape[1], *self.shape[1:]), self.dtype)
        flat = _bytes_of(result if cut is None else scratch)
        native = self.dtype.newbyteorder("=")
        with contextlib.ExitStack() as stack:
            alone = stack.enter_context(self.files[0].held_open()) if len(self.files) == 1 else None
            for a, b in pieces:
                file, place, first = self.files[int(owners[a])], int(places[a]), a if cut is None else 0
                gaps = (np.diff(places[a:b]) - step).tolist() if b - a > 1 else []
                if any(gaps):
                    frames = (flat[k * step : (k + 1) * step] for k in range(first, first + b - a))
                    scraps = (bytearray(gap) for gap in gaps)
                    pairs = itertools.zip_longest(frames, scraps)
                    file.read_into([buffer for pair in pairs for buffer in pair if buffer is not None], place)
                elif alone is not None:
                    alone(flat[first * step : (first + b - a) * step], place)
                else:
                    file.read_into([flat[first * step : (first + b - a) * step]], place)
                part = result[a:b].view(native)
                if cut is not None:
                    part[...] = scratch[: b - a, :, cut]
                elif not self.dtype.isnative:
                    # Swapped while it is copied: faster than swapping in place
                    part[...] = result[a:b].view(self.dtype).copy()
                if apply is not None:
                    apply(part)


class StoredArray:
    """An array in one file, of which a part is read without reading much of the rest.

    For arrays whose frames are spread over the whole file.  By positioned reads and not by a memory map: a disk that
    fails, or a file that is cut while it is read, is then an error and not the end of the process.

    Parameters
    ----------
    file : PositionedFile
    shape : tuple of int
        C order, as in the file.
    dtype : numpy.dtype
        As in the file, with its byte order.
    offset : int
        The byte at which the array begins.
    """

    def __init__(self, file: PositionedFile, *, shape: tuple[int, ...], dtype: Any, offset: int = 0) -> None:
        self.file = file
        self.shape = tuple(int(n) for n in shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.offset = offset
        sizes = itertools.accumulate(reversed(self.shape[1:]), int.__mul__, initial=self.dtype.itemsize)
        self._steps = tuple(sizes)[::-1]

    def read(self, part: Sequence[slice | np.ndarray]) -> np.ndarray:
        """Return a part as a new array, in the order of the file's axes and native byte order.

        Parameters
        ----------
        part : sequence of slice or numpy.ndarray
            One an axis: a slice with ``0 <= start <= stop`` and step 1; one of them may be int64 indices in any order.

        Raises
        ------
        TruncatedRecordingError
            The file ends before the part does.
        """
        wanted = [_consecutive(p, n) for p, n in zip(part, self.shape, strict=True)]
        result = np.empty([_length(p) for p in wanted], self.dtype.newbyteorder("="))
        first, *rest = wanted
        if not result.size:
            return result
        if not isinstance(first, slice) or result.shape[0] * self._steps[0] < _PARALLEL_BYTES:
            self._fill(result, wanted)
            return result
        marks = [result.shape[0] * k // num_cores() for k in range(num_cores() + 1)]
        run_on_cores(
            [
                functools.partial(self._fill, result[a:b], [slice(first.start + a, first.start + b), *rest])
                for a, b in itertools.pairwise(marks)
                if a < b
            ]
        )
        return result

    def _fill(self, target: np.ndarray, wanted: Sequence[slice | np.ndarray]) -> None:
        """Read piece by piece through one buffer, which stays in the core's cache."""
        most = min(max(_LEAST_PIECE_BYTES, target.nbytes), _MOST_SCRATCH_BYTES)
        scratch = np.empty(0, self.dtype)
        for piece in self._pieces(target, wanted, 0, self.offset, most):
            count = math.prod(piece.shape)
            if len(scratch) < count:
                scratch = np.empty(count, self.dtype)
            self.file.read_into([scratch[:count]], piece.offset)
            piece.target[piece.place] = scratch[:count].reshape(piece.shape)[piece.among]

    def _pieces(
        self, target: np.ndarray, wanted: Sequence[slice | np.ndarray], level: int, start: int, most: int
    ) -> Iterator[_PieceOfArray]:
        """Yield what is read at once, of at most so many bytes where that can be."""
        step, inside, below = self._steps[level], wanted[level + 1 :], self.shape[level + 1 :]
        kept, size = math.prod(map(_length, inside)), math.prod(below)
        if inside and step > (most if kept == size else _MOST_GAP):
            here = wanted[level]
            indices = range(here.start, here.stop) if isinstance(here, slice) else here.tolist()
            for place, index in zip(target, indices, strict=True):
                yield from self._pieces(place, wanted, level + 1, start + index * step, most)
            return
        for place, first, last, among in _runs(wanted[level], step, most):
            yield _PieceOfArray(target, place, start + first * step, (last - first, *below), (among, *inside))


class _PieceOfArray(NamedTuple):
    """Where a piece goes, where it lies, its shape there, and what of it is wanted."""

    target: np.ndarray
    place: Any
    offset: int
    shape: tuple[int, ...]
    among: tuple[Any, ...]


@overload
def _consecutive(part: slice, length: int) -> slice: ...


@overload
def _consecutive(part: slice | np.ndarray, length: int) -> slice | np.ndarray: ...


def _consecutive(part: slice | np.ndarray, length: int) -> slice | np.ndarray:
    if isinstance(part, slice):
        start, stop, _ = part.indices(length)
        return slice(start, max(start, stop))
    alike = len(part) and (np.diff(part) == 1).all()
    return slice(int(part[0]), int(part[-1]) + 1) if alike else part


def _length(part: slice | np.ndarray) -> int:
    return int(part.stop - part.start) if isinstance(part, slice) else len(part)


def _runs(part: slice | np.ndarray, step: int, nbytes: int) -> Iterator[tuple[Any, int, int, Any]]:
    """Cut indices into runs that one call can read: their places in the result, first, last (exclusive), and where in the run."""
    most = max(1, nbytes // step)
    if isinstance(part, slice):
        for first in range(part.start, part.stop, most):
            last = min(first + most, part.stop)
            yield slice(first - part.start, last - part.start), first, last, slice(None)
        return
    order = np.argsort(part, kind="stable")
    ranked = part[order]
    apart = np.flatnonzero((np.diff(ranked) - 1) * step > _MOST_GAP) + 1
    for a, b in itertools.pairwise([0, *apart.tolist(), len(ranked)]):
        while a < b:
            first = int(ranked[a])
            end = a + int(np.searchsorted(ranked[a:b], first + most))
            yield order[a:end], first, int(ranked[end - 1]) + 1, ranked[a:end] - first
            a = end


def _bytes_of(array: np.ndarray) -> memoryview:
    if not array.flags.c_contiguous:
        raise ValueError("the array to fill must be C-contiguous")
    if array.nbytes == 0:
        return memoryview(b"")
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


if _HAS_PREADV:

    def _pread_into(descriptor: int, views: Sequence[Any], offset: int) -> int:
        return os.preadv(descriptor, views, offset)

else:  # Windows: no positioned read, so one seek and read at a time
    _SEEK_LOCK = threading.Lock()

    def _pread_into(descriptor: int, views: Sequence[Any], offset: int) -> int:
        total = 0
        with _SEEK_LOCK, open(descriptor, "rb", buffering=0, closefd=False) as stream:
            stream.seek(offset)
            for view in views:
                got = stream.readinto(view) or 0
                total += got
                if got < len(view):
                    break
        return total


class _Descriptor:
    __slots__ = ("descriptor", "dropped", "identity", "users")

    def __init__(self, path: str) -> None:
        self.users = 0
        self.dropped = False
        self.descriptor = _open(path)
        self.identity = _identity(os.fstat(self.descriptor))

    def is_what_the_path_names(self, path: str) -> bool:
        try:
            return _identity(os.stat(path)) == self.identity
        except OSError:
            return False


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _open(path: str) -> int:
    try:
        return os.open(path, _FLAGS)
    except OSError as error:
        raise _not_opened(path, error) from error


def _not_read(path: str, error: Exception) -> SourceReadError:
    return SourceReadError(f"{printable(path)} could not be read: {getattr(error, 'strerror', None) or error}")


def _not_opened(path: str, error: OSError) -> SourceError:
    """Return the error that says why a file cannot be opened."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SourceNotFoundError(f"{printable(path)} is not there any more")
    if isinstance(error, PermissionError):
        return SourcePermissionError(f"{printable(path)} may not be read: {error.strerror}")
    return SourceReadError(f"{printable(path)} could not be opened: {error.strerror or error}")


class _Descriptors:
    """The few descriptors that are open, the least recently used closed first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Descriptor] = OrderedDict()
        self._late: deque[str] = deque()

    def take(self, path: str, *, fresh: bool = False) -> _Descriptor:
        with self._lock:
            while self._late:
                self._forget(self._late.popleft())
            entry = self._open.get(path)
            if entry is not None and fresh and not entry.is_what_the_path_names(path):
                self._forget(path)
                entry = None
            if entry is None:
                entry = self._open[path] = self._opened(path)
            self._open.move_to_end(path)
            entry.users += 1
            if len(self._open) > self._most:
                self._close_unused(len(self._open) - self._most)
            return entry

    def give_back(self, entry: _Descriptor) -> None:
        with self._lock:
            entry.users -= 1
            if entry.dropped and not entry.users:
                os.close(entry.descriptor)

    def drop(self, path: str) -> None:
        with self._lock:
            self._forget(path)

    def drop_when_free(self, path: str) -> None:
        """Drop from a finalizer, which can run in the middle of any of these calls, on the same thread."""
        if not self._lock.acquire(blocking=False):
            self._late.append(path)
            return
        try:
            self._forget(path)
        finally:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on in a child, where the threads that were reading are no more.

        To hold the lock while a process is forked would be to wait for threads that wait for another library's, as h5py's.
        """
        self._lock = threading.Lock()
        for entry in self._open.values():
            entry.users = 0

    def _opened(self, path: str) -> _Descriptor:
        try:
            return _Descriptor(path)
        except SourceReadError as error:
            if getattr(error.__cause__, "errno", None) not in (errno.EMFILE, errno.ENFILE):
                raise
        self._close_unused(len(self._open))
        return _Descriptor(path)

    def _close_unused(self, count: int) -> None:
        for path in [path for path, entry in self._open.items() if not entry.users][:count]:
            self._forget(path)

    def _forget(self, path: str) -> None:
        entry = self._open.pop(path, None)
        if entry is not None:
            entry.dropped = True
            if not entry.users:
                os.close(entry.descriptor)


_DESCRIPTORS = _Descriptors(most=32)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_DESCRIPTORS.after_fork_in_child)

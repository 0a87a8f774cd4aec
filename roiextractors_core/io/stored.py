"""Uncompressed frames and arrays at known offsets in files."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from ..errors import TruncatedRecordingError
from .positioned import PARALLEL_BYTES, PositionedFile, bytes_of
from .threads import num_cores, run_on_cores

__all__ = ["StoredArray", "StoredFrames", "as_native"]

_PARALLEL_PIECE_BYTES = 128 << 10  # threads that make shorter calls wait for each other
_PIECE_BYTES = 4 << 20  # read by one call: small enough to be in the cache for the next step
_MIN_PIECE_BYTES = 128 << 10  # read at least this much where only a little of it is needed
_MAX_SCRATCH_BYTES = 1 << 20  # a cropped piece is copied while it is in the cache
_COMPARED_PIXELS = 1 << 15  # of a frame, to see how long its lines are
_MAX_GAP = 1 << 16  # a smaller gap between frames is read and dropped rather than skipped
_SWAP_BYTES = 1 << 16  # a block that is swapped in the cache; malloc asks the system anew for each one of 128 KiB
_EVERYTHING = (slice(None), slice(None))


class StoredFrames:
    """Uncompressed frames in one or several files, at known offsets.

    Consecutive frames are read by one call, small gaps between them included; large reads use
    all cores.  Safe to use from several threads.

    Parameters
    ----------
    files : sequence of PositionedFile
    shape : tuple of int
        Shape of one frame in C order: ``(rows, columns)``, or ``(rows, columns, values)`` with several values per pixel.
    dtype : numpy.dtype
        As in the files, with its byte order.
    """

    def __init__(self, files: Sequence[PositionedFile], *, shape: tuple[int, ...], dtype: Any) -> None:
        self.files = tuple(files)
        self.shape = tuple(int(n) for n in shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._native = self.dtype.newbyteorder("=")
        self._row_bytes: int = math.prod(self.shape[1:]) * self.dtype.itemsize
        self._whole = tuple(slice(0, n) for n in self.shape[:2])

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
            Offset of each frame in its file, in bytes; in any order, with repeats.
        rows, columns : slice
            With step 1; only the requested rows are read.
        numbers : int or array of int
            The file of each frame, as an index into ``files``.
        apply : callable, optional
            Modifies an array ``(frames, rows, columns[, values])`` in native byte order in place, on the core that has just read it.

        Returns
        -------
        numpy.ndarray
            ``(frames, rows, columns[, values])``, native byte order.

        Raises
        ------
        TruncatedRecordingError
            A file ends before a frame does.
        """
        places = np.asarray(offsets, np.int64)
        if places.size == 1 and apply is None and (rows, columns) in (self._whole, _EVERYTHING):
            # Single frames of players and loops, for which all that follows would take longer than the read
            return self._read_one(places.item(), numbers if type(numbers) is int else np.asarray(numbers).item())
        count = places.size
        tall, wide = _length(_consecutive(rows, self.shape[0])), _length(_consecutive(columns, self.shape[1]))
        result = np.empty((count, tall, wide, *self.shape[2:]), self._native)
        self.read_into(result, places, rows, columns, numbers=numbers, apply=apply)
        return result

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
        """Fill a C-contiguous array of the part's shape; its bytes are native whatever byte order its dtype says.

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

    def _read_one(self, place: int, number: int) -> np.ndarray:
        """Read one whole frame."""
        result = np.empty((1, *self.shape), self._native)
        if not self.dtype.isnative:
            block = _swap_block(self.dtype, result.nbytes)
            _read_swapped(self.files[number].hold_open(), result, block, place)
        else:
            self.files[number].read_into([result], place)
        return result

    def looks_transposed(self, offsets: Sequence[int], *, number: int = 0) -> bool:
        """Return whether the pixels show that rows and columns are swapped: that lines have as many pixels as there are rows.

        The values of a line resemble those of the next line, so that their covariance peaks where they are one line apart.
        A peak at the number of rows, and none at the number of columns, cannot come from the image.

        Parameters
        ----------
        offsets : sequence of int
            Offsets of some frames in the file, in bytes; a part of each is read.
        number : int
            Index into ``files``.
        """
        rows, columns = self.shape[:2]
        if len(self.shape) != 2 or rows == columns or min(rows, columns) < 5 or self.dtype.kind not in "iuf":
            return False
        count = rows * columns
        size = min(count, max(_COMPARED_PIXELS, 4 * max(rows, columns))) * self.dtype.itemsize
        middle = (count * self.dtype.itemsize - size) // 2 // self.dtype.itemsize * self.dtype.itemsize
        parts = [
            np.frombuffer(self.files[number].read(offset + middle, size), self.dtype).astype(np.float64)
            for offset in offsets
        ]
        if any(len(part) * self.dtype.itemsize < size or not np.isfinite(part).all() for part in parts):
            return False
        error = sum(_covariance(part, 0) for part in parts) / len(parts) / math.sqrt(sum(map(len, parts)))
        seen, stated = _prominence(parts, rows), _prominence(parts, columns)
        return bool(seen > 8 * error and stated < 0.25 * seen)

    def count_written(self, count: int, *, offset: int = 0, number: int = 0) -> int:
        """Return how many of the frames that follow each other come before zeros at the end of the file.

        Only whole frames of zeros count as never written, and the frame before them if its last rows are zeros, unless those
        of the frame before are zeros, too.  If all frames are zeros, nothing shows where a recording ended.

        Parameters
        ----------
        count : int
            The frames in the file.
        offset : int
            Offset of the first one, in bytes.
        number : int
            Index into ``files``.

        Returns
        -------
        int
            ``count`` unless there are zeros at the end.
        """
        file, end = self.files[number], offset + count * self.frame_bytes
        last = file.end_of_data(offset, end)
        if last == offset or end - last < self.frame_bytes:
            return count
        whole, begun = divmod(last - offset, self.frame_bytes)
        if begun == 0:
            return whole
        # Black pixels at the end of a frame are no evidence if the frame before has them as well
        row = file.read(offset + whole * self.frame_bytes - self._row_bytes, self._row_bytes) if whole else b""
        is_cut = self.frame_bytes - begun >= self._row_bytes and bool(row.strip(b"\0"))
        return whole if is_cut else whole + 1

    def close(self) -> None:
        """Close the files."""
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
        pieces = self._pieces(owners, places, step, _PIECE_BYTES if cut is None else _MAX_SCRATCH_BYTES)
        plan = _Plan(self.files, self.dtype, result, owners, places, step, cut, apply)
        cores = num_cores()
        total = len(places) * step
        # Short calls, or little in all: starting threads takes longer than reading
        if total < max(PARALLEL_BYTES, len(pieces) * _PARALLEL_PIECE_BYTES) or len(pieces) < 2 or cores < 2:
            plan.read(pieces)
            return
        marks = [len(pieces) * k // cores for k in range(cores + 1)]
        run_on_cores([functools.partial(plan.read, pieces[a:b]) for a, b in itertools.pairwise(marks) if a < b])

    @staticmethod
    def _pieces(owners: np.ndarray, places: np.ndarray, step: int, nbytes: int) -> list[tuple[int, int]]:
        """Group the frames into runs that one call can read: of one file, in order, with small gaps."""
        if len(places) == 1:
            return [(0, 1)]
        gaps = np.diff(places) - step
        # A gap as long as a page (4 KiB) or a frame costs less to read than a second call; larger ones up to _MAX_GAP
        apart = (np.diff(owners) != 0) | (gaps < 0) | (gaps > min(_MAX_GAP, max(4096, step)))
        cuts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(places)]
        most = max(1, nbytes // step)
        if len(cuts) > len(places):  # parts of frames, which are all apart
            return list(itertools.pairwise(cuts))
        return [(a, min(a + most, end)) for start, end in itertools.pairwise(cuts) for a in range(start, end, most)]


class _Plan(NamedTuple):
    """One read of frames: where they come from, where they go, and what is done to them on the way.

    Frames of their full width are read straight into the result.  Cropped ones are read into a scratch array of one or
    several pieces and copied from there, while it is in the cache of the core.
    """

    files: tuple[PositionedFile, ...]
    dtype: np.dtype[Any]
    result: np.ndarray
    owners: np.ndarray
    places: np.ndarray
    step: int
    cut: slice | None
    apply: Callable[[np.ndarray], object] | None

    def read(self, pieces: Sequence[tuple[int, int]]) -> None:
        """Read some pieces, one after the other; they follow each other in the result."""
        if self.cut is None:
            self._read_whole(pieces)
        else:
            self._read_cut(pieces, self._scratch(pieces))

    def _read_whole(self, pieces: Sequence[tuple[int, int]]) -> None:
        """Read frames of their full width, straight into the result unless their bytes have to be swapped."""
        flat, step, native = bytes_of(self.result), self.step, self.dtype.newbyteorder("=")
        alone = self._hold_open()
        block = None if self.dtype.isnative else _swap_block(self.dtype, (pieces[-1][1] - pieces[0][0]) * step)
        for a, b in pieces:
            gaps = self._gaps(a, b) if b - a > 1 else None
            if gaps is not None:
                self._read_over_gaps(flat[a * step : b * step], gaps, a)
                as_native(self.result[a:b].view(self.dtype))
            else:
                read, place = alone or self.files[int(self.owners[a])].hold_open(), int(self.places[a])
                if block is None:
                    read(flat[a * step : b * step], place)
                else:
                    _read_swapped(read, self.result[a:b].view(native), block, place)
            if self.apply is not None:
                self.apply(self.result[a:b].view(native))

    def _read_cut(self, pieces: Sequence[tuple[int, int]], scratch: np.ndarray) -> None:
        """Read the rows of parts of frames, and copy the columns."""
        step, flat, alone = self.step, bytes_of(scratch), self._hold_open()
        first, end = pieces[0][0], pieces[-1][1]  # first: the frame at the beginning of the scratch array
        if alone is not None and len(pieces) == end - first:  # frames that are far apart
            rooms = [flat[k * step : (k + 1) * step] for k in range(len(scratch))]
            for a in range(first, end, len(scratch)):
                places = self.places[a : min(a + len(scratch), end)].tolist()
                self.files[0].read_each(rooms[: len(places)], places)
                self._cut(a, a + len(places), scratch)
            return
        for a, b in pieces:
            if b - first > len(scratch):
                self._cut(first, a, scratch)
                first = a
            buffer = flat[(a - first) * step : (b - first) * step]
            gaps = self._gaps(a, b) if b - a > 1 else None
            if gaps is not None:
                self._read_over_gaps(buffer, gaps, a)
            else:
                (alone or self.files[int(self.owners[a])].hold_open())(buffer, int(self.places[a]))
        self._cut(first, end, scratch)

    def _hold_open(self) -> Callable[[memoryview, int], None] | None:
        """Take the descriptor once for all pieces where there is one file: single frames of small movies need it."""
        return self.files[0].hold_open() if len(self.files) == 1 else None

    def _scratch(self, pieces: Sequence[tuple[int, int]]) -> np.ndarray:
        # Cutting takes numpy as long to begin as to do, so it is done once for several pieces of single frames
        most = min(pieces[-1][1] - pieces[0][0], _MAX_SCRATCH_BYTES // self.step)
        most = max(most, *(b - a for a, b in pieces))
        rows, inner = self.result.shape[1], self.result.shape[3:]
        width = self.step // (rows * math.prod(inner) * self.dtype.itemsize)
        return np.empty((most, rows, width, *inner), self.dtype)

    def _gaps(self, a: int, b: int) -> list[int] | None:
        gaps: list[int] = (np.diff(self.places[a:b]) - self.step).tolist()
        return gaps if any(gaps) else None

    def _read_over_gaps(self, buffer: memoryview, gaps: Sequence[int], a: int) -> None:
        """Read frames and the bytes between them with one call; the latter go to buffers that are dropped."""
        frames = (buffer[k * self.step : (k + 1) * self.step] for k in range(len(gaps) + 1))
        dropped = (bytearray(gap) for gap in gaps)
        pairs = itertools.zip_longest(frames, dropped)
        buffers = [part for pair in pairs for part in pair if part is not None]
        self.files[int(self.owners[a])].read_into(buffers, int(self.places[a]))

    def _cut(self, a: int, b: int, scratch: np.ndarray) -> None:
        # The dtype of the result may name the file's byte order, which its bytes have no longer after this step
        part = self.result[a:b].view(self.dtype.newbyteorder("="))
        part[...] = scratch[: b - a, :, self.cut]
        if self.apply is not None:
            self.apply(part)


def as_native(array: np.ndarray) -> np.ndarray:
    """Return a C-contiguous array in native byte order; its bytes are swapped in place.

    Parameters
    ----------
    array : numpy.ndarray
        In the byte order of a file. Do not use it afterwards: its dtype no longer describes its bytes.
    """
    if array.dtype.isnative:
        return array
    if not array.flags.c_contiguous:  # reshape would copy it
        raise ValueError("the array whose bytes are swapped must be C-contiguous")
    stored = array.reshape(-1)
    native = stored.view(stored.dtype.newbyteorder("="))

    def swap(start: int, end: int) -> None:
        # By two copies, which are three times as fast as byteswap(inplace=True)
        room = _swap_block(stored.dtype, 0)
        for k in range(start, end, len(room)):
            part = room[: min(len(room), end - k)]
            part[...] = stored[k : k + len(part)]
            native[k : k + len(part)] = part

    cores = num_cores() if array.nbytes >= PARALLEL_BYTES else 1
    marks = [len(stored) * k // cores for k in range(cores + 1)]
    run_on_cores([functools.partial(swap, a, b) for a, b in itertools.pairwise(marks)])
    return array.view(native.dtype)


def _swap_block(dtype: np.dtype[Any], nbytes: int) -> np.ndarray:
    size = _SWAP_BYTES if nbytes < _PIECE_BYTES else _MAX_SCRATCH_BYTES
    return np.empty(max(1, size // dtype.itemsize), dtype)


def _read_swapped(read: Callable[[memoryview, int], None], target: np.ndarray, block: np.ndarray, offset: int) -> None:
    """Fill an array in native byte order block by block, each of which is swapped while it is in the cache."""
    flat, raw, size = target.reshape(-1), bytes_of(block), block.dtype.itemsize
    try:
        for k in range(0, len(flat), len(block)):
            count = min(len(block), len(flat) - k)
            read(raw[: count * size], offset + k * size)
            flat[k : k + count] = block[:count]
    except TruncatedRecordingError:
        read(bytes_of(target), offset)  # its error counts all bytes instead of those of one block
        raise


class StoredArray:
    """An uncompressed array in one file, of which parts are read without reading much of the rest.

    For arrays whose frames are spread over the whole file.  It uses positioned reads rather than a memory map, because a
    failing disk, or a file truncated while it is read, then raises an error instead of killing the process.

    Parameters
    ----------
    file : PositionedFile
    shape : tuple of int
        In C order, as in the file.
    dtype : numpy.dtype
        As in the file, with its byte order.
    offset : int
        Position of the array in the file, in bytes.
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
            One per axis: a slice with ``0 <= start <= stop`` and step 1; one of them may be int64 indices in any order.

        Raises
        ------
        TruncatedRecordingError
            The file ends before the part does.
        """
        selection = [_consecutive(p, n) for p, n in zip(part, self.shape, strict=True)]
        result = np.empty([_length(p) for p in selection], self.dtype.newbyteorder("="))
        first, *rest = selection
        if not result.size:
            return result
        if not isinstance(first, slice) or result.shape[0] * self._steps[0] < PARALLEL_BYTES:
            self._fill(result, selection)
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

    def _fill(self, target: np.ndarray, selection: Sequence[slice | np.ndarray]) -> None:
        """Read piece by piece through one buffer, which stays in the cache."""
        most = min(max(_MIN_PIECE_BYTES, target.nbytes), _MAX_SCRATCH_BYTES)
        scratch = np.empty(0, self.dtype)
        for piece in self._pieces(target, selection, 0, self.offset, most):
            count = math.prod(piece.shape)
            if len(scratch) < count:
                scratch = np.empty(count, self.dtype)
            self.file.read_into([scratch[:count]], piece.offset)
            piece.target[piece.place] = scratch[:count].reshape(piece.shape)[piece.among]

    def _pieces(
        self, target: np.ndarray, selection: Sequence[slice | np.ndarray], level: int, start: int, most: int
    ) -> Iterator[_PieceOfArray]:
        """Yield the pieces that are read at once, of at most ``most`` bytes where possible."""
        step, inside, below = self._steps[level], selection[level + 1 :], self.shape[level + 1 :]
        kept, size = math.prod(map(_length, inside)), math.prod(below)
        # Descend an axis where reading a whole step would read more of what is not needed than a skip costs
        if inside and step > (most if kept == size else _MAX_GAP):
            here = selection[level]
            indices = range(here.start, here.stop) if isinstance(here, slice) else here.tolist()
            for place, index in zip(target, indices, strict=True):
                yield from self._pieces(place, selection, level + 1, start + index * step, most)
            return
        for place, first, last, among in _runs(selection[level], step, most):
            yield _PieceOfArray(target, place, start + first * step, (last - first, *below), (among, *inside))


class _PieceOfArray(NamedTuple):
    """A piece: its place in the result, its offset and shape in the file, and the part of it that is needed."""

    target: np.ndarray
    place: Any
    offset: int
    shape: tuple[int, ...]
    among: tuple[Any, ...]


def _prominence(parts: Sequence[np.ndarray], lag: int) -> float:
    """Return by how much the covariance at a lag is above those somewhat before and after it."""
    beside = max(1, min(lag // 4, 6))
    at, before, after = (
        sum(_covariance(part, k) for part in parts) / len(parts) for k in (lag, lag - beside, lag + beside)
    )
    return at - max(before, after)


def _covariance(values: np.ndarray, lag: int) -> float:
    centred = values - values.mean()
    return float((centred[lag:] * centred[: len(centred) - lag]).mean()) if len(values) > lag else 0.0


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
    """Group indices into runs that one call can read: their places in the result, first, last (exclusive), and their places in the run."""
    most = max(1, nbytes // step)
    if isinstance(part, slice):
        for first in range(part.start, part.stop, most):
            last = min(first + most, part.stop)
            yield slice(first - part.start, last - part.start), first, last, slice(None)
        return
    # In the order of the file, so that near indices share a read even if they were asked for far apart
    order = np.argsort(part, kind="stable")
    ranked = part[order]
    apart = np.flatnonzero((np.diff(ranked) - 1) * step > _MAX_GAP) + 1
    for a, b in itertools.pairwise([0, *apart.tolist(), len(ranked)]):
        while a < b:
            first = int(ranked[a])
            end = a + int(np.searchsorted(ranked[a:b], first + most))
            yield order[a:end], first, int(ranked[end - 1]) + 1, ranked[a:end] - first
            a = end

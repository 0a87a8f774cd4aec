"""Reads parts of an array that is stored in chunks: each chunk once, on all cores, keeping the few decoded last.

:class:`ChunkGrid` is the same for every format; a :class:`ChunkSource` is what a format adds to it.
"""

from __future__ import annotations

import functools
import itertools
import math
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from ..errors import UnsupportedRecordingError, printable
from .locks import ProcessLock
from .threads import num_cores, run_on_cores

__all__ = [
    "RECENT_CHUNKS",
    "Box",
    "Cell",
    "ChunkGrid",
    "ChunkSource",
    "Part",
    "Piece",
    "RecentChunks",
    "require_few_chunks",
    "sample_pieces",
    "share_out",
]

PARALLEL_BYTES = 1 << 20  # below this, starting threads costs more than it gains
_PARALLEL_COPY = 256 << 10  # the same for a chunk whose bytes are only copied
_MAX_CHUNKS_A_SAMPLE = 1 << 17
_MAX_CELLS_AT_ONCE = 1 << 17  # the lists of chunks and their parts of one pass take up to about 1 KB for each

Box = tuple[tuple[int, int], ...]
Piece = tuple[np.ndarray, Box]
Cell = tuple[int, ...]
Part = tuple[np.ndarray, tuple[slice, ...]]
_Share = tuple[np.ndarray, tuple[slice, ...], tuple[slice, ...]]  # a target, its part, and the part of a chunk
Place = TypeVar("Place")


class ChunkSource(Protocol[Place]):
    """The chunks of one array, as a format stores them: the part of reading that a :class:`ChunkGrid` leaves to the format.

    During one :meth:`ChunkGrid.fill`, ``locate`` is called once, on the caller's thread.  Then, for each chunk and on any number
    of threads, ``fill`` is called; where it returns False, ``decode`` is called and the grid copies out the parts.  A source needs
    no state of its own: whatever ``locate`` found out about a chunk is passed on as its place.
    """

    @property
    def is_encoded(self) -> bool:
        """Whether reading a chunk takes more than copying bytes.

        Where it does not, several threads that share small chunks wait for each other more than they work.
        """

    def locate(self, cells: Sequence[Cell]) -> Sequence[Place]:
        """Return where each chunk is stored.

        Parameters
        ----------
        cells : sequence of tuple of int
            The positions of the chunks in the grid.

        Returns
        -------
        sequence
            One place for each cell, in the same order; of any type.
        """

    def fill(self, place: Place, parts: Sequence[Part]) -> bool:
        """Fill the parts directly where that is cheaper than decoding the whole chunk.

        A chunk that was never written, is stored as plain bytes, or can be decoded into the one part that takes all of it, needs
        no array of its own.

        Parameters
        ----------
        place : object
            From ``locate``.
        parts : sequence of (numpy.ndarray, tuple of slice)
            The arrays to fill, and the slices of the chunk that go there.

        Returns
        -------
        bool
            False where the parts were not (or not all) filled; the chunk is then decoded.
        """

    def decode(self, place: Place) -> np.ndarray:
        """Return the whole chunk in a new array of the grid's chunk shape and dtype."""


class ChunkGrid:
    """An array stored in chunks of one shape, read in parts.

    A :class:`ChunkSource` knows where the chunks are and how to decode them.  The grid knows which chunks a part touches and where
    in each; it decodes on all cores, and it keeps decoded chunks that contain more than was asked for, so that reading frame by
    frame, or one corner again and again, does not decode the same chunk each time.

    Parameters
    ----------
    shape : tuple of int
        Of the array, as stored.
    chunk : tuple of int
        Of a chunk; chunks at the edges reach beyond the array.
    dtype : numpy.dtype
        As stored.
    """

    def __init__(self, shape: tuple[int, ...], chunk: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.chunk = shape, chunk
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.nbytes: int = math.prod(chunk) * self.dtype.itemsize
        self._owner = RECENT_CHUNKS.new_owner()
        weakref.finalize(self, RECENT_CHUNKS.forget, self._owner)

    def fill(self, pieces: Sequence[Piece], source: ChunkSource[Any]) -> None:
        """Fill pieces of a result; each chunk is read once, however many pieces have a part in it.

        Parameters
        ----------
        pieces : sequence of (numpy.ndarray, box)
            The array to fill, and the box of the stored array that goes there: ``(start, stop)`` for each axis.
        source : ChunkSource
            Reads the chunks.
        """
        for some in self._batches(pieces):
            self._fill_some(some, source)

    def _batches(self, pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
        """Yield the pieces in runs that touch a limited number of chunks; all at once unless there are very many."""
        if len(pieces) * self._num_cells <= _MAX_CELLS_AT_ONCE:
            yield list(pieces)
            return
        batch: list[Piece] = []
        total = 0
        for piece in pieces:
            for part in self._split(piece):
                count = self._count(part[1])
                if batch and total + count > _MAX_CELLS_AT_ONCE:
                    yield batch
                    batch, total = [], 0
                batch.append(part)
                total += count
        if batch:
            yield batch

    def _split(self, piece: Piece) -> Iterator[Piece]:
        """Yield a piece in parts, cut between chunks of its longest axis, that touch a limited number of chunks each."""
        target, box = piece
        if self._count(box) <= _MAX_CELLS_AT_ONCE:
            yield piece
            return
        counts = [len(cells) for cells in self._ranges(box)]
        axis = counts.index(max(counts))
        start, stop = box[axis]
        middle = (start // self.chunk[axis] + counts[axis] // 2) * self.chunk[axis]
        for a, b in ((start, middle), (middle, stop)):
            part = target[(slice(None),) * axis + (slice(a - start, b - start),)]
            yield from self._split((part, (*box[:axis], (a, b), *box[axis + 1 :])))

    @functools.cached_property
    def _num_cells(self) -> int:
        return self._count(tuple((0, n) for n in self.shape))

    def _count(self, box: Box) -> int:
        """Return how many chunks a box touches; a loop, because reads of single frames spend their time here."""
        count = 1
        for (a, b), c in zip(box, self.chunk, strict=True):
            count *= -(-b // c) - a // c
        return count

    def _ranges(self, box: Box) -> list[range]:
        return [range(a // c, -(-b // c)) for (a, b), c in zip(box, self.chunk, strict=True)]

    def _fill_some(self, pieces: Sequence[Piece], source: ChunkSource[Any]) -> None:
        parts_of = self._parts_by_cell(pieces)
        cells = [cell for cell, mine in parts_of.items() if not self._fill_from_kept(cell, mine)]
        if not cells:
            return
        # Chunks of one read that exceed the memory for kept chunks would only push each other out before they are used again.
        keeps = self.nbytes * len(cells) <= RECENT_CHUNKS.max_bytes

        def read(chunks: Sequence[tuple[Cell, Any]]) -> None:
            for cell, place in chunks:
                parts = [(target[outside], inside) for target, outside, inside in parts_of[cell]]
                if source.fill(place, parts):
                    continue
                pixels = source.decode(place)
                for part, inside in parts:
                    part[...] = pixels[inside]
                if keeps and self._has_pixels_left(cell, parts):
                    RECENT_CHUNKS.keep(self._owner, cell, pixels)

        pays = source.is_encoded or self.nbytes >= _PARALLEL_COPY
        chunks = list(zip(cells, source.locate(cells), strict=True))
        share_out(chunks, read, pays and self.nbytes * len(cells) >= PARALLEL_BYTES)

    def forget(self) -> None:
        """Forget the chunks that are kept."""
        RECENT_CHUNKS.forget(self._owner)

    def is_whole(self, parts: Sequence[Part]) -> bool:
        """Return whether there is one part, as large as a chunk and C-contiguous, so that a chunk can be decoded into it."""
        return len(parts) == 1 and parts[0][0].nbytes == self.nbytes and parts[0][0].flags.c_contiguous

    def _parts_by_cell(self, pieces: Sequence[Piece]) -> dict[Cell, list[_Share]]:
        """Return what each chunk fills: an array, the part of it, and the part of the chunk that goes there."""
        parts_of: dict[Cell, list[_Share]] = {}
        for target, box in pieces:
            # Computed per axis rather than per chunk: reading a few pixels of many chunks spends most of its time here
            axes = [list(_along(c, start, stop)) for (start, stop), c in zip(box, self.chunk, strict=True)]
            for steps in itertools.product(*axes):
                cell, outside, inside = zip(*steps, strict=True)
                parts_of.setdefault(cell, []).append((target, outside, inside))
        return parts_of

    def _fill_from_kept(self, cell: Cell, parts: Sequence[_Share]) -> bool:
        """Fill the parts from a chunk that is still kept; return whether it is."""
        pixels = RECENT_CHUNKS.get(self._owner, cell)
        if pixels is None:
            return False
        for target, outside, inside in parts:
            target[outside] = pixels[inside]
        return True

    def _has_pixels_left(self, cell: Cell, parts: Sequence[Part]) -> bool:
        """Return whether a chunk contains pixels of the array that were not asked for.

        Indices that name a sample twice count it twice; a chunk is then at worst not kept.
        """
        there = [min(c, n - k * c) for k, c, n in zip(cell, self.chunk, self.shape, strict=True)]
        return sum(part.size for part, _ in parts) < math.prod(there)


def _along(length: int, start: int, stop: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield the chunks of one axis that a range touches: the number, and its place in the range and in the chunk."""
    for k in range(start // length, -(-stop // length)):
        low, high = max(start, k * length), min(stop, (k + 1) * length)
        yield k, slice(low - start, high - start), slice(low - k * length, high - k * length)


def require_few_chunks(
    where: str, lengths: Sequence[int], chunk: Sequence[int], *, limit: int = _MAX_CHUNKS_A_SAMPLE
) -> None:
    """Raise if a sample is spread over so many chunks that reading it takes longer than any use of it allows.

    Parameters
    ----------
    where : str
        The array's name, for the message.
    lengths, chunk : sequence of int
        Of the array and of a chunk, along the axes of a sample (without that of time).
    limit : int
        Chunks that a sample may have.

    Raises
    ------
    UnsupportedRecordingError
    """
    count = math.prod(-(-n // max(1, c)) for n, c in zip(lengths, chunk, strict=True))
    if count > limit:
        raise UnsupportedRecordingError(
            f"{printable(where)} stores each sample in {count:,} chunks of {' x '.join(map(str, chunk))} pixels; at most {limit:,} "
            "are read. Write it again with larger chunks"
        )


def sample_pieces(
    stored: np.ndarray, axis: int, samples: slice | np.ndarray, box: Sequence[tuple[int, int]]
) -> list[Piece]:
    """Return each run of consecutive samples: its part of the result, and its box in the stored array.

    Parameters
    ----------
    stored : numpy.ndarray
        The result, in the order of the stored axes.
    axis : int
        The axis of the samples.
    samples : slice or numpy.ndarray
        With ``0 <= start <= stop`` and step 1, or indices in any order.
    box : sequence of (int, int)
        Start and stop for every axis; the entry of the samples is ignored.
    """
    pieces: list[Piece] = []
    at = 0
    for start, stop in [(samples.start, samples.stop)] if isinstance(samples, slice) else _runs(samples):
        part = stored[(slice(None),) * axis + (slice(at, at + stop - start),)]
        pieces.append((part, (*box[:axis], (start, stop), *box[axis + 1 :])))
        at += stop - start
    return pieces


def _runs(indices: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(indices) != 1) + 1
    starts = indices[np.concatenate([[0], edges]).astype(np.int64)] if len(indices) else indices
    lengths = np.diff(np.concatenate([[0], edges, [len(indices)]])) if len(indices) else indices
    return [(int(a), int(a + n)) for a, n in zip(starts, lengths, strict=True)]


def share_out(items: Sequence[Any], work: Callable[[Sequence[Any]], None], pays: bool) -> None:
    """Do the work on all items; where it pays, in one equal run of items for each core."""
    parts = min(num_cores(), len(items)) if pays else 1
    if parts < 2:
        work(items)
        return
    cut = [len(items) * k // parts for k in range(parts + 1)]
    run_on_cores([_call(work, items[a:b]) for a, b in itertools.pairwise(cut)])


def _call(work: Callable[[Sequence[Any]], None], items: Sequence[Any]) -> Callable[[], None]:
    return lambda: work(items)


class RecentChunks:
    """Decoded chunks of any number of arrays; the least recently used is forgotten first.

    Parameters
    ----------
    max_bytes : int
        Bytes that are kept in all, over all arrays.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = ProcessLock()  # a finalizer can forget in the middle of any of these calls, on the same thread
        self._kept: OrderedDict[tuple[int, Cell], np.ndarray] = OrderedDict()
        self._size = 0
        self._owners = itertools.count(1)

    def new_owner(self) -> int:
        """Return a number that identifies an array."""
        return next(self._owners)

    def get(self, owner: int, cell: Cell) -> np.ndarray | None:
        """Return a chunk of an array by its position in the grid; None when it is not kept."""
        with self._lock:
            pixels = self._kept.get((owner, cell))
            if pixels is not None:
                self._kept.move_to_end((owner, cell))
            return pixels

    def keep(self, owner: int, cell: Cell, pixels: np.ndarray) -> None:
        """Keep a decoded chunk, which must not be changed afterwards."""
        with self._lock:
            self._drop((owner, cell))
            self._kept[owner, cell] = pixels
            self._size += pixels.nbytes
            while self._size > self.max_bytes:
                self._drop(next(iter(self._kept)))

    def forget(self, owner: int) -> None:
        """Forget all chunks of an array."""
        with self._lock:
            for key in list(self._kept):
                if key[0] == owner:
                    self._drop(key)

    def _drop(self, key: tuple[int, Cell]) -> None:
        pixels = self._kept.pop(key, None)
        self._size -= 0 if pixels is None else pixels.nbytes


RECENT_CHUNKS = RecentChunks(max_bytes=64 << 20)

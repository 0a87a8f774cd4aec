"""Reads parts of an array that is stored in chunks: each chunk once, on all cores, the few decoded last kept."""

from __future__ import annotations

import itertools
import math
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .locks import ProcessLock
from .threads import num_cores, run_on_cores

__all__ = ["RECENT_CHUNKS", "Box", "Cell", "ChunkGrid", "Part", "Piece", "RecentChunks", "sample_pieces", "shared_out"]

PARALLEL_BYTES = 1 << 20  # below this, starting threads costs more than it gains
_PARALLEL_COPY = 256 << 10  # of a chunk that is copied only

Box = tuple[tuple[int, int], ...]
Piece = tuple[np.ndarray, Box]
Cell = tuple[int, ...]
Part = tuple[np.ndarray, tuple[slice, ...]]


class ChunkGrid:
    """An array in chunks of one shape, of which parts are read.

    Where and how a chunk lies is known to whoever asks; what is the same for all is here: which chunks a part touches, and
    where in each; decoding on all cores; and keeping decoded what holds more than was asked for, so that reading frame by
    frame, or one corner again and again, does not decode a chunk each time.

    Parameters
    ----------
    shape : tuple of int
        Of the array, as stored.
    chunk : tuple of int
        Of a chunk; those at the edges reach beyond the array.
    dtype : numpy.dtype
        As stored.
    """

    def __init__(self, shape: tuple[int, ...], chunk: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.chunk = shape, chunk
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.nbytes: int = math.prod(chunk) * self.dtype.itemsize
        self._owner = RECENT_CHUNKS.new_owner()
        weakref.finalize(self, RECENT_CHUNKS.forget, self._owner)

    def fill(
        self,
        pieces: Sequence[Piece],
        read: Callable[[Cell, Sequence[Part]], np.ndarray | None],
        locate: Callable[[Sequence[Cell]], object] | None = None,
        *,
        is_decoded: bool = True,
    ) -> None:
        """Fill pieces of results, whatever number of them a chunk has a part in.

        Parameters
        ----------
        pieces : sequence of (numpy.ndarray, box)
            What is filled, and the box of the array that it holds: ``(start, stop)`` an axis.
        read : callable
            ``read(cell, parts)`` with a chunk's position in the grid, and with what it fills: an array, and the slices of the
            chunk that go there. It returns the whole chunk decoded, of which the parts are then taken; or fills them itself
            and returns None. Called on several threads.
        locate : callable, optional
            Called once with all cells, before any is read.
        is_decoded : bool, default: True
            Whether there is more to do than to copy bytes; where there is not, threads that share out small chunks wait for each
            other more than they work.
        """
        wanted: dict[Cell, list[Piece]] = {}
        for piece in pieces:
            ranges = [range(a // c, -(-b // c)) for (a, b), c in zip(piece[1], self.chunk, strict=True)]
            for cell in itertools.product(*ranges):
                wanted.setdefault(cell, []).append(piece)
        cells = [cell for cell, mine in wanted.items() if not self._is_kept(cell, mine)]
        if not cells:
            return
        if locate is not None:
            locate(cells)
        keeps = self.nbytes * len(cells) <= RECENT_CHUNKS.most

        def read_all(some: Sequence[Cell]) -> None:
            for cell in some:
                parts = [self._overlap(cell, target, box) for target, box in wanted[cell]]
                pixels = read(cell, parts)
                if pixels is None:
                    continue
                for part, inside in parts:
                    part[...] = pixels[inside]
                if keeps and self._has_pixels_left(cell, parts):
                    RECENT_CHUNKS.keep(self._owner, cell, pixels)

        pays = is_decoded or self.nbytes >= _PARALLEL_COPY
        shared_out(cells, read_all, pays and self.nbytes * len(cells) >= PARALLEL_BYTES)

    def forget(self) -> None:
        """Forget the chunks that are kept."""
        RECENT_CHUNKS.forget(self._owner)

    def is_whole(self, parts: Sequence[Part]) -> bool:
        """Return whether the parts are one array as large as a chunk, and in its order: what is decoded can go there at once."""
        return len(parts) == 1 and parts[0][0].nbytes == self.nbytes and parts[0][0].flags.c_contiguous

    def _is_kept(self, cell: Cell, pieces: Sequence[Piece]) -> bool:
        """Fill the pieces from a chunk that is still kept; return whether it is."""
        pixels = RECENT_CHUNKS.get(self._owner, cell)
        if pixels is None:
            return False
        for target, box in pieces:
            part, inside = self._overlap(cell, target, box)
            part[...] = pixels[inside]
        return True

    def _overlap(self, cell: Cell, target: np.ndarray, box: Box) -> Part:
        """Return the part of the target that a chunk fills, and the part of the chunk that fills it."""
        inside, outside = [], []
        for k, c, (start, stop) in zip(cell, self.chunk, box, strict=True):
            low, high = max(start, k * c), min(stop, (k + 1) * c)
            inside.append(slice(low - k * c, high - k * c))
            outside.append(slice(low - start, high - start))
        return target[tuple(outside)], tuple(inside)

    def _has_pixels_left(self, cell: Cell, parts: Sequence[Part]) -> bool:
        """Return whether a chunk holds pixels of the array that were not asked for."""
        there = [min(c, n - k * c) for k, c, n in zip(cell, self.chunk, self.shape, strict=True)]
        return sum(part.size for part, _ in parts) < math.prod(there)


def sample_pieces(
    stored: np.ndarray, axis: int, samples: slice | np.ndarray, box: Sequence[tuple[int, int]]
) -> list[Piece]:
    """Return each run of consecutive samples: its part of the result, and its box in the array.

    Parameters
    ----------
    stored : numpy.ndarray
        The result, in the order of the stored axes.
    axis : int
        That of the samples.
    samples : slice or numpy.ndarray
        With ``0 <= start <= stop`` and step 1, or indices in any order.
    box : sequence of (int, int)
        Start and stop of every axis; that of the samples is not looked at.
    """
    found: list[Piece] = []
    at = 0
    for start, stop in [(samples.start, samples.stop)] if isinstance(samples, slice) else _runs(samples):
        part = stored[(slice(None),) * axis + (slice(at, at + stop - start),)]
        found.append((part, (*box[:axis], (start, stop), *box[axis + 1 :])))
        at += stop - start
    return found


def _runs(indices: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(indices) != 1) + 1
    starts = indices[np.concatenate([[0], edges]).astype(np.int64)] if len(indices) else indices
    lengths = np.diff(np.concatenate([[0], edges, [len(indices)]])) if len(indices) else indices
    return [(int(a), int(a + n)) for a, n in zip(starts, lengths, strict=True)]


def shared_out(items: Sequence[Any], work: Callable[[Sequence[Any]], None], pays: bool) -> None:
    """Do the work on all items, in equal parts on all cores where that pays."""
    parts = min(num_cores(), len(items)) if pays else 1
    if parts < 2:
        work(items)
        return
    cut = [len(items) * k // parts for k in range(parts + 1)]
    run_on_cores([_call(work, items[a:b]) for a, b in itertools.pairwise(cut)])


def _call(work: Callable[[Sequence[Any]], None], items: Sequence[Any]) -> Callable[[], None]:
    return lambda: work(items)


class RecentChunks:
    """Decoded chunks of any number of arrays, the least recently used forgotten first.

    Parameters
    ----------
    most : int
        Bytes that are kept in all.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = ProcessLock()  # a finalizer can forget in the middle of any of these calls, on the same thread
        self._kept: OrderedDict[tuple[int, Cell], np.ndarray] = OrderedDict()
        self._size = 0
        self._owners = itertools.count(1)

    def new_owner(self) -> int:
        """Return a number under which an array keeps its chunks."""
        return next(self._owners)

    def get(self, owner: int, cell: Cell) -> np.ndarray | None:
        """Return a chunk of an array by its position in the grid; None when it is not kept."""
        with self._lock:
            found = self._kept.get((owner, cell))
            if found is not None:
                self._kept.move_to_end((owner, cell))
            return found

    def keep(self, owner: int, cell: Cell, pixels: np.ndarray) -> None:
        """Keep a decoded chunk, which nobody may change any more."""
        with self._lock:
            self._drop((owner, cell))
            self._kept[owner, cell] = pixels
            self._size += pixels.nbytes
            while self._size > self.most:
                self._drop(next(iter(self._kept)))

    def forget(self, owner: int) -> None:
        """Forget all chunks of an array."""
        with self._lock:
            for key in list(self._kept):
                if key[0] == owner:
                    self._drop(key)

    def _drop(self, key: tuple[int, Cell]) -> None:
        found = self._kept.pop(key, None)
        self._size -= 0 if found is None else found.nbytes


RECENT_CHUNKS = RecentChunks(most=64 << 20)

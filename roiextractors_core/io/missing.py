"""Which chunks of a stored movie are missing, and which samples lack pixels for it.

A chunk can be absent because it was lost, because the recording was interrupted before it was written, or because a writer left out a
chunk of nothing but the fill value.  The three look the same in a file, so all of them are reported.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import CorruptRecordingError, TruncatedRecordingError, counted
from .chunk_grid import Cell
from .zarr_array import ZarrArray

__all__ = ["MissingChunks", "at_positions", "missing_chunks", "missing_samples", "present_zarr_chunks"]

_MAX_LISTED = 1 << 24  # missing samples; a larger number in a description is damage
_MAX_CELLS = 1 << 22  # chunks whose presence is kept in one table
_MAX_LISTINGS = 4096  # folders that are listed; deeper levels of an array of more are not looked at
_CELLS_A_NAME = 4  # an array of more chunks than this for each file is sparse, and its files are looked at by name
_MAX_SHARDS = 4096  # shards whose index is read
_MIN_ROWS = 3  # steps in time after which a part of the frame without any chunk is taken for empty, not lost
_NO_CHUNK = np.uint64(2**64 - 1)


@dataclass(frozen=True, slots=True)
class MissingChunks:
    """Which chunks are missing from what a recording reads.

    Attributes
    ----------
    num_missing, num_chunks : int
        Chunks that are missing, and all chunks; without those after ``num_samples``, and without parts of the frame that no sample has.
    num_samples, stated_samples : int
        Samples before a run of missing ones that reaches to the end; and samples that the array has by its shape.
    num_empty : int
        Chunks in parts of the frame that were never written for any sample; they are not counted as missing.
    samples : numpy.ndarray
        int64; the samples before ``num_samples`` that lack at least one chunk.
    is_complete : bool
        Whether every chunk was looked at; very many are not, and may turn out to be missing when they are read.
    num_outside : int
        Chunks, or folders of them, that are there and outside of the array's shape.
    """

    num_missing: int
    num_chunks: int
    num_samples: int
    stated_samples: int
    num_empty: int = 0
    samples: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    is_complete: bool = True
    num_outside: int = 0

    def warnings(self, name: str) -> tuple[str, ...]:
        """Return a sentence for each kind of loss; empty when nothing is missing.

        Parameters
        ----------
        name : str
            Of the recording.
        """
        words = []
        if self.num_samples < self.stated_samples:
            words.append(
                f"{name}: {self.num_samples:,} of {self.stated_samples:,} samples are complete; the others, at "
                "the end, were never completely written (the recording was interrupted, or chunks were lost) and are left out"
            )
        if self.num_missing:
            verb = "is" if self.num_missing == 1 else "are"
            words.append(
                f"{name}: {self.num_missing:,} of {counted(self.num_chunks, 'chunk')} of the pixels {verb} "
                f"missing (lost, or never written) and {self._places()}"
            )
        return tuple(words)

    def notes(self, name: str) -> tuple[str, ...]:
        """Return :meth:`warnings`, and whether parts of the frame were never written."""
        if not self.num_empty:
            return self.warnings(name)
        words = f"{name}: {self.num_empty:,} chunks, in parts of the frame that were never written, are read as the fill value"
        return (*self.warnings(name), words)

    def _places(self) -> str:
        count = len(self.samples)
        if not count:  # known by their number alone
            return "will be read as the fill value"
        where = (
            f"sample {int(self.samples[0]):,}"
            if count == 1
            else f"{count:,} of {self.num_samples:,} samples (get_missing_samples() returns them)"
        )
        return f"will be read as the fill value in {where}"


def missing_samples(stated: int, present: int | np.ndarray) -> np.ndarray:
    """Return the samples that a description counts and that are missing.

    A description of more than 16 million samples more than there are is damaged: those after the last one are not listed.

    Parameters
    ----------
    stated : int
        The number of samples by the description.
    present : int or numpy.ndarray
        How many there are from the first one on, or their numbers.

    Returns
    -------
    numpy.ndarray
        int64, in order.
    """
    if not isinstance(present, np.ndarray):
        return np.arange(present, max(present, stated if stated <= present + _MAX_LISTED else 0), dtype=np.int64)
    if stated > len(present) + _MAX_LISTED:
        stated = int(np.max(present, initial=-1)) + 1
    return np.setdiff1d(np.arange(stated if stated <= len(present) + _MAX_LISTED else 0, dtype=np.int64), present)


def missing_chunks(
    present: np.ndarray,
    *,
    axis: int | None,
    chunk: int,
    num_samples: int,
    leaves_out_end: bool = True,
    is_cut: bool = False,
) -> MissingChunks:
    """Return what is missing, by the chunks that exist.

    Parameters
    ----------
    present : numpy.ndarray
        bool, over the grid of the chunks that the recording reads.
    axis : int or None
        The axis of the samples; None for a single sample.
    chunk, num_samples : int
        Samples in a chunk, and by the shape.
    leaves_out_end : bool
        Whether samples at the end without any chunk are left out.
    is_cut : bool
        Whether the file is known to be truncated: then samples at the end that lack any of their chunks are left out too.
    """
    rows = (present[np.newaxis] if axis is None else np.moveaxis(present, axis, 0)).reshape(
        _num_rows(present, axis), -1
    )
    if rows.all():
        return MissingChunks(0, rows.size, num_samples, num_samples)
    if not rows.any():  # of no sample is there anything: all are kept, rather than a recording without samples
        return MissingChunks(rows.size, rows.size, num_samples, num_samples, samples=missing_samples(num_samples, 0))
    used = rows.any(axis=0)
    num_empty = 0
    if len(rows) >= _MIN_ROWS:
        num_empty, rows = int((~used).sum()) * len(rows), rows[:, used]
    end = _end_of(rows, is_cut) if leaves_out_end and axis is not None else len(rows)
    rows, count = rows[:end], min(num_samples, end * chunk)
    lacking = np.flatnonzero(~rows.all(axis=1))
    if len(lacking) * chunk > _MAX_LISTED:
        lacking, chunk = lacking[:0], 0
    samples = (lacking[:, np.newaxis] * chunk + np.arange(chunk)).reshape(-1).astype(np.int64)
    return MissingChunks(int((~rows).sum()), rows.size, count, num_samples, num_empty, samples[samples < count])


def _num_rows(present: np.ndarray, axis: int | None) -> int:
    return 1 if axis is None else int(present.shape[axis])


def _end_of(rows: np.ndarray, is_cut: bool) -> int:
    """Return the end of what was written: after the last row with a chunk, or before it where that row was not completed."""
    whole = np.flatnonzero(rows.all(axis=1))
    if is_cut and len(whole):
        return int(whole[-1]) + 1
    last = int(np.flatnonzero(rows.any(axis=1))[-1])
    if last + 1 < len(rows) and not rows[last].all() and rows[:last].all(axis=1).any():
        return last
    return last + 1


# Zarr


def present_zarr_chunks(array: ZarrArray, *, axis: int | None) -> tuple[np.ndarray, bool, int] | None:
    """Return which chunks of a Zarr array have a file, or a place in a shard.

    The folder is listed once, or once for each of its subfolders; no file is looked at by itself, except those at the end.

    Parameters
    ----------
    array : ZarrArray
    axis : int or None
        The axis of the samples: the last chunks along it count as missing when they are empty files or cut.

    Returns
    -------
    tuple of (numpy.ndarray, bool, int) or None
        bool over the grid of ``array.chunks``; whether every level was looked at: of an array in very many subfolders only the
        first levels are, and deeper ones count as present; and the number of chunks outside of the shape.  None for an array of more chunks than are looked at, or without any.
    """
    shape, stored = array.shape, array.shards or array.chunks
    grid = _grid(shape, stored)
    if not shape or not 0 < math.prod(_grid(shape, array.chunks)) <= _MAX_CELLS:
        return None
    listing = _Listing(array.folder, grid, array.chunk_path((0,) * len(grid)))
    present = listing.present()
    if axis is not None:
        _drop_cut_end(np.moveaxis(present, axis, 0), axis, array)
    if array.shards:
        present = _inside_shards(present, array, stored)
    return present, listing.is_complete, listing.num_outside


def _grid(shape: Sequence[int], chunk: Sequence[int]) -> tuple[int, ...]:
    return tuple(-(-n // c) if c else 0 for n, c in zip(shape, chunk, strict=True))


class _Listing:
    """The files of a folder of chunks by their names, ``c/0/1`` or ``0.1``."""

    def __init__(self, folder: str, grid: tuple[int, ...], first: str) -> None:
        self._grid = grid
        self.num_outside = 0
        name = first[2:] if first.startswith("c") else first
        self._prefix = first[: len(first) - len(name)]
        self._is_nested = "/" in name
        nested_prefix = self._prefix.endswith("/")
        self._folder = os.path.join(folder, "c") if nested_prefix else folder
        self._prefix = "" if nested_prefix else self._prefix
        folders = 0
        self._depth = len(grid)
        if self._is_nested:
            for depth in range(1, len(grid)):
                folders += math.prod(grid[:depth])
                if folders > _MAX_LISTINGS:
                    self._depth = depth
                    break
        self.is_complete = self._depth == len(grid)

    def present(self) -> np.ndarray:
        """Return a table of the chunks that exist."""
        names = () if self._is_nested else _names(self._folder)
        if names and math.prod(self._grid) <= _CELLS_A_NAME * len(names):
            there = set(names)  # comparing the expected names is faster than reading numbers from the names there are
            expected = (name in there for name in self._expected())
            return np.fromiter(expected, bool, math.prod(self._grid)).reshape(self._grid)
        table = np.zeros(self._grid, bool)
        for cell in self._nested(self._folder, ()) if self._is_nested else self._flat(names):
            table[cell] = True  # a shorter cell is a folder, and stands for all that it can contain
        return table

    def _expected(self) -> list[str]:
        """Return the names of all chunks in the order of the grid."""
        names = [self._prefix + str(k) for k in range(self._grid[0])]
        for count in self._grid[1:]:
            parts = [f".{k}" for k in range(count)]
            names = [name + part for name in names for part in parts]
        return names

    def _flat(self, names: Sequence[str]) -> Iterator[Cell]:
        for name in names:
            if name.startswith(self._prefix):
                cell = tuple(_number(part) for part in name[len(self._prefix) :].split("."))
                if len(cell) != len(self._grid) or min(cell) < 0:
                    continue
                if all(k < n for k, n in zip(cell, self._grid, strict=True)):
                    yield cell
                else:
                    self.num_outside += 1

    def _nested(self, folder: str, above: Cell) -> Iterator[Cell]:
        level = len(above)
        below = self._depth - level - 1
        if below and math.prod(self._grid[level + 1 : self._depth]) == 1:
            # One chunk in each of the folders: a question whether it exists in place of a listing for each level
            rest, zeros = f"{os.sep}0" * below, (0,) * below
            for number in filter(range(self._grid[level]).__contains__, map(_number, _names(folder))):
                if os.access(f"{folder}{os.sep}{number}{rest}", os.F_OK):
                    yield (*above, number, *zeros)
            return
        for name in _names(folder):
            number = _number(name)
            if not 0 <= number < self._grid[level]:
                self.num_outside += number >= 0
                continue
            if level + 1 == self._depth:
                yield (*above, number)
            else:
                yield from self._nested(os.path.join(folder, name), (*above, number))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # not written, or a file where a folder was expected: nothing is in it
        return []


def _number(name: str) -> int:
    return int(name) if name.isascii() and name.isdigit() and len(name) < 19 and (name == "0" or name[0] != "0") else -1


def _drop_cut_end(rows: np.ndarray, axis: int, array: ZarrArray) -> None:
    """Mark the last row as missing if one of its files is empty or cut, and rows before it likewise.

    A disk that was full leaves any number of empty files, so the rows before are looked at until one is whole.
    """
    # The length of a complete chunk, or 1 if it depends on the pixels
    min_bytes = math.prod(array.chunks) * array.dtype.itemsize if array.is_plain else 1
    # An array may state millions of rows that were never written
    for row in np.flatnonzero(rows.reshape(len(rows), -1).any(axis=1)).tolist()[::-1]:
        cells = [(*rest[:axis], row, *rest[axis:]) for rest in np.argwhere(rows[row]).tolist()]
        if not any(_is_cut(cell, array, min_bytes) for cell in cells):
            return
        rows[row] = False


def _is_cut(cell: Cell, array: ZarrArray, min_bytes: int) -> bool:
    try:
        status = os.stat(os.path.join(array.folder, array.chunk_path(cell)))
    except OSError:  # a chunk that cannot be looked at counts as present, and reading it is an error
        return False
    if not stat.S_ISREG(status.st_mode):  # a folder that was not listed any further
        return False
    if array.shards and status.st_size:
        return _present_in_shard(cell, array) is None
    return status.st_size < min_bytes


def _inside_shards(present: np.ndarray, array: ZarrArray, stored: Cell) -> np.ndarray:
    """Return the table for the chunks inside the shards, whose indices are read where they are not too many."""
    ratio = tuple(s // c for s, c in zip(stored, array.chunks, strict=True))
    table = present
    for k, n in enumerate(ratio):
        table = np.repeat(table, n, axis=k)
    if present.sum() <= _MAX_SHARDS:
        for cell in map(tuple, np.argwhere(present).tolist()):
            inside = _present_in_shard(cell, array)
            if inside is not None:  # reading from a shard whose index is damaged is an error
                table[tuple(slice(k * n, (k + 1) * n) for k, n in zip(cell, ratio, strict=True))] = inside
    return table[tuple(slice(0, n) for n in _grid(array.shape, array.chunks))]


def _present_in_shard(cell: Cell, array: ZarrArray) -> np.ndarray | None:
    """Return which chunks a shard contains; None where its index does not fit the file, which was cut."""
    try:
        index = array.index_of_shard(cell)
    except TruncatedRecordingError:
        return None
    except CorruptRecordingError:  # a damaged index, which reading reports
        shards = array.shards or array.chunks
        return np.ones([s // c for s, c in zip(shards, array.chunks, strict=True)], bool)
    return None if index is None else index[1] != _NO_CHUNK


def at_positions(present: np.ndarray, positions: Sequence[int | None], chunk: Sequence[int]) -> np.ndarray:
    """Return the part of a grid of chunks at fixed positions of some axes (None: the whole axis), with the same number of axes."""
    key = [slice(None) if at is None else slice(at // c, at // c + 1) for at, c in zip(positions, chunk, strict=True)]
    return present[tuple(key)]

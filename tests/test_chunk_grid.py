"""Arrays in chunks: whatever part is asked for, each chunk is read once, and what is left of it is kept."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from roiextractors_core.io import RECENT_CHUNKS, Cell, ChunkGrid, Part, RecentChunks, sample_pieces

SHAPE, CHUNK = (7, 9, 10), (3, 4, 4)


class Stored:
    """An array in chunks, which notes what is read of it."""

    def __init__(self, shape: tuple[int, ...] = SHAPE, chunk: tuple[int, ...] = CHUNK) -> None:
        self.array = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
        self.grid = ChunkGrid(shape, chunk, np.uint16)
        self.padded = np.pad(self.array, [(0, -n % c) for n, c in zip(shape, chunk, strict=True)])
        self.asked: list[Cell] = []
        self.located: list[list[Cell]] = []

    def chunk(self, cell: Cell, parts: Sequence[Part]) -> np.ndarray:
        self.asked.append(cell)
        found: np.ndarray = self.padded[
            tuple(slice(k * c, (k + 1) * c) for k, c in zip(cell, self.grid.chunk, strict=True))
        ].copy()
        return found

    def read(self, samples: slice | np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        count = samples.stop - samples.start if isinstance(samples, slice) else len(samples)
        result = np.full((count, rows.stop - rows.start, columns.stop - columns.start), 999, np.uint16)
        box = [(0, 0), (rows.start, rows.stop), (columns.start, columns.stop)]
        self.grid.fill(
            sample_pieces(result, 0, samples, box), self.chunk, lambda cells: self.located.append(list(cells))
        )
        return result


@pytest.mark.parametrize(
    "samples", [slice(0, 7), slice(2, 5), slice(3, 3), np.array([6, 0, 0, 1, 2, 5]), np.array([], np.int64)], ids=repr
)
@pytest.mark.parametrize("rows", [slice(0, 9), slice(3, 5), slice(8, 9)], ids=repr)
@pytest.mark.parametrize("columns", [slice(0, 10), slice(1, 9)], ids=repr)
def test_any_part_is_put_together_out_of_chunks_read_once(
    samples: slice | np.ndarray, rows: slice, columns: slice
) -> None:
    stored = Stored()
    np.testing.assert_array_equal(stored.read(samples, rows, columns), stored.array[samples, rows, columns])
    assert len(set(stored.asked)) == len(stored.asked)
    assert [sorted(cells) for cells in stored.located] == ([sorted(stored.asked)] if stored.asked else [])


def test_what_was_not_taken_of_a_chunk_is_kept_for_the_next_call() -> None:
    stored = Stored()
    for k in range(7):
        np.testing.assert_array_equal(stored.read(slice(k, k + 1), slice(0, 9), slice(0, 10)), stored.array[k : k + 1])
    assert len(stored.asked) == len(set(stored.asked)) == 3 * 3 * 3
    stored.grid.forget()
    stored.read(slice(0, 1), slice(0, 4), slice(0, 4))
    assert stored.asked.count((0, 0, 0)) == 2


def test_a_corner_of_every_frame_is_decoded_once() -> None:
    stored = Stored()
    for _ in range(3):
        np.testing.assert_array_equal(stored.read(slice(0, 7), slice(0, 2), slice(0, 2)), stored.array[:, :2, :2])
    assert stored.asked == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]


def test_a_chunk_that_was_taken_whole_is_not_kept() -> None:
    stored = Stored()
    for _ in range(2):  # chunks at the edges hold nothing beyond the array
        stored.read(slice(0, 7), slice(0, 9), slice(0, 10))
    assert sorted(stored.asked) == sorted(2 * list(itertools.product(range(3), range(3), range(3))))


def test_what_a_chunk_writes_into_the_result_is_left_alone() -> None:
    stored, whole = Stored(), []

    def read(cell: Cell, parts: Sequence[Part]) -> None:
        whole.append(stored.grid.is_whole(parts))
        for part, _ in parts:
            part[...] = 7

    result = np.zeros((3, 4, 4), np.uint16)
    stored.grid.fill([(result, ((0, 3), (0, 4), (0, 4)))], read)
    stored.grid.fill([(result[:1], ((3, 4), (0, 4), (0, 4)))], read)
    assert (result == 7).all()
    assert whole == [True, False]


def test_much_is_read_on_all_cores_and_an_error_is_raised() -> None:
    stored = Stored((64, 128, 128), (1, 128, 128))
    np.testing.assert_array_equal(stored.read(slice(0, 64), slice(0, 128), slice(0, 128)), stored.array)

    def fails(cell: Cell, parts: Sequence[Part]) -> np.ndarray:
        if cell[0] == 50:
            raise OSError("a chunk that is not there")
        return stored.chunk(cell, parts)

    result = np.empty(stored.array.shape, np.uint16)
    with pytest.raises(OSError, match="a chunk that is not there"):
        stored.grid.fill([(result, ((0, 64), (0, 128), (0, 128)))], fails)


def test_more_than_may_be_kept_is_not_kept() -> None:
    stored = Stored((40, 1024, 1024), (1, 1024, 1024))
    part = (slice(0, 40), slice(0, 8), slice(0, 8))
    assert stored.padded.nbytes > RECENT_CHUNKS.most
    stored.read(*part)
    stored.read(*part)
    assert len(stored.asked) == 80


def test_kept_chunks_stay_within_their_bytes() -> None:
    kept = RecentChunks(most=100)
    first, second = kept.new_owner(), kept.new_owner()
    for k in range(5):
        kept.keep(first, (k,), np.zeros(30, np.uint8))
    assert [k for k in range(5) if kept.get(first, (k,)) is not None] == [2, 3, 4]
    kept.keep(second, (0,), np.zeros(101, np.uint8))
    assert [kept.get(owner, (k,)) for owner in (first, second) for k in range(5)] == [None] * 10
    kept.keep(second, (1,), np.zeros(10, np.uint8))
    kept.forget(second)
    assert kept.get(second, (1,)) is None

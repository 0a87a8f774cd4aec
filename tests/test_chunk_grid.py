"""Arrays in chunks: for any part, each chunk is read once, and chunks with pixels left are kept."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from roiextractors_core.io import RECENT_CHUNKS, Cell, ChunkGrid, Part, RecentChunks, sample_pieces

SHAPE, CHUNK = (7, 9, 10), (3, 4, 4)


class Stored:
    """An array in chunks, and the source of them, which notes the chunks that are read."""

    is_encoded = True

    def __init__(self, shape: tuple[int, ...] = SHAPE, chunk: tuple[int, ...] = CHUNK) -> None:
        self.array = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
        self.grid = ChunkGrid(shape, chunk, np.uint16)
        self.padded = np.pad(self.array, [(0, -n % c) for n, c in zip(shape, chunk, strict=True)])
        self.asked: list[Cell] = []
        self.located: list[list[Cell]] = []

    def locate(self, cells: Sequence[Cell]) -> list[tuple[slice, ...]]:
        self.located.append(list(cells))
        return [tuple(slice(k * c, (k + 1) * c) for k, c in zip(cell, self.grid.chunk, strict=True)) for cell in cells]

    def fill(self, place: tuple[slice, ...], parts: Sequence[Part]) -> bool:
        return False

    def decode(self, place: tuple[slice, ...]) -> np.ndarray:
        self.asked.append(tuple(part.start // c for part, c in zip(place, self.grid.chunk, strict=True)))
        pixels: np.ndarray = self.padded[place].copy()
        return pixels

    def read(self, samples: slice | np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        count = samples.stop - samples.start if isinstance(samples, slice) else len(samples)
        result = np.full((count, rows.stop - rows.start, columns.stop - columns.start), 999, np.uint16)
        box = [(0, 0), (rows.start, rows.stop), (columns.start, columns.stop)]
        self.grid.fill(sample_pieces(result, 0, samples, box), self)
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


def test_a_chunk_with_pixels_left_is_kept_for_the_next_call() -> None:
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
    for _ in range(2):  # chunks at the edges have no pixels beyond the array
        stored.read(slice(0, 7), slice(0, 9), slice(0, 10))
    assert sorted(stored.asked) == sorted(2 * list(itertools.product(range(3), range(3), range(3))))


def test_a_chunk_that_the_source_fills_in_is_not_decoded() -> None:
    class Sevens(Stored):
        def fill(self, place: tuple[slice, ...], parts: Sequence[Part]) -> bool:
            whole.append(self.grid.is_whole(parts))
            for part, _ in parts:
                part[...] = 7
            return True

    whole: list[bool] = []
    stored = Sevens()
    result = np.zeros((3, 4, 4), np.uint16)
    stored.grid.fill([(result, ((0, 3), (0, 4), (0, 4)))], stored)
    stored.grid.fill([(result[:1], ((3, 4), (0, 4), (0, 4)))], stored)
    assert (result == 7).all()
    assert whole == [True, False]
    assert stored.asked == []


def test_a_source_must_locate_every_chunk() -> None:
    class Forgetful(Stored):
        def locate(self, cells: Sequence[Cell]) -> list[tuple[slice, ...]]:
            return super().locate(cells)[1:]

    with pytest.raises(ValueError, match="zip"):
        Forgetful().read(slice(0, 7), slice(0, 9), slice(0, 10))


def test_much_is_read_on_all_cores_and_an_error_is_raised() -> None:
    stored = Stored((64, 128, 128), (1, 128, 128))
    np.testing.assert_array_equal(stored.read(slice(0, 64), slice(0, 128), slice(0, 128)), stored.array)

    class Failing(Stored):
        def decode(self, place: tuple[slice, ...]) -> np.ndarray:
            if place[0].start == 50:
                raise OSError("a chunk that does not exist")
            return super().decode(place)

    with pytest.raises(OSError, match="a chunk that does not exist"):
        Failing((64, 128, 128), (1, 128, 128)).read(slice(0, 64), slice(0, 128), slice(0, 128))


def test_more_than_may_be_kept_is_not_kept() -> None:
    stored = Stored((40, 1024, 1024), (1, 1024, 1024))
    part = (slice(0, 40), slice(0, 8), slice(0, 8))
    assert stored.padded.nbytes > RECENT_CHUNKS.max_bytes
    stored.read(*part)
    stored.read(*part)
    assert len(stored.asked) == 80


def test_kept_chunks_stay_within_their_bytes() -> None:
    kept = RecentChunks(max_bytes=100)
    first, second = kept.new_owner(), kept.new_owner()
    for k in range(5):
        kept.keep(first, (k,), np.zeros(30, np.uint8))
    assert [k for k in range(5) if kept.get(first, (k,)) is not None] == [2, 3, 4]
    kept.keep(second, (0,), np.zeros(101, np.uint8))
    assert [kept.get(owner, (k,)) for owner in (first, second) for k in range(5)] == [None] * 10
    kept.keep(second, (1,), np.zeros(10, np.uint8))
    kept.forget(second)
    assert kept.get(second, (1,)) is None

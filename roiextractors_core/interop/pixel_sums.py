"""Sums over the samples of every pixel, and of every pair of neighbours, in tiles that fit into the cache."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

__all__ = ["NAMES", "Moments", "PixelSums", "finite_reference", "is_exact", "join_in_pairs", "reference_of"]

T = TypeVar("T")

NAMES = ("total", "squares", "products", "maximum", "minimum", "trace")

_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # the other four neighbours are the same pairs in reverse
# Threads hand over the interpreter lock after every step, which takes as long as a step on a tile of 1 MiB. Larger ones leave
# the level-2 cache of a core, but not the level-3 cache of a processor
_TILE_PIXELS = 1 << 15  # of a sample
_TILE_BYTES = 5 << 20  # of all samples of a tile, as numbers of 4 or 8 bytes
_MIN_SAMPLES = 8  # in a tile, because each tile costs a pass over the sums


def is_exact(dtype: np.dtype[Any]) -> bool:
    """Return whether these pixels, their squares and their products are summed as integers, without rounding."""
    return dtype.kind in "iub" and dtype.itemsize <= 2


def reference_of(recording: Any) -> np.ndarray | None:
    """Return the first sample to sum deviations from it, of complex pixels the magnitudes; None where sums are exact."""
    if is_exact(recording.dtype):
        return None
    sample = recording[0]
    return finite_reference(np.abs(sample) if sample.dtype.kind == "c" else sample)


def finite_reference(sample: np.ndarray) -> np.ndarray:
    """Return a sample as float64, with the mean of its finite pixels in place of the others."""
    reference: np.ndarray = sample.astype(np.float64)
    finite = np.isfinite(reference)
    return np.where(finite, reference, reference[finite].mean() if finite.any() else 0.0)


class Moments(NamedTuple):
    """Sums of deviations from a reference, flat, in float64.

    Attributes
    ----------
    count : numpy.ndarray or int
        The values of each pixel.
    reference, total, squares : numpy.ndarray
    """

    count: Any
    reference: Any
    total: np.ndarray
    squares: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """Of the population; NaN for a pixel without values."""
        with np.errstate(invalid="ignore", divide="ignore"):
            # Rounding can make the variance of a constant pixel slightly negative
            variance: np.ndarray = np.maximum(self.squares / self.count - (self.total / self.count) ** 2, 0.0)
        return variance

    @property
    def mean(self) -> np.ndarray:
        """NaN for a pixel without values."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: np.ndarray = self.reference + self.total / self.count
        return mean


class PixelSums:
    """Sums over consecutive samples: without rounding for integers of up to 16 bits, otherwise in float64.

    Parameters
    ----------
    shape : tuple of int
        Of a sample.
    dtype : numpy.dtype
        Real numbers.
    names : collection of str
        Which of :data:`NAMES` to compute.
    reference : numpy.ndarray, optional
        From :func:`reference_of`. Sums of deviations keep their digits where all values are far from 0.
    skip : bool
        Whether values that are NaN or infinite are left out; otherwise they spread to the sums.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        names: Collection[str],
        reference: np.ndarray | None = None,
        *,
        skip: bool = False,
    ) -> None:
        self.shape, self.names = shape, frozenset(names)
        self.size, self.num_samples = int(np.prod(shape)), 0
        self.is_exact, self.skip = is_exact(dtype), skip and dtype.kind == "f"
        self.reference = np.zeros(0) if reference is None else reference.reshape(-1)
        wide: Any = np.int64 if self.is_exact else np.float64
        inner = int(np.prod(shape[2:]))
        # In a flat sample, a neighbour is at a constant distance. Pairs across the end of a row are computed and not used
        self.lags = [(down * shape[1] + right) * inner for down, right in _NEIGHBOURS if "products" in self.names]
        self.total = np.zeros(self.size if "total" in self.names else 0, wide)
        self.squares = np.zeros(self.size if "squares" in self.names else 0, wide)
        self.products = [np.zeros(max(0, self.size - lag), wide) for lag in self.lags]
        self.extrema: dict[str, np.ndarray] = {}
        self.missing: np.ndarray | None = None
        self._holes = _Holes.none()
        self._traces: list[np.ndarray] = []

    @property
    def trace(self) -> np.ndarray:
        """The mean of each sample over its pixels; NaN where all of them were left out."""
        return np.concatenate(self._traces)

    @property
    def num_left_out(self) -> int:
        """The number of values that were left out."""
        return 0 if self.missing is None else int(self.missing.sum())

    def add(self, blocks: Iterable[np.ndarray]) -> None:
        """Add consecutive samples, in blocks of ``(samples, *shape)``."""
        halo, scratch = max(self.lags, default=0), None
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for block in blocks:
                flat = np.ascontiguousarray(block).reshape(len(block), -1)
                # Allocated once: where memory is returned to the system at once, as in the workers of dask, new pages take long
                scratch = scratch or _Scratch.of(flat, min(self.size, _TILE_PIXELS + halo))
                self._add_block(flat.view(np.uint8) if flat.dtype.kind == "b" else flat, halo, scratch)

    def _add_block(self, flat: np.ndarray, halo: int, scratch: _Scratch) -> None:
        rows, holes = _Rows.of(flat), []
        for start in range(0, self.size, _TILE_PIXELS):
            end = min(start + _TILE_PIXELS, self.size)
            part, here = flat[:, start : end + halo], _Holes.none()
            largest = self._add_extrema(part, start, end)
            if self.skip or self.names - {"maximum", "minimum"}:
                for first, values in self._tiles(part, largest, start, scratch):
                    some_rows = rows.part(first, len(values))
                    here = here.joined(self._add_tile(values, start, end, some_rows, scratch))
            holes.append(here)
        self._holes = self._holes.joined(_Holes.of(holes))
        self.num_samples += len(flat)
        if "trace" in self.names:
            self._traces.append(rows.sums / rows.counts)

    def joined(self, later: PixelSums) -> PixelSums:
        """Add the sums over later samples to these; return these."""
        self.total += later.total
        self.squares += later.squares
        for mine, theirs in zip(self.products, later.products, strict=True):
            mine += theirs
        for name, values in later.extrema.items():
            _CHOOSE[name](self.extrema[name], values, out=self.extrema[name])
        if later.missing is not None:
            self.missing = later.missing if self.missing is None else self.missing + later.missing
        self._holes = self._holes.joined(later._holes)
        self.num_samples += later.num_samples
        self._traces += later._traces
        return self

    def moments(self) -> Moments:
        """Return the sums of deviations; those of integers are moved to near their mean before they are rounded."""
        if not self.is_exact:
            count: Any = self.num_samples if self.missing is None else self.num_samples - self.missing
            return Moments(count, self.reference if len(self.reference) else 0.0, self.total, self.squares)
        center = self._center()
        total = self.total - self.num_samples * center
        squares = (
            self.squares - 2 * center * self.total + self.num_samples * center**2 if len(self.squares) else self.squares
        )
        return Moments(self.num_samples, center, total.astype(np.float64), squares.astype(np.float64))

    def extremum(self, name: str) -> np.ndarray:
        """Return the maximum or minimum, in the shape of a sample; NaN where all values were left out."""
        values = self.extrema[name]
        if self.missing is not None:
            values = np.where(self.missing < self.num_samples, values, np.nan)
        return values.reshape(self.shape)

    def correlation(self) -> np.ndarray:
        """Return the mean correlation of each pixel with its neighbours, over the samples that both have."""
        found, self._holes = self.moments(), self._holes.in_order()
        total, known = np.zeros(self.shape), np.zeros(self.shape, np.int64)
        for number, step in enumerate(_NEIGHBOURS):
            first, second = _pairs(step, self.shape)
            one = np.zeros(self.size)
            one[: len(self.products[number])] = self._coefficients(number, found)
            one = one.reshape(self.shape)[first]
            right = np.isfinite(one)  # 0 / 0 for a pixel that never changes
            for side in (first, second):
                total[side] += np.where(right, np.clip(one, -1.0, 1.0), 0.0)
                known[side] += right
        return np.where(known > 0, total / np.maximum(known, 1), np.nan)

    def _center(self) -> np.ndarray:
        center: np.ndarray = np.rint(self.total / self.num_samples).astype(np.int64)
        return center

    def _coefficients(self, number: int, found: Moments) -> np.ndarray:
        lag, product = self.lags[number], self.products[number]
        a, b = slice(0, len(product)), slice(lag, lag + len(product))
        if self.is_exact:
            center, total = self._center(), self.total
            # The sum may be beyond int64 on the way, which wraps around, but not at the end
            product = product - center[b] * total[a] - center[a] * total[b] + self.num_samples * center[a] * center[b]
        count, x, y, xx, yy = self._holes.subtracted(
            number, self.size, (self.num_samples, found.total[a], found.total[b], found.squares[a], found.squares[b])
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.sqrt(xx / count - (x / count) ** 2) * np.sqrt(yy / count - (y / count) ** 2)
            coefficients: np.ndarray = (product / count - x / count * (y / count)) / spread
        return coefficients

    def _add_extrema(self, part: np.ndarray, start: int, end: int) -> int:
        """Add the extrema of a tile; return the largest absolute value, where sums are exact, of the tile and its neighbours."""
        largest = 1
        for name, choose in _CHOOSE.items():
            is_maximum = name == "maximum"
            bounds = self.is_exact and (is_maximum or part.dtype.kind == "i")
            if not bounds and name not in self.names:
                continue
            values = choose.reduce(part, axis=0)
            if bounds:
                largest = max(largest, int(values.max()) if is_maximum else -int(values.min()))
            if name in self.names:
                values = values[: end - start]
                if self.skip and not np.isfinite(values).all():
                    own = part[:, : end - start]
                    values = choose.reduce(np.where(np.isfinite(own), own, -np.inf if is_maximum else np.inf), axis=0)
                if name not in self.extrema:
                    limits: Any = np.iinfo(part.dtype) if part.dtype.kind in "iu" else _Infinite
                    self.extrema[name] = np.full(self.size, limits.min if is_maximum else limits.max, part.dtype)
                choose(self.extrema[name][start:end], values, out=self.extrema[name][start:end])
        return largest

    def _tiles(self, part: np.ndarray, largest: int, start: int, scratch: _Scratch) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the numbers to sum, of as many samples as sums of their products can have, and where these begin."""
        width = part.shape[1]
        dtype, most = self._work_dtype(part.dtype, largest)
        count = -(-len(part) // max(_MIN_SAMPLES, min(most, scratch.tile.nbytes // dtype.itemsize // width)))
        length = -(-len(part) // count)  # of tiles as equal as possible
        reference = self.reference[start : start + width]
        for first in range(0, len(part), length):
            values = part[first : first + length]
            tile = scratch.tile[: values.size * dtype.itemsize].view(dtype).reshape(values.shape)
            np.copyto(tile, values)
            if len(reference):
                tile -= reference  # in one step with the conversion, it would take longer
            yield first, tile

    def _work_dtype(self, dtype: np.dtype[Any], largest: int) -> tuple[np.dtype[Any], int]:
        """Return the dtype of the sums over a tile, and the most samples whose sums it can represent."""
        if self.is_exact:
            work = np.dtype(np.int32 if dtype.kind == "i" else np.uint32)
            # Half the time of float64, and most cameras and digitizers have at most 14 bits
            most = int(np.iinfo(work).max) // (largest**2 if self.names & {"squares", "products"} else largest)
            if most >= _MIN_SAMPLES and largest * _TILE_PIXELS <= np.iinfo(work).max:
                return work, most
        return np.dtype(np.float64), 1 << 20  # of 16-bit numbers, sums of products below 2**53 are exact

    def _add_tile(self, values: np.ndarray, start: int, end: int, rows: _Rows, scratch: _Scratch) -> _Holes:
        """Add the numbers of a tile; return what pairs of neighbours lack."""
        own, holes, out = values[:, : end - start], _Holes.none(), scratch.sums.view(values.dtype)
        if self.skip and not np.isfinite(np.add.reduce(values, axis=0, out=out[: values.shape[1]])).all():
            holes = self._leave_out(values, start, end, rows)
        if len(self.total):
            _add_to(self.total[start:end], np.add.reduce(own, axis=0, dtype=values.dtype, out=out[: end - start]))
        if len(self.squares):
            _add_to(self.squares[start:end], _dot(own, own, out))
        for lag, product in zip(self.lags, self.products, strict=True):
            width = min(end, len(product)) - start
            if width > 0:
                sums = _dot(values[:, :width], values[:, lag : lag + width], out)
                _add_to(product[start : start + width], sums)
        if "trace" in self.names:
            rows.sums += np.add.reduce(own, axis=1, dtype=values.dtype)
            rows.sums += self.reference[start:end].sum()
        return holes

    def _leave_out(self, values: np.ndarray, start: int, end: int, rows: _Rows) -> _Holes:
        """Replace what is not finite by 0 and count it; return what pairs of neighbours lack."""
        hole = ~np.isfinite(values)
        np.copyto(values, 0.0, where=hole)
        counts, own = np.add.reduce(hole, axis=0, dtype=np.int32), slice(0, end - start)
        # Of a border, no value is finite, and the sums of such a pixel are those of its neighbours
        empty, partial = counts == len(values), (counts > 0) & (counts < len(values))
        if self.missing is None:
            self.missing = np.zeros(self.size, np.int64)
        self.missing[start:end] += counts[own]
        columns = np.flatnonzero(partial[own])
        rows.counts -= np.count_nonzero(empty[own]) + hole[:, columns].sum(axis=1)
        if len(self.reference):
            reference = self.reference[start:end]
            rows.sums -= reference[empty[own]].sum() + hole[:, columns] @ reference[columns]
        total, squares = np.add.reduce(values, axis=0), _dot(values, values)
        holes = []
        for number, (lag, product) in enumerate(zip(self.lags, self.products, strict=True)):
            here = slice(0, max(0, min(end, len(product)) - start))
            there = slice(lag, lag + here.stop)
            known = partial[here] | partial[there]
            places = np.flatnonzero((empty[here] | empty[there]) & ~known)
            others = lag + places
            no_a, no_b = empty[places], empty[others]
            sums = (
                np.full(len(places), len(values)),
                total[places] * no_b,
                total[others] * no_a,
                squares[places] * no_b,
                squares[others] * no_a,
            )
            holes.append(_Holes(number * self.size + start + places, np.stack(sums)))
            places = np.flatnonzero(known)
            others = lag + places
            a, b, no_a, no_b = values[:, places], values[:, others], hole[:, places], hole[:, others]
            sums = ((no_a | no_b).sum(axis=0), _dot(a, no_b), _dot(b, no_a), _dot(a * a, no_b), _dot(b * b, no_a))
            holes.append(_Holes(number * self.size + start + places, np.stack(sums)))
        return _Holes.of(holes)


_CHOOSE = {"maximum": np.maximum, "minimum": np.minimum}


class _Infinite:
    """The limits of floating-point numbers, as ``numpy.iinfo`` has those of integers."""

    min, max = -np.inf, np.inf


@dataclass(frozen=True, slots=True)
class _Scratch:
    """Memory for the numbers of a tile, and for the sums of these over its samples."""

    tile: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, block: np.ndarray, width: int) -> _Scratch:
        fewest = 8 * min(_MIN_SAMPLES, len(block)) * width
        most = len(block) * width * min(8, max(4, 2 * block.itemsize))
        return cls(np.empty(max(fewest, min(most, _TILE_BYTES)), np.uint8), np.empty(8 * width, np.uint8))


@dataclass(slots=True)
class _Rows:
    """The sum of each sample, and the number of its values."""

    sums: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, flat: np.ndarray) -> _Rows:
        return cls(np.zeros(len(flat)), np.full(len(flat), flat.shape[1]))

    def part(self, first: int, count: int) -> _Rows:
        return _Rows(self.sums[first : first + count], self.counts[first : first + count])


@dataclass(slots=True)
class _Holes:
    """What must be subtracted from the sums of pixels, to have those over the samples where a neighbour is finite too.

    Attributes
    ----------
    keys : numpy.ndarray
        int64: the number of the neighbour times the number of pixels, plus the first pixel of the pair.
    sums : numpy.ndarray
        ``(5, keys)``: of 1, of both pixels, and of the squares of both.
    """

    keys: np.ndarray
    sums: np.ndarray

    @classmethod
    def none(cls) -> _Holes:
        return cls(np.empty(0, np.int64), np.empty((5, 0)))

    @classmethod
    def of(cls, holes: list[_Holes]) -> _Holes:
        """Put those of different pairs together."""
        holes = [one for one in holes if len(one.keys)]
        if len(holes) < 2:
            return holes[0] if holes else cls.none()
        return cls(np.concatenate([one.keys for one in holes]), np.concatenate([one.sums for one in holes], axis=1))

    def joined(self, later: _Holes) -> _Holes:
        # The border of a registered movie is the same in most samples
        if np.array_equal(self.keys, later.keys):
            return _Holes(self.keys, self.sums + later.sums)
        return _Holes.of([self, later]).in_order() if len(self.keys) and len(later.keys) else _Holes.of([self, later])

    def in_order(self) -> _Holes:
        """Sort the keys, and add up what belongs to the same one."""
        keys, place = np.unique(self.keys, return_inverse=True)
        return _Holes(keys, np.stack([np.bincount(place, one, len(keys)) for one in self.sums]))

    def subtracted(self, number: int, size: int, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return five values for all pairs of one kind of neighbours with what is missing subtracted."""
        a, b = np.searchsorted(self.keys, (number * size, (number + 1) * size))
        if a == b:
            return values
        places = self.keys[a:b] - number * size
        results = [np.array(np.broadcast_to(value, values[1].shape), np.float64) for value in values]
        for result, sums in zip(results, self.sums, strict=True):
            result[places] -= sums[a:b]
        return tuple(results)


def _dot(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the sum over the samples of the products, without an array for these."""
    sums: np.ndarray = np.einsum("tp,tp->p", a, b, out=None if out is None else out[: a.shape[1]])
    return sums


def _add_to(target: np.ndarray, sums: np.ndarray) -> None:
    # Sums of integers as float64 are below 2**53
    target += sums if np.can_cast(sums.dtype, target.dtype) else sums.astype(target.dtype)


def _pairs(step: tuple[int, int], shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the pixels that have a neighbour at this step, and those neighbours."""
    down, right = step
    rows, columns = shape[:2]
    if right < 0:
        return (slice(0, rows - down), slice(-right, columns)), (slice(down, rows), slice(0, columns + right))
    return (slice(0, rows - down), slice(0, columns - right)), (slice(down, rows), slice(right, columns))


def join_in_pairs(parts: Iterable[T], join: Callable[[T, T], T] = PixelSums.joined) -> T:  # type: ignore[assignment]
    """Join sums over consecutive samples as a binary tree, so that a part of 2**k of them is the same wherever it was joined."""
    waiting: list[tuple[int, T]] = []
    for part in parts:
        count = 1
        while waiting and waiting[-1][0] == count:
            part = join(waiting.pop()[1], part)
            count *= 2
        waiting.append((count, part))
    result = waiting.pop()[1]
    while waiting:
        result = join(waiting.pop()[1], result)
    return result

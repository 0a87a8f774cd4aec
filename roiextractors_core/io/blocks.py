"""A recording read in blocks of bounded size: all of it, for what writes it elsewhere, or scattered samples and parts of frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .indexing import consecutive_runs

__all__ = ["ConvertedArray", "Progress", "read_blocks", "read_cropped", "read_scattered", "sample_chunks"]

Progress = Callable[[int, int], None]

MAX_BLOCK_BYTES = 32 << 20


def read_blocks(
    recording: Any, *, max_bytes: int | None = None, progress: Progress | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield consecutive samples of a recording until all of them were read.

    Parameters
    ----------
    recording : ImagingExtractor
    max_bytes : int, optional
        The largest block, 32 MiB by default. One chunk of the file is read whole even where it is larger.
    progress : callable, optional
        Called as ``progress(done, total)``, in bytes of pixels, after the caller has used a block.

    Yields
    ------
    tuple of int and numpy.ndarray
        The first sample's index, and the samples as ``(samples, rows, columns[, planes])``.
    """
    count, total = len(recording), recording.nbytes
    length = sample_chunks(recording, max_bytes or MAX_BLOCK_BYTES)[0]
    for start in range(0, count, length):
        end = min(start + length, count)
        yield start, recording.get_series(start, end)
        if progress is not None:
            progress(total * end // count, total)


def sample_chunks(recording: Any, limit: int) -> tuple[int, ...]:
    """Return the shape of a chunk: the file's own chunks joined along the samples, at most ``limit`` bytes where one is smaller.

    Parameters
    ----------
    recording : ImagingExtractor
    limit : int
        Bytes.
    """
    shape, itemsize = recording.shape, recording.dtype.itemsize
    own = tuple(max(1, min(a, b)) for a, b in zip(recording.get_chunk_shape(), shape, strict=True))
    chunk = [own[0], *shape[1:]]
    for axis in range(1, len(shape)):  # whole frames, unless one row of the file's chunks is too much already
        if math.prod(chunk) * itemsize <= limit:
            break
        rest = math.prod(chunk) // chunk[axis] * itemsize
        chunk[axis] = max(own[axis], limit // max(1, rest) // own[axis] * own[axis])
    joined = limit // max(1, math.prod(chunk) * itemsize)
    chunk[0] = min(max(1, shape[0]), own[0] * max(1, joined))
    return tuple(min(max(1, n), max(1, whole)) for n, whole in zip(chunk, shape, strict=True))


def read_scattered(
    get_series: Callable[[int, int], np.ndarray], indices: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.ndarray:
    """Return samples by index, in any order; the file is read forwards, and each run of samples by one call.

    Parameters
    ----------
    get_series : callable
        Returns the samples from a first to a last one (exclusive).
    indices : numpy.ndarray
        int64, from 0.
    shape : tuple of int
        Of one sample.
    dtype : numpy.dtype
    """
    order = np.argsort(indices, kind="stable")
    ranked = indices[order]
    result = np.empty((len(indices), *shape), dtype)
    for first, last in consecutive_runs(ranked, _batch_length(shape, dtype)):
        low = int(ranked[first])
        series = get_series(low, int(ranked[last - 1]) + 1)
        result[order[first:last]] = series[ranked[first:last] - low]
    return result


def read_cropped(
    read: Callable[[Any], np.ndarray],
    samples: Any,
    part: tuple[slice, ...],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> np.ndarray:
    """Return a part of each sample, where whole ones must be read; few of them are in memory at a time.

    Parameters
    ----------
    read : callable
        Returns whole samples.
    samples : slice or numpy.ndarray
        Which ones; passed to ``read`` in batches.
    part : tuple of slice
        Of rows, columns and planes.
    shape : tuple of int
        Of one whole sample.
    dtype : numpy.dtype
    """
    count = samples.stop - samples.start if isinstance(samples, slice) else len(samples)
    result = np.empty((count, *(s.stop - s.start for s in part)), dtype)
    batch = _batch_length(shape, dtype)
    for a in range(0, count, batch):
        b = min(a + batch, count)
        some = slice(samples.start + a, samples.start + b) if isinstance(samples, slice) else samples[a:b]
        result[a:b] = read(some)[(slice(None), *part)]
    return result


def _batch_length(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    # Large enough to read fast, small beside any recording
    return max(1, MAX_BLOCK_BYTES // max(1, math.prod(shape) * dtype.itemsize))


class ConvertedArray:
    """A recording as a lazy, read-only array of another dtype, for a library that reads arrays.

    Parameters
    ----------
    recording : ImagingExtractor
    dtype : numpy.dtype
        Of the values that ``convert`` returns.
    convert : callable
        From an array of the recording's dtype to one of ``dtype`` and the same shape. It raises an error for a value that
        does not fit, rather than clip or round it.
    """

    def __init__(self, recording: Any, dtype: Any, convert: Callable[[np.ndarray], np.ndarray]) -> None:
        self.recording = recording
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._convert = convert

    @property
    def shape(self) -> tuple[int, ...]:
        """``(samples, rows, columns)`` or ``(samples, rows, columns, planes)``."""
        shape: tuple[int, ...] = self.recording.shape
        return shape

    @property
    def ndim(self) -> int:
        """3, or 4 when volumetric."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of pixels."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        return self._convert(np.asarray(self.recording[key]))

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[k] for k in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("cannot convert a recording to an array without copying; remove copy=False")
        return np.asarray(self[...], dtype)

    def __repr__(self) -> str:
        return f"<{self.dtype} array {self.shape} of {self.recording!r}>"

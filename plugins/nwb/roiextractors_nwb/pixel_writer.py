"""Pixels into the chunks of an HDF5 dataset, compressed on all cores."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from roiextractors_core.errors import UnknownOptionError
from roiextractors_core.io import Progress, blocks, num_cores, read_blocks, run_on_cores

__all__ = ["chunk_shape", "empty_dataset", "gzip_level", "stored_shape", "write_pixels"]

_CHUNK_BYTES = 1 << 20  # the chunk cache of HDF5 1.x, so that a program that reads pixel by pixel decodes a chunk once
# Level 1 after the shuffle filter: on 16-bit movies of microscopes it writes 0.3 to 6 % more than level 4, in half the time
_LEVEL = 1
_CACHE_BYTES = 32 << 10  # of the first level


def gzip_level(compression: str | int | None) -> int | None:
    """Return the level of gzip for the option ``compression``; None to store the pixels as they are.

    Raises
    ------
    UnknownOptionError
        It is neither ``"gzip"``, a level from 1 to 9, nor None.
    """
    if compression is None or compression == "gzip":
        return None if compression is None else _LEVEL
    text = str(compression)
    if isinstance(compression, bool) or not (len(text) == 1 and text in "0123456789"):
        raise UnknownOptionError(
            f"compression must be 'gzip', a level of it from 1 to 9, or None, got {compression!r:.60}"
        )
    return int(text) or None


def stored_shape(recording: Any) -> tuple[int, ...]:
    """Return the shape in NWB's order: (time, columns, rows[, planes])."""
    count, rows, columns, *planes = recording.shape
    return (count, columns, rows, *planes)


def chunk_shape(recording: Any) -> tuple[int, ...]:
    """Return the shape of a chunk, about 1 MiB: whole samples, or a part of one that is larger."""
    count, *sample = stored_shape(recording)
    itemsize = recording.dtype.itemsize
    # Planes first, then columns: what is cut off last is what is read together, an image
    for axis in (2, 0) if len(sample) == 3 else (0,):
        too_large = math.prod(sample) * itemsize / _CHUNK_BYTES
        if too_large > 1:
            sample[axis] = max(1, int(sample[axis] / too_large))
    length = max(1, _CHUNK_BYTES // max(1, math.prod(sample) * itemsize))
    return (min(count, length), *sample)


def empty_dataset(recording: Any, level: int | None) -> Any:
    """Return what hdmf makes an empty dataset of, which :func:`write_pixels` fills."""
    from hdmf.backends.hdf5 import H5DataIO

    packed = {} if level is None else {"compression": "gzip", "compression_opts": level, "shuffle": True}
    return H5DataIO(shape=stored_shape(recording), dtype=recording.dtype, chunks=chunk_shape(recording), **packed)


def write_pixels(recording: Any, dataset: Any, level: int | None, progress: Progress) -> None:
    """Write a recording into an empty dataset, whose filters are those of :func:`empty_dataset`.

    The filters are applied here, on all cores; libhdf5 applies them on one.
    """
    length, *tile = dataset.chunks
    for start, samples in _whole_chunks(recording, length, progress):
        _write_chunks(dataset, start, samples, (length, *tile), level)


def _whole_chunks(recording: Any, length: int, progress: Progress) -> Iterator[tuple[int, np.ndarray]]:
    """Yield consecutive samples in whole chunks; the recording is read in its own chunks, which may be of another length."""
    count, rest = len(recording), None
    for start, block in read_blocks(recording, max_bytes=_block_bytes(), progress=progress):
        end, first = start + len(block), start
        if rest is not None:
            joined = min(length - len(rest), len(block))
            first, rest = start + joined, np.concatenate([rest, block[:joined]])
            if len(rest) < length and end < count:
                continue
            yield first - len(rest), rest
        last = count if end == count else end - (end - first) % length
        if first < last:
            yield first, block[first - start : last - start]
        rest = block[last - start :].copy() if last < end else None  # a copy: a view would keep the whole block


def _block_bytes() -> int:
    """Return the size of a block: chunks for all cores, and little enough that memory is used again and not new each time."""
    return min(blocks.MAX_BLOCK_BYTES, 4 * num_cores() * _CHUNK_BYTES)


def _write_chunks(dataset: Any, start: int, samples: np.ndarray, chunk: Sequence[int], level: int | None) -> None:
    frames = samples.swapaxes(1, 2)  # a view in NWB's order; the pixels are moved in the threads
    corners = list(itertools.product(*(range(0, n, step) for n, step in zip(frames.shape, chunk, strict=True))))
    packed: list[Any] = [None] * len(corners)

    def pack(k: int) -> None:
        part = frames[tuple(slice(at, at + step) for at, step in zip(corners[k], chunk, strict=True))]
        packed[k] = _pack(part, chunk, level)

    run_on_cores([partial(pack, k) for k in range(len(corners))])
    for k, (at, *place) in enumerate(corners):
        dataset.id.write_direct_chunk((start + at, *place), packed[k])
        packed[k] = None


def _pack(part: np.ndarray, chunk: Sequence[int], level: int | None) -> Any:
    """Return the bytes of one chunk, as HDF5 stores it: at the edge, whole chunks too."""
    if part.shape != tuple(chunk):
        whole = np.zeros(chunk, part.dtype)
        whole[tuple(slice(n) for n in part.shape)] = part
        part = whole
    pixels = _in_order(part)
    if level is None:
        return pixels
    # The shuffle filter: the first bytes of all pixels, then the second ones. They are more alike than neighbours
    octets = pixels.reshape(-1).view(np.uint8).reshape(-1, pixels.itemsize)
    return zlib.compress(octets.T.tobytes(), level)


def _in_order(part: np.ndarray) -> np.ndarray:
    """Return a contiguous copy of ``(time, columns, rows[, planes])``, which is a view of rows of columns.

    Rows that are a multiple of 256 bytes apart share few lines of the processor's cache, so few of them are copied at a time:
    2.4 times as fast for frames of 512 x 512.
    """
    apart = abs(part.strides[2])
    if part.ndim != 3 or apart % 256:
        return np.ascontiguousarray(part)
    pixels = np.empty(part.shape, part.dtype)
    step = max(8, _CACHE_BYTES // apart)
    for row in range(0, part.shape[2], step):
        pixels[:, :, row : row + step] = part[:, :, row : row + step]
    return pixels

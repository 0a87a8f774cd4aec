"""Writes CaImAn's memory maps, and gives recordings as the arrays that CaImAn's functions take."""

from __future__ import annotations

import errno
import functools
import math
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from roiextractors_core.errors import DeclarationError, UnsupportedRecordingError
from roiextractors_core.io import ConvertedArray, Progress, read_blocks, require_room

__all__ = ["MemoryMapWriter", "for_caiman", "write"]

_FRAME_BLOCK = 32 << 20
_PIXEL_BLOCK = 128 << 20  # longer blocks write longer runs of each pixel's time course
_TILE_PIXELS = 4096

_Convert = Callable[[np.ndarray], np.ndarray]


class MemoryMapWriter:
    """Writes a recording as a memory map of CaImAn; see :class:`roiextractors_core.interop.writer.Writer`.

    CaImAn reads shape and order from the file's name, so ``movie.mmap`` becomes
    ``movie_d1_<rows>_d2_<columns>_d3_<planes>_order_<order>_frames_<samples>.mmap``. The values are the recording's; CaImAn's
    own ``save_memmap`` adds 0.0001 to each.

    References
    ----------
    CaImAn's ``memmap_frames_filename``, ``decode_mmap_filename_dict`` and ``load_memmap``.
    """

    def __call__(
        self,
        recording: Any,
        partial: Path,
        *,
        target: Path,
        progress: Progress,
        order: str = "C",
        rounding: bool = False,
    ) -> None:
        """Write a recording.

        Parameters
        ----------
        recording, partial, target, progress
            As in the contract. Planes become d3.
        order : str
            ``"C"``, the time course of one pixel after the other, which CaImAn's source extraction reads; ``"F"``, one frame
            after the other, for motion correction.
        rounding : bool
            As for :func:`for_caiman`.

        Raises
        ------
        DeclarationError
            The order is neither ``"C"`` nor ``"F"``.
        UnsupportedRecordingError
            The recording is empty or complex, or a value would have to be rounded.
        """
        _check_order(order)
        if not recording.size:
            raise UnsupportedRecordingError(f"CaImAn cannot read an empty recording (shape {recording.shape})")
        convert = _float32(recording, rounding)
        require_room(partial, recording.size * 4)
        with partial.open("w+b") as stream:
            if order == "F":
                for _, block in read_blocks(recording, max_bytes=_FRAME_BLOCK, progress=progress):
                    stream.write(_pixels(convert(block)).data)
            else:
                _write_time_courses(stream, recording, convert, progress)

    def target_name(self, recording: Any, target: Path, *, order: str = "C", rounding: bool = False) -> str:
        """Return the name by which CaImAn reads the file: the target's stem, the shape, the order."""
        _check_order(order)
        # The name of another map already contains a shape, which the new one replaces
        base = target.name.removesuffix(target.suffix).partition("_d1_")[0]
        rows, columns, planes = recording.get_volume_shape()
        return f"{base}_d1_{rows}_d2_{columns}_d3_{planes}_order_{order}_frames_{len(recording)}.mmap"


write = MemoryMapWriter()


def for_caiman(recording: Any, *, rounding: bool = False) -> ConvertedArray:
    """Return a recording as the float32 array ``(frames, d1, d2[, d3])`` that CaImAn's functions take.

    Parameters
    ----------
    recording : ImagingExtractor
    rounding : bool
        Round values that float32 cannot store exactly (of float64, and integers beyond 16,777,216) to the nearest that it can.

    Raises
    ------
    UnsupportedRecordingError
        The recording is complex; when read, a value would have to be rounded and ``rounding`` is False.
    """
    return ConvertedArray(recording, np.float32, _float32(recording, rounding))


# Values


def _float32(recording: Any, rounding: bool) -> _Convert:
    if recording.dtype.kind == "c":
        raise UnsupportedRecordingError(
            f"CaImAn needs float32 and this recording is {recording.dtype}; pass its magnitude"
        )
    return functools.partial(_as_float32, rounding=rounding)


def _as_float32(block: np.ndarray, *, rounding: bool) -> np.ndarray:
    dtype = block.dtype
    if np.can_cast(dtype, np.float32):
        return block.astype(np.float32, copy=False)
    with np.errstate(over="ignore"):  # an overflow is refused below, with a message
        result = block.astype(np.float32)
    if dtype.kind == "f" and (np.isinf(result) & np.isfinite(block)).any():
        raise UnsupportedRecordingError(
            f"CaImAn needs float32 and this {dtype} recording contains values beyond its range"
        )
    if not rounding and not _is_exact(result, block):
        raise UnsupportedRecordingError(
            f"CaImAn needs float32 and this {dtype} recording contains values that float32 cannot store exactly; "
            "pass rounding=True for the nearest ones"
        )
    return result


def _is_exact(result: np.ndarray, block: np.ndarray) -> bool:
    if block.dtype.kind in "iu" and block.size and max(abs(int(block.min())), abs(int(block.max()))) > 1 << 53:
        return False  # float64, in which the two are compared, is not exact either
    return np.array_equal(result.astype(np.float64), block.astype(np.float64), equal_nan=True)


# Files


def _check_order(order: str) -> None:
    if order not in ("C", "F"):
        raise DeclarationError(f"order must be 'C' or 'F', got {order!r:.40}")


def _pixels(block: np.ndarray) -> np.ndarray:
    """Return samples as ``(samples, pixels)``, the pixels of each in Fortran order."""
    turned = block.transpose(0, *range(block.ndim - 1, 0, -1))
    return np.ascontiguousarray(turned, "<f4").reshape(len(block), -1)


def _write_time_courses(stream: BinaryIO, recording: Any, convert: _Convert, progress: Progress) -> None:
    shape = (math.prod(recording.get_volume_shape()), len(recording))
    _reserve(stream, math.prod(shape) * 4)
    # Not numpy.memmap, which an error in flight keeps open: Windows removes no file that is mapped
    with mmap.mmap(stream.fileno(), math.prod(shape) * 4) as mapped:
        matrix = np.frombuffer(mapped, "<f4").reshape(shape)
        try:
            for start, block in read_blocks(recording, max_bytes=_PIXEL_BLOCK, progress=progress):
                pixels = _pixels(convert(block))
                # A transposition of all at once would miss the processor's cache
                for first in range(0, len(matrix), _TILE_PIXELS):
                    tile = slice(first, first + _TILE_PIXELS)
                    matrix[tile, start : start + len(block)] = pixels[:, tile].T
            mapped.flush()
        finally:
            del matrix  # a map of which there is a view cannot be closed


def _reserve(stream: BinaryIO, size: int) -> None:
    """Allocate the space now: writing to a map of a file that a full disk cannot store would end the process."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(stream.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # file systems without preallocation
                raise
    zeros = memoryview(bytes(min(size, 1 << 20)))
    for start in range(0, size, len(zeros)):
        stream.write(zeros[: size - start])
    stream.flush()

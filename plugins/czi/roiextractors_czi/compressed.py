"""Decompresses the pixels of a subblock: JPEG XR and Zstandard, through imagecodecs."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError
from roiextractors_core.io import import_library, library_errors

__all__ = ["decompress"]

_JPEG_XR, _ZSTD, _ZSTD_WITH_HEADER = 4, 5, 6
_NAMES = {1: "JPEG", 2: "LZW"}
_WIDTH, _HEIGHT = 0xBC80, 0xBC81  # tags of the container of JPEG XR
_TYPES = {1: "B", 3: "<H", 4: "<I"}


def decompress(data: bytes, packing: int, *, shape: tuple[int, int], dtype: np.dtype[Any], name: str) -> np.ndarray:
    """Return the pixels of one subblock, ``(rows, columns)``.

    Parameters
    ----------
    data : bytes
        As in the subblock.
    packing : int
        The number of the compression in the directory.
    shape, dtype
        Of the frame, by the directory.
    name : str
        Of the file.

    Raises
    ------
    MissingDependencyError
        imagecodecs is not installed.
    UnsupportedRecordingError
        The compression is another one.
    CorruptRecordingError
        The pixels do not decompress, or to another size.

    References
    ----------
    ZEISS ZISRAW (CZI) file format: ``Compression`` of DirectoryEntryDV, and the header of ``Zstd1``.
    """
    if packing not in (_JPEG_XR, _ZSTD, _ZSTD_WITH_HEADER):
        known = _NAMES.get(packing, f"number {packing}")
        raise UnsupportedRecordingError(
            f"{name} has frames with the compression {known}; save it in ZEN without compression, with JPEG XR or Zstandard"
        )
    codecs = import_library("imagecodecs", f"{name}, whose frames are compressed,")
    with library_errors(name, "imagecodecs", reads_pixels=True):
        if packing == _JPEG_XR:
            pixels = _jpeg_xr(codecs, data, shape, name)
        else:
            start, is_split = _header(data, name) if packing == _ZSTD_WITH_HEADER else (0, False)
            pixels = _zstd(codecs, data[start:], shape, dtype, is_split)
    if pixels.shape != shape or pixels.dtype != dtype.newbyteorder("="):
        raise CorruptRecordingError(
            f"{name}: a frame decompressed to {pixels.dtype} of the shape {pixels.shape}, expected {dtype} of {shape}"
        )
    return pixels


def _zstd(codecs: Any, data: bytes, shape: tuple[int, int], dtype: np.dtype[Any], is_split: bool) -> np.ndarray:
    needed = math.prod(shape) * dtype.itemsize
    content = np.frombuffer(codecs.zstd_decode(data, out=needed), np.uint8)  # no more room than a frame has pixels
    if len(content) != needed:
        return content
    if is_split:  # the lower bytes of all pixels come before the upper ones
        content = np.ascontiguousarray(content.reshape(dtype.itemsize, -1).T).ravel()
    return content.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _header(data: bytes, name: str) -> tuple[int, bool]:
    """Return where the compressed bytes start, and whether lower and upper bytes are apart."""
    length = data[0] if data else 0
    if length == 1:
        return 1, False
    if length == 3 and len(data) > 3 and data[1] == 1:  # one chunk, of the type HiLoByteUnpackPreprocessing
        return 3, bool(data[2] & 1)
    raise CorruptRecordingError(f"{name}: a frame begins with the header {data[:4].hex(' ')}, expected one of Zstd1")


def _jpeg_xr(codecs: Any, data: bytes, shape: tuple[int, int], name: str) -> np.ndarray:
    claimed = _claimed(data)
    # The decoder makes room for what the container claims
    if claimed != shape:
        raise CorruptRecordingError(f"{name}: a frame of JPEG XR claims (rows, columns) {claimed}, expected {shape}")
    return np.asarray(codecs.jpegxr_decode(data))


def _claimed(data: bytes) -> tuple[int, int]:
    """Return the rows and columns that the container of JPEG XR states; 0 where it states none.

    References
    ----------
    ITU-T T.832, annex A: a directory of tags as in TIFF.
    """
    sizes = {_HEIGHT: 0, _WIDTH: 0}
    if len(data) > 8 and data[:3] == b"II\xbc":
        at = struct.unpack_from("<I", data, 4)[0]
        count = struct.unpack_from("<H", data, at)[0] if at + 2 <= len(data) else 0
        for k in range(count):
            if at + 14 + 12 * k > len(data):
                break
            tag, kind, number = struct.unpack_from("<HHI", data, at + 2 + 12 * k)
            if tag in sizes and kind in _TYPES and number == 1:
                sizes[tag] = struct.unpack_from(_TYPES[kind], data, at + 10 + 12 * k)[0]
    return sizes[_HEIGHT], sizes[_WIDTH]

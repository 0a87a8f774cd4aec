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
_TYPES = {1: "B", 3: "<H", 4: "<I"}  # of tags in the container of JPEG XR
_CONTAINER = 96  # bytes before the codestream in the one that is made here
_GRAY, _MAX_BANDS = 0, 3
_DEPTHS = {"|u1": 1, "<u2": 2, "<f4": 7}  # OUTPUT_BITDEPTH of a codestream
_KINDS = {
    "|u1": 0x08,
    "<u2": 0x0B,
    "<f4": 0x11,
}  # the last byte of the name of a type of pixels: gray, 8, 16 and 32 bit


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
            pixels = _jpeg_xr(codecs, data, shape, dtype, name)
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


def _jpeg_xr(codecs: Any, data: bytes, shape: tuple[int, int], dtype: np.dtype[Any], name: str) -> np.ndarray:
    """Decode a frame whose headers are sound.

    The decoder trusts the headers, and a damaged one ends the process or makes room for any size; damage in the coefficients is
    harmless.  So it gets a container that is made here, around a codestream whose header says what the directory says.
    """
    start, length = _codestream(data)
    stream = data[start : start + length]
    stated = _stated(stream)
    expected = (*shape, _GRAY, _DEPTHS.get(dtype.str))
    if stated != expected:
        raise CorruptRecordingError(
            f"{name}: a frame of JPEG XR states (rows, columns, colours, depth) {stated}, expected {expected}"
        )
    tags = [(0xBC80, shape[1]), (0xBC81, shape[0]), (0xBCC0, _CONTAINER), (0xBCC1, len(stream))]
    entries = [(0xBC01, 1, 16, _CONTAINER - 16), *((tag, 4, 1, value) for tag, value in tags)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    kind = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc9") + bytes([_KINDS[dtype.str]])
    head = b"II\xbc\x01" + struct.pack("<I", 8) + directory
    return np.asarray(codecs.jpegxr_decode(head.ljust(_CONTAINER - 16, b"\0") + kind + stream))


def _codestream(data: bytes) -> tuple[int, int]:
    """Return where the codestream is in the container, and its length; 0 where the container states none.

    References
    ----------
    ITU-T T.832, annex A: a directory of tags as in TIFF.
    """
    found = {0xBCC0: 0, 0xBCC1: 0}
    if len(data) > 10 and data[:3] == b"II\xbc":
        at = struct.unpack_from("<I", data, 4)[0]
        count = struct.unpack_from("<H", data, at)[0] if at + 2 <= len(data) else 0
        for k in range(min(count, 64)):
            if at + 14 + 12 * k > len(data):
                break
            tag, kind, number = struct.unpack_from("<HHI", data, at + 2 + 12 * k)
            if tag in found and kind in _TYPES and number == 1:
                found[tag] = struct.unpack_from(_TYPES[kind], data, at + 10 + 12 * k)[0]
    return found[0xBCC0], found[0xBCC1]


def _stated(stream: bytes) -> tuple[int, ...]:
    """Return rows, columns, format of colours and depth by the header of a codestream; empty for a header that is damaged.

    References
    ----------
    ITU-T T.832, 8.3 IMAGE_HEADER and 8.4 IMAGE_PLANE_HEADER.
    """
    if len(stream) < 40 or stream[:8] != b"WMPHOTO\0":
        return ()
    is_tiled, is_short, has_margins = stream[9] >> 7, stream[10] >> 7, stream[10] >> 5 & 1
    columns, rows = (value + 1 for value in struct.unpack_from(">HH" if is_short else ">II", stream, 12))
    at = 16 if is_short else 20
    if is_tiled:
        word = int.from_bytes(stream[at : at + 3], "big")
        at += 3 + ((word >> 12) + (word & 0xFFF)) * (1 if is_short else 2)  # sizes of all tiles but the last ones
    at += 3 * has_margins
    if at >= len(stream):
        return ()
    inside, bands = stream[at] >> 5, stream[at] & 15
    is_sound = inside == _GRAY and bands <= _MAX_BANDS
    return (rows, columns, stream[11] >> 4, stream[11] & 15) if is_sound else ()

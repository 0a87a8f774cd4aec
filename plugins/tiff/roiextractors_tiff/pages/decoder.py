"""Decodes the strips and tiles of compressed, packed or tiled pages with tifffile and imagecodecs."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)

from .codestream import IMAGE_CODECS, values_claimed
from .directory import Directory, TiffFile
from .page import Page
from .walked import WalkedPages

__all__ = ["Decoder"]

_IS_QUIET: ContextVar[bool] = ContextVar("is_quiet", default=False)

_JPEG, _JPEG_TABLES = (6, 7, 34892, 33007), 347
_BYTE_CODECS = frozenset((5, 8, 32773, 32946, 34925, 34926, 50000, 50013))  # LZW, Deflate, PackBits, LZMA, Zstandard
_SIZED = frozenset((1, 2, 3, 4, 65000, 65001, 65002))  # decoded to the shape of the segment: none, CCITT, EER
_MAX_TILE = 1 << 26  # values by which a tile may be larger than a page


class Decoder:
    """Decodes the segments of one file's pages.

    tifffile makes the function that decodes from the first page's tags; it is used for all pages, whose tags have been
    found to be the same.  The bytes are read here, so that pages are decoded on all cores without a lock on one file.
    """

    def __init__(self, tiff: TiffFile, first: Directory, page: Page) -> None:
        import tifffile  # at the first page that needs decoding: importing it takes longer than opening a file

        self._tiff = tiff
        self._page = page
        where = f"{tiff.name}: page {first.page:,} at byte {first.offset:,}"
        try:
            with _without_log(), tiff.file.stream() as stream, tifffile.TiffFile(stream, name=tiff.file.name) as opened:
                opened.filehandle.seek(first.offset)
                key = tifffile.TiffPage(opened, first.page)
                self._unpack, self._reverse = self._unpacker(tifffile, key)
                # Taken while the file is open: the decoder of JPEG looks into it when it is made
                self._shaped, self._decode = key.shaped, key.decode
        except Exception as error:  # tifffile and imagecodecs raise errors of any kind on damaged tags
            _raise_file_error(error)
            raise CorruptRecordingError(f"{where} has tags that tifffile cannot read: {printable(error)}") from error
        if math.prod(self._shaped) != page.rows * page.columns * page.samples:
            raise CorruptRecordingError(
                f"{where} has tags that contradict each other: {page.rows:,} x {page.columns:,} x "
                f"{page.samples} values, or {self._shaped}"
            )

    def _unpacker(self, tifffile: Any, key: Any) -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
        """Return what decompresses a segment to bytes, and what reverses its bits; tifffile then decodes what is unpacked.

        tifffile cuts a segment that decompresses to more than its pixels; here it is an error.
        """
        page = self._page
        tiled = (int(key.tiledepth or 1), int(key.tilelength), int(key.tilewidth)) if page.tiled else None
        depth, rows, columns = tiled or (1, min(page.rows, int(key.rowsperstrip)), page.columns)
        samples = 1 if page.planar else page.samples
        self._max_values = depth * rows * columns * samples
        # Chroma subsampling makes blocks of up to 16 x 16 pixels
        self._max_padded = depth * (rows + -rows % 16) * (columns + -columns % 16) * samples
        self._max_bytes = depth * rows * -(-columns * samples * page.bits // 8)
        if self._max_values > page.rows * page.columns * page.samples + _MAX_TILE:
            raise CorruptRecordingError(
                f"{self._tiff.name} claims tiles of {depth} x {rows:,} x {columns:,} for pages of {page.rows:,} x {page.columns:,}"
            )
        # Image codecs state their size in their own header, which is looked at before each segment is decoded
        if page.compression not in _BYTE_CODECS:
            return None, None
        unpack = tifffile.TIFF.DECOMPRESSORS[page.compression]
        reverse = importlib.import_module("imagecodecs").bitorder_decode if key.fillorder == 2 else None
        key.compression, key.fillorder = 1, 1  # tifffile then gets bytes that are decompressed already
        return unpack, reverse

    def _require_bounded(self, data: bytes, where: str) -> bytes:
        """Return the bytes for tifffile, unpacked; raise if they decode to more than the segment has."""
        compression = self._page.compression
        if self._unpack is not None:
            with _decoding(where):
                # One byte more than expected: a longer result is noticed, and a bomb does not fill the memory
                data = self._unpack(self._reverse(data) if self._reverse else data, out=self._max_bytes + 1)
            if len(data) > self._max_bytes:
                raise CorruptRecordingError(
                    f"{where} decompresses to more than the {self._max_bytes:,} bytes of its pixels"
                )
        elif compression in IMAGE_CODECS:
            try:
                claimed = values_claimed(compression, data, self._page.samples)
            except ValueError as error:
                raise CorruptRecordingError(f"{where} cannot be decoded: {error}") from error
            limit = self._max_padded if compression in _JPEG else self._max_values  # JPEG is padded to its blocks
            if claimed > limit:
                raise CorruptRecordingError(
                    f"{where} contains an image of {claimed:,} values, expected {self._max_values:,}; the file is damaged"
                )
        elif compression not in _SIZED:
            raise UnsupportedRecordingError(f"{where} has compression {compression}, which is not supported")
        return data

    def task(
        self, layout: WalkedPages, page: int, frame: np.ndarray, rows: slice, columns: slice
    ) -> Callable[[], None]:
        """Return what decodes a part of a page into an array."""
        return functools.partial(self._read_into, layout, page, frame, rows, columns)

    def _read_into(self, layout: WalkedPages, page: int, frame: np.ndarray, rows: slice, columns: slice) -> None:
        decoded = np.zeros(self._shaped, self._page.dtype)  # zeros: segments that a sparse file leaves out
        tables = self._jpeg_tables(layout, page)
        is_whole = frame.size == self._page.rows * self._page.columns * self._page.samples
        for number, (offset, length) in enumerate(zip(*layout.segments.of(page), strict=True)):
            # Sparse files, as GDAL writes them, leave out segments of zeros: offset and length are 0
            if length == offset == 0:
                continue
            where = f"{self._tiff.name}: page {page:,}, segment {number} at byte {offset:,}"
            if not (is_whole or self._overlaps(number, rows, columns, where)):
                continue
            data = self._require_bounded(self._read_segment(page, offset, length, where), where)
            with _decoding(where):
                segment, (s, d, h, w, _), shape = self._decode(data, number, jpegtables=tables)
                if segment is not None:
                    # Tiles at the right and lower edge reach over the page
                    room = decoded[s, d : d + shape[0], h : h + shape[1], w : w + shape[2]]
                    room[...] = segment[: room.shape[0], : room.shape[1], : room.shape[2]]
        is_planar = self._page.planar and self._page.samples > 1
        image = np.moveaxis(decoded[:, 0, :, :, 0], 0, -1) if is_planar else decoded[0, 0]
        image = image[rows, columns]
        frame[...] = image.reshape(frame.shape)

    def _jpeg_tables(self, layout: WalkedPages, page: int) -> bytes | None:
        """Return the quantization and Huffman tables of a JPEG page; each page may have its own."""
        if self._page.compression not in _JPEG[:2]:
            return None
        directory = self._tiff.directory(int(layout.table_offsets(np.array([page]))[0]), page)
        tables = directory.value(_JPEG_TABLES)
        return tables if isinstance(tables, bytes) else None

    def _overlaps(self, number: int, rows: slice, columns: slice, where: str) -> bool:
        """Return whether a segment contains pixels of the part."""
        with _decoding(where):
            _, (_, _, row, column, _), shape = self._decode(None, number)
        is_beside = row >= rows.stop or row + shape[1] <= rows.start
        return not (is_beside or column >= columns.stop or column + shape[2] <= columns.start)

    def _read_segment(self, page: int, offset: int, length: int, where: str) -> bytes:
        if length <= 0:
            raise CorruptRecordingError(f"{where} has a length of 0 bytes")
        data = self._tiff.file.read(offset, length)
        if len(data) < length:
            raise TruncatedRecordingError(
                f"{self._tiff.name}: page {page:,} is truncated: expected {length:,} bytes at byte {offset:,}, got {len(data):,}"
            )
        return data


@contextlib.contextmanager
def _decoding(where: str) -> Iterator[None]:
    """Raise what a decoder raises as damage."""
    try:
        yield
    except Exception as error:  # each codec raises errors of its own
        raise CorruptRecordingError(
            f"{where} cannot be decoded ({type(error).__name__}: {printable(error)[:120]})"
        ) from error


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Keep tifffile from logging what is raised here as an error."""
    logging.getLogger("tifffile").addFilter(_passes)  # once: a filter that is there is not added again
    token = _IS_QUIET.set(True)
    try:
        yield
    finally:
        _IS_QUIET.reset(token)


def _passes(_: logging.LogRecord) -> bool:
    """Pass the messages of other threads and programs; the level of the logger belongs to the process."""
    return not _IS_QUIET.get()


def _raise_file_error(error: BaseException | None) -> None:
    """Raise the error about the file itself (it has gone, the disk fails) that a library's error comes from, if any."""
    while error is not None:
        if isinstance(error, SourceError):
            raise error
        error = error.__cause__ or error.__context__

"""Decodes the strips and tiles of compressed, packed or tiled pages with tifffile and imagecodecs."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import Callable, Iterator

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, SourceError, TruncatedRecordingError, printable

from .directory import Directory, TiffFile
from .page import Page
from .walked import WalkedPages

__all__ = ["Decoder"]

_JPEG, _JPEG_TABLES = (6, 7), 347


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

    def task(
        self, layout: WalkedPages, page: int, frame: np.ndarray, rows: slice, columns: slice
    ) -> Callable[[], None]:
        """Return what decodes a part of a page into an array."""
        return functools.partial(self._read_into, layout, page, frame, rows, columns)

    def _read_into(self, layout: WalkedPages, page: int, frame: np.ndarray, rows: slice, columns: slice) -> None:
        decoded = np.zeros(self._shaped, self._page.dtype)
        tables = self._jpeg_tables(layout, page)
        is_whole = frame.size == self._page.rows * self._page.columns * self._page.samples
        for number, (offset, length) in enumerate(zip(*layout.segments.of(page), strict=True)):
            # Sparse files, as GDAL writes them, leave out segments of zeros: offset and length are 0
            if length == offset == 0:
                continue
            where = f"{self._tiff.name}: page {page:,}, segment {number} at byte {offset:,}"
            if not (is_whole or self._overlaps(number, rows, columns, where)):
                continue
            data = self._read_segment(page, offset, length, where)
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
        if self._page.compression not in _JPEG:
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
    logger = logging.getLogger("tifffile")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _raise_file_error(error: BaseException | None) -> None:
    """Raise the error about the file itself (it has gone, the disk fails) that a library's error comes from, if any."""
    while error is not None:
        if isinstance(error, SourceError):
            raise error
        error = error.__cause__ or error.__context__

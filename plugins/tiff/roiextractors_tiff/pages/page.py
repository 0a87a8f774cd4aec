"""What all pages of a recording have in common, and where the pixels of one page are."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError

from .directory import Directory

__all__ = ["CODING_TAGS", "SHAPE_TAGS", "Page", "block_of", "differing_page", "segment_shape", "segments_of"]

CODING_TAGS = (262, 266, 530)  # PhotometricInterpretation, FillOrder, YCbCrSubSampling
SHAPE_TAGS = (256, 257, 258, 259, 277, 278, 284, 317, 322, 323, 339)

_KINDS = {
    1: "u",
    2: "i",
    3: "f",
    4: "u",
    6: "c",
}  # SampleFormat as numpy's letters; 4, "undefined", is unsigned by custom
_WIDTHS = {"u": (8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64), "c": (64, 128)}
_STORED_BITS = {1: 8, 2: 8, 4: 8, 10: 16, 12: 16, 14: 16}  # of packed pixels, the width after decoding
_MAX_SIDE, _MAX_PAGE_BYTES, _MAX_SAMPLES = 1 << 24, 1 << 36, 4096


@dataclass(frozen=True, slots=True)
class Page:
    """The properties that all pages of a recording have in common.

    Attributes
    ----------
    rows, columns, samples : int
        ``samples`` are the values of one pixel.
    planar : bool
        Whether the samples are stored one plane after the other.
    dtype : str
        Of the decoded pixels, with the file's byte order.
    bits : int
        Of one stored value.
    compression, predictor : int
        As numbered by TIFF; 1 is none.
    tiled : bool
    coding : tuple of int
        Of compressed pages, the values of the further tags on which their decoder depends.
    """

    rows: int
    columns: int
    samples: int
    planar: bool
    dtype: str
    bits: int
    compression: int
    tiled: bool
    predictor: int
    coding: tuple[int, ...] = ()

    @classmethod
    def of(cls, directory: Directory) -> Page:
        """Return the properties of a directory's page.

        Raises
        ------
        CorruptRecordingError, UnsupportedRecordingError
            The tags are missing or impossible, or the pixels of a type that is not supported.
        """
        where = f"{directory.tiff.name}: page {directory.page:,} (directory at byte {directory.offset:,})"
        missing = [str(code) for code in (256, 257) if code not in directory.entries]
        if missing:
            raise CorruptRecordingError(f"{where} lacks the tags {', '.join(missing)} (width, length)")
        rows, columns = directory.number(257, 0), directory.number(256, 0)
        samples, compression = directory.number(277, 1), directory.number(259, 1)
        bits, sample_format = _bits_of(directory), directory.number(339, 1)
        kind, stored = _KINDS.get(sample_format, ""), _STORED_BITS.get(bits, bits)
        if stored not in _WIDTHS.get(kind, ()) or not 0 < samples <= _MAX_SAMPLES:
            raise UnsupportedRecordingError(
                f"{where} has {samples:,} samples of {bits:,} bits in sample format {sample_format}, which is not supported"
            )
        if directory.number(32997, 1) > 1:
            raise UnsupportedRecordingError(
                f"{where} stores {directory.number(32997, 1):,} planes in one page (ImageDepth), which is not supported; write each plane as a page"
            )
        is_possible = 0 < rows <= _MAX_SIDE and 0 < columns <= _MAX_SIDE
        if not is_possible or rows * columns * samples * stored // 8 > _MAX_PAGE_BYTES:
            raise CorruptRecordingError(
                f"{where} claims {rows:,} rows of {columns:,} columns, which is impossible; the file is damaged"
            )
        dtype = "u1" if bits == 1 else f"{directory.tiff.order}{kind}{stored // 8}" if stored > 8 else f"{kind}1"
        planar, predictor = directory.number(284, 1) == 2, directory.number(317, 1)
        coding = () if compression == 1 else tuple(directory.number(code, 0) for code in CODING_TAGS)
        tiled = 322 in directory.entries
        return cls(rows, columns, samples, planar, dtype, bits, compression, tiled, predictor, coding)

    @property
    def nbytes(self) -> int:
        """Bytes of one page's decoded pixels."""
        return self.rows * self.columns * self.samples * np.dtype(self.dtype).itemsize

    @property
    def is_plain(self) -> bool:
        """Whether the bytes in the file are the pixels, row by row."""
        return (
            self.compression == 1
            and not self.tiled
            and self.predictor == 1
            and self.bits == 8 * np.dtype(self.dtype).itemsize
            and not (self.planar and self.samples > 1)
        )

    @property
    def packing(self) -> str:
        """The compression in words, for messages."""
        words = str(self.compression) if self.predictor == 1 else f"{self.compression}, predictor {self.predictor}"
        return f"{words} (tags {CODING_TAGS}: {self.coding})" if self.coding else words


def _bits_of(directory: Directory) -> int:
    """Return the bits of one value.

    Zeiss LSM stores the bits of two channels elsewhere and their offset in the tag, although they would fit into it.
    """
    values = directory.value(258)
    if isinstance(values, tuple) and len(values) == 2 and values[0] != values[1] and directory.is_inline(258):
        tiff = directory.tiff
        raw = tiff.file.read(struct.unpack(tiff.order + "I", struct.pack(tiff.order + "HH", *values))[0], 4)
        pair = struct.unpack(tiff.order + "HH", raw) if len(raw) == 4 else (0, 0)
        if pair[0] == pair[1] and pair[0] in (8, 16, 32):
            return int(pair[0])
    return directory.number(258, 1)


def differing_page(page: Page, directory: Directory) -> CorruptRecordingError:
    """Return the error for a page that differs from the pages before it."""
    seen = Page.of(directory)
    return CorruptRecordingError(
        f"{directory.tiff.name}: page {directory.page:,} (directory at byte {directory.offset:,}) has {seen.rows:,} rows of {seen.columns:,} columns, "
        f"{seen.samples} x {np.dtype(seen.dtype)}, compression {seen.packing}; the pages before have {page.rows:,} rows of "
        f"{page.columns:,} columns, {page.samples} x {np.dtype(page.dtype)}, compression {page.packing}"
    )


def segments_of(directory: Directory) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the offsets and the lengths in bytes of a page's strips or tiles."""
    where = f"{directory.tiff.name}: page {directory.page:,} (directory at byte {directory.offset:,})"
    tiled = 322 in directory.entries
    offsets, counts = directory.value(324 if tiled else 273), directory.value(325 if tiled else 279)
    if offsets is None:
        raise CorruptRecordingError(f"{where} does not say where its pixels are")
    offsets = offsets if isinstance(offsets, tuple) else (offsets,)
    if counts is None and len(offsets) == 1:  # old writers of a single strip leave its length out
        counts = Page.of(directory).nbytes
    counts = counts if isinstance(counts, tuple) else (counts,)
    for value in (*offsets, *counts):
        if not isinstance(value, int) or not 0 <= value < 1 << 62:
            raise CorruptRecordingError(f"{where} has the offset or length {value!r:.40} for its pixels; it is damaged")
    if len(counts) != len(offsets):
        raise CorruptRecordingError(f"{where} has {len(offsets):,} offsets but {len(counts):,} lengths")
    return offsets, counts


def segment_shape(directory: Directory, page: Page) -> tuple[int, int]:
    """Return the rows and columns of a page's tiles, or of its strips."""
    if page.tiled:
        return directory.number(323, 0), directory.number(322, 0)
    return min(page.rows, directory.number(278, page.rows)), page.columns


def block_of(directory: Directory) -> tuple[int, int]:
    """Return the offset and the length of a page's pixels in bytes; (-1, 0) when its strips are not one block."""
    offsets, counts = segments_of(directory)
    if any(a + n != b for a, n, b in zip(offsets[:-1], counts[:-1], offsets[1:], strict=True)):
        return -1, 0
    return offsets[0], sum(counts)

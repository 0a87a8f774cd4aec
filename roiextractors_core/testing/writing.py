"""Files written from recordings, whole or not at all: NumPy and TIFF, and the parts that other writers need."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import DeclarationError, RoiExtractorsError, SourceNotFoundError, listed, printable
from ..imaging.extractor import ImagingExtractor

__all__ = [
    "Progress",
    "TargetExistsError",
    "TiffDirectory",
    "page_fields",
    "rational",
    "read_blocks",
    "report_progress",
    "tiff_head",
    "write_npy",
    "write_tiff",
    "write_whole",
]

Progress = Callable[[int, int], None]

_BLOCK_BYTES = 8 << 20
_CLASSIC_LIMIT = 1 << 32


class TargetExistsError(RoiExtractorsError, FileExistsError):
    """A file is there already where a recording would be written."""


def write_npy(
    recording: ImagingExtractor,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a recording as ``.npy``, block by block, so that its length costs no memory.

    Parameters
    ----------
    recording : ImagingExtractor
    path : str or os.PathLike
        The file appears under this name when it is complete.
    overwrite : bool
        Whether a file that is there may be replaced.
    progress : callable, optional
        ``progress(done, total)`` in samples.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    TargetExistsError
        A file is there, and may not be replaced.
    SourceNotFoundError
        The folder is not there.

    Examples
    --------
    >>> from roiextractors_core.testing import NoiseImagingExtractor, write_npy
    >>> write_npy(NoiseImagingExtractor((10, 32, 32)), "noise.npy").stat().st_size
    20608
    """

    def content(stream: BinaryIO) -> None:
        dtype = np.lib.format.dtype_to_descr(recording.dtype)
        header = {"descr": dtype, "fortran_order": False, "shape": recording.shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for done, block in read_blocks([recording]):
            stream.write(np.ascontiguousarray(block[0]).data)
            report_progress(progress, done, len(recording))

    return write_whole(path, content, overwrite)


def write_tiff(
    recording: ImagingExtractor,
    path: str | os.PathLike[str],
    *,
    byteorder: str = "<",
    bigtiff: bool = False,
    layout: str = "pages",
    description: str = "",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a recording as uncompressed TIFF, one page per frame, the planes of a volume one after the other.

    Parameters
    ----------
    recording : ImagingExtractor
        Of whole numbers or floats, and at least one sample.
    path : str or os.PathLike
        The file appears under this name when it is complete.
    byteorder : str
        ``"<"`` or ``">"``.
    bigtiff : bool
        Needed from 4 GiB on.
    layout : str
        ``"pages"``: each page is its directory, then its pixels. ``"trailing"``: all pixels, then all directories.
        ``"imagej"``: one directory, then all pixels, with the lengths in ImageJ's words (uint8, uint16, float32).
    description : str
        The first page's ImageDescription; for ``"imagej"`` lines to add to its own.
    overwrite, progress
        As for :func:`write_npy`.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    TargetExistsError, SourceNotFoundError
        As for :func:`write_npy`.
    DeclarationError
        TIFF, or this layout of it, cannot hold the recording.

    References
    ----------
    TIFF Revision 6.0, Adobe 1992; the BigTIFF proposal of 2004; ImageJ's source, ``ij.io.TiffEncoder``.
    """
    _check_tiff(recording, byteorder, layout)
    rows, columns = recording.get_frame_shape()
    total = len(recording) * recording.get_num_planes()
    size = rows * columns * recording.dtype.itemsize
    text = _imagej_description(recording, description) if layout == "imagej" else description
    encoded = (text.encode() + b"\0").ljust(9, b"\0") if text else b""  # TIFF stores up to 8 bytes in the directory
    fields = page_fields(rows, columns, recording.dtype)
    first = TiffDirectory({**fields, 270: (2, len(encoded), 0)} if encoded else fields, size, byteorder, bigtiff)
    other = TiffDirectory(fields, size, byteorder, bigtiff)
    head = 16 if bigtiff else 8
    bulk = head + len(encoded) + (total - 1) * len(other) + total * size
    if not bigtiff and layout != "imagej" and bulk + len(first) > _CLASSIC_LIMIT:
        raise DeclarationError(f"{total:,} pages of {size:,} bytes exceed the 4 GiB of classic TIFF; pass bigtiff=True")

    def frames() -> Iterator[Any]:
        swapped = recording.dtype.newbyteorder("<" if byteorder == "<" else ">")
        for done, (block,) in read_blocks([recording]):
            paged = np.moveaxis(block, 3, 1) if recording.is_volumetric else block
            for frame in paged.reshape(-1, rows, columns):
                yield np.ascontiguousarray(frame, swapped).data
            report_progress(progress, done, len(recording))

    def paged(stream: BinaryIO) -> None:
        at = head
        stream.write(tiff_head(byteorder, bigtiff, at))
        for page, frame in enumerate(frames()):
            directory, note = (first, encoded) if page == 0 else (other, b"")
            pixels = at + len(directory) + len(note)
            following = 0 if page == total - 1 else pixels + size
            stream.write(directory.placed(pixels, following, at + len(directory)) + note)
            stream.write(frame)
            at = pixels + size

    def trailing(stream: BinaryIO) -> None:
        pixels, at = head + len(encoded), head + len(encoded) + total * size
        stream.write(tiff_head(byteorder, bigtiff, at) + encoded)
        for frame in frames():
            stream.write(frame)
        for page in range(total):
            directory = first if page == 0 else other
            following = 0 if page == total - 1 else at + len(directory)
            stream.write(directory.placed(pixels + page * size, following, head))
            at = following

    def one_directory(stream: BinaryIO) -> None:
        pixels = head + len(first) + len(encoded)
        stream.write(tiff_head(byteorder, bigtiff, head) + first.placed(pixels, 0, head + len(first)) + encoded)
        for frame in frames():
            stream.write(frame)

    return write_whole(path, {"pages": paged, "trailing": trailing, "imagej": one_directory}[layout], overwrite)


class TiffDirectory:
    """One page's directory, in which only three numbers change from page to page.

    Parameters
    ----------
    fields : dict of int to tuple
        Tag code to ``(type, count, value)``; the value of a text is its offset in the file.
    size : int
        Bytes of the page's pixels, in one strip.
    byteorder : str
    big : bool
        Whether the file is a BigTIFF.
    """

    def __init__(self, fields: dict[int, tuple[int, int, Any]], size: int, byteorder: str, big: bool) -> None:
        number = 16 if big else 4
        fields = {**fields, 273: (number, 1, 0), 279: (number, 1, size)}  # StripOffsets and StripByteCounts
        self._form = byteorder + ("Q" if big else "I")
        width = 8 if big else 4
        self._table = bytearray(struct.pack(byteorder + ("Q" if big else "H"), len(fields)))
        self._places = {}
        for code, (kind, count, value) in sorted(fields.items()):  # TIFF requires ascending tags
            self._table += struct.pack(byteorder + ("HHQ" if big else "HHI"), code, kind, count)
            self._places[code] = len(self._table)
            form = {3: "H", 4: "I", 5: "II"}.get(kind, self._form[1]) if count == 1 else self._form[1]
            values = value if isinstance(value, tuple) else (value,)
            self._table += struct.pack(byteorder + form, *values).ljust(width, b"\0")
        self._places[0] = len(self._table)
        self._table += bytes(width)

    def __len__(self) -> int:
        return len(self._table)

    def placed(self, pixels: int, following: int, description: int) -> bytes:
        """Return the directory of a page, given the offsets of its pixels, the next directory (0: none) and the description."""
        values = {273: pixels, 0: following, 270: description}
        for code, value in values.items():
            if code in self._places:
                struct.pack_into(self._form, self._table, self._places[code], value)
        return bytes(self._table)


def rational(value: float) -> tuple[int, int]:
    """Return a number above 0 as two 32-bit numbers, to nine digits."""
    scale = 2 ** max(0, min(30, 31 - math.ceil(math.log2(value))))
    return round(value * scale), scale


def tiff_head(byteorder: str, big: bool, first: int) -> bytes:
    """Return a file's first bytes, which give the offset of the first directory."""
    mark = b"II" if byteorder == "<" else b"MM"
    return mark + (
        struct.pack(byteorder + "HHHQ", 43, 8, 0, first) if big else struct.pack(byteorder + "HI", 42, first)
    )


def page_fields(rows: int, columns: int, dtype: np.dtype[Any]) -> dict[int, tuple[int, int, Any]]:
    kind = {"u": 1, "i": 2, "f": 3}[dtype.kind]
    numbers = {256: columns, 257: rows, 258: 8 * dtype.itemsize, 259: 1, 262: 1, 277: 1, 278: rows, 339: kind}
    return {code: (3 if value < 2**16 else 4, 1, value) for code, value in numbers.items()}


def _imagej_description(recording: ImagingExtractor, more: str) -> str:
    planes, samples, rate = recording.get_num_planes(), len(recording), recording.get_sampling_frequency()
    lines = ["ImageJ=1.54f", f"images={samples * planes}"]
    lines += [f"slices={planes}"] if planes > 1 else []
    lines += [f"frames={samples}"] if samples > 1 else []
    lines += ["hyperstack=true"] if planes > 1 and samples > 1 else []
    lines += [f"finterval={1 / rate!r}"] if rate else []
    return "\n".join([*lines, "loop=false", *more.splitlines()]) + "\n"


def _check_tiff(recording: ImagingExtractor, byteorder: str, layout: str) -> None:
    dtype, layouts = recording.dtype, ("pages", "trailing", "imagej")
    if byteorder not in ("<", ">") or layout not in layouts:
        raise DeclarationError(
            f"byteorder must be '<' or '>' and layout one of {listed(layouts)}, got {byteorder!r} and {layout!r}"
        )
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise DeclarationError(f"TIFF supports integers and floats of up to 64 bits, got {dtype}")
    if layout == "imagej" and dtype not in (np.uint8, np.uint16, np.float32):
        raise DeclarationError(f"ImageJ supports uint8, uint16 and float32, got {dtype}")
    if len(recording) == 0:
        raise DeclarationError("cannot write a TIFF file without samples")


def read_blocks(recordings: Sequence[ImagingExtractor]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield how many samples are done with this block, and the block of each recording; some 8 MiB at a time."""
    total = len(recordings[0])
    each = sum(recording.nbytes for recording in recordings) // max(1, total)
    step = max(1, _BLOCK_BYTES // max(1, each))
    for start in range(0, total, step):
        end = min(start + step, total)
        yield end, [recording.get_series(start, end) for recording in recordings]


def report_progress(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def write_whole(path: str | os.PathLike[str], content: Callable[[BinaryIO], None], overwrite: bool) -> Path:
    """Write a file under a passing name, and give it its own when it is complete."""
    target = Path(path)
    if not target.parent.is_dir():
        raise SourceNotFoundError(
            f"{printable(target)} cannot be written: the folder {printable(target.parent)} does not exist"
        )
    if not overwrite and os.path.lexists(target):
        raise TargetExistsError(f"{printable(target)} already exists; pass overwrite=True to replace it")
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with partial.open("xb") as stream:
            content(stream)
        partial.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
    return target

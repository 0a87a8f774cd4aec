"""Facts from the boxes of an MP4 or QuickTime file that FFmpeg does not report: a second file behind it, a rotation."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from roiextractors_core.io import PositionedFile

__all__ = ["rotation_of", "second_file_at"]

_MAX_BOXES = 4096


def second_file_at(file: PositionedFile) -> int | None:
    """Return the byte at which another MP4 file begins behind the first, or None.

    References
    ----------
    ISO/IEC 14496-12, section 4.2 (boxes) and 4.3 (``ftyp``, which begins a file).
    """
    if file.read(4, 4) != b"ftyp":
        return None
    return next((at for name, at, _, _ in _boxes(file, 0, file.size) if name == b"ftyp" and at), None)


def rotation_of(file: PositionedFile) -> int:
    """Return by how many degrees players turn the picture clockwise; 0 for none, or for other files.

    References
    ----------
    ISO/IEC 14496-12, section 8.3.2 (``tkhd``): the matrix follows 40 bytes of the body, 52 in version 1.
    """
    if file.read(4, 4) not in (b"ftyp", b"moov", b"wide", b"mdat"):
        return 0
    for name, _, body, end in _boxes(file, 0, file.size):
        if name != b"moov":
            continue
        for track, _, inside, last in _boxes(file, body, end):
            if track == b"trak":
                turned = next((_turn(file, at) for name, _, at, _ in _boxes(file, inside, last) if name == b"tkhd"), 0)
                if turned:
                    return turned
    return 0


def _turn(file: PositionedFile, body: int) -> int:
    start = body + (52 if file.read(body, 1) == b"\x01" else 40)
    data = file.read(start, 44)
    if len(data) < 44 or not any(data[36:44]):  # a track without a size is not a picture
        return 0
    a, b, _, c, d = struct.unpack_from(">5i", data)
    return round(math.degrees(math.atan2(b, a))) % 360 if (a, b, c, d) != (0, 0, 0, 0) else 0


def _boxes(file: PositionedFile, start: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield name, first byte, first byte of the body and end of the boxes that follow one another."""
    at = start
    for _ in range(_MAX_BOXES):
        head = file.read(at, 16) if at + 8 <= end else b""
        if len(head) < 8:
            return
        size, name, body = int.from_bytes(head[:4], "big"), head[4:8], at + 8
        if size == 1 and len(head) == 16:  # the size has 64 bits and follows the name
            size, body = int.from_bytes(head[8:], "big"), at + 16
        if size == 0:  # the box extends to the end
            size = end - at
        if size < body - at or at + size > end:  # a size below the head's would never advance
            return
        yield name, at, body, at + size
        at += size

"""How many values a compressed image says that it decodes to, read from its own header before a decoder allocates them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

__all__ = ["IMAGE_CODECS", "values_claimed"]

_JPEG_FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))
_JXL_BOX = b"\0\0\0\x0cJXL \r\n\x87\n"
_MAX_BOXES = 64


def values_claimed(compression: int, data: bytes, samples: int) -> int:
    """Return the number of values (rows x columns x samples) that an image decodes to by its header.

    Parameters
    ----------
    compression : int
        As numbered by TIFF; one of ``IMAGE_CODECS``.
    data : bytes
        The strip or tile.
    samples : int
        Values of a pixel by the TIFF tags, for formats whose header does not state them.

    Raises
    ------
    ValueError
        The header is missing, damaged or describes several images.

    References
    ----------
    ITU-T T.81, B.2.2 (JPEG); ISO 15444-1, A.5.1 (JPEG 2000); RFC 9649 (WebP); ISO 18181-1, annex D (JPEG XL); ITU-T T.832, annex A
    (JPEG XR); the PNG specification; Esri's Lerc, ``Lerc2::HeaderInfo``.
    """
    try:
        return IMAGE_CODECS[compression](data, samples)
    except (struct.error, IndexError) as error:
        raise ValueError("its header is incomplete") from error


def _jpeg(data: bytes, samples: int) -> int:
    at = 2
    if data[:2] != b"\xff\xd8":
        raise ValueError("it is not JPEG")
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ValueError("a marker is missing in the header")
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes before a marker
            at += 1
            continue
        length = struct.unpack_from(">H", data, at + 2)[0]
        if marker in _JPEG_FRAMES:
            rows, columns, parts = struct.unpack_from(">HHB", data, at + 5)
            return int(rows * columns * parts)
        at += 2 + length
    raise ValueError("it has no frame header")


def _jpeg2000(data: bytes, samples: int) -> int:
    at = data.find(b"\xff\x4f\xff\x51", 0, 1 << 16)  # the start of a codestream; boxes may come before it
    if at < 0:
        raise ValueError("it has no JPEG 2000 codestream")
    right, lower, left, upper = struct.unpack_from(">4I", data, at + 8)
    parts = struct.unpack_from(">H", data, at + 40)[0]
    if left >= right or upper >= lower:
        raise ValueError("its size is impossible")
    return int((right - left) * (lower - upper) * parts)


def _webp(data: bytes, samples: int) -> int:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise ValueError("it is not WebP")
    kind = data[12:16]
    if kind == b"VP8X":
        if data[20] & 2:
            raise ValueError("it is an animation")
        columns, rows = (int.from_bytes(data[k : k + 3], "little") + 1 for k in (24, 27))
    elif kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        columns, rows = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        columns, rows = (n & 0x3FFF for n in struct.unpack_from("<HH", data, 26))
    else:
        raise ValueError("its first chunk is unknown")
    return columns * rows * max(samples, 3)  # there is no WebP of grey values


def _png(data: bytes, samples: int) -> int:
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        raise ValueError("it is not PNG")
    columns, rows = struct.unpack_from(">II", data, 16)
    return int(columns * rows * {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(data[25], 4))


def _jpegxr(data: bytes, samples: int) -> int:
    if data[:3] != b"II\xbc":
        raise ValueError("it is not JPEG XR")
    at = struct.unpack_from("<I", data, 4)[0]
    sides: dict[int, int] = {}
    for k in range(min(64, struct.unpack_from("<H", data, at)[0])):
        tag, kind, _, value = struct.unpack_from("<HHII", data, at + 2 + 12 * k)
        if tag in (0xBC80, 0xBC81):  # width, height
            sides[tag] = value & 0xFFFF if kind == 3 else value
    if len(sides) != 2:
        raise ValueError("its size is missing")
    return math.prod(sides.values()) * samples


def _lerc(data: bytes, samples: int) -> int:
    """Add up the blobs, one for each band: a blob of one value for all pixels takes only 70 bytes."""
    at = total = 0
    while data[at : at + 6] == b"Lerc2 ":
        version = struct.unpack_from("<i", data, at + 6)[0]
        place = at + (14 if version >= 3 else 10)
        rows, columns, depth = struct.unpack_from("<3i", data, place)
        if version < 4:
            place, depth = place - 4, 1
        size = struct.unpack_from("<i", data, place + 20)[0]
        if min(rows, columns, depth, size) <= 0:
            raise ValueError("its size is impossible")
        total += rows * columns * depth
        at += size
    if not total:  # the first version of the format is not written into TIFF; additional compression is not read
        raise ValueError("it is not a LERC 2 blob")
    return total


class _Bits:
    """Bits of a JPEG XL header, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._bits, self._left = int.from_bytes(data[:64], "little"), 8 * min(64, len(data))

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("its header is incomplete")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        return value

    def choose(self, *choices: tuple[int, int]) -> int:
        """Return one of four numbers, each an offset plus so many bits."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)


def _jpegxl(data: bytes, samples: int) -> int:
    bits = _Bits(_jxl_codestream(data)[2:])
    rows, columns = _jxl_size(bits)
    extra = 0
    if not bits.take(1):  # not all of the metadata is default
        if bits.take(1):
            bits.take(3)  # orientation
            if bits.take(1):
                _jxl_size(bits)
            if bits.take(2):
                raise ValueError("it is an animation, or has a preview")
        if bits.take(1):  # floating point
            bits.choose((32, 0), (16, 0), (24, 0), (1, 6))
            bits.take(4)
        else:
            bits.choose((8, 0), (10, 0), (12, 0), (1, 6))
        bits.take(1)
        extra = bits.choose((0, 0), (1, 0), (2, 4), (1, 12))
    return rows * columns * max(samples, extra)


def _jxl_size(bits: _Bits) -> tuple[int, int]:
    is_small = bits.take(1)

    def side() -> int:
        return 8 * (bits.take(5) + 1) if is_small else bits.choose((1, 9), (1, 13), (1, 18), (1, 30))

    rows = side()
    ratio = bits.take(3)
    if not ratio:
        return rows, side()
    above, below = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return rows, rows * above // below


def _jxl_codestream(data: bytes) -> bytes:
    if data[:2] == b"\xff\x0a":
        return data[:80]
    at = len(_JXL_BOX) if data[:12] == _JXL_BOX else len(data)
    for _ in range(_MAX_BOXES):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 16 if size == 1 else 8
        if kind in (b"jxlc", b"jxlp"):
            start = at + head + (4 if kind == b"jxlp" else 0)
            if data[start : start + 2] != b"\xff\x0a":
                break
            return data[start : start + 80]
        size = struct.unpack_from(">Q", data, at + 8)[0] if size == 1 else size
        if size < head:
            break
        at += size
    raise ValueError("it is not JPEG XL")


IMAGE_CODECS: dict[int, Callable[[bytes, int], int]] = {
    **dict.fromkeys((6, 7, 34892, 33007), _jpeg),
    **dict.fromkeys((33003, 33004, 33005, 34712), _jpeg2000),
    **dict.fromkeys((50001, 34927), _webp),
    **dict.fromkeys((50002, 52546), _jpegxl),
    **dict.fromkeys((22610, 34934), _jpegxr),
    34933: _png,
    34887: _lerc,
}
"""The compressions of whole images, by TIFF's number: their decoders allocate what the image claims, not what is expected."""

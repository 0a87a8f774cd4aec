"""Facts about the picture from the first bytes of an FFV1 or JPEG frame, without decoding it.

PyAV knows the pixel format of an FFV1 stream only after decoding a frame: importing it and decoding take some 300 ms, this
module 0.04 ms.  Key frames are found by the same range decoder, from two bytes a frame.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from .pixels import PixelFormat

__all__ = ["JpegHeader", "ffv1_pixels", "ffv1_sums_agree", "is_ffv1_key", "jpeg_header"]

_MAX_EXPONENT = 31


def is_ffv1_key(first: bytes) -> bool:
    """Return whether a frame of FFV1 stands alone, by the first coded bit of its first two bytes.

    References
    ----------
    RFC 9043, section 3.8.1 (range coding) and section 4.4 (``keyframe``).
    """
    return _RangeDecoder(first).bit([128], 0) == 1


def ffv1_pixels(frame: bytes, extra: bytes) -> PixelFormat | None:
    """Return the pixel format of an FFV1 stream, or None if the bytes are not of its versions 0 to 3.

    Parameters
    ----------
    frame : bytes
        The beginning of the first frame, which contains the parameters in versions 0 and 1.
    extra : bytes
        The configuration record of version 3; empty in versions 0 and 1.

    References
    ----------
    RFC 9043, section 4.2 (``Parameters``).
    """
    coder = _RangeDecoder(extra or frame)
    if not extra and not coder.bit([128], 0):
        return None
    states = [128] * 32
    version = coder.symbol(states)
    if version > 4 or (version > 1) != bool(extra):
        return None
    if version > 2:  # micro_version
        coder.symbol(states)
    if coder.symbol(states) > 1:  # coder_type 2 has a state table of its own
        for _ in range(255):
            coder.symbol(states, signed=True)
    is_rgb = coder.symbol(states) == 1
    bits = (coder.symbol(states) if version else 8) or 8  # RFC 9043: a decoder reads 0 as 8
    has_chroma = bool(coder.bit(states, 0))
    coder.symbol(states)
    coder.symbol(states)
    if coder.is_over or not 8 <= bits <= 16:
        return None
    return PixelFormat("rgb" if is_rgb else "yuv" if has_chroma else "grey", bits)


def ffv1_sums_agree(frame: bytes) -> bool:
    """Return whether each slice of a frame of version 3 has the right checksum; False if there are none.

    References
    ----------
    RFC 9043, section 4.9 (``Slice Footer``): size in 3 bytes, status in 1, CRC-32 in 4, so that the sum over all is 0.
    """
    end = len(frame)
    while end > 0:
        if end < _FOOTER:
            return False
        start = end - _FOOTER - int.from_bytes(frame[end - _FOOTER : end - _FOOTER + 3], "big")
        if start < 0 or _sum_of(frame[start:end]):
            return False
        end = start
    return True


def _sum_of(data: bytes) -> int:
    """Return the CRC-32 with the highest bit first, from 0, bits reversed: zlib's is the other way round, from ones."""
    return zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF


_FOOTER = 8
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


class _RangeDecoder:
    """FFV1's adaptive binary decoder, as far as a header needs it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 2
        self._low = min(int.from_bytes(data[:2].ljust(2, b"\0"), "big"), 0xFF00)
        self._range = 0xFF00
        self.is_over = len(data) < 2

    def bit(self, states: list[int], at: int) -> int:
        upper = self._range * states[at] >> 8
        self._range -= upper
        answer = int(self._low >= self._range)
        if answer:
            self._low -= self._range
            self._range = upper
            states[at] = _AFTER_ONE[states[at]]
        else:
            states[at] = 256 - _AFTER_ONE[256 - states[at]]
        if self._range < 0x100:
            self._refill()
        return answer

    def symbol(self, states: list[int], *, signed: bool = False) -> int:
        if self.bit(states, 0):
            return 0
        exponent = 0
        while self.bit(states, 1 + min(exponent, 9)):
            exponent += 1
            if exponent > _MAX_EXPONENT:
                self.is_over = True
                return 0
        value = 1
        for k in reversed(range(exponent)):
            value = 2 * value + self.bit(states, 22 + min(k, 9))
        return -value if signed and self.bit(states, 11 + min(exponent, 10)) else value

    def _refill(self) -> None:
        following = self._data[self._at] if self._at < len(self._data) else 0
        self.is_over = self.is_over or self._at > len(self._data) + 2
        self._at += 1
        self._range <<= 8
        self._low = (self._low << 8) + following


def _states_after_one() -> list[int]:
    """Return the default table of RFC 9043, section 3.8.1.3: each state moves a twentieth of the way to certainty.

    The likely half follows one path from 1/2 upwards; a state that the path leaves out moves by itself.
    """
    whole, most = 1 << 32, 248
    step = int(0.05 * whole)
    after = [0] * 257
    likely, last = whole // 2, 0
    for _ in range(128):
        state = max((256 * likely + whole // 2) >> 32, last + 1)
        if 0 < last < 256 and state <= most:
            after[last] = state
        likely += ((whole - likely) * step + whole // 2) >> 32
        last = state
    for state in range(256 - most, most + 1):
        if not after[state]:
            moved = (state * whole + 128) >> 8
            moved += ((whole - moved) * step + whole // 2) >> 32
            after[state] = min(max((256 * moved + whole // 2) >> 32, state + 1), most)
    return after


_AFTER_ONE = _states_after_one()


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """The frame header of a JPEG picture.

    Attributes
    ----------
    rows, columns : int
    pixels : PixelFormat
    """

    rows: int
    columns: int
    pixels: PixelFormat


def jpeg_header(data: bytes) -> JpegHeader | None:
    """Return what the frame header (SOF) says, or None if the bytes are not a JPEG or end before it.

    References
    ----------
    ITU-T T.81, annex B; Adobe's APP14 segment says whether three components are RGB.
    """
    at, transform = 2, -1
    while data[:2] == b"\xff\xd8" and at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if marker == 0xFF:  # fill bytes may precede a marker
            at += 1
            continue
        if marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            transform = body[11]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # DHT, JPG and DAC are not SOF
            return _frame_header(body, transform)
        if marker == 0xDA or length < 2:  # SOS: the coded pixels follow
            return None
        at += 2 + length
    return None


def _frame_header(body: bytes, transform: int) -> JpegHeader | None:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        return None
    bits, rows, columns, components = body[0], body[1] << 8 | body[2], body[3] << 8 | body[4], body[5]
    if bits != 8 or components not in (1, 3) or not rows or not columns:
        return None
    # As in libjpeg, components named R, G and B are RGB even without Adobe's segment
    is_rgb = components == 3 and (transform == 0 or body[6:15:3] == b"RGB")
    kind = "grey" if components == 1 else "rgb" if is_rgb else "yuv"
    return JpegHeader(rows, columns, PixelFormat(kind, 8))

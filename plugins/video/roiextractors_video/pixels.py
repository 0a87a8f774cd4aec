"""Pixel formats, and one channel of a decoded picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["PixelFormat", "channel_of", "has_colour", "weighed"]

_COLOURS = ("red", "green", "blue")
_WEIGHTS = np.array(
    [9798, 19235, 3735], np.uint32
)  # red, green, blue of 32768: ITU-R BT.601 in 15 bits, as OpenCV has it
_HALF, _SHIFT = np.uint32(1 << 14), np.uint32(15)
# Beginnings of FFmpeg's names for formats whose first plane is luma alone
_LUMA_ALONE = ("yuv4", "yuvj4", "yuva4", "nv12", "nv16", "nv21", "nv24", "nv42")
_ROWS_AT_ONCE = 32
_ITSELF = np.arange(256, dtype=np.uint8)
_ROUNDING = 2  # what encoders make of grey: 127 for 128


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """The kind and depth of a video's pixels.

    Attributes
    ----------
    kind : str
        ``"grey"``, ``"yuv"`` (luma and two differences of colour) or ``"rgb"``.
    bits : int
        Bits a component; 32 for floating point.
    """

    kind: str
    bits: int

    @classmethod
    def of(cls, video_format: Any) -> PixelFormat:
        """Return the pixel format of an ``av.VideoFormat``."""
        name = video_format.name
        parts = [part for part in video_format.components if not part.is_alpha]
        bits = max((part.bits for part in parts), default=8)
        # Palettes and mosaics have one component in the file, but colours when shown
        if name.startswith("pal") or name.startswith("bayer"):
            return cls("rgb", 8 if bits <= 8 else 16)
        kind = "grey" if len(parts) == 1 else "rgb" if video_format.is_rgb else "yuv"
        return cls(kind, max(8, bits))

    @property
    def channels(self) -> tuple[str, ...]:
        """The names to choose from; none where there is one channel."""
        return {"grey": (), "yuv": ("grey", "luma", *_COLOURS), "rgb": ("grey", *_COLOURS)}[self.kind]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The samples' dtype, native."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.float32 if self.bits > 16 else np.uint16)


def channel_of(picture: Any, pixels: PixelFormat, channel: str) -> np.ndarray:
    """Return one channel of a decoded picture.

    Parameters
    ----------
    picture : av.VideoFrame
    pixels : PixelFormat
        Of the whole video.
    channel : str
        One of ``pixels.channels``; ignored where there is one.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)``, a view of the picture's memory if it is stored there as requested.
    """
    if pixels.kind == "grey":
        return _grey_plane(picture, pixels)
    if channel == "luma":
        return _luma(picture, pixels)
    if channel != "grey":
        return _rgb(picture, pixels)[_COLOURS.index(channel)]
    if pixels.kind == "yuv" and pixels.bits <= 8:
        tint = _tint(picture)
        if tint is not None:
            return _looked_up(_TABLES.of(picture, tint), _luma(picture, pixels))
    if picture.format.name in ("bgra", "bgr0"):
        alike = _green_if_alike(_plane(picture, 0, np.dtype("<u4")))
        if alike is not None:
            return alike
    return weighed(_rgb(picture, pixels))


def _looked_up(table: np.ndarray, luma: np.ndarray) -> np.ndarray:
    return luma if np.array_equal(table, _ITSELF) else np.asarray(np.take(table, luma))


def _green_if_alike(packed: np.ndarray) -> np.ndarray | None:
    """Return the green of pixels of four bytes where blue, green and red are equal all over, else None."""
    result = np.empty(packed.shape, np.uint8)
    # Ends at the first row with colour, and a few rows at a time stay in the processor's cache
    for top in range(0, len(packed), _ROWS_AT_ONCE):
        part = packed[top : top + _ROWS_AT_ONCE]
        shifted = part >> 8
        result[top : top + _ROWS_AT_ONCE] = shifted
        shifted ^= part
        shifted &= 0xFFFF
        if shifted.any():
            return None
    return result


def has_colour(picture: Any, pixels: PixelFormat) -> bool:
    """Return whether a decoded picture's channels differ anywhere."""
    if pixels.kind == "grey":
        return False
    tint = _tint(picture) if pixels.kind == "yuv" and pixels.bits <= 8 else None
    if tint is not None:
        return max(abs(difference - 128) for difference in tint) > _ROUNDING
    red, green, blue = _rgb(picture, pixels)
    return not (np.array_equal(red, green) and np.array_equal(green, blue))


def _plane(picture: Any, number: int, dtype: np.dtype[Any]) -> np.ndarray:
    plane = picture.planes[number]
    lines = np.frombuffer(plane, np.uint8)
    # FFmpeg pads lines for vector instructions, so the line size exceeds the width
    lines = lines[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
    return lines[:, : plane.width * dtype.itemsize].view(dtype)


def _stored(name: str, pixels: PixelFormat) -> np.dtype[Any]:
    return pixels.dtype.newbyteorder(">" if name.endswith("be") else "<")


def _grey_plane(picture: Any, pixels: PixelFormat) -> np.ndarray:
    name = picture.format.name
    if not name.startswith("gray"):
        name = "gray" if pixels.bits <= 8 else "gray16le"
        picture = picture.reformat(format=name)
    return _plane(picture, 0, _stored(name, pixels))


def _is_planar_yuv(name: str) -> bool:
    return name.startswith(_LUMA_ALONE)


def _luma(picture: Any, pixels: PixelFormat) -> np.ndarray:
    name = picture.format.name
    if not _is_planar_yuv(name):  # packed formats (yuyv422) interleave luma with colour
        name = "yuv444p" if pixels.bits <= 8 else f"yuv444p{pixels.bits}le"
        picture = picture.reformat(format=name)
    return _plane(picture, 0, _stored(name, pixels))


def _tint(picture: Any) -> tuple[int, int] | None:
    """Return the two differences of colour where they are the same all over; a grey picture has 128 or next to it."""
    if not picture.format.name.startswith(("yuv4", "yuvj4")):
        return None
    found = []
    for number in (1, 2):
        plane = _plane(picture, number, np.dtype(np.uint8))
        first = int(plane[0, 0])
        if not (plane == first).all():
            return None
        found.append(first)
    return found[0], found[1]


def _rgb(picture: Any, pixels: PixelFormat) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return red, green and blue, by FFmpeg's own conversion."""
    name = picture.format.name
    if pixels.bits <= 8:
        whole = _packed(picture, name)
        return whole[..., 2], whole[..., 1], whole[..., 0]
    depth = {9: 9, 10: 10, 12: 12, 14: 14}.get(pixels.bits, 16)  # the depths for which FFmpeg has planar RGB
    wanted = f"gbrp{depth}le" if pixels.bits <= 16 else "gbrpf32le"
    planes = picture if name == wanted else picture.reformat(format=wanted)
    green, blue, red = (_plane(planes, k, _stored(wanted, pixels)) for k in range(3))
    return red, green, blue


def _packed(picture: Any, name: str) -> np.ndarray:
    """Return ``(rows, columns, blue green red ...)``, uint8."""
    if name not in ("bgra", "bgr0", "bgr24"):
        picture, name = picture.reformat(format="bgr24"), "bgr24"
    depth = 3 if name == "bgr24" else 4
    plane = picture.planes[0]
    lines = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
    return lines[:, : plane.width * depth].reshape(plane.height, plane.width, depth)


def weighed(rgb: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the field's usual grey of three colours; where they are equal it is each of them."""
    red, green, blue = rgb
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return green
    if green.dtype.kind == "f":
        return np.asarray((red * _WEIGHTS[0] + green * _WEIGHTS[1] + blue * _WEIGHTS[2]) / 32768, np.float32)
    result = np.empty(green.shape, green.dtype.newbyteorder("="))
    for top in range(0, len(green), _ROWS_AT_ONCE):  # a few rows at a time stay in the processor's cache
        rows = slice(top, top + _ROWS_AT_ONCE)
        # the dtype is said: NumPy 1 keeps that of a small array where a scalar has a larger one
        total = np.multiply(red[rows], _WEIGHTS[0], dtype=np.uint32)
        total += np.multiply(green[rows], _WEIGHTS[1], dtype=np.uint32)
        total += np.multiply(blue[rows], _WEIGHTS[2], dtype=np.uint32)
        total += _HALF
        total >>= _SHIFT
        result[rows] = total
    return result


class _Tables:
    """The grey of each luma under one tint all over, by the same conversion that other pictures take."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], np.ndarray] = {}

    def of(self, picture: Any, tint: tuple[int, int]) -> np.ndarray:
        # Range and matrix change the conversion, so each combination has a table
        key = (picture.format.name, picture.color_range, picture.colorspace, tint)
        if key not in self._known:
            self._known[key] = self._made(type(picture), *key)
        return self._known[key]

    @staticmethod
    def _made(frame_class: Any, name: str, color_range: Any, colorspace: Any, tint: tuple[int, int]) -> np.ndarray:
        # Eight pixels a value: chroma is subsampled and interpolated at the edges, so the middle of each is taken
        ramp = frame_class(256 * 8, 8, name)
        ramp.color_range, ramp.colorspace = color_range, colorspace
        for plane, value in zip(ramp.planes, (0, *tint, 255), strict=False):
            plane.update(bytes([value]) * plane.buffer_size)
        line = np.repeat(np.arange(256, dtype=np.uint8), 8)
        lines = np.zeros((8, ramp.planes[0].line_size), np.uint8)
        lines[:, : len(line)] = line
        ramp.planes[0].update(lines.tobytes())
        packed = _packed(ramp, name)
        return np.array(weighed((packed[..., 2], packed[..., 1], packed[..., 0]))[4, 4::8])


_TABLES = _Tables()

"""Decodes one ROI of ImageJ: the bytes of a ``.roi`` file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from roiextractors_core import CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError

__all__ = ["MAGIC", "ImageJRoi", "decode_roi"]

MAGIC = b"Iout"
_HEADER_BYTES = 64
_HEADER = struct.Struct(">4s h B x 4h H 16x h i I I h h 2x h i i")
_SECOND_HEADER = struct.Struct(">4x 3i 2i 4x h B")  # channel, slice, frame; offset and length of the name; font; group
_MIN_SECOND_HEADER = 36  # ImageJ uses the second header if the file has these bytes of it
_MIN_COORDINATE = -5000  # ImageJ takes a lower 16-bit number for one above 32767
_TYPES = {
    0: "polygon",
    1: "rectangle",
    2: "oval",
    3: "line",
    4: "freeline",
    5: "polyline",
    7: "freehand",
    8: "traced",
    9: "angle",
    10: "point",
}
_TEXT, _ARROW, _ELLIPSE, _IMAGE, _ROTATED = 1, 2, 3, 4, 5
_SPLINE_FIT, _SUB_PIXEL = 1, 128
_HAS_VERTICES = frozenset(("polygon", "freeline", "polyline", "freehand", "traced", "angle", "point"))
_MAX_COORDINATE = float(1 << 24)  # float32 has no half pixels beyond


@dataclass(frozen=True, slots=True)
class ImageJRoi:
    """One ROI as ImageJ stores it; x is a column, y a row, and pixel (0, 0) covers 0 to 1.

    Attributes
    ----------
    type : str
        ``"rectangle"``, ``"oval"``, ``"polygon"``, ``"freehand"``, ``"traced"``, ``"ellipse"``, ``"rotated rectangle"``,
        ``"composite"``, ``"point"``; ``"line"``, ``"arrow"``, ``"polyline"``, ``"freeline"``, ``"angle"``, ``"text"``, ``"image"``.
    name : str
        The name that the ROI itself contains, often empty.
    box : tuple of float
        ``x, y, width, height`` of rectangles and ovals; whole numbers unless the ROI has sub-pixel coordinates.
    vertices : numpy.ndarray
        ``(vertices, 2)`` of x and y in pixels, float32 where they are sub-pixel coordinates, else int32.
    path : numpy.ndarray
        The segments of a composite ROI, as numbers.
    axis : tuple of float
        ``x1, y1, x2, y2`` of an ellipse's major axis or a rotated rectangle's middle line, then the ratio of the axes or the width.
    corner : int
        Diameter of the corners of a rounded rectangle.
    is_spline : bool
        The outline is a spline through the vertices.
    position : int
        Image of a stack, from 1; 0 for all.
    channel, slice, frame : int
        Position in a hyperstack, from 1; 0 for all.
    group : int
    stroke_color, fill_color : str
        ``"#rrggbb"``, or ``"#aarrggbb"`` if it is not opaque; empty for none.
    stroke_width : float
    properties : str
        Lines of ``key: value`` that plugins of ImageJ attach.
    """

    type: str
    name: str
    box: tuple[float, float, float, float]
    vertices: np.ndarray
    path: np.ndarray
    axis: tuple[float, float, float, float, float]
    corner: int
    is_spline: bool
    position: int
    channel: int
    slice: int
    frame: int
    group: int
    stroke_color: str
    fill_color: str
    stroke_width: float
    properties: str


def decode_roi(data: bytes, name: str) -> ImageJRoi:
    """Return the ROI in the bytes of a ``.roi`` file.

    Parameters
    ----------
    data : bytes
    name : str
        Of the file, for messages.

    Raises
    ------
    TruncatedRecordingError, CorruptRecordingError
        The bytes end before the ROI, or contradict each other.
    UnsupportedRecordingError
        The type is unknown.

    References
    ----------
    ImageJ, ``ij/io/RoiDecoder.java`` (https://github.com/imagej/ImageJ).
    """
    if len(data) < _HEADER_BYTES:
        raise TruncatedRecordingError(f"{name} has {len(data)} bytes, too few for the header of an ImageJ ROI (64)")
    (
        magic,
        version,
        code,
        *bounds,
        count,
        width,
        path_length,
        stroke,
        fill,
        subtype,
        options,
        corner,
        position,
        second,
    ) = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise CorruptRecordingError(
            f"{name} is not an ImageJ ROI: it starts with {magic.hex(' ')}, expected {MAGIC.hex(' ')}"
        )
    kind = _type_of(code, subtype, version, path_length, name)
    top, left, bottom, right = (value if value >= _MIN_COORDINATE else value + 65536 for value in bounds)
    has_fractions = bool(options & _SUB_PIXEL) and version >= 222
    box = (float(left), float(top), float(right - left), float(bottom - top))
    if has_fractions and version >= 223 and kind in ("rectangle", "oval"):
        box = _finite(struct.unpack_from(">4f", data, 18), name)
    if kind in ("rectangle", "oval") and min(box[2:]) < 0:
        raise CorruptRecordingError(f"{name} has a {kind} of {box[2]:g} x {box[3]:g} pixels")
    vertices = np.empty((0, 2), np.int32)
    if kind in _HAS_VERTICES:
        vertices = _read_vertices(data, count, (left, top), has_fractions, name)
    path = np.empty(0, np.float32)
    if kind == "composite":
        path = _read_numbers(data, ">f4", _HEADER_BYTES, path_length, name)
    axis = (0.0,) * 5
    if kind in ("ellipse", "rotated rectangle"):
        axis = _finite(struct.unpack_from(">5f", data[18:34] + data[52:56]), name)
    return ImageJRoi(
        type=kind,
        box=box,
        vertices=vertices,
        path=path,
        axis=axis,
        corner=corner if kind == "rectangle" else 0,
        is_spline=bool(options & _SPLINE_FIT) and version >= 218 and kind in ("polygon", "freehand", "traced"),
        position=max(position, 0),
        stroke_color=_color(stroke if version >= 218 else 0),
        fill_color=_color(fill if version >= 218 else 0),
        **_read_second_header(data, second, version, float(width)),
    )


def _type_of(code: int, subtype: int, version: int, path_length: int, name: str) -> str:
    if path_length > 0:
        if code != 1:
            raise CorruptRecordingError(f"{name} is a composite ROI of type {code}, expected 1")
        return "composite"
    if code not in _TYPES:
        raise UnsupportedRecordingError(f"{name} is an ImageJ ROI of type {code}, which is not supported")
    kind = _TYPES[code]
    if subtype == _TEXT and version >= 218:
        return "text"
    if subtype == _IMAGE and version >= 221:
        return "image"
    if kind == "line" and subtype == _ARROW:
        return "arrow"
    if kind == "freehand" and subtype in (_ELLIPSE, _ROTATED):
        return "ellipse" if subtype == _ELLIPSE else "rotated rectangle"
    return kind


def _read_vertices(data: bytes, count: int, origin: tuple[int, int], has_fractions: bool, name: str) -> np.ndarray:
    # Since 1.52, more vertices than 16 bits can count are counted in the field of the size
    count = count or struct.unpack_from(">i", data, 18)[0]
    if count <= 0:
        raise CorruptRecordingError(f"{name} has an outline of {count} points")
    if has_fractions:
        return _read_numbers(data, ">f4", _HEADER_BYTES + 4 * count, 2 * count, name).reshape(2, count).T
    steps = _read_numbers(data, ">i2", _HEADER_BYTES, 2 * count, name).astype(np.int32)
    steps[steps < _MIN_COORDINATE] += 65536
    vertices: np.ndarray = np.maximum(steps, 0).reshape(2, count).T + np.array(origin, np.int32)
    return vertices


def _read_numbers(data: bytes, dtype: str, offset: int, count: int, name: str) -> np.ndarray:
    size = np.dtype(dtype).itemsize * count
    if offset + size > len(data):
        raise TruncatedRecordingError(
            f"{name} has {len(data)} bytes, but the ROI's {count:,} numbers end at byte {offset + size:,}"
        )
    numbers = np.frombuffer(data, dtype, count, offset)
    if numbers.dtype.kind == "f" and not np.all(np.abs(numbers) <= _MAX_COORDINATE):
        raise CorruptRecordingError(f"{name} has coordinates that are not numbers of pixels")
    return numbers.astype(numbers.dtype.newbyteorder("="))


def _finite(values: Any, name: str) -> Any:
    if not all(abs(value) <= _MAX_COORDINATE for value in values):  # False for NaN
        raise CorruptRecordingError(
            f"{name} has coordinates that are not numbers of pixels: {values[0]}, {values[1]}, ..."
        )
    return values


def _read_second_header(data: bytes, offset: int, version: int, stroke_width: float) -> dict[str, Any]:
    if not 0 < offset <= len(data) - _MIN_SECOND_HEADER:
        return {
            "name": "",
            "channel": 0,
            "slice": 0,
            "frame": 0,
            "group": 0,
            "stroke_width": stroke_width,
            "properties": "",
        }
    channel, plane, frame, name_offset, name_length, _, group = _SECOND_HEADER.unpack_from(data, offset)
    # Older versions wrote a shorter second header: what the file lacks of it is 0
    precise, text_offset, text_length, extended = struct.unpack(
        ">f 2i 4x H", data[offset + 36 : offset + 54].ljust(18, b"\0")
    )
    if version >= 229 and group == 0:
        group = extended  # groups above 255
    return {
        "name": _read_text(data, name_offset, name_length),
        "channel": max(channel, 0),
        "slice": max(plane, 0),
        "frame": max(frame, 0),
        "group": group if version >= 228 else 0,
        "stroke_width": precise if 0 < precise < _MAX_COORDINATE else stroke_width,
        "properties": _read_text(data, text_offset, text_length) if version >= 224 else "",
    }


def _read_text(data: bytes, offset: int, length: int) -> str:
    # As in ImageJ, a text outside the file is not an error
    if offset <= 0 or length <= 0 or offset + 2 * length > len(data):
        return ""
    return data[offset : offset + 2 * length].decode("utf-16-be", "replace")


def _color(argb: int) -> str:
    if argb == 0:
        return ""
    return f"#{argb & 0xFFFFFF:06x}" if argb >> 24 == 0xFF else f"#{argb:08x}"

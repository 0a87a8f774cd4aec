"""Writes ROIs with roifile, which shares no code with the plugin, and zip archives of them as ImageJ's ROI Manager does."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

try:
    import roifile
except ImportError:  # the tests are skipped
    roifile = None

TYPES = {
    "polygon": "POLYGON",
    "rectangle": "RECT",
    "oval": "OVAL",
    "line": "LINE",
    "freeline": "FREELINE",
    "polyline": "POLYLINE",
    "freehand": "FREEHAND",
    "traced": "TRACED",
    "angle": "ANGLE",
    "point": "POINT",
}


@pytest.fixture(scope="session")
def outline() -> Callable[..., Any]:
    return _outline


@pytest.fixture(scope="session")
def box() -> Callable[..., Any]:
    return _box


@pytest.fixture(scope="session")
def composite() -> Callable[..., Any]:
    return _composite


@pytest.fixture(scope="session")
def on_axis() -> Callable[..., bytes]:
    return _on_axis


@pytest.fixture(scope="session")
def pack() -> Callable[..., Path]:
    return _pack


def _outline(points: Sequence[Sequence[float]], kind: str = "polygon", *, spline: bool = False, **fields: Any) -> Any:
    """Return an ROI of points ``[[x, y], ...]``; it has fractions if any of them has."""
    xy = np.array(points, np.float64)
    roi = roifile.ImagejRoi.frompoints(xy.astype(int) if (xy == np.floor(xy)).all() else xy.astype(np.float32))
    roi.roitype = roifile.ROI_TYPE[TYPES[kind]]
    roi.name = ""
    if spline:
        roi.options |= roifile.ROI_OPTIONS.SPLINE_FIT
    return _with(roi, fields)


def _box(x: float, y: float, width: float, height: float, kind: str = "rectangle", **fields: Any) -> Any:
    """Return a rectangle or an oval; it has fractions if a number has."""
    roi = roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE[TYPES[kind]], left=int(x), top=int(y), right=int(x + width), bottom=int(y + height)
    )
    if any(value != int(value) for value in (x, y, width, height)):
        roi.version = 227
        roi.options |= roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        roi.xd, roi.yd, roi.widthd, roi.heightd = x, y, width, height
    return _with(roi, fields)


def _composite(*segments: Sequence[float], **fields: Any) -> Any:
    """Return a composite ROI of segments such as ``(1, x, y)``: 0 move, 1 line, 2 quadratic, 3 cubic, 4 close."""
    path = np.array([number for segment in segments for number in segment], np.float32)
    roi = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, left=0, top=0, right=9, bottom=9, shape_roi_size=len(path))
    roi.multi_coordinates = path
    return _with(roi, fields)


def _on_axis(x1: float, y1: float, x2: float, y2: float, last: float, *, is_ellipse: bool) -> bytes:
    """Return an ellipse with its major axis and the ratio of its axes, or a rotated rectangle with its middle line and width."""
    roi = _outline([[0, 0], [9, 0], [9, 9]], "freehand")
    roi.subtype = roifile.ROI_SUBTYPE.ELLIPSE if is_ellipse else roifile.ROI_SUBTYPE.ROTATED_RECT
    roi.x1, roi.y1, roi.x2, roi.y2 = x1, y1, x2, y2
    data = bytearray(roi.tobytes())
    data[52:56] = struct.pack(">f", last)  # roifile has other fields there
    return bytes(data)


def _with(roi: Any, fields: Mapping[str, Any]) -> Any:
    for key, value in fields.items():
        setattr(roi, key, value)
    return roi


def _pack(path: Path, entries: Sequence[tuple[str, Any]], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a zip archive of ROIs (or of bytes) under these names."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, roi in entries:
            archive.writestr(zipfile.ZipInfo(name), roi if isinstance(roi, bytes) else roi.tobytes(), compression)
    return path

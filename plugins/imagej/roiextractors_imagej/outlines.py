"""The pixels of an ROI, by the rules of ImageJ: a pixel is inside if its centre is."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from roiextractors_core import CorruptRecordingError

from .decoder import ImageJRoi

__all__ = ["extent_of", "pixels_of"]

_MAX_CROSSINGS = 1 << 23  # edges times rows; an outline around every second pixel of 2048 x 2048 has half of that
_MAX_POINTS = 1 << 16  # of the curves or the spline of one ROI
_MAX_HALVINGS = 10  # of a curve, as in Java
_FLATNESS = 0.01  # pixels between a curve and its polygon, as in ImageJ
_MOVE, _LINE, _QUADRATIC, _CUBIC, _CLOSE = range(5)
_SEGMENT_LENGTHS = {_MOVE: 2, _LINE: 2, _QUADRATIC: 4, _CUBIC: 6, _CLOSE: 0}
_NEIGHBOURS = 7  # vertices by which ImageJ continues a closed spline at both ends
_ELLIPSE_VERTICES = 72
_CORNER = 4 / 3 * (math.sqrt(2) - 1)  # control points of a quarter of a circle

Polygons = list[np.ndarray]


def extent_of(roi: ImageJRoi, name: str) -> tuple[int, int, int, int]:
    """Return ``(first row, first column, end row, end column)`` of an ROI, inside the image or not, without computing its curves."""
    if roi.type in ("rectangle", "oval"):
        x, y, width, height = _whole_box(roi)
        return y, x, y + height, x + width
    if roi.type == "point":
        columns, rows = _nearest(roi.vertices).T
        return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1
    if roi.type == "composite":
        points = np.concatenate([points for _, points in _segments_of(roi.path, name)])
    else:
        # A spline reaches little beyond its vertices, and takes long to compute
        points = roi.vertices if roi.is_spline else np.concatenate(_polygons_of(roi, name))
    low, high = points.min(axis=0), points.max(axis=0)
    return math.floor(low[1]), math.floor(low[0]), math.ceil(high[1]), math.ceil(high[0])


def pixels_of(roi: ImageJRoi, frame_shape: tuple[int, int], name: str) -> np.ndarray:
    """Return the pixels of an ROI inside a frame.

    Parameters
    ----------
    roi : ImageJRoi
        Of a type that has pixels: an area or points.
    frame_shape : tuple of int
        ``(rows, columns)``.
    name : str
        Of the ROI, for messages.

    Returns
    -------
    numpy.ndarray
        ``(pixels, 2)``, int64: row and column, in C order, each pixel once.

    Raises
    ------
    CorruptRecordingError
        The outline has more edges than any drawn one.

    References
    ----------
    ImageJ, ``ij/process/PolygonFiller.java``, ``ij/gui/OvalRoi.java`` and ``ij/gui/PointRoi.java``.
    """
    if roi.type == "point":
        pixels = np.unique(_nearest(roi.vertices)[:, ::-1], axis=0)
        return pixels[np.all((pixels >= 0) & (pixels < frame_shape), axis=1)]
    if roi.type == "oval":
        return _oval(_whole_box(roi), frame_shape)
    if roi.type == "rectangle" and roi.corner <= 0:
        return _rectangle(_whole_box(roi), frame_shape)
    polygons = _polygons_of(roi, name)
    low, high = _limits(polygons)
    # ImageJ stores polygons relative to their lowest x and y, and shapes relative to the pixel of these, in float32
    base = low if len(roi.vertices) else np.floor(low)
    edges = np.concatenate(
        [_edges((polygon - base).astype(np.float64) + (base - np.floor(low))) for polygon in polygons]
    )
    box = (math.floor(low[0]), math.floor(low[1]), math.ceil(high[0]), math.ceil(high[1]))
    return _filled(edges, box, frame_shape, name)


def _whole_box(roi: ImageJRoi) -> tuple[int, int, int, int]:
    x, y, width, height = roi.box
    # int() cuts towards 0, as Java's cast does; an ROI is at least one pixel wide
    return int(x), int(y), max(math.ceil(width), 1), max(math.ceil(height), 1)


def _nearest(points: np.ndarray) -> np.ndarray:
    low = points.min(axis=0)
    # ImageJ stores points relative to the lowest x and y in float32, which moves some by a rounding error
    exact = (points - low).astype(np.float64) + low.astype(np.float64)
    nearest: np.ndarray = np.floor(exact + 0.5).astype(np.int64)
    return nearest


def _rectangle(box: tuple[int, int, int, int], frame_shape: tuple[int, int]) -> np.ndarray:
    rows, columns = _clipped(box, frame_shape)
    pixels: np.ndarray = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    return pixels


def _oval(box: tuple[int, int, int, int], frame_shape: tuple[int, int]) -> np.ndarray:
    x, y, width, height = box
    rows, columns = _clipped(box, frame_shape)
    a, b = width / 2.0, height / 2.0
    across = (columns - x - (a - 0.5)) ** 2 / (a * a)
    down = (rows - y - (b - 0.5)) ** 2 / (b * b)
    inside = np.argwhere(across[None, :] + down[:, None] <= 1.0)
    return inside + [rows[0], columns[0]] if len(inside) else inside


def _clipped(box: tuple[int, int, int, int], frame_shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    x, y, width, height = box
    rows, columns = frame_shape
    return np.arange(max(y, 0), min(y + height, rows)), np.arange(max(x, 0), min(x + width, columns))


def _polygons_of(roi: ImageJRoi, name: str) -> Polygons:
    """Return the closed outlines of an area as arrays of x and y."""
    if roi.type == "composite":
        return _flattened(roi.path, name)
    if roi.type == "rectangle":
        return _rounded_rectangle(roi)
    if roi.type == "ellipse":
        return [_ellipse(*roi.axis)]
    if roi.type == "rotated rectangle":
        return [_rotated_rectangle(*roi.axis)]
    return [_spline(roi.vertices) if roi.is_spline and len(roi.vertices) > 2 else roi.vertices]


def _ellipse(x1: float, y1: float, x2: float, y2: float, ratio: float) -> np.ndarray:
    turn = np.arange(_ELLIPSE_VERTICES) * (2 * np.pi / _ELLIPSE_VERTICES)
    along = np.array([x2 - x1, y2 - y1]) / 2
    across = np.array([-along[1], along[0]]) * min(max(ratio, 0.0), 1.0)
    points = np.array([x1 + x2, y1 + y2]) / 2 + np.cos(turn)[:, None] * along + np.sin(turn)[:, None] * across
    ellipse: np.ndarray = points.astype(np.float32)
    return ellipse


def _rotated_rectangle(x1: float, y1: float, x2: float, y2: float, width: float) -> np.ndarray:
    along = np.array([x2 - x1, y2 - y1])
    length = math.hypot(*along)
    if length == 0:
        return np.array([[x1, y1]], np.float32)
    across = np.array([along[1], -along[0]]) * (0.5 * width / length)
    start, end = np.array([x1, y1]), np.array([x2, y2])
    return np.array([start + across, end + across, end - across, start - across], np.float32)


def _rounded_rectangle(roi: ImageJRoi) -> Polygons:
    x, y, width, height = _whole_box(roi)
    rx, ry = min(roi.corner, width) / 2, min(roi.corner, height) / 2
    outline: list[np.ndarray] = []
    for horizontal, vertical, starts_vertical in ((0, 0, False), (1, 0, True), (1, 1, False), (0, 1, True)):
        corner = np.array([x + horizontal * width, y + vertical * height], float)
        to_side = np.array([0.0, ry * (1 - 2 * vertical)])
        to_top = np.array([rx * (1 - 2 * horizontal), 0.0])
        first, last = (to_top, to_side) if starts_vertical else (to_side, to_top)
        controls = [first, first * (1 - _CORNER), last * (1 - _CORNER), last]
        outline.append(_curve(corner + np.array(controls)))
    return [np.concatenate(outline).astype(np.float32)]


def _spline(vertices: np.ndarray) -> np.ndarray:
    """Return ImageJ's closed cubic spline through the vertices: its parameter grows with the root of the distance."""
    points = vertices.astype(np.float64)
    closed = np.vstack([points, points[:1]])
    steps = np.hypot(*np.diff(closed, axis=0).T)
    positions = np.concatenate([[0.0], np.cumsum(np.maximum(np.sqrt(steps), 0.001))])
    count = min(max(int(steps.sum() / 2), 100), _MAX_POINTS)
    extra = min(_NEIGHBOURS, len(closed) - 1)
    knots = np.concatenate(
        [positions[-1 - extra : -1] - positions[-1], positions, positions[1 : extra + 1] + positions[-1]]
    )
    values = np.concatenate([closed[-1 - extra : -1], closed, closed[1 : extra + 1]])
    return _natural_spline(knots, values, np.linspace(0, positions[-1], count)).astype(np.float32)


def _natural_spline(knots: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    widths = np.diff(knots)
    slopes = np.diff(values, axis=0) / widths[:, None]
    bends = np.zeros_like(values)  # second derivatives, 0 at both ends
    ratios = np.zeros(len(knots))
    for k in range(1, len(knots) - 1):  # elimination in the tridiagonal system
        scale = 1.0 / (2.0 * (widths[k - 1] + widths[k]) - widths[k - 1] * ratios[k - 1])
        bends[k] = (6.0 * (slopes[k] - slopes[k - 1]) - widths[k - 1] * bends[k - 1]) * scale
        ratios[k] = widths[k] * scale
    for k in range(len(knots) - 2, -1, -1):
        bends[k] -= ratios[k] * bends[k + 1]
    left = np.clip(np.searchsorted(knots, at, side="left") - 1, 0, len(knots) - 2)
    width = widths[left][:, None]
    after, before = (at - knots[left])[:, None], (knots[left + 1] - at)[:, None]
    line = after * values[left + 1] + before * values[left]
    bend = (after**2 - width**2) * after * bends[left + 1] + (before**2 - width**2) * before * bends[left]
    points: np.ndarray = (line + bend / 6.0) / width
    return points


def _segments_of(path: np.ndarray, name: str) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the type and the points of each segment of a composite ROI; the first is a move."""
    numbers = path.tolist()
    index = 0
    while index < len(numbers):
        kind = int(numbers[index])
        if kind not in _SEGMENT_LENGTHS or numbers[index] != kind:
            raise CorruptRecordingError(
                f"{name} is a composite ROI with a segment of type {numbers[index]:g}, expected 0 to 4"
            )
        if index == 0 and kind != _MOVE:
            raise CorruptRecordingError(f"{name} is a composite ROI whose path does not begin with a point")
        start, index = index + 1, index + 1 + _SEGMENT_LENGTHS[kind]
        if index <= len(numbers):  # ImageJ ignores a segment that is cut
            yield kind, np.array(numbers[start:index], np.float64).reshape(-1, 2)
        elif start == 1:
            raise CorruptRecordingError(f"{name} is a composite ROI without an outline")


def _flattened(path: np.ndarray, name: str) -> Polygons:
    """Return the subpaths of a composite ROI, with curves as short lines."""
    subpaths: list[list[np.ndarray]] = []
    budget = _MAX_POINTS
    for kind, points in _segments_of(path, name):
        if kind == _MOVE:
            subpaths.append([points])
        elif kind == _LINE:
            subpaths[-1].append(points)
        elif kind != _CLOSE:
            subpaths[-1].append(_curve(np.vstack([subpaths[-1][-1][-1:], points]))[1:])
            budget -= len(subpaths[-1][-1])
        if budget < 0:
            raise CorruptRecordingError(f"{name} is a composite ROI whose curves need more than {_MAX_POINTS:,} points")
    return [np.concatenate(subpath).astype(np.float32) for subpath in subpaths]


def _curve(controls: np.ndarray) -> np.ndarray:
    """Return points on a Bezier curve: halved, as in Java, until each part is as flat as a line."""
    points = [controls[0]]
    waiting = [(controls, 0)]
    while waiting:
        part, level = waiting.pop()
        if level == _MAX_HALVINGS or _is_flat(part):
            points.append(part[-1])
            continue
        first, last = [part[0]], [part[-1]]
        while len(part) > 1:  # de Casteljau's midpoints; the outer ones control the halves
            part = (part[:-1] + part[1:]) / 2
            first.append(part[0])
            last.append(part[-1])
        waiting += [(np.array(last[::-1]), level + 1), (np.array(first), level + 1)]
    return np.array(points)


def _is_flat(controls: np.ndarray) -> bool:
    chord, to_controls = controls[-1] - controls[0], controls[1:-1] - controls[0]
    length = float(chord @ chord)
    along = np.clip(to_controls @ chord / length, 0, 1) if length else np.zeros(len(to_controls))
    distances = to_controls - along[:, None] * chord
    return bool((distances**2).sum(axis=1).max() < _FLATNESS**2)


def _limits(polygons: Polygons) -> tuple[np.ndarray, np.ndarray]:
    points = np.concatenate(polygons)
    return points.min(axis=0), points.max(axis=0)


def _edges(points: np.ndarray) -> np.ndarray:
    return np.hstack([points, np.roll(points, -1, axis=0)])


def _filled(edges: np.ndarray, box: tuple[int, int, int, int], frame_shape: tuple[int, int], name: str) -> np.ndarray:
    """Fill by the even-odd rule; a pixel whose centre is on the left or upper edge is outside, on the others inside.

    The edges are x1, y1, x2, y2 from the upper left corner of the box on.
    """
    x0, y0, width = box[0], box[1], box[2] - box[0]
    x1, y1, x2, y2 = edges.T
    first, end = np.floor(y1 + 0.5).astype(np.int64), np.floor(y2 + 0.5).astype(np.int64)
    downward = first <= end
    first, end = np.minimum(first, end), np.maximum(first, end)
    x1, y1, x2, y2 = (np.where(downward, a, b) for a, b in ((x1, x2), (y1, y2), (x2, x1), (y2, y1)))
    is_steep = first < end
    x1, y1, x2, y2, first, end = (values[is_steep] for values in (x1, y1, x2, y2, first, end))
    slope = (x2 - x1) / (y2 - y1)
    # ImageJ adds 1e-8, so that a centre on a left edge stays outside despite rounding
    at_first = x1 + (first - y1 + 0.5) * slope + 1e-8
    start = np.clip(first, max(0, -y0), None)
    counts = np.maximum(np.minimum(end, frame_shape[0] - y0) - start, 0)
    if counts.sum() > _MAX_CROSSINGS:
        raise CorruptRecordingError(
            f"the outline of {name} crosses {counts.sum():,} rows of pixels; at most {_MAX_CROSSINGS:,} are supported"
        )
    rows = _ranges(start, counts)
    crossings = np.repeat(at_first, counts) + np.repeat(slope, counts) * (rows - np.repeat(first, counts))
    order = np.lexsort((crossings, rows))
    rows, crossings = rows[order], crossings[order]
    # The cast in Java cuts towards 0, which is what astype does
    columns = np.clip((crossings + 0.5).astype(np.int64), 0, width) + x0
    starts, ends = np.clip(columns[0::2], 0, frame_shape[1]), np.clip(columns[1::2], 0, frame_shape[1])
    lengths = np.maximum(ends - starts, 0)
    return np.column_stack([np.repeat(rows[0::2] + y0, lengths), _ranges(starts, lengths)])


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return ``arange(start, start + length)`` for each pair, joined."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    ranges: np.ndarray = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
    return ranges

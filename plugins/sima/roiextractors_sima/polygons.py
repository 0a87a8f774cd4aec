"""Which pixels are inside a polygon, by SIMA's definition.

SIMA subtracts 0.5 from the corners of a polygon and takes the pixels whose whole coordinates are inside: those whose centre is
inside, not on the edge.  Where a polygon crosses itself, inside is where a ray leaves it an odd number of times.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

__all__ = ["pixels_inside"]

_CLOSE = 1e-6  # of a pixel: where rounding could put a centre on the wrong side of an edge
_MAX_CROSSINGS = 1 << 20
_FAR = 2.0**30  # pixels


def pixels_inside(corners: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the pixels whose centre is inside a polygon; those outside of the frame are left out.

    Parameters
    ----------
    corners : numpy.ndarray
        float64, ``(corners, 2)`` of x and y in pixels, (0, 0) being the outer corner of the first pixel; the last may be the first.
    rows, columns : int
        Of the frame.

    Raises
    ------
    ValueError
        A corner is not a finite number or is very far away, or the edges cross very many rows.

    References
    ----------
    SIMA 1.3, ``sima.ROI.poly2mask``, whose test is shapely's ``contains``.
    """
    if not (np.abs(corners) < _FAR).all():
        raise ValueError("it has a corner that is not a finite number, or is very far outside of the frame")
    xs, ys = corners[:, 0] - 0.5, corners[:, 1] - 0.5
    heights = np.abs(np.diff(np.clip(ys, 0, rows), append=np.clip(ys[:1], 0, rows)))
    if heights.sum() > _MAX_CROSSINGS:
        raise ValueError(f"its {len(corners):,} edges cross {heights.sum():,.0f} rows")
    edge_rows, crossings, on_edge = _crossings(xs, ys, (rows, columns))
    found_rows, starts, ends = _spans(edge_rows, crossings, columns)
    lengths = np.maximum(ends - starts, 0)
    row = np.repeat(found_rows, lengths)
    column = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(starts, lengths)
    excluded = {y * columns + x for y, x in on_edge if 0 <= x < columns}
    if excluded:
        kept = ~np.isin(row * columns + column, list(excluded))
        row, column = row[kept], column[kept]
    return row, column


def _crossings(
    xs: np.ndarray, ys: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Return where the edges cross the centres of rows, and the pixels whose centre is on an edge.

    A crossing is given as the first column to its right, so that a pixel is left of it where its column is smaller.
    """
    all_rows, all_columns, on_edge = [], [], []
    for x1, y1, x2, y2 in zip(xs, ys, np.roll(xs, -1), np.roll(ys, -1), strict=True):
        low, high = max(0, int(np.ceil(min(y1, y2)))), min(shape[0] - 1, int(np.floor(max(y1, y2))))
        if high < low:
            continue
        if y1 == y2:
            first, last = max(0, int(np.ceil(min(x1, x2)))), min(shape[1] - 1, int(np.floor(max(x1, x2))))
            on_edge += [(int(y1), x) for x in range(first, last + 1)]
            continue
        row = np.arange(low, high + 1)
        at = x1 + (row - y1) * (x2 - x1) / (y2 - y1)
        right = np.ceil(at)
        if x1 == x2:  # as it is without rounding
            on_edge += [(y, int(x1)) for y in row.tolist()] if x1 == right[0] else []
        else:
            nearest = np.rint(at)
            for k in np.flatnonzero(np.abs(at - nearest) < _CLOSE):
                side = _side(x1, y1, x2, y2, int(row[k]), int(nearest[k]))
                right[k] = nearest[k] + (side > 0)
                if side == 0:
                    on_edge.append((int(row[k]), int(nearest[k])))
        # The lower end of an edge belongs to it and the upper end does not, so that a corner is crossed once
        inside = row < max(y1, y2)
        all_rows.append(row[inside])
        all_columns.append(right[inside])
    if not all_rows:
        return np.empty(0, np.int64), np.empty(0), on_edge
    return np.concatenate(all_rows), np.concatenate(all_columns), on_edge


def _side(x1: float, y1: float, x2: float, y2: float, row: int, column: int) -> int:
    """Return, without rounding, whether an edge crosses a row left of a column (-1), in it (0) or right of it (1)."""
    ax, ay, bx, by = (Fraction(float(value)) for value in (x1, y1, x2, y2))
    difference = ax + (row - ay) * (bx - ax) / (by - ay) - column
    return (difference > 0) - (difference < 0)


def _spans(rows: np.ndarray, crossings: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the runs of columns between each odd crossing of a row and the next, cut to the frame."""
    order = np.lexsort((crossings, rows))
    bounds = np.clip(crossings[order], 0, columns).astype(np.int64)
    return rows[order][::2], bounds[::2], bounds[1::2]

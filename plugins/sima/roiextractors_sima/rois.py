"""ROIs as SIMA pickles them: sparse masks for each plane, or polygons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roiextractors_core import RoiMasks
from roiextractors_core.errors import CorruptRecordingError, counted, printable
from roiextractors_core.io import PickledArray, PickledObject

from .polygons import pixels_inside

__all__ = ["CLASSES", "RoiSet", "as_text", "frame_of", "roi_set"]

# scipy moved the class, and later gave it a twin
CLASSES = (
    "scipy.sparse.lil.lil_matrix",
    "scipy.sparse._lil.lil_matrix",
    "scipy.sparse._lil.lil_array",
)
_MAX_PIXELS = 1 << 27  # of all masks together
_MAX_TEXT = 200

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class RoiSet:
    """The ROIs that were saved together.

    Attributes
    ----------
    masks : RoiMasks
    ids : tuple of str or None
        SIMA's own ids; None unless every ROI has one, and all are different.
    labels, tags : tuple of str
        One an ROI; empty for an ROI without.
    """

    masks: RoiMasks
    ids: tuple[str, ...] | None
    labels: tuple[str, ...]
    tags: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def is_same(self, other: RoiSet) -> bool:
        """Return whether these are the same ROIs in the same order."""
        return self.masks == other.masks and self.labels == other.labels and self.ids == other.ids


def roi_set(rois: Any, shape: Shape, where: str) -> RoiSet:
    """Return ROIs by their dictionaries.

    Parameters
    ----------
    rois : list of dict
        As ``ROI.todict`` makes them.
    shape : tuple of int
        Planes, rows and columns of the frame.
    where : str
        For messages: the file and the label.

    Raises
    ------
    CorruptRecordingError
        It is not such a list, or a mask or polygon is damaged or outside of the frame.
    """
    listed = _rois(rois, where)
    ids = tuple(as_text(roi.get("id")) for roi in listed)
    pixels, weights = [], []
    total = 0
    for number, roi in enumerate(listed):
        one = _mask_of(roi, shape, f"{where}: ROI number {number}")
        pixels.append(one[0])
        weights.append(one[1])
        total += len(one[0])
        if total > _MAX_PIXELS:
            raise CorruptRecordingError(f"{where} has masks of over {_MAX_PIXELS:,} pixels in total")
    planes, rows, columns = shape
    masks = RoiMasks(
        (rows, columns) if planes == 1 else (rows, columns, planes),
        np.concatenate([[0], np.cumsum([len(part) for part in pixels], dtype=np.int64)]),
        np.concatenate(pixels) if pixels else np.empty(0, np.int64),
        np.concatenate(weights) if weights else np.empty(0),
    )
    return RoiSet(
        masks,
        ids if all(ids) and len(set(ids)) == len(ids) else None,
        tuple(as_text(roi.get("label")) for roi in listed),
        tuple(", ".join(sorted(map(as_text, _sequence(roi.get("tags") or ())))) for roi in listed),
    )


def frame_of(rois: Any, where: str) -> Shape | None:
    """Return planes, rows and columns that contain all ROIs; None if no ROI says them."""
    shapes = []
    for roi in _rois(rois, where):
        stated = _lengths(roi.get("im_shape"))
        planes = [] if stated else _planes(roi.get("mask"))
        shapes += [stated] if stated else [(len(planes), *_shape_of(plane, where)) for plane in planes]
    return None if not shapes else (max(s[0] for s in shapes), max(s[1] for s in shapes), max(s[2] for s in shapes))


def as_text(value: Any) -> str:
    """Return a text, or a number as text; empty for None."""
    return printable(str(value))[:_MAX_TEXT] if isinstance(value, str | int | float) else ""


def _rois(rois: Any, where: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(rois, list) or not all(isinstance(roi, dict) for roi in rois):
        raise CorruptRecordingError(f"{where} should contain a list of ROIs, each a dictionary")
    return rois


def _mask_of(roi: Mapping[str, Any], shape: Shape, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of one ROI, as places in a C-order array ``(rows, columns, planes)``, and their weights."""
    if roi.get("mask") is not None:
        parts = [_sparse(plane, shape, where) for plane in _planes(roi["mask"])]
        places = [_inside(number, row, column, shape, where) for number, (row, column, _) in enumerate(parts)]
        weights = [weight for _, _, weight in parts]
    elif roi.get("polygons") is not None:
        drawn = [_drawn(polygon, shape, where) for polygon in _polygons(roi["polygons"])]
        places = [np.unique(np.concatenate(drawn))] if drawn else []
        weights = [np.ones(len(part), np.float32) for part in places]
    else:
        raise CorruptRecordingError(f"{where} has neither a mask nor polygons")
    if not places:
        return np.empty(0, np.int64), np.empty(0)
    flat, weight = np.concatenate(places), np.concatenate(weights)
    order = np.argsort(flat, kind="stable")
    return flat[order], weight[order]


def _inside(plane: int, row: np.ndarray, column: np.ndarray, shape: Shape, where: str) -> np.ndarray:
    planes, _, columns = shape
    if len(row) and plane >= planes:
        raise CorruptRecordingError(
            f"{where} has pixels in plane {plane}, and the frame has {counted(planes, 'plane')}"
        )
    places: np.ndarray = (row * columns + column) * planes + plane
    return places


def _drawn(polygon: Any, shape: Shape, where: str) -> np.ndarray:
    """Return the pixels inside a polygon; the parts outside of the frame are left out, as SIMA does."""
    planes, rows, columns = shape
    corners = _numbers(polygon, where)
    if corners.ndim != 2 or corners.shape[1] not in (2, 3):
        raise CorruptRecordingError(
            f"{where} has a polygon of shape {corners.shape}, expected corners of x, y and plane"
        )
    if len(corners) < 3:
        raise CorruptRecordingError(f"{where} has a polygon of {counted(len(corners), 'corner')}, expected three")
    # SIMA reads the plane of the first corner alone
    plane = corners[0, 2] if corners.shape[1] == 3 else 0.0
    if not (math.isfinite(plane) and 0 <= int(plane) < planes):
        raise CorruptRecordingError(
            f"{where} has a polygon in plane {plane:g}, outside of the {counted(planes, 'plane')} of the frame"
        )
    try:
        row, column = pixels_inside(corners[:, :2], rows, columns)
    except ValueError as error:
        raise CorruptRecordingError(f"{where} has a polygon that cannot be drawn: {error}") from error
    places: np.ndarray = (row * columns + column) * planes + int(plane)
    return places


def _polygons(value: Any) -> list[Any]:
    """Return the polygons of an ROI: a list of arrays or of lists of corners; or one array."""
    return [value] if isinstance(value, PickledArray) and value.objects is None else _sequence(value)


def _planes(value: Any) -> list[Any]:
    """Return the masks of an ROI, one a plane: sparse matrices or arrays; older versions saved one array."""
    if isinstance(value, PickledArray) and value.objects is None:
        return [value] if len(value.shape) == 2 else list(value.read()) if len(value.shape) == 3 else [value]
    return [value] if isinstance(value, PickledObject) else _sequence(value or ())


def _sequence(value: Any) -> list[Any]:
    if isinstance(value, PickledArray):
        return list(value.objects if value.objects is not None else value.read())
    return list(value) if isinstance(value, list | tuple) else [value]


def _shape_of(plane: Any, where: str) -> tuple[int, int]:
    if isinstance(plane, PickledObject):
        state = plane.state if isinstance(plane.state, dict) else {}
        lengths = _lengths(state.get("_shape", state.get("shape")))
        if lengths and lengths[0] == 1:
            return lengths[1:]
    elif isinstance(plane, PickledArray | np.ndarray) and len(plane.shape) == 2:
        return int(plane.shape[0]), int(plane.shape[1])
    raise CorruptRecordingError(f"{where} has a mask that is not a matrix")


def _sparse(plane: Any, shape: Shape, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, columns and weights of one plane of a mask, without those of weight 0."""
    rows, columns = _shape_of(plane, where)
    # SIMA itself would crop it: a transposed mask would look right
    if rows > shape[1] or columns > shape[2]:
        raise CorruptRecordingError(
            f"{where} has a mask of {rows:,} rows and {counted(columns, 'column')}, outside of the frame of {shape[1]:,} rows and {shape[2]:,} columns"
        )
    if not isinstance(plane, PickledObject):
        image = np.asarray(plane.read() if isinstance(plane, PickledArray) else plane)
        if image.dtype.kind not in "biuf":
            raise CorruptRecordingError(f"{where} has a mask of {image.dtype}, expected numbers")
        row, column = np.nonzero(image)
        return row, column, image[row, column]
    state = plane.state
    indices, values = (_lists(state.get(key), rows, where) for key in ("rows", "data"))
    lengths = [len(part) for part in indices]
    if lengths != [len(part) for part in values]:
        raise CorruptRecordingError(f"{where} has a mask with other numbers of columns than of weights")
    row = np.repeat(np.arange(rows), lengths)
    column, weight = (_joined(parts, where) for parts in (indices, values))
    if column.size == 0:
        return row, row, np.empty(0)
    if column.dtype.kind not in "iu" or int(column.min()) < 0 or int(column.max()) >= columns:
        raise CorruptRecordingError(f"{where} has a mask with columns outside of its own {columns:,}")
    if weight.dtype.kind not in "biuf":
        raise CorruptRecordingError(f"{where} has a mask whose weights are not numbers")
    kept = weight != 0
    return row[kept], column[kept].astype(np.int64), weight[kept]


def _lists(value: Any, count: int, where: str) -> list[list[Any]]:
    """Return the lists of the rows of a sparse matrix."""
    lists = value.objects if isinstance(value, PickledArray) else None
    if lists is None or len(lists) != count or not all(isinstance(part, list) for part in lists):
        raise CorruptRecordingError(f"{where} has a sparse mask without a list for each of its {counted(count, 'row')}")
    return lists


def _joined(lists: list[list[Any]], where: str) -> np.ndarray:
    try:
        values = np.array(list(itertools.chain.from_iterable(lists)))
    except (ValueError, TypeError, OverflowError) as error:
        raise CorruptRecordingError(f"{where} has a mask that does not consist of numbers") from error
    if values.ndim != 1:
        raise CorruptRecordingError(f"{where} has a mask that does not consist of numbers")
    return values


def _numbers(value: Any, where: str) -> np.ndarray:
    """Return the corners of a polygon, from an array or nested lists."""
    try:
        if isinstance(value, PickledArray) and value.objects is None:
            return value.read().astype(np.float64)
        return np.array([_sequence(corner) for corner in _sequence(value)], np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, CorruptRecordingError):
            raise
        raise CorruptRecordingError(f"{where} has a polygon that does not consist of numbers") from error


def _lengths(value: Any) -> Shape | None:
    """Return planes, rows and columns from two or three lengths; None for anything else."""
    lengths = value if isinstance(value, tuple | list) else ()
    # type() and not isinstance(): True is an int too
    if len(lengths) not in (2, 3) or not all(type(n) is int and n > 0 for n in lengths):
        return None
    rows, columns = lengths[-2:]
    return (lengths[0] if len(lengths) == 3 else 1), rows, columns

"""Compares the frame size in a description with everything else in the folder that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from roiextractors_core.errors import RecordingError, SourceError, printable
from roiextractors_core.io import PickledArray, PositionedFile, read_pickled_npy

from .folder import Plane, as_number

__all__ = ["size_contradictions"]

# Images that suite2p computes from whole frames; max_proj and Vcorr have the size of the cropped ones
_IMAGES = ("meanImg", "meanImgE", "refImg", "meanImg_chan2", "meanImg_chan2_corrected")
_CROPPED = ("max_proj", "Vcorr")
_OUTPUTS = ("reg_outputs.npy", "detect_outputs.npy")  # of suite2p 1.0, which took them out of ops.npy
_MAX_STAT = 2 << 20  # a larger list of ROIs takes longer to parse than the recording takes to open


def size_contradictions(plane: Plane) -> tuple[str, ...]:
    """Return a sentence if images, ranges, ROIs or another description contradict the frame size; often none.

    The pixels of a movie do not say how long a line is, and suite2p computed the images from the frames that it read.
    """
    stated = (plane.rows, plane.columns)
    shown = next(((where, size) for where, size in _sizes(plane) if size != stated), None)
    seen = next(_extents(plane), "") if shown is None else f"{shown[0]} {shown[1][0]:,} x {shown[1][1]:,}"
    if not seen:
        return ()
    other = stated[::-1] if shown is None else shown[1]
    return (
        f"{plane.described_in} says frames of {plane.rows:,} x {plane.columns:,} (Ly x Lx), but {seen}; reading {plane.rows:,} x "
        f"{plane.columns:,}. For another size, open(..., format='raw', shape={other}, dtype='<i2')",
    )


def _sizes(plane: Plane) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield where a frame size is shown, and the size."""
    for place, fields in _records(plane):
        for key in _IMAGES:
            size = _shape(fields.get(key))
            if size is not None:
                yield f"{key} in {place} has", size
    other = plane.folder / ("db.npy" if plane.described_in.endswith("ops.npy") else "ops.npy")
    fields = _fields_of(other)
    rows, columns = as_number(fields.get("Ly")), as_number(fields.get("Lx"))
    if rows is not None and columns is not None:
        yield f"{printable(other.name)} says", (int(rows), int(columns))


def _extents(plane: Plane) -> Iterator[str]:
    """Yield words about parts of frames that are outside of them."""
    for place, fields in _records(plane):
        ranges = [_ends(fields.get(key)) for key in ("yrange", "xrange")]
        for key, end, side in zip(("yrange", "xrange"), ranges, (plane.rows, plane.columns), strict=True):
            if end is not None and end[1] > side:
                yield f"{key} in {place} ends at {end[1]:,}"
        for key in _CROPPED:
            size = _shape(fields.get(key))
            cropped = tuple(None if end is None else end[1] - end[0] for end in ranges)
            if size is not None and None not in cropped and size != cropped and size == cropped[::-1]:
                yield f"{key} in {place} has {size[0]:,} x {size[1]:,}, but the ranges are {cropped[0]:,} x {cropped[1]:,}"
    yield from _outside(plane)


def _outside(plane: Plane) -> Iterator[str]:
    """Yield words about pixels of ROIs in stat.npy that are outside of the frames."""
    path = plane.folder / "stat.npy"
    try:
        is_small = path.is_file() and path.stat().st_size <= _MAX_STAT
        if not is_small:
            return
        file = PositionedFile(path)
        try:
            objects = [roi for roi in read_pickled_npy(file) if isinstance(roi, dict)]
            # Rows and columns of the frame, counted from 0
            largest = {key: [_largest(roi.get(key)) for roi in objects] for key in ("ypix", "xpix")}
        finally:
            file.close()
        for key, side in (("ypix", plane.rows), ("xpix", plane.columns)):
            ends = largest[key]
            if max(ends, default=-1) >= side:
                yield f"an ROI in stat.npy has {key} = {max(ends):,}"
                return
    except (RecordingError, SourceError, OSError):  # the ROIs are not needed for the movie
        return


def _largest(value: Any) -> int:
    if not isinstance(value, PickledArray) or value.dtype.kind not in "iu" or 0 in value.shape:
        return -1
    return int(value.read().max())


def _records(plane: Plane) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield plane.described_in.rpartition("/")[2], plane.fields
    for name in _OUTPUTS:
        yield name, _fields_of(plane.folder / name)


def _fields_of(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        file = PositionedFile(path)
        try:
            objects = read_pickled_npy(file)
        finally:
            file.close()
    except (RecordingError, SourceError):  # a damaged result says nothing of the movie
        return {}
    return objects[0] if len(objects) == 1 and isinstance(objects[0], dict) else {}


def _shape(value: Any) -> tuple[int, int] | None:
    if not isinstance(value, PickledArray) or len(value.shape) != 2 or 0 in value.shape:
        return None
    return int(value.shape[0]), int(value.shape[1])


def _ends(value: Any) -> tuple[int, int] | None:
    """Return start and end of a range, a list or an array of two numbers."""
    if isinstance(value, PickledArray) and value.shape == (2,) and value.dtype.kind in "iuf":
        value = value.read().tolist()
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n < 1 << 30 for n in value):
        return None
    return int(value[0]), int(value[1])

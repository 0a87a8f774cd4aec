"""ROI masks in JSON files: a bounding box, and true or false for each pixel in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, counted, listed, printable
from roiextractors_core.io import read_json

__all__ = ["JsonMasks", "JsonRoi", "read_json_masks"]

_LISTS = ("rois", "roi_masks", "cell_rois")
_PIXELS = ("mask_matrix", "mask")
_MAX_SIDE = 1 << 20


@dataclass(frozen=True, slots=True)
class JsonRoi:
    """One ROI.

    Attributes
    ----------
    id : str
    row, column : int
        Of the first pixel of the mask.
    mask : numpy.ndarray
        ``(rows, columns)`` of the bounding box.
    entry : mapping
        The ROI as in the file, without its mask.
    """

    id: str
    row: int
    column: int
    mask: np.ndarray
    entry: Mapping[str, Any]

    def pixels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows, columns and weights of the pixels that are not 0."""
        rows, columns = np.nonzero(self.mask)
        return rows + self.row, columns + self.column, self.mask[rows, columns].astype(np.float32)


@dataclass(frozen=True, slots=True)
class JsonMasks:
    """The ROIs in a JSON file.

    Attributes
    ----------
    path : str
    rois : mapping of str to JsonRoi
    frame_shape : tuple of int or None
        ``(rows, columns)``, where the file says so.
    """

    path: str
    rois: Mapping[str, JsonRoi]
    frame_shape: tuple[int, int] | None

    @property
    def file_name(self) -> str:
        """The file's name, for messages."""
        return printable(os.path.basename(self.path))


def read_json_masks(path: str | os.PathLike[str]) -> JsonMasks | None:
    """Return the ROIs in a JSON file, or None if it contains none.

    Parameters
    ----------
    path : str or os.PathLike

    Raises
    ------
    CorruptRecordingError
        The file is not JSON, an id is repeated, or a mask contradicts its bounding box.
    """
    document = read_json(path)
    entries = list(_entries(document))
    if not entries:
        return None
    file_name = printable(os.path.basename(os.fspath(path)))
    rois: dict[str, JsonRoi] = {}
    for entry in entries:
        roi = _roi_of(entry, file_name)
        if roi.id in rois:
            raise CorruptRecordingError(f"{file_name} contains the ROI {printable(roi.id)!r} more than once")
        rois[roi.id] = roi
    return JsonMasks(os.fspath(path), rois, _frame_shape(document))


def _entries(document: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the ROIs: of a list, or of a list or mapping under one of the known names."""
    lists = [document] if isinstance(document, list) else []
    if isinstance(document, Mapping):
        lists = [document[name] for name in _LISTS if name in document]
    for found in lists:
        # The filter of the Brain Observatory writes a mapping from the id to the ROI
        named = (
            [{"id": key, **value} for key, value in found.items() if isinstance(value, Mapping)]
            if isinstance(found, Mapping)
            else found
        )
        entries = [entry for entry in named if _is_roi(entry)] if isinstance(named, list) else []
        if entries:
            yield from entries
            return


def _is_roi(entry: Any) -> bool:
    return isinstance(entry, Mapping) and {"id", "x", "y"} <= set(entry) and any(name in entry for name in _PIXELS)


def _roi_of(entry: Mapping[str, Any], file_name: str) -> JsonRoi:
    if type(entry["id"]) not in (int, str):
        raise CorruptRecordingError(
            f"{file_name} has an ROI whose id is {printable(repr(entry['id']))[:40]}; expected a number or text"
        )
    name = str(entry["id"]).strip()
    where = f"{file_name}: ROI {printable(name)!r}"
    for key in ("x", "y"):
        if type(entry[key]) is not int or not 0 <= entry[key] < _MAX_SIDE:
            raise CorruptRecordingError(
                f"{where} has {key} = {printable(repr(entry[key]))[:40]}; expected a pixel of the frame"
            )
    mask = _mask_of(next(entry[key] for key in _PIXELS if key in entry), where)
    for axis, key in ((0, "height"), (1, "width")):
        if key in entry and entry[key] != mask.shape[axis]:
            raise CorruptRecordingError(
                f"{where} has {key} = {printable(repr(entry[key]))[:40]}, but its mask is {mask.shape[0]} x {mask.shape[1]} pixels"
            )
    rest = {key: value for key, value in entry.items() if key not in _PIXELS}
    return JsonRoi(name, entry["y"], entry["x"], mask, rest)


def _mask_of(values: Any, where: str) -> np.ndarray:
    if values == []:
        return np.empty((0, 0), bool)
    rows = values if isinstance(values, list) else None
    if rows is None or not all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows):
        raise CorruptRecordingError(f"{where} has a mask that is not a rectangle of pixels")
    if not all(type(value) in (bool, int, float) for row in rows for value in row):
        raise CorruptRecordingError(f"{where} has a mask with a value that is not true, false or a number")
    try:
        return np.array(rows, dtype=np.float64)
    except OverflowError as error:
        raise CorruptRecordingError(f"{where} has a mask with a number that is too large") from error


def _frame_shape(document: Any) -> tuple[int, int] | None:
    image = document.get("image") if isinstance(document, Mapping) else None
    if not isinstance(image, Mapping):
        return None
    rows, columns = image.get("height"), image.get("width")
    if type(rows) is not int or type(columns) is not int or not (0 < rows < _MAX_SIDE and 0 < columns < _MAX_SIDE):
        return None
    return rows, columns


def unmatched_words(masks: JsonMasks, ids: Sequence[str]) -> str:
    """Return a sentence about ROIs with traces and without a mask, or an empty string."""
    missing = [name for name in ids if name not in masks.rois]
    if not missing:
        return ""
    return f"{masks.file_name} has no mask of {counted(len(missing), 'ROI')} with traces: {listed(map(printable, missing))}"

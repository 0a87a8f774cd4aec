"""The columns of a table of ROIs as properties: one number, truth value or text for each ROI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, counted, printable
from roiextractors_core.segmentation import RoiProperty

from .tree import Tree

__all__ = ["properties_of"]

_MAX_ROIS = 1 << 20
_FLAGS = ("accepted", "rejected")


def properties_of(
    tree: Tree, table: str, columns: Sequence[str], num_rois: int, names: Mapping[str, str]
) -> tuple[dict[str, RoiProperty], tuple[str, ...], tuple[str, ...]]:
    """Return the properties of a table; warnings about columns that are damaged; and notes about those that are left out.

    Parameters
    ----------
    tree : Tree
    table : str
        The path of the table.
    columns : sequence of str
        The names of its columns, without masks.
    num_rois : int
        The number of its rows.
    names : mapping of str to str
        The names of properties that are known by the paths of their columns.
    """
    found: dict[str, RoiProperty] = {}
    doubts: list[str] = []
    notes: list[str] = []
    for name in columns:
        where, shape, is_ragged = f"{table}/{name}", None, False
        try:
            shape = tree.shape(where)
            is_ragged = tree.shape(f"{where}_index") is not None
            values = (
                tree.value(where, most=_MAX_ROIS) if shape is not None and len(shape) == 1 and not is_ragged else None
            )
        except (CorruptRecordingError, UnsupportedRecordingError) as error:
            doubts.append(f"{error}; this column is left out")
            continue
        array = _array(values, num_rois)
        if array is not None:
            key, array = (names[where], array) if where in names else _as_flag(name, array)
            text = tree.attributes(where).get("description")
            found[key] = RoiProperty(array, text if isinstance(text, str) else "")
        elif shape is not None and not is_ragged and (len(shape) != 1 or shape[0] == num_rois):
            notes.append(
                f"the column {printable(name)!r} has more than one number or text for each ROI, and is left out"
            )
        elif is_ragged:
            notes.append(f"the column {printable(name)!r} has lists of different lengths, and is left out")
        elif shape is not None:
            doubts.append(
                f"{tree.name}: the column {printable(where)} has {counted(shape[0], 'value')} for {counted(num_rois, 'ROI')}, and is left out"
            )
    return found, tuple(doubts), tuple(notes)


def _array(values: Any, num_rois: int) -> np.ndarray | None:
    """Return a column as an array; None if it is not one number, truth value or text for each ROI."""
    listed = values if isinstance(values, list) else [values]  # a column of one row in Zarr comes as its value
    if values is None or len(listed) != num_rois or not all(isinstance(v, bool | int | float | str) for v in listed):
        return None
    if len({isinstance(value, str) for value in listed}) > 1:
        return None
    array = np.asarray(listed)
    return array if array.dtype.kind in "biufU" else None


def _as_flag(name: str, values: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the columns Accepted and Rejected under the names and as the truth values that roiextractors gives them."""
    if name.lower() not in _FLAGS or values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        return printable(name), values
    return name.lower(), values.astype(bool)

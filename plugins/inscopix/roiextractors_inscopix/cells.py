"""The cells of a cell set: their names and properties in the footer, their masks and traces before it."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roiextractors_core import RoiProperty
from roiextractors_core.errors import CorruptRecordingError, counted, listed, printable
from roiextractors_core.io import PositionedFile, StoredFrames

from .footer import CELL_SET, Footer, Timing, extent_of, read_footer, require_kind, timing_of

__all__ = ["CellSetFile", "metrics_of", "names_of", "unique_ids"]

_ITEM_BYTES = 4  # masks and traces are float32
_MASKS_AT_ONCE = 32 << 20  # bytes of dense masks in memory
_STATUSES = {0: "accepted", 1: "undecided", 2: "rejected"}
_UNKNOWN = -(1 << 63)  # as the vendor writes a coordinate that was not measured

# The vendor's metrics of a cell, in the order in which each is a list of numbers or of points
_METRICS = (
    ("num_components", "Number of separate parts of the cell's mask."),
    ("center", "Centre of the whole mask, in pixels."),
    ("largest_component_center", "Centre of the largest part of the mask, in pixels."),
    ("area", "Area of the whole mask, in pixels, as the vendor measured it."),
    ("largest_component_area", "Area of the largest part of the mask, in pixels."),
    ("max_contour_width", "Greatest width of the contour of the whole mask, in pixels."),
    (
        "largest_component_max_contour_width",
        "Greatest width of the contour of the largest part of the mask, in pixels.",
    ),
)


class CellSetFile:
    """One cell set: for each cell a mask and after it a trace, and the footer after the last cell.

    Parameters
    ----------
    path : str or os.PathLike

    Attributes
    ----------
    file : PositionedFile
    document : mapping
        The footer.
    timing : Timing
    shape : tuple of int
        ``(rows, columns)``.
    names : tuple of str
        Of the cells, in their order.

    Raises
    ------
    UnsupportedRecordingError
        The file is not a cell set.
    CorruptRecordingError
        The footer contradicts itself or the size of the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.file = PositionedFile(path)
        footer = read_footer(self.file.read, self.file.size, self.file.name)
        layout = _layout_of(footer, self.file.name)
        self.document = footer.document
        self.timing, self.shape, self.names = layout.timing, layout.shape, layout.names
        self._step, self._excess = layout.step, footer.start - layout.step * len(layout.names)
        self._images = StoredFrames((self.file,), shape=layout.shape, dtype="<f4")
        # A column, so that only the requested samples of a trace are read
        self._traces = StoredFrames((self.file,), shape=(layout.timing.num_samples, 1), dtype="<f4")

    @property
    def excess_note(self) -> str:
        """A sentence about bytes that the footer does not account for, or an empty string."""
        if not self._excess:
            return ""
        return f"{self.file.name} has {self._excess:,} bytes after the last cell that its footer does not account for"

    def traces(self, start: int, end: int, cells: np.ndarray) -> np.ndarray:
        """Return the traces of cells, ``(samples, cells)``."""
        offsets = cells * self._step + self._images.frame_bytes
        # In the order of the file, so that nothing is copied after it was read
        result = np.empty((end - start, len(cells)), np.float32, order="F")
        self._traces.read_into(result.T[:, :, None], offsets, slice(start, end))
        return result

    def images(self, cells: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the mask of each cell, ``(rows, columns)``."""
        several = max(1, _MASKS_AT_ONCE // self._images.frame_bytes)
        for first in range(0, len(cells), several):
            yield from self._images.read(cells[first : first + several] * self._step)

    def properties(self) -> tuple[dict[str, RoiProperty], tuple[str, ...]]:
        """Return the properties of the cells, and a sentence about each one that cannot be read and is left out."""
        kept: dict[str, RoiProperty] = {}
        left_out = []
        for key, (field, read, description) in _PROPERTIES.items():
            values = self.document.get(field)
            if values is None:  # older versions of the footer have fewer
                continue
            result = read(values) if isinstance(values, list) and len(values) == len(self.names) else None
            if result is None:
                left_out.append(
                    f"{self.file.name}: {field} is not one valid value for each of the {counted(len(self.names), 'cell')}; "
                    f"the property {key!r} was left out"
                )
            else:
                kept[key] = RoiProperty(result, description)
        return kept | metrics_of(self.document.get("cellMetrics"), _METRICS, len(self.names)), tuple(left_out)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The cells that a footer describes; ``step`` is the number of bytes from one to the next."""

    shape: tuple[int, int]
    timing: Timing
    names: tuple[str, ...]
    step: int


def _layout_of(footer: Footer, name: str) -> _Layout:
    document = footer.document
    require_kind(document, (CELL_SET,), name, supported="a cell set")
    shape, timing = extent_of(document, name), timing_of(document, name)
    names = names_of(document, "CellNames", name)
    step = (math.prod(shape) + timing.num_samples) * _ITEM_BYTES
    stored, rest = divmod(footer.start, step)
    if stored != len(names):
        raise CorruptRecordingError(
            f"the footer of {name} names {counted(len(names), 'cell')}, but {footer.start:,} bytes precede it, which are "
            f"{counted(stored, 'cell')} of {shape[0]} x {shape[1]} pixels and {counted(timing.num_samples, 'sample')}"
            + (f" and {rest:,} bytes" if rest else "")
            + "; copy the file again from where it was made"
        )
    return _Layout(shape, timing, names, step)


def names_of(document: Mapping[str, Any], key: str, name: str) -> tuple[str, ...]:
    """Return the names of cells in a footer.

    Raises
    ------
    CorruptRecordingError
    """
    names = document.get(key)
    if not isinstance(names, list) or not all(isinstance(cell, str) for cell in names):
        raise CorruptRecordingError(
            f"the footer of {name} has {key} = {printable(repr(names))[:60]}, expected a list with the name of each cell"
        )
    return tuple(names)


def unique_ids(names: Sequence[str], file_name: str) -> tuple[tuple[str, ...], str]:
    """Return ids for cells: their names, or their numbers from 0 if names are missing or repeated; and a sentence about that."""
    repeated = sorted(cell for cell, count in Counter(names).items() if not cell or count > 1)
    if not repeated:
        return tuple(names), ""
    return (
        tuple(map(str, range(len(names)))),
        f"{file_name}: the cell names {listed(map(printable, repeated))} are repeated or empty; the ids of the cells are their numbers "
        "from 0, and the property 'name' contains their names",
    )


def metrics_of(values: Any, metrics: Sequence[tuple[str, str]], count: int) -> dict[str, RoiProperty]:
    """Return the vendor's metrics as properties: one for each number, and a row and a column for each point.

    A cell without metrics, and a point that was not measured, are NaN.  Metrics of another length are not those of these cells
    and are left out.
    """
    if not isinstance(values, list) or len(values) != count or not any(values):
        return {}
    properties = {}
    for place, (name, description) in enumerate(metrics):
        entries = [cell[place] if isinstance(cell, list) and len(cell) == len(metrics) else None for cell in values]
        if any(isinstance(entry, Mapping) for entry in entries):
            for axis, word in (("y", "row"), ("x", "column")):
                numbers = [_number(entry.get(axis)) if isinstance(entry, Mapping) else math.nan for entry in entries]
                properties[f"{name}_{word}"] = RoiProperty(np.array(numbers), f"{description[:-1]}: {word}.")
        else:
            properties[name] = RoiProperty(np.array([_number(entry) for entry in entries]), description)
    return properties


def _number(value: Any) -> float:
    if type(value) not in (int, float) or value == _UNKNOWN or abs(value) > 1e300:
        return math.nan
    return float(value)


def _statuses(values: list[Any]) -> np.ndarray | None:
    words = [_STATUSES.get(value) if type(value) is int else None for value in values]
    return None if None in words else np.array(words, dtype=str)


def _activities(values: list[Any]) -> np.ndarray | None:
    return np.array(values, dtype=bool) if all(type(value) is bool for value in values) else None


def _colors(values: list[Any]) -> np.ndarray | None:
    # As Qt packs them: 0xAARRGGBB
    if not all(type(value) is int and 0 <= value < 1 << 32 for value in values):
        return None
    return np.array([f"#{value & 0xFFFFFF:06x}" for value in values], dtype=str)


_PROPERTIES = {
    "status": ("CellStatuses", _statuses, "Whether the cell was accepted, rejected, or not decided upon."),
    "active": ("CellActivity", _activities, "Whether the cell is active in this recording."),
    "color": ("CellColors", _colors, "The colour in which the vendor's software shows the cell: #rrggbb."),
}

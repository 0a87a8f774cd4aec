"""The masks of ROIs in an NWB file: dense images, or lists of pixels or voxels with weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    RoiExtractorsWarning,
    counted,
    printable,
)
from roiextractors_core.io import warn
from roiextractors_core.segmentation import RoiMasks

from .arrays import Records, Stack, records_of, stack_of
from .tables import MaskColumn
from .tree import open_tree

__all__ = ["TableMasks", "extent_of"]

_MAX_ROIS = 1 << 20
_MAX_GAPS = 4  # records read for each one that is needed, rather than one read for each ROI
_BLOCK = 1 << 20  # records
_FIELDS = {"pixel_mask": ("x", "y"), "voxel_mask": ("x", "y", "z")}
_WEIGHT = "weight"

Say = Callable[..., None]
"""Warns, and keeps the sentence as a note."""


@dataclass(frozen=True, slots=True)
class _Extent:
    """The highest and the lowest coordinates of a list of pixels."""

    lowest: tuple[int, ...]
    highest: tuple[int, ...]


class TableMasks:
    """The masks of one table, read when they are needed.

    Parameters
    ----------
    path : str
        The NWB file or folder.
    name : str
        Of the file, for messages.
    columns : sequence of MaskColumn
        The one to read first; a later one is read if the first contradicts the frame.
    ids : sequence of str
        Of all ROIs.
    shape : tuple of int
        ``(rows, columns)`` or ``(rows, columns, planes)``.
    has_rows_first : bool
        Whether x is probably the row, as :class:`Table` says.

    Attributes
    ----------
    notes : list of str
        The warnings that were given while masks were read.
    """

    def __init__(
        self,
        path: str,
        name: str,
        columns: Sequence[MaskColumn],
        ids: Sequence[str],
        shape: tuple[int, ...],
        *,
        has_rows_first: bool = False,
    ) -> None:
        self._path, self._name, self._columns, self._ids, self.shape = path, name, columns, ids, shape
        self._has_rows_first = has_rows_first
        self.notes: list[str] = []
        self._lock = threading.Lock()
        self._source: _Dense | _Sparse | None = None

    def read(self, indices: np.ndarray) -> RoiMasks:
        """Return the masks of the ROIs at these positions, in this order.

        Raises
        ------
        CorruptRecordingError
            A pixel is outside of the frame or appears twice, a weight is not finite, or the index contradicts the list of pixels.
        """
        with self._lock:
            if self._source is None:
                self._source = self._open()
        return self._source.read(np.asarray(indices, np.int64))

    def _say(self, words: str, category: type[RoiExtractorsWarning] = RoiExtractorsWarning) -> None:
        self.notes.append(words)
        warn(words, category)

    def _open(self) -> _Dense | _Sparse:
        first, *others = self._columns
        if first.kind == "image_mask":
            return _Dense(self._path, self._name, first, self._ids, self.shape, self._say)
        try:
            return _Sparse(self._path, self._name, first, self._ids, self.shape, self._say, self._has_rows_first)
        except CorruptRecordingError as error:
            dense = [column for column in others if column.kind == "image_mask"]
            if not dense:
                raise
            self._say(f"{error}; image_mask is read instead")
            return _Dense(self._path, self._name, dense[0], self._ids, self.shape, self._say)


class _Dense:
    def __init__(
        self, path: str, name: str, column: MaskColumn, ids: Sequence[str], shape: tuple[int, ...], say: Say
    ) -> None:
        self._say = say
        self._stack: Stack = stack_of(path, column.where, column.shape)
        self._name, self._column, self._ids, self._shape = name, column, ids, shape
        self._has_warned = False

    def read(self, indices: np.ndarray) -> RoiMasks:
        rows, columns, *planes = self._shape
        pixels, weights, offsets = [], [], [0]
        for index, mask in zip(indices.tolist(), self._stack.masks(indices), strict=True):
            flat = np.ascontiguousarray(mask).reshape(-1)
            places = np.flatnonzero(flat)
            values = flat[places]
            if not np.isfinite(values).all():
                raise CorruptRecordingError(
                    f"{self._name}: the mask of ROI {self._ids[index]!r} in {printable(self._column.where)} contains "
                    f"{values[~np.isfinite(values)][0]}; expected finite weights"
                )
            # Stored as (x, y[, z]), the width first
            x, y, *z = np.unravel_index(places, mask.shape)
            turned = np.ravel_multi_index((y, x, *z)[: len(self._shape)], (rows, columns, *planes))
            order = np.argsort(turned)
            pixels.append(turned[order])
            weights.append(values[order])
            offsets.append(offsets[-1] + len(places))
            if not len(places):
                self._warn_if_lost(index)
        joined = np.concatenate(pixels) if pixels else np.empty(0, np.int64)
        return RoiMasks(self._shape, offsets, joined, np.concatenate(weights) if weights else np.empty(0))

    def _warn_if_lost(self, index: int) -> None:
        """Say once that a mask is empty because its chunks may be lost; chunks of zeros alone need not be written."""
        missing = 0 if self._has_warned else self._stack.num_missing
        if missing:
            self._has_warned = True
            self._say(
                f"{self._name}: the mask of ROI {self._ids[index]!r} is empty, and {counted(missing, 'chunk')} of "
                f"{printable(self._column.where)} are missing (lost, or never written)",
                IncompleteRecordingWarning,
            )


class _Sparse:
    """A list of pixels ``(x, y[, z], weight)``, and where each ROI ends in it."""

    def __init__(
        self,
        path: str,
        name: str,
        column: MaskColumn,
        ids: Sequence[str],
        shape: tuple[int, ...],
        say: Say,
        has_rows_first: bool,
    ) -> None:
        self._say = say
        self._name, self._ids, self._shape, self._has_rows_first = name, ids, shape, has_rows_first
        self._where = printable(column.where)
        self._records = records_of(path, column.where)
        self._fields = _FIELDS[column.kind]
        self._ends = _ends_of(path, name, column, ids, self._records.num_records)
        extent = _extent(self._records, self._fields, f"{name}: {self._where}")
        self._is_exchanged = self._find_exchanged(extent)

    def read(self, indices: np.ndarray) -> RoiMasks:
        starts, ends = self._ends[indices], self._ends[indices + 1]
        parts = list(self._parts(starts, ends))
        counts = ends - starts
        records = np.concatenate(parts) if parts else self._records.read(0, 0)
        first, second, *deep = (_whole(records[field], self._name) for field in self._fields)
        y, x = (first, second) if self._is_exchanged else (second, first)
        coordinates = (y, x, *deep)[: len(self._shape)]
        pixels = np.ravel_multi_index(coordinates, self._shape) if len(records) else np.empty(0, np.int64)
        weights = records[_WEIGHT] if _WEIGHT in (records.dtype.names or ()) else None
        offsets = np.concatenate([[0], np.cumsum(counts)])
        try:
            return RoiMasks(self._shape, offsets, pixels, weights)
        except CorruptRecordingError as error:
            raise CorruptRecordingError(f"{self._name}: {self._where}: {self._with_id(str(error), indices)}") from error

    def _with_id(self, words: str, indices: np.ndarray) -> str:
        """Return a message of RoiMasks with the id of the ROI in place of its position among those that are read."""
        before, mark, after = words.partition("ROI number ")
        number = after.split(" ")[0]
        if not mark or not number.isdigit() or int(number) >= len(indices):
            return words
        return f"{before}ROI {self._ids[indices[int(number)]]!r}{after[len(number) :]}"

    def _parts(self, starts: np.ndarray, ends: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the records of each ROI; neighbours are read together."""
        if not len(starts):
            return
        low, high = int(starts.min()), int(ends.max())
        if high - low <= _MAX_GAPS * int((ends - starts).sum()):
            span = self._records.read(low, high)
            for start, end in zip((starts - low).tolist(), (ends - low).tolist(), strict=True):
                yield span[start:end]
            return
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            yield self._records.read(start, end)

    def _find_exchanged(self, extent: _Extent | None) -> bool:
        """Whether x is the row and y the column, against the schema: only then are all pixels inside of the frame."""
        if extent is None:
            return False
        rows, columns, *planes = self._shape
        deep = (*planes, 1)[: len(self._fields) - 2]
        if self._has_rows_first and _fits(extent, (rows, columns, *deep)):
            self._say(
                f"{self._name}: {self._where} was written by NeuroConv, which writes the row as x and the column as y, against the schema; "
                "it is read in that order",
            )
            return True
        if _fits(extent, (columns, rows, *deep)):
            return False
        if _fits(extent, (rows, columns, *deep)):
            self._say(
                f"{self._name}: x and y are exchanged in {self._where}: as the schema defines them, pixels are outside of the frame "
                f"of {rows:,} rows and {counted(columns, 'column')}; they are read as (row, column)",
            )
            return True
        raise CorruptRecordingError(
            f"{self._name}: {self._where} has pixels from {extent.lowest} to {extent.highest} (x, y{', z' if deep else ''}), "
            f"outside of the frame of {rows:,} rows and {counted(columns, 'column')}{f' and {planes[0]:,} planes' if planes else ''}"
        )


def extent_of(path: str, name: str, column: MaskColumn, *, has_rows_first: bool = False) -> tuple[int, ...]:
    """Return the smallest ``(rows, columns[, planes])`` that contain all pixels of a list.

    Parameters
    ----------
    path, name : str
        As for :class:`TableMasks`.
    column : MaskColumn
    has_rows_first : bool
        Whether x is the row.

    Raises
    ------
    CorruptRecordingError
        Coordinates are negative or not whole numbers.
    """
    fields = _FIELDS[column.kind]
    extent = _extent(records_of(path, column.where), fields, f"{name}: {printable(column.where)}")
    if extent is None:
        return (0,) * len(fields)
    if min(extent.lowest) < 0:
        raise CorruptRecordingError(f"{name}: {printable(column.where)} has the coordinate {min(extent.lowest)}")
    x, y, *z = extent.highest
    rows, columns = (x, y) if has_rows_first else (y, x)
    return (rows + 1, columns + 1, *(k + 1 for k in z))


def _fits(extent: _Extent, lengths: tuple[int, ...]) -> bool:
    return min(extent.lowest) >= 0 and all(high < n for high, n in zip(extent.highest, lengths, strict=True))


def _extent(records: Records, fields: tuple[str, ...], where: str) -> _Extent | None:
    lowest, highest = [], []
    for start in range(0, records.num_records, _BLOCK):
        block = records.read(start, min(start + _BLOCK, records.num_records))
        missing = [field for field in fields if field not in (block.dtype.names or ())]
        if missing:
            raise CorruptRecordingError(f"{where} has the fields {block.dtype.names}, expected {(*fields, _WEIGHT)}")
        values = [_whole(block[field], where) for field in fields]
        lowest.append([int(value.min()) for value in values])
        highest.append([int(value.max()) for value in values])
    if not highest:
        return None
    return _Extent(tuple(map(min, zip(*lowest, strict=True))), tuple(map(max, zip(*highest, strict=True))))


def _whole(values: np.ndarray, where: str) -> np.ndarray:
    if values.dtype.kind in "iu" and values.dtype.itemsize < 8:
        return values.astype(np.int64)
    with np.errstate(invalid="ignore"):
        found = values.astype(np.int64)
    if not np.array_equal(found, values):
        raise CorruptRecordingError(f"{where} has coordinates that are not whole numbers")
    return found


def _ends_of(path: str, name: str, column: MaskColumn, ids: Sequence[str], count: int) -> np.ndarray:
    """Return where each ROI begins and ends in the list of pixels: one more number than there are ROIs."""
    where = printable(column.index)
    with open_tree(path) as tree:
        values = tree.value(column.index or "", most=_MAX_ROIS)
    values = values if isinstance(values, list) else [values]
    if not all(isinstance(value, int) for value in values) or len(values) != len(ids):
        raise CorruptRecordingError(f"{name}: {where} must be {counted(len(ids), 'whole number')}, one for each ROI")
    # Python's integers: an unsigned number of 64 bits would become negative
    for k, (before, value) in enumerate(zip([0, *values], values, strict=False)):
        if value < before:
            raise CorruptRecordingError(
                f"{name}: {where} decreases from {before:,} to {value:,} at ROI {ids[k]!r}; it must not decrease"
            )
        if value > count:
            raise CorruptRecordingError(
                f"{name}: {where} ends at {value:,} for ROI {ids[k]!r}, but there are {counted(count, 'pixel')}"
            )
    return np.array([0, *values], np.int64)

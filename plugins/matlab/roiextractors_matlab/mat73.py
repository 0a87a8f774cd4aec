"""Reads MATLAB files of version 7.3, which are HDF5: dimensions are reversed, and sparse matrices are groups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from roiextractors_hdf5.contents import attribute_of, hard_links, missing_bytes, named, open_hdf5
from roiextractors_hdf5.dataset import Hdf5Dataset
from roiextractors_hdf5.matrix import Hdf5Matrix, is_numeric, read_array, read_ranges, runs_of

from roiextractors_core.errors import CorruptRecordingError, printable

from .values import Columns, MatFile, MatValue, MatView, check_sparse

__all__ = ["Mat73File"]

_MAX_FIELDS = 4096
_MAX_DIMS = 32
_MAX_TEXT = 1 << 16  # bytes
_BLOCK = 32 << 20  # bytes of a stack of images, or of a full matrix, that are read at once
_MAX_SPARSE_TABLE = 1 << 16  # samples of a sparse table that are made dense at once


class Mat73File(MatFile):
    """A file of version 7.3, opened for each use.

    Parameters
    ----------
    path : str or os.PathLike

    References
    ----------
    MATLAB, "MAT-File Versions", and the attributes ``MATLAB_class``, ``MATLAB_empty`` and ``MATLAB_sparse`` of its files.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._tables: dict[tuple[str, bool], Hdf5Matrix] = {}

    @contextmanager
    def open_view(self) -> Iterator[MatView]:
        with open_hdf5(self._path) as file:
            yield _View(file, self._path)

    def table(self, path: str, start: int, end: int, rois: np.ndarray, *, rois_first: bool) -> np.ndarray:
        key = (path, rois_first)
        if key not in self._tables:
            with self.open_view() as view:
                value = view.value(path)
                if value is not None and value.kind == "sparse":
                    return _sparse_table(view, value, start, end, rois, rois_first=rois_first)
            self._tables[key] = Hdf5Matrix(self._path, path, rois_first=not rois_first)
        return self._tables[key].read(start, end, rois)

    def close(self) -> None:
        for table in self._tables.values():
            table.close()


class _View(MatView):
    def __init__(self, file: Any, path: str) -> None:
        self._file, self._path = file, path
        self.name = printable(os.path.basename(path))
        self.num_missing = missing_bytes(file)

    def value(self, path: str) -> MatValue | None:
        node = named(self._file, path)
        if isinstance(node, h5py.Group):
            return self._group(node, path)
        if not isinstance(node, h5py.Dataset) or node.shape is None:
            return None
        class_name = _text(attribute_of(node, "MATLAB_class"))
        if "MATLAB_object_decode" in node.attrs:
            return MatValue(path, "object", (1, 1), class_name)
        if "MATLAB_empty" in node.attrs:
            # An empty array stores its dimensions as values
            shape = (
                tuple(map(int, read_array(node).reshape(-1))) if is_numeric(node, 1) and node.size <= _MAX_DIMS else ()
            )
            return MatValue(path, "numbers", shape if 0 in shape else (0, 0))
        shape = tuple(map(int, node.shape[::-1]))
        if class_name == "char":
            return MatValue(path, "text", shape)
        if is_numeric(node) and class_name not in ("cell", "function_handle"):
            return MatValue(path, "numbers", shape if len(shape) > 1 else (*shape, 1))
        return MatValue(path, "other", shape)

    def fields(self, path: str) -> tuple[str, ...]:
        node = named(self._file, path) if path else self._file["/"]
        if not isinstance(node, h5py.Group) or "MATLAB_sparse" in node.attrs:
            return ()
        return tuple(name.decode("utf-8", "surrogateescape") for name in hard_links(node, _MAX_FIELDS))

    def text(self, path: str) -> str:
        value = self.value(path)
        node = named(self._file, path)
        if value is None or value.kind != "text" or not is_numeric(node) or node.nbytes > _MAX_TEXT:
            return ""
        codes = read_array(node).reshape(-1)
        return "".join(map(chr, codes.tolist())) if codes.dtype.kind == "u" and codes.dtype.itemsize <= 2 else ""

    def numbers(self, path: str) -> np.ndarray:
        value = self.value(path)
        if value is None or value.is_empty:
            return np.empty(value.shape if value else (0, 0))
        found: np.ndarray = read_array(named(self._file, path)).T
        return found.reshape(value.shape)

    def columns(self, path: str, chosen: np.ndarray) -> Columns:
        node = named(self._file, path)
        if isinstance(node, h5py.Group):
            return self._sparse_columns(node, path, chosen)
        if "MATLAB_empty" in node.attrs:
            return _columns([np.zeros(len(chosen), np.int64)], [], [])
        pixels, weights, counts = [], [], []
        step = max(1, _BLOCK // max(1, node.shape[1] * node.dtype.itemsize))
        for first, last in runs_of(chosen):
            # A column in MATLAB is a row in the file
            for start in range(first, last + 1, step):
                block = read_array(node, start, min(start + step, last + 1))
                owner, pixel = np.nonzero(block)
                pixels.append(pixel)
                weights.append(block[owner, pixel])
                counts.append(np.bincount(owner, minlength=len(block)))
        return _columns(counts, pixels, weights)

    def images(self, path: str, chosen: np.ndarray, *, rois_axis: int) -> Columns:
        value = self.value(path)
        if value is None or value.is_empty:
            return _columns([np.zeros(len(chosen), np.int64)], [], [])
        if len(value.shape) == 2:
            # MATLAB drops the last dimension of a stack of one image
            return _gather(self.numbers(path)[np.newaxis], 0)
        axes = "TXY" if rois_axis else "XYT"
        stack = Hdf5Dataset(self._path, path, axes=axes)
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        at = 0
        for first, last in runs_of(chosen):
            for rois, rows in _blocks(stack, first, last + 1):
                # The transposed block is in the order of the file, in which one pass finds what is not 0
                stored = stack.read(rois, rows).transpose(0, 2, 1).reshape(-1)
                places = np.flatnonzero(stored)
                height, width = rows.stop - rows.start, stack.frame_shape[1]
                owner, within = np.divmod(places, height * width)
                column, row = np.divmod(within, height)
                pixel = (row + rows.start) * width + column
                parts.append((owner + (rois.start - first + at), pixel, stored[places]))
            at += last - first + 1
        stack.close()
        return _sorted(parts, len(chosen))

    def _group(self, node: Any, path: str) -> MatValue:
        if "MATLAB_sparse" not in node.attrs:
            return MatValue(path, "struct", (1, 1))
        rows, jc = attribute_of(node, "MATLAB_sparse"), named(node, "jc")
        where = f"{self.name}: {printable(path)}"
        if (
            np.ndim(rows)
            or not isinstance(rows, int | np.integer)
            or rows < 0
            or not is_numeric(jc, 1)
            or not jc.shape[0]
        ):
            raise CorruptRecordingError(
                f"{where} is not a sparse matrix: its number of rows or its columns are missing"
            )
        return MatValue(path, "sparse", (int(rows), int(jc.shape[0]) - 1))

    def _sparse_columns(self, group: Any, path: str, chosen: np.ndarray) -> Columns:
        where = f"{self.name}: {printable(path)}"
        jc = read_array(named(group, "jc"))
        # A matrix without values has only jc
        rows, data = named(group, "ir"), named(group, "data")
        if rows is None and data is None:
            check_sparse(jc, 0, where)
            return _columns([np.zeros(len(chosen), np.int64)], [], [])
        if not is_numeric(rows, 1) or not is_numeric(data, 1):
            raise CorruptRecordingError(
                f"{where} is not a sparse matrix of real numbers: ir or data is missing or of another type"
            )
        indptr = check_sparse(jc, min(int(rows.shape[0]), int(data.shape[0])), where)
        ranges = [(int(indptr[first]), int(indptr[last + 1])) for first, last in runs_of(chosen)]
        return _columns([np.diff(indptr)[chosen]], [read_ranges(rows, ranges)], [read_ranges(data, ranges)])


def _sparse_table(
    view: MatView, value: MatValue, start: int, end: int, rois: np.ndarray, *, rois_first: bool
) -> np.ndarray:
    """Return ``(samples, rois)`` of a sparse table; only the columns that are needed are read."""
    chosen = np.arange(start, end) if rois_first else rois
    offsets, rows, weights = view.columns(value.path, chosen)
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < value.shape[0]:
        raise CorruptRecordingError(
            f"{view.name}: {printable(value.path)} has a value in row {int(rows.max()):,} of {value.shape[0]:,}; the file is damaged"
        )
    # The place of each ROI, or of each sample, in the result
    owner = np.repeat(np.arange(len(chosen)), np.diff(offsets))
    if not rois_first:
        inside = (rows >= start) & (rows < end)
        dense = np.zeros((end - start, len(rois)))
        dense[rows[inside] - start, owner[inside]] = weights[inside]
        return dense
    dense = np.zeros((end - start, len(rois)))
    for first in range(0, end - start, _MAX_SPARSE_TABLE):
        stop = min(first + _MAX_SPARSE_TABLE, end - start)
        part = slice(int(offsets[first]), int(offsets[stop]))
        block = np.zeros((stop - first, value.shape[0]))
        block[owner[part] - first, rows[part]] = weights[part]
        dense[first:stop] = block[:, rois]
    return dense


def _blocks(stack: Hdf5Dataset, first: int, stop: int) -> Iterator[tuple[slice, slice]]:
    """Yield ranges of images and rows, each of whole chunks and about as large as fits into memory at once."""
    rows, columns = stack.frame_shape
    images, lines = stack.chunk_shape[:2] if stack.layout.chunk else (1, rows)
    line_bytes = columns * stack.dtype.itemsize
    # Chunks that span many images have few rows: all images of these rows are read at once
    step = max(images, _BLOCK // max(1, rows * line_bytes) // images * images)
    height = (
        rows
        if images * rows * line_bytes <= _BLOCK
        else max(lines, _BLOCK // max(1, images * line_bytes) // lines * lines)
    )
    for start in range(first - first % images, stop, step):
        for top in range(0, rows, height):
            yield slice(max(start, first), min(start + step, stop)), slice(top, min(top + height, rows))


def _gather(block: np.ndarray, first: int) -> Columns:
    owner, row, column = np.nonzero(block)
    return _sorted([(owner, row * block.shape[2] + column, block[owner, row, column])], len(block))


def _sorted(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], count: int) -> Columns:
    owner = _joined([part[0] for part in parts], np.int64)
    pixels, weights = _joined([part[1] for part in parts], np.int64), _joined([part[2] for part in parts], np.float64)
    order = np.argsort(owner, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=count))]).astype(np.int64)
    return Columns(offsets, pixels[order], weights[order])


def _columns(counts: list[np.ndarray], pixels: list[np.ndarray], weights: list[np.ndarray]) -> Columns:
    offsets = np.concatenate([[0], np.cumsum(_joined(counts, np.int64))]).astype(np.int64)
    return Columns(offsets, _joined(pixels, np.int64), _joined(weights, np.float64))


def _joined(parts: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

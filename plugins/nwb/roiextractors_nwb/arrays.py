"""Arrays of an NWB file that are read in parts: the values of ROIs over time, stacks of masks, and lists of pixels."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from roiextractors_hdf5.contents import named, open_hdf5
from roiextractors_hdf5.dataset import Hdf5Dataset, refuse_other_files

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, printable
from roiextractors_core.io import present_zarr_chunks, require_few_chunks

from .tree import is_zarr, read_zarr, zarr_array

__all__ = ["Matrix", "Records", "Stack", "matrix_of", "records_of", "stack_of"]

_BLOCK_BYTES = 32 << 20  # of masks that are read at once
_MAX_CHUNK_BLOCK = 256 << 20  # bytes of the masks in one chunk, which are read at once where they fit
_MAX_MASK_BYTES = 1 << 30  # of one mask; HDF5 is checked against the bytes that are stored
_MAX_PACKED = 4096  # bytes that one stored byte can decode to
_MIN_UNPACKED = 64 << 20  # bytes that are read without comparing them with the bytes stored
_MAX_GAPS = 8  # columns read for each one that is needed, rather than one read for each run


class Matrix(Protocol):
    """The values of ROIs over time, ``(samples, columns)``."""

    @property
    def num_samples(self) -> int:
        """The number of samples, without those at the end that were never written."""

    @property
    def num_columns(self) -> int:
        """The number of ROIs."""

    @property
    def num_missing(self) -> int:
        """Chunks that are missing, and read as the fill value."""

    def read(self, start: int, end: int, columns: np.ndarray) -> np.ndarray:
        """Return ``(samples, columns)`` in native byte order, owned by the caller.

        Parameters
        ----------
        start, end : int
            Samples, within the shape; the end is exclusive.
        columns : numpy.ndarray
            int64, in any order.
        """

    def close(self) -> None:
        """Release the files."""


def matrix_of(path: str, where: str, axes: str) -> Matrix:
    """Return the values of ROIs over time.

    Parameters
    ----------
    path : str
        The NWB file or folder.
    where : str
        The path of the array inside it.
    axes : str
        ``"TX"`` for samples first, ``"XT"`` for ROIs first, ``"T"`` for the samples of a single ROI.

    Raises
    ------
    UnsupportedRecordingError
        It does not contain numbers.
    CorruptRecordingError, TruncatedRecordingError
    """
    return _ZarrMatrix(path, where, axes) if is_zarr(path) else _Hdf5Matrix(path, where, axes)


class _Hdf5Matrix:
    def __init__(self, path: str, where: str, axes: str) -> None:
        self._data = Hdf5Dataset(path, where, axes=axes)
        self.num_samples, self.num_missing = self._data.num_samples, self._data.missing.num_missing
        self.num_columns = 1 if axes == "T" else self._data.layout.shape[axes.index("X")]
        self._is_list = axes == "T"

    def read(self, start: int, end: int, columns: np.ndarray) -> np.ndarray:
        if not len(columns) or start == end:
            return np.empty((end - start, len(columns)), self._data.dtype)
        if self._is_list:
            return np.repeat(self._data.read(slice(start, end))[:, np.newaxis], len(columns), axis=1)
        first, last = int(columns.min()), int(columns.max()) + 1
        if last - first <= _MAX_GAPS * len(columns):
            span = self._data.read(slice(start, end), columns=slice(first, last))
            is_all = last - first == len(columns) and bool((np.diff(columns) == 1).all())
            return span if is_all else span[:, columns - first]
        result = np.empty((end - start, len(columns)), self._data.dtype)
        for k, column in enumerate(columns.tolist()):
            result[:, k] = self._data.read(slice(start, end), columns=slice(column, column + 1))[:, 0]
        return result

    def close(self) -> None:
        self._data.close()


class _ZarrMatrix:
    def __init__(self, path: str, where: str, axes: str) -> None:
        found = zarr_array(path, where)
        self._dtype = found.dtype
        _require_numbers(self._dtype, where)
        self._path, self._where, self._axes = path, where, axes
        shape, chunk = found.shape, found.chunks
        time = axes.index("T")
        self.num_samples = shape[time]
        self.num_columns = 1 if axes == "T" else shape[1 - time]
        looked = present_zarr_chunks(found, axis=time)
        self.num_missing = 0 if looked is None else int((~looked[0]).sum())
        require_few_chunks(where, shape, chunk, limit=1 << 20)

    def read(self, start: int, end: int, columns: np.ndarray) -> np.ndarray:
        dtype = self._dtype.newbyteorder("=")
        if not len(columns) or start == end:
            return np.empty((end - start, len(columns)), dtype)
        samples = slice(start, end)
        if self._axes == "T":
            return np.repeat(
                np.asarray(read_zarr(self._path, self._where, (samples,)), dtype)[:, None], len(columns), 1
            )
        key = (samples, columns) if self._axes == "TX" else (columns, samples)
        found = np.asarray(read_zarr(self._path, self._where, key), dtype)
        return found if self._axes == "TX" else np.ascontiguousarray(found.T)

    def close(self) -> None:
        """Do nothing: no file is open."""


class Stack(Protocol):
    """Dense masks as stored: ``(rois, x, y)`` or ``(rois, x, y, z)``."""

    @property
    def num_missing(self) -> int:
        """Chunks that are missing, and read as the fill value."""

    def masks(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the mask of each ROI at these positions, ``(x, y[, z])``, in C order."""


def stack_of(path: str, where: str, shape: tuple[int, ...]) -> Stack:
    """Return dense masks.

    Parameters
    ----------
    path : str
        The NWB file or folder.
    where : str
        The path of the array inside it.
    shape : tuple of int
        Of the array.
    """
    return _ZarrStack(path, where, shape) if is_zarr(path) else _Hdf5Stack(path, where, shape)


class _Hdf5Stack:
    def __init__(self, path: str, where: str, shape: tuple[int, ...]) -> None:
        self._data = Hdf5Dataset(path, where, axes="TXYZ"[: len(shape)])
        self._step = _step_of(shape[1:], self._data.dtype.itemsize, (self._data.layout.chunk or (1,))[0])
        self.num_missing = self._data.missing.num_missing

    def masks(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(indices), self._step):
            # Rows first, as a transposed view of what is stored
            yield from self._data.read(indices[start : start + self._step]).swapaxes(1, 2)


class _ZarrStack:
    def __init__(self, path: str, where: str, shape: tuple[int, ...]) -> None:
        found = zarr_array(path, where)
        _require_numbers(found.dtype, where)
        nbytes = math.prod(shape[1:]) * found.dtype.itemsize
        if nbytes > _MAX_MASK_BYTES:
            raise CorruptRecordingError(f"{printable(where)} claims {nbytes:,} bytes for one mask; the file is damaged")
        require_few_chunks(where, shape[1:], found.chunks[1:], limit=1 << 17)
        self._path, self._where, self._num_axes = path, where, len(shape)
        self._step = _step_of(shape[1:], found.dtype.itemsize, found.chunks[0])

    @property
    def num_missing(self) -> int:
        looked = present_zarr_chunks(zarr_array(self._path, self._where), axis=0)
        return 0 if looked is None else int((~looked[0]).sum())

    def masks(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(indices), self._step):
            key = (indices[start : start + self._step], *[slice(None)] * (self._num_axes - 1))
            yield from read_zarr(self._path, self._where, key)


def _step_of(shape: tuple[int, ...], itemsize: int, chunk: int) -> int:
    """Return how many masks to read at once: all of a chunk where they fit, so that it is decoded once."""
    nbytes = max(1, math.prod(shape) * itemsize)
    step = max(1, _BLOCK_BYTES // nbytes)
    return max(step, chunk) if chunk * nbytes <= _MAX_CHUNK_BLOCK else step


class Records(Protocol):
    """A list of records of numbers, such as pixels with their weights."""

    @property
    def num_records(self) -> int:
        """The number of records."""

    def read(self, start: int, end: int) -> np.ndarray:
        """Return some of the records, as a structured array."""


def records_of(path: str, where: str) -> Records:
    """Return a list of records.

    Raises
    ------
    CorruptRecordingError
        A part of it is missing.
    UnsupportedRecordingError
        It is not a list of records of numbers, or its bytes are in another file.
    """
    return _ZarrRecords(path, where) if is_zarr(path) else _Hdf5Records(path, where)


class _Hdf5Records:
    def __init__(self, path: str, where: str) -> None:
        self._path, self._where = path, where
        with open_hdf5(path) as file:
            dataset = named(file, where)
            name = f"{printable(os.path.basename(path))}: {printable(where)}"
            _require_records(np.dtype(dataset.dtype), dataset.shape, name)
            refuse_other_files(dataset, dataset.id.get_create_plist(), name)
            self.num_records = int(dataset.shape[0])
            _require_stored(dataset, name)

    def read(self, start: int, end: int) -> np.ndarray:
        with open_hdf5(self._path) as file:
            return np.asarray(named(file, self._where)[start:end])


class _ZarrRecords:
    def __init__(self, path: str, where: str) -> None:
        self._path, self._where = path, where
        found = zarr_array(path, where)
        name = f"{printable(os.path.basename(os.path.normpath(path)))}: {printable(where)}"
        _require_records(found.dtype, found.shape, name)
        self.num_records = found.shape[0]
        looked = present_zarr_chunks(found, axis=0)
        if self.num_records and (looked is None or not looked[0].all()):
            raise _incomplete(name)

    def read(self, start: int, end: int) -> np.ndarray:
        return read_zarr(self._path, self._where, (slice(start, end),))


def _require_records(dtype: np.dtype[Any], shape: tuple[int, ...] | None, name: str) -> None:
    kinds = [part[0].kind for part in (dtype.fields or {}).values()]
    if shape is None or len(shape) != 1 or not kinds or not set(kinds) <= set("iuf"):
        raise UnsupportedRecordingError(
            f"{name} must be a list of records of numbers, such as (x, y, weight); got {dtype} of shape {shape}"
        )


def _require_stored(dataset: Any, name: str) -> None:
    """Refuse a list of which parts were never written, or that claims far more records than its bytes can decode to."""
    if dataset.size == 0:
        return
    stored, claimed = int(dataset.id.get_storage_size()), int(dataset.size) * dataset.dtype.itemsize
    if dataset.chunks is not None and dataset.id.get_num_chunks() < -(-dataset.shape[0] // dataset.chunks[0]):
        raise _incomplete(name)
    if stored == 0 or claimed > max(_MIN_UNPACKED, stored * _MAX_PACKED):
        raise _incomplete(name)


def _incomplete(name: str) -> CorruptRecordingError:
    return CorruptRecordingError(f"{name} is incomplete: parts of it were lost or never written")


def _require_numbers(dtype: np.dtype[Any], where: str) -> None:
    if dtype.kind not in "biuf":
        raise UnsupportedRecordingError(f"{printable(where)} has the type {dtype}; expected numbers")

"""Reads tables of numbers in HDF5 files, such as the traces of ROIs: whole small ones, and parts of large ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, printable

from .dataset import Hdf5Dataset, layout_of

__all__ = ["Hdf5Matrix", "is_numeric", "read_array", "read_ranges", "runs_of"]

_MAX_UNPACKED = 1100  # bytes that one stored byte can decode to: the limit of deflate is 1032
_MIN_CHECKED = 1 << 20  # bytes; less is read without a comparison with the bytes stored
_MAX_GAP = 4  # a stretch of columns is read at once when it is at most this many times longer than what is needed


def is_numeric(node: Any, num_dims: int | None = None) -> bool:
    """Return whether an object is a dataset of real numbers, with so many dimensions.

    Parameters
    ----------
    node : h5py.Group, h5py.Dataset or None
    num_dims : int, optional
    """
    if not isinstance(node, h5py.Dataset) or node.shape is None or node.dtype.kind not in "biuf":
        return False
    return node.dtype.subdtype is None and (num_dims is None or len(node.shape) == num_dims)


def read_array(dataset: Any, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Return a dataset of numbers, or a range of its first axis, if the file can contain so many.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of an open file.
    start, stop : int, optional
        The range along the first axis; all of it by default.

    Returns
    -------
    numpy.ndarray
        In native byte order.

    Raises
    ------
    CorruptRecordingError
        The dataset claims far more bytes than are stored.
    UnsupportedRecordingError
        It does not contain numbers, or its bytes are in another file.
    TruncatedRecordingError
        It extends beyond the end of the file.
    """
    layout = layout_of(dataset)
    claimed, stored = int(dataset.nbytes), int(dataset.id.get_storage_size())
    if claimed > max(_MIN_CHECKED, stored * _MAX_UNPACKED):
        where = f"{printable(os.path.basename(dataset.file.filename))}: {printable(dataset.name)}"
        raise CorruptRecordingError(
            f"{where} claims {claimed:,} bytes ({layout.shape} {layout.dtype}) but has only {stored:,} bytes stored; "
            "the file is damaged"
        )
    values = np.asarray(dataset[()] if stop is None or not layout.shape else dataset[start:stop])
    return values.astype(layout.dtype.newbyteorder("="), copy=False)


def read_ranges(dataset: Any, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return ranges of a list of numbers, joined; those that are close to each other are one read.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of an open file; one-dimensional.
    ranges : sequence of (int, int)
        Within the list; the end is exclusive.

    Raises
    ------
    CorruptRecordingError, UnsupportedRecordingError, TruncatedRecordingError
        As for :func:`read_array`.
    """
    needed = sum(stop - start for start, stop in ranges)
    if not needed:
        return np.empty(0, dataset.dtype.newbyteorder("="))
    first, last = min(start for start, _ in ranges), max(stop for _, stop in ranges)
    if last - first <= _MAX_GAP * needed:
        block = read_array(dataset, first, last)
        return np.concatenate([block[start - first : stop - first] for start, stop in ranges])
    return np.concatenate([read_array(dataset, start, stop) for start, stop in ranges])


class Hdf5Matrix:
    """A table of ROIs and samples in an HDF5 file, of which only the parts that are needed are read.

    Any number of threads may read; the file is opened with the first read.

    Parameters
    ----------
    path : str or os.PathLike
    name : str
        The dataset's path inside the file.
    rois_first : bool
        Whether it is stored as ``(rois, samples)``; otherwise ``(samples, rois)``.
    """

    def __init__(self, path: str | os.PathLike[str], name: str, *, rois_first: bool) -> None:
        self._path, self._name, self._rois_first = os.fspath(path), name, rois_first
        self._dataset: Hdf5Dataset | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (self._path, self._name, self._rois_first)

    def read(self, start: int, end: int, rois: np.ndarray) -> np.ndarray:
        """Return ``(samples, rois)`` of the samples ``start`` to ``end`` (exclusive) and these ROIs, in this order.

        Parameters
        ----------
        start, end : int
            Within the table.
        rois : numpy.ndarray
            Indices within the table.

        Raises
        ------
        CorruptRecordingError, TruncatedRecordingError
            Bytes are missing, or do not decode.
        """
        dataset = self._get_dataset()
        # Owned by the caller, and in the order of the file, so that nothing is copied
        order: Any = "F" if self._rois_first else "C"
        result = np.empty((end - start, len(rois)), dataset.dtype, order)
        if not result.size:
            return result
        first, last = int(rois.min()), int(rois.max()) + 1
        if _is_run(rois):
            self._read_block(dataset, result, start, end, first, last)
            return result
        # Columns of a row are close to each other in the file, so that a stretch of them is one read
        if last - first <= (len(rois) if self._rois_first else _MAX_GAP * len(rois)):
            block = np.empty((end - start, last - first), dataset.dtype, order)
            self._read_block(dataset, block, start, end, first, last)
            np.take(block, rois - first, axis=1, out=result)
            return result
        at = 0
        for first, last in runs_of(rois):
            part = np.empty((end - start, last - first + 1), dataset.dtype, order)
            self._read_block(dataset, part, start, end, first, last + 1)
            result[:, at : at + part.shape[1]] = part
            at += part.shape[1]
        return result

    def close(self) -> None:
        """Release the file; a later read opens it again."""
        if self._dataset is not None:
            self._dataset.close()

    def _get_dataset(self) -> Hdf5Dataset:
        if self._dataset is None:
            dataset = Hdf5Dataset(self._path, self._name, axes="YX")
            if dataset.missing.num_missing:
                raise UnsupportedRecordingError(
                    f"{printable(os.path.basename(self._path))}: parts of {printable(self._name)} were never written "
                    "or are cut off, so the traces are incomplete"
                )
            self._dataset = dataset
        return self._dataset

    def _read_block(self, dataset: Hdf5Dataset, out: np.ndarray, start: int, end: int, first: int, last: int) -> None:
        if self._rois_first:
            dataset.read_into(out.T, [(first, last), (start, end)])
        else:
            dataset.read_into(out, [(start, end), (first, last)])


def _made_again(path: str, name: str, rois_first: bool) -> Hdf5Matrix:
    return Hdf5Matrix(path, name, rois_first=rois_first)


def _is_run(rois: np.ndarray) -> bool:
    return len(rois) < 2 or bool((np.diff(rois) == 1).all())


def runs_of(indices: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and the last index of each run of consecutive indices, in their order.

    Parameters
    ----------
    indices : numpy.ndarray
        One-dimensional, integers.
    """
    if not len(indices):
        return []
    breaks = np.flatnonzero(np.diff(indices) != 1)
    firsts, lasts = np.concatenate([[0], breaks + 1]), np.concatenate([breaks, [len(indices) - 1]])
    return list(zip(indices[firsts].tolist(), indices[lasts].tolist(), strict=True))

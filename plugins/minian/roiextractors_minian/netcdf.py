"""Arrays with named axes in a netCDF-4 file, as xarray saves a whole dataset of minian: an HDF5 file with dimension scales."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import h5py
import numpy as np
from roiextractors_hdf5.contents import attribute_of, open_hdf5
from roiextractors_hdf5.dataset import layout_of
from roiextractors_hdf5.matrix import runs_of

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, printable

__all__ = ["NetcdfArray", "open_netcdf_array"]

_MIN_CHECKED = 1 << 20  # bytes; less is read without a comparison with the bytes stored
_MAX_UNPACKED = 1100  # bytes that one stored byte can decode to: the limit of deflate is 1032
_MAX_SPREAD = 4  # a stretch is read at once when it is at most this many times longer than what is needed
_WITHOUT_LABELS = "This is a netCDF dimension but not a netCDF variable"
_MAX_TEXT = 1000
_SCALES = "DIMENSION_LIST"
Result = TypeVar("Result")


class NetcdfArray:
    """An array of a netCDF-4 file, with the interface of :class:`LabelledArray`; the file is open only while it is read."""

    def __init__(self, path: str, name: str, variable: str, dataset: Any) -> None:
        self.name, self.variable = name, variable
        self.shape: tuple[int, ...] = tuple(map(int, dataset.shape)) or (1,)
        self.chunks: tuple[int, ...] = tuple(map(int, dataset.chunks or self.shape))
        self.dtype: np.dtype[Any] = np.dtype(dataset.dtype)
        self.dims = _scale_names(dataset, name) or ("",)
        self.fill_value: Any = 0
        self._path = path
        self._is_written = not dataset.size or dataset.id.get_storage_size() > 0

    def length(self, dim: str) -> int:
        """Return the length of an axis; 1 where the array has no such axis."""
        return self.shape[self.dims.index(dim)] if dim in self.dims else 1

    def chunk(self, dim: str) -> int:
        """Return the length of a chunk along an axis; 1 where the array has no such axis."""
        return self.chunks[self.dims.index(dim)] if dim in self.dims else 1

    def read(self, dims: tuple[str, ...], **parts: slice | int | np.ndarray) -> np.ndarray:
        """Return a part, its axes in the order of ``dims``, as :meth:`LabelledArray.read`."""
        key = [parts.get(dim, slice(0, n)) for dim, n in zip(self.dims, self.shape, strict=True)]
        stored = self._with_dataset(lambda dataset: _part(dataset, key))
        kept = [dim for dim in self.dims if dim in dims]
        missing = [dim for dim in dims if dim not in kept]
        array = stored.reshape(*stored.shape, *(1 for _ in missing))
        return array.transpose([(*kept, *missing).index(dim) for dim in dims])

    def values(self) -> np.ndarray:
        """Return all of an array of one axis, or of none, which then has length 1."""
        return self._with_dataset(lambda dataset: np.asarray(dataset[()]).reshape(-1))

    def text(self) -> str:
        """Return the text of an array without axes; empty where it is not a text."""
        if self.shape != (1,) or self.dtype.kind not in "SO":
            return ""
        value = self._with_dataset(lambda dataset: dataset[()] if h5py.check_string_dtype(dataset.dtype) else b"")
        value = np.asarray(value).reshape(-1)[0]
        return value[:_MAX_TEXT].decode("utf-8", "replace") if isinstance(value, bytes) else ""

    def num_missing(self) -> tuple[int, int]:
        """Return ``(1, 1)`` for an array of which nothing was written; parts are not looked at."""
        return (0 if self._is_written else 1), 1

    def forget(self) -> None:
        """Nothing is kept."""

    def _with_dataset(self, read: Callable[[Any], Result]) -> Result:
        with open_hdf5(self._path) as file:
            dataset = _member(file, self.variable)
            if dataset is None or (tuple(map(int, dataset.shape)) or (1,)) != self.shape:
                raise CorruptRecordingError(f"{self.name} was changed since it was opened")
            return read(dataset)


def open_netcdf_array(path: str, variable: str) -> NetcdfArray | None:
    """Return an array of a file; None if there is none, or if it is an axis without labels.

    Parameters
    ----------
    path : str
    variable : str

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        The file is damaged, or the array is larger than its bytes can decode to.
    UnsupportedRecordingError
        It is stored in other files, or with a scale or an offset.

    References
    ----------
    NetCDF-4 file format: dimensions are HDF5 dimension scales, to which ``DIMENSION_LIST`` of a variable refers.
    """
    name = f"{printable(os.path.basename(path))}: {variable}"
    with open_hdf5(path) as file:
        dataset = _member(file, variable)
        if dataset is None or dataset.shape is None or _attribute(dataset, "NAME").startswith(_WITHOUT_LABELS):
            return None
        if dataset.dtype.kind in "biuf":
            layout_of(dataset)  # which refuses bytes in other files
            claimed, stored = int(dataset.nbytes), int(dataset.id.get_storage_size())
            if claimed > max(_MIN_CHECKED, stored * _MAX_UNPACKED):
                raise CorruptRecordingError(
                    f"{name} claims the shape {dataset.shape} {dataset.dtype} but has only {stored:,} bytes stored; it is damaged"
                )
        if "scale_factor" in dataset.attrs or "add_offset" in dataset.attrs:
            raise UnsupportedRecordingError(
                f"{name} is stored with a scale or an offset, which minian does not write; save it again without"
            )
        return NetcdfArray(path, name, variable, dataset)


def _member(file: Any, variable: str) -> Any:
    link = file.get(variable, getlink=True)
    # The path in a link comes from the file, and could name any file of the user
    node = file.get(variable) if isinstance(link, h5py.HardLink) else None
    # A text whose type is damaged looks like a list of varying length, and reading it ends the process
    is_array = isinstance(node, h5py.Dataset) and not isinstance(node.id.get_type(), h5py.h5t.TypeVlenID)
    return node if is_array else None


def _attribute(dataset: Any, key: str) -> str:
    value = attribute_of(dataset, key)
    return value if isinstance(value, str) else ""


def _scale_names(dataset: Any, name: str) -> tuple[str, ...]:
    """Return the name of the dimension scale of each axis; empty where there is none."""
    if _SCALES not in dataset.attrs:
        return ("",) * len(dataset.shape)
    # Not dataset.dims: the process ends with a segmentation fault if the attribute has another type
    attribute = dataset.attrs.get_id(_SCALES)
    items = h5py.check_vlen_dtype(attribute.dtype)
    if items is None or h5py.check_ref_dtype(items) is not h5py.Reference or attribute.shape != (len(dataset.shape),):
        raise CorruptRecordingError(f"{name} has an attribute {_SCALES} that does not refer to a scale for each axis")
    scales = [dataset.file[references[0]].name if len(references) else "" for references in dataset.attrs[_SCALES]]
    return tuple(str(scale or "").rsplit("/", 1)[-1] for scale in scales)


def _part(dataset: Any, key: list[Any]) -> np.ndarray:
    """Return a part of a dataset, with indices in any order along at most one axis."""
    axis = next((k for k, part in enumerate(key) if isinstance(part, np.ndarray)), None)
    if axis is None:
        return np.asarray(dataset[tuple(key)])
    needed, order = np.unique(key[axis], return_inverse=True)
    ranges = [(int(first), int(last) + 1) for first, last in runs_of(needed)]
    if ranges and ranges[-1][1] - ranges[0][0] <= _MAX_SPREAD * len(needed):
        first = ranges[0][0]
        block = _part(dataset, [*key[:axis], slice(first, ranges[-1][1]), *key[axis + 1 :]])
        part: np.ndarray = np.take(block, key[axis] - first, axis=axis)
        return part
    blocks = [_part(dataset, [*key[:axis], slice(*stretch), *key[axis + 1 :]]) for stretch in ranges or [(0, 0)]]
    joined: np.ndarray = np.concatenate(blocks, axis=axis)
    return np.take(joined, order.reshape(-1), axis=axis)

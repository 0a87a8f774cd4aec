"""Arrays with named axes, as xarray writes them to Zarr: read in parts, by the names of the axes."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    UnsupportedRecordingError,
    listed,
    printable,
)
from roiextractors_core.io import (
    ZarrArray,
    is_file,
    present_zarr_chunks,
    read_json,
)

__all__ = ["LabelledArray", "open_array", "tiles"]

_TILE_BYTES = 16 << 20
_MAX_CHARACTER = 0x10FFFF


class LabelledArray:
    """An array whose axes have names.

    Attributes
    ----------
    name : str
        Of the variable, with the folder that it is in, for messages.
    dims : tuple of str
        The names of the axes, in the order in which they are stored.
    shape, chunks : tuple of int
    dtype : numpy.dtype
    fill_value : object
        The value of chunks that have no file.
    variable : str
        Its own name.
    """

    def __init__(self, array: ZarrArray, name: str, variable: str, dims: tuple[str, ...]) -> None:
        self.name, self.variable, self.dims = name, variable, dims
        self.shape, self.chunks, self.dtype = array.shape, array.chunks, array.dtype
        self.fill_value = array.fill_value
        self._array = array

    def length(self, dim: str) -> int:
        """Return the length of an axis; 1 where the array has no such axis."""
        return self.shape[self.dims.index(dim)] if dim in self.dims else 1

    def chunk(self, dim: str) -> int:
        """Return the length of a chunk along an axis; 1 where the array has no such axis."""
        return self.chunks[self.dims.index(dim)] if dim in self.dims else 1

    def read(self, dims: tuple[str, ...], **parts: slice | int | np.ndarray) -> np.ndarray:
        """Return a part, its axes in the order of ``dims``.

        Parameters
        ----------
        dims : tuple of str
            The axes of the result; an axis that the array does not have gets length 1.
        **parts
            By axis: a slice or an array of indices; all of it where nothing is given.  Indices of at most one axis.

        Raises
        ------
        CorruptRecordingError, SourceNotFoundError, SourceReadError
            A chunk does not decode or cannot be read, or the array does not exist any more.
        """
        key = [parts.get(dim, slice(0, n)) for dim, n in zip(self.dims, self.shape, strict=True)]
        stored = self._array.read(key)
        kept = [dim for dim in self.dims if dim in dims]
        missing = [dim for dim in dims if dim not in kept]
        array = stored.reshape((*stored.shape, *(1 for _ in missing)))
        return array.transpose([(*kept, *missing).index(dim) for dim in dims])

    def values(self) -> np.ndarray:
        """Return all of an array of one axis, or of none, which then has length 1."""
        return self.read(self.dims).reshape(-1)

    def text(self) -> str:
        """Return the text of an array without axes; empty where it is not a text, or a damaged one."""
        if self.shape not in ((), (1,)) or self.dtype.kind not in "US":
            return ""
        values = self.values()
        # numpy makes a text of any numbers, and Python fails on those that are no characters
        if values.dtype.kind == "U" and (values.view(np.uint32) > _MAX_CHARACTER).any():
            return ""
        return str(values[0]) if values.dtype.kind == "U" else values[0].decode("utf-8", "replace")

    def num_missing(self) -> tuple[int, int]:
        """Return how many chunks have no file, and how many there are; ``(0, 0)`` for more than are looked at."""
        looked = present_zarr_chunks(self._array, axis=None)
        return (0, 0) if looked is None else (int((~looked[0]).sum()), looked[0].size)

    def forget(self) -> None:
        """Forget the chunks that are kept decoded."""
        self._array.forget()


def open_array(folder: str, name: str, variable: str) -> LabelledArray | None:
    """Return the array in a folder; None if there is none.

    Parameters
    ----------
    folder : str
        It contains ``.zarray`` or ``zarr.json``.
    name : str
        For messages.
    variable : str
        Its own name.

    Raises
    ------
    CorruptRecordingError
        The description of the array is not valid.
    UnsupportedRecordingError
        Its chunks are stored in a way that is not read.

    References
    ----------
    Zarr storage specifications, versions 2 and 3; xarray, "Zarr encoding specification": ``_ARRAY_DIMENSIONS`` among the
    attributes in version 2, ``dimension_names`` in version 3.
    """
    if not _is_array(folder, name):
        return None
    array = ZarrArray(folder, name=name)
    if array.dtype.kind not in "biufUS":
        raise UnsupportedRecordingError(
            f"{name} has the type {array.dtype}; numbers and texts of a fixed length are supported"
        )
    dims = _dims(array)
    scales = (("scale_factor", 1), ("add_offset", 0))
    if any(array.attributes.get(key) not in (None, default) for key, default in scales):
        raise UnsupportedRecordingError(
            f"{name} is stored with a scale or an offset, which minian does not write; save it again without"
        )
    array.require_stored(max(math.prod(array.chunks), math.prod(array.shape)) * array.dtype.itemsize)
    return LabelledArray(array, name, variable, dims)


def _is_array(folder: str, name: str) -> bool:
    if is_file(os.path.join(folder, ".zarray")):
        return True
    place = os.path.join(folder, "zarr.json")
    if not is_file(place):
        return False
    facts = read_json(place)
    return isinstance(facts, dict) and facts.get("node_type") == "array"


def tiles(array: Any, dims: tuple[str, ...]) -> Iterator[dict[str, slice]]:
    """Yield parts that cover an array, aligned to its chunks, each of some megabytes or of one chunk.

    Parameters
    ----------
    array : LabelledArray or NetcdfArray
    dims : tuple of str
        The axes that are split; of the others, all is counted.
    """
    steps = {dim: min(max(1, array.chunk(dim)), max(1, array.length(dim))) for dim in dims}
    others = math.prod(n for dim, n in zip(array.dims, array.shape, strict=True) if dim not in dims)
    for dim in reversed(dims):
        size = others * math.prod(steps.values()) * array.dtype.itemsize
        steps[dim] = min(array.length(dim), steps[dim] * max(1, _TILE_BYTES // max(1, size)))
    ranges = [range(0, array.length(dim), max(1, steps[dim])) for dim in dims]
    for starts in itertools.product(*ranges):
        yield {
            dim: slice(start, min(array.length(dim), start + steps[dim]))
            for dim, start in zip(dims, starts, strict=True)
        }


def _dims(array: ZarrArray) -> tuple[str, ...]:
    names, shape = array.dimension_names, array.shape
    if not names and shape in ((), (1,)):
        return ("",) * len(shape)
    if names is None or not all(names):
        raise CorruptRecordingError(
            f"{array.name} does not name its axes, of lengths {shape}: expected a list in _ARRAY_DIMENSIONS, got {printable(array.attributes.get('_ARRAY_DIMENSIONS'))[:60]}"
        )
    if len(names) != len(shape) or len(set(names)) != len(names):
        raise CorruptRecordingError(
            f"{array.name} names {len(names)} axes, {printable(listed(names))[:80]}, but has the shape {shape}"
        )
    return tuple(map(str, names))

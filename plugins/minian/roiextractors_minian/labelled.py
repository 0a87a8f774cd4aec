"""Arrays with named axes, as xarray writes them to Zarr: read in parts, by the names of the axes."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceNotFoundError,
    UnsupportedRecordingError,
    listed,
    printable,
)
from roiextractors_core.io import (
    UndecodedChunkError,
    ZarrChunks,
    codec_names,
    is_file,
    present_zarr_chunks,
    read_json,
)

__all__ = ["LabelledArray", "open_array", "tiles"]

_MAX_DIMENSIONS = 8
_MAX_LENGTH = 1 << 40
_MAX_UNCHECKED = 256 << 20  # a larger chunk must be plausible from the bytes in the folder
_MAX_PACKED = 4096  # bytes that one byte in the folder can decode to
_TILE_BYTES = 16 << 20
_MAX_CHARACTER = 0x10FFFF
_NUMBERS = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
# Names of the types of Zarr version 3
_DTYPES = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
)


@dataclass(frozen=True, slots=True)
class _Metadata:
    """The part of an array's description that :class:`ZarrChunks` asks for."""

    description: Mapping[str, Any]
    zarr_format: int
    fill_value: Any
    encode_chunk_key: Callable[[tuple[int, ...]], str]

    def to_dict(self) -> Mapping[str, Any]:
        return self.description


@dataclass(frozen=True, slots=True)
class _Described:
    """An array by its description: what :class:`ZarrChunks` takes in place of an array of zarr."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    metadata: _Metadata


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
    variable : str
        Its own name.
    """

    def __init__(self, folder: str, name: str, variable: str, described: _Described, dims: tuple[str, ...]) -> None:
        self.name, self.variable, self.dims = name, variable, dims
        self.shape, self.chunks, self.dtype = described.shape, described.chunks, described.dtype
        self._folder, self._described = folder, described
        self._chunks = ZarrChunks(folder, described)

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
        try:
            stored = self._chunks.read(key)
        except UndecodedChunkError as error:
            raise CorruptRecordingError(f"{self.name}: a chunk cannot be decoded: {printable(error)[:200]}") from error
        kept = [dim for dim in self.dims if dim in dims]
        missing = [dim for dim in dims if dim not in kept]
        array = stored.reshape(*stored.shape, *(1 for _ in missing))
        return array.transpose([(*kept, *missing).index(dim) for dim in dims])

    def values(self) -> np.ndarray:
        """Return all of an array of one axis, or of none, which then has length 1."""
        return self.read(self.dims).reshape(-1)

    def text(self) -> str:
        """Return the text of an array without axes; empty where it is not a text, or a damaged one."""
        if self.shape != (1,) or self.dtype.kind not in "US":
            return ""
        values = self.values()
        # numpy makes a text of any numbers, and Python fails on those that are no characters
        if values.dtype.kind == "U" and (values.view(np.uint32) > _MAX_CHARACTER).any():
            return ""
        return str(values[0]) if values.dtype.kind == "U" else values[0].decode("utf-8", "replace")

    def num_missing(self) -> tuple[int, int]:
        """Return how many chunks have no file, and how many there are; ``(0, 0)`` for more than are looked at."""
        looked = present_zarr_chunks(self._folder, self._described, axis=None)
        return (0, 0) if looked is None else (int((~looked[0]).sum()), looked[0].size)

    @property
    def fill_value(self) -> Any:
        """The value of chunks that have no file."""
        return self._described.metadata.fill_value

    def forget(self) -> None:
        """Forget the chunks that are kept decoded."""
        self._chunks.forget()


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
    described, names, attributes = _description(folder, name)
    if described is None:
        return None
    dims = _dims(names, described.shape, name)
    if any(attributes.get(key) not in (None, default) for key, default in (("scale_factor", 1), ("add_offset", 0))):
        raise UnsupportedRecordingError(
            f"{name} is stored with a scale or an offset, which minian does not write; save it again without"
        )
    array = LabelledArray(folder, name, variable, described, dims)
    if not array._chunks.can_read:
        codecs = listed(codec_names(described.metadata.description)) or "none"
        raise UnsupportedRecordingError(
            f"{name} is stored in Fortran order, with filters or shards, or with an unknown codec (its codecs: {printable(codecs)[:100]}), "
            "which is not supported; save it again with the defaults of xarray"
        )
    _check_size(folder, described, name)
    return array


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


def _description(folder: str, name: str) -> tuple[_Described | None, Any, Mapping[str, Any]]:
    """Return an array's description, the names of its axes and its attributes, by either version of Zarr."""
    if is_file(os.path.join(folder, ".zarray")):
        facts = _object(os.path.join(folder, ".zarray"), name)
        attributes = _object(os.path.join(folder, ".zattrs"), name, optional=True)
        return _version_2(facts, name), attributes.get("_ARRAY_DIMENSIONS"), attributes
    if is_file(os.path.join(folder, "zarr.json")):
        facts = _object(os.path.join(folder, "zarr.json"), name)
        if facts.get("node_type") != "array":
            return None, None, {}
        stated = facts.get("attributes")
        return _version_3(facts, name), facts.get("dimension_names"), stated if isinstance(stated, dict) else {}
    return None, None, {}


def _object(path: str, name: str, *, optional: bool = False) -> Mapping[str, Any]:
    try:
        value = read_json(path)
    except SourceNotFoundError:
        if optional:
            return {}
        raise
    if not isinstance(value, dict):
        raise CorruptRecordingError(
            f"{name}: {os.path.basename(path)} should contain an object, got {printable(value)[:60]}"
        )
    return value


def _version_2(facts: Mapping[str, Any], name: str) -> _Described:
    shape, chunks = (_lengths(facts.get(key), key, name) for key in ("shape", "chunks"))
    dtype = _dtype(facts.get("dtype"), name)
    separator = "/" if facts.get("dimension_separator") == "/" else "."
    codec = facts.get("compressor")
    filters = facts.get("filters")
    if not isinstance(codec, dict | None) or not isinstance(filters, list | None) or facts.get("zarr_format") != 2:
        raise CorruptRecordingError(f"{name}: .zarray is not a description of an array of Zarr version 2")

    def key(cell: tuple[int, ...]) -> str:
        return separator.join(map(str, cell))

    return _described(shape, chunks, dtype, facts, key, name, version=2)


def _version_3(facts: Mapping[str, Any], name: str) -> _Described:
    grid, keys = (_configuration(facts.get(key)) for key in ("chunk_grid", "chunk_key_encoding"))
    shape, chunks = _lengths(facts.get("shape"), "shape", name), _lengths(grid[1].get("chunk_shape"), "chunks", name)
    codecs = facts.get("codecs")
    if not isinstance(codecs, list) or not codecs or not all(isinstance(codec, dict) for codec in codecs):
        raise CorruptRecordingError(f"{name}: zarr.json does not list the codecs of its array")
    if facts.get("data_type") not in _DTYPES or grid[0] != "regular":
        raise UnsupportedRecordingError(
            f"{name} has the type {printable(facts.get('data_type'))[:40]} in a {printable(grid[0])[:40]} grid of chunks, which is not read"
        )
    is_default = keys[0] != "v2"
    separator = str(keys[1].get("separator", "/" if is_default else "."))[:1]

    def key(cell: tuple[int, ...]) -> str:
        text = separator.join(map(str, cell))
        return f"c{separator}{text}" if is_default else text

    return _described(shape, chunks, np.dtype(facts["data_type"]), facts, key, name, version=3)


def _configuration(value: Any) -> tuple[Any, Mapping[str, Any]]:
    inside = value.get("configuration") if isinstance(value, dict) else None
    return (value.get("name") if isinstance(value, dict) else None), inside if isinstance(inside, dict) else {}


def _described(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    facts: Mapping[str, Any],
    key: Callable[[tuple[int, ...]], str],
    name: str,
    *,
    version: int,
) -> _Described:
    if len(shape) != len(chunks) or min(chunks, default=1) < 1:
        raise CorruptRecordingError(f"{name} has the shape {shape} in chunks of {chunks}")
    if not shape:  # a single value is stored as the only chunk of an array without axes
        only = "0" if version == 2 else key(()).rstrip("/.")
        shape, chunks, key = (1,), (1,), lambda cell: only
    fill = facts.get("fill_value")
    fill = _NUMBERS.get(fill, fill) if isinstance(fill, str) and dtype.kind == "f" else fill
    try:
        fill = np.zeros((), dtype)[()] if fill is None else np.array(fill).astype(dtype)[()]
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptRecordingError(
            f"{name} has the fill value {printable(fill)[:40]!r}, which is not a {dtype}"
        ) from error
    return _Described(shape, chunks, dtype, _Metadata(facts, version, fill, key))


def _lengths(value: Any, word: str, name: str) -> tuple[int, ...]:
    # type() and not isinstance(): True is an int too
    is_valid = isinstance(value, list) and all(type(n) is int and 0 <= n <= _MAX_LENGTH for n in value)
    if not is_valid or len(value) > _MAX_DIMENSIONS:
        raise CorruptRecordingError(f"{name} has the {word} {printable(value)[:80]}, expected a list of lengths")
    return tuple(value)


def _dtype(value: Any, name: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(value) if isinstance(value, str) and len(value) < 20 else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or dtype.kind not in "biufUS" or dtype.itemsize == 0:
        raise UnsupportedRecordingError(
            f"{name} has the type {printable(value)[:60]}; numbers and texts of a fixed length are supported"
        )
    return dtype


def _dims(names: Any, shape: tuple[int, ...], name: str) -> tuple[str, ...]:
    if not names and shape == (1,):
        return ("",)
    if not isinstance(names, list) or not all(isinstance(dim, str) for dim in names):
        raise CorruptRecordingError(
            f"{name} does not name its axes, of lengths {shape}: expected a list in _ARRAY_DIMENSIONS, got {printable(names)[:60]}"
        )
    if len(names) != len(shape) or len(set(names)) != len(names):
        raise CorruptRecordingError(
            f"{name} names {len(names)} axes, {printable(listed(names))[:80]}, and has the shape {shape}"
        )
    return tuple(names)


def _check_size(folder: str, described: _Described, name: str) -> None:
    """Refuse an array or chunks that are far larger than the bytes in the folder can decode to, before memory is used."""
    largest = max(math.prod(described.chunks), math.prod(described.shape)) * described.dtype.itemsize
    if largest <= _MAX_UNCHECKED:
        return
    stored = _bytes_up_to(folder, largest // _MAX_PACKED)
    if stored * _MAX_PACKED < largest:
        raise CorruptRecordingError(
            f"{name} claims the shape {described.shape} in chunks of {described.chunks} {described.dtype} but has only {stored:,} bytes stored; "
            "it is damaged"
        )


def _bytes_up_to(folder: str, enough: int) -> int:
    """Return the number of bytes in a folder, counting no further than ``enough``."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(place, name)).st_size
            if total > enough:
                return total
    return total

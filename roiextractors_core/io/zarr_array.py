"""Zarr arrays and groups in a folder, versions 2 and 3: described by their JSON, read in parts and on all cores."""

from __future__ import annotations

import base64
import math
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import (
    CorruptRecordingError,
    SourceNotFoundError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from .chunk_grid import Cell, ChunkGrid, Part, sample_pieces
from .json_text import read_json
from .known import is_file
from .locks import ProcessLock
from .positioned import PARALLEL_BYTES, PositionedFile, read_once, size_of
from .stored import StoredArray, as_native
from .zarr_codecs import (
    ChunkCodec,
    ChunkFault,
    CutChunkFault,
    codec_of_version_2,
    codec_of_version_3,
)

__all__ = ["ZarrArray", "ZarrGroup", "open_zarr"]

_MAX_DIMENSIONS = 32
_MAX_LENGTH = 1 << 48
_MAX_FIELDS = 64
_MAX_TEXT_TYPE = 1 << 20  # bytes of a value of fixed length
_MAX_UNCHECKED = 256 << 20  # more must be plausible from the bytes in the folder
_MAX_PACKED = 4096  # bytes that one byte in the folder can decode to
_MAX_INDEX_BYTES = 8 << 20  # of the indices of shards that are kept
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_TYPES = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
     "complex64", "complex128")
)  # fmt: skip
_NO_CHUNK = 2**64 - 1

Key = Sequence["slice | int | np.ndarray"]


@dataclass(frozen=True, slots=True)
class ZarrGroup:
    """A group of a Zarr folder.

    Attributes
    ----------
    folder : str
    attributes : mapping
    zarr_format : int
        2 or 3.
    members : mapping of str to mapping
        Descriptions of the nodes below, by path, that were collected in the group ("consolidated metadata"); often empty.
    """

    folder: str
    attributes: Mapping[str, Any]
    zarr_format: int
    members: Mapping[str, Mapping[str, Any]]


class ZarrArray:
    """An array of a Zarr folder, read without the library zarr.

    Reads every regular grid of chunks, with shards, in C or Fortran order, transposed, of either byte order, of numbers, records,
    and strings; compressed by zlib, gzip, Zstandard, Blosc, LZ4, bzip2 or LZMA, with the filters and checksums of numcodecs.  Nothing is
    decompressed beyond the size of a chunk, nothing is unpickled, and no file stays open between reads.

    Parameters
    ----------
    folder : str
        Contains ``.zarray`` or ``zarr.json``.
    name : str
        For messages.
    group : ZarrGroup, optional
        A group above, whose collected descriptions are used where the array has no description of its own.

    Attributes
    ----------
    folder, name : str
    zarr_format : int
        2 or 3.
    shape, chunks : tuple of int
        ``chunks`` are the smallest parts that are decoded: those inside shards, where there are any.
    shards : tuple of int or None
        The shape of a shard, which is one file.
    dtype : numpy.dtype
        As stored; object for strings of any length.
    fill_value : object
        The value of chunks that do not exist.
    attributes : mapping
    dimension_names : tuple of (str or None), or None
        As stated, perhaps more or fewer than the axes: from Zarr 3, or ``_ARRAY_DIMENSIONS``, which xarray writes to Zarr 2.
    codecs : tuple of str
        The names of all codecs.
    is_plain : bool
        Whether each chunk is stored as the bytes of its pixels.

    Raises
    ------
    SourceNotFoundError
        The folder does not contain a Zarr array.
    CorruptRecordingError
        Its description is not valid.
    UnsupportedRecordingError
        It has a type, a grid or a codec that is not read.

    References
    ----------
    Zarr storage specifications, versions 2 and 3, and their registered extensions; RFC 8878 (Zstandard); the Blosc chunk format.
    """

    def __init__(self, folder: str, *, name: str, group: ZarrGroup | None = None) -> None:
        self.folder, self.name = folder, name
        self._mark, facts = _described(folder, name, group)
        self.zarr_format = 3 if facts.get("zarr_format") == 3 else 2
        if self.zarr_format == 3:
            self._read_version_3(facts)
        else:
            self._read_version_2(facts)
        codec = self.codec
        self.codecs, self.is_plain = codec.names, codec.is_plain
        stored = self._stored = codec.shape
        self.shards = stored if codec.sharding is not None else None
        self.chunks = codec.sharding.shape if codec.sharding is not None else stored
        inner = codec if codec.sharding is None else codec.sharding.codec
        self.dtype: np.dtype[Any] = inner.dtype
        # The grid has at least one axis; an array without axes is its only chunk
        self._grid = ChunkGrid(self.shape or (1,), self.chunks or (1,), self.dtype)
        source = _Shards if codec.sharding is not None else _Files
        self._source: _Files = source(self, inner)

    def _read_version_2(self, facts: Mapping[str, Any]) -> None:
        if facts.get("zarr_format") != 2:
            raise CorruptRecordingError(f"{self.name}: .zarray does not describe a Zarr 2 array")
        self.shape, chunks = self._lengths(facts, facts.get("chunks"))
        dtype = _type_of_version_2(facts.get("dtype"), self.name)
        self.fill_value = _fill_value(facts.get("fill_value"), dtype, self.name)
        self.codec = codec_of_version_2(facts, chunks, dtype, self.fill_value, self.name)
        self._separator = "/" if facts.get("dimension_separator") == "/" else "."
        self._prefix = ""
        place = os.path.join(self.folder, ".zattrs")
        self.attributes: Mapping[str, Any] = facts.get("attributes") or (
            _object(place, self.name) if os.path.lexists(place) else {}
        )
        self.dimension_names = _dimension_names(self.attributes.get("_ARRAY_DIMENSIONS"))

    def _read_version_3(self, facts: Mapping[str, Any]) -> None:
        grid, keys = facts.get("chunk_grid"), facts.get("chunk_key_encoding")
        kind = grid.get("name") if isinstance(grid, dict) else None
        if kind != "regular" or facts.get("storage_transformers"):
            what = (
                f"a grid of chunks of the kind {printable(kind)[:40]!r}; supported: regular"
                if kind != "regular"
                else "storage transformers, which are not supported"
            )
            raise UnsupportedRecordingError(f"{self.name} has {what}")
        self.shape, chunks = self._lengths(facts, _inside(grid).get("chunk_shape"))
        dtype = _type_of_version_3(facts.get("data_type"), self.name)
        self.fill_value = _fill_value(
            facts.get("fill_value"), dtype, self.name, is_bytes=facts.get("data_type") != "string"
        )
        self.codec = codec_of_version_3(facts.get("codecs"), chunks, dtype, self.fill_value, self.name)
        is_default = not (isinstance(keys, dict) and keys.get("name") == "v2")
        separator = _inside(keys).get("separator", "/" if is_default else ".")
        if separator not in ("/", "."):
            raise CorruptRecordingError(
                f"{self.name} separates the parts of chunk names by {printable(separator)[:20]!r}, expected '/' or '.'"
            )
        self._separator, self._prefix = separator, f"c{separator}" if is_default else ""
        stated = facts.get("attributes")
        self.attributes = stated if isinstance(stated, dict) else {}
        self.dimension_names = _dimension_names(facts.get("dimension_names"))

    def _lengths(self, facts: Mapping[str, Any], chunks: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        found = _lengths(facts.get("shape"), "the shape", self.name), _lengths(chunks, "chunks of the shape", self.name)
        if len(found[0]) != len(found[1]) or min(found[1], default=1) < 1:
            raise CorruptRecordingError(
                f"{self.name} has the shape {found[0]} and chunks of the impossible shape {found[1]}"
            )
        return found

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def chunk_path(self, cell: Cell) -> str:
        """Return the path of a file of the array, relative to its folder; a shard is one file.

        Parameters
        ----------
        cell : tuple of int
            Its position in the grid.
        """
        if not cell:
            return self._prefix.rstrip("/.") or "0"
        return self._prefix + self._separator.join(map(str, cell))

    def read(self, key: Key) -> np.ndarray:
        """Return a part as a new array in the order of the stored axes, in native byte order.

        Parameters
        ----------
        key : sequence of slice, int or numpy.ndarray
            One for each axis, not negative and within it, slices with step 1.  An axis with an int is not in the result; one axis
            may have indices in any order.

        Raises
        ------
        SourceNotFoundError
            The array does not exist any more.  A single chunk that does not exist reads as the fill value.
        CorruptRecordingError, TruncatedRecordingError
            A chunk does not decode to exactly its pixels.
        SourcePermissionError, SourceReadError
            A chunk cannot be read.
        """
        if not self.shape:
            key = (0,)
        lengths = self._grid.shape
        box = [_bounds(part, n) for part, n in zip(key, lengths, strict=True)]
        axis = next((k for k, part in enumerate(key) if isinstance(part, np.ndarray)), 0)
        chosen = key[axis]
        samples = chosen if isinstance(chosen, np.ndarray) else slice(*box[axis])
        shape = [stop - start for start, stop in box]
        shape[axis] = len(samples) if isinstance(samples, np.ndarray) else shape[axis]
        result = np.empty(shape, self.dtype)
        if result.size:
            self._grid.fill(sample_pieces(result, axis, samples, box), self._source)
        if not os.path.exists(self._mark):  # after the read: chunks of a folder that is gone all look like fill value
            raise SourceNotFoundError(f"{printable(self._mark)} no longer exists: {self.name} was moved or deleted")
        return as_native(result)[tuple(0 if isinstance(part, int) else slice(None) for part in key)]

    @property
    def has_met_missing(self) -> bool:
        """Whether any chunk that was read so far was missing, and read as the fill value."""
        return self._source.has_met_missing

    def forget(self) -> None:
        """Forget the chunks that are kept decoded."""
        self._grid.forget()

    def require_stored(self, nbytes: int) -> None:
        """Refuse a claim of far more bytes than those in the folder can decode to, before memory is used.

        Parameters
        ----------
        nbytes : int
            Bytes of the largest part that is read at once.

        Raises
        ------
        CorruptRecordingError
        """
        if nbytes <= _MAX_UNCHECKED:
            return
        stored = _bytes_up_to(self.folder, nbytes // _MAX_PACKED)
        if stored * _MAX_PACKED < nbytes:
            raise CorruptRecordingError(
                f"{self.name} claims the shape {self.shape} {self.dtype} in chunks of {self.chunks} but has only {stored:,} bytes stored; "
                "it is damaged"
            )

    def index_of_shard(self, cell: Cell) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the offset and the length of each chunk in a shard; None for a shard that does not exist.

        Raises
        ------
        CorruptRecordingError, TruncatedRecordingError
            The index does not fit the file.
        """
        return self._source.index_of(os.path.join(self.folder, self.chunk_path(cell)))


class _Files:
    """The source of a Zarr array's chunks: one file for each; a place is its path, its first byte, and its length or -1."""

    def __init__(self, array: ZarrArray, codec: ChunkCodec) -> None:
        self._folder, self._name, self._path_of = array.folder, array.name, array.chunk_path
        self._outer, self._codec, self._is_scalar = array.codec, codec, not array.shape
        self._shape = codec.shape or (1,)
        self.has_met_missing = False

    @property
    def is_encoded(self) -> bool:
        return not self._codec.is_plain

    def locate(self, cells: Sequence[Cell]) -> list[tuple[str, int, int]]:
        return [(os.path.join(self._folder, self._path_of(() if self._is_scalar else cell)), 0, -1) for cell in cells]

    def fill(self, place: tuple[str, int, int], parts: Sequence[Part]) -> bool:
        path, start, length = place
        try:
            size = size_of(path) if length < 0 else length
        except SourceNotFoundError:
            size = -1
        if size < 0 or length == _NO_CHUNK:  # a chunk of nothing but the fill value need not be written
            for part, _ in parts:
                part[...] = self._codec.fill_value
            self.has_met_missing = True
            return True
        is_whole = len(parts) == 1 and parts[0][0].nbytes == self._codec.nbytes and parts[0][0].flags.c_contiguous
        if is_whole:
            self._decode_into(path, start, size, parts[0][0])
            return True
        if self._codec.is_plain and 2 * sum(part.nbytes for part, _ in parts) <= size:
            # Less than half of it is needed: otherwise one read of the whole is cheaper than one for each run of bytes
            self._require_size(path, size)
            file = PositionedFile(path)
            stored = StoredArray(file, shape=self._shape, dtype=self._codec.dtype, offset=start)
            for part, inside in parts:
                part[...] = stored.read(inside)
            file.close()
            return True
        return False

    def decode(self, place: tuple[str, int, int]) -> np.ndarray:
        path, start, length = place
        pixels = np.empty(self._shape, self._codec.dtype)
        self._decode_into(path, start, size_of(path) if length < 0 else length, pixels)
        return pixels

    def index_of(self, path: str) -> tuple[np.ndarray, np.ndarray] | None:
        raise ValueError("this array has no shards")

    def _decode_into(self, path: str, start: int, size: int, pixels: np.ndarray) -> None:
        if self._codec.is_plain:
            self._require_size(path, size)
            self._read_whole(path, start, pixels)
            return
        if size > self._codec.max_bytes:
            raise CorruptRecordingError(
                f"{self._name_of(path)} has {size:,} bytes, expected at most {self._codec.max_bytes:,} for "
                f"{self._codec.nbytes:,} bytes of pixels"
            )
        stored = np.empty(size, np.uint8)
        self._read_whole(path, start, stored)
        try:
            self._codec.decode(stored, pixels.reshape(self._codec.shape))
        except ChunkFault as error:
            kind = TruncatedRecordingError if isinstance(error, CutChunkFault) else CorruptRecordingError
            raise kind(f"{self._name_of(path)} cannot be decoded: {error}") from error

    def _require_size(self, path: str, size: int) -> None:
        nbytes = self._codec.nbytes
        if size != nbytes:
            kind = TruncatedRecordingError if size < nbytes else CorruptRecordingError
            raise kind(f"{self._name_of(path)} has {size:,} bytes, expected {nbytes:,}")

    def _read_whole(self, path: str, start: int, target: np.ndarray) -> None:
        """Fill an array with a chunk; small ones are opened for this alone, since there is one for each chunk."""
        if target.nbytes >= PARALLEL_BYTES:
            file = PositionedFile(path)
            file.read_array_into(target, start)
            file.close()
        elif target.nbytes and not read_once(path, [(start, [target])]):
            raise TruncatedRecordingError(f"{self._name_of(path)} was truncated while it was read")

    def _name_of(self, path: str) -> str:
        return f"{self._name}: the chunk {printable(os.path.relpath(path, self._folder))}"


class _Shards(_Files):
    """The source of chunks inside shards; the indices that were read last are kept."""

    def __init__(self, array: ZarrArray, codec: ChunkCodec) -> None:
        super().__init__(array, codec)
        self._lock = ProcessLock()
        self._indices: OrderedDict[str, tuple[Any, tuple[np.ndarray, np.ndarray]]] = OrderedDict()

    def locate(self, cells: Sequence[Cell]) -> list[tuple[str, int, int]]:
        grid = self._sharding.grid
        places = []
        for cell in cells:
            shard = tuple(k // n for k, n in zip(cell, grid, strict=True))
            path = os.path.join(self._folder, self._path_of(shard))
            index = self.index_of(path)
            inside = tuple(k % n for k, n in zip(cell, grid, strict=True))
            places.append(
                (path, 0, _NO_CHUNK) if index is None else (path, int(index[0][inside]), int(index[1][inside]))
            )
        return places

    @property
    def _sharding(self) -> Any:
        return self._outer.sharding

    def index_of(self, path: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the index of a shard, read again when the file has changed."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return None
        except OSError:  # size_of raises the error of this library
            status = None
        size = size_of(path)
        state = status and (status.st_mtime_ns, status.st_size, status.st_ino)
        with self._lock:
            known = self._indices.get(path)
        if known is not None and known[0] == state:
            return known[1]
        length = self._sharding.index_bytes
        if size < length:
            raise TruncatedRecordingError(
                f"{self._name_of(path)} has {size:,} bytes, too few for the index of its shard ({length:,})"
            )
        data = bytearray(length)
        if not read_once(path, [(0 if self._sharding.is_at_start else size - length, [data])]):
            raise TruncatedRecordingError(f"{self._name_of(path)} was truncated while it was read")
        try:
            index: tuple[np.ndarray, np.ndarray] = self._sharding.parse_index(bytes(data), size)
        except ChunkFault as error:
            kind = TruncatedRecordingError if isinstance(error, CutChunkFault) else CorruptRecordingError
            raise kind(f"{self._name_of(path)} is damaged: {error}") from error
        with self._lock:
            self._indices[path] = (state, index)
            while len(self._indices) * length > _MAX_INDEX_BYTES and len(self._indices) > 1:
                self._indices.popitem(last=False)
        return index


def _bounds(part: slice | int | np.ndarray, length: int) -> tuple[int, int]:
    if isinstance(part, slice):
        start, stop, _ = part.indices(length)
        return start, max(start, stop)
    return (0, length) if isinstance(part, np.ndarray) else (int(part), int(part) + 1)


# Descriptions


def open_zarr(folder: str, *, name: str) -> ZarrArray | ZarrGroup | None:
    """Return the array or the group that a folder is; None if it is neither.

    Parameters
    ----------
    folder : str
    name : str
        For messages.

    Raises
    ------
    CorruptRecordingError
        A description is not valid.
    UnsupportedRecordingError
        An array of a type, with a grid or a codec that is not read.
    """
    node = os.path.join(folder, "zarr.json")
    if is_file(node):
        facts = _object(node, name)
        if facts.get("node_type") == "array":
            return ZarrArray(folder, name=name)
        if facts.get("node_type") != "group":
            raise CorruptRecordingError(f"{name}: zarr.json describes neither an array nor a group")
        stated = facts.get("attributes")
        members = _inside_of(facts.get("consolidated_metadata"), "metadata")
        return ZarrGroup(folder, stated if isinstance(stated, dict) else {}, 3, _only_objects(members))
    if is_file(os.path.join(folder, ".zarray")):
        return ZarrArray(folder, name=name)
    if not is_file(os.path.join(folder, ".zgroup")):
        return None
    if _object(os.path.join(folder, ".zgroup"), name).get("zarr_format") != 2:
        raise CorruptRecordingError(f"{name}: .zgroup does not describe a group of Zarr 2")
    place, collected = os.path.join(folder, ".zattrs"), os.path.join(folder, ".zmetadata")
    # A pipe or a device in its place is refused where it is read
    attributes = _object(place, name) if os.path.lexists(place) else {}
    members = _members_of_version_2(collected, name) if is_file(collected) else {}
    return ZarrGroup(folder, attributes, 2, members)


def _members_of_version_2(path: str, name: str) -> dict[str, Mapping[str, Any]]:
    found = _only_objects(_inside_of(_object(path, name), "metadata"))
    return {
        key.rpartition("/")[0]: {**value, "attributes": found.get(f"{key.rpartition('/')[0]}/.zattrs", {})}
        for key, value in found.items()
        if key.endswith("/.zarray")
    }


def _inside_of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _only_objects(value: Any) -> dict[str, Mapping[str, Any]]:
    return {key: one for key, one in value.items() if isinstance(one, dict)} if isinstance(value, dict) else {}


def _described(folder: str, name: str, group: ZarrGroup | None) -> tuple[str, Mapping[str, Any]]:
    """Return the file that describes an array, and its content."""
    for mark in ("zarr.json", ".zarray"):  # where there are both, version 3, as zarr does
        place = os.path.join(folder, mark)
        if is_file(place):
            facts = _object(place, name)
            if mark == "zarr.json" and facts.get("node_type") != "array":
                raise CorruptRecordingError(f"{name}: {printable(os.path.basename(folder))} is not an array")
            return place, facts
    if group is not None:
        path = os.path.relpath(folder, group.folder).replace(os.sep, "/")
        if path in group.members:
            mark = "zarr.json" if group.zarr_format == 3 else ".zmetadata"
            return os.path.join(group.folder, mark), group.members[path]
    raise SourceNotFoundError(f"{printable(folder)} is not a Zarr array: it contains no .zarray and no zarr.json")


def _object(path: str, name: str) -> Mapping[str, Any]:
    try:
        value = read_json(path)
    except CorruptRecordingError as error:
        raise CorruptRecordingError(f"{name}: {error}") from error
    if not isinstance(value, dict):
        raise CorruptRecordingError(
            f"{name}: {os.path.basename(path)} should contain an object, got {printable(value)[:60]}"
        )
    return value


def _inside(value: Any) -> Mapping[str, Any]:
    inside = value.get("configuration") if isinstance(value, dict) else None
    return inside if isinstance(inside, dict) else {}


def _lengths(value: Any, word: str, name: str) -> tuple[int, ...]:
    # type() and not isinstance(): True is an int too
    is_valid = isinstance(value, list) and all(type(n) is int and 0 <= n <= _MAX_LENGTH for n in value)
    if not is_valid or len(value) > _MAX_DIMENSIONS:
        raise CorruptRecordingError(f"{name} has {word} {printable(value)[:80]}, expected a list of lengths")
    return tuple(value)


def _dimension_names(value: Any) -> tuple[str | None, ...] | None:
    is_list = isinstance(value, list) and all(isinstance(one, str | None) for one in value)
    return tuple(value) if is_list else None


def _type_of_version_2(value: Any, name: str) -> np.dtype[Any]:
    if isinstance(value, list):
        return _records(value, lambda one: _type_of_version_2(one, name), name)
    try:
        dtype = np.dtype(value) if isinstance(value, str) and len(value) < 24 else None
    except (TypeError, ValueError):
        dtype = None
    return _checked_type(dtype, value, name)


def _type_of_version_3(value: Any, name: str) -> np.dtype[Any]:
    kind, facts = (value.get("name"), _inside(value)) if isinstance(value, dict) else (value, {})
    code, length = "", facts.get("length_bytes")
    if kind in ("structured", "struct") and isinstance(facts.get("fields"), list):
        return _records(facts["fields"], lambda one: _type_of_version_3(one, name), name)
    if kind in _TYPES:
        code = str(kind)
    elif kind in ("string", "variable_length_bytes", "bytes"):
        code = "O"
    elif type(length) is int and 0 < length <= _MAX_TEXT_TYPE:
        codes: dict[Any, str] = {
            "fixed_length_utf32": f"U{length // 4}",
            "null_terminated_bytes": f"S{length}",
            "raw_bytes": f"V{length}",
        }
        code = codes.get(kind, "")
    elif kind in ("numpy.datetime64", "numpy.timedelta64") and type(facts.get("scale_factor")) is int:
        code = f"{'M8' if kind == 'numpy.datetime64' else 'm8'}[{facts['scale_factor']}{str(facts.get('unit'))[:8]}]"
    elif isinstance(kind, str) and kind[:1] == "r" and kind[1:].isascii() and kind[1:].isdigit() and len(kind) < 9:
        code = "" if int(kind[1:]) % 8 else f"V{int(kind[1:]) // 8}"
    try:
        dtype = np.dtype(code) if code else None
    except (TypeError, ValueError):
        dtype = None
    return _checked_type(dtype, value, name)


def _checked_type(dtype: np.dtype[Any] | None, value: Any, name: str) -> np.dtype[Any]:
    if dtype is None or dtype.kind not in "biufcmMSUVO" or not 0 < dtype.itemsize <= _MAX_TEXT_TYPE or dtype.subdtype:
        raise UnsupportedRecordingError(
            f"{name} has the type {printable(value)[:60]}, which is not supported; "
            "supported: booleans, numbers, dates, strings, bytes and records"
        )
    return dtype


def _records(fields: list[Any], type_of: Any, name: str) -> np.dtype[Any]:
    made: list[Any] = []
    for field in fields[: _MAX_FIELDS + 1]:
        if isinstance(field, dict):
            field = [field.get("name"), field.get("data_type")]
        if not isinstance(field, list) or len(field) not in (2, 3) or not isinstance(field[0], str):
            raise CorruptRecordingError(
                f"{name} has a record with the field {printable(field)[:60]}, expected its name and type"
            )
        inner = field[2] if len(field) == 3 else []
        if not isinstance(inner, list) or not all(type(n) is int and 0 < n < 1 << 16 for n in inner):
            raise CorruptRecordingError(f"{name} has a record with a field of the shape {printable(inner)[:60]}")
        dtype = type_of(field[1])
        if dtype.kind == "O":
            raise UnsupportedRecordingError(
                f"{name} has records with objects, which are not supported; write its fields as separate arrays"
            )
        made.append((field[0], dtype, tuple(inner)) if inner else (field[0], dtype))
    try:
        dtype = np.dtype(made) if 0 < len(made) <= _MAX_FIELDS else None
    except (TypeError, ValueError):
        dtype = None
    return _checked_type(dtype, fields, name)


def _fill_value(value: Any, dtype: np.dtype[Any], name: str, *, is_bytes: bool = False) -> Any:
    """Return the value of chunks that do not exist; zero, or an empty string, where none is stated."""
    try:
        if dtype.kind == "O" and not is_bytes:
            return value if isinstance(value, str) else ""
        if dtype.kind == "O":
            return bytes(value) if isinstance(value, list) else base64.b64decode(value or "", validate=True)
        return _scalar(value, dtype)
    except (TypeError, ValueError, OverflowError, LookupError) as error:
        raise CorruptRecordingError(
            f"{name} has the fill value {printable(value)[:40]!r}, which is not a {dtype}"
        ) from error


def _scalar(value: Any, dtype: np.dtype[Any]) -> Any:
    if value is None or (dtype.kind in "SUV" and value in (0, "")):
        return np.zeros((), dtype)[()]
    if dtype.kind in "SV":
        data = bytes(value) if isinstance(value, list) else base64.b64decode(value, validate=True)
        if len(data) > dtype.itemsize:
            raise ValueError("too long")
        return np.frombuffer(data.ljust(dtype.itemsize, b"\0"), dtype)[0]
    if dtype.kind == "c" and isinstance(value, list):
        real, imaginary = (_scalar(part, np.dtype(f"f{dtype.itemsize // 2}")) for part in value)
        return dtype.type(complex(real, imaginary))
    if dtype.kind == "f" and isinstance(value, str):
        if value.startswith("0x"):  # the bits of the number, as version 3 allows
            return np.frombuffer(bytes.fromhex(value[2:]).rjust(dtype.itemsize, b"\0"), dtype.newbyteorder(">"))[
                0
            ].astype(dtype)
        return dtype.type(_NUMBERS[value])
    if dtype.kind in "mM":
        return np.array(value if isinstance(value, int) else "NaT").astype(dtype)[()]
    if dtype.kind == "U":
        return np.array(str(value)).astype(dtype)[()]
    if isinstance(value, str | list | dict):
        raise ValueError("not a number")
    return np.array(value).astype(dtype)[()]


def _bytes_up_to(folder: str, enough: int) -> int:
    """Return the number of bytes in a folder, counting no further than ``enough``."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # removed meanwhile
                continue
            if total >= enough:
                return total
    return total

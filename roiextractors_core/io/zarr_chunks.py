"""Reads parts of a Zarr array in a folder: its chunks by positioned reads, decoded on all cores into the result."""

from __future__ import annotations

import bz2
import functools
import lzma
import math
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import CorruptRecordingError, SourceNotFoundError, TruncatedRecordingError, printable
from .chunk_grid import Cell, ChunkGrid, Part, sample_pieces
from .positioned import PARALLEL_BYTES, PositionedFile, read_once, size_of
from .stored import StoredArray

__all__ = [
    "MAX_OVERHEAD",
    "UndecodedChunkError",
    "ZarrChunks",
    "claimed_bytes",
    "codec_names",
    "decompress_bounded",
    "require_whole_blosc",
]

_ZSTD = b"\x28\xb5\x2f\xfd"
MAX_OVERHEAD = 1 << 16  # bytes by which an encoded chunk, with its headers, may be longer than its pixels
_ZLIB, _GZIP = 15, 31  # zlib's window sizes; adding 16 asks for the header of gzip
_HEAD = 18
_UNBOUNDED = frozenset(("bz2", "lzma"))  # zarr decompresses these without a limit on the size
_MAX_DICTIONARY = 256 << 20
_BLOCKS = ("zstd", "blosc", "lz4")  # their header states the size after decompression
_DECODING_FAULTS = (ValueError, RuntimeError, TypeError, OSError, EOFError, zlib.error, lzma.LZMAError)

Decompress = Callable[[np.ndarray, np.ndarray], None]
"""Takes a chunk's stored bytes and the array of bytes that it must fill exactly."""


class UndecodedChunkError(ValueError):
    """A chunk that differs from what was expected; let zarr read it, or say what is wrong with it."""


class _OverlongError(ValueError):
    """A chunk decompresses to more than its pixels."""


class _CutBlockError(ValueError):
    """A chunk is shorter than its header states."""


class ZarrChunks:
    """The chunks of one array in a local folder, Zarr version 2 or 3.

    Reads chunks in C order without filters, uncompressed or compressed by zlib, gzip, Zstandard, Blosc, LZ4, bzip2 or XZ, which
    covers almost all images.  Nothing is decompressed beyond the size of a chunk, and no file stays open between reads.

    Parameters
    ----------
    folder : str
        The array's folder, which contains ``.zarray`` or ``zarr.json``.
    array : zarr.Array

    Attributes
    ----------
    can_read : bool
        Whether this class reads such chunks; if not, let zarr read them.
    is_bounded : bool
        Whether the size that a chunk decompresses to is limited, here or by zarr; if not, do not read the array.

    References
    ----------
    Zarr storage specifications, versions 2 and 3; RFC 8878 (Zstandard); the Blosc chunk format.
    """

    def __init__(self, folder: str, array: Any) -> None:
        metadata = array.metadata
        description = metadata.to_dict()
        self._mark = os.path.join(folder, "zarr.json" if metadata.zarr_format == 3 else ".zarray")
        dtype, codec = _stored_as(np.dtype(array.dtype), description)
        chunk = tuple(map(int, array.chunks))
        is_unbounded = bool(_UNBOUNDED.intersection(codec_names(description)))
        self._grid = ChunkGrid(tuple(map(int, array.shape)), chunk, dtype)
        self._source = _FolderOfChunks(
            folder,
            self._grid,
            path_of=metadata.encode_chunk_key,
            fill_value=0 if metadata.fill_value is None else metadata.fill_value,
            decompress=_decompressor(codec) if codec else None,
            is_unbounded=is_unbounded,
        )
        is_known = codec == {} or self._source.is_encoded
        self.can_read = is_known and getattr(array, "shards", None) is None and math.prod(chunk) > 0
        self.is_bounded = self.can_read or not is_unbounded

    def read(self, key: Sequence[slice | int | np.ndarray]) -> np.ndarray:
        """Return a part as a new array in the order of the stored axes, in native byte order.

        Parameters
        ----------
        key : sequence of slice, int or numpy.ndarray
            One for each axis, not negative and within it, slices with step 1.  An axis with an int is not in the result; one axis
            may have indices in any order.

        Raises
        ------
        UndecodedChunkError
            A chunk has an unexpected number of bytes, or does not decode here.
        SourceNotFoundError
            The array does not exist any more.  A single chunk that does not exist reads as the fill value.
        CorruptRecordingError
            A chunk decompresses to more than its pixels.
        SourcePermissionError, SourceReadError
            A chunk cannot be read.
        """
        box = [_bounds(part, n) for part, n in zip(key, self._grid.shape, strict=True)]
        axis = next((k for k, part in enumerate(key) if isinstance(part, np.ndarray)), 0)
        chosen = key[axis]
        samples = chosen if isinstance(chosen, np.ndarray) else slice(*box[axis])
        shape = [stop - start for start, stop in box]
        shape[axis] = len(samples) if isinstance(samples, np.ndarray) else shape[axis]
        result = np.empty(shape, self._grid.dtype)
        if result.size:
            pieces = sample_pieces(result, axis, samples, box)
            self._grid.fill(pieces, self._source)
        if not os.path.exists(self._mark):  # after the read: chunks of a folder that is gone all look like fill value
            raise SourceNotFoundError(
                f"{printable(self._mark)} does not exist any more: the array was moved or deleted"
            )
        if not result.dtype.isnative:
            result = result.byteswap(inplace=True).view(result.dtype.newbyteorder("="))
        return result[tuple(0 if isinstance(part, int) else slice(None) for part in key)]

    @property
    def has_met_missing(self) -> bool:
        """Whether any chunk that was read so far was missing, and read as the fill value."""
        return self._source.has_met_missing

    def forget(self) -> None:
        """Forget the chunks that are kept decoded."""
        self._grid.forget()


class _FolderOfChunks:
    """The source of a Zarr array's chunks: one file for each; the place of a chunk is its path."""

    def __init__(
        self,
        folder: str,
        grid: ChunkGrid,
        *,
        path_of: Callable[[Cell], str],
        fill_value: Any,
        decompress: Decompress | None,
        is_unbounded: bool,
    ) -> None:
        self._folder, self._path_of, self._fill_value = folder, path_of, fill_value
        self._nbytes, self._shape, self._dtype, self._is_whole = grid.nbytes, grid.chunk, grid.dtype, grid.is_whole
        self._decompress, self._is_unbounded = decompress, is_unbounded
        self.has_met_missing = False

    @property
    def is_encoded(self) -> bool:
        return self._decompress is not None

    def locate(self, cells: Sequence[Cell]) -> list[str]:
        return [os.path.join(self._folder, self._path_of(cell)) for cell in cells]

    def fill(self, place: str, parts: Sequence[Part]) -> bool:
        try:
            size = size_of(place)
        except SourceNotFoundError:  # a chunk of nothing but the fill value need not be written
            for part, _ in parts:
                part[...] = self._fill_value
            self.has_met_missing = True
            return True
        if self._decompress is None:
            return self._fill_from_plain(place, size, parts)
        if not self._is_whole(parts):
            return False
        self._read_encoded(place, size, parts[0][0])
        return True

    def decode(self, place: str) -> np.ndarray:
        pixels = np.empty(self._shape, self._dtype)
        if self._decompress is None:
            self._read_whole(place, pixels)
        else:
            self._read_encoded(place, size_of(place), pixels)
        return pixels

    def _fill_from_plain(self, path: str, size: int, parts: Sequence[Part]) -> bool:
        if size != self._nbytes:
            raise UndecodedChunkError(f"the chunk has {size:,} bytes, expected {self._nbytes:,}")
        if self._is_whole(parts):
            self._read_whole(path, parts[0][0])
        elif 2 * sum(part.nbytes for part, _ in parts) > size:
            return False  # most of it is needed: one read of the whole is cheaper than one for each run of bytes
        else:
            file = PositionedFile(path)
            stored = StoredArray(file, shape=self._shape, dtype=self._dtype)
            for part, inside in parts:
                part[...] = stored.read(inside)
            file.close()
        return True

    def _read_whole(self, path: str, target: np.ndarray) -> None:
        """Fill an array with a file; small ones are opened for this alone, since there is one for each chunk."""
        if target.nbytes >= PARALLEL_BYTES:
            file = PositionedFile(path)
            file.read_array_into(target, 0)
            file.close()
        elif not read_once(path, [(0, [target])]):
            raise TruncatedRecordingError(f"{self._name_of(path)}, was truncated while it was read")

    def _read_encoded(self, path: str, size: int, pixels: np.ndarray) -> None:
        """Read and decompress a chunk into the pixels of all of it."""
        if size > 2 * self._nbytes + MAX_OVERHEAD:
            raise UndecodedChunkError(f"the chunk has {size:,} bytes for {self._nbytes:,} bytes of pixels")
        stored = np.empty(size, np.uint8)
        self._read_whole(path, stored)
        try:
            self._decompress(stored, pixels.reshape(-1).view(np.uint8))  # type: ignore[misc]
        except _OverlongError:
            raise CorruptRecordingError(
                f"{self._name_of(path)}, decompresses to more than the {self._nbytes:,} bytes of its pixels"
            ) from None
        except _CutBlockError as error:
            # zarr would decode it without an error: Blosc reads on behind the end of a chunk
            raise CorruptRecordingError(f"{self._name_of(path)}, is truncated: {error}") from None
        except _DECODING_FAULTS as error:
            words = printable(error)[:200]
            if self._is_unbounded:  # zarr would decompress it without a limit
                raise CorruptRecordingError(f"{self._name_of(path)}, does not decode: {words}") from error
            raise UndecodedChunkError(words) from error

    def _name_of(self, path: str) -> str:
        return f"{printable(os.path.basename(path))}, a chunk of {printable(os.path.basename(self._folder))}"


def codec_names(description: Mapping[str, Any]) -> list[str]:
    """Return the names of all codecs in the description of an array, including those inside shards.

    Parameters
    ----------
    description : mapping
        The content of ``.zarray`` or ``zarr.json``, or zarr's own ``metadata.to_dict()``.  An entry that is not a codec is
        returned as its own text, so that a list of allowed names refuses it.
    """
    names: list[str] = []
    pending = [description.get("compressor"), *_entries(description, "filters", "codecs")]
    while pending:
        codec = pending.pop()
        if codec is None:
            continue
        facts = _config(codec)
        if not isinstance(facts, Mapping):
            names.append(str(facts))
            continue
        names.append(str(facts.get("id", facts.get("name"))).removeprefix("numcodecs."))
        inside = facts.get("configuration")
        if isinstance(inside, Mapping):
            pending += _entries(inside, "codecs", "index_codecs")
    return names


def _entries(description: Mapping[str, Any], *keys: str) -> list[Any]:
    entries: list[Any] = []
    for key in keys:
        value = description.get(key)
        entries += value if isinstance(value, list | tuple) else [value]
    return entries


def claimed_bytes(head: bytes, length: int) -> int:
    """Return how many bytes a chunk claims to decode to, by the header of Zstandard or Blosc; 0 where there is none.

    Parameters
    ----------
    head : bytes
        The first 18 bytes.
    length : int
        Bytes in the whole chunk.

    References
    ----------
    RFC 8878, section 3.1.1.1 (frame header); the Blosc chunk format, "Header".
    """
    if head[:4] == _ZSTD and len(head) >= 14:
        return _zstd_size(head)
    is_blosc = len(head) >= 16 and int.from_bytes(head[12:16], "little") == length
    return int.from_bytes(head[4:8], "little") if is_blosc else 0


def require_whole_blosc(head: bytes, length: int) -> None:
    """Refuse a chunk of Blosc that is shorter than its header states: decoders do not compare, and return other memory.

    Parameters
    ----------
    head : bytes
        The first 16 bytes.
    length : int
        Bytes in the whole chunk.

    Raises
    ------
    ValueError
    """
    stated = int.from_bytes(head[12:16], "little")
    if len(head) < 16 or stated > length:
        raise _CutBlockError(f"it has {length:,} bytes, and its header of Blosc states {stated:,}")


def _zstd_size(head: bytes) -> int:
    descriptor = head[4]
    single, kind = descriptor >> 5 & 1, descriptor >> 6
    width = (1 if single else 0, 2, 4, 8)[kind]
    at = 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(head[at : at + width], "little")
    return size + 256 if width == 2 else size


def _bounds(part: slice | int | np.ndarray, length: int) -> tuple[int, int]:
    if isinstance(part, slice):
        start, stop, _ = part.indices(length)
        return start, max(start, stop)
    return (0, length) if isinstance(part, np.ndarray) else (part, part + 1)


def _config(codec: Any) -> Any:
    """Return a codec's configuration: older releases of zarr give the codec itself, newer ones its configuration."""
    return codec.get_config() if hasattr(codec, "get_config") else codec


def _stored_as(dtype: np.dtype[Any], description: Mapping[str, Any]) -> tuple[np.dtype[Any], Mapping[str, Any] | None]:
    """Return the dtype as stored, and the one codec that compresses: ``{}`` for none, None for what is not read here."""
    if description.get("zarr_format") == 2:
        is_simple = description.get("order") == "C" and not description.get("filters")
        return dtype, _config(description.get("compressor") or {}) if is_simple else None
    codecs: Sequence[Mapping[str, Any]] = description.get("codecs") or ({},)
    first, *rest = codecs
    if first.get("name") != "bytes" or len(rest) > 1:
        return dtype, None
    endian = (first.get("configuration") or {}).get("endian")
    dtype = dtype.newbyteorder(">" if endian == "big" else "<") if endian else dtype
    return dtype, ({"id": rest[0].get("name")} if rest else {})


def decompress_bounded(codec: Mapping[str, Any], data: bytes, limit: int) -> bytes:
    """Return what a chunk of unknown size decompresses to, such as a list of strings.

    Parameters
    ----------
    codec : mapping
        The configuration of the compressor, with its ``id``.
    data : bytes
        The chunk as stored.
    limit : int
        Bytes that are returned at most; no more are decompressed.

    Raises
    ------
    UndecodedChunkError
        The codec is not read here, the chunk is damaged, or it is longer than the limit.
    """
    name = str(codec.get("id"))
    new_stream = _stream_of(codec)
    try:
        if new_stream is not None:
            content: bytes = new_stream().decompress(data, limit + 1)
        elif name in _BLOCKS:
            import numcodecs

            if name == "blosc":
                require_whole_blosc(data[:_HEAD], len(data))
            if _claimed_by(name, data[:_HEAD], len(data)) > limit:
                raise UndecodedChunkError(f"the chunk claims more than {limit:,} bytes")
            content = bytes(numcodecs.get_codec({"id": name}).decode(data))
        else:
            raise UndecodedChunkError(f"the codec {name!r} is not read for text")
    except _DECODING_FAULTS as error:
        raise UndecodedChunkError(printable(error)[:200]) from error
    if len(content) > limit:
        raise UndecodedChunkError(f"the chunk decompresses to more than {limit:,} bytes")
    return content


def _stream_of(codec: Mapping[str, Any]) -> Callable[[], Any] | None:
    """Return what makes a decompressor for a format that does not state its size; None for other formats."""
    name = codec.get("id")
    streams: dict[str, Callable[[], Any]] = {
        "zlib": functools.partial(zlib.decompressobj, _ZLIB),
        "gzip": functools.partial(zlib.decompressobj, _GZIP),
        "bz2": bz2.BZ2Decompressor,
        "lzma": functools.partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, _MAX_DICTIONARY),
    }
    if name == "lzma" and (codec.get("format", lzma.FORMAT_XZ) != lzma.FORMAT_XZ):
        return None
    return streams.get(str(name))


def _decompressor(codec: Mapping[str, Any]) -> Decompress | None:
    """Return a function that decompresses a chunk into an array of bytes; None for a codec that is not read here."""
    name = str(codec.get("id"))
    new_stream = _stream_of(codec)
    if new_stream is not None:
        return functools.partial(_decompress_stream, new_stream)
    if name not in _BLOCKS:
        return None
    import numcodecs

    return functools.partial(_decompress_block, numcodecs.get_codec({"id": name}), name)


def _decompress_stream(new_stream: Callable[[], Any], stored: np.ndarray, pixels: np.ndarray) -> None:
    """Decompress a format that does not state its size: one byte more than expected is enough to see that it is too long."""
    stream = new_stream()
    data = stream.decompress(stored.data, pixels.nbytes + 1)
    if len(data) > pixels.nbytes:
        raise _OverlongError
    if len(data) != pixels.nbytes or not stream.eof or stream.unused_data:
        raise UndecodedChunkError(f"decompressed to {len(data):,} bytes, expected {pixels.nbytes:,} and no more data")
    pixels[...] = np.frombuffer(data, np.uint8)


def _claimed_by(name: str, head: bytes, length: int) -> int:
    return int.from_bytes(head[:4], "little") if name == "lz4" else claimed_bytes(head, length)


def _decompress_block(codec: Any, name: str, stored: np.ndarray, pixels: np.ndarray) -> None:
    """Decompress a format whose header states its size, which is compared before any memory is used."""
    head = stored[:_HEAD].tobytes()
    if name == "blosc":
        require_whole_blosc(head, stored.nbytes)
    claimed = _claimed_by(name, head, stored.nbytes)
    if claimed > pixels.nbytes:
        raise _OverlongError
    if claimed != pixels.nbytes:
        raise UndecodedChunkError(f"the chunk claims {claimed:,} bytes, expected {pixels.nbytes:,}")
    codec.decode(stored, out=pixels)

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

from ..errors import CorruptRecordingError, SourceNotFoundError, printable
from .chunk_grid import Cell, ChunkGrid, Part, sample_pieces
from .positioned import PositionedFile
from .stored import StoredArray

__all__ = ["MOST_OVERHEAD", "UndecodedChunkError", "ZarrChunks", "claimed_bytes", "codec_names"]

_ZSTD = b"\x28\xb5\x2f\xfd"
MOST_OVERHEAD = 1 << 16  # bytes by which a coded chunk, with what is said of it, may be longer than its pixels
_ZLIB, _GZIP = 15, 31  # zlib's window sizes, which also say what stands around the data
_HEAD = 18
_UNBOUNDED = frozenset(("bz2", "lzma"))  # by zarr, which unpacks them to whatever size they become
_MAX_DICTIONARY = 256 << 20

Undo = Callable[[np.ndarray, np.ndarray], None]


class UndecodedChunkError(ValueError):
    """A chunk that is not what was expected; zarr itself reads it, or says what is wrong with it."""


class _OverlongError(ValueError):
    """A chunk unpacks to more than is due."""


class ZarrChunks:
    """The chunks of one array, version 2 or 3.

    What is read here is plain or packed by zlib, gzip, Zstandard, Blosc, LZ4, bzip2 or XZ, in C order and without filters; so
    are almost all images.  Nothing is unpacked beyond the size of a chunk, and nothing stays open between reads.

    Parameters
    ----------
    folder : str
        Of the array: the one that holds ``.zarray`` or ``zarr.json``.
    array : zarr.Array

    Attributes
    ----------
    can_read : bool
        Whether the chunks are of a kind that is read here; if not, zarr reads them.
    is_bounded : bool
        Whether a chunk cannot become a million times as large as it is in the folder; if not, zarr must not read them.

    References
    ----------
    Zarr storage specifications, versions 2 and 3; RFC 8878 (Zstandard); the Blosc chunk format.
    """

    def __init__(self, folder: str, array: Any) -> None:
        metadata = array.metadata
        told = metadata.to_dict()
        self._folder = folder
        self._mark = os.path.join(folder, "zarr.json" if metadata.zarr_format == 3 else ".zarray")
        self._key_of: Callable[[Cell], str] = metadata.encode_chunk_key
        dtype, codec = _stored(np.dtype(array.dtype), told)
        self._fill = 0 if metadata.fill_value is None else metadata.fill_value
        chunk = tuple(map(int, array.chunks))
        self._undo = _undo(codec) if codec else None
        self._is_plain = codec == {}
        is_known = self._is_plain or self._undo is not None
        self.can_read = is_known and getattr(array, "shards", None) is None and math.prod(chunk) > 0
        self._is_unbounded = bool(_UNBOUNDED.intersection(codec_names(told)))
        self.is_bounded = self.can_read or not self._is_unbounded
        self._grid = ChunkGrid(tuple(map(int, array.shape)), chunk, dtype)

    def read(self, key: Sequence[slice | int | np.ndarray]) -> np.ndarray:
        """Return a part as a new array in the order of the stored axes, in native byte order.

        Parameters
        ----------
        key : sequence of slice, int or numpy.ndarray
            One an axis, positive and within it, slices of step 1; an axis with an int is left out of the result; one of them
            may be indices in any order.

        Raises
        ------
        UndecodedChunkError
            A chunk has other bytes than it should, or does not decode here.
        SourceNotFoundError
            The array is not there any more; a chunk that alone is not there holds the fill value.
        CorruptRecordingError
            A chunk unpacks to more than its pixels.
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
            self._grid.fill(pieces, self._read_chunk, is_decoded=not self._is_plain)
        if not os.path.exists(self._mark):
            raise SourceNotFoundError(f"{printable(self._mark)} is not there any more: the array was moved or deleted")
        if not result.dtype.isnative:
            result = result.byteswap(inplace=True).view(result.dtype.newbyteorder("="))
        return result[tuple(0 if isinstance(part, int) else slice(None) for part in key)]

    def forget(self) -> None:
        """Forget the chunks that are kept decoded."""
        self._grid.forget()

    def _read_chunk(self, cell: Cell, parts: Sequence[Part]) -> np.ndarray | None:
        file = PositionedFile(os.path.join(self._folder, self._key_of(cell)))
        try:
            size = file.size
        except SourceNotFoundError:
            for part, _ in parts:
                part[...] = self._fill
            return None
        target = parts[0][0] if self._grid.is_whole(parts) else None
        if self._is_plain:
            return self._plain(file, size, parts, target)
        if size > 2 * self._grid.nbytes + MOST_OVERHEAD:
            raise UndecodedChunkError(f"it has {size:,} bytes")
        packed = np.empty(size, np.uint8)
        file.read_into([packed], 0)
        pixels = np.empty(self._grid.chunk, self._grid.dtype) if target is None else target
        self._decode(packed, pixels, file.name)
        return pixels if target is None else None

    def _plain(
        self, file: PositionedFile, size: int, parts: Sequence[Part], target: np.ndarray | None
    ) -> np.ndarray | None:
        if size != self._grid.nbytes:
            raise UndecodedChunkError(f"it has {size:,} bytes, and {self._grid.nbytes:,} are due")
        if target is not None:
            file.read_into([target], 0)
            return None
        if 2 * sum(part.nbytes for part, _ in parts) > size:
            return file.read_array(0, self._grid.chunk, self._grid.dtype)
        stored = StoredArray(file, shape=self._grid.chunk, dtype=self._grid.dtype)
        for part, inside in parts:
            part[...] = stored.read(inside)
        return None

    def _decode(self, packed: np.ndarray, pixels: np.ndarray, name: str) -> None:
        try:
            self._undo(packed, pixels.reshape(-1).view(np.uint8))  # type: ignore[misc]
        except _OverlongError:
            raise CorruptRecordingError(
                f"{name}, a chunk of {printable(os.path.basename(self._folder))}, unpacks to more than the {self._grid.nbytes:,} bytes that are due"
            ) from None
        except (ValueError, RuntimeError, TypeError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            words = printable(error)[:200]
            if self._is_unbounded:
                where = printable(os.path.basename(self._folder))
                raise CorruptRecordingError(f"{name}, a chunk of {where}, does not decode: {words}") from error
            raise UndecodedChunkError(words) from error


def codec_names(told: Mapping[str, Any]) -> list[str]:
    """Return the names of all codecs in the description of an array, those inside of shards as well.

    Parameters
    ----------
    told : mapping
        Of ``.zarray`` or ``zarr.json``, or what zarr makes of them; whatever is no codec is given as its own text.
    """
    found: list[str] = []
    coded = [told.get("compressor")]
    for key in ("filters", "codecs"):
        value = told.get(key)
        coded += value if isinstance(value, list | tuple) else [value]
    while coded:
        codec = coded.pop()
        if codec is None:
            continue
        facts = _config(codec)
        if not isinstance(facts, Mapping):
            found.append(str(facts))
            continue
        found.append(str(facts.get("id", facts.get("name"))).removeprefix("numcodecs."))
        inside = facts.get("configuration")
        for key in ("codecs", "index_codecs"):
            value = inside.get(key) if isinstance(inside, Mapping) else None
            coded += value if isinstance(value, list | tuple) else [value]
    return found


def claimed_bytes(head: bytes, length: int) -> int:
    """Return how many bytes a chunk says that it decodes to, by Zstandard's and Blosc's own heads; 0 where it says nothing.

    Parameters
    ----------
    head : bytes
        The first 18 bytes.
    length : int
        Of the whole chunk, in bytes.

    References
    ----------
    RFC 8878, section 3.1.1.1 (frame header); the Blosc chunk format, "Header".
    """
    if head[:4] == _ZSTD and len(head) >= 14:
        return _zstd_size(head)
    is_blosc = len(head) >= 16 and int.from_bytes(head[12:16], "little") == length
    return int.from_bytes(head[4:8], "little") if is_blosc else 0


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
    """Return what a codec says of itself: older releases of zarr give the codec, newer ones its description."""
    return codec.get_config() if hasattr(codec, "get_config") else codec


def _stored(dtype: np.dtype[Any], told: Mapping[str, Any]) -> tuple[np.dtype[Any], Mapping[str, Any] | None]:
    """Return the dtype of the bytes, and the one codec that packs them: none ({}), or one that is not read here (None)."""
    if told.get("zarr_format") == 2:
        is_simple = told.get("order") == "C" and not told.get("filters")
        return dtype, _config(told.get("compressor") or {}) if is_simple else None
    codecs: Sequence[Mapping[str, Any]] = told.get("codecs") or ({},)
    first, *rest = codecs
    if first.get("name") != "bytes" or len(rest) > 1:
        return dtype, None
    endian = (first.get("configuration") or {}).get("endian")
    dtype = dtype.newbyteorder(">" if endian == "big" else "<") if endian else dtype
    return dtype, ({"id": rest[0].get("name")} if rest else {})


def _undo(codec: Mapping[str, Any]) -> Undo | None:
    """Return what unpacks a chunk into an array of as many bytes as are due."""
    name = codec.get("id")
    unpacking: dict[str, Callable[[], Any]] = {
        "zlib": functools.partial(zlib.decompressobj, _ZLIB),
        "gzip": functools.partial(zlib.decompressobj, _GZIP),
        "bz2": bz2.BZ2Decompressor,
        "lzma": functools.partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, _MAX_DICTIONARY),
    }
    made = unpacking.get(str(name))
    if name == "lzma" and (codec.get("format", lzma.FORMAT_XZ) != lzma.FORMAT_XZ):
        return None
    if made is not None:
        return functools.partial(_inflate, made)
    if name not in ("zstd", "blosc", "lz4"):
        return None
    import numcodecs

    return functools.partial(_unpack, numcodecs.get_codec({"id": name}), name == "lz4")


def _inflate(made: Callable[[], Any], packed: np.ndarray, due: np.ndarray) -> None:
    stream = made()
    found = stream.decompress(packed.data, due.nbytes + 1)
    if len(found) > due.nbytes:
        raise _OverlongError
    if len(found) != due.nbytes or not stream.eof or stream.unused_data:
        raise UndecodedChunkError(f"{len(found):,} bytes are unpacked, and {due.nbytes:,} are due")
    due[...] = np.frombuffer(found, np.uint8)


def _unpack(codec: Any, is_lz4: bool, packed: np.ndarray, due: np.ndarray) -> None:
    head = packed[:_HEAD].tobytes()
    claimed = int.from_bytes(head[:4], "little") if is_lz4 else claimed_bytes(head, packed.nbytes)
    if claimed > due.nbytes:
        raise _OverlongError
    if claimed != due.nbytes:
        raise UndecodedChunkError(f"it claims {claimed:,} bytes, and {due.nbytes:,} are due")
    codec.decode(packed, out=due)

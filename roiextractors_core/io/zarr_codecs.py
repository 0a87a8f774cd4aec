"""Decodes the chunks of Zarr arrays, versions 2 and 3: nothing is decompressed beyond the size of a chunk, and nothing is unpickled."""

from __future__ import annotations

import bz2
import functools
import itertools
import lzma
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import CorruptRecordingError, UnsupportedRecordingError, printable
from .json_text import parse_json

__all__ = [
    "MAX_OVERHEAD",
    "ChunkCodec",
    "ChunkFault",
    "CutChunkFault",
    "Sharding",
    "codec_of_version_2",
    "codec_of_version_3",
]

MAX_OVERHEAD = 1 << 16  # bytes by which an encoded chunk, with its headers, may be longer than its pixels
_MAX_INNER = 1 << 20  # chunks in a shard: its index, which is read whole, has 16 bytes for each
_MAX_TEXT = 64 << 20  # bytes of the strings of a chunk
_MAX_DICTIONARY = 256 << 20
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZLIB, _GZIP = 15, 31  # zlib's window sizes; adding 16 asks for the header of gzip
_HEAD = 18
_BLOCKS = ("zstd", "blosc", "lz4")  # their header states the size after decompression
_STREAMS = ("zlib", "gzip", "bz2", "lzma")
_CHECKSUMS: dict[str, tuple[str, Callable[[Any], int]]] = {
    # with the place where numcodecs stores them by default
    "crc32": ("start", zlib.crc32),
    "adler32": ("start", zlib.adler32),
    "crc32c": ("end", lambda data: crc32c(data)),
}
_TEXTS = ("vlen-utf8", "vlen-bytes", "json2")
_NO_CHUNK = np.uint64(2**64 - 1)
_FAULTS = (
    ValueError,
    RuntimeError,
    TypeError,
    OSError,
    EOFError,
    LookupError,
    ArithmeticError,
    zlib.error,
    lzma.LZMAError,
)

Decode = Callable[[np.ndarray, "int | None", int], np.ndarray]
"""Takes encoded bytes, the exact number of bytes before encoding (None if unknown) and the most; returns them as uint8."""


class ChunkFault(ValueError):
    """What is wrong with a chunk, without its name."""


class CutChunkFault(ChunkFault):
    """A chunk ends early."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """One codec after the pixels became bytes.

    Attributes
    ----------
    decode : callable
    decode_into : callable or None
        Takes encoded bytes and an array of bytes that they fill exactly.
    encoded_size : callable
        From the number of bytes before encoding to that after it; None where it depends on the pixels.
    """

    decode: Decode
    decode_into: Callable[[np.ndarray, np.ndarray], None] | None = None
    encoded_size: Callable[[int], int | None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Sharding:
    """Chunks inside a chunk.

    Attributes
    ----------
    shape : tuple of int
        Of an inner chunk.
    codec : ChunkCodec
        Of an inner chunk.
    grid : tuple of int
        Inner chunks along each axis.
    is_at_start, has_checksum : bool
        Of the index.
    """

    shape: tuple[int, ...]
    codec: ChunkCodec
    grid: tuple[int, ...]
    is_at_start: bool
    has_checksum: bool

    @property
    def index_bytes(self) -> int:
        """The length of the index."""
        return 16 * math.prod(self.grid) + 4 * self.has_checksum

    def parse_index(self, data: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the offset and the length of each inner chunk; both 2**64 - 1 for one that is absent.

        Raises
        ------
        ChunkFault
            The checksum differs, or a chunk is outside of the shard.

        References
        ----------
        Zarr version 3, the codec ``sharding_indexed``.
        """
        if len(data) != self.index_bytes:
            raise CutChunkFault(f"its index has {len(data):,} bytes, expected {self.index_bytes:,}")
        entries = np.frombuffer(data, "<u8", 2 * math.prod(self.grid)).reshape(*self.grid, 2)
        offset, nbytes = entries[..., 0], entries[..., 1]
        absent = (offset == _NO_CHUNK) & (nbytes == _NO_CHUNK)
        # Compared without a sum, which could overflow
        fits = (nbytes > 0) & (nbytes <= size) & (offset <= np.uint64(size) - np.minimum(nbytes, np.uint64(size)))
        if not bool((fits | absent).all()):
            raise CutChunkFault("its index names bytes outside of it")
        if self.has_checksum and crc32c(data[:-4]) != int.from_bytes(bytes(data[-4:]), "little"):
            raise ChunkFault("the checksum of its index differs")
        return offset, nbytes

    def decode(self, data: np.ndarray, pixels: np.ndarray) -> None:
        """Fill an array with all inner chunks of a shard."""
        length = self.index_bytes
        index = data[:length] if self.is_at_start else data[max(0, len(data) - length) :]
        offset, nbytes = self.parse_index(index.tobytes(), len(data))
        for cell in itertools.product(*map(range, self.grid)):
            part = tuple(slice(k * n, (k + 1) * n) for k, n in zip(cell, self.shape, strict=True))
            if offset[cell] == _NO_CHUNK:
                pixels[part] = self.codec.fill_value
                continue
            start = int(offset[cell])
            inner = np.empty(self.shape, pixels.dtype)
            self.codec.decode(data[start : start + int(nbytes[cell])], inner)
            pixels[part] = inner


class ChunkCodec:
    """From the bytes of a chunk, as stored, to its pixels.

    Attributes
    ----------
    shape : tuple of int
        Of a chunk, as the array has it.
    dtype : numpy.dtype
        As stored; object for strings of any length.
    fill_value : object
    names : tuple of str
        Of all codecs, including those inside shards.
    sharding : Sharding or None
        Set where the chunk contains chunks and nothing else was done to it, so that they can be read one by one.
    is_plain : bool
        Whether a chunk is stored as the bytes of its pixels in C order.
    max_bytes : int
        The most bytes that a chunk may have.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        fill_value: Any,
        names: Sequence[str],
        *,
        order: tuple[int, ...] | None = None,
        text: str = "",
        inner: Sharding | None = None,
        stages: Sequence[_Stage] = (),
    ) -> None:
        self.shape, self.dtype, self.fill_value, self.names = shape, dtype, fill_value, tuple(names)
        self._order = tuple(range(len(shape))) if order is None else order
        is_straight = self._order == tuple(range(len(shape)))
        self._text, self._inner, self._stages = text, inner, tuple(stages)
        self.sharding = inner if inner is not None and is_straight and not stages else None
        self._is_direct = is_straight and not text and inner is None
        self.is_plain = self._is_direct and not stages
        self.nbytes = math.prod(shape) * dtype.itemsize
        exact: int | None = None if text or inner else self.nbytes
        most = _MAX_TEXT if text else 2 * self.nbytes + MAX_OVERHEAD + (inner.index_bytes if inner else 0)
        self._sizes: list[tuple[int | None, int]] = []  # before each stage, in the order of encoding
        for stage in self._stages:
            self._sizes.append((exact, most if exact is None else exact))
            exact = None if exact is None else stage.encoded_size(exact)
            most = 2 * self._sizes[-1][1] + MAX_OVERHEAD if exact is None else exact
        self.max_bytes = most if exact is None else exact + MAX_OVERHEAD

    def decode(self, data: np.ndarray, pixels: np.ndarray) -> None:
        """Fill a C-contiguous array of the chunk's shape.

        Parameters
        ----------
        data : numpy.ndarray
            uint8; the chunk as stored.
        pixels : numpy.ndarray

        Raises
        ------
        ChunkFault
            It does not decode to exactly these pixels.
        """
        try:
            if self._is_direct and self._stages:
                self._decode_direct(data, pixels.reshape(-1).view(np.uint8))
            else:
                self._decode_values(self._undo(data, 0), pixels)
        except ChunkFault:
            raise
        except (*_FAULTS, CorruptRecordingError) as error:
            raise ChunkFault(printable(error)[:200]) from error

    def _decode_direct(self, data: np.ndarray, target: np.ndarray) -> None:
        first = self._stages[0]
        if first.decode_into is not None:  # into the pixels, without a copy
            first.decode_into(self._undo(data, 1), target)
        else:
            target[...] = _exactly(self._undo(data, 0), target.nbytes)

    def _undo(self, data: np.ndarray, first: int) -> np.ndarray:
        """Undo the stages from the last to ``first``."""
        for k in range(len(self._stages) - 1, first - 1, -1):
            exact, most = self._sizes[k]
            data = self._stages[k].decode(data, exact, most)
        return data

    def _decode_values(self, data: np.ndarray, pixels: np.ndarray) -> None:
        stored = tuple(self.shape[k] for k in self._order)
        back = tuple(int(k) for k in np.argsort(self._order))
        if self._text:
            values = _texts(self._text, data, math.prod(stored))
        elif self._inner is not None:
            values = np.empty(stored, self.dtype)
            self._inner.decode(data, values)
        else:
            values = np.frombuffer(_exactly(data, self.nbytes), self.dtype)
        pixels[...] = values.reshape(stored).transpose(back)


def codec_of_version_2(
    facts: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any], fill_value: Any, name: str
) -> ChunkCodec:
    """Return what decodes the chunks of an array of Zarr 2.

    Parameters
    ----------
    facts : mapping
        The content of ``.zarray``.
    shape, dtype, fill_value
        Of a chunk.
    name : str
        For messages.

    Raises
    ------
    UnsupportedRecordingError
        A codec is not read.
    CorruptRecordingError
        The description of a codec is not valid.
    """
    filters, compressor = facts.get("filters"), facts.get("compressor")
    if not isinstance(filters, list | None) or not isinstance(compressor, dict | None):
        raise CorruptRecordingError(
            f"{name}: .zarray is not a description of an array: it does not list filters and a compressor"
        )
    order = facts.get("order", "C")
    if order not in ("C", "F"):
        raise CorruptRecordingError(f"{name} has the order {printable(order)[:20]!r}, expected 'C' or 'F'")
    codecs = [*(filters or ()), *([] if compressor is None else [compressor])]
    names = [_name_of(codec, "id") for codec in codecs]
    _require_known(names, name, version=2)
    text = names[0] if names and names[0] in _TEXTS else ""
    # zarr 3.0 writes strings of a fixed length by these codecs too
    is_text = dtype.kind == "O" or (bool(text) and dtype.kind in "SU")
    if is_text != bool(text) or any(other in _TEXTS for other in names[1:]):
        how = f"with the codecs {', '.join(names)}" if names else "without a codec"
        raise UnsupportedRecordingError(
            f"{name} has the type |O (objects) {how}; supported: strings by vlen-utf8, vlen-bytes or json2"
        )
    stages = [_stage(one, codec, name) for one, codec in zip(names, codecs, strict=True) if one not in _TEXTS]
    axes = tuple(range(len(shape)))
    layout = axes[::-1] if order == "F" else axes
    return ChunkCodec(shape, dtype, fill_value, names, order=layout, text=text, stages=stages)


def codec_of_version_3(
    codecs: Any, shape: tuple[int, ...], dtype: np.dtype[Any], fill_value: Any, name: str
) -> ChunkCodec:
    """Return what decodes the chunks of an array of Zarr 3.

    Parameters
    ----------
    codecs : list of mapping
        As ``zarr.json`` lists them.
    shape, dtype, fill_value
        Of a chunk.
    name : str
        For messages.

    Raises
    ------
    UnsupportedRecordingError, CorruptRecordingError
        As :func:`codec_of_version_2`.
    """
    if not isinstance(codecs, list) or not codecs:
        raise CorruptRecordingError(f"{name} does not list its codecs")
    names = [_name_of(codec, "name") for codec in codecs]
    _require_known(names, name, version=3)
    pairs = list(zip(names, (_configuration(codec) for codec in codecs), strict=True))
    order, at = tuple(range(len(shape))), 0
    while at < len(pairs) and names[at] == "transpose":
        order = _transposed(order, pairs[at][1].get("order"), name)
        at += 1
    before = at
    while at < len(pairs) and names[at] in _FILTERS:
        at += 1
    filters = pairs[before:at]
    if at == len(pairs) or names[at] not in ("bytes", "sharding_indexed", "vlen-utf8", "vlen-bytes"):
        raise CorruptRecordingError(
            f"{name} has the codecs {', '.join(names)[:200]}, none of which converts pixels to bytes"
        )
    kind, how = pairs[at]
    rest = pairs[at + 1 :]
    text = kind if kind.startswith("vlen") else ""
    if (dtype.kind == "O") != bool(text) or any(
        one in _TEXTS or one in ("bytes", "transpose", "sharding_indexed") for one, _ in rest
    ):
        raise UnsupportedRecordingError(
            f"{name} combines the codecs {', '.join(names)[:200]}, which is not supported; write it again with other codecs"
        )
    if filters and (kind != "bytes" or how.get("endian") == "big" or order != tuple(range(len(shape)))):
        raise UnsupportedRecordingError(
            f"{name} combines the codec {filters[0][0]!r} with big-endian bytes, transposition or shards, "
            "which is not supported; write it again with other codecs"
        )
    inner = None
    if kind == "sharding_indexed":
        stored = tuple(shape[k] for k in order)
        inner, more = _sharding(how, stored, dtype, fill_value, name)
        names += more
    if kind == "bytes" and how.get("endian") is not None:
        dtype = dtype.newbyteorder(">" if how["endian"] == "big" else "<")
    stages = [_stage(one, {"id": one, **facts}, name) for one, facts in (*filters, *rest)]
    return ChunkCodec(shape, dtype, fill_value, names, order=order, text=text, inner=inner, stages=stages)


def _name_of(codec: Any, key: str) -> str:
    if not isinstance(codec, Mapping):
        return str(codec)
    return str(codec.get(key)).removeprefix("numcodecs.")


def _configuration(codec: Any) -> Mapping[str, Any]:
    inside = codec.get("configuration") if isinstance(codec, Mapping) else None
    return inside if isinstance(inside, Mapping) else {}


def _require_known(names: Sequence[str], name: str, *, version: int) -> None:
    known = {
        *_BLOCKS,
        *_STREAMS,
        *_CHECKSUMS,
        *_FILTERS,
        *_TEXTS,
        "fletcher32",
        *(("bytes", "transpose", "sharding_indexed") if version == 3 else ()),
    }
    for one in names:
        if one not in known:
            reason = " (a pickle could run code)" if one == "pickle" else ""
            raise UnsupportedRecordingError(
                f"{name} uses the codec {printable(one)[:60]!r}, which is not supported{reason}; supported: {', '.join(sorted(known))}"
            )


def _transposed(order: tuple[int, ...], by: Any, name: str) -> tuple[int, ...]:
    by = {"C": list(range(len(order))), "F": list(range(len(order)))[::-1]}.get(by, by) if isinstance(by, str) else by
    if not isinstance(by, list) or not all(type(k) is int for k in by) or sorted(by) != list(range(len(order))):
        raise CorruptRecordingError(
            f"{name} transposes its axes by {printable(by)[:60]}, which is not an order of {len(order)} axes"
        )
    return tuple(order[k] for k in by)


def _sharding(
    how: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any], fill_value: Any, name: str
) -> tuple[Sharding, list[str]]:
    inside = how.get("chunk_shape")
    is_valid = isinstance(inside, list) and len(inside) == len(shape) and all(type(n) is int and n > 0 for n in inside)
    if not is_valid or any(n % c for n, c in zip(shape, inside or (), strict=False)):
        raise CorruptRecordingError(
            f"{name} has shards of shape {shape}, which its chunks of shape {printable(inside)[:60]} do not divide"
        )
    index = how.get("index_codecs")
    names = [_name_of(codec, "name") for codec in index] if isinstance(index, list) else []
    if names not in (["bytes"], ["bytes", "crc32c"]):
        raise UnsupportedRecordingError(
            f"{name} encodes the index of its shards by {printable(names)[:60]}; supported: bytes, and bytes with crc32c"
        )
    chunk = tuple(inside or ())
    codec = codec_of_version_3(how.get("codecs"), chunk, dtype, fill_value, name)
    grid = tuple(n // c for n, c in zip(shape, chunk, strict=True))
    if math.prod(grid) > _MAX_INNER:
        raise UnsupportedRecordingError(
            f"{name} has shards of {math.prod(grid):,} chunks; at most {_MAX_INNER:,} are read. Write it again with larger chunks"
        )
    location = how.get("index_location", "end")
    return Sharding(chunk, codec, grid, location == "start", len(names) > 1), [*codec.names, *names]


# Stages


def _stage(name: str, facts: Mapping[str, Any], where: str) -> _Stage:
    try:
        if name in _BLOCKS:
            import numcodecs

            codec = numcodecs.get_codec({"id": name})
            return _Stage(
                functools.partial(_decode_block, codec, name), functools.partial(_decode_block_into, codec, name)
            )
        if name in _STREAMS:
            return _Stage(functools.partial(_decode_stream, name, _stream_of(name, facts, where)))
        if name in _CHECKSUMS:
            at, total = _CHECKSUMS[name]
            return _Stage(
                functools.partial(_decode_checksum, name, facts.get("location", at) == "start", total),
                None,
                lambda n: n + 4,
            )
        return _FILTERS[name](facts)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise CorruptRecordingError(
            f"{where} does not describe the codec {name} correctly: {printable(error)[:120]}"
        ) from error


def _exactly(data: np.ndarray, nbytes: int) -> np.ndarray:
    if data.nbytes != nbytes:
        raise ChunkFault(f"decompressed to {data.nbytes:,} bytes, expected {nbytes:,}")
    return data


def _limited(data: Any, exact: int | None, most: int) -> np.ndarray:
    """Return decoded bytes as an array; ``data`` may have one byte more than allowed."""
    if len(data) > most:
        raise _overlong(most)
    found = np.frombuffer(data, np.uint8)
    return found if exact is None else _exactly(found, exact)


def _overlong(most: int) -> ChunkFault:
    return ChunkFault(f"it decompresses to more than the {most:,} bytes of its pixels")


def _stream_of(name: str, facts: Mapping[str, Any], where: str) -> Callable[[], Any]:
    """Return what makes a decompressor for a format that does not state its size."""
    if name == "lzma":
        kind = facts.get("format", lzma.FORMAT_XZ)
        if kind not in (lzma.FORMAT_XZ, lzma.FORMAT_ALONE):
            raise UnsupportedRecordingError(f"{where} uses the codec 'lzma' in its raw format; supported: xz and alone")
        return functools.partial(lzma.LZMADecompressor, kind, _MAX_DICTIONARY)
    streams: dict[str, Callable[[], Any]] = {
        "zlib": functools.partial(zlib.decompressobj, _ZLIB),
        "gzip": functools.partial(zlib.decompressobj, _GZIP),
        "bz2": bz2.BZ2Decompressor,
    }
    return streams[name]


def _decode_stream(
    name: str, new_stream: Callable[[], Any], data: np.ndarray, exact: int | None, most: int
) -> np.ndarray:
    """Decompress a format that does not state its size: one byte more than expected is enough to see that it is too long."""
    pieces: list[bytes] = []
    total, rest = 0, data.data
    while True:
        stream = new_stream()
        piece = stream.decompress(rest, most + 1 - total)
        pieces.append(piece)
        total += len(piece)
        if total > most:
            raise _overlong(most)
        if not stream.eof:
            raise CutChunkFault(
                f"it ends early: decompressed to {total:,} bytes" + (f", expected {exact:,}" if exact else "")
            )
        rest = stream.unused_data
        # Several streams in a row are one file of gzip, bzip2 and XZ; zeros may follow one of gzip, and anything one of zlib
        if not rest or name == "zlib" or (name == "gzip" and not rest.strip(b"\0")):
            break
        if name == "gzip" and rest[:2] != b"\x1f\x8b":
            raise ChunkFault(f"{len(rest):,} bytes follow its end")
    return _limited(b"".join(pieces) if len(pieces) > 1 else pieces[0], exact, most)


def _decode_block(codec: Any, name: str, data: np.ndarray, exact: int | None, most: int) -> np.ndarray:
    size = _size_of_block(name, data, most) if exact is None else exact
    if size is None:
        raise ChunkFault("its header does not state its size")
    target = np.empty(size, np.uint8)
    _decode_block_into(codec, name, data, target)
    return target


def _decode_block_into(codec: Any, name: str, data: np.ndarray, target: np.ndarray) -> None:
    """Decompress a format whose header states its size, which is compared before any memory is used."""
    claimed = _size_of_block(name, data, target.nbytes)
    if claimed is not None and claimed != target.nbytes:
        raise ChunkFault(f"it claims {claimed:,} bytes, expected {target.nbytes:,}")
    if target.nbytes:
        codec.decode(data, out=target)  # which compares the size of Zstandard without a stated size


def _size_of_block(name: str, data: np.ndarray, most: int) -> int | None:
    head = data[:_HEAD].tobytes()
    if name == "blosc":
        # Decoders do not compare, and return other memory
        stated = int.from_bytes(head[12:16], "little")
        if len(head) < 16 or stated > data.nbytes:
            raise CutChunkFault(
                f"it is truncated: it has {data.nbytes:,} bytes, but its Blosc header states {stated:,}"
            )
    claimed = _claimed_by(name, head)
    if claimed is not None and claimed > most:
        raise _overlong(most)
    return claimed


def _claimed_by(name: str, head: bytes) -> int | None:
    """Return the size that a header states.

    References
    ----------
    RFC 8878, section 3.1.1.1 (frame header of Zstandard); the Blosc chunk format, "Header".
    """
    if name == "lz4":
        return int.from_bytes(head[:4], "little")
    if name == "blosc":
        return int.from_bytes(head[4:8], "little")
    if head[:4] != _ZSTD or len(head) < 6:
        raise ChunkFault("it does not begin with a Zstandard frame")
    descriptor = head[4]
    single, kind = descriptor >> 5 & 1, descriptor >> 6
    width = (1 if single else 0, 2, 4, 8)[kind]
    if not width:
        return None  # written as a stream
    at = 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(head[at : at + width], "little")
    return size + 256 if width == 2 else size


def _decode_checksum(
    name: str, is_at_start: bool, total: Callable[[Any], int], data: np.ndarray, exact: int | None, most: int
) -> np.ndarray:
    if data.nbytes < 4:
        raise ChunkFault(f"it has {data.nbytes} bytes, too few for a checksum")
    stated, rest = (data[:4], data[4:]) if is_at_start else (data[-4:], data[:-4])
    if int.from_bytes(stated.tobytes(), "little") != total(rest):
        raise ChunkFault(f"its checksum ({name}) differs: the chunk is damaged")
    return _limited(rest, exact, most)


def _values_of(data: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    return np.frombuffer(np.ascontiguousarray(data), dtype)


def _bytes_of(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1)


def _number_type(facts: Mapping[str, Any], key: str, default: Any = None) -> np.dtype[Any]:
    value = facts.get(key, default)
    dtype = np.dtype(value) if isinstance(value, str) and len(value) < 16 else None
    if dtype is None or dtype.kind not in "biufcmM":
        raise ValueError(f"{key} is {printable(value)[:40]!r}, expected a numeric type")
    return dtype


def _filter(undo: Callable[[np.ndarray], np.ndarray], stored: np.dtype[Any], made: np.dtype[Any]) -> _Stage:
    def decode(data: np.ndarray, exact: int | None, most: int) -> np.ndarray:
        if data.nbytes % stored.itemsize or data.nbytes // stored.itemsize * made.itemsize > most:
            raise ChunkFault(f"decompressed to {data.nbytes:,} bytes, which are not values of {stored}")
        return _limited(_bytes_of(undo(_values_of(data, stored)).astype(made, copy=False)), exact, most)

    return _Stage(decode, None, lambda n: n // made.itemsize * stored.itemsize)


def _delta(facts: Mapping[str, Any]) -> _Stage:
    made = _number_type(facts, "dtype")
    stored = _number_type(facts, "astype", facts.get("dtype"))

    def undo(values: np.ndarray) -> np.ndarray:
        return np.cumsum(values, out=np.empty(len(values), made))

    return _filter(undo, stored, made)


def _fixed_scale_offset(facts: Mapping[str, Any]) -> _Stage:
    offset, scale = facts["offset"], facts["scale"]
    if not all(isinstance(number, int | float) for number in (offset, scale)) or not scale:
        raise ValueError(f"offset is {printable(offset)[:40]} and scale {printable(scale)[:40]}, expected numbers")
    made = _number_type(facts, "dtype")
    return _filter(lambda values: (values / scale) + offset, _number_type(facts, "astype", facts.get("dtype")), made)


def _quantize(facts: Mapping[str, Any]) -> _Stage:
    return _filter(lambda v: v, _number_type(facts, "astype", facts.get("dtype")), _number_type(facts, "dtype"))


def _as_type(facts: Mapping[str, Any]) -> _Stage:
    return _filter(lambda v: v, _number_type(facts, "encode_dtype"), _number_type(facts, "decode_dtype"))


def _as_is(facts: Mapping[str, Any]) -> _Stage:
    return _Stage(lambda data, exact, most: _limited(data, exact, most), None, lambda n: n)


def _pack_bits(facts: Mapping[str, Any]) -> _Stage:
    def decode(data: np.ndarray, exact: int | None, most: int) -> np.ndarray:
        if not data.nbytes or 8 * (data.nbytes - 1) > most + 8:
            raise ChunkFault(f"its {data.nbytes:,} bytes do not contain {most:,} pixels of one bit")
        bits = np.unpackbits(data[1:])
        return _limited(bits[: len(bits) - int(data[0])] if data[0] else bits, exact, most)

    return _Stage(decode, None, lambda n: 1 + -(-n // 8))


def _shuffle(facts: Mapping[str, Any]) -> _Stage:
    import numcodecs

    size = facts.get("elementsize", 4)
    if type(size) is not int or not 0 < size < 256:
        raise ValueError(f"elementsize is {printable(size)[:40]}")
    codec = numcodecs.Shuffle(size)

    def decode(data: np.ndarray, exact: int | None, most: int) -> np.ndarray:
        if data.nbytes % size:
            raise ChunkFault(f"its {data.nbytes:,} bytes are not groups of {size}")
        return _limited(np.frombuffer(codec.decode(np.ascontiguousarray(data)), np.uint8), exact, most)

    return _Stage(decode, None, lambda n: n)


def _fletcher32(facts: Mapping[str, Any]) -> _Stage:
    import numcodecs

    codec = numcodecs.Fletcher32()

    def decode(data: np.ndarray, exact: int | None, most: int) -> np.ndarray:
        return _limited(np.frombuffer(codec.decode(np.ascontiguousarray(data)), np.uint8), exact, most)

    return _Stage(decode, None, lambda n: n + 4)


_FILTERS: dict[str, Callable[[Mapping[str, Any]], _Stage]] = {
    "delta": _delta,
    "fixedscaleoffset": _fixed_scale_offset,
    "quantize": _quantize,
    "astype": _as_type,
    "bitround": _as_is,
    "packbits": _pack_bits,
    "shuffle": _shuffle,
    "fletcher32": _fletcher32,
}


# Strings


def _texts(name: str, data: np.ndarray, count: int) -> np.ndarray:
    """Return strings of any length; stored as their number, then for each its length (4 bytes, little-endian) and its bytes."""
    content = data.tobytes()
    values: list[Any] = []
    if name == "json2":
        listed = parse_json(content, "a chunk")
        values = listed[:-2] if isinstance(listed, list) else []
    else:
        at, number = 4, int.from_bytes(content[:4], "little")
        if number > count:
            raise ChunkFault(f"it has {number:,} strings, expected {count:,}")
        for _ in range(number):
            length = int.from_bytes(content[at : at + 4], "little")
            at += 4 + length
            if at > len(content):
                raise CutChunkFault("it is truncated: it ends inside a string")
            text = content[at - length : at]
            values.append(text if name == "vlen-bytes" else text.decode("utf-8", "replace"))
    if len(values) != count:
        raise ChunkFault(f"it has {len(values):,} strings, expected {count:,}")
    result = np.empty(count, object)
    result[:] = values
    return result


# CRC-32C

_LANES = 512


@functools.cache
def _table() -> np.ndarray:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ np.uint32(0x82F63B78), values >> 1)
    return values


@functools.cache
def _shift(length: int) -> tuple[int, ...]:
    """Return what ``length`` zero bytes make of each bit of a checksum."""
    values = np.uint32(1) << np.arange(32, dtype=np.uint32)
    table = _table()
    for _ in range(length):
        values = table[values & 255] ^ (values >> 8)
    return tuple(values.tolist())


def crc32c(data: Any) -> int:
    """Return the checksum CRC-32C (Castagnoli) of bytes.

    Long data is cut into pieces of one length, which are computed side by side: the checksum is linear.

    References
    ----------
    RFC 3720, appendix B.4 (test vectors).
    """
    content = np.frombuffer(data, np.uint8)
    table = _table()
    length = len(content) // _LANES
    crc = 0xFFFFFFFF
    at = 0
    if length:
        pieces = np.ascontiguousarray(content[: length * _LANES].reshape(_LANES, length).T)
        lanes = np.zeros(_LANES, np.uint32)
        for column in pieces:
            lanes = table[(lanes ^ column) & 255] ^ (lanes >> 8)
        shift = _shift(length)
        for lane in lanes.tolist():
            crc = functools.reduce(lambda a, b: a ^ b, (shift[k] for k in range(32) if crc >> k & 1), 0) ^ lane
        at = length * _LANES
    entries = table.tolist() if at < len(content) else []
    for byte in content[at:].tolist():
        crc = entries[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF

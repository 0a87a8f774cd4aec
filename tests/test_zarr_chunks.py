"""Chunks of Zarr arrays read as zarr itself reads them; chunks with unexpected bytes are left to zarr."""

from __future__ import annotations

import shutil
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roiextractors_core.errors import CorruptRecordingError, SourceNotFoundError
from roiextractors_core.io import UndecodedChunkError, ZarrChunks, codec_names

numcodecs = pytest.importorskip("numcodecs")
zarr = pytest.importorskip("zarr")

SHAPE, CHUNK = (5, 7, 9), (2, 3, 4)
CODECS: dict[str, tuple[Any, Any]] = {  # for Zarr 2, and for Zarr 3; None where there is none
    "plain": (None, None),
    "zlib": (numcodecs.Zlib(1), None),
    "gzip": (numcodecs.GZip(1), zarr.codecs.GzipCodec(level=1)),
    "zstd": (numcodecs.Zstd(3), zarr.codecs.ZstdCodec(level=3, checksum=True)),
    "blosc": (numcodecs.Blosc(cname="lz4"), zarr.codecs.BloscCodec(cname="lz4")),
    "blosc_bits": (
        numcodecs.Blosc(cname="zstd", shuffle=numcodecs.Blosc.BITSHUFFLE),
        zarr.codecs.BloscCodec(cname="zstd", shuffle="bitshuffle"),
    ),
    "lz4": (numcodecs.LZ4(), None),
    "bz2": (numcodecs.BZ2(1), None),
    "lzma": (numcodecs.LZMA(), None),
}
DTYPES = ("<u2", ">u2", "u1", "?", "<f4", ">f8", "<i8", "<c8")
KEYS: tuple[tuple[Any, ...], ...] = (
    (slice(None), slice(None), slice(None)),
    (slice(1, 4), slice(2, 3), slice(3, 9)),
    (np.array([4, 0, 1, 1]), slice(0, 7), slice(1, 5)),
    (slice(0, 5), 3, slice(None)),
    (slice(0, 5), np.array([6, 2]), 0),
    (2, slice(2, 2), slice(None)),
)


def values(dtype: str, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    found: np.ndarray = np.random.default_rng(1).integers(0, 200, shape).astype(dtype)
    return found


def written(folder: Path, array: np.ndarray, version: int, codec: Any, **how: Any) -> Any:
    how = {"chunks": CHUNK, "fill_value": 0, "dtype": array.dtype, **how}
    if version == 3 and array.dtype.byteorder == ">":  # there, the byte order is the codec's and not the dtype's
        how |= {"dtype": array.dtype.newbyteorder("="), "serializer": zarr.codecs.BytesCodec(endian="big")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # codecs that the specification of Zarr 3 does not name yet
        made = zarr.create_array(folder, shape=array.shape, zarr_format=version, compressors=codec, **how)
        made[...] = array
        return zarr.open_array(folder, mode="r")


def same(chunks: ZarrChunks, array: Any) -> None:
    for key in KEYS:
        seen, expected = chunks.read(key), np.asarray(array.oindex[key])
        np.testing.assert_array_equal(seen, expected)
        assert seen.dtype == np.dtype(array.dtype).newbyteorder("=")
        assert seen.flags.writeable


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_part_of_every_kind_is_what_zarr_reads(tmp_path: Path, version: int, codec: str, dtype: str) -> None:
    how = CODECS[codec][version - 2]
    if how is None and codec != "plain":
        pytest.skip(f"Zarr {version} has no {codec}")
    array = written(tmp_path / "a", values(dtype), version, how)
    chunks = ZarrChunks(str(tmp_path / "a"), array)
    assert chunks.can_read
    same(chunks, array)
    chunks.forget()
    same(chunks, array)


@pytest.mark.parametrize("version", [2, 3])
def test_large_chunks_are_decompressed_into_the_result(tmp_path: Path, version: int) -> None:
    movie = values("<u2", (40, 128, 160))
    for codec in ("plain", "gzip", "zstd", "blosc"):
        array = written(tmp_path / codec, movie, version, CODECS[codec][version - 2], chunks=(1, 128, 160))
        chunks = ZarrChunks(str(tmp_path / codec), array)
        np.testing.assert_array_equal(chunks.read((slice(None),) * 3), movie)
        np.testing.assert_array_equal(chunks.read((slice(3, 9), slice(5, 9), slice(7, 40))), movie[3:9, 5:9, 7:40])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("separator", [".", "/"])
def test_chunks_that_do_not_exist_read_as_the_fill_value(tmp_path: Path, version: int, separator: str) -> None:
    kind = "default" if version == 3 else "v2"
    encoding: Any = {"name": kind, "separator": separator}
    array = written(tmp_path / "a", values("<u2"), version, None, fill_value=77, chunk_key_encoding=encoding)
    gone = sorted(p for p in (tmp_path / "a").rglob("*") if p.is_file() and p.name[-1].isdigit())[3::4]
    assert len(gone) > 4
    for path in gone:
        path.unlink()
    chunks = ZarrChunks(str(tmp_path / "a"), array)
    same(chunks, array)
    assert (chunks.read((slice(None),) * 3) == 77).any()


@pytest.mark.parametrize(
    ("version", "how"),
    [
        (2, {"compressors": numcodecs.LZMA(format=2)}),
        (2, {"filters": [numcodecs.Delta("<u2")]}),
        (2, {"order": "F"}),
        (3, {"shards": (4, 6, 8)}),
        (3, {"filters": [zarr.codecs.TransposeCodec(order=(2, 1, 0))]}),
        (3, {"compressors": [zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()]}),
    ],
    ids=["old_lzma", "delta", "order_f", "shards", "transpose", "two_codecs"],
)
def test_other_kinds_are_left_to_zarr(tmp_path: Path, version: int, how: dict[str, Any]) -> None:
    codec = how.pop("compressors", None)
    array = written(tmp_path / "a", values("<u2"), version, codec, **how)
    chunks = ZarrChunks(str(tmp_path / "a"), array)
    assert not chunks.can_read
    assert chunks.is_bounded == (not isinstance(codec, numcodecs.LZMA))


def changed(data: bytes, how: str) -> bytes:
    return {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "longer": data + bytes(8),
        "noise": bytes(b ^ 0x5A for b in data),
        "huge": data + bytes(1 << 17),
    }[how]


UNSEEN = {("plain", "noise"), ("zstd", "longer"), ("lz4", "longer")}  # no checksum; bytes behind the end of a frame


@pytest.mark.parametrize(
    ("codec", "how"),
    [
        (codec, how)
        for codec in CODECS
        for how in ("cut", "empty", "longer", "noise", "huge")
        if (codec, how) not in UNSEEN and codec not in ("bz2", "lzma")
    ],
)
def test_a_damaged_chunk_is_left_to_zarr(tmp_path: Path, codec: str, how: str) -> None:
    array = written(tmp_path / "a", values("<u2"), 2, CODECS[codec][0])
    path = tmp_path / "a" / "1.1.1"
    path.write_bytes(changed(path.read_bytes(), how))
    chunks = ZarrChunks(str(tmp_path / "a"), array)
    # zarr would decode a chunk of Blosc that is too short without an error, with bytes of other memory
    is_refused = (codec, how) == ("lz4", "noise") or (codec.startswith("blosc") and how in ("cut", "empty", "noise"))
    with pytest.raises(CorruptRecordingError if is_refused else UndecodedChunkError):
        chunks.read((slice(None),) * 3)
    np.testing.assert_array_equal(chunks.read((slice(0, 2),) * 3), array[0:2, 0:2, 0:2])


def test_a_missing_chunk_without_a_fill_value_reads_as_in_zarr(tmp_path: Path) -> None:
    array = written(tmp_path / "a", values("<u2"), 2, None, fill_value=None)
    (tmp_path / "a" / "1.1.1").unlink()
    same(ZarrChunks(str(tmp_path / "a"), array), array)


def test_an_array_that_was_moved_is_not_read_as_an_empty_one(tmp_path: Path) -> None:
    array = written(tmp_path / "a", values("<u2"), 2, None)
    chunks = ZarrChunks(str(tmp_path / "a"), array)
    shutil.move(tmp_path / "a", tmp_path / "b")
    with pytest.raises(SourceNotFoundError, match="moved or deleted"):
        chunks.read((slice(None),) * 3)


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "plain"])
def test_a_chunk_that_decompresses_to_more_is_refused_before_it_is_decompressed(tmp_path: Path, codec: str) -> None:
    array = written(tmp_path / "a", values("<u2"), 2, CODECS[codec][0])
    bomb = CODECS[codec][0].encode(np.zeros(3 << 22, np.uint8))
    assert len(bomb) < 1 << 16
    (tmp_path / "a" / "0.0.0").write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(CorruptRecordingError, match="decompresses to more than the 48 bytes"):
        ZarrChunks(str(tmp_path / "a"), array).read((slice(0, 1),) * 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (9 << 20 if codec == "lzma" else 1 << 20)  # LZMA's own dictionary


@pytest.mark.parametrize("codec", ["bz2", "lzma"])
@pytest.mark.parametrize("how", ["cut", "empty", "longer", "noise"])
def test_a_codec_without_a_size_limit_is_not_left_to_zarr(tmp_path: Path, codec: str, how: str) -> None:
    array = written(tmp_path / "a", values("<u2"), 2, CODECS[codec][0])
    path = tmp_path / "a" / "0.0.0"
    path.write_bytes(changed(path.read_bytes(), how))
    with pytest.raises(CorruptRecordingError, match=r"0\.0\.0, a chunk of a, does not decode"):
        ZarrChunks(str(tmp_path / "a"), array).read((slice(0, 1),) * 3)


def test_codec_names_include_those_in_shards_and_entries_that_are_not_codecs() -> None:
    inside = {"codecs": [{"name": "bytes"}, {"name": "numcodecs.bz2"}], "index_codecs": [{"name": "crc32c"}]}
    told = {"codecs": [{"name": "sharding_indexed", "configuration": inside}], "filters": [{"id": "delta"}, None, 7]}
    assert set(codec_names(told)) == {"bytes", "bz2", "crc32c", "sharding_indexed", "delta", "7"}
    assert codec_names({"compressor": numcodecs.Zlib(1), "filters": "odd"}) == ["odd", "zlib"]
    assert codec_names({}) == []

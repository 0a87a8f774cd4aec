"""Zarr arrays are read as the library zarr reads them, which is not used here except to write and to compare."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceNotFoundError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.io import ZarrArray, ZarrGroup, open_zarr, present_zarr_chunks

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


def opened(folder: Path) -> ZarrArray:
    return ZarrArray(str(folder), name="movie")


def same(ours: ZarrArray, array: Any) -> None:
    assert ours.shape == tuple(array.shape)
    assert ours.chunks == tuple(array.chunks)
    assert ours.shards == (tuple(array.shards) if array.shards else None)
    whole = np.asarray(array[...])
    for key in KEYS:
        seen, expected = ours.read(key), whole[key]
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
    ours = opened(tmp_path / "a")
    same(ours, array)
    ours.forget()
    same(ours, array)


@pytest.mark.parametrize("version", [2, 3])
def test_large_chunks_are_decompressed_into_the_result(tmp_path: Path, version: int) -> None:
    movie = values("<u2", (40, 128, 160))
    for codec in ("plain", "gzip", "zstd", "blosc"):
        written(tmp_path / codec, movie, version, CODECS[codec][version - 2], chunks=(1, 128, 160))
        chunks = opened(tmp_path / codec)
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
    chunks = opened(tmp_path / "a")
    same(chunks, array)
    assert (chunks.read((slice(None),) * 3) == 77).any()


OTHERS: dict[str, tuple[int, dict[str, Any]]] = {
    "old_lzma": (2, {"compressors": numcodecs.LZMA(format=2)}),
    "delta": (2, {"filters": [numcodecs.Delta("<u2")], "compressors": numcodecs.Zlib(1)}),
    "delta_of_bytes": (2, {"filters": [numcodecs.Delta("<u2", astype="u1")], "compressors": numcodecs.BZ2(1)}),
    "scale": (2, {"filters": [numcodecs.FixedScaleOffset(3, 0.5, "<u2", "<i4")], "compressors": numcodecs.LZMA()}),
    "astype": (2, {"filters": [numcodecs.AsType("<u4", "<u2")], "compressors": numcodecs.Zstd()}),
    "shuffle": (2, {"filters": [numcodecs.Shuffle(2)], "compressors": numcodecs.GZip(1)}),
    "checksums": (2, {"filters": [numcodecs.CRC32(), numcodecs.Adler32()], "compressors": numcodecs.Zstd()}),
    "fletcher32": (2, {"filters": [numcodecs.Fletcher32()], "compressors": None}),
    "two_compressors": (2, {"filters": [numcodecs.Zlib(1)], "compressors": numcodecs.Zstd()}),
    "order_f": (2, {"order": "F", "compressors": numcodecs.Blosc()}),
    "order_f_delta": (2, {"order": "F", "filters": [numcodecs.Delta("<u2")], "compressors": None}),
    "shards": (3, {"shards": (4, 6, 8)}),
    "shards_packed": (3, {"shards": (4, 6, 8), "compressors": zarr.codecs.ZstdCodec()}),
    "transpose": (3, {"filters": [zarr.codecs.TransposeCodec(order=(2, 0, 1))], "compressors": None}),
    "transpose_packed": (3, {"filters": [zarr.codecs.TransposeCodec(order=(2, 1, 0))], "compressors": zarr.codecs.GzipCodec()}),
    "checksum": (3, {"compressors": [zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()]}),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_filters_shards_orders_and_checksums_are_what_zarr_reads(tmp_path: Path, kind: str) -> None:
    version, how = OTHERS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        codec = how.get("compressors")
        array = written(
            tmp_path / "a", values("<u2"), version, codec, **{k: v for k, v in how.items() if k != "compressors"}
        )
        same(opened(tmp_path / "a"), array)
        # A missing chunk
        gone = next(p for p in sorted((tmp_path / "a").rglob("*")) if p.is_file() and p.name[-1].isdigit())
        gone.unlink()
        same(opened(tmp_path / "a"), array)


def test_codecs_of_numcodecs_in_version_3(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # codecs that the specification of Zarr 3 does not name yet
        theirs = pytest.importorskip("zarr.codecs.numcodecs")
        filters = [theirs.FixedScaleOffset(offset=1, scale=2, dtype="<u2", astype="<i4"), theirs.Delta(dtype="<i4")]
        array = written(
            tmp_path / "a", values("<u2"), 3, [theirs.Shuffle(elementsize=4), theirs.LZ4()], filters=filters
        )
        same(opened(tmp_path / "a"), array)


def test_a_shard_with_absent_chunks_and_one_of_the_index_first(tmp_path: Path) -> None:
    movie = values("<u2", (8, 12, 16))
    movie[0:2, 0:3, 0:4] = 9
    inner = [zarr.codecs.BytesCodec(), zarr.codecs.ZstdCodec()]
    how = zarr.codecs.ShardingCodec(chunk_shape=(2, 3, 4), codecs=inner, index_location="start")
    array = zarr.create_array(
        tmp_path / "a", shape=movie.shape, chunks=(4, 6, 8), dtype="<u2", serializer=how, compressors=None, fill_value=9
    )
    array[...] = movie
    ours = opened(tmp_path / "a")
    np.testing.assert_array_equal(ours.read((slice(None),) * 3), movie)
    found = present_zarr_chunks(ours, axis=0)
    assert found is not None
    assert (found[0].shape, int((~found[0]).sum())) == ((4, 4, 4), 1)
    # One bit of the index: its checksum differs
    shard = tmp_path / "a" / "c" / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[16] ^= 1
    shard.write_bytes(data)
    with pytest.raises(CorruptRecordingError, match=r"movie: the chunk c/0/0/0 is damaged"):
        opened(tmp_path / "a").read((slice(0, 1),) * 3)


def test_a_chunk_with_a_wrong_checksum_is_an_error(tmp_path: Path) -> None:
    codecs = [zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()]
    written(tmp_path / "a", values("<u2"), 3, codecs)
    chunk = tmp_path / "a" / "c" / "1" / "1" / "1"
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(CorruptRecordingError, match=r"c/1/1/1 cannot be decoded: its checksum \(crc32c\) differs"):
        opened(tmp_path / "a").read((slice(None),) * 3)


def test_crc32c_is_that_of_rfc_3720() -> None:
    from roiextractors_core.io.zarr_codecs import crc32c

    for data, expected in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)):
        assert crc32c(data) == expected
    # Long data is cut into pieces: the same as byte by byte
    noise = np.random.default_rng(2).bytes(5000)
    crc = 0xFFFFFFFF
    for byte in noise:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert crc32c(noise) == crc ^ 0xFFFFFFFF


FILLS: tuple[tuple[str, Any], ...] = (
    ("<u2", 7), ("<i4", -3), ("?", True), ("<f4", np.nan), ("<f8", np.inf), ("<f8", -np.inf), ("<f4", 0.1), ("<c8", 1 + 2j),
    ("<c16", complex(0.5, np.nan)), ("S5", b"abc"), ("<U4", "xy"), (">i4", 5), (">f8", 2.5), ("<f2", 1.5),
)  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("dtype", "fill"), FILLS)
def test_every_fill_value_is_the_one_that_zarr_gives(tmp_path: Path, version: int, dtype: str, fill: Any) -> None:
    if version == 3 and dtype[0] == ">":
        pytest.skip("in Zarr 3 the byte order is that of the codec")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # types that the specification of Zarr 3 does not name yet
        try:
            array = zarr.create_array(
                tmp_path / "a", shape=(4,), chunks=(2,), dtype=dtype, fill_value=fill, zarr_format=version
            )
        except (TypeError, ValueError, NotImplementedError):
            pytest.skip("this zarr does not write such an array")
        expected = array[...]
    seen = opened(tmp_path / "a").read((slice(None),))
    assert seen.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("version", [2, 3])
def test_an_array_without_axes_is_one_value(tmp_path: Path, version: int) -> None:
    array = zarr.create_array(tmp_path / "a", shape=(), chunks=(), dtype="<f8", zarr_format=version, fill_value=0)
    array[...] = 2.25
    ours = opened(tmp_path / "a")
    assert (ours.shape, ours.chunks) == ((), ())
    assert ours.read(()) == 2.25
    array = zarr.create_array(tmp_path / "b", shape=(), chunks=(), dtype="<f8", zarr_format=version, fill_value=1.5)
    assert opened(tmp_path / "b").read(()) == 1.5


def test_strings_and_records_of_version_2(tmp_path: Path) -> None:
    texts = np.array([["a", "bcd"], ["", "\u00e9"], ["x", "y"]], object)
    for name, order in (("vlen-utf8", "C"), ("json2", "C"), ("vlen-utf8", "F")):
        folder = tmp_path / f"{name}{order}"
        codec = numcodecs.get_codec({"id": name})
        facts = {"zarr_format": 2, "shape": [3, 2], "chunks": [2, 2], "dtype": "|O", "fill_value": 0, "order": order,
                 "filters": [codec.get_config()], "compressor": {"id": "zstd", "level": 1}}  # fmt: skip
        folder.mkdir()
        (folder / ".zarray").write_text(json.dumps(facts))
        for k in range(2):
            chunk = np.full((2, 2), "", object)
            part = texts[2 * k : 2 * k + 2]
            chunk[: len(part)] = part
            (folder / f"{k}.0").write_bytes(numcodecs.Zstd().encode(codec.encode(chunk.ravel(order=order))))
        np.testing.assert_array_equal(opened(folder).read((slice(None), slice(None))), texts)
    kind = np.dtype([("x", "<u4"), ("y", "<u4"), ("weight", "<f4", (2,))])
    records = np.zeros(5, kind)
    records["x"], records["weight"] = np.arange(5), np.arange(10).reshape(5, 2)
    folder = tmp_path / "records"
    folder.mkdir()
    fields = [["x", "<u4"], ["y", "<u4"], ["weight", "<f4", [2]]]
    facts = {"zarr_format": 2, "shape": [5], "chunks": [5], "dtype": fields, "fill_value": None, "order": "C",
             "filters": None, "compressor": None}  # fmt: skip
    (folder / ".zarray").write_text(json.dumps(facts))
    (folder / "0").write_bytes(records.tobytes())
    seen = opened(folder).read((slice(1, 4),))
    assert seen.dtype == kind
    np.testing.assert_array_equal(seen, records[1:4])


def test_strings_of_version_3(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = zarr.create_array(tmp_path / "a", shape=(5,), chunks=(2,), dtype=str, zarr_format=3)
        array[...] = np.array(["a", "", "bc", "d", "\u00e9"], object)
    assert opened(tmp_path / "a").read((slice(None),)).tolist() == ["a", "", "bc", "d", "\u00e9"]


@pytest.mark.parametrize("version", [2, 3])
def test_an_array_that_only_the_group_describes_is_read(tmp_path: Path, version: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.open_group(tmp_path / "g", mode="w", zarr_format=version, attributes={"a": 1})
        array = group.create_array("x/y", shape=(3, 4), chunks=(2, 2), dtype="<u2")
        array[...] = np.arange(12).reshape(3, 4)
        zarr.consolidate_metadata(tmp_path / "g")
    (tmp_path / "g" / "x" / "y" / (".zarray" if version == 2 else "zarr.json")).unlink()
    found = open_zarr(str(tmp_path / "g"), name="g")
    assert isinstance(found, ZarrGroup)
    assert (found.attributes, found.zarr_format) == ({"a": 1}, version)
    ours = ZarrArray(str(tmp_path / "g" / "x" / "y"), name="g", group=found)
    np.testing.assert_array_equal(ours.read((slice(None), slice(None))), np.arange(12).reshape(3, 4))
    with pytest.raises(SourceNotFoundError, match="is not a Zarr array"):
        opened(tmp_path / "g" / "x" / "y")
    assert open_zarr(str(tmp_path), name="none") is None


@pytest.mark.parametrize(
    ("codecs", "words"),
    [
        ([{"name": "bytes"}, {"name": "numcodecs.zfpy"}], "uses the codec 'zfpy'"),
        ([{"name": "bytes"}, {"name": "numcodecs.pickle"}], "a pickle could run code"),
        ([{"name": "numcodecs.delta", "configuration": {"dtype": "<u2"}}, {"name": "bytes", "configuration": {"endian": "big"}}], "'delta' with big-endian"),
        ([{"name": "sharding_indexed", "configuration": {"chunk_shape": [1], "codecs": [{"name": "bytes"}, {"name": "zip"}],
           "index_codecs": [{"name": "bytes"}]}}], "uses the codec 'zip'"),
    ],
)  # fmt: skip
def test_a_codec_that_is_not_read_is_named(tmp_path: Path, codecs: Any, words: str) -> None:
    facts = {"zarr_format": 3, "node_type": "array", "shape": [4], "data_type": "uint16", "fill_value": 0, "codecs": codecs,
             "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}},
             "chunk_key_encoding": {"name": "default"}}  # fmt: skip
    (tmp_path / "zarr.json").write_text(json.dumps(facts))
    with pytest.raises(UnsupportedRecordingError, match=words):
        opened(tmp_path)


def test_zarr_is_not_imported(tmp_path: Path) -> None:
    written(tmp_path / "a", values("<u2"), 3, CODECS["zstd"][1], shards=(4, 6, 8))
    code = (
        "import sys; from roiextractors_core.io import ZarrArray\n"
        f"ZarrArray({str(tmp_path / 'a')!r}, name='a').read((slice(None),) * 3)\n"
        "sys.exit('zarr' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def changed(data: bytes, how: str) -> bytes:
    return {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "longer": data + bytes(8),
        "noise": bytes(b ^ 0x5A for b in data),
        "huge": data + bytes(1 << 17),
    }[how]


# No checksum; bytes after the end, which zarr does not see either
UNSEEN = {("plain", "noise"), ("gzip", "longer"), ("zlib", "longer"), ("blosc", "longer"), ("blosc_bits", "longer")}


@pytest.mark.parametrize(
    ("codec", "how"), [(codec, how) for codec in CODECS for how in ("cut", "empty", "longer", "noise", "huge")]
)
def test_a_damaged_chunk_is_an_error_that_names_it(tmp_path: Path, codec: str, how: str) -> None:
    array = written(tmp_path / "a", values("<u2"), 2, CODECS[codec][0])
    path = tmp_path / "a" / "1.1.1"
    path.write_bytes(changed(path.read_bytes(), how))
    chunks = opened(tmp_path / "a")
    if (codec, how) in UNSEEN:
        np.testing.assert_array_equal(chunks.read((slice(None),) * 3), array[...])
        return
    kind = TruncatedRecordingError if (codec, how) in (("plain", "cut"), ("gzip", "cut")) else CorruptRecordingError
    with pytest.raises(kind, match=r"movie: the chunk 1\.1\.1 "):
        chunks.read((slice(None),) * 3)
    np.testing.assert_array_equal(chunks.read((slice(0, 2),) * 3), array[0:2, 0:2, 0:2])


def test_several_members_of_gzip_and_zeros_after_them_are_one_chunk(tmp_path: Path) -> None:
    movie = values("<u2")
    array = written(tmp_path / "a", movie, 2, numcodecs.GZip(1), chunks=SHAPE)
    path = tmp_path / "a" / "0.0.0"
    data = movie.tobytes()
    path.write_bytes(
        bytes(numcodecs.GZip(1).encode(data[:100])) + bytes(numcodecs.GZip(1).encode(data[100:])) + bytes(9)
    )
    np.testing.assert_array_equal(array[...], movie)
    np.testing.assert_array_equal(opened(tmp_path / "a").read((slice(None),) * 3), movie)


def test_a_frame_of_zstandard_that_does_not_state_its_size(tmp_path: Path) -> None:
    written(tmp_path / "a", values("<u2", (2, 5, 5)), 2, numcodecs.Zstd(), chunks=(2, 5, 5))

    def frame(data: bytes) -> bytes:
        """A frame by RFC 8878 with one raw block, without the size of its content."""
        return b"\x28\xb5\x2f\xfd\x00\x58" + (1 | len(data) << 3).to_bytes(3, "little") + data

    pixels = values("<u2", (2, 5, 5))
    path = tmp_path / "a" / "0.0.0"
    path.write_bytes(frame(pixels.tobytes()))
    try:
        numcodecs.Zstd().decode(path.read_bytes())
    except RuntimeError:
        pytest.skip("this numcodecs does not read such frames")
    np.testing.assert_array_equal(opened(tmp_path / "a").read((slice(None),) * 3), pixels)
    for data in (pixels.tobytes()[:-2], pixels.tobytes() + b"12"):
        path.write_bytes(frame(data))
        with pytest.raises(CorruptRecordingError, match=r"0\.0\.0 cannot be decoded"):
            opened(tmp_path / "a").read((slice(None),) * 3)


def test_a_missing_chunk_without_a_fill_value_reads_as_in_zarr(tmp_path: Path) -> None:
    array = written(tmp_path / "a", values("<u2"), 2, None, fill_value=None)
    (tmp_path / "a" / "1.1.1").unlink()
    same(opened(tmp_path / "a"), array)


def test_an_array_that_was_moved_is_not_read_as_an_empty_one(tmp_path: Path) -> None:
    written(tmp_path / "a", values("<u2"), 2, None)
    chunks = opened(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    with pytest.raises(SourceNotFoundError, match="moved or deleted"):
        chunks.read((slice(None),) * 3)


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "plain"])
def test_a_chunk_that_decompresses_to_more_is_refused_before_it_is_decompressed(tmp_path: Path, codec: str) -> None:
    written(tmp_path / "a", values("<u2"), 2, CODECS[codec][0])
    bomb = CODECS[codec][0].encode(np.zeros(3 << 22, np.uint8))
    assert len(bomb) < 1 << 16
    (tmp_path / "a" / "0.0.0").write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(CorruptRecordingError, match="decompresses to more than the 48 bytes"):
        opened(tmp_path / "a").read((slice(0, 1),) * 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (9 << 20 if codec == "lzma" else 1 << 20)  # LZMA's own dictionary

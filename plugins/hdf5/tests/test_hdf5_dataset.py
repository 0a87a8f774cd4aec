"""The reading of one dataset: every storage against h5py's own reading, and no byte more than is needed."""

from __future__ import annotations

import pickle
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from roiextractors_hdf5.dataset import Hdf5Dataset

from roiextractors_core.errors import CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError
from roiextractors_core.io import PositionedFile

SHAPE = (17, 24, 40)
STORAGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "frames": {"chunks": (1, 24, 40)},
    "ragged": {"chunks": (3, 7, 11)},
    "gzip": {"chunks": (5, 13, 16), "compression": "gzip"},
    "gzip_frames": {"chunks": (1, 24, 40), "compression": "gzip"},
    "gzip_shuffle": {"chunks": (4, 8, 8), "compression": "gzip", "shuffle": True},
    "gzip_shuffle_checksum": {"chunks": (4, 8, 8), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "checksum": {"chunks": (4, 9, 8), "fletcher32": True},
    "lzf": {"chunks": (4, 8, 8), "compression": "lzf"},
    "lzf_shuffle": {"chunks": (4, 8, 8), "compression": "lzf", "shuffle": True},
    "scale": {"chunks": (4, 8, 8), "scaleoffset": 0},
}
DTYPES = ("<u2", ">u2", "u1", "i1", "<i4", ">i4", "<f4", ">f8", "<f2", ">f2", "?", "<u8", ">i8")


def write(path: Path, array: np.ndarray, how: dict[str, Any], **file_options: Any) -> Path:
    how = {key: value for key, value in how.items() if key != "scaleoffset" or array.dtype.kind in "iu"}
    with h5py.File(path, "w", **file_options) as file:
        file.create_dataset("movie", data=array, **how)
    return path


def numbers(dtype: str, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 120, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("storage", STORAGES)
def test_every_storage_of_every_type_reads_as_it_was_written(tmp_path: Path, storage: str, dtype: str) -> None:
    array = numbers(dtype)
    path = write(tmp_path / "movie.h5", array, STORAGES[storage])
    views = {
        "TYX": array,
        "YXT": array.transpose(2, 0, 1),
        "TXY": array.transpose(0, 2, 1),
        "ZYX": np.moveaxis(array, 0, 2)[None],
    }
    for axes, wanted in views.items():
        dataset = Hdf5Dataset(path, "movie", axes=axes)
        count = dataset.num_samples
        for samples in (
            slice(0, count),
            slice(count // 3, count // 2 + 1),
            slice(1, 1),
            np.array([count - 1, 0, 0, count // 2]),
        ):
            seen = dataset.read(samples)
            np.testing.assert_array_equal(seen, wanted[samples])
            assert seen.dtype == array.dtype.newbyteorder("=")
            assert seen.flags.writeable
            part = dataset.read(samples, slice(3, 9), slice(5, 17))
            np.testing.assert_array_equal(part, wanted[samples][:, 3:9, 5:17])
    planes = Hdf5Dataset(path, "movie", axes="ZYX").read(slice(0, 1), slice(0, 24), slice(2, 3), slice(4, 9))
    np.testing.assert_array_equal(planes, views["ZYX"][:, :, 2:3, 4:9])


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("block", [0, 512, 4096])
@pytest.mark.parametrize("storage", ["plain", "frames", "gzip_shuffle_checksum"])
def test_a_user_block_before_the_file_moves_everything(tmp_path: Path, storage: str, block: int, libver: str) -> None:
    array = numbers("<u2")
    path = write(tmp_path / "movie.mat", array, STORAGES[storage], userblock_size=block, libver=libver)
    np.testing.assert_array_equal(Hdf5Dataset(path, "movie").read(slice(0, 17)), array)


def test_a_fixed_axis_is_left_out(tmp_path: Path) -> None:
    array = numbers("<u2", (5, 3, 8, 9))
    path = write(tmp_path / "movie.h5", array, {"chunks": (2, 1, 8, 9), "compression": "gzip"})
    dataset = Hdf5Dataset(path, "movie", axes="TCYX", fixed={"C": 2})
    np.testing.assert_array_equal(dataset.read(slice(0, 5)), array[:, 2])
    with pytest.raises(UnsupportedRecordingError, match=r"has 3 positions along C; 3 is out of range"):
        Hdf5Dataset(path, "movie", axes="TCYX", fixed={"C": 3})
    with pytest.raises(UnsupportedRecordingError, match=r"does not match the axes 'TYX'"):
        Hdf5Dataset(path, "movie", axes="TYX")


@pytest.mark.parametrize("how", [{}, {"chunks": (4, 8, 8), "compression": "gzip"}])
def test_what_was_never_written_is_the_fill_value(tmp_path: Path, how: dict[str, Any]) -> None:
    path = tmp_path / "fill.h5"
    with h5py.File(path, "w") as file:
        movie = file.create_dataset("movie", SHAPE, "<u2", fillvalue=7, **how)
        if how:
            movie[3:5] = 1
    with h5py.File(path, "r") as file:
        wanted = file["movie"][...]
    assert set(np.unique(wanted)) <= {1, 7}
    np.testing.assert_array_equal(Hdf5Dataset(path, "movie").read(slice(0, 17)), wanted)


def test_filters_that_one_chunk_left_out_are_not_undone(tmp_path: Path) -> None:
    array = numbers("<u2", (4, 6, 8))
    path = tmp_path / "masks.h5"
    with h5py.File(path, "w") as file:
        movie = file.create_dataset("movie", array.shape, "<u2", chunks=(1, 6, 8), compression="gzip", shuffle=True)
        shuffled = array[1].view(np.uint8).reshape(-1, 2).T.tobytes()
        movie.id.write_direct_chunk((0, 0, 0), array[0].tobytes(), 0b11)
        movie.id.write_direct_chunk((1, 0, 0), shuffled, 0b10)
        movie.id.write_direct_chunk((2, 0, 0), zlib.compress(array[2].tobytes()), 0b01)
        movie.id.write_direct_chunk((3, 0, 0), zlib.compress(array[3].view(np.uint8).reshape(-1, 2).T.tobytes()), 0)
    np.testing.assert_array_equal(Hdf5Dataset(path, "movie").read(slice(0, 4)), array)


@pytest.mark.parametrize(("number", "name"), [(32015, "zstd"), (32001, "blosc"), (32004, "lz4h5")])
def test_filters_that_h5py_lacks_are_decoded(tmp_path: Path, number: int, name: str) -> None:
    import imagecodecs

    array = numbers("<u2", (4, 16, 20))
    path = tmp_path / "packed.h5"
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 16, 20))
        plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(array.shape)
        made = h5py.h5d.create(file.id, b"movie", h5py.h5t.STD_U16LE, space, plist)
        for k, frame in enumerate(array):
            made.write_direct_chunk((k, 0, 0), bytes(getattr(imagecodecs, f"{name}_encode")(frame.tobytes())), 0)
    np.testing.assert_array_equal(Hdf5Dataset(path, "movie").read(slice(0, 4)), array)


def test_a_filter_that_nobody_has_is_named(tmp_path: Path) -> None:
    path = tmp_path / "packed.h5"
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 6, 8))
        plist.set_filter(31999, h5py.h5z.FLAG_OPTIONAL, ())
        h5py.h5d.create(file.id, b"movie", h5py.h5t.STD_U16LE, h5py.h5s.create_simple((4, 6, 8)), plist)
    with pytest.raises(
        UnsupportedRecordingError, match=r"uses the HDF5 filter 31999, which is not available.*hdf5plugin"
    ):
        Hdf5Dataset(path, "movie")


def chunk_place(path: Path, cell: tuple[int, ...]) -> tuple[int, int]:
    with h5py.File(path, "r") as file:
        info = file["movie"].id.get_chunk_info_by_coord(cell)
        return info.byte_offset, info.size


@pytest.mark.parametrize("storage", ["gzip_frames", "gzip_shuffle_checksum", "checksum"])
def test_a_flipped_byte_in_a_chunk_is_never_garbage(tmp_path: Path, storage: str) -> None:
    array = np.random.default_rng(1).integers(0, 60000, SHAPE).astype("<u2")
    path = write(tmp_path / "flipped.h5", array, STORAGES[storage])
    offset, size = chunk_place(path, (0, 0, 0))
    content = bytearray(path.read_bytes())
    content[offset + size // 2] ^= 0xFF
    path.write_bytes(content)
    dataset = Hdf5Dataset(path, "movie")
    with pytest.raises(CorruptRecordingError, match=r"the chunk at \(0, 0, 0\) of movie cannot be decoded"):
        dataset.read(slice(0, 1))
    np.testing.assert_array_equal(dataset.read(slice(16, 17)), array[16:])


def test_a_chunk_beyond_the_end_of_the_file_is_said(tmp_path: Path) -> None:
    array = numbers("<u2")
    path = write(tmp_path / "cut.h5", array, STORAGES["gzip_frames"])
    dataset = Hdf5Dataset(path, "movie")
    offset, size = chunk_place(path, (16, 0, 0))
    dataset.read(slice(0, 17))
    with path.open("r+b") as stream:
        stream.truncate(offset + size // 2)
    with pytest.raises(TruncatedRecordingError, match=r"inside a chunk of movie that reaches to byte|was truncated"):
        dataset.read(slice(16, 17))


def test_pixels_beyond_the_end_of_the_file_are_said(tmp_path: Path) -> None:
    array = numbers("<u2")
    path = write(tmp_path / "cut.h5", array, {})
    with h5py.File(path, "r") as file:
        offset = file["movie"].id.get_offset()
    content = bytearray(path.read_bytes())
    at = content.find(struct.pack("<QQ", offset, array.nbytes))
    content[at : at + 8] = struct.pack("<Q", len(content) - 100)
    path.write_bytes(content)
    with pytest.raises((TruncatedRecordingError, CorruptRecordingError), match=r"is truncated|is damaged"):
        Hdf5Dataset(path, "movie").read(slice(0, 17))


def test_only_the_chunks_that_are_touched_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = numbers("<u2", (8, 32, 32))
    path = write(tmp_path / "tiles.h5", array, {"chunks": (2, 8, 8), "compression": "gzip"})
    dataset = Hdf5Dataset(path, "movie")
    asked: list[int] = []
    original = PositionedFile.read

    def noting(self: PositionedFile, offset: int, count: int) -> bytes:
        asked.append(offset)
        return original(self, offset, count)

    monkeypatch.setattr(PositionedFile, "read", noting)
    np.testing.assert_array_equal(
        dataset.read(np.array([5, 0, 4]), slice(9, 15), slice(0, 9)), array[[5, 0, 4], 9:15, :9]
    )
    assert sorted(asked) == sorted(chunk_place(path, cell)[0] for cell in [(0, 8, 0), (0, 8, 8), (4, 8, 0), (4, 8, 8)])


def test_many_chunks_are_found_by_one_look_at_the_index(tmp_path: Path) -> None:
    array = numbers("<u2", (300, 8, 8))
    path = write(tmp_path / "many.h5", array, {"chunks": (1, 8, 8), "compression": "gzip"})
    dataset = Hdf5Dataset(path, "movie")
    for k in (299, 0, 150):
        np.testing.assert_array_equal(dataset.read(slice(k, k + 1)), array[k : k + 1])
    np.testing.assert_array_equal(dataset.read(slice(0, 300)), array)
    np.testing.assert_array_equal(dataset.read(np.arange(299, -1, -1)), array[::-1])


def test_a_large_plain_dataset_is_cropped_without_reading_it_whole(tmp_path: Path) -> None:
    array = numbers("<u2", (60, 128, 256))
    path = write(tmp_path / "crop.h5", array, {})
    for axes, wanted in (("TYX", array), ("YXT", array.transpose(2, 0, 1)), ("XTY", array.transpose(1, 2, 0))):
        dataset = Hdf5Dataset(path, "movie", axes=axes)
        rows, columns = dataset.frame_shape
        for samples in (slice(3, 4), slice(0, dataset.num_samples), np.array([9, 2, 3, 4, 50])):
            for r, c in (
                (slice(0, rows), slice(7, 9)),
                (slice(5, 6), slice(0, columns)),
                (slice(1, rows - 1), slice(2, columns - 2)),
            ):
                np.testing.assert_array_equal(dataset.read(samples, r, c), wanted[samples][:, r, c])


def test_a_dataset_pickles_and_is_read_from_threads(tmp_path: Path) -> None:
    array = numbers("<u2", (64, 24, 40))
    for how in STORAGES.values():
        dataset = pickle.loads(pickle.dumps(Hdf5Dataset(write(tmp_path / "movie.h5", array, how), "movie")))
        wrong: list[str] = []

        def work(start: int, dataset: Hdf5Dataset = dataset, wrong: list[str] = wrong) -> None:
            for k in range(start, 60, 3):
                if not np.array_equal(dataset.read(slice(k, k + 3)), array[k : k + 3]):
                    wrong.append(f"sample {k}")

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        dataset.close()


def test_a_chunk_of_several_samples_is_decoded_once_while_they_are_read_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = numbers("<u2", (20, 16, 16))
    path = write(tmp_path / "long.h5", array, {"chunks": (5, 16, 8), "compression": "gzip"})
    dataset = Hdf5Dataset(path, "movie")
    asked: list[int] = []
    original = PositionedFile.read

    def noting(self: PositionedFile, offset: int, count: int) -> bytes:
        asked.append(offset)
        return original(self, offset, count)

    monkeypatch.setattr(PositionedFile, "read", noting)
    for k in range(20):
        seen = dataset.read(slice(k, k + 1))
        np.testing.assert_array_equal(seen, array[k : k + 1])
        seen[...] = 0
    assert len(asked) == len(set(asked)) == 8
    dataset.close()
    np.testing.assert_array_equal(dataset.read(slice(0, 1)), array[:1])
    assert len(asked) == 10

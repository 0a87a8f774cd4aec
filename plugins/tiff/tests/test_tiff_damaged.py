"""Directories whose numbers contradict each other, as fuzzing found them: refused, and never filled up with zeros."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import roiextractors_core as roi
from roiextractors_core.errors import CorruptRecordingError, StreamChoiceError
from roiextractors_core.testing import NoiseImagingExtractor, write_tiff


@pytest.fixture
def frames() -> np.ndarray:
    rows, columns = np.mgrid[:48, :64]
    return np.stack([(rows * 30 + columns * 7 + 11 * k) % 4000 for k in range(4)]).astype(np.uint16)


def put(path: Path, page: int, tag: str, value: int, *, number: int = 0) -> None:
    """Change a number of a page's tag in place."""
    with tifffile.TiffFile(path) as file:
        found: Any = file.pages[page].tags[tag]
        form, at = found.dataformat[-1], found.valueoffset + number * struct.calcsize(found.dataformat[-1])
        order = file.byteorder
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(struct.pack(order + form, value))


def opened_and_read(path: Path) -> np.ndarray:
    with roi.open(path, format="tiff") as recording:
        return recording.get_series()


def test_jpeg_pages_are_decoded(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:48, :64]
    smooth = np.stack([(rows + columns + 5 * k) for k in range(4)]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "movie.tif", smooth, photometric="minisblack", compression="jpeg")
    found = opened_and_read(tmp_path / "movie.tif")
    np.testing.assert_array_equal(found, tifffile.imread(tmp_path / "movie.tif"))
    np.testing.assert_allclose(found, smooth, atol=3)


def test_each_page_of_jpeg_has_tables_of_its_own(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:48, :64]
    smooth = np.stack([(rows + columns + 5 * k) for k in range(4)]).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "movie.tif") as file:
        for frame, quality in zip(smooth, (95, 20, 60, 95), strict=True):
            file.write(frame, photometric="minisblack", compression="jpeg", compressionargs={"level": quality})
    expected = np.stack([tifffile.imread(tmp_path / "movie.tif", key=k) for k in range(4)])
    assert not np.array_equal(expected[0] + 5, expected[1])
    with roi.open(tmp_path / "movie.tif", format="tiff") as recording:
        np.testing.assert_array_equal(recording.get_series(), expected)
        np.testing.assert_array_equal(recording[1:, 5:20, 8:30], expected[1:, 5:20, 8:30])


def test_pages_of_jpeg_in_other_colours_are_another_series(tmp_path: Path) -> None:
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.zeros((4, 48, 64), np.uint8), photometric="minisblack", compression="jpeg")
    put(path, 2, "PhotometricInterpretation", 2)
    with pytest.raises(StreamChoiceError, match="has the series '0', '1' and '2'"):
        opened_and_read(path)
    assert roi.open(path, format="tiff", series="0").shape == (2, 48, 64)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tile_without_bytes_is_refused(tmp_path: Path, frames: np.ndarray, compression: Any) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack", tile=(16, 32), compression=compression)
    put(tmp_path / "movie.tif", 2, "TileByteCounts", 0, number=3)
    with pytest.raises(CorruptRecordingError, match=r"page \d, segment 3 at byte [\d,]+ has a length of 0 bytes"):
        opened_and_read(tmp_path / "movie.tif")


def test_a_tile_that_was_never_written_is_zero(tmp_path: Path, frames: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", frames[0], photometric="minisblack", tile=(16, 32))
    put(tmp_path / "movie.tif", 0, "TileByteCounts", 0, number=3)
    put(tmp_path / "movie.tif", 0, "TileOffsets", 0, number=3)
    frames[0, 16:32, 32:] = 0
    np.testing.assert_array_equal(opened_and_read(tmp_path / "movie.tif"), frames[:1])


@pytest.mark.parametrize("page", [0, 2])
def test_tiles_of_another_shape_in_one_page_are_refused(tmp_path: Path, frames: np.ndarray, page: int) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack", tile=(16, 32))
    put(tmp_path / "movie.tif", page, "TileLength", 32)
    with pytest.raises(CorruptRecordingError, match=r"segments of 16 rows|segments of 32 rows"):
        opened_and_read(tmp_path / "movie.tif")


def test_strips_that_do_not_cover_the_page_are_refused(tmp_path: Path, frames: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack", rowsperstrip=16, compression="zlib")
    for page in range(4):
        put(tmp_path / "movie.tif", page, "RowsPerStrip", 4)
    with pytest.raises(CorruptRecordingError, match=r"page 0 .* has 3 segments of pixels, expected 12"):
        opened_and_read(tmp_path / "movie.tif")


def test_pixels_inside_the_header_are_refused(tmp_path: Path, frames: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack", rowsperstrip=16, compression="zlib")
    put(tmp_path / "movie.tif", 3, "StripOffsets", 4, number=1)
    with pytest.raises(CorruptRecordingError, match=r"page 3 .* has its pixels at byte 4, inside the file's header"):
        opened_and_read(tmp_path / "movie.tif")


@pytest.mark.parametrize(("tag", "value"), [("StripOffsets", 0), ("ImageLength", 64), ("BitsPerSample", 32)])
def test_an_imagej_stack_that_contradicts_its_strip_is_refused(tmp_path: Path, tag: str, value: int) -> None:
    write_tiff(NoiseImagingExtractor((5, 48, 64), seed=1), tmp_path / "movie.tif", layout="imagej")
    put(tmp_path / "movie.tif", 0, tag, value)
    with pytest.raises(CorruptRecordingError, match="its first directory declares"):
        opened_and_read(tmp_path / "movie.tif")


def test_an_imagej_description_that_is_no_text_is_no_stack(tmp_path: Path) -> None:
    path = write_tiff(NoiseImagingExtractor((5, 8, 9), seed=1), tmp_path / "movie.tif", layout="imagej")
    content = bytearray(path.read_bytes())
    entry = content.index(struct.pack("<HH", 270, 2))
    struct.pack_into("<H", content, entry + 2, 3)
    path.write_bytes(content)
    assert opened_and_read(path).shape == (1, 8, 9)


@pytest.mark.parametrize("digits", ["1" * 5000, "²"])
def test_a_count_of_images_that_is_no_number_is_no_count(tmp_path: Path, digits: str) -> None:
    path = write_tiff(
        NoiseImagingExtractor((5, 8, 9), seed=1), tmp_path / "movie.tif", description=f"ImageJ=1\nimages={digits}"
    )
    assert opened_and_read(path).shape == (5, 8, 9)


def test_files_whose_names_hold_odd_digits_are_sorted(tmp_path: Path) -> None:
    for k, name in enumerate(("1²2.tif", "1²10.tif")):
        write_tiff(NoiseImagingExtractor((1, 8, 9), seed=k), tmp_path / name)
    assert opened_and_read(tmp_path).shape == (2, 8, 9)


def test_of_a_tag_that_is_there_twice_the_first_counts_and_pages_that_differ_are_refused(tmp_path: Path) -> None:
    path = write_tiff(NoiseImagingExtractor((6, 24, 32), "uint16", seed=1), tmp_path / "movie.tif")
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].tags["BitsPerSample"].offset
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(struct.pack("<H", 256))
    with pytest.raises(
        CorruptRecordingError, match=r"page 1 .* 32 columns, 1 x uint16, .* pages before have 24 rows of 32 columns"
    ):
        opened_and_read(path)

"""TIFF: contiguous pages, pages with descriptions as in ScanImage, compressed pages, a million pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from roiextractors_scanimage.testing import write_scanimage
from roiextractors_tiff.pages import PageIndex

import roiextractors_core as roi
from benchmarks import rivals
from benchmarks.conftest import READS, Beside
from roiextractors_core.testing import write_tiff

COUNT, ROWS, COLUMNS = 400, 512, 512
TARGETS = {"sequential": 0.9, "scattered": 0.7, "single": 0.5}
KINDS = {"contiguous": "TIFF, contiguous", "pages": "TIFF, page by page", "scanimage": "ScanImage"}


def movie(count: int = COUNT) -> np.ndarray:
    return np.arange(count * ROWS * COLUMNS, dtype=np.int16).reshape(count, ROWS, COLUMNS)


def of_small_pages(path: Path, count: int) -> Path:
    """Write pages of 16 x 16 bytes, each after its directory; the first page is repeated with shifted offsets."""
    few = roi.NumpyImagingExtractor(np.zeros((3, 16, 16), np.uint8))
    write_tiff(few, path, bigtiff=True)
    content = path.read_bytes()
    first = int.from_bytes(content[8:16], "little")
    with tifffile.TiffFile(path) as file:
        step = file.pages[1].offset - file.pages[0].offset
        pixels = file.pages[0].dataoffsets[0]
        pointer = file.pages.first.tags["StripOffsets"].valueoffset
    entries = int.from_bytes(content[first : first + 8], "little")
    following = first + 8 + 20 * entries
    pages = np.tile(np.frombuffer(content[first : first + step], np.uint8), (count, 1))
    steps = np.arange(count, dtype="<u8") * step
    place = pointer - first
    pages[:, place : place + 8] = (steps + pixels).view(np.uint8).reshape(count, 8)
    chain = steps + first + step
    chain[-1] = 0
    pages[:, following - first : following - first + 8] = chain.view(np.uint8).reshape(count, 8)
    path.write_bytes(content[:first] + pages.tobytes())
    return path


@pytest.fixture(scope="module", params=list(KINDS))
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("movie") / f"{request.param}.tif"
    recording = roi.NumpyImagingExtractor(movie(), sampling_frequency=30.0)
    if request.param == "scanimage":
        return write_scanimage(recording, found)
    if request.param == "pages":
        return write_tiff(recording, found, bigtiff=True)
    tifffile.imwrite(found, movie())
    return found


def others(path: Path) -> dict[str, Callable[[], Any]]:
    with tifffile.TiffFile(path) as file:
        offsets = [int(page.dataoffsets[0]) for page in file.pages]
    name, arguments = (
        ("ScanImageImagingExtractor", ()) if path.stem == "scanimage" else ("TiffImagingExtractor", (30.0,))
    )
    return {
        "os.preadv": partial(rivals.preadv, path, offsets, (ROWS, COLUMNS), np.int16),
        "tifffile": partial(rivals.tifffile, path),
        "roiextractors": partial(rivals.roiextractors, name, str(path), *arguments),
        "pims": partial(rivals.pims, path),
    }


@pytest.mark.parametrize("what", READS)
def test_reading(path: Path, what: str, beside: Beside) -> None:
    with roi.open(path) as recording:
        beside.reading(KINDS[path.stem], what, recording, others(path), targets=TARGETS)


def test_opening(path: Path, beside: Beside) -> None:
    theirs: dict[str, Callable[[], object]] = {"tifffile": partial(num_pages, path)}
    if path.stem == "scanimage":
        theirs["roiextractors"] = partial(rivals.opened, "ScanImageImagingExtractor", str(path))
    else:
        theirs["roiextractors"] = partial(rivals.opened, "TiffImagingExtractor", str(path), 30.0)
    beside(KINDS[path.stem], lambda: roi.open(path).close(), theirs, group="opening", at_most=20)


def num_pages(path: Path) -> None:
    """Read what tifffile needs to read by index: the number of pages."""
    with tifffile.TiffFile(path) as file:
        len(file.pages)


@pytest.mark.parametrize("count", [1000, 10_000, 100_000, 1_000_000])
def test_opening_by_the_number_of_pages(tmp_path: Path, count: int, beside: Beside) -> None:
    path = of_small_pages(tmp_path / "movie.tif", count)
    assert PageIndex.of(path).num_pages == count
    theirs: dict[str, Callable[[], object]] = {"tifffile": partial(num_pages, path)}
    if count <= 10_000:
        theirs["roiextractors"] = partial(rivals.opened, "TiffImagingExtractor", str(path), 30.0)
    beside(
        "opening a TIFF",
        lambda: roi.open(path).close(),
        theirs,
        group="opening",
        growth=("pages", count),
        note="roiextractors is measured up to 10,000 pages",
    )


@pytest.mark.parametrize("count", [1000, 10_000, 100_000, 1_000_000])
def test_reading_a_frame_by_the_number_of_pages(tmp_path: Path, count: int, beside: Beside) -> None:
    path = of_small_pages(tmp_path / "movie.tif", count)

    def ours() -> np.ndarray:
        with roi.open(path) as recording:
            return np.asarray(recording.get_series(count - 2, count - 1)[0])

    beside(
        "opening a TIFF and reading the second-to-last frame",
        ours,
        {"tifffile": lambda: tifffile.imread(path, key=count - 2)},
        group="single",
        growth=("pages", count),
    )


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
def test_compressed_pages(tmp_path: Path, compression: str, beside: Beside) -> None:
    path = tmp_path / "movie.tif"
    noise = np.random.default_rng(0).poisson(20, (100, ROWS, COLUMNS)).astype(np.uint16)
    tifffile.imwrite(path, noise, compression=compression, rowsperstrip=ROWS)
    with roi.open(path) as recording:
        beside.reading(f"TIFF, {compression}", "sequential", recording, {"tifffile": partial(rivals.tifffile, path)})

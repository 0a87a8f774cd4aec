"""OME-TIFF: the XML, one file, and one file per plane."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from roiextractors_ometiff.document import read_document

import roiextractors_core as roi
from benchmarks import rivals
from benchmarks.conftest import READS, Beside

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
COUNT = 400
ROWS = COLUMNS = 512
TARGETS = {"sequential": 0.9, "scattered": 0.7, "single": 0.5}
WAYS = {
    "one_element": "one element for all planes",
    "an_element_a_plane": "one element per plane",
    "an_element_and_a_time_a_plane": "one element and one time per plane",
}


def xml(count: int, data: str, rows: int, columns: int, planes: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{NAMESPACE}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        f'DimensionOrder="XYZCT" Type="uint16" SizeX="{columns}" SizeY="{rows}" SizeZ="1" SizeC="1" SizeT="{count}">'
        f'<Channel ID="Channel:0"/>{data}{planes}</Pixels></Image></OME>'
    ).encode()


def listed(count: int, name: str) -> str:
    """Return XML with one TiffData per plane, as Bio-Formats writes it."""
    return "".join(
        f'<TiffData FirstC="0" FirstT="{t}" FirstZ="0" IFD="{t}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:1</UUID></TiffData>'
        for t in range(count)
    )


def timed(count: int) -> str:
    return "".join(f'<Plane TheC="0" TheT="{t}" TheZ="0" DeltaT="{t / 30}" DeltaTUnit="s"/>' for t in range(count))


def write_sparse(path: Path, count: int, text: bytes, rows: int = 64, columns: int = 64) -> Path:
    """Write equidistant BigTIFF pages, then the XML; the pixels are holes in a sparse file."""
    size, head = rows * columns * 2, 8 + 20 * 11 + 8
    step = head + size
    end = 16 + count * step
    with path.open("wb") as stream:
        stream.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16))
        for k in range(count):
            at = 16 + k * step
            entries = [(256, columns), (257, rows), (258, 16), (259, 1), (262, 1), (270, end), (273, at + head)]
            entries += [(277, 1), (278, rows), (279, size), (339, 1)]
            stream.seek(at)
            stream.write(struct.pack("<Q", len(entries)))
            for code, value in entries:
                kind, number = (2, len(text) + 1) if code == 270 else (16, 1)
                stream.write(struct.pack("<HHQQ", code, kind, number, value))
            stream.write(struct.pack("<Q", at + step if k < count - 1 else 0))
        stream.seek(end)
        stream.write(text + b"\0")
    return path


@pytest.mark.parametrize("count", [1000, 10_000, 100_000])
@pytest.mark.parametrize("way", WAYS)
def test_opening_by_the_number_of_planes(tmp_path: Path, way: str, count: int, beside: Beside) -> None:
    name = "movie.ome.tif"
    data = "<TiffData/>" if way == "one_element" else listed(count, name)
    text = xml(count, data, 64, 64, timed(count) if way.startswith("an_element_and") else "")
    path = write_sparse(tmp_path / name, count, text)
    with roi.open(path) as recording:
        assert len(recording) == count

    def by_tifffile() -> None:
        with tifffile.TiffFile(path) as file:
            assert file.series[0].shape[0] == count

    beside(
        f"opening an OME-TIFF, {WAYS[way]}",
        lambda: roi.open(path).close(),
        {"tifffile": by_tifffile} if count <= 10_000 else {},
        group="opening",
        growth=("planes in an OME-TIFF", count),
        note="tifffile is measured up to 10,000 planes",
    )


@pytest.mark.parametrize("count", [1000, 100_000])
def test_parsing_the_xml(tmp_path: Path, count: int, beside: Beside) -> None:
    from xml.etree import ElementTree

    path = tmp_path / "m.companion.ome"
    path.write_bytes(xml(count, listed(count, "p.ome.tif"), 64, 64, timed(count)))
    beside(
        f"OME-XML of {count:,} planes, all numbers parsed",
        lambda: read_document(str(path)) and None,
        {"ElementTree": lambda: ElementTree.parse(path) and None},
        group="opening",
        note="ElementTree only parses the XML and converts no numbers",
    )


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("movie") / "movie.ome.tif"
    pixels = np.random.default_rng(0).integers(0, 4000, (COUNT, ROWS, COLUMNS)).astype(np.uint16)
    metadata = {"axes": "TYX", "TimeIncrement": 0.1, "TimeIncrementUnit": "s"}
    tifffile.imwrite(path, pixels, metadata=metadata, photometric="minisblack")
    return path


@pytest.mark.parametrize("what", READS)
def test_reading_one_file(movie: Path, what: str, beside: Beside) -> None:
    with tifffile.TiffFile(movie) as file:
        offsets = [int(page.dataoffsets[0]) for page in file.pages]
    others: dict[str, Callable[[], Any]] = {
        "os.preadv": partial(rivals.preadv, movie, offsets, (ROWS, COLUMNS), np.uint16),
        "tifffile": partial(rivals.tifffile, movie),
        "roiextractors": partial(rivals.roiextractors, "OMETiffImagingExtractor", str(movie)),
        "bioio": partial(rivals.bioio, movie),
    }
    with roi.open(movie) as recording:
        beside.reading("OME-TIFF", what, recording, others, targets=TARGETS)


def test_opening(movie: Path, beside: Beside) -> None:
    def by_bioio() -> None:
        import bioio

        bioio.BioImage(str(movie)).shape  # noqa: B018 - what opening has to find

    theirs: dict[str, Callable[[], object]] = {
        "roiextractors": partial(rivals.opened, "OMETiffImagingExtractor", str(movie)),
        "bioio": by_bioio,
    }
    beside("OME-TIFF", lambda: roi.open(movie).close(), theirs, group="opening", at_most=20)


@pytest.fixture(scope="module", params=[512, 64])
def plane_files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, shape = tmp_path_factory.mktemp("set"), (request.param, request.param)
    paths = [folder / f"c_T{t:05d}.ome.tif" for t in range(600)]
    data = "".join(
        f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1"><UUID FileName="{path.name}">urn:uuid:{t:04d}</UUID></TiffData>'
        for t, path in enumerate(paths)
    )
    (folder / "c.companion.ome").write_bytes(xml(len(paths), data, *shape))
    rng = np.random.default_rng(0)
    for t, path in enumerate(paths):
        only = f'<OME xmlns="{NAMESPACE}" UUID="urn:uuid:{t:04d}"><BinaryOnly MetadataFile="c.companion.ome" UUID="urn:uuid:m"/></OME>'
        pixels = rng.integers(0, 4000, shape).astype(np.uint16)
        tifffile.imwrite(path, pixels, description=only, metadata=None)
    return paths


@pytest.mark.parametrize("what", ["opening", "sequential", "scattered"])
def test_a_set_of_files_of_one_plane(plane_files: list[Path], what: str, beside: Beside) -> None:
    with tifffile.TiffFile(plane_files[0]) as file:
        offset, shape = int(file.pages[0].dataoffsets[0]), file.pages[0].shape
    row = f"OME-TIFF, {len(plane_files)} files of {shape[0]} x {shape[1]}"
    if what == "opening":
        beside(row, lambda: roi.open(plane_files[7]).close(), group="opening")
        return
    others = {"os.preadv": partial(rivals.preadv_files, plane_files, offset, shape, np.uint16)}
    with roi.open(plane_files[7]) as recording:
        beside.reading(row, what, recording, others, targets={"sequential": 0.7, "scattered": 0.7})

"""Opening and reading OME-TIFF against the physical limit, measured side by side in one run."""

from __future__ import annotations

import functools
import os
import statistics
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from roiextractors_ometiff.document import read_document

import roiextractors_core as roi

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
ROWS = COLUMNS = 512


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    result = call()
    took = time.perf_counter() - started
    del result
    return took


def ratio(limit: Callable[[], object], ours: Callable[[], object], rounds: int = 7) -> float:
    pairs = [(seconds(limit), seconds(ours)) for _ in range(rounds)]
    return statistics.median(a / b for a, b in pairs[1:])


def xml(count: int, data: str, rows: int, columns: int, planes: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{NAMESPACE}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        f'DimensionOrder="XYZCT" Type="uint16" SizeX="{columns}" SizeY="{rows}" SizeZ="1" SizeC="1" SizeT="{count}">'
        f'<Channel ID="Channel:0"/>{data}{planes}</Pixels></Image></OME>'
    ).encode()


def listed(count: int, name: str) -> str:
    """One TiffData a plane, as Bio-Formats writes them."""
    return "".join(
        f'<TiffData FirstC="0" FirstT="{t}" FirstZ="0" IFD="{t}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:1</UUID></TiffData>'
        for t in range(count)
    )


def timed(count: int) -> str:
    return "".join(f'<Plane TheC="0" TheT="{t}" TheZ="0" DeltaT="{t / 30}" DeltaTUnit="s"/>' for t in range(count))


def write_sparse(path: Path, count: int, text: bytes, rows: int = 64, columns: int = 64) -> Path:
    """Write BigTIFF pages at equal distances, the XML behind the last; the pixels are holes."""
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


@pytest.mark.parametrize("way", ["one_element", "an_element_a_plane", "an_element_and_a_time_a_plane"])
def test_opening_a_thousand_and_a_hundred_thousand_planes(tmp_path: Path, way: str) -> None:
    took = {}
    for count in (1000, 100_000):
        name = f"{count}.ome.tif"
        data = "<TiffData/>" if way == "one_element" else listed(count, name)
        text = xml(count, data, 64, 64, timed(count) if way.startswith("an_element_and") else "")
        path = write_sparse(tmp_path / name, count, text)
        with roi.open(path) as recording:
            assert len(recording) == count
        took[count] = statistics.median(seconds(lambda path=path: roi.open(path).close()) for _ in range(7))
    print(
        f"\n{way}: opening 1,000 planes {took[1000] * 1e3:.2f} ms, 100,000 planes {took[100_000] * 1e3:.2f} ms "
        f"({took[100_000] / took[1000]:.1f} times)"
    )


def test_parsing_against_the_standard_librarys_tree(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    path = tmp_path / "m.companion.ome"
    path.write_bytes(xml(100_000, listed(100_000, "p.ome.tif"), 64, 64, timed(100_000)))
    found = ratio(lambda: ElementTree.parse(path), lambda: read_document(str(path)), rounds=5)
    took = seconds(lambda: read_document(str(path)))
    print(
        f"\n{path.stat().st_size >> 20} MiB of XML: {took:.2f} s; a tree of it (with no number read yet) / ours: {found:.2f}"
    )


def test_reading_one_file_against_preadv(tmp_path: Path) -> None:
    count = 1000
    movie = np.random.default_rng(0).integers(0, 4000, (count, ROWS, COLUMNS)).astype(np.uint16)
    path = tmp_path / "movie.ome.tif"
    tifffile.imwrite(path, movie, metadata={"axes": "TYX"}, photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        offsets = [int(page.dataoffsets[0]) for page in file.pages]
    recording = roi.open(path)
    descriptor = os.open(path, os.O_RDONLY)

    def whole() -> np.ndarray:
        result = np.empty(movie.nbytes, np.uint8)
        os.preadv(descriptor, [result], offsets[0])
        return result

    def scattered() -> np.ndarray:
        result = np.empty((len(indices), ROWS, COLUMNS), np.uint16)
        for frame, k in zip(result, indices, strict=True):
            os.preadv(descriptor, [frame], offsets[k])
        return result

    indices = np.random.default_rng(1).permutation(count)[:200].tolist()
    assert np.array_equal(recording[500], movie[500])
    print(f"\n1,000 consecutive frames, preadv / ours: {ratio(whole, recording.get_series):.2f} (wanted >= 0.9)")
    print(f"200 scattered frames: {ratio(scattered, lambda: recording.get_samples(indices)):.2f} (wanted >= 0.7)")
    limit = statistics.median(
        seconds(lambda k=k: os.preadv(descriptor, [np.empty((ROWS, COLUMNS), np.uint16)], offsets[k])) for k in indices
    )
    ours = statistics.median(seconds(functools.partial(recording.get_series, k, k + 1)) for k in indices)
    print(f"one frame of {ROWS} x {COLUMNS}: {ours * 1e3:.3f} ms, preadv alone {limit * 1e3:.3f} ms")
    os.close(descriptor)


@pytest.mark.parametrize("shape", [(ROWS, COLUMNS), (64, 64)])
def test_a_set_of_files_of_one_plane_against_readinto(tmp_path: Path, shape: tuple[int, int]) -> None:
    count = 1200
    names = [f"c_T{t:05d}.ome.tif" for t in range(count)]
    data = "".join(
        f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{t}</UUID></TiffData>'
        for t, name in enumerate(names)
    )
    (tmp_path / "c.companion.ome").write_bytes(xml(count, data, *shape))
    rng = np.random.default_rng(0)
    for t, name in enumerate(names):
        only = f'<OME xmlns="{NAMESPACE}" UUID="urn:uuid:{t}"><BinaryOnly MetadataFile="c.companion.ome" UUID="urn:uuid:m"/></OME>'
        tifffile.imwrite(
            tmp_path / name, rng.integers(0, 4000, shape).astype(np.uint16), description=only, metadata=None
        )
    with tifffile.TiffFile(tmp_path / names[0]) as file:
        offset = int(file.pages[0].dataoffsets[0])
    path = tmp_path / names[7]
    took = statistics.median(seconds(lambda: roi.open(path).close()) for _ in range(5))
    recording = roi.open(path)

    def plain() -> np.ndarray:
        result = np.empty((count, *shape), np.uint16)
        for frame, name in zip(result, names, strict=True):
            with open(tmp_path / name, "rb", buffering=0) as stream:
                stream.seek(offset)
                stream.readinto(memoryview(frame).cast("B"))
        return result

    assert np.array_equal(plain(), recording.get_series())
    print(f"\n{count:,} files of {shape[0]} x {shape[1]}: opening the set {took * 1e3:.1f} ms")
    print(
        f"reading the set, open().readinto / ours: {ratio(plain, recording.get_series, rounds=5):.2f} (wanted >= 0.7)"
    )

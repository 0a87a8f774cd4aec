"""Prairie View, one frame per file, compared with listing the folder, parsing the XML and plain reads."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import pytest

import roiextractors_core as roi
from benchmarks import rivals
from benchmarks.conftest import READS, Beside

NAME = "TSeries-01022024-0930-001"
FRAME = (
    '    <Frame relativeTime="{time}" absoluteTime="{since}" index="{index}" parameterSet="CurrentSettings">\r\n'
    '      <File channel="2" channelName="Ch2" filename="{file}" />\r\n'
    '      <ExtraParameters lastGoodFrame="0" />\r\n'
    "      <PVStateShard>\r\n"
    '        <PVStateValue key="framePeriod" value="0.033474355" />\r\n'
    '        <PVStateValue key="scanLinePeriod" value="6.314E-05" />\r\n'
    "      </PVStateShard>\r\n"
    "    </Frame>\r\n"
)


def file_name(number: int) -> str:
    return f"{NAME}_Cycle00001_Ch2_{number + 1:06d}.ome.tif"


def write_xml(folder: Path, count: int) -> None:
    with (folder / f"{NAME}.xml").open("w") as stream:
        stream.write(
            '<?xml version="1.0" encoding="utf-8"?>\r\n<PVScan version="5.6.64.400" date="1/2/2024 9:30:09 AM">\r\n'
        )
        stream.write('<PVStateShard />\r\n<Sequence type="TSeries Timed Element" cycle="1" time="09:30:10.5">\r\n')
        for k in range(count):
            seconds = round(k * 0.033474355, 9)
            stream.write(FRAME.format(time=seconds, since=seconds + 2.143, index=k + 1, file=file_name(k)))
        stream.write("</Sequence>\r\n</PVScan>")


def one_frame(rows: int) -> bytes:
    """Return a TIFF file of one frame: strips of eight rows, their tables, the directory, the text."""
    strips, step = rows // 8, rows * 16
    tables = 8 + rows * rows * 2
    directory = tables + 8 * strips
    tags = [
        (256, 4, 1, rows),
        (257, 4, 1, rows),
        (258, 3, 1, 16),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (270, 2, 481, directory + 2 + 9 * 12 + 4),
        (273, 4, strips, tables),
        (278, 4, 1, 8),
        (279, 4, strips, tables + 4 * strips),
    ]
    content = struct.pack("<2sHI", b"II", 42, directory) + bytes(rows * rows * 2)
    content += struct.pack(f"<{strips}I", *(8 + k * step for k in range(strips))) + struct.pack("<I", step) * strips
    content += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return content + bytes(4) + b"<OME/>".ljust(481, b"\0")


def listing(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def parse(path: Path) -> int:
    """Parse with a handler that only counts elements: the minimum that any use of the XML needs."""
    count = 0

    def start(_tag: str, _attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    with path.open("rb") as stream:
        parser.ParseFile(stream)
    return count


def written(folder: Path, count: int, rows: int) -> Path:
    folder.mkdir()
    write_xml(folder, count)
    content = one_frame(rows)
    for k in range(count):
        (folder / file_name(k)).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("recording") / NAME, 500, 512)


@pytest.mark.parametrize("what", READS)
def test_reading_files_of_one_frame(folder: Path, what: str, beside: Beside) -> None:
    paths = [folder / file_name(k) for k in range(500)]
    others: dict[str, Callable[[], Any]] = {
        "os.preadv": partial(rivals.preadv_files, paths, 8, (512, 512), np.uint16),
        "tifffile": partial(rivals.tifffile, paths),
        "roiextractors": partial(rivals.roiextractors, "BrukerTiffSinglePlaneImagingExtractor", str(folder)),
    }
    with roi.open(folder) as recording:
        beside.reading("Prairie View, 500 files", what, recording, others, targets={"sequential": 0.8})


@pytest.mark.parametrize("count", [1000, 10_000])
@pytest.mark.parametrize("by", ["folder", "XML"])
def test_opening_by_the_number_of_files(tmp_path: Path, count: int, by: str, beside: Beside) -> None:
    folder = written(tmp_path / NAME, count, 64)
    xml = folder / f"{NAME}.xml"
    path = folder if by == "folder" else xml
    theirs: dict[str, Callable[[], object]] = {"listing and parse": lambda: [len(listing(folder)), parse(xml)]}
    if count == 1000:
        name = "BrukerTiffSinglePlaneImagingExtractor"
        theirs["roiextractors"] = partial(rivals.opened, name, str(folder))
    beside(
        f"opening a Prairie View recording by its {by}",
        lambda: roi.open(path).close(),
        theirs,
        group="opening",
        limit="listing and parse",
        at_least=0.33,
        growth=("files", count),
        note="the limit lists the folder once and counts the elements of the XML",
    )


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 470,000 frames, with one in a thousand of its files."""
    folder = tmp_path_factory.mktemp("long") / NAME
    folder.mkdir()
    write_xml(folder, 470_000)
    for k in range(0, 470_000, 1000):
        (folder / file_name(k)).write_bytes(one_frame(64))
    return folder / f"{NAME}.xml"


def incomplete(xml: Path) -> roi.ImagingExtractor:
    with pytest.warns(roi.IncompleteRecordingWarning):
        return roi.open(xml, allow_missing=True)


def test_opening_half_a_million_files_of_which_few_are_there(long: Path, beside: Beside) -> None:
    beside(
        "Prairie View, XML of 470,000 frames",
        lambda: incomplete(long).close(),
        {"parse": partial(parse, long)},
        group="opening",
        limit="parse",
        at_least=0.33,
        rounds=3,
    )


def test_memory_of_opening_half_a_million_files(long: Path, beside: Beside) -> None:
    beside.memory("Prairie View, opening an XML of 470,000 frames", lambda: incomplete(long).close(), {}, at_most=256)

"""Prairie View recordings of one frame a file against the limits: one listing and the parse of the XML; plain reads of the same files."""

from __future__ import annotations

import os
import statistics
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from xml.parsers import expat

import numpy as np
import pytest

import roiextractors_core as roi

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
    """A file of one frame: pixels in strips of eight rows, their tables, the directory, the text."""
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


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    result = call()
    took = time.perf_counter() - started
    del result
    return took


def listing(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def parse(path: Path) -> int:
    """Parse with a handler that counts the elements: the least that any use of the XML must do."""
    count = 0

    def start(_tag: str, _attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    with path.open("rb") as stream:
        parser.ParseFile(stream)
    return count


@pytest.mark.parametrize(("count", "rows"), [(10_000, 128), (2_000, 512)])
def test_opening_and_reading_files_of_one_frame(tmp_path: Path, count: int, rows: int) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    write_xml(folder, count)
    content = one_frame(rows)
    for k in range(count):
        (folder / file_name(k)).write_bytes(content)
    xml = folder / f"{NAME}.xml"
    roi.open(folder).close()
    pairs = [
        (
            seconds(lambda: (listing(folder), parse(xml))),
            seconds(lambda: roi.open(folder)),
            seconds(lambda: roi.open(xml)),
        )
        for _ in range(7)
    ]
    least, ours, by_xml = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"\n{count:,} files: listing and parse {least * 1e3:.1f} ms; roi.open(folder) / that: {ours / least:.2f}, roi.open(xml) / that: "
        f"{by_xml / least:.2f} (wanted <= 3)"
    )
    recording = roi.open(folder)
    paths = [folder / file_name(k) for k in range(count)]

    def plainly() -> np.ndarray:
        result = np.empty((count, rows, rows), np.uint16)
        for path, frame in zip(paths, result, strict=True):
            with open(path, "rb") as stream:
                stream.readinto(frame)
        return result

    reads = [(seconds(plainly), seconds(recording.get_series)) for _ in range(6)]
    found = statistics.median(a / b for a, b in reads[1:])
    print(f"{count:,} files of {rows} x {rows}: open().readinto / ours: {found:.2f} (wanted >= 0.8)")
    one = statistics.median(seconds(lambda k=k: recording.get_series(k, k + 1)) for k in range(0, count, 17))
    print(f"one frame of {rows} x {rows}: {one * 1e3:.3f} ms")


def test_half_a_million_files_of_which_one_is_there(tmp_path: Path) -> None:
    count = 470_000
    folder = tmp_path / NAME
    folder.mkdir()
    write_xml(folder, count)
    for k in range(0, count, 1000):
        (folder / file_name(k)).write_bytes(one_frame(64))
    xml = folder / f"{NAME}.xml"
    least = seconds(lambda: parse(xml))
    with pytest.warns(roi.IncompleteRecordingWarning):
        took = seconds(lambda: roi.open(xml, allow_missing=True))
    tracemalloc.start()
    with pytest.warns(roi.IncompleteRecordingWarning):
        recording = roi.open(xml, allow_missing=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(
        f"\nan XML of {xml.stat().st_size >> 20} MiB and {count:,} frames: parse {least:.2f} s, opened in {took:.2f} s "
        f"({took / least:.2f}), peak {peak >> 20} MiB, {len(recording):,} frames there"
    )

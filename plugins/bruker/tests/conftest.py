"""Writes Prairie View recordings, by text and struct alone; shares no code with the plugin.

The elements, their attributes and their order are those of real PVScan files (versions 5.6 and 5.8), and for versions
before 5.2 those of Bio-Formats' description (``Key`` elements); the TIFF files lie as real ones do: pixels in strips of
eight rows, then the tables of the strips, the directory, and the text behind it.
"""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, or a skip."""
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip(f"the real recordings are not at {folder}; ROIEXTRACTORS_TEST_DATA names another place")
    return folder


@pytest.fixture
def prairie(tmp_path: Path) -> Callable[..., Prairie]:
    """A recording to be written, in a folder of its own name."""

    def made(name: str = "TSeries-01022024-0930-001", **more: Any) -> Prairie:
        return Prairie(tmp_path / name, **more)

    return made


@pytest.fixture
def frames() -> Callable[..., np.ndarray]:
    """Frames of which every pixel tells the frame and the place."""

    def made(count: int, rows: int = 20, columns: int = 12, *, offset: int = 0) -> np.ndarray:
        places = np.arange(rows * columns).reshape(rows, columns)
        return ((np.arange(count)[:, None, None] * 300 + places + offset) % 60000).astype(np.uint16)

    return made


@pytest.fixture
def tiff() -> Callable[..., bytes]:
    """The bytes of a TIFF file as Prairie View writes it."""
    return tiff_bytes


def tiff_bytes(pages: np.ndarray, *, software: str = "Prairie View 5.6.64.40", text: str = "<OME/>") -> bytes:
    content = b"II*\0" + bytes(4)
    link = 4
    for page in pages:
        rows, columns = page.shape
        strips = [page[top : top + 8].astype("<u2").tobytes() for top in range(0, rows, 8)]
        begin = len(content)
        starts = [begin + sum(map(len, strips[:k])) for k in range(len(strips))]
        tables = begin + sum(map(len, strips))
        content += b"".join(strips)
        content += struct.pack(f"<{len(strips)}I", *starts) + struct.pack(f"<{len(strips)}I", *map(len, strips))
        maker = len(content)
        content += software.encode().ljust(22, b"\0")[:22]
        directory = len(content)
        behind = directory + 2 + 12 * 12 + 4
        described = text.encode() + b"\0"
        content = content[:link] + struct.pack("<I", directory) + content[link + 4 :]
        content += struct.pack("<H", 12)
        for code, kind, count, value in (
            (254, 4, 1, 0),
            (256, 4, 1, columns),
            (257, 4, 1, rows),
            (258, 3, 1, 16),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (270, 2, len(described), behind),
            (273, 4, len(strips), tables if len(strips) > 1 else begin),
            (278, 4, 1, 8),
            (279, 4, len(strips), tables + 4 * len(strips) if len(strips) > 1 else len(strips[0])),
            (305, 2, 22, maker),
            (317, 3, 1, 1),
        ):
            content += struct.pack("<HHII", code, kind, count, value)
        link = len(content)
        content += bytes(4) + described
    return content


class Prairie:
    """A PVScan XML and its TIFF files, written piece by piece."""

    def __init__(self, folder: Path, *, version: str = "5.6.64.400", period: float = 0.033, old: bool = False) -> None:
        self.folder = folder
        self.name = folder.name
        folder.mkdir(parents=True)
        self.old = old
        self.version = version
        self.period = period
        self.uuids = ""  # of which recording the files say that they are; empty if they say nothing
        self.sequences: list[str] = []
        self.files: dict[str, list[np.ndarray]] = {}
        self.suffix = ".tif" if old else ".ome.tif"
        self.state = self.setting("activeMode", "ResonantGalvo") + self.setting("bitDepth", "13")
        self.state += self.setting("framePeriod", str(period))

    @property
    def xml(self) -> Path:
        return self.folder / f"{self.name}.xml"

    def setting(self, key: str, value: Any) -> str:
        """One setting: text, or a mapping of indices to text, or of indices to lists (subindexed)."""
        if self.old:
            return self.old_setting(key, value)
        if isinstance(value, str):
            return f'<PVStateValue key="{key}" value="{value}" />\n'
        inside = ""
        for index, item in value.items():
            if isinstance(item, list):
                parts = "".join(
                    f'<SubindexedValue subindex="{k}" value="{part}" description="Z{k}" />'
                    for k, part in enumerate(item)
                )
                inside += f'<SubindexedValues index="{index}">{parts}</SubindexedValues>'
            else:
                inside += f'<IndexedValue index="{index}" value="{item}" />'
        return f'<PVStateValue key="{key}">{inside}</PVStateValue>\n'

    def old_setting(self, key: str, value: Any) -> str:
        if isinstance(value, str):
            return f'<Key key="{key}" permissions="Read, Write, Save" value="{value}" />\n'
        return "".join(
            f'<Key key="{key}_{index}" permissions="Write, Save" value="{",".join(item) if isinstance(item, list) else item}" />\n'
            for index, item in value.items()
        )

    def sequence(
        self,
        cycle: int,
        frames: Sequence[str],
        *,
        kind: str = "TSeries Timed Element",
        time: str = "09:30:10.5000000",
        more: str = "",
    ) -> None:
        said = f' time="{time}"' if time else ""
        shard = "" if self.old else "<PVStateShard />\n"
        self.sequences.append(
            f'<Sequence type="{kind}" cycle="{cycle}"{said} {more}>\n{shard}{"".join(frames)}</Sequence>\n'
        )

    def frame(
        self,
        index: int,
        relative: float,
        absolute: float | None,
        files: Sequence[tuple[int, str, str, int | None, np.ndarray]],
        *,
        period: float | None = None,
        z: Sequence[str] | None = None,
        more: str = "",
    ) -> str:
        """One frame; each of its files is a channel's number and name, the file's name, the page (or None), the pixels."""
        text = f'<Frame relativeTime="{relative!r}"'
        text += "" if absolute is None else f' absoluteTime="{absolute!r}"'
        text += f' index="{index}" parameterSet="CurrentSettings">\n'
        for number, name, file, page, pixels in files:
            self.files.setdefault(file, []).append(pixels)
            called = f' channelName="{name}"' if name else ""
            paged = "" if page is None else f' page="{page}"'
            text += f'<File channel="{number}"{called}{paged} filename="{file}" />\n'
        text += '<ExtraParameters lastGoodFrame="0" />\n<PVStateShard>\n'
        text += "" if period is None else self.setting("framePeriod", str(period))
        text += "" if z is None else self.setting("positionCurrent", {"XAxis": ["1.5"], "ZAxis": list(z)})
        return text + more + "</PVStateShard>\n</Frame>\n"

    def file(self, cycle: int, channel: int, number: int) -> str:
        if self.old:
            return f"{self.name}_Cycle{cycle:03d}_CurrentSettings_Ch{channel}_{number:06d}{self.suffix}"
        return f"{self.name}_Cycle{cycle:05d}_Ch{channel}_{number:06d}{self.suffix}"

    def text(self) -> str:
        state = "" if self.old else f"<PVStateShard>\n{self.state}</PVStateShard>\n"
        return (
            f'<?xml version="1.0" encoding="utf-8"?>\n<PVScan version="{self.version}" date="1/2/2024 9:30:09 PM" notes="">\n'
            f'<SystemIDs SystemID="E8D0"><SystemID SystemID="4886" Description="RIG" /></SystemIDs>\n{state}'
            f"{''.join(self.sequences)}</PVScan>"
        )

    def write(self) -> Path:
        """Write all, and return the folder."""
        self.xml.write_bytes(b"\xef\xbb\xbf" + self.text().replace("\n", "\r\n").encode())
        for number, (name, pages) in enumerate(self.files.items()):
            text = "<OME>" + "x" * (30000 if number == 0 else number % 3) + "</OME>"
            if self.uuids:
                text = self.ome(number)
            (self.folder / name).write_bytes(tiff_bytes(np.stack(pages), text=text))
        return self.folder

    def uuid(self, number: int) -> str:
        """The UUID of a file."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.uuids} {number}"))

    def ome(self, number: int) -> str:
        """The OME-XML of a file: the first lists all, and the others refer to it."""
        names = list(self.files)
        if number:
            inside = f'<BinaryOnly MetadataFile="{names[0]}" UUID="urn:uuid:{self.uuid(0)}"/>'
        else:
            inside = "".join(
                f'<TiffData IFD="0"><UUID FileName="{name}">urn:uuid:{self.uuid(k)}</UUID></TiffData>'
                for k, name in enumerate(names)
            )
        return f'<?xml version="1.0"?><OME xmlns="http://ome" UUID="urn:uuid:{self.uuid(number)}">{inside}</OME>'

    def movie(
        self,
        movies: dict[tuple[int, str], np.ndarray],
        *,
        bursts: Sequence[int] | None = None,
        starts: Sequence[float] = (0.0,),
        restart: bool = True,
        paged: bool = False,
        kind: str = "TSeries Timed Element",
        absolute: bool = True,
        times: Sequence[str] = ("09:30:10.5000000",),
    ) -> np.ndarray:
        """Add frames in bursts, each a sequence; returns their times."""
        count = len(next(iter(movies.values())))
        done, expected = 0, []
        for cycle, length in enumerate(bursts or [count], start=1):
            begin = starts[cycle - 1]
            texts = []
            for k in range(length):
                relative = round(k * self.period + (0 if restart else begin), 9)
                expected.append(begin + k * self.period)
                files = [
                    (
                        number,
                        name,
                        self.file(cycle, number, 1 if paged else k + 1),
                        k + 1 if paged else None,
                        movie[done + k],
                    )
                    for (number, name), movie in movies.items()
                ]
                since = 6.71 + begin + round(k * self.period, 9) if absolute else None
                more = self.state if self.old else ""
                texts.append(self.frame(k + 1, relative, since, files, period=self.period, more=more))
            self.sequence(cycle, texts, kind=kind, time=times[min(cycle, len(times)) - 1])
            done += length
        return np.array(expected)

    def volumes(
        self,
        movies: dict[tuple[int, str], np.ndarray],
        *,
        depths: Sequence[Sequence[str]],
        step: float,
        starts: Sequence[float] | None = None,
        restart: bool = False,
        turned: bool = False,
        paged: bool = False,
    ) -> np.ndarray:
        """Add volumes ``(volumes, rows, columns, planes)``, each a sequence; returns the time of each one's beginning."""
        count, planes = next(iter(movies.values())).shape[0], len(depths)
        begins = np.arange(count) * step if starts is None else np.asarray(starts)
        for volume, begin in enumerate(begins.tolist()):
            order = range(planes)[::-1] if turned and volume % 2 else range(planes)
            texts = []
            for k, plane in enumerate(order):
                relative = round(k * self.period + (0 if restart else begin), 9)
                files = [
                    (
                        number,
                        name,
                        self.file(volume + 1, number, 1 if paged else k + 1),
                        k + 1 if paged else None,
                        movie[volume, :, :, plane],
                    )
                    for (number, name), movie in movies.items()
                ]
                texts.append(
                    self.frame(k + 1, relative, 6.71 + begin + round(k * self.period, 9), files, z=depths[plane])
                )
            self.sequence(volume + 1, texts, kind="TSeries ZSeries Element", more='bidirectionalZ="False"')
        return begins

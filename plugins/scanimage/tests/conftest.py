"""Writes ScanImage files by struct alone, laid out as the files of real microscopes; shares no code with the plugin."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Entry = tuple[int, int, int, int]
STRIDE = 8


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, or a skip."""
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip(f"the real recordings are not at {folder}; ROIEXTRACTORS_TEST_DATA names another place")
    return folder


@pytest.fixture
def write_bigtiff() -> Callable[..., Path]:
    return _write_bigtiff


@pytest.fixture
def write_classic() -> Callable[..., Path]:
    return _write_classic


@pytest.fixture
def header_text() -> Callable[..., str]:
    return _header_text


@pytest.fixture
def page_texts() -> Callable[..., list[str]]:
    return _page_texts


@pytest.fixture
def numbered_frames() -> Callable[..., np.ndarray]:
    return _numbered_frames


def _numbered_frames(count: int, rows: int = 4, columns: int = 6) -> np.ndarray:
    """Frames whose every pixel tells the page and the place: ``page * 100 + row * columns + column``."""
    places = np.arange(rows * columns).reshape(rows, columns)
    return (np.arange(count)[:, None, None] * 100 + places).astype("<i2")


MODERN: Mapping[str, str] = {
    "SI.LINE_FORMAT_VERSION": "1",
    "SI.TIFF_FORMAT_VERSION": "4",
    "SI.VERSION_MAJOR": "2023",
    "SI.VERSION_MINOR": "1",
    "SI.VERSION_UPDATE": "0",
    "SI.acqState": "'grab'",
    "SI.hChannels.channelName": "{'Channel 1' 'Channel 2' 'Channel 3' 'Channel 4'}",
    "SI.hChannels.channelSave": "1",
    "SI.hChannels.channelsActive": "1",
    "SI.hFastZ.enable": "false",
    "SI.hRoiManager.imagingFovUm": "[-12 -4;12 -4;12 4;-12 4]",
    "SI.hRoiManager.mroiEnable": "false",
    "SI.hRoiManager.scanFrameRate": "30.5",
    "SI.hRoiManager.scanVolumeRate": "30.5",
    "SI.hScan2D.logAverageFactor": "1",
    "SI.hScan2D.logFramesPerFile": "Inf",
    "SI.hStackManager.actualNumSlices": "1",
    "SI.hStackManager.enable": "false",
    "SI.hStackManager.framesPerSlice": "1",
    "SI.hStackManager.numFramesPerVolume": "1",
    "SI.hStackManager.numFramesPerVolumeWithFlyback": "1",
    "SI.hStackManager.numSlices": "1",
    "SI.hStackManager.stackMode": "'fast'",
    "SI.objectiveResolution": "15",
}


def _header_text(changes: Mapping[str, str | None] | None = None, *, prefix: str = "", end: str = "\n") -> str:
    """A header of 2023 with some keys changed, or taken out by None."""
    lines = {**MODERN, **(changes or {})}
    return "".join(f"{prefix}{key} = {value}{end}" for key, value in lines.items() if value is not None)


def _page_texts(
    num_pages: int,
    *,
    channels: int = 1,
    first: int = 1,
    step: int = 1,
    period: float = 0.1,
    epoch: str = "[2024  3 21 9 5 7.25]",
) -> list[str]:
    """What ScanImage writes on each page; the time is the frame number's, less one, in periods."""
    numbers = [first + page // channels * step for page in range(num_pages)]
    return [
        f"frameNumbers = {n}\nacquisitionNumbers = 1\nframeNumberAcquisition = {n}\n"
        f"frameTimestamps_sec = {(n - 1) * period:.9f}\nacqTriggerTimestamps_sec = -0.000019700\n"
        f"nextFileMarkerTimestamps_sec = -1.000000000\nendOfAcquisition = 0\nepoch = {epoch}\n"
        "auxTrigger0 = []\nI2CData = {}\n"
        for n in numbers
    ]


def _write_bigtiff(
    path: Path,
    text: str,
    descriptions: Sequence[str],
    frames: np.ndarray,
    *,
    regions: str = '{"RoiGroups": {}}',
    static: bool = True,
    padded: int = 400,
) -> Path:
    """Write header block, then for each page its directory, its padded description and its pixels."""
    software, artist = text.encode() + b"\0", regions.encode() + b"\0"
    block = struct.pack("<4I", 117637889, 4, len(software), len(artist)) if static else bytes(16)
    data = bytearray(b"II+\0" + struct.pack("<HHQ", 8, 0, 0) + block + software + artist)
    rows, columns = frames.shape[1:]
    following = 8
    for description, frame in zip(descriptions, frames, strict=True):
        data += bytes(-len(data) % STRIDE)
        struct.pack_into("<Q", data, following, len(data))
        words = description.encode().ljust(padded) + b"\0"
        assert len(words) == padded + 1
        start = len(data)
        behind = start + 8 + 16 * 20 + 8
        pixels = behind + len(words) + -(behind + len(words)) % STRIDE
        entries: list[Entry] = [
            (256, 3, 1, columns),
            (257, 3, 1, rows),
            (258, 3, 1, 16),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (270, 2, len(words), behind),
            (273, 16, 1, pixels),
            (274, 3, 1, 1),
            (277, 3, 1, 1),
            (278, 3, 1, rows),
            (279, 16, 1, frame.nbytes),
            (284, 3, 1, 1),
            (296, 3, 1, 3),
            (305, 2, len(software), 32),
            (315, 2, len(artist), 32 + len(software)),
            (339, 3, 1, 2),
        ]
        data += struct.pack("<Q", len(entries))
        for entry in entries:
            data += struct.pack("<HHQQ", *entry)
        following = len(data)
        data += bytes(8) + words
        data += bytes(pixels - len(data)) + frame.astype("<i2").tobytes()
    path.write_bytes(data)
    return path


def _write_classic(path: Path, descriptions: Sequence[str], frames: np.ndarray) -> Path:
    """Write a classic TIFF as 3.x and 4.x did: the header in each page's description."""
    data = bytearray(b"II*\0" + struct.pack("<I", 0))
    rows, columns = frames.shape[1:]
    following = 4
    for description, frame in zip(descriptions, frames, strict=True):
        pixels = len(data)
        data += frame.astype("<i2").tobytes()
        words = description.encode("cp1252") + b"\0"
        at = len(data)
        data += words + bytes(-len(words) % 2)
        struct.pack_into("<I", data, following, len(data))
        entries: list[Entry] = [
            (256, 3, 1, columns),
            (257, 3, 1, rows),
            (258, 3, 1, 16),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (270, 2, len(words), at),
            (273, 4, 1, pixels),
            (277, 3, 1, 1),
            (278, 3, 1, rows),
            (279, 4, 1, frame.nbytes),
            (339, 3, 1, 2),
        ]
        data += struct.pack("<H", len(entries))
        for entry in entries:
            data += struct.pack("<HHII", *entry)
        following = len(data)
        data += bytes(4)
    path.write_bytes(data)
    return path


def pytest_make_parametrize_id(config: Any, val: object, argname: str) -> str | None:
    return val if isinstance(val, str) and len(val) < 60 else None

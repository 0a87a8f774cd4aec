"""Writes .isxd files by struct and json alone, laid out as the vendor's software does; shares no code with the plugin."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LINE = 1280  # pixels of a line of the sensor; two lines stand before each frame, and two behind it


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, or a skip."""
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip(f"the real recordings are not at {folder}; ROIEXTRACTORS_TEST_DATA names another place")
    return folder


@pytest.fixture
def write_isxd() -> Callable[..., Path]:
    return _write_isxd


@pytest.fixture
def microscope() -> Callable[..., dict[str, Any]]:
    return _microscope


def _microscope(*, version: str = "1.9.0", planes: int = 0, **idps: Any) -> dict[str, Any]:
    """The extra properties of a recording, as far as anything reads them."""
    return {
        "animal": {"id": "m7", "sex": "f", "dob": "", "species": "mouse", "weight": 21, "description": ""},
        "microscope": {
            "type": "NVista3",
            "serial": "FA-1",
            "focus": 300,
            "gain": 5.9,
            "exp": 20,
            "led": {"exPower": 0.4, "ogPower": 0.2, "exPower2": 1.5},
            "multiplane": {"enabled": planes > 0, "activePlanes": planes or 3},
        },
        "producer": {"name": "AcquisitionSW", "version": version, "versionBE": f"{version}-07a8ccc"},
        "name": "session 3",
        "idps": idps,
    }


def _write_isxd(
    path: Path,
    stored: np.ndarray,
    *,
    num_times: int | None = None,
    dropped: Sequence[int] = (),
    cropped: Sequence[str] = (),
    blank: Sequence[int] = (),
    period: tuple[int, int] = (50, 1000),
    start: tuple[int, int] = (0, 1),
    utc_offset: int = 0,
    counters: Iterable[int] | None = None,
    focus: Iterable[int] | None = None,
    extra: Any = None,
    **changes: Any,
) -> Path:
    """Write the frames that are stored, with frame headers where counters are given, and the footer."""
    data_type = {"uint16": 0, "float32": 1, "uint8": 2}[stored.dtype.name]
    rows, columns = stored.shape[1:]
    headers = [] if counters is None else list(map(_header, counters, focus or [0] * len(stored)))
    pieces = [frame.astype(frame.dtype.newbyteorder("<")).tobytes() for frame in stored]
    if headers:
        behind = np.full(2 * LINE, 3000, "<u2").tobytes()
        pieces = [head + piece + behind for head, piece in zip(headers, pieces, strict=True)]
    footer = {
        "dataType": data_type,
        "extraProperties": extra,
        "fileVersion": 1,
        "hasFrameHeaderFooter": bool(headers),
        "producer": {"name": "isxcore", "version": [1, 9, 5]},
        "spacingInfo": {
            "numPixels": {"x": columns, "y": rows},
            "pixelSize": {"x": {"num": 3, "den": 1}, "y": {"num": 7, "den": 2}},
            "topLeft": {"x": {"num": 0, "den": 1}, "y": {"num": 0, "den": 1}},
        },
        "timingInfo": {
            "numTimes": len(stored) if num_times is None else num_times,
            "period": {"num": period[0], "den": period[1]},
            "start": {"secsSinceEpoch": {"num": start[0], "den": start[1]}, "utcOffset": utc_offset},
            "dropped": list(dropped),
            "cropped": list(cropped),
            "blank": list(blank),
        },
        "type": 0,
    } | changes
    text = json.dumps(footer, indent=4).encode()
    path.write_bytes(b"".join(pieces) + text + b"\0" + struct.pack("<q", len(text)))
    return path


@pytest.fixture
def write_cell_set() -> Callable[..., Path]:
    return _write_cell_set


@pytest.fixture
def write_event_set() -> Callable[..., Path]:
    return _write_event_set


def _write_cell_set(
    path: Path,
    masks: np.ndarray,
    traces: np.ndarray,
    *,
    names: Sequence[Any] | None = None,
    statuses: Sequence[int] | None = None,
    period: tuple[int, int] = (50, 1000),
    start: tuple[int, int] = (0, 1),
    utc_offset: int = 0,
    dropped: Sequence[int] = (),
    cropped: Sequence[str] = (),
    extra: Any = None,
    **changes: Any,
) -> Path:
    """Write masks ``(cells, rows, columns)`` and traces ``(cells, samples)`` one after the other, and the footer."""
    count, rows, columns = masks.shape
    pieces = []
    for mask, trace in zip(masks, traces, strict=True):
        pieces += [mask.astype("<f4").tobytes(), trace.astype("<f4").tobytes()]
    footer = {
        "CellActivity": [True] * count,
        "CellColors": [0xFFFF8000 + k for k in range(count)],
        "CellNames": [f"C{k}" for k in range(count)] if names is None else list(names),
        "CellStatuses": [1] * count if statuses is None else list(statuses),
        "CentroidDistances": [],
        "Matches": [],
        "PairScores": [],
        "SizeGlobalCS": 0,
        "cellMetrics": None,
        "dataType": "float",
        "efocusValues": [0],
        "extraProperties": extra,
        "fileVersion": 5,
        "isRoiSet": False,
        "producer": {"name": "isxcore", "version": [1, 9, 5]},
        "spacingInfo": {
            "numPixels": {"x": columns, "y": rows},
            "pixelSize": {"x": {"num": 3, "den": 1}, "y": {"num": 7, "den": 2}},
            "topLeft": {"x": {"num": 0, "den": 1}, "y": {"num": 0, "den": 1}},
        },
        "timingInfo": {
            "numTimes": traces.shape[1],
            "period": {"num": period[0], "den": period[1]},
            "start": {"secsSinceEpoch": {"num": start[0], "den": start[1]}, "utcOffset": utc_offset},
            "dropped": list(dropped),
            "cropped": list(cropped),
            "blank": [],
        },
        "type": 1,
    } | changes
    return _write(path, b"".join(pieces), footer)


def _write_event_set(
    path: Path,
    events: Sequence[tuple[int, int, float]],
    *,
    names: Sequence[Any] = ("A", "B"),
    period: tuple[int, int] = (50, 1000),
    duration: tuple[int, int] = (1, 1),
    start: int = 1_600_000_000,
    **changes: Any,
) -> Path:
    """Write events: microseconds, the number of the cell and the amplitude of each, in the order given."""
    footer = {
        "channel list": list(names),
        "extraProperties": None,
        "fileType": 1,
        "fileVersion": 2,
        "global times": [
            {"secsSinceEpoch": {"num": start * duration[1], "den": duration[1]}, "utcOffset": 0},
            {"secsSinceEpoch": {"num": start * duration[1] + duration[0], "den": duration[1]}, "utcOffset": 0},
        ],
        "metrics": None,
        "numSamples": [sum(cell == k for _, cell, _ in events) for k in range(len(names))],
        "producer": {"name": "isxcore", "version": [1, 9, 6]},
        "signalSteps": [{"num": period[0], "den": period[1]}] * len(names),
        "signalTypes": [0] * len(names),
        "startOffsets": [0] * len(names),
        "type": 5,
    } | changes
    return _write(path, b"".join(struct.pack("<QQf", *event) for event in events), footer)


@pytest.fixture
def write_first_event_set() -> Callable[..., Path]:
    return _write_first_event_set


def _write_first_event_set(
    path: Path,
    events: dict[str, Sequence[tuple[int, float]]],
    *,
    start: tuple[int, int] = (1_600_000_000, 1),
    num_times: int = 20,
    descriptions: dict[str, dict[str, Any]] | None = None,
    **changes: Any,
) -> Path:
    """Write events of the first version: for each cell, microseconds since the start and the amplitude; -1 writes an event that is off."""
    data, places = b"", {}
    for name, pairs in events.items():
        places[name] = len(data)
        description = {"GPIO Trigger/Follow": "", "Number of Packets": len(pairs), "channel": name, "mode": ""}
        description |= (descriptions or {}).get(name, {})
        data += json.dumps(description, indent=4).encode() + b"\0"
        for offset, amplitude in pairs:
            # The sign bit says that the event is on
            stored = 0.0 if amplitude == -1 else -amplitude
            data += struct.pack("<QfI", start[0] * 1_000_000 // start[1] + offset, stored, 0)
    footer = {
        "analog": False,
        "channel offsets": places,
        "dataType": 1,
        "fileVersion": 1,
        "producer": {"name": "isxcore", "version": [1, 1, 0]},
        "timing info": {
            "numTimes": num_times,
            "period": {"num": 50, "den": 1000},
            "start": {"secsSinceEpoch": {"num": start[0], "den": start[1]}, "utcOffset": 0},
            "dropped": [],
            "cropped": [],
        },
        "type": 5,
    } | changes
    return _write(path, data, footer)


def _write(path: Path, data: bytes, footer: dict[str, Any]) -> Path:
    text = json.dumps(footer, indent=4).encode()
    path.write_bytes(data + text + b"\0" + struct.pack("<q", len(text)))
    return path


def _header(counter: int, focus: int) -> bytes:
    """Two lines of the sensor: each pixel holds one byte in its upper 8 of 12 bits, 4 bits up."""
    pixels = np.full(2 * LINE, 0x5A, "<u2")
    pixels[0] = 0x0A
    pixels[1270:1272] = list(struct.pack("<H", focus))
    pixels[1272:1280] = list(struct.pack("<Q", counter))
    return (pixels << 4).astype("<u2").tobytes()

"""Writes NDTiff and image file stacks by their public specifications; shares no code with the extractor."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Axes = dict[str, Any]
_PIXEL_TYPES = {8: 0, 16: 1, 10: 3, 12: 4, 14: 5, 11: 6}


def _directory(
    order: str, at: int, frame: np.ndarray, text: bytes, *, first: bool, last: bool
) -> tuple[bytes, int, int]:
    """One TIFF directory with its pixels and metadata behind it; where the pixels and the metadata are."""
    rgb = frame.ndim == 3
    extra = [(270, 2, 9, "note"), (50838, 4, 1, 4), (50839, 1, 4, 0)] if first else []
    count = 13 + len(extra)
    behind = at + 2 + 12 * count + 4
    bits = behind + 16
    note = bits + (6 if rgb else 0)
    pixels = note + (9 if first else 0)
    pixels += pixels % 2
    metadata = pixels + frame.nbytes
    end = metadata + len(text) + len(text) % 2
    tags = [
        (256, 4, 1, frame.shape[1]),
        (257, 4, 1, frame.shape[0]),
        (258, 3, 3, bits) if rgb else (258, 3, 1, 8 * frame.itemsize),
        (259, 3, 1, 1),
        (262, 3, 1, 2 if rgb else 1),
        (273, 4, 1, pixels),
        (277, 3, 1, 3 if rgb else 1),
        (278, 3, 1, frame.shape[0]),
        (279, 4, 1, frame.nbytes),
        (282, 5, 1, behind),
        (283, 5, 1, behind + 8),
        (296, 3, 1, 3),
        (51123, 2, len(text), metadata),
        *extra,
    ]
    table = b""
    for code, kind, number, value in sorted(tags, key=lambda tag: tag[0]):
        value = note if value == "note" else value
        short = kind == 3 and number == 1
        table += struct.pack(
            f"{order}HHI{'HH' if short else 'I'}", code, kind, number, *((value, 0) if short else (value,))
        )
    body = struct.pack(f"{order}H", count) + table + struct.pack(f"{order}I", 0 if last else end)
    body += struct.pack(f"{order}4I", 10000, 1, 10000, 1) + (struct.pack(f"{order}3H", 8, 8, 8) if rgb else b"")
    body += b"<OME/>\0\0\0" if first else b""
    body = body.ljust(pixels - at, b"\0") + frame.astype(frame.dtype.newbyteorder(order)).tobytes() + text
    return body.ljust(end - at, b"\0"), pixels, metadata


def _text(axes: Axes, number: int, more: dict[str, Any]) -> bytes:
    found = {"Axes": axes, "ElapsedTime-ms": 1000 + 33.5 * number, "PixelSizeUm": 0.65, "Camera": "Dhyana", **more}
    return json.dumps({key: value for key, value in found.items() if value is not None}).encode("utf-8")


def _write_ndtiff(
    folder: Path,
    frames: Sequence[tuple[Axes, np.ndarray]],
    *,
    version: tuple[int, ...] = (3, 2),
    order: str = "<",
    bits: int = 16,
    per_file: int = 10**6,
    summary: dict[str, Any] | None = None,
    texts: Callable[[int, Axes], dict[str, Any]] = lambda number, axes: {},
    ending: bytes = b"",
) -> Path:
    """An NDTiff dataset in a folder: TIFF files of some frames each, and the index."""
    folder.mkdir(parents=True, exist_ok=True)
    told = json.dumps(
        {"Interval_ms": 40.0, "PixelSize_um": 0.5, "StartTime": "2022-08-26 14:03:11.250 -0700", **(summary or {})}
    ).encode()
    head = struct.pack(f"{order}{3 + len(version)}I", 483729, *version, 2355492, len(told)) + told
    index = b""
    for start in range(0, len(frames), per_file):
        name = f"{folder.name}_NDTiffStack{f'_{start // per_file}' if start else ''}.tif"
        content = (
            (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(head) + len(head) % 2) + head
        )
        content += b"\0" * (len(content) % 2)
        part = frames[start : start + per_file]
        for number, (axes, frame) in enumerate(part):
            text = _text(axes, start + number, texts(start + number, axes))
            body, pixels, metadata = _directory(
                order, len(content), frame, text, first=False, last=number == len(part) - 1
            )
            content += body
            kind = 2 if frame.ndim == 3 else _PIXEL_TYPES[bits]
            key = json.dumps(axes, separators=(",", ":")).encode()
            index += (
                struct.pack(f"{order}I", len(key)) + key + struct.pack(f"{order}I", len(name.encode())) + name.encode()
            )
            index += struct.pack(f"{order}8I", pixels, frame.shape[1], frame.shape[0], kind, 0, metadata, len(text), 0)
        (folder / name).write_bytes(content)
    (folder / "NDTiff.index").write_bytes(index + ending)
    return folder


def _write_stack(
    path: Path,
    frames: Sequence[tuple[tuple[int, int, int, int], np.ndarray]],
    *,
    order: str = "<",
    summary: dict[str, Any] | None = None,
    texts: Callable[[int], dict[str, Any]] = lambda number: {},
    finished: bool = True,
) -> Path:
    """One image file stack: ``((channel, slice, frame, position), pixels)``, with the blocks at its end unless it was not finished."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = json.dumps(
        {
            "Interval_ms": 100,
            "PixelSize_um": 0.325,
            "z-step_um": -2.0,
            "MicroManagerVersion": "2.0.0",
            "StartTime": "2019-03-01 10:20:30 +0100",
            **(summary or {}),
        }
    ).encode()
    start = 40 + len(told) + len(told) % 2
    content, rows = b"", b""
    for number, (place, frame) in enumerate(frames):
        names = ("ChannelIndex", "SliceIndex", "FrameIndex", "PositionIndex")
        text = {**dict(zip(names, place, strict=True)), **texts(number)}
        at = start + len(content)
        body, _, _ = _directory(
            order,
            at,
            frame,
            _text({}, number, {**text, "Axes": None}),
            first=number == 0,
            last=finished and number == len(frames) - 1,
        )
        rows += struct.pack(f"{order}5I", *place, at)
        content += body
    end = start + len(content)
    blocks = struct.pack(f"{order}II", 3453623, len(frames)) + rows
    display, comments = b'{"Channels":[]}', b'{"Summary":""}'
    at_display = end + len(blocks)
    blocks += struct.pack(f"{order}II", 347834724, len(display)) + display
    at_comments = end + len(blocks)
    blocks += struct.pack(f"{order}II", 84720485, len(comments)) + comments
    places = (end, at_display, at_comments) if finished else (0, 0, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    head += struct.pack(
        f"{order}8I", 54773648, places[0], 483765892, places[1], 99384722, places[2], 2355492, len(told)
    )
    path.write_bytes((head + told).ljust(start, b"\0") + content + (blocks if finished else b""))
    return path


@pytest.fixture(scope="session")
def write_ndtiff() -> Callable[..., Path]:
    return _write_ndtiff


@pytest.fixture(scope="session")
def write_stack() -> Callable[..., Path]:
    return _write_stack


@pytest.fixture(scope="session")
def pixels() -> Callable[..., np.ndarray]:
    """Random pixels ``(times, planes, channels, rows, columns)``."""

    def made(
        times: int,
        planes: int = 1,
        channels: int = 1,
        rows: int = 24,
        columns: int = 40,
        *,
        seed: int = 1,
        dtype: Any = np.uint16,
    ) -> np.ndarray:
        shape = (times, planes, channels, rows, columns)
        return np.random.default_rng(seed).integers(0, 200 if dtype == np.uint8 else 4000, shape).astype(dtype)

    return made


@pytest.fixture(scope="session")
def by_axes() -> Callable[..., list[tuple[Axes, np.ndarray]]]:
    """Pixels as frames with NDTiff axes; axes of one place are left out."""

    def made(block: np.ndarray, channels: Sequence[Any] = (), **more: Any) -> list[tuple[Axes, np.ndarray]]:
        found = []
        for t, z, c in np.ndindex(*block.shape[:3]):
            axes: Axes = {
                **({"z": z} if block.shape[1] > 1 else {}),
                **({"channel": channels[c]} if channels else {}),
                **more,
                "time": t,
            }
            found.append((axes, block[t, z, c]))
        return found

    return made


@pytest.fixture(scope="session")
def by_index() -> Callable[..., list[tuple[tuple[int, int, int, int], np.ndarray]]]:
    """Pixels as frames of an image file stack."""

    def made(block: np.ndarray, position: int = 0) -> list[tuple[tuple[int, int, int, int], np.ndarray]]:
        return [((c, z, t, position), block[t, z, c]) for t, z, c in np.ndindex(*block.shape[:3])]

    return made

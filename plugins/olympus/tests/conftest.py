"""Writes FluoView recordings as FluoView lays them out; shares no code with the extractor."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

FREE, END, TABLE, MORE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFC


@pytest.fixture
def recordings() -> Path:
    """The folder of real recordings, or a skip."""
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip(f"the real recordings are not at {folder}; ROIEXTRACTORS_TEST_DATA names another place")
    return folder


@pytest.fixture
def frames_of() -> Callable[..., np.ndarray]:
    """Make frames ``(samples, planes, channels, rows, columns)`` that differ all."""
    return _frames_of


@pytest.fixture
def write_oib() -> Callable[..., Path]:
    """Write frames as one ``.oib``."""
    return _write_oib


@pytest.fixture
def write_oif() -> Callable[..., Path]:
    """Write frames as an ``.oif`` with its folder."""
    return _write_oif


@pytest.fixture
def write_compound() -> Callable[..., Path]:
    """Write streams, by the names of their storages and their own, as a compound file."""
    return _write_compound


def _frames_of(
    samples: int, planes: int = 1, channels: int = 1, rows: int = 80, columns: int = 112, dtype: Any = np.uint16
) -> np.ndarray:
    found: np.ndarray = (
        np.random.default_rng(7).integers(0, 4096, (samples, planes, channels, rows, columns)).astype(dtype)
    )
    return found


def _utf16(sections: Mapping[str, Mapping[str, Any]], quoted: bool = True) -> bytes:
    lines = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        for key, value in values.items():
            sign = "'" if "Date" in key else '"'
            lines.append(f"{key}={sign}{value}{sign}" if isinstance(value, str) and quoted else f"{key}={value}")
    return ("\ufeff" + "\r\n".join(lines) + "\r\n").encode("utf-16-le")


def _main(shape: tuple[int, ...], rate: float, **changes: Any) -> dict[str, dict[str, Any]]:
    samples, planes, channels, rows, columns = shape
    order = "XY" + "C" * (channels > 1) + "Z" * (planes > 1) + "T" * (samples > 1)
    last = 1000.0 * (samples - 1) / rate
    axes = [
        ("X", columns, 0.0, 0.5 * (columns - 1), "um"),
        ("Y", rows, 0.0, 0.25 * (rows - 1), "um"),
        ("C", channels, 1.0, float(channels), "Ch"),
        ("Z", planes if planes > 1 else 0, -4000.0, -4000.0 - 2500.0 * (planes - 1), "nm"),
        ("T", samples if samples > 1 else 0, 0.0, last, "ms"),
    ]
    found: dict[str, dict[str, Any]] = {
        "Acquisition Parameters Common": {
            "Acquisition Device": "FV1000",
            "ImageCaputreDate": "2019-03-04 05:06:07",
            "ImageCaputreDate+MilliSec": 89,
            "ScanMode": "XY",
        }
    }
    for number, (code, size, start, end, unit) in enumerate(axes):
        found[f"Axis {number} Parameters Common"] = {
            "AxisCode": code,
            "MaxSize": size,
            "StartPosition": start,
            "EndPosition": end,
            "UnitName": unit,
        }
    found["Axis Parameter Common"] = {"AxisCount": len(order), "AxisOrder": order}
    for number in range(1, channels + 1):
        found[f"Channel {number} Parameters"] = {
            "CH Name": f"CH{number}",
            "DyeName": ("GCaMP6", "tdTomato", "None", "None")[number - 1],
            "EmissionWavelength": (510, 581, 0, 0)[number - 1],
            "ExcitationWavelength": (920, 920, 543, 543)[number - 1],
        }
    found["File Info"] = {"DataName": "m.oib", "FileFormat": "Olympus Image Format"}
    found["ProfileSaveInfo"] = {"FrameCount": samples * planes * channels, "PtyFileNameS": "m.oif.files\\s_C001.pty"}
    found["Reference Image Parameter"] = {
        "HeightConvertValue": 0.25,
        "HeightUnit": "um",
        "ImageDepth": 2,
        "ValidBitCounts": 12,
        "WidthConvertValue": 0.5,
        "WidthUnit": "um",
    }
    found["Version Info"] = {"FileVersion": "1.2.6.0", "SystemName": "FLUOVIEW FV1000", "SystemVersion": "2.1.2.5"}
    for section, values in changes.items():
        found.setdefault(section, {}).update(values)
    return found


def _pty(seconds: float, depth: float) -> dict[str, dict[str, Any]]:
    return {
        "Acquisition Parameters Common": {"Time Per Frame": "841584.000"},
        "Axis 3 Parameters": {"AbsPositionUnitName": "nm", "AbsPositionValue": depth, "Number": 1},
        "Axis 4 Parameters": {"AbsPositionUnitName": "ms", "AbsPositionValue": 1000.0 * seconds, "Number": 1},
        "File Info": {"DataName": "s.tif"},
        "LongText": {f"Key{k}": "x" * 40 for k in range(30)},  # as long as real ones: not among the small sectors
    }


def _tiff(frame: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    options = {"rowsperstrip": -(-frame.shape[0] // 2), "software": "FV10-ASW", "metadata": None, **options}
    tifffile.imwrite(stream, frame, photometric="minisblack", **options)
    return stream.getvalue()


def _members(frames: np.ndarray, rate: float, times: np.ndarray | None, **options: Any) -> dict[str, bytes]:
    samples, planes, channels = frames.shape[:3]
    found = {}
    for t in range(samples):
        for z in range(planes):
            for c in range(channels):
                name = f"s_C{c + 1:03}" + f"Z{z + 1:03}" * (planes > 1) + f"T{t + 1:03}" * (samples > 1)
                seconds = (t + 0.1 * z / planes) / rate if times is None else times[t]
                found[f"{name}.pty"] = _utf16(_pty(seconds, -4000.0 - 2500.0 * z))
                found[f"{name}.tif"] = _tiff(frames[t, z, c], **options)
    found["s_Thumb.bmp"] = b"BM" + bytes(60)
    found["s_C001-R001.tif"] = _tiff(frames[0, 0, 0])
    return found


def _write_oif(
    path: Path,
    frames: np.ndarray,
    *,
    rate: float = 8.0,
    times: np.ndarray | None = None,
    changes: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_utf16(_main(frames.shape, rate, **(changes or {}))))
    folder = path.with_name(f"{path.name}.files")
    folder.mkdir()
    for name, content in _members(frames, rate, times, **options).items():
        (folder / name).write_bytes(content)
    return path


def _write_oib(
    path: Path,
    frames: np.ndarray,
    *,
    rate: float = 8.0,
    times: np.ndarray | None = None,
    changes: Mapping[str, Any] | None = None,
    info: Mapping[str, Any] | None = None,
    leave_out: tuple[str, ...] = (),
    sector: int = 4096,
    shuffled: bool = False,
    **options: Any,
) -> Path:
    members = {k: v for k, v in _members(frames, rate, times, **options).items() if k not in leave_out}
    told: dict[str, Any] = {"Version": "2.0.0.0", "MainFileName": "Stream00000", "Compression": "None", **(info or {})}
    told |= {"Stream00000": "m.oif", "Storage00001": "m.oif.files"}
    streams = {"Stream00000": _utf16(_main(frames.shape, rate, **(changes or {})))}
    for number, (name, content) in enumerate(members.items(), 1):
        told[f"Stream{number:05}"] = f"Storage00001/{name}"
        streams[f"Storage00001/Stream{number:05}"] = content
    streams["OibInfo.txt"] = _utf16({"OibSaveInfo": told}, quoted=False)
    return _write_compound(path, streams, sector=sector, shuffled=shuffled)


def _write_compound(path: Path, streams: Mapping[str, bytes], *, sector: int = 512, shuffled: bool = False) -> Path:
    """Write a compound file: small streams in small sectors, the others in their own, in any order where that is asked for."""
    small = {name: data for name, data in streams.items() if len(data) < 4096}
    mini, mini_table, mini_starts = b"", [], {}
    for name, data in small.items():
        count = -(-len(data) // 64)
        mini_starts[name] = len(mini_table) if count else END
        mini_table += [len(mini_table) + k + 1 for k in range(count - 1)] + [END] * bool(count)
        mini += data.ljust(count * 64, b"\0")
    storages = sorted({name.rpartition("/")[0] for name in streams} - {""})
    entries = [("Root Entry", 5, "", mini)]
    entries += [(name, 1, "", b"") for name in storages]
    entries += [(name.rpartition("/")[2], 2, name, data) for name, data in streams.items()]
    blobs: dict[str, bytes] = {"the directory": bytes(-(-len(entries) * 128 // sector) * sector)}
    if mini:
        blobs |= {
            "small": mini,
            "small table": struct.pack(f"<{len(mini_table)}I", *mini_table).ljust(
                -(-len(mini_table) * 4 // sector) * sector, b"\xff"
            ),
        }
    blobs |= {name: data for name, data in streams.items() if name not in small}

    counts = {name: -(-len(data) // sector) for name, data in blobs.items()}
    total = sum(counts.values())
    per = sector // 4
    tables = more = 0
    while (tables * per) < total + tables + more or tables > 109 + more * (per - 1):
        tables += 1
        more = max(0, -(-(tables - 109) // (per - 1)))
    order = np.arange(total)
    if shuffled:
        np.random.default_rng(3).shuffle(order)
    chains, at = {}, 0
    for name, count in counts.items():
        chains[name] = (order[at : at + count] + tables + more).tolist()
        at += count
    table = [TABLE] * tables + [MORE] * more + [FREE] * (tables * per - tables - more)
    for chain in chains.values():
        for here, following in zip(chain, [*chain[1:], END], strict=True):
            table[here] = following

    directory = b""
    for place, (name, kind, key, data) in enumerate(entries):
        start, size = END, len(data)
        if kind == 5:
            start = chains["small"][0] if mini else END
        elif kind == 2:
            start = mini_starts[key] if key in small else chains[key][0]
        right = place + 1 if kind != 5 and place + 1 < len(entries) else FREE  # a list, which is a tree as well
        child = 1 if kind == 5 and len(entries) > 1 else FREE
        words = name.encode("utf-16-le")
        directory += words.ljust(64, b"\0") + struct.pack(
            "<HBBIII16xI16xIQ", len(words) + 2, kind, 1, FREE, right, child, 0, start, size
        )
    blobs["the directory"] = directory.ljust(len(blobs["the directory"]), b"\0")

    content = bytearray((tables + more + total) * sector)
    content[: tables * sector] = struct.pack(f"<{len(table)}I", *table)
    later = list(range(109, tables))
    for k in range(more):
        named = later[k * (per - 1) : (k + 1) * (per - 1)]
        words = [*named, *[FREE] * (per - 1 - len(named)), tables + k + 1 if k + 1 < more else END]
        content[(tables + k) * sector : (tables + k + 1) * sector] = struct.pack(f"<{per}I", *words)
    for name, data in blobs.items():
        for k, number in enumerate(chains[name]):
            piece = data[k * sector : (k + 1) * sector]
            content[number * sector : number * sector + len(piece)] = piece
    first = [*range(min(tables, 109)), *[FREE] * (109 - min(tables, 109))]
    header = struct.pack(
        "<8s16xHHHHH6xIIIIIIIIII",
        bytes.fromhex("d0cf11e0a1b11ae1"),
        0x3E,
        4 if sector == 4096 else 3,
        0xFFFE,
        12 if sector == 4096 else 9,
        6,
        counts["the directory"] if sector == 4096 else 0,
        tables,
        chains["the directory"][0],
        0,
        4096,
        chains["small table"][0] if mini else END,
        counts.get("small table", 0),
        tables if more else END,
        more,
        first[0],
    ) + struct.pack("<108I", *first[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.ljust(sector, b"\0") + content)
    return path

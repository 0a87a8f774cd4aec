"""Writes .sbx and .mat files by struct alone, laid out as Scanbox does; shares no code with the plugin."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HEADER = b"MATLAB 5.0 MAT-file, Platform: PCWIN64, Created on: Fri Oct 20 17:41:15 2023".ljust(116) + bytes(8)
CLASSES = {"f8": 6, "f4": 7, "i1": 8, "u1": 9, "i2": 10, "u2": 11, "i4": 12, "u4": 13, "i8": 14, "u8": 15}
TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9, "i8": 12, "u8": 13}


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, or a skip."""
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip(f"the real recordings are not at {folder}; ROIEXTRACTORS_TEST_DATA names another place")
    return folder


@pytest.fixture
def write_mat() -> Callable[..., Path]:
    return _write_mat


@pytest.fixture
def write_sbx() -> Callable[..., Path]:
    return _write_sbx


@pytest.fixture
def version_2() -> Callable[..., dict[str, Any]]:
    return _version_2


@pytest.fixture
def version_3() -> Callable[..., dict[str, Any]]:
    return _version_3


@pytest.fixture
def matrix() -> Callable[..., bytes]:
    return _matrix


@pytest.fixture
def element() -> Callable[..., bytes]:
    return _element


def _write_sbx(path: Path, frames: np.ndarray, *, cut: int = 0) -> Path:
    """Write ``(frames, rows, columns, channels)``: the channel changes fastest, and the values fall where the light rises."""
    raw = np.ascontiguousarray((65535 - frames.astype(np.int64)).astype("<u2")).tobytes()
    path.write_bytes(raw[: len(raw) - cut])
    return path


def _write_mat(path: Path, *, order: str = "<", compressed: bool = True, **variables: Any) -> Path:
    pieces = [_matrix(value, name, order) for name, value in variables.items()]
    if compressed:
        pieces = [struct.pack(f"{order}II", 15, len(z)) + z for z in map(zlib.compress, pieces)]
    mark = struct.pack(f"{order}H", 0x100) + (b"IM" if order == "<" else b"MI")
    path.write_bytes(HEADER + mark + b"".join(pieces))
    return path


def _version_2(rows: int, columns: int, **changes: Any) -> dict[str, Any]:
    return {
        "frame": np.array([[3], [5], [70000]], "u4"),
        "line": np.array([[480], [185], [7]], "u2"),
        "event_id": np.array([[1], [2], [1]], "u1"),
        "resfreq": 7916.0,
        "postTriggerSamples": 5000.0,
        "recordsPerBuffer": float(rows),
        "bytesPerBuffer": 10240000.0,
        "channels": 2.0,
        "scanbox_version": 2.0,
        "scanmode": 1.0,
        "config": {
            "wavelength": 920.0,
            "frames": 0.0,
            "lines": float(rows),
            "magnification": 2.0,
            "magnification_list": [["1.0"], ["1.2"]],
        },
        "sz": np.array([[rows, columns]], "u2"),
        "otwave": np.empty((0, 0)),
        "otparam": np.empty((0, 0)),
        "volscan": 0.0,
        "calibration": [{"x": 1.4, "y": 1.5}, {"x": 1.2, "y": 1.3}],
        "objective": "Nikon 16x/0.8w/WD3.0",
        "messages": [],
    } | changes


def _version_3(rows: int, columns: int, **changes: Any) -> dict[str, Any]:
    return {
        "resfreq": 8000.0,
        "postTriggerSamples": 5000.0,
        "recordsPerBuffer": float(rows),
        "channels": -1.0,
        "chan": {
            "sample": np.array([[1, 0, 0, 0]], "u1"),
            "save": np.array([[1, 0, 0, 0]], "u1"),
            "nchan": 1.0,
            "names": [["GCaMP6s", "tdTomato", "Texas Red", "Chrome"]],
        },
        "scanbox_version": 3.0,
        "scanmode": 1.0,
        "config": {"wavelength": 920.0, "frames": 0.0, "lines": float(rows), "magnification": 2.0},
        "sz": np.array([[rows, columns]], "u2"),
        "dxcal": 1.08,
        "dycal": 1.14,
        "fold_lines": 0.0,
        "volscan": 0.0,
        "etl_table": [],
        "otparam": np.array([[0.0, 0.0, np.nan]]),
        "calibration": {"fx": None, "fy": None},
        "objective": "Olympus_20x",
    } | changes


def _element(kind: int, content: bytes, order: str = "<") -> bytes:
    if 0 < len(content) <= 4:
        small = (len(content), kind) if order == ">" else (kind, len(content))
        return struct.pack(f"{order}HH", *small) + content.ljust(4, b"\0")
    return struct.pack(f"{order}II", kind, len(content)) + content + bytes(-len(content) % 8)


def _matrix(value: Any, name: str = "", order: str = "<") -> bytes:
    """One matrix element: dict for a structure, list of dicts for several, list of lists for a cell, None for an object."""
    if value is None:  # an object of some class, as MATLAB writes its curve fits
        names = b"".join(_element(1, text, order) for text in (b"", b"MCOS", b"cfit"))
        return _element(14, _element(6, struct.pack(f"{order}II", 17, 0), order) + names, order)
    kind, shape, content = _parts(value, order)
    flags = _element(6, struct.pack(f"{order}II", kind, 0), order)
    dimensions = _element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return _element(14, flags + dimensions + _element(1, name.encode(), order) + content, order)


def _parts(value: Any, order: str) -> tuple[int, tuple[int, ...], bytes]:
    if isinstance(value, str):
        text = np.frombuffer(value.encode("utf-16-le"), "<u2").astype(f"{order}u2").tobytes()
        return 4, (1, len(value)), _element(4, text, order)
    if isinstance(value, dict):
        return 2, (1, 1), _structures([value], order)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return 2, (1, len(value)), _structures(value, order)
    if isinstance(value, list):
        rows, columns = len(value), len(value[0]) if value else 0
        return (
            1,
            (rows, columns),
            b"".join(_matrix(value[r][c], "", order) for c in range(columns) for r in range(rows)),
        )
    array = np.atleast_2d(np.asarray(value))
    form = array.dtype.str[1:]
    stored = array
    if (
        array.size and array.dtype.kind == "f" and ((array == np.floor(array)) & (array >= 0) & (array < 65536)).all()
    ):  # as MATLAB saves space
        stored = array.astype("u2")
    content = np.ravel(stored, "F").astype(stored.dtype.newbyteorder(order)).tobytes()
    return CLASSES[form], array.shape, _element(TYPES[stored.dtype.str[1:]], content, order)


def _structures(values: list[dict[str, Any]], order: str) -> bytes:
    names = list(values[0])
    texts = b"".join(name.encode().ljust(32, b"\0") for name in names)
    fields = b"".join(_matrix(value[name], "", order) for value in values for name in names)
    return _element(5, struct.pack(f"{order}i", 32), order) + _element(1, texts, order) + fields

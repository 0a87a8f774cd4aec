"""Scanbox .sbx recordings: one detector, four planes, one of two detectors."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from benchmarks import rivals
from benchmarks.conftest import READS, Beside

COUNT, ROWS, COLUMNS = 400, 512, 796
TARGETS = {"sequential": 0.85, "scattered": 0.7, "single": 0.5}
NAMES = {"c1p1": "sbx, one detector", "c1p4": "sbx, four planes", "c2p1": "sbx, one of two detectors"}


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(value: float | Mapping[str, object] | list[float], name: str = "") -> bytes:
    if isinstance(value, Mapping):
        names = b"".join(key.encode().ljust(32, b"\0") for key in value)
        fields = b"".join(matrix(item) for item in value.values())  # type: ignore[arg-type]
        kind, shape, content = 2, (1, 1), struct.pack("<HHi", 5, 4, 32) + element(1, names) + fields
    else:
        values = np.atleast_1d(np.asarray(value, "<f8"))
        kind, shape, content = 6, (1, len(values)), element(4, values.astype("<u2").tobytes())
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack("<ii", *shape)) + element(1, name.encode())
    return element(14, head + content)


def write_recording(path: Path, *, channels: int, planes: int) -> None:
    info = {
        "resfreq": 7916.0,
        "recordsPerBuffer": float(ROWS),
        "channels": 1.0 if channels == 2 else 2.0,
        "scanbox_version": 2.0,
        "scanmode": 1.0,
        "config": {"lines": float(ROWS)},
        "sz": [float(ROWS), float(COLUMNS)],
        "volscan": float(planes > 1),
        "otwave": [float(k) for k in range(planes)],
    }
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.with_suffix(".mat").write_bytes(head + matrix(info, "info"))
    rng = np.random.default_rng(0)
    with path.open("wb") as stream:
        for _ in range(COUNT):
            stream.write(rng.integers(0, 65536, ROWS * COLUMNS * channels, dtype=np.uint16).tobytes())


@pytest.fixture(scope="module", params=[(1, 1), (1, 4), (2, 1)], ids=["one_pmt", "four_planes", "one_of_two_pmts"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    channels, planes = request.param
    found = tmp_path_factory.mktemp("recording") / f"c{channels}p{planes}.sbx"
    write_recording(found, channels=channels, planes=planes)
    return found


@pytest.mark.parametrize("what", READS)
def test_reading(path: Path, what: str, beside: Beside) -> None:
    """Reads frames; with four planes, the limit reads the same frames in the order of the file."""
    num_channels = int(path.stem[1])
    frame = ROWS * COLUMNS * num_channels * 2
    offsets = [k * frame for k in range(COUNT)]
    shape = (ROWS * num_channels, COLUMNS)
    others: dict[str, Callable[[], Any]] = {"os.preadv": partial(rivals.preadv, path, offsets, shape, "<u2")}
    if path.stem == "c1p1":
        others["roiextractors"] = partial(rivals.roiextractors, "SbxImagingExtractor", str(path), 30.0)
    with roi.open(path, channel=0, deinterleave=what == "sequential" and path.stem == "c1p4") as recording:
        beside.reading(
            NAMES[path.stem],
            what,
            recording,
            others,
            targets=TARGETS if num_channels == 1 else {},
            unequal=("os.preadv",),
            note="the limit neither inverts the values, as the format requires, nor skips the other detector",
        )


def test_opening(path: Path, beside: Beside) -> None:
    theirs: dict[str, Callable[[], object]] = {}
    if path.stem == "c1p1":
        theirs["roiextractors"] = partial(rivals.opened, "SbxImagingExtractor", str(path), 30.0)
    beside(NAMES[path.stem], lambda: roi.open(path, channel=0).close(), theirs, group="opening", at_most=20)

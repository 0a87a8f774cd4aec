"""Reading and opening .sbx recordings against the physical limit: `os.preadv` of the same bytes into a new array, in the same run."""

from __future__ import annotations

import functools
import os
import statistics
import struct
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi

COUNT, ROWS, COLUMNS = 800, 512, 796
SCATTERED = np.random.default_rng(1).permutation(COUNT)[:200]


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(value: float | Mapping[str, object] | list[float], name: str = "") -> bytes:
    if isinstance(value, Mapping):
        names = b"".join(key.encode().ljust(32, b"\0") for key in value)
        fields = b"".join(matrix(item) for item in value.values())  # type: ignore[arg-type]
        kind, shape, content = 2, (1, 1), struct.pack("<HHi", 5, 4, 32) + element(1, names) + fields
    else:
        values = np.atleast_1d(np.asarray(value, "<f8"))
        kind, shape, content = 6, (1, len(values)), element(9, values.tobytes())
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


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    result = call()
    took = time.perf_counter() - started
    del result
    return took


def ratio(limit: Callable[[], object], ours: Callable[[], object], rounds: int = 7) -> float:
    pairs = [(seconds(limit), seconds(ours)) for _ in range(rounds)]
    return statistics.median(a / b for a, b in pairs[1:])


def read_at(descriptor: int, offsets: list[int], size: int) -> np.ndarray:
    result = np.empty((len(offsets), size), np.uint8)
    for frame, offset in zip(result, offsets, strict=True):
        os.preadv(descriptor, [frame], offset)
    return result


def test_consecutive_and_scattered_frames_against_preadv(path: Path) -> None:
    channel = "PMT1" if path.stem.startswith("c2") else None
    recording = roi.open(path, channel=channel)
    flat = roi.open(path, channel=channel, deinterleave=False)
    descriptor, size = os.open(path, os.O_RDONLY), path.stat().st_size
    frame = size // COUNT

    def whole() -> np.ndarray:
        result = np.empty(size, np.uint8)
        os.preadv(descriptor, [result], 0)
        return result

    indices, offsets = SCATTERED.tolist(), [int(k) * frame for k in SCATTERED]
    print(
        f"\n{path.stem}: {COUNT} consecutive frames, preadv / ours: {ratio(whole, recording.get_series):.2f} (wanted >= 0.85)"
    )
    found = ratio(lambda: read_at(descriptor, offsets, frame), lambda: flat.get_samples(indices))
    print(f"{path.stem}: {len(indices)} scattered frames at once: {found:.2f}")
    limit = statistics.median(seconds(functools.partial(read_at, descriptor, [offset], frame)) for offset in offsets)
    ours = statistics.median(seconds(functools.partial(flat.get_series, k, k + 1)) for k in indices)
    print(f"{path.stem}: one frame: {ours * 1e3:.3f} ms, preadv alone {limit * 1e3:.3f} ms")
    tracemalloc.start()
    series = recording.get_series()
    print(
        f"{path.stem}: peak beyond the result: {(tracemalloc.get_traced_memory()[1] - series.nbytes) / 2**20:.1f} MiB"
    )
    tracemalloc.stop()
    os.close(descriptor)


def test_opening(path: Path) -> None:
    def opened() -> None:
        roi.open(path, channel=0).close()

    opened()
    took = statistics.median(seconds(opened) for _ in range(30))
    print(
        f"\n{path.stem}: opening, detection among {len(roi.formats())} formats included: {took * 1e3:.2f} ms (wanted < 20)"
    )

"""Reading and opening .isxd movies against the physical limit: `os.preadv` of the same bytes into a new array, in the same run."""

from __future__ import annotations

import functools
import json
import os
import statistics
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi

COUNT, ROWS, COLUMNS = 400, 800, 1280
FRAME, HEADER = ROWS * COLUMNS * 2, 2 * 1280 * 2
SCATTERED = np.random.default_rng(1).permutation(COUNT)[:100]


def write_movie(path: Path, *, headers: bool) -> None:
    rng = np.random.default_rng(0)
    with path.open("wb") as stream:
        for _ in range(COUNT):
            pixels = rng.integers(0, 4096, (ROWS, COLUMNS), dtype=np.uint16).tobytes()
            stream.write(bytes(HEADER) + pixels + bytes(HEADER) if headers else pixels)
        ratio = {"num": 50, "den": 1000}
        footer = {
            "type": 0,
            "dataType": 0,
            "fileVersion": 1,
            "hasFrameHeaderFooter": headers,
            "producer": {"name": "benchmark", "version": [1]},
            "extraProperties": {"producer": {"version": "1.9.0"}},
            "spacingInfo": {"numPixels": {"x": COLUMNS, "y": ROWS}},
            "timingInfo": {"numTimes": COUNT, "period": ratio, "start": {"secsSinceEpoch": ratio, "utcOffset": 0}},
        }
        text = json.dumps(footer).encode()
        stream.write(text + b"\0" + struct.pack("<q", len(text)))


@pytest.fixture(scope="module", params=["without_headers", "with_headers"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("movie") / f"{request.param}.isxd"
    write_movie(found, headers=request.param == "with_headers")
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


def read_at(descriptor: int, offsets: list[int]) -> np.ndarray:
    result = np.empty((len(offsets), ROWS, COLUMNS), np.uint16)
    for frame, offset in zip(result, offsets, strict=True):
        os.preadv(descriptor, [frame], offset)
    return result


def test_consecutive_and_scattered_frames_against_preadv(path: Path) -> None:
    recording = roi.open(path)
    descriptor = os.open(path, os.O_RDONLY)
    around = HEADER if path.stem == "with_headers" else 0
    offsets = [k * (FRAME + 2 * around) + around for k in range(COUNT)]

    def whole() -> np.ndarray:
        result = np.empty(COUNT * FRAME, np.uint8)
        os.preadv(descriptor, [result], 0)
        return result

    scattered, indices = [offsets[k] for k in SCATTERED], SCATTERED.tolist()
    print(
        f"\n{path.stem}: {COUNT} consecutive frames, preadv / ours: {ratio(whole, recording.get_series):.2f} (wanted >= 0.85)"
    )
    found = ratio(lambda: read_at(descriptor, scattered), lambda: recording.get_samples(indices))
    print(f"{path.stem}: {len(indices)} scattered frames at once: {found:.2f}")
    limit = statistics.median(seconds(functools.partial(read_at, descriptor, [offset])) for offset in scattered)
    ours = statistics.median(seconds(functools.partial(recording.get_series, k, k + 1)) for k in indices)
    print(f"{path.stem}: one frame: {ours * 1e3:.3f} ms, preadv alone {limit * 1e3:.3f} ms")
    os.close(descriptor)


def test_opening(path: Path) -> None:
    roi.open(path).close()
    took = statistics.median(seconds(lambda: roi.open(path).close()) for _ in range(30))
    print(
        f"\n{path.stem}: opening, detection among {len(roi.formats())} formats included: {took * 1e3:.2f} ms (wanted < 20)"
    )

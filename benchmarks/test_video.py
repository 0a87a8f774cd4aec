"""Reading and opening video beside OpenCV, and uncompressed AVI beside `os.preadv` of the same bytes, in the same run.

Needs opencv-python-headless beside the plugin.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_video.frames import open_frames

cv2 = pytest.importorskip("cv2")

COUNT, ROWS, COLUMNS = 120, 480, 752
SCATTERED = np.random.default_rng(1).permutation(COUNT)[:30]


def movie() -> np.ndarray:
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    still = 100 + 60 * np.sin(columns / 60) + 40 * np.cos(rows / 30)
    noise = np.random.default_rng(0).normal(0, 5, (8, ROWS, COLUMNS))
    return np.stack([np.clip(still + noise[k % 8] + k % 11, 0, 255) for k in range(COUNT)]).astype(np.uint8)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return movie()


def written(path: Path, frames: np.ndarray, code: str, *, is_colour: bool) -> Path:
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*code), 30.0, (COLUMNS, ROWS), is_colour)
    for frame in frames:
        video.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) if is_colour else frame)
    video.release()
    return path


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    result = call()
    took = time.perf_counter() - started
    del result
    return took


def ratio(other: Callable[[], object], ours: Callable[[], object], rounds: int = 5) -> str:
    """Return the other's best time by ours, on the wall and of the processor: the wall tells little on a busy machine."""
    walls, processors = [], []
    for _ in range(rounds):
        began = time.process_time()
        first = seconds(other)
        between = time.process_time()
        walls.append((first, seconds(ours)))
        processors.append((between - began, time.process_time() - between))
    best = [[min(column) for column in zip(*pairs, strict=True)] for pairs in (walls, processors)]
    return f"x{best[0][0] / best[0][1]:.2f} (processor x{best[1][0] / best[1][1]:.2f})"


def by_opencv(path: Path, indices: np.ndarray | None = None) -> np.ndarray:
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    wanted: Any = range(COUNT) if indices is None else indices.tolist()
    result = np.empty((len(wanted), ROWS, COLUMNS), np.uint8)
    for place, index in enumerate(wanted):
        if indices is not None:
            video.set(cv2.CAP_PROP_POS_FRAMES, index)
        result[place] = cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2GRAY)
    video.release()
    return result


def by_us(path: Path, indices: np.ndarray | None = None) -> np.ndarray:
    video = open_frames(path)
    found = video.read(np.arange(video.num_frames) if indices is None else indices)
    video.close()
    return found


def one_by_one(path: Path) -> np.ndarray:
    video = open_frames(path)
    result = np.stack([video.read(np.array([k]))[0] for k in range(video.num_frames)])
    video.close()
    return result


@pytest.mark.parametrize("is_colour", [True, False], ids=["in_colour", "grey"])
@pytest.mark.parametrize("code", ["FFV1", "MJPG"])
def test_coded_frames_beside_opencv(tmp_path: Path, frames: np.ndarray, code: str, is_colour: bool) -> None:
    path = written(tmp_path / "m.avi", frames, code, is_colour=is_colour)
    assert np.array_equal(by_opencv(path), by_us(path))
    assert np.array_equal(by_opencv(path, SCATTERED), by_us(path, SCATTERED))
    whole = ratio(lambda: by_opencv(path), lambda: by_us(path))
    single = ratio(lambda: by_opencv(path), lambda: one_by_one(path))
    scattered = ratio(lambda: by_opencv(path, SCATTERED), lambda: by_us(path, SCATTERED))
    print(f"\n{code} colour={is_colour}: whole {whole}, one by one {single}, scattered {scattered} of OpenCV's speed")


def test_uncompressed_frames_beside_preadv(tmp_path: Path, frames: np.ndarray) -> None:
    path = written(tmp_path / "m.avi", frames, "GREY", is_colour=False)
    size, start = ROWS * COLUMNS, int(open_frames(path)._offsets[0])
    descriptor = os.open(path, os.O_RDONLY)

    def plain() -> np.ndarray:
        result = np.empty((COUNT, ROWS, COLUMNS), np.uint8)
        for k, frame in enumerate(result):
            os.preadv(descriptor, [frame], start + k * (size + 8))
        return result

    def plain_scattered() -> np.ndarray:
        result = np.empty((len(SCATTERED), ROWS, COLUMNS), np.uint8)
        for frame, k in zip(result, SCATTERED.tolist(), strict=True):
            os.preadv(descriptor, [frame], start + k * (size + 8))
        return result

    video = open_frames(path)
    every = np.arange(COUNT)
    whole = ratio(plain, lambda: video.read(every), rounds=15)
    scattered = ratio(plain_scattered, lambda: video.read(SCATTERED), rounds=15)
    single = ratio(plain, lambda: [video.read(every[k : k + 1]) for k in range(COUNT)], rounds=15)
    os.close(descriptor)
    print(f"\nuncompressed: whole {whole}, scattered {scattered}, one by one {single} of preadv's speed")


@pytest.mark.parametrize("code", ["FFV1", "MJPG", "GREY"])
def test_opening(tmp_path: Path, frames: np.ndarray, code: str) -> None:
    path = written(tmp_path / "m.avi", frames, code, is_colour=False)
    code_of = "import time, roiextractors_video.extractor as e, roiextractors_core; {}; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    ours = f"e.VideoImagingExtractor({str(path)!r}, channel='grey')"
    took = [
        float(
            subprocess.run(
                [sys.executable, "-c", code_of.format("import av", ours)], capture_output=True, text=True
            ).stdout
        )
        for _ in range(3)
    ]
    print(f"\n{code}: opened {COUNT} frames in {1000 * min(took):.1f} ms")

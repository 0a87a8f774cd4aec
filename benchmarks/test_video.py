"""Video: coded frames compared with OpenCV, uncompressed AVI with the limit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_video.frames import open_frames

import roiextractors_core as roi
from benchmarks import rivals
from benchmarks.conftest import READS, Beside

cv2 = pytest.importorskip("cv2", reason="OpenCV writes the videos; benchmarks/requirements.txt names it")

COUNT, ROWS, COLUMNS = 120, 480, 752
CODED = [("FFV1", False), ("FFV1", True), ("MJPG", False), ("MJPG", True)]


def movie() -> np.ndarray:
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    still = 100 + 60 * np.sin(columns / 60) + 40 * np.cos(rows / 30)
    noise = np.random.default_rng(0).normal(0, 5, (8, ROWS, COLUMNS))
    return np.stack([np.clip(still + noise[k % 8] + k % 11, 0, 255) for k in range(COUNT)]).astype(np.uint8)


def written(path: Path, frames: np.ndarray, code: str, *, is_colour: bool) -> Path:
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*code), 30.0, (COLUMNS, ROWS), is_colour)
    for frame in frames:
        video.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) if is_colour else frame)
    video.release()
    return path


@pytest.fixture(scope="module", params=CODED, ids=lambda kind: f"{kind[0]}-{'colour' if kind[1] else 'grey'}")
def coded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    code, is_colour = request.param
    path = written(tmp_path_factory.mktemp("video") / "m.avi", movie(), code, is_colour=is_colour)
    return f"AVI, {code}, {'in colour' if is_colour else 'grey'}", path


@pytest.mark.parametrize("what", [what for what in READS if what != "part"])
def test_reading_coded_frames(coded: tuple[str, Path], what: str, beside: Beside) -> None:
    name, path = coded
    others: dict[str, Callable[[], Any]] = {"OpenCV": partial(rivals.opencv, path, (ROWS, COLUMNS))}
    with roi.open(path, channel="grey") as recording:
        beside.reading(name, what, recording, others)


def test_frames_one_by_one_in_order(coded: tuple[str, Path], beside: Beside) -> None:
    name, path = coded

    def by_opencv() -> list[np.ndarray]:
        video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        found = [cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2GRAY)[None] for _ in range(COUNT)]
        video.release()
        return found

    def ours() -> list[np.ndarray]:
        with roi.open(path, channel="grey") as recording:
            return [recording.get_series(k, k + 1) for k in range(COUNT)]

    beside(f"{name}, all frames in order", ours, {"OpenCV": by_opencv}, group="single", per=COUNT)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("video") / "m.avi", movie(), "GREY", is_colour=False)


@pytest.mark.parametrize("what", READS)
def test_reading_uncompressed_frames(plain: Path, what: str, beside: Beside) -> None:
    size, video = ROWS * COLUMNS, open_frames(plain)
    start = int(video._offsets[0])  # type: ignore[attr-defined]
    video.close()
    offsets = [start + k * (size + 8) for k in range(COUNT)]
    others: dict[str, Callable[[], Any]] = {
        "os.preadv": partial(rivals.preadv, plain, offsets, (ROWS, COLUMNS), np.uint8),
        "OpenCV": partial(rivals.opencv, plain, (ROWS, COLUMNS)),
    }
    targets = {"sequential": 0.85, "scattered": 0.7, "single": 0.5}
    with roi.open(plain) as recording:
        beside.reading("AVI, uncompressed", what, recording, others, targets=targets)


@pytest.mark.parametrize("code", ["FFV1", "MJPG", "GREY"])
def test_opening(tmp_path: Path, code: str, beside: Beside) -> None:
    path = written(tmp_path / "m.avi", movie(), code, is_colour=False)

    def by_opencv() -> None:
        video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        video.get(cv2.CAP_PROP_FRAME_COUNT)
        video.release()

    options: dict[str, Any] = {} if code == "GREY" else {"channel": "grey"}
    note = "OpenCV reports the number of frames in the header; ours is the actual number"
    beside(f"AVI, {code}", lambda: roi.open(path, **options).close(), {"OpenCV": by_opencv}, group="opening", note=note)

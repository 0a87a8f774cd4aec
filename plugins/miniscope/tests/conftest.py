"""Writes recordings as the Miniscope software lays them out, with PyAV and text alone; shares no code with the plugin."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, or a skip."""
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip(f"the real recordings are not at {folder}; ROIEXTRACTORS_TEST_DATA names another place")
    return folder


@pytest.fixture
def frames() -> Callable[..., np.ndarray]:
    return _frames


@pytest.fixture
def write_v4() -> Callable[..., Path]:
    return _write_v4


@pytest.fixture
def write_v3() -> Callable[..., Path]:
    return _write_v3


@pytest.fixture
def write_video() -> Callable[..., None]:
    return _write_video


def _frames(count: int = 20, rows: int = 24, columns: int = 36, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, rows, columns), dtype=np.uint8)


def _write_video(path: Path, frames: np.ndarray, *, codec: str = "ffv1", pixels: str = "bgra", rate: int = 60) -> None:
    """Write as OpenCV does: grey in all three colours, a key frame every 12, and a rate that means nothing."""
    with av.open(str(path), "w") as container:
        options = {"g": "12", "level": "1"} if codec == "ffv1" else {}
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = pixels
        for k, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="gray")
            if pixels != "gray":
                picture = av.VideoFrame.from_ndarray(np.repeat(frame[..., None], 3, axis=2), format="bgr24")
            picture = picture.reformat(format=pixels)
            picture.pts = k
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _write_v4(
    session: Path,
    frames: np.ndarray,
    *,
    device: str = "Miniscope",
    kind: str = "Miniscope_V4_BNO",
    times: Sequence[int] | None = None,
    a_file: int = 1000,
    facts: Mapping[str, Any] | None = None,
    with_session: bool = True,
    **video: Any,
) -> Path:
    """Write one device of a session; ``times`` are milliseconds."""
    folder = session / device
    folder.mkdir(parents=True)
    for number, first in enumerate(range(0, len(frames), a_file)):
        _write_video(folder / f"{number}.avi", frames[first : first + a_file], **video)
    stated = {
        "compression": "FFV1",
        "deviceDirectory": "D:/Data",
        "deviceID": 0,
        "deviceName": device,
        "deviceType": kind,
        "ewl": 12,
        "frameRate": "20FPS",
        "framesPerFile": a_file,
        "gain": "Low",
        "led0": 21,
        **(facts or {}),
    }
    (folder / "metaData.json").write_text(json.dumps(stated, indent=4), encoding="utf-8")
    noted = [50 * k - 20 for k in range(len(frames))] if times is None else times
    rows = "".join(f"{k},{time},{k % 3}\n" for k, time in enumerate(noted))
    (folder / "timeStamps.csv").write_text(f"Frame Number,Time Stamp (ms),Buffer Index\n{rows}", encoding="ascii")
    if with_session:
        _write_session(session)
    return folder


def _write_session(session: Path) -> None:
    scopes = sorted(p.name for p in session.iterdir() if p.is_dir() and p.name.startswith("Miniscope"))
    start = {"year": 2023, "month": 2, "day": 3, "hour": 4, "minute": 5, "second": 6, "msec": 78}
    facts = {"animalName": "mouse 7", "miniscopes": scopes, "cameras": [], "recordingStartTime": start}
    (session / "metaData.json").write_text(json.dumps(facts), encoding="utf-8")


def _write_v3(
    folder: Path,
    frames: np.ndarray,
    *,
    behaviour: np.ndarray | None = None,
    camera: int = 1,
    a_file: int = 1000,
    separator: str = "\t",
    times: Sequence[int] | None = None,
) -> Path:
    """Write ``msCam1.avi`` and so on, ``timestamp.dat`` of both cameras as they alternate, and the settings."""
    folder.mkdir(parents=True)
    for number, first in enumerate(range(0, len(frames), a_file), 1):
        _write_video(folder / f"msCam{number}.avi", frames[first : first + a_file], pixels="gray")
    noted = [33 * k + 7 for k in range(len(frames))] if times is None else times
    rows = [(time, camera, k + 1) for k, time in enumerate(noted)]
    if behaviour is not None:
        _write_video(folder / "behavCam1.avi", behaviour, codec="mjpeg", pixels="yuvj420p")
        rows += [(40 * k + 11, 1 - camera, k + 1) for k in range(len(behaviour))]
    lines = ["camNum\tframeNum\tsysClock\tbuffer".replace("\t", separator)]
    lines += [separator.join(map(str, (who, number, time, 1))) for time, who, number in sorted(rows)]
    (folder / "timestamp.dat").write_text("\n".join(lines) + "\n", encoding="ascii")
    (folder / "settings_and_notes.dat").write_text(
        "animal\texcitation\tmsCamExposure\trecordLength\nm42\t10\t255\t600\n\nelapsedTime\tNote\n12\tlap 1\n",
        encoding="ascii",
    )
    return folder

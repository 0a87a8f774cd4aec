"""The rules of the design, on videos of each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.testing import ImagingExtractorTests

Make = Callable[..., Any]


class VideoTests(ImagingExtractorTests):
    format = "video"
    claims = ("avi", "mp4")

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 20.0

    @pytest.fixture
    def expected_times(self) -> Any:
        return None


class TestUncompressedAvi(VideoTests):
    @pytest.fixture
    def expected(self, noisy: Make) -> Any:
        return noisy(64, 96, 128)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, write_avi: Make) -> Any:
        return write_avi(tmp_path / "grey.avi", [frame.tobytes() for frame in expected], shape=expected.shape[1:])


class TestBottomUpBitmapsInSeveralRiffs(VideoTests):
    @pytest.fixture
    def expected(self, noisy: Make) -> Any:
        return noisy(31, 15, 21)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, write_avi: Make) -> Any:
        padded = np.pad(expected[:, ::-1], ((0, 0), (0, 0), (0, 3)))
        grey = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(256, 4)
        grey[:, 3] = 0
        return write_avi(
            tmp_path / "dib.avi",
            [frame.tobytes() for frame in padded],
            shape=expected.shape[1:],
            codec=bytes(4),
            extra=grey.tobytes(),
            index="opendml",
            riffs=3,
        )


class TestDeepGreyFfv1WithFewKeyFrames(VideoTests):
    has_own_code = True

    @pytest.fixture
    def expected(self, noisy: Make) -> Any:
        return noisy(30, 40, 50, np.uint16) >> 4

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, encode: Make) -> Any:
        deep = {"codec": "ffv1", "pixels": "gray12le", "source": "gray12le", "rate": 20, "g": "7", "level": "3"}
        return encode(tmp_path / "deep.avi", expected, **deep)


class TestColourWithoutLossInMatroska(VideoTests):
    open_options = {"channel": "green"}

    @pytest.fixture
    def colours(self, noisy: Make) -> Any:
        return np.stack([noisy(24, 32, 48, seed=seed) for seed in range(3)], axis=-1)

    @pytest.fixture
    def expected(self, colours: np.ndarray) -> Any:
        return colours[..., 1].copy()

    @pytest.fixture
    def expected_streams(self) -> Any:
        return {"channel": ("grey", "red", "green", "blue")}

    @pytest.fixture
    def expected_times(self) -> Any:
        return np.arange(24) / 20

    @pytest.fixture
    def recording(self, tmp_path: Path, colours: np.ndarray, encode: Make) -> Any:
        return encode(tmp_path / "colour.mkv", colours, pixels="bgr0", source="rgb24", rate=20, g="5", level="1")


class TestPredictedFramesInMp4(VideoTests):
    """H.264 without loss, with frames that are predicted from later ones; FFmpeg gives its grey as luma."""

    open_options = {"channel": "luma"}

    @pytest.fixture
    def expected(self) -> Any:
        rows, columns = np.mgrid[:48, :64]
        return np.stack([(rows * 2 + columns + 3 * k) % 200 + 20 for k in range(40)]).astype(np.uint8)

    @pytest.fixture
    def expected_times(self) -> Any:
        return np.arange(40) / 20

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, encode: Make) -> Any:
        lossless = {"qp": "0", "g": "12", "bf": "2", "preset": "medium"}
        return encode(tmp_path / "predicted.mp4", expected, codec="libx264", pixels="gray", rate=20, **lossless)


def test_a_playlist_is_no_video_and_leads_to_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.ts").write_bytes(b"G" + bytes(187))
    (tmp_path / "list.avi").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(roi.RecordingError, match=r"list\.avi"):
        roi.open(tmp_path / "list.avi", format="video")

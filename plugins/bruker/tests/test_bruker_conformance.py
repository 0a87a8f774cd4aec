"""The rules of the design, on recordings of several layouts made by a writer of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roiextractors_core.testing import ImagingExtractorTests

Make = Callable[..., Any]


class TestOneFrameAFile(ImagingExtractorTests):
    format = "bruker"
    files_know_their_place = False  # the XML names the files; the frames in them have no number

    @pytest.fixture
    def expected(self, frames: Make) -> np.ndarray:
        return np.asarray(frames(64, 96, 128))

    @pytest.fixture
    def recording(self, prairie: Make, expected: np.ndarray) -> Path:
        made = prairie()
        made.movie({(2, "Ch2"): expected})
        return Path(made.write())

    @pytest.fixture
    def expected_rate(self) -> float:
        return 1 / 0.033

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return np.round(np.arange(64) * 0.033, 9)


class TestTheXml(TestOneFrameAFile):
    @pytest.fixture
    def recording(self, prairie: Make, expected: np.ndarray) -> Path:
        made = prairie()
        made.movie({(2, "Ch2"): expected})
        made.write()
        return Path(made.xml)


class TestTwoChannelsOfManyPagesInBursts(ImagingExtractorTests):
    format = "bruker"
    has_own_code = True
    files_know_their_place = False  # the XML names the files; the frames in them have no number
    open_options = {"channel": "Green"}

    @pytest.fixture
    def expected(self, frames: Make) -> np.ndarray:
        return np.asarray(frames(15, offset=7))

    @pytest.fixture
    def recording(self, prairie: Make, frames: Make, expected: np.ndarray) -> Path:
        made = prairie(version="5.8.64.200")
        made.movie(
            {(1, "Red"): frames(15), (2, "Green"): expected}, bursts=[5, 5, 5], starts=[0.0, 10.25, 21.5], paged=True
        )
        return Path(made.write())

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("Red", "Green")}

    @pytest.fixture
    def expected_rate(self) -> float:
        return 1 / 0.033

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return np.concatenate([np.arange(5) * 0.033 + start for start in (0.0, 10.25, 21.5)])


class TestVolumes(ImagingExtractorTests):
    format = "bruker"
    files_know_their_place = False  # the XML names the files; the frames in them have no number

    @pytest.fixture
    def expected(self, frames: Make) -> np.ndarray:
        return np.asarray(np.moveaxis(frames(21).reshape(7, 3, 20, 12), 1, -1).copy())

    @pytest.fixture
    def recording(self, prairie: Make, expected: np.ndarray) -> Path:
        made = prairie()
        made.volumes({(1, "Red"): expected}, depths=[["100", "-30"], ["100", "0"], ["100", "30"]], step=0.125)
        return Path(made.write())

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"plane": ("0", "1", "2")}

    @pytest.fixture
    def expected_rate(self) -> float:
        return 8.0

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return np.arange(7) * 0.125


class TestBefore51(TestOneFrameAFile):
    @pytest.fixture
    def recording(self, prairie: Make, expected: np.ndarray) -> Path:
        made = prairie(version="4.3.2.24", old=True)
        made.movie({(2, ""): expected}, times=("",))
        return Path(made.write())

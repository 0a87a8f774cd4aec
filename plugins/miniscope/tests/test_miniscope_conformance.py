"""The rules of the design, on recordings of both generations and through several of their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roiextractors_core.testing import ImagingExtractorTests

Make = Callable[..., Any]


class MiniscopeTests(ImagingExtractorTests):
    format = "miniscope"

    @pytest.fixture
    def expected(self, frames: Make) -> Any:
        return frames(64, 96, 128)

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 20.0

    @pytest.fixture
    def expected_times(self) -> Any:
        return (np.arange(64) * 50 - 20) / 1000


class TestFolderOfADevice(MiniscopeTests):
    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, write_v4: Make) -> Any:
        return write_v4(tmp_path / "15_03_28", expected, a_file=17, pixels="gray")


class TestFolderOfASession(MiniscopeTests):
    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, write_v4: Make) -> Any:
        return write_v4(tmp_path / "15_03_28", expected, a_file=30).parent


class TestOneVideoOfADevice(MiniscopeTests):
    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, write_v4: Make) -> Any:
        return write_v4(tmp_path / "15_03_28", expected, codec="rawvideo", pixels="gray") / "0.avi"


class TestTwoMiniscopes(MiniscopeTests):
    open_options = {"device": "Miniscope_2"}

    @pytest.fixture
    def expected_streams(self) -> Any:
        return {"device": ("Miniscope_1", "Miniscope_2")}

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, frames: Make, write_v4: Make) -> Any:
        write_v4(tmp_path / "run", frames(5), device="Miniscope_1")
        return write_v4(tmp_path / "run", expected, device="Miniscope_2", pixels="gray").parent


class TestThirdGeneration(MiniscopeTests):
    has_own_code = True

    @pytest.fixture
    def expected_rate(self) -> Any:
        return 1000 / 33

    @pytest.fixture
    def expected_times(self) -> Any:
        return (np.arange(64) * 33 + 7) / 1000

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, frames: Make, write_v3: Make) -> Any:
        return write_v3(tmp_path / "H15_M3", expected, behaviour=frames(30))

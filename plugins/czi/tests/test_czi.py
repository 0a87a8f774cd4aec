"""Zeiss CZI as recordings: the contract on files that Zeiss's library wrote, choices, and who comes first."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.testing import ImagingExtractorTests


def made(
    times: int, planes: int, channels: int, rows: int = 24, columns: int = 32, dtype: Any = np.uint16
) -> np.ndarray:
    """Return ``(times, planes, channels, rows, columns)``, each frame another."""
    return np.random.default_rng(7).integers(0, 250, (times, planes, channels, rows, columns)).astype(dtype)


class TestCzi(ImagingExtractorTests):
    """A volumetric CZI file of two channels, without times."""

    format = "czi"
    open_options = {"channel": "Green"}

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return np.moveaxis(made(5, 3, 2)[:, :, 0], 1, 3)

    @pytest.fixture
    def expected_rate(self) -> None:
        return None

    @pytest.fixture
    def expected_times(self) -> None:
        return None

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("Green", "Red")}

    @pytest.fixture
    def recording(self, tmp_path: Path, write_czi: Callable[..., Path]) -> Path:
        return write_czi(tmp_path / "made.czi", made(5, 3, 2), names=("Green", "Red"))


def test_scenes_that_a_czi_does_not_name_are_scenes(tmp_path: Path, write_czi: Callable[..., Path]) -> None:
    data = made(3, 1, 1)
    path = write_czi(tmp_path / "a.czi", data, scenes=2)
    assert roi.streams(path)["scene"] == ("0", "1")
    with pytest.raises(roi.StreamChoiceError, match="the scenes '0' and '1'; choose one"):
        roi.open(path)
    for scene in (0, 1):
        with roi.open(path, scene=scene) as recording:
            np.testing.assert_array_equal(recording.get_series(), data[:, 0, 0] + scene)


def test_what_other_plugins_recognise_is_left_to_them(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", made(3, 1, 1)[:, 0, 0])
    (tmp_path / "a.czi").write_bytes((tmp_path / "a.npy").read_bytes())
    best = roi.explain(tmp_path / "a.czi").best
    assert best is not None
    assert best.spec.name == "npy"


def test_neither_declaring_nor_importing_the_extractor_imports_the_decoder() -> None:
    code = "import roiextractors_czi.hooks, roiextractors_czi.extractor, sys; print('imagecodecs' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

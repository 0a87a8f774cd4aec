"""A file from the microscope by the contract of recordings, and who comes first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.testing import ImagingExtractorTests


class TestNd2(ImagingExtractorTests):
    """A file from the microscope, since nobody else writes ND2; what it holds by the library of its frames."""

    format = "nd2"
    open_options = {"channel": "5-FAM/pH 9.0"}

    @pytest.fixture
    def recording(self, recordings: Path) -> Path:
        pytest.importorskip("nd2", reason="nd2 is not installed")
        return recordings / "nikon" / "cluster.nd2"

    @pytest.fixture
    def expected(self, recording: Path) -> np.ndarray:
        nd2 = pytest.importorskip("nd2")
        return np.moveaxis(nd2.imread(recording)[:, :, 0], 1, 3)

    @pytest.fixture
    def expected_rate(self) -> float:
        return 2e3 / (21740.177914 - 445.083498)  # the times are regular to 6e-4 of a period

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return np.array([445.083498, 11086.180222, 21740.177914]) / 1e3

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("5-FAM/pH 9.0", "FM 4-64/2% CHAPS")}


def test_a_missing_library_is_named_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nd2", None)
    (tmp_path / "a.nd2").write_bytes(bytes.fromhex("dacebe0a").ljust(2048, b"\0"))
    with pytest.raises(
        roi.MissingDependencyError, match=r"Nikon ND2 needs nd2, which is not installed: .*pip install nd2"
    ):
        roi.open(tmp_path / "a.nd2")
    from roiextractors_nd2.extractor import Nd2ImagingExtractor

    with pytest.raises(roi.MissingDependencyError, match=r"a.nd2 needs nd2, which is not installed: .*pip install nd2"):
        Nd2ImagingExtractor(tmp_path / "a.nd2")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jp2", bytes.fromhex("0000000c6a5020200d0a870a") + b"\0\0\0\x14ftypjp2 ".ljust(600, b"\0")),
        ("a.nd2", b"\x93NUMPY"),
    ],
)
def test_relatives_are_left_to_others(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    best = roi.explain(tmp_path / name).best
    assert best is None or best.plugin != "roiextractors-nd2"


def test_neither_declaring_nor_importing_the_extractor_imports_the_library() -> None:
    code = "import roiextractors_nd2.hooks, roiextractors_nd2.extractor, sys; print('nd2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

"""Detection, by the declaration alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from roiextractors_scanimage.hooks import roiextractors_formats

import roiextractors_core as roi
from roiextractors_core.io import Source

Make = Callable[..., Any]


@pytest.fixture
def movie(tmp_path: Path, write_bigtiff: Make, header_text: Make, page_texts: Make, numbered_frames: Make) -> Make:
    def written(name: str = "m.tif", **more: Any) -> Path:
        return Path(write_bigtiff(tmp_path / name, header_text(), page_texts(3), numbered_frames(3), **more))

    return written


def finding(path: Path) -> bool | None:
    (spec,) = roiextractors_formats()
    assert spec.evidence is not None
    with Source(path) as source:
        return spec.evidence.check(source).answer


def test_a_recording_is_recognised_by_each_kind_of_evidence(
    movie: Make, tmp_path: Path, write_classic: Make, numbered_frames: Make
) -> None:
    assert finding(movie())
    assert finding(movie(static=False))
    for text in (
        "scanimage.SI4.channelsSave = 1\n",
        "state.configPath='C:\\x'\rstate.acq.frameRate=3\r",
        "frameNumbers = 1\nframeTimestamps_sec = 0.0\n",
    ):
        assert finding(write_classic(tmp_path / "c.tif", [text], numbered_frames(1)))
    assert not finding(write_classic(tmp_path / "c.tif", ["ImageJ=1.53t\nimages=1\n"], numbered_frames(1)))


def test_a_folder_of_an_acquisition_is_recognised(movie: Make, tmp_path: Path) -> None:
    movie()
    assert finding(tmp_path)
    (tmp_path / "m.tif").write_bytes(b"nothing")
    assert not finding(tmp_path)


@pytest.mark.parametrize("name", ["m.tif", "m", "m.dat"])
def test_one_call_opens_a_recording_whatever_its_name(movie: Make, name: str) -> None:
    path = movie(name)
    with roi.open(path) as recording:
        assert recording.shape == (3, 4, 6)
        assert recording.provenance.format == "scanimage"
        assert recording.provenance.plugin == "roiextractors-scanimage"
    assert roi.streams(path) == {}


def test_declaring_imports_neither_the_extractor_nor_numpy_readers() -> None:
    code = (
        "import sys, roiextractors_scanimage.hooks as h; list(h.roiextractors_formats());"
        "print([m for m in sys.modules if m.startswith(('tifffile', 'roiextractors_tiff', 'roiextractors_scanimage.'))])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "['roiextractors_scanimage.hooks']"

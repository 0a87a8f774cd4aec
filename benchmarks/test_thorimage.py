"""ThorImage: opening, files of one frame each, and every second frame of a raw file."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import roiextractors_core as roi
from benchmarks import rivals
from benchmarks.conftest import READS, Beside

COUNT, ROWS, COLUMNS = 400, 512, 512

EXPERIMENT = """<?xml version="1.0"?>
<ThorImageExperiment>
  <Software version="4.0.2020.2171" />
  <Wavelengths><Wavelength name="ChanA" /><Wavelength name="ChanB" /><ChannelEnable Set="3" /></Wavelengths>
  <ZStage steps="1" stepSizeUM="1" enable="1" />
  <Timelapse timepoints="{points}" intervalSec="0" />
  <LSM pixelX="{columns}" pixelY="{rows}" averageMode="0" averageNum="1" pixelSizeUM="0.5" frameRate="30" channel="3" />
  <Streaming enable="1" frames="{points}" rawData="{raw}" zFastEnable="0" flybackFrames="0" />
  <CaptureMode mode="1" />
  <RawData onlyEnabledChannels="1" />
</ThorImageExperiment>
"""


def written(folder: Path, count: int, rows: int) -> list[Path]:
    """Write a file for every frame, of one channel."""
    text = EXPERIMENT.format(points=count, rows=rows, columns=rows, raw=0)
    (folder / "Experiment.xml").write_text(text.replace('<Wavelength name="ChanB" />', ""))
    paths = [folder / f"ChanA_001_001_001_{t + 1:03d}.tif" for t in range(count)]
    for t, path in enumerate(paths[:50]):
        tifffile.imwrite(path, np.full((rows, rows), t, np.uint16), metadata=None)
    for t, path in enumerate(paths[50:]):
        path.write_bytes(paths[t % 50].read_bytes())
    return paths


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return written(tmp_path_factory.mktemp("frames"), COUNT, ROWS)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    (folder / "Experiment.xml").write_text(EXPERIMENT.format(points=COUNT, rows=ROWS, columns=COLUMNS, raw=1))
    with (folder / "Image_0001_0001.raw").open("wb") as stream:
        for k in range(2 * COUNT):
            stream.write(np.full((ROWS, COLUMNS), k, "<u2").tobytes())
    return folder


@pytest.mark.parametrize("what", READS)
def test_reading_frames_of_a_file_each(frames: list[Path], what: str, beside: Beside) -> None:
    with tifffile.TiffFile(frames[0]) as file:
        offset = int(file.pages[0].dataoffsets[0])
    others: dict[str, Callable[[], Any]] = {
        "os.preadv": partial(rivals.preadv_files, frames, offset, (ROWS, COLUMNS), np.uint16),
        "tifffile": partial(rivals.tifffile, frames),
    }
    with roi.open(frames[0].parent) as recording:
        beside.reading(f"ThorImage, {COUNT} files", what, recording, others, targets={"sequential": 0.8})


@pytest.mark.parametrize("what", READS)
def test_reading_a_channel_of_a_raw_file(raw: Path, what: str, beside: Beside) -> None:
    size = ROWS * COLUMNS * 2
    offsets = [(2 * k + 1) * size for k in range(COUNT)]
    path = raw / "Image_0001_0001.raw"
    others = {"os.preadv": partial(rivals.preadv, path, offsets, (ROWS, COLUMNS), np.uint16)}
    targets = {"sequential": 0.85, "scattered": 0.7, "single": 0.5}
    with roi.open(raw, channel="ChanB") as recording:
        beside.reading("ThorImage raw, every second frame", what, recording, others, targets=targets)


@pytest.mark.parametrize("count", [1000, 10_000])
def test_opening_by_the_number_of_files(tmp_path: Path, count: int, beside: Beside) -> None:
    written(tmp_path, count, 16)

    def limit() -> None:
        with os.scandir(tmp_path) as entries:
            sum(1 for entry in entries if entry.name)
        ElementTree.parse(tmp_path / "Experiment.xml")

    beside(
        "opening a ThorImage recording",
        lambda: roi.open(tmp_path).close(),
        {"listing and parse": limit},
        group="opening",
        limit="listing and parse",
        growth=("files", count),
    )

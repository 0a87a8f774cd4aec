"""ThorImage against the physical limits: listing the folder, and reading the same bytes, in the same run."""

from __future__ import annotations

import os
import statistics
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from roiextractors_thorimage.extractor import ThorImageImagingExtractor

import roiextractors_core as roi

FILES = 10_000
ROWS = COLUMNS = 512

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


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    result = call()
    took = time.perf_counter() - started
    del result
    return took


def ratio(limit: Callable[[], object], ours: Callable[[], object], rounds: int = 7) -> float:
    pairs = [(seconds(limit), seconds(ours)) for _ in range(rounds)]
    return statistics.median(a / b for a, b in pairs[1:])


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten thousand files of one small frame: two channels of 5,000."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "Experiment.xml").write_text(EXPERIMENT.format(points=FILES // 2, rows=16, columns=16, raw=0))
    tifffile.imwrite(folder / "one.tif", np.zeros((16, 16), np.uint16), metadata=None)
    content = (folder / "one.tif").read_bytes()
    (folder / "one.tif").unlink()
    for channel in "AB":
        for t in range(FILES // 2):
            (folder / f"Chan{channel}_001_001_001_{t + 1:03d}.tif").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    (folder / "Experiment.xml").write_text(
        EXPERIMENT.format(points=400, rows=ROWS, columns=COLUMNS, raw=0).replace('<Wavelength name="ChanB" />', "")
    )
    for t in range(400):
        tifffile.imwrite(
            folder / f"ChanA_001_001_001_{t + 1:03d}.tif", np.full((ROWS, COLUMNS), t, np.uint16), metadata=None
        )
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    (folder / "Experiment.xml").write_text(EXPERIMENT.format(points=400, rows=ROWS, columns=COLUMNS, raw=1))
    with (folder / "Image_0001_0001.raw").open("wb") as stream:
        for k in range(800):
            stream.write(np.full((ROWS, COLUMNS), k, "<u2").tobytes())
    return folder


def test_opening_ten_thousand_files(many: Path) -> None:
    def limit() -> object:
        with os.scandir(many) as entries:
            names = [entry.name for entry in entries]
        return names, ElementTree.parse(many / "Experiment.xml")

    ours = ratio(limit, lambda: ThorImageImagingExtractor(many, channel="ChanA").close())
    whole = ratio(limit, lambda: roi.open(many, channel="ChanA").close())
    print(f"\nopening 10,000 files: {1 / ours:.2f} x scandir and XML ({1 / whole:.2f} x with detection)")


def test_reading_frames_of_a_file_each(frames: Path) -> None:
    paths = sorted(str(path) for path in frames.glob("*.tif"))

    def limit() -> object:
        result = np.empty((400, ROWS, COLUMNS), np.uint16)
        for path, frame in zip(paths, result, strict=True):
            with open(path, "rb", buffering=0) as stream:
                stream.readinto(frame)
        return result

    with roi.open(frames) as recording:
        print(f"\n400 files of 512 KiB: {ratio(limit, recording.get_series):.2f} of open().readinto()")


def test_reading_a_channel_of_a_raw_file(raw: Path) -> None:
    descriptor = os.open(raw / "Image_0001_0001.raw", os.O_RDONLY)
    size = ROWS * COLUMNS * 2

    def limit() -> object:
        result = np.empty((400, ROWS, COLUMNS), np.uint16)
        for k, frame in enumerate(result):
            os.preadv(descriptor, [frame], (2 * k + 1) * size)
        return result

    with roi.open(raw, channel="ChanB") as recording:
        print(f"\nraw, every second frame: {ratio(limit, recording.get_series):.2f} of preadv")
    os.close(descriptor)

"""Writes ThorImage recordings as ThorImage lays them out; shares no code with the extractor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

_XML = """<?xml version="1.0"?>
<ThorImageExperiment>
  <Name name="mouse" />
  <Date date="05/05/2020 17:14:26" uTime="1588691666" />
  <Software version="{version}" />
  <Camera name="None" width="1392" height="1040" pixelSizeUM="6.45" binning="2" binningX="2" binningY="1" averageMode="0" averageNum="0" />
  <Magnification mag="20" name="20X" />
  <Wavelengths nyquistExWavelengthNM="488" nyquistEmWavelengthNM="488">
{waves}
    <ChannelEnable Set="{enabled}" />
  </Wavelengths>
  <ZStage name="ThorZPiezo" steps="{steps}" stepSizeUM="{step_size}" startPos="0" zStreamFrames="1" zStreamMode="0" enable="{z_enable}" />
  <Timelapse timepoints="{points}" intervalSec="{interval}" triggerMode="0" />
  <LSM name="ResonanceGalvo" channel="{enabled}" pixelX="{columns}" pixelY="{rows}" averageMode="{average_mode}" averageNum="{average}" pixelSizeUM="0.5" frameRate="{rate}" {lsm}/>
  <Streaming enable="{streaming}" frames="{frames}" rawData="{raw}" zFastEnable="{fast_z}" flybackFrames="{flyback}" />
  <CaptureMode mode="{mode}" />
  <Modality name="Multiphoton" primaryDetectorType="1" />
  <ExperimentStatus value="{status}" />
{raw_data}
</ThorImageExperiment>
"""


def _experiment(shape: tuple[int, ...], **changes: Any) -> str:
    """Experiment.xml for ``(time points, planes, channels, rows, columns)``; a stream, fast where there are planes."""
    points, planes, channels, rows, columns = shape
    flyback = changes.pop("flyback", 3)
    names = changes.pop("names", [f"Chan{letter}" for letter in "ABCD"[:channels]])
    fast = planes > 1
    values: dict[str, Any] = {
        "version": "4.0.2020.2171",
        "waves": "\n".join(f'    <Wavelength name="{name}" exposureTimeMS="0" />' for name in names),
        "enabled": (1 << channels) - 1,
        "steps": planes,
        "step_size": 15,
        "z_enable": 1,
        "points": points,
        "interval": 0,
        "rows": rows,
        "columns": columns,
        "average_mode": 0,
        "average": 5,
        "rate": 30.0,
        "lsm": "",
        "streaming": 1,
        "frames": points * (planes + (flyback if fast else 0)),
        "raw": 0,
        "fast_z": int(fast),
        "flyback": flyback,
        "mode": 1,
        "status": "Complete",
        "raw_data": '  <RawData onlyEnabledChannels="1" />',
    }
    return _XML.format(**{**values, **changes})


def _write_tiff(
    folder: Path, data: np.ndarray, *, digits: int = 4, compression: str | None = None, **changes: Any
) -> Path:
    """A TIFF a frame of ``(time points, planes, channels, rows, columns)``."""
    folder.mkdir(exist_ok=True)
    names = changes.get("names") or [f"Chan{letter}" for letter in "ABCD"[: data.shape[2]]]
    site, tile = changes.pop("place", (1, 1))
    (folder / "Experiment.xml").write_text(_experiment(data.shape, **changes), encoding="utf-8")
    for t, z, c in np.ndindex(*data.shape[:3]):
        numbers = "_".join(f"{n:0{digits}d}" for n in (site, tile, z + 1, t + 1))
        tifffile.imwrite(folder / f"{names[c]}_{numbers}.tif", data[t, z, c], compression=compression, metadata=None)
    return folder


def _write_raw(folder: Path, data: np.ndarray, *, flyback: int = 0, digits: int = 4, **changes: Any) -> Path:
    """A raw file of ``(time points, planes, channels, rows, columns)``; the frames of the flyback are all 7."""
    folder.mkdir(exist_ok=True)
    stored = changes.pop("stored", None)
    xml = _experiment(data.shape, flyback=flyback, raw=1, **changes)
    (folder / "Experiment.xml").write_text(xml, encoding="utf-8")
    stored = data if stored is None else stored
    back = np.full((len(stored), flyback, *stored.shape[2:]), 7, np.uint16)
    name = f"Image_{1:0{digits}d}_{1:0{digits}d}.raw"
    np.concatenate([stored, back], axis=1).astype("<u2").tofile(folder / name)
    return folder


@pytest.fixture(scope="session")
def write_tiff() -> Callable[..., Path]:
    return _write_tiff


@pytest.fixture(scope="session")
def write_raw() -> Callable[..., Path]:
    return _write_raw


@pytest.fixture(scope="session")
def frames_of() -> Callable[..., np.ndarray]:
    """Random frames ``(time points, planes, channels, rows, columns)``."""

    def made(
        points: int, planes: int = 1, channels: int = 1, rows: int = 24, columns: int = 40, seed: int = 1
    ) -> np.ndarray:
        shape = (points, planes, channels, rows, columns)
        return np.random.default_rng(seed).integers(0, 8000, shape, dtype=np.uint16)

    return made

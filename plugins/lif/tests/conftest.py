"""Where the real recordings are, and files written by other means than the plugin."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FILETIME = 132_564_087_495_030_000  # 29 January 2021, 15:45:49.503 UTC, in units of 100 ns since 1601


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, or a skip."""
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip(f"the real recordings are not at {folder}; ROIEXTRACTORS_TEST_DATA names another place")
    return folder


@pytest.fixture
def write_lif() -> Callable[..., Path]:
    """Write ``(times, planes, channels, rows, columns)`` of 8 or 16 bits as LIF; one image, or several by name."""
    return _write_lif


def _write_lif(path: Path, images: dict[str, np.ndarray], **told: Any) -> Path:
    elements = "".join(
        _element(f"MemBlock_{k}", name, data, **told) for k, (name, data) in enumerate(images.items(), 1)
    )
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="made.lif"><Data><Experiment/></Data>'
        f'<Memory Size="0" MemoryBlockID="MemBlock_0"/><Children>{elements}</Children></Element></LMSDataContainerHeader>'
    )
    with path.open("wb") as stream:
        header = b"\x2a" + struct.pack("<I", len(xml)) + xml.encode("utf-16-le")
        stream.write(struct.pack("<II", 0x70, len(header)) + header)
        for k, data in enumerate([np.empty(0, np.uint8), *images.values()]):
            name = f"MemBlock_{k}"
            block = b"\x2a" + struct.pack("<Q", data.nbytes) + b"\x2a" + struct.pack("<I", len(name))
            block += name.encode("utf-16-le")
            stream.write(struct.pack("<II", 0x70, len(block)) + block + data.tobytes())
    return path


def _element(
    block: str,
    name: str,
    data: np.ndarray,
    *,
    seconds: float | None = 0.25,
    colours: Sequence[str] = (),
    stamps: Sequence[float] | None = None,
    plane_axis: int = 3,
    more: str = "",
) -> str:
    times, planes, channels, rows, columns = data.shape
    size = data.itemsize
    row, plane = columns * size, rows * columns * size
    axes = [(1, columns, size, (columns - 1) * 0.5e-6, "m"), (2, rows, row, (rows - 1) * 0.75e-6, "m")]
    axes += [(plane_axis, planes, plane * channels, (planes - 1) * 2e-6, "m")] if planes > 1 else []
    if times > 1:
        axes += [(4, times, plane * channels * planes, (times - 1) * (seconds or 0.0), "s" if seconds else "")]
    colours = colours or [f"Colour {k + 1}" for k in range(channels)]
    described = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * size}" NameOfMeasuredQuantity="" Min="0" Max="1" '
        f'Unit="" LUTName="{colour}" IsLUTInverted="0" BytesInc="{k * plane}" BitInc="0"/>'
        for k, colour in enumerate(colours)
    )
    described = f"<Channels>{described}</Channels><Dimensions>"
    described += "".join(
        f'<DimensionDescription DimID="{key}" NumberOfElements="{count}" Origin="0" Length="{length!r}" Unit="{unit}" '
        f'BytesInc="{step}" BitInc="0"/>'
        for key, count, step, length, unit in axes
    )
    described = f"<ImageDescription>{described}</Dimensions></ImageDescription>"
    if stamps is not None:
        listed = " ".join(f"{FILETIME + round(s * 1e7):x}" for s in stamps)
        described += f'<TimeStampList NumberOfTimeStamps="{len(stamps)}">{listed}</TimeStampList>'
    return (
        f'<Element Name="{name}"><Data><Image>{described}{more}</Image></Data>'
        f'<Memory Size="{data.nbytes}" MemoryBlockID="{block}"/></Element>'
    )

"""Writes datasets as neurofinder published them; shares no code with the plugin."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roiextractors_core import NumpyImagingExtractor
from roiextractors_core.testing import write_tiff

REGIONS = (
    {"id": 9000, "coordinates": [[1, 2], [1, 3], [2, 2]]},
    {"id": 9001, "coordinates": [[5, 30], [5, 31], [6, 31], [19, 39]]},
)
INFO = {
    "id": "00.00",
    "lab": "Svoboda",
    "region": "vS1",
    "indicator": "GCaMP6s",
    "rate-hz": 7.5,
    "dimensions": [20, 40, 3024],
    "pixels-per-micron": 1.25,
}


@pytest.fixture
def write_dataset() -> Callable[..., Path]:
    return _write_dataset


def _write_dataset(
    folder: Path,
    regions: Sequence[Mapping[str, Any]] = REGIONS,
    info: Mapping[str, Any] | None = INFO,
    *,
    images: tuple[int, int] | None = None,
    file: str = "regions/regions.json",
) -> Path:
    """Write the folder of a dataset; ``images`` is the shape of its frames."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(regions), encoding="utf-8")
    if info is not None:
        (folder / "info.json").write_text(json.dumps(info), encoding="utf-8")
    if images is not None:
        (folder / "images").mkdir()
        for number in range(3):
            frame = np.full((1, *images), number, np.uint16)
            write_tiff(NumpyImagingExtractor(frame), folder / "images" / f"image{number:05d}.tiff")
    return folder

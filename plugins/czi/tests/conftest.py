"""Where the real recordings are, and files written by Zeiss's own library."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, or a skip."""
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip(f"the real recordings are not at {folder}; ROIEXTRACTORS_TEST_DATA names another place")
    return folder


@pytest.fixture
def write_czi() -> Callable[..., Path]:
    """Write ``(times, planes, channels, rows, columns)`` as CZI by Zeiss's own library; or a skip."""
    pyczi = pytest.importorskip("pylibCZIrw.czi", reason="pylibCZIrw is not installed")

    def write(path: Path, data: np.ndarray, *, names: Sequence[str] = (), scenes: int = 1) -> Path:
        with pyczi.create_czi(str(path)) as document:
            for scene in range(scenes):
                for t, z, c in np.ndindex(data.shape[:3]):
                    document.write(
                        data=data[t, z, c][..., np.newaxis] + scene,
                        plane={"T": t, "Z": z, "C": c},
                        scene=scene,
                        location=(scene * 1000, 0),
                    )
            document.write_metadata(
                "made",
                channel_names=dict(enumerate(names)),
                scale_x=0.5e-6,
                scale_y=0.75e-6,
                scale_z=2e-6,
            )
        return path

    return write

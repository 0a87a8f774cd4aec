"""Where the real recordings are, and a writer of folders as suite2p makes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def write_plane() -> Callable[..., Path]:
    """Write the folder of one plane: movies by their names, and ops.npy with what is said besides."""

    def write(folder: Path, movies: dict[str, np.ndarray], **said: Any) -> Path:
        folder.mkdir(parents=True)
        first = next(iter(movies.values()))
        for name, movie in movies.items():
            (folder / name).write_bytes(movie.astype("<i2").tobytes())
        ops = {
            "look_one_level_down": 0.0,
            "fast_disk": [],
            "save_path0": "/data/mouse",
            "nplanes": 1,
            "nchannels": sum("raw" not in name for name in movies),
            "functional_chan": 1,
            "tau": 1.25,
            "fs": 7.5,
            "diameter": np.array([12, 13]),
            "filelist": [f"/data/mouse/file_{k:05}.tif" for k in range(5)],
            "nframes": len(first),
            "frames_per_file": np.full(5, 3, np.int32),
            "meanImg": first.mean(axis=0),
            "Ly": first.shape[1],
            "Lx": np.int64(first.shape[2]),
            "yoff": np.zeros(len(first), np.float32),
            "reg_file": r"C:\fast\suite2p\plane0\data.bin",
            **said,
        }
        np.save(folder / "ops.npy", ops, allow_pickle=True)  # type: ignore[arg-type]
        return folder

    return write


@pytest.fixture(scope="session")
def write_rois() -> Callable[..., Path]:
    """Write the folder of one plane without its movie: ROIs, traces, classifications, and ops.npy with what is said besides."""

    def write(folder: Path, rois: list[dict[str, Any]], arrays: dict[str, Any], **said: Any) -> Path:
        folder.mkdir(parents=True)
        stat = np.empty(len(rois), object)
        stat[:] = rois
        np.save(folder / "stat.npy", stat, allow_pickle=True)
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        ops = {"nplanes": 1, "nchannels": 1, "tau": 1.25, "fs": 7.5, "spikedetect": True, **said}
        np.save(folder / "ops.npy", ops, allow_pickle=True)  # type: ignore[arg-type]
        return folder

    return write

"""Traces that are computed from the movie and the ROIs of a suite2p folder, against those of suite2p itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

# Computed by suite2p 0.14.4 (create_cell_mask and extract_traces, allow_overlap off, then on) from the movie and the ROIs below
F = [[6118.75, 4711.0, 4061.5, 6150.0], [-370.14285, 4855.2856, 4899.715, 894.4286], [2273.0, 3707.0, -40.0, 6870.0]]
F_WITH_OVERLAP = [
    [3929.2942, 5104.8823, 3894.4119, 5421.9414],
    [-140.33334, 4885.4443, 4730.222, 2033.6666],
    [2273.0, 3707.0, -40.0, 6870.0],
]


def one(rows: Any, columns: Any, lam: Any, overlap: Any) -> dict[str, Any]:
    return {
        "ypix": np.array(rows, np.int32),
        "xpix": np.array(columns, np.int32),
        "lam": np.array(lam, np.float32),
        "overlap": np.array(overlap, bool),
        "npix": len(rows),
        "med": [rows[0], columns[0]],
    }


@pytest.fixture
def plane(tmp_path: Path, write_rois: Callable[..., Path]) -> Path:
    """A plane with its movie; of the first ROI, pixel (2, 3) belonged to another ROI as well, which suite2p has left out."""
    frames, rows, columns = np.arange(4)[:, None, None], np.arange(10)[:, None], np.arange(14)
    movie = ((frames * 37 + rows * 101 + columns * 13) ** 2 % 7919 - 500).astype("<i2")
    stat = [
        one([1, 1, 2, 2], [3, 4, 3, 4], [0.5, 1.5, 2.0, 0.25], [False, False, True, True]),
        one([2, 2, 3], [4, 5, 5], [1.0, 3.0, 0.5], [True, False, False]),
        one([8], [12], [0.125], [False]),
    ]
    traces = {name: np.array(F, np.float32) for name in ("F", "Fneu", "spks")}
    folder = write_rois(
        tmp_path / "suite2p" / "plane0", stat, {**traces, "iscell": np.ones((3, 2))}, Ly=10, Lx=14, nframes=4
    )
    (folder / "data.bin").write_bytes(movie.tobytes())
    return folder


def test_traces_from_the_movie_are_those_that_suite2p_stores(plane: Path) -> None:
    with roi.open(plane) as movie, roi.open(plane, kind="segmentation", include_overlap=False) as rois:
        traces = roi.traces(movie, rois)
        np.testing.assert_allclose(traces, rois.get_traces(name="raw"), rtol=2e-7)
    np.testing.assert_allclose(traces, np.transpose(F), rtol=2e-7)


def test_traces_of_all_pixels_are_those_of_allow_overlap(plane: Path) -> None:
    with roi.open(plane) as movie, roi.open(plane, kind="segmentation") as rois:
        np.testing.assert_allclose(roi.traces(movie, rois), np.transpose(F_WITH_OVERLAP), rtol=2e-7)


def test_the_traces_of_chosen_rois_are_the_same(plane: Path) -> None:
    """suite2p's own marks say which pixels count, so a choice of ROIs changes nothing."""
    with roi.open(plane) as movie, roi.open(plane, kind="segmentation", include_overlap=False) as rois:
        np.testing.assert_allclose(roi.traces(movie, rois.select_rois(["1"]))[:, 0], F[1], rtol=2e-7)

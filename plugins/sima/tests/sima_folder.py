"""Writes folders as SIMA does, by Python 2 and 3: the pickles are made here, with scipy's sparse matrices in them."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import lil_matrix

__all__ = [
    "COLUMNS",
    "MEAN",
    "RAW",
    "ROWS",
    "SAMPLES",
    "dump",
    "masks",
    "polygon_rois",
    "roi_of",
    "signals_of",
    "sima_rois",
    "write_sima",
]

ROWS, COLUMNS, SAMPLES = 7, 5, 600
RAW = np.random.default_rng(2).normal(size=(3, SAMPLES)).astype(np.float32)
MEAN = np.random.default_rng(4).random((1, ROWS, COLUMNS, 2))


class _Python2(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Pickles texts and bytes as the strings of Python 2."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def _save_string(self, value: Any) -> None:
        raw = value.encode("latin-1") if isinstance(value, str) else value
        head = b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + struct.pack("<i", len(raw))
        self.write(head + raw)
        self.memoize(value)

    dispatch[str] = _save_string
    dispatch[bytes] = _save_string


def dump(value: Any, python: str = "3") -> bytes:
    """Pickle as SIMA does: protocol 2 of Python 2, or one of Python 3 (``"3"`` or ``"3.8"``)."""
    if python == "2":
        buffer = io.BytesIO()
        _Python2(buffer, protocol=2).dump(value)
        return buffer.getvalue().replace(b"scipy.sparse._lil\n", b"scipy.sparse.lil\n")
    return pickle.dumps(value, protocol={"3": 3, "3.4": 4, "3.8": 5}[python])


def masks() -> np.ndarray:
    """Return ``(rois, rows, columns)``: different in every direction."""
    stack = np.zeros((3, ROWS, COLUMNS))
    stack[0, 1, 2], stack[0, 2, 2], stack[0, 2, 3] = 0.5, 1.5, 0.25
    stack[1, ROWS - 1, 0] = 2.0
    stack[2, 0, 1:4] = 1.0, 2.0, 3.0
    return stack


def roi_of(*planes: np.ndarray, **changes: Any) -> dict[str, Any]:
    """Return an ROI as ``ROI.todict`` makes it."""
    return {
        "mask": [lil_matrix(plane) for plane in planes],
        "polygons": None,
        "id": None,
        "label": None,
        "tags": set(),
        "im_shape": None,
        **changes,
    }


def sima_rois(**changes: Any) -> list[dict[str, Any]]:
    return [roi_of(plane, **changes) for plane in masks()]


def polygon_rois(*polygons: Any, **changes: Any) -> list[dict[str, Any]]:
    """Return one ROI for each list of polygons, which are arrays of x, y and plane."""
    return [roi_of(mask=None, polygons=[np.array(one, float) for one in some], **changes) for some in polygons]


def signals_of(rois: list[dict[str, Any]], raw: Any = None, **more: Any) -> dict[str, Any]:
    """Return an extraction as ``sima.extract`` makes it."""
    return {
        "raw": [RAW] if raw is None else raw,
        "mean_frame": MEAN[..., 0],
        "overlap": (np.zeros(0, np.int64), np.zeros(0, np.int64)),
        "signal_channel": 0,
        "rois": [{**roi, "im_shape": (1, ROWS, COLUMNS)} for roi in rois],
        "timestamp": "2020-02-03-03h47m17s",
        **more,
    }


def write_sima(
    folder: Path,
    *,
    python: str = "3",
    sets: dict[str, list[dict[str, Any]]] | None = None,
    signals: dict[int, dict[str, Any]] | None = None,
    channels: tuple[str, ...] = ("Green", "Blue"),
    averages: Any = MEAN,
    **facts: Any,
) -> Path:
    """Write a ``.sima`` folder: one set of ROIs and their signals in the first of two channels, unless something else is given."""
    folder.mkdir(parents=True, exist_ok=True)
    sets = {"auto_ROIs": sima_rois()} if sets is None else sets
    signals = {0: {"cells": signals_of(next(iter(sets.values())))}} if signals is None else signals
    dataset = {
        "savedir": "/data/mouse.sima",
        "channel_names": list(channels),
        "num_frames": SAMPLES,
        "frame_shape": (1, ROWS, COLUMNS, len(channels)),
        "num_sequences": 1,
        "__version__": "1.3.2",
        **facts,
    }
    contents = {
        "dataset": {key: value for key, value in dataset.items() if value is not ...},
        "rois": {
            label: {"rois": rois, "timestamp": f"2020-02-0{k + 1}"} for k, (label, rois) in enumerate(sets.items())
        },
        "time_averages": averages,
        **{f"signals_{channel}": entries for channel, entries in signals.items()},
    }
    for name, value in contents.items():
        if value is not None and (name != "rois" or sets):
            (folder / f"{name}.pkl").write_bytes(dump(value, python))
    return folder

"""Writes ``.npy`` files, with the times and metadata in a JSON file next to each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..io.blocks import Progress, read_blocks
from ..io.sidecar import Sidecar

__all__ = ["write"]


def write(recording: Any, partial: Path, *, target: Path, progress: Progress) -> None:
    """Write a recording as ``movie.npy`` and ``movie.npy.json``; see :class:`roiextractors_core.interop.writer.Writer`.

    References
    ----------
    NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays".
    """
    header = {"descr": np.lib.format.dtype_to_descr(recording.dtype), "fortran_order": False, "shape": recording.shape}
    with partial.open("xb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for _, block in read_blocks(recording, progress=progress):
            stream.write(np.ascontiguousarray(block).data)
    partial.with_name(f"{partial.name}.json").write_text(Sidecar.of(recording).to_json(), encoding="utf-8")

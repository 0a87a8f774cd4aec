"""Writes OME-Zarr 0.5: one array at full resolution in a Zarr 3 group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from roiextractors_core.io import SIDECAR_KEY, Progress, Sidecar, read_blocks

__all__ = ["write"]

_CHUNK_BYTES = 4 << 20


def write(recording: Any, partial: Path, *, target: Path, progress: Progress) -> None:
    """Write a recording as OME-Zarr 0.5; see :class:`roiextractors_core.interop.writer.Writer`.

    References
    ----------
    The OME-Zarr specification, version 0.5.
    """
    rows, columns = recording.get_frame_shape()
    planes = (recording.get_num_planes(),) if recording.is_volumetric else ()
    group = zarr.open_group(partial, mode="w", zarr_format=3)
    frame_bytes = max(1, rows * columns * recording.dtype.itemsize)
    array = group.create_array(
        "0",
        shape=(len(recording), *planes, rows, columns),
        chunks=(
            max(1, min(len(recording), _CHUNK_BYTES // frame_bytes)),
            *(1,) * len(planes),
            max(1, rows),
            max(1, columns),
        ),
        dtype=recording.dtype,
        dimension_names=("t", "z", "y", "x") if planes else ("t", "y", "x"),
        config={"write_empty_chunks": True},  # a chunk that was left out looks like one that was lost
    )
    for start, block in read_blocks(recording, progress=progress):
        array[start : start + len(block)] = np.moveaxis(block, 3, 1) if planes else block
    sidecar = Sidecar.of(recording)
    group.attrs.update({"ome": _multiscales(recording, sidecar), SIDECAR_KEY: sidecar.to_dict()})


def _multiscales(recording: Any, sidecar: Sidecar) -> dict[str, Any]:
    """Return the description of the one array; axes without a known size have a scale of 1 and no unit."""
    metadata = sidecar.metadata
    size = metadata.pixel_size or (1.0, 1.0)
    seconds = 1.0 / sidecar.rate if sidecar.rate else 1.0
    scale = {"t": seconds, "z": metadata.plane_spacing or 1.0, "y": size[0], "x": size[1]}
    axes: list[dict[str, str]] = [{"name": "t", "type": "time"} | ({"unit": "second"} if sidecar.rate else {})]
    for name in ("z", "y", "x") if recording.is_volumetric else ("y", "x"):
        known = metadata.plane_spacing if name == "z" else metadata.pixel_size
        axes.append({"name": name, "type": "space"} | ({"unit": "micrometer"} if known is not None else {}))
    transformations = [{"type": "scale", "scale": [scale[axis["name"]] for axis in axes]}]
    datasets = [{"path": "0", "coordinateTransformations": transformations}]
    return {"version": "0.5", "multiscales": [{"name": "imaging", "axes": axes, "datasets": datasets}]}

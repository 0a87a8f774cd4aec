"""Writes OME-TIFF: one BigTIFF file with the OME-XML in its first page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from roiextractors_core.errors import UnsupportedRecordingError
from roiextractors_core.io import SIDECAR_KEY, Progress, Sidecar, read_blocks, require_room

__all__ = ["write"]

_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def write(recording: Any, partial: Path, *, target: Path, progress: Progress) -> None:
    """Write a recording as OME-BigTIFF; see :class:`roiextractors_core.interop.writer.Writer`.

    Raises
    ------
    UnsupportedRecordingError
        OME-TIFF has no such dtype, or the recording is empty.

    References
    ----------
    The OME-TIFF specification and the OME model, schema 2016-06.
    """
    name = str(recording.dtype)
    if name not in _DTYPES:
        raise UnsupportedRecordingError(f"OME-TIFF cannot store {name}; write .npy or .zarr")
    if not recording.size:
        raise UnsupportedRecordingError(f"OME-TIFF cannot store an empty recording (shape {recording.shape})")
    rows, columns = recording.get_frame_shape()
    planes = (recording.get_num_planes(),) if recording.is_volumetric else ()
    require_room(partial, recording.nbytes)
    with tifffile.TiffWriter(partial, bigtiff=True, ome=True) as file:
        file.write(
            _frames(recording, progress),
            shape=(len(recording), *planes, rows, columns),
            dtype=recording.dtype,
            photometric="minisblack",
            contiguous=False,
            metadata=_ome_fields(recording),
        )


def _frames(recording: Any, progress: Progress) -> Iterator[np.ndarray]:
    """Yield frames, the planes of a sample one after the other."""
    for _, block in read_blocks(recording, progress=progress):
        for sample in block:
            yield from (sample,) if sample.ndim == 2 else np.moveaxis(sample, 2, 0)


def _ome_fields(recording: Any) -> dict[str, Any]:
    """Return the fields that OME has a name for; the sidecar in an annotation keeps all of them to the last digit."""
    sidecar = Sidecar.of(recording)
    metadata = sidecar.metadata
    fields: dict[str, Any] = {"axes": "TZYX" if recording.is_volumetric else "TYX"}
    if sidecar.rate is not None:
        fields |= {"TimeIncrement": 1.0 / sidecar.rate, "TimeIncrementUnit": "s"}
    if sidecar.times is not None:
        stamps = np.repeat(sidecar.times, recording.get_num_planes()).tolist()  # OME has a time for every plane
        fields["Plane"] = {"DeltaT": stamps, "DeltaTUnit": ["s"] * len(stamps)}
    if metadata.pixel_size is not None:
        fields |= {"PhysicalSizeY": metadata.pixel_size[0], "PhysicalSizeYUnit": "µm"}
        fields |= {"PhysicalSizeX": metadata.pixel_size[1], "PhysicalSizeXUnit": "µm"}
    if metadata.plane_spacing is not None:
        fields |= {"PhysicalSizeZ": metadata.plane_spacing, "PhysicalSizeZUnit": "µm"}
    if metadata.channels:
        fields["Channel"] = {"Name": [metadata.channels[0].name]}
    without_times = replace(sidecar, times=None)  # DeltaT has them
    fields["MapAnnotation"] = {"Namespace": SIDECAR_KEY, SIDECAR_KEY: json.dumps(without_times.to_dict())}
    return fields

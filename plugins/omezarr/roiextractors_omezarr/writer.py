"""Writes OME-Zarr 0.5: one array at full resolution in a Zarr 3 group."""

from __future__ import annotations

import functools
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from roiextractors_core.io import SIDECAR_KEY, Progress, Sidecar, read_blocks, run_on_cores

__all__ = ["OmeZarrWriter", "write"]

_CHUNK_BYTES = 4 << 20
# Descriptions of Zarr 2 and 3, and chunks: 0/c/1/2/3, 0/1/2/3 or 0/1.2.3
_OWN_FILES = re.compile(
    r"([0-9]+/)?(zarr\.json|\.zarray|\.zattrs|\.zgroup|\.zmetadata)|[0-9]+/(c/)?[0-9]+([/.][0-9]+)*"
)


class OmeZarrWriter:
    """Writes a recording as OME-Zarr 0.5; see :class:`roiextractors_core.interop.writer.Writer`.

    References
    ----------
    The OME-Zarr specification, version 0.5.
    """

    def __call__(self, recording: Any, partial: Path, *, target: Path, progress: Progress) -> None:
        """Write a recording."""
        rows, columns = recording.get_frame_shape()
        planes = (recording.get_num_planes(),) if recording.is_volumetric else ()
        group = zarr.open_group(partial, mode="w", zarr_format=3)
        frame_bytes = max(1, rows * columns * recording.dtype.itemsize)
        length = max(1, min(len(recording), _CHUNK_BYTES // frame_bytes))
        array = group.create_array(
            "0",
            shape=(len(recording), *planes, rows, columns),
            chunks=(length, *(1,) * len(planes), max(1, rows), max(1, columns)),
            dtype=recording.dtype,
            dimension_names=("t", "z", "y", "x") if planes else ("t", "y", "x"),
            config={"write_empty_chunks": True},  # a chunk that was left out looks like one that was lost
        )
        for start, block in read_blocks(recording, progress=progress):
            # The specification orders t, z, y, x
            _write_chunks(array, start, np.moveaxis(block, 3, 1) if planes else block)
        sidecar = Sidecar.of(recording)
        group.attrs.update({"ome": _multiscales(recording, sidecar), SIDECAR_KEY: sidecar.to_dict()})

    def may_replace(self, path: Path) -> bool:
        """Return whether a path is a Zarr folder of one image: descriptions and chunks, and nothing else."""
        if not path.is_dir() or (path / "labels").exists():
            return False
        files = (file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir())
        return all(_OWN_FILES.fullmatch(file) for file in files)


write = OmeZarrWriter()


def _write_chunks(array: Any, start: int, block: np.ndarray) -> None:
    """Write each chunk by a task of its own.

    Within one call, zarr starts many writes and raises the first error without waiting for the others, which would then write
    into a folder that has been removed (a full disk).
    """
    length, end = array.chunks[0], start + len(block)
    # Cut where chunks begin, so that no two tasks write one chunk
    cuts = [start, *range((start // length + 1) * length, end, length), end]
    planes = [(k,) for k in range(block.shape[1])] if block.ndim == 4 else [()]
    run_on_cores(
        [
            functools.partial(array.__setitem__, (slice(a, b), *plane), block[(slice(a - start, b - start), *plane)])
            for a, b in itertools.pairwise(cuts)
            for plane in planes
        ]
    )


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

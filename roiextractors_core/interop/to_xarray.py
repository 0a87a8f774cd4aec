"""A recording as an xarray.DataArray: named axes, seconds and micrometres, the metadata as attributes."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import numpy as np

from ..errors import MissingDependencyError
from .to_dask import to_dask

__all__ = ["to_xarray"]

_AXES = ("time", "y", "x", "z")


def to_xarray(recording: Any, *, chunks: Any = "auto", name: str | None = None) -> Any:
    """Return a recording as a lazy ``xarray.DataArray``.

    Parameters
    ----------
    recording : ImagingExtractor
    chunks : optional
        As for ``to_dask``; ``None`` gives a lazy array without dask.
    name : str, optional
        Name of the array; by default, the channel's name or ``"imaging"``.

    Returns
    -------
    xarray.DataArray
        Dims ``time, y, x`` and ``z`` when volumetric. ``time`` is in seconds, if there are times; ``y`` and ``x`` are pixel centres in
        micrometres, starting at 0, if the pixel size is known, and ``z`` if the positions or spacing of the planes are. Attributes are
        numbers and text, so that netCDF takes them.

    Raises
    ------
    MissingDependencyError
        xarray is not installed.
    """
    try:
        import xarray
    except ImportError as error:
        raise MissingDependencyError(
            'an xarray.DataArray needs xarray: python -m pip install "roiextractors-core[xarray]"'
        ) from error
    if chunks is None or (chunks == "auto" and importlib.util.find_spec("dask") is None):
        # Private, but the only lazy array of xarray without dask
        data: Any = xarray.core.indexing.LazilyIndexedArray(_array_of(recording))
    else:
        data = to_dask(recording, chunks)
    dims = _AXES[: recording.ndim]
    found = recording.metadata
    channel = found.channels[0].name if found.channels else None
    variable = xarray.Variable(dims, data, attrs=_attributes(recording, channel))
    return xarray.DataArray(variable, coords=_coordinates(recording), name=name or channel or "imaging")


def _array_of(recording: Any) -> Any:
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Pixels(BackendArray):
        """Reads what xarray asks for, when it asks."""

        def __init__(self) -> None:
            self.shape = recording.shape
            self.dtype = recording.dtype

        def __getitem__(self, key: Any) -> Any:
            return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._outer)

        def _outer(self, key: tuple[Any, ...]) -> Any:
            """Apply one index per axis, independently; only the requested samples are read."""
            # Samples are read by index; in the frame, the span of the indices is read and indexed in memory
            first = tuple(
                _span(part) if axis and isinstance(part, np.ndarray) else part for axis, part in enumerate(key)
            )
            found, at = recording[first], 0
            for axis, part in enumerate(key):
                if axis and isinstance(part, np.ndarray):
                    found = np.take(found, part - first[axis].start, axis=at)
                at += 0 if isinstance(part, int | np.integer) else 1
            return found

    return Pixels()


def _span(indices: np.ndarray) -> slice:
    return slice(int(indices.min()), int(indices.max()) + 1) if indices.size else slice(0, 0)


def _coordinates(recording: Any) -> dict[str, Any]:
    found, count = recording.metadata, len(recording)
    coordinates: dict[str, Any] = {}
    if recording.times_source is not None:
        coordinates["time"] = ("time", recording.get_timestamps(), {"units": "s", "source": recording.times_source})
    if found.pixel_size is not None:
        for axis, size, length in zip(("y", "x"), found.pixel_size, recording.get_frame_shape(), strict=True):
            coordinates[axis] = (axis, np.arange(length) * size, {"units": "µm"})
    if recording.is_volumetric:
        planes = recording.get_num_planes()
        if len(found.plane_positions) == planes:
            coordinates["z"] = ("z", np.asarray(found.plane_positions, np.float64), {"units": "µm"})
        elif found.plane_spacing is not None:
            coordinates["z"] = ("z", np.arange(planes) * found.plane_spacing, {"units": "µm"})
    return coordinates if count else {key: value for key, value in coordinates.items() if key != "time"}


def _attributes(recording: Any, channel: str | None) -> dict[str, Any]:
    found, provenance = recording.metadata.to_dict(), recording.provenance
    rate = recording.get_sampling_frequency()
    attributes = {
        "sampling_frequency": rate,
        "start_time": found["start_time"],
        "channel": channel,
        "device": found["device"],
        "software": found["software"],
        "pixel_size": found["pixel_size"],
        "plane_spacing": found["plane_spacing"],
        "format": provenance.format or None,
        "paths": json.dumps(list(provenance.paths)) if provenance.paths else None,
        "notes": json.dumps(list(provenance.notes)) if provenance.notes else None,
        "vendor": json.dumps(found["vendor"]) if found["vendor"] else None,
    }
    return {key: value for key, value in attributes.items() if value is not None}

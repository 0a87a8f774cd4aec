"""A recording as an xarray.DataArray, a segmentation as a Dataset: named axes, seconds and micrometres, metadata as attributes."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import MissingDependencyError
from .to_dask import to_dask

__all__ = ["segmentation_to_xarray", "to_xarray"]

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
    xarray = _xarray()
    if chunks is None or (chunks == "auto" and importlib.util.find_spec("dask") is None):
        # Private, but the only lazy array of xarray without dask
        data: Any = xarray.core.indexing.LazilyIndexedArray(
            _array_of(recording.shape, recording.dtype, recording.__getitem__)
        )
    else:
        data = to_dask(recording, chunks)
    dims = _AXES[: recording.ndim]
    found = recording.metadata
    channel = found.channels[0].name if found.channels else None
    variable = xarray.Variable(dims, data, attrs=_attributes(recording, channel))
    return xarray.DataArray(variable, coords=_coordinates(recording), name=name or channel or "imaging")


def segmentation_to_xarray(rois: Any) -> Any:
    """Return a segmentation as an ``xarray.Dataset`` whose traces are read when they are used.

    Parameters
    ----------
    rois : SegmentationExtractor

    Returns
    -------
    xarray.Dataset
        One variable ``(time, roi)`` for each trace, ``(time, background)`` for traces of the background components, and
        ``(y, x[, z])`` for each image, named ``image_mean`` and so on. ``time`` is in seconds if there are times; ``roi`` has the ids,
        and the properties are further coordinates along it, as are the centres of the masks (``roi_y``, ``roi_x``), in pixels.

    Raises
    ------
    MissingDependencyError
        xarray is not installed.
    """
    xarray = _xarray()
    lazy = xarray.core.indexing.LazilyIndexedArray
    ids = rois.get_roi_ids()
    coordinates: dict[str, Any] = {"roi": ("roi", np.array(ids, dtype=object if not ids else str))}
    for key in rois.get_property_keys():
        found = rois.get_property_info(key)
        values = np.asarray(found.values)
        coordinates[f"roi_{key}" if key in ("roi", "time") else key] = (
            ("roi", *(f"{key}_{axis}" for axis in range(1, values.ndim))),
            values,
            {"description": found.description} if found.description else {},
        )
    if rois.has_masks:
        for axis, centre in zip(("roi_y", "roi_x", "roi_z"), rois.get_roi_masks().centers().T, strict=False):
            coordinates.setdefault(axis, ("roi", centre, {"units": "pixels"}))
    if rois.times_source is not None and rois.get_num_samples():
        coordinates["time"] = ("time", rois.get_timestamps(), {"units": "s", "source": rois.times_source})
    variables: dict[str, Any] = {}
    for name in rois.get_trace_names():
        variables[name] = xarray.Variable(("time", "roi"), lazy(_traces_of(rois, name)))
    background = rois.get_background()
    if background is not None:
        coordinates["background"] = ("background", np.array(background.ids, dtype=str))
        for name in background.traces:
            trace = rois.get_traces(name=name)
            variables[name if name != "background" else "background_trace"] = (("time", "background"), trace)
    for name in rois.get_image_names():
        image = rois.get_image(name)
        variables[f"image_{name}"] = (_AXES[1 : 1 + image.ndim], image)
    return xarray.Dataset(variables, coordinates, _attributes(rois, None))


def _traces_of(rois: Any, name: str) -> Any:
    ids = rois.get_roi_ids()
    dtype = rois.get_traces(ids[:1], 0, min(1, rois.get_num_samples()), name=name).dtype

    def read(key: tuple[Any, Any]) -> Any:
        """Read the span of the samples that were asked for, of the ROIs that were."""
        samples, chosen = (np.arange(n)[part] for n, part in zip((rois.get_num_samples(), len(ids)), key, strict=True))
        if samples.size == 0:
            return np.empty((*samples.shape, *chosen.shape), dtype)
        first, last = int(samples.min()), int(samples.max()) + 1
        traces = rois.get_traces([ids[k] for k in np.atleast_1d(chosen)], first, last, name=name)
        return traces[samples - first][..., 0 if chosen.ndim == 0 else slice(None)]

    return _array_of((rois.get_num_samples(), len(ids)), dtype, read)


def _xarray() -> Any:
    try:
        import xarray
    except ImportError as error:
        raise MissingDependencyError("xarray is not installed: python -m pip install xarray") from error
    return xarray


def _array_of(shape: tuple[int, ...], dtype: Any, read: Callable[[Any], Any]) -> Any:
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Pixels(BackendArray):
        """Reads what xarray asks for, when it asks."""

        def __init__(self) -> None:
            self.shape, self.dtype = shape, dtype

        def __getitem__(self, key: Any) -> Any:
            return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._outer)

        def _outer(self, key: tuple[Any, ...]) -> Any:
            """Apply one index per axis, independently; only the requested samples are read."""
            # Samples are read by index; in the frame, the span of the indices is read and indexed in memory
            first = tuple(
                _span(part) if axis and isinstance(part, np.ndarray) else part for axis, part in enumerate(key)
            )
            found, at = read(first), 0
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

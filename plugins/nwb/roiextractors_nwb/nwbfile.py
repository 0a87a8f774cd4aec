"""Recordings for those who make the NWB file themselves, by pynwb or NeuroConv."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from roiextractors_core.errors import SourceKindError, UnknownOptionError, UnsupportedRecordingError, listed
from roiextractors_core.extractor import Extractor

from .description import describe, of_each, series_clock, series_type, suffixes
from .nwb_objects import imaging_plane
from .pixel_writer import chunk_shape, gzip_level, stored_shape
from .segmentation_writer import add_segmentation
from .session import seconds_between, with_zone
from .writer import require_pynwb

__all__ = ["add_to_nwbfile", "nwb_metadata", "photon_series_type"]

_BLOCK_BYTES = 32 << 20
_KEY = "default_metadata_key"  # NeuroConv's own, which it looks up where no key is passed


def add_to_nwbfile(
    recording: Any,
    nwbfile: Any,
    *,
    name: str = "",
    modality: str | None = None,
    indicator: str | None = None,
    location: str | None = None,
    compression: str | int | None = "gzip",
    align_times: bool = True,
) -> Any:
    """Add a recording or a segmentation to an NWB file in memory, with its device and its imaging plane.

    The pixels are read when the file is written.

    Parameters
    ----------
    recording : ImagingExtractor or SegmentationExtractor
    nwbfile : pynwb.NWBFile
    name : str
        Where the file has several: ``"Green"`` makes ``TwoPhotonSeriesGreen`` and ``ImagingPlaneGreen``, or
        ``PlaneSegmentationGreen``. ROIs are linked to the imaging plane of the movie of the same name.
    modality : str, optional
        Overrides the recording's own, as for :func:`photon_series_type`.
    indicator, location : str, optional
        The fluorescent indicator and the region of the brain.
    compression : str, int or None
        ``"gzip"``, its level from 1 to 9, or None if the library that writes the file chooses it, such as hdmf-zarr or NeuroConv.
    align_times : bool
        Count times from the start of the session, where the recording knows when it began; otherwise they are the recording's.

    Returns
    -------
    pynwb.ophys.TwoPhotonSeries, pynwb.ophys.OnePhotonSeries or pynwb.ophys.PlaneSegmentation
        What was added.

    Raises
    ------
    UnsupportedRecordingError
        The recording is empty, or began before the session.
    TimesError
        It has neither a sampling rate nor times.
    SourceKindError
        The file has a series or table of this name.
    UnknownOptionError
        The modality or the compression is unknown.
    MissingDependencyError
        pynwb is not installed.

    Examples
    --------
    >>> series = add_to_nwbfile(roi.open("movie.tif"), nwbfile, indicator="GCaMP6f", location="VISp")
    """
    require_pynwb()
    from pynwb import ophys

    level = gzip_level(compression)
    (suffix,) = suffixes([name]) if name else ("",)
    start = nwbfile.timestamps_reference_time or nwbfile.session_start_time
    advice = "change the start of the session, or pass align_times=False"
    offset = seconds_between(start, recording, advice=advice) if align_times else 0.0
    if recording.kind == "segmentation":
        _require_free(nwbfile, f"PlaneSegmentation{suffix}", _tables(nwbfile))
        return add_segmentation(
            recording, nwbfile, suffix=suffix, offset=offset, indicator=indicator, location=location
        )
    if not recording.size:
        raise UnsupportedRecordingError(f"NWB cannot store an empty recording (shape {recording.shape})")
    described = describe(recording, suffix=suffix, modality=modality, indicator=indicator, location=location)
    _require_free(nwbfile, described.series["name"], nwbfile.acquisition)
    clock = series_clock(recording, offset)
    series = getattr(ophys, described.series_type)(
        data=_pixels(recording, level), imaging_plane=imaging_plane(nwbfile, described), **described.series, **clock
    )
    nwbfile.add_acquisition(series)
    return series


def nwb_metadata(
    recording: Any,
    *,
    modality: str | None = None,
    indicator: str | Mapping[str, str] | None = None,
    location: str | Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the metadata that NeuroConv (0.10 and later) accepts: session start, devices, imaging planes, series.

    ::

        from neuroconv.tools.roiextractors import add_imaging_to_nwbfile

        add_imaging_to_nwbfile(
            recording, nwbfile, metadata=nwb_metadata(recording), photon_series_type=photon_series_type(recording)
        )

    Parameters
    ----------
    recording : ImagingExtractor or SegmentationExtractor, or a dict of them by name
        The names of a dict are the ``metadata_key`` of NeuroConv; one recording has the key that NeuroConv looks up by default.
    modality : str, optional
        Overrides the recording's own, as for :func:`photon_series_type`.
    indicator, location : str or mapping of str to str, optional
        The fluorescent indicator and the region of the brain; a mapping has one for each recording, by its name.

    Returns
    -------
    dict
        ``NWBFile``, ``Devices``, and ``Ophys`` with ``ImagingPlanes`` and ``MicroscopySeries`` or ``PlaneSegmentations``, each by
        key. Unknown wavelengths are NaN, unknown names "unknown".

    Raises
    ------
    UnknownOptionError
        The modality, or a name in a mapping, is unknown.
    """
    several = dict(recording) if isinstance(recording, Mapping) else {_KEY: recording}
    _require_recordings(several)
    names = list(several)
    ends = suffixes(names) if isinstance(recording, Mapping) else [""]
    each = zip(ends, of_each("indicator", indicator, names), of_each("location", location, names), strict=True)
    devices: dict[str, Any] = {}
    keys: dict[str, str] = {}
    ophys: dict[str, dict[str, Any]] = {"ImagingPlanes": {}}
    for (key, one), (end, dye, place) in zip(several.items(), each, strict=True):
        described = describe(one, suffix=end, modality=modality, indicator=dye, location=place)
        # NeuroConv requires one key for each device
        device = keys.setdefault(described.device["name"], key)
        devices.setdefault(device, described.device)
        ophys["ImagingPlanes"][key] = {**described.plane, "device_metadata_key": device}
        if one.kind == "segmentation":
            fields = {"name": f"PlaneSegmentation{end}", "description": "ROIs"}
            ophys.setdefault("PlaneSegmentations", {})[key] = {**fields, "imaging_plane_metadata_key": key}
        else:
            ophys.setdefault("MicroscopySeries", {})[key] = {**described.series, "imaging_plane_metadata_key": key}
    starts = [with_zone(one.metadata.start_time, None) for one in several.values()]
    known = [start for start in starts if start is not None]
    session = {"session_start_time": min(known)} if known else {}
    return {"NWBFile": session, "Devices": devices, "Ophys": ophys}


def photon_series_type(recording: Any, modality: str | None = None) -> str:
    """Return the type of NWB's series for a recording: ``"TwoPhotonSeries"`` or ``"OnePhotonSeries"``.

    Parameters
    ----------
    recording : ImagingExtractor
    modality : str, optional
        Overrides ``recording.metadata.modality``. Where neither is known, the type is ``"TwoPhotonSeries"``.

    Raises
    ------
    UnknownOptionError
        The modality is unknown; the message lists the known ones.
    """
    return series_type(recording, modality)


def _require_recordings(several: Mapping[str, Any]) -> None:
    for name, one in several.items():
        if not isinstance(one, Extractor):
            raise UnknownOptionError(
                f"{name!r} must be an opened recording, got {type(one).__name__}; call open(...) first"
            )


def _require_free(nwbfile: Any, name: str, taken: Mapping[str, Any]) -> None:
    if name in taken:
        raise SourceKindError(
            f"the NWB file already has {listed(sorted(taken))}; pass another name, for example name='Red'"
        )


def _tables(nwbfile: Any) -> dict[str, Any]:
    containers = [
        module["ImageSegmentation"]
        for module in nwbfile.processing.values()
        if "ImageSegmentation" in module.data_interfaces
    ]
    return {name: table for container in containers for name, table in container.plane_segmentations.items()}


def _pixels(recording: Any, level: int | None) -> Any:
    """Return an iterator over blocks of pixels in NWB's order, which is read when the file is written."""
    from hdmf.backends.hdf5 import H5DataIO
    from hdmf.data_utils import GenericDataChunkIterator

    shape, chunk = stored_shape(recording), chunk_shape(recording)

    class Blocks(GenericDataChunkIterator):  # type: ignore[misc]
        def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
            samples, across, down, *deep = selection
            return np.asarray(recording[(samples, down, across, *deep)]).swapaxes(1, 2)

        def _get_maxshape(self) -> tuple[int, ...]:
            return shape

        def _get_dtype(self) -> np.dtype[Any]:
            dtype: np.dtype[Any] = recording.dtype
            return dtype

    # Whole chunks, so that none is written twice
    length = max(1, _BLOCK_BYTES * shape[0] // recording.nbytes // chunk[0]) * chunk[0]
    blocks = Blocks(buffer_shape=(min(shape[0], length), *shape[1:]), chunk_shape=chunk)
    if level is None:
        return blocks
    return H5DataIO(blocks, compression="gzip", compression_opts=level, shuffle=True)

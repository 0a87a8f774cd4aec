"""Writes NWB 2 files in HDF5, with the recording as a TwoPhotonSeries; needs the extra ``[write]`` (pynwb)."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from roiextractors_core.errors import MissingDependencyError, TimesError, UnsupportedRecordingError, printable
from roiextractors_core.io import SIDECAR_KEY, Progress, Sidecar, require_room
from roiextractors_core.metadata import RecordingMetadata

from .safe_file import SafeFile

__all__ = ["imaging_plane", "new_file", "with_start_time", "write"]

_BLOCK_BYTES = 32 << 20
_CHUNK_BYTES = 1 << 20


def write(
    recording: Any,
    partial: Path,
    *,
    target: Path,
    progress: Progress,
    start_time: datetime | str | None = None,
) -> None:
    """Write a recording as NWB; see :class:`roiextractors_core.interop.writer.Writer`.

    Parameters
    ----------
    recording, partial, target, progress
        As in the contract.
    start_time : datetime or str, optional
        When the recording began, as a ``datetime`` or in ISO 8601, for a recording that does not have it. Without a time zone it
        is local time.

    Raises
    ------
    UnsupportedRecordingError
        The recording is empty or its start time is unknown.
    TimesError
        The recording has neither a sampling rate nor times.
    MissingDependencyError
        pynwb is not installed.

    References
    ----------
    The NWB format specification, version 2: ``NWBFile``, ``ImagingPlane``, ``TwoPhotonSeries``.
    """
    try:
        from hdmf.backends.hdf5 import HDF5IO
        from pynwb import get_manager
    except ImportError as error:
        raise MissingDependencyError(
            'writing NWB needs pynwb: python -m pip install "roiextractors-nwb[write]"'
        ) from error
    # All checks come first, so that nothing is written that must be removed
    sidecar = with_start_time(Sidecar.of(recording), start_time)
    if not recording.size:
        raise UnsupportedRecordingError(f"NWB cannot store an empty recording (shape {recording.shape})")
    if sidecar.times is None and sidecar.rate is None:
        raise TimesError(
            "NWB needs a sampling rate or times and this recording has neither; pass sampling_frequency= when opening"
        )
    require_room(partial, recording.nbytes)
    with SafeFile(partial) as file:

        def report(done: int, total: int) -> None:
            file.raise_failure()  # libhdf5 gets no error from a full disk, see SafeFile
            progress(done, total)

        # not NWBHDF5IO, of which pynwb 3.0 warns that the path has no suffix even where there is no path
        with HDF5IO(file=file.hdf5, mode="w", manager=get_manager()) as stream:
            stream.write(_nwb_file(recording, sidecar, report))


def with_start_time(sidecar: Sidecar, given: datetime | str | None) -> Sidecar:
    """Return a sidecar with a start time, which NWB requires: the recording's own, or the one that was passed.

    Raises
    ------
    UnsupportedRecordingError
        There is none.
    """
    if sidecar.metadata.start_time is not None:
        return sidecar
    start = _parse_start_time(given)
    if start is None:
        raise UnsupportedRecordingError(
            "NWB needs a start time and this recording has none; pass start_time= (--start-time on the command line)"
        )
    return replace(sidecar, metadata=sidecar.metadata.replaced(start_time=start))


def _parse_start_time(given: datetime | str | None) -> datetime | None:
    if not isinstance(given, str):
        return given
    try:
        return datetime.fromisoformat(given)
    except ValueError:
        raise UnsupportedRecordingError(
            f"start_time must be an ISO 8601 date and time, got {given!r:.60}; for example 2026-01-31T12:00:00"
        ) from None


def new_file(recording: Any, metadata: RecordingMetadata) -> Any:
    """Return a new NWBFile for a recording.

    Parameters
    ----------
    recording : Extractor
    metadata : RecordingMetadata
        With a start time.
    """
    from pynwb import NWBFile

    names = ", ".join(printable(Path(path).name) for path in recording.provenance.paths) or "a recording in memory"
    start = metadata.start_time
    return NWBFile(
        session_description=f"converted from {names}",
        identifier=uuid.uuid4().hex,
        session_start_time=start if start is None or start.tzinfo else start.astimezone(),  # NWB requires a time zone
    )


def _nwb_file(recording: Any, sidecar: Sidecar, progress: Progress) -> Any:
    from pynwb.ophys import TwoPhotonSeries

    file = new_file(recording, sidecar.metadata)
    clock: dict[str, Any] = {"rate": sidecar.rate, "starting_time": 0.0}
    if sidecar.times is not None:
        clock = {"timestamps": sidecar.times}
    without_times = replace(sidecar, times=None)  # the series has them
    file.add_acquisition(
        TwoPhotonSeries(
            name="TwoPhotonSeries",
            data=_pixels(recording, progress),
            imaging_plane=imaging_plane(file, sidecar.metadata),
            unit="n.a.",
            comments=json.dumps({SIDECAR_KEY: without_times.to_dict()}),
            **clock,
        )
    )
    return file


def imaging_plane(file: Any, metadata: RecordingMetadata) -> Any:
    """Return a new imaging plane of a file, with what the metadata have for it."""
    from pynwb.ophys import OpticalChannel

    channel = metadata.channels[0] if metadata.channels else None
    light = OpticalChannel(
        name=channel.name.replace("/", "_") if channel else "OpticalChannel",  # "/" separates names in HDF5
        description="unknown" if channel is None else channel.name,
        # Required by the schema
        emission_lambda=float("nan") if channel is None else channel.emission_wavelength or float("nan"),
    )
    # (x, y[, z])
    spacing = [*reversed(metadata.pixel_size or ()), *([metadata.plane_spacing] if metadata.plane_spacing else [])]
    return file.create_imaging_plane(
        name="ImagingPlane",
        optical_channel=light,
        description="unknown",
        device=file.create_device(name=metadata.device or "microscope"),
        excitation_lambda=float("nan") if channel is None else channel.excitation_wavelength or float("nan"),
        indicator="unknown",
        location="unknown",
        **({"grid_spacing": spacing, "grid_spacing_unit": "micrometers"} if metadata.pixel_size else {}),
    )


def _pixels(recording: Any, progress: Progress) -> Any:
    """Return an iterator over blocks of pixels; NWB's order is (time, width, height[, depth])."""
    from hdmf.data_utils import GenericDataChunkIterator

    count, rows, columns, *planes = recording.shape
    sample_bytes = max(1, recording.nbytes // count)

    class Blocks(GenericDataChunkIterator):  # type: ignore[misc]
        def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
            samples, across, down, *deep = selection
            block = np.asarray(recording[(samples, down, across, *deep)]).swapaxes(1, 2)
            progress(samples.stop * sample_bytes, recording.nbytes)
            return block

        def _get_maxshape(self) -> tuple[int, ...]:
            return (count, columns, rows, *planes)

        def _get_dtype(self) -> np.dtype[Any]:
            dtype: np.dtype[Any] = recording.dtype
            return dtype

    frame = (columns, rows, *planes)
    length = min(count, max(1, _BLOCK_BYTES // sample_bytes))
    return Blocks(
        buffer_shape=(length, *frame), chunk_shape=(min(length, max(1, _CHUNK_BYTES // sample_bytes)), *frame)
    )

"""A recording in the words of NWB: its device, its imaging plane, and the fields of its series, as plain dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roiextractors_core.errors import TimesError, UnknownOptionError, listed, printable
from roiextractors_core.metadata import ChannelMetadata, RecordingMetadata

__all__ = [
    "UNKNOWN_CHANNEL",
    "UNKNOWN_DEVICE",
    "Description",
    "describe",
    "free_name",
    "of_each",
    "plain_name",
    "series_clock",
    "series_type",
    "suffixes",
]

UNKNOWN_DEVICE, UNKNOWN_CHANNEL = "Microscope", "OpticalChannel"

_MODALITIES = {
    "two-photon": "TwoPhotonSeries",
    "three-photon": "TwoPhotonSeries",  # the nearest of NWB's two types: more than one photon
    "one-photon": "OnePhotonSeries",
    "confocal": "OnePhotonSeries",
    "light-sheet": "OnePhotonSeries",
}
_MAX_GRID_ERROR = 1e-9  # seconds: finer than any clock of a microscope, coarser than the rounding of float64


@dataclass(frozen=True, slots=True)
class Description:
    """The fields of NWB's ``Device``, ``ImagingPlane`` and ``TwoPhotonSeries`` or ``OnePhotonSeries``, without pixels and times.

    Attributes
    ----------
    device, plane, series : dict
        ``plane["optical_channel"]`` is a list of dictionaries.
    series_type : str
        ``"TwoPhotonSeries"`` or ``"OnePhotonSeries"``.
    """

    device: dict[str, Any]
    plane: dict[str, Any]
    series: dict[str, Any]
    series_type: str


def describe(
    recording: Any,
    *,
    suffix: str = "",
    modality: str | None = None,
    indicator: str | None = None,
    location: str | None = None,
) -> Description:
    """Return the description of a recording or a segmentation.

    Parameters
    ----------
    recording : Extractor
    suffix : str
        Appended to the names of plane and series, if a file has several.
    modality : str, optional
        Overrides the recording's own.
    indicator, location : str, optional
        The fluorescent indicator and the region of the brain.

    Raises
    ------
    UnknownOptionError
        The modality is not one of :class:`roiextractors_core.RecordingMetadata`.
    """
    metadata: RecordingMetadata = recording.metadata
    kind = series_type(recording, modality)
    channels = [_optical_channel(channel) for channel in metadata.channels]
    # Every plane must have a channel, and every channel a name
    channels = channels or [{"name": UNKNOWN_CHANNEL, "description": "not described", "emission_lambda": float("nan")}]
    plane = {
        "name": f"ImagingPlane{suffix}",
        "description": _plane_words(recording),
        "excitation_lambda": _excitation(metadata),
        "indicator": indicator or "unknown",
        "location": location or "unknown",
        "optical_channel": channels,
        **_spacing(metadata),
    }
    series = {"name": f"{kind}{suffix}", "description": _series_words(recording, modality), "unit": "n.a."}
    if recording.kind == "imaging":
        series |= _series_fields(recording, kind)
    return Description(_device(metadata), plane, series, kind)


def series_type(recording: Any, modality: str | None = None) -> str:
    """Return the type of NWB's series for a recording; two-photon where neither the file nor the caller says.

    Parameters
    ----------
    recording : Extractor
    modality : str, optional
        Overrides the recording's own.

    Raises
    ------
    UnknownOptionError
        The modality is unknown; the message lists the known ones.
    """
    if modality is not None and modality not in _MODALITIES:
        raise UnknownOptionError(f"modality must be one of {listed(_MODALITIES)}, got {modality!r:.60}")
    return _MODALITIES.get(modality or recording.metadata.modality or "", "TwoPhotonSeries")


def series_clock(recording: Any, offset: float = 0.0) -> dict[str, Any]:
    """Return the fields of a series for its times: ``rate`` and ``starting_time`` for a grid, else ``timestamps``.

    Parameters
    ----------
    recording : Extractor
    offset : float
        Seconds from the session's start to 0 s of the recording's clock.

    Raises
    ------
    TimesError
        The recording has neither a sampling rate nor times.
    """
    clock, rate = recording.clock, recording.get_sampling_frequency()
    if clock.source is None and rate is None:
        noun = "segmentation" if recording.kind == "segmentation" else "recording"
        raise TimesError(
            f"NWB needs a sampling rate or times and this {noun} has neither; pass sampling_frequency= when opening"
        )
    if clock.source is None or clock.source == "computed":
        return {"rate": rate, "starting_time": clock.first / rate + offset}
    times = recording.get_timestamps() + offset
    grid = next((value for value in _possible_rates(times, rate) if _is_grid(times, value)), None)
    return {"timestamps": times} if grid is None else {"rate": grid, "starting_time": float(times[0])}


def _possible_rates(times: np.ndarray, rate: float | None) -> list[float]:
    """Return the recording's own rate, and that of its times, which can differ from a nominal one."""
    span = float(times[-1] - times[0]) if len(times) > 2 else 0.0
    return [*([rate] if rate else []), *([(len(times) - 1) / span] if span > 0 else [])]


def _is_grid(times: np.ndarray, rate: float) -> bool:
    error = np.abs(times - (times[0] + np.arange(len(times)) / rate))
    return bool(error.max(initial=0.0) <= _MAX_GRID_ERROR)  # False for NaN


def _device(metadata: RecordingMetadata) -> dict[str, Any]:
    lens = metadata.objective
    words = [f"software: {metadata.software}"] if metadata.software and metadata.software != metadata.device else []
    if lens is not None:
        magnified = f"{lens.magnification:g}x" if lens.magnification else None
        aperture = f"NA {lens.numerical_aperture:g}" if lens.numerical_aperture else None
        words += [f"objective: {', '.join(filter(None, (lens.name, magnified, aperture)))}"]
    named = {"name": plain_name(metadata.device or UNKNOWN_DEVICE)}
    return named | ({"description": printable("; ".join(words))} if words else {})


def _optical_channel(channel: ChannelMetadata) -> dict[str, Any]:
    words = [printable(channel.name)]
    if channel.detection_band:
        words.append("detects {:g} to {:g} nm".format(*channel.detection_band))
    if channel.laser_lines:
        words.append(f"lasers of {', '.join(f'{line:g}' for line in channel.laser_lines)} nm")
    return {
        "name": plain_name(channel.name),
        "description": "; ".join(words),
        "emission_lambda": channel.emission_wavelength or float("nan"),  # required by the schema
    }


def _excitation(metadata: RecordingMetadata) -> float:
    channel = metadata.channels[0] if metadata.channels else None
    if channel is None:
        return float("nan")
    only_line = channel.laser_lines[0] if len(channel.laser_lines) == 1 else None
    return channel.excitation_wavelength or only_line or float("nan")


def _spacing(metadata: RecordingMetadata) -> dict[str, Any]:
    if not metadata.pixel_size:
        return {}
    # (x, y[, z])
    depth = [metadata.plane_spacing] if metadata.plane_spacing else []
    return {"grid_spacing": [*reversed(metadata.pixel_size), *depth], "grid_spacing_unit": "micrometers"}


def _plane_words(recording: Any) -> str:
    shape = recording.get_frame_shape() if recording.kind == "segmentation" else recording.get_image_shape()
    positions = recording.metadata.plane_positions
    words = f"{shape[0]} x {shape[1]} pixels (rows x columns)"
    return f"{words}; at {', '.join(f'{position:g}' for position in positions)} micrometers" if positions else words


def _series_words(recording: Any, modality: str | None) -> str:
    names = ", ".join(printable(channel.name) for channel in recording.metadata.channels)
    words = f"channel {names}" if names else "imaging"
    modality = modality or recording.metadata.modality
    return f"{words}; {modality}" if modality else f"{words}; the source does not say by how many photons"


def _series_fields(recording: Any, kind: str) -> dict[str, Any]:
    metadata, (_, rows, columns, *planes) = recording.metadata, recording.shape
    fields: dict[str, Any] = {"dimension": [columns, rows, *planes]}
    exposure = metadata.channels[0].exposure_time if metadata.channels else None
    if kind == "OnePhotonSeries" and exposure:
        fields["exposure_time"] = float(exposure)
    return fields


# Names


def suffixes(names: Sequence[str]) -> list[str]:
    """Return what to append to the names of NWB objects, in their manner: ``"Channel 1"`` becomes ``"Channel1"``."""
    taken: set[str] = set()
    words = ["".join(c if c.isalnum() else " " for c in printable(name)).split() for name in names]
    return [free_name("".join(word[0].upper() + word[1:] for word in some) or "Unnamed", taken) for some in words]


def plain_name(name: str) -> str:
    """Return a name without what separates names in HDF5 and in NWB."""
    return printable(name).replace("/", "_").replace(":", "_").strip(".") or "unnamed"


def free_name(name: str, taken: set[str]) -> str:
    """Return the name, or with a number if it is taken, and take it."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free)
    return free


def of_each(option: str, given: str | Mapping[str, str] | None, names: Sequence[str]) -> list[str | None]:
    """Return an option for each recording: the same for all, or by their names.

    Raises
    ------
    UnknownOptionError
        A name is not that of a recording.
    """
    if not isinstance(given, Mapping):
        return [given] * len(names)
    strange = next((name for name in given if name not in names), None)
    if strange is not None:
        raise UnknownOptionError(f"{option} names {strange!r}; the recordings are {listed(names)}")
    return [given.get(name) for name in names]

"""Metadata of a recording, and its provenance: where it came from and how it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import numpy as np

from .errors import UnsupportedRecordingError

__all__ = ["ChannelMetadata", "ObjectiveMetadata", "Provenance", "RecordingMetadata", "as_plain"]


@dataclass(frozen=True, slots=True)
class ChannelMetadata:
    """One channel, in the names and units of OME.

    Attributes
    ----------
    name : str
    emission_wavelength, excitation_wavelength : float or None
        In nanometres.
    detection_band : tuple of float or None
        Lower and upper limit of the detected light, in nanometres.
    laser_lines : tuple of float
        Wavelengths of the lasers that were on, in nanometres.
    laser_power : float or None
        In percent of the maximum, as microscope software shows it.
    exposure_time : float or None
        Of one frame, in seconds.
    """

    name: str
    emission_wavelength: float | None = None
    excitation_wavelength: float | None = None
    detection_band: tuple[float, float] | None = None
    laser_lines: tuple[float, ...] = ()
    laser_power: float | None = None
    exposure_time: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``."""
        return {f.name: as_plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ChannelMetadata:
        """Make a channel from the data of :meth:`to_dict`; unknown fields are ignored."""
        band = data.get("detection_band")
        return cls(
            str(data["name"]),
            detection_band=None if band is None else (float(band[0]), float(band[1])),
            laser_lines=tuple(float(line) for line in data.get("laser_lines") or ()),
            **{key: _number(data.get(key)) for key in _CHANNEL_NUMBERS},
        )


_MAX_DEPTH = 200
_CHANNEL_NUMBERS = ("emission_wavelength", "excitation_wavelength", "laser_power", "exposure_time")


@dataclass(frozen=True, slots=True)
class ObjectiveMetadata:
    """The objective lens.

    Attributes
    ----------
    name : str or None
        Its model, as the file gives it.
    magnification : float or None
        Nominal.
    numerical_aperture : float or None
    """

    name: str | None = None
    magnification: float | None = None
    numerical_aperture: float | None = None


@dataclass(frozen=True, slots=True)
class RecordingMetadata:
    """Metadata that the file contains; a field that it lacks is None or empty.

    Attributes
    ----------
    start_time : datetime or None
        The moment at 0 s of the clock; without a time zone if the file names none.
    pixel_size : tuple of float or None
        Distance between pixel centres along rows and columns, in micrometres.
    plane_spacing : float or None
        Distance between planes in micrometres.
    plane_positions : tuple of float
        Position of each plane in micrometres, in order.
    channels : tuple of ChannelMetadata
        The channel that this recording reads.
    objective : ObjectiveMetadata or None
    zoom : float or None
        Of the scanner or the camera; 1 is none.
    bit_depth : int or None
        Significant bits of a pixel, where the file says so; at most those of the dtype.
    modality : str or None
        ``"one-photon"``, ``"two-photon"``, ``"three-photon"``, ``"confocal"`` or ``"light-sheet"``, if the file or its format says so.
    device : str or None
        The microscope, or the software that controls it.
    software : str or None
        The program that wrote the file.
    vendor : mapping
        The file's own header, as the file gives it.
    """

    start_time: datetime | None = None
    pixel_size: tuple[float, float] | None = None
    plane_spacing: float | None = None
    plane_positions: tuple[float, ...] = ()
    channels: tuple[ChannelMetadata, ...] = ()
    objective: ObjectiveMetadata | None = None
    zoom: float | None = None
    bit_depth: int | None = None
    modality: str | None = None
    device: str | None = None
    software: str | None = None
    vendor: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vendor", MappingProxyType(dict(self.vendor)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``; dates in ISO 8601, NaN and infinity as text."""
        plain = {
            f.name: as_plain(getattr(self, f.name)) for f in fields(self) if f.name not in ("channels", "objective")
        }
        plain["channels"] = [channel.to_dict() for channel in self.channels]
        objective = self.objective
        plain["objective"] = (
            None if objective is None else {f.name: getattr(objective, f.name) for f in fields(objective)}
        )
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RecordingMetadata:
        """Make metadata from the data of :meth:`to_dict`, as read from JSON.

        Parameters
        ----------
        data : mapping
            Unknown fields are ignored.

        Raises
        ------
        ValueError, TypeError, KeyError
            A field has a value of the wrong type.
        """
        start, size, lens = data.get("start_time"), data.get("pixel_size"), data.get("objective")
        depth = data.get("bit_depth")
        return cls(
            start_time=None if start is None else datetime.fromisoformat(start),
            pixel_size=None if size is None else (float(size[0]), float(size[1])),
            plane_spacing=_number(data.get("plane_spacing")),
            plane_positions=tuple(float(position) for position in data.get("plane_positions") or ()),
            channels=tuple(ChannelMetadata.from_dict(channel) for channel in data.get("channels") or ()),
            objective=None if lens is None else _objective(lens),
            zoom=_number(data.get("zoom")),
            bit_depth=None if depth is None else int(depth),
            modality=_text(data.get("modality")),
            device=_text(data.get("device")),
            software=_text(data.get("software")),
            vendor=dict(data.get("vendor") or {}),
        )

    def replaced(self, **changes: Any) -> RecordingMetadata:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def __reduce__(self) -> tuple[Any, ...]:
        # A mappingproxy does not pickle
        values = tuple(getattr(self, f.name) for f in fields(self) if f.name != "vendor")
        return (RecordingMetadata, (*values, dict(self.vendor)))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _objective(data: Mapping[str, Any]) -> ObjectiveMetadata:
    numbers = (_number(data.get(key)) for key in ("magnification", "numerical_aperture"))
    return ObjectiveMetadata(_text(data.get("name")), *numbers)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a recording came from, and how its format was chosen.

    Attributes
    ----------
    format, plugin, version : str
        The format's name, the distribution that reads it and that distribution's version.
    paths : tuple of str
    options : mapping
        The options passed to ``open``.
    evidence : str
        The evidence that identified the format.
    notes : tuple of str
        Decisions made while opening, and anything that was left out.
    """

    format: str = ""
    plugin: str = ""
    version: str = ""
    paths: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    evidence: str = ""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``."""
        names = ("format", "plugin", "version", "paths", "options", "evidence", "notes")
        return {name: as_plain(getattr(self, name)) for name in names}


def as_plain(value: Any, *, depth: int = 0) -> Any:
    """Return the value as plain data for JSON: numbers, text, lists and dictionaries.

    Raises
    ------
    UnsupportedRecordingError
        It is nested deeper than 200 levels, or contains itself.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if depth > _MAX_DEPTH:  # JSON itself is read and written by recursion
        raise UnsupportedRecordingError(
            f"metadata nested deeper than {_MAX_DEPTH} levels cannot be written as plain data"
        )
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, np.generic):
        return as_plain(value.item(), depth=depth + 1)
    if isinstance(value, np.ndarray):
        return as_plain(value.tolist(), depth=depth + 1)
    if isinstance(value, Mapping):
        return {str(key): as_plain(item, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_plain(item, depth=depth + 1) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value) if isinstance(value, PurePath) else repr(value)

"""Metadata of a recording, and its provenance: where it came from and how it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import numpy as np

__all__ = ["ChannelMetadata", "Provenance", "RecordingMetadata", "as_plain"]


@dataclass(frozen=True, slots=True)
class ChannelMetadata:
    """One channel, in the names and units of OME.

    Attributes
    ----------
    name : str
    emission_wavelength, excitation_wavelength : float or None
        In nanometres.
    """

    name: str
    emission_wavelength: float | None = None
    excitation_wavelength: float | None = None


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
    device: str | None = None
    software: str | None = None
    vendor: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vendor", MappingProxyType(dict(self.vendor)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``; dates in ISO 8601, NaN and infinity as text."""
        names = ("start_time", "pixel_size", "plane_spacing", "plane_positions", "device", "software", "vendor")
        plain = {name: as_plain(getattr(self, name)) for name in names}
        plain["channels"] = [
            {
                "name": c.name,
                "emission_wavelength": c.emission_wavelength,
                "excitation_wavelength": c.excitation_wavelength,
            }
            for c in self.channels
        ]
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
        start, size, spacing = data.get("start_time"), data.get("pixel_size"), data.get("plane_spacing")
        waves = ("emission_wavelength", "excitation_wavelength")
        return cls(
            start_time=None if start is None else datetime.fromisoformat(start),
            pixel_size=None if size is None else (float(size[0]), float(size[1])),
            plane_spacing=None if spacing is None else float(spacing),
            plane_positions=tuple(float(position) for position in data.get("plane_positions") or ()),
            channels=tuple(
                ChannelMetadata(str(c["name"]), *(None if c.get(w) is None else float(c[w]) for w in waves))
                for c in data.get("channels") or ()
            ),
            device=None if data.get("device") is None else str(data["device"]),
            software=None if data.get("software") is None else str(data["software"]),
            vendor=dict(data.get("vendor") or {}),
        )

    def replaced(self, **changes: Any) -> RecordingMetadata:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def __reduce__(self) -> tuple[Any, ...]:
        values = (
            self.start_time,
            self.pixel_size,
            self.plane_spacing,
            self.plane_positions,
            self.channels,
            self.device,
            self.software,
        )
        return (RecordingMetadata, (*values, dict(self.vendor)))


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


def as_plain(value: Any) -> Any:
    """Return the value as plain data for JSON: numbers, text, lists and dictionaries."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, np.generic):
        return as_plain(value.item())
    if isinstance(value, np.ndarray):
        return as_plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value) if isinstance(value, PurePath) else repr(value)

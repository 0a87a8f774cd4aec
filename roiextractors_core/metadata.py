"""Metadata of a recording, and its provenance: where it came from and how it was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import numpy as np

from .cards import metadata_card, provenance_card
from .errors import UnsupportedRecordingError, listed

__all__ = ["ChannelMetadata", "ObjectiveMetadata", "Provenance", "RecordingMetadata", "as_plain"]


class _Fields(Mapping[str, Any]):
    """The fields of a dataclass as a mapping too: ``metadata["start_time"]``, ``dict(metadata)``."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        if key in self.__dataclass_fields__:  # type: ignore[attr-defined]
            return getattr(self, key)
        names = list(self)
        where = "; the file's own header is metadata['vendor']" if "vendor" in names else ""
        raise KeyError(f"{key!r} is not a field; the fields are {listed(names, limit=20)}{where}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dataclass_fields__)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self.__dataclass_fields__)  # type: ignore[attr-defined]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``; dates in ISO 8601, NaN and infinity as text."""
        return _plain_fields(self)


@dataclass(frozen=True, slots=True)
class ChannelMetadata(_Fields):
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

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ChannelMetadata:
        """Make a channel from the data of :meth:`to_dict`; unknown fields are ignored."""
        return cls(**_converted(data, name=str, detection_band=_pair, laser_lines=_numbers, **_CHANNEL_NUMBERS))


_MAX_DEPTH = 200
_CHANNEL_NUMBERS = dict.fromkeys(
    ("emission_wavelength", "excitation_wavelength", "laser_power", "exposure_time"), float
)


@dataclass(frozen=True, slots=True)
class ObjectiveMetadata(_Fields):
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
class RecordingMetadata(_Fields):
    """Metadata that the file contains; unknown fields are None or empty. It is also a mapping of its fields.

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
        # A read-only copy: extractors return the same object to every caller
        object.__setattr__(self, "vendor", MappingProxyType(dict(self.vendor)))

    def _repr_html_(self) -> str:
        return metadata_card(self)

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
        values = _converted(
            data,
            start_time=datetime.fromisoformat,
            pixel_size=_pair,
            plane_spacing=float,
            plane_positions=_numbers,
            channels=lambda channels: tuple(ChannelMetadata.from_dict(channel) for channel in channels),
            objective=_objective,
            zoom=float,
            bit_depth=int,
            vendor=dict,
            **dict.fromkeys(("modality", "device", "software"), str),
        )
        return cls(**values)

    def replaced(self, **changes: Any) -> RecordingMetadata:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def __reduce__(self) -> tuple[Any, ...]:
        # A mappingproxy does not pickle
        values = tuple(getattr(self, f.name) for f in fields(self) if f.name != "vendor")
        return (RecordingMetadata, (*values, dict(self.vendor)))


def _converted(data: Mapping[str, Any], **converters: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the values of the known fields in their types; a field that is missing or None keeps its default."""
    # By the fields that are known here: a later version may have written more
    return {key: convert(data[key]) for key, convert in converters.items() if data.get(key) is not None}


def _pair(values: Any) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(map(float, values))


def _objective(data: Mapping[str, Any]) -> ObjectiveMetadata:
    return ObjectiveMetadata(**_converted(data, name=str, magnification=float, numerical_aperture=float))


@dataclass(frozen=True, slots=True)
class Provenance(_Fields):
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

    def _repr_html_(self) -> str:
        return provenance_card(self)


def _plain_fields(record: Any, *, depth: int = 0) -> dict[str, Any]:
    return {f.name: as_plain(getattr(record, f.name), depth=depth) for f in fields(record)}


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
        return value if np.isfinite(value) else str(value)  # JSON has neither NaN nor infinity
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, np.generic | np.ndarray):
        return as_plain(value.tolist(), depth=depth + 1)
    if isinstance(value, Mapping):
        return {str(key): as_plain(item, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_plain(item, depth=depth + 1) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")  # vendors' headers contain Latin-1 and padding
    # repr() of anything else: one odd value of a vendor's header must not prevent the rest from being written
    return str(value) if isinstance(value, PurePath) else repr(value)

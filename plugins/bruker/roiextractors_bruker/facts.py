"""The metadata in a PVScan XML: sizes, positions, lasers, dates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from roiextractors_core import ChannelMetadata, RecordingMetadata
from roiextractors_core.errors import printable

from .pvscan import Scan

__all__ = ["metadata_of"]

_DATES = ("%m/%d/%Y %I:%M:%S %p", "%d.%m.%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")


def metadata_of(scan: Scan, channel: str, positions: tuple[float, ...]) -> RecordingMetadata:
    """Return the metadata.

    Parameters
    ----------
    scan : Scan
    channel : str
        The channel's name.
    positions : tuple of float
        The planes' positions in micrometres; empty for a planar recording or if they are unknown.
    """
    version = scan.attributes.get("version", "")
    rows, columns = _microns(scan, "YAxis"), _microns(scan, "XAxis")
    return RecordingMetadata(
        start_time=_date(scan.attributes.get("date", "")),
        pixel_size=(rows, columns) if rows and columns else None,
        plane_spacing=_spacing(positions),
        plane_positions=positions,
        channels=(ChannelMetadata(printable(channel), excitation_wavelength=_excitation(scan)),),
        device=_text(scan.setting("imagingDevice")) or "Bruker Prairie View",
        software=f"Prairie View {printable(version)}" if version else "Prairie View",
        vendor=_vendor(scan),
    )


def _vendor(scan: Scan) -> dict[str, Any]:
    return {
        **scan.attributes,
        **scan.state,
        "Sequence": dict(scan.first_sequence),
        "Frame": dict(scan.first_state),
        "sequenceTypes": list(scan.kinds),
    }


def _date(text: str) -> datetime | None:
    for form in _DATES:
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    return None


def _microns(scan: Scan, axis: str) -> float | None:
    table = scan.setting("micronsPerPixel")
    value = _value(table.get(axis)) if isinstance(table, Mapping) else None
    return value if value and value > 0 else None


def _spacing(positions: tuple[float, ...]) -> float | None:
    """Return the distance between planes if it is the same for all."""
    steps = np.abs(np.diff(positions))
    if not len(steps) or steps.min() <= 0 or steps.max() - steps.min() > 0.01 * steps.max():
        return None
    return float(abs(positions[-1] - positions[0]) / len(steps))


def _excitation(scan: Scan) -> float | None:
    """Return the wavelength (nm) of the laser if exactly one is on."""
    waves, powers = scan.setting("laserWavelength"), scan.setting("laserPower")
    if not isinstance(waves, Mapping):
        return None
    on = [index for index in waves if (_value(waves[index]) or 0.0) > 0]
    if isinstance(powers, Mapping) and len(on) > 1:
        on = [index for index in on if (_value(powers.get(index)) or 0.0) > 0]
    return _value(waves[on[0]]) if len(on) == 1 else None


def _value(item: Any) -> float | None:
    try:
        value = float(item["value"]) if isinstance(item, Mapping) else math.nan
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _text(value: Any) -> str | None:
    return printable(value) if isinstance(value, str) and value else None

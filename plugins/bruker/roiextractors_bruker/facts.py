"""The metadata in a PVScan XML: sizes, positions, lasers, dates."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from roiextractors_core import ChannelMetadata, RecordingMetadata
from roiextractors_core.errors import printable
from roiextractors_core.io import plausible_start
from roiextractors_core.metadata import ObjectiveMetadata

from .pvscan import Scan

__all__ = ["metadata_of"]

_DAY = 86400.0
_MAX_EARLY = 2.0  # seconds by which the first sequence may seem to precede the date, which is rounded
# The format depends on the regional settings of the microscope's computer
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
    lines = _laser_lines(scan)
    bits = scan.setting("bitDepth")
    return RecordingMetadata(
        start_time=plausible_start(_start(scan)),
        pixel_size=(rows, columns) if rows and columns else None,
        plane_spacing=_spacing(positions),
        plane_positions=positions,
        # with several lasers on, it is unknown which of them excites the channel
        channels=(
            ChannelMetadata(
                printable(channel), excitation_wavelength=lines[0] if len(lines) == 1 else None, laser_lines=lines
            ),
        ),
        objective=_objective(scan),
        zoom=_positive(scan.setting("opticalZoom")),
        bit_depth=int(bits) if isinstance(bits, str) and bits.isdecimal() and 0 < int(bits) <= 16 else None,
        modality="two-photon" if _is_two_photon(scan, lines) else None,
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


def _start(scan: Scan) -> datetime | None:
    """Return the moment at 0 s of the clock: the time of day of the first sequence, on the date of the scan.

    The date has whole seconds and is that of the scan, which may have begun before the part that is in the XML.
    """
    date = _date(scan.attributes.get("date", ""))
    clock = float(scan.clocks[scan.sequences[0]])
    if date is None or not 0 <= clock < _DAY:
        return date
    midnight = datetime(date.year, date.month, date.day)
    begin = midnight + timedelta(seconds=round(clock, 6))
    if begin < date - timedelta(seconds=_MAX_EARLY):
        begin += timedelta(days=1)  # past midnight
    if begin - date > timedelta(hours=12):
        return date  # the two contradict each other
    relative = float(scan.relative[0])
    return begin - timedelta(seconds=relative if math.isfinite(relative) else 0.0)


def _objective(scan: Scan) -> ObjectiveMetadata | None:
    name = _text(scan.setting("objectiveLens"))
    magnification, aperture = (_positive(scan.setting(key)) for key in ("objectiveLensMag", "objectiveLensNA"))
    if name is None and magnification is None and aperture is None:
        return None
    return ObjectiveMetadata(name, magnification, aperture)


def _laser_lines(scan: Scan) -> tuple[float, ...]:
    """Return the wavelengths (nm) of the lasers that are on: their own setting, or the number in their name (``920 Axon``).

    Their power is in units of the modulator, not in percent, and is left to ``vendor``.
    """
    waves, powers = scan.setting("laserWavelength"), scan.setting("laserPower")
    waves = waves if isinstance(waves, Mapping) else {}
    powers = powers if isinstance(powers, Mapping) else {}
    lines = {}
    for index in dict.fromkeys([*waves, *powers]):
        line = _value(waves.get(index)) or _line_in_name(powers.get(index))
        if line and line > 0:
            lines[index] = line
    if powers and (len(lines) > 1 or not waves):
        lines = {index: line for index, line in lines.items() if (_value(powers.get(index)) or 0.0) > 0}
    return tuple(sorted(set(lines.values())))


def _line_in_name(laser: Any) -> float | None:
    name = laser.get("description", "") if isinstance(laser, Mapping) else ""
    numbers = re.findall(r"(?<![\d.])(\d{3,4})(?![\d.])", name) if isinstance(name, str) else []
    # Other numbers are those of a model: lasers have lines from 350 to 1700 nm
    return float(numbers[0]) if len(numbers) == 1 and 350 <= int(numbers[0]) <= 1700 else None


def _is_two_photon(scan: Scan, lines: tuple[float, ...]) -> bool:
    """Return whether the XML says so: a power of the two-photon laser, or infrared lasers only."""
    power = scan.setting("twophotonLaserPower")
    return bool(power) or bool(lines and all(680 <= line <= 1350 for line in lines))  # nanometres


def _positive(text: Any) -> float | None:
    value = _value({"value": text}) if isinstance(text, str) else None
    return value if value and value > 0 else None


def _value(item: Any) -> float | None:
    try:
        value = float(item["value"]) if isinstance(item, Mapping) else math.nan
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _text(value: Any) -> str | None:
    return printable(value) if isinstance(value, str) and value else None

"""What the library nd2 says about the light path, the instrument and the start of an experiment."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from roiextractors_core.errors import printable
from roiextractors_core.io import to_seconds

__all__ = ["NOT_STATED", "describe"]

_JULIAN_DAY_OF_1970 = 2440587.5  # days begin at noon
_LASER = re.compile(r"\{Laser Wavelength\}:\s*([\d.]+)\s*\{Laser Power\}:\s*([\d.]+)")
_EXPOSURE = re.compile(r"(?m)^\s*Exposure:\s*([\d.,]+)\s*(ms|s|us|µs|min)\b")
_SETTINGS = "ImageMetadataSeqLV|0"  # of the first frame
_LINE_USED = re.compile(r"MultiLaserLineUsed(\d+)-(\d+)")
_BAND_PASS = 4  # type of a point of a spectrum
_MODALITIES = (
    ("multiphoton", "two-photon"),
    ("nondescanned", "two-photon"),
    ("confocal", "confocal"),
    ("rcm", "confocal"),
    ("sora", "confocal"),
    ("camera", "one-photon"),
)
NOT_STATED = (KeyError, IndexError, AttributeError, TypeError, NotImplementedError)


def describe(file: Any, channel: int, *, has_times: bool) -> dict[str, Any]:
    """Return facts about a channel and the instrument, any of which may be absent.

    Parameters
    ----------
    file : nd2.ND2File
    channel : int
    has_times : bool
        Whether frames have times: asked for those of a file without any, the library issues a warning.
    """
    found: dict[str, Any] = {}
    with contextlib.suppress(*NOT_STATED):
        found |= _optics(file.metadata.channels[channel])
    with contextlib.suppress(*NOT_STATED):
        found["bit_depth"] = file.attributes.bitsPerComponentSignificant
    description = str(file.text_info.get("description", ""))
    camera = re.search(r"Camera Name:[ \t]*([^\r\n]*)", description)
    found["device"] = printable(camera[1].strip()) if camera else None
    found |= _of_plane(file, channel, is_camera=not found.get("is_scanner"))
    found |= _light(_part_of_channel(description, channel), found)
    return found | {"software": _software(file), "start": _started(file, has_times)}


def _optics(channel: Any) -> dict[str, Any]:
    lens, flags = channel.microscope, [flag.lower() for flag in channel.microscope.modalityFlags or ()]
    return {
        "emission": channel.channel.emissionLambdaNm or None,
        "excitation": channel.channel.excitationLambdaNm or None,
        "objective": lens.objectiveName,
        "magnification": lens.objectiveMagnification,
        "aperture": lens.objectiveNumericalAperture,
        "zoom": lens.zoomMagnification,
        "is_scanner": any("laserscan" in flag for flag in flags),
        "modality": next((kind for flag, kind in _MODALITIES if any(flag in known for known in flags)), None),
    }


def _started(file: Any, has_times: bool) -> datetime | None:
    """Return the start of the experiment: UTC by the Julian day, else the local time in the text."""
    with contextlib.suppress(*NOT_STATED):
        time = file.frame_metadata(0).channels[0].time if has_times else SimpleNamespace()
        if time.absoluteJulianDayNumber > _JULIAN_DAY_OF_1970 + 366:  # -1 or 0 if it was not recorded
            days, milliseconds = float(time.absoluteJulianDayNumber), float(time.relativeTimeMs)
            # The Julian day is that of the frame
            since = timedelta(days=days - _JULIAN_DAY_OF_1970, milliseconds=-milliseconds)
            return datetime(1970, 1, 1, tzinfo=UTC) + since
    words = str(dict(file.text_info).get("date", "")).split()
    match = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})", words[0]) if len(words) == 2 else None
    if match and int(match[1]) > 12:  # otherwise day and month cannot be told apart
        with contextlib.suppress(ValueError):
            return datetime.strptime(" ".join(words), "%d/%m/%Y %H:%M:%S")
    return None


def _software(file: Any) -> str | None:
    try:
        about = file.custom_data.get("AppInfo_V1_0") or {}
    except Exception:  # noqa: BLE001 - the library raises its own errors for chunks that it does not know
        return None
    words = [str(about.get(key) or "") for key in ("SWNameString", "VersionString")]
    return printable(" ".join(filter(None, words))) or None


def _of_plane(file: Any, channel: int, *, is_camera: bool) -> dict[str, Any]:
    """Return the detection band, the exposure and the laser lines in the settings of a channel's plane of the image."""
    try:
        known = file.unstructured_metadata(include={_SETTINGS})[_SETTINGS]
        known = known.get("SLxPictureMetadata", known)["PicturePlanes"]  # the older form has no root
    except Exception:  # noqa: BLE001 - the library raises its own errors for chunks that it does not know
        return {}
    found: dict[str, Any] = {}
    plane = _item(known.get("PlaneNew"), channel)
    filters = (plane.get("FilterPath") or {}).get("Filter") or {}
    bands = [band for one in _items(filters) if (band := _passed(one.get("EmissionSpectrum") or {}))]
    if len(bands) == 1:
        found["detection_band"] = bands[0]
    setting = _item(known.get("SampleSetting"), int(plane.get("SampleIndex") or 0))
    exposure = setting.get("ExposureTime")
    # Milliseconds; of a scanner it is the time of a whole scan, whatever part of it was saved
    if is_camera and isinstance(exposure, float) and 0 < exposure < 1e9:
        found["exposure_time"] = exposure / 1e3
    lines = _used_lines(setting.get("DeviceSetting") or {})
    if lines:
        found["laser_lines"] = tuple(lines)
        powers = [power for power in lines.values() if power is not None]
        found["laser_power"] = powers[0] if len(powers) == len(lines) == 1 else None
    return found


def _passed(spectrum: dict[str, Any]) -> tuple[float, float] | None:
    """Return the limits of an emission filter: a centre with half of its width (525/50 is stated as 525 and 25)."""
    points = list(_items(spectrum.get("Point") or {}))
    if len(points) != 1 or points[0].get("Type") != _BAND_PASS:
        return None
    # The library does not know the name in the older form
    centre = float(points[0].get("Wavelength") or points[0].get("i0000000001") or 0.0)
    half = float(points[0].get("TValue") or 0.0)
    return (centre - half, centre + half) if 0 < half < centre / 2 else None


def _used_lines(devices: dict[str, Any]) -> dict[float, float | None]:
    """Return the lines of the laser boxes that were used for a plane, each with its power in percent."""
    found: dict[float, float | None] = {}
    for key, is_used in devices.items():
        match = _LINE_USED.fullmatch(str(key))
        if match and is_used and devices.get(f"MultiLaserUse{match[1]}", 1):
            line = devices.get(f"MultiLaserLineWavelength{match[1]}-{match[2]}")
            power = devices.get(f"MultiLaserLinePower{match[1]}-{match[2]}")
            if isinstance(line, int | float) and 100 < line < 3000:
                found[float(line)] = float(power) if isinstance(power, int | float) and 0 < power <= 100 else None
    return found


def _items(container: Any) -> Iterator[dict[str, Any]]:
    """Yield the parts of a list, which the library returns as a list or as a mapping of numbered keys."""
    parts = container.values() if isinstance(container, dict) else container if isinstance(container, list) else ()
    yield from (part for part in parts if isinstance(part, dict))


def _item(container: Any, number: int) -> dict[str, Any]:
    parts = list(_items(container))
    return parts[number] if 0 <= number < len(parts) else {}


def _part_of_channel(description: str, channel: int) -> str:
    """Return the lines of the description on one channel."""
    parts = re.split(r"(?m)^\s*Plane #\d+:", description)
    return parts[channel + 1] if channel + 1 < len(parts) else parts[0]


def _light(text: str, optics: dict[str, Any]) -> dict[str, Any]:
    """Return lasers, their power and the exposure by the lines on a channel."""
    pairs = [(float(m[1]), float(m[2])) for m in _LASER.finditer(text)]
    lines = {line: power for line, power in pairs if line > 0 and power > 0}
    excitation = optics.get("excitation") or 0.0
    nearest = min(lines, key=lambda line: abs(line - excitation), default=None)
    found: dict[str, Any] = {"laser_lines": tuple(lines)} if lines else {}
    if nearest is not None and (len(lines) == 1 or abs(nearest - excitation) <= 5):
        found["laser_power"] = lines[nearest]
    exposure = _EXPOSURE.search(text)
    if exposure:
        # Decimal comma of the user's system
        found["exposure_time"] = to_seconds(float(exposure[1].replace(",", ".")), exposure[2])
    return found

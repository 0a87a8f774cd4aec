"""The XML of a CZI file: its channels, its scenes, its light path, and moments with seven digits."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

from roiextractors_core.errors import printable

__all__ = ["IMAGE", "channels_of", "describe", "moment", "moment_of", "number_of", "scene_names", "ticks_of"]

IMAGE = "./Metadata/Information/Image"
_MODALITIES = {
    "widefield": "one-photon",
    "laserscanningconfocalmicroscopy": "confocal",
    "spinningdiskconfocal": "confocal",
    "slitscanconfocal": "confocal",
    "multiphotonmicroscopy": "two-photon",
    "spim": "light-sheet",
    "lightsheet": "light-sheet",
}
_PULSED_LASERS = re.compile(r"chameleon|mai ?tai|insight|discovery|two-?photon|multi-?photon|ti:?sa", re.IGNORECASE)


def describe(header: ElementTree.Element, *, scene: int, number: int) -> dict[str, Any]:
    """Return facts about a channel, by its number in the file, and the instrument; any of them may be absent."""
    channels = channels_of(header, scene)
    one = channels[number] if number < len(channels) else ElementTree.Element("Channel")
    image = header.find(IMAGE)
    depth = one.findtext("ComponentBitCount") or header.findtext(f"{IMAGE}/ComponentBitCount")
    exposure = number_of(one.findtext("ExposureTime"))
    return {
        "emission": number_of(one.findtext("EmissionWavelength")) or None,
        "excitation": number_of(one.findtext("ExcitationWavelength")) or None,
        "device": f"Zeiss {printable(header.findtext('.//Microscopes/Microscope/System') or '')}".strip(),
        "software": printable(
            " ".join(header.findtext(f".//Application/{key}") or "" for key in ("Name", "Version"))
        ).strip(),
        "zoom": number_of(one.findtext("LaserScanInfo/ZoomX")),
        "bit_depth": number_of(depth),
        "exposure_time": exposure * 1e-9 if exposure and exposure > 0 else None,  # written in nanoseconds
        "detection_band": _band(one.findtext("DetectionWavelength/Ranges")),
        **_objective(header, None if image is None else image.find("ObjectiveSettings/ObjectiveRef")),
        **_light(header, one),
    }


def scene_names(header: ElementTree.Element) -> dict[int, str]:
    """Return the names of the scenes by their numbers, as far as the metadata names them."""
    names = {}
    for k, scene in enumerate(header.iterfind(f"{IMAGE}/Dimensions/S/Scenes/Scene")):
        index = scene.get("Index") or ""
        number = int(index) if index.isascii() and index.isdigit() and len(index) < 10 else k
        parts = (scene.get("Name"), *(shape.get("Name") for shape in scene.iterfind("Shape")))
        names[number] = printable("-".join(filter(None, parts[:2])))
    return names


def moment(ticks: int) -> datetime:
    """Return the time (UTC) that is the given number of 100 ns units after 1 January 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10)


def channels_of(header: ElementTree.Element, scene: int) -> list[ElementTree.Element]:
    found = header.findall(".//Image/Dimensions/Channels")
    return list(found[scene if scene < len(found) else 0].iterfind("Channel")) if found else []


def _objective(header: ElementTree.Element, used: ElementTree.Element | None) -> dict[str, Any]:
    """Return the objective that the image refers to, or the only one."""
    lenses = header.findall("./Metadata/Information/Instrument/Objectives/Objective")
    wanted = "" if used is None else used.get("Id")
    for lens in lenses:
        if lens.get("Id") == wanted or len(lenses) == 1:
            return {
                "objective": lens.findtext("Manufacturer/Model") or lens.get("Name"),
                "magnification": number_of(lens.findtext("NominalMagnification")),
                "aperture": number_of(lens.findtext("LensNA")),
            }
    return {}


def _light(header: ElementTree.Element, channel: ElementTree.Element) -> dict[str, Any]:
    """Return the lasers of a channel, the power of the first one, and the modality by them and the mode of acquisition."""
    sources = {s.get("Id"): s for s in header.iterfind("./Metadata/Information/Instrument/LightSources/LightSource")}
    mode = (channel.findtext("AcquisitionMode") or "").replace(" ", "").lower()
    modality = _MODALITIES.get(mode)
    lines: list[float] = []
    power: float | None = None
    for setting in channel.iterfind("LightSourcesSettings/LightSourceSettings"):
        reference = setting.find("LightSource")
        source = sources.get("" if reference is None else reference.get("Id"))
        kinds = [] if source is None else [kind.tag for kind in source.iterfind("LightSourceType/*")]
        if (kinds and "Laser" not in kinds) or (not kinds and modality == "one-photon"):
            continue
        line = number_of(setting.findtext("Wavelength"))
        transmitted = _transmitted(setting)
        if not line or line <= 0 or transmitted == 0.0:  # a laser at 0 % is off
            continue
        name = "" if source is None else f"{source.get('Name') or ''} {source.findtext('Manufacturer/Model') or ''}"
        # A scan with a pulsed laser is named confocal too; such lasers start near 680 nm
        if _PULSED_LASERS.search(name) and line >= 680 and modality in (None, "confocal"):
            modality = "two-photon"
        power = transmitted if not lines else power
        lines.append(round(line, 6))
    return {"laser_lines": tuple(lines), "laser_power": power, "modality": modality}


def _transmitted(setting: ElementTree.Element) -> float | None:
    """Return the percentage of a laser's light that is used, or None."""
    attenuation = number_of(setting.findtext("Attenuation"))
    if attenuation is not None and 0 <= attenuation <= 1:
        return round(100 * (1 - attenuation), 6)
    intensity = (setting.findtext("Intensity") or "").strip()
    return number_of(intensity.removesuffix("%")) if intensity.endswith("%") else None


def _band(text: str | None) -> tuple[float, float] | None:
    """Return the limits of a range such as ``540-570``; None for several ranges."""
    match = re.fullmatch(r"\s*([\d.]+)\s*-\s*([\d.]+)\s*", text or "")
    limits = (number_of(match[1]), number_of(match[2])) if match else (None, None)
    return (limits[0], limits[1]) if limits[0] and limits[1] and limits[0] < limits[1] else None


def number_of(text: str | None) -> float | None:
    try:
        value = float((text or "").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def ticks_of(text: str) -> int | None:
    """Return an ISO 8601 time as 100 ns units since 1 January 1970; ZEN writes seven digits, one more than datetime can store."""
    whole, _, rest = text.strip().partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    started = moment_of(whole + rest[len(digits) :])
    if started is None or started.year <= 1970:  # a clock that was never set
        return None
    started = started if started.tzinfo else started.replace(tzinfo=UTC)
    # In integers: float64 has too few digits for 100 ns since 1970
    return int(started.timestamp()) * 10_000_000 + int((digits + "0000000")[:7])


def moment_of(text: str | None) -> datetime | None:
    """Return an ISO 8601 time; without a time zone if the text names none."""
    try:
        return datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None

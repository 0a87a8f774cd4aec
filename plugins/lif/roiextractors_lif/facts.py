"""The XML of a LIF image: its axes, its channels, its time stamps, and the settings of the microscope."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import numpy as np

from roiextractors_core.errors import printable
from roiextractors_core.io import to_seconds

__all__ = ["AXES", "axis_of", "channels_of", "describe", "moment", "stamps_of"]

AXES = {"X": "1", "Y": "2", "Z": "3", "T": "4", "M": "10"}  # DimID of the axes
_DESCRIPTION = "./Data/Image/ImageDescription"
_PULSED_LASERS = re.compile(r"\b(IR|MP)\b|chameleon|mai ?tai|insight|multi-?photon", re.IGNORECASE)


def axis_of(element: ElementTree.Element, letter: str) -> dict[str, str]:
    """Return the attributes of an axis; empty for an axis that the image does not have."""
    for axis in element.iterfind(f"{_DESCRIPTION}/Dimensions/DimensionDescription"):
        if axis.get("DimID") == AXES[letter]:
            return dict(axis.attrib)
    return {}


def channels_of(element: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the descriptions of the channels in the order of their pixels."""
    described = element.findall(f"{_DESCRIPTION}/Channels/ChannelDescription")
    return sorted(described, key=lambda channel: int(channel.get("BytesInc", 0)))  # bytes to its pixels


def stamps_of(element: ElementTree.Element) -> np.ndarray:
    """Return the time stamps in units of 100 ns since 1 January 1601 (UTC); liffile itself rounds them."""
    stated = element.find("./Data/Image/TimeStampList")
    if stated is None:
        return np.empty(0, np.int64)
    # One element of two 32-bit halves a stamp in older files, one text of hexadecimal numbers in newer ones
    pairs = [(int(e.get("HighInteger", 0)), int(e.get("LowInteger", 0))) for e in stated.iterfind("TimeStamp")]
    values = [high << 32 | low for high, low in pairs] or [int(text, 16) for text in (stated.text or "").split()]
    return np.array(values, np.int64)


def moment(ticks: int) -> datetime:
    """Return the time (UTC) that is the given number of 100 ns units after 1 January 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10)


def describe(element: ElementTree.Element, channel: int) -> dict[str, Any]:
    """Return facts about a channel and the instrument, any of which may be absent."""
    channels, system = channels_of(element), element.find(".//*[@SystemTypeName]")
    setting = next((a for a in element.iter("Attachment") if a.get("Name") == "HardwareSetting"), None)
    return {
        "device": None if system is None else printable(system.get("SystemTypeName")) or None,
        "software": None if setting is None else printable(setting.get("Software") or "") or None,
        "bit_depth": _number(channels[channel].get("Resolution") if channel < len(channels) else None),
        **({} if setting is None else _optics(setting, channel, len(channels))),
    }


def _optics(setting: ElementTree.Element, channel: int, count: int) -> dict[str, Any]:
    """Return objective, zoom, lasers and detection band of a channel by the settings of the hardware."""
    first = next(
        (e for e in setting.iter() if e.tag in ("ATLConfocalSettingDefinition", "ATLCameraSettingDefinition")), None
    )
    if first is None:
        return {}
    found: dict[str, Any] = {
        "objective": re.sub(r"\s+", " ", first.get("ObjectiveName") or "").strip() or None,
        "magnification": _number(first.get("Magnification")),
        "aperture": _number(first.get("NumericalAperture")),
        "zoom": _number(first.get("Zoom")),
    }
    source = (setting.get("DataSourceTypeName") or "").lower()
    found["modality"] = {"confocal": "confocal", "camera": "one-photon"}.get(source)
    # One setting for each step of a sequential scan; the active detectors of all steps are the channels, in order
    steps = setting.findall(".//LDM_Block_Sequential_List/ATLConfocalSettingDefinition") or [first]
    active = [(step, d) for step in steps for d in step.iter("Detector") if d.get("IsActive") == "1"]
    if len(active) == count:
        step, detector = active[channel]
        bands = (b for b in step.iter("MultiBand") if b.get("Channel") == detector.get("Channel"))
        limits = next(([_number(b.get(key)) for key in ("LeftWorld", "RightWorld")] for b in bands), [None, None])
        if limits[0] and limits[1] and limits[0] < limits[1]:
            found["detection_band"] = (limits[0], limits[1])
    elif len(steps) > 1:
        return found
    else:
        step = first
    return found | _lasers(step, found["modality"]) | _exposure(step, channel)


def _lasers(step: ElementTree.Element, modality: str | None) -> dict[str, Any]:
    """Return the lines that were on, the power if there is one, and the modality by the laser."""
    lines: dict[float, float] = {}
    for source in step.iter("Aotf"):
        for setting in source.iter("LaserLineSetting"):
            line, power = _number(setting.get("LaserLine")), _number(setting.get("IntensityDev"))
            if not line or not power or line <= 0 or power <= 0 or setting.get("IsLineChecked") == "0":
                continue
            lines[line] = power
            # Two-photon scans have the data source 'confocal' too; pulsed lasers start near 680 nm
            if modality == "confocal" and line >= 680 and _PULSED_LASERS.search(source.get("LightSourceName") or ""):
                modality = "two-photon"
    power = next(iter(lines.values())) if len(lines) == 1 else None  # of several, which is the channel's is not stated
    return {"laser_lines": tuple(lines), "laser_power": power, "modality": modality}


def _exposure(step: ElementTree.Element, channel: int) -> dict[str, Any]:
    cameras = list(step.iter("WideFieldChannelInfo"))
    text = cameras[channel].get("ExposureTime") if channel < len(cameras) else None
    match = re.fullmatch(r"\s*([\d.eE+-]+)\s*([a-zµ]*)\s*", text or "")
    return {"exposure_time": to_seconds(match[1], match[2] or "s")} if match else {}


def _number(text: str | None) -> float | None:
    try:
        value = float((text or "").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None

"""Metadata from the footer: start time, pixel size, microscope, channel, and the vendor's acquisition info."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from roiextractors_core.errors import printable
from roiextractors_core.io import plausible_start, to_seconds
from roiextractors_core.metadata import ChannelMetadata, RecordingMetadata

from .footer import Timing, find

__all__ = ["metadata_of"]

# The vendor's names for the acquisition info, and the paths of the values in the footer's extraProperties.
_ACQUISITION = {
    "Animal Sex": "animal.sex",
    "Animal Date of Birth": "animal.dob",
    "Animal ID": "animal.id",
    "Animal Species": "animal.species",
    "Animal Weight": "animal.weight",
    "Animal Description": "animal.description",
    "Microscope Focus": "microscope.focus",
    "Microscope Gain": "microscope.gain",
    "Microscope Serial Number": "microscope.serial",
    "Microscope Type": "microscope.type",
    "Exposure Time (ms)": "microscope.exp",
    "Session Name": "name",
    "Experimenter Name": "personnel.name",
    "Probe Diameter (mm)": "probe.diameter",
    "Probe Flip": "probe.flip",
    "Probe Length (mm)": "probe.length",
    "Probe Pitch": "probe.pitch",
    "Probe Rotation (degrees)": "probe.rotation",
    "Probe Type": "probe.type",
    "Recording UUID": "processingInterface.recordingUUID",
    "Cell Identification Method": "idps.cellset.method",
    "Trace Units": "idps.cellset.units",
    "efocus": "idps.efocus",
    "channel": "idps.channel",
    "Motion correction padding": "idps.mc_padding",
}


def metadata_of(document: Mapping[str, Any], timing: Timing, *, bit_depth: int | None = None) -> RecordingMetadata:
    """Return the metadata in a footer.

    Parameters
    ----------
    document : mapping
        The footer.
    timing : Timing
        Its checked times.
    bit_depth : int, optional

    Returns
    -------
    RecordingMetadata
        ``vendor`` is the footer, and ``vendor["acquisition"]`` the acquisition info as the vendor's library returns it.
    """
    extra = find(document, "extraProperties")
    return RecordingMetadata(
        start_time=plausible_start(_start_time(timing)),
        pixel_size=_pixel_size(document),
        channels=_channels(extra),
        bit_depth=bit_depth,
        modality="one-photon",
        device=_device(extra),
        software=_software(document),
        vendor={**document, "acquisition": _acquisition(extra)},
    )


def _start_time(timing: Timing) -> datetime | None:
    """Return the start in local time, or None."""
    if not timing.start:  # the vendor writes 0 for an unknown time
        return None
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(timing.start * 1_000_000))
        return moment.astimezone(timezone(timedelta(seconds=timing.utc_offset)))
    except OverflowError:  # a damaged footer can say the year 300,000
        return None


def _pixel_size(document: Mapping[str, Any]) -> tuple[float, float] | None:
    sizes = []
    for axis in ("y", "x"):
        num, den = (find(document, f"spacingInfo.pixelSize.{axis}.{part}") for part in ("num", "den"))
        if type(num) is not int or type(den) is not int or num <= 0 or den <= 0:
            return None
        sizes.append(num / den)
    return sizes[0], sizes[1]


def _channels(extra: Any) -> tuple[ChannelMetadata, ...]:
    name = find(extra, "idps.channel")
    dual = find(extra, "microscope.dualColor")
    if not name and find(dual, "enabled") is True and find(dual, "mode") == "single":
        name = find(dual, "single.channel")
    exposure = find(extra, "microscope.exp")
    seconds = to_seconds(exposure, "ms") if isinstance(exposure, int | float) and exposure > 0 else None
    # Microscopes of one colour name no channel
    label = printable(name) if isinstance(name, str) else ""
    return (ChannelMetadata(label, exposure_time=seconds),) if label or seconds else ()


def _device(extra: Any) -> str | None:
    kind, serial = find(extra, "microscope.type"), find(extra, "microscope.serial")
    if not isinstance(kind, str) or not kind:
        return None
    return f"Inscopix {printable(kind)}" + (f", serial number {printable(serial)}" if serial else "")


def _software(document: Mapping[str, Any]) -> str | None:
    name, version = find(document, "producer.name"), find(document, "producer.version")
    if not isinstance(name, str) or not name:
        return None
    return " ".join(
        [printable(name), ".".join(map(printable, version))] if isinstance(version, list) else [printable(name)]
    )


def _acquisition(extra: Any) -> dict[str, Any]:
    """Return the acquisition info under the vendor's names."""
    info = {name: find(extra, path) for name, path in _ACQUISITION.items()}
    dual = find(extra, "microscope.dualColor")
    # a dual-colour microscope has two excitation LEDs, any other has an excitation and an optogenetic one
    names = ("EX LED", "OG LED") if dual is None else ("EX LED 1", "EX LED 2")
    second = "exPower2" if find(dual, "enabled") is True else "ogPower"
    for name, key in zip(names, ("exPower", second), strict=True):
        info[f"Microscope {name} Power (mw/mm^2)"] = find(extra, f"microscope.led.{key}")
    version = find(extra, "producer.versionBE")
    info["Acquisition SW Version"] = version.split("-")[0] if isinstance(version, str) else None
    return {name: value for name, value in sorted(info.items()) if value is not None}

"""Declares the formats of Olympus FluoView."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, Member, Name, Probe, hookimpl

__all__ = ["roiextractors_formats"]

_METADATA = (
    "start_time",
    "pixel_size",
    "plane_spacing",
    "channels",
    "objective",
    "zoom",
    "bit_depth",
    "modality",
    "device",
    "software",
    "vendor",
)
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_FRAMES = Name("*.oif.files") & Member("s_C[0-9]*.pty")
_TEXT = Magic(b"\xff\xfe[\0") | Magic(b"[")


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the formats of this plugin."""
    yield FormatSpec(
        name="oib",
        title="Olympus OIB",
        extractor="roiextractors_olympus.extractor:OlympusImagingExtractor",
        extensions=(".oib",),
        evidence=Magic(_OLE) & Probe("roiextractors_olympus.probes:is_oib"),
        api=1,
        streams=("channel",),
        clock="native",
        metadata=_METADATA,
        platforms=("any",),
        description="Olympus FluoView FV1000 recordings in one file (.oib): channels, volumes, the time of every frame.",
    )
    yield FormatSpec(
        name="oif",
        title="Olympus OIF",
        extractor="roiextractors_olympus.extractor:OlympusImagingExtractor",
        extensions=(".oif",),
        evidence=(_TEXT & Probe("roiextractors_olympus.probes:is_oif")) | Member("*.oif") | _FRAMES,
        specializes=("tiff",),
        companions=("*.oif", "*.oib"),
        api=1,
        streams=("channel",),
        clock="native",
        metadata=_METADATA,
        platforms=("any",),
        description="Olympus FluoView FV1000 recordings as a settings file (.oif) and a folder with one TIFF per frame: channels, volumes.",
    )

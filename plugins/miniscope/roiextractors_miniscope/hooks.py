"""Declares the Miniscope format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, JsonKey, Magic, Member, Name, Probe, Sibling, hookimpl

__all__ = ["roiextractors_formats"]

_AVI = Magic(b"RIFF") & Magic(b"AVI ", offset=8)
_CSV = Magic(b"Frame Number,") | (
    Name("timeStamps.csv") & (Magic(b"frame") | Magic(b"Frame") | Magic(b"Time") | Magic(b"time"))
)
_DAT = Magic(b"camNum\tframeNum\tsysClock") | Magic(b"camNum frameNum sysClock")
_ANY_OF_V4 = (
    (Member("*.avi") & JsonKey("deviceType", file="metaData.json"))
    | (Member("*.avi") & Member("timeStamps.csv"))
    | (JsonKey("deviceType") & Sibling("*.avi"))
    | (_CSV & Sibling("*.avi"))
    | (_AVI & Sibling("metaData.json") & Probe("roiextractors_miniscope.layout:is_video_of_scope"))
    | (_AVI & Sibling("timeStamps.csv") & Probe("roiextractors_miniscope.layout:is_video_of_scope"))
)
_ANY_OF_V3 = (
    Member("msCam*.avi")
    | (_AVI & Name("msCam*") & Sibling("timestamp.dat"))
    | (_AVI & Name("msCam*") & Sibling("settings_and_notes.dat"))
    | (_DAT & Sibling("msCam*.avi"))
    | (Name("settings_and_notes.dat") & Sibling("msCam*.avi"))
)
_SESSIONS = (
    (JsonKey("miniscopes", file="metaData.json") & Member("*/*.avi"))
    | JsonKey("miniscopes")
    | (Member("*/*/*.avi") & Probe("roiextractors_miniscope.layout:holds_sessions"))
    | (Member("*/*.avi") & Probe("roiextractors_miniscope.layout:holds_sessions"))
)


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the one format of this plugin."""
    yield FormatSpec(
        name="miniscope",
        title="UCLA Miniscope",
        extractor="roiextractors_miniscope.extractor:MiniscopeImagingExtractor",
        extensions=(".avi", ".dat"),
        evidence=_ANY_OF_V4 | _ANY_OF_V3 | _SESSIONS,
        specializes=("video",),
        companions=("timeStamps.csv", "timestamp.dat"),
        api=1,
        streams=("session", "device"),
        clock="native",
        metadata=("start_time", "modality", "device", "vendor"),
        platforms=("any",),
        description="One-photon recordings of the UCLA Miniscope V3 and V4: consecutive videos as one recording, with its timestamps.",
    )

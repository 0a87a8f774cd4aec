"""Declares the video format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, hookimpl

__all__ = ["roiextractors_formats"]

_AVI = Magic(b"RIFF") & Magic(b"AVI ", offset=8)
_MATROSKA = Magic(bytes.fromhex("1a45dfa3"))
_MP4 = Magic(b"ftyp", offset=4)
_QUICKTIME = (
    (Magic(b"moov", offset=4) & Magic(b"mvhd", offset=12))
    | (Magic(b"wide", offset=4) & Magic(b"mdat", offset=12))
    | (Magic(b"mdat", offset=4) & Magic(b"\0", offset=0))
)
_ASF = Magic(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"))
_MPEG = Magic(bytes.fromhex("000001ba")) | Magic(bytes.fromhex("000001b3"))
# Packets of 188 bytes, each with the sync byte 0x47 ("G"); one alone would match any text that begins with G
_TRANSPORT_STREAM = Magic(b"G") & Magic(b"G", 188) & Magic(b"G", 376) & Magic(b"G", 564) & Magic(b"G", 752)


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the format."""
    yield FormatSpec(
        name="video",
        title="video (AVI, MP4, MOV, Matroska, MPEG, ASF)",
        extractor="roiextractors_video.extractor:VideoImagingExtractor",
        extensions=(".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".asf"),
        evidence=_AVI | _MP4 | _QUICKTIME | _MATROSKA | _ASF | _MPEG | _TRANSPORT_STREAM,
        api=1,
        writer="roiextractors_video.writer:write",
        writer_extensions=(".mp4",),
        streams=("channel",),
        clock="native",
        metadata=("channels", "bit_depth", "software", "vendor"),
        platforms=("any",),
        description="Video files with exact frame counts and stream timestamps, as grayscale or one colour channel.",
    )

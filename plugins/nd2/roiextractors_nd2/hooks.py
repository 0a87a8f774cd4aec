"""Declares the Nikon ND2 format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, Name, hookimpl

__all__ = ["roiextractors_formats"]

_JPEG_2000 = bytes.fromhex("0000000c6a5020200d0a")  # the signature box, as in any .jp2; so the suffix is needed too


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the format."""
    yield FormatSpec(
        name="nd2",
        title="Nikon ND2",
        extractor="roiextractors_nd2.extractor:Nd2ImagingExtractor",
        extensions=(".nd2",),
        evidence=Magic(bytes.fromhex("dacebe0a")) | (Magic(_JPEG_2000) & Name("*.nd2")),
        api=1,
        requires=("nd2",),
        streams=("scene", "channel"),
        clock="native",
        metadata=(
            *("start_time", "pixel_size", "plane_spacing", "channels", "objective", "zoom", "bit_depth", "modality"),
            *("device", "software", "vendor"),
        ),
        description="Files of Nikon NIS-Elements, including JPEG 2000; a time for each frame.",
    )

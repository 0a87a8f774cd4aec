"""Declares the Leica LIF format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the format."""
    yield FormatSpec(
        name="lif",
        title="Leica LIF",
        extractor="roiextractors_lif.extractor:LifImagingExtractor",
        extensions=(".lif",),
        # 0x70, the length, 0x2A, the number of characters, then XML in UTF-16
        evidence=Magic(b"\x70\0\0\0") & Magic(b"\x2a", offset=8) & Magic("<".encode("utf-16-le"), offset=13),
        api=1,
        requires=("liffile",),
        streams=("scene", "channel", "tile", "phase", "illumination", "view", "rotation", "block"),
        clock="native",
        metadata=(
            *("start_time", "pixel_size", "plane_spacing", "channels", "objective", "zoom", "bit_depth", "modality"),
            *("device", "software", "vendor"),
        ),
        description="Files of Leica LAS AF and LAS X; a time for each frame.",
    )

"""Declares the Zeiss CZI format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the format."""
    yield FormatSpec(
        name="czi",
        title="Zeiss CZI",
        extractor="roiextractors_czi.extractor:CziImagingExtractor",
        extensions=(".czi",),
        evidence=Magic(b"ZISRAWFILE"),
        api=1,
        streams=("scene", "channel", "tile", "phase", "illumination", "view", "rotation", "block"),
        clock="native",
        metadata=(
            *("start_time", "pixel_size", "plane_spacing", "channels", "objective", "zoom", "bit_depth", "modality"),
            *("device", "software", "vendor"),
        ),
        description="Files of Zeiss ZEN; times of the frames, of the time stamps or of the positions along T.",
    )

"""Declares what the installed plugins of bioio read, as one format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, hookimpl

__all__ = ["roiextractors_formats"]

_STREAMS = ("scene", "channel", "tile", "phase", "illumination", "view", "rotation", "block")


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the format."""
    yield FormatSpec(
        name="bioio",
        title="Image read by a bioio plugin",
        extractor="roiextractors_bioio.extractor:BioioImagingExtractor",
        extensions=(".dv", ".r3d", ".sldy", ".vsi", ".zvi"),
        api=1,
        requires=("bioio",),
        streams=_STREAMS,
        clock="rate",
        metadata=(
            *("start_time", "pixel_size", "plane_spacing", "channels", "objective", "bit_depth", "modality", "device"),
            "vendor",
        ),
        description='Any image that an installed bioio plugin can read, with format="bioio" or by one of these suffixes.',
    )

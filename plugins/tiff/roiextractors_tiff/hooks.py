"""Declares the TIFF format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, Member, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Declare the format of this plugin."""
    yield FormatSpec(
        name="tiff",
        title="TIFF",
        extractor="roiextractors_tiff.extractor:TiffImagingExtractor",
        extensions=(".tif", ".tiff", ".btf", ".tf8", ".stk", ".lsm"),
        evidence=Magic(b"II*\0")
        | Magic(b"MM\0*")
        | Magic(b"II+\0")
        | Magic(b"MM\0+")
        | Member("*.tif")
        | Member("*.tiff"),
        streams=("channel", "plane", "position", "series"),
        clock="native",
        metadata=(
            *("start_time", "pixel_size", "plane_spacing", "channels", "objective", "zoom", "bit_depth", "modality"),
            *("device", "software", "vendor"),
        ),
        description="TIFF and BigTIFF files with many pages, ImageJ hyperstacks, MetaMorph and Zeiss LSM, and sequences of TIFF files.",
    )

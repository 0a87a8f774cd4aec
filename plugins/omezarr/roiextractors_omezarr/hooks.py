"""Declares the OME-Zarr format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, JsonKey, Member, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the format."""
    yield FormatSpec(
        name="omezarr",
        title="OME-Zarr",
        extractor="roiextractors_omezarr.extractor:OmeZarrImagingExtractor",
        extensions=(".ome.zarr", ".zarr"),
        evidence=(
            Member(".zattrs")
            & (JsonKey("multiscales", file=".zattrs") | JsonKey("bioformats2raw.layout", file=".zattrs"))
        )
        | (Member("zarr.json") & JsonKey("attributes.ome", file="zarr.json")),
        api=1,
        streams=("series", "channel", "plane"),
        clock="native",
        metadata=(
            "start_time",
            "pixel_size",
            "plane_spacing",
            "plane_positions",
            "channels",
            "device",
            "software",
            "vendor",
        ),
        description="OME-Zarr 0.1 to 0.5 (OME-NGFF) at full resolution, including images from bioformats2raw.",
        writer="roiextractors_omezarr.writer:write",
        writer_extensions=(".zarr",),
    )

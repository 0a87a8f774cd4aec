"""Declares the formats OME-Zarr and plain Zarr arrays."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, JsonKey, Member, Probe, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the formats."""
    yield FormatSpec(
        name="omezarr",
        title="OME-Zarr",
        extractor="roiextractors_omezarr.extractor:OmeZarrImagingExtractor",
        extensions=(".ome.zarr", ".zarr"),
        evidence=(
            Member(".zattrs")
            & (
                JsonKey("multiscales", file=".zattrs")
                | JsonKey("bioformats2raw.layout", file=".zattrs")
                | JsonKey("plate", file=".zattrs")
                | JsonKey("well", file=".zattrs")
            )
        )
        | (Member("zarr.json") & JsonKey("attributes.ome", file="zarr.json"))
        # Groups that describe nothing themselves, with images below them
        | ((Member(".zgroup") | Member("zarr.json")) & Probe("roiextractors_omezarr.containers:holds_images")),
        api=1,
        streams=("series", "channel", "plane"),
        clock="native",
        metadata=(
            "start_time",
            "pixel_size",
            "plane_spacing",
            "plane_positions",
            "channels",
            "objective",
            "zoom",
            "bit_depth",
            "modality",
            "device",
            "software",
            "vendor",
        ),
        description="OME-Zarr 0.1 to 0.5 (OME-NGFF) at full resolution, including collections of bioformats2raw, plates and wells.",
        writer="roiextractors_omezarr.writer:write",
        writer_extensions=(".zarr",),
    )
    yield FormatSpec(
        name="zarr",
        title="Zarr array",
        extractor="roiextractors_omezarr.plain:ZarrImagingExtractor",
        extensions=(".zarr",),
        evidence=(Member(".zarray") | Member(".zgroup") | Member("zarr.json"))
        & Probe("roiextractors_omezarr.plain:holds_movie"),
        api=1,
        streams=("series", "channel", "plane"),
        metadata=("channels", "vendor"),
        description="Plain Zarr arrays, as dask and xarray write them: (time, rows, columns), or axes that are named.",
    )

"""Declares the format of minian's results."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Hdf5Path, JsonKey, hookimpl

__all__ = ["roiextractors_formats"]

_DIMENSIONS = "_ARRAY_DIMENSIONS"


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the one format of this plugin."""
    yield FormatSpec(
        name="minian",
        title="minian",
        kind="segmentation",
        extractor="roiextractors_minian.extractor:MinianSegmentationExtractor",
        extensions=(".zarr", ".nc"),
        # A folder of one Zarr group for each variable; one group of all of them, as xarray saves a dataset; the same as netCDF
        evidence=JsonKey(_DIMENSIONS, file="A.zarr/A/.zattrs")
        | JsonKey("dimension_names", file="A.zarr/A/zarr.json")
        | (JsonKey(_DIMENSIONS, file="A/.zattrs") & JsonKey(_DIMENSIONS, file="unit_id/.zattrs"))
        | (JsonKey("dimension_names", file="A/zarr.json") & JsonKey("dimension_names", file="unit_id/zarr.json"))
        | (Hdf5Path("/A", "DIMENSION_LIST") & Hdf5Path("/C", "DIMENSION_LIST") & Hdf5Path("/unit_id")),
        api=1,
        clock="native",
        metadata=("software", "vendor"),
        description="Results of minian (CNMF): footprints, denoised and deconvolved traces, background, from its folders of Zarr arrays or a netCDF-4 file.",
    )

"""Declares the NWB formats: movies, and ROIs."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Hdf5Path, JsonKey, Member, Name, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the formats of this plugin."""
    is_nwb = (
        Hdf5Path("/", attribute="neurodata_type", equals="NWBFile")
        | Hdf5Path("/", attribute="nwb_version")
        | Hdf5Path("/nwb_version")  # NWB 1
        | (Member(".zattrs") & JsonKey("nwb_version", file=".zattrs"))
        | (Member("zarr.json") & JsonKey("attributes.nwb_version", file="zarr.json"))
        # A Zarr folder can be given by one of its own files
        | (Name(".zattrs") & JsonKey("nwb_version"))
        | (Name("zarr.json") & JsonKey("attributes.nwb_version"))
    )
    yield FormatSpec(
        name="nwb",
        title="Neurodata Without Borders (NWB)",
        extractor="roiextractors_nwb.extractor:NwbImagingExtractor",
        extensions=(".nwb", ".nwb.h5", ".nwb.zarr"),
        evidence=is_nwb,
        specializes=("hdf5",),
        api=1,
        requires=("h5py",),
        streams=("series",),
        clock="native",
        metadata=(
            "start_time",
            "pixel_size",
            "plane_spacing",
            "channels",
            "bit_depth",
            "modality",
            "device",
            "software",
            "vendor",
        ),
        platforms=("any",),
        description="Imaging series of NWB 2 files (HDF5 and Zarr): two-photon, one-photon, and series in external TIFF files.",
        writer="roiextractors_nwb.writer:write",
        writer_extensions=(".nwb",),
    )
    yield FormatSpec(
        name="nwb-segmentation",
        kind="segmentation",
        title="Neurodata Without Borders (NWB) segmentation",
        extractor="roiextractors_nwb.segmentation:NwbSegmentationExtractor",
        extensions=(".nwb", ".nwb.h5", ".nwb.zarr"),
        evidence=is_nwb,
        api=1,
        requires=("h5py",),
        streams=("plane_segmentation",),
        clock="native",
        metadata=("start_time", "pixel_size", "plane_spacing", "channels", "modality", "device", "software", "vendor"),
        platforms=("any",),
        description="ROIs of NWB 2 files (HDF5 and Zarr): each PlaneSegmentation with its masks, RoiResponseSeries, columns and images.",
        writer="roiextractors_nwb.segmentation_writer:write",
        writer_extensions=(".nwb",),
    )

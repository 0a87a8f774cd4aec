"""Declares the Femtonics MESc format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Hdf5Path, Name, Probe, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the one format of this plugin."""
    yield FormatSpec(
        name="femtonics",
        title="Femtonics MESc",
        extractor="roiextractors_femtonics.extractor:FemtonicsImagingExtractor",
        extensions=(".mesc",),
        # A truncated file shows no attributes; read as plain HDF5, its pixels would be inverted without a word
        evidence=Hdf5Path("/", attribute="VecMSessionsSize")
        | Hdf5Path("/MSession_0", attribute="VecMUnitsSize")
        | (Name("*.mesc") & Probe("roiextractors_femtonics.extractor:is_mesc")),
        specializes=("hdf5",),
        api=1,
        requires=("h5py",),
        streams=("session", "unit", "channel"),
        clock="rate",
        metadata=(
            "start_time",
            "pixel_size",
            "plane_spacing",
            "channels",
            "modality",
            "device",
            "software",
            "vendor",
        ),
        platforms=("any",),
        description="Two-photon recordings of Femtonics microscopes; sessions, units and channels of a MESc file.",
    )

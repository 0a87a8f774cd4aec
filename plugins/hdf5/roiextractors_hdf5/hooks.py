"""Declares the format of plain HDF5 movies."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, hookimpl

__all__ = ["roiextractors_formats"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the format."""
    yield FormatSpec(
        name="hdf5",
        title="HDF5 movie",
        extractor="roiextractors_hdf5.extractor:Hdf5ImagingExtractor",
        extensions=(".h5", ".hdf5", ".hdf", ".he5"),
        evidence=Magic(_SIGNATURE)
        | Magic(_SIGNATURE, offset=512)  # behind a user block, as MATLAB writes
        | Magic(_SIGNATURE, offset=1024)
        | Magic(_SIGNATURE, offset=2048)
        | Magic(_SIGNATURE, offset=4096),
        api=1,
        requires=("h5py",),
        streams=("dataset", "channel", "dimension_order"),
        clock="rate",
        metadata=("pixel_size", "plane_spacing", "channels", "vendor"),
        platforms=("any",),
        description="A movie in a plain HDF5 file: CaImAn, suite2p, SIMA, Allen, ImageJ's HDF5 plugin, ilastik, MATLAB 7.3.",
        is_container=True,
    )

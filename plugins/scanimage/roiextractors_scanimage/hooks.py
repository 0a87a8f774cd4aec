"""Declares the ScanImage format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, Member, Probe, TiffTag, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Declare the format of this plugin."""
    yield FormatSpec(
        name="scanimage",
        title="ScanImage TIFF",
        extractor="roiextractors_scanimage.extractor:ScanImageImagingExtractor",
        extensions=(".tif", ".tiff"),
        evidence=Magic(bytes.fromhex("01030307"), offset=16)
        | TiffTag("Software", startswith="SI.")
        | TiffTag("ImageDescription", contains="scanimage.SI")
        | TiffTag("ImageDescription", startswith="state.")
        | TiffTag("ImageDescription", startswith="frameNumbers = ")
        | (Member("*.tif*") & Probe("roiextractors_scanimage.file_set:holds_scanimage")),
        specializes=("tiff",),
        api=1,
        streams=("channel", "roi", "slice_sample", "plane"),
        clock="native",
        metadata=(
            "start_time",
            "pixel_size",
            "plane_spacing",
            "plane_positions",
            "channels",
            "zoom",
            "bit_depth",
            "device",
            "software",
            "vendor",
        ),
        platforms=("any",),
        description="Two-photon recordings of ScanImage 3.8 to 2023, with channels, volumes, regions of interest (mROI), split files and the times of frames.",
    )

"""Declares the OME-TIFF format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, Member, Probe, TiffTag, XmlRoot, hookimpl

__all__ = ["roiextractors_formats"]

# Declaration and comments may come before the root; each is taken whole, so that no text is gone through twice.
_ROOT = r"\A\ufeff?(?>\s+|<\?(?s:.*?)\?>|<!--(?s:.*?)-->)*+<(?:\w+:)?OME\s[^>]*openmicroscopy\.org/"


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Declare the format of this plugin."""
    yield FormatSpec(
        name="ometiff",
        title="OME-TIFF",
        extractor="roiextractors_ometiff.extractor:OmeTiffImagingExtractor",
        extensions=(
            ".ome.tif",
            ".ome.tiff",
            ".ome.tf2",
            ".ome.tf8",
            ".ome.btf",
            ".companion.ome",
            ".tif",
            ".tiff",
        ),
        evidence=TiffTag("ImageDescription", contains="openmicroscopy.org/", matches=_ROOT)
        | ((Magic(b"<?xml") | Magic(b"<OME") | Magic(b"\xef\xbb\xbf<")) & XmlRoot("OME"))
        | (Member("*.companion.ome") & XmlRoot("OME", file="*.companion.ome"))
        | ((Member("*.tif*") | Member("*.ome.*")) & Probe("roiextractors_ometiff.file_set:holds_ome")),
        specializes=("tiff",),
        companions=("*.companion.ome",),
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
        platforms=("any",),
        description="OME-TIFF in one file or many, with or without a companion file: all dimension orders, channels, planes, series, times.",
        writer="roiextractors_ometiff.writer:write",
        writer_extensions=(".tif", ".tiff", ".btf"),
    )

"""Declares the Prairie View format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, Member, Name, Probe, TiffTag, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the format of this plugin."""
    is_xml = Magic(b"\xef\xbb\xbf<") | Magic(b"<?xml") | Magic(b"<PVScan")
    has_images = Probe("roiextractors_bruker.folder:describes_images")
    is_listed = Probe("roiextractors_bruker.folder:lies_beside_its_scan")
    yield FormatSpec(
        name="bruker",
        title="Bruker Prairie View",
        extractor="roiextractors_bruker.extractor:BrukerImagingExtractor",
        extensions=(".ome.tif", ".tif", ".tiff", ".xml", ".env", ".companion.ome"),
        evidence=(is_xml & has_images)
        | TiffTag("Software", contains="Prairie")
        | (Name("*_Cycle*_*Ch*_*.tif*") & is_listed)
        | (Name("*.env") & is_listed)
        | (Name("*.companion.ome") & is_listed)
        | (Member("*.xml") & has_images),
        specializes=("ometiff", "tiff"),
        companions=("*.env",),
        api=1,
        streams=("channel", "plane", "series", "position"),
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
        description="Two-photon recordings from Bruker's Prairie View 3 to 5.8: channels, volumes, cycles and bursts, frame times.",
    )

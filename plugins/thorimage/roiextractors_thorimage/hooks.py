"""Declares the ThorImage format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, Member, Name, XmlRoot, hookimpl

__all__ = ["roiextractors_formats"]

_BEGINS = Magic(b"<?xml") | Magic(b"\xef\xbb\xbf<?xml") | Magic(b"<ThorImage")
_FRAME = "*_[0-9]*_[0-9]*_[0-9]*_[0-9]*.tif"


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the format of this plugin."""
    yield FormatSpec(
        name="thorimage",
        title="ThorImage",
        extractor="roiextractors_thorimage.extractor:ThorImageImagingExtractor",
        extensions=(".tif", ".tiff", ".raw"),
        evidence=(_BEGINS & XmlRoot("ThorImageExperiment"))
        | (
            XmlRoot("ThorImageExperiment", file="Experiment.xml")
            & (Member("Experiment.xml") | Name(_FRAME) | Name(f"{_FRAME}f") | Name("Image_[0-9]*_[0-9]*.raw"))
        ),
        specializes=("ometiff", "tiff"),
        companions=("Experiment.xml",),
        api=1,
        streams=("channel", "site", "tile"),
        clock="native",
        metadata=(
            "start_time",
            "pixel_size",
            "plane_spacing",
            "channels",
            "objective",
            "bit_depth",
            "modality",
            "device",
            "software",
            "vendor",
        ),
        platforms=("any",),
        description="Two-photon recordings from ThorImage LS: Experiment.xml with one TIFF per frame or raw files, channels and volumes.",
    )

"""Declares the formats of uncompressed files: raw binary, DAX with its .inf, Picasso raw with its .yaml."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Name, Probe, Sibling, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the three formats of this plugin."""
    yield FormatSpec(
        name="raw",
        title="raw binary",
        extractor="roiextractors_raw.extractor:RawImagingExtractor",
        extensions=(".raw", ".bin", ".dat"),
        api=1,
        clock="none",
        description="Uncompressed binary files without a header; pass shape=, dtype= and optionally offset= and order=.",
    )
    yield FormatSpec(
        name="dax",
        title="Zhuang lab DAX",
        extractor="roiextractors_raw.dax:DaxImagingExtractor",
        extensions=(".dax", ".inf"),
        evidence=Name("*.dax") | (Name("*.dax") & Sibling("{stem}.inf")) | (Name("*.inf") & Sibling("{stem}.dax")),
        api=1,
        clock="rate",
        metadata=("device", "software", "vendor"),
        description="Movies of HAL and storm-analysis: frames in a .dax file, their size and byte order in the .inf next to it.",
    )
    yield FormatSpec(
        name="picasso-raw",
        title="Picasso raw",
        extractor="roiextractors_raw.picasso:PicassoRawImagingExtractor",
        extensions=(".raw", ".yaml"),
        evidence=Sibling("{stem}.yaml") & Probe("roiextractors_raw.picasso:is_picasso"),
        specializes=("raw",),
        api=1,
        clock="none",
        metadata=("pixel_size", "device", "software", "vendor"),
        description="Movies of Picasso: frames in a .raw file, their size, dtype and byte order in the .yaml next to it.",
    )

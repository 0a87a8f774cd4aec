"""Declares the format of CaImAn's .mmap movies."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Name, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the one format of this plugin."""
    yield FormatSpec(
        name="caiman",
        title="CaImAn memory map",
        extractor="roiextractors_caiman.extractor:CaimanMmapImagingExtractor",
        extensions=(".mmap",),
        evidence=Name("*_d1_[0-9]*_d2_[0-9]*_d3_[0-9]*_order_[cf]_frames_[0-9]*.mmap"),
        api=1,
        clock="none",
        metadata=("software", "vendor"),
        description="Movies and volumes saved by CaImAn as .mmap files, whose names give their shape and order.",
        writer="roiextractors_caiman.writer:write",
        writer_extensions=(".mmap",),
    )

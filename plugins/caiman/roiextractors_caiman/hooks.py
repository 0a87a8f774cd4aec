"""Declares the formats of CaImAn: its .mmap movies and its analyses."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Hdf5Path, Name, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the movies, then the analyses."""
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
    yield FormatSpec(
        name="caiman-segmentation",
        title="CaImAn analysis",
        kind="segmentation",
        extractor="roiextractors_caiman.segmentation:CaimanSegmentationExtractor",
        extensions=(".hdf5", ".h5"),
        evidence=Hdf5Path("/estimates/A") & Hdf5Path("/params"),
        api=1,
        requires=("h5py",),
        clock="rate",
        metadata=("software", "vendor"),
        description="Components, traces, background and evaluation of CaImAn (CNMF, CNMF-E, OnACID), saved as .hdf5; planar and volumetric.",
    )

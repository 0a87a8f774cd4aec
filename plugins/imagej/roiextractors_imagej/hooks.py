"""Declares the ROI files of ImageJ."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, Probe, hookimpl

__all__ = ["roiextractors_formats"]

_ZIP = Magic(b"PK\x03\x04") & Probe("roiextractors_imagej.archive:has_rois")


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the one format of this plugin."""
    yield FormatSpec(
        name="imagej-roi",
        title="ImageJ ROIs",
        kind="segmentation",
        extractor="roiextractors_imagej.extractor:ImageJRoiSegmentationExtractor",
        extensions=(".roi", ".zip"),
        evidence=Magic(b"Iout") | _ZIP,
        api=1,
        clock="none",
        platforms=("any",),
        description="ROIs drawn in ImageJ or Fiji: areas and points with their groups, colours and positions in the stack.",
    )

"""Declares the regions of neurofinder."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Member, Name, Probe, hookimpl

__all__ = ["roiextractors_formats"]

_HAS_REGIONS = Probe("roiextractors_neurofinder.layout:has_regions")
_FOLDER = (
    Member("regions/regions.json") | Member("sources/sources.json") | Member("regions.json") | Member("sources.json")
)


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the one format of this plugin."""
    yield FormatSpec(
        name="neurofinder",
        title="neurofinder regions",
        kind="segmentation",
        extractor="roiextractors_neurofinder.extractor:NeurofinderSegmentationExtractor",
        extensions=(".json",),
        evidence=(Name("*.json") & _HAS_REGIONS) | (_FOLDER & _HAS_REGIONS),
        api=1,
        streams=("dataset",),
        clock="rate",
        metadata=("pixel_size", "vendor"),
        platforms=("any",),
        description="Regions of the neurofinder challenge and of programs that write them: lists of pixels in JSON.",
    )

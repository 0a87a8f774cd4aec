"""Declares the Inscopix formats: movies, cell sets and event sets."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Probe, hookimpl

__all__ = ["roiextractors_formats"]

_METADATA = ("start_time", "pixel_size", "channels", "modality", "device", "software", "vendor")


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the formats of this plugin."""
    yield FormatSpec(
        name="inscopix",
        title="Inscopix movie",
        extractor="roiextractors_inscopix.extractor:InscopixImagingExtractor",
        extensions=(".isxd",),
        evidence=Probe("roiextractors_inscopix.footer:is_inscopix"),
        api=1,
        clock="native",
        metadata=("start_time", "pixel_size", "channels", "bit_depth", "modality", "device", "software", "vendor"),
        platforms=("any",),
        description="One-photon movies from Inscopix nVista, nVoke and nVue miniscopes (.isxd), including dropped frames and focal planes.",
    )
    yield FormatSpec(
        name="inscopix-segmentation",
        title="Inscopix cell set",
        kind="segmentation",
        extractor="roiextractors_inscopix.segmentation:InscopixSegmentationExtractor",
        extensions=(".isxd",),
        evidence=Probe("roiextractors_inscopix.footer:is_cell_set"),
        api=1,
        clock="native",
        metadata=_METADATA,
        platforms=("any",),
        description="Masks and traces of cells from Inscopix software (.isxd), with their status; single files and series.",
    )
    yield FormatSpec(
        name="inscopix-events",
        title="Inscopix event set",
        kind="segmentation",
        extractor="roiextractors_inscopix.events:InscopixEventsExtractor",
        extensions=(".isxd",),
        evidence=Probe("roiextractors_inscopix.footer:is_event_set"),
        specializes=("inscopix-segmentation",),  # so that the reason why a damaged file is refused is that of cell sets
        api=1,
        clock="rate",
        metadata=_METADATA,
        platforms=("any",),
        description="Times and amplitudes of the events of cells from Inscopix software (.isxd), without masks.",
    )

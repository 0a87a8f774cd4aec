"""Declares the Inscopix format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Probe, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the format of this plugin."""
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

"""Declares the Scanbox format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, Probe, Sibling, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the one format of this plugin."""
    yield FormatSpec(
        name="scanbox",
        title="Scanbox",
        extractor="roiextractors_scanbox.extractor:ScanboxImagingExtractor",
        extensions=(".sbx", ".mat"),
        evidence=(Magic(b"MATLAB 5.0") | Magic(b"MATLAB 7.3") | Sibling("{stem}.mat"))
        & Probe("roiextractors_scanbox.pair:is_scanbox"),
        api=1,
        streams=("channel",),
        clock="rate",
        metadata=(
            *("pixel_size", "plane_positions", "channels", "objective", "zoom", "modality"),
            *("device", "software", "vendor"),
        ),
        platforms=("any",),
        description="Two-photon recordings of Neurolabware's Scanbox 2 and 3 (.sbx with its .mat): both PMTs as channels, optotune planes as volumes.",
    )

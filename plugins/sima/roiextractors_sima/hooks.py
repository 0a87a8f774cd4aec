"""Declares the format of SIMA's folders."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Member, Text, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the one format of this plugin."""
    yield FormatSpec(
        name="sima",
        title="SIMA",
        kind="segmentation",
        extractor="roiextractors_sima.extractor:SimaSegmentationExtractor",
        extensions=(".sima",),
        # Keys of the pickled dictionary, whose letters are in the file unchanged
        evidence=(Member("rois.pkl") | Member("signals_*.pkl"))
        & (Text(contains="num_sequences", file="dataset.pkl") | Text(contains="channel_names", file="dataset.pkl")),
        api=1,
        streams=("rois", "channel", "signals", "sequence"),
        clock="none",
        metadata=("channels", "software", "vendor"),
        description="ROIs and signals of SIMA datasets (.sima), by Python 2 or 3; the pickles are read as plain data, and never unpickled.",
    )

"""Declares the formats of the Allen Institute's ROIs and traces."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Hdf5Path, Member, Text, hookimpl

__all__ = ["roiextractors_formats"]


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the formats."""
    yield FormatSpec(
        name="allen",
        title="Allen Institute ROIs and traces",
        kind="segmentation",
        extractor="roiextractors_allen.segmentation:AllenSegmentationExtractor",
        extensions=(".h5", ".hdf5", ".json"),
        evidence=(Hdf5Path("roi_names") & (Hdf5Path("data") | Hdf5Path("FC") | Hdf5Path("events")))
        | (Hdf5Path("rois/coords") & Hdf5Path("rois/shape") & Hdf5Path("traces/roi"))
        | (Hdf5Path("data") & Hdf5Path("baseline") & Hdf5Path("noise") & Hdf5Path("skewness"))
        | (Hdf5Path("events") & Hdf5Path("denoised"))
        | (Text(matches=r'"mask(_matrix)?"\s*:\s*\[') & Text(contains='"height"') & Text(contains='"id"'))
        | Member("*roi_traces.h5")
        | Member("*demixed_traces.h5")
        | Member("*neuropil_correction.h5")
        | Member("*neuropil_traces.h5")
        | Member("*extraction.h5")
        | Member("extraction/*extraction.h5"),
        api=1,
        requires=("h5py",),
        clock="native",
        metadata=("modality", "vendor"),
        platforms=("any",),
        description="Traces and masks of ROIs from the Allen Brain Observatory and from the AIND optical physiology pipeline.",
    )
    yield FormatSpec(
        name="allen-nwb1",
        title="Allen Brain Observatory NWB 1",
        kind="segmentation",
        extractor="roiextractors_allen.brain_observatory:BrainObservatoryExtractor",
        extensions=(".nwb",),
        evidence=Hdf5Path("processing/brain_observatory_pipeline/ImageSegmentation/imaging_plane_1"),
        specializes=("nwb-segmentation",),
        api=1,
        requires=("h5py",),
        clock="native",
        metadata=("start_time", "modality", "device", "vendor"),
        platforms=("any",),
        description="Traces and masks of the ROIs of an experiment of the Allen Brain Observatory, in its NWB 1 file.",
    )

"""Declares the segmentations that MATLAB programs save."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Hdf5Path, Magic, Probe, hookimpl

__all__ = ["roiextractors_formats"]

_MATLAB_5 = Magic(b"MATLAB 5.0 MAT-file")


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield EXTRACT, CNMF-E and CIAtah."""
    yield FormatSpec(
        name="extract",
        title="EXTRACT",
        kind="segmentation",
        extractor="roiextractors_matlab.segmentation:ExtractSegmentationExtractor",
        extensions=(".mat",),
        evidence=Hdf5Path("/*/spatial_weights")
        | Hdf5Path("/extractAnalysisOutput/filters")
        | (_MATLAB_5 & Probe("roiextractors_matlab.probe:is_extract")),
        api=1,
        streams=("variable",),
        clock="none",
        metadata=("software", "vendor"),
        platforms=("any",),
        description="The output of EXTRACT, saved from MATLAB or through CIAtah: masks, traces, summary images, cell check.",
    )
    yield FormatSpec(
        name="cnmfe",
        title="CNMF-E",
        kind="segmentation",
        extractor="roiextractors_matlab.segmentation:CnmfeSegmentationExtractor",
        extensions=(".mat",),
        evidence=(Hdf5Path("/results/A") & Hdf5Path("/results/C"))
        | (Hdf5Path("/neuron/A") & Hdf5Path("/neuron/C"))
        | (Hdf5Path("/neuron_results/A") & Hdf5Path("/neuron_results/C"))
        | Hdf5Path("/neuron", attribute="MATLAB_class", equals="Sources2D")
        | (Hdf5Path("/A", attribute="MATLAB_sparse") & Hdf5Path("/C") & Hdf5Path("/options"))
        | (_MATLAB_5 & Probe("roiextractors_matlab.probe:is_cnmfe")),
        api=1,
        streams=("variable",),
        clock="rate",
        metadata=("software", "vendor"),
        platforms=("any",),
        description="Results of CNMF-E in MATLAB, saved as a structure: sparse masks, raw, denoised and deconvolved traces, correlation image.",
    )
    yield FormatSpec(
        name="ciatah",
        title="CIAtah",
        kind="segmentation",
        extractor="roiextractors_matlab.segmentation:CiatahSegmentationExtractor",
        extensions=(".mat",),
        evidence=Hdf5Path("/cnmfeAnalysisOutput/extractedImages")
        | Hdf5Path("/cnmfAnalysisOutput/extractedImages")
        | Hdf5Path("/pcaicaAnalysisOutput/IcaFilters")
        | Hdf5Path("/cellmaxAnalysisOutput/cellImages")
        | Hdf5Path("/emAnalysisOutput/cellImages")
        | Hdf5Path("/roiAnalysisOutput/filters")
        | (_MATLAB_5 & Probe("roiextractors_matlab.probe:is_ciatah")),
        api=1,
        streams=("variable",),
        clock="none",
        metadata=("software", "vendor"),
        platforms=("any",),
        description="Analysis files of CIAtah (PCA-ICA, CELLMax, CNMF, CNMF-E, ROIs) with the manual decisions beside them.",
    )

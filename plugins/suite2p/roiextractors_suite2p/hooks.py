"""Declares the formats of suite2p: movies and segmentations."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, Member, Name, Probe, Sibling, hookimpl

__all__ = ["roiextractors_formats"]

_MOVIE = (
    Name("data.bin")
    | Name("data_chan2.bin")
    | Name("data_raw.bin")
    | Name("data_chan2_raw.bin")
    | Name("data_raw_chan2.bin")
)
# The names come first: they need no look into the folder, which may not be listable
_OF_ROIS = (
    Name("F.npy")
    | Name("F_chan2.npy")
    | Name("Fneu.npy")
    | Name("Fneu_chan2.npy")
    | Name("spks.npy")
    | Name("spks_chan2.npy")
    | Name("iscell.npy")
    | Name("iscell_chan2.npy")
    | Name("redcell.npy")
    | Name("redcell_chan2.npy")
)
_RESULT = (
    (
        _OF_ROIS
        | Name("stat.npy")
        | Name("stat_chan2.npy")
        | Name("reg_outputs.npy")
        | Name("reg_outputs_chan2.npy")
        | Name("detect_outputs.npy")
        | Name("detect_outputs_chan2.npy")
    )
    & (Sibling("ops.npy") | Sibling("db.npy") | Sibling("stat.npy") | Sibling("iscell.npy"))
    & Magic(b"\x93NUMPY")
)
_BESIDE_ROIS = Sibling("ops.npy") | Sibling("db.npy") | Sibling("F.npy") | Sibling("iscell.npy")
_DESCRIPTION = Probe("roiextractors_suite2p.folder:holds_description")


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the formats of this plugin."""
    yield FormatSpec(
        name="suite2p",
        title="suite2p folder",
        extractor="roiextractors_suite2p.extractor:Suite2pImagingExtractor",
        extensions=(".bin", ".npy"),
        evidence=Member("plane[0-9]*/ops.npy")
        | Member("plane[0-9]*/db.npy")
        | (Member("data*.bin") & (Member("ops.npy") | Member("db.npy")))
        | (Member("ops.npy") & _DESCRIPTION)
        | (Member("db.npy") & _DESCRIPTION)
        | (_MOVIE & (Sibling("ops.npy") | Sibling("db.npy")))
        | (Magic(b"\x93NUMPY") & _DESCRIPTION)
        | _RESULT,
        specializes=("npy", "raw"),
        api=1,
        streams=("channel", "plane", "stage"),
        clock="rate",
        metadata=("channels", "software", "vendor"),
        description="Movies saved by suite2p: registered or raw frames of one or two channels, as planes or volumes.",
        writer="roiextractors_suite2p.writer:write",
    )
    yield FormatSpec(
        name="suite2p-segmentation",
        title="suite2p ROIs and traces",
        extractor="roiextractors_suite2p.segmentation:Suite2pSegmentationExtractor",
        kind="segmentation",
        extensions=(".npy",),
        # Traces without ROIs, too: the error says which file is missing
        evidence=Member("plane[0-9]*/stat.npy")
        | Member("combined/stat.npy")
        | Member("suite2p/plane[0-9]*/stat.npy")
        | Member("suite2p/combined/stat.npy")
        | ((Member("stat.npy") | Member("F.npy")) & (Member("ops.npy") | Member("db.npy") | Member("iscell.npy")))
        | (Member("stat.npy") & Member("F.npy"))
        | (Member("plane[0-9]*/F.npy") & Member("plane[0-9]*/iscell.npy"))
        | (Name("stat.npy") & _BESIDE_ROIS & Magic(b"\x93NUMPY"))
        | ((Name("ops.npy") | Name("db.npy")) & Sibling("stat.npy") & Magic(b"\x93NUMPY"))
        | (_OF_ROIS & (Sibling("stat.npy") | Sibling("ops.npy") | Sibling("db.npy")) & Magic(b"\x93NUMPY")),
        api=1,
        streams=("plane", "channel"),
        clock="rate",
        metadata=("channels", "software", "vendor"),
        description="ROIs of suite2p with raw, neuropil and deconvolved traces, images and classifications; of a plane, or of all combined.",
    )

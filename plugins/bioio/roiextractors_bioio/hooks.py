"""Declares what bioio's plugins read, one format a container."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, Name, hookimpl

__all__ = ["roiextractors_formats"]

_METADATA = ("start_time", "pixel_size", "plane_spacing", "channels", "device", "software", "vendor")
_JPEG_2000 = bytes.fromhex("0000000c6a5020200d0a")


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the formats."""
    yield FormatSpec(
        name="czi",
        title="Zeiss CZI",
        extractor="roiextractors_bioio.zeiss:CziImagingExtractor",
        extensions=(".czi",),
        evidence=Magic(b"ZISRAWFILE"),
        api=1,
        streams=("scene", "channel"),
        clock="native",
        metadata=_METADATA,
        description="Files of Zeiss ZEN, read by bioio-czi; times of acquisition where the frames bear them.",
    )
    yield FormatSpec(
        name="nd2",
        title="Nikon ND2",
        extractor="roiextractors_bioio.nikon:Nd2ImagingExtractor",
        extensions=(".nd2",),
        evidence=Magic(bytes.fromhex("dacebe0a")) | (Magic(_JPEG_2000) & Name("*.nd2")),
        api=1,
        streams=("scene", "channel"),
        clock="native",
        metadata=_METADATA,
        description="Files of Nikon NIS-Elements, of JPEG 2000 as well, read by bioio-nd2; a time for each frame.",
    )
    yield FormatSpec(
        name="lif",
        title="Leica LIF",
        extractor="roiextractors_bioio.leica:LifImagingExtractor",
        extensions=(".lif",),
        evidence=Magic(b"\x70\0\0\0") & Magic(b"\x2a", offset=8) & Magic("<".encode("utf-16-le"), offset=13),
        api=1,
        streams=("scene", "channel"),
        clock="native",
        metadata=_METADATA,
        description="Files of Leica LAS AF and LAS X, read by liffile as bioio-lif does; a time for each frame.",
    )
    yield FormatSpec(
        name="bioio",
        title="an image that a plugin of bioio reads",
        extractor="roiextractors_bioio.extractor:BioioImagingExtractor",
        extensions=(".dv", ".r3d", ".sldy", ".vsi", ".zvi"),
        api=1,
        streams=("scene", "channel"),
        clock="rate",
        metadata=_METADATA,
        description='Anything for which a plugin of bioio is installed, by format="bioio", or by these suffixes.',
    )

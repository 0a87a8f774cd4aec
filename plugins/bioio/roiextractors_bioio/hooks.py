"""Declares the formats that bioio's plugins read, one for each type of file."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, Magic, Name, hookimpl

__all__ = ["roiextractors_formats"]

_METADATA = (
    *("start_time", "pixel_size", "plane_spacing", "channels", "objective", "zoom", "bit_depth", "modality"),
    *("device", "software", "vendor"),
)
_STREAMS = ("scene", "channel", "tile", "phase", "illumination", "view", "rotation", "block")
_JPEG_2000 = bytes.fromhex("0000000c6a5020200d0a")  # the signature box, as in any .jp2; so the suffix is needed too


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
        streams=_STREAMS,
        clock="native",
        metadata=_METADATA,
        description="Files of Zeiss ZEN, read through bioio-czi; times of the frames, of the time stamps or of the positions along T.",
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
        description="Files of Nikon NIS-Elements, including JPEG 2000, read through bioio-nd2; a time for each frame.",
    )
    yield FormatSpec(
        name="lif",
        title="Leica LIF",
        extractor="roiextractors_bioio.leica:LifImagingExtractor",
        extensions=(".lif",),
        # 0x70, the length, 0x2A, the number of characters, then XML in UTF-16
        evidence=Magic(b"\x70\0\0\0") & Magic(b"\x2a", offset=8) & Magic("<".encode("utf-16-le"), offset=13),
        api=1,
        streams=_STREAMS,
        clock="native",
        metadata=_METADATA,
        description="Files of Leica LAS AF and LAS X, read through liffile as in bioio-lif; a time for each frame.",
    )
    yield FormatSpec(
        name="bioio",
        title="Image read by a bioio plugin",
        extractor="roiextractors_bioio.extractor:BioioImagingExtractor",
        extensions=(".dv", ".r3d", ".sldy", ".vsi", ".zvi"),
        api=1,
        streams=_STREAMS,
        clock="rate",
        metadata=tuple(key for key in _METADATA if key != "zoom"),
        description='Any image that an installed bioio plugin can read, with format="bioio" or by one of these suffixes.',
    )

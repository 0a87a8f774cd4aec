"""Declares the Micro-Manager format."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core import FormatSpec, JsonKey, Magic, Member, Probe, hookimpl

__all__ = ["roiextractors_formats"]

_NDTIFF = Magic(bytes.fromhex("91610700"), offset=8) | Magic(bytes.fromhex("00076191"), offset=8)  # 483729
_STACK = Magic(bytes.fromhex("90c74303"), offset=8) | Magic(bytes.fromhex("0343c790"), offset=8)  # 54773648
_INDEX = Magic(b'{"', offset=4) & Probe("roiextractors_micromanager.ndtiff:is_index")  # behind the length of the axes
_FOLDER = (
    Member("NDTiff.index")
    | Member("Full resolution/NDTiff.index")
    | Member("*_NDTiffStack.tif")
    | Member("*_MMStack*.tif")
)
# Settings alone are claimed, so that the error says that the images are missing
_SETTINGS = (
    JsonKey("map.ChannelSettings")
    | (Member("DisplaySettings.json") & JsonKey("map.ChannelSettings", file="DisplaySettings.json"))
    | (Member("display_settings.txt") & JsonKey("All channel settings", file="display_settings.txt"))
)


@hookimpl
def roiextractors_formats() -> Iterator[FormatSpec]:
    """Yield the format of this plugin."""
    yield FormatSpec(
        name="micromanager",
        title="Micro-Manager",
        extractor="roiextractors_micromanager.extractor:MicroManagerImagingExtractor",
        extensions=(".ome.tif", ".tif", ".index"),
        evidence=_NDTIFF | _STACK | _INDEX | _FOLDER | _SETTINGS,
        specializes=("ometiff", "tiff"),
        companions=("*metadata.txt", "NDTiff.index"),
        api=1,
        streams=("channel", "position", "row", "column", "axes"),
        clock="native",
        metadata=(
            "start_time",
            "pixel_size",
            "plane_spacing",
            "channels",
            "objective",
            "bit_depth",
            "device",
            "software",
            "vendor",
        ),
        platforms=("any",),
        description="Micro-Manager and Pycro-Manager datasets: NDTiff 2 and 3, image file stacks (MMStack), the time of every frame.",
    )

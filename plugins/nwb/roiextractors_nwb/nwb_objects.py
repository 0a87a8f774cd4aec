"""Devices and imaging planes as objects of pynwb, made from a description."""

from __future__ import annotations

from typing import Any

from roiextractors_core.errors import SourceKindError

from .description import UNKNOWN_CHANNEL, UNKNOWN_DEVICE, Description

__all__ = ["imaging_plane"]


def imaging_plane(file: Any, description: Description) -> Any:
    """Return the imaging plane of a description in a file: the one of that name, or a new one.

    Parameters
    ----------
    file : pynwb.NWBFile
    description : Description

    Raises
    ------
    SourceKindError
        The plane of that name is of another device or of other channels.
    """
    from pynwb.ophys import OpticalChannel

    fields = dict(description.plane)
    if fields["name"] in file.imaging_planes:
        plane = file.imaging_planes[fields["name"]]
        _require_same(plane, description)
        return plane
    channels = [OpticalChannel(**channel) for channel in fields.pop("optical_channel")]
    name = description.device["name"]
    device = file.devices[name] if name in file.devices else file.create_device(**description.device)
    return file.create_imaging_plane(optical_channel=channels, device=device, **fields)


def _require_same(plane: Any, description: Description) -> None:
    """Raise unless a plane in the file can be that of the description: ROIs and the movie that they were found in share one."""
    channels = [channel["name"] for channel in description.plane["optical_channel"]]
    there = [channel.name for channel in plane.optical_channel]
    # ROIs often know neither device nor channel
    same_device = (
        description.device["name"] in (plane.device.name, UNKNOWN_DEVICE) or plane.device.name == UNKNOWN_DEVICE
    )
    same_channels = channels == there or UNKNOWN_CHANNEL in (*channels, *there)
    if not (same_device and same_channels):
        raise SourceKindError(
            f"the NWB file already has {plane.name} of {plane.device.name!r} with {', '.join(there)}; pass another name, "
            "for example name='Red'"
        )

"""Devices and imaging planes as objects of pynwb, made from a description."""

from __future__ import annotations

from typing import Any

from .description import Description

__all__ = ["imaging_plane"]


def imaging_plane(file: Any, description: Description) -> Any:
    """Return the imaging plane of a description in a file: the one of that name, or a new one.

    Parameters
    ----------
    file : pynwb.NWBFile
    description : Description
    """
    from pynwb.ophys import OpticalChannel

    fields = dict(description.plane)
    if fields["name"] in file.imaging_planes:
        return file.imaging_planes[fields["name"]]
    channels = [OpticalChannel(**channel) for channel in fields.pop("optical_channel")]
    name = description.device["name"]
    device = file.devices[name] if name in file.devices else file.create_device(**description.device)
    return file.create_imaging_plane(optical_channel=channels, device=device, **fields)

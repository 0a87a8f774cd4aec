"""Reads properties of the microscope from a header: pixel size, zoom, laser power, bit depth, version."""

from __future__ import annotations

import math

import numpy as np

from roiextractors_core.errors import printable

from .header import Header

__all__ = ["bit_depth", "laser_power", "pixel_size", "version", "zoom"]


def version(header: Header) -> str:
    """Return ScanImage's version, as ``2023.1.0``, or an empty string."""
    if header.dialect == "state":
        return header.text("state.software.version")
    group = "SI4.version" if "SI4.versionMajor" in header else "SI4.VERSION_"
    group = group if header.dialect == "SI4" else "SI.VERSION_"
    names = ("Major", "Minor") if group == "SI4.version" else ("MAJOR", "MINOR", "UPDATE")
    return printable(".".join(part for name in names if (part := header.text(group + name))))


def pixel_size(header: Header, shape: tuple[int, int]) -> tuple[float, float] | None:
    """Return the distance of pixels ``(row, column)`` of the whole field of view in micrometres, or None."""
    # The corners of the field of view, x and y in turn, micrometres
    corners = header.numbers("SI.hRoiManager.imagingFovUm")
    if len(corners) != 8:
        return None
    sizes = [(max(c) - min(c)) / n for c, n in zip((corners[1::2], corners[0::2]), shape, strict=True)]
    return (sizes[0], sizes[1]) if min(sizes) > 0 else None


def zoom(header: Header) -> float | None:
    """Return the zoom of the scanner, or None; regions of interest have sizes of their own instead."""
    if header.flag("SI.hRoiManager.mroiEnable"):
        return None
    return header.rate("SI.hRoiManager.scanZoomFactor", "SI4.scanZoomFactor", "state.acq.zoomFactor")


def laser_power(header: Header) -> float | None:
    """Return the power of the only beam, or of the only one that is on, in percent; None where several are on."""
    for key in ("SI.hBeams.powers", "SI4.beamPowers", "state.init.eom.maxPower"):
        powers = header.numbers(key)
        on = [power for power in powers if power > 0]
        if powers and len(on) < 2 and all(0 <= power < 100.5 for power in powers):
            return min(on[0], 100.0) if on else 0.0
    return None


def bit_depth(header: Header, channel: int, dtype: np.dtype[np.generic]) -> int | None:
    """Return the bits of the digitizer of a channel, or None; sums of several frames have more than the digitizer.

    Parameters
    ----------
    header : Header
    channel : int
        ScanImage's number of it, from 1.
    dtype : numpy.dtype
        Of the pixels, whose bits are the most.
    """
    summed = (header.count("SI.hScan2D.logAverageFactor") or 1) > 1 and header.flag(
        "SI.hScan2D.logAverageDisableDivide"
    )
    listed = header.numbers("SI.hChannels.channelAdcResolution")
    bits = listed[channel - 1] if channel <= len(listed) else header.number("SI.hScan2D.channelsAdcResolution")
    # logAverageDisableDivide stores the sum of the frames, which needs more bits than the digitizer has
    if summed or bits is None or not 1 <= bits < math.inf or bits != int(bits):
        return None
    return min(int(bits), 8 * dtype.itemsize)

"""Reads the metadata of MetaMorph's stacks (STK): times, wavelengths and the size of a pixel."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from roiextractors_core.io import to_micrometres

from .pages import UIC2, Directory

__all__ = ["MetaMorph"]

_UIC1, _UIC3 = 33628, 33630
# MetaMorph counts Julian days, Python days from the year 1: 1 January 1 is Julian day 1,721,426
_JULIAN_OF_ORDINAL_0 = 1721425
# The count of the tag is the number of planes; a damaged one must not fill the memory
_MAX_PLANES = 1 << 24


@dataclass(frozen=True, slots=True)
class MetaMorph:
    """The metadata of a stack.

    Attributes
    ----------
    start_time : datetime or None
    times : numpy.ndarray or None
        Seconds of each plane since the first; None where the clock stands still.
    wavelength : float or None
        Nanometres.
    pixel_size : tuple of float or None
        Micrometres, rows and columns.

    References
    ----------
    Molecular Devices, "MetaMorph Stack (STK) Image File Format", Knowledge Base document 10243.
    """

    start_time: datetime | None = None
    times: np.ndarray | None = None
    wavelength: float | None = None
    pixel_size: tuple[float, float] | None = None

    @classmethod
    def of(cls, first: Directory) -> MetaMorph | None:
        """Return the metadata of a file's first directory; None where the file is not such a stack."""
        if UIC2 not in first.entries or not 0 < first.entries[UIC2][1] < _MAX_PLANES:
            return None
        tiff, count = first.tiff, first.entries[UIC2][1]
        # Six numbers for each plane: distance along z as a ratio, date and time of creation, date and time of change
        raw = tiff.file.read(first.place(UIC2)[0], 24 * count)
        if len(raw) < 24 * count:
            return cls()
        table = np.frombuffer(raw, tiff.order + "u4").reshape(count, 6).astype(np.int64)
        days, milliseconds = table[:, 2], table[:, 3]
        times = (days - days[0]) * 86400.0 + (milliseconds - milliseconds[0]) / 1000.0
        is_clock = count > 1 and bool((np.diff(times) > 0).all())
        return cls(
            _date(int(days[0]), int(milliseconds[0])),
            times if is_clock else None,
            _wavelength(first),
            _pixel_size(first),
        )


def _date(day: int, milliseconds: int) -> datetime | None:
    ordinal = day - _JULIAN_OF_ORDINAL_0
    if not 0 < ordinal < 3_600_000 or not 0 <= milliseconds < 86_400_000:
        return None
    return datetime.fromordinal(ordinal) + timedelta(milliseconds=milliseconds)


def _wavelength(first: Directory) -> float | None:
    if _UIC3 not in first.entries:
        return None
    raw = first.tiff.file.read(first.place(_UIC3)[0], 8)
    numerator, denominator = struct.unpack(first.tiff.order + "II", raw) if len(raw) == 8 else (0, 0)
    value = numerator / denominator if denominator else 0.0
    # Nanometres
    return value if 100 < value < 3000 else None


def _pixel_size(first: Directory) -> tuple[float, float] | None:
    """Return the calibration out of UIC1: pairs of a number of a field and its value, or the place of it."""
    if _UIC1 not in first.entries:
        return None
    tiff, count = first.tiff, min(first.entries[_UIC1][1], 1024)
    raw = tiff.file.read(first.place(_UIC1)[0], 8 * count)
    fields = dict(struct.iter_unpack(tiff.order + "II", raw[: len(raw) // 8 * 8]))
    sizes = []
    # Fields of UIC1: 4 and 5 are the calibration along x and y, 6 is its unit
    for code in (5, 4):
        ratio = tiff.file.read(fields.get(code, tiff.size), 8)
        numerator, denominator = struct.unpack(tiff.order + "II", ratio) if len(ratio) == 8 else (0, 0)
        sizes.append(numerator / denominator if denominator else 0.0)
    head = tiff.file.read(fields.get(6, tiff.size), 4)
    length = struct.unpack(tiff.order + "I", head)[0] if len(head) == 4 else 0
    unit = tiff.file.read(fields.get(6, 0) + 4, min(length, 64)).split(b"\0")[0].decode("latin-1").strip()
    scale = to_micrometres(1.0, unit)
    return (sizes[0] * scale, sizes[1] * scale) if scale and all(sizes) else None

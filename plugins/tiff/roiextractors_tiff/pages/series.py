"""The arrays that tifffile and others write one after the other into one file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from roiextractors_core.errors import CorruptRecordingError

from .chain import Chain
from .directory import Directory, TiffFile
from .page import Page

__all__ = ["Series", "described_axes", "described_shape", "series_of"]

_MAX_DESCRIPTION = 1 << 16
_DESCRIPTION = 270


@dataclass(frozen=True, slots=True)
class Series:
    """Consecutive pages of one file that were written as one array.

    Attributes
    ----------
    start, stop : int
        Pages, ``stop`` exclusive; those that the file marks as reduced images or masks are not counted when it is scattered.
    shape : tuple of int
        The array's shape as the description states it; empty when it states none.
    page : Page
    is_scattered : bool
        Whether pages of other series are between those of this one.
    """

    start: int
    stop: int
    shape: tuple[int, ...]
    page: Page
    is_scattered: bool = False


def series_of(path: str | os.PathLike[str]) -> tuple[Series, ...]:
    """Return the series of a file: a new one begins where a page states an array's shape, or is of another kind.

    Parameters
    ----------
    path : str or os.PathLike

    References
    ----------
    tifffile's "shaped" series: a JSON object with the key ``shape`` in the ImageDescription of the first page.
    """
    tiff = TiffFile(path)
    series: list[Series] = []
    for number, (offset, table) in enumerate(Chain(tiff)):
        directory = Directory(tiff, offset, table, 0, number)
        try:
            page = Page.of(directory)
        except CorruptRecordingError:
            if series:
                break  # the pages before the damage are whole
            raise
        # A reduced image (a level of a pyramid, a thumbnail) repeats the description of the image that it belongs to
        shape = () if directory.is_secondary else described_shape(directory.value(_DESCRIPTION))
        if not series or shape or page != series[-1].page:
            series.append(Series(number, number + 1, shape, page))
        else:
            series[-1] = Series(series[-1].start, number + 1, series[-1].shape, page)
    kinds = {one.page: one for one in reversed(series)}
    if len(series) <= 2 * len(kinds) or any(one.shape for one in series):
        return tuple(series)
    # Images of two kinds in turn (a frame, its thumbnail, the next frame): a series of each kind
    firsts = sorted(kinds.values(), key=lambda one: one.start)
    lasts = {one.page: one.stop for one in series}
    return tuple(Series(one.start, lasts[one.page], (), one.page, True) for one in firsts)


def described_shape(description: Any) -> tuple[int, ...]:
    """Return the shape that tifffile wrote into an ImageDescription, or nothing.

    Parameters
    ----------
    description : bytes or any
        The tag's value: ``b'{"shape": [10, 4, 5]}'``, or ``b'shape=(10,4,5)'`` of old versions.
    """
    return described_axes(description)[0]


def described_axes(description: Any) -> tuple[tuple[int, ...], str]:
    """Return the shape that tifffile wrote into an ImageDescription, and the letters of its axes; both may be empty.

    Parameters
    ----------
    description : bytes or any
        The tag's value: ``b'{"shape": [10, 4, 5], "axes": "TYX"}'``.
    """
    if not isinstance(description, bytes) or len(description) > _MAX_DESCRIPTION:
        return (), ""
    if description.startswith(b"shape=("):
        numbers = description[7:].partition(b")")[0].split(b",")
        return tuple(int(n) for n in numbers if len(n) < 20 and n.strip().isdigit()), ""
    if not description.startswith(b'{"'):
        return (), ""
    try:
        facts = json.loads(description)
        shape, axes = facts.get("shape", []), facts.get("axes", "")
    except (ValueError, AttributeError, RecursionError):
        return (), ""
    if not isinstance(shape, list) or not all(isinstance(n, int) and 0 < n < 1 << 40 for n in shape):
        return (), ""
    is_usable = isinstance(axes, str) and len(axes) == len(shape) == len(set(axes)) and axes.isalpha()
    return tuple(shape), axes.upper() if is_usable else ""

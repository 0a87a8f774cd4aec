"""What the maker of a microscope wrote into TIFF files: the axes of the pages, their times, and the optics."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from roiextractors_core import ChannelMetadata, ObjectiveMetadata

__all__ = ["VendorFacts", "named_objective", "regular_axes"]

_MAGNIFICATION = re.compile(r"(\d+(?:\.\d+)?)\s*[xX](?![a-z])")
_APERTURE = re.compile(r"(?:/|NA[ :=]*|\s)\s*([01]\.\d+)")


@dataclass(frozen=True, slots=True)
class VendorFacts:
    """What a vendor wrote into the first file of a recording, and where the times are.

    Attributes
    ----------
    shape : tuple of int
        Of the pages of one file, with the letters of ``axes``; empty where they are not stated.
    axes : str
        Of T, Z, C and P (positions), the slowest first.
    page_times, sample_times : callable or None
        Return the seconds of every page, or of every time point; None where there is no clock.
    resolution : float
        Seconds to which the times are rounded.
    interval : float or None
        Between frames in seconds, as it was set.
    channels : tuple of ChannelMetadata
        All of them; or the one that the file contains.
    vendor : mapping
        The file's own names and values.
    warnings, notes : tuple of str
        Contradictions and decisions, without the name of the file.

    The others are those of :class:`roiextractors_core.RecordingMetadata`.
    """

    shape: tuple[int, ...] = ()
    axes: str = ""
    page_times: Callable[[], np.ndarray | None] | None = None
    sample_times: Callable[[], np.ndarray | None] | None = None
    resolution: float = 0.0
    interval: float | None = None
    start_time: datetime | None = None
    pixel_size: tuple[float, float] | None = None
    plane_spacing: float | None = None
    plane_positions: tuple[float, ...] = ()
    channels: tuple[ChannelMetadata, ...] = ()
    objective: ObjectiveMetadata | None = None
    zoom: float | None = None
    bit_depth: int | None = None
    modality: str | None = None
    device: str | None = None
    software: str | None = None
    vendor: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def regular_axes(
    channels: Sequence[Hashable], depths: Sequence[Hashable], free: str = "T"
) -> tuple[tuple[int, ...], str] | None:
    """Return the shape and the axes of pages that each name their channel and depth; None where no order fits them.

    Parameters
    ----------
    channels, depths : sequence
        Of each page.
    free : str
        The axis of pages that name the same.
    """
    count = len(channels)
    numbers = {"C": _numbered(channels), "Z": _numbered(depths)}
    sizes = {axis: int(found.max(initial=0)) + 1 for axis, found in numbers.items()}
    step = sizes["C"] * sizes["Z"]
    rest = -(-count // step)
    letter = free if sizes["Z"] == 1 or free != "Z" else "T"
    sizes[letter] = rest * sizes.get(letter, 1) if letter == "Z" else rest
    axes = [axis for axis in dict.fromkeys((letter, "Z", "C")) if sizes[axis] > 1]
    for order in itertools.permutations(axes):
        shape = tuple(sizes[axis] for axis in order)
        # An aborted recording lacks pages at its end; only along the slowest axis can they be told from others
        if count < np.prod(shape) and order[0] != letter:
            continue
        places = dict(zip(order, np.unravel_index(np.arange(count), shape), strict=True))
        if all(
            np.array_equal(places.get(axis, np.zeros(count)), numbers[axis]) for axis in ("C", "Z") if axis != letter
        ):
            return shape, "".join(order)
    return None if axes else ((count,), letter)


def _numbered(names: Sequence[Hashable]) -> np.ndarray:
    """Return numbers in place of names, in the order in which they appear."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.int64)


def named_objective(name: str, aperture: float | None = None) -> ObjectiveMetadata | None:
    """Return an objective with the magnification and the aperture that its name contains (``Plan-Apochromat 20x/0.8``)."""
    magnification, stated = _MAGNIFICATION.search(name), _APERTURE.search(name)
    if aperture is None and stated is not None:
        aperture = float(stated[1])
    if not name and aperture is None:
        return None
    return ObjectiveMetadata(name or None, float(magnification[1]) if magnification else None, aperture)

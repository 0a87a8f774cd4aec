"""How the pages of TIFF files are times, planes and channels: from the metadata that is there, or as the user says."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roiextractors_core.errors import DeclarationError, UnsupportedRecordingError

__all__ = ["Arrangement", "arrange", "imagej_fields", "natural_key"]

_VOLUME_NAME = re.compile(r"(?:^|[^a-z])(?:t|time|tp|timepoint|vol|volume)[ _-]*\d+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The order of pages: which axis runs fastest, how long each is, and what was decided.

    Attributes
    ----------
    order : str
        Of T, Z and C, the slowest first.
    sizes : mapping
        The length of each axis.
    left_over : int
        Pages at the end that make no whole sample.
    notes : tuple of str
    """

    order: str
    sizes: Mapping[str, int]
    left_over: int = 0
    notes: tuple[str, ...] = ()

    @property
    def strides(self) -> dict[str, int]:
        """How many pages one step along each axis is; 0 for an axis that is not there."""
        found, step = {"T": 0, "Z": 0, "C": 0}, 1
        for axis in reversed(self.order):
            found[axis] = step
            step *= self.sizes[axis]
        return found

    def size(self, axis: str) -> int:
        """Return an axis's length; 1 for one that is not there."""
        return self.sizes.get(axis, 1)


def arrange(
    num_pages: int,
    description: bytes,
    *,
    name: str,
    stems: Sequence[str],
    pages_per_file: Sequence[int],
    dimension_order: str | None = None,
    num_channels: int | None = None,
    num_planes: int | None = None,
) -> Arrangement:
    """Return the arrangement of the pages.

    Parameters
    ----------
    num_pages : int
        In all files together.
    description : bytes
        The first page's ImageDescription.
    name : str
        For messages.
    stems, pages_per_file : sequence
        The files' names without suffix, and how many pages each holds.
    dimension_order, num_channels, num_planes : optional
        What the user says; it wins.

    Raises
    ------
    DeclarationError
        When what the user says does not fit.
    """
    if dimension_order is not None or num_channels is not None or num_planes is not None:
        return _as_told(num_pages, name, dimension_order, num_channels, num_planes)
    fields = imagej_fields(description)
    if fields:
        return _of_imagej(num_pages, fields, name, len(stems))
    return _of_names(num_pages, stems, pages_per_file)


def imagej_fields(description: bytes) -> dict[str, str]:
    """Return the ``key=value`` lines of an ImageJ description; empty when it is none.

    References
    ----------
    ImageJ, ``ij.io.FileInfo`` and ``ij.io.FileSaver.getDescriptionString``.
    """
    if not description.startswith(b"ImageJ="):
        return {}
    lines = (line.partition("=") for line in description.decode("utf-8", "replace").splitlines())
    return {key.strip(): value.strip() for key, separator, value in lines if separator}


def natural_key(name: str) -> list[Any]:
    """Return a key that sorts ``Img_2`` before ``Img_10``."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", name)]


def _as_told(num_pages: int, name: str, order: str | None, channels: int | None, planes: int | None) -> Arrangement:
    given = "TZC" if order is None else order.upper()
    letters = given.removesuffix("YX")
    if len(set(letters)) != len(letters) or not set(letters) <= set("TZC") or not letters:
        raise DeclarationError(
            f"dimension_order={order!r} must be of the letters T, Z and C, each at most once, the slowest first"
        )
    sizes = {"C": _whole("num_channels", channels), "Z": _whole("num_planes", planes)}
    for axis, word in (("C", "num_channels"), ("Z", "num_planes")):
        if sizes[axis] > 1 and axis not in letters:
            raise DeclarationError(f"{word}={sizes[axis]} needs the letter {axis} in dimension_order={order!r}")
    free = [axis for axis in letters if axis == "T"] or [
        axis for axis in letters if sizes[axis] == 1 and (channels, planes)["CZ".index(axis)] is None
    ]
    known = math.prod(sizes[axis] for axis in letters if axis in sizes)
    if free:
        sizes[free[0]] = num_pages // known
    total = math.prod(sizes.get(axis, 1) for axis in letters)
    left = num_pages - total
    if total == 0 or (left and letters[0] != "T"):
        raise DeclarationError(
            f"{name} holds {num_pages:,} pages, and {letters} with {known:,} pages a step does not divide them"
        )
    notes = (f"{name}: the last {left:,} of {num_pages:,} pages make no whole sample and are left out",) if left else ()
    return Arrangement(letters, {axis: sizes.get(axis, 1) for axis in letters}, left, notes)


def _whole(word: str, value: int | None) -> int:
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise DeclarationError(f"{word} must be a whole number of 1 or more, and is {value!r}")
    return value


def _of_imagej(num_pages: int, fields: Mapping[str, str], name: str, num_files: int) -> Arrangement:
    sizes = {"T": _count(fields, "frames"), "Z": _count(fields, "slices"), "C": _count(fields, "channels")}
    only_slices = sizes["Z"] > 1 and sizes["T"] == 1 and sizes["C"] == 1 and fields.get("hyperstack") != "true"
    if only_slices:
        notes = (
            f"{name}: ImageJ labels its {sizes['Z']:,} images as slices, as it does for any stack; read as time. For planes: dimension_order='Z'",
        )
        return Arrangement("T", {"T": num_pages}, 0, notes)
    step = sizes["Z"] * sizes["C"]
    if math.prod(sizes.values()) * num_files != num_pages or num_files > 1:
        sizes["T"] = num_pages // step
        if sizes["T"] == 0:
            raise UnsupportedRecordingError(
                f"{name}: ImageJ's description says {step:,} pages a time point, and the file holds {num_pages:,}; pass dimension_order="
            )
    left = num_pages - sizes["T"] * step
    cut = (f"{name}: the last {left:,} of {num_pages:,} pages make no whole sample and are left out",) if left else ()
    return Arrangement("TZC", sizes, left, cut)


def _count(fields: Mapping[str, str], key: str) -> int:
    text = fields.get(key, "1")
    return max(1, int(text)) if text.isdigit() and len(text) < 12 else 1


def _of_names(num_pages: int, stems: Sequence[str], pages_per_file: Sequence[int]) -> Arrangement:
    depth = pages_per_file[0]
    alike = len(stems) > 1 and depth > 1 and all(count == depth for count in pages_per_file)
    if alike and all(_VOLUME_NAME.search(stem) for stem in stems):
        note = f"each of the {len(stems):,} files holds {depth} pages and is named by time: read as volumes of {depth} planes. For frames: dimension_order='T'"
        return Arrangement("TZ", {"T": len(stems), "Z": depth}, 0, (note,))
    return Arrangement("T", {"T": num_pages})

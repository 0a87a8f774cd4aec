"""Which page is which time, plane and channel: from the metadata in the file, or as the user declares it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from roiextractors_core.errors import DeclarationError, UnsupportedRecordingError, counted

from .pages import described_axes

__all__ = ["Arrangement", "arrange", "imagej_fields", "in_natural_order", "natural_key"]

_NUMBERS = re.compile(r"(\d+)")
_DIGITS = str.maketrans("123456789", "000000000")
# Only names that end in a time: other numbers leave open whether pages are planes or times
_VOLUME_NAME = re.compile(r"(?:^|[^a-z])(?:t|time|tp|timepoint|vol|volume)[ _-]*\d+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The order of the pages: which axis changes fastest, and how long each one is.

    Attributes
    ----------
    order : str
        Of T, Z and C, the slowest first.
    sizes : mapping
        The length of each axis.
    left_over : int
        Pages at the end that are not a whole sample.
    notes : tuple of str
        The decisions made.
    warnings : tuple of str
        Contradictions between the description and the pages.
    is_incomplete : bool
        Whether it claims more images than there are.
    is_doubtful : bool
        Whether the pages are read as time for want of another order, so that the interval of frames is not that of pages.
    """

    order: str
    sizes: Mapping[str, int]
    left_over: int = 0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_incomplete: bool = False
    is_doubtful: bool = False

    @property
    def strides(self) -> dict[str, int]:
        """How many pages apart neighbours along each axis are; 0 for an axis that is missing."""
        strides, step = {"T": 0, "Z": 0, "C": 0}, 1
        for axis in reversed(self.order):
            strides[axis] = step
            step *= self.sizes[axis]
        return strides

    def size(self, axis: str) -> int:
        """Return an axis's length; 1 for one that is missing."""
        return self.sizes.get(axis, 1)


def arrange(
    num_pages: int,
    description: bytes,
    *,
    name: str,
    paths: Sequence[str],
    pages_per_file: Sequence[int],
    samples_per_pixel: int = 1,
    dimension_order: str | None = None,
    num_channels: int | None = None,
    num_planes: int | None = None,
    stated: tuple[Sequence[int], str] = ((), ""),
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
    paths, pages_per_file : sequence
        The files, and the number of pages of each.
    samples_per_pixel : int
        Values of one pixel: channels may be among them, instead of in pages.
    dimension_order, num_channels, num_planes : optional
        The user's declaration; it overrides the description.
    stated : tuple
        The shape of the pages and the letters of its axes, as a vendor's metadata state them.

    Raises
    ------
    DeclarationError
        The declaration does not fit the pages.
    """
    # The user first, then what programs write on purpose; names are the weakest evidence
    if dimension_order is not None or num_channels is not None or num_planes is not None:
        return _as_declared(num_pages, name, dimension_order, num_channels, num_planes)
    fields = imagej_fields(description)
    if fields:
        return _of_imagej(num_pages, fields, name, pages_per_file, samples_per_pixel)
    shape, axes = stated if stated[0] else described_axes(description)
    arrangement = _of_shape(num_pages, shape, axes, name, pages_per_file, samples_per_pixel) if shape else None
    if arrangement is None:
        arrangement = _of_names(num_pages, paths, pages_per_file)
    if 0 <= axes.find("X") < axes.find("Y"):
        rows = shape[axes.index("X")]
        sentence = (
            f"{name}: its description gives the axes {axes}, with columns before rows; frames are read as they are stored, "
            f"with {counted(rows, 'row')}. If they look turned, swap the last two axes, and pass dimension_order= to confirm the order"
        )
        return replace(arrangement, warnings=(*arrangement.warnings, sentence))
    return arrangement


def imagej_fields(description: bytes) -> dict[str, str]:
    """Return the ``key=value`` lines of an ImageJ description; empty for any other one.

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
    return [int(part) if part.isdecimal() else part.lower() for part in _NUMBERS.split(name)]


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Return names sorted by :func:`natural_key`."""
    given = sorted(names)
    # Names that differ in digits at the same places alone are in natural order already, as nearly all sequences are
    return given if len({name.translate(_DIGITS) for name in given}) < 2 else sorted(given, key=natural_key)


def _as_declared(
    num_pages: int, name: str, order: str | None, num_channels: int | None, num_planes: int | None
) -> Arrangement:
    """Return the arrangement that the user declares."""
    axes = _declared_axes(order)
    given = {
        axis: _positive_integer(option, length)
        for axis, option, length in (("C", "num_channels", num_channels), ("Z", "num_planes", num_planes))
        if length is not None
    }
    _require_axes_of_lengths(given, axes, order)
    sizes = {axis: given.get(axis, 1) for axis in axes}
    step = math.prod(sizes.values())
    open_axis = _axis_without_length(axes, given)
    if open_axis is not None:
        sizes[open_axis] = num_pages // step
    left = num_pages - math.prod(sizes.values())
    # Only a last sample can be incomplete: where T is not the slowest axis, every sample would lack pages
    if left == num_pages or (left and axes[0] != "T"):
        raise DeclarationError(
            f"{name} has {counted(num_pages, 'page')}, which cannot be divided into {axes} with {step:,} pages per step"
        )
    return Arrangement(axes, sizes, left, _left_over_note(name, left, num_pages))


def _declared_axes(order: str | None) -> str:
    axes = "TZC" if order is None else order.upper().removesuffix("YX")
    if not axes or len(set(axes)) != len(axes) or not set(axes) <= set("TZC"):
        raise DeclarationError(
            f"dimension_order must consist of the letters T, Z and C, each at most once, the slowest first; got {order!r}"
        )
    return axes


def _require_axes_of_lengths(given: Mapping[str, int], axes: str, order: str | None) -> None:
    """Refuse a length above 1 for an axis that the order does not contain."""
    for axis, length in given.items():
        if length > 1 and axis not in axes:
            option = {"C": "num_channels", "Z": "num_planes"}[axis]
            raise DeclarationError(f"{option}={length} needs the letter {axis} in dimension_order={order!r}")


def _axis_without_length(axes: str, given: Mapping[str, int]) -> str | None:
    """Return the axis whose length follows from the number of pages: T, else the slowest one without a length."""
    if "T" in axes:
        return "T"
    return next((axis for axis in axes if axis not in given), None)


def _positive_integer(option: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise DeclarationError(f"{option} must be a whole number of 1 or more, got {value!r}")
    return value


def _left_over_note(name: str, left: int, num_pages: int) -> tuple[str, ...]:
    return (
        (f"{name}: the last {left:,} of {num_pages:,} pages are not a whole sample and are left out",) if left else ()
    )


def _of_imagej(
    num_pages: int, fields: Mapping[str, str], name: str, pages_per_file: Sequence[int], samples: int
) -> Arrangement:
    # ImageJ describes the file it wrote, so its numbers are compared with the first file alone
    sizes = {"T": _count(fields, "frames"), "Z": _count(fields, "slices"), "C": _count(fields, "channels")}
    in_file = pages_per_file[0]
    if samples > 1 and sizes["C"] == samples and math.prod(sizes.values()) != in_file:
        sizes["C"] = 1  # the channels are the values of one pixel
    claimed, step = math.prod(sizes.values()), sizes["Z"] * sizes["C"]
    # ImageJ writes slices= for any stack that was not made a hyperstack, movies included
    only_slices = sizes["Z"] > 1 and sizes["T"] == 1 and sizes["C"] == 1 and fields.get("hyperstack") != "true"
    if only_slices:
        notes = (
            f"{name}: ImageJ labels any stack as slices, so its {sizes['Z']:,} images are read as time; for planes, pass dimension_order='Z'",
        )
        stack = Arrangement("T", {"T": num_pages}, 0, notes)
        return stack if claimed == in_file else _contradicted(stack, name, claimed, in_file, "all pages are read")
    if claimed == 1 and in_file > 1 and _count(fields, "images") in (1, in_file):
        return Arrangement("T", {"T": num_pages})
    if claimed == in_file:
        return _in_steps(num_pages, sizes, name, pages_per_file)
    if step > 1 and _count(fields, "images") == in_file:
        # ImageJ too takes such a stack as plain: one of the three numbers is wrong, and nobody knows which
        shown = f"{sizes['C']} channels x {sizes['Z']} slices x {sizes['T']} frames"
        plain = f"({shown}); the pages are read as time; to declare their order, pass dimension_order=, num_channels= and num_planes="
        return _contradicted(Arrangement("T", {"T": num_pages}, is_doubtful=True), name, claimed, in_file, plain)
    if in_file < step:
        raise UnsupportedRecordingError(
            f"{name}: ImageJ's description states {counted(step, 'page')} per time point, but the file has {in_file:,}; pass dimension_order="
        )
    arrangement = _in_steps(num_pages, sizes, name, pages_per_file)
    said = f"{arrangement.size('T'):,} frames are read"
    return _contradicted(arrangement, name, claimed, in_file, said)


def _in_steps(num_pages: int, sizes: dict[str, int], name: str, pages_per_file: Sequence[int]) -> Arrangement:
    """Return time points of so many slices and channels, each whole in one file."""
    step = sizes["Z"] * sizes["C"]
    # A time point cut by the end of a file would shift the channels of all later files
    uneven = next((k for k, count in enumerate(pages_per_file[:-1]) if count % step), None)
    if uneven is not None:
        raise UnsupportedRecordingError(
            f"{name}: ImageJ's description states {counted(step, 'page')} per time point, but file {uneven + 1:,} has {pages_per_file[uneven]:,}; "
            "open the files one by one, or pass dimension_order="
        )
    left = num_pages % step
    return Arrangement("TZC", {**sizes, "T": num_pages // step}, left, _left_over_note(name, left, num_pages))


def _contradicted(arrangement: Arrangement, name: str, claimed: int, seen: int, reading: str) -> Arrangement:
    """Return an arrangement with a warning that the description claims another number of images."""
    separator = " " if reading.startswith("(") else "; "
    words = f"{name}: the description claims {counted(claimed, 'image')}, but the file has {counted(seen, 'page')}{separator}{reading}"
    return replace(arrangement, warnings=(words,), is_incomplete=claimed > seen)


def _of_shape(
    num_pages: int, shape: Sequence[int], axes: str, name: str, pages_per_file: Sequence[int], samples: int
) -> Arrangement | None:
    """Return the arrangement that tifffile's shape and axes describe; None where they say nothing about pages."""
    in_file = pages_per_file[0]
    if not axes:
        return _of_bare_shape(num_pages, shape, name, in_file, samples)
    sizes = dict(zip(axes, shape, strict=True))
    lengths = {axis: n for axis, n in sizes.items() if axis not in "YXS" and n > 1}
    # tifffile counts the channels inside a pixel in its axes, and they are not pages
    if lengths.get("C") == samples > 1 and math.prod(lengths.values()) != in_file:
        del lengths["C"]
    order, claimed = "".join(lengths), math.prod(lengths.values())
    if len(order) == 1 and order not in "ZC":
        lengths, order = {"T": lengths[order]}, "T"  # "I" and "Q" of old files: a sequence, or anything
    words = " x ".join(f"{axis}={n:,}" for axis, n in lengths.items())
    if not order or claimed == in_file == 1:
        return None
    if not set(order) <= set("TZC"):
        reading = f"(axes {axes}: {words}); they are read as time; to declare their order, pass dimension_order="
        return Arrangement("T", {"T": num_pages}, 0, (), (f"{name}: some axes are not understood {reading}",))
    step = claimed // lengths.get("T", 1)
    if len(pages_per_file) > 1:
        return _of_files(num_pages, lengths, order, claimed, pages_per_file)
    if claimed == num_pages:
        return Arrangement(order, lengths)
    if order[0] == "T" and num_pages >= step:
        left = num_pages % step
        read = Arrangement(order, {**lengths, "T": num_pages // step}, left, _left_over_note(name, left, num_pages))
        return _contradicted(read, name, claimed, in_file, f"({words}); {num_pages // step:,} samples are read")
    reading = f"({words}); they are read as time; to declare their order, pass dimension_order="
    return _contradicted(Arrangement("T", {"T": num_pages}, is_doubtful=True), name, claimed, in_file, reading)


def _of_files(
    num_pages: int, lengths: dict[str, int], order: str, claimed: int, pages_per_file: Sequence[int]
) -> Arrangement | None:
    """Return the arrangement of several files that each contain all planes and channels of some time points."""
    step = claimed // lengths.get("T", 1)
    # With T inside other axes, the time points of the next file would follow in the wrong axis
    if step == 1 or (order[0] != "T" and "T" in order) or any(count % step for count in pages_per_file):
        return None
    return Arrangement("T" + order.replace("T", ""), {**lengths, "T": num_pages // step})


def _of_bare_shape(num_pages: int, shape: Sequence[int], name: str, in_file: int, samples: int) -> Arrangement | None:
    # Without names, the last axes are rows and columns, and values of a pixel behind them
    leading = [n for n in shape[: -3 if samples > 1 and len(shape) > 2 else -2] if n > 1]
    claimed = math.prod(leading)
    if claimed > in_file and len(leading) == 1:
        return _contradicted(Arrangement("T", {"T": num_pages}), name, claimed, in_file, "all are read")
    if len(leading) < 2:
        return None
    words = " x ".join(f"{n:,}" for n in shape)
    notes = (
        f"{name}: the description gives the shape {words} without names of axes; the {num_pages:,} pages are read as time; "
        f"for volumes, pass dimension_order='TZ' and num_planes={leading[-1]}, for channels, dimension_order='TC' and num_channels={leading[-1]}",
    )
    return Arrangement("T", {"T": num_pages}, 0, notes)


def _count(fields: Mapping[str, str], key: str) -> int:
    text = fields.get(key, "1")
    # A longer number is damage; a product of such numbers would match no file
    return max(1, int(text)) if text.isdecimal() and len(text) < 12 else 1


def _of_names(num_pages: int, paths: Sequence[str], pages_per_file: Sequence[int]) -> Arrangement:
    depth = pages_per_file[0]
    alike = len(paths) > 1 and depth > 1 and all(count == depth for count in pages_per_file)
    if alike and all(_VOLUME_NAME.search(os.path.splitext(os.path.basename(path))[0]) for path in paths):
        note = f"each of the {len(paths):,} files has {depth} pages and is named by time: read as volumes of {depth} planes; for frames, pass dimension_order='T'"
        return Arrangement("TZ", {"T": len(paths), "Z": depth}, 0, (note,))
    return Arrangement("T", {"T": num_pages})

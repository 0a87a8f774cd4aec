"""The regions of interest of a multi-ROI recording: which rows of a page belong to which, and where they are in the sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from roiextractors_core.errors import UnsupportedRecordingError, counted, printable

from .header import Header

__all__ = ["PAGE", "STITCHED", "Mosaic", "Piece", "Region", "find_mosaic", "imaged_regions"]

PAGE, STITCHED = "page", "stitched"
# Pixels: two distant regions of high resolution would otherwise make an image that fills the memory
_MAX_CANVAS = 1 << 28
_MAX_REGIONS = 4096
# The flyto time is rounded to lines, and to an even number of them where both directions are scanned
_LINES_TOLERANCE = 2


@dataclass(frozen=True, slots=True)
class Field:
    """One scanfield: a rectangle of pixels in one plane.

    Attributes
    ----------
    rows, columns : int
    center, size : tuple of float
        ``(x, y)`` in degrees of the scan angle; rows follow y, columns follow x.
    rotation : float
        In degrees.
    """

    rows: int
    columns: int
    center: tuple[float, float]
    size: tuple[float, float]
    rotation: float = 0.0

    @property
    def pixel(self) -> tuple[float, float]:
        """Distance of pixels ``(row, column)`` in degrees."""
        return self.size[1] / self.rows, self.size[0] / self.columns


@dataclass(frozen=True, slots=True)
class Region:
    """One region of interest, which may be another rectangle in each plane.

    Attributes
    ----------
    name : str
    depths : tuple of float
        One a scanfield, ascending.
    fields : tuple of Field
    is_discrete : bool
        Whether it is scanned at these depths alone, and not between them.
    """

    name: str
    depths: tuple[float, ...]
    fields: tuple[Field, ...]
    is_discrete: bool

    def at(self, depth: float | None) -> Field | None:
        """Return the rectangle at a depth, or None where the region is not scanned; any depth if it is None.

        References
        ----------
        ScanImage documentation, "Multiple Region of Interest (MROI) Imaging": a region with one scanfield extends over all
        depths, one with several is interpolated between them, unless its planes are discrete.
        """
        if depth is None:
            # A region of one depth is in one plane, and nobody knows which
            return self.fields[0] if len(self.fields) == 1 and not self.is_discrete else None
        # Depths are written as decimal text, so equality needs a tolerance (micrometres)
        if self.is_discrete:
            return next((f for z, f in zip(self.depths, self.fields, strict=True) if abs(z - depth) < 1e-3), None)
        if len(self.fields) == 1:
            return self.fields[0]
        if not self.depths[0] - 1e-3 <= depth <= self.depths[-1] + 1e-3:
            return None
        table = np.array([(f.rows, f.columns, *f.center, *f.size, f.rotation) for f in self.fields], np.float64)
        rows, columns, *rest = (float(np.interp(depth, self.depths, column)) for column in table.T)
        x, y, width, height, rotation = rest
        # At a depth of its own, a scanfield keeps its exact size: _even would change an odd number of rows
        whole = tuple(f for z, f in zip(self.depths, self.fields, strict=True) if abs(z - depth) < 1e-3)
        return whole[0] if whole else Field(_even(rows), _even(columns), (x, y), (width, height), rotation)


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle of a page and its place in the image.

    Attributes
    ----------
    page_row : int
        Its first row in the page; its first column there is 0.
    rows, columns : int
    row, column : int
        Its place in the image.
    """

    page_row: int
    rows: int
    columns: int
    row: int = 0
    column: int = 0


@dataclass(frozen=True)
class Mosaic:
    """The places of the regions in the pages of each plane.

    Attributes
    ----------
    names : tuple of str
        Of the regions, each once.
    planes : tuple of dict
        For each plane the first row and the rectangle of each region that is scanned there, by its position.
    gap : int
        Lines between two regions in which the scanner flew from one to the next.
    contradictions : tuple of str
        Where the lines in the pages are not those of the header.
    problem : str
        Why the regions could not be found in the pages; empty if they were.
    """

    names: tuple[str, ...]
    planes: tuple[dict[int, tuple[int, Field]], ...]
    gap: int
    contradictions: tuple[str, ...] = ()
    problem: str = ""

    @property
    def choices(self) -> tuple[str, ...]:
        """Values of ``roi=`` where a choice is needed: the regions, all of them stitched, and the whole page."""
        if len(self.names) < 2:
            return self.names
        return (*self.names, *((STITCHED,) if self.stitched() is not None else ()), PAGE)

    def fields(self, region: int) -> dict[int, tuple[int, Field]]:
        """Return the planes of one region: the first row in the page, and the rectangle."""
        return {plane: there[region] for plane, there in enumerate(self.planes) if region in there}

    def stitched(self) -> tuple[tuple[int, int], tuple[tuple[Piece, ...], ...]] | None:
        """Return the shape of an image of all regions, and each plane's pieces; None if their resolutions differ."""
        every = [field for there in self.planes for _, field in there.values()]
        pixel = every[0].pixel
        # Rotated or differently sampled regions would need resampling, and pixels are returned as stored
        if any(abs(f.rotation) > 1e-6 or not np.allclose(f.pixel, pixel, rtol=0.01) for f in every):
            return None
        top = min(f.center[1] - f.size[1] / 2 for f in every)
        left = min(f.center[0] - f.size[0] / 2 for f in every)

        def placed(start: int, f: Field) -> Piece:
            row = round((f.center[1] - f.size[1] / 2 - top) / pixel[0])
            return Piece(start, f.rows, f.columns, row, round((f.center[0] - f.size[0] / 2 - left) / pixel[1]))

        pieces = tuple(tuple(placed(*one) for one in there.values()) for there in self.planes)
        flat = [piece for there in pieces for piece in there]
        shape = max(p.row + p.rows for p in flat), max(p.column + p.columns for p in flat)
        return (shape, pieces) if shape[0] * shape[1] <= _MAX_CANVAS else None

    def overlaps(self) -> bool:
        """Return whether regions of one plane overlap by more than a row and a column in the image of all."""
        canvas = self.stitched()
        # The number of pairs grows with the square of the regions, and this is only a note
        pairs = [pair for there in (canvas[1] if canvas else ()) for pair in combinations(there[:64], 2)]
        return any(
            min(a.row + a.rows, b.row + b.rows) - max(a.row, b.row) > 1
            and min(a.column + a.columns, b.column + b.columns) - max(a.column, b.column) > 1
            for a, b in pairs
        )


def imaged_regions(header: Header) -> tuple[Region, ...]:
    """Return the regions of a multi-ROI recording that are switched on; none for other recordings.

    A region of which a scanfield has no size has no fields: its rows in the page are not known.
    """
    # The group is written with the mode off too: one default region of the whole field of view
    enabled = header.flag("SI.hRoiManager.mroiEnable")
    if enabled is False:
        return ()
    group = header.roi_groups.get("imagingRoiGroup")
    regions = tuple(_regions(group.get("rois") if isinstance(group, dict) else None))
    return regions if enabled or len(regions) > 1 else ()


def find_mosaic(
    regions: Sequence[Region], header: Header, *, page_shape: tuple[int, int], planes: int, name: str
) -> Mosaic:
    """Find the rows of each region in the pages.

    The regions of a plane follow one another from the top of the page, each pair with the same number of lines
    between them, in which the scanner flew.

    Parameters
    ----------
    regions : sequence of Region
    header : Header
    page_shape : tuple of int
    planes : int
    name : str
        The recording's name, for messages.

    Raises
    ------
    UnsupportedRecordingError
        The regions do not fit into the pages.
    """
    unknown = [number for number, region in enumerate(regions) if not region.fields]
    if unknown:
        raise UnsupportedRecordingError(
            f"{name}: "
            "the "
            "region "
            f"of interest {unknown[0]} of {len(regions)} (from 0) has a scanfield without a size in pixels and "
            f"degrees, so the rows of the others are not known; open(..., roi='{PAGE}') gives the pages as they are"
        )
    fitting = []
    # Depths may be in one of several coordinates; the rows of the page show which one fits
    for depths in _depths(header, planes):
        there = [
            {k: field for k, region in enumerate(regions) if (field := region.at(depth)) is not None}
            for depth in depths
        ]
        gap = _gap([list(fields.values()) for fields in there], header, page_shape) if all(there) else None
        if gap is not None:
            starts = tuple(_starts(fields, gap) for fields in there)
            rest = page_shape[0] - max(_lines(list(fields.values()), gap) for fields in there)
            fitting.append(Mosaic(_names(regions), starts, gap, _contradictions(header, gap, rest, len(regions))))
    if fitting:
        # Depths in another coordinate may come to a whole number of lines by chance, but not to that of the header
        best = [mosaic for mosaic in fitting if not mosaic.contradictions] or fitting
        if any(_rows_of(mosaic) != _rows_of(best[0]) for mosaic in best):
            doubt = "the depths of the header place the regions of interest in several ways; roi='page' gives the pages as they are"
            return replace(best[0], contradictions=(*best[0].contradictions, doubt))
        return best[0]
    lines = sum(region.fields[0].rows for region in regions)
    raise UnsupportedRecordingError(
        f"{name}: the {len(regions)} regions of interest of the header ({counted(lines, 'row')}) do not fit into pages of {page_shape[0]:,} "
        f"rows and {page_shape[1]:,} columns; open(..., roi='{PAGE}') gives the pages as they are"
    )


def _regions(listed: Any) -> Iterator[Region]:
    rois = listed if isinstance(listed, list) else [listed]  # MATLAB writes a list of one as its only item
    for roi in rois[:_MAX_REGIONS]:
        if not isinstance(roi, dict) or not roi.get("enable", 1):
            continue
        raw = roi.get("scanfields")
        fields = [_field(one) for one in (raw if isinstance(raw, list) else [raw])]
        depths = _numbers(roi.get("zs"))
        depths = depths if len(depths) == len(fields) else [float(k) for k in range(len(fields))]
        name, discrete = roi.get("name"), bool(roi.get("discretePlaneMode", 0))
        if any(
            f is None and _is_on(one) for f, one in zip(fields, raw if isinstance(raw, list) else [raw], strict=True)
        ):
            yield Region(name if isinstance(name, str) else "", (), (), discrete)
            continue
        pairs = sorted(((z, f) for z, f in zip(depths, fields, strict=True) if f is not None), key=lambda pair: pair[0])
        if pairs:
            yield Region(
                name if isinstance(name, str) else "",
                tuple(z for z, _ in pairs),
                tuple(f for _, f in pairs),
                discrete,
            )


def _is_on(raw: Any) -> bool:
    return isinstance(raw, dict) and bool(raw.get("enable", 1))


def _field(raw: Any) -> Field | None:
    if not _is_on(raw):
        return None
    pixels, size = _numbers(raw.get("pixelResolutionXY")), _numbers(raw.get("sizeXY"))
    center, rotation = _numbers(raw.get("centerXY")) or [0.0, 0.0], _numbers(raw.get("rotationDegrees")) or [0.0]
    if len(pixels) != 2 or len(size) != 2 or len(center) != 2 or not all(1 <= n < 1 << 24 for n in pixels):
        return None
    if not all(0 < s < math.inf for s in size):
        return None
    return Field(int(pixels[1]), int(pixels[0]), (center[0], center[1]), (size[0], size[1]), rotation[0])


def _numbers(value: Any) -> list[float]:
    items = value if isinstance(value, list) else [value]
    # MATLAB's JSON may wrap a number into a list of one
    items = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in items]
    good = all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in items)
    return [float(n) for n in items] if good else []


def _even(number: float) -> int:
    return max(2, round(number / 2) * 2)


def _names(regions: Sequence[Region]) -> tuple[str, ...]:
    given = [printable(region.name.strip()) for region in regions]
    # A region called "page" would hide the option of that name
    taken = {PAGE, STITCHED, ""}
    usable = {name for name in given if given.count(name) == 1} - taken
    numbered = [f"ROI {k + 1}" for k in range(len(given))]
    # A region called "ROI 2" is not the second one where that has no name
    return tuple(
        name if name in usable else numbered[k] if numbered[k] not in usable else f"{numbered[k]} (position {k})"
        for k, name in enumerate(given)
    )


def _depths(header: Header, planes: int) -> Iterator[list[float | None]]:
    """Yield the depths of the planes, in each of the coordinates in which the regions may be given."""
    for key in (
        "SI.hStackManager.zs",
        "SI.hStackManager.zsRelative",
        "SI.hFastZ.userZs",
        "SI.hStackManager.arbitraryZs",
    ):
        listed = header.numbers(key)
        # The header may list each plane once a frame
        each = len(listed) // planes
        if each and len(listed) % planes == 0:
            yield list(listed[::each])
    if planes == 1:
        yield [0.0]
    # Regions of one scanfield are in every plane, so they can be placed without a depth
    yield [None] * planes


def _gap(planes: list[list[Field]], header: Header, page_shape: tuple[int, int]) -> int | None:
    """Return the lines between two regions, or None where the regions do not fit.

    The header gives the time of a flight.  The page of the plane with the most lines is full: if that gives a whole number
    of lines for each flight, it is used, else the time.
    """
    rows, columns = page_shape
    used = [(sum(field.rows for field in fields), len(fields) - 1) for fields in planes]
    if any(lines > rows for lines, _ in used) or any(f.columns > columns for fields in planes for f in fields):
        return None
    free = [(rows - lines) / flights for lines, flights in used if flights]
    if not free:
        # One region fills the page of the plane in which it has the most rows
        return 0 if max(lines for lines, _ in used) == rows else None
    if min(free) == int(min(free)):
        return int(min(free))
    return next((lines for lines in _stated_lines(header) if lines <= min(free)), None)


def _stated_lines(header: Header) -> list[int]:
    """Return the lines of a flight by its time: rounded up to an even number, as both directions are scanned, up, and to the nearest."""
    time, line = header.number("SI.hScan2D.flytoTimePerScanfield"), header.rate("SI.hRoiManager.linePeriod")
    if time is None or line is None or not 0 <= time / line < 1 << 20:
        return []
    # The subtraction keeps a ratio that is whole but for rounding from being rounded up
    lines = math.ceil(time / line - 1e-9)
    return [lines + lines % 2, lines, round(time / line)]


def _lines(fields: Sequence[Field], gap: int) -> int:
    return sum(field.rows for field in fields) + gap * (len(fields) - 1)


def _rows_of(mosaic: Mosaic) -> list[dict[int, tuple[int, int, int]]]:
    return [{k: (start, f.rows, f.columns) for k, (start, f) in there.items()} for there in mosaic.planes]


def _contradictions(header: Header, gap: int, rest: int, regions: int) -> tuple[str, ...]:
    stated = _stated_lines(header)
    # A few lines are left over where the time of a flight is no whole number of lines
    if rest > _LINES_TOLERANCE * max(1, regions - 1):
        return (f"the pages have {rest:,} rows more than the regions of interest take; the regions may be shifted",)
    if regions < 2 or not stated or any(abs(gap - lines) <= _LINES_TOLERANCE for lines in stated):
        return ()
    return (
        f"the pages leave {gap} lines between two regions of interest, but the header's flyto time takes {stated[0]}; "
        "the regions may be shifted",
    )


def _starts(fields: dict[int, Field], gap: int) -> dict[int, tuple[int, Field]]:
    placed, row = {}, 0
    for region, field in fields.items():
        placed[region] = (row, field)
        row += field.rows + gap
    return placed

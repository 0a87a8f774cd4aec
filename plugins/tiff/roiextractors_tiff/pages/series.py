"""The arrays that tifffile and others write one after the other into one file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from roiextractors_core.errors import CorruptRecordingError
from roiextractors_core.io import Budget

from .chain import Chain
from .directory import Directory, TiffFile
from .groups import Group, groups_of, single_budget
from .page import Page

__all__ = ["Series", "described_axes", "described_shape", "series_of"]

_MAX_DESCRIPTION = 1 << 16
_DESCRIPTION = 270
_DESCRIBED = (b'{"', b"shape=(")  # how tifffile begins a description of a shape
_MAX_ARRAYS, _MAX_PAGES = 100_000, 1 << 20  # the second takes about 3 s
_ADVICE = "split the file into recordings"
_BATCH = 1 << 16


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
    for number, page, shape in _pages_of(tiff):
        if not series or shape or page != series[-1].page:
            series.append(Series(number, number + 1, shape, page))
        else:
            series[-1] = replace(series[-1], stop=number + 1)
    kinds = {one.page: one for one in reversed(series)}
    if len(series) <= 2 * len(kinds) or any(one.shape for one in series):
        return tuple(series)
    # Images of two kinds in turn (a frame, its thumbnail, the next frame): a series of each kind
    firsts = sorted(kinds.values(), key=lambda one: one.start)
    lasts = {one.page: one.stop for one in series}
    return tuple(Series(one.start, lasts[one.page], (), one.page, True) for one in firsts)


def _pages_of(tiff: TiffFile) -> Iterator[tuple[int, Page, tuple[int, ...]]]:
    """Yield the number, the properties and the described shape of each page, up to the first damaged one.

    Raises
    ------
    CorruptRecordingError
        The first page is damaged, or there are more arrays than anyone could choose from.
    """
    singles, arrays = single_budget(tiff), Budget(_MAX_ARRAYS, tiff.name, "pages that begin an array", advice=_ADVICE)
    directories = Budget(_MAX_PAGES, tiff.name, "pages in several arrays", advice=_ADVICE)
    first = 0
    for offsets, tables in Chain(tiff).batches(_BATCH):
        directories.spend(len(tables))
        batch = _Batch(tiff, first, offsets, tables)
        pages: list[Page | None] = [None] * len(tables)
        descriptions: list[tuple[int, bytes] | None] = [None] * len(tables)
        shapes: dict[tuple[int, bytes] | None, tuple[int, ...]] = {None: ()}
        for group in groups_of(tables, batch.directory, singles, coded=True):
            try:
                page = Page.of(group.template)
            except CorruptRecordingError:
                if group.template.page == 0:
                    raise
                continue  # the pages before the damage are whole
            for k in group.numbers.tolist():
                pages[k] = page
            for k, entry in batch.descriptions(group):
                descriptions[k] = entry
        for k, (seen, description) in enumerate(zip(pages, descriptions, strict=True)):
            if seen is None:
                return
            # Pages may share a description: each is looked at once
            if description not in shapes:
                shapes[description] = batch.described_shape(k)
            shape = shapes[description]
            if shape:
                arrays.spend()
            yield first + k, seen, shape
        first += len(tables)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Consecutive directories of a file: the number of the first one, their offsets, and their tables."""

    tiff: TiffFile
    first: int
    offsets: Sequence[int]
    tables: Sequence[bytes]

    def directory(self, k: int) -> Directory:
        return Directory(self.tiff, self.offsets[k], self.tables[k], 0, self.first + k)

    def descriptions(self, group: Group) -> Iterator[tuple[int, tuple[int, bytes]]]:
        """Yield the pages of a group that have a description, with its entry, which is the same where it is shared.

        Not of a reduced image (a level of a pyramid, a thumbnail), which repeats the description of the image that it belongs to.
        """
        template, size = group.template, self.tiff.entry_size
        if _DESCRIPTION not in template.entries or template.is_secondary:
            return
        end = template.entries[_DESCRIPTION][2] + self.tiff.field_size
        for k, row in zip(group.numbers.tolist(), group.rows, strict=True):
            # With the part of the file, since the offsets of classic TIFF begin at 0 again behind 4 GiB
            yield k, (self.offsets[k] >> 31, row[end - size : end].tobytes())

    def described_shape(self, k: int) -> tuple[int, ...]:
        """Return the shape in a page's description, or nothing."""
        directory = self.directory(k)
        is_short = _DESCRIPTION in directory.entries and directory.place(_DESCRIPTION)[1] <= _MAX_DESCRIPTION
        if not is_short or not any(directory.begins_with(_DESCRIPTION, start) for start in _DESCRIBED):
            return ()
        return described_shape(directory.value(_DESCRIPTION))


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

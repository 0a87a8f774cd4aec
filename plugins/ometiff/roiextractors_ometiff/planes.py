"""Where the planes of one channel are: the TiffData of the OME-XML laid out over time and depth, and reads of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from roiextractors_tiff.pages import PageIndex

from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceNotFoundError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io.ome_xml import UNSAID, OmeImage, from_zero

from .file_set import FileSet

__all__ = ["PlaneSet", "Placement", "place"]

_IFD, _COUNT, _T, _C, _Z, _REFERENCE = range(6)
_MAX_PAGES = 1 << 40  # more than any file has, and sums of two stay within int64


class PlaneSet:
    """The planes of one channel, sample after sample, and their reads.

    Parameters
    ----------
    indexes : sequence of PageIndex
        The indexes of the files.
    owners, pages : numpy.ndarray
        For each plane the position of its index, and its page in that index; with one index, owners are not looked at.
    notes : tuple of str
        Of files of which no page is used.
    """

    def __init__(
        self, indexes: Sequence[PageIndex], owners: np.ndarray, pages: np.ndarray, notes: tuple[str, ...] = ()
    ) -> None:
        self._indexes, self._more_notes = tuple(indexes), notes
        self._owners = owners if len(self._indexes) > 1 else None
        self._pages = pages

    @property
    def first(self) -> PageIndex:
        """The first index; the pages of all others have its shape and dtype."""
        return self._indexes[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of the indexes about pages that were left out."""
        return (*(note for index in self._indexes for note in index.notes), *self._more_notes)

    def read(self, planes: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Return planes as a new array.

        Parameters
        ----------
        planes : numpy.ndarray of int64
            Positions in the set, in any order.
        rows, columns : slice
            With step 1.

        Returns
        -------
        numpy.ndarray
            ``(planes, rows, columns)`` or ``(planes, rows, columns, samples)``, native byte order.
        """
        pages = self._pages[planes]
        if self._owners is None or not len(planes):
            return self.first.read(pages, rows, columns)
        owners = self._owners[planes]
        # One read for each run in the same file
        cuts = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), len(planes)]
        parts = [self._indexes[owners[a]].read(pages[a:b], rows, columns) for a, b in itertools.pairwise(cuts)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def close(self) -> None:
        """Release the files."""
        for index in self._indexes:
            index.close()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the planes of one channel are.

    Attributes
    ----------
    planes : PlaneSet
        The planes of the complete samples.
    num_samples : int
        The number of complete samples.
    described : int
        The number of samples that the XML describes.
    passes : int
        How often the XML gives every plane; above 1 the passes are the samples.
    lack : str
        Why the two numbers differ, or an empty string.
    numbers : numpy.ndarray
        The number of each sample among those described, from 0; int64.
    later : int
        The number of complete samples after the first missing one, which were left out.
    doubts : tuple of str
        Contradictions between the XML and the pages.
    aside : str
        A sentence about further pages, or an empty string.
    """

    planes: PlaneSet
    num_samples: int
    described: int
    passes: int
    lack: str
    numbers: np.ndarray
    later: int = 0
    doubts: tuple[str, ...] = ()
    aside: str = ""


def place(
    image: OmeImage,
    files: FileSet,
    *,
    channel: int,
    samples_per_pixel: int,
    name: str,
    allow_missing: bool = False,
    is_only: bool = False,
) -> Placement:
    """Lay the planes of one channel out over time and depth.

    Parameters
    ----------
    image : Image
    files : FileSet
        The files of that image.
    channel : int
        From 0, counted in pages and not in samples of a pixel.
    samples_per_pixel : int
        The number of channels in one page.
    name : str
        For messages.
    allow_missing : bool
        Whether samples behind a missing one are read.
    is_only : bool
        Whether the image is the only one of its files, so that all of their pages should be its.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        No sample is complete, or the XML contradicts itself or the pages.

    References
    ----------
    OME-TIFF specification 6.0, "The TiffData element".
    """
    grid = _Grid.of(image, samples_per_pixel, name)
    blocks = _Blocks.of(image, files, grid, name)
    shelf = _Shelf(files, blocks)
    claims, times, passes = _times_in_passes(_claims(blocks, shelf, grid, name), grid, shelf, name)
    placement = _placement(claims, times, passes, channel, grid, shelf, name, allow_missing)
    unused, is_exact = _unused(claims, shelf, name) if is_only and not placement.lack else ("", False)
    doubts = (*_repeated(claims, shelf, name), *((unused,) if is_exact else ()))
    return replace(placement, doubts=doubts, aside="" if is_exact else unused)


def _repeated(claims: _Claims, shelf: _Shelf, name: str) -> Iterator[str]:
    """Say that one page is given for several planes."""
    if len(claims.pages) < 2 or (claims.pages[1:] > claims.pages[:-1]).all():
        return
    order = np.lexsort((claims.pages, claims.files))
    files, pages = claims.files[order], claims.pages[order]
    again = np.flatnonzero((files[1:] == files[:-1]) & (pages[1:] == pages[:-1]))
    if len(again):
        k = int(again[0])
        yield (
            f"{name}: its OME-XML gives {_pages(len(again))} for several planes, the first page {int(pages[k]):,} of {shelf.names[files[k]]}; "
            "to read the pages as they are: open(..., format='tiff')"
        )


def _unused(claims: _Claims, shelf: _Shelf, name: str) -> tuple[str, bool]:
    """Return in words that a file contains more pages than the XML gives places for, and whether by a whole factor.

    The specification allows further pages; a whole factor suggests an axis that the XML does not describe.
    """
    used = len(claims.pages)
    pages = shelf.num_pages_of(claims) if shelf.max_pages > used else used
    if pages <= used:
        return "", False
    is_exact = pages % used == 0
    factor = f", {pages // used} times as many" if is_exact else ""
    return (
        f"{name}: its OME-XML describes {counted(used, 'plane')}, but its files contain {pages:,} pages{factor}; to read all pages: open(..., format='tiff')",
        is_exact,
    )


@dataclass(frozen=True, slots=True)
class _Grid:
    """The positions that an image has, and how many steps in the order of planes one step along each axis is."""

    sizes: tuple[int, int, int]
    strides: tuple[int, int, int]
    total: int

    @classmethod
    def of(cls, image: OmeImage, samples_per_pixel: int, name: str) -> _Grid:
        lengths = {axis: image.size(axis) for axis in "TCZ"}
        lengths["C"] //= samples_per_pixel
        strides, step = {}, 1
        for axis in image.order:
            strides[axis] = step
            step *= lengths[axis]
        if step >= 1 << 62:  # positions are int64
            raise CorruptRecordingError(f"{name}: its OME-XML describes {counted(step, 'plane')}, which is impossible")
        t, c, z = "TCZ"
        return cls((lengths[t], lengths[c], lengths[z]), (strides[t], strides[c], strides[z]), step)

    def along(self, axis: int, positions: np.ndarray) -> np.ndarray:
        """Return T, C or Z (0, 1, 2) of positions in the order of planes."""
        size, step = self.sizes[axis], self.strides[axis]
        if size == 1:
            return np.zeros(len(positions), np.int64)
        # Integer division of a million positions is slow, and not needed for the fastest and the slowest axis
        steps = positions if step == 1 else positions // step
        return steps if step * size == self.total else steps % size

    def words(self, position: int) -> str:
        """Return a position for a message."""
        where = (position // step % size for step, size in zip(self.strides, self.sizes, strict=True))
        return ", ".join(f"{axis}={k}" for axis, k in zip("TCZ", where, strict=True))


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The TiffData elements: where each begins, in which file, and how many pages it takes at most."""

    starts: np.ndarray
    ifds: np.ndarray
    counts: np.ndarray
    files: np.ndarray

    @classmethod
    def of(cls, image: OmeImage, files: FileSet, grid: _Grid, name: str) -> _Blocks:
        # Without TiffData, all pages of this file are its planes, in order
        rows = image.blocks if len(image.blocks) else np.array([[UNSAID, UNSAID, 0, 0, 0, UNSAID]], np.int64)
        starts = _starts(rows, grid, name)
        references = np.where(rows[:, _REFERENCE] == UNSAID, len(files.paths) - 1, rows[:, _REFERENCE])
        if files.paths[-1] is None and (rows[:, _REFERENCE] == UNSAID).any():
            raise UnsupportedRecordingError(
                f"{name}: its OME-XML does not say which TIFF file contains its planes, and the OME-XML is not inside a TIFF file"
            )
        # Several references may lead to one file, which then has the number of the first
        numbers = {path: k for k, path in reversed(list(enumerate(files.paths)))}
        same = np.array([k if path is None else numbers[path] for k, path in enumerate(files.paths)], np.int64)
        counts = rows[:, _COUNT].copy()
        counts[(counts == UNSAID) & (rows[:, _IFD] != UNSAID)] = 1  # the specification's default
        unsaid = counts == UNSAID
        if unsaid.any():
            # All pages of the file: at most as many as there is room for before the next block.
            edges = np.append(np.unique(starts), grid.total)
            counts[unsaid] = (edges[np.searchsorted(edges, starts, side="right")] - starts)[unsaid]
        return cls(starts, np.maximum(rows[:, _IFD], 0), np.minimum(counts, grid.total - starts), same[references])

    @property
    def deep(self) -> np.ndarray:
        """Which blocks need the number of pages of their file, not only its existence."""
        return np.asarray((self.ifds > 0) | (self.counts > 1))


def _starts(rows: np.ndarray, grid: _Grid, name: str) -> np.ndarray:
    for column, word in ((_IFD, "IFD"), (_COUNT, "PlaneCount")):
        wrong = np.flatnonzero((rows[:, column] != UNSAID) & ((rows[:, column] < 0) | (rows[:, column] > _MAX_PAGES)))
        if len(wrong):
            raise CorruptRecordingError(
                f"{name}: TiffData element {int(wrong[0]) + 1:,} of its OME-XML has {word}={int(rows[wrong[0], column])}, which no file has"
            )
    starts = np.zeros(len(rows), np.int64)
    for column, size, step, axis in zip((_T, _C, _Z), grid.sizes, grid.strides, "TCZ", strict=True):
        values = from_zero(rows[:, column], size)
        wrong = np.flatnonzero((values < 0) | (values >= size))
        if len(wrong):
            k = int(wrong[0])
            raise CorruptRecordingError(
                f"{name}: TiffData element {k + 1:,} of its OME-XML has First{axis}={int(rows[k, column])}, and Size{axis} is {size}"
            )
        starts += values * step
    return starts


class _Shelf:
    """The files of one image: the number of pages of each, and the indexes of those that had to be opened to count them."""

    def __init__(self, files: FileSet, blocks: _Blocks) -> None:
        self.names = files.names
        self.is_there = np.array([path is not None for path in files.paths])
        # Assumed until a block asks for more: a set may have thousands of files with one page each
        self.num_pages = np.ones(len(files.paths), np.int64)
        self._paths = files.paths
        self._indexes: dict[int, tuple[PageIndex, int]] = {}
        self._named = np.unique(blocks.files)
        self._foreign = files.foreign
        self._short = ""
        deep = self._named if len(self._named) == 1 else np.unique(blocks.files[blocks.deep])
        begins, ends = np.full(len(files.paths), _MAX_PAGES), np.zeros(len(files.paths), np.int64)
        np.minimum.at(begins, blocks.files, blocks.ifds)
        np.maximum.at(ends, blocks.files, blocks.ifds + blocks.counts)
        for number in deep[self.is_there[deep]].tolist():
            self._open(number, int(begins[number]), int(ends[number]))

    def num_pages_of(self, claims: _Claims) -> int:
        """Return how many pages the files contain, not counting reduced images and masks behind the last page with a place."""
        total = int(np.count_nonzero(np.bincount(claims.files)))
        for number, (index, offset) in self._indexes.items():
            pages = claims.pages[claims.files == number]
            if offset or not len(pages):
                continue
            has_place = np.zeros(index.num_pages, bool)  # np.unique takes a hundred times as long
            has_place[pages] = True
            num_free = index.num_pages - int(np.count_nonzero(has_place))
            # Only the first is read, as each costs a read; those behind it are taken to be alike
            is_secondary = num_free > 0 and _is_secondary(index, int(has_place.argmin()))
            total += index.num_pages - 1 - (num_free if is_secondary else 0)
        return total

    @property
    def max_pages(self) -> int:
        """The number of pages of all named files, reduced images and masks included."""
        return int(self.num_pages[self._named].sum())

    @property
    def is_complete(self) -> bool:
        """Whether every file that is named is there."""
        return bool(self.is_there[self._named].all())

    def note_short(self, blocks: _Blocks, held: np.ndarray) -> None:
        """Keep a sentence about the first block that needs more pages than its file contains."""
        lacking = np.flatnonzero(self.is_there[blocks.files] & (blocks.counts > held))
        if len(lacking):
            k = lacking[0]
            number, page = int(blocks.files[k]), int(blocks.ifds[k] + held[k])
            self._short = (
                f"{self.names[number]} contains {_pages(int(self.num_pages[number]))}, but page {page:,} is needed"
            )

    def lack(self, absent: int | None, where: str) -> str:
        """Return in words why a plane is not there."""
        missing = self._named[~self.is_there[self._named]]
        if absent is not None:
            others = (
                f" and {len(missing) - 1:,} more of its {len(self._named):,} files are" if len(missing) > 1 else " is"
            )
            if self.names[absent] in self._foreign:
                return f"{self.names[absent]} belongs to another recording (its UUID is {self._foreign[self.names[absent]]:.60}), from {where} on"
            return f"{self.names[absent]}{others} missing, from {where} on"
        return f"{self._short or 'no page is named'} for {where}"

    def error(self, words: str) -> CorruptRecordingError | SourceNotFoundError:
        """Return the error for a recording without a whole sample."""
        if not self.is_complete:
            return SourceNotFoundError(words)
        return TruncatedRecordingError(words) if self._short else CorruptRecordingError(words)

    def plane_set(self, files: np.ndarray, pages: np.ndarray) -> PlaneSet:
        """Return planes, given their files and pages; files of one page each are opened when they are read."""
        numbers = _in_order_of_use(files)
        single = [number for number in numbers if number not in self._indexes]
        owners, firsts = np.zeros(len(self._paths), np.int64), np.zeros(len(self._paths), np.int64)
        indexes = []
        if single:
            try:
                indexes.append(PageIndex.of([self._path(k) for k in single], pages_per_file=[1] * len(single)))
                firsts[single] = -np.arange(len(single))  # page 0 of file k is page k of their common index
            except CorruptRecordingError:  # the first one has more pages than are named
                for number in single:
                    self._open(number, 0, 1)
        for number in numbers:
            if number in self._indexes:
                owners[number], firsts[number] = len(indexes), self._indexes[number][1]
                indexes.append(self._indexes[number][0])
        _require_alike(indexes)
        used = set(numbers)
        notes = tuple(note for k, (index, _) in self._indexes.items() if k not in used for note in index.notes)
        if len(numbers) == 1:
            return PlaneSet(indexes, owners[:0], pages - firsts[numbers[0]], notes)
        return PlaneSet(indexes, owners[files], pages - firsts[files], notes)

    def _path(self, number: int) -> str:
        return str(self._paths[number])

    def _open(self, number: int, first: int, last: int) -> None:
        try:
            index, offset = PageIndex.of(self._path(number), secondary=True), 0
        except TruncatedRecordingError:
            raise
        except CorruptRecordingError:
            if last <= first:
                raise
            # Pages that are not of this image may be of another kind: those of another image, thumbnails, labels.
            index, offset = PageIndex.of(self._path(number), span=(first, last)), first
        self._indexes[number] = index, offset
        self.num_pages[number] = offset + index.num_pages


def _is_secondary(index: PageIndex, page: int) -> bool:
    """Return whether a page is marked as a reduced image or a mask."""
    tags = index.tags(page)
    # TIFF 6.0: NewSubfileType (254), bit 0 reduced, bit 2 mask; SubfileType (255), 2 reduced
    return bool(int(tags.get(254, 0)) & 5) or tags.get(255) == 2


def _in_order_of_use(files: np.ndarray) -> list[int]:
    if (files == files[0]).all():
        return [int(files[0])]
    numbers, begins = np.unique(files, return_index=True)
    return [int(number) for number in numbers[np.argsort(begins)]]


def _require_alike(indexes: Sequence[PageIndex]) -> None:
    first = indexes[0]
    for index in indexes[1:]:
        if (index.page_shape, index.dtype, index.samples_per_pixel) != (
            first.page_shape,
            first.dtype,
            first.samples_per_pixel,
        ):
            names = [printable(os.path.basename(one.paths[0])) for one in (index, first)]
            raise CorruptRecordingError(f"{names[0]} has pages of {_words(index)}, but {names[1]} of {_words(first)}")


def _pages(count: int) -> str:
    return f"{count:,} page{'' if count == 1 else 's'}"


def _words(index: PageIndex) -> str:
    rows, columns = index.page_shape
    return f"{counted(rows, 'row')} of {columns:,} columns, {index.samples_per_pixel} x {index.dtype}"


@dataclass(frozen=True, slots=True)
class _Claims:
    """Single planes, each with its position, its file and its page there, in the order of the XML."""

    positions: np.ndarray
    files: np.ndarray
    pages: np.ndarray

    def take(self, chosen: np.ndarray | slice) -> _Claims:
        return _Claims(self.positions[chosen], self.files[chosen], self.pages[chosen])


def _claims(blocks: _Blocks, shelf: _Shelf, grid: _Grid, name: str) -> _Claims:
    """Expand the blocks into planes, none of them beyond the end of its file; of a file that is not there, the first."""
    held = np.maximum(shelf.num_pages[blocks.files] - blocks.ifds, 0)
    counts = np.minimum(blocks.counts, np.where(shelf.is_there[blocks.files], held, 1))
    num_pages = int(counts.sum())
    # Before the arrays are made: a few bytes of XML could ask for any amount of memory
    if num_pages > len(counts) + int(shelf.num_pages.sum()):
        raise CorruptRecordingError(
            f"{name}: its OME-XML places {counted(num_pages, 'page')}, but its files contain {int(shelf.num_pages.sum()):,}"
        )
    shelf.note_short(blocks, held)
    if len(counts) == 1:
        steps = np.arange(num_pages, dtype=np.int64)
        return _Claims(blocks.starts + steps, np.broadcast_to(blocks.files, (num_pages,)), blocks.ifds + steps)
    if (counts == 1).all():
        return _Claims(blocks.starts, blocks.files, blocks.ifds)
    steps = np.arange(num_pages, dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    starts, ifds = np.repeat(blocks.starts, counts), np.repeat(blocks.ifds, counts)
    return _Claims(starts + steps, np.repeat(blocks.files, counts), ifds + steps)


def _times_in_passes(claims: _Claims, grid: _Grid, shelf: _Shelf, name: str) -> tuple[_Claims, np.ndarray, int]:
    """Return the claims with their times; with SizeT=1 and every position given equally often, the passes are times.

    Raises
    ------
    CorruptRecordingError
        Two pages have the same position.
    """
    times = grid.along(0, claims.positions)
    if (claims.positions[1:] > claims.positions[:-1]).all():  # nothing is repeated: no need to sort
        return claims, times, 1
    claims = _without_repeats(claims)
    order = np.argsort(claims.positions, kind="stable")
    unique, begins, counts = np.unique(claims.positions[order], return_index=True, return_counts=True)
    if (counts == 1).all():
        return claims, grid.along(0, claims.positions), 1
    if grid.sizes[0] > 1 or len(unique) < grid.total or (counts != counts[0]).any():
        k = int(np.flatnonzero(counts > 1)[0])
        one, other = order[begins[k] : begins[k] + 2].tolist()
        raise CorruptRecordingError(
            f"{name}: its OME-XML contradicts itself: at {grid.words(int(unique[k]))} it places page {int(claims.pages[one]):,} of "
            f"{shelf.names[claims.files[one]]} and page {int(claims.pages[other]):,} of {shelf.names[claims.files[other]]}"
        )
    # Prairie View writes SizeT=1 and gives every plane once for each time
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(begins, counts)
    return claims, ranks, int(counts[0])


def _without_repeats(claims: _Claims) -> _Claims:
    """Leave out planes that are given twice for the same page."""
    order = np.lexsort((claims.pages, claims.files, claims.positions))
    ranked = claims.take(order)
    fresh = np.ones(len(order), bool)
    for values in (ranked.positions, ranked.files, ranked.pages):
        fresh[1:] &= values[1:] == values[:-1]
    fresh[1:] = ~fresh[1:]
    return claims.take(np.sort(order[fresh]))  # the order of the XML decides which pass is which time


def _placement(
    claims: _Claims,
    times: np.ndarray,
    passes: int,
    channel: int,
    grid: _Grid,
    shelf: _Shelf,
    name: str,
    allow_missing: bool,
) -> Placement:
    depth, described = grid.sizes[2], grid.sizes[0] * passes
    own = claims
    if grid.sizes[1] > 1:
        chosen = np.flatnonzero(grid.along(1, claims.positions) == channel)
        own, times = claims.take(chosen), times[chosen]
    places = times if depth == 1 else times * depth + grid.along(2, own.positions)
    ready = _ready(own, places, shelf)
    ranked = places[ready]
    wrong = np.flatnonzero(ranked != np.arange(len(ranked)))
    num_planes = int(wrong[0]) if len(wrong) else len(ranked)  # up to the first place without a plane
    num_samples = num_planes // depth
    lack = "" if num_samples == described else _lack(own, places, num_planes, channel, depth, shelf)
    if not num_samples and not (allow_missing and len(ranked)):
        raise shelf.error(
            f"{name}: its OME-XML describes {described:,} {'samples' if described > 1 else 'sample'}, but none is complete: {lack}. "
            "To read the pages as they are: open(..., format='tiff')"
        )
    end = num_samples * depth
    kept = own.take(slice(0, end) if isinstance(ready, slice) else ready[:end])
    numbers = np.arange(num_samples)
    later = 0
    if lack and not isinstance(ready, slice):
        seen, counts = np.unique(ranked // depth, return_counts=True)
        whole = seen[counts == depth]
        later = len(whole) - num_samples
        if allow_missing and later:
            kept, numbers, later = own.take(ready[np.isin(ranked // depth, whole)]), whole, 0
    planes = shelf.plane_set(kept.files, kept.pages)
    return Placement(planes, len(numbers), described, passes, lack, numbers, later)


def _ready(claims: _Claims, places: np.ndarray, shelf: _Shelf) -> np.ndarray | slice:
    """Return which planes are in files that are there, in the order of their places."""
    in_order = bool((places[1:] > places[:-1]).all())
    if in_order and shelf.is_complete:
        return slice(None)  # slices give views, so no array of a million planes is copied
    ready = np.flatnonzero(shelf.is_there[claims.files])
    return ready if in_order else ready[np.argsort(places[ready], kind="stable")]


def _lack(claims: _Claims, places: np.ndarray, place: int, channel: int, depth: int, shelf: _Shelf) -> str:
    """Return in words why the plane at a place is not there."""
    absent = claims.files[places == place]
    where = f"T={place // depth}, C={channel}, Z={place % depth}"
    return shelf.lack(int(absent[0]) if len(absent) else None, where)

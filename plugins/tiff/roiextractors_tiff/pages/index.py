"""The pages of a recording of one or several TIFF files, numbered through."""

from __future__ import annotations

import bisect
import functools
import itertools
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    DeclarationError,
    RangeError,
)
from roiextractors_core.io import Budget, as_native, run_on_cores, silenced, warn

from .chain import Chain
from .directory import HEADER_BYTES, Directory, Tags, TiffFile
from .file import PagedFile, find_layout
from .page import Page, differing_page
from .regular import RegularPages
from .sequence import FolderPaths, SequenceFiles
from .walked import Selection

__all__ = ["PageIndex"]

Path = str | os.PathLike[str]

_FILES_A_TASK = 64
_MAX_WARNINGS = 3
_MAX_ZERO_BYTES = 1 << 28  # of pages of zeros at the end that are counted
_MAX_SECONDARY = 1 << 14  # pages marked as secondary before the first that is not
_MIN_SHARED_PAGE = 1 << 17  # below this, threads that open files wait for each other longer than they read


class PageIndex(ABC):
    """The pages of a recording of one or several TIFF files, numbered through, and their reads.

    Make one by :meth:`of`.  A file whose pages are at equal distances is recognized by its first, its last and some
    sampled pages, and not walked; each page is checked when it is read.  Otherwise the chain of directories is followed once.

    Attributes
    ----------
    paths : sequence of str
    notes : tuple of str
        What was left out because a file is damaged, or its end is missing.
    damaged : mapping
        The same by the number of the file, from 0: pages of this file may be missing at its end, so that the pages
        of the next file do not follow those of this one.  Files that are opened when they are read are not in it.
    num_zero_pages : int
        Pages of zeros at the end of the last file, which may never have been written.
    absent : tuple of int
        Numbers of the files that do not exist, from 0, where ``names`` were given; they may be fewer than
        are missing otherwise.

    References
    ----------
    TIFF Revision 6.0, Adobe 1992; BigTIFF design, 2007; ImageJ's TiffDecoder for stacks of one directory.
    """

    paths: Sequence[str]
    notes: tuple[str, ...] = ()
    num_zero_pages = 0
    damaged: Mapping[int, str] = MappingProxyType({})
    absent: tuple[int, ...] = ()

    def __init__(self, paths: Sequence[str], page: Page, counts: Sequence[int] | np.ndarray) -> None:
        self.paths = paths
        self._page = page
        self._edges = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._num_pages = int(self._edges[-1])
        self._whole = slice(0, page.rows), slice(0, page.columns)
        self._single_shape = self._shape(1, *self._whole)

    @staticmethod
    def of(
        paths: Path | Sequence[Path],
        *,
        span: tuple[int, int] | None = None,
        pages_per_file: Sequence[int] | np.ndarray | None = None,
        names: Collection[str] | None = None,
        folder: Path | None = None,
        secondary: bool = False,
        kind: Page | None = None,
    ) -> PageIndex:
        """Make the index of one file or of several.

        Parameters
        ----------
        paths : str, os.PathLike or a sequence of them
            In the order of the recording.
        span : tuple of int, optional
            First page and last page (exclusive) within each file; the chain is then walked.
        pages_per_file : sequence of int, optional
            How many pages each file contains, where a vendor's file says so.  One file is opened at once, and every
            other at its first read; it must then contain pages like the first one's, and as many as stated here.
        names : collection of str, optional
            With ``pages_per_file``: the names in the folder, from one listing of it; a path whose name is not
            among them is in :attr:`absent`.  Without it no file is looked for before it is read.
        folder : str or os.PathLike, optional
            The folder of ``paths``, which are then names: half a million of them take half the memory of whole paths.
        secondary : bool
            Whether pages that the file marks as reduced images (thumbnails, levels of a pyramid) or as masks are counted,
            as in formats that number all directories of a file.  By default they are passed over.
        kind : Page, optional
            Take the pages with these properties alone; by default, pages that differ are an error.

        Raises
        ------
        CorruptRecordingError, TruncatedRecordingError
            The message names file, page and offset.
        UnsupportedRecordingError
            Pixels of a type that is not supported.
        SourceNotFoundError
            A file does not exist; with ``pages_per_file``, when it is read.
        DeclarationError
            ``pages_per_file`` does not fit ``paths``, or is given together with ``span``.

        Warns
        -----
        IncompleteRecordingWarning
            A file is damaged, or its end is missing; the whole pages before are read.
        """
        several = (paths,) if isinstance(paths, str | os.PathLike) else paths
        given: Sequence[str] = tuple(os.fspath(path) for path in several)
        given = given if folder is None else FolderPaths(folder, given)
        if pages_per_file is None:
            return _OpenIndex(given, Selection(span, secondary, kind))
        if span is not None or kind is not None:
            raise DeclarationError("span and pages_per_file were both given; pass one of them")
        return _SequenceIndex(given, _checked_counts(len(given), pages_per_file), names)

    @property
    def num_pages(self) -> int:
        """Pages in all files."""
        return self._num_pages

    @property
    def pages_per_file(self) -> tuple[int, ...]:
        """Pages in each file."""
        return tuple(np.diff(self._edges).tolist())

    @property
    def page_shape(self) -> tuple[int, int]:
        """``(rows, columns)``."""
        return self._page.rows, self._page.columns

    @property
    def is_plain(self) -> bool:
        """Whether the bytes in the files are the pixels, row by row."""
        return self._page.is_plain

    @property
    def samples_per_pixel(self) -> int:
        """Values of one pixel."""
        return self._page.samples

    @property
    def dtype(self) -> np.dtype[Any]:
        """The pixels' dtype, in native byte order."""
        return np.dtype(self._page.dtype).newbyteorder("=")

    @property
    def first_tags(self) -> Mapping[int, Any]:
        """The decoded tags of the first page."""
        return self.tags(0)

    def tags(self, page: int) -> Mapping[int, Any]:
        """Return the tags of a page by code, decoded when asked for: text as bytes, one number, or a tuple."""
        wanted = self._resolve(np.array([page]))
        number = int(self._owners(wanted)[0])
        return Tags(self._file(number).directory(int(wanted[0] - self._edges[number])))

    def descriptions(self, pages: range | slice | Sequence[int] | np.ndarray) -> list[bytes]:
        """Return each page's own ImageDescription up to its first NUL; empty where it has none."""
        wanted, places = np.unique(self._resolve(pages), return_inverse=True)
        owners = self._owners(wanted)
        local = wanted - self._edges[owners]
        texts: list[bytes] = []
        budgets: dict[int, Budget] = {}  # of each file: its descriptions are not longer than the file
        for number, page in zip(owners.tolist(), local.tolist(), strict=True):
            file = self._file(number)
            if number not in budgets:
                budgets[number] = Budget(file.tiff.size, file.tiff.name, "bytes of descriptions")
            texts.append(file.description(page, budgets[number]))
        return [texts[k] for k in places.tolist()]

    def read(
        self,
        pages: range | slice | Sequence[int] | np.ndarray,
        rows: slice = slice(None),
        columns: slice = slice(None),
    ) -> np.ndarray:
        """Return pages as a new array.

        Parameters
        ----------
        pages : range, slice or array of int
            In any order, with repeats.
        rows, columns : slice
            With step 1.

        Returns
        -------
        numpy.ndarray
            ``(pages, rows, columns)`` or ``(pages, rows, columns, samples)``, native byte order.

        Raises
        ------
        RangeError
            A page is outside the recording.
        CorruptRecordingError, TruncatedRecordingError, SourceNotFoundError
            A page is not as expected, or its file does not exist.
        """
        wanted = self._resolve(pages)
        rows, columns = _within(rows, self._page.rows), _within(columns, self._page.columns)
        if len(wanted) == 1 and (rows, columns) == self._whole:
            single = self._read_one(wanted.item())
            if single is not None:
                return single
        result = np.empty(self._shape(len(wanted), rows, columns), self._page.dtype)
        if result.size:
            self._read_into(result, wanted, rows, columns)
        return as_native(result)

    @abstractmethod
    def close(self) -> None:
        """Release the files."""

    @abstractmethod
    def _file(self, number: int) -> PagedFile:
        """Return a file, opened."""

    def _read_one(self, page: int) -> np.ndarray | None:
        """Read one whole page in a short way; None where there is none."""
        return None

    def _read_into(self, result: np.ndarray, pages: np.ndarray, rows: slice, columns: slice) -> None:
        for place, number, local in self._by_file(pages):
            self._file(number).read_into(result[place], local, rows, columns)

    def _shape(self, count: int, rows: slice, columns: slice) -> tuple[int, ...]:
        tail = (self._page.samples,) if self._page.samples > 1 else ()
        return (count, rows.stop - rows.start, columns.stop - columns.start, *tail)

    def _resolve(self, pages: Any) -> np.ndarray:
        """Return page numbers as int64."""
        if isinstance(pages, slice):
            pages = range(*pages.indices(self.num_pages))
        if isinstance(pages, range) and len(pages) == 1 and 0 <= pages.start < self.num_pages:
            return np.array([pages.start], np.int64)
        # Single frames, whose bookkeeping outweighs their read
        is_single = isinstance(pages, np.ndarray) and pages.shape == (1,) and pages.dtype == np.int64
        if is_single and 0 <= pages.item() < self._num_pages:
            return np.asarray(pages)
        wanted = (
            np.arange(pages.start, pages.stop, pages.step, dtype=np.int64)
            if isinstance(pages, range)
            else np.atleast_1d(np.asarray(pages))
        )
        if wanted.size == 0:
            return np.empty(0, np.int64)
        if wanted.dtype.kind not in "iu" or wanted.min() < 0 or wanted.max() >= self.num_pages:
            raise RangeError(
                f"pages must be whole numbers from 0 to {self.num_pages - 1:,}, got {wanted.min():,} to {wanted.max():,}"
            )
        return wanted.astype(np.int64)

    def _owners(self, pages: np.ndarray) -> np.ndarray:
        """Return the number of each page's file."""
        return np.asarray(np.searchsorted(self._edges, pages, side="right") - 1)

    def _by_file(self, pages: np.ndarray) -> Iterator[tuple[slice, int, np.ndarray]]:
        """Yield runs of pages in one file: their place among the pages, the file's number, and their numbers in it."""
        owners = self._owners(pages)
        cuts = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), len(pages)]
        for a, b in itertools.pairwise(cuts):
            number = int(owners[a])
            yield slice(a, b), number, pages[a:b] - self._edges[number]


class _OpenIndex(PageIndex):
    """All files are opened and their pages counted when the index is made."""

    def __init__(self, paths: Sequence[str], selection: Selection) -> None:
        self._selection = selection
        opened: list[PagedFile] = []
        damaged: dict[int, str] = {}
        for number, path in enumerate(paths):
            tiff = TiffFile(path)  # one file after the other: of a thousand files few stay open
            first, which = _first_directory(tiff, selection)
            page = Page.of(first)
            if opened and page != opened[0].page:
                raise differing_page(opened[0].page, first)
            layout, note = find_layout(first, page, which)
            opened.append(PagedFile(first, page, layout))
            if note:
                damaged[number] = note
        _warn_of_damage(damaged)
        self._files = tuple(opened)
        super().__init__(paths, page, [file.layout.count for file in opened])
        beyond = [f for f in opened if isinstance(f.layout, RegularPages) and f.layout.is_beyond_offsets]
        self.notes = (*damaged.values(), *map(_wrapped, beyond[:_MAX_WARNINGS]))
        if len(opened) - 1 not in damaged:
            self.num_zero_pages = _zero_pages(opened[-1])
        if self.num_zero_pages:
            words = f"{opened[-1].tiff.name} ends in zeros: its last {self.num_zero_pages:,} of {opened[-1].layout.count:,} pages are 0 throughout. "
            words += "If the recording was interrupted, they were never written"
            warn(words)
            self.notes += (words,)
        self.damaged = MappingProxyType(damaged)
        self._starts: list[int] = self._edges[:-1].tolist()

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _file(self, number: int) -> PagedFile:
        return self._files[number]

    def _read_one(self, page: int) -> np.ndarray | None:
        number = bisect.bisect_right(self._starts, page) - 1
        result = np.empty(self._single_shape, self._page.dtype)
        return as_native(result) if self._files[number].read_one(result, page - self._starts[number]) else None

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopen, (tuple(self.paths), self._selection))


class _SequenceIndex(PageIndex):
    """The number of pages of each file is given, and a file is opened at its first read."""

    def __init__(self, paths: Sequence[str], counts: np.ndarray, names: Collection[str] | None) -> None:
        if names is not None:
            known = names if isinstance(names, Set | Mapping) else frozenset(names)
            self.absent = tuple(k for k, path in enumerate(paths) if os.path.basename(path) not in known)
        # The first file that exists is the model; when none does, the error names file 0
        model = next((k for k, absent in enumerate(itertools.chain(self.absent, [-1])) if k != absent), 0)
        self._files = SequenceFiles(paths, counts, model if model < len(paths) else 0)
        super().__init__(paths, self._files.page, counts)
        self._counts = counts

    def close(self) -> None:
        self._files.close()

    def _file(self, number: int) -> PagedFile:
        return self._files[number]

    def _read_into(self, result: np.ndarray, pages: np.ndarray, rows: slice, columns: slice) -> None:
        """Read files of one page whole, on all cores where that is worth it, and the others page by page."""
        owners = self._owners(pages)
        alone = self._counts[owners] == 1
        cuts = [0, *(np.flatnonzero(np.diff(alone)) + 1).tolist(), len(pages)]
        for a, b in itertools.pairwise(cuts):
            if not alone[a]:
                super()._read_into(result[a:b], pages[a:b], rows, columns)
                continue
            tasks = [
                functools.partial(self._read_files, result[a:b][part], owners[a:b][part], rows, columns)
                for part in (slice(k, k + _FILES_A_TASK) for k in range(0, b - a, _FILES_A_TASK))
            ]
            is_shared = self._page.nbytes >= _MIN_SHARED_PAGE and len(tasks) > 1
            run_on_cores(tasks) if is_shared else [task() for task in tasks]

    def _read_files(self, result: np.ndarray, numbers: np.ndarray, rows: slice, columns: slice) -> None:
        """Read files of one page each."""
        every = slice(0, self._page.columns)
        scratch = None if columns == every else np.empty(self._shape(1, rows, every)[1:], result.dtype)
        for frame, number in zip(result, numbers.tolist(), strict=True):
            room = frame if scratch is None else scratch
            if not self._files.read_alike(number, room, rows.start):
                super()._read_into(frame[np.newaxis], self._edges[number : number + 1], rows, columns)
            elif scratch is not None:
                frame[...] = scratch[:, columns]

    def __reduce__(self) -> tuple[Any, ...]:
        # Half a million paths differ in their numbers alone, and pack to a hundredth
        paths = zlib.compress("\0".join(self.paths).encode("utf-8", "surrogateescape"), 1)
        return (_reopen_sequence, (paths, zlib.compress(self._counts.tobytes(), 1), self.absent))


def _reopen(paths: Sequence[str], selection: Selection) -> PageIndex:
    with silenced():  # the warnings were given when the index was first made
        return _OpenIndex(paths, selection)


def _reopen_sequence(packed: bytes, counts: bytes, absent: tuple[int, ...]) -> PageIndex:
    paths = zlib.decompress(packed).decode("utf-8", "surrogateescape").split("\0")
    missing = frozenset(absent)
    names = [os.path.basename(path) for k, path in enumerate(paths) if k not in missing] if absent else None
    return PageIndex.of(paths, pages_per_file=np.frombuffer(zlib.decompress(counts), np.int64), names=names)


def _checked_counts(num_files: int, pages_per_file: Sequence[int] | np.ndarray) -> np.ndarray:
    counts = np.asarray(pages_per_file)
    if counts.shape != (num_files,) or counts.dtype.kind not in "iu" or not num_files or counts.min() < 1:
        raise DeclarationError(
            f"pages_per_file must be {num_files:,} whole numbers of 1 or more, one per file, got {pages_per_file!r:.80}"
        )
    return counts.astype(np.int64)


def _first_directory(tiff: TiffFile, selection: Selection) -> tuple[Directory, Selection]:
    """Return the directory of the recording's first page; and the selection, which takes all pages where all are secondary."""
    first = tiff.directory(tiff.first, 0)
    if selection.span is None and selection.takes(first):
        return first, selection
    begin = 0 if selection.span is None else selection.span[0]
    last = None if selection.span is not None else begin + _MAX_SECONDARY
    for number, (offset, table) in enumerate(itertools.islice(iter(Chain(tiff)), begin, last), begin):
        if selection.takes(Directory(tiff, offset, table, 0, number)):
            return tiff.directory(offset, number), selection
    if selection.span is None and selection.kind is None:
        # Some programs mark every page so, and then it means nothing
        return first, replace(selection, secondary=True)
    raise CorruptRecordingError(
        f"{tiff.name} has no page {begin:,}; its first directory should be at byte {tiff.first:,}"
    )


def _wrapped(file: PagedFile) -> str:
    return (
        f"{file.tiff.name} has {file.tiff.size:,} bytes, but offsets beyond 4 GiB do not fit into classic TIFF; "
        "its pages are at equal distances, and those beyond 4 GiB were found from that"
    )


def _zero_pages(file: PagedFile) -> int:
    """Return how many pages at the end of a file are 0 throughout; 0 if all are, as nothing shows where a recording ended.

    A program that writes the directories first leaves such pages when it is interrupted.  A camera may also have been dark.
    """
    layout, nbytes = file.layout, file.page.nbytes
    if layout.count < 2 or not layout.is_one_block or not file.page.is_plain:
        return 0

    def is_zero(page: int) -> bool:
        start = int(layout.data_offsets(np.array([page]))[0])
        return start >= HEADER_BYTES and file.tiff.file.end_of_data(start, start + nbytes) == start

    last = layout.count - 1
    if not is_zero(last):  # nearly always
        return 0
    # A file of zeros alone may have 100,000 pages: its first one and three between are enough for it
    if all(is_zero(last * k // 4) for k in range(4)):
        return 0
    most = min(layout.count, 1 + _MAX_ZERO_BYTES // max(1, nbytes))
    return next((number for number in range(1, most) if not is_zero(last - number)), most if most < layout.count else 0)


def _warn_of_damage(damaged: Mapping[int, str]) -> None:
    """Warn of damaged files: of each when they are few, else of the first and their number."""
    for note in itertools.islice(damaged.values(), _MAX_WARNINGS):
        warn(note)
    if len(damaged) > _MAX_WARNINGS:
        warn(f"{len(damaged) - _MAX_WARNINGS:,} further files are damaged, or their end is missing")


def _within(part: slice, length: int) -> slice:
    start, stop, _ = part.indices(length)
    return slice(start, max(start, stop))

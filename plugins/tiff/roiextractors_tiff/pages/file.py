"""One file of a recording: its first directory, where its pages are, and the reads of them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from roiextractors_core.io import Budget, StoredFrames, num_cores, run_on_cores

from .decoder import Decoder
from .directory import Directory, TiffFile
from .layout import ImageJStack, Layout
from .page import Page, differing_page
from .regular import MAX_GAP, RegularPages, find_regular_pages
from .walked import Selection, WalkedPages, walk

__all__ = ["PagedFile", "find_layout"]

Task = Callable[[], None]

_MIN_TASK_SHIFT = 23  # a thread is worth its start for 8 MiB and more
_MAX_TASKS = 64
_DESCRIPTION = 270


def find_layout(first: Directory, page: Page, selection: Selection | None = None) -> tuple[Layout, str]:
    """Return where the pages of a file are, and a note when its end is missing; the file is walked as a last resort."""
    selection = selection or Selection()
    if selection.span is None and selection.kind is None:
        stack, note = ImageJStack.find(first, page)
        if stack is not None:
            return stack, note
        regular, note = find_regular_pages(first, page, secondary=selection.secondary)
        if regular is not None:
            return regular, note
    return walk(first.tiff, page, selection)


class PagedFile:
    """One file of the recording.

    Parameters
    ----------
    first : Directory
        Of its first page.
    page : Page
        The properties of all pages.
    layout : Layout
    """

    __slots__ = ("_decoder", "first", "layout", "page", "tiff")

    def __init__(self, first: Directory, page: Page, layout: Layout) -> None:
        self.tiff: TiffFile = first.tiff
        self.first, self.page, self.layout = first, page, layout
        self._decoder: Decoder | None = None

    def directory(self, page: int) -> Directory:
        """Read the directory of a page; the first one was read when the file was opened."""
        if isinstance(self.layout, RegularPages):
            offset = self.layout.places(page)[0]
        else:
            offset = int(self.layout.table_offsets(np.array([page]))[0])
        return self.first if page == 0 and offset == self.first.offset else self.tiff.directory(offset, page)

    def description(self, page: int, budget: Budget) -> bytes:
        """Read a page's ImageDescription up to its first NUL; empty where it has none.

        Parameters
        ----------
        page : int
        budget : Budget
            Of bytes: a damaged file may state the same megabytes for each of its pages.
        """
        text = self.layout.description(page) if isinstance(self.layout, RegularPages) and page else None
        if text is not None:
            return text
        directory = self.directory(page)
        if _DESCRIPTION not in directory.entries:
            return b""
        if not isinstance(self.layout, ImageJStack):  # of which all pages have one directory
            budget.spend(directory.place(_DESCRIPTION)[1])
        value = directory.value(_DESCRIPTION)
        return value if isinstance(value, bytes) else b""

    def read_into(self, result: np.ndarray, pages: np.ndarray, rows: slice, columns: slice) -> None:
        """Fill an array of the file's byte order with pages of this file, in any order, with repeats."""
        if not self.layout.is_one_block:
            self._decode(result, pages, rows, columns)
        elif (rows, columns) == (slice(0, self.page.rows), slice(0, self.page.columns)):
            self._read_whole(result, pages)
        else:
            self._read_parts(result, pages, rows, columns)

    def read_one(self, result: np.ndarray, page: int) -> bool:
        """Fill an array with one whole page, and check its directory by the same read; False if it is not one block.

        A short way for players and for loops over single frames, where the bookkeeping of the general one outweighs the read.
        """
        layout = self.layout
        if not isinstance(layout, RegularPages):
            if layout.is_one_block:
                self.tiff.file.read_into([result], int(layout.data_offsets(np.array([page]))[0]))
            return layout.is_one_block
        at, data = places = layout.places(page)
        table = bytearray(layout.width)
        gap = data - at - layout.width
        if page and 0 <= gap <= MAX_GAP:
            self.tiff.file.read_into([table, bytearray(gap), result] if gap else [table, result], at)
        else:
            self.tiff.file.read_each([table, result], [at, data])
        if not layout.is_as_predicted(page, table, places):
            raise differing_page(self.page, self.tiff.directory(at, page))
        return True

    def close(self) -> None:
        """Release the file."""
        self.tiff.file.close()

    def _decode(self, result: np.ndarray, pages: np.ndarray, rows: slice, columns: slice) -> None:
        layout = self.layout
        if not isinstance(layout, WalkedPages):
            raise TypeError(f"expected pages that were walked, got {type(layout).__name__}")
        if self._decoder is None:
            self._decoder = Decoder(self.tiff, self.first, self.page)
        tasks: list[Task] = [
            self._decoder.task(layout, page, frame, rows, columns)
            for page, frame in zip(pages.tolist(), result, strict=True)
        ]
        run_on_cores([_in_turn(group) for group in _dealt(tasks) if group])

    def _read_parts(self, result: np.ndarray, pages: np.ndarray, rows: slice, columns: slice) -> None:
        """Read a part of plain pages: no other rows, and no memory for other columns."""
        native = result.view(np.dtype(self.page.dtype).newbyteorder("="))  # bytes as they are: the caller swaps them
        frame = (self.page.rows, self.page.columns, *result.shape[3:])
        stored = StoredFrames([self.tiff.file], shape=frame, dtype=native.dtype)
        stored.read_into(native, self.layout.data_offsets(pages), rows, columns)
        self._check(pages)

    def _read_whole(self, result: np.ndarray, pages: np.ndarray) -> None:
        """Read whole plain pages: runs of them by few large reads on all cores, the others one by one."""
        offsets = self.layout.data_offsets(pages)
        step = result[0].nbytes
        distances = np.diff(offsets)
        ends = np.flatnonzero((distances < step) | (distances - step > MAX_GAP)) + 1
        cuts = [0, *ends.tolist(), len(pages)]
        tasks: list[Task] = []
        for a, b in itertools.pairwise(cuts):
            parts = min(num_cores(), max(1, (b - a) * step >> _MIN_TASK_SHIFT)) if b - a > 1 else 0
            marks = [a + (b - a) * k // parts for k in range(parts + 1)] if parts else []
            tasks += [
                functools.partial(self._read_run, pages[i:j], offsets[i:j], result[i:j])
                for i, j in itertools.pairwise(marks)
                if i < j
            ]
        alone = np.asarray(cuts[:-1], np.int64)[np.diff(cuts) == 1]
        for some in np.array_split(alone, num_cores()) if len(alone) else ():
            frames = [result[k] for k in some.tolist()]
            tasks.append(functools.partial(self._read_apart, pages[some], offsets[some], frames))
        if len(tasks) > _MAX_TASKS:  # more threads than cores only wait for each other
            tasks = [_in_turn(group) for group in _dealt(tasks)]
        run_on_cores(tasks) if result.nbytes >= 1 << _MIN_TASK_SHIFT else [task() for task in tasks]

    def _read_run(self, pages: np.ndarray, offsets: np.ndarray, result: np.ndarray) -> None:
        """Read pages that follow each other, with what is between them, by one call."""
        step = result[0].nbytes
        if len(pages) == 1 or (offsets[1:] - offsets[:-1] == step).all():
            self.tiff.file.read_into([result], int(offsets[0]))
        else:
            # The directories between the pixels are dropped: preadv of many buffers is faster than many calls
            gaps = [np.empty(n, np.uint8) for n in (offsets[1:] - offsets[:-1] - step).tolist()]
            buffers = [b for pair in itertools.zip_longest(result, gaps) for b in pair if b is not None]
            self.tiff.file.read_into(buffers, int(offsets[0]))
        self._check(pages)

    def _read_apart(self, pages: np.ndarray, offsets: np.ndarray, frames: list[np.ndarray]) -> None:
        """Read pages that are far from each other, each together with its directory where that is just before the pixels."""
        layout = self.layout
        gap = layout.gap if isinstance(layout, RegularPages) else -1
        if not isinstance(layout, RegularPages) or not 0 <= gap <= MAX_GAP:
            for frame, offset in zip(frames, offsets.tolist(), strict=True):
                self.tiff.file.read_into([frame], offset)
            self._check(pages)
            return
        tables, between = np.empty((len(pages), layout.width), np.uint8), bytearray(gap)
        for page, frame, table, offset in zip(pages.tolist(), frames, tables, offsets.tolist(), strict=True):
            ahead = [table, between] if gap else [table]
            self.tiff.file.read_into([*ahead, frame] if page else [frame], offset - (layout.width + gap if page else 0))
        layout.check(self.page, pages, tables[pages > 0])

    def _check(self, pages: np.ndarray) -> None:
        """Raise when a page that was predicted is not there; pages that were walked have been seen."""
        if isinstance(self.layout, RegularPages):
            self.layout.check(self.page, pages)


def _dealt(tasks: Sequence[Task]) -> list[Sequence[Task]]:
    """Deal tasks out to the cores."""
    return [tasks[k :: num_cores()] for k in range(num_cores())]


def _in_turn(tasks: Sequence[Task]) -> Task:
    def run() -> None:
        for task in tasks:
            task()

    return run

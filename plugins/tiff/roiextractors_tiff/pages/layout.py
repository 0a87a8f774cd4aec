"""Where the pages of one file are: what every layout answers, and the layout of ImageJ's large stacks."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from roiextractors_core.errors import CorruptRecordingError

from .directory import HEADER_BYTES, UIC2, Directory
from .page import Page, block_of

__all__ = ["ImageJStack", "Layout"]


class Layout(ABC):
    """Where the pages of one file are.

    Attributes
    ----------
    count : int
        Number of pages.
    """

    count: int

    @property
    def is_one_block(self) -> bool:
        """Whether the pixels of every page are stored plainly in one block of bytes."""
        return True

    @abstractmethod
    def table_offsets(self, pages: np.ndarray) -> np.ndarray:
        """Return the offsets of the pages' directories, int64."""

    @abstractmethod
    def data_offsets(self, pages: np.ndarray) -> np.ndarray:
        """Return the offsets of the pages' blocks of pixels, int64."""


class ImageJStack(Layout):
    """One directory, and all images one after the other behind it.

    ImageJ writes stacks above 4 GiB so, in classic TIFF: offsets of 32 bits could not point to all pages.  MetaMorph
    writes all of its stacks so, and numbers their planes in a tag of its own.

    References
    ----------
    ImageJ, ``ij.io.TiffDecoder`` and ``ij.io.ImageWriter``.
    """

    def __init__(self, table: int, data: int, step: int, count: int) -> None:
        self.count = count
        self._table, self._data, self._step = table, data, step

    @classmethod
    def find(cls, first: Directory, page: Page) -> tuple[ImageJStack | None, str]:
        """Return the stack that a file's only directory describes, or None; and a note when images are missing.

        Raises
        ------
        CorruptRecordingError
            The directory and the description contradict each other.
        """
        claimed = 1 if first.next or not page.is_plain else _claimed_images(first)
        data, length = block_of(first) if claimed > 1 else (-1, 0)
        if data < 0:
            return None, ""
        tiff = first.tiff
        if data < HEADER_BYTES or 0 < length < page.nbytes:
            raise CorruptRecordingError(
                f"{tiff.name}: a page has {page.nbytes:,} bytes of pixels, but its first directory declares {length:,} at byte {data:,}"
            )
        count = max(1, min(claimed, (tiff.size - data) // page.nbytes))
        note = "" if count == claimed else f"{tiff.name} claims {claimed:,} images but contains {count:,}"
        return cls(first.offset, data, page.nbytes, count), note

    def table_offsets(self, pages: np.ndarray) -> np.ndarray:
        return np.full(len(pages), self._table, np.int64)

    def data_offsets(self, pages: np.ndarray) -> np.ndarray:
        return np.asarray(self._data + pages * self._step)


def _claimed_images(first: Directory) -> int:
    """Return how many images an ImageJ description or MetaMorph's tag states; 1 for any other file."""
    if UIC2 in first.entries:
        return max(1, int(first.entries[UIC2][1]))
    description = first.value(270) if first.begins_with(270, b"ImageJ=") else None
    for line in description.splitlines() if isinstance(description, bytes) else ():
        number = line.removeprefix(b"images=").strip()
        if line.startswith(b"images=") and len(line) < 27 and number.isdigit():
            return int(number)
    return 1

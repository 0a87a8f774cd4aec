"""The TIFF files listed in a PVScan XML: which of them exist, by one listing, and the index of their pages."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from roiextractors_tiff.pages import PageIndex

from roiextractors_core.errors import (
    RecordingError,
    SourceError,
    SourceReadError,
    printable,
)
from roiextractors_core.io import silenced

from .pvscan import Channel, Scan

__all__ = ["NamedFiles"]

# Files of one page differ in size by the lengths of the texts in them; one that is smaller by more bytes may be truncated.
_MAX_TEXT_DIFFERENCE = 200


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """The files listed in the XML.

    Attributes
    ----------
    folder : str
    names : tuple of str
    counts : numpy.ndarray
        The number of pages in each file, according to the XML.
    sizes : numpy.ndarray
        Bytes, -1 for a missing file; 0 for an existing file if sizes were not requested.
    """

    folder: str
    names: tuple[str, ...]
    counts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, scan: Scan, folder: str, *, with_sizes: bool = False) -> NamedFiles:
        """List the folder once, and note which of the files exist."""
        sizes = np.full(len(scan.names), -1, np.int64)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    place = scan.places.get(entry.name)
                    if place is not None:
                        sizes[place] = entry.stat().st_size if with_sizes else 0
        except OSError as error:
            raise SourceReadError(f"the folder {printable(folder)} could not be listed: {error.strerror}") from error
        return cls(folder, scan.names, scan.counts, sizes)

    def path(self, number: int) -> str:
        """Return the expected path of a file."""
        return os.path.join(self.folder, self.names[number])

    @property
    def any_present(self) -> bool:
        """Whether at least one of the files exists."""
        return bool((self.sizes >= 0).any())

    def with_counted_pages(self, channel: Channel) -> NamedFiles:
        """Return the same with the actual page counts of a channel's files with several pages, or with too few bytes."""
        counts, sizes = self.counts.copy(), self.sizes.copy()
        mine = np.unique(channel.files)
        mine = mine[sizes[mine] >= 0]
        small = sizes < np.median(sizes[mine]) - _MAX_TEXT_DIFFERENCE if len(mine) else sizes < 0
        for number in mine[(counts[mine] > 1) | small[mine]].tolist():
            complete = _num_pages(self.path(number))
            counts[number] = min(counts[number], complete) or 1
            if not complete:
                sizes[number] = -1
        return NamedFiles(self.folder, self.names, counts, sizes)

    def has_page(self, channel: Channel) -> np.ndarray:
        """Return for each image of a channel whether its page exists."""
        return np.asarray((self.sizes[channel.files] >= 0) & (channel.pages < self.counts[channel.files]))

    def index(self, channel: Channel, images: np.ndarray) -> tuple[PageIndex, np.ndarray]:
        """Return the page index of the files of some images, and the images' pages in it.

        Parameters
        ----------
        channel : Channel
        images : numpy.ndarray
            Rows of the channel's columns, of any shape.
        """
        files, compact = np.unique(channel.files[images], return_inverse=True)
        counts = self.counts[files]
        names = [self.names[k] for k in files.tolist()]
        index = PageIndex.of(names, folder=self.folder, pages_per_file=counts)
        edges = np.concatenate([[0], np.cumsum(counts)])
        return index, edges[compact.reshape(images.shape)] + channel.pages[images]


def _num_pages(path: str) -> int:
    """Return the number of complete pages in a file; 0 if it cannot be read."""
    try:
        with silenced():
            index = PageIndex.of(Path(path))
    except (RecordingError, SourceError):
        return 0
    index.close()
    return index.num_pages

"""The TIFF files that a PVScan XML names: which are there, by one listing, and the index of their pages."""

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

_TEXTS_DIFFER = 200  # bytes; a file of one page that is smaller than most by more than this is looked into


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """The files that the XML names.

    Attributes
    ----------
    folder : str
    names : tuple of str
    counts : numpy.ndarray
        The pages that each file is said to hold.
    sizes : numpy.ndarray
        Bytes, -1 for a file that is not there; 0 where it is and its size was not asked for.
    """

    folder: str
    names: tuple[str, ...]
    counts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, scan: Scan, folder: str, *, with_sizes: bool = False) -> NamedFiles:
        """List the folder once, and note which of the files are there."""
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
        """Return where a file is or should be."""
        return os.path.join(self.folder, self.names[number])

    @property
    def any_there(self) -> bool:
        """Whether one of the files is there."""
        return bool((self.sizes >= 0).any())

    def listed(self, channel: Channel) -> np.ndarray:
        """Return for each image of a channel whether its file is there."""
        return np.asarray(self.sizes[channel.files] >= 0)

    def looked_into(self, channel: Channel) -> NamedFiles:
        """Return the same with the pages that a channel's files hold indeed: those of several pages, and those that look cut."""
        counts, sizes = self.counts.copy(), self.sizes.copy()
        mine = np.unique(channel.files)
        mine = mine[sizes[mine] >= 0]
        small = sizes < np.median(sizes[mine]) - _TEXTS_DIFFER if len(mine) else sizes < 0
        for number in mine[(counts[mine] > 1) | small[mine]].tolist():
            held = _num_pages(self.path(number))
            counts[number] = min(counts[number], held) or 1
            if not held:
                sizes[number] = -1
        return NamedFiles(self.folder, self.names, counts, sizes)

    def held(self, channel: Channel) -> np.ndarray:
        """Return for each image of a channel whether its page is there."""
        return np.asarray(self.listed(channel) & (channel.pages < self.counts[channel.files]))

    def index(self, channel: Channel, images: np.ndarray) -> tuple[PageIndex, np.ndarray]:
        """Return the index of the files of some images, and the images' pages in it.

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
    """Return how many whole pages a file holds; 0 when it cannot be understood."""
    try:
        with silenced():
            index = PageIndex.of(Path(path))
    except (RecordingError, SourceError):
        return 0
    index.close()
    return index.num_pages

"""The TIFF files listed in a PVScan XML: which of them exist, by one listing, and the index of their pages."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from roiextractors_tiff.pages import PageIndex

from roiextractors_core.errors import (
    RecordingError,
    SourceError,
    SourceReadError,
    printable,
)
from roiextractors_core.io import file_name_key, silenced

from .pvscan import Channel, Scan

__all__ = ["NamedFiles"]

# Files of one page differ in size by the lengths of the texts in them; one that is smaller by more bytes may be truncated.
_MAX_TEXT_DIFFERENCE = 200
_NUM_COMPARED, _MIN_COMPARED = 10, 3
_FRAME = re.compile(r"(.+)_Cycle\d+(?:_\w+)?_Ch\d+_\d+(?:\.ome)?\.tiff?", re.IGNORECASE)


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
    others : int
        The number of files that are not in the XML but have names like those of this recording.
    spellings : mapping of int to str
        The names on disk that differ from those in the XML by the case of letters or the form of accents.
    """

    folder: str
    names: tuple[str, ...]
    counts: np.ndarray
    sizes: np.ndarray
    others: int = 0
    spellings: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, scan: Scan, folder: str, *, with_sizes: bool = False) -> NamedFiles:
        """List the folder once, and note which of the files exist."""
        sizes, strangers = np.full(len(scan.names), -1, np.int64), []
        stem = match[1] if (match := _FRAME.fullmatch(scan.names[0])) else ""
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    place = scan.places.get(entry.name)
                    if place is not None:
                        # The size takes one more system call for each of half a million files
                        sizes[place] = entry.stat().st_size if with_sizes else 0
                    elif entry.name.lower().endswith((".tif", ".tiff")):
                        strangers.append(entry.name)
        except OSError as error:
            raise SourceReadError(f"the folder {printable(folder)} could not be listed: {error.strerror}") from error
        spellings = _other_spellings(scan.names, sizes, strangers)
        for place, name in spellings.items():
            sizes[place] = _size_on_disk(os.path.join(folder, name)) if with_sizes else 0
        frames = [m[1] for name in {*strangers}.difference(spellings.values()) if (m := _FRAME.fullmatch(name))]
        return cls(folder, scan.names, scan.counts, sizes, frames.count(stem), spellings)

    def path(self, number: int) -> str:
        """Return the expected path of a file."""
        return os.path.join(self.folder, self._on_disk(number))

    def _on_disk(self, number: int) -> str:
        return self.spellings.get(number) or self.names[number]

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
        return replace(self, counts=counts, sizes=sizes)

    def with_true_end(self, channel: Channel) -> NamedFiles:
        """Return the same without the pages that are missing at the end, where a recording was interrupted.

        From the last file of a channel backwards, files are looked at until one is complete.
        """
        counts, sizes = self.counts.copy(), self.sizes.copy()
        ordered = channel.files[np.sort(np.unique(channel.files, return_index=True)[1])]
        ordered = ordered[sizes[ordered] >= 0]
        # not the first, which contains the list of all files and is larger
        usual = [_size_on_disk(self.path(number)) for number in ordered[1:_NUM_COMPARED].tolist()]
        smallest = np.median(usual) - _MAX_TEXT_DIFFERENCE if len(usual) > _MIN_COMPARED else np.inf
        for number in ordered[:0:-1].tolist():  # a damaged first file is found when the index is made
            # A file of the usual size is complete and need not be opened
            if counts[number] == 1 and _size_on_disk(self.path(number)) >= smallest:
                break
            complete = _num_pages(self.path(number))
            if complete >= counts[number]:
                break
            counts[number] = complete or 1
            if complete:
                break
            sizes[number] = -1
        return replace(self, counts=counts, sizes=sizes)

    def without(self, numbers: np.ndarray) -> NamedFiles:
        """Return the same without some files."""
        sizes = self.sizes.copy()
        sizes[numbers] = -1
        return replace(self, sizes=sizes)

    def has_page(self, channel: Channel) -> np.ndarray:
        """Return for each image of a channel whether its page exists."""
        return np.asarray((self.sizes[channel.files] >= 0) & (channel.pages < self.counts[channel.files]))

    def index(self, channel: Channel, images: np.ndarray) -> tuple[PageIndex, np.ndarray, np.ndarray]:
        """Return the page index of the files of some images, the images' pages in it, and the number of each of its files.

        Parameters
        ----------
        channel : Channel
        images : numpy.ndarray
            Rows of the channel's columns, of any shape.
        """
        files, compact = np.unique(channel.files[images], return_inverse=True)
        counts = self.counts[files]
        names = [self._on_disk(k) for k in files.tolist()]
        index = PageIndex.of(names, folder=self.folder, pages_per_file=counts)
        edges = np.concatenate([[0], np.cumsum(counts)])
        # The shape of the inverse of np.unique depends on the version of numpy
        return index, edges[compact.reshape(images.shape)] + channel.pages[images], files


def _other_spellings(names: Sequence[str], sizes: np.ndarray, strangers: Sequence[str]) -> dict[int, str]:
    """Return which files that are not in the XML are missing ones, spelled as another system did."""
    missing = np.flatnonzero(sizes < 0).tolist() if strangers else []
    on_disk = {file_name_key(name): name for name in strangers} if missing else {}
    return {number: on_disk[key] for number in missing if (key := file_name_key(names[number])) in on_disk}


def _size_on_disk(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _num_pages(path: str) -> int:
    """Return the number of complete pages in a file; 0 if it cannot be read."""
    try:
        with silenced():
            index = PageIndex.of(Path(path))
    except (RecordingError, SourceError):
        return 0
    index.close()
    return index.num_pages

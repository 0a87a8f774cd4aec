"""Compares the names of TIFF frames with the plane and the time point that the OME-XML in each of them gives."""

from __future__ import annotations

import os
import re

import numpy as np
from roiextractors_tiff.pages import PageIndex

from roiextractors_core.errors import CorruptRecordingError, RecordingError, SourceError, printable

__all__ = ["FrameIdentity"]

_PLANE = re.compile(rb"<Plane\b([^>]*)>")
_NUMBER = re.compile(rb'\bThe([ZT])="(\d{1,9})"')
_NUM_SAMPLED = 7  # a few files spread over the recording show whether its version writes the numbers
_NOT_READ = (-2, -2)
_NOTHING = (-1, -1)


class FrameIdentity:
    """Verifies files when they are first read: a file that was renamed or replaced is refused by its name.

    Not every version of ThorImage writes the numbers; they count where most of some sampled files agree with their names.
    The first file of a recording, which lists all others, is often copied, and is not judged.

    Parameters
    ----------
    index : PageIndex
        The files, one page each: planes vary fastest.
    planes : int
    points : numpy.ndarray
        The time point of each sample, from 0.
    """

    def __init__(self, index: PageIndex, planes: int, points: np.ndarray) -> None:
        self._index, self._planes, self._points = index, planes, points
        self._verified = np.zeros(index.num_pages, bool)
        self._is_trusted: bool | None = None

    def require(self, files: np.ndarray) -> None:
        """Verify files that were not verified before.

        Raises
        ------
        CorruptRecordingError
            The OME-XML of a file gives another frame than its name.
        """
        if self._is_trusted is None:
            self._is_trusted = self._judge()
        if not self._is_trusted:
            return
        for number in np.unique(files[~self._verified[files]]).tolist():
            reason = self._problem(number)
            if reason:
                name = printable(os.path.basename(self._index.paths[number]))
                raise CorruptRecordingError(f"{name} {reason}")
            self._verified[number] = True

    def foreign_files(self) -> list[tuple[int, str]]:
        """Return the files whose contents do not match their names, with the reason; every file is opened."""
        if self._is_trusted is None:
            self._is_trusted = self._judge()
        if not self._is_trusted:
            return []
        return [(k, reason) for k in range(self._index.num_pages) if (reason := self._problem(k))]

    def _judge(self) -> bool:
        count = self._index.num_pages
        sampled = np.unique(np.linspace(0, count - 1, min(count, _NUM_SAMPLED)).round().astype(np.int64)).tolist()
        agreeing = [self._seen(k) == self._named(k) for k in sampled if self._seen(k) not in (_NOTHING, _NOT_READ)]
        # One file may agree by chance; a few renamed files must not turn the check off
        return len(agreeing) > 1 and 2 * sum(agreeing) > len(agreeing)

    def _problem(self, number: int) -> str:
        seen = self._seen(number)
        if seen in (self._named(number), _NOT_READ):
            return ""
        if seen == _NOTHING:
            return (
                "does not contain ThorImage's OME-XML, unlike the other files; another program wrote it, and "
                "its pixels may be those of "
                "another frame"
            )
        return f"identifies itself as plane {seen[0] + 1:,} of time point {seen[1] + 1:,}; it was renamed or replaced"

    def _named(self, number: int) -> tuple[int, int]:
        sample, plane = divmod(number, self._planes)
        return plane, int(self._points[sample])

    def _seen(self, number: int) -> tuple[int, int]:
        try:
            text = self._index.descriptions([number])[0]
        except (RecordingError, SourceError):
            return _NOT_READ  # a damaged file: reported when its pixels are read
        # The first file, which lists all others, is often copied
        if b"<TiffData" in text:
            return _NOT_READ
        match = _PLANE.search(text)
        numbers = {key: int(value) for key, value in _NUMBER.findall(match[1])} if match else {}
        return (numbers[b"Z"], numbers[b"T"]) if len(numbers) == 2 else _NOTHING

"""The files of a ThorImage recording: one look at the folder, and what each name stands for."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceKindError,
    SourceNotFoundError,
    SourcePermissionError,
    SourceReadError,
    TruncatedRecordingError,
    printable,
)

__all__ = ["Folder", "FrameGrid"]

_FRAME = re.compile(r"^((.+)_(\d{1,9})_(\d{1,9})_(\d{1,9})_(\d{1,9})\.tiff?)$", re.MULTILINE | re.IGNORECASE)
_RAW = re.compile(r"^(Image_(\d{1,9})_(\d{1,9})\.raw)$", re.MULTILINE | re.IGNORECASE)
_STORE = re.compile(r"^(Image_scan_\d+_region_\d+.*\.tiff?)$", re.MULTILINE | re.IGNORECASE)
_MOST_EMPTY = 64

Place = tuple[int, int]


class Folder:
    """The names in a recording's folder, listed once and looked at no closer.

    Parameters
    ----------
    path : str
        The folder.
    names : sequence of str, optional
        Take these alone.

    Raises
    ------
    SourceNotFoundError, SourcePermissionError, SourceReadError
        The folder cannot be listed.
    """

    def __init__(self, path: str, names: Sequence[str] | None = None) -> None:
        self.path = path
        listing = _listed(path)
        self._names = "\n".join(listing if names is None else names)
        beside = {name.lower(): name for name in listing if name[-4:].lower() in (".xml", ".txt")}
        self.experiment = beside.get("experiment.xml")
        self.timing = beside.get("timing.txt")
        self._frames = _FRAME.findall(self._names)
        self.raw: dict[Place, str] = {(int(site), int(tile)): name for name, site, tile in _RAW.findall(self._names)}

    @property
    def name(self) -> str:
        """The folder's name, safe to print."""
        return printable(os.path.basename(self.path) or self.path)

    @property
    def has_frames(self) -> bool:
        """Whether a file is named as a TIFF frame."""
        return bool(self._frames)

    @property
    def stores(self) -> tuple[str, ...]:
        """Large TIFF files that hold a whole region."""
        return tuple(_STORE.findall(self._names))

    def frames(self, channels: Sequence[str]) -> FrameFiles:
        """Return the TIFF frames of these channels; of all where none of them has any."""
        wanted = set(channels)
        found = [row for row in self._frames if row[1] in wanted] or self._frames
        return FrameFiles.of(found, channels)


@dataclass(frozen=True)
class FrameFiles:
    """TIFF frames by name: for each file its channel, site, tile, plane and time point."""

    names: tuple[str, ...]
    channels: tuple[str, ...]
    owners: np.ndarray
    numbers: np.ndarray
    digits: int

    @classmethod
    def of(cls, rows: Sequence[tuple[str, ...]], order: Sequence[str]) -> FrameFiles:
        """Take the names apart."""
        names, prefixes, *numbers = zip(*rows, strict=True)
        present = set(prefixes)
        channels = tuple(name for name in order if name in present) or tuple(sorted(present))
        place = {name: k for k, name in enumerate(channels)}
        table = np.array([list(map(int, column)) for column in numbers], np.int64)
        owners = np.fromiter(map(place.__getitem__, prefixes), np.int64, len(names))
        return cls(names, channels, owners, table, len(numbers[-1][0]))

    @property
    def places(self) -> tuple[Place, ...]:
        """The sites and tiles that there are."""
        return tuple(sorted(set(zip(*self.numbers[:2].tolist(), strict=True))))

    def grid(self, channel: str, place: Place) -> FrameGrid:
        """Return the files of one channel at one place, by time point and plane."""
        here = (self.numbers[0] == place[0]) & (self.numbers[1] == place[1])
        mine = np.flatnonzero(here & (self.owners == self.channels.index(channel)))
        planes, points = self.numbers[2, mine], self.numbers[3, mine]
        template = (channel, place, self.digits)
        if len(mine) and min(planes.min(), points.min()) < 1:
            raise CorruptRecordingError(f"{printable(self.names[mine[0]])}: ThorImage counts planes and time points from 1")
        shape = (int(points.max()), int(planes.max())) if len(mine) else (0, 0)
        if shape[0] * shape[1] > _MOST_EMPTY * (len(mine) + 1000):
            raise TruncatedRecordingError(
                f"the files of {printable(channel)} are numbered up to plane {shape[1]:,} and time point {shape[0]:,}, and "
                f"{len(mine):,} of them are there; copy the rest"
            )
        table = np.full(shape, -1, np.int64)
        table[points - 1, planes - 1] = mine
        if np.count_nonzero(table >= 0) < len(mine):
            twice = mine[table[points - 1, planes - 1] != mine][0]
            raise CorruptRecordingError(
                f"the frame of {printable(self.names[twice])} is there twice, with numbers of another width; keep one recording in a folder"
            )
        return FrameGrid(table, *template)


@dataclass(frozen=True)
class FrameGrid:
    """Which file holds which frame of one channel: ``files[time point, plane]``, -1 where there is none."""

    files: np.ndarray
    channel: str
    place: Place
    digits: int

    def widened(self, planes: int) -> FrameGrid:
        """Return the grid with at least so many planes."""
        more = planes - self.files.shape[1]
        if more <= 0:
            return self
        padded = np.pad(self.files, ((0, 0), (0, more)), constant_values=-1)
        return FrameGrid(padded, self.channel, self.place, self.digits)

    def file_name(self, point: int, plane: int) -> str:
        """Return the name that the frame's file has, both counted from 0."""
        numbers = (*self.place, plane + 1, point + 1)
        return printable(f"{self.channel}_{'_'.join(f'{n:0{self.digits}d}' for n in numbers)}.tif")

    def missing(self, points: slice = slice(None)) -> tuple[str, int]:
        """Return the name of the first file that is not there among some time points, and how many are not."""
        absent = np.argwhere(self.files[points] < 0)
        if not len(absent):
            return "", 0
        first = points.indices(len(self.files))[0]
        return self.file_name(first + int(absent[0, 0]), int(absent[0, 1])), len(absent)


def _listed(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{printable(path)} is not there") from error
    except NotADirectoryError as error:
        raise SourceKindError(f"{printable(path)} is no folder") from error
    except PermissionError as error:
        raise SourcePermissionError(f"the folder {printable(path)} may not be listed") from error
    except OSError as error:
        raise SourceReadError(f"the folder {printable(path)} could not be listed: {error.strerror}") from error

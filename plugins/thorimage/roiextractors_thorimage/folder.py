"""The files of a ThorImage recording: one listing of the folder, and the meaning of each name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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

__all__ = ["Folder", "FrameFiles", "FrameGrid", "Place"]

_NUMBERS = r"(\d{1,9})_(\d{1,9})_(\d{1,9})_(\d{1,9})\.tiff?"
_FRAME = re.compile(rf"^((.+)_{_NUMBERS})$", re.MULTILINE | re.IGNORECASE)
_RAW = re.compile(r"^(Image_(\d{1,9})_(\d{1,9})\.raw)$", re.MULTILINE | re.IGNORECASE)
_STORE = re.compile(r"^(Image_scan_\d+_region_\d+.*\.tiff?)$", re.MULTILINE | re.IGNORECASE)
_MAX_EMPTY = 64  # entries in the table of frames for each file that exists
_MAX_DIGITS = 9

Place = tuple[int, int]


class Folder:
    """The names in a recording's folder, listed once; no file is opened.

    Parameters
    ----------
    path : str
        The folder.
    names : sequence of str, optional
        Use only these frames.

    Raises
    ------
    SourceNotFoundError, SourceKindError, SourcePermissionError, SourceReadError
        The folder cannot be listed.
    """

    def __init__(self, path: str, names: Sequence[str] | None = None) -> None:
        self.path = path
        listing = _list_folder(path)
        self._names = listing if names is None else list(names)
        # one text, so that one regular expression searches half a million names at once and not one by one
        self._text = "\n".join(["", *self._names, ""])
        self.experiment = _name_on_disk("Experiment.xml", listing)
        self.timing = _name_on_disk("timing.txt", listing)

    @property
    def name(self) -> str:
        """The folder's name, safe to print."""
        return printable(os.path.basename(self.path) or self.path)

    @cached_property
    def raw(self) -> dict[Place, str]:
        """The raw files, by site and tile."""
        if ".raw\n" not in self._text.lower():
            return {}
        return {(int(site), int(tile)): name for name, site, tile in _RAW.findall(self._text)}

    @property
    def stores(self) -> tuple[str, ...]:
        """Large TIFF files with a whole region each."""
        return tuple(_STORE.findall(self._text))

    def channels(self, listed: Sequence[str]) -> tuple[str, ...]:
        """Return the channels with TIFF frames: those that the experiment lists, or all in the folder if none of these has any."""
        present = tuple(name for name in listed if self._has_frames(name))
        return present or tuple(sorted({row[1] for row in _FRAME.findall(self._text)}))

    def frames(self, channel: str) -> FrameFiles:
        """Return the TIFF frames of a channel."""
        start = f"{channel}_"
        starts = tuple(f"{start}{digit}" for digit in "0123456789")  # leaves out ChanA_Preview.tif
        names = [name for name in self._names if name.startswith(starts)]
        numbers = _numbers(names, len(start))
        if numbers is None:
            rows = [row for row in _FRAME.findall(self._text) if row[1].lower() == channel.lower()]
            names = [row[0] for row in rows]
            numbers = np.array([list(map(int, row[2:])) for row in rows], np.int64).reshape(-1, 4)
        stem = names[0][len(start) :].rpartition(".")[0] if names else ""
        return FrameFiles(channel, names, numbers.T, len(stem.rpartition("_")[2]))

    def _has_frames(self, channel: str) -> bool:
        return re.search(rf"\n{re.escape(channel)}_{_NUMBERS}\n", self._text, re.IGNORECASE) is not None


@dataclass(frozen=True)
class FrameFiles:
    """The TIFF frames of one channel: ``numbers`` are the sites, tiles, planes and time points in their names."""

    channel: str
    names: list[str]
    numbers: np.ndarray
    digits: int

    @property
    def places(self) -> tuple[Place, ...]:
        """The sites and tiles in the file names."""
        sites, tiles = self.numbers[:2]
        if not len(sites):
            return ()
        if (sites == sites[0]).all() and (tiles == tiles[0]).all():
            return ((int(sites[0]), int(tiles[0])),)
        # The check above is faster than a set of half a million pairs
        return tuple(sorted(set(zip(sites.tolist(), tiles.tolist(), strict=True))))

    def grid(self, place: Place) -> FrameGrid:
        """Return the files at one place, by time point and plane."""
        mine = np.flatnonzero((self.numbers[0] == place[0]) & (self.numbers[1] == place[1]))
        planes, points = self.numbers[2, mine], self.numbers[3, mine]
        if min(planes.min(), points.min()) < 1:
            raise CorruptRecordingError(
                f"{printable(self.names[mine[0]])}: the numbers of planes and time points start at 1, but one of these files has 0"
            )
        shape = (int(points.max()), int(planes.max()))
        # one stray file with a large number must not allocate a table of gigabytes
        if shape[0] * shape[1] > _MAX_EMPTY * (len(mine) + 1000):
            raise TruncatedRecordingError(
                f"the files of {printable(self.channel)} are numbered up to plane {shape[1]:,} and time point {shape[0]:,}, but only "
                f"{len(mine):,} of them exist; copy the rest"
            )
        table = np.full(shape, -1, np.int64)
        table[points - 1, planes - 1] = mine
        if np.count_nonzero(table >= 0) < len(mine):
            # "001" and "0001" are the same number; the table has the later file, so the earlier one differs from it
            twice = mine[table[points - 1, planes - 1] != mine][0]
            raise CorruptRecordingError(
                f"the frame of {printable(self.names[twice])} exists twice, with a different number of digits; keep one recording per folder"
            )
        return FrameGrid(table, self.channel, place, self.digits)


@dataclass(frozen=True)
class FrameGrid:
    """Which file contains which frame of one channel: ``files[time point, plane]``, -1 for a missing frame."""

    files: np.ndarray
    channel: str
    place: Place
    digits: int

    def with_planes(self, planes: int) -> FrameGrid:
        """Return the grid with at least this number of planes; the added ones are missing."""
        more = planes - self.files.shape[1]
        if more <= 0:
            return self
        padded = np.pad(self.files, ((0, 0), (0, more)), constant_values=-1)
        return FrameGrid(padded, self.channel, self.place, self.digits)

    def file_name(self, point: int, plane: int) -> str:
        """Return the file name of a frame, from its time point and plane, both from 0."""
        numbers = (*self.place, plane + 1, point + 1)
        return printable(f"{self.channel}_{'_'.join(f'{n:0{self.digits}d}' for n in numbers)}.tif")

    def missing(self, points: slice = slice(None)) -> tuple[str, int]:
        """Return the name of the first missing file among some time points, and the number of missing files."""
        absent = np.argwhere(self.files[points] < 0)
        if not len(absent):
            return "", 0
        first = points.indices(len(self.files))[0]
        return self.file_name(first + int(absent[0, 0]), int(absent[0, 1])), len(absent)


def _name_on_disk(name: str, listing: list[str]) -> str | None:
    """Return the name as spelled on disk, whatever its case; None if there is no such file."""
    if name in listing:
        return name
    lower, length = name.lower(), len(name)
    return next((other for other in listing if len(other) == length and other.lower() == lower), None)


def _numbers(names: list[str], start: int) -> np.ndarray | None:
    """Return the four numbers in names that all end in ``.tif``; None if one of the names has another form.

    All names are parsed at once: for half a million of them, a regular expression would take most of the time of opening.
    """
    if not names or "\n".join([*names, ""]).lower().count(".tif\n") != len(names):
        return None
    text = "\n".join([name[start:-4] for name in names])
    digits = text.replace("_", "").replace("\n", "")
    # isdigit() alone also accepts digits of other scripts, which np.fromstring does not parse
    if not (digits.isascii() and digits.isdigit()) or text.count("_") != 3 * len(names):
        return None
    places = np.frombuffer(text.encode("ascii"), np.uint8)
    ends = np.flatnonzero(places == ord("\n"))
    between = np.flatnonzero(places == ord("_")).reshape(-1, 3)
    if len(ends) != len(names) - 1 or (between[:-1, 2] > ends).any() or (between[1:, 0] < ends).any():
        return None
    cuts = np.sort(np.concatenate([ends, between.ravel(), [-1, len(text)]]))
    widths = np.diff(cuts) - 1
    if widths.min() < 1 or widths.max() > _MAX_DIGITS:
        return None
    return np.fromstring(text.replace("\n", "_"), np.int64, sep="_").reshape(-1, 4)


def _list_folder(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{printable(path)} does not exist") from error
    except NotADirectoryError as error:
        raise SourceKindError(f"{printable(path)} is not a folder") from error
    except PermissionError as error:
        raise SourcePermissionError(f"no permission to list the folder {printable(path)}") from error
    except OSError as error:
        raise SourceReadError(f"the folder {printable(path)} could not be listed: {error.strerror}") from error

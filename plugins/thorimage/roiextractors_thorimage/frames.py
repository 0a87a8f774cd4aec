"""The frames of one channel: in a TIFF each, or one behind the other in a raw file."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from roiextractors_tiff.pages import PageIndex

from roiextractors_core.errors import (
    CorruptRecordingError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import PositionedFile, StoredFrames

from .experiment import Experiment
from .folder import FrameGrid

__all__ = ["Frames", "RawFrames", "TiffFrames"]


class Frames(ABC):
    """The frames of one channel, by sample and plane.

    Attributes
    ----------
    planes : int
        Planes of a sample.
    points : numpy.ndarray
        The time point of each sample, from 0; without gaps where nothing is missing.
    averaged : int
        Frames that were averaged into one.
    notes, warnings : tuple of str
        What was decided; what was left out.
    """

    planes: int
    points: np.ndarray
    averaged: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """``(rows, columns)``."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """In native byte order."""

    @abstractmethod
    def read(self, samples: np.ndarray, planes: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Return ``(samples * planes, rows, columns)``, the planes fastest."""

    @abstractmethod
    def close(self) -> None:
        """Release the files."""


class TiffFrames(Frames):
    """One TIFF a frame.

    Parameters
    ----------
    folder : str
    names : list of str
        What the grid counts.
    grid : FrameGrid
    experiment : Experiment
    allow_missing : bool
        Leave out samples that lack a file, wherever they are.
    allow_damaged : bool
        Leave out samples that have a damaged file as well; every file is then opened at once.

    Raises
    ------
    TruncatedRecordingError
        A file is not there.
    """

    def __init__(
        self,
        folder: str,
        names: list[str],
        grid: FrameGrid,
        experiment: Experiment,
        *,
        allow_missing: bool,
        allow_damaged: bool,
    ) -> None:
        self.averaged = experiment.averaged
        self.notes, self.warnings = (), ()
        prefix = os.path.join(folder, "")
        if allow_damaged:
            grid = self._without_damaged(prefix, names, grid)
        grid = self._fitted(grid, experiment)
        self.planes = grid.files.shape[1]
        self.points = self._whole_points(grid, experiment, allow_missing)
        files = grid.files[self.points].ravel().tolist()
        self._index = _one_page_each([prefix + names[k] for k in files])

    @property
    def shape(self) -> tuple[int, int]:
        return self._index.page_shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._index.dtype

    def read(self, samples: np.ndarray, planes: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        try:
            return self._index.read((samples[:, None] * self.planes + planes).ravel(), rows, columns)
        except CorruptRecordingError as error:
            raise _with_advice(error) from error

    def close(self) -> None:
        self._index.close()

    def _without_damaged(self, prefix: str, names: list[str], grid: FrameGrid) -> FrameGrid:
        """Take out the files that are cut or hold no frame: each is opened, and its pixels are not read."""
        whole = [k < 0 or not _damage(prefix + names[k]) for k in grid.files.ravel().tolist()]
        if all(whole):
            return grid
        files = np.where(np.array(whole).reshape(grid.files.shape), grid.files, -1)
        first = names[int(grid.files.ravel()[whole.index(False)])]
        told = _damage(prefix + first).removeprefix(printable(first)).lstrip(": ")
        self.warnings += (f"{printable(first)} is damaged ({told}); {_frames(whole.count(False))} left out for that",)
        return FrameGrid(files, grid.channel, grid.place, grid.digits)

    def _fitted(self, grid: FrameGrid, experiment: Experiment) -> FrameGrid:
        """Give the grid the planes of the experiment, unless the files are a whole recording of fewer."""
        points, held, told = len(grid.files), grid.files.shape[1], experiment.planes
        if held >= told:
            if held > told:
                self.notes += (
                    f"{experiment.name} describes {told:,} planes, and the files hold {held:,}; they decide",
                )
            return grid
        if (grid.files >= 0).all() and points == (experiment.time_points or points) and points > 1:
            self.warnings += (
                f"{experiment.name} describes {told:,} planes, and the files hold {held:,}: "
                f"{grid.file_name(0, held)} is not there",
            )
            return grid
        return grid.widened(told)

    def _whole_points(self, grid: FrameGrid, experiment: Experiment, allow_missing: bool) -> np.ndarray:
        whole = (grid.files >= 0).all(axis=1)
        points = np.flatnonzero(whole)
        if not len(points):
            name, count = grid.missing()
            raise TruncatedRecordingError(
                f"{name} is not there, so that no sample of {printable(grid.channel)} is whole ({_frames(count)} missing); copy the "
                "folder again from the microscope's computer"
            )
        end = int(points[-1]) + 1
        name, count = grid.missing(slice(0, end))
        if count and not allow_missing:
            raise TruncatedRecordingError(
                f"{name} is not there ({_frames(count)} of {printable(grid.channel)} missing before the last one); copy the folder again, or "
                "leave out the samples that are not whole: open(..., allow_missing=True)"
            )
        if count:
            self.warnings += (
                f"{name} is not there ({_frames(count)} missing): {end - len(points):,} of {end:,} samples are left out",
            )
        self._tell_end(grid, experiment, end)
        return points

    def _tell_end(self, grid: FrameGrid, experiment: Experiment, end: int) -> None:
        told = experiment.time_points or end
        name = grid.missing(slice(end, None))[0] or grid.file_name(end, 0)
        stopped = "; the recording was stopped" if experiment.was_stopped else ""
        if end < max(told, len(grid.files)):
            self.warnings += (
                f"{experiment.name} describes {max(told, len(grid.files)):,} samples, and {end:,} are whole: {name} is not there{stopped}",
            )
        elif end > told:
            self.notes += (f"{experiment.name} describes {told:,} samples, and the files hold {end:,}; they decide",)


class RawFrames(Frames):
    """A raw file: little-endian uint16, the channels of a plane one behind the other, then the planes, the flyback, the next sample.

    Parameters
    ----------
    path : str
    channel : str
        A name in the experiment.
    experiment : Experiment

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        The file holds no whole sample, or the experiment does not say what.
    """

    def __init__(self, path: str, channel: str, experiment: Experiment) -> None:
        self._file = PositionedFile(path)
        rows, columns = experiment.raw_shape
        self._stored = StoredFrames((self._file,), shape=(rows, columns), dtype="<u2")
        self.planes, self.notes, self.warnings = experiment.planes, (), ()
        self._channels, self._place = self._layout(channel, experiment)
        frames = self._whole_frames(experiment)
        self.averaged = experiment.averaged
        if frames in [count * self.averaged for count in experiment.frames] and self.averaged > 1:
            self.averaged = 1
            self.notes += (f"{self._file.name} holds every frame that {experiment.name} says was averaged",)
        self._step = self.planes + experiment.flyback
        count = frames // self._step + (frames % self._step >= self.planes)
        self.points = np.arange(count, dtype=np.int64)
        self._tell(frames, count, experiment)

    @property
    def shape(self) -> tuple[int, int]:
        return self._stored.shape[0], self._stored.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint16)

    def read(self, samples: np.ndarray, planes: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        frames = (samples[:, None] * self._step + planes).ravel()
        return self._stored.read((frames * self._channels + self._place) * self._stored.frame_bytes, rows, columns)

    def close(self) -> None:
        self._file.close()

    def _layout(self, channel: str, experiment: Experiment) -> tuple[int, int]:
        """Return how many channels lie behind each other, and which of them is meant."""
        names = experiment.channels
        enabled, place = len(names), names.index(channel)
        everything = [n for n in (4, 3) if n > enabled and max(experiment.enabled, default=0) < n]
        told = experiment.only_enabled_are_raw
        counts = (
            [enabled] if told or enabled == 1 else [*everything, enabled] if told is False else [enabled, *everything]
        )
        size = self._file.size
        exact = [n for n in counts for frames in experiment.frames if size == frames * n * self._stored.frame_bytes]
        count = exact[0] if exact else counts[0]
        if count == enabled:
            return count, place
        if len(experiment.enabled) != enabled:
            raise CorruptRecordingError(
                f"{experiment.name} names {enabled} channels and enables {len(experiment.enabled)}, so that their places in "
                f"{self._file.name}, which holds {count}, are not known"
            )
        self.notes += (f"{self._file.name} holds {count} channels, of which {enabled} were enabled",)
        return count, experiment.enabled[place]

    def _whole_frames(self, experiment: Experiment) -> int:
        step = self._channels * self._stored.frame_bytes
        frames, rest = divmod(self._file.size, step)
        if rest:
            self.warnings += (
                f"{self._file.name} ends inside frame {frames:,}: {rest:,} of its {step:,} bytes are there, and it is left out",
            )
        if frames < self.planes:
            raise TruncatedRecordingError(
                f"{self._file.name} holds {self._file.size:,} bytes, and one sample needs {self.planes * step:,} ({self.planes} "
                f"x {self._channels} frames of {self.shape[0]:,} x {self.shape[1]:,} uint16 by {experiment.name}); the file is cut"
            )
        return frames

    def _tell(self, frames: int, count: int, experiment: Experiment) -> None:
        told = experiment.frames
        factor = experiment.averaged // self.averaged
        if told and frames < min(told) * factor:
            stopped = "; the recording was stopped" if experiment.was_stopped else ""
            self.warnings += (
                f"{experiment.name} describes {min(told) * factor:,} frames a channel, and {self._file.name} holds {frames:,}{stopped}; "
                f"{count:,} samples are whole",
            )
        elif told and frames not in [n * factor for n in told]:
            self.notes += (
                f"{experiment.name} describes {max(told) * factor:,} frames a channel, and {self._file.name} holds {frames:,}; it decides",
            )
        left = max(0, frames - count * self._step)
        if left and not self.warnings:
            self.warnings += (f"{self._file.name} ends inside a volume: its last {_frames(left)} left out",)


def _one_page_each(paths: list[str]) -> PageIndex:
    """Return the index of files of one page each: the first is opened now, and every other at its first read."""
    try:
        with_first = PageIndex.of(paths[0])
    except CorruptRecordingError as error:
        raise _with_advice(error) from error
    pages, values = with_first.num_pages, with_first.samples_per_pixel
    with_first.close()
    if (pages, values) != (1, 1):
        raise UnsupportedRecordingError(
            f"{printable(os.path.basename(paths[0]))} holds {pages:,} pages of {values} values a pixel, and a frame of "
            "ThorImage is one page of one; open(..., format='tiff') reads it as plain TIFF"
        )
    return PageIndex.of(paths, pages_per_file=np.ones(len(paths), np.int64))


def _damage(path: str) -> str:
    """Return why a file holds no whole frame, or nothing."""
    try:
        PageIndex.of(path).close()
    except CorruptRecordingError as error:
        return str(error)
    return ""


def _with_advice(error: CorruptRecordingError) -> CorruptRecordingError:
    return type(error)(f"{error}; the samples that are whole are read by open(..., allow_missing=True)")


def _frames(count: int) -> str:
    return f"{count:,} frame is" if count == 1 else f"{count:,} frames are"

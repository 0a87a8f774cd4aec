"""The frames of one channel: one TIFF each, or one after the other in a raw file."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from roiextractors_tiff.pages import PageIndex

from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io import PositionedFile, StoredFrames, missing_samples

from .experiment import Experiment
from .folder import FrameGrid
from .identity import FrameIdentity

__all__ = ["Frames", "RawFrames", "TiffFrames"]


class Frames(ABC):
    """The frames of one channel, by sample and plane.

    Attributes
    ----------
    planes : int
        Planes of a sample.
    points : numpy.ndarray
        The time point of each sample, from 0; without gaps if nothing is missing.
    missing : numpy.ndarray
        The time points that are described and are missing or incomplete.
    averaged : int
        Number of frames averaged into one.
    notes, warnings : tuple of str
        Decisions made while opening; what was left out.
    """

    planes: int
    points: np.ndarray
    missing: np.ndarray
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
        """Return ``(samples * planes, rows, columns)``; the plane varies fastest."""

    @abstractmethod
    def close(self) -> None:
        """Release the files."""


class TiffFrames(Frames):
    """Frames in one TIFF each.

    Parameters
    ----------
    folder : str
    names : list of str
        The file names that the grid refers to.
    grid : FrameGrid
    experiment : Experiment
    allow_missing : bool
        Leave out samples with a missing file, wherever they are.
    allow_damaged : bool
        Leave out samples with a damaged file as well; every file is then opened at once.

    Raises
    ------
    TruncatedRecordingError
        A file is missing.
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
        grid = self._fit_planes(grid, experiment)
        self.planes = grid.files.shape[1]
        self.points = self._complete_points(grid, experiment, allow_missing)
        # Sample by sample, planes fastest: the order that FrameIdentity expects
        files = grid.files[self.points].ravel().tolist()
        self._index = _index_single_pages([prefix + names[k] for k in files])
        self._identity = FrameIdentity(self._index, self.planes, self.points)
        if allow_damaged:
            self._leave_out_foreign(prefix, [names[k] for k in files])
        self._compare_shape(experiment)

    def _leave_out_foreign(self, prefix: str, names: list[str]) -> None:
        """Leave out samples with a file whose contents do not match its name."""
        foreign = self._identity.foreign_files()
        if not foreign:
            return
        first, reason = foreign[0]
        samples = np.unique(np.array([number for number, _ in foreign]) // self.planes)
        kept = np.delete(np.arange(len(self.points)), samples)
        if not len(kept):
            raise CorruptRecordingError(f"{printable(names[first])} {reason}; no sample is complete")
        left_out = f"{len(samples):,} sample is" if len(samples) == 1 else f"{len(samples):,} samples are"
        self.warnings += (f"{printable(names[first])} {reason}; {left_out} left out",)
        self.missing = np.union1d(self.missing, self.points[samples])
        self.points = self.points[kept]
        files = (kept[:, None] * self.planes + np.arange(self.planes)).ravel().tolist()
        self._index.close()
        self._index = _index_single_pages([prefix + names[k] for k in files])
        self._identity = FrameIdentity(self._index, self.planes, self.points)

    def _compare_shape(self, experiment: Experiment) -> None:
        described = experiment.described_shape
        if described is not None and described != self.shape:
            self.notes += (
                f"{experiment.name} describes frames of {described[0]:,} x {described[1]:,} pixels, but the files have {self.shape[0]:,} "
                f"x {self.shape[1]:,}; the pixels are returned as stored",
            )

    @property
    def shape(self) -> tuple[int, int]:
        return self._index.page_shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._index.dtype

    def read(self, samples: np.ndarray, planes: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        files = (samples[:, None] * self.planes + planes).ravel()
        try:
            self._identity.require(files)
            return self._index.read(files, rows, columns)
        except CorruptRecordingError as error:
            raise _with_advice(error) from error

    def close(self) -> None:
        self._index.close()

    def _without_damaged(self, prefix: str, names: list[str], grid: FrameGrid) -> FrameGrid:
        """Leave out files that are truncated or damaged: each is opened, but its pixels are not read."""
        sound = [k < 0 or not _damage(prefix + names[k]) for k in grid.files.ravel().tolist()]
        if all(sound):
            return grid
        files = np.where(np.array(sound).reshape(grid.files.shape), grid.files, -1)
        first = names[int(grid.files.ravel()[sound.index(False)])]
        reason = _damage(prefix + first).removeprefix(printable(first)).lstrip(": ")
        self.warnings += (f"{printable(first)} is damaged ({reason}); {_frames(sound.count(False))} left out",)
        return FrameGrid(files, grid.channel, grid.place, grid.digits)

    def _fit_planes(self, grid: FrameGrid, experiment: Experiment) -> FrameGrid:
        """Give the grid the planes of the experiment, unless the files are a complete recording with fewer planes."""
        points, present, expected = len(grid.files), grid.files.shape[1], experiment.planes
        if present >= expected:
            if present > expected:
                self.notes += (
                    f"{experiment.name} describes {counted(expected, 'plane')}, but there are files for {present:,}; all are used",
                )
            return grid
        # every time point lacks the same planes: they were not saved, and the samples are complete without them
        if (grid.files >= 0).all() and points == (experiment.time_points or points) and points > 1:
            self.warnings += (
                f"{experiment.name} describes {counted(expected, 'plane')}, but there are files for {present:,}: "
                f"{grid.file_name(0, present)} is missing",
            )
            return grid
        return grid.with_planes(expected)

    def _complete_points(self, grid: FrameGrid, experiment: Experiment, allow_missing: bool) -> np.ndarray:
        points = np.flatnonzero((grid.files >= 0).all(axis=1))
        if not len(points):
            name, count = grid.missing()
            raise TruncatedRecordingError(
                f"{name} is missing, and no sample of {printable(grid.channel)} is complete ({_frames(count)} missing); copy the "
                "folder again from the microscope's computer"
            )
        end = int(points[-1]) + 1
        name, count = grid.missing(slice(0, end))
        if count and not allow_missing:
            raise TruncatedRecordingError(
                f"{name} is missing ({_frames(count)} missing before the last one of {printable(grid.channel)}); copy the folder again, or "
                "leave out the incomplete samples: open(..., allow_missing=True)"
            )
        if count:
            self.warnings += (
                f"{name} is missing ({_frames(count)} missing): {end - len(points):,} of {end:,} samples are left out",
            )
        self._compare_end(grid, experiment, end)
        self.missing = missing_samples(max(experiment.time_points or 0, len(grid.files)), points)
        return points

    def _compare_end(self, grid: FrameGrid, experiment: Experiment, end: int) -> None:
        described = experiment.time_points or end
        # Exactly averageNum times as many files: averaging was on, but every single frame was saved
        singles = experiment.averaged > 1 and end == described * experiment.averaged
        if singles:
            self.averaged = 1
            self.warnings += (
                f"{experiment.name} describes {counted(described, 'sample')} of {experiment.averaged} averaged frames, but there are files for "
                f"{end:,}: every single frame was saved, and the rate is the scanner's; pass sampling_frequency=<Hz> to use another rate",
            )
            return
        name = grid.missing(slice(end, None))[0] or grid.file_name(end, 0)
        stopped = "; the recording was stopped" if experiment.was_stopped else ""
        if end < max(described, len(grid.files)):
            self.warnings += (
                f"{experiment.name} describes {max(described, len(grid.files)):,} samples, but only {end:,} are complete: {name} is "
                f"missing{stopped}",
            )
        elif end > described:
            sentence = f"{experiment.name} describes {counted(described, 'sample')}, but there are files for {end:,}; all are used"
            # A whole multiple suggests a second recording or frames that were not averaged, a few frames more do not
            factor = end // described if described > 1 and end % described == 0 else 0
            if factor:
                self.warnings += (
                    f"{sentence}. These are exactly {factor} times as many: another recording may be in the same folder, or frames were "
                    "not averaged; read some of the files alone: open([<files>]), or pass sampling_frequency=<Hz>",
                )
            else:
                self.notes += (sentence,)


class RawFrames(Frames):
    """Frames in a raw file: little-endian uint16, channel by channel in each plane, then the planes, the flyback, the next sample.

    Parameters
    ----------
    path : str
    channel : str
        A name in the experiment.
    experiment : Experiment
    raw_channels : int, optional
        The number of channels in the file, with those that were not enabled.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        The file has no complete sample, or the experiment does not describe it.
    """

    def __init__(self, path: str, channel: str, experiment: Experiment, *, raw_channels: int | None = None) -> None:
        self._file = PositionedFile(path)
        rows, columns = experiment.raw_shape
        self._stored = StoredFrames((self._file,), shape=(rows, columns), dtype="<u2")
        self.planes, self.notes, self.warnings = experiment.planes, (), ()
        self._channels, self._place = self._layout(channel, experiment, raw_channels)
        frames = self._complete_frames(experiment)
        # some versions save every frame although averaging was on; the size of the file shows it
        self.averaged = experiment.averaged
        if frames in [count * self.averaged for count in experiment.frames] and self.averaged > 1:
            self.averaged = 1
            self.notes += (
                f"{self._file.name} contains every single frame, although {experiment.name} says that frames were averaged",
            )
        self._step = self.planes + experiment.flyback
        count = frames // self._step + (frames % self._step >= self.planes)  # the last flyback may be missing
        self.points = np.arange(count, dtype=np.int64)
        self._compare_length(frames, count, experiment)
        described = (
            min((n * (experiment.averaged // self.averaged) for n in experiment.frames), default=0) // self._step
        )
        self.missing = missing_samples(described, count)

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

    def _layout(self, channel: str, experiment: Experiment, given: int | None) -> tuple[int, int]:
        """Return the number of channels in the file, and the index of this one among them."""
        names = experiment.channels
        enabled, place = len(names), names.index(channel)
        if given is not None:
            self._require_channels(given, enabled, experiment)
            return given, (
                # With as many channels as were enabled, the place is that in the list, not in the microscope
                place if given == enabled or len(experiment.enabled) != enabled else experiment.enabled[place]
            )
        # older versions write all 3 or 4 channels of the microscope whatever is enabled, and only the file's size tells
        all_channels = [n for n in (4, 3) if n > enabled and max(experiment.enabled, default=0) < n]
        only_enabled = experiment.only_enabled_are_raw
        if only_enabled or enabled == 1:
            counts = [enabled]
        else:
            # The stated layout comes first, but the size of the file may contradict it
            counts = [*all_channels, enabled] if only_enabled is False else [enabled, *all_channels]
        size = self._file.size
        # Where the size fits several numbers of channels, the first in this order counts
        exact = [n for n in counts for frames in experiment.frames if size == frames * n * self._stored.frame_bytes]
        count = exact[0] if exact else counts[0]
        if count == enabled:
            return count, place
        if len(experiment.enabled) != enabled:
            raise CorruptRecordingError(
                f"{experiment.name} lists {enabled} channels but enables {len(experiment.enabled)}, so their order among the "
                f"{count} channels of {self._file.name} is unknown"
            )
        self.notes += (f"{self._file.name} contains {counted(count, 'channel')}, of which {enabled} were enabled",)
        return count, experiment.enabled[place]

    def _require_channels(self, given: int, enabled: int, experiment: Experiment) -> None:
        most = max((*experiment.enabled, enabled - 1)) + 1
        if (
            isinstance(given, bool)
            or not isinstance(given, int)
            or not enabled <= given <= 16
            or (given > enabled and given < most)
        ):
            raise ChoiceError(
                f"raw_channels={given!r}: expected {enabled} (the channels of {experiment.name}) or a whole number from {most} to 16"
            )

    def _complete_frames(self, experiment: Experiment) -> int:
        step = self._channels * self._stored.frame_bytes
        frames, rest = divmod(self._file.size, step)
        if rest:
            self.warnings += (
                f"{self._file.name} ends inside frame {frames:,} ({rest:,} of its {step:,} bytes), which is left out",
            )
        # 0 is darker than the offset of the detectors, so frames of zeros were reserved and never written
        written = self._stored.count_written(frames * self._channels) // self._channels
        if written < frames:
            self.warnings += (
                f"{self._file.name} ends in zeros, as an interrupted recording does: {written:,} of {frames:,} frames were written",
            )
            frames = written
        if frames < self.planes:
            raise TruncatedRecordingError(
                f"{self._file.name} has {self._file.size:,} bytes, but one sample needs {self.planes * step:,} ({self.planes} x "
                f"{self._channels} frames of {self.shape[0]:,} x {self.shape[1]:,} uint16 by {experiment.name}); the file is truncated"
            )
        return frames

    def _compare_length(self, frames: int, count: int, experiment: Experiment) -> None:
        factor = experiment.averaged // self.averaged
        expected = [n * factor for n in experiment.frames]
        if expected and frames < min(expected):
            stopped = "; the recording was stopped" if experiment.was_stopped else ""
            self.warnings += (
                f"{experiment.name} describes {min(expected):,} frames per channel, but {self._file.name} contains {frames:,}{stopped}; "
                f"{count:,} samples are complete",
            )
        elif expected and frames not in expected:
            sentence = f"{experiment.name} describes {max(expected):,} frames per channel, but {self._file.name} contains {frames:,}; all are used"
            factors = [frames // n for n in expected if frames % n == 0]
            if factors:
                self.warnings += (f"{sentence}. {self._explain_factor(factors[0])}",)
            else:
                self.notes += (sentence,)
        left = max(0, frames - count * self._step)
        if left and not self.warnings:
            self.warnings += (f"{self._file.name} ends inside a volume: its last {_frames(left)} left out",)

    def _explain_factor(self, factor: int) -> str:
        others = self._channels * factor
        return (
            f"These are exactly {factor} times as many: if channels that were not enabled are in the file, pass raw_channels={others}; if "
            "frames were not averaged, pass sampling_frequency=<Hz>"
        )


def _index_single_pages(paths: list[str]) -> PageIndex:
    """Return the index of files with one page each: the first is opened now, and every other at its first read."""
    try:
        with_first = PageIndex.of(paths[0])
    except CorruptRecordingError as error:
        raise _with_advice(error) from error
    pages, values = with_first.num_pages, with_first.samples_per_pixel
    with_first.close()
    if (pages, values) != (1, 1):
        raise UnsupportedRecordingError(
            f"{printable(os.path.basename(paths[0]))} has {counted(pages, 'page')} with {values} values per pixel; expected one page with one "
            "value per pixel. Read it as plain TIFF: open(..., format='tiff')"
        )
    return PageIndex.of(paths, pages_per_file=np.ones(len(paths), np.int64))


def _damage(path: str) -> str:
    """Return why a file has no complete frame, or an empty string."""
    try:
        PageIndex.of(path).close()
    except CorruptRecordingError as error:
        return str(error)
    return ""


def _with_advice(error: CorruptRecordingError) -> CorruptRecordingError:
    return type(error)(f"{error}; read the complete samples with open(..., allow_missing=True)")


def _frames(count: int) -> str:
    return f"{count:,} frame is" if count == 1 else f"{count:,} frames are"

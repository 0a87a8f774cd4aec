"""The times that the Miniscope software records for every frame, in ``timeStamps.csv`` and ``timestamp.dat``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, printable
from roiextractors_core.io import PositionedFile

__all__ = ["FrameTimes", "parse_times", "rate_of"]

_MAX_BYTES = 1 << 30
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d+)?\Z")
_MIN_STEP, _MAX_STEP = 0.5, 1.5


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """The rows of one camera.

    Attributes
    ----------
    camera : int
        ``camNum`` of V3; 0 in V4.
    numbers : numpy.ndarray
        int64, the frames' numbers as noted.
    times : numpy.ndarray
        Seconds, float64, one a row.
    """

    camera: int
    numbers: np.ndarray
    times: np.ndarray

    def of_frames(self, frames: np.ndarray) -> np.ndarray | None:
        """Return the times of frames by their place in the recording, from 0; None where one is not noted."""
        if not len(self.times):
            return None
        rows = frames
        first = int(self.numbers[0])
        if first > 1 or not np.array_equal(self.numbers, first + np.arange(len(self.numbers))):
            if len(self.times) != len(frames):
                return None
            rows = np.arange(len(frames))
        return self.times[rows] if len(frames) == 0 or int(rows.max()) < len(self.times) else None


def parse_times(file: PositionedFile) -> tuple[tuple[FrameTimes, ...], tuple[str, ...]]:
    """Read a file of times: V4's commas, or V3's tabs and spaces, with or without its heading.

    Parameters
    ----------
    file : PositionedFile

    Returns
    -------
    tuple of FrameTimes, tuple of str
        The cameras in the order of their numbers; what could not be read, in sentences.

    Raises
    ------
    CorruptRecordingError
        The file is too large to be one.

    References
    ----------
    Miniscope DAQ software (V4): frame number, time stamp in milliseconds, buffer index.  Miniscope V3 wiki: camNum, frameNum,
    sysClock in milliseconds, buffer.
    """
    if file.size > _MAX_BYTES:
        raise CorruptRecordingError(f"{file.name} has {file.size:,} bytes, too many for a list of times")
    text = file.read(0, file.size).decode("utf-8-sig", "replace")
    lines = text.splitlines()
    heading, width = _heading(lines)
    rows, problem = _rows(lines[heading:], width, heading, file.name, is_ended=text.endswith(("\n", "\r")))
    table = np.array(rows, np.float64).reshape(-1, 3)
    cameras = np.unique(table[:, 0])
    found = (table[table[:, 0] == camera] for camera in cameras)
    return tuple(
        FrameTimes(int(part[0, 0]), part[:, 1].astype(np.int64), part[:, 2] / 1000.0) for part in found
    ), problem


def rate_of(times: np.ndarray) -> float | None:
    """Return the rate (Hz) by the mean interval, intervals far from the median one left out; None for under two times.

    Times are whole milliseconds, so the median alone would be wrong by up to a tenth.
    """
    steps = np.diff(times)
    steps = steps[steps > 0]
    if not len(steps):
        return None
    usual = float(np.median(steps))
    kept = steps[(steps >= _MIN_STEP * usual) & (steps <= _MAX_STEP * usual)]
    return float(1.0 / kept.mean())


def _fields(line: str) -> list[str]:
    return [part.strip() for part in line.split(",")] if "," in line else line.split()


def _heading(lines: list[str]) -> tuple[int, int]:
    """Return how many lines come before the first row, and how many columns a row has."""
    for number, line in enumerate(lines[:5]):
        fields = _fields(line)
        if fields and _NUMBER.match(fields[0]):
            return number, len(fields)
    return min(len(lines), 5), 0


def _rows(
    lines: Iterable[str], width: int, before: int, name: str, *, is_ended: bool
) -> tuple[list[tuple[float, float, float]], tuple[str, ...]]:
    """Return camera, number and time of each row, up to the first that is none."""
    found: list[tuple[float, float, float]] = []
    kept = [line for line in lines if line.strip()]
    for place, line in enumerate(kept):
        fields = _fields(line)
        is_last = place == len(kept) - 1 and not is_ended
        row = _row(fields, width)
        if row is None or (is_last and len(fields) < width):
            words = f"line {before + place + 1:,} of {name} is not a row of times ({printable(line[:40])!r}); "
            return found, (words + f"using the {place:,} rows before it",)
        found.append(row)
    return found, ()


def _row(fields: list[str], width: int) -> tuple[float, float, float] | None:
    at = 1 if width >= 4 else 0
    if len(fields) < at + 2 or not all(_NUMBER.match(field) for field in fields[: at + 2]):
        return None
    camera = float(fields[0]) if at else 0.0
    return camera, float(fields[at]), float(fields[at + 1])

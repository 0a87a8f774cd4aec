"""The times of the frames that minian analysed, from the table that the Miniscope software wrote."""

from __future__ import annotations

import os

import numpy as np
from roiextractors_video.times import FrameTimes, parse_times

from roiextractors_core.errors import RecordingError, SourceError, counted
from roiextractors_core.io import PositionedFile, is_file

__all__ = ["TIMES", "find_times", "times_of"]

TIMES = "timeStamps.csv"


def find_times(folder: str) -> str | None:
    """Return the table of times in a folder of minian, or in the folder of the videos, in which minian makes its own.

    Parameters
    ----------
    folder : str
        Or a file, beside which the table may be.
    """
    for place in (folder, os.path.dirname(os.path.abspath(folder))):
        path = os.path.join(place, TIMES)
        if is_file(path):
            return path
    return None


def times_of(path: str, frames: np.ndarray) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the times of frames in seconds, and sentences about what does not fit; None where one has no time.

    Parameters
    ----------
    path : str
    frames : numpy.ndarray
        int64, the place of each frame in the recording, from 0: the coordinate ``frame`` of minian's arrays.
    """
    name = os.path.basename(path)
    try:
        file = PositionedFile(path)
        try:
            cameras, problems = parse_times(file)
        finally:
            file.close()
    except (RecordingError, SourceError) as error:
        return None, (f"{error}; the frames have no times",)
    if len(cameras) != 1:
        count = f"the times of {len(cameras)} cameras, expected one" if cameras else "no rows of times"
        words = problems or (f"{name} has {count}",)
        return None, tuple(f"{text}; the frames have no times" for text in words)
    times, problem = _placed(cameras[0], frames, name)
    # A row that is cut or not a number matters only where it is the row of a frame that was analysed
    return times, (*problems, problem) if times is None else ()


def _placed(rows: FrameTimes, frames: np.ndarray, name: str) -> tuple[np.ndarray | None, str]:
    numbers, count = rows.numbers, len(rows.numbers)
    if count and int(numbers[0]) in (0, 1) and np.array_equal(numbers, int(numbers[0]) + np.arange(count)):
        places, is_known = frames, (frames >= 0) & (frames < count)
    else:  # rows of some frames only, which are told apart by their numbers
        order = np.argsort(numbers, kind="stable")
        if (np.diff(numbers[order]) == 0).any():
            return None, f"{name} has two rows for one frame; the frames have no times"
        found = np.searchsorted(numbers[order], frames)
        places = order[np.minimum(found, count - 1)] if count else found
        is_known = numbers[places] == frames if count else np.zeros(len(frames), bool)
    if not is_known.all():
        first = int(frames[~is_known][0])
        return None, (
            f"{name} has {counted(count, 'row')}, but none for {counted(int((~is_known).sum()), 'frame')} of "
            f"the {len(frames):,} that were analysed (the first is frame {first:,}); the frames have no times"
        )
    return rows.times[places], ""

"""The times of the frames that the software that recorded a numbered video noted in a list beside it."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

import numpy as np

from roiextractors_core.errors import RecordingError
from roiextractors_core.io import PositionedFile, silenced

from .frames import open_frames
from .times import FrameTimes, parse_times

__all__ = ["NotedTimes", "times_beside"]

# Both are of the UCLA Miniscope's software: of one camera in a folder, and of two
_LISTS = ("timestamps.csv", "timestamp.dat")
_NAME = re.compile(r"(?P<camera>(?:behavcam|mscam)?)(?P<number>\d{1,9})\.avi", re.IGNORECASE)
_MAX_VIDEOS = 10_000


class NotedTimes(NamedTuple):
    """The times of one video.

    Attributes
    ----------
    path : str
        The list.
    times : numpy.ndarray
        Seconds since the recording began, float64, one a frame.
    note : str
    """

    path: str
    times: np.ndarray
    note: str


def times_beside(path: str, num_frames: int) -> NotedTimes | None:
    """Return the times of a numbered video, such as a behaviour camera's; None unless the list has one time for each frame.

    A list counts through the videos of its camera, so all of them are counted, and the list must have as many rows as they
    have frames: with any other number, nothing shows which row belongs to which frame.

    Parameters
    ----------
    path : str
        The video.
    num_frames : int
        Its frames.
    """
    named = _NAME.fullmatch(os.path.basename(path))
    folder = os.path.dirname(path)
    try:
        names = os.listdir(folder or ".") if named else []
    except OSError:
        return None
    listed = next((name for name in sorted(names) if name.lower() in _LISTS), None)
    if named is None or listed is None:
        return None
    before, total = _count_frames(folder, names, named, num_frames)
    camera = _camera(os.path.join(folder, listed), total)
    if camera is None:
        return None
    times = camera.times[before : before + num_frames]
    if camera.is_standing or (np.diff(camera.times) <= 0).any():
        return None
    return NotedTimes(
        os.path.join(folder, listed),
        times,
        f"the times are those of {listed}, which has one for each of the {total:,} frames of this camera",
    )


def _count_frames(folder: str, names: list[str], named: re.Match[str], num_frames: int) -> tuple[int, int]:
    """Return how many frames the videos before this one have, and all of them; 0 in all if one is missing or damaged."""
    matches = [m for m in map(_NAME.fullmatch, names) if m and m["camera"].lower() == named["camera"].lower()]
    numbered = {int(match["number"]): match[0] for match in matches[:_MAX_VIDEOS]}
    first = min(numbered)
    if first > 1 or sorted(numbered) != list(range(first, first + len(numbered))) or len(numbered) != len(matches):
        return 0, 0
    counts = {}
    for number, name in sorted(numbered.items()):
        if number == int(named["number"]):
            counts[number] = num_frames
            continue
        try:
            with silenced():
                frames = open_frames(os.path.join(folder, name))
        except RecordingError:
            return 0, 0
        counts[number] = 0 if frames.problems else frames.num_frames
        frames.close()
        if not counts[number]:
            return 0, 0
    return sum(counts[k] for k in counts if k < int(named["number"])), sum(counts.values())


def _camera(path: str, total: int) -> FrameTimes | None:
    """Return the rows of the one camera that has as many as there are frames, numbered without a gap."""
    file = PositionedFile(path)
    try:
        cameras, _ = parse_times(file)
    except RecordingError:
        return None
    finally:
        file.close()
    fitting = [camera.unwrapped() for camera in cameras if total and len(camera.times) == total]
    if len(fitting) != 1 or not np.array_equal(np.diff(fitting[0].numbers), np.ones(total - 1)):
        return None
    return fitting[0]

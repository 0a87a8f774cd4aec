"""The base of all kinds of video frames: facts, choice of a channel, reading in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from roiextractors_core.errors import StreamChoiceError, UnsupportedRecordingError, counted

from .pixels import PixelFormat

__all__ = ["NOTE", "Facts", "VideoFrames", "check_size", "task"]

NOTE = "for viewing, not for analysis"  # the comment in the movies of our writer begins with this
_MAX_PIXELS = 1 << 28  # 16,384 x 16,384


class VideoFrames(ABC):
    """The frames of the video stream of one file; made by :func:`open_frames`.

    Attributes
    ----------
    name : str
        The file's name, safe to print.
    codec : str
    pixels : PixelFormat
    num_frames, rows, columns : int
    rate : float or None
        Frames a second (Hz), by the stream.
    times : numpy.ndarray or None
        The times in the stream, seconds, float64; None if they are the frame number divided by the rate.
    notes : tuple of str
        Decisions made while opening.
    problems : tuple of str
        Missing or unreadable parts; these are issued as warnings.
    """

    def __init__(self, facts: Facts) -> None:
        self.name = facts.name
        self.codec = facts.codec
        self.pixels = facts.pixels
        self.num_frames = facts.num_frames
        self.rows, self.columns = facts.rows, facts.columns
        self.rate = facts.rate
        self.times = facts.times
        self.notes = facts.notes
        self.problems = facts.problems

    @property
    def channels(self) -> tuple[str, ...]:
        """The names that ``channel=`` takes; none where the video is grey."""
        return self.pixels.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Native; 8-bit video is uint8, deeper video uint16 with the values as stored."""
        return self.pixels.dtype

    def checked_channel(self, channel: str | None) -> str:
        """Return the channel to read, ``"grey"`` for a video of one.

        Raises
        ------
        StreamChoiceError
            There are several and none was named, or the named one does not exist.
        """
        if channel is None and not self.channels:
            return "grey"
        allowed = self.channels or ("grey",)
        if channel is None or channel not in allowed:
            raise StreamChoiceError.for_option(self.name, "channel", allowed, seen=channel)
        return channel

    def has_colour(self) -> bool:
        """Return whether the first, the middle or the last frame has a colour; these are decoded."""
        if not self.channels or not self.num_frames:
            return False
        last = self.num_frames - 1
        return any(self._shows_colour(index) for index in sorted({0, last // 2, last}))

    def read(
        self, indices: np.ndarray, *, rows: slice | None = None, columns: slice | None = None, channel: str = "grey"
    ) -> np.ndarray:
        """Return frames by index.

        Parameters
        ----------
        indices : numpy.ndarray
            int64, within the video, in any order, with repeats.
        rows, columns : slice, optional
            With ``0 <= start <= stop`` and step 1; all when left out.
        channel : str

        Returns
        -------
        numpy.ndarray
            ``(len(indices), rows, columns)``, owned by the caller.

        Raises
        ------
        CorruptRecordingError
            A frame cannot be decoded; the message names it.
        """
        rows, columns = rows or slice(0, self.rows), columns or slice(0, self.columns)
        result = np.empty((len(indices), rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        self.read_into(result, np.asarray(indices, np.int64), rows=rows, columns=columns, channel=channel)
        return result

    def read_into(
        self,
        result: np.ndarray,
        indices: np.ndarray,
        *,
        rows: slice | None = None,
        columns: slice | None = None,
        channel: str = "grey",
    ) -> None:
        """Fill an array with frames; as :meth:`read`, each frame decoded once."""
        rows, columns = rows or slice(0, self.rows), columns or slice(0, self.columns)
        if result.size == 0:
            return
        # Decoders only go forward, so frames are decoded in ascending order
        order = np.argsort(indices, kind="stable")
        ranked = indices[order]
        is_first = np.ones(len(ranked), bool)
        is_first[1:] = np.diff(ranked) > 0
        places = order[is_first]
        self._fill([result[place] for place in places.tolist()], ranked[is_first].tolist(), rows, columns, channel)
        if len(places) < len(order):
            sources = places[np.cumsum(is_first) - 1]
            repeated = ~is_first
            result[order[repeated]] = result[sources[repeated]]

    @abstractmethod
    def close(self) -> None:
        """Release the file and the decoders."""

    @abstractmethod
    def _fill(self, targets: list[np.ndarray], indices: list[int], rows: slice, columns: slice, channel: str) -> None:
        """Fill each target with its frame; the indices rise."""

    @abstractmethod
    def _shows_colour(self, index: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class Facts:
    name: str
    codec: str
    pixels: PixelFormat
    num_frames: int
    rows: int
    columns: int
    rate: float | None = None
    times: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def check_size(name: str, rows: int, columns: int) -> None:
    if rows < 1 or columns < 1 or rows * columns > _MAX_PIXELS:
        raise UnsupportedRecordingError(
            f"{name} says that its frames have {counted(rows, 'row')} and {counted(columns, 'column')}; up to {_MAX_PIXELS:,} pixels are supported"
        )


def task(function: Callable[..., None], *arguments: Any) -> Callable[[], None]:
    return lambda: function(*arguments)

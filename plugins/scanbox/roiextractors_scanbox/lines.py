"""Suspects a wrong number of channels by the stored values, where the info has no number of frames to compare."""

from __future__ import annotations

import math

import numpy as np

from roiextractors_core.io import PositionedFile

from .info import Layout

__all__ = ["suspect_channels"]

_MAX_LINES = 64  # around the middle of a frame, where a frame of half the size would end
_MAX_LINE_BYTES = 1 << 20


def suspect_channels(file: PositionedFile, layout: Layout, num_frames: int) -> int | None:
    """Return the number of channels that the stored values suggest, if it is not that of the info; else None.

    The distance at which values resemble each other shows how they are arranged.  In a line of one channel, neighbours are
    alike; in a line of two, every other value is.  The values of one line resemble those of the next, which begin after as
    many values as a line has.  Similar channels are no evidence by themselves: bleed-through makes them alike.

    Parameters
    ----------
    file : PositionedFile
        The pixels.
    layout : Layout
        As the info describes it.
    num_frames : int
        Complete frames of this layout.
    """
    if layout.columns < 4 or layout.rows < 4 or layout.columns * 4 > _MAX_LINE_BYTES:
        return None
    parts = [_middle(file, layout, frame) for frame in sorted({0, num_frames // 2, num_frames - 1})]
    variance, near, second = _covariances(parts, (0, 1, 2))
    # Noise alone gives differences of about one standard error
    error = variance / math.sqrt(sum(map(len, parts)))
    if len(layout.channels) == 1:
        # Half a line of two channels would be a line of the info
        if second - near > max(0.1 * variance, 8 * error):
            return 2
        if second - near <= max(0.03 * variance, 8 * error):
            return None
        line, lines = _covariances(parts, (layout.columns, 2 * layout.columns))
        return 2 if lines - line > 8 * error else None
    if len(layout.channels) != 2 or near - second < -2 * error:
        return None
    line, lines, more = _covariances(parts, (layout.columns, 2 * layout.columns, 4 * layout.columns))
    # Odd and even lines may differ in bidirectional scanning, so that both distances of two lines are compared
    is_shorter = line - max(lines, more) > 8 * error
    return 1 if is_shorter or all(_is_broken(part, layout) for part in parts) else None


def _middle(file: PositionedFile, layout: Layout, frame: int) -> np.ndarray:
    """Return the lines around the middle of a frame, an even number, as one row of numbers without their mean."""
    line_bytes = layout.frame_bytes // layout.rows
    half = min(layout.rows // 2, _MAX_LINES // 2)
    first = layout.rows // 2 - half
    stored = file.read(frame * layout.frame_bytes + first * line_bytes, 2 * half * line_bytes)
    values = np.frombuffer(stored, "<u2").astype(np.float64)
    values -= values.mean()
    return values


def _covariances(parts: list[np.ndarray], lags: tuple[int, ...]) -> list[float]:
    """Return the mean covariance of several parts for each lag."""
    return [sum(_covariance(part, lag) for part in parts) / len(parts) for lag in lags]


def _covariance(centred: np.ndarray, lag: int) -> float:
    """Return the covariance of values that are so many values apart; noise adds nothing to it, except without a lag."""
    pairs = len(centred) - lag
    # Not np.dot: its threads wait for each other for milliseconds on a busy machine
    return float(np.einsum("i,i->", centred[lag:], centred[:pairs])) / pairs if pairs > 0 else 0.0


def _is_broken(values: np.ndarray, layout: Layout) -> bool:
    """Return whether another frame begins in the middle, so that its line differs from the one before like no other."""
    if layout.rows % 2:
        return False
    lines = values.reshape(-1, layout.columns * len(layout.channels))
    steps = np.abs(np.diff(lines, axis=0)).mean(axis=1)
    middle = len(lines) // 2 - 1
    return bool(steps[middle] > 3 * np.delete(steps, middle).max(initial=0))

"""A quick look at a recording: mean image, maximum projection and mean trace of as much as time allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["QuickLook", "quick_look"]

_CHUNK_BYTES = 16 << 20  # large enough for fast reads, small enough that the time is checked often
_MAX_BYTES = 512 << 20
_MAX_SECONDS = 20.0  # a picture of a recording on a slow network drive should not take minutes
_MAX_PIXELS = 2048  # per side, as many as a picture shows
_PASSES = (
    0,
    4,
    2,
    6,
    1,
    5,
    3,
    7,
)  # every eighth chunk, then those in between, so that samples are spread evenly whenever reading stops


@dataclass(frozen=True, slots=True)
class QuickLook:
    """Images and trace, and the samples they were computed from.

    Attributes
    ----------
    mean, maximum : numpy.ndarray
        ``(rows, columns)``, float64, NaN where no pixel was finite; for a volume, over its planes too.
    trace : numpy.ndarray
        The mean over all pixels of each sample that was read, float64.
    samples : numpy.ndarray
        Their indices, int64, ascending.
    times : numpy.ndarray or None
        Their times in seconds; None if there are no times.
    num_samples : int
        Number of samples of the whole recording.
    step : int
        Rows and columns between the pixels of the images: 1, or more for large frames.
    """

    mean: np.ndarray
    maximum: np.ndarray
    trace: np.ndarray
    samples: np.ndarray
    times: np.ndarray | None
    num_samples: int
    step: int

    @property
    def is_partial(self) -> bool:
        """Whether samples were skipped."""
        return len(self.samples) < self.num_samples


def quick_look(
    recording: Any,
    *,
    most_bytes: int = _MAX_BYTES,
    most_seconds: float = _MAX_SECONDS,
    progress: Callable[[int, int], None] | None = None,
) -> QuickLook:
    """Read a recording once, in chunks; of a large one, evenly spread chunks.

    Parameters
    ----------
    recording : ImagingExtractor
        With at least one sample.
    most_bytes : int
        Number of bytes of pixels to read; at least one sample is read.
    most_seconds : float
        No chunk is begun after this time.
    progress : callable, optional
        ``progress(done, total)`` in chunks.
    """
    count = len(recording)
    each = max(1, recording.nbytes // count)
    length = min(count, max(1, min(_CHUNK_BYTES, most_bytes) // each))
    starts = _spread(np.arange(0, count, length), max(1, most_bytes // (length * each)))
    sums = _Sums(recording)
    began = time.monotonic()
    for done, start in enumerate(starts, 1):
        sums.add(start, min(start + length, count))
        if progress is not None:
            progress(done, len(starts))
        if time.monotonic() - began > most_seconds:  # checked after a chunk: at least one is always read
            break
    return sums.result()


def _spread(starts: np.ndarray, most: int) -> list[int]:
    """Return at most ``most`` of the starts, evenly spread, in an order that stays even when interrupted."""
    if len(starts) > most:
        # First and last included
        starts = starts[np.unique(np.linspace(0, len(starts) - 1, most).round().astype(np.int64))]
    return [start for offset in _PASSES for start in starts[offset::8].tolist()]


class _Sums:
    """Sums of the samples read so far."""

    def __init__(self, recording: Any) -> None:
        self._recording = recording
        self._clock = recording.clock
        rows, columns = recording.get_frame_shape()
        self._step = -(-max(rows, columns) // _MAX_PIXELS)
        shape = len(range(0, rows, self._step)), len(range(0, columns, self._step))
        self._total, self._seen = np.zeros(shape), np.zeros(shape, np.int64)
        self._maximum = np.full(shape, -np.inf)
        self._runs: list[tuple[int, int]] = []
        self._traces: dict[int, np.ndarray] = {}
        self._times: dict[int, np.ndarray] = {}

    def add(self, start: int, end: int) -> None:
        """Read samples ``start`` to ``end`` (exclusive)."""
        block = self._recording.get_series(start, end)
        block = np.abs(block) if block.dtype.kind == "c" else block
        # Integers are finite: no mask is made for them
        finite: Any = np.isfinite(block) if block.dtype.kind == "f" else True
        block = block if finite is True or finite.all() else np.where(finite, block, np.nan)
        whole = tuple(range(1, block.ndim))
        with np.errstate(invalid="ignore"):
            self._traces[start] = block.mean(axis=whole, dtype=np.float64)
        self._add_images(block[:, :: self._step, :: self._step])
        if self._clock.source is not None:
            self._times[start] = self._clock.times(start, end)
        self._runs.append((start, end))

    def result(self) -> QuickLook:
        """Return the projections, in the order of the samples."""
        runs = sorted(self._runs)
        starts = [start for start, _ in runs]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self._total / self._seen
        return QuickLook(
            mean=mean,
            maximum=np.where(self._seen > 0, self._maximum, np.nan),
            trace=np.concatenate([self._traces[start] for start in starts]),
            samples=np.concatenate([np.arange(start, end, dtype=np.int64) for start, end in runs]),
            times=np.concatenate([self._times[start] for start in starts]) if self._times else None,
            num_samples=len(self._recording),
            step=self._step,
        )

    def _add_images(self, part: np.ndarray) -> None:
        over = (0,) if part.ndim == 3 else (0, 3)
        holes = part.dtype.kind == "f" and bool(np.isnan(part).any())
        known = ~np.isnan(part) if holes else True
        self._total += part.sum(axis=over, dtype=np.float64, where=known)
        self._seen += np.sum(known, axis=over) if holes else int(np.prod([part.shape[axis] for axis in over]))
        # max() with where= needs an initial value, and with one it promotes integers: it is given only where needed
        low = False if part.dtype.kind == "b" else -np.inf if holes else None
        highest = part.max(axis=over, initial=low, where=known) if low is not None else part.max(axis=over)
        np.maximum(self._maximum, highest, out=self._maximum)

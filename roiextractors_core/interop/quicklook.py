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
_MAX_PLANE_PIXELS = 512  # the same for planes, which are drawn side by side
_MAX_PLANES = 12  # more would be too small to see
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
    mean : numpy.ndarray
        ``(rows, columns)``, of a volume ``(rows, columns, len(planes))``; float64, NaN where no pixel was finite.
    maximum : numpy.ndarray
        ``(rows, columns)``, of a volume over all of its planes; float64, NaN where no pixel was finite.
    planes : numpy.ndarray
        The planes of ``mean``, int64: all, or twelve that are evenly spread; empty if it has none.
    num_planes : int
        Number of planes of the whole recording.
    is_section : bool
        Whether the volumes have one row each; the rows of the images are then the planes.
    lines : numpy.ndarray or None
        ``(lines, columns)``: of frames of one row (a line scan), the rows that were read, below each other; at most 2,048.
    trace : numpy.ndarray
        The mean over the finite pixels of each sample that was read, float64.
    samples : numpy.ndarray
        Their indices, int64, ascending.
    times : numpy.ndarray or None
        Their times in seconds; None if there are no times.
    num_samples : int
        Number of samples of the whole recording.
    step : int
        Rows and columns between the pixels of the images: 1, or more for large frames.
    left_out : float
        The share of the pixels that were read and are not finite, 0 to 1; they are not part of the images and the trace.
    """

    mean: np.ndarray
    maximum: np.ndarray
    planes: np.ndarray
    num_planes: int
    is_section: bool
    lines: np.ndarray | None
    trace: np.ndarray
    samples: np.ndarray
    times: np.ndarray | None
    num_samples: int
    step: int
    left_out: float

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
        rows, columns, *planes = recording.get_sample_shape()
        self._is_section = rows == 1 and bool(planes) and planes[0] > 1
        if self._is_section:
            rows, planes = planes[0], []
        most = _MAX_PLANE_PIXELS if planes else _MAX_PIXELS
        self._step = -(-max(rows, columns) // most)
        count = planes[0] if planes else 0
        self._planes = np.unique(np.linspace(0, count - 1, min(count, _MAX_PLANES)).round().astype(np.int64))
        self._is_line = rows == 1 and not planes and columns > 1 and len(recording) > 1
        self._every = -(-len(recording) // _MAX_PIXELS)
        self._lines: dict[int, np.ndarray] = {}
        shape = len(range(0, rows, self._step)), len(range(0, columns, self._step))
        self._total = np.zeros((*shape, len(self._planes)) if planes else shape)
        self._seen = np.zeros(self._total.shape, np.int64)
        self._maximum = np.full(shape, -np.inf)
        self._runs: list[tuple[int, int]] = []
        self._traces: dict[int, np.ndarray] = {}
        self._times: dict[int, np.ndarray] = {}
        self._finite, self._pixels = 0, 0

    def add(self, start: int, end: int) -> None:
        """Read samples ``start`` to ``end`` (exclusive)."""
        block = self._recording.get_series(start, end)
        block = np.abs(block) if block.dtype.kind == "c" else block
        block = block[:, 0].transpose(0, 2, 1) if self._is_section else block
        # Integers are finite: no mask is made for them
        finite: Any = np.isfinite(block) if block.dtype.kind == "f" else True
        finite = True if finite is True or finite.all() else finite
        self._traces[start] = self._means(block, finite)
        part = (slice(None), slice(None, None, self._step), slice(None, None, self._step))
        self._add_images(block[part], finite if finite is True else finite[part])
        if self._is_line:
            # Counted from the first sample of the recording, not of the block
            self._lines[start] = block[-start % self._every :: self._every, 0, :: self._step].astype(np.float64)
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
            maximum=np.where(np.isneginf(self._maximum), np.nan, self._maximum),
            planes=self._planes,
            num_planes=self._recording.get_num_planes(),
            is_section=self._is_section,
            lines=np.concatenate([self._lines[start] for start in starts]) if self._is_line else None,
            trace=np.concatenate([self._traces[start] for start in starts]),
            samples=np.concatenate([np.arange(start, end, dtype=np.int64) for start, end in runs]),
            times=np.concatenate([self._times[start] for start in starts]) if self._times else None,
            num_samples=len(self._recording),
            step=self._step,
            left_out=1 - self._finite / self._pixels,
        )

    def _means(self, block: np.ndarray, finite: Any) -> np.ndarray:
        """Return the mean of each sample over its finite pixels; NaN where there are none."""
        whole = tuple(range(1, block.ndim))
        self._pixels += block.size
        if finite is True:
            self._finite += block.size
            return np.asarray(block.mean(axis=whole, dtype=np.float64))
        counts = finite.sum(axis=whole)
        self._finite += int(counts.sum())
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(block.sum(axis=whole, dtype=np.float64, where=finite) / counts)

    def _add_images(self, part: np.ndarray, finite: Any) -> None:
        over = (0,) if part.ndim == 3 else (0, 3)
        shown, known = part, finite
        if part.ndim == 4:
            shown, known = part[..., self._planes], finite if finite is True else finite[..., self._planes]
        self._total += shown.sum(axis=0, dtype=np.float64, where=known)
        self._seen += len(shown) if known is True else known.sum(axis=0)
        # max() with where= needs an initial value, and with one it promotes integers: it is given only where needed
        low = False if part.dtype.kind == "b" else None if finite is True else -np.inf
        highest = part.max(axis=over, initial=low, where=finite) if low is not None else part.max(axis=over)
        np.maximum(self._maximum, highest, out=self._maximum)

"""Which frames make a sample, and when it was: planes and volumes, cycles and bursts, rates."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, printable

from .pvscan import Channel, Scan

__all__ = ["Samples", "frame_times", "is_volume", "rate_of", "samples_of"]

_SAME_TIME = 1e-6  # seconds: the XML's times are written with nine decimals, the absolute ones with noise behind them
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Samples:
    """The images of every sample.

    Attributes
    ----------
    images : numpy.ndarray
        ``(samples, planes)`` int64: rows of the channel's columns.
    left_out : tuple of str
        What the XML itself does not hold whole.
    notes : tuple of str
        What was decided.
    """

    images: np.ndarray
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def depth(self) -> int:
        """The planes of a sample."""
        return int(self.images.shape[1])


def is_volume(kind: str) -> bool:
    """Return whether a sequence of this type is a volume, its frames the planes."""
    return "zseries" in kind.lower()


def samples_of(scan: Scan, channel: Channel, kinds: Collection[int]) -> Samples:
    """Return the samples of a channel.

    Parameters
    ----------
    scan : Scan
    channel : Channel
    kinds : collection of int
        The types of sequences to take, all volumes or all not.

    Raises
    ------
    CorruptRecordingError
        A frame has two images of the channel.
    UnsupportedRecordingError
        No sample is whole.
    """
    image_of = np.full(len(scan.indices), -1, np.int64)
    image_of[channel.frames] = np.arange(len(channel.frames))
    _check_single(scan, channel, image_of)
    wanted = np.flatnonzero(np.isin(scan.sequence_kinds[scan.sequences], list(kinds)))
    if any(is_volume(scan.kinds[kind]) for kind in kinds):
        found = _volumes(scan, wanted, image_of)
    else:
        found = _frames(scan, channel, wanted, image_of)
    if not len(found.images):
        raise UnsupportedRecordingError(
            f"{scan.name}: the channel {printable(channel.name)!r} has no whole sample. {'; '.join(found.left_out)}"
        )
    return found


def _check_single(scan: Scan, channel: Channel, image_of: np.ndarray) -> None:
    twice = np.flatnonzero(image_of[channel.frames] != np.arange(len(channel.frames)))
    if len(twice):
        files = (int(channel.files[twice[0]]), int(channel.files[image_of[channel.frames[twice[0]]]]))
        names = " and ".join(printable(scan.names[k]) for k in files)
        raise CorruptRecordingError(
            f"{scan.name}: {scan.frame_words(int(channel.frames[twice[0]]))} has two images of the channel {printable(channel.name)!r}: {names}"
        )


def _frames(scan: Scan, channel: Channel, wanted: np.ndarray, image_of: np.ndarray) -> Samples:
    images = image_of[wanted]
    without = np.flatnonzero(images < 0)
    notes: tuple[str, ...] = ()
    if len(without):
        notes = (
            f"{scan.name}: {len(without):,} of {len(wanted):,} frames have no image of the channel {printable(channel.name)!r}, "
            f"the first {scan.frame_words(int(wanted[without[0]]))}",
        )
    return Samples(images[images >= 0][:, np.newaxis], (), notes)


def _volumes(scan: Scan, wanted: np.ndarray, image_of: np.ndarray) -> Samples:
    """Group the frames of a sequence; where the index begins anew inside one, so does the volume."""
    if not len(wanted):
        return Samples(np.empty((0, 1), np.int64))
    new = (np.diff(scan.sequences[wanted]) != 0) | (np.diff(scan.indices[wanted]) <= 0)
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    counts = np.diff(np.append(starts, len(wanted)))
    lengths, occurrences = np.unique(counts, return_counts=True)
    depth = int(lengths[len(lengths) - 1 - np.argmax(occurrences[::-1])])
    frames = wanted[starts[counts == depth][:, np.newaxis] + np.arange(depth)]
    images = image_of[frames]
    whole = (images >= 0).all(axis=1)
    short = np.concatenate([wanted[starts[counts != depth]], frames[~whole, 0]])
    left_out = _incomplete(scan, np.sort(short), len(starts), depth)
    turned, notes = _turned(scan, frames[whole])
    images = images[whole]
    images[turned] = images[turned, ::-1]
    return Samples(images, left_out, notes)


def _incomplete(scan: Scan, firsts: np.ndarray, total: int, depth: int) -> tuple[str, ...]:
    if not len(firsts):
        return ()
    cycle = scan.cycles[scan.sequences[firsts[0]]]
    return (
        f"{scan.name}: {len(firsts):,} of {total:,} volumes do not hold the {depth:,} planes of the others and are left out, "
        f"the first that of cycle {cycle}",
    )


def _turned(scan: Scan, frames: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return which volumes were taken from the last plane to the first, as their positions say."""
    depths = scan.depths[frames]
    if not len(depths) or depths.shape[1] < 2:
        return np.zeros(len(depths), bool), ()
    near = 1e-3 + 1e-6 * np.abs(depths[0])
    forward = (np.abs(depths - depths[0]) <= near).all(axis=1)
    turned = (np.abs(depths - depths[0, ::-1]) <= near[::-1]).all(axis=1) & ~forward
    if not turned.any():
        return turned, ()
    return turned, (
        f"{scan.name}: {int(turned.sum()):,} of {len(frames):,} volumes were taken in the other direction; their planes are put in the order "
        "of the first volume's positions",
    )


def frame_times(scan: Scan) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the time of every frame in seconds, and what was decided; None where the XML does not tell.

    The relative times; where cycles begin anew, each is put at its absolute time, else at its sequence's time of day.
    """
    relative, absolute = scan.relative, scan.absolute
    if not np.isfinite(relative).all():
        if np.isfinite(absolute).all() and (np.diff(absolute) > 0).all():
            return absolute - absolute[0], (f"{scan.name}: relative times are missing; the absolute ones are used",)
        return None, (f"{scan.name}: some frames have no time, so that none is told",)
    firsts = np.concatenate([[0], np.flatnonzero(np.diff(scan.sequences)) + 1])
    for times in (_by_absolute(scan, firsts), _if_rising(relative, firsts), _by_clock(scan, firsts)):
        if times is not None:
            return times, _gaps(scan, times, firsts)
    return None, (
        f"{scan.name}: the times of its {len(firsts):,} cycles begin anew, and nothing says when each began; no times are told",
    )


def _if_rising(times: np.ndarray, firsts: np.ndarray) -> np.ndarray | None:
    later = firsts[1:]
    return times if (times[later] > times[later - 1]).all() else None


def _by_absolute(scan: Scan, firsts: np.ndarray) -> np.ndarray | None:
    zeros = scan.absolute[firsts] - scan.relative[firsts]
    if not np.isfinite(zeros).all():
        return None
    offsets = zeros - zeros[0]
    offsets[np.abs(offsets) < _SAME_TIME] = 0.0
    if not offsets.any():
        return _if_rising(scan.relative, firsts)
    lengths = np.diff(np.append(firsts, len(scan.relative)))
    return _if_rising(scan.relative + np.repeat(offsets, lengths), firsts)


def _by_clock(scan: Scan, firsts: np.ndarray) -> np.ndarray | None:
    clocks = scan.clocks[scan.sequences[firsts]]
    if not np.isfinite(clocks).all():
        return None
    steps = np.diff(clocks, prepend=clocks[0])
    steps[steps < -_DAY / 2] += _DAY  # over midnight
    offsets = np.cumsum(steps) - (scan.relative[firsts] - scan.relative[0])
    lengths = np.diff(np.append(firsts, len(scan.relative)))
    return _if_rising(scan.relative + np.repeat(offsets, lengths), firsts)


def _gaps(scan: Scan, times: np.ndarray, firsts: np.ndarray) -> tuple[str, ...]:
    steps = np.diff(times)
    gaps = steps[firsts[1:] - 1]
    inside = np.delete(steps, firsts[1:] - 1)
    if not len(gaps) or not len(inside) or gaps.max() < 3 * np.median(inside):
        return ()
    long = gaps[gaps >= 3 * np.median(inside)]
    return (
        f"{scan.name}: {len(long):,} gaps of {long.min():.6g} to {long.max():.6g} s lie between its {len(firsts):,} cycles; the native times "
        "keep them, and the sampling frequency is the rate between them",
    )


def rate_of(scan: Scan, frames: np.ndarray, times: np.ndarray | None) -> float | None:
    """Return the samples a second within a burst, or None where neither times nor frame period tell it.

    Parameters
    ----------
    scan : Scan
    frames : numpy.ndarray
        ``(samples, planes)``: the frames of each sample.
    times : numpy.ndarray or None
        Seconds, one a sample.
    """
    planar = frames.shape[1] == 1
    period = _median(scan.periods[frames[:, 0]]) if planar else None
    step = None if times is None else _step(times, scan.sequences[frames[:, 0]])
    if step is None:
        alone = times is None or len(times) < 2
        return 1.0 / period if period is not None and alone else None
    if period is not None and abs(period - step) <= 1e-3 * step:
        return 1.0 / period
    return 1.0 / step


def _step(times: np.ndarray, sequences: np.ndarray) -> float | None:
    """Return the usual time between samples of one cycle, or of all where a cycle is one sample; None where there is none."""
    steps = np.diff(times)
    inside = steps[np.diff(sequences) == 0]
    steps = inside if len(inside) else steps
    usual = _median(steps[steps > 0])
    if usual is None or np.mean(np.abs(steps - usual) <= 0.01 * usual) < 0.5:
        return None
    return usual


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values) & (values > 0)]
    return float(np.median(known)) if len(known) else None

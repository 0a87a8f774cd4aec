"""Groups frames into samples and finds their times: planes and volumes, cycles and bursts, rates."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)

from .pvscan import Channel, Scan

__all__ = ["Samples", "frame_times", "is_volume", "places_of", "rate_of", "samples_of"]

_SAME_TIME = 1e-6  # seconds: times have nine decimals in the XML, but the last digits of the absolute ones are noise
_DAY = 86400.0
_MIN_MOVE = 5.0  # micrometres: a stage that stays where it is, read again, differs by less


@dataclass(frozen=True, slots=True)
class Samples:
    """The images of every sample.

    Attributes
    ----------
    images : numpy.ndarray
        ``(samples, planes)`` int64: rows of the channel's columns.
    points : numpy.ndarray
        The number of each sample among all that the XML describes, from 0.
    num_described : int
        How many samples the XML describes, with those that are incomplete in it.
    left_out : tuple of str
        Samples that are incomplete in the XML itself.
    notes : tuple of str
        Decisions made while grouping.
    """

    images: np.ndarray
    points: np.ndarray
    num_described: int
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def depth(self) -> int:
        """The planes of a sample."""
        return int(self.images.shape[1])


def is_volume(kind: str) -> bool:
    """Return whether a sequence of this type is a volume, with its frames as planes."""
    return "zseries" in kind.lower()


def places_of(scan: Scan) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the stage position of every frame, as a number, and a description of each position.

    The place in a grid counts if the XML gives it; otherwise positions that are more than a few micrometres apart.  They are
    numbered as they were visited.
    """
    grid = scan.stage[:, 2]
    if np.isfinite(grid).all():
        _, codes = np.unique(grid, return_inverse=True)
    else:
        x, y = (_clusters(_without_unknown(scan.stage[:, k])) for k in (0, 1))
        # One number for each pair: an axis has at most len(x) clusters
        codes = x * (len(x) + 1) + y
    values, firsts, codes = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values))
    words = [f"x={scan.stage[k, 0]:g}, y={scan.stage[k, 1]:g} µm" for k in firsts[order].tolist()]
    # The shape of the inverse of np.unique depends on the version of numpy
    return rank[codes.reshape(-1)], tuple(words)


def _without_unknown(positions: np.ndarray) -> np.ndarray:
    """Return positions with the last known one in place of an unknown one, which does not distinguish frames."""
    known = np.isfinite(positions)
    if not known.any():
        return np.zeros(len(positions))
    last = np.maximum.accumulate(np.where(known, np.arange(len(positions)), np.argmax(known)))
    return np.asarray(positions[last])


def _clusters(values: np.ndarray) -> np.ndarray:
    """Return the same number for values without a gap between them."""
    order = np.argsort(values, kind="stable")
    result = np.empty(len(values), np.int64)
    result[order] = np.cumsum(np.diff(values[order], prepend=values[order[0]]) > _MIN_MOVE)
    return result


def samples_of(scan: Scan, channel: Channel, kinds: Collection[int], *, place: int | None = None) -> Samples:
    """Return the samples of a channel.

    Parameters
    ----------
    scan : Scan
    channel : Channel
    kinds : collection of int
        The types of sequences to use, either all volumes or none.
    place : int, optional
        Only frames at this stage position.

    Raises
    ------
    CorruptRecordingError
        A frame has two images of the channel.
    TruncatedRecordingError
        The XML ends in the first volume, so that the number of planes is not known.
    UnsupportedRecordingError
        No sample is complete.
    """
    image_of = np.full(len(scan.indices), -1, np.int64)
    image_of[channel.frames] = np.arange(len(channel.frames))
    _check_single(scan, channel, image_of)
    mask = np.isin(scan.sequence_kinds[scan.sequences], list(kinds))
    if place is not None:
        mask &= places_of(scan)[0] == place
    chosen = np.flatnonzero(mask)
    if any(is_volume(scan.kinds[kind]) for kind in kinds):
        samples = _volumes(scan, chosen, image_of)
    else:
        samples = _frames(scan, channel, chosen, image_of)
    if not len(samples.images):
        raise UnsupportedRecordingError(
            f"{scan.name}: the channel {printable(channel.name)!r} has no complete sample. {'; '.join(samples.left_out)}"
        )
    return samples


def _check_single(scan: Scan, channel: Channel, image_of: np.ndarray) -> None:
    # Of two images of a frame, image_of contains the later one, so the earlier one differs from it
    twice = np.flatnonzero(image_of[channel.frames] != np.arange(len(channel.frames)))
    if len(twice):
        files = (int(channel.files[twice[0]]), int(channel.files[image_of[channel.frames[twice[0]]]]))
        names = " and ".join(printable(scan.names[k]) for k in files)
        raise CorruptRecordingError(
            f"{scan.name}: {scan.frame_words(int(channel.frames[twice[0]]))} has two images of the channel {printable(channel.name)!r}: {names}"
        )


def _frames(scan: Scan, channel: Channel, chosen: np.ndarray, image_of: np.ndarray) -> Samples:
    images = image_of[chosen]
    without = np.flatnonzero(images < 0)
    notes: tuple[str, ...] = ()
    if len(without):
        notes = (
            f"{scan.name}: {len(without):,} of {len(chosen):,} frames have no image of the channel {printable(channel.name)!r}; "
            f"the first is {scan.frame_words(int(chosen[without[0]]))}",
        )
    images = images[images >= 0][:, np.newaxis]
    return Samples(images, np.arange(len(images)), len(images), (), notes)


def _volumes(scan: Scan, chosen: np.ndarray, image_of: np.ndarray) -> Samples:
    """Group the frames of each sequence; a new volume also begins where the index inside a sequence starts again."""
    if not len(chosen):
        return Samples(np.empty((0, 1), np.int64), np.empty(0, np.int64), 0)
    new = (np.diff(scan.sequences[chosen]) != 0) | (np.diff(scan.indices[chosen]) <= 0)
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    counts = np.diff(np.append(starts, len(chosen)))
    if scan.cut and len(starts) == 1 and chosen[-1] == len(scan.indices) - 1:  # its last frame is dropped
        raise TruncatedRecordingError(f"{scan.cut}; the first volume is not complete")
    # the most frequent number of planes, and of equally frequent ones the largest: a stopped volume is short, never long
    lengths, occurrences = np.unique(counts, return_counts=True)
    depth = int(lengths[len(lengths) - 1 - np.argmax(occurrences[::-1])])
    frames = chosen[starts[counts == depth][:, np.newaxis] + np.arange(depth)]
    images = image_of[frames]
    complete = (images >= 0).all(axis=1)
    short = np.concatenate([chosen[starts[counts != depth]], frames[~complete, 0]])
    left_out = _describe_short(scan, np.sort(short), len(starts), depth)
    is_reversed, notes = _find_reversed(scan, frames[complete])
    images = images[complete]
    images[is_reversed] = images[is_reversed, ::-1]
    points = np.flatnonzero(counts == depth)[complete]
    return Samples(images, points, len(starts), left_out, notes)


def _describe_short(scan: Scan, firsts: np.ndarray, total: int, depth: int) -> tuple[str, ...]:
    if not len(firsts):
        return ()
    cycle = scan.cycles[scan.sequences[firsts[0]]]
    return (
        f"{scan.name}: {len(firsts):,} of {total:,} volumes do not have the {depth:,} planes of the others and are left out; "
        f"the first is in cycle {cycle}",
    )


def _find_reversed(scan: Scan, frames: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return which volumes were acquired from the last plane to the first, according to their positions."""
    depths = scan.depths[frames]  # bidirectional Z writes the frames of every other volume in the opposite order
    if not len(depths) or depths.shape[1] < 2:
        return np.zeros(len(depths), bool), ()
    near = 1e-3 + 1e-6 * np.abs(depths[0])  # micrometres
    forward = (np.abs(depths - depths[0]) <= near).all(axis=1)
    # Positions that are the same in both directions do not show a reversal
    backward = (np.abs(depths - depths[0, ::-1]) <= near[::-1]).all(axis=1) & ~forward
    if not backward.any():
        return backward, ()
    return backward, (
        f"{scan.name}: {int(backward.sum()):,} of {len(frames):,} volumes were acquired in the opposite direction; their planes are "
        "reordered to match the positions of the first volume",
    )


def frame_times(scan: Scan) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the time of every frame in seconds, or None if the XML has no usable times, and notes about it.

    These are the relative times; if they start again in each cycle, the cycle is placed by its absolute time, or by the
    time of day of its sequence.
    """
    relative, absolute = scan.relative, scan.absolute
    if _stands_still(scan, relative):
        if np.isfinite(absolute).all() and (np.diff(absolute) > 0).all():
            return absolute - absolute[0], (
                f"{scan.name}: the relative times do not advance, so the absolute times are used",
            )
        return None, (
            f"{scan.name}: the times do not advance from frame to frame, so times are computed from the rate",
        )
    if not np.isfinite(relative).all():
        if np.isfinite(absolute).all() and (np.diff(absolute) > 0).all():
            return absolute - absolute[0], (f"{scan.name}: relative times are missing, so the absolute times are used",)
        return None, (f"{scan.name}: some frames have no time, so there are no native timestamps",)
    firsts = np.concatenate([[0], np.flatnonzero(np.diff(scan.sequences)) + 1])
    # Absolute times contain the gaps between cycles, relative ones only if they run on; the time of day comes last
    for times in (_by_absolute(scan, firsts), _if_rising(relative, firsts), _by_clock(scan, firsts)):
        if times is not None:
            return times, _gaps(scan, times, firsts)
    return None, (
        f"{scan.name}: the times restart in each of its {len(firsts):,} cycles, and the start of each cycle is unknown; there are "
        "no native timestamps",
    )


def _stands_still(scan: Scan, relative: np.ndarray) -> bool:
    """Return whether the frames of a cycle all have the same time."""
    inside = np.diff(relative)[np.diff(scan.sequences) == 0]
    return bool(len(inside) and (inside == 0).all())


def _if_rising(times: np.ndarray, firsts: np.ndarray) -> np.ndarray | None:
    later = firsts[1:]
    return times if (times[later] > times[later - 1]).all() else None


def _by_absolute(scan: Scan, firsts: np.ndarray) -> np.ndarray | None:
    zeros = scan.absolute[firsts] - scan.relative[firsts]
    if not np.isfinite(zeros).all():
        return None
    offsets = zeros - zeros[0]
    # Without an offset, the times stay those of the XML to the last bit
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
    steps[steps < -_DAY / 2] += _DAY  # past midnight
    # The first relative time of a cycle need not be 0
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
        f"{scan.name}: there are {len(long):,} gaps of {long.min():.6g} to {long.max():.6g} s between its {len(firsts):,} cycles; the "
        "native timestamps include them, and the sampling frequency is the rate within a cycle",
    )


def rate_of(scan: Scan, frames: np.ndarray, times: np.ndarray | None) -> float | None:
    """Return the samples per second within a burst, or None if neither the times nor the frame period give it.

    Parameters
    ----------
    scan : Scan
    frames : numpy.ndarray
        ``(samples, planes)``: the frames of each sample.
    times : numpy.ndarray or None
        Seconds, one per sample.
    """
    planar = frames.shape[1] == 1
    # The frame period of a volume is that of one of its planes
    period = _median(scan.periods[frames[:, 0]]) if planar else None
    step = None if times is None else _step(times, scan.sequences[frames[:, 0]])
    if step is None:
        # Several samples at uneven times have no rate, whatever the frame period is
        alone = times is None or len(times) < 2
        return 1.0 / period if period is not None and alone else None
    # the period has more digits than the times; one that does not fit them is not used (averaging, skipped frames)
    if period is not None and abs(period - step) <= 1e-3 * step:
        return 1.0 / period
    return 1.0 / step


def _step(times: np.ndarray, sequences: np.ndarray) -> float | None:
    """Return the usual time between samples within a cycle, or of all if each cycle is one sample; None if it varies."""
    steps = np.diff(times)
    inside = steps[np.diff(sequences) == 0]
    steps = inside if len(inside) else steps
    usual = _median(steps[steps > 0])
    # Half of the steps must agree, so single pauses do not hide the rate
    if usual is None or np.mean(np.abs(steps - usual) <= 0.01 * usual) < 0.5:
        return None
    return usual


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values) & (values > 0)]
    return float(np.median(known)) if len(known) else None

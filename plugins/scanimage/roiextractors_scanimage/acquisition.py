"""Reads the order of the pages from the header: channels, planes, repeats, flyback; and the rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from roiextractors_core.errors import TruncatedRecordingError, UnsupportedRecordingError, counted

from .header import Header

__all__ = ["Acquisition", "PageOrder", "acquisition_of", "formula"]

# Fewer gaps could all be multiples of the step by chance, if frames were lost
_MIN_STEPS = 3


@dataclass(frozen=True, slots=True)
class PageOrder:
    """How the pages of a recording follow one another.

    Channels change fastest, then the repeats of a plane (``framesPerSlice``), then the planes, then the frames of
    the flyback, then the volumes.  All numbers count what was saved, that is after ScanImage's averaging.

    Attributes
    ----------
    channels : int
        Pages a frame.
    planes : int
        1 for a movie of one plane.
    repeats : int
        Frames of one plane, one after the other, before the next plane.
    flyback : int
        Frames at the end of each volume that were taken while the focus flew back.

    References
    ----------
    ScanImage documentation, "Volume imaging" and "TIFF header"; the order agrees with the z positions that the
    header lists (``SI.hStackManager.zs``) and with the pages' frame numbers.
    """

    channels: int = 1
    planes: int = 1
    repeats: int = 1
    flyback: int = 0

    @property
    def kept(self) -> int:
        """Frames of one volume without the flyback."""
        return self.planes * self.repeats

    @property
    def frames(self) -> int:
        """Frames of one volume with the flyback."""
        return self.planes * self.repeats + self.flyback

    @property
    def pages(self) -> int:
        """Pages of one volume with the flyback, all channels."""
        return self.frames * self.channels

    @property
    def is_plain(self) -> bool:
        """Whether every frame is a sample of its own."""
        return self.planes == 1 and self.flyback == 0

    def num_volumes(self, num_pages: int) -> int:
        """Return the number of complete volumes; the last one needs no flyback."""
        # Adding the flyback counts a last volume that ends before it
        return (num_pages + self.flyback * self.channels) // self.pages

    def num_frames(self, num_pages: int) -> int:
        """Return the number of complete frames outside the flyback."""
        volumes, rest = divmod(num_pages, self.pages)
        kept = self.planes * self.repeats
        return volumes * kept + min(rest // self.channels, kept)


@dataclass(frozen=True, slots=True)
class Acquisition:
    """The contents of one header that matter for reading.

    Attributes
    ----------
    order : PageOrder
    channel_names : tuple of str
        The saved channels in the order of their pages.
    channel_numbers : tuple of int
        ScanImage's numbers of the channels, from 1.
    frame_rate : float or None
        Saved frames a second (Hz).
    volume_rate : float or None
        Volumes a second (Hz); for a slow stack the header's nominal number.
    plane_positions : tuple of float
        In micrometres.
    plane_spacing : float or None
        In micrometres.
    number_step : int
        By how much the frame number grows from one saved frame to the next.
    notes : tuple of str
        Decisions that differ from the header.
    contradictions : tuple of str
        The same, where a person should be warned: the pages do not settle what is right.
    """

    order: PageOrder = PageOrder()
    channel_names: tuple[str, ...] = ("Channel 1",)
    channel_numbers: tuple[int, ...] = (1,)
    frame_rate: float | None = None
    volume_rate: float | None = None
    plane_positions: tuple[float, ...] = ()
    plane_spacing: float | None = None
    number_step: int = 1
    notes: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()


def acquisition_of(
    header: Header,
    *,
    name: str,
    frame_numbers: Sequence[int | None],
    num_pages: int,
    stamps: Sequence[float | None] = (),
    flyback: int | None = None,
) -> Acquisition:
    """Read the header and correct it by the first pages.

    Parameters
    ----------
    header : Header
    name : str
        The recording's name, for messages.
    frame_numbers : sequence of int or None
        The frame numbers of the first pages, which repeat once a channel.
    num_pages : int
        In all files.
    stamps : sequence of float or None
        The times of the first pages.
    flyback : int, optional
        Frames of flyback in each volume; overrides the header.

    Raises
    ------
    UnsupportedRecordingError
        ScanImage averaged frames of several planes into one.
    TruncatedRecordingError
        The recording has no complete volume.
    """
    channels = _channels(header, frame_numbers, num_pages)
    stack = {"SI": _stack, "SI4": _classic_stack, "state": _oldest_stack}.get(header.dialect, _no_stack)(
        header, num_pages // len(channels.numbers), len(channels.numbers)
    )
    timing = _Timing.of(frame_numbers, stamps)
    stack, step, averaging = _averaged(stack, timing)
    stack, returned, doubts = _returned(stack, header, timing, num_pages // len(channels.numbers), flyback)
    order, notes = _saved(stack, len(channels.numbers), num_pages, name, (timing.first - 1) // step)
    if order.planes > 1 and order.num_volumes(num_pages) == 0 and not (order.repeats > 1 and timing.numbers):
        raise TruncatedRecordingError(
            f"{name} contains {counted(num_pages, 'page')}, but one volume takes {order.kept * order.channels:,} "
            f"({formula(order)}): no volume is complete; open(..., format='tiff') gives the pages as they are"
        )
    return Acquisition(
        order=order,
        channel_names=channels.names,
        channel_numbers=channels.numbers,
        frame_rate=None if stack.frame_rate is None else stack.frame_rate / stack.average,
        volume_rate=_volume_rate(stack) if order.planes > 1 else None,
        plane_positions=_positions(header, order) if order.planes > 1 else (),
        plane_spacing=_spacing(header, order) if order.planes > 1 else None,
        number_step=step,
        notes=channels.notes + returned + notes,
        contradictions=channels.contradictions + averaging + doubts + _depth_doubts(header, order),
    )


@dataclass(frozen=True, slots=True)
class _Channels:
    numbers: tuple[int, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()


def _channels(header: Header, frame_numbers: Sequence[int | None], num_pages: int) -> _Channels:
    saved = _saved_channels(header)
    active = _whole(header.numbers("SI.hChannels.channelsActive"))
    # The header may be wrong about the saved channels; each frame number occurs once a channel
    seen = _repeats_of(frame_numbers, num_pages, len(active))
    notes: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    if seen is not None and seen != len(saved or (1,)):
        explained = len(active) == seen and (seen > len(saved) or set(active) <= set(saved))
        if header.dialect:
            stated = f"{len(saved)} saved channel{'' if len(saved) == 1 else 's'}" if saved else "no channels"
            sentence = (
                f"the header names {stated}, but each frame number occurs on {seen} page{'' if seen == 1 else 's'}: "
                f"{seen} {'is' if seen == 1 else 'are'} read"
            )
            if explained:
                notes = (sentence,)
            else:
                contradictions = (f"{sentence}, and the names of the channels are not certain",)
        saved = active if explained else saved[:seen] if seen < len(saved) else tuple(range(1, seen + 1))
    numbers = saved or (1,)
    names = _channel_names(header.texts("SI.hChannels.channelName"), numbers)
    return _Channels(numbers, names, notes, contradictions)


def _saved_channels(header: Header) -> tuple[int, ...]:
    if header.dialect == "state":
        found = tuple(n for n in range(1, 17) if header.flag(f"state.acq.savingChannel{n}"))
        return found or tuple(range(1, min(header.count("state.acq.numberOfChannelsSave") or 1, 64) + 1))
    keys = {
        "SI": ("SI.hChannels.channelSave", "SI.hChannels.channelsActive"),
        "SI4": ("SI4.channelsSave", "SI4.channelsActive"),
    }
    return next((found for key in keys.get(header.dialect, ()) if (found := _whole(header.numbers(key)))), ())


def _whole(numbers: tuple[float, ...]) -> tuple[int, ...]:
    whole = tuple(int(n) for n in numbers if n == int(n) and n >= 1)
    return whole if len(whole) == len(numbers) and len(set(whole)) == len(whole) else ()


def _channel_names(names: tuple[str, ...], numbers: tuple[int, ...]) -> tuple[str, ...]:
    found = [names[n - 1] if n <= len(names) and names[n - 1].strip() else f"Channel {n}" for n in numbers]
    return tuple(
        name if found.count(name) == 1 else f"{name} ({number})" for name, number in zip(found, numbers, strict=True)
    )


def _repeats_of(frame_numbers: Sequence[int | None], num_pages: int, num_active: int) -> int | None:
    """Return on how many consecutive pages each frame number occurs, or None if the pages do not settle it."""
    runs: list[int] = []
    last: int | None = None
    for number in frame_numbers:
        if number is None:
            return None
        if runs and number == last:
            runs[-1] += 1
        else:
            runs.append(1)
        last = number
    if len(runs) == 1:  # one frame alone: its pages are its channels, if that is how many were active
        return runs[0] if runs[0] == num_pages == num_active else None
    # Only the first pages were looked at, so the last run may be cut off
    complete = runs if len(frame_numbers) == num_pages else runs[:-1]
    usual = max(complete, key=complete.count)  # lost pages make some frames shorter
    # A quarter of the frames may have lost pages before the count becomes a guess
    return usual if 4 * complete.count(usual) >= 3 * len(complete) else None


@dataclass(frozen=True, slots=True)
class _Stack:
    """A stack in acquired frames, before averaging."""

    planes: int = 1
    repeats: float = 1.0
    flyback: int = 0
    average: int = 1
    frame_rate: float | None = None
    volume_rate: float | None = None
    is_fast: bool = False


def _no_stack(header: Header, num_frames: int, num_channels: int) -> _Stack:
    return _Stack()


def _stack(header: Header, num_frames: int, num_channels: int) -> _Stack:
    """Read a header of 2015 and later."""
    fast = header.text("SI.hStackManager.stackMode") == "fast" or (
        "SI.hStackManager.stackMode" not in header and header.flag("SI.hFastZ.enable") is True
    )
    found = _Stack(
        average=header.count("SI.hScan2D.logAverageFactor") or 1,
        frame_rate=_frame_rate(header, "SI.hRoiManager.scanFrameRate", "SI.hRoiManager.scanFramePeriod"),
        volume_rate=header.rate("SI.hRoiManager.scanVolumeRate"),
        is_fast=fast,
    )
    # numSlices keeps the number of an earlier stack when stacks are off
    enabled = header.flag("SI.hStackManager.enable")
    planes = _num_planes(header, fast, enabled)
    if enabled is False or (planes == 1 and enabled is None):
        return found
    kept = header.count("SI.hStackManager.numFramesPerVolume")
    repeats = _frames_per_slice(header, planes, kept, fast)
    # framesPerSlice=Inf runs until stopped, so the scanner never left the first plane
    if math.isinf(repeats):
        return replace(found, repeats=repeats, planes=planes)
    return replace(found, planes=planes, repeats=repeats, flyback=_flyback(header, int(planes * repeats), fast))


def _num_planes(header: Header, fast: bool, enabled: bool | None) -> int:
    """Return the planes of the stack; stacks of arbitrary planes leave ``numSlices`` at another number."""
    actual = header.count("SI.hStackManager.actualNumSlices")
    if actual is not None:
        return actual
    slices = header.count("SI.hStackManager.slicesPerAcq", "SI.hStackManager.numSlices") or 1
    listed = len(header.numbers("SI.hStackManager.zs")) if fast and enabled is None else 0
    return max(slices, listed)


def _frames_per_slice(header: Header, planes: int, kept: int | None, fast: bool) -> float:
    if kept is not None and kept % planes == 0:
        return kept // planes
    stated = header.number("SI.hStackManager.framesPerSlice")
    if fast or stated is None or stated < 1:
        return 1
    return math.inf if math.isinf(stated) else int(stated)


def _flyback(header: Header, kept: int, fast: bool) -> int:
    whole = header.count("SI.hStackManager.numFramesPerVolumeWithFlyback")
    if whole is None and fast:  # 2016 and before count the flyback into this number
        whole = header.count("SI.hFastZ.numFramesPerVolume")
    if whole is None and fast and header.flag("SI.hFastZ.discardFlybackFrames"):
        whole = kept + (header.count("SI.hFastZ.numDiscardFlybackFrames") or 0)
    return max(0, (whole or kept) - kept)


def _classic_stack(header: Header, num_frames: int, num_channels: int) -> _Stack:
    """Read a header of 4.x or 5.0."""
    fast = header.flag("SI4.fastZEnable") is True
    planes = header.count("SI4.stackNumSlices") or 1
    found = _Stack(
        average=header.count("SI4.acqNumAveragedFrames") or 1,
        frame_rate=_frame_rate(header, "SI4.scanFrameRate", "SI4.scanFramePeriod"),
        is_fast=fast,
    )
    if planes == 1:
        return found
    if not fast:
        stated = header.number("SI4.acqNumFrames") or 1
        return replace(found, planes=planes, repeats=math.inf if math.isinf(stated) else int(max(1, stated)))
    flyback = (header.count("SI4.fastZNumDiscardFrames") or 0) if header.flag("SI4.fastZDiscardFlybackFrames") else 0
    if flyback and num_frames % (planes + flyback) and num_frames % planes == 0:
        flyback = 0  # some versions left the frames out of the file
    return replace(found, planes=planes, flyback=flyback)


def _oldest_stack(header: Header, num_frames: int, num_channels: int) -> _Stack:
    """Read a header of 3.x."""
    planes = header.count("state.acq.numberOfZSlices") or 1
    stated = header.number("state.acq.numberOfFrames") or 1
    average = header.count("state.acq.numAvgFramesSave")
    if average is None:
        average = int(stated) if header.flag("state.acq.averaging") and 1 <= stated < 2**31 else 1
    rate = header.rate("state.acq.frameRate")
    if planes == 1:
        return _Stack(average=average, frame_rate=rate)
    repeats = math.inf if math.isinf(stated) else int(max(1, stated))
    if num_frames % planes == 0 and 0 < num_frames // planes < repeats / average:
        repeats = num_frames // planes * average  # a stack whose planes hold fewer frames than were asked for
    return _Stack(planes=planes, repeats=repeats, average=average, frame_rate=rate)


@dataclass(frozen=True, slots=True)
class _Timing:
    """Numbers and times of the first frames, as their pages state them; one entry per frame."""

    numbers: tuple[int, ...] = ()
    stamps: tuple[float, ...] = ()

    @classmethod
    def of(cls, numbers: Sequence[int | None], stamps: Sequence[float | None]) -> _Timing:
        known = [number for number in numbers if number is not None]
        # Numbers that go back are of several acquisitions, and their steps mean nothing
        if len(known) < len(numbers) or any(b < a for a, b in pairwise(known)):
            return cls(tuple(known[:1]))
        first = [k for k, number in enumerate(known) if k == 0 or number != known[k - 1]]
        times = [stamps[k] for k in first] if len(stamps) == len(numbers) else []
        return cls(
            tuple(known[k] for k in first), tuple(t for t in times if t is not None) if None not in times else ()
        )

    @property
    def first(self) -> int:
        """The number of the first frame; 1 if the pages state none."""
        return self.numbers[0] if self.numbers else 1

    @property
    def step(self) -> int | None:
        """By how much the numbers grow from frame to frame, or None if too few are known; a lost frame gives a multiple."""
        steps = [b - a for a, b in pairwise(self.numbers)]
        smallest = min(steps, default=0)
        # No step is smaller than 1, so a single one is proof; larger ones may be losses
        certain = smallest == 1 or len(steps) >= _MIN_STEPS
        return smallest if smallest and certain and not any(step % smallest for step in steps) else None

    @property
    def runs_on(self) -> bool:
        """Whether the numbers run on from 1 by ones."""
        return len(self.numbers) > 1 and self.numbers == tuple(range(1, len(self.numbers) + 1))

    @property
    def period(self) -> float | None:
        """Seconds from one saved frame to the next, or None."""
        gaps = np.diff(self.stamps)
        return float(np.median(gaps)) if len(gaps) and (gaps > 0).all() else None

    def pauses_every(self, kept: int, flyback: int) -> bool:
        """Return whether the clock jumps over the flyback after every `kept` frames, although the numbers run on."""
        gaps = np.diff(self.stamps)
        if not self.runs_on or len(gaps) < max(kept, 2) or (gaps <= 0).any():
            return False
        at_end = np.arange(1, len(gaps) + 1) % kept == 0
        usual = np.median(gaps[~at_end]) if not at_end.all() else 0.0
        # Unsaved flyback makes this gap 1 + flyback periods long; half of the flyback tolerates jitter
        return bool(usual and at_end.any() and (gaps[at_end] > usual * (1 + flyback / 2)).all())


def _averaged(stack: _Stack, timing: _Timing) -> tuple[_Stack, int, tuple[str, ...]]:
    """Return the stack with the averaging that the pages show, the step of the frame numbers, and contradictions."""
    step, stated = timing.step, stack.average
    volume = stack.planes * stack.repeats + stack.flyback
    if step is None or step == stated or (stack.planes == 1 and stack.flyback and step == volume):
        return stack, 1 if step != stated and step is not None else stated, ()
    # ScanImage numbers the frames that were taken; a program that numbered those that were saved leaves the times as they were
    per_saved = (timing.period or 0.0) * (stack.frame_rate or 0.0)
    if per_saved and abs(per_saved / stated - 1) < 0.2 and stated > 1:
        return stack, step, ()
    if step == 1:
        return (
            replace(stack, average=1),
            1,
            (
                f"the header says that every {stated} frames were averaged, but the frame numbers increase by "
                "1: none were averaged",
            ),
        )
    average = stated if per_saved and abs(per_saved / stated - 1) < 0.2 else step
    return (
        replace(stack, average=average),
        step,
        (
            f"the header says that {f'every {stated} frames were averaged' if stated > 1 else 'no frames were averaged'} "
            f"(logAverageFactor), but the frame numbers increase by {step}: "
            + ("the times show no averaging" if average == 1 else f"one frame of {average} was saved"),
        ),
    )


def _returned(
    stack: _Stack, header: Header, timing: _Timing, num_frames: int, flyback: int | None
) -> tuple[_Stack, tuple[str, ...], tuple[str, ...]]:
    """Return the stack without a flyback that the file lacks, with notes and contradictions."""
    if flyback is not None:
        return replace(stack, flyback=flyback * stack.average), (), ()
    if not stack.flyback or math.isinf(stack.repeats):
        return stack, (), ()
    kept, back = int(stack.planes * stack.repeats) // stack.average, stack.flyback // stack.average
    # Numbers that skip the flyback already place every frame; only numbers that run on hide it
    if not kept or not timing.runs_on or num_frames % kept:
        return stack, (), ()
    stated = f"the header counts {back} frame{'s' if back > 1 else ''} of flyback in each volume"
    whole = replace(stack, flyback=0)
    if timing.pauses_every(kept, back):
        return whole, (f"{stated}, but the times show that they are not in the file: none are left out",), ()
    if num_frames % (kept + back) in (0, kept):
        return stack, (), ()
    volumes = header.count("SI.hStackManager.actualNumVolumes", "SI.hFastZ.numVolumes")
    if volumes == num_frames // kept and volumes > 1:
        return whole, (), (f"{stated}, but the file has exactly {volumes:,} volumes without them: none are left out",)
    if volumes is not None and num_frames < volumes * (kept + back):
        return stack, (), ()  # stopped early, by chance after a multiple of the planes
    return (
        stack,
        (),
        (
            f"{stated}, "
            f"but {num_frames:,} frames are not a whole number of such volumes, and make {num_frames // kept:,} "
            "volumes without flyback. If the planes look mixed, the file contains no flyback: pass flyback_frames=0",
        ),
    )


def _frame_rate(header: Header, rate: str, period: str) -> float | None:
    found = header.rate(rate)
    if found is not None:
        return found
    seconds = header.rate(period)
    return None if seconds is None else 1.0 / seconds


def _saved(stack: _Stack, channels: int, num_pages: int, name: str, first: int) -> tuple[PageOrder, tuple[str, ...]]:
    """Return the order of the saved pages, the first of which is frame `first` of the acquisition, and the decisions made."""
    movie = PageOrder(channels)
    num_frames, average = num_pages // channels, stack.average
    if stack.planes == 1:
        kept = stack.repeats
        if not stack.flyback:
            return movie, ()
        if kept % average or stack.flyback % average:
            return movie, ("the frames of the flyback were averaged with the others and are not left out",)
        return PageOrder(channels, 1, int(kept) // average, stack.flyback // average), ()
    each = stack.repeats / average
    # All frames of a short file of a slow stack may belong to one plane
    if each > 1 and (math.isinf(each) or first % each + num_frames <= each):
        plane = 0 if math.isinf(each) else int(first // each) % stack.planes
        which = "the first plane" if plane == 0 else f"plane {plane} (from 0)"
        return movie, (
            f"the header describes {stack.planes} planes of {stack.repeats:g} frames each, but the file "
            f"contains {num_frames:,} frames: all are of {which} and are read as a movie of it",
        )
    repeats = int(stack.repeats)
    if repeats % average or stack.flyback % average:
        raise UnsupportedRecordingError(
            f"{name}: ScanImage averaged every {average} frames (logAverageFactor), and a volume has {stack.planes} planes "
            f"of {repeats} frames and {stack.flyback} frames of flyback, so a page mixes planes; "
            "open(..., format='tiff') gives the pages as they are"
        )
    order = PageOrder(channels, stack.planes, repeats // average, stack.flyback // average)
    return order, ()


def formula(order: PageOrder) -> str:
    """Return the pages of a volume as a product, for messages."""
    parts = ((order.channels, "channel"), (order.repeats, "frame of each plane"), (order.planes, "plane"))
    return " x ".join(
        f"{n} {w.replace('frame', 'frames') if n > 1 and ' ' in w else w + 's' * (n > 1)}" for n, w in parts
    )


def _volume_rate(stack: _Stack) -> float | None:
    if stack.volume_rate is not None or stack.frame_rate is None or not stack.is_fast:
        return stack.volume_rate
    return stack.frame_rate / (stack.planes * stack.repeats + stack.flyback)


def _positions(header: Header, order: PageOrder) -> tuple[float, ...]:
    listed = header.numbers("SI.hStackManager.zs")
    each = len(listed) // order.planes  # each plane is listed once a frame
    if not each or len(listed) % order.planes:
        return ()
    same = all(len(set(listed[k : k + each])) == 1 for k in range(0, len(listed), each))
    return listed[::each] if same else ()


def _depth_doubts(header: Header, order: PageOrder) -> tuple[str, ...]:
    listed = len(header.numbers("SI.hStackManager.zs"))
    if order.planes < 2 or listed < 2 or listed % order.planes == 0:
        return ()
    return (
        f"the header states {counted(order.planes, 'plane')}, but lists {listed:,} depths (zs); it is read as {counted(order.planes, 'plane')}. If the "
        f"planes look mixed, open(..., format='tiff', num_planes=...) reads the pages otherwise",
    )


def _spacing(header: Header, order: PageOrder) -> float | None:
    actual = header.number("SI.hStackManager.actualStackZStepSize")
    if actual is not None and 0 < abs(actual) < math.inf:
        return abs(actual)
    # The positions that were visited come before the stated step, which arbitrary stacks leave stale
    steps = np.diff(_positions(header, order))
    if len(steps):
        return float(abs(steps[0])) if steps[0] and np.allclose(steps, steps[0]) else None
    stated = header.number("SI.hStackManager.stackZStepSize", "SI4.stackZStepSize", "state.acq.zStepSize")
    if header.text("SI.hStackManager.stackDefinition") == "arbitrary" or stated is None:
        return None
    return abs(stated) if 0 < abs(stated) < math.inf else None

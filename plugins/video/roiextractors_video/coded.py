"""Frames that are decoded, by several decoders at the same time, each run from its key frame."""

from __future__ import annotations

import itertools
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, counted, printable
from roiextractors_core.io import PositionedFile, ProcessLock, num_cores, run_on_cores

from .base import Facts, VideoFrames, task
from .headers import ffv1_sums_agree, is_ffv1_key
from .pixels import PixelFormat, channel_of, has_colour

__all__ = ["CodedFrames", "Decoder", "PacketDecoder", "Packets", "check_picture", "undecodable"]


_MAX_CHECKED = 16  # each costs the read of a whole frame
_MAX_AHEAD = 4  # runs of frames that are decoded at once where frames are asked for one by one
_MAX_FRAMES_AHEAD = 64  # runs can be as long as the video where it has one key frame
_MAX_BYTES_AHEAD = 32 << 20  # kept in memory though nobody has asked for them yet


class Packets:
    """The coded frames in the file."""

    def __init__(
        self, file: PositionedFile, offsets: np.ndarray, sizes: np.ndarray, *, may_have_sums: bool = False
    ) -> None:
        self.file = file
        self._may_have_sums = may_have_sums
        self._offsets = offsets
        self._sizes = sizes

    def __getitem__(self, index: int) -> bytes:
        return self.file.read(int(self._offsets[index]), int(self._sizes[index]))

    @cached_property
    def has_sums(self) -> bool:
        """Whether the frames have FFV1's checksums; several are checked, as the first may be damaged."""
        places = np.linspace(0, len(self._offsets) - 1, _MAX_CHECKED).astype(int).tolist() if len(self._offsets) else []
        return self._may_have_sums and any(ffv1_sums_agree(self[place]) for place in dict.fromkeys(places))

    def offset(self, index: int) -> int:
        return int(self._offsets[index])

    def ffv1_keys(self) -> np.ndarray:
        return np.array([is_ffv1_key(self.file.read(offset, 2)) for offset in self._offsets.tolist()], bool)


class Decoder(ABC):
    """A decoder at some position in the video; ``following`` is the frame that it would return next."""

    following = -1

    @abstractmethod
    def picture(self, index: int, key: int) -> Any:
        """Return a decoded frame; ``key`` is the key frame from which it can be reached."""

    @abstractmethod
    def close(self) -> None: ...


class PacketDecoder(Decoder):
    """Decodes packets of a codec that returns the picture of each packet immediately."""

    def __init__(self, facts: Facts, packets: Packets, extra: bytes) -> None:
        self._facts = facts
        self._packets = packets
        self._context = _codec_context(facts, extra)

    def picture(self, index: int, key: int) -> Any:
        if not key <= self.following <= index:
            self._context.flush_buffers()
            self.following = key
        while self.following < index:
            self._one(self.following)
        return self._one(index)

    def close(self) -> None:
        self.following = -1

    def _one(self, index: int) -> Any:
        import av

        self.following = -1
        # If this fails, the next call begins at the key frame again
        data = self._packets[index]
        if self._packets.has_sums and not ffv1_sums_agree(data):
            raise undecodable(self._facts, index, "its checksum is wrong", self._packets.offset(index))
        try:
            found = self._context.decode(av.Packet(data))
        except (av.FFmpegError, EOFError) as error:
            raise undecodable(self._facts, index, str(error), self._packets.offset(index)) from error
        if len(found) != 1 or found[0].is_corrupt:
            reason = "the decoder reports damage" if found else "the decoder returned no picture"
            raise undecodable(self._facts, index, reason, self._packets.offset(index))
        check_picture(self._facts, index, found[0])
        self.following = index + 1
        return found[0]


def _codec_context(facts: Facts, extra: bytes) -> Any:
    import av

    context: Any = av.CodecContext.create(facts.codec, "r")
    context.width, context.height = facts.columns, facts.rows
    # Frames are already shared out over the cores, and a decoder with its own threads hangs in a forked process
    context.thread_count = 1
    # A damaged header inside a frame may claim any size; "explode" raises where FFmpeg would conceal the damage
    context.options = {
        "max_pixels": str((facts.columns + 64) * (facts.rows + 64)),
        "err_detect": "explode",
    }
    if extra:
        context.extradata = extra
    return context


def undecodable(facts: Facts, index: int, reason: str, offset: int | None = None) -> CorruptRecordingError:
    place = "" if offset is None else f" at byte {offset:,}"
    return CorruptRecordingError(
        f"{facts.name}: frame {index:,} of {facts.num_frames:,}{place} cannot be decoded ({printable(reason)}); "
        "the frames before it can be read"
    )


def check_picture(facts: Facts, index: int, picture: Any) -> None:
    if (picture.height, picture.width) != (facts.rows, facts.columns):
        raise CorruptRecordingError(
            f"{facts.name}: frame {index:,} has {counted(picture.height, 'row')} of {picture.width:,} columns, but the header says "
            f"{counted(facts.rows, 'row')} of {facts.columns:,}"
        )
    if PixelFormat.of(picture.format) != facts.pixels:
        raise CorruptRecordingError(f"{facts.name}: frame {index:,} is {picture.format.name}, unlike the first")


# Weak: the hook for forks must not keep recordings open that nobody uses
_OPENED: weakref.WeakSet[CodedFrames] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for frames in list(_OPENED):
        frames.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class CodedFrames(VideoFrames):
    """Frames from several decoders that work at the same time."""

    def __init__(self, facts: Facts, keys: np.ndarray, make: Callable[[], Decoder], close: Callable[[], None]) -> None:
        super().__init__(facts)
        self._keys = keys
        self._make = make
        self._close = close
        self._idle: list[Decoder] = []
        self._is_closed = False
        self._lock = ProcessLock()
        self._following = -1
        self._ahead: dict[tuple[int, str], np.ndarray] = {}
        _OPENED.add(self)

    def after_fork_in_child(self) -> None:
        """Drop the decoders: a file that FFmpeg opened before the fork shares its position with the parent process."""
        self._idle, self._ahead = [], {}

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            idle, self._idle, self._ahead = self._idle, [], {}
        for decoder in idle:
            decoder.close()
        self._close()

    def _fill(self, targets: list[np.ndarray], indices: list[int], rows: slice, columns: slice, channel: str) -> None:
        if len(indices) == 1 and num_cores() > 1:
            found = self._read_ahead(indices[0], channel)
            if found is not None:
                targets[0][...] = found[rows, columns]
                return
        keys = self._keys[np.searchsorted(self._keys, indices, "right") - 1].tolist()
        parts = _shares(indices, keys, num_cores())
        run_on_cores(
            [task(self._fill_part, targets[a:b], indices[a:b], keys[a:b], rows, columns, channel) for a, b in parts]
        )

    def _fill_part(
        self,
        targets: list[np.ndarray],
        indices: list[int],
        keys: list[int],
        rows: slice,
        columns: slice,
        channel: str,
    ) -> None:
        decoder = self._take(keys[0], indices[0])
        try:
            for target, index, key in zip(targets, indices, keys, strict=True):
                picture = decoder.picture(index, key)
                target[...] = channel_of(picture, self.pixels, channel)[rows, columns]
        finally:
            self._give_back(decoder)

    def _read_ahead(self, index: int, channel: str) -> np.ndarray | None:
        """Return a frame that continues a sequential pass through the video; None for a frame anywhere else.

        A decoder uses one core.  Whoever reads frame by frame would use one core, too, so the runs of frames that follow
        (each from one key frame to the next) are decoded together, one run a core, and kept until they are asked for.
        """
        with self._lock:
            is_next, self._following = index == self._following, index + 1
            kept = self._ahead.pop((index, channel), None)
            if kept is not None:
                return kept
            # the caller jumped, or changed the channel: what was decoded ahead will not be asked for
            self._ahead = {}
        runs = self._runs_from(index) if is_next else []
        if len(runs) < 2:  # one run is one core's work, as without reading ahead
            return None
        # decoding happens outside of the lock, so that other threads can read meanwhile
        decoded: dict[tuple[int, str], np.ndarray] = {}
        run_on_cores([task(self._decode_run, decoded, run, index, channel) for run in runs])
        frame = decoded.pop((index, channel))
        with self._lock:
            self._ahead = {} if self._is_closed else decoded
        return frame

    def _runs_from(self, index: int) -> list[range]:
        """Return runs from one key frame to the next, one a core; none if the frame is not a key frame or they are too long."""
        at = int(np.searchsorted(self._keys, index))
        edges = [*self._keys[at : at + min(num_cores(), _MAX_AHEAD) + 1].tolist(), self.num_frames]
        if edges[0] != index:
            return []
        runs = [range(a, b) for a, b in itertools.pairwise(edges[: min(num_cores(), _MAX_AHEAD) + 1])]
        frames = sum(map(len, runs))
        size = self.rows * self.columns * self.dtype.itemsize
        return runs if frames <= _MAX_FRAMES_AHEAD and frames * size <= _MAX_BYTES_AHEAD else []

    def _decode_run(self, decoded: dict[tuple[int, str], np.ndarray], run: range, wanted: int, channel: str) -> None:
        decoder = self._take(run[0], run[0])
        try:
            for index in run:
                picture = decoder.picture(index, run[0])
                # A copy: the decoder uses its picture's memory again
                decoded[index, channel] = np.array(channel_of(picture, self.pixels, channel))
        except CorruptRecordingError:  # raised again when the damaged frame itself is read
            if run[0] == wanted and (wanted, channel) not in decoded:
                raise
        finally:
            self._give_back(decoder)

    def _shows_colour(self, index: int) -> bool:
        key = int(self._keys[np.searchsorted(self._keys, index, "right") - 1])
        decoder = self._take(key, key)
        try:
            return has_colour(decoder.picture(key, key), self.pixels)
        finally:
            self._give_back(decoder)

    def _take(self, key: int, index: int) -> Decoder:
        """Take the decoder that is closest before the frame, else any idle one, else a new one."""
        with self._lock:
            near = [d for d in self._idle if key <= d.following <= index]
            chosen = max(near or self._idle, key=lambda d: d.following, default=None)
            if chosen is not None:
                self._idle.remove(chosen)
        return self._make() if chosen is None else chosen

    def _give_back(self, decoder: Decoder) -> None:
        with self._lock:
            # More decoders than cores are never at work at once, and each keeps reference pictures in memory
            if len(self._idle) < num_cores() and not self._is_closed:
                self._idle.append(decoder)
                return
        decoder.close()


def _shares(indices: list[int], keys: list[int], cores: int) -> list[tuple[int, int]]:
    """Split the frames into shares of equal work, at key frames only; the work is the number of frames to decode."""
    # To decode frame i from its key frame k takes i - k + 1 frames; the next one of the same run only the difference
    costs = np.array([i - k + 1 for i, k in zip(indices, keys, strict=True)])
    costs[1:] = np.where(np.diff(keys) == 0, np.diff(indices), costs[1:])
    total = np.cumsum(costs)
    starts = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist()]
    edges = [0]
    for k in range(1, cores):
        before = int(np.searchsorted(total, total[-1] * k / cores))
        edges.append(min(starts, key=lambda start: abs(start - before)))
    edges = sorted({*edges, len(indices)})
    return list(itertools.pairwise(edges))

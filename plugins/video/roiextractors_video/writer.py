"""Writes a recording as an MP4 that browsers and players show: for viewing, not for analysis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    DeclarationError,
    MissingDependencyError,
    RoiExtractorsWarning,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import Progress, contrast_limits, read_blocks, warn

from .base import NOTE
from .stamp import draw_stamp

__all__ = ["VideoWriter", "write"]

_CODEC = "libx264"
_DEFAULT_RATE = 10.0  # frames a second, if neither the recording nor its times have a rate
_MAX_RATE, _MIN_RATE = 1000.0, 1e-3
_MAX_SIDE = 4096  # pixels; graphics processors refuse to decode H.264 frames of more
_MIN_SIDE = 240  # pixels; below, each pixel becomes a square of several, since stamps and players need some room
_MIN_EPOCH = 1e6  # seconds; times since 1970 and the like are drawn from the first one
_BETWEEN = 80  # grey between planes
_BLACK, _WHITE = 16, 235  # of the luma that every player expects


class VideoWriter:
    """Writes a recording as MP4 (H.264); see :class:`roiextractors_core.interop.writer.Writer`."""

    def __call__(
        self,
        recording: Any,
        partial: Path,
        *,
        target: Path,
        progress: Progress,
        contrast: Sequence[float] | None = None,
        speed: float = 1.0,
        plane: int | str | None = None,
        time_stamp: bool = True,
    ) -> None:
        """Write a movie to look at: 8 bits, compressed with losses.

        Parameters
        ----------
        recording : ImagingExtractor
            The planes of volumes are drawn side by side, large pictures are thinned out to 4,096
            pixels a side, and small ones enlarged by a whole number to at most 240. NaN is black.
        partial, target, progress
            As in the contract.
        contrast : sequence of two floats, optional
            The values that are drawn black and white; by default, the percentiles 1 and 99.7 of a few samples.
        speed : float
            2 plays twice as fast as the recording was made. If the recording has no rate, 1 is 10 frames a second.
        plane : int or str, optional
            Draw only this plane of a volume.
        time_stamp : bool
            Whether to draw the time of each sample, in seconds, into its upper left corner; its number, if it has no times.
            Frames that are too small for it have none.

        Raises
        ------
        DeclarationError
            An option has no sensible value.
        UnsupportedRecordingError
            The recording is empty.
        MissingDependencyError
            This PyAV has no encoder for H.264.

        References
        ----------
        ITU-T H.264; ITU-R BT.601 (luma from 16 to 235).
        """
        source = _checked(recording, plane)
        limits = _checked_limits(contrast, source)
        rate = _playing_rate(source, _checked_speed(speed))
        layout = _Layout(source.get_sample_shape())
        stamps = _Stamps(source, layout.shape) if time_stamp else None
        words = _describe(source, limits, speed)
        with _opened(partial, layout.shape, rate, words) as container:
            for start, block in read_blocks(source, progress=progress):
                for index, sample in enumerate(_as_bytes(block, limits), start):
                    picture = layout.drawn(sample)
                    if stamps is not None:
                        stamps.draw(picture, index)
                    _encode(container, picture, index)
            _encode(container, None, 0)
        warn(f"{printable(target.name)}: {words}", RoiExtractorsWarning)


write = VideoWriter()


# Options


def _checked(recording: Any, plane: int | str | None) -> Any:
    if not recording.size:
        raise UnsupportedRecordingError(f"cannot write an empty recording (shape {recording.shape}) as a video")
    if plane is None:
        return recording
    if not recording.is_volumetric:
        raise DeclarationError(f"plane={plane!r} was passed, but the recording has no planes")
    # The command line passes the choice of a plane as text
    return recording.select_plane(int(plane) if isinstance(plane, str) and plane.isdecimal() else plane)


def _checked_speed(speed: Any) -> float:
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < math.inf:
        raise DeclarationError(f"speed must be a number above 0, got {speed!r}")
    return float(speed)


def _checked_limits(contrast: Any, recording: Any) -> tuple[float, float] | None:
    if contrast is None:
        return contrast_limits(recording)
    try:
        low, high = (float(value) for value in contrast)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not (low < high and math.isfinite(high - low)):
        raise DeclarationError(f"contrast must be two numbers, black before white, got {contrast!r}")
    return low, high


def _playing_rate(recording: Any, speed: float) -> Fraction:
    rate = (_rate_of(recording) or _DEFAULT_RATE) * speed
    if not _MIN_RATE <= rate <= _MAX_RATE:
        raise DeclarationError(
            f"speed={speed:g} plays {rate:.4g} frames a second; choose a speed that gives {_MIN_RATE:g} to {_MAX_RATE:g}"
        )
    return Fraction(rate).limit_denominator(10_000)


def _rate_of(recording: Any) -> float | None:
    rate: float | None = recording.get_sampling_frequency()
    return recording.median_rate if rate is None else rate


def _describe(recording: Any, limits: tuple[float, float] | None, speed: float) -> str:
    """Return what the movie is, for the warning and for the file."""
    if limits is None or limits[0] == limits[1]:
        grey = "all pixels alike"
    else:
        grey = f"grey values {limits[0]:.6g} (black) to {limits[1]:.6g} (white)"
    if _rate_of(recording) is None:
        played = f"at {_DEFAULT_RATE * speed:.4g} frames a second because the rate is unknown"
    else:
        played = "at the speed of the recording" if speed == 1 else f"at {speed:.6g} times the speed of the recording"
    return f"{NOTE}: 8 bits, {grey}, compressed with losses, played {played}"


# Pictures


class _Layout:
    """Where the planes of a sample are in a picture with an even number of rows and columns, as H.264 needs it."""

    def __init__(self, sample_shape: tuple[int, ...]) -> None:
        rows, columns, planes = (*sample_shape, 1)[:3]
        self._across = max(1, min(planes, math.ceil(math.sqrt(planes * rows / columns))))
        down = -(-planes // self._across)
        gap = 2 if planes > 1 else 0
        whole = (down * (rows + gap) - gap, self._across * (columns + gap) - gap)
        self._step = -(-max(whole) // _MAX_SIDE)
        self._zoom = max(1, _MIN_SIDE // max(whole))
        self._cell = (-(-rows // self._step) + gap, -(-columns // self._step) + gap)
        self._planes = planes
        self._whole = (down * self._cell[0] - gap, self._across * self._cell[1] - gap)
        height, width = (self._zoom * side for side in self._whole)
        self.shape = (height + height % 2, width + width % 2)

    def drawn(self, sample: np.ndarray) -> np.ndarray:
        """Return a picture of a sample of bytes; a large one is thinned out, a small one enlarged."""
        thin = sample[:: self._step, :: self._step]
        picture = np.full(self._whole, _BETWEEN, np.uint8)
        for plane in range(self._planes):
            top, left = plane // self._across * self._cell[0], plane % self._across * self._cell[1]
            part = thin if thin.ndim == 2 else thin[..., plane]
            picture[top : top + part.shape[0], left : left + part.shape[1]] = part
        large = picture.repeat(self._zoom, axis=0).repeat(self._zoom, axis=1)
        if large.shape == self.shape:
            return large
        odd = [(0, whole - side) for whole, side in zip(self.shape, large.shape, strict=True)]
        return np.pad(large, odd, mode="edge")  # a dark edge would look like a part of the movie


def _as_bytes(block: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
    """Return grey values from 0 to 255; NaN is black, and a recording of one value is grey."""
    if limits is None:
        return np.zeros(block.shape, np.uint8)
    low, high = limits
    if low == high:
        return np.where(np.isfinite(block), np.uint8(128), np.uint8(0))
    if block.dtype.kind in "iu" and block.dtype.itemsize <= 2:
        # A table of all values is much faster than arithmetic for each pixel
        unsigned = np.dtype(f"u{block.dtype.itemsize}")
        every = np.arange(1 << 8 * block.dtype.itemsize).astype(unsigned)
        return np.asarray(_scaled(every.view(block.dtype), low, high)[np.ascontiguousarray(block).view(unsigned)])
    return _scaled(np.abs(block) if block.dtype.kind == "c" else block, low, high)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    numbers: np.ndarray = values.astype(np.float64 if values.itemsize > 4 else np.float32)
    scaled = np.nan_to_num((numbers - low) * (255 / (high - low)), nan=0, posinf=255, neginf=0)
    result: np.ndarray = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return result


class _Stamps:
    """Draws the time of each sample, or its index if the recording has no times."""

    def __init__(self, recording: Any, shape: tuple[int, int]) -> None:
        self._size = max(1, min(shape) // 128)
        self._times: np.ndarray | None = None
        if recording.times_source is not None:
            times = recording.get_timestamps()
            self._times = times - times[0] if abs(times[0]) >= _MIN_EPOCH else times
            step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
            # Two samples never have the same stamp
            self._digits = min(6, max(1, math.ceil(-math.log10(step)) + 1)) if step > 0 else 3

    def draw(self, picture: np.ndarray, index: int) -> None:
        """Draw the stamp of a sample."""
        text = f"#{index}" if self._times is None else f"{self._times[index]:.{self._digits}f} s"
        draw_stamp(picture, text, self._size)


# The file


@contextmanager
def _opened(path: Path, shape: tuple[int, int], rate: Fraction, words: str) -> Iterator[Any]:
    """Open a container with one video stream; it is closed also after an error."""
    import av

    if _CODEC not in av.codecs_available:
        raise MissingDependencyError(
            "this PyAV has no encoder for H.264; the one from PyPI has it: python -m pip install --force-reinstall av"
        )
    # faststart: the index comes first, so that a browser plays the file while it loads
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = words
        stream: Any = container.add_stream(_CODEC, rate=rate, options={"crf": "18", "preset": "veryfast"})
        stream.height, stream.width = shape
        stream.pix_fmt = "yuv420p"  # browsers play no other
        context = stream.codec_context
        context.gop_size = 50  # every fiftieth frame decodes alone, so that players seek fast
        context.color_range, context.colorspace = 1, 6  # luma from 16 to 235, BT.601
        yield container


def _encode(container: Any, picture: np.ndarray | None, index: int) -> None:
    """Write a picture at its place; None at the end writes what the encoder still has."""
    import av

    stream = container.streams.video[0]
    frame = None
    if picture is not None:
        rows, columns = picture.shape
        # Luma, then both chromas at half the resolution: 128 is grey
        stacked = np.full((rows + rows // 2, columns), 128, np.uint8)
        stacked[:rows] = _LUMA[picture]
        frame = av.VideoFrame.from_ndarray(stacked, format="yuv420p")
        frame.pts = index
        frame.time_base = 1 / stream.codec_context.framerate
    for packet in stream.encode(frame):
        container.mux(packet)


_LUMA = np.rint(_BLACK + np.arange(256) * ((_WHITE - _BLACK) / 255)).astype(np.uint8)

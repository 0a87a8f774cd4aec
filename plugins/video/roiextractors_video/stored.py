"""AVI files whose frames need no demuxer: uncompressed, FFV1, Motion JPEG."""

from __future__ import annotations

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, counted
from roiextractors_core.io import PositionedFile

from .avi import AviIndex
from .base import Facts, VideoFrames, check_size
from .bitmaps import BITMAPS, BitmapFrames, bitmap_layout
from .coded import CodedFrames, PacketDecoder, Packets
from .headers import ffv1_pixels, jpeg_header
from .pixels import PixelFormat

__all__ = ["avi_words", "stored_frames", "tick_clock"]

_MAX_HEAD = 1 << 16  # a JPEG has comments and tables before its frame header


def stored_frames(file: PositionedFile, index: AviIndex) -> VideoFrames | None:
    """Return the frames of an AVI file whose codec needs no demuxer, or None for the others."""
    stream = index.stream
    if stream.codec not in (b"FFV1", b"MJPG") and stream.codec not in BITMAPS:
        return None
    check_size(file.name, stream.rows, stream.columns)
    if not len(index.offsets):
        raise CorruptRecordingError(f"{file.name} {index.problem or 'contains no frames'}; there is nothing to read")
    head = file.read(int(index.offsets[0]), min(int(index.sizes[0]), _MAX_HEAD))
    if stream.codec == b"FFV1":
        pixels = ffv1_pixels(head, stream.extra)
        return None if pixels is None else _coded(file, index, "ffv1", pixels)
    if stream.codec == b"MJPG":
        picture = jpeg_header(head)
        # Where the frames disagree with the header, FFmpeg decides by the frames
        if picture is None or (picture.rows, picture.columns) != (stream.rows, stream.columns):
            return None
        return _coded(file, index, "mjpeg", picture.pixels)
    return _bitmaps(file, index)


def _coded(file: PositionedFile, index: AviIndex, codec: str, pixels: PixelFormat) -> VideoFrames:
    facts = _avi_facts(file, index, codec, pixels, np.ones(len(index.offsets), bool))
    packets = Packets(file, index.offsets, index.sizes, may_have_sums=codec == "ffv1" and bool(index.stream.extra))
    is_key = np.ones(len(index.offsets), bool)
    if codec == "ffv1":
        is_key = index.is_key.copy()
        # Chunks do not mark key frames, and the first frame of a stream must be one
        if index.was_walked or not is_key[0]:
            is_key = packets.ffv1_keys()
        if not is_key[0]:
            raise CorruptRecordingError(f"{file.name}: its first frame is not a key frame, so no frame can be decoded")
    extra = index.stream.extra
    return CodedFrames(facts, np.flatnonzero(is_key), lambda: PacketDecoder(facts, packets, extra), file.close)


def _bitmaps(file: PositionedFile, index: AviIndex) -> VideoFrames | None:
    layout, pixels = bitmap_layout(index)
    if layout is None or pixels is None:
        return None
    sizes, wanted = index.sizes, layout.stride * index.stream.rows
    is_whole = sizes >= wanted
    if not is_whole[0]:
        return None
    facts = _avi_facts(file, index, "rawvideo", pixels, is_whole)
    return BitmapFrames(facts, file, index.offsets[is_whole], layout)


def _avi_facts(file: PositionedFile, index: AviIndex, codec: str, pixels: PixelFormat, is_whole: np.ndarray) -> Facts:
    stream, ticks = index.stream, index.ticks[is_whole]
    rate, times = tick_clock(ticks, stream.rate, stream.scale)
    problems, notes = avi_words(file.name, index, len(ticks))
    left = int((~is_whole).sum())
    if left:
        problems += (f"{file.name} contains {left:,} frames that are shorter than a picture and are skipped",)
    return Facts(file.name, codec, pixels, len(ticks), stream.rows, stream.columns, rate, times, notes, problems)


def tick_clock(ticks: np.ndarray, rate: int, scale: int) -> tuple[float | None, np.ndarray | None]:
    """Return the rate and, where places without a picture make it uneven or slower, the times of the pictures."""
    if not rate or not scale:
        return None, None
    if np.array_equal(ticks, np.arange(len(ticks))):
        return rate / scale, None
    step = float(np.median(np.diff(ticks))) if len(ticks) > 1 else 1.0
    return rate / (scale * step), ticks * scale / rate


def avi_words(name: str, index: AviIndex, num_frames: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    problems = (f"{name} {index.problem}; reading the {num_frames:,} complete frames",) if index.problem else ()
    notes: tuple[str, ...] = ()
    dropped = index.num_places - len(index.offsets)
    if dropped:
        notes += (
            f"{name} lists {counted(index.num_places, 'frame')}, but {dropped:,} of them are empty; reading the "
            f"{num_frames:,} others, with their own times",
        )
    if 0 < index.stream.claimed < index.num_places and not index.problem:
        notes += (
            f"{name} contains {counted(index.num_places, 'frame')}, but its header says {index.stream.claimed:,}; reading all of them",
        )
    if index.was_walked and not index.problem:
        notes += (f"{name} has no usable index; its frames were found chunk by chunk",)
    return problems, notes

"""Uncompressed frames: the layout of their pixels, and positioned reads of the requested rows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from roiextractors_core.io import PositionedFile, num_cores, run_on_cores

from .avi import AviIndex
from .base import Facts, VideoFrames, task
from .pixels import PixelFormat, weighed

__all__ = ["BITMAPS", "BitmapFrames", "BitmapLayout", "bitmap_layout"]

_PARALLEL_BYTES = 4 << 20
_BUFFERS_A_CALL = 512  # with the gaps, below the 1024 that Linux takes (IOV_MAX)
_WIDEST_GAP = 4096  # bytes; reading the heads and sound between frames is cheaper than another call

BITMAPS: dict[bytes, tuple[str, int]] = {
    b"Y800": ("grey", 8),
    b"Y8  ": ("grey", 8),
    b"GREY": ("grey", 8),
    b"Y16 ": ("grey", 16),
    bytes(4): ("bitmap", 0),
}


@dataclass(frozen=True, slots=True)
class BitmapLayout:
    """The layout of an uncompressed frame's pixels.

    Attributes
    ----------
    dtype : numpy.dtype
        As in the file.
    depth : int
        Numbers a pixel: 1, or 3 or 4 for blue, green, red.
    stride : int
        Bytes from row to row.
    is_bottom_up : bool
    table : numpy.ndarray or None
        The grey of each number, where it is not the number itself.
    """

    dtype: np.dtype[Any]
    depth: int
    stride: int
    is_bottom_up: bool = False
    table: np.ndarray | None = None


class BitmapFrames(VideoFrames):
    """Uncompressed frames: positioned reads of the requested rows."""

    def __init__(self, facts: Facts, file: PositionedFile, offsets: np.ndarray, layout: BitmapLayout) -> None:
        super().__init__(facts)
        self._file = file
        self._offsets = offsets
        self._layout = layout
        width = facts.columns * layout.dtype.itemsize * layout.depth
        self._is_plain = layout.depth == 1 and layout.stride == width and layout.table is None
        self._is_plain = self._is_plain and not layout.is_bottom_up and layout.dtype.isnative

    def close(self) -> None:
        self._file.close()

    def _fill(self, targets: list[np.ndarray], indices: list[int], rows: slice, columns: slice, channel: str) -> None:
        full = self._is_plain and (columns.start, columns.stop) == (0, self.columns)
        fill = self._fill_plainly if full else self._fill_through_a_copy
        parts = num_cores() if sum(t.nbytes for t in targets[:1]) * len(targets) >= _PARALLEL_BYTES else 1
        run_on_cores(
            [task(fill, targets[a:b], indices[a:b], rows, columns, channel) for a, b in _cut(len(targets), parts)]
        )

    def _fill_plainly(
        self, targets: list[np.ndarray], indices: list[int], rows: slice, columns: slice, channel: str
    ) -> None:
        offsets = (self._offsets[indices] + rows.start * self._layout.stride).tolist()
        size = targets[0].nbytes
        gap = bytearray(_WIDEST_GAP)
        start = 0
        while start < len(offsets):
            buffers: list[Any] = [targets[start]]
            end = start + 1
            while end < len(offsets) and len(buffers) < _BUFFERS_A_CALL:
                between = offsets[end] - offsets[end - 1] - size
                if not 0 <= between <= _WIDEST_GAP:
                    break
                buffers += [memoryview(gap)[:between], targets[end]]
                end += 1
            self._file.read_into(buffers, offsets[start])
            start = end

    def _fill_through_a_copy(
        self, targets: list[np.ndarray], indices: list[int], rows: slice, columns: slice, channel: str
    ) -> None:
        layout = self._layout
        if layout.is_bottom_up:
            rows = slice(self.rows - rows.stop, self.rows - rows.start)
        lines = np.empty((rows.stop - rows.start, layout.stride), np.uint8)
        last = self.columns * layout.dtype.itemsize * layout.depth
        for target, offset in zip(targets, self._offsets[indices].tolist(), strict=True):
            self._file.read_into([lines], offset + rows.start * layout.stride)
            upright = lines[::-1] if layout.is_bottom_up else lines
            target[...] = self._channel(upright[:, :last], columns, channel)

    def _channel(self, lines: np.ndarray, columns: slice, channel: str) -> np.ndarray:
        layout = self._layout
        numbers = np.ascontiguousarray(lines).view(layout.dtype)
        if layout.depth == 1:
            chosen = numbers[:, columns]
            return chosen if layout.table is None else layout.table[chosen]
        colours = numbers.reshape(len(numbers), -1, layout.depth)[:, columns]
        if channel == "grey":
            return weighed((colours[..., 2], colours[..., 1], colours[..., 0]))
        return np.asarray(colours[..., ("blue", "green", "red").index(channel)])

    def _shows_colour(self, index: int) -> bool:
        red, green, blue = (self.read(np.array([index]), channel=name) for name in ("red", "green", "blue"))
        return not (np.array_equal(red, green) and np.array_equal(green, blue))


def _cut(count: int, parts: int) -> list[tuple[int, int]]:
    parts = max(1, min(parts, count))
    edges = [count * k // parts for k in range(parts + 1)]
    return list(itertools.pairwise(edges))


def bitmap_layout(index: AviIndex) -> tuple[BitmapLayout | None, PixelFormat | None]:
    stream, size = index.stream, int(index.sizes[0])
    kind, bits = BITMAPS[stream.codec]
    if kind == "grey":
        dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
        tight = stream.columns * dtype.itemsize
        # Not every writer pads the rows of Y800, so the size of the first frame decides
        padded = -(-tight // 4) * 4
        return BitmapLayout(dtype, 1, padded if size >= padded * stream.rows else tight), PixelFormat("grey", bits)
    if stream.bits not in (8, 24, 32):  # left to FFmpeg
        return None, None
    depth = stream.bits // 8
    stride = -(-stream.columns * depth // 4) * 4  # rows of bitmaps are padded to 4 bytes
    if depth > 1:
        return BitmapLayout(np.dtype(np.uint8), depth, stride, stream.is_bottom_up), PixelFormat("rgb", 8)
    table, is_grey = _palette(stream.extra)
    if not is_grey:
        return None, None
    return BitmapLayout(np.dtype(np.uint8), 1, stride, stream.is_bottom_up, table), PixelFormat("grey", 8)


def _palette(extra: bytes) -> tuple[np.ndarray | None, bool]:
    """Return the grey of each number, None where it is the number, and whether the palette is grey at all."""
    colours = np.zeros((256, 4), np.uint8)
    given = np.frombuffer(extra[:1024], np.uint8)
    colours.reshape(-1)[: len(given) // 4 * 4] = given[: len(given) // 4 * 4]
    blue, green, red = colours[:, 0], colours[:, 1], colours[:, 2]
    is_grey = len(given) >= 4 and np.array_equal(red, green) and np.array_equal(green, blue)
    is_plain = np.array_equal(green, np.arange(256))
    return (None if is_plain else green.copy()), bool(is_grey)

"""Reads shape, channels, planes and rate from the ``info`` structure of a Scanbox recording."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, printable

__all__ = ["Layout", "find", "is_info", "layout_of", "listed", "number", "plain"]

# sbxread.m assumes this size for old files, whose info lacks sz
_USUAL_SIZE = (512, 796)
_MAX_SIDE = 1 << 16
_MAX_PLANES = 4096
_MAX_CHANNELS = 4
_VERSIONS = (2, 3)
# The code in info.channels, as sbxread.m reads it
_PMTS: Mapping[float, tuple[int, ...]] = {1: (0, 1), 2: (0,), 3: (1,)}
# Other programs call a variable "info" too; these fields together are only Scanbox's
_MARKS = ("resfreq", "recordsPerBuffer", "config")


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of the pixels in the ``.sbx`` file.

    Attributes
    ----------
    rows, columns : int
    channels : tuple of str
        The names of the channels, in their order inside a pixel.
    numbers : tuple of int
        The PMT of each channel, from 0.
    planes : int
        Frames after which the optotune begins again; 1 for a recording of one plane.
    frame_rate : float or None
        Frames a second (Hz), all planes counted.
    expected_frames : int or None
        The number of frames according to the info.
    notes : tuple of str
        Inconsistencies of the info, and the decisions made.
    planned_frames : int or None
        The number of frames that the recording was set to, if it was.
    """

    rows: int
    columns: int
    channels: tuple[str, ...]
    numbers: tuple[int, ...]
    planes: int
    frame_rate: float | None
    expected_frames: int | None
    notes: tuple[str, ...]
    planned_frames: int | None = None

    def holding(self, count: int) -> Layout:
        """Return the layout with another number of channels in a pixel, if the info is wrong about it."""
        if count == len(self.numbers):
            return self
        known = dict(zip(self.numbers, self.channels, strict=True))
        return replace(self, channels=tuple(known.get(k, f"PMT{k}") for k in range(count)), numbers=tuple(range(count)))

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, all channels counted."""
        return self.rows * self.columns * len(self.channels) * 2


def is_info(value: Any) -> bool:
    """Return whether a variable called ``info`` is Scanbox's."""
    return isinstance(value, Mapping) and all(mark in value for mark in _MARKS)


def layout_of(info: Mapping[str, Any], name: str) -> Layout:
    """Return the layout of the pixels, with every number checked.

    Parameters
    ----------
    info : mapping
        The structure as :func:`mat_file.read_variable` gives it.
    name : str
        The info file's, for the messages.

    Raises
    ------
    UnsupportedRecordingError
        A version whose layout is unknown.
    CorruptRecordingError
        A number is missing or impossible.

    References
    ----------
    Scanbox's ``sbxread.m`` (https://scanbox.org/2014/08/04/reading-raw-data-with-sbxread/), and the public readers that
    follow it: sbxreader, CaImAn's ``sbx_utils``, SIMA.
    """
    version = _version(info, name)
    bidirectional = number(info, "scanmode") == 0
    rows, row_notes = _rows(info, version, bidirectional, name)
    columns = _columns(info, name)
    # The rate follows from the lines that were scanned, before they are folded into several images
    lines, folds = rows, _folds(info, rows, name)
    channels, numbers = _channels(info, name)
    planes, plane_notes = _planes(info)
    frequency = number(info, "resfreq")
    known = frequency is not None and math.isfinite(frequency) and frequency > 0
    last = number(info, "max_idx")
    return Layout(
        rows=rows // folds,
        columns=columns,
        channels=channels,
        numbers=numbers,
        planes=planes,
        # A period of the resonant mirror scans one line, or two in bidirectional mode
        frame_rate=frequency * (2 if bidirectional else 1) / lines * folds if frequency is not None and known else None,
        # max_idx is the index of the last frame, from 0
        expected_frames=None if last is None or not 0 <= last < 1 << 53 else math.floor(last + 1) * folds,
        notes=(*row_notes, *plane_notes),
        planned_frames=_planned(info, folds),
    )


def _planned(info: Mapping[str, Any], folds: int) -> int | None:
    value = number(info, "config.frames")
    return int(value) * folds if value is not None and 0 < value < 1 << 53 and value == math.floor(value) else None


def find(info: Any, path: str) -> Any:
    """Return a value inside nested structures, or None; ``path`` joins the names with dots."""
    for key in path.split("."):
        if not isinstance(info, Mapping):
            return None
        info = info.get(key)
    return info


def number(info: Any, path: str) -> float | None:
    """Return a single number, or None."""
    values = _numbers(find(info, path))
    return values[0] if len(values) == 1 else None


def plain(value: Any) -> Any:
    """Return a value in its simplest form: one number instead of an array of one, rows of one as lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.item() if value.size == 1 else np.squeeze(value)
    if isinstance(value, list):
        rows = [plain(item) for item in value]
        if rows and all(isinstance(row, list) and len(row) == 1 for row in rows):
            return [row[0] for row in rows]
        return rows[0] if len(rows) == 1 and isinstance(rows[0], list) else rows
    return value


def listed(value: Any) -> Any:
    """Return a value of :func:`plain` with lists for arrays."""
    if isinstance(value, Mapping):
        return {key: listed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [listed(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def _numbers(value: Any) -> list[float]:
    return value.ravel(order="F").tolist() if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else []


def _whole(info: Mapping[str, Any], path: str, name: str, most: int) -> int | None:
    value = number(info, path)
    if value is None:
        return None
    if not 0 < value <= most or value != math.floor(value):
        raise CorruptRecordingError(f"{name} says {path} = {value:g}, expected an integer from 1 to {most:,}")
    return int(value)


def _version(info: Mapping[str, Any], name: str) -> int:
    version = number(info, "scanbox_version")
    if version is None:
        return 1
    if version not in _VERSIONS:
        raise UnsupportedRecordingError(f"{name} is of Scanbox version {version:g}; versions 2 and 3 are supported")
    return int(version)


def _rows(info: Mapping[str, Any], version: int, bidirectional: bool, name: str) -> tuple[int, tuple[str, ...]]:
    """Return the lines of a frame.

    Three fields give them, and old versions leave one or the other at its default: two that agree decide, else the one
    that the vendor's ``sbxread.m`` uses: that of the buffer (version 2) or of the image (version 3).
    """
    size = _numbers(info.get("sz"))
    if len(size) == 2 and size[0] > 0 and size[0] != math.floor(size[0]):
        raise CorruptRecordingError(f"{name} says sz = {size}, expected rows and columns")
    buffer = _whole(info, "recordsPerBuffer", name, _MAX_SIDE)
    counts = {
        # A record is one period of the mirror, which scans two lines in bidirectional mode
        "recordsPerBuffer": None if buffer is None else buffer * (2 if bidirectional else 1),
        "sz": int(size[0]) if len(size) == 2 and 0 < size[0] <= _MAX_SIDE else None,
        "config.lines": _whole(info, "config.lines", name, _MAX_SIDE) if number(info, "config.lines") else None,
    }
    known = {key: value for key, value in counts.items() if value is not None}
    if not known:
        raise CorruptRecordingError(
            f"{name} has neither recordsPerBuffer nor sz, so the shape of its frames is unknown"
        )
    value, votes = Counter(known.values()).most_common(1)[0]
    if votes == 1:
        first = (
            ("sz", "recordsPerBuffer", "config.lines") if version == 3 else ("recordsPerBuffer", "sz", "config.lines")
        )
        value = next(known[key] for key in first if key in known)
    if len(set(known.values())) == 1:
        return value, ()
    words = ", ".join(f"{key} {count}" for key, count in known.items())
    return value, (f"the info is inconsistent about the lines of a frame ({words}); using {value}",)


def _columns(info: Mapping[str, Any], name: str) -> int:
    size = _numbers(info.get("sz")) or list(map(float, _USUAL_SIZE))
    columns = size[1] if len(size) == 2 else math.nan
    if not 0 < columns <= _MAX_SIDE or columns != math.floor(columns):
        raise CorruptRecordingError(f"{name} says sz = {size[:4]}, expected rows and columns")
    return int(columns)


def _folds(info: Mapping[str, Any], rows: int, name: str) -> int:
    """Return how many images of ``fold_lines`` lines a frame consists of; 1 if frames are not folded."""
    if not number(info, "fold_lines"):
        return 1
    lines = _whole(info, "fold_lines", name, _MAX_SIDE) or rows
    if rows % lines:
        raise CorruptRecordingError(f"{name} says fold_lines = {lines}, which does not divide a frame of {rows} lines")
    return rows // lines


def _channels(info: Mapping[str, Any], name: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the names and PMT numbers of the channels in a pixel."""
    # In version 3 the structure chan takes the place of the code in channels
    count = _whole(info, "chan.nchan", name, _MAX_CHANNELS)
    if count is not None:
        return _named_channels(info, count)
    code = number(info, "channels")
    numbers = _PMTS.get(0 if code is None else code)
    if numbers is None:
        said = "nothing" if code is None else f"{code:g}"
        raise CorruptRecordingError(f"{name} says channels = {said}, expected 1 (both PMTs), 2 (PMT 0) or 3 (PMT 1)")
    return tuple(f"PMT{k}" for k in numbers), numbers


def _named_channels(info: Mapping[str, Any], count: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    for key in ("chan.save", "chan.sample"):
        numbers = tuple(k for k, saved in enumerate(_numbers(find(info, key))) if saved)
        if len(numbers) == count:
            break
    else:
        numbers = tuple(range(count))
    rows = find(info, "chan.names")
    # A cell of texts is a list of lists; numbers, or a single text, name no channels
    known = [text for row in rows if isinstance(row, list) for text in row] if isinstance(rows, list) else []
    names = tuple(
        printable(known[k]) if k < len(known) and isinstance(known[k], str) and known[k] else f"PMT{k}" for k in numbers
    )
    # Names are how a channel is chosen, so repeated ones are useless
    return (names if len(set(names)) == count else tuple(f"PMT{k}" for k in numbers)), numbers


def _planes(info: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """Return the period of the optotune in frames."""
    counts = dict(_plane_counts(info))
    moving = number(info, "volscan")
    if moving is None:
        # Old versions have no volscan, and otlevels and otparam may have values with the optotune off
        moving = any(count > 1 for key, count in counts.items() if key in ("etl_table", "otwave"))
    if not moving or not counts:
        return 1, (
            "the info says that the optotune moved, but not the number of planes; reading one plane",
        ) if moving else ()
    planes = next(iter(counts.values()))
    if len(set(counts.values())) == 1:
        return planes, ()
    words = ", ".join(f"{key} {count}" for key, count in counts.items())
    return planes, (f"the info is inconsistent about the planes of a volume ({words}); using {planes}",)


def _plane_counts(info: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    table, wave = info.get("etl_table"), _numbers(info.get("otwave"))
    if isinstance(table, list | np.ndarray) and 0 < len(table) <= _MAX_PLANES:
        yield "etl_table", len(table)
    if 0 < len(wave) <= _MAX_PLANES:
        yield "otwave", len(wave)
    # otparam is minimum, maximum and period of the optotune
    period = _numbers(info.get("otparam"))[2:3]
    for key, value in (("otlevels", number(info, "otlevels")), ("otparam", period[0] if period else None)):
        if value is not None and 0 < value <= _MAX_PLANES and value == math.floor(value):
            yield key, int(value)

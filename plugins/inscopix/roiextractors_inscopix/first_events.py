"""Event sets of the first version: for each cell a description in JSON, and its events with times since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, TruncatedRecordingError, counted, printable
from roiextractors_core.io import PositionedFile, parse_json

from .footer import Footer, Timing, timing_of

__all__ = ["FirstEventSet", "read_first_version"]

# Packed: microseconds since 1970, and the amplitude, whose sign bit says that the event is on
_EVENT = np.dtype([("time", "<u8"), ("amplitude", "<u4"), ("reserved", "<u4")])
_STATE = np.uint32(1 << 31)
_MAX_START = 1 << 40  # seconds since 1970; in microseconds it must fit into 64 bits
_MAX_DESCRIPTION = 4096  # bytes of the JSON before the events of a cell


@dataclass(frozen=True, slots=True)
class FirstEventSet:
    """The cells of an event set.

    Attributes
    ----------
    names : tuple of str
    starts, counts : tuple of int
        The offset of the first event of each cell in the file, and the number of its events.
    timing : Timing
    """

    names: tuple[str, ...]
    starts: tuple[int, ...]
    counts: tuple[int, ...]
    timing: Timing

    def read(self, file: PositionedFile, into: np.ndarray) -> None:
        """Fill an array with the fields ``offset`` (microseconds since the start), ``cell`` and ``amplitude``.

        Raises
        ------
        CorruptRecordingError
            An event is before the start.
        """
        origin = round(self.timing.start * 1_000_000)
        at = 0
        for cell, (start, count) in enumerate(zip(self.starts, self.counts, strict=True)):
            events = file.read_array(start, (count,), _EVENT)
            part = into[at : at + count]
            if count and int(events["time"].min()) < origin:
                raise CorruptRecordingError(
                    f"{file.name} has an event of the cell {printable(self.names[cell])!r} before the start of the recording"
                )
            part["offset"], part["cell"] = events["time"] - np.uint64(origin), cell
            part["amplitude"] = _amplitudes(events["amplitude"])
            at += count


def _amplitudes(bits: np.ndarray) -> np.ndarray:
    """Return the value of each event: its amplitude, or 1 where that is 0, if the event is on; 0 if it is off."""
    values = (bits & ~_STATE).view(np.float32)
    return np.where(bits & _STATE, np.where(values == 0, np.float32(1), values), np.float32(0))


def read_first_version(footer: Footer, file: PositionedFile) -> FirstEventSet:
    """Return the cells of an event set of the first version, each found at the offset that the footer states.

    Raises
    ------
    CorruptRecordingError
        A number is missing or impossible, or a description is that of another cell.
    TruncatedRecordingError
        There are fewer events than a description states.
    """
    timing = timing_of({"timingInfo": footer.document.get("timing info")}, file.name)
    if not 0 <= timing.start < _MAX_START:
        raise CorruptRecordingError(
            f"the footer of {file.name} states a start {float(timing.start):g} s after 1970, which is impossible"
        )
    places = footer.document.get("channel offsets")
    if not isinstance(places, Mapping):
        raise CorruptRecordingError(
            f"the footer of {file.name} has no 'channel offsets' with the position of each cell"
        )
    cells = [_cell_at(place, name, footer.start, file) for name, place in places.items()]
    return FirstEventSet(tuple(places), tuple(at for at, _ in cells), tuple(count for _, count in cells), timing)


def _cell_at(place: Any, name: str, end: int, file: PositionedFile) -> tuple[int, int]:
    """Return the offset of a cell's first event, and the number of its events."""
    if type(place) is not int or not 0 <= place < end:
        raise CorruptRecordingError(
            f"the footer of {file.name} has the cell {printable(name)!r} at byte {printable(repr(place))[:40]}, expected one of {end:,}"
        )
    text, terminator, _ = file.read(place, min(_MAX_DESCRIPTION, end - place)).partition(b"\0")
    document = parse_json(text, f"the description of a cell in {file.name}") if terminator else None
    if not isinstance(document, Mapping) or document.get("channel") != name:
        raise CorruptRecordingError(
            f"{file.name} does not describe the cell {printable(name)!r} at byte {place:,}, where its footer says that it is"
        )
    count = document.get("Number of Packets")
    start = place + len(text) + 1
    if type(count) is not int or count < 0:
        raise CorruptRecordingError(
            f"{file.name} states {printable(repr(count))[:40]} events of the cell {printable(name)!r}, expected a whole number"
        )
    if start + count * _EVENT.itemsize > end:
        raise TruncatedRecordingError(
            f"{file.name} states {counted(count, 'event')} of the cell {printable(name)!r} at byte {start:,}, but the events end at byte "
            f"{end:,}; copy the file again from where it was made"
        )
    return start, count

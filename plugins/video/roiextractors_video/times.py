"""The times that the Miniscope software records for every frame, in ``timeStamps.csv`` and ``timestamp.dat``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, printable
from roiextractors_core.io import PositionedFile, to_seconds

__all__ = ["FrameTimes", "parse_times", "rate_of"]

_MAX_BYTES = 64 << 20  # a row takes some 20 bytes: 3 million frames, more than a day at 30 Hz
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d+)?\Z")  # float64 is exact for 15 digits
_MIN_STEP, _MAX_STEP = 0.5, 1.5  # of the median interval; twice the median is a lost frame
_MAX_HEADING_LINES = 5
_MAX_SHOWN_COLUMNS = 6
_COUNTER_BITS = (16, 32)  # of the clocks whose overflow is recognised
# Names of columns without spaces, units and case; software appends columns and changes their spelling and order
_CAMERA = ("camnum", "cameranumber", "camera", "cam", "camid")
_FRAME = ("framenumber", "framenum", "frameno", "frameindex", "frame", "framecount")
_TIME = ("timestamp", "sysclock", "systemclock", "time", "timems", "timestampms", "clock")
_DAQ_FRAME = ("daqframenumber", "daqframenum", "daqframe", "hardwareframenumber")


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """The rows of one camera.

    Attributes
    ----------
    camera : int
        ``camNum`` of V3; 0 in V4.
    numbers : numpy.ndarray
        int64, the frames' numbers as noted.
    times : numpy.ndarray
        Seconds, float64, one a row.
    counted : numpy.ndarray or None
        int64, the numbers that the acquisition hardware gave the frames, if there is such a column.
    """

    camera: int
    numbers: np.ndarray
    times: np.ndarray
    counted: np.ndarray | None = None

    @property
    def is_standing(self) -> bool:
        """Whether the clock stands still, so that its times say nothing: most intervals are 0."""
        steps = np.diff(self.times)
        return len(steps) > 0 and 2 * int((steps == 0).sum()) > len(steps)

    def acquired(self) -> np.ndarray:
        """Return which frame of the acquisition each row is, from 0; a jump is a frame that was lost.

        The hardware's numbers decide, else the software's; numbers that do not increase, or jump by more than there are
        rows, are not used.
        """
        for numbers in (self.counted, self.numbers):
            if numbers is None or not len(numbers) or (np.diff(numbers) < 1).any():
                continue
            if int(numbers[-1]) - int(numbers[0]) < 2 * len(numbers):
                acquired: np.ndarray = numbers - numbers[0]
                return acquired
        return np.arange(len(self.times))

    def unwrapped(self) -> FrameTimes:
        """Return the rows with a clock that goes on where a counter of 16 or 32 bits began again at 0."""
        ticks = self.times * 1000.0  # the counter counts milliseconds
        steps = np.diff(ticks)
        falls = np.flatnonzero(steps < 0)
        forward = steps[steps > 0]
        if not len(falls) or not len(forward):
            return self
        usual = float(np.median(forward))
        for bits in _COUNTER_BITS:
            over = steps[falls] + 2.0**bits
            # An overflow leaves a plausible interval; after any other fall the times are kept as recorded
            if ((over > 0) & (over < 10 * usual)).all():
                added = np.zeros(len(ticks))
                added[falls + 1] = 2.0**bits
                if falls[0] == 0:  # the first time is before the recording began, and was saved without its sign
                    added[0] = -(2.0**bits)
                return replace(self, times=(ticks + np.cumsum(added)) / 1000.0)
        return self

    def of_frames(self, frames: np.ndarray) -> np.ndarray | None:
        """Return the times of frames by their place in the recording, from 0; None where one is not noted."""
        if not len(self.times):
            return None
        rows = frames
        first = int(self.numbers[0])
        # Numbers that jump do not say which row belongs to a frame, unless each frame has a row
        if first > 1 or not np.array_equal(self.numbers, first + np.arange(len(self.numbers))):
            if len(self.times) != len(frames):
                return None
            rows = np.arange(len(frames))
        return self.times[rows] if len(frames) == 0 or int(rows.max()) < len(self.times) else None


def parse_times(file: PositionedFile) -> tuple[tuple[FrameTimes, ...], tuple[str, ...]]:
    """Read a file of times: V4's commas, or V3's tabs and spaces, with or without its heading.

    Parameters
    ----------
    file : PositionedFile

    Returns
    -------
    tuple of FrameTimes, tuple of str
        The cameras in the order of their numbers; a sentence for each part that could not be read.

    Raises
    ------
    CorruptRecordingError
        The file is too large for a list of times.

    References
    ----------
    Miniscope DAQ software (V4): frame number, time stamp in milliseconds, buffer index, and in later versions more columns.
    Miniscope V3 wiki: camNum, frameNum, sysClock in milliseconds, buffer.
    """
    if file.size > _MAX_BYTES:
        raise CorruptRecordingError(f"{file.name} has {file.size:,} bytes, too many for a list of times")
    text = file.read(0, file.size).decode("utf-8-sig", "replace")
    lines = text.splitlines()
    heading, width = _heading(lines)
    columns, problem = _columns(lines[heading - 1] if heading else "", width, lines[heading : heading + 1], file.name)
    if columns is None:
        return (), problem
    rows, problem = _rows(lines[heading:], columns, width, heading, file.name, is_ended=text.endswith(("\n", "\r")))
    return _by_camera(rows, columns), problem


@dataclass(frozen=True, slots=True)
class _Columns:
    """The numbers of the columns, from 0, and the seconds in one unit of the times."""

    frame: int
    time: int
    camera: int | None = None
    counted: int | None = None
    unit: float = 1e-3

    @property
    def used(self) -> tuple[int, ...]:
        return tuple(k for k in (self.frame, self.time, self.camera, self.counted) if k is not None)


def _columns(heading: str, width: int, first: Sequence[str], name: str) -> tuple[_Columns | None, tuple[str, ...]]:
    """Return the columns by their names; by their order where there are none."""
    titles = _fields(heading) if heading else []
    # Names such as "Frame Number" contain spaces, so only the tabs separate them
    if heading and "," not in heading and "\t" in heading:
        titles = [part.strip() for part in heading.split("\t")]
    plain = [re.sub(r"[^a-z]", "", re.sub(r"[(\[].*", "", title.lower())) for title in titles]
    if not any(plain):
        # V3 separates columns by white space and begins with the camera; V4 writes commas and has no camera
        begins_with_camera = width >= 4 and not any("," in line for line in first)
        return (_Columns(1, 2, 0) if begins_with_camera else _Columns(0, 1)), ()
    frame, time, camera, counted = (_place(plain, names) for names in (_FRAME, _TIME, _CAMERA, _DAQ_FRAME))
    if frame is None or time is None:
        if not width:
            return _Columns(0, 1), ()
        shown = ", ".join(printable(title)[:30] for title in titles[:_MAX_SHOWN_COLUMNS])
        return None, (
            f"{name} has no column of {'frame numbers' if frame is None else 'times'} that is known (its columns are {shown}"
            f"{', ...' if len(titles) > _MAX_SHOWN_COLUMNS else ''}); rename it to 'Frame Number' or 'Time Stamp (ms)'",
        )
    return _Columns(frame, time, camera, counted, _unit(titles[time])), ()


def _place(titles: Sequence[str], names: Sequence[str]) -> int | None:
    return next((titles.index(name) for name in names if name in titles), None)


def _unit(title: str) -> float:
    """Return the seconds in one unit of the times: the unit in brackets, else milliseconds."""
    match = re.search(r"[(\[]\s*([^)\]]{1,20}?)\s*[)\]]", title)
    seconds = to_seconds(1, match[1]) if match else None
    return 1e-3 if seconds is None else seconds


def _by_camera(rows: np.ndarray, columns: _Columns) -> tuple[FrameTimes, ...]:
    """Split the rows by camera, in one pass however many cameras there are."""
    if not len(rows):
        return ()
    used = columns.used
    cameras = np.zeros(len(rows)) if columns.camera is None else rows[:, used.index(columns.camera)]
    order = np.argsort(cameras, kind="stable")
    # NaN differs from every number, so the first row starts a part
    starts = np.flatnonzero(np.diff(cameras[order], prepend=np.nan) != 0)
    parts = np.split(rows[order], starts[1:])
    return tuple(
        _frame_times(part, int(cameras[order[start]]), columns) for part, start in zip(parts, starts, strict=True)
    )


def _frame_times(part: np.ndarray, camera: int, columns: _Columns) -> FrameTimes:
    used = columns.used
    counted = None if columns.counted is None else part[:, used.index(columns.counted)].astype(np.int64)
    # dividing milliseconds by 1000 gives the nearest number; multiplying by 0.001 would not
    times = part[:, 1] / 1000.0 if columns.unit == 1e-3 else part[:, 1] * columns.unit
    return FrameTimes(camera, part[:, 0].astype(np.int64), times, counted)


def rate_of(times: np.ndarray) -> float | None:
    """Return the rate (Hz) by the mean interval, intervals far from the median one left out; None for under two times.

    Times are whole milliseconds, so the median alone would be wrong by up to a tenth.
    """
    steps = np.diff(times)
    steps = steps[steps > 0]
    if not len(steps):
        return None
    usual = float(np.median(steps))
    kept = steps[(steps >= _MIN_STEP * usual) & (steps <= _MAX_STEP * usual)]
    return float(1.0 / kept.mean())


def _fields(line: str) -> list[str]:
    return [part.strip() for part in line.split(",")] if "," in line else line.split()


def _heading(lines: list[str]) -> tuple[int, int]:
    """Return how many lines come before the first row, and how many columns a row has."""
    for number, line in enumerate(lines[:_MAX_HEADING_LINES]):
        fields = _fields(line)
        if fields and _NUMBER.match(fields[0]):
            return number, len(fields)
    return min(len(lines), _MAX_HEADING_LINES), 0


def _rows(
    lines: Sequence[str], columns: _Columns, width: int, before: int, name: str, *, is_ended: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the used columns of each row, up to the first that is not a row of numbers."""
    kept = [line for line in lines if line.strip()]
    # np.loadtxt would accept a cut last line, because it looks at the used columns only
    is_last_whole = (
        is_ended
        or not kept
        or (len(_fields(kept[-1])) >= width and not _is_cut_in_its_last_field(kept, columns, width))
    )
    quick = _quick_rows(kept, columns) if is_last_whole else None
    if quick is not None:
        return quick, ()
    rows: list[tuple[float, ...]] = []
    for place, line in enumerate(kept):
        fields = _fields(line)
        is_cut = place == len(kept) - 1 and not is_last_whole
        row = None if is_cut else _row(fields, columns)
        if row is None:
            words = f"line {before + place + 1:,} of {name} is not a row of times ({printable(line[:40])!r}); "
            return _table(rows, columns), (words + f"using the {place:,} rows before it",)
        rows.append(row)
    return _table(rows, columns), ()


def _is_cut_in_its_last_field(lines: Sequence[str], columns: _Columns, width: int) -> bool:
    """Return whether digits of the last number of the file are missing: a shorter number than in the row before."""
    if width - 1 not in columns.used or len(lines) < 2:
        return False
    last, before = (_row(_fields(line), columns) for line in (lines[-1], lines[-2]))
    column = columns.used.index(width - 1)
    # Frames and times only increase, and a number without its last digits is smaller
    return last is not None and before is not None and column < 2 and last[column] <= before[column]


def _quick_rows(lines: Sequence[str], columns: _Columns) -> np.ndarray | None:
    """Return the rows by NumPy's parser; None where it refuses one, so that the slower way can say which."""
    if not lines or any(separator in lines[0] for separator in "#'\""):
        return None
    delimiter = "," if "," in lines[0] else None
    try:
        rows = np.loadtxt(lines, np.float64, delimiter=delimiter, usecols=columns.used, ndmin=2, comments=None)
    except (ValueError, IndexError):
        return None
    # np.loadtxt accepts "nan", "inf" and more digits than are exact, which _NUMBER refuses
    return rows if np.isfinite(rows).all() and (np.abs(rows) < 1e15).all() else None


def _row(fields: Sequence[str], columns: _Columns) -> tuple[float, ...] | None:
    if len(fields) <= max(columns.used) or not all(_NUMBER.match(fields[k]) for k in columns.used):
        return None
    return tuple(float(fields[k]) for k in columns.used)


def _table(rows: Sequence[tuple[float, ...]], columns: _Columns) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, len(columns.used))

"""The JSON footer of an ``.isxd`` file: where it is, and how it describes the samples before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    RecordingError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io import Source, parse_json

__all__ = [
    "CELL_SET",
    "EVENT_SET",
    "FRAME_HEADER_BYTES",
    "Footer",
    "Movie",
    "Timing",
    "extent_of",
    "find",
    "find_footer",
    "integer_of",
    "is_cell_set",
    "is_event_set",
    "is_inscopix",
    "movie_of",
    "ratio_of",
    "read_footer",
    "require_kind",
    "timing_of",
    "utc_offset_of",
]

Read = Callable[[int, int], bytes]

FRAME_HEADER_BYTES = 2 * 1280 * 2  # two lines of the sensor before a frame's pixels, and as much after them

_LENGTH_BYTES = 8
_MAX_FOOTER = 64 << 20  # a footer that lists a million dropped samples has some 8 MiB
_PROBED_BYTES = 1 << 20  # which a source reads at once
_MAX_PIXELS_A_SIDE = 1 << 20
_MAX_SAMPLES = 1 << 48
_INT64 = 1 << 63
_ITEM_BYTES = {0: 2, 1: 4, 2: 1}
_FIRST_VERSION_WITH_TIMESTAMPS = (1, 1, 1)
_MAX_UTC_OFFSET = 50_400  # seconds: no time zone is more than 14 hours from UTC
_KINDS = {
    0: "a movie",
    1: "a cell set",
    2: "a behavioural movie",
    3: "GPIO signals",
    4: "an image",
    5: "an event set",
    6: "cell metrics",
    7: "IMU signals",
    8: "a vessel set",
    9: "an nVision movie",
}
_PIXEL_KINDS = (0, 4)
_ADVICE = dict.fromkeys(_PIXEL_KINDS, "open it with open(path), which returns the movie")
_ADVICE |= dict.fromkeys((1, 5), 'open it with open(path, kind="segmentation")')
_NOT_READ = "supported .isxd files are movies, images, cell sets and event sets"
CELL_SET, EVENT_SET = 1, 5  # the kinds with cells, which are segmentations


@dataclass(frozen=True, slots=True)
class Footer:
    """A footer and its position.

    Attributes
    ----------
    start : int
        The byte at which it begins; the pixels are before it.
    document : mapping
        The parsed JSON.
    """

    start: int
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Timing:
    """The samples of a movie or of traces, and when they were taken.

    Attributes
    ----------
    num_samples : int
        Including the samples that are not stored.
    missing : tuple of (int, int)
        First and last sample, both inclusive, of each run that was dropped, cropped or blank; ascending, with gaps between the
        runs.
    counts : mapping
        How many samples the footer lists as dropped, cropped and blank.
    period : Fraction
        Seconds from one sample to the next; 0 if unknown.
    start : Fraction
        Seconds since 1970-01-01 00:00 UTC of sample 0; 0 if unknown.
    utc_offset : int
        Seconds by which local time is ahead of UTC.
    """

    num_samples: int
    missing: tuple[tuple[int, int], ...]
    counts: Mapping[str, int]
    period: Fraction
    start: Fraction
    utc_offset: int

    @property
    def num_missing(self) -> int:
        """How many samples are missing."""
        return sum(last - first + 1 for first, last in self.missing)

    @property
    def missing_words(self) -> str:
        """How many samples are missing and why, for messages; empty if none are."""
        return ", ".join(f"{count:,} {word}" for word, count in self.counts.items() if count)

    def times(self, start: int, end: int, period: Fraction) -> np.ndarray:
        """Return the times of samples: whole periods from sample 0, in seconds."""
        # numerator and denominator apart, as the vendor computes it: float(period) would differ in the last bit
        return np.arange(start, end) * float(period.numerator) / float(period.denominator)

    def missing_indices(self) -> np.ndarray:
        """Return the missing samples: int64, ascending."""
        runs = [np.arange(first, last + 1, dtype=np.int64) for first, last in self.missing]
        return np.concatenate(runs) if runs else np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Movie:
    """The frames of a movie, as a footer describes them.

    Attributes
    ----------
    rows, columns : int
    data_type : int
        0 for uint16, 1 for float32, 2 for uint8.
    timing : Timing
    has_frame_headers : bool
        Whether there are :data:`FRAME_HEADER_BYTES` before and after the pixels of every frame.
    has_timestamps : bool
        Whether those headers contain the time at which the frame was taken.
    """

    rows: int
    columns: int
    data_type: int
    timing: Timing
    has_frame_headers: bool
    has_timestamps: bool

    @property
    def num_samples(self) -> int:
        """Samples, including those that are not stored."""
        return self.timing.num_samples

    @property
    def num_stored(self) -> int:
        """Samples whose pixels are in the file."""
        return self.timing.num_samples - self.timing.num_missing

    @property
    def frame_bytes(self) -> int:
        """Bytes of the pixels of one frame."""
        return self.rows * self.columns * _ITEM_BYTES[self.data_type]

    @property
    def step(self) -> int:
        """Bytes from one stored frame to the next."""
        return self.frame_bytes + (2 * FRAME_HEADER_BYTES if self.has_frame_headers else 0)

    @property
    def stored_bytes(self) -> int:
        """Bytes of all stored frames."""
        return self.num_stored * self.step


def read_footer(read: Read, size: int, name: str) -> Footer:
    """Find and parse the footer.

    Parameters
    ----------
    read : callable
        ``read(offset, count)`` returns up to ``count`` bytes from ``offset``.
    size : int
        Bytes in the file.
    name : str
        The file's name, for messages.

    Raises
    ------
    TruncatedRecordingError
        There is no footer at the end: the file was truncated, or never finished.

    References
    ----------
    The vendor's open-source core, https://github.com/inscopix/isxcore, ``isxJsonUtils.cpp``: the last 8 bytes are the
    length of the JSON text (int64, little-endian), which precedes them and ends with a zero byte.
    """
    length = int.from_bytes(read(size - _LENGTH_BYTES, _LENGTH_BYTES), "little") if size > _LENGTH_BYTES else 0
    start = size - _LENGTH_BYTES - 1 - length
    if length < 2 or start < 0 or length > _MAX_FOOTER:
        raise TruncatedRecordingError(
            f"{name} ({size:,} bytes) has no footer: its last 8 bytes should be the length of the footer, got {length:,}. "
            "The file is truncated, or the recording was not finished; copy it again from where it was recorded"
        )
    # the last bytes of any file can look like a length, so look for the beginning of a JSON object before reading it all
    text = read(start, 24)
    if text[:1] == b"{":
        text = read(start, length + 1).split(b"\0", 1)[0]
    document = _parse_json(text)
    if document is None:
        raise TruncatedRecordingError(
            f"{name}: expected a JSON footer of {length:,} bytes at byte {start:,}, got {printable(repr(text[:24]))}. "
            "The file is truncated or damaged; copy it again from where it was recorded"
        )
    return Footer(start, document)


def movie_of(footer: Footer, name: str) -> Movie:
    """Return the movie that a footer describes, with every number checked.

    Raises
    ------
    UnsupportedRecordingError
        The file is not a movie or an image, or its pixel type is not supported.
    CorruptRecordingError
        A number is missing or impossible, or the pixels do not fit before the footer.
    """
    document = footer.document
    _require_pixels(document, name)
    version = integer_of(document, "fileVersion", name, high=1 << 31) if "fileVersion" in document else 0
    # Files without a version have no frame headers, even if the footer says so
    headers = version > 0 and find(document, "hasFrameHeaderFooter") is True
    rows, columns = extent_of(document, name)
    movie = Movie(
        rows=rows,
        columns=columns,
        data_type=integer_of(document, "dataType", name, high=2),
        timing=timing_of(document, name),
        has_frame_headers=headers,
        has_timestamps=headers and _has_timestamps(document),
    )
    if movie.stored_bytes > footer.start:
        raise CorruptRecordingError(
            f"{name} has {footer.start:,} bytes of pixels before its footer, but {movie.num_stored:,} stored frames of "
            f"{movie.rows} x {movie.columns} need {movie.stored_bytes:,}: frame {footer.start // movie.step:,} is the first "
            "incomplete one. The footer and the pixels contradict each other; copy the file again from where it was recorded"
        )
    return movie


def timing_of(document: Mapping[str, Any], name: str) -> Timing:
    """Return the timing in the footer of a movie or a cell set, with every number checked.

    Raises
    ------
    CorruptRecordingError
    """
    timing = find(document, "timingInfo")
    samples = integer_of(document, "timingInfo.numTimes", name, high=_MAX_SAMPLES)
    dropped, blank = (_indices(timing, key, samples, name) for key in ("dropped", "blank"))
    cropped = _ranges(timing, samples, name)
    return Timing(
        num_samples=samples,
        missing=_merge_runs([*dropped, *cropped, *blank]),
        counts={"dropped": len(dropped), "cropped": sum(b - a + 1 for a, b in cropped), "blank": len(blank)},
        period=ratio_of(document, "timingInfo.period", name, low=0),
        start=ratio_of(document, "timingInfo.start.secsSinceEpoch", name),
        utc_offset=utc_offset_of(document, "timingInfo.start.utcOffset"),
    )


def extent_of(document: Mapping[str, Any], name: str) -> tuple[int, int]:
    """Return ``(rows, columns)`` of a frame.

    Raises
    ------
    CorruptRecordingError
    """
    return (
        integer_of(document, "spacingInfo.numPixels.y", name, low=1, high=_MAX_PIXELS_A_SIDE),
        integer_of(document, "spacingInfo.numPixels.x", name, low=1, high=_MAX_PIXELS_A_SIDE),
    )


def find(document: Any, path: str) -> Any:
    """Return a value from nested JSON objects, or None.

    Parameters
    ----------
    document : object
    path : str
        Keys joined with dots: ``"microscope.led.exPower"``.
    """
    for key in path.split("."):
        if not isinstance(document, Mapping):
            return None
        document = document.get(key)
    return document


def is_inscopix(source: Source) -> bool:
    """Return whether a source is an ``.isxd`` file of another kind than cell sets and event sets.

    A movie must contain as many frames as its footer states.  Kinds that are not supported are recognised, so that the error
    can name them.

    Parameters
    ----------
    source : Source
    """
    footer = find_footer(source)
    if footer is None or footer.document["type"] in (CELL_SET, EVENT_SET):
        return False
    if footer.document["type"] not in _PIXEL_KINDS:
        return True
    try:
        return _fits(movie_of(footer, ""), footer)
    except UnsupportedRecordingError:
        return True
    except RecordingError:
        return False


def is_cell_set(source: Source) -> bool:
    """Return whether a source ends with the footer of a cell set.

    Parameters
    ----------
    source : Source
    """
    footer = find_footer(source)
    return footer is not None and footer.document["type"] == CELL_SET


def is_event_set(source: Source) -> bool:
    """Return whether a source ends with the footer of an event set.

    Parameters
    ----------
    source : Source
    """
    footer = find_footer(source)
    return footer is not None and footer.document["type"] == EVENT_SET


def find_footer(source: Source) -> Footer | None:
    """Return the footer of a source if it ends with that of an ``.isxd`` file; its type is then a known one."""
    if source.is_folder or source.size <= _LENGTH_BYTES:
        return None
    try:
        # Long footers list dropped frames; other files end at the first bytes, which are not those of a JSON object
        footer = read_footer(_read_in_pieces(source), source.size, "")
    except RecordingError:
        return None
    kind = footer.document.get("type")
    # Any JSON object can have a type
    return footer if type(kind) is int and kind in _KINDS and "producer" in footer.document else None


def _read_in_pieces(source: Source) -> Read:
    def read(offset: int, count: int) -> bytes:
        ends = range(offset, offset + count, _PROBED_BYTES)
        return b"".join(source.read_at(at, min(_PROBED_BYTES, offset + count - at)) for at in ends)

    return read


def _fits(movie: Movie, footer: Footer) -> bool:
    return (footer.start - movie.stored_bytes) % movie.step == 0


def require_kind(document: Mapping[str, Any], kinds: Sequence[int], name: str, *, supported: str) -> None:
    """Raise unless a file is of one of these kinds.

    Parameters
    ----------
    document : mapping
        The footer.
    kinds : sequence of int
    name : str
        Of the file, for messages.
    supported : str
        What the files of these kinds are, for messages.

    Raises
    ------
    CorruptRecordingError
        The footer has no valid kind.
    UnsupportedRecordingError
        It has another one.
    """
    kind = document.get("type")
    words = _KINDS.get(kind) if type(kind) is int else None
    if words is None:
        raise CorruptRecordingError(
            f"the footer of {name} has type {printable(repr(kind))[:40]}, expected an integer from 0 to {max(_KINDS)}"
        )
    if kind not in kinds:
        raise UnsupportedRecordingError(
            f"{name} contains {words}{_num_cells(document)}, expected {supported}; {_ADVICE.get(kind or 0, _NOT_READ)}"
        )


def _require_pixels(document: Mapping[str, Any], name: str) -> None:
    require_kind(document, _PIXEL_KINDS, name, supported="a movie or an image")
    if document.get("dataType") == 3:
        raise UnsupportedRecordingError(
            f"{name} contains colour pixels (RGB, dataType 3); supported pixel types are uint16, float32 and uint8"
        )


def _num_cells(document: Mapping[str, Any]) -> str:
    cells = document.get("CellNames") or document.get("channel list")
    return f" ({len(cells)} cell{'s' * (len(cells) != 1)})" if isinstance(cells, list) else ""


def _parse_json(text: bytes) -> Mapping[str, Any] | None:
    if not text.startswith(b"{"):
        return None
    try:
        # A single byte that is not UTF-8 does not lose the footer
        document = parse_json(text.decode("utf-8", "replace").encode(), "the footer")
    except CorruptRecordingError:
        return None
    return document if isinstance(document, dict) else None


def integer_of(document: Mapping[str, Any], path: str, name: str, *, low: int = 0, high: int = _INT64) -> int:
    """Return an integer of the footer, or raise CorruptRecordingError if it is missing or out of range."""
    value = find(document, path)
    if type(value) is not int or not low <= value <= high:  # isinstance would accept JSON's true
        raise CorruptRecordingError(
            f"the footer of {name} has {path} = {printable(repr(value))[:40]}, expected an integer from {low:,} to {high:,}"
        )
    return value


def ratio_of(document: Any, path: str, name: str, *, low: int | None = None) -> Fraction:
    """Return a number that the footer gives as numerator and denominator, or raise CorruptRecordingError."""
    num, den = find(document, f"{path}.num"), find(document, f"{path}.den")
    if type(num) is int and type(den) is int and den and max(abs(num), abs(den)) <= _INT64:
        seconds = Fraction(num, den)
        if low is None or seconds >= low:
            return seconds
    raise CorruptRecordingError(
        f"the footer of {name} has {path} = {printable(repr(num))[:40]} / {printable(repr(den))[:40]}, which is not a valid time"
    )


def utc_offset_of(document: Mapping[str, Any], path: str) -> int:
    """Return the seconds by which local time is ahead of UTC; 0 if the footer does not say."""
    value = find(document, path)
    return value if type(value) is int and abs(value) <= _MAX_UTC_OFFSET else 0


def _indices(timing: Any, key: str, samples: int, name: str) -> list[tuple[int, int]]:
    values = find(timing, key) or []
    if not isinstance(values, list) or not all(type(k) is int and 0 <= k < samples for k in values):
        raise CorruptRecordingError(
            f"the footer of {name} lists {key} samples outside its {counted(samples, 'sample')}: {printable(repr(values))[:60]}"
        )
    return [(k, k) for k in sorted(set(values))]


def _ranges(timing: Any, samples: int, name: str) -> list[tuple[int, int]]:
    """Return the cropped runs; the footer lists them as strings, ``"7 - 12"`` or ``"7"``, both ends inclusive."""
    runs = []
    for text in find(timing, "cropped") or []:
        match = re.fullmatch(r"\s*(\d{1,15})\s*(?:-\s*(\d{1,15})\s*)?", text) if isinstance(text, str) else None
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last < samples:
            raise CorruptRecordingError(
                f"the footer of {name} lists a cropped run outside its {counted(samples, 'sample')}: {printable(repr(text))[:40]}"
            )
        runs.append((first, last))
    return runs


def _merge_runs(runs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        # A sample may be both dropped and cropped, but is missing once
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def _has_timestamps(document: Mapping[str, Any]) -> bool:
    """Return whether the acquisition software writes the time into the frame headers (from version 1.1.1 on)."""
    version = find(document, "extraProperties.producer.version")
    parts: Sequence[str] = version.split("-")[0].split(".")[:3] if isinstance(version, str) else ()
    if not parts or not all(re.fullmatch(r"\d{1,9}", part) for part in parts):
        return False
    return tuple(int(part) for part in [*parts, "0", "0"][:3]) >= _FIRST_VERSION_WITH_TIMESTAMPS

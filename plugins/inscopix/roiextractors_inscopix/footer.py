"""The JSON footer of an ``.isxd`` file: where it stands, and what it says about the pixels before it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from roiextractors_core.errors import (
    CorruptRecordingError,
    RecordingError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.registry.source import Source

__all__ = ["FRAME_HEADER_BYTES", "Footer", "Movie", "find", "is_inscopix", "movie_of", "read_footer"]

Read = Callable[[int, int], bytes]

FRAME_HEADER_BYTES = 2 * 1280 * 2  # two lines of the sensor; as much stands behind the pixels of a frame

_LENGTH_BYTES = 8
_MAX_FOOTER = 64 << 20
_MAX_PROBED = 1 << 20
_MAX_PIXELS_A_SIDE = 1 << 20
_MAX_SAMPLES = 1 << 48
_INT64 = 1 << 63
_ITEM_BYTES = {0: 2, 1: 4, 2: 1}
_FIRST_WITH_TIMESTAMPS = (1, 1, 1)
_FURTHEST_FROM_UTC = 50_400
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


@dataclass(frozen=True, slots=True)
class Footer:
    """A footer as it was found.

    Attributes
    ----------
    start : int
        The byte at which it begins, and before which the pixels end.
    document : mapping
        The parsed JSON.
    """

    start: int
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Movie:
    """What a footer says about the samples of a movie.

    Attributes
    ----------
    rows, columns : int
    data_type : int
        0 for uint16, 1 for float32, 2 for uint8.
    num_samples : int
        With the samples that are not stored.
    missing : tuple of (int, int)
        First and last sample, both inclusive, of each run that is not stored; ascending, apart from each other.
    counts : mapping
        How many samples the footer calls dropped, cropped and blank.
    period : Fraction
        Seconds from one sample to the next; 0 where it is not known.
    start : Fraction
        Seconds since 1970-01-01 00:00 UTC of sample 0.
    utc_offset : int
        Seconds that the place's own time is ahead of UTC.
    has_frame_headers : bool
        Whether :data:`FRAME_HEADER_BYTES` stand before and behind the pixels of every frame.
    has_timestamps : bool
        Whether those headers hold the time at which the frame was taken.
    """

    rows: int
    columns: int
    data_type: int
    num_samples: int
    missing: tuple[tuple[int, int], ...]
    counts: Mapping[str, int]
    period: Fraction
    start: Fraction
    utc_offset: int
    has_frame_headers: bool
    has_timestamps: bool

    @property
    def num_stored(self) -> int:
        """Samples whose pixels are in the file."""
        return self.num_samples - sum(last - first + 1 for first, last in self.missing)

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


def read_footer(read: Read, size: int, name: str, *, most: int = _MAX_FOOTER) -> Footer:
    """Find and parse the footer.

    Parameters
    ----------
    read : callable
        Gives up to so many bytes (second argument) from an offset (first argument).
    size : int
        Bytes in the file.
    name : str
        For the messages.
    most : int
        A longer footer is refused.

    Raises
    ------
    TruncatedRecordingError
        No footer is at the end: the file was cut, or never finished.
    CorruptRecordingError
        The footer is no JSON object.

    References
    ----------
    The vendor's open-source core, https://github.com/inscopix/isxcore, ``isxJsonUtils.cpp``: the last 8 bytes are the
    length of the JSON text (int64, little-endian), which stands before them and is closed by a zero byte.
    """
    length = int.from_bytes(read(size - _LENGTH_BYTES, _LENGTH_BYTES), "little") if size > _LENGTH_BYTES else 0
    start = size - _LENGTH_BYTES - 1 - length
    if length < 2 or start < 0 or length > most:
        raise TruncatedRecordingError(
            f"{name} holds {size:,} bytes and ends without its footer: the last 8 bytes should hold its length, and say "
            f"{length:,}. The file is cut, or the recording was not finished; copy it again from where it was recorded"
        )
    text = read(start, 24)  # any file's last bytes can look like a length: no more is read than shows a JSON object
    if text[:1] == b"{":
        text = read(start, length + 1).split(b"\0", 1)[0]
    document = _parsed(text) if text[:1] == b"{" else None
    if document is None:
        raise TruncatedRecordingError(
            f"{name} should hold a JSON footer of {length:,} bytes from byte {start:,} on, and {printable(repr(text[:24]))} "
            "stands there. The file is cut or damaged; copy it again from where it was recorded"
        )
    return Footer(start, document)


def movie_of(footer: Footer, name: str) -> Movie:
    """Return what the footer says about the movie, every number checked.

    Raises
    ------
    UnsupportedRecordingError
        The file holds something else than a movie or an image, or pixels of a type that is not read.
    CorruptRecordingError
        A number is missing or cannot be right, or the pixels do not fit before the footer.
    """
    document = footer.document
    _require_pixels(document, name)
    timing = find(document, "timingInfo")
    version = _whole(document, "fileVersion", name, most=1 << 31) if "fileVersion" in document else 0
    headers = version > 0 and find(document, "hasFrameHeaderFooter") is True
    samples = _whole(document, "timingInfo.numTimes", name, most=_MAX_SAMPLES)
    dropped, blank = (_indices(timing, key, samples, name) for key in ("dropped", "blank"))
    cropped = _ranges(timing, samples, name)
    movie = Movie(
        rows=_whole(document, "spacingInfo.numPixels.y", name, least=1, most=_MAX_PIXELS_A_SIDE),
        columns=_whole(document, "spacingInfo.numPixels.x", name, least=1, most=_MAX_PIXELS_A_SIDE),
        data_type=_whole(document, "dataType", name, most=2),
        num_samples=samples,
        missing=_merged([*dropped, *cropped, *blank]),
        counts={"dropped": len(dropped), "cropped": sum(b - a + 1 for a, b in cropped), "blank": len(blank)},
        period=_ratio(document, "timingInfo.period", name, least=0),
        start=_ratio(document, "timingInfo.start.secsSinceEpoch", name),
        utc_offset=_offset(document),
        has_frame_headers=headers,
        has_timestamps=headers and _has_timestamps(document),
    )
    if movie.stored_bytes > footer.start:
        raise CorruptRecordingError(
            f"{name} holds {footer.start:,} bytes of pixels before its footer, and {movie.num_stored:,} stored frames of "
            f"{movie.rows} x {movie.columns} need {movie.stored_bytes:,}: frame {footer.start // movie.step:,} is the first that is "
            "not whole. The footer and the pixels contradict each other; copy the file again from where it was recorded"
        )
    return movie


def find(document: Any, path: str) -> Any:
    """Return a value inside nested JSON objects, or None.

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
    """Say whether a source ends in the footer of an ``.isxd`` file, behind as many frames as it states.

    Parameters
    ----------
    source : Source
    """
    if source.is_folder or source.size <= _LENGTH_BYTES:
        return False
    try:
        footer = read_footer(source.read_at, source.size, "", most=_MAX_PROBED)
        kind = footer.document.get("type")
        if type(kind) is not int or kind not in _KINDS or "producer" not in footer.document:
            return False
        return kind not in _PIXEL_KINDS or _fits(movie_of(footer, ""), footer)
    except UnsupportedRecordingError:
        return True
    except RecordingError:
        return False


def _fits(movie: Movie, footer: Footer) -> bool:
    return (footer.start - movie.stored_bytes) % movie.step == 0


def _require_pixels(document: Mapping[str, Any], name: str) -> None:
    kind = document.get("type")
    words = _KINDS.get(kind) if type(kind) is int else None
    if words is None:
        raise CorruptRecordingError(
            f"the footer of {name} holds type {printable(repr(kind))[:40]}, and an .isxd file has one of 0 to {max(_KINDS)}"
        )
    if kind not in _PIXEL_KINDS:
        raise UnsupportedRecordingError(
            f"{name} holds {words}{_extent(document)}, which is not yet readable here: of .isxd files, movies and images are read"
        )
    if document.get("dataType") == 3:
        raise UnsupportedRecordingError(
            f"{name} holds colour pixels (RGB, dataType 3), and uint16, float32 and uint8 are read"
        )


def _extent(document: Mapping[str, Any]) -> str:
    cells = document.get("CellNames")
    return f" ({len(cells)} cell{'s' * (len(cells) != 1)})" if isinstance(cells, list) else ""


def _parsed(text: bytes) -> Mapping[str, Any] | None:
    if not text.startswith(b"{"):
        return None
    try:
        found = json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _whole(document: Mapping[str, Any], path: str, name: str, *, least: int = 0, most: int = _INT64) -> int:
    value = find(document, path)
    if type(value) is not int or not least <= value <= most:
        raise CorruptRecordingError(
            f"the footer of {name} holds {path} = {printable(repr(value))[:40]}, and a whole number from {least:,} to {most:,} is needed"
        )
    return value


def _ratio(document: Mapping[str, Any], path: str, name: str, *, least: int | None = None) -> Fraction:
    num, den = find(document, f"{path}.num"), find(document, f"{path}.den")
    if type(num) is int and type(den) is int and den and max(abs(num), abs(den)) <= _INT64:
        found = Fraction(num, den)
        if least is None or found >= least:
            return found
    raise CorruptRecordingError(
        f"the footer of {name} holds {path} = {printable(repr(num))[:40]} / {printable(repr(den))[:40]}, which is no time"
    )


def _offset(document: Mapping[str, Any]) -> int:
    value = find(document, "timingInfo.start.utcOffset")
    return value if type(value) is int and abs(value) <= _FURTHEST_FROM_UTC else 0


def _indices(timing: Any, key: str, samples: int, name: str) -> list[tuple[int, int]]:
    values = find(timing, key) or []
    if not isinstance(values, list) or not all(type(k) is int and 0 <= k < samples for k in values):
        raise CorruptRecordingError(
            f"the footer of {name} lists {key} samples that are none of its {samples:,}: {printable(repr(values))[:60]}"
        )
    return [(k, k) for k in sorted(set(values))]


def _ranges(timing: Any, samples: int, name: str) -> list[tuple[int, int]]:
    """Return the cropped runs; the footer writes them as texts, ``"7 - 12"`` or ``"7"``, both ends inclusive."""
    found = []
    for text in find(timing, "cropped") or []:
        match = re.fullmatch(r"\s*(\d{1,15})\s*(?:-\s*(\d{1,15})\s*)?", text) if isinstance(text, str) else None
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last < samples:
            raise CorruptRecordingError(
                f"the footer of {name} lists a cropped run that is none of its {samples:,} samples: {printable(repr(text))[:40]}"
            )
        found.append((first, last))
    return found


def _merged(runs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def _has_timestamps(document: Mapping[str, Any]) -> bool:
    """Say whether the acquisition software is of a version (1.1.1) that writes the time into the frame headers."""
    version = find(document, "extraProperties.producer.version")
    parts: Sequence[str] = version.split("-")[0].split(".")[:3] if isinstance(version, str) else ()
    if not parts or not all(re.fullmatch(r"\d{1,9}", part) for part in parts):
        return False
    return tuple(int(part) for part in [*parts, "0", "0"][:3]) >= _FIRST_WITH_TIMESTAMPS

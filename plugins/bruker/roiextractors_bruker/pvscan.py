"""Reads a PVScan XML as a stream: every frame's place, time and files in columns, the settings once."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    RecordingError,
    SourceNotFoundError,
    SourceReadError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)

__all__ = ["Channel", "Scan", "read_scan"]

_CHUNK = 1 << 17
_NOT_XML = bytes(code for code in range(32) if code not in b"\t\n\r")  # Prairie View writes some; no parser takes them
_ENDED_EARLY = {
    expat.errors.codes[words]
    for words in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
}
_MAX_PAGES = 1 << 31
_NAN = math.nan

Attributes = dict[str, str]


@dataclass(frozen=True, slots=True)
class Channel:
    """The images of one channel, a column each, in the order of the XML.

    Attributes
    ----------
    number : int
    name : str
        The user's own name for it, else ``Ch`` and the number.
    frames, files, pages : numpy.ndarray
        int64: which frame each image is of, which file it is in, and its page there, from 0.
    """

    number: int
    name: str
    frames: np.ndarray
    files: np.ndarray
    pages: np.ndarray


@dataclass(frozen=True, slots=True)
class Scan:
    """What a PVScan XML says.

    Attributes
    ----------
    name : str
        The XML's name, safe to print.
    attributes, state : mapping
        Of the PVScan element, and its settings: text, or index to ``{"value": ..., "description": ...}``.
    first_state, first_sequence : mapping
        What the first sequence and its first frame set otherwise; the first sequence's attributes.
    kinds : tuple of str
        The types of sequences that hold frames, in order of appearance.
    sequence_kinds, cycles, clocks : numpy.ndarray
        For each sequence its type (an index into ``kinds``), its cycle, and its time of day in seconds (NaN: not said).
    sequences, indices : numpy.ndarray
        For each frame its sequence and its index there.
    relative, absolute, periods, depths : numpy.ndarray
        For each frame seconds, seconds, seconds, and micrometres: the sum of all devices' Z; NaN where not said.
    channels : tuple of Channel
        By number.
    names : tuple of str
        The files.
    places : mapping
        Each file's place among them.
    counts : numpy.ndarray
        How many pages each file is said to hold.
    other_kinds : tuple of str
        The types of sequences without frames.
    cut : str
        Where the XML ends before its end, in words; empty when it is whole.
    """

    name: str
    attributes: Mapping[str, str]
    state: Mapping[str, Any]
    first_state: Mapping[str, Any]
    first_sequence: Mapping[str, str]
    kinds: tuple[str, ...]
    sequence_kinds: np.ndarray
    cycles: np.ndarray
    clocks: np.ndarray
    sequences: np.ndarray
    indices: np.ndarray
    relative: np.ndarray
    absolute: np.ndarray
    periods: np.ndarray
    depths: np.ndarray
    channels: tuple[Channel, ...]
    names: tuple[str, ...]
    places: Mapping[str, int]
    counts: np.ndarray
    other_kinds: tuple[str, ...]
    cut: str

    def frame_words(self, frame: int) -> str:
        """Return ``frame 3 of cycle 1``."""
        return f"frame {self.indices[frame]} of cycle {self.cycles[self.sequences[frame]]}"

    def setting(self, key: str) -> Any:
        """Return a setting as the first frame has it: text or a mapping; None where it is not said."""
        return self.first_state.get(key, self.state.get(key))


def read_scan(path: str) -> Scan:
    """Read a PVScan XML in pieces; memory goes with the number of frames, not with the size of the XML.

    Parameters
    ----------
    path : str

    Raises
    ------
    CorruptRecordingError
        The XML is malformed, contradicts itself, or names files outside its folder.
    UnsupportedRecordingError
        Another XML of Prairie View, one without images, or one with a DOCTYPE.

    References
    ----------
    Bio-Formats' PrairieMetadata for the elements of Prairie View before and after 5.2.
    """
    found = _Content(printable(Path(path).name))
    parser = expat.ParserCreate()
    parser.StartElementHandler = found.root(parser)
    parser.StartDoctypeDeclHandler = found.doctype
    try:
        with open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                parser.Parse(chunk.translate(None, _NOT_XML), False)
            _finish(parser, found)
    except expat.ExpatError as error:
        raise CorruptRecordingError(
            f"{found.name} is not sound XML at line {error.lineno}, column {error.offset} ({expat.ErrorString(error.code)}), "
            f"{found.where()}; the file is damaged"
        ) from error
    except RecordingError:
        raise
    except (LookupError, ValueError) as error:  # an encoding that Python does not know
        raise CorruptRecordingError(f"{found.name} cannot be read as XML: {printable(error)}") from error
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{printable(path)} is not there") from error
    except OSError as error:
        raise SourceReadError(f"{printable(path)} could not be read: {error.strerror or error}") from error
    return found.scan()


def _finish(parser: Any, found: _Content) -> None:
    try:
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        if error.code not in _ENDED_EARLY or not found.attributes:
            raise
        found.end_early(error.lineno)


class _Images:
    """The columns of one channel while they grow."""

    __slots__ = ("files", "frames", "name", "pages")

    def __init__(self, name: str) -> None:
        self.name = name
        self.frames, self.files, self.pages = array("q"), array("q"), array("q")


class _Content:
    """Takes the elements as they come, and keeps what is needed of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.attributes: Attributes = {}
        self._state: dict[str, Any] = {}
        self._first_state: dict[str, Any] = {}
        self._first_sequence: Attributes = {}
        self._systems: list[Attributes] = []
        self._sequences: list[tuple[str, int, float]] = []
        self._sequence, self._index = array("q"), array("q")
        self._relative, self._absolute = array("d"), array("d")
        self._period, self._depth = array("d"), array("d")
        self._images: dict[str, _Images] = {}
        self._files: dict[str, int] = {}
        self._counts = array("q")
        self._cut = ""
        # where the stream is: settings go to `_target` (None: not kept), and periods and depths are inherited
        self._target: dict[str, Any] | None = self._state
        self._table: dict[str, Any] | None = None
        self._key = self._axis = ""
        self._outer_period = self._outer_depth = _NAN
        self._scan_period = self._scan_depth = _NAN
        self._in_frame = False
        self._handle: Mapping[str, Callable[[Attributes], None]] = {
            "Frame": self._frame,
            "File": self._file,
            "PVStateValue": self._value,
            "Key": self._old_value,
            "IndexedValue": self._indexed,
            "SubindexedValues": self._subindexed_group,
            "SubindexedValue": self._subindexed,
            "Sequence": self._sequence_begins,
            "SystemID": self._system,
        }

    def root(self, parser: Any) -> Callable[[str, Attributes], None]:
        """Return what takes the first element, and then lets the rest be taken."""
        find = self._handle.get

        def element(tag: str, attributes: Attributes) -> None:
            handle = find(tag)
            if handle is not None:
                handle(attributes)

        def begin(tag: str, attributes: Attributes) -> None:
            self._begin(tag, attributes)
            parser.StartElementHandler = element

        return begin

    def doctype(self, *_: object) -> None:
        """Refuse what could declare entities."""
        raise UnsupportedRecordingError(f"{self.name} holds a DOCTYPE, which is refused: it could declare entities")

    def where(self) -> str:
        """Return where in the recording the stream is."""
        if not self._sequences:
            return "before the first sequence"
        cycle = self._sequences[-1][1]
        last = f"behind the beginning of frame {self._index[-1]}" if self._in_frame else "before the first frame"
        return f"{last} of cycle {cycle}"

    def end_early(self, line: int) -> None:
        """Note that the XML ends before its end, and drop the frame that may be half there."""
        self._cut = f"{self.name} ends at line {line:,}, {self.where()}, without an end of the XML"
        if not self._in_frame:
            return
        last = len(self._index) - 1
        for images in self._images.values():
            while images.frames and images.frames[-1] == last:
                for column in (images.frames, images.files, images.pages):
                    column.pop()
        for whole in (self._sequence, self._index):
            whole.pop()
        for real in (self._relative, self._absolute, self._period, self._depth):
            real.pop()

    def _begin(self, tag: str, attributes: Attributes) -> None:
        if tag == "PVScan":
            self.attributes = {"version": "", **attributes}
            return
        kinds = {
            "PVMarkPointSeriesElements": "a list of stimulation points (MarkPoints)",
            "PVSavedMarkPointSeriesElements": "a list of stimulation points (MarkPoints)",
            "VRecSessionEntry": "the settings of a voltage recording",
        }
        what = kinds.get(tag, f"XML with the root {printable(tag)!r:.80}")
        raise UnsupportedRecordingError(
            f"{self.name} is {what}, and not a PVScan; open the folder, or the XML that is named as the recording"
        )

    def _system(self, attributes: Attributes) -> None:
        if len(self._systems) < 16:
            self._systems.append(attributes)

    def _sequence_begins(self, attributes: Attributes) -> None:
        cycle = _whole(attributes.get("cycle"), len(self._sequences) + 1)
        self._sequences.append((attributes.get("type", ""), cycle, _seconds_of_day(attributes.get("time"))))
        self._outer_period, self._outer_depth = self._scan_period, self._scan_depth
        self._in_frame = False
        self._table = None
        self._target = self._first_state if not len(self._index) else None
        if not len(self._index):
            self._first_sequence = attributes

    def _frame(self, attributes: Attributes) -> None:
        if not self._sequences:
            raise CorruptRecordingError(f"{self.name} holds a frame outside of all sequences")
        number = self._index[-1] + 1 if self._in_frame else 1
        get = attributes.get
        self._in_frame = True
        self._sequence.append(len(self._sequences) - 1)
        self._index.append(_whole(get("index"), number))
        self._relative.append(_number(get("relativeTime")))
        self._absolute.append(_number(get("absoluteTime")))
        self._period.append(self._outer_period)
        self._depth.append(self._outer_depth)
        self._target = self._first_state if len(self._index) == 1 else None
        self._table = None
        self._key = ""

    def _file(self, attributes: Attributes) -> None:
        if not self._in_frame:
            return  # a reference image or a voltage recording of the sequence
        name, channel = attributes.get("filename", ""), attributes.get("channel", "")
        images = self._images.get(channel)
        if images is None:
            images = self._images[channel] = _Images(attributes.get("channelName", ""))
            self._check_channel(channel)
        number = self._files.get(name)
        if number is None:
            number = self._files[name] = len(self._counts)
            self._check_name(name)
            self._counts.append(0)
        page = self._page(attributes.get("page"), number)
        images.frames.append(len(self._index) - 1)
        images.files.append(number)
        images.pages.append(page - 1)

    def _page(self, text: str | None, number: int) -> int:
        """Return the page from 1; where none is said, the next one of this file."""
        if text is None:
            page = self._counts[number] + 1
        else:
            page = _whole(text, 0)
        if not 0 < page < _MAX_PAGES:
            raise CorruptRecordingError(
                f"{self.name}, {self._here()}: page {printable(text)!r:.40} is no page from 1 on"
            )
        if page > self._counts[number]:
            self._counts[number] = page
        return page

    def _check_channel(self, channel: str) -> None:
        if not channel.isdecimal() or len(channel) > 6:
            raise CorruptRecordingError(
                f"{self.name}, {self._here()}: the channel {printable(channel)!r:.40} is no number"
            )

    def _check_name(self, name: str) -> None:
        if not name or name in (".", "..") or any(c in name for c in "/\\\0"):
            raise CorruptRecordingError(
                f"{self.name}, {self._here()}, names the file {printable(name)!r:.200}, which is no name in the recording's folder"
            )

    def _here(self) -> str:
        return f"frame {self._index[-1]} of cycle {self._sequences[-1][1]}"

    def _value(self, attributes: Attributes) -> None:
        key, value = attributes.get("key", ""), attributes.get("value")
        self._key, self._axis = key, ""
        if value is None:
            self._table = None if self._target is None else self._target.setdefault(key, {})
            if not isinstance(self._table, dict):
                self._table = None
            return
        self._table = None
        if self._target is not None:
            self._target[key] = value
        if key == "framePeriod":
            self._set_period(_number(value))

    def _old_value(self, attributes: Attributes) -> None:
        """Take a setting as Prairie View wrote it before 5.2: ``positionCurrent_ZAxis`` = ``-9,62.45``."""
        key, value = attributes.get("key", ""), attributes.get("value", "")
        head, _, index = key.partition("_")
        if not index:
            self._value({"key": key, "value": value})
            return
        if self._target is not None:
            table = self._target.setdefault(head, {})
            if isinstance(table, dict):
                table[index] = {"value": value}
        if key == "positionCurrent_ZAxis":
            self._set_depth(sum(_number(part) for part in value.split(",")))

    def _indexed(self, attributes: Attributes) -> None:
        index = attributes.get("index", "")
        if self._table is not None:
            self._table[index] = _item(attributes)
        if self._key == "positionCurrent" and index == "ZAxis":
            self._set_depth(_number(attributes.get("value")))

    def _subindexed_group(self, attributes: Attributes) -> None:
        self._axis = attributes.get("index", "")
        if self._table is not None:
            self._table[self._axis] = {}
        if self._axis == "ZAxis" and self._key == "positionCurrent":
            self._set_depth(0.0)

    def _subindexed(self, attributes: Attributes) -> None:
        if self._table is not None and isinstance(self._table.get(self._axis), dict):
            self._table[self._axis][attributes.get("subindex", "")] = _item(attributes)
        if self._axis == "ZAxis" and self._key == "positionCurrent":
            so_far = self._depth[-1] if self._in_frame else self._outer_depth
            self._set_depth(so_far + _number(attributes.get("value")))

    def _set_period(self, seconds: float) -> None:
        if self._in_frame:
            self._period[-1] = seconds
            return
        self._outer_period = seconds
        if not self._sequences:
            self._scan_period = seconds

    def _set_depth(self, micrometres: float) -> None:
        if self._in_frame:
            self._depth[-1] = micrometres
            return
        self._outer_depth = micrometres
        if not self._sequences:
            self._scan_depth = micrometres

    def scan(self) -> Scan:
        """Return what was found, checked."""
        if not len(self._index) or not self._images:
            raise self._without_images()
        sequences = np.array(self._sequence, np.int64)
        with_frames = sorted(set(self._sequence.tolist()))
        kinds = tuple(dict.fromkeys(self._sequences[k][0] for k in with_frames))
        others = dict.fromkeys(kind for kind, _, _ in self._sequences if kind not in kinds)
        state = {**self._state, "SystemIDs": self._systems} if self._systems else self._state
        scan = Scan(
            name=self.name,
            attributes=self.attributes,
            state=state,
            first_state=self._first_state,
            first_sequence=self._first_sequence,
            kinds=kinds,
            sequence_kinds=np.array([kinds.index(kind) if kind in kinds else -1 for kind, _, _ in self._sequences]),
            cycles=np.array([cycle for _, cycle, _ in self._sequences], np.int64),
            clocks=np.array([clock for _, _, clock in self._sequences], np.float64),
            sequences=sequences,
            indices=np.array(self._index, np.int64),
            relative=np.array(self._relative),
            absolute=np.array(self._absolute),
            periods=np.array(self._period),
            depths=np.array(self._depth),
            channels=self._channels(),
            names=tuple(self._files),
            places=self._files,
            counts=np.array(self._counts, np.int64),
            other_kinds=tuple(others),
            cut=self._cut,
        )
        _check_pages(scan)
        return scan

    def _channels(self) -> tuple[Channel, ...]:
        ordered = sorted(self._images.items(), key=lambda item: int(item[0]))
        names = [images.name or f"Ch{int(number)}" for number, images in ordered]
        labels = [
            name if names.count(name) == 1 else f"{name} ({int(number)})"
            for name, (number, _) in zip(names, ordered, strict=True)
        ]
        return tuple(
            Channel(
                int(number),
                label,
                np.array(images.frames, np.int64),
                np.array(images.files, np.int64),
                np.array(images.pages, np.int64),
            )
            for label, (number, images) in zip(labels, ordered, strict=True)
        )

    def _without_images(self) -> UnsupportedRecordingError | TruncatedRecordingError:
        if self._cut:
            return TruncatedRecordingError(
                f"{self._cut}; no whole frame is described before. Copy it again; what the TIFF files alone tell: open(<folder>, format='ometiff') or 'tiff'"
            )
        kinds = ", ".join(dict.fromkeys(printable(kind) for kind, _, _ in self._sequences)) or "none"
        return UnsupportedRecordingError(
            f"{self.name} describes no image (its sequences: {kinds[:200]}); it is not a recording of images"
        )


def _check_pages(scan: Scan) -> None:
    """Refuse an XML by which two images are the same page."""
    files = np.concatenate([channel.files for channel in scan.channels])
    pages = np.concatenate([channel.pages for channel in scan.channels])
    frames = np.concatenate([channel.frames for channel in scan.channels])
    order = np.lexsort((pages, files))
    same = np.flatnonzero((np.diff(files[order]) == 0) & (np.diff(pages[order]) == 0))
    if len(same):
        one, other = order[same[0]], order[same[0] + 1]
        raise CorruptRecordingError(
            f"{scan.name}: {scan.frame_words(int(frames[one]))} and {scan.frame_words(int(frames[other]))} are both said to be "
            f"page {int(pages[one]) + 1} of {printable(scan.names[files[one]])}"
        )


def _item(attributes: Attributes) -> dict[str, str]:
    return {key: attributes[key] for key in ("value", "description") if key in attributes}


def _number(text: str | None) -> float:
    try:
        return float(text) if text else _NAN
    except ValueError:
        return _NAN


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 12 else otherwise


def _seconds_of_day(text: str | None) -> float:
    parts = (text or "").split(":")
    if len(parts) != 3:
        return _NAN
    hours, minutes, seconds = (_number(part) for part in parts)
    return hours * 3600 + minutes * 60 + seconds

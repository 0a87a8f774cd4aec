"""Reads a PVScan XML as a stream: the position, time and files of every frame as columns, and the settings once."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceNotFoundError,
    SourceReadError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io import PositionedFile, feed_xml, xml_parser, xml_problems

__all__ = ["Channel", "Scan", "read_scan"]

_CHUNK = 1 << 17
_NOT_XML = bytes(
    code for code in range(32) if code not in b"\t\n\r"
)  # Prairie View writes some, and parsers refuse them
# The errors of expat at the end of a truncated XML; any other one means damage inside it
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
_FIRST_CHECK = 1 << 17  # images, read in about a second; checked again after twice as many
_MIN_PAGE = 100  # bytes of the tags of a page
_NAN = math.nan

Attributes = dict[str, str]


@dataclass(frozen=True, slots=True)
class Channel:
    """The images of one channel as columns, in the order of the XML.

    Attributes
    ----------
    number : int
    name : str
        The user's name for it, or ``Ch`` and the number.
    frames, files, pages : numpy.ndarray
        int64: the frame of each image, its file, and its page in the file, from 0.
    """

    number: int
    name: str
    frames: np.ndarray
    files: np.ndarray
    pages: np.ndarray


@dataclass(frozen=True, slots=True)
class Scan:
    """The contents of a PVScan XML.

    Attributes
    ----------
    name : str
        The XML's name, safe to print.
    attributes, state : mapping
        The attributes of the PVScan element, and its settings: text, or a mapping of index to
        ``{"value": ..., "description": ...}``.
    first_state, first_sequence : mapping
        The settings that the first sequence and its first frame override; the attributes of that sequence.
    kinds : tuple of str
        The types of the sequences that contain frames, in order of appearance.
    sequence_kinds, cycles, clocks : numpy.ndarray
        For each sequence its type (an index into ``kinds``), its cycle, and its time of day in seconds (NaN if unknown).
    sequences, indices : numpy.ndarray
        For each frame its sequence and its index in the sequence.
    relative, absolute, periods, depths : numpy.ndarray
        For each frame its two times and its frame period in seconds, and its depth in micrometres, summed over all devices
        that move in Z; NaN if unknown.
    stage : numpy.ndarray
        ``(frames, 3)``: for each frame the position of the stage along columns (X) and rows (Y) in micrometres, and its index in a
        grid of positions; NaN if unknown.
    channels : tuple of Channel
        By number.
    names : tuple of str
        The file names.
    places : mapping
        The index of each file name in ``names``.
    counts : numpy.ndarray
        The number of pages in each file, according to the XML.
    cut : str
        The place where a truncated XML ends, in words; empty for a complete one.
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
    stage: np.ndarray
    channels: tuple[Channel, ...]
    names: tuple[str, ...]
    places: Mapping[str, int]
    counts: np.ndarray
    cut: str

    def frame_words(self, frame: int) -> str:
        """Return ``frame 3 of cycle 1``."""
        return f"frame {self.indices[frame]} of cycle {self.cycles[self.sequences[frame]]}"

    def setting(self, key: str) -> Any:
        """Return a setting as it is at the first frame: text or a mapping; None if there is no such setting."""
        return self.first_state.get(key, self.state.get(key))


def read_scan(path: str) -> Scan:
    """Read a PVScan XML in pieces; memory grows with the number of frames, not with the size of the XML.

    Parameters
    ----------
    path : str

    Raises
    ------
    CorruptRecordingError
        The XML is malformed, contradicts itself, or names files outside its folder.
    UnsupportedRecordingError
        It is another XML of Prairie View, describes no images, or contains a DOCTYPE.

    References
    ----------
    Bio-Formats' PrairieMetadata for the elements of Prairie View before and after 5.2.
    """
    content = _Content(printable(Path(path).name), os.path.dirname(path))
    parser = xml_parser(content.name)
    parser.StartElementHandler = content.element_callback(parser)
    try:
        with xml_problems(content.name):
            _feed(parser, path, content)
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{printable(path)} does not exist") from error
    except OSError as error:
        raise SourceReadError(f"{printable(path)} could not be read: {error.strerror or error}") from error
    return content.scan()


def _feed(parser: Any, path: str, content: _Content) -> None:
    try:
        with PositionedFile(path).stream() as stream:
            feed_xml(parser, _pieces(stream), content.name)
        _finish(parser, content)
    except expat.ExpatError as error:
        # not left to xml_problems, since only here the frame at which the XML is damaged is known
        raise CorruptRecordingError(
            f"{content.name} is not well-formed XML: {expat.ErrorString(error.code)} at line {error.lineno:,}, column "
            f"{error.offset:,}, {content.where()}; the file is damaged"
        ) from error


def _pieces(stream: Any) -> Iterator[bytes]:
    """Yield the XML up to its end, or to a piece without a character: a file may be padded with any number of zeros."""
    while chunk := stream.read(_CHUNK).translate(None, _NOT_XML):
        yield chunk


def _finish(parser: Any, content: _Content) -> None:
    try:
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        # Without the root element, nothing shows that this is the beginning of a PVScan
        if error.code not in _ENDED_EARLY or not content.attributes:
            raise
        content.end_early(error.lineno)


class _Images:
    """The columns of one channel while they grow."""

    __slots__ = ("files", "frames", "name", "pages")

    def __init__(self, name: str) -> None:
        self.name = name
        self.frames, self.files, self.pages = array("q"), array("q"), array("q")

    def drop(self, frame: int) -> None:
        """Remove the images of the last frame."""
        while self.frames and self.frames[-1] == frame:
            for column in (self.frames, self.files, self.pages):
                column.pop()


class _Scope:
    """The settings of the scan, of a sequence, or of a frame; missing ones come from the scope around it."""

    __slots__ = ("depth", "period", "settings", "stage")

    def __init__(self, outer: _Scope | None = None) -> None:
        self.settings: dict[str, Any] = {}
        # inherited until `resolve` finds its own
        self.period: float = _NAN if outer is None else outer.period
        self.depth: float = _NAN if outer is None else outer.depth
        self.stage: tuple[float, float, float] = (_NAN, _NAN, _NAN) if outer is None else outer.stage

    def resolve(self) -> None:
        """Read the frame period and the depth from the settings, once all of them have been read."""
        settings = self.settings
        if not settings:
            return  # most frames have none, so half a million of them cost little
        period, position = settings.get("framePeriod"), settings.get("positionCurrent")
        if isinstance(period, str):
            self.period = _number(period)
        x, y, place = self.stage
        grid = settings.get("xYStageGridIndex")
        if isinstance(grid, str):
            place = _number(grid) if _number(grid) >= 0 else _NAN
        if isinstance(position, dict):
            self.depth = _known(position.get("ZAxis"), self.depth)
            x, y = _known(position.get("XAxis"), x), _known(position.get("YAxis"), y)
        self.stage = (x, y, place)


def _known(axis: Mapping[str, Any] | None, inherited: float) -> float:
    """Return a position, or the one of the scope around it where the entry gives none."""
    own = _NAN if axis is None else _position(axis)
    return own if math.isfinite(own) else inherited


def _position(axis: Mapping[str, Any]) -> float:
    """Return the sum over the devices that move along an axis, from one entry of ``positionCurrent``."""
    value = axis.get("value")
    if isinstance(axis.get("index"), str):  # an IndexedValue: one device
        return _number(value)
    if isinstance(value, str):  # a Key, as before 5.2, with all devices in one text: "-9,62.45"
        return sum(_number(part) for part in value.split(","))
    # The sum of no device is 0, which would be a position
    return float(sum(_number(device.get("value")) for device in axis.values())) if axis else _NAN


class _Content:
    """Collects columns and settings from the start of every element.

    The end of an element is not watched: that would double the calls from expat for half a million frames.  A scope ends
    where the next one of its kind begins, which is equivalent: Prairie View writes settings only at the beginning of the
    scan and of a sequence, and inside frames.
    """

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self._folder = folder
        self._num_images, self._next_check = 0, _FIRST_CHECK
        self.attributes: Attributes = {}
        self._scopes = [_Scope()]  # of the scan; then of the sequence; then of the frame
        self._table: dict[str, Any] = {}  # the entries of the setting that was last begun
        self._subtable: dict[str, Any] = {}
        self._first_state: dict[str, Any] = {}
        self._first_sequence: Attributes = {}
        self._systems: list[Attributes] = []
        self._sequences: list[tuple[str, int, float]] = []
        # Arrays of 8 bytes a value: lists of Python numbers would take several times as much for half a million frames
        self._sequence, self._index = array("q"), array("q")
        self._relative, self._absolute = array("d"), array("d")
        self._stage = array("d")  # X, Y and place in the grid of each frame in turn
        self._period, self._depth = array("d"), array("d")  # one shorter than the others while a frame is open
        self._images: dict[str, _Images] = {}
        self._files: dict[str, int] = {}
        self._counts = array("q")
        self._cut = ""

    def element_callback(self, parser: Any) -> Callable[[str, Attributes], None]:
        """Return the function for the first element, which installs the one for all others."""
        # One lookup for each of millions of elements, most of which are skipped
        find = {
            "Frame": self._begin_frame,
            "File": self._file,
            "PVStateValue": self._value,
            "Key": self._old_value,
            "IndexedValue": self._indexed,
            "SubindexedValues": self._subindexed_group,
            "SubindexedValue": self._subindexed,
            "Sequence": self._begin_sequence,
            "SystemID": self._system,
        }.get

        def element(tag: str, attributes: Attributes) -> None:
            handle = find(tag)
            if handle is not None:
                handle(attributes)

        def begin(tag: str, attributes: Attributes) -> None:
            self._begin(tag, attributes)
            parser.StartElementHandler = element

        return begin

    def where(self) -> str:
        """Return the current position in the recording, for messages."""
        if not self._sequences:
            return "before the first sequence"
        cycle = self._sequences[-1][1]
        last = f"after the beginning of frame {self._index[-1]}" if self._in_frame else "before the first frame"
        return f"{last} of cycle {cycle}"

    def end_early(self, line: int) -> None:
        """Note that the XML is truncated, and drop the frame that may be incomplete."""
        self._cut = f"{self.name} ends at line {line:,}, {self.where()}, before the end of the XML"
        if not self._in_frame:
            return
        self._scopes.pop()
        last = len(self._index) - 1
        for images in self._images.values():
            images.drop(last)
        for column in (self._sequence, self._index, self._relative, self._absolute):
            column.pop()

    @property
    def _in_frame(self) -> bool:
        return len(self._scopes) == 3

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
            f"{self.name} is {what}, not a PVScan; open the folder, or the XML with the name of the recording"
        )

    def _system(self, attributes: Attributes) -> None:
        # The list is kept for the metadata, and a damaged XML may repeat the element any number of times
        if len(self._systems) < 16:
            self._systems.append(attributes)

    def _begin_sequence(self, attributes: Attributes) -> None:
        self._end_frame()
        cycle = _integer(attributes.get("cycle"), len(self._sequences) + 1)
        self._sequences.append((attributes.get("type", ""), cycle, _seconds_of_day(attributes.get("time"))))
        scan = self._scopes[0]
        scan.resolve()
        self._scopes[1:] = [_Scope(scan)]
        self._table, self._subtable = {}, {}
        # Sequences without images may come before that of the first frame
        if not len(self._index):
            self._first_sequence = attributes

    def _begin_frame(self, attributes: Attributes) -> None:
        if not self._sequences:
            raise CorruptRecordingError(f"{self.name} contains a frame outside of all sequences")
        if len(self._scopes) == 3:
            number = self._index[-1] + 1
            self._end_frame()
        else:
            number = 1
            self._scopes[1].resolve()  # its settings come before its first frame
        get, outer = attributes.get, self._scopes[1]
        self._sequence.append(len(self._sequences) - 1)
        self._index.append(_integer(get("index"), number))
        self._relative.append(_number(get("relativeTime")))
        self._absolute.append(_number(get("absoluteTime")))
        self._scopes.append(_Scope(outer))
        self._table, self._subtable = {}, {}

    def _end_frame(self) -> None:
        if len(self._scopes) < 3:
            return
        frame = self._scopes.pop()
        frame.resolve()
        if not self._period:
            self._first_state = _overridden(self._scopes[1].settings, frame.settings)
        self._period.append(frame.period)
        self._depth.append(frame.depth)
        self._stage.extend(frame.stage)

    def _file(self, attributes: Attributes) -> None:
        if not self._in_frame:
            return  # a reference image or a voltage recording that belongs to the sequence
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
        self._num_images += 1
        if self._num_images == self._next_check:
            self._next_check *= 2
            self._check_images()

    def _check_images(self) -> None:
        """Raise if the images so far are not those of a recording: a damaged XML may repeat a frame millions of times."""
        _check_pages(
            _joined(images.files for images in self._images.values()),
            _joined(images.pages for images in self._images.values()),
            _joined(images.frames for images in self._images.values()),
            self._frame_words,
            tuple(self._files),
            self.name,
        )
        name = max(self._files, key=lambda name: self._counts[self._files[name]])
        size, count = self._size_of(name), self._counts[self._files[name]]
        if size is not None and size < _MIN_PAGE * count:
            raise CorruptRecordingError(
                f"{self.name} names {counted(count, 'page')} of {printable(name)}, which has {size:,} bytes; the XML is damaged"
            )

    def _size_of(self, name: str) -> int | None:
        try:
            return os.path.getsize(os.path.join(self._folder, name))
        except (OSError, ValueError):  # not copied yet, or not a name that this system allows
            return None

    def _frame_words(self, frame: int) -> str:
        return f"frame {self._index[frame]} of cycle {self._sequences[self._sequence[frame]][1]}"

    def _page(self, text: str | None, number: int) -> int:
        """Return the page from 1; without an attribute, the next page of this file."""
        if text is None:
            page = self._counts[number] + 1
        else:
            page = _integer(text, 0)
        if not 0 < page < _MAX_PAGES:
            raise CorruptRecordingError(
                f"{self.name}, {self._here()}: expected a page number from 1, got {printable(text)!r:.40}"
            )
        if page > self._counts[number]:
            self._counts[number] = page
        return page

    def _check_channel(self, channel: str) -> None:
        if not channel.isdecimal() or len(channel) > 6:
            raise CorruptRecordingError(
                f"{self.name}, {self._here()}: the channel {printable(channel)!r:.40} is not a number"
            )

    def _check_name(self, name: str) -> None:
        # A name with a separator, also that of Windows, could lead out of the folder of the recording
        if not name or name in (".", "..") or any(c in name for c in "/\\\0"):
            raise CorruptRecordingError(
                f"{self.name}, {self._here()}: {printable(name)!r:.200} is not the name of a file in the recording's folder"
            )

    def _here(self) -> str:
        return f"frame {self._index[-1]} of cycle {self._sequences[-1][1]}"

    def _value(self, attributes: Attributes) -> None:
        value, settings = attributes.get("value"), self._scopes[-1].settings
        if value is None:
            self._table, self._subtable = _table_of(settings, attributes.get("key", "")), {}
            return
        self._table, self._subtable = {}, {}  # otherwise entries that follow would be added to the setting before
        settings[attributes.get("key", "")] = value

    def _old_value(self, attributes: Attributes) -> None:
        """Take a setting as Prairie View wrote it before 5.2: ``positionCurrent_ZAxis`` = ``-9,62.45``."""
        key, settings = attributes.get("key", ""), self._scopes[-1].settings
        head, _, index = key.partition("_")
        if index:
            _table_of(settings, head)[index] = {"value": attributes.get("value", "")}
        else:
            settings[key] = attributes.get("value", "")

    def _indexed(self, attributes: Attributes) -> None:
        self._table[attributes.get("index", "")] = attributes

    def _subindexed_group(self, attributes: Attributes) -> None:
        self._subtable = self._table[attributes.get("index", "")] = {}

    def _subindexed(self, attributes: Attributes) -> None:
        self._subtable[attributes.get("subindex", "")] = attributes

    def scan(self) -> Scan:
        """Return the checked contents, after the last element."""
        self._end_frame()
        if not len(self._index) or not self._images:
            raise self._without_images()
        sequences = np.array(self._sequence, np.int64)
        with_frames = sorted(set(self._sequence.tolist()))
        # Without the sequences that have no frames: `series` would offer types without a sample
        kinds = tuple(dict.fromkeys(self._sequences[k][0] for k in with_frames))
        state = _plain(self._scopes[0].settings)
        scan = Scan(
            name=self.name,
            attributes=self.attributes,
            state={**state, "SystemIDs": self._systems} if self._systems else state,
            first_state=_plain(self._first_state),
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
            stage=np.array(self._stage).reshape(-1, 3),
            channels=self._channels(),
            names=tuple(self._files),
            places=self._files,
            counts=np.array(self._counts, np.int64),
            cut=self._cut,
        )
        _check_pages(
            np.concatenate([channel.files for channel in scan.channels]),
            np.concatenate([channel.pages for channel in scan.channels]),
            np.concatenate([channel.frames for channel in scan.channels]),
            scan.frame_words,
            scan.names,
            scan.name,
        )
        return scan

    def _channels(self) -> tuple[Channel, ...]:
        # As text, channel 10 would come before channel 2
        ordered = sorted(self._images.items(), key=lambda item: int(item[0]))
        names = [images.name or f"Ch{int(number)}" for number, images in ordered]
        # The user may have given several channels the same name
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
                f"{self._cut}, and no frame before it is complete. Copy it again, or read the TIFF files alone: "
                "open(<folder>, format='ometiff') or 'tiff'"
            )
        kinds = ", ".join(dict.fromkeys(printable(kind) for kind, _, _ in self._sequences)) or "none"
        return UnsupportedRecordingError(
            f"{self.name} does not describe images (its sequences: {kinds[:200]}), so it is not an imaging recording"
        )


def _joined(columns: Iterable[array[int]]) -> np.ndarray:
    # Copies: an array that numpy looks into cannot grow
    return np.concatenate([np.array(column, np.int64) for column in columns])


def _check_pages(
    files: np.ndarray,
    pages: np.ndarray,
    frames: np.ndarray,
    words: Callable[[int], str],
    names: Sequence[str],
    name: str,
) -> None:
    """Refuse an XML in which two images are the same page."""
    order = np.lexsort((pages, files))
    same = np.flatnonzero((np.diff(files[order]) == 0) & (np.diff(pages[order]) == 0))
    if len(same):
        one, other = order[same[0]], order[same[0] + 1]
        raise CorruptRecordingError(
            f"{name}: {words(int(frames[one]))} and {words(int(frames[other]))} are both page {int(pages[one]) + 1} of "
            f"{printable(names[files[one]])}"
        )


def _table_of(settings: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the entries of a setting; a damaged file may give it a plain value first, and then the entries are dropped."""
    table = settings.setdefault(key, {})
    return table if isinstance(table, dict) else {}


def _overridden(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of two scopes together; of a setting with entries, each entry can be overridden by itself."""
    result = dict(outer)
    for key, value in inner.items():
        before = result.get(key)
        result[key] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the value and the description of each entry, without its other attributes."""
    return {key: _entries(value) if isinstance(value, dict) else value for key, value in settings.items()}


def _entries(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        index: _entries(entry)
        if any(isinstance(value, dict) for value in entry.values())
        else {key: entry[key] for key in ("value", "description") if key in entry}
        for index, entry in table.items()
    }


def _number(text: str | None) -> float:
    try:
        return float(text) if text else _NAN
    except ValueError:
        return _NAN


def _integer(text: str | None, otherwise: int) -> int:
    # int() alone would also accept "1_0", spaces and numbers beyond int64
    return int(text) if text is not None and text.isdecimal() and len(text) < 12 else otherwise


def _seconds_of_day(text: str | None) -> float:
    parts = (text or "").split(":")
    if len(parts) != 3:
        return _NAN
    hours, minutes, seconds = (_number(part) for part in parts)
    return hours * 3600 + minutes * 60 + seconds

"""Reads OME-XML: the description of the images, and the places of their planes."""

from __future__ import annotations

import functools
import os
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any
from xml.parsers import expat

import numpy as np
from roiextractors_tiff.pages import Directory

from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import SIDECAR_KEY, PositionedFile, feed_xml, xml_parser

__all__ = ["UNSAID", "Document", "Image", "Reference", "is_tiff", "read_document", "root_attributes", "scaled"]

Attributes = Mapping[str, str]
_Node = dict[str, tuple[Callable[[dict[str, str]], object] | None, "_Node"]]

UNSAID = -(1 << 62)
"""In arrays of numbers, the value of an attribute that is missing."""

_MAX_XML = 1 << 30
_MAX_TEXT = 1 << 16  # of one element, such as a name or a date; the rest is dropped
_MAX_COMPANION = 1 << 24  # of the annotation with the metadata of a whole recording
_MAX_CHANNELS = 1 << 16
_CHUNK = 1 << 20
_DESCRIPTION = 270
_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORDERS = ("XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC")
_CUT_CODES = (3, 5, 6, 20)  # expat: no element found, unclosed token, partial character, unclosed CDATA section
_NOT_UTF8, _JUNK = 4, 9  # expat: invalid token, junk after the document
_PARTS = ("Microscope", "Objective", "Detector", "Laser", "Arc", "Filament", "LightEmittingDiode", "Filter", "Dichroic")

_PREFIXES = {
    **{"Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "": 0, "d": -1, "c": -2},
    **{"m": -3, "µ": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24},
}
_UNITS: Mapping[str, Fraction] = {
    # "ms" are two units: metre and second
    **{f"{prefix}{unit}": Fraction(10) ** power for prefix, power in _PREFIXES.items() for unit in "ms"},
    **{"min": Fraction(60), "h": Fraction(3600), "d": Fraction(86400), "Å": Fraction(1, 10**10)},
    **{"in": Fraction(254, 10**4), "ft": Fraction(3048, 10**4), "yd": Fraction(9144, 10**4)},
    **{"thou": Fraction(254, 10**7), "li": Fraction(254, 12 * 10**4), "pt": Fraction(254, 72 * 10**4)},
}


def scaled(text: str | None, unit: str | None, target: str) -> float | None:
    """Return a quantity in another unit, or None if it is not a number or its unit has no fixed size.

    Parameters
    ----------
    text : str or None
        The number as the file writes it.
    unit : str or None
        Its unit, by the names of OME (``"µm"``, ``"ms"``); None means the target itself.
    target : str
        Such a name.
    """
    ratio = _ratio(unit, target)
    try:
        return None if text is None or ratio is None else float(text) * ratio[0] / ratio[1]
    except ValueError:
        return None


@functools.lru_cache(256)
def _ratio(unit: str | None, target: str) -> tuple[int, int] | None:
    # The Greek mu and the Angstrom sign look like the characters of the schema, but differ in code
    name = (target if unit is None else unit).strip().replace("\u03bc", "µ").replace("\u212b", "Å")
    found = _UNITS.get("µ" + name[1:] if name in ("um", "us") else name)  # um: written where µ could not be
    return None if found is None else (found / _UNITS[target]).as_integer_ratio()


@dataclass(frozen=True, slots=True)
class Reference:
    """How a ``TiffData`` names a file."""

    file_name: str | None
    uuid: str


@dataclass(frozen=True, slots=True)
class Image:
    """One image of the document.

    Attributes
    ----------
    attributes, pixels : mapping
        Attributes of the elements ``Image`` and ``Pixels``, as written in the file.
    channels : tuple of mapping
        Attributes of the elements ``Channel``.
    texts : mapping
        ``AcquisitionDate``, ``Description``, and the attributes of ``StageLabel``.
    blocks : numpy.ndarray
        ``(TiffData elements, 6)`` int64: IFD, PlaneCount, FirstT, FirstC, FirstZ, and the position in
        ``references``; UNSAID for a missing attribute.
    references : tuple of Reference
    planes : numpy.ndarray
        ``(Plane elements, 5)`` float64: TheT, TheC, TheZ, DeltaT in seconds, PositionZ in micrometres; NaN for
        a missing attribute.
    has_binary : bool
        Whether the XML itself contains pixels.
    """

    attributes: Attributes
    pixels: Attributes
    channels: tuple[Attributes, ...]
    texts: Mapping[str, Any]
    blocks: np.ndarray
    references: tuple[Reference, ...]
    planes: np.ndarray
    has_binary: bool

    @property
    def order(self) -> str:
        """The order of Z, C and T, the fastest first."""
        return self.pixels["DimensionOrder"][2:]

    def size(self, axis: str) -> int:
        """Return ``SizeX`` and its like."""
        return int(self.pixels["Size" + axis])

    @property
    def type(self) -> str:
        """The type of the pixels by its name in OME."""
        return self.pixels.get("Type", self.pixels.get("PixelType", ""))


@dataclass(frozen=True, slots=True)
class Document:
    """The contents of an OME-XML.

    Attributes
    ----------
    path : str
        The file that contains it.
    in_tiff : bool
        Whether that is a TIFF file.
    attributes : mapping
        Attributes of the root.
    binary_only : mapping or None
        Attributes of the element ``BinaryOnly``: the metadata is in another file.
    images : tuple of Image
    instruments : mapping
        The attributes of the parts of each instrument, by its ID.
    modulo : tuple of str
        Axes that contain a further one: ``("T",)``.
    notes : tuple of str
    companion : str
        The annotation in which ``roiextractors_core.convert`` keeps metadata that OME has no names for; empty if there is none.
    """

    path: str
    in_tiff: bool
    attributes: Attributes
    binary_only: Attributes | None
    images: tuple[Image, ...]
    instruments: Mapping[str, Mapping[str, Any]]
    modulo: tuple[str, ...]
    notes: tuple[str, ...]
    companion: str = ""

    @property
    def name(self) -> str:
        """The file's name, safe to print."""
        return printable(os.path.basename(self.path))

    @property
    def uuid(self) -> str:
        """The root's UUID, or an empty string."""
        return self.attributes.get("UUID", "").strip()


def is_tiff(path: str) -> bool:
    """Return whether a file begins as TIFF does."""
    return PositionedFile(path).read(0, 4) in _TIFF_HEADS


def read_document(path: str) -> Document:
    """Read the OME-XML of a TIFF's first directory, or of a file of its own.

    The text is parsed as it is read, and no entity is expanded.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        The XML is truncated or not well-formed, or has impossible numbers.
    UnsupportedRecordingError
        It is not OME-XML, contains a DOCTYPE, or is larger than 1 GiB.

    References
    ----------
    The OME Model and its XML schemas, 2003-FC to 2016-06; OME-TIFF specification 6.0.
    """
    text = _Text.of(path)
    listener = _Listener(text.name)
    try:
        _parse(text, listener, None)
        notes: tuple[str, ...] = ()
    except _WrongEncoding:
        listener = _Listener(text.name)
        _parse(text, listener, "iso-8859-1")  # has a character for every byte
        notes = (f"{text.name}: its OME-XML is not in the encoding that it claims, and was read as ISO 8859-1",)
    return Document(
        path=path,
        in_tiff=text.in_tiff,
        attributes=MappingProxyType(listener.root),
        binary_only=listener.binary_only,
        images=tuple(draft.finished(text.name) for draft in listener.drafts if draft.pixels is not None),
        instruments=MappingProxyType(listener.instruments),
        modulo=tuple(sorted(listener.modulo)),
        notes=notes,
        companion=listener.companion,
    )


def root_attributes(path: str) -> Attributes:
    """Return the attributes of a file's OME root; an empty mapping if it has no such root."""
    listener = _Listener("")
    try:
        text = _Text.of(path)
        parser = listener.parser("iso-8859-1")  # decodes any byte, so a wrong claim does not hide the root
        for piece in text.pieces(1 << 14):
            parser.Parse(piece, False)
            break
    except (RoiExtractorsError, expat.ExpatError, OSError):
        return {}
    return MappingProxyType(listener.root)


class _WrongEncoding(Exception):
    """The bytes are not in the encoding that the document claims."""


@dataclass(frozen=True, slots=True)
class _Text:
    """Where a file's XML is."""

    file: PositionedFile
    offset: int
    length: int
    in_tiff: bool

    @classmethod
    def of(cls, path: str) -> _Text:
        file = PositionedFile(path)
        if not is_tiff(path):
            return cls(file, 0, file.size, False)._checked()
        directory = Directory.of(path)
        if _DESCRIPTION not in directory.entries:
            raise UnsupportedRecordingError(
                f"{file.name} is TIFF without an ImageDescription, and therefore without OME-XML"
            )
        return cls(file, *directory.place(_DESCRIPTION), True)._checked()

    @property
    def name(self) -> str:
        return self.file.name

    def pieces(self, size: int = _CHUNK) -> Iterator[bytes]:
        """Yield the text, without white space before it and padding after it."""
        started = False
        for at in range(0, self.length, size):
            data = self.file.read(self.offset + at, min(size, self.length - at))
            # ASCII in TIFF ends with NUL; in a file of its own, NUL may be part of UTF-16
            piece, nul, _ = data.partition(b"\0") if self.in_tiff else (data, b"", b"")
            if not started:
                piece = piece.lstrip(b" \t\r\n")
                started = bool(piece)
                self._require_xml(piece)
            yield piece
            if nul:
                return

    def _require_xml(self, piece: bytes) -> None:
        if piece and not piece.startswith((b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):  # or a byte order mark
            begin = printable(piece[:40].decode("utf-8", "replace"))
            where = "ImageDescription" if self.in_tiff else "text"
            raise UnsupportedRecordingError(f"{self.name} contains no OME-XML: its {where} begins with {begin!r}")

    def _checked(self) -> _Text:
        if self.offset + self.length > self.file.size:
            raise TruncatedRecordingError(
                f"{self.name} ends at byte {self.file.size:,}, and its OME-XML should take {self.length:,} bytes from byte {self.offset:,}"
            )
        if self.length > _MAX_XML:
            raise UnsupportedRecordingError(
                f"{self.name} contains XML of {self.length:,} bytes; more than {_MAX_XML:,} are not supported"
            )
        return self


def _parse(text: _Text, listener: _Listener, encoding: str | None) -> None:
    parser = listener.parser(encoding)
    try:
        feed_xml(parser, text.pieces(), text.name)
        parser.Parse(b"", True)
    except RoiExtractorsError:
        raise
    except (LookupError, ValueError) as error:  # an encoding that the parser does not know, or cannot
        raise _WrongEncoding from error
    except expat.ExpatError as error:
        if error.code == _JUNK and listener.is_whole:  # bytes behind the root change nothing in it
            return
        if error.code == _NOT_UTF8 and encoding is None:
            raise _WrongEncoding from error
        kind = TruncatedRecordingError if error.code in _CUT_CODES else CorruptRecordingError
        raise kind(
            f"{text.name}: its OME-XML is {'cut' if error.code in _CUT_CODES else 'not well-formed'}: {expat.ErrorString(error.code)} "
            f"at line {error.lineno:,}, column {error.offset:,}"
        ) from error


class _Draft:
    """An image while it is read."""

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.pixels: Attributes | None = None
        self.channels: list[Attributes] = []
        self.texts: dict[str, Any] = {}
        self.blocks = array("q")  # packed: there may be a million elements
        self.planes = array("d")
        self.references: dict[Reference, int] = {}
        self.has_binary = False

    def finished(self, name: str) -> Image:
        pixels = _checked_pixels(self.pixels or {}, name)
        return Image(
            attributes=self.attributes,
            pixels=pixels,
            channels=tuple(self.channels),
            texts=MappingProxyType(self.texts),
            blocks=np.array(self.blocks, np.int64).reshape(-1, 6),
            references=tuple(self.references),
            planes=np.array(self.planes, np.float64).reshape(-1, 5),
            has_binary=self.has_binary,
        )


def _checked_pixels(pixels: Attributes, name: str) -> Attributes:
    for key in ("SizeX", "SizeY", "SizeZ", "SizeC", "SizeT"):
        text = pixels.get(key, "")
        # Superscripts pass isdigit() but not int(), which also refuses very long numbers
        if not (text.isascii() and text.isdigit() and len(text) < 11 and 0 < int(text) < 1 << 31):
            raise CorruptRecordingError(f"{name}: its OME-XML says {key}={printable(text)[:40]!r}, which is impossible")
    if int(pixels["SizeC"]) > _MAX_CHANNELS:
        raise UnsupportedRecordingError(
            f"{name}: its OME-XML says SizeC={pixels['SizeC']}; more than {_MAX_CHANNELS:,} channels are not supported"
        )
    if pixels.get("DimensionOrder") not in _ORDERS:
        seen = printable(pixels.get("DimensionOrder", ""))[:40]
        raise CorruptRecordingError(
            f"{name}: its OME-XML says DimensionOrder={seen!r}, expected one of {', '.join(_ORDERS)}"
        )
    return MappingProxyType(dict(pixels))


class _Listener:
    """Receives the elements of the document by a tree of their names; unknown elements are skipped."""

    def __init__(self, name: str) -> None:
        self.root: dict[str, str] = {}
        self.binary_only: Attributes | None = None
        self.drafts: list[_Draft] = []
        self.instruments: dict[str, dict[str, Any]] = {}
        self.modulo: set[str] = set()
        self.companion = ""
        self.is_whole = False
        self._name = name
        self._here: _Node = {}
        self._root_node = self._tree()
        self._above: list[_Node] = []
        self._taken: list[str] | None = None
        self._most_text = _MAX_TEXT
        self._take_text: Callable[[str], object] = str
        self._instrument: dict[str, Any] = {}
        self._file_name: str | None = None

    def parser(self, encoding: str | None) -> expat.XMLParserType:
        made = xml_parser(self._name, encoding)  # refuses a DOCTYPE
        made.buffer_text = True
        made.StartElementHandler = self._start_root
        made.EndElementHandler = self._end
        self._parser = made
        return made

    def _tree(self) -> _Node:
        parts: _Node = {part: (self._part(part), {}) for part in _PARTS}
        pixels: _Node = {
            "Channel": (self._hear_channel, {"LightSourceSettings": (self._hear_light, {})}),
            "TiffData": (self._hear_tiff_data, {"UUID": (self._hear_uuid, {})}),
            "Plane": (self._hear_plane, {"PlaneTiming": (self._hear_timing, {})}),
            "BinData": (self._hear_binary, {}),
        }
        image: _Node = {
            "AcquisitionDate": (self._text("AcquisitionDate"), {}),
            "AcquiredDate": (self._text("AcquisitionDate"), {}),  # schemas of 2009 to 2011
            "CreationDate": (self._text("AcquisitionDate"), {}),  # schemas up to 2008
            "Description": (self._text("Description"), {}),
            "InstrumentRef": (lambda a: self.drafts[-1].texts.setdefault("Instrument", a.get("ID", "")), {}),
            "ObjectiveSettings": (lambda a: self.drafts[-1].texts.setdefault("Objective", a.get("ID", "")), {}),
            "StageLabel": (lambda a: self.drafts[-1].texts.setdefault("StageLabel", a), {}),
            "LogicalChannel": (self._hear_channel, {}),
            "Pixels": (self._hear_pixels, pixels),
        }
        value: _Node = {"Value": (None, {"M": (self._hear_pair, {})})}
        return {
            "BinaryOnly": (self._hear_binary_only, {}),
            "StructuredAnnotations": (None, {"MapAnnotation": (None, value)}),
            "Instrument": (self._hear_instrument, parts),
            "Image": (lambda attributes: self.drafts.append(_Draft(attributes)), image),
        }

    def _start_root(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        if name != "OME":
            raise UnsupportedRecordingError(
                f"{self._name} contains XML whose root is {printable(name)[:80]!r}, expected OME"
            )
        self.root = attributes
        self._above.append(self._here)
        self._here = self._root_node
        self._parser.StartElementHandler = self._start

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        here = self._here
        self._above.append(here)
        found = here.get(tag)
        if found is None:
            found = self._added(here, tag)
        self._here = found[1]
        if found[0] is not None:
            found[0](attributes)

    def _end(self, _: str) -> None:
        self._here = self._above.pop()
        if self._taken is not None:
            self._parser.CharacterDataHandler, text = None, "".join(self._taken).strip()
            self._taken = None
            self._take_text(text)
        elif not self._above:
            self.is_whole = True

    def _added(self, here: _Node, tag: str) -> tuple[Callable[[dict[str, str]], object] | None, _Node]:
        """Add a name to the tree that has a prefix, or that is skipped with all elements in it."""
        name = tag.rpartition(":")[2]
        if name.startswith("ModuloAlong"):
            self.modulo.add(name[-1])
        # An empty tree below, so that an Image inside an annotation is not taken for one of the document
        found = here[tag] = here.get(name) or (None, {})
        return found

    def _hear_binary_only(self, attributes: dict[str, str]) -> None:
        self.binary_only = MappingProxyType(attributes)

    def _hear_instrument(self, attributes: dict[str, str]) -> None:
        self._instrument = self.instruments.setdefault(attributes.get("ID", ""), {})

    def _part(self, name: str) -> Callable[[dict[str, str]], object]:
        return lambda attributes: self._instrument.setdefault(name, []).append(attributes)

    def _hear_pixels(self, attributes: dict[str, str]) -> None:
        draft = self.drafts[-1]
        if draft.pixels is not None:  # schemas before 2009 allow several in one image
            self.drafts.append(_Draft(draft.attributes))
            self.drafts[-1].texts.update(draft.texts)
        self.drafts[-1].pixels = attributes

    def _hear_channel(self, attributes: dict[str, str]) -> None:
        for old, new in (("ExWave", "ExcitationWavelength"), ("EmWave", "EmissionWavelength")):
            if old in attributes:
                attributes.setdefault(new, attributes[old])
        self.drafts[-1].channels.append(MappingProxyType(attributes))

    def _hear_light(self, attributes: dict[str, str]) -> None:
        draft = self.drafts[-1]
        lights = draft.texts.setdefault("Lights", {})
        lights.setdefault(len(draft.channels) - 1, []).append(attributes.get("ID", ""))

    def _hear_binary(self, attributes: dict[str, str]) -> None:
        if attributes.get("Length", "1").strip() != "0":
            self.drafts[-1].has_binary = True

    def _hear_tiff_data(self, attributes: dict[str, str]) -> None:
        get = attributes.get
        try:
            self.drafts[-1].blocks.extend(
                (
                    int(get("IFD", UNSAID)),
                    int(get("PlaneCount", get("NumPlanes", UNSAID))),  # NumPlanes: older schemas
                    int(get("FirstT", 0)),  # the specification's default
                    int(get("FirstC", 0)),
                    int(get("FirstZ", 0)),
                    UNSAID,
                )
            )
        except (ValueError, OverflowError):
            raise self._wrong_number("TiffData", attributes) from None

    def _hear_uuid(self, attributes: dict[str, str]) -> None:
        self._file_name = attributes.get("FileName")
        self._take(self._hear_uuid_text)

    def _hear_plane(self, attributes: dict[str, str]) -> None:
        get = attributes.get
        delta = scaled(get("DeltaT"), get("DeltaTUnit"), "s") if "DeltaT" in attributes else None
        # The schema's default unit has no size in micrometres, so a position without a unit is not used
        height = scaled(get("PositionZ"), get("PositionZUnit", "reference frame"), "µm")
        try:
            self.drafts[-1].planes.extend(
                (
                    int(get("TheT", 0)),
                    int(get("TheC", 0)),
                    int(get("TheZ", 0)),
                    float("nan") if delta is None else delta,
                    float("nan") if height is None else height,
                )
            )
        except (ValueError, OverflowError):
            raise self._wrong_number("Plane", attributes) from None

    def _hear_timing(self, attributes: dict[str, str]) -> None:
        delta = scaled(attributes.get("DeltaT"), None, "s")
        if delta is not None:
            self.drafts[-1].planes[-2] = delta  # DeltaT of the Plane that contains it, in seconds

    def _wrong_number(self, element: str, attributes: Mapping[str, str]) -> CorruptRecordingError:
        shown = ", ".join(f"{key}={printable(value)[:20]!r}" for key, value in list(attributes.items())[:8])
        line = self._parser.CurrentLineNumber
        return CorruptRecordingError(
            f"{self._name}: in its OME-XML, {element} at line {line:,} has {shown}; expected whole numbers"
        )

    def _hear_uuid_text(self, text: str) -> None:
        draft = self.drafts[-1]
        draft.blocks[-1] = draft.references.setdefault(Reference(self._file_name, text), len(draft.references))

    def _text(self, name: str) -> Callable[[dict[str, str]], None]:
        return lambda _: self._take(lambda text: self.drafts[-1].texts.update({name: text} if text else {}))

    def _hear_pair(self, attributes: dict[str, str]) -> None:
        if attributes.get("K") == SIDECAR_KEY:
            self._take(lambda text: setattr(self, "companion", text), most=_MAX_COMPANION)

    def _take(self, hear: Callable[[str], object], *, most: int = _MAX_TEXT) -> None:
        """Collect the text of the element that has just begun, until it ends or a child ends."""
        self._taken, self._take_text, self._most_text = [], hear, most
        self._parser.CharacterDataHandler = self._hear_characters

    def _hear_characters(self, text: str) -> None:
        if self._taken is not None and sum(map(len, self._taken)) < self._most_text:
            self._taken.append(text[: self._most_text])

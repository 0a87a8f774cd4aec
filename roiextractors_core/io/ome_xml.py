"""Reads OME-XML: the images that it describes, the places of their planes, and the optics."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from types import MappingProxyType
from typing import Any
from xml.parsers import expat

import numpy as np

from ..errors import (
    CorruptRecordingError,
    RoiExtractorsError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from ..metadata import ChannelMetadata, ObjectiveMetadata, RecordingMetadata
from .sidecar import SIDECAR_KEY
from .units import plausible_start
from .xml import feed_xml, xml_parser

__all__ = [
    "UNSAID",
    "OmeDocument",
    "OmeImage",
    "OmeReference",
    "from_zero",
    "ome_quantity",
    "ome_root",
    "parse_ome_xml",
]

Attributes = Mapping[str, str]
_Node = dict[str, tuple[Callable[[dict[str, str]], object] | None, "_Node"]]

UNSAID = -(1 << 62)
"""In arrays of numbers, the value of an attribute that is missing."""

_NAN = float("nan")
_MAX_TEXT = 1 << 16  # of one element, such as a name or a date; the rest is dropped
_MAX_COMPANION = 1 << 24  # of the annotation with the metadata of a whole recording
_MAX_CHANNELS = 1 << 16
_MAX_ROOT = 4 << 20  # bytes before the end of the root's tag: declarations, comments and attributes
_ORDERS = ("XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC")
_CUT_CODES = (3, 5, 6, 20)  # expat: no element found, unclosed token, partial character, unclosed CDATA section
_NOT_UTF8, _JUNK = 4, 9  # expat: invalid token, junk after the document

_OLD_NAMES = (("ExWave", "ExcitationWavelength"), ("EmWave", "EmissionWavelength"), ("Mode", "AcquisitionMode"))
# Values of AcquisitionMode (Mode up to 2008), their letters alone in lower case
_MODALITIES: Mapping[str, str] = {
    **dict.fromkeys(("twophotonexcitation", "multiphotonmicroscopy", "multiphoton"), "two-photon"),
    **dict.fromkeys(
        (
            *(
                "laserscanningconfocalmicroscopy",
                "laserscanningconfocal",
                "laserscanningmicroscopy",
                "spinningdiskconfocal",
            ),
            *("slitscanconfocal", "sweptfieldconfocal", "sweepfieldconfocal"),
        ),
        "confocal",
    ),
    **dict.fromkeys(("spim", "selectiveplaneilluminationmicroscopy"), "light-sheet"),
    **dict.fromkeys(("widefield", "totalinternalreflection"), "one-photon"),
}
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


def ome_quantity(text: str | None, unit: str | None, target: str) -> float | None:
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
class OmeReference:
    """How a ``TiffData`` names a file."""

    file_name: str | None
    uuid: str


@dataclass(frozen=True, slots=True)
class OmeImage:
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
    references : tuple of OmeReference
    planes : numpy.ndarray
        ``(Plane elements, 6)`` float64: TheT, TheC, TheZ, DeltaT in seconds, PositionZ in micrometres, ExposureTime in
        seconds; NaN for a missing attribute.
    has_binary : bool
        Whether the XML itself contains pixels.
    """

    attributes: Attributes
    pixels: Attributes
    channels: tuple[Attributes, ...]
    texts: Mapping[str, Any]
    blocks: np.ndarray
    references: tuple[OmeReference, ...]
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

    @property
    def rate(self) -> float | None:
        """Frames a second by ``TimeIncrement``; 0 means that it is unknown."""
        period = ome_quantity(self.pixels.get("TimeIncrement"), self.pixels.get("TimeIncrementUnit"), "s")
        return 1.0 / period if period is not None and 0 < period < float("inf") else None

    @property
    def start_time(self) -> datetime | None:
        """The date of acquisition; None for a clock that was never set, and counts from 1970."""
        text = str(self.texts.get("AcquisitionDate") or self.attributes.get("AcquiredDate") or "")
        try:
            found = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
        return plausible_start(found)

    def length(self, key: str) -> float | None:
        """Return an attribute of ``Pixels`` in micrometres (``"PhysicalSizeX"``)."""
        value = ome_quantity(self.pixels.get(key), self.pixels.get(f"{key}Unit"), "µm")
        return value if value is not None and 0 < value < float("inf") else None

    def exposure_time(self, channel: int) -> float | None:
        """Return the median exposure of a channel's planes in seconds."""
        mine = from_zero(self.planes[:, 1], self.size("C")) == channel
        known = self.planes[mine, 5]
        known = known[(known > 0) & (known < np.inf)]
        return float(np.median(known)) if len(known) else None

    def delta_times(self, channel: int, count: int, *, plane: int | None = None, passes: bool = False) -> np.ndarray:
        """Return ``DeltaT`` of each sample of a channel in seconds, of a volume that of its earliest plane; infinity where it is missing.

        Parameters
        ----------
        channel : int
        count : int
            Samples.
        plane : int, optional
            Of this plane alone.
        passes : bool
            Whether ``TheT`` is 0 throughout, and the n-th mention of a plane is time n.
        """
        t, c, z, delta = (self.planes[:, k] for k in range(4))
        own = (from_zero(c, self.size("C")) == channel) & np.isfinite(delta)
        if plane is not None:
            own &= from_zero(z, self.size("Z")) == plane
        t, delta = from_zero(t, self.size("T"))[own], delta[own]
        if passes:
            t = _ranks(z[own])
        inside = (t >= 0) & (t < count)
        times = np.full(count, np.inf)
        np.minimum.at(times, t[inside].astype(np.int64), delta[inside])
        return times

    def settings(self, channel: int, kind: str) -> Sequence[Attributes]:
        """Return the attributes of a channel's settings of a kind: ``LightSource``, ``Detector``, ``EmissionFilter``, ``FilterSet``."""
        found: Sequence[Attributes] = self.texts.get("Settings", {}).get((channel, kind), ())
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class OmeDocument:
    """The contents of an OME-XML.

    Attributes
    ----------
    name : str
        Of the file that contains it, for messages.
    attributes : mapping
        Attributes of the root.
    binary_only : mapping or None
        Attributes of the element ``BinaryOnly``: the metadata is in another file.
    images : tuple of OmeImage
    instruments : mapping
        The attributes of the parts of each instrument, by its ID.
    modulo : tuple of str
        Axes that contain a further one: ``("T",)``.
    notes : tuple of str
    companion : str
        The annotation in which ``roiextractors_core.convert`` keeps metadata that OME has no names for; empty if there is none.
    """

    name: str
    attributes: Attributes
    binary_only: Attributes | None
    images: tuple[OmeImage, ...]
    instruments: Mapping[str, Mapping[str, Any]]
    modulo: tuple[str, ...]
    notes: tuple[str, ...]
    companion: str = ""

    @property
    def uuid(self) -> str:
        """The root's UUID, or an empty string."""
        return self.attributes.get("UUID", "").strip()

    def instrument_of(self, image: OmeImage) -> Mapping[str, Any]:
        """Return the parts of the instrument that an image refers to, or of the only one."""
        if "Instrument" in image.texts:
            return self.instruments.get(image.texts["Instrument"], {})
        return next(iter(self.instruments.values())) if len(self.instruments) == 1 else {}

    def metadata_of(self, image: OmeImage, channel: int, *, max_bits: int = 64) -> RecordingMetadata:
        """Return what is stated about one channel of an image, in the units of :class:`roiextractors_core.RecordingMetadata`.

        Parameters
        ----------
        image : OmeImage
        channel : int
            From 0; of channels that share a page, the number of their ``Channel`` element.
        max_bits : int
            Bits of a stored pixel; more significant ones are not believed.
        """
        size = [image.length(f"PhysicalSize{axis}") for axis in "YX"]
        bits = _positive(image.pixels.get("SignificantBits"))
        mode = image.channels[channel].get("AcquisitionMode", "") if channel < len(image.channels) else ""
        instrument = self.instrument_of(image)
        return RecordingMetadata(
            start_time=image.start_time,
            pixel_size=(size[0], size[1]) if size[0] and size[1] else None,
            plane_spacing=image.length("PhysicalSizeZ"),
            channels=_channel_metadata(image, channel, instrument),
            objective=_objective(image, instrument),
            zoom=_zoom(image, channel, instrument),
            bit_depth=int(bits) if bits is not None and bits <= max_bits else None,
            modality=_MODALITIES.get("".join(filter(str.isalpha, mode)).lower()),
            device=_device(instrument),
            software=printable(self.attributes.get("Creator", "").strip()) or None,
        )


def parse_ome_xml(pieces: Callable[[], Iterable[bytes]], name: str) -> OmeDocument:
    """Return the contents of an OME-XML.

    The text is parsed as it is read, and no entity is expanded.

    Parameters
    ----------
    pieces : callable
        Returns the document in pieces of any size; called again if the encoding is not the one that the document claims.
    name : str
        The file's name, for messages.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        The XML is truncated or not well-formed, or has impossible numbers.
    UnsupportedRecordingError
        It is not OME-XML, or contains a DOCTYPE.

    References
    ----------
    The OME Model and its XML schemas, 2003-FC to 2016-06.
    """
    listener = _Listener(name)
    try:
        _parse(pieces(), listener, name, None)
        notes: tuple[str, ...] = ()
    except _WrongEncoding:
        listener = _Listener(name)
        _parse(pieces(), listener, name, "iso-8859-1")  # has a character for every byte
        notes = (f"{name}: its OME-XML is not in the encoding that it declares; it was read as ISO 8859-1",)
    return OmeDocument(
        name=name,
        attributes=MappingProxyType(listener.root),
        binary_only=listener.binary_only,
        images=tuple(draft.finished(name) for draft in listener.drafts if draft.pixels is not None),
        instruments=MappingProxyType(listener.instruments),
        modulo=tuple(sorted(listener.modulo)),
        notes=notes,
        companion=listener.companion,
    )


def ome_root(pieces: Callable[[], Iterable[bytes]]) -> Attributes:
    """Return the attributes of the root of an OME-XML; an empty mapping if it has no such root.

    Parameters
    ----------
    pieces : callable
        As for :func:`parse_ome_xml`; no more of them are read than the root needs.
    """
    # A wrong claim must not hide the root: ISO 8859-1 has a character for every byte, but cannot decode UTF-16
    for encoding in (None, "iso-8859-1"):
        listener, size = _Listener(""), 0
        try:
            parser = listener.parser(encoding)
            for piece in pieces():
                parser.Parse(piece, False)
                size += len(piece)
                if listener.has_begun or size > _MAX_ROOT:
                    break
        except (RoiExtractorsError, expat.ExpatError, OSError, LookupError, ValueError):
            pass  # what follows the root may be damaged
        if listener.has_begun:
            return MappingProxyType(listener.root)
    return MappingProxyType({})


class _WrongEncoding(Exception):
    """The bytes are not in the encoding that the document claims."""


def _parse(pieces: Iterable[bytes], listener: _Listener, name: str, encoding: str | None) -> None:
    parser = listener.parser(encoding)
    try:
        feed_xml(parser, pieces, name)
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
            f"{name}: its OME-XML is {'truncated' if error.code in _CUT_CODES else 'not well-formed'}: "
            f"{expat.ErrorString(error.code)} "
            f"at line {error.lineno:,}, column {error.offset:,}"
        ) from error


def _channel_metadata(image: OmeImage, number: int, instrument: Mapping[str, Any]) -> tuple[ChannelMetadata, ...]:
    if number >= len(image.channels):
        return ()
    stated = image.channels[number]
    lights, power = _lights(image, number, instrument)
    return (
        ChannelMetadata(
            printable(stated.get("Name", "").strip()),
            emission_wavelength=_wave(stated, "EmissionWavelength"),
            excitation_wavelength=_wave(stated, "ExcitationWavelength"),
            detection_band=_band(image, number, instrument),
            laser_lines=lights,
            laser_power=power,
            exposure_time=image.exposure_time(number),
        ),
    )


def _lights(image: OmeImage, number: int, instrument: Mapping[str, Any]) -> tuple[tuple[float, ...], float | None]:
    """Return the lines of the lasers that were on, and the power where a single one states its attenuation."""
    lasers = {one.get("ID"): one for one in instrument.get("Laser", ())}
    lines: list[float] = []
    powers: list[float] = []
    for setting in image.settings(number, "LightSource"):
        laser = lasers.get(setting.get("ID"))
        # The wavelength of the setting is that of a tunable laser
        line = None if laser is None else _wave(setting, "Wavelength") or _wave(laser, "Wavelength")
        attenuation = _fraction(setting.get("Attenuation"))
        if line is None or attenuation == 1:
            continue
        lines.append(line)
        powers += [] if attenuation is None else [100 * (1 - attenuation)]
    return tuple(dict.fromkeys(lines)), powers[0] if len(powers) == len(lines) == 1 else None


def _band(image: OmeImage, number: int, instrument: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the band that passes all emission filters of a channel."""
    named = [one.get("ID") for one in image.settings(number, "EmissionFilter")]
    sets = [one.get("ID") for one in image.settings(number, "FilterSet")]
    sets += [text for key in ("FilterSet", "FilterSetRef") if (text := image.channels[number].get(key))]
    for one in instrument.get("FilterSet", ()):
        if one.get("ID") in sets:
            named += [*one.get("Emission", "").split(), one.get("EmFilter")]
    bands = [
        (low, high)
        for one in instrument.get("Filter", ())
        if one.get("ID") in named and (low := _wave(one, "CutIn")) and (high := _wave(one, "CutOut"))
    ]
    low, high = max((band[0] for band in bands), default=0.0), min((band[1] for band in bands), default=0.0)
    return (low, high) if low < high else None


def _objective(image: OmeImage, instrument: Mapping[str, Any]) -> ObjectiveMetadata | None:
    """Return the objective that the image's settings name, or the only one."""
    known = instrument.get("Objective", ())
    named = image.texts.get("Objective")
    chosen = [one for one in known if one.get("ID") == named] if named else known if len(known) == 1 else ()
    for one in chosen:
        name = _named(one)
        magnification = _positive(one.get("NominalMagnification") or one.get("Magnification"))
        aperture = _positive(one.get("LensNA"))
        if name or magnification or aperture:
            return ObjectiveMetadata(name, magnification, aperture)
    return None


def _zoom(image: OmeImage, number: int, instrument: Mapping[str, Any]) -> float | None:
    """Return the zoom of the detector's settings, or of the detector that they refer to; the only one without a reference."""
    settings = image.settings(number, "Detector")
    detectors = instrument.get("Detector", ())
    named = [one.get("ID") for one in settings]
    used = [one for one in detectors if one.get("ID") in named] if named else detectors if len(detectors) == 1 else ()
    return next((zoom for one in (*settings, *used) if (zoom := _positive(one.get("Zoom")))), None)


def _device(instrument: Mapping[str, Any]) -> str | None:
    return next((name for one in instrument.get("Microscope", ()) if (name := _named(one))), None)


def _named(part: Attributes) -> str | None:
    words = [printable(part.get(key, "").strip()) for key in ("Manufacturer", "Model")]
    return " ".join(word for word in words if word) or None


def _wave(attributes: Attributes, key: str) -> float | None:
    value = ome_quantity(attributes.get(key), attributes.get(f"{key}Unit"), "nm")
    return value if value is not None and 0 < value < float("inf") else None


def _fraction(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value <= 1 else None


def _positive(text: str | None) -> float | None:
    try:
        value = float(text) if text else 0.0
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


class _Draft:
    """An image while it is read."""

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.pixels: Attributes | None = None
        self.channels: list[Attributes] = []
        self.texts: dict[str, Any] = {}
        self.blocks = array("q")  # packed: there may be a million elements
        self.planes = array("d")
        self.references: dict[tuple[str | None, str], int] = {}
        self.has_binary = False

    def finished(self, name: str) -> OmeImage:
        pixels = _checked_pixels(self.pixels or {}, name)
        return OmeImage(
            attributes=self.attributes,
            pixels=pixels,
            channels=tuple(self.channels),
            texts=MappingProxyType(self.texts),
            blocks=np.array(self.blocks, np.int64).reshape(-1, 6),
            references=tuple(OmeReference(*named) for named in self.references),
            planes=np.array(self.planes, np.float64).reshape(-1, 6),
            has_binary=self.has_binary,
        )


def from_zero(values: np.ndarray, size: int) -> np.ndarray:
    """Return positions counted from 0; some writers count from 1."""
    return values - 1 if len(values) and values.min() >= 1 and values.max() == size else values


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return for each value how many equal ones come before it."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    begins = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    lengths = np.diff(np.append(begins, len(values)))
    ranks = np.empty(len(values), np.int64)
    ranks[order] = np.arange(len(values)) - np.repeat(begins, lengths)
    return ranks


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
        self.is_whole = self.has_begun = False
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
        # Schemas up to 2012 put lasers into light sources, and numbers of a lens into elements
        parts["LightSource"] = (self._part("LightSource"), {"Laser": (self._hear_old_laser, {})})
        parts["Objective"] = (
            self._part("Objective"),
            {
                key: (self._inner_text("Objective", key), {})
                for key in ("LensNA", "NominalMagnification", "Magnification")
            },
        )
        parts["Filter"] = (
            self._part("Filter"),
            {key: (self._hear_range, {}) for key in ("TransmittanceRange", "EmFilter")},
        )
        parts["FilterSet"] = (self._part("FilterSet"), {"EmissionFilterRef": (self._hear_emission, {})})
        settings: _Node = {
            **{key: (self._setting("LightSource"), {}) for key in ("LightSourceSettings", "LightSourceRef")},
            **{key: (self._setting("Detector"), {}) for key in ("DetectorSettings", "DetectorRef")},
            **{key: (self._setting("FilterSet"), {}) for key in ("FilterSetRef", "FilterRef")},
            "LightPath": (None, {"EmissionFilterRef": (self._setting("EmissionFilter"), {})}),
        }
        pixels: _Node = {
            "Channel": (self._hear_channel, settings),
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
            **{
                key: (lambda a: self.drafts[-1].texts.setdefault("Objective", a.get("ID", "")), {})
                for key in ("ObjectiveSettings", "ObjectiveRef")
            },
            "StageLabel": (lambda a: self.drafts[-1].texts.setdefault("StageLabel", a), {}),
            "LogicalChannel": (self._hear_channel, settings),
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
        self.root, self.has_begun = attributes, True
        self._above.append(self._here)
        self._here = self._root_node
        self._parser.StartElementHandler = self._start

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        here = self._here
        self._above.append(here)
        hear, self._here = here.get(tag) or self._added(here, tag)
        if hear is not None:
            hear(attributes)

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
        for old, new in _OLD_NAMES:
            if old in attributes:
                attributes.setdefault(new, attributes[old])
        self.drafts[-1].channels.append(MappingProxyType(attributes))

    def _setting(self, kind: str) -> Callable[[dict[str, str]], object]:
        def hear(attributes: dict[str, str]) -> None:
            draft = self.drafts[-1]
            known = draft.texts.setdefault("Settings", {})
            known.setdefault((len(draft.channels) - 1, kind), []).append(attributes)

        return hear

    def _hear_old_laser(self, attributes: dict[str, str]) -> None:
        source = self._instrument.get("LightSource", [{}])[-1]
        self._instrument.setdefault("Laser", []).append({**attributes, **source})  # the ID is that of the source

    def _hear_range(self, attributes: dict[str, str]) -> None:
        self._instrument["Filter"][-1].update({k: v for k, v in attributes.items() if k.startswith("Cut")})

    def _hear_emission(self, attributes: dict[str, str]) -> None:
        own = self._instrument["FilterSet"][-1]
        own["Emission"] = f"{own.get('Emission', '')} {attributes.get('ID', '')}"

    def _inner_text(self, part: str, key: str) -> Callable[[dict[str, str]], None]:
        return lambda _: self._take(lambda text: self._instrument[part][-1].setdefault(key, text))

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
        delta = height = exposure = None  # most planes state one of them, and there may be a million planes
        if "DeltaT" in attributes:
            delta = ome_quantity(get("DeltaT"), get("DeltaTUnit"), "s")
        if "PositionZ" in attributes:  # whose default unit has no size in micrometres: without a unit it is not used
            height = ome_quantity(get("PositionZ"), get("PositionZUnit", "reference frame"), "µm")
        if "ExposureTime" in attributes:
            exposure = ome_quantity(get("ExposureTime"), get("ExposureTimeUnit"), "s")
        try:
            self.drafts[-1].planes.extend(
                (
                    int(get("TheT", 0)),
                    int(get("TheC", 0)),
                    int(get("TheZ", 0)),
                    _NAN if delta is None else delta,
                    _NAN if height is None else height,
                    _NAN if exposure is None else exposure,
                )
            )
        except (ValueError, OverflowError):
            raise self._wrong_number("Plane", attributes) from None

    def _hear_timing(self, attributes: dict[str, str]) -> None:
        # Of the Plane that contains it, in seconds
        for key, column in (("DeltaT", -3), ("ExposureTime", -1)):
            seconds = ome_quantity(attributes.get(key), None, "s")
            if seconds is not None:
                self.drafts[-1].planes[column] = seconds

    def _wrong_number(self, element: str, attributes: Mapping[str, str]) -> CorruptRecordingError:
        shown = ", ".join(f"{key}={printable(value)[:20]!r}" for key, value in list(attributes.items())[:8])
        line = self._parser.CurrentLineNumber
        return CorruptRecordingError(
            f"{self._name}: in its OME-XML, {element} at line {line:,} has {shown}; expected whole numbers"
        )

    def _hear_uuid_text(self, text: str) -> None:
        draft = self.drafts[-1]
        draft.blocks[-1] = draft.references.setdefault((self._file_name, text), len(draft.references))

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
        taken = self._taken
        if taken is not None and (not taken or sum(map(len, taken)) < self._most_text):
            taken.append(text[: self._most_text])

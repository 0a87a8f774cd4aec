"""Reads the metadata of MetaMorph and MetaXpress: of stacks (STK), by their tags, and of pages that are described in XML."""

from __future__ import annotations

import html
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from roiextractors_core import ChannelMetadata
from roiextractors_core.errors import RoiExtractorsError, counted, printable
from roiextractors_core.io import to_micrometres, to_seconds

from .pages import UIC2, Directory, PageIndex
from .vendor import VendorFacts, named_objective, regular_axes

__all__ = ["UIC1", "is_described", "page_facts", "stack_facts"]

UIC1 = 33628
_UIC3 = 33630
# MetaMorph counts Julian days from midnight, one less than astronomers at noon: its files of 5 March 2010, whose tag
# DateTime says the same, state day 2,455,260. Python counts from the year 1.
_JULIAN_OF_ORDINAL_0 = 1721424
_DAY = 86_400_000  # milliseconds
# The count of the tag is the number of planes; a damaged one must not fill the memory
_MAX_PLANES = 1 << 24
_MAX_FIELDS, _MAX_PROPERTIES, _MAX_TEXT = 1024, 256, 1 << 10
# Fields of UIC1
_CALIBRATED, _SIZE_X, _SIZE_Y, _UNIT, _CREATED, _WAVELENGTH, _PROPERTY = 3, 4, 5, 6, 16, 27, 49

_DESCRIBED = b"<MetaData>"
_PROP = re.compile(r"<(?:custom-)?prop\s([^<>]*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"([\w-]+)\s*=\s*\"([^\"]*)\"")
_EXPOSURE = re.compile(r"Exposure(?: Time)?\s*[:=]\s*(\d+(?:[.,]\d+)?)\s*([a-zµμ]+)", re.IGNORECASE)
_DURATION = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*([a-zµμ]+)\s*")
_STEP_TOLERANCE, _MIN_STEP = 0.05, 0.05  # relative; micrometres: a focus that is held steady moves by less
_MILLISECOND = 1e-3


@dataclass(frozen=True, slots=True)
class _Planes:
    """The table of a stack's planes: distance along z, and milliseconds since day 0, int64: a float would round them."""

    distances: np.ndarray
    moments: np.ndarray

    @classmethod
    def of(cls, first: Directory) -> _Planes | None:
        """Return None where there is no table, or an incomplete one."""
        if UIC2 not in first.entries or not 0 < first.entries[UIC2][1] < _MAX_PLANES:
            return None
        tiff, count = first.tiff, first.entries[UIC2][1]
        # Six numbers for each plane: distance along z as a ratio, date and time of creation, date and time of change
        raw = tiff.file.read(first.place(UIC2)[0], 24 * count)
        if len(raw) < 24 * count:
            return None
        table = np.frombuffer(raw, tiff.order + "u4").reshape(count, 6).astype(np.int64)
        return cls(_ratios(table[:, 0], table[:, 1]), table[:, 2] * _DAY + table[:, 3])


@dataclass(frozen=True, slots=True)
class _Settings:
    """The fields of UIC1."""

    numbers: Mapping[int, int] = field(default_factory=dict)
    properties: Mapping[str, float | str] = field(default_factory=dict)

    @classmethod
    def of(cls, first: Directory) -> _Settings:
        if UIC1 not in first.entries or first.entries[UIC1][0] != 4:
            return cls()
        tiff, count = first.tiff, min(first.entries[UIC1][1], _MAX_FIELDS)
        # Pairs of the number of a field and its value, or the place of it
        raw = tiff.file.read(first.place(UIC1)[0], 8 * count)
        pairs = list(struct.iter_unpack(tiff.order + "II", raw[: len(raw) // 8 * 8]))
        properties: dict[str, float | str] = {}
        for code, place in pairs:
            if code == _PROPERTY and len(properties) < _MAX_PROPERTIES:
                properties.update(_property(first, place))
        return cls(dict(pairs), properties)


def stack_facts(first: Directory, paths: Sequence[str], description: bytes) -> VendorFacts | None:
    """Return the facts of MetaMorph's tags in a file's first directory; None where there are none.

    Parameters
    ----------
    first : Directory
    paths : sequence of str
        All files of the recording, for their times.
    description : bytes
        That of the first plane.

    References
    ----------
    Molecular Devices, "MetaMorph Stack (STK) Image File Format", Knowledge Base document 10243.
    """
    if UIC1 not in first.entries and UIC2 not in first.entries:
        return None
    settings, planes = _Settings.of(first), _Planes.of(first)
    start = _created(first, settings)
    if planes is not None:
        start = _date(*divmod(int(planes.moments[0]), _DAY)) or start
    waves = _wavelengths(first, 1 if planes is None else len(planes.moments))
    if not len(waves) and 100 < settings.numbers.get(_WAVELENGTH, 0) < 3000:
        waves = np.array([float(settings.numbers[_WAVELENGTH])])
    if start is None and not len(waves):
        return None  # Prairie View fills MetaMorph's tags with placeholders
    properties = {key: str(value) for key, value in settings.properties.items()}
    shape, axes, spacing, warnings = _stack_axes(planes, waves)
    names = [f"{wave:g}" for wave in dict.fromkeys(waves.tolist())]
    channels = _channels(names, names, properties, description.decode("latin-1")) if "C" in axes or waves.size else ()
    return VendorFacts(
        shape=shape,
        axes=axes,
        page_times=_stack_times(paths) if planes is not None else None,
        resolution=_MILLISECOND,
        start_time=start,
        pixel_size=_pixel_size(first, settings),
        plane_spacing=spacing,
        channels=channels,
        objective=_objective(properties),
        bit_depth=_bits(properties),
        vendor=properties,
        warnings=warnings,
        notes=()
        if spacing is None
        else (
            "MetaMorph states a distance between its planes, which are read as depths; for times, pass dimension_order='T'",
        ),
    )


def is_described(description: bytes) -> bool:
    """Return whether a page is described in the XML of MetaMorph 7 and MetaXpress."""
    return description.lstrip().startswith(_DESCRIBED) and b"<PlaneInfo" in description


def page_facts(pages: PageIndex, description: bytes) -> VendorFacts:
    """Return the facts in the description of the first page, and the axes that the others state.

    Parameters
    ----------
    pages : PageIndex
    description : bytes
        Of the first page.
    """
    first = _properties(description)
    shape, axes, spacing, names, warnings = _page_axes(pages, first)
    waves = [str(one.get("wavelength", "")) for one in names]
    labels = [_label(one, str(k + 1)) for k, one in enumerate(names)]
    is_calibrated = first.get("spatial-calibration-state", "on").lower() not in ("off", "false", "0")
    unit = first.get("spatial-calibration-units", "um")
    sizes = [to_micrometres(first.get(f"spatial-calibration-{axis}"), unit) or 0.0 for axis in "yx"]
    program = " ".join(filter(None, (first.get("ApplicationName"), first.get("ApplicationVersion"))))
    return VendorFacts(
        shape=shape,
        axes=axes,
        page_times=lambda: _page_times(pages),
        resolution=_MILLISECOND,
        start_time=_local(first),
        pixel_size=(sizes[0], sizes[1]) if is_calibrated and min(sizes) > 0 else None,
        plane_spacing=spacing,
        channels=_channels(labels, waves, first, first.get("Description", "")),
        objective=_objective(first),
        bit_depth=_bits(first),
        software=printable(program) or None,
        vendor=first,
        warnings=warnings,
    )


# Stacks


def _stack_axes(
    planes: _Planes | None, waves: np.ndarray
) -> tuple[tuple[int, ...], str, float | None, tuple[str, ...]]:
    """Return the shape and axes of a stack's planes, the distance between planes, and warnings."""
    if planes is None or len(planes.moments) < 2:
        return (), "", None, ()
    count, away = len(planes.moments), planes.distances
    # The first plane of a stack has no plane before it; a plane of a movie is at no distance from the others
    inner = np.abs(away[1:]) if not away[0] else np.abs(away)
    is_deep = bool((inner > 0).all()) and float(np.ptp(inner)) <= _STEP_TOLERANCE * float(inner.max())
    names = waves.tolist() if len(waves) == count else [0.0] * count
    found = regular_axes(names, [0] * count, "Z" if is_deep else "T")
    warnings: tuple[str, ...] = ()
    if found is None:
        warnings += (
            f"MetaMorph states {len(set(names))} wavelengths for its {counted(count, 'plane')} in no regular "
            "order; they are read as time; to declare their order, pass dimension_order= and num_channels=",
        )
    if not is_deep and inner.any():
        warnings += (
            f"MetaMorph states distances along z for {np.count_nonzero(inner):,} of {count:,} planes, which make no regular stack; "
            "the planes are read as time; to declare their order, pass dimension_order= and num_planes=",
        )
    shape, axes = found or ((), "")
    return shape, axes, float(np.median(inner)) if is_deep else None, warnings


def _stack_times(paths: Sequence[str]) -> Callable[[], np.ndarray | None]:
    def times() -> np.ndarray | None:
        found = [_Planes.of(Directory.of(path)) for path in paths]
        whole = [one.moments for one in found if one is not None]
        return (np.concatenate(whole) - whole[0][0]) / 1000.0 if len(whole) == len(found) else None

    return times


def _wavelengths(first: Directory, count: int) -> np.ndarray:
    """Return the nanometres of each plane; empty where they are not stated, or not all are of light."""
    if _UIC3 not in first.entries:
        return np.empty(0)
    raw = first.tiff.file.read(first.place(_UIC3)[0], 8 * count)
    if len(raw) < 8 * count:
        return np.empty(0)
    table = np.frombuffer(raw, first.tiff.order + "u4").reshape(count, 2).astype(np.int64)
    found = _ratios(table[:, 0], table[:, 1])
    return found if ((found > 100) & (found < 3000)).all() else np.empty(0)


def _ratios(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    found = np.zeros(len(numerators))
    np.divide(numerators, denominators, out=found, where=denominators != 0)
    return found


def _pixel_size(first: Directory, settings: _Settings) -> tuple[float, float] | None:
    """Return the calibration in micrometres; None where it is switched off."""
    tiff, numbers = first.tiff, settings.numbers
    if not numbers.get(_CALIBRATED, 1):
        return None
    sizes = []
    for code in (_SIZE_Y, _SIZE_X):
        ratio = tiff.file.read(numbers.get(code, tiff.size), 8)
        numerator, denominator = struct.unpack(tiff.order + "II", ratio) if len(ratio) == 8 else (0, 0)
        sizes.append(numerator / denominator if denominator else 0.0)
    head = tiff.file.read(numbers.get(_UNIT, tiff.size), 4)
    length = struct.unpack(tiff.order + "I", head)[0] if len(head) == 4 else 0
    unit = tiff.file.read(numbers.get(_UNIT, 0) + 4, min(length, 64)).split(b"\0")[0].decode("latin-1").strip()
    scale = to_micrometres(1.0, unit)
    return (sizes[0] * scale, sizes[1] * scale) if scale and all(sizes) else None


def _property(first: Directory, place: int) -> Iterator[tuple[str, float | str]]:
    """Yield the name and the value of a property of the plane; nothing where it is damaged."""
    # Four bytes of which the meaning is not known; the length and the text of the name; flags; the type of the value
    raw = first.tiff.file.read(place + 4, _MAX_TEXT) if place >= 8 else b""
    at = 1 + raw[0] + 5 if raw else 0
    if not raw or len(raw) < at + 1:
        return
    name, kind = raw[1 : 1 + raw[0]].decode("latin-1"), raw[at - 1]
    if kind == 1 and len(raw) >= at + 8:
        numerator, denominator = struct.unpack_from(first.tiff.order + "II", raw, at)
        if denominator:
            yield printable(name), numerator / denominator
    elif kind == 2 and len(raw) >= at + 1 + raw[at]:
        yield printable(name), printable(raw[at + 1 : at + 1 + raw[at]].split(b"\0")[0].decode("latin-1"))


def _created(first: Directory, settings: _Settings) -> datetime | None:
    raw = first.tiff.file.read(settings.numbers.get(_CREATED, first.tiff.size), 8)
    day, milliseconds = struct.unpack(first.tiff.order + "II", raw) if len(raw) == 8 else (0, 0)
    return _date(day, milliseconds)


def _date(day: int, milliseconds: int) -> datetime | None:
    ordinal = day - _JULIAN_OF_ORDINAL_0
    if not 0 < ordinal < 3_600_000 or not 0 <= milliseconds < _DAY:
        return None
    return datetime.fromordinal(ordinal) + timedelta(milliseconds=milliseconds)


# Pages that are described in XML


def _properties(description: bytes) -> dict[str, str]:
    """Return the properties in a description, by their names; of those that come twice, the first."""
    found: dict[str, str] = {}
    # Not parsed as XML: a description that a program has cut still names what comes before the cut
    for match in _PROP.finditer(description.decode("utf-8", "replace")):
        pairs = dict(_ATTRIBUTE.findall(match[1]))
        if "id" in pairs and "value" in pairs:
            found.setdefault(printable(html.unescape(pairs["id"])), html.unescape(pairs["value"]))
    return found


def _page_axes(
    pages: PageIndex, first: Mapping[str, str]
) -> tuple[tuple[int, ...], str, float | None, list[Mapping[str, str]], tuple[str, ...]]:
    """Return the shape and axes of the pages, the distance between planes, an example of each channel, and warnings."""
    count, alone = pages.num_pages, ((), "", None, [first], ())
    if count < 2 or len(pages.paths) > 1:
        return alone
    # Of a movie, two neighbours and the last page are alike, and the others need not be read
    if all(_place(one) == _place(first) for one in _described(pages, [1, count - 1])):
        return alone
    found = list(_described(pages, range(count)))
    names, depths = [_light(one) for one in found], np.array([_depth(one) for one in found])
    levels, spacing = _levels(depths)
    axes = regular_axes(names, levels)
    examples = dict(zip(reversed(names), reversed(found), strict=True))  # the first of each
    several: list[Mapping[str, str]] = [examples[name] for name in dict.fromkeys(names)]
    if axes is None:
        words = (
            f"the descriptions of its {count:,} pages name {len(several)} channels and {len(set(levels))} depths in no regular order; "
            "the pages are read as time; to declare their order, pass dimension_order="
        )
        return (), "", None, [first], (words,)
    return *axes, spacing, several if "C" in axes[1] else [first], ()


def _described(pages: PageIndex, numbers: Sequence[int]) -> Iterator[dict[str, str]]:
    return map(_properties, pages.descriptions(numbers))


def _place(one: Mapping[str, str]) -> tuple[str, float]:
    return _light(one), _depth(one)


def _light(one: Mapping[str, str]) -> str:
    return one.get("_IllumSetting_") or one.get("wavelength") or ""


def _depth(one: Mapping[str, str]) -> float:
    try:
        return float(one.get("z-position", "nan"))
    except ValueError:
        return float("nan")


def _levels(depths: np.ndarray) -> tuple[list[int], float | None]:
    """Return the number of each page's depth and the distance between them; zeros where they make no regular stack."""
    nothing = [0] * len(depths)
    if not np.isfinite(depths).all():
        return nothing, None
    known = np.unique(np.round(depths, 3))
    steps = np.diff(known)
    if not len(steps):
        return nothing, None
    step = float(np.median(steps))
    # Positions are rounded to hundredths; a focus that drifts or is held steady moves by less, or irregularly
    if step < _MIN_STEP or np.abs(steps - step).max() > max(0.0201, _STEP_TOLERANCE * step):
        return nothing, None
    return np.searchsorted(known, np.round(depths, 3)).tolist(), float(known[-1] - known[0]) / len(steps)


def _page_times(pages: PageIndex) -> np.ndarray | None:
    """Return the seconds at which each page was recorded; None where one does not say so."""
    try:
        times = [_local(one) for one in _described(pages, range(pages.num_pages))]
    except RoiExtractorsError:  # a missing or damaged page has no time, and reading its pixels says why
        return None
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return None
    return np.array([(time - known[0]).total_seconds() for time in known])


def _local(one: Mapping[str, str]) -> datetime | None:
    text = one.get("acquisition-time-local", "").strip()
    for form in ("%Y%m%d %H:%M:%S.%f", "%Y%m%d %H:%M:%S"):
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


# Both


def _channels(
    names: Sequence[str], waves: Sequence[str], properties: Mapping[str, str], text: str
) -> tuple[ChannelMetadata, ...]:
    exposure = _exposure(properties, text)
    unique = names if len(set(names)) == len(names) else [str(k + 1) for k in range(len(names))]
    found = []
    for name, wave in zip(unique, waves, strict=True):
        nanometres = _number(wave)
        known = nanometres if nanometres is not None and 100 < nanometres < 3000 else None
        if len(names) > 1 or known or exposure or name != "1":
            found.append(ChannelMetadata(name, emission_wavelength=known, exposure_time=exposure))
    return tuple(found)


def _label(one: Mapping[str, str], otherwise: str) -> str:
    return printable(one.get("_IllumSetting_", "").strip() or one.get("wavelength", "").strip()) or otherwise


def _exposure(properties: Mapping[str, str], text: str) -> float | None:
    """Return the exposure in seconds, by its own field or by the line in the text (``Exposure: 300 ms``)."""
    match = _DURATION.fullmatch(properties.get("Exposure Time", "")) or _EXPOSURE.search(text)
    seconds = to_seconds(match[1].replace(",", "."), match[2]) if match else None
    return seconds if seconds else None


def _objective(properties: Mapping[str, str]) -> Any:
    return named_objective(printable(properties.get("_MagSetting_", "").strip()), _number(properties.get("_MagNA_")))


def _bits(properties: Mapping[str, str]) -> int | None:
    bits = _number(properties.get("Camera Bit Depth") or properties.get("camera-bit-depth"))
    return int(bits) if bits is not None and bits <= 32 else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else 0.0
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None

"""Zeiss CZI: scenes by bioio-czi; frames by the file's directory of subblocks; names, sizes and times by its XML and attachments."""

from __future__ import annotations

import functools
import math
import os
import re
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from xml.etree import ElementTree

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsWarning,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import choose_stream, open_regular

from .extractor import BioioImagingExtractor, moment, regular_rate
from .subblocks import AXES, Subblocks

__all__ = ["CziImagingExtractor"]

_IMAGE = "./Metadata/Information/Image"
# PixelType of the format: Gray8, Gray16, Gray32Float, Gray64ComplexFloat, Gray32, Gray64
_KINDS = {0: "<u1", 1: "<u2", 2: "<f4", 10: "<c8", 12: "<u4", 13: "<f8"}
_COLOURS = {3: 3, 4: 3, 8: 3, 9: 4, 11: 3}  # colour samples of Bgr24, Bgr48, Bgr96Float, Bgra32, Bgr192ComplexFloat
_MODALITIES = {
    "widefield": "one-photon",
    "laserscanningconfocalmicroscopy": "confocal",
    "spinningdiskconfocal": "confocal",
    "slitscanconfocal": "confocal",
    "multiphotonmicroscopy": "two-photon",
    "spim": "light-sheet",
    "lightsheet": "light-sheet",
}
_PULSED_LASERS = re.compile(r"chameleon|mai ?tai|insight|discovery|two-?photon|multi-?photon|ti:?sa", re.IGNORECASE)
_SPARSE = 64  # samples a subblock, beyond which a number along T is damaged


class CziImagingExtractor(BioioImagingExtractor):
    """One channel of one scene of a Zeiss CZI file; parameters and errors are those of the base class.

    Frames are found by the coordinates in the directory of subblocks; levels of a pyramid and attachments are not samples.
    The clock is 0 s at the first frame of the scene.  Times are those of the subblocks, else of the attachment
    ``TimeStamps``, else of ``T/Positions`` in the metadata.

    References
    ----------
    ZEISS ZISRAW (CZI) file format: metadata segment, ``TimeStamps``, subblock metadata ``AcquisitionTime``, ``T/Positions``.
    """

    package = "bioio_czi"
    takes_folders = False
    advice = '"roiextractors-bioio[czi]"'
    reads_parts = True

    @classmethod
    def _open_image(cls, path: str) -> Any:
        cls._import_package(path)
        return _Damaged(path) if _subblocks(path).damage else super()._open_image(path)

    @classmethod
    def _choose_scene(
        cls, image: Any, name: str, scene: str | int | None
    ) -> tuple[tuple[str, ...], int, dict[str, int], tuple[str, ...]]:
        scenes = tuple(map(printable, image.scenes))
        scenes = scenes if len(set(scenes)) == len(scenes) else tuple(map(str, range(len(scenes))))
        number = choose_stream(name, "scene", scenes, scene)
        image.set_scene(number)
        blocks = _subblocks(str(image._path))
        there = blocks.select(S=_scene_value(blocks, number, len(scenes)))
        if len(there) == 0:
            raise TruncatedRecordingError(f"{name} contains no frames of its scene {scenes[number]!r}")
        sizes = {axis: len(np.unique(blocks.column(axis)[there])) for axis in AXES if axis != "S"}
        sizes["S"] = max(_COLOURS.get(int(kind), 1) for kind in np.unique(blocks.column("kind")[there]))
        values = np.unique(blocks.column("C")[there]).tolist()
        described = _channels(_xml(str(image._path)), number)
        named = [described[c].get("Name") or described[c].get("Id") if c < len(described) else None for c in values]
        channels = tuple(printable(text) if text else str(c + 1) for text, c in zip(named, values, strict=True))
        if len(set(channels)) < len(channels) or (len(values) == 1 and not named[0]):
            channels = tuple(str(c + 1) for c in values)
        return scenes, number, sizes, channels

    @classmethod
    def _axis_values(cls, image: Any, axis: str, count: int) -> tuple[str, ...]:
        if count < 2:
            return ()
        blocks = _subblocks(str(image._path))
        there = blocks.select(S=_scene_value(blocks, image.current_scene_index, len(image.scenes)))
        return tuple(map(str, np.unique(blocks.column(axis)[there]).tolist()))

    # Frames

    def _checked(self, sizes: dict[str, int]) -> dict[str, int]:
        """Find the subblock of each plane of each sample as acquired, -1 where it is missing."""
        self._blocks = blocks = _subblocks(self._path)
        self._scene_value = _scene_value(blocks, self._scene, len(self._image.scenes))
        self._all = blocks.select(S=self._scene_value)
        chosen = self._all
        for axis, index in {"C": self._channel, **self._others}.items():
            values = np.unique(blocks.column(axis)[self._all])
            chosen = chosen[blocks.column(axis)[chosen] == values[min(index, len(values) - 1)]]
        if len(chosen) == 0:
            raise TruncatedRecordingError(f"{self._name} contains no frames of the chosen streams")
        kind = _most_frequent(blocks.column("kind")[chosen])
        if kind in _KINDS:
            self._dtype = np.dtype(_KINDS[kind])
        shapes = np.column_stack([blocks.column(key)[chosen] for key in ("rows", "columns", "kind")])
        unique, which = np.unique(shapes, axis=0, return_inverse=True)
        usual = _most_frequent(which.ravel())
        self._other_sizes = int((which.ravel() != usual).sum())
        chosen = chosen[which.ravel() == usual]
        rows, columns = unique[usual][:2].tolist()
        checked = super()._checked({**sizes, "Y": rows, "X": columns})
        self._first_number, count = self._acquired()
        planes, at = np.unique(blocks.column("Z")[chosen], return_inverse=True)
        samples = blocks.column("T")[chosen] - self._first_number
        self._numbers = np.full((count, len(planes)), -1, np.int64)
        places, first_there = np.unique(samples * len(planes) + at.ravel(), return_index=True)
        self._numbers.flat[places] = chosen[first_there]
        self._repeated = len(chosen) - len(places)
        self._require_one_tile(chosen, samples, at.ravel())
        return checked | {"T": count, "Z": len(planes)}

    def _acquired(self) -> tuple[int, int]:
        """Return the first number along T of the acquisition, or of the part of it in this file, and how many there are."""
        times = self._blocks.column("T")[self._all]
        low, high, stated = int(times.min()), int(times.max()), self._stated("T")
        # A SizeT larger than the range in the file counts the whole acquisition, which starts at 0
        first = 0 if stated > high - low + 1 else low
        count = max(high - first + 1, stated if first == 0 else 0)
        if low < 0 or count > _SPARSE * (len(times) + 1024):
            raise CorruptRecordingError(
                f"{self._name} is damaged: its subblocks have numbers {low:,} to {high:,} along T"
            )
        return first, count

    def _require_one_tile(self, chosen: np.ndarray, samples: np.ndarray, planes: np.ndarray) -> None:
        first = self._numbers[samples, planes]
        shifted = sum(int((self._blocks.column(key)[chosen] != self._blocks.column(key)[first]).sum()) for key in "xy")
        if shifted:
            raise UnsupportedRecordingError(
                f"{self._name} contains {shifted:,} tiles without a number at places that other tiles share in time and depth; "
                "split the tiles into scenes, or stitch them, in ZEN"
            )

    def _omissions(self) -> tuple[str, ...]:
        """Leave out samples of which a plane is missing, damaged or of another size, and report scenes that are not named."""
        notes = self._unnamed_scenes() + self._damage()
        numbers = self._numbers[self._numbers >= 0]
        order = np.argsort(numbers)
        # In file order: are_sound checks only the ends of the list
        damaged = numbers[order][~self._blocks.are_sound(numbers[order])]
        if len(damaged):
            self._numbers[np.isin(self._numbers, damaged)] = -1
        are_whole = np.asarray((self._numbers >= 0).all(axis=1))
        reasons = [f"{len(damaged):,} of their subblocks are damaged"] if len(damaged) else []
        if self._other_sizes:
            reasons.append(f"{self._other_sizes:,} of their planes have another size or type of pixels")
        if self._blocks.has_parts:
            reasons.append("the others may be in further files of the recording, which are not read")
        missing = int((self._numbers < 0).sum()) - len(damaged) - self._other_sizes
        if missing > 0 or not reasons:
            reasons.insert(0, f"{max(0, missing):,} of their planes are not in the file")
        notes += self._keep_whole(are_whole, ", ".join(reasons))
        self._numbers = self._numbers[are_whole]
        if self._repeated:
            notes += (f"{self._name} contains {self._repeated:,} planes more than once; the first of each is read",)
        planes, stated = len(np.unique(self._blocks.column("Z")[self._all])), self._stated("Z")
        if planes < stated:
            notes += (f"{self._name} contains {planes:,} of the {stated:,} planes that its metadata states",)
        return notes

    def _damage(self) -> tuple[str, ...]:
        if not self._blocks.damage:
            return ()
        return (
            f"{self._blocks.damage}; {len(self._all):,} complete planes were found before the damage, and more may be lost",
        )

    def _unnamed_scenes(self) -> tuple[str, ...]:
        there = len(np.unique(self._blocks.column("S")[self._blocks.select()]))
        named = len(self._image.scenes)
        if there <= named:
            return ()
        return (
            f"{self._name} contains frames of {there:,} scenes but its metadata names {named:,}; the others cannot be read",
        )

    def _stated(self, axis: str) -> int:
        """Return the size of an axis by the metadata; 0 if it states none."""
        text = (self._header().findtext(f"{_IMAGE}/Size{axis}") or "").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0

    def _read(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> Any:
        numbers = self._numbers[samples][:, planes]
        shape = (*numbers.shape, rows.stop - rows.start, columns.stop - columns.start)
        pixels = np.empty(shape, self.get_dtype())
        with open_regular(self._path) as stream:
            library: Any = None
            for at in np.ndindex(numbers.shape):
                number = int(numbers[at])
                plane = self._blocks.read_pixels(number, self._dtype)
                if plane is None and self._blocks.damage:
                    plane = self._decompress_alone(number)
                elif plane is None:
                    library = library or import_module("aicspylibczi").CziFile(stream)
                    plane = self._decompress(library, number)
                pixels[at] = plane[rows, columns]
        return pixels

    def _decompress_alone(self, number: int) -> np.ndarray:
        """Return the pixels of a compressed subblock of a file without its directory, which the library needs."""
        with tempfile.TemporaryFile() as file:  # the library reads by a descriptor
            file.write(self._blocks.alone(number))
            file.flush()
            with open(file.fileno(), "rb", closefd=False) as stream:
                stream.seek(0)
                return self._decompress(import_module("aicspylibczi").CziFile(stream), number)

    def _decompress(self, library: Any, number: int) -> np.ndarray:
        """Return the pixels of a compressed subblock through aicspylibczi."""
        axes = [axis for axis in library.dims if axis in AXES]
        found = library.read_image(**{axis: int(self._blocks.column(axis)[number]) for axis in axes}, cores=1)[0]
        expected = (self._sizes["Y"], self._sizes["X"])
        if found.shape[-2:] != expected or found.size != math.prod(expected):
            raise CorruptRecordingError(f"{self._name}: a subblock has the shape {found.shape}, expected {expected}")
        return np.asarray(found).reshape(expected)

    # Times

    def _recorded_times(self, start: int, end: int) -> np.ndarray | None:
        if self._clock is None:
            return None
        if self._clock != "subblocks":
            return np.array(self._stated_times[start:end])
        if end <= 1:  # checking whether there are times must not read those of all frames
            return self._ask_once("time of the first sample", lambda: self._read_times(1))[start:end].copy()
        return self._ask_once("times", lambda: self._read_times(len(self)))[start:end].copy()

    def _file_rate(self) -> float | None:
        """Choose the clock, and return the rate by it."""
        self._clock: str | None = None
        self._stated_times = np.empty(0)
        self._since_start = 0.0
        period = self._period_of_subblocks()
        if period is not None:
            self._clock = "subblocks"
            return 1.0 / period if period else None
        for name, stamps in (("TimeStamps", self._attached()), ("T/Positions", self._offsets())):
            if stamps is not None and self._take_stamps(name, stamps):
                return regular_rate(self._stated_times, self._kept)
        increment = _number(self._header().findtext(f"{_IMAGE}/Dimensions/T/Positions/Interval/Increment"))
        return 1.0 / increment if increment and increment > 0 and self._acquired()[1] > 1 else None

    def _period_of_subblocks(self) -> float | None:
        """Return the mean period if the subblocks have acquisition times that advance; 0 for one sample, else None."""
        # First and last only: each time is a read of its own, and this runs when the file is opened
        ends = [_ticks(text) for text in self._blocks.acquisition_times(self._numbers[[0, -1], 0])]
        if ends[0] is None or ends[1] is None:
            return None
        count = int(self._kept[-1] - self._kept[0]) if self._kept is not None else len(self) - 1
        if count and ends[1] <= ends[0]:
            self._report(
                f"{self._name}: the acquisition times of the first and last sample do not increase, so they are not used",
                None,
            )
            return None
        return (ends[1] - ends[0]) / 1e7 / count if count else 0.0

    def _attached(self) -> np.ndarray | None:
        try:
            return self._blocks.attached_times()
        except (CorruptRecordingError, TruncatedRecordingError) as error:
            self._report(f"{self._name}: its time stamps cannot be used: {error}", RoiExtractorsWarning)
            return None

    def _offsets(self) -> np.ndarray | None:
        text = self._header().findtext(f"{_IMAGE}/Dimensions/T/Positions/List/Offsets")
        try:
            return np.array([float(word) for word in (text or "").split()]) if text and text.strip() else None
        except ValueError:
            return None

    def _take_stamps(self, name: str, stamps: np.ndarray) -> bool:
        """Use stamps of the samples as acquired, if there is one for each; return whether they are used."""
        first, count = self._acquired()
        in_file = int(self._blocks.column("T")[self._all].max()) - first + 1
        if len(stamps) in (count, in_file):
            begin = 0
        elif first and len(stamps) >= first + in_file:
            begin = first  # stamps of the whole acquisition, in a part of it
        elif count == 1:
            return False
        else:
            self._report(
                f"{self._name}: {name} contains {len(stamps):,} times for {count:,} samples, so they are not used",
                RoiExtractorsWarning,
            )
            return False
        kept = np.arange(len(self)) if self._kept is None else self._kept
        times = stamps[begin + kept] - stamps[begin]
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            self._report(f"{self._name}: the times in {name} do not increase, so they are not used", None)
            return False
        self._clock, self._stated_times = name, times
        # Offsets in T/Positions count from StartTime; TimeStamps have an origin of their own
        self._since_start = float(stamps[begin] - (stamps[0] if name == "TimeStamps" else 0.0))
        return True

    def _first_text(self) -> str:
        """Return the earliest acquisition time of the scene's first frames."""
        times = self._blocks.column("T")[self._all]
        texts = self._blocks.acquisition_times(self._all[times == times.min()])
        known = [(ticks, text) for text in texts if (ticks := _ticks(text)) is not None]
        return min(known)[1] if known else ""

    def _read_times(self, count: int) -> np.ndarray:
        """Return seconds, one for each sample; NaN for a frame without a time."""
        first = _ticks(self._ask_once("first", self._first_text)) or 0
        ticks = [_ticks(text) for text in self._blocks.acquisition_times(self._numbers[:count, 0])]
        return np.array([np.nan if value is None else (value - first) / 1e7 for value in ticks])

    # Metadata

    @classmethod
    def _channel_names(cls, image: Any) -> Sequence[Any]:
        return [
            channel.get("Name") or channel.get("Id")
            for channel in _channels(_xml(str(image._path)), image.current_scene_index)
        ]

    def _micrometres(self, axis: str) -> float | None:
        metres = _number(self._header().findtext(f"./Metadata/Scaling/Items/Distance[@Id='{axis}']/Value"))
        return None if metres is None else metres * 1e6

    def _started(self) -> datetime | None:
        """Return the moment of 0 s: of the first frame, else where the series of the file starts, else the acquisition."""
        text = self._ask_once("first", self._first_text) if self._clock == "subblocks" else ""
        ticks = _ticks(text)
        if ticks is not None:
            stated = _moment_of(text)
            return moment(ticks).replace(tzinfo=None if stated is None else stated.tzinfo and UTC)
        series = _moment_of(self._header().findtext(f"{_IMAGE}/Dimensions/T/StartTime"))
        if series is not None and series.year > 1970:
            return series + timedelta(seconds=self._since_start)
        return _moment_of(self._header().findtext(f"{_IMAGE}/AcquisitionDateAndTime"))

    def _described(self) -> dict[str, Any]:
        header = self._header()
        channels = _channels(header, self._scene)
        number = int(self._blocks.column("C")[self._numbers[0, 0]])
        one = channels[number] if number < len(channels) else ElementTree.Element("Channel")
        image = header.find(_IMAGE)
        depth = one.findtext("ComponentBitCount") or header.findtext(f"{_IMAGE}/ComponentBitCount")
        exposure = _number(one.findtext("ExposureTime"))
        return {
            "start": self._started(),
            "emission": _number(one.findtext("EmissionWavelength")) or None,
            "excitation": _number(one.findtext("ExcitationWavelength")) or None,
            "device": f"Zeiss {printable(header.findtext('.//Microscopes/Microscope/System') or '')}".strip(),
            "software": printable(
                " ".join(header.findtext(f".//Application/{key}") or "" for key in ("Name", "Version"))
            ).strip(),
            "zoom": _number(one.findtext("LaserScanInfo/ZoomX")),
            "bit_depth": _number(depth),
            "exposure_time": exposure * 1e-9 if exposure and exposure > 0 else None,  # written in nanoseconds
            "detection_band": _band(one.findtext("DetectionWavelength/Ranges")),
            **_objective(header, None if image is None else image.find("ObjectiveSettings/ObjectiveRef")),
            **_light(header, one),
        }

    def _vendor(self) -> dict[str, Any]:
        return {"xml": ElementTree.tostring(self._header(), encoding="unicode")}

    def _header(self) -> ElementTree.Element:
        return self._ask_once("header", lambda: _xml(self._path))


def _subblocks(path: str) -> Subblocks:
    """Return the subblocks of a file; the directory is read once for as long as the file does not change."""
    found = os.stat(path)
    return _subblocks_of(path, found.st_ino, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _subblocks_of(path: str, *_: int) -> Subblocks:
    try:
        return Subblocks(path)
    except (CorruptRecordingError, TruncatedRecordingError) as error:
        blocks = Subblocks(path, by_directory=False)
        if len(blocks.select()) == 0:
            raise
        blocks.damage = str(error)
        return blocks


class _Damaged:
    """A CZI file without its directory, with the attributes of bioio's reader that are used here."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.current_scene_index = 0
        blocks = _subblocks(path)
        there = blocks.select()
        self.scenes = tuple(map(str, np.unique(blocks.column("S")[there]).tolist()))
        self.dtype = np.dtype(_KINDS.get(_most_frequent(blocks.column("kind")[there]), "<u2"))

    def set_scene(self, number: int) -> None:
        self.current_scene_index = number


def _xml(path: str) -> ElementTree.Element:
    """Return the file's metadata without bioio-czi, which would index all frames of the file first."""
    blocks = _subblocks(path)
    if blocks.damage:
        text = blocks.xml.rstrip(b"\0")  # the segment is padded
        try:  # no entities from a damaged file
            return ElementTree.fromstring(text if b"<!" not in text else b"<ImageDocument/>")
        except ElementTree.ParseError:
            return ElementTree.Element("ImageDocument")
    with open_regular(path) as stream:
        found: ElementTree.Element = import_module("aicspylibczi").CziFile(stream).meta
        return found


def _scene_value(blocks: Subblocks, number: int, count: int) -> int:
    """Return the value along S of a scene by its number; a file with some of the scenes keeps their values."""
    values = np.unique(blocks.column("S")[blocks.select()]).tolist()
    return int(values[number]) if number < len(values) and (len(values) >= count or count == 1) else number


def _channels(header: ElementTree.Element, scene: int) -> list[ElementTree.Element]:
    found = header.findall(".//Image/Dimensions/Channels")
    return list(found[scene if scene < len(found) else 0].iterfind("Channel")) if found else []


def _objective(header: ElementTree.Element, used: ElementTree.Element | None) -> dict[str, Any]:
    """Return the objective that the image refers to, or the only one."""
    lenses = header.findall("./Metadata/Information/Instrument/Objectives/Objective")
    wanted = "" if used is None else used.get("Id")
    for lens in lenses:
        if lens.get("Id") == wanted or len(lenses) == 1:
            return {
                "objective": lens.findtext("Manufacturer/Model") or lens.get("Name"),
                "magnification": _number(lens.findtext("NominalMagnification")),
                "aperture": _number(lens.findtext("LensNA")),
            }
    return {}


def _light(header: ElementTree.Element, channel: ElementTree.Element) -> dict[str, Any]:
    """Return the lasers of a channel, the power of the first one, and the modality by them and the mode of acquisition."""
    sources = {s.get("Id"): s for s in header.iterfind("./Metadata/Information/Instrument/LightSources/LightSource")}
    mode = (channel.findtext("AcquisitionMode") or "").replace(" ", "").lower()
    modality = _MODALITIES.get(mode)
    lines: list[float] = []
    power: float | None = None
    for setting in channel.iterfind("LightSourcesSettings/LightSourceSettings"):
        reference = setting.find("LightSource")
        source = sources.get("" if reference is None else reference.get("Id"))
        kinds = [] if source is None else [kind.tag for kind in source.iterfind("LightSourceType/*")]
        if (kinds and "Laser" not in kinds) or (not kinds and modality == "one-photon"):
            continue
        line = _number(setting.findtext("Wavelength"))
        transmitted = _transmitted(setting)
        if not line or line <= 0 or transmitted == 0.0:  # a laser at 0 % is off
            continue
        name = "" if source is None else f"{source.get('Name') or ''} {source.findtext('Manufacturer/Model') or ''}"
        # A scan with a pulsed laser is named confocal too; such lasers start near 680 nm
        if _PULSED_LASERS.search(name) and line >= 680 and modality in (None, "confocal"):
            modality = "two-photon"
        power = transmitted if not lines else power
        lines.append(round(line, 6))
    return {"laser_lines": tuple(lines), "laser_power": power, "modality": modality}


def _transmitted(setting: ElementTree.Element) -> float | None:
    """Return the percentage of a laser's light that is used, or None."""
    attenuation = _number(setting.findtext("Attenuation"))
    if attenuation is not None and 0 <= attenuation <= 1:
        return round(100 * (1 - attenuation), 6)
    intensity = (setting.findtext("Intensity") or "").strip()
    return _number(intensity.removesuffix("%")) if intensity.endswith("%") else None


def _band(text: str | None) -> tuple[float, float] | None:
    """Return the limits of a range such as ``540-570``; None for several ranges."""
    match = re.fullmatch(r"\s*([\d.]+)\s*-\s*([\d.]+)\s*", text or "")
    limits = (_number(match[1]), _number(match[2])) if match else (None, None)
    return (limits[0], limits[1]) if limits[0] and limits[1] and limits[0] < limits[1] else None


def _most_frequent(values: np.ndarray) -> int:
    unique, counts = np.unique(values, return_counts=True)
    return int(unique[counts.argmax()])


def _number(text: str | None) -> float | None:
    try:
        value = float((text or "").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _ticks(text: str) -> int | None:
    """Return an ISO 8601 time as 100 ns units since 1 January 1970; ZEN writes seven digits, one more than datetime can store."""
    whole, _, rest = text.strip().partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    started = _moment_of(whole + rest[len(digits) :])
    if started is None or started.year <= 1970:  # a clock that was never set
        return None
    started = started if started.tzinfo else started.replace(tzinfo=UTC)
    # In integers: float64 has too few digits for 100 ns since 1970
    return int(started.timestamp()) * 10_000_000 + int((digits + "0000000")[:7])


def _moment_of(text: str | None) -> datetime | None:
    """Return an ISO 8601 time; without a time zone if the text names none."""
    try:
        return datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None

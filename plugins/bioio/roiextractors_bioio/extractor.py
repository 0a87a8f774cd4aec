"""Reads what bioio's plugins read: T as samples, Z as planes, C and scenes as streams."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, ClassVar, TypeVar
from xml.etree import ElementTree

import numpy as np

from roiextractors_core import ChannelMetadata, ImagingExtractor, RecordingMetadata
from roiextractors_core.errors import (
    CorruptRecordingError,
    MissingDependencyError,
    RoiExtractorsError,
    StreamChoiceError,
    UnsupportedRecordingError,
    printable,
)

__all__ = [
    "BioioImagingExtractor",
    "CziImagingExtractor",
    "LifImagingExtractor",
    "Nd2ImagingExtractor",
    "OibImagingExtractor",
]

_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}
_OTHER_AXES = {"M": "tiles of a mosaic", "S": "colour samples", "H": "phases", "I": "illuminations", "V": "views"}

_Value = TypeVar("_Value")


class BioioImagingExtractor(ImagingExtractor):
    """One channel of one scene of an image that an installed plugin of bioio reads.

    Parameters
    ----------
    file_path : str or os.PathLike
    sampling_frequency : float, optional
        Samples a second (Hz); it wins over what the file says.
    scene : str or int, optional
        One of several scenes (positions, series), by its name in bioio, or by its number from 0.
    channel : str or int, optional
        One of several channels, by its name, or by its number from 1.

    Raises
    ------
    MissingDependencyError
        The plugin of bioio that reads this format is not installed.
    StreamChoiceError
        Several scenes or channels and none, or one that is not there, was named.
    UnsupportedRecordingError
        Axes beyond time, channel, planes, rows and columns: mosaics, colour samples, phases.
    CorruptRecordingError
        bioio cannot read the file.

    References
    ----------
    bioio-base, ``bioio_base.reader.Reader``: the interface of its plugins.
    """

    package: ClassVar[str] = "bioio"
    advice: ClassVar[str] = "bioio, and the plugin of bioio that reads this file"
    reads_parts: ClassVar[bool] = False
    unit: ClassVar[str] = ""

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        sampling_frequency: float | None = None,
        scene: str | int | None = None,
        channel: str | int | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._path = os.fspath(file_path)
        self._name = printable(os.path.basename(self._path))
        self._lock = threading.RLock()
        self._known: dict[str, Any] = {}
        with _at_the_border(self._name, self.package):
            self._image = self._opened(self._path)
            scenes = _labels(self._image.scenes, first=0)
            self._scene = _chosen(self._name, "scene", scenes, scene, first=0)
            self._image.set_scene(self._scene)
            sizes = dict(zip(self._image.dims.order, map(int, self._image.dims.shape), strict=True))
            self._dtype = np.dtype(self._image.dtype)
            self._channels = _labels(self._image.channel_names or (), count=sizes.get("C", 1), first=1)
        self._channel = _chosen(self._name, "channel", self._channels, channel, first=1)
        self._sizes = self._checked(sizes)
        self.is_volumetric = self._sizes["Z"] > 1

    def get_image_shape(self) -> tuple[int, int]:
        return self._sizes["Y"], self._sizes["X"]

    def get_num_samples(self) -> int:
        return self._sizes["T"]

    def get_num_planes(self) -> int:
        return self._sizes["Z"]

    def get_dtype(self) -> np.dtype[Any]:
        return self._dtype.newbyteorder("=")

    def get_sampling_frequency(self) -> float | None:
        """Return the rate by the interval between samples that the file tells, or None."""
        return self._told("rate", self._file_rate)

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        samples = slice(*self.resolve_range(start_sample, end_sample))
        return self._part(samples, slice(0, self._sizes["Y"]), slice(0, self._sizes["X"]), slice(0, self._sizes["Z"]))

    def get_samples(self, sample_indices: Any) -> np.ndarray:
        indices = self.resolve_indices(sample_indices)
        return self._part(indices, slice(0, self._sizes["Y"]), slice(0, self._sizes["X"]), slice(0, self._sizes["Z"]))

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        return self._part(samples, rows, columns, slice(0, 1) if planes is None else planes)

    def get_metadata(self) -> RecordingMetadata:
        return self._told("metadata", self._file_metadata)

    def get_notes(self) -> tuple[str, ...]:
        if self._sizes["Y"] == 1 and self.is_volumetric:
            return (f"{self._name} was scanned along columns and planes: a frame has one row",)
        return ()

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the scenes, and the channels of the chosen or the first scene."""
        path = os.fspath(file_path)
        name = printable(os.path.basename(path))
        with _at_the_border(name, cls.package):
            image = cls._opened(path)
            scenes = _labels(image.scenes, first=0)
            image.set_scene(_chosen(name, "scene", scenes, options.get("scene", 0), first=0))
            sizes = dict(zip(image.dims.order, image.dims.shape, strict=True))
            channels = _labels(image.channel_names or (), count=int(sizes.get("C", 1)), first=1)
        found = {"scene": scenes, "channel": channels}
        return {option: values for option, values in found.items() if len(values) > 1}

    # What bioio is asked

    @classmethod
    def _opened(cls, path: str) -> Any:
        """Return bioio's object for a file: its plugin's own, which joins no tiles and adds no axes."""
        try:
            module = import_module(cls.package)
        except ImportError as error:
            raise MissingDependencyError(
                f"{printable(os.path.basename(path))} is read by {cls.package.replace('_', '-')}, which cannot be imported "
                f"({printable(error)}); python -m pip install {cls.advice}"
            ) from error
        return module.Reader(path) if cls.package != "bioio" else module.BioImage(path).reader

    def _part(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> np.ndarray:
        count = samples.stop - samples.start if isinstance(samples, slice) else len(samples)
        shape = (count, rows.stop - rows.start, columns.stop - columns.start, planes.stop - planes.start)
        if 0 in shape:
            return np.empty(shape if self.is_volumetric else shape[:3], self.get_dtype())
        with self._lock, _at_the_border(self._name, self.package):
            found = self._read(samples, rows, columns, planes)
        if found.shape != (shape[0], shape[3], shape[1], shape[2]):
            raise CorruptRecordingError(f"{self._name}: {self.package} gave the shape {found.shape} for {shape}")
        owned = np.array(found, dtype=self.get_dtype(), order="C")
        return np.moveaxis(owned, 1, 3) if self.is_volumetric else owned[:, 0].copy()

    def _read(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> Any:
        """Return ``(samples, planes, rows, columns)``."""
        one = {axis: 0 for axis in self._image.dims.order if axis not in "TCZYX"}
        if self.reads_parts:
            wanted = samples if isinstance(samples, slice) else samples.tolist()
            found = self._image.get_image_data("TZYX", C=self._channel, T=wanted, Z=planes, **one)
            return found[:, :, rows, columns]
        lazy = self._image.get_image_dask_data("TZYX", C=self._channel, **one)
        return lazy[samples][:, planes, rows, columns].compute(scheduler="synchronous")

    def _file_rate(self) -> float | None:
        interval = self._image.time_interval
        seconds = interval.total_seconds() if isinstance(interval, timedelta) else 0.0
        return 1.0 / seconds if seconds > 0 and self._sizes["T"] > 1 else None

    def _file_metadata(self) -> RecordingMetadata:
        size = self._image.physical_pixel_sizes
        rows, columns, spacing = (self._micrometres(getattr(size, axis), axis) for axis in "YXZ")
        described = _described(self._image, self._scene, self._channel)
        name = self._channels[self._channel] if self._channels else described.get("name")
        waves = (described.get("emission"), described.get("excitation"))
        return RecordingMetadata(
            start_time=self._start_time(described),
            pixel_size=(rows, columns) if rows and columns else None,
            plane_spacing=spacing if self.is_volumetric else None,
            channels=(ChannelMetadata(printable(name), *waves),) if name else (),
            device=self._device(described),
            software=self._software(),
            vendor=self._vendor(),
        )

    def _start_time(self, described: dict[str, Any]) -> datetime | None:
        return described.get("start")

    def _device(self, described: dict[str, Any]) -> str | None:
        return described.get("device")

    def _software(self) -> str | None:
        return None

    def _vendor(self) -> dict[str, Any]:
        return {"dimensions": {axis: int(n) for axis, n in self._image.dims.items()}, "bioio": self.package}

    def _micrometres(self, value: Any, axis: str) -> float | None:
        """Return a distance where its unit is known."""
        if value is None or not (math.isfinite(value) and value > 0):
            return None
        unit = self.unit or str(getattr(getattr(self._image.dimension_properties, axis), "unit", None))
        factor = _MICROMETRES.get(unit)
        return None if factor is None else float(value) * factor

    # Around it

    def _checked(self, sizes: dict[str, int]) -> dict[str, int]:
        for axis, size in sizes.items():
            if axis not in "TCZYX" and size > 1:
                words = _OTHER_AXES.get(axis, "values")
                raise UnsupportedRecordingError(
                    f"{self._name} has an axis {printable(axis)} of {size:,} {words}; what is read are T, C, Z, Y and X"
                )
        if self._dtype.kind not in "biufc":
            raise UnsupportedRecordingError(f"{self._name} holds {self._dtype}, and only numbers are read")
        return {axis: sizes.get(axis, 1) for axis in "TZYX"}

    def _told(self, key: str, ask: Callable[[], _Value]) -> _Value:
        """Ask once; what is found is kept."""
        with self._lock:
            if key not in self._known:
                with _at_the_border(self._name, self.package):
                    self._known[key] = ask()
            value: _Value = self._known[key]
            return value


class CziImagingExtractor(BioioImagingExtractor):
    """One channel of one scene of a Zeiss CZI file; parameters and errors are those of the base class.

    The clock stands at 0 s when the first frame of the scene was acquired.

    References
    ----------
    ZEISS ZISRAW (CZI) file format: subblock metadata, ``AcquisitionTime``.
    """

    package = "bioio_czi"
    advice = '"roiextractors-bioio[czi]"'
    reads_parts = True
    unit = "micrometer"

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return when the first plane of each sample was acquired, or None where the frames bear no time."""
        start, end = self.resolve_range(start_sample, end_sample)
        if self._told("first", self._first_time) is None or not self.get_num_samples():
            return None
        if end <= 1:
            return self._told("time of the first sample", lambda: self._times(T=0))[start:end].copy()
        return self._told("times", self._times)[start:end].copy()

    def _first_time(self) -> int | None:
        return min((ticks for _, ticks in self._acquired(T=0)), default=None)

    def _times(self, **which: int) -> np.ndarray:
        """Return seconds, one a sample; NaN where a frame bears no time."""
        found = np.full(which.get("T", self._sizes["T"] - 1) + 1, np.nan)
        first = self._told("first", self._first_time) or 0
        for place, ticks in self._acquired(**which):
            at = int(place.get("T", 0))
            if at < len(found) and int(place.get("C", 0)) == self._channel and int(place.get("Z", 0)) == 0:
                found[at] = (ticks - first) / 1e7
        return found

    def _acquired(self, **which: int) -> Iterator[tuple[dict[str, str], int]]:
        """Yield place and time, in units of 100 ns since 1 January 1970, of each subblock that bears one."""
        for block in self._image.get_subblock_metadata(**which):
            text = block.findtext(".//AcquisitionTime")
            ticks = _ticks(text) if text else None
            if ticks is not None:
                yield dict(block.attrib), ticks

    def _start_time(self, described: dict[str, Any]) -> datetime | None:
        first = self._told("first", self._first_time)
        return described.get("start") if first is None else _moment(first)

    def _device(self, described: dict[str, Any]) -> str | None:
        system = self._image.metadata.findtext(".//Microscopes/Microscope/System")
        words = [described.get("device"), system]
        return printable(" ".join(filter(None, words))) or None

    def _software(self) -> str | None:
        found = self._image.metadata.find(".//Application")
        words = () if found is None else (found.findtext("Name"), found.findtext("Version"))
        return printable(" ".join(filter(None, words))) or None

    def _vendor(self) -> dict[str, Any]:
        return {"xml": ElementTree.tostring(self._image.metadata, encoding="unicode")}


class Nd2ImagingExtractor(BioioImagingExtractor):
    """One channel of one position of a Nikon ND2 file; parameters and errors are those of the base class.

    The clock is the file's own: it stands at 0 s at the start of the experiment.

    References
    ----------
    The package nd2, ``ND2File.frame_metadata``: ``relativeTimeMs`` of each frame.
    """

    package = "bioio_nd2"
    advice = '"roiextractors-bioio[nd2]"'
    reads_parts = True
    unit = "micrometer"

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return when the first plane of each sample was acquired, or None where the file tells no times."""
        start, end = self.resolve_range(start_sample, end_sample)
        if self._told("last", lambda: self._times(self._sizes["T"] - 1, self._sizes["T"])) is None:
            return None
        if end <= 1:
            found = self._told("time of the first sample", lambda: self._times(0, 1))
            return None if found is None else found[start:end].copy()
        whole = self._told("times", lambda: self._times(0, self._sizes["T"]))
        return None if whole is None else whole[start:end].copy()

    def _times(self, start: int, end: int) -> np.ndarray | None:
        """Return seconds, or None where the file tells none: a clock that stands at 0 at the end was never started."""
        with import_module("nd2").ND2File(self._path) as file:
            places = self._places(file)
            try:
                stamps = [file.frame_metadata(places[k]).channels[self._channel] for k in range(start, end)]
            except (KeyError, IndexError, AttributeError, NotImplementedError):
                return None
            times = np.array([stamp.time.relativeTimeMs for stamp in stamps], np.float64) / 1e3
        return times if np.isfinite(times).all() and (not start or times[-1] > 0) else None

    def _places(self, file: Any) -> dict[int, int]:
        """Return the number in the file of the first plane of each sample."""
        found: dict[int, int] = {}
        for number, place in enumerate(file.loop_indices):
            if place.get("P", self._scene) == self._scene and place.get("Z", 0) == 0:
                found.setdefault(place.get("T", 0), number)
        return found

    def _vendor(self) -> dict[str, Any]:
        with import_module("nd2").ND2File(self._path) as file:
            return {str(key): str(value) for key, value in dict(file.text_info).items()}


class LifImagingExtractor(BioioImagingExtractor):
    """One channel of one image of a Leica LIF file; parameters and errors are those of the base class.

    The clock stands at 0 s at the image's first time stamp.

    References
    ----------
    The package liffile, which bioio-lif reads with: dimensions, frames, ``TimeStampList``.
    """

    package = "bioio_lif"
    advice = '"roiextractors-bioio[lif]"'
    unit = "micrometer"

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the first time stamp of each sample, or None where the file's stamps do not say which is whose."""
        start, end = self.resolve_range(start_sample, end_sample)
        times = self._told("times", self._times)
        return None if times is None else times[start:end].copy()

    def _read(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> Any:
        with self._own() as image:
            inside = image.frames.frame_dims
            wanted: dict[str, Any] = {
                "T": samples if isinstance(samples, slice) else samples.tolist(),
                "Z": planes,
                "C": [self._channel],
            }
            chosen = {axis: value for axis, value in wanted.items() if axis in image.sizes and axis not in inside}
            frames = image.frames(**chosen)
            found, axes = frames.asarray(), "".join(frames.dims)
        for axis in "TCZYX":
            if axis not in axes:
                found, axes = found[np.newaxis], axis + axes
        found = found.transpose([axes.index(axis) for axis in "CTZYX"])[0]
        if "T" not in chosen:
            found = found[samples]
        return found[:, slice(None) if "Z" in chosen else planes, rows, columns]

    def _file_rate(self) -> float | None:
        """Return the nominal rate: the length of the time axis in seconds, over the steps on it."""
        with self._own() as image:
            for axis in image.xml_element.iterfind("./Data/Image/ImageDescription/Dimensions/DimensionDescription"):
                count, length = int(axis.get("NumberOfElements", 0)), float(axis.get("Length", 0))
                if axis.get("DimID") == "4" and axis.get("Unit") == "s" and count > 1 and length > 0:
                    return (count - 1) / length
        return None

    def _times(self) -> np.ndarray | None:
        stamps, count = self._stamps(), self._sizes["T"]
        with self._own() as image:
            outermost = count == 1 or next(iter(image.sizes)) == "T"
        if not len(stamps) or len(stamps) % count or not outermost:
            return None
        each = len(stamps) // count
        found = (stamps[::each] - stamps[0]) / 1e7
        return found if (np.diff(found) >= 0).all() else None

    def _stamps(self) -> np.ndarray:
        """Return the image's time stamps in units of 100 ns since 1 January 1601 (UTC)."""
        with self._own() as image:
            told = image.xml_element.find("./Data/Image/TimeStampList")
            if told is None:
                return np.empty(0, np.int64)
            pairs = [(int(e.get("HighInteger", 0)), int(e.get("LowInteger", 0))) for e in told.iterfind("TimeStamp")]
            values = [high << 32 | low for high, low in pairs] or [int(text, 16) for text in (told.text or "").split()]
            return np.array(values, np.int64)

    def _start_time(self, described: dict[str, Any]) -> datetime | None:
        stamps = self._stamps()
        return _moment(int(stamps[0]) - 116_444_736_000_000_000) if len(stamps) else None

    def _device(self, described: dict[str, Any]) -> str | None:
        with self._own() as image:
            found = image.xml_element.find(".//*[@SystemTypeName]")
            return None if found is None else printable(found.get("SystemTypeName")) or None

    def _vendor(self) -> dict[str, Any]:
        with self._own() as image:
            return {"xml": ElementTree.tostring(image.xml_element, encoding="unicode")}

    @contextlib.contextmanager
    def _own(self) -> Iterator[Any]:
        """Open the file for this read alone; bioio-lif would read the header again for every frame."""
        with import_module("liffile").LifFile(self._path) as file:
            yield file.images[self._scene]


class OibImagingExtractor(BioioImagingExtractor):
    """One channel of an Olympus OIB file; parameters and errors are those of the base class."""

    package = "bioio_bioformats"
    advice = "bioio-bioformats, which needs Java"


@contextlib.contextmanager
def _at_the_border(name: str, package: str) -> Iterator[None]:
    """Say what a file did to the library that reads it in this library's words."""
    try:
        yield
    except (RoiExtractorsError, OSError, MemoryError):
        raise
    except Exception as error:
        words = f"{type(error).__name__}: {printable(error)[:300]}"
        raise CorruptRecordingError(f"{name} cannot be read by {package}: {words}") from error


def _labels(names: Sequence[Any], *, count: int | None = None, first: int) -> tuple[str, ...]:
    """Return names as they can be chosen: as they are where they differ, else their numbers."""
    found = tuple(printable(name) for name in names)
    count = len(found) if count is None else count
    if len(found) == count == len(set(found)) and all(found):
        return found
    return tuple(str(k + first) for k in range(count))


def _chosen(name: str, option: str, names: Sequence[str], given: str | int | None, *, first: int) -> int:
    if given is None:
        if len(names) > 1:
            raise StreamChoiceError.for_option(name, option, names)
        return 0
    text = str(given)
    if text in names:
        return list(names).index(text)
    number = int(text) - first if text.isdecimal() else -1
    if not 0 <= number < max(1, len(names)):
        raise StreamChoiceError.for_option(name, option, names or (str(first),), seen=given)
    return number


def _described(image: Any, scene: int, channel: int) -> dict[str, Any]:
    """Return what the plugin's OME metadata says of the image; nothing where the plugin makes none."""
    try:
        ome = image.ome_metadata
        told = ome.images[scene if scene < len(ome.images) else 0]
    except (NotImplementedError, AttributeError, IndexError, ValueError):
        return {}
    found: dict[str, Any] = {"start": told.acquisition_date}
    if channel < len(told.pixels.channels):
        one = told.pixels.channels[channel]
        found |= {"name": one.name, "emission": _wave(one, "emission"), "excitation": _wave(one, "excitation")}
    for instrument in ome.instruments:
        parts = [instrument.microscope, *instrument.detectors]
        words = [" ".join(filter(None, (p.manufacturer, p.model))) for p in parts if p is not None]
        found["device"] = next((printable(word) for word in words if word), None)
    return found


def _wave(channel: Any, kind: str) -> float | None:
    value, unit = getattr(channel, f"{kind}_wavelength"), getattr(channel, f"{kind}_wavelength_unit")
    return float(value) if value and getattr(unit, "value", unit) == "nm" else None


def _ticks(text: str) -> int | None:
    """Return a moment in ISO 8601 as units of 100 ns since 1 January 1970; seven digits of seconds are more than datetime holds."""
    whole, _, rest = text.strip().partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :]
    try:
        moment = datetime.fromisoformat(whole + zone)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10_000_000 + int((digits + "0000000")[:7])


def _moment(ticks: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10)

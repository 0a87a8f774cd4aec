"""Reads images through bioio's plugins: T as samples, Z as planes, C and scenes as streams."""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, ClassVar, TypeVar

import numpy as np

from roiextractors_core import BlockImagingExtractor, ChannelMetadata, ObjectiveMetadata, RecordingMetadata
from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    MissingDependencyError,
    RoiExtractorsError,
    RoiExtractorsWarning,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import ProcessLock, choose_stream, single_file, to_micrometres, to_seconds, warn

__all__ = [
    "BioioImagingExtractor",
    "at_the_border",
    "moment",
    "positive",
    "regular_rate",
]

_STREAMS = {"M": "tile", "H": "phase", "I": "illumination", "V": "view", "R": "rotation", "B": "block"}
_OTHER_AXES = {"S": "colour samples", "A": "rotations", "λ": "emission wavelengths", "Λ": "excitation wavelengths"}
_MODALITIES = {  # as OME names modes of acquisition
    "WideField": "one-photon",
    "LaserScanningConfocalMicroscopy": "confocal",
    "SpinningDiskConfocal": "confocal",
    "SlitScanConfocal": "confocal",
    "MultiPhotonMicroscopy": "two-photon",
    "SPIM": "light-sheet",
}
_MAX_JITTER = 1e-3  # of a period, up to which times are regular

_Value = TypeVar("_Value")


class BioioImagingExtractor(BlockImagingExtractor):
    """One channel of one scene of an image that an installed bioio plugin can read.

    Parameters
    ----------
    file_path : str or os.PathLike
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the rate in the file.
    scene : str or int, optional
        One of several scenes (positions, series), by its name in bioio, or by its number from 0.
    channel : str or int, optional
        One of several channels, by its name, or by its number from 1.
    tile, phase, illumination, view, rotation, block : int or str, optional
        One of several values of an axis beyond time, channel and planes: the tiles of a mosaic, and so on.

    Raises
    ------
    MissingDependencyError
        The plugin of bioio that reads this format is not installed.
    StreamChoiceError
        Several scenes or channels, and none was named; or the named one does not exist.
    UnsupportedRecordingError
        Axes that cannot be chosen from, such as colour samples.
    CorruptRecordingError
        bioio cannot read the file.

    References
    ----------
    bioio-base, ``bioio_base.reader.Reader``: the interface of its plugins.
    """

    package: ClassVar[str] = "bioio"
    advice: ClassVar[str] = "bioio, and the plugin of bioio that reads this file"
    reads_parts: ClassVar[bool] = False
    takes_folders: ClassVar[bool] = True

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        sampling_frequency: float | None = None,
        scene: str | int | None = None,
        channel: str | int | None = None,
        tile: str | int | None = None,
        phase: str | int | None = None,
        illumination: str | int | None = None,
        view: str | int | None = None,
        rotation: str | int | None = None,
        block: str | int | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        given = dict(zip(_STREAMS, (tile, phase, illumination, view, rotation, block), strict=True))
        self._path = self._path_of(file_path)
        self._name = printable(os.path.basename(self._path))
        self._lock = ProcessLock()
        self._known: dict[str, Any] = {}
        with at_the_border(self._name, self.package):
            self._image = self._open_image(self._path)
            self._scene, sizes, self._channels = self._choose_scene(self._image, self._name, scene)[1:]
            self._dtype: np.dtype[Any] = np.dtype(self._image.dtype)
        self._channel = choose_stream(self._name, "channel", self._channels, channel, first=1)
        values = {axis: self._axis_values(self._image, axis, sizes.get(axis, 1)) for axis in _STREAMS}
        self._others = {
            axis: choose_stream(self._name, option, values[axis] if len(values[axis]) > 1 else (), given[axis])
            for axis, option in _STREAMS.items()
        }
        self._notes: tuple[str, ...] = ()
        self._kept: np.ndarray | None = None
        self._missing = np.empty(0, np.int64)
        with at_the_border(self._name, self.package):
            self._sizes = self._checked(sizes)
            self.is_volumetric = self._sizes["Z"] > 1
            for note in self._omissions():
                self._report(note)
            self._rate = self._file_rate()

    def get_image_shape(self) -> tuple[int, int]:
        return self._sizes["Y"], self._sizes["X"]

    def get_num_samples(self) -> int:
        return self._sizes["T"]

    def get_num_planes(self) -> int:
        return self._sizes["Z"]

    def get_dtype(self) -> np.dtype[Any]:
        return self._dtype.newbyteorder("=")

    def get_sampling_frequency(self) -> float | None:
        """Return the rate by the interval between samples that the file states, or None."""
        return self._rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return when the first plane of each sample was acquired, or None if the file has no times.

        If samples are missing, those of a file without times are counted on the grid of the rate.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        times, rate = self._recorded_times(start, end), self.get_sampling_frequency()
        # If only samples at the end are missing, the times are a regular grid, which the rate gives
        if times is not None or rate is None or self._kept is None or self._kept[-1] == len(self._kept) - 1:
            return times
        return np.asarray(self._kept[start:end] / rate)

    def get_missing_samples(self) -> np.ndarray:
        return self._missing.copy()

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        return self._part(samples, rows, columns, slice(0, 1) if planes is None else planes)

    def get_metadata(self) -> RecordingMetadata:
        return self._ask_once("metadata", self._file_metadata)

    def get_notes(self) -> tuple[str, ...]:
        if self._sizes["Y"] == 1 and self.is_volumetric:
            return (f"{self._name} was scanned along columns and planes, so a frame has one row", *self._notes)
        return self._notes

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the scenes, and the channels of the chosen or the first scene."""
        path = cls._path_of(file_path)
        name = printable(os.path.basename(path))
        with at_the_border(name, cls.package):
            image = cls._open_image(path)
            scenes, _, sizes, channels = cls._choose_scene(image, name, options.get("scene", 0))
            streams = {"scene": scenes, "channel": channels}
            for axis, option in _STREAMS.items():
                streams[option] = cls._axis_values(image, axis, sizes.get(axis, 1))
        return {option: values for option, values in streams.items() if len(values) > 1}

    # Calls of bioio

    @classmethod
    def _path_of(cls, file_path: Any) -> str:
        return str(single_file(file_path, may_be_folder=cls.takes_folders))

    @classmethod
    def _open_image(cls, path: str) -> Any:
        """Return bioio's object for a file: the plugin's own reader, which does not join tiles or add axes."""
        module = cls._import_package(path)
        return module.Reader(path) if cls.package != "bioio" else module.BioImage(path).reader

    @classmethod
    def _import_package(cls, path: str) -> Any:
        try:
            return import_module(cls.package)
        except ImportError as error:
            raise MissingDependencyError(
                f"{printable(os.path.basename(path))} needs {cls.package.replace('_', '-')}, which cannot be imported "
                f"({printable(error)}); python -m pip install {cls.advice}"
            ) from error

    @classmethod
    def _choose_scene(
        cls, image: Any, name: str, scene: str | int | None
    ) -> tuple[tuple[str, ...], int, dict[str, int], tuple[str, ...]]:
        """Choose the scene, and return the scenes, its number, its sizes by axis, and its channels."""
        scenes = _labels(image.scenes, first=0)
        number = choose_stream(name, "scene", scenes, scene, first=0)
        image.set_scene(number)
        sizes = {axis: int(n) for axis, n in zip(image.dims.order, image.dims.shape, strict=True)}
        channels = _labels(cls._channel_names(image) or (), count=sizes.get("C", 1), first=1)
        return scenes, number, sizes, channels

    @classmethod
    def _channel_names(cls, image: Any) -> Sequence[Any] | None:
        names: Sequence[Any] | None = image.channel_names
        return names

    @classmethod
    def _axis_values(cls, image: Any, axis: str, count: int) -> tuple[str, ...]:
        """Return the values of an axis to choose from."""
        return tuple(str(k) for k in range(count))

    def _part(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> np.ndarray:
        count = samples.stop - samples.start if isinstance(samples, slice) else len(samples)
        shape = (count, rows.stop - rows.start, columns.stop - columns.start, planes.stop - planes.start)
        if 0 in shape:
            return np.empty(shape if self.is_volumetric else shape[:3], self.get_dtype())
        with self._lock, at_the_border(self._name, self.package, reads_pixels=True):
            found = self._read(samples, rows, columns, planes)
        if found.shape != (shape[0], shape[3], shape[1], shape[2]):
            raise CorruptRecordingError(
                f"{self._name}: {self.package} returned the shape {found.shape}, expected {(shape[0], shape[3], shape[1], shape[2])}"
            )
        owned = np.array(found, dtype=self.get_dtype(), order="C")
        return np.moveaxis(owned, 1, 3) if self.is_volumetric else owned[:, 0].copy()

    def _read(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> Any:
        """Return ``(samples, planes, rows, columns)``."""
        samples = samples if self._kept is None else self._kept[samples]
        axes = self._image.dims.order
        one = {axis: self._others.get(axis, 0) for axis in axes if axis not in "TCZYX"}
        one |= {"C": self._channel} if "C" in axes else {}
        if not self.reads_parts:
            lazy = self._image.get_image_dask_data("TZYX", **one)
            # No threads of dask: bioio does one read at a time
            return lazy[samples][:, planes, rows, columns].compute(scheduler="synchronous")
        wanted = {"T": samples if isinstance(samples, slice) else samples.tolist(), "Z": planes}
        found = self._image.get_image_data("TZYX", **one, **{axis: wanted[axis] for axis in wanted if axis in axes})
        found = found if "T" in axes else found[samples]  # an image without T has one sample
        return found[:, slice(None) if "Z" in axes else planes, rows, columns]

    def _file_rate(self) -> float | None:
        interval = self._image.time_interval
        if not interval or self._sizes["T"] < 2:
            return None
        seconds = interval.total_seconds() if isinstance(interval, timedelta) else to_seconds(interval, self._unit("T"))
        return 1.0 / seconds if seconds and seconds > 0 else None

    def _omissions(self) -> tuple[str, ...]:
        """Return notes on parts of the recording that are missing from the file or cannot be read."""
        return ()

    def _recorded_times(self, start: int, end: int) -> np.ndarray | None:
        """Return the times that the file states for a range of samples, or None."""
        return None

    def _keep_whole(self, are_whole: np.ndarray, why: str) -> tuple[str, ...]:
        """Leave out samples that are not whole, and return a note that says so.

        Parameters
        ----------
        are_whole : numpy.ndarray
            One bool for each sample as acquired.
        why : str
            The reason that the others are incomplete.
        """
        kept, total = np.flatnonzero(are_whole), len(are_whole)
        if len(kept) == 0:
            raise TruncatedRecordingError(f"{self._name}: none of its {total:,} samples is complete: {why}")
        self._sizes["T"] = len(kept)
        if len(kept) == total:
            return ()
        self._kept, self._missing = kept, np.flatnonzero(~are_whole)
        first = ", ".join(f"{k:,}" for k in self._missing[:3]) + (", ..." if len(self._missing) > 3 else "")
        words = f"samples {first} are" if len(self._missing) > 1 else f"sample {first} is"
        return (
            f"{self._name}: {len(kept):,} of {total:,} samples are complete and can be read; {words} left out: {why}",
        )

    def _report(self, note: str, category: type[RoiExtractorsWarning] | None = IncompleteRecordingWarning) -> None:
        """Add a note, and issue it as a warning of the category, if there is one."""
        if note not in self._notes:
            self._notes = (*self._notes, note)
            if category is not None:
                warn(note, category)

    def _file_metadata(self) -> RecordingMetadata:
        rows, columns, spacing = (positive(self._micrometres(axis)) for axis in "YXZ")
        described = self._described()
        name = self._channels[self._channel] if self._channels else ""
        light = ("detection_band", "laser_lines", "laser_power", "exposure_time")
        light_path = {key: described[key] for key in light if described.get(key)}
        channel = ChannelMetadata(name, described.get("emission"), described.get("excitation"), **light_path)
        depth, start = described.get("bit_depth"), described.get("start")
        return RecordingMetadata(
            # Clocks that were never set count from an epoch
            start_time=start if start is not None and start.year > 1970 else None,
            pixel_size=(rows, columns) if rows and columns else None,
            plane_spacing=spacing if self.is_volumetric else None,
            channels=(channel,) if name or light_path else (),
            objective=_objective(*(described.get(key) for key in ("objective", "magnification", "aperture"))),
            zoom=positive(described.get("zoom")),
            bit_depth=int(depth) if depth and 0 < depth <= 8 * self._dtype.itemsize else None,
            modality=described.get("modality"),
            device=described.get("device") or None,
            software=described.get("software") or None,
            vendor=self._vendor(),
        )

    def _vendor(self) -> dict[str, Any]:
        return {"bioio": self.package}

    def _micrometres(self, axis: str) -> float | None:
        """Return the distance between neighbours on an axis; None where its unit is unknown."""
        return to_micrometres(getattr(self._image.physical_pixel_sizes, axis), self._unit(axis))

    def _unit(self, axis: str) -> str:
        return str(getattr(getattr(self._image.dimension_properties, axis), "unit", ""))

    def _described(self) -> dict[str, Any]:
        """Return facts about the channel and the instrument.

        ``start``, ``emission``, ``excitation``, ``device``, ``software``, ``objective``, ``magnification``, ``aperture``, ``zoom``,
        ``bit_depth``, ``modality``, ``detection_band``, ``laser_lines``, ``laser_power`` and ``exposure_time``; any may be absent.
        """
        return _described(self._image, self._scene, self._channel)

    # Checks

    def _checked(self, sizes: dict[str, int]) -> dict[str, int]:
        for axis, size in sizes.items():
            if axis not in "TCZYX" and axis not in _STREAMS and size > 1:
                words = _OTHER_AXES.get(axis, "values")
                raise UnsupportedRecordingError(
                    f"{self._name} has an axis {printable(axis)} of {size:,} {words}; expected only T, C, Z, Y and X, "
                    "so export it without that axis"
                )
        if self._dtype.kind not in "biufc":
            raise UnsupportedRecordingError(f"{self._name} has the type {self._dtype}; pixels must be numbers")
        return {axis: sizes.get(axis, 1) for axis in "TZYX"}

    def _ask_once(self, key: str, ask: Callable[[], _Value]) -> _Value:
        """Return a value that is slow to read; it is read at the first call only."""
        with self._lock:
            if key not in self._known:
                with at_the_border(self._name, self.package):
                    self._known[key] = ask()
            value: _Value = self._known[key]
            return value


@contextlib.contextmanager
def at_the_border(name: str, package: str, *, reads_pixels: bool = False) -> Iterator[None]:
    """Raise the errors of another library as errors of this one.

    Metadata is small, so running out of memory while reading it means that a damaged file claims an impossible length.
    """
    try:
        yield
    except RoiExtractorsError:
        raise
    except Exception as error:  # each library raises its own types, down to AssertionError, for a damaged file
        if isinstance(error, MemoryError) and reads_pixels:  # the user asked for more than fits into memory
            raise
        # EINVAL: an offset that no file can have
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        words = f"{type(error).__name__}: {printable(error)[:300]}"
        raise CorruptRecordingError(f"{name} cannot be read by {package}: {words}") from error


def _labels(names: Sequence[Any], *, count: int | None = None, first: int) -> tuple[str, ...]:
    """Return the names to choose from: the names themselves if they differ, else their numbers."""
    found = tuple(printable(name) for name in names)
    count = len(found) if count is None else count
    if len(found) == count == len(set(found)) and all(found):
        return found
    return tuple(str(k + first) for k in range(count))


def _described(image: Any, scene: int, channel: int) -> dict[str, Any]:
    """Return facts from the plugin's OME metadata; empty for a plugin without any."""
    try:
        ome = image.ome_metadata
        stated = ome.images[scene if scene < len(ome.images) else 0]
    except (NotImplementedError, AttributeError, IndexError, ValueError):
        return {}
    found: dict[str, Any] = {"start": stated.acquisition_date, "bit_depth": stated.pixels.significant_bits}
    if channel < len(stated.pixels.channels):
        one = stated.pixels.channels[channel]
        found |= {"emission": _wave(one, "emission"), "excitation": _wave(one, "excitation")}
        found["modality"] = _MODALITIES.get(getattr(one.acquisition_mode, "value", ""))
    lenses = [lens for instrument in ome.instruments for lens in instrument.objectives]
    used = getattr(stated.objective_settings, "id", None)
    for lens in lenses:
        if lens.id == used or len(lenses) == 1:  # the only objective is the one used, even without a reference
            found |= {"objective": lens.model, "magnification": lens.nominal_magnification, "aperture": lens.lens_na}
    for instrument in ome.instruments:
        parts = [instrument.microscope, *instrument.detectors]
        words = [" ".join(filter(None, (p.manufacturer, p.model))) for p in parts if p is not None]
        found["device"] = next((printable(word) for word in words if word), None)
    return found


def positive(value: float | None) -> float | None:
    """Return the value if it is positive and finite, else None."""
    return value if value is not None and math.isfinite(value) and value > 0 else None


def regular_rate(times: np.ndarray, numbers: np.ndarray | None = None) -> float | None:
    """Return the rate (Hz) by the median period of regular times, or None if they are not regular.

    Parameters
    ----------
    times : numpy.ndarray
        Seconds.
    numbers : numpy.ndarray, optional
        Numbers of the samples as acquired, if some of them are missing.
    """
    periods = np.diff(times) if numbers is None else np.diff(times) / np.diff(numbers)
    if len(periods) == 0 or not np.isfinite(periods).all():
        return None
    median = float(np.median(periods))
    is_regular = median > 0 and np.abs(periods - median).max() <= _MAX_JITTER * median
    return 1.0 / median if is_regular else None


def _objective(name: str | None, magnification: float | None, aperture: float | None) -> ObjectiveMetadata | None:
    parts = (printable(name).strip() or None if name else None, positive(magnification), positive(aperture))
    return ObjectiveMetadata(*parts) if any(parts) else None


def _wave(channel: Any, kind: str) -> float | None:
    value, unit = getattr(channel, f"{kind}_wavelength"), getattr(channel, f"{kind}_wavelength_unit")
    return float(value) if value and getattr(unit, "value", unit) == "nm" else None


def moment(ticks: int) -> datetime:
    """Return the time (UTC) that is the given number of 100 ns units after 1 January 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10)

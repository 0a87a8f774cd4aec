"""Reads images through bioio's plugins: T as samples, Z as planes, C and scenes as streams."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np

from roiextractors_core import BlockImagingExtractor, ChannelMetadata, ObjectiveMetadata, RecordingMetadata
from roiextractors_core.errors import (
    CorruptRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import (
    ProcessLock,
    choose_stream,
    import_library,
    library_errors,
    single_file,
    to_micrometres,
    to_seconds,
)

__all__ = ["BioioImagingExtractor"]

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
        bioio is not installed.
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
        self._path = _path_of(file_path)
        self._name = printable(os.path.basename(self._path))
        self._lock = ProcessLock()
        self._known: dict[str, Any] = {}
        with library_errors(self._name, "bioio"):
            self._image = self._open_image(self._path)
            self._scene, sizes, self._channels = self._choose_scene(self._image, self._name, scene)[1:]
            self._dtype: np.dtype[Any] = np.dtype(self._image.dtype)
        self._channel = choose_stream(self._name, "channel", self._channels, channel, first=1)
        values = {axis: self._axis_values(self._image, axis, sizes.get(axis, 1)) for axis in _STREAMS}
        self._others = {
            axis: choose_stream(self._name, option, values[axis] if len(values[axis]) > 1 else (), given[axis])
            for axis, option in _STREAMS.items()
        }
        with library_errors(self._name, "bioio"):
            self._sizes = self._checked(sizes)
            self.is_volumetric = self._sizes["Z"] > 1
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

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        return self._part(samples, rows, columns, slice(0, 1) if planes is None else planes)

    def get_metadata(self) -> RecordingMetadata:
        return self._ask_once("metadata", self._file_metadata)

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the scenes, and the channels of the chosen or the first scene."""
        path = _path_of(file_path)
        name = printable(os.path.basename(path))
        with library_errors(name, "bioio"):
            image = cls._open_image(path)
            scenes, _, sizes, channels = cls._choose_scene(image, name, options.get("scene", 0))
            streams = {"scene": scenes, "channel": channels}
            for axis, option in _STREAMS.items():
                streams[option] = cls._axis_values(image, axis, sizes.get(axis, 1))
        return {option: values for option, values in streams.items() if len(values) > 1}

    # Calls of bioio

    @classmethod
    def _open_image(cls, path: str) -> Any:
        """Return bioio's object for a file: the plugin's own reader, which does not join tiles or add axes."""
        return import_library("bioio", printable(os.path.basename(path))).BioImage(path).reader

    @classmethod
    def _choose_scene(
        cls, image: Any, name: str, scene: str | int | None
    ) -> tuple[tuple[str, ...], int, dict[str, int], tuple[str, ...]]:
        """Choose the scene, and return the scenes, its number, its sizes by axis, and its channels."""
        scenes = _labels(image.scenes, first=0)
        number = choose_stream(name, "scene", scenes, scene, first=0)
        image.set_scene(number)
        sizes = {axis: int(n) for axis, n in zip(image.dims.order, image.dims.shape, strict=True)}
        channels = _labels(image.channel_names or (), count=sizes.get("C", 1), first=1)
        return scenes, number, sizes, channels

    @classmethod
    def _axis_values(cls, image: Any, axis: str, count: int) -> tuple[str, ...]:
        """Return the values of an axis to choose from."""
        return tuple(str(k) for k in range(count))

    def _part(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> np.ndarray:
        count = samples.stop - samples.start if isinstance(samples, slice) else len(samples)
        shape = (count, rows.stop - rows.start, columns.stop - columns.start, planes.stop - planes.start)
        if 0 in shape:
            return np.empty(shape if self.is_volumetric else shape[:3], self.get_dtype())
        with self._lock, library_errors(self._name, "bioio", reads_pixels=True):
            found = self._read(samples, rows, columns, planes)
        if found.shape != (shape[0], shape[3], shape[1], shape[2]):
            raise CorruptRecordingError(
                f"{self._name}: bioio returned the shape {found.shape}, expected {(shape[0], shape[3], shape[1], shape[2])}"
            )
        owned = np.array(found, dtype=self.get_dtype(), order="C")
        return np.moveaxis(owned, 1, 3) if self.is_volumetric else owned[:, 0].copy()

    def _read(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> Any:
        """Return ``(samples, planes, rows, columns)``."""
        axes = self._image.dims.order
        one = {axis: self._others.get(axis, 0) for axis in axes if axis not in "TCZYX"}
        one |= {"C": self._channel} if "C" in axes else {}
        lazy = self._image.get_image_dask_data("TZYX", **one)
        # No threads of dask: bioio does one read at a time
        return lazy[samples][:, planes, rows, columns].compute(scheduler="synchronous")

    def _file_rate(self) -> float | None:
        interval = self._image.time_interval
        if not interval or self._sizes["T"] < 2:
            return None
        seconds = interval.total_seconds() if isinstance(interval, timedelta) else to_seconds(interval, self._unit("T"))
        return 1.0 / seconds if seconds and seconds > 0 else None

    def _file_metadata(self) -> RecordingMetadata:
        rows, columns, spacing = (_positive(self._micrometres(axis)) for axis in "YXZ")
        described = _described(self._image, self._scene, self._channel)
        name = self._channels[self._channel] if self._channels else ""
        channel = ChannelMetadata(name, described.get("emission"), described.get("excitation"))
        depth, start = described.get("bit_depth"), described.get("start")
        return RecordingMetadata(
            # Clocks that were never set count from an epoch
            start_time=start if start is not None and start.year > 1970 else None,
            pixel_size=(rows, columns) if rows and columns else None,
            plane_spacing=spacing if self.is_volumetric else None,
            channels=(channel,) if name else (),
            objective=_objective(*(described.get(key) for key in ("objective", "magnification", "aperture"))),
            bit_depth=int(depth) if depth and 0 < depth <= 8 * self._dtype.itemsize else None,
            modality=described.get("modality"),
            device=described.get("device") or None,
            vendor=self._vendor(),
        )

    def _vendor(self) -> dict[str, Any]:
        return {"bioio": str(type(self._image).__module__).partition(".")[0]}

    def _micrometres(self, axis: str) -> float | None:
        """Return the distance between neighbours on an axis; None where its unit is unknown."""
        return to_micrometres(getattr(self._image.physical_pixel_sizes, axis), self._unit(axis))

    def _unit(self, axis: str) -> str:
        return str(getattr(getattr(self._image.dimension_properties, axis), "unit", ""))

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
                with library_errors(self._name, "bioio"):
                    self._known[key] = ask()
            value: _Value = self._known[key]
            return value


def _path_of(file_path: Any) -> str:
    return str(single_file(file_path, may_be_folder=True))


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


def _positive(value: float | None) -> float | None:
    """Return the value if it is positive and finite, else None."""
    return value if value is not None and math.isfinite(value) and value > 0 else None


def _objective(name: str | None, magnification: float | None, aperture: float | None) -> ObjectiveMetadata | None:
    parts = (printable(name).strip() or None if name else None, _positive(magnification), _positive(aperture))
    return ObjectiveMetadata(*parts) if any(parts) else None


def _wave(channel: Any, kind: str) -> float | None:
    value, unit = getattr(channel, f"{kind}_wavelength"), getattr(channel, f"{kind}_wavelength_unit")
    return float(value) if value and getattr(unit, "value", unit) == "nm" else None

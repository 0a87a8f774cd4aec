"""Leica LIF through liffile, which finds a frame without indexing all of them; contiguous frames by positioned reads."""

from __future__ import annotations

import functools
import inspect
import io
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from roiextractors_core import BlockImagingExtractor, ChannelMetadata, ObjectiveMetadata, RecordingMetadata
from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    RoiExtractorsWarning,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io import (
    PositionedFile,
    ProcessLock,
    StoredFrames,
    choose_stream,
    import_library,
    library_errors,
    missing_samples,
    regular_rate,
    single_file,
    to_seconds,
    warn,
)

from .facts import AXES, axis_of, channels_of, describe, moment, stamps_of

__all__ = ["LifImagingExtractor"]

_FROM_1601_TO_1970 = 116_444_736_000_000_000  # in 100 ns: time stamps are Windows FILETIMEs
_STREAMS = {"M": "tile", "H": "phase", "I": "illumination", "V": "view", "R": "rotation", "B": "block"}
_OTHER_AXES = {"S": "colour samples", "A": "rotations", "λ": "emission wavelengths", "Λ": "excitation wavelengths"}


class _Image(NamedTuple):
    """The facts of one image of a file."""

    sizes: dict[str, int]
    dtype: np.dtype[Any]
    element: ElementTree.Element
    offset: int
    nbytes: int
    channels: tuple[str, ...]

    @property
    def described_bytes(self) -> int:
        return math.prod(self.sizes.values()) * self.dtype.itemsize


class LifImagingExtractor(BlockImagingExtractor):
    """One channel of one image of a Leica LIF file.

    The clock is 0 s at the image's first time stamp.

    Parameters
    ----------
    file_path : str or os.PathLike
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the rate in the file.
    scene : str or int, optional
        One of several images, by its name, or by its number from 0.
    channel : str or int, optional
        One of several channels, by its name, or by its number from 1.
    tile, phase, illumination, view, rotation, block : int or str, optional
        One of several values of an axis beyond time, channel and planes: the tiles of a mosaic, and so on.

    Raises
    ------
    MissingDependencyError
        The library liffile is not installed.
    StreamChoiceError
        Several images, channels or tiles, and none was named; or the named one does not exist.
    UnsupportedRecordingError
        Axes that cannot be chosen from, such as colour samples.
    TruncatedRecordingError
        No sample is complete.
    CorruptRecordingError
        The file is damaged.

    References
    ----------
    The package liffile: memory blocks, dimensions, frames, ``TimeStampList``.
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
        self._path = str(single_file(file_path))
        self._name = printable(os.path.basename(self._path))
        self._lock = ProcessLock()
        self._file = PositionedFile(self._path)
        self._known_metadata: RecordingMetadata | None = None
        self._notes: tuple[str, ...] = ()
        self._missing = np.empty(0, np.int64)
        scenes, self._scene, self._image = _read_image(self._path, self._name, scene)
        self._scene_name = scenes[self._scene]
        self._channel = choose_stream(self._name, "channel", self._image.channels, channel, first=1)
        self._others = {
            axis: choose_stream(self._name, option, _values(self._image, axis), given[axis])
            for axis, option in _STREAMS.items()
        }
        with library_errors(self._name, "liffile"):
            self._sizes = self._checked()
            self.is_volumetric = self._sizes["Z"] > 1
            self._frames = self._stored_frames()
            note = self._omission()
            if note:
                self._report(note)
            self._stated_times = self._read_times()
            self._rate = self._file_rate()

    def get_image_shape(self) -> tuple[int, int]:
        return self._sizes["Y"], self._sizes["X"]

    def get_num_samples(self) -> int:
        return self._sizes["T"]

    def get_num_planes(self) -> int:
        return self._sizes["Z"]

    def get_dtype(self) -> np.dtype[Any]:
        return self._image.dtype.newbyteorder("=")

    def get_sampling_frequency(self) -> float | None:
        """Return the nominal rate, which is the steps on the time axis divided by its length in seconds, else that of regular times."""
        return self._rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return when each sample began, or None if the file has no times."""
        start, end = self.resolve_range(start_sample, end_sample)
        return None if self._stated_times is None else np.array(self._stated_times[start:end])

    def get_missing_samples(self) -> np.ndarray:
        return self._missing.copy()

    def get_notes(self) -> tuple[str, ...]:
        if self._sizes["Y"] == 1 and self.is_volumetric:
            return (f"{self._name} was scanned along columns and planes, so a frame has one row", *self._notes)
        return self._notes

    def close(self) -> None:
        self._file.close()
        super().close()

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the images, and the channels of the chosen or the first image."""
        path = str(single_file(file_path))
        scenes, _, image = _read_image(path, printable(os.path.basename(path)), options.get("scene", 0))
        streams = {"scene": scenes, "channel": image.channels}
        streams |= {option: _values(image, axis) for axis, option in _STREAMS.items()}
        return {option: values for option, values in streams.items() if len(values) > 1}

    # Frames

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        found = self._read_planes(samples, rows, columns, slice(0, 1) if planes is None else planes)
        return np.ascontiguousarray(np.moveaxis(found, 1, 3)) if self.is_volumetric else found[:, 0]

    def _read_planes(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> np.ndarray:
        """Return ``(samples, planes, rows, columns)``."""
        count = len(range(len(self))[samples]) if isinstance(samples, slice) else len(samples)
        shape = (count, planes.stop - planes.start, rows.stop - rows.start, columns.stop - columns.start)
        if 0 in shape:
            return np.empty(shape, self.get_dtype())
        if self._frames is not None:
            t = np.arange(samples.start, samples.stop) if isinstance(samples, slice) else np.asarray(samples)
            z = np.arange(planes.start, planes.stop)
            places = self._first + t[:, np.newaxis] * self._step("T") + z * self._step("Z")
            return self._frames.read(places.ravel(), rows, columns).reshape(shape)
        with self._lock, library_errors(self._name, "liffile", reads_pixels=True):
            found = self._by_library(samples, rows, columns, planes)
        if found.shape != shape:
            raise CorruptRecordingError(f"{self._name}: liffile returned the shape {found.shape}, expected {shape}")
        return np.array(found, dtype=self.get_dtype(), order="C")

    def _stored_frames(self) -> StoredFrames | None:
        """Return the frames if the pixels of each are neighbours in the file, else None: then the library arranges them."""
        image, size = self._image, self._image.dtype.itemsize
        steps = {axis: self._step(axis) for axis in image.sizes if axis in AXES}
        known = all(axis in (*AXES, "C") or n == 1 for axis, n in image.sizes.items())
        if not known or steps.get("X") != size or steps.get("Y") != size * self._sizes["X"]:
            return None
        others = sum(self._step(axis) * index for axis, index in self._others.items() if axis in AXES)
        self._first = image.offset + self._channel_offset() + others
        return StoredFrames([self._file], shape=(self._sizes["Y"], self._sizes["X"]), dtype=image.dtype)

    def _by_library(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> np.ndarray:
        wanted = {
            "T": samples if isinstance(samples, slice) else samples.tolist(),
            "Z": planes,
            "C": [self._channel],
        }
        with _Bounded(self._path) as stream, _library(self._name).LifFile(stream) as file:
            image = file.images[self._scene]
            inside = image.frames.frame_dims
            # liffile selects whole frames: axes inside of a frame are indexed after decoding
            chosen = {axis: value for axis, value in wanted.items() if axis in image.sizes and axis not in inside}
            others = {axis: [self._others.get(axis, 0)] for axis in image.sizes if axis not in "TCZYX"}
            frames = image.frames(**chosen, **others)
            found, axes = frames.asarray(), "".join(frames.dims)
        for axis in filter(axes.__contains__, others):
            found, axes = found.take(0, axes.index(axis)), axes.replace(axis, "")
        for axis in "TCZYX":
            if axis not in axes:
                found, axes = found[np.newaxis], axis + axes
        found = found.transpose([axes.index(axis) for axis in "CTZYX"])[0]
        kept = found if "T" in chosen else found[samples]
        part: np.ndarray = kept[:, slice(None) if "Z" in chosen else planes, rows, columns]
        return part

    def _step(self, axis: str) -> int:
        """Return the bytes from one value of an axis to the next."""
        return int(axis_of(self._image.element, axis).get("BytesInc", 0))

    def _channel_offset(self) -> int:
        described = channels_of(self._image.element)
        return int(described[self._channel].get("BytesInc", 0)) if self._channel < len(described) else 0

    # Checks

    def _checked(self) -> dict[str, int]:
        for axis, size in self._image.sizes.items():
            if axis not in "TCZYX" and axis not in _STREAMS and size > 1:
                words = _OTHER_AXES.get(axis, "values")
                raise UnsupportedRecordingError(
                    f"{self._name} has an axis {printable(axis)} of {size:,} {words}; expected only T, C, Z, Y and X, "
                    "so export it without that axis"
                )
        if self._image.dtype.kind not in "biufc":
            raise UnsupportedRecordingError(f"{self._name} has the type {self._image.dtype}; pixels must be numbers")
        return {axis: self._image.sizes.get(axis, 1) for axis in "TZYX"}

    def _omission(self) -> str:
        """Leave out samples that end beyond the pixels that are there, and samples that were not recorded; return a note on them."""
        image, stated, described = self._image, self._sizes["T"], self._image.described_bytes
        step, first_end = self._extent()
        stamps = len(stamps_of(image.element))
        if described and image.nbytes >= 2 * described and image.nbytes % described == 0:
            self._report(
                f"{self._name}: the pixels of {self._scene_name!r} take {image.nbytes // described:,} times as many bytes as its "
                "axes describe; only the first part is read",
                RoiExtractorsWarning,
            )
        there = min(max(0, os.stat(self._path).st_size - image.offset), image.nbytes)
        whole = min(stated, (there - first_end) // step + 1 if there >= first_end else 0)
        if whole < stated:
            words = f"{self._name} ends inside its image {self._scene_name!r}"
            if whole == 0:
                raise TruncatedRecordingError(
                    f"{words}: {there:,} of {max(described, image.nbytes):,} bytes of pixels are present"
                )
            note = f"{words}: {whole:,} of {stated:,} samples are complete and can be read"
        # Zeros at the end are data if each sample has a time stamp; reading them comes last, as it decodes pixels
        elif 0 < stamps < stated and (recorded := self._last_recorded(stated)) < stated:
            whole, note = recorded, f"{self._name} was stopped early: {recorded:,} of {stated:,} samples were recorded"
        else:
            return ""
        self._sizes["T"], self._missing = whole, missing_samples(stated, whole)
        return note

    def _extent(self) -> tuple[int, int]:
        """Return the bytes from one sample to the next, and where the first sample of the chosen streams ends."""
        inside = sum((self._image.sizes.get(axis, 1) - 1) * self._step(axis) for axis in "XYZ")
        others = sum(self._step(axis) * index for axis, index in self._others.items() if axis in AXES)
        return max(1, self._step("T")), inside + self._channel_offset() + others + self._image.dtype.itemsize

    def _last_recorded(self, stated: int) -> int:
        """Return the number of samples before those of zeros at the end."""
        for sample in range(stated - 1, 0, -1):
            rows, columns, planes = (slice(0, self._sizes[axis]) for axis in "YXZ")
            if self._read_planes(slice(sample, sample + 1), rows, columns, planes).any():
                return sample + 1
        return 1

    def _report(self, note: str, category: type[RoiExtractorsWarning] | None = IncompleteRecordingWarning) -> None:
        """Add a note, and issue it as a warning of the category, if there is one."""
        self._notes = (*self._notes, note)
        if category is not None:
            warn(note, category)

    # Times

    def _file_rate(self) -> float | None:
        axis = axis_of(self._image.element, "T")
        steps = int(axis.get("NumberOfElements", 1)) - 1
        length = to_seconds(axis.get("Length", 0), axis.get("Unit")) or 0.0
        if steps > 0 and 0 < length < math.inf:  # the length is from the first to the last sample
            return steps / length
        return None if self._stated_times is None else regular_rate(self._stated_times)

    def _read_times(self) -> np.ndarray | None:
        """Return the first time stamp of each sample in seconds since the image's first, or None if they cannot be assigned."""
        stamps, sizes = stamps_of(self._image.element), self._image.sizes
        axes = list(sizes)
        order = [axis for axis in axes if axis not in "CYX"]
        while order and order[-1] != "T" and order[-1] not in self._others:
            order.pop()  # planes inside of a sample
        if not len(stamps) or ("T" in axes and {"C", "Y"} & set(axes[: axes.index("T")])):
            return None
        counts = [sizes[axis] for axis in order]
        if "T" in sizes and order[0] == "T" and len(stamps) % math.prod(counts):
            counts[0] = len(self)  # an image that was stopped early
        if len(stamps) % math.prod(counts):
            if "T" in sizes:
                self._report(
                    f"{self._name} contains {len(stamps):,} time stamps, which cannot be assigned to its {counted(len(self), 'sample')}",
                    RoiExtractorsWarning,
                )
            return None
        grid = stamps.reshape(*counts, -1)[..., 0]
        chosen = grid[tuple(slice(None) if axis == "T" else self._others.get(axis, 0) for axis in order)]
        times = np.asarray((np.atleast_1d(chosen)[: len(self)] - stamps[0]) / 1e7)
        if len(times) > 1 and (times[-1] <= times[0] or (np.diff(times) < 0).any()):
            self._report(f"{self._name}: its time stamps do not increase, so they are not used", None)
            return None
        return times

    # Metadata

    def get_metadata(self) -> RecordingMetadata:
        with self._lock:
            if self._known_metadata is None:
                with library_errors(self._name, "liffile"):
                    self._known_metadata = self._read_metadata()
            return self._known_metadata

    def _read_metadata(self) -> RecordingMetadata:
        element = self._image.element
        rows, columns, spacing = (_micrometres(element, axis) for axis in "YXZ")
        known = describe(element, self._channel)
        stamps = stamps_of(element)
        start = moment(int(stamps[0]) - _FROM_1601_TO_1970) if len(stamps) else None
        name = self._image.channels[self._channel] if self._image.channels else ""
        light = ("detection_band", "laser_lines", "laser_power", "exposure_time")
        light_path = {key: known[key] for key in light if known.get(key)}
        depth, lens = known.get("bit_depth"), printable(known.get("objective") or "").strip() or None
        parts = (lens, _positive(known.get("magnification")), _positive(known.get("aperture")))
        return RecordingMetadata(
            # Clocks that were never set count from an epoch
            start_time=start if start is not None and start.year > 1970 else None,
            pixel_size=(rows, columns) if rows and columns else None,
            plane_spacing=spacing if self.is_volumetric else None,
            channels=(ChannelMetadata(name, **light_path),) if name or light_path else (),
            objective=ObjectiveMetadata(*parts) if any(parts) else None,
            zoom=_positive(known.get("zoom")),
            bit_depth=int(depth) if depth and 0 < depth <= 8 * self._image.dtype.itemsize else None,
            modality=known.get("modality"),
            device=known.get("device") or None,
            software=known.get("software") or None,
            vendor={"xml": ElementTree.tostring(element, encoding="unicode")},
        )


def _read_image(path: str, name: str, scene: str | int | None) -> tuple[tuple[str, ...], int, _Image]:
    """Return the images of a file, the number of the chosen one, and its facts; the file is open only meanwhile."""
    library = _library(name)
    with library_errors(name, "liffile"), _Bounded(path) as stream, library.LifFile(stream) as file:
        scenes = _labels([image.path for image in file.images], count=len(file.images), first=0)
        number = choose_stream(name, "scene", scenes, scene, first=0)
        image = file.images[number]
        sizes = {str(axis): int(n) for axis, n in image.sizes.items()}
        named = [channel.get("LUTName") for channel in channels_of(image.xml_element)]
        block = image.memory_block
        return (
            scenes,
            number,
            _Image(
                sizes,
                np.dtype(image.dtype),
                image.xml_element,
                int(block.offset),
                int(block.size),
                _labels(named, count=sizes.get("C", 1), first=1),
            ),
        )


def _library(name: str) -> Any:
    library = import_library("liffile", name, submodule="liffile")
    _free_locks(library)
    return library


@functools.cache
def _free_locks(library: Any) -> None:
    """Make the cached properties of liffile free in a forked process.

    Before Python 3.12 a cached property has a lock for all objects of its class.  liffile computes some at every read, and
    a process that is forked meanwhile would wait for ever.
    """
    for kind in filter(inspect.isclass, list(vars(library).values())):
        for item in list(vars(kind).values()):
            if isinstance(item, functools.cached_property) and hasattr(item, "lock"):
                item.lock = ProcessLock()


class _Bounded(io.FileIO):
    """A file that limits reads to its own size: a damaged length would otherwise allocate any amount of memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or not 0 <= size < left else size)


def _values(image: _Image, axis: str) -> tuple[str, ...]:
    """Return the values of an axis to choose from."""
    count = image.sizes.get(axis, 1)
    return tuple(map(str, range(count))) if count > 1 else ()


def _micrometres(element: ElementTree.Element, axis: str) -> float | None:
    """Return the distance between neighbours on an axis; None where its unit is unknown."""
    found = axis_of(element, axis)
    steps = int(found.get("NumberOfElements", 1)) - 1  # Length is from the first to the last pixel
    return _positive(float(found.get("Length", 0)) / steps * 1e6) if found.get("Unit") == "m" and steps > 0 else None


def _labels(names: Sequence[Any], *, count: int, first: int) -> tuple[str, ...]:
    """Return the names to choose from: the names themselves if they differ, else their numbers."""
    found = tuple(printable(name) for name in names)
    if len(found) == count == len(set(found)) and all(found):
        return found
    return tuple(str(k + first) for k in range(count))


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None

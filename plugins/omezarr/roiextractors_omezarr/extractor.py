"""Reads OME-Zarr images as recordings."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roiextractors_core import BlockImagingExtractor, ChannelMetadata, RecordingMetadata
from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsWarning,
    SourceKindError,
    SourceNotFoundError,
    StreamChoiceError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import (
    SIDECAR_KEY,
    MissingChunks,
    Sidecar,
    ZarrArray,
    ZarrGroup,
    at_positions,
    choose_stream,
    describe_disorder,
    is_folder,
    missing_chunks,
    open_zarr,
    present_zarr_chunks,
    require_few_chunks,
    to_micrometres,
    to_seconds,
    warn,
)

from .containers import image_paths
from .described import Described, described_in

__all__ = ["OmeZarrImagingExtractor", "StoredImage"]


_NOTHING = ChannelMetadata("").to_dict()


class OmeZarrImagingExtractor(BlockImagingExtractor):
    """One channel of an OME-Zarr image, at full resolution.

    Parameters
    ----------
    file_path : str or os.PathLike
        The folder of an image, or of a collection of images: by bioformats2raw, a plate or a well, or groups of any names.
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the scale of the time axis.
    series : str or int, optional
        One of several images, by the path of its group: ``"0"``, ``"A/1/0"`` (row, column and field of a plate).
    channel : str or int, optional
        One of several channels, by its label or by its number from 1.
    plane : str or int, optional
        One plane of a volume, from 0; the recording is then planar.

    Raises
    ------
    StreamChoiceError
        Several images or channels, and none was named; or the named one does not exist.
    UnsupportedRecordingError
        A label image, or axes beyond time, channel and space.
    CorruptRecordingError
        The attributes contradict the arrays, or a chunk does not decode.

    References
    ----------
    OME-NGFF specification, versions 0.1 to 0.5, "multiscales" and "omero" metadata; bioformats2raw layout 3.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        sampling_frequency: float | None = None,
        series: str | int | None = None,
        channel: str | int | None = None,
        plane: str | int | None = None,
    ) -> None:
        folder = os.fspath(file_path)
        name = printable(os.path.basename(folder.rstrip("/\\")) or folder)
        root = _open_group(folder, name)
        self._series = _images(root, folder, name)
        image = StoredImage.of(_chosen_image(root, self._series, series, name), name)
        inside = f"{os.path.relpath(image.array.folder, root.folder).replace(os.sep, '/')}/"
        path = next((one for one in self._series if inside.startswith(f"{one}/")), None)
        described = described_in(folder, path, {axis: image.length(axis) for axis in "tczyx"})
        self._begin(folder, name, image, described, sampling_frequency, channel, plane)

    def _begin(
        self,
        path: str,
        name: str,
        image: StoredImage,
        described: Described,
        sampling_frequency: float | None,
        channel: str | int | None,
        plane: str | int | None,
    ) -> None:
        """Begin to read an image, whatever describes it."""
        super().__init__(sampling_frequency=sampling_frequency)
        self._path, self._name, self._image, self._described = path, name, image, described
        for words in self._described.doubts:
            warn(f"{self._name}: {words}", RoiExtractorsWarning)
        for words in self._image.doubts:
            warn(words, RoiExtractorsWarning)
        self._channels = self._image.channels
        self._channel = choose_stream(self._name, "channel", self._channels, channel, first=1)
        planes = self._image.length("z")
        self._plane = None if plane is None else choose_stream(self._name, "plane", _numbers(planes), plane)
        self.is_volumetric = planes > 1 and self._plane is None
        self._missing = self._image.missing({"c": self._channel, "z": self._plane})
        for words in self._missing.warnings(self._name):
            warn(words)
        self._companion = self._image.companion((self._image.length("t"), *self.shape[1:]), self._name)
        self._late_notes: tuple[str, ...] = ()
        for words in self._find_doubts():
            warn(words, RoiExtractorsWarning)
            self._late_notes += (words,)

    def _find_doubts(self) -> Iterator[str]:
        """Yield sentences about an array that was changed after the rest of the recording was written."""
        if self._missing.num_outside:
            chunks = f"{self._missing.num_outside:,} chunk{'s' if self._missing.num_outside > 1 else ''}"
            yield f"{self._name}: there are {chunks} outside of the shape {tuple(self._image.array.shape)} of its array, which are not read"
        if self._companion is None and self._plane is None and SIDECAR_KEY in self._image.attributes:
            yield f"{self._name}: the times and metadata in its attributes describe a recording of another shape and are not used"
        elif self._companion is not None and self._companion.times is not None:
            disorder = describe_disorder(self._companion.times)
            if disorder:
                yield f"{self._name}: {disorder}"

    keeps_missing_samples = True

    def get_image_shape(self) -> tuple[int, int]:
        return self._image.length("y"), self._image.length("x")

    def get_num_samples(self) -> int:
        return self._missing.num_samples

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples that lack at least one chunk, which reads as the fill value."""
        return self._missing.samples.copy()

    def get_notes(self) -> tuple[str, ...]:
        """Return notes: the image that is read, contradictions to the specification, and missing chunks."""
        only = (
            (f"{self._name}: its only image, {printable(self._series[0])!r}, is read",)
            if len(self._series) == 1
            else ()
        )
        described = (f"{self._name}: {words}" for words in self._described.doubts)
        return (*only, *described, *self._image.doubts, *self._missing.notes(self._name), *self._late_notes)

    def get_num_planes(self) -> int:
        return self._image.length("z") if self.is_volumetric else 1

    def get_dtype(self) -> np.dtype[Any]:
        return self._image.array.dtype.newbyteorder("=")

    def get_chunk_shape(self) -> tuple[int, ...]:
        own = {axis: int(n) for axis, n in zip(self._image.axes, self._image.array.chunks, strict=True)}
        return tuple(own.get(axis, 1) for axis in ("tyxz" if self.is_volumetric else "tyx"))

    def get_sampling_frequency(self) -> float | None:
        """Return the rate by the scale of the time axis; None without a unit of time, or with one sample."""
        if self._companion is not None:
            return self._companion.rate
        if self._image.length("t") < 2:
            return None
        seconds = self._image.step("t", to_seconds)
        return 1.0 / seconds if seconds else self._described.rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times that ``convert`` stored in the image's attributes, or those of bioformats2raw's OME-XML; else None."""
        start, end = self.resolve_range(start_sample, end_sample)
        if self._companion is not None:
            return None if self._companion.times is None else self._companion.times[start:end].copy()
        times = self._described.times(self._channel, self._plane)
        return None if times is None else times[start:end]

    def get_paths(self) -> tuple[str, ...]:
        own = super().get_paths()
        path = self._described.path
        return own if not path or any(path.startswith(os.path.join(folder, "")) for folder in own) else (*own, path)

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        return self._read(samples, rows, columns, slice(None) if planes is None else planes)

    def close(self) -> None:
        self._image.array.forget()
        super().close()

    def get_metadata(self) -> RecordingMetadata:
        if self._companion is not None:
            return self._companion.metadata
        rows, columns = self._image.step("y", to_micrometres), self._image.step("x", to_micrometres)
        name = self._channels[self._channel] if self._channels else None
        stated = self._described.metadata(self._channel, 8 * self.get_dtype().itemsize)
        spacing = self._image.step("z", to_micrometres) or stated.plane_spacing
        channels = stated.channels
        if name:
            channels = (replace(channels[0], name=name),) if channels else (ChannelMetadata(name),)
        return stated.replaced(
            pixel_size=(rows, columns) if rows and columns else stated.pixel_size,
            plane_spacing=spacing if self.is_volumetric else None,
            channels=channels if any(one.name or one.to_dict() != _NOTHING for one in channels) else (),
            vendor=self._image.attributes,
        )

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the images, channels and planes that can be chosen."""
        path = os.fspath(file_path)
        name = printable(os.path.basename(path.rstrip("/\\")))
        root = _open_group(path, name)
        series = _images(root, path, name)
        found = {"series": tuple(series)} if len(series) > 1 else {}
        chosen = options.get("series", series[0] if series else None)
        image = StoredImage.of(_chosen_image(root, series, chosen, name), name)
        if len(image.channels) > 1:
            found["channel"] = image.channels
        if image.length("z") > 1:
            found["plane"] = _numbers(image.length("z"))
        return found

    def _read(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> np.ndarray:
        parts_of = {
            "t": samples,
            "y": rows,
            "x": columns,
            "c": self._channel,
            "z": planes if self.is_volumetric else self._plane or 0,
        }
        key = tuple(parts_of[axis] for axis in self._image.axes)
        kept = [axis for axis in self._image.axes if not isinstance(parts_of[axis], int)]
        found = self._image.array.read(key)
        # In a folder that is too large to list, missing chunks are only noticed when they are read
        if self._image.array.has_met_missing and not self._missing.is_complete and not self._late_notes:
            self._late_notes = (
                f"{self._name}: chunks are missing (lost, or never written) and are read as the fill value",
            )
            warn(self._late_notes[0])
        if "t" not in kept:
            found = (
                found[np.newaxis] if isinstance(samples, slice) else np.repeat(found[np.newaxis], len(samples), axis=0)
            )
            found = found[samples] if isinstance(samples, slice) else found
            kept.insert(0, "t")
        order = [kept.index(axis) for axis in ("tyxz" if self.is_volumetric else "tyx")]
        return np.require(found.transpose(order), self.get_dtype(), ["W"] if self.is_volumetric else ["C", "W"])


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image: its array at full resolution, the letter of each axis, and their scale."""

    array: ZarrArray
    axes: str
    units: Mapping[str, str]
    scale: Mapping[str, float]
    channels: tuple[str, ...]
    attributes: Mapping[str, Any]
    name: str
    doubts: tuple[str, ...] = ()

    @classmethod
    def of(cls, group: ZarrGroup, name: str) -> StoredImage:
        attributes = _attributes(group)
        described = attributes.get("ome", attributes)
        multiscale = _first(described.get("multiscales"), "multiscales", name)
        axes, units = _axes(multiscale, name)
        dataset, doubts = _finest(multiscale, axes, name)
        array = _array(group, dataset.get("path"), name)
        if array.ndim != len(axes):
            raise CorruptRecordingError(
                f"{name} names the axes {', '.join(axes)} but its array has {array.ndim} dimensions {array.shape}"
            )
        doubts += _doubts(multiscale, array, axes, name)
        if array.dtype.kind not in "biufc":
            raise UnsupportedRecordingError(f"{name} has the type {array.dtype}; pixels must be numbers")
        _check_size(array, axes)
        _check_chunks(array, axes, name)
        scale = _scale(dataset, multiscale, axes)
        count = array.shape[axes.index("c")] if "c" in axes else 1
        return cls(array, axes, units, scale, _channel_names(described, count), attributes, name, doubts)

    @classmethod
    def plain(cls, array: ZarrArray, axes: str, name: str) -> StoredImage:
        """Return an array that only its own attributes describe."""
        _check_size(array, axes)
        _check_chunks(array, axes, name)
        count = array.shape[axes.index("c")] if "c" in axes else 1
        return cls(array, axes, {}, {}, _channel_names({}, count), array.attributes, name)

    def length(self, axis: str) -> int:
        return int(self.array.shape[self.axes.index(axis)]) if axis in self.axes else 1

    def step(self, axis: str, to_unit: Callable[[Any, str | None], float | None]) -> float | None:
        """Return the distance between two positions on an axis; None where its unit is unknown."""
        size = to_unit(self.scale.get(axis), self.units.get(axis))
        return size if size is not None and size > 0 else None

    def companion(self, shape: tuple[int, ...], name: str) -> Sidecar | None:
        stated = self.attributes.get(SIDECAR_KEY)
        found = None if stated is None else Sidecar.from_dict(stated, where=f"the attributes of {name}")
        return found if found is not None and found.shape == shape else None

    def missing(self, fixed: Mapping[str, int | None]) -> MissingChunks:
        """Return which chunks are missing, of those at the given positions of some axes."""
        count, axis = self.length("t"), self.axes.find("t")
        along = axis if axis >= 0 else None
        looked = present_zarr_chunks(self.array, axis=along)
        if looked is None:
            return MissingChunks(0, 0, count, count, is_complete=False)
        chunks = self.array.chunks
        present = at_positions(looked[0], [fixed.get(letter) for letter in self.axes], chunks)
        step = 1 if along is None else chunks[axis]
        found = missing_chunks(present, axis=along, chunk=step, num_samples=count)
        return replace(found, is_complete=looked[1], num_outside=looked[2])


def _open_group(path: str, name: str) -> ZarrGroup:
    if not is_folder(path):
        raise SourceKindError(
            f"{name} is a file; an OME-Zarr image is a folder. Open the folder that contains .zattrs or zarr.json"
        )
    found = open_zarr(path, name=name)
    if not isinstance(found, ZarrGroup):
        raise CorruptRecordingError(f"{name} is not a Zarr group: it contains no .zgroup, and no zarr.json of a group")
    return found


def _attributes(group: ZarrGroup) -> dict[str, Any]:
    return dict(group.attributes)


def _images(root: ZarrGroup, path: str, name: str) -> tuple[str, ...]:
    """Return the paths of the images in a collection, a plate, or a group of groups; none for a single image."""
    attributes = _attributes(root)
    described = attributes.get("ome", attributes)
    if not isinstance(described, Mapping):
        raise CorruptRecordingError(f"{name}: its attribute 'ome' is {printable(described)[:60]}, expected an object")
    if "image-label" in described:
        raise UnsupportedRecordingError(
            f"{name} is a label image (a segmentation), not a movie; open the image that it belongs to"
        )
    if "multiscales" in described:
        return ()
    found = image_paths(path)
    if found:
        return found
    if "plate" in described or "well" in described:
        raise UnsupportedRecordingError(f"{name} is a plate of wells in which no image was found")
    if "bioformats2raw.layout" in described:
        raise CorruptRecordingError(f"{name} is marked as a collection of images but contains none")
    raise UnsupportedRecordingError(
        f"{name} does not describe an image: its attributes are {printable(', '.join(map(str, described)))[:200] or 'empty'}"
    )


def _chosen_image(root: ZarrGroup, series: Sequence[str], given: str | int | None, name: str) -> ZarrGroup:
    if not series:
        if given not in (None, 0, "0"):  # a single image is series 0
            raise StreamChoiceError.for_option(name, "series", ("0",), seen=given)
        return root
    path = series[choose_stream(name, "series", series, given)]
    return _open_group(os.path.join(root.folder, *path.split("/")), name)


def _first(value: Any, key: str, name: str) -> Mapping[str, Any]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return value[0]
    raise CorruptRecordingError(f"{name}: {key} must be a list of objects, got {printable(value)[:80]}")


def _axes(multiscale: Mapping[str, Any], name: str) -> tuple[str, dict[str, str]]:
    """Return one letter for each axis, and the units; before version 0.3 the axes were always the same five."""
    stated = multiscale.get("axes")
    if stated is None:
        return "tczyx", {}
    if not isinstance(stated, list):
        raise CorruptRecordingError(f"{name}: axes must be a list, got {printable(stated)[:80]}")
    letters, units = "", {}
    for axis in stated:
        letter = str(axis.get("name") if isinstance(axis, dict) else axis).lower()
        if letter not in tuple("tczyx") or letter in letters:  # a tuple: "tc" is in the string too
            raise UnsupportedRecordingError(
                f"{name} has the axis {printable(axis)[:60]!r}; expected t, c, z, y and x, each at most once"
            )
        letters += letter
        if isinstance(axis, dict) and isinstance(axis.get("unit"), str):
            units[letter] = axis["unit"]
    if not {"y", "x"} <= set(letters):
        raise UnsupportedRecordingError(f"{name} has the axes {letters!r}, expected y and x among them")
    return letters, units


def _finest(multiscale: Mapping[str, Any], axes: str, name: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return the array of full resolution, which should be the first; another only where its scale is smaller."""
    first = _first(multiscale.get("datasets"), "datasets", name)
    levels = [level for level in multiscale["datasets"] if isinstance(level, dict)]

    def size(level: Mapping[str, Any]) -> float:
        scale = _scale(level, {}, axes)  # the image's own scale is the same for all levels
        return abs(scale["y"] * scale["x"])

    finest = min(levels, key=size)
    if finest is first or size(finest) == size(first):
        return first, ()
    words = (
        f"{name}: its arrays are not in the order of their resolution; {printable(finest.get('path'))!r}, whose pixels are the smallest, is read "
        f"in place of the first, {printable(first.get('path'))!r}"
    )
    return finest, (words,)


def _doubts(multiscale: Mapping[str, Any], array: ZarrArray, axes: str, name: str) -> tuple[str, ...]:
    """Return where the axes contradict the specification or the array's own names."""
    found = []
    if axes != "".join(letter for letter in "tczyx" if letter in axes):
        found.append(
            f"{name}: its axes are {', '.join(axes)}, but the specification orders them t, c, z, y, x; they are "
            "read by their names, "
            f"the array {array.shape} as stored"
        )
    stated = array.dimension_names if array.zarr_format == 3 else None
    if stated and all(stated) and [str(word).lower() for word in stated] != list(axes):
        found.append(
            f"{name}: the image names the axes {', '.join(axes)}, but its array names them {printable(', '.join(map(str, stated)))[:80]}; "
            "the image's are used"
        )
    return tuple(found)


def _array(group: ZarrGroup, path: Any, name: str) -> ZarrArray:
    inside = isinstance(path, str) and path and not path.startswith("/") and ".." not in path.split("/")
    if not inside:
        raise CorruptRecordingError(
            f"{name}: the path of its array is {printable(path)!r:.80}, expected a path inside the image"
        )
    try:
        return ZarrArray(os.path.join(group.folder, *path.split("/")), name=name, group=group)
    except SourceNotFoundError as error:
        raise CorruptRecordingError(f"{name} names the array {printable(path)!r}, which does not exist") from error


def _check_size(array: ZarrArray, axes: str) -> None:
    """Refuse a sample or a chunk that is far larger than the bytes in the folder can decode to."""
    sample = math.prod(n for n, axis in zip(array.shape, axes, strict=True) if axis != "t")
    array.require_stored(array.dtype.itemsize * max(sample, math.prod(array.chunks)))


def _check_chunks(array: ZarrArray, axes: str, name: str) -> None:
    """Refuse samples in so many chunks that one cannot be read in seconds."""
    of_sample = [k for k, axis in enumerate(axes) if axis in "yxz"]
    lengths, chunk = ([of[k] for k in of_sample] for of in (array.shape, array.chunks))
    require_few_chunks(name, lengths, chunk)


def _scale(dataset: Mapping[str, Any], multiscale: Mapping[str, Any], axes: str) -> dict[str, float]:
    """Return the scale of each axis: the array's times the image's."""
    found = dict.fromkeys(axes, 1.0)
    for holder in (dataset, multiscale):
        for step in holder.get("coordinateTransformations") or ():
            factors = step.get("scale") if isinstance(step, dict) else None
            if (
                isinstance(factors, list)
                and len(factors) == len(axes)
                and all(isinstance(f, int | float) for f in factors)
            ):
                found = {axis: found[axis] * float(f) for axis, f in zip(axes, factors, strict=True)}
    return found


def _channel_names(described: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Return the labels of the channels if they differ, else their numbers; empty for an image without channels."""
    omero = described.get("omero")
    stated = omero.get("channels") if isinstance(omero, dict) else None
    labels = [str(c.get("label", "")) for c in stated if isinstance(c, dict)] if isinstance(stated, list) else []
    if len(labels) == count == len(set(labels)) and all(labels):
        return tuple(labels)
    return _numbers(count, first=1) if count > 1 else ()


def _numbers(count: int, *, first: int = 0) -> tuple[str, ...]:
    return tuple(str(k + first) for k in range(count))

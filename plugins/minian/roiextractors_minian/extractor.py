"""Reads the results of minian."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from roiextractors_video.times import rate_of

from roiextractors_core import Background, RecordingMetadata, RoiMasks, SegmentationExtractor
from roiextractors_core.errors import (
    CorruptRecordingError,
    RecordingError,
    RoiExtractorsWarning,
    SourceKindError,
    UnsupportedRecordingError,
    counted,
    listed,
    printable,
)
from roiextractors_core.io import PositionedFile, is_folder, warn

from .labelled import LabelledArray, open_array, tiles
from .times import find_times, times_of

if TYPE_CHECKING:
    from .netcdf import NetcdfArray

__all__ = ["MinianSegmentationExtractor"]

Array: TypeAlias = "LabelledArray | NetcdfArray"

_TRACES = {"raw": "YrA", "denoised": "C", "baseline": "b0", "deconvolved": "S"}
# Most of their values are 0, and chunks of nothing but 0 need not be written
_SPARSE = frozenset(("A", "S"))
_FACTS = ("animal", "session", "session_id")
_MAX_PIXELS = 1 << 27
_MAX_ROIS = 1 << 20
_MAX_TEXT = 1000
_HDF5 = b"\x89HDF\r\n\x1a\n"


class MinianSegmentationExtractor(SegmentationExtractor):
    """The cells that minian found: footprints and traces, and the background.

    Parameters
    ----------
    folder_path : str or os.PathLike
        The folder with ``A.zarr``, ``C.zarr``, ...; or one Zarr group with ``A``, ``C``, ... in it, or a netCDF-4 file with them.
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the rate of the recorded times.
    timestamps_path : str or os.PathLike, optional
        The table of times by the Miniscope software; by default ``timeStamps.csv`` in the folder or in the one that contains it.

    Raises
    ------
    CorruptRecordingError
        The arrays contradict each other, or one is damaged.
    UnsupportedRecordingError
        There are no footprints, or their axes are others than unit, height and width.

    References
    ----------
    minian documentation, "Working with MiniAn Variables"; ``minian.utilities.save_minian``, which writes one Zarr group for each
    variable by means of xarray.
    """

    def __init__(
        self,
        folder_path: str | os.PathLike[str],
        *,
        sampling_frequency: float | None = None,
        timestamps_path: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._path = os.fspath(folder_path)
        self._name = printable(os.path.basename(self._path.rstrip("/\\")) or self._path)
        if not is_folder(self._path):
            _require_hdf5(self._path, self._name)
        self._sentences: list[str] = []
        self._variables = _Variables(self._path)
        self._footprints = self._open_footprints()
        self._units = self._coordinate("A", "unit_id", self._footprints.length("unit_id"))
        self._traces: dict[str, Array] = {}
        self._places: dict[str, np.ndarray] = {}
        self._frames: np.ndarray | None = None
        self._num_samples = 0
        for name, variable in _TRACES.items():
            self._open_trace(name, variable)
        self._courses: np.ndarray | None = None  # the time course of each image of the background
        self._background_parts = self._open_background()
        self._background: Background | None = None
        self._projection = self._open_image("max_proj")
        self._report_missing()
        self._given_times = None if timestamps_path is None else os.fspath(timestamps_path)
        self._times_path, self._native_times = self._read_times()
        for words in self._sentences:
            warn(words, RoiExtractorsWarning)

    # What there is

    def get_frame_shape(self) -> tuple[int, int]:
        return self._footprints.length("height"), self._footprints.length("width")

    def get_roi_ids(self) -> list[str]:
        """Return the numbers of minian's coordinate ``unit_id``."""
        return [str(unit) for unit in self._units.tolist()]

    def get_num_samples(self) -> int:
        return self._num_samples

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        """Return the footprints, read in parts of some megabytes."""
        self.check_open()
        shape = self.get_frame_shape()
        chosen, order = np.unique(roi_indices, return_inverse=True)
        rois, pixels, weights = [], [], []
        for units in self._runs(chosen):
            for tile in tiles(self._footprints, ("height", "width")):
                part = self._footprints.read(("unit_id", "height", "width"), unit_id=chosen[units], **tile)
                unit, row, column = np.nonzero(part)
                rois.append(unit + units.start)
                pixels.append((row + tile["height"].start) * shape[1] + column + tile["width"].start)
                weights.append(part[unit, row, column])
        roi, pixel, weight = (
            np.concatenate(parts) if parts else np.empty(0, np.int64) for parts in (rois, pixels, weights)
        )
        sequence = np.lexsort((pixel, roi))
        counts = np.bincount(roi, minlength=len(chosen))
        masks = RoiMasks(shape, np.concatenate([[0], np.cumsum(counts)]), pixel[sequence], weight[sequence])
        return masks[order.reshape(-1)]

    def _runs(self, chosen: np.ndarray) -> Iterator[slice]:
        """Yield runs of ROIs that are stored in the same chunks."""
        length = max(1, self._footprints.chunk("unit_id"))
        edges = np.flatnonzero(np.diff(chosen // length)) + 1
        bounds = [0, *edges.tolist(), len(chosen)]
        for start, end in itertools.pairwise(bounds):
            if end > start:
                yield slice(start, end)

    def get_trace_names(self) -> tuple[str, ...]:
        """Return ``denoised`` (C), ``baseline`` (b0), ``deconvolved`` (S) and ``raw`` (YrA), of which the last is saved rarely."""
        return tuple(self._traces)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        self.check_open()
        return self._traces[name].read(
            ("frame", "unit_id"), frame=slice(start_sample, end_sample), unit_id=self._places[name][roi_indices]
        )

    def get_background(self) -> Background | None:
        """Return the background components: their images (b) as masks, and their time courses (f); read once."""
        self.check_open()
        image, course = self._background_parts
        if self._background is None and not (image is None and course is None):
            masks = None if image is None else RoiMasks.from_dense(image.read(("height", "width", "unit_id")))
            chosen = {} if self._courses is None else {"unit_id": self._courses}
            traces = {} if course is None else {"background": course.read(("frame", "unit_id"), **chosen)}
            self._background = Background(tuple(self.get_background_ids()), masks, traces)
        return self._background

    def get_background_ids(self) -> list[str]:
        """Return ``background-0``, ...: the numbers of the components, of which minian fits one."""
        count = next((array.length("unit_id") for array in self._background_parts if array is not None), 0)
        return [f"background-{k}" for k in range(count)]

    def get_image_names(self) -> tuple[str, ...]:
        return () if self._projection is None else ("maximum_projection",)

    def get_image(self, name: str = "correlation") -> np.ndarray:
        self.check_open()
        if self._projection is None or name != "maximum_projection":
            return super().get_image(name)
        return np.ascontiguousarray(self._projection.read(("height", "width")))

    # Times and facts

    def get_sampling_frequency(self) -> float | None:
        """Return the rate (Hz) of the analysed frames by the recorded times."""
        return None if self._native_times is None else rate_of(self._native_times)

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times of the frames that were analysed, in seconds since the recording began."""
        start, end = self.resolve_range(start_sample, end_sample)
        return None if self._native_times is None else self._native_times[start:end].copy()

    def get_metadata(self) -> RecordingMetadata:
        facts = {key: text for key in _FACTS if (text := self._variables.text("A", key))}
        return RecordingMetadata(software="minian", vendor=facts)

    def get_notes(self) -> tuple[str, ...]:
        return (*self._sentences, *self._remarks)

    def get_paths(self) -> tuple[str, ...]:
        inside = os.path.join(os.path.abspath(self._path), "")
        path = self._times_path
        return (self._path,) if path is None or os.path.abspath(path).startswith(inside) else (self._path, path)

    def close(self) -> None:
        for array in (self._footprints, *self._traces.values()):
            array.forget()
        super().close()

    # Opening

    def _open_footprints(self) -> Array:
        array = self._variables.array("A")
        if array is None:
            raise UnsupportedRecordingError(f"{self._name} does not contain the footprints of cells (A.zarr)")
        _require_dims(array, {"unit_id", "height", "width"})
        rows, columns, count = (array.length(dim) for dim in ("height", "width", "unit_id"))
        if rows * columns > _MAX_PIXELS or count > _MAX_ROIS:
            raise CorruptRecordingError(
                f"{array.name} claims {count:,} units in {rows:,} x {columns:,} pixels; it is damaged"
            )
        _require_numbers(array)
        _require_chunks(array)
        for dim, length in (("height", rows), ("width", columns)):
            axis = self._variables.array("A", dim)
            if axis is not None and axis.shape != (length,):
                raise CorruptRecordingError(
                    f"{array.name} has {length:,} pixels along {dim}, but its coordinate {dim} has {axis.shape[0]:,}"
                )
        return array

    def _coordinate(self, variable: str, dim: str, length: int) -> np.ndarray:
        """Return the labels of an axis, int64; their numbers from 0 where the file has none."""
        axis = self._variables.array(variable, dim)
        if axis is None:
            return np.arange(length)
        if len(axis.shape) != 1 or axis.shape != (length,):
            raise CorruptRecordingError(
                f"{axis.name} has the shape {axis.shape}, but {variable} has {length:,} along {dim}"
            )
        labels = axis.values()
        whole = labels.astype(np.int64) if labels.dtype.kind in "iuf" and np.isfinite(labels).all() else None
        if whole is None or not np.array_equal(whole, labels):
            raise CorruptRecordingError(f"{axis.name} should contain whole numbers, got {labels.dtype}")
        if len(np.unique(whole)) != len(whole):
            raise CorruptRecordingError(f"{axis.name} contains a number twice")
        return whole

    def _open_trace(self, name: str, variable: str) -> None:
        """Open the traces of one variable, or say why they are left out."""
        try:
            array = self._variables.array(variable)
            if array is None:
                return
            _require_dims(array, {"unit_id", "frame"})
            _require_numbers(array)
            _require_chunks(array)
            places = self._places_of(variable, array)
            self._require_same_frames(variable, array)
        except RecordingError as error:
            self._sentences.append(f"{self._name}: the traces {name!r} are left out: {error}")
            return
        self._traces[name], self._places[name] = array, places

    def _places_of(self, variable: str, array: Array) -> np.ndarray:
        """Return where each ROI is along the axis of units, by its number."""
        units = self._coordinate(variable, "unit_id", array.length("unit_id"))
        if np.array_equal(units, self._units):
            return np.arange(len(units))
        place_of = {unit: place for place, unit in enumerate(units.tolist())}
        lacking = [unit for unit in self._units.tolist() if unit not in place_of]
        if lacking:
            raise CorruptRecordingError(
                f"{array.name} has {counted(len(units), 'unit')}, but lacks {counted(len(lacking), 'unit')} of A "
                f"({listed(lacking, limit=6)})"
            )
        if len(units) > len(self._units):
            self._sentences.append(
                f"{self._name}: {array.name} has {len(units):,} units, but A has {len(self._units):,}; those "
                "without a footprint are left out"
            )
        return np.array([place_of[unit] for unit in self._units.tolist()], np.int64)

    def _require_same_frames(self, variable: str, array: Array) -> None:
        frames = self._coordinate(variable, "frame", array.length("frame"))
        if self._frames is None:
            self._frames, self._num_samples = frames, len(frames)
        elif not np.array_equal(frames, self._frames):
            raise CorruptRecordingError(
                f"{array.name} has {counted(len(frames), 'frame')}, but not the same as the "
                f"{self._num_samples:,} of the other traces"
            )

    def _open_background(self) -> tuple[Array | None, Array | None]:
        image, course = self._open_optional("b", ("height", "width")), self._open_optional("f", ("frame",))
        if image is None or course is None:
            return image, course
        try:
            units = [
                self._coordinate(a.variable, "unit_id", a.length("unit_id"))
                for a in (image, course)
                if "unit_id" in a.dims
            ]
            if image.length("unit_id") != course.length("unit_id"):
                raise CorruptRecordingError(
                    f"it has {counted(image.length('unit_id'), 'image')} and {counted(course.length('unit_id'), 'time course')}"
                )
            if len(units) == 2:
                if not np.array_equal(np.sort(units[0]), np.sort(units[1])):
                    raise CorruptRecordingError("its images and its time courses have different unit_id")
                self._courses = np.argsort(units[1])[np.argsort(np.argsort(units[0]))]
        except RecordingError as error:
            self._sentences.append(f"{self._name}: the background is left out: {error}")
            return None, None
        return image, course

    def _open_optional(self, variable: str, dims: tuple[str, ...]) -> Array | None:
        """Open an array of the background, which may have an axis of components, or say why it is left out."""
        try:
            array = self._variables.array(variable)
            if array is None:
                return None
            _require_dims(array, {*dims, "unit_id"} if "unit_id" in array.dims else set(dims))
            _require_numbers(array)
            _require_chunks(array)
            if "frame" in dims:
                self._require_same_frames(variable, array)
            else:
                self._require_same_pixels(array)
        except RecordingError as error:
            self._sentences.append(f"{self._name}: {variable} is left out: {error}")
            return None
        return array

    def _open_image(self, variable: str) -> Array | None:
        try:
            array = self._variables.array(variable)
            if array is None:
                return None
            _require_dims(array, {"height", "width"})
            _require_numbers(array)
            _require_chunks(array)
            self._require_same_pixels(array)
        except RecordingError as error:
            self._sentences.append(f"{self._name}: the image {variable} is left out: {error}")
            return None
        return array

    def _require_same_pixels(self, array: Array) -> None:
        shape = array.length("height"), array.length("width")
        if shape != self.get_frame_shape():
            raise CorruptRecordingError(
                f"{array.name} has {shape[0]:,} x {shape[1]:,} pixels, but A has {' x '.join(map(str, self.get_frame_shape()))}"
            )

    def _report_missing(self) -> None:
        """Say which arrays lack chunks: lost, or of nothing but the fill value."""
        self._remarks: list[str] = []
        optional = (*self._background_parts, self._projection)
        for array in (self._footprints, *self._traces.values(), *optional):
            missing, count = (0, 0) if array is None else array.num_missing()
            if array is None or not missing:
                continue
            words = (
                f"{self._name}: {missing:,} of {counted(count, 'chunk')} of {array.name} {'is' if missing == 1 else 'are'} missing "
                f"(lost, or never written) and read as the fill value, {array.fill_value}"
            )
            is_sparse = array.variable in _SPARSE and array.fill_value == 0
            (self._remarks if is_sparse else self._sentences).append(words)

    def _read_times(self) -> tuple[str | None, np.ndarray | None]:
        path = self._given_times or find_times(self._path)
        if path is None or self._frames is None:
            return None, None
        times, problems = times_of(path, self._frames)
        self._sentences += [f"{self._name}: {words}" for words in problems]
        is_above = is_folder(self._path) and os.path.dirname(path) != self._path
        if times is not None and self._given_times is None and is_above:
            self._remarks.append(f"{self._name}: the times are those of {os.path.basename(path)} in the parent folder")
        return path, times


class _Variables:
    """The arrays of a folder by their names, in a group of its own each or all in one group; or those of a netCDF file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_file = not is_folder(path)
        self._is_one_group = not is_folder(os.path.join(path, "A.zarr"))

    def array(self, variable: str, coordinate: str | None = None) -> Array | None:
        """Return a variable, or a coordinate that is saved with it; None if there is none."""
        inside = coordinate or variable
        if self._is_file:
            from .netcdf import open_netcdf_array  # h5py is not needed for folders of Zarr

            return open_netcdf_array(self._path, inside)
        group = "" if self._is_one_group else f"{variable}.zarr"
        path = os.path.join(self._path, group, inside)
        array = open_array(path, os.path.join(group, inside).replace("\\", "/"), inside)
        if array is None and group and coordinate is None and is_folder(os.path.join(self._path, group)):
            raise CorruptRecordingError(f"{group} does not contain the array {variable} (.zarray or zarr.json)")
        return array

    def text(self, variable: str, coordinate: str) -> str:
        """Return a coordinate that is one text; empty if there is none."""
        with contextlib.suppress(RecordingError):  # a label that says nothing about the data
            array = self.array(variable, coordinate)
            return "" if array is None else printable(array.text()[:_MAX_TEXT])
        return ""


def _require_hdf5(path: str, name: str) -> None:
    """Refuse a file that is not netCDF-4."""
    file = PositionedFile(path)
    try:
        head = file.read(0, min(8, file.size))
    finally:
        file.close()
    if head[:3] == b"CDF":
        raise UnsupportedRecordingError(
            f"{name} is a netCDF-3 file, which is not supported; save it with xarray: ds.to_zarr('minian.zarr')"
        )
    if head != _HDF5:
        raise SourceKindError(f"{name} is a file; open the folder in which minian saved A.zarr and C.zarr")


def _require_dims(array: Array, dims: set[str]) -> None:
    if set(array.dims) != dims:
        raise UnsupportedRecordingError(
            f"{array.name} has the axes {printable(listed(array.dims))[:100]}, expected {listed(sorted(dims))}"
        )


def _require_numbers(array: Array) -> None:
    if array.dtype.kind not in "biuf":
        raise CorruptRecordingError(f"{array.name} should contain numbers, got {array.dtype}")


def _require_chunks(array: Array) -> None:
    """Refuse an array of which nothing was written, or everything was lost; where some chunks are missing, it is read."""
    missing, count = array.num_missing()
    if count and missing == count:
        raise CorruptRecordingError(f"{array.name} has no chunks of values: they were lost, or never written")

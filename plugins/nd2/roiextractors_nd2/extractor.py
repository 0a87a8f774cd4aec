"""Nikon ND2: frames by positioned reads; names, sizes and the light path through nd2, the library of the format."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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
    ProcessLock,
    StoredFrames,
    choose_stream,
    import_library,
    library_errors,
    num_cores,
    regular_rate,
    run_on_cores,
    single_file,
    warn,
)

from .chunks import ATTRIBUTES, TIMES, Chunks
from .facts import NOT_STATED, describe

__all__ = ["Nd2ImagingExtractor"]

_MAX_DEVIATION = 0.1  # of the measured period from the nominal one
_PARALLEL_BYTES = 4 << 20  # starting threads for less takes longer than reading
_AXES = {"TimeLoop": "T", "NETimeLoop": "T", "XYPosLoop": "P", "ZStackLoop": "Z"}


class _Layout(NamedTuple):
    """The facts that reading needs."""

    scenes: tuple[str, ...]
    channels: tuple[str, ...]
    loops: tuple[tuple[str, int], ...]
    sizes: dict[str, int]
    components: int
    row_bytes: int
    dtype: np.dtype[Any]
    compression: str
    period: float | None


class Nd2ImagingExtractor(BlockImagingExtractor):
    """One channel of one position of a Nikon ND2 file.

    The clock is the file's own: 0 s is the start of the experiment.

    Parameters
    ----------
    file_path : str or os.PathLike
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the rate in the file.
    scene : str or int, optional
        One of several positions, by its name, or by its number from 0.
    channel : str or int, optional
        One of several channels, by its name, or by its number from 1.
    frame_shape : (int, int), optional
        Rows and columns, for a truncated file: NIS-Elements writes them at the end.

    Raises
    ------
    MissingDependencyError
        The library nd2 is not installed.
    StreamChoiceError
        Several positions or channels, and none was named; or the named one does not exist.
    TruncatedRecordingError
        No sample is complete, or the size of the frames was lost with the end of the file and is not given.
    UnsupportedRecordingError
        Colour samples, or frames with lossy compression.
    CorruptRecordingError
        The file is damaged.

    References
    ----------
    The package nd2: chunks, ``ND2File.attributes``, ``experiment``, ``metadata``, ``text_info``.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        sampling_frequency: float | None = None,
        scene: str | int | None = None,
        channel: str | int | None = None,
        frame_shape: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._path = str(single_file(file_path))
        self._name = printable(os.path.basename(self._path))
        self._lock = ProcessLock()
        self._metadata: RecordingMetadata | None = None
        self._notes: tuple[str, ...] = ()
        self._missing = np.empty(0, np.int64)
        self._chunks, self._layout = _open(self._path, self._name, frame_shape)
        self._scene = choose_stream(self._name, "scene", self._layout.scenes, scene, first=0)
        self._channel = choose_stream(self._name, "channel", self._layout.channels, channel, first=1)
        with library_errors(self._name, "nd2"):
            self._sizes = _checked(self._layout, self._name)
            self.is_volumetric = self._sizes["Z"] > 1
            self._kept = self._place_frames()
            self._stated_times = self._read_times()
            self._rate = self._file_rate()

    def get_image_shape(self) -> tuple[int, int]:
        return self._sizes["Y"], self._sizes["X"]

    def get_num_samples(self) -> int:
        return len(self._kept)

    def get_num_planes(self) -> int:
        return self._sizes["Z"]

    def get_dtype(self) -> np.dtype[Any]:
        return self._layout.dtype.newbyteorder("=")

    def get_sampling_frequency(self) -> float | None:
        """Return the rate of regular times, else the period of the time loop unless the times contradict it."""
        return self._rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return when the first plane of each sample was acquired, or None if the file has no times.

        If samples are missing, those of a file without times are counted on the grid of the rate.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        rate = self.get_sampling_frequency()
        if self._stated_times is not None:
            return np.array(self._stated_times[start:end])
        # If only samples at the end are missing, the times are a regular grid, which the rate gives
        if rate is None or self._kept[-1] == len(self._kept) - 1:
            return None
        return np.asarray(self._kept[start:end] / rate)

    def get_missing_samples(self) -> np.ndarray:
        return self._missing.copy()

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    def close(self) -> None:
        self._chunks.file.close()
        super().close()

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the positions and the channels."""
        path = str(single_file(file_path))
        _, layout = _open(path, printable(os.path.basename(path)), options.get("frame_shape"))
        streams = {"scene": layout.scenes, "channel": layout.channels}
        return {option: values for option, values in streams.items() if len(values) > 1}

    # Frames

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        numbers = self._numbers[samples][:, slice(0, 1) if planes is None else planes]
        shape = (*numbers.shape, rows.stop - rows.start, columns.stop - columns.start)
        if 0 in shape:
            found = np.empty(shape, self.get_dtype())
        elif self._chunks.is_legacy:
            found = self._by_library(numbers)[..., rows, columns]
        elif self._layout.compression == "lossless":
            found = self._decompressed(numbers.ravel(), rows, columns)
        else:
            found = self._stored(numbers.ravel(), rows, columns)
        found = found.reshape(shape)
        return np.ascontiguousarray(np.moveaxis(found, 1, 3)) if self.is_volumetric else found[:, 0]

    def _stored(self, numbers: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Return ``(frames, rows, columns)`` of uncompressed frames."""
        layout, file = self._layout, self._chunks.file
        offsets = self._starts[np.searchsorted(self._there, numbers)]
        if layout.components == 1:
            frames = StoredFrames([file], shape=(self._sizes["Y"], self._row_pixels), dtype=layout.dtype)
            return frames.read(offsets, rows, columns)
        count, step = rows.stop - rows.start, layout.components
        found = np.empty((len(numbers), count, columns.stop - columns.start), self.get_dtype())
        # The channels of a pixel are neighbours
        inside = slice(columns.start * step + self._channel, columns.stop * step, step)
        places = (offsets + rows.start * layout.row_bytes).tolist()

        def read(begin: int, end: int) -> None:
            lines = np.empty((count, self._row_pixels), layout.dtype)  # of one frame: small enough for the cache
            for k in range(begin, end):
                file.read_into([lines], places[k])
                found[k] = lines[:, inside]

        parts = num_cores() if count * layout.row_bytes * len(numbers) >= _PARALLEL_BYTES else 1
        marks = [len(numbers) * k // parts for k in range(parts + 1)]
        run_on_cores([functools.partial(read, a, b) for a, b in itertools.pairwise(marks) if a < b])
        return found

    @property
    def _row_pixels(self) -> int:
        return self._layout.row_bytes // self._layout.dtype.itemsize

    def _decompressed(self, numbers: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Return ``(frames, rows, columns)`` of frames compressed by zlib, which are decompressed on all cores."""
        found = np.empty((len(numbers), rows.stop - rows.start, columns.stop - columns.start), self.get_dtype())
        at = np.searchsorted(self._there, numbers).tolist()

        def read(k: int, number: int) -> None:
            data = self._chunks.file.read(int(self._starts[number]), int(self._lengths[number]))
            found[k] = self._plane_of(data)[rows, columns]

        run_on_cores([functools.partial(read, k, number) for k, number in enumerate(at)])
        return found

    def _plane_of(self, data: bytes) -> np.ndarray:
        layout = self._layout
        needed = self._sizes["Y"] * layout.row_bytes
        try:
            pixels = zlib.decompressobj().decompress(data, needed)
        except zlib.error as error:
            raise CorruptRecordingError(f"{self._name}: a frame cannot be decompressed: {error}") from error
        if len(pixels) < needed:
            raise CorruptRecordingError(
                f"{self._name}: a frame decompressed to {len(pixels):,} bytes, expected {needed:,}"
            )
        lines = np.frombuffer(pixels, layout.dtype).reshape(self._sizes["Y"], -1)
        return lines[:, : self._sizes["X"] * layout.components].reshape(*lines.shape[:1], -1, layout.components)[
            ..., self._channel
        ]

    def _by_library(self, numbers: np.ndarray) -> np.ndarray:
        """Return ``(samples, planes, rows, columns)`` of a file of JPEG 2000."""
        import_library("imagecodecs", f"{self._name} (JPEG 2000)")
        shape = (self._sizes["Y"], self._sizes["X"])
        found = np.empty((*numbers.shape, *shape), self.get_dtype())
        with (
            self._lock,
            library_errors(self._name, "nd2", reads_pixels=True),
            _library(self._chunks, self._path) as file,
        ):
            for at in np.ndindex(numbers.shape):
                frame = np.asarray(file.read_frame(int(numbers[at])))
                if frame.size != math.prod(shape) * self._layout.components:
                    raise CorruptRecordingError(f"{self._name}: a frame has the shape {frame.shape}, expected {shape}")
                found[at] = frame.reshape(-1, *shape)[self._channel]
        return found

    def _place_frames(self) -> np.ndarray:
        """Find the frame of each plane of each sample, and return the samples that are whole, as acquired."""
        layout, sizes = self._layout, self._sizes
        counts = [count for _, count in layout.loops]
        places = np.unravel_index(np.arange(math.prod(counts)), counts) if counts else ()
        at = dict(zip((axis for axis, _ in layout.loops), places, strict=True))
        zeros = np.zeros(math.prod(counts), np.int64)
        t, z, p = at.get("T", zeros), at.get("Z", zeros), at.get("P", zeros + self._scene)
        here = np.flatnonzero((p == self._scene) & (t < sizes["T"]) & (z < sizes["Z"]))
        self._numbers = np.full((sizes["T"], sizes["Z"]), -1, np.int64)
        self._numbers[t[here], z[here]] = here
        if self._chunks.is_legacy:
            return np.arange(sizes["T"])
        needed = 0 if layout.compression == "lossless" else sizes["Y"] * layout.row_bytes
        self._there, self._starts, self._lengths = self._chunks.frames_of(needed)
        surplus = int((self._chunks.frames >= len(zeros)).sum())
        if surplus:
            self._report(
                f"{self._name} contains {len(self._chunks.frames):,} frames, of which {surplus:,} are outside its loops over "
                "time, positions and planes; they are not read",
                RoiExtractorsWarning,
            )
        return self._keep_whole()

    def _keep_whole(self) -> np.ndarray:
        """Leave out samples of which a frame is not in the file: the library would give zeros."""
        is_there = np.isin(self._numbers, self._there)
        are_whole = np.asarray(is_there.all(axis=1))
        kept, total = np.flatnonzero(are_whole), len(are_whole)
        why = self._chunks.damage or f"{_are(int((~is_there).sum()), 'frame')} missing or damaged"
        if len(kept) == 0:
            raise TruncatedRecordingError(f"{self._name} contains no complete sample (of {total:,}): {why}")
        if len(kept) < total:
            self._missing = np.flatnonzero(~are_whole)
            first = ", ".join(f"{k:,}" for k in self._missing[:3]) + (", ..." if len(self._missing) > 3 else "")
            words = f"samples {first} are" if len(self._missing) > 1 else f"sample {first} is"
            self._report(
                f"{self._name}: {len(kept):,} of {total:,} samples are complete and can be read; {words} left out: {why}"
            )
        elif self._chunks.damage:
            self._report(self._chunks.damage)
        self._numbers = self._numbers[are_whole]
        return kept

    def _report(self, note: str, category: type[RoiExtractorsWarning] | None = IncompleteRecordingWarning) -> None:
        """Add a note, and issue it as a warning of the category, if there is one."""
        self._notes = (*self._notes, note)
        if category is not None:
            warn(note, category)

    # Times

    def _file_rate(self) -> float | None:
        period = self._layout.period
        stated = 1.0 / period if period and self._sizes["T"] > 1 else None
        if self._stated_times is None or len(self) < 2:
            return stated
        # The period of the loop is the one that was set, which the camera may not reach
        median = float(np.median(np.diff(self._stated_times) / np.diff(self._kept)))
        near = stated is not None and abs(stated * median - 1) <= _MAX_DEVIATION
        return regular_rate(self._stated_times, self._kept) or (stated if near else None)

    def _read_times(self) -> np.ndarray | None:
        """Return seconds, or None if the file has no times or its clock never ran."""
        milliseconds = self._milliseconds(self._numbers[:, 0])
        if milliseconds is None or not np.isfinite(milliseconds).all():
            return None
        times = milliseconds / 1e3
        if len(times) > 1 and times[-1] <= times[0]:
            self._report(f"{self._name}: the times of its frames do not increase, so they are not used", None)
            return None
        return times if len(times) > 1 or len(self._missing) or times[-1] >= 0 else None

    def _milliseconds(self, first: np.ndarray) -> np.ndarray | None:
        if not self._chunks.is_legacy and TIMES in self._chunks.places:
            data = self._chunks.data(TIMES)
            stamps = np.frombuffer(data[: len(data) // 8 * 8], "<f8").astype(np.float64)
            return stamps[first] if len(stamps) > first.max() else None
        if self._chunks.damage:
            # The list is at the end; each frame has its own time, too, which is 0 where none was recorded
            times = self._chunks.frame_times(first)
            return times if times.any() else None
        if not self._chunks.is_legacy:
            return None
        with _library(self._chunks, self._path) as file, contextlib.suppress(*NOT_STATED):
            places = [file.frame_metadata(k).channels[self._channel].time for k in first.tolist()]
            return np.array([place.relativeTimeMs for place in places], np.float64)
        return None

    # Metadata

    def get_metadata(self) -> RecordingMetadata:
        with self._lock:
            if self._metadata is None:
                with library_errors(self._name, "nd2"), _library(self._chunks, self._path) as file:
                    self._metadata = self._read_metadata(file)
            return self._metadata

    def _read_metadata(self, file: Any) -> RecordingMetadata:
        has_times = self._chunks.is_legacy or TIMES in self._chunks.places
        known = describe(file, self._channel, has_times=has_times)
        rows, columns, spacing = (_micrometres(file, axis) for axis in "YXZ")
        name = self._layout.channels[self._channel]
        light = ("detection_band", "laser_lines", "laser_power", "exposure_time")
        light_path = {key: known[key] for key in light if known.get(key)}
        depth, start = known.get("bit_depth"), known.get("start")
        lens = printable(known.get("objective") or "").strip() or None
        parts = (lens, _positive(known.get("magnification")), _positive(known.get("aperture")))
        return RecordingMetadata(
            # Clocks that were never set count from an epoch
            start_time=start if start is not None and start.year > 1970 else None,
            pixel_size=(rows, columns) if rows and columns else None,
            plane_spacing=spacing if self.is_volumetric else None,
            channels=(ChannelMetadata(name, known.get("emission"), known.get("excitation"), **light_path),),
            objective=ObjectiveMetadata(*parts) if any(parts) else None,
            zoom=_positive(known.get("zoom")),
            bit_depth=int(depth) if depth and 0 < depth <= 8 * self._layout.dtype.itemsize else None,
            modality=known.get("modality"),
            device=known.get("device") or None,
            software=known.get("software") or None,
            vendor={str(key): str(value) for key, value in dict(file.text_info).items()},
        )


def _open(path: str, name: str, frame_shape: tuple[int, int] | None) -> tuple[Chunks, _Layout]:
    import_library("nd2", name)
    with library_errors(name, "nd2"):
        chunks = Chunks(path)
        if chunks.damage and ATTRIBUTES not in chunks.places:
            chunks.add(ATTRIBUTES, _attributes(chunks, frame_shape, name))
        with _library(chunks, path) as file:
            return chunks, _layout(file)


@contextlib.contextmanager
def _library(chunks: Chunks, path: str) -> Iterator[Any]:
    """Open a file with its library, which reads through positioned reads: a memory map of a file that is cut meanwhile ends the process."""
    library = import_library("nd2", chunks.file.name)
    # Files of JPEG 2000 are read by the library alone, which maps them only to decode frames
    with library.ND2File(path if chunks.is_legacy else chunks.stream()) as file:
        yield file


def _layout(file: Any) -> _Layout:
    about, experiment = file.attributes, file.experiment
    sizes = {axis: int(n) for axis, n in file.sizes.items()}
    for axis in "CYX":
        sizes.setdefault(axis, 1)
    positions = next((loop for loop in experiment if loop.type == "XYPosLoop"), None)
    points = positions.parameters.points if positions is not None else ()
    scenes = [point.name or f"XYPos:{k}" for k, point in enumerate(points)] or ["XYPos:0"]
    names = [channel.channel.name for channel in getattr(file.metadata, "channels", None) or ()]
    return _Layout(
        _labels(scenes, count=len(scenes), first=0),
        _labels(names, count=sizes["C"], first=1),
        tuple((_AXES.get(loop.type, loop.type), int(loop.count)) for loop in experiment),
        sizes,
        int(about.componentCount),
        int(about.widthBytes or about.widthPx * about.componentCount * about.bitsPerComponentInMemory // 8),
        np.dtype(file.dtype).newbyteorder("<"),
        str(about.compressionType or ""),
        _period(experiment),
    )


def _checked(layout: _Layout, name: str) -> dict[str, int]:
    if layout.sizes.get("S", 1) > 1:
        raise UnsupportedRecordingError(
            f"{name} has an axis S of {layout.sizes['S']:,} colour samples; expected only T, C, Z, Y and X, "
            "so export it without that axis"
        )
    for axis, count in layout.loops:
        if axis not in ("T", "P", "Z") and count > 1:
            raise UnsupportedRecordingError(
                f"{name} has a loop {printable(axis)} of {count:,} steps; expected loops over time, positions and planes"
            )
    if layout.compression not in ("", "none", "lossless"):
        raise UnsupportedRecordingError(
            f"{name} has frames with {printable(layout.compression)} compression; save it without, in NIS-Elements"
        )
    sizes = {axis: layout.sizes.get(axis, 1) for axis in "TZYX"}
    if layout.row_bytes % layout.dtype.itemsize or (
        layout.row_bytes < sizes["X"] * layout.components * layout.dtype.itemsize
    ):
        raise CorruptRecordingError(f"{name}: its rows of {sizes['X']:,} pixels claim {layout.row_bytes:,} bytes")
    if min(sizes.values()) < 1:
        raise CorruptRecordingError(f"{name} claims the sizes {sizes}")
    return sizes


def _attributes(chunks: Chunks, frame_shape: tuple[int, int] | None, name: str) -> bytes:
    """Return the attributes that the end of a file contained, by the size that the user states.

    A row is filled up to 4 bytes.  The number of bytes of a frame, which is known, decides on the type of its pixels.
    """
    numbers, _, lengths = chunks.frames_of(0)
    length = int(np.median(lengths)) if len(lengths) else 0
    if frame_shape is None:
        raise TruncatedRecordingError(
            f"{chunks.damage}. The size of its frames ({length:,} bytes each) was at the end of the file; "
            "pass frame_shape=(rows, columns)"
        )
    try:
        rows, columns = (int(n) for n in frame_shape)
    except (TypeError, ValueError):
        rows = columns = 0
    for itemsize in (2, 1, 4):
        for components in range(1, 17):
            row = -(-columns * components * itemsize // 4) * 4
            if min(rows, columns) > 0 and rows * row == length:
                values = {
                    "uiWidth": columns,
                    "uiWidthBytes": row,
                    "uiHeight": rows,
                    "uiComp": components,
                    "uiBpcInMemory": 8 * itemsize,
                    "uiBpcSignificant": 8 * itemsize,
                    "uiSequenceCount": len(numbers),
                }
                words = "".join(f'<{key} runtype="lx_uint32" value="{value}"/>' for key, value in values.items())
                return f'<variant version="1.0"><no_name runtype="CLxListVariant">{words}</no_name></variant>'.encode()
    raise TruncatedRecordingError(
        f"{name}: frames of {frame_shape} (rows, columns) do not fit the {length:,} bytes that each frame has in the file"
    )


def _period(experiment: Sequence[Any]) -> float | None:
    """Return the seconds between steps of the time loop, or None where it has several periods or none."""
    for loop in experiment:
        periods: list[Any] = []
        if loop.type == "TimeLoop":
            periods = [loop.parameters.periodMs]
        elif loop.type == "NETimeLoop":
            periods = [period.periodMs for period in loop.parameters.periods]
        if periods:
            return periods[0] / 1e3 if len(periods) == 1 and periods[0] and periods[0] > 0 else None
    return None


def _micrometres(file: Any, axis: str) -> float | None:
    with contextlib.suppress(*NOT_STATED):
        volume, number = file.metadata.channels[0].volume, "XYZ".index(axis)
        # The library gives 1 for an axis without calibration
        return _positive(float(volume.axesCalibration[number])) if volume.axesCalibrated[number] else None
    return None


def _labels(names: Sequence[Any], *, count: int, first: int) -> tuple[str, ...]:
    """Return the names to choose from: the names themselves if they differ, else their numbers."""
    found = tuple(printable(name) for name in names)
    if len(found) == count == len(set(found)) and all(found):
        return found
    return tuple(str(k + first) for k in range(count))


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None


def _are(count: int, noun: str) -> str:
    return f"{counted(count, noun)} {'is' if count == 1 else 'are'}"

"""Reads Micro-Manager recordings: one channel of one position with all of its planes, and the time of every frame."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from roiextractors_core.errors import ChoiceError, CorruptRecordingError, RoiExtractorsWarning, printable
from roiextractors_core.imaging import BlockImagingExtractor
from roiextractors_core.io import PositionedFile, StoredFrames, describe_disorder, plausible_start, regular_rate, warn
from roiextractors_core.metadata import ChannelMetadata, ObjectiveMetadata, RecordingMetadata

from .dataset import dataset_of
from .identity import FrameIdentity
from .selection import select, streams_of
from .stack import text_of

__all__ = ["MicroManagerImagingExtractor"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

# The first that advances is used; the last two are dates
_TIME_KEYS = ("ElapsedTime-ms", "ReceivedTime", "TimeReceivedByCore")
_MAX_TIMED = 20_000  # frames whose metadata are read to learn the rate
_MAX_DEVIATION = 0.02  # relative, of the mean period from the interval in the settings
_TURRET = re.compile(r"(?:objective|nose ?piece)[^-]*-Label$", re.IGNORECASE)
# 40x, 40 X or X40
_MAGNIFICATION = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?) ?[xX](?!\d)|(?<![a-zA-Z\d])[xX](\d{1,3}(?:\.\d+)?)")
# NA 0.8, 0.8 NA or 40x/0.8
_APERTURE = re.compile(r"NA ?[=:]? ?([01](?:\.\d+))|(?<![\d.])([01]\.\d+) ?NA|[xX] ?/ ?([01]\.\d+)", re.IGNORECASE)
_MOMENTS = (
    "%Y-%m-%d %H:%M:%S.%f %z",
    "%Y-%m-%d %H:%M:%S %z",
    "%Y-%m-%d %a %H:%M:%S %z",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
)


class MicroManagerImagingExtractor(BlockImagingExtractor):
    """One channel of one position: a movie ``(samples, rows, columns)``, or volumes with the planes last.

    Parameters
    ----------
    file_path : str, os.PathLike, or a list of them
        The dataset's folder, its ``NDTiff.index``, any of its TIFF files; or a list of image file stacks, which are then the
        only ones read.
    channel, channel_name : str or int, optional
        The channel, by name or number. Required if several were saved.
    position : str or int, optional
        One of several stage positions.
    row, column : int, optional
        One tile of a stitched dataset.
    axes : mapping or str, optional
        A place on other axes of the dataset: ``{"laser": 488}`` or ``"laser=488"``.
    allow_missing : bool
        Leave out samples with a missing frame, instead of refusing a dataset with gaps. The times of the others do not change.
    sampling_frequency : float, optional
        Samples per second (Hz); overrides the dataset's rate.

    Raises
    ------
    StreamChoiceError
        An axis other than time and z has several values and none was chosen, or the chosen one does not exist.
    ChoiceError
        There is no such axis; or the folder contains several datasets.
    TruncatedRecordingError
        There are only settings or an index, or frames are missing.
    CorruptRecordingError, UnsupportedRecordingError
        A damaged index; colour or compressed frames; NDTiff 1.

    Warns
    -----
    IncompleteRecordingWarning
        The dataset contains less than it describes.

    References
    ----------
    NDTiff specification, https://github.com/micro-manager/NDStorage; Micro-Manager File Formats,
    https://micro-manager.org/Micro-Manager_File_Formats.
    """

    def __init__(
        self,
        file_path: Paths,
        *,
        channel: str | int | None = None,
        channel_name: str | int | None = None,
        position: str | int | None = None,
        row: str | int | None = None,
        column: str | int | None = None,
        axes: Mapping[str, str | int] | str | None = None,
        allow_missing: bool = False,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        if channel is not None and channel_name not in (None, channel):
            raise ChoiceError(f"channel={channel!r} and channel_name={channel_name!r} contradict each other; pass one")
        named = {
            "channel": channel_name if channel is None else channel,
            "position": position,
            "row": row,
            "column": column,
        }
        self._dataset, self._disorder = dataset_of(file_path), ""
        given = {name: value for name, value in named.items() if value is not None}
        self._selection = select(self._dataset, given, axes=axes, allow_missing=allow_missing)
        table, rows = self._dataset.table, self._selection.rows
        files = [PositionedFile(os.path.join(self._dataset.folder, name)) for name in table.files]
        first = rows[0, 0]
        shape = (int(table.shapes[first, 0]), int(table.shapes[first, 1]))
        self._frames = StoredFrames(files, shape=shape, dtype=f"{table.order}u{table.depths[first]}")
        self._offsets, self._numbers = table.offsets[rows], table.numbers[rows]
        self.is_volumetric = rows.shape[1] > 1
        self._identity = FrameIdentity(self._dataset.name, table, files)
        self._texts: dict[int, Mapping[str, Any]] = {}
        if self._dataset.is_ndtiff:
            self._verify_ends(rows)
        for sentence in self._selection.warnings:
            warn(f"{self._dataset.name}: {sentence}")

    @classmethod
    def get_streams(cls, file_path: Paths, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the axes to choose from: those other than time and z with several values.

        Returns
        -------
        dict
            ``{"channel": ("DAPI", "FITC"), "position": ("Pos0", "Pos1")}``
        """
        return streams_of(dataset_of(file_path))

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._frames.shape[0], self._frames.shape[1]

    def get_num_samples(self) -> int:
        """Return the number of complete frames or volumes."""
        return len(self._offsets)

    def get_num_planes(self) -> int:
        """Return the number of planes of a sample."""
        return int(self._offsets.shape[1])

    def get_dtype(self) -> np.dtype[Any]:
        """Return uint8, or uint16 for 10 to 16 bits."""
        return self._frames.dtype.newbyteorder("=")

    def get_sampling_frequency(self) -> float | None:
        """Return samples per second (Hz), from the interval in the summary metadata, else from regular native times; or None."""
        rate = self._rate_by_interval
        return self._rate_by_times if rate is None else rate

    @cached_property
    def _rate_by_interval(self) -> float | None:
        summary = self._dataset.summary
        interval = _number(summary.get("Interval_ms"))
        if interval is None:
            interval = _number(summary.get("WaitInterval"))
        # 0 means as fast as possible; custom intervals replace the single one
        if interval is None or interval <= 0 or summary.get("CustomIntervals_ms") or not self._selection.step:
            return None
        return 1000.0 / interval / self._selection.step  # a channel of every second time has half the rate

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        """Return a part of the recording; see :meth:`ImagingExtractor.get_block`."""
        self.check_open()
        chosen = planes or slice(None)
        offsets, numbers = self._offsets[samples, chosen], self._numbers[samples, chosen]
        if self._dataset.is_ndtiff:
            self._identity.require(self._selection.rows[samples, chosen].ravel())
        block = self._frames.read(offsets.ravel(), rows, columns, numbers=numbers.ravel())
        if not self.is_volumetric:
            return block
        return np.moveaxis(block.reshape(*offsets.shape, *block.shape[1:]), 1, 3)  # planes are the last axis

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times in the frames' metadata (of the first plane of a volume), which are read for these samples only.

        ``ElapsedTime-ms`` counts from the start of the acquisition.  If it is missing, the time at which a frame was received is
        used, counted from the first sample.  If the frames have no times and samples were left out, times are computed from
        the rate and the position on the time axis, so that gaps are kept.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            As in :meth:`get_series`.

        Returns
        -------
        numpy.ndarray or None
            Seconds, float64.

        Raises
        ------
        CorruptRecordingError
            The first frame has a time, but one in the range does not.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        times = self._read_times(start, end)
        # Only now: opening does not read the times of all frames
        disorder = "" if times is None or self._disorder else describe_disorder(times, first=start)
        if disorder:
            self._disorder = f"{self._dataset.name}: {disorder}"
            warn(self._disorder, RoiExtractorsWarning)
        return times

    def _read_times(self, start: int, end: int) -> np.ndarray | None:
        if self._first_time is None:
            return self._times_by_rate(start, end)
        key, begun = self._first_time
        if self._dataset.is_ndtiff:
            self._identity.require(self._selection.rows[start:end, 0])
        result = np.empty(end - start, np.float64)
        for place, sample in enumerate(range(start, end)):
            value = _time(self._text(sample), key)
            if value is None:
                raise CorruptRecordingError(
                    f"{self._dataset.name}: the metadata of sample {sample:,} have no {key}, but those of the "
                    "first sample do; call "
                    "set_times(<seconds>) to use other times"
                )
            result[place] = value - begun
        return result

    def get_metadata(self) -> RecordingMetadata:
        """Return the metadata of the summary and of the first frame; ``vendor`` contains both."""
        return self._metadata

    def get_notes(self) -> tuple[str, ...]:
        """Return the decisions made while opening, and the frames that were left out."""
        return (
            *self._selection.warnings,
            *self._selection.notes,
            *self._clock_notes,
            *self._interval_notes,
            *filter(None, (self._disorder,)),
        )

    def close(self) -> None:
        """Release the files."""
        self._frames.close()
        super().close()

    def get_missing_samples(self) -> np.ndarray:
        """Return the time points that are missing or incomplete; they are left out of the recording."""
        return self._selection.missing.copy()

    def get_paths(self) -> tuple[str, ...]:
        """Return the index and the TIFF files of the dataset."""
        return tuple(dict.fromkeys([*super().get_paths(), *self._dataset.get_paths()]))

    @cached_property
    def _rate_by_times(self) -> float | None:
        """The rate of native times that are regular."""
        key = self._first_time
        # Two samples have a single step, which is always regular
        if key is None or not 2 < len(self._offsets) <= _MAX_TIMED or not self._selection.step:
            return None
        try:
            times = self._read_times(0, len(self._offsets))
        except CorruptRecordingError:  # a time is missing: asking for the times says so, and the rate is unknown
            return None
        return None if times is None else regular_rate(times, self._selection.points)

    @cached_property
    def _first_time(self) -> tuple[str, float] | None:
        """The key of the time in the metadata, and the value (seconds) from which times are counted."""
        first, last = self._text(0), self._text(len(self._offsets) - 1)
        for key in _TIME_KEYS:
            value = _time(first, key)
            if value is not None and not self._stands_still(key, value, last):
                return key, 0.0 if key == "ElapsedTime-ms" else value
        return None

    def _stands_still(self, key: str, value: float, last: Mapping[str, Any]) -> bool:
        end = _time(last, key)
        return len(self._offsets) > 1 and end is not None and end <= value

    @cached_property
    def _clock_notes(self) -> tuple[str, ...]:
        """A sentence about times that are the same in the first and the last sample."""
        first, last = self._text(0), self._text(len(self._offsets) - 1)
        values = {key: value for key in _TIME_KEYS if (value := _time(first, key)) is not None}
        key = next(iter(values), "")
        if not key or not self._stands_still(key, values[key], last):
            return ()
        used = self._first_time[0] if self._first_time else "the rate"
        return (f"{key} does not advance from the first sample to the last, so it is not used; times are from {used}",)

    @cached_property
    def _interval_notes(self) -> tuple[str, ...]:
        """A sentence about an interval that was set and not kept, which is common: 0 or 1 ms mean as fast as possible."""
        rate, first = self._rate_by_interval, self._first_time
        last = None if first is None else _time(self._text(len(self._offsets) - 1), first[0])
        begin = None if first is None else _time(self._text(0), first[0])
        if rate is None or last is None or begin is None or len(self._offsets) < 2:
            return ()
        points = self._selection.points
        period = (last - begin) / int(points[-1] - points[0])
        if abs(period * rate - 1) <= _MAX_DEVIATION:
            return ()
        return (
            f"the rate of {rate:.6g} Hz is computed from the interval in the settings, but the samples are "
            f"{period:.6g} s apart on average "
            f"({1 / period:.6g} Hz); the native timestamps are those of the frames; pass "
            "sampling_frequency=<Hz> to use another rate",
        )

    def _verify_ends(self, rows: np.ndarray) -> None:
        """Verify the first and the last frames against the index now; the others are verified when they are read."""
        # also the last but one: of a truncated file, the metadata of the last frame can be missing
        self._identity.require(np.unique(rows[[0, len(rows) // 2, max(0, len(rows) - 2), -1]]))
        for sample in (0, len(rows) - 1):
            frame = int(rows[sample, 0])
            self._texts[sample] = self._read_text(frame)
            self._identity.require_shape(frame, self._texts[sample])

    def _times_by_rate(self, start: int, end: int) -> np.ndarray | None:
        points, rate = self._selection.points, self._rate_by_interval
        # Without gaps, the rate alone gives these times
        if rate is None or points[-1] == len(points) - 1:
            return None
        return np.asarray(points[start:end] / rate, np.float64)

    def _text(self, sample: int) -> Mapping[str, Any]:
        known = self._texts.get(sample)
        if known is not None:
            return known
        return self._read_text(int(self._selection.rows[sample, 0]))

    def _read_text(self, frame: int) -> Mapping[str, Any]:
        table = self._dataset.table
        offset, length = table.texts[frame].tolist()
        return text_of(self._frames.files[table.numbers[frame]], (offset, length))

    @cached_property
    def _metadata(self) -> RecordingMetadata:
        summary, frame = self._dataset.summary, self._text(0)
        version = _plain(summary.get("MicroManagerVersion"))
        camera = _plain(frame.get("Camera")) or _plain(frame.get("Core-Camera")) or _plain(summary.get("Core-Camera"))
        channel = self._selection.labels.get("channel", "")
        if not channel or channel.isdigit():
            channel = str(_plain(frame.get("Channel")) or channel)  # the name in the frame says more than a number
        exposure = _exposure(frame) or _exposure(summary)
        return RecordingMetadata(
            start_time=plausible_start(self._start_time(summary, frame)),
            pixel_size=_pixel_size(frame) or _pixel_size(summary),
            plane_spacing=self._spacing(summary, frame) if self.is_volumetric else None,
            channels=(ChannelMetadata(channel, exposure_time=exposure),) if channel or exposure else (),
            objective=_objective(frame) or _objective(summary),
            bit_depth=self._bit_depth(frame, summary),
            device=printable(camera) if isinstance(camera, str) and camera else None,
            software=f"Micro-Manager {printable(version)}" if isinstance(version, str) and version else "Micro-Manager",
            vendor={"Summary": dict(summary), "FirstFrame": dict(frame)},
        )

    def _bit_depth(self, frame: Mapping[str, Any], summary: Mapping[str, Any]) -> int | None:
        bits = next((bits for text in (frame, summary) if (bits := _number(text.get("BitDepth")))), None)
        return int(bits) if bits is not None and 0 < bits <= 8 * self.get_dtype().itemsize else None

    def _start_time(self, summary: Mapping[str, Any], frame: Mapping[str, Any]) -> datetime | None:
        # Dates are counted from the first frame, so the recording starts at its date
        if self._first_time is not None and self._first_time[0] != "ElapsedTime-ms":
            return _moment(frame.get(self._first_time[0]))
        moments = (_moment(summary.get(key)) for key in ("StartTime", "DateAndTime", "Time"))
        return next((moment for moment in moments if moment is not None), None)

    def _spacing(self, summary: Mapping[str, Any], frame: Mapping[str, Any]) -> float | None:
        step = _number(summary.get("z-step_um"))
        if step:
            return abs(step)  # negative if the stage moved the other way
        other = self._read_text(int(self._selection.rows[0, 1]))
        for key in ("ZPosition_um_Intended", "ZPositionUm"):
            a, b = _number(frame.get(key)), _number(other.get(key))
            if a is not None and b is not None and a != b:
                return abs(b - a)
        return None


def _exposure(text: Mapping[str, Any]) -> float | None:
    """Return the exposure of a frame in seconds, or None."""
    value = next((found for key in ("Exposure-ms", "Exposure") if (found := _number(text.get(key)))), None)
    return value / 1000.0 if value is not None and value > 0 else None


def _objective(text: Mapping[str, Any]) -> ObjectiveMetadata | None:
    """Return the objective that the label of an objective turret names, or None."""
    for key, value in text.items():
        label = _plain(value)
        if not _TURRET.search(key) or not isinstance(label, str) or not label.strip():
            continue
        magnification, aperture = _MAGNIFICATION.search(label), _APERTURE.search(label)
        return ObjectiveMetadata(
            printable(label.strip()),
            float(magnification[1] or magnification[2]) if magnification else None,
            next((float(part) for part in aperture.groups() if part), None) if aperture else None,
        )
    return None


def _plain(value: Any) -> Any:
    """Return a value without the object in which some versions wrap it."""
    if isinstance(value, dict):
        return value.get("scalar", value.get("PropVal"))
    return value


def _number(value: Any) -> float | None:
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int | float | str):
        return None
    try:
        number = float(plain)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _moment(value: Any) -> datetime | None:
    text = _plain(value)
    if not isinstance(text, str):
        return None
    text = text.strip().removesuffix(" -")
    whole, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if len(digits) > 6:  # Java writes nanoseconds, which strptime refuses
        text = f"{whole}{dot}{digits[:6]}{rest[len(digits) :]}"
    for form in _MOMENTS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def _time(text: Mapping[str, Any], key: str) -> float | None:
    """Return the time in a frame's metadata, in seconds, or None."""
    if key == "ElapsedTime-ms":
        value = _number(text.get(key))
        return None if value is None else value / 1000.0
    moment = _moment(text.get(key))
    if moment is None:
        return None
    if moment.tzinfo is not None:
        return moment.timestamp()
    # Not timestamp(), which uses the zone of this computer, whose daylight saving would shift times
    return (moment - datetime(1970, 1, 1)).total_seconds()


def _pixel_size(text: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return ``(row, column)`` distances in micrometres from the affine transform, else from the pixel size, or None."""
    affine = _plain(text.get("PixelSizeAffine"))
    size = next((found for key in ("PixelSizeUm", "PixelSize_um") if (found := _number(text.get(key)))), None)
    if isinstance(affine, str):
        try:
            a, b, _, d, e, _ = (float(part) for part in affine.replace("_", ";").split(";"))
        except ValueError:
            pass
        else:
            # On the stage, one row further is (b, e) micrometres and one column further (a, d)
            sizes = math.hypot(b, e), math.hypot(a, d)
            if all(0 < one < math.inf for one in sizes) and (size is None or not _is_identity(a, b, d, e)):
                return sizes
    return (size, size) if size is not None and size > 0 else None


def _is_identity(a: float, b: float, d: float, e: float) -> bool:
    """Return whether this is the default transform, which is written if none was measured."""
    return (a, b, d, e) == (1.0, 0.0, 0.0, 1.0)

"""Zeiss CZI: frames by the file's directory of subblocks; names, sizes and times by its XML and attachments."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
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
    describe_disorder,
    library_errors,
    parse_xml,
    regular_rate,
    run_on_cores,
    single_file,
    warn,
)

from .compressed import decompress
from .facts import IMAGE, channels_of, describe, moment, moment_of, number_of, scene_names, ticks_of
from .subblocks import Subblocks

__all__ = ["CziImagingExtractor"]

# PixelType of the format: Gray8, Gray16, Gray32Float, Gray64ComplexFloat, Gray32, Gray64
_KINDS = {0: "<u1", 1: "<u2", 2: "<f4", 10: "<c8", 12: "<u4", 13: "<f8"}
_COLOURS = {3: 3, 4: 3, 8: 3, 9: 4, 11: 3}  # colour samples of Bgr24, Bgr48, Bgr96Float, Bgra32, Bgr192ComplexFloat
_STREAMS = {"M": "tile", "H": "phase", "I": "illumination", "V": "view", "R": "rotation", "B": "block"}
_SPARSE = 64  # samples a subblock, beyond which a number along T is damaged
_MAX_ELEMENTS = 5_000_000  # of the metadata: files of many tiles describe each of them

_Value = TypeVar("_Value")


class CziImagingExtractor(BlockImagingExtractor):
    """One channel of one scene of a Zeiss CZI file.

    Frames are found by the coordinates in the directory of subblocks; levels of a pyramid and attachments are not samples.
    The clock is 0 s at the first frame of the scene.  Times are those of the subblocks, else of the attachment
    ``TimeStamps``, else of ``T/Positions`` in the metadata.

    Parameters
    ----------
    file_path : str or os.PathLike
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the rate in the file.
    scene : str or int, optional
        One of several scenes, by its name, or by its number from 0.
    channel : str or int, optional
        One of several channels, by its name, or by its number from 1.
    tile, phase, illumination, view, rotation, block : int or str, optional
        One of several values of an axis beyond time, channel and planes: the tiles of a mosaic, and so on.

    Raises
    ------
    MissingDependencyError
        Frames are compressed, and imagecodecs is not installed.
    StreamChoiceError
        Several scenes, channels or tiles, and none was named; or the named one does not exist.
    UnsupportedRecordingError
        Colour samples, or tiles without a number.
    TruncatedRecordingError
        No sample is complete.
    CorruptRecordingError
        The file is damaged.

    References
    ----------
    ZEISS ZISRAW (CZI) file format: metadata segment, ``TimeStamps``, subblock metadata ``AcquisitionTime``, ``T/Positions``.
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
        self._file = PositionedFile(self._path)
        self._lock = ProcessLock()
        self._known: dict[str, Any] = {}
        self._notes: tuple[str, ...] = ()
        self._disorder = ""
        self._kept: np.ndarray | None = None
        self._missing = np.empty(0, np.int64)
        with library_errors(self._name, "roiextractors-czi"):
            self._blocks = _subblocks(self._path)
            self._scene, self._all = _choose_scene(self._blocks, self._name, scene)[1:]
            self._channels = _channel_names(self._blocks, self._all, self._scene)
            self._channel = choose_stream(self._name, "channel", self._channels, channel, first=1)
            self._others = {
                axis: choose_stream(self._name, option, _values(self._blocks, self._all, axis), given[axis])
                for axis, option in _STREAMS.items()
            }
            self._place_planes()
            self.is_volumetric = self._numbers.shape[1] > 1
            for note in self._omissions():
                self._report(note)
            self._rate = self._file_rate()

    def get_image_shape(self) -> tuple[int, int]:
        return self._shape

    def get_num_samples(self) -> int:
        return len(self._numbers)

    def get_num_planes(self) -> int:
        return int(self._numbers.shape[1])

    def get_dtype(self) -> np.dtype[Any]:
        return self._pixels.newbyteorder("=")

    def get_sampling_frequency(self) -> float | None:
        """Return the rate by the times, else by the increment along T that the metadata states, or None."""
        return self._rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return when the first plane of each sample was acquired, or None if the file has no times.

        If samples are missing, those of a file without times are counted on the grid of the rate.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        times, rate = self._recorded_times(start, end), self.get_sampling_frequency()
        disorder = "" if times is None or self._disorder else describe_disorder(times, first=start)
        if disorder:
            self._disorder = f"{self._name}: {disorder}"
            self._report(self._disorder, RoiExtractorsWarning)
        # If only samples at the end are missing, the times are a regular grid, which the rate gives
        if times is not None or rate is None or self._kept is None or self._kept[-1] == len(self._kept) - 1:
            return times
        return np.asarray(self._kept[start:end] / rate)

    def get_missing_samples(self) -> np.ndarray:
        return self._missing.copy()

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    def close(self) -> None:
        self._file.close()
        super().close()

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the scenes, and the channels and other axes of the chosen or the first scene."""
        path = str(single_file(file_path))
        name = printable(os.path.basename(path))
        with library_errors(name, "roiextractors-czi"):
            blocks = _subblocks(path)
            scenes, number, there = _choose_scene(blocks, name, options.get("scene", 0))
            streams = {"scene": scenes, "channel": _channel_names(blocks, there, number)}
            streams |= {option: _values(blocks, there, axis) for axis, option in _STREAMS.items()}
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
        else:
            found = self._read_planes(numbers.ravel(), rows, columns).reshape(shape)
        return np.ascontiguousarray(np.moveaxis(found, 1, 3)) if self.is_volumetric else found[:, 0]

    def _read_planes(self, numbers: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Return ``(planes, rows, columns)`` of subblocks by their numbers."""
        is_packed = self._blocks.column("packing")[numbers] != 0  # 0 is uncompressed
        needed = math.prod(self._shape) * self._pixels.itemsize
        frames = StoredFrames([self._file], shape=self._shape, dtype=self._pixels)
        plain = [self._blocks.pixels(number, needed)[0] for number in numbers[~is_packed].tolist()]
        if not is_packed.any():
            return frames.read(plain, rows, columns)
        found = np.empty((len(numbers), rows.stop - rows.start, columns.stop - columns.start), self.get_dtype())
        if plain:
            found[~is_packed] = frames.read(plain, rows, columns)

        def read(at: int) -> None:
            found[at] = self._decompressed(int(numbers[at]))[rows, columns]

        run_on_cores([functools.partial(read, at) for at in np.flatnonzero(is_packed).tolist()])
        return found

    def _decompressed(self, number: int) -> np.ndarray:
        start, nbytes = self._blocks.pixels(number, 0)
        packing = int(self._blocks.column("packing")[number])
        data = self._file.read(start, nbytes)
        return decompress(data, packing, shape=self._shape, dtype=self._pixels, name=self._name)

    def _place_planes(self) -> None:
        """Find the subblock of each plane of each sample as acquired, -1 where it is missing."""
        blocks = self._blocks
        chosen = self._all
        for axis, index in {"C": self._channel, **self._others}.items():
            values = np.unique(blocks.column(axis)[self._all])
            chosen = chosen[blocks.column(axis)[chosen] == values[min(index, len(values) - 1)]]
        if len(chosen) == 0:
            raise TruncatedRecordingError(f"{self._name} contains no frames of the chosen streams")
        kind = _most_frequent(blocks.column("kind")[chosen])
        colours = max(_COLOURS.get(int(kind), 1) for kind in np.unique(blocks.column("kind")[self._all]))
        if colours > 1:
            raise UnsupportedRecordingError(
                f"{self._name} has an axis S of {colours:,} colour samples; expected only T, C, Z, Y and X, so export it "
                "without that axis"
            )
        if kind not in _KINDS:
            raise UnsupportedRecordingError(
                f"{self._name} has pixels of the type {kind}, which is not supported; "
                f"supported: {', '.join(str(np.dtype(code)) for code in _KINDS.values())}"
            )
        self._pixels: np.dtype[Any] = np.dtype(_KINDS[kind])
        shapes = np.column_stack([blocks.column(key)[chosen] for key in ("rows", "columns", "kind")])
        unique, which = np.unique(shapes, axis=0, return_inverse=True)
        usual = _most_frequent(which.ravel())
        self._other_sizes = int((which.ravel() != usual).sum())
        chosen = chosen[which.ravel() == usual]
        rows, columns = unique[usual][:2].tolist()
        if min(rows, columns) < 1:
            raise CorruptRecordingError(
                f"{self._name} is damaged: its frames have {counted(rows, 'row')} and {counted(columns, 'column')}"
            )
        self._shape = (rows, columns)
        self._first_number, count = self._acquired()
        planes, at = np.unique(blocks.column("Z")[chosen], return_inverse=True)
        samples = blocks.column("T")[chosen] - self._first_number
        self._numbers = np.full((count, len(planes)), -1, np.int64)
        places, first_there = np.unique(samples * len(planes) + at.ravel(), return_index=True)
        self._numbers.flat[places] = chosen[first_there]
        self._repeated = len(chosen) - len(places)
        self._require_one_tile(chosen, samples, at.ravel())

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
                f"{self._name} contains {shifted:,} tiles without a tile number, beside other tiles of the same "
                "time and plane; split the tiles into scenes, or stitch them, in ZEN"
            )

    def _omissions(self) -> tuple[str, ...]:
        """Leave out samples of which a plane is missing, damaged or of another size; return notes on them."""
        notes = self._damage()
        numbers = self._numbers[self._numbers >= 0]
        order = np.argsort(numbers)
        # In file order: are_sound checks only the ends of the list
        damaged = numbers[order][~self._blocks.are_sound(numbers[order])]
        if len(damaged):
            self._numbers[np.isin(self._numbers, damaged)] = -1
        are_whole = np.asarray((self._numbers >= 0).all(axis=1))
        reasons = [f"{_are(len(damaged), 'subblock')} damaged"] if len(damaged) else []
        if self._other_sizes:
            reasons.append(f"{_are(self._other_sizes, 'plane')} of another size or type of pixels")
        if self._blocks.has_parts:
            reasons.append("the others may be in further files of the recording, which are not read")
        missing = int((self._numbers < 0).sum()) - len(damaged) - self._other_sizes
        if missing > 0 or not reasons:
            reasons.insert(0, f"{_are(max(0, missing), 'plane')} not in the file")
        notes += self._keep_whole(are_whole, ", ".join(reasons))
        self._numbers = self._numbers[are_whole]
        if self._repeated:
            notes += (
                f"{self._name} contains {counted(self._repeated, 'plane')} more than once; the first of each is read",
            )
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

    def _stated(self, axis: str) -> int:
        """Return the size of an axis by the metadata; 0 if it states none."""
        text = (self._header().findtext(f"{IMAGE}/Size{axis}") or "").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0

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
            raise TruncatedRecordingError(f"{self._name} contains no complete sample (of {total:,}): {why}")
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
        increment = number_of(self._header().findtext(f"{IMAGE}/Dimensions/T/Positions/Interval/Increment"))
        return 1.0 / increment if increment and increment > 0 and self._acquired()[1] > 1 else None

    def _period_of_subblocks(self) -> float | None:
        """Return the mean period if the subblocks have acquisition times that advance; 0 for one sample, else None."""
        # First and last only: each time is a read of its own, and this runs when the file is opened
        ends = [ticks_of(text) for text in self._blocks.acquisition_times(self._numbers[[0, -1], 0])]
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
        text = self._header().findtext(f"{IMAGE}/Dimensions/T/Positions/List/Offsets")
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
                f"{self._name}: {name} contains {counted(len(stamps), 'time')} for {counted(count, 'sample')}, so they are not used",
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
        known = [(ticks, text) for text in texts if (ticks := ticks_of(text)) is not None]
        return min(known)[1] if known else ""

    def _read_times(self, count: int) -> np.ndarray:
        """Return seconds, one for each sample; NaN for a frame without a time."""
        first = ticks_of(self._ask_once("first", self._first_text)) or 0
        ticks = [ticks_of(text) for text in self._blocks.acquisition_times(self._numbers[:count, 0])]
        return np.array([np.nan if value is None else (value - first) / 1e7 for value in ticks])

    # Metadata

    def get_metadata(self) -> RecordingMetadata:
        return self._ask_once("metadata", self._read_metadata)

    def _read_metadata(self) -> RecordingMetadata:
        number = int(self._blocks.column("C")[self._numbers[0, 0]])
        known = describe(self._header(), scene=self._scene, number=number)
        rows, columns, spacing = (self._micrometres(axis) for axis in "YXZ")
        name = self._channels[self._channel]
        light = ("detection_band", "laser_lines", "laser_power", "exposure_time")
        light_path = {key: known[key] for key in light if known.get(key)}
        depth, start = known.get("bit_depth"), self._started()
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
            bit_depth=int(depth) if depth and 0 < depth <= 8 * self._pixels.itemsize else None,
            modality=known.get("modality"),
            device=known.get("device") or None,
            software=known.get("software") or None,
            vendor={"xml": ElementTree.tostring(self._header(), encoding="unicode")},
        )

    def _micrometres(self, axis: str) -> float | None:
        metres = number_of(self._header().findtext(f"./Metadata/Scaling/Items/Distance[@Id='{axis}']/Value"))
        return None if metres is None else _positive(metres * 1e6)

    def _started(self) -> datetime | None:
        """Return the moment of 0 s: of the first frame, else where the series of the file starts, else the acquisition."""
        text = self._ask_once("first", self._first_text) if self._clock == "subblocks" else ""
        ticks = ticks_of(text)
        if ticks is not None:
            stated = moment_of(text)
            return moment(ticks).replace(tzinfo=None if stated is None else stated.tzinfo and UTC)
        series = moment_of(self._header().findtext(f"{IMAGE}/Dimensions/T/StartTime"))
        if series is not None and series.year > 1970:
            return series + timedelta(seconds=self._since_start)
        return moment_of(self._header().findtext(f"{IMAGE}/AcquisitionDateAndTime"))

    def _ask_once(self, key: str, ask: Callable[[], _Value]) -> _Value:
        """Return a value that is slow to read; it is read at the first call only."""
        with self._lock:
            if key not in self._known:
                with library_errors(self._name, "roiextractors-czi"):
                    self._known[key] = ask()
            value: _Value = self._known[key]
            return value

    def _header(self) -> ElementTree.Element:
        return self._blocks.header


def _subblocks(path: str) -> Subblocks:
    """Return the subblocks of a file; the directory is read once for as long as the file does not change."""
    found = os.stat(path)
    return _subblocks_of(path, found.st_ino, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _subblocks_of(path: str, *_: int) -> Subblocks:
    try:
        blocks = Subblocks(path)
    except (CorruptRecordingError, TruncatedRecordingError) as error:
        blocks = Subblocks(path, by_directory=False)
        if len(blocks.select()) == 0:
            raise
        blocks.damage = str(error)
    blocks.header = _parsed(blocks, printable(os.path.basename(path)))
    return blocks


def _parsed(blocks: Subblocks, name: str) -> ElementTree.Element:
    text = blocks.xml().rstrip(b"\0")  # the segment is padded
    if not text.strip():
        return ElementTree.Element("ImageDocument")
    try:
        return parse_xml(text, name, max_elements=_MAX_ELEMENTS)
    except (CorruptRecordingError, UnsupportedRecordingError):
        if not blocks.damage:
            raise
        return ElementTree.Element("ImageDocument")


def _choose_scene(blocks: Subblocks, name: str, scene: str | int | None) -> tuple[tuple[str, ...], int, np.ndarray]:
    """Return the scenes, the number of the chosen one, and its subblocks."""
    values = np.unique(blocks.column("S")[blocks.select()]).tolist()
    named = scene_names(blocks.header)
    if len(named) > len(values):  # some of the scenes of the recording
        values = sorted({*named, *values})
    elif len(named) == len(values):  # they may be counted anew in a part of a recording
        named = dict(zip(values, (named[number] for number in sorted(named)), strict=True))
    scenes = tuple(named.get(value) or str(value) for value in values)
    scenes = scenes if len(set(scenes)) == len(scenes) else tuple(map(str, range(len(scenes))))
    number = choose_stream(name, "scene", scenes, scene, first=0)
    there = blocks.select(S=values[number]) if values else np.empty(0, np.int64)
    if len(there) == 0:
        where = f" of its scene {scenes[number]!r}" if scenes else ""
        raise TruncatedRecordingError(f"{name} contains no frames{where}")
    return scenes, number, there


def _channel_names(blocks: Subblocks, there: np.ndarray, scene: int) -> tuple[str, ...]:
    values = np.unique(blocks.column("C")[there]).tolist()
    described = channels_of(blocks.header, scene)
    named = [described[c].get("Name") or described[c].get("Id") if c < len(described) else None for c in values]
    channels = tuple(printable(text) if text else str(c + 1) for text, c in zip(named, values, strict=True))
    if len(set(channels)) < len(channels) or (len(values) == 1 and not named[0]):
        channels = tuple(str(c + 1) for c in values)
    return channels


def _values(blocks: Subblocks, there: np.ndarray, axis: str) -> tuple[str, ...]:
    """Return the values of an axis to choose from."""
    values = np.unique(blocks.column(axis)[there])
    return tuple(map(str, values.tolist())) if len(values) > 1 else ()


def _most_frequent(values: np.ndarray) -> int:
    unique, counts = np.unique(values, return_counts=True)
    return int(unique[counts.argmax()])


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None


def _are(count: int, noun: str) -> str:
    return f"{counted(count, noun)} {'is' if count == 1 else 'are'}"

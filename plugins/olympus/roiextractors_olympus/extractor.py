"""Reads one channel of an Olympus FluoView recording, with T as samples and Z as planes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.imaging import BlockImagingExtractor
from roiextractors_core.io import choose_stream, to_micrometres, to_seconds, warn
from roiextractors_core.metadata import ChannelMetadata, RecordingMetadata

from .recording import Members, members_of
from .settings import Settings

__all__ = ["OlympusImagingExtractor"]

_MAX_AXES = 16
_NO_NAME = "\0"  # a name that nobody types


class OlympusImagingExtractor(BlockImagingExtractor):
    """One channel of an Olympus FluoView ``.oib`` or ``.oif``: a movie ``(samples, rows, columns)``, or volumes with the planes last.

    Parameters
    ----------
    file_path : str or os.PathLike
        The ``.oib``; the ``.oif`` with its folder ``....oif.files`` next to it; a folder with one ``.oif``; or the
        folder of the frames.
    channel : str or int, optional
        One of several channels, by its name (``"CH1"``), by its dye, or by its number from 1.
    sampling_frequency : float, optional
        Samples per second (Hz); overrides the file's rate.

    Raises
    ------
    StreamChoiceError
        There are several channels and none was chosen, or the chosen one does not exist.
    TruncatedRecordingError
        A frame is missing or truncated; the message names it.
    CorruptRecordingError, UnsupportedRecordingError
        The file is damaged, or contains something that is not supported: wavelengths, compressed frames in an ``.oib``.
    SourceNotFoundError
        The folder of the frames does not exist.

    Warns
    -----
    IncompleteRecordingWarning
        The recording was stopped early: it has fewer frames than its settings describe.

    Notes
    -----
    A sample's time is that of its first plane, from the settings of that frame (``.pty``, axis T, milliseconds).
    Distances and intervals are those between neighbours: ``EndPosition`` is the position of the last pixel, plane or sample.

    References
    ----------
    [MS-CFB] for the container; the packages oiffile and Bio-Formats (``FV1000Reader``) for its contents.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        channel: str | int | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._members = members_of(file_path)
        self._grid = _Grid.of(self._members)
        self._channel = choose_stream(
            self._members.name, "channel", self._grid.channels, channel, identifiers=self._grid.dyes, first=1
        )
        names, self._notes = self._grid.frames(self._channel)
        self._firsts = names[:: self._grid.planes]
        self._times: dict[int, float] = {}
        self._frames = self._members.frames(names)
        self._samples = len(self._firsts)
        self.is_volumetric = self._grid.planes > 1
        for note in self._notes:
            warn(f"{self._members.name}: {note}")

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **_: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels to choose from, if there are several."""
        members = members_of(file_path)
        try:
            channels = _Grid.of(members).channels
        finally:
            members.close()
        return {"channel": channels} if len(channels) > 1 else {}

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._frames.shape

    def get_num_samples(self) -> int:
        """Return the number of complete frames or volumes."""
        return self._samples

    def get_num_planes(self) -> int:
        """Return the number of planes of a sample."""
        return self._grid.planes

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the pixels."""
        return self._frames.dtype

    def get_sampling_frequency(self) -> float | None:
        """Return samples per second (Hz), from the time of the last sample, or None."""
        return self._grid.rate

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        """Return a part of the recording; see :meth:`ImagingExtractor.get_block`."""
        self.check_open()
        indices = np.arange(samples.start, samples.stop, dtype=np.int64) if isinstance(samples, slice) else samples
        count = self._grid.planes
        chosen = np.arange(*(planes or slice(None)).indices(count), dtype=np.int64)
        block = self._frames.read((indices[:, None] * count + chosen).ravel(), rows, columns)
        if not self.is_volumetric:
            return block
        return np.moveaxis(block.reshape(len(indices), len(chosen), *block.shape[1:]), 1, 3)

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the time of each sample's first frame, from the settings of the frame; None if one of these files is missing.

        The time of a frame whose settings do not contain it is NaN.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            As in :meth:`get_series`.
        Returns
        -------
        numpy.ndarray or None
            Seconds, float64, one per sample.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        if not self._has_times:
            return None
        for k in range(start, end):  # kept, because each time is in a file of its own and times are requested often
            if k not in self._times:
                self._times[k] = self._time(k)
        return np.array([self._times[k] for k in range(start, end)], np.float64)

    def get_metadata(self) -> RecordingMetadata:
        """Return the metadata in the settings; ``vendor`` contains all settings."""
        main, grid = self._members.main, self._grid
        return RecordingMetadata(
            start_time=_start_time(main),
            pixel_size=_pixel_size(main, grid.axes),
            plane_spacing=_spacing(grid.axes.get("Z")) if self.is_volumetric else None,
            channels=(grid.metadata(self._channel),),
            device=printable(main.text("Acquisition Parameters Common", "Acquisition Device")) or None,
            software=" ".join(
                filter(None, (printable(main.text("Version Info", key)) for key in ("SystemName", "SystemVersion")))
            )
            or None,
            vendor={section: dict(values) for section, values in main.sections.items()},
        )

    def get_paths(self) -> tuple[str, ...]:
        """Return the file, and the folder with the frames of an ``.oif``."""
        return tuple(dict.fromkeys([*super().get_paths(), *map(os.path.abspath, self._members.paths)]))

    def get_notes(self) -> tuple[str, ...]:
        """Return what was left out, and the meaning of rows if they are not Y."""
        return (*self._notes, *self._grid.notes)

    def close(self) -> None:
        """Release the files."""
        self._frames.close()
        self._members.close()
        super().close()

    @cached_property
    def _has_times(self) -> bool:
        names = set(self._members.names())
        has_settings = self._grid.axis_number("T") is not None and all(map(names.__contains__, map(_pty, self._firsts)))
        return has_settings and math.isfinite(self._time(0))

    def _time(self, sample: int) -> float:
        """Return the time of a sample in seconds; NaN if its settings do not contain it."""
        settings = self._members.settings(_pty(self._firsts[sample]))
        section = f"Axis {self._grid.axis_number('T')} Parameters"
        value = settings.number(section, "AbsPositionValue")
        seconds = to_seconds(value, settings.text(section, "AbsPositionUnitName") or "ms")
        return math.nan if seconds is None else seconds


@dataclass(frozen=True, slots=True)
class _Axis:
    """An axis in the main settings; ``count`` is 0 for one that was not scanned along."""

    number: int
    count: int
    start: float | None
    end: float | None
    unit: str


@dataclass(frozen=True)
class _Grid:
    """The place of every frame: channels, planes and samples, by the names of the frames."""

    main: Settings
    order: str
    axes: Mapping[str, _Axis]
    places: Mapping[tuple[int, int, int], str]
    numbers: tuple[int, ...]
    planes: int

    @classmethod
    def of(cls, members: Members) -> _Grid:
        main = members.main
        positions = members.positions()
        if not positions:
            raise TruncatedRecordingError(
                f"{members.name} contains settings but no frames (s_C001.tif, ...); copy it again from the microscope's computer"
            )
        others = sorted({letter for place in positions.values() for letter in place} - set("CZT"))
        if others:
            raise UnsupportedRecordingError(
                f"{members.name} was also scanned along {' and '.join(map(_axis_words, others))}; supported are time, planes and channels"
            )
        places = {(p.get("C", 1), p.get("Z", 1), p.get("T", 1)): name for name, p in positions.items()}
        axes = _axes(main)
        # the settings describe a Z axis of several planes even where the frames were taken at one of them
        described = axes["Z"].count if "Z" in axes and any("Z" in place for place in positions.values()) else 1
        planes = max(1, described, max(z for _, z, _ in places))
        numbers = tuple(sorted({c for c, _, _ in places}))
        return cls(main, main.text("Axis Parameter Common", "AxisOrder"), axes, places, numbers, planes)

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels; their numbers, if a name is missing or occurs twice."""
        names = tuple(printable(self._channel_text(number, "CH Name")) for number in self.numbers)
        return names if all(names) and len(set(names)) == len(names) else tuple(map(str, self.numbers))

    @property
    def dyes(self) -> tuple[str, ...]:
        """The dyes of the channels, as alternative names; a missing dye, or one of several channels, does not identify one."""
        names = [printable(self._channel_text(number, "DyeName")) for number in self.numbers]
        return tuple(name if name and names.count(name) == 1 else _NO_NAME for name in names)

    @property
    def rate(self) -> float | None:
        """Samples per second, or None."""
        axis = self.axes.get("T")
        if axis is None or axis.count < 2 or axis.start is None or axis.end is None or axis.end <= axis.start:
            return None
        # the last sample is at the end of the axis, so there is one interval less than samples
        duration = to_seconds(axis.end - axis.start, axis.unit)
        return None if duration is None else (axis.count - 1) / duration

    @property
    def notes(self) -> tuple[str, ...]:
        """The meaning of the rows of a frame, if they are not Y."""
        along = self.order[1:2].upper()
        if along in ("", "Y"):
            return ()
        return (f"the scan order is {printable(self.order)}: the rows of a frame are along {_axis_words(along)}",)

    def axis_number(self, letter: str) -> int | None:
        """Return the number of an axis in the settings of a frame; None if there is no such axis."""
        axis = self.axes.get(letter)
        return axis.number if axis is not None and letter in self.order.upper()[2:] else None

    def frames(self, channel: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of a channel's frames, sample by sample and plane by plane, and notes about them."""
        number = self.numbers[channel]
        times = sorted({t for c, _, t in self.places if c == number})
        described = self.axes["T"].count if self.axis_number("T") is not None else 1
        last, complete = max(times[-1], described), 0
        while complete < last and self._missing_plane(number, complete + 1) is None:
            complete += 1
        # frames missing at the end mean that the scan was stopped; a complete sample after a gap means a lost file
        later = any(self._missing_plane(number, t) is None for t in times if t > complete + 1)
        if complete < last and (complete == 0 or later):
            plane = self._missing_plane(number, complete + 1)
            raise TruncatedRecordingError(
                f"{self.main.name}: the frame of channel {number}, plane {plane}, sample {complete + 1} is missing; copy the recording "
                "again from the microscope's computer"
            )
        names = tuple(self.places[number, z, t] for t in range(1, complete + 1) for z in range(1, self.planes + 1))
        return names, () if complete == last else (
            f"{complete:,} of {last:,} described samples are complete and are read",
        )

    def _missing_plane(self, channel: int, sample: int) -> int | None:
        """Return the first missing plane of a sample; None if it is complete."""
        return next((z for z in range(1, self.planes + 1) if (channel, z, sample) not in self.places), None)

    def metadata(self, channel: int) -> ChannelMetadata:
        """Return a channel's name and wavelengths; 0 nm means unknown."""
        section = f"Channel {self.numbers[channel]} Parameters"
        waves = (self.main.number(section, f"{kind}Wavelength") for kind in ("Emission", "Excitation"))
        emission, excitation = (value if value and value > 0 else None for value in waves)
        return ChannelMetadata(self.channels[channel], emission, excitation)

    def _channel_text(self, number: int, key: str) -> str:
        return self.main.text(f"Channel {number} Parameters", key)


def _pty(frame: str) -> str:
    """Return the name of a frame's settings file."""
    return f"{os.path.splitext(frame)[0]}.pty"


def _axes(main: Settings) -> dict[str, _Axis]:
    axes: dict[str, _Axis] = {}
    for number in range(_MAX_AXES):
        section = f"Axis {number} Parameters Common"
        letter = main.text(section, "AxisCode").upper()
        if letter and letter not in axes:
            start, end = main.number(section, "StartPosition"), main.number(section, "EndPosition")
            unit = main.text(section, "UnitName") or main.text(section, "PixUnit")
            axes[letter] = _Axis(number, main.count(section, "MaxSize") or 0, start, end, unit)
    return axes


def _spacing(axis: _Axis | None) -> float | None:
    """Return the distance between neighbours in micrometres, or None."""
    if axis is None or axis.count < 2 or axis.start is None or axis.end is None or axis.start == axis.end:
        return None
    return to_micrometres(abs(axis.end - axis.start) / (axis.count - 1), axis.unit)


def _pixel_size(main: Settings, axes: Mapping[str, _Axis]) -> tuple[float, float] | None:
    sizes, section = [], "Reference Image Parameter"
    for key, letter in (("Height", "Y"), ("Width", "X")):
        size = to_micrometres(main.number(section, f"{key}ConvertValue"), main.text(section, f"{key}Unit"))
        sizes.append(size if size and size > 0 else _spacing(axes.get(letter)))
    rows, columns = sizes
    return (rows, columns) if rows and columns else None


def _start_time(main: Settings) -> datetime | None:
    """Return the start of the recording in the local time of the microscope's computer, or None; the time zone is unknown."""
    section = "Acquisition Parameters Common"
    try:
        # "Caputre" is FluoView's spelling
        moment = datetime.strptime(main.text(section, "ImageCaputreDate"), "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None
    more = main.number(section, "ImageCaputreDate+MilliSec") or 0.0
    return moment + timedelta(milliseconds=more) if 0 <= more < 1000 else moment


def _axis_words(letter: str) -> str:
    return {"L": "wavelengths (L)", "T": "time (T)", "Z": "planes (Z)", "A": "angles (A)"}.get(
        letter, f"the axis {printable(letter)}"
    )

"""Reads one channel of an Olympus FluoView recording: T as samples, Z as planes."""

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
from roiextractors_core.imaging import ImagingExtractor
from roiextractors_core.io import choose_stream, warn
from roiextractors_core.metadata import ChannelMetadata, RecordingMetadata

from .recording import Members, members_of
from .settings import Settings

__all__ = ["OlympusImagingExtractor"]

_MICROMETRES = {"um": 1.0, "nm": 1e-3, "mm": 1e3}
_MAX_AXES = 16
_NO_NAME = "\0"  # which nobody types
_SECONDS = {"ms": 1e-3, "s": 1.0, "us": 1e-6}


class OlympusImagingExtractor(ImagingExtractor):
    """One channel of an ``.oib`` or ``.oif`` of Olympus FluoView: a movie ``(samples, rows, columns)``, or volumes with the planes last.

    Parameters
    ----------
    file_path : str or os.PathLike
        The ``.oib``; or the ``.oif``, whose folder ``....oif.files`` lies beside it; or the folder that holds
        one ``.oif``; or that of the frames.
    channel : str or int, optional
        One of several channels, by its name (``"CH1"``), by its dye, or by its number from 1.
    sampling_frequency : float, optional
        Samples a second (Hz); it wins over what the file says.

    Raises
    ------
    StreamChoiceError
        Several channels and none, or one that is not there, was named.
    TruncatedRecordingError
        A frame is not there, or is cut; the message names it.
    CorruptRecordingError, UnsupportedRecordingError
        The file is damaged, or holds what is not read: wavelengths, packed frames in an ``.oib``.
    SourceNotFoundError
        The folder of the frames is not there.

    Warns
    -----
    IncompleteRecordingWarning
        The recording was ended early: fewer frames are there than its settings tell.

    Notes
    -----
    A sample's time is that of its first plane, which the settings of each frame tell (``.pty``, axis T, milliseconds).
    Distances and intervals are those between neighbours: ``EndPosition`` is where the last pixel, plane or sample lies.

    References
    ----------
    [MS-CFB] for the container; the accounts of the packages oiffile and Bio-Formats (``FV1000Reader``) for what it holds.
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
        """Return the channels where there are several."""
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
        """Return the number of whole frames, or of whole volumes."""
        return self._samples

    def get_num_planes(self) -> int:
        """Return the number of planes of a sample."""
        return self._grid.planes

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the pixels."""
        return self._frames.dtype

    def get_sampling_frequency(self) -> float | None:
        """Return samples a second (Hz) by the time of the last sample, or None."""
        return self._grid.rate

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        """Return consecutive samples; see :meth:`ImagingExtractor.get_series`."""
        return self._part(np.arange(*self.resolve_range(start_sample, end_sample), dtype=np.int64))

    def get_samples(self, sample_indices: Any) -> np.ndarray:
        """Return samples by index; see :meth:`ImagingExtractor.get_samples`."""
        return self._part(self.resolve_indices(sample_indices))

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        """Return a part of the recording, reading what is asked; see :meth:`ImagingExtractor.get_block`."""
        self.check_open()
        wanted = np.arange(samples.start, samples.stop, dtype=np.int64) if isinstance(samples, slice) else samples
        return self._part(wanted, rows, columns, planes)

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the time that the settings of each sample's first frame tell, in seconds; None where there are not all of these.

        NaN stands where the settings of a frame do not tell it.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            As in :meth:`get_series`.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        if not self._has_times:
            return None
        for k in range(start, end):  # which clock is in force is asked often, and there is a file for each time
            if k not in self._times:
                self._times[k] = self._time(k)
        return np.array([self._times[k] for k in range(start, end)], np.float64)

    def get_metadata(self) -> RecordingMetadata:
        """Return what the settings say; ``vendor`` holds all of them."""
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

    def get_notes(self) -> tuple[str, ...]:
        """Return what was left out, and what rows and columns are where these are not Y and X."""
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
        """Return the time of a sample in seconds; NaN where its settings do not tell it."""
        settings = self._members.settings(_pty(self._firsts[sample]))
        section = f"Axis {self._grid.axis_number('T')} Parameters"
        value = settings.number(section, "AbsPositionValue")
        factor = _SECONDS.get(settings.text(section, "AbsPositionUnitName") or "ms")
        return math.nan if value is None or factor is None else value * factor

    def _part(
        self,
        samples: np.ndarray,
        rows: slice | None = None,
        columns: slice | None = None,
        planes: slice | None = None,
    ) -> np.ndarray:
        tall, wide = self._frames.shape
        count = self._grid.planes
        chosen = np.arange(*(planes or slice(None)).indices(count), dtype=np.int64)
        numbers = (samples[:, None] * count + chosen).ravel()
        block = self._frames.read(numbers, rows or slice(0, tall), columns or slice(0, wide))
        if not self.is_volumetric:
            return block
        return np.moveaxis(block.reshape(len(samples), len(chosen), *block.shape[1:]), 1, 3)


@dataclass(frozen=True, slots=True)
class _Axis:
    """What the main settings tell of an axis; ``count`` is 0 for one that was not scanned along."""

    number: int
    count: int
    start: float | None
    end: float | None
    unit: str


@dataclass(frozen=True)
class _Grid:
    """Which frame stands where: channels, planes and samples by the names of the frames."""

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
                f"{members.name} holds its settings and no frames: s_C001.tif and the like were to be there; copy it again from the microscope's computer"
            )
        others = sorted({letter for place in positions.values() for letter in place} - set("CZT"))
        if others:
            raise UnsupportedRecordingError(
                f"{members.name} was scanned along {' and '.join(map(_called, others))} too; what is read are time, planes and channels"
            )
        places = {(p.get("C", 1), p.get("Z", 1), p.get("T", 1)): name for name, p in positions.items()}
        axes = _axes(main)
        told = axes["Z"].count if "Z" in axes and any("Z" in place for place in positions.values()) else 1
        planes = max(1, told, max(z for _, z, _ in places))
        numbers = tuple(sorted({c for c, _, _ in places}))
        return cls(main, main.text("Axis Parameter Common", "AxisOrder"), axes, places, numbers, planes)

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels; their numbers, where the names are not told or repeat."""
        names = tuple(printable(self._told(number, "CH Name")) for number in self.numbers)
        return names if all(names) and len(set(names)) == len(names) else tuple(map(str, self.numbers))

    @property
    def dyes(self) -> tuple[str, ...]:
        """The dyes of the channels, as other names of them; one that is not told, or is that of several, is no name."""
        names = [printable(self._told(number, "DyeName")) for number in self.numbers]
        return tuple(name if name and names.count(name) == 1 else _NO_NAME for name in names)

    @property
    def rate(self) -> float | None:
        """Samples a second: the last one lies at the end of the axis."""
        axis = self.axes.get("T")
        if axis is None or axis.count < 2 or axis.start is None or axis.end is None or axis.end <= axis.start:
            return None
        factor = _SECONDS.get(axis.unit)
        return None if factor is None else (axis.count - 1) / ((axis.end - axis.start) * factor)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the rows of a frame are, where they are not Y."""
        along = self.order[1:2].upper()
        if along in ("", "Y"):
            return ()
        return (f"it was scanned as {printable(self.order)}: the rows of a frame lie along {_called(along)}",)

    def axis_number(self, letter: str) -> int | None:
        """Return the number under which the settings of a frame tell its place on an axis; None where there is no such axis."""
        axis = self.axes.get(letter)
        return axis.number if axis is not None and letter in self.order.upper()[2:] else None

    def frames(self, channel: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return a channel's frames, sample by sample and in each plane by plane, and what is to be said of them."""
        number = self.numbers[channel]
        times = sorted({t for c, _, t in self.places if c == number})
        told = self.axes["T"].count if self.axis_number("T") is not None else 1
        last, whole = max(times[-1], told), 0
        while whole < last and self._absent(number, whole + 1) is None:
            whole += 1
        later = any(self._absent(number, t) is None for t in times if t > whole + 1)
        if whole < last and (whole == 0 or later):
            raise TruncatedRecordingError(
                f"{self.main.name}: the frame of channel {number}, plane {self._absent(number, whole + 1)}, sample {whole + 1} is not there; "
                "copy the recording again from the microscope's computer"
            )
        names = tuple(self.places[number, z, t] for t in range(1, whole + 1) for z in range(1, self.planes + 1))
        return names, () if whole == last else (
            f"{last:,} samples are told of, and the {whole:,} that are whole are read",
        )

    def _absent(self, channel: int, sample: int) -> int | None:
        """Return the first plane of a sample that is not there; None of a whole one."""
        return next((z for z in range(1, self.planes + 1) if (channel, z, sample) not in self.places), None)

    def metadata(self, channel: int) -> ChannelMetadata:
        """Return a channel's name and wavelengths; 0 nm is none."""
        number = self.numbers[channel]
        found = [
            self.main.number(f"Channel {number} Parameters", f"{kind}Wavelength") for kind in ("Emission", "Excitation")
        ]
        emission, excitation = (value if value and value > 0 else None for value in found)
        return ChannelMetadata(self.channels[channel], emission, excitation)

    def _told(self, number: int, key: str) -> str:
        return self.main.text(f"Channel {number} Parameters", key)


def _pty(frame: str) -> str:
    """Return the name of a frame's settings."""
    return f"{os.path.splitext(frame)[0]}.pty"


def _axes(main: Settings) -> dict[str, _Axis]:
    found: dict[str, _Axis] = {}
    for number in range(_MAX_AXES):
        section = f"Axis {number} Parameters Common"
        letter = main.text(section, "AxisCode").upper()
        if letter and letter not in found:
            start, end = main.number(section, "StartPosition"), main.number(section, "EndPosition")
            unit = main.text(section, "UnitName") or main.text(section, "PixUnit")
            found[letter] = _Axis(number, main.count(section, "MaxSize") or 0, start, end, unit)
    return found


def _spacing(axis: _Axis | None) -> float | None:
    """Return the distance between neighbours in micrometres; None where it is not told."""
    if axis is None or axis.count < 2 or axis.start is None or axis.end is None or axis.start == axis.end:
        return None
    factor = _MICROMETRES.get(axis.unit)
    return None if factor is None else abs(axis.end - axis.start) / (axis.count - 1) * factor


def _pixel_size(main: Settings, axes: Mapping[str, _Axis]) -> tuple[float, float] | None:
    found = []
    for key, letter in (("Height", "Y"), ("Width", "X")):
        size = main.number("Reference Image Parameter", f"{key}ConvertValue")
        factor = _MICROMETRES.get(main.text("Reference Image Parameter", f"{key}Unit"))
        found.append(size * factor if size and size > 0 and factor else _spacing(axes.get(letter)))
    rows, columns = found
    return (rows, columns) if rows and columns else None


def _start_time(main: Settings) -> datetime | None:
    """Return when the recording began, by the clock of the microscope's computer; its time zone is not told."""
    section = "Acquisition Parameters Common"
    try:
        moment = datetime.strptime(main.text(section, "ImageCaputreDate"), "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None
    more = main.number(section, "ImageCaputreDate+MilliSec") or 0.0
    return moment + timedelta(milliseconds=more) if 0 <= more < 1000 else moment


def _called(letter: str) -> str:
    return {"L": "wavelengths (L)", "T": "time (T)", "Z": "planes (Z)", "A": "angles (A)"}.get(
        letter, f"the axis {printable(letter)}"
    )

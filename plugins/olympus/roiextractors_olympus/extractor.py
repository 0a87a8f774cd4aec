"""Reads one channel of an Olympus FluoView recording, with T as samples and Z as planes."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    RecordingError,
    RoiExtractorsWarning,
    SourceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.imaging import BlockImagingExtractor
from roiextractors_core.io import (
    choose_stream,
    describe_disorder,
    plausible_start,
    regular_rate,
    to_micrometres,
    to_seconds,
    warn,
)
from roiextractors_core.metadata import ChannelMetadata, ObjectiveMetadata, RecordingMetadata

from .recording import Members, members_of
from .settings import Settings

__all__ = ["OlympusImagingExtractor"]

_MAX_AXES = 16
_MAX_MISSING = 1_000_000
# Each time is in a file of its own; the jitter is a fraction of the period
_MAX_TIMED = 5_000
_NUM_SAMPLED = 5
_BAND = re.compile(r"BA ?(\d{3,4})-(\d{3,4})")
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
    allow_missing : bool
        Leave out samples with a missing frame, wherever they are. The times of the other samples do not change.
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
        allow_missing: bool = False,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._members = members_of(file_path)
        self._grid = _Grid.of(self._members)
        self._channel = choose_stream(
            self._members.name, "channel", self._grid.channels, channel, identifiers=self._grid.dyes, first=1
        )
        names, self._points, self._missing, self._notes = self._grid.frames(self._channel, allow_missing)
        self._names = names
        self._verified = np.zeros(len(names), bool)
        self._firsts = names[:: self._grid.planes]
        self._native_times: dict[int, float] = {}
        self._disorder = ""
        self._unread: list[str] = []  # damaged settings of samples, whose times are not known
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
        """Return samples per second (Hz), from the time of the last sample on the axis T, else from regular native times; or None."""
        return self._grid.rate if self._grid.rate is not None else self._rate_by_times

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        """Return a part of the recording; see :meth:`ImagingExtractor.get_block`."""
        self.check_open()
        indices = np.arange(samples.start, samples.stop, dtype=np.int64) if isinstance(samples, slice) else samples
        count = self._grid.planes
        chosen = np.arange(*(planes or slice(None)).indices(count), dtype=np.int64)
        frames = (indices[:, None] * count + chosen).ravel()
        self._require_identity(frames)
        block = self._frames.read(frames, rows, columns)
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
            rate = self._grid.rate
            # samples that were left out leave gaps, which the rate alone does not show
            return None if rate is None or not self._has_gaps else self._points[start:end] / rate
        times = np.array([self._time(k) for k in range(start, end)], np.float64)
        # Only now: each time is in a file of its own, and opening does not read them all
        disorder = describe_disorder(times[np.isfinite(times)]) if not self._disorder else ""
        if disorder:
            self._disorder = (
                f"{self._members.name}: {disorder}; files of frames, or of their settings, may have been swapped"
            )
            warn(self._disorder, RoiExtractorsWarning)
        return times

    def get_metadata(self) -> RecordingMetadata:
        """Return the metadata in the settings; ``vendor`` contains all settings."""
        main, grid = self._members.main, self._grid
        common, first = "Acquisition Parameters Common", self._first_settings
        bits = main.count("Reference Image Parameter", "ValidBitCounts")
        zoom = main.number(common, "ZoomValue")
        return RecordingMetadata(
            start_time=plausible_start(_start_time(main)),
            pixel_size=_pixel_size(main, grid.axes),
            plane_spacing=_spacing(grid.axes.get("Z")) if self.is_volumetric else None,
            channels=(grid.metadata(self._channel),),
            objective=None if first is None else _objective(first),
            zoom=zoom if zoom and zoom > 0 else None,
            bit_depth=bits if bits and bits <= 8 * self.get_dtype().itemsize else None,
            modality=grid.modality(self._channel),
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
        """Return the samples that were left out, and the meaning of rows if they are not Y."""
        clock = self._clock_notes  # first, since it reads times
        return (*self._notes, *self._grid.notes, *clock, *self._unread, *filter(None, (self._disorder,)))

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples that are described and incomplete; they are left out.  The list ends at the last frame that exists."""
        return self._missing.copy()

    def close(self) -> None:
        """Release the files."""
        self._frames.close()
        self._members.close()
        super().close()

    @property
    def _has_gaps(self) -> bool:
        return int(self._points[-1]) != len(self._points) - 1

    @cached_property
    def _has_settings(self) -> bool:
        """Whether every sample has a settings file with its time."""
        has_settings = self._grid.axis_number("T") is not None and all(map(self._settings_of, self._firsts))
        return has_settings and math.isfinite(self._time(0))

    @cached_property
    def _has_times(self) -> bool:
        return self._has_settings and not self._stands_still

    @cached_property
    def _stands_still(self) -> bool:
        """Whether the first, second, middle and last sample have the same time; the middle is checked because clocks can be set."""
        # The first two times decide in most recordings, so that no other settings file is read
        if self._samples < 3 or self._time(1) != self._time(0):
            return False
        return all(self._time(k) == self._time(0) for k in (self._samples // 2, self._samples - 1))

    @cached_property
    def _clock_notes(self) -> tuple[str, ...]:
        if not self._has_settings or not self._stands_still:
            return ()
        return ("the times in the settings of the frames are all the same; times are computed from the rate",)

    @cached_property
    def _rate_by_times(self) -> float | None:
        if not self._has_times or not 2 < self._samples <= _MAX_TIMED:
            return None
        # Divided by the distance of the samples, since some may have been left out
        times = np.array([self._time(k) for k in range(self._samples)])
        known = np.isfinite(times)
        if known.sum() < 3:
            return None
        return regular_rate(times[known], self._points[known])

    @cached_property
    def _first_settings(self) -> Settings | None:
        """The settings of the first frame, which name the objective; None if they are missing or damaged."""
        name = self._settings_of(self._names[0])
        if not name:
            return None
        try:
            return self._members.settings(name)
        except (RecordingError, SourceError):
            return None

    @cached_property
    def _names_are_in_settings(self) -> bool:
        """Whether the settings of most frames name their own frame, by a few of them."""
        sampled = np.unique(np.linspace(0, len(self._names) - 1, _NUM_SAMPLED).astype(np.int64)).tolist()
        agreeing = [
            seen.casefold() == self._names[k].casefold() for k in sampled if (seen := self._name_in_settings(k))
        ]
        # One frame may agree by chance; a few renamed files must not turn the check off
        return len(agreeing) > 1 and 2 * sum(agreeing) > len(agreeing)

    @cached_property
    def _settings_names(self) -> Mapping[str, str]:
        # FluoView runs on Windows, where the case of a name does not matter
        return {name.casefold(): name for name in self._members.names() if name.casefold().endswith(".pty")}

    def _settings_of(self, frame: str) -> str:
        """Return the name of the settings file of a frame; empty if there is none."""
        return self._settings_names.get(_pty(frame).casefold(), "")

    def _name_in_settings(self, frame: int) -> str:
        """Return the name of the frame in its settings file; empty if it is not there."""
        name = self._settings_of(self._names[frame])
        if not name:
            return ""
        try:
            return self._members.settings(name).text("File Info", "DataName")
        except (RecordingError, SourceError):
            return ""

    def _require_identity(self, frames: np.ndarray) -> None:
        """Refuse frames whose settings name another frame: their files were renamed."""
        if not self._names_are_in_settings:
            return
        for frame in np.unique(frames[~self._verified[frames]]).tolist():
            seen = self._name_in_settings(frame)
            # FluoView runs on Windows, where the case of a file name does not matter
            if seen and seen.casefold() != self._names[frame].casefold():
                raise CorruptRecordingError(
                    f"{self._members.name}: {self._settings_of(self._names[frame])} contains the settings of {printable(seen)}; the files were renamed or "
                    "replaced. Copy the recording again from the microscope's computer"
                )
            self._verified[frame] = True

    def _time(self, sample: int) -> float:
        """Return the time of a sample in seconds; NaN if its settings do not contain it."""
        # Kept, because each time is in a file of its own and times are requested often
        if sample not in self._native_times:
            self._native_times[sample] = self._read_time(sample)
        return self._native_times[sample]

    def _read_time(self, sample: int) -> float:
        try:
            settings = self._members.settings(self._settings_of(self._firsts[sample]))
        except (RecordingError, SourceError) as error:
            if not self._unread:
                self._unread = [
                    f"{self._members.name}: {error}; the times of samples whose settings are damaged are NaN"
                ]
                warn(self._unread[0])
            return math.nan
        section = f"Axis {self._grid.axis_number('T')} Parameters"
        value = settings.number(section, "AbsPositionValue")
        seconds = to_seconds(value, settings.text(section, "AbsPositionUnitName") or "ms")
        if seconds is None and not self._unread and sample:  # without the first time, none is used
            name = os.path.basename(str(self._settings_of(self._firsts[sample])))
            self._unread = [
                f"{self._members.name}: {printable(name)} contains no time; the times of such samples are NaN"
            ]
            warn(self._unread[0])
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
                f"{members.name} was also scanned along {' and '.join(map(_axis_words, others))}; only time, "
                "planes and channels are supported"
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
        # In a line scan, T may be among the first two axes: then it is along the rows of a frame
        return axis.number if axis is not None and letter in self.order.upper()[2:] else None

    def frames(
        self, channel: int, allow_missing: bool
    ) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, tuple[str, ...]]:
        """Return a channel's frames, sample by sample and plane by plane, the samples from 0, the missing ones, and warnings."""
        number = self.numbers[channel]
        times = sorted({t for c, _, t in self.places if c == number})
        described = self.axes["T"].count if self.axis_number("T") is not None else 1
        last = max(times[-1], described)
        complete = [t for t in times if self._missing_plane(number, t) is None]
        end = complete[-1] if complete else 0
        # frames missing at the end mean that the scan was stopped; a complete sample after a gap means a lost file
        if not complete or (len(complete) < end and not allow_missing):
            known = set(complete)
            sample = next(t for t in range(1, len(complete) + 2) if t not in known)
            rest = "; or leave out the incomplete samples: open(..., allow_missing=True)" if complete else ""
            raise TruncatedRecordingError(
                f"{self.main.name}: the frame of channel {number}, plane {self._missing_plane(number, sample)}, sample {sample} is missing; "
                f"copy the recording again from the microscope's computer{rest}"
            )
        names = tuple(self.places[number, z, t] for t in complete for z in range(1, self.planes + 1))
        points = np.array(complete, np.int64) - 1
        # a number of samples that no recording has must not allocate a list of them
        missing = np.setdiff1d(np.arange(min(last, times[-1] + _MAX_MISSING)), points)
        words = (
            ()
            if len(complete) == last
            else (
                f"{len(complete):,} of {last:,} described samples are complete and are read; "
                f"{'the others have missing frames' if len(complete) < end else 'the recording was stopped, or its last frames are missing'}",
            )
        )
        return names, points, missing, words

    def _missing_plane(self, channel: int, sample: int) -> int | None:
        """Return the first missing plane of a sample; None if it is complete."""
        return next((z for z in range(1, self.planes + 1) if (channel, z, sample) not in self.places), None)

    def metadata(self, channel: int) -> ChannelMetadata:
        """Return a channel's name and wavelengths; 0 nm means unknown."""
        section = f"Channel {self.numbers[channel]} Parameters"
        waves = (self.main.number(section, f"{kind}Wavelength") for kind in ("Emission", "Excitation"))
        emission, excitation = (value if value and value > 0 else None for value in waves)
        band = _BAND.fullmatch(self.main.text(section, "BF Name"))
        lines, power = self._lasers(excitation)
        return ChannelMetadata(
            self.channels[channel],
            emission,
            excitation,
            detection_band=(float(band[1]), float(band[2])) if band else None,
            laser_lines=lines,
            laser_power=power,
        )

    def _lasers(self, excitation: float | None) -> tuple[tuple[float, ...], float | None]:
        """Return the laser of a channel, or all that were on if it is none of them, and its transmissivity in percent."""
        section = "Acquisition Parameters Common"
        count = min(self.main.count(section, "Number of use Laser") or 0, _MAX_AXES)
        lasers = {}
        for k in range(1, count + 1):
            line = self.main.number(section, f"LaserWavelength{k:02d}")
            if line is not None and line > 0:
                lasers[line] = self.main.number(section, f"LaserTransmissivity{k:02d}")
        chosen = [excitation] if excitation in lasers else sorted(lasers)
        power = lasers[chosen[0]] if len(chosen) == 1 else None
        return tuple(line for line in chosen if line), power if power is not None and 0 <= power <= 100 else None

    def modality(self, channel: int) -> str | None:
        """Return ``"two-photon"`` for a multiphoton system or an infrared laser, ``"confocal"`` where the pinhole was used, or None."""
        section = f"Channel {self.numbers[channel]} Parameters"
        if self.main.text(section, "LightType").startswith("Transmitted"):
            return None
        excitation = self.main.number(section, "ExcitationWavelength") or 0
        if "MPE" in self.main.text("Version Info", "SystemName").upper() or 680 <= excitation <= 1400:
            return "two-photon"
        return "confocal" if self.main.text(section, "Confocal") == "ON" else None

    def _channel_text(self, number: int, key: str) -> str:
        return self.main.text(f"Channel {number} Parameters", key)


def _objective(settings: Settings) -> ObjectiveMetadata | None:
    section = "Acquisition Parameters Common"
    name = " ".join(printable(settings.text(section, "ObjectiveLens Name")).split())
    numbers = (settings.number(section, key) for key in ("Magnification", "ObjectiveLens NAValue"))
    magnification, aperture = (value if value and 0 < value < 1000 else None for value in numbers)
    return ObjectiveMetadata(name or None, magnification, aperture) if name or magnification or aperture else None


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

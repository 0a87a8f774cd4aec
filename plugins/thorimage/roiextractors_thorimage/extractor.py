"""Reads ThorImage recordings: one channel with all of its planes, from TIFF frames or a raw file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    ChoiceError,
    SourceKindError,
    SourceNotFoundError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.imaging import BlockImagingExtractor
from roiextractors_core.io import plausible_start, regular_rate, warn
from roiextractors_core.metadata import ChannelMetadata, RecordingMetadata

from .experiment import Experiment
from .folder import Folder, FrameFiles, Place
from .frames import Frames, RawFrames, TiffFrames
from .timing import Timing

__all__ = ["ThorImageImagingExtractor"]

# Fewer times do not show a rate; the others are fractions of the period
_MIN_TIMES, _MAX_JITTER, _MAX_DEVIATION = 4, 0.01, 0.02

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class ThorImageImagingExtractor(BlockImagingExtractor):
    """One channel of a ThorImage recording: a movie ``(samples, rows, columns)``, or volumes with the planes last.

    Parameters
    ----------
    file_path : str, os.PathLike, or a list of them
        The folder; its ``Experiment.xml``; any of its TIFF or raw files; or a list of TIFF files, which are then the only ones
        read.
    channel : str, optional
        The channel's name as in the file names (``"ChanA"``). Required if several channels were saved.
    channel_name : str, optional
        Alias of ``channel``, as named in roiextractors.
    site, tile : str or int, optional
        One of several sites or tiles, by its number in the file names.
    raw_channels : int, optional
        The number of channels in a raw file, if channels that were not enabled are in it and the experiment does not say so.
    allow_missing : bool
        Leave out samples with a missing, damaged or foreign file, instead of refusing a recording with gaps. The times of the other
        samples do not change. Every file is then checked while opening.
    sampling_frequency : float, optional
        Samples per second (Hz); overrides the experiment's rate.

    Raises
    ------
    StreamChoiceError
        There are several channels, sites or tiles and none was chosen, or the chosen one does not exist.
    TruncatedRecordingError
        A file is missing or truncated; the message names it.
    CorruptRecordingError, UnsupportedRecordingError
        ``Experiment.xml`` is damaged, or describes a layout that is not supported.
    SourceNotFoundError
        ``Experiment.xml`` is not in the folder of the files.

    Warns
    -----
    IncompleteRecordingWarning
        The recording contains less than its experiment describes.

    References
    ----------
    See :class:`roiextractors_thorimage.experiment.Experiment`.
    """

    def __init__(
        self,
        file_path: Paths,
        *,
        channel: str | None = None,
        channel_name: str | None = None,
        site: str | int | None = None,
        tile: str | int | None = None,
        raw_channels: int | None = None,
        allow_missing: bool = False,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        if channel is not None and channel_name not in (None, channel):
            raise ChoiceError(f"channel={channel!r} and channel_name={channel_name!r} contradict each other; pass one")
        contents = _Contents.of(file_path)
        self._experiment, self._contents = contents.experiment, contents
        self._channel = contents.choose_channel(channel_name if channel is None else channel)
        self._frames = contents.frames(
            self._channel, site, tile, raw_channels=raw_channels, allow_missing=allow_missing
        )
        self.is_volumetric = self._frames.planes > 1
        for sentence in (*contents.warnings, *self._frames.warnings):
            warn(f"{contents.name}: {sentence}")
        # A clock that stands still is no loss; a damaged or foreign list of times is
        if self._timing is not None and self._timing.note and not self._timing.stands_still:
            warn(f"{contents.name}: {self._timing.note}")

    @classmethod
    def get_streams(cls, file_path: Paths, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels, sites and tiles to choose from, for each of them that has several.

        Returns
        -------
        dict
            ``{"channel": ("ChanA", "ChanB")}``
        """
        contents = _Contents.of(file_path)
        places = contents.places(contents.channels)
        sites, tiles = (tuple(dict.fromkeys(str(place[k]) for place in places)) for k in (0, 1))
        streams = {"channel": contents.channels, "site": sites, "tile": tiles}
        return {option: choices for option, choices in streams.items() if len(choices) > 1}

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._frames.shape

    def get_num_samples(self) -> int:
        """Return the number of complete frames or volumes."""
        return len(self._frames.points)

    def get_num_planes(self) -> int:
        """Return the number of planes of a sample, not counting the flyback."""
        return self._frames.planes

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the pixels."""
        return self._frames.dtype

    def get_sampling_frequency(self) -> float | None:
        """Return samples per second (Hz) after averaging, planes and flyback; None if unknown.

        Regular times in ``timing.txt`` that contradict the experiment's rate count more.
        """
        measured = self._measured_rate
        return self._described_rate if measured is None else measured

    @cached_property
    def _described_rate(self) -> float | None:
        return self._experiment.rate(averaged=self._frames.averaged, planes=self._frames.planes)

    @cached_property
    def _measured_rate(self) -> float | None:
        """The rate of the times in ``timing.txt``, if they are regular and the experiment has another rate or none."""
        if self._timing is None or self._timing.seconds is None or len(self._timing.seconds) < _MIN_TIMES:
            return None
        rate, described = regular_rate(self._timing.seconds, jitter=_MAX_JITTER), self._described_rate
        # The experiment's rate has no jitter of the clock, so it counts if both agree
        return None if rate and described and abs(described / rate - 1) <= _MAX_DEVIATION else rate

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        """Return a part of the recording; see :meth:`ImagingExtractor.get_block`."""
        self.check_open()
        indices = np.arange(samples.start, samples.stop, dtype=np.int64) if isinstance(samples, slice) else samples
        chosen = np.arange(*(planes or slice(None)).indices(self._frames.planes), dtype=np.int64)
        block = self._frames.read(indices, chosen, rows, columns)
        if not self.is_volumetric:
            return block
        return np.moveaxis(block.reshape(len(indices), len(chosen), *block.shape[1:]), 1, 3)

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times in ``timing.txt``: of each frame, or of the first plane of each volume.

        If samples were left out (``allow_missing=True``) and there is no such file, times are computed from the time points
        and the rate, so that gaps are kept.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            As in :meth:`get_series`.

        Returns
        -------
        numpy.ndarray or None
            Seconds since the experiment began, float64.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        points = self._frames.points[start:end]
        if self._timing is not None and self._timing.seconds is not None:
            return np.asarray(self._timing.seconds[points], np.float64)
        rate = self._described_rate
        # without gaps there is nothing that the rate alone does not say, so these would not be native times
        if rate is None or self._frames.points[-1] == len(self._frames.points) - 1:
            return None
        return np.asarray(points / rate, np.float64)

    def get_metadata(self) -> RecordingMetadata:
        """Return the experiment's metadata; ``vendor`` is the whole document."""
        experiment = self._experiment
        wavelength = experiment.wavelength
        return RecordingMetadata(
            start_time=plausible_start(experiment.start_time),
            pixel_size=experiment.pixel_size,
            plane_spacing=experiment.plane_spacing if self.is_volumetric else None,
            channels=(
                ChannelMetadata(
                    self._channel,
                    excitation_wavelength=wavelength,
                    laser_lines=() if wavelength is None else (wavelength,),
                    laser_power=experiment.laser_power,
                    exposure_time=experiment.exposure_time(self._channel),
                ),
            ),
            objective=experiment.objective,
            bit_depth=experiment.bit_depth,
            modality=experiment.modality,
            device=experiment.software,
            software=experiment.software,
            vendor=experiment.root.to_dict(),
        )

    def get_paths(self) -> tuple[str, ...]:
        """Return the folder of the experiment: its XML file, its times and all frames are in it."""
        return tuple(dict.fromkeys([*super().get_paths(), self._contents.folder.path]))

    def get_notes(self) -> tuple[str, ...]:
        """Return the decisions made while opening, and the samples that were left out."""
        frames = self._frames
        has_times = self._timing is not None and self._timing.seconds is not None
        rate = self._experiment.rate_note(averaged=frames.averaged, planes=frames.planes, has_times=has_times)
        timing = self._timing.note if self._timing else ""
        if self._measured_rate is not None:
            described = self._described_rate
            rate = (
                f"the rate is {self._measured_rate:.6g} Hz according to {self._contents.folder.timing}, "
                f"although {self._experiment.name} describes "
                f"{'none' if described is None else f'{described:.6g} Hz'}"
            )
        notes = (*self._contents.warnings, *frames.warnings, *frames.notes, rate, timing)
        return tuple(note for note in notes if note)

    def get_missing_samples(self) -> np.ndarray:
        """Return the time points that are described and are missing or incomplete; they are left out."""
        return np.asarray(self._frames.missing, np.int64).copy()

    def close(self) -> None:
        """Release the files."""
        self._frames.close()
        super().close()

    @cached_property
    def _timing(self) -> Timing | None:
        folder = self._contents.folder
        if folder.timing is None:
            return None
        samples, planes = int(self._frames.points[-1]) + 1, self._frames.planes
        return Timing.of(
            os.path.join(folder.path, folder.timing),
            samples=samples,
            steps=(1, planes, planes + (self._experiment.flyback if planes > 1 else 0)),
            time_points=self._experiment.time_points or samples,
        )


@dataclass(frozen=True)
class _Contents:
    """The contents of the folder, and which of them are the recording."""

    folder: Folder
    experiment: Experiment
    is_raw: bool
    is_list: bool
    channels: tuple[str, ...]

    @classmethod
    def of(cls, file_path: Paths) -> _Contents:
        if isinstance(file_path, str | os.PathLike):
            return cls._of_one(os.path.abspath(os.fspath(file_path)))
        paths = [os.path.abspath(os.fspath(path)) for path in file_path]
        folders = {os.path.dirname(path) for path in paths}
        if len(folders) != 1:
            raise SourceKindError(
                f"expected the files of one ThorImage recording, all in one folder; got files in {len(folders)} folders"
            )
        folder = Folder(folders.pop(), [os.path.basename(path) for path in paths])
        return cls._choose(folder, _read_experiment(folder, paths[0]), os.path.basename(paths[0]), is_list=True)

    @classmethod
    def _of_one(cls, path: str) -> _Contents:
        if os.path.isdir(path):
            folder, name = Folder(path), ""
        else:
            folder, name = Folder(os.path.dirname(path)), os.path.basename(path)
        is_frame = os.path.splitext(name)[1].lower() in (".tif", ".tiff", ".raw")
        experiment = _read_experiment(folder, path) if is_frame or not name else Experiment(path)
        return cls._choose(folder, experiment, name, is_list=False)

    @classmethod
    def _choose(cls, folder: Folder, experiment: Experiment, name: str, *, is_list: bool) -> _Contents:
        suffix = os.path.splitext(name)[1].lower()
        # a folder can contain both, from two recordings or a conversion: the named file decides, then the experiment
        wants_raw = suffix == ".raw" or (suffix not in (".tif", ".tiff") and experiment.saves_raw)
        if folder.raw and wants_raw:
            return cls(folder, experiment, True, is_list, experiment.channels)
        channels = folder.channels(experiment.channels)
        if not channels and not folder.raw:
            raise _without_frames(folder, experiment)
        return cls(folder, experiment, not channels, is_list, channels or experiment.channels)

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about a number of planes that is not one, and about the first channel of the experiment that has no file."""
        doubts = tuple(filter(None, (self.experiment.planes_doubt,)))
        absent = [name for name in self.experiment.channels if name not in self.channels]
        if not absent or self.is_list:
            return doubts
        files = self.folder.frames(self.channels[0])
        missing = FrameFiles(absent[0], files.names, files.numbers, files.digits).grid(files.places[0]).file_name(0, 0)
        return (*doubts, f"{self.experiment.name} lists the channel {printable(absent[0])!r}, but {missing} is missing")

    def choose_channel(self, given: str | None) -> str:
        if not self.channels:
            raise UnsupportedRecordingError(
                f"{self.name} cannot be read: {self.experiment.name} does not list a channel (its Wavelengths are empty)"
            )
        if given is None and len(self.channels) == 1:
            return self.channels[0]
        if given not in self.channels:
            raise StreamChoiceError.for_option(self.name, "channel", self.channels, seen=given)
        return str(given)

    def places(self, channels: Sequence[str]) -> tuple[Place, ...]:
        """Return the sites and tiles of these channels."""
        if self.is_raw:
            return tuple(sorted(self.folder.raw))
        return tuple(sorted({place for name in channels for place in self.folder.frames(name).places}))

    def frames(self, channel: str, site: Any, tile: Any, *, raw_channels: int | None, allow_missing: bool) -> Frames:
        if self.is_raw:
            place = self._choose_place(self.places(()), site, tile)
            path = os.path.join(self.folder.path, self.folder.raw[place])
            return RawFrames(path, channel, self.experiment, raw_channels=raw_channels)
        if raw_channels is not None:
            raise ChoiceError(
                f"raw_channels={raw_channels!r} is for raw files, but the frames of {self.name} are TIFF files"
            )
        files = self.folder.frames(channel)
        grid = files.grid(self._choose_place(files.places, site, tile))
        return TiffFrames(
            self.folder.path,
            files.names,
            grid,
            self.experiment,
            # The user chose the files of a list, so files that are not in it are not a fault
            allow_missing=allow_missing or self.is_list,
            allow_damaged=allow_missing,
        )

    def _choose_place(self, places: Sequence[Place], site: Any, tile: Any) -> Place:
        """Return the chosen site and tile, or the only ones."""
        left = list(places)
        for axis, (option, given) in enumerate((("site", site), ("tile", tile))):
            choices = tuple(dict.fromkeys(str(place[axis]) for place in left))
            if (given is None and len(choices) > 1) or (given is not None and str(given) not in choices):
                raise StreamChoiceError.for_option(self.name, option, choices, seen=given)
            left = [place for place in left if given is None or str(place[axis]) == str(given)]
        return left[0]


def _read_experiment(folder: Folder, path: str) -> Experiment:
    if folder.experiment is None:
        raise SourceNotFoundError(
            f"there is no Experiment.xml in {folder.name}, which is needed to read {printable(os.path.basename(path))} as ThorImage; "
            "copy it from the microscope's computer, or read TIFF files as plain TIFF: open(..., format='tiff')"
        )
    return Experiment(os.path.join(folder.path, folder.experiment))


def _without_frames(folder: Folder, experiment: Experiment) -> Exception:
    if folder.stores:
        return UnsupportedRecordingError(
            f"{folder.name} was saved as one large TIFF ({printable(folder.stores[0])}), which is OME-TIFF; open that file with "
            "open(..., format='ometiff')"
        )
    first = experiment.channels[0] if experiment.channels else "ChanA"
    expected = "Image_0001_0001.raw" if experiment.saves_raw else f"{printable(first)}_0001_0001_0001_0001.tif"
    return TruncatedRecordingError(
        f"{folder.name} contains {experiment.name} but no frames, neither TIFF nor raw files; expected {expected} (or the name with "
        "three digits). The recording is incomplete; copy its folder again from the microscope's computer"
    )

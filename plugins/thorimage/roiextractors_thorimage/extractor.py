"""Reads ThorImage recordings: one channel with all of its planes, from TIFF frames or a raw file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    ChoiceError,
    IncompleteRecordingWarning,
    SourceKindError,
    SourceNotFoundError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.imaging import ImagingExtractor
from roiextractors_core.metadata import ChannelMetadata, RecordingMetadata

from .experiment import Experiment
from .folder import Folder, FrameFiles, Place
from .frames import Frames, RawFrames, TiffFrames
from .timing import Timing

__all__ = ["ThorImageImagingExtractor"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class ThorImageImagingExtractor(ImagingExtractor):
    """One channel of a ThorImage recording: a movie ``(samples, rows, columns)``, or volumes with the planes last.

    Parameters
    ----------
    file_path : str, os.PathLike, or a list of them
        The folder; or its ``Experiment.xml``; or any of its TIFF or raw files; or a list of TIFF files, which are then taken alone.
    channel : str, optional
        The channel's name as the files bear it (``"ChanA"``). Needed when several were saved.
    channel_name : str, optional
        The same, under the field's name for it.
    site, tile : str or int, optional
        One of several places of the sample, by its number in the file names.
    allow_missing : bool
        Leave out the samples that lack a file or have a damaged one, instead of refusing a recording with gaps. The times of
        the others stay. Every file is then looked at while opening.
    sampling_frequency : float, optional
        Samples a second (Hz); wins over the experiment's.

    Raises
    ------
    StreamChoiceError
        Several channels, sites or tiles and none, or one that is not there, was named.
    TruncatedRecordingError
        A file is not there or is cut; the message names it.
    CorruptRecordingError, UnsupportedRecordingError
        ``Experiment.xml`` is damaged, or describes what is not read.
    SourceNotFoundError
        ``Experiment.xml`` is not beside the files.

    Warns
    -----
    IncompleteRecordingWarning
        The recording holds less than its experiment describes.

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
        allow_missing: bool = False,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        if channel is not None and channel_name not in (None, channel):
            raise ChoiceError(f"channel={channel!r} and channel_name={channel_name!r} contradict each other; pass one")
        found = _Found.of(file_path)
        self._experiment, self._found = found.experiment, found
        self._channel = found.channel(channel_name if channel is None else channel)
        self._frames = found.frames(self._channel, site, tile, allow_missing=allow_missing)
        self.is_volumetric = self._frames.planes > 1
        for sentence in (*found.warnings, *self._frames.warnings):
            warnings.warn(f"{found.name}: {sentence}", IncompleteRecordingWarning, stacklevel=2)

    @classmethod
    def get_streams(cls, file_path: Paths, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels, sites and tiles where there are several.

        Returns
        -------
        dict
            ``{"channel": ("ChanA", "ChanB")}``
        """
        found = _Found.of(file_path)
        places = found.places(found.channels)
        sites, tiles = (tuple(dict.fromkeys(str(place[k]) for place in places)) for k in (0, 1))
        streams = {"channel": found.channels, "site": sites, "tile": tiles}
        return {option: choices for option, choices in streams.items() if len(choices) > 1}

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._frames.shape

    def get_num_samples(self) -> int:
        """Return the number of whole frames, or of whole volumes."""
        return len(self._frames.points)

    def get_num_planes(self) -> int:
        """Return the number of planes of a sample; those of the flyback are none."""
        return self._frames.planes

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the pixels."""
        return self._frames.dtype

    def get_sampling_frequency(self) -> float | None:
        """Return samples a second (Hz): averaging, planes and flyback are accounted for; or None."""
        return self._experiment.rate(averaged=self._frames.averaged, planes=self._frames.planes)

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
        """Return the times of ``timing.txt``: of a frame, or of the first plane of a volume.

        Where samples were left out (``allow_missing=True``) and there is no such file, the time of each is its time point by
        the rate, so that the gaps stay.

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
        rate = self.get_sampling_frequency()
        if rate is None or self._frames.points[-1] == len(self._frames.points) - 1:
            return None
        return np.asarray(points / rate, np.float64)

    def get_metadata(self) -> RecordingMetadata:
        """Return what the experiment says; ``vendor`` is the whole document."""
        found = self._experiment
        return RecordingMetadata(
            start_time=found.start_time,
            pixel_size=found.pixel_size,
            plane_spacing=found.plane_spacing if self.is_volumetric else None,
            channels=(ChannelMetadata(self._channel),),
            device=found.software,
            software=found.software,
            vendor=found.root.to_dict(),
        )

    def get_notes(self) -> tuple[str, ...]:
        """Return what was decided or left out while opening."""
        frames = self._frames
        rate = self._experiment.rate_note(averaged=frames.averaged, planes=frames.planes)
        timing = self._timing.note if self._timing else ""
        told = (*self._found.warnings, *frames.warnings, *frames.notes, rate, timing)
        return tuple(sentence for sentence in told if sentence)

    def close(self) -> None:
        """Release the files."""
        self._frames.close()
        super().close()

    @cached_property
    def _timing(self) -> Timing | None:
        folder = self._found.folder
        if folder.timing is None:
            return None
        samples, planes = int(self._frames.points[-1]) + 1, self._frames.planes
        return Timing.of(
            os.path.join(folder.path, folder.timing),
            samples=samples,
            steps=(1, planes, planes + (self._experiment.flyback if planes > 1 else 0)),
            time_points=self._experiment.time_points or samples,
        )

    def _part(
        self,
        samples: np.ndarray,
        rows: slice = slice(None),
        columns: slice = slice(None),
        planes: slice | None = None,
    ) -> np.ndarray:
        chosen = np.arange(*(planes or slice(None)).indices(self._frames.planes), dtype=np.int64)
        block = self._frames.read(samples, chosen, rows, columns)
        if not self.is_volumetric:
            return block
        return np.moveaxis(block.reshape(len(samples), len(chosen), *block.shape[1:]), 1, 3)


@dataclass(frozen=True)
class _Found:
    """What the folder holds, and which of it is the recording."""

    folder: Folder
    experiment: Experiment
    is_raw: bool
    is_list: bool
    channels: tuple[str, ...]

    @classmethod
    def of(cls, file_path: Paths) -> _Found:
        if isinstance(file_path, str | os.PathLike):
            return cls._of_one(os.path.abspath(os.fspath(file_path)))
        paths = [os.path.abspath(os.fspath(path)) for path in file_path]
        folders = {os.path.dirname(path) for path in paths}
        if len(folders) != 1:
            raise SourceKindError(
                f"the files of a ThorImage recording lie in one folder, and these lie in {len(folders)}"
            )
        folder = Folder(folders.pop(), [os.path.basename(path) for path in paths])
        return cls._chosen(folder, _experiment(folder, paths[0]), os.path.basename(paths[0]), is_list=True)

    @classmethod
    def _of_one(cls, path: str) -> _Found:
        if os.path.isdir(path):
            folder, name = Folder(path), ""
        else:
            folder, name = Folder(os.path.dirname(path)), os.path.basename(path)
        is_frame = os.path.splitext(name)[1].lower() in (".tif", ".tiff", ".raw")
        experiment = _experiment(folder, path) if is_frame or not name else Experiment(path)
        return cls._chosen(folder, experiment, name, is_list=False)

    @classmethod
    def _chosen(cls, folder: Folder, experiment: Experiment, name: str, *, is_list: bool) -> _Found:
        suffix = os.path.splitext(name)[1].lower()
        wants_raw = suffix == ".raw" or (suffix not in (".tif", ".tiff") and experiment.saves_raw)
        if folder.raw and wants_raw:
            return cls(folder, experiment, True, is_list, experiment.channels)
        channels = folder.channels(experiment.channels)
        if not channels and not folder.raw:
            raise _nothing(folder, experiment)
        return cls(folder, experiment, not channels, is_list, channels or experiment.channels)

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Say which channels of the experiment have no file."""
        absent = [name for name in self.experiment.channels if name not in self.channels]
        if not absent or self.is_list:
            return ()
        files = self.folder.frames(self.channels[0])
        missing = FrameFiles(absent[0], files.names, files.numbers, files.digits).grid(files.places[0]).file_name(0, 0)
        return (f"{self.experiment.name} names the channel {printable(absent[0])!r}, and {missing} is not there",)

    def channel(self, wanted: str | None) -> str:
        if not self.channels:
            raise UnsupportedRecordingError(
                f"{self.experiment.name} names no channel, so that {self.name} cannot be read; its Wavelengths are empty"
            )
        if wanted is None and len(self.channels) == 1:
            return self.channels[0]
        if wanted not in self.channels:
            raise StreamChoiceError.for_option(self.name, "channel", self.channels, seen=wanted)
        return str(wanted)

    def places(self, channels: Sequence[str]) -> tuple[Place, ...]:
        """Return the sites and tiles of these channels."""
        if self.is_raw:
            return tuple(sorted(self.folder.raw))
        return tuple(sorted({place for name in channels for place in self.folder.frames(name).places}))

    def frames(self, channel: str, site: Any, tile: Any, *, allow_missing: bool) -> Frames:
        if self.is_raw:
            place = self._place(self.places(()), site, tile)
            return RawFrames(os.path.join(self.folder.path, self.folder.raw[place]), channel, self.experiment)
        files = self.folder.frames(channel)
        grid = files.grid(self._place(files.places, site, tile))
        return TiffFrames(
            self.folder.path,
            files.names,
            grid,
            self.experiment,
            allow_missing=allow_missing or self.is_list,
            allow_damaged=allow_missing,
        )

    def _place(self, places: Sequence[Place], site: Any, tile: Any) -> Place:
        """Return the one site and tile that were asked for."""
        left = list(places)
        for axis, (option, wanted) in enumerate((("site", site), ("tile", tile))):
            choices = tuple(dict.fromkeys(str(place[axis]) for place in left))
            if (wanted is None and len(choices) > 1) or (wanted is not None and str(wanted) not in choices):
                raise StreamChoiceError.for_option(self.name, option, choices, seen=wanted)
            left = [place for place in left if wanted is None or str(place[axis]) == str(wanted)]
        return left[0]


def _experiment(folder: Folder, path: str) -> Experiment:
    if folder.experiment is None:
        raise SourceNotFoundError(
            f"Experiment.xml is not in {folder.name}, and {printable(os.path.basename(path))} cannot be read without it as ThorImage; copy it from the "
            "microscope's computer, or open(..., format='tiff') to read TIFF files as plain TIFF"
        )
    return Experiment(os.path.join(folder.path, folder.experiment))


def _nothing(folder: Folder, experiment: Experiment) -> Exception:
    if folder.stores:
        return UnsupportedRecordingError(
            f"{folder.name} was saved as one large TIFF ({printable(folder.stores[0])}), which is OME-TIFF: open that file with "
            "open(..., format='ometiff')"
        )
    first = experiment.channels[0] if experiment.channels else "ChanA"
    wanted = "Image_0001_0001.raw" if experiment.saves_raw else f"{printable(first)}_0001_0001_0001_0001.tif"
    return TruncatedRecordingError(
        f"{folder.name} holds {experiment.name} and no frames: neither TIFF files nor a raw file are there, and {wanted} (or with "
        "three digits) was to be; the recording is incomplete, copy its folder again from the microscope's computer"
    )

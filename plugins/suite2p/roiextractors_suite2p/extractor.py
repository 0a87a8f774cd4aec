"""Reads the movies that suite2p keeps beside its results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roiextractors_core import ChannelMetadata, ImagingExtractor, RecordingMetadata
from roiextractors_core.errors import (
    SourceKindError,
    SourceNotFoundError,
    StreamChoiceError,
    TruncatedRecordingError,
    listed,
    printable,
)
from roiextractors_core.io import PositionedFile, StoredFrames, warn

from .folder import CHANNELS, STAGES, Plane, chosen_by, is_movie, planes_of

__all__ = ["Suite2pImagingExtractor"]

_FUNCTIONAL = "functional"


class Suite2pImagingExtractor(ImagingExtractor):
    """The movies of a suite2p folder as a recording.

    Parameters
    ----------
    file_path : str or os.PathLike
        The ``suite2p`` folder with ``plane0``, ``plane1``, ... in it: all planes are the volumes of one recording.  Or the
        folder of one plane, its ``ops.npy`` (``db.npy``), or a movie in it.
    channel : str, optional
        ``"chan1"`` (``data.bin``, also called ``"functional"``) or ``"chan2"`` (``data_chan2.bin``).
    plane : str or int, optional
        One of several planes: ``"plane0"`` or 0.
    stage : str, optional
        ``"registered"``, the default where it was kept, or ``"raw"``: before the registration (``data_raw.bin``).
    sampling_frequency : float, optional
        Samples a second (Hz); else suite2p's ``fs``, which is the rate of each plane and so that of the volumes.

    Raises
    ------
    StreamChoiceError
        Two channels, or planes that make no volumes, and none, or one that is not there, was named.
    SourceNotFoundError
        The movie or its description is missing.
    UnsupportedRecordingError, CorruptRecordingError, TruncatedRecordingError
        The description is one of settings alone, or cannot be read safely; the movie holds no whole frame.

    References
    ----------
    suite2p's documentation of its outputs, and ``BinaryFile``, ``init_dbs`` and ``run_plane`` of its source.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        channel: str | None = None,
        plane: str | int | None = None,
        stage: str | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        path = _one_path(file_path)
        self._name = printable(os.path.basename(path) or path)
        self._notes: list[str] = []
        self._all = planes_of(path)
        self._planes = self._chosen_planes(plane)
        stage_named, channel_named = chosen_by(path)
        self._given = Path(path) if channel is None and stage is None and is_movie(path) else None
        if self._given:
            self._channel, self._stage = channel_named or CHANNELS[0], stage_named or STAGES[0]
            others = [c for c in CHANNELS if c != self._channel and self._planes[0].movie(self._stage, c)]
            self._notes += [
                f"{self._name} is {self._channel}, as its name says; the other channel is there, too: channel={c!r}"
                for c in others
            ]
        else:
            self._channel = self._chosen_channel(channel or channel_named, stage or stage_named)
            self._stage = self._chosen_stage(stage or stage_named)
        files = [PositionedFile(place) for place in self._movies()]
        self._num_samples = self._counted(files)
        self.is_volumetric = len(self._planes) > 1
        self._frames = StoredFrames(files, shape=(self._planes[0].rows, self._planes[0].columns), dtype="<i2")

    def get_image_shape(self) -> tuple[int, int]:
        return self._planes[0].rows, self._planes[0].columns

    def get_num_samples(self) -> int:
        return self._num_samples

    def get_num_planes(self) -> int:
        return len(self._planes)

    def get_dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int16)

    def get_sampling_frequency(self) -> float | None:
        """Return suite2p's ``fs`` (Hz): the frames of each plane a second, and so the volumes."""
        return self._planes[0].rate

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        return self._read(np.arange(start, end, dtype=np.int64))

    def get_samples(self, sample_indices: Any) -> np.ndarray:
        return self._read(self.resolve_indices(sample_indices))

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        wanted = np.arange(samples.start, samples.stop, dtype=np.int64) if isinstance(samples, slice) else samples
        return self._read(wanted, rows, columns, planes)

    def get_metadata(self) -> RecordingMetadata:
        version = self._planes[0].fields.get("suite2p_version")
        return RecordingMetadata(
            channels=(ChannelMetadata(self._channel),),
            software=f"suite2p {printable(version)[:40]}" if isinstance(version, str) else "suite2p",
            vendor=self._planes[0].vendor(),
        )

    def get_notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels, planes and stages that can be chosen."""
        planes = planes_of(_one_path(file_path))
        channels = tuple(c for c in CHANNELS if any(p.movie(s, c) for p in planes for s in STAGES))
        stages = tuple(s for s in STAGES if any(p.movie(s, c) for p in planes for c in CHANNELS))
        found = {"channel": channels, "plane": tuple(p.name for p in planes), "stage": stages}
        return {option: choices for option, choices in found.items() if len(choices) > 1}

    def close(self) -> None:
        self._frames.close()
        super().close()

    def _read(
        self,
        samples: np.ndarray,
        rows: slice = slice(None),
        columns: slice = slice(None),
        planes: slice | None = None,
    ) -> np.ndarray:
        """Read plane by plane, each from its own file; the planes come last in a view of the result."""
        numbers = np.arange(len(self._planes))[planes or slice(None)]
        places = np.tile(samples * self._frames.frame_bytes, len(numbers))
        found = self._frames.read(places, rows, columns, numbers=np.repeat(numbers, len(samples)))
        if not self.is_volumetric:
            return found
        return found.reshape(len(numbers), len(samples), *found.shape[1:]).transpose(1, 2, 3, 0)

    def _chosen_planes(self, plane: str | int | None) -> tuple[Plane, ...]:
        names = [p.name for p in self._all]
        if plane is not None:
            wanted = str(plane) if str(plane) in names else f"plane{plane}"
            found = tuple(p for p in self._all if p.name == wanted)
            if not found:
                raise StreamChoiceError.for_option(self._name, "plane", names, seen=plane)
            return found
        kept = tuple(p for p in self._all if not p.is_flyback) or self._all
        if len(kept) < len(self._all):
            left = listed(p.name for p in self._all if p.is_flyback)
            self._notes.append(
                f"{left} is left out of the volumes, as suite2p was told (ignore_flyback); plane= opens it"
            )
        why = _why_no_volumes(kept)
        if why:
            text = f"{self._name} holds the planes {listed(names)}, and {why}, so that they make no volumes; choose one: open(..., plane={names[0]!r})"
            raise StreamChoiceError(text, option="plane", choices=names)
        return kept

    def _chosen_channel(self, channel: str | None, stage: str | None) -> str:
        stages = (stage,) if stage in STAGES else STAGES
        there = [c for c in CHANNELS if any(p.movie(s, c) for p in self._planes for s in stages)]
        if not there:
            raise SourceNotFoundError(self._missing(self._planes[0], stages[0], channel or CHANNELS[0]))
        wanted = CHANNELS[0] if channel == _FUNCTIONAL else channel
        if wanted is None and len(there) == 1:
            self._tell_lost_channel(there[0])
            return there[0]
        if wanted not in there:
            raise StreamChoiceError.for_option(self._name, "channel", there, seen=channel)
        return wanted

    def _chosen_stage(self, stage: str | None) -> str:
        there = [s for s in STAGES if any(p.movie(s, self._channel) for p in self._planes)]
        if stage is not None:
            if stage not in there:
                raise StreamChoiceError.for_option(self._name, "stage", there, seen=stage)
            return stage
        if len(there) > 1:
            self._notes.append(
                "the registered frames are read; those before the registration are there, too: stage='raw'"
            )
        elif there[0] == "raw":
            self._notes.append(
                "the frames are those before the registration (data_raw.bin); registered ones were not kept"
            )
        return there[0]

    def _movies(self) -> list[Path]:
        found = [self._given] if self._given else []
        for plane in self._planes if self._given is None else ():
            place = plane.movie(self._stage, self._channel)
            if place is None:
                raise SourceNotFoundError(self._missing(plane, self._stage, self._channel))
            found.append(place)
        return found

    def _missing(self, plane: Plane, stage: str, channel: str) -> str:
        name = plane.movie_name(stage, channel)
        if plane.folder.name.lower() == "combined":
            return f"{printable(plane.folder)} is suite2p's view of all planes' results, which has no frames of its own; open the folder above it"
        frames = f"{plane.num_frames:,} frames" if plane.num_frames else "the frames"
        where = f" to {plane.elsewhere()}" if plane.elsewhere() else ""
        others = [p.name for p in self._planes if p.movie(stage, channel)]
        advice = f", or open a plane that has it: open(..., plane={others[0]!r})" if others else ""
        return (
            f"{printable(plane.folder)} holds no {name}. By {plane.described_in}, suite2p wrote {frames} of {plane.rows} x {plane.columns}{where}; "
            f"they were deleted or lie elsewhere. Copy {name} into the folder{advice}"
        )

    def _tell_lost_channel(self, kept: str) -> None:
        number = self._planes[0].fields.get("nchannels")
        if isinstance(number, int) and number > 1:
            lost = CHANNELS[1 - CHANNELS.index(kept)]
            note = f"{self._planes[0].described_in} names {number} channels, and the movie of {lost} is missing; {kept} is read"
            self._notes.append(note)
            warn(note)

    def _counted(self, files: Sequence[PositionedFile]) -> int:
        """Return how many whole samples there are, and tell where files and descriptions differ."""
        counts = []
        for plane, file in zip(self._planes, files, strict=True):
            count, left = divmod(file.size, plane.frame_bytes)
            counts.append(count)
            self._compare(plane, file, count, left)
        fewest, most = min(counts), max(counts)
        if fewest < most:
            ends = ", ".join(f"{p.name}: {n:,}" for p, n in zip(self._planes, counts, strict=True))
            self._warn(f"the planes hold different numbers of frames ({ends}); the {fewest:,} whole volumes are read")
        return fewest

    def _compare(self, plane: Plane, file: PositionedFile, count: int, left: int) -> None:
        name, said = f"{printable(plane.folder.name)}/{file.name}", plane.num_frames
        if count == 0:
            raise TruncatedRecordingError(
                f"{name} holds {file.size:,} bytes, and one frame of {plane.rows} x {plane.columns} needs {plane.frame_bytes:,}: not one is whole"
            )
        more = f" and {left:,} bytes of another" if left else ""
        if said is not None and count < said:
            self._warn(
                f"{name} holds {count:,} whole frames{more}, and {plane.described_in} says {said:,}; the whole frames are read"
            )
        elif left:
            self._warn(f"{name} holds {count:,} whole frames{more}; the whole frames are read")
        elif said is not None and count > said:
            self._notes.append(
                f"{name} holds {count:,} frames, and {plane.described_in} says {said:,}; all {count:,} are read"
            )

    def _warn(self, note: str) -> None:
        self._notes.append(note)
        warn(note)


def _one_path(file_path: Any) -> str:
    if isinstance(file_path, str | os.PathLike):
        return os.path.abspath(os.fspath(file_path))
    paths = [os.fspath(path) for path in file_path]
    if len(paths) != 1:
        raise SourceKindError(
            f"{len(paths)} files were given; pass the suite2p folder, the folder of one plane, or a file in it"
        )
    return os.path.abspath(str(paths[0]))


def _why_no_volumes(planes: Sequence[Plane]) -> str:
    """Return why the planes cannot be one volume, or nothing where they can."""
    if len(planes) < 2:
        return ""
    if any(plane.is_region for plane in planes):
        return "they are regions of a mesoscope"
    if len({(plane.rows, plane.columns) for plane in planes}) > 1:
        return "their frames have different shapes"
    said = [plane.num_frames for plane in planes if plane.num_frames]
    if said and max(said) - min(said) > 1:
        return f"they hold from {min(said):,} to {max(said):,} frames"
    return ""

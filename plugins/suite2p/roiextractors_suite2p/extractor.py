"""Reads the movies that suite2p saves next to its results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roiextractors_core import BlockImagingExtractor, ChannelMetadata, RecordingMetadata
from roiextractors_core.errors import (
    RoiExtractorsWarning,
    SourceNotFoundError,
    StreamChoiceError,
    TruncatedRecordingError,
    counted,
    listed,
    printable,
)
from roiextractors_core.io import PositionedFile, StoredFrames, is_folder, missing_samples, single_file, warn

from .checks import size_contradictions
from .folder import CHANNELS, STAGES, Plane, chosen_by, is_movie, planes_of, undescribed_planes

__all__ = ["Suite2pImagingExtractor"]

_FUNCTIONAL = "functional"
_MAX_SHOWN = 6
_MAX_FACTOR = 64
_RATE_TOLERANCE = 1e-3  # relative


class Suite2pImagingExtractor(BlockImagingExtractor):
    """The movies of a suite2p folder as a recording.

    Parameters
    ----------
    file_path : str or os.PathLike
        The ``suite2p`` folder that contains ``plane0``, ``plane1``, ...: all planes are the volumes of one recording.  Or the
        folder of one plane, its ``ops.npy`` (``db.npy``), or a movie in it.
    channel : str, optional
        ``"chan1"`` (``data.bin``, also called ``"functional"``) or ``"chan2"`` (``data_chan2.bin``).
    plane : str or int, optional
        One of several planes: ``"plane0"`` or 0.
    stage : str, optional
        ``"registered"``, the default if it was saved, or ``"raw"``: before the registration (``data_raw.bin``).
    allow_missing : bool
        Whether to read volumes although the folders of some planes are missing.
    sampling_frequency : float, optional
        Samples a second (Hz); by default suite2p's ``fs``, the rate of each plane and so of the volumes.

    Raises
    ------
    StreamChoiceError
        There are two channels, or planes that cannot be combined into volumes, and none was chosen; or the chosen one does
        not exist.
    SourceNotFoundError
        The movie or its description is missing.
    UnsupportedRecordingError, CorruptRecordingError, TruncatedRecordingError
        The description contains settings only, or cannot be read safely; the movie has no complete frame.

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
        allow_missing: bool = False,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._selection = selection = _select(_absolute(file_path), channel, plane, stage, allow_missing)
        files = [PositionedFile(movie) for movie in selection.movies]
        first = selection.planes[0]
        self._frames = StoredFrames(files, shape=(first.rows, first.columns), dtype="<i2")
        counts = _count_samples(selection.planes, self._frames)
        self._num_samples, self._num_acquired = counts.complete, counts.acquired
        self._notes = (*selection.notes, *counts.problems, *counts.contradictions, *counts.notes)
        self.is_volumetric = len(selection.planes) > 1
        for problem in (*selection.problems, *counts.problems):
            warn(problem)
        for contradiction in counts.contradictions:
            warn(contradiction, RoiExtractorsWarning)

    def get_image_shape(self) -> tuple[int, int]:
        return self._selection.planes[0].rows, self._selection.planes[0].columns

    def get_num_samples(self) -> int:
        return self._num_samples

    def get_num_planes(self) -> int:
        return len(self._selection.planes)

    def get_dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int16)

    def get_sampling_frequency(self) -> float | None:
        """Return suite2p's ``fs`` (Hz): frames of each plane a second, and so volumes."""
        return self._selection.planes[0].rate

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        indices = np.arange(samples.start, samples.stop, dtype=np.int64) if isinstance(samples, slice) else samples
        # plane by plane, each from its own file; the planes become the last axis of a view
        numbers = np.arange(len(self._selection.planes))[planes or slice(None)]
        places = np.tile(indices * self._frames.frame_bytes, len(numbers))
        block = self._frames.read(places, rows, columns, numbers=np.repeat(numbers, len(indices)))
        if not self.is_volumetric:
            return block
        return block.reshape(len(numbers), len(indices), *block.shape[1:]).transpose(1, 2, 3, 0)

    def get_metadata(self) -> RecordingMetadata:
        version = self._selection.planes[0].fields.get("suite2p_version")
        return RecordingMetadata(
            channels=(ChannelMetadata(self._selection.channel),),
            software=f"suite2p {printable(version)[:40]}" if isinstance(version, str) else "suite2p",
            vendor=self._selection.planes[0].vendor(),
        )

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples that suite2p counted, or other planes have, and that are not in all movies."""
        return missing_samples(self._num_acquired, self._num_samples)

    def get_paths(self) -> tuple[str, ...]:
        """Return the movies and their descriptions."""
        movies = [str(movie) for movie in self._selection.movies]
        return tuple(dict.fromkeys([*super().get_paths(), *movies, *(p.description for p in self._selection.planes)]))

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels, planes and stages that can be chosen."""
        planes = planes_of(_absolute(file_path))
        channels = tuple(c for c in CHANNELS if any(p.movie(s, c) for p in planes for s in STAGES))
        stages = tuple(s for s in STAGES if any(p.movie(s, c) for p in planes for c in CHANNELS))
        found = {"channel": channels, "plane": tuple(p.name for p in planes), "stage": stages}
        return {option: choices for option, choices in found.items() if len(choices) > 1}

    def close(self) -> None:
        self._frames.close()
        super().close()


@dataclass(frozen=True, slots=True)
class _Selection:
    """The planes of a recording that are read, and the movie of each.

    Attributes
    ----------
    planes : tuple of Plane
    channel, stage : str
    movies : tuple of pathlib.Path
        One for each plane.
    notes : tuple of str
        Choices that were made without the user.
    problems : tuple of str
        Missing data; these are notes, too.
    """

    planes: tuple[Plane, ...]
    channel: str
    stage: str
    movies: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def _select(
    path: str, channel: str | None, plane: str | int | None, stage: str | None, allow_missing: bool
) -> _Selection:
    """Choose the planes first, as channels and stages are those of which these planes have a movie."""
    name = printable(os.path.basename(path) or path)
    every = planes_of(path)
    planes, notes = _select_planes(every, plane, name)
    # The folder of one plane is complete by itself
    is_whole = plane is None and is_folder(path) and every[0].folder != Path(path)
    lost = _missing_planes(every, path, name, allow_missing) if is_whole else ()
    stage_of_file, channel_of_file = chosen_by(path)
    if channel is None and stage is None and is_movie(path):
        return _select_file(path, planes, channel_of_file or CHANNELS[0], stage_of_file or STAGES[0], notes)
    wanted_stage = stage or stage_of_file
    chosen, problems = _select_channel(planes, channel or channel_of_file, wanted_stage, name)
    chosen_stage, more = _select_stage(planes, chosen, wanted_stage, name)
    movies = tuple(_require_movie(p, planes, chosen_stage, chosen) for p in planes)
    problems = (*lost, *problems)
    return _Selection(planes, chosen, chosen_stage, movies, (*notes, *problems, *more), problems)


def _select_file(path: str, planes: tuple[Plane, ...], channel: str, stage: str, notes: tuple[str, ...]) -> _Selection:
    """Select the file that was passed, whatever its name."""
    others = [c for c in CHANNELS if c != channel and planes[0].movie(stage, c)]
    name = printable(os.path.basename(path))
    more = tuple(f"{name} is {channel}; the other channel is available as channel={c!r}" for c in others)
    return _Selection(planes, channel, stage, (Path(path),), (*notes, *more))


def _select_planes(
    planes: tuple[Plane, ...], wanted: str | int | None, name: str
) -> tuple[tuple[Plane, ...], tuple[str, ...]]:
    names = [plane.name for plane in planes]
    if wanted is not None:
        text = str(wanted) if str(wanted) in names else f"plane{wanted}"
        if text not in names:
            raise StreamChoiceError.for_option(name, "plane", names, seen=wanted)
        return (planes[names.index(text)],), ()
    kept = tuple(plane for plane in planes if not plane.is_flyback) or planes
    why = _why_not_volumes(kept)
    if why:
        text = (
            f"the planes {listed(names)} of {name} cannot be combined into volumes because {why}; "
            f"choose one: open(..., plane={names[0]!r})"
        )
        raise StreamChoiceError(text, option="plane", choices=names)
    if len(kept) == len(planes):
        return planes, ()
    flyback = listed(plane.name for plane in planes if plane.is_flyback)
    return kept, (f"{flyback} is not part of the volumes (ignore_flyback); plane= opens it",)


def _missing_planes(planes: Sequence[Plane], path: str, name: str, allow_missing: bool) -> tuple[str, ...]:
    """Return a sentence when planes are missing; volumes without them need ``allow_missing``.

    Raises
    ------
    StreamChoiceError
        There are several planes, but not all, and the user did not agree.
    """
    numbers = {plane.number for plane in planes}
    if None in numbers or any(plane.is_region for plane in planes):
        return ()
    ignored = {number for plane in planes for number in plane.ignored}
    count = max(plane.num_planes for plane in planes)
    lost = [f"plane{k}" for k in range(count) if k not in numbers and k not in ignored]
    bare = undescribed_planes(path)
    lost += [name for name in bare if name not in lost]
    if not lost:
        return ()
    names = [plane.name for plane in planes]
    why = f" ({listed(bare, limit=6)} without ops.npy or db.npy)" if bare else ""
    are = "are" if len(lost) > 1 else "is"
    text = f"{listed(lost, limit=6)} of the {max(count, len(lost) + len(names))} planes of {name} {are} missing{why}"
    if len(planes) == 1:
        return (f"{text}; reading {names[0]} alone",)
    if not allow_missing:
        raise StreamChoiceError(
            f"{text}; choose one of {listed(names, limit=6)}: open(..., plane={names[0]!r}), or read volumes without the missing "
            "planes: open(..., allow_missing=True)",
            option="plane",
            choices=names,
        )
    return (f"{text}; the volumes have the planes {listed(names, limit=6)}",)


def _select_channel(
    planes: Sequence[Plane], wanted: str | None, stage: str | None, name: str
) -> tuple[str, tuple[str, ...]]:
    stages = (stage,) if stage in STAGES else STAGES
    available = [c for c in CHANNELS if any(p.movie(s, c) for p in planes for s in stages)]
    if not available:
        raise SourceNotFoundError(_describe_missing(planes[0], planes, stages[0], wanted or CHANNELS[0]))
    if wanted is None and len(available) == 1:
        return available[0], _missing_channel(planes[0], available[0])
    channel = CHANNELS[0] if wanted == _FUNCTIONAL else wanted
    if channel not in available:
        raise StreamChoiceError.for_option(name, "channel", available, seen=wanted)
    return channel, ()


def _select_stage(planes: Sequence[Plane], channel: str, wanted: str | None, name: str) -> tuple[str, tuple[str, ...]]:
    available = [s for s in STAGES if any(p.movie(s, channel) for p in planes)]
    if wanted is not None:
        if wanted not in available:
            raise StreamChoiceError.for_option(name, "stage", available, seen=wanted)
        return wanted, ()
    if len(available) > 1:
        return available[0], ("reading the registered frames; the raw ones are available as stage='raw'",)
    if available[0] == "raw":
        return "raw", ("reading the raw frames (data_raw.bin); the registered ones were not saved",)
    return available[0], ()


def _missing_channel(plane: Plane, kept: str) -> tuple[str, ...]:
    """Return a sentence when suite2p processed two channels and the movie of one is gone."""
    number = plane.fields.get("nchannels")
    if not isinstance(number, int) or number < 2:
        return ()
    lost = CHANNELS[1 - CHANNELS.index(kept)]
    return (f"{plane.described_in} names {number} channels, but the movie of {lost} is missing; reading {kept}",)


def _require_movie(plane: Plane, planes: Sequence[Plane], stage: str, channel: str) -> Path:
    movie = plane.movie(stage, channel)
    if movie is None:
        raise SourceNotFoundError(_describe_missing(plane, planes, stage, channel))
    return movie


def _describe_missing(plane: Plane, planes: Sequence[Plane], stage: str, channel: str) -> str:
    name = plane.movie_name(stage, channel)
    if plane.folder.name.lower() == "combined":
        return (
            f"{printable(plane.folder)} combines the results of all planes and has no frames; open the folder above it"
        )
    frames = f"{counted(plane.num_frames, 'frame')}" if plane.num_frames else "the frames"
    where = f" to {plane.elsewhere()}" if plane.elsewhere() else ""
    others = [p.name for p in planes if p.movie(stage, channel)]
    advice = f", or open a plane that has it: open(..., plane={others[0]!r})" if others else ""
    return (
        f"{printable(plane.folder)} does not contain {name}. According to {plane.described_in}, suite2p wrote {frames} of "
        f"{plane.rows} x {plane.columns}{where}; they were deleted or moved. Copy {name} into the folder{advice}"
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    """The number of samples, and sentences about it.

    Attributes
    ----------
    complete, acquired : int
        Samples that every movie has; samples that suite2p counted, or some movie has.
    problems : tuple of str
        About data that are missing.
    contradictions : tuple of str
        About movies that have twice the frames of their description, and the like.
    notes : tuple of str
    """

    complete: int
    acquired: int
    problems: tuple[str, ...]
    contradictions: tuple[str, ...]
    notes: tuple[str, ...]


def _count_samples(planes: Sequence[Plane], frames: StoredFrames) -> _Counts:
    """Count the complete samples.

    The size of the files decides: suite2p's ``nframes`` is not updated when a run is cut short.
    """
    counts: list[int] = []
    problems: list[str] = []
    contradictions: list[str] = []
    notes: list[str] = []
    stored: list[int] = []
    for number, (plane, file) in enumerate(zip(planes, frames.files, strict=True)):
        count, rest = divmod(file.size, plane.frame_bytes)
        stored.append(count)
        # suite2p reserves the whole movie before it writes the first frame
        written = frames.count_written(count, number=number)
        if written < count:
            words = f"{printable(plane.folder.name)}/{file.name} ends in zeros, as an interrupted run leaves it: {written:,} of {count:,} frames were written"
            problems.append(words)
            counts.append(written)
            continue
        counts.append(count)
        few = _too_few(plane, file, count, rest)
        problems += few
        more = "" if rest else _too_many(plane, file, count)
        # An exact multiple may be the description of another run, so it is a warning; any other surplus is a note
        is_exact = bool(plane.num_frames) and count % (plane.num_frames or 1) == 0
        if more:
            (contradictions if is_exact else notes).append(more)
        # A size that is wrong by a factor has been said
        if not few and not more:
            contradictions += _other_size(plane, frames, count, number)
    fewest = min(counts)
    if fewest < max(counts):
        ends = ", ".join(f"{p.name}: {n:,}" for p, n in zip(planes[:_MAX_SHOWN], counts, strict=False))
        ends += ", ..." if len(planes) > _MAX_SHOWN else ""
        problems.append(
            f"the planes have different numbers of frames ({ends}); reading the {fewest:,} complete volumes"
        )
    said = [plane.num_frames or 0 for plane in planes]
    return _Counts(
        fewest,
        max(fewest, *stored, *said),
        _few(problems, "planes"),
        _few(contradictions, "planes"),
        _few(notes, "planes"),
    )


def _few(sentences: Sequence[str], things: str) -> tuple[str, ...]:
    """Return some sentences, and the number of the others: there may be a hundred planes."""
    if len(sentences) <= _MAX_SHOWN:
        return tuple(sentences)
    return (*sentences[:_MAX_SHOWN], f"the same is true of {len(sentences) - _MAX_SHOWN:,} more {things}")


def _too_few(plane: Plane, file: PositionedFile, count: int, rest: int) -> list[str]:
    """Return a sentence when a movie has fewer frames than its description says, or part of one."""
    name, expected = f"{printable(plane.folder.name)}/{file.name}", plane.num_frames
    if count == 0:
        raise TruncatedRecordingError(
            f"{name} has {file.size:,} bytes, less than one frame of {plane.rows} x {plane.columns} ({plane.frame_bytes:,} bytes)"
        )
    more = f" and {rest:,} bytes of another" if rest else ""
    if expected is not None and count < expected:
        seen = f"{name} contains {count:,} complete frames{more}, but {plane.described_in} says {expected:,}"
        return [f"{seen}; reading the complete frames{'' if rest else _other_run(plane, count, expected)}"]
    return [f"{name} contains {count:,} complete frames{more}; reading the complete frames"] if rest else []


def _other_size(plane: Plane, frames: StoredFrames, count: int, number: int) -> tuple[str, ...]:
    """Return a sentence if the folder, or else the pixels, contradict the size of the frames."""
    found = size_contradictions(plane)
    places = [k * plane.frame_bytes for k in sorted({0, count // 2, count - 1})]
    if found or not frames.looks_transposed(places, number=number):
        return found
    return (
        f"{plane.described_in} says frames of {plane.rows:,} x {plane.columns:,} (Ly x Lx), but the pixels look like lines of {plane.rows:,}; "
        f"reading {plane.rows:,} x {plane.columns:,}. If rows and columns are swapped, open(..., format='raw', "
        f"shape=({plane.columns}, {plane.rows}), dtype='<i2')",
    )


def _other_run(plane: Plane, count: int, expected: int) -> str:
    """Return what an exact factor between the numbers of frames suggests."""
    factor, rest = divmod(expected, count)
    if rest or factor > _MAX_FACTOR or plane.rows % factor:
        return ""
    return (
        f". It is exactly 1/{factor}: frames of {plane.rows // factor} x {plane.columns} would give {expected:,}, so the "
        "description may be of another run; for another size, open(..., format='raw', shape=(rows, columns), dtype='<i2')"
    )


def _too_many(plane: Plane, file: PositionedFile, count: int) -> str:
    """Return a sentence when a movie has more frames than its description says."""
    name, expected = f"{printable(plane.folder.name)}/{file.name}", plane.num_frames
    if expected is None or count <= expected:
        return ""
    seen = (
        f"{name} contains {counted(count, 'frame')}, but {plane.described_in} says {expected:,}; reading all {count:,}"
    )
    factor, rest = divmod(count, expected)
    if rest:
        return seen
    return (
        f"{seen}. It is exactly {factor} times as many: frames of {plane.rows * factor} x {plane.columns} would give {expected:,}, "
        "so the description may be of another run, or the movie has several channels in turn; for another size, "
        "open(..., format='raw', shape=(rows, columns), dtype='<i2')"
    )


def _absolute(file_path: Any) -> str:
    hint = "pass the suite2p folder, the folder of one plane, or a file in it"
    return os.path.abspath(single_file(file_path, hint=hint, may_be_folder=True))


def _why_not_volumes(planes: Sequence[Plane]) -> str:
    """Return why the planes cannot be one volume, or nothing where they can."""
    if len(planes) < 2:
        return ""
    if any(plane.is_region for plane in planes):
        return "they are regions of a mesoscope"
    if len({(plane.rows, plane.columns) for plane in planes}) > 1:
        return "their frames have different shapes"
    rates = [plane.rate for plane in planes if plane.rate]
    if rates and max(rates) > min(rates) * (1 + _RATE_TOLERANCE):
        return f"they have rates from {min(rates):g} to {max(rates):g} Hz"
    # planes of one volume differ by one frame at most, where the recording ended within a volume
    counts = [plane.num_frames for plane in planes if plane.num_frames]
    if counts and max(counts) - min(counts) > 1:
        return f"they have from {min(counts):,} to {max(counts):,} frames"
    return ""

"""Reads recordings of Bruker's Prairie View: a PVScan XML, which describes every frame, and TIFF files with the pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from roiextractors_tiff.pages import PageIndex

from roiextractors_core import RecordingMetadata
from roiextractors_core.errors import (
    CorruptRecordingError,
    EmptySourceError,
    RecordingError,
    SourceError,
    SourceNotFoundError,
    StreamChoiceError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.imaging import BlockImagingExtractor
from roiextractors_core.io import choose_stream, describe_disorder, missing_samples, warn

from .facts import metadata_of
from .files import NamedFiles
from .folder import scan_of
from .identity import FileIdentity
from .pvscan import Channel, Scan, read_scan
from .samples import Samples, frame_times, is_volume, places_of, rate_of, samples_of

__all__ = ["BrukerImagingExtractor"]

_MAX_PATHS = 10_000
_CURABLE = (SourceNotFoundError, CorruptRecordingError)  # with allow_missing=True, such a file is left out

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class BrukerImagingExtractor(BlockImagingExtractor):
    """A recording of Prairie View: a PVScan XML and the TIFF files that it lists.

    Frames are placed by this XML in all versions, and never by the OME-XML inside the TIFF files, which describes planes
    that do not exist.  Only one TIFF file is opened before it is read, and the folder is listed once.

    Parameters
    ----------
    file_path : str, os.PathLike, or a sequence of them
        The folder, the XML, or any file of the recording.
    channel : str or int, optional
        One of several channels, by its name or its number.
    plane : int, optional
        One plane of the volumes, from 0; the recording is then planar.
    series : str or int, optional
        For a recording that mixes volumes with single planes: the type of the sequences to read.
    position : str or int, optional
        One of several stage positions, by its number, from 0, in the order in which they were visited.
    allow_missing : bool
        If files are missing, truncated or of another recording, read the rest: incomplete samples are left out, with a warning,
        and every file is looked at.  Without it, only samples at the end may be missing.
    sampling_frequency : float, optional
        Samples per second (Hz).

    Raises
    ------
    StreamChoiceError
        There are several channels and none was chosen, or the chosen one does not exist.
    SourceNotFoundError
        The XML or the file of a frame does not exist; the message names the frame.
    CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError
        The message names the file and the frame.

    Warns
    -----
    IncompleteRecordingWarning
        The XML is truncated, samples at its end have no files, or files are not in the XML.

    Notes
    -----
    The native time of a volume is that of its earliest frame: the beginning of the volume.
    Cycles whose times start again at 0 s are placed by their absolute times, so that the gaps between them are kept.

    References
    ----------
    Bio-Formats' PrairieReader and PrairieMetadata, for the elements of the XML; roiextractors' pull requests 589 and 596,
    for cycles whose times start again.
    """

    def __init__(
        self,
        file_path: Paths,
        *,
        channel: str | int | None = None,
        plane: int | str | None = None,
        series: str | int | None = None,
        position: str | int | None = None,
        allow_missing: bool = False,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        path = scan_of(_first_path(file_path))
        scan = read_scan(path)
        self._allow_missing = bool(allow_missing)
        layout = _read_layout(scan, path, _Choice(channel, series, position), self._allow_missing)
        self._xml = path
        self._scan = replace(scan, names=(), places={}, channels=())  # half a million names take 100 MB
        self._channel = layout.channel.name
        self._index, self._pages, self._frames = layout.index, layout.pages, layout.frames
        self._identity, self._missing = layout.identity, layout.missing
        if self._index.samples_per_pixel > 1:
            raise UnsupportedRecordingError(
                f"{scan.name}: expected TIFF files with one value per pixel, got {self._index.samples_per_pixel} values"
            )
        self._native_times, self._notes = layout.times, layout.notes
        self._depth = self._pages.shape[1]
        depths = [str(k) for k in range(self._depth)]
        self._plane = None if plane is None else choose_stream(scan.name, "plane", depths, plane)
        self._rate = rate_of(scan, self._frames, self._native_times)
        if self._native_times is None and self._rate is not None and len(self._missing):
            self._native_times = layout.points / self._rate  # so that gaps are kept
        self.is_volumetric = self._depth > 1 and self._plane is None
        for sentence in layout.warnings:
            warn(sentence)

    @classmethod
    def get_streams(cls, file_path: Paths, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels, planes, series and stage positions to choose from, for each of them that has several.

        Returns
        -------
        dict
            ``{"channel": ("Red", "Green"), "plane": ("0", "1")}``
        """
        scan = read_scan(scan_of(_first_path(file_path)))
        series = _series(scan)
        depth = 1
        # In a mixed recording, the number of planes depends on the series, which is not chosen yet
        if not series or options.get("series") is not None:
            depth = samples_of(scan, scan.channels[0], _choose_kinds(scan, options.get("series"))).depth
        positions = places_of(scan)[1]
        streams = {
            "channel": tuple(channel.name for channel in scan.channels),
            "plane": tuple(str(k) for k in range(depth)),
            "series": series,
            "position": tuple(map(str, range(len(positions)))),
        }
        return {option: choices for option, choices in streams.items() if len(choices) > 1}

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)`` of a frame."""
        return self._index.page_shape

    def get_num_samples(self) -> int:
        """Return the number of frames, or of complete volumes."""
        return len(self._pages)

    def get_num_planes(self) -> int:
        """Return the number of planes of a sample; 1 for a planar recording."""
        return self._depth if self.is_volumetric else 1

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the pixels."""
        return self._index.dtype

    def get_sampling_frequency(self) -> float | None:
        """Return the rate within a burst (Hz), from the times of the samples or the frame period; None if there is neither."""
        return self._rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times of the frames in the XML; for a volume, the time of its earliest frame.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            As in :meth:`get_series`.

        Returns
        -------
        numpy.ndarray or None
            Seconds since the zero of the first frame, float64; None if the XML has no usable times.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        return None if self._native_times is None else self._native_times[start:end].copy()

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        pages = self._pages[samples]
        if self._plane is not None:
            pages = pages[:, self._plane : self._plane + 1]
        elif planes is not None:
            pages = pages[:, planes]
        block = self._read(pages.reshape(-1), rows, columns)
        if not self.is_volumetric:
            return block
        return block.reshape(*pages.shape, *block.shape[1:]).transpose(0, 2, 3, 1)

    def get_metadata(self) -> RecordingMetadata:
        """Return the metadata in the XML; plane positions are the sum of all devices that move in Z."""
        depths = self._scan.depths[self._frames[0]] if self._depth > 1 else np.empty(0)
        if self._plane is not None:
            depths = depths[self._plane : self._plane + 1]
        return metadata_of(self._scan, self._channel, tuple(depths.tolist()) if np.isfinite(depths).all() else ())

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples that the XML describes and that are missing or incomplete; they are left out."""
        return self._missing.copy()

    def get_paths(self) -> tuple[str, ...]:
        """Return the XML and the TIFF files of the channel; the folder for very many."""
        if len(self._index.paths) > _MAX_PATHS:
            return (os.path.dirname(self._xml),)
        return (self._xml, *(str(path) for path in self._index.paths))

    def close(self) -> None:
        self._index.close()
        super().close()

    def _read(self, pages: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        try:
            self._identity.require(pages)
            return self._index.read(pages, rows, columns)
        except (RecordingError, SourceError) as error:
            raise self._locate(pages, error) from error

    def _locate(self, pages: np.ndarray, error: Exception) -> Exception:
        """Return an error with the frame where it occurred, which is searched for by bisection."""
        # Reading again takes time only where an error is raised anyway
        while len(pages) > 1:
            half = pages[: len(pages) // 2]
            try:
                self._identity.require(half)
                self._index.read(half)
            except (RecordingError, SourceError) as cause:
                pages, error = half, cause
            else:
                pages = pages[len(half) :]
        return _with_frame(self._scan, int(self._frames[self._pages == pages[0]][0]), error, self._allow_missing)


def _with_frame(scan: Scan, frame: int, error: Exception, allow_missing: bool) -> Exception:
    """Return the error with the frame where it occurred, and the remedy."""
    curable = isinstance(error, _CURABLE) and not allow_missing
    rest = "; read the rest with open(..., allow_missing=True)" if curable else ""
    return type(error)(f"{scan.name}, {scan.frame_words(frame)}: {error}{rest}")


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _first_path(source: Paths) -> str:
    """Return the path to begin with: the only one, the first XML in a list, or the first file."""
    if isinstance(source, str | os.PathLike):
        return os.path.abspath(os.fspath(source))
    paths = [os.path.abspath(os.fspath(path)) for path in source]
    if not paths:
        raise EmptySourceError("got an empty list of files; pass the recording's folder or its XML")
    return next((path for path in paths if path.lower().endswith(".xml")), paths[0])


@dataclass(frozen=True, slots=True)
class _Choice:
    """The streams that the user chose."""

    channel: Any
    series: Any
    position: Any


@dataclass(frozen=True, slots=True)
class _Layout:
    """The pages and frames of every complete sample, and the decisions made about them."""

    channel: Channel
    index: PageIndex
    identity: FileIdentity
    pages: np.ndarray
    frames: np.ndarray
    points: np.ndarray
    missing: np.ndarray
    times: np.ndarray | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def _read_layout(scan: Scan, path: str, choice: _Choice, allow_missing: bool) -> _Layout:
    files = NamedFiles.of(scan, os.path.dirname(path), with_sizes=allow_missing)
    if not files.any_present:
        # before the choice of a channel: without any file, an error about channels would be misleading
        first = scan.channels[0] if choice.channel is None else _choose_channel(scan, choice.channel)
        raise _missing(scan, first, np.zeros(len(first.frames), bool), "none of its files exists")
    chosen = _choose_channel(scan, choice.channel)
    kinds = _choose_kinds(scan, choice.series)
    samples = samples_of(scan, chosen, kinds, place=_choose_position(scan, choice.position))
    # Without allow_missing only the last files are looked at, since looking at all of them is slow
    files = files.with_counted_pages(chosen) if allow_missing else files.with_true_end(chosen)
    problems = [f"{scan.cut}; the {len(scan.indices):,} complete frames before it are read"] if scan.cut else []
    problems += samples.left_out
    if files.others and not problems:  # frames that a truncated XML does not reach have such names too
        problems.append(
            f"{scan.name}: {_count(files.others, 'file in the folder has a name', 'files in the folder have names')} like those of its "
            "frames, but the XML does not list them; left out"
        )
    if allow_missing:
        files, foreign = _without_foreign(scan, files, chosen, samples)
        problems += foreign
    complete = files.has_page(chosen)[samples.images].all(axis=1)
    if not complete.all():
        problems.append(_describe_incomplete(scan, chosen, samples, files.has_page(chosen), complete, allow_missing))
    images = samples.images[complete]
    index, pages, numbers = _index_pages(scan, files, chosen, images, allow_missing)
    identity = FileIdentity(index, files.folder, [files.names[k] for k in numbers.tolist()])
    frames = chosen.frames[images]
    by_frame, clock_notes = frame_times(scan)
    # some volumes were acquired from the last plane up
    times = None if by_frame is None else by_frame[frames].min(axis=1)
    disorder = "" if times is None else describe_disorder(times)
    if disorder:
        problems.append(f"{scan.name}: {disorder}")
    notes = (*problems, *samples.notes, *clock_notes, *_size_notes(scan, index), *_grid_notes(scan))
    points = samples.points[complete]
    missing = missing_samples(samples.num_described, points)
    return _Layout(chosen, index, identity, pages, frames, points, missing, times, notes, tuple(problems))


def _without_foreign(
    scan: Scan, files: NamedFiles, channel: Channel, samples: Samples
) -> tuple[NamedFiles, tuple[str, ...]]:
    """Leave out files whose contents do not match their names."""
    images = samples.images[files.has_page(channel)[samples.images].all(axis=1)]
    if not len(images):
        return files, ()
    index, _, numbers = _index_pages(scan, files, channel, images, True)
    try:
        names = [files.names[k] for k in numbers.tolist()]
        foreign = FileIdentity(index, files.folder, names).foreign_files()
    finally:
        index.close()
    if not foreign:
        return files, ()
    first = min(foreign)
    sentence = f"{scan.name}: {_count(len(foreign), 'file is', 'files are')} left out; the first is {printable(names[first])}, which {foreign[first]}"
    return files.without(numbers[list(foreign)]), (sentence,)


def _index_pages(
    scan: Scan, files: NamedFiles, channel: Channel, images: np.ndarray, allow_missing: bool
) -> tuple[PageIndex, np.ndarray, np.ndarray]:
    try:
        return files.index(channel, images)
    except (RecordingError, SourceError) as error:  # in the first file, the only one opened now
        raise _with_frame(scan, int(channel.frames[images.reshape(-1)[0]]), error, allow_missing) from error


def _describe_incomplete(
    scan: Scan, channel: Channel, samples: Samples, present: np.ndarray, complete: np.ndarray, allow_missing: bool
) -> str:
    """Return a sentence about the incomplete samples, or raise it as an error."""
    word = "volumes" if samples.depth > 1 else "frames"
    count = f"{int((~complete).sum()):,} of {len(complete):,} {word}"
    end = int(np.flatnonzero(complete)[-1]) + 1 if complete.any() else 0
    # Missing files at the end mean an interrupted recording; in the middle, files were lost
    if not end or not (allow_missing or complete[:end].all()):
        # The message names an image that these samples need, not one of another series or position
        used = np.isin(np.arange(len(present)), samples.images)
        raise _missing(scan, channel, present | ~used, f"{count} are incomplete")
    images = samples.images[~complete].reshape(-1)
    first = int(images[np.argmin(present[images])])
    return (
        f"{scan.name}: {count} are left out, because files are missing or truncated{'' if allow_missing else ' at the end'}; "
        f"the first is {_image_words(scan, channel, first)}"
    )


def _missing(scan: Scan, channel: Channel, present: np.ndarray, how_many: str) -> SourceNotFoundError:
    first = int(np.argmin(present))
    return SourceNotFoundError(
        f"{scan.name}: {_image_words(scan, channel, first)} is missing; {how_many}. Copy the files to the folder of the XML"
        + (", or read the rest: open(..., allow_missing=True)" if present.any() else "")
    )


def _image_words(scan: Scan, channel: Channel, image: int) -> str:
    """Return ``frame 1 of cycle 1 (name.ome.tif)``."""
    name, page = printable(scan.names[channel.files[image]]), int(channel.pages[image]) + 1
    shown = name if scan.counts[channel.files[image]] == 1 else f"page {page} of {name}"
    return f"{scan.frame_words(int(channel.frames[image]))} ({shown})"


def _choose_channel(scan: Scan, given: str | int | None) -> Channel:
    """Return a channel by its name or number; not by its position, which would confuse the only channel 2 with channel 1."""
    names = [channel.name for channel in scan.channels]
    if given is None:
        if len(names) > 1:
            raise StreamChoiceError.for_option(scan.name, "channel", names)
        return scan.channels[0]
    by_name = [channel for channel in scan.channels if channel.name == str(given)]
    matches = by_name or [channel for channel in scan.channels if str(channel.number) == str(given)]
    if not matches:
        raise StreamChoiceError.for_option(scan.name, "channel", names, seen=given)
    return matches[0]


def _series(scan: Scan) -> tuple[str, ...]:
    """Return the types of sequences to choose from if some are volumes and some are not; else an empty tuple."""
    mixed = len({is_volume(kind) for kind in scan.kinds}) > 1
    return tuple(printable(kind) for kind in scan.kinds) if mixed else ()


def _choose_kinds(scan: Scan, given: str | int | None) -> tuple[int, ...]:
    names = _series(scan)
    if not names:
        if given is not None and str(given) not in map(printable, scan.kinds):
            raise StreamChoiceError.for_option(scan.name, "series", map(printable, scan.kinds), seen=given)
        return tuple(range(len(scan.kinds)))
    if str(given) not in names:
        raise StreamChoiceError.for_option(scan.name, "series", names, seen=given)
    return (names.index(str(given)),)


def _choose_position(scan: Scan, given: str | int | None) -> int | None:
    words = places_of(scan)[1]
    names = [str(k) for k in range(len(words))]
    if len(words) > 1 and given is None:
        first = "; ".join(f"{k} is {word}" for k, word in enumerate(words[:4]))
        raise StreamChoiceError(
            f"{scan.name} has {len(words):,} stage positions ({first}{'; ...' if len(words) > 4 else ''}); choose one: "
            "open(..., position='0')",
            option="position",
            choices=names,
        )
    return None if given is None else int(choose_stream(scan.name, "position", names, given))


def _grid_notes(scan: Scan) -> tuple[str, ...]:
    if scan.first_sequence.get("xYStageGridDefined") != "True" or len(places_of(scan)[1]) > 1:
        return ()
    return (f"{scan.name}: the stage moved over a grid of positions; the cycles are read in the order of acquisition",)


def _size_notes(scan: Scan, index: PageIndex) -> tuple[str, ...]:
    described = tuple(scan.setting(key) for key in ("linesPerFrame", "pixelsPerLine"))
    rows, columns = index.page_shape
    if all(isinstance(text, str) for text in described) and described != (str(rows), str(columns)):
        return (
            f"{scan.name} describes frames of {printable(described[0])} lines x {printable(described[1])} pixels, but the TIFF files "
            f"have {counted(rows, 'row')} x {columns:,} columns; the pixels are returned as stored",
        )
    return ()

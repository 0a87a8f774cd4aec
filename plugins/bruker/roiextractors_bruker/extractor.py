"""Reads recordings of Bruker's Prairie View: the PVScan XML says what is where, the TIFF files hold the pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from roiextractors_tiff.pages import PageIndex

from roiextractors_core import ImagingExtractor, RecordingMetadata
from roiextractors_core.errors import (
    EmptySourceError,
    RecordingError,
    SourceError,
    SourceNotFoundError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import choose_stream, warn

from .facts import metadata_of
from .files import NamedFiles
from .folder import scan_of
from .pvscan import Channel, Scan, read_scan
from .samples import Samples, frame_times, is_volume, rate_of, samples_of

__all__ = ["BrukerImagingExtractor"]

_CURABLE = (SourceNotFoundError, TruncatedRecordingError)

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class BrukerImagingExtractor(ImagingExtractor):
    """A recording of Prairie View: a PVScan XML and the TIFF files that it names.

    The XML decides, in all versions, and never the OME-XML inside the TIFF files, which describes planes that are not
    there.  No TIFF file but one is opened before it is read, and the folder is listed once.

    Parameters
    ----------
    file_path : str, os.PathLike, or a sequence of them
        The folder, the XML, or any file of the recording.
    channel : str or int, optional
        One of several channels, by its own name or by its number.
    plane : int, optional
        One plane of the volumes, from 0; the recording is then planar.
    series : str or int, optional
        Where a recording mixes volumes with single planes: the type of its sequences.
    allow_missing : bool
        Read the rest when files are missing or cut: samples that are not whole are left out, with a warning.
    sampling_frequency : float, optional
        Samples a second (Hz).

    Raises
    ------
    StreamChoiceError
        Several channels, and none, or one that is not there, was named.
    SourceNotFoundError
        The XML, or a file of a frame, is not there; the frame is named.
    CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError
        The message names file and frame.

    Notes
    -----
    The native time of a volume is that of the frame which came first in it: the beginning of the volume.
    Cycles that begin anew at 0 s are put behind each other by the absolute times, so that gaps stay.

    References
    ----------
    Bio-Formats' PrairieReader and PrairieMetadata, for the elements of the XML; roiextractors' account of cycles
    that begin anew (pull requests 589 and 596).
    """

    def __init__(
        self,
        file_path: Paths,
        *,
        channel: str | int | None = None,
        plane: int | str | None = None,
        series: str | int | None = None,
        allow_missing: bool = False,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        path = scan_of(_first(file_path))
        scan = read_scan(path)
        self._allow_missing = bool(allow_missing)
        opened = _opened(scan, path, channel, series, self._allow_missing)
        self._scan = replace(scan, names=(), places={}, channels=())  # half a million names are a hundred megabytes
        self._channel = opened.channel.name
        self._index, self._pages, self._frames = opened.index, opened.pages, opened.frames
        if self._index.samples_per_pixel > 1:
            raise UnsupportedRecordingError(
                f"{scan.name}: its TIFF files hold {self._index.samples_per_pixel} values a pixel, and a channel of Prairie View has one"
            )
        self._times, self._notes = opened.times, opened.notes
        self._depth = self._pages.shape[1]
        depths = [str(k) for k in range(self._depth)]
        self._plane = None if plane is None else choose_stream(scan.name, "plane", depths, plane)
        self._rate = rate_of(scan, self._frames, self._times)
        self.is_volumetric = self._depth > 1 and self._plane is None
        for sentence in opened.warnings:
            warn(sentence)

    @classmethod
    def get_streams(cls, file_path: Paths, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels, planes and series, where there are several.

        Returns
        -------
        dict
            ``{"channel": ("Red", "Green"), "plane": ("0", "1")}``
        """
        scan = read_scan(scan_of(_first(file_path)))
        series = _series(scan)
        depth = 1
        if not series or options.get("series") is not None:
            depth = samples_of(scan, scan.channels[0], _chosen_kinds(scan, options.get("series"))).depth
        found = {
            "channel": tuple(channel.name for channel in scan.channels),
            "plane": tuple(str(k) for k in range(depth)),
            "series": series,
        }
        return {option: choices for option, choices in found.items() if len(choices) > 1}

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)`` of a frame."""
        return self._index.page_shape

    def get_num_samples(self) -> int:
        """Return the number of frames, or of whole volumes."""
        return len(self._pages)

    def get_num_planes(self) -> int:
        """Return the number of planes of a sample; 1 for a planar recording."""
        return self._depth if self.is_volumetric else 1

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the pixels."""
        return self._index.dtype

    def get_sampling_frequency(self) -> float | None:
        """Return the rate within a burst (Hz): by the times of the samples, else by the frame period; None when neither tells."""
        return self._rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times that the XML gives to the frames; a volume's is that of its first frame.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            As in :meth:`get_series`.

        Returns
        -------
        numpy.ndarray or None
            Seconds since the first frame's zero, float64; None when the XML does not tell.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        return None if self._times is None else self._times[start:end].copy()

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        return self._read(self._pages[start:end])

    def get_samples(self, sample_indices: Any) -> np.ndarray:
        return self._read(self._pages[self.resolve_indices(sample_indices)])

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        return self._read(self._pages[samples], rows, columns, planes)

    def get_metadata(self) -> RecordingMetadata:
        """Return what the XML says; positions are the sum of all devices that move in Z."""
        depths = self._scan.depths[self._frames[0]] if self._depth > 1 else np.empty(0)
        if self._plane is not None:
            depths = depths[self._plane : self._plane + 1]
        return metadata_of(self._scan, self._channel, tuple(depths.tolist()) if np.isfinite(depths).all() else ())

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    def close(self) -> None:
        self._index.close()
        super().close()

    def _read(
        self,
        pages: np.ndarray,
        rows: slice = slice(None),
        columns: slice = slice(None),
        planes: slice | None = None,
    ) -> np.ndarray:
        if self._plane is not None:
            pages = pages[:, self._plane : self._plane + 1]
        elif planes is not None:
            pages = pages[:, planes]
        found = self._found(pages.reshape(-1), rows, columns)
        if not self.is_volumetric:
            return found
        return found.reshape(*pages.shape, *found.shape[1:]).transpose(0, 2, 3, 1)

    def _found(self, pages: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        try:
            return self._index.read(pages, rows, columns)
        except (RecordingError, SourceError) as error:
            raise self._explained(pages, error) from error

    def _explained(self, pages: np.ndarray, error: Exception) -> Exception:
        """Return an error with the frame at which it came, looked for by halves."""
        while len(pages) > 1:
            half = pages[: len(pages) // 2]
            try:
                self._index.read(half)
            except (RecordingError, SourceError) as found:
                pages, error = half, found
            else:
                pages = pages[len(half) :]
        return _in_words(self._scan, int(self._frames[self._pages == pages[0]][0]), error, self._allow_missing)


def _in_words(scan: Scan, frame: int, error: Exception, allow_missing: bool) -> Exception:
    """Return the error again with the frame at which it came, and what can be done."""
    curable = isinstance(error, _CURABLE) and not allow_missing
    rest = "; to read the rest: open(..., allow_missing=True)" if curable else ""
    return type(error)(f"{scan.name}, {scan.frame_words(frame)}: {error}{rest}")


def _first(source: Paths) -> str:
    """Return the path to begin from: the only one, the first XML of a list, else its first file."""
    if isinstance(source, str | os.PathLike):
        return os.path.abspath(os.fspath(source))
    paths = [os.path.abspath(os.fspath(path)) for path in source]
    if not paths:
        raise EmptySourceError("an empty list of files was given; pass the recording's folder or its XML")
    return next((path for path in paths if path.lower().endswith(".xml")), paths[0])


@dataclass(frozen=True, slots=True)
class _Opened:
    """The pages and frames of every whole sample, and what was decided about them."""

    channel: Channel
    index: PageIndex
    pages: np.ndarray
    frames: np.ndarray
    times: np.ndarray | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def _opened(scan: Scan, path: str, channel: Any, series: Any, allow_missing: bool) -> _Opened:
    if scan.cut and not allow_missing:
        raise TruncatedRecordingError(
            f"{scan.cut}; the file is cut. To read the {len(scan.indices):,} whole frames before: open(..., allow_missing=True)"
        )
    files = NamedFiles.of(scan, os.path.dirname(path), with_sizes=allow_missing)
    if not files.any_there:
        first = scan.channels[0] if channel is None else _chosen_channel(scan, channel)
        raise _missing(scan, first, np.zeros(len(first.frames), bool), "none of its files is there")
    chosen = _chosen_channel(scan, channel)
    samples = samples_of(scan, chosen, _chosen_kinds(scan, series))
    files = files.looked_into(chosen) if allow_missing else files
    held = files.held(chosen)
    told = [f"{scan.cut}; the whole frames before are read"] if scan.cut else []
    told += samples.left_out
    whole = held[samples.images].all(axis=1)
    if not whole.all():
        told.append(_left_out(scan, chosen, samples, held, whole, allow_missing))
    images = samples.images[whole]
    index, pages = _indexed(scan, files, chosen, images, allow_missing)
    frames = chosen.frames[images]
    by_frame, clock_notes = frame_times(scan)
    notes = (*told, *samples.notes, *clock_notes, *_size_notes(scan, index), *_grid_notes(scan))
    times = None if by_frame is None else by_frame[frames].min(axis=1)
    return _Opened(chosen, index, pages, frames, times, notes, tuple(told))


def _indexed(
    scan: Scan, files: NamedFiles, channel: Channel, images: np.ndarray, allow_missing: bool
) -> tuple[PageIndex, np.ndarray]:
    try:
        return files.index(channel, images)
    except (RecordingError, SourceError) as error:  # of the first file, the only one that is opened now
        raise _in_words(scan, int(channel.frames[images.reshape(-1)[0]]), error, allow_missing) from error


def _left_out(
    scan: Scan, channel: Channel, samples: Samples, held: np.ndarray, whole: np.ndarray, allow_missing: bool
) -> str:
    """Return the sentence about the samples that are not whole, or raise it."""
    word = "volumes" if samples.depth > 1 else "frames"
    if not allow_missing or not whole.any():
        wanted = np.isin(np.arange(len(held)), samples.images)
        raise _missing(scan, channel, held | ~wanted, f"{int((~whole).sum()):,} of {len(whole):,} {word} are not whole")
    first = int(samples.images[~whole].reshape(-1)[np.argmin(held[samples.images[~whole].reshape(-1)])])
    return (
        f"{scan.name}: {int((~whole).sum()):,} of {len(whole):,} {word} are left out, because files are missing or cut; "
        f"the first is {_image_words(scan, channel, first)}"
    )


def _missing(scan: Scan, channel: Channel, held: np.ndarray, how_many: str) -> SourceNotFoundError:
    first = int(np.argmin(held))
    return SourceNotFoundError(
        f"{scan.name}: {_image_words(scan, channel, first)} is not there; {how_many}. Copy the files beside the XML"
        + (", or read the rest: open(..., allow_missing=True)" if held.any() else "")
    )


def _image_words(scan: Scan, channel: Channel, image: int) -> str:
    """Return ``frame 1 of cycle 1 (name.ome.tif)``."""
    name, page = printable(scan.names[channel.files[image]]), int(channel.pages[image]) + 1
    shown = name if scan.counts[channel.files[image]] == 1 else f"page {page} of {name}"
    return f"{scan.frame_words(int(channel.frames[image]))} ({shown})"


def _chosen_channel(scan: Scan, given: str | int | None) -> Channel:
    names = [channel.name for channel in scan.channels]
    if given is None:
        if len(names) > 1:
            raise StreamChoiceError.for_option(scan.name, "channel", names)
        return scan.channels[0]
    by_name = [channel for channel in scan.channels if channel.name == str(given)]
    found = by_name or [channel for channel in scan.channels if str(channel.number) == str(given)]
    if not found:
        raise StreamChoiceError.for_option(scan.name, "channel", names, seen=given)
    return found[0]


def _series(scan: Scan) -> tuple[str, ...]:
    """Return the types of sequences to choose from, when some are volumes and some are not; else nothing."""
    mixed = len({is_volume(kind) for kind in scan.kinds}) > 1
    return tuple(printable(kind) for kind in scan.kinds) if mixed else ()


def _chosen_kinds(scan: Scan, given: str | int | None) -> tuple[int, ...]:
    names = _series(scan)
    if not names:
        if given is not None and str(given) not in map(printable, scan.kinds):
            raise StreamChoiceError.for_option(scan.name, "series", map(printable, scan.kinds), seen=given)
        return tuple(range(len(scan.kinds)))
    if str(given) not in names:
        raise StreamChoiceError.for_option(scan.name, "series", names, seen=given)
    return (names.index(str(given)),)


def _grid_notes(scan: Scan) -> tuple[str, ...]:
    if scan.first_sequence.get("xYStageGridDefined") != "True":
        return ()
    return (
        f"{scan.name}: the stage moved over a grid of positions; its cycles are read one after the other, as they came",
    )


def _size_notes(scan: Scan, index: PageIndex) -> tuple[str, ...]:
    said = tuple(scan.setting(key) for key in ("linesPerFrame", "pixelsPerLine"))
    held = index.page_shape
    if all(isinstance(text, str) for text in said) and said != tuple(map(str, held)):
        return (
            f"{scan.name} says {printable(said[0])} lines of {printable(said[1])} pixels a frame, and the TIFF files hold {held[0]:,} rows of "
            f"{held[1]:,} columns; the pixels are as stored",
        )
    return ()

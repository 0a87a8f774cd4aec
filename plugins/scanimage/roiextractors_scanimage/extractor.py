"""Reads ScanImage recordings: one channel with all of its planes, and the time of every frame."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    ChoiceError,
    RoiExtractorsWarning,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.imaging import BlockImagingExtractor
from roiextractors_core.io import describe_disorder, plausible_start, warn
from roiextractors_core.metadata import ChannelMetadata, RecordingMetadata

from .details import bit_depth, laser_power, pixel_size, version, zoom
from .files import Files
from .regions import Piece
from .view import View

__all__ = ["ScanImageImagingExtractor"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

# ScanImage pads descriptions to some 2 kB: a batch of them stays within a few megabytes
_STAMPS_AT_ONCE = 4096
_MAX_FLYBACK = 1 << 20
# Conventional microscopes have up to four detectors; more channels suggest light beads
_MAX_DETECTORS = 4


class ScanImageImagingExtractor(BlockImagingExtractor):
    """One channel of a ScanImage recording: a movie ``(samples, rows, columns)``, or volumes with the planes last.

    The file of an acquisition that ScanImage split is enough: the others are found beside it, in natural order.

    Parameters
    ----------
    file_path : str, os.PathLike, or a list of them
        A file; or exactly these files, in order; or a folder that contains one acquisition.
    channel : str or int, optional
        The channel's name (``"Channel 2"``) or ScanImage's number of it (2). Needed when several were saved.
    channel_name : str, optional
        Alias of ``channel``, as named in roiextractors.
    roi : str or int, optional
        A region of interest of a multi-ROI recording, by its name or its position from 0.  ``"stitched"``: all regions at their
        places in one image, with 0 between them; ``"page"``: the pages as they are, one region below the other.
    plane : int, optional
        Read this plane alone, from 0: the samples are then frames ``(rows, columns)``.
    plane_index : int, optional
        Alias of ``plane``, as named in roiextractors.
    slice_sample : int, optional
        Where each plane was taken several times before the next one: which of them to read, from 0.
    interleave_slice_samples : bool
        Read them all instead, each as a volume of its own.  The sampling frequency stays the rate of the
        whole volumes, as in roiextractors; the native timestamps are the real times.
    channels_are_planes : bool
        Read all channels as the planes of volumes, in their order: for light-beads microscopes, which record each plane as a channel.
    flyback_frames : int, optional
        Frames of flyback at the end of each volume in the file; overrides the header.
    sampling_frequency : float, optional
        Sampling frequency in Hz; overrides the header's.
    file_paths : list of str or os.PathLike, optional
        The same as a list in ``file_path``.

    Raises
    ------
    StreamChoiceError
        There are several channels, regions, or frames of each plane, and none was chosen; or one that does not exist.
    UnsupportedRecordingError
        No ScanImage header, or frames of several planes averaged into one.
    TruncatedRecordingError
        Not one complete volume.
    ChoiceError
        Two options that contradict each other, or a folder of several acquisitions.

    Warns
    -----
    IncompleteRecordingWarning
        Pages, frames or files are missing, or do not belong to the acquisition; what is not complete was left out.
    RoiExtractorsWarning
        The header contradicts the pages.

    Notes
    -----
    A frame is placed by the number that its pages state, not by the order of pages and files.  Samples of which a page is missing are
    left out; the others keep their own times, and :meth:`get_missing_samples` names those that are not there.

    Volumes: channels change fastest, then the frames of one plane, then the planes, then the frames of the flyback
    (left out), then the volumes.  The time of a volume is the time of its last plane.

    References
    ----------
    ScanImage BigTIFF specification, https://docs.scanimage.org/Appendix/ScanImage%2BBigTiff%2BSpecification.html
    """

    def __init__(
        self,
        file_path: Paths | None = None,
        *,
        channel: str | int | None = None,
        channel_name: str | None = None,
        plane: int | None = None,
        plane_index: int | None = None,
        roi: str | int | None = None,
        slice_sample: int | None = None,
        interleave_slice_samples: bool = False,
        channels_are_planes: bool = False,
        flyback_frames: int | None = None,
        sampling_frequency: float | None = None,
        file_paths: Sequence[str | os.PathLike[str]] | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._files = Files.of(_one_of("file_path", file_path, "file_paths", file_paths), _flyback(flyback_frames))
        self._order, self._disorder = self._files.acquisition.order, ""
        self._beads = _are_planes(self._files, channels_are_planes)
        wanted = _one_of("channel", channel, "channel_name", channel_name)
        if self._beads and wanted is not None:
            raise ChoiceError(
                "channels_are_planes=True reads all channels; leave out channel=, or choose a plane by plane="
            )
        self._channel = 0 if self._beads else _channel(self._files, wanted)
        self._repeat = _repeat(self._files, slice_sample, interleave_slice_samples)
        self._samples = self._files.samples(self._repeat)
        if not len(self._samples):
            raise TruncatedRecordingError(
                f"{self._files.name}: no volume has all planes of slice_sample={self._repeat}; choose another one, or pass "
                "interleave_slice_samples=True"
            )
        planes = len(self._files.acquisition.channel_names) if self._beads else self._order.planes
        plane = _plane(self._files, _one_of("plane", plane, "plane_index", plane_index), planes)
        self._view = View.of(
            self._files.mosaic, roi, self._files.index.page_shape, planes, plane, self._beads, self._files.name
        )
        self.is_volumetric = len(self._view.planes) > 1
        for sentence, category in self._files.warnings:
            warn(f"{self._files.name}: {sentence}", category)

    @classmethod
    def get_streams(cls, file_path: Paths, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels, the regions of interest, and the frames of each plane, where there are several.

        Returns
        -------
        dict
            ``{"channel": ("Channel 1", "Channel 2"), "slice_sample": ("0", "1")}``
        """
        flyback = _flyback(options.get("flyback_frames"))
        files = Files.of(_one_of("file_path", file_path, "file_paths", options.get("file_paths")), flyback)
        repeats = files.acquisition.order.repeats if files.acquisition.order.planes > 1 else 1
        found = {
            "channel": () if options.get("channels_are_planes") else files.acquisition.channel_names,
            "roi": () if files.mosaic is None else files.mosaic.choices,
            "slice_sample": tuple(str(k) for k in range(min(repeats, 10_000))),
        }
        files.index.close()
        return {option: choices for option, choices in found.items() if len(choices) > 1}

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)`` of a page, or of the region of interest."""
        return self._view.shape

    def get_num_samples(self) -> int:
        """Return the number of frames, or of complete volumes."""
        return len(self._samples)

    def get_num_planes(self) -> int:
        """Return the number of planes of a sample; 1 for a movie."""
        return len(self._view.planes)

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the pixels."""
        return np.dtype(self._files.index.dtype)

    def get_sampling_frequency(self) -> float | None:
        """Return volumes a second for a recording of volumes, frames a second for a movie (Hz), or None."""
        return self.volume_rate if self._order.planes > 1 else self.frame_rate

    @property
    def frame_rate(self) -> float | None:
        """Saved frames a second (Hz), all planes counted, or None."""
        return self._files.frame_rate

    @property
    def volume_rate(self) -> float | None:
        """Volumes a second (Hz), or None for a movie of one plane; nominal for a slow stack."""
        return self._files.acquisition.volume_rate

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        """Return a part of the recording, reading only that; see :meth:`BlockImagingExtractor.get_block`."""
        self.check_open()
        view = self._view
        chosen = planes or slice(0, len(view.planes))
        wanted = view.planes[chosen]
        # One rectangle for all planes is one read; pieces of a mosaic need one read each
        if view.is_alike:
            piece = view.pieces[0][0]
            rows, columns = _shifted(rows, piece.page_row), columns
            if not self.is_volumetric:
                return self._files.index.read(self._pages_of_frames(samples), rows, columns)
            pages = self._pages(samples, np.asarray(wanted, np.int64))
            block = self._files.index.read(pages.ravel(), rows, columns)
            return np.moveaxis(block.reshape(*pages.shape, *block.shape[1:]), 1, 3)
        pages = self._pages(samples, np.asarray(wanted, np.int64))
        # Zeros, because pixels that no region covers are not written
        block = np.zeros((len(pages), rows.stop - rows.start, columns.stop - columns.start, len(wanted)), self.dtype)
        for k, pieces in enumerate(view.pieces[chosen]):
            for piece in pieces:
                self._read_piece(block[..., k], pages[:, k], piece, rows, columns)
        return block if self.is_volumetric else block[..., 0]

    def _read_piece(self, result: np.ndarray, pages: np.ndarray, piece: Piece, rows: slice, columns: slice) -> None:
        """Fill in the part of an image that one piece of the pages covers."""
        top, bottom = max(rows.start, piece.row), min(rows.stop, piece.row + piece.rows)
        left, right = max(columns.start, piece.column), min(columns.stop, piece.column + piece.columns)
        if top >= bottom or left >= right or not len(pages):
            return
        part = self._files.index.read(
            pages,
            slice(piece.page_row + top - piece.row, piece.page_row + bottom - piece.row),
            slice(left - piece.column, right - piece.column),
        )
        result[:, top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = part

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times that the pages state: of a frame, or of the last plane of a volume.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            As in :meth:`get_series`.

        Returns
        -------
        numpy.ndarray or None
            Seconds since the acquisition began, float64; they run on over all files.  None for versions
            before 5.0, whose pages state none.

        Raises
        ------
        CorruptRecordingError
            A page of the range states no time, though the first one does.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        if not self._files.has_stamps:
            return None
        result = np.empty(end - start, np.float64)
        # A volume is complete with its last plane, so its time is that page's
        plane = np.array([self._view.planes[-1]], np.int64)
        for first in range(start, end, _STAMPS_AT_ONCE):
            last = min(first + _STAMPS_AT_ONCE, end)
            result[first - start : last - start] = self._files.stamps(self._slots(slice(first, last), plane)[:, 0])
        # Only now: opening does not read the times of all pages
        disorder = describe_disorder(result, first=start) if not self._disorder else ""
        if disorder:
            self._disorder = f"{self._files.name}: {disorder}"
            warn(self._disorder, RoiExtractorsWarning)
        return result

    def get_original_frame_indices(self, plane_index: int | None = None) -> np.ndarray:
        """Return the page of each sample, counted through all files.

        Parameters
        ----------
        plane_index : int, optional
            Which plane's page, from 0; the last one when left out.

        Returns
        -------
        numpy.ndarray
            int64, one a sample.
        """
        planes = len(self._files.acquisition.channel_names) if self._beads else self._order.planes
        plane = _plane(self._files, plane_index, planes)
        plane = self._view.planes[-1] if plane is None or not self.is_volumetric else plane
        return self._pages(slice(0, self.get_num_samples()), np.array([plane], np.int64))[:, 0]

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples of the acquisition of which pages are missing, counted from its first one; they are left out."""
        return self._files.missing_samples(self._repeat)

    def get_metadata(self) -> RecordingMetadata:
        """Return the metadata of the header; ``vendor`` is the whole header with its values parsed."""
        return self._metadata

    def get_paths(self) -> tuple[str, ...]:
        """Return every file of the acquisition."""
        return tuple(dict.fromkeys([*super().get_paths(), *map(os.path.abspath, self._files.found.paths)]))

    def get_notes(self) -> tuple[str, ...]:
        """Return the decisions made and the data left out while opening."""
        return (*self._files.notes, *filter(None, (self._disorder,)))

    def close(self) -> None:
        """Release the files."""
        self._files.index.close()
        super().close()

    @cached_property
    def _metadata(self) -> RecordingMetadata:
        header, found = self._files.header, self._files.acquisition
        positions = () if self._beads else found.plane_positions
        positions = tuple(positions[plane] for plane in self._view.planes) if positions else ()
        made_by = f"ScanImage {number}" if (number := version(header)) else "ScanImage"
        return RecordingMetadata(
            start_time=plausible_start(self._files.start_time),
            pixel_size=self._view.pixel_size(header) or pixel_size(header, self._files.index.page_shape),
            plane_spacing=found.plane_spacing if self.is_volumetric and not self._beads else None,
            plane_positions=positions,
            channels=()
            if self._beads
            else (ChannelMetadata(found.channel_names[self._channel], laser_power=laser_power(header)),),
            zoom=zoom(header),
            bit_depth=bit_depth(header, found.channel_numbers[self._channel], self.dtype),
            device=made_by,
            software=made_by,
            vendor=header.to_dict() | self._view.description(header),
        )

    def _pages_of_frames(self, samples: slice | np.ndarray) -> range | np.ndarray:
        """Return the pages of a recording that gives frames; a range where they are evenly spaced."""
        files, plane = self._files, self._view.planes[0]
        units, placement = self._samples, files.placement
        if (
            self._order.is_plain
            and isinstance(units, range)
            and len(placement.slots) == 1
            and isinstance(samples, slice)
        ):
            step, first = placement.channels, plane if self._beads else self._channel
            # A range lets the index map evenly spaced pages instead of looking up each one
            first += int(placement.pages[0]) + (units.start - placement.first_slot) * step
            return range(samples.start * step + first, samples.stop * step + first, step)
        return self._pages(samples, np.array([plane], np.int64))[:, 0]

    def _pages(self, samples: slice | np.ndarray, planes: np.ndarray) -> np.ndarray:
        """Return the pages ``(samples, planes)``, int64."""
        first = self._files.placement.pages_of(self._slots(samples, planes))
        return first + (planes if self._beads else self._channel)

    def _slots(self, samples: slice | np.ndarray, planes: np.ndarray) -> np.ndarray:
        """Return the slots of the frames ``(samples, planes)``, int64."""
        order, indices = self._order, _indices(samples)
        wanted = indices + self._samples.start if isinstance(self._samples, range) else self._samples[indices]
        if order.planes == 1:
            # Light-beads planes are channels of one frame, so they share its slot
            return np.broadcast_to(wanted[:, None], (len(wanted), len(planes)))
        volumes, repeats = wanted, np.full(1, self._repeat or 0)
        if self._repeat is None:
            volumes, repeats = np.divmod(wanted, order.repeats)
        return np.asarray(volumes[:, None] * order.frames + planes * order.repeats + repeats[:, None])


def _one_of(name: str, value: Any, other_name: str, other: Any) -> Any:
    """Return the one of two options of the same meaning that was given."""
    if value is not None and other is not None and value != other:
        raise ChoiceError(
            f"{name}={value!r:.80} and {other_name}={other!r:.80} mean the same but differ; pass one of them"
        )
    return other if value is None else value


def _channel(files: Files, wanted: Any) -> int:
    """Return the position of the channel among the pages of a frame."""
    names, numbers = files.acquisition.channel_names, files.acquisition.channel_numbers
    if wanted is None:
        if len(names) == 1:
            return 0
        raise _unnamed_channel(files)
    if wanted in names:
        return names.index(wanted)
    number = _whole(wanted)
    if number in numbers:
        return numbers.index(number)
    raise StreamChoiceError.for_option(files.name, "channel", names, seen=wanted)


def _unnamed_channel(files: Files) -> StreamChoiceError:
    names, order = files.acquisition.channel_names, files.acquisition.order
    error = StreamChoiceError.for_option(files.name, "channel", names)
    if order.is_plain and len(names) > _MAX_DETECTORS:
        beads = "; if each channel is a plane (light-beads microscopy), pass channels_are_planes=True"
        return StreamChoiceError(f"{error}{beads}", option="channel", choices=names)
    if order.planes == 1 or order.repeats == 1:
        return error
    more = f"; it also needs slice_sample=<0 to {order.repeats - 1}>, or interleave_slice_samples=True"
    return StreamChoiceError(f"{error}{more}", option="channel", choices=names)


def _repeat(files: Files, wanted: Any, interleave: bool) -> int | None:
    """Return which frame of each plane to read, or None for all of them."""
    order = files.acquisition.order
    repeats = order.repeats if order.planes > 1 else 1
    choices = tuple(str(k) for k in range(min(repeats, 10_000)))
    if wanted is not None:
        number = _whole(wanted)
        if number is None or not 0 <= number < repeats:
            raise StreamChoiceError.for_option(files.name, "slice_sample", choices, seen=wanted)
        return number
    if repeats == 1 or interleave:
        return 0 if repeats == 1 else None
    raise StreamChoiceError(
        f"{files.name} has {repeats} frames of each plane in every volume; choose one: open(..., slice_sample=0) to "
        f"slice_sample={repeats - 1}, or read each as a volume of its own: open(..., interleave_slice_samples=True)",
        option="slice_sample",
        choices=choices,
    )


def _plane(files: Files, wanted: Any, planes: int) -> int | None:
    if wanted is None:
        return None
    number = _whole(wanted)
    if number is None or not 0 <= number < planes:
        raise StreamChoiceError.for_option(files.name, "plane", tuple(str(k) for k in range(planes)), seen=wanted)
    return number if planes > 1 else None


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
    # operator.index accepts True, which would choose channel 1
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _indices(samples: slice | np.ndarray) -> np.ndarray:
    return np.arange(samples.start, samples.stop, dtype=np.int64) if isinstance(samples, slice) else samples


def _flyback(wanted: Any) -> int | None:
    number = None if wanted is None else _whole(wanted)
    if wanted is not None and (number is None or not 0 <= number <= _MAX_FLYBACK):
        raise ChoiceError(f"flyback_frames must be a whole number of 0 or more, got {wanted!r:.80}")
    return number


def _are_planes(files: Files, wanted: bool) -> bool:
    """Return whether the channels are planes, as asked for."""
    order = files.acquisition.order
    if wanted and not order.is_plain:
        raise UnsupportedRecordingError(
            f"{files.name}: channels_are_planes=True needs a recording without a stack, but this one has {order.planes} planes and "
            f"{order.flyback} frames of flyback; choose a channel: open(..., channel=...)"
        )
    return bool(wanted)


def _shifted(rows: slice, by: int) -> slice:
    return slice(rows.start + by, rows.stop + by) if by else rows

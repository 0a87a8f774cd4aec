"""Reads ScanImage recordings: one channel with all of its planes, and the time of every frame."""

from __future__ import annotations

import math
import operator
import os
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from roiextractors_tiff.pages import PageIndex

from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    StreamChoiceError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.imaging import BlockImagingExtractor
from roiextractors_core.io import PositionedFile, warn
from roiextractors_core.metadata import ChannelMetadata, RecordingMetadata

from .acquisition import Acquisition, acquisition_of
from .file_set import FileSet, files_of_acquisition, first_of_folder, listing, others_of_folder
from .header import Header, epoch_of, frame_number_of, parse_header, parse_moment, stamp_of

__all__ = ["ScanImageImagingExtractor"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_DESCRIPTION, _SOFTWARE, _ARTIST = 270, 305, 315
_STATIC_MAGIC = 117637889
_MAX_STATIC = 256 << 20
_FEWEST_LOOKED_AT = 48
_STAMPS_AT_ONCE = 4096


class ScanImageImagingExtractor(BlockImagingExtractor):
    """One channel of a ScanImage recording: a movie ``(samples, rows, columns)``, or volumes with the planes last.

    The file of an acquisition that ScanImage split is enough: the others are found beside it, in natural order.

    Parameters
    ----------
    file_path : str, os.PathLike, or a list of them
        A file; or exactly these files, in order; or a folder that holds one acquisition.
    channel : str or int, optional
        The channel's name (``"Channel 2"``) or ScanImage's number of it (2). Needed when several were saved.
    channel_name : str, optional
        Alias of ``channel``, as named in roiextractors.
    plane : int, optional
        Read this plane alone, from 0: the samples are then frames ``(rows, columns)``.
    plane_index : int, optional
        Alias of ``plane``, as named in roiextractors.
    slice_sample : int, optional
        Where each plane was taken several times before the next one: which of them to read, from 0.
    interleave_slice_samples : bool
        Read them all instead, each as a volume of its own.  The sampling frequency stays the rate of the
        whole volumes, as in roiextractors; the native timestamps are the real times.
    sampling_frequency : float, optional
        Sampling frequency in Hz; overrides the header's.
    file_paths : list of str or os.PathLike, optional
        The same as a list in ``file_path``.

    Raises
    ------
    StreamChoiceError
        There are several channels, or several frames of each plane, and none was chosen; or one that does not exist.
    UnsupportedRecordingError
        No ScanImage header, or frames of several planes averaged into one.
    TruncatedRecordingError
        Not one complete volume.
    ChoiceError
        Two options that contradict each other, or a folder of several acquisitions.

    Warns
    -----
    IncompleteRecordingWarning
        A file is missing, the last volume is not complete, or a page is cut; it was left out.

    Notes
    -----
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
        slice_sample: int | None = None,
        interleave_slice_samples: bool = False,
        sampling_frequency: float | None = None,
        file_paths: Sequence[str | os.PathLike[str]] | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._files = _Files.of(_one_of("file_path", file_path, "file_paths", file_paths))
        found = self._files.acquisition
        self._order = found.order
        self._channel = _channel(self._files, _one_of("channel", channel, "channel_name", channel_name))
        self._repeat = _repeat(self._files, slice_sample, interleave_slice_samples)
        self._plane = _plane(self._files, _one_of("plane", plane, "plane_index", plane_index))
        self.is_volumetric = self._order.planes > 1 and self._plane is None
        for sentence in self._files.warnings:
            warn(f"{self._files.name}: {sentence}")

    @classmethod
    def get_streams(cls, file_path: Paths, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels, and the frames of each plane, where there are several.

        Returns
        -------
        dict
            ``{"channel": ("Channel 1", "Channel 2"), "slice_sample": ("0", "1")}``
        """
        files = _Files.of(_one_of("file_path", file_path, "file_paths", options.get("file_paths")))
        repeats = files.acquisition.order.repeats if files.acquisition.order.planes > 1 else 1
        found = {
            "channel": files.acquisition.channel_names,
            "slice_sample": tuple(str(k) for k in range(min(repeats, 10_000))),
        }
        files.index.close()
        return {option: choices for option, choices in found.items() if len(choices) > 1}

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)`` of a page."""
        rows, columns = self._files.index.page_shape
        return int(rows), int(columns)

    def get_num_samples(self) -> int:
        """Return the number of frames, or of complete volumes."""
        order, num_pages = self._order, self._files.index.num_pages
        if order.planes == 1:
            return order.num_frames(num_pages)
        return order.num_volumes(num_pages) * (order.repeats if self._repeat is None else 1)

    def get_num_planes(self) -> int:
        """Return the number of planes of a sample; 1 for a movie."""
        return self._order.planes if self.is_volumetric else 1

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the pixels."""
        return np.dtype(self._files.index.dtype)

    def get_sampling_frequency(self) -> float | None:
        """Return volumes a second for a recording of volumes, frames a second for a movie (Hz), or None."""
        return self.volume_rate if self._order.planes > 1 else self.frame_rate

    @property
    def frame_rate(self) -> float | None:
        """Saved frames a second (Hz), all planes counted, or None."""
        return self._files.acquisition.frame_rate

    @property
    def volume_rate(self) -> float | None:
        """Volumes a second (Hz), or None for a movie of one plane; nominal for a slow stack."""
        return self._files.acquisition.volume_rate

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        """Return a part of the recording, reading only that; see :meth:`BlockImagingExtractor.get_block`."""
        self.check_open()
        index = self._files.index
        if not self.is_volumetric:
            return index.read(self._pages_of_frames(samples), rows, columns)
        chosen = planes or slice(0, self._order.planes)
        pages = self._pages_of_volumes(samples, np.arange(chosen.start, chosen.stop, dtype=np.int64))
        block = index.read(pages.ravel(), rows, columns)
        return np.moveaxis(block.reshape(*pages.shape, *block.shape[1:]), 1, 3)

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
        for first in range(start, end, _STAMPS_AT_ONCE):
            last = min(first + _STAMPS_AT_ONCE, end)
            result[first - start : last - start] = self._files.stamps(self._time_pages(slice(first, last)))
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
        everything = slice(0, self.get_num_samples())
        plane = _plane(self._files, plane_index)
        if plane is None or not self.is_volumetric:
            return self._time_pages(everything)
        return self._pages_of_volumes(everything, np.array([plane], np.int64))[:, 0]

    def get_metadata(self) -> RecordingMetadata:
        """Return what the header says; ``vendor`` is the whole header with its values parsed."""
        return self._metadata

    def get_paths(self) -> tuple[str, ...]:
        """Return every file of the acquisition."""
        return tuple(dict.fromkeys([*super().get_paths(), *map(os.path.abspath, self._files.found.paths)]))

    def get_notes(self) -> tuple[str, ...]:
        """Return what was decided or left out while opening."""
        return self._files.notes

    def close(self) -> None:
        """Release the files."""
        self._files.index.close()
        super().close()

    @cached_property
    def _metadata(self) -> RecordingMetadata:
        header, found = self._files.header, self._files.acquisition
        positions = found.plane_positions
        if self._plane is not None:
            positions = positions[self._plane : self._plane + 1]
        made_by = f"ScanImage {version}" if (version := _version(header)) else "ScanImage"
        return RecordingMetadata(
            start_time=self._files.start_time,
            pixel_size=_pixel_size(header, self.get_image_shape()),
            plane_spacing=found.plane_spacing if self.is_volumetric else None,
            plane_positions=positions,
            channels=(ChannelMetadata(found.channel_names[self._channel]),),
            device=made_by,
            software=made_by,
            vendor=header.to_dict(),
        )

    def _pages_of_frames(self, samples: slice | np.ndarray) -> range | np.ndarray:
        """Return the pages of a recording that gives frames; a range where they are evenly spaced."""
        order = self._order
        if order.planes > 1:
            plane = order.planes - 1 if self._plane is None else self._plane
            return self._pages_of_volumes(samples, np.array([plane], np.int64))[:, 0]
        if order.is_plain:
            step, first = order.channels, self._channel
            if isinstance(samples, slice):
                return range(samples.start * step + first, samples.stop * step + first, step)
            return samples * step + first
        volumes, repeats = np.divmod(_indices(samples), order.repeats)
        return order.page_of(volumes, np.zeros(1, np.int64), repeats, self._channel)

    def _pages_of_volumes(self, samples: slice | np.ndarray, planes: np.ndarray) -> np.ndarray:
        """Return the pages ``(samples, planes)``, int64."""
        indices = _indices(samples)
        volumes, repeats = indices, np.full(1, self._repeat or 0)
        if self._repeat is None:
            volumes, repeats = np.divmod(indices, self._order.repeats)
        return self._order.page_of(volumes[:, None], planes[None, :], repeats[:, None], self._channel)

    def _time_pages(self, samples: slice) -> np.ndarray:
        return np.asarray(self._pages_of_frames(samples), np.int64)


@dataclass(frozen=True)
class _Files:
    """The files of a recording, their pages, and what the header says about them."""

    index: PageIndex
    header: Header
    acquisition: Acquisition
    first_page: bytes
    found: FileSet

    @classmethod
    def of(cls, source: Any) -> _Files:
        if source is None:
            raise ChoiceError("no file was given; pass a path, or a list of the files of one recording")
        index, header, found = _gathered(source)
        name = printable(os.path.basename(str(index.paths[0])))
        looked_at = index.descriptions(range(min(index.pages_per_file[0], _looked_at(header))))
        numbers = [frame_number_of(text) for text in looked_at]
        if not header.dialect and (not numbers or numbers[0] is None):
            raise UnsupportedRecordingError(
                f"{name} has no ScanImage header: neither a Software tag with 'SI.' lines nor a description with 'scanimage.' "
                "or 'state.' lines; open(..., format='tiff') reads it as plain TIFF"
            )
        if index.samples_per_pixel != 1:
            raise UnsupportedRecordingError(
                f"{name} has {index.samples_per_pixel} samples per pixel, but ScanImage writes one; "
                "open(..., format='tiff') reads it as plain TIFF"
            )
        acquisition = acquisition_of(header, name=name, frame_numbers=numbers, num_pages=int(index.num_pages))
        return cls(index, header, acquisition, looked_at[0] if looked_at else b"", found)

    @property
    def name(self) -> str:
        return printable(os.path.basename(str(self.index.paths[0])))

    @cached_property
    def has_stamps(self) -> bool:
        return stamp_of(self.first_page) is not None

    @cached_property
    def start_time(self) -> datetime | None:
        found = epoch_of(self.first_page)
        for key in ("SI5.acqStartTime", "triggerClockTimeFirst", "acqModeStartTime"):
            found = found or parse_moment(self.header.lines.get(f"scanimage.{key}", ""))
            found = found or parse_moment(str(self.header.get(f"SI4.{key}") or ""))
        for key in ("state.internal.triggerTimeString", "state.internal.triggerTimeFirstString"):
            found = found or parse_moment(self.header.text(key))
        return found

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What a person is warned of here; the index warns of a cut page by itself."""
        return (*self.found.gaps, *self._left_out())

    @cached_property
    def notes(self) -> tuple[str, ...]:
        return (
            *self.found.notes,
            *self.acquisition.notes,
            *self.index.notes,
            *self.warnings,
            *_region_notes(self.header),
            *self._rate_notes(),
            *self._number_notes(),
        )

    def stamps(self, pages: np.ndarray) -> np.ndarray:
        """Return the times that the pages state, seconds."""
        found = [stamp_of(text) for text in self.index.descriptions(pages)]
        if None in found:
            path, page = self._place(int(pages[found.index(None)]))
            raise CorruptRecordingError(
                f"page {page:,} of {path} states no time (frameTimestamps_sec), although the first page does; "
                "call set_times(...) to set other times"
            )
        offsets: np.ndarray = self._offsets[np.searchsorted(self._ends, pages, side="right")]
        return offsets + np.array(found, np.float64)

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(np.asarray(self.index.pages_per_file, np.int64))

    @cached_property
    def _offsets(self) -> np.ndarray:
        """Seconds to add in each file whose clock began anew, as its own start says."""
        offsets = np.zeros(len(self._ends), np.float64)
        begun = epoch_of(self.first_page)
        if begun is None or len(offsets) == 1:
            return offsets
        for k, text in enumerate(self.index.descriptions(self._ends[:-1]), start=1):
            own = epoch_of(text)
            restarted = frame_number_of(text) == frame_number_of(self.first_page)
            offsets[k] = (own - begun).total_seconds() if restarted and own is not None else 0.0
        return offsets

    def _place(self, page: int) -> tuple[str, int]:
        starts = [0, *accumulate(int(n) for n in self.index.pages_per_file)]
        k = bisect_right(starts, page) - 1
        return printable(os.path.basename(str(self.index.paths[k]))), page - starts[k]

    def _left_out(self) -> tuple[str, ...]:
        order, num_pages = self.acquisition.order, int(self.index.num_pages)
        if order.planes == 1:
            left = num_pages % order.pages % order.channels if not order.is_plain else num_pages % order.channels
            what = f"frame is not complete: {left} of its {order.channels} channels are in the file"
        else:
            left = max(0, num_pages - order.num_volumes(num_pages) * order.pages)
            what = f"volume is not complete: {left:,} of its {order.pages:,} pages are in the file"
        return (f"the last {what}, and it is left out",) if left else ()

    def _rate_notes(self) -> tuple[str, ...]:
        slow = self.header.text("SI.hStackManager.stackMode") == "slow" and self.acquisition.volume_rate is not None
        return ("a slow stack: the volume rate is nominal, and the timestamps are the real times",) if slow else ()

    def _number_notes(self) -> tuple[str, ...]:
        first, step = frame_number_of(self.first_page), self.acquisition.number_step
        num_pages = int(self.index.num_pages)
        last = frame_number_of(self.index.descriptions([num_pages - 1])[0]) if num_pages else None
        if first is None or last is None:
            return ()
        expected = first + (num_pages - 1) // self.acquisition.order.channels * step
        if last == expected:
            return ()
        return (
            f"the frame numbers run from {first:,} to {last:,}, and {expected:,} would follow from the number of pages: frames "
            "were lost while recording, or the numbers begin anew, and planes after that may be assigned wrongly",
        )


def _gathered(source: Any) -> tuple[PageIndex, Header, FileSet]:
    """Return the pages of all files, the first one's header, and what was left out."""
    if not isinstance(source, str | os.PathLike):
        paths = tuple(os.path.abspath(os.fspath(path)) for path in source)
        index = PageIndex.of(paths)
        return index, _header(index), FileSet(paths)
    path = os.path.abspath(os.fspath(source))
    is_folder = os.path.isdir(path)
    folder = path if is_folder else os.path.dirname(path)
    names = listing(folder)
    path = first_of_folder(folder, names) if is_folder else path
    # one page tells the header; the pages of all files are indexed once it is known which files they are
    header = _header(PageIndex.of(path, span=(0, 1)))
    found = files_of_acquisition(path, header, names)
    if is_folder:
        found = FileSet(found.paths, (*found.notes, *others_of_folder(folder, names, found.paths)), found.gaps)
    index = PageIndex.of(found.paths)
    return index, header if found.paths[0] == path else _header(index), found


def _header(index: PageIndex) -> Header:
    tags = index.first_tags
    description, software, artist = (_bytes(tags.get(code)) for code in (_DESCRIPTION, _SOFTWARE, _ARTIST))
    static = _static_block(os.fspath(index.paths[0]))
    if static is not None:
        return parse_header(static[0], regions=static[1], page=description)
    found = parse_header(software, regions=artist, page=description)
    return found if found.dialect else parse_header(description)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _static_block(path: str) -> tuple[bytes, bytes] | None:
    """Return the header text and the JSON that stand before the first page, or None."""
    file = PositionedFile(path)
    head = file.read(0, 32)
    if len(head) < 32 or head[:4] != b"II+\0":
        return None
    magic, _, text, regions = struct.unpack_from("<4I", head, 16)
    if magic != _STATIC_MAGIC or text + regions > _MAX_STATIC:
        return None
    block = file.read(32, text + regions)
    return (block[:text], block[text:]) if block[:text].lstrip()[:3] in (b"SI.", b'{"S') else None


def _looked_at(header: Header) -> int:
    channels = header.numbers("SI.hChannels.channelSave") or header.numbers("SI4.channelsSave")
    return max(_FEWEST_LOOKED_AT, 3 * min(len(channels), 256))


def _one_of(name: str, value: Any, other_name: str, other: Any) -> Any:
    """Return the one of two options of the same meaning that was given."""
    if value is not None and other is not None and value != other:
        raise ChoiceError(
            f"{name}={value!r:.80} and {other_name}={other!r:.80} mean the same but differ; pass one of them"
        )
    return other if value is None else value


def _channel(files: _Files, wanted: Any) -> int:
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


def _unnamed_channel(files: _Files) -> StreamChoiceError:
    names, order = files.acquisition.channel_names, files.acquisition.order
    error = StreamChoiceError.for_option(files.name, "channel", names)
    if order.planes == 1 or order.repeats == 1:
        return error
    more = f"; it also needs slice_sample=0 to {order.repeats - 1}, or interleave_slice_samples=True"
    return StreamChoiceError(f"{error}{more}", option="channel", choices=names)


def _repeat(files: _Files, wanted: Any, interleave: bool) -> int | None:
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


def _plane(files: _Files, wanted: Any) -> int | None:
    if wanted is None:
        return None
    planes = files.acquisition.order.planes
    number = _whole(wanted)
    if number is None or not 0 <= number < planes:
        raise StreamChoiceError.for_option(files.name, "plane", tuple(str(k) for k in range(planes)), seen=wanted)
    return number if planes > 1 else None


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _indices(samples: slice | np.ndarray) -> np.ndarray:
    return np.arange(samples.start, samples.stop, dtype=np.int64) if isinstance(samples, slice) else samples


def _version(header: Header) -> str:
    if header.dialect == "state":
        return header.text("state.software.version")
    group = "SI4.version" if "SI4.versionMajor" in header else "SI4.VERSION_"
    group = group if header.dialect == "SI4" else "SI.VERSION_"
    names = ("Major", "Minor") if group == "SI4.version" else ("MAJOR", "MINOR", "UPDATE")
    return printable(".".join(part for name in names if (part := header.text(group + name))))


def _regions(header: Header) -> list[dict[str, Any]]:
    """Return the imaged regions that are switched on."""
    group = header.roi_groups.get("imagingRoiGroup")
    rois = group.get("rois") if isinstance(group, dict) else None
    found = rois if isinstance(rois, list) else [rois]  # MATLAB writes a list of one as its only item
    return [roi for roi in found if isinstance(roi, dict) and "scanfields" in roi and roi.get("enable", 1)]


def _region_notes(header: Header) -> tuple[str, ...]:
    regions = _regions(header)
    if len(regions) < 2 or not header.flag("SI.hRoiManager.mroiEnable"):
        return ()
    return (
        f"each page holds {len(regions)} regions of interest below one another, and is given as it is; "
        "metadata.vendor['RoiGroups'] describes them",
    )


def _pixel_size(header: Header, shape: tuple[int, int]) -> tuple[float, float] | None:
    """Return the distance of pixels ``(row, column)`` in micrometres, or None."""
    corners = header.numbers("SI.hRoiManager.imagingFovUm")
    regions = _regions(header)
    if len(corners) == 8 and len(regions) < 2:
        sizes = [(max(c) - min(c)) / n for c, n in zip((corners[1::2], corners[0::2]), shape, strict=True)]
        return (sizes[0], sizes[1]) if min(sizes) > 0 else None
    scale = header.rate("SI.objectiveResolution")
    found = {size for region in regions if (size := _region_pixel(region, scale)) is not None}
    return found.pop() if len(found) == 1 else None


def _region_pixel(region: dict[str, Any], scale: float | None) -> tuple[float, float] | None:
    field = region.get("scanfields")
    field = field[0] if isinstance(field, list) and field else field
    if not isinstance(field, dict) or scale is None:
        return None
    try:
        sizes = [s * scale / n for s, n in zip(field["sizeXY"], field["pixelResolutionXY"], strict=True)]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (sizes[1], sizes[0]) if len(sizes) == 2 and all(0 < s < math.inf for s in sizes) else None

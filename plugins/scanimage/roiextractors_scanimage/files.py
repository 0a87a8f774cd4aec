"""The files of a recording: their pages, the contents of the header, and the place of each frame."""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from roiextractors_tiff.pages import PageIndex

from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    IncompleteRecordingWarning,
    RoiExtractorsWarning,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io import PositionedFile, is_folder, missing_samples, regular_rate, silenced, warn

from .acquisition import Acquisition, acquisition_of, formula
from .file_set import FileSet, files_of_acquisition, first_of_folder, listing, others_of_folder
from .header import Header, epoch_of, frame_number_of, parse_header, parse_moment, stamp_of
from .placement import Placement, place_frames, place_in_order
from .regions import Mosaic, find_mosaic, imaged_regions

__all__ = ["Files"]

_DESCRIPTION, _SOFTWARE, _ARTIST = 270, 305, 315
# The bytes 01 03 03 07 behind the 16 bytes of the BigTIFF head, as in ScanImage's BigTIFF specification
_STATIC_MAGIC = 117637889
_MAX_STATIC = 256 << 20
# Enough frames to see their step and their times, but little to read on every opening
_FEWEST_LOOKED_AT = 48
_MAX_TOLD = 3
# Relative: gaps between timestamps that differ by more are not a frame rate

Warned = tuple[str, type[RoiExtractorsWarning]]


@dataclass(frozen=True)
class Files:
    """The files of a recording, their pages, and the contents of their header.

    Attributes
    ----------
    index : PageIndex
    header : Header
    acquisition : Acquisition
    placement : Placement
    first_pages : tuple of bytes
        The descriptions of the first pages.
    found : FileSet
    """

    index: PageIndex
    header: Header
    acquisition: Acquisition
    placement: Placement
    first_pages: tuple[bytes, ...]
    found: FileSet
    _first_numbers: tuple[int | None, ...]
    _first_stamps: tuple[float | None, ...]

    @classmethod
    def of(cls, source: Any, flyback: int | None = None) -> Files:
        """Find and read the files that a user named.

        Parameters
        ----------
        source : str, os.PathLike, or a sequence of them
        flyback : int, optional
            Frames of flyback in each volume; overrides the header.
        """
        if source is None:
            raise ChoiceError("no file was given; pass a path, or a list of the files of one recording")
        index, header, found = _gathered(source)
        name = printable(os.path.basename(str(index.paths[0])))
        # Without the blanks that make all descriptions equally long
        looked_at = [
            text.rstrip() for text in index.descriptions(range(min(index.pages_per_file[0], _looked_at(header))))
        ]
        numbers = [frame_number_of(text) for text in looked_at]
        # A file that lost its header still opens as a movie if its pages state frame numbers
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
        num_pages = int(index.num_pages)
        stamps = [stamp_of(text) for text in looked_at]
        acquisition = acquisition_of(
            header, name=name, frame_numbers=numbers, num_pages=num_pages, stamps=stamps, flyback=flyback
        )
        channels, length = acquisition.order.channels, acquisition.order.frames
        if _are_numbers(numbers, channels):
            # In a slow stack every plane is an acquisition of the loop, but the frame numbers run on over them
            in_loop = _is_loop(header) and header.text("SI.hStackManager.stackMode") != "slow"
            step = acquisition.number_step
            placement = place_frames(
                index,
                channels=channels,
                step=step,
                length=length,
                in_loop=in_loop,
                known=looked_at,
                known_numbers=numbers,
            )
        else:
            # Behind a damaged file no page could be placed
            placement = place_in_order(sum(index.pages_per_file[: min(index.damaged, default=num_pages) + 1]), channels)
        files = cls(index, header, acquisition, placement, tuple(looked_at), found, tuple(numbers), tuple(stamps))
        # Without one whole volume, single repeats of a slow stack may still have all their planes
        if not len(files.units) and (files.whole_repeats is None or not files.whole_repeats.any()):
            order = acquisition.order
            raise TruncatedRecordingError(
                f"{name} contains {counted(num_pages, 'page')}, but one {files.unit_name} takes {order.kept * order.channels:,} "
                f"({formula(order)}): no {files.unit_name} is complete; open(..., format='tiff') gives the pages as they are"
            )
        return files

    @property
    def name(self) -> str:
        """The name of the first file, for messages."""
        return printable(os.path.basename(str(self.index.paths[0])))

    @property
    def unit_name(self) -> str:
        """The word for a sample."""
        return "frame" if self.acquisition.order.planes == 1 else "volume"

    @cached_property
    def units(self) -> range | np.ndarray:
        """The slots of the frames of a movie, or the numbers of the complete volumes, that are read."""
        order = self.acquisition.order
        find = self.placement.kept_slots if order.planes == 1 else self.placement.complete_volumes
        return find(order.frames, order.kept)

    @cached_property
    def whole_repeats(self) -> np.ndarray | None:
        """Which repeats of which volumes have every plane ``(volumes, repeats)``; None if only whole volumes are read.

        A slow stack may be one volume with hundreds of frames of each plane; a lost frame costs only its repeat.
        """
        order, placement = self.acquisition.order, self.placement
        # Only a lost page makes the search for whole repeats worthwhile; the table has one entry a frame
        if order.planes == 1 or order.repeats == 1 or placement.is_gapless:
            return None
        is_there = np.zeros(self.total_units * order.frames, bool)
        for start, stop in placement.stretches().tolist():
            is_there[start:stop] = True
        kept = is_there.reshape(-1, order.frames)[:, : order.kept]
        return np.asarray(kept.reshape(-1, order.planes, order.repeats).all(axis=1))

    def samples(self, repeat: int | None) -> range | np.ndarray:
        """Return the index of each sample: its slot, its volume, or ``volume * repeats + repeat`` if all are read.

        Parameters
        ----------
        repeat : int or None
            Which frame of each plane, or all of them.
        """
        repeats, whole, units = self.acquisition.order.repeats, self.whole_repeats, self.units
        if self.acquisition.order.planes == 1 or repeats == 1:
            return units
        if whole is not None:
            return np.flatnonzero(whole if repeat is None else whole[:, repeat])
        if repeat is not None:
            return units
        if isinstance(units, range):
            return range(units.start * repeats, units.stop * repeats)
        return (units[:, None] * repeats + np.arange(repeats)).ravel()

    def missing_samples(self, repeat: int | None) -> np.ndarray:
        """Return the samples that are not read, counted from the first of the acquisition."""
        repeats = self.acquisition.order.repeats
        if self.acquisition.order.planes == 1 or repeats == 1 or (repeat is not None and self.whole_repeats is None):
            return self.missing_units
        total = self.total_units * (repeats if repeat is None else 1)
        return missing_samples(total, np.asarray(self.samples(repeat), np.int64))

    @cached_property
    def total_units(self) -> int:
        """Number of frames outside the flyback, or of volumes, up to the last one that has a page in the files."""
        order, slots = self.acquisition.order, self.placement.num_slots
        if order.planes > 1:
            return -(-slots // order.frames)
        volumes, rest = divmod(slots, order.frames)
        return volumes * order.kept + min(rest, order.kept)

    @cached_property
    def missing_units(self) -> np.ndarray:
        """The frames or volumes that are not read because pages are missing, counted from the first of the acquisition."""
        order, there = self.acquisition.order, self.units
        if isinstance(there, range) and there == range(self.total_units):
            return np.empty(0, np.int64)
        if order.planes == 1 and order.flyback:
            slots = np.asarray(there, np.int64)
            # Slots count the frames of the flyback, samples do not
            there = slots // order.frames * order.kept + slots % order.frames
        is_missing = np.ones(self.total_units, bool)
        is_missing[slice(there.start, there.stop) if isinstance(there, range) else there] = False
        return np.flatnonzero(is_missing)

    @cached_property
    def mosaic(self) -> Mosaic | None:
        """Where the regions of interest are in the pages, or None for a recording of one."""
        regions, planes = imaged_regions(self.header), self.acquisition.order.planes
        if not regions:
            return None
        try:
            return find_mosaic(regions, self.header, page_shape=self.index.page_shape, planes=planes, name=self.name)
        except UnsupportedRecordingError as error:
            # One region alone is the page itself, so its problem need not keep the pages from being read
            if len(regions) == 1:
                return None
            return Mosaic((), ({},) * planes, 0, problem=str(error))

    @cached_property
    def has_stamps(self) -> bool:
        """Whether the pages state usable times: not all the same, and with known pauses between acquisitions."""
        return self._first_stamps[0] is not None and not self._stands_still and self._offsets is not None

    @cached_property
    def _stands_still(self) -> bool:
        stamps = self._first_stamps[:: self.acquisition.order.channels]
        return len(stamps) > 1 and len(set(stamps)) == 1 and stamps[0] is not None

    @cached_property
    def start_time(self) -> datetime | None:
        """The moment at which the first acquisition began, as the pages or the header state it."""
        first = self.placement.acquisitions[0].begun if self.placement.acquisitions else None
        found = first or epoch_of(self.first_pages[0])
        for key in ("SI5.acqStartTime", "triggerClockTimeFirst", "acqModeStartTime"):
            found = found or parse_moment(self.header.lines.get(f"scanimage.{key}", ""))
            found = found or parse_moment(str(self.header.get(f"SI4.{key}") or ""))
        for key in ("state.internal.triggerTimeString", "state.internal.triggerTimeFirstString"):
            found = found or parse_moment(self.header.text(key))
        return found

    @cached_property
    def warnings(self) -> tuple[Warned, ...]:
        """Warnings with their categories; the page index warns of a truncated page itself."""
        missing = (*self.found.gaps, *self._left_out(), *self._ends_early())
        contradictions = (*self.acquisition.contradictions, *self._contradictions())
        return (
            *((sentence, IncompleteRecordingWarning) for sentence in missing),
            *((sentence, RoiExtractorsWarning) for sentence in contradictions),
        )

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Decisions made and data left out while opening."""
        return (
            *self.found.notes,
            *self.acquisition.notes,
            *self.index.notes,
            *(sentence for sentence, _ in self.warnings),
            *self._region_notes(),
            *self._rate_notes(),
            *self._order_notes(),
        )

    @cached_property
    def frame_rate(self) -> float | None:
        """Saved frames a second (Hz): the header's, or by the times of the first pages where these are regular."""
        if self.acquisition.frame_rate is not None or not self.has_stamps or not self.placement.acquisitions:
            return self.acquisition.frame_rate
        # By number and not by page: of some frames the page of a channel may be lost
        stamps = dict(zip(self._first_numbers, self._first_stamps, strict=True))
        if len(stamps) < 3 or None in stamps or None in stamps.values():
            return None
        frames = np.array(list(stamps), np.float64) / self.acquisition.number_step
        return regular_rate(np.array(list(stamps.values()), np.float64), frames)

    def stamps(self, slots: np.ndarray) -> np.ndarray:
        """Return the times that the pages of frames state, seconds."""
        pages = self.placement.pages_of(slots)
        texts = self.index.descriptions(pages)
        found = [stamp_of(text) for text in texts]
        if None in found:
            path, page = self._place(int(pages[found.index(None)]))
            raise CorruptRecordingError(
                f"page {page:,} of {path} states no time (frameTimestamps_sec), although the first page does; "
                "call set_times(...) to set other times"
            )
        self._require_numbers(texts, slots, pages)
        times = np.array(found, np.float64)
        if self._offsets is not None and len(self._offsets) > 1:
            times += self._offsets[self.placement.owners[self.placement.runs_of(slots)]]
        return times

    def _require_numbers(self, texts: Sequence[bytes], slots: np.ndarray, pages: np.ndarray) -> None:
        """Refuse frames that a page written twice has put in the place of lost ones; few pages were looked at before."""
        expected = self.placement.numbers_of(slots)
        if expected is None:
            return
        for text, number, page in zip(texts, expected.tolist(), pages.tolist(), strict=True):
            stated = frame_number_of(text)
            if stated is not None and stated != number:
                path, place = self._place(page)
                raise CorruptRecordingError(
                    f"page {place:,} of {path} states the frame number {stated:,}, expected {number:,}: pages were lost and others "
                    "written twice; open(..., format='tiff') gives the pages as they are"
                )

    @cached_property
    def _offsets(self) -> np.ndarray | None:
        """Seconds to add in each acquisition whose clock began anew, as its own start says; None if it states no start."""
        placement = self.placement
        offsets = np.zeros(max(1, len(placement.acquisitions)), np.float64)
        if len(offsets) == 1:
            return offsets
        begun = [one.begun for one in placement.acquisitions]
        edges = np.searchsorted(placement.owners, np.arange(len(offsets) + 1))
        end = -np.inf
        for k, (start, stop) in enumerate(pairwise(edges.tolist())):
            if start == stop:
                continue
            last = placement.pages[stop - 1] + placement.counts[stop - 1] * placement.channels - 1
            stamps = [stamp_of(text) for text in self.index.descriptions([int(placement.pages[start]), int(last)])]
            # A clock that runs on over acquisitions needs no offset; one that began anew would go back in time
            if stamps[0] is not None and stamps[0] <= end:
                moment, first = begun[k], begun[0]
                # Without its own start, the pause before this acquisition is unknown and any offset would be a guess
                if moment is None or first is None or moment == first:
                    return None
                offsets[k] = (moment - first).total_seconds()
            end = max(end, (stamps[1] or 0.0) + offsets[k])
        return offsets

    def _place(self, page: int) -> tuple[str, int]:
        starts = [0, *accumulate(int(n) for n in self.index.pages_per_file)]
        k = bisect_right(starts, page) - 1
        return printable(os.path.basename(str(self.index.paths[k]))), page - starts[k]

    def _left_out(self) -> tuple[str, ...]:
        placement, order, num_pages = self.placement, self.acquisition.order, int(self.index.num_pages)
        if placement.is_gapless:
            rest = num_pages % (order.pages if order.planes > 1 else order.channels)
            if not len(self.missing_units) or not rest:
                return ()
            if order.planes == 1:
                what = f"frame is not complete: {rest} of its {order.channels} channels are in the file"
            else:
                what = f"volume is not complete: {rest:,} of its {order.pages:,} pages are in the file"
            sentence = f"the last {what}, and it is left out"
            if self.placement.acquisitions or self.index.damaged:
                return (sentence,)
            return (
                f"{sentence}; if a page before it was lost, all pages after that are assigned wrongly, as they "
                "state no frame numbers",
            )
        sentences, word, missing = [], self.unit_name, self.missing_units
        if len(missing):
            them = f"{len(missing):,} of {self.total_units:,} {word}s are"
            which = f"the first is {word} {missing[0]:,}" if len(missing) > 1 else f"{word} {missing[0]:,}"
            left = "left out" if self.whole_repeats is None else "left out, except for repeats with all planes"
            sentences.append(
                f"{them} missing or incomplete, by the frame numbers of the pages, and {left} ({which}, counted from 0); "
                "the others keep their own times"
            )
        if placement.first_slot:
            first = placement.first_slot * self.acquisition.number_step + 1
            sentences.append(f"the files begin with frame {first:,} of the acquisition")
        if placement.incomplete:
            sentences.append(
                f"{placement.incomplete:,} frame{'s lack' if placement.incomplete > 1 else ' lacks'} the pages of some channels"
            )
        if placement.nameless:
            sentences.append(
                f"{placement.nameless:,} page{'s state' if placement.nameless > 1 else ' states'} no frame "
                "number or an impossible one: left out"
            )
        if placement.repeated:
            sentences.append(
                f"{placement.repeated:,} frame{'s have' if placement.repeated > 1 else ' has'} the number of another one: left out"
            )
        return tuple(sentences)

    def _ends_early(self) -> tuple[str, ...]:
        """Return a warning of totals in the header that the files do not reach."""
        stated, total = self._stated_total, self.total_units
        # A movie may be stopped at any frame; only a full last file suggests that another one followed
        if stated is None or total >= stated or (self.acquisition.order.planes == 1 and not self._last_is_full):
            return ()
        return (
            f"the header states {stated:,} {self.unit_name}s, but the files end after {total:,}: the acquisition was stopped early, "
            "or files at its end are missing",
        )

    def _contradictions(self) -> tuple[str, ...]:
        sentences, stated, total = [], self._stated_total, self.total_units
        behind = not self.placement.acquisitions and min(self.index.damaged, default=len(self.index.paths)) + 1
        if behind and behind < len(self.index.paths):
            sentences.append("the files after the damaged one are not read: their pages state no frame numbers")
        if stated is not None and total > stated and self.acquisition.order.planes > 1:
            sentences.append(f"the header states {stated:,} volumes, but the files contain {total:,}; all are read")
        numbers = self._first_numbers
        if (
            numbers[0] is not None
            and not self.placement.acquisitions
            and self.index.num_pages > self.placement.channels
        ):
            sentences.append(
                f"all pages state the frame number {numbers[0]:,}: frames are placed by the order of the pages"
            )
        if len(self.placement.acquisitions) > 1 and not _is_loop(self.header):
            sentences.append(
                f"the files are from {len(self.placement.acquisitions):,} acquisitions, which are joined in the order in which they began"
            )
        return (*sentences, *(self.mosaic.contradictions if self.mosaic else ()))

    @cached_property
    def _stated_total(self) -> int | None:
        """The number of volumes or frames that the header states, or None."""
        header, order = self.header, self.acquisition.order
        # The header counts one acquisition, so its totals say nothing about several that were joined
        if len(self.placement.acquisitions) > 1 or (order.flyback and order.planes == 1):
            return None
        if order.planes > 1:
            fast = header.count("SI.hFastZ.numVolumes") if header.flag("SI.hFastZ.enable") else None
            return header.count("SI.hStackManager.actualNumVolumes") or fast
        if header.flag("SI.hStackManager.enable"):
            return None
        stated = header.count("SI.hStackManager.framesPerSlice", "SI4.acqNumFrames", "state.acq.numberOfFrames")
        # The header counts acquired frames, before averaging
        return None if stated is None else stated // self.acquisition.number_step

    @cached_property
    def _last_is_full(self) -> bool:
        """Whether the last file has as many frames as a file may have; another file may have followed."""
        most = self.header.count("SI.hScan2D.logFramesPerFile", "SI4.loggingFramesPerFile")
        frames = self.index.pages_per_file[-1] // self.placement.channels
        return most is not None and frames * self.acquisition.number_step >= most

    def _region_notes(self) -> tuple[str, ...]:
        mosaic = self.mosaic
        if mosaic is None or not mosaic.names:
            return ()
        return (
            f"each page has {len(mosaic.names)} regions of interest below one another, with {mosaic.gap} lines between them",
            *(("regions overlap: roi='stitched' shows the last of them",) if mosaic.overlaps() else ()),
        )

    def _rate_notes(self) -> tuple[str, ...]:
        slow = self.header.text("SI.hStackManager.stackMode") == "slow" and self.acquisition.volume_rate is not None
        still: tuple[str, ...] = ()
        if self._stands_still:
            still = ("all pages state the same time: times are computed from the rate",)
        elif self._offsets is None:
            still = ("the clock restarts and the files do not state when: times are computed from the rate",)
        return (
            *still,
            *(("a slow stack: the volume rate is nominal, and the timestamps are the real times",) if slow else ()),
        )

    def _order_notes(self) -> tuple[str, ...]:
        stated, total = self._stated_total, self.total_units
        unreached = stated is not None and total < stated and not self._ends_early()
        return (
            *((f"the header states {stated:,} frames, but the files contain {total:,}",) if unreached else ()),
            *(
                ()
                if self.placement.is_sorted
                else ("frames are read in the order of their numbers, which is not that of the files",)
            ),
        )


def _is_loop(header: Header) -> bool:
    return "loop" in (header.text("SI.acqState"), header.text("SI4.acqState"))


def _are_numbers(numbers: Sequence[int | None], channels: int) -> bool:
    """Return whether the frame numbers of the first pages distinguish frames."""
    known = [number for number in numbers if number is not None]
    # Programs that copy the first description to every page leave one number on all of them
    return bool(known) and (len(set(known)) > 1 or len(known) <= channels)


def _gathered(source: Any) -> tuple[PageIndex, Header, FileSet]:
    """Return the pages of all files, the header of the first one, and the files that are read or left out."""
    # A list is taken as it is: the user may leave out files on purpose
    if not isinstance(source, str | os.PathLike):
        paths = tuple(os.path.abspath(os.fspath(path)) for path in source)
        index = PageIndex.of(paths)
        return index, _header(index), FileSet(paths)
    path = os.path.abspath(os.fspath(source))
    is_whole = is_folder(path)
    folder = path if is_whole else os.path.dirname(path)
    names = listing(folder)
    path = first_of_folder(folder, names) if is_whole else path
    with silenced():  # it may turn out not to be the only file
        alone = PageIndex.of(path)
    header = _header(alone)
    found = files_of_acquisition(path, header, names)
    if is_whole:
        found = FileSet(found.paths, (*found.notes, *others_of_folder(folder, names, found.paths)), found.gaps)
    if found.paths == (path,):
        for note in alone.notes:
            warn(note)
        return alone, header, found
    alone.close()
    index, found = _index_of(found)
    # Any file may have been named, but the header of the first one describes the start
    return index, header if found.paths[0] == path else _header(index), found


def _index_of(found: FileSet) -> tuple[PageIndex, FileSet]:
    """Return the pages of all files with at least one whole page, and these files."""
    try:
        return PageIndex.of(found.paths), found
    except (CorruptRecordingError, TruncatedRecordingError):
        good, gaps = [], []
        for path in found.paths:
            try:
                with silenced():
                    PageIndex.of(path).close()
                good.append(path)
            except (CorruptRecordingError, TruncatedRecordingError) as error:
                gaps.append(f"{printable(os.path.basename(path))} is damaged and left out: {error}")
        if not good or not gaps:
            raise
    more = (f"{len(gaps) - _MAX_TOLD:,} further files are damaged and left out",) if len(gaps) > _MAX_TOLD else ()
    found = FileSet(tuple(good), found.notes, (*found.gaps, *gaps[:_MAX_TOLD], *more))
    return PageIndex.of(found.paths), found


def _header(index: PageIndex) -> Header:
    tags = index.first_tags
    description, software, artist = (_bytes(tags.get(code)) for code in (_DESCRIPTION, _SOFTWARE, _ARTIST))
    static = _static_block(os.fspath(index.paths[0]))
    if static is not None:
        return parse_header(static[0], regions=static[1], page=description)
    found = parse_header(software, regions=artist, page=description)
    # ScanImage 3.x to 5.1 keep the whole header in the description; later versions use Software and Artist
    return found if found.dialect else parse_header(description)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _static_block(path: str) -> tuple[bytes, bytes] | None:
    """Return the header text and the JSON before the first page, or None."""
    file = PositionedFile(path)
    head = file.read(0, 32)
    # The block exists only in little-endian BigTIFF files
    if len(head) < 32 or head[:4] != b"II+\0":
        return None
    magic, _, text, regions = struct.unpack_from("<4I", head, 16)
    if magic != _STATIC_MAGIC or text + regions > _MAX_STATIC:
        return None
    block = file.read(32, text + regions)
    # The header is lines, or JSON in some versions; other bytes are damage, and the tags are used instead
    return (block[:text], block[text:]) if block[:text].lstrip()[:3] in (b"SI.", b'{"S') else None


def _looked_at(header: Header) -> int:
    # Three frames of all channels, since the last one may be cut off
    channels = header.numbers("SI.hChannels.channelSave") or header.numbers("SI4.channelsSave")
    return max(_FEWEST_LOOKED_AT, 3 * min(len(channels), 256))

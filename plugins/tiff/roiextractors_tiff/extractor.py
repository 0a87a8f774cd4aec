"""Reads TIFF files as a recording."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from roiextractors_core import BlockImagingExtractor, ChannelMetadata, RecordingMetadata
from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    RoiExtractorsWarning,
    StreamChoiceError,
    UnsupportedRecordingError,
    counted,
    listed,
    printable,
)
from roiextractors_core.io import (
    choose_stream,
    plausible_start,
    regular_rate,
    to_micrometres,
    to_seconds,
    unread_descriptions,
    warn,
)

from .arrangement import Arrangement, arrange, imagej_fields
from .files import Files, Paths, SizesInFolder, files_of, index_of, recalled
from .lsm import LSM, lsm_facts
from .metamorph import UIC1, is_described, page_facts, stack_facts
from .pages import UIC2, Directory, PageIndex, Series, described_shape, series_of
from .vendor import VendorFacts

__all__ = ["TiffImagingExtractor"]

_MAX_DEVIATION = 0.01  # of a stated interval from the median of the times


class TiffImagingExtractor(BlockImagingExtractor):
    """TIFF files as a recording.

    Parameters
    ----------
    file_path : str, os.PathLike, or a sequence of them
        A file; the files of one recording, in order; or a folder of frames.  One number that varies in the names is time;
        several are read by the letters before them (``c``, ``z``, ``t``, ``pos``), or by ``pattern``.
    sampling_frequency : float, optional
        Sampling frequency in Hz; overrides the value in the file.
    dimension_order : str, optional
        The order of the pages over T, Z and C, the slowest first (``"TZC"``); overrides the file's.
    num_channels, num_planes : int, optional
        The lengths of C and Z.
    channel : str, optional
        One of several channels, by name or by its number from 1.
    position : str or int, optional
        One of several positions in the names of the files.
    pattern : str, optional
        The names of the files with ``{time}``, ``{plane}``, ``{channel}`` and ``{position}`` in place of what varies, ``{name}``
        for a text that is the same in all, and ``{}`` for one that does not matter: ``"{name}_c{channel}_t{time}.tif"``.
    plane : str or int, optional
        One plane of a volume, from 0; the recording is then planar.
    series : str or int, optional
        One of several arrays in the file, from 0.

    Raises
    ------
    StreamChoiceError
        There are several channels or series and none was chosen, or one that does not exist.
    CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError
        The message names file, page and offset.

    References
    ----------
    TIFF Revision 6.0, Adobe 1992; ImageJ's TiffDecoder and FileSaver; tifffile's shaped series.
    """

    def __init__(
        self,
        file_path: Paths,
        *,
        sampling_frequency: float | None = None,
        dimension_order: str | None = None,
        num_channels: int | None = None,
        num_planes: int | None = None,
        channel: str | int | None = None,
        plane: str | int | None = None,
        series: str | int | None = None,
        position: str | int | None = None,
        pattern: str | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._warnings: tuple[str, ...] = ()
        # A declared order of pages applies to the files in their order, so their names are not interpreted
        in_order = dimension_order is not None or num_channels is not None or num_planes is not None
        self._files = files_of(file_path, pattern=pattern, in_order=in_order, channel=channel, position=position)
        self._paths = self._files.paths
        for sentence, category in self._files.warnings:
            self._say(sentence, category)
        self._pages = _index(self._files, series)
        tags = self._pages.tags(0)
        described = tags.get(270)
        self._description = described if isinstance(described, bytes) else b""
        self._tags = tags
        self._facts = _vendor_facts(self._paths, self._pages, tags, self._description)
        if not in_order:
            dimension_order, num_planes = _planes_in_files(self._files, self._pages, self._name)
        is_declared = dimension_order is not None or num_channels is not None or num_planes is not None
        is_stated = self._is_stated = series is None and not is_declared
        usable = self._num_usable_pages()
        # Positions are streams, each with its own pages
        self._positions = self._facts.shape[0] if is_stated and self._facts.axes.startswith("P") else 1
        if usable % self._positions or len(self._paths) > 1:
            self._positions = 1
        begin = 1 if self._positions > 1 else 0
        stated = (self._facts.shape[begin:], self._facts.axes[begin:]) if is_stated else ((), "")
        self._arrangement = arrange(
            usable // self._positions,
            self._description,
            name=self._name,
            paths=self._paths,
            pages_per_file=self._pages.pages_per_file,
            samples_per_pixel=self._pages.samples_per_pixel,
            dimension_order=dimension_order,
            num_channels=num_channels,
            num_planes=num_planes,
            stated=stated,
        )
        self._numbers = self._sample_numbers()
        if self._arrangement.left_over:
            warn(self._arrangement.notes[-1])
        for sentence in self._find_doubts():
            self._say(sentence, RoiExtractorsWarning)
        # A damaged file, or one of several series, has fewer pages than described, and that has been said
        is_whole = series is None and not self._pages.damaged
        for sentence in self._arrangement.warnings if is_whole else ():
            self._say(sentence, IncompleteRecordingWarning if self._arrangement.is_incomplete else RoiExtractorsWarning)
        for words in self._facts.warnings if is_stated else ():
            self._say(f"{self._name}: {words}", RoiExtractorsWarning)
        self._channels = _channel_names(self._pages, self._arrangement, tags, self._facts)
        if self._files.channels and self._channels:
            raise UnsupportedRecordingError(
                f"{self._name}: both the names and the pages of its files contain channels; open the files of one channel as a list"
            )
        self._channel = 0
        if not self._files.channels:
            self._channel = choose_stream(self._name, "channel", self._channels, channel, first=1)
        self._position = 0
        if self._positions > 1:
            self._position = choose_stream(self._name, "position", list(map(str, range(self._positions))), position)
        self._num_planes = self._arrangement.size("Z")
        numbers = [str(k) for k in range(self._num_planes)]
        self._plane = None if plane is None else choose_stream(self._name, "plane", numbers, plane)
        self.is_volumetric = self._num_planes > 1 and plane is None
        self._times_note = ""
        if self._facts.sample_times or (UIC2 in tags and len(self._paths) == 1):
            self._vendor_times  # noqa: B018 - one read, after which the notes say whether the times are used

    def _find_doubts(self) -> Iterator[str]:
        """Yield sentences about descriptions that are not read, and pages whose values mean something else than those of the first."""
        folder = self._files.folder
        if folder or len(self._paths) == 1:
            # A folder of images often has a description of its own name: Prairie View's, for example
            unread = unread_descriptions(os.path.join(folder, os.path.basename(folder)) if folder else self._paths[0])
            if unread:
                yield unread
        count = self._pages.num_pages
        if len(self._paths) > 1 or count < 2:
            return
        first = self._tags.get(262)
        for page in sorted({count // 2, count - 1}):
            other = self._pages.tags(page).get(262)
            if {first, other} == {0, 1}:
                yield (
                    f"{self._name}: 0 is {'white' if other == 0 else 'black'} in page {page:,} and {'white' if first == 0 else 'black'} in the "
                    "first page (PhotometricInterpretation); the pixels of both are as stored"
                )
                return

    def get_image_shape(self) -> tuple[int, int]:
        return self._pages.page_shape

    def get_num_samples(self) -> int:
        return self._arrangement.size("T")

    def get_num_planes(self) -> int:
        return self._num_planes if self.is_volumetric else 1

    def get_dtype(self) -> np.dtype[Any]:
        return self._pages.dtype

    def get_sampling_frequency(self) -> float | None:
        """Return the sampling frequency in Hz from ImageJ's frame interval, or a vendor's times or interval; else None."""
        fields = imagej_fields(self._description)
        if not fields:
            return self._vendor_rate()
        interval = _positive(fields.get("finterval"))
        seconds = to_seconds(interval, fields.get("tunit") or "s") if interval else None
        # The interval is that of frames; pages in doubt may be channels or planes
        return 1.0 / seconds if seconds and not self._arrangement.is_doubtful else None

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the vendor's times; or times that keep the gaps of missing files, where the rate is known; else None."""
        start, end = self.resolve_range(start_sample, end_sample)
        if self._vendor_times is not None:
            return np.array(self._vendor_times[start:end])
        rate = self.get_sampling_frequency()
        return None if self._numbers is None or rate is None else self._numbers[start:end] / rate

    @property
    def keeps_missing_samples(self) -> bool:  # type: ignore[override]
        """Whether missing samples are in the recording: those of zeros at its end are, those of missing files are not."""
        return self._numbers is None and self._pages.num_zero_pages > 0

    def get_missing_samples(self) -> np.ndarray:
        if self._numbers is None:
            # Pages of zeros at the end may never have been written
            step, zeros = self._arrangement.strides["T"], self._pages.num_zero_pages
            if not zeros or step != self._arrangement.size("Z") * self._arrangement.size("C") or self._positions > 1:
                return super().get_missing_samples()
            return np.arange(max(0, len(self) - -(-zeros // step)), len(self), dtype=np.int64)
        return np.setdiff1d(np.arange(int(self._numbers[-1]) + 1), self._numbers)

    def get_paths(self) -> tuple[str, ...]:
        return (
            (os.path.abspath(self._files.folder),) if self._files.folder else tuple(map(os.path.abspath, self._paths))
        )

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        wanted = np.arange(samples.start, samples.stop) if isinstance(samples, slice) else samples
        return self._read(wanted, planes, rows, columns)

    def get_metadata(self) -> RecordingMetadata:
        fields, facts = imagej_fields(self._description), self._facts
        software = self._tags.get(305)
        text = printable(software.decode("utf-8", "replace")) if isinstance(software, bytes) else None
        spacing = _spacing(fields) or facts.plane_spacing
        # A calibration that MetaMorph switched off is not one of the tags of TIFF either: those give dots per inch
        return RecordingMetadata(
            start_time=plausible_start(facts.start_time or _start_time(self._tags.get(306))),
            pixel_size=facts.pixel_size or _pixel_size(self._tags, fields),
            plane_spacing=spacing if self._arrangement.size("Z") > 1 else None,
            channels=self._described_channels(),
            objective=facts.objective,
            zoom=facts.zoom,
            bit_depth=self._bit_depth(),
            modality=facts.modality,
            device=facts.device,
            software=facts.software or text,
            vendor=self._vendor(fields),
        )

    def get_notes(self) -> tuple[str, ...]:
        fields = imagej_fields(self._description)
        notes = (*self._pages.notes, *self._warnings, *self._arrangement.notes)
        if fields.get("c0"):
            notes += (
                f"{self._name}: ImageJ's calibration c0={fields['c0']}, c1={fields.get('c1', '1')} is not applied; the pixels are as stored",
            )
        if fields.get("fps"):
            notes += (
                f"{self._name}: fps={fields['fps']} is the speed of ImageJ's player, and is not used as the sampling frequency",
            )
        unit = fields.get("tunit")
        if unit and _positive(fields.get("finterval")) and to_seconds(1.0, unit) is None:
            notes += (
                f"{self._name}: the unit {printable(unit)[:40]!r} of the frame interval {fields['finterval']} is not understood; pass sampling_frequency=",
            )
        if self._is_stated:
            notes += tuple(f"{self._name}: {words}" for words in self._facts.notes)
        if self._times_note:
            notes += (f"{self._name}: {self._times_note}",)
        if self._tags.get(274) in range(2, 9):
            notes += (
                f"{self._name}: the tag Orientation is {self._tags[274]}, so other programs may rotate or flip the images; the pixels are as stored",
            )
        # Inverting would change the stored values, so the tag is only mentioned
        if self._tags.get(262) == 0:
            notes += (f"{self._name}: 0 is white (PhotometricInterpretation); the pixels are as stored",)
        return notes

    @classmethod
    def get_streams(cls, file_path: Paths, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels, planes and series that can be chosen."""
        try:
            with cls(file_path, **options) as recording:
                return recording._streams()
        except StreamChoiceError as error:
            if error.option in options:
                raise
            found = {error.option: tuple(str(choice) for choice in error.choices)}
        # Further options show only after this one is chosen; the first choice stands for all
        first = {option: names[0] for option, names in found.items()}
        return {**found, **cls.get_streams(file_path, **{**options, **first})}

    def close(self) -> None:
        self._pages.close()
        super().close()

    def __reduce__(self) -> Any:
        pickled, sizes = super().__reduce__(), self._files.sizes_in_folder
        return pickled if sizes is None else (_made_again, (sizes, *pickled[:2]))

    @functools.cached_property
    def _name(self) -> str:
        path = Path(self._paths[0])
        return printable(path.name if len(self._paths) == 1 else path.parent.name or path.name)

    def _num_usable_pages(self) -> int:
        """Return how many pages there are up to the end of the first damaged file.

        Pages are missing at its end, and nobody knows how many: those of the next file would get wrong times.
        """
        damaged = min(self._pages.damaged, default=len(self._paths))
        behind = len(self._paths) - damaged - 1
        if behind > 0:
            names = printable(Path(self._paths[damaged + 1]).name)
            names += f" and {counted(behind - 1, 'further file')} after it are" if behind > 1 else " after it is"
            self._say(
                f"{printable(Path(self._paths[damaged]).name)} is damaged, so {names} not read; open the files separately",
                IncompleteRecordingWarning,
            )
        return sum(self._pages.pages_per_file[: damaged + 1])

    @functools.cached_property
    def _vendor_times(self) -> np.ndarray | None:
        """The vendor's times in seconds since the first, one for each sample; None where they are unknown or no clock."""
        count, strides = len(self), self._arrangement.strides
        if self._facts.sample_times is not None:
            found = self._facts.sample_times()
            numbers = np.arange(count)
        elif self._facts.page_times is not None:
            found = self._facts.page_times()
            plane = 0 if self._plane is None else self._plane
            first = plane * strides["Z"] + (self._channel * strides["C"] if self._arrangement.size("C") > 1 else 0)
            numbers = first + np.arange(count) * strides["T"]
        else:
            return None
        if found is None or not count:
            return None
        # Time stamps of several positions are in no known order
        if numbers[-1] >= len(found) or (self._positions > 1 and len(found) != count):
            self._times_note = f"{len(found):,} times are stated for {counted(count, 'sample')}, and are not used"
            return None
        times = found[numbers] - found[numbers[0]]
        if not np.isfinite(times).all() or not (np.diff(times) > 0).all():
            self._times_note = "the stated times do not increase, and are not used"
            return None
        return times if count > 1 else None

    def _vendor_rate(self) -> float | None:
        interval = None if self._arrangement.is_doubtful else self._facts.interval
        stated, times = 1.0 / interval if interval else None, self._vendor_times
        if times is None or self._numbers is not None:
            return stated
        # The interval is the one that was set, which the microscope may not reach
        near = stated is not None and abs(float(np.median(np.diff(times))) * stated - 1) < _MAX_DEVIATION
        return regular_rate(times, resolution=self._facts.resolution) or (stated if near else None)

    def _described_channels(self) -> tuple[ChannelMetadata, ...]:
        """Return the chosen channel, with its name among the streams and what the vendor says of it."""
        known = self._facts.channels
        number = self._channel if len(known) == len(self._channels) else 0
        facts = known[number] if known and (len(known) == 1 or len(known) == len(self._channels)) else None
        names = [self._files.channel] if self._files.channel else self._channels[self._channel :][:1]
        if facts is None:
            return tuple(map(ChannelMetadata, names))
        return (replace(facts, name=names[0]) if names else facts,)

    def _bit_depth(self) -> int | None:
        bits = self._facts.bit_depth
        return bits if bits is not None and bits <= 8 * self.get_dtype().itemsize else _bit_depth(self._tags)

    def _vendor(self, fields: Mapping[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = dict(fields or self._facts.vendor)
        if self._description and not fields and not is_described(self._description):
            found["ImageDescription"] = self._description.decode("utf-8", "replace")
        return found

    def _sample_numbers(self) -> np.ndarray | None:
        """Return each sample's number among those acquired, where files are missing between them; else None."""
        numbers, count = self._files.numbers, self._arrangement.size("T")
        if not len(self._files.missing):
            return None
        if len(numbers) == count:  # a file a sample, or a file a plane
            return np.asarray(numbers, np.int64)
        pages = np.array(self._pages.pages_per_file, np.int64)
        depth = int(pages.sum()) // count if count else 0
        first = int(pages[0])
        # The last file of a recording may be shorter; other lengths do not say how many samples are missing
        is_known = depth > 0 and len(pages) == len(numbers) and int(pages.sum()) == depth * count
        if not is_known or (pages % depth).any() or (pages[:-1] != first).any() or pages[-1] > first:
            self._say(
                f"{self._name}: files are missing and the others have several lengths, so it is not known how many samples are missing; "
                "times computed from a rate are too early after the gap: open the files before and after it separately",
                IncompleteRecordingWarning,
            )
            return None
        lengths = (pages // depth).tolist()
        step = lengths[0]
        return np.concatenate(
            [number * step + np.arange(n) for number, n in zip(numbers.tolist(), lengths, strict=True)]
        )

    @functools.cached_property
    def _steps(self) -> tuple[int, int, int]:
        """Pages from one sample to the next, before the first sample, and from one plane to the next."""
        strides = self._arrangement.strides
        first = self._position * (self._pages.num_pages // self._positions)
        if self._arrangement.size("C") > 1:
            first += self._channel * strides["C"]
        if self._plane is not None:
            first += self._plane * strides["Z"]
        return strides["T"], first, strides["Z"]

    def _say(self, sentence: str, category: type[RoiExtractorsWarning]) -> None:
        """Give a warning, and keep it as a note."""
        self._warnings += (sentence,)
        warn(sentence, category)

    def _streams(self) -> dict[str, tuple[str, ...]]:
        channels, positions = self._files.channels or self._channels, self._files.positions
        found = {"channel": tuple(channels)} if len(channels) > 1 else {}
        if len(positions) > 1:
            found["position"] = tuple(positions)
        elif self._positions > 1:
            found["position"] = tuple(map(str, range(self._positions)))
        if self._arrangement.size("Z") > 1:
            found["plane"] = tuple(str(k) for k in range(self._arrangement.size("Z")))
        return found

    def _read(
        self, samples: np.ndarray, planes: slice | None, rows: slice = slice(None), columns: slice = slice(None)
    ) -> np.ndarray:
        step, first, step_of_planes = self._steps
        pages, depth = samples * step + first, None
        if self.is_volumetric:
            chosen = np.arange(*(planes or slice(None)).indices(self._num_planes), dtype=np.int64)
            pages, depth = (pages[:, None] + chosen * step_of_planes).ravel(), len(chosen)
        found = self._pages.read(pages, rows, columns)
        if self._pages.samples_per_pixel > 1:
            # A copy, so that the values of the other channels are not kept in memory
            found = np.ascontiguousarray(found[..., self._channel if self._arrangement.size("C") <= 1 else 0])
        if depth is None:
            return found
        return np.moveaxis(found.reshape(len(samples), depth, *found.shape[1:]), 1, 3)


def _made_again(
    sizes: SizesInFolder, make: Callable[..., TiffImagingExtractor], arguments: tuple[Any, ...]
) -> TiffImagingExtractor:
    with recalled(sizes):
        return make(*arguments)


def _index(files: Files, series: str | int | None) -> PageIndex:
    """Return the pages of the files, or of one series in each of them."""
    paths = files.paths
    if series is None and len(paths) == 1:
        try:
            index = PageIndex.of(paths)
        except CorruptRecordingError as error:
            try:
                found = series_of(paths[0])
            except CorruptRecordingError:
                raise error from None  # which says more: the same file was refused for another reason
            if len(found) < 2:
                raise
            if any(one.shape for one in found):
                raise _several(paths[0], found) from None
            raise type(error)(
                f"{error}; to read pages of one kind, choose from {len(found):,} series: open(..., series='0')"
            ) from error
        shape = described_shape(index.tags(0).get(270))
        # A described shape that differs from the pages may mean several series of one page size
        if not shape or index.num_pages == 1:
            return index
        found = series_of(paths[0]) if _num_pages(shape, index) != index.num_pages else ()
        if len(found) < 2 or all(one.stop - one.start == 1 for one in found):
            return index
        index.close()
        raise _several(paths[0], found)
    if series is None:
        return index_of(paths, files.sizes)
    found = series_of(paths[0])
    names = [str(k) for k in range(len(found))]
    number = choose_stream(printable(Path(paths[0]).name), "series", names, series)
    chosen = found[number]
    if chosen.is_scattered:
        return PageIndex.of(paths, kind=chosen.page)
    return PageIndex.of(paths, span=(chosen.start, chosen.stop))


def _vendor_facts(paths: tuple[str, ...], pages: PageIndex, tags: Mapping[int, Any], description: bytes) -> VendorFacts:
    """Return what a vendor that is known wrote into the first file."""
    if is_described(description):
        return page_facts(pages, description)
    if LSM in tags:
        return lsm_facts(Directory.of(paths[0])) or VendorFacts()
    if UIC1 in tags or UIC2 in tags:
        return stack_facts(Directory.of(paths[0]), paths, description) or VendorFacts()
    return VendorFacts()


def _planes_in_files(files: Files, pages: PageIndex, name: str) -> tuple[str | None, int | None]:
    """Return the order of the pages and the number of planes, as far as the names of the files say.

    Raises
    ------
    UnsupportedRecordingError
        Both the files and the pages are planes or times.
    """
    depth = set(pages.pages_per_file)
    if files.depth > 1:
        if depth != {1}:
            raise UnsupportedRecordingError(
                f"{name}: the files are named as planes, but they have {listed(map(str, sorted(depth)))} pages; "
                "pass pattern= or dimension_order="
            )
        return "TZ", files.depth
    if set(files.axes) & set("ZCP") and "T" in files.axes and len(depth) == 1 and depth != {1}:
        return "TZ", depth.pop()  # a stack for each time point
    return None, None


def _num_pages(shape: tuple[int, ...], index: PageIndex) -> int:
    pixels = 1
    for length in shape:
        pixels *= length
    return pixels // (index.page_shape[0] * index.page_shape[1] * index.samples_per_pixel)


def _several(path: str, found: Sequence[Series]) -> StreamChoiceError:
    return StreamChoiceError.for_option(Path(path).name, "series", [str(k) for k in range(len(found))])


def _channel_names(
    pages: PageIndex, arrangement: Arrangement, tags: Mapping[int, Any], facts: VendorFacts
) -> list[str]:
    named = [channel.name for channel in facts.channels]
    if len(named) > 1 and len(named) == (
        arrangement.size("C") if arrangement.size("C") > 1 else pages.samples_per_pixel
    ):
        return named
    if arrangement.size("C") > 1:
        return [str(k + 1) for k in range(arrangement.size("C"))]
    if pages.samples_per_pixel > 1:
        # PhotometricInterpretation 2 is RGB; other samples have no names in TIFF
        if tags.get(262) == 2 and pages.samples_per_pixel in (3, 4):
            return ["red", "green", "blue", "alpha"][: pages.samples_per_pixel]
        return [str(k + 1) for k in range(pages.samples_per_pixel)]
    return []


def _positive(text: str | None) -> float | None:
    try:
        value = float(text) if text else 0.0
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _start_time(value: Any) -> datetime | None:
    text = value.decode("ascii", "replace").strip() if isinstance(value, bytes) else ""
    # TIFF 6.0 prescribes colons in the date; some programs write dashes
    for form in ("%Y:%m:%d %H:%M:%S", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def _pixel_size(tags: Mapping[int, Any], fields: Mapping[str, str]) -> tuple[float, float] | None:
    # Resolutions in inches are what programs write that know no size, so that only centimetres are taken from other files
    unit = to_micrometres(1.0, fields.get("unit")) if fields else {3: 1e4}.get(tags.get(296, 2))
    sizes = []
    for code in (283, 282):
        value = tags.get(code)
        if unit is None or not isinstance(value, tuple) or len(value) != 2 or not value[0] or not value[1]:
            return None
        size = unit * value[1] / value[0]
        # What programs write that know no size: 72 or 96 dots an inch, under any unit, or 1
        if (value[0] / value[1] in (1.0, 72.0, 96.0) and not fields) or any(
            abs(size * n / 25400 - 1) < 1e-3 for n in (72, 96)
        ):
            return None
        sizes.append(size)
    return sizes[0], sizes[1]


def _bit_depth(tags: Mapping[int, Any]) -> int | None:
    """Return how many bits of a pixel the camera filled, where the file says so."""
    bits, highest = tags.get(258), tags.get(281)
    bits = bits[0] if isinstance(bits, tuple) and bits else bits
    if bits in (10, 12, 14):
        return int(bits)
    # MaxSampleValue is a depth only if it is 2**n - 1; other values are the brightest pixel
    if not isinstance(highest, int) or highest < 2 or highest & (highest + 1):
        return None
    return highest.bit_length()


def _spacing(fields: Mapping[str, str]) -> float | None:
    spacing = _positive(fields.get("spacing"))
    return to_micrometres(spacing, fields.get("unit")) if spacing else None

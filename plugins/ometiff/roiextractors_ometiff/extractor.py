"""Reads OME-TIFF as a recording."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from roiextractors_tiff.pages import Directory, PageIndex

from roiextractors_core import BlockImagingExtractor, ChannelMetadata, RecordingMetadata
from roiextractors_core.errors import (
    CorruptRecordingError,
    RecordingError,
    RoiExtractorsWarning,
    SourceError,
    StreamChoiceError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io import SIDECAR_KEY, Sidecar, choose_stream, describe_disorder, missing_samples, warn
from roiextractors_core.io.ome_xml import OmeImage

from .document import Document
from .file_set import FileSet, Paths, recording_at
from .planes import Placement, place

__all__ = ["OmeTiffImagingExtractor"]

_TYPES: Mapping[str, str] = {
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32)},
    **{"float": "float32", "double": "float64", "complex": "complex64", "double-complex": "complex128"},
}
_SAMPLES_TAG, _PHOTOMETRIC_TAG, _RGB = 277, 262, 2
_COLOURS = ("red", "green", "blue", "alpha")


class OmeTiffImagingExtractor(BlockImagingExtractor):
    """One channel of one image of an OME-TIFF recording: T are the samples, Z the planes.

    Parameters
    ----------
    file_path : str, os.PathLike, or a sequence of them
        Any file of the recording, its ``.companion.ome``, its folder, or the list of its files.
    sampling_frequency : float, optional
        Sampling frequency in Hz; overrides ``TimeIncrement``.
    series : str or int, optional
        One of several images: by name where the names differ, by OME's ID, or by number from 0.
    channel : str or int, optional
        One of several channels: by name where the names differ, by OME's ID, or by number from 1.
    plane : str or int, optional
        One plane of the volumes, from 0; the recording is then planar.
    allow_missing : bool
        If files are missing, or belong to another recording, also read the samples after them, with their own times.

    Raises
    ------
    StreamChoiceError
        There are several images or channels and none was chosen, or the chosen one does not exist.
    CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError, SourceNotFoundError
        The message names the file, and the page or the place in the XML.

    References
    ----------
    OME-TIFF specification 6.0; OME Model, schemas 2003-FC to 2016-06.
    """

    def __init__(
        self,
        file_path: Paths,
        *,
        sampling_frequency: float | None = None,
        series: str | int | None = None,
        channel: str | int | None = None,
        plane: str | int | None = None,
        allow_missing: bool = False,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._allow_missing = bool(allow_missing)
        recording = recording_at(file_path)
        self._name = printable(os.path.basename(recording.given[0]))
        self._recording = recording
        self._document = recording.document
        self._series = _series_names(self._document)
        number = choose_stream(self._name, "series", self._series, series, identifiers=_ids(self._document.images))
        self._image = _usable(self._document, number)
        files = recording.files_of(self._image)
        if files.foreign and not self._allow_missing:
            raise _foreign(self._document.name, files.foreign)
        samples = _samples_per_pixel(self._document, self._image, files)
        self._channels, self._channel, self._samples, self._placement = self._placed(files, channel, samples)
        self._planes = self._placement.planes
        self._notes = (*recording.notes, *files.notes, *self._own_notes())
        self._num_planes = self._image.size("Z")
        self._plane = _chosen_plane(self._name, self._num_planes, plane)
        self.is_volumetric = self._num_planes > 1 and self._plane is None
        self._native_times, why = _times(self._image, self._placement, self._channel // self._samples, self._plane)
        self._companion = self._own_companion()
        disorder = "" if self._native_times is None or self._companion else describe_disorder(self._native_times)
        for words in filter(None, (disorder, self._unused_companion())):
            warn(f"{self._name}: {words}", RoiExtractorsWarning)
            self._notes += (f"{self._name}: {words}",)
        self._notes += tuple(f"{self._name}: {words}" for words in (why, *self._rate_notes()) if words)

    def get_image_shape(self) -> tuple[int, int]:
        return self._planes.first.page_shape

    def get_num_samples(self) -> int:
        return self._placement.num_samples

    def get_num_planes(self) -> int:
        return self._num_planes if self.is_volumetric else 1

    def get_dtype(self) -> np.dtype[Any]:
        return self._planes.first.dtype

    def get_sampling_frequency(self) -> float | None:
        """Return the sampling frequency in Hz from ``TimeIncrement``, else None."""
        return self._image.rate if self._companion is None else self._companion.rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return ``DeltaT`` in seconds (of the earliest plane of a volume), or None if a sample has none."""
        start, end = self.resolve_range(start_sample, end_sample)
        if self._native_times is not None:
            return np.array(self._native_times[start:end])
        numbers, rate = self._placement.numbers, self.get_sampling_frequency()
        if rate is None or numbers[-1] == len(numbers) - 1:
            return None
        return np.asarray(numbers[start:end] / rate)

    def get_missing_samples(self) -> np.ndarray:
        return missing_samples(self._placement.described, self._placement.numbers)

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        wanted = np.arange(samples.start, samples.stop) if isinstance(samples, slice) else samples
        return self._read(wanted, rows, columns, planes)

    def get_metadata(self) -> RecordingMetadata:
        if self._companion is not None:
            return self._companion.metadata
        image, number = self._image, self._channel // self._samples
        stated = self._document.metadata_of(image, number, max_bits=8 * self.get_dtype().itemsize)
        positions = _plane_positions(image, number)
        return stated.replaced(
            plane_spacing=stated.plane_spacing if self.is_volumetric else None,
            plane_positions=positions if self._plane is None else positions[self._plane : self._plane + 1],
            channels=self._channel_metadata(stated.channels),
            software=stated.software or _software(self._planes.first),
            vendor=_vendor(self._document, image),
        )

    def get_paths(self) -> tuple[str, ...]:
        """Return every file that the OME-XML names, and those with the XML."""
        return tuple(dict.fromkeys([*super().get_paths(), *sorted(self._recording.all_paths())]))

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    @classmethod
    def get_streams(cls, file_path: Paths, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the images, channels and planes that can be chosen; without ``series``, the last two are those of the first image."""
        try:
            with cls(file_path, **options) as recording:
                return recording._streams()
        except StreamChoiceError as error:
            if error.option in options:
                raise
            found = {error.option: tuple(str(choice) for choice in error.choices)}
        first = {option: names[0] for option, names in found.items()}
        try:
            return {**found, **cls.get_streams(file_path, **{**options, **first})}
        except (RecordingError, SourceError):  # the first image cannot be read; the others may be
            return found

    def close(self) -> None:
        self._planes.close()
        super().close()

    def _own_companion(self) -> Sidecar | None:
        """Return the metadata that ``convert`` kept, if this is the whole recording that it wrote."""
        text = self._document.companion
        found = (
            Sidecar.from_json(f'{{"{SIDECAR_KEY}": {text}}}', where=f"the annotations of {self._name}")
            if text
            else None
        )
        return found if found is not None and found.shape == self.shape else None  # differs if a plane was chosen

    def _unused_companion(self) -> str:
        """Return a sentence about times and metadata that ``convert`` kept and that are of another recording."""
        if not self._document.companion or self._companion is not None or self._plane is not None:
            return ""
        return f"the times and metadata in its annotations describe a recording of another shape than {self.shape} and are not used"

    def _streams(self) -> dict[str, tuple[str, ...]]:
        found = {"series": tuple(self._series), "channel": tuple(self._channels)}
        found = {option: names for option, names in found.items() if len(names) > 1}
        if self._num_planes > 1:
            found["plane"] = tuple(str(k) for k in range(self._num_planes))
        return found

    def _placed(self, files: FileSet, channel: str | int | None, samples: int) -> tuple[list[str], int, int, Placement]:
        """Choose the channel and find its planes; if the pages have another number of samples per pixel, theirs is used."""
        _require_channels(self._image, samples, self._document.name)
        names = _channel_names(self._image, samples, files)
        ids = _ids(self._image.channels) if samples == 1 else []
        number = choose_stream(self._name, "channel", names, channel, identifiers=ids, first=1)
        try:
            placement = place(
                self._image,
                files,
                channel=number // samples,
                samples_per_pixel=samples,
                name=self._document.name,
                allow_missing=self._allow_missing,
                is_only=len(self._document.images) == 1,
            )
        except CorruptRecordingError as error:
            if "format=" in str(error):  # the message gives advice already
                raise
            raise type(error)(f"{error}; to read the pages as they are: open(..., format='tiff')") from error
        index = placement.planes.first
        # With several images, the number is from the XML until the pages of this one are opened
        if index.samples_per_pixel != samples:
            placement.planes.close()
            return self._placed(files, channel, index.samples_per_pixel)
        _require_page_shape(self._image, index, self._document.name)
        return names, number, samples, placement

    def _own_notes(self) -> tuple[str, ...]:
        placement, name = self._placement, self._document.name
        notes = list(placement.planes.notes)
        if placement.lack:
            words = (
                f"{name}: its OME-XML describes {counted(placement.described, 'sample')}; {placement.lack}; "
                f"the {placement.num_samples:,} complete {'samples' if placement.num_samples != 1 else 'sample'} "
                f"{'from the start ' if placement.numbers[-1] == placement.num_samples - 1 else ''}are read"
            )
            if placement.later:
                words += (
                    f"; to read the {placement.later:,} complete ones after them as well: open(..., allow_missing=True)"
                )
            warn(words)
            notes.append(words)
        for words in placement.doubts:
            warn(words, RoiExtractorsWarning)
            notes.append(words)
        if placement.aside:
            notes.append(placement.aside)
        if self._image.size("T") == 1 and self._image.size("Z") > 1 and placement.passes == 1:
            notes.append(
                f"{name}: its OME-XML says SizeT=1 and SizeZ={self._image.size('Z'):,}, one volume; if the "
                "planes are time points: open(..., format='tiff')"
            )
        if placement.passes > 1:
            notes.append(
                f"{name}: its OME-XML says SizeT=1 and lists every plane {counted(placement.passes, 'time')}; "
                "these are read as time points"
            )
        seen, said = str(self._planes.first.dtype), _TYPES.get(self._image.type)
        if said != seen:
            notes.append(
                f"{name}: its OME-XML says Type={printable(self._image.type)!r}, but the pages contain {seen} and are read as such"
            )
        return (
            *notes,
            *(
                f"{name}: its {axis} axis contains a further axis (ModuloAlong{axis}), which is not separated"
                for axis in self._document.modulo
            ),
        )

    def _rate_notes(self) -> tuple[str, ...]:
        rate = self._image.rate
        if self._native_times is None or len(self._native_times) < 2 or rate is None:
            return ()
        period = float(np.median(np.diff(self._native_times)))
        if abs(period * rate - 1) < 0.1:
            return ()
        return (
            f"TimeIncrement gives {rate:.6g} Hz, but by DeltaT samples are {period:.6g} s apart; the times of DeltaT are used",
        )

    def _channel_metadata(self, stated: tuple[ChannelMetadata, ...]) -> tuple[ChannelMetadata, ...]:
        """Return the channel with its name among the streams."""
        name = self._channels[self._channel]
        if not stated:
            return (ChannelMetadata(name),) if len(self._channels) > 1 else ()
        return (replace(stated[0], name=name),)

    def _read(
        self,
        samples: np.ndarray,
        rows: slice = slice(None),
        columns: slice = slice(None),
        planes: slice | None = None,
    ) -> np.ndarray:
        wanted, depth = samples * self._num_planes, None
        if self._plane is not None:
            wanted = wanted + self._plane
        elif self.is_volumetric:
            chosen = np.arange(*(planes or slice(None)).indices(self._num_planes), dtype=np.int64)
            wanted, depth = (wanted[:, None] + chosen).ravel(), len(chosen)
        found = self._planes.read(wanted, rows, columns)
        if self._samples > 1:
            # A view would keep all channels in memory
            found = np.ascontiguousarray(found[..., self._channel % self._samples])
        if depth is None:
            return found
        return np.moveaxis(found.reshape(len(samples), depth, *found.shape[1:]), 1, 3)  # planes are the last axis


def _foreign(name: str, foreign: Mapping[str, str]) -> CorruptRecordingError:
    first, uuid = next(iter(foreign.items()))
    more = f" and {len(foreign) - 1:,} more files" if len(foreign) > 1 else ""
    return CorruptRecordingError(
        f"{first}{more} beside {name} {'belong' if more else 'belongs'} to another recording: the UUID inside is {printable(uuid)[:60]}, not the one that {name} states. "
        "Put the right file there, or read the rest: open(..., allow_missing=True)"
    )


def _chosen_plane(name: str, num_planes: int, given: str | int | None) -> int | None:
    if given is None:
        return None
    return choose_stream(name, "plane", [str(k) for k in range(num_planes)], given)


def _ids(elements: Sequence[Any]) -> list[str]:
    """Return OME's IDs of images or channels; an empty list unless all have one and all differ."""
    found = [str((one.attributes if isinstance(one, OmeImage) else one).get("ID", "")) for one in elements]
    return found if all(found) and len(set(found)) == len(found) else []


def _series_names(document: Document) -> list[str]:
    if not document.images:
        raise CorruptRecordingError(f"{document.name}: its OME-XML does not describe an image")
    names = [printable(image.attributes.get("Name", "").strip()) for image in document.images]
    unique = all(names) and len(set(names)) == len(names)
    return names if unique else [str(k) for k in range(len(names))]


def _channel_names(image: OmeImage, samples: int, files: FileSet) -> list[str]:
    """Return the channels' names; numbers or IDs if names are missing or repeat, and colours inside a page."""
    count = max(1, image.size("C") // samples)
    given = [channel.get("Name", "").strip() for channel in image.channels[:count]]
    given += [""] * (count - len(given))
    names = [printable(name) or str(k + 1) for k, name in enumerate(given)]
    if len(set(names)) < count:
        ids = _ids(image.channels)
        names = [printable(text) for text in ids] if len(ids) == count else [str(k + 1) for k in range(count)]
    if samples == 1:
        return names
    parts = [str(k + 1) for k in range(samples)]
    # Without RGB as its photometric interpretation, a page with three samples has channels, not colours
    if samples <= len(_COLOURS) and _first_number(files, _PHOTOMETRIC_TAG) == _RGB:
        parts = list(_COLOURS[:samples])
    return parts if count == 1 else [f"{name} {part}" for name in names for part in parts]


def _usable(document: Document, number: int) -> OmeImage:
    image = document.images[number]
    if image.type == "bit":
        raise UnsupportedRecordingError(
            f"{document.name}: image {number} has pixels of the type bit, of which eight share a byte; this is not supported"
        )
    if image.has_binary and not len(image.blocks):
        raise UnsupportedRecordingError(
            f"{document.name}: image {number} has its pixels in the XML itself (BinData) instead of in TIFF pages; this is not supported"
        )
    return image


def _samples_per_pixel(document: Document, image: OmeImage, files: FileSet) -> int:
    """Return the number of channels in one page: from the first page if there is a single image, else from the XML."""
    if len(document.images) == 1:
        return _first_number(files, _SAMPLES_TAG)
    said = {channel.get("SamplesPerPixel", "1").strip() for channel in image.channels}
    text = said.pop() if len(said) == 1 else "1"
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 5 and int(text) else 1


def _first_number(files: FileSet, code: int) -> int:
    path = next((path for path in files.paths if path is not None), None)
    return 1 if path is None else max(1, Directory.of(path).number(code, 1))


def _require_channels(image: OmeImage, samples: int, name: str) -> None:
    if image.size("C") % samples:
        raise CorruptRecordingError(
            f"{name}: its OME-XML says SizeC={image.size('C')}, but a page has {samples} samples per pixel"
        )


def _require_page_shape(image: OmeImage, index: PageIndex, name: str) -> None:
    rows, columns = index.page_shape
    said = image.size("Y"), image.size("X")
    if (rows, columns) != said:
        raise CorruptRecordingError(
            f"{name}: its OME-XML says {said[0]:,} rows of {said[1]:,} columns, but the pages of "
            f"{printable(os.path.basename(index.paths[0]))} "
            f"have {counted(rows, 'row')} of {columns:,} columns"
        )


def _times(image: OmeImage, placement: Placement, channel: int, plane: int | None) -> tuple[np.ndarray | None, str]:
    """Return the seconds of each sample, or None and why."""
    count = placement.num_samples
    times = image.delta_times(channel, int(placement.numbers[-1]) + 1, plane=plane, passes=placement.passes > 1)
    if not np.isfinite(times).any():
        return None, ""
    times = times[placement.numbers]
    known = int(np.isfinite(times).sum())
    if known < count:
        return None, f"DeltaT is given for only {known:,} of {count:,} samples and is ignored"
    if count > 1 and (times == times[0]).all():  # a placeholder, usually 0
        return None, f"DeltaT is {times[0]:g} s for every sample, and is ignored"
    return times, ""


def _plane_positions(image: OmeImage, channel: int) -> tuple[float, ...]:
    """Return the planes' positions in micrometres in the first sample; empty if one is unknown."""
    found: dict[int, float] = {}
    first = image.planes[
        (image.planes[:, 0] == image.planes[:, 0].min(initial=np.inf)) & (image.planes[:, 1] == channel)
    ]
    for z, position in zip(first[:, 2].tolist(), first[:, 4].tolist(), strict=True):
        found.setdefault(int(z), position)
    # Not SizeZ alone, which may be any number in a damaged file
    positions = [found.get(k, np.nan) for k in range(min(image.size("Z"), len(found) + 1))]
    return tuple(positions) if len(positions) == image.size("Z") and np.isfinite(positions).all() else ()


def _software(index: PageIndex) -> str | None:
    value = Directory.of(index.paths[0]).value(305)  # the tag Software
    return printable(value.decode("utf-8", "replace").strip()) or None if isinstance(value, bytes) else None


def _vendor(document: Document, image: OmeImage) -> dict[str, Any]:
    found: dict[str, Any] = {
        "OME": dict(document.attributes),
        "Image": dict(image.attributes),
        "Pixels": dict(image.pixels),
        "Channels": [dict(channel) for channel in image.channels],
        "Instrument": {part: [dict(one) for one in ones] for part, ones in document.instrument_of(image).items()},
        **{
            ("InstrumentRef" if key == "Instrument" else key): value
            for key, value in image.texts.items()
            if key not in ("Settings", "Objective")
        },
    }
    return {key: value for key, value in found.items() if value}

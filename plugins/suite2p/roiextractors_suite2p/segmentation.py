"""Reads the ROIs, traces and images that suite2p computes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roiextractors_core import ChannelMetadata, RecordingMetadata, RoiMasks, RoiProperty, SegmentationExtractor
from roiextractors_core.errors import (
    CorruptRecordingError,
    RecordingError,
    RoiExtractorsWarning,
    SourceError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    counted,
    listed,
    printable,
)
from roiextractors_core.io import (
    NpyHeader,
    PickledArray,
    PositionedFile,
    StoredArray,
    StoredFrames,
    is_file,
    read_npy_header,
    single_file,
    warn,
)

from .folder import CHANNELS, Plane, describe_plane, read_fields, segmented_folders
from .rois import DESCRIPTIONS, Rois, count_rois, read_rois

__all__ = ["Suite2pSegmentationExtractor"]

_FUNCTIONAL = "functional"
_SHORT_BYTES = 1 << 16  # shorter parts of the traces are read one by one where more than this is between them
# suite2p deconvolves the functional channel alone
_TRACES: Mapping[str, Mapping[str, str]] = {
    "chan1": {"raw": "F.npy", "neuropil": "Fneu.npy", "deconvolved": "spks.npy"},
    "chan2": {"raw": "F_chan2.npy", "neuropil": "Fneu_chan2.npy"},
}
_IMAGES: Mapping[str, Mapping[str, str]] = {
    "chan1": {"mean": "meanImg", "mean_chan2": "meanImg_chan2"},
    "chan2": {"mean": "meanImg_chan2", "mean_chan1": "meanImg"},
}
# Of the functional channel, whichever channel is read
_COMMON_IMAGES: Mapping[str, str] = {
    "mean_enhanced": "meanImgE",
    "correlation": "Vcorr",
    "maximum_projection": "max_proj",
}
_CROPPED = frozenset({"Vcorr", "max_proj"})  # of the part of the frames between yrange and xrange
_OUTPUTS = ("reg_outputs.npy", "detect_outputs.npy")  # of suite2p 1.0, which took them out of ops.npy
_COMBINED = "combined"
_CONTENTS: Mapping[str, str] = {
    "iscell.npy": "the classification of ROIs",
    "settings.npy": "the rate",
    "reg_outputs.npy": "the mean images",
    "detect_outputs.npy": "the correlation image and the maximum projection",
}
_MAX_PIXELS = 1 << 28  # of an image; a mosaic of many planes has some ten million
_CLASSES: Mapping[str, tuple[str, str]] = {
    "iscell": ("whether suite2p or a person classified the ROI as a cell", "probability that the ROI is a cell"),
    "redcell": (
        "whether the ROI was classified as a cell in the second channel",
        "probability that the ROI is a cell in the second channel",
    ),
}


class Suite2pSegmentationExtractor(SegmentationExtractor):
    """The ROIs of one plane of a suite2p folder, with their traces.

    Masks are those of ``stat.npy`` with their weights ``lam``, and include pixels that belong to several ROIs.  suite2p leaves
    these out when it extracts the traces, unless its option ``allow_overlap`` is set, and divides the weights by their sum;
    ``include_overlap=False`` gives these masks.

    In ``combined`` the masks are in a mosaic of all planes, and the property ``iplane`` is the plane of each ROI.  The traces of
    planes with fewer frames were filled with zeros at their end by suite2p.

    Parameters
    ----------
    file_path : str or os.PathLike
        The ``suite2p`` folder that contains ``plane0``, ``plane1``, ..., the folder above it, the folder of one plane, or a file
        in it.
    plane : str or int, optional
        One of several planes: ``"plane0"`` or 0, or ``"combined"``.
    channel : str, optional
        The traces of ``"chan1"`` (``F.npy``; also called ``"functional"``) or of ``"chan2"`` (``F_chan2.npy``).  Both have the
        same masks, which suite2p detects in the functional channel.
    include_overlap : bool
        Whether the masks include pixels of several ROIs.
    sampling_frequency : float, optional
        Samples a second (Hz); by default suite2p's ``fs``, the rate of each plane.

    Raises
    ------
    StreamChoiceError
        There are several planes or channels and none was chosen, or the chosen one does not exist.
    SourceKindError, SourceNotFoundError
        There are no ROIs, or the description of their frames is missing.
    UnsupportedRecordingError, CorruptRecordingError, TruncatedRecordingError
        The files contradict each other, are not arrays of numbers, or are truncated.

    Warns
    -----
    IncompleteRecordingWarning
        Traces, an image or a classification are missing or not usable.
    RoiExtractorsWarning
        The description gives another number of frames than the traces have.

    References
    ----------
    suite2p's documentation of its outputs, and ``pipeline``, ``combined`` and ``create_cell_mask`` of its source.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        plane: str | int | None = None,
        channel: str | None = None,
        include_overlap: bool = True,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._selection = selection = _select(_absolute(file_path), plane, channel)
        self._include_overlap = bool(include_overlap)
        self._known_rois: Rois | None = None
        self._known_classes: Mapping[str, RoiProperty] | None = None
        self._plane = describe_plane(selection.folder)
        self._num_rois = _count(selection.folder)
        self._ids = [str(k) for k in range(self._num_rois)]
        contents = _Contents(self._plane, selection.channel, self._num_rois)
        self._traces = contents.traces()
        self._images = contents.images()
        self._classes = contents.classes()
        contents.note_missing()
        self._num_samples = next((trace.num_samples for trace in self._traces.values()), 0)
        contradiction = _other_length(self._plane, self._num_samples)
        self._notes = (*contents.problems, *contradiction, *_zeros(self._plane, self._traces))
        for problem in contents.problems:
            warn(problem)
        for words in contradiction:
            warn(words, RoiExtractorsWarning)

    def get_frame_shape(self) -> tuple[int, int]:
        return self._plane.rows, self._plane.columns

    def get_roi_ids(self) -> list[str]:
        return list(self._ids)

    def get_num_rois(self) -> int:
        return self._num_rois

    def get_num_samples(self) -> int:
        return self._num_samples

    def get_sampling_frequency(self) -> float | None:
        """Return suite2p's ``fs`` (Hz): frames of each plane a second."""
        return self._plane.rate

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        self.check_open()
        return self._rois().masks[roi_indices]

    def get_trace_names(self) -> tuple[str, ...]:
        return tuple(self._traces)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        self.check_open()
        return self._traces[name].read(start_sample, end_sample, roi_indices)

    def get_image_names(self) -> tuple[str, ...]:
        return tuple(self._images)

    def get_image(self, name: str = "correlation") -> np.ndarray:
        self.check_open()
        return self._images[name].read(self.get_frame_shape()) if name in self._images else super().get_image(name)

    def get_own_properties(self) -> Mapping[str, RoiProperty]:
        """Return the classifications, and the numbers in ``stat.npy`` under suite2p's names."""
        self.check_open()
        numbers = {key: RoiProperty(v, DESCRIPTIONS.get(key, "")) for key, v in self._rois().numbers.items()}
        return {**self._classifications(), **numbers}

    def get_metadata(self) -> RecordingMetadata:
        version = self._plane.fields.get("suite2p_version")
        return RecordingMetadata(
            channels=(ChannelMetadata(self._selection.channel),),
            software=f"suite2p {printable(version)[:40]}" if isinstance(version, str) else "suite2p",
            vendor=self._plane.vendor(),
        )

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    def get_paths(self) -> tuple[str, ...]:
        """Return the files of the plane that are read."""
        folder = self._selection.folder
        names = ("stat.npy", *_OUTPUTS, *(f"{name}.npy" for name in _CLASSES))
        files = [self._plane.description, *(str(folder / name) for name in names if is_file(folder / name))]
        return tuple(dict.fromkeys([*super().get_paths(), *files, *(str(t.file.path) for t in self._traces.values())]))

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the planes and channels that can be chosen; with ``plane=``, the channels of that plane."""
        path = _absolute(file_path)
        folders = segmented_folders(path)
        plane = options.get("plane")
        chosen = folders if plane is None else (_select_folder(folders, plane, printable(os.path.basename(path))),)
        channels = tuple(c for c in CHANNELS if any(c in _channels(folder) for folder in chosen))
        choices = {"plane": tuple(folder.name for folder in folders), "channel": channels}
        return {option: names for option, names in choices.items() if len(names) > 1}

    def close(self) -> None:
        for trace in self._traces.values():
            trace.file.close()
        folder = self._selection.folder
        for path in (Path(self._plane.description), *(folder / name for name in _OUTPUTS)):
            PositionedFile(path).close()  # images are read from there
        super().close()

    def _rois(self) -> Rois:
        # Read at the first use: a list of thousands of ROIs takes longer than opening. Two threads may both read it; a lock
        # would be held forever in a process that is forked meanwhile
        if self._known_rois is None:
            path, shape = self._selection.folder / "stat.npy", self.get_frame_shape()
            self._known_rois = read_rois(path, count=self._num_rois, shape=shape, include_overlap=self._include_overlap)
        return self._known_rois

    def _classifications(self) -> Mapping[str, RoiProperty]:
        if self._known_classes is None:
            self._known_classes = dict(_properties_of(self._classes))
        return self._known_classes


@dataclass(frozen=True, slots=True)
class _Selection:
    """The folder and the channel that are read."""

    folder: Path
    channel: str


def _absolute(file_path: Any) -> str:
    hint = "pass the suite2p folder, the folder of one plane, or a file in it"
    return os.path.abspath(single_file(file_path, hint=hint, may_be_folder=True))


def _select(path: str, plane: str | int | None, channel: str | None) -> _Selection:
    name = printable(os.path.basename(path) or path)
    folders = segmented_folders(path)
    folder = _select_folder(folders, plane, name)
    available = _channels(folder)
    asked = channel or ("chan2" if "_chan2." in os.path.basename(path).lower() else None)
    asked = CHANNELS[0] if asked == _FUNCTIONAL else asked
    if asked is None and len(available) > 1:
        raise StreamChoiceError.for_option(name, "channel", available)
    if asked is not None and asked not in available:
        raise StreamChoiceError.for_option(printable(folder.name), "channel", available, seen=channel or asked)
    return _Selection(folder, asked or available[0])


def _select_folder(folders: Sequence[Path], plane: str | int | None, name: str) -> Path:
    names = [folder.name for folder in folders]
    if plane is None and len(folders) == 1:
        return folders[0]
    text = str(plane) if str(plane) in names else f"plane{plane}"
    if plane is None or text not in names:
        raise StreamChoiceError.for_option(name, "plane", names, seen=plane)
    return folders[names.index(text)]


def _channels(folder: Path) -> tuple[str, ...]:
    """Return the channels with traces; the first one if there are no traces."""
    traced = [c for c in CHANNELS if any(is_file(folder / file) for file in _TRACES[c].values())]
    return tuple(traced) or CHANNELS[:1]


def _properties_of(tables: Mapping[str, _Table]) -> Iterator[tuple[str, RoiProperty]]:
    """Yield the classes and probabilities in some tables, with the names of the properties."""
    for name, table in tables.items():
        values = table.read()
        flags = values[:, 0]
        is_flag = bool(np.isin(flags, (0, 1)).all())
        yield name, RoiProperty(flags.astype(bool) if is_flag else flags, _CLASSES[name][0])
        if values.shape[1] > 1:
            yield f"{name}_probability", RoiProperty(values[:, 1], _CLASSES[name][1])


def _count(folder: Path) -> int:
    file = PositionedFile(folder / "stat.npy")
    try:
        return count_rois(file)
    finally:
        file.close()


@dataclass(frozen=True, slots=True)
class _Trace:
    """An array ``(rois, samples)`` in a file."""

    file: PositionedFile
    header: NpyHeader

    @property
    def num_samples(self) -> int:
        return self.header.shape[1]

    def read(self, start: int, end: int, rois: np.ndarray) -> np.ndarray:
        """Return ``(samples, rois)``."""
        dtype, offset = self.header.dtype, self.header.offset
        if self.header.is_fortran:  # an array in Fortran order is its transpose in C order
            array = StoredArray(self.file, shape=self.header.shape[::-1], dtype=dtype, offset=offset)
            return array.read((slice(start, end), rois))
        # In the order of the file, so that nothing is copied after it was read
        result = np.empty((end - start, len(rois)), dtype.newbyteorder("="), order="F")
        places = offset + (rois * self.num_samples + start) * dtype.itemsize
        if result.size:
            self._read_into(result.T, places)
        return result

    def _read_into(self, target: np.ndarray, places: np.ndarray) -> None:
        """Fill the rows of an array ``(rois, samples)`` from these places in the file."""
        num_bytes, step = target.shape[1] * target.itemsize, self.num_samples * target.itemsize
        if not self.header.dtype.isnative:
            self._read_frames(target, places)
        elif len(places) == 1 or (num_bytes == step and (np.diff(places) == step).all()):
            self.file.read_array_into(target, int(places[0]))
        elif num_bytes < _SHORT_BYTES and step - num_bytes > _SHORT_BYTES:
            read = self.file.hold_open()
            for row, place in zip(target, places.tolist(), strict=True):
                read(memoryview(row).cast("B"), place)
        else:
            self._read_frames(target, places)

    def _read_frames(self, target: np.ndarray, places: np.ndarray) -> None:
        part = StoredFrames((self.file,), shape=(1, target.shape[1]), dtype=self.header.dtype)
        part.read_into(target.reshape(len(target), 1, -1), places)


@dataclass(frozen=True, slots=True)
class _Table:
    """An array ``(rois, 2)`` of a class and a probability, or ``(rois,)`` of classes alone."""

    file: PositionedFile
    header: NpyHeader

    def read(self) -> np.ndarray:
        """Return ``(rois, 1)`` or ``(rois, 2)``, float64."""
        shape = self.header.shape
        stored = shape[::-1] if self.header.is_fortran else shape
        try:
            values = self.file.read_array(self.header.offset, stored, self.header.dtype)
        finally:
            self.file.close()
        columns = shape[1] if len(shape) > 1 else 1  # -1 cannot be computed without ROIs
        return (values.T if self.header.is_fortran else values).astype(np.float64).reshape(shape[0], columns)


@dataclass(frozen=True, slots=True)
class _Image:
    """An image in a description, with its place in the frames."""

    array: PickledArray
    place: tuple[slice, slice]

    def read(self, shape: tuple[int, int]) -> np.ndarray:
        values = self.array.read()
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if values.shape == shape:
            return np.ascontiguousarray(values)
        image = np.zeros(shape, values.dtype)
        image[self.place] = values
        return image


class _Contents:
    """The files of a folder, checked by their headers; sentences about those that are missing or not usable."""

    def __init__(self, plane: Plane, channel: str, num_rois: int) -> None:
        self._plane = plane
        self._channel = channel
        self._num_rois = num_rois
        self._place = printable(plane.folder.name)
        self.problems: list[str] = []

    def traces(self) -> dict[str, _Trace]:
        """Return the traces by name; all of them have the same shape."""
        traces: dict[str, _Trace] = {}
        lost = []
        for name, file_name in _TRACES[self._channel].items():
            path = self._plane.folder / file_name
            if not is_file(path):
                lost.append(file_name)
                continue
            trace = _Trace(PositionedFile(path), read_npy_header(PositionedFile(path), "Python objects, not traces"))
            self._check_trace(trace, file_name, next(iter(traces.values()), None))
            traces[name] = trace
        # Where suite2p finds no ROIs, it writes no traces
        if not self._num_rois:
            return {}
        if lost:
            kept = f"reading the traces {listed(traces)}" if traces else "reading only the masks"
            self.problems.append(f"{self._place} contains stat.npy but not {listed(lost)}; {kept}")
        return traces

    def note_missing(self) -> None:
        """Add a sentence about other files that suite2p always writes, and that are missing."""
        names = ["iscell.npy"] if self._num_rois else []
        if self._plane.described_in.endswith("db.npy"):
            # The description of the combined planes contains their images
            names += ["settings.npy", *(() if self._plane.folder.name == _COMBINED else _OUTPUTS)]
        lost = [name for name in names if not is_file(self._plane.folder / name)]
        if lost:
            kept = ", ".join(_CONTENTS[name] for name in lost)
            self.problems.append(f"{self._place} contains stat.npy but not {listed(lost)}; reading without {kept}")

    def _check_trace(self, trace: _Trace, file_name: str, first: _Trace | None) -> None:
        shape, dtype, name = trace.header.shape, trace.header.dtype, f"{self._place}/{file_name}"
        if len(shape) != 2 or dtype.kind not in "iuf":
            raise UnsupportedRecordingError(
                f"{name} is an array of {dtype} of shape {shape}; expected numbers of shape (ROIs, samples)"
            )
        if shape[0] != self._num_rois:
            raise CorruptRecordingError(
                f"{name} has traces of {counted(shape[0], 'ROI')}, but {self._place}/stat.npy contains {counted(self._num_rois, 'ROI')}; "
                "the files are of different runs"
            )
        if first is not None and shape[1] != first.num_samples:
            raise CorruptRecordingError(
                f"{name} has {counted(shape[1], 'sample')}, but {first.file.name} has {first.num_samples:,}; "
                "the files are of different runs"
            )
        _require_complete(trace.file, trace.header, name)

    def images(self) -> dict[str, _Image]:
        """Return the images by name."""
        fields = self._all_fields()
        keys = {**_IMAGES[self._channel], **_COMMON_IMAGES}
        images = {name: self._image(fields, key) for name, key in keys.items()}
        return {name: image for name, image in images.items() if image is not None}

    def _all_fields(self) -> Mapping[str, Any]:
        fields = dict(self._plane.fields)
        for name in _OUTPUTS:
            path = self._plane.folder / name
            if not is_file(path):
                continue
            try:
                fields = {**read_fields(path), **fields}
            except (RecordingError, SourceError) as error:  # they are not needed for masks and traces
                self.problems.append(f"{self._place}/{name} was not used: {error}")
        return fields

    def _image(self, fields: Mapping[str, Any], key: str) -> _Image | None:
        array, shape = fields.get(key), (self._plane.rows, self._plane.columns)
        if not isinstance(array, PickledArray) or 0 in array.shape:
            return None
        if shape[0] * shape[1] > _MAX_PIXELS:
            self.problems.append(f"the image {key} of {self._place} was left out: frames of {shape} are too large")
            return None
        place = _crop(fields, shape) if key in _CROPPED else None
        size = shape if place is None else (place[0].stop - place[0].start, place[1].stop - place[1].start)
        if array.dtype.kind not in "biuf" or array.shape not in (shape, size):
            self.problems.append(
                f"the image {key} of {self._place} is of {array.dtype} and {array.shape}; expected numbers of {size}; it was left out"
            )
            return None
        return _Image(array, place or (slice(None), slice(None)))

    def classes(self) -> dict[str, _Table]:
        """Return the classifications by name."""
        tables = {}
        for name in _CLASSES:
            path = self._plane.folder / f"{name}.npy"
            if not is_file(path):
                continue
            file = PositionedFile(path)
            try:
                header = read_npy_header(file, "Python objects, not classes of ROIs")
                _require_complete(file, header, f"{self._place}/{file.name}")
            except (RecordingError, SourceError) as error:  # not needed for masks and traces
                self.problems.append(f"{self._place}/{file.name} was not used: {error}")
                continue
            if (
                header.shape not in ((self._num_rois,), (self._num_rois, 1), (self._num_rois, 2))
                or header.dtype.kind not in "biuf"
            ):
                self.problems.append(
                    f"{self._place}/{file.name} is an array of {header.dtype} of shape {header.shape}; expected two numbers for each of "
                    f"{counted(self._num_rois, 'ROI')}; it was left out"
                )
                continue
            tables[name] = _Table(file, header)
        return tables


def _require_complete(file: PositionedFile, header: NpyHeader, name: str) -> None:
    num_bytes = header.dtype.itemsize
    for length in header.shape:
        num_bytes *= length
    if file.size < header.offset + num_bytes:
        raise TruncatedRecordingError(
            f"{name} is truncated: it has {file.size:,} bytes, but an array of shape {header.shape} of {header.dtype} needs "
            f"{header.offset + num_bytes:,}"
        )


def _crop(fields: Mapping[str, Any], shape: tuple[int, int]) -> tuple[slice, slice] | None:
    """Return the part of the frames that suite2p detected cells in, or None if it is not known."""
    place = []
    for key, side in zip(("yrange", "xrange"), shape, strict=True):
        value = fields.get(key)
        if isinstance(value, PickledArray) and value.shape == (2,) and value.dtype.kind in "iuf":
            value = value.read().tolist()
        if not isinstance(value, list | tuple) or len(value) != 2:
            return None
        start, end = value
        if not all(isinstance(n, int | float) and n == n // 1 for n in (start, end)) or not 0 <= start < end <= side:
            return None
        place.append(slice(int(start), int(end)))
    return place[0], place[1]


def _other_length(plane: Plane, num_samples: int) -> tuple[str, ...]:
    """Return a sentence if the description gives another number of frames."""
    expected = plane.num_frames
    # The description of the combined planes is a copy of that of one plane, which may have a frame less
    if not num_samples or expected in (None, num_samples) or plane.folder.name == _COMBINED:
        return ()
    return (
        f"the traces in {printable(plane.folder.name)} have {counted(num_samples, 'sample')}, but {plane.described_in} says "
        f"{counted(expected or 0, 'frame')}; reading {num_samples:,}",
    )


def _zeros(plane: Plane, traces: Mapping[str, _Trace]) -> tuple[str, ...]:
    """Return a sentence if suite2p wrote zeros in place of deconvolved traces."""
    run = plane.fields.get("run")
    done = run.get("do_deconvolution") if isinstance(run, dict) else plane.fields.get("spikedetect")
    if done is not False or "deconvolved" not in traces:
        return ()
    return ("the deconvolution was not run, and suite2p writes zeros in place of deconvolved traces",)

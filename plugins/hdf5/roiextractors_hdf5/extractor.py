"""Reads movies in plain HDF5 files: the only dataset that can be a movie, or the one that was named."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from roiextractors_core.errors import (
    RoiExtractorsWarning,
    StreamChoiceError,
    UnsupportedRecordingError,
    listed,
    printable,
)
from roiextractors_core.imaging import BlockImagingExtractor, Samples
from roiextractors_core.io import choose_stream, single_file, to_seconds, warn
from roiextractors_core.metadata import ChannelMetadata, RecordingMetadata

from .axes import AxisOrder, axis_order
from .contents import (
    HDF5_FAULTS,
    attribute_of,
    attributes_of,
    datasets_below,
    hard_links,
    named,
    open_hdf5,
    plain,
    read_while_written,
)
from .dataset import Hdf5Dataset

__all__ = ["Hdf5ImagingExtractor"]

_RATES = (
    "fr", "framerate", "frame_rate", "fps", "frames_per_second", "sampling_rate", "samplingrate", "sample_rate",
    "sampling_frequency", "imaging_rate", "acquisition_rate", "rate", "fs", "volume_rate",
)  # fmt: skip
_RATE_WORDS = {name.replace("_", "") for name in _RATES}
_HERTZ = {"hz": 1.0, "khz": 1e3}
_MAX_CANDIDATES = 1000
_MAX_SHOWN = 6
_TIMES = re.compile(r"(?i)(frame|sample|image)?_?(times?|time_?stamps?)(_?(s|ms|us|sec|seconds))?|t")
_SLOW = 0.2  # Hz; a lower number may be a period in seconds
_MAX_DIFFERENCE = 1e-3  # relative, between two rates that agree
_CELLS = "(footprints of cells and their traces), not the movie"
_ANALYSES = (
    ("estimates/A", "the results of CaImAn (components and traces), not the movie"),
    ("estimates/C", "the results of CaImAn (components and traces), not the movie"),
    ("output/spatial_weights", "the results of EXTRACT (components and traces), not the movie"),
    ("extractAnalysisOutput", f"the results of EXTRACT through CIAtah {_CELLS}"),
    ("pcaicaAnalysisOutput", f"the results of PCA-ICA through CIAtah {_CELLS}"),
    ("cnmfeAnalysisOutput", f"the results of CNMF-E through CIAtah {_CELLS}"),
    ("cnmfAnalysisOutput", f"the results of CNMF through CIAtah {_CELLS}"),
    ("cellmaxAnalysisOutput", f"the results of CELLMax through CIAtah {_CELLS}"),
    ("emAnalysisOutput", f"the results of CELLMax through CIAtah {_CELLS}"),
    ("roiAnalysisOutput", f"regions of interest through CIAtah {_CELLS}"),
    ("neuron/A", f"the results of CNMF-E {_CELLS}"),
    ("results/A", f"the results of CNMF-E {_CELLS}"),
    ("iscell", f"the results of suite2p {_CELLS}"),
    ("roi_names", "traces of ROIs (data and roi_names, as of the Allen Brain Observatory), not the movie"),
    ("unit_id", f"the results of minian {_CELLS}"),
    ("Global/GCtr", "ThorSync's lines and counters, without images; the movie is in another file"),
)
_OTHER_MOVIES = (
    ("DataSet/ResolutionLevel 0", "an Imaris file", "DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"),
    ("t00000/s00", "a BigDataViewer file (the HDF5 part of an .xml)", "t00000/s00/0/cells"),
    ("s00/resolutions", "a BigDataViewer file (the HDF5 part of an .xml)", "t00000/s00/0/cells"),
)
# Names of datasets with three axes that are pictures of cells, one after the other
_FOOTPRINTS = frozenset(
    ("a", "filters", "footprints", "spatialweights", "icafilters", "cellimages", "extractedimages", "inputimages", "cellmap", "masks", "roimasks",
     "roimask", "rois", "imagemasks", "cellmasks", "spatialfootprints", "spatialcomponents", "traces")
)  # fmt: skip
_COMPANIONS = (".xml", ".json", ".yaml", ".yml", ".ini")


class Hdf5ImagingExtractor(BlockImagingExtractor):
    """A movie in an HDF5 file: ``(samples, rows, columns)``, or volumes with the planes last.

    Parameters
    ----------
    file_path : str or os.PathLike
    dataset : str, optional
        The path of the dataset inside the file, ``"data/ch0"``; needed when several could be the movie.
    channel : str or int, optional
        The channel, when the dataset has an axis of them: its name, or its number from 1.
    dimension_order : str, optional
        One letter for each dimension as stored: T (time), Z (planes), Y (rows), X (columns), C (channels).  Overrides
        the axes that the file states.
    apply_conversion : bool
        True, the default, applies the scale and offset that netCDF files state for packed pixels (``scale_factor``, ``add_offset``),
        as xarray does: pixels are float64, and those of ``_FillValue`` are NaN.  False returns the stored numbers.
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the file's.

    Raises
    ------
    StreamChoiceError
        Several datasets could be the movie, or there are several channels, and none was named; or the dataset has four axes
        without labels.
    UnsupportedRecordingError
        No dataset in the file can be a movie; the message lists what the file contains.
    CorruptRecordingError, TruncatedRecordingError
        The file is damaged or truncated.

    Notes
    -----
    The axes are identified by dimension labels or scales, an attribute such as ``axes``, or vigra's ``axistags``.  Without any of
    these, three axes are read as time, rows and columns, and :meth:`get_notes` says so.

    References
    ----------
    HDF5 File Format Specification 3.0, The HDF Group.  CaImAn, ``movie.save`` (``/mov``, ``fr``); SIMA, ``export_frames``
    (``/imaging``); ImageJ's HDF5 plugin, University of Freiburg (``/t0/channel0``, ``element_size_um``).
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        dataset: str | None = None,
        channel: str | int | None = None,
        dimension_order: str | None = None,
        apply_conversion: bool = True,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        path = single_file(file_path)
        self._facts = read_while_written(path, lambda: _find_movie(path, dataset, dimension_order))
        self._channel = _chosen(self._facts, channel)
        fixed = {} if self._channel is None else {"C": self._channel}
        self._movie = Hdf5Dataset(path, self._facts.name, axes=self._facts.order.letters, fixed=fixed)
        self._packing = self._facts.packing if apply_conversion else None
        self.is_volumetric = self._movie.is_volumetric
        for words in self._facts.doubts:
            warn(words, RoiExtractorsWarning)
        for words in self._movie.get_warnings(self._facts.file_name):
            warn(words)

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the datasets that could be the movie, and the channels, where there are several.

        Returns
        -------
        dict
            ``{"dataset": ("data/ch0", "data/ch1"), "channel": ("1", "2")}``
        """
        found: dict[str, tuple[str, ...]] = {}
        path = single_file(file_path)
        with open_hdf5(path) as file:
            names = _candidates(file)
        if len(names) > 1:
            found["dataset"] = names
        try:
            facts = _find_movie(path, options.get("dataset"), options.get("dimension_order"))
        except StreamChoiceError as error:  # without a choice of the dataset or its axes, its channels are unknown
            return found if error.option == "dataset" else {**found, error.option: tuple(map(str, error.choices))}
        return {**found, "channel": facts.channels} if len(facts.channels) > 1 else found

    keeps_missing_samples = True

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._movie.frame_shape

    def get_num_samples(self) -> int:
        """Return the number of frames, or of volumes."""
        return self._movie.num_samples

    def get_num_planes(self) -> int:
        """Return the number of planes; 1 for a planar movie."""
        return self._movie.num_planes

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the pixels, in native byte order; float64 for packed ones."""
        return self._movie.dtype if self._packing is None else np.dtype(np.float64)

    def get_chunk_shape(self) -> tuple[int, ...]:
        """Return the shape of the file's chunks; one whole sample where there are none."""
        return self._movie.chunk_shape

    def get_sampling_frequency(self) -> float | None:
        """Return the rate (Hz) in an attribute or dataset with a known name, or None."""
        return self._facts.rate

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        """Return a part; reads only the bytes, or the chunks, that it touches."""
        self.check_open()
        stored = self._movie.read(samples, rows, columns, planes)
        return stored if self._packing is None else self._packing.unpacked(stored)

    def get_metadata(self) -> RecordingMetadata:
        """Return pixel size, plane spacing, the channel, and the attributes of the dataset and of the file."""
        names = self._facts.channels
        channel = names[self._channel] if self._channel is not None and names else None
        return RecordingMetadata(
            pixel_size=self._facts.pixel_size,
            plane_spacing=self._facts.plane_spacing if self.is_volumetric else None,
            channels=(ChannelMetadata(channel),) if channel else (),
            vendor=self._facts.vendor,
        )

    def get_notes(self) -> tuple[str, ...]:
        """Return notes: the dataset that is read, how its axes were identified, contradictions, and missing samples."""
        packing = self._facts.packing
        words = () if packing is None else (packing.in_words(is_applied=self._packing is not None),)
        return (*self._facts.doubts, *self._facts.notes, *words, *self._movie.get_notes(self._facts.file_name))

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples that lack at least one chunk, which reads as the fill value."""
        return self._movie.missing.samples.copy()

    def close(self) -> None:
        """Release the file."""
        self._movie.close()
        super().close()


@dataclass(frozen=True, slots=True)
class _Facts:
    """The movie in a file: its dataset, axes, channels, rate, sizes and attributes."""

    file_name: str
    name: str
    order: AxisOrder
    channels: tuple[str, ...]
    rate: float | None
    pixel_size: tuple[float, float] | None
    plane_spacing: float | None
    vendor: Mapping[str, Any]
    notes: tuple[str, ...]
    packing: _Packing | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Packing:
    """How netCDF packs pixels into integers, by its attributes ``scale_factor``, ``add_offset`` and ``_FillValue``."""

    scale: float
    offset: float
    fill: float | None

    def unpacked(self, stored: np.ndarray) -> np.ndarray:
        pixels: np.ndarray = np.multiply(stored, self.scale, dtype=np.float64)
        pixels += self.offset
        if self.fill is not None:
            pixels[stored == self.fill] = np.nan
        return pixels

    def in_words(self, *, is_applied: bool) -> str:
        numbers = f"the file's conversion (scale_factor {self.scale:g}, add_offset {self.offset:g})"
        if is_applied:
            return f"pixels have {numbers} applied; apply_conversion=False returns the stored numbers"
        return f"pixels are as stored; leave out apply_conversion=False to apply {numbers}"


def _packing_of(dataset: Any, attributes: Mapping[str, Any]) -> _Packing | None:
    """Return the packing of a dataset of netCDF; in other files these names may mean anything."""
    if not any(name in dataset.attrs for name in ("DIMENSION_LIST", "_Netcdf4Dimid")):
        return None
    scale, offset, fill = (_number_in(attributes.get(key)) for key in ("scale_factor", "add_offset", "_FillValue"))
    scale, offset = 1.0 if scale is None else scale, offset or 0.0
    # A scale of 0 is that of a truncated file, whose lost bytes read as 0
    return None if scale == 0 or (scale, offset) == (1.0, 0.0) else _Packing(scale, offset, fill)


def _number_in(value: Any) -> float | None:
    value = value[0] if isinstance(value, list) and len(value) == 1 else value  # netCDF writes arrays of one number
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _find_movie(path: str | os.PathLike[str], dataset: str | None, dimension_order: str | None) -> _Facts:
    with open_hdf5(path) as file:
        file_name = printable(os.path.basename(os.fspath(path)))
        found = _movie_in(file, file_name, dataset)
        attributes = attributes_of(found)
        where = f"{file_name}: {printable(found.name)}"
        order = axis_order(found, attributes, where=where, given=dimension_order)
        rate, rate_doubts = _rate(file, found, attributes, file_name)
        doubts = [order.doubt] if order.doubt else []
        notes = (
            []
            if order.is_stated or order.doubt
            else [
                f"{where} {found.shape} is read as {order.letters} ({order.basis}); pass dimension_order= if that is wrong"
            ]
        )
        notes += _unread_times(found, order.letters, where)
        if dataset is None and found.name.strip("/").count("/"):
            notes.append(f"{where} is the only dataset that could be a movie")
        return _Facts(
            file_name,
            found.name.strip("/"),
            order,
            _channel_names(found, attributes, order.letters),
            rate,
            *_sizes(attributes, order.letters),
            {**attributes_of(file["/"]), **attributes},
            tuple(notes),
            _packing_of(found, attributes),
            (*doubts, *rate_doubts, *_companions(path, file_name)),
        )


def _movie_in(file: Any, file_name: str, dataset: str | None) -> Any:
    if dataset is not None:
        found = named(file, str(dataset))
        if isinstance(found, h5py.Dataset):
            return found
        names = _candidates(file)
        raise (
            StreamChoiceError.for_option(file_name, "dataset", names, seen=dataset)
            if names
            else _no_movie(file, file_name)
        )
    # Before the search: footprints of cells have the shape of a movie
    _refuse_analyses(file, file_name)
    names = _candidates(file)
    if len(names) > 1:
        raise StreamChoiceError.for_option(file_name, "dataset", names)
    if not names:
        raise _no_movie(file, file_name)
    if _letters_in(names[0].rpartition("/")[2]) in _FOOTPRINTS:
        raise UnsupportedRecordingError(
            f"{file_name} contains {printable(names[0])!r}, whose name is that of footprints or traces of "
            "cells, not of a movie; open the file of the "
            f"movie, or name the dataset if it is one: open(..., dataset={printable(names[0])!r})"
        )
    return file[names[0]]


def _letters_in(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _refuse_analyses(file: Any, file_name: str) -> None:
    if attribute_of(file["/"], "neurodata_type") == "NWBFile" or "nwb_version" in file.attrs:
        raise UnsupportedRecordingError(
            f"{file_name} is an NWB file; to read it, install its plugin, roiextractors-nwb, "
            "or name a dataset: open(..., format='hdf5', dataset=...)"
        )
    for place, what, example in _OTHER_MOVIES:
        if named(file, place) is not None:
            raise UnsupportedRecordingError(
                f"{file_name} "
                f"is {what}, with one dataset for each time and channel, which cannot be read as one movie; "
                f"convert it to OME-TIFF or OME-Zarr, or name one dataset: open(..., format='hdf5', dataset={example!r})"
            )
    for place, words in _ANALYSES:
        if named(file, place) is not None:
            raise UnsupportedRecordingError(
                f"{file_name} contains {words}; open the file of the movie, or name a dataset of this file: open(..., dataset=...)"
            )


def _candidates(file: Any) -> tuple[str, ...]:
    found = []
    for dataset in datasets_below(file):
        if _can_be_a_movie(dataset):
            found.append(dataset.name.strip("/"))
        if len(found) >= _MAX_CANDIDATES:
            break
    return tuple(sorted(found))


def _can_be_a_movie(dataset: Any) -> bool:
    try:
        if not 3 <= dataset.id.rank <= 5:  # before the type, which takes longer to read
            return False
        shape, dtype = dataset.shape, dataset.dtype
    except HDF5_FAULTS:
        return False
    if shape is None or not 3 <= len(shape) <= 5 or dtype.kind not in "biuf" or dtype.subdtype is not None:
        return False
    # MATLAB 7.3 stores the elements of cell arrays in /#refs#
    return math.prod(shape) > 0 and sum(n > 1 for n in shape) > 1 and not dataset.name.startswith("/#refs#")


def _no_movie(file: Any, file_name: str) -> UnsupportedRecordingError:
    seen: list[str] = []
    for dataset in datasets_below(file, most=_MAX_CANDIDATES):
        if len(seen) < _MAX_SHOWN:
            seen.append(_words(dataset))
    shown = f"it contains {', '.join(seen)}" if seen else "it contains no dataset"
    outside = [
        name
        for name in itertools.islice(file, _MAX_CANDIDATES)
        if isinstance(file.get(name, getlink=True), h5py.ExternalLink)
    ]
    links = (
        f"; {listed([printable(name) for name in outside], limit=3)} link to other files and are not followed"
        if outside
        else ""
    )
    return UnsupportedRecordingError(
        f"{file_name} contains no dataset of numbers with three or more axes: {shown}{links}; "
        "to read another dataset, name it: open(..., dataset=...)"
    )


def _words(dataset: Any) -> str:
    try:
        return f"{printable(dataset.name)} {dataset.shape} {printable(dataset.dtype)[:40]}"
    except HDF5_FAULTS:
        return f"{printable(dataset.name)} of a type that numpy does not have"


def _channel_names(dataset: Any, attributes: Mapping[str, Any], letters: str) -> tuple[str, ...]:
    if "C" not in letters:
        return ()
    count = int(dataset.shape[letters.index("C")])
    names = attributes.get("channel_names")
    if isinstance(names, str):
        # A list that was stored as its Python text: "['GCaMP', 'tdTomato']"
        names = [part.strip(" '\"") for part in names.strip("[]").split(",")]
    if isinstance(names, list) and len(names) == count == len({str(name) for name in names}):
        return tuple(printable(name) for name in names)
    return tuple(str(k + 1) for k in range(count))


def _chosen(facts: _Facts, channel: str | int | None) -> int | None:
    place = choose_stream(facts.file_name, "channel", facts.channels, channel, first=1)
    return place if facts.channels else None


def _rate(
    file: Any, dataset: Any, attributes: Mapping[str, Any], file_name: str
) -> tuple[float | None, tuple[str, ...]]:
    """Return the rate nearest to the dataset: in its attributes, its group's attributes and numbers, then the root's."""
    node, where = dataset.parent, f"{file_name}: {printable(dataset.name)}"
    places = (attributes, attributes_of(node), _scalars_of(node), attributes_of(file["/"]), _scalars_of(file["/"]))
    chosen: tuple[str, float] | None = None
    for place in places:
        stated = ((k, _hertz(_number(v), _unit_beside(place, k))) for k, v in place.items() if _is_rate(k))
        rates = {key: value for key, value in stated if value}
        # Neither of two rates in one place is nearer to the dataset
        if chosen is None and _differ(list(rates.values())):
            words = " and ".join(f"{printable(key)} = {value:g}" for key, value in itertools.islice(rates.items(), 3))
            return None, (f"{where}: {words} disagree, so the rate is unknown; pass sampling_frequency=",)
        if chosen is None and rates:
            chosen = next(iter(rates.items()))
        for key, value in rates.items():
            if chosen is not None and _differ([chosen[1], value]):
                return chosen[1], (
                    f"{where}: {printable(chosen[0])} = {chosen[1]:g} and {printable(key)} = {value:g} disagree; {chosen[1]:g} Hz, which is "
                    "nearer to the dataset, is used; pass sampling_frequency= if that is wrong",
                )
    if chosen is None:
        return None, ()
    if chosen[1] < _SLOW:
        return chosen[1], (
            f"{where}: {printable(chosen[0])} = {chosen[1]:g} is read as a rate, one sample every {1 / chosen[1]:.4g} s; if it is the period in "
            f"seconds, pass sampling_frequency={1 / chosen[1]:.6g}",
        )
    return chosen[1], ()


def _differ(rates: Sequence[float]) -> bool:
    return len(rates) > 1 and max(rates) - min(rates) > _MAX_DIFFERENCE * max(rates)


def _companions(path: str | os.PathLike[str], file_name: str) -> tuple[str, ...]:
    """Return a sentence for a description beside the file that is not read."""
    stem = os.path.splitext(os.fspath(path))[0]
    beside = [os.path.basename(stem + suffix) for suffix in _COMPANIONS if os.path.isfile(stem + suffix)]
    return (
        (
            f"{file_name}: {listed([printable(name) for name in beside], limit=3)} beside it "
            f"{'is' if len(beside) == 1 else 'are'} not read",
        )
        if beside
        else ()
    )


def _is_rate(name: str) -> bool:
    return name.lower().replace("_", "").replace(" ", "").removesuffix("hz") in _RATE_WORDS


def _scalars_of(group: Any) -> dict[str, Any]:
    """Return the datasets of one number in a group whose names are those of rates."""
    found = {}
    for name in (link.decode("utf-8", "replace") for link in hard_links(group, _MAX_CANDIDATES)):
        if _is_rate(name):
            node = group[name]
            if isinstance(node, h5py.Dataset) and node.size == 1 and node.dtype.kind in "iuf":
                found[name] = plain(node[()])
                own = attributes_of(node)
                found[f"{name}_unit"] = own.get("unit", own.get("units"))
    return found


def _unread_times(dataset: Any, letters: str, where: str) -> list[str]:
    """Return a note for each list of numbers beside a movie, one for each sample, that has the name of times."""
    if "T" not in letters:
        return []
    count, group = dataset.shape[letters.index("T")], dataset.parent
    named = (link.decode("utf-8", "replace") for link in hard_links(group, _MAX_CANDIDATES))
    nodes = [group[name] for name in named if _TIMES.fullmatch(name)]
    return [
        f"{where}: {printable(node.name)} contains one number for each of the {count:,} samples, which is not read as a time; "
        "pass them to set_times"
        for node in nodes
        if isinstance(node, h5py.Dataset) and node.shape == (count,) and node.dtype.kind in "iuf"
    ]


def _unit_beside(place: Mapping[str, Any], name: str) -> Any:
    """Return the unit that is stated beside a number (``rate_unit`` for ``rate``), or None."""
    return next((place[key] for word in ("unit", "units") if (key := f"{name}_{word}") in place), None)


def _hertz(value: float | None, unit: Any) -> float | None:
    """Return a rate in Hz; a number in a unit of time is a period, and one in an unknown unit is taken as Hz."""
    if value is None or not isinstance(unit, str):
        return value
    word = unit.strip().lower()
    per_unit = word.removeprefix("1/").removeprefix("per ") if word.startswith(("1/", "per ")) else ""
    seconds = to_seconds(1.0, per_unit or word)
    if word in _HERTZ:
        return value * _HERTZ[word]
    return value if not seconds else value / seconds if per_unit else 1.0 / (value * seconds)


def _number(value: Any) -> float | None:
    while isinstance(value, list) and len(value) == 1:  # MATLAB stores numbers as 1 x 1 arrays
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < math.inf else None


def _sizes(attributes: Mapping[str, Any], letters: str) -> tuple[tuple[float, float] | None, float | None]:
    """Return (row, column) and plane distances from ``element_size_um``, which is (planes, rows, columns)."""
    sizes: Sequence[Any] = attributes.get("element_size_um") or ()
    numbers = [_number(size) for size in sizes] if isinstance(sizes, list) else []
    if len(numbers) != 3 or numbers[1] is None or numbers[2] is None:
        return None, None
    return (numbers[1], numbers[2]), numbers[0]

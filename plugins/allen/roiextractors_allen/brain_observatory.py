"""Reads the ROIs and traces of the NWB 1 files of the Allen Brain Observatory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from roiextractors_hdf5.contents import missing_bytes, named, open_hdf5
from roiextractors_hdf5.matrix import Hdf5Matrix, is_numeric, read_array

from roiextractors_core import RoiMasks, RoiProperty, SegmentationExtractor
from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsWarning,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io import plausible_start, single_file, warn
from roiextractors_core.metadata import RecordingMetadata

from .tables import read_names, read_plain

__all__ = ["BrainObservatoryExtractor"]

_PIPELINE = "processing/brain_observatory_pipeline"
_ROIS = f"{_PIPELINE}/ImageSegmentation"
_PLANE = f"{_ROIS}/imaging_plane_1"
_RAW = f"{_PIPELINE}/Fluorescence/imaging_plane_1"
_NEUROPIL = f"{_RAW}_neuropil_response"
_MAXIMUM = f"{_PLANE}/reference_images/maximum_intensity_projection_image/data"

# Versions of the pipeline before 2.0 have the neuropil's traces and factors in the group of the raw traces
_TABLES = (
    ("raw", f"{_RAW}/data"),
    ("demixed", f"{_RAW}_demixed_signal/data"),
    ("neuropil", f"{_NEUROPIL}/data"),
    ("neuropil", f"{_RAW}/neuropil_traces"),
    ("dff", f"{_PIPELINE}/DfOverF/imaging_plane_1/data"),
)
_FACTORS = (f"{_NEUROPIL}/r", f"{_RAW}/r")
_INFO = {
    "age": "general/subject/age",
    "sex": "general/subject/sex",
    "genotype": "general/subject/genotype",
    "imaging_depth": "general/optophysiology/imaging_plane_1/imaging depth",
    "targeted_structure": "general/optophysiology/imaging_plane_1/location",
    "excitation_lambda": "general/optophysiology/imaging_plane_1/excitation_lambda",
    "indicator": "general/optophysiology/imaging_plane_1/indicator",
    "ophys_experiment_id": "general/session_id",
    "experiment_container_id": "general/experiment_container_id",
    "device": "general/devices/2-photon microscope",
    "fov": "general/fov",
    "session_type": "general/session_type",
    "specimen_name": "general/specimen_name",
    "session_start_time": "session_start_time",
}
_MAX_TEXT = 1 << 16  # bytes
_TIME_FORMATS = ("%a %b %d %H:%M:%S %Y", "%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M:%S")


class BrainObservatoryExtractor(SegmentationExtractor):
    """The ROIs of one experiment of the Allen Brain Observatory, from its NWB 1 file.

    The ids are those of the ROIs; the property ``cell_specimen_id`` has those of the cells, as AllenSDK uses them.

    Parameters
    ----------
    file_path : str or os.PathLike
        An ``.nwb`` file of version 1 with ``processing/brain_observatory_pipeline``.
    sampling_frequency : float, optional
        Samples per second (Hz); the file contains times, and no rate.

    Raises
    ------
    UnsupportedRecordingError
        The file does not contain this pipeline.
    CorruptRecordingError, TruncatedRecordingError
        The file is damaged, or its lists contradict each other.

    Warns
    -----
    RoiExtractorsWarning
        Traces of other lengths, or times that cannot be, were left out.

    References
    ----------
    AllenSDK, ``allensdk.core.brain_observatory_nwb_data_set``.
    """

    def __init__(self, file_path: str | os.PathLike[str], *, sampling_frequency: float | None = None) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._path = os.fspath(single_file(file_path))
        self._file = _read_contents(self._path)
        self._matrices = {
            name: Hdf5Matrix(self._path, table.dataset, rois_first=table.rois_first)
            for name, table in self._file.tables.items()
        }
        for words in self._file.warnings:
            warn(words, RoiExtractorsWarning)

    def get_frame_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._file.frame_shape

    def get_roi_ids(self) -> list[str]:
        """Return the ids of the ROIs."""
        return list(self._file.ids)

    def get_num_samples(self) -> int:
        """Return the number of samples of the traces."""
        return self._file.num_samples

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        """Return the masks of ROIs; they are stored as images, which are read one after the other."""
        with open_hdf5(self._path) as file:
            names = [self._file.names[k] for k in roi_indices]
            return RoiMasks.from_images(self.get_frame_shape(), (_mask(file, name, self._name) for name in names))

    def get_trace_names(self) -> tuple[str, ...]:
        """Return ``("raw", "demixed", "neuropil", "dff")``, or those of them that the file contains."""
        return tuple(self._file.tables)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        """Return ``(samples, rois)``."""
        rows = self._file.tables[name].rows[roi_indices]
        return self._matrices[name].read(start_sample, end_sample, rows)

    def get_image_names(self) -> tuple[str, ...]:
        """Return ``("maximum_projection",)`` if the file contains it."""
        return ("maximum_projection",) if self._file.has_maximum else ()

    def get_image(self, name: str = "maximum_projection") -> np.ndarray:
        """Return the maximum projection of the movie, ``(rows, columns)``."""
        if name not in self.get_image_names():
            return super().get_image(name)
        with open_hdf5(self._path) as file:
            return read_array(named(file, _MAXIMUM))

    def get_own_properties(self) -> Mapping[str, RoiProperty]:
        """Return the id of each cell, and the factor of the neuropil that was subtracted."""
        return self._file.properties

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times of the samples in seconds, float64."""
        start, end = self.resolve_range(start_sample, end_sample)
        times = self._file.times
        return None if times is None else times[start:end].copy()

    def get_metadata(self) -> RecordingMetadata:
        """Return the start, the microscope, and what the file says of the experiment as ``vendor``."""
        info = self._file.info
        device = info.get("device")
        return RecordingMetadata(
            start_time=plausible_start(_moment(info.get("session_start_time"))),
            modality="two-photon",
            device=printable(device) if isinstance(device, str) and device else None,
            vendor=dict(info),
        )

    def get_notes(self) -> tuple[str, ...]:
        """Return what was left out."""
        return tuple(self._file.warnings)

    def close(self) -> None:
        """Release the file."""
        for matrix in self._matrices.values():
            matrix.close()
        super().close()

    @property
    def _name(self) -> str:
        return printable(os.path.basename(self._path))


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of traces: its dataset, whether ROIs come first in it, and the row of each ROI."""

    dataset: str
    rois_first: bool
    rows: np.ndarray


@dataclass
class _Contents:
    """What a file contains, without its masks and traces."""

    names: tuple[str, ...]
    ids: tuple[str, ...]
    frame_shape: tuple[int, int] = (0, 0)
    num_samples: int = 0
    times: np.ndarray | None = None
    has_maximum: bool = False
    tables: dict[str, _Table] = field(default_factory=dict)
    properties: dict[str, RoiProperty] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def _read_contents(path: str) -> _Contents:
    file_name = printable(os.path.basename(path))
    with open_hdf5(path) as file:
        lost = missing_bytes(file)
        if lost:
            raise TruncatedRecordingError(
                f"{file_name} is truncated: it lacks {lost:,} bytes that its header states; copy it again"
            )
        if named(file, _PLANE) is None:
            raise UnsupportedRecordingError(f"{file_name} has no ROIs of the Allen Brain Observatory ({_PLANE})")
        names = read_names(named(file, f"{_PLANE}/roi_list"), f"{file_name}: roi_list")
        ids = read_names(named(file, f"{_ROIS}/roi_ids"), f"{file_name}: roi_ids")
        if len(names) != len(ids) or len(set(ids)) < len(ids) or len(set(names)) < len(names):
            raise CorruptRecordingError(
                f"{file_name} names {counted(len(set(names)), 'ROI')} in roi_list, but "
                f"{counted(len(set(ids)), 'different id')} in roi_ids"
            )
        found = _Contents(names, ids)
        found.has_maximum = is_numeric(named(file, _MAXIMUM), 2)
        found.frame_shape = _frame_shape(file, names, file_name)
        found.info = dict(_info(file))
        _add_times(found, file, file_name)
        _add_tables(found, file, file_name)
        _add_properties(found, file, file_name)
        return found


def _mask_node(file: Any, name: str, file_name: str) -> Any:
    # A name from the file must not lead to another place in it
    node = named(file, f"{_PLANE}/{name}/img_mask") if name.strip("./") and "/" not in name else None
    if not is_numeric(node, 2):
        raise CorruptRecordingError(f"{file_name} has no mask of the ROI {printable(name)!r} (img_mask)")
    return node


def _mask(file: Any, name: str, file_name: str) -> np.ndarray:
    return read_array(_mask_node(file, name, file_name))


def _frame_shape(file: Any, names: tuple[str, ...], file_name: str) -> tuple[int, int]:
    node = _mask_node(file, names[0], file_name) if names else named(file, _MAXIMUM)
    if not is_numeric(node, 2):
        return 0, 0
    rows, columns = node.shape
    return int(rows), int(columns)


def _add_times(found: _Contents, file: Any, file_name: str) -> None:
    node = named(file, f"{_RAW}/timestamps")
    data = named(file, f"{_RAW}/data")
    if not is_numeric(data, 2):
        raise CorruptRecordingError(f"{file_name} has no traces ({_RAW}/data)")
    count = len(found.ids)
    # AllenSDK reads (rois, samples), although NWB 1 says (samples, rois); the number of times tells them apart
    lengths = [int(n) for n in data.shape]
    times = read_array(node).astype(np.float64) if is_numeric(node, 1) else None
    turned = lengths[0] != count or (times is not None and len(times) == lengths[0] != lengths[1])
    found.num_samples = lengths[0] if turned else lengths[1]
    if times is None:
        return
    if len(times) != found.num_samples or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        found.warnings.append(
            f"{file_name} has {counted(len(times), 'time')} for {counted(found.num_samples, 'sample')}, or they are not increasing; "
            "they were left out"
        )
        return
    found.times = times


def _add_tables(found: _Contents, file: Any, file_name: str) -> None:
    shape = (len(found.ids), found.num_samples)
    for name, dataset in _TABLES:
        node = named(file, dataset)
        if name in found.tables or not is_numeric(node, 2):
            continue
        lengths = tuple(int(n) for n in node.shape)
        if lengths not in (shape, shape[::-1]):
            words = f"{file_name}: {dataset} has shape {lengths}, but there are {counted(shape[0], 'ROI')} and {counted(shape[1], 'sample')}"
            if name == "raw":
                raise CorruptRecordingError(words)
            found.warnings.append(f"{words}; the trace {name!r} was left out")
            continue
        names = named(file, f"{dataset.rpartition('/')[0]}/roi_names")
        rows = _rows(found.names, names, f"{file_name}: {dataset.rpartition('/')[0]}/roi_names")
        found.tables[name] = _Table(dataset, lengths == shape, rows)


def _rows(names: tuple[str, ...], node: Any, where: str) -> np.ndarray:
    """Return the row of each ROI in a table, by the names beside it; in their order if there are none."""
    if node is None:
        return np.arange(len(names))
    places = {name: k for k, name in enumerate(read_names(node, where))}
    if set(places) != set(names) or len(places) != len(names):
        raise CorruptRecordingError(
            f"{where} are not the names in roi_list, so the traces cannot be matched with the ROIs"
        )
    return np.array([places[name] for name in names], np.int64)


def _add_properties(found: _Contents, file: Any, file_name: str) -> None:
    count = len(found.ids)
    sources = [("cell_specimen_id", f"{_ROIS}/cell_specimen_ids", "The id of the cell, across sessions.")]
    sources += [("neuropil_r", path, "Factor of the neuropil that was subtracted.") for path in _FACTORS]
    for name, dataset, description in sources:
        node = named(file, dataset)
        if name in found.properties or not is_numeric(node, 1):
            continue
        if node.shape[0] != count:
            found.warnings.append(
                f"{file_name}: {dataset} has {counted(int(node.shape[0]), 'value')} for {counted(count, 'ROI')} and was left out"
            )
            continue
        found.properties[name] = RoiProperty(read_array(node), description)


def _info(file: Any) -> Iterator[tuple[str, Any]]:
    for key, path in _INFO.items():
        node = named(file, path)
        if hasattr(node, "shape") and node.shape is not None and node.size == 1 and node.nbytes <= _MAX_TEXT:
            value = read_plain(node)
            while isinstance(value, list) and len(value) == 1:
                value = value[0]
            if isinstance(value, str | int | float):
                yield key, value


def _moment(text: Any) -> datetime | None:
    """Return the moment in local time, whose offset the file does not state."""
    if not isinstance(text, str):
        return None
    for layout in _TIME_FORMATS:
        with suppress(ValueError):
            return datetime.strptime(text, layout)
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    return None

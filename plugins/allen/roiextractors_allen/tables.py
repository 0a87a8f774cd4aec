"""The HDF5 files of the pipelines: which traces each contains, of which ROIs, and one value for each ROI beside them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from roiextractors_hdf5.contents import missing_bytes, named, open_hdf5, plain
from roiextractors_hdf5.matrix import is_numeric, read_array

from roiextractors_core.errors import (
    CorruptRecordingError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    counted,
    listed,
    printable,
)

__all__ = [
    "ORDER",
    "Masks",
    "TraceFile",
    "TraceTable",
    "image_names",
    "read_frame_shape",
    "read_image",
    "read_masks",
    "read_names",
    "read_plain",
    "read_trace_file",
]

ORDER = ("raw", "demixed", "neuropil", "corrected", "dff", "baseline", "events", "denoised")
"""The names of traces, from the first step of the pipelines to the last."""

_MAX_NAMES = 1_000_000

# Of an extraction file: the group ``traces`` has one table for each step
_EXTRACTED = {"raw": "traces/roi", "neuropil": "traces/neuropil", "corrected": "traces/corrected"}
_IMAGES = {"mean": "meanImg", "maximum_projection": "maxImg"}

# One value for each ROI, where a dataset of this name is that long: the name of the property and its description
_VALUES = {
    "r": ("neuropil_r", "Factor of the neuropil that was subtracted."),
    "RMSE": ("neuropil_rmse", "Root mean square error of the neuropil correction."),
    "sigma_dff": ("sigma_dff", "Estimated standard deviation of the noise of dF/F."),
    "num_small_baseline_frames": ("num_small_baseline_frames", "Samples whose baseline is smaller than the noise."),
    "noise_stds": ("noise_std", "Standard deviation of the noise, as used by the event detection."),
    "lambdas": ("event_lambda", "Regularization of the event detection."),
    "noise": ("dff_noise", "Estimated noise of dF/F."),
    "skewness": ("dff_skewness", "Skewness of dF/F."),
    "b_hat": ("event_baseline", "Baseline that the event detection estimated."),
    "tau_hat": ("event_tau", "Decay time that the event detection estimated."),
    "tau_rise_hat": ("event_tau_rise", "Rise time that the event detection estimated."),
    "lam_hat": ("event_lambda", "Regularization of the event detection."),
    "traces/neuropil_rcoef": ("neuropil_r", "Factor of the neuropil that was subtracted."),
    "traces/skew": ("skew", "Skewness of the corrected trace."),
    "traces/std": ("std", "Standard deviation of the corrected trace."),
    "rois/npix": ("num_pixels", "Number of pixels, as suite2p counts them."),
    "rois/radius": ("radius", "Radius of the ROI, in pixels."),
    "rois/compact": ("compact", "How compact the ROI is; 1 is a disk."),
    "rois/aspect_ratio": ("aspect_ratio", "Ratio of the axes of an ellipse fitted to the ROI."),
    "rois/footprint": ("footprint", "Spatial extent of the ROI's functional signal."),
    "rois/solidity": ("solidity", "Solidity of the ROI."),
    "soma/probabilities": ("soma_probability", "Probability that the ROI is a soma."),
    "soma/predictions": ("is_soma", "Whether the ROI was classified as a soma."),
    "dendrites/probabilities": ("dendrite_probability", "Probability that the ROI is a dendrite."),
    "dendrites/predictions": ("is_dendrite", "Whether the ROI was classified as a dendrite."),
    "border/labels": ("is_at_border", "Whether the ROI is at the border of the frame."),
}


@dataclass(frozen=True, slots=True)
class TraceTable:
    """One table of traces, ``(rois, samples)``.

    Attributes
    ----------
    name : str
        ``"raw"``, ``"dff"``, ...
    path, dataset : str
        The file, and the path inside it.
    num_samples : int
    """

    name: str
    path: str
    dataset: str
    num_samples: int


@dataclass(frozen=True, slots=True)
class TraceFile:
    """The traces in one file, all of the same ROIs.

    Attributes
    ----------
    path : str
    ids : tuple of str
        Of the ROIs: the file's, or their numbers from 0.
    has_ids : bool
        Whether the ids are the file's.
    tables : tuple of TraceTable
        None in a file that only classifies ROIs.
    values : mapping
        Properties: name to ``(values, description)``.
    is_extraction : bool
        Whether the masks are in the same file.
    """

    path: str
    ids: tuple[str, ...]
    has_ids: bool
    tables: tuple[TraceTable, ...]
    values: Mapping[str, tuple[np.ndarray, str]] = field(default_factory=dict)
    is_extraction: bool = False

    @property
    def file_name(self) -> str:
        """The file's name, for messages."""
        return printable(os.path.basename(self.path))

    @property
    def num_samples(self) -> int:
        """The samples of its traces; 0 without any."""
        return self.tables[0].num_samples if self.tables else 0


@dataclass(frozen=True, slots=True)
class Masks:
    """The pixels of all ROIs of an extraction file, sorted by ROI.

    Attributes
    ----------
    shape : tuple of int
        ``(rows, columns)``.
    offsets : numpy.ndarray
        Of the first pixel of each ROI, and the number of all pixels.
    rows, columns, weights : numpy.ndarray
    """

    shape: tuple[int, int]
    offsets: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray


def read_trace_file(path: str | os.PathLike[str]) -> TraceFile | None:
    """Return what a file contains, or None if it is not a file of these pipelines; no trace is read.

    Parameters
    ----------
    path : str or os.PathLike

    Raises
    ------
    CorruptRecordingError
        Tables and ids contradict each other, or ids are repeated.
    """
    path = os.fspath(path)
    with open_hdf5(path) as file:
        # The missing bytes would read as zeros; traces are stored one ROI after the other, so that no range of samples is whole
        lost = missing_bytes(file)
        if lost:
            raise TruncatedRecordingError(
                f"{printable(os.path.basename(path))} is truncated: it lacks {lost:,} bytes that its header states; copy it again"
            )
        tables = [TraceTable(name, path, dataset, length) for name, dataset, length in _tables_in(file, path)]
        ids = _ids_in(file, printable(os.path.basename(path)))
        is_extraction = all(is_numeric(named(file, name)) for name in ("rois/coords", "rois/data", "rois/shape"))
        count = _num_rois(file, tables, ids, path)
        if count is None:
            return None
        known = ids if ids is not None else tuple(map(str, range(count)))
        values = dict(_values_in(file, count))
        return TraceFile(path, known, ids is not None, tuple(tables), values, is_extraction)


def _tables_in(file: Any, path: str) -> Iterator[tuple[str, str, int]]:
    """Yield the name, dataset and number of samples of each table; what a table is comes from the datasets beside it."""
    if is_numeric(named(file, "traces/roi"), 2):
        names = dict(_EXTRACTED)
    elif is_numeric(named(file, "FC"), 2):
        names = {"corrected": "FC"}
    elif is_numeric(named(file, "events"), 2):
        names = {"events": "events", "denoised": "denoised"}
    elif is_numeric(named(file, "data"), 2):
        names = {_name_of_data(file, path): "data", "baseline": "baseline"}
    else:
        names = {}
    for name, dataset in names.items():
        node = named(file, dataset)
        if is_numeric(node, 2):
            yield name, dataset, int(node.shape[1])


def _name_of_data(file: Any, path: str) -> str:
    if any(named(file, name) is not None for name in ("sigma_dff", "num_small_baseline_frames", "skewness")):
        return "dff"
    # Files of raw, neuropil and demixed traces have the same datasets, and differ by their names alone
    stem = Path(path).stem.lower()
    words = {"neuropil": "neuropil", "demix": "demixed", "dff": "dff", "corrected": "corrected"}
    return next((name for word, name in words.items() if word in stem), "raw")


def read_names(node: Any, where: str) -> tuple[str, ...]:
    """Return a list of names or whole numbers in an HDF5 file as text.

    Parameters
    ----------
    node : object
        What the file has there.
    where : str
        The file and the name, for messages.

    Raises
    ------
    CorruptRecordingError
        It is not such a list.
    """
    if not hasattr(node, "shape") or node.shape is None or len(node.shape) != 1 or node.shape[0] > _MAX_NAMES:
        raise CorruptRecordingError(f"{where} is not a list of names")
    values = read_plain(node)
    if not isinstance(values, list) or not all(type(value) in (int, str) for value in values):
        raise CorruptRecordingError(f"{where} must contain text or whole numbers, got {node.dtype}")
    return tuple(str(value).strip() for value in values)


def read_plain(node: Any) -> Any:
    """Return the numbers or the text in a dataset as plain Python values; None for any other type.

    libhdf5 crashes when it reads lists of variable length whose base type is damaged, so that only text is read of those.
    """
    is_text = h5py.check_string_dtype(node.dtype) is not None
    if not is_text and (node.dtype.kind not in "biuf" or node.dtype.subdtype is not None):
        return None
    return plain(node[()])


def _ids_in(file: Any, file_name: str) -> tuple[str, ...] | None:
    node = named(file, "roi_names")
    if node is None:
        return None
    ids = read_names(node, f"{file_name}: roi_names")
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        raise CorruptRecordingError(
            f"{file_name}: roi_names contains {listed(map(printable, repeated))} more than once, so traces and "
            "masks cannot be matched"
        )
    return ids


def _num_rois(file: Any, tables: Sequence[TraceTable], ids: tuple[str, ...] | None, path: str) -> int | None:
    """Return the number of ROIs, on which all tables and the ids must agree; None if the file has neither."""
    file_name = printable(os.path.basename(path))
    lengths = {table.dataset: int(named(file, table.dataset).shape[0]) for table in tables}
    if ids is not None and tables:
        lengths["roi_names"] = len(ids)
    if len(set(lengths.values())) > 1:
        words = ", ".join(f"{name} has {counted(length, 'ROI')}" for name, length in lengths.items())
        raise CorruptRecordingError(f"{file_name} contradicts itself: {words}")
    samples = {table.dataset: table.num_samples for table in tables}
    if len(set(samples.values())) > 1:
        words = ", ".join(f"{name} has {counted(length, 'sample')}" for name, length in samples.items())
        raise CorruptRecordingError(f"{file_name} contradicts itself: {words}")
    if lengths:
        return next(iter(lengths.values()))
    classes = named(file, "soma/probabilities")
    return int(classes.shape[0]) if is_numeric(classes) and classes.shape else None


def _values_in(file: Any, count: int) -> Iterator[tuple[str, tuple[np.ndarray, str]]]:
    for dataset, (name, description) in _VALUES.items():
        node = named(file, dataset)
        if not is_numeric(node) or int(np.prod(node.shape)) != count or max(node.shape, default=0) != count:
            continue
        values = read_array(node).reshape(-1)
        yield name, (values.astype(bool) if name.startswith("is_") else values, description)
    node = named(file, "iscell")
    if is_numeric(node, 2) and node.shape == (count, 2):
        values = read_array(node)
        yield "iscell", (values[:, 0] != 0, "Whether suite2p's classifier considers the ROI a cell.")
        yield "iscell_probability", (values[:, 1], "Probability that the ROI is a cell.")


def image_names(path: str) -> tuple[str, ...]:
    """Return the names of the images in an extraction file."""
    with open_hdf5(path) as file:
        return tuple(name for name, dataset in _IMAGES.items() if is_numeric(named(file, dataset), 2))


def read_image(path: str, name: str) -> np.ndarray:
    """Return one of the images in an extraction file, ``(rows, columns)``."""
    with open_hdf5(path) as file:
        return read_array(named(file, _IMAGES[name]))


def read_frame_shape(path: str, count: int) -> tuple[int, int]:
    """Return ``(rows, columns)`` from an extraction file.

    Raises
    ------
    CorruptRecordingError
        The shape is not one, or is of another number of ROIs.
    """
    with open_hdf5(path) as file:
        node = named(file, "rois/shape")
        values = read_array(node).reshape(-1).tolist() if node.size == 3 else []
    if len(values) != 3 or not all(float(value).is_integer() and value >= 0 for value in values):
        raise CorruptRecordingError(
            f"{printable(os.path.basename(path))}: rois/shape must be the numbers of ROIs, rows and columns, got {values}"
        )
    rois, rows, columns = (int(value) for value in values)
    if rois != count:
        raise CorruptRecordingError(
            f"{printable(os.path.basename(path))} contradicts itself: rois/shape states {counted(rois, 'ROI')}, "
            f"but the traces have {counted(count, 'ROI')}"
        )
    return rows, columns


def read_masks(path: str, shape: tuple[int, int], count: int) -> Masks:
    """Return the masks of all ROIs of an extraction file.

    Raises
    ------
    CorruptRecordingError
        Coordinates and weights have different lengths, or refer to an ROI that does not exist.
    """
    file_name = printable(os.path.basename(path))
    with open_hdf5(path) as file:
        coords, weights = (named(file, f"rois/{name}") for name in ("coords", "data"))
        if weights.ndim != 1 or coords.shape != (3, weights.size):
            if coords.size or weights.size:
                raise CorruptRecordingError(
                    f"{file_name}: rois/coords has shape {coords.shape} and rois/data {weights.shape}; expected three coordinates for "
                    "each weight"
                )
            places, values = np.empty((3, 0), np.int64), np.empty(0, np.float32)
        else:
            places, values = read_array(coords), read_array(weights)
    if places.dtype.kind not in "iu":
        raise UnsupportedRecordingError(f"{file_name}: rois/coords must contain whole numbers, got {places.dtype}")
    rois = places[0]
    if rois.size and (int(rois.min()) < 0 or int(rois.max()) >= count):
        raise CorruptRecordingError(
            f"{file_name}: rois/coords has pixels of ROIs {int(rois.min())} to {int(rois.max())}, but there are {counted(count, 'ROI')}"
        )
    rois = rois.astype(np.int64)
    order = np.argsort(rois, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rois, minlength=count))]).astype(np.int64)
    return Masks(shape, offsets, places[1][order], places[2][order], values[order])

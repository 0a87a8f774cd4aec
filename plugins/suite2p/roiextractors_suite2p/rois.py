"""The content of stat.npy: the masks of ROIs and the numbers that suite2p computes for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roiextractors_core import RoiMasks
from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, counted, printable
from roiextractors_core.io import PickledArray, PositionedFile, read_npy_header, read_pickled_npy

from .folder import as_number

__all__ = ["DESCRIPTIONS", "Rois", "count_rois", "read_rois"]

DESCRIPTIONS: Mapping[str, str] = {
    "npix": "number of pixels",
    "npix_soma": "number of pixels in the soma",
    "npix_norm": "number of pixels (since suite2p 1.0 of the soma) divided by the mean (median) of all ROIs",
    "npix_norm_no_crop": "number of pixels divided by the median of all ROIs",
    "footprint": "spatial extent of the correlation with the trace; since suite2p 1.0 the number of the spatial scale",
    "radius": "radius (pixels) of a Gaussian that was fit to the mask",
    "aspect_ratio": "ratio of the axes of that Gaussian",
    "compact": "how compact the mask is; 1 is a disk, and larger numbers are less compact",
    "mrs": "mean distance of the pixels from the centre, normalised",
    "mrs0": "mean distance of the pixels of a disk from its centre, normalised",
    "skew": "skewness of the trace without neuropil",
    "std": "standard deviation of the trace without neuropil",
    "snr": "signal-to-noise ratio of the trace without neuropil",
    "iplane": "number of the plane, from 0",
    "chan2_prob": "probability that the ROI is in the second channel, too",
    "manual": "whether the ROI was drawn by hand",
    "inmerge": "number of the ROI that this one was merged into; 0 is none, -1 is a merged ROI",
}
_COORDINATES = ("ypix", "xpix")
_NUMBERS = frozenset({bool, int, float})


@dataclass(frozen=True, slots=True)
class Rois:
    """The ROIs of one folder.

    Attributes
    ----------
    masks : RoiMasks
    numbers : mapping of str to numpy.ndarray
        One value for each ROI, by the name in suite2p.
    """

    masks: RoiMasks
    numbers: Mapping[str, np.ndarray]


def count_rois(file: PositionedFile) -> int:
    """Return the number of ROIs by the header of stat.npy; the ROIs are not read.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError
        It is not a list of Python objects.
    """
    header = read_npy_header(file, allow_objects=True)
    # Without ROIs, numpy makes an array of float64 from the empty list
    if len(header.shape) != 1 or (header.dtype.kind != "O" and header.shape != (0,)):
        raise CorruptRecordingError(
            f"{file.name} has an array of {header.dtype} of shape {header.shape}; expected a list of ROIs as suite2p writes it"
        )
    # Each ROI takes more than a byte; a damaged header may claim any number
    if header.shape[0] > file.size:
        raise CorruptRecordingError(
            f"the header of {file.name} says {counted(header.shape[0], 'ROI')}, more than its {file.size:,} bytes can contain"
        )
    return header.shape[0]


def read_rois(path: Path, *, count: int, shape: tuple[int, int], include_overlap: bool = True) -> Rois:
    """Read the ROIs of a folder.

    Parameters
    ----------
    path : pathlib.Path
        A stat.npy file; it is read without unpickling.
    count : int
        How many ROIs it must contain.
    shape : tuple of int
        ``(rows, columns)`` of the frames.
    include_overlap : bool
        Whether pixels of several ROIs are part of the masks.

    Raises
    ------
    UnsupportedRecordingError
        The pickle names something that is not a plain value; it was not imported.
    CorruptRecordingError, TruncatedRecordingError
        It is not a list of this many ROIs, or an ROI has pixels outside of the frames, or weights that contradict its pixels.
    """
    name = f"{printable(path.parent.name)}/{printable(path.name)}"
    file = PositionedFile(path)
    try:
        rois = read_pickled_npy(file, num_objects=count) if count else []
        if len(rois) != count:
            raise CorruptRecordingError(
                f"{name} contains {counted(len(rois), 'ROI')}, but its header said {count:,} when it was opened; it was replaced"
            )
        for number, roi in enumerate(rois):
            if not isinstance(roi, dict):
                raise CorruptRecordingError(f"ROI {number} in {name} is not a dictionary, which suite2p writes")
        return Rois(_masks(rois, shape, name, include_overlap), _numbers(rois))
    finally:
        file.close()


def _masks(rois: Sequence[Mapping[str, Any]], shape: tuple[int, int], name: str, include_overlap: bool) -> RoiMasks:
    columns = {key: [_vector(roi, key, k, name) for k, roi in enumerate(rois)] for key in (*_COORDINATES, "lam")}
    lengths = {key: np.array([len(vector) for vector in vectors], np.int64) for key, vectors in columns.items()}
    differ = (lengths["ypix"] != lengths["xpix"]) | (lengths["ypix"] != lengths["lam"])
    if differ.any():
        k = int(differ.argmax())
        seen = ", ".join(f"{int(length[k]):,} values of {key}" for key, length in lengths.items())
        raise CorruptRecordingError(f"ROI {k} in {name} has {seen}; expected one of each for every pixel")
    offsets = np.concatenate([[0], np.cumsum(lengths["ypix"])])
    rows, columns_of = (
        _checked_places(_joined(columns[key]), offsets, key, side, name)
        for key, side in zip(_COORDINATES, shape, strict=True)
    )
    weights = _checked_weights(_joined(columns["lam"]), offsets, name)
    pixels = rows * shape[1] + columns_of
    if not include_overlap:
        return _without_overlap(rois, RoiMasks(shape, offsets, pixels, weights), name)
    return RoiMasks(shape, offsets, pixels, weights)


def _without_overlap(rois: Sequence[Mapping[str, Any]], masks: RoiMasks, name: str) -> RoiMasks:
    """Return the masks with which suite2p extracts traces: without shared pixels, the weights adding up to 1."""
    shared = [_vector(roi, "overlap", k, name) for k, roi in enumerate(rois)]
    for k, (flags, count) in enumerate(zip(shared, masks.num_pixels, strict=True)):
        if len(flags) != count:
            raise CorruptRecordingError(
                f"ROI {k} in {name} has {counted(int(count), 'pixel')} and {counted(len(flags), 'value')} of overlap"
            )
    kept = ~_joined(shared).astype(bool)
    number = np.repeat(np.arange(len(masks)), masks.num_pixels)[kept]
    weights = masks.weights[kept]
    totals = np.bincount(number, weights, len(masks))
    totals[totals == 0] = 1  # nothing to divide by
    offsets = np.concatenate([[0], np.cumsum(np.bincount(number, minlength=len(masks)))])
    normalised = (weights / totals[number]).astype(weights.dtype)
    return RoiMasks(masks.shape, offsets, masks.pixels[kept], normalised)


def _vector(roi: Mapping[str, Any], key: str, number: int, name: str) -> np.ndarray:
    value = roi.get(key)
    if isinstance(value, PickledArray) and value.dtype.kind in "biuf":
        return value.read().reshape(-1)
    if isinstance(value, list | tuple) and all(type(item) in _NUMBERS for item in value):
        return np.array(value)
    if value is None:
        advice = "; read the masks with include_overlap=True" if key == "overlap" else ""
        raise UnsupportedRecordingError(f"ROI {number} in {name} has no {key}{advice}")
    raise CorruptRecordingError(f"ROI {number} in {name} has {key} that is not an array of numbers")


def _joined(vectors: Sequence[np.ndarray]) -> np.ndarray:
    parts = [vector for vector in vectors if len(vector)]  # an empty list is of float64
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _checked_places(places: np.ndarray, offsets: np.ndarray, key: str, side: int, name: str) -> np.ndarray:
    """Return rows or columns as int64."""
    # Not after a conversion: NaN and large unsigned numbers would become other numbers
    inside = (places >= 0) & (places < side)
    if places.dtype.kind == "f":
        inside &= np.floor(places) == places
    if not inside.all():
        at = int(inside.argmin())
        raise CorruptRecordingError(
            f"ROI {_roi_of(at, offsets)} in {name} has {key} = {places[at]:g}; the frames have {side:,} "
            f"{'rows' if key == 'ypix' else 'columns'}, counted from 0"
        )
    return places.astype(np.int64)


def _checked_weights(weights: np.ndarray, offsets: np.ndarray, name: str) -> np.ndarray:
    finite = np.isfinite(weights)
    if not finite.all():
        at = int(finite.argmin())
        raise CorruptRecordingError(
            f"ROI {_roi_of(at, offsets)} in {name} has the weight (lam) {weights[at]:g}; expected finite numbers"
        )
    return weights


def _roi_of(position: int, offsets: np.ndarray) -> int:
    return int(np.searchsorted(offsets, position, side="right")) - 1


def _numbers(rois: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return the entries that are one number in each ROI; some keys are only in ROIs that were drawn or merged by hand."""
    keys = dict.fromkeys(key for roi in rois for key in roi if isinstance(key, str))
    columns = {key: _column([roi.get(key) for roi in rois], key) for key in keys}
    return {key: column for key, column in columns.items() if column is not None}


def _column(values: list[Any], key: str) -> np.ndarray | None:
    if PickledArray in set(map(type, values)):
        values = [as_number(value) if _is_single(value) else value for value in values]
    if key == "manual":
        values = [bool(value) if isinstance(value, int | float) else False for value in values]
    kinds = set(map(type, values))
    if not kinds <= _NUMBERS | {type(None)} or kinds == {type(None)}:
        return None
    if kinds == {bool}:
        return np.array(values, bool)
    if kinds <= {bool, int} and all(-(1 << 63) <= value < 1 << 63 for value in values):
        return np.array(values, np.int64)
    return np.array([math.nan if value is None else _as_float(value) for value in values], np.float64)


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf


def _is_single(value: Any) -> bool:
    return isinstance(value, PickledArray) and value.dtype.kind in "biuf" and math.prod(value.shape) == 1

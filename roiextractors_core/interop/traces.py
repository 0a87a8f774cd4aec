"""The mean of each ROI over a movie, in one pass over it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import RecordingError, UnsupportedRecordingError
from ..imaging.extractor import unshadowed
from ..segmentation.masks import RoiMasks
from .one_pass import Span, in_one_pass

__all__ = ["traces"]


def traces(
    recording: Any,
    rois: Any,
    *,
    weights: bool = True,
    overlap: bool = True,
    scheduler: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Return the mean of each ROI in every sample of a movie, read once, on all cores of this machine or on a dask cluster.

    The result is the same to the last bit wherever it is computed.

    Parameters
    ----------
    recording : ImagingExtractor
    rois : SegmentationExtractor or RoiMasks
        In frames, or volumes, of the same shape as the recording's.
    weights : bool
        Whether pixels count by their weights in the mask, divided by the sum of these; otherwise all pixels whose weight is not 0
        count the same.
    overlap : bool
        Whether pixels that belong to several of these ROIs count.
    scheduler : str or distributed.Client, optional
        The address of a running scheduler (``"tcp://..."``) or a client of one; by default, this process.
    progress : callable, optional
        ``progress(done, total)`` in groups of parts.

    Returns
    -------
    numpy.ndarray
        ``(samples, rois)``, float64. Pixels that are NaN do not count; a value is NaN if no pixel counts. Of complex pixels, the
        magnitude counts.

    Raises
    ------
    RecordingError
        The shapes differ, or the weights of an ROI add up to 0.
    UnsupportedRecordingError
        There are no masks.
    MissingDependencyError
        A scheduler is given but ``distributed`` is not installed.

    Notes
    -----
    ``F.npy`` of suite2p is the weighted mean of the pixels that suite2p marked as belonging to one ROI alone. It marked them before
    it left out some ROIs, so open its masks with ``include_overlap=False`` for the same traces.

    Examples
    --------
    >>> import numpy as np
    >>> import roiextractors_core as roi
    >>> movie = roi.NumpyImagingExtractor(np.arange(12.0).reshape(2, 2, 3))
    >>> masks = roi.RoiMasks.from_pixels((2, 3), [([0, 1], [0, 2], [1.0, 3.0])])
    >>> roi.traces(movie, masks)
    array([[3.75],
           [9.75]])
    """
    if getattr(recording, "kind", None) != "imaging" or getattr(rois, "kind", None) == "imaging":
        raise UnsupportedRecordingError(
            f"traces needs a movie and ROIs, traces(recording, rois); got {type(recording).__name__} and {type(rois).__name__}"
        )
    recording = unshadowed(recording)
    masks = _masks_of(rois)
    _require_same_shape(recording.get_sample_shape(), masks.shape)
    result = np.full((len(recording), len(masks)), np.nan)
    if not result.size:
        return result
    plan = _plan_of(masks, rois, weights=weights, overlap=overlap)
    prepare = functools.partial(_plan_there, weights=weights, overlap=overlap)
    # ROIs in files are opened again by other processes; of those in memory, the traces are not sent along
    source = masks if isinstance(rois, RoiMasks) or not rois.get_paths() else rois
    start = 0
    parts = in_one_pass(
        _means, _in_order, prepare, recording, source, prepared=plan, scheduler=scheduler, progress=progress
    )
    for part in parts:
        result[start : start + len(part)] = part
        start += len(part)
    return result


def _masks_of(rois: Any) -> RoiMasks:
    masks: RoiMasks = rois if isinstance(rois, RoiMasks) else rois.get_roi_masks()
    return masks


def _require_same_shape(frame: Sequence[int], masks: Sequence[int]) -> None:
    frame, masks = tuple(frame), tuple(masks)
    if frame == masks:
        return
    if len(frame) != len(masks):
        kinds = {2: "frames", 3: "volumes"}
        advice = "; choose one: recording.select_plane(k)" if len(frame) == 3 else ""
        raise RecordingError(f"the recording has {kinds[len(frame)]} and the ROIs are in {kinds[len(masks)]}{advice}")
    raise RecordingError(
        f"the recording has samples of {' x '.join(map(str, frame))} pixels (rows x columns{' x planes' * (len(frame) == 3)}), and "
        f"the ROIs are in {' x '.join(map(str, masks))}; both must have the same shape"
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """The pixels of all ROIs with a pixel that counts, one ROI after the other.

    Attributes
    ----------
    pixels : numpy.ndarray
        int64, into a flat sample.
    weights : numpy.ndarray
        float64, one a pixel; those of an ROI add up to 1.
    starts : numpy.ndarray
        Where each of these ROIs begins.
    columns : numpy.ndarray
        The position of each of them among all ROIs.
    num_rois : int
    """

    pixels: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    columns: np.ndarray
    num_rois: int


def _plan_there(recording: Any, rois: Any, *, weights: bool, overlap: bool) -> _Plan:
    return _plan_of(_masks_of(rois), rois, weights=weights, overlap=overlap)


def _plan_of(masks: RoiMasks, rois: Any, *, weights: bool, overlap: bool) -> _Plan:
    values = masks.weights.astype(np.float64) if weights else (masks.weights != 0).astype(np.float64)
    counts = np.ones(len(values), bool) if weights else values > 0
    if not overlap:
        _, place, times = np.unique(masks.pixels, return_inverse=True, return_counts=True)
        counts &= times[place] == 1
    pixels, values = masks.pixels[counts], values[counts]
    owner = np.repeat(np.arange(len(masks)), masks.num_pixels)[counts]
    sizes = np.bincount(owner, minlength=len(masks))
    # np.add.reduceat gives the next pixel, not 0, for an ROI without pixels
    columns = np.flatnonzero(sizes)
    sizes = sizes[columns]
    starts = np.cumsum(sizes) - sizes
    totals = np.add.reduceat(values, starts) if len(starts) else np.empty(0)
    if (totals == 0).any():
        number = int(columns[(totals == 0).argmax()])
        raise RecordingError(
            f"the weights of {_name_of(rois, number)} add up to 0, so it has no weighted mean; weights=False gives the plain mean"
        )
    return _Plan(pixels, values / np.repeat(totals, sizes), starts, columns, len(masks))


def _name_of(rois: Any, number: int) -> str:
    return f"ROI number {number}" if isinstance(rois, RoiMasks) else f"the ROI {rois.get_roi_ids()[number]!r}"


def _in_order(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(parts))


def _means(recording: Any, plan: _Plan, spans: Sequence[Span]) -> np.ndarray:
    means = np.full((spans[-1][1] - spans[0][0], plan.num_rois), np.nan)
    row = 0
    for start, end in spans:
        block = recording.get_series(start, end)
        if block.dtype.kind == "c":
            block = np.abs(block)
        # Numbers of two bytes are gathered more slowly than float64: where most pixels are needed, all are converted first
        whole = np.empty(block[0].size) if len(plan.pixels) > block[0].size // 4 else None
        values = np.empty(len(plan.pixels), block.dtype if whole is None else np.float64)
        products = np.empty(len(plan.pixels))
        # Sample by sample: its pixels and their products stay in the cache, and no block is copied as float
        for sample in block.reshape(end - start, -1):
            if len(plan.pixels):
                if whole is not None:
                    np.copyto(whole, sample)
                # With the default mode, out= is copied once more
                np.take(sample if whole is None else whole, plan.pixels, out=values, mode="clip")
                np.multiply(values, plan.weights, out=products)
                sums = np.add.reduceat(products, plan.starts)
                has_nan = block.dtype.kind == "f" and np.isnan(sums).any()
                means[row, plan.columns] = _means_without_nan(values, products, plan) if has_nan else sums
            row += 1
    return means


def _means_without_nan(values: np.ndarray, products: np.ndarray, plan: _Plan) -> np.ndarray:
    known = ~np.isnan(values)
    sums = np.add.reduceat(np.where(known, products, 0.0), plan.starts)
    totals = np.add.reduceat(np.where(known, plan.weights, 0.0), plan.starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(totals != 0, sums / totals, np.nan)

"""Reads the analyses that CaImAn saves as .hdf5: components, their traces, the background and the evaluation."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from roiextractors_hdf5.contents import named, open_hdf5
from roiextractors_hdf5.matrix import Hdf5Matrix, read_array, read_ranges, runs_of

from roiextractors_core import Background, RecordingMetadata, RoiMasks, RoiProperty, SegmentationExtractor
from roiextractors_core.errors import ChoiceError, CorruptRecordingError, RoiExtractorsWarning, printable
from roiextractors_core.io import single_file, warn

from .analysis import Analysis, ComponentMatrix, look_at, read_params

__all__ = ["CaimanSegmentationExtractor"]

_BLOCK = 32 << 20  # bytes of a large table that are read at once
_MAX_LENGTH = 1 << 40


class CaimanSegmentationExtractor(SegmentationExtractor):
    """An analysis of CaImAn: ``cnmf.save("analysis.hdf5")``.

    Parameters
    ----------
    file_path : str or os.PathLike
    dims : tuple of int, optional
        ``(rows, columns)`` or ``(rows, columns, planes)`` of the field of view, if the file does not contain it or is wrong.
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the file's (``params/data/fr``).

    Raises
    ------
    UnsupportedRecordingError
        The file is not an analysis of CaImAn, or contains no components.
    CorruptRecordingError, TruncatedRecordingError
        The file is damaged, or its parts contradict each other.

    Notes
    -----
    Pixels are counted down a column first (order F), and volumes plane after plane.

    The traces are ``"raw"`` (C + YrA), ``"dff"`` (F_dff), ``"denoised"`` (C) and ``"deconvolved"`` (S), each where the file has it.
    The background components are ``"background0"``, ``"background1"``, ..., with the traces f and the masks b.

    The image ``"correlation"`` is Cn. ``"mean"`` is not stored: it is computed as the mean over time of the movie that CaImAn models, A
    times the mean of C, plus the background (b times the mean of f, or b0 of one-photon analyses).  roiextractors gives the sum of the
    columns of b under this name, which is not in the units of the movie.

    The properties are ``is_accepted`` and ``is_rejected`` (``idx_components`` and ``idx_components_bad``; absent if the components were
    not evaluated), ``snr``, ``r_values``, ``cnn_preds``, and CaImAn's ``bl``, ``c1``, ``g``, ``neurons_sn``, ``lam`` and ``ecc``
    where they are one number a component.

    References
    ----------
    CaImAn: ``Estimates``, and ``save_dict_to_hdf5`` and ``load_CNMF``, https://github.com/flatironinstitute/CaImAn.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        dims: Sequence[int] | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._path = single_file(file_path)
        given = _checked_dims(dims)
        with open_hdf5(self._path) as file:
            self._analysis = look_at(file, given)
        self._name = printable(os.path.basename(self._path))
        self._tables: dict[str, Hdf5Matrix] = {}
        self._mean: np.ndarray | None = None
        for words in self._analysis.doubts:
            warn(words, RoiExtractorsWarning)

    def get_frame_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._analysis.dims[0], self._analysis.dims[1]

    def get_num_planes(self) -> int:
        """Return the number of planes; 1 for a planar movie."""
        return self._analysis.dims[2] if len(self._analysis.dims) == 3 else 1

    def get_roi_ids(self) -> list[str]:
        """Return ``"0"``, ``"1"``, ...: the positions of the components, as CaImAn counts them."""
        return [str(k) for k in range(self._analysis.components.columns)]

    def get_num_samples(self) -> int:
        """Return the number of samples of the traces; 0 without traces."""
        return self._analysis.num_samples

    def get_sampling_frequency(self) -> float | None:
        """Return the rate in the parameters (Hz), or None."""
        return self._analysis.rate

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        """Return the spatial components; reads only their columns."""
        return self._read_masks(self._analysis.components, roi_indices, "component")

    def get_trace_names(self) -> tuple[str, ...]:
        """Return those of ``"raw"``, ``"dff"``, ``"denoised"`` and ``"deconvolved"`` that the file contains."""
        return tuple(self._analysis.traces)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        """Return ``(samples, rois)``; reads only these samples of these components."""
        parts = [self._table(path).read(start_sample, end_sample, roi_indices) for path in self._analysis.traces[name]]
        if len(parts) == 1:
            return parts[0]
        if parts[0].dtype != parts[1].dtype:
            return np.asarray(parts[0] + parts[1])
        parts[0] += parts[1]
        return parts[0]

    def get_background(self) -> Background | None:
        """Return the background components with their masks, and their traces as ``"background"``; None without any."""
        background = self._analysis.background
        if background is None:
            return None
        every = np.arange(background.columns)
        traces = {}
        if self._analysis.background_traces:
            table = self._table(self._analysis.background_traces)
            traces["background"] = table.read(0, self._analysis.num_samples, every)
        masks = self._read_masks(background, every, "background component")
        return Background(tuple(f"background{k}" for k in every), masks, traces)

    def get_image_names(self) -> tuple[str, ...]:
        """Return ``"correlation"`` and ``"mean"``, where they are stored or can be computed; none for volumes."""
        if self.get_num_planes() > 1:
            return ()
        return (*self._analysis.images, *(("mean",) if self._has_mean() else ()))

    def get_image(self, name: str = "correlation") -> np.ndarray:
        """Return ``(rows, columns)``."""
        if name not in self.get_image_names():
            return super().get_image(name)
        if name == "mean":
            return self._mean_image()
        with open_hdf5(self._path) as file:
            return read_array(named(file, self._analysis.images[name]))

    def get_own_properties(self) -> dict[str, RoiProperty]:
        """Return the evaluation of the components, and what else is one number a component."""
        return {
            name: RoiProperty(values, description=words) for name, (values, words) in self._analysis.properties.items()
        }

    def get_metadata(self) -> RecordingMetadata:
        """Return CaImAn's version, and its parameters as ``vendor``."""
        with open_hdf5(self._path) as file:
            params = read_params(file)
        version = params.get("data", {}).get("caiman_version", "")
        return RecordingMetadata(
            software=f"CaImAn {version}".rstrip() if isinstance(version, str) else "CaImAn", vendor=params
        )

    def get_notes(self) -> tuple[str, ...]:
        """Return what was left out."""
        return self._analysis.doubts

    def close(self) -> None:
        """Release the file."""
        for table in self._tables.values():
            table.close()
        super().close()

    def _table(self, path: str) -> Hdf5Matrix:
        return self._tables.setdefault(path, Hdf5Matrix(self._path, path, rois_first=True))

    def _read_masks(self, matrix: ComponentMatrix, chosen: np.ndarray, noun: str) -> RoiMasks:
        offsets, pixels, weights = self._read_columns(matrix, chosen, noun)
        return RoiMasks.from_columns(self._analysis.dims, offsets, pixels, weights, order="F")

    def _read_columns(
        self, matrix: ComponentMatrix, chosen: np.ndarray, noun: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the columns as offsets, pixels in order F, and weights."""
        with open_hdf5(self._path) as file:
            node = named(file, matrix.path)
            read = _dense_columns if matrix.indptr is None else _sparse_columns
            offsets, pixels, weights = read(node, matrix, chosen)
        bad = ~np.isfinite(weights)
        if pixels.dtype.kind not in "iu":
            raise CorruptRecordingError(
                f"{self._name}: the pixels of the {noun}s are of type {pixels.dtype}, expected integers"
            )
        size = math.prod(self._analysis.dims)
        bad |= (pixels < 0) | (pixels >= size)
        if bad.any():
            first = int(bad.argmax())
            k = int(chosen[np.searchsorted(offsets, first, side="right") - 1])
            raise CorruptRecordingError(
                f"{self._name}: {noun} {k} has the weight {weights[first]} at pixel {pixels[first]:,}, expected a finite number at "
                f"one of the {size:,} pixels of the field of view"
            )
        return offsets, pixels.astype(np.int64, copy=False), weights

    def _has_mean(self) -> bool:
        found: Analysis = self._analysis
        has_background = bool(found.background and found.background_traces) or bool(found.baseline)
        return has_background and "denoised" in found.traces and found.num_samples > 0

    def _mean_image(self) -> np.ndarray:
        """Return the mean over time of the movie that CaImAn models."""
        if self._mean is None:
            found = self._analysis
            image = np.zeros(math.prod(found.dims))
            if found.baseline:
                with open_hdf5(self._path) as file:
                    image += read_array(named(file, found.baseline)).reshape(-1)
            elif found.background is not None:
                self._add(image, found.background, found.background_traces, "background component")
            self._add(image, found.components, found.traces["denoised"][0], "component")
            self._mean = image.reshape(found.dims, order="F")
        return self._mean.copy()

    def _add(self, image: np.ndarray, matrix: ComponentMatrix, path: str, noun: str) -> None:
        """Add each column to an image in order F, times the mean of its trace."""
        count = self._analysis.num_samples
        step = max(1, _BLOCK // (8 * count))
        for first in range(0, matrix.columns, step):
            part = np.arange(first, min(first + step, matrix.columns))
            means = self._table(path).read(0, count, part).mean(axis=0, dtype=np.float64)
            offsets, pixels, weights = self._read_columns(matrix, part, noun)
            image += np.bincount(pixels, weights * np.repeat(means, np.diff(offsets)), len(image))


def _checked_dims(dims: Any) -> tuple[int, ...] | None:
    if dims is None:
        return None
    values = list(dims) if isinstance(dims, list | tuple | np.ndarray) else []
    is_right = all(isinstance(n, int | np.integer) and not isinstance(n, bool) and 0 < n < _MAX_LENGTH for n in values)
    if len(values) not in (2, 3) or not is_right:
        raise ChoiceError(f"dims must be two or three positive integers, got {printable(repr(dims))[:60]}")
    return tuple(int(n) for n in values)


def _sparse_columns(
    group: Any, matrix: ComponentMatrix, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the chosen columns of a sparse matrix; each run of consecutive ones is one read."""
    indptr = matrix.indptr if matrix.indptr is not None else np.zeros(1, np.int64)
    counts = np.diff(indptr)[chosen]
    ranges = [(int(indptr[first]), int(indptr[last + 1])) for first, last in runs_of(chosen)]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return offsets, read_ranges(named(group, "indices"), ranges), read_ranges(named(group, "data"), ranges)


def _dense_columns(
    dataset: Any, matrix: ComponentMatrix, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values of the chosen columns that are not 0; only a part of the matrix is in memory at a time."""
    step = max(1, _BLOCK // (max(1, matrix.columns) * dataset.dtype.itemsize))
    pixels, owners, weights = [], [], []
    for start in range(0, dataset.shape[0], step):
        block = read_array(dataset, start, start + step).reshape(-1, matrix.columns)[:, chosen]
        rows, columns = np.nonzero(block)
        pixels.append(rows + start)
        owners.append(columns)
        weights.append(block[rows, columns])
    owner = _joined(owners, np.int64)
    order = np.argsort(owner, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(chosen)))]).astype(np.int64)
    return offsets, _joined(pixels, np.int64)[order], _joined(weights, np.float64)[order]


def _joined(parts: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)

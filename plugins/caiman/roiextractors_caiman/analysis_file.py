"""One analysis file of CaImAn: its components, traces and images, of which only the parts that are needed are read."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from roiextractors_hdf5.contents import named, open_hdf5
from roiextractors_hdf5.matrix import Hdf5Matrix, read_array, read_ranges, runs_of

from roiextractors_core.errors import CorruptRecordingError, printable

from .analysis import ComponentMatrix, look_at

__all__ = ["AnalysisFile"]

_BLOCK = 32 << 20  # bytes of a large table that are read at once


class AnalysisFile:
    """An analysis file, opened for each use.

    Parameters
    ----------
    path : str or os.PathLike
    dims : sequence of int, optional
        As for :func:`roiextractors_caiman.analysis.look_at`.

    Attributes
    ----------
    path, name : str
    found : Analysis
        What the file contains.
    """

    def __init__(self, path: str | os.PathLike[str], dims: Sequence[int] | None = None) -> None:
        self.path = os.fspath(path)
        self.name = printable(os.path.basename(self.path))
        with open_hdf5(self.path) as file:
            self.found = look_at(file, dims)
        self._tables: dict[str, Hdf5Matrix] = {}
        self._mean: np.ndarray | None = None

    @property
    def num_rois(self) -> int:
        """The number of components."""
        return self.found.components.columns

    @property
    def image_names(self) -> tuple[str, ...]:
        """The images that are stored or can be computed."""
        return (*self.found.images, *(("mean",) if self._has_mean() else ()))

    def table(self, path: str) -> Hdf5Matrix:
        """Return the table of traces at a path inside the file."""
        return self._tables.setdefault(path, Hdf5Matrix(self.path, path, rois_first=True))

    def read_trace(self, name: str, start: int, end: int, rois: np.ndarray) -> np.ndarray:
        """Return ``(samples, rois)``; reads only these samples of these components."""
        parts = [self.table(path).read(start, end, rois) for path in self.found.traces[name]]
        if len(parts) == 1:
            return parts[0]
        if parts[0].dtype != parts[1].dtype:
            return np.asarray(parts[0] + parts[1])
        parts[0] += parts[1]
        return parts[0]

    def read_background_traces(self) -> np.ndarray:
        """Return ``(samples, components)``."""
        background = self.found.background
        every = np.arange(background.columns if background else 0)
        return self.table(self.found.background_traces).read(0, self.found.num_samples, every)

    def read_image(self, name: str) -> np.ndarray:
        """Return one of :attr:`image_names`, in the shape of the field of view."""
        if name == "mean":
            return self.read_mean()
        with open_hdf5(self.path) as file:
            return read_array(named(file, self.found.images[name])).reshape(self.found.dims)

    def close(self) -> None:
        """Release the file; a later read opens it again."""
        for table in self._tables.values():
            table.close()

    def read_columns(
        self, matrix: ComponentMatrix, chosen: np.ndarray, noun: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the columns as offsets, pixels in order F, and weights."""
        with open_hdf5(self.path) as file:
            node = named(file, matrix.path)
            read = _dense_columns if matrix.indptr is None else _sparse_columns
            offsets, pixels, weights = read(node, matrix, chosen)
        bad = ~np.isfinite(weights)
        if pixels.dtype.kind not in "iu":
            raise CorruptRecordingError(
                f"{self.name}: the pixels of the {noun}s are of type {pixels.dtype}, expected integers"
            )
        size = math.prod(self.found.dims)
        bad |= (pixels < 0) | (pixels >= size)
        if bad.any():
            first = int(bad.argmax())
            k = int(chosen[np.searchsorted(offsets, first, side="right") - 1])
            raise CorruptRecordingError(
                f"{self.name}: {noun} {k} has the weight {weights[first]} at pixel {pixels[first]:,}, expected a finite number at "
                f"one of the {size:,} pixels of the field of view"
            )
        return offsets, pixels.astype(np.int64, copy=False), weights

    def _has_mean(self) -> bool:
        found = self.found
        has_background = bool(found.background and found.background_traces) or bool(found.baseline)
        return has_background and "denoised" in found.traces and found.num_samples > 0

    def read_mean(self) -> np.ndarray:
        """Return the mean over time of the movie that CaImAn models."""
        if self._mean is None:
            found = self.found
            image = np.zeros(math.prod(found.dims))
            if found.baseline:
                with open_hdf5(self.path) as file:
                    image += read_array(named(file, found.baseline)).reshape(-1)
            elif found.background is not None:
                self._add(image, found.background, found.background_traces, "background component")
            self._add(image, found.components, found.traces["denoised"][0], "component")
            self._mean = image.reshape(found.dims, order="F")
        return self._mean.copy()

    def _add(self, image: np.ndarray, matrix: ComponentMatrix, path: str, noun: str) -> None:
        """Add each column to an image in order F, times the mean of its trace."""
        count = self.found.num_samples
        step = max(1, _BLOCK // (8 * count))
        for first in range(0, matrix.columns, step):
            part = np.arange(first, min(first + step, matrix.columns))
            means = self.table(path).read(0, count, part).mean(axis=0, dtype=np.float64)
            offsets, pixels, weights = self.read_columns(matrix, part, noun)
            image += np.bincount(pixels, weights * np.repeat(means, np.diff(offsets)), len(image))


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

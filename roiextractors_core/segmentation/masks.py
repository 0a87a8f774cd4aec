"""The masks of ROIs: the pixels and weights of each, a dense stack only on request."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import CorruptRecordingError, DeclarationError, MissingDependencyError, counted
from ..io.indexing import resolve_index, resolve_indices

__all__ = ["RoiMasks"]


class RoiMasks:
    """The masks of ROIs, in order: the pixels and weights of each.

    Parameters
    ----------
    shape : tuple of int
        ``(rows, columns)`` of a frame, or ``(rows, columns, planes)`` of a volume.
    offsets : array-like of int
        One more than there are ROIs: ROI ``k`` has the pixels ``offsets[k]`` to ``offsets[k + 1]``, end exclusive.
    pixels : array-like of int
        Each pixel as its index in ``array.reshape(-1)`` of a frame (C order).
    weights : array-like of float, optional
        One per pixel; 1 if omitted.

    Raises
    ------
    CorruptRecordingError
        A pixel is outside the frame or appears twice in an ROI, a weight is not finite, or the lengths contradict each other; the message
        names the ROI by its position.

    Notes
    -----
    A pixel with weight 0 remains in its mask, as the file lists it. Arrays are not copied where their types fit.
    """

    __slots__ = ("offsets", "pixels", "shape", "weights")

    shape: tuple[int, ...]
    offsets: np.ndarray
    pixels: np.ndarray
    weights: np.ndarray

    def __init__(self, shape: Sequence[int], offsets: Any, pixels: Any, weights: Any = None) -> None:
        self.shape = tuple(map(int, shape))
        if len(self.shape) not in (2, 3) or min(self.shape) < 0:
            raise DeclarationError(
                f"masks need a shape of (rows, columns) or (rows, columns, planes), got {self.shape}"
            )
        self.offsets = np.asarray(offsets, np.int64)
        self.pixels = np.asarray(pixels)
        self.weights = np.ones(self.pixels.shape, np.float32) if weights is None else np.asarray(weights)
        self._check()
        if self.weights.dtype.kind != "f":
            self.weights = self.weights.astype(np.float32 if self.weights.dtype.itemsize < 4 else np.float64)
        elif not self.weights.dtype.isnative:
            self.weights = self.weights.astype(self.weights.dtype.newbyteorder("="))

    @classmethod
    def from_pixels(cls, shape: Sequence[int], masks: Iterable[Sequence[Any]]) -> RoiMasks:
        """Make masks from the coordinates of their pixels.

        Parameters
        ----------
        shape : tuple of int
            As for the class.
        masks : iterable
            For each ROI ``(rows, columns)`` or ``(rows, columns, weights)``, each an array; for volumes ``(rows, columns, planes)`` or
            ``(rows, columns, planes, weights)``.
        """
        axes = len(tuple(shape))
        pixels, weights, offsets = [], [], [0]
        for number, mask in enumerate(masks):
            columns = [np.asarray(column).reshape(-1) for column in mask]
            if len(columns) not in (axes, axes + 1) or len({len(column) for column in columns}) != 1:
                lengths = ", ".join(str(len(column)) for column in columns)
                raise CorruptRecordingError(
                    f"the mask of ROI number {number} has coordinates and weights of different lengths: {lengths}"
                )
            pixels.append(_flat(columns[:axes], tuple(shape), number))
            weights.append(columns[axes] if len(columns) > axes else np.ones(len(columns[0]), np.float32))
            offsets.append(offsets[-1] + len(columns[0]))
        return cls(shape, offsets, _joined(pixels, np.int64), _joined(weights, np.float32))

    @classmethod
    def from_dense(cls, stack: Any) -> RoiMasks:
        """Make masks from a stack ``(rows, columns[, planes], rois)``; the pixels that are not 0 are kept.

        The stack is read ROI by ROI, so it may be a dataset in a file.
        """
        shape = tuple(stack.shape)
        return cls.from_images(shape[:-1], (np.asarray(stack[..., k]) for k in range(shape[-1])))

    @classmethod
    def from_images(cls, shape: Sequence[int], images: Iterable[np.ndarray]) -> RoiMasks:
        """Make masks from one image ``(rows, columns[, planes])`` for each ROI; the pixels that are not 0 are kept."""
        pixels, weights, offsets = [], [], [0]
        for number, image in enumerate(images):
            if image.shape != tuple(shape):
                raise CorruptRecordingError(
                    f"the mask of ROI number {number} has shape {image.shape}; the frame has {tuple(shape)}"
                )
            flat = np.ascontiguousarray(image).reshape(-1)
            pixels.append(np.flatnonzero(flat))
            weights.append(flat[pixels[-1]])
            offsets.append(offsets[-1] + len(pixels[-1]))
        return cls(shape, offsets, _joined(pixels, np.int64), _joined(weights, np.float32))

    @classmethod
    def from_columns(cls, shape: Sequence[int], indptr: Any, indices: Any, data: Any, *, order: str = "C") -> RoiMasks:
        """Make masks from the columns of a sparse matrix ``(pixels, rois)``, as ``scipy.sparse.csc_matrix`` stores it.

        Parameters
        ----------
        shape : tuple of int
            As for the class.
        indptr, indices, data : array-like
            Offsets, pixels and weights.
        order : str
            How the matrix counts pixels: ``"C"``, along a row first, or ``"F"``, down a column first, as CaImAn and MATLAB do.
        """
        indices = np.asarray(indices)
        if order == "F" and indices.size and indices.dtype.kind in "iu":
            size = math.prod(shape)
            low, high = int(indices.min()), int(indices.max())
            if low < 0 or high >= size:
                raise CorruptRecordingError(
                    f"a mask has pixel {low if low < 0 else high:,} outside of the {size:,} pixels of a frame of shape {tuple(shape)}"
                )
            indices = np.ravel_multi_index(np.unravel_index(indices, tuple(shape), order="F"), tuple(shape))
        return cls(shape, indptr, indices, data)

    @classmethod
    def from_labels(cls, labels: Any) -> RoiMasks:
        """Make masks from an image of whole numbers: 0 is outside, and every other number is one ROI, in ascending order."""
        image = np.asarray(labels)
        if image.dtype.kind not in "biu":
            raise DeclarationError(f"a label image must contain whole numbers, got {image.dtype}")
        flat = image.reshape(-1)
        pixels = np.flatnonzero(flat)
        order = np.argsort(flat[pixels], kind="stable")
        _, counts = np.unique(flat[pixels], return_counts=True)
        return cls(image.shape, np.concatenate([[0], np.cumsum(counts)]), pixels[order])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the pixel list of each ROI."""
        return map(self.pixel_list, range(len(self)))

    def __getitem__(self, indices: Any) -> RoiMasks:
        """Return the masks of the ROIs at these positions, in this order; a slice or an array of int."""
        if isinstance(indices, slice):
            indices = np.arange(len(self))[indices]
        chosen = resolve_indices(indices, len(self), "ROI")
        if np.array_equal(chosen, np.arange(len(self))):
            return self
        starts, counts = self.offsets[chosen], self.num_pixels[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        # The source of each pixel: its place within its ROI, shifted to where that ROI begins
        source = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
        return RoiMasks._unchecked(self.shape, offsets, self.pixels[source], self.weights[source])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RoiMasks):
            return NotImplemented
        return self.shape == other.shape and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("offsets", "pixels", "weights")
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return f"<RoiMasks: {counted(len(self), 'ROI')} in {shape}, {counted(len(self.pixels), 'pixel')}>"

    def __reduce__(self) -> Any:
        return RoiMasks._unchecked, (self.shape, self.offsets, self.pixels, self.weights)

    @property
    def num_pixels(self) -> np.ndarray:
        """The number of pixels of each ROI, int64."""
        return np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        """The bytes of the arrays in memory."""
        return self.offsets.nbytes + self.pixels.nbytes + self.weights.nbytes

    def coordinates(self, index: int) -> tuple[np.ndarray, ...]:
        """Return ``(rows, columns[, planes])`` of the pixels of one ROI, int64."""
        part = self._part(index)
        return tuple(np.unravel_index(self.pixels[part], self.shape))

    def weights_of(self, index: int) -> np.ndarray:
        """Return the weights of the pixels of one ROI."""
        return self.weights[self._part(index)].copy()

    def pixel_list(self, index: int) -> np.ndarray:
        """Return the pixels of one ROI as ``[row, column, weight]``, for volumes ``[row, column, plane, weight]``; float64."""
        columns = [*self.coordinates(index), self.weights[self._part(index)]]
        return np.stack(columns, axis=1).astype(np.float64, copy=False)

    def image(self, index: int) -> np.ndarray:
        """Return the mask of one ROI as an array of the frame's shape, with the weights and 0 elsewhere."""
        part = self._part(index)
        flat = np.zeros(math.prod(self.shape), self.weights.dtype)
        flat[self.pixels[part]] = self.weights[part]
        return flat.reshape(self.shape)

    def to_dense(self) -> np.ndarray:
        """Return ``(rows, columns[, planes], rois)`` with the weights and 0 elsewhere: every pixel of every ROI takes memory."""
        size = math.prod(self.shape)
        dense = np.zeros((size, len(self)), self.weights.dtype)
        dense[self.pixels, np.repeat(np.arange(len(self)), self.num_pixels)] = self.weights
        return dense.reshape(*self.shape, len(self))

    def to_labels(self) -> np.ndarray:
        """Return an image, int32: 0 outside, and ``k + 1`` in ROI number ``k``; where ROIs overlap, the one with the greater weight."""
        labels = np.zeros(math.prod(self.shape), np.int32)
        number = np.repeat(np.arange(1, len(self) + 1, dtype=np.int32), self.num_pixels)
        order = np.argsort(self.weights, kind="stable")  # the last assignment of a pixel stays: the greatest weight
        labels[self.pixels[order]] = number[order]
        return labels.reshape(self.shape)

    def to_scipy(self) -> Any:
        """Return a ``scipy.sparse.csr_array`` ``(rois, pixels)``, so that ``masks.to_scipy() @ frame.reshape(-1)`` sums each ROI.

        Raises
        ------
        MissingDependencyError
            scipy is not installed.
        """
        try:
            from scipy.sparse import csr_array  # type: ignore[import-untyped,unused-ignore]
        except ImportError as error:
            raise MissingDependencyError("a sparse matrix needs scipy: python -m pip install scipy") from error
        return csr_array((self.weights, self.pixels, self.offsets), shape=(len(self), math.prod(self.shape)))

    def centers(self) -> np.ndarray:
        """Return the centre of each ROI, its pixels weighted: ``(rois, 2)`` of row and column, for volumes also the plane.

        float64; NaN for an ROI without pixels. If the weights of an ROI add up to 0, its pixels count equally.
        """
        counts, number = self.num_pixels, np.repeat(np.arange(len(self)), self.num_pixels)
        weights = np.abs(self.weights.astype(np.float64))
        totals = np.bincount(number, weights, len(self))
        weights = np.where(totals[number] > 0, weights, 1.0)
        totals = np.where(totals > 0, totals, counts)
        axes = np.unravel_index(self.pixels, self.shape)
        with np.errstate(invalid="ignore"):
            return np.stack([np.bincount(number, weights * axis, len(self)) / totals for axis in axes], axis=1)

    def _part(self, index: int) -> slice:
        number = resolve_index(index, len(self), "ROI")
        return slice(int(self.offsets[number]), int(self.offsets[number + 1]))

    @classmethod
    def _unchecked(cls, shape: tuple[int, ...], offsets: Any, pixels: Any, weights: Any) -> RoiMasks:
        masks = cls.__new__(cls)
        masks.shape, masks.offsets, masks.pixels, masks.weights = shape, offsets, pixels, weights
        return masks

    def _check(self) -> None:
        offsets, pixels, size = self.offsets, self.pixels, math.prod(self.shape)
        if offsets.ndim != 1 or len(offsets) == 0 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise CorruptRecordingError("the offsets of masks must begin with 0 and must not decrease")
        if offsets[-1] != len(pixels) or pixels.ndim != 1 or self.weights.shape != pixels.shape:
            raise CorruptRecordingError(
                f"masks of {int(offsets[-1]):,} pixels have {len(pixels):,} positions and {len(self.weights):,} weights"
            )
        if len(pixels) and pixels.dtype.kind not in "iu":
            raise CorruptRecordingError(f"the pixels of masks must be whole numbers, got {pixels.dtype}")
        if self.weights.dtype.kind not in "biuf":
            raise CorruptRecordingError(f"the weights of masks must be numbers, got {self.weights.dtype}")
        if len(pixels) == 0:
            self.pixels = np.empty(0, np.int64)
            return
        outside = (pixels < 0) | (pixels >= size)
        if outside.any():
            at = int(outside.argmax())
            raise CorruptRecordingError(
                f"the mask of ROI number {self._roi_of(at)} has pixel {int(pixels[at]):,} outside of the frame {self.shape}"
            )
        self.pixels = pixels.astype(np.int64, copy=False)  # not before: a large unsigned number would become negative
        finite = np.isfinite(self.weights)
        if not finite.all():
            at = int(finite.argmin())
            raise CorruptRecordingError(
                f"the mask of ROI number {self._roi_of(at)} has the weight {self.weights[at]}; expected a finite number"
            )
        self._check_repeats(size)

    def _check_repeats(self, size: int) -> None:
        """Refuse a pixel that appears twice in an ROI: its weight would be counted once or twice, and nobody could say which."""
        number = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        if (np.diff(self.pixels) > 0)[np.diff(number) == 0].all():  # ascending in each ROI, as most files have them
            return
        keys = np.sort(number * size + self.pixels)
        repeated = np.flatnonzero(np.diff(keys) == 0)
        if len(repeated):
            roi, pixel = divmod(int(keys[repeated[0]]), size)
            place = tuple(int(k) for k in np.unravel_index(pixel, self.shape))
            raise CorruptRecordingError(f"the mask of ROI number {roi} contains pixel {place} twice")

    def _roi_of(self, position: int) -> int:
        return int(np.searchsorted(self.offsets, position, side="right")) - 1


def _flat(coordinates: list[np.ndarray], shape: tuple[int, ...], number: int) -> np.ndarray:
    flat = np.zeros(len(coordinates[0]), np.int64)
    for axis, (values, length) in enumerate(zip(coordinates, shape, strict=True)):
        if len(values) and values.dtype.kind not in "iu":
            whole = values.astype(np.int64) if np.isfinite(values.astype(np.float64)).all() else values
            if not np.array_equal(whole, values):
                raise CorruptRecordingError(
                    f"the mask of ROI number {number} has coordinates that are not whole numbers"
                )
            values = whole
        if len(values) and (int(values.min()) < 0 or int(values.max()) >= length):
            word = ("row", "column", "plane")[axis]
            worst = int(values.min()) if int(values.min()) < 0 else int(values.max())
            raise CorruptRecordingError(
                f"the mask of ROI number {number} has {word} {worst:,}; the frame has {counted(int(length), word)}"
            )
        flat = flat * int(length) + values.astype(np.int64)
    return flat


def _joined(parts: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)

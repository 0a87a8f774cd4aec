"""What a CaImAn analysis file contains, found by looking at shapes and small values only."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from roiextractors_hdf5.contents import attributes_of, hard_links, missing_bytes, named, plain
from roiextractors_hdf5.matrix import is_numeric, read_array

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, counted, printable

__all__ = ["Analysis", "ComponentMatrix", "look_at", "read_params"]

_MAX_LENGTH = 1 << 40
_MAX_SMALL = 1 << 16  # bytes of a value in params that is kept as metadata
_MAX_PARAMETERS = 2000
_NONE = "NoneType"  # CaImAn's save writes None as this text

# As in roiextractors; the others keep their names in CaImAn
_PROPERTIES = {
    "SNR_comp": ("snr", "signal-to-noise ratio of the trace"),
    "r_values": ("r_values", "correlation of the footprint with the movie while the component is active"),
    "cnn_preds": ("cnn_preds", "probability that the footprint is a neuron, by CaImAn's network"),
    "ecc": ("ecc", "eccentricity of the footprint"),
    "bl": ("bl", "baseline of the trace"),
    "c1": ("c1", "initial calcium concentration of the trace"),
    "g": ("g", "time constant of the autoregressive model"),
    "neurons_sn": ("neurons_sn", "standard deviation of the noise of the trace"),
    "lam": ("lam", "sparsity penalty of the deconvolution"),
}


@dataclass(frozen=True, slots=True)
class ComponentMatrix:
    """Where a matrix of pixels by components is: a sparse one by its columns, or a dense dataset.

    Attributes
    ----------
    path : str
        Inside the file.
    columns : int
        The number of components.
    indptr : numpy.ndarray or None
        Where each column begins among the stored values; None for a dense dataset.
    """

    path: str
    columns: int
    indptr: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found.

    Attributes
    ----------
    dims : tuple of int
        ``(rows, columns)`` or ``(rows, columns, planes)``.
    components : ComponentMatrix
    num_samples : int
    traces : mapping
        Name to paths of the datasets, whose sum is the trace.
    background : ComponentMatrix or None
    background_traces : str
        Path of the dataset; empty without one.
    images : mapping
        Name to path.
    baseline : str
        Path of the constant background of one-photon analyses; empty without one.
    properties : mapping
        Name to values and description.
    rate : float or None
        Hz.
    doubts : tuple of str
        What was left out, for the user.
    """

    dims: tuple[int, ...]
    components: ComponentMatrix
    num_samples: int
    traces: Mapping[str, tuple[str, ...]]
    background: ComponentMatrix | None
    background_traces: str
    baseline: str
    images: Mapping[str, str]
    properties: Mapping[str, tuple[np.ndarray, str]]
    rate: float | None
    doubts: tuple[str, ...] = ()


def look_at(file: Any, dims: Sequence[int] | None = None) -> Analysis:
    """Return what an open analysis file contains.

    Parameters
    ----------
    file : h5py.File
    dims : sequence of int, optional
        The size of the field of view, for a file without it.

    Raises
    ------
    UnsupportedRecordingError
        The file is not an analysis of CaImAn, or has no components.
    CorruptRecordingError
        What it states about the number of pixels, components or samples is contradictory.
    """
    return _Look(file).analysis(dims)


class _Look:
    def __init__(self, file: Any) -> None:
        self.file, self.name = file, printable(os.path.basename(file.filename))
        self.doubts: list[str] = []
        lost = missing_bytes(file)
        if lost:
            # Missing bytes read as zeros, so that names of groups and datasets may be lost
            self.doubts.append(
                f"{self.name} is truncated: it lacks {lost:,} bytes that its header states; parts of the analysis may be missing"
            )
        estimates = named(file, "estimates")
        if not isinstance(estimates, h5py.Group):
            raise UnsupportedRecordingError(f"{self.name} is not an analysis of CaImAn: it has no group 'estimates'")

    def analysis(self, dims: Sequence[int] | None) -> Analysis:
        components = self._matrix("A")
        if components is None:
            raise UnsupportedRecordingError(
                f"{self.name} has no spatial components (estimates/A): the analysis was saved before CaImAn found any"
            )
        shape = self._dims(dims, components)
        traces, num_samples = self._traces(components.columns)
        background = self._matrix("b", optional=True)
        if background is not None:
            background = self._check_background(background, math.prod(shape))
        return Analysis(
            dims=shape,
            components=components,
            num_samples=num_samples,
            traces=traces,
            background=background,
            background_traces=self._background_traces(background, num_samples),
            baseline=self._baseline(math.prod(shape)),
            images=self._images(shape),
            properties=self._properties(components.columns),
            rate=self._rate(),
            doubts=tuple(self.doubts),
        )

    def _where(self, key: str) -> str:
        return f"{self.name}: estimates/{key}"

    def _node(self, key: str) -> Any:
        """Return an object of the estimates; None where it is missing or CaImAn's None."""
        node = named(self.file, f"estimates/{key}")
        if isinstance(node, h5py.Dataset) and (not node.shape or node.dtype.kind not in "biufS"):
            return None
        return node

    def _dims(self, given: Sequence[int] | None, components: ComponentMatrix) -> tuple[int, ...]:
        pixels = self._rows(components)
        if given is not None:
            candidates: list[Any] = [list(given)]
        else:
            candidates = [_small_value(self.file, path) for path in ("estimates/dims", "params/data/dims", "dims")]
        shapes = [shape for shape in map(_shape, candidates) if shape]
        fitting = [shape for shape in shapes if math.prod(shape) == pixels]
        if fitting:
            if len(set(fitting)) > 1:
                both = " and ".join(" x ".join(map(str, shape)) for shape in dict.fromkeys(fitting))
                self.doubts.append(
                    f"{self.name} states the size of the field of view as {both}; using the first. If the masks are "
                    "transposed, pass dims=(rows, columns)"
                )
            # A single plane of a volume is an ordinary frame
            return fitting[0][:2] if fitting[0][2:] == (1,) else fitting[0]
        if not shapes:
            raise UnsupportedRecordingError(
                f"{self.name} does not state the size of the field of view, which has {pixels:,} pixels; "
                "pass dims=(rows, columns)"
            )
        stated = " x ".join(map(str, shapes[0]))
        raise CorruptRecordingError(
            f"{self.name}: the components (estimates/A) have {pixels:,} pixels, but dims are {stated}, a "
            f"product of {math.prod(shapes[0]):,}; pass the right dims=(rows, columns)"
        )

    def _rows(self, matrix: ComponentMatrix) -> int:
        node = named(self.file, matrix.path)
        if isinstance(node, h5py.Dataset):
            return int(node.shape[0])
        return _sparse_shape(node, f"{self.name}: {matrix.path}")[0]

    def _matrix(self, key: str, *, optional: bool = False) -> ComponentMatrix | None:
        """Return a matrix of pixels by components, sparse or dense, with its structure checked."""
        node, where = self._node(key), self._where(key)
        if isinstance(node, h5py.Dataset):
            if is_numeric(node, 2):
                return ComponentMatrix(f"estimates/{key}", int(node.shape[1]))
            if is_numeric(node, 1) and optional:
                return ComponentMatrix(f"estimates/{key}", 1) if node.shape[0] else None
            raise CorruptRecordingError(
                f"{where} has the shape {node.shape} and type {node.dtype}, expected numbers of pixels by components"
            )
        if not isinstance(node, h5py.Group):
            return None
        _, columns = _sparse_shape(node, where)
        return ComponentMatrix(f"estimates/{key}", columns, _indptr(node, columns, where))

    def _check_background(self, background: ComponentMatrix, pixels: int) -> ComponentMatrix | None:
        rows = self._rows(background)
        if rows == pixels:
            return background
        self.doubts.append(
            f"{self.name}: the background (estimates/b) has {rows:,} pixels, expected {pixels:,}; it is left out"
        )
        return None

    def _background_traces(self, background: ComponentMatrix | None, num_samples: int) -> str:
        node = self._node("f")
        if background is None or not is_numeric(node, 2):
            return ""
        if tuple(node.shape) == (background.columns, num_samples):
            return "estimates/f"
        self.doubts.append(
            f"{self.name}: the traces of the background (estimates/f) have the shape {node.shape}, expected "
            f"{(background.columns, num_samples)}; they are left out"
        )
        return ""

    def _baseline(self, pixels: int) -> str:
        node = self._node("b0")
        return "estimates/b0" if is_numeric(node) and math.prod(node.shape) == pixels else ""

    def _traces(self, num_rois: int) -> tuple[dict[str, tuple[str, ...]], int]:
        """Return the traces that fit the components; a table C that does not is an error, another one a warning."""
        shapes: dict[str, tuple[int, ...]] = {}
        for key in ("C", "YrA", "F_dff", "S"):
            node = self._node(key)
            if isinstance(node, h5py.Group):
                self.doubts.append(f"{self._where(key)} is a sparse matrix, expected a dense one; it is left out")
            if not is_numeric(node) or node.shape == (0,):
                continue
            shapes[key] = tuple(map(int, node.shape))
        lengths = [shape[1] for shape in shapes.values() if len(shape) == 2]
        samples = lengths[0] if lengths else 0
        for key in list(shapes):
            if shapes[key] == (num_rois, samples):
                continue
            words = f"{self._where(key)} has the shape {shapes.pop(key)}, expected {num_rois} components by {counted(samples, 'sample')}"
            if key == "C":
                raise CorruptRecordingError(f"{words}: A and C are not from the same analysis, or the file is damaged")
            self.doubts.append(f"{words}; it is left out")
        names = {"raw": ("C", "YrA"), "dff": ("F_dff",), "denoised": ("C",), "deconvolved": ("S",)}
        found = {
            name: tuple(f"estimates/{key}" for key in keys) for name, keys in names.items() if set(keys) <= set(shapes)
        }
        return found, samples if found else 0

    def _images(self, dims: tuple[int, ...]) -> dict[str, str]:
        node = self._node("Cn")
        if not is_numeric(node):
            return {}
        if tuple(node.shape) in (dims, (*dims, 1)):  # of a volume with a single plane
            return {"correlation": "estimates/Cn"}
        self.doubts.append(
            f"{self.name}: the correlation image (estimates/Cn) has the shape {node.shape}, expected {dims}; it is left out"
        )
        return {}

    def _properties(self, num_rois: int) -> dict[str, tuple[np.ndarray, str]]:
        found: dict[str, tuple[np.ndarray, str]] = {}
        for key, name, words in (
            ("idx_components", "is_accepted", "accepted by CaImAn's evaluation of the components (idx_components)"),
            ("idx_components_bad", "is_rejected", "rejected by CaImAn's evaluation (idx_components_bad)"),
        ):
            chosen = self._chosen(key, num_rois)
            if chosen is not None:
                found[name] = (chosen, words)
        for key, (name, words) in _PROPERTIES.items():
            values = self._per_roi(key, num_rois)
            if values is not None:
                found[name] = (values, words)
        return found

    def _chosen(self, key: str, num_rois: int) -> np.ndarray | None:
        node = self._node(key)
        if not is_numeric(node, 1):
            return None
        indices = read_array(node)
        # An empty list is saved as an array of float64
        if len(indices) and (not _are_integers(indices) or indices.min() < 0 or indices.max() >= num_rois):
            self.doubts.append(
                f"{self._where(key)} contains values that are not indices of the {num_rois} components; it is left out"
            )
            return None
        chosen = np.zeros(num_rois, bool)
        chosen[indices.astype(np.int64)] = True
        return chosen

    def _per_roi(self, key: str, num_rois: int) -> np.ndarray | None:
        node = self._node(key)
        if not isinstance(node, h5py.Dataset) or node.shape not in ((num_rois,), (num_rois, 1)) or not num_rois:
            return None
        if node.dtype.kind == "S":
            return _parse_numbers(node[()]) if node.nbytes <= 64 * num_rois and not node.external else None
        return read_array(node).reshape(num_rois)

    def _rate(self) -> float | None:
        value = _small_value(self.file, "params/data/fr")
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if 0 < value < math.inf else None


def read_params(file: Any) -> dict[str, Any]:
    """Return the parameters of an open analysis file by their groups, as plain values.

    Parameters
    ----------
    file : h5py.File
    """
    params = named(file, "params")
    found: dict[str, Any] = {}
    left = _MAX_PARAMETERS
    for key in hard_links(params, 100) if isinstance(params, h5py.Group) else []:
        group = params[key]
        if isinstance(group, h5py.Group):
            values = attributes_of(group)
            for item in hard_links(group, left):
                values[printable(item.decode("utf-8", "replace"))] = _plain_value(group[item])
            left -= len(values)
            name = printable(key.decode("utf-8", "replace"))
            found[name] = {label: value for label, value in values.items() if value is not None and value != _NONE}
    return found


def _small_value(file: Any, path: str) -> Any:
    """Return a small value as a plain one; None where it is missing, large, or CaImAn's None."""
    parent, _, key = path.rpartition("/")
    found = _plain_value(named(file, path))
    if found is None:
        # Since version 1.9.9, strings are attributes of the group
        group = named(file, parent or "/")
        found = attributes_of(group).get(key) if isinstance(group, h5py.Group) else None
    return None if isinstance(found, str) and found == _NONE else found


def _plain_value(node: Any) -> Any:
    if not isinstance(node, h5py.Dataset) or node.shape is None or node.nbytes > _MAX_SMALL:
        return None
    return None if node.external or node.is_virtual else plain(np.asarray(node[()]))


def _shape(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list | tuple) or len(value) not in (2, 3):
        return None
    # A file may state whole numbers as floats
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and 0 < n < _MAX_LENGTH for n in value):
        return None
    return tuple(int(n) for n in value) if all(n == int(n) for n in value) else None


def _sparse_shape(group: Any, where: str) -> tuple[int, int]:
    parts = {key: named(group, key) for key in ("data", "indices", "indptr", "shape")}
    missing = [key for key, node in parts.items() if not is_numeric(node, 1)]
    if missing:
        raise CorruptRecordingError(
            f"{where} is not a sparse matrix: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing or "
            "not a list of numbers"
        )
    shape = parts["shape"]
    values = read_array(shape).tolist() if shape.shape == (2,) else []
    if len(values) != 2 or not all(0 <= n < _MAX_LENGTH and n == int(n) for n in values):
        raise CorruptRecordingError(f"{where}/shape is {values}, expected the numbers of pixels and components")
    return int(values[0]), int(values[1])


def _indptr(group: Any, columns: int, where: str) -> np.ndarray:
    """Return where each column begins, after a check that the columns follow each other within the stored values."""
    node, stored = named(group, "indptr"), int(named(group, "data").shape[0])
    if int(node.shape[0]) != columns + 1:
        raise CorruptRecordingError(
            f"{where}/indptr has {node.shape[0]:,} values, expected one more than the {columns:,} components"
        )
    if int(named(group, "indices").shape[0]) != stored:
        raise CorruptRecordingError(
            f"{where} has {counted(stored, 'value')} but {named(group, 'indices').shape[0]:,} indices of pixels; the file is damaged"
        )
    indptr = read_array(node)
    if not _are_integers(indptr):
        raise CorruptRecordingError(f"{where}/indptr contains numbers that are not integers")
    indptr = indptr.astype(np.int64)
    if indptr[0] != 0 or indptr[-1] != stored or (np.diff(indptr) < 0).any():
        raise CorruptRecordingError(
            f"{where}/indptr must increase from 0 to the number of values ({stored:,}), got {indptr[0]:,} to "
            f"{indptr[-1]:,}{', with decreases' if (np.diff(indptr) < 0).any() else ''}; the file is damaged"
        )
    return indptr


def _are_integers(values: np.ndarray) -> bool:
    return values.dtype.kind in "biu" or bool(np.isfinite(values).all() and (values == np.floor(values)).all())


def _parse_numbers(values: np.ndarray) -> np.ndarray | None:
    """Return numbers that CaImAn saved as text, which it does for lists of single-element arrays; None if some are not."""
    try:
        return np.array([float(text.strip(b"\0 []")) for text in values.ravel().tolist()])
    except ValueError:
        return None

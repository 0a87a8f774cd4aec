"""What the two kinds of MATLAB files have in common: named values, of which parts are read."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, printable
from roiextractors_core.io import PositionedFile

__all__ = [
    "MAX_PIXELS",
    "Columns",
    "MatFile",
    "MatValue",
    "MatView",
    "check_sparse",
    "gather_images",
    "open_heads",
    "open_mat",
]

MAX_PIXELS = 1 << 40
"""Of a frame; more is damage."""


@dataclass(frozen=True, slots=True)
class MatValue:
    """A value in a MATLAB file, without its content.

    Attributes
    ----------
    path : str
        Variable and fields: ``"output/info/version"``.
    kind : str
        ``"numbers"``, ``"sparse"``, ``"text"``, ``"struct"``, ``"object"`` or ``"other"``.
    shape : tuple of int
        As in MATLAB.
    class_name : str
        Of an object: ``"Sources2D"``.
    """

    path: str
    kind: str
    shape: tuple[int, ...] = ()
    class_name: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it has no elements, as ``[]``."""
        return 0 in self.shape

    def is_table(self, num_dims: int = 2) -> bool:
        """Whether it is a full array of numbers with so many dimensions; MATLAB drops dimensions of length 1 at the end."""
        return self.kind == "numbers" and 2 <= len(self.shape) <= max(2, num_dims)


class Columns(NamedTuple):
    """The masks of some ROIs: ``offsets`` of each, and the ``pixels`` and ``weights`` that are stored or not 0."""

    offsets: np.ndarray
    pixels: np.ndarray
    weights: np.ndarray


class MatView(ABC):
    """A MATLAB file while it is open."""

    name: str
    num_missing: int = 0
    """How many bytes the file is shorter than it states, where it can be read in spite of that."""

    @abstractmethod
    def value(self, path: str) -> MatValue | None:
        """Return what is at a path; None if nothing is."""

    @abstractmethod
    def fields(self, path: str) -> tuple[str, ...]:
        """Return the names of a structure's fields, or of the variables for an empty path."""

    @abstractmethod
    def text(self, path: str) -> str:
        """Return a row of characters; an empty string if there is none."""

    @abstractmethod
    def numbers(self, path: str) -> np.ndarray:
        """Return a full array of numbers as a whole, in MATLAB's shape."""

    def scalar(self, path: str) -> float | None:
        """Return a single number; None if there is none."""
        value = self.value(path)
        if value is None or value.kind != "numbers" or any(n != 1 for n in value.shape):
            return None
        return float(self.numbers(path).reshape(-1)[0])

    @abstractmethod
    def columns(self, path: str, chosen: np.ndarray) -> Columns:
        """Return columns of a matrix, sparse or full; pixels count down the column."""

    @abstractmethod
    def images(self, path: str, chosen: np.ndarray, *, rois_axis: int) -> Columns:
        """Return images of a stack with the ROIs on one axis, the first or the last; pixels count along a row first."""


class MatFile(ABC):
    """A MATLAB file, opened for each use."""

    @abstractmethod
    def open_view(self) -> AbstractContextManager[MatView]:
        """Open the file for as long as the block lasts."""

    @abstractmethod
    def table(self, path: str, start: int, end: int, rois: np.ndarray, *, rois_first: bool) -> np.ndarray:
        """Return ``(samples, rois)`` of a table of traces, full or sparse.

        Parameters
        ----------
        path : str
        start, end : int
            Samples; the end is exclusive.
        rois : numpy.ndarray
            Indices.
        rois_first : bool
            Whether the table is ``(rois, samples)`` in MATLAB; otherwise ``(samples, rois)``.
        """

    def close(self) -> None:
        """Release the file."""
        return None


def open_mat(path: str | os.PathLike[str], variables: frozenset[str]) -> MatFile:
    """Open a MATLAB file of version 5 to 7.3.

    Parameters
    ----------
    path : str or os.PathLike
    variables : frozenset of str
        The variables that matter; an empty string among them means all that are not structures.

    Raises
    ------
    UnsupportedRecordingError
        It is not such a file.
    TruncatedRecordingError, CorruptRecordingError
        It is truncated or damaged.
    """
    file = PositionedFile(path)
    head = file.read(0, min(128, file.size))
    if head.startswith(b"MATLAB 5.0"):
        from .mat5 import Mat5File

        return Mat5File(path, variables)
    if head.startswith(b"MATLAB 7.3") or head.startswith(b"\x89HDF\r\n\x1a\n"):
        from .mat73 import Mat73File

        return Mat73File(path)
    raise UnsupportedRecordingError(
        f"{file.name} is not a MATLAB 5 to 7.3 file: it begins with {printable(repr(head[:16]))}"
    )


def open_heads(path: str | os.PathLike[str]) -> AbstractContextManager[MatView]:
    """Open a MATLAB file to see its variables and their fields; values need not be there.

    Parameters
    ----------
    path : str or os.PathLike

    Raises
    ------
    UnsupportedRecordingError, TruncatedRecordingError, CorruptRecordingError
        As for :func:`open_mat`.
    """
    file = PositionedFile(path)
    if file.read(0, min(128, file.size)).startswith(b"MATLAB 5.0"):
        from .mat5 import Mat5File

        return Mat5File(path, None).open_view()
    return open_mat(path, frozenset()).open_view()


def gather_images(images: Iterable[np.ndarray]) -> Columns:
    """Return the pixels of images, or of vectors, that are not 0."""
    pixels, weights, counts = [], [], []
    for image in images:
        flat = np.ascontiguousarray(image).reshape(-1)
        at = np.flatnonzero(flat)
        pixels.append(at)
        weights.append(flat[at])
        counts.append(len(at))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Columns(offsets, _joined(pixels, np.int64), _joined(weights, np.float64))


def _joined(parts: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def check_sparse(indptr: np.ndarray, stored: int, where: str) -> np.ndarray:
    """Return where the columns of a sparse matrix begin, as int64, after a check that they follow each other."""
    whole = indptr.astype(np.int64)
    steps = np.diff(whole)
    if whole[0] != 0 or (steps < 0).any() or whole[-1] > stored:
        raise CorruptRecordingError(
            f"{where} is not a sparse matrix: its columns must begin at increasing positions from 0 to at most {stored:,}, "
            f"got {whole[0]:,} to {whole[-1]:,}{', with decreases' if (steps < 0).any() else ''}; the file is damaged"
        )
    return whole

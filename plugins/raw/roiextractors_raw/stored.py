"""An uncompressed movie in one file, with its axes in any order."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from roiextractors_core import BlockImagingExtractor
from roiextractors_core.errors import RoiExtractorsWarning, counted
from roiextractors_core.io import (
    PositionedFile,
    StoredArray,
    StoredFrames,
    missing_samples,
    num_cores,
    run_on_cores,
    warn,
)

__all__ = ["StoredMovie", "StoredMovieExtractor"]

_PARALLEL_BYTES = 16 << 20  # below this, starting threads costs more than it gains
_MIN_TAIL = 4  # samples
_MIN_PIECE, _MAX_PIECE = 128 << 10, 4 << 20  # bytes of one read of time courses, where most of them are needed


class StoredMovie:
    """An array of time, rows, columns and optionally planes in one file, read in parts.

    If time varies slower than two other axes, frames are read one by one.  If it varies faster, the pixels of a frame are
    scattered over the whole file, and reading one frame reads much more than its bytes.

    Parameters
    ----------
    file : PositionedFile
    axes : str
        T (time), Y (rows), X (columns) and optionally Z (planes), in the order of the file, the slowest first.
    shape : tuple of int
        The lengths of the axes, in the same order.
    dtype : numpy.dtype
        As in the file, with its byte order.
    offset : int
        The byte at which the array begins.
    """

    def __init__(
        self, file: PositionedFile, *, axes: str, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int = 0
    ) -> None:
        self.file = file
        self.axes = axes
        self.stored_shape = shape
        self.dtype = dtype
        self.offset = offset
        self._lengths = dict(zip(axes, shape, strict=True))
        self._shape = tuple(self._lengths[axis] for axis in "TYXZ" if axis in self._lengths)
        self._time = axes.index("T")
        self._inner = shape[self._time + 1 :]
        self._array = StoredArray(file, shape=shape, dtype=dtype, offset=offset)
        self._frames = StoredFrames((file,), shape=self._inner, dtype=dtype)

    @property
    def is_volumetric(self) -> bool:
        """Whether there are planes."""
        return "Z" in self.axes

    @property
    def shape(self) -> tuple[int, ...]:
        """``(samples, rows, columns)`` or ``(samples, rows, columns, planes)``."""
        return self._shape

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.stored_shape) * self.dtype.itemsize

    @property
    def line_if_transposed(self) -> int:
        """The pixels of a line in the file, if rows and columns are exchanged."""
        return self._inner[-2]

    def count_written(self) -> int:
        """Return how many samples come before zeros at the end of the file; all unless the file is frame after frame."""
        count = self._lengths["T"]
        return (
            self._frames.count_written(count, offset=self.offset) if self._time == 0 and len(self._inner) > 1 else count
        )

    def looks_transposed(self) -> bool:
        """Return whether the pixels of the first, middle and last frame show that rows and columns are exchanged.

        Of volumes, the first plane is compared, where each plane is stored as a whole.
        """
        count = self._lengths["T"]
        if self._time or not (len(self._inner) == 2 or self.axes[1] == "Z"):
            return False
        frames = sorted({0, count // 2, count - 1})
        first = StoredFrames((self.file,), shape=self._inner[-2:], dtype=self.dtype)
        return first.looks_transposed([self.offset + k * self._frames.frame_bytes for k in frames])

    def count_empty_courses(self) -> tuple[int, int]:
        """Return how many pixels at the end of the file are 0 at every time though they seem never written, and the pixels in all.

        Where time varies fast, a file that was not completely written lacks pixels and not samples.  Pixels of 0 may also be a
        dark border: they count where the zeros begin in the middle of a time course, or are a quarter of all pixels.
        """
        per_block = math.prod(self._inner)
        step = self._lengths["T"] * per_block * self.dtype.itemsize
        blocks = math.prod(self.stored_shape[: self._time])
        if not self._time:
            return 0, blocks * per_block
        last = self.file.end_of_data(self.offset, self.offset + blocks * step)
        written, begun = divmod(last - self.offset, step)
        empty = blocks - written - (begun > 0)
        if last == self.offset or empty < 1:
            return 0, blocks * per_block
        course = np.frombuffer(
            self.file.read(self.offset + written * step, begun // self.dtype.itemsize * self.dtype.itemsize), self.dtype
        )
        zeros = np.diff(np.flatnonzero(np.concatenate(([True], course != 0, [True]))))
        tail = (step - begun) // self.dtype.itemsize
        is_cut = begun > 0 and tail > 4 * max(_MIN_TAIL, int(zeros.max(initial=0)))
        return (empty * per_block if is_cut or 4 * empty >= blocks else 0), blocks * per_block

    def read(
        self,
        samples: slice | np.ndarray = slice(None),
        rows: slice = slice(None),
        columns: slice = slice(None),
        planes: slice | None = None,
    ) -> np.ndarray:
        """Return a part of the movie.

        Parameters
        ----------
        samples : slice or numpy.ndarray
            With step 1, or int64 indices in any order.
        rows, columns, planes : slice
            With step 1; None for all planes.

        Returns
        -------
        numpy.ndarray
            ``(samples, rows, columns[, planes])`` in native byte order, owned by the caller; its memory is in the file's order.

        Raises
        ------
        TruncatedRecordingError
            The file ends before the part does.
        """
        if self.axes == "TYX":  # nearly always, and single frames of small movies spend their time in what follows
            places = self.offset + _as_indices(_within(samples, self._shape[0])) * self._frames.frame_bytes
            return self._frames.read(places, rows, columns)
        given: Mapping[str, Any] = {"T": samples, "Y": rows, "X": columns, "Z": planes or slice(None)}
        wanted = {axis: _within(given[axis], length) for axis, length in self._lengths.items()}
        found = self._read_frames(wanted) if len(self._inner) > 1 else self._read_courses(wanted)
        return found.transpose([self.axes.index(axis) for axis in "TYXZ" if axis in self.axes])

    def close(self) -> None:
        """Release the file."""
        self.file.close()

    def _read_frames(self, wanted: Mapping[str, Any]) -> np.ndarray:
        """Read frames in the order of the file; at most one axis is slower than time."""
        times = _as_indices(wanted["T"])
        outer = _as_indices(wanted[self.axes[0]]) if self._time else np.zeros(1, np.int64)
        inner = [wanted[axis] for axis in self.axes[self._time + 1 :]]
        frames = self._frames
        places = self.offset + (outer[:, None] * self._lengths["T"] + times) * frames.frame_bytes
        found = frames.read(places.ravel(), inner[0], inner[1])
        if len(inner) > 2 and found.shape[3] != _length(inner[2]):
            found = np.ascontiguousarray(found[..., inner[2]])  # a view would keep all planes in memory
        leading = (len(outer), len(times)) if self._time else (len(times),)
        return found.reshape(*leading, *found.shape[1:])

    def _read_courses(self, wanted: Mapping[str, Any]) -> np.ndarray:
        """Read where time varies fastest, or faster than all axes but one."""
        part = tuple(wanted[axis] for axis in self.axes)
        if not self._is_dense(part):
            return self._array.read(part)
        result = np.empty([_length(p) for p in part], self.dtype.newbyteorder("="))
        if result.size:
            self._read_lines(part, result)
        return result

    def _is_dense(self, part: tuple[Any, ...]) -> bool:
        """Whether one long read of complete time courses is faster than many reads of their parts."""
        whole = all(_length(p) == n for p, n in zip(part[1:-1], self.stored_shape[1:-1], strict=True))
        if self._inner or not whole:
            return False
        return 2 * _length(part[-1]) >= self.stored_shape[-1]

    def _read_lines(self, part: tuple[Any, ...], result: np.ndarray) -> None:
        """Read complete time courses, and keep the requested samples of each."""
        length, chosen = self.stored_shape[-1], part[-1]
        step = length * self.dtype.itemsize
        courses = math.prod(
            self.stored_shape[1:-1]
        )  # per index of the first axis; _is_dense made sure that all are requested
        start = self.offset + part[0].start * courses * step
        # Complete courses in native order need no copy between file and result
        if isinstance(chosen, slice) and _length(chosen) == length and self.dtype.isnative:
            self.file.read_array_into(result, start)
            return
        lines = result.reshape(-1, result.shape[-1])

        def read(first: int, end: int) -> None:
            block = np.empty((end - first, length), self.dtype)
            self.file.read_into([block], start + first * step)
            lines[first:end] = block[:, chosen]

        piece = min(max(_MIN_PIECE, result.nbytes), _MAX_PIECE)
        _on_cores(read, len(lines), result.nbytes, most=max(1, piece // step))


class StoredMovieExtractor(BlockImagingExtractor):
    """A recording that is a :class:`StoredMovie`; the extractor of a format inherits it and passes the movie.

    Parameters
    ----------
    movie : StoredMovie
    sampling_frequency : float, optional
        Samples a second (Hz), from the user.
    described_by : sequence of str
        The movie's path and those of the files that describe it, where several files are one recording.
    num_described : int
        The samples that these files count; those that the movie does not have are missing.
    """

    def __init__(
        self,
        movie: StoredMovie,
        *,
        sampling_frequency: float | None = None,
        described_by: Sequence[str] = (),
        num_described: int = 0,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._num_described = num_described
        self._num_written: int | None = None
        self._movie = movie
        self._described_by = tuple(described_by)
        self.is_volumetric = movie.is_volumetric

    def get_image_shape(self) -> tuple[int, int]:
        shape = self._movie.shape
        return shape[1], shape[2]

    def get_num_samples(self) -> int:
        return self._movie.shape[0]

    def get_num_planes(self) -> int:
        return self._movie.shape[3] if self._movie.is_volumetric else 1

    def get_dtype(self) -> np.dtype[Any]:
        return self._movie.dtype.newbyteorder("=")

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        return self._movie.read(samples, rows, columns, planes)

    keeps_missing_samples = False

    def note_contradictions(self, *, fix: str) -> tuple[str, ...]:
        """Warn of zeros at the end of the movie, and of rows and columns that seem to be exchanged, and return the sentences.

        Zeros may be data, so that they stay in the recording; they count as missing.

        Parameters
        ----------
        fix : str
            What to do where rows and columns are exchanged.
        """
        movie, name = self._movie, self._movie.file.name
        count, (rows, columns), sentences = movie.shape[0], movie.shape[1:3], []
        self._num_written = movie.count_written()
        if self._num_written < count:
            self.keeps_missing_samples = True
            sentences.append(
                f"{name} ends in zeros: after the first {self._num_written:,} of {count:,} samples, every pixel "
                "is 0. If the recording was interrupted, these samples were never written"
            )
            warn(sentences[-1])
        empty, pixels = movie.count_empty_courses()
        if empty:
            sentences.append(
                f"{name} ends in zeros: {empty:,} of {pixels:,} pixels are 0 in all samples. If the file was not completely written, their "
                "values are missing"
            )
            warn(sentences[-1])
        if movie.looks_transposed():
            sentences.append(
                f"the pixels of {name} look like lines of {movie.line_if_transposed:,}, but they are read as {counted(rows, 'row')} of {columns:,} columns; "
                f"if rows and columns are swapped, {fix}"
            )
            warn(sentences[-1], RoiExtractorsWarning)
        return tuple(sentences)

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples that are described and not in the movie, or were never written."""
        count = self.get_num_samples()
        if self._num_written is not None and self._num_written < count:
            return np.arange(self._num_written, count, dtype=np.int64)
        return missing_samples(self._num_described, count)

    def get_paths(self) -> tuple[str, ...]:
        """Return the movie, and the files that describe it."""
        return tuple(dict.fromkeys([*super().get_paths(), *map(os.path.abspath, self._described_by)]))

    def close(self) -> None:
        self._movie.close()
        super().close()


def _within(wanted: slice | np.ndarray, length: int) -> slice | np.ndarray:
    """Fill in the bounds of a slice; consecutive indices become a slice."""
    if isinstance(wanted, slice):
        start, stop, _ = wanted.indices(length)
        return slice(start, max(start, stop))
    if len(wanted) and (np.diff(wanted) == 1).all():
        return slice(int(wanted[0]), int(wanted[-1]) + 1)
    return wanted


def _as_indices(wanted: slice | np.ndarray) -> np.ndarray:
    return np.arange(wanted.start, wanted.stop, dtype=np.int64) if isinstance(wanted, slice) else wanted


def _length(wanted: slice | np.ndarray) -> int:
    return int(wanted.stop - wanted.start) if isinstance(wanted, slice) else len(wanted)


def _on_cores(work: Callable[[int, int], None], count: int, nbytes: int, *, most: int) -> None:
    """Share the work out over the cores, in runs of at most ``most``; small reads use one core."""
    cores = num_cores() if nbytes >= _PARALLEL_BYTES else 1
    marks = [count * k // cores for k in range(cores + 1)]

    def share(start: int, stop: int) -> Callable[[], None]:
        def run() -> None:
            for first in range(start, stop, most):
                work(first, min(first + most, stop))

        return run

    run_on_cores([share(a, b) for a, b in itertools.pairwise(marks) if a < b])

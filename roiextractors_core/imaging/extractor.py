"""The base classes of all recordings, and their lazy view."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..cards import recording_card
from ..errors import DeclarationError, RangeError, RoiExtractorsError, counted
from ..extractor import (
    Completion,
    Extractor,
    ExtractorView,
    Overridable,
    clock_of,
    is_view,
    rate_in_words,
    timing_in_words,
)
from ..io.arithmetic import ArrayOperators, part_of, result_dtype
from ..io.blocks import read_cropped, read_scattered
from ..io.indexing import plan_index, resolve_bounds, resolve_index, resolve_indices, resolve_span
from ..io.units import amount
from ..metadata import Provenance, RecordingMetadata
from .authored import ASKING, COMPLETIONS, owned

__all__ = ["BlockImagingExtractor", "ImagingExtractor", "ImagingView", "Samples", "clock_of", "dtype_of", "unshadowed"]

Samples = slice | np.ndarray


class _AskedAgainError(BaseException):
    """An author's method asks what it is being asked; no ``except Exception`` of theirs may catch it."""


def shape_of(extractor: ImagingExtractor) -> tuple[int, ...]:
    """``(samples, rows, columns)`` or ``(samples, rows, columns, planes)``."""
    return (int(extractor.get_num_samples()), *extractor.get_sample_shape())


def dtype_of(extractor: ImagingExtractor) -> np.dtype[Any]:
    """The dtype of the samples, in native byte order."""
    asking, question = ASKING.get(), (id(extractor), "dtype")
    if question in asking:  # an author's get_dtype that returns self.dtype
        return ImagingExtractor.get_dtype(extractor)
    token = ASKING.set((*asking, question))
    try:
        dtype = np.dtype(extractor.get_dtype())
        return dtype if dtype.isnative else dtype.newbyteorder("=")
    finally:
        ASKING.reset(token)


class ImagingExtractor(ArrayOperators, Extractor, is_base=True):
    """One channel of one recording, with all of its planes.

    Authors of formats write :meth:`get_image_shape`, :meth:`get_num_samples` and :meth:`get_series`.
    Where the format has more to say, they override :meth:`get_sampling_frequency`,
    :meth:`get_native_timestamps`, :meth:`get_dtype`, :meth:`get_num_planes` (with
    ``self.is_volumetric = True``), :meth:`get_metadata`. If the format can be read in parts, inherit :class:`BlockImagingExtractor` instead.

    Arrays are ``(samples, rows, columns)``; volumetric ``(samples, rows, columns, planes)``.  The end of a
    range is exclusive, None means the whole and 0 means zero.  Results belong to the caller: writable,
    native byte order, independent of later reads.

    It behaves like an array: ``shape``, ``dtype``, ``len``, ``numpy.asarray``, numpy's indexing.  It pickles
    as the arguments of its constructor and the times that the user set, without pixels, and opens again.

    Parameters
    ----------
    sampling_frequency : float, optional
        Samples per second (Hz); takes precedence over the file.
    """

    kind = "imaging"

    __volumetric: bool | None = None
    _reads_blocks = False

    @classmethod
    def _completions(cls) -> Mapping[str, Completion]:
        # The methods of a class that reads blocks get checked arguments already, and promise that results are their caller's
        left_out = ("get_series", "get_samples") if cls._reads_blocks else ()
        own = {name: complete for name, complete in COMPLETIONS.items() if name not in left_out}
        return {**super()._completions(), **own}

    def _contents_in_words(self) -> str:
        return f"{dtype_of(self)} of shape {shape_of(self)}"

    # Written by authors of formats

    @abstractmethod
    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)`` of one frame."""

    @abstractmethod
    def get_num_samples(self) -> int:
        """Return the number of samples: frames, or volumes."""

    @abstractmethod
    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        """Return consecutive samples.

        Parameters
        ----------
        start_sample : int, optional
            First sample, from 0; None means 0.
        end_sample : int, optional
            Exclusive; None means the number of samples.

        Returns
        -------
        numpy.ndarray
            ``(samples, rows, columns)`` or ``(samples, rows, columns, planes)``, owned by the caller.

        Raises
        ------
        RangeError
            The range is outside the recording, reversed or negative.
        RangeTypeError
            A bound is not an integer.
        """

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the samples; override this where it is known without reading pixels."""
        return np.dtype(self.get_series(0, min(1, self.get_num_samples())).dtype).newbyteorder("=")

    def get_num_planes(self) -> int:
        """Return the number of planes of a sample; 1 for a planar recording."""
        if not self.is_volumetric:
            return 1
        shape = tuple(self.get_image_shape())
        return int(shape[2]) if len(shape) > 2 else int(self.get_series(0, min(1, self.get_num_samples())).shape[3])

    def get_missing_samples(self) -> np.ndarray:
        """Return which samples of the acquisition are missing from the file, or incomplete in it.

        Samples are counted as they were acquired, from 0.  If :attr:`keeps_missing_samples` is True, they are in the recording,
        at their index and time, with pixels of 0 (or the fill value of the file).  Otherwise they are left out, and the other
        samples keep their own times.

        Returns
        -------
        numpy.ndarray
            int64, ascending; empty when nothing is known to be missing.
        """
        return np.empty(0, np.int64)

    keeps_missing_samples: bool = False
    """Whether missing samples are in the recording, with pixels of 0, rather than left out of it."""

    def get_chunk_shape(self) -> tuple[int, ...]:
        """Return the shape of the smallest part that is read as a whole.

        Authors override it where a file is stored in chunks of several samples, or in parts of a frame.

        Returns
        -------
        tuple of int
            ``(samples, rows, columns)`` or ``(samples, rows, columns, planes)``; one whole sample by default.
        """
        return (1, *self.get_sample_shape())

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        """Return a part of the recording; views and indexing call it.

        :class:`BlockImagingExtractor` makes it the method that authors write.

        Parameters
        ----------
        samples : slice or numpy.ndarray
            A slice with ``0 <= start <= stop`` and step 1, or int64 indices in any order.
        rows, columns : slice
            With ``0 <= start <= stop`` and step 1.
        planes : slice, optional
            The same for a volumetric recording; None for a planar one.

        Returns
        -------
        numpy.ndarray
            ``(samples, rows, columns)`` or ``(samples, rows, columns, planes)``, owned by the caller.
        """
        part = (rows, columns) if planes is None else (rows, columns, planes)
        full = self.get_frame_shape() if planes is None else (*self.get_frame_shape(), self.get_num_planes())
        if all((s.start, s.stop) == (0, n) for s, n in zip(part, full, strict=True)):
            return owned(_whole(self, samples))
        return read_cropped(partial(_whole, self), samples, part, self.get_sample_shape(), dtype_of(self))

    # Samples

    def get_samples(self, sample_indices: Any) -> np.ndarray:
        """Return samples by index, in any order, with repeats; only these are read.

        Parameters
        ----------
        sample_indices : int or array-like of int
            From 0; negative indices are refused.

        Returns
        -------
        numpy.ndarray
            ``(len(sample_indices), rows, columns[, planes])``, owned by the caller.

        Raises
        ------
        RangeError
            An index is outside the recording.
        RangeTypeError
            An index is not an integer.
        """
        indices = self.resolve_indices(sample_indices)
        if len(indices) == 0:
            return np.empty((0, *self.get_sample_shape()), dtype_of(self))
        if (np.diff(indices) == 1).all():  # consecutive samples are one read
            return owned(self.get_series(int(indices[0]), int(indices[-1]) + 1))
        return read_scattered(self.get_series, indices, self.get_sample_shape(), dtype_of(self))

    def resolve_indices(self, sample_indices: Any) -> np.ndarray:
        """Check indices of samples and return them as a one-dimensional int64 array.

        Raises
        ------
        RangeError, RangeTypeError, ClosedRecordingError
        """
        self.check_open()
        return resolve_indices(sample_indices, int(self.get_num_samples()), "sample")

    # Shape

    @property
    def is_volumetric(self) -> bool:
        """Whether a sample is a volume; authors set it in the constructor."""
        if self.__volumetric is not None:
            return self.__volumetric
        own = getattr(type(self).get_num_planes, "own", None)
        # An author who states the dtype spares the reading of pixels, which the last step below would undo
        states_dtype = type(self).get_dtype is not ImagingExtractor.get_dtype
        if own is None and (states_dtype or self._reads_blocks or len(self.get_image_shape()) > 2):
            return len(self.get_image_shape()) > 2
        asking, question = ASKING.get(), (id(self), "is_volumetric")
        if question in asking:  # a guard, `if not self.is_volumetric: raise`, in the author's method
            raise _AskedAgainError
        token = ASKING.set((*asking, question))
        try:
            if own is not None:
                return int(own(self)) > 1
            # A class that says nothing of planes: its first sample does, read once
            shape = self.get_series(0, min(1, self.get_num_samples())).shape
            self.__volumetric = len(shape) == 4 and shape[3] != 1
            return self.__volumetric
        except (_AskedAgainError, RoiExtractorsError):
            return False
        finally:
            ASKING.reset(token)

    @is_volumetric.setter
    def is_volumetric(self, value: bool) -> None:
        self.__volumetric = bool(value)

    def get_frame_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        shape = self.get_image_shape()
        return int(shape[0]), int(shape[1])

    def get_volume_shape(self) -> tuple[int, int, int]:
        """Return ``(rows, columns, planes)``; one plane for a planar recording."""
        return (*self.get_frame_shape(), self.get_num_planes())

    def get_sample_shape(self) -> tuple[int, int] | tuple[int, int, int]:
        """Return the shape of one sample: ``(rows, columns)`` or ``(rows, columns, planes)``."""
        return (*self.get_frame_shape(), self.get_num_planes()) if self.is_volumetric else self.get_frame_shape()

    shape = Overridable(shape_of)
    dtype = Overridable(dtype_of)
    ndim = Overridable[int](lambda e: 4 if e.is_volumetric else 3, "3, or 4 when volumetric.")
    size = Overridable[int](lambda e: math.prod(shape_of(e)), "The number of pixels in the whole recording.")
    nbytes = Overridable[int](
        lambda e: math.prod(shape_of(e)) * dtype_of(e).itemsize,
        "The number of bytes that the whole recording would take in memory.",
    )

    def __len__(self) -> int:
        return int(self.get_num_samples())

    def __bool__(self) -> bool:
        return True  # also a recording without samples: "if recording:" asks whether there is one

    def __iter__(self) -> Iterator[np.ndarray]:
        for index in range(len(self)):
            yield self[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("cannot convert a recording to an array without copying; remove copy=False")
        return np.asarray(self[...], dtype)

    def __getitem__(self, key: Any) -> Any:
        shape = shape_of(self)
        reads, rest = plan_index(key, shape)
        self.check_open()
        counts = [r.stop - r.start if isinstance(r, slice) else len(r) for r in reads[: len(shape)]]
        if 0 in counts:
            return np.empty(counts, dtype_of(self))[rest]
        return self.get_block(reads[0], reads[1], reads[2], reads[3] if len(shape) == 4 else None)[rest]

    def _computed(self, function: np.ufunc | np.dtype[Any], operands: tuple[Any, ...]) -> ComputedImagingView:
        return ComputedImagingView(self, function, operands)

    # Views

    def slice_samples(self, start_sample: int | None = None, end_sample: int | None = None) -> ImagingView:
        """Return a lazy view of consecutive samples: ``e[a:b]`` in data, and the same times.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            As in :meth:`get_series`.
        """
        return ImagingView(self, samples=self.resolve_range(start_sample, end_sample))

    def slice_field_of_view(
        self,
        row_start: int | None = None,
        row_end: int | None = None,
        column_start: int | None = None,
        column_end: int | None = None,
    ) -> ImagingView:
        """Return a lazy view of a rectangle; ends are exclusive, None means the edge of the frame.

        Raises
        ------
        RangeError
            The rectangle is outside the frame, or empty.
        """
        num_rows, num_columns = self.get_frame_shape()
        rows = resolve_bounds(row_start, row_end, num_rows, "row", not_empty="the field of view")
        columns = resolve_bounds(column_start, column_end, num_columns, "column", not_empty="the field of view")
        return ImagingView(self, rows=rows, columns=columns)

    def select_plane(self, plane_index: int) -> ImagingView:
        """Return a lazy planar view of one plane of a volumetric recording.

        Parameters
        ----------
        plane_index : int
            From 0.

        Raises
        ------
        RangeError
            The recording is planar, or has no such plane.
        """
        if not self.is_volumetric:
            raise RangeError("this recording is planar: it has no planes to select")
        return ImagingView(self, plane=resolve_index(plane_index, self.get_num_planes(), "plane"))

    def select_planes(self, start_plane: int | None = None, end_plane: int | None = None) -> ImagingView:
        """Return a lazy volumetric view of consecutive planes; the end is exclusive, None means all.

        Raises
        ------
        RangeError
            The recording is planar, or the range is outside its planes, or empty.
        """
        if not self.is_volumetric:
            raise RangeError("this recording is planar: it has no planes to select")
        count, what = self.get_num_planes(), "the range of planes"
        return ImagingView(self, planes=resolve_bounds(start_plane, end_plane, count, "plane", not_empty=what))

    depth_slice = select_planes
    """As named in roiextractors."""

    # Arrays of other libraries, and pictures

    def to_dask(self, chunks: Any = "auto") -> Any:
        """Return a lazy ``dask.array.Array`` of the same shape and dtype, whose graph contains no pixels and no open files (needs dask).

        ``chunks="auto"`` joins the file's chunks up to dask's ``array.chunk-size``; an int is a number of samples.
        """
        from ..interop.to_dask import to_dask

        return to_dask(unshadowed(self), chunks)

    def to_xarray(self, *, chunks: Any = "auto", name: str | None = None) -> Any:
        """Return a lazy ``xarray.DataArray``: dims ``time, y, x[, z]``, coordinates in seconds and micrometres (needs xarray).

        ``chunks`` is as for :meth:`to_dask`, or None for a lazy array without dask; ``name`` is the channel's by default.
        """
        from ..interop.to_xarray import to_xarray

        return to_xarray(unshadowed(self), chunks=chunks, name=name)

    def preview(self, target: Any = None, **options: Any) -> Any:
        """Draw the mean image, the maximum projection and the mean trace of a bounded part of the recording (needs matplotlib).

        Parameters
        ----------
        target : str or os.PathLike, optional
            A ``.png`` file to write; a notebook displays the result without one.
        **options
            ``most_seconds`` and ``most_bytes`` to read.

        Returns
        -------
        Preview
            ``png`` contains the picture as bytes.
        """
        from ..interop.preview import preview

        return preview(unshadowed(self), target, **options)

    # What numpy's functions of the same names call

    def mean(self, axis: Any = None, dtype: Any = None, out: None = None, **more: Any) -> Any:
        """Return ``numpy.mean`` of all pixels, read once in parts on all cores. ``sum``, ``std``, ``var``, ``max`` and ``min`` work in the same way."""
        return self._reduce("mean", axis, out, more, dtype=dtype)

    def sum(self, axis: Any = None, dtype: Any = None, out: None = None, **more: Any) -> Any:
        """Return ``numpy.sum`` of all pixels; see :meth:`mean`."""
        return self._reduce("sum", axis, out, more, dtype=dtype)

    def std(self, axis: Any = None, dtype: Any = None, out: None = None, ddof: float = 0, **more: Any) -> Any:
        """Return ``numpy.std`` of all pixels; see :meth:`mean`."""
        return self._reduce("std", axis, out, more, dtype=dtype, ddof=ddof)

    def var(self, axis: Any = None, dtype: Any = None, out: None = None, ddof: float = 0, **more: Any) -> Any:
        """Return ``numpy.var`` of all pixels; see :meth:`mean`."""
        return self._reduce("var", axis, out, more, dtype=dtype, ddof=ddof)

    def max(self, axis: Any = None, out: None = None, **more: Any) -> Any:
        """Return ``numpy.max`` of all pixels; see :meth:`mean`."""
        return self._reduce("max", axis, out, more)

    def min(self, axis: Any = None, out: None = None, **more: Any) -> Any:
        """Return ``numpy.min`` of all pixels; see :meth:`mean`."""
        return self._reduce("min", axis, out, more)

    def _reduce(self, name: str, axis: Any, out: Any, more: Mapping[str, Any], **options: Any) -> Any:
        from ..interop.reductions import reduce_pixels

        return reduce_pixels(unshadowed(self), name, axis=axis, out=out, **more, **options)

    def _repr_html_(self) -> str:
        return recording_card(unshadowed(self), rate_in_words)

    # Protocols

    def __repr__(self) -> str:
        shape = self.get_sample_shape()
        words = " x ".join(counted(n, word) for n, word in zip(shape, ("row", "column", "plane"), strict=False))
        timing = timing_in_words(self, len(self))
        return f"<{type(self).__name__}: {counted(len(self), 'sample')} of {words}, {dtype_of(self)}, {amount(math.prod(shape_of(self)) * dtype_of(self).itemsize)}; {timing}>"


class BlockImagingExtractor(ImagingExtractor, is_base=True):
    """An extractor whose format can be read in parts: authors write :meth:`get_block`, and the rest follows.

    They write :meth:`get_image_shape`, :meth:`get_num_samples` and :meth:`get_block`.  Whole samples are the block of all rows,
    columns and planes, so :meth:`get_series` and :meth:`get_samples` come for free, with their ranges checked.
    """

    _reads_blocks = True

    @abstractmethod
    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        """Return a part of the recording, as :meth:`ImagingExtractor.get_block` describes.

        The arguments have been checked; the array must belong to the caller.
        """

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        return self._whole_samples(slice(*self.resolve_range(start_sample, end_sample)))

    def get_samples(self, sample_indices: Any) -> np.ndarray:
        return self._whole_samples(self.resolve_indices(sample_indices))

    def _whole_samples(self, samples: Samples) -> np.ndarray:
        shape = self.get_image_shape()
        planes = slice(0, self.get_num_planes()) if self.is_volumetric else None
        return self.get_block(samples, slice(0, int(shape[0])), slice(0, int(shape[1])), planes)


class DerivedImagingExtractor(BlockImagingExtractor):
    """A recording that is made from others, its parts; what is not said otherwise is that of the first part."""

    _parts: tuple[ImagingExtractor, ...]

    def get_image_shape(self) -> tuple[int, int]:
        return self._parts[0].get_frame_shape()

    def get_dtype(self) -> np.dtype[Any]:
        return self._parts[0].get_dtype()

    def get_metadata(self) -> RecordingMetadata:
        return self._parts[0].get_metadata()

    def get_notes(self) -> tuple[str, ...]:
        return tuple(note for part in self._parts for note in part.get_notes())

    def get_paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(path for part in self._parts for path in part.get_paths()))

    @property
    def keeps_missing_samples(self) -> bool:  # type: ignore[override]
        """Whether every part keeps its missing samples."""
        return all(part.keeps_missing_samples for part in self._parts)

    def times_version(self) -> int:
        return super().times_version() + sum(part.times_version() for part in self._parts)

    def close(self) -> None:
        """Close the parts."""
        for part in self._parts:
            part.close()
        super().close()


class ImagingView(ExtractorView, DerivedImagingExtractor):
    """A lazy part of a recording: samples, a rectangle, a plane. Views of views compose.

    Parameters
    ----------
    parent : ImagingExtractor
    samples, rows, columns, planes : tuple of int, optional
        ``(start, end)``, end exclusive, within the parent; None means all.
    plane : int, optional
        One plane of a volumetric parent; the view is planar.
    """

    _is_view = True
    _base: ImagingExtractor

    def __init__(
        self,
        parent: ImagingExtractor,
        *,
        samples: tuple[int, int] | None = None,
        rows: tuple[int, int] | None = None,
        columns: tuple[int, int] | None = None,
        planes: tuple[int, int] | None = None,
        plane: int | None = None,
    ) -> None:
        super().__init__()
        num_rows, num_columns = parent.get_frame_shape()
        first, end = resolve_span(samples, len(parent), "sample")
        top, bottom = resolve_span(rows, num_rows, "row")
        left, right = resolve_span(columns, num_columns, "column")
        self._bind(parent, first, end - first)
        self._frame_shape = (bottom - top, right - left)
        self._planes = planes if plane is None else (plane, plane + 1)
        self.is_volumetric = parent.is_volumetric and plane is None
        if isinstance(parent, ImagingView) and is_view(parent):
            top, left = top + parent._origin[0], left + parent._origin[1]
            if parent._planes is not None:
                below, above = parent._planes
                start, stop = self._planes or (0, above - below)
                self._planes = below + start, below + stop
        self._origin: tuple[int, int] = (top, left)
        self._parts = (self._base,)

    def get_image_shape(self) -> tuple[int, int]:
        return self._frame_shape

    def get_num_planes(self) -> int:
        return self._base.get_num_planes() if self._planes is None else self._planes[1] - self._planes[0]

    def get_chunk_shape(self) -> tuple[int, ...]:
        # A chunk of 0 samples would never end; an empty view keeps the file's. A planar view has no chunk along planes
        return tuple(min(a, b) if b else a for a, b in zip(self._base.get_chunk_shape(), shape_of(self), strict=False))

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        self.check_open()
        first, (above, left) = self._first, self._origin
        if isinstance(samples, slice):
            samples = slice(samples.start + first, samples.stop + first)
        else:
            samples = np.asarray(samples, np.int64) + first
        rows = slice(rows.start + above, rows.stop + above)
        columns = slice(columns.start + left, columns.stop + left)
        if self._planes is None:
            return self._base.get_block(samples, rows, columns, planes)
        below, end = self._planes
        if planes is None:
            return self._base.get_block(samples, rows, columns, slice(below, end))[..., 0]
        return self._base.get_block(samples, rows, columns, slice(planes.start + below, planes.stop + below))

    def get_metadata(self) -> RecordingMetadata:
        metadata, chosen = super().get_metadata(), self._planes
        if chosen is not None and len(metadata.plane_positions) >= chosen[1]:
            spacing = metadata.plane_spacing if chosen[1] - chosen[0] > 1 else None
            return metadata.replaced(plane_positions=metadata.plane_positions[slice(*chosen)], plane_spacing=spacing)
        return metadata

    def get_missing_samples(self) -> np.ndarray:
        missing, first = self._base.get_missing_samples(), self._first
        if self._num_samples == 0:
            return missing[:0]
        last = first + self._num_samples - 1
        if not self.keeps_missing_samples:
            # A sample's number in the acquisition is its index here plus the number of missing samples before it
            ranked = missing - np.arange(len(missing))
            first, last = (k + int(np.searchsorted(ranked, k, side="right")) for k in (first, last))
        return missing[(missing >= first) & (missing <= last)] - first

    def __reduce__(self) -> Any:
        """Pickle nested views as one view of the recording, unless times were set on a view between them."""
        parents = self._chain()[1:]
        if not parents or any(map(Extractor.has_time_vector, parents)):
            return super().__reduce__()
        first, (above, left) = self._first, self._origin
        rows, columns = self.get_image_shape()
        flat = ImagingView(
            self._base,
            samples=(first, first + self._num_samples),
            rows=(above, above + rows),
            columns=(left, left + columns),
            planes=self._planes if self.is_volumetric else None,
            plane=None if self.is_volumetric or self._planes is None else self._planes[0],
        )
        if Extractor.has_time_vector(self):
            flat.set_times(self.get_timestamps())
        rate = self.get_sampling_frequency()
        if rate is not None and rate != self._base.get_sampling_frequency():
            flat.override_sampling_frequency(rate)
        return Extractor.__reduce__(flat)


class ComputedImagingView(ImagingView):
    """A lazy view whose pixels are computed when they are read; :class:`~roiextractors_core.io.arithmetic.ArrayOperators` says which.

    Times, metadata and views are as for any view.

    Parameters
    ----------
    parent : ImagingExtractor
    function : numpy.ufunc or numpy.dtype
    operands : tuple
        Of the function; None is the parent, and an array broadcasts to its shape.
    """

    def __init__(self, parent: ImagingExtractor, function: np.ufunc | np.dtype[Any], operands: tuple[Any, ...]) -> None:
        super().__init__(parent)
        self._function = function
        self._dtype = result_dtype(function, dtype_of(parent), operands)
        shape = shape_of(parent)
        for operand in operands:
            if np.ndim(operand) > len(shape) or any(
                n not in (1, m) for n, m in zip(np.shape(operand)[::-1], shape[::-1], strict=False)
            ):
                raise DeclarationError(
                    f"an array of shape {np.shape(operand)} does not fit a recording of shape {shape}"
                )
        # Every array gets the axes of the recording, so that a block takes its part of it
        self._operands = tuple(
            x.reshape((1,) * (len(shape) - x.ndim) + x.shape) if isinstance(x, np.ndarray) else x for x in operands
        )

    def get_dtype(self) -> np.dtype[Any]:
        return self._dtype

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        block = super().get_block(samples, rows, columns, planes)
        if not isinstance(self._function, np.ufunc):
            return block.astype(self._function, copy=False)
        place = (samples, rows, columns) if planes is None else (samples, rows, columns, planes)
        result: np.ndarray = self._function(*(block if x is None else part_of(x, place) for x in self._operands))
        return result

    def get_metadata(self) -> RecordingMetadata:
        return super().get_metadata().replaced(bit_depth=None)

    def get_notes(self) -> tuple[str, ...]:
        return (*super().get_notes(), self._words())

    @property
    def provenance(self) -> Provenance:
        """The provenance of the parent, with a note that the pixels are computed."""
        return replace(super().provenance, notes=(*super().provenance.notes, self._words()))

    def _words(self) -> str:
        if not isinstance(self._function, np.ufunc):
            return f"the pixels are cast to {self._function}"
        words = ("pixels" if x is None else f"an array {np.shape(x)}" if np.ndim(x) else f"{x}" for x in self._operands)
        return f"the pixels are computed: {self._function.__name__}({', '.join(words)})"

    __reduce__ = Extractor.__reduce__  # not one view of the recording itself: its function comes last


def unshadowed(extractor: ImagingExtractor) -> ImagingExtractor:
    """Return a view of the whole if a constructor set attributes such as ``shape`` or ``metadata`` to something of its own."""
    owners = (ImagingExtractor, Extractor)
    names = {name for owner in owners for name, value in vars(owner).items() if isinstance(value, Overridable)}
    return extractor if names.isdisjoint(vars(extractor)) else ImagingView(extractor)


def _whole(extractor: ImagingExtractor, samples: Samples) -> np.ndarray:
    if isinstance(samples, slice):
        return extractor.get_series(samples.start, samples.stop)
    return extractor.get_samples(samples)

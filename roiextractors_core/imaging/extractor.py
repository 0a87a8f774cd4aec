"""The base classes of all recordings, and their lazy view."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from numbers import Real
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from ..clock import Clock, checked_times
from ..errors import (
    ClosedRecordingError,
    RangeError,
    RecordingError,
    RoiExtractorsError,
    TimesError,
    counted,
)
from ..io.blocks import read_cropped, read_scattered
from ..io.indexing import plan_index, resolve_bounds, resolve_index, resolve_indices, resolve_span
from ..io.known import run_asked_once
from ..io.notices import silenced
from ..io.paths import existing_paths, file_states, require_same_files
from ..io.units import amount, duration
from ..metadata import Provenance, RecordingMetadata
from .authored import ASKING, Overridable, as_rate, complete, owned, require_importable

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


def clock_of(extractor: ImagingExtractor) -> Clock:
    """Return the clock of the class, whatever attribute ``clock`` a constructor set."""
    clock: Clock = type(extractor).clock.__get__(extractor, type(extractor))
    return clock


class ImagingExtractor(ABC):
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

    __times: Any = None
    __checked_times: np.ndarray | None = None
    __times_set = 0
    __rate: float | None = None
    __volumetric: bool | None = None
    __provenance: Provenance | None = None
    __states: tuple[tuple[str, int, int, int, int], ...] | None = None
    __closed: bool = False
    __arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    _reads_blocks = False

    # Extractors written for roiextractors read these attributes of its base class, and set _times
    _args: Any = ()
    _kwargs: Any = MappingProxyType({})

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        self.__arguments = (args, kwargs)  # in __new__, so that it works for authors who do not call super().__init__
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        complete(cls, reads_blocks=cls._reads_blocks)

    def __init__(self, *args: Any, sampling_frequency: float | None = None, **kwargs: Any) -> None:
        if sampling_frequency is not None:
            self.override_sampling_frequency(sampling_frequency)

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

    def get_sampling_frequency(self) -> float | None:
        """Return the rate in samples per second (Hz): the user's, else the file's, else None.

        Authors return the file's rate; 0 and NaN, which some files contain for an unknown rate, become None.
        """
        if self.__rate is not None:
            return self.__rate
        own = self.__dict__.get("sampling_frequency", getattr(type(self), "sampling_frequency", None))
        return as_rate(own, type(self).__name__)

    def users_rate(self) -> float | None:
        """Return the rate that the user set, here, or None."""
        return self.__rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times that the hardware recorded, or None if the file has none.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            As in :meth:`get_series`.

        Returns
        -------
        numpy.ndarray or None
            Seconds, float64, one per sample.
        """
        return None

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the samples; override this where it is known without reading pixels."""
        return np.dtype(self.get_series(0, min(1, self.get_num_samples())).dtype).newbyteorder("=")

    def get_num_planes(self) -> int:
        """Return the number of planes of a sample; 1 for a planar recording."""
        if not self.is_volumetric:
            return 1
        shape = tuple(self.get_image_shape())
        return int(shape[2]) if len(shape) > 2 else int(self.get_series(0, min(1, self.get_num_samples())).shape[3])

    def get_metadata(self) -> RecordingMetadata:
        """Return the file's metadata; authors override this."""
        return RecordingMetadata()

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

    def get_paths(self) -> tuple[str, ...]:
        """Return the files and folders that the recording reads; a folder stands for everything inside it.

        Authors override it when the constructor's arguments do not name every file: siblings of a sequence, companions.
        """
        args, kwargs = self.__arguments
        paths = [*self.provenance.paths, *existing_paths((*args, *kwargs.values()))]
        return tuple(dict.fromkeys(map(os.path.abspath, paths)))

    def get_notes(self) -> tuple[str, ...]:
        """Return sentences about decisions made while opening, and anything left out."""
        return () if self.__provenance is None else self.__provenance.notes

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the streams of a recording: each option and its values.

        Parameters
        ----------
        file_path : str or list of str
            As for the constructor.
        """
        return {}

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

    def close(self) -> None:
        """Close the files; reading afterwards is an error. Authors close theirs, then call this."""
        self.__closed = True

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

    def resolve_range(self, start_sample: int | None = None, end_sample: int | None = None) -> tuple[int, int]:
        """Check a range of samples and fill in its defaults; call it first in :meth:`get_series`.

        Returns
        -------
        tuple of int
            ``(start, end)`` with ``0 <= start <= end <= number of samples``.

        Raises
        ------
        RangeError, RangeTypeError, ClosedRecordingError
        """
        self.check_open()
        return resolve_bounds(start_sample, end_sample, int(self.get_num_samples()), "sample")

    def resolve_indices(self, sample_indices: Any) -> np.ndarray:
        """Check indices of samples and return them as a one-dimensional int64 array.

        Raises
        ------
        RangeError, RangeTypeError, ClosedRecordingError
        """
        self.check_open()
        return resolve_indices(sample_indices, int(self.get_num_samples()), "sample")

    def check_open(self) -> None:
        """Raise ClosedRecordingError if the recording is closed."""
        if self.__closed:
            raise ClosedRecordingError(f"this {type(self).__name__} is closed; open it again")

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

    # Clock

    @Overridable
    def clock(self) -> Clock:
        """The clock: times set by the user, else recorded by the hardware, else computed from the rate."""
        count, rate, times = len(self), self.get_sampling_frequency(), self.__users_times()
        if times is not None:
            return Clock(count, rate=rate, source="user", read=lambda a, b: times[a:b])
        # One time says whether there are native times; a long recording may have millions of them
        if self._native(0, min(1, count)) is not None:
            return Clock(count, rate=rate, source="native", read=self._native_for_sure)
        return Clock(count, rate=rate)

    @Overridable
    def times_source(self) -> str | None:
        """``"user"``, ``"native"`` or ``"computed"``: which times :meth:`get_timestamps` returns; None if there are none."""
        return clock_of(self).source

    def get_timestamps(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        """Return the times of samples.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            As in :meth:`get_series`.

        Returns
        -------
        numpy.ndarray
            Seconds, float64, one a sample, owned by the caller.

        Raises
        ------
        TimesError
            Neither times nor a rate are known.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        return clock_of(self).times(start, end)

    def time_to_sample_indices(self, times: Any) -> Any:
        """Return the index of the sample at each time.

        With a vector of times, the last sample at or before it; with a rate alone, the nearest one.

        Parameters
        ----------
        times : float or array-like
            Seconds.

        Returns
        -------
        int or numpy.ndarray
            int64, in the shape of ``times``.

        Raises
        ------
        RangeError
            A time is outside the recording.
        TimesError
            There are no times, they decrease, or a requested time is NaN.
        """
        indices = clock_of(self).indices(times)
        return np.int64(indices) if np.ndim(times) == 0 else indices

    def set_times(self, times: Any) -> None:
        """Set the time of every sample; these take precedence over all others.

        Parameters
        ----------
        times : array-like
            Seconds, one a sample.

        Raises
        ------
        TimesError
            The number of times is not the number of samples.
        """
        self._times = checked_times(times, len(self))

    @property
    def _times(self) -> Any:
        """The times that the user set. Classes written for roiextractors assign to it in place of :meth:`set_times`."""
        return self.__times

    @_times.setter
    def _times(self, times: Any) -> None:
        self.__times, self.__checked_times = times, None
        self.__times_set += 1

    def __users_times(self) -> np.ndarray | None:
        # Not checked before, as a constructor may assign it before the samples are counted
        if self.__times is not None and self.__checked_times is None:
            self.__times = self.__checked_times = checked_times(self.__times, len(self))
        return self.__checked_times

    def times_version(self) -> int:
        """Return a number that grows whenever times or a rate are set, here or in a recording that this one is made from."""
        return self.__times_set

    def has_time_vector(self) -> bool:
        """Whether the user has set times."""
        return self.__times is not None

    def copy_times(self, extractor: ImagingExtractor) -> None:
        """Set the times of another recording, if it has a vector of times.

        Parameters
        ----------
        extractor : ImagingExtractor
            With as many samples. If its times are computed from a rate, nothing is set.
        """
        if extractor.times_source in ("user", "native"):
            self.set_times(extractor.get_timestamps())

    def override_sampling_frequency(self, sampling_frequency: float) -> None:
        """Set the rate; it takes precedence over the file's.

        Parameters
        ----------
        sampling_frequency : float
            Samples per second (Hz), finite and above 0.

        Raises
        ------
        TimesError
            The value is not such a number.
        """
        self.__rate = _checked_rate(sampling_frequency)
        self.__times_set += 1

    # Metadata

    @Overridable
    def metadata(self) -> RecordingMetadata:
        """Start time, pixel size, channels, device, and the file's own header."""
        return self.get_metadata()

    @property
    def provenance(self) -> Provenance:
        """Format, plugin and its version, paths, options, the evidence that chose it, and notes."""
        return self.__provenance or Provenance(notes=self.get_notes())

    def bind_provenance(self, provenance: Provenance) -> None:
        """Set the provenance; called by the factory."""
        self.__provenance = provenance
        self.__states = file_states(provenance.paths)

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

    def _repr_html_(self) -> str:
        from ..interop.preview import as_html

        return as_html(unshadowed(self))

    # Protocols

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        args, kwargs = self.__arguments
        require_importable(type(self))
        states = self.__states if self.__states is not None else file_states(self.provenance.paths)
        kept = (self.__users_times(), self.__rate, self.__provenance, states)
        return _made_again, (type(self), args, kwargs, (shape_of(self), dtype_of(self)), kept)

    def __repr__(self) -> str:
        shape = self.get_sample_shape()
        words = " x ".join(counted(n, word) for n, word in zip(shape, ("row", "column", "plane"), strict=False))
        rate = self.get_sampling_frequency()
        timing = "rate unknown" if rate is None else f"{rate:.6g} Hz, {duration(len(self) / rate)}"
        return f"<{type(self).__name__}: {counted(len(self), 'sample')} of {words}, {dtype_of(self)}, {amount(math.prod(shape_of(self)) * dtype_of(self).itemsize)}; {timing}>"

    def _restore(self, times: Any, rate: Any, provenance: Any, states: Any) -> None:
        self.__times, self.__checked_times, self.__rate = times, times, rate
        self.__provenance, self.__states = provenance, states

    def _native(self, start: int, end: int) -> np.ndarray | None:
        given = self.get_native_timestamps(start_sample=start, end_sample=end)
        if given is None:
            return None
        times = np.array(given, dtype=np.float64)
        if times.shape != (end - start,) and times.shape == (len(self),):
            times = times[start:end]  # an extractor that returns all times for any range
        if times.shape != (end - start,):
            raise TimesError(
                f"{type(self).__name__}.get_native_timestamps returned shape {times.shape} for samples {start:,} to {end:,}; expected one time per sample"
            )
        return times

    def _native_for_sure(self, start: int, end: int) -> np.ndarray:
        times = self._native(start, end)
        if times is None:
            raise TimesError(
                f"{type(self).__name__} returned native times for sample 0 but not for samples {start:,} to {end:,}"
            )
        return times


class BlockImagingExtractor(ImagingExtractor):
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


class ImagingView(DerivedImagingExtractor):
    """A lazy part of a recording: samples, a rectangle, a plane. Views of views compose.

    Parameters
    ----------
    parent : ImagingExtractor
    samples, rows, columns, planes : tuple of int, optional
        ``(start, end)``, end exclusive, within the parent; None means all.
    plane : int, optional
        One plane of a volumetric parent; the view is planar.
    """

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
        self._count, self._frame_shape = end - first, (bottom - top, right - left)
        self._parent, self._base = parent, parent
        self._planes = planes if plane is None else (plane, plane + 1)
        self.is_volumetric = parent.is_volumetric and plane is None
        # Thousands of views may be nested: each knows its place in the recording itself, so reading needs no recursion
        if type(parent) is ImagingView:  # a subclass may read in its own way
            self._base = parent._base
            first, top, left = first + parent._origin[0], top + parent._origin[1], left + parent._origin[2]
            if parent._planes is not None:
                below, above = parent._planes
                start, stop = self._planes or (0, above - below)
                self._planes = below + start, below + stop
        self._origin: tuple[int, int, int] = (first, top, left)
        self._parts = (self._base,)

    def get_image_shape(self) -> tuple[int, int]:
        return self._frame_shape

    def get_num_samples(self) -> int:
        return self._count

    def get_num_planes(self) -> int:
        return self._base.get_num_planes() if self._planes is None else self._planes[1] - self._planes[0]

    def _chain(self) -> list[ImagingView]:
        """Return this view and the views that it is a view of, the nearest first."""
        chain, parent = [self], self._parent
        while type(parent) is ImagingView:
            chain.append(parent)
            parent = parent._parent
        return chain

    def get_chunk_shape(self) -> tuple[int, ...]:
        # A chunk of 0 samples would never end; an empty view keeps the file's. A planar view has no chunk along planes
        return tuple(min(a, b) if b else a for a, b in zip(self._base.get_chunk_shape(), shape_of(self), strict=False))

    def get_sampling_frequency(self) -> float | None:
        set_here = (view.users_rate() for view in self._chain())
        users = next((rate for rate in set_here if rate is not None), None)
        return self._base.get_sampling_frequency() if users is None else users

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        self.check_open()
        first, above, left = self._origin
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

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        start, end = self.resolve_range(start_sample, end_sample)
        first = self._origin[0]
        return self._base._native(first + start, first + end)

    @property
    def clock(self) -> Clock:
        """The parent's clock with its offset kept, unless the user set times or a rate on the view itself."""
        for view in self._chain():
            if ImagingExtractor.has_time_vector(view):
                first, clock = self._origin[0] - view._origin[0], super(ImagingView, view).clock
                break
        else:
            first, clock = self._origin[0], clock_of(self._base)
        return clock.sliced(first, first + self._count).with_rate(self.get_sampling_frequency())

    def has_time_vector(self) -> bool:
        return any(map(ImagingExtractor.has_time_vector, self._chain())) or self._base.has_time_vector()

    def times_version(self) -> int:
        return sum(map(ImagingExtractor.times_version, self._chain())) + self._base.times_version()

    def get_metadata(self) -> RecordingMetadata:
        metadata, chosen = super().get_metadata(), self._planes
        if chosen is not None and len(metadata.plane_positions) >= chosen[1]:
            spacing = metadata.plane_spacing if chosen[1] - chosen[0] > 1 else None
            return metadata.replaced(plane_positions=metadata.plane_positions[slice(*chosen)], plane_spacing=spacing)
        return metadata

    def get_missing_samples(self) -> np.ndarray:
        missing, first = self._base.get_missing_samples(), self._origin[0]
        if self._count == 0:
            return missing[:0]
        last = first + self._count - 1
        if not self.keeps_missing_samples:
            # A sample's number in the acquisition is its index here plus the number of missing samples before it
            ranked = missing - np.arange(len(missing))
            first, last = (k + int(np.searchsorted(ranked, k, side="right")) for k in (first, last))
        return missing[(missing >= first) & (missing <= last)] - first

    @property
    def provenance(self) -> Provenance:
        """The provenance of the parent."""
        return self._base.provenance

    def __reduce__(self) -> Any:
        """Pickle nested views as one view of the recording, unless times were set on a view between them."""
        parents = self._chain()[1:]
        if not parents or any(map(ImagingExtractor.has_time_vector, parents)):
            return super().__reduce__()
        first, above, left = self._origin
        rows, columns = self.get_image_shape()
        flat = ImagingView(
            self._base,
            samples=(first, first + self._count),
            rows=(above, above + rows),
            columns=(left, left + columns),
            planes=self._planes if self.is_volumetric else None,
            plane=None if self.is_volumetric or self._planes is None else self._planes[0],
        )
        if ImagingExtractor.has_time_vector(self):
            flat.set_times(self.get_timestamps())
        rate = self.get_sampling_frequency()
        if rate is not None and rate != self._base.get_sampling_frequency():
            flat.override_sampling_frequency(rate)
        return ImagingExtractor.__reduce__(flat)

    def close(self) -> None:
        """Close the view alone; the recording and its other views stay open."""
        BlockImagingExtractor.close(self)

    def check_open(self) -> None:
        for view in self._chain():
            ImagingExtractor.check_open(view)
        self._base.check_open()


def unshadowed(extractor: ImagingExtractor) -> ImagingExtractor:
    """Return a view of the whole if a constructor set attributes such as ``shape`` or ``metadata`` to something of its own."""
    names = {name for name, value in vars(ImagingExtractor).items() if isinstance(value, Overridable)}
    return extractor if names.isdisjoint(vars(extractor)) else ImagingView(extractor)


def _made_again(kind: type[ImagingExtractor], args: Any, kwargs: Any, facts: Any, kept: Any) -> ImagingExtractor:
    extractor = run_asked_once(_unchanged, kept[-1], kind, args, kwargs)
    # The files are unchanged, but another version of the plugin may read them in another way
    (shape, dtype), (seen_shape, seen_dtype) = facts, (shape_of(extractor), dtype_of(extractor))
    if (seen_shape, seen_dtype) != (shape, dtype):
        seen = f"{seen_dtype} of shape {seen_shape}"
        extractor.close()
        raise RecordingError(
            f"the recording was {dtype} of shape {shape} when it was pickled and is {seen} now; open it again"
        )
    extractor._restore(*kept)
    return extractor


def _unchanged(states: Any, kind: type[ImagingExtractor], args: Any, kwargs: Any) -> ImagingExtractor:
    with silenced():  # the warnings were issued when the recording was first opened
        require_same_files(states)
        return kind(*args, **kwargs)


def _checked_rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TimesError(f"sampling_frequency must be a number in Hz, got {value!r:.80}")
    try:
        rate = float(value)
    except OverflowError:  # an int or a Fraction beyond the range of float64
        rate = math.inf
    if not (math.isfinite(rate) and rate > 0):
        raise TimesError(f"sampling_frequency must be finite and above 0 Hz, got {value!r:.80}")
    return rate


def _whole(extractor: ImagingExtractor, samples: Samples) -> np.ndarray:
    if isinstance(samples, slice):
        return extractor.get_series(samples.start, samples.stop)
    return extractor.get_samples(samples)

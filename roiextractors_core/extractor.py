"""What every extractor has, whatever it reads: a clock, metadata, provenance, pickling and closing."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload

import numpy as np

from .clock import Clock, checked_times
from .errors import ClosedRecordingError, RecordingError, RoiExtractorsError, RoiExtractorsWarning, TimesError
from .io.indexing import resolve_bounds
from .io.known import run_asked_once
from .io.notices import silenced, warn
from .io.paths import existing_paths, file_states, require_same_files
from .io.units import amount, duration
from .metadata import Provenance, RecordingMetadata

__all__ = ["Completion", "Extractor", "ExtractorView", "Overridable", "clock_of", "rate_in_words", "timing_in_words"]

T = TypeVar("T")

_OLD_NAMES = {
    "get_video": "get_series(start_sample, end_sample)",
    "get_frames": "get_samples(sample_indices)",
    "get_volumes": "get_series(start_sample, end_sample)",
    "frame_slice": "slice_samples(start_sample, end_sample)",
    "get_num_frames": "get_num_samples()",
    "get_image_size": "get_image_shape()",
    "frame_to_time": "get_timestamps()[sample_indices]",
    "sample_indices_to_time": "get_timestamps()[sample_indices]",
    "time_to_frame": "time_to_sample_indices(times)",
    "get_num_channels": "roiextractors_core.streams(path); each recording is one channel",
    "get_channel_names": "channel_name, or roiextractors_core.streams(path) for those of the file",
    "get_roi_image_mask": "get_roi_image_masks([roi_id])",
    "get_roi_pixel_mask": "get_roi_pixel_masks([roi_id])",
    "get_accepted_list": "get_property_keys() and get_property(key), such as 'iscell' of suite2p",
    "get_rejected_list": "get_property_keys() and get_property(key), such as 'iscell' of suite2p",
    "get_images": "get_images_dict()",
}
"""Methods that roiextractors has or had, and what replaces them."""

_HOW_TO_SET = {"sampling_frequency": "override_sampling_frequency", "timestamps": "set_times"}
"""Attributes that a class may set in its constructor, and what changes them in a recording that is open."""

_MANY_BYTES = 100_000_000  # in a pickle: as slow as opening a file a hundred times
_TAKES_ANY = 0x04 | 0x08  # the flags of a code object with *args or **kwargs

Completion = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Takes an author's method, and returns it with what the base class adds."""


class Overridable(Generic[T]):
    """A read-only property that an attribute of the same name, set in a constructor, replaces for that object.

    Classes written for roiextractors set ``self.dtype`` or ``self.shape``, which a property without a setter would refuse.
    """

    def __init__(self, read: Callable[[Any], T], doc: str | None = None) -> None:
        self.read = read
        self.__doc__ = doc or read.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Overridable[T]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> T | Overridable[T]:
        return self if instance is None else self.read(instance)


class _Rate(Overridable[float | None]):
    """The rate of the user, else the attribute that a constructor set, else what the author's method returns."""

    @overload
    def __get__(self, instance: None, owner: type) -> Overridable[float | None]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> float | None: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None or instance.users_rate() is not None or "sampling_frequency" not in vars(instance):
            return super().__get__(instance, owner)
        return vars(instance)["sampling_frequency"]  # where the author's method itself returns self.sampling_frequency

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)["sampling_frequency"] = value


def clock_of(extractor: Extractor) -> Clock:
    """Return the clock of the class, whatever attribute ``clock`` a constructor set."""
    clock: Clock = type(extractor).clock.__get__(extractor, type(extractor))
    return clock


class Extractor(ABC):
    """The base of :class:`ImagingExtractor` and :class:`SegmentationExtractor`.

    It pickles as the arguments of its constructor and the times that the user set, and opens its files again.

    Parameters
    ----------
    sampling_frequency : float, optional
        Samples per second (Hz); takes precedence over the file.
    """

    kind: ClassVar[str] = ""
    """The value of ``open(kind=...)``."""

    __times: Any = None
    __checked_times: np.ndarray | None = None
    __times_set = 0
    __rate: float | None = None
    __volumetric: bool | None = None
    __provenance: Provenance | None = None
    __states: tuple[tuple[str, int, int, int, int], ...] | None = None
    __closed: bool = False
    __arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    # Written for roiextractors, some classes read these attributes of its base class, and set _times
    _args: Any = ()
    _kwargs: Any = MappingProxyType({})

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        self.__arguments = (args, kwargs)  # in __new__, so that it works for authors who do not call super().__init__
        return self

    def __init_subclass__(cls, *, is_base: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not is_base:
            _complete(cls, cls._completions())

    def __init__(self, *args: Any, sampling_frequency: float | None = None, **kwargs: Any) -> None:
        if sampling_frequency is not None:
            self.override_sampling_frequency(sampling_frequency)

    @classmethod
    def _completions(cls) -> Mapping[str, Completion]:
        """Return what is added to each method that an author writes."""
        return _COMPLETIONS

    def _contents_in_words(self) -> str:
        """Return in words what a pickle must find again when it opens the files."""
        return type(self).__name__

    # Written by authors of formats

    @abstractmethod
    def get_num_samples(self) -> int:
        """Return the number of samples."""

    def get_sampling_frequency(self) -> float | None:
        """Return the rate in samples per second (Hz): the user's, else the file's, else None.

        Authors return the file's rate; 0 and NaN, which some files contain for an unknown rate, become None.
        """
        if self.__rate is not None:
            return self.__rate
        own = self.__dict__.get("sampling_frequency", getattr(type(self), "sampling_frequency", None))
        return None if isinstance(own, Overridable) else as_rate(own, type(self).__name__)

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
            From 0; the end is exclusive, and None means the whole.

        Returns
        -------
        numpy.ndarray or None
            Seconds, float64, one per sample.
        """
        return None

    def get_metadata(self) -> RecordingMetadata:
        """Return the file's metadata; authors override this."""
        return RecordingMetadata()

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

    def close(self) -> None:
        """Close the files; reading afterwards is an error. Authors close theirs, then call this."""
        self.__closed = True

    def resolve_range(self, start_sample: int | None = None, end_sample: int | None = None) -> tuple[int, int]:
        """Check a range of samples and fill in its defaults; authors call it first in methods that take one.

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

    def check_open(self) -> None:
        """Raise ClosedRecordingError if the recording is closed."""
        if self.__closed:
            raise ClosedRecordingError(f"this {type(self).__name__} is closed; open it again")

    # Clock

    @Overridable
    def clock(self) -> Clock:
        """The clock: times set by the user, else recorded by the hardware, else computed from the rate."""
        count, rate, times = int(self.get_num_samples()), self.get_sampling_frequency(), self.__users_times()
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
            From 0; the end is exclusive, and None means the whole.

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
        self._times = checked_times(times, int(self.get_num_samples()))

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
            self.__times = self.__checked_times = checked_times(self.__times, int(self.get_num_samples()))
        return self.__checked_times

    def times_version(self) -> int:
        """Return a number that grows whenever times or a rate are set, here or in a recording that this one is made from."""
        return self.__times_set

    def has_time_vector(self) -> bool:
        """Whether the user has set times."""
        return self.__times is not None

    def copy_times(self, extractor: Extractor) -> None:
        """Set the times of another recording, if it has a vector of times.

        Parameters
        ----------
        extractor : Extractor
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

    # The same as attributes

    sampling_frequency = _Rate(
        lambda e: e.get_sampling_frequency(), "Samples per second (Hz), or None if it is unknown."
    )

    @Overridable
    def median_rate(self) -> float | None:
        """Samples per second (Hz) by the median distance of the times, or None without times; the recording's own rate may still be unknown.

        At most 3,000 times are read.
        """
        return self._median_rate()

    def _median_rate(self) -> float | None:
        return clock_of(self).median_rate

    @Overridable
    def timestamps(self) -> np.ndarray | None:
        """The times of all samples in seconds, as :meth:`get_timestamps` returns them, or None if they are unknown."""
        return None if clock_of(self).source is None else self.get_timestamps()

    @Overridable
    def duration(self) -> float | None:
        """Seconds from the first sample to the end of the last one, pauses included, or None if it is unknown."""
        clock, count = clock_of(self), int(self.get_num_samples())
        if not count or clock.source in (None, "computed"):
            return count / clock.rate if clock.rate else None if count else 0.0
        rate = clock.rate or clock.median_rate
        seconds = clock.times(count - 1)[0] - clock.times(0, 1)[0] + (1.0 / rate if rate else math.nan)
        return float(seconds) if math.isfinite(seconds) else None

    num_planes = Overridable[int](lambda e: int(e.get_num_planes()), "The number of planes; 1 for a planar recording.")

    @Overridable
    def channel_name(self) -> str | None:
        """The name of the channel that this recording reads, or None if the file names none."""
        channels = self.get_metadata().channels
        return channels[0].name if len(channels) == 1 else None

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

    # Protocols

    if not TYPE_CHECKING:  # a type checker would take any name for an attribute

        def __getattr__(self, name):
            if hasattr(type(self), name):  # a property raised AttributeError itself: raise the same error again
                return object.__getattribute__(self, name)
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name in _OLD_NAMES:
                message += f"; in place of roiextractors' {name}, use {_OLD_NAMES[name]}"
            elif self.kind == "imaging" and name[:1] != "_" and hasattr(np.ndarray, name):
                message += f"; read the pixels first: recording[...].{name}"
            raise AttributeError(message, name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        # Otherwise a rate that is assigned would be kept beside the one in force, and change no time
        if name in _HOW_TO_SET and (self.__provenance is not None or is_view(self)):
            raise AttributeError(f"cannot set {name} of a recording; use recording.{_HOW_TO_SET[name]}(...)")
        super().__setattr__(name, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        args, kwargs = self.__arguments
        require_importable(type(self))
        states = self.__states if self.__states is not None else file_states(self.provenance.paths)
        return _made_again, (type(self), args, kwargs, self._contents_in_words(), states, self._values_to_pickle())

    def _values_to_pickle(self) -> tuple[Any, ...]:
        """Return what the user and the factory set, which a pickle keeps."""
        return self.__users_times(), self.__rate, self.__provenance

    def _restore(self, states: Any, times: Any, rate: Any, provenance: Any) -> None:
        self.__times, self.__checked_times, self.__rate = times, times, rate
        self.__provenance, self.__states = provenance, states

    def _native(self, start: int, end: int) -> np.ndarray | None:
        given = self.get_native_timestamps(start_sample=start, end_sample=end)
        if given is None:
            return None
        times = np.array(given, dtype=np.float64)
        if times.shape != (end - start,) and times.shape == (self.get_num_samples(),):
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


class ExtractorView(Extractor, is_base=True):
    """What the views of both kinds share: the parent's times, metadata and provenance, for a range of its samples.

    Thousands of views may be nested: each knows its place in the recording itself, so reading needs no recursion.
    """

    _parent: Any
    _base: Any
    _first: int
    _num_samples: int

    def _bind(self, parent: Any, first: int, count: int) -> None:
        """Set what the view is a view of."""
        self._parent, self._base, self._first, self._num_samples = parent, parent, first, count
        if is_view(parent):
            self._base, self._first = parent._base, parent._first + first

    def _chain(self) -> list[Any]:
        """Return this view and the views that it is a view of, the nearest first."""
        chain, parent = [self], self._parent
        while is_view(parent):
            chain.append(parent)
            parent = parent._parent
        return chain

    def get_num_samples(self) -> int:
        return self._num_samples

    def get_sampling_frequency(self) -> float | None:
        set_here = (view.users_rate() for view in self._chain())
        users = next((rate for rate in set_here if rate is not None), None)
        rate: float | None = self._base.get_sampling_frequency() if users is None else users
        return rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        start, end = self.resolve_range(start_sample, end_sample)
        times: np.ndarray | None = self._base._native(self._first + start, self._first + end)
        return times

    @property
    def clock(self) -> Clock:
        """The parent's clock with its offset kept, unless the user set times or a rate on the view itself."""
        for view in self._chain():
            if Extractor.has_time_vector(view):
                first, clock = self._first - view._first, Extractor.clock.read(view)
                break
        else:
            first, clock = self._first, clock_of(self._base)
        return clock.sliced(first, first + self._num_samples).with_rate(self.get_sampling_frequency())

    def has_time_vector(self) -> bool:
        return any(map(Extractor.has_time_vector, self._chain())) or self._base.has_time_vector()

    def times_version(self) -> int:
        return sum(map(Extractor.times_version, self._chain())) + int(self._base.times_version())

    @property
    def provenance(self) -> Provenance:
        """The provenance of the parent."""
        provenance: Provenance = self._base.provenance
        return provenance

    def close(self) -> None:
        """Close the view alone; the recording and its other views stay open."""
        Extractor.close(self)

    def check_open(self) -> None:
        for view in self._chain():
            Extractor.check_open(view)
        self._base.check_open()


def is_view(extractor: Any) -> bool:
    """Whether an extractor is one of our own views; a subclass of them may read in its own way."""
    return "_is_view" in vars(type(extractor))


def _complete(cls: type, completions: Mapping[str, Completion]) -> None:
    """Add to each method that a class defines itself what the base class promises for it."""
    for name, complete in completions.items():
        own = cls.__dict__.get(name)
        if not callable(own) or hasattr(own, "own"):
            continue
        completed = complete(own)
        if completed is not own:
            completed = functools.wraps(own)(completed)
            completed.own = own  # type: ignore[attr-defined]
            setattr(cls, name, completed)


def warn_of_large_pickle(num_bytes: int) -> None:
    """Warn that a pickle of an extractor contains this many bytes of its arrays, if they are many."""
    if num_bytes >= _MANY_BYTES:
        warn(
            f"pickling arrays in memory copies all of their {amount(num_bytes)}, once for each task of a pool or cluster; write them "
            "with roiextractors_core.convert and open the file: its pickle contains no pixels",
            RoiExtractorsWarning,
        )


def rate_in_words(extractor: Extractor) -> str:
    """Return the rate with its unit, or ``"unknown"`` and the rate that the times give, if there are some."""
    rate = extractor.get_sampling_frequency()
    if rate is not None:
        return f"{rate:.6g} Hz"
    with contextlib.suppress(
        RoiExtractorsError, OSError
    ):  # a repr of a recording that is closed, or whose file is gone
        rate = extractor._median_rate()
    return "unknown" if rate is None else f"unknown, its times give {rate:.6g} Hz"


def timing_in_words(extractor: Extractor, count: int) -> str:
    """Return the rate and how long so many samples last, for a repr."""
    rate = extractor.get_sampling_frequency()
    if rate is None:
        return f"rate {rate_in_words(extractor)}"
    return f"{rate:.6g} Hz, {duration(count / rate)}"


def as_rate(value: Any, name: str) -> float | None:
    """Return an author's rate; 0 and NaN, which some files contain for an unknown rate, become None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TimesError(f"{name}.get_sampling_frequency returned {value!r:.80}; expected a number in Hz or None")
    rate = float(value)
    return rate if math.isfinite(rate) and rate > 0 else None


def require_importable(cls: type) -> None:
    """Raise an error if another process could not find a class by its module and name, as pickle must."""
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not cls:
        where = f"{cls.__module__}.{cls.__qualname__}"
        raise RecordingError(
            f"this recording cannot be pickled: its class {where} is defined inside a function, or was "
            "redefined later; define the class at the top of a module, and open the recording again"
        )


def _rate(own: Callable[..., Any]) -> Callable[..., Any]:
    def get_sampling_frequency(self: Any) -> float | None:
        users = self.users_rate()
        # The author's method is asked only without a rate of the user
        return as_rate(own(self), type(self).__name__) if users is None else users

    return get_sampling_frequency


def _notes(own: Callable[..., Any]) -> Callable[..., Any]:
    def get_notes(self: Any) -> tuple[str, ...]:
        # An author's method cannot know what the factory noticed while opening
        notes, of_opening = own(self), Extractor.get_notes(self)
        return tuple(dict.fromkeys((*notes, *of_opening))) if of_opening and isinstance(notes, tuple) else notes

    return get_notes


def _native_times(own: Callable[..., Any]) -> Callable[..., Any]:
    code = getattr(own, "__code__", None)
    if code is None or code.co_argcount > 1 or code.co_kwonlyargcount or code.co_flags & _TAKES_ANY:
        return own

    def get_native_timestamps(self: Any, start_sample: int | None = None, end_sample: int | None = None) -> Any:
        start, end = self.resolve_range(start_sample, end_sample)
        times = own(self)
        return None if times is None else np.asarray(times)[start:end]

    return get_native_timestamps


_COMPLETIONS: dict[str, Completion] = {
    "get_sampling_frequency": _rate,
    "get_native_timestamps": _native_times,
    "get_notes": _notes,
}


def _made_again(kind: type[Extractor], args: Any, kwargs: Any, contents: str, states: Any, kept: Any) -> Extractor:
    extractor = run_asked_once(_unchanged, states, kind, args, kwargs)
    # The files are unchanged, but another version of the plugin may read them in another way
    seen = extractor._contents_in_words()
    if seen != contents:
        extractor.close()
        raise RecordingError(f"the recording was {contents} when it was pickled and is {seen} now; open it again")
    extractor._restore(states, *kept)
    return extractor


def _unchanged(states: Any, kind: type[Extractor], args: Any, kwargs: Any) -> Extractor:
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

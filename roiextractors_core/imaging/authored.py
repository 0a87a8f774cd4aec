"""What the base class adds to the methods that authors write: checked ranges, arrays of the caller's own, the user's rate first."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from contextvars import ContextVar
from numbers import Real
from typing import Any, Generic, TypeVar, overload

import numpy as np

from ..errors import RecordingError, TimesError

__all__ = ["ASKING", "Overridable", "as_rate", "complete", "owned", "require_importable"]

T = TypeVar("T")

ASKING: ContextVar[tuple[tuple[int, str], ...]] = ContextVar("roiextractors_core_asking", default=())
"""Which questions are being answered for which object: an author's method may ask the same question again."""

_TAKES_ANY = 0x04 | 0x08  # the flags of a code object with *args or **kwargs


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


def complete(cls: type, *, reads_blocks: bool) -> None:
    """Add to each method that a class defines itself what the base class promises for it.

    The methods of a class with ``reads_blocks`` get checked arguments already, and promise that results are their caller's.
    """
    for name, add in _ADDED.items():
        own = cls.__dict__.get(name)
        if not callable(own) or hasattr(own, "own") or (reads_blocks and name in ("get_series", "get_samples")):
            continue
        added = add(own)
        if added is not own:
            added = functools.wraps(own)(added)
            added.own = own  # type: ignore[attr-defined]
            setattr(cls, name, added)


def owned(series: Any) -> np.ndarray:
    """Return the series as an array of the caller's own; an author's may be a view of what the extractor keeps."""
    found = np.asarray(series)
    # A view would change with the buffer behind it, or keep a whole file in memory
    if found.base is None and found.flags.writeable and found.dtype.isnative:
        return found
    return np.array(found, dtype=found.dtype.newbyteorder("="))


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
            f"this recording cannot be pickled: its class {where} is defined inside a function, or was defined again since; "
            "define the class at the top of a module, and open the recording again"
        )


def _series(own: Callable[..., Any]) -> Callable[..., Any]:
    def get_series(
        self: Any, start_sample: int | None = None, end_sample: int | None = None, **more: Any
    ) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        if start == end and len(self):
            return np.empty((0, *self.get_sample_shape()), self.get_dtype())
        return _whole(self, owned(own(self, start, end, **more)), end - start, f"get_series({start:,}, {end:,})")

    return get_series


def _samples(own: Callable[..., Any]) -> Callable[..., Any]:
    def get_samples(self: Any, sample_indices: Any) -> np.ndarray:
        indices = self.resolve_indices(sample_indices)
        if len(indices) == 0:
            return np.empty((0, *self.get_sample_shape()), self.get_dtype())
        return _whole(self, owned(own(self, indices)), len(indices), f"get_samples of {len(indices):,} indices")

    return get_samples


def _whole(self: Any, series: np.ndarray, count: int, call: str) -> np.ndarray:
    name = type(self).__name__
    if series.ndim not in (3, 4) or len(series) != count:
        raise RecordingError(f"{name}.{call} returned shape {series.shape}; expected {count:,} samples of 2 or 3 axes")
    if series.ndim == 4 and (id(self), "is_volumetric") not in ASKING.get() and not self.is_volumetric:
        if series.shape[3] == 1:  # roiextractors' memory maps keep an axis of one channel
            return series[..., 0]
        raise RecordingError(
            f"{name}.{call} returned volumes (shape {series.shape}), but is_volumetric is False; "
            "set self.is_volumetric = True in the constructor"
        )
    return series


def _rate(own: Callable[..., Any]) -> Callable[..., Any]:
    def get_sampling_frequency(self: Any) -> float | None:
        users = self.users_rate()
        # The author's method is asked only without a rate of the user
        return as_rate(own(self), type(self).__name__) if users is None else users

    return get_sampling_frequency


def _notes(own: Callable[..., Any]) -> Callable[..., Any]:
    def get_notes(self: Any) -> tuple[str, ...]:
        from .extractor import ImagingExtractor  # here, because that module imports this one

        # An author's method cannot know what the factory noticed while opening
        notes, of_opening = own(self), ImagingExtractor.get_notes(self)
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


def _planes(own: Callable[..., Any]) -> Callable[..., Any]:
    def get_num_planes(self: Any) -> int:
        asking = ASKING.get()
        asked = asking and (id(self), "is_volumetric") in asking  # is_volumetric itself wants the author's answer
        return int(own(self)) if asked or self.is_volumetric else 1  # some authors raise for a planar recording

    return get_num_planes


_ADDED: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "get_series": _series,
    "get_samples": _samples,
    "get_sampling_frequency": _rate,
    "get_native_timestamps": _native_times,
    "get_num_planes": _planes,
    "get_notes": _notes,
}

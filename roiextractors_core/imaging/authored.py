"""What the base class adds to the methods for pixels that authors write: checked ranges, arrays of the caller's own."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..errors import RecordingError
from ..extractor import Completion

__all__ = ["ASKING", "COMPLETIONS", "owned"]

ASKING: ContextVar[tuple[tuple[int, str], ...]] = ContextVar("roiextractors_core_asking", default=())
"""Which questions are being answered for which object: an author's method may ask the same question again."""


def owned(series: Any) -> np.ndarray:
    """Return the series as an array of the caller's own; an author's may be a view of what the extractor keeps."""
    found = np.asarray(series)
    # A view would change with the buffer behind it, or keep a whole file in memory
    if found.base is None and found.flags.writeable and found.dtype.isnative:
        return found
    return np.array(found, dtype=found.dtype.newbyteorder("="))


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


def _planes(own: Callable[..., Any]) -> Callable[..., Any]:
    def get_num_planes(self: Any) -> int:
        asking = ASKING.get()
        asked = asking and (id(self), "is_volumetric") in asking  # is_volumetric itself wants the author's answer
        return int(own(self)) if asked or self.is_volumetric else 1  # some authors raise for a planar recording

    return get_num_planes


COMPLETIONS: dict[str, Completion] = {"get_series": _series, "get_samples": _samples, "get_num_planes": _planes}

"""An array in memory as a recording."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..errors import DeclarationError
from ..extractor import warn_of_large_pickle
from ..metadata import RecordingMetadata
from .extractor import BlockImagingExtractor, Samples

__all__ = ["NumpyImagingExtractor"]


class NumpyImagingExtractor(BlockImagingExtractor):
    """An array in memory as a recording.

    Parameters
    ----------
    timeseries : array-like
        ``(samples, rows, columns)`` or ``(samples, rows, columns, planes)``, of numbers; not copied.
    sampling_frequency : float, optional
        Samples per second (Hz).
    times : array-like, optional
        Seconds, one per sample.
    metadata : RecordingMetadata, optional

    Raises
    ------
    DeclarationError
        The array has another number of dimensions, or is not numeric.
    """

    def __init__(
        self,
        timeseries: Any,
        sampling_frequency: float | None = None,
        *,
        times: Any = None,
        metadata: RecordingMetadata | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._array = np.asarray(timeseries)
        if self._array.ndim not in (3, 4) or self._array.dtype.kind not in "biufc":
            raise DeclarationError(
                f"expected an array of numbers (samples, rows, columns[, planes]), got {self._array.dtype} of shape {self._array.shape}"
            )
        self._dtype = self._array.dtype.newbyteorder("=")
        self._metadata = metadata or RecordingMetadata()
        self.is_volumetric = self._array.ndim == 4
        if times is not None:
            self.set_times(times)

    def get_image_shape(self) -> tuple[int, int]:
        return self._array.shape[1], self._array.shape[2]

    def get_num_samples(self) -> int:
        return len(self._array)

    def get_num_planes(self) -> int:
        return int(self._array.shape[3]) if self._array.ndim == 4 else 1

    def get_dtype(self) -> np.dtype[Any]:
        return self._dtype

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        self.check_open()
        part = (rows, columns) if planes is None else (rows, columns, planes)
        return self._array[(samples, *part)].astype(self._dtype, copy=isinstance(samples, slice))

    def _whole_samples(self, samples: Samples) -> np.ndarray:
        # A slice is copied, as the caller may change it; indices make a new array
        return self._array[samples].astype(self._dtype, copy=isinstance(samples, slice))

    def get_metadata(self) -> RecordingMetadata:
        return self._metadata

    def __reduce__(self) -> tuple[Any, ...]:
        warn_of_large_pickle(self._array.nbytes)
        return super().__reduce__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        make, arguments = super().__reduce__()[
            :2
        ]  # as copy does it, without the warning: the copy stays in this process
        return make(*copy.deepcopy(arguments, memo))

"""Which values of a recording are drawn black and white."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["contrast_limits", "percentiles_of"]

_LOW, _HIGH = 1.0, 99.7  # percent: one hot pixel does not set the contrast
_MAX_BYTES = 64 << 20  # read for this; at least one sample is
_MAX_PIXELS = 1 << 18  # of each sample, evenly spread: percentiles of more differ in no visible way


def contrast_limits(recording: Any, *, max_samples: int = 8) -> tuple[float, float] | None:
    """Return the grey values to draw black and white: the percentiles 1 and 99.7 of a few evenly spread samples.

    Parameters
    ----------
    recording : ImagingExtractor
    max_samples : int
        At most this many are read, fewer where they are large.

    Returns
    -------
    tuple of float or None
        Equal to each other if all of these pixels are; None if none is finite. Of complex pixels, the magnitudes are compared.
    """
    if not recording.size:
        return None
    count = len(recording)
    some = max(1, min(count, max_samples, _MAX_BYTES // max(1, recording.nbytes // count)))
    # From the middle of equal parts: the first frames are often dark
    places = ((2 * np.arange(some) + 1) * count // (2 * some)).tolist()
    return percentiles_of(np.concatenate([_thinned(recording.get_series(k, k + 1)) for k in places]))


def percentiles_of(values: np.ndarray) -> tuple[float, float] | None:
    """Return the percentiles 1 and 99.7 of the finite values; their extremes if these percentiles are equal; None without any.

    Parameters
    ----------
    values : numpy.ndarray
    """
    magnitudes = np.abs(values) if values.dtype.kind == "c" else values
    finite = magnitudes[np.isfinite(magnitudes)]
    if not finite.size:
        return None
    low, high = map(float, np.percentile(finite.astype(np.float64), (_LOW, _HIGH)))
    return (low, high) if high > low else (float(finite.min()), float(finite.max()))


def _thinned(sample: np.ndarray) -> np.ndarray:
    flat = sample.reshape(-1)
    # Odd: an even step would take the same columns of every row
    step = -(-flat.size // _MAX_PIXELS) | 1
    return flat[::step]

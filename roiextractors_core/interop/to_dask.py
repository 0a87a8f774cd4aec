"""A recording as a dask array: chunks that follow the file, and a graph without pixels or open files."""

from __future__ import annotations

import os
import pickle
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import MissingDependencyError, RangeTypeError
from ..io.blocks import sample_chunks
from ..io.tasks import graph_source

__all__ = ["to_dask"]


def to_dask(recording: Any, chunks: Any = "auto") -> Any:
    """Return a recording as a lazy ``dask.array.Array`` of the same shape and dtype.

    The graph contains the recording as it pickles: path, options, times that the user set. A worker in another process
    opens it once and keeps it for later chunks.

    Parameters
    ----------
    recording : ImagingExtractor
        Or a view; it must stay open while the array is computed in this process.
    chunks : "auto", int, tuple or dict
        ``"auto"`` joins the file's chunks up to dask's ``array.chunk-size``; an int is a number of samples, with whole frames;
        any other value that dask accepts works too.

    Returns
    -------
    dask.array.Array
        ``(samples, rows, columns)`` or ``(samples, rows, columns, planes)``.

    Raises
    ------
    MissingDependencyError
        dask is not installed.
    RangeTypeError
        dask does not accept the chunks.
    """
    try:
        import dask.array
        from dask.base import tokenize
    except ImportError as error:
        raise MissingDependencyError('a dask array needs dask: python -m pip install "dask[array]"') from error
    name = f"recording-{tokenize(*_identity(recording))}"
    from_array: Any = dask.array.from_array
    return from_array(
        graph_source(recording),
        chunks=_normalized(recording, chunks),
        name=name,
        asarray=False,
        meta=np.empty((0,) * recording.ndim, recording.dtype),
        inline_array=True,  # no separate task for the array: the graph stays as small as the number of chunks
    )


def _identity(recording: Any) -> tuple[Any, ...]:
    """Return what identifies the pixels: the recording as it pickles, and the sizes and modification times of its files."""
    paths = recording.provenance.paths
    if not paths:
        return (uuid.uuid4().hex,)  # an array in memory has no identity that another process could check
    # dask reuses results by name: a file that was recorded again must get another one
    states = [(s.st_size, s.st_mtime_ns) for s in map(os.stat, paths)]
    return (pickle.dumps(recording), states)


def _normalized(recording: Any, chunks: Any) -> Any:
    import dask.array.core
    from dask.utils import parse_bytes

    normalize_chunks: Any = dask.array.core.normalize_chunks

    if isinstance(chunks, str) and chunks == "auto":
        requested: Any = sample_chunks(recording, parse_bytes(dask.config.get("array.chunk-size")))
    elif isinstance(chunks, int):
        requested = (chunks, *recording.shape[1:])
    elif isinstance(chunks, Mapping):
        requested = tuple(chunks.get(axis, -1) for axis in range(recording.ndim))
    else:
        requested = chunks
    try:
        return normalize_chunks(requested, recording.shape, dtype=recording.dtype)
    except (ValueError, TypeError) as error:
        raise RangeTypeError(f"chunks={chunks!r} does not fit the shape {recording.shape}: {error}") from error

"""The ways to read a recording, each in words and as a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...imaging.extractor import ImagingExtractor
from .case import Case

__all__ = ["open_and_read", "questions", "read_everything", "routes"]


def open_and_read(case: Case, recording: Any, seen: list[np.ndarray] | None = None) -> None:
    """Open a file that may be damaged or of another format, and read it; the series is put into ``seen``."""
    with case.open(recording) as opened:
        few = min(len(opened), 2 * case.count)
        series = opened.get_series(0, few)
        if seen is not None and len(series) == case.count:
            seen.append(series)
        opened.get_samples(range(few - 1, -1, -1))
        opened.get_native_timestamps(0, few)
        opened.metadata.to_dict()
        repr(opened)


def routes(extractor: ImagingExtractor) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every way to pixels, in words, and its result."""
    n = len(extractor)
    rows, columns = extractor.get_frame_shape()
    planes = slice(0, extractor.get_num_planes()) if extractor.is_volumetric else None
    yield "get_series()", extractor.get_series()
    yield "get_series(1, 2)", extractor.get_series(1, 2)
    yield "get_samples([0])", extractor.get_samples([0])
    yield f"get_samples([{n - 1}, 0])", extractor.get_samples([n - 1, 0])
    yield "get_samples([1, 1])", extractor.get_samples([1, 1])
    yield "recording[0]", extractor[0]
    yield "recording[0:2]", extractor[0:2]
    yield "recording[1:3, 1:, :-1]", extractor[1:3, 1:, :-1]
    yield "get_block of everything", extractor.get_block(slice(0, n), slice(0, rows), slice(0, columns), planes)
    yield "slice_samples(0, 2).get_series()", extractor.slice_samples(0, 2).get_series()
    yield "slice_field_of_view(0, 1).get_series()", extractor.slice_field_of_view(0, 1).get_series()
    if planes is not None:
        yield "select_plane(0).get_series()", extractor.select_plane(0).get_series()


def questions(case: Case, extractor: ImagingExtractor) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield reads in words and as calls."""
    n, rows, columns = case.expected.shape[:3]
    planes = slice(0, case.expected.shape[3]) if case.is_volumetric else None
    whole, middle = (slice(0, rows), slice(0, columns)), (slice(1, rows), slice(0, max(1, columns - 1)))
    indices = np.array([1, 0], np.int64)
    yield "get_series()", extractor.get_series
    yield "get_series(0, 1)", lambda: extractor.get_series(0, 1)
    yield f"get_series({n - 1}, {n})", lambda: extractor.get_series(n - 1, n)
    yield "get_samples([1, 0])", lambda: extractor.get_samples([1, 0])
    yield "get_samples([0, 1])", lambda: extractor.get_samples([0, 1])
    yield "get_samples([0])", lambda: extractor.get_samples([0])
    yield "recording[0]", lambda: extractor[0]
    yield "recording[:2, 1:]", lambda: extractor[:2, 1:]
    block = "get_block of two samples"
    yield block, lambda: extractor.get_block(slice(0, 2), *whole, planes)
    yield f"{block} by index", lambda: extractor.get_block(indices, *whole, planes)
    yield f"{block} in part", lambda: extractor.get_block(slice(0, 2), *middle, planes)
    if case.times is not None and extractor.get_native_timestamps() is not None:
        yield "get_native_timestamps()", extractor.get_native_timestamps
        yield "get_native_timestamps(1, 3)", lambda: extractor.get_native_timestamps(1, 3)
        yield "get_timestamps(1, 3)", lambda: extractor.get_timestamps(1, 3)


def read_everything(extractor: ImagingExtractor) -> None:
    for _, result in routes(extractor):
        result.sum()
    if extractor.times_source is not None:
        extractor.get_timestamps()
        extractor.get_timestamps(1, 2)
    extractor.get_native_timestamps()
    extractor.get_native_timestamps(0, 1)
    extractor.metadata.to_dict()
    repr(extractor)

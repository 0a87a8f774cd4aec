"""The other readers and the physical limit, each as a context manager with the same interface.

Each opens a file once and yields ``read(frames, part)``: `frames` is a list of indices, or None for all; `part` is a
pair of slices, of rows and of columns, or None for whole frames. A library is imported when it is used.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "Read",
    "array",
    "bioio",
    "oiffile",
    "opencv",
    "opened",
    "pims",
    "preadv",
    "preadv_files",
    "roiextractors",
    "tifffile",
]

Part = tuple[slice, slice]
Read = Callable[[list[int] | None, Part | None], np.ndarray]


@contextmanager
def preadv(path: Path, offsets: Sequence[int], shape: tuple[int, ...], dtype: Any) -> Iterator[Read]:
    """The physical limit: `os.preadv` of the same bytes into a new array; for a part, of its rows."""
    descriptor = os.open(path, os.O_RDONLY)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    is_gapless = all(b - a == size for a, b in itertools.pairwise(offsets))

    def read(frames: list[int] | None, part: Part | None) -> np.ndarray:
        chosen = offsets if frames is None else [offsets[k] for k in frames]
        if part is not None:
            return rows_of(chosen, part)
        result = np.empty((len(chosen), *shape), dtype)
        if frames is None and is_gapless:
            flat, at = result.reshape(-1).view(np.uint8), 0
            while at < flat.size:
                at += os.preadv(descriptor, [flat[at:].data], offsets[0] + at)
            return result
        for frame, offset in zip(result, chosen, strict=True):
            os.preadv(descriptor, [frame.data], offset)
        return result

    def rows_of(chosen: Sequence[int], part: Part) -> np.ndarray:
        rows, columns = part
        strip = np.empty((rows.stop - rows.start, shape[1]), dtype)
        skipped = rows.start * shape[1] * strip.itemsize
        result = np.empty((len(chosen), strip.shape[0], columns.stop - columns.start), dtype)
        for frame, offset in zip(result, chosen, strict=True):
            os.preadv(descriptor, [strip.data], offset + skipped)
            frame[:] = strip[:, columns]
        return result

    try:
        yield read
    finally:
        os.close(descriptor)


@contextmanager
def preadv_files(paths: Sequence[Path], offset: int, shape: tuple[int, ...], dtype: Any) -> Iterator[Read]:
    """The physical limit for files of one frame each: open, `os.preadv`, close."""
    names = [str(path) for path in paths]

    def read(frames: list[int] | None, part: Part | None) -> np.ndarray:
        chosen = names if frames is None else [names[k] for k in frames]
        result = np.empty((len(chosen), *shape), dtype)
        for frame, name in zip(result, chosen, strict=True):
            descriptor = os.open(name, os.O_RDONLY)
            os.preadv(descriptor, [frame.data], offset)
            os.close(descriptor)
        return result if part is None else result[:, part[0], part[1]]

    yield read


@contextmanager
def tifffile(path: Path | list[Path]) -> Iterator[Read]:
    """tifffile: `asarray` of pages; a sequence of files by `imread`."""
    import tifffile as library

    if isinstance(path, list):
        names = [str(name) for name in path]

        def sequence(frames: list[int] | None, part: Part | None) -> np.ndarray:
            found = library.imread(names if frames is None else [names[k] for k in frames])
            return found if part is None else found[:, part[0], part[1]]

        yield sequence
        return
    with library.TiffFile(path) as file:

        def read(frames: list[int] | None, part: Part | None) -> np.ndarray:
            found = file.asarray(key=slice(None) if frames is None else frames)
            return found if part is None else found[:, part[0], part[1]]

        yield read


def opened(name: str, *arguments: Any, **options: Any) -> None:
    """Open a recording with an extractor of roiextractors."""
    import roiextractors as library  # type: ignore[import-untyped]

    getattr(library, name)(*arguments, **options)


@contextmanager
def roiextractors(name: str, *arguments: Any, **options: Any) -> Iterator[Read]:
    """roiextractors: one of its extractors, by name."""
    import roiextractors as library

    extractor = getattr(library, name)(*arguments, **options)

    def read(frames: list[int] | None, part: Part | None) -> np.ndarray:
        if frames is None:
            found = extractor.get_series(0, extractor.get_num_samples())
        elif len(frames) == 1:
            found = extractor.get_series(frames[0], frames[0] + 1)
        else:
            order = np.argsort(frames)  # it needs increasing indices
            samples = extractor.get_samples(np.asarray(frames)[order])
            found = np.empty_like(samples)
            found[order] = samples
        cut = found if part is None else found[:, part[0], part[1]]
        is_read = type(cut) is np.ndarray and cut.base is None  # copying reads a memory map
        return cut if is_read else np.array(cut)

    yield read


@contextmanager
def array(opening: Callable[[], Any]) -> Iterator[Read]:
    """Array-likes: a dataset of h5py, an array of zarr, a memory map of numpy."""
    held = opening()

    def read(frames: list[int] | None, part: Part | None) -> np.ndarray:
        cut = part or (slice(None), slice(None))
        if frames is None:
            return np.array(held[:, cut[0], cut[1]])
        if len(frames) == 1:
            return np.array(held[frames[0] : frames[0] + 1, cut[0], cut[1]])
        order = np.argsort(frames)  # h5py needs increasing indices
        result = np.empty((len(frames), *held.shape[1:]), held.dtype)
        result[order] = held[np.asarray(frames)[order].tolist()]
        return result

    yield read
    if hasattr(held, "file"):
        held.file.close()


@contextmanager
def pims(path: Path) -> Iterator[Read]:
    """pims: frame by frame."""
    import pims as library  # type: ignore[import-untyped]

    with closing(library.open(str(path))) as frames_of:

        def read(frames: list[int] | None, part: Part | None) -> np.ndarray:
            chosen = range(len(frames_of)) if frames is None else frames
            return np.stack([np.asarray(frames_of[k] if part is None else frames_of[k][part]) for k in chosen])

        yield read


@contextmanager
def bioio(path: Path) -> Iterator[Read]:
    """bioio: the lazy dask array; reopened for whole reads, because an image caches its pixels."""
    import bioio as library

    image = library.BioImage(str(path))
    lazy = image.get_image_dask_data("TYX")

    def read(frames: list[int] | None, part: Part | None) -> np.ndarray:
        if frames is None and part is None:
            return np.asarray(library.BioImage(str(path)).get_image_data("TYX"))
        found = lazy if frames is None else lazy[frames]
        return np.asarray(found if part is None else found[:, part[0], part[1]])

    yield read


@contextmanager
def oiffile(path: Path, count: int) -> Iterator[Read]:
    """oiffile: one frame at a time by name, from a file that stays open."""
    from oiffile import OifFile

    with OifFile(path) as file:

        def read(frames: list[int] | None, part: Part | None) -> np.ndarray:
            chosen = range(count) if frames is None else frames
            found = [file.asarray(f"s_C001T{k + 1:03}.tif") for k in chosen]
            return np.stack(found if part is None else [frame[part] for frame in found])

        yield read


@contextmanager
def opencv(path: Path, shape: tuple[int, int]) -> Iterator[Read]:
    """OpenCV: VideoCapture, reopened for each call because it only reads forward; converted to grayscale."""
    import cv2

    def read(frames: list[int] | None, part: Part | None) -> np.ndarray:
        video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        wanted = range(int(video.get(cv2.CAP_PROP_FRAME_COUNT))) if frames is None else frames
        result = np.empty((len(wanted), *shape), np.uint8)
        for place, index in enumerate(wanted):
            if frames is not None:
                video.set(cv2.CAP_PROP_POS_FRAMES, index)
            result[place] = cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2GRAY)
        video.release()
        return result if part is None else result[:, part[0], part[1]]

    yield read

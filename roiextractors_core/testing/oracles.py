"""What others read from the same files, and where the pixels lie in them: judges of pixels that an extractor returned.

The judges share no code with the extractors: ``numpy.load`` for .npy, tifffile for TIFF, h5py for HDF5, zarr for
Zarr, and for uncompressed pixels of any format the bytes of the file themselves.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["PixelMap", "Verdict", "frames_of", "judged"]

_MOST_FRAMES = 20_000
_MOST_BYTES = 256 << 20
_FAILURES: tuple[type[BaseException], ...] = (Exception, SystemExit)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge found: right (True), wrong (False) or not to be judged (None), and why."""

    answer: bool | None
    words: str


@dataclass(frozen=True, slots=True)
class PixelMap:
    """Where every frame of a recording lies, uncompressed, in its files.

    Attributes
    ----------
    places : sequence of (str, int)
        File and byte at which each part begins.
    form : str
        How the bytes become pixels: as they are, swapped, inverted, or both.
    by_plane : bool
        Whether the parts are frames (sample after sample, plane after plane), or whole samples.
    part_bytes : int
    """

    places: tuple[tuple[str, int], ...]
    form: str
    by_plane: bool
    part_bytes: int

    @classmethod
    def of(cls, files: Mapping[str, bytes], expected: np.ndarray) -> PixelMap | None:
        """Look for the pixels in the files; None where they do not lie there as they are."""
        for by_plane in (True, False) if expected.ndim == 4 else (True,):
            for form in _FORMS:
                places = _places(files, list(_parts(expected, by_plane)), form)
                if places is not None:
                    return cls(places, form, by_plane, expected[0, ..., 0].nbytes if _flat(expected, by_plane) else expected[0].nbytes)
        return None

    def spans(self, name: str) -> list[tuple[int, int]]:
        """Return begin and end of the pixels in a file, ascending."""
        return sorted((at, at + self.part_bytes) for file, at in self.places if file == name)

    def holds(self, name: str, touched: np.ndarray) -> bool:
        """Return whether all of these bytes of a file are pixels."""
        spans = self.spans(name)
        if not spans:
            return False
        begins = np.array([begin for begin, _ in spans])
        found = np.searchsorted(begins, touched, "right") - 1
        return bool((found >= 0).all() and (touched < begins[np.maximum(found, 0)] + self.part_bytes).all())

    def read(self, files: Mapping[str, bytes], expected: np.ndarray) -> np.ndarray:
        """Return the pixels that lie at these places now, as an array like ``expected``."""
        result = np.empty_like(expected)
        targets = _views(result, self.by_plane)
        for target, (name, at) in zip(targets, self.places, strict=True):
            target[...] = _decoded(files[name][at : at + self.part_bytes], self.form, expected.dtype).reshape(target.shape)
        return result


_FORMS = ("plain", "swapped", "inverted", "swapped and inverted")


def _flat(expected: np.ndarray, by_plane: bool) -> bool:
    return by_plane and expected.ndim == 4


def _parts(array: np.ndarray, by_plane: bool) -> Iterator[np.ndarray]:
    yield from _views(array, by_plane)


def _views(array: np.ndarray, by_plane: bool) -> Iterator[np.ndarray]:
    for sample in array:
        if _flat(array, by_plane):
            yield from (sample[..., plane] for plane in range(sample.shape[-1]))
        else:
            yield sample


def _encoded(part: np.ndarray, form: str) -> bytes:
    whole = np.ascontiguousarray(part)
    if "inverted" in form:
        whole = ~whole if whole.dtype.kind in "biu" else whole
    return (whole.byteswap() if "swapped" in form else whole).tobytes()


def _decoded(data: bytes, form: str, dtype: Any) -> np.ndarray:
    found = np.frombuffer(data, np.dtype(dtype))
    found = found.byteswap() if "swapped" in form else found
    return ~found if "inverted" in form else found


def _places(files: Mapping[str, bytes], parts: list[np.ndarray], form: str) -> tuple[tuple[str, int], ...] | None:
    if not parts or ("inverted" in form and parts[0].dtype.kind not in "iu"):
        return None
    names = sorted(files)
    found: list[tuple[str, int]] = []
    file, at = 0, 0
    for part in parts:
        wanted = _encoded(part, form)
        if len(set(wanted)) < 4:  # a frame of one value could be anywhere
            return None
        place = files[names[file]].find(wanted, at)
        for number in range(len(names)) if place < 0 else ():
            place = files[names[number]].find(wanted)
            if place >= 0:
                file = number
                break
        if place < 0:
            return None
        found.append((names[file], place))
        at = place + len(wanted)
    return tuple(found)


def judged(paths: Sequence[Path], series: np.ndarray) -> Verdict:
    """Look whether every frame is one that others read from the files.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Every file of the recording, as it is now.
    series : numpy.ndarray
        What the extractor returned, ``(samples, rows, columns[, planes])``.
    """
    wanted = [_digest(part) for part in _views(series, True)]
    if not wanted:
        return Verdict(True, "no frame to judge")
    held: dict[str, int] = {}
    failures: list[str] = []
    with _quietly(seconds=10.0):
        for frame in _all_frames(paths, series.shape[1:3], failures):
            if isinstance(frame, np.ndarray):
                held.setdefault(_digest(frame), len(held))
            if len(held) >= _MOST_FRAMES:
                failures.append("there are too many frames")
                break
    missing = [k for k, digest in enumerate(wanted) if digest not in held]
    if not missing:
        order = [held[digest] for digest in wanted]
        return Verdict(True, "" if order == sorted(order) else "in another order")
    if failures or not held:
        return Verdict(None, failures[0] if failures else "no judge reads these files")
    return Verdict(False, f"{len(missing)} of {len(wanted)} frames, the first of them {missing[0]}, are in none of the files")


def frames_of(path: Path, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield every frame of this shape that another library reads from a file."""
    with path.open("rb") as stream:
        head = stream.read(1024)
    if head[:6] == b"\x93NUMPY":
        yield from _planes_of(np.load(path, allow_pickle=False), shape)
    elif head[:4] in (b"II*\x00", b"II+\x00", b"MM\x00*", b"MM\x00+"):
        yield from _tiff_frames(path, shape)
    elif b"\x89HDF\r\n\x1a\n" in head:
        yield from _hdf5_frames(path, shape)
    elif path.name in (".zarray", "zarr.json"):
        yield from _zarr_frames(path.parent, shape)


def _all_frames(paths: Sequence[Path], shape: tuple[int, int], failures: list[str]) -> Iterator[np.ndarray]:
    for path in paths:
        if not path.is_file() or not path.stat().st_size:
            continue
        try:
            yield from frames_of(path, shape)
        except _FAILURES as error:
            failures.append(f"the judge says {type(error).__name__}: {str(error)[:80]}")


def _planes_of(array: np.ndarray, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the frames of an array for every pair of its axes that has the shape."""
    if array.nbytes > _MOST_BYTES:
        raise ValueError("too large to judge")
    for rows, columns in itertools.permutations(range(array.ndim), 2):
        if (array.shape[rows], array.shape[columns]) == shape:
            moved = np.moveaxis(array, (rows, columns), (-2, -1))
            yield from moved.reshape(-1, *shape)


def _tiff_frames(path: Path, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            if page.size * page.dtype.itemsize > _MOST_BYTES:
                raise ValueError("a page is too large to judge")
            yield from _planes_of(page.asarray(), shape)
        if file.is_imagej:
            yield from _planes_of(file.series[0].asarray(), shape)


def _hdf5_frames(path: Path, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    import h5py

    found: list[Any] = []
    with h5py.File(path, "r", locking=False) as file:
        file.visititems(lambda _, node: found.append(node) if hasattr(node, "ndim") and node.ndim >= 2 else None)
        for node in found:
            if node.dtype.kind in "biuf" and set(shape) <= set(node.shape):
                if node.nbytes > _MOST_BYTES:
                    raise ValueError("a dataset is too large to judge")
                yield from _planes_of(node[()], shape)


def _zarr_frames(folder: Path, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    import zarr

    node = zarr.open(str(folder), mode="r")
    if hasattr(node, "shape"):
        if int(np.prod(node.shape, dtype=object)) * node.dtype.itemsize > _MOST_BYTES:
            raise ValueError("an array is too large to judge")
        yield from _planes_of(np.asarray(node[...]), shape)


def _digest(frame: np.ndarray) -> str:
    native = np.ascontiguousarray(frame, frame.dtype.newbyteorder("="))
    return hashlib.sha1(f"{native.dtype.str}{native.shape}".encode() + native.tobytes(), usedforsecurity=False).hexdigest()


class _TooSlow(Exception):
    pass


@contextmanager
def _quietly(*, seconds: float) -> Iterator[None]:
    """Silence the judges, and end those that do not come to an end by themselves."""

    def stop(*_: object) -> None:
        raise _TooSlow("the judge takes too long")

    can_stop = hasattr(signal, "setitimer") and sys.platform != "win32"
    before = None
    if can_stop:
        with suppress(ValueError):  # not in the main thread
            before = signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

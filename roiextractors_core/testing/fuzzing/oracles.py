"""What others read from the same files, and where the pixels lie in them: judges of pixels that an extractor returned.

The judges share no code with the extractors: ``numpy.load`` for .npy, tifffile for TIFF, h5py for HDF5, zarr for Zarr,
and for any format the bytes of the files themselves.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import itertools
import logging
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import counted

__all__ = ["PixelMap", "Verdict", "frames_of", "judge", "quietly"]

_MAX_FRAMES = 20_000  # digests in memory; a damaged count of pages would have no end
_MAX_BYTES = 256 << 20


class _TooSlow(BaseException):
    """Not an Exception: a reader that goes on after the failure of one frame must not catch it."""


_FAILURES: tuple[type[BaseException], ...] = (Exception, SystemExit, _TooSlow)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judges found: right (True), wrong (False) or not to be judged (None), why, and whether another reader was among them."""

    answer: bool | None
    words: str
    by_reader: bool = True


@dataclass(frozen=True, slots=True)
class PixelMap:
    """The places of the uncompressed pixels of a recording in its files.

    Attributes
    ----------
    places : tuple of (str, int)
        File and byte at which each part begins; where values are interleaved, the byte in its lane.
    form : str
        How the bytes become pixels: as they are, swapped, inverted, or both.
    order : tuple of int
        The axes of the recording in the order of the file; empty where a part is a frame, or a sample.
    by_plane : bool
        Whether the parts are frames (sample after sample, plane after plane), or whole samples.
    part_bytes : int
    lane : _Lane
        Which of the values in a file, where those of several channels are interleaved.
    """

    places: tuple[tuple[str, int], ...]
    form: str
    order: tuple[int, ...]
    by_plane: bool
    part_bytes: int
    lane: _Lane

    @classmethod
    def of(cls, files: Mapping[str, bytes], expected: np.ndarray) -> PixelMap | None:
        """Look for the pixels in the files; None if they are not stored as they are."""
        # Up to three channels are interleaved value by value in the formats known here
        for lane in _Lane.every(expected.dtype.itemsize):
            found = cls._in_lane({name: lane.of(data) for name, data in files.items()}, expected, lane)
            if found is not None:
                return found
        return None

    @classmethod
    def of_whole(cls, files: Mapping[str, bytes], array: np.ndarray) -> PixelMap | None:
        """Look for an array that is stored in one piece, in any order of its axes; None if it is not."""
        lane = _Lane(1, 0, array.dtype.itemsize)
        for form, order in itertools.product(_FORMS[:2], itertools.permutations(range(array.ndim))):
            places = _places(files, [array.transpose(order)], form)
            if places is not None:
                return cls(places, form, order, False, array.nbytes, lane)
        return None

    @classmethod
    def _in_lane(cls, files: Mapping[str, bytes], expected: np.ndarray, lane: _Lane) -> PixelMap | None:
        for form in _FORMS:
            if "inverted" in form and expected.dtype.kind not in "iu":  # ~ is for integers only
                continue
            for by_plane in (True, False) if expected.ndim == 4 else (True,):
                parts = list(_parts(expected, by_plane))
                places = _places(files, parts, form)
                if places is not None:
                    return cls(places, form, (), by_plane, parts[0].nbytes, lane)
            # Formats with time as the fastest axis store no frame as one run of bytes
            for order in itertools.permutations(range(expected.ndim)) if lane.step == 1 else ():
                places = _places(files, [expected.transpose(order)], form)
                if places is not None:
                    return cls(places, form, order, False, expected.nbytes, lane)
        return None

    def spans(self, name: str) -> list[tuple[int, int]]:
        """Return begin and end of the pixels in a file, ascending; interleaved ones with the bytes between them."""
        step = self.lane.step
        return sorted((at * step, (at + self.part_bytes) * step) for file, at in self.places if file == name)

    def contains(self, name: str, touched: np.ndarray) -> bool:
        """Return whether all of these bytes of a file are pixels."""
        return bool(self.inside(name, touched).all())

    def inside(self, name: str, touched: np.ndarray) -> np.ndarray:
        """Return for each of these bytes of a file whether it is one of the pixels."""
        begins = np.array(sorted(at for file, at in self.places if file == name), np.int64)
        at = self.lane.places(touched)
        if not len(begins):
            return np.zeros(at.shape, np.bool_)
        found = np.searchsorted(begins, at, "right") - 1
        within: np.ndarray = (at >= 0) & (found >= 0) & (at < begins[np.maximum(found, 0)] + self.part_bytes)
        return within

    def read(self, files: Mapping[str, bytes], expected: np.ndarray) -> np.ndarray:
        """Return the pixels that lie at these places now, as an array like ``expected``, up to the first that is not whole."""
        result = np.empty_like(expected)
        targets = [result.transpose(self.order)] if self.order else list(_parts(result, self.by_plane))
        lanes = {name: self.lane.of(files.get(name, b"")) for name, _ in self.places}
        for number, (target, (name, at)) in enumerate(zip(targets, self.places, strict=True)):
            data = lanes[name][at : at + self.part_bytes]
            if len(data) < self.part_bytes:
                return result[: number * len(expected) // len(targets)]
            target[...] = _decode(data, self.form, expected.dtype).reshape(target.shape)
        return result


@dataclass(frozen=True, slots=True)
class _Lane:
    """Every ``step``-th value of a file, from the value ``first`` on."""

    step: int
    first: int
    itemsize: int

    @classmethod
    def every(cls, itemsize: int) -> Iterator[_Lane]:
        for step in (1, 2, 3):
            yield from (cls(step, first, itemsize) for first in range(step))

    def of(self, data: bytes) -> bytes:
        if self.step == 1:
            return data
        values = np.frombuffer(data, f"V{self.itemsize}", len(data) // self.itemsize)
        return values[self.first :: self.step].tobytes()

    def places(self, touched: np.ndarray) -> np.ndarray:
        """Return the places in the lane of bytes of the file; -1 for those of other lanes."""
        value, rest = touched // self.itemsize, touched % self.itemsize
        return np.where(value % self.step == self.first, value // self.step * self.itemsize + rest, -1)


_FORMS = ("plain", "swapped", "inverted", "swapped and inverted")


def _parts(array: np.ndarray, by_plane: bool) -> Iterator[np.ndarray]:
    """Yield views of the frames, or of the samples of volumes."""
    for sample in array:
        if by_plane and array.ndim == 4:
            yield from (sample[..., plane] for plane in range(sample.shape[-1]))
        else:
            yield sample


def _encode(part: np.ndarray, form: str) -> bytes:
    whole = np.ascontiguousarray(part)
    if "inverted" in form:
        whole = ~whole
    return (whole.byteswap() if "swapped" in form else whole).tobytes()


def _decode(data: bytes, form: str, dtype: Any) -> np.ndarray:
    found = np.frombuffer(data, np.dtype(dtype))
    found = found.byteswap() if "swapped" in form else found
    return ~found if "inverted" in form else found


def _places(files: Mapping[str, bytes], parts: Sequence[np.ndarray], form: str) -> tuple[tuple[str, int], ...] | None:
    names = sorted(files)
    found: list[tuple[str, int]] = []
    file, at = 0, 0
    for part in parts:
        content = _encode(part, form)
        if len(set(content)) < 4:  # a frame of one value could be anywhere
            return None
        place = files[names[file]].find(content, at)
        for number in range(len(names)) if place < 0 else ():
            place = files[names[number]].find(content)
            if place >= 0:
                file = number
                break
        if place < 0 or _is_elsewhere(files, content, names[file], place):
            return None
        found.append((names[file], place))
        at = place + len(content)
    return tuple(found) if found else None


def _is_elsewhere(files: Mapping[str, bytes], content: bytes, name: str, place: int) -> bool:
    """Return whether the same bytes are at another place too, so that the place is ambiguous."""
    others = any(content in data for other, data in files.items() if other != name)
    return others or files[name].find(content) != place or files[name].find(content, place + 1) >= 0


def judge(paths: Sequence[Path], series: np.ndarray, known: Sequence[np.ndarray] = (), *, reader: str = "") -> Verdict:
    """Look whether every frame is one that others read from the files.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Every file of the recording, as it is now.
    series : numpy.ndarray
        What the extractor returned, ``(samples, rows, columns[, planes])``.
    known : sequence of numpy.ndarray
        Samples that are right without another reader: those of the unchanged recording, which can only have come out of the
        file, and what lies where its pixels were.
    reader : str
        Another reader of the format, as ``"module:function"`` or ``"file.py:function"``.
    """
    digests = [_digest(part) for part in _parts(series, True)]
    if not digests:
        return Verdict(True, "no frame to judge")
    seen: dict[str, int] = {}
    failures: list[str] = []
    with quietly(seconds=10.0, failures=failures):
        for frame in _all_frames(paths, series.shape[1:3], failures, reader):
            if isinstance(frame, np.ndarray):
                seen.setdefault(_digest(frame), len(seen))
            if len(seen) >= _MAX_FRAMES:
                failures.append("there are too many frames")
                break
    # Asked before the known samples are added, which say nothing about a reader
    by_reader = all(digest in seen for digest in digests)
    was_read = bool(seen)
    for frame in (frame for samples in known for frame in _parts(samples, True)):
        seen.setdefault(_digest(frame), len(seen))
    missing = [k for k, digest in enumerate(digests) if digest not in seen]
    if not missing:
        order = [seen[digest] for digest in digests]
        return Verdict(True, "" if order == sorted(order) else "in another order", by_reader)
    if failures or not was_read:
        return Verdict(None, failures[0] if failures else "no judge reads these files")
    return Verdict(
        False, f"{len(missing)} of {counted(len(digests), 'frame')} (the first is {missing[0]}) not found in the files"
    )


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


def _all_frames(
    paths: Sequence[Path], shape: tuple[int, int], failures: list[str], reader: str
) -> Iterator[np.ndarray]:
    readers = [frames_of, _import_function(reader)] if reader else [frames_of]
    for path, read in itertools.product(paths, readers):
        if not path.is_file() or not path.stat().st_size:
            continue
        try:
            yield from read(path, shape)
        except _FAILURES as error:
            failures.append(f"the judge says {type(error).__name__}: {str(error)[:80]}")


def _planes_of(array: np.ndarray, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the frames of an array for every pair of its axes that has the shape."""
    if array.nbytes > _MAX_BYTES:
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
            if page.dtype is None or page.size * page.dtype.itemsize > _MAX_BYTES:
                raise ValueError("a page is too large to judge")
            found = page.asarray()
            yield from _planes_of(found.view(np.uint8) if found.dtype == bool else found, shape)
        if file.is_imagej and len(file.pages) == 1:
            yield from _behind_each_other(path, file.pages[0], shape)


def _behind_each_other(path: Path, page: Any, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the frames of ImageJ's stacks of one directory: as many as the file contains after the first."""
    if page.compression == 1 and page.shape == shape and page.dtype is not None and page.bitspersample >= 8:
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        values = np.fromfile(path, np.uint8, offset=page.dataoffsets[0])
        count = len(values) // (shape[0] * shape[1] * dtype.itemsize)
        yield from values[: count * shape[0] * shape[1] * dtype.itemsize].view(dtype).reshape(-1, *shape)


def _hdf5_frames(path: Path, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    import h5py

    found: list[Any] = []
    with h5py.File(path, "r", locking=False) as file:
        file.visititems(lambda _, node: found.append(node) if hasattr(node, "ndim") and node.ndim >= 2 else None)
        for node in found:
            if node.dtype.kind in "biuf" and set(shape) <= set(node.shape):
                if node.nbytes > _MAX_BYTES:
                    raise ValueError("a dataset is too large to judge")
                yield from _planes_of(node[()], shape)


def _zarr_frames(folder: Path, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    import zarr

    node: Any = zarr.open(str(folder), mode="r")
    if hasattr(node, "shape"):
        if int(np.prod(node.shape, dtype=object)) * node.dtype.itemsize > _MAX_BYTES:
            raise ValueError("an array is too large to judge")
        yield from _planes_of(np.asarray(node[...]), shape)


def _import_function(reader: str) -> Callable[[Path, tuple[int, int]], Iterable[np.ndarray]]:
    """Import ``module:function`` or ``file.py:function``."""
    place, _, name = reader.rpartition(":")
    if not place.endswith(".py"):
        found: Callable[[Path, tuple[int, int]], Iterable[np.ndarray]] = getattr(importlib.import_module(place), name)
        return found
    spec = importlib.util.spec_from_file_location(f"reader_{Path(place).stem}", place)
    if spec is None or spec.loader is None:
        raise ImportError(f"{place} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name)
    return found


def _digest(frame: np.ndarray) -> str:
    # The readers return the byte order of the file, the extractors the native one
    native = np.ascontiguousarray(frame, frame.dtype.newbyteorder("="))
    return hashlib.sha1(
        f"{native.dtype.str}{native.shape}".encode() + native.tobytes(), usedforsecurity=False
    ).hexdigest()


@contextmanager
def quietly(*, seconds: float, failures: list[str]) -> Iterator[None]:
    """Silence the judges, and end those that do not come to an end by themselves, which is a failure."""

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
    except _TooSlow as error:
        failures.append(f"the judge says {error}")
    finally:
        if before is not None:  # only the main thread may set a timer
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

"""Recordings made up by rule, of any shape and length, the same at every reading; and files written from them."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import os
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import DeclarationError, RoiExtractorsError, SourceNotFoundError, listed, printable
from ..imaging.extractor import ImagingExtractor
from ..io.threads import num_cores, run_on_cores

__all__ = [
    "CalciumImagingExtractor",
    "NoiseImagingExtractor",
    "TargetExistsError",
    "write_npy",
    "write_scanimage",
    "write_tiff",
]

Progress = Callable[[int, int], None]

_BLOCK_BYTES = 8 << 20
_PARALLEL_PIXELS = 1 << 20  # below this, starting threads costs more than it gains
_CLASSIC_LIMIT = 1 << 32
_EVENT_SECONDS = 10.0  # events are drawn for stretches of this length; a transient has died away after one


class TargetExistsError(RoiExtractorsError, FileExistsError):
    """A file is there already where a recording would be written."""


class _MadeUp(ImagingExtractor):
    """A recording whose samples are computed when they are asked for, each from the seed and its own number."""

    _kinds = "iuf"

    def __init__(self, shape: Sequence[int], dtype: Any, seed: int, sampling_frequency: float | None) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._shape = tuple(int(n) for n in shape)
        if len(self._shape) not in (3, 4) or self._shape[0] < 0 or min(self._shape[1:]) < 1:
            raise DeclarationError(
                f"a shape (samples, rows, columns[, planes]) of 0 or more samples of 1 or more pixels is needed, and not {shape}"
            )
        self._dtype: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
        if self._dtype.kind not in self._kinds:
            raise DeclarationError(f"{type(self).__name__} makes no samples of the dtype {self._dtype}")
        self._seed = int(seed) & (2**64 - 1)
        self.is_volumetric = len(self._shape) == 4

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._shape[1], self._shape[2]

    def get_num_samples(self) -> int:
        """Return the number of samples."""
        return self._shape[0]

    def get_num_planes(self) -> int:
        """Return the number of planes; 1 for a planar recording."""
        return self._shape[3] if len(self._shape) == 4 else 1

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype that was asked for, in native byte order."""
        return self._dtype

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        """Return consecutive samples; see :meth:`ImagingExtractor.get_series`."""
        start, end = self.resolve_range(start_sample, end_sample)
        result = np.empty((end - start, *self._shape[1:]), self._dtype)
        parts = min(num_cores(), end - start) if result.size >= _PARALLEL_PIXELS else 1
        edges = [(end - start) * k // max(1, parts) for k in range(parts + 1)]
        run_on_cores([functools.partial(self._fill, result, start, a, b) for a, b in itertools.pairwise(edges)])
        return result

    def _fill(self, result: np.ndarray, start: int, first: int, last: int) -> None:
        for place in range(first, last):
            self._draw(start + place, result[place])

    def _random(self, stream: int, number: int) -> np.random.Generator:
        """Return the random numbers that belong to one sample, cell, plane or stretch of time, and to no other."""
        return np.random.Generator(self._bits(stream, number))

    def _bits(self, stream: int, number: int) -> np.random.Philox:
        return np.random.Philox(
            key=np.array([self._seed, stream], np.uint64), counter=np.array([0, 0, 0, number], np.uint64)
        )

    def _draw(self, sample: int, result: np.ndarray) -> None:
        raise TypeError(f"{type(self).__name__} does not say what a sample is")


class NoiseImagingExtractor(_MadeUp):
    """Uniform noise over the whole range of a dtype (floats: 0 to 1); every frame differs from every other.

    Parameters
    ----------
    shape : sequence of int
        ``(samples, rows, columns)`` or ``(samples, rows, columns, planes)``; any length costs no memory.
    dtype : dtype
        Whole numbers, floats, complex numbers or bool.
    seed : int
        The same seed and shape of a sample give the same pixels, however they are read and on every machine.
    sampling_frequency : float, optional
        Samples a second (Hz); None for a recording without a known rate.

    Examples
    --------
    >>> from roiextractors_core.testing import NoiseImagingExtractor
    >>> recording = NoiseImagingExtractor((200_000, 512, 512), "int16", seed=1)
    >>> recording.nbytes, recording[199_999, :2, :3].shape
    (104857600000, (2, 3))
    """

    _kinds = "biufc"

    def __init__(
        self,
        shape: Sequence[int] = (100, 64, 64),
        dtype: Any = "uint16",
        seed: int = 0,
        *,
        sampling_frequency: float | None = 30.0,
    ) -> None:
        super().__init__(shape, dtype, seed, sampling_frequency)

    def _draw(self, sample: int, result: np.ndarray) -> None:
        bits, kind = self._bits(0, sample), self._dtype.kind
        if kind in "iu":
            words = bits.random_raw(-(-result.nbytes // 8)).astype("<u8", copy=False)
            few = words.view(self._dtype.newbyteorder("<"))[: result.size]
            result[...] = few.reshape(result.shape)
            return
        shape = (*result.shape, 2) if kind == "c" else result.shape
        fractions = (bits.random_raw(math.prod(shape)) >> np.uint64(11)).reshape(shape) * 2.0**-53
        if kind == "b":
            result[...] = fractions < 0.5
        else:
            result[...] = fractions[..., 0] + 1j * fractions[..., 1] if kind == "c" else fractions


class CalciumImagingExtractor(_MadeUp):
    """A two-photon recording of cells: calcium transients, neuropil, the shadow of vessels, shot noise.

    Cells are rings of cytosol about a dark nucleus.  Events come at random (Poisson), each a fast rise and an
    exponential decay.  The neuropil glows and varies slowly; vessels that branch cast a shadow on all of it; photons
    are counted (Poisson), so that bright pixels are noisier.  A longer recording begins like a shorter one.

    Parameters
    ----------
    shape : sequence of int
        ``(samples, rows, columns)`` or ``(samples, rows, columns, planes)``; any length costs no memory.
    dtype : dtype
        Whole numbers, 12 to a photon or fewer where the dtype holds less; or floats, 1 to a photon.
    seed : int
        Of the scene and of the noise; recordings of one seed and frame shape share cells and vessels.  The pixels
        are the same with every reading, and with every release of numpy that draws Poisson numbers alike.
    sampling_frequency : float
        Samples a second (Hz).
    num_cells : int
    functional : bool
        False gives a structural marker: part of the same cells, filled and still, under noise of its own.
    photons : float
        Mean photons of a bright pixel in one sample; fewer are noisier.

    Examples
    --------
    >>> from roiextractors_core.testing import CalciumImagingExtractor
    >>> green = CalciumImagingExtractor((1000, 64, 64), "int16", seed=1, sampling_frequency=30.0)
    >>> red = CalciumImagingExtractor((1000, 64, 64), "int16", seed=1, functional=False)
    >>> green.get_series(500, 510).shape, green.get_activity(500, 510).shape
    ((10, 64, 64), (10, 40))
    """

    def __init__(
        self,
        shape: Sequence[int] = (300, 256, 256),
        dtype: Any = "int16",
        seed: int = 0,
        *,
        sampling_frequency: float = 30.0,
        num_cells: int = 40,
        functional: bool = True,
        photons: float = 20.0,
    ) -> None:
        super().__init__(shape, dtype, seed, sampling_frequency)
        if num_cells < 0 or not 0 < photons <= 1e9:
            raise DeclarationError(
                f"num_cells must be 0 or more and photons within 0 to 1e9, and they are {num_cells} and {photons}"
            )
        self._rate = float(sampling_frequency)
        self._functional = bool(functional)
        self._photons = float(photons)
        self._num_cells = int(num_cells)
        self._gain = _gain(self._dtype, self._photons)
        rows, columns, planes = self.get_volume_shape()
        self._scale = min(rows, columns)
        cells = self._random(1, 0)
        self._radius = np.maximum(1.5, self._scale / 38 * cells.uniform(0.75, 1.25, num_cells))
        self._centre = _scattered(cells, (rows, columns, planes), self._radius)
        self._resting = 0.45 * cells.lognormal(0.0, 0.35, num_cells)
        self._events_a_second = 0.12 * cells.lognormal(0.0, 0.7, num_cells) * (cells.random(num_cells) > 0.2)
        self._decay = cells.uniform(0.4, 0.9, num_cells)
        self._marked = cells.random(num_cells) < 0.6
        self._bodies = [self._body(cell, cells.uniform(0, np.pi), cells.uniform(0.8, 1.0)) for cell in range(num_cells)]
        self._neuropil = np.stack([self._background(plane) for plane in range(planes)], axis=-1)
        self._light = (_vessels(self._random(2, 0), rows, columns) * _vignette(rows, columns) * photons)[..., None]
        self._waves = self._random(3, 0).uniform([0.02, 0.0], [0.4, 2 * np.pi], (6, 2))
        self._stretch = functools.lru_cache(maxsize=16)(self._drawn_events)

    def get_activity(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        """Return the truth behind the pixels: by how much each cell is brighter than at rest.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            As in :meth:`get_series`.

        Returns
        -------
        numpy.ndarray
            ``(samples, cells)``, float64, in units of the resting brightness; 0 for a structural marker.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        result = np.empty((end - start, self._num_cells))
        for place in range(end - start):
            result[place] = self._activity(start + place)
        return result

    def _draw(self, sample: int, result: np.ndarray) -> None:
        image = self._neuropil * self._glow(sample)
        if self._functional:
            levels = self._resting * (1 + self._activity(sample))
        else:
            levels = np.where(self._marked, 2.2 * self._resting, 0.0)
        for (window, body), level in zip(self._bodies, levels.tolist(), strict=True):
            image[window] += body * level
        image *= self._light
        counted = self._random(4 if self._functional else 5, sample).poisson(image) * self._gain
        counted = counted if len(self._shape) == 4 else counted[..., 0]
        if self._dtype.kind in "iu":
            limits = np.iinfo(self._dtype)
            counted = np.clip(counted, limits.min, limits.max)
        result[...] = counted

    def _activity(self, sample: int) -> np.ndarray:
        if not self._functional:
            return np.zeros(self._num_cells)
        now = sample / self._rate
        stretch = math.floor(now / _EVENT_SECONDS)
        cells, onsets, sizes = (
            np.concatenate(p) for p in zip(*map(self._stretch, (stretch - 1, stretch)), strict=True)
        )
        ages = np.maximum(now - onsets, 0)
        course = sizes * (1 - np.exp(-ages / 0.06)) * np.exp(-ages / self._decay[cells])
        return np.bincount(cells, weights=course, minlength=self._num_cells)

    def _drawn_events(self, stretch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the events of a stretch of time, the first of which begins before the recording: cell, onset, size."""
        random = self._random(6, stretch + 1)
        counts = random.poisson(self._events_a_second * _EVENT_SECONDS)
        cells = np.repeat(np.arange(self._num_cells), counts)
        onsets = (stretch + random.random(len(cells))) * _EVENT_SECONDS
        return cells, onsets, 2.2 * random.lognormal(0.0, 0.4, len(cells))

    def _glow(self, sample: int) -> float:
        if not self._functional:
            return 0.5
        turns = 2 * np.pi * self._waves[:, 0] * (sample / self._rate)
        return 1 + 0.025 * float(np.sin(turns + self._waves[:, 1]).sum())

    def _background(self, plane: int) -> np.ndarray:
        rows, columns = self.get_frame_shape()
        random = self._random(7, plane)
        coarse, fine = _smooth(random, rows, columns, self._scale / 9), _smooth(random, rows, columns, self._scale / 90)
        return np.maximum(0.24 * (1 + 0.22 * coarse + 0.16 * fine), 0.04)

    def _body(self, cell: int, angle: float, ratio: float) -> tuple[tuple[slice, slice, slice], np.ndarray]:
        """Return where a cell lies and how bright its pixels are there: at most 1."""
        radius, reach = float(self._radius[cell]), math.ceil(2 * float(self._radius[cell]))
        window = tuple(
            slice(max(0, int(at) - far), min(size, int(at) + far + 1))
            for at, far, size in zip(self._centre[cell], (reach, reach, 2), self.get_volume_shape(), strict=True)
        )
        y, x, z = np.meshgrid(
            *(np.arange(s.start, s.stop) - at for s, at in zip(window, self._centre[cell], strict=True)), indexing="ij"
        )
        along, across = y * math.cos(angle) + x * math.sin(angle), x * math.cos(angle) - y * math.sin(angle)
        deep = np.where(self.get_num_planes() > 1, 0.8 * z, 0.0)
        distance = np.sqrt((along / radius) ** 2 + (across / (ratio * radius)) ** 2 + deep**2)
        nucleus = 0.5 * np.exp(-((distance / 0.45) ** 4)) if self._functional else 0.0
        return (window[0], window[1], window[2]), np.exp(-(distance**4)) - nucleus


def _gain(dtype: np.dtype[Any], photons: float) -> float:
    """Return how many steps of the dtype a photon makes, so that a bright transient is not clipped."""
    if dtype.kind == "f":
        return 1.0
    return min(12.0, float(np.iinfo(dtype).max) / (8 * photons))


def _scattered(random: np.random.Generator, shape: tuple[int, int, int], radius: np.ndarray) -> np.ndarray:
    """Return places for cells, ``(cells, 3)``, apart from one another as long as there is room."""
    placed = np.empty((len(radius), 3))
    spread = np.array([1.0, 1.0, 2 * float(radius.mean()) if len(radius) else 1.0])
    for cell, own in enumerate(radius):
        for _ in range(40):
            placed[cell] = random.random(3) * shape - [0, 0, 0.5]
            distances = np.sqrt((((placed[:cell] - placed[cell]) * spread) ** 2).sum(axis=1))
            if (distances > 1.05 * (radius[:cell] + own)).all():
                break
    return placed


def _smooth(random: np.random.Generator, rows: int, columns: int, sigma: float) -> np.ndarray:
    """Return a random field ``(rows, columns)`` of mean 0 and deviation 1 that varies over ``sigma`` pixels."""
    white = np.fft.rfft2(random.standard_normal((rows, columns)))
    frequencies = np.fft.fftfreq(rows)[:, None] ** 2 + np.fft.rfftfreq(columns)[None, :] ** 2
    field = np.fft.irfft2(white * np.exp(-2 * (np.pi * sigma) ** 2 * frequencies), (rows, columns))
    field -= field.mean()
    deviation = float(field.std())
    return field / deviation if deviation > 0 else field


def _vignette(rows: int, columns: int) -> np.ndarray:
    y, x = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, columns)[None, :]
    return np.asarray(1 - 0.15 * (x**2 + y**2))


def _vessels(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Return the light that passes vessels, ``(rows, columns)``, 0 to 1: trunks from the border, which branch."""
    light = np.ones((rows, columns))
    scale = min(rows, columns)
    growing = [_trunk(random, rows, columns, width) for width in (0.022 * scale, 0.014 * scale)]
    for _ in range(3000):
        if not growing:
            break
        y, x, heading, width = growing.pop()
        y, x = y + 0.5 * width * math.sin(heading), x + 0.5 * width * math.cos(heading)
        if not (-width <= y <= rows + width and -width <= x <= columns + width and width > 0.004 * scale):
            continue
        _shade(light, y, x, width)
        if random.random() < 0.013:
            turn = random.choice([-1, 1]) * random.uniform(0.5, 1.0)
            growing.append((y, x, heading + turn, width * random.uniform(0.5, 0.75)))
        growing.append((y, x, heading + 0.055 * random.standard_normal(), width * 0.9985))
    return light


def _trunk(random: np.random.Generator, rows: int, columns: int, width: float) -> tuple[float, float, float, float]:
    """Return a place on the border, and a heading inwards."""
    side, along = random.integers(4), random.uniform(0.2, 0.8)
    y, x = [(0.0, along), (1.0, along), (along, 0.0), (along, 1.0)][side]
    heading = math.atan2(0.5 - y, 0.5 - x) + random.uniform(-0.4, 0.4)
    return y * rows, x * columns, heading, max(0.6, width)


def _shade(light: np.ndarray, y: float, x: float, width: float) -> None:
    reach = math.ceil(2 * width)
    window = tuple(
        slice(max(0, int(at) - reach), max(0, min(size, int(at) + reach + 1)))
        for at, size in zip((y, x), light.shape, strict=True)
    )
    rows, columns = (np.arange(s.start, s.stop) for s in window)
    distance = ((rows[:, None] - y) ** 2 + (columns[None, :] - x) ** 2) / width**2
    np.minimum(light[window], 1 - 0.8 * np.exp(-(distance**2)), out=light[window])


def write_npy(
    recording: ImagingExtractor,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a recording as ``.npy``, block by block, so that its length costs no memory.

    Parameters
    ----------
    recording : ImagingExtractor
    path : str or os.PathLike
        The file appears under this name when it is complete.
    overwrite : bool
        Whether a file that is there may be replaced.
    progress : callable, optional
        ``progress(done, total)`` in samples.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    TargetExistsError
        A file is there, and may not be replaced.
    SourceNotFoundError
        The folder is not there.

    Examples
    --------
    >>> from roiextractors_core.testing import NoiseImagingExtractor, write_npy
    >>> write_npy(NoiseImagingExtractor((10, 32, 32)), "noise.npy").stat().st_size
    20608
    """

    def content(stream: BinaryIO) -> None:
        dtype = np.lib.format.dtype_to_descr(recording.dtype)
        header = {"descr": dtype, "fortran_order": False, "shape": recording.shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for done, block in _blocks([recording]):
            stream.write(np.ascontiguousarray(block[0]).data)
            _tell(progress, done, len(recording))

    return _written(path, content, overwrite)


def write_tiff(
    recording: ImagingExtractor,
    path: str | os.PathLike[str],
    *,
    byteorder: str = "<",
    bigtiff: bool = False,
    layout: str = "pages",
    description: str = "",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a recording as uncompressed TIFF, a page a frame, the planes of a volume one after the other.

    Parameters
    ----------
    recording : ImagingExtractor
        Of whole numbers or floats, and at least one sample.
    path : str or os.PathLike
        The file appears under this name when it is complete.
    byteorder : str
        ``"<"`` or ``">"``.
    bigtiff : bool
        Needed from 4 GiB on.
    layout : str
        ``"pages"``: each page is its directory, then its pixels. ``"trailing"``: all pixels, then all directories.
        ``"imagej"``: one directory, then all pixels, with the lengths in ImageJ's words (uint8, uint16, float32).
    description : str
        The first page's ImageDescription; for ``"imagej"`` lines to add to its own.
    overwrite, progress
        As for :func:`write_npy`.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    TargetExistsError, SourceNotFoundError
        As for :func:`write_npy`.
    DeclarationError
        TIFF, or this layout of it, cannot hold the recording.

    References
    ----------
    TIFF Revision 6.0, Adobe 1992; the BigTIFF proposal of 2004; ImageJ's source, ``ij.io.TiffEncoder``.
    """
    _check_tiff(recording, byteorder, layout)
    rows, columns = recording.get_frame_shape()
    total = len(recording) * recording.get_num_planes()
    size = rows * columns * recording.dtype.itemsize
    text = _imagej_description(recording, description) if layout == "imagej" else description
    encoded = (text.encode() + b"\0").ljust(9, b"\0") if text else b""  # up to 8 bytes would stand in the directory
    fields = _page_fields(rows, columns, recording.dtype)
    first = _Directory({**fields, 270: (2, len(encoded), 0)} if encoded else fields, size, byteorder, bigtiff)
    other = _Directory(fields, size, byteorder, bigtiff)
    head = 16 if bigtiff else 8
    bulk = head + len(encoded) + (total - 1) * len(other) + total * size
    if not bigtiff and layout != "imagej" and bulk + len(first) > _CLASSIC_LIMIT:
        raise DeclarationError(f"{total:,} pages of {size:,} bytes are more than classic TIFF holds; pass bigtiff=True")

    def frames() -> Iterator[Any]:
        swapped = recording.dtype.newbyteorder("<" if byteorder == "<" else ">")
        for done, (block,) in _blocks([recording]):
            paged = np.moveaxis(block, 3, 1) if recording.is_volumetric else block
            for frame in paged.reshape(-1, rows, columns):
                yield np.ascontiguousarray(frame, swapped).data
            _tell(progress, done, len(recording))

    def paged(stream: BinaryIO) -> None:
        at = head
        stream.write(_head(byteorder, bigtiff, at))
        for page, frame in enumerate(frames()):
            directory, note = (first, encoded) if page == 0 else (other, b"")
            pixels = at + len(directory) + len(note)
            following = 0 if page == total - 1 else pixels + size
            stream.write(directory.placed(pixels, following, at + len(directory)) + note)
            stream.write(frame)
            at = pixels + size

    def trailing(stream: BinaryIO) -> None:
        pixels, at = head + len(encoded), head + len(encoded) + total * size
        stream.write(_head(byteorder, bigtiff, at) + encoded)
        for frame in frames():
            stream.write(frame)
        for page in range(total):
            directory = first if page == 0 else other
            following = 0 if page == total - 1 else at + len(directory)
            stream.write(directory.placed(pixels + page * size, following, head))
            at = following

    def one_directory(stream: BinaryIO) -> None:
        pixels = head + len(first) + len(encoded)
        stream.write(_head(byteorder, bigtiff, head) + first.placed(pixels, 0, head + len(first)) + encoded)
        for frame in frames():
            stream.write(frame)

    return _written(path, {"pages": paged, "trailing": trailing, "imagej": one_directory}[layout], overwrite)


def write_scanimage(
    channels: ImagingExtractor | Sequence[ImagingExtractor],
    path: str | os.PathLike[str],
    *,
    frame_rate: float | None = None,
    num_flyback: int = 0,
    pixel_size: float = 1.0,
    plane_spacing: float = 20.0,
    channel_names: Sequence[str] | None = None,
    start_time: datetime = datetime(2026, 1, 15, 10, 30),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write recordings as the channels of a ScanImage BigTIFF (layout version 4).

    Parameters
    ----------
    channels : ImagingExtractor or sequence of ImagingExtractor
        Of int16 and of one shape; a page a frame, channels fastest; volumes are written as slices.
    path : str or os.PathLike
        The file appears under this name when it is complete.
    frame_rate : float, optional
        Frames a second (Hz), flyback counted; the volume rate follows from it.  When left out, it follows from the
        rate of the first recording.
    num_flyback : int
        Discarded frames after every volume; their pixels hold the lowest value of the dtype.
    pixel_size, plane_spacing : float
        Micrometres.
    channel_names : sequence of str, optional
        ``"Channel 1"``, ... when left out.
    start_time : datetime
        When the acquisition began.
    overwrite, progress
        As for :func:`write_npy`.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    TargetExistsError, SourceNotFoundError
        As for :func:`write_npy`.
    DeclarationError
        The recordings are not int16, not of one shape, or hold no sample.

    References
    ----------
    ScanImage documentation, "ScanImage BigTiff Specification": a static block at byte 16 that holds the header and the
    regions of interest, then pages of equal length, each a directory, its description, its pixels.
    """
    recordings = [channels] if isinstance(channels, ImagingExtractor) else list(channels)
    names = list(channel_names or (f"Channel {k + 1}" for k in range(len(recordings))))
    scan = _checked_scan(recordings, names, frame_rate, num_flyback, (pixel_size, plane_spacing))
    header, regions = scan.header().encode() + b"\0", scan.regions().encode() + b"\0"
    static = struct.pack("<IIII", 117637889, 4, len(header), len(regions)) + header + regions
    static += bytes(4 - len(static) % 4)
    fields = {
        **_page_fields(scan.rows, scan.columns, np.dtype(np.int16)),
        270: (2, 2001, 0),
        274: (3, 1, 1),
        282: (5, 1, _rational(1e4 / pixel_size)),
        283: (5, 1, _rational(1e4 / pixel_size)),
        284: (3, 1, 1),
        296: (3, 1, 3),
        305: (2, len(header), 32),
        315: (2, len(regions), 32 + len(header)),
    }
    size = 2 * scan.rows * scan.columns
    directory = _Directory(fields, size, "<", True)
    described = len(directory) + 2001
    described += -described % 8  # so that the pixels begin at a multiple of 8 within the page, as ScanImage writes them

    def pages() -> Iterator[np.ndarray]:
        for done, block in _blocks(recordings):
            for samples in zip(*block, strict=True):
                yield from scan.pages(samples)
            _tell(progress, done, len(recordings[0]))

    def content(stream: BinaryIO) -> None:
        at = 16 + len(static)
        stream.write(_head("<", True, at) + static)
        for page, pixels in enumerate(pages()):
            following = 0 if page == scan.num_pages - 1 else at + described + size
            text = _frame_text(page // len(recordings), scan.frame_rate, start_time)
            table = directory.placed(at + described, following, at + len(directory))
            stream.write((table + text).ljust(described, b"\0"))
            stream.write(np.ascontiguousarray(pixels, "<i2").data)
            at += described + size

    return _written(path, content, overwrite)


class _Directory:
    """One page's directory, in which only three numbers change from page to page.

    Parameters
    ----------
    fields : dict of int to tuple
        Tag code to ``(type, count, value)``; the value of a text is where it stands in the file.
    size : int
        Bytes of the page's pixels, in one strip.
    byteorder : str
    big : bool
        Whether the file is a BigTIFF.
    """

    def __init__(self, fields: dict[int, tuple[int, int, Any]], size: int, byteorder: str, big: bool) -> None:
        number = 16 if big else 4
        fields = {**fields, 273: (number, 1, 0), 279: (number, 1, size)}
        self._form = byteorder + ("Q" if big else "I")
        width = 8 if big else 4
        self._table = bytearray(struct.pack(byteorder + ("Q" if big else "H"), len(fields)))
        self._places = {}
        for code, (kind, count, value) in sorted(fields.items()):
            self._table += struct.pack(byteorder + ("HHQ" if big else "HHI"), code, kind, count)
            self._places[code] = len(self._table)
            form = {3: "H", 4: "I", 5: "II"}.get(kind, self._form[1]) if count == 1 else self._form[1]
            values = value if isinstance(value, tuple) else (value,)
            self._table += struct.pack(byteorder + form, *values).ljust(width, b"\0")
        self._places[0] = len(self._table)
        self._table += bytes(width)

    def __len__(self) -> int:
        return len(self._table)

    def placed(self, pixels: int, following: int, description: int) -> bytes:
        """Return the directory of a page whose pixels, next directory (0: none) and description stand at these bytes."""
        values = {273: pixels, 0: following, 270: description}
        for code, value in values.items():
            if code in self._places:
                struct.pack_into(self._form, self._table, self._places[code], value)
        return bytes(self._table)


@dataclass(frozen=True, slots=True)
class _Scan:
    """What ScanImage would write into the header of an acquisition."""

    rows: int
    columns: int
    planes: int
    flyback: int
    num_volumes: int
    names: tuple[str, ...]
    frame_rate: float
    pixel_size: float
    plane_spacing: float

    @property
    def frames_a_volume(self) -> int:
        """Frames of a volume, flyback counted."""
        return self.planes + self.flyback

    @property
    def num_pages(self) -> int:
        """Pages of the file."""
        return self.num_volumes * self.frames_a_volume * len(self.names)

    def pages(self, samples: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the pages of one sample of every channel: channels fastest, then planes, then the flyback."""
        stacks = [sample if sample.ndim == 3 else sample[..., None] for sample in samples]
        for plane in range(self.planes):
            yield from (stack[..., plane] for stack in stacks)
        discarded = np.full((self.rows, self.columns), np.iinfo(np.int16).min, np.int16)
        yield from itertools.repeat(discarded, self.flyback * len(stacks))

    def header(self) -> str:
        """Return the lines of the header."""
        count, fast = len(self.names), self.frames_a_volume > 1
        saved = f"[{' '.join(str(k + 1) for k in range(count))}]" if count > 1 else "1"
        right, bottom = self.pixel_size * self.columns / 2, self.pixel_size * self.rows / 2
        corners = [(-right, -bottom), (right, -bottom), (right, bottom), (-right, bottom)]
        depths = " ".join(f"{plane * self.plane_spacing:.10g}" for plane in range(self.planes))
        values = {
            "LINE_FORMAT_VERSION": 1,
            "TIFF_FORMAT_VERSION": 4,
            "VERSION_MAJOR": 2023,
            "VERSION_MINOR": 0,
            "VERSION_UPDATE": 0,
            "acqState": "'grab'",
            "hChannels.channelName": "{" + " ".join(_quoted(name) for name in self.names) + "}",
            "hChannels.channelSave": saved,
            "hChannels.channelsActive": saved,
            "hFastZ.discardFlybackFrames": _truth(self.flyback > 0),
            "hFastZ.enable": _truth(fast),
            "hFastZ.numDiscardFlybackFrames": self.flyback,
            "hRoiManager.imagingFovUm": "[" + ";".join(f"{x:.10g} {y:.10g}" for x, y in corners) + "]",
            "hRoiManager.linesPerFrame": self.rows,
            "hRoiManager.mroiEnable": "false",
            "hRoiManager.pixelsPerLine": self.columns,
            "hRoiManager.scanFramePeriod": repr(1 / self.frame_rate),
            "hRoiManager.scanFrameRate": repr(self.frame_rate),
            "hRoiManager.scanVolumeRate": repr(self.frame_rate / self.frames_a_volume),
            "hScan2D.logAverageFactor": 1,
            "hScan2D.logFramesPerFile": "Inf",
            "hStackManager.actualNumSlices": self.planes,
            "hStackManager.actualNumVolumes": self.num_volumes,
            "hStackManager.enable": _truth(fast),
            "hStackManager.framesPerSlice": 1 if fast else self.num_volumes,
            "hStackManager.numFramesPerVolume": self.planes,
            "hStackManager.numFramesPerVolumeWithFlyback": self.frames_a_volume,
            "hStackManager.numSlices": self.planes,
            "hStackManager.numVolumes": self.num_volumes if fast else 1,
            "hStackManager.stackMode": "'fast'",
            "hStackManager.stackZStepSize": f"{self.plane_spacing:.10g}",
            "hStackManager.zs": f"[{depths}]" if self.planes > 1 else "0",
            "objectiveResolution": 15,
        }
        return "\n".join(f"SI.{key} = {value}" for key, value in values.items())

    def regions(self) -> str:
        """Return the regions of interest as JSON: one field, the whole of the view."""
        field = {
            "ver": 1,
            "classname": "scanimage.mroi.scanfield.fields.RotatedRectangle",
            "centerXY": [0, 0],
            "sizeXY": [self.pixel_size * self.columns / 15, self.pixel_size * self.rows / 15],
            "pixelResolutionXY": [self.columns, self.rows],
        }
        roi = {"ver": 1, "classname": "scanimage.mroi.Roi", "zs": 0, "scanfields": field}
        group = {"ver": 1, "classname": "scanimage.mroi.RoiGroup", "rois": roi}
        return json.dumps({"RoiGroups": {"imagingRoiGroup": group}}, indent=2)


def _frame_text(frame: int, frame_rate: float, start_time: datetime) -> bytes:
    """Return the description of the pages of one frame, as long as every other: 2,000 bytes and a NUL."""
    seconds = start_time.second + start_time.microsecond / 1e6
    values = {
        "frameNumbers": frame + 1,
        "acquisitionNumbers": 1,
        "frameNumberAcquisition": frame + 1,
        "frameTimestamps_sec": f"{frame / frame_rate:.9f}",
        "acqTriggerTimestamps_sec": "-0.000050000",
        "nextFileMarkerTimestamps_sec": "-1.000000000",
        "endOfAcquisition": 0,
        "endOfAcquisitionMode": 0,
        "dcOverVoltage": 0,
        "epoch": f"[{start_time:%Y} {start_time.month} {start_time.day} {start_time.hour} {start_time.minute} {seconds:.3f}]",
        "auxTrigger0": "[]",
        "I2CData": "{}",
    }
    return "".join(f"{key} = {value}\n" for key, value in values.items()).encode().ljust(2000) + b"\0"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _rational(value: float) -> tuple[int, int]:
    """Return a number above 0 as two 32-bit numbers, to nine digits."""
    scale = 2 ** max(0, min(30, 31 - math.ceil(math.log2(value))))
    return round(value * scale), scale


def _head(byteorder: str, big: bool, first: int) -> bytes:
    """Return a file's first bytes, which say where the first directory stands."""
    mark = b"II" if byteorder == "<" else b"MM"
    return mark + (
        struct.pack(byteorder + "HHHQ", 43, 8, 0, first) if big else struct.pack(byteorder + "HI", 42, first)
    )


def _page_fields(rows: int, columns: int, dtype: np.dtype[Any]) -> dict[int, tuple[int, int, Any]]:
    kind = {"u": 1, "i": 2, "f": 3}[dtype.kind]
    numbers = {256: columns, 257: rows, 258: 8 * dtype.itemsize, 259: 1, 262: 1, 277: 1, 278: rows, 339: kind}
    return {code: (3 if value < 2**16 else 4, 1, value) for code, value in numbers.items()}


def _imagej_description(recording: ImagingExtractor, more: str) -> str:
    planes, samples, rate = recording.get_num_planes(), len(recording), recording.get_sampling_frequency()
    lines = ["ImageJ=1.54f", f"images={samples * planes}"]
    lines += [f"slices={planes}"] if planes > 1 else []
    lines += [f"frames={samples}"] if samples > 1 else []
    lines += ["hyperstack=true"] if planes > 1 and samples > 1 else []
    lines += [f"finterval={1 / rate!r}"] if rate else []
    return "\n".join([*lines, "loop=false", *more.splitlines()]) + "\n"


def _check_tiff(recording: ImagingExtractor, byteorder: str, layout: str) -> None:
    dtype, layouts = recording.dtype, ("pages", "trailing", "imagej")
    if byteorder not in ("<", ">") or layout not in layouts:
        raise DeclarationError(
            f"byteorder is '<' or '>', and layout one of {listed(layouts)}; they are {byteorder!r} and {layout!r}"
        )
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise DeclarationError(f"TIFF holds whole numbers and floats of up to 64 bits, and not {dtype}")
    if layout == "imagej" and dtype not in (np.uint8, np.uint16, np.float32):
        raise DeclarationError(f"ImageJ holds uint8, uint16 and float32, and not {dtype}")
    if len(recording) == 0:
        raise DeclarationError("a TIFF file holds at least one page, and the recording has no samples")


def _checked_scan(
    recordings: Sequence[ImagingExtractor],
    names: Sequence[str],
    frame_rate: float | None,
    num_flyback: int,
    distances: tuple[float, float],
) -> _Scan:
    if not recordings or len(names) != len(recordings) or num_flyback < 0 or len(recordings[0]) == 0:
        raise DeclarationError(
            f"a ScanImage file needs a channel, a name for each, and a sample, and no negative flyback; there are "
            f"{len(recordings)} channels, {len(names)} names and num_flyback={num_flyback}"
        )
    first = recordings[0]
    other = [r for r in recordings if r.shape != first.shape or r.dtype != np.int16]
    if other:
        raise DeclarationError(
            f"ScanImage channels are int16 and of one shape; one of {first.shape} stands beside {other[0].dtype} of {other[0].shape}"
        )
    frames = first.get_num_planes() + num_flyback
    rate = (first.get_sampling_frequency() or 30.0) * frames if frame_rate is None else float(frame_rate)
    for number in (rate, *distances):
        if not 0 < number < 1e9:
            raise DeclarationError(f"rates and distances must be above 0 and below 1e9, and one is {number}")
    rows, columns = first.get_frame_shape()
    return _Scan(
        rows, columns, first.get_num_planes(), num_flyback, len(first), tuple(names), rate, distances[0], distances[1]
    )


def _blocks(recordings: Sequence[ImagingExtractor]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield how many samples are done with this block, and the block of each recording; some 8 MiB at a time."""
    total = len(recordings[0])
    each = sum(recording.nbytes for recording in recordings) // max(1, total)
    step = max(1, _BLOCK_BYTES // max(1, each))
    for start in range(0, total, step):
        end = min(start + step, total)
        yield end, [recording.get_series(start, end) for recording in recordings]


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _written(path: str | os.PathLike[str], content: Callable[[BinaryIO], None], overwrite: bool) -> Path:
    """Write a file under a passing name, and give it its own when it is complete."""
    target = Path(path)
    if not target.parent.is_dir():
        raise SourceNotFoundError(
            f"{printable(target)} cannot be written: the folder {printable(target.parent)} is not there"
        )
    if not overwrite and os.path.lexists(target):
        raise TargetExistsError(f"{printable(target)} is there already; pass overwrite=True to replace it")
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with partial.open("xb") as stream:
            content(stream)
        partial.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
    return target

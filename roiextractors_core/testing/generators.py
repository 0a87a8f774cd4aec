"""Recordings made up by rule, of any shape and length, the same at every reading."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DeclarationError
from ..imaging.extractor import ImagingExtractor
from ..io.threads import num_cores, run_on_cores
from ..segmentation.extractor import SegmentationExtractor
from ..segmentation.masks import RoiMasks

__all__ = ["CalciumImagingExtractor", "CalciumSegmentationExtractor", "NoiseImagingExtractor"]

_PARALLEL_PIXELS = 1 << 20  # below this, starting threads costs more than it gains
_EVENT_SECONDS = 10.0  # events are drawn for stretches of this length; a transient has died away after one


class _MadeUp(ImagingExtractor):
    """A recording whose samples are computed when they are asked for, each from the seed and its own number."""

    _kinds = "iuf"

    def __init__(self, shape: Sequence[int], dtype: Any, seed: int, sampling_frequency: float | None) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._shape = tuple(int(n) for n in shape)
        if len(self._shape) not in (3, 4) or self._shape[0] < 0 or min(self._shape[1:]) < 1:
            raise DeclarationError(
                f"shape must be (samples, rows, columns[, planes]) with at least one pixel per sample, got {shape}"
            )
        self._dtype: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
        if self._dtype.kind not in self._kinds:
            raise DeclarationError(f"{type(self).__name__} cannot generate samples of the dtype {self._dtype}")
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
        raise TypeError(f"{type(self).__name__} does not define _draw, which fills a sample")


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
                f"num_cells must be 0 or more and photons above 0 and at most 1e9, got {num_cells} and {photons}"
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
        """Return the position of a cell and the brightness of its pixels, at most 1."""
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


class CalciumSegmentationExtractor(SegmentationExtractor):
    """The truth behind a :class:`CalciumImagingExtractor`: the mask of each cell, and its activity.

    Parameters
    ----------
    recording : CalciumImagingExtractor
        Its masks have the brightness of the cells as weights, and end where that is a tenth of the brightest pixel's. Its trace is
        ``"dff"``, as :meth:`CalciumImagingExtractor.get_activity` gives it. The image ``"resting"`` is the scene without activity
        and noise.

    Examples
    --------
    >>> from roiextractors_core.testing import CalciumImagingExtractor, CalciumSegmentationExtractor
    >>> rois = CalciumSegmentationExtractor(CalciumImagingExtractor((1000, 64, 64), seed=1))
    >>> rois.get_num_rois(), rois.get_traces(["3"], 0, 10, "dff").shape
    (40, (10, 1))
    """

    def __init__(self, recording: CalciumImagingExtractor, *, sampling_frequency: float | None = None) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._recording = recording
        self._masks = RoiMasks.from_pixels(recording.get_sample_shape(), map(self._mask, recording._bodies))

    def _mask(self, body: tuple[tuple[slice, slice, slice], np.ndarray]) -> tuple[np.ndarray, ...]:
        window, brightness = body
        places = np.nonzero(brightness > 0.1 * brightness.max())
        corner = [part.start for part in window]
        coordinates = [place + first for place, first in zip(places, corner, strict=True)]
        return (*coordinates[: len(self._recording.get_sample_shape())], brightness[places].astype(np.float32))

    def get_frame_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._recording.get_frame_shape()

    def get_num_planes(self) -> int:
        """Return the number of planes of the recording."""
        return self._recording.get_num_planes()

    def get_roi_ids(self) -> list[str]:
        """Return ``"0"``, ``"1"``, ..."""
        return [str(cell) for cell in range(len(self._masks))]

    def get_num_samples(self) -> int:
        """Return the number of samples of the recording."""
        return self._recording.get_num_samples()

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        """Return the masks of cells; see :meth:`SegmentationExtractor.get_masks`."""
        return self._masks[roi_indices]

    def get_trace_names(self) -> tuple[str, ...]:
        """Return ``("dff",)``."""
        return ("dff",)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        """Return the activity of cells; see :meth:`SegmentationExtractor.get_trace`."""
        return self._recording.get_activity(start_sample, end_sample)[:, roi_indices]

    def get_image_names(self) -> tuple[str, ...]:
        """Return ``("resting",)``."""
        return ("resting",)

    def get_image(self, name: str = "resting") -> np.ndarray:
        """Return the scene without activity and noise; see :meth:`SegmentationExtractor.get_image`."""
        if name != "resting":
            return super().get_image(name)
        movie = self._recording
        image = movie._neuropil.copy()
        for (window, body), level in zip(movie._bodies, movie._resting, strict=True):
            image[window] += body * level
        image *= movie._light * movie._gain
        return image if movie.is_volumetric else np.ascontiguousarray(image[..., 0])

    def get_sampling_frequency(self) -> float | None:
        """Return the rate of the recording."""
        return self._recording.get_sampling_frequency()


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

"""Several recordings as one: joined in time, or stacked as planes."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..clock import Clock
from ..errors import DeclarationError, TimesError
from ..metadata import RecordingMetadata
from .extractor import DerivedImagingExtractor, ImagingExtractor, Samples, clock_of, dtype_of

__all__ = ["ConcatenatedImagingExtractor", "PlaneStackImagingExtractor", "concatenate", "stack_planes"]


def concatenate(extractors: Sequence[ImagingExtractor]) -> ConcatenatedImagingExtractor:
    """Join recordings in time, lazily.

    Parameters
    ----------
    extractors : sequence of ImagingExtractor
        With the same sample shape and dtype; planar or volumetric.

    Returns
    -------
    ConcatenatedImagingExtractor
        Its clock is monotonic and keeps gaps. Times that already continue from part to part are kept;
        otherwise each part begins at its start time if all parts have one, or else one period after
        the previous part.
    """
    return ConcatenatedImagingExtractor(_as_parts(extractors, "concatenate"))


def stack_planes(extractors: Sequence[ImagingExtractor]) -> PlaneStackImagingExtractor:
    """Stack recordings as the planes of one volumetric recording, in order, lazily.

    Parameters
    ----------
    extractors : sequence of ImagingExtractor
        Planar or volumetric, with the same frame shape, dtype, number of samples and rate. The clock is that of the first.

    Raises
    ------
    DeclarationError
        They differ in one of these; the rate of a recording may be unknown.
    """
    return PlaneStackImagingExtractor(_as_parts(extractors, "stack"))


class ConcatenatedImagingExtractor(DerivedImagingExtractor):
    """Recordings joined in time; see :func:`concatenate`."""

    def __init__(self, extractors: Sequence[ImagingExtractor]) -> None:
        super().__init__()
        self._parts = _checked(extractors, "concatenate", samples_too=False)
        counts = [len(part) for part in self._parts]
        self._edges = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.is_volumetric = self._parts[0].is_volumetric
        self._kept_clock: tuple[int, Clock] | None = None

    def get_num_samples(self) -> int:
        return int(self._edges[-1])

    def get_num_planes(self) -> int:
        return self._parts[0].get_num_planes()

    def get_sampling_frequency(self) -> float | None:
        """Return the parts' rate, or None when they differ."""
        rates = [part.get_sampling_frequency() for part in self._parts]
        first = rates[0]
        if first is None or any(rate is None or not math.isclose(rate, first, rel_tol=1e-9) for rate in rates):
            return None
        return first

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        self.check_open()
        pieces = list(self._pieces(samples))
        if len(pieces) == 1:  # its array is returned without a copy
            part, _, chosen = pieces[0]
            return part.get_block(chosen, rows, columns, planes)
        count = samples.stop - samples.start if isinstance(samples, slice) else len(samples)
        frame = (rows, columns) if planes is None else (rows, columns, planes)
        result = np.empty((count, *(s.stop - s.start for s in frame)), self.get_dtype())
        for part, places, chosen in pieces:
            result[places] = part.get_block(chosen, rows, columns, planes)
        return result

    def _pieces(self, samples: Samples) -> Iterator[tuple[ImagingExtractor, Samples, Samples]]:
        """Yield each part that is read, the places of its samples in the result, and its samples."""
        edges = self._edges
        if isinstance(samples, slice):
            start, stop = samples.start, samples.stop
            first = bisect_right(edges, start) - 1
            for k in range(first, bisect_left(edges, stop, lo=first)):
                low, a, b = int(edges[k]), max(start, int(edges[k])), min(stop, int(edges[k + 1]))
                if a < b:  # a part may be empty
                    yield self._parts[k], slice(a - start, b - start), slice(a - low, b - low)
            return
        owners = np.searchsorted(edges, samples, side="right") - 1
        for k in np.unique(owners).tolist():
            places = np.flatnonzero(owners == k)
            yield self._parts[k], places, np.asarray(samples, np.int64)[places] - edges[k]

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the parts' native times, laid one after the other, or None when a part has none."""
        start, end = self.resolve_range(start_sample, end_sample)
        if any(part.get_native_timestamps(0, min(1, len(part))) is None for part in self._parts):
            return None
        times = [np.asarray(part.get_native_timestamps(0, len(part)), dtype=np.float64) for part in self._parts]
        return np.asarray(self._laid_out(times, [part.get_sampling_frequency() for part in self._parts])[start:end])

    @property
    def clock(self) -> Clock:
        """The parts' clocks, laid one after the other, unless the user set times on the whole."""
        if super().has_time_vector():
            return super().clock
        version, kept = self.times_version(), self._kept_clock
        if kept is None or kept[0] != version:  # joining the clocks of a thousand parts takes milliseconds
            kept = self._kept_clock = version, self._joined_clock()
        return kept[1]

    def _median_rate(self) -> float | None:
        if super().has_time_vector():
            return super()._median_rate()
        # Of three parts: the clock of the whole reads the times of all
        parts = [part for part in self._parts if len(part) > 1]
        rates = (
            [part._median_rate() for part in dict.fromkeys((parts[0], parts[len(parts) // 2], parts[-1]))]
            if parts
            else []
        )
        return float(np.median([rate for rate in rates if rate])) if any(rates) else None

    def _joined_clock(self) -> Clock:
        users, rate = super().get_sampling_frequency(), self.get_sampling_frequency()
        clocks = [clock_of(part) if users is None else clock_of(part).with_rate(users) for part in self._parts]
        sources = {clock.source for clock in clocks}
        if None in sources:
            return Clock(len(self), rate=None)
        # One grid needs no vector of times in memory
        if sources == {"computed"} and rate is not None and self._is_one_grid(clocks):
            return Clock(len(self), rate=rate)
        # The most deliberate of the sources stands for all
        source = next(source for source in ("user", "native", "computed") if source in sources)
        times = self._laid_out([clock.times() for clock in clocks], [clock.rate for clock in clocks])
        return Clock(len(self), rate=rate, source=source, read=lambda a, b: times[a:b])

    def has_time_vector(self) -> bool:
        return super().has_time_vector() or any(part.has_time_vector() for part in self._parts)

    def get_missing_samples(self) -> np.ndarray:
        first, numbers = 0, [np.empty(0, np.int64)]
        for part in self._parts:
            missing = part.get_missing_samples()
            numbers.append(missing + first)
            # Numbers count the acquisition: missing samples are not in len(part) unless the part keeps them
            first += len(part) + (0 if part.keeps_missing_samples else len(missing))
        return np.concatenate(numbers)

    def _is_one_grid(self, clocks: list[Clock]) -> bool:
        # Start times may leave a gap between parts, and a slice (first > 0) does not begin at 0 s: neither is one grid
        no_starts = any(part.get_metadata().start_time is None for part in self._parts)
        return no_starts and all(clock.first == 0 for clock in clocks)

    def _laid_out(self, times: list[np.ndarray], rates: list[float | None]) -> np.ndarray:
        if _run_on(times):
            return np.concatenate(times)
        by_start = self._by_start_times(times)
        return np.concatenate(_one_after_the_other(times, rates) if by_start is None else by_start)

    def _by_start_times(self, times: list[np.ndarray]) -> list[np.ndarray] | None:
        starts = [part.get_metadata().start_time for part in self._parts]
        try:
            offsets = [(start - starts[0]).total_seconds() for start in starts]  # type: ignore[operator]
        except TypeError:  # one is not known, or some have a time zone and some have none
            return None
        moved = [piece + offset for piece, offset in zip(times, offsets, strict=True)]
        # Start times that overlap are wrong, e.g. those of files that all repeat the time of the first
        return moved if _run_on(moved) else None


class PlaneStackImagingExtractor(DerivedImagingExtractor):
    """Planes of several recordings as one volume; see :func:`stack_planes`."""

    def __init__(self, extractors: Sequence[ImagingExtractor]) -> None:
        super().__init__()
        self._parts = _checked(extractors, "stack", samples_too=True)
        planes = [part.get_num_planes() if part.is_volumetric else 1 for part in self._parts]
        self._edges = [0, *np.cumsum(planes).tolist()]
        self.is_volumetric = True

    def get_num_samples(self) -> int:
        return len(self._parts[0])

    def get_num_planes(self) -> int:
        return int(self._edges[-1])

    def get_sampling_frequency(self) -> float | None:
        return self._parts[0].get_sampling_frequency()

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        start, end = self.resolve_range(start_sample, end_sample)
        return self._parts[0].get_native_timestamps(start, end)

    @property
    def clock(self) -> Clock:
        """The clock of the first part, unless the user set times or a rate on the stack."""
        if super().has_time_vector():
            return super().clock
        return clock_of(self._parts[0]).with_rate(self.get_sampling_frequency())

    def has_time_vector(self) -> bool:
        return super().has_time_vector() or self._parts[0].has_time_vector()

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        self.check_open()
        top, end = (0, self.get_num_planes()) if planes is None else (planes.start, planes.stop)
        count = samples.stop - samples.start if isinstance(samples, slice) else len(samples)
        # Planes come first in memory: a plane is then written in one piece, several times faster than with a stride
        buffer = np.empty((end - top, count, rows.stop - rows.start, columns.stop - columns.start), self.get_dtype())
        for part, low, high in zip(self._parts, self._edges[:-1], self._edges[1:], strict=True):
            a, b = max(top, low), min(end, high)
            if a < b and part.is_volumetric:
                block = part.get_block(samples, rows, columns, slice(a - low, b - low))
                buffer[a - top : b - top] = np.moveaxis(block, 3, 0)
            elif a < b:
                buffer[a - top] = part.get_block(samples, rows, columns)
        return np.moveaxis(buffer, 0, 3)

    def get_metadata(self) -> RecordingMetadata:
        """Return the metadata of the first part, with the plane positions of all parts."""
        positions = tuple(p for part in self._parts for p in part.get_metadata().plane_positions)
        # Positions of some planes alone would be taken for those of the first planes
        complete = positions if len(positions) == self.get_num_planes() else ()
        return self._parts[0].get_metadata().replaced(plane_positions=complete)

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples that any part lacks."""
        return np.unique(np.concatenate([part.get_missing_samples() for part in self._parts]))


def _run_on(times: list[np.ndarray]) -> bool:
    pieces = [piece for piece in times if len(piece)]
    # Strictly later: an equal time would belong to two samples
    return all(b[0] > a[-1] for a, b in itertools.pairwise(pieces))


def _one_after_the_other(times: list[np.ndarray], rates: list[float | None]) -> list[np.ndarray]:
    """Move each part that does not run on to one period after the part before it."""
    moved: list[np.ndarray] = []
    before: tuple[float, float | None] | None = None
    for piece, rate in zip(times, rates, strict=True):
        if len(piece) == 0:
            moved.append(piece)
            continue
        period = _period(rate, piece)
        if before is not None and not piece[0] > before[0]:  # "not >" also moves a part that begins with NaN
            # The last sample of the part before lasts that part's period
            gap = period if before[1] is None else before[1]
            if gap is None:
                raise TimesError(
                    "the times of the parts overlap and there is no rate to place one after the other; "
                    "call set_times on the joined recording"
                )
            piece = piece + (before[0] + gap - piece[0])
        moved.append(piece)
        before = float(piece[-1]), period
    return moved


def _as_parts(extractors: Any, word: str) -> tuple[ImagingExtractor, ...]:
    """Return the parts as a tuple: a pickle contains the arguments, and the caller may change a list afterwards."""
    # A recording is iterable itself: its samples would be taken for the parts
    if isinstance(extractors, ImagingExtractor) or not isinstance(extractors, Iterable):
        raise DeclarationError(f"expected a list of recordings to {word}, got {type(extractors).__name__}")
    return tuple(extractors)


def _checked(extractors: Sequence[ImagingExtractor], word: str, *, samples_too: bool) -> tuple[ImagingExtractor, ...]:
    parts = _as_parts(extractors, word)
    if not parts:
        raise DeclarationError(f"nothing to {word}: pass at least one recording")
    for number, part in enumerate(parts):
        if not isinstance(part, ImagingExtractor):
            raise DeclarationError(f"part {number} is not an ImagingExtractor, got {type(part).__name__}")
        seen, first = _facts(part, samples_too), _facts(parts[0], samples_too)
        if seen != first:
            key = next(key for key in first if first[key] != seen[key])
            raise DeclarationError(
                f"cannot {word} recordings that differ: {key} is {first[key]} in part 0 but {seen[key]} in part {number}"
            )
    rates = [rate for part in parts if samples_too and (rate := part.get_sampling_frequency()) is not None]
    if any(not math.isclose(rate, rates[0], rel_tol=1e-6) for rate in rates):
        raise DeclarationError(
            f"cannot {word} recordings whose rates differ: {min(rates):g} Hz and {max(rates):g} Hz; "
            "pass the same sampling_frequency= to all if they were recorded together"
        )
    return parts


def _facts(part: ImagingExtractor, samples_too: bool) -> dict[str, object]:
    if not samples_too:
        return {"the sample shape": part.get_sample_shape(), "the dtype": dtype_of(part)}
    return {"the frame shape": part.get_frame_shape(), "the dtype": dtype_of(part), "the number of samples": len(part)}


def _period(rate: float | None, times: np.ndarray) -> float | None:
    if rate is not None:
        return 1.0 / rate
    return float(np.median(np.diff(times))) if len(times) > 1 else None

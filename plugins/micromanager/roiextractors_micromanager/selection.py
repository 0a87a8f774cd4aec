"""Selects the frames of one recording: one value on every axis except time and z."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    listed,
    printable,
)
from roiextractors_core.io import PositionedFile, missing_samples

from .dataset import Dataset
from .identity import unwritten_frames
from .table import Axis

__all__ = ["Selection", "select", "streams_of"]

_SAMPLE_AXES = ("time", "z")
_OWN = ("channel", "position", "row", "column")
_MAX_EMPTY = 64  # places of the time axis for each one that was recorded
_NO_AXIS = Axis((), np.empty(0, np.int64))


@dataclass(frozen=True)
class Selection:
    """The selected frames.

    Attributes
    ----------
    rows : numpy.ndarray
        ``(samples, planes)``: the frames, as rows of the table.
    points : numpy.ndarray
        The time point of each sample, in units of ``step``.
    step : int
        Distance between samples on the time axis; 0 if it is not the same for all.
    labels : mapping
        The chosen value on each axis.
    notes, warnings : tuple of str
    missing : numpy.ndarray
        The time points that are missing or incomplete, in units of ``step``.
    """

    rows: np.ndarray
    points: np.ndarray
    step: int
    labels: Mapping[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    missing: np.ndarray


def streams_of(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """Return the streams to choose from: channels, positions, tiles; and, as ``axes``, the places on all other axes together."""
    everything = np.ones(len(dataset.table), bool)
    found = {name: tuple(_choices(dataset, name, everything)[1]) for name in _OWN if name in dataset.table.axes}
    found["axes"] = tuple(_together(dataset, everything)[0])
    return {name: choices for name, choices in found.items() if len(choices) > 1}


def select(
    dataset: Dataset, requested: Mapping[str, Any], *, axes: Any = None, allow_missing: bool = False
) -> Selection:
    """Choose frames.

    Parameters
    ----------
    dataset : Dataset
    requested : mapping
        A value, or its label, for some of channel, position, row and column.
    axes : mapping or str, optional
        The same for other axes: ``{"laser": 488}`` or ``"laser=488"``.
    allow_missing : bool
        Leave out samples with a missing frame, wherever they are.

    Raises
    ------
    StreamChoiceError, ChoiceError
        An axis has several values and none was chosen, or the chosen one does not exist.
    TruncatedRecordingError
        Frames are missing, which was not allowed.
    UnsupportedRecordingError, CorruptRecordingError
    """
    mask, labels = _mask(dataset, requested, axes)
    chosen = np.flatnonzero(mask)
    _require_alike(dataset, chosen, labels)
    grid = _Grid(dataset, chosen, labels)
    points = grid.whole_points(allow_missing)
    notes = tuple(note for note in (*dataset.table.notes, *grid.notes) if note)
    missing = missing_samples(grid.num_described, points) if grid.step else np.empty(0, np.int64)
    warnings = (*dataset.table.warnings, *grid.warnings)
    return Selection(grid.rows[points], points, grid.step, labels, notes, warnings, missing)


def _mask(dataset: Dataset, requested: Mapping[str, Any], axes: Any) -> tuple[np.ndarray, dict[str, str]]:
    """Return which frames are at the chosen values, and the label on each axis with a choice."""
    table = dataset.table
    mask, labels = np.ones(len(table), bool), {}
    named = {**requested, **_parse_axes(dataset, axes)}
    for name in named:
        if name not in table.axes:
            known = listed(map(printable, table.axes)) or "none"
            raise ChoiceError(f"{dataset.name} has no axis {printable(name)!r}; its axes are {known}")
    for name, value in named.items():
        code, labels[name] = _find_value(dataset, name, value, mask)
        mask &= table.axes[name].codes == code
    for name in (name for name in _OWN if name in table.axes and name not in named):
        codes, choices = _choices(dataset, name, mask)
        if len(codes) > 1:
            raise StreamChoiceError.for_option(dataset.name, name, choices)
        labels[name] = choices[0] if codes[0] >= 0 else ""
        mask &= table.axes[name].codes == codes[0]
    together, _ = _together(dataset, mask)
    if len(together) > 1:
        raise _unsettled(dataset, together)
    return mask, labels


def _unsettled(dataset: Dataset, texts: list[str], *, seen: Any = None) -> StreamChoiceError:
    asked = "" if seen is None else f", and none at {seen!r:.80}"
    advice = f"; choose one: open(..., axes={texts[0]!r})" if texts else ""
    return StreamChoiceError(
        f"{dataset.name} contains frames at {listed(texts) or 'one place'}{asked}{advice}", option="axes", choices=texts
    )


def _choices(dataset: Dataset, name: str, mask: np.ndarray) -> tuple[list[int], list[str]]:
    """Return the places on an axis that these frames have, and their labels; -1 and ``none`` for those that have none."""
    names = _labels(dataset, name)
    codes = np.unique(dataset.table.axes[name].codes[mask]).tolist()
    return codes, [names[code] if code >= 0 else "none" for code in codes]


def _find_value(dataset: Dataset, name: str, value: Any, mask: np.ndarray) -> tuple[int, str]:
    codes, choices = _choices(dataset, name, mask)
    values = dataset.table.axes[name].values
    # Names before numbers: a channel may be named "1"
    for texts in (choices, [str(values[code]) if code >= 0 else "none" for code in codes]):
        if str(value) in texts:
            place = texts.index(str(value))
            return codes[place], choices[place]
    raise StreamChoiceError.for_option(dataset.name, name, choices, seen=value)


def _together(dataset: Dataset, mask: np.ndarray) -> tuple[list[str], list[dict[str, str]]]:
    """Return the places on the axes that have no option of their own, as text and by axis, where these frames differ in them."""
    axes = dataset.table.axes
    names = [name for name in axes if name not in (*_OWN, *_SAMPLE_AXES) and len(np.unique(axes[name].codes[mask])) > 1]
    if not names:
        return [], []
    labels = [_labels(dataset, name) for name in names]
    places = np.unique(np.stack([axes[name].codes[mask] for name in names], axis=1), axis=0).tolist()
    found = [
        {name: own[code] if code >= 0 else "none" for name, own, code in zip(names, labels, place, strict=True)}
        for place in places
    ]
    return [", ".join(f"{name}={label}" for name, label in one.items()) for one in found], found


def _parse_axes(dataset: Dataset, axes: Any) -> dict[str, Any]:
    """Return the places that ``axes`` names: a mapping, one of the texts of the streams, or ``name=value, name=value``."""
    if axes is None:
        return {}
    if isinstance(axes, Mapping):
        return {str(name): value for name, value in axes.items()}
    texts, places = _together(dataset, np.ones(len(dataset.table), bool))
    text = str(axes)
    if text in texts:
        return dict(places[texts.index(text)])
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(sign for _, sign, _ in pairs):
        raise _unsettled(dataset, texts, seen=axes)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _labels(dataset: Dataset, name: str) -> list[str]:
    """Return the names of an axis's values: the summary's for numbered channels and positions, else the values."""
    values = dataset.table.axes[name].values
    plain = [str(value) for value in values]
    if not all(type(value) is int for value in values):
        return plain
    summary = dataset.summary
    stated: Any = summary.get("ChNames") if name == "channel" else None
    if name == "position":
        places = summary.get("StagePositions") or summary.get("InitialPositionList")
        stated = (
            [place.get("Label") if isinstance(place, dict) else None for place in places]
            if isinstance(places, list)
            else None
        )
    if not isinstance(stated, list):
        return plain
    names = [stated[int(value)] if 0 <= int(value) < len(stated) else None for value in values]
    # Names that repeat cannot be chosen by
    good = all(isinstance(one, str) and one for one in names) and len(set(names)) == len(names)
    return [str(one) for one in names] if good else plain


def _require_alike(dataset: Dataset, chosen: np.ndarray, labels: Mapping[str, str]) -> None:
    table = dataset.table
    depths, shapes = table.depths[chosen], table.shapes[chosen]
    if (depths == 0).any():
        raise UnsupportedRecordingError(
            f"{dataset.name} contains colour (RGB) or compressed frames{_of(labels)}; only uncompressed grayscale of 8 to 16 bits is "
            "supported. Read its TIFF files with open(..., format='tiff')"
        )
    other = np.flatnonzero((shapes != shapes[0]).any(axis=1) | (depths != depths[0]))
    if len(other):
        k = int(other[0])
        raise CorruptRecordingError(
            f"{dataset.name}: frame {int(chosen[k]):,} has {shapes[k, 0]:,} x {shapes[k, 1]:,} pixels of {depths[k]} bytes, but the first "
            f"has {shapes[0, 0]:,} x {shapes[0, 1]:,} of {depths[0]}"
        )
    if not (shapes[0] > 0).all() or not (shapes[0] <= 1 << 20).all():
        raise CorruptRecordingError(
            f"{dataset.name} claims frames of {shapes[0, 0]:,} x {shapes[0, 1]:,} pixels, which is not possible; it is damaged"
        )


def _of(labels: Mapping[str, str]) -> str:
    values = ", ".join(f"{printable(name)}={printable(value)!r:.60}" for name, value in labels.items())
    return f" at {values}" if values else ""


class _Grid:
    """Chosen frames by time and plane: ``rows`` are places in the table, -1 where a frame is missing."""

    def __init__(self, dataset: Dataset, chosen: np.ndarray, labels: Mapping[str, str]) -> None:
        self._dataset, self._labels = dataset, labels
        self.notes: tuple[str, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self._lead = 0
        times, self._times = self._axis("time", chosen)
        planes, self._planes = self._axis("z", chosen)
        times, self.step = self._spread(times)
        rows = np.full((len(self._times), len(self._planes)), -1, np.int64)
        rows[times, planes] = chosen  # of a frame that was written twice, the later one counts
        twice = len(chosen) - int(np.count_nonzero(rows >= 0))
        if twice:
            self._require_one_file(chosen, rows)
            self.notes += (f"{_frames(twice)} written again later in the index; the last copy of each is used",)
        self.rows = self._present(self._from_the_beginning(rows))
        self.num_described = len(self.rows)

    def _from_the_beginning(self, rows: np.ndarray) -> np.ndarray:
        """Make room for the times before the first one, if other frames of the dataset, or the rule for stacks, show that it began earlier."""
        axis = self._dataset.table.axes.get("time")
        if (
            axis is None
            or "time" in self._labels
            or not self.step
            or not self._are_numbers([*axis.values, *self._times])
        ):
            return rows
        first = int(self._times[0])
        # stacks number their frames from 0; the times of NDTiff are whatever the user's program passed
        begin = int(axis.values[0]) if self._dataset.is_ndtiff else min(0, int(axis.values[0]))
        count = (first - begin) // self.step
        if count <= 0 or count > _MAX_EMPTY * (len(rows) + 1000):
            return rows
        self._times = [first - self.step * k for k in range(count, 0, -1)] + self._times
        self._lead = count
        self.warnings += (
            f"the first {count:,} samples are missing: the recording begins at time={first}{_of(self._labels)}",
        )
        return np.concatenate([np.full((count, rows.shape[1]), -1, np.int64), rows])

    def _require_one_file(self, chosen: np.ndarray, rows: np.ndarray) -> None:
        """Refuse the same place in two files of a stack: they are different positions whose metadata do not name theirs."""
        table = self._dataset.table
        again = int(np.setdiff1d(chosen, rows)[0])
        if not self._dataset.is_ndtiff:
            names = ", ".join(printable(name) for name in table.files[:4])
            raise CorruptRecordingError(
                f"{self._dataset.name}: {printable(table.files[table.numbers[again]])} contains a frame at a "
                f"position that another file claims as well ({names}); open the files of one position as a list"
            )

    def whole_points(self, allow_missing: bool) -> np.ndarray:
        """Return the complete samples.

        Raises
        ------
        TruncatedRecordingError
            No sample is complete, or earlier ones are incomplete and ``allow_missing`` is False.
        """
        absent = self.rows < 0
        points = np.flatnonzero(~absent.any(axis=1))
        name = self._dataset.name
        if not len(points):
            raise TruncatedRecordingError(
                f"{name}: {self._first(absent)} is missing, and no sample is complete ({int(absent.sum()):,} of {absent.size:,} frames are "
                "missing); the recording is incomplete"
            )
        end = int(points[-1]) + 1
        # Frames missing before the first or after the last recorded time are a warning, not a gap
        inside = absent[self._lead : end]
        missing = int(inside.sum())
        if missing:
            which = self._first(inside, self._lead)
            if not allow_missing:
                raise TruncatedRecordingError(
                    f"{name}: {which} is missing ({missing:,} of {inside.size:,} frames up to the last complete sample are "
                    "missing); leave out incomplete samples with open(..., allow_missing=True)"
                )
            left_out = end - self._lead - len(points)
            self.warnings += (f"{which} is missing; {left_out:,} of {end - self._lead:,} samples are left out",)
        self._warn_about_end(end, absent)
        return points

    def _warn_about_end(self, end: int, absent: np.ndarray) -> None:
        described = max(len(absent), self._count_described())
        self.num_described = described
        if end >= described:
            return
        which = self._first(absent[end:], end) if end < len(absent) else f"the frame at time={self._time(end)}"
        self.warnings += (f"{described:,} samples are described, but only {end:,} are complete: {which} is missing",)

    def _count_described(self) -> int:
        """Return how many samples there should be, by the summary and by the other places of the dataset."""
        axis = self._dataset.table.axes.get("time")
        if axis is None or "time" in self._labels or not self.step:
            return 0
        intended = self._dataset.summary.get("IntendedDimensions")
        stated = [self._dataset.summary.get("Frames"), intended.get("time") if isinstance(intended, dict) else None]
        # The summary counts all times, including those that this channel skips
        counts = [value for value in stated if type(value) is int] if self.step == 1 else []
        if self._are_numbers(axis.values) and self._are_numbers(self._times):
            counts.append((int(axis.values[-1]) - int(self._times[0])) // self.step + 1)
        return max(counts, default=0)

    def _axis(self, name: str, chosen: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        """Return the place of each chosen frame among the axis's values that occur, and these."""
        axis = self._dataset.table.axes.get(name, _NO_AXIS)
        if not axis.values:
            return np.zeros(len(chosen), np.int64), [0]
        found, places = np.unique(axis.codes[chosen], return_inverse=True)
        if found[0] < 0 and len(found) > 1:
            raise UnsupportedRecordingError(
                f"{self._dataset.name}: some frames{_of(self._labels)} have a position on the axis {name!r}, but others do not"
            )
        return places, [axis.values[code] if code >= 0 else 0 for code in found.tolist()]

    def _spread(self, times: np.ndarray) -> tuple[np.ndarray, int]:
        """Make room for missing times between others; a step that all times share does not count as missing."""
        values = self._times
        if len(values) < 2 or not self._are_numbers(values):
            return times, 1
        numbers = np.array(values, dtype=object)  # whole numbers in JSON can exceed int64
        step = math.gcd(*(int(b) - int(a) for a, b in itertools.pairwise(values)))
        count = (int(values[-1]) - int(values[0])) // step + 1
        # times can be any numbers, such as milliseconds: a grid with a place for each would be almost empty
        if count > _MAX_EMPTY * (len(values) + 1000):
            self.notes += (
                f"the times of the frames run from {values[0]:,} to {values[-1]:,}, but only {len(values):,} of them are present",
            )
            return times, 0
        if step > 1:
            self.notes += (f"only one in {step:,} time points was recorded{_of(self._labels)}",)
        self._times = [int(values[0]) + step * k for k in range(count)]
        return ((numbers - int(values[0])) // step).astype(np.int64)[times], step

    def _present(self, rows: np.ndarray) -> np.ndarray:
        """Mark the frames as missing that are beyond the end of their files."""
        table = self._dataset.table
        paths = [os.path.join(self._dataset.folder, name) for name in table.files]
        sizes = np.array([_size(path) for path in paths], np.int64)
        flat = rows.ravel()
        nbytes = int(np.prod(table.shapes[flat.max()])) * int(table.depths[flat.max()])  # of any frame: all are alike
        ends = table.offsets[flat] + nbytes  # -1 means missing: numpy takes the last frame, which is masked below
        lost = (flat >= 0) & (ends > sizes[table.numbers[flat]])
        if not lost.any():
            return self._written(rows, paths) if self._dataset.is_ndtiff else rows
        number = int(table.numbers[flat[np.flatnonzero(lost)[0]]])
        name, size = printable(table.files[number]), int(sizes[number])
        what = f"{name} is missing" if size < 0 else f"{name} ends at byte {size:,}"
        self.warnings += (f"{what}, so {int(lost.sum()):,} of {len(flat):,} frames are missing",)
        return np.where(lost, -1, flat).reshape(rows.shape)

    def _written(self, rows: np.ndarray, paths: list[str]) -> np.ndarray:
        """Mark the frames as missing that were described but never written: zeros at the end of a file."""
        flat = rows.ravel()
        files = [PositionedFile(path) for path in paths]
        try:
            lost = unwritten_frames(self._dataset.table, files, flat[flat >= 0].tolist())
        finally:
            for file in files:
                file.close()
        if not lost:
            return rows
        name = printable(files[int(self._dataset.table.numbers[min(lost)])].name)
        self.warnings += (f"{name} ends in zeros, so {len(lost):,} of {len(flat):,} frames are missing",)
        return np.where(np.isin(flat, list(lost)), -1, flat).reshape(rows.shape)

    def _first(self, absent: np.ndarray, start: int = 0) -> str:
        point, plane = np.argwhere(absent)[0].tolist()
        coordinates = {"time": self._time(start + point), "z": self._planes[plane]}
        axes = self._dataset.table.axes
        own = {name: value for name, value in coordinates.items() if name in axes and name not in self._labels}
        words = [f"{name}={value!r:.40}" for name, value in {**own, **self._labels}.items()]
        return f"the frame at {printable(', '.join(words)) or 'its only place'}"

    def _time(self, point: int) -> Any:
        return self._times[point] if point < len(self._times) else int(self._times[0]) + max(1, self.step) * point

    @staticmethod
    def _are_numbers(values: Any) -> bool:
        return all(type(value) is int for value in values)


def _frames(count: int) -> str:
    return f"{count:,} frame was" if count == 1 else f"{count:,} frames were"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1  # a missing file: every frame is beyond its end

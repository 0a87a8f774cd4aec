"""The position of every frame of a dataset: in its file, and on each axis."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, printable

__all__ = ["Axis", "FrameTable"]

Value = int | str

_BATCH = 1 << 12
_MAX_AXES = 64  # Micro-Manager writes four, and programs add some


@dataclass(frozen=True)
class Axis:
    """One axis: its values, and for every frame the index of its value, -1 if it has none."""

    values: tuple[Value, ...]
    codes: np.ndarray

    @classmethod
    def of(cls, column: Sequence[Value | None]) -> Axis:
        """Number the values: integers in their order, others as they occur."""
        places: dict[Value | None, int] = {}
        codes = np.fromiter((places.setdefault(value, len(places)) for value in column), np.int64, len(column))
        found = list(places)
        if all(isinstance(value, int) for value in found if value is not None):
            order = sorted((value for value in found if value is not None), key=int)
        else:
            order = [value for value in found if value is not None]
        rank = {value: k for k, value in enumerate(order)}
        renumbered = np.array([-1 if value is None else rank[value] for value in found], np.int64)
        return cls(tuple(order), renumbered[codes] if len(codes) else codes)


@dataclass(frozen=True)
class FrameTable:
    """The frames of a dataset.

    Attributes
    ----------
    axes : mapping of str to Axis
    files : tuple of str
        Names of the TIFF files.
    numbers : numpy.ndarray
        The file of each frame, as an index into ``files``.
    offsets : numpy.ndarray
        The offset of its pixels.
    shapes : numpy.ndarray
        ``(frames, 2)``: rows and columns.
    depths : numpy.ndarray
        Bytes per pixel: 1 or 2; 0 for an unsupported kind.
    texts : numpy.ndarray
        ``(frames, 2)``: offset and length of its metadata.
    order : str
        The byte order of the files, ``"<"`` or ``">"``.
    notes, warnings : tuple of str
    """

    axes: Mapping[str, Axis]
    files: tuple[str, ...]
    numbers: np.ndarray
    offsets: np.ndarray
    shapes: np.ndarray
    depths: np.ndarray
    texts: np.ndarray
    order: str = "<"
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def axes_at(self, frame: int) -> dict[str, Value]:
        """Return the value of a frame on each axis that it has a place on."""
        places = {name: int(axis.codes[frame]) for name, axis in self.axes.items()}
        return {name: self.axes[name].values[code] for name, code in places.items() if code >= 0}


def axes_of(found: Iterable[Mapping[str, Value]], where: str) -> dict[str, Axis]:
    """Convert one mapping per frame into axes.

    Raises
    ------
    CorruptRecordingError
        An axis has a value that is neither a whole number nor text, or there are more than 64 axes.
    """
    columns: dict[str, list[Value | None]] = {}
    count, frames = 0, iter(found)
    # Batches: a million mappings at once take a quarter of a gigabyte, their values a tenth of it
    while batch := list(itertools.islice(frames, _BATCH)):
        for name in itertools.chain.from_iterable(batch):
            if name not in columns:
                if len(columns) == _MAX_AXES:
                    raise CorruptRecordingError(f"{where} has more than {_MAX_AXES} axes; it is damaged")
                columns[name] = [None] * count
        for name, column in columns.items():
            column.extend([one.get(name) for one in batch])
        count += len(batch)
    for name, column in columns.items():
        kinds = set(map(type, column)) - {type(None)}  # not isinstance: bool is a subclass of int
        if not kinds <= {int, str}:
            raise CorruptRecordingError(
                f"{where}: the axis {printable(name)!r:.80} has a value that is neither a whole number nor text"
            )
    return {name: Axis.of(column) for name, column in columns.items()}

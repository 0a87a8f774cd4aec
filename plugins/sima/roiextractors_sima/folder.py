"""What is in a ``.sima`` folder: the files that SIMA pickled, read as plain data."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, SourceKindError, counted, printable
from roiextractors_core.io import PickledArray, PositionedFile, StoredArray, folder_names, is_folder, read_pickle

from .rois import CLASSES, Shape, as_text

__all__ = ["Dataset", "Pickled", "Signals", "frame_shape", "open_dataset", "read_rows"]

_SIGNALS = re.compile(r"signals_(0|[1-9]\d{0,2})\.pkl")
_MAX_OPCODES = 100_000_000  # a minute
_MIN_OPCODES = 1_000_000
_MAX_SIDE, _MAX_PIXELS = 1 << 16, 1 << 26
_MAX_CHANNELS = 1000
# SIMA's names, and those of segmentations
_TRACES = {"raw": "raw", "demixed_raw": "demixed", "spikes": "deconvolved", "spikes_fits": "denoised"}


class Pickled:
    """The content of one pickle, and its file, in which long arrays stay."""

    def __init__(self, folder: str, name: str) -> None:
        self.path = os.path.join(folder, name)
        self.name = name
        self.file = PositionedFile(self.path)
        # As many steps as there are bytes at most: masks are long lists of lists
        limit = min(max(_MIN_OPCODES, self.file.size), _MAX_OPCODES)
        try:
            self.value = read_pickle(self.file, classes=CLASSES, max_opcodes=limit)
        except BaseException:
            self.file.close()
            raise

    def dictionary(self) -> Mapping[str, Any]:
        """Return the content if it is a dictionary with texts as keys.

        Raises
        ------
        CorruptRecordingError
        """
        if not isinstance(self.value, dict) or not all(isinstance(key, str) for key in self.value):
            raise CorruptRecordingError(f"{self.name} should contain a dictionary")
        return self.value

    def close(self) -> None:
        self.file.close()


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """The signals of one extraction: of one set of ROIs in one channel.

    Attributes
    ----------
    rois : object
        The ROIs as pickled, which were copied into the file.
    timestamp : str
    traces : mapping
        By name, one array a sequence, ``(rois, samples)``.
    mean_frame : PickledArray or None
        ``(planes, rows, columns)``.
    """

    rois: Any
    timestamp: str
    traces: Mapping[str, tuple[PickledArray, ...]]
    mean_frame: PickledArray | None


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A ``.sima`` folder.

    Attributes
    ----------
    folder, name : str
    facts : mapping
        The content of ``dataset.pkl``.
    channels : tuple of str
        The names of all channels, as many as the dataset has.
    with_signals : tuple of int
        The channels of which there are signals.
    """

    folder: str
    name: str
    facts: Mapping[str, Any]
    channels: tuple[str, ...]
    with_signals: tuple[int, ...]

    @property
    def shape(self) -> Shape | None:
        """Planes, rows and columns by ``dataset.pkl``; None if it does not say."""
        return frame_shape(self.facts.get("frame_shape"), f"{self.name}: dataset.pkl")

    def open(self, name: str) -> Pickled | None:
        """Return the content of a file; None if there is none."""
        return Pickled(self.folder, name) if name in folder_names(self.folder) else None

    def roi_sets(self) -> Mapping[str, Any]:
        """Return the pickled ROIs of ``rois.pkl`` by their labels, the oldest first."""
        pickled = self.open("rois.pkl")
        if pickled is None:
            return {}
        try:
            sets = pickled.dictionary()
            for label, entry in sets.items():
                if not isinstance(entry, dict) or "rois" not in entry:
                    raise CorruptRecordingError(f"rois.pkl: {printable(label)[:60]!r} should be a set of ROIs")
            order = sorted(sets, key=lambda label: as_text(sets[label].get("timestamp")))
            return {label: sets[label]["rois"] for label in order}
        finally:
            pickled.close()

    def signals(self, channel: int) -> tuple[Pickled, dict[str, Signals]]:
        """Return the file of the signals of a channel, and its extractions by their labels, the oldest first."""
        pickled = Pickled(self.folder, f"signals_{channel}.pkl")
        try:
            entries = {
                label: _signals(entry, f"{pickled.name}: {printable(label)[:60]!r}")
                for label, entry in pickled.dictionary().items()
            }
        except BaseException:
            pickled.close()
            raise
        return pickled, {label: entries[label] for label in sorted(entries, key=lambda label: entries[label].timestamp)}


def open_dataset(path: str) -> Dataset:
    """Return what is in a folder.

    Raises
    ------
    SourceKindError
        It is a file.
    CorruptRecordingError
        ``dataset.pkl`` is missing or damaged.
    """
    name = printable(os.path.basename(path.rstrip("/\\")) or path)
    if not is_folder(path):
        raise SourceKindError(f"{name} is a file; open the .sima folder that contains dataset.pkl")
    names = folder_names(path)
    if "dataset.pkl" not in names:
        raise CorruptRecordingError(f"{name} does not contain dataset.pkl; it is not a SIMA folder, or is incomplete")
    pickled = Pickled(path, "dataset.pkl")
    try:
        facts = pickled.dictionary()
    finally:
        pickled.close()
    numbers = [int(match[1]) for match in map(_SIGNALS.fullmatch, names) if match]
    stated = facts.get("channel_names")
    channels = _channel_names(stated if isinstance(stated, list | tuple) else (), max(numbers, default=-1) + 1, name)
    return Dataset(path, name, facts, channels, tuple(sorted(numbers)))


def _channel_names(stated: Sequence[Any], count: int, name: str) -> tuple[str, ...]:
    """Return the names of at least so many channels; one without a name of its own goes by its number."""
    if len(stated) > _MAX_CHANNELS:
        raise CorruptRecordingError(f"{name}: dataset.pkl has the names of {len(stated):,} channels")
    names = [as_text(value) for value in stated] + [""] * (count - len(stated))
    return tuple(text if text and names.count(text) == 1 else str(k) for k, text in enumerate(names))


def frame_shape(value: Any, where: str) -> Shape | None:
    """Return planes, rows and columns from SIMA's shape of a frame, which has the channels last; None if there is none."""
    if value is None:
        return None
    lengths = value if isinstance(value, tuple | list) else ()
    # type() and not isinstance(): True is an int too
    is_valid = len(lengths) in (3, 4) and all(type(n) is int and 0 < n <= _MAX_SIDE for n in lengths)
    planes, rows, columns = lengths[:3] if is_valid else (0, 0, 0)
    if not is_valid or planes * rows * columns > _MAX_PIXELS:
        raise CorruptRecordingError(
            f"{where} says that a frame has the shape {printable(value)[:80]}, expected planes, rows, columns and channels"
        )
    return planes, rows, columns


def read_rows(pickled: Pickled, array: PickledArray, rois: np.ndarray, samples: slice) -> np.ndarray:
    """Return a part of an array ``(rois, samples)``, which alone is read where the file contains it as plain bytes."""
    if array.offset is None:
        return array.read()[rois, samples]
    stored = StoredArray(pickled.file, shape=array.shape, dtype=array.dtype, offset=array.offset)
    return stored.read((rois, samples))


def _signals(entry: Any, where: str) -> Signals:
    if not isinstance(entry, dict) or "raw" not in entry or "rois" not in entry:
        raise CorruptRecordingError(f"{where} should contain the signals 'raw' and their 'rois'")
    count = len(entry["rois"]) if isinstance(entry["rois"], list) else 0
    traces = {name: _sequences(entry[key], count, f"{where}, {key}") for key, name in _TRACES.items() if key in entry}
    shapes = {name: tuple(array.shape for array in arrays) for name, arrays in traces.items()}
    for name, shape in shapes.items():
        if shape != shapes["raw"]:
            raise CorruptRecordingError(
                f"{where} has signals of different lengths: {name} has {_lengths(shape)}, and raw {_lengths(shapes['raw'])}"
            )
    mean = entry.get("mean_frame")
    return Signals(
        entry["rois"], as_text(entry.get("timestamp")), traces, mean if isinstance(mean, PickledArray) else None
    )


def _lengths(shapes: tuple[tuple[int, ...], ...]) -> str:
    return ", ".join(" x ".join(map(str, shape)) for shape in shapes) or "none"


def _sequences(value: Any, num_rois: int, where: str) -> tuple[PickledArray, ...]:
    """Return the arrays of the sequences: a list of them, or, as numpy joins equal ones, one array."""
    arrays = value.objects if isinstance(value, PickledArray) and value.objects is not None else value
    if not isinstance(arrays, list | tuple) or not arrays:
        raise CorruptRecordingError(f"{where} should contain one array for each sequence")
    for array in arrays:
        if not isinstance(array, PickledArray) or len(array.shape) != 2 or array.dtype.kind not in "biuf":
            raise CorruptRecordingError(f"{where} should contain arrays of numbers, ROIs by samples")
        if array.shape[0] != num_rois:
            raise CorruptRecordingError(
                f"{where} has the signals of {counted(array.shape[0], 'ROI')}, but lists {counted(num_rois, 'ROI')}"
            )
    return tuple(arrays)

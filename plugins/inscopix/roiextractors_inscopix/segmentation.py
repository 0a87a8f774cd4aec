"""Reads Inscopix cell sets: masks and traces at computed offsets, of one file or of the files of a series."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from roiextractors_core import RoiMasks, RoiProperty, SegmentationExtractor
from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsWarning,
    SourceKindError,
    counted,
    listed,
    printable,
)
from roiextractors_core.io import warn
from roiextractors_core.metadata import RecordingMetadata

from .acquisition import metadata_of
from .cells import CellSetFile, unique_ids

__all__ = ["InscopixSegmentationExtractor"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_MAX_OVERLAP = 0.5  # periods; the vendor rounds start times to microseconds or milliseconds


class InscopixSegmentationExtractor(SegmentationExtractor):
    """An Inscopix cell set: the masks and traces of cells, as PCA-ICA, CNMF-E or manual ROIs made them.

    The ids of the cells are their names.  The only trace, ``"raw"``, is in the units of ``metadata.vendor["acquisition"]["Trace
    Units"]``.  Samples that the footer lists as dropped, cropped or blank keep their index and time, and their values are as
    stored: NaN, in files of the vendor's software.

    Parameters
    ----------
    file_path : str, os.PathLike, or a sequence of them
        An ``.isxd`` file, or the files of a series.  The parts of a series are ordered by their start times, their cells are
        matched by name, and the gaps between the parts are kept in the times.
    sampling_frequency : float, optional
        Samples per second (Hz); overrides the file's rate.

    Raises
    ------
    UnsupportedRecordingError
        A file is not a cell set.
    TruncatedRecordingError
        A file ends without a footer.
    CorruptRecordingError
        A footer contradicts itself or the size of the file, or the files are not parts of one series.

    Warns
    -----
    IncompleteRecordingWarning
        Samples are missing according to the footer.
    RoiExtractorsWarning
        Names are repeated, a property was left out, bytes are unaccounted for, or the order of the parts is not known.

    References
    ----------
    The vendor's open-source core, https://github.com/inscopix/isxcore: ``isxCellSetFile.cpp``, ``isxCellSetSeries.cpp`` and
    ``isxJsonUtils.cpp``.
    """

    def __init__(self, file_path: Paths, *, sampling_frequency: float | None = None) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        paths = [file_path] if isinstance(file_path, str | os.PathLike) else list(file_path)
        if not paths:
            raise SourceKindError("expected a cell set or the cell sets of a series, got an empty list")
        files, self._order_note = _in_order([CellSetFile(path) for path in paths])
        self._files = files
        first = files[0]
        self._ids, self._names_note = unique_ids(first.names, first.file.name)
        # The position of each of the first file's cells in each file
        self._cells = [_positions(first, file) for file in files]
        _require_one_series(files, self._cells)
        self._ends = np.cumsum([file.timing.num_samples for file in files])
        self._properties_read, self._left_out = first.properties()
        if self._missing_note:
            warn(self._missing_note)
        for words in (self._names_note, self._order_note, *self._left_out, *self._excess_notes):
            if words:
                warn(words, RoiExtractorsWarning)

    def get_frame_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._files[0].shape

    def get_roi_ids(self) -> list[str]:
        """Return the names of the cells."""
        return list(self._ids)

    def get_num_samples(self) -> int:
        """Return the number of samples of a trace, including missing ones."""
        return int(self._ends[-1])

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        """Return the masks of cells; in a series, those of the first part, which equal those of the others."""
        return RoiMasks.from_images(self.get_frame_shape(), self._files[0].images(roi_indices))

    def get_trace_names(self) -> tuple[str, ...]:
        """Return ``("raw",)``."""
        return ("raw",)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        """Return ``(samples, rois)``, float32."""
        pieces, first = [], 0
        for file, cells, end in zip(self._files, self._cells, self._ends.tolist(), strict=True):
            start, stop = max(start_sample, first), min(end_sample, end)
            if start < stop:
                pieces.append(file.traces(start - first, stop - first, cells[roi_indices]))
            first = end
        if not pieces:
            return np.empty((0, len(roi_indices)), np.float32)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def get_own_properties(self) -> Mapping[str, RoiProperty]:
        """Return the status of each cell, whether it is active, its colour, and the vendor's metrics if there are any."""
        own = dict(self._properties_read)
        if self._names_note:
            own["name"] = RoiProperty(np.array(self._files[0].names, dtype=str), "The name of the cell.")
        return own

    def get_sampling_frequency(self) -> float | None:
        """Return samples per second (Hz), or None if the footer has no period or those of a series differ."""
        periods = {file.timing.period for file in self._files}
        period = periods.pop()
        return 1 / (period.numerator / period.denominator) if period and not periods else None

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times of the samples of a series, or of a cell set with missing samples; None if the rate gives them.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            From 0; the end is exclusive.

        Returns
        -------
        numpy.ndarray or None
            Seconds since sample 0, float64.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        timings = [file.timing for file in self._files]
        if not all(timing.period for timing in timings) or self._order_note:
            return None
        if len(timings) == 1 and not timings[0].missing:
            return None
        pieces, first = [], 0
        for timing in timings:
            a, b = max(start, first) - first, min(end, first + timing.num_samples) - first
            if a < b:
                pieces.append(timing.times(a, b, timing.period) + float(timing.start - timings[0].start))
            first += timing.num_samples
        return np.concatenate(pieces) if pieces else np.empty(0)

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples that were dropped, cropped or blank: int64, ascending."""
        first, pieces = 0, []
        for file in self._files:
            pieces.append(file.timing.missing_indices() + first)
            first += file.timing.num_samples
        return np.concatenate(pieces)

    def get_metadata(self) -> RecordingMetadata:
        """Return the first footer's metadata; ``vendor`` is the footer itself plus the vendor's ``acquisition`` info."""
        return self._metadata

    def get_paths(self) -> tuple[str, ...]:
        """Return the files, in the order of their samples."""
        return tuple(os.path.abspath(file.file.path) for file in self._files)

    def get_notes(self) -> tuple[str, ...]:
        """Return what was decided or left out while opening."""
        notes = (self._missing_note, self._names_note, self._order_note, *self._left_out, *self._excess_notes)
        return tuple(note for note in notes if note)

    def close(self) -> None:
        """Release the files."""
        for file in self._files:
            file.file.close()
        super().close()

    @cached_property
    def _metadata(self) -> RecordingMetadata:
        return metadata_of(self._files[0].document, self._files[0].timing)

    @property
    def _missing_note(self) -> str:
        words = [
            f"{file.file.name}: {file.timing.missing_words} of {counted(file.timing.num_samples, 'sample')} are missing; "
            "they keep their times, and their values are as stored"
            for file in self._files
            if file.timing.missing
        ]
        return "; ".join(words)

    @property
    def _excess_notes(self) -> tuple[str, ...]:
        return tuple(file.excess_note for file in self._files)


def _in_order(files: list[CellSetFile]) -> tuple[list[CellSetFile], str]:
    """Return the parts of a series by their start times, and a sentence if those are not known."""
    if len(files) == 1:
        return files, ""
    unknown = [file.file.name for file in files if not file.timing.start]
    if not unknown:
        return sorted(files, key=lambda file: file.timing.start), ""
    if len({file.timing.period for file in files}) > 1:
        raise CorruptRecordingError(
            f"{listed(map(printable, unknown))} have no start time, and the parts have different periods, so "
            "the samples of this series have no times; open each part by itself"
        )
    return files, (
        f"{listed(map(printable, unknown))} have no start time: the {len(files)} parts are in the order in which they were given, "
        "without gaps between them"
    )


def _positions(first: CellSetFile, file: CellSetFile) -> np.ndarray:
    """Return the position of the first part's cells in a part; cells are matched by their names."""
    if file is first:
        return np.arange(len(first.names))
    places = {name: k for k, name in enumerate(file.names)}
    if len(places) < len(file.names) or "" in places:
        raise CorruptRecordingError(
            f"{file.file.name} has cells whose names are repeated or empty, so its cells cannot be matched with those of "
            f"{first.file.name}; open each part by itself"
        )
    differing = sorted(set(first.names) ^ set(file.names))
    if differing:
        raise CorruptRecordingError(
            f"{first.file.name} and {file.file.name} are not parts of one series: only one of them has the "
            f"cell{'s' * (len(differing) > 1)} {listed(map(printable, differing))}"
        )
    return np.array([places[name] for name in first.names], dtype=np.int64)


def _require_one_series(files: Sequence[CellSetFile], cells: Sequence[np.ndarray]) -> None:
    """Raise unless the parts have the same frame and masks, and follow each other."""
    first = files[0]
    for file, places in zip(files[1:], cells[1:], strict=True):
        if file.shape != first.shape:
            raise CorruptRecordingError(
                f"{first.file.name} and {file.file.name} are not parts of one series: their frames are {first.shape} and {file.shape}"
            )
        # Every cell set has cells named C0, C1, ...; the masks of three cells tell unrelated ones apart without reading all
        few = np.unique([0, len(places) // 2, len(places) - 1]) if len(places) else np.arange(0)
        for cell, ours, theirs in zip(few, first.images(few), file.images(places[few]), strict=True):
            if not np.array_equal(ours, theirs):
                raise CorruptRecordingError(
                    f"{first.file.name} and {file.file.name} are not parts of one series: their masks of the cell "
                    f"{printable(first.names[cell])!r} differ"
                )
    for earlier, later in itertools.pairwise(files):
        _require_apart(earlier, later)


def _require_apart(earlier: CellSetFile, later: CellSetFile) -> None:
    if earlier.timing.start and later.timing.start:
        end = earlier.timing.start + earlier.timing.num_samples * earlier.timing.period
        overlap = float(end - later.timing.start)
        if overlap > _MAX_OVERLAP * float(earlier.timing.period):
            raise CorruptRecordingError(
                f"{later.file.name} begins {overlap:.3f} s before the end of {earlier.file.name}; parts of a series do not overlap"
            )
    elif earlier.timing == later.timing and _have_same_traces(earlier, later):
        raise CorruptRecordingError(
            f"{earlier.file.name} and {later.file.name} contain the same traces; give each part once"
        )


def _have_same_traces(one: CellSetFile, other: CellSetFile) -> bool:
    """Return whether two parts without start times are copies of each other; most differ in the first trace already."""
    count = one.timing.num_samples
    cells = np.arange(len(one.names))[:, None]
    return len(cells) > 0 and all(
        np.array_equal(one.traces(0, count, cell), other.traces(0, count, cell), equal_nan=True) for cell in cells
    )

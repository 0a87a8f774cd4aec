"""Reads the tables of ROIs of NWB files: masks, traces, properties, images and background components."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsWarning,
    UnsupportedRecordingError,
    counted,
    listed,
    printable,
)
from roiextractors_core.io import regular_rate, warn
from roiextractors_core.metadata import RecordingMetadata
from roiextractors_core.segmentation import Background, RoiMasks, RoiProperty, SegmentationExtractor

from .arrays import Matrix, matrix_of
from .columns import properties_of
from .frames import frame_of, movies_of, stated_frame
from .images import Image, images_of, read_image
from .masks import TableMasks, extent_of
from .plane import MODALITIES, metadata_of
from .responses import Response, responses_of
from .sidecar import IDS_COLUMN, SegmentationSidecar
from .tables import Table, background_of, chosen_table, read_table, table_names
from .times import SeriesTimes
from .tree import Tree, local_path, open_tree

__all__ = ["NwbSegmentationExtractor"]

_MAX_DIFFERENCE = 0.5  # of a period, between the clocks of two traces


class NwbSegmentationExtractor(SegmentationExtractor):
    """One table of ROIs (PlaneSegmentation) of an NWB 2 file, in HDF5 or Zarr.

    Parameters
    ----------
    file_path : str or os.PathLike
        A ``.nwb`` file (HDF5), or the folder of an NWB Zarr.
    plane_segmentation : str, optional
        The name of the table, or its path (``"processing/ophys/ImageSegmentation/PlaneSegmentation"``); needed when the file
        contains several.
    frame_shape : tuple of int, optional
        ``(rows, columns)`` of the movie, for a table of pixel lists in a file that does not state it.
    sampling_frequency : float, optional
        Samples per second (Hz); takes precedence over the file.

    Raises
    ------
    StreamChoiceError
        Several tables, and none was named; or the named one does not exist.
    UnsupportedRecordingError
        No table of ROIs, or NWB 1.
    CorruptRecordingError, TruncatedRecordingError
        The file is damaged or truncated, or ids and masks contradict each other.

    Warns
    -----
    RoiExtractorsWarning
        A series or a column contradicts the table and is left out; clocks contradict each other; the size of the frames is unknown.

    Notes
    -----
    NWB stores masks and images as ``(x, y[, z])``, the width first: y is the row and x the column.  Of several kinds of masks in
    one table, lists of voxels are read before lists of pixels, and those before dense images.

    Traces are as stored; a conversion is in the notes.  A trace that covers a part of the ROIs raises an error for the others.

    References
    ----------
    NWB core schema 2.8, ``nwb.ophys.yaml``; hdmf-common, ``table.yaml``; the metadata that NeuroConv writes.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        plane_segmentation: str | None = None,
        frame_shape: tuple[int, int] | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._path = local_path(file_path)
        self._doubts: list[str] = []
        self._notes: list[str] = []
        with open_tree(self._path) as tree:
            self._name = tree.name
            self._look(tree, chosen_table(tree, plane_segmentation), frame_shape)
        self._shape = self._complete_shape()
        self.has_masks = bool(self._table.masks)
        self._masks = self._masks_of(self._table)
        self._matrices = {r.name: matrix_of(self._path, r.where, r.axes) for r in self._responses}
        self._num_samples = self._count_samples()
        self._series_times = self._chosen_times()
        for words in self._doubts:
            warn(words, RoiExtractorsWarning)

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the tables of ROIs if there are several: their names, or their paths where names repeat.

        Returns
        -------
        dict
            ``{"plane_segmentation": ("PlaneSegmentationPlane0", "PlaneSegmentationPlane1")}``
        """
        with open_tree(local_path(file_path)) as tree:
            names = tuple(table_names(tree))
        return {"plane_segmentation": names} if len(names) > 1 else {}

    def get_frame_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``; of a table without masks ``(0, 0)`` if no image states it."""
        return self._shape[0], self._shape[1]

    def get_num_planes(self) -> int:
        """Return the number of planes of the masks; 1 for planar ones."""
        return self._shape[2] if len(self._shape) > 2 else 1

    def get_roi_ids(self) -> list[str]:
        """Return the ids of the table as text."""
        return list(self._table.ids)

    def get_num_samples(self) -> int:
        """Return the number of samples of the traces; 0 without traces."""
        return self._num_samples

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        """Return the masks of these ROIs; of dense masks, only theirs are read."""
        self.check_open()
        return self._masks.read(roi_indices)

    def get_trace_names(self) -> tuple[str, ...]:
        """Return the names of the traces, known ones first."""
        return tuple(response.name for response in self._responses)

    def get_trace_roi_ids(self, name: str) -> list[str]:
        """Return the ids of the ROIs that a trace has values of.

        Parameters
        ----------
        name : str
            One of :meth:`get_trace_names`.
        """
        columns = next(response.columns for response in self._responses if response.name == name)
        ids = self._table.ids
        return list(ids) if columns is None else [ids[k] for k in np.flatnonzero(columns >= 0).tolist()]

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        """Return a part of a trace, as stored.

        Raises
        ------
        UnsupportedRecordingError
            The series does not have one of the ROIs.
        """
        self.check_open()
        response = next(response for response in self._responses if response.name == name)
        columns = roi_indices if response.columns is None else response.columns[roi_indices]
        if (columns < 0).any():
            missing = [self._table.ids[k] for k in roi_indices[columns < 0].tolist()]
            known = self.get_trace_roi_ids(name)
            raise UnsupportedRecordingError(
                f"{self._name}: trace {name!r} has no values for {counted(len(missing), 'ROI')} ({listed(missing, limit=4)}), only "
                f"for {len(known):,} others; pass the ids of get_trace_roi_ids({name!r}) to get_traces(roi_ids=...) or select_rois(...)"
            )
        return self._matrices[name].read(start_sample, end_sample, columns)

    def get_background(self) -> Background | None:
        """Return the background components that NeuroConv writes as a table of their own, or None."""
        return self._background

    def get_image_names(self) -> tuple[str, ...]:
        """Return the names of the images, as in the file."""
        return tuple(image.name for image in self._images)

    def get_image(self, name: str = "correlation") -> np.ndarray:
        """Return an image, ``(rows, columns)``."""
        self.check_open()
        for image in self._images:
            if image.name == name:
                return read_image(self._path, image)
        return super().get_image(name)

    def get_own_properties(self) -> Mapping[str, RoiProperty]:
        """Return the columns with one number, truth value or text for each ROI."""
        return self._properties_of_file

    def get_sampling_frequency(self) -> float | None:
        """Return the rate (Hz) that the first trace states, or that its regular timestamps give; None for irregular ones."""
        if self._sidecar is not None:
            return self._sidecar.sidecar.rate
        times = self._series_times
        if times is None:
            return None
        return self._regular_rate if times.has_timestamps else times.stated_rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the timestamps of the first trace, or its times by rate and starting time; in seconds, float64."""
        start, end = self.resolve_range(start_sample, end_sample)
        if self._series_times is None:
            return None
        if self._series_times.has_timestamps:
            return self._timestamps[start:end].copy()
        rate = self.get_sampling_frequency()
        if rate is None or self._series_times.starting_time is None:
            return None
        if self._sidecar is not None and self._sidecar.first_sample and self._sidecar.sidecar.rate == rate:
            return (self._sidecar.first_sample + np.arange(start, end)) / rate
        times: np.ndarray = np.arange(start, end) / rate + self._series_times.starting_time
        return times

    def get_metadata(self) -> RecordingMetadata:
        """Return the session's start, the pixel size, optical channels, device, and the fields of table and imaging plane."""
        return self._metadata if self._sidecar is None else self._sidecar.sidecar.metadata

    def get_notes(self) -> tuple[str, ...]:
        """Return notes: which masks are read, conversions that are not applied, and what was left out."""
        return (*self._notes, *self._doubts, *self._masks.notes)

    def get_paths(self) -> tuple[str, ...]:
        """Return the NWB file."""
        return (os.path.abspath(self._path),)

    def close(self) -> None:
        """Release the files."""
        for matrix in self._matrices.values():
            matrix.close()
        super().close()

    # Opening

    @property
    def _names(self) -> Mapping[str, str]:
        """The names that ``convert`` stored for traces, images and properties, by their paths."""
        return {} if self._sidecar is None else self._sidecar.names

    def _look(self, tree: Tree, path: str, frame_shape: tuple[int, ...] | None) -> None:
        """Find out what the file has of one table."""
        self._table = _with_one_shape(read_table(tree, path))
        self._doubts.extend(self._table.doubts)
        if len(self._table.masks) > 1:
            first, *others = (mask.kind for mask in self._table.masks)
            self._notes.append(f"masks are read from {first}; the table has {', '.join(others)} as well")
        self._sidecar = self._find_sidecar(tree)
        if self._sidecar is not None and not self._sidecar.has_masks:
            self._table = replace(self._table, masks=())
        self._frame = self._find_frame(tree, frame_shape)
        found = responses_of(tree, path, len(self._table.ids), self._names)
        self._responses = found.series
        self._doubts.extend(found.doubts)
        self._notes.extend(found.notes)
        self._metadata = self._find_metadata(tree)
        self._images = self._find_images(tree)
        self._background_table = background_of(tree, path)

    def _find_sidecar(self, tree: Tree) -> SegmentationSidecar | None:
        kept = SegmentationSidecar.of_tree(tree, self._table.path)
        table = None if kept is None else _with_named_ids(tree, self._table, kept)
        if kept is not None and table is None:
            self._doubts.append(f"{self._name}: {IDS_COLUMN} was changed since convert() wrote it, and is not used")
            return None
        self._table = table or self._table
        return kept

    def _find_frame(self, tree: Tree, given: tuple[int, ...] | None) -> tuple[int, ...] | None:
        """Return the shape of the masks that the user or the file states."""
        stated = stated_frame(self._table)
        if given is not None:
            frame = tuple(given)
            if len(frame) not in (2, 3) or not all(isinstance(n, int | np.integer) and n > 0 for n in frame):
                raise UnsupportedRecordingError(f"frame_shape must be (rows, columns), got {given!r}")
            if stated is not None and frame[:2] != stated[:2]:
                raise UnsupportedRecordingError(
                    f"{self._name}: the masks of {printable(self._table.path)} have {stated[0]:,} rows and {stated[1]:,} columns; "
                    f"open without frame_shape={given!r}"
                )
            return stated or tuple(map(int, frame))
        if stated is None and self._sidecar is not None:
            return self._sidecar.sidecar.shape[1:]
        try:
            return frame_of(tree, self._table)
        except UnsupportedRecordingError:  # a link to another file
            return None

    def _complete_shape(self) -> tuple[int, ...]:
        """Return the shape of the masks; by the pixels themselves if nothing states it."""
        frame, masks = self._frame, self._table.masks
        kind = masks[0].kind if masks else ""
        if frame is None and not masks:
            return (0, 0)
        if frame is None or (kind == "voxel_mask" and len(frame) == 2):
            extent = extent_of(self._path, self._name, masks[0], has_rows_first=self._table.has_rows_first)
            if frame is None and extent[0]:
                self._doubts.append(
                    f"{self._name} does not state the size of the frames of {printable(self._table.path)}; the smallest that contains all "
                    f"pixels is used, {extent[0]:,} rows and {extent[1]:,} columns: pass frame_shape=(rows, columns) if it is another"
                )
            frame = (*(frame or extent[:2]), *extent[2:])
        if kind == "pixel_mask" or (len(frame) > 2 and frame[2] == 1):
            return frame[:2]
        return frame

    def _masks_of(self, table: Table) -> TableMasks:
        return TableMasks(
            self._path, self._name, table.masks, table.ids, self._shape, has_rows_first=table.has_rows_first
        )

    def _find_metadata(self, tree: Tree) -> RecordingMetadata:
        is_volumetric = self._frame is not None and len(self._frame) > 2
        try:
            found = metadata_of(tree, self._table.path, key="plane_segmentation", is_volumetric=is_volumetric)
        except UnsupportedRecordingError as error:  # a link to another file, or a circle of links
            self._doubts.append(f"{error}; the metadata of the imaging plane is left out")
            return RecordingMetadata()
        modalities = {MODALITIES.get(kind) for _, kind in movies_of(tree, self._table.path)}
        if len(modalities) == 1:
            found = found.replaced(modality=modalities.pop())
        traces = {
            response.name: {"path": response.path, **tree.attributes(response.where)} for response in self._responses
        }
        return found.replaced(vendor={**found.vendor, "traces": traces}) if traces else found

    def _find_images(self, tree: Tree) -> tuple[Image, ...]:
        if self._frame is None:
            return ()
        others = [path for path in table_names(tree).values() if path != self._table.path]
        images, doubts, notes = images_of(tree, self._table.path, self._frame, others, self._names)
        self._doubts.extend(doubts)
        self._notes.extend(notes)
        return images

    def _count_samples(self) -> int:
        """Return the number of samples that all traces have; those at the end that were never written are left out."""
        stated = self._responses[0].num_samples if self._responses else 0
        count = min((matrix.num_samples for matrix in self._matrices.values()), default=0)
        if count < stated:
            words = f"{self._name}: {count:,} of {stated:,} samples of the traces are complete; the others, at the end, are missing"
            self._notes.append(words)
            warn(words)
        for response in self._responses:
            missing = self._matrices[response.name].num_missing
            if missing:
                words = f"{self._name}: {counted(missing, 'chunk')} of {response.label} are missing, and are read as the fill value"
                self._notes.append(words)
                warn(words)
        kept = self._sidecar.sidecar if self._sidecar is not None else None
        if kept is not None and kept.shape != (stated, *self._shape):
            self._doubts.append(
                f"{self._name}: the times and metadata that convert() wrote describe a segmentation of shape "
                f"{kept.shape} and are not used"
            )
            self._sidecar = None
        return count

    def _chosen_times(self) -> SeriesTimes | None:
        """Return the clock of the first trace that has one, and compare the others with it."""
        clocks = [
            (response, SeriesTimes(self._path, self._name, response.times, response.num_samples))
            for response in self._responses
            if response.times.timestamps is not None or response.times.rate is not None
        ]
        if not clocks:
            return None
        (first, chosen), *others = clocks
        self._doubts.extend(chosen.doubts(first.path))
        for response, times in others:
            if _same_facts(response, first) or _agree(chosen, times, self._num_samples):
                continue
            self._doubts.append(
                f"{self._name}: the times of {response.label} differ from those of {first.label}, which are used for all traces"
            )
        return chosen

    @cached_property
    def _timestamps(self) -> np.ndarray:
        return (self._series_times or self._no_times()).read(0, self._num_samples)

    def _no_times(self) -> SeriesTimes:
        raise UnsupportedRecordingError(f"{self._name} has no timestamps of traces")

    @cached_property
    def _regular_rate(self) -> float | None:
        return regular_rate(self._timestamps)

    @cached_property
    def _properties_of_file(self) -> Mapping[str, RoiProperty]:
        with open_tree(self._path) as tree:
            found, doubts, notes = properties_of(
                tree, self._table.path, self._table.columns, len(self._table.ids), self._names
            )
        self._doubts.extend(doubts)
        self._notes.extend(notes)
        for words in doubts:
            warn(words, RoiExtractorsWarning)
        return found

    @cached_property
    def _background(self) -> Background | None:
        if self._background_table is None:
            return None
        try:
            with open_tree(self._path) as tree:
                table = _with_one_shape(read_table(tree, self._background_table))
                if self._sidecar is not None:
                    table = _with_named_ids(tree, table, self._sidecar) or table
                responses = responses_of(tree, table.path, len(table.ids), self._names).series
            masks = None
            if table.masks:
                masks = self._masks_of(table).read(np.arange(len(table.ids)))
        except (CorruptRecordingError, UnsupportedRecordingError) as error:
            words = f"{error}; the background components are left out"
            self._doubts.append(words)
            warn(words, RoiExtractorsWarning)
            return None
        whole = [r for r in responses if r.columns is None and r.num_samples == self._num_samples]
        is_alone = len(whole) == 1 and whole[0].path not in self._names
        names = ["background"] if is_alone else [response.name for response in whole]
        # A trace of the same name is one of ROIs
        taken = set(self.get_trace_names())
        traces = {
            name if name not in taken else f"background {name}": _LazyTrace(
                matrix_of(self._path, r.where, r.axes), 0, r.num_samples
            )
            for name, r in zip(names, whole, strict=True)
        }
        return Background(table.ids, masks, traces)


class _LazyTrace:
    """The traces of background components, read when they are asked for; a range of samples is lazy too."""

    def __init__(self, matrix: Matrix, start: int, end: int) -> None:
        self._matrix, self._start, self._end = matrix, start, end

    @property
    def shape(self) -> tuple[int, int]:
        """``(samples, components)``."""
        return self._end - self._start, self._matrix.num_columns

    def __len__(self) -> int:
        return self._end - self._start

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice) and key.step in (None, 1):
            start, stop, _ = key.indices(len(self))
            return _LazyTrace(self._matrix, self._start + start, self._start + max(start, stop))
        return np.asarray(self)[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = self._matrix.read(self._start, self._end, np.arange(self._matrix.num_columns))
        return found if dtype is None else found.astype(dtype, copy=False)


def _with_one_shape(table: Table) -> Table:
    """Return a table without lists of pixels if its other masks are volumes: they do not say in which plane a pixel is."""
    dense = stated_frame(table)
    is_volumetric = (dense is not None and len(dense) > 2) or any(mask.kind == "voxel_mask" for mask in table.masks)
    kept = tuple(mask for mask in table.masks if not (is_volumetric and mask.kind == "pixel_mask"))
    return replace(table, masks=kept or table.masks)


def _with_named_ids(tree: Tree, table: Table, kept: SegmentationSidecar) -> Table | None:
    """Return a table with the ids that ``convert`` wrote as a column of text; None if they were changed since."""
    if table.path not in kept.ids_columns:
        return table
    names = tree.value(f"{table.path}/{IDS_COLUMN}", most=max(1, len(table.ids)))
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not len(names) == len(set(map(str, names))) == len(table.ids):
        return None
    others = tuple(name for name in table.columns if name != IDS_COLUMN)
    return replace(table, ids=tuple(map(str, names)), columns=others)


def _same_facts(one: Response, other: Response) -> bool:
    return one.times.timestamps == other.times.timestamps and (one.times.rate, one.times.starting_time) == (
        other.times.rate,
        other.times.starting_time,
    )


def _agree(one: SeriesTimes, other: SeriesTimes, count: int) -> bool:
    """Whether two clocks give the first and the last sample the same time, within half a period."""
    if not count:
        return True
    ends = [list(_ends(times, count)) for times in (one, other)]
    if not all(ends):
        return True  # what cannot be used is not compared; a warning about it was given
    period = abs(ends[0][1] - ends[0][0]) / max(1, count - 1) or 1.0
    return all(abs(a - b) <= _MAX_DIFFERENCE * period for a, b in zip(*ends, strict=True))


def _ends(times: SeriesTimes, count: int) -> Iterator[float]:
    if times.has_timestamps:
        yield from (float(times.read(k, k + 1)[0]) for k in (0, count - 1))
    elif times.stated_rate is not None:
        start = times.starting_time or 0.0
        yield from (start, start + (count - 1) / times.stated_rate)

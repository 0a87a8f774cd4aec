"""Reads ROIs and traces of the Allen Institute's pipelines: HDF5 tables, and masks in JSON or in the same file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from roiextractors_hdf5.matrix import Hdf5Matrix

from roiextractors_core import RoiMasks, RoiProperty, SegmentationExtractor
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    RoiExtractorsWarning,
    printable,
)
from roiextractors_core.io import warn
from roiextractors_core.metadata import RecordingMetadata

from .gather import Gathered, gather, read_times
from .masks import JsonMasks, JsonRoi
from .tables import ORDER, Masks, image_names, read_frame_shape, read_image, read_masks

__all__ = ["AllenSegmentationExtractor"]

_ROI_VALUES = {
    "valid": ("valid_roi", "valid"),
    "exclusion_labels": ("exclusion_labels",),
    "mask_plane": ("mask_image_plane", "mask_page"),
    "cell_specimen_id": ("cell_specimen_id",),
}
_DESCRIPTIONS = {
    "valid": "Whether the pipeline considers the ROI a valid cell.",
    "exclusion_labels": "Why the ROI is not valid; separated by commas.",
    "mask_plane": "The plane on which the mask was stored, to separate overlapping masks.",
    "cell_specimen_id": "The cell that the ROI was matched with across sessions.",
}


class AllenSegmentationExtractor(SegmentationExtractor):
    """ROIs of the Allen Brain Observatory's pipeline, of ``ophys_etl_pipelines``, or of the AIND pipeline.

    Traces that are in several files (``roi_traces.h5``, ``neuropil_traces.h5``, ``demixed_traces.h5``, ``neuropil_correction.h5``,
    ``dff.h5``, ``event.h5``) are read together.  They are matched by the ids of the ROIs (``roi_names``), as are the masks in a JSON
    file beside them.  Extraction files of the AIND pipeline contain the masks themselves; files of later steps, which have no
    ids, are matched by the numbers of the ROIs if their names begin as that of the extraction file.

    Parameters
    ----------
    file_path : str or os.PathLike
        An HDF5 file with traces, a JSON file with masks, or the folder of one recording.
    masks : str or os.PathLike, optional
        The JSON file with the masks, instead of one beside the traces.
    frame_shape : tuple of int, optional
        ``(rows, columns)`` of the movie's frames, which JSON files of masks do not contain.
    sampling_frequency : float, optional
        Samples per second (Hz), which these files do not contain.

    Raises
    ------
    UnsupportedRecordingError
        No traces were found, or traces of several recordings.
    CorruptRecordingError
        A file contradicts itself, an id is repeated, or a mask is outside the frame.

    Warns
    -----
    RoiExtractorsWarning
        ROIs of different files do not match, traces of other lengths were left out, or the shape of the frame is not known.

    Notes
    -----
    The native times are ``twop_vsync_fall`` of a file ``*time_sync*.h5`` beside the traces, if it has one for each sample.

    References
    ----------
    AllenSDK, ``allensdk.brain_observatory.behavior.data_files`` and ``roi_filter``; ophys_etl_pipelines, ``ophys_etl.schemas``;
    AllenNeuralDynamics, ``aind-ophys-extraction``, ``aind-ophys-dff``, ``aind-ophys-oasis-event-detection``.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        masks: str | os.PathLike[str] | None = None,
        frame_shape: Sequence[int] | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._files = gather(file_path, masks)
        self._main = self._files.main
        self.has_masks = self._main.is_extraction or self._files.masks is not None
        self._frame_shape = self._shape_of_frame(frame_shape)
        self._matrices = {
            name: Hdf5Matrix(joined.table.path, joined.table.dataset, rois_first=True)
            for name, joined in self._files.tables.items()
        }
        self._native_times = self._read_times()
        for words in self._files.warnings:
            warn(words, RoiExtractorsWarning)

    def get_frame_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``, or (0, 0) without masks and without the option ``frame_shape``."""
        return self._frame_shape

    def get_roi_ids(self) -> list[str]:
        """Return the ids in ``roi_names``, or the numbers of the ROIs from 0 where the file has none."""
        return list(self._main.ids)

    def get_num_samples(self) -> int:
        """Return the number of samples of the traces."""
        return self._main.num_samples

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        """Return the masks of ROIs; an ROI with traces and without a mask has no pixels."""
        if self._files.masks is None:
            stored = self._stored_masks
            parts = [slice(*stored.offsets[k : k + 2]) for k in roi_indices]
            pixels = [(stored.rows[part], stored.columns[part], stored.weights[part]) for part in parts]
        else:
            rois = [self._files.masks.rois.get(self._main.ids[k]) for k in roi_indices]
            nothing = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
            pixels = [nothing if roi is None else roi.pixels() for roi in rois]
        return RoiMasks.from_pixels(self._frame_shape, pixels)

    def get_trace_names(self) -> tuple[str, ...]:
        """Return the names of the traces that there are: ``"raw"``, ``"demixed"``, ``"neuropil"``, ``"corrected"``, ``"dff"``, ..."""
        return tuple(name for name in ORDER if name in self._files.tables)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        """Return ``(samples, rois)``; an ROI that the file does not have is NaN."""
        rows = self._files.tables[name].rows[roi_indices]
        there = rows >= 0
        part = self._matrices[name].read(start_sample, end_sample, rows[there])
        if there.all():
            return np.ascontiguousarray(part)
        result = np.full((end_sample - start_sample, len(rows)), np.nan, np.result_type(part.dtype, np.float32))
        result[:, there] = part
        return result

    def get_image_names(self) -> tuple[str, ...]:
        """Return ``("mean", "maximum_projection")`` for an extraction file that contains them."""
        return image_names(self._main.path) if self._main.is_extraction else ()

    def get_image(self, name: str = "mean") -> np.ndarray:
        """Return one of the images, ``(rows, columns)``."""
        if name not in self.get_image_names():
            return super().get_image(name)
        return read_image(self._main.path, name)

    def get_own_properties(self) -> Mapping[str, RoiProperty]:
        """Return the values that the files have for each ROI."""
        own = {name: RoiProperty(values, description) for name, (values, description) in self._files.values.items()}
        return {**_json_properties(self._files.masks, self._main.ids), **own}

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times of the samples in seconds, float64, or None if no file of synchronized times is beside the traces."""
        start, end = self.resolve_range(start_sample, end_sample)
        return None if self._native_times is None else self._native_times[start:end].copy()

    def get_metadata(self) -> RecordingMetadata:
        """Return the modality, and the names of the files as ``vendor``."""
        names = {name: os.path.basename(joined.table.path) for name, joined in self._files.tables.items()}
        return RecordingMetadata(modality="two-photon", vendor={"files": names})

    def get_paths(self) -> tuple[str, ...]:
        """Return all files that are read."""
        return tuple(map(os.path.abspath, self._files.paths))

    def get_notes(self) -> tuple[str, ...]:
        """Return what was matched, left out or not known."""
        return (*self._files.warnings, *self._files.notes)

    def close(self) -> None:
        """Release the files."""
        for matrix in self._matrices.values():
            matrix.close()
        super().close()

    @cached_property
    def _stored_masks(self) -> Masks:
        return read_masks(self._main.path, self._frame_shape, len(self._main.ids))

    def _read_times(self) -> np.ndarray | None:
        if not self._files.times:
            return None
        times, words = read_times(self._files.times, self._main.num_samples)
        if words:
            self._files.warnings.append(words)
        return times

    def _shape_of_frame(self, given: Sequence[int] | None) -> tuple[int, int]:
        shape = _checked_shape(given)
        if self._main.is_extraction:
            stated = read_frame_shape(self._main.path, len(self._main.ids))
            if shape not in (None, stated):
                raise ChoiceError(
                    f"{self._main.file_name} has frames of {stated}, but frame_shape={shape}; leave it out"
                )
            return stated
        masks = self._files.masks
        if masks is None:
            return shape or (0, 0)
        used = [masks.rois[name] for name in self._main.ids if name in masks.rois]
        return _frame_around(self._files, used, shape)


def _frame_around(files: Gathered, rois: Sequence[JsonRoi], given: tuple[int, int] | None) -> tuple[int, int]:
    """Return the shape of the frame, which contains all masks: the one given or found, or else the smallest one."""
    file_name = "" if files.masks is None else files.masks.file_name
    needed = [(roi, *_extent(roi)) for roi in rois]
    shape = given or files.frame_shape
    if shape is None:
        shape = max((rows for _, rows, _ in needed), default=0), max((columns for _, _, columns in needed), default=0)
        files.warnings.append(
            f"{file_name} does not say how large the frames are; {shape[0]} x {shape[1]} pixels is the smallest size that contains all masks. "
            "Pass frame_shape=(rows, columns)"
        )
    for roi, rows, columns in needed:
        if rows > shape[0] or columns > shape[1]:
            raise CorruptRecordingError(
                f"{file_name}: the mask of ROI {printable(roi.id)!r} extends to row {rows - 1} and column {columns - 1}, outside the frame of "
                f"{shape[0]} x {shape[1]} pixels"
            )
    return shape


def _extent(roi: JsonRoi) -> tuple[int, int]:
    rows, columns, _ = roi.pixels()
    return (int(rows.max()) + 1, int(columns.max()) + 1) if len(rows) else (0, 0)


def _checked_shape(given: Sequence[int] | None) -> tuple[int, int] | None:
    if given is None:
        return None
    try:
        rows, columns = (int(length) for length in given)
    except (TypeError, ValueError):
        rows = columns = 0
    if rows < 1 or columns < 1:
        raise ChoiceError(f"frame_shape must be (rows, columns), got {given!r}")
    return rows, columns


def _json_properties(masks: JsonMasks | None, ids: Sequence[str]) -> dict[str, RoiProperty]:
    """Return what a JSON file says of each ROI; a value that only some ROIs have is left out."""
    if masks is None or not all(name in masks.rois for name in ids):
        return {}
    properties = {}
    for name, keys in _ROI_VALUES.items():
        values = [
            next((masks.rois[roi].entry[key] for key in keys if key in masks.rois[roi].entry), None) for roi in ids
        ]
        if name == "exclusion_labels":
            values = [", ".join(map(str, value)) if isinstance(value, list) else None for value in values]
        kinds = {type(value) for value in values}
        if len(kinds) == 1 and kinds <= {bool, int, str}:
            properties[name] = RoiProperty(np.array(values), _DESCRIPTIONS[name])
    return properties

"""ROIs that were drawn in ImageJ or Fiji as a segmentation."""

from __future__ import annotations

import ast
import operator
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from roiextractors_core import (
    ChoiceError,
    CorruptRecordingError,
    RoiExtractorsWarning,
    RoiMasks,
    RoiProperty,
    SegmentationExtractor,
    UnsupportedRecordingError,
)
from roiextractors_core.errors import counted, listed, printable
from roiextractors_core.io import single_file, warn

from .archive import read_entries
from .decoder import ImageJRoi, decode_roi
from .outlines import extent_of, pixels_of

__all__ = ["ImageJRoiSegmentationExtractor"]

_LINES = frozenset(("line", "arrow", "polyline", "freeline", "angle"))
_ANNOTATIONS = frozenset(("text", "image"))
_MAX_LENGTH = 1 << 20

_Values = Callable[[ImageJRoi], Any]
# Each with its description; those but the type are left out where no ROI has a value
_PROPERTIES: Mapping[str, tuple[_Values, str]] = {
    "type": (lambda roi: roi.type, "The kind of selection in ImageJ"),
    "name": (lambda roi: printable(roi.name), "The name inside the ROI, where it differs from the id"),
    "position": (lambda roi: roi.position, "Image of the stack from 1; 0 for all"),
    "channel": (lambda roi: roi.channel, "Channel of the hyperstack from 1; 0 for all"),
    "slice": (lambda roi: roi.slice, "Slice (z) of the hyperstack from 1; 0 for all"),
    "frame": (lambda roi: roi.frame, "Frame (t) of the hyperstack from 1; 0 for all"),
    "group": (lambda roi: roi.group, "Group of the ROI; 0 for none"),
    "stroke_color": (lambda roi: roi.stroke_color, "#rrggbb, with alpha #aarrggbb"),
    "fill_color": (lambda roi: roi.fill_color, "#rrggbb, with alpha #aarrggbb"),
    "stroke_width": (lambda roi: roi.stroke_width, "Width of the outline in pixels"),
    "properties": (lambda roi: roi.properties, "Lines of 'key: value' that the ROI has"),
}


class ImageJRoiSegmentationExtractor(SegmentationExtractor):
    """ROIs of ImageJ and Fiji: a ``.roi`` file, or the ``RoiSet.zip`` of the ROI Manager.

    Parameters
    ----------
    file_path : str or os.PathLike
    frame_shape : tuple of int
        ``(rows, columns)`` of the image on which the ROIs were drawn; the files do not say.
    sampling_frequency : float, optional
        Samples a second (Hz); the files contain none.

    Raises
    ------
    ChoiceError
        ``frame_shape`` is missing or invalid.
    CorruptRecordingError, TruncatedRecordingError
        The file or an ROI is damaged, or an ROI is outside of the frame.
    UnsupportedRecordingError
        None of the ROIs is an area or a point.

    Notes
    -----
    The pixels are those that ImageJ measures: every pixel whose centre is inside the outline, and of points the nearest pixel.
    All weights are 1. An ROI of several points is one ROI.

    References
    ----------
    ImageJ, ``ij/io/RoiDecoder.java`` and ``ij/plugin/frame/RoiManager.java`` (https://github.com/imagej/ImageJ).
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        frame_shape: Sequence[int] | str | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        path = single_file(file_path, hint="open each of them, or pack the .roi files into one zip archive")
        self._file_name = printable(path.name)
        self._frame_shape = _checked_shape(frame_shape, self._file_name)
        entries, notes = read_entries(path)
        rois = [
            decode_roi(data, f"the ROI {printable(label)[:80]!r}" if label else self._file_name)
            for label, data in entries
        ]
        # The ROI Manager lists the names of the entries; only they are distinct
        labels = [label or roi.name or path.stem for (label, _), roi in zip(entries, rois, strict=True)]
        ids, repeated = _distinct(labels, self._file_name)
        self._rois, left_out = _areas_and_points(dict(zip(ids, rois, strict=True)), self._file_name)
        warnings = (*left_out, *self._outside())
        for sentence in warnings:
            warn(sentence, RoiExtractorsWarning)
        self._notes = (*notes, *repeated, *warnings)

    def get_frame_shape(self) -> tuple[int, int]:
        return self._frame_shape

    def get_roi_ids(self) -> list[str]:
        return list(self._rois)

    def get_num_samples(self) -> int:
        return 0

    def get_trace_names(self) -> tuple[str, ...]:
        return ()

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        return np.empty((0, len(roi_indices)))

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        items = list(self._rois.items())
        chosen = [items[k] for k in roi_indices]
        pixels = (pixels_of(roi, self._frame_shape, f"the ROI {label!r}") for label, roi in chosen)
        return RoiMasks.from_pixels(self._frame_shape, (tuple(p.T) for p in pixels))

    def get_own_properties(self) -> dict[str, RoiProperty]:
        columns = {key: [read(roi) for roi in self._rois.values()] for key, (read, _) in _PROPERTIES.items()}
        if columns["name"] == self.get_roi_ids():
            del columns["name"]
        return {
            key: RoiProperty(np.array(values), _PROPERTIES[key][1])
            for key, values in columns.items()
            if key == "type" or any(values)
        }

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    def _outside(self) -> tuple[str, ...]:
        """Return a sentence about ROIs that reach beyond the frame, as ImageJ allows; one without a pixel inside is an error."""
        rows, columns = self._frame_shape
        beyond = []
        for label, roi in self._rois.items():
            top, left, bottom, right = extent_of(roi, f"the ROI {label!r}")
            if top >= rows or left >= columns or bottom <= 0 or right <= 0:
                raise CorruptRecordingError(
                    f"the ROI {label!r} of {self._file_name} is in rows {top} to {bottom} and columns {left} to {right}, outside "
                    f"of frame_shape=({rows}, {columns}); pass frame_shape=(rows, columns) of the image that it was drawn on"
                )
            if top < 0 or left < 0 or bottom > rows or right > columns:
                beyond.append(label)
        if not beyond:
            return ()
        return (
            f"{counted(len(beyond), 'ROI')} of {self._file_name} ({listed(beyond, limit=3)}) {'extends' if len(beyond) == 1 else 'extend'} beyond "
            f"frame_shape=({rows}, {columns}); their pixels outside are left out",
        )


def _checked_shape(frame_shape: Any, name: str) -> tuple[int, int]:
    if frame_shape is None:
        raise ChoiceError(
            f"{name} does not contain the shape of the image that its ROIs were drawn on; pass it: "
            "open(..., frame_shape=(rows, columns))"
        )
    try:
        given = ast.literal_eval(frame_shape) if isinstance(frame_shape, str) else frame_shape
        rows, columns = (operator.index(length) for length in given)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        rows = columns = 0
    if not (0 < rows <= _MAX_LENGTH and 0 < columns <= _MAX_LENGTH):
        raise ChoiceError(
            f"frame_shape must be (rows, columns), two positive integers, got {printable(repr(frame_shape))[:80]}"
        )
    return rows, columns


def _distinct(labels: list[str], name: str) -> tuple[list[str], tuple[str, ...]]:
    """Return labels that differ: the second 'cell' becomes 'cell-1', as in ImageJ's ROI Manager; and a note if there are such."""
    shown = [printable(label) for label in labels]
    repeated = [label for label, count in Counter(shown).items() if count > 1]
    if not repeated:
        return shown, ()
    taken, reserved, numbers = set[str](), set(shown), Counter[str]()
    distinct = []
    for label in shown:
        candidate = label
        while candidate in taken or (candidate != label and candidate in reserved):
            numbers[label] += 1
            candidate = f"{label}-{numbers[label]}"
        taken.add(candidate)
        distinct.append(candidate)
    return distinct, (
        f"{name} contains the names {listed(repeated, limit=3)} more than once; a number was added to their ids",
    )


def _areas_and_points(rois: Mapping[str, ImageJRoi], name: str) -> tuple[dict[str, ImageJRoi], tuple[str, ...]]:
    """Return the ROIs that have pixels, and sentences about the others."""
    left_out = []
    for kinds, what in ((_LINES, "lines"), (_ANNOTATIONS, "texts or images")):
        labels = [label for label, roi in rois.items() if roi.type in kinds]
        if labels:
            left_out.append(
                f"{counted(len(labels), 'ROI')} of {name} ({listed(labels, limit=3)}) are {what}, which have no area, and are left out"
            )
    kept = {label: roi for label, roi in rois.items() if roi.type not in _LINES | _ANNOTATIONS}
    if not kept:
        raise UnsupportedRecordingError(f"{name} contains neither areas nor points: {'; '.join(left_out)}")
    return kept, tuple(left_out)

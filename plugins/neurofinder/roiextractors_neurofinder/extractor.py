"""Regions of neurofinder as a segmentation."""

from __future__ import annotations

import ast
import math
import operator
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roiextractors_core import (
    ChoiceError,
    CorruptRecordingError,
    RecordingMetadata,
    RoiMasks,
    RoiProperty,
    SegmentationExtractor,
    UnsupportedRecordingError,
)
from roiextractors_core.errors import printable
from roiextractors_core.io import choose_stream, read_json, single_file

from .layout import Layout, find_layout, shape_of_images

__all__ = ["NeurofinderSegmentationExtractor"]

_MAX_LENGTH = 1 << 20


class NeurofinderSegmentationExtractor(SegmentationExtractor):
    """The regions of a neurofinder dataset, of a file in its format, or of one dataset of a submission.

    Parameters
    ----------
    file_path : str or os.PathLike
        ``regions.json``, or the folder of the dataset with ``info.json`` and ``regions/regions.json``.
    dataset : str, optional
        Which dataset of a submission, if it contains several: ``"00.00.test"``.
    frame_shape : tuple of int, optional
        ``(rows, columns)``; by default the dimensions in ``info.json``.
    sampling_frequency : float, optional
        Samples a second (Hz); takes precedence over ``info.json``.

    Raises
    ------
    ChoiceError, StreamChoiceError
        The shape of the frames is unknown, or no dataset was chosen among several.
    CorruptRecordingError, UnsupportedRecordingError
        The file is not a list of regions, or a region is outside of the frame.

    Notes
    -----
    A coordinate is ``[row, column]`` from 0, as in the examples that the datasets contain. All weights are 1. There are no traces;
    the images of a dataset are a folder of TIFF files of its own.

    References
    ----------
    https://github.com/codeneuro/neurofinder and https://github.com/codeneuro/neurofinder-datasets.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        dataset: str | None = None,
        frame_shape: Sequence[int] | str | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._layout = find_layout(single_file(file_path, hint="open each of them", may_be_folder=True))
        name = printable(self._layout.regions.name)
        self._info = _read_info(self._layout)
        regions = _chosen(_read_list(self._layout.regions), dataset, name)
        self._frame_shape = _frame_shape(frame_shape, self._info, self._layout, name)
        self._ids, self._own_ids, self._notes = _ids_of(regions, name)
        self._pixels = [
            _pixels_of(region, key, self._frame_shape, name) for key, region in zip(self._ids, regions, strict=True)
        ]

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        layout = find_layout(single_file(file_path, hint="open each of them", may_be_folder=True))
        names = _datasets(_read_list(layout.regions), printable(layout.regions.name))
        return {"dataset": tuple(names)} if names else {}

    def get_frame_shape(self) -> tuple[int, int]:
        return self._frame_shape

    def get_roi_ids(self) -> list[str]:
        return list(self._ids)

    def get_num_samples(self) -> int:
        return 0

    def get_trace_names(self) -> tuple[str, ...]:
        return ()

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        return np.empty((0, len(roi_indices)))

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        return RoiMasks.from_pixels(self._frame_shape, (tuple(self._pixels[k].T) for k in roi_indices))

    def get_own_properties(self) -> dict[str, RoiProperty]:
        if not self._own_ids:
            return {}
        return {"id": RoiProperty(np.array(self._own_ids), "The id in the file; it is missing or not unique")}

    def get_sampling_frequency(self) -> float | None:
        return _positive(self._info.get("rate-hz"))

    def get_metadata(self) -> RecordingMetadata:
        resolution = _positive(self._info.get("pixels-per-micron"))
        return RecordingMetadata(pixel_size=None if resolution is None else (1 / resolution,) * 2, vendor=self._info)

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    def get_paths(self) -> tuple[str, ...]:
        return tuple(os.path.abspath(path) for path in (self._layout.regions, self._layout.info) if path is not None)


def _read_list(path: Path) -> list[Any]:
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise CorruptRecordingError(
            f"{printable(path.name)} is not a list of regions: [{{'coordinates': [[row, column], ...]}}, ...]"
        )
    return content


def _read_info(layout: Layout) -> Mapping[str, Any]:
    if layout.info is None:
        return {}
    content = read_json(layout.info)
    if not isinstance(content, dict):
        raise CorruptRecordingError(f"info.json of the dataset is not a JSON object: got {type(content).__name__}")
    return content


def _datasets(content: list[Any], name: str) -> list[str]:
    """Return the names of the datasets of a submission; empty for the regions of one dataset."""
    if not content or not all("regions" in item for item in content):
        return []
    names = [printable(item.get("dataset")) for item in content]
    if len(set(names)) != len(names):
        raise CorruptRecordingError(f"{name} contains a dataset more than once")
    return names


def _chosen(content: list[Any], dataset: str | None, name: str) -> list[Any]:
    names = _datasets(content, name)
    if not names:
        if dataset is not None:
            choose_stream(name, "dataset", (), dataset)
        return content
    regions = content[choose_stream(name, "dataset", names, dataset)]["regions"]
    if not isinstance(regions, list) or not all(isinstance(item, dict) for item in regions):
        raise CorruptRecordingError(f"the regions of a dataset in {name} are not a list of JSON objects")
    return regions


def _frame_shape(given: Any, info: Mapping[str, Any], layout: Layout, name: str) -> tuple[int, int]:
    if given is not None:
        return _whole_shape(given) or _refuse_shape(given)
    if "dimensions" not in info:
        raise ChoiceError(
            f"{name} does not contain the shape of the frames, and there is no info.json with dimensions; pass it: "
            "open(..., frame_shape=(rows, columns))"
        )
    # Rows, columns and the number of frames
    stated = info["dimensions"]
    shape = _whole_shape(stated[:2]) if isinstance(stated, list) and len(stated) in (2, 3) else None
    if shape is None:
        raise CorruptRecordingError(
            f"info.json has dimensions={printable(repr(stated))[:60]}, expected [rows, columns, frames]; pass "
            "open(..., frame_shape=(rows, columns))"
        )
    seen = None if layout.images is None else shape_of_images(layout.images)
    if seen is not None and seen != shape:
        raise CorruptRecordingError(
            f"info.json has dimensions={stated}, but the first image has {seen[0]} rows and {seen[1]} columns; pass "
            "open(..., frame_shape=(rows, columns))"
        )
    return shape


def _whole_shape(value: Any) -> tuple[int, int] | None:
    try:
        given = ast.literal_eval(value) if isinstance(value, str) else value
        rows, columns = (operator.index(length) for length in given)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return (rows, columns) if 0 < rows <= _MAX_LENGTH and 0 < columns <= _MAX_LENGTH else None


def _refuse_shape(given: Any) -> tuple[int, int]:
    raise ChoiceError(f"frame_shape must be (rows, columns), two positive integers, got {printable(repr(given))[:80]}")


def _ids_of(regions: list[Any], name: str) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Return the ids, the file's own where these cannot serve, and a note in that case."""
    numbers = [str(k) for k in range(len(regions))]
    if not any("id" in region for region in regions):
        return numbers, [], ()
    own = ["" if region.get("id") is None else printable(region["id"]) for region in regions]
    if "" not in own and max(Counter(own).values()) == 1:
        return own, [], ()
    return (
        numbers,
        own,
        (
            f"the ids of the regions in {name} are missing or not unique; their positions are used, and the property 'id' keeps them",
        ),
    )


def _pixels_of(region: Mapping[str, Any], key: str, frame_shape: tuple[int, int], name: str) -> np.ndarray:
    where = f"region {key!r} of {name}"
    try:
        stated = np.array(region["coordinates"])
    except KeyError:
        raise CorruptRecordingError(f"{where} has no coordinates") from None
    except ValueError:
        stated = np.empty(0, object)  # lists of different lengths
    if stated.shape == (0,) and stated.dtype != object:
        return np.empty((0, 2), np.int64)
    if stated.ndim == 2 and stated.shape[1] == 3:
        raise UnsupportedRecordingError(f"{where} has coordinates in a volume; only [row, column] is supported")
    if stated.ndim != 2 or stated.shape[1] != 2 or stated.dtype.kind not in "iuf":
        raise CorruptRecordingError(f"{where} has coordinates that are not a list of [row, column]")
    if not (stated == np.floor(stated)).all():  # False for NaN and infinity too
        raise CorruptRecordingError(f"{where} has coordinates that are not whole pixels")
    outside = ((stated < 0) | (stated >= frame_shape)).any(axis=1)
    if outside.any():
        row, column = (f"{value:g}" for value in stated[outside.argmax()])
        raise CorruptRecordingError(
            f"{where} has the pixel [{row}, {column}], outside of the {frame_shape[0]} x {frame_shape[1]} frame; pass "
            "open(..., frame_shape=(rows, columns)) if that shape is wrong"
        )
    pixels: np.ndarray = np.unique(stated.astype(np.int64), axis=0)  # a repeated pixel is one pixel
    return pixels


def _positive(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None

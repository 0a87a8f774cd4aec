"""Arrays in memory as a segmentation."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ..errors import DeclarationError, counted
from ..extractor import warn_of_large_pickle
from ..metadata import RecordingMetadata
from .extractor import Background, RoiProperty, SegmentationExtractor
from .masks import RoiMasks

__all__ = ["NumpySegmentationExtractor"]


class NumpySegmentationExtractor(SegmentationExtractor):
    """Arrays in memory as a segmentation.

    Parameters
    ----------
    masks : RoiMasks or array-like
        Or a dense stack ``(rows, columns[, planes], rois)``.
    traces : mapping of str to array-like, optional
        Each ``(samples, rois)``; an array alone is named ``"raw"``. Not copied.
    roi_ids : list of str, optional
        ``"0"``, ``"1"``, ... by default.
    images : mapping of str to array-like, optional
        Each of the shape of a mask.
    properties : mapping of str to array-like, optional
        Each with one value for each ROI.
    background : Background, optional
    sampling_frequency : float, optional
        Samples per second (Hz).
    times : array-like, optional
        Seconds, one per sample.
    metadata : RecordingMetadata, optional

    Raises
    ------
    DeclarationError
        The shapes or numbers contradict each other.
    """

    def __init__(
        self,
        masks: Any,
        traces: Any = MappingProxyType({}),
        *,
        roi_ids: Any = None,
        images: Mapping[str, Any] = MappingProxyType({}),
        properties: Mapping[str, Any] = MappingProxyType({}),
        background: Background | None = None,
        sampling_frequency: float | None = None,
        times: Any = None,
        metadata: RecordingMetadata | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._masks = masks if isinstance(masks, RoiMasks) else RoiMasks.from_dense(np.asarray(masks))
        if len(self._masks.shape) == 3 and self._masks.shape[2] == 1:  # one plane: its masks are in frames
            self._masks = RoiMasks(self._masks.shape[:2], self._masks.offsets, self._masks.pixels, self._masks.weights)
        named = traces if isinstance(traces, Mapping) else {"raw": traces}
        self._traces = {str(name): np.asarray(trace) for name, trace in named.items()}
        self._ids = [str(k) for k in (range(len(self._masks)) if roi_ids is None else roi_ids)]
        self._images = {str(name): np.asarray(image) for name, image in images.items()}
        self._own = {key: _as_property(values) for key, values in properties.items()}
        self._background, self._metadata = background, metadata or RecordingMetadata()
        self._check()
        if times is not None:
            self.set_times(times)

    def _check(self) -> None:
        count = len(self._masks)
        if len(self._ids) != count or len(set(self._ids)) != count:
            raise DeclarationError(
                f"there are {counted(count, 'mask')} and {counted(len(set(self._ids)), 'different id')}; give one id for each mask"
            )
        lengths = {name: trace.shape for name, trace in self._traces.items()}
        if any(len(shape) != 2 or shape[1] != count for shape in lengths.values()) or len(set(lengths.values())) > 1:
            raise DeclarationError(f"traces must all be (samples, {counted(count, 'ROI')}), got {lengths}")
        for name, image in self._images.items():
            if image.shape != self._masks.shape:
                raise DeclarationError(f"image {name!r} has shape {image.shape}; the masks have {self._masks.shape}")
        for key, value in self._own.items():
            if len(value.values) != count:
                raise DeclarationError(
                    f"property {key!r} has {counted(len(value.values), 'value')} for {counted(count, 'ROI')}"
                )

    def get_frame_shape(self) -> tuple[int, int]:
        return self._masks.shape[0], self._masks.shape[1]

    def get_num_planes(self) -> int:
        return self._masks.shape[2] if len(self._masks.shape) == 3 else 1

    def get_roi_ids(self) -> list[str]:
        return list(self._ids)

    def get_num_samples(self) -> int:
        return max((len(trace) for trace in self._traces.values()), default=0)

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        return self._masks[roi_indices]

    def get_trace_names(self) -> tuple[str, ...]:
        return tuple(self._traces)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        return self._traces[name][start_sample:end_sample, roi_indices]

    def get_background(self) -> Background | None:
        return self._background

    def get_image_names(self) -> tuple[str, ...]:
        return tuple(self._images)

    def get_image(self, name: str = "correlation") -> np.ndarray:
        return self._images[name].copy() if name in self._images else super().get_image(name)

    def get_own_properties(self) -> Mapping[str, RoiProperty]:
        return self._own

    def get_metadata(self) -> RecordingMetadata:
        return self._metadata

    def __reduce__(self) -> tuple[Any, ...]:
        warn_of_large_pickle(sum(trace.nbytes for trace in self._traces.values()) + self._masks.pixels.nbytes)
        return super().__reduce__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        make, arguments = super().__reduce__()[
            :2
        ]  # as copy does it, without the warning: the copy stays in this process
        return make(*copy.deepcopy(arguments, memo))


def _as_property(values: Any) -> RoiProperty:
    return values if isinstance(values, RoiProperty) else RoiProperty(np.asarray(values))

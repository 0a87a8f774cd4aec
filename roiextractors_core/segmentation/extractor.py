"""The base class of all segmentations, and its lazy view."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from ..cards import recording_card
from ..errors import (
    CorruptRecordingError,
    DeclarationError,
    RangeError,
    RecordingError,
    RoiExtractorsWarning,
    UnsupportedRecordingError,
    counted,
    listed,
)
from ..extractor import Extractor, ExtractorView, Overridable, is_view, rate_in_words, timing_in_words
from ..io.indexing import resolve_indices
from ..io.notices import warn
from ..metadata import RecordingMetadata
from .masks import RoiMasks

_MAX_DENSE_PIXELS = 1 << 28  # 1 GiB as float32

__all__ = ["Background", "RoiProperty", "SegmentationExtractor", "SegmentationView"]


@dataclass(frozen=True, slots=True, eq=False)
class RoiProperty:
    """One value for each ROI, such as whether it is a cell.

    Attributes
    ----------
    values : numpy.ndarray
        One for each ROI, in the order of ``get_roi_ids()``.
    description : str
    """

    values: np.ndarray
    description: str = ""

    @property
    def data(self) -> np.ndarray:
        """The values, under the name that roiextractors gives them."""
        return self.values


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """The background components that some programs fit beside the ROIs.

    Attributes
    ----------
    ids : tuple of str
    masks : RoiMasks or None
        One per component.
    traces : mapping of str to numpy.ndarray
        Each ``(samples, components)``.
    """

    ids: tuple[str, ...]
    masks: RoiMasks | None = None
    traces: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __reduce__(self) -> Any:
        return Background, (self.ids, self.masks, dict(self.traces))


class SegmentationExtractor(Extractor, is_base=True):
    """The ROIs of one recording (or of one plane or channel of it), with their masks, traces and properties.

    Authors of formats write :meth:`get_frame_shape`, :meth:`get_roi_ids`, :meth:`get_num_samples`, :meth:`get_masks`,
    :meth:`get_trace_names` and :meth:`get_trace`.  Where the format has more to say, they override
    :meth:`get_background`, :meth:`get_image_names` and :meth:`get_image`, :meth:`get_own_properties`,
    :meth:`get_num_planes`, :meth:`get_sampling_frequency`, :meth:`get_native_timestamps` and :meth:`get_metadata`.

    Traces are ``(samples, rois)``, and only the requested range and ROIs are read.  Masks are sparse; a
    dense stack is made only by :meth:`get_roi_image_masks`.  The ids of ROIs are strings, as the file gives them;
    where a method takes ids, a number does as well.

    Parameters
    ----------
    sampling_frequency : float, optional
        Samples per second (Hz); takes precedence over the file.
    """

    kind = "segmentation"

    has_masks: bool = True
    """Whether there are masks; authors set it to False for files that contain traces or events alone."""

    __set_properties: Mapping[str, RoiProperty] = MappingProxyType({})
    __index: Mapping[str, int] | None = None

    # Written by authors of formats

    @abstractmethod
    def get_frame_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)`` of the frames that the masks are in; (0, 0) without masks if the file does not say."""

    @abstractmethod
    def get_roi_ids(self) -> list[str]:
        """Return the id of each ROI, in order; they are different, and are ``"0"``, ``"1"``, ... where the file has none."""

    @abstractmethod
    def get_num_samples(self) -> int:
        """Return the number of samples of the traces; 0 if there are no traces."""

    @abstractmethod
    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        """Return the masks of ROIs.

        Users call :meth:`get_roi_masks`, which takes ids.

        Parameters
        ----------
        roi_indices : numpy.ndarray
            int64, positions in the order of :meth:`get_roi_ids`; they have been checked.
        """

    @abstractmethod
    def get_trace_names(self) -> tuple[str, ...]:
        """Return the names of the traces of ROIs: ``"raw"``, ``"dff"``, ``"neuropil"``, ``"denoised"``, ``"deconvolved"``, ..."""

    @abstractmethod
    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        """Return a part of the traces of one name.

        Users call :meth:`get_traces`, which takes ids and fills in defaults.

        Parameters
        ----------
        name : str
            One of :meth:`get_trace_names`.
        start_sample, end_sample : int
            They have been checked; the end is exclusive.
        roi_indices : numpy.ndarray
            int64, positions in the order of :meth:`get_roi_ids`.

        Returns
        -------
        numpy.ndarray
            ``(samples, rois)``, owned by the caller.
        """

    def get_num_planes(self) -> int:
        """Return the number of planes of the masks; 1 for masks in frames."""
        return 1

    def get_background(self) -> Background | None:
        """Return the background components, with their masks and traces, or None."""
        return None

    def get_image_names(self) -> tuple[str, ...]:
        """Return the names of the images that are stored with the ROIs: ``"mean"``, ``"correlation"``, ``"maximum_projection"``, ..."""
        return ()

    def get_image(self, name: str = "correlation") -> np.ndarray:
        """Return one image.

        Parameters
        ----------
        name : str
            One of :meth:`get_image_names`.

        Returns
        -------
        numpy.ndarray
            ``(rows, columns)``, or ``(rows, columns, planes)``.
        """
        raise _unknown("image", name, self.get_image_names())

    def get_own_properties(self) -> Mapping[str, RoiProperty]:
        """Return the properties that the file has; users call :meth:`get_property`."""
        return {}

    # ROIs

    def get_num_rois(self) -> int:
        """Return the number of ROIs."""
        return len(self.get_roi_ids())

    num_rois = Overridable[int](lambda e: int(e.get_num_rois()), "The number of ROIs.")

    def resolve_roi_ids(self, roi_ids: Any = None) -> np.ndarray:
        """Return the positions of ROIs by their ids, int64; all of them for None.

        Raises
        ------
        RangeError
            There is no such ROI.
        """
        self.check_open()
        if roi_ids is None:
            return np.arange(self.get_num_rois())
        if self.__index is None:  # made once: comparing thousands of ids takes longer than reading one trace
            self.__index = _numbered(self.get_roi_ids())
        return _positions(roi_ids, self.__index, "ROI")

    # Masks

    @property
    def is_volumetric(self) -> bool:
        """Whether masks have planes."""
        return int(self.get_num_planes()) > 1

    def get_mask_shape(self) -> tuple[int, ...]:
        """Return ``(rows, columns)`` or ``(rows, columns, planes)``."""
        rows, columns = self.get_frame_shape()[:2]
        return (
            (int(rows), int(columns), int(self.get_num_planes())) if self.is_volumetric else (int(rows), int(columns))
        )

    get_image_shape = get_mask_shape
    """As named in roiextractors."""

    def get_roi_masks(self, roi_ids: Any = None) -> RoiMasks:
        """Return the masks of ROIs: their pixels and weights.

        Parameters
        ----------
        roi_ids : list of str, optional
            All ROIs by default.

        Raises
        ------
        UnsupportedRecordingError
            The file has no masks.
        """
        indices = self.resolve_roi_ids(roi_ids)
        if not self.has_masks:
            raise UnsupportedRecordingError(f"this segmentation ({type(self).__name__}) has no masks, only traces")
        masks = self.get_masks(indices)
        if len(masks) != len(indices) or masks.shape != self.get_mask_shape():
            raise RecordingError(
                f"{type(self).__name__}.get_masks returned {counted(len(masks), 'mask')} of shape {masks.shape} "
                f"for {counted(len(indices), 'ROI')} in {self.get_mask_shape()}"
            )
        return masks

    def get_roi_pixel_masks(self, roi_ids: Any = None) -> list[np.ndarray]:
        """Return the pixels of each ROI: ``[row, column, weight]``, for volumes ``[row, column, plane, weight]``; float64."""
        return list(self.get_roi_masks(roi_ids))

    def get_roi_image_masks(self, roi_ids: Any = None) -> np.ndarray:
        """Return a dense stack ``(rows, columns[, planes], rois)``; 5,000 ROIs of 2,048 x 2,048 pixels take 84 GB."""
        return self.get_roi_masks(roi_ids).to_dense()

    def get_roi_locations(self, roi_ids: Any = None) -> np.ndarray:
        """Return the centre of each mask: ``(2, rois)`` of row and column, for volumes also the plane, rounded to whole pixels."""
        centers = self.get_roi_masks(roi_ids).centers()
        if np.isnan(centers).any():
            number = int(np.isnan(centers).any(axis=1).argmax())
            raise UnsupportedRecordingError(f"ROI number {number} has no pixels, and so no location")
        locations: np.ndarray = np.rint(centers).astype(np.int64).T
        return locations

    # Background components

    def get_background_ids(self) -> list[str]:
        """Return the id of each background component."""
        background = self.get_background()
        return [] if background is None else list(background.ids)

    def get_num_background_components(self) -> int:
        """Return the number of background components."""
        return len(self.get_background_ids())

    def get_background_masks(self, background_ids: Any = None) -> RoiMasks:
        """Return the masks of background components, all of them by default."""
        self.check_open()
        background = self.get_background()
        if background is None or background.masks is None:
            if background_ids is None or len(background_ids) == 0:
                return RoiMasks(self.get_mask_shape(), [0], [])
            raise UnsupportedRecordingError("this segmentation has no masks of background components")
        positions = {name: k for k, name in enumerate(background.ids)}
        indices = None if background_ids is None else _positions(background_ids, positions, "background component")
        return background.masks if indices is None else background.masks[indices]

    def get_background_pixel_masks(self, background_ids: Any = None) -> list[np.ndarray]:
        """Return the pixels of each background component, as :meth:`get_roi_pixel_masks` does for ROIs."""
        return list(self.get_background_masks(background_ids))

    def get_background_image_masks(self, background_ids: Any = None) -> np.ndarray:
        """Return a dense stack ``(rows, columns[, planes], components)``."""
        return self.get_background_masks(background_ids).to_dense()

    # Traces

    def get_traces(
        self,
        roi_ids: Any = None,
        start_frame: int | None = None,
        end_frame: int | None = None,
        name: str = "raw",
    ) -> np.ndarray:
        """Return traces; only these samples of these ROIs are read where the file allows it.

        Parameters
        ----------
        roi_ids : list of str, optional
            All ROIs by default. For a trace of the background components, their ids.
        start_frame, end_frame : int, optional
            A range of samples from 0; the end is exclusive, and None means the whole.
        name : str
            One of ``get_traces_dict()``.

        Returns
        -------
        numpy.ndarray
            ``(samples, rois)``, owned by the caller.

        Raises
        ------
        RangeError
            There is no trace of this name, no such ROI, or the range is outside the recording.
        """
        start, end = self.resolve_range(start_frame, end_frame)
        names = self.get_trace_names()
        background = None if name in names else self.get_background()
        if background is not None and name in background.traces:
            positions = {key: k for k, key in enumerate(background.ids)}
            indices = None if roi_ids is None else _positions(roi_ids, positions, "background component")
            trace: np.ndarray = np.asarray(background.traces[name])[start:end]
            part: np.ndarray = np.array(trace if indices is None else trace[:, indices])
            return part
        if name not in names:
            raise _unknown("trace", name, self._all_trace_names())
        indices = self.resolve_roi_ids(roi_ids)
        traces = np.asarray(self.get_trace(name, start, end, indices))
        if traces.shape != (end - start, len(indices)):
            raise RecordingError(
                f"{type(self).__name__}.get_trace({name!r}) returned shape {traces.shape}; "
                f"expected {counted(end - start, 'sample')} of {counted(len(indices), 'ROI')}"
            )
        if traces.base is None and traces.flags.writeable and traces.dtype.isnative:
            return traces
        return np.array(traces, dtype=traces.dtype.newbyteorder("="))

    def get_traces_dict(self) -> dict[str, np.ndarray]:
        """Return all traces by name, each ``(samples, rois)``, those of the background components too; every one is read."""
        return {name: self.get_traces(name=name) for name in self._all_trace_names()}

    def _all_trace_names(self) -> tuple[str, ...]:
        background = self.get_background()
        return (*self.get_trace_names(), *(() if background is None else background.traces))

    # Images

    def get_images_dict(self) -> dict[str, np.ndarray]:
        """Return all images by name."""
        return {name: self.get_image(name) for name in self.get_image_names()}

    # Properties

    def get_property_keys(self) -> list[str]:
        """Return the names of the properties: those of the file, and those that were set."""
        return list(self._properties())

    def get_property(self, key: str, ids: Any = None) -> np.ndarray:
        """Return one value for each ROI.

        Parameters
        ----------
        key : str
        ids : list of str, optional
            All ROIs by default.

        Raises
        ------
        RangeError
            There is no such property, or no such ROI.
        """
        values = np.asarray(self.get_property_info(key).values)
        return np.array(values[self.resolve_roi_ids(ids)])

    def get_property_info(self, key: str) -> RoiProperty:
        """Return a property of all ROIs, with its description."""
        properties = self._properties()
        if key not in properties:
            raise _unknown("property", key, tuple(properties))
        return properties[key]

    def set_property(self, key: str, values: Any, ids: Any = None, *, description: str = "") -> None:
        """Set a property of this object; no file is changed.

        Parameters
        ----------
        key : str
        values : array-like
            One for each ROI.
        ids : list of str, optional
            The ROIs in the order of ``values``; by default all, in their order. All ROIs must be among them.
        description : str

        Raises
        ------
        DeclarationError
            The number of values is not that of the ROIs.
        """
        indices, values = self.resolve_roi_ids(ids), np.asarray(values)
        count = self.get_num_rois()
        if len(values) != len(indices) or len(set(indices.tolist())) != count:
            raise DeclarationError(
                f"property {key!r} has {counted(len(values), 'value')} for {counted(len(indices), 'ROI')}; "
                f"set one for each of the {counted(count, 'ROI')}"
            )
        ordered = np.empty_like(values)
        ordered[indices] = values
        self.__set_properties = {**self.__set_properties, key: RoiProperty(ordered, description)}

    def _users_properties(self) -> Mapping[str, RoiProperty]:
        return self.__set_properties

    def _properties(self) -> dict[str, RoiProperty]:
        self.check_open()
        return {**self.get_own_properties(), **self.__set_properties}

    # Views

    def select_rois(self, roi_ids: Any) -> SegmentationView:
        """Return a lazy view of some ROIs, in the order of ``roi_ids``; masks, traces and properties go together.

        Raises
        ------
        RangeError
            There is no such ROI, or one is named twice.
        """
        indices = self.resolve_roi_ids(roi_ids)
        if len(set(indices.tolist())) != len(indices):
            raise RangeError("an ROI is named twice; the ids of a selection must be different")
        return SegmentationView(self, roi_indices=indices)

    def slice_samples(self, start_sample: int | None = None, end_sample: int | None = None) -> SegmentationView:
        """Return a lazy view of consecutive samples of all traces, with the same times; the end is exclusive."""
        return SegmentationView(self, samples=self.resolve_range(start_sample, end_sample))

    # Arrays of other libraries, and pictures

    def to_xarray(self) -> Any:
        """Return an ``xarray.Dataset``: traces by time and ROI, read when they are used, with the properties as coordinates (needs xarray)."""
        from ..interop.to_xarray import segmentation_to_xarray

        return segmentation_to_xarray(self)

    def preview(self, target: Any = None, **options: Any) -> Any:
        """Draw the outlines of the ROIs over an image, numbered, and a few traces below (needs matplotlib).

        Parameters
        ----------
        target : str or os.PathLike, optional
            A ``.png`` file to write; a notebook displays the result without one.
        **options
            ``image``, the name of the image to draw on (by default the mean or correlation image), and ``trace``, the name of
            the traces.

        Returns
        -------
        Preview
            ``png`` contains the picture as bytes.
        """
        from ..interop.preview import preview_segmentation

        return preview_segmentation(self, target, **options)

    def _repr_html_(self) -> str:
        return recording_card(self, rate_in_words)

    # Protocols

    @property
    def _roi_masks(self) -> Any:
        """What NeuroConv asks of a segmentation of roiextractors: how it should write the masks."""
        # NeuroConv 0.10 writes the rows of lists of pixels as NWB's x, which are columns; it writes images as NWB defines them
        if not self.is_volumetric and math.prod(self.get_mask_shape()) * self.get_num_rois() <= _MAX_DENSE_PIXELS:
            return _MaskType("nwb-image_mask")
        warn(
            "NeuroConv writes these masks with rows and columns swapped; write them with "
            "roiextractors_core.convert(rois, 'rois.nwb')",
            RoiExtractorsWarning,
        )
        return _MaskType("nwb-voxel_mask" if self.is_volumetric else "nwb-pixel_mask")

    def _contents_in_words(self) -> str:
        return f"{counted(self.get_num_rois(), 'ROI')} in {self.get_mask_shape()} of {counted(self.get_num_samples(), 'sample')}"

    def _values_to_pickle(self) -> tuple[Any, ...]:
        return (dict(self.__set_properties), *super()._values_to_pickle())

    def _restore(self, states: Any, properties: Any, *kept: Any) -> None:
        super()._restore(states, *kept)
        self.__set_properties = properties

    def __repr__(self) -> str:
        shape = " x ".join(
            counted(n, word) for n, word in zip(self.get_mask_shape(), ("row", "column", "plane"), strict=False)
        )
        count = self.get_num_samples()
        timing = timing_in_words(self, count)
        names = ", ".join(self._all_trace_names()) or "no traces"
        masks = f"in {shape}" if self.has_masks else "without masks"
        return f"<{type(self).__name__}: {counted(self.get_num_rois(), 'ROI')} {masks}; {names} of {counted(count, 'sample')}; {timing}>"


class SegmentationView(ExtractorView, SegmentationExtractor, is_base=True):
    """A lazy part of a segmentation: some of its ROIs, a range of its samples. Views of views compose.

    Parameters
    ----------
    parent : SegmentationExtractor
    roi_indices : numpy.ndarray, optional
        Positions of ROIs in the parent, in the order of the view; None means all.
    samples : tuple of int, optional
        ``(start, end)``, end exclusive, within the parent; None means all.
    """

    _is_view = True
    _base: SegmentationExtractor

    def __init__(
        self,
        parent: SegmentationExtractor,
        *,
        roi_indices: np.ndarray | None = None,
        samples: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        start, end = samples or (0, parent.get_num_samples())
        self._bind(parent, start, end - start)
        count = parent.get_num_rois()
        self._indices = np.arange(count) if roi_indices is None else resolve_indices(roi_indices, count, "ROI")
        # Where each ROI of the view is in the recording itself
        self._rois: np.ndarray
        self._rois = (
            parent._rois[self._indices] if isinstance(parent, SegmentationView) and is_view(parent) else self._indices
        )

    def get_frame_shape(self) -> tuple[int, int]:
        return self._base.get_frame_shape()

    def get_num_planes(self) -> int:
        return self._base.get_num_planes()

    @property
    def has_masks(self) -> bool:  # type: ignore[override]
        """Whether the parent has masks."""
        return self._base.has_masks

    def get_roi_ids(self) -> list[str]:
        ids = self._base.get_roi_ids()
        return [ids[k] for k in self._rois]

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        return self._base.get_masks(self._rois[roi_indices])

    def get_trace_names(self) -> tuple[str, ...]:
        return self._base.get_trace_names()

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        first = self._first
        return self._base.get_trace(name, first + start_sample, first + end_sample, self._rois[roi_indices])

    def get_background(self) -> Background | None:
        background = self._base.get_background()
        if background is None:
            return None
        part = slice(self._first, self._first + self._num_samples)
        return Background(background.ids, background.masks, {name: t[part] for name, t in background.traces.items()})

    def get_image_names(self) -> tuple[str, ...]:
        return self._base.get_image_names()

    def get_image(self, name: str = "correlation") -> np.ndarray:
        return self._base.get_image(name)

    def get_own_properties(self) -> Mapping[str, RoiProperty]:
        """Return those of the recording, and those that were set on the views between."""
        chain = self._chain()
        kept = {key: (p, self._rois) for key, p in self._base._properties().items()}
        # The positions of the ROIs in each view between, from the outermost to the nearest
        places = [chain[0]._indices]
        for view in chain[1:]:
            places.append(view._indices[places[-1]])
        for view, rois in reversed(list(zip(chain[1:], places, strict=False))):
            kept.update({key: (p, rois) for key, p in view._users_properties().items()})
        return {key: RoiProperty(np.asarray(p.values)[rois], p.description) for key, (p, rois) in kept.items()}

    def get_metadata(self) -> RecordingMetadata:
        return self._base.get_metadata()

    def get_notes(self) -> tuple[str, ...]:
        return self._base.get_notes()

    def get_paths(self) -> tuple[str, ...]:
        return self._base.get_paths()


@dataclass(frozen=True, slots=True)
class _MaskType:
    mask_tpe: str


def _numbered(ids: Iterable[str]) -> dict[str, int]:
    names = list(ids)
    positions = {name: k for k, name in enumerate(names)}
    if len(positions) != len(names):
        repeated = [name for name, count in Counter(names).items() if count > 1]
        raise CorruptRecordingError(f"ids of ROIs must be different; these appear more than once: {listed(repeated)}")
    return positions


def _positions(ids: Any, positions: Mapping[str, int], word: str) -> np.ndarray:
    asked = [ids] if isinstance(ids, str | int | np.integer) else list(ids)
    names = [str(name) for name in asked]
    unknown = [name for name in names if name not in positions]
    if unknown:
        raise RangeError(f"there is no {word} {listed(unknown, limit=3)}; the ids are {listed(positions, limit=8)}")
    return np.array([positions[name] for name in names], np.int64)


def _unknown(word: str, name: str, names: Iterable[str]) -> RangeError:
    known = tuple(names)
    return RangeError(
        f"there is no {word} {name!r}; " + (f"available: {listed(known, limit=40)}" if known else "there are none")
    )

"""Writes ROIs as NWB 2 files in HDF5: a PlaneSegmentation with its traces and images; needs the extra ``[write]`` (pynwb)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from roiextractors_core.errors import UnsupportedRecordingError
from roiextractors_core.io import Progress, Sidecar, require_room
from roiextractors_core.segmentation import Background, RoiMasks, SegmentationExtractor

from .description import describe, free_name, of_each, plain_name, series_clock, suffixes
from .nwb_objects import imaging_plane
from .session import Session
from .sidecar import IDS_COLUMN, SCRATCH_NAME, SegmentationSidecar
from .writer import naming, open_target, require_pynwb

__all__ = ["add_segmentation", "write"]

_BLOCK_BYTES = 32 << 20
_CHUNK_SAMPLES, _CHUNK_ROIS = 4096, 64
_SERIES = {
    "raw": "Fluorescence/RoiResponseSeries",
    "dff": "DfOverF/RoiResponseSeries",
    **{name: f"Fluorescence/{name.capitalize()}" for name in ("neuropil", "deconvolved", "denoised", "baseline")},
}
# Names of columns, and of attributes of a table in pynwb
_RESERVED = frozenset(
    ("id", "name", "description", "colnames", "columns", "parent", "imaging_plane", "reference_images", "image_mask",
     "pixel_mask", "voxel_mask", "data", "object_id", "Accepted", "Rejected", IDS_COLUMN)
)  # fmt: skip
_FLAGS = {"accepted": "Accepted", "rejected": "Rejected"}


class NwbSegmentationWriter:
    """Writes one segmentation, or those of several planes; see :class:`roiextractors_core.interop.writer.Writer`.

    Masks are written as lists of pixels or voxels.

    References
    ----------
    The NWB format specification, version 2: ``PlaneSegmentation``, ``RoiResponseSeries``, ``Fluorescence``, ``DfOverF``.
    """

    takes_several: Literal[True] = True

    def __call__(
        self,
        rois: Any,
        partial: Path,
        *,
        target: Path,
        progress: Progress,
        start_time: datetime | str | None = None,
        subject: Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
        indicator: str | Mapping[str, str] | None = None,
        location: str | Mapping[str, str] | None = None,
        image_masks: bool = False,
    ) -> None:
        """Write a segmentation, or a dict of segmentations by name, each in a processing module of its own.

        Parameters
        ----------
        rois, partial, target, progress
            As in the contract.
        start_time, subject, session, indicator, location
            As for a movie, see :class:`roiextractors_nwb.writer.NwbWriter`.
        image_masks : bool
            Write a dense image for each ROI instead, for programs that read no lists of pixels; compressed.

        Raises
        ------
        UnsupportedRecordingError
            The start time is unknown, or a property is not numbers, truth values or text.
        TimesError
            There are traces, and neither a sampling rate nor times.
        UnknownOptionError
            A field or a name is unknown; the message lists the known ones.
        MissingDependencyError
            pynwb is not installed.

        Warns
        -----
        RoiExtractorsWarning
            The subject was described, but lacks what DANDI requires.
        """
        require_pynwb()
        several = rois if isinstance(rois, dict) else {"": rois}
        about = Session(list(several.values()), start_time=start_time, subject=subject, session=session)
        names = list(several)
        ends = suffixes(names) if isinstance(rois, dict) else [""]
        plans = []
        for (name, one), end in zip(several.items(), ends, strict=True):
            with naming(name):
                plans.append(_Plan(one, end, about, image_masks=image_masks))
        total = sum(plan.nbytes for plan in plans)
        require_room(partial, total)
        file = about.new_file()
        each = zip(of_each("indicator", indicator, names), of_each("location", location, names), strict=True)
        count = _Count(progress, total)
        for plan, (dye, place) in zip(plans, each, strict=True):
            plan.add_to(file, count, indicator=dye, location=place)
            plan.keep_rest(file)
        with open_target(partial, file, started=count.watch) as target_file:
            for plan in plans:
                plan.restore_weights(target_file.hdf5)
        count(total - count.done)


write = NwbSegmentationWriter()


class _Count:
    """Adds up what was written of several traces, for ``progress``."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.done, self._progress, self._total = 0, progress, total
        self._file: Any = None

    def watch(self, file: Any) -> None:
        self._file = file

    def __call__(self, nbytes: int) -> None:
        if self._file is not None:
            self._file.raise_failure()  # libhdf5 gets no error from a full disk, see SafeFile
        self.done = min(self.done + nbytes, self._total)
        self._progress(self.done, self._total)


def add_segmentation(rois: SegmentationExtractor, file: Any, *, suffix: str, offset: float, **described: Any) -> Any:
    """Add a segmentation to an NWBFile in memory, and return its PlaneSegmentation.

    Parameters
    ----------
    rois : SegmentationExtractor
    file : pynwb.NWBFile
    suffix : str
        Of the names of its plane, table and processing module.
    offset : float
        Seconds from the session's start to 0 s of the clock of the segmentation.
    **described
        ``indicator`` and ``location``.
    """
    return _Plan(rois, suffix, None, image_masks=False, offset=offset).add_to(file, lambda _: None, **described)


def _sidecar_of(rois: SegmentationExtractor) -> Sidecar:
    clock = rois.clock
    is_on_grid = clock.source is None or (clock.source == "computed" and clock.first == 0)
    times = None if is_on_grid or not rois.get_num_samples() else rois.get_timestamps()
    shape = (rois.get_num_samples(), *rois.get_mask_shape())
    return Sidecar(shape, rois.get_sampling_frequency(), times, rois.metadata)


class _Plan:
    """What is written of one segmentation, and under which names; made, and checked, before anything is written."""

    def __init__(
        self,
        rois: SegmentationExtractor,
        suffix: str,
        about: Session | None,
        *,
        image_masks: bool,
        offset: float = 0.0,
    ) -> None:
        self._rois, self._suffix, self._is_dense = rois, suffix, image_masks
        # A module for each: background and images are those of the tables of the same module
        self._folder = f"processing/ophys{suffix}"
        self._main = f"{self._folder}/ImageSegmentation/PlaneSegmentation{suffix}"
        self._rest = f"{self._folder}/ImageSegmentation/BackgroundPlaneSegmentation{suffix}"
        self._names: dict[str, str] = {}
        self._weights: dict[str, np.ndarray] = {}
        self._ids_columns: list[str] = []
        self._count, self._ids = rois.get_num_samples(), rois.get_roi_ids()
        self._traces = rois.get_trace_names()
        self._background = rois.get_background()
        self._columns = self._property_columns()
        offset = offset if about is None else about.seconds_before(rois)
        self._sidecar = _sidecar_of(rois)
        if about is not None and (offset or rois.metadata.start_time is None):
            metadata = self._sidecar.metadata.replaced(start_time=about.start)  # times then count from it
            self._sidecar = replace(self._sidecar, metadata=metadata)
        self._first = rois.clock.first if rois.clock.source == "computed" and not offset else 0
        has_series = self._traces or (self._background and self._background.traces)
        self._clock = series_clock(rois, offset) if has_series else {}
        dtypes = [rois.get_traces([], 0, 0, name=name).dtype for name in self._traces]
        self.nbytes = self._count * len(self._ids) * sum(dtype.itemsize for dtype in dtypes)

    def _property_columns(self) -> dict[str, tuple[str, np.ndarray, str]]:
        """Return the columns by the property: name, values, description."""
        columns: dict[str, tuple[str, np.ndarray, str]] = {}
        taken: set[str] = set()
        for key in self._rois.get_property_keys():
            info = self._rois.get_property_info(key)
            values = np.asarray(info.values)
            if values.dtype.kind == "O" and all(isinstance(value, str) for value in values.reshape(-1)):
                values = values.astype(str)
            if values.dtype.kind not in "biufU":
                raise UnsupportedRecordingError(
                    f"NWB stores numbers, truth values and text; the property {key!r} has {values.dtype}"
                )
            name = _FLAGS[key] if key in _FLAGS and values.dtype.kind == "b" else _column_name(key)
            name = free_name(name, taken)
            if name != key and not (key in _FLAGS and name == _FLAGS[key]):
                self._names[f"{self._main}/{name}"] = key
            columns[key] = (name, values, info.description)
        return columns

    # The file

    def add_to(self, file: Any, count: Callable[[int], None], **described: Any) -> Any:
        """Add the segmentation to an NWBFile, and return its table; the traces are read while the file is written."""
        from pynwb.ophys import ImageSegmentation

        plane = imaging_plane(file, describe(self._rois, suffix=self._suffix, **described))
        module = self._module(file)
        if "ImageSegmentation" in module.data_interfaces:
            segmentation = module["ImageSegmentation"]
        else:
            segmentation = ImageSegmentation(name="ImageSegmentation")
            module.add(segmentation)
        masks = self._rois.get_roi_masks() if self._rois.has_masks else self._no_pixels(self._ids)
        columns = [_vector(*column) for column in self._columns.values()]
        references = list(self._image_series())
        table = self._table(self._main, plane, self._ids, masks, columns, references)
        segmentation.add_plane_segmentation(table)
        self._add_images(module)
        position = {roi_id: k for k, roi_id in enumerate(self._ids)}
        for name in self._traces:
            ids = self._ids_of(name)
            rows = [position[roi_id] for roi_id in ids]
            self._add_series(module, name, self._response(name, ids, count), table, rows)
        if self._background is not None:
            self._add_background(module, segmentation, plane, self._background)
        return table

    def _module(self, file: Any) -> Any:
        name = self._folder.rpartition("/")[2]
        if name in file.processing:
            return file.processing[name]
        return file.create_processing_module(name, "ROIs, their traces and images")

    def keep_rest(self, file: Any) -> None:
        """Add what NWB has no fields for; call it last, when the names are known."""
        name, words = f"{SCRATCH_NAME}{self._suffix}", "what roiextractors-core needs to read the segmentation again"
        file.add_scratch(self._kept(), name=name, description=words)

    def _kept(self) -> str:
        sidecar = Sidecar(
            self._sidecar.shape, self._sidecar.rate, None, self._sidecar.metadata
        )  # the series have the times
        return SegmentationSidecar(
            sidecar, self._main, tuple(self._ids_columns), self._names, self._first, self._rois.has_masks
        ).to_json()

    def _table(
        self,
        path: str,
        plane: Any,
        ids: Sequence[str],
        masks: RoiMasks,
        columns: Sequence[Any] = (),
        references: Sequence[Any] = (),
    ) -> Any:
        from pynwb.ophys import PlaneSegmentation

        numbers, *named = self._id_columns(path, ids)
        found = [*self._mask_columns(path, masks), *named, *columns]
        return PlaneSegmentation(
            name=path.rpartition("/")[2],
            description="ROIs" if path == self._main else "background components",
            imaging_plane=plane,
            id=numbers,
            columns=found,
            **({"reference_images": list(references)} if references else {}),
        )

    def _no_pixels(self, ids: Sequence[str]) -> RoiMasks:
        """Return masks without pixels: pynwb neither writes nor reads a table without masks."""
        return RoiMasks(self._rois.get_mask_shape(), np.zeros(len(ids) + 1, np.int64), [])

    def _id_columns(self, path: str, ids: Sequence[str]) -> Iterator[Any]:
        numbers = [int(name) for name in ids if name.isascii() and name.isdigit() and len(name) < 19]
        if [str(number) for number in numbers] == list(ids):
            yield np.array(numbers, np.int64)
            return
        self._ids_columns.append(path)
        yield np.arange(len(ids))
        yield _vector(IDS_COLUMN, np.array(list(ids), str), "the id of each ROI")

    def _mask_columns(self, path: str, masks: RoiMasks) -> Iterator[Any]:
        from hdmf.common import VectorData, VectorIndex

        kind = "voxel_mask" if len(masks.shape) == 3 else "pixel_mask"
        if (self._is_dense and len(masks.pixels)) or not len(masks):
            yield VectorData(name="image_mask", description="Image masks for each ROI", data=_dense(masks))
            return
        records = _records(masks)
        if not np.array_equal(records["weight"], masks.weights):
            self._weights[f"{path}/{kind}"] = masks.weights
        words = "Voxel masks for each ROI" if kind == "voxel_mask" else "Pixel masks for each ROI"
        data = VectorData(name=kind, description=words, data=records)
        yield data
        yield VectorIndex(name=f"{kind}_index", data=masks.offsets[1:].astype(np.uint64), target=data)

    def restore_weights(self, hdf5: Any) -> None:
        """Replace lists of pixels whose weights single precision, to which hdmf converts, does not represent exactly."""
        for path, weights in self._weights.items():
            old = hdf5[path]
            dtype = np.dtype([(name, "<f8" if name == "weight" else old.dtype[name]) for name in old.dtype.names])
            records = old[()].astype(dtype)
            records["weight"] = weights
            attributes = {key: old.attrs[key] for key in old.attrs}
            del hdf5[path]
            new = hdf5.create_dataset(path, data=records)
            new.attrs.update(attributes)
            hdf5[f"{path}_index"].attrs["target"] = new.ref  # the old object is gone

    # Images

    def _image_series(self) -> Iterator[Any]:
        """Yield the images with planes, for which NWB has no type but series of one frame."""
        from pynwb.image import ImageSeries

        taken: set[str] = set()
        for name in self._rois.get_image_names():
            image = self._rois.get_image(name)
            if image.ndim == 3:
                written = free_name(plain_name(name), taken)
                self._note_name(f"{self._main}/reference_images/{written}", name)
                yield ImageSeries(
                    name=written, data=image.swapaxes(0, 1)[np.newaxis], unit="n.a.", timestamps=[0.0], description=name
                )

    def _add_images(self, module: Any) -> None:
        from pynwb.base import Images
        from pynwb.image import GrayscaleImage

        taken: set[str] = set()
        found = []
        for name in self._rois.get_image_names():
            image = self._rois.get_image(name)
            if image.ndim == 2:
                written = free_name(plain_name(name), taken)
                self._note_name(f"{self._folder}/SegmentationImages/{written}", name)
                found.append(GrayscaleImage(name=written, data=np.ascontiguousarray(image.T), description=name))
        if found:
            module.add(Images(name="SegmentationImages", images=found, description="images of the recording"))

    def _note_name(self, path: str, name: str) -> None:
        if path.rpartition("/")[2] != name:
            self._names[path] = name

    # Traces

    def _add_series(self, module: Any, name: str, data: Any, table: Any, rows: Sequence[int], place: str = "") -> None:
        from pynwb.ophys import DfOverF, Fluorescence, RoiResponseSeries

        place = place or _SERIES.get(name, f"Fluorescence/{plain_name(name)}")
        container, _, wanted = place.partition("/")
        kinds: Mapping[str, Any] = {"Fluorescence": Fluorescence, "DfOverF": DfOverF}
        if container not in module.data_interfaces:
            module.add(kinds[container](name=container))
        series = free_name(wanted, set(module[container].roi_response_series))
        self._names[f"{self._folder}/{container}/{series}"] = name
        words = f"{'all' if len(rows) == len(table.id) else 'some'} rows of {table.name}"
        region = table.create_roi_table_region(region=list(rows), description=words)
        module[container].add_roi_response_series(
            RoiResponseSeries(name=series, data=data, rois=region, unit="n.a.", description=name, **self._clock)
        )

    def _ids_of(self, name: str) -> Sequence[str]:
        """Return the ROIs that have values of a trace; in NWB, a series may have those of a part of the table."""
        own = getattr(self._rois, "get_trace_roi_ids", None)
        return self._ids if own is None else list(own(name))

    def _response(self, name: str, ids: Sequence[str], count: Callable[[int], None]) -> Any:
        """Return an iterator over blocks of one trace."""
        from hdmf.data_utils import GenericDataChunkIterator

        rois, length, width = self._rois, self._count, len(ids)
        dtype = rois.get_traces([], 0, 0, name=name).dtype
        if not length or not width:
            return np.empty((length, width), dtype)

        class Blocks(GenericDataChunkIterator):  # type: ignore[misc]
            def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
                samples, columns = selection
                block = rois.get_traces(ids[columns], samples.start, samples.stop, name=name)
                count(block.nbytes)
                return block

            def _get_maxshape(self) -> tuple[int, ...]:
                return (length, width)

            def _get_dtype(self) -> np.dtype[Any]:
                return dtype

        chunk = (min(length, _CHUNK_SAMPLES), min(width, _CHUNK_ROIS))
        # Whole chunks, so that none is written twice
        block = max(1, _BLOCK_BYTES // (width * dtype.itemsize * chunk[0])) * chunk[0]
        return Blocks(buffer_shape=(min(length, block), width), chunk_shape=chunk)

    def _add_background(self, module: Any, segmentation: Any, plane: Any, background: Background) -> None:
        masks = background.masks if background.masks is not None else self._no_pixels(background.ids)
        table = self._table(self._rest, plane, background.ids, masks)
        segmentation.add_plane_segmentation(table)
        for name in background.traces:
            data = np.asarray(background.traces[name])
            self._add_series(module, name, data, table, range(len(background.ids)), "Fluorescence/Background")


def _records(masks: RoiMasks) -> np.ndarray:
    """Return the pixels as NWB's records ``(x, y[, z], weight)``, the column before the row."""
    rows, columns, *planes = np.unravel_index(masks.pixels, masks.shape)
    fields = [("x", columns), ("y", rows), *[("z", plane) for plane in planes]]
    records = np.empty(len(masks.pixels), np.dtype([*[(name, "<u4") for name, _ in fields], ("weight", "<f4")]))
    for name, values in fields:
        records[name] = values
    with np.errstate(over="ignore"):
        records["weight"] = masks.weights
    return records


def _dense(masks: RoiMasks) -> Any:
    """Return dense masks ``(rois, x, y[, z])``, made one by one and compressed."""
    from hdmf.backends.hdf5 import H5DataIO
    from hdmf.data_utils import GenericDataChunkIterator

    rows, columns, *planes = masks.shape
    shape = (len(masks), columns, rows, *planes)
    if not len(masks):
        return np.empty(shape, masks.weights.dtype)

    class Images(GenericDataChunkIterator):  # type: ignore[misc]
        def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
            chosen, *part = selection
            images = np.stack([masks.image(k).swapaxes(0, 1) for k in range(chosen.start, chosen.stop)])
            return images[(slice(None), *part)]

        def _get_maxshape(self) -> tuple[int, ...]:
            return shape

        def _get_dtype(self) -> np.dtype[Any]:
            return masks.weights.dtype

    one = (1, *shape[1:])
    return H5DataIO(Images(buffer_shape=one, chunk_shape=one), compression="gzip", compression_opts=1)


def _vector(name: str, values: np.ndarray, description: str) -> Any:
    from hdmf.common import VectorData

    # hdmf writes lists of text, and not numpy's arrays of text
    data = values.tolist() if values.dtype.kind == "U" and len(values) else values
    return VectorData(name=name, description=description, data=data)


def _column_name(key: str) -> str:
    name = plain_name(key)
    return f"property_{name}" if name in _RESERVED or name.endswith("_index") else name

"""A made-up format of segmentations, an extractor that keeps every rule, and extractors that each break one.

A file is a header of 64 bytes, the offsets of the masks (int64), their pixels (int64) and weights (float32), the traces
``(samples, rois)`` (float32), one byte an ROI that says whether it is a cell, the mean image (float32), and the times (float64)
where there are any.  All numbers are little-endian.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import roiextractors_core as roi
from roiextractors_core.io import PositionedFile

__all__ = ["FAULTS", "FILE", "PlantedRois", "made", "write_rois"]

SIGNATURE = b"\x89PLROIS\n"
HEADER = struct.Struct("<8s6Id")
HEADER_BYTES = 64

FILE = {
    "name": "planted-rois",
    "title": "Planted ROIs",
    "kind": "segmentation",
    "extensions": (".plrois",),
    "evidence": roi.Magic(SIGNATURE),
    "clock": "native",
    "description": "A made-up format for the tests of the tests.",
}


def made(*, samples: int = 50, timed: bool = True) -> roi.NumpySegmentationExtractor:
    """Return what the file contains."""
    rng = np.random.default_rng(5)
    rows, columns = 14, 23
    masks = roi.RoiMasks.from_pixels(
        (rows, columns),
        [
            ([1, 1, 2], [3, 4, 4], np.float32([0.5, 0.25, 0.25])),
            ([8], [15], np.float32([2.0])),
            ([5, 5, 6, 7], [0, 1, 1, 1], np.float32([1, 2, 3, 4])),
            ([13, 13], [21, 22], np.float32([1, 1])),
        ],
    )
    return roi.NumpySegmentationExtractor(
        masks,
        {"raw": rng.random((samples, 4)).astype(np.float32)},
        images={"mean": rng.random((rows, columns)).astype(np.float32)},
        properties={"iscell": np.array([True, False, True, True])},
        sampling_frequency=20.0,
        times=np.cumsum(rng.uniform(0.04, 0.06, samples)) if timed else None,
    )


def write_rois(path: Path, rois: Any) -> Path:
    """Write the file by other means than the extractor."""
    masks, (rows, columns) = rois.get_roi_masks(), rois.get_frame_shape()
    count, samples = rois.get_num_rois(), rois.get_num_samples()
    timed = rois.has_time_vector()
    header = HEADER.pack(
        SIGNATURE, rows, columns, count, samples, len(masks.pixels), timed, rois.get_sampling_frequency()
    )
    parts = [
        masks.offsets.astype("<i8"),
        masks.pixels.astype("<i8"),
        masks.weights.astype("<f4"),
        rois.get_traces().astype("<f4"),
        rois.get_property("iscell").astype(np.uint8),
        rois.get_image("mean").astype("<f4"),
        *([rois.get_timestamps().astype("<f8")] if timed else []),
    ]
    path.write_bytes(header.ljust(HEADER_BYTES, b"\0") + b"".join(part.tobytes() for part in parts))
    return path


class PlantedRois(roi.SegmentationExtractor):
    def __init__(self, file_path: Any, *, sampling_frequency: float | None = None) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._file = PositionedFile(file_path)
        head = self._file.read(0, HEADER.size)
        fields = HEADER.unpack(head) if len(head) == HEADER.size else (b"",)
        if fields[0] != SIGNATURE:
            raise roi.CorruptRecordingError(f"{Path(file_path).name} does not begin as ROIs of this format do")
        self._rows, self._columns, self._count, self._samples, self._pixels, self._timed, self._rate = fields[1:]
        sizes = [
            8 * (self._count + 1),
            8 * self._pixels,
            4 * self._pixels,
            4 * self._samples * self._count,
            self._count,
            4 * self._rows * self._columns,
            8 * self._samples * self._timed,
        ]
        self._places = [int(place) for place in HEADER_BYTES + np.concatenate([[0], np.cumsum(sizes)])]
        if os.path.getsize(file_path) < self._places[-1]:
            raise roi.TruncatedRecordingError(f"{Path(file_path).name} ends before its content does")

    def _array(self, part: int, dtype: str, count: int, skip: int = 0) -> np.ndarray:
        size = np.dtype(dtype).itemsize
        return np.frombuffer(self._file.read(self._places[part] + skip * size, count * size), dtype).copy()

    def get_frame_shape(self) -> tuple[int, int]:
        return self._rows, self._columns

    def get_roi_ids(self) -> list[str]:
        return [str(k) for k in range(self._count)]

    def get_num_samples(self) -> int:
        return self._samples

    def get_masks(self, roi_indices: np.ndarray) -> roi.RoiMasks:
        offsets = self._array(0, "<i8", self._count + 1)
        pixels, weights = self._array(1, "<i8", self._pixels), self._array(2, "<f4", self._pixels)
        return roi.RoiMasks((self._rows, self._columns), offsets, pixels, weights)[roi_indices]

    def get_trace_names(self) -> tuple[str, ...]:
        return ("raw",)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        part = self._array(3, "<f4", (end_sample - start_sample) * self._count, start_sample * self._count)
        return part.reshape(-1, self._count)[:, roi_indices]

    def get_image_names(self) -> tuple[str, ...]:
        return ("mean",)

    def get_image(self, name: str = "mean") -> np.ndarray:
        if name != "mean":
            return super().get_image(name)
        return self._array(5, "<f4", self._rows * self._columns).reshape(self._rows, self._columns)

    def get_own_properties(self) -> dict[str, roi.RoiProperty]:
        return {"iscell": roi.RoiProperty(self._array(4, "u1", self._count) > 0)}

    def get_sampling_frequency(self) -> float:
        return self._rate

    def get_native_timestamps(self, start_sample: int | None = None, end_sample: int | None = None) -> Any:
        start, end = self.resolve_range(start_sample, end_sample)
        return self._array(6, "<f8", end - start, start) if self._timed else None

    def close(self) -> None:
        self._file.close()
        super().close()


FAULTS: dict[str, tuple[type, tuple[str, ...], str, dict[str, Any]]] = {}


def planted(*fails: str, says: str, **declares: Any) -> Callable[[type], type]:
    """Plant a fault: the tests that must fail, and words of one of their messages."""

    def mark(kind: type) -> type:
        FAULTS[kind.__name__] = (kind, fails, says, declares)
        return kind

    return mark


SAME = "test_the_recording_is_what_was_written"
PARTS = "test_parts_of_traces_are_the_parts_of_the_whole"


@planted(SAME, says="rows come first")
class RowsAndColumnsAreExchanged(PlantedRois):
    def get_masks(self, roi_indices: np.ndarray) -> roi.RoiMasks:
        found = super().get_masks(roi_indices)
        rows, columns = np.divmod(found.pixels, self._columns)
        return roi.RoiMasks(found.shape, found.offsets, np.sort(rows + columns * self._rows), found.weights)


@planted(SAME, says="weights of the mask")
class WeightsAreOne(PlantedRois):
    def get_masks(self, roi_indices: np.ndarray) -> roi.RoiMasks:
        found = super().get_masks(roi_indices)
        return roi.RoiMasks(found.shape, found.offsets, found.pixels)


@planted("test_parts_of_masks_are_the_parts_of_the_whole", says="in their order")
class MasksInTheOrderOfTheFile(PlantedRois):
    def get_masks(self, roi_indices: np.ndarray) -> roi.RoiMasks:
        return super().get_masks(np.sort(roi_indices))


@planted(PARTS, says="roi_indices, in their order")
class TracesInTheOrderOfTheFile(PlantedRois):
    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        return super().get_trace(name, start_sample, end_sample, np.sort(roi_indices))


@planted(PARTS, says="expected")
class TheRangeIsOfTheWholeFile(PlantedRois):
    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        return super().get_trace(name, 0, end_sample - start_sample, roi_indices)


@planted(SAME, says="expected 50")
class TheLastSampleIsLost(PlantedRois):
    def get_num_samples(self) -> int:
        return self._samples - 1


@planted(SAME, says="get_roi_ids() is")
class CellsAlone(PlantedRois):
    def get_roi_ids(self) -> list[str]:
        return super().get_roi_ids()[:-1]


@planted(SAME, says="property 'iscell'")
class PropertiesAreInverted(PlantedRois):
    def get_own_properties(self) -> dict[str, roi.RoiProperty]:
        return {"iscell": roi.RoiProperty(self._array(4, "u1", self._count) == 0)}


@planted(SAME, says="get_property_keys() is")
class PropertiesAreLost(PlantedRois):
    def get_own_properties(self) -> dict[str, roi.RoiProperty]:
        return {}


@planted(SAME, says="get_image('mean')")
class TheImageIsUpsideDown(PlantedRois):
    def get_image(self, name: str = "mean") -> np.ndarray:
        return super().get_image(name)[::-1].copy()


@planted(SAME, says="get_image_names() is")
class TheImageIsLost(PlantedRois):
    def get_image_names(self) -> tuple[str, ...]:
        return ()


@planted("test_results_belong_to_the_caller", says="copy what is kept")
class OneImageForAll(PlantedRois):
    def get_image(self, name: str = "mean") -> np.ndarray:
        if not hasattr(self, "_kept_image"):
            self._kept_image = super().get_image(name)
        return self._kept_image


@planted("test_results_belong_to_the_caller", says="copy what is kept")
class OneTraceForAll(PlantedRois):
    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        found = super().get_trace(name, start_sample, end_sample, roi_indices)
        if found.shape != (self._samples, self._count):
            return found
        if not hasattr(self, "_kept_trace"):
            self._kept_trace = found.copy()
        return self._kept_trace


@planted("test_the_clock_is_that_of_the_recording", says="get_sampling_frequency() is 30.0")
class ARateThatIsInvented(PlantedRois):
    def get_sampling_frequency(self) -> float:
        return 30.0


@planted("test_the_clock_is_that_of_the_recording", says="times_source is 'computed'")
class TimesAreNotRead(PlantedRois):
    def get_native_timestamps(self, start_sample: int | None = None, end_sample: int | None = None) -> Any:
        return None


@planted("test_the_clock_is_that_of_the_recording", says="get_timestamps()")
class TimesInMilliseconds(PlantedRois):
    def get_native_timestamps(self, start_sample: int | None = None, end_sample: int | None = None) -> Any:
        return super().get_native_timestamps(start_sample, end_sample) * 1e3


@planted("test_the_clock_is_that_of_the_recording", says="sampling_frequency=12.25")
class TheUsersRateIsIgnored(PlantedRois):
    def override_sampling_frequency(self, sampling_frequency: float) -> None:
        return None


@planted("test_opening_reads_no_traces_and_writes_nothing", says="read traces")
class TracesAreReadAtOpening(PlantedRois):
    def __init__(self, file_path: Any, *, sampling_frequency: float | None = None) -> None:
        super().__init__(file_path, sampling_frequency=sampling_frequency)
        self.get_trace("raw", 0, self._samples, np.arange(self._count))


@planted("test_opening_reads_no_traces_and_writes_nothing", says="was changed, added or removed")
class TheFileIsTouched(PlantedRois):
    def __init__(self, file_path: Any, *, sampling_frequency: float | None = None) -> None:
        super().__init__(file_path, sampling_frequency=sampling_frequency)
        with open(file_path, "ab") as stream:
            stream.write(b"\0")


@planted("test_one_trace_reads_no_more_than_it_needs", says="a quarter")
class AllTracesAreReadForOne(PlantedRois):
    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        return super().get_trace(name, 0, self._samples, roi_indices)[start_sample:end_sample]


@planted(
    "test_it_pickles_into_a_fresh_process",
    says="get_roi_ids|expected|read",
)
class AStateThatIsNotInTheArguments(PlantedRois):
    shift = 0.0

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        found = super().get_trace(name, start_sample, end_sample, roi_indices)
        return found + np.float32(os.getpid() % 1000)


@planted("test_it_can_be_read_from_several_threads", says="must not share a position")
class ThreadsShareOnePlace(PlantedRois):
    def _array(self, part: int, dtype: str, count: int, skip: int = 0) -> np.ndarray:
        self._place = self._places[part] + skip * np.dtype(dtype).itemsize
        time.sleep(1e-4)
        return np.frombuffer(self._file.read(self._place, count * np.dtype(dtype).itemsize), dtype).copy()


@planted("test_a_cut_recording_is_an_error_or_said", says="which is not a clear error")
class TheEndIsNotChecked(PlantedRois):
    def __init__(self, file_path: Any, *, sampling_frequency: float | None = None) -> None:
        try:
            super().__init__(file_path, sampling_frequency=sampling_frequency)
        except roi.TruncatedRecordingError:
            pass


@planted("test_a_cut_recording_is_an_error_or_said", says="without a warning")
class ACutFileIsFilledWithZeros(PlantedRois):
    def __init__(self, file_path: Any, *, sampling_frequency: float | None = None) -> None:
        try:
            super().__init__(file_path, sampling_frequency=sampling_frequency)
        except roi.TruncatedRecordingError:
            pass

    def _array(self, part: int, dtype: str, count: int, skip: int = 0) -> np.ndarray:
        size = np.dtype(dtype).itemsize
        found = self._file.read(self._places[part] + skip * size, count * size)
        return np.frombuffer(bytes(found).ljust(count * size, b"\0"), dtype).copy()


@planted("test_a_closed_recording_is_not_read", says="after close()")
class ItIsReadAfterClosing(PlantedRois):
    def close(self) -> None:
        """Do nothing."""


@planted("test_the_declaration_says_segmentation", says="write kind=", kind="imaging")
class DeclaredAsAMovie(PlantedRois):
    """Its FormatSpec names the other kind."""


@planted("test_the_format_is_found_without_being_named", says="would take nothing", evidence=roi.Magic(b"another"))
class TheEvidenceSaysNo(PlantedRois):
    """Its FormatSpec looks for other bytes."""


@planted("test_the_declaration_agrees_with_the_recording", says="clock='native'", clock="rate")
class TheClockIsNotDeclared(PlantedRois):
    """Its FormatSpec says less than the file has."""


@planted("test_views_keep_everything_together", says="leave views to the base class")
class ViewsLoseTheOrder(PlantedRois):
    def select_rois(self, roi_ids: Any) -> Any:
        return super().select_rois(sorted(roi_ids))


@planted("test_what_does_not_exist_is_refused", says="was not refused")
class AnyNameIsAnImage(PlantedRois):
    def get_image(self, name: str = "mean") -> np.ndarray:
        return super().get_image("mean")


@planted("test_an_unknown_option_is_refused", says="was not refused")
class TakesAnyKeyword(PlantedRois):
    def __init__(self, file_path: Any, *, sampling_frequency: float | None = None, **options: Any) -> None:
        super().__init__(file_path, sampling_frequency=sampling_frequency)

"""Reads the imaging series of NWB files: pixels, and the times in the file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from roiextractors_core.errors import RoiExtractorsWarning, counted, printable
from roiextractors_core.imaging import BlockImagingExtractor, Samples
from roiextractors_core.io import SIDECAR_KEY, Sidecar, regular_rate, warn
from roiextractors_core.metadata import RecordingMetadata

from .pixels import pixels_of
from .series import chosen_series, series_names
from .sidecar import first_sample
from .times import SeriesTimes
from .tree import local_path, open_tree

__all__ = ["NwbImagingExtractor"]

_MAX_ROUNDING = 1e-9  # seconds


class NwbImagingExtractor(BlockImagingExtractor):
    """One imaging series of an NWB 2 file: ``(samples, rows, columns)``, or volumes with the planes last.

    Parameters
    ----------
    file_path : str or os.PathLike
        A ``.nwb`` file (HDF5), or the folder of an NWB Zarr.
    series : str, optional
        The name of the series, or its path (``"acquisition/TwoPhotonSeries"``); needed when the file contains several.
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the file's.

    Raises
    ------
    StreamChoiceError
        Several series, and none was named; or the named one does not exist.
    UnsupportedRecordingError
        No imaging series, NWB 1, or external files that are not TIFF or are outside the file's folder.
    CorruptRecordingError, TruncatedRecordingError
        The file is damaged or truncated.

    Warns
    -----
    IncompleteRecordingWarning
        Chunks are missing, or external files; samples at the end without any chunk are left out.
    RoiExtractorsWarning
        Timestamps, a rate, dimensions or numbers of frames contradict each other.

    Notes
    -----
    NWB stores ``(time, width, height[, depth])``: its third axis is the rows, and its second the columns.  Pages of external
    TIFF files are (rows, columns) already.  Pixels are as stored; conversion and offset are in the notes and the metadata.

    The native clock is the timestamps of the series, or its starting time and rate.

    References
    ----------
    NWB core schema 2.8, ``nwb.ophys.yaml`` and ``nwb.image.yaml``; hdmf-zarr's storage of links.
    """

    def __init__(
        self, file_path: str | os.PathLike[str], *, series: str | None = None, sampling_frequency: float | None = None
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._path = local_path(file_path)
        with open_tree(self._path) as tree:
            self._series = chosen_series(tree, series)
            self._name = tree.name
        self._pixels = pixels_of(self._path, self._series)
        self._first = getattr(self._pixels, "first_frame", 0)
        self._series_times = SeriesTimes(self._path, self._name, self._series.times, self._first + self._stated)
        self._doubts = tuple(self._find_doubts())
        for words in self._doubts:
            warn(words, RoiExtractorsWarning)
        for words in (*self._pixels.get_warnings(self._name), *self._first_words):
            warn(words)
        self.is_volumetric = self._pixels.is_volumetric
        # Comments can be copied to another series with other pixels, so the shape is compared
        kept = Sidecar.from_json(self._series.comments, where=f"the comments of {self._name}")
        # A slice of a recording with a rate: its times come back to the last digit
        self._on_grid = 0 if kept is None else first_sample(json.loads(self._series.comments)[SIDECAR_KEY])
        self._sidecar = kept if kept is not None and kept.shape == (self._stated, *self.shape[1:]) else None
        if kept is not None and self._sidecar is None:
            words = f"{self._name}: the times and metadata in the comments of the series describe a recording of shape {kept.shape} and are not used"
            warn(words, RoiExtractorsWarning)
            self._doubts += (words,)

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the imaging series if there are several: their names, or their paths where names repeat.

        Returns
        -------
        dict
            ``{"series": ("OnePhotonSeries", "TwoPhotonSeries")}``
        """
        with open_tree(local_path(file_path)) as tree:
            names = tuple(series_names(tree))
        return {"series": names} if len(names) > 1 else {}

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._pixels.frame_shape

    @property
    def keeps_missing_samples(self) -> bool:  # type: ignore[override]
        """Whether missing samples are in the recording: those without chunks are, frames before the first external file are not."""
        return not self._first

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples that lack chunks, or the frames of the series before its first external file."""
        return np.arange(self._first, dtype=np.int64) if self._first else self._pixels.missing.samples.copy()

    def get_paths(self) -> tuple[str, ...]:
        """Return the NWB file, and its external files."""
        return tuple(dict.fromkeys((os.path.abspath(self._path), *getattr(self._pixels, "paths", ()))))

    def get_num_samples(self) -> int:
        """Return the number of frames, or of volumes."""
        return self._pixels.num_samples

    def get_num_planes(self) -> int:
        """Return the number of planes; 1 for a planar series."""
        return self._pixels.num_planes

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the pixels as stored, in native byte order."""
        return self._pixels.dtype

    def get_chunk_shape(self) -> tuple[int, ...]:
        """Return the shape of the file's chunks; one whole sample without chunks."""
        return self._pixels.chunk_shape

    def get_sampling_frequency(self) -> float | None:
        """Return the rate (Hz) that the series states, or that regular timestamps give; None for irregular ones."""
        if self._sidecar is not None and self._sidecar.rate is not None:
            return self._sidecar.rate
        return self._regular_rate if self._series_times.has_timestamps else self._series_times.stated_rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the series' timestamps (s, float64), or times by a rate and a starting time other than 0; else None."""
        start, end = self.resolve_range(start_sample, end_sample)
        if self._series_times.has_timestamps:
            return self._timestamps[start:end].copy()
        rate, begin = self.get_sampling_frequency(), self._series_times.starting_time or 0.0
        nominal = None if self._sidecar is None or rate != self._sidecar.rate else rate
        if nominal is not None:  # the series has the rate of the times, which can differ
            rate = self._series_times.stated_rate
        # A rate with a start at 0 is the default clock
        if rate is None or not (begin or self._first or rate != (nominal or rate)):
            return None
        if self._on_grid and abs(self._on_grid / rate - begin) < _MAX_ROUNDING:
            return np.arange(self._on_grid + start, self._on_grid + end) / rate
        times: np.ndarray = np.arange(self._first + start, self._first + end) / rate + begin
        return times

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        """Return a part; reads only the chunks that it touches."""
        self.check_open()
        return self._pixels.read(samples, rows, columns, planes)

    def get_metadata(self) -> RecordingMetadata:
        """Return the session's start, sizes, optical channels, device, and the file's fields of series and plane."""
        return self._series.metadata if self._sidecar is None else self._sidecar.metadata

    def get_notes(self) -> tuple[str, ...]:
        """Return notes: a conversion that is not applied, missing chunks, and counts that disagree."""
        return (*self._series.notes, *self._pixels.get_notes(self._name), *self._first_words, *self._doubts)

    def close(self) -> None:
        """Release the files."""
        self._pixels.close()
        super().close()

    @property
    def _stated(self) -> int:
        """The number of samples that the pixels should have, including those at the end that were never written."""
        return self._pixels.missing.stated_samples

    @property
    def _first_words(self) -> tuple[str, ...]:
        if not self._first:
            return ()
        return (
            f"{self._name}: the external files begin at frame {self._first:,} of the series; the frames before it are missing",
        )

    @cached_property
    def _timestamps(self) -> np.ndarray:
        return self._series_times.read(self._first, self._first + len(self))

    @cached_property
    def _regular_rate(self) -> float | None:
        return regular_rate(self._timestamps)

    def _find_doubts(self) -> Iterator[str]:
        """Yield a sentence for each statement of the file that contradicts another one."""
        yield from self._sizes_doubts()
        outside = self._pixels.missing.num_outside
        if outside:
            chunks = f"{outside:,} chunk{'s' if outside > 1 else ''}"
            yield f"{self._name}: there are {chunks} outside of the shape of {printable(self._series.path)}, which are not read"
        yield from self._series_times.doubts("")

    def _sizes_doubts(self) -> Iterator[str]:
        rows, columns = self._pixels.frame_shape
        stated = self._series.dimension
        if len(stated) >= 2 and stated[:2] != (columns, rows):
            turned = (
                "; the data may be stored as (time, rows, columns), contrary to the schema, or the two numbers were swapped"
                if stated[:2] == (rows, columns)
                else ""
            )
            yield (
                f"{self._name}: dimension of {printable(self._series.path)} states {stated[0]:,} x {stated[1]:,} pixels (x, y), but the pixels "
                f"have {counted(columns, 'column')} and {counted(rows, 'row')}; they are read as stored{turned}"
            )

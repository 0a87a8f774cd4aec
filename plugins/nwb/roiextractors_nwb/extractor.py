"""Reads the imaging series of NWB files: pixels, and the times in the file."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import numpy as np
from roiextractors_hdf5.contents import named, open_hdf5

from roiextractors_core.errors import CorruptRecordingError, SourceKindError, printable
from roiextractors_core.imaging import BlockImagingExtractor, Samples
from roiextractors_core.io import Sidecar, single_file, warn
from roiextractors_core.metadata import RecordingMetadata

from .pixels import pixels_of
from .series import chosen_series, series_names
from .tree import is_zarr, missing_chunks, open_tree, read_zarr, root_of

__all__ = ["NwbImagingExtractor"]


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
        Chunks of a Zarr array are missing; they read as the fill value.

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
        self._path = _local_path(file_path)
        with open_tree(self._path) as tree:
            self._series = chosen_series(tree, series)
            self._name = tree.name
        self._pixels = pixels_of(self._path, self._series)
        missing = missing_chunks(self._path, self._series.data) if self._series.data and is_zarr(self._path) else 0
        self._pixels_notes = (_missing_note(self._name, missing),) if missing else ()
        for note in self._pixels_notes:
            warn(note)
        self.is_volumetric = self._pixels.is_volumetric
        kept = Sidecar.from_json(self._series.comments, where=f"the comments of {self._name}")
        self._sidecar = kept if kept is not None and kept.shape == self.shape else None

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the imaging series if there are several: their names, or their paths where names repeat.

        Returns
        -------
        dict
            ``{"series": ("OnePhotonSeries", "TwoPhotonSeries")}``
        """
        with open_tree(_local_path(file_path)) as tree:
            names = tuple(series_names(tree))
        return {"series": names} if len(names) > 1 else {}

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._pixels.frame_shape

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
        """Return the rate (Hz) that the series states; None when it has timestamps instead."""
        return self._series.rate if self._sidecar is None else self._sidecar.rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the series' timestamps (s, float64), or times by a rate and a starting time other than 0; else None."""
        start, end = self.resolve_range(start_sample, end_sample)
        if self._has_timestamps:
            return self._timestamps[start:end].copy()
        rate = self.get_sampling_frequency()
        if not self._series.starting_time or rate is None:
            return None
        times: np.ndarray = np.arange(start, end) / rate + self._series.starting_time
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
        notes, count, stamps = [*self._series.notes, *self._pixels_notes], len(self), self._series.num_timestamps
        if self._series.num_frames not in (None, count):
            notes.append(
                f"{self._name}: num_samples is {self._series.num_frames:,}, but the external files contain {count:,}"
            )
        if self._series.timestamps is not None and stamps != count:
            used = f"the first {count:,} of them are used" if stamps > count else "they are not used"
            notes.append(f"{self._name}: there are {count:,} samples but {stamps:,} timestamps; {used}")
        return tuple(notes)

    def close(self) -> None:
        """Release the files."""
        self._pixels.close()
        super().close()

    @property
    def _has_timestamps(self) -> bool:
        return self._series.timestamps is not None and self._series.num_timestamps >= len(self)

    @cached_property
    def _timestamps(self) -> np.ndarray:
        where = self._series.timestamps or ""
        if is_zarr(self._path):
            found = read_zarr(self._path, where, (slice(0, len(self)),))
        else:
            with open_hdf5(self._path) as file:
                found = named(file, where)[: len(self)]
        try:
            return np.asarray(found, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise CorruptRecordingError(
                f"{self._name}: {printable(where)} is not a list of seconds: {printable(error)}"
            ) from error


def _local_path(file_path: Any) -> str:
    """Return the path of a file or folder; ``Path`` would turn a URL into a path that does not exist."""
    if "://" in str(file_path):
        raise SourceKindError(
            f"{printable(file_path)} is a URL; only local files can be opened. Download it (`dandi download` for DANDI) and open the copy"
        )
    return root_of(single_file(file_path, may_be_folder=True))


def _missing_note(name: str, missing: int) -> str:
    return (
        f"{name}: {missing:,} chunk{'s' if missing > 1 else ''} of the pixels {'are' if missing > 1 else 'is'} missing (lost, or never written) "
        "and will be read as the fill value"
    )

"""The pixels of a series: a dataset in HDF5, an array in a Zarr folder, or TIFF files beside the NWB file."""

from __future__ import annotations

import ntpath
import os
import posixpath
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from roiextractors_hdf5.dataset import Hdf5Dataset

from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceNotFoundError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io import (
    MissingChunks,
    missing_chunks,
    present_zarr_chunks,
    read_bounded,
    require_few_chunks,
    warn,
)

from .series import Series
from .tree import is_zarr, zarr_array

__all__ = ["Pixels", "pixels_of"]

Samples = slice | np.ndarray
_LATE = "chunks of the pixels are missing (lost, or never written) and are read as the fill value"


class Pixels(Protocol):
    """A movie in the order of this library; :class:`roiextractors_hdf5.dataset.Hdf5Dataset` is one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """In native byte order."""

    @property
    def num_samples(self) -> int:
        """The number of frames, or of volumes."""

    @property
    def frame_shape(self) -> tuple[int, int]:
        """``(rows, columns)``."""

    @property
    def num_planes(self) -> int:
        """The number of planes; 1 for a planar movie."""

    @property
    def is_volumetric(self) -> bool:
        """Whether there are planes."""

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """``(samples, rows, columns[, planes])`` of a chunk."""

    @property
    def missing(self) -> MissingChunks:
        """Which chunks, and samples, are missing."""

    def get_warnings(self, name: str) -> tuple[str, ...]:
        """Return warnings for the user."""

    def get_notes(self, name: str) -> tuple[str, ...]:
        """Return :meth:`get_warnings` and further notes."""

    def read(
        self, samples: Samples, rows: slice | None = None, columns: slice | None = None, planes: slice | None = None
    ) -> np.ndarray:
        """Return ``(samples, rows, columns[, planes])``, owned by the caller."""

    def close(self) -> None:
        """Release the files."""


def pixels_of(path: str | os.PathLike[str], series: Series) -> Pixels:
    """Return the pixels of a series of the NWB file at ``path``.

    Raises
    ------
    UnsupportedRecordingError
        External files that are not TIFF or are outside the file's folder.
    """
    if series.data is None:
        return _ExternalPixels(os.fspath(path), series)
    # The schema puts the width before the height
    axes = "TXYZ"[: len(series.shape)]
    if len(series.shape) not in (3, 4):
        raise UnsupportedRecordingError(
            f"{printable(series.path)} has the shape {series.shape}, expected (time, x, y[, z])"
        )
    return _ZarrPixels(os.fspath(path), series.data) if is_zarr(path) else Hdf5Dataset(path, series.data, axes=axes)


class _ZarrPixels:
    """A Zarr array ``(time, width, height[, depth])``."""

    def __init__(self, folder: str, where: str) -> None:
        self._folder = folder
        self._array = zarr_array(folder, where)
        self._shape, self._chunk, self._dtype = self._array.shape, self._array.chunks, self._array.dtype
        if self._dtype.kind not in "biuf":
            raise UnsupportedRecordingError(f"{printable(where)} has the type {self._dtype}; pixels must be numbers")
        require_few_chunks(where, self._shape[1:], self._chunk[1:])
        looked = present_zarr_chunks(self._array, axis=0)
        count = self._shape[0]
        self._missing = (
            MissingChunks(0, 0, count, count, is_complete=False)
            if looked is None
            else replace(
                missing_chunks(looked[0], axis=0, chunk=self._chunk[0], num_samples=count),
                is_complete=looked[1],
                num_outside=looked[2],
            )
        )
        self._has_warned = False

    @property
    def missing(self) -> MissingChunks:
        return self._missing

    def get_warnings(self, name: str) -> tuple[str, ...]:
        return self._missing.warnings(name)

    def get_notes(self, name: str) -> tuple[str, ...]:
        late = (f"{name}: {_LATE}",) if self._has_warned else ()
        return (*self._missing.notes(name), *late)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype.newbyteorder("=")

    @property
    def num_samples(self) -> int:
        return self._missing.num_samples

    @property
    def frame_shape(self) -> tuple[int, int]:
        return self._shape[2], self._shape[1]

    @property
    def num_planes(self) -> int:
        return self._shape[3] if self.is_volumetric else 1

    @property
    def is_volumetric(self) -> bool:
        return len(self._shape) == 4

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        time, width, height, *depth = self._chunk
        return time, height, width, *depth

    def read(
        self, samples: Samples, rows: slice | None = None, columns: slice | None = None, planes: slice | None = None
    ) -> np.ndarray:
        first = samples if isinstance(samples, slice) else np.asarray(samples, np.int64)
        key = (
            first,
            columns or slice(None),
            rows or slice(None),
            *((planes or slice(None),) if self.is_volumetric else ()),
        )
        lengths = [
            len(range(*part.indices(n))) if isinstance(part, slice) else len(part)
            for part, n in zip(key, self._shape, strict=True)
        ]
        if 0 in lengths:
            return np.empty(lengths, self.dtype).swapaxes(1, 2)
        return np.require(self._stored(key), self.dtype, "W").swapaxes(1, 2)

    def close(self) -> None:
        """Forget the kept chunks; no file is open."""
        self._array.forget()

    def _stored(self, key: tuple[Any, ...]) -> np.ndarray:
        found = self._array.read(key)
        if self._array.has_met_missing and not self._missing.is_complete and not self._has_warned:
            self._has_warned = True
            warn(f"{printable(os.path.basename(os.path.normpath(self._folder)))}: {_LATE}")
        return found


class _ExternalPixels:
    """The TIFF files that an NWB file names, as one sequence of pages."""

    def __init__(self, path: str, series: Series) -> None:
        from roiextractors_tiff.pages import PageIndex

        name = printable(os.path.basename(os.path.normpath(path)))
        folder = os.path.dirname(os.path.abspath(path))
        self._words: list[str] = []
        names, self.first_frame = self._in_order(series, name)
        self.paths = tuple(_inside(folder, file, name) for file in names)
        self._index = PageIndex.of(list(self.paths))
        try:
            self._check(series, name)
        except (CorruptRecordingError, UnsupportedRecordingError):
            self._index.close()  # the caller gets no object to close
            raise

    def _in_order(self, series: Series, name: str) -> tuple[tuple[str, ...], int]:
        """Return the files in the order of their first frames, and the first frame of all."""
        files, starts = series.external_files, series.starting_frames
        self._starts = starts
        if len(starts) != len(files):
            self._starts = ()
            if starts:
                self._words.append(
                    f"{name}: starting_frame of {printable(series.path)} has {counted(len(starts), 'value')} for {counted(len(files), 'file')} and is not used"
                )
            return files, 0
        order = sorted(range(len(files)), key=lambda k: starts[k])
        if order != list(range(len(files))):
            self._words.append(f"{name}: the files of {printable(series.path)} are read in the order of starting_frame")
        self._starts = tuple(starts[k] for k in order)
        return tuple(files[k] for k in order), max(0, self._starts[0])

    def _check(self, series: Series, name: str) -> None:
        if self._index.samples_per_pixel != 1:
            raise UnsupportedRecordingError(
                f"{name}: the files of {printable(series.path)} have {self._index.samples_per_pixel} values for each pixel, expected 1"
            )
        self._refuse_more_axes(name)
        starts, pages = self._starts, self._index.pages_per_file
        counted = [self.first_frame + sum(pages[:k]) for k in range(len(pages))]
        # A gap or an overlap between files would shift the times of all later frames
        if len(pages) > 1 and starts and list(starts) != counted:
            raise CorruptRecordingError(
                f"{name}: starting_frame of {printable(series.path)} is {list(starts)[:6]}, but the pages of the files give {counted[:6]}; "
                "open the TIFF files themselves"
            )
        damaged = min(self._index.damaged, default=len(pages))
        if damaged + 1 < len(pages):
            raise CorruptRecordingError(
                f"{name}: the external file {printable(os.path.basename(self.paths[damaged]))!r} is damaged at "
                "its end, and nothing states which frame the next file begins with; open the TIFF files themselves"
            )
        self._count(series, name)

    def _refuse_more_axes(self, name: str) -> None:
        """Refuse files that ImageJ wrote with several channels or planes: NWB has no place for them in external files."""
        from roiextractors_tiff.arrangement import imagej_fields

        fields = imagej_fields(next(iter(self._index.descriptions(range(1))), b""))
        for key, word in (("channels", "channels"), ("slices", "planes")):
            # Without frames, slices can be time: ImageJ saves a plain stack as slices
            if fields.get(key, "1").isdigit() and int(fields.get(key, "1")) > 1 and fields.get("frames", "1") != "1":
                raise UnsupportedRecordingError(
                    f"{name}: the external file {printable(os.path.basename(self.paths[0]))!r} has {fields[key]} {word}, which a series of frames "
                    "cannot have; open that file itself"
                )

    def _count(self, series: Series, name: str) -> None:
        """Compare the number of pages with the number of frames that the series states."""
        stated, pages, first = series.num_frames, self._index.num_pages, self.first_frame
        if stated is None or stated == first + pages:
            return
        words = f"{name}: num_samples is {stated:,}, but the external files contain {pages:,}"
        if first:
            words += f" from frame {first:,} on"
        if stated and not first and pages % stated == 0:
            words += (
                f", exactly {pages // stated} times as many: they may be channels or planes; open the files themselves"
            )
        self._words.append(words)

    @property
    def missing(self) -> MissingChunks:
        return MissingChunks(0, 0, self.num_samples, self.num_samples)

    def get_warnings(self, name: str) -> tuple[str, ...]:
        return tuple(self._words)

    def get_notes(self, name: str) -> tuple[str, ...]:
        return (*self._words, *self._index.notes)  # those of the files were issued when they were opened

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._index.dtype

    @property
    def num_samples(self) -> int:
        return self._index.num_pages

    @property
    def frame_shape(self) -> tuple[int, int]:
        return self._index.page_shape

    @property
    def num_planes(self) -> int:
        return 1

    @property
    def is_volumetric(self) -> bool:
        return False

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        return (1, *self.frame_shape)

    def read(
        self, samples: Samples, rows: slice | None = None, columns: slice | None = None, planes: slice | None = None
    ) -> np.ndarray:
        wanted = np.arange(samples.start, samples.stop, dtype=np.int64) if isinstance(samples, slice) else samples
        return self._index.read(wanted, rows or slice(None), columns or slice(None))

    def close(self) -> None:
        self._index.close()


def _inside(folder: str, file: str, name: str) -> str:
    """Return the path of an external file, which must be in the NWB file's folder or below it."""
    # The file may come from another system: the rules of both Windows and POSIX apply
    parts = _parts(file)
    if (
        "://" in file
        or posixpath.isabs(file)
        or ntpath.isabs(file)
        or ntpath.splitdrive(file)[0]
        or ".." in parts
        or "\0" in file
    ):
        raise UnsupportedRecordingError(
            f"{name} names the external file {printable(file)!r}, which is outside its folder and is not followed; "
            "open that file itself"
        )
    place = os.path.join(folder, *parts)
    if not os.path.isfile(place):
        raise SourceNotFoundError(f"{name} names the external file {printable(file)!r}, which does not exist")
    if not _is_tiff(place):
        raise UnsupportedRecordingError(
            f"{name} names the external file {printable(file)!r}, which is not a TIFF; open that file itself"
        )
    return place


def _parts(file: str) -> Sequence[str]:
    # Programs on Windows write backslashes
    return [part for part in file.replace("\\", "/").split("/") if part not in ("", ".")]


def _is_tiff(place: str) -> bool:
    # 42 (*) is TIFF and 43 (+) BigTIFF, in either byte order
    return read_bounded(place, 4, count=4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

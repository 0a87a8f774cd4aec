"""Reads Inscopix movies: stored frames at computed offsets, and zeros for samples that were never stored."""

from __future__ import annotations

import os
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from roiextractors_core.errors import ChoiceError, RoiExtractorsWarning
from roiextractors_core.imaging import BlockImagingExtractor, Samples
from roiextractors_core.io import PositionedFile, StoredFrames, single_file, warn
from roiextractors_core.metadata import RecordingMetadata

from .acquisition import metadata_of
from .footer import FRAME_HEADER_BYTES, Movie, find, movie_of, read_footer

__all__ = ["InscopixImagingExtractor"]

_DTYPES = {0: "<u2", 1: "<f4", 2: "u1"}
# Byte offsets in a frame's header, as in isxcore: the focus takes 2 pixels, the time stamp 8. The sensor has 12 bits in
# 16-bit pixels, and the microscope puts one byte into bits 4 to 11 of each; hence the shift by 4 where they are read.
_FOCUS_OFFSET, _TIMESTAMP_OFFSET = 1270 * 2, 1272 * 2
_MAX_PLANES = 64
_SENSOR_BITS = 12  # of the frames as the microscope records them, which still have their headers


class InscopixImagingExtractor(BlockImagingExtractor):
    """An Inscopix movie or image: ``(samples, rows, columns)``, or volumes if its focal planes are deinterleaved.

    Samples that the footer lists as dropped, cropped or blank are not in the file.  As in the vendor's library, they
    keep their index and time, and their pixels are 0; :meth:`get_missing_samples` returns them.

    Parameters
    ----------
    file_path : str or os.PathLike
        An ``.isxd`` file.
    deinterleave : bool
        The frames of a multiplane recording cycle through its focal planes.  False returns them one after the other, as
        the vendor's library does; True returns volumes, with the planes in the order of the cycle.
    sampling_frequency : float, optional
        Samples per second (Hz); overrides the file's rate.

    Raises
    ------
    UnsupportedRecordingError
        A cell set, an event set, or another kind of ``.isxd`` file; colour pixels.
    TruncatedRecordingError
        The file ends without a footer.
    CorruptRecordingError
        The footer contradicts itself or the size of the file.
    ChoiceError
        ``deinterleave=True`` for a recording whose frames do not cycle through focal planes.

    Warns
    -----
    IncompleteRecordingWarning
        Samples are missing according to the footer; the last volume is incomplete and was left out.
    RoiExtractorsWarning
        There are more frames in the file than the footer describes.

    Notes
    -----
    The period is the footer's; if the frame headers contain the time stamp counter, it is the mean interval of the
    counter between the first and the last stored frame.  The time of sample ``i`` is ``i`` periods; if samples are
    missing, these are the native timestamps.  :meth:`get_frame_timestamps` returns the counter itself.

    References
    ----------
    The vendor's open-source core, https://github.com/inscopix/isxcore: ``isxMosaicMovieFile.cpp`` and
    ``isxTimingInfo.cpp``.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        deinterleave: bool = False,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._file = PositionedFile(single_file(file_path))
        self._footer = read_footer(self._file.read, self._file.size, self._file.name)
        self._movie = movie_of(self._footer, self._file.name)
        self._frames = StoredFrames(
            (self._file,), shape=(self._movie.rows, self._movie.columns), dtype=_DTYPES[self._movie.data_type]
        )
        self._storage = _Storage(self._movie)
        # The footer's period is nominal, so the vendor's library measures it too
        self._period = self._measured_period() or self._movie.timing.period
        self._cycle = self._focus_cycle()
        self._planes = len(self._require_cycle()) if deinterleave else 1
        self.is_volumetric = deinterleave
        for words in (self._missing_note, self._left_over):
            if words:
                warn(f"{self._file.name}: {words}")
        if self._excess_frames:
            warn(f"{self._file.name}: {self._excess_note}", RoiExtractorsWarning)

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._movie.rows, self._movie.columns

    def get_num_samples(self) -> int:
        """Return the number of frames, including those that were never stored; or of complete volumes."""
        return self._movie.num_samples // self._planes

    def get_num_planes(self) -> int:
        """Return the number of focal planes of a sample; 1 for a movie."""
        return self._planes

    def get_dtype(self) -> np.dtype[Any]:
        """Return uint16, float32 or uint8."""
        return self._frames.dtype.newbyteorder("=")

    def get_sampling_frequency(self) -> float | None:
        """Return samples per second (Hz), or None if the footer has no period."""
        period = self._period * self._planes
        return 1 / (period.numerator / period.denominator) if period else None

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        """Return a part of the recording; see :meth:`ImagingExtractor.get_block`."""
        self.check_open()
        indices = np.arange(samples.start, samples.stop) if isinstance(samples, slice) else samples
        if not self.is_volumetric:
            return self._read(indices, rows, columns)
        chosen = np.arange(self._planes)[slice(None) if planes is None else planes]
        frames = indices[:, None] * self._planes + chosen
        pixels = self._read(frames.ravel(), rows, columns)
        return np.moveaxis(pixels.reshape(*frames.shape, *pixels.shape[1:]), 1, 3)

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times of the samples if some are missing; None otherwise, because the rate then gives all of them.

        Parameters
        ----------
        start_sample, end_sample : int, optional
            As in :meth:`get_series`.

        Returns
        -------
        numpy.ndarray or None
            Seconds since sample 0, float64: whole periods, equal to the vendor's times.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        if not self._movie.timing.missing or not self._period:
            return None
        return self._movie.timing.times(start, end, self._period * self._planes)

    def get_frame_timestamps(self) -> np.ndarray | None:
        """Return the time stamp counter of the acquisition box for every frame, from the frame headers.

        Returns
        -------
        numpy.ndarray or None
            Microseconds, uint64, one per frame (not per volume), 0 for a frame that is not stored; None if the headers
            contain no counter.
        """
        self.check_open()
        if not self._movie.has_timestamps:
            return None
        return self._counters(np.arange(self._movie.num_samples, dtype=np.int64))

    keeps_missing_samples = True

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples that are not stored and read as 0: dropped, cropped and blank ones.

        Returns
        -------
        numpy.ndarray
            Indices of frames, or of volumes that lack a plane; int64, ascending.
        """
        frames = self._movie.timing.missing_indices()
        return frames if self._planes == 1 else np.unique(frames // self._planes)

    def get_metadata(self) -> RecordingMetadata:
        """Return the footer's metadata; ``vendor`` is the footer itself plus the vendor's ``acquisition`` info."""
        return self._metadata

    def get_notes(self) -> tuple[str, ...]:
        """Return what was decided or left out while opening."""
        return tuple(
            note for note in (self._missing_note, self._cycle_note, self._excess_note, self._left_over) if note
        )

    def close(self) -> None:
        """Release the file."""
        self._file.close()
        super().close()

    @cached_property
    def _metadata(self) -> RecordingMetadata:
        recorded = self._movie.has_frame_headers and self._movie.data_type == 0
        return metadata_of(self._footer.document, self._movie.timing, bit_depth=_SENSOR_BITS if recorded else None)

    def _read(self, frames: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Return ``(frames, rows, columns)``; frames that are not stored are zeros."""
        offsets, stored = self._storage.offsets(frames)
        if stored.all():
            return self._frames.read(offsets, rows, columns)
        pixels = self._frames.read(offsets[stored], rows, columns)
        result = np.zeros((len(frames), *pixels.shape[1:]), pixels.dtype)
        result[stored] = pixels
        return result

    def _header_pixels(self, frames: np.ndarray, offset: int, count: int) -> np.ndarray:
        """Return the bytes stored in some pixels of the frame headers, ``(frames, count)``."""
        offsets, stored = self._storage.offsets(frames)
        header = StoredFrames((self._file,), shape=(1, count), dtype="<u2")
        result = np.zeros((len(frames), count), np.uint64)
        result[stored] = header.read(offsets[stored] - FRAME_HEADER_BYTES + offset)[:, 0] >> 4
        return result

    def _counters(self, frames: np.ndarray) -> np.ndarray:
        pixels = self._header_pixels(frames, _TIMESTAMP_OFFSET, 8)
        places = np.arange(8, dtype=np.uint64) * np.uint64(8)
        counters: np.ndarray = np.bitwise_or.reduce(pixels << places, axis=1)
        return counters

    def _measured_period(self) -> Fraction | None:
        """Return the mean interval of the time stamps between the first and the last stored frame."""
        if not self._movie.has_timestamps or not self._movie.num_stored:
            return None
        ends = self._storage.ends()
        first, last = (int(counter) for counter in self._counters(np.array(ends)))
        between = ends[1] - ends[0]  # missing frames included: the counter ran on
        return Fraction(last - first, between * 1_000_000) if between > 1 and first < last else None

    def _focus_cycle(self) -> tuple[int, ...]:
        """Return the electronic focus of each plane if the frames cycle through several planes; else an empty tuple."""
        microscope = find(self._footer.document, "extraProperties.microscope.multiplane")
        planes = find(microscope, "activePlanes")
        if not self._movie.has_timestamps or find(microscope, "enabled") is not True:
            return ()
        if type(planes) is not int or not 1 < planes <= min(_MAX_PLANES, self._movie.num_samples):
            return ()
        # two cycles are enough: distinct focus values in the first, and the same ones again in the second
        pixels = self._header_pixels(np.arange(min(2 * planes, self._movie.num_samples)), _FOCUS_OFFSET, 2)
        focus = (pixels[:, 0] | pixels[:, 1] << np.uint64(8)).tolist()
        stored = self._storage.offsets(np.arange(len(focus)))[1]
        cycle, again = focus[:planes], focus[planes:]
        # A frame that is not stored has no header, so its focus proves nothing
        repeats = all(a == b for a, b, known in zip(cycle, again, stored[planes:], strict=False) if known)
        return tuple(cycle) if len(set(cycle)) == planes and stored[:planes].all() and repeats else ()

    def _require_cycle(self) -> tuple[int, ...]:
        if not self._cycle:
            raise ChoiceError(
                f"the frames of {self._file.name} do not cycle through focal planes, so there is nothing to deinterleave; "
                "omit deinterleave="
            )
        return self._cycle

    @property
    def _left_over(self) -> str:
        rest = self._movie.num_samples % self._planes
        return f"the last volume has {rest} of {self._planes} planes and was left out" if rest else ""

    @property
    def _missing_note(self) -> str:
        words = self._movie.timing.missing_words
        return f"{words} of {self._movie.num_samples:,} frames are not stored; their pixels are 0" if words else ""

    @property
    def _cycle_note(self) -> str:
        if not self._cycle or self.is_volumetric:
            return ""
        return (
            f"the frames cycle through {len(self._cycle)} focal planes (electronic focus {', '.join(map(str, self._cycle))}) "
            "and are returned one after the other; deinterleave=True returns volumes"
        )

    @property
    def _excess_note(self) -> str:
        excess = self._footer.start - self._movie.stored_bytes
        frames = f", which is exactly {self._excess_frames:,} more frames" if self._excess_frames else ""
        return f"the footer does not account for {excess:,} bytes after the last frame{frames}" if excess else ""

    @property
    def _excess_frames(self) -> int:
        """How many whole frames there are that the footer does not describe."""
        frames, rest = divmod(self._footer.start - self._movie.stored_bytes, self._movie.step)
        return 0 if rest else frames


class _Storage:
    """The byte offset of each frame's pixels, and which frames have none.

    Parameters
    ----------
    movie : Movie
    """

    def __init__(self, movie: Movie) -> None:
        runs = np.array(movie.timing.missing, np.int64).reshape(-1, 2)
        self._firsts, self._lasts = runs[:, 0], runs[:, 1]
        self._missing_before = np.concatenate([[0], np.cumsum(self._lasts - self._firsts + 1)])
        self._step = movie.step
        self._skip = FRAME_HEADER_BYTES if movie.has_frame_headers else 0
        self._count = movie.num_samples

    def offsets(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the byte offset of each frame's pixels, and whether the frame is stored (if not, ignore its offset)."""
        # one entry per run of missing frames, not per frame: the index stays small however long the recording is
        run = np.searchsorted(self._firsts, frames, side="right")
        stored = np.ones(len(frames), bool)
        inside = np.flatnonzero(run)
        stored[inside] = frames[inside] > self._lasts[run[inside] - 1]
        return (frames - self._missing_before[run]) * self._step + self._skip, stored

    def ends(self) -> tuple[int, int]:
        """Return the first and the last stored frame."""
        first, last = 0, self._count - 1
        if len(self._firsts) and self._firsts[0] == 0:
            first = int(self._lasts[0]) + 1
        if len(self._lasts) and self._lasts[-1] == last:
            last = int(self._firsts[-1]) - 1
        return first, last

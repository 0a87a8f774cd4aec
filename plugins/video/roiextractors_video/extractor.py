"""Reads a video file as a recording of one channel."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from roiextractors_core import ChannelMetadata, ImagingExtractor, RecordingMetadata
from roiextractors_core.errors import SourceKindError, StreamChoiceError, printable
from roiextractors_core.io import silenced, warn

from .frames import VideoFrames, open_frames

__all__ = ["VideoImagingExtractor"]


class VideoImagingExtractor(ImagingExtractor):
    """A video file as a recording.

    Parameters
    ----------
    file_path : str or os.PathLike
        One file; AVI, MP4, MOV, Matroska, MPEG, ASF.
    sampling_frequency : float, optional
        Frames a second (Hz); it wins over the stream's.
    channel : str, optional
        For a video in colour: ``"grey"`` (the field's usual weights of red, green and blue, equal to OpenCV's), ``"red"``,
        ``"green"``, ``"blue"``, and where luma is stored ``"luma"``, as stored.  A video stored in colour that shows none
        in its first, middle and last key frame needs no choice: it is read as ``"grey"``, and a note says so.

    Raises
    ------
    StreamChoiceError
        The video shows colour and no channel, or one that is not there, was named.
    CorruptRecordingError, UnsupportedRecordingError
        The message names the file, the frame and the byte.

    References
    ----------
    Microsoft, "AVI RIFF File Reference"; OpenDML AVI File Format Extensions 1.02; RFC 9043 (FFV1); FFmpeg, through PyAV.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        sampling_frequency: float | None = None,
        channel: str | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._path = _one_file(file_path)
        self._frames = open_frames(self._path)
        try:
            self._channel, self._is_found_grey = _chosen(self._frames, channel)
        except BaseException:
            self._frames.close()
            raise
        for problem in self._frames.problems:
            warn(problem)

    def get_image_shape(self) -> tuple[int, int]:
        return self._frames.rows, self._frames.columns

    def get_num_samples(self) -> int:
        return self._frames.num_frames

    def get_dtype(self) -> np.dtype[Any]:
        return self._frames.dtype

    def get_sampling_frequency(self) -> float | None:
        """Return the stream's rate in frames a second (Hz), where its times bear it out."""
        return self._frames.rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times that the stream bears, in seconds.

        AVI bears none: its frames are counted at a steady rate, so that there are times only where it holds places
        without a picture.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        times = self._frames.times
        return None if times is None else np.array(times[start:end], np.float64)

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        return self._frames.read(np.arange(start, end), channel=self._channel)

    def get_samples(self, sample_indices: Any) -> np.ndarray:
        return self._frames.read(self.resolve_indices(sample_indices), channel=self._channel)

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        indices = np.arange(samples.start, samples.stop) if isinstance(samples, slice) else samples
        return self._frames.read(indices, rows=rows, columns=columns, channel=self._channel)

    def get_metadata(self) -> RecordingMetadata:
        channels = (ChannelMetadata(self._channel),) if self._frames.channels else ()
        return RecordingMetadata(channels=channels, vendor={"codec": self._frames.codec})

    def get_notes(self) -> tuple[str, ...]:
        notes = (*self._frames.problems, *self._frames.notes)
        if self._is_found_grey:
            notes += (
                f"{self._frames.name} is stored in colour and shows none in its first, middle and last key frame: read as grey",
            )
        return notes

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels of a video that shows colour; nothing for a grey one."""
        with_channel = {key: value for key, value in options.items() if key != "channel"}
        try:
            with silenced():
                with cls(file_path, **with_channel):
                    return {}
        except StreamChoiceError as error:
            return {error.option: tuple(str(choice) for choice in error.choices)}

    def close(self) -> None:
        self._frames.close()
        super().close()


def _one_file(file_path: Any) -> str:
    if not isinstance(file_path, str | os.PathLike):
        paths = list(file_path)
        if len(paths) != 1:
            raise SourceKindError(
                f"a video is one file, and {len(paths)} were given; open each, and join them: roi.concatenate([...])"
            )
        file_path = paths[0]
    path = str(os.fspath(file_path))
    if os.path.isdir(path):
        raise SourceKindError(f"{printable(path)} is a folder; pass the video file in it")
    return path


def _chosen(frames: VideoFrames, channel: str | None) -> tuple[str, bool]:
    """Return the channel, and whether it is grey because no colour was found."""
    if channel is None and frames.channels and not frames.has_colour():
        return "grey", True
    return frames.checked_channel(channel), False

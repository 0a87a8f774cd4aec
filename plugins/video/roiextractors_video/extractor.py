"""Reads a video file as a recording of one channel."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from roiextractors_core import BlockImagingExtractor, ChannelMetadata, RecordingMetadata
from roiextractors_core.errors import RoiExtractorsWarning, StreamChoiceError
from roiextractors_core.io import silenced, single_file, unread_descriptions, warn

from .clock import times_beside
from .frames import VideoFrames, open_frames
from .times import rate_of

__all__ = ["VideoImagingExtractor"]


class VideoImagingExtractor(BlockImagingExtractor):
    """A video file as a recording.

    Parameters
    ----------
    file_path : str or os.PathLike
        One file: AVI, MP4, MOV, Matroska, MPEG or ASF.
    sampling_frequency : float, optional
        Frames a second (Hz); it wins over the stream's.
    channel : str, optional
        For a video in colour: ``"grey"`` (weights of ITU-R BT.601, equal to OpenCV's), ``"red"``, ``"green"``, ``"blue"``
        and, if luma is stored, ``"luma"`` as stored.  A video that is stored in colour but shows none in its first, middle
        and last key frame is read as ``"grey"`` without a choice, and a note says so.

    Raises
    ------
    StreamChoiceError
        The video shows colour and no channel was chosen, or the chosen one does not exist.
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
        self._path = os.path.abspath(single_file(file_path))
        self._frames = open_frames(self._path)
        try:
            self._channel, self._is_found_grey = _choose_channel(self._frames, channel)
        except BaseException:
            self._frames.close()
            raise
        self._noted = None if self._frames.problems else times_beside(self._path, self._frames.num_frames)
        for problem in self._frames.problems:
            warn(problem)
        # Often the times of the frames
        self._unread = unread_descriptions(self._path)
        if self._unread:
            warn(self._unread, RoiExtractorsWarning)

    def get_image_shape(self) -> tuple[int, int]:
        return self._frames.rows, self._frames.columns

    def get_num_samples(self) -> int:
        return self._frames.num_frames

    def get_dtype(self) -> np.dtype[Any]:
        return self._frames.dtype

    def get_sampling_frequency(self) -> float | None:
        """Return the rate (Hz) of the times in a list beside the video; else the stream's, if its times agree with it."""
        return self._frames.rate if self._noted is None else rate_of(self._noted.times)

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times in the stream, in seconds.

        AVI has none: its frames are counted at a constant rate.  Times exist only if it has places without a picture, or if
        a list of a behaviour camera beside it has one for each frame.
        """
        start, end = self.resolve_range(start_sample, end_sample)
        times = self._frames.times if self._noted is None else self._noted.times
        return None if times is None else np.array(times[start:end], np.float64)

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        indices = np.arange(samples.start, samples.stop) if isinstance(samples, slice) else samples
        return self._frames.read(indices, rows=rows, columns=columns, channel=self._channel)

    def get_metadata(self) -> RecordingMetadata:
        channels = (ChannelMetadata(self._channel),) if self._frames.channels else ()
        return RecordingMetadata(
            channels=channels, bit_depth=self._frames.pixels.bits, vendor={"codec": self._frames.codec}
        )

    def get_notes(self) -> tuple[str, ...]:
        notes = (*self._frames.problems, *self._frames.notes, *filter(None, (self._unread,)))
        if self._noted is not None:
            notes += (f"{self._frames.name}: {self._noted.note}",)
        if self._is_found_grey:
            notes += (
                f"{self._frames.name} is stored in colour but shows none in its first, middle and last key frame; reading it as grey",
            )
        return notes

    def get_paths(self) -> tuple[str, ...]:
        """Return the video, and the list of its times if that is used."""
        listed = [] if self._noted is None else [os.path.abspath(self._noted.path)]
        return tuple(dict.fromkeys([*super().get_paths(), *listed]))

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels of a video that shows colour; none for a grey one."""
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


def _choose_channel(frames: VideoFrames, channel: str | None) -> tuple[str, bool]:
    """Return the channel, and whether it is grey because the video shows no colour."""
    if channel is None and frames.channels and not frames.has_colour():
        return "grey", True
    return frames.checked_channel(channel), False

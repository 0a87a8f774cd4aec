"""The frames of one video file: an exact index made without decoding, and fast reads of any of them.

Uncompressed, FFV1 and Motion JPEG frames are found in the file by offset and size, read at their positions and decoded
on all cores, each run from its key frame; other codecs are decoded by FFmpeg from the key frame before what is wanted.
"""

from __future__ import annotations

import os

from roiextractors_core.io import PositionedFile

from .avi import avi_index, is_avi
from .base import VideoFrames
from .stored import stored_frames
from .streamed import demuxed_frames

__all__ = ["VideoFrames", "open_frames"]


def open_frames(path: str | os.PathLike[str]) -> VideoFrames:
    """Index a video file.

    Of AVI with uncompressed, FFV1 or Motion JPEG frames, nothing is decoded and no frame is read but the first's header.

    Parameters
    ----------
    path : str or os.PathLike

    Raises
    ------
    CorruptRecordingError, UnsupportedRecordingError
        The file is damaged beyond reading, holds no video, or one whose frames are too large.
    """
    file = PositionedFile(path)
    try:
        index = avi_index(file) if is_avi(file) else None
        found = None if index is None else stored_frames(file, index)
        return found or demuxed_frames(file, index)
    except BaseException:
        file.close()
        raise

"""The frames of one video file: an exact index made without decoding, and fast reads of any of them.

Uncompressed, FFV1 and Motion JPEG frames are found in the file by offset and size, read at their positions and decoded
on all cores, each run from its key frame; other codecs are decoded by FFmpeg from the preceding key frame.
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

    For AVI with uncompressed, FFV1 or Motion JPEG frames, it decodes nothing and reads only the header of the first frame.

    Parameters
    ----------
    path : str or os.PathLike

    Raises
    ------
    CorruptRecordingError, UnsupportedRecordingError
        The file is too damaged to read, contains no video, or its frames are too large.
    """
    file = PositionedFile(path)
    try:
        index = avi_index(file) if is_avi(file) else None
        found = None if index is None else stored_frames(file, index)
        return found or demuxed_frames(file, index)
    except BaseException:
        file.close()
        raise

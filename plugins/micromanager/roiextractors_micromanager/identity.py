"""Compares the metadata of each frame, written after its pixels, with its entry in the index."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, printable
from roiextractors_core.io import PositionedFile

from .table import FrameTable

__all__ = ["FrameIdentity", "unwritten_frames"]

_AXES = '"Axes"'
_DECODER = json.JSONDecoder()
_PIXEL_BYTES = {"GRAY8": 1, "GRAY16": 2}


class FrameIdentity:
    """Verifies that an NDTiff index points at its frames, and that their own metadata give the same axes.

    An index of another acquisition with the same settings matches the first frames of a file, but not those after metadata
    of another length: their pixels would come from between two frames.

    Parameters
    ----------
    name : str
        The dataset, for messages.
    table : FrameTable
    files : sequence of PositionedFile
        The files of the table.
    """

    def __init__(self, name: str, table: FrameTable, files: Sequence[PositionedFile]) -> None:
        self._name, self._table, self._files = name, table, files
        self._verified = np.zeros(len(table), bool)

    def require(self, frames: np.ndarray) -> None:
        """Verify frames that were not verified before.

        Raises
        ------
        CorruptRecordingError
            A frame differs from its entry in the index; the message names the file, the byte and both places.
        """
        for frame in frames[~self._verified[frames]].tolist():
            self._require_one(frame)
            self._verified[frame] = True

    def _require_one(self, frame: int) -> None:
        table = self._table
        file = self._files[int(table.numbers[frame])]
        offset, length = table.texts[frame].tolist()
        # Metadata that are missing contradict nothing, and the pixels before them may be complete
        if length <= 0 or offset + length > file.size:
            return
        # line ends are not removed: a directory of 13 or 10 tags, read as text, begins with one
        text = file.read(offset, length).rstrip(b"\0 ").decode("utf-8", "replace")
        if not (text.startswith("{") and text.endswith("}")):
            raise self._contradiction(frame, "the bytes there are not the metadata of a frame")
        described = table.axes_at(frame)
        seen = _axes_in(text)
        if _differ(seen, described):  # the same key may occur in a nested object, before that of the frame
            whole = _parsed(text)
            if whole is None:
                raise self._contradiction(frame, "the bytes there are not the metadata of a frame")
            axes = whole.get("Axes")
            seen = axes if isinstance(axes, dict) else {}
        if _differ(seen, described):
            raise self._contradiction(frame, f"the frame there is at {_words(seen)}")

    def require_shape(self, frame: int, text: Mapping[str, Any]) -> None:
        """Refuse a frame whose own metadata give another size or depth than the index."""
        table = self._table
        rows, columns = table.shapes[frame].tolist()
        seen = [text.get("Height"), text.get("Width")]
        # Some frames have no size in their metadata, which contradicts nothing
        if all(type(value) is int and value > 0 for value in seen) and seen != [rows, columns]:
            raise self._contradiction(
                frame,
                f"the metadata there describes {seen[0]:,} x {seen[1]:,} pixels, not {rows:,} x {columns:,}",
            )
        depth = _PIXEL_BYTES.get(str(text.get("PixelType")))
        if depth is not None and depth != table.depths[frame]:
            raise self._contradiction(
                frame, f"the metadata there describes pixels of {depth} bytes, not {int(table.depths[frame])}"
            )

    def _contradiction(self, frame: int, seen: str) -> CorruptRecordingError:
        table = self._table
        file = self._files[int(table.numbers[frame])]
        return CorruptRecordingError(
            f"{self._name}: the index says that {_words(table.axes_at(frame))} is at byte {int(table.offsets[frame]):,} of {file.name}, "
            f"but {seen}; the index is damaged or belongs to another acquisition. Copy the folder again, or move NDTiff.index to another "
            "folder: the frames are then found by their own metadata"
        )


def unwritten_frames(table: FrameTable, files: Sequence[PositionedFile], frames: Iterable[int]) -> set[int]:
    """Return the frames at the end of each file whose metadata are zeros: space that was allocated and never written.

    Parameters
    ----------
    table : FrameTable
    files : sequence of PositionedFile
    frames : iterable of int
        Frames that are inside their files.
    """
    chosen = np.fromiter(frames, np.int64)
    # file by file, and in each from its end
    ordered = chosen[np.lexsort((-table.texts[chosen, 0], table.numbers[chosen]))]
    edges = np.flatnonzero(np.diff(table.numbers[ordered], prepend=-1, append=-1))
    lost = set()
    for begin, end in itertools.pairwise(edges.tolist()):
        for frame in ordered[begin:end].tolist():
            file, (offset, length) = files[int(table.numbers[frame])], table.texts[frame].tolist()
            # Metadata begin with a brace; a frame without metadata counts as written
            start = file.read(offset, min(length, 64)) if length > 0 and offset < file.size else b"{"
            if start.strip(b"\0"):  # Micro-Manager only appends, so the frames before this one were written
                break
            lost.add(frame)
    return lost


def _axes_in(text: str) -> Mapping[str, Any]:
    """Return the first axes in the text, without parsing the rest: several kilobytes of settings for every frame."""
    at = text.find(_AXES)
    begin = text.find("{", at) if at >= 0 else -1
    if begin < 0 or text[at + len(_AXES) : begin].strip() != ":":
        return {}
    try:
        found, _ = _DECODER.raw_decode(text, begin)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _parsed(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _differ(seen: Mapping[str, Any], described: Mapping[str, Any]) -> bool:
    # An axis that the frame does not name contradicts nothing
    return any(seen[name] != value for name, value in described.items() if name in seen)


def _words(axes: Mapping[str, Any]) -> str:
    return printable(", ".join(f"{name}={value!r:.40}" for name, value in list(axes.items())[:6])) or "the only frame"

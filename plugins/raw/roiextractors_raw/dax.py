"""Reads DAX movies of the Zhuang lab: frames in a .dax file, described by the .inf file next to it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from roiextractors_core import RecordingMetadata
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    RoiExtractorsWarning,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import PositionedFile, single_file, warn

from .sidecar import count_frames, pair, text_of, whole_number
from .stored import StoredMovie, StoredMovieExtractor

__all__ = ["DaxImagingExtractor"]

_DIMENSIONS = re.compile(r"\(?(\d{1,7}) x (\d{1,7})\)?$")


class DaxImagingExtractor(StoredMovieExtractor):
    """A ``.dax`` movie of HAL or storm-analysis as a recording.

    Parameters
    ----------
    file_path : str or os.PathLike
        The ``.dax`` file, or the ``.inf`` next to it.
    byte_order : str, optional
        ``"big"`` or ``"little"``, if the ``.inf`` does not say it.
    sampling_frequency : float, optional
        Samples a second (Hz); by default ``Frames Per Second`` of the ``.inf``.

    Raises
    ------
    SourceNotFoundError
        One of the two files is missing.
    CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError
        The message names the line of the ``.inf``, or the sizes.

    References
    ----------
    storm-analysis, "Input (STORM movie) file formats"; the ``.inf`` files that HAL4000 (storm-control) writes.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        byte_order: str | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        dax, inf = pair(str(single_file(file_path)), movie=".dax", side=".inf", title="a DAX movie")
        file, side = PositionedFile(dax), printable(Path(inf).name)
        self._fields = _inf_fields(text_of(inf))
        rows, columns, notes = _frame_shape(self._fields, side)
        dtype = _dtype(self._fields, byte_order, side)
        said = whole_number(self._fields, "number of frames", side)
        count, more = count_frames(file, said, rows * columns * dtype.itemsize, side)
        contradiction = _other_size(self._fields, rows * columns, side)
        for words in contradiction:
            warn(words, RoiExtractorsWarning)
        self._notes = (*notes, *contradiction, *more)
        movie = StoredMovie(file, axes="TYX", shape=(count, rows, columns), dtype=dtype)
        super().__init__(movie, sampling_frequency=sampling_frequency, described_by=(dax, inf), num_described=said)
        self._notes += self.note_contradictions(fix="swap them in the frame dimensions of the .inf")

    def get_sampling_frequency(self) -> float | None:
        """Return HAL's ``Frames Per Second`` (Hz), or None if the file has no camera timing."""
        text = self._fields.get("frames per second", "")
        return float(text) if re.fullmatch(r"\d{1,9}(\.\d{1,30})?(e[+-]?\d{1,2})?", text) else None

    def get_metadata(self) -> RecordingMetadata:
        head, version = self._fields.get("camera head"), self._fields.get("software version")
        return RecordingMetadata(
            device=None if head in (None, "NA") else printable(head),
            software=f"HAL4000 {printable(version)}" if version else None,
            vendor=dict(self._fields),
        )

    def get_notes(self) -> tuple[str, ...]:
        return self._notes


def _inf_fields(text: str) -> dict[str, str]:
    """Return the lines ``key = value``, keys in lower case."""
    lines = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in lines}


def _frame_shape(fields: dict[str, str], side: str) -> tuple[int, int, tuple[str, ...]]:
    """Return rows, columns and a note: columns come first, unless the region of the camera says otherwise."""
    text = fields.get("frame dimensions")
    found = _DIMENSIONS.match(text or "")
    if found is None or 0 in map(int, found.groups()):
        raise CorruptRecordingError(
            f"{side} says frame dimensions = {printable(text)[:40]!r}, expected 'columns x rows'"
            if text
            else f"{side} has no 'frame dimensions', which are needed to read the frames in the .dax"
        )
    columns, rows = int(found[1]), int(found[2])
    region = _extent(fields, "y"), _extent(fields, "x")
    if region == (columns, rows) and rows != columns:
        note = (
            f"{side} writes the frame dimensions as rows x columns: x_end and y_end show frames of {columns} x {rows}"
        )
        return columns, rows, (note,)
    return rows, columns, ()


def _other_size(fields: dict[str, str], pixels: int, side: str) -> tuple[str, ...]:
    """Return a sentence where the number of pixels differs from the frame dimensions."""
    text = fields.get("frame size", "")
    if not re.fullmatch(r"\d{1,14}", text) or int(text) == pixels:
        return ()
    return (
        f"{side} contradicts itself: it says frames of {int(text):,} pixels (frame size), but its frame dimensions are {pixels:,} "
        "pixels; reading by the dimensions",
    )


def _extent(fields: dict[str, str], axis: str) -> int | None:
    ends = [fields.get(f"{axis}_{which}", "") for which in ("start", "end")]
    if not all(re.fullmatch(r"\d{1,7}", end) for end in ends):
        return None
    return int(ends[1]) - int(ends[0]) + 1


def _dtype(fields: dict[str, str], byte_order: str | None, side: str) -> np.dtype[np.unsignedinteger]:
    text = fields.get("data type", "")
    bits = re.search(r"(\d{1,3}) bit integers", text)
    if bits is None or bits[1] not in ("8", "16", "32"):
        raise UnsupportedRecordingError(
            f"{side} says data type = {printable(text)[:60]!r}; 8, 16 and 32 bit integers are supported"
        )
    ordered = re.search(r"\b(big|little) endian", text)
    # A pixel of one byte has no byte order, so 8-bit movies need none
    order = byte_order or (ordered[1] if ordered else "" if bits[1] != "8" else "little")
    if order not in ("big", "little"):
        raise ChoiceError(
            f"{side} does not say whether the data are big or little endian; pass the byte order: open(..., byte_order='big')"
            if byte_order is None
            else f"byte_order must be 'big' or 'little', got {byte_order!r:.40}"
        )
    return np.dtype(f"{'>' if order == 'big' else '<'}u{int(bits[1]) // 8}")

"""The text file next to a movie that describes its bytes: found by its stem, read as lines."""

from __future__ import annotations

import os
from pathlib import Path

from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsWarning,
    SourceNotFoundError,
    TruncatedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io import PositionedFile, warn

__all__ = ["beside", "count_frames", "pair", "text_of", "whole_number"]

_MAX_BYTES = 4 << 20
_MAX_NUMBER = 1 << 40
_OTHER = (
    "may belong to another recording or state a wrong frame size; if you know the layout: open(..., "
    "format='raw', shape=(rows, columns), dtype='<u2')"
)


def pair(path: str, *, movie: str, side: str, title: str) -> tuple[str, str]:
    """Return the movie's path and that of the file that describes it, whichever of the two was given.

    Parameters
    ----------
    path : str
        Either of them; a movie may have any suffix.
    movie, side : str
        The suffixes, with their dot.
    title : str
        The format, for the message.

    Raises
    ------
    SourceNotFoundError
        The other file is missing; the message names it.
    """
    given_side = path.lower().endswith(side)
    other = beside(path, movie if given_side else side)
    if other is None:
        name, missing = (printable(Path(p).name) for p in (path, Path(path).with_suffix(movie if given_side else side)))
        what = (
            f"{name} describes {title} whose pixels are in"
            if given_side
            else f"to read {name}, {title}, its description is needed:"
        )
        advice = (
            "" if given_side else "; or pass the layout: open(..., format='raw', shape=(rows, columns), dtype='<u2')"
        )
        raise SourceNotFoundError(f"{what} {missing}, which does not exist; copy it into the same folder{advice}")
    return (other, path) if given_side else (path, other)


def beside(path: str, suffix: str) -> str | None:
    """Return the file with the same stem and this suffix in any case, or None."""
    wanted = Path(path).with_suffix(suffix)
    if wanted.is_file():
        return str(wanted)
    try:
        names = os.listdir(wanted.parent)
    except OSError:
        return None
    name = next((n for n in sorted(names) if n.lower() == wanted.name.lower()), None)
    return None if name is None else str(wanted.with_name(name))


def text_of(path: str) -> str:
    """Return a side file's text.

    Raises
    ------
    CorruptRecordingError
        More than 4 MiB, or not text.
    """
    file = PositionedFile(path)
    try:
        raw = file.read(0, _MAX_BYTES + 1)
    finally:
        file.close()
    if len(raw) > _MAX_BYTES or b"\0" in raw:
        what = (
            f"longer than {_MAX_BYTES:,} bytes" if len(raw) > _MAX_BYTES else "not a text file: it contains NUL bytes"
        )
        raise CorruptRecordingError(f"{file.name} is {what}; expected a short text that describes the movie")
    return raw.decode("utf-8-sig", "replace")


def whole_number(fields: dict[str, str], key: str, name: str) -> int:
    """Return a field that must be a whole number of 1 or more.

    Raises
    ------
    CorruptRecordingError
        It is missing or something else; the message names the file and the key.
    """
    text = fields.get(key)
    if text is None:
        raise CorruptRecordingError(f"{name} has no {key!r}, which is needed to read the movie")
    # str.isdigit alone accepts "²"
    if not (text.isascii() and text.isdigit() and len(text) < 14 and 0 < int(text) < _MAX_NUMBER):
        raise CorruptRecordingError(
            f"{name} says {key} = {printable(text)[:40]!r}, which is not an integer of 1 or more"
        )
    return int(text)


def count_frames(file: PositionedFile, said: int, frame_bytes: int, side: str) -> tuple[int, tuple[str, ...]]:
    """Return the number of complete frames, and a note if the file and its description differ.

    Parameters
    ----------
    file : PositionedFile
    said : int
        The number of frames according to the description.
    frame_bytes : int
    side : str
        The name of the description.

    Raises
    ------
    TruncatedRecordingError
        There is not one complete frame.
    """
    count, left = divmod(file.size, frame_bytes)
    if count == 0:
        raise TruncatedRecordingError(
            f"{file.name} has {file.size:,} bytes, less than one frame ({frame_bytes:,} bytes according to {side})"
        )
    more = f" and {left:,} bytes of another" if left else ""
    if count < said:
        factor, rest = divmod(said, count)
        # An exact fraction suggests a wrong frame size rather than an interrupted copy
        hint = "" if left or rest else f". It is exactly 1/{factor}, so {side} {_OTHER}"
        note = f"{file.name} is truncated: it contains {count:,} complete frames{more}, but {side} says {said:,}; reading the complete frames{hint}"
        warn(note)
        return count, (note,)
    # Before the count is compared: extra bytes that are not whole frames are not taken for frames
    if left:
        return said, (
            f"{file.name} has {file.size - said * frame_bytes:,} bytes after the {said:,} frames that {side} describes; they are ignored",
        )
    if count > said:
        note = f"{file.name} contains {counted(count, 'frame')}, but {side} says {said:,}; reading all {count:,}"
        factor, rest = divmod(count, said)
        if not rest:
            note += f". It is exactly {factor} times as many, so {side} {_OTHER}"
            warn(note, RoiExtractorsWarning)
        return count, (note,)
    return count, ()

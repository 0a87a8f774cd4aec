"""The file beside a movie that says what its bytes are: found by the stem, read as lines."""

from __future__ import annotations

import os
from pathlib import Path

from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceNotFoundError,
    TruncatedRecordingError,
    printable,
)
from roiextractors_core.io import PositionedFile, warn

__all__ = ["beside", "fitted_count", "pair", "text_of", "whole_number"]

_MAX_BYTES = 4 << 20
_MAX_NUMBER = 1 << 40


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
        The other file is not there; the message names it.
    """
    given_side = path.lower().endswith(side)
    other = beside(path, movie if given_side else side)
    if other is None:
        name, missing = (printable(Path(p).name) for p in (path, Path(path).with_suffix(movie if given_side else side)))
        what = (
            f"{name} describes {title}, and its pixels are in" if given_side else f"{title} needs, beside {name}, its"
        )
        advice = (
            "" if given_side else "; or say what it says: open(..., format='raw', shape=(rows, columns), dtype='<u2')"
        )
        raise SourceNotFoundError(f"{what} {missing}, which is not there; copy it there{advice}")
    return (other, path) if given_side else (path, other)


def beside(path: str, suffix: str) -> str | None:
    """Return the file with the same stem and this suffix, compared without regard to case, or None."""
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
        More than 4 MiB, or bytes that are no text.
    """
    file = PositionedFile(path)
    try:
        raw = file.read(0, _MAX_BYTES + 1)
    finally:
        file.close()
    if len(raw) > _MAX_BYTES or b"\0" in raw:
        what = f"over {_MAX_BYTES:,} bytes long" if len(raw) > _MAX_BYTES else "no text: it holds NUL bytes"
        raise CorruptRecordingError(f"{file.name} is {what}, and should be a page of text that describes the movie")
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
        raise CorruptRecordingError(f"{name} does not say {key!r}; without it the bytes beside it cannot be read")
    if not (text.isascii() and text.isdigit() and len(text) < 14 and 0 < int(text) < _MAX_NUMBER):
        raise CorruptRecordingError(f"{name} says {key} = {printable(text)[:40]!r}, which is no number of 1 or more")
    return int(text)


def fitted_count(file: PositionedFile, said: int, frame_bytes: int, side: str) -> tuple[int, tuple[str, ...]]:
    """Return how many whole frames are read, and a note where the file and its description differ.

    Parameters
    ----------
    file : PositionedFile
    said : int
        The number of frames by the description.
    frame_bytes : int
    side : str
        The description's name.

    Raises
    ------
    TruncatedRecordingError
        Not one whole frame is there.
    """
    count, left = divmod(file.size, frame_bytes)
    if count == 0:
        raise TruncatedRecordingError(
            f"{file.name} holds {file.size:,} bytes, and by {side} one frame needs {frame_bytes:,}: not one is whole"
        )
    more = f" and {left:,} bytes of another" if left else ""
    if count < said:
        note = f"{file.name} holds {count:,} whole frames{more}, and {side} says {said:,}; the file is cut, and the whole frames are read"
        warn(note)
        return count, (note,)
    if left:
        return said, (
            f"{file.name} holds {file.size - said * frame_bytes:,} bytes behind the {said:,} frames that {side} says; they are left out",
        )
    if count > said:
        return count, (f"{file.name} holds {count:,} frames, and {side} says {said:,}; all {count:,} are read",)
    return count, ()

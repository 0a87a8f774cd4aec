"""Paths of recordings: the one that is a single file, and which files they were when a recording was pickled."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import SourceKindError, SourceNotFoundError, SourceReadError, printable
from .known import is_folder, status_of

__all__ = ["existing_paths", "file_name_key", "file_states", "require_same_files", "single_file"]

_MAX_FILES = 16  # of a long sequence, evenly spread ones are compared


def single_file(path: Any, *, hint: str = "", may_be_folder: bool = False) -> Path:
    """Return the path of a recording that is one file, given alone or as a list of one.

    Parameters
    ----------
    path : str, os.PathLike, or a sequence of one of them
        The source that the user passed.
    hint : str, optional
        What to do instead when there are several files; by default, to open each and join them with ``concatenate``.
    may_be_folder : bool
        Whether a folder is accepted too.

    Raises
    ------
    SourceKindError
        There are several files, or the path is a folder where a file is expected.
    """
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    if len(paths) != 1:
        raise SourceKindError(
            f"expected one file, got {len(paths):,}; "
            + (hint or "open each of them and join the recordings with roiextractors_core.concatenate")
        )
    single = Path(paths[0])
    if not may_be_folder and is_folder(single):
        raise SourceKindError(f"{printable(single)} is a folder; open the file inside it")
    return single


def file_name_key(name: str) -> str:
    """Return what two spellings of one file name have in common, to look up a name that another file states.

    Windows and macOS ignore the case of letters, and macOS may store an accent as a character of its own; a recording that was
    copied from there can have names on disk that differ so from those in its XML or index.

    Parameters
    ----------
    name : str
        Without a folder.
    """
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).lower()


def existing_paths(values: Iterable[Any]) -> list[str]:
    """Return the paths that exist among arguments, which may also be lists of paths, numbers or words."""
    listed = [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
    named = [os.fspath(item) for item in listed if isinstance(item, str | os.PathLike)]
    return [os.fsdecode(name) for name in named if os.path.exists(name)]


def file_states(paths: Sequence[str]) -> tuple[tuple[str, int, int, int, int], ...]:
    """Return what identifies files: path, device, inode, size in bytes and time of modification in nanoseconds.

    Parameters
    ----------
    paths : sequence of str
        Files; folders and paths that do not exist are left out. Of many, a few that are evenly spread are looked at.
    """
    step = max(1, -(-len(paths) // _MAX_FILES))
    chosen = dict.fromkeys([*paths[::step], *paths[-1:]])
    states = []
    for path in chosen:
        try:
            found = status_of(path)
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode):
            states.append((path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
    return tuple(states)


def require_same_files(states: Sequence[tuple[str, int, int, int, int]]) -> None:
    """Raise if a file is not the one that :func:`file_states` saw.

    Raises
    ------
    SourceNotFoundError
        It does not exist any more.
    SourceReadError
        It was replaced or modified.
    """
    for path, device, inode, size, modified in states:
        try:
            found = status_of(path)
        except OSError as error:
            raise SourceNotFoundError(f"{printable(path)} no longer exists: {error.strerror}") from error
        # The same file has another device number on another machine; then the inode cannot be compared either
        replaced = found.st_dev == device and found.st_ino != inode
        if replaced or (found.st_size, found.st_mtime_ns) != (size, modified):
            raise SourceReadError(
                f"{printable(path)} was replaced or modified since this recording was pickled; open it again"
            )

"""Which files a recording reads, however a path to one of them is spelled."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import SourceKindError, printable

__all__ = ["ReadFiles"]

_Identity = tuple[int, int]


class ReadFiles:
    """The files and folders that a recording reads, to be kept from a writer.

    Paths are compared by what they lead to, so that links, other spellings, and file systems that ignore case make no
    difference.

    Parameters
    ----------
    paths : iterable of str
        From ``get_paths``; a folder stands for everything inside it.
    option : str
        The option of the writer that the recording was passed as; empty for the recording itself.
    """

    def __init__(self, paths: Iterable[str], option: str = "") -> None:
        self._option = option
        self._paths = dict.fromkeys(map(os.path.realpath, paths))
        self._identities: dict[_Identity, str] = {}
        self._folders: dict[_Identity, str] = {}
        for path in self._paths:
            if (identity := _identity(path)) is not None:
                self._identities[identity] = path
                if os.path.isdir(path):
                    self._folders[identity] = path

    def require_apart(self, path: Path) -> None:
        """Raise if a path that is going to be written is one of the files, is inside one of the folders, or contains one.

        Raises
        ------
        SourceKindError
        """
        # Where a link leads, and the link itself: replacing either may destroy what is read
        here = {os.path.realpath(path), os.path.join(os.path.realpath(path.parent), path.name)}
        spelled = [os.path.normcase(place) for place in here]
        for source in self._paths:
            read = os.path.normcase(source)
            if any(place == read or read.startswith(place.rstrip(os.sep) + os.sep) for place in spelled):
                raise self._refusal(path, source)
        for place in here:
            # Device and inode as well as names: bind mounts, and file systems that ignore case
            for parent in (place, *map(str, Path(place).parents)):
                identity = _identity(parent)
                known = self._identities if parent == place else self._folders
                if identity is not None and identity in known:
                    raise self._refusal(path, known[identity])
        self._require_no_hard_link(path)  # last: it walks folders

    def _require_no_hard_link(self, path: Path) -> None:
        """Compare each file of an existing target with each file of the folders that are read."""
        targets = dict(_files(path)) if os.path.lexists(path) else {}
        if not targets:
            return
        for identity, file in self._identities.items():
            if identity in targets:
                raise self._refusal(path, file)
        # scandir gives the inode without a stat, so of 100,000 files only those with a number of the target are looked
        # at
        numbers = {inode for _, inode in targets}
        for folder in self._folders.values():
            for identity, file in _files(Path(folder), numbers):
                if identity in targets:
                    raise self._refusal(path, file)

    def _refusal(self, path: Path, source: str) -> SourceKindError:
        if self._option:
            return SourceKindError(
                f"the {self._option.replace('_', ' ')} is read from {printable(path)}; choose another target"
            )
        if os.path.realpath(path) == source:
            return SourceKindError(f"{printable(path)} is the recording itself; choose another name")
        return SourceKindError(
            f"{printable(path)} is the recording itself or part of it: the recording reads {printable(source)}; "
            "choose another name, in another folder"
        )


def _identity(path: str, *, follow: bool = True) -> _Identity | None:
    try:
        status = os.stat(path, follow_symlinks=follow)
    except OSError:
        return None
    # Some network drives on Windows report inode 0 for every file
    return (status.st_dev, status.st_ino) if status.st_ino else None


def _files(path: Path, numbers: set[int] | None = None) -> Iterator[tuple[_Identity, str]]:
    """Yield the files at or below a path: all of a target, or those of a source that have one of the inode numbers.

    A link inside a source is followed, since the recording reads what it leads to; a link inside a target is only a link.
    """
    if not path.is_dir():
        if (identity := _identity(str(path))) is not None:
            yield identity, str(path)
        return
    pending, seen = [str(path)], set()
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError:  # what cannot be listed is not replaced either
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            elif numbers is not None and entry.is_symlink():
                real = os.path.realpath(entry.path)
                if not os.path.isdir(real) and (identity := _identity(real)) is not None:
                    yield identity, entry.path
                elif real not in seen:  # links may form a circle
                    seen.add(real)
                    pending.append(real)
            # os.stat: on Windows the entry's own stat has no inode. A file that is gone by now is not compared
            elif (numbers is None or entry.inode() in numbers) and (
                identity := _identity(entry.path, follow=False)
            ) is not None:
                yield identity, entry.path

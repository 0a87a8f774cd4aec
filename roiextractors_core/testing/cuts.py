"""Copies recordings, also under another name, and computes the sizes to which their files are cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import SourceKindError

__all__ = ["copy_recording", "files_of", "kin_of", "paths_of", "sizes_to_cut"]

_MAX_NEIGHBOURS = 500
_MAX_BYTES = 64 << 20


def paths_of(recording: Any) -> tuple[Path, ...]:
    """Return the paths of a recording: one file or folder, or the files of a list.

    Raises
    ------
    SourceKindError
        When it is neither a path nor a list of them.
    """
    given = (recording,) if isinstance(recording, str | os.PathLike) else recording
    if not isinstance(given, list | tuple) or not given or not all(isinstance(p, str | os.PathLike) for p in given):
        raise SourceKindError(f"a recording is a path or a list of paths, got {given!r:.80}")
    return tuple(Path(os.path.abspath(os.fspath(path))) for path in given)


def kin_of(recording: Any) -> tuple[Path, ...]:
    """Return the files next to a recording's file that share its stem: headers, indices, times."""
    paths = paths_of(recording)
    if len(paths) > 1 or paths[0].is_dir():
        return ()
    stem = paths[0].name.partition(".")[0]
    beside = paths[0].parent.iterdir()
    return tuple(sorted(p for p in beside if p.is_file() and p != paths[0] and p.name.partition(".")[0] == stem))


def files_of(recording: Any) -> tuple[Path, ...]:
    """Return the files of a recording; those in a folder sorted by path."""
    return tuple(
        file
        for path in paths_of(recording)
        for file in (sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else (path,))
    )


def copy_recording(recording: Any, folder: Path, *, rename: Callable[[str], str] = lambda name: name) -> Any:
    """Copy a recording, with the files next to it, into a folder.

    Parameters
    ----------
    recording : str, os.PathLike or list of them
    folder : pathlib.Path
        Must not exist.
    rename : callable
        From the name of the recording's file or folder to that of the copy.

    Returns
    -------
    pathlib.Path or list of pathlib.Path
        The path or paths to open.
    """
    paths = paths_of(recording)
    base = Path(os.path.commonpath([path.parent for path in paths]))
    folder.mkdir(parents=True)
    for beside in _neighbours(base, paths):
        if beside.is_dir():
            _copy_folder(beside, folder / beside.name)
        else:
            shutil.copyfile(beside, folder / beside.name)
    copies = []
    for path in paths:
        there = folder / path.relative_to(base)
        target = there.with_name(rename(there.name))
        if there.exists():  # already copied as a neighbour
            there.rename(target)
        elif path.is_dir():
            _copy_folder(path, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        copies.append(target)
    return copies[0] if isinstance(recording, str | os.PathLike) else copies


def _neighbours(base: Path, paths: tuple[Path, ...]) -> list[Path]:
    """Return all entries of the folder; none if they are too many or the recording is a folder itself."""
    if len(paths) == 1 and paths[0].is_dir():
        return []
    total = count = 0
    for path in _walk(base):
        count, total = count + 1, total + path.stat().st_size
        if count > _MAX_NEIGHBOURS or total > _MAX_BYTES:
            return []
    return list(base.iterdir())


def _copy_folder(source: Path, target: Path) -> None:
    """Copy the content alone, so that the copy of a write-protected recording can be cut."""
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if path.is_dir():
            _copy_folder(path, target / path.name)
        elif path.is_file():
            shutil.copyfile(path, target / path.name)


def _walk(base: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(base):
        yield from (Path(folder) / name for name in names if (Path(folder) / name).is_file())


def sizes_to_cut(files: tuple[Path, ...], *, places: int = 20, units: Iterable[int] = ()) -> dict[str, list[int]]:
    """Return the sizes (bytes) to which each file is cut: its first bytes, evenly, and its very end.

    Parameters
    ----------
    files : tuple of pathlib.Path
    places : int
        How many in all; the largest file gets most of them.
    units : iterable of int
        Bytes of a sample: the largest file is also cut by one and by two of them.
    """
    sized = sorted((path for path in files if path.stat().st_size > 1), key=lambda p: (-p.stat().st_size, str(p)))
    if not sized:
        return {}
    others = sized[1 : 1 + places // 4]
    shares = {path: 2 if 2 * len(others) <= places // 2 else 1 for path in others}
    size = sized[0].stat().st_size
    whole = {size - times * unit for unit in units for times in (1, 2) if 0 < size - times * unit < size}
    found = {str(sized[0]): sorted({*_spread(size, places - sum(shares.values()) - len(whole)), *whole})}
    found.update({str(path): _spread(path.stat().st_size, share) for path, share in shares.items()})
    return found


def _spread(size: int, count: int) -> list[int]:
    if count <= 2:
        return sorted({size // 2, size - 1})[-count:] if size > 1 else []
    # Inside of magic numbers and short headers, and in the last record or trailer
    edges = [1, 3, 8, 17, 65, size - 1, size - 2, size - 9][: max(2, count // 2)]
    chosen = {at for at in edges if 0 < at < size}
    step = max(1, count - len(chosen))
    chosen |= {size * k // (step + 1) for k in range(1, step + 1)}
    return sorted(at for at in chosen if 0 < at < size)

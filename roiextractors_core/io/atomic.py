"""Files and folders that appear under their name only when they are whole."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["write_then_rename"]


@contextmanager
def write_then_rename(target: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to the target when the block ends without an error.

    The path has the target's name and is inside a hidden temporary folder next to the target, so that the rename stays on one
    disk. Other files that the block writes into this folder are moved next to the target too, before the target itself. When
    the block raises, the folder is removed, and what was under the target's name before is unchanged.

    Parameters
    ----------
    target : pathlib.Path
        The file or folder to write. Its parent must exist; what is there under its name is replaced.

    Yields
    ------
    pathlib.Path
        The temporary path. Nothing is there yet.

    Raises
    ------
    FileNotFoundError
        The block ended and nothing is at the temporary path.
    """
    folder = target.with_name(f".{uuid.uuid4().hex[:12]}.partial")
    folder.mkdir()
    try:
        partial = folder / target.name
        yield partial
        if not partial.exists():
            raise FileNotFoundError(f"nothing was written to {partial}")
        for sidecar in sorted(path for path in folder.iterdir() if path.name != target.name):
            _move(sidecar, target.with_name(sidecar.name), folder)
        _move(partial, target, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(partial: Path, target: Path, folder: Path) -> None:
    if not _is_folder(target) and not _is_folder(partial):
        partial.replace(target)
        return
    if not target.exists() and not target.is_symlink():
        partial.rename(target)
        return
    # No system replaces a folder that is not empty in one step: the old one waits in the temporary folder
    old = folder / f".{uuid.uuid4().hex[:12]}.replaced"
    target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        old.rename(target)
        raise


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()

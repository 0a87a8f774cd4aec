"""The path of a recording that is one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import SourceKindError, printable

__all__ = ["single_file"]


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
    if not may_be_folder and single.is_dir():
        raise SourceKindError(f"{printable(single)} is a folder; open the file inside it")
    return single

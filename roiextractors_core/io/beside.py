"""Files beside a recording that seem to describe it and that its format does not read."""

from __future__ import annotations

import os

from ..errors import listed, printable
from .known import is_file

__all__ = ["unread_descriptions"]

_SUFFIXES = (".json", ".xml", ".yaml", ".yml", ".toml", ".ini", ".inf", ".txt", ".csv")


def unread_descriptions(path: str | os.PathLike[str]) -> str:
    """Return a sentence about files that may describe a recording and are not read, for a warning; often empty.

    Parameters
    ----------
    path : str or os.PathLike
        The recording's file. What may describe it has its name, with or without its suffix, and a suffix of texts.
    """
    whole = os.fspath(path)
    stem, name = os.path.splitext(whole)[0], os.path.basename(whole)
    places = dict.fromkeys(base + suffix for base in (stem, whole) for suffix in _SUFFIXES)
    beside = [os.path.basename(place) for place in places if place != whole and is_file(place)]
    if not beside:
        return ""
    names = listed([printable(each)[:100] for each in beside], limit=3)
    return f"{names} beside {printable(name)} may describe it and is not read"

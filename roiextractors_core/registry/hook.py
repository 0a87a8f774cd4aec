"""The hook through which a plugin declares its formats, its markers, and the entry-point group."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from .spec import FormatSpec

__all__ = ["API_NUMBERS", "GROUP", "HOOK", "hookimpl", "hookspec", "roiextractors_formats"]

GROUP = "roiextractors_core"
"""The entry-point group, the pluggy project name and the import name."""

HOOK = "roiextractors_formats"
API_NUMBERS = frozenset({1})  # a set: a later core can go on reading older declarations

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def roiextractors_formats() -> Iterable[FormatSpec]:
    """Return or yield the formats that this plugin provides.

    Returns
    -------
    iterable of FormatSpec
        At least one.
    """
    return ()

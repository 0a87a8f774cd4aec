"""The one hook, its markers, and the entry-point group: a plugin's whole surface.

A marker only writes an attribute on the function, so that declaring a format needs no pluggy at
import; ``registry`` asks pluggy to read the markers at the first look for plugins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from .spec import FormatSpec

__all__ = ["API_NUMBERS", "GROUP", "HOOK", "hookimpl", "hookspec", "roiextractors_formats"]

GROUP = "roiextractors_core"
"""The entry-point group, the pluggy project name and the import name."""

HOOK = "roiextractors_formats"
API_NUMBERS = frozenset({1})

_Function = TypeVar("_Function", bound=Callable[..., object])


def _marker(role: str) -> Callable[[_Function], _Function]:
    options: dict[str, object] = {
        "spec": {"firstresult": False, "historic": False, "warn_on_impl": None, "warn_on_impl_args": None},
        "impl": {
            "wrapper": False,
            "hookwrapper": False,
            "optionalhook": False,
            "tryfirst": False,
            "trylast": False,
            "specname": None,
        },
    }

    def mark(function: _Function) -> _Function:
        setattr(function, f"{GROUP}_{role}", options[role])
        return function

    return mark


hookspec = _marker("spec")
hookimpl = _marker("impl")


@hookspec
def roiextractors_formats() -> Iterable[FormatSpec]:
    """Return or yield the formats that this plugin brings.

    Returns
    -------
    iterable of FormatSpec
        At least one.
    """
    return ()

"""Warnings that can be silenced for one piece of work, without touching the filters of the process."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from ..errors import IncompleteRecordingWarning, RoiExtractorsWarning
from .locks import ProcessLock

__all__ = ["library_warnings", "silenced", "warn"]

# ``warnings.catch_warnings`` replaces the filters of the whole process: in threads, as dask unpickles recordings, one thread can restore the
# filters of another for good. A context variable belongs to the thread (or task) that sets it.
_SILENCED: ContextVar[bool] = ContextVar("silenced", default=False)


def warn(message: str, category: type[RoiExtractorsWarning] = IncompleteRecordingWarning) -> None:
    """Issue a warning on behalf of the first caller outside of this project and its plugins.

    Extractors use it in place of ``warnings.warn``: it is not issued again when a recording is unpickled, and needs no
    ``stacklevel``.

    Parameters
    ----------
    message : str
        One sentence; it must not grow with the data.
    category : type
        The class of the warning.
    """
    if _SILENCED.get():
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("roiextractors_"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def silenced() -> Iterator[None]:
    """Silence :func:`warn` inside a ``with`` block, for this thread alone."""
    token = _SILENCED.set(True)
    try:
        yield
    finally:
        _SILENCED.reset(token)


_LIBRARY_LOCK = ProcessLock()


@contextmanager
def library_warnings(action: Literal["ignore", "error"], message: str = "") -> Iterator[None]:
    """Ignore the warnings of another library inside a ``with`` block, or raise them.

    Python's filters belong to the process, so only one thread at a time is inside of such a block; otherwise two threads could
    restore each other's filters, and those of the last one would stay. Keep the block short, and use :func:`warn` and
    :func:`silenced` for warnings of your own.

    Parameters
    ----------
    action : str
        ``"ignore"`` or ``"error"``.
    message : str, optional
        A regular expression for the beginning of the message; by default, every message.
    """
    with _LIBRARY_LOCK, warnings.catch_warnings():
        warnings.filterwarnings(action, message)
        yield

"""Warnings that can be silenced or collected for one piece of work, without touching the filters of the process."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TypeAlias, TypeVar

from ..errors import IncompleteRecordingWarning, RoiExtractorsWarning

__all__ = ["received_by", "set_within", "silenced", "warn"]

T = TypeVar("T")

Receiver: TypeAlias = Callable[[str, type[RoiExtractorsWarning]], None]

# ``warnings.catch_warnings`` replaces the filters of the whole process: in threads, as dask unpickles recordings, one thread can restore the
# filters of another for good. A context variable belongs to the thread (or task) that sets it.
_RECEIVER: ContextVar[Receiver | None] = ContextVar("receiver", default=None)


@contextmanager
def set_within(variable: ContextVar[T], value: T) -> Iterator[None]:
    """Set a context variable inside a ``with`` block, for this thread or task alone."""
    token = variable.set(value)
    try:
        yield
    finally:
        # After Ctrl-C, the garbage collector may end it in another context, which has a value of its own
        with suppress(ValueError):
            variable.reset(token)


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
    receive = _RECEIVER.get()
    if receive is not None:
        receive(message, category)
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("roiextractors_"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def received_by(receiver: Receiver) -> Iterator[None]:
    """Pass what :func:`warn` is given inside a ``with`` block, in this thread alone, to a function.

    Parameters
    ----------
    receiver : callable
        ``receiver(message, category)``, in place of ``warnings.warn``.
    """
    with set_within(_RECEIVER, receiver):
        yield


@contextmanager
def silenced() -> Iterator[None]:
    """Silence :func:`warn` inside a ``with`` block, for this thread alone.

    Warnings of other libraries are not silenced: Python's filters belong to the process, and changing them is not safe where there
    are threads. Avoid the call that warns, or pass the parameter that it asks for.
    """
    with received_by(lambda _message, _category: None):
        yield

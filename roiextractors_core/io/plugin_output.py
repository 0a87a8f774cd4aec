"""Keeps the output of plugins apart from the output of a command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from .notices import set_within

__all__ = ["CommandOutput", "stdout_to_stderr"]

_IS_PLUGIN_CODE: ContextVar[bool] = ContextVar("is_plugin_code", default=False)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Mark what is printed in this thread as output of a plugin while its code runs.

    A plugin that prints during its import or in a probe would otherwise corrupt the output of a command, such as the JSON
    of ``roiextractors formats --json``. Nothing of the process is changed: only the command, whose own process it is, replaces
    ``sys.stdout``, by a :class:`CommandOutput`. In other programs, a plugin prints where it prints.
    """
    with set_within(_IS_PLUGIN_CODE, True):
        yield


class CommandOutput:
    """The standard output of a command; what a plugin prints goes to the standard error.

    Parameters
    ----------
    stream : TextIO
        The standard output.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text to the standard output, or to the standard error while the code of a plugin runs."""
        stream = sys.stderr if _IS_PLUGIN_CODE.get() and sys.stderr is not None else self._stream
        return stream.write(text)

    def writelines(self, lines: Any) -> None:
        """Write lines as :meth:`write` does."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

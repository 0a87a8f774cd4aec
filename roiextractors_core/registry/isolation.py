"""Keeps the output of plugins apart from the output of a command."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["stdout_to_stderr"]


_printing_lock = threading.Lock()
_printing: list[tuple[TextIO, TextIO]] = []  # the original stdout, and its replacement
_num_printing = 0


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Redirect ``sys.stdout`` to the standard error while the code of a plugin runs.

    A plugin that prints during its import or in a probe would otherwise corrupt the output of a command, such as the JSON
    of ``roiextractors formats --json``.  The redirection is that of the whole process: other threads print to the standard
    error, too, until the last of overlapping redirections ends.
    """
    global _num_printing
    with _printing_lock:
        if not _num_printing and sys.stdout is not None and sys.stderr is not None:
            _printing.append((sys.stdout, sys.stderr))
            sys.stdout = sys.stderr
        _num_printing += 1
    try:
        yield
    finally:
        with _printing_lock:
            _num_printing -= 1
            if not _num_printing and _printing:
                before, aside = _printing.pop()
                if sys.stdout is aside:
                    sys.stdout = before

"""What a format is: its declaration, the kinds of evidence for it, and a match."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["stdout_to_stderr"]


_printing_lock = threading.Lock()
_printing: list[tuple[TextIO, TextIO]] = []  # what stood there, and what stands there while plugins are imported
_num_printing = 0


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what a plugin prints while it is imported to the standard error: a command's output is its own."""
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

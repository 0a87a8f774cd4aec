"""Finds the files that this process has open."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["can_tell_open_files", "held_open", "opened_names"]

_listeners: list[set[str]] = []


def can_tell_open_files() -> bool:
    """Whether this system can list the files that a process has open."""
    return sys.platform in ("linux", "darwin", "win32")


def held_open(files: Iterable[Path]) -> tuple[str, ...]:
    """Return the names of those files that this process has open or mapped into memory.

    Parameters
    ----------
    files : iterable of pathlib.Path
        Existing ones.
    """
    real_paths = {os.path.realpath(path) for path in files}  # the system lists names without links
    if sys.platform == "win32":
        return tuple(sorted(name for name in real_paths if not _can_be_renamed(name)))
    return tuple(sorted(real_paths.intersection(_open_names())))


@contextmanager
def opened_names() -> Iterator[set[str]]:
    """Yield a set that receives the names of the files that Python opens until the block ends, in any thread."""
    if not _hear.installed:
        sys.addaudithook(_hear)  # for the rest of the process: nothing removes it
        _hear.installed = True
    names: set[str] = set()
    _listeners.append(names)
    try:
        yield names
    finally:
        _listeners[:] = [other for other in _listeners if other is not names]


class _Hearing:
    """The audit hook; it does nothing unless somebody listens."""

    installed = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and _listeners and isinstance(arguments[0], str | bytes):
            for names in list(_listeners):
                names.add(os.fsdecode(arguments[0]))


_hear = _Hearing()


def _can_be_renamed(name: str) -> bool:
    """Windows refuses to rename a file that is open."""
    try:
        os.rename(name, name + ".renamed")
    except PermissionError:
        return False
    os.rename(name + ".renamed", name)
    return True


def _open_names() -> Iterator[str]:
    """Yield the names of open files, with links resolved."""
    if sys.platform == "linux":
        for descriptor in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the one that lists this folder is gone by now
                yield os.readlink(f"/proc/self/fd/{descriptor}")
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            for line in maps:  # a mapped file stays in use after its descriptor is closed
                parts = line.rstrip("\n").split(maxsplit=5)
                if len(parts) == 6:
                    yield parts[5]
    elif sys.platform == "darwin":
        import fcntl

        for descriptor in os.listdir("/dev/fd"):
            with suppress(OSError):
                yield os.fsdecode(fcntl.fcntl(int(descriptor), 50, bytes(1024)).rstrip(b"\0"))  # 50 is F_GETPATH

"""Makes the system's calls on the files of a recording fail, as a disk or a server does."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["CALLS", "FailingDisk"]

CALLS = tuple(name for name in ("preadv", "pread", "fstat", "stat", "open", "scandir", "listdir") if hasattr(os, name))
_STALE_CALLS = tuple(name for name in ("preadv", "pread", "fstat") if hasattr(os, name))


class FailingDisk:
    """The files of a recording, and its folder, on which calls of ``os`` are made to fail.

    Calls that other libraries make without Python's ``os`` are not seen.

    Parameters
    ----------
    paths : iterable of pathlib.Path
        Files and folders.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._real = {name: getattr(os, name) for name in CALLS}
        self._identities = {self._identity(path) for path in paths}

    @contextmanager
    def failing(self, name: str, number: int) -> Iterator[list[Any]]:
        """Let one kind of call fail until the block ends; yield the list of the descriptors and paths that it failed for."""
        failed: list[Any] = []

        def refuses(place: Any) -> bool:
            return self._identity(place) in self._identities

        with self._replaced({name: functools.partial(self._refuse, name, number, refuses, failed)}):
            yield failed

    @contextmanager
    def stale(self, number: int) -> Iterator[set[int]]:
        """Let calls on the descriptors that are open now fail until the block ends, as after a restart of a server; yield these."""
        stale = {descriptor for descriptor in _descriptors() if self._identity(descriptor) in self._identities}
        failed: list[Any] = []

        def open_new(*args: Any, **kwargs: Any) -> int:
            descriptor: int = self._real["open"](*args, **kwargs)
            stale.discard(descriptor)  # the number of one that was closed is given again
            return descriptor

        calls: dict[str, Callable[..., Any]] = {
            name: functools.partial(self._refuse, name, number, lambda place: place in stale, failed)
            for name in _STALE_CALLS
        }
        with self._replaced({**calls, "open": open_new}):
            yield stale

    def _refuse(
        self, name: str, number: int, refuses: Callable[[Any], bool], failed: list[Any], *args: Any, **kwargs: Any
    ) -> Any:
        place = args[0] if args else kwargs.get("path", ".")
        if refuses(place):
            failed.append(place)
            raise OSError(number, os.strerror(number), None if isinstance(place, int) else os.fspath(place))
        return self._real[name](*args, **kwargs)

    def _identity(self, place: Any) -> tuple[int, int] | None:
        with suppress(OSError, TypeError, ValueError):
            status = self._real["fstat" if isinstance(place, int) else "stat"](place)
            return status.st_dev, status.st_ino
        return None

    @contextmanager
    def _replaced(self, calls: dict[str, Callable[..., Any]]) -> Iterator[None]:
        for name, call in calls.items():
            setattr(os, name, call)
        try:
            yield
        finally:
            for name in calls:
                setattr(os, name, self._real[name])


def _descriptors() -> list[int]:
    with suppress(OSError):
        return [int(name) for name in os.listdir("/dev/fd") if name.isdigit()]
    return []

"""Locks that are free in a forked process."""

from __future__ import annotations

import os
import threading
import weakref

__all__ = ["ProcessLock"]


class ProcessLock:
    """A re-entrant lock among the threads of one process that is free in a forked child.

    The thread of the parent that held the lock does not exist in the child, so nobody would ever release it there.
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Make the lock free."""
        self._lock = threading.RLock()


_LOCKS: weakref.WeakSet[ProcessLock] = weakref.WeakSet()


def _free_locks() -> None:
    for lock in list(_LOCKS):
        lock.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_locks)

"""Locks that a forked process begins with free."""

from __future__ import annotations

import os
import threading
import weakref

__all__ = ["ProcessLock"]


class ProcessLock:
    """A lock among the threads of one process, which one of them may take again; a process that is forked begins with it free.

    Whatever thread of the parent held it is not there in the child, where it would never be given back.
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
        """Forget who held it."""
        self._lock = threading.RLock()


_LOCKS: weakref.WeakSet[ProcessLock] = weakref.WeakSet()


def _free_locks() -> None:
    for lock in list(_LOCKS):
        lock.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_locks)

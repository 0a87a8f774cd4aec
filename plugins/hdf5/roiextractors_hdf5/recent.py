"""Keeps the few chunks that were decoded last, so that reading frame by frame does not decode a chunk for each of its frames."""

from __future__ import annotations

import itertools
import os
import threading
from collections import OrderedDict

import numpy as np

__all__ = ["RECENT", "RecentChunks"]

Key = tuple[int, tuple[int, ...]]


class RecentChunks:
    """Decoded chunks of any number of datasets, the least recently used forgotten first.

    Parameters
    ----------
    most : int
        Bytes that are kept in all.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.RLock()  # a finalizer can forget in the middle of any of these calls, on the same thread
        self._kept: OrderedDict[Key, np.ndarray] = OrderedDict()
        self._size = 0
        self._owners = itertools.count(1)

    def new_owner(self) -> int:
        """Return a number under which a dataset keeps its chunks."""
        return next(self._owners)

    def get(self, owner: int, cell: tuple[int, ...]) -> np.ndarray | None:
        """Return a chunk of a dataset by its position in the grid; None when it is not kept."""
        with self._lock:
            found = self._kept.get((owner, cell))
            if found is not None:
                self._kept.move_to_end((owner, cell))
            return found

    def keep(self, owner: int, cell: tuple[int, ...], pixels: np.ndarray) -> None:
        """Keep a decoded chunk, which nobody may change any more."""
        with self._lock:
            self._drop((owner, cell))
            self._kept[owner, cell] = pixels
            self._size += pixels.nbytes
            while self._size > self.most:
                self._drop(next(iter(self._kept)))

    def forget(self, owner: int) -> None:
        """Forget all chunks of a dataset."""
        with self._lock:
            for key in list(self._kept):
                if key[0] == owner:
                    self._drop(key)

    def after_fork_in_child(self) -> None:
        """Go on in a child, where the threads that held the lock are no more."""
        self._lock = threading.RLock()

    def _drop(self, key: Key) -> None:
        found = self._kept.pop(key, None)
        self._size -= 0 if found is None else found.nbytes


RECENT = RecentChunks(most=64 << 20)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RECENT.after_fork_in_child)

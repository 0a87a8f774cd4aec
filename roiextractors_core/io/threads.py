"""Work on all cores."""

from __future__ import annotations

import _thread
import contextlib
import os
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

__all__ = ["num_cores", "run_on_cores"]


def num_cores() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # cpu_count ignores taskset, cpusets and the limits of batch systems
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_on_cores(tasks: Sequence[Any]) -> None:
    """Call every task, on all cores, and raise the first error.

    After an error, or Ctrl-C, tasks that have not begun are skipped.  If the system cannot start more threads, the
    work is done on the existing ones.

    Parameters
    ----------
    tasks : sequence of callables without arguments
        Work that releases the interpreter lock: reads and decoders.
    """
    if len(tasks) < 2 or num_cores() < 2:
        for task in tasks:
            task()
        return
    team = _Team(tasks)
    with contextlib.suppress(RuntimeError):  # no more threads: a limit of processes or of memory
        for _ in range(min(num_cores(), len(tasks)) - 1):
            _thread.start_new_thread(team.join_in, ())
    try:
        team.work()
    finally:
        team.finish()  # also after Ctrl-C: buffers must not be freed while a thread reads into them
    if team.failed:
        # The error of the first task, not of the fastest thread: the same message each time
        raise min(team.failed, key=lambda pair: pair[0])[1]


class _Team:
    """Threads that share tasks, among them the calling one, which waits for the others.

    A thread counts once it runs, not once it was started: when memory is short, a started thread may never run, and
    ``threading.Thread.start`` would wait for it forever (``test_a_thread_that_is_lost_while_it_starts_is_not_waited_for``).
    """

    def __init__(self, tasks: Sequence[Any]) -> None:
        self.failed: list[tuple[int, BaseException]] = []
        self._pending = deque(enumerate(tasks))  # popleft is atomic, so no lock is needed to share the tasks
        self._changed = threading.Condition()
        self._at_work = 0

    def join_in(self) -> None:
        """Work in a thread of its own."""
        with self._changed:
            self._at_work += 1
        try:
            self.work()
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()

    def work(self) -> None:
        """Take tasks until none is left."""
        while self._pending:
            try:
                number, task = self._pending.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                task()
            except Exception as error:  # noqa: BLE001 - raised again in the calling thread
                self._pending.clear()
                self.failed.append((number, error))

    def finish(self) -> None:
        """Skip tasks that have not begun, and wait for those that have."""
        self._pending.clear()
        with self._changed:
            self._changed.wait_for(lambda: self._at_work == 0)

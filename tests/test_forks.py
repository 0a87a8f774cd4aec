"""A process that is forked is not kept waiting by threads that it has not."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from roiextractors_core.forks import ProcessLock


def test_a_lock_lets_one_thread_in_and_this_one_again() -> None:
    lock, order = ProcessLock(), []

    def other() -> None:
        with lock:
            order.append("other")

    with lock, lock:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(timeout=0.05)
        order.append("this")
    thread.join()
    assert order == ["this", "other"]


HELD = """
import os, signal, threading, warnings
warnings.simplefilter("ignore")
{imports}
held, done = threading.Event(), threading.Event()

def hold():
    with {lock}:
        held.set()
        done.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if not child:
    signal.alarm(20)
    {child}
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
done.set()
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize(
    ("imports", "lock", "child"),
    [
        ("from roiextractors_core.forks import ProcessLock\nlock = ProcessLock()", "lock", "lock.__enter__()"),
        (
            "import roiextractors_core as roi\nfrom roiextractors_core.registry import default_registry",
            "default_registry()._lock",
            "assert roi.formats()",
        ),
        (
            "from roiextractors_core.chunk_grid import RECENT",
            "RECENT._lock",
            "RECENT.forget(RECENT.new_owner())",
        ),
    ],
    ids=["any", "discovery", "chunks"],
)
def test_what_a_thread_of_the_parent_holds_is_free_in_the_child(
    run: Callable[..., str], imports: str, lock: str, child: str
) -> None:
    assert run(HELD.format(imports=imports, lock=lock, child=child)).split() == ["0"]

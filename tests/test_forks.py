"""A process that is forked is not kept waiting by threads that it has not."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roiextractors_core.io import ProcessLock


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
        ("from roiextractors_core.io import ProcessLock\nlock = ProcessLock()", "lock", "lock.__enter__()"),
        (
            "import roiextractors_core as roi\nfrom roiextractors_core.registry import default_registry",
            "default_registry()._lock",
            "assert roi.formats()",
        ),
        (
            "from roiextractors_core.io import RECENT_CHUNKS",
            "RECENT_CHUNKS._lock",
            "RECENT_CHUNKS.forget(RECENT_CHUNKS.new_owner())",
        ),
    ],
    ids=["any", "discovery", "chunks"],
)
def test_what_a_thread_of_the_parent_holds_is_free_in_the_child(
    run: Callable[..., str], imports: str, lock: str, child: str
) -> None:
    assert run(HELD.format(imports=imports, lock=lock, child=child)).split() == ["0"]


IN_H5PY = """
import h5py, os, signal, threading, time, warnings
import roiextractors_core as roi
from roiextractors_core.io import hdf5 as heaps
warnings.simplefilter("ignore")
inside, readinto = threading.Event(), heaps._CheckedStream.readinto

def slow(stream, buffer):
    if threading.current_thread() is thread and not inside.is_set():
        inside.set()
        time.sleep(0.5)
    return readinto(stream, buffer)

def read():
    return roi.open(os.environ["MOVIE"], format="hdf5").get_series()

read()  # so that nothing is imported any more: Python itself keeps what a thread imports locked in a child
heaps._CheckedStream.readinto = slow
signal.alarm(90)
thread = threading.Thread(target=read)
thread.start()
inside.wait()
child = os.fork()
if not child:
    signal.alarm(60)
    os._exit(len(read()))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_process_is_forked_while_a_thread_is_inside_of_h5py(run: Callable[..., str], tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("roiextractors_hdf5")
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file.create_dataset("movie", data=np.zeros((7, 8, 9), np.uint16), chunks=(1, 8, 9), compression="gzip")
    assert run(IN_H5PY, environment={"MOVIE": str(tmp_path / "movie.h5")}).split() == ["7"]

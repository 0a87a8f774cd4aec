"""Pickling, threads and forks."""

from __future__ import annotations

import functools
import os
import pickle
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ...imaging.extractor import ImagingExtractor
from ..fresh import HANGS, in_fresh_process, same_values, summary
from ..layouts import costs_once_a_code_path, costs_once_a_format
from .case import KIB, Case, GivenRecording
from .judging import fail

__all__ = ["FORK_SECONDS", "ProcessTests"]

THREAD_SECONDS = 20
MIN_READS = 4  # of each thread, however slow the machine is
FORK_SECONDS = 20  # far beyond 25 small reads: only a lock that was held at the fork takes longer
# CPython 3.12 itself crashes where generators are traced opcode by opcode while other threads run them; there, lines must do
_CAN_TRACE_OPCODES = sys.version_info[:2] != (3, 12)


class ProcessTests(GivenRecording):
    """A recording can be used from other processes and threads."""

    @costs_once_a_format
    def test_it_pickles_into_a_fresh_process(self, case: Case, extractor: ImagingExtractor) -> None:
        given = np.arange(case.count, dtype=np.float64) * 0.25 + 5.0
        with case.open(sampling_frequency=12.3456789) as other, case.open() as timed:
            timed.set_times(given)
            extractor.get_series(0, 1)
            recordings: dict[str, Any] = {
                "the recording": extractor,
                "one opened with sampling_frequency=": other,
                "one with set_times": timed,
                "a slice": extractor.slice_samples(1, 3),
            }
            pickles = {words: _pickle(recording, words) for words, recording in recordings.items()}
            for words, pickled in pickles.items():
                _require_no_pixels(pickled, case, words)
            expected = {words: summary(recording) for words, recording in recordings.items()}
        outcome = in_fresh_process("unpickle", {"pickles": pickles})
        if outcome.timed_out or outcome.failure:
            fail(f"unpickling in a fresh process failed: {outcome.failure or HANGS}", "fix pickling")
        for answer in outcome.answers:
            words = answer.pop("name")
            error = answer.pop("error")
            advice = "leave __reduce__ and __getstate__ to the base class: it keeps the constructor's arguments, the user's times and rate"
            if error:
                fail(f"{words} does not open again in a fresh process: {error}", advice)
            for key, value in expected[words].items():
                if answer[key] != value:
                    fail(f"{words} has another {key} after pickling: {answer[key]!r}; before it was {value!r}", advice)

    @costs_once_a_code_path
    def test_it_can_be_read_from_several_threads(self, case: Case) -> None:
        for attempt in range(6):
            with case.open() as opened:
                wrong = _read_in_threads(opened, case, seconds=0.06, seed=attempt)
            if wrong:
                fail(
                    f"read from several threads, {wrong}",
                    "read at given offsets (roiextractors_core.PositionedFile does), share no position and no buffer, or hold a lock",
                )

    @costs_once_a_code_path
    def test_forked_processes_read_each_for_itself(self, case: Case) -> None:
        if not hasattr(os, "fork"):
            pytest.skip("the system has no fork")
        with case.open() as opened:
            opened.get_series(0, 1)
            wrong = _read_in_forks(opened, case) or _fork_while_a_thread_reads(opened, case)
        if wrong:
            fail(
                f"read in two processes that were forked after the first read, {wrong}",
                "read at given offsets (roiextractors_core.PositionedFile does): a place in a file that was opened before is shared with the "
                "parent; hold locks that a child begins with free (roiextractors_core.io.ProcessLock)",
            )


def _pickle(recording: Any, words: str) -> bytes:
    try:
        return pickle.dumps(recording)
    except Exception as error:  # noqa: BLE001 - the border to the plugin
        fail(
            f"{words} does not pickle: {type(error).__name__}: {error}",
            "let the constructor take what pickles, and leave __reduce__ to the base class",
        )


def _require_no_pixels(pickled: bytes, case: Case, words: str) -> None:
    advice = "leave __reduce__ and __getstate__ to the base class: a pickle opens the file again"
    expected = case.expected
    # The extractor may hold the pixels in the byte order of the file
    swapped = expected[:2].astype(expected.dtype.newbyteorder("S"))
    for part in (expected[0], expected[1], swapped[0], swapped[1]):
        row = np.ascontiguousarray(part.reshape(part.shape[0], -1)[part.shape[0] // 2]).tobytes()
        # A short or uniform row of bytes can be in a pickle by chance
        if len(set(row)) >= 8 and len(row) >= 24 and row in pickled:
            fail(f"the pickle of {words} contains pixels ({len(pickled):,} bytes)", advice)
    # The times of set_times take 8 bytes a sample; twice that is allowed
    limit = 64 * KIB + 16 * case.count
    if len(pickled) > limit:
        fail(
            f"the pickle of {words} takes {len(pickled):,} bytes, more than opening it again needs: the limit is {limit:,}",
            advice,
        )


def _read_in_threads(extractor: ImagingExtractor, case: Case, *, seconds: float, seed: int) -> str:
    """Read different samples from six threads at once; return what went wrong, or an empty string.

    Every other time the plugin's code is traced, and made to wait between any two of its steps.
    """
    wrong: list[str] = []
    gate, installing = threading.Barrier(6), threading.Lock()
    # Tracing slows the reads, so every other attempt runs untraced, at the speed at which locks are contended
    trace = _interrupting(case.spec.extractor.partition(".")[0].partition(":")[0]) if seed % 2 else None

    def work(number: int) -> None:
        rng = random.Random(100 * seed + number)
        try:
            if trace is not None:
                with installing:  # Python refuses two at once, which threading.settrace does not prevent
                    sys.settrace(trace)
            gate.wait(timeout=THREAD_SECONDS)
            # From here: on a busy machine the threads may take longer to start than they have to read
            end, reads = time.monotonic() + seconds, 0
            while not wrong and (reads < MIN_READS or time.monotonic() < end):
                reads += 1
                words, seen, expected = _one_read(extractor, case.expected, rng)
                if not same_values(seen, expected):
                    wrong.append(f"{words} gave other samples than it gives alone")
        except Exception as error:  # noqa: BLE001 - the border to the plugin
            wrong.append(f"a read raised {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(k,), daemon=True) for k in range(6)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # the usual 5 ms would let most reads finish without a switch
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=THREAD_SECONDS)
    finally:
        sys.setswitchinterval(before)
    if any(thread.is_alive() for thread in threads):
        return f"the threads wait for each other: they did not end within {THREAD_SECONDS} s"
    return wrong[0] if wrong else ""


def _read_in_forks(extractor: ImagingExtractor, case: Case) -> str:
    """Read different samples in this process and in two children at once; return what went wrong, or an empty string."""
    ready, go = os.pipe()

    def is_right(seed: int) -> bool:
        rng = random.Random(seed)
        reads = (_one_read(extractor, case.expected, rng) for _ in range(25))
        return all(same_values(seen, expected) for _, seen, expected in reads)

    def is_right_at_once(seed: int) -> bool:
        os.close(go)
        os.read(ready, 1)  # returns when no process has `go` open, so that none reads before the others are there
        return is_right(seed)

    children = [_fork(functools.partial(is_right_at_once, seed)) for seed in (1, 2)]
    os.close(go)
    wrong = ""
    try:
        if not is_right(0):
            wrong = "the parent got other samples than it gets alone"
    except Exception as error:  # noqa: BLE001 - the border to the plugin
        wrong = f"the parent raised what it does not raise alone, {type(error).__name__}: {error}"
    finally:
        os.close(ready)
        of_children = [child.wait() for child in children]
    if wrong:
        is_right(0)  # an error that is raised alone too has nothing to do with forks, and goes to the author as it is
    return wrong or next(filter(None, of_children), "")


def _fork_while_a_thread_reads(extractor: ImagingExtractor, case: Case) -> str:
    """Fork while another thread of this process reads, so that a lock of the extractor can be taken at that moment."""
    end = threading.Event()

    def read_on() -> None:
        rng = random.Random(9)
        while not end.is_set():
            with suppress(Exception):  # the test of threads says what is wrong
                _one_read(extractor, case.expected, rng)

    def is_right(seed: int) -> bool:
        _, seen, expected = _one_read(extractor, case.expected, random.Random(seed))
        return same_values(seen, expected)

    thread, before = threading.Thread(target=read_on, daemon=True), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # the usual 5 ms would let most reads finish before the fork
    children = []
    try:
        thread.start()
        for seed in range(6):
            time.sleep(0.001)
            children.append(_fork(functools.partial(is_right, seed)))
    finally:
        sys.setswitchinterval(before)
        of_children = [child.wait() for child in children]
        end.set()
        thread.join(THREAD_SECONDS)
    return next((f"while another thread read, {wrong}" for wrong in of_children if wrong), "")


@dataclass(frozen=True, slots=True)
class _Child:
    """A forked process, and the descriptor of a pipe into which it writes the error that it raised."""

    number: int
    errors: int

    def wait(self) -> str:
        """Wait for its end; return what went wrong, or an empty string."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])
        with open(self.errors, "rb") as stream:
            error = stream.read().decode(errors="replace")
        meanings = {
            1: "one got other samples than its parent gets alone",
            2: f"one raised what its parent does not raise alone, {error}",
            -signal.SIGALRM: f"one waited forever (it was ended after {FORK_SECONDS} s)",
        }
        return meanings.get(code, f"one ended with {code}") if code else ""


def _fork(work: Callable[[], bool]) -> _Child:
    """Start a child that does some work and ends."""
    errors, pipe = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # on forks where there are threads, as there are in tests
        number = os.fork()
    if number:
        os.close(pipe)
        return _Child(number, errors)
    code = 2
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the default ends the child even if it waits inside C code
        signal.alarm(FORK_SECONDS)
        code = 0 if work() else 1
    except BaseException as error:  # noqa: BLE001 - the parent reports it
        os.write(pipe, f"{type(error).__name__}: {error}"[:800].encode(errors="replace"))
    finally:
        os._exit(code)  # pytest's own handlers at exit must not run a second time in the child


def _interrupting(package: str) -> Any:
    """Return a trace function that lets other threads go ahead between any two steps of a package's code."""
    rng = random.Random(8)

    def step(frame: Any, event: str, argument: Any) -> Any:
        if event in ("opcode", "line") and rng.random() < 0.03:
            time.sleep(2e-5)
        return step

    def call(frame: Any, event: str, argument: Any) -> Any:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] != package:
            return None
        # `self.position += n` is one line and several opcodes: the race is between them
        frame.f_trace_opcodes = _CAN_TRACE_OPCODES
        return step

    return call


def _one_read(
    extractor: ImagingExtractor, expected: np.ndarray, rng: random.Random
) -> tuple[str, np.ndarray, np.ndarray]:
    n = len(expected)
    a = rng.randrange(n)
    b = min(n, a + rng.randint(1, 3))
    kind = rng.randrange(3)
    if kind == 0:
        return f"get_series({a}, {b})", extractor.get_series(a, b), expected[a:b]
    if kind == 1:
        indices = [rng.randrange(n), a, rng.randrange(n)]
        return f"get_samples({indices})", extractor.get_samples(indices), expected[indices]
    return f"recording[{a}:{b}, 1:]", extractor[a:b, 1:], expected[a:b, 1:]

"""A signal handler reads, opens and closes recordings at any moment: nothing waits forever, and every pixel is right."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="timers of POSIX")

HANDLING = """
import faulthandler, json, os, signal, sys, time
import numpy as np
import roiextractors_core as roi
faulthandler.dump_traceback_later(90, exit=True)
(path, other), options, view = json.loads(os.environ["CASE"])
expected, others = np.load(os.environ["EXPECTED"]), np.load(os.environ["OTHER"])

def opened(path):
    recording = roi.open(path, **options)
    if view == "concatenation":
        return roi.concatenate([recording, recording])
    for _ in range(40 if view == "views" else 0):
        recording = recording.slice_samples(0, len(recording))
    return recording

same, another, calls, wrong = opened(path), opened(other), 0, []

def right(read, wanted, what):
    if not np.array_equal(read, wanted):
        wrong.append(what)

interrupted = "reading"

def handle(*_):
    global calls
    calls += 1
    k = calls % len(expected)
    right(same[k], expected[k], "the same, read in the handler")
    right(another[k], others[k], "another, read in the handler")
    if calls % 3 == 0:
        with opened(path) as again:
            right(again[k], expected[k], "the same, opened in the handler")
        roi.explain(other)
    signal.setitimer(signal.ITIMER_REAL, 1e-4 + 2e-4 * (calls % 23))

handle()
signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 1e-3)
end, rounds = time.monotonic() + float(os.environ["SECONDS"]), 0
while time.monotonic() < end or rounds < 2:
    rounds += 1
    for k in range(len(expected)):
        right(same[k], expected[k], "interrupted read")
    interrupted = "opening"
    with opened(other) as more:
        right(more[:5], others[:5], "interrupted opening")
    interrupted = "reading"
# A handler that runs after the timer was stopped would start it again, and the end of Python kills at the next signal
signal.signal(signal.SIGALRM, signal.SIG_IGN)
signal.setitimer(signal.ITIMER_REAL, 0)
print(calls > 5, sorted(set(wrong)))
"""
KINDS = ("npy", "packed tiff", "tiff sequence", "scanimage", "bruker", "hdf5", "packed hdf5", "oib", "omezarr", "video")


def handled(
    run: Callable[..., str], folder: Path, recorded: Any, other: Any, view: str = "", seconds: float = 2.5
) -> str:
    np.save(folder / "expected.npy", recorded.expected)
    np.save(folder / "other.npy", other.expected)
    case = [[str(recorded.path), str(other.path)], dict(recorded.options), view]
    environment = {
        "CASE": json.dumps(case),
        "EXPECTED": str(folder / "expected.npy"),
        "OTHER": str(folder / "other.npy"),
        "SECONDS": str(seconds),
    }
    return run(HANDLING, environment=environment)


@pytest.mark.quick(2)
@pytest.mark.parametrize("recording", KINDS)
def test_a_signal_handler_reads_what_is_being_read(
    recording: str, tmp_path: Path, run: Callable[..., str], write_recorded: Callable[..., Any]
) -> None:
    recorded = write_recorded(recording, tmp_path, shape=(12, 64, 96))
    other = write_recorded(recording, tmp_path / "other", shape=(12, 64, 96), seed=1)
    assert handled(run, tmp_path, recorded, other) == "True []\n"


@pytest.mark.thorough
@pytest.mark.parametrize("view", ["concatenation", "views"])
@pytest.mark.parametrize("recording", ["packed tiff", "packed hdf5"])
def test_a_signal_handler_reads_a_view_that_is_being_read(
    recording: str, view: str, tmp_path: Path, run: Callable[..., str], write_recorded: Callable[..., Any]
) -> None:
    recorded = write_recorded(recording, tmp_path, shape=(12, 64, 96))
    other = write_recorded(recording, tmp_path / "other", shape=(12, 64, 96), seed=1)
    assert handled(run, tmp_path, recorded, other, view) == "True []\n"


@pytest.mark.thorough
def test_a_signal_handler_reads_nwb(tmp_path: Path, run: Callable[..., str]) -> None:
    pytest.importorskip("roiextractors_nwb")
    pytest.importorskip("h5py")
    made = []
    for seed in range(2):
        movie = np.random.default_rng(seed).integers(0, 9999, (12, 64, 96)).astype(np.uint16)
        extractor = roi.NumpyImagingExtractor(movie, sampling_frequency=10.0)
        start = datetime(2024, 1, 1, tzinfo=UTC)
        path = roi.convert(extractor, tmp_path / f"{seed}.nwb", start_time=start)
        made.append(SimpleNamespace(path=path, options={}, expected=movie))
    assert handled(run, tmp_path, *made) == "True []\n"

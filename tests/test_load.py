"""Many threads and many processes read the same recordings of every format: every sample right, nothing grows, nothing stays open.

Some seconds in the suite; some minutes by ``python -m pytest -m long tests/test_load.py -n 0 -s``, which prints its figures.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import multiprocessing
import os
import sys
import threading
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

pytestmark = pytest.mark.thorough

WORKERS = 8
MOST_BYTES = 24 << 20  # of a real recording that takes part
MOST_GROWTH = 48 << 20  # when all has been read for a while; what some seconds need at first is more
OPTIONS = {"channel_name": "channel"}  # other programs' words for ours

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory and descriptors are read in /proc")


@dataclass
class Known:
    """A recording, and a checksum of each of its samples."""

    name: str
    recording: Any
    sums: list[int]


@dataclass
class Told:
    """What one worker saw."""

    reads: Counter[str] = field(default_factory=Counter)
    nbytes: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: tuple[int, int] = (0, 0)
    descriptors: tuple[int, int] = (0, 0)


def checksum(sample: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(sample).view(np.uint8).reshape(-1))


@pytest.fixture
def known(kinds: tuple[str, ...], tmp_path: Path, write_recorded: Callable[..., Any]) -> Iterator[list[Known]]:
    """A recording of every kind that can be written here, and the real ones where they are."""
    found = []
    for kind in kinds:
        with contextlib.suppress(pytest.skip.Exception):
            recorded = write_recorded(kind, tmp_path / kind, shape=(96, 64, 96))
            opened = roi.open(recorded.path, **recorded.options)
            expected = recorded.expected.astype(opened.dtype)
            found.append(Known(kind, opened, [checksum(sample) for sample in expected]))
    found += real_ones()
    yield found
    for each in found:
        each.recording.close()


def real_ones() -> list[Known]:
    """The real recordings, one of each folder and format at least, whose checksums other people's readers told."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "recordings"
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside))
    if not (folder / "EXPECTED.json").is_file():
        return []
    found, seen = [], Counter[str]()
    for entry in json.loads((folder / "EXPECTED.json").read_text(encoding="utf-8")):
        place = str(entry["path"]).partition("/")[0]
        if entry["kind"] == "segmentation" or seen[place] >= 4:
            continue
        with contextlib.suppress(roi.RoiExtractorsError, OSError), warnings.catch_warnings():
            warnings.simplefilter("ignore", roi.RoiExtractorsWarning)
            options = {OPTIONS.get(key, key): value for key, value in entry.get("options", {}).items()}
            opened = roi.open(folder / entry["path"], **options)
            if opened.nbytes <= MOST_BYTES and len(opened):
                series = opened.get_series()
                if is_as_others_read_it(series, entry.get("frames", {})):
                    seen[place] += 1
                    found.append(Known(f"real {opened.provenance.format}", opened, [checksum(s) for s in series]))
    return found


def is_as_others_read_it(series: np.ndarray, frames: dict[str, str]) -> bool:
    """Whether the samples that were noted have the digests of another program's."""
    little = series.astype(series.dtype.newbyteorder("<"))
    digests = {
        k: hashlib.sha256(np.ascontiguousarray(little[int(k)])).hexdigest()[:32] for k in frames if int(k) < len(series)
    }
    return bool(frames) and digests == frames


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def num_open() -> int:
    return len(os.listdir("/proc/self/fd"))


def one_read(recording: Any, random: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Read something, and return it with the numbers of its samples."""
    count = len(recording)
    start = int(random.integers(count))
    stop = min(count, start + int(random.integers(1, 25)))
    way = random.integers(4)
    if way == 0:
        return recording.get_series(start, stop), list(range(start, stop))
    if way == 1:
        chosen = random.integers(0, count, random.integers(1, 12)).tolist()
        return recording.get_samples(chosen), chosen
    if way == 2:
        return recording.slice_samples(start, stop).get_series(), list(range(start, stop))
    return recording[start][np.newaxis], [start]


def work(known: list[Known], seconds: float, seed: int, told: Told) -> Told:
    """Read at random until the time is up."""
    random, end = np.random.default_rng(seed), time.monotonic() + seconds
    while time.monotonic() < end and len(told.wrong) < 5:
        each = known[random.integers(len(known))]
        started = time.perf_counter()
        try:
            found, numbers = one_read(each.recording, random)
        except Exception as error:  # told to who counts
            told.wrong.append(f"{each.name}: {type(error).__name__}: {error}")
            continue
        told.seconds[each.name] += time.perf_counter() - started  # type: ignore[assignment]
        told.reads[each.name] += 1
        told.nbytes[each.name] += found.nbytes
        seen = [checksum(sample) for sample in found]
        if seen != [each.sums[number] for number in numbers]:
            told.wrong.append(f"{each.name}: samples {numbers} are not what is stored")
    return told


def in_threads(known: list[Known], seconds: float, seed: int) -> Told:
    """Let threads of this process read, and add up what they saw; memory from a quarter of the time on."""
    every = [Told() for _ in range(WORKERS)]
    threads = [
        threading.Thread(target=work, args=(known, seconds, seed + k, told), daemon=True)
        for k, told in enumerate(every)
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 4)
    before = resident(), num_open()
    time.sleep(seconds * 5 / 8)
    after = resident(), num_open()
    for thread in threads:
        thread.join()
    whole = added_up(every)
    whole.memory, whole.descriptors = (before[0], after[0]), (before[1], after[1])
    return whole


def added_up(every: list[Told]) -> Told:
    whole = Told()
    for told in every:
        whole.reads += told.reads
        whole.nbytes += told.nbytes
        whole.seconds += told.seconds
        whole.wrong += told.wrong
    return whole


def in_a_process(known: list[Known], seconds: float, seed: int, answers: Any) -> None:
    """Read in a process that was given the pickled recordings."""
    first = work(known, seconds / 4, seed, Told())
    before = resident(), num_open()
    told = added_up([first, work(known, seconds * 3 / 4, seed + 1000, Told())])
    told.memory, told.descriptors = (before[0], resident()), (before[1], num_open())
    for each in known:
        each.recording.close()
    answers.put(told)


def report(title: str, told: Told, seconds: float, workers: int) -> None:
    reads, nbytes = sum(told.reads.values()), sum(told.nbytes.values())
    grown = (told.memory[1] - told.memory[0]) / 2**20
    print(f"\n{title}, {seconds:.0f} s: {reads:,} reads, {nbytes / 1e9:.2f} GB, {len(told.wrong)} wrong;", end=" ")
    print(f"memory grew by {grown:+.1f} MiB, descriptors {told.descriptors[0]} to {told.descriptors[1]}")
    for name in sorted(told.reads):
        rate = told.nbytes[name] / told.seconds[name] / 1e6
        print(f"  {name:24} {told.reads[name]:9,} reads, {rate:8,.0f} MB/s in each of {workers}")


def require_threads_right(known: list[Known], seconds: float, most: int) -> None:
    open_before = num_open()
    told = in_threads(known, seconds, seed=0)
    report(f"{WORKERS} threads", told, seconds, WORKERS)
    assert told.wrong == []
    assert set(told.reads) == {each.name for each in known}
    assert told.memory[1] - told.memory[0] < most
    assert max(told.descriptors) <= open_before + 32 + 4 * WORKERS  # the pool, and what is open while threads read
    for each in known:
        each.recording.close()
    gc.collect()
    assert num_open() <= open_before


def require_processes_right(known: list[Known], seconds: float, most: int) -> None:
    context: Any = multiprocessing.get_context("fork")
    answers = context.Queue()
    workers = [
        context.Process(target=in_a_process, args=(known, seconds, 100 * k, answers), daemon=True)
        for k in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    every = [answers.get(timeout=seconds + 120) for _ in workers]
    for worker in workers:
        worker.join()
    whole = added_up(every)
    whole.memory = max(((t.memory) for t in every), key=lambda pair: pair[1] - pair[0])
    whole.descriptors = max((t.descriptors for t in every), key=lambda pair: pair[1])
    report(f"{WORKERS} processes (memory and descriptors of the one that grew most)", whole, seconds, WORKERS)
    assert whole.wrong == []
    assert [worker.exitcode for worker in workers] == [0] * WORKERS
    for told in every:
        assert told.memory[1] - told.memory[0] < most
        assert told.descriptors[1] <= told.descriptors[0] + 33


@linux
def test_eight_threads_read_every_format_for_some_seconds(known: list[Known]) -> None:
    require_threads_right(known, 4.0, 4 * MOST_GROWTH)


@linux
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_eight_processes_read_every_format_for_some_seconds(known: list[Known]) -> None:
    require_processes_right(known, 3.0, 4 * MOST_GROWTH)


@linux
@pytest.mark.long
def test_eight_threads_read_every_format_for_minutes(known: list[Known]) -> None:
    require_threads_right(known, 150.0, MOST_GROWTH)


@linux
@pytest.mark.long
def test_eight_processes_read_every_format_for_minutes(known: list[Known]) -> None:
    require_processes_right(known, 150.0, MOST_GROWTH)

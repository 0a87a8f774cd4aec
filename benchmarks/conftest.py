"""Measures our reader and the rivals in the same rounds, after comparing the pixels that they return."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pytest

import roiextractors_core as roi

Call = Callable[[], object]
Read = Callable[[list[int] | None, tuple[slice, slice] | None], np.ndarray]
PART = (slice(100, 164), slice(100, 164))
READS = {
    "sequential": "whole recording",
    "scattered": "200 random frames",
    "single": "one frame",
    "part": "64 x 64 pixels of each frame",
    "memory": "whole recording",
}
ROW_SECONDS = 2.0
TURNS = pytest.StashKey[tuple[TextIO, TextIO]]()


class Beside:
    """Measures rows of the performance page; each test measures one.

    Parameters
    ----------
    benchmark : pytest_benchmark.fixture.BenchmarkFixture
    is_quick : bool
        Measure two rounds only.
    """

    def __init__(self, benchmark: Any, is_quick: bool) -> None:
        self.benchmark = benchmark
        self.is_quick = is_quick

    def __call__(
        self,
        row: str,
        ours: Call,
        rivals: Mapping[str, Call] | None = None,
        *,
        group: str,
        limit: str = "",
        at_least: float | None = None,
        at_most: float | None = None,
        nbytes: int = 0,
        per: int = 1,
        unequal: Collection[str] = (),
        growth: tuple[str, int] | None = None,
        rounds: int = 9,
        note: str = "",
    ) -> None:
        """Time a row in several rounds: the rivals, then ours. The first round is dropped.

        Parameters
        ----------
        row : str
            What is measured.
        ours : callable
        rivals : mapping of str to callable, optional
            A rival that raises ImportError is listed as missing.
        group : str
            The table on the page.
        limit : str, optional
            The rival that is the physical limit.
        at_least : float, optional
            The target speed, as a multiple of the limit's.
        at_most : float, optional
            The target time in milliseconds.
        nbytes : int, default: 0
            Bytes that a call reads; if given, speeds are shown instead of times.
        per : int, default: 1
            Number of operations in one call.
        unequal : collection of str, optional
            Rivals whose pixels differ for a reason given in the note.
        growth : tuple of (str, int), optional
            The quantity that the cost may grow with, and its value.
        rounds : int, default: 9
            Maximum number of rounds; fewer if a round is slow.
        note : str, optional
        """
        theirs, once, missing, first = self._compared(ours, rivals or {}, unequal)
        number = 2 if self.is_quick else max(3, min(rounds, int(ROW_SECONDS / max(first, 1e-6))))
        times: dict[str, list[float]] = {name: [] for name in theirs}
        held: list[object] = []

        def others() -> None:
            held.clear()  # free the arrays of the last round outside of the measured time
            for name, call in theirs.items():
                times[name].append(seconds(call))

        self.benchmark.pedantic(lambda: held.append(ours()), setup=others, rounds=number, warmup_rounds=1)
        held.clear()
        mine = list(self.benchmark.stats.stats.data)
        told = {name: told_of(column[1:], mine, per) for name, column in times.items()}
        told |= {name: told_of([took], [statistics.median(mine)], per) for name, took in once.items()}
        self._tell(
            row=row,
            group=group,
            unit="GB/s" if nbytes else "ms",
            nbytes=nbytes / per,
            ours=told_of(mine, mine, per),
            rivals={name: told[name] for name in rivals or {} if name in told},
            once=sorted(once),
            missing=missing,
            limit=limit,
            at_least=at_least,
            at_most=at_most,
            growth=growth,
            note=note,
        )

    def reading(
        self,
        row: str,
        what: str,
        recording: roi.ImagingExtractor,
        rivals: Mapping[str, Callable[[], AbstractContextManager[Read]]],
        *,
        targets: Mapping[str, float] | None = None,
        unequal: Collection[str] = (),
        note: str = "",
    ) -> None:
        """Measure one of :data:`READS`; all readers have opened the file before.

        Parameters
        ----------
        row : str
            The kind of file.
        what : str
            A key of READS.
        recording : ImagingExtractor
        rivals : mapping of str to callable
            Each opens a :data:`Read`; "os.preadv" is the limit.
        targets : mapping of str to float, optional
            The target speed by `what`, as a multiple of the limit's; for memory, the maximum MiB beyond the result.
        unequal : collection of str, optional
        note : str, optional
        """
        count = len(recording)
        indices = np.random.default_rng(1).permutation(count)[:200].tolist()
        singles, frame = indices[:50], recording.nbytes // count
        mine: dict[str, tuple[Call, Callable[[Read], object], int, int]] = {
            "sequential": (recording.get_series, lambda read: read(None, None), count * frame, 1),
            "scattered": (
                lambda: recording.get_samples(indices),
                lambda read: read(indices, None),
                len(indices) * frame,
                1,
            ),
            "single": (
                lambda: [recording.get_series(k, k + 1) for k in singles],
                lambda read: [read([k], None) for k in singles],
                0,
                len(singles),
            ),
            "part": (lambda: np.asarray(recording[:, PART[0], PART[1]]), lambda read: read(None, PART), 0, 1),
        }
        mine["memory"] = mine["sequential"]
        ours, theirs, nbytes, per = mine[what]
        with ExitStack() as stack:
            opened: dict[str, Call] = {}
            for name, opening in rivals.items():
                opened[name] = self._opened(stack, opening, theirs)
            least = (targets or {}).get(what)
            words = f"{row}, {READS[what]}"
            if what == "memory":
                self.memory(words, ours, opened, at_most=32 if least is None else least, unequal=unequal, note=note)
            else:
                self(
                    words,
                    ours,
                    opened,
                    group=what,
                    limit="os.preadv" if "os.preadv" in rivals else "",
                    at_least=least,
                    nbytes=nbytes,
                    per=per,
                    unequal=unequal,
                    note=note,
                )

    def memory(
        self,
        row: str,
        ours: Call,
        rivals: Mapping[str, Call],
        *,
        at_most: float | None = None,
        unequal: Collection[str] = (),
        note: str = "",
    ) -> None:
        """Measure the peak memory of the process beyond the result, in MiB.

        The figure is VmHWM of Linux, so it includes memory allocated by C libraries. The median of three calls is kept.
        """
        theirs, once, missing, _ = self._compared(ours, rivals, unequal)
        if not Path("/proc/self/clear_refs").exists():
            pytest.skip("the peak memory of a process can only be reset on Linux")
        names = [name for name in (*theirs, *once) if name != "os.preadv"]
        found = {
            name: statistics.median(beyond(rivals[name]) for _ in range(1 if name in once else 3)) for name in names
        }
        mine = statistics.median([self.benchmark.pedantic(beyond, args=(ours,)), beyond(ours), beyond(ours)])
        self._tell(
            row=row,
            group="memory",
            unit="MiB",
            nbytes=0,
            ours={"median": mine, "min": mine},
            rivals={
                name: {"median": value, "min": value, "ratio": max(value, 0.1) / max(mine, 0.1)}
                for name, value in found.items()
            },
            once=sorted(once),
            missing=missing,
            limit="",
            at_least=None,
            at_most=at_most,
            growth=None,
            note=note,
        )

    def calls(self, row: str, counts: Mapping[str, int], *, at_most: int) -> None:
        """Report the calls of the system on the files of a recording while it opens, in all and by kind."""
        total = sum(counts.values())
        self.benchmark.pedantic(lambda: None)  # the calls were counted in a process of its own
        self._tell(
            row=row,
            group="share",
            unit="calls",
            nbytes=0,
            ours={"median": total, "min": total},
            rivals={},
            once=[],
            missing={},
            limit="",
            at_least=None,
            at_most=at_most,
            growth=None,
            note=", ".join(f"{count} {kind}" for kind, count in counts.items()),
        )

    def _opened(
        self,
        stack: ExitStack,
        opening: Callable[[], AbstractContextManager[Read]],
        what: Callable[[Read], object],
    ) -> Call:
        """Return a call that opens its file on first use, which is when a rival that is not installed is noticed."""
        found: list[Read] = []

        def call() -> object:
            if not found:
                found.append(stack.enter_context(opening()))
            return what(found[0])

        return call

    def _compared(
        self, ours: Call, rivals: Mapping[str, Call], unequal: Collection[str]
    ) -> tuple[dict[str, Call], dict[str, float], dict[str, str], float]:
        """Return the installed rivals, the times of those too slow to repeat, why others are missing, and the time of a round."""
        here: dict[str, Call] = {}
        once: dict[str, float] = {}
        missing: dict[str, str] = {}
        started = time.perf_counter()
        expected = ours()
        first = time.perf_counter() - started
        if first < ROW_SECONDS:  # the first call also imports
            first = seconds(ours)
        for name, call in rivals.items():
            started = time.perf_counter()
            try:
                found = call()
            except ImportError as error:
                missing[name] = f"{error.name} is not installed" if error.name else " ".join(str(error).split())
                continue
            took = time.perf_counter() - started
            assert name in unequal or is_same(expected, found), f"{name} returns other pixels"
            del found
            if took > ROW_SECONDS:  # the first call also imports, and may be the first to read the file
                took = seconds(call)
            if took > ROW_SECONDS:
                once[name] = took
            else:
                here[name] = call
                first += took
        return here, once, missing, first

    def _tell(self, **told: Any) -> None:
        self.benchmark.group = told["group"]
        self.benchmark.extra_info.update(told)
        unit, ours = told["unit"], told["ours"]["median"]
        figures = {"MiB": f"{ours:.1f} MiB", "calls": f"{ours} calls ({told['note']})"}
        figure = figures.get(unit, f"{ours * 1e3:.3f} ms")
        growth = f" ({told['growth'][1]:,} {told['growth'][0]})" if told["growth"] else ""
        beside = [f"{name} / ours {values['ratio']:.2f}" for name, values in told["rivals"].items()]
        beside += [f"{name} missing: {reason}" for name, reason in told["missing"].items()]
        beside += [f"target >= {told['at_least']}"] if told["at_least"] is not None else []
        beside += [f"target <= {told['at_most']} {unit}"] if told["at_most"] is not None else []
        print(f"\n{told['group']}: {told['row']}{growth}: {'; '.join([figure, *beside])}")


def seconds(call: Call) -> float:
    """Return how long a call takes; its result is freed after the clock has stopped."""
    started = time.perf_counter()
    result = call()
    took = time.perf_counter() - started
    del result
    return took


def told_of(theirs: list[float], mine: list[float], per: int) -> dict[str, float]:
    """Return the median and minimum of some times, and the median of their ratios to ours, round by round."""
    ratio = statistics.median(a / b for a, b in zip(theirs, mine, strict=True))
    return {"median": statistics.median(theirs) / per, "min": min(theirs) / per, "ratio": ratio}


def is_same(ours: object, theirs: object) -> bool:
    """Return whether two results contain the same pixels; results without pixels are not compared."""
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(is_same(a, b) for a, b in zip(ours, theirs, strict=True))
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
        return np.array_equal(ours.reshape(theirs.shape) if ours.size == theirs.size else ours, theirs)
    return True


def beyond(call: Call) -> float:
    """Return the peak memory of the process during a call, beyond the result, in MiB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # free memory that malloc keeps would hide new allocations
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    result = call()
    return (resident("VmHWM") - before - getattr(result, "nbytes", 0)) / 2**20


def resident(name: str) -> int:
    """Return a value of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="measure two rounds of every benchmark")
    parser.addoption("--lockstep", metavar="IN,OUT", help="take turns with another revision; see compare.py")


def pytest_configure(config: pytest.Config) -> None:
    if descriptors := config.getoption("--lockstep"):
        orders, answers = map(int, descriptors.split(","))
        config.stash[TURNS] = os.fdopen(orders, "r"), os.fdopen(answers, "w")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore"))  # other readers warn; their pixels are compared


@pytest.fixture
def beside(request: pytest.FixtureRequest) -> Beside:
    """Measure a row of the performance page, or take turns with another revision."""
    if streams := request.config.stash.get(TURNS, None):
        from benchmarks.compare import Lockstep

        place = request.session.items.index(request.node)
        return Lockstep(place, streams, is_quick=request.config.getoption("--quick"))
    if not request.config.pluginmanager.hasplugin("benchmark"):
        pytest.skip("pytest-benchmark is not installed; benchmarks/requirements.txt names it")
    return Beside(request.getfixturevalue("benchmark"), request.config.getoption("--quick"))

"""Compares two revisions: each runs the same benchmarks in a process of its own, and the two take turns, row by row.

On a machine that does other work, two figures that were measured one after the other say little; in turns, both suffer alike.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import pytest

from benchmarks.conftest import Beside, seconds

__all__ = ["Comparison", "Lockstep", "compare", "table"]

ROOT = Path(__file__).resolve().parents[1]
CLEARLY = 1.05  # a ratio by which two revisions differ that is not chance, where all three measures agree
_TURN_SECONDS = 0.01  # a turn repeats a quick call, so that the clock's resolution does not matter
_MIN_TURNS = 6


@dataclass
class Comparison:
    """One row: how long a call takes in both revisions, turn by turn, in seconds."""

    row: str
    before: list[float] = field(default_factory=list)
    now: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> tuple[float, float, float]:
        """How many times faster this revision is: by the best turns, by the lower quartiles, and by the median of pairs."""
        pairs = [before / now for before, now in zip(self.before, self.now, strict=True)]
        return min(self.before) / min(self.now), _quartile(self.before) / _quartile(self.now), statistics.median(pairs)

    @property
    def verdict(self) -> str:
        """``"slower"`` or ``"faster"`` where all three ratios say so, otherwise nothing."""
        low, high = min(self.ratios), max(self.ratios)
        return "slower" if high < 1 / CLEARLY else "faster" if low > CLEARLY else ""


class Lockstep(Beside):
    """Measures a row when the process that compares two revisions says so."""

    def __init__(self, place: int, streams: tuple[TextIO, TextIO], *, is_quick: bool) -> None:
        super().__init__(None, is_quick)
        self.place = place
        self._orders, self._answers = streams

    def __call__(
        self, row: str, ours: Callable[[], object], rivals: Any = None, *, group: str, per: int = 1, **rest: Any
    ) -> None:
        """Time calls until the other process says to continue; the rivals and the targets of a row do not matter here."""
        ours()  # imports, and brings the file into the page cache
        once = seconds(ours)
        growth = rest.get("growth")
        label = f"{group}: {row}" + (f" ({growth[1]:,} {growth[0]})" if growth else "")
        self._answer(place=self.place, row=label, once=once)
        for order in self._orders:
            count = json.loads(order)
            if not count:
                return
            self._answer(seconds=min(seconds(ours) for _ in range(count)) / per)
        pytest.exit("the process that compares has ended")

    def memory(self, *_: Any, **__: Any) -> None:
        """Skip: a peak is not a matter of turns."""
        pytest.skip("memory is not compared in turns")

    def calls(self, *_: Any, **__: Any) -> None:
        """Skip: a number of calls is the same in every turn."""
        pytest.skip("numbers of calls are not compared in turns")

    def _answer(self, **words: Any) -> None:
        self._answers.write(json.dumps(words) + "\n")
        self._answers.flush()


class _Revision:
    """The benchmarks of one module, run on the code of one revision."""

    def __init__(self, tree: Path, module: Path, folder: Path) -> None:
        (orders, own_orders), (own_answers, answers) = os.pipe(), os.pipe()
        plugins = sorted(str(path.parent) for path in tree.glob("plugins/*/pyproject.toml"))
        # The benchmarks of this revision for both, so that a row means the same
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), str(tree), *plugins]),
            "PYTHONHASHSEED": "0",
        }
        words = ["-m", "pytest", str(folder / "benchmarks" / module.name), "-n", "0", "-q", "-p", "no:cacheprovider"]
        words += [
            "--rootdir",
            str(folder),
            "-c",
            os.devnull,
            "--import-mode=importlib",
            "-p",
            "no:benchmark",
            "-W",
            "ignore",
        ]
        words += ["--basetemp", str(folder / f"data-{tree.name}"), "--lockstep", f"{orders},{answers}"]
        self.rows_seen, self.log = 0, folder / f"{module.stem}-{tree.name}.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, *words],
                cwd=folder,
                env=environment,
                pass_fds=(orders, answers),
                stdout=log,
                stderr=log,
            )
        os.close(orders)
        os.close(answers)
        self._reading, self._writing = os.fdopen(own_answers, "r"), os.fdopen(own_orders, "w")
        self.row: Mapping[str, Any] = {}

    def go_to_first(self) -> None:
        """Wait for the first row; both processes are preparing theirs at the same time."""
        self.row = self._next()

    def turn(self, count: int) -> float:
        """Return the time of the best of so many calls."""
        self._send(count)
        return float(self._next()["seconds"])

    def go_on(self) -> None:
        """Leave this row, and wait for the next."""
        self._send(0)
        self.row = self._next()

    def close(self) -> None:
        """End the process."""
        self._writing.close()
        self._reading.close()
        self._process.wait()

    def _send(self, count: int) -> None:
        self._writing.write(f"{count}\n")
        self._writing.flush()

    def _next(self) -> Mapping[str, Any]:
        line = self._reading.readline()
        return json.loads(line) if line else {}


def compare(revision: str, modules: list[Path], *, turn_seconds: float = 2.0) -> Iterator[Comparison | str]:
    """Run modules on another revision and on the working tree; yield each row, or a sentence about one that cannot be compared.

    Parameters
    ----------
    revision : str
        Whatever git takes for a commit: ``main``, ``HEAD~3``, ``v0.1.0``.
    modules : list of pathlib.Path
    turn_seconds : float, default: 2.0
        How long a row is repeated at least.

    Raises
    ------
    SystemExit
        git does not know the revision.
    """
    if not hasattr(os, "fork"):
        raise SystemExit("revisions are compared on Linux and macOS, where a process inherits open files")
    with TemporaryDirectory(prefix="compare-") as scratch, _checked_out(revision, Path(scratch)) as before:
        folder = Path(scratch) / "run"
        folder.mkdir()
        (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
        for module in modules:
            with _both(before, module, folder) as pair:
                yield from _rows(pair, turn_seconds)
                if not pair[1].rows_seen:
                    yield f"{module.stem}: no row was measured; {_end_of(pair[1].log)}"


def _rows(pair: tuple[_Revision, _Revision], turn_seconds: float) -> Iterator[Comparison | str]:
    before, now = pair
    while before.row and now.row:
        places = before.row["place"], now.row["place"]
        if places[0] != places[1]:  # a row that failed, or was skipped, on the other side
            behind, name = (now, "this revision") if places[0] > places[1] else (before, "the other revision")
            yield f"{behind.row['row']}: only in {name}"
            behind.go_on()
            continue
        yield _compared(before, now, turn_seconds)
    for one, name in ((before, "the other revision"), (now, "this revision")):
        while one.row:
            yield f"{one.row['row']}: only in {name}"
            one.go_on()


def _compared(before: _Revision, now: _Revision, turn_seconds: float) -> Comparison:
    found = Comparison(now.row["row"])
    count = max(1, min(100, int(_TURN_SECONDS / max(min(before.row["once"], now.row["once"]), 1e-7))))
    started = time.perf_counter()
    while len(found.now) < _MIN_TURNS or time.perf_counter() - started < turn_seconds:
        sides = [(before, found.before), (now, found.now)]
        for side, times in sides if len(found.now) % 2 else reversed(sides):
            times.append(side.turn(count))
    now.rows_seen += 1
    before.go_on()
    now.go_on()
    return found


def table(rows: list[Comparison]) -> str:
    """Return the rows as a table in Markdown, those that became slower first."""
    lines = ["| benchmark | before (ms) | now (ms) | before / now | |", "|---|---|---|---|---|"]
    for each in sorted(rows, key=lambda row: (row.verdict != "slower", row.row)):
        before, now = min(each.before) * 1e3, min(each.now) * 1e3
        lines.append(
            f"| {each.row} | {before:.3f} | {now:.3f} | {min(each.ratios):.2f} to {max(each.ratios):.2f} | {each.verdict} |"
        )
    return "\n".join(lines)


@contextmanager
def _checked_out(revision: str, scratch: Path) -> Iterator[Path]:
    """Check a revision out beside the working tree, and remove it afterwards."""
    tree = scratch / "before"
    git = ["git", "-C", str(ROOT)]
    done = subprocess.run(
        [*git, "worktree", "add", "--detach", str(tree), revision], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"could not check out {revision!r}: {done.stderr.strip().splitlines()[-1]}")
    try:
        yield tree
    finally:
        subprocess.run([*git, "worktree", "remove", "--force", str(tree)], capture_output=True, check=False)


@contextmanager
def _both(before: Path, module: Path, folder: Path) -> Iterator[tuple[_Revision, _Revision]]:
    with ExitStack() as stack:
        pair = [_Revision(tree, module, folder) for tree in (before, ROOT)]
        for one in pair:
            stack.callback(one.close)
        for one in pair:
            one.go_to_first()
        yield pair[0], pair[1]


def _quartile(times: list[float]) -> float:
    return sorted(times)[len(times) // 4]


def _end_of(log: Path) -> str:
    return " ".join(log.read_text(encoding="utf-8", errors="replace").split())[-300:]

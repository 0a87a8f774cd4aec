"""Runs many cases in another process, which is started again when it crashes or hangs."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import RoiExtractorsError
from .outcomes import CLOCK, DEFECTS, SECONDS, Defect, Report, is_settled
from .seeds import Seed

__all__ = ["fuzz"]

_TIMER = int(getattr(signal, "SIGPROF", 0)) or 1 << 16  # ends a process that took too much time of the processor
_START = "import sys; from roiextractors_core.testing.fuzzing import opening; opening.serve(*sys.argv[1:])"


def fuzz(
    seeds: Sequence[Seed],
    *,
    cases: int = 300,
    number: int = 1,
    first: int = 0,
    keep: Path | None = None,
    progress: Callable[[Report], object] | None = None,
    costly: bool = False,
    clock: float = CLOCK,
) -> Report:
    """Open and read changed copies of recordings.

    Parameters
    ----------
    seeds : sequence of Seed
        Taken in turn.
    cases : int
    number : int
        Of the sequence of cases: the same number, the same changes.
    first : int
        The first case.
    keep : pathlib.Path, optional
        Where the files of those that came out wrong, or could not be judged, are kept.
    progress : callable, optional
        Called with the report now and then.
    costly : bool
        Whether to make the changes that cost most: enormous counts, long chains, circles, deep nesting, bombs.
    clock : float
        Seconds of the clock that a costly case may take; of the processor, it may take 5.

    Returns
    -------
    Report
    """
    started = time.monotonic()
    report = Report("/".join(sorted({seed.format for seed in seeds})))
    with tempfile.TemporaryDirectory(prefix="roiextractors-fuzz-", ignore_cleanup_errors=True) as folder:
        work = _Work(Path(folder), seeds, number, keep, clock=clock if costly else 0.0)
        at = first
        while at < first + cases:
            at = work.run(at, first + cases, report)
            report.seconds = time.monotonic() - started
            if progress is not None:
                progress(report)
    return report


class _Work:
    """The process that opens the cases; a new one is started if it ends early."""

    def __init__(self, folder: Path, seeds: Sequence[Seed], number: int, keep: Path | None, *, clock: float) -> None:
        self.folder = folder
        self.seeds = seeds
        self.keep = keep
        self.clock = clock
        for place, seed in enumerate(seeds):
            (folder / f"seed{place}").mkdir()
            # copyfile leaves the modes behind, so the copy of a write-protected file can be changed
            shutil.copytree(seed.folder, folder / f"seed{place}" / "recording", copy_function=shutil.copyfile)
            seed.save(folder / f"seed{place}")
        plan = {
            "folder": str(folder), "count": len(seeds), "number": number, "keep": str(keep or ""), "clock": clock,
        }  # fmt: skip
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")

    def run(self, first: int, end: int, report: Report) -> int:
        """Work off cases until they are done or the process ends; return the case to go on with."""
        process = self._start(first, end)
        begun = first - 1
        try:
            for answer in self._answers(process):
                if "outcome" not in answer:
                    begun = answer["case"]
                    continue
                self._count(report, answer)
                begun = -1
                first = answer["case"] + 1
            with suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stdin):
                if stream is not None:
                    stream.close()
        if first >= end:
            return end
        # Nothing was announced: without this check the loop would start the process for ever
        if begun < first:
            raise RoiExtractorsError(f"the process that opens does not start: {self._last_words()}")
        answer = {
            "case": begun,
            "seed": self.seeds[begun % len(self.seeds)].name,
            **self._end_outcome(process.returncode),
        }
        self._count(report, answer)
        self._keep_rest(answer)
        return begun + 1  # the case that ended the process is counted, and the next one begins in a new process

    def _start(self, first: int, end: int) -> subprocess.Popen[bytes]:
        paths = os.pathsep.join(dict.fromkeys(os.path.abspath(entry) for entry in sys.path if entry))
        # One arena and one thread: each further one reserves address space, which the limit counts
        environment = {**os.environ, "PYTHONPATH": paths, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("ROIEXTRACTORS_FUZZ_SEEDS", None)
        command = [sys.executable, "-B", "-c", _START, str(self.folder), str(first), str(end)]
        with (self.folder / "errors").open("wb") as errors:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=self.folder
            )

    def _answers(self, process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
        """Yield the answers of the process, until it ends or is silent for too long."""
        if process.stdout is None:
            return
        descriptor, rest = process.stdout.fileno(), b""
        while True:
            # Longer than all that a child may do without a word: import and read a recording, open a copy, and judge it
            ready, _, _ = select.select([descriptor], [], [], 2 * CLOCK + self.clock)
            data = os.read(descriptor, 1 << 16) if ready else b""
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from (json.loads(line) for line in lines)

    def _end_outcome(self, code: int | None) -> dict[str, str]:
        words = self._last_words()
        # The traceback of a deep call is longer than the last words, and begins with the reason
        said = (self.folder / "errors").read_text(encoding="utf-8", errors="replace")
        if "Timeout (" in said or "no answer" in said or code == -_TIMER:
            return {"outcome": "hang", "words": f"over {SECONDS:.0f} s: {words}"}
        if "in judge_contents" in said:  # scipy, on a damaged file
            return {"outcome": "unjudged: another library ended the process", "words": words}
        return {"outcome": "crash", "words": f"the process ended with {code}: {words}"}

    def _last_words(self) -> str:
        said = (self.folder / "errors").read_text(encoding="utf-8", errors="replace")
        return " / ".join(line.strip() for line in said.splitlines() if line.strip())[-1500:]

    def _keep_rest(self, answer: Mapping[str, Any]) -> None:
        """Keep the files that the process left; there are none if it ended before its first case."""
        if self.keep is None:
            return
        self.keep.mkdir(parents=True, exist_ok=True)
        (self.keep / f"case{answer['case']}.txt").write_text(f"{json.dumps(answer, indent=1)}\n", encoding="utf-8")
        with suppress(OSError, shutil.Error):
            there = self.folder / f"now{answer['case'] % len(self.seeds)}"
            shutil.copytree(there, self.keep / f"case{answer['case']}", dirs_exist_ok=True)

    @staticmethod
    def _count(report: Report, answer: Mapping[str, Any]) -> None:
        outcome = answer["outcome"]
        report.counts[outcome] += 1
        found = Defect(answer["case"], answer["seed"], outcome, answer.get("words", ""), answer.get("place", ""))
        if outcome.startswith(DEFECTS):
            report.defects.append(found)
        elif not is_settled(outcome):
            report.unjudged.append(found)

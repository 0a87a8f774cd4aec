"""Runs the tests of a kit in this process, as a plugin's author would, and collects what came of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Outcome", "kit_in"]

CASES: dict[str, type] = {}


@dataclass
class Outcome:
    """What a run of the kit came to: the messages of the tests that failed, and the names of those that passed or not."""

    failed: dict[str, str]
    passed: set[str]
    skipped: dict[str, str]


class Collected:
    """A pytest plugin that keeps the reports."""

    def __init__(self) -> None:
        self.outcome = Outcome({}, set(), {})

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        if report.failed:
            self.outcome.failed.setdefault(name, f"{report.longreprtext}")
        elif report.skipped:
            self.outcome.skipped[name] = str(report.longrepr[2])
        elif report.when == "call":
            self.outcome.passed.add(name)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.outcome.failed["collection"] = report.longreprtext


@contextmanager
def kit_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Outcome]]:
    """Yield a function that runs the tests of a class, with further attributes."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "")
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "kit"
    folder.mkdir()
    # Some planted faults leave a file open, which is collected in whatever test runs then
    (folder / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings =\n    error\n    ignore::pytest.PytestUnraisableExceptionWarning\n"
    )
    (folder / "conftest.py").write_text("")

    def run(cases: type, **attributes: Any) -> Outcome:
        module = folder / "test_it.py"
        module.write_text(f"import sys\nTestIt = sys.modules[{__name__!r}].CASES[{str(folder)!r}]\n")
        CASES[str(folder)] = type("TestIt", (cases,), {"__module__": "test_it", **attributes})
        collected = Collected()
        off = ("xdist", "cacheprovider", "terminal", "randomly", "cov")
        words = [
            str(module),
            f"--rootdir={folder}",
            "-c",
            str(folder / "pytest.ini"),
            f"--basetemp={tmp_path / 'base'}",
        ]
        pytest.main([*words, *(f"-pno:{name}" for name in off)], plugins=[collected])
        del CASES[str(folder)]
        return collected.outcome

    yield run
    sys.modules.pop("test_it", None)

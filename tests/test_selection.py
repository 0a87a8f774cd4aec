"""Which tests are quick: see conftest.py at the root of the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from roiextractors_core.testing import ImagingExtractorTests

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [pytest.mark.tools, pytest.mark.thorough]


def collected(*arguments: str) -> set[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-n", "0", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # Not those whose parameters contain a line break, which are printed in part
    return {line for line in done.stdout.splitlines() if "::" in line and ("[" not in line or line.endswith("]"))}


def test_the_two_commands_run_every_test_once() -> None:
    quick, thorough, every = collected(), collected("-m", "thorough"), collected("tests", "plugins")
    assert quick
    assert thorough
    assert not quick & thorough
    assert quick | thorough == every


def test_what_is_named_is_run() -> None:
    one = "tests/test_selection.py::test_what_is_named_is_run"
    assert collected(one) == {one}
    assert one in collected("tests/test_selection.py")
    assert collected("-k", "test_what_is_named_is_run") == {one}


def test_every_rule_of_the_kit_is_quick_for_some_layout() -> None:
    quick = {line.rpartition("::")[2].partition("[")[0] for line in collected()}
    assert {name for name in dir(ImagingExtractorTests) if name.startswith("test_")} <= quick

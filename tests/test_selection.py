"""Which tests are quick: see conftest.py at the root of the repository."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from roiextractors_core.testing import ImagingExtractorTests

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [pytest.mark.tools, pytest.mark.thorough]
# The rules do not depend on the folder: those with the costly tests, some others, and tests of every marker
FOLDERS = "plugins/hdf5/tests plugins/tiff/tests plugins/suite2p/tests tests/test_conformance.py tests/test_fuzz.py tests/test_selection.py"


def collected(*arguments: str, folder: Path = ROOT) -> set[str]:
    """Return the tests that pytest selects in ``FOLDERS``, as it does in all folders, unless a path is among the arguments."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-n", "0", "-p", "no:cacheprovider"]
    command += ["-o", f"testpaths={FOLDERS}", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # Not those whose parameters contain a line break, which are printed in part
    return {line for line in done.stdout.splitlines() if "::" in line and ("[" not in line or line.endswith("]"))}


def test_the_two_commands_run_every_test_once_but_those_that_repeat() -> None:
    quick, thorough, repeated = collected(), collected("-m", "thorough"), collected("-m", "repeated")
    assert quick
    assert thorough
    assert repeated
    assert len(quick | thorough | repeated) == len(quick) + len(thorough) + len(repeated)
    assert quick | thorough | repeated == collected(*FOLDERS.split())


LAYOUTS = """
import pytest
from roiextractors_core.testing import ImagingExtractorTests

class TestFirst(ImagingExtractorTests):
    format = "npy"

class TestOtherLayout(TestFirst):
    pass

class TestReadByOtherCode(ImagingExtractorTests):
    format = "npy"
    has_own_code = True

class TestLayoutOfThat(TestReadByOtherCode):
    pass

class TestOtherFormat(TestFirst):
    format = "tiff"

class TestStreams(TestOtherFormat):
    @pytest.fixture
    def expected_streams(self):
        return {"channel": ("1", "2")}

class TestOtherStreams(TestStreams):
    pass
"""
CONFTEST = """
from roiextractors_core.testing import repeated_tests

def pytest_collection_modifyitems(items):
    repeated = {*repeated_tests(items)}
    items[:] = [item for item in items if item not in repeated]
"""


def test_a_costly_rule_repeats_for_another_layout_that_the_same_code_reads(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_layouts.py").write_text(LAYOUTS)
    rules = {name for name in dir(ImagingExtractorTests) if name.startswith("test_")}
    assert all(seen == rules for seen in _rules_by_class(tmp_path).values())  # unless a conftest.py asks for less
    (tmp_path / "conftest.py").write_text(CONFTEST)
    classes = _rules_by_class(tmp_path)
    streams = {"test_the_streams_do_not_depend_on_the_hash_seed"}
    assert classes["TestFirst"] == classes["TestOtherFormat"] == rules
    # Skipped without a fixture `expected_streams`: the first class that has one counts
    assert classes["TestOtherLayout"] == classes["TestLayoutOfThat"] == classes["TestOtherStreams"] | streams
    assert classes["TestStreams"] == classes["TestOtherStreams"] | streams
    without, own = rules - classes["TestOtherLayout"], rules - classes["TestReadByOtherCode"]
    assert {"test_it_pickles_into_a_fresh_process", "test_a_cut_recording_is_told_and_never_garbage"} <= without
    assert "test_the_whole_series_is_what_was_recorded" not in without
    assert "test_it_pickles_into_a_fresh_process" in own < without
    assert "test_a_cut_recording_is_told_and_never_garbage" not in own


def _rules_by_class(folder: Path) -> dict[str, set[str]]:
    rules: dict[str, set[str]] = defaultdict(set)
    for line in collected(str(folder), "-c", str(folder / "pytest.ini"), "--rootdir", str(folder)):
        _, tests, rule = line.split("::")
        rules[tests].add(rule.partition("[")[0])
    assert len(rules) == 7
    return rules


def test_what_is_named_is_run() -> None:
    one = "tests/test_selection.py::test_what_is_named_is_run"
    assert collected(one) == {one}
    assert one in collected("tests/test_selection.py")
    assert collected("-k", "test_what_is_named_is_run") == {one}


def test_in_the_folder_of_a_plugin_its_quick_tests_are_run() -> None:
    quick = {one for one in collected() if one.startswith("plugins/hdf5/")}
    assert quick
    assert collected(folder=ROOT / "plugins" / "hdf5") == quick


def test_every_rule_of_the_kit_is_quick_for_some_layout() -> None:
    quick = {line.rpartition("::")[2].partition("[")[0] for line in collected()}
    assert {name for name in dir(ImagingExtractorTests) if name.startswith("test_")} <= quick

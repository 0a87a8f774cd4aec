"""The kit of segmentations is proven by planted faults: each breaks one rule, and the kit says which and how to fix it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import roiextractors_core as roi
from roiextractors_core.testing import SegmentationExtractorTests

sys.path.insert(0, str(Path(__file__).parent))
from planted import rois

pytestmark = pytest.mark.tools


class Cases(SegmentationExtractorTests):
    format = "planted-rois"
    samples = 50

    @pytest.fixture
    def expected(self) -> roi.NumpySegmentationExtractor:
        return rois.made(samples=self.samples)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: Any) -> Path:
        return rois.write_rois(tmp_path / "a.plrois", expected)


class Long(Cases):
    samples = 80_000


RUNNING: dict[str, type] = {}


class Collected:
    """A pytest plugin that keeps the reports."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self.passed: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        if report.failed:
            self.failed.setdefault(name, report.longreprtext)
        elif report.passed and report.when == "call":
            self.passed.add(name)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed["collection"] = report.longreprtext


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Collected]]:
    """Run the kit in this process, as a plugin's author would, with one extractor."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "")
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "kit"
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (folder / "conftest.py").write_text("")

    def run(extractor: str, cases: type = Cases, declares: Any = None, **attributes: Any) -> Collected:
        roi.default_registry().register(roi.FormatSpec(**{**rois.FILE, **(declares or {}), "extractor": extractor}))
        module = folder / "test_it.py"
        module.write_text(f"import sys\nTestIt = sys.modules[{__name__!r}].RUNNING[{str(folder)!r}]\n")
        RUNNING[str(folder)] = type("TestIt", (cases,), {"__module__": "test_it", **attributes})
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
        return collected

    yield run
    RUNNING.pop(str(folder), None)
    roi.default_registry().unregister("planted-rois")
    sys.modules.pop("test_it", None)


def test_a_sound_extractor_passes_every_test(run: Callable[..., Collected]) -> None:
    outcome = run("planted.rois:PlantedRois", Long)
    assert outcome.failed == {}
    assert len(outcome.passed) >= 26
    assert "test_one_trace_reads_no_more_than_it_needs" in outcome.passed or sys.platform != "linux"


@pytest.mark.parametrize("name", rois.FAULTS)
def test_a_planted_fault_is_caught(name: str, run: Callable[..., Collected]) -> None:
    _, fails, says, declares = rois.FAULTS[name]
    cases = Long if "test_one_trace_reads_no_more_than_it_needs" in fails else Cases
    outcome = run(f"planted.rois:{name}", cases, declares)
    assert set(fails) <= set(outcome.failed), outcome.failed
    messages = [outcome.failed[test] for test in fails]
    assert any(part in message for message in messages for part in says.split("|")), messages
    assert all("to do: " in message for message in messages), messages


class NothingExpected(SegmentationExtractorTests):
    format = "planted-rois"

    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return rois.write_rois(tmp_path / "a.plrois", rois.made())


class NothingRecorded(SegmentationExtractorTests):
    format = "planted-rois"

    @pytest.fixture
    def expected(self) -> Any:
        return rois.made()


class TooFew(Cases):
    @pytest.fixture
    def expected(self) -> Any:
        return rois.made().select_rois(["0", "1"])


class Square(Cases):
    @pytest.fixture
    def expected(self) -> Any:
        masks = roi.RoiMasks.from_pixels((5, 5), [([0], [1]), ([1, 2], [1, 1]), ([3], [3])])
        return roi.NumpySegmentationExtractor(masks)

    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return rois.write_rois(tmp_path / "a.plrois", rois.made())


@pytest.mark.parametrize(
    ("cases", "test", "says"),
    [
        (NothingExpected, "test_the_author_gives_every_fixture", "does not say: expected"),
        (NothingRecorded, "test_the_author_gives_every_fixture", "does not say: recording"),
        (TooFew, "test_expected_can_tell_mistakes_apart", "has 2 ROIs"),
        (Square, "test_expected_can_tell_mistakes_apart", "is square"),
    ],
)
def test_what_the_author_forgot_is_named(cases: type, test: str, says: str, run: Callable[..., Collected]) -> None:
    assert says in run("planted.rois:PlantedRois", cases).failed[test]

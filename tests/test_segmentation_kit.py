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
from planted.running import Outcome, kit_in

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


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Outcome]]:
    """Run the kit in this process, as a plugin's author would, with one extractor."""
    with kit_in(tmp_path, monkeypatch) as kit:

        def run(extractor: str, cases: type = Cases, declares: Any = None) -> Outcome:
            roi.default_registry().register(roi.FormatSpec(**{**rois.FILE, **(declares or {}), "extractor": extractor}))
            return kit(cases)

        yield run
    roi.default_registry().unregister("planted-rois")


def test_a_sound_extractor_passes_every_test(run: Callable[..., Outcome]) -> None:
    outcome = run("planted.rois:PlantedRois", Long)
    assert outcome.failed == {}
    assert len(outcome.passed) >= 26
    assert "test_one_trace_reads_no_more_than_it_needs" in outcome.passed or sys.platform != "linux"


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", rois.FAULTS)
def test_a_planted_fault_is_caught(name: str, run: Callable[..., Outcome]) -> None:
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


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("cases", "test", "says"),
    [
        (NothingExpected, "test_the_author_gives_every_fixture", "does not say: expected"),
        (NothingRecorded, "test_the_author_gives_every_fixture", "does not say: recording"),
        (TooFew, "test_expected_can_tell_mistakes_apart", "has 2 ROIs"),
        (Square, "test_expected_can_tell_mistakes_apart", "is square"),
    ],
)
def test_what_the_author_forgot_is_named(cases: type, test: str, says: str, run: Callable[..., Outcome]) -> None:
    assert says in run("planted.rois:PlantedRois", cases).failed[test]

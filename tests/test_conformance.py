"""The kit is proven by planted faults: every rule has an extractor that breaks it, and the kit says which and how to fix it."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.io.process_state import PROCESS_STATE
from roiextractors_core.registry.registry import default_registry
from roiextractors_core.testing import ImagingExtractorTests
from roiextractors_core.testing.conformance import processes
from roiextractors_core.testing.cuts import cuts_of, exchanges_of

sys.path.insert(0, str(Path(__file__).parent))
from planted import faults, sound
from planted.changes import CHANGES
from planted.running import Outcome, kit_in

# Some planted faults leave a file open, which is collected in whatever test runs then
pytestmark = [pytest.mark.tools, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

FRESH = (  # the tests that start a process, read from threads or let the disk fail: run where a fault is theirs
    "test_a_descriptor_that_failed_is_not_used_again",
    "test_a_disk_that_fails_is_an_error_and_the_next_read_is_right",
    "test_it_pickles_into_a_fresh_process",
    "test_a_pipe_or_a_device_in_place_of_a_file_is_refused",
    "test_opening_writes_nothing_and_runs_nothing_from_the_file",
    "test_a_cut_recording_is_told_and_never_garbage",
    "test_exchanged_files_are_told_and_never_mixed_up",
    "test_a_missing_file_is_told_and_never_filled_in",
    "test_a_missing_key_is_told_and_never_filled_in",
    "test_the_streams_do_not_depend_on_the_hash_seed",
    "test_importing_and_the_first_opening_leave_the_process_as_it_was",
    "test_it_can_be_read_from_several_threads",
    "test_forked_processes_read_each_for_itself",
)
BY_ANOTHER_TEST = ("TheRateIsKeptOnTheClass",)  # one test leaves behind what the next one finds
COSTS = ("test_memory_is_bounded_by_the_request", "test_no_more_is_read_than_was_asked_for")
TIMES = np.cumsum(np.linspace(0.05, 0.15, 40))


class Planar(ImagingExtractorTests):
    format = "planted"
    shape: tuple[int, ...] = (40, 48, 64)

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return sound.movie(self.shape)

    @pytest.fixture
    def expected_rate(self) -> float | None:
        return 15.5

    @pytest.fixture
    def expected_times(self) -> np.ndarray | None:
        return None

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, expected_rate: float) -> Path:
        return sound.write_file(tmp_path / "movie.planted", expected, rate=expected_rate)


class Volumes(Planar):
    shape = (40, 16, 24, 8)


class Timed(Planar):
    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return TIMES

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, expected_rate: float) -> Path:
        return sound.write_file(tmp_path / "movie.planted", expected, times=TIMES, rate=expected_rate)


class Channels(Planar):
    open_options = {"channel": "2"}

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("1", "2", "3")}

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, expected_rate: float) -> Path:
        others = sound.movie(self.shape, 2), sound.movie(self.shape, 3)
        return sound.write_file(tmp_path / "movie.planted", others[0], expected, others[1], rate=expected_rate)


class UnknownRate(Planar):
    @pytest.fixture
    def expected_rate(self) -> None:
        return None

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        return sound.write_file(tmp_path / "movie.planted", expected)


class Tif(Planar):
    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, expected_rate: float) -> Path:
        return sound.write_file(tmp_path / "movie.tif", expected, rate=expected_rate)


class InAFolder(Planar):
    format = "planted-folder"

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, expected_rate: float) -> Path:
        return sound.write_folder(tmp_path / "movie", expected, rate=expected_rate)


class TimesBesideIt(Timed):
    format = "planted-beside"

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, expected_rate: float) -> Path:
        (tmp_path / "movie.times").write_bytes(TIMES.astype("<f8").tobytes())
        return sound.write_file(tmp_path / "movie.planted", expected, rate=expected_rate)


class InChunks(Timed):
    format = "planted-session"
    open_options = {"channel": "red"}
    files_know_their_place = False

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("green", "red", "far-red", "dapi")}

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return (TIMES + 0.123457).round(6)

    @pytest.fixture
    def expected_by_choice(self, expected: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        others = {name: sound.movie(self.shape, k) for k, name in enumerate(("green", "far-red", "dapi"), start=2)}
        return {"channel": {"red": expected, **others}}

    @pytest.fixture
    def recording(
        self, tmp_path: Path, expected: np.ndarray, expected_by_choice: Any, expected_streams: Any, expected_times: Any
    ) -> Path:
        pixels = expected_by_choice["channel"]
        return sound.write_session(
            tmp_path / "movie", expected_times, **{name: pixels[name] for name in expected_streams["channel"]}
        )


class InDelayedChannels(InChunks):
    @pytest.fixture
    def expected_rate(self) -> float:
        return 16.5

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return (TIMES + 0.123457).round(6) + 0.01

    @pytest.fixture
    def expected_by_choice(self, expected: np.ndarray, expected_times: np.ndarray) -> dict[str, dict[str, Any]]:
        names = ("green", "far-red", "dapi")
        return {
            "channel": {
                "red": expected,
                **{
                    name: (sound.movie(self.shape, k), 15.5 + place, expected_times + 0.01 * (place - 1))
                    for k, (name, place) in enumerate(zip(names, (0, 2, 3), strict=True), start=2)
                },
            }
        }

    @pytest.fixture
    def recording(
        self, tmp_path: Path, expected: np.ndarray, expected_by_choice: Any, expected_streams: Any, expected_times: Any
    ) -> Path:
        others = {name: given[0] for name, given in expected_by_choice["channel"].items() if name != "red"}
        pixels = {"red": expected, **others}
        return sound.write_session(
            tmp_path / "movie", expected_times - 0.01, **{name: pixels[name] for name in expected_streams["channel"]}
        )


class InNumberedChunks(InChunks):
    format = "planted-numbered"
    files_know_their_place = True

    @pytest.fixture
    def recording(
        self, tmp_path: Path, expected: np.ndarray, expected_by_choice: Any, expected_streams: Any, expected_times: Any
    ) -> Path:
        pixels = {name: expected_by_choice["channel"][name] for name in expected_streams["channel"]}
        return sound.number_chunks(sound.write_session(tmp_path / "movie", expected_times, **pixels))


class RateInKilohertz(Timed):
    @pytest.fixture
    def expected_rate(self) -> float:
        return 0.0155 / 1000


class RawFrames(UnknownRate):
    format = "planted-raw"
    counts_samples = False

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        return sound.write_raw(tmp_path / "movie.plantedraw", expected)


LAYOUTS: Mapping[str, tuple[type[Planar], str, Mapping[str, Any]]] = {
    "planar": (Planar, "Planted", sound.FILE),
    "volumes": (Volumes, "Planted", sound.FILE),
    "timed": (Timed, "Planted", sound.FILE),
    "channels": (Channels, "Planted", sound.FILE),
    "unknown rate": (UnknownRate, "Planted", sound.FILE),
    "tif": (Tif, "Planted", sound.FILE),
    "folder": (InAFolder, "Folder", sound.FOLDER),
    "beside": (TimesBesideIt, "Beside", sound.BESIDE),
    "session": (InChunks, "Session", sound.SESSION),
    "numbered": (InNumberedChunks, "Numbered", sound.NUMBERED),
    "delayed": (InDelayedChannels, "Delayed", sound.SESSION),
    "kilohertz": (RateInKilohertz, "Planted", sound.FILE),
    "raw": (RawFrames, "Raw", sound.RAW),
}


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Outcome]]:
    """Run the kit's tests in this process, as a plugin's author would, on a class of this file."""
    monkeypatch.setattr("roiextractors_core.testing.conformance.processes.FORK_SECONDS", 3)
    monkeypatch.setattr("roiextractors_core.testing.conformance.state.PIPE_SECONDS", 20.0)
    with kit_in(tmp_path, monkeypatch) as run:
        yield run


@pytest.fixture
def registered() -> Iterator[Callable[..., None]]:
    """Register a format for one test."""
    names: list[str] = []

    def register(extractor: str, **declared: Any) -> None:
        names.append(declared["name"])
        default_registry().register(roi.FormatSpec(extractor=extractor, **declared))

    yield register
    for name in names:
        default_registry().unregister(name)


@pytest.mark.quick(1)
@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout not in ("tif", "kilohertz")])
def test_a_sound_extractor_passes_every_test(
    layout: str, kit: Callable[..., Outcome], registered: Callable[..., None]
) -> None:
    cases, extractor, declared = LAYOUTS[layout]
    registered(f"planted.sound:{extractor}", **declared)
    outcome = kit(cases)
    assert outcome.failed == {}
    assert len(outcome.passed) > 50
    if layout == "numbered":
        assert "test_exchanged_files_are_told_and_never_mixed_up" in outcome.passed
    if layout in ("session", "delayed"):
        assert "test_every_choice_has_the_clock_recorded_for_it" in outcome.passed
        assert "test_the_metadata_names_the_channel_that_was_chosen" in outcome.passed
    assert "test_memory_is_bounded_by_the_request" in outcome.passed
    assert "test_no_more_is_read_than_was_asked_for" in outcome.passed or sys.platform != "linux"


def planted(
    name: str, kit: Callable[..., Outcome], registered: Callable[..., None], *, only: tuple[str, ...] | None = None
) -> Outcome:
    """Run the kit, or of it ``only`` these tests, on an extractor with a planted fault."""
    fault = faults.FAULTS[name]
    cases, _, declared = LAYOUTS[fault.layout]
    changes = dict(fault.declares)
    attributes = {key: changes.pop(key) for key in ("patience", "files_know_their_place") if key in changes}
    registered(f"planted.faults:{name}", **{**declared, **changes})
    tests = FRESH if only is None else [test for test in dir(cases) if test.startswith("test_") and test not in only]
    outcome = kit(cases, **attributes, **dict.fromkeys(test for test in tests if test not in fault.fails))
    assert set(fault.fails) <= set(outcome.failed), outcome.failed
    assert any(fault.says in message for message in outcome.failed.values()), outcome.failed
    measured = [outcome.failed[test] for test in COSTS if test in outcome.failed]
    assert all("the limit is" in message or "raised" in message for message in measured), measured
    assert all("to do: " in message or "see test_" in message for message in outcome.failed.values()), outcome.failed
    return outcome


@pytest.mark.quick(4)
@pytest.mark.parametrize("name", faults.FAULTS)
def test_a_planted_fault_is_caught(name: str, kit: Callable[..., Outcome], registered: Callable[..., None]) -> None:
    planted(name, kit, registered, only=None if name in BY_ANOTHER_TEST else faults.FAULTS[name].fails)


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "name",
    # The whole kit runs for one fault in eight, and for the others with `-m repeated`
    [pytest.param(name, marks=[pytest.mark.repeated] if n % 8 else []) for n, name in enumerate(faults.FAULTS)],
)
def test_nothing_but_the_planted_fault_is_found(
    name: str, kit: Callable[..., Outcome], registered: Callable[..., None]
) -> None:
    outcome = planted(name, kit, registered)
    if not faults.FAULTS[name].wide:
        assert sorted(outcome.failed) == sorted(faults.FAULTS[name].fails), outcome.failed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize(
    ("errors", "says"),
    [
        (1, "the parent raised what it does not raise alone, ValueError: a short read\n  to do: read at given offsets"),
        (2, "ValueError was raised: a short read"),
    ],
    ids=["while children read", "alone too"],
)
def test_an_error_of_the_parent_is_of_forks_where_it_reads_well_alone(
    errors: int,
    says: str,
    kit: Callable[..., Outcome],
    registered: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registered("planted.sound:Planted", **sound.FILE)
    parent, left, read = os.getpid(), [None] * errors, processes._one_read

    def one_read(*arguments: Any) -> Any:
        if os.getpid() == parent and left:
            left.pop()
            raise ValueError("a short read")
        return read(*arguments)

    monkeypatch.setattr(processes, "_one_read", one_read)
    asked = "test_forked_processes_read_each_for_itself"
    others = [name for name in dir(ImagingExtractorTests) if name.startswith("test_") and name != asked]
    outcome = kit(Planar, **dict.fromkeys(others))
    assert list(outcome.failed) == [asked]
    assert says in outcome.failed[asked]


def _made_by(makes: list[Any], *, as_generator: bool = False, params: tuple[Any, ...] | None = None) -> Any:
    """Return a fixture `recording` that counts how often it runs."""

    def recording(self: Any, tmp_path: Path, expected: np.ndarray, request: pytest.FixtureRequest) -> Path:
        makes.append(request.node.name)
        return sound.write_file(tmp_path / "movie.planted", expected, rate=15.5)

    def yielded(self: Any, tmp_path: Path, expected: np.ndarray, request: pytest.FixtureRequest) -> Iterator[Path]:
        path = recording(self, tmp_path, expected, request)
        yield path
        path.unlink()

    return pytest.fixture(params=params)(yielded if as_generator else recording)


@pytest.fixture
def few_tests() -> dict[str, None]:
    """All tests of the kit but ten, left out."""
    kept = {name for name in dir(ImagingExtractorTests) if name.startswith("test_") and "range" in name}
    return dict.fromkeys(name for name in dir(ImagingExtractorTests) if name.startswith("test_") and name not in kept)


@pytest.mark.parametrize(("params", "runs"), [(None, 1), ((1, 2), 2)], ids=["plain", "of two parameters"])
def test_a_recording_is_made_once_a_class_with_pixels_that_fit(
    params: Any, runs: int, kit: Callable[..., Outcome], registered: Callable[..., None], few_tests: dict[str, None]
) -> None:
    registered("planted.sound:Planted", **sound.FILE)
    makes: list[Any] = []
    pixels = pytest.fixture(lambda self: sound.movie(self.shape, np.random.SeedSequence().entropy))  # never the same
    outcome = kit(Planar, recording=_made_by(makes, params=params), expected=pixels, **few_tests)
    assert outcome.failed == {}
    assert len(outcome.passed) >= 5
    assert len(makes) == runs


def test_a_test_of_the_author_gets_a_recording_of_its_own(
    kit: Callable[..., Outcome], registered: Callable[..., None], few_tests: dict[str, None]
) -> None:
    registered("planted.sound:Planted", **sound.FILE)
    makes: list[Any] = []

    def test_of_the_author(self: Any, recording: Path) -> None:
        assert makes[-1] == "test_of_the_author"
        recording.write_bytes(b"")

    outcome = kit(Planar, recording=_made_by(makes), test_of_the_author=test_of_the_author, **few_tests)
    assert outcome.failed == {}
    assert len(makes) == 2


def test_a_recording_that_changed_or_is_gone_is_made_again(
    kit: Callable[..., Outcome], registered: Callable[..., None], few_tests: dict[str, None]
) -> None:
    registered("planted.sound:Planted", **sound.FILE)
    makes: list[Any] = []
    outcome = kit(Planar, recording=_made_by(makes, as_generator=True), **few_tests)
    assert outcome.failed == {}
    assert len(makes) == len(outcome.passed)
    registered("planted.faults:TheModificationTimeIsTouched", **{**sound.FILE, "name": "planted-touched"})
    makes.clear()
    outcome = kit(Planar, format="planted-touched", recording=_made_by(makes), **few_tests)
    assert outcome.failed == {}
    assert len(makes) > 3


@pytest.mark.thorough
@pytest.mark.parametrize(
    "shape", [(24, 80, 112), (24, 256, 256), (24, 512, 512), (30, 512, 512), (24, 128, 128, 8)], ids=str
)
def test_the_limit_of_memory_fits_recordings_of_any_size(
    shape: tuple[int, ...], kit: Callable[..., Outcome], registered: Callable[..., None]
) -> None:
    registered("planted.sound:Planted", **sound.FILE)
    others = [name for name in dir(ImagingExtractorTests) if name.startswith("test_")]
    asked = {"test_memory_is_bounded_by_the_request", "test_no_more_is_read_than_was_asked_for"}
    outcome = kit(Planar, shape=shape, **dict.fromkeys(name for name in others if name not in asked))
    assert outcome.failed == {}
    assert "test_memory_is_bounded_by_the_request" in outcome.passed


HOOKS = """
import roiextractors_core as roi

@roi.hookimpl
def roiextractors_formats():
    yield roi.FormatSpec(
        name="planted", title="Planted", extractor="planted.sound:Planted", extensions=(".planted",),
        evidence=roi.Magic(bytes.fromhex("89") + b"PLANTED"), streams=("channel",), clock="native",
        metadata=("pixel_size", "software", "vendor"), description="A made-up format.",
    )
"""


@pytest.fixture
def installed(
    tmp_path: Path, distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], None]]:
    """Install a distribution of the planted format for one test: its hooks, and its package's ``__init__``."""
    site = tmp_path / "site"

    def install(hooks: str, init: str) -> None:
        package = distribution(site, "roiextractors-planted", hooks)
        (package / "__init__.py").write_text(init)
        monkeypatch.syspath_prepend(str(site))
        default_registry().refresh()

    yield install
    monkeypatch.undo()
    default_registry().refresh()
    for name in [name for name in sys.modules if name.partition(".")[0] == "roiextractors_planted"]:
        del sys.modules[name]


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("hooks", "init", "says"),
    [
        (HOOKS, "", ""),
        ("import h5py\n" + HOOKS, "", "roiextractors_planted.hooks imports h5py"),
        ("import time\ntime.sleep(1.1)\n" + HOOKS, "", "as it would in every session of every user"),
        ("import numpy\n" + HOOKS, "", "roiextractors_planted.hooks imports numpy"),
        ("from importlib import import_module\nimport_module('h5py')\n" + HOOKS, "", "brings in h5py"),
        (HOOKS.replace("    yield", "    import h5py\n    yield"), "", "roiextractors_planted.hooks imports h5py"),
        (HOOKS, "import h5py\n", "roiextractors_planted imports h5py"),
        (HOOKS, "from . import extractor\n", "importing roiextractors_planted.hooks failed"),
    ],
    ids=["sound", "hooks", "slow", "numpy", "by name", "in the hook", "init", "extractor"],
)
def test_what_declaring_a_format_imports_is_weighed(
    hooks: str, init: str, says: str, kit: Callable[..., Outcome], installed: Callable[[str, str], None]
) -> None:
    installed(hooks, init)
    if init.startswith("from"):
        (test,) = kit(Planar, **dict.fromkeys(FRESH)).failed.items()
        assert test[0] == "test_the_format_is_registered"
        assert "No module named" in test[1] or "cannot import name 'extractor'" in test[1]
        return
    others = [name for name in dir(ImagingExtractorTests) if name.startswith("test_")]
    asked = "test_declaring_imports_the_core_and_nothing_else"
    outcome = kit(Planar, **dict.fromkeys(name for name in others if name != asked))
    assert list(outcome.failed) == ([asked] if says else [])
    assert outcome.passed == (set() if says else {asked})
    assert says in outcome.failed.get(asked, "")


AT_IMPORT = "{change}\nfrom planted.sound import Planted"
AT_FIRST_OPENING = """
from planted import sound

class Planted(sound.Planted):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        {change}
"""
CHANGES_OF_EXTRACTORS = {
    **CHANGES,
    "the levels of loggers": "import logging; logging.getLogger('tifffile').setLevel(51)",
}


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore the state of this process after a test whose faults change it."""
    before = {name: item.get() for name, item in PROCESS_STATE.items()}
    level = logging.getLogger("tifffile").level
    yield
    for name, item in PROCESS_STATE.items():
        if item.get() != before[name]:
            item.restore(before[name])
    logging.getLogger("tifffile").setLevel(level)


@pytest.mark.skipif(os.name == "nt", reason="the changes are those of POSIX")
@pytest.mark.quick(3)
@pytest.mark.parametrize("moment", [AT_IMPORT, AT_FIRST_OPENING], ids=["import", "first opening"])
@pytest.mark.parametrize("name", CHANGES_OF_EXTRACTORS)
def test_a_change_of_the_process_at_import_or_at_the_first_opening_is_caught(
    name: str,
    moment: str,
    kit: Callable[..., Outcome],
    registered: Callable[..., None],
    restored: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "planted_change.py").write_text(moment.format(change=CHANGES_OF_EXTRACTORS[name]))
    monkeypatch.syspath_prepend(str(tmp_path))
    registered("planted_change:Planted", **sound.FILE)
    asked = "test_importing_and_the_first_opening_leave_the_process_as_it_was"
    outcome = kit(
        Planar,
        **dict.fromkeys(test for test in dir(ImagingExtractorTests) if test.startswith("test_") and test != asked),
    )
    sys.modules.pop("planted_change", None)
    assert list(outcome.failed) == [asked]
    assert re.search(rf"changed ([^\n]*, )?{name}\b", outcome.failed[asked])


@pytest.mark.parametrize(
    ("left_out", "says"),
    [
        (("expected_times",), "does not say: expected_times"),
        (("recording", "expected"), "does not say: recording, expected"),
    ],
)
def test_a_fixture_that_was_forgotten_is_asked_for(
    left_out: tuple[str, ...], says: str, kit: Callable[..., Outcome], registered: Callable[..., None]
) -> None:
    registered("planted.sound:Planted", **sound.FILE)
    forgotten = {name: getattr(ImagingExtractorTests, name) for name in left_out}
    outcome = kit(Planar, **forgotten, **dict.fromkeys(FRESH))
    assert set(outcome.failed) == {"test_the_author_gives_every_fixture"}
    assert says in outcome.failed["test_the_author_gives_every_fixture"]


@pytest.mark.parametrize(
    ("by_choice", "says"),
    [
        ({"channel": {"blue": sound.movie((4, 5, 6))}}, "channel='blue', which is not in expected_streams"),
        ({"channel": {"red": [1]}}, "gives list for channel='red'"),
        ({"channel": {"red": (sound.movie((4, 5, 6)), None)}}, "gives tuple for channel='red'"),
        ({"channel": {"red": (sound.movie((4, 5, 6)), 1.0, [1, 2])}}, "shape (2,), but there are 4 samples"),
    ],
    ids=["unknown", "list", "pair", "times"],
)
def test_what_is_expected_by_choice_is_of_choices_and_complete(
    by_choice: Any, says: str, kit: Callable[..., Outcome], registered: Callable[..., None]
) -> None:
    registered("planted.sound:Session", **sound.SESSION)
    others = [name for name in dir(ImagingExtractorTests) if name.startswith("test_")]
    asked = "test_the_author_gives_every_fixture"
    given = pytest.fixture(lambda self: by_choice)
    path = pytest.fixture(lambda self, tmp_path: tmp_path)
    left_out = dict.fromkeys(name for name in others if name != asked)
    outcome = kit(InChunks, expected_by_choice=given, recording=path, **left_out)
    assert list(outcome.failed) == [asked]
    assert says in outcome.failed[asked]


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        (np.zeros((40, 48, 64), np.uint16), "all samples of `expected` are equal"),
        (sound.movie((2, 48, 64)), "has 2 samples"),
        (np.stack([m + m.T for m in sound.movie((4, 8, 8))]), "symmetric"),
        ([1, 2, 3], "give a numpy array"),
    ],
    ids=["equal", "two", "symmetric", "list"],
)
def test_what_is_expected_must_tell_mistakes_apart(
    expected: Any, says: str, kit: Callable[..., Outcome], registered: Callable[..., None]
) -> None:
    registered("planted.sound:Planted", **sound.FILE)
    others = [name for name in dir(ImagingExtractorTests) if name.startswith("test_")]
    asked = "test_expected_can_tell_mistakes_apart"
    given = pytest.fixture(lambda self: expected)
    outcome = kit(Planar, expected=given, **dict.fromkeys(name for name in others if name != asked))
    assert list(outcome.failed) == [asked]
    assert says in outcome.failed[asked]


def test_a_format_that_is_not_registered_is_named_with_those_that_were_set_aside(kit: Callable[..., Outcome]) -> None:
    outcome = kit(Planar)
    assert list(outcome.failed) == ["test_the_format_is_registered"]
    message = outcome.failed["test_the_format_is_registered"]
    assert re.search("no format 'planted' is registered; the formats are .*npy", message)
    assert "python -m pip install -e ." in message


def test_a_text_file_is_cut_after_whole_lines_and_says_which_keys_are_lost(tmp_path: Path) -> None:
    (tmp_path / "frames.bin").write_bytes(bytes(range(256)) * 9)
    sections = [["[size]", "rows = 4", "columns = 5"], ["[time]", "; in Hz", "rate = 30"], ["[by]", "software = ö"]]
    header = "".join("\n".join(lines) + "\n" for lines in sections)
    (tmp_path / "header.ini").write_text(header, encoding="utf-8", newline="\n")
    (tmp_path / "times.csv").write_text("frame,time\n" + "".join(f"{k},{k / 8}\n" for k in range(300)))
    (tmp_path / "state.json").write_text('{\n"a": 1,\n"b": 2\n}\n')
    cuts = [damage for damage in cuts_of(tuple(sorted(tmp_path.iterdir()))) if " cut after line " in damage.words]
    of_header = {damage.size: damage.lost_keys for damage in cuts if damage.path.endswith(".ini")}
    assert len(of_header) == 7
    assert of_header[header.encode().index(b"[time]")] == ("rate", "software")
    assert of_header[header.encode().index(b"[by]")] == ("software",)
    of_table = [damage for damage in cuts if damage.path.endswith(".csv")]
    assert 5 <= len(of_table) <= 12
    assert {damage.lost_keys for damage in of_table} == {()}
    assert of_table[-1].words.startswith("times.csv cut after line 300 of 301, '298,37.25'")
    assert not [damage for damage in cuts if damage.path.endswith(".json")]


def test_files_are_exchanged_that_differ_in_number_and_content_alone(tmp_path: Path) -> None:
    for name, content in {
        "chunk_0.bin": b"aaaa",
        "chunk_1.bin": b"bbbb",
        "chunk_2.bin": b"aaaa",
        "chunk_10.bin": b"cccc",
        "chunk_11.bin": b"d",
        "other_1.bin": b"eeee",
    }.items():
        (tmp_path / name).write_bytes(content)
    exchanges = exchanges_of(sorted(tmp_path.iterdir()))
    assert [tuple(path.name for path in damage.paths) for damage in exchanges] == [
        ("chunk_0.bin", "chunk_1.bin"),
        ("chunk_0.bin", "chunk_10.bin"),
    ]
    exchanges[1].apply({path: path.read_bytes() for path in exchanges[1].paths})
    assert [(tmp_path / f"chunk_{k}.bin").read_bytes() for k in (0, 1, 10)] == [b"cccc", b"bbbb", b"aaaa"]

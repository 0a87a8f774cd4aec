"""The quick selection: what ``python -m pytest`` runs here or in a plugin's folder when no file, folder or test is named.

A test is quick unless it is marked ``thorough``; ``python -m pytest -m thorough`` runs these.  The marker is written on
a test or a file, and added here by rules, so that a new plugin has nothing to do:

* Of the classes of one folder that inherit the tests of the kit, the first of each format is quick: the other layouts are
  thorough.
* Of that class, the costly rules, most of which start processes, and those in ``INHERITED``, which the base class keeps for
  every format, are quick in the folders of ``REPRESENTATIVES``.
* The costly rules are thorough for the first class of each format, and for classes with ``has_own_code``.  For the others
  they are ``repeated``: run by name, by a path, or by ``python -m pytest -m repeated``.
* For these others, the cheap rules that do not depend on where the pixels, times and names are in a file are ``repeated``, too;
  ``OF_A_LAYOUT`` are those that do.
* Tests of the kit that are neither costly nor in ``OF_A_LAYOUT`` are marked ``tools``: with the lowest versions of libraries,
  ``.ci/run`` omits them, as they read no pixels or read them in a way that others test.
* Of the parameters of one test, ``QUICK_PARAMETERS`` are quick, evenly spaced, or as many as ``@pytest.mark.quick(n)`` says.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from roiextractors_core.testing import (
    FuzzTests,
    ImagingExtractorTests,
    SegmentationExtractorTests,
    WriterTests,
    repeated_tests,
)
from roiextractors_core.testing.layouts import costly_rules

ROOT = Path(__file__).parent
KIT = (ImagingExtractorTests, SegmentationExtractorTests, WriterTests, FuzzTests)
QUICK_PARAMETERS = 3
COSTLY = frozenset[str]().union(*map(costly_rules, KIT))
REPRESENTATIVES = ("plugins/hdf5/tests", "plugins/tiff/tests")
INHERITED = frozenset(
    {
        "test_a_field_of_view_outside_the_frame_is_refused",
        "test_a_negative_range_is_refused",
        "test_a_range_outside_is_refused",
        "test_a_rate_that_cannot_be_is_refused",
        "test_a_reversed_range_is_refused",
        "test_a_sample_outside_is_refused",
        "test_numpy_integers_are_integers",
        "test_one_index_is_a_series_of_one",
        "test_the_users_rate_wins",
        "test_what_is_no_integer_is_refused",
    }
)
OF_A_LAYOUT = frozenset(
    {
        "test_a_block_is_the_part_that_was_asked_for",
        "test_every_choice_gives_the_pixels_recorded_for_it",
        "test_every_choice_has_the_clock_recorded_for_it",
        "test_every_file_that_is_read_is_in_get_paths",
        "test_expected_can_tell_mistakes_apart",
        "test_no_more_is_read_than_was_asked_for",
        "test_of_several_channels_one_must_be_chosen",
        "test_parts_of_masks_are_the_parts_of_the_whole",
        "test_parts_of_traces_are_the_parts_of_the_whole",
        "test_samples_come_in_any_order_and_as_often_as_asked",
        "test_the_clock_is_that_of_the_recording",
        "test_the_dtype_is_that_of_the_samples_in_native_byte_order",
        "test_the_format_is_found_without_being_named",
        "test_the_metadata_names_the_channel_that_was_chosen",
        "test_the_native_times_are_the_hardwares",
        "test_the_pixels_and_the_dtype_are_the_same",
        "test_the_rate_and_the_times_are_the_same",
        "test_the_rate_is_the_files_own",
        "test_the_recording_is_what_was_written",
        "test_the_streams_are_those_of_the_recording",
        "test_the_whole_series_is_what_was_recorded",
    }
)
_NO_PRIVILEGE = 1314  # ERROR_PRIVILEGE_NOT_HELD
_names_tests = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Note whether tests were named: those are all run.  A worker is told by the process that started it."""
    given = getattr(config, "workerinput", None)
    by_path = config.args_source is pytest.Config.ArgsSource.ARGS
    named = by_path or bool(config.getoption("keyword"))
    config.stash[_names_tests] = given["names_tests"] if given is not None else named


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist whether tests were named; to it, all are."""
    node.workerinput["names_tests"] = node.config.stash[_names_tests]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is thorough or repeated; leave it out where neither a test nor a marker was named."""
    others = list(_other_layouts(items))
    for item in {*others, *_unrepresented(items), *_more_parameters(items)}:
        item.add_marker("thorough")
    for item in others:
        # Subclasses inherit the attribute, so only the class itself is looked at
        if not vars(item.cls).get("has_own_code") and _name_of(item) not in OF_A_LAYOUT:  # type: ignore[attr-defined]
            item.add_marker("repeated")
    for item in items:
        if _name_of(item) not in COSTLY | OF_A_LAYOUT and any(_kits_of(item)):
            item.add_marker("tools")
    for item in list(repeated_tests(items)):
        item.add_marker("repeated")
    omitted = _omitted_markers(config.getoption("markexpr"), names_tests=config.stash[_names_tests])
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in omitted)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not any(item.get_closest_marker(name) for name in omitted)]


def _omitted_markers(expression: str, *, names_tests: bool) -> tuple[str, ...]:
    """Return the markers whose tests do not run: ``long`` unless ``-m`` names it, and others unless tests are named, too."""
    if expression:
        return tuple(name for name in ("long", "repeated") if name not in expression)
    return ("long",) if names_tests else ("long", "repeated", "thorough")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Skip a test that makes a symbolic link where Windows permits them to administrators and developers alone."""
    try:
        return (yield)
    except OSError as error:
        if getattr(error, "winerror", None) == _NO_PRIVILEGE:
            pytest.skip("Windows permits symbolic links to administrators and in developer mode only")
        raise


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A folder whose parent contains nothing else: a refused ``open`` looks there, and pytest puts those of all tests together."""
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture(scope="module", autouse=True)
def earlier_objects_are_not_searched() -> None:
    """Exclude everything made so far from garbage collection: many tests collect, and each would search all of it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def sources_are_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare the checksum of every file that a recording reads before and after each ``convert`` of each test, refused ones too."""
    convert = importlib.import_module("roiextractors_core.interop.convert")
    made, called, written = convert._TargetCheck.__init__, convert._TargetCheck.__call__, convert._write
    before: dict[int, tuple[Any, dict[str, str]]] = {}

    def compare(check: Any) -> None:
        _, checksums = before[id(check)]
        changed = [path for path, checksum in checksums.items() if _checksum(Path(path)) != checksum]
        if changed:
            pytest.fail(f"converting changed the files that the recording reads: {changed}")

    def make(self: Any, recordings: Any, *rest: Any, **more: Any) -> None:
        made(self, recordings, *rest, **more)
        files = {str(file) for recording in recordings.values() for file in _files_of(recording.get_paths())}
        before[id(self)] = self, {file: _checksum(Path(file)) for file in files}

    def call(self: Any, path: Path) -> None:
        try:
            called(self, path)
        except BaseException:
            compare(self)
            raise

    def write(*arguments: Any, check: Any, **more: Any) -> None:
        try:
            written(*arguments, check=check, **more)
        finally:
            compare(check)

    monkeypatch.setattr(convert._TargetCheck, "__init__", make)
    monkeypatch.setattr(convert._TargetCheck, "__call__", call)
    monkeypatch.setattr(convert, "_write", write)


def _files_of(paths: Iterable[Any]) -> Iterator[Path]:
    for path in map(Path, paths):
        yield from (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else (path,)


def _checksum(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def _other_layouts(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the tests of the kit for classes that are not the first of their format."""
    first: dict[tuple[Path, type, str], type] = {}
    for item in items:
        for kit, tests in _kits_of(item):
            if first.setdefault((item.path.parent, kit, getattr(tests, "format", "")), tests) is not tests:
                yield item


def _unrepresented(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the costly and the inherited tests of the kit outside the folders of ``REPRESENTATIVES``."""
    for item in items:
        is_left_out = _name_of(item) in COSTLY | INHERITED and any(_kits_of(item))
        if is_left_out and item.path.parent.relative_to(ROOT).as_posix() not in REPRESENTATIVES:
            yield item


def _kits_of(item: pytest.Item) -> Iterator[tuple[type, type]]:
    """Yield the kits that a test is from, each with its class."""
    tests = getattr(item, "cls", None)
    yield from (
        (kit, tests) for kit in KIT if tests is not None and issubclass(tests, kit) and hasattr(kit, _name_of(item))
    )


def _name_of(item: pytest.Item) -> str:
    return getattr(item, "originalname", "")


def _more_parameters(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    sets: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if hasattr(item, "callspec"):
            sets[item.nodeid.partition("[")[0]].append(item)
    for same in sets.values():
        marker = same[0].get_closest_marker("quick")
        count = marker.args[0] if marker else QUICK_PARAMETERS
        kept = {place * len(same) // count for place in range(count)}
        yield from (item for place, item in enumerate(same) if place not in kept)

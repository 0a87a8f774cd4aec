"""Makes the author's recording once for all tests of a class."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ...errors import SourceKindError
from ..cuts import files_of, kin_of

__all__ = ["KEPT", "MadeOnce"]

KEPT = frozenset(
    {
        "recording",
        "expected",
        "expected_rate",
        "expected_times",
        "expected_streams",
        "expected_by_choice",
        "large_recording",
    }
)
_RECORDINGS = ("recording", "large_recording")
_OF_THE_KIT = __name__.rpartition(".conformance")[0]

State = dict[Path, tuple[int, int]]


@dataclass(slots=True)
class _Kept:
    """What the fixtures made for one test, and the state of the recording's files then."""

    test: Any
    values: dict[Any, Any] = field(default_factory=dict)
    files: dict[Any, State] = field(default_factory=dict)

    def is_current(self) -> bool:
        return bool(self.files) and all(
            state and _state_of(self.values[key]) == state for key, state in self.files.items()
        )


class MadeOnce:
    """A pytest plugin: the fixtures of ``KEPT`` run for the first test of a class, and the kit's other tests get the same.

    They run again for a test of the author's own, for other parameters, and after a file of the recording has changed.
    """

    def __init__(self) -> None:
        self._class: Any = None
        self._test: Any = None
        self._kept: dict[Any, _Kept] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Generator[None, object, object]:
        if fixturedef.argname not in KEPT or fixturedef.scope != "function" or not _is_of_the_kit(request):
            return (yield)
        kept = self._kept_for(request)
        if fixturedef in kept.values:
            function, value = fixturedef.func, kept.values[fixturedef]
            fixturedef.func = lambda **dependencies: value
            try:
                return (yield)
            finally:
                fixturedef.func = function
        value = yield
        if fixturedef.argname in _RECORDINGS and value is not None:
            kept.files[fixturedef] = _state_of(value) if _outlives_the_test(fixturedef) else {}
        kept.values[fixturedef] = value
        return value

    def _kept_for(self, request: Any) -> _Kept:
        if request.cls is not self._class:
            self._class, self._kept = request.cls, {}  # the pixels of one class are enough to keep
        key = _parameters(request)
        kept = self._kept.get(key)
        # All or none: `expected` of one run of the fixtures may not fit the recording of another
        if kept is None or (request.node is not self._test and not kept.is_current()):
            kept = self._kept[key] = _Kept(request.node)
        self._test = request.node
        return kept


def _is_of_the_kit(request: Any) -> bool:
    # A test with `expected` alone would keep an array that belongs to no recording
    return request.function.__module__.startswith(_OF_THE_KIT) and {"recording", "expected"} <= {*request.fixturenames}


def _outlives_the_test(fixturedef: Any) -> bool:
    """Return whether the work of a fixture is there after the test: not that of a generator, or of one that patches."""
    return not inspect.isgeneratorfunction(fixturedef.func) and "monkeypatch" not in fixturedef.argnames


def _parameters(request: Any) -> tuple[tuple[str, int], ...]:
    """Return the parameters of the author's fixtures and class; those of the kit's own tests do not matter to these."""
    given = getattr(getattr(request.node, "callspec", None), "params", {})
    own = inspect.signature(request.function).parameters
    return tuple(sorted((name, id(value)) for name, value in given.items() if name not in own))


def _state_of(recording: Any) -> State:
    """Return the sizes and modification times of a recording's files; none where it is not a recording."""
    try:
        files = (*files_of(recording), *kin_of(recording))
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}
    except (SourceKindError, OSError):
        return {}

"""What the author provides is enough to test with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from ...errors import counted
from ...registry.registry import default_registry
from ..cuts import paths_of
from .case import NOT_GIVEN, GivenRecording, find_forgotten
from .judging import fail

__all__ = ["GivenTests"]


class GivenTests(GivenRecording):
    """The fixtures are complete and can tell mistakes apart."""

    def test_the_author_gives_every_fixture(
        self,
        recording: Any,
        expected: Any,
        expected_rate: Any,
        expected_times: Any,
        expected_streams: Any,
        expected_by_choice: Any,
    ) -> None:
        forgotten = find_forgotten(
            recording=recording, expected=expected, expected_rate=expected_rate, expected_times=expected_times
        )
        if forgotten:
            fail(
                f"{type(self).__name__} does not say: {', '.join(forgotten)}",
                "write a @pytest.fixture of each name"
                + (
                    "; expected_times returns the hardware's own times in seconds, or None when the format has no clock of its own"
                    if "expected_times" in forgotten
                    else ""
                ),
            )
        paths_of(recording)
        if expected_rate is not None and not (isinstance(expected_rate, int | float) and expected_rate > 0):
            fail(f"expected_rate is {expected_rate!r}", "give the samples a second in Hz, or None")
        if expected_times is not None and np.shape(expected_times) != (len(expected),):
            fail(
                f"expected_times has shape {np.shape(expected_times)}, but expected has {counted(len(expected), 'sample')}",
                "give one time in seconds for each sample",
            )
        if not isinstance(expected_streams, Mapping):
            fail(f"expected_streams is {expected_streams!r}", "give a dictionary such as {'channel': ('1', '2')}")
        _require_known_choices(expected_by_choice, expected_streams)

    def test_expected_can_tell_mistakes_apart(self, expected: Any) -> None:
        if expected is NOT_GIVEN:
            pytest.skip("expected not given: see test_the_author_gives_every_fixture")
        if not isinstance(expected, np.ndarray) or expected.ndim not in (3, 4) or expected.dtype.kind not in "biufc":
            fail(
                f"`expected` is {type(expected).__name__} of shape {np.shape(expected)}",
                "give a numpy array of numbers, (samples, rows, columns) or (samples, rows, columns, planes)",
            )
        if len(expected) < 3:
            fail(
                f"`expected` has {counted(len(expected), 'sample')}",
                "make a recording of at least 3 samples, preferably 30",
            )
        if all(np.array_equal(expected[0], sample) for sample in expected[1:]):
            fail(
                "all samples of `expected` are equal",
                "give samples that differ, otherwise mixing them up would go unnoticed",
            )
        rows, columns = expected.shape[1:3]
        if rows == columns and all(np.array_equal(s, np.swapaxes(s, 0, 1)) for s in expected[:3]):
            fail(
                "the samples of `expected` are symmetric",
                "give rows and columns that differ, otherwise swapping them would go unnoticed",
            )

    def test_the_format_is_registered(self) -> None:
        if not self.format:
            fail(
                f"{type(self).__name__} does not name a format",
                'write `format = "<the name in your FormatSpec>"` in it',
            )
        registry = default_registry()
        if registry.get(self.format) is None:
            failed = "; ".join(f"{r.name}: {r.reason}" for r in registry.plugins() if r.status != "ok")
            names = ", ".join(spec.name for spec in registry.formats())
            fail(
                f"no format {self.format!r} is registered; the formats are {names}. Plugins that failed: {failed or 'none'}",
                "fix the reason given; or install the plugin (python -m pip install -e .), whose pyproject.toml names "
                "the entry point in [project.entry-points.roiextractors_core]",
            )


def _require_known_choices(by_choice: Any, streams: Mapping[str, Any]) -> None:
    example = "{'channel': {'1': pixels, '2': (pixels, rate, times)}}"
    for option, choices in by_choice.items():
        for choice, given in choices.items():
            if choice not in map(str, streams.get(option, ())):
                fail(
                    f"expected_by_choice names {option}={choice!r}, which is not in expected_streams",
                    f"give the pixels of choices that expected_streams lists: {example}",
                )
            pixels, _, times = given if isinstance(given, tuple) and len(given) == 3 else (given, None, None)
            if not isinstance(pixels, np.ndarray):
                fail(
                    f"expected_by_choice gives {type(pixels).__name__} for {option}={choice!r}",
                    f"give an array of pixels, or pixels, rate and times: {example}",
                )
            if times is not None and np.shape(times) != (len(pixels),):
                fail(
                    f"the times of {option}={choice!r} in expected_by_choice have shape {np.shape(times)}, but there are "
                    f"{counted(len(pixels), 'sample')}",
                    "give one time in seconds for each sample",
                )

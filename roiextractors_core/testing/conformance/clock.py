"""Rates and times."""

from __future__ import annotations

from inspect import signature as signature_of
from typing import Any

import numpy as np
import pytest

from ...errors import (
    RangeError,
    TimesError,
)
from ...imaging.extractor import ImagingExtractor
from .case import NOT_GIVEN, Case, GivenRecording, quiet
from .judging import close, fail, refusal

__all__ = ["ClockTests"]

PLAUSIBLE_HZ = (1e-5, 100_000)  # one sample a day, and the fastest lines


class ClockTests(GivenRecording):
    """The user's times come before the hardware's, and these before the rate's."""

    def test_the_rate_is_the_files_own(self, case: Case, extractor: ImagingExtractor) -> None:
        seen = extractor.get_sampling_frequency()
        if seen is not None and not isinstance(seen, float):
            fail(f"get_sampling_frequency() is {seen!r}, {type(seen).__name__}", "return a float, or None")
        if (seen is None) != (case.rate is None) or (
            seen is not None and case.rate is not None and abs(seen - case.rate) > 1e-9 * case.rate
        ):
            fail(
                f"get_sampling_frequency() is {seen!r}, but expected_rate is {case.rate!r}",
                "return the file's rate unrounded, and None where it has none: an invented rate is worse than none",
            )

    def test_the_users_rate_wins(self, case: Case) -> None:
        # A rate that int() would change, and a rate that is an int
        for rate in (12.3456789, 7):
            with case.open(sampling_frequency=rate) as opened:
                seen = opened.get_sampling_frequency()
                if seen != rate:
                    fail(
                        f"open(..., sampling_frequency={rate}) gave {seen!r}",
                        "pass sampling_frequency to super().__init__, and override get_sampling_frequency alone",
                    )
                if case.times is None:
                    advice = "leave get_timestamps to the base class"
                    close(
                        opened.get_timestamps(), np.arange(case.count) / rate, f"get_timestamps() at {rate} Hz", advice
                    )

    def test_the_class_itself_takes_the_users_rate(self, case: Case) -> None:
        kind: Any = case.spec.load()
        if "sampling_frequency" not in signature_of(kind).parameters:
            fail(
                f"{kind.__name__}(path, sampling_frequency=12.5) is not possible",
                "write `sampling_frequency: float | None = None` in the constructor, and pass it to super().__init__",
            )
        options = {"sampling_frequency": 12.5, **case.options}
        with quiet(), kind(case.recording, **options) as made:
            seen = made.get_sampling_frequency()
        if seen != 12.5:
            fail(
                f"{kind.__name__}(path, sampling_frequency=12.5).get_sampling_frequency() is {seen!r}",
                "pass sampling_frequency to super().__init__: roi.open sets it, and a class that is made directly does not",
            )

    def test_rates_are_in_hz_and_times_in_seconds(self, case: Case, extractor: ImagingExtractor) -> None:
        rate, low, high = extractor.get_sampling_frequency(), *PLAUSIBLE_HZ
        if isinstance(rate, float) and not low <= rate <= high:
            fail(
                f"get_sampling_frequency() is {rate!r} Hz, plausible are {low:g} to {high:,} Hz",
                "convert the unit of the file to samples a second, and state that in expected_rate",
            )
        times = extractor.get_native_timestamps()
        if times is None or len(times) < 2:
            return
        step = float(np.median(np.diff(times)))
        if not 1 / high <= step <= 1 / low:
            fail(
                f"the native times are {step:g} s apart, plausible are {1 / high:g} to {1 / low:,.0f} s",
                "convert the unit of the file to seconds, and state that in expected_times",
            )
        if isinstance(rate, float) and not 0.01 <= rate * step <= 100:
            fail(
                f"get_sampling_frequency() is {rate!r} Hz and the native times are {step:g} s apart: expected about {1 / step:g} Hz",
                "convert the units of the file to Hz and seconds, and state them in expected_rate and expected_times",
            )

    def test_a_rate_that_cannot_be_is_refused(self, case: Case) -> None:
        for rate in (0, -1.0, float("nan"), float("inf"), "30"):
            with refusal((TimesError,), f"open(..., sampling_frequency={rate!r})", "pass it to super().__init__"):
                case.open(sampling_frequency=rate).close()

    def test_the_native_times_are_the_hardwares(
        self, case: Case, extractor: ImagingExtractor, expected_times: Any
    ) -> None:
        if expected_times is NOT_GIVEN:
            pytest.skip("expected_times not given: see test_the_author_gives_every_fixture")
        advice = "override get_native_timestamps(start_sample=None, end_sample=None): seconds, float64, one a sample"
        n = case.count
        # (0, 0) shows code that tests `if end` for `is None`; indices computed with numpy are numpy integers
        ranges: tuple[Any, ...] = ((None, None), (0, 0), (0, 1), (1, n), (n - 1, n), (1, 2), (np.int64(1), None))
        for a, b in ranges:
            seen = extractor.get_native_timestamps(a, b)
            words = f"get_native_timestamps({a!r}, {b!r})"
            if case.times is None:
                if seen is not None:
                    fail(
                        f"{words} gave times, and expected_times is None",
                        "return None, or say the times in expected_times",
                    )
                continue
            if not isinstance(seen, np.ndarray) or seen.dtype != np.float64:
                fail(f"{words} gave {getattr(seen, 'dtype', type(seen).__name__)}", advice)
            close(seen, case.times[a:b], words, advice)

    def test_times_are_native_before_computed(
        self, case: Case, extractor: ImagingExtractor, expected_times: Any
    ) -> None:
        if expected_times is NOT_GIVEN:
            pytest.skip("expected_times not given: see test_the_author_gives_every_fixture")
        advice = "leave get_timestamps and times_source to the base class"
        expected = "native" if case.times is not None else "computed" if case.rate is not None else None
        if extractor.times_source != expected:
            fail(f"times_source is {extractor.times_source!r}, expected {expected!r}", advice)
        if expected is None:
            with refusal((TimesError,), "get_timestamps() without times and rate", advice) as caught:
                extractor.get_timestamps()
            if "sampling_frequency" not in str(caught[0]):
                fail(f"the error does not say to pass sampling_frequency: {caught[0]}", advice)
            return
        times = case.times if case.times is not None else np.arange(case.count) / (case.rate or 1.0)
        close(extractor.get_timestamps(), times, "get_timestamps()", advice)
        close(extractor.get_timestamps(1, 3), times[1:3], "get_timestamps(1, 3)", advice)
        with case.open(sampling_frequency=12.5) as other:
            if other.times_source != ("native" if case.times is not None else "computed"):
                fail(f"with sampling_frequency= times_source is {other.times_source!r}", advice)

    def test_the_users_times_win(self, case: Case, extractor: ImagingExtractor) -> None:
        advice = "leave set_times, get_timestamps and times_source to the base class"
        given = np.cumsum(np.linspace(0.5, 1.5, case.count)) + 100.0
        extractor.set_times(given)
        kept = given.copy()
        given[:] = -1.0  # set_times must keep a copy: users reuse their arrays
        close(extractor.get_timestamps(), kept, "get_timestamps() after set_times", advice)
        close(extractor.get_timestamps(1, 2), kept[1:2], "get_timestamps(1, 2) after set_times", advice)
        if extractor.times_source != "user" or not extractor.has_time_vector():
            fail(f"after set_times, times_source is {extractor.times_source!r}", advice)
        extractor.get_timestamps()[:] = 0.0
        close(extractor.get_timestamps(), kept, "get_timestamps() after its result was written into", advice)
        close(extractor.slice_samples(1).get_timestamps(), kept[1:], "slice_samples(1).get_timestamps()", advice)
        for wrong in (kept[1:], [[1.0]], ["a"] * case.count):
            with refusal((TimesError,), "set_times with something else than one number a sample", advice):
                extractor.set_times(wrong)

    def test_a_slice_keeps_its_place_in_time(self, case: Case, extractor: ImagingExtractor) -> None:
        advice = "leave the views and the clock to the base class"
        opened = extractor
        if extractor.times_source is None:
            opened = case.open(sampling_frequency=12.5)
        with opened:
            whole, n = opened.get_timestamps(), case.count
            for a, b in ((0, n), (1, n), (1, n - 1), (n - 1, n), (n, n)):
                view = opened.slice_samples(a, b)
                close(view.get_timestamps(), whole[a:b], f"slice_samples({a}, {b}).get_timestamps()", advice)
                if view.times_source != opened.times_source:
                    fail(
                        f"the slice's times_source is {view.times_source!r}, the recording's {opened.times_source!r}",
                        advice,
                    )
            inner = opened.slice_samples(1, n).slice_field_of_view(0, 1).slice_samples(1)
            close(inner.get_timestamps(), whole[2:], "the times of a slice of a slice", advice)
            inner.set_times(np.arange(n - 2) + 7.0)
            close(opened.get_timestamps(), whole, "the recording's times after set_times on a slice", advice)

    def test_a_time_finds_its_sample(self, case: Case, extractor: ImagingExtractor) -> None:
        if extractor.times_source is None:
            pytest.skip("neither times nor a rate are known")
        times = extractor.get_timestamps()
        if not (np.diff(times) > 0).all():
            pytest.skip("the recording's times do not increase, so a time does not map to one sample")
        advice = "leave time_to_sample_indices to the base class"
        seen = extractor.time_to_sample_indices(times)
        if not np.array_equal(seen, np.arange(case.count)) or np.asarray(seen).dtype != np.int64:
            fail(f"time_to_sample_indices(get_timestamps()) gave {seen!r}", advice)
        between = times[:-1] + 0.3 * np.diff(times)
        seen = extractor.time_to_sample_indices(between)
        if not np.array_equal(seen, np.arange(case.count - 1)):
            fail(f"time_to_sample_indices, asked for a little after each sample, gave {seen!r}", advice)
        one = extractor.time_to_sample_indices(float(times[1]))
        if one != 1 or not isinstance(one, int | np.integer):
            fail(f"time_to_sample_indices({times[1]!r}) gave {one!r}", advice)
        far = float(times[-1]) + 1e6
        for moment in (float(times[0]) - 1e6, far, [float(times[0]), far]):
            with refusal((RangeError,), f"time_to_sample_indices({moment!r})", advice):
                extractor.time_to_sample_indices(moment)

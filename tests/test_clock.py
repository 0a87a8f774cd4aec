"""Times: what the user set before the hardware's before the rate's; reading them changes nothing."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from roiextractors_core.clock import Clock, checked_times
from roiextractors_core.errors import RangeError, TimesError


def vector(times: list[float], **options: Any) -> Clock:
    known = np.asarray(times, float)
    return Clock(len(known), **{"rate": None, "source": "native", "read": lambda a, b: known[a:b], **options})


def test_a_rate_gives_a_grid_from_zero() -> None:
    clock = Clock(4, rate=8.0)
    assert clock.source == "computed"
    assert clock.times().tolist() == [0.0, 0.125, 0.25, 0.375]
    assert clock.times(1, 3).tolist() == [0.125, 0.25]
    assert clock.times(2, 2).tolist() == []


def test_times_are_divided_and_not_multiplied_so_that_long_recordings_stay_exact() -> None:
    assert Clock(100_001, rate=30.0).times(99_999, 100_001).tolist() == [99_999 / 30.0, 100_000 / 30.0]


def test_a_clock_that_knows_nothing_says_what_to_pass() -> None:
    clock = Clock(4, rate=None)
    assert clock.source is None
    with pytest.raises(
        TimesError, match=r"pass open\(\.\.\., sampling_frequency=<Hz>\) or call set_times\(<seconds>\)"
    ):
        clock.times()
    with pytest.raises(TimesError, match="has no sample times"):
        clock.indices(0.0)


@pytest.mark.parametrize("rate", [Fraction(15, 2), np.float32(7.5), np.int64(7), 7])
def test_a_rate_of_any_number_gives_float64_times(rate: Any) -> None:
    clock = Clock(3, rate=rate)
    assert isinstance(clock.rate, float)
    assert clock.times().dtype == np.float64
    assert clock.times()[2] == 2 / float(rate)


def test_times_belong_to_the_caller() -> None:
    known = np.array([1.0, 2.0, 4.0])
    clock = Clock(3, rate=None, source="user", read=lambda a, b: known[a:b])
    clock.times()[:] = 0
    assert clock.times().tolist() == [1.0, 2.0, 4.0]


def test_a_slice_keeps_its_offset_and_so_does_a_slice_of_it() -> None:
    grid = Clock(100, rate=10.0).sliced(20, 60).sliced(5, 8)
    assert (grid.first, grid.num_samples) == (25, 3)
    assert grid.times().tolist() == [2.5, 2.6, 2.7]
    native = vector([0, 1, 3, 6, 10, 15]).sliced(1, 5).sliced(2, 4)
    assert native.times().tolist() == [6.0, 10.0]
    assert native.source == "native"


def test_another_rate_keeps_the_offset_in_samples_and_leaves_a_vector_alone() -> None:
    assert Clock(10, rate=10.0).sliced(4, 8).with_rate(2.0).times().tolist() == [2.0, 2.5, 3.0, 3.5]
    assert vector([0, 1, 3]).with_rate(5.0).times().tolist() == [0.0, 1.0, 3.0]
    assert Clock(2, rate=None).with_rate(4.0).source == "computed"


def test_only_what_is_asked_for_is_read() -> None:
    asked = []

    def read(a: int, b: int) -> np.ndarray:
        asked.append((a, b))
        return np.arange(a, b) / 2

    clock = Clock(1000, rate=None, source="native", read=read).sliced(100, 900)
    assert clock.times(3, 5).tolist() == [51.5, 52.0]
    assert asked == [(103, 105)]


@pytest.mark.parametrize(
    ("time", "index"), [(0.0, 0), (0.04, 0), (0.06, 1), (0.9, 9), (0.94, 9), (-0.04, 0), ([0.1, 0.21], [1, 2])]
)
def test_on_a_grid_the_nearest_sample_is_in_force(time: Any, index: Any) -> None:
    assert Clock(10, rate=10.0).indices(time).tolist() == index


def test_on_a_sliced_grid_the_indices_are_the_slices() -> None:
    assert Clock(100, rate=10.0).sliced(50, 60).indices([5.0, 5.32, 5.9]).tolist() == [0, 3, 9]


@pytest.mark.parametrize(("time", "index"), [(1.0, 0), (1.99, 0), (2.0, 1), (3.999, 1), (4.0, 2), (8.0, 3), (9.5, 3)])
def test_on_a_vector_the_last_sample_at_or_before_is_in_force(time: float, index: int) -> None:
    assert vector([1, 2, 4, 8]).indices(time) == index


def test_of_equal_times_the_last_is_in_force() -> None:
    assert vector([0, 1, 1, 1, 2]).indices(1.0) == 3


@pytest.mark.parametrize("time", [-0.1, 1.0, 1e300, np.inf, -np.inf, 1e308])
def test_a_time_outside_a_grid_is_a_range_error_with_the_range(time: float) -> None:
    with pytest.raises(RangeError, match=r"s is outside the recording, which runs from 0 s to 0\.9 s"):
        Clock(10, rate=10.0).indices([0.5, time])


@pytest.mark.parametrize("time", [0.9, 11.0, np.inf, -np.inf])
def test_a_time_outside_a_vector_is_a_range_error_with_the_range(time: float) -> None:
    with pytest.raises(RangeError, match=r"is outside the recording, which runs from 1 s to 8 s"):
        vector([1, 2, 4, 8]).indices(time)


@pytest.mark.parametrize("clock", [Clock(3, rate=1.0), vector([0, 1, 2])], ids=["grid", "vector"])
def test_a_time_that_is_nan_is_refused(clock: Clock) -> None:
    with pytest.raises(TimesError, match="requested times contain NaN"):
        clock.indices([0.0, np.nan])


@pytest.mark.parametrize("times", [[0, 2, 1], [0, np.nan, 2], [np.nan], [0, 1, np.nan]])
def test_a_clock_that_steps_back_or_holds_nan_names_no_sample(times: list[float]) -> None:
    clock = vector(times)
    np.testing.assert_array_equal(clock.times(), times)
    with pytest.raises(TimesError, match=r"not increasing \(or contain NaN\)"):
        clock.indices(1.0)


def test_of_no_samples_none_is_in_force() -> None:
    assert Clock(0, rate=5.0).times().tolist() == []
    with pytest.raises(RangeError, match="the recording has no samples"):
        Clock(0, rate=5.0).indices(0.0)


def test_one_sample_is_in_force_for_a_period_when_the_rate_is_known() -> None:
    assert vector([5.0], rate=2.0).indices([5.0, 5.4]).tolist() == [0, 0]
    with pytest.raises(RangeError):
        vector([5.0]).indices(5.1)


def test_indices_are_int64_in_the_shape_of_the_times() -> None:
    for clock in (Clock(10, rate=1.0), vector(list(range(10)))):
        found = clock.indices(np.array([[1, 2], [3, 4]]))
        assert found.dtype == np.int64
        assert found.tolist() == [[1, 2], [3, 4]]
        assert clock.indices([]).shape == (0,)


@pytest.mark.parametrize("times", [[1, 2, 3], (1.0, 2.0, 3.0), np.array([1, 2, 3], np.float32), [Fraction(1), 2, 3]])
def test_times_that_are_set_are_copied_as_float64(times: Any) -> None:
    found = checked_times(times, 3)
    assert found.tolist() == [1.0, 2.0, 3.0]
    assert found.dtype == np.float64
    assert not found.flags.writeable
    assert found is not times


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1, 2], r"expected 3 times, one per sample, got an array of shape \(2,\)"),
        ([[1], [2], [3]], r"of shape \(3, 1\)"),
        (1.0, r"of shape \(\)"),
        ("123", "times must be numbers in seconds, one per sample: got <U3"),
        (["1", "2", "3"], "times must be numbers in seconds"),
        ([1j, 2, 3], "times must be numbers in seconds, one per sample: got complex128"),
        (np.array(["2024", "2025", "2026"], "datetime64[Y]"), r"got datetime64\[Y\]"),
        ([None, 1, {}], "times must be numbers in seconds"),
        ([[1], [2, 3], []], "times must be numbers in seconds"),
        ([True, False, True], "got bool"),
    ],
)
def test_times_that_cannot_be_are_refused(times: Any, message: str) -> None:
    with pytest.raises(TimesError, match=message):
        checked_times(times, 3)

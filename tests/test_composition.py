"""Recordings made of recordings: numpy's concatenation and stacking in data, a monotonic clock with its gaps kept."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from roiextractors_core.errors import ClosedRecordingError, DeclarationError, RangeError, TimesError
from roiextractors_core.imaging import ImagingExtractor, NumpyImagingExtractor, concatenate, stack_planes
from roiextractors_core.metadata import RecordingMetadata

START = datetime(2024, 3, 21, 9, 0, 0, tzinfo=UTC)


def data(count: int, seed: int = 0, shape: tuple[int, ...] = (4, 5)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 999, (count, *shape)).astype("u2")


def movie(
    count: int, rate: float | None = None, *, seed: int = 0, start: datetime | None = None, **options: Any
) -> Any:
    return NumpyImagingExtractor(data(count, seed), rate, metadata=RecordingMetadata(start_time=start), **options)


class Native(NumpyImagingExtractor):
    """Has hardware times."""

    def __init__(self, array: np.ndarray, native: list[float], start: datetime | None = None) -> None:
        super().__init__(array, metadata=RecordingMetadata(start_time=start))
        self.native = native

    def get_native_timestamps(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        return np.array(self.native[start:end])


PARTS = [data(4, 1), data(0, 2), data(3, 3), data(1, 4)]
WHOLE = np.concatenate(PARTS)


@pytest.fixture
def whole() -> ImagingExtractor:
    return concatenate([NumpyImagingExtractor(part, 10.0) for part in PARTS])


# Data


def test_every_range_of_a_concatenation_is_numpys(whole: Any) -> None:
    assert (whole.shape, whole.dtype, whole.is_volumetric) == (WHOLE.shape, WHOLE.dtype, False)
    for a in range(9):
        for b in range(a, 9):
            np.testing.assert_array_equal(whole.get_series(a, b), WHOLE[a:b])
            view = whole.slice_samples(a, b)
            np.testing.assert_array_equal(view[...], WHOLE[a:b])
            np.testing.assert_array_equal(view.get_timestamps(), np.arange(a, b) / 10.0)


@pytest.mark.parametrize("index", [0, -1, [7, 0, 4, 3, 3], slice(None, None, -2), (slice(2, 6), slice(1, 3), [4, 0]), [], np.arange(8) % 3 == 0], ids=repr)  # fmt: skip
def test_indexing_a_concatenation_is_numpys(whole: Any, index: Any) -> None:
    expected = WHOLE[np.array(index, int)] if isinstance(index, list) else WHOLE[index]
    np.testing.assert_array_equal(whole[index], expected)


def test_samples_of_a_concatenation_come_from_their_parts(whole: Any) -> None:
    for indices in ([7, 0, 4, 3, 3], [5, 6], [], [4], range(8)):
        np.testing.assert_array_equal(whole.get_samples(indices), WHOLE[np.array(indices, int)])
    with pytest.raises(RangeError, match=r"sample index 8 is outside the recording, which has 8 samples"):
        whole.get_samples([8])
    with pytest.raises(RangeError, match=r"the range of samples 0 to 9 is outside"):
        whole.get_series(0, 9)


def test_results_of_a_concatenation_belong_to_the_caller(whole: Any) -> None:
    whole.get_series(0, 3)[...] = 0
    whole.get_series(2, 8)[...] = 0
    np.testing.assert_array_equal(whole[...], WHOLE)


def test_concatenations_nest_and_slice_and_crop() -> None:
    parts = [NumpyImagingExtractor(data(n, n), 5.0) for n in (3, 4, 2)]
    nested = concatenate([concatenate(parts[:2]), concatenate([parts[2]])])
    expected = np.concatenate([data(n, n) for n in (3, 4, 2)])
    np.testing.assert_array_equal(nested[...], expected)
    np.testing.assert_array_equal(nested.get_timestamps(), np.arange(9) / 5.0)
    part = nested.slice_samples(2, 8).slice_field_of_view(1, 3, 0, 4)
    np.testing.assert_array_equal(part[...], expected[2:8, 1:3, 0:4])
    np.testing.assert_array_equal(concatenate([part, part])[...], np.concatenate([expected[2:8, 1:3, 0:4]] * 2))


def test_volumes_are_concatenated_and_their_planes_selected() -> None:
    volumes = [data(n, n, (3, 4, 2)) for n in (2, 3)]
    whole = concatenate([NumpyImagingExtractor(v, 2.0) for v in volumes])
    expected = np.concatenate(volumes)
    assert whole.shape == expected.shape
    np.testing.assert_array_equal(whole[1:4, ..., ::-1], expected[1:4, ..., ::-1])
    np.testing.assert_array_equal(whole.select_plane(1).slice_samples(1, 4)[...], expected[1:4, ..., 1])
    np.testing.assert_array_equal(whole.get_samples([4, 0, 4]), expected[[4, 0, 4]])


def test_one_part_is_itself_in_data_and_clock() -> None:
    for part in (
        movie(4, 10.0),
        Native(data(4), [5.0, 6.0, 6.0, 4.0]),
        movie(4, times=[1, 2, 3, 9]),
        movie(4, 3.0, start=START),
    ):
        whole = concatenate([part])
        np.testing.assert_array_equal(whole[...], part[...])
        np.testing.assert_array_equal(whole.get_timestamps(), part.get_timestamps())
        assert whole.times_source == part.times_source


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: concatenate([]), "nothing to concatenate: pass at least one recording"),
        (lambda: stack_planes([]), "nothing to stack"),
        (lambda: concatenate([movie(2), data(2)]), "part 1 is not an ImagingExtractor, got ndarray"),
        (lambda: concatenate(movie(2)), "expected a list of recordings to concatenate, got NumpyImagingExtractor"),
        (lambda: stack_planes(None), "expected a list of recordings to stack, got NoneType"),
        (
            lambda: concatenate([movie(2), NumpyImagingExtractor(data(2, shape=(4, 6)))]),
            r"that differ: the sample shape is \(4, 5\) in part 0 but \(4, 6\) in part 1",
        ),
        (
            lambda: concatenate([movie(2), NumpyImagingExtractor(data(2).astype(float))]),
            "the dtype is uint16 in part 0 but float64 in part 1",
        ),
        (lambda: concatenate([movie(2), NumpyImagingExtractor(data(2, shape=(4, 5, 1)))]), "the sample shape is"),
        (lambda: stack_planes([movie(2), movie(3)]), "the number of samples is 2 in part 0 but 3 in part 1"),
        (lambda: stack_planes([movie(2), movie(2, seed=1), NumpyImagingExtractor(data(2, shape=(5, 4)))]), "the frame shape is"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(make: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        make()


def test_the_list_of_parts_may_change_afterwards_and_may_be_a_generator() -> None:
    parts = [movie(2, 1.0), movie(3, 1.0)]
    whole = concatenate(parts)
    parts.append(movie(9, 1.0))
    assert len(pickle.loads(pickle.dumps(whole))) == len(whole) == 5
    assert len(pickle.loads(pickle.dumps(concatenate(part for part in parts)))) == 14


# The clock of a concatenation


def test_parts_of_one_rate_make_one_grid() -> None:
    whole = concatenate([movie(4, 30.0), movie(5, 30.0)])
    assert whole.times_source == "computed"
    assert whole.get_sampling_frequency() == 30.0
    np.testing.assert_array_equal(whole.get_timestamps(), np.arange(9) / 30.0)
    assert whole.time_to_sample_indices(5 / 30.0) == 5


def test_parts_without_a_clock_make_a_whole_without_one() -> None:
    whole = concatenate([movie(2), movie(2, 10.0)])
    assert whole.times_source is None
    with pytest.raises(TimesError, match="has no sample times"):
        whole.get_timestamps()
    whole.set_times([1, 2, 3, 4])
    assert whole.get_timestamps(1, 3).tolist() == [2.0, 3.0]


def test_a_rate_set_on_the_whole_counts_for_parts_that_know_none() -> None:
    whole = concatenate([movie(2), movie(3)])
    whole.override_sampling_frequency(4.0)
    assert (whole.times_source, whole.get_sampling_frequency()) == ("computed", 4.0)
    assert whole.get_timestamps().tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    mixed = concatenate([movie(2, 10.0), movie(2, 20.0)])
    mixed.override_sampling_frequency(2.0)
    assert mixed.get_timestamps().tolist() == [0.0, 0.5, 1.0, 1.5]


def test_parts_of_different_rates_keep_each_its_own() -> None:
    whole = concatenate([movie(3, 10.0), movie(3, 20.0)])
    assert whole.get_sampling_frequency() is None
    np.testing.assert_allclose(whole.get_timestamps(), [0, 0.1, 0.2, 0.3, 0.35, 0.4], rtol=1e-15)
    assert whole.times_source == "computed"


def test_gaps_between_slices_of_one_recording_are_kept() -> None:
    e = movie(30, 10.0)
    whole = concatenate([e.slice_samples(2, 5), e.slice_samples(20, 22)])
    assert whole.get_timestamps().tolist() == [0.2, 0.3, 0.4, 2.0, 2.1]
    assert whole.slice_samples(2, 4).get_timestamps().tolist() == [0.4, 2.0]


def test_slices_in_the_other_order_are_laid_one_after_the_other() -> None:
    e = movie(30, 10.0)
    times = concatenate([e.slice_samples(20, 22), e.slice_samples(2, 5)]).get_timestamps()
    np.testing.assert_allclose(times, [2.0, 2.1, 2.2, 2.3, 2.4], rtol=1e-12)
    again = concatenate([e, e]).get_timestamps()
    np.testing.assert_allclose(again, np.arange(60) / 10.0, rtol=1e-12)


def test_native_times_that_run_on_are_left_as_they_are() -> None:
    whole = concatenate([Native(data(3), [0.0, 0.1, 0.25]), Native(data(2), [7.0, 7.5])])
    assert whole.times_source == "native"
    assert whole.get_timestamps().tolist() == [0.0, 0.1, 0.25, 7.0, 7.5]
    assert whole.get_native_timestamps(2, 4).tolist() == [0.25, 7.0]
    assert whole.has_time_vector() is False


def test_native_times_that_begin_anew_follow_one_period_after() -> None:
    whole = concatenate([Native(data(3), [0.0, 0.5, 1.0]), Native(data(3), [0.0, 0.25, 0.5]), Native(data(1), [0.0])])
    assert whole.get_timestamps().tolist() == [0.0, 0.5, 1.0, 1.5, 1.75, 2.0, 2.25]


def test_start_times_put_the_parts_where_they_began() -> None:
    later = START + timedelta(seconds=60)
    for whole in (
        concatenate([movie(3, 10.0, start=START), movie(2, 10.0, start=later)]),
        concatenate([Native(data(3), [0.0, 0.1, 0.2], START), Native(data(2), [0.0, 0.1], later)]),
    ):
        assert whole.get_timestamps().tolist() == [0.0, 0.1, 0.2, 60.0, 60.1]
    assert whole.metadata.start_time == START


def test_start_times_that_contradict_the_lengths_are_not_believed() -> None:
    whole = concatenate([movie(30, 10.0, start=START), movie(2, 10.0, start=START + timedelta(seconds=1))])
    np.testing.assert_allclose(whole.get_timestamps(), np.arange(32) / 10.0, rtol=1e-12)


def test_start_times_with_and_without_a_zone_cannot_be_compared_and_are_left_out() -> None:
    whole = concatenate([movie(2, 10.0, start=START), movie(2, 10.0, start=datetime(2024, 3, 21, 9, 1))])
    np.testing.assert_allclose(whole.get_timestamps(), [0.0, 0.1, 0.2, 0.3], rtol=1e-12)


def test_the_strongest_source_among_the_parts_is_told() -> None:
    user, native, computed = movie(2, times=[10, 11]), Native(data(2), [0.0, 1.0]), movie(2, 2.0)
    assert concatenate([computed, native]).times_source == "native"
    whole = concatenate([native, computed, user])
    assert (whole.times_source, whole.has_time_vector()) == ("user", True)
    assert whole.get_timestamps().tolist() == [0.0, 1.0, 2.0, 2.5, 10.0, 11.0]
    assert whole.get_native_timestamps() is None


def test_the_users_times_on_the_whole_win_and_travel_with_its_slices() -> None:
    whole = concatenate([Native(data(2), [0.0, 1.0]), movie(2, 2.0)])
    whole.set_times([5, 6, 8, 11])
    assert whole.slice_samples(1, 3).get_timestamps().tolist() == [6.0, 8.0]
    assert pickle.loads(pickle.dumps(whole)).get_timestamps().tolist() == [5.0, 6.0, 8.0, 11.0]


def test_times_that_overlap_without_any_period_ask_for_times() -> None:
    whole = concatenate([Native(data(1), [0.0]), Native(data(1), [0.0])])
    with pytest.raises(TimesError, match="overlap and there is no rate to place one after the other; call set_times"):
        whole.get_timestamps()


def test_every_concatenation_of_increasing_clocks_increases() -> None:
    random = np.random.default_rng(3)
    for _ in range(40):
        parts = []
        for _ in range(random.integers(1, 5)):
            count = int(random.integers(0, 5))
            native = np.sort(random.random(count) * 10).tolist()
            start = START + timedelta(seconds=float(random.random() * 20)) if random.random() < 0.7 else None
            parts.append(
                [movie(count, 3.0, start=start), Native(data(count), native, start), movie(count, 7.0)][
                    random.integers(3)
                ]
            )
        whole = concatenate(parts)
        try:
            times = whole.get_timestamps()
        except TimesError:
            continue
        assert (np.diff(times) > 0).all()
        assert len(times) == len(whole)


def test_a_concatenation_of_empty_parts_is_empty() -> None:
    whole = concatenate([movie(0, 3.0), movie(0, 3.0)])
    assert whole.shape == (0, 4, 5)
    assert whole.get_series().shape == (0, 4, 5)
    assert whole.get_timestamps().tolist() == []


# Stacks


def test_planes_are_stacked_in_order() -> None:
    arrays = [data(5, k) for k in range(3)]
    stack = stack_planes([NumpyImagingExtractor(a, 6.0) for a in arrays])
    expected = np.stack(arrays, axis=3)
    assert (stack.shape, stack.is_volumetric, stack.dtype) == (expected.shape, True, expected.dtype)
    np.testing.assert_array_equal(stack[...], expected)
    np.testing.assert_array_equal(stack.get_series(1, 4), expected[1:4])
    np.testing.assert_array_equal(stack.get_samples([4, 0, 4]), expected[[4, 0, 4]])
    np.testing.assert_array_equal(stack[1:3, 2, ::-1, [2, 0]], expected[1:3, 2, ::-1, [2, 0]])
    np.testing.assert_array_equal(stack.slice_samples(1, 3).select_plane(1)[...], arrays[1][1:3])
    np.testing.assert_array_equal(stack.slice_field_of_view(1, 3, 2, 5)[...], expected[:, 1:3, 2:5])
    np.testing.assert_array_equal(stack.slice_samples(2).get_timestamps(), np.arange(2, 5) / 6.0)


def test_volumes_and_planes_stack_together() -> None:
    volume, plane = data(4, 1, (4, 5, 2)), data(4, 2)
    stack = stack_planes([NumpyImagingExtractor(volume), NumpyImagingExtractor(plane), NumpyImagingExtractor(volume)])
    expected = np.concatenate([volume, plane[..., None], volume], axis=3)
    np.testing.assert_array_equal(stack[...], expected)
    np.testing.assert_array_equal(stack[:, :, :, 1:4], expected[..., 1:4])
    nested = stack_planes([stack, stack_planes([NumpyImagingExtractor(plane)])])
    np.testing.assert_array_equal(nested[...], np.concatenate([expected, plane[..., None]], axis=3))


def test_only_the_parts_whose_planes_are_asked_for_are_read() -> None:
    class Refuses(NumpyImagingExtractor):
        def get_block(self, *args: Any, **kwargs: Any) -> np.ndarray:
            raise AssertionError("it was read")

    stack = stack_planes([movie(3), Refuses(data(3)), movie(3, seed=2)])
    np.testing.assert_array_equal(stack[..., 2], data(3, 2))
    np.testing.assert_array_equal(stack.select_plane(0)[...], data(3, 0))


def test_a_stack_has_the_first_parts_clock_unless_told_otherwise() -> None:
    first = Native(data(3), [0.0, 0.4, 1.0])
    stack = stack_planes([first, movie(3, 10.0)])
    assert (stack.times_source, stack.get_timestamps().tolist()) == ("native", [0.0, 0.4, 1.0])
    first.set_times([1, 2, 3])
    assert (stack.times_source, stack.has_time_vector()) == ("user", True)
    stack.set_times([7, 8, 9])
    assert stack.slice_samples(1).get_timestamps().tolist() == [8.0, 9.0]
    rateless = stack_planes([movie(3), movie(3)])
    rateless.override_sampling_frequency(2.0)
    assert rateless.get_timestamps().tolist() == [0.0, 0.5, 1.0]


def test_plane_positions_are_kept_when_all_are_known() -> None:
    def at(*positions: float) -> Any:
        return NumpyImagingExtractor(data(2), metadata=RecordingMetadata(plane_positions=positions, device="scope"))

    assert stack_planes([at(0.0), at(15.0)]).metadata.plane_positions == (0.0, 15.0)
    assert stack_planes([at(0.0), at()]).metadata.plane_positions == ()
    assert stack_planes([at(0.0), at()]).metadata.device == "scope"


def test_stacks_are_concatenated_and_concatenations_stacked() -> None:
    a, b, c, d = (data(n, n) for n in (2, 2, 3, 3))
    stacks = [stack_planes([NumpyImagingExtractor(x, 2.0), NumpyImagingExtractor(y, 2.0)]) for x, y in ((a, b), (c, d))]
    whole = concatenate(stacks)
    expected = np.concatenate([np.stack([a, b], 3), np.stack([c, d], 3)])
    np.testing.assert_array_equal(whole[...], expected)
    np.testing.assert_array_equal(whole[1:4, ..., 1], expected[1:4, ..., 1])
    other = stack_planes([concatenate([NumpyImagingExtractor(x) for x in pair]) for pair in ((a, c), (b, d))])
    np.testing.assert_array_equal(other[...], expected)


# The rest


def test_compositions_pickle_close_and_pass_notes_on() -> None:
    class Noted(NumpyImagingExtractor):
        def get_notes(self) -> tuple[str, ...]:
            return ("the last frame is cut",)

    for make in (concatenate, stack_planes):
        parts = [movie(3, 2.0), movie(3, 2.0, seed=1)]
        whole = make(parts)
        again = pickle.loads(pickle.dumps(whole.slice_samples(1, 3)))
        np.testing.assert_array_equal(again[...], whole[1:3])
        with whole:
            pass
        for part in (whole, *parts):
            with pytest.raises(ClosedRecordingError, match="is closed"):
                part.get_series()
    noted = concatenate([movie(3), Noted(data(3))])
    assert noted.get_notes() == ("the last frame is cut",)
    assert noted.provenance.notes == ("the last frame is cut",)


def test_a_part_that_was_closed_is_an_error_of_the_whole() -> None:
    part = movie(3)
    whole = concatenate([movie(2), part])
    part.close()
    np.testing.assert_array_equal(whole[0], data(2)[0])
    with pytest.raises(ClosedRecordingError):
        whole.get_series(1, 3)


def test_two_thousand_nested_views_are_read_timed_and_pickled() -> None:
    recording = NumpyImagingExtractor(np.arange(3000 * 4 * 5).reshape(3000, 4, 5).astype(np.uint32), 10.0)
    view = recording
    for _ in range(2000):
        view = view.slice_samples(1, len(view))
    assert len(view) == 1000
    np.testing.assert_array_equal(view[7], recording[2007])
    np.testing.assert_array_equal(view.get_samples([5, 2]), recording.get_samples([2005, 2002]))
    np.testing.assert_allclose(view.get_timestamps(0, 2), [200.0, 200.1])
    assert view.get_notes() == ()
    again = pickle.loads(pickle.dumps(view))
    np.testing.assert_array_equal(again[7], recording[2007])
    np.testing.assert_allclose(again.get_timestamps(0, 2), [200.0, 200.1])


def test_times_set_on_a_part_are_seen_after_the_joined_times_were_read() -> None:
    parts = [NumpyImagingExtractor(np.zeros((3, 4, 5), np.uint8), 10.0) for _ in range(3)]
    joined = concatenate([parts[0], parts[1].slice_samples(0, 3), parts[2]])
    np.testing.assert_allclose(joined.get_timestamps(0, 1), [0.0])
    parts[0].set_times(np.array([5.0, 6.0, 7.0]))
    np.testing.assert_allclose(joined.get_timestamps(0, 1), [5.0])
    parts[1].set_times(np.array([8.0, 9.0, 10.0]))
    np.testing.assert_allclose(joined.get_timestamps(3, 4), [8.0])

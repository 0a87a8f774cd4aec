"""The base class: ranges, ownership, numpy's indexing, views, times, pickling; and the field's own extractors."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roiextractors_core.errors import (
    ClosedRecordingError,
    IncompleteRecordingWarning,
    RangeError,
    RangeTypeError,
    RecordingError,
    TimesError,
)
from roiextractors_core.imaging import ImagingExtractor, ImagingView, NumpyImagingExtractor
from roiextractors_core.io import warn
from roiextractors_core.metadata import Provenance, RecordingMetadata
from roiextractors_core.npy import NpyImagingExtractor

PLANAR = np.random.default_rng(1).integers(0, 4000, (12, 5, 7)).astype("<i2")
VOLUMES = np.random.default_rng(2).integers(0, 4000, (9, 4, 6, 3)).astype("<u2")


class Least(ImagingExtractor):
    """What an author writes at least; counts what is read."""

    def __init__(self, data: np.ndarray, *, sampling_frequency: float | None = None) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self.data = data
        self.reads: list[tuple[int, int]] = []
        self.is_volumetric = data.ndim == 4

    def get_image_shape(self) -> tuple[int, int]:
        return self.data.shape[1], self.data.shape[2]

    def get_num_samples(self) -> int:
        return len(self.data)

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        self.reads.append((start, end))
        return self.data[start:end].copy()


class Blocks(Least):
    """Also reads only the rectangle that is asked for."""

    def get_dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    def get_num_planes(self) -> int:
        return self.data.shape[3] if self.data.ndim == 4 else 1

    def get_block(self, samples: Any, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        self.check_open()
        for part in (rows, columns, *(() if planes is None else (planes,))):
            assert part.step in (None, 1)
            assert 0 <= part.start <= part.stop
        if isinstance(samples, np.ndarray):
            assert samples.dtype == np.int64
        wanted = (rows, columns) if planes is None else (rows, columns, planes)
        return self.data[(samples, *wanted)].copy()


class Ticking(Least):
    """Has a clock of its own, 0.5 s late and uneven."""

    def get_native_timestamps(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        return (np.arange(start, end) ** 2 / 8.0) + 0.5


MAKERS: list[tuple[str, Callable[[], ImagingExtractor], np.ndarray]] = [
    ("planar", lambda: Least(PLANAR), PLANAR),
    ("volumes", lambda: Least(VOLUMES), VOLUMES),
    ("planar blocks", lambda: Blocks(PLANAR), PLANAR),
    ("volume blocks", lambda: Blocks(VOLUMES), VOLUMES),
    ("array", lambda: NumpyImagingExtractor(PLANAR), PLANAR),
    ("volume array", lambda: NumpyImagingExtractor(VOLUMES), VOLUMES),
    ("view", lambda: Least(np.pad(PLANAR, 2)).slice_samples(2, 14).slice_field_of_view(2, 7, 2, 9), PLANAR),
    ("plane", lambda: Least(np.stack([PLANAR, PLANAR + 1], axis=3)).select_plane(0), PLANAR),
]
EVERY = pytest.mark.parametrize(("make", "data"), [(m, d) for _, m, d in MAKERS], ids=[name for name, _, _ in MAKERS])


# Being made


def test_a_class_that_lacks_a_method_cannot_be_made_and_the_error_names_it() -> None:
    class Half(ImagingExtractor):
        def get_image_shape(self) -> tuple[int, int]:
            return 1, 1

    with pytest.raises(TypeError, match=r"Half.*get_num_samples.*get_series") as caught:
        Half()  # type: ignore[abstract]
    assert "get_image_shape" not in str(caught.value)


@EVERY
def test_the_shape_is_told_in_every_way(make: Any, data: np.ndarray) -> None:
    e = make()
    assert e.shape == data.shape
    assert (e.ndim, e.size, e.nbytes, len(e)) == (data.ndim, data.size, data.nbytes, len(data))
    assert e.dtype == e.get_dtype() == data.dtype
    assert e.dtype.isnative
    assert e.get_num_samples() == len(data)
    assert tuple(e.get_image_shape()) == e.get_frame_shape() == data.shape[1:3]
    assert e.get_sample_shape() == data.shape[1:]
    assert e.is_volumetric is (data.ndim == 4)
    assert e.get_num_planes() == (data.shape[3] if data.ndim == 4 else 1)
    assert e.get_volume_shape() == (*data.shape[1:3], e.get_num_planes())


# Ranges


@EVERY
def test_every_range_equals_the_arrays(make: Any, data: np.ndarray) -> None:
    e, count = make(), len(data)
    for start in range(count + 1):
        for end in range(start, count + 1):
            np.testing.assert_array_equal(e.get_series(start, end), data[start:end])
    np.testing.assert_array_equal(e.get_series(), data)
    np.testing.assert_array_equal(e.get_series(end_sample=2), data[:2])
    np.testing.assert_array_equal(e.get_series(3), data[3:])


@EVERY
def test_zero_means_zero_and_an_empty_range_keeps_shape_and_dtype(make: Any, data: np.ndarray) -> None:
    e, count = make(), len(data)
    for start, end in ((0, 0), (None, 0), (count, None), (count, count), (4, 4)):
        found = e.get_series(start, end)
        assert found.shape == (0, *data.shape[1:])
        assert found.dtype == data.dtype


@EVERY
@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (-1, 2, "is negative"),
        (0, -1, "is negative"),
        (5, 3, "is reversed"),
        (0, 1000, "is outside the recording"),
        (1000, 1001, "is outside the recording"),
        (1000, None, "is outside the recording"),
    ],
)
def test_a_range_outside_is_an_error_with_the_range_and_the_number(
    make: Any, data: np.ndarray, start: int, end: int, why: str
) -> None:
    message = (
        rf"the range of samples {start:,} to .*{why}: there are {len(data)} samples \(0 to {len(data)}, end exclusive\)"
    )
    for method in ("get_series", "slice_samples"):
        with pytest.raises(RangeError, match=message):
            getattr(make(), method)(start, end)
    with pytest.raises(ValueError, match="the range of samples"):
        make().get_series(start, end)
    with pytest.raises(IndexError):
        make().get_series(start, end)


@EVERY
@pytest.mark.parametrize("bound", [1.0, "1", True, np.True_, np.float64(2), [1], np.array([1]), 1j])
def test_a_bound_that_is_no_whole_number_is_a_type_error(make: Any, data: np.ndarray, bound: Any) -> None:
    for arguments in ((bound, None), (0, bound)):
        with pytest.raises(RangeTypeError, match="a sample must be a whole number, got"):
            make().get_series(*arguments)
        with pytest.raises(TypeError):
            make().get_timestamps(*arguments)


@EVERY
def test_numpys_integers_are_integers(make: Any, data: np.ndarray) -> None:
    e = make()
    np.testing.assert_array_equal(e.get_series(np.int64(1), np.uint8(4)), data[1:4])
    np.testing.assert_array_equal(e.get_series(np.array(1), np.int16(4)), data[1:4])


# Samples by index


@EVERY
@pytest.mark.parametrize(
    "indices",
    [[0], [3, 4, 5], [5, 4, 3], [0, 8, 0, 8], [7, 7, 7], [], 2, np.array(3), range(2, 8, 3), (1, 6)],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [None, np.uint8, np.int16, np.uint64])
def test_samples_come_in_any_order_with_repeats(make: Any, data: np.ndarray, indices: Any, dtype: Any) -> None:
    asked = indices if dtype is None else np.array(indices, dtype)
    expected = data[np.atleast_1d(np.array(indices, int))]
    found = make().get_samples(asked)
    np.testing.assert_array_equal(found, expected)
    assert found.shape == expected.shape
    assert found.dtype == data.dtype
    assert found.flags.writeable


@EVERY
@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([-1], RangeError, r"sample index -1 is outside the recording, which has \d+ samples \(0 to \d+\)"),
        ([0, 1000], RangeError, "sample index 1,000 is outside"),
        (np.array([2**64 - 1], np.uint64), RangeError, "sample index 18,446,744,073,709,551,615 is outside"),
        ([1.0], RangeTypeError, "whole numbers in one dimension, got float64"),
        ([True, False], RangeTypeError, "got bool"),
        ([[1, 2]], RangeTypeError, r"of shape \(1, 2\)"),
        ([[1], [2, 3]], RangeTypeError, "sample indices must be whole numbers"),
        ("1", RangeTypeError, "whole numbers"),
        (None, RangeTypeError, "whole numbers"),
        ({1}, RangeTypeError, "whole numbers"),
        ([2**70], RangeTypeError, "whole numbers"),
    ],
)
def test_indices_that_cannot_be_are_refused(
    make: Any, data: np.ndarray, indices: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        make().get_samples(indices)


def test_only_what_is_asked_for_is_read_in_runs() -> None:
    e = Blocks(np.arange(1000, dtype="<u4").reshape(1000, 1, 1))
    assert e.get_samples([900, 3, 4, 2, 901, 3, 500]).ravel().tolist() == [900, 3, 4, 2, 901, 3, 500]
    assert e.reads == [(2, 5), (500, 501), (900, 902)]


def test_a_long_run_is_read_in_batches_of_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roiextractors_core.io.blocks.MAX_BLOCK_BYTES", 8 * 5 * 7 * 2)
    data = np.arange(40 * 35, dtype="<i2").reshape(40, 5, 7)
    e = Least(data)
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_array_equal(e.get_samples(order), data[order])
    np.testing.assert_array_equal(e.slice_field_of_view(1, 3)[...], data[:, 1:3])
    assert max(end - start for start, end in e.reads) <= 8


# Ownership


@EVERY
def test_results_belong_to_the_caller(make: Any, data: np.ndarray) -> None:
    e = make()
    for read in (
        lambda: e.get_series(1, 4),
        lambda: e.get_samples([1, 2, 3]),
        lambda: e.get_samples([2]),
        lambda: e[1:4],
        lambda: e[[1, 2, 3]],
        lambda: e[2],
        lambda: e[1:4, 1:3],
        lambda: np.asarray(e)[1:4],
        lambda: e.slice_samples(1, 4).get_series(),
    ):
        first = read()
        expected = first.copy()
        assert first.flags.writeable
        first[...] = 77
        np.testing.assert_array_equal(read(), expected)


class Careless(ImagingExtractor):
    """Returns views of what it keeps, as the field's guide does."""

    def __init__(self, data: np.ndarray) -> None:
        super().__init__()
        self.data = data

    def get_image_shape(self) -> tuple[int, int]:
        return self.data.shape[1:]

    def get_num_samples(self) -> int:
        return len(self.data)

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        return self.data[start_sample:end_sample]


@pytest.mark.parametrize("data", [PLANAR, PLANAR.astype(">i2"), PLANAR.view()], ids=["native", "swapped", "read-only"])
def test_what_the_base_gives_is_owned_and_native_even_if_the_author_is_careless(data: np.ndarray) -> None:
    data = data.copy()
    data.flags.writeable = False
    e = Careless(data)
    for found in (
        e[...],
        e[2:5],
        e[3],
        e.get_samples([1, 2]),
        e.get_samples([4]),
        e.get_samples([4, 1]),
        np.asarray(e),
        e.slice_samples(2, 9).get_series(1, 3),
        e.slice_field_of_view(1, 3).get_series(),
        e[0:0],
        e.get_samples([]),
    ):
        assert found.flags.writeable
        assert found.dtype.isnative
        found[...] = 0
    np.testing.assert_array_equal(e[...], PLANAR)


# Numpy's indexing

PLANAR_INDICES: list[Any] = [
    0, -1, 11, -12, np.int16(3), np.array(4), slice(None), slice(2, 9), slice(-3, None), slice(None, None, 2), slice(9, 1, -3),
    slice(None, None, -1), slice(5, 5), slice(8, 2), slice(-100, 100), slice(100, 200), slice(np.int64(1), np.uint8(4)),
    Ellipsis, None, (), (Ellipsis,), (None, 2), (2, None), (Ellipsis, None), (None, Ellipsis, None, 3),
    (3, 2), (3, 2, 1), (-1, -1, -1), (slice(1, 3), 2), (slice(1, 3), slice(1, 4), slice(2, 6)), (Ellipsis, 3), (2, Ellipsis, 3),
    (slice(None), slice(None, None, -2), slice(5, 0, -2)), (slice(None), slice(2, 2)), (0, slice(4, 1)), (slice(None), 0, Ellipsis),
    [0], [3, 1, 1, 11], [-1, 0], [], [[0, 1], [2, 3]], np.array([], int), np.array([5, 2], np.uint8), ([0, 1, 2],),
    ((0, 2),), (range(1, 8, 3),), range(1, 4), np.arange(12) % 3 == 0, [True] * 6 + [False] * 6, np.zeros(12, bool),
    ([0, 1], [2, 3]), ([0, 1], [2, 3], [4, 5]), ([0, 1], 2), (slice(None), [0, 4]), (slice(None), [0, 4], [1, 2]), ([0, 5], slice(None), [1, 2]),
    (slice(2, 5), 1, [0, 6]), (2, slice(None), [0, 6]), ([[0], [5]], [1, 2]), (np.array([[0], [5]]), slice(1, 3), [1, 2]),
    (slice(None), [4, 0, 2]), (slice(None), slice(None), [-1, -7]), (slice(1, 4), np.array([True, False, True, False, True])),
    np.arange(60).reshape(12, 5) % 7 == 0, (slice(None), np.arange(35).reshape(5, 7) % 3 == 0), np.arange(420).reshape(12, 5, 7) % 11 == 0,
    (np.arange(12) > 5, slice(None), 2), ([3, 3], [0, 0], [6, 6]), (None, [1, 2], None, [3, 3]), (1, None, 2, None, 3),
]  # fmt: skip
VOLUME_INDICES: list[Any] = [
    0, -1, slice(2, 6), slice(None, None, -2), Ellipsis, (Ellipsis, 1), (Ellipsis, slice(None, None, -1)), (2, 1, 3, 2), (slice(1, 3), slice(1, 3), slice(2, 5), slice(0, 2)),
    (slice(None), slice(None), slice(None), [2, 0]), ([0, 3], slice(None), slice(None), [0, 1]), (3, Ellipsis, [0, 0]), ([0, 1], [1, 2], [2, 3], [0, 1]),
    (slice(None), slice(None), slice(None), np.array([True, False, True])), np.arange(9 * 4).reshape(9, 4) % 5 == 0,
    (slice(None), np.arange(72).reshape(4, 6, 3) % 7 == 0), (slice(None), slice(None), np.arange(18).reshape(6, 3) % 2 == 0), (None, 1, Ellipsis, None),
    (slice(0, 0), 1), (slice(None), slice(0, 0)), (1, 2, 3), ([], Ellipsis), (8, -1, -1, -1), (Ellipsis, slice(1, 1)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "data"), [(m, d) for _, m, d in MAKERS if d.ndim == 3], ids=[n for n, _, d in MAKERS if d.ndim == 3]
)
@pytest.mark.parametrize("index", PLANAR_INDICES, ids=repr)
def test_indexing_a_planar_recording_is_indexing_its_array(make: Any, data: np.ndarray, index: Any) -> None:
    expected = data[np.array(index, int)] if isinstance(index, list) and not index else data[index]
    found = make()[index]
    np.testing.assert_array_equal(found, expected)
    assert np.shape(found) == expected.shape
    assert found.dtype == data.dtype


@pytest.mark.parametrize(
    ("make", "data"), [(m, d) for _, m, d in MAKERS if d.ndim == 4], ids=[n for n, _, d in MAKERS if d.ndim == 4]
)
@pytest.mark.parametrize("index", VOLUME_INDICES, ids=repr)
def test_indexing_a_volumetric_recording_is_indexing_its_array(make: Any, data: np.ndarray, index: Any) -> None:
    index = (
        tuple(np.array(part, int) if isinstance(part, list) else part for part in index)
        if isinstance(index, tuple)
        else index
    )
    found = make()[index]
    np.testing.assert_array_equal(found, data[index])
    assert np.shape(found) == data[index].shape
    assert found.dtype == data.dtype


@EVERY
@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (1000, RangeError, "sample 1,000 is outside the recording: there are"),
        (-1000, RangeError, "sample -1,000 is outside"),
        (10**30, RangeError, "is outside"),
        (np.array([2**64 - 1], np.uint64), RangeError, "sample 18,446,744,073,709,551,615 is outside"),
        ([0, 1000], RangeError, "sample 1,000 is outside"),
        ((0, 99), RangeError, "row 99 is outside the recording: there are"),
        ((0, 0, -99), RangeError, "column -99 is outside"),
        ((0,) * 7, RangeError, "too many indices: the recording has . axes .*, got 7"),
        ((Ellipsis, Ellipsis), RangeError, "single ellipsis"),
        (np.ones(3, bool), RangeError, "the mask has 3 samples, expected"),
        (np.ones((2, 2), bool), RangeError, "the mask has 2 samples"),
        (([0, 1], [0, 1, 2]), RangeError, "the index arrays cannot be broadcast together"),
        (1.0, RangeTypeError, "whole number"),
        ("0", RangeTypeError, "whole number"),
        ([0.5], RangeTypeError, "sample indices must be whole numbers, got float64"),
        (["a"], RangeTypeError, "whole number"),
        ([[0], [1, 2]], RangeTypeError, "whole numbers"),
        ((0, 1.5), RangeTypeError, "a row must be a whole number"),
        (slice(0.5, None), RangeTypeError, "slice bounds must be whole numbers"),
        (True, RangeTypeError, "a sample must be a whole number, got True"),
        ({}, RangeTypeError, "whole number"),
    ],
)
def test_an_index_that_cannot_be_is_refused(make: Any, data: np.ndarray, index: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()[index]
    with pytest.raises(IndexError if error is RangeError else TypeError):
        make()[index]


def test_a_step_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="zero"):
        Least(PLANAR)[::0]


def test_what_is_not_asked_for_is_not_read() -> None:
    class Seen(Blocks):
        def get_block(self, samples: Any, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
            self.asked = (samples, rows, columns, planes)
            return super().get_block(samples, rows, columns, planes)

    e = Seen(VOLUMES)
    e[2:8:3, 1, [4, 2], -1]
    samples, *others = e.asked
    assert samples.tolist() == [2, 5]
    assert others == [slice(1, 2), slice(2, 5), slice(2, 3)]
    e[-1, ..., 0]
    assert e.asked == (slice(8, 9), slice(0, 4), slice(0, 6), slice(0, 1))


def test_an_empty_index_reads_nothing() -> None:
    e = Blocks(PLANAR)
    for index in (
        slice(3, 3),
        [],
        (slice(None), slice(2, 2)),
        (slice(None), [], 0),
        (Ellipsis, slice(7, 7)),
        np.zeros(12, bool),
    ):
        assert e[index].size == 0
    e = Least(PLANAR)
    e.get_dtype()
    e.reads.clear()
    e.get_samples([])
    assert [(a, b) for a, b in e.reads if a != 0] == []


def test_it_iterates_over_samples_and_can_be_reversed() -> None:
    e = Least(PLANAR)
    np.testing.assert_array_equal(list(e), PLANAR)
    np.testing.assert_array_equal(list(reversed(e)), PLANAR[::-1])
    assert e.reads[:2] == [(0, 1), (1, 2)]
    assert bool(Least(PLANAR[:0])) is True


@EVERY
def test_numpys_functions_take_it_for_an_array(make: Any, data: np.ndarray) -> None:
    e = make()
    np.testing.assert_array_equal(np.asarray(e), data)
    np.testing.assert_array_equal(np.array(e, dtype=np.float32), data.astype(np.float32))
    np.testing.assert_array_equal(np.mean(e, axis=0), data.mean(axis=0))
    np.testing.assert_array_equal(np.max(e), data.max())
    np.testing.assert_array_equal(np.stack([e, e]), np.stack([data, data]))
    np.testing.assert_array_equal(np.add(e, 1), data + 1)
    np.testing.assert_array_equal(np.percentile(e, 50, axis=0), np.percentile(data, 50, axis=0))
    assert np.shape(e) == data.shape
    assert np.ndim(e) == data.ndim
    with pytest.raises(ValueError, match="without copying"):
        np.asarray(e, copy=False) if int(np.__version__[0]) > 1 else e.__array__(copy=False)


# Recordings at the edge


@pytest.mark.parametrize("shape", [(0, 4, 5), (0, 4, 5, 2), (3, 0, 5), (3, 4, 0, 2), (1, 1, 1), (2, 3, 4, 1)])
@pytest.mark.parametrize("kind", [Least, Blocks, NumpyImagingExtractor])
def test_empty_and_smallest_recordings_keep_their_shape(kind: Any, shape: tuple[int, ...]) -> None:
    data = np.zeros(shape, np.float32)
    e = kind(data, sampling_frequency=10.0)
    assert e.shape == shape
    assert e.dtype == np.float32
    assert np.asarray(e).shape == e[...].shape == e.get_series().shape == shape
    assert e.get_samples([]).shape == (0, *shape[1:])
    assert len(e.get_timestamps()) == shape[0]
    assert e.slice_samples(0, 0).get_series().shape == (0, *shape[1:])
    assert e.slice_samples(0, 0).get_timestamps().tolist() == []
    assert repr(e).startswith(f"<{kind.__name__}: ")
    if len(shape) == 4:
        assert e.select_plane(0).shape == shape[:3]
    assert pickle.loads(pickle.dumps(e)).shape == shape


def test_a_volume_without_planes_has_no_plane_to_select() -> None:
    e = NumpyImagingExtractor(np.zeros((3, 4, 5, 0)))
    assert e.shape == (3, 4, 5, 0)
    with pytest.raises(RangeError, match="plane 0 is outside the recording, which has 0 planes"):
        e.select_plane(0)


def test_the_representation_says_what_matters_and_reads_no_pixel() -> None:
    e = Blocks(PLANAR, sampling_frequency=30.0)
    assert repr(e) == "<Blocks: 12 samples of 5 rows x 7 columns, int16, 840 bytes; 30 Hz, 0.4 s>"
    assert (
        repr(Blocks(VOLUMES)) == "<Blocks: 9 samples of 4 rows x 6 columns x 3 planes, uint16, 1.3 KiB; rate unknown>"
    )
    assert e.reads == []
    long = Blocks(np.broadcast_to(np.zeros(1, "u1"), (100_000, 512, 512)), sampling_frequency=7.5)
    assert repr(long) == "<Blocks: 100,000 samples of 512 rows x 512 columns, uint8, 24.4 GiB; 7.5 Hz, 3.70 h>"


# Views


def test_a_slice_of_samples_is_the_arrays_slice_in_data_and_in_clock() -> None:
    for e in (Least(PLANAR, sampling_frequency=10.0), Ticking(PLANAR), Blocks(VOLUMES, sampling_frequency=3.0)):
        times, data = e.get_timestamps(), np.asarray(e)
        for a in range(0, len(e) + 1, 2):
            for b in range(a, len(e) + 1, 3):
                view = e.slice_samples(a, b)
                np.testing.assert_array_equal(view[...], data[a:b])
                np.testing.assert_array_equal(view.get_timestamps(), times[a:b])
                assert view.times_source == e.times_source
                for c in range(0, b - a + 1, 2):
                    deeper = view.slice_samples(c)
                    np.testing.assert_array_equal(deeper.get_series(), data[a:b][c:])
                    np.testing.assert_array_equal(deeper.get_timestamps(), times[a:b][c:])


@pytest.mark.parametrize("kind", [Least, Blocks, NumpyImagingExtractor])
def test_views_of_every_kind_compose_in_any_order(kind: Any) -> None:
    e = kind(VOLUMES, sampling_frequency=4.0)
    steps: dict[str, tuple[Any, Any]] = {
        "samples": (lambda v: v.slice_samples(2, 8), lambda a: a[2:8]),
        "rows": (lambda v: v.slice_field_of_view(1, 4, 2, 6), lambda a: a[:, 1:4, 2:6]),
        "plane": (lambda v: v.select_plane(1), lambda a: a[..., 1]),
    }
    import itertools

    for order in itertools.permutations(steps):
        view, expected, times = e, VOLUMES, np.arange(9) / 4.0
        for name in order:
            view, expected = steps[name][0](view), steps[name][1](expected)
            times = times[2:8] if name == "samples" else times
            np.testing.assert_array_equal(view[...], expected)
            assert view.shape == expected.shape
            np.testing.assert_array_equal(view.get_timestamps(), times)
        np.testing.assert_array_equal(view[1:5:2, ::-1, [0, 3]], expected[1:5:2, ::-1, [0, 3]])
        np.testing.assert_array_equal(view.get_samples([5, 0, 0]), expected[[5, 0, 0]])
        np.testing.assert_array_equal(view.slice_samples(1, 3).get_series(1), expected[2:3])


def test_a_field_of_view_has_defaults_and_is_refused_when_outside_or_empty() -> None:
    e = Least(PLANAR)
    np.testing.assert_array_equal(e.slice_field_of_view()[...], PLANAR)
    np.testing.assert_array_equal(e.slice_field_of_view(row_start=2)[...], PLANAR[:, 2:])
    np.testing.assert_array_equal(e.slice_field_of_view(column_end=3)[...], PLANAR[:, :, :3])
    np.testing.assert_array_equal(e.slice_field_of_view(0, 1, 0, 1)[...], PLANAR[:, :1, :1])
    with pytest.raises(RangeError, match=r"the range of rows 0 to 6 is outside the recording: there are 5 rows"):
        e.slice_field_of_view(0, 6)
    with pytest.raises(RangeError, match=r"the range of columns -1 to 7 is negative"):
        e.slice_field_of_view(column_start=-1)
    with pytest.raises(RangeError, match="the field of view is empty: rows 2 to 2"):
        e.slice_field_of_view(2, 2)
    with pytest.raises(RangeTypeError, match="a row must be a whole number"):
        e.slice_field_of_view(0.5)  # type: ignore[arg-type]


def test_a_plane_is_selected_by_its_number_alone() -> None:
    e = Least(VOLUMES)
    for k in range(3):
        np.testing.assert_array_equal(e.select_plane(k)[...], VOLUMES[..., k])
    assert e.select_plane(np.int64(2)).is_volumetric is False
    with pytest.raises(RangeError, match=r"plane 3 is outside the recording, which has 3 planes \(0 to 2\)"):
        e.select_plane(3)
    with pytest.raises(RangeError, match="plane -1 is outside"):
        e.select_plane(-1)
    with pytest.raises(RangeTypeError, match="a plane must be a whole number"):
        e.select_plane(1.0)  # type: ignore[arg-type]
    with pytest.raises(RangeError, match="this recording is planar"):
        Least(PLANAR).select_plane(0)


def test_a_view_reads_only_what_it_shows() -> None:
    e = Least(PLANAR)
    view = e.slice_samples(4, 9)
    assert e.reads == []
    view.get_series(1, 3)
    assert e.reads[-1] == (5, 7)


def test_a_view_that_does_not_fit_its_parent_cannot_be_made() -> None:
    with pytest.raises(RangeError, match="the range of samples 5 to 100 is outside"):
        ImagingView(Least(PLANAR), samples=(5, 100))
    with pytest.raises(RangeError, match="the range of rows 3 to 2 is reversed"):
        ImagingView(Least(PLANAR), rows=(3, 2))


def test_a_view_of_a_plane_has_that_planes_position_and_its_parents_metadata() -> None:
    metadata = RecordingMetadata(plane_positions=(0.0, 10.0, 20.0), plane_spacing=10.0, device="scope")
    e = NumpyImagingExtractor(VOLUMES, metadata=metadata)
    e.bind_provenance(Provenance("made-up"))
    found = e.select_plane(1).slice_samples(1, 2).metadata
    assert (found.plane_positions, found.plane_spacing, found.device) == ((10.0,), None, "scope")
    assert e.slice_samples(0, 2).provenance.format == "made-up"


# Times


def test_the_users_times_win_over_the_hardwares_and_those_over_the_rates() -> None:
    e = Ticking(PLANAR[:4], sampling_frequency=10.0)
    assert (e.times_source, e.has_time_vector()) == ("native", False)
    assert e.get_timestamps().tolist() == [0.5, 0.625, 1.0, 1.625]
    assert e.has_time_vector() is False
    e.set_times([3, 4, 5, 7])
    assert (e.times_source, e.has_time_vector()) == ("user", True)
    assert e.get_timestamps(1, 3).tolist() == [4.0, 5.0]
    assert e.get_native_timestamps(0, 2).tolist() == [0.5, 0.625]
    assert Least(PLANAR, sampling_frequency=10.0).times_source == "computed"
    assert Least(PLANAR).times_source is None


def test_times_without_any_clock_say_what_to_pass() -> None:
    with pytest.raises(TimesError, match=r"pass open\(\.\.\., sampling_frequency=<Hz>\)"):
        Least(PLANAR).get_timestamps()


def test_times_that_were_given_belong_to_nobody_else() -> None:
    times = np.arange(12.0)
    e = Least(PLANAR)
    e.set_times(times)
    times[:] = -1
    found = e.get_timestamps()
    found[:] = -2
    assert e.get_timestamps().tolist() == list(range(12))


def test_times_of_another_number_are_refused_and_change_nothing() -> None:
    e = Least(PLANAR)
    e.set_times(np.arange(12))
    with pytest.raises(TimesError, match=r"expected 12 times, one per sample, got an array of shape \(11,\)"):
        e.set_times(np.arange(11))
    assert e.times_source == "user"


def test_times_are_copied_where_a_vector_is_in_force() -> None:
    source, target = Ticking(PLANAR), Least(PLANAR, sampling_frequency=5.0)
    target.copy_times(Least(PLANAR, sampling_frequency=50.0))
    assert target.times_source == "computed"
    target.copy_times(source)
    assert target.times_source == "user"
    np.testing.assert_array_equal(target.get_timestamps(), source.get_timestamps())
    with pytest.raises(TimesError, match="expected 12 times, one per sample, got an array of shape"):
        target.copy_times(source.slice_samples(1, 3))


def test_a_view_follows_its_parents_times_until_it_has_its_own() -> None:
    e = Least(PLANAR, sampling_frequency=10.0)
    view = e.slice_samples(2, 6)
    deeper = view.slice_samples(1, 3)
    assert deeper.get_timestamps().tolist() == [0.3, 0.4]
    view.set_times([10, 20, 30, 40])
    assert deeper.get_timestamps().tolist() == [20.0, 30.0]
    assert (deeper.times_source, deeper.has_time_vector()) == ("user", True)
    assert e.times_source == "computed"
    e.set_times(np.arange(12) + 100)
    assert view.get_timestamps().tolist() == [10.0, 20.0, 30.0, 40.0]
    assert e.slice_samples(2, 4).get_timestamps().tolist() == [102.0, 103.0]


def test_a_rate_set_on_a_view_counts_for_its_times_and_keeps_the_offset() -> None:
    view = Least(PLANAR, sampling_frequency=10.0).slice_samples(4, 8)
    view.override_sampling_frequency(2.0)
    assert view.get_sampling_frequency() == 2.0
    assert view.get_timestamps().tolist() == [2.0, 2.5, 3.0, 3.5]
    rateless = Least(PLANAR).slice_samples(4, 6)
    rateless.override_sampling_frequency(4.0)
    assert rateless.slice_samples(1).get_timestamps().tolist() == [1.25]


def test_native_times_are_read_for_the_samples_that_are_asked_for() -> None:
    asked: list[tuple[Any, Any]] = []

    class Watched(Least):
        def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
            asked.append((start_sample, end_sample))
            return np.arange(start_sample, end_sample, dtype=float)

    e = Watched(PLANAR).slice_samples(2, 10)
    assert e.get_timestamps(3, 5).tolist() == [5.0, 6.0]
    assert set(asked) <= {(0, 1), (5, 7)}


def test_a_time_names_the_sample_in_force() -> None:
    e = Ticking(PLANAR)
    assert e.time_to_sample_indices(0.7) == 1
    assert isinstance(e.time_to_sample_indices(0.7), np.int64)
    assert e.time_to_sample_indices([0.5, 1.7]).tolist() == [0, 3]
    for index, time in enumerate(e.get_timestamps()):
        assert e.time_to_sample_indices(time) == index
    view = Least(PLANAR, sampling_frequency=10.0).slice_samples(5, 9)
    assert view.time_to_sample_indices(view.get_timestamps()).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("rate", [30, 30.0, np.float32(30), np.int16(30), Fraction(30), np.float64(30)])
def test_a_rate_may_be_any_number(rate: Any) -> None:
    e = Least(PLANAR, sampling_frequency=rate)
    assert e.get_sampling_frequency() == 30.0
    assert type(e.get_sampling_frequency()) is float
    assert e.get_timestamps().dtype == np.float64


@pytest.mark.parametrize("rate", [29.97, 1 / 3, 1e-6, 15.483871, 5e6])
def test_a_rate_is_never_rounded(rate: float) -> None:
    assert Least(PLANAR, sampling_frequency=rate).get_sampling_frequency() == rate


@pytest.mark.parametrize("rate", [0, -1.0, np.nan, np.inf, "30", True, [30], 1j, 10**400, np.array([30.0])])
def test_a_rate_that_cannot_be_is_refused(rate: Any) -> None:
    with pytest.raises(TimesError, match="sampling_frequency must be"):
        Least(PLANAR, sampling_frequency=rate)
    with pytest.raises(TimesError, match="sampling_frequency must be"):
        Least(PLANAR).override_sampling_frequency(rate)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (7.5, 7.5),
        (Fraction(15, 2), 7.5),
        (np.float32(7.5), 7.5),
        (None, None),
        (0, None),
        (0.0, None),
        (np.nan, None),
        (-1, None),
    ],
)
def test_what_an_author_says_of_the_rate_is_a_float_or_unknown(told: Any, expected: float | None) -> None:
    class Telling(Least):
        def get_sampling_frequency(self) -> Any:
            return told

    e = Telling(PLANAR)
    assert e.get_sampling_frequency() == expected
    assert type(e.get_sampling_frequency()) is type(expected)
    assert repr(e)
    e.override_sampling_frequency(99)
    assert e.get_sampling_frequency() == 99.0
    assert e.slice_samples(1, 2).get_sampling_frequency() == 99.0


def test_a_rate_that_is_no_number_is_told_with_its_author() -> None:
    class Telling(Least):
        def get_sampling_frequency(self) -> Any:
            return "30 Hz"

    with pytest.raises(TimesError, match=r"Telling\.get_sampling_frequency returned '30 Hz'; expected a number in Hz"):
        Telling(PLANAR).get_timestamps()


# Pickling, copying, closing, threads


class Opened(Least):
    """Opens "a file" in its constructor, and warns about it."""

    opened = 0

    def __init__(self, path: str, *, channel: str = "Green", sampling_frequency: float | None = None) -> None:
        super().__init__(PLANAR, sampling_frequency=sampling_frequency)
        Opened.opened += 1
        self.what = (path, channel)
        warn("the last frame is cut")


def opened(*args: Any, **kwargs: Any) -> Opened:
    with pytest.warns(IncompleteRecordingWarning):
        return Opened(*args, **kwargs)


def test_it_pickles_as_its_arguments_and_its_users_times_and_says_no_warning_twice() -> None:
    e = opened("a.tif", channel="Red", sampling_frequency=12.5)
    e.set_times(np.arange(12) * 2)
    e.bind_provenance(Provenance("made-up", options={"channel": "Red"}))
    text = pickle.dumps(e)
    assert len(text) < 1500
    again = pickle.loads(text)
    assert again.what == ("a.tif", "Red")
    assert again.get_timestamps(1, 3).tolist() == [2.0, 4.0]
    assert again.get_sampling_frequency() == 12.5
    assert again.provenance == e.provenance
    for copied in (copy.copy(e), copy.deepcopy(e)):
        assert copied.what == e.what
        assert copied.times_source == "user"
        copied.set_times(np.zeros(12))
        assert e.get_timestamps(1, 2).tolist() == [2.0]


def test_views_and_rates_that_were_set_later_survive_pickling() -> None:
    e = opened("a.tif")
    e.override_sampling_frequency(5.0)
    view = e.slice_samples(2, 8).slice_field_of_view(1, 3)
    view.set_times(np.arange(6))
    again = pickle.loads(pickle.dumps(view.slice_samples(1, 4)))
    np.testing.assert_array_equal(again[...], PLANAR[3:6, 1:3])
    assert again.get_timestamps().tolist() == [1.0, 2.0, 3.0]
    assert again.get_sampling_frequency() == 5.0


def test_a_fresh_process_opens_it_again(tmp_path: Path, run: Callable[..., str]) -> None:
    np.save(tmp_path / "m.npy", VOLUMES)
    e = NpyImagingExtractor(tmp_path / "m.npy", sampling_frequency=10.0)
    view = e.slice_samples(2, 7).select_plane(1)
    view.set_times([1, 2, 3, 5, 8])
    (tmp_path / "view.pickle").write_bytes(pickle.dumps(view))
    assert (tmp_path / "view.pickle").stat().st_size < 2000
    code = f"""
import pathlib, pickle
view = pickle.loads(pathlib.Path({str(tmp_path / "view.pickle")!r}).read_bytes())
print(view.shape, int(view[...].astype(int).sum()), view.get_timestamps().tolist(), view.times_source)
"""
    assert run(code) == f"(5, 4, 6) {int(VOLUMES[2:7, ..., 1].astype(int).sum())} [1.0, 2.0, 3.0, 5.0, 8.0] user\n"


def test_a_file_that_changed_its_length_between_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", PLANAR)
    e = NpyImagingExtractor(tmp_path / "m.npy")
    view = pickle.dumps(e.slice_samples(4, 10))
    e.set_times(np.arange(12))
    whole = pickle.dumps(e)
    np.save(tmp_path / "m.npy", PLANAR[:6])
    with pytest.raises(
        RecordingError, match=r"of shape \(12, 5, 7\) when it was pickled and is int16 of shape \(6, 5, 7\) now"
    ):
        pickle.loads(whole)
    with pytest.raises(RecordingError, match=r"is int16 of shape \(6, 5, 7\) now"):
        pickle.loads(view)


@EVERY
def test_after_closing_every_read_is_an_error_that_says_so(make: Any, data: np.ndarray) -> None:
    e = make()
    view = e.slice_samples(1, 3)
    with e as entered:
        assert entered is e
    for read in (
        lambda: e.get_series(),
        lambda: e.get_series(0, 0),
        lambda: e.get_samples([0]),
        lambda: e.get_samples([]),
        lambda: e[0],
        lambda: e[0:0],
        lambda: e[:, 0:0],
        lambda: np.asarray(e),
        lambda: e.slice_samples(0, 1),
        lambda: view.get_series(),
        lambda: view[0],
        lambda: e.get_timestamps(),
    ):
        with pytest.raises(ClosedRecordingError, match="is closed; open it again"):
            read()
    e.close()
    assert e.get_num_samples() == len(data)


def test_closing_a_view_leaves_its_parent_open() -> None:
    e = Least(PLANAR)
    view = e.slice_samples(0, 2)
    view.close()
    with pytest.raises(ClosedRecordingError, match="this ImagingView is closed"):
        view.get_series()
    np.testing.assert_array_equal(e[0], PLANAR[0])


def test_a_recording_is_freed_with_its_last_user() -> None:
    import weakref

    e = Least(PLANAR)
    view, ghost = e.slice_samples(0, 2), weakref.ref(e)
    del e
    gc.collect()
    assert ghost() is not None
    del view
    gc.collect()
    assert ghost() is None


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.arange(600 * 30, dtype="<u4").reshape(600, 5, 6))
    e, wrong = NpyImagingExtractor(tmp_path / "m.npy", sampling_frequency=10.0), []

    def read(seed: int) -> None:
        for a in np.random.default_rng(seed).integers(0, 590, 50).tolist():
            right = e[a : a + 7, 2, 3].tolist() == [(a + k) * 30 + 15 for k in range(7)]
            right &= e.get_samples([a + 5, a])[:, 0, 0].tolist() == [(a + 5) * 30, a * 30]
            if not right or e.get_timestamps(a, a + 1)[0] != a / 10.0:
                wrong.append(a)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_reading_never_changes_state() -> None:
    e = Ticking(PLANAR, sampling_frequency=5.0)
    before = {key: value for key, value in vars(e).items() if key != "reads"}
    e.get_timestamps()
    e.time_to_sample_indices(0.5)
    e[2:5]
    repr(e)
    e.slice_samples(1, 3).get_timestamps()
    assert {key: value for key, value in vars(e).items() if key != "reads"} == before


# The field's own extractors, after changing their import


class GuideExtractor(ImagingExtractor):
    """As the field's guide writes one (roiextractors, docs/source/build_ie.rst)."""

    def __init__(self, file_path: Any, sampling_frequency: float | None = None) -> None:
        ImagingExtractor.__init__(self)
        self.sampling_frequency = sampling_frequency or 20.0
        self.file_path = file_path
        self._data = self._load_data()

    def _load_data(self) -> np.ndarray:
        return np.load(self.file_path)

    def get_num_samples(self) -> int:
        return len(self._data)

    def get_sampling_frequency(self) -> float:
        return self.sampling_frequency

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        return self._data[start_sample:end_sample]

    def get_image_shape(self) -> tuple[int, int]:
        return self._data.shape[1:]


class GuideExtractorWithTimes(GuideExtractor):
    """The same with hardware times; its defaults are the guide's, who takes 0 for None."""

    def _read_timestamps_from_file(self) -> np.ndarray:
        return np.arange(len(self._data)) * 0.1 + 3.0

    def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        timestamps = self._read_timestamps_from_file()
        start = start_sample or 0
        end = end_sample or len(timestamps)
        return timestamps[start:end]


class ExtractorWithAllTimesAlways(GuideExtractor):
    def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> Any:
        return list(range(100, 100 + len(self._data)))


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    np.save(tmp_path / "movie.npy", PLANAR)
    return tmp_path / "movie.npy"


@pytest.mark.parametrize("kind", [GuideExtractor, GuideExtractorWithTimes, ExtractorWithAllTimesAlways])
def test_an_extractor_of_the_fields_guide_works(kind: Any, movie: Path) -> None:
    e = kind(movie)
    assert (e.shape, e.dtype, e.is_volumetric, e.get_num_planes()) == (PLANAR.shape, PLANAR.dtype, False, 1)
    assert (e.get_sampling_frequency(), kind(movie, 5.0).get_sampling_frequency()) == (20.0, 5.0)
    np.testing.assert_array_equal(e.get_series(), PLANAR)
    np.testing.assert_array_equal(e.get_series(2, 5), PLANAR[2:5])
    np.testing.assert_array_equal(e.get_samples([7, 0, 7]), PLANAR[[7, 0, 7]])
    np.testing.assert_array_equal(e[-3:, 1:3, ::2], PLANAR[-3:, 1:3, ::2])
    view = e.slice_samples(2, 9).slice_field_of_view(1, 4, 2, 6)
    np.testing.assert_array_equal(view.get_series(1, 3), PLANAR[3:5, 1:4, 2:6])
    again = pickle.loads(pickle.dumps(view))
    np.testing.assert_array_equal(again.get_series(), view.get_series())
    np.testing.assert_array_equal(again.get_timestamps(), view.get_timestamps())
    assert repr(e).startswith(f"<{kind.__name__}: 12 samples of 5 rows x 7 columns, int16")


def test_the_guides_times_are_computed_or_native_and_the_users_rate_wins(movie: Path) -> None:
    e = GuideExtractor(movie)
    assert e.times_source == "computed"
    assert e.get_timestamps(2, 4).tolist() == [0.1, 0.15]
    e.override_sampling_frequency(10.0)
    assert (e.get_sampling_frequency(), e.get_timestamps(3, 4).tolist()) == (10.0, [0.3])
    native = GuideExtractorWithTimes(movie)
    assert native.times_source == "native"
    assert native.get_timestamps(0, 2).tolist() == [3.0, 3.1]
    assert native.get_timestamps(0, 0).tolist() == []
    assert native.slice_samples(4, 8).get_timestamps(1, 3).tolist() == (np.arange(12) * 0.1 + 3.0)[5:7].tolist()
    assert native.slice_samples(0, 0).get_native_timestamps().tolist() == []
    everything = ExtractorWithAllTimesAlways(movie)
    assert everything.get_timestamps(3, 5).tolist() == [103.0, 104.0]
    assert everything.slice_samples(5, 7).get_native_timestamps(1, 2).tolist() == [106.0]


def test_native_times_of_the_wrong_number_are_an_error_that_names_the_extractor(movie: Path) -> None:
    class Short(GuideExtractor):
        def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
            return np.arange(11.0)

    with pytest.raises(TimesError, match=r"Short\.get_native_timestamps returned shape \(11,\) for samples 0 to 1"):
        Short(movie).get_timestamps()


class VolumeBefore(ImagingExtractor):
    """Sets its flag before the base's constructor; keeps attributes under names that the field uses."""

    def __init__(self, data: np.ndarray) -> None:
        self.is_volumetric = True
        self._data = data
        ImagingExtractor.__init__(self, data=data, folder="x")
        self._settle()

    def _settle(self) -> None:
        self.name = "volume"
        self._shape = self._dtype = self._clock = self._users_times = "mine"
        self._args, self._kwargs = (1, 2), {"sampling_frequency": 99.0}
        self._sampling_frequency = 44.0
        self._rate = self._closed = self._provenance = self._volumetric = self._arguments = "mine"
        self.closed = self.rate = self.times = self.sampling_frequency = "mine"

    def get_image_shape(self) -> tuple[int, int]:
        return self._data.shape[1:3]

    def get_num_samples(self) -> int:
        return self._data.shape[0]

    def get_num_planes(self) -> int:
        return self._data.shape[3]

    def get_sampling_frequency(self) -> float:
        return self._sampling_frequency

    def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> None:
        return None

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        return self._data[start_sample:end_sample]


class VolumeAfter(VolumeBefore):
    def __init__(self, data: np.ndarray) -> None:
        ImagingExtractor.__init__(self)
        self._data = data
        self._settle()
        self.is_volumetric = True


class VolumeByClass(VolumeBefore):
    is_volumetric = True

    def __init__(self, data: np.ndarray) -> None:
        super(VolumeBefore, self).__init__()
        self._data = data
        self._settle()


@pytest.mark.parametrize("kind", [VolumeBefore, VolumeAfter, VolumeByClass])
def test_the_flag_of_volumes_may_be_set_anywhere_and_no_attribute_collides(kind: Any) -> None:
    e = kind(VOLUMES)
    assert e.is_volumetric is True
    assert e.shape == VOLUMES.shape
    assert e.get_sample_shape() == (4, 6, 3)
    assert (e.get_sampling_frequency(), e.times_source, e.has_time_vector()) == (44.0, "computed", False)
    np.testing.assert_array_equal(e.select_plane(2).slice_samples(1, 4)[...], VOLUMES[1:4, ..., 2])
    np.testing.assert_array_equal(e[2:4, ..., 1], VOLUMES[2:4, ..., 1])
    e.set_times(np.arange(9))
    again = pickle.loads(pickle.dumps(e))
    assert again.times_source == "user"
    assert again._shape == "mine"
    e.close()
    with pytest.raises(ClosedRecordingError):
        e[0]


def test_an_extractor_that_looks_at_what_the_fields_base_sets_finds_it(movie: Path) -> None:
    class Looks(GuideExtractor):
        def has_time_vector(self) -> bool:
            if self._times is None:
                self._times = self.get_native_timestamps()
            return self._times is not None

    e = Looks(movie)
    assert e.has_time_vector() is False
    assert (e._args, e._kwargs) == ((), {})
    assert e.get_timestamps(1, 2).tolist() == [0.05]


class Forgets(Careless):
    def __init__(self, data: np.ndarray) -> None:
        self.data = data


def test_an_extractor_that_forgets_the_bases_constructor_works_all_the_same() -> None:
    e = Forgets(PLANAR)
    np.testing.assert_array_equal(e[1:3], PLANAR[1:3])
    assert pickle.loads(pickle.dumps(e)).shape == PLANAR.shape


def test_planes_are_known_to_an_author_who_only_counts_them() -> None:
    class Counts(Careless):
        def get_image_shape(self) -> tuple[int, int]:
            return self.data.shape[1:3]

        def get_num_planes(self) -> int:
            return 3

    e = Counts(VOLUMES)
    assert e.is_volumetric is True
    np.testing.assert_array_equal(e[1], VOLUMES[1])


def test_a_dtype_may_be_told_as_numpy_takes_it() -> None:
    class Tells(Careless):
        def get_dtype(self) -> Any:
            return np.int16

    assert Tells(PLANAR).dtype == np.dtype(np.int16)
    assert Tells(PLANAR).nbytes == PLANAR.nbytes
    assert repr(Tells(PLANAR)).startswith("<Tells: 12 samples of 5 rows x 7 columns, int16, 840 bytes")
    np.testing.assert_array_equal(Tells(PLANAR).get_samples([3, 1]), PLANAR[[3, 1]])

"""Shape, dtype, ranges and samples by index."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from ...errors import (
    RangeError,
    RangeTypeError,
)
from ...imaging.extractor import ImagingExtractor
from .case import KIB, Case, GivenRecording
from .judging import ATTEMPTS, INDEX_ADVICE, RANGE_ADVICE, bytes_of_ten, fail, recording_calls, refusal, same
from .reads import routes

__all__ = ["RangeTests"]


class RangeTests(GivenRecording):
    """Ranges are half-open, samples come in any order, and everything else is refused."""

    def test_the_shape_is_samples_rows_columns_planes(self, case: Case, extractor: ImagingExtractor) -> None:
        shape = case.expected.shape
        planes = shape[3] if case.is_volumetric else 1
        expected = {
            "shape": shape,
            "ndim": len(shape),
            "len": shape[0],
            "get_num_samples": shape[0],
            "get_image_shape": shape[1:3],
            "get_frame_shape": shape[1:3],
            "get_sample_shape": shape[1:],
            "get_volume_shape": (*shape[1:3], planes),
            "get_num_planes": planes,
            "is_volumetric": case.is_volumetric,
        }
        for name, value in expected.items():
            seen = len(extractor) if name == "len" else getattr(extractor, name)
            seen = seen() if callable(seen) else seen
            numbers = seen if isinstance(seen, tuple | list) else (seen,)
            if not all(isinstance(number, int | np.integer) for number in numbers):
                fail(f"{name} is {seen!r}; it contains something other than integers", "return int")
            if (tuple(numbers) if isinstance(value, tuple) else seen) != value:
                fail(
                    f"{name} is {seen!r}, but `expected` has {value!r}",
                    "rows come before columns, planes last; a volumetric format sets self.is_volumetric = True and overrides get_num_planes",
                )

    def test_the_dtype_is_that_of_the_samples_in_native_byte_order(
        self, case: Case, extractor: ImagingExtractor
    ) -> None:
        seen = extractor.get_dtype()
        if not isinstance(seen, np.dtype) or not seen.isnative:
            fail(f"get_dtype() is {seen!r}", 'return numpy.dtype(...).newbyteorder("=")')
        for words, result in routes(extractor):
            if result.dtype != seen:
                fail(f"get_dtype() is {seen}, but {words} has {result.dtype}", "return one dtype from every read")
        if seen != case.expected.dtype.newbyteorder("="):
            fail(f"get_dtype() is {seen}, but `expected` has {case.expected.dtype}", "return the samples as recorded")

    def test_dtype_shape_and_repr_read_no_pixels(
        self, case: Case, extractor: ImagingExtractor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        for name in ("get_series", "get_samples", "get_block"):
            monkeypatch.setattr(type(extractor), name, recording_calls(getattr(type(extractor), name), asked, name))
        reads = (extractor.get_dtype, lambda: extractor.shape, lambda: repr(extractor), lambda: extractor.nbytes)
        grown, frame = min(bytes_of_ten(reads) for _ in range(ATTEMPTS)), case.expected[0].nbytes
        if asked:
            fail(
                f"get_dtype, shape or repr call {asked[0]}",
                "override get_dtype (and get_num_planes when volumetric) with what the header says",
            )
        # Reading a small part of the header again can exceed a frame under 16 KiB; such frames are compared by forties
        if (grown >= frame >= 16 * KIB) or grown >= max(40 * frame, 64 * KIB):
            fail(
                f"get_dtype, shape and repr, ten times each, read {grown:,} bytes from the disk",
                "keep what the header says in the constructor, and answer from there",
            )

    def test_the_whole_series_is_what_was_recorded(self, case: Case, extractor: ImagingExtractor) -> None:
        same(extractor.get_series(), case.expected, "get_series()", "fix get_series")
        same(np.asarray(extractor), case.expected, "numpy.asarray(recording)", "fix get_series")

    def test_the_end_of_a_range_is_exclusive(self, case: Case, extractor: ImagingExtractor) -> None:
        n = case.count
        for a, b in ((0, 1), (0, n), (1, 2), (1, n), (n - 1, n), (n // 2, n), (0, n - 1), (n // 3, n // 3 + 1)):
            same(extractor.get_series(a, b), case.expected[a:b], f"get_series({a}, {b})", RANGE_ADVICE)
            seen = extractor.get_series(start_sample=a, end_sample=b)
            same(seen, case.expected[a:b], f"get_series(start_sample={a}, end_sample={b})", RANGE_ADVICE)
        rng = random.Random(3)
        for _ in range(60):
            a, b = sorted((rng.randint(0, n), rng.randint(0, n)))
            same(extractor.get_series(a, b), case.expected[a:b], f"get_series({a}, {b})", "fix get_series")

    def test_none_means_the_whole(self, case: Case, extractor: ImagingExtractor) -> None:
        same(extractor.get_series(None, None), case.expected, "get_series(None, None)", RANGE_ADVICE)
        same(extractor.get_series(None, 2), case.expected[:2], "get_series(None, 2)", RANGE_ADVICE)
        same(extractor.get_series(2, None), case.expected[2:], "get_series(2, None)", RANGE_ADVICE)
        same(extractor.get_series(end_sample=1), case.expected[:1], "get_series(end_sample=1)", RANGE_ADVICE)

    def test_zero_means_zero(self, case: Case, extractor: ImagingExtractor) -> None:
        same(extractor.get_series(0, 0), case.expected[:0], "get_series(0, 0)", RANGE_ADVICE)
        same(extractor.get_series(None, 0), case.expected[:0], "get_series(None, 0)", RANGE_ADVICE)
        same(extractor.get_series(end_sample=0), case.expected[:0], "get_series(end_sample=0)", RANGE_ADVICE)

    def test_an_empty_range_keeps_shape_and_dtype(self, case: Case, extractor: ImagingExtractor) -> None:
        n = case.count
        for words, seen in (
            *((f"get_series({k}, {k})", extractor.get_series(k, k)) for k in (0, 1, n - 1, n)),
            (f"get_series({n})", extractor.get_series(n)),
            ("get_samples([])", extractor.get_samples([])),
            ("recording[1:1]", extractor[1:1]),
            ("slice_samples(1, 1).get_series()", extractor.slice_samples(1, 1).get_series()),
        ):
            if seen.shape != (0, *case.expected.shape[1:]) or seen.dtype != extractor.get_dtype():
                fail(
                    f"{words} gave shape {seen.shape} of {seen.dtype}, expected {(0, *case.expected.shape[1:])} of {extractor.get_dtype()}",
                    "return numpy.empty((0, *self.get_sample_shape()), self.get_dtype()) for an empty range",
                )

    def test_a_range_outside_is_refused(self, case: Case, extractor: ImagingExtractor) -> None:
        n = case.count
        # 2**63 does not fit into int64, where numpy raises an OverflowError of its own
        pairs = ((0, n + 1), (n, n + 1), (n + 1, n + 1), (n + 5, None), (None, n + 1000), (1, 2**63), (2**40, None))
        self._require_refused_ranges(case, extractor, pairs)

    def test_a_reversed_range_is_refused(self, case: Case, extractor: ImagingExtractor) -> None:
        n = case.count
        self._require_refused_ranges(case, extractor, ((2, 1), (n, 0), (n, n - 1), (1, 0)))

    def test_a_negative_range_is_refused(self, case: Case, extractor: ImagingExtractor) -> None:
        n = case.count
        pairs = (
            (-1, None),
            (None, -1),
            (0, -1),
            (-2, -1),
            (-n, n),
            (-n - 1, 0),
            (np.int64(-1), None),
            (1, np.int8(-1)),
        )
        self._require_refused_ranges(case, extractor, pairs)

    def _require_refused_ranges(self, case: Case, extractor: ImagingExtractor, pairs: Iterable[Any]) -> None:
        for a, b in pairs:
            words = f"get_series({a!r}, {b!r}) of {case.count} samples"
            with refusal((RangeError,), words, RANGE_ADVICE) as caught:
                extractor.get_series(a, b)
            said = str(caught[0]).replace(",", "").replace("_", "")
            lacking = [str(x) for x in (a, b, case.count) if x is not None and str(int(x)) not in said]
            if lacking:
                fail(
                    f"the error of {words} does not say {', '.join(lacking)}: {caught[0]}",
                    f"state the range and the number of samples; {RANGE_ADVICE}",
                )
            if isinstance(a, int) and isinstance(b, int):
                with refusal((RangeError,), f"get_timestamps({a}, {b})", "leave get_timestamps to the base class"):
                    extractor.get_timestamps(a, b)

    def test_numpy_integers_are_integers(self, case: Case, extractor: ImagingExtractor) -> None:
        top = min(case.count, 100)
        for kind in (np.int64, np.int32, np.uint8, np.uint16, np.uint64, np.int8):
            for first, end in ((1, top), (top - 1, top)):
                a: Any = kind(first)
                b: Any = kind(end)
                seen = extractor.get_series(a, b)
                same(seen, case.expected[first:end], f"get_series({a!r}, {b!r})", RANGE_ADVICE)
            if kind is not np.int8:
                chosen = np.array([top - 1, 0, top - 1], kind)
                expected = case.expected[[top - 1, 0, top - 1]]
                same(extractor.get_samples(chosen), expected, f"get_samples of {kind.__name__}", INDEX_ADVICE)

    def test_what_is_no_integer_is_refused(self, case: Case, extractor: ImagingExtractor) -> None:
        values: tuple[Any, ...] = (1.0, 1.5, np.float64(1), "1", [1], float("nan"))
        for value in values:
            for a, b in ((value, None), (None, value), (0, value)):
                with refusal((RangeTypeError,), f"get_series({a!r}, {b!r})", RANGE_ADVICE):
                    extractor.get_series(a, b)
        for indices in ([0.0, 1.0], [0.5], np.array([1.0]), "1", ["0"]):
            with refusal((RangeTypeError,), f"get_samples({indices!r})", INDEX_ADVICE):
                extractor.get_samples(indices)

    def test_samples_come_in_any_order_and_as_often_as_asked(self, case: Case, extractor: ImagingExtractor) -> None:
        n = case.count
        rng = random.Random(5)
        orders: list[Any] = [
            [0],
            [n - 1, 0],
            list(range(n))[::-1],
            [1, 1, 0, 1],
            [0, n - 1, 0, n - 1],
            [0, 2],
            [0, 1],
            [1, 2],
            list(range(n)),
            list(range(n - 2, n)),
            [rng.randrange(n) for _ in range(2 * n)],
            range(0, n, 2),
            (1, 0),
            np.array([2, 0, 1], np.uint8),
            np.array([2, 0, 1], np.int64),
            np.array([n - 1, 1, 1, 0], np.int64),
        ]
        for order in orders:
            expected = case.expected[np.asarray(list(order), np.int64)]
            words = f"get_samples({order if len(order) < 8 else [*list(order)[:6], '...']})"
            given = order.copy() if isinstance(order, list | np.ndarray) else order
            same(extractor.get_samples(given), expected, words, INDEX_ADVICE)
            if not np.array_equal(given, order):
                fail(f"{words} changed the indices that it was given", "sort a copy of the indices")
            if isinstance(given, np.ndarray):
                given.flags.writeable = False
                same(extractor.get_samples(given), expected, f"{words}, the array read-only,", INDEX_ADVICE)

    def test_one_index_is_a_series_of_one(self, case: Case, extractor: ImagingExtractor) -> None:
        for index in (1, np.int64(1)):
            same(extractor.get_samples(index), case.expected[1:2], f"get_samples({index!r})", INDEX_ADVICE)

    def test_a_sample_outside_is_refused(self, case: Case, extractor: ImagingExtractor) -> None:
        n = case.count
        for indices in ([-1], [n], [0, n], [-n], [0, -1, 1], [2**40], np.array([n], np.uint64), -1):
            words = f"get_samples({indices!r}) of {n} samples"
            with refusal((RangeError,), words, INDEX_ADVICE) as caught:
                extractor.get_samples(indices)
            if str(n) not in str(caught[0]).replace(",", ""):
                fail(f"the error of {words} does not say how many samples there are: {caught[0]}", INDEX_ADVICE)

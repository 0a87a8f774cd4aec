"""Indexing, blocks and views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

from ...errors import RangeError
from ...imaging.extractor import ImagingExtractor
from .case import Case, GivenRecording, quiet
from .judging import OWNED_ADVICE, fail, refusal, same

__all__ = ["ViewTests"]


class ViewTests(GivenRecording):
    """Indexing is numpy's, and views of views compose."""

    def test_it_is_indexed_as_an_array(self, case: Case, extractor: ImagingExtractor) -> None:
        for key in _keys(case.expected.shape):
            same(
                np.asarray(extractor[key]),
                np.asarray(case.expected[key]),
                f"recording[{_key_words(key)}]",
                "fix get_block: it gets samples as a slice or int64 indices, and rows, columns and planes as slices",
            )

    def test_it_is_walked_through_sample_by_sample(self, case: Case, extractor: ImagingExtractor) -> None:
        count = 0
        for count, (seen, expected) in enumerate(zip(extractor, case.expected, strict=False), 1):
            same(seen, expected, f"sample {count - 1} of `for sample in recording`", "fix get_block")
        if count != case.count or sum(1 for _ in extractor.slice_samples(1)) != case.count - 1:
            fail(f"`for sample in recording` gives another number of samples than {case.count}", "leave __iter__ alone")

    def test_a_block_is_the_part_that_was_asked_for(self, case: Case, extractor: ImagingExtractor) -> None:
        n, rows, columns = case.expected.shape[:3]
        # Whole, inside and empty: whole frames take a faster path in most extractors
        row_parts = (slice(0, rows), slice(rows // 3, rows - rows // 4), slice(0, 0))
        column_parts = (slice(0, columns), slice(columns // 4, columns - columns // 3))
        plane_parts: tuple[slice | None, ...] = (None,)
        if case.is_volumetric:
            planes = case.expected.shape[3]
            plane_parts = (slice(0, planes), slice(planes // 2, planes), slice(0, max(1, planes - 1)))
        choices: tuple[Any, ...] = (slice(0, n), slice(1, 2), slice(1, 1), np.array([n - 1, 0, 0, 1], np.int64))
        for samples in choices:
            for r in row_parts:
                for c in column_parts:
                    for p in plane_parts:
                        key = (samples, r, c) if p is None else (samples, r, c, p)
                        # The indices are the caller's: an extractor that sorts them in place changes the caller's array
                        given = samples.copy() if isinstance(samples, np.ndarray) else samples
                        seen = extractor.get_block(given, r, c, p)
                        advice = "fix get_block, or leave it to the base class"
                        if isinstance(given, np.ndarray) and not np.array_equal(given, samples):
                            fail("get_block changed the array of indices that it was given", "sort a copy of it")
                        same(seen, case.expected[key], f"get_block({_key_words(key)})", advice)
                        if not seen.flags.writeable or not seen.dtype.isnative:
                            fail(f"get_block({_key_words(key)}) gave a read-only or foreign array", OWNED_ADVICE)

    def test_a_slice_of_samples_is_the_same_data(self, case: Case, extractor: ImagingExtractor) -> None:
        n = case.count
        for a, b in ((0, n), (1, n), (0, n - 1), (1, n - 1), (n, n), (n - 1, n)):
            view = extractor.slice_samples(a, b)
            words = f"slice_samples({a}, {b})"
            same(
                view.get_series(), case.expected[a:b], f"{words}.get_series()", "leave slice_samples to the base class"
            )
            if b - a > 1:
                same(view.get_samples([1, 0]), case.expected[[a + 1, a]], f"{words}.get_samples([1, 0])", "the same")

    def test_views_of_views_compose(self, case: Case, extractor: ImagingExtractor) -> None:
        n, rows, columns = case.expected.shape[:3]
        top, left = rows // 3, columns // 4
        view: ImagingExtractor = extractor.slice_samples(1, n)
        expected = case.expected[1:n]
        steps: list[tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = [
            (
                f"slice_field_of_view({top}, {rows}, {left}, {columns})",
                lambda v: v.slice_field_of_view(top, rows, left, columns),
                lambda w: w[:, top:rows, left:columns],
            ),
            (f"slice_samples(0, {n - 2})", lambda v: v.slice_samples(0, n - 2), lambda w: w[: n - 2]),
            ("slice_field_of_view(0, 1)", lambda v: v.slice_field_of_view(0, 1), lambda w: w[:, 0:1]),
        ]
        if case.is_volumetric:
            plane = case.expected.shape[3] - 1
            steps.insert(2, (f"select_plane({plane})", lambda v: v.select_plane(plane), lambda w: w[..., plane]))
        words = f"slice_samples(1, {n})"
        for said, narrow, cut in steps:
            words, view, expected = f"{words}.{said}", narrow(view), cut(expected)
            advice = "fix get_block: views read through it"
            same(view.get_series(), expected, f"{words}.get_series()", advice)
            same(np.asarray(view[...]), expected, f"{words}[...]", advice)
            same(view.get_samples([0]), expected[[0]], f"{words}.get_samples([0])", advice)

    def test_a_field_of_view_outside_the_frame_is_refused(self, case: Case, extractor: ImagingExtractor) -> None:
        rows, columns = case.expected.shape[1:3]
        for bounds in ((0, rows + 1), (None, None, 0, columns + 1), (1, 0), (-1, rows), (0, 0)):
            with refusal((RangeError,), f"slice_field_of_view{bounds}", "leave the views to the base class"):
                extractor.slice_field_of_view(*bounds)

    def test_a_plane_is_what_was_recorded(self, case: Case, extractor: ImagingExtractor) -> None:
        if not case.is_volumetric:
            with refusal((RangeError,), "select_plane(0) of a planar recording", "set self.is_volumetric to False"):
                extractor.select_plane(0)
            pytest.skip("the recording is planar: `expected` has three dimensions")
        planes = case.expected.shape[3]
        for k in range(planes):
            view = extractor.select_plane(k)
            same(view.get_series(), case.expected[..., k], f"select_plane({k}).get_series()", "fix get_block")
        for k in (planes, -1):
            with refusal((RangeError,), f"select_plane({k})", "leave select_plane to the base class"):
                extractor.select_plane(k)

    def test_parts_are_joined_again(self, case: Case, extractor: ImagingExtractor) -> None:
        parts = [extractor.slice_samples(0, 1), extractor.slice_samples(1)]
        for part in parts:
            if extractor.times_source is None:
                part.set_times(np.arange(len(part), dtype=np.float64))
        with quiet():
            joined = roi.concatenate(parts)
        same(joined.get_series(), case.expected, "concatenate([first, rest]).get_series()", "fix get_series")
        same(
            joined[1:, 1:, :-1], case.expected[1:, 1:, :-1], "concatenate([first, rest])[1:, 1:, :-1]", "fix get_block"
        )


def _keys(shape: tuple[int, ...]) -> Iterator[Any]:
    n, rows, columns = shape[:3]
    every = np.arange(n)
    yield from (0, -1, n - 1, slice(None), slice(1, None), slice(None, -1), slice(None, None, 2), slice(None, None, -1))
    yield from (slice(0, 10 * n), slice(n, None), Ellipsis, np.int64(1))
    yield from ([n - 1, 0, 0], np.array([-1, 1]), every % 2 == 0)
    yield from ((0, 0), (0, 0, 0), (slice(None), 1), (slice(None), slice(None), -1), (Ellipsis, 0), (1, Ellipsis, -1))
    yield (slice(1, 3), slice(rows // 3, rows // 3 + 2), slice(columns // 4, None))
    yield (slice(1, 3), slice(None, None, 2), slice(None, None, -1))
    yield ([1, 0], slice(1, None), slice(0, columns - 1))
    yield (0, [1, 0, 1], slice(2, None))
    yield (slice(None), slice(0, 0))
    if len(shape) == 4:
        yield from ((slice(None), slice(None), slice(None), 0), (0, slice(1, 2), slice(None), slice(None, None, -1)))
        yield ([1, 0], slice(None), slice(1, 2), -1)


def _key_words(key: Any) -> str:
    parts = key if isinstance(key, tuple) else (key,)
    return ", ".join(_slice_words(part) if isinstance(part, slice) else f"{part!r:.40}" for part in parts)


def _slice_words(part: slice) -> str:
    bounds = ":".join("" if bound is None else str(bound) for bound in (part.start, part.stop))
    return bounds if part.step is None else f"{bounds}:{part.step}"

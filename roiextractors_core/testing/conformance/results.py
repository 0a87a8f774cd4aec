"""The arrays that reads return."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ...imaging.extractor import ImagingExtractor
from .case import Case, GivenRecording
from .judging import OWNED_ADVICE, fail, same
from .reads import questions, routes

__all__ = ["ResultTests"]


class ResultTests(GivenRecording):
    """Every result is an array of the caller's own."""

    def test_results_are_writable_arrays_in_native_byte_order(self, extractor: ImagingExtractor) -> None:
        for words, result in routes(extractor):
            if type(result) is not np.ndarray:
                fail(f"{words} gave {type(result).__name__}, expected a plain numpy.ndarray", OWNED_ADVICE)
            if not result.flags.writeable:
                fail(f"{words} gave a read-only array", OWNED_ADVICE)
            if not result.dtype.isnative:
                fail(f"{words} gave {result.dtype.str}, the byte order of another machine", OWNED_ADVICE)
            if _is_mapped(result):
                fail(f"{words} gave a window onto a memory-mapped file", OWNED_ADVICE)

    def test_a_later_read_does_not_change_an_earlier_result(self, case: Case, extractor: ImagingExtractor) -> None:
        results = [(words, result, result.copy()) for words, result in routes(extractor)]
        for k in range(case.count - 1, -1, -1):
            extractor.get_series(k, k + 1)
            extractor.get_samples([k, 0])
        for words, result, copy in results:
            same(result, copy, f"the result of {words}, after other reads,", OWNED_ADVICE)
        # Shared memory is checked too: a buffer that is reused may happen to contain equal pixels
        for (words, first, _), (other, second, _) in itertools.combinations(results, 2):
            if np.may_share_memory(first, second):
                fail(f"the results of {words} and {other} share their memory", OWNED_ADVICE)

    def test_the_same_question_gets_an_array_of_its_own_each_time(
        self, case: Case, extractor: ImagingExtractor
    ) -> None:
        for words, ask in questions(case, extractor):
            first, second = ask(), ask()
            if np.may_share_memory(first, second):
                fail(f"{words}, asked twice, gave the same memory twice", OWNED_ADVICE)
            if not first.flags.writeable:
                fail(f"{words} gave a read-only array", OWNED_ADVICE)
            kept = first.copy()
            first[...] = 1  # writing into a result must not reach a cache
            same(second, kept, f"{words}, after an earlier result of it was written into,", OWNED_ADVICE)
            same(ask(), kept, f"{words}, after an earlier result of it was written into,", OWNED_ADVICE)


def _is_mapped(array: Any) -> bool:
    import mmap

    # A view of a map is an ndarray, so the chain of bases is followed to its owner
    while array is not None:
        if isinstance(array, np.memmap | mmap.mmap):
            return True
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return False

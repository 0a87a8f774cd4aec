"""How a rule fails: the limit, what was seen, what to change."""

from __future__ import annotations

import functools
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from ...errors import PluginError
from ..fresh import same_values

__all__ = [
    "ATTEMPTS",
    "CLOSED_ADVICE",
    "INDEX_ADVICE",
    "OWNED_ADVICE",
    "RANGE_ADVICE",
    "bytes_of_ten",
    "bytes_read",
    "close",
    "fail",
    "recording_calls",
    "refusal",
    "same",
    "with_advice",
    "within",
]

ATTEMPTS = 3  # other threads of the process can be measured with it: a fault shows every time
RANGE_ADVICE = (
    "begin get_series with `start, end = self.resolve_range(start_sample, end_sample)` and use these two alone"
)
INDEX_ADVICE = (
    "begin get_samples with `indices = self.resolve_indices(sample_indices)`, or leave get_samples to the base class"
)
OWNED_ADVICE = (
    "return an array of your own: numpy.array(part, dtype=self.get_dtype()) copies, makes it writable and native"
)
CLOSED_ADVICE = (
    "call self.check_open() first in every read (resolve_range and resolve_indices do), and super().close() in close()"
)


def with_advice(test: Callable[..., Any]) -> Callable[..., Any]:
    """Let a test that runs into an exception of the plugin say where it was raised, and what was asked."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return test(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the border to the plugin
            sentence = test.__name__.removeprefix("test_").replace("_", " ")
            cause = error.__cause__ if isinstance(error, PluginError) and error.__cause__ else error
            fail(
                f"{type(cause).__name__} was raised: {cause}\n{_steps_of(cause)}",
                f"fix the last of these lines; the rule is: {sentence}",
            )

    return run


def _steps_of(error: BaseException) -> str:
    """Return the traceback of an exception, without the frames inside this library."""
    frames = traceback.extract_tb(error.__traceback__)
    own = str(Path(__file__).parents[2]) + os.sep  # roiextractors_core
    outside = [frame for frame in frames if not frame.filename.startswith((own, os.path.dirname(pytest.__file__)))]
    return "".join(traceback.format_list((outside or list(frames))[-4:])).rstrip()


def fail(seen: str, advice: str) -> NoReturn:
    # `from None`: the author needs the advice, not the traceback of the kit
    raise pytest.fail.Exception(f"{seen}\n  to do: {advice}", pytrace=False) from None


def within(seconds: float, call: Callable[[], None], words: str) -> None:
    """Make the call on a thread of its own, raise what it raises, and fail if it does not end in time."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        # A thread cannot be killed, so its present line is reported, and as a daemon it does not keep the process alive
        frame = sys._current_frames().get(thread.ident or 0)
        place = f" at {frame.f_code.co_filename}, line {frame.f_lineno}" if frame is not None else ""
        fail(f"{words} did not end within {seconds:g} s{place}", "limit every loop by the file's size")
    if raised:
        raise raised[0]


@contextmanager
def refusal(kinds: tuple[type[Exception], ...], words: str, advice: str) -> Iterator[list[Exception]]:
    """Require that the block raises one of this library's errors, and hand it on."""
    caught: list[Exception] = []
    try:
        yield caught
    except kinds as error:
        caught.append(error)
    except Exception as error:  # noqa: BLE001 - the border to the plugin
        fail(f"{words} raised {type(error).__name__} ({error}), expected {kinds[0].__name__}", advice)
    if not caught:
        fail(f"{words} was not refused; expected {kinds[0].__name__}", advice)


def same(seen: Any, expected: np.ndarray, words: str, advice: str) -> None:
    if not isinstance(seen, np.ndarray):
        fail(f"{words} gave {type(seen).__name__}, expected an array", advice)
    if seen.shape != expected.shape:
        fail(f"{words} has shape {seen.shape}, expected {expected.shape}", advice)
    if not same_values(seen, expected):
        at = tuple(int(k) for k in np.argwhere(~_equal(seen, expected))[0])
        fail(f"{words} contains {seen[at]!r} at {at}, expected {expected[at]!r}", advice)


def _equal(seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
    equal = seen == expected
    if seen.dtype.kind in "fc" and expected.dtype.kind in "fc":
        equal = equal | (np.isnan(seen) & np.isnan(expected))
    return np.asarray(equal)


def close(seen: Any, expected: np.ndarray, words: str, advice: str) -> None:
    """Require the same seconds, to a part in 10^9."""
    if not isinstance(seen, np.ndarray) or seen.dtype != np.float64:
        fail(f"{words} gave {getattr(seen, 'dtype', type(seen).__name__)}, expected float64", advice)
    if seen.shape != expected.shape:
        fail(f"{words} has shape {seen.shape}, expected {expected.shape}", advice)
    wrong = ~np.isclose(seen, expected, rtol=1e-9, atol=1e-9, equal_nan=True)
    if wrong.any():
        at = int(np.argmax(wrong))
        fail(f"{words} contains {seen[at]!r} s for sample {at}, expected {expected[at]!r} s", advice)


def recording_calls(original: Callable[..., Any], asked: list[str], name: str) -> Callable[..., Any]:
    def noted(*args: Any, **kwargs: Any) -> Any:
        asked.append(name)
        return original(*args, **kwargs)

    return noted


def bytes_of_ten(reads: Iterable[Callable[[], Any]]) -> int:
    before = bytes_read()
    for _ in range(10):
        for read in reads:
            read()
    return bytes_read() - before


def bytes_read() -> int:
    """Return the bytes that this process has read so far, or 0 where the system does not say."""
    if sys.platform != "linux":
        return 0
    try:
        # The first field, rchar, counts read() calls, also those that the page cache answers: read_bytes would be 0 on
        # the second run
        return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0

"""Truncated recordings and missing files."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

import roiextractors_core as roi

from ...errors import PluginError, RoiExtractorsError
from ..cuts import copy_recording, files_of, kin_of, paths_of, sizes_to_cut
from ..failing_disk import CALLS, FailingDisk
from ..fresh import in_fresh_process
from .case import KIB, Case, GivenRecording, as_text
from .judging import fail, same

__all__ = ["DamageTests"]

_DISK_FAULTS = (errno.EIO, errno.ESTALE, errno.ENXIO)
_DISK_ADVICE = (
    "read through PositionedFile, read_bounded or read_json, ask for files through the source, and let their errors pass; "
    "keep nothing of a read that failed"
)


class DamageTests(GivenRecording):
    """A truncated recording gives a clear error, or fewer samples and a notice; so does a disk that fails."""

    def test_a_cut_recording_is_told_and_never_garbage(self, case: Case, workplace: Path) -> None:
        total = sum(path.stat().st_size for path in files_of(case.recording))
        if total > 256 * KIB * KIB:
            pytest.skip(f"{total:,} bytes are too many to cut at 20 places; give a smaller recording")
        copy = copy_recording(case.recording, workplace / "copy")
        arguments = {
            "spec": case.spec.to_dict(),
            "recording": as_text(copy),
            "files": sizes_to_cut((*files_of(copy), *kin_of(copy)), units=_units(case)),
            "removed": [str(path) for path in kin_of(copy)],
            "expected": case.expected,
            "times": case.times,
            "options": dict(case.options),
        }
        # A fresh process: a truncated file may kill the process (a memory map raises SIGBUS), hang it, or succeed
        # through what this one has cached
        outcome = in_fresh_process("open_cut", arguments, seconds=self.patience)
        if not outcome.answers:
            fail(
                f"a copy was not opened: {outcome.failure or f'no answer within {self.patience:g} s'}",
                "fix the extractor",
            )
        whole, *answers = outcome.answers
        if whole["outcome"] != "read" or whole["wrong"] or whole["count"] != case.count:
            fail(
                f"an uncut copy did not read well in a fresh process: {whole.get('words') or whole.get('wrong')}",
                "everything that opening needs must be in the files, not elsewhere or in this process",
            )
        _judge_cuts(answers, case, self.counts_samples)
        if outcome.timed_out or outcome.failure:
            last = outcome.last
            fail(
                f"{_cut_words(last)}: {outcome.failure or f'did not end within {self.patience:g} s'}",
                "limit every loop by the file's size; for a slow format, set the class attribute `patience` to more seconds",
            )

    def test_a_disk_that_fails_is_an_error_and_the_next_read_is_right(self, case: Case) -> None:
        whole = case.open()
        rate = whole.get_sampling_frequency()
        whole.close()
        paths = {*files_of(case.recording), *kin_of(case.recording), *paths_of(case.recording)}
        disk = FailingDisk({*paths, *(path.parent for path in files_of(case.recording))})
        for k, call in enumerate(CALLS):
            number = _DISK_FAULTS[k % len(_DISK_FAULTS)]
            words = f"with os.{call} failing for its files ({errno.errorcode[number]})"
            with disk.failing(call, number):
                _attempt(lambda: roi.explain(case.recording), f"{words}, explain")
                opened = _attempt(case.open, f"{words}, open")
                if opened is not None:
                    if opened.get_sampling_frequency() != rate:
                        fail(f"{words}, open gave a recording of another rate", _DISK_ADVICE)
                    _attempt_read(opened, case, f"{words}, get_series()")
                    opened.close()
            _require_whole(case, f"{words} no longer")
            with case.open() as opened:
                opened.get_series(0, 1)
                with disk.failing(call, number):
                    _attempt_read(opened, case, f"{words} after it was opened, get_series()")
                same(opened.get_series(), case.expected, f"{words} no longer, get_series()", _DISK_ADVICE)

    def test_a_descriptor_that_failed_is_not_used_again(self, case: Case) -> None:
        disk = FailingDisk(files_of(case.recording))
        for number in _DISK_FAULTS:
            with case.open() as opened:
                opened.get_series(0, 1)
                opened.get_series()
                words = f"get_series() after all open descriptors failed once with {errno.errorcode[number]}"
                with disk.stale(number) as stale:
                    for _ in range(len(stale) + 1):
                        if _attempt_read(opened, case, words):
                            break
                    else:
                        fail(f"{words} failed again", "read through PositionedFile, which opens the file anew")


def _attempt(call: Callable[[], Any], words: str) -> Any:
    """Make a call that may raise an error of this library; return None then."""
    try:
        return call()
    except PluginError as error:
        fail(f"{words} raised {type(error.__cause__ or error).__name__}: {error}", _DISK_ADVICE)
    except RoiExtractorsError:
        return None
    except Exception as error:  # noqa: BLE001 - the border to the plugin
        fail(f"{words} raised {type(error).__name__}: {error}", _DISK_ADVICE)


def _attempt_read(opened: Any, case: Case, words: str) -> bool:
    seen = _attempt(opened.get_series, words)
    if seen is not None:
        same(seen, case.expected, words, _DISK_ADVICE)
    return seen is not None


def _require_whole(case: Case, words: str) -> None:
    try:
        with case.open() as again:
            seen = again.get_series()
    except Exception as error:  # noqa: BLE001 - the border to the plugin
        fail(f"{words}, opening again raised {type(error).__name__}: {error}", _DISK_ADVICE)
    same(seen, case.expected, f"{words}, get_series()", _DISK_ADVICE)


def _cut_words(answer: Mapping[str, Any]) -> str:
    if answer.get("size") == -1:
        return f"{answer['file']}, a file beside the recording, removed"
    return (
        f"{answer['file']} cut to {answer['size']:,} of {answer['of']:,} bytes"
        if answer.get("file")
        else "a whole copy"
    )


def _units(case: Case) -> tuple[int, ...]:
    """Return how many bytes one sample may take in a file: of one channel, and of all."""
    one = case.expected[0].nbytes
    return tuple(dict.fromkeys((one, one * max(1, len(case.streams.get("channel", ()))))))


def _judge_cuts(answers: Iterable[Mapping[str, Any]], case: Case, counts_samples: bool) -> None:
    advice = (
        "compare what the header promises with the file's size; then raise TruncatedRecordingError, or offer the whole samples alone, "
        "warn with IncompleteRecordingWarning and say so in get_notes"
    )
    for answer in answers:
        words, outcome, lost = _cut_words(answer), answer["outcome"], answer["of"] - answer["size"]
        if outcome == "crash":
            fail(f"{words}: {answer['words']}, which is not a clear error", advice)
        if answer.get("open"):
            fail(
                f"{words}: it is still open after {'an error' if outcome == 'error' else 'close()'}",
                "close what the constructor opened when it raises",
            )
        if outcome == "read" and answer["wrong"]:
            fail(f"{words}: {answer['wrong']}", advice)
        # A cut at the end of a sample leaves a valid shorter recording where no header states the count
        may_be_silent = not counts_samples and any(lost % unit == 0 for unit in _units(case))
        if outcome == "read" and answer["count"] < case.count and not answer["warnings"] and not may_be_silent:
            fail(
                f"{words}: {answer['count']:,} of {case.count:,} samples are left, without a notice",
                f"{advice}. If nothing in a recording states its number of samples, write counts_samples = False in the test class",
            )
        # Generous on purpose: only an allocation of a size that a damaged header states exceeds it
        limit = 64 * KIB * KIB + 8 * (answer["of"] + case.expected.nbytes)
        if answer.get("grown", 0) > limit:
            fail(f"{words}: opening it took {answer['grown']:,} bytes of memory, the limit is {limit:,}", advice)

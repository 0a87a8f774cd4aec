"""Truncated recordings and missing files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ..cuts import copy_recording, files_of, kin_of, sizes_to_cut
from ..fresh import in_fresh_process
from .case import KIB, Case, GivenRecording, as_text
from .judging import fail

__all__ = ["DamageTests"]


class DamageTests(GivenRecording):
    """A truncated recording gives a clear error, or fewer samples and a notice."""

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

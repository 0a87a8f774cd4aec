"""Truncated recordings, and missing files and keys."""

from __future__ import annotations

import errno
import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import roiextractors_core as roi

from ...errors import PluginError, RoiExtractorsError
from ..cuts import (
    Damage,
    copy_recording,
    cuts_of,
    exchanges_of,
    files_of,
    kin_of,
    missing_keys_of,
    paths_of,
    removals_of,
)
from ..failing_disk import CALLS, FailingDisk
from ..fresh import in_fresh_process
from ..layouts import costs_once_a_code_path
from .case import KIB, Case, GivenRecording, as_text
from .judging import fail, same

__all__ = ["DamageTests"]

_DISK_FAULTS = (errno.EIO, errno.ESTALE, errno.ENXIO)
_DISK_ADVICE = (
    "read through PositionedFile, read_bounded or read_json, ask for files through the source, and let their errors pass; "
    "keep nothing of a read that failed"
)
_PLACES = 20  # the cuts for which `patience` is meant
_ADVICE = (
    "compare "
    "what the header promises with what is there; then raise TruncatedRecordingError or CorruptRecordingError, "
    "or offer only the complete samples, warn with IncompleteRecordingWarning and say so in get_notes"
)


class DamageTests(GivenRecording):
    """A damaged recording gives a clear error, or what was recorded and a notice; so does a disk that fails."""

    @costs_once_a_code_path
    def test_a_cut_recording_is_told_and_never_garbage(self, case: Case, workplace: Path) -> None:
        total = sum(path.stat().st_size for path in files_of(case.recording))
        if total > 256 * KIB * KIB:
            pytest.skip(f"{total:,} bytes are too many to cut at 20 places; give a smaller recording")
        copy = copy_recording(case.recording, workplace / "copy")
        self._judge(case, copy, cuts_of((*files_of(copy), *kin_of(copy)), units=_units(case)))

    @costs_once_a_code_path
    def test_a_missing_file_is_told_and_never_filled_in(self, case: Case, workplace: Path) -> None:
        copy = copy_recording(case.recording, workplace / "copy")
        paths = paths_of(copy)
        members = files_of(copy) if len(paths) == 1 and paths[0].is_dir() else ()
        if not members and not kin_of(copy):
            pytest.skip("the recording is one file, or a list of files that are all named")
        self._judge(case, copy, removals_of((*members, *kin_of(copy))))

    @costs_once_a_code_path
    def test_a_missing_key_is_told_and_never_filled_in(self, case: Case, workplace: Path) -> None:
        copy = copy_recording(case.recording, workplace / "copy")
        damages = missing_keys_of((*files_of(copy), *kin_of(copy)))
        if not damages:
            pytest.skip("the recording has no text file of keys and values")
        self._judge(case, copy, damages)

    @costs_once_a_code_path
    def test_exchanged_files_are_told_and_never_mixed_up(self, case: Case, workplace: Path) -> None:
        if self.files_know_their_place is False:
            pytest.skip("files_know_their_place is False: nothing in a file says which one it is")
        copy = copy_recording(case.recording, workplace / "copy")
        damages = exchanges_of(files_of(copy)) if len(paths_of(copy)) == 1 and paths_of(copy)[0].is_dir() else ()
        if not damages:
            pytest.skip("the recording is not a folder with two files of one kind and size")
        for whole, answer, damage in self._open_damaged(case, copy, damages):
            self._require_clean(case, answer)
            if answer["outcome"] == "read" and answer["wrong"] and not _is_noticed(whole, answer):
                other = Path(damage.exchanged_with or "").name
                unless = (
                    ""
                    if self.files_know_their_place
                    else f". If {other} says nothing of that kind, as with raw frames, write files_know_their_place = False in the test class"
                )
                fail(
                    f"{answer['words']}: {answer['wrong']}, without a notice",
                    "compare what each file says of itself (its number, the number or time of its first sample, a name) with its "
                    f"place, and raise CorruptRecordingError{unless}",
                )

    @costs_once_a_code_path
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

    @costs_once_a_code_path
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
                        fail(f"{words} failed again", "read through PositionedFile, which opens the file again")

    def _judge(self, case: Case, copy: Any, damages: Sequence[Damage]) -> None:
        for whole, answer, damage in self._open_damaged(case, copy, damages):
            self._judge_one(case, whole, answer, damage)

    def _open_damaged(
        self, case: Case, copy: Any, damages: Sequence[Damage]
    ) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], Damage]]:
        """Yield the outcome of the whole copy, and that of each damage."""
        arguments = {
            "spec": case.spec.to_dict(),
            "recording": as_text(copy),
            "damages": list(damages),
            "expected": case.expected,
            "times": case.times,
            "options": dict(case.options),
        }
        # A fresh process: a truncated file may kill the process (a memory map raises SIGBUS), hang it, or succeed
        # through what this one has cached
        seconds = self.patience * max(1.0, len(damages) / _PLACES)
        outcome = in_fresh_process("open_damaged", arguments, seconds=seconds)
        if not outcome.answers:
            fail(f"a copy was not opened: {outcome.failure or f'no answer within {seconds:g} s'}", "fix the extractor")
        whole, *answers = outcome.answers
        if whole["outcome"] != "read" or whole["wrong"] or whole["count"] != case.count:
            fail(
                f"an uncut copy did not read well in a fresh process: {whole.get('error') or whole.get('wrong')}",
                "everything that opening needs must be in the files, not elsewhere or in this process",
            )
        for answer in answers:
            if answer["outcome"] != "begun":
                yield whole, answer, damages[answer["damage"]]
        if outcome.timed_out or outcome.failure:
            fail(
                f"{outcome.last['words']}: {outcome.failure or f'did not end within {seconds:g} s'}",
                "limit every loop by the file's size; for a slow format, set the class attribute `patience` to more seconds",
            )

    def _require_clean(self, case: Case, answer: Mapping[str, Any]) -> None:
        """Require an outcome that is a recording or an error of this library, which leaves no file open and needs little memory."""
        words, outcome = answer["words"], answer["outcome"]
        if outcome == "crash":
            fail(f"{words}: {answer['error']}, which is not a clear error", _ADVICE)
        if answer["open"]:
            fail(
                f"{words}: it is still open after {'an error' if outcome == 'error' else 'close()'}",
                "close what the constructor opened when it raises",
            )
        # Generous on purpose: only an allocation of a size that a damaged header states exceeds it
        limit = 64 * KIB * KIB + 8 * (answer["of"] + case.expected.nbytes)
        if answer["grown"] > limit:
            fail(f"{words}: opening it took {answer['grown']:,} bytes of memory, the limit is {limit:,}", _ADVICE)

    def _judge_one(self, case: Case, whole: Mapping[str, Any], answer: Mapping[str, Any], damage: Damage) -> None:
        self._require_clean(case, answer)
        words = answer["words"]
        if answer["outcome"] == "error":
            return
        if self._is_optional(damage):
            return
        if answer["wrong"]:
            fail(f"{words}: {answer['wrong']}", _ADVICE)
        # A cut at the end of a sample leaves a valid shorter recording where no header states the count
        may_be_shorter = not self.counts_samples and any(answer["lost"] % unit == 0 for unit in _units(case))
        if not may_be_shorter:
            _require_notice(words, list(_losses(case, whole, answer)), whole, answer, case.count)

    def _is_optional(self, damage: Damage) -> bool:
        """Return whether what is missing is a file or key of which the author says that a recording without it is whole."""
        if damage.size is not None:
            return bool(damage.lost_keys) and all(map(self._is_named_optional, damage.lost_keys))
        return any(map(self._is_named_optional, (Path(damage.path).name, *damage.lost_keys)))

    def _is_named_optional(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, glob) for glob in self.optional_parts)


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


def _losses(case: Case, whole: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield how an opened recording differs from the whole one; a value that is absent is not a difference."""
    if answer["count"] < case.count:
        yield f"{answer['count']:,} of {case.count:,} samples are left"
    if whole["times_source"] == "native" and answer["times_source"] != "native":
        yield f"the hardware's times are lost: times_source is {answer['times_source']!r}"
    for name, value in answer["facts"].items():
        if value != whole["facts"][name] and value not in (None, [], {}, ""):
            yield f"{name} is {value!r:.80}, but that of the whole recording is {whole['facts'][name]!r:.80}"


def _is_noticed(whole: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    """Return whether opening warned, or made a note, as it does not for the whole recording."""
    return any(text not in whole[kind] for kind in ("warnings", "notes") for text in answer[kind])


def _require_notice(
    words: str, losses: list[str], whole: Mapping[str, Any], answer: Mapping[str, Any], count: int
) -> None:
    """Require a note of what is lost, with a warning where samples are, and no warning without a note."""
    warned = [text for text in answer["warnings"] if text not in whole["warnings"]]
    noted = [text for text in answer["notes"] if text not in whole["notes"]]
    if losses and not warned and not noted:
        fail(
            f"{words}: {losses[0]}, without a notice",
            f"{_ADVICE}. If a recording without it is whole, name the file or the key in optional_parts in the test class; if nothing "
            "in a recording states its number of samples, write counts_samples = False",
        )
    # A clock that is not there is no damage in every format; samples that are not there are
    if losses and not warned and answer["count"] < count:
        fail(
            f"{words}: {losses[0]}, and get_notes() says so without a warning",
            "warn too (roiextractors_core.io.warn): few people read notes",
        )
    if warned and not noted:
        fail(
            f"{words}: it warned {warned[0]!r:.120}, and get_notes() does not say so",
            "return the same sentence in get_notes: a warning is gone with the session",
        )


def _units(case: Case) -> tuple[int, ...]:
    """Return how many bytes one sample may take in a file: of one channel, and of all."""
    one = case.expected[0].nbytes
    return tuple(dict.fromkeys((one, one * max(1, len(case.streams.get("channel", ()))))))

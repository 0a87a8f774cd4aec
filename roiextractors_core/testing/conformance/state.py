"""What reading leaves unchanged."""

from __future__ import annotations

import functools
import gc
import hashlib
import io
import json
import os
import random
import warnings
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

from ...errors import RangeError
from ...imaging.extractor import ImagingExtractor
from ..cuts import copy_recording, different_files, files_of, kin_of, paths_of
from ..fresh import HANGS, digest, in_fresh_process, process_state, same_values
from ..layouts import costs_once_a_code_path, costs_once_a_format
from .case import KIB, Case, GivenRecording, as_text
from .judging import RANGE_ADVICE, fail, refusal, same, within
from .reads import open_and_read, read_everything, routes

__all__ = ["StateTests"]

_MAX_GROWTH, _MAX_SECONDS = 300 << 20, 20.0
PIPE_SECONDS = 90.0


class StateTests(GivenRecording):
    """Reading changes nothing in the recording, the process or the source."""

    def test_reading_changes_nothing(self, case: Case, extractor: ImagingExtractor) -> None:
        before = _observe(extractor)
        for _ in range(2):  # the first pass may fill a cache that only the second one uses
            read_everything(extractor)
            for key, value in _observe(extractor).items():
                if value != before[key]:
                    fail(
                        f"{key} was {before[key]!r:.200} before reading, and is {value!r:.200} after it",
                        "let reads return results and set nothing that can be seen from outside",
                    )
        # Backwards: a decoder that keeps its position gives the next frame instead of this one
        for k in range(case.count - 1, -1, -1):
            words = f"get_series({k}, {k + 1}), the samples read backwards,"
            same(
                extractor.get_series(k, k + 1),
                case.expected[k : k + 1],
                words,
                "read at given offsets, and keep no position",
            )
        with refusal((RangeError,), f"get_series(0, {case.count + 1})", RANGE_ADVICE):
            extractor.get_series(0, case.count + 1)
        same(extractor.get_series(), case.expected, "get_series() after a refused range", "read at given offsets")

    def test_two_openings_do_not_disturb_each_other(self, case: Case, extractor: ImagingExtractor) -> None:
        with case.open(sampling_frequency=3.25) as other:
            other.get_series(0, 1)
            other.set_times(np.arange(case.count, dtype=np.float64))
        advice = "keep what belongs to one recording on the object, and not on the class or the module"
        same(extractor.get_series(), case.expected, "get_series() after another object was closed", advice)
        if extractor.has_time_vector() or extractor.get_sampling_frequency() == 3.25:
            fail("the rate or the times of another object have come over to this one", advice)

    def test_what_was_read_elsewhere_or_earlier_is_not_given_out(
        self, case: Case, extractor: ImagingExtractor, workplace: Path
    ) -> None:
        copy = copy_recording(case.recording, workplace / "copy")
        largest = max(files_of(copy), key=lambda path: path.stat().st_size)
        original = largest.read_bytes()
        advice = "keep what was read on the object, and in no cache of the class or the module"
        place, frame = _find_frame(case, original)
        # The middle of the file is pixels in most formats, so the header still opens
        for start, end in ((0.3, 0.7), (0.1, 0.9)):
            a, b = int(len(original) * start), int(len(original) * end)
            largest.write_bytes(original[:a] + bytes(255 - byte for byte in original[a:b]) + original[b:])
            seen: list[np.ndarray] = []
            with suppress(Exception):
                words = "opening and reading a recording with damaged bytes"
                within(self.patience, functools.partial(open_and_read, case, copy, seen), words)
            if (
                seen
                and a <= place < b - frame.nbytes
                and same_values(seen[0][case.count // 2], case.expected[case.count // 2])
            ):
                fail("a copy in which the pixels are other ones gave the pixels of the recording", advice)
            same(extractor.get_series(), case.expected, "get_series() after another recording was read", advice)
            largest.write_bytes(original)
            with case.open(copy) as again:
                words = "get_series() of a recording whose file was another one before"
                same(again.get_series(), case.expected, words, advice)
                same(again.get_samples([1, 0]), case.expected[[1, 0]], words, advice)

    @costs_once_a_code_path
    def test_a_file_that_changed_is_read_again(self, case: Case, workplace: Path) -> None:
        total = sum(path.stat().st_size for path in files_of(case.recording))
        if total > 64 * KIB * KIB:
            pytest.skip(f"{total:,} bytes are too many to copy for every file; give a smaller recording")
        for number, name in enumerate(_changed_names(case.recording)):
            never_opened, opened_before = workplace / f"new {number}", workplace / f"known {number}"
            new, known = (copy_recording(case.recording, folder) for folder in (never_opened, opened_before))
            whole = _opened_as(case, known, opened_before, self.patience)
            for folder in (never_opened, opened_before):
                _invert(folder / name)
            expected = _opened_as(case, new, never_opened, self.patience)
            seen = _opened_as(case, known, opened_before, self.patience)
            if seen != expected:
                fail(
                    f"{name.name} was changed after the recording was opened; opened again, it gives {_first_difference(seen, expected)}",
                    "keep what was read on the object; a cache of the module must compare size and modification time of the file",
                )
            _invert(folder / name)
            seen = _opened_as(case, known, opened_before, self.patience)
            if seen != whole:
                fail(
                    f"{name.name} was changed and restored; opened again, the recording gives {_first_difference(seen, whole)}",
                    "keep what was read on the object; a cache of the module must compare size and modification time of the file",
                )

    def test_the_source_is_untouched(self, case: Case, workplace: Path) -> None:
        copy = copy_recording(case.recording, workplace / "copy")
        before = _state_of(workplace)
        roi.explain(copy)
        roi.streams(copy, format=case.spec.name)
        with case.open(copy) as opened:
            read_everything(opened)
            for _, result in routes(opened):
                # A writable memory map would carry the change into the file
                if result.flags.writeable:
                    result[...] = 1
        gc.collect()
        after = _state_of(workplace)
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                what = "appeared" if name not in before else "is gone" if name not in after else "was changed"
                fail(
                    f"{name} {what} while the recording was opened and read", "open files with mode 'rb', write nothing"
                )

    def test_the_process_is_left_as_it_was(self, case: Case) -> None:
        case.open().close()  # what is imported on the way may set itself up
        random.random(), np.random.random()  # noqa: NPY002 - a seed that was set before shows when it is set again
        before, printed = _process_state(), io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed), case.open() as opened:
            read_everything(opened)
        after = _process_state()
        changed = [what for what in before if before[what] != after[what]]
        if changed:
            fail(f"opening and reading changed {', '.join(changed)}", "leave alone what belongs to the whole process")
        if printed.getvalue():
            fail(
                f"opening and reading printed {printed.getvalue()[:80]!r}",
                "warn, or say it in get_notes; print nothing",
            )

    @costs_once_a_format
    def test_importing_and_the_first_opening_leave_the_process_as_it_was(self, case: Case) -> None:
        arguments = {
            "spec": case.spec.to_dict(),
            "recording": as_text(case.recording),
            "options": dict(case.options),
        }
        outcome = in_fresh_process("watch_state", arguments)
        if outcome.timed_out or outcome.failure:
            fail(
                f"in a fresh process the recording does not open: {outcome.failure or HANGS}",
                "nothing that opening needs may come from this process alone",
            )
        changed = outcome.last["changed"]
        if changed:
            fail(
                f"importing the plugin, or opening for the first time, changed {', '.join(changed)}",
                "leave alone what belongs to the whole process; pass parameters to the library that needs them",
            )

    @costs_once_a_code_path
    def test_a_pipe_or_a_device_in_place_of_a_file_is_refused(self, case: Case, workplace: Path) -> None:
        if not hasattr(os, "mkfifo"):
            pytest.skip("this system has no named pipes")
        copy = copy_recording(case.recording, workplace / "copy")
        files = sorted(map(str, (*files_of(copy), *kin_of(copy))))
        arguments = {
            "spec": case.spec.to_dict(),
            "recording": as_text(copy),
            "files": [files[k * len(files) // 12] for k in range(12)] if len(files) > 12 else files,
            "options": dict(case.options),
        }
        outcome = in_fresh_process("open_replaced", arguments, seconds=PIPE_SECONDS)
        advice = "open files with PositionedFile, read_bounded or read_json: they open only regular files, and read no more than they contain"
        if outcome.timed_out or outcome.failure:
            last = outcome.answers[-1] if outcome.answers else {"kind": "nothing", "file": "a file"}
            fail(
                f"with {last['kind']} in place of {last['file']}, the recording does not open: {outcome.failure or 'it hangs'}",
                advice,
            )
        for answer in outcome.answers:
            place = f"with {answer['kind']} in place of {answer['file']}"
            if answer["outcome"] == "crash":
                fail(f"{place}, opening raised {answer['words']}", advice)
            if answer.get("grown", 0) > _MAX_GROWTH or answer.get("seconds", 0.0) > _MAX_SECONDS:
                fail(f"{place}, opening took {answer['seconds']:.0f} s and {answer['grown']:,} bytes", advice)

    @costs_once_a_code_path
    def test_opening_writes_nothing_and_runs_nothing_from_the_file(self, case: Case, workplace: Path) -> None:
        copy, warm = (
            copy_recording(case.recording, workplace / "copy"),
            copy_recording(case.recording, workplace / "warm"),
        )
        arguments = {
            "spec": case.spec.to_dict(),
            "recording": as_text(copy),
            "warm": as_text(warm),
            "watched": [os.path.realpath(workplace / "copy")],
            "options": dict(case.options),
        }
        # The audit hook that watches cannot be removed again, so it is installed in a process of its own
        outcome = in_fresh_process("watch_opening", arguments)
        if outcome.timed_out or outcome.failure:
            fail(
                f"in a fresh process the recording does not open: {outcome.failure or HANGS}",
                "nothing that opening needs may come from this process alone",
            )
        forbidden = list(dict.fromkeys(words for _, words in outcome.last["events"]))
        if forbidden:
            fail(
                "; ".join(forbidden),
                "open with mode 'rb'; parse what the file says, and never unpickle, evaluate or start it (numpy: allow_pickle=False)",
            )


def _changed_names(recording: Any) -> list[Path]:
    """Return a few files of each kind, relative to the folder into which a recording is copied."""
    base = Path(os.path.commonpath([path.parent for path in paths_of(recording)]))
    return [path.relative_to(base) for path in different_files((*files_of(recording), *kin_of(recording)))[:8]]


def _invert(path: Path) -> None:
    moment = path.stat().st_mtime_ns
    path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))
    os.utime(path, ns=(moment, moment + 10**10))  # the clock of the disk may not have ticked since


def _opened_as(case: Case, recording: Any, folder: Path, seconds: float) -> dict[str, Any]:
    """Return what opening gives, without the folder's name: fingerprints and facts, or the class of an error."""
    seen: dict[str, Any] = {}

    def work() -> None:
        try:
            with case.open(recording) as opened:
                facts = _observe(opened)
        except Exception as error:  # noqa: BLE001 - the border to the plugin
            seen["an error"] = type(error.__cause__ or error).__name__
        else:
            del facts["provenance"], facts["repr"]
            seen.update({key: str(value).replace(str(folder), "") for key, value in facts.items()})

    within(seconds, work, "opening and reading a recording with damaged bytes")
    return seen


def _first_difference(seen: dict[str, Any], expected: dict[str, Any]) -> str:
    key = next(key for key in (*seen, *expected) if seen.get(key) != expected.get(key))
    return f"{key} = {seen.get(key)!r:.120}, expected {expected.get(key)!r:.120}"


def _find_frame(case: Case, content: bytes) -> tuple[int, np.ndarray]:
    """Return the offset in a file of the frame in the middle of the recording, and the frame; -1 if it is not found."""
    sample = case.expected[case.count // 2]
    for frame in (sample, sample[..., 0]) if case.is_volumetric else (sample,):
        for order in "<>":
            place = content.find(frame.astype(frame.dtype.newbyteorder(order)).tobytes())
            if place >= 0:
                return place, frame
    return -1, sample


def _observe(extractor: ImagingExtractor) -> dict[str, Any]:
    return {
        "shape": extractor.shape,
        "dtype": extractor.dtype,
        "get_sampling_frequency()": extractor.get_sampling_frequency(),
        "times_source": extractor.times_source,
        "has_time_vector()": extractor.has_time_vector(),
        "metadata": json.dumps(extractor.metadata.to_dict(), sort_keys=True),
        "get_notes()": extractor.get_notes(),
        "provenance": extractor.provenance.to_dict(),
        "repr": repr(extractor),
        "times": None if extractor.times_source is None else digest(extractor.get_timestamps()),
        "pixels": digest(extractor.get_series()),
    }


def _process_state() -> dict[str, Any]:
    state = {what: value for what, value in process_state().items() if what not in ("sys.stdout", "sys.stderr")}
    return {**state, "the warning filters": list(warnings.filters)}


def _state_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Return fingerprint and modification time of every file in a folder."""
    return {str(path.relative_to(folder)): _file_state(path) for path in folder.rglob("*") if path.is_file()}


def _file_state(path: Path) -> tuple[str, int]:
    return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns

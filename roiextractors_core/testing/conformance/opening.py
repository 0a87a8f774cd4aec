"""Finding the format and opening the recording."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

import roiextractors_core as roi

from ...errors import (
    PluginError,
    RoiExtractorsError,
    UnknownOptionError,
)
from ...registry.evidence import Strength
from ...registry.spec import FormatSpec
from ..cuts import copy_recording, files_of, paths_of
from ..foreign import Foreign, foreign_claims, foreign_sources
from ..layouts import costs_once_a_format
from .case import KIB, Case, GivenRecording, as_text, quiet
from .judging import ATTEMPTS, bytes_of_ten, fail, recording_calls, refusal, same, within
from .reads import open_and_read

__all__ = ["OpeningTests"]


class OpeningTests(GivenRecording):
    """The recording is found under any name, and other formats are not taken for it."""

    def test_the_recording_opens(self, case: Case) -> None:
        # Twice: the first opening may leave a lock or a file open
        for attempt in ("", " a second time"):
            try:
                opened = case.open()
            except Exception as error:  # noqa: BLE001 - the border to the plugin
                cause = error.__cause__ or error
                fail(
                    f"roi.open({_call_words(case)}) raised{attempt} {type(error).__name__}: {error}",
                    f"fix {case.spec.extractor}" if cause is error else f"fix {case.spec.extractor}: {cause!r}",
                )
            opened.close()

    def test_the_format_is_found_without_being_named(self, case: Case) -> None:
        found = roi.explain(case.recording)
        if found.best is None or found.best.spec.name != case.spec.name:
            seen = "nothing" if found.best is None else found.best.spec.name
            fail(
                f"roi.open would take {seen} for this recording, expected {case.spec.name}:\n{found}",
                "change evidence= or extensions= in FormatSpec; specializes=(...) lets a format come before a more general one",
            )
        with quiet(), roi.open(case.recording, **case.options) as opened:
            same(opened.get_series(), case.expected, "roi.open(recording) without format=", "fix the extractor")

    def test_a_suffix_in_capitals_is_the_same_suffix(self, case: Case, workplace: Path) -> None:
        copy = copy_recording(
            case.recording, workplace / "copy", rename=lambda name: _with_suffix(name, case.spec, str.upper)
        )
        _require_recognised(
            case, copy, "its suffix in capitals", "compare suffixes in lower case, in the extractor as well"
        )

    @pytest.mark.parametrize("suffix", ["", ".unknown"], ids=["without_suffix", "with_another_suffix"])
    def test_the_content_is_recognised(self, case: Case, workplace: Path, suffix: str) -> None:
        best = roi.explain(case.recording).best
        if case.spec.evidence is None or not case.spec.evidence.has_content():
            pytest.skip("the format declares no content evidence: its suffix decides")
        if best is None or best.finding.strength is not Strength.CONTENT:
            pytest.skip("this recording is recognised by its neighbours, not by its content")
        copy = copy_recording(
            case.recording, workplace / "copy", rename=lambda n: _with_suffix(n, case.spec, lambda _: suffix)
        )
        words = f"the suffix {suffix}" if suffix else "no suffix"
        _require_recognised(
            case, copy, words, "leave the name out of the evidence, and let the extractor open what it is given"
        )

    @costs_once_a_format
    def test_foreign_files_are_not_claimed(self, case: Case, workplace: Path) -> None:
        sources = [foreign for foreign in foreign_sources() if isinstance(foreign.content, bytes)]
        self._require_no_claims(case.spec, workplace, [*sources, *_quoting(case.recording)])

    def test_foreign_folders_are_not_claimed(self, case: Case, workplace: Path) -> None:
        sources = [foreign for foreign in foreign_sources() if not isinstance(foreign.content, bytes)]
        self._require_no_claims(case.spec, workplace, sources)

    def _require_no_claims(self, spec: FormatSpec, workplace: Path, sources: Iterable[Foreign]) -> None:
        found = foreign_claims(spec, workplace, own=self.claims, sources=sources)
        if found:
            names = ", ".join(repr(name) for name in dict.fromkeys(claim.foreign.family for claim in found))
            fail(
                f"{spec.name} claims what belongs to others:\n  " + "\n  ".join(map(str, found)),
                f"narrow evidence= in FormatSpec, or, if these really are this format, write claims = ({names},) in the test class",
            )

    def test_what_is_another_format_is_refused_in_words(self, case: Case, workplace: Path) -> None:
        by_content = case.spec.evidence is not None and case.spec.evidence.has_content()
        advice = "look at the signature, and at every number that the constructor takes from the file, before using it"
        for foreign in foreign_sources():
            if foreign.name in self.claims or foreign.family in self.claims:
                continue
            path = foreign.write(workplace, "" if isinstance(foreign.content, Mapping) else _suffix_of(case))
            words = f"open(a {foreign.family} file of the kit, {foreign.name!r}, format={case.spec.name!r})"
            try:
                within(self.patience, functools.partial(open_and_read, case, path), words)
            except PluginError as error:
                fail(f"{words} raised {error.__cause__!r}, which is not a clear error", advice)
            except RoiExtractorsError:
                continue
            except Exception as error:  # noqa: BLE001 - the border to the plugin
                fail(f"{words} raised {type(error).__name__}: {error}, which is not an error of this library", advice)
            if by_content:
                fail(f"{words} was not refused; expected CorruptRecordingError or UnsupportedRecordingError", advice)

    def test_a_path_may_be_text_and_hold_any_letters(self, case: Case, workplace: Path) -> None:
        copy = copy_recording(
            case.recording, workplace / "mouse [1] * Größe" if os.sep == "/" else workplace / "mouse [1] Größe"
        )
        advice = "take str and os.PathLike; escape names for glob (glob.escape), or list the folder"
        for given in (copy, as_text(copy)):
            words = f"open({given!r:.200})"
            try:
                with quiet(), roi.open(given, **case.options) as opened:
                    series = opened.get_series()
            except Exception as error:  # noqa: BLE001 - the border to the plugin
                fail(f"{words} raised {type(error).__name__}: {error}", advice)
            same(series, case.expected, words, advice)

    def test_looking_runs_no_extractor(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        kind = case.spec.load()
        monkeypatch.setattr(kind, "__init__", recording_calls(kind.__init__, asked, "__init__"))
        grown = min(bytes_of_ten([lambda: roi.explain(case.recording)]) // 10 for _ in range(ATTEMPTS))
        total = sum(path.stat().st_size for path in files_of(case.recording))
        advice = "let the probe look at bounded parts of the Source that it is given (source.head, source.read_at)"
        if asked:
            fail("roi.explain made an extractor", advice)
        limit = max(128 * KIB, total // 2)
        if grown > limit:
            fail(f"roi.explain read {grown:,} bytes of a recording of {total:,}, the limit is {limit:,}", advice)

    def test_an_unknown_option_is_refused(self, case: Case) -> None:
        with refusal((UnknownOptionError,), "open(..., no_such_option=1)", "name the constructor's options one by one"):
            case.open(no_such_option=1).close()


def _call_words(case: Case) -> str:
    options = "".join(f", {key}={value!r}" for key, value in case.options.items())
    return f"{case.recording!s:.200}, format={case.spec.name!r}{options}"


def _with_suffix(name: str, spec: FormatSpec, change: Callable[[str], str]) -> str:
    longest = max((e for e in spec.extensions if name.lower().endswith(e) and len(e) < len(name)), key=len, default="")
    suffix = longest or Path(name).suffix
    stem = name[: len(name) - len(suffix)]
    return f"{stem}{change(suffix)}"


def _suffix_of(case: Case) -> str:
    """Return the declared suffix that the recording bears, or the first one that its format has."""
    name = paths_of(case.recording)[0].name.lower()
    return next((e for e in case.spec.extensions if name.endswith(e)), next(iter(case.spec.extensions), ""))


def _require_recognised(case: Case, copy: Any, words: str, advice: str) -> None:
    found = roi.explain(copy)
    if not any(match.spec.name == case.spec.name for match in found.matches):
        fail(f"a copy with {words} is not recognised as {case.spec.name}:\n{found}", advice)
    if found.best is not None and found.best.spec.name != case.spec.name:
        fail(f"a copy with {words} is taken for {found.best.spec.name}:\n{found}", advice)
    try:
        with case.open(copy) as opened:
            series = opened.get_series()
    except Exception as error:  # noqa: BLE001 - the border to the plugin
        fail(f"a copy with {words} does not open: {type(error).__name__}: {error}", advice)
    same(series, case.expected, f"a copy with {words}", advice)


def _quoting(recording: Any) -> list[Foreign]:
    """Return a text that quotes the recording after its first page: it contains the bytes but is not a recording."""
    path = paths_of(recording)[0]
    if path.is_dir():
        return []
    with path.open("rb") as stream:
        quoted = stream.read(32 * KIB)
    page = b"What follows is quoted from a recording; this file is a letter about it.\n" * 97
    return [Foreign("letter_that_quotes_the_recording", "quotation", page + quoted)]

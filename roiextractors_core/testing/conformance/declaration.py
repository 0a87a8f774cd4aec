"""What the plugin declares."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ...imaging.extractor import ImagingExtractor
from ...metadata import RecordingMetadata
from ...registry.discovery import SLOW_SECONDS, PluginRecord
from ...registry.registry import default_registry
from ..cuts import files_of
from ..declarations import heavy_imports, spec_faults
from ..foreign import common_name_claims, random_claims
from ..fresh import HANGS, Outcome, extractor_faults, in_fresh_process
from ..layouts import costs_once_a_format
from .case import Case, GivenRecording
from .judging import fail

__all__ = ["DeclarationTests"]

_METADATA_FIELDS = tuple(field.name for field in fields(RecordingMetadata))


class DeclarationTests(GivenRecording):
    """The declaration is valid, cheap to import and agrees with the recording."""

    def test_the_declaration_is_valid(self, case: Case) -> None:
        faults = list(spec_faults(case.spec, default_registry()))
        if faults:
            fail("; ".join(faults), "change the FormatSpec in hooks.py")

    def test_the_evidence_does_not_match_random_bytes(self, case: Case, workplace: Path) -> None:
        claims = random_claims(case.spec, workplace)
        if claims:
            fail(
                f"the evidence of {case.spec.name} matches {'; '.join(claims[:3])}",
                "narrow evidence= in FormatSpec: compare bytes, tags or names that only this format has",
            )

    def test_one_common_file_name_is_not_evidence(self, case: Case, workplace: Path) -> None:
        claims = common_name_claims(case.spec, workplace, names=[path.name for path in files_of(case.recording)])
        if claims:
            fail(
                f"the evidence of {case.spec.name} matches {'; '.join(claims[:3])}",
                "narrow evidence= in FormatSpec: add a look into the file (JsonKey, XmlRoot, Magic, Probe), or a second name",
            )

    def test_the_extractor_class_is_whole(self, case: Case) -> None:
        faults = list(extractor_faults(case.spec))
        if faults:
            fail("; ".join(faults), "change the class, or the name in FormatSpec(extractor=...)")

    @costs_once_a_format
    def test_declaring_imports_the_core_and_nothing_else(self, case: Case) -> None:
        module = _hooks_module(case.spec.name)
        if module is None:
            pytest.skip("the format was registered in code, so that there is no hooks.py to look at")
        # In this process numpy and the extractor are imported already, and importing hooks.py would look free
        outcome = _declare_afresh(module, tuple(sys.path))
        if outcome.timed_out or outcome.failure or outcome.last.get("reason"):
            fail(
                f"importing {module} in a fresh process failed: {outcome.last.get('reason') or outcome.failure or HANGS}",
                "fix hooks.py",
            )
        if outcome.last["seconds"] > SLOW_SECONDS:
            fail(
                f"importing {module} took {outcome.last['seconds']:.1f} s, as it would in every session of every user; the limit is "
                f"{SLOW_SECONDS:g} s",
                "let hooks.py declare, and do nothing else",
            )
        heavy = heavy_imports(module, outcome.last["imports"], outcome.last["modules"])
        if heavy:
            fail(
                "; ".join(heavy),
                "let hooks.py import roiextractors_core and the standard library alone, and the package's __init__.py nothing: "
                "the extractor is named as a string and imported when its format was chosen",
            )

    def test_the_declaration_agrees_with_the_recording(self, case: Case, extractor: ImagingExtractor) -> None:
        spec, wrong = case.spec, []
        if case.times is not None and spec.clock != "native":
            wrong.append(f"the recording has native times, but clock={spec.clock!r} is declared: write clock='native'")
        if case.rate is not None and spec.clock == "none":
            wrong.append("the recording states its rate, but clock='none' is declared: write clock='rate'")
        undeclared = sorted(set(case.streams) - set(spec.streams))
        if undeclared:
            wrong.append(f"the recording offers the streams {undeclared}: name them in streams=")
        filled = [name for name in _METADATA_FIELDS if _is_filled(getattr(extractor.metadata, name))]
        unnamed = sorted(set(filled) - set(spec.metadata) - {"vendor"})
        if unnamed:
            wrong.append(f"the metadata has {', '.join(unnamed)}: name it in metadata=")
        if wrong:
            fail("; ".join(wrong), "the list of formats is made from the FormatSpec in hooks.py; change it there")


@functools.lru_cache(maxsize=64)
def _declare_afresh(module: str, path: tuple[str, ...]) -> Outcome:
    """Return the outcome of importing a module's declarations in a fresh process, once for all classes that test a plugin."""
    return in_fresh_process("import_declarations", {"module": module})


def _hooks_module(name: str) -> str | None:
    record = next((record for record in default_registry().plugins() if name in record.formats), PluginRecord(""))
    _, separator, module = record.entry_point.partition(" = ")
    return module.partition(":")[0].strip() if separator else None


def _is_filled(value: Any) -> bool:
    return value is not None and not (isinstance(value, tuple | Mapping) and not value)

"""Checks of a plugin without pytest and without a recording: its declarations, their import time, and foreign files."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import DeclarationError, counted, listed, printable
from ..registry.discovery import SLOW_SECONDS, normalized
from ..registry.hook import API_NUMBERS, GROUP
from ..registry.registry import SESSION, Registry, default_registry
from ..registry.spec import FormatSpec
from ..testing.declarations import heavy_imports, spec_faults
from ..testing.foreign import CONTAINERS, USUAL_SUFFIXES, foreign_sources
from ..testing.fresh import in_fresh_process
from .opening import PlainCommand
from .terminal import grid, heading

__all__ = ["Check", "PluginReport", "check_plugin", "examine_plugin", "register"]

_SECONDS = 60.0  # as long as a slow disk may take to import a plugin's libraries for the first time


@dataclass(frozen=True, slots=True)
class Check:
    """One check and its result.

    Attributes
    ----------
    subject : str
        ``"entry point"``, ``"hook"``, ``"weight"``, ``"declaration"``, ``"extractor"``, ``"name"``, ``"suffix"``,
        ``"random bytes"``, ``"foreign files"``, ``"dependencies"``, or ``"plugin"`` where it could not be checked.
    answer : str
        ``"ok"``, ``"fault"``, ``"note"`` (right for some formats), or ``"unknown"`` (it could not be checked).
    words : str
        The observation, and for a fault the remedy.
    format : str
        The format that was checked, if it was one.
    """

    subject: str
    answer: str
    words: str
    format: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the check as plain data."""
        return {"subject": self.subject, "answer": self.answer, "format": self.format, "words": self.words}


@dataclass(frozen=True, slots=True)
class PluginReport:
    """The result of checking a plugin.

    Attributes
    ----------
    name, version : str
        Of the distribution; empty where they are unknown.
    checks : tuple of Check
    """

    name: str
    version: str
    checks: tuple[Check, ...]

    @property
    def status(self) -> int:
        """0 when it is fine, 1 when there are faults, 2 when it cannot be checked."""
        answers = {check.answer for check in self.checks}
        return 1 if "fault" in answers else 2 if "unknown" in answers else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        checks = [check.to_dict() for check in self.checks]
        return {"plugin": self.name, "version": self.version, "status": self.status, "checks": checks}


@dataclass(frozen=True, slots=True)
class _Distribution:
    """A plugin's distribution, installed or as a folder."""

    name: str
    version: str
    points: tuple[tuple[str, str], ...]
    requirements: tuple[str, ...]
    folders: tuple[Path, ...] = ()


class _NotToBeCheckedError(DeclarationError):
    """The plugin cannot be checked."""


def register(app: typer.Typer) -> None:
    """Add ``check-plugin`` to the command."""
    app.command("check-plugin", cls=PlainCommand)(check_plugin)


def check_plugin(
    plugin: Annotated[
        str,
        typer.Argument(metavar="PLUGIN", help="An installed distribution's name, or a folder with a pyproject.toml."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a plugin: entry point, declarations, import time, extractor, names and foreign files. Its code is imported."""
    report = examine_plugin(plugin)
    if as_json:
        print(json.dumps(report.to_dict(), indent=1))
    else:
        heading(printable(f"{report.name} {report.version}".strip() or plugin))
        grid(
            ("", "format", "what", "seen"), [(c.answer, c.format, c.subject, printable(c.words)) for c in report.checks]
        )
        print({0: "sound", 1: "faults were found", 2: "it could not be checked"}[report.status])
    raise typer.Exit(report.status)


def examine_plugin(plugin: str | os.PathLike[str]) -> PluginReport:
    """Check a plugin; each import happens in a fresh process.

    Parameters
    ----------
    plugin : str or os.PathLike
        The name of an installed distribution, or a folder with a ``pyproject.toml``, installed or not.
    """
    try:
        distribution = _from_folder(Path(plugin)) if _is_folder(plugin) else _find_installed(os.fspath(plugin))
    except _NotToBeCheckedError as error:
        return PluginReport("", "", (Check("plugin", "unknown", str(error)),))
    return PluginReport(distribution.name, distribution.version, tuple(_checks(distribution)))


def _is_folder(plugin: str | os.PathLike[str]) -> bool:
    text = os.fspath(plugin)
    # A path that does not exist is still a path: "no distribution ./plugin is installed" would mislead
    return Path(text).is_dir() or not isinstance(plugin, str) or os.sep in text or "/" in text or text in (".", "..")


def _from_folder(folder: Path) -> _Distribution:
    path = folder / "pyproject.toml"
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _NotToBeCheckedError(f"{printable(path)} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise _NotToBeCheckedError(f"{printable(path)} is not valid TOML: {error}") from error
    project = config.get("project")
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        raise _NotToBeCheckedError(
            f"{printable(path)} has no [project] with a name; install the plugin and check it by name"
        )
    groups = project.get("entry-points", {})
    # Only the build backend knows dynamic entry points, and building here would run foreign code
    if "entry-points" in project.get("dynamic", ()):
        raise _NotToBeCheckedError(
            f"{printable(path)} leaves entry-points to the build; install the plugin and check it by name"
        )
    points = groups.get(GROUP, {}) if isinstance(groups, dict) else {}
    return _Distribution(
        project["name"],
        str(project.get("version", "")),
        tuple((str(name), str(value)) for name, value in points.items()) if isinstance(points, dict) else (),
        tuple(map(str, project.get("dependencies", ()))),
        # The two usual layouts; they are put on the path of the fresh process, so the plugin need not be installed
        tuple(place.resolve() for place in (folder, folder / "src") if place.is_dir()),
    )


def _find_installed(name: str) -> _Distribution:
    import importlib_metadata

    try:
        distribution = importlib_metadata.distribution(name)
    except (importlib_metadata.PackageNotFoundError, ValueError):
        names = {str(d.name) for d in importlib_metadata.distributions() if d.name}
        near = difflib.get_close_matches(name, sorted(names), n=1) or [n for n in names if n == f"roiextractors-{name}"]
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise _NotToBeCheckedError(
            f"no distribution {name!r:.80} is installed{hint} For a folder, give its path: ./{printable(name)}"
        ) from None
    points = [(point.name, point.value) for point in distribution.entry_points if point.group == GROUP]
    return _Distribution(
        str(distribution.name), str(distribution.version), tuple(points), tuple(distribution.requires or ())
    )


def _checks(distribution: _Distribution) -> Iterator[Check]:
    yield from _requirement_checks(distribution)
    if not distribution.points:
        yield Check(
            "entry point",
            "fault",
            f'there is none: in pyproject.toml, write [project.entry-points.{GROUP}] and below it {_format_name(distribution)} = "{_package(distribution)}.hooks"',
        )
        return
    seen: dict[str, str] = {}
    for name, value in sorted(distribution.points):
        # A fresh process: the plugin may be installed in another version, and importing it may crash
        outcome = in_fresh_process("look_over", {"module": value}, seconds=_SECONDS, folders=distribution.folders)
        ended = "it did not end" if outcome.timed_out else outcome.failure
        # Nothing was answered: the process ended inside the import, e.g. in a compiled module
        if not outcome.answers:
            yield Check("entry point", "fault", f"{name} = {value}: importing it ended the process: {ended}")
            continue
        declared, *answers = outcome.answers
        specs = {data["name"]: FormatSpec.from_dict(data) for data in declared["formats"]}
        yield from _declaration_checks(distribution, f"{name} = {value}", declared)
        for data in declared["formats"]:
            yield from _clash_checks(specs[data["name"]], distribution, seen)
            seen[data["name"]] = value
        yield from _answer_checks(answers, specs)
        if ended:
            yield Check("extractor", "fault", f"importing it, or asking its evidence, ended the process: {ended}")
    yield from _registry_checks(distribution)


def _format_name(distribution: _Distribution) -> str:
    return normalized(distribution.name).removeprefix("roiextractors-")


def _package(distribution: _Distribution) -> str:
    return normalized(distribution.name).replace("-", "_")


def _requirement_checks(distribution: _Distribution) -> Iterator[Check]:
    # A requirement ends where its extras, version, marker or URL begins (PEP 508)
    names = {normalized(re.split(r"[\s\[;<>=!~(@]", text.strip(), maxsplit=1)[0]) for text in distribution.requirements}
    if "roiextractors-core" not in names and normalized(distribution.name) != "roiextractors-core":
        yield Check(
            "dependencies",
            "fault",
            'roiextractors-core is missing: write dependencies = ["roiextractors-core"] in [project]',
        )


def _declaration_checks(distribution: _Distribution, point: str, declared: Mapping[str, Any]) -> Iterator[Check]:
    if declared["reason"]:
        yield Check(declared["stage"], "fault", f"{point}: {declared['reason']}")
        return
    specs = [FormatSpec.from_dict(data) for data in declared["formats"]]
    yield Check("entry point", "ok", point)
    yield Check("hook", "ok", f"it declares {listed(spec.name for spec in specs)}")
    yield _weight_check(point.partition(" = ")[2].partition(":")[0].strip(), declared)
    # Declarations refer to formats of the same plugin and of others (specializes), so all are registered first
    registry = _with(_others(distribution), specs)
    for spec in specs:
        faults = list(spec_faults(spec, registry))
        yield from (Check("declaration", "fault", words, spec.name) for words in faults)
        if not faults:
            yield Check("declaration", "ok", f"complete, for API number {spec.api}", spec.name)


def _weight_check(module: str, declared: Mapping[str, Any]) -> Check:
    words = f"importing {module} takes {1e3 * declared['seconds']:.1f} ms and brings in {counted(len(declared['modules']), 'module')}"
    heavy = heavy_imports(module, declared["imports"], declared["modules"])
    if heavy:
        more = f", and {len(heavy) - 3} more" if len(heavy) > 3 else ""
        advice = (
            "hooks.py should import only roiextractors_core, and __init__.py nothing; name the extractor as a string"
        )
        return Check("weight", "fault", f"{'; '.join(heavy[:3])}{more}: {advice}")
    if declared["seconds"] > SLOW_SECONDS:
        return Check("weight", "fault", f"{words}: more than {SLOW_SECONDS:g} s, in every session of every user")
    return Check("weight", "ok", words)


def _clash_checks(spec: FormatSpec, distribution: _Distribution, seen: Mapping[str, str]) -> Iterator[Check]:
    registry = _others(distribution)
    taken = {entry.spec.name: entry.plugin for entry in registry.catalogue() if not _is_own(entry.plugin, distribution)}
    taken |= {other.name: registry.owner(other.name) for other in registry.formats()}
    if spec.name in seen:
        yield Check("name", "fault", f"{spec.name!r} is declared twice, by {seen[spec.name]} too", spec.name)
    elif spec.name in taken:
        yield Check("name", "fault", f"{spec.name!r} is a format of {taken[spec.name]}: choose another name", spec.name)
    else:
        yield Check("name", "ok", "no other format has this name", spec.name)
    yield from _suffix_checks(spec, distribution, registry)


def _suffix_checks(spec: FormatSpec, distribution: _Distribution, registry: Registry) -> Iterator[Check]:
    others = {other.name: other for other in registry.formats()}
    others |= {e.spec.name: e.spec for e in registry.catalogue() if not _is_own(e.plugin, distribution)}
    shared = sorted(
        f"{suffix} ({other.name})"
        for other in others.values()
        for suffix in spec.extensions
        if suffix in other.extensions and other.name != spec.name
    )
    by_content = spec.evidence is not None and spec.evidence.has_content()
    if shared and not by_content:
        advice = "declare evidence of the content, or the formats cannot be distinguished"
        yield Check("suffix", "fault", f"shared with others: {', '.join(shared)}: {advice}", spec.name)
    elif shared:
        yield Check("suffix", "ok", f"shared with others, distinguished by content: {', '.join(shared)}", spec.name)
    elif spec.extensions:
        yield Check("suffix", "ok" if by_content else "note", _suffix_words(spec, by_content), spec.name)


def _suffix_words(spec: FormatSpec, by_content: bool) -> str:
    own = f"no other format has {', '.join(spec.extensions)}"
    return own if by_content else f"{own}; only the suffix identifies a file, so a renamed file is not recognised"


def _answer_checks(answers: Iterable[Mapping[str, Any]], specs: Mapping[str, FormatSpec]) -> Iterator[Check]:
    for answer in answers:
        if answer["stage"] == "foreign files":
            yield _claim_check(specs[answer["format"]], answer["claims"])
            continue
        if answer["stage"] == "random bytes":
            yield _random_check(answer["format"], answer["claims"])
            continue
        yield from (Check("extractor", "fault", words, answer["format"]) for words in answer["faults"])
        if not answer["faults"]:
            yield Check("extractor", "ok", "it can be imported and has all methods", answer["format"])


def _random_check(name: str, claims: tuple[str, ...]) -> Check:
    """Report evidence that says yes to anything: every file would match, and tie with its real format."""
    if not claims:
        return Check("random bytes", "ok", "the evidence does not match them", name)
    return Check("random bytes", "fault", f"the evidence matches {claims[0]}: narrow the evidence", name)


def _claim_check(spec: FormatSpec, claims: list[dict[str, str]]) -> Check:
    if not claims:
        return Check("foreign files", "ok", f"none of {len(foreign_sources())} matches", spec.name)
    words = ", ".join(f"{claim['name']}{claim['suffix']}" for claim in claims[:4])
    words += f" and {len(claims) - 4} more" if len(claims) > 4 else ""
    families = {claim["family"] for claim in claims}
    family = next(iter(families))
    by_content = spec.evidence is not None and spec.evidence.has_content()
    shares_suffix = bool(set(spec.extensions) & set(USUAL_SUFFIXES.get(family, ())))
    # A general TIFF or HDF5 format does open the files of others; without the suffix in common it is greedy
    if by_content and shares_suffix and len(families) == 1 and family in CONTAINERS:
        seen = f"it claims {words}: correct only for a general {family} format"
        return Check("foreign files", "note", seen, spec.name)
    seen = f"it claims {words}, which belong to others ({claims[0]['basis']}): narrow the evidence"
    return Check("foreign files", "fault", seen, spec.name)


def _registry_checks(distribution: _Distribution) -> Iterator[Check]:
    """Report an installed plugin that failed or is blocked in this environment."""
    # A folder may not be installed, so this environment says nothing about it
    if distribution.folders:
        return
    for record in default_registry().plugins():
        if _is_own(record.name, distribution) and record.status in ("failed", "blocked"):
            yield Check("plugin", "fault", f"here it is {record.status}: {record.reason}")


def _others(distribution: _Distribution) -> Registry:
    """Return a registry of all other installed plugins."""
    import importlib_metadata

    points = importlib_metadata.entry_points(group=GROUP)
    # Without its own entry points: the installed version would take the names that the folder declares
    kept = [point for point in points if point.dist is None or not _is_own(str(point.dist.name), distribution)]
    return Registry(entry_points=lambda: kept)


def _with(registry: Registry, specs: Iterable[FormatSpec]) -> Registry:
    for spec in specs:
        if registry.get(spec.name) is None and spec.api in API_NUMBERS:
            registry.register(spec)
    return registry


def _is_own(plugin: str, distribution: _Distribution) -> bool:
    return plugin != SESSION and normalized(plugin) == normalized(distribution.name)

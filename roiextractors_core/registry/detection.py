"""Which format a source is: every format is asked, the matches are ranked, and all of it can be explained."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import AmbiguousFormatError, FormatNotInstalledError, UnknownFormatError, printable
from .evidence import Evidence, Finding, Strength
from .registry import CatalogueEntry, PluginRecord, Registry, default_registry
from .source import Source, SourceLike
from .spec import FormatSpec, Match

__all__ = ["Explanation", "examine", "explain", "matching"]


def explain(source: SourceLike, *, registry: Registry | None = None) -> Explanation:
    """Return why a path would be opened the way it would, or why not; nothing is opened.

    Parameters
    ----------
    source : str, os.PathLike or list of them
    registry : Registry, optional
        The default one when left out.

    Returns
    -------
    Explanation
        Prints as text; ``to_dict()`` gives plain data.

    Raises
    ------
    SourceError
        The path is missing, empty, forbidden or no path.
    """
    with Source(source) as looked_at:
        return examine(looked_at, registry or default_registry())


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was asked and answered about a source.

    Attributes
    ----------
    path : str
    looks_like : str
        The bytes, in words.
    matches : tuple of Match
        Best first.
    best : Match or None
        The one that ``open`` takes; None when nothing matches or two tie.
    tied : tuple of Match
        The matches that share the first place, when more than one does.
    findings : tuple of (str, Finding)
        What every format that did not match was found to be, by name.
    not_installed : tuple of CatalogueEntry
        Formats that the catalogue recognises here and no plugin brings.
    set_aside : tuple of PluginRecord
    notes : tuple of str
    """

    path: str
    looks_like: str
    matches: tuple[Match, ...]
    best: Match | None
    tied: tuple[Match, ...]
    findings: tuple[tuple[str, Finding], ...]
    not_installed: tuple[CatalogueEntry, ...]
    set_aside: tuple[PluginRecord, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all of this as plain data."""
        return {
            "path": self.path,
            "looks_like": self.looks_like,
            "best": None if self.best is None else self.best.to_dict(),
            "matches": [match.to_dict() for match in self.matches],
            "tied": [match.spec.name for match in self.tied],
            "others": [
                {"format": name, "answer": finding.word, "basis": finding.basis} for name, finding in self.findings
            ],
            "not_installed": [
                {"format": e.spec.name, "title": e.spec.title, "plugin": e.plugin} for e in self.not_installed
            ],
            "set_aside": [record.to_dict() for record in self.set_aside],
            "notes": list(self.notes),
        }

    def require_best(self) -> Match:
        """Return the best match.

        Raises
        ------
        AmbiguousFormatError
            Two formats tie; both are named, and what to type.
        FormatNotInstalledError
            The catalogue knows the content and the plugin is not installed.
        UnknownFormatError
            Nothing matches.
        """
        if self.best is not None:
            return self.best
        if self.tied:
            raise AmbiguousFormatError(self._tie())
        if self.not_installed:
            raise FormatNotInstalledError(self._missing())
        raise UnknownFormatError(self._unknown())

    def advice(self) -> str:
        """Return a sentence about a more specific plugin that is not installed, or an empty string."""
        if self.best is None:
            return ""
        better = [e for e in self.not_installed if self.best.spec.name in e.spec.specializes]
        if not better:
            return ""
        return (
            f"{printable(self.path)} is {better[0].spec.title}, and is opened as plain {self.best.spec.title}, which does not know its "
            f"channels, planes and times; for those: python -m pip install {better[0].plugin}"
        )

    def __str__(self) -> str:
        lines = [f"{printable(self.path)}: {self.looks_like}"]
        for match in self.matches:
            mark = "->" if match is self.best else "  "
            lines.append(f" {mark} {match.spec.name} ({match.spec.title}, from {match.plugin}): {match.finding.basis}")
        if self.tied:
            lines.append(f"    a tie: {' and '.join(m.spec.name for m in self.tied)}; say which by format=")
        lines += [f"    not {name}: {finding.basis}" for name, finding in self.findings]
        lines += [
            f"    known, not installed: {e.spec.title}; python -m pip install {e.plugin}" for e in self.not_installed
        ]
        lines += [f"    set aside: {record.name}: {record.reason}" for record in self.set_aside]
        lines += [f"    note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _tie(self) -> str:
        names = [match.spec.name for match in self.tied]
        bases = "; ".join(f"{m.spec.name} ({m.plugin}): {m.finding.basis}" for m in self.tied)
        return f"{printable(self.path)} is claimed equally by {' and '.join(names)}; choose one: open(..., format={names[0]!r}). {bases}"

    def _missing(self) -> str:
        entry = self.not_installed[0]
        systems = "" if entry.spec.platforms == ("any",) else f" (for {', '.join(entry.spec.platforms)})"
        return f"{printable(self.path)} is {entry.spec.title}; the plugin that reads it is not installed: python -m pip install {entry.plugin}{systems}"

    def _unknown(self) -> str:
        tried = ", ".join(sorted({name for name, _ in self.findings})) or "none is installed"
        text = f"{printable(self.path)} is in no format that is known here: it looks like {self.looks_like}. Tried: {tried}."
        unsure = [f"{name} ({finding.basis})" for name, finding in self.findings if finding.answer is None]
        if unsure:
            text += f" Not sure: {'; '.join(unsure)}."
        if self.set_aside:
            text += " Set aside: " + "; ".join(f"{record.name} ({record.reason})" for record in self.set_aside) + "."
        return text + " If you know the format, name it: open(..., format=...)"


def examine(source: Source, registry: Registry) -> Explanation:
    """Ask every format about a source and rank those that match.

    Parameters
    ----------
    source : Source
    registry : Registry
    """
    ranked, findings = _answers(source, registry)
    first = _first_place(ranked, registry.preferences())
    return Explanation(
        path=str(source.path),
        looks_like=looks_like(source),
        matches=tuple(ranked),
        best=first[0] if len(first) == 1 else None,
        tied=tuple(first) if len(first) > 1 else (),
        findings=findings,
        not_installed=_known_elsewhere(source, registry, ranked),
        set_aside=tuple(record for record in registry.plugins() if record.status == "set aside"),
        notes=(*registry.settings_notes(), *registry.slow_notes()),
    )


def matching(source: Source, registry: Registry) -> tuple[Match, ...]:
    """Return the formats that match a source, best first; the catalogue of what is not installed is not asked.

    Parameters
    ----------
    source : Source
    registry : Registry
    """
    return tuple(_answers(source, registry)[0])


def looks_like(source: Source) -> str:
    """Return what the first bytes are, in words."""
    if source.is_folder:
        names = source.members
        return f"a folder of {len(names):,} names, the first {printable(names[0])!r}" if names else "an empty folder"
    head = source.head(512)
    for signature, words in _SIGNATURES.items():
        if head.startswith(signature):
            return words
    if source.is_hdf5:
        return "HDF5"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "an AVI video"
    if b"\0" not in head and _is_text(head):
        first = head.decode("utf-8", "replace").strip().splitlines()
        return f"text: {printable(first[0][:60])!r}" if first else "blank text"
    return f"bytes that begin {head[:16].hex(' ')}"


_SIGNATURES: Mapping[bytes, str] = {
    b"II*\0": "TIFF (little-endian)",
    b"MM\0*": "TIFF (big-endian)",
    b"II+\0": "BigTIFF (little-endian)",
    b"MM\0+": "BigTIFF (big-endian)",
    b"\x93NUMPY": "a NumPy array",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "gzip-compressed data; unpack it first",
    b"\xd0\xcf\x11\xe0": "an OLE compound file",
    b"MATLAB 5.0": "a MATLAB 5 file",
    b"\x80\x04": "a Python pickle, which is never loaded",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
}


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
    return all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)


def _answers(source: Source, registry: Registry) -> tuple[list[Match], tuple[tuple[str, Finding], ...]]:
    matches, findings = [], []
    own = {entry.spec.name for entry in registry.catalogue()}
    for spec in (spec for spec in registry.formats() if spec.kind == "imaging"):
        match, finding = _asked(spec, registry.owner(spec.name), source)
        if match is not None and match.strength is Strength.CONTENT and spec.name not in own:
            match = _weighed(match)
        if match is None:
            findings.append((spec.name, finding))
        else:
            matches.append(match)
    return _ranked(matches, registry.preferences()), tuple(findings)


def _asked(spec: FormatSpec, plugin: str, source: Source) -> tuple[Match | None, Finding]:
    extension = (
        next((suffix for suffix in source.suffixes if suffix in spec.extensions), "")
        if not source.is_folder or spec.extensions
        else ""
    )
    if spec.evidence is None:
        finding = Finding(
            bool(extension), f"the suffix is {extension}" if extension else "the suffix is another", Strength.NAME
        )
        if source.is_folder:
            finding = Finding(False, "this is a folder", Strength.NAME)
        return (Match(spec, plugin, Strength.NAME, finding, extension) if finding.answer else None), finding
    finding = spec.evidence.check(source)
    if finding.answer is True:
        if finding.strength is Strength.CONTENT or source.is_folder or extension or not spec.extensions:
            return Match(spec, plugin, finding.strength, finding, extension), finding
        return None, Finding(False, f"{finding.basis}, but the suffix is another", finding.strength)
    if finding.answer is None and extension and not source.is_folder:
        weak = Finding(None, f"the suffix is {extension}; {finding.basis}", Strength.NAME)
        return Match(spec, plugin, Strength.NAME, weak, extension), weak
    return None, finding


def _weighed(match: Match) -> Match:
    """Return the match, weak where the format says yes to noise as well: who claims everything comes last."""
    if match.spec.evidence is None or not _claims_noise(match.spec.evidence):
        return match
    basis = f"{match.finding.basis}; it claims bytes at random, too, so that this weighs nothing"
    weak = replace(match.finding, basis=basis, strength=Strength.NAME)
    return replace(match, spec=replace(match.spec, specializes=()), strength=Strength.NAME, finding=weak)


@functools.lru_cache(maxsize=4096)
def _claims_noise(evidence: Evidence) -> bool:
    import random
    import tempfile

    with tempfile.TemporaryDirectory(prefix="roiextractors-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "noise")
        path.write_bytes(random.Random(0).randbytes(8192))
        with Source(path) as noise:
            return evidence.check(noise).answer is True


def _ranked(matches: list[Match], preferences: Iterable[tuple[str, str]]) -> list[Match]:
    strength = _effective_strength(matches)
    beaten = _beaten(matches, preferences)
    return sorted(matches, key=lambda m: (beaten[m.spec.name], -strength[m.spec.name], -len(m.extension), m.spec.name))


def _first_place(ranked: list[Match], preferences: Iterable[tuple[str, str]]) -> list[Match]:
    if not ranked:
        return []
    strength, beaten = _effective_strength(ranked), _beaten(ranked, preferences)

    def rank(match: Match) -> tuple[int, int, int]:
        return beaten[match.spec.name], -strength[match.spec.name], -match.extension.count(".")

    return [match for match in ranked if rank(match) == rank(ranked[0])]


def _effective_strength(matches: list[Match]) -> dict[str, Strength]:
    """A format that specializes a matching one weighs at least as much as that one."""
    by_name = {match.spec.name: match for match in matches}
    found = {}
    for match in matches:
        below = [by_name[name].strength for name in _ancestors(match.spec, by_name)]
        found[match.spec.name] = max([match.strength, *below])
    return found


def _beaten(matches: list[Match], preferences: Iterable[tuple[str, str]]) -> dict[str, int]:
    """How many matching formats come before each, by specialization or by preference."""
    by_name = {match.spec.name: match for match in matches}
    preferred = {(winner, loser) for winner, loser in preferences if winner in by_name and loser in by_name}
    before: dict[str, set[str]] = {name: set() for name in by_name}
    for match in matches:
        for ancestor in _ancestors(match.spec, by_name):
            if (ancestor, match.spec.name) not in preferred:
                before[ancestor].add(match.spec.name)
    for winner, loser in preferred:
        before[loser].add(winner)
    return {name: len(names) for name, names in before.items()}


def _ancestors(spec: FormatSpec, by_name: Mapping[str, Match]) -> set[str]:
    found: set[str] = set()
    pending = list(spec.specializes)
    while pending:
        name = pending.pop()
        if name in found or name not in by_name:
            continue
        found.add(name)
        pending += by_name[name].spec.specializes
    return found - {spec.name}


def _known_elsewhere(source: Source, registry: Registry, ranked: list[Match]) -> tuple[CatalogueEntry, ...]:
    installed = {spec.name for spec in registry.formats()}
    present = {record.name for record in registry.plugins()}  # one that is blocked or set aside needs no installing
    found = []
    for entry in registry.catalogue():
        if entry.spec.name in installed or entry.plugin in present:
            continue
        match, _ = _asked(entry.spec, entry.plugin, source)
        if match is not None and match.finding.answer is True and (match.strength > Strength.NAME or not ranked):
            found.append((entry, match))
    specialized = {name for entry, _ in found for name in entry.spec.specializes}
    found.sort(key=lambda pair: (pair[0].spec.name in specialized, -pair[1].strength, pair[0].spec.name))
    return tuple(entry for entry, _ in found)

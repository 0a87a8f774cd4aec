"""The answer to "which format is this, and why": a value that prints as text and as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..cards import explanation_card
from ..errors import AmbiguousFormatError, FormatNotInstalledError, SourceKindError, UnknownFormatError, printable
from .catalogue import CatalogueEntry
from .discovery import PluginRecord
from .evidence import Finding
from .spec import FormatSpec, Match

__all__ = ["Explanation", "more_specific_advice", "other_kind_message"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which formats were asked about a source, and their answers.

    Attributes
    ----------
    path : str
    looks_like : str
        A description of the first bytes.
    matches : tuple of Match
        Best first.
    best : Match or None
        The one that ``open`` takes; None when nothing matches or two tie.
    tied : tuple of Match
        The matches that share the first place, when more than one does.
    findings : tuple of (str, Finding)
        Name and answer of every format that did not match.
    not_installed : tuple of CatalogueEntry
        Formats that the catalogue recognises here and no installed plugin provides.
    failed_plugins : tuple of PluginRecord
        Plugins that could not be loaded.
    notes : tuple of str
    kind : str
        What was looked for: ``"imaging"`` or ``"segmentation"``.
    other_kinds : tuple of Match
        The best match of the other kind, if the source is of both, or of that one only.
    """

    path: str
    looks_like: str
    matches: tuple[Match, ...]
    best: Match | None
    tied: tuple[Match, ...]
    findings: tuple[tuple[str, Finding], ...]
    not_installed: tuple[CatalogueEntry, ...]
    failed_plugins: tuple[PluginRecord, ...]
    notes: tuple[str, ...] = ()
    kind: str = "imaging"
    other_kinds: tuple[Match, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all of this as plain data."""
        return {
            "path": self.path,
            "looks_like": self.looks_like,
            "kind": self.kind,
            "other_kinds": [{"kind": match.spec.kind, **match.to_dict()} for match in self.other_kinds],
            "best": None if self.best is None else self.best.to_dict(),
            "matches": [match.to_dict() for match in self.matches],
            "tied": [match.spec.name for match in self.tied],
            "others": [{"format": name, "answer": f.word, "basis": f.basis} for name, f in self.findings],
            "not_installed": [
                {"format": e.spec.name, "title": e.spec.title, "plugin": e.plugin} for e in self.not_installed
            ],
            "failed_plugins": [record.to_dict() for record in self.failed_plugins],
            "notes": list(self.notes),
        }

    def require_best(self) -> Match:
        """Return the best match.

        Raises
        ------
        AmbiguousFormatError
            Two formats tie; the message names both, and what to type.
        FormatNotInstalledError
            The catalogue knows the content and the plugin is not installed.
        SourceKindError
            Only formats of the other kind match.
        UnknownFormatError
            Nothing matches.
        """
        if self.best is not None:
            return self.best
        # A tie comes first: what is installed can open the source as soon as the user has chosen
        if self.tied:
            raise AmbiguousFormatError(self._tie_message())
        if self.other_kinds:
            movie = self.looks_like.partition("; its movie ")[2] if self.kind == "imaging" else ""
            message = other_kind_message(self.path, self.other_kinds[0].spec)
            raise SourceKindError(f"{message}; its movie {movie}" if movie else message)
        if self.not_installed:
            raise FormatNotInstalledError(self._not_installed_message())
        raise UnknownFormatError(self._unknown_message())

    def advice(self) -> str:
        """Return a sentence about a more specific plugin that is not installed, or an empty string."""
        return "" if self.best is None else more_specific_advice(self.path, self.best, self.not_installed)

    def _repr_html_(self) -> str:
        return explanation_card(self)

    def __str__(self) -> str:
        lines = [f"{printable(self.path)}: {self.looks_like}"]
        for match in self.matches:
            mark = "->" if match is self.best else "  "
            lines.append(f" {mark} {match.spec.name} ({match.spec.title}, from {match.plugin}): {match.finding.basis}")
            lines += [f"    {match.spec.title} {match.spec.missing}"] if match.spec.missing else []
        for match in self.other_kinds:
            spec = match.spec
            lines.append(f"    as {spec.kind}: {spec.name} ({spec.title}, from {match.plugin}): {match.finding.basis}")
        if self.tied:
            lines.append(f"    a tie: {' and '.join(m.spec.name for m in self.tied)}; choose one with format=")
        lines += [f"    not {name}: {finding.basis}" for name, finding in self.findings]
        lines += [f"    known, not installed: {e.spec.title}; {e.how_to_install}" for e in self.not_installed]
        lines += [f"    failed: {record.name}: {record.reason}" for record in self.failed_plugins]
        lines += [f"    note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _tie_message(self) -> str:
        names = [match.spec.name for match in self.tied]
        bases = "; ".join(f"{m.spec.name} ({m.plugin}): {m.finding.basis}" for m in self.tied)
        return (
            f"{printable(self.path)} matches {' and '.join(names)} equally well; choose one: open(..., format={names[0]!r}), "
            f"or prefer one from now on: ROIEXTRACTORS_PREFER='{names[0]}>{names[1]}'. {bases}"
        )

    def _not_installed_message(self) -> str:
        entry = self.not_installed[0]
        systems = "" if entry.spec.platforms == ("any",) else f" (for {', '.join(entry.spec.platforms)})"
        return (
            f"{printable(self.path)} is {entry.spec.title}, but the plugin that reads it is not installed: "
            f"{entry.how_to_install}{systems}"
        )

    def _unknown_message(self) -> str:
        tried = ", ".join(sorted({name for name, _ in self.findings})) or "no format is installed"
        text = (
            f"could not identify the format of {printable(self.path)}: it looks like {self.looks_like}. Tried: {tried}."
        )
        unsure = [f"{name} ({finding.basis})" for name, finding in self.findings if finding.answer is None]
        if unsure:
            text += f" Uncertain: {'; '.join(unsure)}."
        if self.failed_plugins:
            failed = "; ".join(f"{record.name} ({record.reason})" for record in self.failed_plugins)
            text += f" Plugins that failed to load: {failed}."
        return text + " If you know the format, name it: open(..., format=...)"


def other_kind_message(path: str, spec: FormatSpec) -> str:
    """Return the sentence for a source that is only of the other kind than the one that was asked for."""
    contains = "a segmentation, not a movie" if spec.kind == "segmentation" else "a movie, not a segmentation"
    return f"{printable(path)} contains {contains} ({spec.title}); open(..., kind={spec.kind!r})"


def more_specific_advice(path: str, best: Match, not_installed: tuple[CatalogueEntry, ...]) -> str:
    """Return a sentence about the first plugin whose format specializes the best match, or an empty string."""
    better = next((entry for entry in not_installed if best.spec.name in entry.spec.specializes), None)
    if better is None:
        return ""
    return (
        f"{printable(path)} is {better.spec.title}, but it is opened as plain {best.spec.title}, without its channels, planes "
        f"and times; for these: {better.how_to_install}"
    )

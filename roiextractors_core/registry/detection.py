"""Which format a source is: every format is asked, the matches are ranked, and the result can be explained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..io.source import Source, SourceLike, looks_like
from .catalogue import CatalogueEntry, catalogue
from .discovery import normalized
from .evidence import Finding, Strength
from .explanation import Explanation, more_specific_advice
from .registry import Registry, RegistryState, default_registry
from .spec import KINDS, FormatSpec, Match, known_kind

__all__ = ["Explanation", "best_match", "choose", "examine", "explain", "matching"]


def explain(source: SourceLike, *, kind: str | None = None, registry: Registry | None = None) -> Explanation:
    """Return why a path would be opened in its format, or why it could not be; nothing is opened.

    Parameters
    ----------
    source : str, os.PathLike or list of them
    kind : str, optional
        ``"imaging"`` or ``"segmentation"``; by default imaging, or the one kind that the source is.
    registry : Registry, optional
        The default one when left out.

    Returns
    -------
    Explanation
        Prints as text; ``to_dict()`` gives plain data.

    Raises
    ------
    SourceError
        The path does not exist, is empty, may not be read or is not a valid path.
    """
    if kind is not None:
        known_kind(kind)
    with Source(source) as opened:
        return examine(opened, (registry or default_registry()).snapshot(), kind)


def examine(source: Source, state: RegistryState, kind: str | None = None) -> Explanation:
    """Ask every format about a source, installed or in the catalogue, and rank those that match."""
    rankings = {k: _rank_formats(source, state, k) for k in KINDS}
    if kind is None:
        kind = next((k for k in KINDS if rankings[k].matches), KINDS[0])
    return _explanation(source, state, rankings, kind)


def choose(source: Source, state: RegistryState, kind: str = KINDS[0]) -> tuple[Match, str]:
    """Return the format of this kind to open a source with, and advice about a better plugin (often empty).

    The full explanation is made only when it is needed for an error.

    Raises
    ------
    ChoiceError
        No format matches, or two match equally well.
    """
    ranking = _rank_formats(source, state, kind)
    if ranking.best is None:
        others = {other: _rank_formats(source, state, other) for other in KINDS if other != kind}
        return _explanation(source, state, {kind: ranking, **others}, kind).require_best(), ""
    # Only plugins that could do better are asked; the others would cost time in every call of open
    entries = [entry for entry in catalogue() if ranking.best.spec.name in entry.spec.specializes]
    candidates = _recognised_entries(source, state, entries, has_match=True)
    return ranking.best, more_specific_advice(str(source.path), ranking.best, candidates)


def best_match(source: Source, state: RegistryState, kind: str = KINDS[0]) -> Match | None:
    """Return the format that :func:`choose` returns, or None in place of its errors, which take longer than all checks."""
    return _rank_formats(source, state, kind).best


def matching(source: Source, state: RegistryState) -> tuple[Match, ...]:
    """Return the installed formats that match a source, best first."""
    return tuple(match for kind in KINDS for match in _rank_formats(source, state, kind).matches)


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The matches, best first, those that share the first place, and the answers of all other formats; None is a no without reason."""

    matches: tuple[Match, ...]
    first_place: tuple[Match, ...]
    findings: tuple[tuple[str, Finding | None], ...]

    @property
    def best(self) -> Match | None:
        return self.first_place[0] if len(self.first_place) == 1 else None


def _explanation(source: Source, state: RegistryState, rankings: Mapping[str, _Ranking], kind: str) -> Explanation:
    ranking, others = rankings[kind], [r.matches[:1] for other, r in rankings.items() if other != kind]
    return Explanation(
        path=str(source.path),
        looks_like=looks_like(source),
        matches=ranking.matches,
        best=ranking.best,
        tied=ranking.first_place if len(ranking.first_place) > 1 else (),
        findings=tuple((name, why or _ask(state.specs[name], "", source)[1]) for name, why in ranking.findings),
        not_installed=_recognised_entries(source, state, catalogue(), has_match=bool(ranking.matches), kind=kind),
        failed_plugins=state.failed_plugins,
        notes=state.notes,
        kind=kind,
        other_kinds=tuple(match for matches in others for match in matches),
    )


def _rank_formats(source: Source, state: RegistryState, kind: str) -> _Ranking:
    matches, findings = [], list[tuple[str, Finding | None]]()
    for spec in state.specs.values():
        if spec.kind != kind:
            continue
        if _is_excluded(spec, source):  # most formats; the reason is found when somebody asks for it
            findings.append((spec.name, None))
            continue
        match, finding = _ask(spec, state.owner(spec.name), source)
        if match is None:
            findings.append((spec.name, finding))
        else:
            matches.append(match)
    ranks = _ranks(matches, state.preferences)
    # By name in the end: the order of installation must not decide
    matches.sort(key=lambda match: (ranks[match.spec.name], match.spec.name))
    first_place = [match for match in matches if ranks[match.spec.name] == ranks[matches[0].spec.name]]
    return _Ranking(tuple(matches), tuple(first_place), tuple(findings))


# Does one format match?


def _is_excluded(spec: FormatSpec, source: Source) -> bool:
    try:
        return spec.evidence is not None and spec.evidence.excludes(source)
    except Exception:  # noqa: BLE001 - whatever a check can raise: it says itself what failed
        return False


def _ask(spec: FormatSpec, plugin: str, source: Source) -> tuple[Match | None, Finding]:
    """Return the match of one format, or None, and the answer of its evidence.

    ======================  =====================  ==============  ==========================
    evidence says           the declared suffix    source          result
    ======================  =====================  ==============  ==========================
    (none is declared)      is there               file            match by name
    (none is declared)      otherwise              any             no match
    yes, from content       any                    any             match by content
    yes, otherwise          any                    folder          match by neighbours or name
    yes, otherwise          is there, or none is   file            match by neighbours or name
    yes, otherwise          is another             file            no match
    unknown                 is there               file            match by name
    unknown                 otherwise              any             no match
    no                      any                    any             no match
    ======================  =====================  ==============  ==========================
    """
    # The source's suffixes begin with the longest: ".ome.tif" before ".tif"
    suffix = next((suffix for suffix in source.suffixes if suffix in spec.extensions), "")
    finding = _ask_suffix(suffix, source) if spec.evidence is None else spec.evidence.check(source)
    if finding.answer is True and not _is_sufficient(finding, spec, suffix, source):
        return None, Finding(False, f"{finding.basis}, but the suffix is different", finding.strength)
    is_match = finding.answer is True
    if finding.answer is None and suffix and not source.is_folder:
        # The evidence could not be checked (h5py is missing, the file is damaged): only the suffix remains
        is_match = True
        finding = Finding(None, f"the suffix is {suffix}; {finding.basis}", Strength.NAME)
    return Match(spec, plugin, finding.strength, finding, suffix) if is_match else None, finding


def _ask_suffix(suffix: str, source: Source) -> Finding:
    if source.is_folder:
        return Finding(False, "this is a folder", Strength.NAME)
    return Finding(bool(suffix), f"the suffix is {suffix}" if suffix else "the suffix is different", Strength.NAME)


def _is_sufficient(finding: Finding, spec: FormatSpec, suffix: str, source: Source) -> bool:
    """Whether a yes is enough: neighbours of a file say little about it, unless its suffix fits too."""
    return finding.strength is Strength.CONTENT or source.is_folder or bool(suffix) or not spec.extensions


# Which match is better?


def _ranks(matches: Iterable[Match], preferences: Iterable[tuple[str, str]]) -> Mapping[str, tuple[int, int, int]]:
    """Return the rank of each match by format name: lower is better, and equal ranks are a tie.

    First come the formats with fewer others before them, by specialization or by preference; then those
    with the stronger evidence; then those with the longer compound suffix (``.ome.tif`` before ``.tif``).
    """
    by_name = {match.spec.name: match for match in matches}
    ancestors = {name: _ancestors(match.spec, by_name) for name, match in by_name.items()}
    # Evidence that could not be checked (the disk fails, the folder may not be listed) does not beat the general format
    unsure = {name for name, match in by_name.items() if match.finding.answer is None}
    num_general = {name: len(ancestors[name]) if name in unsure else 0 for name in by_name}
    ancestors = {name: set() if name in unsure else names for name, names in ancestors.items()}
    num_before = _num_before(ancestors, preferences)
    ranks = {}
    for name, match in by_name.items():
        # A format that specializes a matching one has at least the evidence of that one
        strength = max([match.strength, *(by_name[ancestor].strength for ancestor in ancestors[name])])
        ranks[name] = num_before[name] + num_general[name], -strength, -match.extension.count(".")
    return ranks


def _num_before(ancestors: Mapping[str, set[str]], preferences: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return how many of the matching formats come before each; a preference overrides a specialization."""
    preferred = {pair for pair in preferences if pair[0] in ancestors and pair[1] in ancestors}
    before: dict[str, set[str]] = {name: set() for name in ancestors}
    for name, more_general in ancestors.items():
        for ancestor in more_general:
            # Keeping both would put each before the other, and so make a tie of what the user decided
            if (ancestor, name) not in preferred:
                before[ancestor].add(name)
    for winner, loser in preferred:
        before[loser].add(winner)
    return {name: len(names) for name, names in before.items()}


def _ancestors(spec: FormatSpec, by_name: Mapping[str, Match]) -> set[str]:
    """Return the matching formats that this one specializes, directly or through others; cycles are harmless."""
    ancestors: set[str] = set()
    pending = list(spec.specializes)
    while pending:
        name = pending.pop()
        if name not in ancestors and name in by_name:
            ancestors.add(name)
            pending += by_name[name].spec.specializes
    return ancestors - {spec.name}


# Formats that are not installed


def _recognised_entries(
    source: Source, state: RegistryState, entries: Iterable[CatalogueEntry], *, has_match: bool, kind: str = KINDS[0]
) -> tuple[CatalogueEntry, ...]:
    """Return the entries that are not installed and match, the more specific and the more certain first.

    A match by name alone counts only where no installed format matches.
    """
    known_plugins = {normalized(record.name) for record in state.plugins}  # blocked or failed: installing is no remedy
    recognised = []
    for entry in entries:
        if entry.spec.name in state.specs or normalized(entry.plugin) in known_plugins:
            continue
        match, _ = _ask(entry.spec, entry.plugin, source)
        if match is not None and match.finding.answer is True and (match.strength > Strength.NAME or not has_match):
            recognised.append((entry, match))
    specialized = {name for entry, _ in recognised for name in entry.spec.specializes}
    recognised.sort(
        key=lambda pair: (
            *(pair[0].spec.kind != kind, pair[0].spec.name in specialized, -pair[1].strength, pair[0].spec.name),
        )
    )
    return tuple(entry for entry, _ in recognised)

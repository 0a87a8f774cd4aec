"""Generates the list of formats from their declarations when the pages are built."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from packages import install_command, keywords
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import roiextractors_core as roi
from roiextractors_core.registry.evidence import Evidence

__all__ = ["declared", "setup", "words"]

KINDS = {"imaging": "movie", "segmentation": "ROIs"}
TIMES = {"native": "per sample", "rate": "rate", "none": "not stored"}
CLOCKS = {"native": "the time of every sample", "rate": "a rate", "none": "none; pass `sampling_frequency=`"}


class Gallery(SphinxDirective):
    """``{gallery} table`` inserts a table of all formats, ``sections`` a section for each, ``imaging`` the names of a kind."""

    required_arguments = 1
    has_content = False

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # declarations change without the page
        chosen = self.arguments[0]
        if chosen == "table":
            return [nodes.raw("", table(), format="html")]
        lines = sections() if chosen == "sections" else names(chosen)
        place = nodes.Element()
        place.document = self.state.document
        self.state.nested_parse(StringList(list(lines), "gallery"), 0, place, match_titles=True)
        return place.children


def declared() -> list[tuple[roi.FormatSpec, str]]:
    """Return the formats of the core, the catalogue and the installed plugins, each with its distribution."""
    registry = roi.Registry(environment={})
    found = {entry.spec.name: (entry.spec, entry.plugin) for entry in registry.catalogue()}
    for spec in registry.formats():  # an installed declaration is newer than that of the catalogue
        found[spec.name] = (spec, registry.owner(spec.name))
    return sorted(found.values(), key=lambda pair: pair[0].title.lower())


def table() -> str:
    """Return the table as HTML; formats.js adds the search to it."""
    heads = ("format", "suffixes", "opens", "choose by", "times", "package")
    formats = declared()
    rows = "\n".join(row(spec, plugin, heads, formats) for spec, plugin in formats)
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<table class="table stacks formats" id="formats-table"><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>'
        '<script src="_static/formats.js"></script>'
    )


def row(spec: roi.FormatSpec, plugin: str, heads: tuple[str, ...], formats: list[tuple[roi.FormatSpec, str]]) -> str:
    """Return a row of the table as HTML, with the words by which it can be found."""
    siblings = [other for other, owner in formats if owner == plugin and other is not spec]
    found = " ".join((text_of(spec), plugin, *keywords_of(spec, plugin, siblings))).lower()
    cells = (
        f'<a href="#format-{spec.name}">{html.escape(spec.title)}</a>',
        tags(spec.extensions) or "a folder",
        KINDS[spec.kind],
        tags(spec.streams) or "–",
        TIMES[spec.clock],
        html.escape(plugin),
    )
    inside = "".join(f'<td data-label="{name}">{cell}</td>' for name, cell in zip(heads, cells, strict=True))
    return f'<tr data-kind="{spec.kind}" data-words="{html.escape(found)}">{inside}</tr>'


def text_of(spec: roi.FormatSpec) -> str:
    """Return the text of a declaration in which a search looks."""
    return " ".join((spec.title, spec.name, spec.description, *spec.extensions))


def keywords_of(spec: roi.FormatSpec, plugin: str, siblings: list[roi.FormatSpec]) -> list[str]:
    """Return the keywords of a plugin for one of its formats, without those of its other formats."""
    others = " ".join(map(text_of, siblings)).lower()
    own = text_of(spec).lower()
    return [word for word in keywords(plugin) if word.lower() in own or word.lower() not in others]


def tags(values: tuple[str, ...]) -> str:
    """Return the values as code in HTML."""
    return " ".join(f"<code>{html.escape(value)}</code>" for value in values)


def names(kind: str) -> Iterator[str]:
    """Yield the titles of the formats of a kind, each with a link to its section."""
    yield " · ".join(f"[{spec.title}](gallery.md#format-{spec.name})" for spec, _ in declared() if spec.kind == kind)


def sections() -> Iterator[str]:
    """Yield the lines of the sections in MyST."""
    for spec, plugin in declared():
        yield from section(spec, plugin)


def section(spec: roi.FormatSpec, plugin: str) -> Iterator[str]:
    """Yield the lines about one format."""
    yield from ("", f"(format-{spec.name})=", f"## {spec.title}", "", spec.description, "")
    kind_of = f", a kind of {code(spec.specializes)}" if spec.specializes else ""
    rows = {
        "package": f"`{plugin}`",
        "to install": f"`{install_command(plugin)}`",
        "opens": "a movie" if spec.kind == "imaging" else 'ROIs, masks or traces, with `kind="segmentation"`',
        "`format=`": f"`{spec.name}`{kind_of}",
        "suffixes": code(spec.extensions) or "none",
        "recognised by": words(spec.evidence) if spec.evidence is not None else "its suffix only",
        "streams": code(spec.streams) or "none",
        "clock": CLOCKS[spec.clock],
        "metadata": code(spec.metadata) or "none",
        "platforms": "any" if spec.platforms == ("any",) else ", ".join(spec.platforms),
    }
    for key, value in rows.items():
        yield f":{key}: {value}"


def code(values: tuple[str, ...]) -> str:
    """Return the values as code, separated by commas."""
    return ", ".join(f"`{value}`" for value in values)


def words(evidence: Evidence) -> str:
    """Return evidence in words, in Markdown."""
    return spoken(evidence.to_dict())


def spoken(told: dict[str, Any], *, inside: bool = False) -> str:
    """Return the plain data of evidence in words."""
    kind = told["kind"]
    if kind in ("all", "any"):
        joined = (" and " if kind == "all" else ", or ").join(spoken(part, inside=True) for part in told["parts"])
        return f"({joined})" if inside and kind == "any" else joined
    where = f" in `{told['file']}`" if told.get("file") else ""
    if kind == "magic":
        return f"the bytes `{bytes.fromhex(told['signature']).hex(' ')}` at {'byte ' + str(told['offset']) if told['offset'] else 'the start'}"
    if kind == "tiff_tag":
        test = next((key for key in ("equals", "startswith", "contains", "matches") if told.get(key) is not None), None)
        verb = {"equals": "is", "startswith": "begins with", "contains": "contains", "matches": "matches"}.get(
            test or ""
        )
        return f"the TIFF tag `{told['tag']}`" + (f" that {verb} `{str(told[test]).strip()}`" if test else "")
    if kind == "hdf5_path":
        return f"the HDF5 path `{told['path']}`" + (f" with `{told['attribute']}`" if told.get("attribute") else "")
    if kind == "xml_root":
        return f"XML with the root `{told['name']}`{where}"
    if kind == "text":
        tests = [(word, told[word]) for word in ("contains", "matches") if told.get(word)]
        return "text that " + " and ".join(f"{word} ``{value}``" for word, value in tests) + where
    if kind == "json_key":
        return f"the JSON key `{told['key']}`{where}"
    return {
        "member": "a folder with `{0}`",
        "sibling": "`{0}` next to it",
        "name": "the name `{0}`",
        "probe": "a probe of its content",
    }[kind].format(told.get("glob", ""))


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("gallery", Gallery)
    return {"parallel_read_safe": True, "env_version": 1}

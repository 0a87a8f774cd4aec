"""Generates the tables of the page about installing from the ``pyproject.toml`` files when the pages are built."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from roiextractors_core.registry.catalogue import ON_THE_INDEX

__all__ = ["EXTRAS", "install_command", "keywords", "projects", "setup"]

ROOT = Path(__file__).resolve().parents[2]
CORE = "roiextractors-core"
EXTRAS = {
    "cli": "the `roiextractors` command",
    "plot": "pictures: `preview`",
    "dask": "`to_dask`, and computing on a cluster",
    "xarray": '`to_xarray`, and `engine="roiextractors"` of xarray',
}


class Packages(SphinxDirective):
    """``{packages} plugins`` and ``extras`` insert a table, ``python`` the supported versions, ``command NAME`` how to install."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # the files change without the page
        if self.arguments[0] == "command":
            command = install_command(self.arguments[1])
            return [nodes.literal_block(command, command, language="shell")]
        lines = {"plugins": plugins, "extras": extras, "python": python}[self.arguments[0]]()
        place = nodes.Element()
        place.document = self.state.document
        self.state.nested_parse(StringList(list(lines), "packages"), 0, place)
        return place.children


@cache
def projects() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Return the folder and the ``[project]`` table of each distribution of this repository, the core first."""
    found = {}
    for path in (ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))):
        table = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        found[table["name"]] = (path.parent, table)
    return found


def requirement(text: str) -> tuple[str, str]:
    """Return the name in a requirement, and its extras with their brackets."""
    name, extra = re.fullmatch(r"([A-Za-z0-9._-]+)(\[[^]]*\])?.*", text.strip()).groups()
    return name, extra or ""


def closure(distribution: str) -> list[str]:
    """Return the distributions of this repository that one needs, in order of installation, itself last."""
    own = [name for name, _ in map(requirement, projects()[distribution][1]["dependencies"]) if name in projects()]
    needed = [needed for name in own for needed in closure(name)]
    return list(dict.fromkeys([*needed, distribution]))


def install_command(distribution: str) -> str:
    """Return the command that installs a distribution today."""
    if ON_THE_INDEX or distribution not in projects():
        return f"python -m pip install {distribution}"
    folders = (projects()[name][0].relative_to(ROOT).as_posix() for name in closure(distribution))
    return "python -m pip install " + " ".join("." if folder == "." else f"./{folder}" for folder in folders)


def keywords(distribution: str) -> tuple[str, ...]:
    """Return the keywords of a distribution, which name makers and programs."""
    return tuple(projects()[distribution][1].get("keywords", ())) if distribution in projects() else ()


def plugins() -> Iterator[str]:
    """Yield the table of the plugins in MyST."""
    from gallery import declared

    yield "| plugin | opens | needs | optional |"
    yield "|---|---|---|---|"
    formats = declared()
    for name, (_, table) in projects().items():
        if name == CORE:
            continue
        opens = ", ".join(f"[{spec.title}](gallery.md#format-{spec.name})" for spec, owner in formats if owner == name)
        more = {key: values for key, values in table.get("optional-dependencies", {}).items() if key != "test"}
        optional = "; ".join(f"`[{key}]`: {libraries(values)}" for key, values in more.items())
        yield f"| `{name}` | {opens or table['description']} | {libraries(table['dependencies'])} | {optional or '–'} |"


def extras() -> Iterator[str]:
    """Yield the table of the extras of the core in MyST."""
    yield "| extra | adds | installs |"
    yield "|---|---|---|"
    for name, values in projects()[CORE][1]["optional-dependencies"].items():
        yield f"| `[{name}]` | {EXTRAS.get(name, '')} | {libraries(values)} |"


def libraries(requirements: list[str]) -> str:
    """Return the libraries in requirements, without the core and numpy, which every plugin needs."""
    shown = [(name, extra) for name, extra in map(requirement, requirements) if name not in (CORE, "numpy") or extra]
    return ", ".join(f"`{name}{extra}`" for name, extra in shown) or "–"


def python() -> Iterator[str]:
    """Yield the supported versions of Python."""
    told = (
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", text) for text in projects()[CORE][1]["classifiers"]
    )
    *first, last = [match[1] for match in told if match]
    yield f"Python {', '.join(first)} or {last}."


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("packages", Packages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

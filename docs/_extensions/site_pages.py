"""Adds to each page its links, its description for search engines, and labels to the cells of its tables."""

from __future__ import annotations

import html
import importlib
import inspect
import operator
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from jinja2 import Template
from jinja2.sandbox import SandboxedEnvironment
from numpydoc import docscrape_sphinx
from sphinx.application import Sphinx

__all__ = ["describe", "edit_url", "label_cells", "setup", "source_url"]

ROOT = Path(__file__).resolve().parents[2]
TABLE = re.compile(r'<table class="(?:docutils |align-default )*table">.*?</table>', re.DOTALL)
HEAD = re.compile(r"<thead>.*?</thead>", re.DOTALL)
ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
CELL = re.compile(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", re.DOTALL)
TAG = re.compile(r"<[^>]+>")


def edit_url(repository: str, source: str) -> str:
    """Return where to edit a page on the host of the repository, or "" without a repository.

    Parameters
    ----------
    repository : str
        The URL of ``[project.urls]``, or "".
    source : str
        The path of the page in ``docs/``, with its suffix.
    """
    return f"{repository.rstrip('/').removesuffix('.git')}/edit/main/docs/{source}" if repository else ""


def source_url(repository: str, module: str, name: str) -> str | None:
    """Return where a function or class is on the host of the repository, or None without a repository.

    Parameters
    ----------
    repository : str
        The URL of ``[project.urls]``, or "".
    module : str
        The module from which the name is imported.
    name : str
        The name in the module, with dots for methods.
    """
    if not repository or not module:
        return None
    try:
        target = inspect.unwrap(operator.attrgetter(name)(importlib.import_module(module)))
        target = target.fget if isinstance(target, property) else target
        file = Path(inspect.getsourcefile(target) or "").resolve()
        lines, start = inspect.getsourcelines(target)
    except (AttributeError, TypeError, OSError):  # a constant, or an alias
        return None
    if ROOT not in file.parents:
        return None
    where = f"{file.relative_to(ROOT).as_posix()}#L{start}-L{start + len(lines) - 1}"
    return f"{repository.rstrip('/').removesuffix('.git')}/blob/main/{where}"


def describe(title: str) -> str:
    """Return the description of a page that Sphinx generates, such as the index."""
    return f"{html.unescape(TAG.sub('', title))}: a page of the documentation of roiextractors-core."[:160]


def label_cells(body: str) -> str:
    """Name the column in each cell of the wide tables: on a narrow screen, their rows become lists."""
    return TABLE.sub(lambda found: _label_table(found[0]), body)


def _label_table(table: str) -> str:
    head = HEAD.search(table)
    names = [TAG.sub("", cell).strip() for cell in CELL.findall(head[0])] if head else []
    if len(names) < 2 or not names[1]:  # a table without a head
        return table
    before, after = table[: head.end()], table[head.end() :]
    before = before.replace('<table class="', '<table class="stacks ', 1)
    before = before.replace('"stacks', '"stacks many' if len(names) > 4 else '"stacks', 1)
    return before + ROW.sub(lambda row: _label_row(row[0], names), after)


def _label_row(row: str, names: list[str]) -> str:
    left = iter(names)

    def label(cell: re.Match[str]) -> str:
        kind = "" if TAG.sub("", cell[1]).strip() else ' class="empty"'
        return f'<td data-label="{next(left, "")}"{kind}>{cell[1]}</td>'

    return re.sub(r"<td\b[^>]*>(.*?)</td>", label, row, flags=re.DOTALL)


class KeptTemplates(SandboxedEnvironment):
    """Compiles a template once: numpydoc makes an environment for each docstring, a tenth of the time of the build."""

    _kept: dict[Any, Template] = {}

    def get_template(self, name: Any, *arguments: Any, **options: Any) -> Template:
        """Return the template of a name."""
        if name not in self._kept:
            self._kept[name] = super().get_template(name, *arguments, **options)
        return self._kept[name]


def finish_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.Node) -> None:
    """Complete the context of a page before its template is filled in."""
    source = context.get("page_source_suffix") and f"{pagename}{context['page_source_suffix']}"
    context["edit_url"] = edit_url(app.config.repository_url, source) if source else ""
    if 'name="description"' not in context.get("metatags", ""):
        described = html.escape(describe(context.get("title", pagename)))
        context["metatags"] = f'{context.get("metatags", "")}\n<meta name="description" content="{described}" />'
    if "body" in context:
        context["body"] = label_cells(context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the setting and the step."""
    docscrape_sphinx.SandboxedEnvironment = KeptTemplates
    app.add_config_value("repository_url", "", "html", types=frozenset({str}))
    app.connect("html-page-context", finish_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Draws the architecture from the code: ``python docs/_extensions/architecture.py`` writes ``docs/figures/architecture.svg``.

The rooms and their order are the contract of import-linter in ``pyproject.toml``; what each contains is the first sentence of its
docstring; the plugins are the folders of ``plugins/``. A test fails when the picture no longer agrees with them.
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path

__all__ = ["FIGURE", "drawing"]

ROOT = Path(__file__).resolve().parents[2]
FIGURE = ROOT / "docs" / "figures" / "architecture.svg"
_HIDDEN = {"__main__", "lazy"}  # one line, and what imports on first use: nobody looks for them
_WIDTH, _LEFT, _BOX, _GAP = 760, 36, 30, 6
# The page's colours where it has them (docs/_static/pages.css); otherwise, as on a page that shows the file as an image, these
_STYLE = """
.architecture { font-family: system-ui, sans-serif; color: #24292f; }
.architecture text { fill: var(--pst-color-text-base, currentColor); font-size: 13px; }
.architecture text.small { font-size: 11.5px; }
.architecture text.title { font-weight: 600; }
.architecture text.code { font-family: ui-monospace, monospace; font-size: 12px; }
.architecture .box { fill: none; stroke: var(--pst-color-border, #8c959f); stroke-width: 1.2; }
.architecture .line { fill: none; stroke: var(--pst-color-text-muted, #57606a); stroke-width: 1.4; }
.architecture .head { fill: var(--pst-color-text-muted, #57606a); }
@media (prefers-color-scheme: dark) { .architecture:root { color: #e6edf3; } }
"""


def drawing() -> str:
    """Return the picture as SVG."""
    lines, y = [], 34
    for layer in _layers():
        width = (_WIDTH - 14 - _LEFT - _GAP * (len(layer) - 1)) / len(layer)
        for place, room in enumerate(layer):
            lines += _box(
                _LEFT + place * (width + _GAP), y, width, room, _contents(room) if len(layer) == 1 else _shortly(room)
            )
        y += _BOX + _GAP
    rooms_end = y - _GAP
    y += 18
    note = "Each room imports only from those below it; rooms side by side do not import each other. No room names a plugin."
    lines += [_text(note, _LEFT, y, "small"), *_plugins(y + 38)]
    height = y + 38 + 126 + 16 * len(_plugin_names())
    return "\n".join(
        [
            f'<svg class="drawing architecture" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="arc-t arc-d">',
            '<title id="arc-t">The architecture of roiextractors-core</title>',
            f'<desc id="arc-d">{escape(_description())}</desc>',
            f"<style>{_STYLE}</style>",
            '<defs><marker id="arc-a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
            _text("roiextractors_core", _LEFT, 22, "title"),
            f'<path class="line" d="M18 40 V{rooms_end}" marker-end="url(#arc-a)"/>',
            *lines,
            "</svg>\n",
        ]
    )


def _plugins(y: int) -> Iterator[str]:
    """Yield what a plugin consists of, and the names of those in this repository."""
    parts = {
        "pyproject.toml": "names hooks.py as entry point",
        "hooks.py": "declares; imports only the core",
        "extractor.py": "reads; may import any library",
    }
    yield _text("a plugin, one distribution", _LEFT, y, "title")
    for place, (name, words) in enumerate(parts.items()):
        x = _LEFT + place * 242
        yield f'<rect class="box" x="{x}" y="{y + 12}" width="220" height="46" rx="4"/>'
        yield _text(name, x + 12, y + 31, "code")
        yield _text(words, x + 12, y + 49, "small")
        if place:
            yield f'<path class="line" d="M{x - 21} {y + 35} H{x - 3}" marker-end="url(#arc-a)"/>'
    yield _text(
        "The registry imports hooks.py on discovery; the factory imports extractor.py when its format was chosen.",
        _LEFT,
        y + 78,
        "small",
    )
    yield _text("plugins/", _LEFT, y + 104, "code")
    for number, line in enumerate(_plugin_names()):
        yield _text(line, _LEFT + 76, y + 104 + 16 * number, "small")


def _plugin_names() -> list[str]:
    return textwrap.wrap(", ".join(sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))), 96)


def _layers() -> Iterator[list[str]]:
    """Yield the rooms of each layer, from the highest to the lowest."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    for layer in next(contract for contract in contracts if contract["type"] == "layers")["layers"]:
        if rooms := [room.strip() for room in layer.split("|") if room.strip() not in _HIDDEN]:
            yield rooms


def _contents(room: str) -> str:
    package = ROOT / "roiextractors_core" / room / "__init__.py"
    file = package if package.is_file() else package.parent.with_suffix(".py")
    sentence = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    return sentence.partition(";")[0].rstrip(".").replace("`", "").replace("\n", " ")


def _shortly(room: str) -> str:
    """Return what fits into half a row."""
    return _contents(room).partition(":")[0].partition(",")[0]


def _box(x: float, y: int, width: float, room: str, words: str) -> Iterator[str]:
    yield f'<rect class="box" x="{x:g}" y="{y}" width="{width:g}" height="{_BOX}" rx="4"/>'
    yield _text(room, x + 12, y + 20, "code")
    yield _text(words, x + 112, y + 20, "small")


def _text(words: str, x: float, y: int, style: str) -> str:
    return f'<text class="{style}" x="{x:g}" y="{y}">{escape(words)}</text>'


def _description() -> str:
    rooms = ", ".join(" and ".join(layer) for layer in _layers())
    return (
        f"The rooms of the core, from top to bottom: {rooms}. Each imports only from those below it. A plugin consists of an entry point "
        "in pyproject.toml, a module hooks.py that declares formats, and a module extractor.py that reads them. The registry imports "
        "hooks.py on discovery; the factory imports extractor.py when its format was chosen. The core names no plugin."
    )


if __name__ == "__main__":
    FIGURE.write_text(drawing(), encoding="utf-8")

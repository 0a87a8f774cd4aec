"""Draws the tables of the page about performance as charts, and folds what they show, when the pages are built."""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

__all__ = ["Bar", "Line", "bar_chart", "fastest_rivals", "line_chart", "seconds", "setup"]

PAGE = "performance"
HEAD = ["benchmark", "ours", "compared with", "theirs", "ratio", "target"]
WIDE, NARROW = 720, 350
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


@dataclass(frozen=True, slots=True)
class Bar:
    """Our reader and the fastest of the others in one benchmark; above 1, ours is better."""

    label: str
    rival: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Line:
    """The seconds of one reader over the counts of a table of growth."""

    reader: str
    points: tuple[tuple[float, float], ...]


def cells_of(table: nodes.table) -> tuple[list[str], list[list[str]]]:
    """Return the text of the head and of the rows of a table."""
    head, *_ = ([entry.astext() for entry in row] for row in table.findall(nodes.row))
    body = next(table.findall(nodes.tbody))
    return head, [[entry.astext() for entry in row] for row in body]


def fastest_rivals(rows: Sequence[Sequence[str]]) -> list[Bar]:
    """Return the smallest ratio of each benchmark, without the physical limits, the best benchmark first."""
    bars: dict[str, Bar] = {}
    for name, _, rival, _, ratio, *_ in rows:
        if rival and not rival.endswith("(limit)"):
            value = float(ratio.replace(",", ""))
            if name not in bars or value < bars[name].ratio:
                bars[name] = Bar(name, rival, value)
    return sorted(bars.values(), key=lambda bar: -bar.ratio)


def shortened(bars: Sequence[Bar]) -> list[Bar]:
    """Return the bars without the words that most of their labels end with, such as "one frame"."""
    tails = Counter(bar.label.partition(", ")[2].rpartition(", ")[2] or bar.label.partition(", ")[2] for bar in bars)
    tail, count = tails.most_common(1)[0]
    common = f", {tail}" if tail and count > len(bars) / 2 else ""
    return [Bar(bar.label.removesuffix(common), bar.rival, bar.ratio) for bar in bars]


def bar_chart(bars: Sequence[Bar], better: str, worse: str, width: int) -> str:
    """Return a chart of ratios on a logarithmic scale as SVG: wide with labels beside the bars, narrow with labels above."""
    is_wide = width >= WIDE
    left, right, step, top = (300, 150, 22, 34) if is_wide else (4, 4, 40, 34)
    low = min(-1, math.floor(math.log10(min(max(bar.ratio, 1e-3) for bar in bars))))
    high = max(1, math.ceil(math.log10(max(bar.ratio for bar in bars))))

    def place(ratio: float) -> float:
        return left + (math.log10(max(ratio, 1e-3)) - low) / (high - low) * (width - left - right)

    height = top + step * len(bars) + 8
    parts = [
        f'<text class="small" x="{place(1) - 8:.0f}" y="12" text-anchor="end">{worse}</text>',
        f'<text class="small" x="{place(1) + 8:.0f}" y="12">{better}</text>',
    ]
    for power in range(low, high + 1):
        x = place(10.0**power)
        anchor = "start" if x < 20 else "end" if x > width - 20 else "middle"
        parts.append(
            f'<line class="{"one" if power == 0 else "grid"}" x1="{x:.1f}" x2="{x:.1f}" y1="30" y2="{height}"/>'
        )
        parts.append(f'<text class="small" x="{x:.1f}" y="26" text-anchor="{anchor}">{10.0**power:g}</text>')
    for number, bar in enumerate(bars):
        y = top + step * number
        start, end = sorted((place(1), place(bar.ratio)))
        kind = "good" if bar.ratio >= 1 else "slow"
        value = f"{bar.ratio:,.0f}" if bar.ratio >= 10 else f"{bar.ratio:.2f}"
        words = f"{value} ({html.escape(bar.rival)})"
        label, offset = html.escape(bar.label), 3 if is_wide else 20
        parts.append(
            f'<rect class="{kind}" x="{start:.1f}" y="{y + offset}" width="{max(end - start, 1):.1f}" height="14"/>'
        )
        if is_wide:
            parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{shorten(label, 40)}</text>')
            parts.append(f'<text class="small" x="{max(end, place(1)) + 6:.0f}" y="{y + 14}">{words}</text>')
        else:
            parts.append(f'<text x="{left}" y="{y + 14}">{shorten(label, 50 - len(words))}</text>')
            parts.append(f'<text class="small" x="{width - right}" y="{y + 14}" text-anchor="end">{words}</text>')
    return svg(width, height, "Ratios to the fastest other reader", f"{len(bars)} benchmarks", parts)


def line_chart(title: str, of: str, lines: Sequence[Line]) -> str:
    """Return a chart of the time over a count as SVG, both on logarithmic scales."""
    width, height, left, right, top, bottom = NARROW, 230, 52, 96, 12, 40
    xs = [math.log10(x) for line in lines for x, _ in line.points]
    ys = [math.log10(y) for line in lines for _, y in line.points]
    low, high = math.floor(min(ys)), math.ceil(max(ys))
    high = max(high, low + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - min(xs)) / ((max(xs) - min(xs)) or 1)
        up = (math.log10(y) - low) / (high - low)
        return left + across * (width - left - right), height - bottom - up * (height - top - bottom)

    parts = []
    for power in range(low, high + 1):
        y = place(10 ** min(xs), 10.0**power)[1]
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="small" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{duration(10.0**power)}</text>'
        )
    for x in sorted({x for line in lines for x, _ in line.points}):
        parts.append(
            f'<text class="small" x="{place(x, 10.0**low)[0]:.1f}" y="{height - 22}" text-anchor="middle">{x:,.0f}</text>'
        )
    parts.append(
        f'<text class="small" x="{(left + width - right) / 2}" y="{height - 5}" text-anchor="middle">{html.escape(of)}</text>'
    )
    heights: list[float] = []
    for line in sorted(lines, key=lambda line: line.points[-1][1]):
        kind = "ours" if line.reader == "ours" else "theirs"
        placed = [place(*point) for point in line.points]
        parts.append(f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in placed)}"/>')
        parts += [f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in placed]
        x, y = placed[-1]
        while any(abs(y - other) < 13 for other in heights):
            y -= 1
        heights.append(y)
        parts.append(
            f'<text class="small {kind}" x="{x + 7:.1f}" y="{y + 4:.1f}">{shorten(html.escape(line.reader), 22)}</text>'
        )
    return f'<figure class="lines"><figcaption>{html.escape(title)}</figcaption>{svg(width, height, title, of, parts)}</figure>'


def svg(width: int, height: float, title: str, description: str, parts: Sequence[str]) -> str:
    """Return the parts as a drawing, which takes its colours from the page."""
    size = "wide" if width >= WIDE else "narrow"
    return (
        f'<svg class="drawing chart {size}" role="img" viewBox="0 0 {width} {height:.0f}" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{html.escape(title)}</title><desc>{html.escape(description)}</desc>{''.join(parts)}</svg>"
    )


def shorten(text: str, length: int) -> str:
    """Return text that fits."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def duration(value: float) -> str:
    """Return a power of ten of seconds."""
    return next(
        f"{value / unit:g} {name.replace('u', 'µ')}"
        for name, unit in UNITS.items()
        if value >= unit * 0.999 or name == "us"
    )


def seconds(cell: str) -> float | None:
    """Return the seconds in a cell such as "104 ms (ratio 0.48)", or None if it is empty."""
    found = re.match(r"([\d,.]+) (s|ms)\b", cell)
    return float(found[1].replace(",", "")) * UNITS[found[2]] if found else None


def grown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[tuple[str, list[Line]]]:
    """Yield the series of a table of growth, each with the lines of its readers."""
    counts = [float(name.replace(",", "")) for name in head[2:]]
    title, lines = "", list[Line]()
    for name, reader, *cells in rows:
        if name and lines:
            yield title, lines
            lines = []
        title = name or title
        pairs = ((count, seconds(cell)) for count, cell in zip(counts, cells, strict=True))
        points = tuple((count, value) for count, value in pairs if value)
        lines += [Line(reader.removesuffix(" (limit)"), points)] if points else []
    if lines:
        yield title, lines


def missed_rows(table: nodes.table) -> nodes.table | None:
    """Return the table with the rows of missed targets only, or None if there are none."""
    short = table.deepcopy()
    body = next(short.findall(nodes.tbody))
    for row in list(body):
        if row[-1].astext() != "missed":
            body.remove(row)
    return short if len(body) else None


def raw(text: str) -> nodes.raw:
    """Return a piece of HTML."""
    return nodes.raw("", text, format="html")


def fold(summary: str, *content: nodes.Node) -> list[nodes.Node]:
    """Return content that is shown when its summary is opened."""
    return [raw(f'<details class="rows"><summary>{summary}</summary>'), *content, raw("</details>")]


def draw_section(section: nodes.section) -> None:
    """Put a chart above the table of a section, and fold the table and its notes."""
    table = next((child for child in section if isinstance(child, nodes.table)), None)
    if table is None:
        return
    head, rows = cells_of(table)
    place, notes = section.index(table), [child for child in section if isinstance(child, nodes.bullet_list)]
    if head[:6] == HEAD:
        bars = fastest_rivals(rows)
        count = f"All {len(rows)} rows"
        shown: list[nodes.Node] = []
        if len(bars) > 2:
            words = ("less memory →", "← more memory") if "MiB" in rows[0][1] else ("faster →", "← slower")
            charts = "".join(bar_chart(shortened(bars), *words, width) for width in (WIDE, NARROW))
            better = sum(bar.ratio >= 1 for bar in bars)
            sentence = (
                f"Ratio to the best other reader in each of {len(bars)} benchmarks; {better} of them are 1 or more."
            )
            shown += [nodes.paragraph("", sentence), raw(charts)]
        missed = missed_rows(table)
        if missed is not None:
            shown += [nodes.paragraph("", "Missed targets:"), missed]
    elif head[:2] == ["", "reader"]:
        of = section[0].astext().removeprefix("Number of ")
        charts = "".join(line_chart(title, of, lines) for title, lines in grown(head, rows))
        count, shown = "The figures", [raw(f'<div class="charts">{charts}</div>')]
    else:
        return
    for child in (table, *notes):
        section.remove(child)
    section[place:place] = [*shown, *fold(count, table, *notes)]


def draw_page(app: Sphinx, doctree: nodes.document) -> None:
    """Draw the charts of the page about performance, and fold the lists at its beginning."""
    if app.env.docname != PAGE:
        return
    top = next(doctree.findall(nodes.section))
    about = [child for child in top if isinstance(child, nodes.table)]
    if about:
        place = top.index(about[0])
        for table in about:
            top.remove(table)
        top[place:place] = fold("Machine and versions", *about)
    for section in list(doctree.findall(nodes.section)):
        if section is not top and section[0].astext() == "Missed targets":
            missed = [child for child in section if isinstance(child, nodes.bullet_list)]
            number = sum(len(child) for child in missed)
            for child in missed:
                section.remove(child)
            section += fold(f"All {number} benchmarks with missed targets", *missed) if missed else []
        elif section is not top:
            draw_section(section)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the step."""
    app.connect("doctree-read", draw_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

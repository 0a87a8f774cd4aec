"""What the benchmarks found, as a page: measured rows in, Markdown out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["GROUPS", "Row", "behind", "page", "rows_of"]

Row = Mapping[str, Any]

GROUPS = {
    "start": ("Import and discovery", "Whole processes, from their start to their end."),
    "detection": ("Detection", "Which format a file is of."),
    "opening": ("Opening", "With detection, until shape and dtype are known, and closed again."),
    "sequential": ("Sequential reading", "All samples into one new array; the file has been opened before."),
    "scattered": ("Scattered reading", "Frames at random places, in random order, in one call."),
    "single": ("One frame", "Frames at random places, one call each."),
    "part": ("A part of each frame", "64 x 64 pixels of each."),
    "times": ("Times", "Out of the metadata of each frame."),
    "memory": (
        "Memory beyond the result",
        "The peak of the process (VmHWM) beyond what it held before and beyond the array that is returned.",
    ),
}
HEAD = "| what | ours | beside | theirs | ratio | wanted | |\n|---|---|---|---|---|---|---|"


def rows_of(found: Mapping[str, Any]) -> list[Row]:
    """Return the measured rows of what pytest-benchmark wrote.

    Parameters
    ----------
    found : mapping
        The JSON of ``--benchmark-json``.
    """
    return [told["extra_info"] for told in found["benchmarks"] if "row" in told["extra_info"]]


def behind(row: Row) -> dict[str, str]:
    """Return the names of those beside whom a row is behind, each with the reason; "" is the name of a fixed bound.

    A rival is to be overtaken, the limit only to be come near to.
    """
    found: dict[str, str] = {}
    for name, values in row["rivals"].items():
        wanted = row["at_least"] if name == row["limit"] else 1
        if wanted is not None and round(values["ratio"], 2) < wanted:
            found[name] = f"{_ratio(values['ratio'])} of {name}'s, wanted {wanted:g}"
    at_most = row["at_most"]
    if at_most is not None and _number(row) > at_most:
        found[""] = f"{_figure(row, row['ours'])}, wanted at most {at_most:g} {_bound_unit(row)}"
    return found


def page(
    rows: Sequence[Row],
    *,
    command: str,
    date: str,
    machine: Mapping[str, str],
    versions: Mapping[str, str],
    failed: Sequence[str] = (),
) -> str:
    """Return the page.

    Parameters
    ----------
    rows : sequence of mapping
        As :func:`rows_of` returns them.
    command : str
        What wrote them.
    date : str
    machine, versions : mapping of str to str
    failed : sequence of str, optional
        What was to be measured and failed.
    """
    parts = [
        f"<!-- Written by `{command}`; do not change by hand. -->",
        "# Performance",
        f"Written by `{command}` on {date}.",
        _READING,
        _table("machine", machine),
        _table("version", versions),
        "## Where we are behind",
        _behind_of(rows, failed),
    ]
    plain = [row for row in rows if row["growth"] is None]
    for group in sorted({row["group"] for row in plain}, key=_place):
        title, sentence = GROUPS.get(group, (group.capitalize(), ""))
        parts += [f"## {title}", sentence, _group([row for row in plain if row["group"] == group])]
    parts += _growth([row for row in rows if row["growth"] is not None])
    parts += _missing(rows)
    return "\n\n".join(part for part in parts if part) + "\n"


_READING = (
    "Ours and the others are timed in the same rounds, one behind the other, after a first round that is dropped; figures are "
    "medians. *Ratio* says how many times as fast as the other we are: above 1 we are faster. "
    "What two of them read is compared before it is timed. The limit is `os.preadv` of the same bytes into a new array, or what else the table names; "
    "*wanted* stands where a share of the limit, or a bound, is aimed at. All files have just been written and are in the page cache: "
    "what is measured is the software, not the disk. On a machine with other work (a load well above 0) ratios near 1 mean little."
)


def _behind_of(rows: Sequence[Row], failed: Sequence[str]) -> str:
    lines = [
        f"- {GROUPS.get(row['group'], (row['group'],))[0]}: {_words(row)}: {'; '.join(found.values())}."
        for row in rows
        if (found := behind(row))
    ]
    lines += [f"- Not measured, since it failed: {name}." for name in failed]
    return "\n".join(lines) or "In no row."


def _group(rows: Sequence[Row]) -> str:
    notes: list[str] = []
    lines = [HEAD]
    for row in rows:
        lines += _lines(row)
        if row["note"]:
            notes.append(f"- {row['row']}: {row['note']}.")
    return "\n".join(lines) + ("\n\n" + "\n".join(notes) if notes else "")


def _lines(row: Row) -> Iterator[str]:
    found, ours = behind(row), _figure(row, row["ours"])
    bound = "" if row["at_most"] is None else f"<= {row['at_most']:g} {_bound_unit(row)}"
    told = "behind" if "" in found else ""
    if bound or not row["rivals"]:
        yield f"| {row['row']} | {ours} | | | | {bound} | {told} |"
    for name, values in row["rivals"].items():
        wanted = f">= {row['at_least']:g}" if name == row["limit"] and row["at_least"] is not None else ""
        theirs = _figure(row, values) + (" (one call)" if name in row["once"] else "")
        told = "behind" if name in found else ""
        yield f"| {row['row']} | {ours} | {_named(row, name)} | {theirs} | {_ratio(values['ratio'])} | {wanted} | {told} |"


def _growth(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table for each thing that cost may grow with."""
    if rows:
        yield "## How cost grows"
    for of in dict.fromkeys(row["growth"][0] for row in rows):
        chosen = [row for row in rows if row["growth"][0] == of]
        counts = sorted({row["growth"][1] for row in chosen})
        lines = [f"| | beside | {' | '.join(f'{count:,}' for count in counts)} |", "|---" * (2 + len(counts)) + "|"]
        for series in dict.fromkeys(row["row"] for row in chosen):
            cells = {row["growth"][1]: row for row in chosen if row["row"] == series}
            names = dict.fromkeys(name for row in cells.values() for name in row["rivals"])
            mine = [_figure(cells[count], cells[count]["ours"]) if count in cells else "" for count in counts]
            lines.append(f"| {series} | **ours** | {' | '.join(mine)} |")
            for name in names:
                theirs = [_cell(cells.get(count), name) for count in counts]
                lines.append(f"| | {_named(next(iter(cells.values())), name)} | {' | '.join(theirs)} |")
        notes = dict.fromkeys(f"- {row['row']}: {row['note']}." for row in chosen if row["note"])
        yield f"### With {of}"
        yield "\n".join(lines)
        yield "\n".join(notes)


def _cell(row: Row | None, name: str) -> str:
    if row is None or name not in row["rivals"]:
        return ""
    values = row["rivals"][name]
    told = ", behind" if name in behind(row) else ""
    return f"{_figure(row, values)} (ratio {_ratio(values['ratio'])}{told})"


def _missing(rows: Sequence[Row]) -> Iterator[str]:
    found = {f"- {name}: {reason}." for row in rows for name, reason in row["missing"].items()}
    if found:
        yield "## Not here when this was measured"
        yield "\n".join(sorted(found))


def _table(name: str, values: Mapping[str, str]) -> str:
    return "\n".join([f"| {name} | |", "|---|---|", *(f"| {key} | {value} |" for key, value in values.items())])


def _place(group: str) -> tuple[int, str]:
    order = list(GROUPS)
    return (order.index(group) if group in order else len(order), group)


def _words(row: Row) -> str:
    return str(row["row"]) + (f", {row['growth'][1]:,} {row['growth'][0]}" if row["growth"] else "")


def _named(row: Row, name: str) -> str:
    return f"{name}, the limit" if name == row["limit"] else name


def _number(row: Row) -> float:
    """Return our figure in the unit of a bound: milliseconds or MiB."""
    return float(row["ours"]["median"]) * (1 if row["unit"] == "MiB" else 1e3)


def _bound_unit(row: Row) -> str:
    return "MiB" if row["unit"] == "MiB" else "ms"


def _figure(row: Row, values: Mapping[str, float]) -> str:
    median = values["median"]
    if row["unit"] == "MiB":
        return f"{max(median, 0):.1f} MiB"
    if row["unit"] == "GB/s":
        return f"{row['nbytes'] / median / 1e9:.2f} GB/s"
    return (
        f"{median:.2f} s" if median >= 1 else f"{median * 1e3:.{3 if median < 1e-3 else 2 if median < 0.1 else 0}f} ms"
    )


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"

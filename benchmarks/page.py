"""Turns the measured rows into the Markdown of ``docs/performance.md``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["GROUPS", "Row", "missed_targets", "page", "rows_of"]

Row = Mapping[str, Any]

GROUPS = {
    "start": ("Import and discovery", "Whole processes, from start to exit."),
    "detection": ("Detection", "Identifying the format of a file."),
    "opening": ("Opening", "Open with detection, find shape and dtype, close."),
    "sequential": ("Sequential reading", "All samples into one new array, from a file that is already open."),
    "scattered": ("Scattered reading", "Random frames in random order, in one call."),
    "single": ("One frame", "Random frames, one call per frame."),
    "part": ("Part of each frame", "64 x 64 pixels of each frame."),
    "segmentation": ("Segmentations", "ROIs, masks and traces; opening includes detection."),
    "projections": ("Projections", "Each pixel of a recording over all samples, from a file that is already open."),
    "times": ("Times", "Sample times from the metadata of each frame."),
    "share": (
        "Calls on a network share",
        "System calls on the files of a recording from opening to closing, counted by strace; reading of pixels is not included.",
    ),
    "memory": (
        "Memory beyond the result",
        "Peak memory of the process (VmHWM), minus its memory before the call and minus the returned array.",
    ),
}
HEAD = "| benchmark | ours | compared with | theirs | ratio | target | |\n|---|---|---|---|---|---|---|"
WIDTH = 100  # of lines of Markdown


def rows_of(found: Mapping[str, Any]) -> list[Row]:
    """Return the measured rows from the output of pytest-benchmark.

    Parameters
    ----------
    found : mapping
        The JSON of ``--benchmark-json``.
    """
    return [entry["extra_info"] for entry in found["benchmarks"] if "row" in entry["extra_info"]]


def missed_targets(row: Row) -> dict[str, str]:
    """Return the missed targets of a row: what it is compared with ("" for a fixed bound), and the reason.

    The target against another reader is a ratio of 1; against the physical limit it is ``at_least``.
    """
    missed: dict[str, str] = {}
    for name, values in row["rivals"].items():
        target = row["at_least"] if name == row["limit"] else 1
        if target is not None and round(values["ratio"], 2) < target:
            bound = "" if target == 1 else f" (target {target:g})"
            missed[name] = f"ratio {_ratio(values['ratio'])} to {name}{bound}"
    at_most = row["at_most"]
    if at_most is not None and _number(row) > at_most:
        missed[""] = f"{_figure(row, row['ours'])} (target at most {at_most:g} {_bound_unit(row)})"
    return missed


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
        The command that measured them.
    date : str
    machine, versions : mapping of str to str
    failed : sequence of str, optional
        Benchmarks that failed.
    """
    parts = [
        _FRONT_MATTER,
        f"<!-- Written by `{command}`; do not edit. -->",
        "# Performance",
        f"Written by `{command}` on {date}.",
        _filled(_READING),
        _table("machine", machine),
        _table("version", versions),
        "## Missed targets",
        _missed_list(rows, failed),
    ]
    plain = [row for row in rows if row["growth"] is None]
    for group in sorted({row["group"] for row in plain}, key=_place):
        title, sentence = GROUPS.get(group, (group.capitalize(), ""))
        parts += [f"## {title}", sentence, _group([row for row in plain if row["group"] == group])]
    parts += _growth([row for row in rows if row["growth"] is not None])
    parts += _missing(rows)
    return "\n\n".join(part for part in parts if part) + "\n"


_FRONT_MATTER = """---
myst:
  html_meta:
    description: Time and memory of reading recordings with roiextractors-core, compared with tifffile, h5py, zarr, roiextractors and the speed of the disk.
---"""

_READING = (
    "Our reader and the others are timed in the same rounds, after a warm-up round; the figures are medians. A ratio "
    "above 1 means that ours is faster, or needs less memory. The arrays that the readers return are compared before "
    "they are timed. The limit is `os.preadv` of the same bytes into a new array, unless the table names another. The "
    "target is a fraction of the limit or a fixed bound; against other readers it is a ratio of 1. All files have just "
    "been written and are in the page cache, so the software is measured and not the disk. On a busy machine (load "
    "average well above 0), ratios near 1 mean little."
)


def _missed_list(rows: Sequence[Row], failed: Sequence[str]) -> str:
    lines = [
        _item(f"{GROUPS.get(row['group'], (row['group'],))[0]}: {_words(row)}: {'; '.join(missed.values())}.")
        for row in rows
        if (missed := missed_targets(row))
    ]
    lines += [_item(f"Not measured because it failed: {name}.") for name in failed]
    return "\n".join(lines) or "None."


def _group(rows: Sequence[Row]) -> str:
    notes: list[str] = []
    lines = [HEAD]
    for row in rows:
        lines += _lines(row)
        if row["note"]:
            notes.append(_item(f"{row['row']}: {row['note']}."))
    return "\n".join(lines) + ("\n\n" + "\n".join(notes) if notes else "")


def _lines(row: Row) -> Iterator[str]:
    missed, ours = missed_targets(row), _figure(row, row["ours"])
    bound = "" if row["at_most"] is None else f"<= {row['at_most']:g} {_bound_unit(row)}"
    mark = "missed" if "" in missed else ""
    if bound or not row["rivals"]:
        yield f"| {row['row']} | {ours} | | | | {bound} | {mark} |"
    for name, values in row["rivals"].items():
        target = f">= {row['at_least']:g}" if name == row["limit"] and row["at_least"] is not None else ""
        theirs = _figure(row, values) + (" (one call)" if name in row["once"] else "")
        mark = "missed" if name in missed else ""
        yield f"| {row['row']} | {ours} | {_named(row, name)} | {theirs} | {_ratio(values['ratio'])} | {target} | {mark} |"


def _growth(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table for each quantity that the cost may grow with."""
    if rows:
        yield "## Scaling"
    for of in dict.fromkeys(row["growth"][0] for row in rows):
        chosen = [row for row in rows if row["growth"][0] == of]
        counts = sorted({row["growth"][1] for row in chosen})
        lines = [f"| | reader | {' | '.join(f'{count:,}' for count in counts)} |", "|---" * (2 + len(counts)) + "|"]
        for series in dict.fromkeys(row["row"] for row in chosen):
            cells = {row["growth"][1]: row for row in chosen if row["row"] == series}
            names = dict.fromkeys(name for row in cells.values() for name in row["rivals"])
            mine = [_figure(cells[count], cells[count]["ours"]) if count in cells else "" for count in counts]
            lines.append(f"| {series} | **ours** | {' | '.join(mine)} |")
            for name in names:
                theirs = [_cell(cells.get(count), name) for count in counts]
                lines.append(f"| | {_named(next(iter(cells.values())), name)} | {' | '.join(theirs)} |")
        notes = dict.fromkeys(_item(f"{row['row']}: {row['note']}.") for row in chosen if row["note"])
        yield f"### Number of {of}"
        yield "\n".join(lines)
        yield "\n".join(notes)


def _cell(row: Row | None, name: str) -> str:
    if row is None or name not in row["rivals"]:
        return ""
    values = row["rivals"][name]
    mark = ", missed" if name in missed_targets(row) else ""
    return f"{_figure(row, values)} (ratio {_ratio(values['ratio'])}{mark})"


def _missing(rows: Sequence[Row]) -> Iterator[str]:
    found = {_item(f"{name}: {reason}.") for row in rows for name, reason in row["missing"].items()}
    if found:
        yield "## Not installed for this run"
        yield "\n".join(sorted(found))


def _table(name: str, values: Mapping[str, str]) -> str:
    return "\n".join([f"| {name} | |", "|---|---|", *(f"| {key} | {value} |" for key, value in values.items())])


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _item(text: str) -> str:
    return textwrap.fill(f"- {text}", WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _place(group: str) -> tuple[int, str]:
    order = list(GROUPS)
    return (order.index(group) if group in order else len(order), group)


def _words(row: Row) -> str:
    return str(row["row"]) + (f", {row['growth'][1]:,} {row['growth'][0]}" if row["growth"] else "")


def _named(row: Row, name: str) -> str:
    return f"{name} (limit)" if name == row["limit"] else name


def _number(row: Row) -> float:
    """Return our figure in the unit of a bound: milliseconds, MiB or calls."""
    return float(row["ours"]["median"]) * (1 if row["unit"] in ("MiB", "calls") else 1e3)


def _bound_unit(row: Row) -> str:
    return row["unit"] if row["unit"] in ("MiB", "calls") else "ms"


def _figure(row: Row, values: Mapping[str, float]) -> str:
    median = values["median"]
    if row["unit"] == "MiB":
        return f"{max(median, 0):.1f} MiB"
    if row["unit"] == "calls":
        return f"{median:,.0f} calls"
    if row["unit"] == "GB/s":
        return f"{row['nbytes'] / median / 1e9:.2f} GB/s"
    return (
        f"{median:.2f} s" if median >= 1 else f"{median * 1e3:.{3 if median < 1e-3 else 2 if median < 0.1 else 0}f} ms"
    )


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"

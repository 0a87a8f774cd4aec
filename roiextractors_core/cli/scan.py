"""`roiextractors scan FOLDER`: the recordings below a folder, as a table, JSON or CSV."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

import roiextractors_core as roi

from ..errors import counted, printable
from ..io.units import amount, duration
from . import terminal
from .arguments import AsJson
from .command_line import CommandLine

if TYPE_CHECKING:
    from ..interop.scan import Finding, Scan

__all__ = ["scan"]

_COLUMNS = (
    *("path", "kind", "format", "streams", "shape", "dtype", "sampling_frequency", "duration", "size"),
    *("missing", "notes", "error"),
)


def scan(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder. Folders inside it are searched, too.")],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of text.")] = False,
) -> None:
    """List the recordings below a folder with their format, channels, shape, rate, duration and size, and what is missing."""
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    with _progress() as progress:
        found = roi.scan(folder, progress=progress)
        if as_json:
            _print_json(found)
        elif as_csv:
            _print_csv(found)
        else:
            findings: list[Finding] = []
            try:
                findings.extend(found)
            finally:  # after Ctrl-C, the part that was found
                _print_table(found, findings)


@contextmanager
def _progress() -> Iterator[Any]:
    """Count the files on the terminal: how many there are is not known before the end."""
    with terminal.counter("looking at files") as count:
        yield lambda done, _total: count(done)


def _print_json(found: Iterable[Finding]) -> None:
    start = "[\n"
    try:
        for finding in found:
            print(f"{start} {json.dumps(finding.to_dict())}", end="", flush=True)
            start = ",\n"
    finally:  # one document, also after Ctrl-C
        print("[]" if start == "[\n" else "\n]")


def _print_csv(found: Iterable[Finding]) -> None:
    import csv  # no other subcommand needs it

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for finding in found:
        values = {
            **finding.to_dict(),
            "streams": _streams(finding),
            "shape": " x ".join(map(str, finding.shape)),
            "missing": ", ".join(finding.missing),
            "notes": "; ".join(finding.notes),
        }
        writer.writerow(["" if values[name] is None else printable(values[name]) for name in _COLUMNS])


def _print_table(found: Scan, findings: list[Finding]) -> None:
    opened = [finding for finding in findings if not finding.error]
    broken = [finding for finding in findings if finding.error]
    words = [counted(len(opened), "recording")]
    words += [f"{len(broken):,} that cannot be opened"] if broken else []
    words += [counted(found.num_unknown, "other file")] if found.num_unknown else []
    terminal.heading(f"{printable(found.folder)}: {', '.join(words)}")
    if opened:
        print()
        terminal.grid(
            ("path", "format", "streams", "shape", "type", "rate", "duration", "size", "missing"),
            (_cells(found, finding) for finding in opened),
            compact=True,
        )
    if broken:
        print()
        terminal.heading("cannot be opened")
        for finding in broken:
            line = CommandLine("info", (), (finding.path,), {"kind": "--kind", "format": "--format"}, frozenset())
            name, error = printable(_relative(found, finding)), printable(line.translate(finding.error))
            print(error if error.startswith(name) else f"{name}: {error}")


def _cells(found: Scan, finding: Finding) -> tuple[str, ...]:
    is_movie = finding.kind == "imaging"
    samples, *rest = finding.shape
    shape = (
        "x".join(map(str, finding.shape)) if is_movie else f"{counted(rest[0], 'ROI')}, {counted(samples, 'sample')}"
    )
    rate = "" if finding.sampling_frequency is None else f"{finding.sampling_frequency:.4g} Hz"
    return (
        printable(_relative(found, finding)),
        printable(finding.format),
        printable(_streams(finding)),
        shape,
        finding.dtype,
        rate,
        duration(finding.duration) if finding.duration else "",
        amount(finding.size),
        ", ".join(finding.missing),
    )


def _relative(found: Scan, finding: Finding) -> str:
    return os.path.relpath(finding.path, found.folder)


def _streams(finding: Finding) -> str:
    """Return the streams in words: ``"channels Green, Red"``; many are only counted."""
    words = []
    for option, values in finding.streams.items():
        noun = option.replace("_", " ")
        few = len(values) <= 4 and not all(value.isdecimal() for value in values)
        words.append(f"{noun}s {', '.join(values)}" if few and len(values) > 1 else counted(len(values), noun))
    return "; ".join(words)

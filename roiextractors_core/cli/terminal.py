"""Output to the terminal: tables, progress bars and one-line messages, in a pipe and in any encoding too."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from ..errors import RoiExtractorsError, printable
from ..io.notices import received_by
from .anonymous import current, public
from .command_line import advice, in_command_words

__all__ = [
    "card",
    "counter",
    "document",
    "encodable",
    "grid",
    "heading",
    "one_line_errors",
    "one_line_warnings",
    "paragraph",
    "print_message",
    "progress_bar",
    "sentence",
]

_LONG_WORD = 26  # a longer one, such as a pattern of file names, may be broken
_LONG_NAME = 40  # in the first column
_PIPE_WIDTH = 120  # fixed, so that output in a pipe or a log does not change with the terminal


def print_message(text: str) -> None:
    """Print one line to the standard error."""
    print(text, file=sys.stderr, flush=True)


def heading(text: str) -> None:
    """Print the name of a section, bold where the terminal can."""
    _print(Text(public(text), style="bold"), soft_wrap=True)  # so that a path can be copied whole


def paragraph(text: str) -> None:
    """Print a text that may take several lines, broken between words."""
    _print(Text(encodable(public(text))))


def card(rows: Iterable[tuple[str, str]]) -> None:
    """Print facts, one label and value per row; rows without a value are left out."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        if value:
            table.add_row(label, encodable(public(value, label)))
    _print(table)


def grid(headers: Iterable[str], rows: Iterable[Iterable[str]], *, compact: bool = False) -> None:
    """Print a table with a header; columns without a value in any row are left out.

    Where the terminal is too narrow for its words, each row is a paragraph.

    Parameters
    ----------
    headers, rows : iterable
    compact : bool
        In such a paragraph, join the values, the last one with its header; otherwise each has a line, with its header as a label.
    """
    names, lines = list(headers), [[encodable(public(cell)) for cell in row] for row in rows]
    kept = [k for k in range(len(names)) if any(line[k] for line in lines)]
    names, lines = [names[k] for k in kept], [[line[k] for k in kept] for line in lines]
    widths = _column_widths([names, *lines], _console(sys.stdout).width)
    if not widths:
        _print_paragraphs(names, lines, compact=compact)
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for name, width in zip(names, widths, strict=True):
        table.add_column(name, overflow="fold", width=width)
    for line in lines:
        table.add_row(*line)
    _print(table)


def _column_widths(lines: list[list[str]], width: int) -> list[int]:
    """Return the widths of the columns in which no word is broken, except very long ones; empty if they do not fit."""
    columns = list(zip(*lines, strict=True))
    width -= 2 * (len(columns) - 1)  # between two columns are a space and a space of the box
    least = [
        min(_LONG_WORD, max((cell_len(w) for cell in cells for w in cell.split()), default=1)) for cells in columns
    ]
    least[:1] = [min(_LONG_NAME, max(map(cell_len, columns[0]), default=1))] if columns else []
    spare = width - sum(least)
    if spare < 0:
        return []
    most = [max(1, *map(cell_len, cells)) for cells in columns]
    widths = list(least)
    # The narrow columns get what they need, and the widest get the rest
    for left, k in enumerate(sorted(range(len(columns)), key=lambda k: most[k] - least[k])):
        more = min(max(0, most[k] - least[k]), spare // (len(columns) - left))
        widths[k], spare = least[k] + more, spare - more
    return widths


def _print_paragraphs(names: list[str], lines: list[list[str]], *, compact: bool) -> None:
    for k, line in enumerate(lines):
        if k and not compact:
            print()
        # A column without a header is a mark of the next one
        num_first = 1 if names[0] else 2
        heading(" ".join(filter(None, line[:num_first])))
        rest = list(zip(names[num_first:], line[num_first:], strict=True))
        if compact:
            *most, (name, last) = rest
            text = ", ".join(cell for _, cell in most if cell) + (f"; {name}: {last}" if last else "")
            _print(Padding(Text(text), (0, 0, 0, 4)))
        else:
            card((f"  {name}", cell) for name, cell in rest)


def document(value: Any) -> None:
    """Print plain data as JSON."""
    anonymizer = current()
    _write(json.dumps(value if anonymizer is None else anonymizer.plain(value), indent=1) + "\n")


@contextmanager
def progress_bar(words: str, *, of_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on the standard error while the block runs, if that is a terminal.

    Parameters
    ----------
    words : str
    of_bytes : bool
        Whether the counts are bytes; the bar then shows their rate.

    Yields
    ------
    callable
        ``update(done, total)``.
    """
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    columns += [TransferSpeedColumn()] if of_bytes else []
    columns.append(TimeRemainingColumn())
    console = _console(sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(words, total=None)

        def update(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield update


@contextmanager
def counter(words: str) -> Iterator[Callable[[int], None]]:
    """Show a number that grows on the standard error while the block runs, if that is a terminal.

    Parameters
    ----------
    words : str

    Yields
    ------
    callable
        ``update(number)``.
    """
    console = _console(sys.stderr)
    with console.status(f"{words} ...") if console.is_terminal else nullcontext() as status:

        def update(number: int) -> None:
            if status is not None:
                status.update(f"{words}: {number:,}")

        yield update


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an error of this library or of the system as one line, and end the command with status 2; after Ctrl-C with 130."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has closed it: `roiextractors formats | head`
        # Python flushes stdout again at exit, and would print a second error about the closed pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except (RoiExtractorsError, OSError, MemoryError) as error:
        print_message(sentence(error))
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print_message("Interrupted.")
        raise SystemExit(130) from None  # 128 + SIGINT, as shells report it


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Print each warning once, as one line, while the block runs; for a program that owns its process."""
    said: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = f"warning: {_on_one_line(in_command_words(message))}"
        if text not in said:
            said.add(text)
            print_message(text)

    before, warnings.showwarning = warnings.showwarning, show  # of other libraries
    try:
        # Python's own filter counts by line of code, so it would repeat one text or drop another
        with received_by(show):
            yield
    finally:
        warnings.showwarning = before


def sentence(error: BaseException) -> str:
    """Return an error as one line without a traceback."""
    if isinstance(error, OSError) and not isinstance(error, RoiExtractorsError) and error.strerror:
        return error.strerror if error.filename is None else f"{printable(error.filename)}: {error.strerror}"
    said = _on_one_line(in_command_words(error)) or type(error).__name__
    said += advice(error)
    return f"not enough memory: {said}" if isinstance(error, MemoryError) else said


def encodable(text: str) -> str:
    """Return the text with u for the micro sign if the standard output cannot encode it."""
    try:
        # Code pages of Windows without the micro sign; errors="replace" would print a question mark as the unit
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return text.replace("µ", "u")
    return text


def _on_one_line(text: str) -> str:
    return printable(re.sub(r"\s*[\r\n]+\s*", " ", text.strip()))


def _console(stream: TextIO) -> Console:
    """Return a console that interprets no markup and whose width in a pipe does not depend on the terminal."""
    given = os.environ.get("COLUMNS", "")
    width = None if stream.isatty() else max(40, int(given)) if given.isdecimal() else _PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def _print(what: RenderableType, *, soft_wrap: bool = False) -> None:
    console = _console(sys.stdout)
    # rich pads lines to the width of the table, which makes copied text and comparisons of output awkward
    with console.capture() as captured:
        console.print(what, soft_wrap=soft_wrap)
    _write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")


def _write(text: str) -> None:
    """Write text in which names have been replaced, if they are to be."""
    stream: Any = sys.stdout
    getattr(stream, "write_public", stream.write)(text)

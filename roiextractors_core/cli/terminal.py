"""Output to the terminal: tables, progress bars and one-line messages, in a pipe and in any encoding too."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
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
from .command_line import in_command_words

__all__ = [
    "card",
    "encodable",
    "grid",
    "heading",
    "one_line_errors",
    "one_line_warnings",
    "print_message",
    "progress_bar",
    "sentence",
]

_PIPE_WIDTH = 120  # fixed, so that output in a pipe or a log does not change with the terminal


def print_message(text: str) -> None:
    """Print one line to the standard error."""
    print(text, file=sys.stderr, flush=True)


def heading(text: str) -> None:
    """Print the name of a section, bold where the terminal can."""
    _print(Text(text, style="bold", overflow="fold"))


def card(rows: Iterable[tuple[str, str]]) -> None:
    """Print facts, one label and value per row; rows without a value are left out."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        if value:
            table.add_row(label, encodable(value))
    _print(table)


def grid(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table with a header; columns without a value in any row are left out."""
    names, lines = list(headers), [list(row) for row in rows]
    kept = [k for k in range(len(names)) if any(line[k] for line in lines)]
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1), pad_edge=False, header_style="bold")
    for place, k in enumerate(kept):
        table.add_column(names[k], overflow="fold", no_wrap=place == 0)
    for line in lines:
        table.add_row(*(encodable(line[k]) for k in kept))
    _print(table)


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
        text = f"warning: {_on_one_line(in_command_words(str(message)))}"
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
    said = _on_one_line(in_command_words(str(error))) or type(error).__name__
    return f"there is not enough memory: {said}" if isinstance(error, MemoryError) else said


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


def _print(what: RenderableType) -> None:
    console = _console(sys.stdout)
    # rich pads lines to the width of the table, which makes copied text and comparisons of output awkward
    with console.capture() as captured:
        console.print(what)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))

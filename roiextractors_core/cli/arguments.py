"""Arguments that commands share; public, for commands that plugins add."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterable
from typing import Annotated, Any

import typer

import roiextractors_core as roi

from ..errors import SourceKindError, printable
from ..registry.spec import KINDS

__all__ = [
    "Anonymous",
    "AsJson",
    "Format",
    "Kind",
    "OnePath",
    "Options",
    "Paths",
    "complete_format",
    "complete_kind",
    "complete_written_format",
    "parse_options",
]


def complete_format(incomplete: str) -> list[tuple[str, str]]:
    """Return the formats whose names begin like this, for the shell."""
    return [(spec.name, spec.title) for spec in roi.formats() if spec.name.startswith(incomplete)]


def complete_written_format(incomplete: str) -> list[tuple[str, str]]:
    """Return the formats that can be written and whose names begin like this."""
    return [(spec.name, spec.title) for spec in roi.formats() if spec.writer and spec.name.startswith(incomplete)]


def complete_kind(incomplete: str) -> list[str]:
    """Return the kinds that begin like this."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]


Paths = Annotated[list[str], typer.Argument(metavar="PATH", help="One or more files or folders.")]
OnePath = Annotated[str, typer.Argument(metavar="PATH", help="A file or a folder.")]
Anonymous = Annotated[
    bool,
    typer.Option(
        "--anonymous",
        help="Replace names of folders, files, people and computers, so that the output can be published.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Pass another option of the format to open. Can be repeated."),
]
Kind = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        autocompletion=complete_kind,
        help="What to open: imaging (a movie) or segmentation (ROIs, masks, traces). By default, whatever the path contains.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(metavar="FORMAT", autocompletion=complete_format, help="Use this format instead of detecting it."),
]

_LITERAL = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?|[\[({].*[\])}]|true|false|null|True|False|None", re.DOTALL)


def parse_options(option: Iterable[str] | None, *, flag: str = "--option") -> dict[str, Any]:
    """Return the options that were given as ``name=value``.

    Parameters
    ----------
    option : iterable of str, optional
        A value that is a number, a list, ``true`` or ``false`` in JSON or in Python becomes that; the value of an option that chooses a stream
        stays text, since a channel may be called ``1``.
    flag : str
        The name of the option on the command line, for the error.

    Returns
    -------
    dict

    Raises
    ------
    SourceKindError
        A text is not ``name=value``.
    """
    texts = {stream for spec in roi.formats() for stream in spec.streams}
    return dict(_parse_option(text, texts, flag) for text in option or ())


def _parse_option(text: str, texts: Collection[str], flag: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key.isidentifier():
        raise SourceKindError(f"{flag} {printable(text)!r} is not NAME=VALUE")
    if key in texts or not _LITERAL.fullmatch(value):
        return key, value
    for read in (json.loads, ast.literal_eval):  # messages and the documentation write Python: True, (512, 512)
        try:
            return key, read(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return key, value

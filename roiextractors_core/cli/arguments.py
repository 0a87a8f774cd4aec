"""Arguments that commands share; public, for commands that plugins add."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import Annotated, Any

import typer

import roiextractors_core as roi

from ..errors import SourceKindError, printable

__all__ = ["AsJson", "Format", "Kind", "OnePath", "Options", "Paths", "parse_options"]

Paths = Annotated[list[str], typer.Argument(help="One or more files or folders.")]
OnePath = Annotated[str, typer.Argument(help="A file or a folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Options = Annotated[list[str] | None, typer.Option("--option", help="Pass NAME=VALUE to open. Can be repeated.")]
Kind = Annotated[
    str | None,
    typer.Option(
        help="What to open: imaging (a movie) or segmentation (ROIs, masks, traces). By default, whatever the path contains."
    ),
]
Format = Annotated[str | None, typer.Option(help="Use this format instead of detecting it.")]

_LITERAL = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?|\[.*\]|\{.*\}|true|false|null", re.DOTALL)


def parse_options(option: Iterable[str] | None, *, flag: str = "--option") -> dict[str, Any]:
    """Return the options that were given as ``name=value``.

    Parameters
    ----------
    option : iterable of str, optional
        A value that is a number, a list, ``true`` or ``false`` in JSON becomes that; the value of an option that chooses a stream
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
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value

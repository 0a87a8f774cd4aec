"""The commands that open a recording: the streams of all plugins as options, and messages in the words of the command line."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import roiextractors_core as roi

from ..io.notices import set_within
from .command_line import LINE, CommandLine
from .terminal import one_line_errors

__all__ = ["PlainCommand", "RecordingCommand"]

_PANEL = "Which part"
_HELP = {"dimension_order": "Read the axes in this order, for example TYX."}


class PlainCommand(TyperCommand):
    """A command whose help names its arguments without the types of Python."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line; typer writes ``{PATH}``, which reads like a choice."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """List the arguments and the options."""
        _write_records(self.get_params(ctx), ctx, formatter)


class RecordingCommand(PlainCommand):
    """A command that opens a recording. If it has ``--option``, it has an option for each stream that a plugin declares.

    ``--channel "Channel 2"`` is the same as ``--option "channel=Channel 2"``: what the function gets is ``option``.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters of the function, and those of the streams."""
        own = super().get_params(ctx)
        taken = {param.name for param in own} | {word for param in own for word in param.opts}
        if "option" not in taken:
            return own
        added = [p for p in _stream_params() if p.name not in taken and not taken.intersection(p.opts)]
        at = next((k for k, param in enumerate(own) if param.name == "help"), len(own))
        return [*own[:at], *added, *own[at:]]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words; a stream becomes one of the values of ``--option``."""
        words = list(args)
        rest = super().parse_args(ctx, args)
        own = {param.name for param in super().get_params(ctx)}
        named = {name: ctx.params.pop(name) for name in list(ctx.params) if name not in own}
        given = [f"{name}={value}" for name, value in named.items() if value is not None and value is not False]
        if given:
            ctx.params["option"] = [*(ctx.params.get("option") or ()), *given]
        ctx.meta[__name__] = words
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run the function; its messages name options as they are typed here."""
        with set_within(LINE, _line_of(self, ctx)), one_line_errors():
            return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """List the options of this command, then the streams in one paragraph: there are many."""
        params = self.get_params(ctx)
        chosen = [p for p in params if getattr(p, "rich_help_panel", None) == _PANEL and p.name not in _GENERAL]
        _write_records([param for param in params if param not in chosen], ctx, formatter)
        if chosen:
            streams = [param.opts[0] for param in chosen]
            with formatter.section("Options that choose one of several streams"):
                words = textwrap.wrap(", ".join(streams), formatter.width - 2, break_on_hyphens=False)
                formatter.write_dl([(line, "") for line in words])
                formatter.write_text(
                    "Each takes a name or a number. `roiextractors streams PATH` lists those of a recording."
                )


def _write_records(params: Iterable[Any], ctx: Any, formatter: Any) -> None:
    records: dict[str, list[Any]] = {"Arguments": [], "Options": []}
    for param in params:
        record = param.get_help_record(ctx)
        if record is not None and param.param_type_name == "argument":
            records["Arguments"].append((re.sub(r" <.*>", "", record[0]), record[1]))  # PATH <list[str]>
        elif record is not None:
            records["Options"].append(record)
    for title, rows in records.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def _line_of(command: RecordingCommand, ctx: Any) -> CommandLine:
    """Return the command line as it was typed; a command that opens nothing advises to use ``info``."""
    params = command.get_params(ctx)
    given = ctx.params.get("paths") or [ctx.params.get("path")]
    paths = tuple(str(path) for path in given if path is not None)
    words = tuple(word for word in ctx.meta.get(__name__, ()) if word not in paths)
    name = str(command.name)
    if not any(param.name == "option" for param in params):
        other = ctx.parent.command.get_command(ctx.parent, "info")
        name, words, params = "info", (), other.get_params(ctx)
    options = {str(p.name): p for p in params if p.param_type_name == "option"}
    return CommandLine(
        name,
        words,
        paths,
        {key: max(p.opts, key=len) for key, p in options.items()},
        frozenset(key for key, p in options.items() if p.is_flag),
    )


def _general(
    sampling_frequency: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="The rate, if the file does not contain it.", rich_help_panel=_PANEL),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Read what is there if parts are missing.", rich_help_panel=_PANEL)
    ] = False,
) -> None: ...


_GENERAL = frozenset(inspect.signature(_general).parameters)


def _stream_params() -> tuple[Any, ...]:
    """Return a parameter for each option that all formats may have, and for each stream, those of most formats first."""
    counts = Counter(stream for spec in roi.formats() for stream in spec.streams if stream.isidentifier())
    return _params_for(tuple(sorted(counts, key=lambda name: (-counts[name], name))))


@lru_cache(maxsize=8)  # a command asks for its parameters several times
def _params_for(names: tuple[str, ...]) -> tuple[Any, ...]:
    # Typer makes options from the signature of a function alone
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_stream_option(name))
        for name in names
        if name not in _GENERAL
    ]

    def function(**_: Any) -> None: ...

    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return (*_params_of(_general), *_params_of(function))


def _stream_option(name: str) -> Any:
    words = _HELP.get(name) or f"Open this {name.replace('_', ' ')}."
    return Annotated[str | None, typer.Option(f"--{name.replace('_', '-')}", help=words, rich_help_panel=_PANEL)]


def _params_of(function: Any) -> list[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return list(typer.main.get_command(app).params)

"""Commands that plugins add, found through an entry-point group and imported only when they run."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import CorruptRecordingError, DeclarationError, PluginError, RoiExtractorsError, printable
from ..io.plugin_output import stdout_to_stderr
from .opening import RecordingCommand
from .terminal import print_message

__all__ = ["GROUP", "HELP_GROUPS", "CommandGroup", "PluginCommand", "find_commands"]

GROUP = "roiextractors_core.commands"
"""The entry-point group: the command's name, and ``"package.module:function"`` or a Typer app."""

HELP_GROUPS = ("Every day", "Formats and detection", "For authors of plugins")
"""The headings of the help, in order: the ``rich_help_panel`` of each command."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class PluginCommand:
    """A command of a plugin, not imported yet.

    Attributes
    ----------
    name : str
        As typed after ``roiextractors``.
    plugin : str
        The distribution that adds it.
    version : str
        Of the distribution.
    entry_point : object
        Its ``load()`` imports the command.
    """

    name: str
    plugin: str
    version: str
    entry_point: Any

    def load(self) -> Any:
        """Import the command and return it for the command line.

        Raises
        ------
        PluginError
            Importing it failed.
        DeclarationError
            The entry point names neither a function nor a Typer app.
        """
        try:
            with stdout_to_stderr():  # a plugin that prints when imported would spoil --json
                value = self.entry_point.load()
        except RoiExtractorsError:
            raise
        except Exception as error:  # the border to the plugin: its module may raise anything
            raise PluginError(
                f"the command {self.name!r} of {self.plugin} cannot be loaded: {type(error).__name__}: {printable(error)}"
            ) from error
        command = typer.main.get_command(self._app_of(value))
        command.name = self.name
        return command

    def _app_of(self, value: Any) -> typer.Typer:
        if isinstance(value, typer.Typer):
            return value
        if not callable(value) or isinstance(value, type):
            raise DeclarationError(
                f"the command {self.name!r} of {self.plugin} must be a function or a Typer app, got {type(value).__name__}"
            )
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(self.name, cls=RecordingCommand)(value)
        return app


def find_commands(
    built_in: Collection[str], entry_points: Iterable[Any] | None = None
) -> tuple[tuple[PluginCommand, ...], tuple[str, ...]]:
    """Return the commands that plugins add, and a sentence on each that was refused.

    Parameters
    ----------
    built_in : collection of str
        The names of the command's own subcommands; a plugin cannot replace one.
    entry_points : iterable, optional
        Instead of the installed ones.

    Returns
    -------
    tuple of tuple of PluginCommand and tuple of str
        Sorted by name, then by distribution.
    """
    points, notes = (list(entry_points), []) if entry_points is not None else _installed_entry_points()
    commands: dict[str, PluginCommand] = {}
    # Sorted, so that which of two equal names wins does not depend on the order of installation
    for candidate in sorted(map(_command_of, points), key=lambda c: (c.name, c.plugin)):
        words = f"the command {printable(candidate.name)!r} of {printable(candidate.plugin)} was refused"
        if not _NAME.fullmatch(candidate.name):
            notes.append(f"{words}: a name consists of lower-case letters, digits and single hyphens")
        elif candidate.name in built_in:
            notes.append(f"{words}: roiextractors has a command of this name")
        elif candidate.name in commands:
            notes.append(f"{words}: {commands[candidate.name].plugin} adds a command of this name")
        else:
            commands[candidate.name] = candidate
    return tuple(commands.values()), tuple(notes)


class CommandGroup(TyperGroup):
    """The subcommands of ``roiextractors``: its own, then those of plugins."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a subcommand; one of a plugin is imported here."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        added, _ = find_commands(self.commands)
        return next((command.load() for command in added if command.name == cmd_name), None)

    def invoke(self, ctx: Any) -> Any:
        """Run a subcommand; click would print "Aborted!" in place of the sentence of a truncated recording, which is an EOFError."""
        try:
            return super().invoke(ctx)
        except EOFError as error:
            if isinstance(error, RoiExtractorsError):
                raise CorruptRecordingError(str(error)) from error
            raise
        except KeyboardInterrupt:
            print_message("Interrupted.")
            raise typer.Exit(130) from None  # 128 + SIGINT, as shells report it

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands in groups; those of plugins by their distributions: importing each for its help would be slow."""
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in HELP_GROUPS}
        for name, command in self.commands.items():
            sentence = " ".join((command.help or "").partition("\n\n")[0].split())
            groups[getattr(command, "rich_help_panel", None) or HELP_GROUPS[-1]].append((name, sentence))
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)
        added, notes = find_commands(self.commands)
        if added:
            with formatter.section("Commands added by plugins"):
                formatter.write_dl(
                    [(c.name, f"From {printable(c.plugin)} {printable(c.version)}".strip()) for c in added]
                )
        for note in notes:
            formatter.write_paragraph()
            formatter.write_text(f"Note: {note}.")


def _installed_entry_points() -> tuple[list[Any], list[str]]:
    import importlib_metadata

    try:
        return list(importlib_metadata.entry_points(group=GROUP)), []
    except Exception as error:  # noqa: BLE001 - one damaged distribution of whatever is installed fails them all
        return [], [f"commands of plugins were not looked up: {type(error).__name__}: {printable(error)}"]


def _command_of(point: Any) -> PluginCommand:
    name, version = str(point.name), ""
    try:
        metadata = point.dist.metadata
        name, version = str(metadata["Name"] or name), str(metadata["Version"] or "")
    except Exception:  # noqa: BLE001 - the border to whatever else is installed: its metadata may be lost
        pass
    return PluginCommand(str(point.name), name, version, point)

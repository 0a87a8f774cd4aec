"""Commands that plugins add: found by entry points, imported when they run, and harmless when they are broken."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from typing import Any

import pytest
import typer
from importlib_metadata import EntryPoint
from typer.testing import CliRunner

import roiextractors_core as roi
from roiextractors_core.cli import commands
from roiextractors_core.cli.app import app
from roiextractors_core.cli.command_line import CommandLine
from roiextractors_core.cli.commands import GROUP, find_commands


def hello(name: str) -> None:
    """Greet a person."""
    print(f"hello {name}")


def with_options(path: str, option: list[str] | None = None) -> None:
    """Take an option."""


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    made: Any = types.ModuleType("a_plugins_commands")
    made.hello, made.number = hello, 5
    made.several = typer.Typer()
    made.several.command("one")(lambda: print("first"))
    made.several.command("two")(lambda: print("second"))
    monkeypatch.setitem(sys.modules, "a_plugins_commands", made)
    return made  # type: ignore[no-any-return]


def run(monkeypatch: pytest.MonkeyPatch, points: list[EntryPoint], *words: str) -> Any:
    monkeypatch.setattr(commands, "_installed_entry_points", lambda: (points, []))
    return CliRunner().invoke(app, list(words))


@pytest.mark.usefixtures("module")
def test_a_function_and_a_typer_app_are_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [point("greet", "a_plugins_commands:hello"), point("count", "a_plugins_commands:several")]
    assert run(monkeypatch, points, "greet", "Ada").output == "hello Ada\n"
    assert run(monkeypatch, points, "count", "two").output == "second\n"
    assert "Greet a person." in run(monkeypatch, points, "greet", "--help").output


def test_the_help_lists_commands_with_their_distribution_and_imports_none(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [point("broken", "no_such_module:f"), point("info", "no_such_module:g")]
    result = run(monkeypatch, points, "--help")
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    assert "Commands added by plugins: broken From broken" in words
    assert "the command 'info' of info was refused: roiextractors has a command of this name" in words


@pytest.mark.usefixtures("module")
def test_a_broken_command_is_reported_and_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        point("broken", "no_such_module:f"),
        point("number", "a_plugins_commands:number"),
        point("greet", "a_plugins_commands:hello"),
    ]
    broken = run(monkeypatch, points, "broken")
    assert isinstance(broken.exception, roi.PluginError)
    assert "the command 'broken' of broken cannot be loaded: ModuleNotFoundError" in str(broken.exception)
    number = run(monkeypatch, points, "number")
    assert isinstance(number.exception, roi.DeclarationError)
    assert "must be a function or a Typer app, got int" in str(number.exception)
    assert run(monkeypatch, points, "greet", "Ada").exit_code == 0
    assert run(monkeypatch, points, "formats").exit_code == 0


def test_a_built_in_command_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, [point("formats", "no_such_module:f")], "formats", "--json").output.startswith("[")


def test_names_that_repeat_or_cannot_be_typed_are_refused_with_a_note() -> None:
    points = [point("a", "x:f"), point("a", "x:g"), point("Two Words", "x:h"), point("b", "x:f")]
    found, notes = find_commands(("info",), points)
    assert [command.name for command in found] == ["a", "b"]
    assert len(notes) == 2
    assert any("'Two Words'" in note and "lower-case" in note for note in notes)
    assert any("'a' of a was refused: a adds a command of this name" in note for note in notes)


def test_damaged_metadata_of_other_distributions_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib_metadata

    def damaged(**_: Any) -> Any:
        raise ValueError("bad line")

    monkeypatch.setattr(importlib_metadata, "entry_points", damaged)
    assert find_commands(()) == ((), ("commands of plugins were not looked up: ValueError: bad line",))
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0


def test_an_unknown_command_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, [], "viiew")
    assert result.exit_code == 2
    assert "No such command 'viiew'" in result.output


def test_every_stream_of_a_third_partys_format_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = roi.FormatSpec(
        name="odd", title="Odd", extractor="odd.extractor:Odd", extensions=(".odd",), streams=("dye_lot", "format")
    )
    monkeypatch.setattr(roi, "formats", lambda: (spec,))
    seen: list[Any] = []
    made: Any = types.ModuleType("a_plugins_commands")
    made.look = lambda path, option=None: seen.append(option)
    made.look.__annotations__ = {"path": str, "option": list[str] | None}
    monkeypatch.setitem(sys.modules, "a_plugins_commands", made)
    points = [point("look", "a_plugins_commands:look")]
    assert run(monkeypatch, points, "look", "x", "--option", "a=1", "--dye-lot", "7 b").exit_code == 0
    assert seen == [["a=1", "dye_lot=7 b"]]
    words = run(monkeypatch, points, "info", "--help").output
    assert "--dye-lot" in words
    assert words.count("--format ") == 1  # the command's own


LINE = CommandLine(
    "info",
    ("--channel", "9", "--no-picture", "--option", "roi=3"),
    ("a b.tif",),
    {
        "channel": "--channel",
        "kind": "--kind",
        "no_picture": "--no-picture",
        "overwrite": "--overwrite",
        "roi": "--roi",
    },
    frozenset(("no_picture", "overwrite")),
)
START = 'roiextractors info "a b.tif"'


@pytest.mark.parametrize(
    ("python", "terminal"),
    [
        (
            "choose one: open(..., channel='Channel 2')",
            f'choose one: {START} --no-picture --option roi=3 --channel "Channel 2"',
        ),
        ("open(..., roi='1'), please", f"{START} --channel 9 --no-picture --roi 1, please"),
        (
            "open(..., num=(2, 3), fit=True); or open(..., kind='segmentation')",
            f'{START} --channel 9 --no-picture --option roi=3 --option "num=(2, 3)" --option fit=True; or --kind segmentation',
        ),
        ("open('/data/a (1)')", 'roiextractors info "/data/a (1)" --channel 9 --no-picture --option roi=3'),
        ("exists; pass overwrite=True to replace it", "exists; pass --overwrite to replace it"),
        ("pass kind= when opening.", "pass --kind."),
        ("it says SizeT=1 and x=5", "it says SizeT=1 and x=5"),
        ("pass open(..., kind='imaging') or call it", "pass --kind imaging or call it"),
        ("call open(...) first, or convert(..., format='x')", "call open(...) first, or convert(..., format='x')"),
        ("open(..., dtype='<u2')", f'{START} --channel 9 --no-picture --option roi=3 --option "dtype=<u2"'),
        ("pass kind=<word>", "pass --kind <word>"),
        ("call set_times(times) or reopen(x)", "call set_times(times) or reopen(x)"),
        ("open(recording, kind='imaging')", "open(recording, kind='imaging')"),
    ],
)
def test_python_in_a_message_becomes_what_is_typed(python: str, terminal: str) -> None:
    assert LINE.translate(python) == terminal


def test_an_option_typed_for_the_writer_is_named_as_one_of_the_writer() -> None:
    line = replace(LINE, command="convert", options={**LINE.options, "plane": "--plane"})
    message = "plane=0 was passed, but the recording has no planes"
    for words in (("--write-option", "plane=0"), ("--write-option=plane=0",)):
        assert replace(line, words=words).translate(message).startswith("--write-option plane=0 was passed")
    assert replace(line, words=("--plane", "0")).translate(message).startswith("--plane 0 was passed")


def test_a_command_for_movies_alone_advises_to_show_the_rois_with_info() -> None:
    line = replace(LINE, command="projections", words=("-o", "x.npz"), options={"channel": "--channel"})
    assert (
        line.translate("use open(..., kind='segmentation')") == 'use roiextractors info "a b.tif" --kind segmentation'
    )


def test_a_value_that_a_message_leaves_open_is_a_placeholder() -> None:
    assert (
        LINE.translate("name it: open(..., roi=...). Next")
        == f"name it: {START} --channel 9 --no-picture --roi <roi>. Next"
    )

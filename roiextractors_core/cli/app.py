"""What the command takes and prints."""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import roiextractors_core as roi

from ..errors import MissingDependencyError, RoiExtractorsError, SourceKindError, printable
from ..interop import preview as pictures
from ..registry.detection import Explanation
from . import scaffold, terminal, validation
from .facts import every_channel, facts_of, in_words, plugin_border

__all__ = ["app", "run"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Opens optical-physiology recordings and says what they are.",
)

scaffold.register(app)
validation.register(app)

Paths = Annotated[list[str], typer.Argument(help="Files or folders.")]
OnePath = Annotated[str, typer.Argument(help="A file or a folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Options = Annotated[list[str] | None, typer.Option("--option", help="name=value, passed to open; repeatable.")]
Format = Annotated[str | None, typer.Option(help="The format, when it shall not be found.")]


def run() -> None:
    """Run the command; an error of this library or of the system is one line, and the exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    with terminal.one_line_warnings(), _one_line_errors():
        app()


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # who read the output has closed it: `roiextractors formats | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except (RoiExtractorsError, OSError, MemoryError) as error:
        terminal.tell(terminal.sentence(error))
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        terminal.tell("interrupted")
        raise SystemExit(130) from None


@app.callback(invoke_without_command=True)
def version_option(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Print the version when it is asked for."""
    if version:
        print(f"roiextractors-core {roi.__version__}")
        raise typer.Exit


@app.command()
def info(
    paths: Paths,
    option: Options = None,
    format: Format = None,
    picture: Annotated[
        Path | None, typer.Option(help="Where to draw; the default is <name>-preview.png in this folder.")
    ] = None,
    no_picture: Annotated[bool, typer.Option("--no-picture", help="Draw nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a recording is and why, its rate, shape and times, and draw it; of several channels, each."""
    options = _given(option)
    if picture is not None:
        if len(paths) > 1:
            raise typer.BadParameter("one picture is named, and several recordings; leave --picture out")
        pictures.check_target(picture)
    drawn = not (no_picture or as_json)
    told: list[dict[str, Any]] = []
    failed = 0
    for path in paths:
        try:
            with plugin_border(f"{printable(path)} could not be shown"):
                told += _shown(path, format, options, picture if picture or not drawn else None, drawn, as_json)
        except (RoiExtractorsError, OSError, MemoryError) as error:
            failed += 1
            terminal.tell(terminal.sentence(error))
    if as_json and (told or not failed):
        print(json.dumps(told, indent=1))
    if failed:
        raise typer.Exit(2)


def _shown(
    path: str, format: str | None, options: Mapping[str, Any], picture: Path | None, drawn: bool, as_json: bool
) -> list[dict[str, Any]]:
    told, panels = [], []
    for chosen, recording in every_channel(path, format, options):
        facts = facts_of(recording, chosen)
        told.append(facts)
        if as_json:
            continue
        if len(told) > 1:
            print()
        terminal.heading(printable(path))
        terminal.card(in_words(facts))
        if drawn and pictures.can_draw() and len(recording):
            with terminal.progress_bar("reading for the picture") as progress:
                panels.append(pictures.panel_of(recording, chosen, progress=progress))
    if drawn:
        _draw(path, panels, picture)
    return told


def _draw(path: str, panels: list[pictures.Panel], picture: Path | None) -> None:
    if not pictures.can_draw():
        print('no picture: python -m pip install "roiextractors-core[plot]"')
        return
    if panels:
        target = picture or pictures.place_for(path)
        pictures.draw(printable(Path(path).resolve().name), panels, target)
        print(f"picture: {printable(target)}")


@app.command()
def preview(
    path: OnePath,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .png; <name>-preview.png when left out.")
    ] = None,
    option: Options = None,
    format: Format = None,
) -> None:
    """Draw a recording: mean image, maximum projection and mean trace; of several channels, each."""
    if not pictures.can_draw():
        raise MissingDependencyError('a picture needs matplotlib: python -m pip install "roiextractors-core[plot]"')
    if output is not None:
        pictures.check_target(output)
    panels = []
    with plugin_border(f"{printable(path)} could not be drawn"):
        for chosen, recording in every_channel(path, format, _given(option)):
            if not recording.size:
                raise SourceKindError(f"there is nothing to draw: the shape of {printable(path)} is {recording.shape}")
            with terminal.progress_bar("reading for the picture") as progress:
                panels.append(pictures.panel_of(recording, chosen, progress=progress))
    _draw(path, panels, output)


@app.command()
def projections(
    path: OnePath,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .npz.")],
    option: Options = None,
    format: Format = None,
    scheduler: Annotated[str | None, typer.Option(help="The address of a running dask scheduler.")] = None,
) -> None:
    """Compute mean, standard deviation, maximum, local correlation and mean trace of all samples, into a .npz."""
    if output.suffix.lower() != ".npz":
        raise SourceKindError(f"{printable(output)}: the projections are written as .npz")
    with (
        roi.open(path, format=format, **_given(option)) as recording,
        terminal.progress_bar("computing projections") as progress,
    ):
        found = roi.projections(recording, scheduler=scheduler, progress=progress)
    arrays = {name: array for name, array in found.to_dict().items() if array is not None}
    partial = output.with_name(f".{uuid.uuid4().hex[:12]}.partial.npz")
    try:
        np.savez_compressed(partial, allow_pickle=False, **arrays)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    print(f"{printable(output)}: {', '.join(f'{name} {array.shape}' for name, array in arrays.items())}")


@app.command()
def view(path: OnePath, option: Options = None, format: Format = None) -> None:
    """Show a recording in napari, lazily; of several channels, each as a layer."""
    try:
        from roiextractors_napari.window import show
    except ImportError as error:
        raise MissingDependencyError(
            'the view needs napari: python -m pip install "napari[all]" roiextractors-napari'
        ) from error
    show(path, format=format, **_given(option))


@app.command()
def convert(
    path: OnePath,
    target: Annotated[Path, typer.Argument(help=".npy, .tif (OME-BigTIFF), .zarr (OME-Zarr 0.5) or .nwb.")],
    samples: Annotated[str | None, typer.Option(help="A range of samples, START:END; END is exclusive.")] = None,
    option: Options = None,
    format: Format = None,
    start_time: Annotated[
        datetime | None, typer.Option(help="For .nwb, where the recording tells none: 2026-01-31T12:00:00.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the target when it is there.")] = False,
) -> None:
    """Write a recording in another format; under its name only when it is whole."""
    with roi.open(path, format=format, **_given(option)) as recording:
        part = recording if samples is None else recording.slice_samples(*_range(samples))
        with terminal.progress_bar(f"writing {printable(target.name)}", of_bytes=True) as progress:
            written = roi.convert(part, target, overwrite=overwrite, start_time=start_time, progress=progress)
        size = (
            sum(p.stat().st_size for p in written.rglob("*") if p.is_file())
            if written.is_dir()
            else written.stat().st_size
        )
    words = " x ".join(f"{n:,}" for n in part.shape)
    print(f"wrote {printable(written)}: {words}, {part.dtype}, {terminal.amount(size)}")


@app.command()
def streams(path: OnePath, option: Options = None, format: Format = None, as_json: AsJson = False) -> None:
    """List what can be chosen inside a recording."""
    found = roi.streams(path, format=format, **_given(option))
    if as_json:
        print(json.dumps({key: list(value) for key, value in found.items()}, indent=1))
    elif found:
        terminal.grid(("option", "values"), ((key, ", ".join(map(printable, found[key]))) for key in found))
    else:
        print(f"{printable(path)}: there is nothing to choose")


@app.command()
def explain(path: OnePath, as_json: AsJson = False) -> None:
    """Say which formats were asked about a path, and what each answered."""
    found = roi.explain(path)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
        return
    print(f"{printable(found.path)}: {printable(found.looks_like)}")
    terminal.grid(("", "format", "from", "answer"), _answers(found))
    for record in found.set_aside:
        print(f"set aside: {printable(record.name)}: {printable(record.reason)}")
    for note in found.notes:
        print(f"note: {printable(note)}")
    found.require_best()


def _answers(found: Explanation) -> Iterator[tuple[str, ...]]:
    for match in found.matches:
        mark = "->" if match is found.best else "yes"
        yield mark, match.spec.name, match.plugin, printable(match.finding.basis)
    for name, finding in found.findings:
        yield finding.word, name, "", printable(finding.basis)
    for entry in found.not_installed:
        yield "known", entry.spec.name, "not installed", f"python -m pip install {entry.plugin}"


@app.command()
def formats(as_json: AsJson = False) -> None:
    """List the formats that can be opened, and those that a plugin would add."""
    registry = roi.default_registry()
    installed = [(spec, registry.owner(spec.name), True) for spec in registry.formats()]
    names = {spec.name for spec, _, _ in installed}
    others = [(entry.spec, entry.plugin, False) for entry in registry.catalogue() if entry.spec.name not in names]
    rows = [*installed, *others]
    if as_json:
        print(json.dumps([{**s.to_dict(), "plugin": plugin, "installed": here} for s, plugin, here in rows], indent=1))
        return
    terminal.grid(
        ("format", "title", "suffixes", "streams", "clock", "systems", "plugin"),
        (
            (
                spec.name,
                printable(spec.title),
                " ".join(spec.extensions),
                " ".join(spec.streams),
                "" if spec.clock == "none" else spec.clock,
                "" if spec.platforms == ("any",) else " ".join(spec.platforms),
                plugin if here else f"pip install {plugin}",
            )
            for spec, plugin, here in rows
        ),
    )


@app.command()
def plugins(as_json: AsJson = False) -> None:
    """List the plugins that were found, and why one was set aside."""
    found = roi.plugins()
    if as_json:
        print(json.dumps([record.to_dict() for record in found], indent=1))
        return
    terminal.grid(
        ("plugin", "version", "status", "formats", "loaded in", "reason"),
        (
            (
                printable(record.name),
                printable(record.version),
                record.status,
                " ".join(record.formats),
                f"{record.load_seconds * 1e3:.1f} ms{' (slow)' if record.is_slow else ''}",
                printable(record.reason),
            )
            for record in found
        ),
    )


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Where the files are written.")] = Path("roiextractors-demo"),
    seed: Annotated[int, typer.Option(help="Of the scene and the noise.")] = 1,
    samples: Annotated[int, typer.Option(min=30, max=100_000, help="Frames of each channel.")] = 600,
) -> None:
    """Simulate a two-photon recording, write it as ScanImage BigTIFF and .npy, open both, and draw it."""
    from .demo import demonstrate

    if not demonstrate(output, seed=seed, num_samples=samples):
        raise typer.Exit(1)


def _range(text: str) -> tuple[int | None, int | None]:
    found = re.fullmatch(r"\s*(\d*)\s*:\s*(\d*)\s*", text)
    if found is None:
        raise SourceKindError(f"--samples {printable(text)!r} is no range; write START:END, for example 0:100")
    start, end = (int(part) if part else None for part in found.groups())
    return start, end


def _given(option: list[str] | None) -> dict[str, Any]:
    return dict(_option(text) for text in option or [])


def _option(text: str) -> tuple[str, Any]:
    """Return an option and its value: a number, a list, true, false; what names a stream stays text."""
    key, separator, value = text.partition("=")
    if not separator or not key.isidentifier():
        raise SourceKindError(f"--option {printable(text)!r} is not name=value")
    if any(key in spec.streams for spec in roi.formats()) or not _LITERAL.fullmatch(value):
        return key, value
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


_LITERAL = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?|\[.*\]|\{.*\}|true|false|null", re.DOTALL)

"""What the command takes and prints."""

from __future__ import annotations

import functools
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

import roiextractors_core as roi

from ..errors import RoiExtractorsError, RoiExtractorsWarning, StreamChoiceError, printable
from ..imaging import ImagingExtractor
from . import scaffold
from .projections import draw, project

__all__ = ["app", "run"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Opens optical-physiology recordings and says what they are."
)

scaffold.register(app)

Paths = Annotated[list[str], typer.Argument(help="Files or folders.")]
OnePath = Annotated[str, typer.Argument(help="A file or a folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def run() -> None:
    """Run the command; an error of this library or of the system is one line, and the exit status 2."""
    warnings.showwarning = _one_line
    warnings.simplefilter("always", RoiExtractorsWarning)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app()
    except (RoiExtractorsError, OSError, MemoryError) as error:
        print(" ".join(printable(str(error)).split("\\n")), file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
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
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="name=value, passed to open; repeatable.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="The format, when it shall not be found.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Where to draw; the default is <name>-preview.png in this folder.")
    ] = None,
    no_picture: Annotated[bool, typer.Option("--no-picture", help="Draw nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a recording is and why, its rate, shape and times, and draw it; of several channels, each."""
    options = dict(_option(text) for text in option or [])
    found = []
    for path in paths:
        for chosen, recording in _every_channel(path, format, options):
            with recording:
                facts = _facts(recording, chosen)
                if not as_json:
                    _print_facts(path, facts)
                if not no_picture and not as_json:
                    target = (
                        picture
                        if picture is not None and len(paths) == 1 and not chosen
                        else _picture_path(path, chosen, picture)
                    )
                    _draw(recording, target)
                found.append(facts)
    if as_json:
        print(json.dumps(found, indent=1))


@app.command()
def streams(path: OnePath, as_json: AsJson = False) -> None:
    """List what can be chosen inside a recording."""
    found = roi.streams(path)
    if as_json:
        print(json.dumps({key: list(value) for key, value in found.items()}, indent=1))
        return
    table = _table("option", "values")
    for key, values in found.items():
        table.add_row(key, escape(", ".join(map(printable, values))))
    _print(table if found else f"{printable(path)}: there is nothing to choose")


@app.command()
def explain(path: OnePath, as_json: AsJson = False) -> None:
    """Say which formats were asked about a path, and what each answered."""
    found = roi.explain(path)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
        return
    _print(f"{printable(found.path)}: {found.looks_like}")
    table = _table("", "format", "from", "answer")
    for match in found.matches:
        table.add_row(
            "->" if match is found.best else "yes",
            match.spec.name,
            match.plugin,
            escape(printable(match.finding.basis)),
        )
    for name, finding in found.findings:
        table.add_row(finding.word, name, "", escape(printable(finding.basis)))
    for entry in found.not_installed:
        table.add_row("known", entry.spec.name, "not installed", f"python -m pip install {entry.plugin}")
    _print(table)
    for record in found.set_aside:
        _print(f"set aside: {record.name}: {printable(record.reason)}")
    for note in found.notes:
        _print(f"note: {printable(note)}")
    found.require_best()


@app.command()
def formats(as_json: AsJson = False) -> None:
    """List the formats that can be opened, and those that a plugin would add."""
    registry = roi.default_registry()
    installed = registry.formats()
    names = {spec.name for spec in installed}
    others = [entry for entry in registry.catalogue() if entry.spec.name not in names]
    if as_json:
        rows = [{**spec.to_dict(), "plugin": registry.owner(spec.name), "installed": True} for spec in installed]
        rows += [{**entry.spec.to_dict(), "plugin": entry.plugin, "installed": False} for entry in others]
        print(json.dumps(rows, indent=1))
        return
    table = _table("format", "title", "suffixes", "streams", "clock", "plugin")
    for spec in installed:
        table.add_row(
            spec.name,
            escape(spec.title),
            " ".join(spec.extensions),
            " ".join(spec.streams),
            spec.clock,
            registry.owner(spec.name),
        )
    for entry in others:
        spec = entry.spec
        table.add_row(
            spec.name,
            escape(spec.title),
            " ".join(spec.extensions),
            " ".join(spec.streams),
            spec.clock,
            f"pip install {entry.plugin}",
        )
    _print(table)


@app.command()
def plugins(as_json: AsJson = False) -> None:
    """List the plugins that were found, and why one was set aside."""
    found = roi.plugins()
    if as_json:
        print(json.dumps([record.to_dict() for record in found], indent=1))
        return
    table = _table("plugin", "version", "status", "formats", "loaded in", "reason")
    for record in found:
        took = f"{record.load_seconds * 1e3:.1f} ms{' (slow)' if record.is_slow else ''}"
        table.add_row(
            escape(record.name),
            record.version,
            record.status,
            " ".join(record.formats),
            took,
            escape(printable(record.reason)),
        )
    _print(table)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Where the files are written.")] = Path("roiextractors-demo"),
    seed: Annotated[int, typer.Option(help="Of the scene and the noise.")] = 1,
    samples: Annotated[int, typer.Option(min=30, max=100_000, help="Frames of each channel.")] = 600,
) -> None:
    """Simulate a two-photon recording, write it as ScanImage BigTIFF and .npy, open both, and draw it."""
    import numpy as np

    from ..testing import CalciumImagingExtractor, write_npy, write_scanimage

    output.mkdir(parents=True, exist_ok=True)
    shape = (samples, 256, 256)
    green = CalciumImagingExtractor(shape, "int16", seed, sampling_frequency=30.0)
    red = CalciumImagingExtractor(shape, "int16", seed, sampling_frequency=30.0, functional=False)
    writers = (
        ("ScanImage BigTIFF", functools.partial(write_scanimage, [green, red], output / "two_photon.tif")),
        (".npy", functools.partial(write_npy, green, output / "two_photon.npy")),
    )
    for words, write in writers:
        with _progress() as progress:
            write(overwrite=True, progress=_bar(progress, f"simulating and writing {words}"))
    pixels = []
    for name, options in (
        ("two_photon.tif", {"channel": "Channel 1"}),
        ("two_photon.npy", {"sampling_frequency": 30.0}),
    ):
        path = output / name
        found = roi.explain(path)
        if found.best is None and found.not_installed:
            _print(
                f"{printable(path)} is {found.not_installed[0].spec.title}; to open it: python -m pip install {found.not_installed[0].plugin}"
            )
            continue
        if roi.streams(path):
            _print(
                f"{printable(name)} holds "
                + "; ".join(f"{key}: {', '.join(values)}" for key, values in roi.streams(path).items())
            )
        with roi.open(path, **options) as recording:
            _print_facts(str(path), _facts(recording, {k: v for k, v in options.items() if k == "channel"}))
            pixels.append(recording.get_series(0, 30))
            _draw(recording, output / f"{name}-preview.png")
    if len(pixels) == 2:
        same = bool(np.array_equal(*pixels))
        _print(f"the pixels of both files {'agree' if same else 'DIFFER'}")
        if not same:
            raise typer.Exit(1)


def _every_channel(path: str, format: str | None, options: dict[str, Any]) -> Any:
    """Open a recording; where a stream must be chosen, each of its values in turn."""
    try:
        yield {}, roi.open(path, format=format, **options)
    except StreamChoiceError as error:
        if not error.option or error.option in options:
            raise
        for choice in error.choices:
            for further, recording in _every_channel(path, format, {**options, error.option: choice}):
                yield {error.option: choice, **further}, recording


def _facts(recording: ImagingExtractor, chosen: dict[str, Any]) -> dict[str, Any]:
    provenance, metadata = recording.provenance, recording.metadata
    rate, clock = recording.get_sampling_frequency(), recording.clock
    count = len(recording)
    times: list[float] = []
    if clock.source is not None and count:
        times = [float(clock.times(0, 1)[0]), float(clock.times(count - 1, count)[0])]
    return {
        "format": provenance.format,
        "plugin": f"{provenance.plugin} {provenance.version}".strip(),
        "evidence": provenance.evidence,
        "paths": list(provenance.paths),
        "stream": chosen,
        "shape": list(recording.shape),
        "axes": ["samples", "rows", "columns", "planes"][: recording.ndim],
        "dtype": str(recording.dtype),
        "bytes": recording.nbytes,
        "sampling_frequency": rate,
        "times_source": clock.source,
        "first_and_last_time": times,
        "metadata": {key: value for key, value in metadata.to_dict().items() if key != "vendor" and value},
        "notes": list(provenance.notes),
    }


def _print_facts(path: str, facts: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rate = facts["sampling_frequency"]
    rows = {
        "format": f"{facts['format']} ({facts['plugin']})",
        "because": facts["evidence"],
        "stream": ", ".join(f"{key}={value!r}" for key, value in facts["stream"].items()),
        "shape": " x ".join(f"{n:,} {axis}" for n, axis in zip(facts["shape"], facts["axes"], strict=True)),
        "pixels": f"{facts['dtype']}, {facts['bytes'] / 2**20:,.1f} MiB",
        "rate": "unknown; pass --option sampling_frequency=<Hz>" if rate is None else f"{rate:.6g} Hz",
        "times": _times_words(facts),
    }
    rows.update({key.replace("_", " "): _words(key, value) for key, value in facts["metadata"].items()})
    for key, value in rows.items():
        if value:
            table.add_row(key, escape(printable(value)))
    for note in facts["notes"]:
        table.add_row("note", escape(printable(note)))
    _console().rule(escape(printable(path)), align="left")
    _print(table)


def _words(key: str, value: Any) -> str:
    """Say a piece of metadata with its unit."""
    if key == "channels":
        return ", ".join(_channel_words(channel) for channel in value)
    if key == "pixel_size":
        return f"{value[0]:g} um a row, {value[1]:g} um a column"
    if key == "plane_positions":
        return ", ".join(f"{position:g}" for position in value) + " um"
    return f"{value:g} um" if key == "plane_spacing" else str(value)


def _channel_words(channel: dict[str, Any]) -> str:
    bands = {"excitation_wavelength": "excited at", "emission_wavelength": "emits at"}
    known = [f"{words} {channel[key]:g} nm" for key, words in bands.items() if channel[key]]
    return " ".join([str(channel["name"]), *([f"({', '.join(known)})"] if known else [])])


def _times_words(facts: dict[str, Any]) -> str:
    if not facts["first_and_last_time"]:
        return "unknown"
    first, last = facts["first_and_last_time"]
    origin = {"native": "by the hardware", "computed": "computed from the rate", "user": "set by the user"}[
        facts["times_source"]
    ]
    return f"{first:.6f} s to {last:.6f} s, {origin}"


def _draw(recording: ImagingExtractor, target: Path) -> None:
    with _progress() as progress:
        found = project(recording, progress=_bar(progress, "reading for the picture"))
    try:
        draw(recording, found, target)
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        _print('no picture: python -m pip install "roiextractors-core[plot]"')
        return
    used = (
        ""
        if found.num_used == len(recording)
        else f" (of {found.num_used:,} evenly spread samples out of {len(recording):,})"
    )
    print(f"picture: {printable(target)}{used}")


def _picture_path(path: str, chosen: dict[str, Any], given: Path | None) -> Path:
    words = "-".join([Path(path).resolve().name, *(str(value).replace(" ", "_") for value in chosen.values())])
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in words)
    return (given.parent if given is not None else Path()) / f"{safe}-preview.png"


def _option(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key.isidentifier():
        raise typer.BadParameter(f"{text!r} is not name=value")
    try:
        return key, json.loads(value) if key != "channel" else value
    except ValueError:
        return key, value


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False, soft_wrap=False)


def _print(what: Any) -> None:
    _console().print(what if not isinstance(what, str) else escape(what))


def _table(*headers: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _bar(progress: Progress, words: str) -> Callable[[int, int], None]:
    task = progress.add_task(words, total=None)

    def update(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    return update


def _one_line(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {printable(message)}", file=sys.stderr)

"""The subcommands of ``roiextractors``, their arguments and output."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import numpy as np
import typer

import roiextractors_core as roi

from ..errors import (
    MissingDependencyError,
    RoiExtractorsError,
    SourceKindError,
    StreamChoiceError,
    UnknownOptionError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from ..interop import preview as pictures
from ..interop.convert import stores_several
from ..io.atomic import write_then_rename
from ..io.paths import file_name_key
from ..io.plugin_output import CommandOutput
from ..io.units import amount
from ..registry.detection import Explanation
from . import anonymous as publication
from . import scaffold, scan, terminal, validation
from .arguments import (
    Anonymous,
    AsJson,
    Format,
    Kind,
    OnePath,
    Options,
    Paths,
    complete_kind,
    complete_written_format,
    parse_options,
)
from .command_line import about, in_command_words
from .commands import HELP_GROUPS, CommandGroup
from .facts import every_channel, facts_of, in_words, kinds_in, plugin_border, stream_name, stream_target
from .opening import RecordingCommand

__all__ = ["app", "run"]

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Open optical-physiology recordings: show what they contain, draw them, and convert them.",
)

EVERY_DAY, DETECTION, _ = HELP_GROUPS


def run() -> None:
    """Run the command. An error of this library or of the system is printed as one line, with exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A path or description may contain characters that the terminal cannot encode; printing must not fail for
            # them
            stream.reconfigure(errors="replace")
    if sys.stdout is not None:  # the process is the command's own
        sys.stdout = cast(TextIO, CommandOutput(sys.stdout))
    if "--anonymous" in sys.argv[1:]:
        # Before the words are parsed: errors about them, warnings and tracebacks contain names too
        publication.start(sys.argv[1:])
    with terminal.one_line_warnings(), terminal.one_line_errors():
        app()


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version and exit.")] = False,
) -> None:
    """Print the version if --version was given."""
    if version:
        print(f"roiextractors-core {roi.__version__}")
        raise typer.Exit


@app.command(cls=RecordingCommand, rich_help_panel=EVERY_DAY)
def info(
    paths: Paths,
    option: Options = None,
    format: Format = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the picture to this PNG file. The default is NAME-preview.png in the current folder.",
        ),
    ] = None,
    no_picture: Annotated[bool, typer.Option("--no-picture", help="Do not draw a picture.")] = False,
    as_json: AsJson = False,
    anonymous: Anonymous = False,
    kind: Kind = None,
) -> None:
    """Show the format, shape, rate and times of recordings, and draw them. Each channel, and each set of ROIs, is shown."""
    options = parse_options(option)
    # Checked before anything is read: reading takes long
    if picture is not None:
        if len(paths) > 1:
            raise typer.BadParameter("--picture names one file for several recordings; leave it out")
        pictures.check_target(picture)
    drawn = not (no_picture or as_json or anonymous)
    shown: list[dict[str, Any]] = []
    failed = 0
    for path in paths:
        try:
            with about(path), plugin_border(f"{printable(path)} could not be shown"):
                shown += _show(path, format, kind, options, picture, drawn=drawn, as_json=as_json)
        except BrokenPipeError:  # of the output, not of a recording
            raise
        except (RoiExtractorsError, OSError, MemoryError) as error:
            failed += 1
            with about(path):
                terminal.print_message(terminal.sentence(error))
    # One document even if some paths failed, and none if all did
    if as_json and (shown or not failed):
        terminal.document(shown)
    if failed:
        raise typer.Exit(2)


app.command(cls=RecordingCommand, rich_help_panel=EVERY_DAY)(scan.scan)


def _show(
    path: str,
    format: str | None,
    kind: str | None,
    options: Mapping[str, Any],
    picture: Path | None,
    *,
    drawn: bool,
    as_json: bool,
) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    panels: list[pictures.Panel] = []
    drawn = drawn and _can_draw()
    for chosen, recording in _every_kind(path, format, kind, options):
        publication.learn(recording)
        facts = facts_of(recording, chosen)
        shown.append(facts)
        if as_json:
            continue
        if len(shown) > 1:
            print()
        terminal.heading(printable(path))
        terminal.card(in_words(facts))
        if drawn and recording.kind == "segmentation":
            _draw_rois(path, recording, chosen, None if panels else picture)
        elif drawn and len(recording):
            with terminal.progress_bar("reading for the picture") as progress:
                panels.append(pictures.panel_of(recording, chosen, progress=progress))
    if drawn:
        _draw(path, panels, picture)
    return shown


def _every_kind(
    path: str, format: str | None, kind: str | None, options: Mapping[str, Any]
) -> Iterator[tuple[dict[str, str], Any]]:
    """Open a path once for each channel and kind; it is an error only if no kind can be opened."""
    first_error: Exception | None = None
    opened = False
    for one in kinds_in(path, format, kind):
        try:
            for chosen, recording in every_channel(path, format, options, one):
                opened = True
                yield chosen, recording
        except (RoiExtractorsError, OSError) as error:
            # A file of a general format often has nothing of the other kind, which is no fault
            reasons = (error, error.__cause__)
            if opened and not any(isinstance(e, UnsupportedRecordingError | UnknownOptionError) for e in reasons):
                terminal.print_message(f"{one}: {terminal.sentence(error)}")
            first_error = first_error or error
    if first_error is not None and not opened:
        raise first_error


def _draw_rois(path: str, rois: Any, chosen: Mapping[str, str], picture: Path | None) -> None:
    words = "-".join("".join(c if c.isalnum() else "_" for c in value) for value in chosen.values())
    name = "-".join(filter(None, (Path(path).resolve().name, words, "rois")))
    target = picture or pictures.place_for(path, name=name)
    rois.preview(target)
    print(f"picture: {printable(target)}")


def _can_draw() -> bool:
    if not pictures.can_draw():
        print("no picture: python -m pip install matplotlib")
    return pictures.can_draw()


def _draw(path: str, panels: list[pictures.Panel], picture: Path | None) -> None:
    if panels:
        target = picture or pictures.place_for(path)
        pictures.draw(printable(Path(path).resolve().name), panels, target)
        print(f"picture: {printable(target)}")


@app.command(cls=RecordingCommand, rich_help_panel=EVERY_DAY)
def preview(
    path: OnePath,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write this PNG file. The default is NAME-preview.png."),
    ] = None,
    option: Options = None,
    format: Format = None,
    kind: Kind = None,
) -> None:
    """Draw a recording: mean image, maximum projection and mean trace of each channel; of ROIs, their outlines and traces."""
    if not pictures.can_draw():
        raise MissingDependencyError("drawing needs matplotlib: python -m pip install matplotlib")
    if output is not None:
        pictures.check_target(output)
    panels: list[pictures.Panel] = []
    with plugin_border(f"{printable(path)} could not be drawn"):
        for chosen, recording in _every_kind(path, format, kind, parse_options(option)):
            if recording.kind == "segmentation":
                if not panels or output is None:  # one file was named, and the movie has it
                    _draw_rois(path, recording, chosen, output)
                continue
            if not recording.size:
                raise SourceKindError(f"{printable(path)} is empty (shape {recording.shape}); there is nothing to draw")
            with terminal.progress_bar("reading for the picture") as progress:
                panels.append(pictures.panel_of(recording, chosen, progress=progress))
    _draw(path, panels, output)


@app.command(cls=RecordingCommand, rich_help_panel=EVERY_DAY)
def projections(
    path: OnePath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Write this .npz file.")],
    option: Options = None,
    format: Format = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Compute on the dask cluster with this scheduler address.")
    ] = None,
) -> None:
    """Compute the mean, standard deviation, maximum, local correlation and mean trace of all samples."""
    if output.suffix.lower() != ".npz":
        raise SourceKindError(f"cannot write {printable(output)}: projections are written as .npz")
    with (
        roi.open(path, format=format, **parse_options(option)) as recording,
        terminal.progress_bar("computing projections") as progress,
    ):
        result = roi.projections(recording, scheduler=scheduler, progress=progress)
    arrays = {name: array for name, array in result.to_dict().items() if array is not None}
    with write_then_rename(output) as partial:
        np.savez_compressed(partial, allow_pickle=False, **arrays)
    print(f"{printable(output)}: {', '.join(f'{name} {array.shape}' for name, array in arrays.items())}")
    if result.num_left_out:
        print(f"left out: {counted(result.num_left_out, 'value')} that are NaN or infinite")


@app.command(cls=RecordingCommand, rich_help_panel=EVERY_DAY)
def convert(
    path: OnePath,
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="The file or folder to write. Its suffix chooses the format.")
    ],
    samples: Annotated[
        str | None, typer.Option(metavar="START:END", help="Convert only these samples. END is not included.")
    ] = None,
    option: Options = None,
    format: Format = None,
    kind: Annotated[
        str,
        typer.Option(metavar="KIND", autocompletion=complete_kind, help="What to convert: imaging or segmentation."),
    ] = "imaging",
    target_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            autocompletion=complete_written_format,
            help="Write this format instead of choosing it by the suffix of the target.",
        ),
    ] = None,
    write_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Pass an option to the writer of the format. Can be repeated."),
    ] = None,
    start_time: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            help="The start time, for formats that need one, if the recording has none: 2026-01-31T12:00:00.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the target if it exists.")] = False,
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Write all channels, planes, ...: to one file if the format can store several, such as NWB, otherwise each to a file named after it.",
        ),
    ] = False,
) -> None:
    """Write a recording in another format. The target appears only when it is complete."""
    options = parse_options(write_option, flag="--write-option")
    options |= {} if start_time is None else {"start_time": start_time}
    of_source = parse_options(option)

    def part_of(recording: Any) -> Any:
        return recording if samples is None else recording.slice_samples(*_parse_range(samples))

    def write(source: Any, to: Path) -> None:
        with terminal.progress_bar(f"writing {printable(to.name)}", of_bytes=True) as progress:
            written = roi.convert(source, to, format=target_format, overwrite=overwrite, progress=progress, **options)
        several = source if isinstance(source, dict) else {"": source}
        contents = "; ".join(f"{name}: {_contents(one)}" if name else _contents(one) for name, one in several.items())
        print(f"wrote {printable(written)}: {printable(contents)}, {amount(_size_on_disk(written))}")

    with plugin_border(f"{printable(path)} could not be converted"):
        is_one_file = stores_several(target, format=target_format, kind=kind)
        if every and is_one_file:
            with ExitStack() as opened:
                found = every_channel(path, format, of_source, kind, limit=None, opened=opened)
                recordings = {stream_name(chosen): part_of(recording) for chosen, recording in found}
                write(recordings if any(recordings) else recordings[""], target)
        elif every:
            targets = _stream_targets(path, target, format, kind, of_source, overwrite=overwrite)
            found = every_channel(path, format, of_source, kind, limit=None)
            for (_, recording), to in zip(found, targets, strict=True):
                write(part_of(recording), to)
        else:
            try:
                opened_one = roi.open(path, format=format, kind=kind, **of_source)  # type: ignore[call-overload]
            except StreamChoiceError as error:
                where = "all of them to one file" if is_one_file else "each of them to a file of its own"
                raise StreamChoiceError(
                    f"{error}; or write {where}: --all", option=error.option, choices=error.choices
                ) from error
            with opened_one as recording:
                write(part_of(recording), target)


def _stream_targets(
    path: str, target: Path, format: str | None, kind: str, options: Mapping[str, Any], *, overwrite: bool
) -> list[Path]:
    """Return the file for each stream of a recording, which is named after it; they are checked before the first is written."""
    targets: list[Path] = []
    for chosen, _ in every_channel(path, format, options, kind, limit=None):
        targets.append(stream_target(target, chosen))
        if _as_the_system_compares(targets[-1]) in map(_as_the_system_compares, targets[:-1]):
            raise SourceKindError(f"two streams of {printable(path)} would be written to {printable(targets[-1])}")
        if not overwrite and os.path.lexists(targets[-1]):
            raise SourceKindError(f"{printable(targets[-1])} already exists; pass overwrite=True to replace it")
    return targets


def _as_the_system_compares(path: Path) -> str:
    """Return a path for comparison: channels named GFP and gfp share a file on Windows and macOS."""
    return file_name_key(str(path)) if sys.platform in ("win32", "darwin") else str(path)


def _contents(recording: Any) -> str:
    if recording.kind == "segmentation":
        return f"{counted(recording.get_num_rois(), 'ROI')}, {counted(recording.get_num_samples(), 'sample')}"
    return f"{' x '.join(f'{n:,}' for n in recording.shape)}, {recording.dtype}"


def _size_on_disk(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size


@app.command(cls=RecordingCommand, rich_help_panel=EVERY_DAY)
def streams(
    path: OnePath, option: Options = None, format: Format = None, as_json: AsJson = False, kind: Kind = None
) -> None:
    """List the channels, planes and other streams of a recording."""
    found = _streams_of(path, format, kinds_in(path, format, kind), parse_options(option))
    if as_json:
        print(json.dumps({key: list(value) for key, value in found.items()}, indent=1))
    elif found:
        terminal.grid(("option", "values"), ((key, ", ".join(map(printable, found[key]))) for key in found))
    else:
        print(f"{printable(path)} has one stream; there is nothing to choose")


def _streams_of(
    path: str, format: str | None, kinds: Iterable[str], options: Mapping[str, Any]
) -> Mapping[str, tuple[str, ...]]:
    """Return the streams of the first kind that the path contains."""
    errors: list[Exception] = []
    for kind in kinds:
        try:
            return roi.streams(path, format=format, kind=kind, **options)
        except (RoiExtractorsError, OSError) as error:  # a file of a general format may contain ROIs alone
            errors.append(error)
    raise errors[0]


@app.command(cls=RecordingCommand, rich_help_panel=DETECTION)
def explain(
    path: OnePath,
    every: Annotated[bool, typer.Option("--all", help="Show the formats that do not match, too.")] = False,
    as_json: AsJson = False,
    anonymous: Anonymous = False,  # which run() has seen to
    kind: Kind = None,
) -> None:
    """Show which formats match a path, and why. With --all, also why the others do not."""
    found = roi.explain(path, kind=kind)
    if as_json:
        terminal.document(found.to_dict())
        return
    print(f"{printable(found.path)}: {printable(found.looks_like)}")
    rows = list(_answers(found, every=every))
    if rows:
        terminal.grid(("", "format", "from", "answer"), rows)
    num_left = 0 if every else sum(finding.answer is False for _, finding in found.findings)
    if num_left:
        print(f"{counted(num_left, 'format')} {'does' if num_left == 1 else 'do'} not match; --all shows why")
    for record in found.failed_plugins:
        print(f"failed: {printable(record.name)}: {printable(record.reason)}")
    for note in found.notes:
        print(f"note: {printable(in_command_words(note))}")
    found.require_best()  # after the table: the error gives the exit status of scripts


def _answers(found: Explanation, *, every: bool) -> Iterator[tuple[str, ...]]:
    for match in found.matches:
        mark = "->" if match is found.best else "yes"
        basis = "; ".join(filter(None, (match.finding.basis, match.spec.missing)))
        yield mark, match.spec.name, match.plugin, printable(basis)
    for match in found.other_kinds:
        yield f"as {match.spec.kind}", match.spec.name, match.plugin, printable(match.finding.basis)
    for name, finding in found.findings:
        if every or finding.answer is not False:
            yield finding.word, name, roi.default_registry().owner(name), printable(finding.basis)
    for entry in found.not_installed:
        yield "known", entry.spec.name, "not installed", entry.how_to_install


@app.command(rich_help_panel=DETECTION)
def formats(
    every: Annotated[bool, typer.Option("--all", help="Show everything that is declared about each format.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the formats that can be opened, and those that other plugins would add."""
    registry = roi.default_registry()
    installed = [(spec, registry.owner(spec.name), True) for spec in registry.formats()]
    names = {spec.name for spec, _, _ in installed}
    others = [(entry.spec, entry.plugin, False) for entry in registry.catalogue() if entry.spec.name not in names]
    rows = [*installed, *others]
    if as_json:
        about = [{**s.to_dict(), "plugin": plugin, "installed": here, "missing": s.missing} for s, plugin, here in rows]
        print(json.dumps(about, indent=1))
        return
    more = ("streams", "clock", "writes", "systems") if every else ()
    for kind, title in (("imaging", "movies"), ("segmentation", "ROIs and traces")):
        terminal.heading(title)
        cells = [_format_cells(spec, plugin, here, every=every) for spec, plugin, here in rows if spec.kind == kind]
        terminal.grid(("format", "title", "suffixes", *more, "plugin"), cells, compact=True)
        print()
    for spec, _, here in rows:
        if here and spec.missing:
            terminal.paragraph(f"{printable(spec.name)} {printable(spec.missing)}")
    if not every:
        print("--all shows more of each format")


def _format_cells(spec: roi.FormatSpec, plugin: str, is_installed: bool, *, every: bool) -> tuple[str, ...]:
    more = (
        " ".join(spec.streams),
        "" if spec.clock == "none" else spec.clock,
        " ".join(spec.writer_extensions) or ("by name" if spec.writer else ""),
        "" if spec.platforms == ("any",) else " ".join(spec.platforms),
    )
    return (
        spec.name,
        printable(spec.title),
        " ".join(spec.extensions),
        *(more if every else ()),
        f"{plugin}, incomplete"
        if is_installed and spec.missing
        else plugin
        if is_installed
        else f"{plugin}, not installed",
    )


@app.command(rich_help_panel=DETECTION)
def plugins(as_json: AsJson = False, anonymous: Anonymous = False) -> None:
    """List the plugins that were found, and why any failed to load."""
    found = roi.plugins()
    if as_json:
        terminal.document([record.to_dict() for record in found])
        return
    terminal.grid(
        ("plugin", "version", "status", "formats", "loaded in"),
        (
            (
                printable(record.name),
                printable(record.version),
                "incomplete" if record.missing else record.status,
                " ".join(record.formats),
                f"{record.load_seconds * 1e3:.1f} ms{' (slow)' if record.is_slow else ''}",
            )
            for record in found
        ),
    )
    # Below the table: in a column they would be a few words wide
    for record in found:
        reason = "; ".join(filter(None, (record.reason, record.missing, _changes(record))))
        if reason:
            terminal.paragraph(f"{printable(record.name)}: {printable(reason)}")


def _changes(record: roi.PluginRecord) -> str:
    return f"its import changed {', '.join(record.changes)}" if record.changes else ""


@app.command(rich_help_panel=EVERY_DAY)
def demo(
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Write the files to this folder.")] = Path(
        "roiextractors-demo"
    ),
    seed: Annotated[int, typer.Option(metavar="N", help="The seed of the scene and the noise.")] = 1,
    samples: Annotated[
        int, typer.Option(min=30, max=100_000, metavar="N", help="The number of frames per channel.")
    ] = 600,
) -> None:
    """Simulate a two-photon recording, write it as ScanImage BigTIFF and .npy, open both files, and draw it."""
    # The simulation imports what no other subcommand needs
    from .demo import demonstrate

    if not demonstrate(output, seed=seed, num_samples=samples):
        raise typer.Exit(1)


scaffold.register(app)
validation.register(app)


def _parse_range(text: str) -> tuple[int | None, int | None]:
    found = re.fullmatch(r"\s*(\d*)\s*:\s*(\d*)\s*", text)
    if found is None:
        raise SourceKindError(f"--samples {printable(text)!r} is not a range; use START:END, for example 0:100")
    start, end = (int(part) if part else None for part in found.groups())
    return start, end

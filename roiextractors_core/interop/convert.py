"""A recording written in another format, by the writer of an installed plugin."""

from __future__ import annotations

import difflib
import errno
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..errors import (
    AmbiguousFormatError,
    DeclarationError,
    FormatNotInstalledError,
    MissingDependencyError,
    PluginError,
    RoiExtractorsError,
    SourceError,
    SourceKindError,
    StreamChoiceError,
    TargetWriteError,
    UnknownFormatError,
    UnknownOptionError,
    UnsupportedRecordingError,
    listed,
    printable,
)
from ..extractor import Extractor
from ..factory import open as open_recording
from ..imaging.extractor import ImagingExtractor, unshadowed
from ..io.atomic import remove_leftovers, write_then_rename
from ..io.blocks import Progress
from ..io.source import Source
from ..registry.catalogue import CatalogueEntry, how_to_install
from ..registry.registry import Registry, default_registry
from ..registry.spec import FormatSpec
from .read_files import ReadFiles
from .writer import CompanionWriter, NamingWriter, ReplacingWriter, SeveralWriter

__all__ = ["convert", "stores_several", "writable_formats"]

_OWN_PARAMETERS = ("target", "progress")


def convert(
    recording: Any,
    target: str | os.PathLike[str],
    *,
    format: str | None = None,
    kind: str = "imaging",
    overwrite: bool = False,
    progress: Progress | None = None,
    registry: Registry | None = None,
    **options: Any,
) -> Path:
    """Write a recording, a segmentation, or several of one session, in another format.

    The result opens with ``roiextractors_core.open``, with the same pixels, times and metadata as far as the format can store
    them. It is written under a temporary name next to the target and renamed at the end; an interruption leaves nothing. A
    process that is killed (SIGKILL) may leave a hidden folder ``.roiextractors-....partial``; the next call with the same
    target removes it.

    Parameters
    ----------
    recording : ImagingExtractor, SegmentationExtractor, str or os.PathLike; or a list or dict of recordings
        A recording, a view of one (a range of samples, a rectangle, a plane, some ROIs), or the path of one. For formats whose files
        store several recordings, such as NWB, also a list of recordings or a dict of recordings or paths by name; and from a path,
        all of its channels, planes or other streams are written.
    target : str or os.PathLike
        The file or folder to write. Its suffix chooses the format: ``.npy`` here, others by installed plugins.
    format : str, optional
        The name of the format to write, instead of choosing it by the suffix.
    kind : str
        Which kind to open, if ``recording`` is a path: ``"imaging"`` or ``"segmentation"``.
    overwrite : bool
        Replace the target if it exists: a file, or a folder with what this writer writes and nothing else. It is replaced at
        the end, when the new one is complete. A file or folder that the recording reads is never replaced.
    progress : callable, optional
        Called as ``progress(done, total)``, in bytes of pixels.
    registry : Registry, optional
        The registry to look for formats in.
    **options
        Options of the writer, such as ``start_time=`` of NWB.

    Returns
    -------
    pathlib.Path
        The path of the result: the target, unless the format prescribes the file's name.

    Raises
    ------
    SourceKindError
        The suffix belongs to no writer, the target or a file that is written next to it exists, or one of them is a file that
        the recording reads (:meth:`ImagingExtractor.get_paths`) or is inside a folder that it reads.
    UnknownFormatError, FormatNotInstalledError, AmbiguousFormatError
        No format of this name can be written, its plugin is not installed, or two formats write this suffix.
    UnknownOptionError
        The writer does not take an option; the message lists those that it takes.
    UnsupportedRecordingError
        The format cannot store this recording.
    MissingDependencyError
        The library that writes the format is not installed.
    TargetWriteError
        The system failed while writing: a full disk, a quota, a folder that vanished.
    PluginError
        The writer failed.
    """
    formats = registry or default_registry()
    path = Path(target)
    if path.name in ("", "..") or "\0" in path.name:
        raise SourceKindError(f"{printable(target)!r} is not the name of a file or folder to write")
    given = _given_several(recording)
    first = next((one for one in (given or {"": recording}).values() if isinstance(one, Extractor)), None)
    kind = kind if first is None else first.kind
    spec = _format_of_suffix(path, formats, kind) if format is None else _format_of_name(format, formats, kind)
    write = _load_writer(spec, formats)
    _check_options(spec, write, options)
    with ExitStack() as opened:
        if given is None:
            source = _one_or_all(recording, spec, write, kind, formats, opened)
        else:
            source = _several(given, spec, write, kind, formats, opened)
        several = source if isinstance(source, dict) else {"": source}
        recordings = {f"recording {name}" if isinstance(source, dict) else "": one for name, one in several.items()}
        # An option may be a second recording, whose files must not be replaced either
        recordings |= {name: value for name, value in options.items() if isinstance(value, Extractor)}
        with _plugin_border(spec):
            if isinstance(write, NamingWriter):
                # Named before the checks, which must see the file that is really written
                path = path.with_name(write.target_name(source, path, **options))
            files = _target_files(path, write)
            check = _TargetCheck(recordings, spec, write, overwrite=overwrite)
        if not path.parent.is_dir():
            raise SourceKindError(f"{printable(path)}: the folder {printable(path.parent)} does not exist")
        # After the checks of the format and the options: a call that is refused changes nothing on the disk
        remove_leftovers(path)
        for file in files:
            check(file)
        _write(source, path, spec, write, _Report(progress), options, overwrite=overwrite, check=check)
    return path


def stores_several(
    target: str | os.PathLike[str],
    *,
    format: str | None = None,
    kind: str = "imaging",
    registry: Registry | None = None,
) -> bool:
    """Return whether :func:`convert` can write several recordings of one session to this target, as one file.

    Parameters
    ----------
    target, format, kind, registry
        As for :func:`convert`, with the same errors.
    """
    formats, path = registry or default_registry(), Path(target)
    spec = _format_of_suffix(path, formats, kind) if format is None else _format_of_name(format, formats, kind)
    return isinstance(_load_writer(spec, formats), SeveralWriter)


# What is written


def _given_several(recording: Any) -> dict[str, Any] | None:
    """Return the recordings of a dict or list by name; None for one recording, which a list of paths is too: its files."""
    if isinstance(recording, Mapping):
        several = {str(name): one for name, one in recording.items()}
    elif isinstance(recording, list | tuple) and any(isinstance(one, Extractor) for one in recording):
        if not all(isinstance(one, Extractor) for one in recording):
            raise SourceKindError(
                "a list contains recordings and paths; pass recordings only, or a dict with a name for each"
            )
        several = dict(zip(_names_of(recording), recording, strict=True))
    else:
        return None
    if not several:
        raise SourceKindError("there is nothing to write: the dict of recordings is empty")
    return several


def _names_of(recordings: Iterable[Extractor]) -> list[str]:
    channels = [recording.metadata.channels for recording in recordings]
    names = [found[0].name if len(found) == 1 else "" for found in channels]
    if all(names) and len(set(names)) == len(names):
        return names
    return [str(number) for number in range(1, len(names) + 1)]


def _several(
    given: Mapping[str, Any], spec: FormatSpec, write: Any, kind: str, registry: Registry, opened: ExitStack
) -> Extractor | dict[str, Extractor]:
    if not isinstance(write, SeveralWriter) and len(given) > 1:
        raise UnsupportedRecordingError(
            f"a file of {spec.title} stores one recording, got {len(given)} ({listed(given)}); convert them one by one"
        )
    recordings = {
        # A recording that was passed stays open: it is the caller's
        name: one if isinstance(one, Extractor) else opened.enter_context(_open(one, kind, registry))
        for name, one in given.items()
    }
    other = next((name for name, one in recordings.items() if one.kind != kind), None)
    if other is not None:
        raise UnsupportedRecordingError(
            f"a file of {spec.title} needs recordings of one kind: {other!r} is of kind "
            f"{recordings[other].kind!r}, the first of {kind!r}"
        )
    return recordings if isinstance(write, SeveralWriter) else next(iter(recordings.values()))


def _one_or_all(
    recording: Any, spec: FormatSpec, write: Any, kind: str, registry: Registry, opened: ExitStack
) -> Extractor | dict[str, Extractor]:
    """Return the recording; or, where a path contains several and the format stores several, all of them by name."""
    if isinstance(recording, Extractor):
        return recording
    if not isinstance(write, SeveralWriter):
        return opened.enter_context(_open(recording, kind, registry))
    every = {name: opened.enter_context(one) for name, one in _open_all(recording, kind, registry)}
    return every[""] if list(every) == [""] else every


def _open_all(source: Any, kind: str, registry: Registry, **chosen: Any) -> Iterator[tuple[str, Extractor]]:
    """Yield every stream of a source, by the values of its options."""
    try:
        one = _open(source, kind, registry, **chosen)
    except StreamChoiceError as error:
        if not error.option or error.option in chosen:
            raise
        for choice in error.choices:
            yield from _open_all(source, kind, registry, **chosen, **{error.option: choice})
    else:
        # "0" alone does not say what it numbers
        words = (
            f"{key.replace('_', ' ')} {value}" if str(value).isdigit() else str(value) for key, value in chosen.items()
        )
        yield " ".join(words), one


def _open(source: Any, kind: str, registry: Registry, **options: Any) -> Extractor:
    opened: Extractor = open_recording(source, kind=kind, registry=registry, **options)  # type: ignore[call-overload]
    return opened


def _write(
    source: Extractor | dict[str, Extractor],
    path: Path,
    spec: FormatSpec,
    write: Any,
    report: _Report,
    options: Mapping[str, Any],
    *,
    overwrite: bool,
    check: _TargetCheck,
) -> None:
    try:
        # Checked again before the rename: a file may have appeared while writing, which takes minutes
        with write_then_rename(path, overwrite=overwrite, check=check) as partial:
            try:
                with _plugin_border(spec, report):
                    write(_whole(source), partial, target=path, progress=report, **options)
            except SourceError as error:
                if partial.parent.is_dir():
                    raise
                raise _vanished_error(path) from error
            if not partial.exists():
                if not partial.parent.is_dir():
                    raise _vanished_error(path)
                raise PluginError(f"the writer of {spec.title} ended without writing {printable(path.name)}")
    except OSError as error:
        # Errors of ours may be an OSError too; an error of the caller's progress function is the caller's
        if isinstance(error, RoiExtractorsError) or error is report.raised:
            raise
        reason = error.strerror or f"the disk may be full, or a limit was reached ({printable(error)})"
        raise TargetWriteError(
            f"{printable(path)} could not be written: {reason}; nothing was written under this name"
        ) from error


def _whole(source: Any) -> Any:
    if isinstance(source, dict):
        return {name: _whole(one) for name, one in source.items()}
    return unshadowed(source) if isinstance(source, ImagingExtractor) else source


def _vanished_error(path: Path) -> OSError:
    return FileNotFoundError(errno.ENOENT, f"{printable(path.parent)} was removed in the meantime")


def writable_formats(registry: Registry | None = None) -> tuple[FormatSpec, ...]:
    """Return the installed formats that can be written, sorted by name."""
    return tuple(spec for spec in (registry or default_registry()).formats() if spec.writer)


# Choosing the writer


def _format_of_name(name: str, registry: Registry, kind: str) -> FormatSpec:
    specs = [registry.get(name), registry.get(f"{name}-{kind}")]
    spec = next((spec for spec in specs if spec is not None and spec.kind == kind), specs[0])
    if spec is not None and spec.writer and spec.kind == kind:
        return spec
    names = [spec.name for spec in writable_formats(registry) if spec.kind == kind]
    if spec is not None and spec.kind != kind:
        raise UnknownFormatError(
            f"{spec.title} cannot be written from a recording of kind {kind!r}; the formats that can are {listed(names)}"
        )
    if spec is not None:
        raise UnknownFormatError(
            f"{spec.title} can be read but not written; the formats that can be written are {listed(names)}"
        )
    for entry in registry.catalogue():
        if entry.spec.name == name and entry.spec.writer:
            raise _not_installed(entry)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise UnknownFormatError(
        f"there is no format {name!r} to write{hint} The formats that can be written are {listed(names)}"
    )


def _format_of_suffix(path: Path, registry: Registry, kind: str) -> FormatSpec:
    installed = [spec for spec in writable_formats(registry) if spec.kind == kind]
    suffix, candidates = _longest_suffix(path, installed)
    names = {spec.name for spec in candidates}
    # Only between formats that both match: a format that is not installed beats nothing
    losers = {loser for winner, loser in registry.preferences() if {winner, loser} <= names}
    kept = [spec for spec in candidates if spec.name not in losers]
    if len(kept) == 1:
        return kept[0]
    if kept:
        raise AmbiguousFormatError(
            f"{printable(path.name)}: the suffix {suffix} is written by {listed(sorted(names))}; "
            f"choose one: convert(..., format={kept[0].name!r})"
        )
    _check_catalogue(path, registry, kind)
    known = sorted({suffix for spec in installed for suffix in spec.writer_extensions})
    by_name = [spec.name for spec in installed if not spec.writer_extensions]
    more = f"; by name: {', '.join(f'format={name!r}' for name in by_name)}" if by_name else ""
    if not known and not by_name:
        raise SourceKindError(f"cannot write {printable(path.name)}: no installed format can be written from a {kind}")
    has = f"the suffix {path.suffix!r} is not known" if path.suffix else "the name has no suffix"
    raise SourceKindError(f"cannot write {printable(path.name)}: {has}; supported suffixes: {', '.join(known)}{more}")


def _check_catalogue(path: Path, registry: Registry, kind: str) -> None:
    entries = {entry.spec.name: entry for entry in registry.catalogue() if entry.spec.kind == kind}
    _, known = _longest_suffix(path, [entry.spec for entry in entries.values()])
    if known:
        raise _not_installed(entries[known[0].name])


def _longest_suffix(path: Path, specs: Iterable[FormatSpec]) -> tuple[str, list[FormatSpec]]:
    """Return the longest suffix of the path that some format writes, and the formats that write it."""
    name = path.name.lower()
    pairs = [(s, spec) for spec in specs for s in spec.writer_extensions if name.endswith(s) and name != s]
    longest = max((suffix for suffix, _ in pairs), key=len, default="")
    return longest, [spec for suffix, spec in pairs if suffix == longest]


def _not_installed(entry: CatalogueEntry) -> FormatNotInstalledError:
    return FormatNotInstalledError(f"writing {entry.spec.title} needs {entry.plugin}: {entry.how_to_install}")


def _load_writer(spec: FormatSpec, registry: Registry) -> Any:
    plugin = registry.owner(spec.name)
    try:
        return spec.load_writer()
    except ImportError as error:
        raise MissingDependencyError(
            f"{spec.title} cannot be written: importing {spec.writer} of {plugin} failed: {printable(error)}; "
            f"{how_to_install(plugin)}"
        ) from error
    except RoiExtractorsError:
        raise
    except Exception as error:  # the border to the plugin: its module may raise anything
        raise PluginError(
            f"importing {spec.writer} of {plugin} failed: {type(error).__name__}: {printable(error)}"
        ) from error


def _check_options(spec: FormatSpec, write: Callable[..., None], options: Mapping[str, Any]) -> None:
    # Read from the signature: a declared list of options could differ from it
    known = [p.name for p in inspect.signature(write).parameters.values() if p.kind is p.KEYWORD_ONLY]
    missing = [name for name in _OWN_PARAMETERS if name not in known]
    if missing:
        raise DeclarationError(f"the writer {spec.writer} must take the keyword {missing[0]!r}")
    choices = [name for name in known if name not in _OWN_PARAMETERS]
    unknown = [name for name in options if name not in choices]
    if unknown:
        near = difflib.get_close_matches(unknown[0], choices, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        takes = f"Its options are {listed(choices)}" if choices else "It takes none"
        raise UnknownOptionError(f"the writer of {spec.title} has no option {unknown[0]!r}{hint} {takes}")


# The target


def _target_files(path: Path, write: Any) -> list[Path]:
    names = write.companion_names(path) if isinstance(write, CompanionWriter) else ()
    return [path, *(path.with_name(name) for name in names)]


class _TargetCheck:
    """Refuses what must not be written: files that are read, and existing files and folders that may be somebody's data.

    Parameters
    ----------
    recordings : mapping of str to Extractor
        What is read, by what it is in the message: an empty name, one of several recordings, an option.
    """

    def __init__(self, recordings: Mapping[str, Extractor], spec: FormatSpec, write: Any, *, overwrite: bool) -> None:
        self._sources = [
            ReadFiles((*recording.get_paths(), *recording.provenance.paths), name)
            for name, recording in recordings.items()
        ]
        self._spec, self._write, self._overwrite = spec, write, overwrite

    def __call__(self, path: Path) -> None:
        for source in self._sources:
            source.require_apart(path)
        # lexists: a link that leads nowhere is an existing name too
        if not os.path.lexists(path) or _is_empty_folder(path):
            return
        if not self._overwrite:
            raise SourceKindError(f"{printable(path)} already exists; pass overwrite=True to replace it")
        self._require_replaceable(path)

    def _require_replaceable(self, path: Path) -> None:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise SourceKindError(f"{printable(path)} is a device, a pipe or a socket; choose another name")
        if path.is_dir() and not _is_of_format(path, self._spec):
            raise SourceKindError(
                f"{printable(path)} is a folder with other content, not {self._spec.title}, so it is not replaced; "
                "choose another name"
            )
        if path.exists() and isinstance(self._write, ReplacingWriter) and not self._write.may_replace(path):
            raise SourceKindError(
                f"{printable(path)} contains something other than {self._spec.title}, so it is not replaced; "
                "move it or choose another name"
            )


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _is_of_format(path: Path, spec: FormatSpec) -> bool:
    """Whether a folder may be deleted for a new one: what is not certainly of the format may be somebody's data."""
    if spec.evidence is None:
        return False
    with Source(path) as source:
        # The content decides and not the suffix: folders of other data end in .zarr too
        return spec.evidence.check(source).word == "yes"


# The border to the writer


class _Report:
    """Passes progress on, and remembers what the caller's function raised: that error is not the writer's."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.raised: Exception | None = None

    def __call__(self, done: int, total: int) -> None:
        try:
            if self._progress is not None:
                self._progress(done, total)
        except Exception as error:  # remembered and raised again
            self.raised = error
            raise


@contextmanager
def _plugin_border(spec: FormatSpec, report: _Report | None = None) -> Iterator[None]:
    """Turn an error of the writer's own, which names neither format nor plugin, into one that does."""
    try:
        yield
    except (RoiExtractorsError, OSError, MemoryError, Warning):
        raise
    except Exception as error:  # the border to the plugin: its libraries may raise anything
        if report is not None and error is report.raised:
            raise
        if (failure := _system_error(error)) is not None:
            raise failure from error
        raise PluginError(
            f"writing {spec.title} failed in {spec.writer}: {type(error).__name__}: {printable(error)}"
        ) from error


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the error of the system, such as a full disk, that an error of a library comes from."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        error = error.__cause__ or error.__context__
    return None

"""Opening any recording with one call."""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, overload

from .cards import StreamDict
from .errors import (
    AmbiguousFormatError,
    DeclarationError,
    FormatNotInstalledError,
    MissingDependencyError,
    PluginError,
    RecordingError,
    RoiExtractorsError,
    RoiExtractorsWarning,
    SourceError,
    SourceKindError,
    StreamChoiceError,
    UnknownFormatError,
    UnknownOptionError,
    listed,
    printable,
)
from .extractor import Extractor
from .io.known import is_folder, run_asked_once
from .io.libraries import missing_module
from .io.notices import silenced, warn
from .io.source import Source, SourceLike
from .metadata import Provenance
from .registry.catalogue import catalogue, how_to_install
from .registry.detection import best_match, choose, examine, matching
from .registry.registry import Registry, RegistryState, default_registry
from .registry.spec import FormatSpec, known_kind

if TYPE_CHECKING:
    from .imaging.extractor import ImagingExtractor
    from .segmentation.extractor import SegmentationExtractor

__all__ = ["Recordings", "open", "open_all", "streams"]

_MAX_BELOW = 50  # names in a folder that are looked at for the message that it is no recording itself


@overload
def open(
    source: SourceLike,
    *,
    format: str | None = None,
    kind: Literal["imaging"] = "imaging",
    registry: Registry | None = None,
    **options: Any,
) -> ImagingExtractor: ...
@overload
def open(
    source: SourceLike,
    *,
    format: str | None = None,
    kind: Literal["segmentation"],
    registry: Registry | None = None,
    **options: Any,
) -> SegmentationExtractor: ...
def open(
    source: SourceLike,
    *,
    format: str | None = None,
    kind: str = "imaging",
    registry: Registry | None = None,
    **options: Any,
) -> Any:
    """Open a recording or a segmentation, whatever its format.

    Parameters
    ----------
    source : str, os.PathLike, or a list of them
        A file, a folder, or the files of one recording in order.
    format : str, optional
        Use this format instead of detecting it.
    kind : str
        ``"imaging"`` for a movie, or ``"segmentation"`` for ROIs, masks and traces.
    registry : Registry, optional
        The default one when left out.
    **options
        Keywords of the format's extractor: a stream (``channel="Channel 2"``), ``sampling_frequency=`` in Hz, ...

    Returns
    -------
    ImagingExtractor or SegmentationExtractor
        One channel with all of its planes; or the ROIs of one.

    Raises
    ------
    SourceError
        The path does not exist, is empty, may not be read, is a URL, or is of the other kind only.
    UnknownFormatError, FormatNotInstalledError, AmbiguousFormatError
        No format matches, none that is installed, or two match equally well.
    UnknownOptionError
        The format does not have an option; the message lists those that it has.
    StreamChoiceError
        The recording contains several streams; the message lists them.
    RecordingError
        The content is damaged or not supported.

    Examples
    --------
    >>> import numpy as np, roiextractors_core as roi
    >>> np.save("movie.npy", np.zeros((100, 32, 32), np.uint16))
    >>> recording = roi.open("movie.npy", sampling_frequency=30.0)
    >>> recording.shape
    (100, 32, 32)
    """
    state = (registry or default_registry()).snapshot()
    return run_asked_once(_open, source, format, known_kind(kind), state, options)


def _open(source: SourceLike, format: str | None, kind: str, state: RegistryState, options: dict[str, Any]) -> Any:
    with Source(source) as opened:
        spec, evidence, advice = _choose_format(opened, format, kind, state)
    if advice:  # first: it helps most where the recording cannot be opened
        warn(advice, RoiExtractorsWarning)
    extractor_class = _load_class(spec, state)
    try:
        recording = _construct(extractor_class, spec, opened.value, options)
    except (RoiExtractorsError, OSError) as error:
        if format is not None:
            raise
        # In place of the error: what the file lacks on its own is not what to add
        hint = _folder_hint(opened, state, spec) or _kind_hint(opened, state, spec, error)
        if hint:
            raise SourceKindError(hint) from error
        raise
    plugin = state.owner(spec.name)
    unused = "" if format is not None else _unused_companion(opened, spec, state, recording)
    if unused:
        warn(unused, RoiExtractorsWarning)
    notes = (*recording.get_notes(), *filter(None, (advice, unused)))
    paths = tuple(map(str, opened.paths))
    recording.bind_provenance(
        Provenance(spec.name, plugin, state.version(plugin), paths, dict(options), evidence, notes)
    )
    return recording


def streams(
    source: SourceLike,
    *,
    format: str | None = None,
    kind: str = "imaging",
    registry: Registry | None = None,
    **options: Any,
) -> dict[str, tuple[str, ...]]:
    """Return the streams of a recording: the options that choose one, and their values.

    Parameters
    ----------
    source, format, kind, registry, **options
        As for :func:`open`.

    Returns
    -------
    dict
        ``{"channel": ("Channel 1", "Channel 2")}``; empty when there is nothing to choose.
    """
    state = (registry or default_registry()).snapshot()
    return StreamDict(run_asked_once(_streams, source, format, known_kind(kind), state, options))


def _streams(
    source: SourceLike, format: str | None, kind: str, state: RegistryState, options: dict[str, Any]
) -> dict[str, tuple[str, ...]]:
    with Source(source) as opened:
        spec, _, _ = _choose_format(opened, format, kind, state)
    method = getattr(_load_class(spec, state), "get_streams", None)
    if method is None:
        return {}
    try:
        choices = method(opened.value, **options)
    except (RoiExtractorsError, OSError):
        raise
    except Exception as error:  # whatever the plugin's code raises: the message names the plugin's format
        raise _plugin_error(f"{spec.title}: listing the streams of {printable(opened.value)} failed", error) from error
    return {str(option): tuple(str(choice) for choice in values) for option, values in choices.items()}


class Recordings(dict[str, Any]):
    """Recordings by name; closing it, or leaving its ``with`` block, closes all of them."""

    def close(self) -> None:
        """Close every recording."""
        for recording in self.values():
            recording.close()

    def __enter__(self) -> Recordings:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_all(
    source: SourceLike,
    *,
    format: str | None = None,
    kind: str = "imaging",
    registry: Registry | None = None,
    **options: Any,
) -> Recordings:
    """Open every stream of a recording: all channels, and the planes, positions or sessions that are opened one by one.

    Parameters
    ----------
    source, format, kind, registry, **options
        As for :func:`open`; an option that chooses a stream leaves the others out.

    Returns
    -------
    Recordings
        A dictionary. The name is that of the stream, such as ``"Channel 1"``, or of all choices, such as ``"Channel 1, plane 2"``;
        a recording without streams has the name of its channel, else of its file or folder.

    Raises
    ------
    RoiExtractorsError
        As for :func:`open`. Nothing stays open when one stream cannot be opened.

    Examples
    --------
    >>> import numpy as np, roiextractors_core as roi
    >>> np.save("movie.npy", np.zeros((100, 32, 32), np.uint16))
    >>> roi.open_all("movie.npy")
    {'movie.npy': <NpyImagingExtractor: 100 samples of 32 rows x 32 columns, uint16, 200.0 KiB; rate unknown>}
    """
    arguments: dict[str, Any] = {"format": format, "kind": kind, "registry": registry}
    recordings = Recordings()
    with contextlib.ExitStack() as opened:
        for chosen in _choices(source, arguments, options, {}):
            recording = opened.enter_context(open(source, **{**arguments, **options, **chosen}))
            alone = recording.channel_name or os.path.basename(recording.provenance.paths[0])
            # A number alone does not say of what it is
            words = [
                f"{key.replace('_', ' ')} {value}" if value.isdecimal() else value for key, value in chosen.items()
            ]
            name = ", ".join(words) or str(alone)
            recordings[name if name not in recordings else str(chosen)] = recording
        opened.pop_all()
    return recordings


def _choices(
    source: SourceLike, arguments: dict[str, Any], options: dict[str, Any], chosen: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the options of every stream; what the next option has to choose from may depend on the choices before it."""
    left = {
        key: names for key, names in streams(source, **arguments, **options, **chosen).items() if key not in options
    }
    key = next((key for key in left if key not in chosen), None)
    if key is None:
        yield chosen
        return
    for name in left[key]:
        yield from _choices(source, arguments, options, {**chosen, key: name})


def _choose_format(source: Source, name: str | None, kind: str, state: RegistryState) -> tuple[FormatSpec, str, str]:
    """Return the format, the evidence for it in words, and advice for the user (often empty)."""
    if name is not None:
        return _named_format(name, kind, state), "named by format=", ""
    try:
        match, advice = choose(source, state, kind)
    except AmbiguousFormatError:
        fault = _fault_of_tied(source, kind, state)
        if fault is None:
            raise
        raise fault from None
    except UnknownFormatError as error:
        reason = "" if isinstance(error, FormatNotInstalledError) else _reason_by_suffix(source, kind, state)
        hint = "" if reason else _folder_hint(source, state)
        # In place of the error: what the folder contains helps more than the formats that were tried
        is_known = isinstance(error, FormatNotInstalledError)
        below = "" if reason or hint or is_known else _recordings_below(source, kind, state)
        raise type(error)(hint or below or f"{error}{reason}") from None
    return match.spec, match.finding.basis, advice


def _named_format(name: str, kind: str, state: RegistryState) -> FormatSpec:
    spec = state.specs.get(name)
    if spec is None:
        raise _unknown_name_error(name, state)
    if spec.kind == kind:
        return spec
    # The segmentations of a program whose movies have the name already
    other = state.specs.get(f"{name}-{kind}")
    if other is None or other.kind != kind:
        raise UnknownFormatError(f"{spec.title} is a format of kind {spec.kind!r}: open(..., kind={spec.kind!r})")
    return other


def _unused_companion(source: Source, spec: FormatSpec, state: RegistryState, recording: Extractor) -> str:
    """Return a sentence about the first file of a more special format that is beside the source and is not read; often empty."""
    special = [other for other in state.specs.values() if spec.name in other.specializes]
    owners = {name.lower(): other for other in special for name in other.companions}
    try:
        names = source.members if source.is_folder else source.neighbours
    except SourceError:  # a folder that may be entered but not listed: the recording opens all the same
        return ""
    ends = tuple(name.removeprefix("*") for name in owners)
    candidates = [name for name in names if name.lower().endswith(ends)]  # one fast test: there may be 100,000 names
    used = {path.name for path in source.paths}
    if candidates:  # some formats list thousands of files
        used |= set(map(os.path.basename, recording.get_paths()))
    for name in candidates:
        # A name without "*" is that of the whole file
        by_end = (owners[key] for key in owners if key[0] == "*" and name.lower().endswith(key[1:]))
        other = owners.get(name.lower()) or next(by_end, None)
        if other is not None and name not in used:
            return (
                f"{printable(source.name)} is read as {spec.title}; "
                f"{printable(name)} beside it is a file of {other.title} and is not used"
            )
    return ""


def _load_class(spec: FormatSpec, state: RegistryState) -> Any:
    plugin = state.owner(spec.name)
    if spec.missing:
        raise MissingDependencyError(f"{spec.title} {spec.missing}")
    try:
        return spec.load()
    except ImportError as error:
        if words := missing_module(error):
            raise MissingDependencyError(f"{spec.title} {words}") from error
        raise MissingDependencyError(
            f"cannot read {spec.title}: importing {spec.extractor} of {plugin} failed: {printable(error)}; "
            f"{how_to_install(plugin)}"
        ) from error
    except RoiExtractorsError:
        raise
    except Exception as error:  # an import runs the plugin's code, which may raise anything
        raise _plugin_error(f"importing {spec.extractor} of {plugin} failed", error) from error


def _construct(extractor_class: Any, spec: FormatSpec, value: Any, options: dict[str, Any]) -> Extractor:
    known, takes_any = _known_options(extractor_class)
    arguments = dict(options)
    if "sampling_frequency" not in known and not takes_any:
        arguments.pop("sampling_frequency", None)  # an option of every format; applied below
    unknown = [] if takes_any else [key for key in arguments if key not in known]
    if unknown:
        raise _unknown_option_error(spec, unknown[0], known)
    try:
        recording = extractor_class(value, **arguments)
    except (RoiExtractorsError, OSError, MemoryError, Warning):
        raise
    except Exception as error:  # as above: the message names the format, and the cause is kept
        if words := missing_module(error):  # a library that only some files need
            raise MissingDependencyError(f"{printable(value)} {words}") from error
        what = f"{spec.title}: {extractor_class.__name__} failed on {printable(value)}"
        raise _plugin_error(what, error) from error
    if not isinstance(recording, Extractor) or recording.kind != spec.kind:
        base = {"imaging": "an ImagingExtractor", "segmentation": "a SegmentationExtractor"}[spec.kind]
        raise DeclarationError(
            f"format {spec.name!r}: {type(recording).__name__}, made by {spec.extractor}, is not {base}"
        )
    if options.get("sampling_frequency") is not None:
        recording.override_sampling_frequency(options["sampling_frequency"])
    return recording


@functools.lru_cache(maxsize=256)  # inspect takes a tenth of the time of opening a small file
def _known_options(extractor_class: Any) -> tuple[list[str], bool]:
    """Return the names of the keyword arguments, and whether the class takes any others."""
    parameters = list(inspect.signature(extractor_class.__init__).parameters.values())[2:]  # not self, not the path
    names = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names, any(p.kind is p.VAR_KEYWORD for p in parameters)


# Errors in detail: nothing below runs when a recording opens


def _plugin_error(what: str, error: Exception) -> PluginError:
    return PluginError(f"{what}: {type(error).__name__}: {printable(error)}")


def _folder_hint(source: Source, state: RegistryState, spec: FormatSpec | None = None) -> str:
    """Return the advice to open the folder that a file or folder is part of; often empty.

    ``spec`` is the format as which it could not be opened.
    """
    by_content = spec is not None and spec.evidence is not None and spec.evidence.has_content()
    if source.is_list or (spec and (source.is_folder or (by_content and not _takes_folders(spec)))):
        return ""  # a format of files explains the damage of its file best, and one of folders that of its folder
    for folder in source.path.parents[:2]:  # frames may be one level down
        with contextlib.suppress(RoiExtractorsError, OSError), Source(folder) as opened:
            match = best_match(opened, state)
            if match is None:
                continue
            basis, inside = match.finding.basis, source.path.relative_to(folder).parts[0]
            if (folder / inside).is_dir() and "/" in basis and f"{inside}/" not in basis:
                continue  # the format of another folder in it
            own = match.spec.extensions
            if (
                basis.endswith(own)
                and f"{inside}/" not in basis
                and not any(suffix in own for suffix in source.suffixes)
            ):
                continue  # known by its own files alone, as images in a folder are: other files in it are not part of it
            part = f"{printable(source.name)} is part of {printable(folder)}, which is {match.spec.title}"
            return f"{part}; open the folder: open({str(folder)!r})"
    return ""


def _kind_hint(source: Source, state: RegistryState, spec: FormatSpec, error: Exception) -> str:
    """Return the error with the advice to open the other kind, if the source is a sound recording of that one; often empty."""
    if not isinstance(error, RecordingError | SourceError):
        return ""
    for match in matching(source, state):
        if match.spec.kind == spec.kind:
            continue
        with contextlib.suppress(RoiExtractorsError, OSError, MemoryError, Warning), silenced():
            try:
                _construct(_load_class(match.spec, state), match.spec, source.value, {}).close()
            except StreamChoiceError:  # it has several, which is sound too
                pass
            contents = "the segmentation" if match.spec.kind == "segmentation" else "the movie"
            return f"{str(error).rstrip('.')}. To open {contents}: open(..., kind={match.spec.kind!r})"
    return ""


def _takes_folders(spec: FormatSpec) -> bool:
    # By the convention of roiextractors, whose graphical programs ask for a file or a folder by this name
    return "folder_path" in list(inspect.signature(spec.load().__init__).parameters)[1:2]


def _reason_by_suffix(source: Source, kind: str, state: RegistryState) -> str:
    """Return the complaint of the one format with the source's suffix: a cut file may have nothing else left."""
    of_kind = [spec for spec in state.specs.values() if spec.kind == kind]
    candidates = [spec for spec in of_kind if any(suffix in spec.extensions for suffix in source.suffixes)]
    names = {spec.name for spec in candidates}
    general = [spec for spec in candidates if not names & set(spec.specializes)]  # the others are special cases of it
    if len(general) != 1:
        return ""
    spec = general[0]
    try:
        with silenced():
            _construct(_load_class(spec, state), spec, source.value, {}).close()
    except (RecordingError, SourceError, FileNotFoundError) as error:
        hint = _folder_hint(source, state, spec)
        if hint:
            raise UnknownFormatError(hint) from error
        return f" Its suffix is that of {spec.title}, whose plugin says: {printable(error)}"
    except (RoiExtractorsError, OSError, MemoryError, Warning):
        pass  # the plugin's own failure would only distract from the error that is being raised
    return ""


def _recordings_below(source: Source, kind: str, state: RegistryState) -> str:
    """Return a sentence about the folders in a folder that are recordings of this kind; often empty."""
    if not source.is_folder:
        return ""
    recordings = []
    with contextlib.suppress(SourceError):
        for name in sorted(source.members)[:_MAX_BELOW]:
            if not is_folder(source.path / name):
                continue
            with contextlib.suppress(RoiExtractorsError, OSError), Source(source.path / name) as opened:
                recordings += [name] if best_match(opened, state, kind) else []
    noun = "segmentation" if kind == "segmentation" else "recording"
    start = f"{printable(source.path)} is not a {noun}; it contains"
    if len(recordings) == 1:
        return f"{start} one {noun}, {printable(recordings[0])!r}: open({str(source.path / recordings[0])!r})"
    return f"{start} {len(recordings)} {noun}s: {listed(recordings, limit=6)}; open one of them" if recordings else ""


def _fault_of_tied(source: Source, kind: str, state: RegistryState) -> Exception | None:
    """Return why none of the tied formats opens a source whose content could not be checked: to choose one would not help."""
    faults: list[Exception] = []
    for match in examine(source, state, kind).tied:
        if match.finding.answer is not None:
            return None
        try:
            with silenced():
                _construct(_load_class(match.spec, state), match.spec, source.value, {}).close()
        except (RecordingError, SourceError, MissingDependencyError) as error:
            faults.append(error)
        except (RoiExtractorsError, OSError, MemoryError, Warning):
            return None
        else:
            return None
    return faults[0] if faults else None


def _unknown_name_error(name: str, state: RegistryState) -> UnknownFormatError:
    entry = next((entry for entry in catalogue() if entry.spec.name == name), None)
    if entry is not None:
        return FormatNotInstalledError(f"format {name!r} ({entry.spec.title}) is not installed: {entry.how_to_install}")
    names = list(state.specs)
    failed = [f"{record.name} ({record.reason})" for record in state.failed_plugins]
    return UnknownFormatError(
        f"there is no format {name!r}{_suggestion(name, names)} The formats are {listed(names, limit=40)}"
        + (f". Plugins that failed to load: {'; '.join(failed)}" if failed else "")
    )


def _unknown_option_error(spec: FormatSpec, option: str, known: list[str]) -> UnknownOptionError:
    choices = sorted({*known, "sampling_frequency"})
    return UnknownOptionError(
        f"{spec.title} takes no option {option!r}{_suggestion(option, known)} Its options are {listed(choices, limit=40)}"
    )


def _suggestion(name: str, names: list[str]) -> str:
    """Return the end of a sentence: the most similar name, or a full stop."""
    similar = difflib.get_close_matches(str(name), names, n=1)
    return f"; did you mean {similar[0]!r}?" if similar else "."

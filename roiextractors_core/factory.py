"""Opening any recording with one call."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from .errors import (
    DeclarationError,
    FormatNotInstalledError,
    MissingDependencyError,
    PluginError,
    RecordingError,
    RoiExtractorsError,
    RoiExtractorsWarning,
    SourceError,
    UnknownFormatError,
    UnknownOptionError,
    listed,
    printable,
)
from .imaging.extractor import ImagingExtractor
from .io.notices import silenced, warn
from .metadata import Provenance
from .registry.detection import examine
from .registry.registry import Registry, default_registry
from .registry.source import Source, SourceLike
from .registry.spec import FormatSpec

__all__ = ["open", "streams"]


def open(
    source: SourceLike,
    *,
    format: str | None = None,
    kind: str = "imaging",
    registry: Registry | None = None,
    **options: Any,
) -> ImagingExtractor:
    """Open a recording, whatever its format.

    Parameters
    ----------
    source : str, os.PathLike, or a list of them
        A file, a folder, or the files of one recording in order.
    format : str, optional
        The format's name, when it shall not be found from the content.
    kind : str
        ``"imaging"``; other kinds are not open yet.
    registry : Registry, optional
        The default one when left out.
    **options
        Keywords of the format's extractor: a stream (``channel="Channel 2"``), ``sampling_frequency=`` in Hz, ...

    Returns
    -------
    ImagingExtractor
        One channel with all of its planes.

    Raises
    ------
    SourceError
        The path is missing, empty, forbidden, a URL.
    UnknownFormatError, FormatNotInstalledError, AmbiguousFormatError
        No format, none that is installed, or two.
    UnknownOptionError
        The format does not take an option; the known ones are listed.
    StreamChoiceError
        The recording holds several streams; they are listed.
    RecordingError
        The content stands in the way.

    Examples
    --------
    >>> import numpy as np, roiextractors_core as roi
    >>> np.save("movie.npy", np.zeros((100, 32, 32), np.uint16))
    >>> recording = roi.open("movie.npy", sampling_frequency=30.0)
    >>> recording.shape
    (100, 32, 32)
    """
    found = registry or default_registry()
    _check_kind(kind)
    with Source(source) as looked_at:
        spec, evidence, advice = _chosen(looked_at, format, found)
        value = looked_at.value
        paths = tuple(str(path) for path in looked_at.paths)
    if advice:
        warn(advice, RoiExtractorsWarning)
    extractor_class = _loaded(spec, found)
    recording = _made(extractor_class, spec, value, options)
    plugin = found.owner(spec.name)
    recording.bind_provenance(
        Provenance(
            spec.name, plugin, found.version(plugin), paths, dict(options), evidence, tuple(recording.get_notes())
        )
    )
    return recording


def streams(
    source: SourceLike,
    *,
    format: str | None = None,
    registry: Registry | None = None,
    **options: Any,
) -> dict[str, tuple[str, ...]]:
    """Return what can be chosen inside a recording: option name to its values.

    Parameters
    ----------
    source, format, registry, **options
        As for :func:`open`.

    Returns
    -------
    dict
        ``{"channel": ("Channel 1", "Channel 2")}``; empty when there is nothing to choose.
    """
    found = registry or default_registry()
    with Source(source) as looked_at:
        spec, _, _ = _chosen(looked_at, format, found)
        value = looked_at.value
    extractor_class = _loaded(spec, found)
    method = getattr(extractor_class, "get_streams", None)
    if method is None:
        return {}
    try:
        answer = method(value, **options)
    except (RoiExtractorsError, OSError):
        raise
    except Exception as error:
        raise PluginError(
            f"{spec.title}: listing the streams of {printable(value)} failed: {type(error).__name__}: {printable(error)}"
        ) from error
    return {str(option): tuple(str(choice) for choice in choices) for option, choices in answer.items()}


def _check_kind(kind: str) -> None:
    if kind != "imaging":
        raise UnknownOptionError(f"kind={kind!r} cannot be opened; the kinds are: 'imaging'")


def _chosen(source: Source, name: str | None, registry: Registry) -> tuple[FormatSpec, str, str]:
    if name is not None:
        return _named(name, registry), "named by format=", ""
    explanation = examine(source, registry)
    try:
        best = explanation.require_best()
    except FormatNotInstalledError:
        raise
    except UnknownFormatError as error:
        raise UnknownFormatError(f"{error}{_words_by_suffix(source, registry)}") from None
    return best.spec, best.finding.basis, explanation.advice()


def _words_by_suffix(source: Source, registry: Registry) -> str:
    """Ask the one format that bears the source's suffix what is missing: a cut file can be known by its suffix alone."""
    bearing = [spec for spec in registry.formats() if any(suffix in spec.extensions for suffix in source.suffixes)]
    names = {spec.name for spec in bearing}
    general = [spec for spec in bearing if not names & set(spec.specializes)]  # the one that the others are kinds of
    if source.is_folder or len(general) != 1:
        return ""
    spec = general[0]
    try:
        with silenced():
            _made(_loaded(spec, registry), spec, source.value, {}).close()
    except (RecordingError, SourceError) as error:
        return f" Its suffix is that of {spec.title}, whose plugin says: {error}"
    except (RoiExtractorsError, OSError, MemoryError, Warning):
        pass
    return ""


def _named(name: str, registry: Registry) -> FormatSpec:
    spec = registry.get(name)
    if spec is not None:
        return spec
    for entry in registry.catalogue():
        if entry.spec.name == name:
            raise FormatNotInstalledError(
                f"format {name!r} ({entry.spec.title}) is not installed: python -m pip install {entry.plugin}"
            )
    names = [spec.name for spec in registry.formats()]
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    aside = [f"{record.name} ({record.reason})" for record in registry.plugins() if record.status == "set aside"]
    raise UnknownFormatError(
        f"there is no format {name!r}{hint} The formats are {listed(names, limit=40)}"
        + (f". Set aside: {'; '.join(aside)}" if aside else "")
    )


def _loaded(spec: FormatSpec, registry: Registry) -> Any:
    try:
        return spec.load()
    except ImportError as error:
        raise MissingDependencyError(
            f"{spec.title} cannot be read: importing {spec.extractor} of {registry.owner(spec.name)} failed: {printable(error)}; "
            f"python -m pip install --upgrade {registry.owner(spec.name)}"
        ) from error
    except RoiExtractorsError:
        raise
    except Exception as error:
        raise PluginError(
            f"importing {spec.extractor} of {registry.owner(spec.name)} failed: {type(error).__name__}: {printable(error)}"
        ) from error


def _made(extractor_class: Any, spec: FormatSpec, value: Any, options: dict[str, Any]) -> ImagingExtractor:
    known, open_ended = _known_options(extractor_class)
    given = dict(options)
    rate = given.get("sampling_frequency")
    if "sampling_frequency" not in known and not open_ended:
        given.pop("sampling_frequency", None)
    unknown = [key for key in given if key not in known and not open_ended]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        choices = sorted({*known, "sampling_frequency"})
        raise UnknownOptionError(
            f"{spec.title} takes no option {unknown[0]!r}{hint} Its options are {listed(choices, limit=40)}"
        )
    try:
        recording = extractor_class(value, **given)
    except (RoiExtractorsError, OSError, MemoryError, Warning):
        raise
    except Exception as error:
        raise PluginError(
            f"{spec.title}: {extractor_class.__name__} failed on {printable(value)}: {type(error).__name__}: {printable(error)}"
        ) from error
    if not isinstance(recording, ImagingExtractor):
        raise DeclarationError(
            f"format {spec.name!r}: {spec.extractor} makes {type(recording).__name__}, which is no ImagingExtractor"
        )
    if rate is not None:
        recording.override_sampling_frequency(rate)
    return recording


def _known_options(extractor_class: Any) -> tuple[list[str], bool]:
    parameters = list(inspect.signature(extractor_class.__init__).parameters.values())[2:]
    named = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)

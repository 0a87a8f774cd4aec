"""The declaration of a format, and a match of one with a source."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import DeclarationError, UnknownOptionError, listed
from ..io.libraries import describe_missing, is_requirement
from ..io.plugin_output import stdout_to_stderr
from .evidence import Evidence, Finding, Strength, evidence_from_dict

__all__ = ["KINDS", "FormatSpec", "Match", "known_kind"]

KINDS = ("imaging", "segmentation")


def known_kind(kind: str) -> str:
    """Return a value of ``kind=`` if there is such a kind, or raise the error that lists them."""
    if kind not in KINDS:
        raise UnknownOptionError(f"there is no kind {kind!r:.80}; the kinds are {listed(KINDS)}")
    return kind


_IMPORTABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_SUFFIX = re.compile(r"(\.[^./\\\s]+)+")


@dataclass(frozen=True, slots=True)
class FormatSpec:
    """The declaration of a format: data only, checked when it is made.

    Parameters
    ----------
    name : str
        The argument of ``open(format=...)``: lower-case letters, digits, ``-`` and ``_``.
    title : str
        For people: ``"ScanImage TIFF"``.
    extractor : str
        ``"package.module:Class"``, imported only when the format has been chosen.
    extensions : tuple of str
        Suffixes with their dot, compared without regard to case; compound ones may be given.
    evidence : Evidence, optional
        Checkable facts about the content, the neighbours or the name, joined with ``&`` and ``|``.
        Without it only the suffix decides, which is the weakest kind of match.
    specializes : tuple of str
        Names of more general formats; this one comes before them.
    api : int
        The API number that the declaration was written for: 1.
    kind : str
        ``"imaging"`` or ``"segmentation"``.
    streams : tuple of str
        The options that choose a stream of a recording: ``("channel", "plane")``.
    clock : str
        The best clock that the format can have: ``"native"`` (a time per sample), ``"rate"`` or ``"none"``.
    metadata : tuple of str
        The fields of ``RecordingMetadata`` that the extractor fills where the file has them.
    platforms : tuple of str
        ``("any",)``, or the systems on which the plugin works.
    description : str
        One sentence for the list of formats.
    is_container : bool
        Whether the format is a general container, such as plain HDF5, that other readers open too. Software that asks several
        readers, such as xarray, uses this one only when it is named.
    writer : str
        ``"package.module:function"``, imported when ``convert`` writes this format; empty for a format that is only read. See
        :class:`roiextractors_core.interop.writer.Writer`.
    writer_extensions : tuple of str
        The suffixes by which ``convert`` chooses this writer; without them only ``format=`` does.
    companions : tuple of str
        Files that only recordings of this format have beside their pixels: names, or ``*`` and the end of a name. When a more
        general format is chosen for a source with such a file beside it, a warning says that the file is not used.
    requires : tuple of str
        Libraries without which nothing of this format can be read: names of top-level modules (``"nd2"``), each with the name
        for pip where it differs (``"cv2:opencv-python"``). They are looked for without being imported.

    Raises
    ------
    DeclarationError
        A field is invalid; the message names the field and its value.
    """

    name: str
    title: str
    extractor: str
    extensions: tuple[str, ...] = ()
    evidence: Evidence | None = None
    specializes: tuple[str, ...] = ()
    api: int = 1
    kind: str = "imaging"
    streams: tuple[str, ...] = ()
    clock: str = "none"
    metadata: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ("any",)
    description: str = ""
    is_container: bool = False
    writer: str = ""
    writer_extensions: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        texts = ("extensions", "specializes", "streams", "metadata", "platforms", "writer_extensions", "companions")
        for key in (*texts, "requires"):
            self._check_texts(key)
        self._check(all(map(is_requirement, self.requires)), "requires", "'module' or 'module:distribution', one each")
        companions = all(len(name) > 2 and "*" not in name[1:] for name in self.companions)
        self._check(companions, "companions", "names of files, or '*' and the end of a name")
        self._check(_fits(_NAME, self.name), "name", "lower-case letters, digits, - and _")
        self._check(isinstance(self.title, str) and bool(self.title.strip()), "title", "a name for people")
        self._check(_fits(_IMPORTABLE, self.extractor), "extractor", "'package.module:Class'")
        for key in ("extensions", "writer_extensions"):
            values = getattr(self, key)
            self._check(all(_SUFFIX.fullmatch(e) for e in values), key, "suffixes that begin with a dot")
            # The dataclass is frozen for its users; here it is still being made
            object.__setattr__(self, key, tuple(e.lower() for e in values))
        self._check(isinstance(self.is_container, bool), "is_container", "True or False")
        self._check(self.writer == "" or _fits(_IMPORTABLE, self.writer), "writer", "'package.module:function'")
        self._check(bool(self.writer) or not self.writer_extensions, "writer_extensions", "empty without a writer")
        is_evidence = self.evidence is None or isinstance(self.evidence, Evidence)
        self._check(is_evidence, "evidence", "Magic(...), TiffTag(...), ... joined with & and |")
        can_match = bool(self.extensions) or self.evidence is not None
        self._check(can_match, "extensions", "at least one suffix, or evidence")
        # Only the type: a number of a later core is refused in discovery, with the advice to update
        self._check(isinstance(self.api, int) and not isinstance(self.api, bool), "api", "an integer")
        self._check(self.kind in KINDS, "kind", "'imaging' or 'segmentation'")
        self._check(self.clock in ("native", "rate", "none"), "clock", "'native', 'rate' or 'none'")
        self._check(self.name not in self.specializes, "specializes", "names of other formats")
        self._check(isinstance(self.description, str), "description", "a sentence")
        # These are printed in tables and messages; a name is harmless by its pattern
        for key in ("title", "extensions", "streams", "metadata", "platforms", "description", "writer_extensions"):
            self._check("".join(getattr(self, key)).isprintable(), key, "text without control characters")

    @property
    def missing(self) -> str:
        """The libraries in :attr:`requires` that are not installed, and how to install them; empty if all are installed."""
        return describe_missing(self.requires)

    def to_dict(self) -> dict[str, Any]:
        """Return the declaration as plain data, ready for JSON."""
        # Not asdict(), which would copy the evidence field by field and lose its kind
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        data["evidence"] = None if self.evidence is None else self.evidence.to_dict()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FormatSpec:
        """Return the declaration that :meth:`to_dict` described."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        if values.get("evidence") is not None:
            values["evidence"] = evidence_from_dict(values["evidence"])
        return cls(**values)

    def load(self) -> type[Any]:
        """Import and return the extractor class.

        Raises
        ------
        DeclarationError
            The module imports but has no such class. An error of the import itself passes through.
        """
        extractor: type[Any] = self._imported(self.extractor, "class", inspect.isclass)
        return extractor

    def load_writer(self) -> Callable[..., Any]:
        """Import and return the writer; errors are those of :meth:`load`."""
        writer: Callable[..., Any] = self._imported(self.writer, "function", callable)
        return writer

    def _imported(self, target: str, noun: str, is_noun: Callable[[Any], bool]) -> Any:
        module, attribute = target.split(":")
        with stdout_to_stderr():  # what a plugin's import prints must not end up in the output of a pipe
            value = getattr(importlib.import_module(module), attribute, None)
        if not is_noun(value):
            raise DeclarationError(f"format {self.name!r} names {target!r}, but {module} has no {noun} {attribute}")
        return value

    def _check(self, is_valid: bool, key: str, expected: str) -> None:
        if not is_valid:
            raise DeclarationError(f"FormatSpec({self.name!r}): {key} must be {expected}, got {getattr(self, key)!r}")

    def _check_texts(self, key: str) -> None:
        values = getattr(self, key)
        # A single string is refused: its letters would be taken for the values
        is_texts = isinstance(values, list | tuple) and all(isinstance(v, str) and v for v in values)
        self._check(is_texts, key, "a tuple of strings")
        object.__setattr__(self, key, tuple(values))


def _fits(pattern: re.Pattern[str], value: object) -> bool:
    # fullmatch, as "$" in a pattern also matches before a line break at the end
    return isinstance(value, str) and pattern.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Match:
    """A format, and the evidence for it.

    Attributes
    ----------
    spec : FormatSpec
    plugin : str
        The distribution that provides it.
    strength : Strength
    finding : Finding
    extension : str
        The declared suffix that the source has, or ``""``.
    """

    spec: FormatSpec
    plugin: str
    strength: Strength
    finding: Finding
    extension: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the match as plain data."""
        return {
            "format": self.spec.name,
            "title": self.spec.title,
            "plugin": self.plugin,
            "strength": self.strength.name.lower(),
            "basis": self.finding.basis,
            "extension": self.extension,
            "missing": self.spec.missing,
        }

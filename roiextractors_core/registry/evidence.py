"""Evidence: facts about a source that can be checked, printed, compared and stored as data."""

from __future__ import annotations

import fnmatch
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from operator import methodcaller
from typing import Any, ClassVar

from ..errors import DeclarationError, RoiExtractorsError, printable
from ..io.hdf5 import attribute_value, hdf5_nodes
from ..io.plugin_output import stdout_to_stderr
from ..io.source import Source
from ..io.text import MAX_SEARCHED, decode_text, pattern_fault, search_text
from ..io.tiff_directory import TIFF_TAGS

__all__ = [
    "AllOf",
    "AnyOf",
    "Evidence",
    "Finding",
    "Hdf5Path",
    "JsonKey",
    "Magic",
    "Member",
    "Name",
    "Probe",
    "Sibling",
    "Strength",
    "Text",
    "TiffTag",
    "XmlRoot",
    "evidence_fault",
    "evidence_from_dict",
]

_MAX_LETTERS = 300  # messages of parsers may quote the whole text that they could not parse
_MAX_TEXT_BYTES = 1 << 16


class Strength(IntEnum):
    """How much a yes counts: content before neighbours before the name alone."""

    NAME = 1
    NEIGHBOURS = 2
    CONTENT = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of one check.

    Attributes
    ----------
    answer : bool or None
        Yes, no, or unknown.
    basis : str
        The reason for the answer, in words.
    strength : Strength
        How much a yes counts.
    """

    answer: bool | None
    basis: str
    strength: Strength

    @property
    def word(self) -> str:
        """``"yes"``, ``"no"`` or ``"unknown"``."""
        return {True: "yes", False: "no", None: "unknown"}[self.answer]


class Evidence:
    """A declared, checkable fact about a source; the base of all kinds."""

    __slots__ = ()
    kind: ClassVar[str] = ""
    strength: ClassVar[Strength] = Strength.CONTENT
    cost: ClassVar[int] = 1

    def check(self, source: Source) -> Finding:
        """Return yes, no or unknown; a check that fails, for any reason, is unknown."""
        try:
            answer, basis = self._look(source)
        except (RoiExtractorsError, OSError) as error:  # expected: their messages are made for people
            answer, basis = None, f"unknown: {printable(error)[:_MAX_LETTERS]}"
        except Exception as error:  # noqa: BLE001 - checks parse damaged containers, and a failed check must not end detection
            answer, basis = None, f"unknown: {type(error).__name__}: {printable(error)[:_MAX_LETTERS]}"
        # Of a folder, file= names the content; what is beside a file says less about it
        is_beside = getattr(self, "file", None) is not None and not source.is_folder
        return Finding(answer, basis, Strength.NEIGHBOURS if is_beside else self.strength)

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain data."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        # Bytes in hexadecimal: JSON has no bytes
        return {"kind": self.kind, **{k: v.hex() if isinstance(v, bytes) else v for k, v in values.items()}}

    def __and__(self, other: Evidence) -> Evidence:
        return AllOf(_parts(self, AllOf) + _parts(other, AllOf))

    def __or__(self, other: Evidence) -> Evidence:
        return AnyOf(_parts(self, AnyOf) + _parts(other, AnyOf))

    def has_content(self) -> bool:
        """Whether any part of this looks at content."""
        return self.strength is Strength.CONTENT

    def excludes(self, source: Source) -> bool:
        """Whether :meth:`check` will certainly say no, without giving a reason or calling a probe; errors of reading are raised."""
        return self.cost < Probe.cost and self._look(source)[0] is False

    def _look(self, source: Source) -> tuple[bool | None, str]:
        raise TypeError(f"{type(self).__name__} does not implement a check")


def _parts(evidence: Evidence, kind: type[_Joined]) -> tuple[Evidence, ...]:
    if not isinstance(evidence, Evidence):
        raise DeclarationError(f"evidence can only be joined with evidence, got {evidence!r}")
    # a & b & c is one AllOf of three parts, so that all of them are ordered by cost
    return evidence.parts if isinstance(evidence, kind) else (evidence,)


@dataclass(frozen=True, slots=True)
class _Joined(Evidence):
    """Evidence of several parts."""

    parts: tuple[Evidence, ...]
    _by_cost: tuple[Evidence, ...] = field(init=False, repr=False, compare=False)
    _cheap: tuple[Evidence, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_cost", tuple(sorted(self.parts, key=_cost)))
        # Those that are asked in any case: the answer of an earlier one does not end the search
        object.__setattr__(self, "_cheap", tuple(part for part in self._by_cost if _cost(part) < Probe.cost))

    def has_content(self) -> bool:
        return any(part.has_content() for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "parts": [part.to_dict() for part in self.parts]}


class AllOf(_Joined):
    """Every part must say yes; written ``a & b``. The cheap parts are asked first, probes last."""

    __slots__ = ()
    kind: ClassVar[str] = "all"

    def excludes(self, source: Source) -> bool:
        return any(map(methodcaller("excludes", source), self._cheap))

    def check(self, source: Source) -> Finding:
        """Ask the parts, cheapest first, until one says no."""
        answers: list[Finding] = []
        unknown: Finding | None = None
        for part in self._by_cost:
            if unknown is not None and _cost(part) >= Probe.cost:
                break  # a probe is imported only when everything cheaper has said yes
            finding = part.check(source)
            if finding.answer is False:
                return finding  # a later no outweighs an earlier unknown: the format is out
            if finding.answer is None and unknown is None:
                unknown = finding
            answers.append(finding)
        return unknown or Finding(True, " and ".join(f.basis for f in answers), max(f.strength for f in answers))


class AnyOf(_Joined):
    """One part is enough; written ``a | b``. A yes from content ends the search."""

    __slots__ = ()
    kind: ClassVar[str] = "any"

    def excludes(self, source: Source) -> bool:
        return all(map(methodcaller("excludes", source), self._by_cost))

    def check(self, source: Source) -> Finding:
        """Ask the parts, cheapest first; the strongest yes counts."""
        answers: list[Finding] = []
        for part in self._by_cost:
            finding = part.check(source)
            if finding.answer is True and finding.strength is Strength.CONTENT:
                return finding
            answers.append(finding)
        yes = [finding for finding in answers if finding.answer is True]
        if yes:
            return max(yes, key=lambda finding: finding.strength)
        unknown = next((finding for finding in answers if finding.answer is None), None)
        # Parts often give the same reason, such as "this is not TIFF"; it is said once
        bases = "; ".join(dict.fromkeys(finding.basis for finding in answers))
        return unknown or Finding(False, bases, max(finding.strength for finding in answers))


def _require_text(evidence: Evidence, *keys: str, optional: bool = False) -> None:
    for key in keys:
        value = getattr(evidence, key)
        # An empty text would match everything
        if not (value is None and optional) and not (isinstance(value, str) and value):
            raise DeclarationError(f"{type(evidence).__name__} takes text for {key}, got {value!r}")


def _require_pattern(evidence: TiffTag | Text) -> None:
    fault = "" if evidence.matches is None else pattern_fault(evidence.matches)
    if fault:
        raise DeclarationError(f"{type(evidence).__name__}(matches={evidence.matches!r}) {fault}")


def _cost(evidence: Evidence) -> int:
    # Joined evidence costs as much as its dearest part: a probe inside it keeps its place at the end
    if isinstance(evidence, _Joined):
        return max(map(_cost, evidence.parts))
    return XmlRoot.cost if isinstance(evidence, Magic) and evidence.file is not None else evidence.cost


@dataclass(frozen=True, slots=True)
class Magic(Evidence):
    """Given bytes at a given offset.

    Parameters
    ----------
    signature : bytes
    offset : int
        From the start of the file.
    file : str, optional
        A glob: check this member of the folder, or file beside the source, instead of the source.
    """

    signature: bytes
    offset: int = 0
    file: str | None = None
    kind: ClassVar[str] = "magic"
    cost: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if not isinstance(self.signature, bytes) or not self.signature:
            raise DeclarationError(f"Magic takes bytes, at least one, got {self.signature!r}")
        if not isinstance(self.offset, int) or self.offset < 0:
            raise DeclarationError(f"Magic takes an offset of 0 or more, got {self.offset!r}")
        _require_text(self, "file", optional=True)

    def excludes(self, source: Source) -> bool:
        if self.file is not None:
            return self._look(source)[0] is False
        return self._bytes_of(source) != self.signature  # by far the most frequent check, so no words are made

    def _bytes_of(self, source: Source) -> bytes:
        end = self.offset + len(self.signature)
        # The head is read once for all formats; far away, only the bytes in question are read
        return source.head(end)[self.offset :] if self.offset < 4096 else source.read_at(self.offset, end - self.offset)

    def _look(self, source: Source) -> tuple[bool | None, str]:
        document, name = (source, "") if self.file is None else _document(source, self.file)
        if document is None or document.is_folder:
            return False, name if document is None else "a folder has no first bytes"
        seen = self._bytes_of(document)
        where = (f"at byte {self.offset}" if self.offset else "at the start") + (f" of {name}" if name else "")
        if seen == self.signature:
            return True, f"the bytes {where} are {self.signature.hex(' ')}"
        return False, f"the bytes {where} are {seen.hex(' ') or 'none'}, expected {self.signature.hex(' ')}"


@dataclass(frozen=True, slots=True)
class TiffTag(Evidence):
    """A tag of the first TIFF directory; with none of the comparisons, its presence.

    Parameters
    ----------
    tag : str or int
        The tag's name or code.
    equals, startswith, contains, matches : optional
        What the value must be: text, or for ``equals`` a number; ``matches`` is a regular expression.
    """

    tag: str | int
    equals: str | int | None = None
    startswith: str | None = None
    contains: str | None = None
    matches: str | None = None
    kind: ClassVar[str] = "tiff_tag"

    def __post_init__(self) -> None:
        if not isinstance(self.tag, int) and self.tag not in TIFF_TAGS:
            raise DeclarationError(
                f"TiffTag does not know the tag {self.tag!r}; pass its code, or one of {', '.join(TIFF_TAGS)}"
            )
        _require_text(self, "startswith", "contains", "matches", optional=True)
        if not isinstance(self.equals, str | int | None):
            raise DeclarationError(f"TiffTag takes text or an integer for equals, got {self.equals!r}")
        _require_pattern(self)

    def _look(self, source: Source) -> tuple[bool | None, str]:
        directory = source.tiff
        if directory is None:
            return False, "this is not TIFF"
        code = self.tag if isinstance(self.tag, int) else TIFF_TAGS[self.tag]
        if code not in directory.codes:
            return False, f"the TIFF tag {self.tag} is missing"
        value = directory.text(code)
        if value is None:  # the tag contains numbers, which only equals= can compare
            numbers = directory.value(code)
            is_equal = self.equals is None or numbers == (self.equals,)
            answer = is_equal and self.startswith is None and self.contains is None and self.matches is None
            return answer, f"the TIFF tag {self.tag} is {numbers!r:.80}"
        return self._compare(value), f"the TIFF tag {self.tag} {self._words(value)}"

    def _compare(self, value: str) -> bool:
        return (
            (self.equals is None or value == self.equals)
            and (self.startswith is None or value.startswith(self.startswith))
            and (self.contains is None or self.contains in value)
            and (self.matches is None or re.search(self.matches, value) is not None)
        )

    def _words(self, value: str) -> str:
        if not self._compare(value):
            return f"is {printable(value[:40])!r}"
        if self.contains is not None:
            return f"contains {self.contains!r}"
        if self.startswith is not None:
            return f"starts with {self.startswith!r}"
        return f"matches {self.matches!r}" if self.matches is not None else f"is {printable(value[:40])!r}"


@dataclass(frozen=True, slots=True)
class Hdf5Path(Evidence):
    """A group, dataset or attribute inside an HDF5 file; links out of the file are not followed.

    Parameters
    ----------
    path : str
        From the root: ``"/data"``; ``"*"`` matches any one name on its level.
    attribute : str, optional
        An attribute that must be there.
    equals : str or int, optional
        The attribute's value.
    """

    path: str
    attribute: str | None = None
    equals: str | int | None = None
    kind: ClassVar[str] = "hdf5_path"
    cost: ClassVar[int] = 4  # h5py is imported, and the file is opened a second time

    def __post_init__(self) -> None:
        _require_text(self, "path")
        _require_text(self, "attribute", optional=True)
        if not isinstance(self.equals, str | int | None):
            raise DeclarationError(f"Hdf5Path takes text or an integer for equals, got {self.equals!r}")
        if self.equals is not None and self.attribute is None:
            raise DeclarationError("Hdf5Path compares attributes: equals= needs attribute=")

    def _look(self, source: Source) -> tuple[bool | None, str]:
        if not source.is_hdf5:  # by its signature: h5py is imported for HDF5 files only
            return False, "this is not HDF5"
        for node in hdf5_nodes(source.hdf5, [p for p in self.path.split("/") if p]):
            if self.attribute is None:
                return True, f"the HDF5 file contains {self.path}"
            if self.attribute in node.attrs:
                value = attribute_value(node, self.attribute)
                if self.equals is None or value == self.equals:
                    shown = printable(value)[:60]
                    return True, f"{self.path} of the HDF5 file has the attribute {self.attribute} = {shown}"
        missing = self.path if self.attribute is None else f"{self.path} with the attribute {self.attribute}"
        return False, f"the HDF5 file does not contain {missing}"


@dataclass(frozen=True, slots=True)
class XmlRoot(Evidence):
    """The name of an XML document's root element, without its namespace.

    Parameters
    ----------
    name : str
    file : str, optional
        A glob: check this member of the folder, or file beside the source, instead of the source.
    """

    name: str
    file: str | None = None
    kind: ClassVar[str] = "xml_root"
    cost: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _require_text(self, "name")
        _require_text(self, "file", optional=True)

    def _look(self, source: Source) -> tuple[bool | None, str]:
        document, where = _document(source, self.file)
        if document is None:
            return False, where
        root = document.xml_root
        return root == self.name, f"{where} is XML with the root {root!r:.80}" if root else f"{where} is not XML"


@dataclass(frozen=True, slots=True)
class JsonKey(Evidence):
    """A key of a JSON document; ``"a.b"`` is that key, or the key b inside a.

    Parameters
    ----------
    key : str
    file : str, optional
        A glob: check this member of the folder, or file beside the source, instead of the source.
    """

    key: str
    file: str | None = None
    kind: ClassVar[str] = "json_key"
    cost: ClassVar[int] = 3

    def __post_init__(self) -> None:
        _require_text(self, "key")
        _require_text(self, "file", optional=True)

    def _look(self, source: Source) -> tuple[bool | None, str]:
        document, where = _document(source, self.file)
        if document is None:
            return False, where
        value = document.json
        whole = isinstance(value, dict) and self.key in value  # a key may itself contain a dot
        for part in [self.key] if whole else self.key.split("."):
            if not isinstance(value, dict) or part not in value:
                return False, f"{where} has no JSON key {self.key!r}"
            value = value[part]
        return True, f"{where} has the JSON key {self.key!r}"


@dataclass(frozen=True, slots=True)
class Text(Evidence):
    """Text at the beginning of a file: a header, an INI file, the first line of a table.

    The bytes are decoded as UTF-8, UTF-16 with a byte order mark, or Latin-1.

    Parameters
    ----------
    contains : str, optional
        Text that must be there.
    matches : str, optional
        A regular expression that must be found; ``^`` and ``$`` match at every line, of which 256 characters count.
    file : str, optional
        A glob: check this member of the folder, or file beside the source, instead of the source.
    head : int
        How many bytes are read: at most 65,536, and 4,096 for ``matches``.
    """

    contains: str | None = None
    matches: str | None = None
    file: str | None = None
    head: int = MAX_SEARCHED
    kind: ClassVar[str] = "text"
    cost: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _require_text(self, "contains", "matches", "file", optional=True)
        if self.contains is None and self.matches is None:
            raise DeclarationError("Text takes contains=, matches= or both, got neither")
        most = _MAX_TEXT_BYTES if self.matches is None else MAX_SEARCHED
        if type(self.head) is not int or not 1 <= self.head <= most:
            raise DeclarationError(f"Text takes a head of 1 to {most:,} bytes here, got {self.head!r}")
        _require_pattern(self)

    def _look(self, source: Source) -> tuple[bool | None, str]:
        document, where = _document(source, self.file)
        if document is None:
            return False, where
        text = decode_text(document.head(self.head), is_whole=document.size <= self.head)
        if self.contains is not None and self.contains not in text:
            return False, f"{where} begins with {text[:40]!r} and does not contain {self.contains!r}"
        if self.matches is not None and not search_text(self.matches, text):
            return False, f"{where} begins with {text[:40]!r} and does not match {self.matches!r}"
        return True, f"{where} {'contains' if self.contains else 'matches'} {(self.contains or self.matches)!r}"


def _document(source: Source, file: str | None) -> tuple[Source | None, str]:
    if file is None:
        return (None, "a folder is not a document") if source.is_folder else (source, "the file")
    document = source.related(file)
    return (None, f"{file} does not exist") if document is None else (document, printable(document.name))


@dataclass(frozen=True, slots=True)
class _Glob(Evidence):
    """Evidence of names alone."""

    glob: str

    def __post_init__(self) -> None:
        _require_text(self, "glob")


class Member(_Glob):
    """A folder that contains a name matching the glob (``"sub/*.tif"`` looks one level down)."""

    __slots__ = ()
    kind: ClassVar[str] = "member"
    strength: ClassVar[Strength] = Strength.NEIGHBOURS
    cost: ClassVar[int] = 2

    def _look(self, source: Source) -> tuple[bool | None, str]:
        if not source.is_folder:
            return False, "this is not a folder"
        name = source.matching(self.glob)
        if name is None:
            return False, f"the folder does not contain {self.glob}"
        return True, f"the folder contains {printable(name)}"


class Sibling(_Glob):
    """A name beside the source that matches the glob; ``{stem}`` is replaced by the source's own stem."""

    __slots__ = ()
    kind: ClassVar[str] = "sibling"
    strength: ClassVar[Strength] = Strength.NEIGHBOURS
    cost: ClassVar[int] = 2

    def _look(self, source: Source) -> tuple[bool | None, str]:
        # The stem is literal text: recordings are called "mouse[1].tif"
        pattern = self.glob.replace("{stem}", re.sub(r"([*?[])", r"[\1]", source.path.stem))
        name = source.matching(pattern, beside=True)
        return name is not None, f"{printable(name)} is beside it" if name else f"no {printable(pattern)} is beside it"


class Name(_Glob):
    """A source whose own name matches the glob, compared without regard to case."""

    __slots__ = ()
    kind: ClassVar[str] = "name"
    strength: ClassVar[Strength] = Strength.NAME
    cost: ClassVar[int] = 0

    def _look(self, source: Source) -> tuple[bool | None, str]:
        yes = fnmatch.fnmatchcase(source.name.lower(), self.glob.lower())
        return yes, f"the name matches {self.glob}" if yes else f"the name does not match {self.glob}"


@dataclass(frozen=True, slots=True)
class Probe(Evidence):
    """A function of the plugin, imported only when everything cheaper has said yes.

    Parameters
    ----------
    function : str
        ``"package.module:function"``; it takes the :class:`Source` and returns True, False, or None for unknown.
    """

    function: str
    kind: ClassVar[str] = "probe"
    cost: ClassVar[int] = 10  # more than all others: its import may bring any library along

    def __post_init__(self) -> None:
        if not isinstance(self.function, str) or not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", self.function):
            raise DeclarationError(f"Probe takes 'package.module:function', got {self.function!r}")

    def _look(self, source: Source) -> tuple[bool | None, str]:
        module, _, name = self.function.partition(":")
        try:
            with stdout_to_stderr():
                function: Callable[[Source], object] = getattr(importlib.import_module(module), name)
                answer = function(source)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the plugin's own code: its failure is an answer
            words = f"{type(error).__name__}: {printable(error)[:_MAX_LETTERS]}"
            return None, f"unknown: the probe {self.function} raised {words}"
        if answer is None or isinstance(answer, bool):
            words = {True: "yes", False: "no", None: "unknown"}[answer]
            return answer, f"the probe {self.function} says {words}"
        # Not bool(answer): a probe that returns a match or a path by mistake must not decide
        return (
            None,
            f"unknown: the probe {self.function} returned {type(answer).__name__} instead of True, False or None",
        )


_KINDS: Mapping[str, type[Evidence]] = {
    kind.kind: kind for kind in (Magic, TiffTag, Hdf5Path, XmlRoot, JsonKey, Text, Member, Sibling, Name, Probe)
}


def evidence_fault(evidence: Evidence | None) -> str:
    """Return a sentence about evidence whose class the core does not have, at any depth, or an empty string."""
    # The exact class: a subclass would run code of the plugin
    if evidence is None or type(evidence) in _KINDS.values():
        return ""
    if isinstance(evidence, _Joined) and type(evidence) in (AllOf, AnyOf):
        return next(filter(None, map(evidence_fault, evidence.parts)), "")
    return (
        f"its evidence is of the unknown class {type(evidence).__module__}.{type(evidence).__qualname__}, but evidence is data; "
        "move the code into a function and declare Probe('package.module:function')"
    )


def evidence_from_dict(data: Mapping[str, Any]) -> Evidence:
    """Return the evidence that ``to_dict`` described.

    Raises
    ------
    DeclarationError
        The kind is unknown.
    """
    kind = str(data.get("kind"))
    if kind in ("all", "any"):
        parts = tuple(evidence_from_dict(part) for part in data["parts"])
        return AllOf(parts) if kind == "all" else AnyOf(parts)
    if kind not in _KINDS:
        raise DeclarationError(f"there is no kind of evidence {kind!r}")
    values = {key: value for key, value in data.items() if key != "kind"}
    if kind == "magic":
        values["signature"] = bytes.fromhex(values["signature"])
    return _KINDS[kind](**values)

"""Output that can be published: names of folders, files, people and computers are replaced by their shape."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO, cast

import roiextractors_core as roi

from ..metadata import as_plain

__all__ = ["AnonymousOutput", "Anonymizer", "current", "learn", "public", "start"]

_MAX_NAMES = 2000  # of neighbouring files, whose names messages may contain
_LONG_NUMBER = r"\d{6,}"  # in a name, often a date


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Parts of the names of recordings that microscopes write, folders of the system, and words that are too common to be names
_KEPT = _words(
    "analysis channels folder folders formats header headers little big endian ndtiff bigtiff zip names neither nor "
    "nothing holds says bytes look looks probe answer status size sizes number numbers value values text empty ca "
    "camera ch channel component components cycle data default demo desktop documents downloads ecube env experiment "
    "fast file files frame frames home image images img imaging info json left local meta metadata miniscope mmstack "
    "mov movie movies msdata mscam neuropil none note notes ome ops photon plane planes position positions pos "
    "preview private raw recording recordings references right rois root run sample samples scan segmentation series "
    "session shape slice stack stat streams tag tiff time timestamps tmp trace traces tseries txt type unknown user "
    "users usr var vendor video volume volumes work xml zarr zseries media mnt opt lib bin python and any are for "
    "from has its not than that the they this was were with you but can does each every other only one two three "
    "contains format known matches member missing name named plugin path signature "
)
_TECHNICAL = _words(
    "zeiss leica nikon thorlabs hamamatsu andor photometrics pco led chan confocal light sheet munit ug ur mb gb kb or "
    "green red blue far yellow cyan dapi gfp egfp rfp mcherry tdtomato mruby gcamp jgcamp jrgeco rcamp fitc cy alexa "
    "hoechst emission excitation nm um hz khz mhz ms ns deg true false yes no on off auto uint int float double char "
    "ascii utf optical galvo resonant bidirectional unidirectional pmt laser objective zoom mm px pixel pixels row rows "
    "column columns pip install open convert roi sampling frequency allow dtype order "
)
_PERSON = re.compile(
    r"(^|[^a-z])(experimenters?|users?|owner|operators?|observer|subjects?|animals?|mouse|mice|patient|person|people|authors?"
    r"|investigator|(first|last|full|sur)name|names?of|e?mail|lab|laboratory|institut(e|ion)|comments?|descriptions?|notes?|keywords"
    r"|remarks?|birth|dob|genotype|strain|sex|host|computer|machine|surgery|virus|identifier|project|related)([^a-z]|$)"
)
_FREE_TEXT = re.compile(r"comment|description|note|remark|keyword|surgery|virus|related")
_OURS = ("format", "plugin", "title", "kind", "dtype", "modality", "times_source", "formats", "axes")
_FOREIGN = ("vendor", "stream", "options")
_WORD = re.compile(r"[^\W\d_]+")
_PART = re.compile(r"\w+")
_MOMENT = re.compile(
    r"\b((?:19|20)\d\d)[-/:.](?:0?[1-9]|1[0-2])[-/:](?:0?[1-9]|[12]\d|3[01])(?!\d)"
    r"(?:[ T]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?\s?(?:Z\b|UTC\b|[+-]\d\d:?\d\d\b)?"
)
_DAY = re.compile(
    r"(?<![\d.])\d{1,2}([./-])\d{1,2}\1((?:19|20)\d\d)(?![\d.]\d|\d)(?:[ T]+\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[AP]M)?)?"
)
_MAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
)  # bounded: a long text takes no longer
# A folder's name may contain a space, three at most, so that a sentence is not one; the columns of a table are two apart
_NO_SPACE = r"[^\\/:;,'\"\n<>|\s]*"
_FOLDERS = rf"(?:{_NO_SPACE}(?: (?! ){_NO_SPACE}){{0,3}}[\\/])*[^\s\\/:;,'\"<>|)\]]*"
_PATH = re.compile(
    rf"(?:(?<![A-Za-z])[A-Za-z]:[\\/]|(?<![\w.)\]<>/*~\\])(?:~[\w-]*)?[\\/](?=[^\s\\/]|[\\/]\w)|\b[a-z][a-z0-9+]*://)({_FOLDERS})"
)
_DATASET = re.compile(r"(?<![\w/\\.\0<>-])[^\W\d]\w*(?:/\w+)+(?![\w/\\.]\w)")
_SITES = re.compile(
    r"https?://(?:[\w-]+\.)*(?:readthedocs\.io|github\.com/roiextractors|pypi\.org|python\.org|numpy\.org)\b\S*"
)
_QUOTED = re.compile(r"(?<![\w\\])'((?:[^'\\\n]|\\.)*)'(?!\w)|(?<![\w\\])\"((?:[^\"\\\n]|\\.)*)\"(?!\w)")


class Anonymizer:
    """Replaces names in text by their shape, the same name always by the same: ``anna_012.tif`` by ``aaaa_000.tif``.

    Parameters
    ----------
    paths : iterable of str
        The recordings. The names of their folders and of the files beside them are names wherever they appear, as are those
        of the user, the home folder and the computer.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._personal: set[str] = set()
        for text in (*_names_of_the_user(), os.path.expanduser("~")):
            self._add_words(text)
            self._personal.update(word.lower() for word in _WORD.findall(text))
        for name in _parts(os.getcwd()):
            self._add(name)
        for path in paths:
            for name in _parts(f"{path}/{os.path.abspath(path)}/{os.path.realpath(path)}"):
                self._add(name)
            for name in _neighbours(Path(path)):
                if not self._is_declared(name):
                    self._add(name)
        self._pattern: re.Pattern[str] | None = None

    def learn(self, value: Any, key: str = "", *, is_personal: bool = False) -> None:
        """Replace from now on the words that metadata contain about people.

        Parameters
        ----------
        value : Any
            Metadata as plain data.
        key : str
            The key of the value, such as ``experimenter``.
        is_personal : bool
            Whether the value is about a person whatever its key is.
        """
        personal = is_personal or _is_of_person(key)
        if isinstance(value, Mapping):
            for name, item in value.items():
                self.learn(item, str(name), is_personal=personal)
        elif isinstance(value, list | tuple):
            for item in value:
                self.learn(item, key, is_personal=is_personal)
        elif personal and isinstance(value, str):
            words = [word for word in _WORD.findall(value[:1000]) if word.lower() not in self._vocabulary]
            if _FREE_TEXT.search(key.lower()):  # its other words are those of any message
                words = [word for word in words if word[0].isupper()]
            self._add_words(" ".join(words))

    def plain(self, value: Any, key: str = "", *, is_foreign: bool = False, is_personal: bool = False) -> Any:
        """Return plain data for JSON with names in all text replaced; keys and numbers remain.

        Parameters
        ----------
        value : Any
        key : str
            The key of the value.
        is_foreign : bool
            Whether the value is text of the file, not of this library: only technical words and short numbers remain.
        is_personal : bool
            Whether the value is about a person: only its shape remains.
        """
        personal = is_personal or (key not in ("note", "notes") and _is_of_person(key))
        if isinstance(value, Mapping):
            foreign = is_foreign or key in _FOREIGN
            return {
                name: self.plain(item, str(name), is_foreign=foreign, is_personal=personal)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.plain(item, key, is_foreign=is_foreign, is_personal=is_personal) for item in value]
        if not isinstance(value, str):
            return value
        if personal:
            return _shape(value)
        if key in _OURS and not is_foreign:
            return value
        if key in ("paths", "path") or _is_path(value):
            return self._path(value)
        if is_foreign or key in self._foreign_keys:
            return self.technical(value)
        return self.text(value)

    def text(self, text: str) -> str:
        """Return a message with the names, paths, quotations of files, addresses and dates in it replaced."""
        kept: list[str] = []

        def keep(match: re.Match[str]) -> str:
            kept.append(match[0])
            return f"\0{len(kept) - 1}\0"

        text = _SITES.sub(keep, text.replace("\0", " "))
        text = _MAIL.sub(lambda match: _shape(match[0]), text)
        text = _DAY.sub(lambda match: match[2], _MOMENT.sub(lambda match: match[1], text))
        text = _QUOTED.sub(self._quotation, text)
        text = _PATH.sub(lambda match: match[0][: match.start(1) - match.start()] + self._path(match[1]), text)
        text = _DATASET.sub(lambda match: self.technical(match[0]), text)
        text = self._file.sub(lambda match: self._path(match[0]), text)
        text = self._known(text)
        return re.sub("\0(\\d+)\0", lambda match: kept[int(match[1])], text)

    def technical(self, text: str) -> str:
        """Return text of a file with only technical words and short numbers in it: ``GCaMP6 Anna`` as ``GCaMP6 Aaaa``."""
        text = _DAY.sub(lambda match: match[2], _MOMENT.sub(lambda match: match[1], text))
        return _PART.sub(lambda match: self._part(match[0], self._vocabulary), text)

    def _part(self, part: str, words: frozenset[str]) -> str:
        if part.isdecimal():
            return part if len(part) < 6 and words is not _KEPT else _shape(part)
        if part.lower() in self._kept:
            return part
        if words is not _KEPT and all(self._is_technical(word) for word in _WORD.findall(part)):
            return re.sub(_LONG_NUMBER, lambda match: _shape(match[0]), part)
        kept = self._kept
        return re.sub(
            r"[^\W\d_]+|\d+",
            lambda match: (
                match[0] if match[0].lower() in kept and match[0].lower() not in self._personal else _shape(match[0])
            ),
            part,
        )

    def _is_technical(self, word: str) -> bool:
        parts = _apart(word).lower().split()
        is_known = len(word) == 1 or word.lower() in self._vocabulary or self._vocabulary.issuperset(parts)
        return is_known and not self._names.intersection((word.lower(), *parts))

    def _path(self, path: str) -> str:
        """Return a path with the name of each folder and of the file replaced, but the suffixes kept."""
        if self._is_declared(path):
            return path
        installed = re.search(r"[\\/](?:site-packages|dist-packages|python3\.\d+)[\\/]", path)
        if installed is not None and not self._own(path[installed.end() :]):
            return self._path(path[: installed.start()]) + path[installed.start() :]
        return re.sub(r"[^\\/]+", lambda match: self._component(match[0]), path)

    def _component(self, name: str) -> str:
        if re.fullmatch("[A-Za-z]:", name):  # a drive
            return name
        stem, suffix = self._split(name)
        return _PART.sub(lambda match: self._part(match[0], _KEPT), stem) + suffix

    def _split(self, name: str) -> tuple[str, str]:
        known = [suffix for suffix in self._suffixes if name.lower().endswith(suffix)]
        if known:
            return name[: -len(max(known, key=len))], name[-len(max(known, key=len)) :]
        stem, dot, last = name.rpartition(".")
        # Four letters at most, and none of a name that is known: a suffix may be anything
        if stem and last.isalnum() and len(last) <= 4 and not last.isdecimal() and not self._own(last):
            return stem, dot + last
        return name, ""

    def _is_declared(self, text: str) -> bool:
        """Whether formats declare all words of a text, and none is a name: a member of a folder or of an HDF5 file."""
        words = {word.lower() for word in _WORD.findall(text)}
        return words <= self._vocabulary and not words & self._names and not re.search(_LONG_NUMBER, text)

    def _own(self, text: str) -> bool:
        return any(word.lower() in self._names for word in _WORD.findall(text))

    def _quotation(self, match: re.Match[str]) -> str:
        inner, quote = (match[1], "'") if match[1] is not None else (match[2], '"')
        is_path = re.search(r"[\\/]", inner) or self._split(inner)[1]
        return f"{quote}{self._path(inner) if is_path else self.technical(inner)}{quote}"

    def _known(self, text: str) -> str:
        if self._pattern is None:
            longest_first = sorted(self._names, key=len, reverse=True)
            words = "|".join(map(re.escape, longest_first)) or r"(?!)"
            self._pattern = re.compile(rf"(?<![^\W\d_])(?:{words})(?![^\W\d_])", re.IGNORECASE)
        return self._pattern.sub(lambda match: self._component(match[0]), text)

    def _add(self, name: str) -> None:
        stem = self._split(name)[0]
        self._add_words(stem)
        if len(stem) > 2 and self._component(stem) != stem and re.search(r"[^\W\d_]|\d{6}", stem):
            self._names.add(stem.lower())

    def _add_words(self, text: str) -> None:
        words = {word.lower() for word in _WORD.findall(text)}
        # One or two letters are words of many messages
        self._names |= {word for word in words if len(word) > 2 and word not in self._kept}
        self._names |= set(re.findall(_LONG_NUMBER, text))
        # mouse77, but not Ch1
        parts = {part.lower() for part in re.findall(r"[^\W_]+", text) if re.search(r"\d", part)}
        self._names |= {part for part in parts if words.intersection(_WORD.findall(part)) & self._names}
        self._pattern = None

    @cached_property
    def _kept(self) -> frozenset[str]:
        names = {part for spec in roi.formats() for part in (spec.name.lower(), *spec.name.lower().split("-"))}
        return _KEPT | names | {word for name in names for word in _WORD.findall(name)}

    @cached_property
    def _vocabulary(self) -> frozenset[str]:
        """The words of everything that formats declare: tags, keys, members, options."""
        specs = (json.dumps(spec.to_dict()) for spec in roi.formats())
        return self._kept | _TECHNICAL | {word.lower() for text in specs for word in _WORD.findall(text)}

    @cached_property
    def _foreign_keys(self) -> frozenset[str]:
        return frozenset({"channels", "colours"} | {stream for spec in roi.formats() for stream in spec.streams})

    @cached_property
    def _suffixes(self) -> frozenset[str]:
        return frozenset(
            suffix.lower() for spec in roi.formats() for suffix in (*spec.extensions, *spec.writer_extensions)
        )

    @cached_property
    def _file(self) -> re.Pattern[str]:
        suffixes = "|".join(sorted(map(re.escape, self._suffixes), key=len, reverse=True))
        return re.compile(
            rf"(?<![^\s'\"\\/:;,()\[\]<>|])[^\s'\"\\/:;,()\[\]<>|]+(?:{suffixes})(?![\w.]\w)", re.IGNORECASE
        )


class AnonymousOutput:
    """A stream that replaces names in each line that is written to it.

    Parameters
    ----------
    stream : TextIO
    anonymizer : Anonymizer
    """

    def __init__(self, stream: TextIO, anonymizer: Anonymizer) -> None:
        self._stream, self.anonymizer, self._line = stream, anonymizer, ""

    def write(self, text: str) -> int:
        """Write text; a line waits for its end, since a traceback is written word by word."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._stream.write(f"{self.anonymizer.text(line)}\n")
        return len(text)

    def write_public(self, text: str) -> None:
        """Write text in which names have been replaced."""
        self.flush()
        self._stream.write(text)

    def flush(self) -> None:
        """Write the line that waits, then flush the stream."""
        line, self._line = self._line, ""
        if line:
            self._stream.write(self.anonymizer.text(line))
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # what is written there would not be replaced
            raise AttributeError(name)
        return getattr(self._stream, name)


def start(words: list[str]) -> None:
    """Replace names in all output of this process; for the command, whose own process it is.

    Parameters
    ----------
    words : list of str
        What was typed. Every word that is not an option or its value may be a path.
    """
    paths = [
        word
        for before, word in pairwise(words)
        if os.path.exists(word) or not (before.startswith("-") or word.startswith("-"))
    ]
    anonymizer = Anonymizer(paths)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:
            setattr(sys, name, cast(TextIO, AnonymousOutput(stream, anonymizer)))


def current() -> Anonymizer | None:
    """Return what replaces names in the standard output; None if they are printed."""
    return getattr(sys.stdout, "anonymizer", None)


def learn(recording: Any) -> None:
    """Replace the names of people that the metadata of a recording contain, if names are replaced."""
    anonymizer = current()
    if anonymizer is not None:
        anonymizer.learn(as_plain(recording.metadata.to_dict()))


def public(text: str, label: str = "") -> str:
    """Return text as the standard output may contain it.

    Parameters
    ----------
    text : str
    label : str
        What it is, such as the name of a stream.
    """
    anonymizer = current()
    return text if anonymizer is None else str(anonymizer.plain(text, label))


def _shape(text: str) -> str:
    return "".join("0" if c.isdecimal() else ("A" if c.isupper() else "a") if c.isalpha() else c for c in text)


def _is_of_person(key: str) -> bool:
    return _PERSON.search(_apart(key).lower()) is not None


def _apart(text: str) -> str:
    """Return ``OpticalChannel`` as ``Optical Channel``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)


def _is_path(text: str) -> bool:
    return re.match(r"[\\/]\w|~[\\/]|[A-Za-z]:[\\/]|\\\\\w", text) is not None and not re.search(r"[:;] |\n", text[2:])


def _parts(path: str) -> list[str]:
    return [part for part in re.split(r"[\\/]+", path) if part]


def _names_of_the_user() -> Iterator[str]:
    for variable in ("USER", "USERNAME", "LOGNAME", "HOSTNAME", "COMPUTERNAME"):
        yield os.environ.get(variable, "")
    yield socket.gethostname()
    try:
        yield getpass.getuser()
    except (OSError, KeyError, ImportError):  # in a container, the user may have no name
        return


def _neighbours(path: Path) -> Iterator[str]:
    """Yield the names beside a file, or those in a folder and one level below it."""
    folders = [path] if path.is_dir() else [path.parent]
    count = 0
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    count += 1
                    if count > _MAX_NAMES:
                        return
                    yield entry.name
                    if folder == path and entry.is_dir():
                        folders.append(Path(entry.path))
        except OSError:  # a folder that cannot be listed is not named by its contents
            continue

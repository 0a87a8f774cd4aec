"""One bounded look at a path, shared by all formats: size, first bytes, suffixes, neighbours, containers."""

from __future__ import annotations

import contextlib
import difflib
import errno
import fnmatch
import itertools
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any
from xml.parsers import expat

from ..errors import (
    CorruptRecordingError,
    EmptySourceError,
    MissingDependencyError,
    SourceError,
    SourceKindError,
    SourceNotFoundError,
    SourcePermissionError,
    SourceReadError,
    counted,
    printable,
)
from .hdf5 import open_hdf5_file
from .known import folder_names, folders_inside, known_files, status_of
from .positioned import PositionedFile, broken_link
from .results import results_in_file, results_in_folder
from .tiff_directory import TiffDirectory
from .xml import xml_parser

__all__ = ["Source", "SourceLike", "looks_like"]

SourceLike = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_MAX_HEAD_BYTES = 1 << 20  # also of one read: a probe cannot read a whole file by mistake
_MAX_JSON_BYTES = 4 << 20  # side files with settings are smaller; a larger document takes too long to look at
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|(https?|ftps?|s3|gs|gcs|az|abfss?|file|dandi):/", re.IGNORECASE)
_MAX_FOLDERS_BELOW = 256  # a folder of a whole experiment may contain thousands, each on a network drive


class Source:
    """One bounded look at a file, a folder, or the files of one recording.

    Everything is read at most once and only when needed, so that hundreds of formats can be
    checked against one source: one ``stat``, one head that grows on demand up to 1 MiB, one
    listing of the neighbours, one parse of the first TIFF directory, one open HDF5 file.

    Parameters
    ----------
    path : str, os.PathLike, or a sequence of them
        A file, a folder, or the files of one recording in order (only the first one is examined).

    Raises
    ------
    SourceKindError
        A URL, a pipe or device, or a value that is not a path.
    SourceNotFoundError, SourcePermissionError
        The path does not exist, or may not be read.
    EmptySourceError
        The file has 0 bytes, or the folder or list is empty.
    """

    def __init__(self, path: SourceLike) -> None:
        self.paths: tuple[Path, ...] = tuple(_as_path(p) for p in _each(path))
        if not self.paths:
            raise EmptySourceError("an empty list of files was given; pass the files of one recording, in order")
        self.is_list = not isinstance(path, str | os.PathLike)
        self.path: Path = self.paths[0]
        self._head = b""
        statuses = [_status(p) for p in self.paths]
        self.is_folder = stat.S_ISDIR(statuses[0].st_mode)
        if self.is_list and any(stat.S_ISDIR(status.st_mode) for status in statuses):
            raise SourceKindError(
                "a list must contain only files, but one of its paths is a folder; pass the folder alone"
            )
        self.size = 0 if self.is_folder else statuses[0].st_size
        # Every file of a list: an empty one in the middle would otherwise fail only when its samples are read
        for place, status in zip(self.paths, statuses, strict=True):
            if not self.is_folder and status.st_size == 0:
                raise EmptySourceError(f"{printable(place)} is empty (0 bytes)")
        if self.is_folder and not self.members:
            raise EmptySourceError(f"the folder {printable(self.path)} is empty")

    @cached_property
    def name(self) -> str:
        """The last part of the path, as it is on disk."""
        return self.path.name or str(self.path)

    @property
    def value(self) -> str | list[str]:
        """The argument for an extractor: the absolute path, or the list of them."""
        return [str(p) for p in self.paths] if self.is_list else str(self.path)

    @cached_property
    def suffixes(self) -> tuple[str, ...]:
        """Lower-case suffixes, the longest compound first: ``(".ome.tif", ".tif")``."""
        parts = self.name.lower().split(".")[1:]
        return tuple("." + ".".join(parts[k:]) for k in range(len(parts)))

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Sorted names in the folder; empty for a file."""
        return self._inside.names if self.is_folder else ()

    @cached_property
    def neighbours(self) -> tuple[str, ...]:
        """Sorted names in the folder of the source, including its own."""
        return self._around.names

    @cached_property
    def _inside(self) -> _Listing:
        return _listing_of(self.path)

    @cached_property
    def _around(self) -> _Listing:
        return _listing_of(self.path.parent)

    def head(self, count: int = 4096) -> bytes:
        """Return the first bytes, at most 1 MiB; none for a folder."""
        head = self._head
        if len(head) < count:  # dozens of formats ask, but once or twice there is something to read
            count = min(count, _MAX_HEAD_BYTES, self.size)
            if len(head) < count:
                head = self._head = self.read_at(0, max(count, min(4096, self.size)))
        return head[:count]

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes (at most 1 MiB) from ``offset``; none for a folder."""
        if self.is_folder or offset < 0 or offset >= self.size:
            return b""
        head = self._head
        if offset + count <= len(head):
            return head[offset : offset + count]
        return self._file.read(offset, min(count, _MAX_HEAD_BYTES, self.size - offset))

    @cached_property
    def tiff(self) -> TiffDirectory | None:
        """The first TIFF directory, or None when the bytes are not TIFF."""
        self.head(16)  # fills the shared head, from which most of the directory is then read
        return TiffDirectory.parse(self.read_at)

    @cached_property
    def is_hdf5(self) -> bool:
        """Whether the HDF5 signature is at byte 0 or behind a user block (512, 1024, ... bytes)."""
        offset = 0
        while offset < min(self.size, _MAX_HEAD_BYTES):
            if self.read_at(offset, 8) == _HDF5_SIGNATURE:
                return True
            offset = 512 if offset == 0 else offset * 2
        return False

    @cached_property
    def hdf5(self) -> Any:
        """The open ``h5py.File`` (read-only), or None when the bytes are not HDF5.

        Raises
        ------
        MissingDependencyError
            h5py is not installed.
        """
        if not self.is_hdf5:
            return None
        try:
            return open_hdf5_file(self.path)
        except ImportError as error:
            raise MissingDependencyError("h5py is not installed, so the HDF5 content was not checked") from error
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise CorruptRecordingError(f"{printable(self.name)} cannot be opened as HDF5: {error}") from error

    @cached_property
    def xml_root(self) -> str | None:
        """The root element's name without its namespace, or None when this is not XML.

        Raises
        ------
        UnsupportedRecordingError
            The XML contains a DOCTYPE, which is refused because it could declare entities.
        """
        return _xml_root(self.head(1 << 16), self.name)

    @cached_property
    def json(self) -> Any:
        """The parsed JSON document, or None when this is not JSON or is over 4 MiB."""
        if (
            self.is_folder
            or self.size > _MAX_JSON_BYTES
            or self.head(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"[")
        ):
            return None
        pieces = [self.read_at(at, _MAX_HEAD_BYTES) for at in range(0, self.size, _MAX_HEAD_BYTES)]
        try:
            return json.loads(b"".join(pieces).decode("utf-8-sig"))
        except (ValueError, RecursionError):
            return None

    def related(self, pattern: str) -> Source | None:
        """Return the first member (of a folder) or neighbour (of a file) that matches, or None.

        Parameters
        ----------
        pattern : str
            A glob, compared without regard to case; ``folder/name`` looks one level down.
        """
        if pattern not in self._related:
            self._related[pattern] = self._find(pattern)
        return self._related[pattern]

    def matching(self, pattern: str, *, beside: bool = False) -> str | None:
        """Return the first name in the folder, or beside the source, that matches the glob, or None."""
        if not beside and not self.is_folder:
            return None
        folder = self.path.parent if beside else self.path
        if not any(c in pattern for c in "*?["):
            return self._plain(folder, pattern, beside=beside)
        listing = self._around if beside else self._inside
        first, _, rest = pattern.partition("/")
        if not rest:
            return next(listing.matching(first), None)
        # Of more folders none is listed; a user may have 100,000 of them
        for name in itertools.islice(listing.matching(first, folders=True), _MAX_FOLDERS_BELOW):
            found = self._match_below(os.path.join(folder, name), rest)
            if found is not None:
                return f"{name}/{found}"
        return None

    def _plain(self, folder: Path, name: str, *, beside: bool) -> str | None:
        """Return a name without wildcards if it is in a folder, in any case of its letters."""
        first, _, rest = name.partition("/")
        # One stat is faster than listing a folder of 100,000 files; but where it was listed, on a network share it takes as long
        if ("_around" if beside else "_inside") in self.__dict__ and first.isascii():
            listing = self._around if beside else self._inside
            if listing.caseless(first) is None:
                return None
        if _exists(folder / name):
            return name
        return None if rest else (self._around if beside else self._inside).caseless(first)

    def close(self) -> None:
        """Close the files that were opened."""
        hdf5 = self.__dict__.pop("hdf5", None)
        if hdf5 is not None:
            hdf5.close()
        if "_file" in self.__dict__:
            self.__dict__.pop("_file").close()
        for other in self._related.values():
            if other is not None:
                other.close()
        self._related.clear()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Source({str(self.path)!r})"

    @cached_property
    def _file(self) -> PositionedFile:
        return PositionedFile(self.path)

    @cached_property
    def _related(self) -> dict[str, Source | None]:
        return {}

    @cached_property
    def _below(self) -> dict[str, _Listing | None]:
        return {}

    def _match_below(self, folder: str, pattern: str) -> str | None:
        """Look in a folder below; each is listed at most once, and only the first 256 are listed at all."""
        if folder not in self._below:
            if len(self._below) >= _MAX_FOLDERS_BELOW:
                return None
            self._below[folder] = _listed_if_folder(folder)
        listing = self._below[folder]
        first, _, rest = pattern.partition("/")
        for name in () if listing is None else listing.matching(first, folders=bool(rest)):
            found = self._match_below(os.path.join(folder, name), rest) if rest else ""
            if found is not None:
                return f"{name}/{found}" if rest else name
        return None

    def _find(self, pattern: str) -> Source | None:
        name = self.matching(pattern, beside=not self.is_folder)
        if name is None:
            return None
        folder = self.path if self.is_folder else self.path.parent
        # A neighbour that cannot be looked at is no evidence, and not an error of the source itself
        with contextlib.suppress(EmptySourceError, SourceKindError, SourceNotFoundError, SourcePermissionError):
            return Source(folder / name)
        return None


class _Listing:
    """The names in a folder, listed once; fast for many patterns in a folder of 100,000 files."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = folder
        try:
            self.names = folder_names(folder)
        except PermissionError as error:
            raise SourcePermissionError(f"no permission to list the folder {printable(folder)}") from error
        except OSError as error:
            raise SourceReadError(f"the folder {printable(folder)} could not be listed: {error.strerror}") from error

    def matching(self, pattern: str, *, folders: bool = False) -> Iterator[str]:
        """Yield the names, or those of folders alone, that match a glob, compared without regard to case."""
        match, literal = _compiled(pattern.lower())
        if folders:
            yield from (name for name in self._folders if match(name.lower()))
        elif literal in self._text:  # one search in all names first, since most globs match nothing
            yield from (name for name, low in zip(self.names, self._lowered, strict=True) if match(low))

    def caseless(self, name: str) -> str | None:
        """Return the first name that equals this one without regard to case, or None."""
        return self._by_lowered.get(name.lower())

    @cached_property
    def _folders(self) -> tuple[str, ...]:
        try:
            return folders_inside(self._folder)
        except OSError:
            return ()

    @cached_property
    def _lowered(self) -> tuple[str, ...]:
        return tuple(name.lower() for name in self.names)

    @cached_property
    def _text(self) -> str:
        return "\n".join(self._lowered)

    @cached_property
    def _by_lowered(self) -> dict[str, str]:
        # Reversed: of names that differ only in case, the first one remains
        return dict(zip(reversed(self._lowered), reversed(self.names), strict=True))


def _listing_of(folder: Path) -> _Listing:
    """Return the names in a folder; what was made of them for one file serves for the others in it."""
    known = known_files()
    if known is None:
        return _Listing(folder)
    listing: _Listing | None = known.listings.get(str(folder))
    if listing is None:
        listing = known.listings[str(folder)] = _Listing(folder)
    return listing


def _listed_if_folder(folder: str) -> _Listing | None:
    try:
        return _Listing(folder)
    except SourceError:  # a file, mostly
        return None


class _RootFound(Exception):
    """Stops the parser at the first element."""


def _xml_root(head: bytes, name: str) -> str | None:
    if b"<" not in head[:256]:  # most files are not XML: no parser is made for them
        return None
    try:
        return _first_element(head, name, None)
    except (ValueError, LookupError):  # an encoding that expat does not support; element names are mostly ASCII
        return _first_element(head, name, "iso-8859-1")


def _first_element(head: bytes, name: str, encoding: str | None) -> str | None:
    names: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        names.append(tag.rpartition(":")[2])
        raise _RootFound  # the rest is not parsed: it may be large, damaged, or cut by the head

    parser = xml_parser(name, encoding)
    parser.StartElementHandler = start
    try:
        parser.Parse(head, False)
    except _RootFound:
        return names[0]
    except expat.ExpatError:
        return None
    return None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> tuple[Callable[[str], re.Match[str] | None], str]:
    """Return a match for a glob, and the text that every name which matches contains."""
    return re.compile(fnmatch.translate(pattern)).match, _literal_part(pattern)


def _literal_part(pattern: str) -> str:
    """Return the longest ASCII text that every name which matches the glob contains, in lower case."""
    parts = re.split(r"[*?]|\[!?\]?[^]]*\]", pattern)
    return max((part for part in parts if part.isascii()), key=len, default="").lower()


def _each(path: SourceLike) -> Iterable[object]:
    if isinstance(path, str | os.PathLike):
        return (path,)
    if not isinstance(path, list | tuple):
        raise SourceKindError(f"expected a path or a list of paths, got {type(path).__name__}")
    return path


def _as_path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise SourceKindError(f"expected a path (str or os.PathLike), got {type(path).__name__}: {path!r:.80}")
    text = os.fspath(path)
    if isinstance(text, bytes):  # os.PathLike may return bytes
        text = os.fsdecode(text)
    if _URL.match(text):
        raise SourceKindError(f"{printable(text)} is a URL, but only local files can be opened; download it first")
    if not text or "\0" in text:
        raise SourceKindError(f"{text!r} is not a valid path: it is empty or contains a NUL character")
    # Not resolve(): the name of a link can bear the suffix, its target a hash (git-annex)
    return Path(os.path.abspath(text))


def _status(path: Path) -> os.stat_result:
    try:
        status = status_of(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        words = broken_link(path) or f"does not exist{_hint(path)}"
        raise SourceNotFoundError(f"{printable(path)} {words}") from error
    except PermissionError as error:
        raise SourcePermissionError(f"no permission to access {printable(path)}: {error.strerror}") from error
    except OSError as error:
        raise SourceReadError(f"{printable(path)} could not be accessed: {error.strerror}") from error
    # Reading a pipe or a device may wait for ever
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise SourceKindError(f"{printable(path)} is neither a file nor a folder")
    return status


def _exists(path: Path) -> bool:
    try:
        status_of(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return False
    return True


def _hint(path: Path) -> str:
    """Return the end of the sentence on a missing path: a similar name, or what its folder contains."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return f"; the folder {printable(path.parent)} does not exist either" if not path.parent.exists() else ""
    close = difflib.get_close_matches(path.name, names[:2000], n=1, cutoff=0.75)
    return (
        f"; did you mean {printable(close[0])!r}?"
        if close
        else f"; its folder contains {counted(len(names), 'other item')}"
    )


_SIGNATURES: Mapping[bytes, str] = {
    b"II*\0": "TIFF (little-endian)",
    b"MM\0*": "TIFF (big-endian)",
    b"II+\0": "BigTIFF (little-endian)",
    b"MM\0+": "BigTIFF (big-endian)",
    b"\x93NUMPY": "a NumPy array",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "gzip-compressed data; unpack it first",
    b"\xd0\xcf\x11\xe0": "an OLE compound file",
    b"MATLAB 5.0": "a MATLAB 5 file",
    **dict.fromkeys((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), "a Python pickle, which is never loaded"),
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"version https://git-lfs.github.com/": "a pointer of Git LFS in place of the file; download it with git lfs pull",
    b"/annex/objects/": "a pointer of git-annex in place of the file; download it with git annex get",
}


def looks_like(source: Source) -> str:
    """Return a description of the first bytes of a file, or of the names in a folder."""
    if source.is_folder:
        names = source.members
        if not names:
            return "an empty folder"
        return (
            results_in_folder(source.name, names)
            or f"a folder of {counted(len(names), 'item')}, such as {printable(names[0])!r}"
        )
    head = source.head(512)
    results = results_in_file(source.name, head, source.read_at)
    if results:
        return results
    for signature, words in _SIGNATURES.items():
        if head.startswith(signature):
            return words
    if source.is_hdf5:  # after the signatures: with a user block, the first bytes may be anything
        return "HDF5"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "an AVI video"
    if b"\0" not in head and _is_text(head):
        lines = head.decode("utf-8-sig", "replace").strip().splitlines()
        return f"text: {printable(lines[0][:60])!r}" if lines else "blank text"
    return f"bytes that begin with {head[:16].hex(' ')}"


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # later ones may be a character that the end of the head has cut
            return False
    return all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)

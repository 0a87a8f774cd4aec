"""Which files an OME-TIFF recording is made of: named by its OME-XML, found in its folder, and never outside it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from roiextractors_tiff.arrangement import natural_key

from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    EmptySourceError,
    SourceKindError,
    SourceNotFoundError,
    UnsupportedRecordingError,
    listed,
    printable,
)
from roiextractors_core.io import Source, file_name_key, folder_names, is_file, is_folder
from roiextractors_core.io.ome_xml import OmeImage, OmeReference

from .document import Document, is_tiff, read_document, root_attributes

__all__ = ["FileSet", "Recording", "holds_ome", "recording_at"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_SUFFIXES = (".tif", ".tiff", ".tf2", ".tf8", ".btf")  # the last three are for BigTIFF
_COMPANION = ".companion.ome"
_MAX_TRIED = 64  # TIFF files of a folder that are opened to look for OME-XML
_MAX_SCANNED = 10_000  # files whose UUIDs are read to find one that was renamed
_MAX_NAMED = 8  # in a note
_MAX_CHECKED = 4096  # files whose UUIDs are compared when a recording is opened: below a second on a local disk


@dataclass(frozen=True, slots=True)
class FileSet:
    """The files of one image.

    Attributes
    ----------
    paths : tuple of str or None
        One per reference, then the TIFF that contains the XML; None for a file that is missing.
    names : tuple of str
        The same files' names, safe to print.
    notes : tuple of str
    foreign : mapping
        The UUIDs of files that belong to another recording, by the names of the files.
    """

    paths: tuple[str | None, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    foreign: Mapping[str, str] = field(default_factory=dict)


class Recording:
    """An OME-XML, and the folder in which its files are.

    Parameters
    ----------
    document : Document
        The document of the file with the whole metadata.
    given : sequence of str
        The paths by which it was opened, the one that was read first.
    notes : tuple of str
    """

    def __init__(self, document: Document, given: Sequence[str], notes: tuple[str, ...] = ()) -> None:
        self.document = document
        self.given = tuple(os.path.abspath(path) for path in given)
        self.notes = (*document.notes, *notes)
        self._folder = os.path.dirname(os.path.abspath(document.path))
        self._listing: frozenset[str] | None = None
        self._spellings: dict[str, str] | None = None
        self._by_uuid: dict[str, str] | None = None
        self._foreign: dict[str | None, str] = {}
        self._uuids: dict[str, str] = {}

    @property
    def own(self) -> str | None:
        """The TIFF that contains the XML, or None if the XML is a file of its own."""
        return self.document.path if self.document.in_tiff else None

    def files_of(self, image: OmeImage) -> FileSet:
        """Find the files of an image.

        Raises
        ------
        UnsupportedRecordingError
            A name is absolute or leads out of the folder.
        """
        notes: list[str] = []
        shared = Counter(reference.uuid for reference in image.references)
        checked = _evenly(len(image.references), _MAX_CHECKED)
        found = [self._found(reference, shared, notes, k in checked) for k, reference in enumerate(image.references)]
        names = [printable(reference.file_name or reference.uuid) for reference in image.references]
        own = printable(os.path.basename(self.own)) if self.own else ""
        foreign = {
            name: self._foreign[reference.file_name]
            for name, reference, path in zip(names, image.references, found, strict=True)
            if path is None and reference.file_name in self._foreign
        }
        return FileSet((*found, self.own), (*names, own), tuple(dict.fromkeys(notes)), MappingProxyType(foreign))

    def all_paths(self) -> set[str]:
        """Return the absolute paths of all files that the XML names, and of those that contain it."""
        found = {self.given[0], os.path.abspath(self.document.path)}
        for image in self.document.images:
            found.update(path for path in self.files_of(image).paths if path is not None)
        return found

    def _found(self, reference: OmeReference, shared: Counter[str], notes: list[str], check: bool) -> str | None:
        """Look for the file by its name and UUID, then by its UUID alone: it may have another name by now."""
        name, uuid = reference.file_name, reference.uuid
        where = None if name is None else self._named(contained(name, self.document.name))
        is_own = bool(uuid) and uuid == self.document.uuid and self.own is not None
        # Some writers give all files one UUID, so only a UUID that occurs once identifies a file
        if is_own and (where is None or shared[uuid] == 1):
            return self.own
        if where is not None and check and uuid and shared[uuid] == 1:
            own = self._uuid_in(where)
            if own and own.lower() != uuid.lower():  # hexadecimal digits have either case
                self._foreign[str(name)] = own
                where = None
        if where is not None:
            return where
        if uuid and (path := self._with_uuid(uuid)) is not None:
            if name is not None:
                why = "belongs to another recording" if name in self._foreign else "is missing"
                notes.append(
                    f"{printable(name)} {why}; {printable(os.path.basename(path))} has the right UUID and is read instead"
                )
            return path
        if self.own is not None and shared.total() == 1 and not self.document.uuid:
            notes.append(f"{self.document.name} calls itself {printable(name or uuid)}: it was renamed")
            return self.own
        return None

    def _uuid_in(self, path: str) -> str:
        """Return the UUID that a file states; each is read once, although the files are looked for several times."""
        if path not in self._uuids:
            self._uuids[path] = root_attributes(path).get("UUID", "").strip()
        return self._uuids[path]

    def _named(self, name: str) -> str | None:
        listing = self._names()
        # The listing is of one folder, and empty if the folder may not be listed
        if "/" in name or not listing:
            path = os.path.join(self._folder, *name.split("/"))
            return path if is_file(path) else None
        if name in listing:
            return os.path.join(self._folder, name)
        if self._spellings is None:
            # Of equal names, the first remains
            self._spellings = {file_name_key(n): n for n in sorted(listing, reverse=True)}
        alike = self._spellings.get(file_name_key(name))
        return None if alike is None else os.path.join(self._folder, alike)

    def _names(self) -> frozenset[str]:
        if self._listing is None:
            self._listing = frozenset(_names_in(self._folder))
        return self._listing

    def _with_uuid(self, uuid: str) -> str | None:
        """Find the UUID among the TIFF files that the XML does not name, as the specification requires."""
        if self._by_uuid is None:
            named = {reference.file_name for image in self.document.images for reference in image.references}
            names = sorted(n for n in self._names() - named if n.lower().endswith(_SUFFIXES))[:_MAX_SCANNED]
            paths = [*self.given, *(os.path.join(self._folder, name) for name in names)]
            # Reversed, so that of copies with the same UUID the file that was given remains
            self._by_uuid = {root_attributes(path).get("UUID", "").strip(): path for path in reversed(paths)}
        return self._by_uuid.get(uuid)


def _evenly(length: int, most: int) -> range | frozenset[int]:
    """Return the numbers below a length, or at most ``most`` of them, evenly spread."""
    if length <= most:
        return range(length)
    return frozenset(k * (length - 1) // (most - 1) for k in range(most))


def contained(name: str, source: str) -> str:
    """Return a file name from the XML as a path inside the folder.

    Raises
    ------
    UnsupportedRecordingError
        It is absolute or leads out of the folder.
    """
    parts = name.strip().replace("\\", "/").split("/")  # the XML may come from Windows
    # The name comes from the file, and could lead to any file of the user
    if not parts[0] or re.match("[A-Za-z]:", parts[0]) or ".." in parts or "\0" in name:
        raise UnsupportedRecordingError(
            f"{source} names the file {printable(name)[:200]!r}, which is an absolute path or leads out of its "
            "folder; only files in the folder of the recording are read"
        )
    return "/".join(part for part in parts if part not in ("", "."))


def recording_at(file_path: Paths) -> Recording:
    """Return the recording of a file of it, of its folder, or of the list of its files.

    Raises
    ------
    SourceNotFoundError, CorruptRecordingError
        A file refers to another for its metadata, which is missing or refers to a third.
    ChoiceError
        The folder contains several recordings, or the list names a file of another.
    """
    if not isinstance(file_path, str | os.PathLike):
        return _of_list([os.fspath(path) for path in file_path])
    path = os.fspath(file_path)
    return _of_folder(path) if is_folder(path) else _of_files([path])


def holds_ome(source: Source) -> bool:
    """Return whether a folder's first TIFF file contains OME-XML; a probe for detection."""
    first = next((name for name in source.members if _is_tiff_name(name)), None)
    return first is not None and _is_ome(os.path.join(source.path, first))


def _of_files(paths: Sequence[str]) -> Recording:
    document = read_document(paths[0])
    if document.binary_only is None:
        return Recording(document, paths)
    master = _master(document)
    if master.binary_only is not None:
        raise CorruptRecordingError(
            f"{document.name} says that its metadata is in {master.name}, but that names yet another file"
        )
    return Recording(master, paths, (f"{document.name} is a part of the recording that {master.name} describes",))


def _master(document: Document) -> Document:
    reference = document.binary_only or {}
    name, uuid = reference.get("MetadataFile", ""), reference.get("UUID", "").strip()
    folder = os.path.dirname(os.path.abspath(document.path))
    path = os.path.join(folder, contained(name, document.name)) if name.strip() else folder
    if is_file(path):
        return read_document(path)
    names = [n for n in sorted(_names_in(folder)) if n.lower().endswith((*_SUFFIXES, ".ome"))]
    alike = next((n for n in names if name and file_name_key(n) == file_name_key(name)), None)
    if alike is not None:
        return read_document(os.path.join(folder, alike))
    # BinaryOnly also states the UUID of that file, which remains when it is renamed
    for other in names[:_MAX_SCANNED] if uuid else ():
        there = os.path.join(folder, other)
        if root_attributes(there).get("UUID", "").strip() == uuid:
            return read_document(there)
    raise SourceNotFoundError(
        f"{document.name} contains only pixels; its metadata should be in {printable(name) or 'a file'}, which "
        "is not in the folder. "
        "Put it there, or open the pages without it: open(..., format='tiff')"
    )


def _of_list(paths: list[str]) -> Recording:
    if not paths:
        raise EmptySourceError("an empty list of files was given; pass the files of one recording")
    recording = _of_files(paths)
    known = recording.all_paths()
    others = [path for path in paths[1:] if os.path.abspath(path) not in known]
    if others:
        raise ChoiceError(
            f"{listed(_shown(others))} "
            f"{'is' if len(others) == 1 else 'are'} not part of any image that {recording.document.name} "
            "describes; open each recording by itself, and join them in time with roi.concatenate"
        )
    return recording


def _of_folder(folder: str) -> Recording:
    names = sorted(_names_in(folder), key=natural_key)
    # A companion names its TIFF files, so none of them must be opened to find the recording
    companions = [name for name in names if name.lower().endswith(_COMPANION) and not name.startswith("._")]
    candidates = companions or [n for n in _tiff_names(names)[:_MAX_TRIED] if _is_ome(os.path.join(folder, n))]
    if not candidates:
        raise SourceKindError(f"the folder {printable(folder)} contains no OME-TIFF; pass the file itself")
    recording = _of_files([os.path.join(folder, candidates[0])])
    known = {os.path.basename(path) for path in recording.all_paths()}
    others = [name for name in candidates if name not in known]
    if others:
        raise ChoiceError(
            f"the folder {printable(folder)} contains several recordings, among them "
            f"{listed(_shown([candidates[0], *others]), limit=4)}; open one of these files"
        )
    left_out = [name for name in _tiff_names(names) if name not in known]
    if left_out:
        shown = ", ".join(_shown(left_out[:_MAX_NAMED]))
        more = f" and {len(left_out) - _MAX_NAMED:,} more" if len(left_out) > _MAX_NAMED else ""
        verb = "is" if len(left_out) == 1 else "are"
        recording.notes += (
            f"{shown}{more} in the folder {verb} not named by {recording.document.name} and {verb} left out",
        )
    return recording


def _is_ome(path: str) -> bool:
    try:
        return is_tiff(path) and "openmicroscopy.org/" in " ".join(root_attributes(path).values())
    except OSError:
        return False


def _tiff_names(names: Sequence[str]) -> list[str]:
    return sorted(filter(_is_tiff_name, names), key=natural_key)


def _is_tiff_name(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES) and not name.startswith("._")  # macOS writes ._ files beside the real ones


def _names_in(folder: str) -> tuple[str, ...]:
    try:
        return folder_names(folder)
    except OSError:  # a folder may be closed to listing while its files can be read
        return ()


def _shown(paths: Sequence[str]) -> Iterator[str]:
    return (printable(os.path.basename(path)) for path in paths)

"""Compares the names of the TIFF files with the UUIDs in their OME-XML: each file has one, and one file lists them all."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import unescape

import numpy as np
from roiextractors_tiff.pages import PageIndex

from roiextractors_core.errors import CorruptRecordingError, RecordingError, SourceError, printable
from roiextractors_core.io import PositionedFile, run_on_cores, silenced

__all__ = ["FileIdentity"]

_UUID = rb'UUID="(?:urn:uuid:)?([0-9a-fA-F-]{32,36})"'
_OWN = re.compile(rb"<(?:\w+:)?OME\b[^>]*?\b" + _UUID)
_LIST = re.compile(rb'<(?:\w+:)?BinaryOnly\b[^>]*?\bMetadataFile="([^"]*)"[^>]*?\b' + _UUID)
_ENTRY = re.compile(rb'<(?:\w+:)?UUID\b[^>]*?\bFileName="([^"]*)"[^>]*>\s*(?:urn:uuid:)?([0-9a-fA-F-]{32,36})')
_DAMAGED = b"\0"  # no description begins with NUL
_HEAD = 4096  # the UUID of a file is at the beginning; the list of all files may take megabytes
_MAX_LIST = 1 << 28
_FILES_A_TASK = 64


class FileIdentity:
    """Verifies files of a recording before their pixels are used: a file that was renamed or replaced is refused by its name.

    Parameters
    ----------
    index : PageIndex
        The files of the recording.
    folder : str
    names : sequence of str
        Their names.

    Notes
    -----
    Files without a UUID, as Prairie View wrote them before 5.1, cannot be distinguished; they are accepted if
    none of them has one.

    References
    ----------
    OME-TIFF specification, for ``UUID``, ``BinaryOnly`` and ``TiffData``.
    """

    def __init__(self, index: PageIndex, folder: str, names: Sequence[str]) -> None:
        self._index, self._folder, self._names = index, folder, names
        self._firsts = np.concatenate([[0], np.cumsum(index.pages_per_file, dtype=np.int64)])
        self._verified = np.zeros(len(names), bool)
        self._list: _FileList | None = None

    def require(self, pages: np.ndarray) -> None:
        """Verify the files of some pages that were not verified before.

        Raises
        ------
        CorruptRecordingError
            The contents of a file do not match its name.
        """
        numbers = np.unique(np.searchsorted(self._firsts, pages, side="right") - 1)
        for number, reason in self._problems(numbers[~self._verified[numbers]]).items():
            raise CorruptRecordingError(f"{printable(self._names[number])} {reason}")

    def foreign_files(self) -> dict[int, str]:
        """Return the files that do not belong or cannot be read, with the reason; every file is opened."""
        return self._problems(np.arange(len(self._names)), with_damaged=True)

    def _problems(self, numbers: np.ndarray, *, with_damaged: bool = False) -> dict[int, str]:
        if not len(numbers):
            return {}
        if self._list is None:
            self._list = _FileList.of(self._description(0), self._folder, self._names[0])
        heads: dict[int, bytes] = {}
        parts = [numbers[k : k + _FILES_A_TASK].tolist() for k in range(0, len(numbers), _FILES_A_TASK)]
        tasks: list[Any] = [functools.partial(self._read_heads, part, heads) for part in parts]
        run_on_cores(tasks) if len(tasks) > 1 else [task() for task in tasks]
        problems = {}
        for number in numbers.tolist():
            head = heads.get(number, b"")
            is_damaged = head.startswith(_DAMAGED)
            reason = "" if is_damaged else self._list.problem(self._names[number], head)
            if is_damaged and with_damaged:
                reason = f"cannot be used ({head[len(_DAMAGED) :].decode('utf-8', 'replace')})"
            if reason:
                problems[number] = reason
            else:
                self._verified[number] = True
        return problems

    def _read_heads(self, numbers: list[int], heads: dict[int, bytes]) -> None:
        for number in numbers:
            heads[number] = self._description(number)[:_HEAD]

    def _description(self, number: int) -> bytes:
        try:
            return self._index.descriptions([int(self._firsts[number])])[0]
        except (RecordingError, SourceError) as error:  # reported when its pixels are read, with the frame
            return _DAMAGED + str(error).encode()


class _FileList:
    """The UUIDs of all files, from the one that lists them."""

    def __init__(self, name: str, uuid: str, uuids: dict[str, str], *, has_uuids: bool) -> None:
        self._name, self._uuid, self._uuids, self._has_uuids = name, uuid, uuids, has_uuids
        self._names = {uuid: name for name, uuid in uuids.items()}

    @classmethod
    def of(cls, description: bytes, folder: str, name: str) -> _FileList:
        """Find the list from the description of one file, whose name is given."""
        own, listed = _OWN.search(description[:_HEAD]), _LIST.search(description[:_HEAD])
        text, uuid = description, own[1].decode().lower() if own else ""
        if listed:
            name, uuid = unescape(listed[1].decode("utf-8", "replace")), listed[2].decode().lower()
            text = _read_list(folder, name)
            of_list = _OWN.search(text[:_HEAD])
            if of_list is None or of_list[1].decode().lower() != uuid:
                text = b""  # the list of another recording has this name; this one's is missing
        entries = (match.groups() for match in _ENTRY.finditer(text))
        uuids = {unescape(file.decode("utf-8", "replace")): found.decode().lower() for file, found in entries}
        return cls(name, uuid, uuids, has_uuids=own is not None)

    def problem(self, name: str, head: bytes) -> str:
        """Return why the contents of a file do not match its name, or an empty string."""
        own, listed = _OWN.search(head), _LIST.search(head)
        if own is None:
            if not self._has_uuids:
                return ""
            return (
                "does not contain Prairie View's OME-XML with a UUID, unlike the other files of the recording; "
                "another program wrote it, and its pixels may be those of another frame"
            )
        uuid = own[1].decode().lower()
        other = self._names.get(uuid, name)
        if other != name:
            return f"has the UUID of {printable(other)}; the files were renamed"
        is_same_list = listed is not None and unescape(listed[1].decode("utf-8", "replace")) == self._name
        if listed is not None and is_same_list and listed[2].decode().lower() != self._uuid:
            return f"belongs to another recording: its UUID refers to another {printable(self._name)}"
        if listed is None and name == self._name and uuid != self._uuid:
            return "belongs to another recording, according to its UUID"
        return ""


def _read_list(folder: str, name: str) -> bytes:
    """Return the OME-XML with the list of files; empty if it cannot be read."""
    # A name in the OME-XML must not lead out of the folder
    if os.path.basename(name) != name or not name:
        return b""
    path = os.path.join(folder, name)
    try:
        if not name.lower().endswith((".tif", ".tiff")):
            file = PositionedFile(path)
            try:
                return file.read(0, min(file.size, _MAX_LIST))
            finally:
                file.close()
        with silenced():
            index = PageIndex.of(path)
        try:
            return index.descriptions([0])[0]
        finally:
            index.close()
    except (RecordingError, SourceError):
        return b""

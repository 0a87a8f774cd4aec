"""What is known of files while a recording is opened, so that the system is asked once about each of them.

On a network share every call on a file takes 1 to 10 ms, and a recording is looked at by several readers while it opens: by
the evidence of each format, then by the extractor, often in several passes.  Within :func:`asked_once` they share what the
first one has learnt: the status of a path, the names in a folder, the state of a file and the blocks that were read.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

__all__ = [
    "KnownFile",
    "KnownFiles",
    "asked_once",
    "folder_names",
    "folders_inside",
    "is_file",
    "is_folder",
    "known_files",
    "run_asked_once",
    "status_of",
]

MAX_SMALL_READ = 1 << 14  # a longer read is of pixels, or of a table that is read once
_BLOCK_BYTES = 1 << 10
_MANY_BYTES = 1 << 14  # of the head, which several readers look at, and of what is read in order
_BLOCKS_IN_ORDER = range(1, 6)
_MAX_BYTES = 32 << 20  # of all blocks
_MAX_FILES = 4096
_MAX_ENTRIES = 4096  # of a folder; an entry takes more memory than its name
_MAX_OPEN = 24  # the pool of descriptors keeps others


class KnownFile:
    """A file that was looked at: its descriptor, as long as it is open, its state then, and blocks of its bytes.

    Attributes
    ----------
    entry : Any
        The open descriptor, or None.
    state : Any
        Which file it is, its size and the time of its last change.
    heads : dict
        Checksums by the parts of the file that are compared, and its size.
    """

    __slots__ = ("_blocks", "entry", "heads", "state")

    def __init__(self, entry: Any, state: Any) -> None:
        self.entry, self.state = entry, state
        self._blocks: dict[int, bytes] = {}
        self.heads: dict[Any, int] = {}

    def bytes_at(self, offset: int, count: int) -> bytes | None:
        """Return up to ``count`` bytes from ``offset``, fewer at the end of the file; None if a block of them was not read."""
        first, parts = offset // _BLOCK_BYTES, []
        if offset + count <= (first + 1) * _BLOCK_BYTES:  # most reads are of a few bytes inside one block
            part = self._blocks.get(first)
            return None if part is None else part[offset - first * _BLOCK_BYTES :][:count]
        for number in range(first, (offset + count - 1) // _BLOCK_BYTES + 1):
            part = self._blocks.get(number)
            if part is None:
                return None
            parts.append(part)
            if len(part) < _BLOCK_BYTES:  # the end of the file
                break
        return b"".join(parts)[offset - first * _BLOCK_BYTES :][:count]

    def add(self, offset: int, data: bytes) -> None:
        """Remember bytes that were read from ``offset``, which is the beginning of a block."""
        for at in range(0, max(1, len(data)), _BLOCK_BYTES):
            self._blocks[(offset + at) // _BLOCK_BYTES] = data[at : at + _BLOCK_BYTES]

    def forget(self) -> None:
        """Forget the blocks and their checksums."""
        self._blocks.clear()
        self.heads.clear()

    def range_of(self, offset: int, count: int) -> tuple[int, int]:
        """Return the offset and the length of what to read for a range of bytes: its blocks, and more where bytes are read in order."""
        first, last = offset // _BLOCK_BYTES, (offset + count - 1) // _BLOCK_BYTES
        length = (last - first + 1) * _BLOCK_BYTES
        # Nearly always decided by the block before
        if not first or (first - 1 in self._blocks and all(first - back in self._blocks for back in _BLOCKS_IN_ORDER)):
            length = max(length, _MANY_BYTES)
        return first * _BLOCK_BYTES, length


class KnownFiles:
    """Everything that is known while one recording is opened, by one thread."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._files: dict[str, KnownFile] = {}
        self._open: dict[str, KnownFile] = {}
        self._nbytes = 0
        self.statuses: dict[str, os.stat_result] = {}
        self.names: dict[str, tuple[str, ...]] = {}
        self.entries: dict[str, list[os.DirEntry[str]]] = {}
        self.listings: dict[str, Any] = {}
        self.missing: set[str] = set()
        self._lowered: dict[str, frozenset[str]] = {}

    @property
    def is_of_this_thread(self) -> bool:
        """Whether the thread that asks is the one that opens the recording."""
        return self._thread == threading.get_ident()

    def is_missing(self, path: str) -> bool:
        """Whether a path does not exist, as far as a folder was listed, or somebody has asked before."""
        if path in self.missing:
            return True
        folder, name = os.path.split(path)
        names = self.names.get(folder)
        if names is None or not name.isascii():  # macOS stores other letters in another form than they are asked for
            return False
        lowered = self._lowered.get(folder)
        if lowered is None:
            lowered = self._lowered[folder] = frozenset(map(str.lower, names))
        return name.lower() not in lowered  # the file system may ignore case

    def get(self, path: str) -> KnownFile | None:
        """Return a file, if it was looked at."""
        return self._files.get(path)

    def add(self, path: str, entry: Any, state: Any) -> KnownFile:
        """Remember a file that has just been opened; those that were opened long before are closed or forgotten."""
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = KnownFile(entry, state)
        elif state != file.state:
            file.forget()
        file.entry, file.state = entry, state
        self._open[path] = file
        self._shrink(self._open, _MAX_OPEN)
        self._shrink(self._files, _MAX_FILES)
        return file

    def keep(self, file: KnownFile, offset: int, data: bytes) -> None:
        """Remember bytes of a file, which begin with a block."""
        self._nbytes += len(data)
        if self._nbytes > _MAX_BYTES:
            for other in list(self._files.values()):
                other.forget()
            self._nbytes = len(data)
        file.add(offset, data)

    def drop(self, path: str) -> None:
        """Forget a file that could not be read."""
        for files in (self._files, self._open):
            file = files.pop(path, None)
            if file is not None:
                file.entry = None

    def close(self) -> None:
        """Close all files; what is known of them remains."""
        for file in list(self._open.values()):
            file.entry = None
        self._open.clear()

    def clear(self) -> None:
        """Close all files and forget everything."""
        self.close()
        for known in (self._files, self.statuses, self.names, self.entries, self.listings, self.missing, self._lowered):
            known.clear()

    def _shrink(self, files: dict[str, KnownFile], most: int) -> None:
        while len(files) > most:
            path = next(iter(files))
            file = files.pop(path)
            file.entry = None
            self._open.pop(path, None)


KNOWN: ContextVar[KnownFiles | None] = ContextVar("known_files", default=None)


Result = TypeVar("Result")


def known_files() -> KnownFiles | None:
    """Return what is known in this thread, or None outside of :func:`asked_once`."""
    known = KNOWN.get()
    return known if known is None or known.is_of_this_thread else None


@contextmanager
def asked_once() -> Iterator[None]:
    """Ask the system once about each file while a recording is opened; a block inside of another one shares with it.

    A file that changes meanwhile is seen as it was at the first look.  The first read after the block compares it, as always.
    """
    if known_files() is not None:
        yield
        return
    known, before = KnownFiles(), KNOWN.get()
    try:
        KNOWN.set(known)  # inside, since Ctrl-C can come between any two steps
        yield
    finally:
        KNOWN.set(before)
        known.clear()  # an error that somebody keeps must not keep the files open


def run_asked_once(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function as in :func:`asked_once`, in such a way that Ctrl-C cannot leave the block open.

    It can come between any two steps of Python, also on the way into and out of a ``with`` statement; then later openings would
    get what is no longer true. A context is entered and left by one step.
    """
    if known_files() is not None:
        return function(*arguments)
    known, context = KnownFiles(), copy_context()
    context.run(KNOWN.set, known)
    try:
        return context.run(function, *arguments)
    finally:
        known.clear()


def status_of(path: str | os.PathLike[str]) -> os.stat_result:
    """Return ``os.stat(path)``; while a recording is opened, each path is asked for once.

    Raises
    ------
    OSError
    """
    known, place = known_files(), os.fspath(path)
    if known is None:
        return os.stat(place)
    status = known.statuses.get(place)
    if status is None:
        status = known.statuses[place] = os.stat(place)
    return status


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a regular file; while a recording is opened, each path is asked for once.

    Parameters
    ----------
    path : str or os.PathLike
    """
    return stat.S_ISREG(_mode_of(os.fspath(path)))


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder; while a recording is opened, each path is asked for once.

    Parameters
    ----------
    path : str or os.PathLike
    """
    return stat.S_ISDIR(_mode_of(os.fspath(path)))


def _mode_of(path: str) -> int:
    """Return the kind of a path; 0 where it does not exist or cannot be looked at."""
    known = known_files()
    if known is not None and known.is_missing(path):
        return 0
    try:
        return status_of(path).st_mode
    except (OSError, ValueError):  # as for os.path.isfile: a path with a NUL character does not exist
        if known is not None:
            known.missing.add(path)
        return 0


def folder_names(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the sorted names in a folder; while a recording is opened, each folder is listed once.

    Parameters
    ----------
    folder : str or os.PathLike

    Raises
    ------
    OSError
        The folder does not exist, or may not be listed.
    """
    known, place = known_files(), os.path.abspath(folder)
    if known is None:
        return tuple(sorted(os.listdir(place)))
    names = known.names.get(place)
    if names is None:
        with os.scandir(place) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        names = known.names[place] = tuple(entry.name for entry in entries)
        if len(entries) <= _MAX_ENTRIES:
            known.entries[place] = entries
    return names


def folders_inside(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the sorted names of the folders in a folder; a listing says which they are, so they are not asked for one by one.

    Raises
    ------
    OSError
    """
    known, place = known_files(), os.path.abspath(folder)
    entries = None if known is None else known.entries.get(place)
    if entries is None:
        with os.scandir(place) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    return tuple(entry.name for entry in entries if entry.is_dir())

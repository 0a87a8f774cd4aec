"""The objects in an HDF5 file: opened read-only, searched within limits, never followed into another file."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import h5py
import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import PositionedFile, ProcessLock, open_hdf5_file, unchanging_superblock

__all__ = [
    "HDF5_FAULTS",
    "attribute_of",
    "attributes_of",
    "datasets_below",
    "hard_links",
    "missing_bytes",
    "named",
    "open_hdf5",
    "plain",
    "read_while_written",
    "text_of",
]

Result = TypeVar("Result")

HDF5_FAULTS = (OSError, RuntimeError, LookupError, ValueError, TypeError, OverflowError, MemoryError)
"""The exceptions that h5py raises when the bytes of a file contradict the format."""

# Locked while a file is open: libhdf5 shares one file among threads, and closing it in one closes it in all
_FILES_LOCK = ProcessLock()

_MAX_ATTEMPTS, _WAIT = 10, 0.02  # seconds, between reads of a file that is being written
_MAX_END = 1 << 60  # bytes; a header that states more is damaged
_MAX_OBJECTS = 20_000
_MAX_LINKS = 200_000  # of one group that are looked at; takes about 0.5 s
_MAX_DEPTH = 16
_MAX_SOFT_LINKS = 16  # the default limit of libhdf5 as well
_MAX_ATTRIBUTES = 500
_MAX_ATTRIBUTE_BYTES = 1 << 16  # HDF5 limits attributes to this size, except in its dense storage


@contextmanager
def open_hdf5(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open the file read-only and without a lock on the disk, for as long as the block lasts.

    Parameters
    ----------
    path : str or os.PathLike

    Yields
    ------
    h5py.File

    Raises
    ------
    SourceNotFoundError, SourcePermissionError, SourceKindError
        The path does not exist, must not be read, or is a folder.
    TruncatedRecordingError
        The file is shorter than its header states.
    CorruptRecordingError
        It is not HDF5, or the bytes that are read inside the block contradict the format.
    """
    name = printable(os.path.basename(os.fspath(path)))
    with _FILES_LOCK:
        file = _open(os.fspath(path), name)
        try:
            yield file
        except RoiExtractorsError:
            raise
        except HDF5_FAULTS as error:
            # Missing bytes read as zeros, which libhdf5 reports as damage
            lost = missing_bytes(file)
            if lost:
                raise TruncatedRecordingError(
                    f"{name} is truncated: it lacks {lost:,} bytes that its header states, and what is left cannot be read: {_reason(error)}"
                ) from error
            raise CorruptRecordingError(f"{name} is damaged: {_reason(error)}") from error
        except SystemError as error:
            if isinstance(error.__cause__, KeyboardInterrupt):  # Ctrl-C inside h5py's own lock
                raise error.__cause__ from None
            raise
        finally:
            file.close()


def _open(path: str, name: str) -> Any:
    try:
        return open_hdf5_file(path)
    except RoiExtractorsError:
        raise
    except HDF5_FAULTS as error:
        # h5py raises OSError for many faults, and only libhdf5's message identifies them
        reason = _reason(error)
        if "truncated" in reason or "eof" in reason.lower():
            file = _open_cut(path, reason)
            if file is not None:
                return file
            raise TruncatedRecordingError(
                f"{name} has {os.path.getsize(path):,} bytes but its header states more; the file is truncated: {reason}"
            ) from error
        if "already open" in reason or "consistency" in reason:
            reason += " (it is still being written, or the program that wrote it did not close it; in that case run h5clear -s)"
        raise CorruptRecordingError(f"{name} cannot be opened as HDF5: {reason}") from error


def _open_cut(path: str, reason: str) -> Any:
    """Open a file that is shorter than its header states, so that its complete parts can be read; None if that fails as well."""
    stated = re.search(r"stored_eof = (\d+)", reason)
    if stated is None or int(stated[1]) >= _MAX_END:
        return None
    try:
        return open_hdf5_file(path, end=int(stated[1]))
    except HDF5_FAULTS:
        return None


def missing_bytes(file: Any) -> int:
    """Return by how many bytes an open file is shorter than its header states."""
    return max(0, int(file.id.get_filesize()) - os.path.getsize(file.filename))


def read_while_written(path: str | os.PathLike[str], read: Callable[[], Result]) -> Result:
    """Return the result of a function; call it again if a file that is being written in SWMR mode changed meanwhile.

    libhdf5's own readers repeat a read of metadata whose checksum does not fit; here the whole read is repeated.
    """
    for _ in range(_MAX_ATTEMPTS):
        try:
            return read()
        except CorruptRecordingError:
            if not unchanging_superblock(PositionedFile(path)):
                raise
            time.sleep(_WAIT)
    return read()


def _reason(error: BaseException) -> str:
    return printable(error)[:300] or type(error).__name__


def named(file: Any, name: str) -> Any:
    """Return the object at a path, following links inside the file and never one that leaves it.

    Parameters
    ----------
    file : h5py.File or h5py.Group
        Where the path begins; a path that begins with ``/`` begins at the root.
    name : str

    Returns
    -------
    h5py.Group, h5py.Dataset or None
        None where the path does not exist.

    Raises
    ------
    UnsupportedRecordingError
        An external link, or a circle of links.
    """
    # One part at a time: file[name] would follow external links too
    node, pending = (file.file["/"] if name.startswith("/") else file), _parts(name)
    budget = _MAX_SOFT_LINKS
    while pending:
        part = pending.pop(0)
        if not isinstance(node, h5py.Group) or not _has(node, part):
            return None
        link = _soft_or_external(node, part)
        if isinstance(link, h5py.ExternalLink):
            raise UnsupportedRecordingError(
                f"{_file_name(file)}: {printable(node.name.rstrip('/'))}/{printable(part)} is a link to another file "
                f"({printable(link.filename)}), which is not followed; open that file"
            )
        if isinstance(link, h5py.SoftLink):
            budget -= 1
            if budget < 0:
                raise UnsupportedRecordingError(f"{_file_name(file)}: the links at {printable(name)} form a circle")
            pending = _parts(link.path) + pending
            node = file.file["/"] if link.path.startswith("/") else node
            continue
        node = node[part]
    return node


def _soft_or_external(group: Any, part: str) -> Any:
    # A hard link, as nearly all are, is recognised in a tenth of the time of `get`
    kind = group.id.links.get_info(part.encode("utf-8", "surrogateescape")).type
    return None if kind == h5py.h5l.TYPE_HARD else group.get(part, getlink=True)


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _has(group: Any, part: str) -> bool:
    # h5py returns names that are not UTF-8 with surrogates
    return bool(group.id.links.exists(part.encode("utf-8", "surrogateescape")))


def _file_name(node: Any) -> str:
    return printable(os.path.basename(node.file.filename))


def datasets_below(group: Any, *, most: int = _MAX_OBJECTS, depth: int = _MAX_DEPTH) -> Iterator[Any]:
    """Yield the datasets in a group and below it, each once, by hard links alone.

    Soft links inside the file only lead to objects that hard links lead to as well; external links leave the file.

    Parameters
    ----------
    group : h5py.File or h5py.Group
    most, depth : int
        After this many objects, and below this many levels, the search ends.
    """
    seen: set[int] = set()
    pending = [(group, 0)]
    while pending and len(seen) < most:
        node, level = pending.pop(0)
        for name in hard_links(node, most - len(seen)):
            # Not node[name], which takes twice the time
            below = h5py.h5o.open(node.id, name)
            # Several hard links can lead to one object, or back to a group above it
            address = h5py.h5o.get_info(below).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(below, h5py.h5d.DatasetID):
                yield h5py.Dataset(below)
            elif isinstance(below, h5py.h5g.GroupID) and level < depth:
                pending.append((h5py.Group(below), level + 1))


def hard_links(group: Any, most: int) -> list[bytes]:
    """Return the names of a group's hard links, at most ``most``; soft and external links are left out."""
    names: list[bytes] = []
    seen = itertools.count(1)

    def visit(name: bytes, info: Any) -> bool | None:
        if info.type == h5py.h5l.TYPE_HARD:
            names.append(name)
        # True ends the iteration; iterating over the group would read all names first
        return True if len(names) >= most or next(seen) >= _MAX_LINKS else None

    group.id.links.iterate(visit, info=True)
    return names


def attributes_of(node: Any) -> dict[str, Any]:
    """Return the attributes as plain numbers, text and lists; large ones, references and opaque values are left out.

    Nothing is unpickled: bytes become text.
    """
    found = {printable(name): attribute_of(node, name) for name in list(node.attrs)[:_MAX_ATTRIBUTES]}
    return {name: value for name, value in found.items() if value is not None}


def attribute_of(node: Any, name: str) -> Any:
    """Return one attribute as :func:`attributes_of` does; None if there is none, or if it is left out."""
    try:
        if name not in node.attrs:
            return None
        attribute = node.attrs.get_id(name)
        # Before the value is read: h5py allocates the size that the file claims. Lists of different lengths are not metadata, and a
        # text whose type is damaged looks like one; reading it ends the process
        if attribute.get_storage_size() > _MAX_ATTRIBUTE_BYTES or isinstance(attribute.get_type(), h5py.h5t.TypeVlenID):
            return None
        return plain(node.attrs[name])
    except HDF5_FAULTS:
        return None


def plain(value: Any) -> Any:
    """Return a value from h5py as a plain Python value; None for references, opaque and empty values."""
    if isinstance(value, bytes):
        return _text(value.rstrip(b"\0"))  # strings of fixed length are padded with zeros
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, h5py.Empty | h5py.Reference | h5py.RegionReference | np.void):
        return None
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "biufSUO":
            return None
        listed = value.tolist()
        if value.dtype.kind in "biuf":
            return listed  # plain already: tables have thousands of numbers
        return [plain(item) for item in listed] if isinstance(listed, list) else plain(listed)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")  # decodes any bytes


def text_of(attributes: Mapping[str, Any], key: str) -> str:
    """Return an attribute's text; an empty string when it is missing or not text."""
    value = attributes.get(key)
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else ""

"""What lies in an HDF5 file: opened read-only, searched within bounds, never left for another file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsError,
    SourceKindError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import ProcessLock, open_hdf5_file

__all__ = [
    "HDF5_FAULTS",
    "attributes_of",
    "datasets_below",
    "hard_links",
    "named",
    "one_path",
    "open_hdf5",
    "plain",
    "text_of",
]

HDF5_FAULTS = (OSError, RuntimeError, LookupError, ValueError, TypeError, OverflowError, MemoryError)
"""What h5py raises when the bytes of a file contradict the format."""

_FILES_LOCK = ProcessLock()  # held while a file is open here: one that another thread closes would be closed for all

_MAX_OBJECTS = 20_000
_MAX_DEPTH = 16
_MAX_SOFT_LINKS = 16
_MAX_ATTRIBUTES = 500
_MAX_ATTRIBUTE_BYTES = 1 << 16


def one_path(path: Any) -> str:
    """Return the path of a recording that is one file, given alone or as a list of one.

    Raises
    ------
    SourceKindError
        Several files.
    """
    if isinstance(path, str | os.PathLike):
        return os.fspath(path)
    files = list(path)
    if len(files) != 1:
        raise SourceKindError(
            f"a recording of this format is one file, and {len(files):,} were given; open each of them, and join them in time with "
            "roiextractors_core.concatenate"
        )
    return str(os.fspath(files[0]))


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
        Nothing is there, it may not be read, or it is a folder.
    TruncatedRecordingError
        The file is shorter than it says itself.
    CorruptRecordingError
        It is no HDF5, or what is read inside the block contradicts the format.
    """
    name = printable(os.path.basename(os.fspath(path)))
    with _FILES_LOCK:
        file = _opened(os.fspath(path), name)
        try:
            yield file
        except RoiExtractorsError:
            raise
        except HDF5_FAULTS as error:
            raise CorruptRecordingError(f"{name} is damaged inside: {_reason(error)}") from error
        finally:
            file.close()


def _opened(path: str, name: str) -> Any:
    try:
        return open_hdf5_file(path)
    except RoiExtractorsError:
        raise
    except HDF5_FAULTS as error:
        reason = _reason(error)
        if "truncated" in reason or "eof" in reason.lower():
            raise TruncatedRecordingError(
                f"{name} holds {os.path.getsize(path):,} bytes, and its own header needs more; the file is cut: {reason}"
            ) from error
        if "already open" in reason or "consistency" in reason:
            reason += (
                " (it was not closed by the program that wrote it, or is still being written; h5clear -s mends that)"
            )
        raise CorruptRecordingError(f"{name} cannot be opened as HDF5: {reason}") from error


def _reason(error: BaseException) -> str:
    return printable(error)[:300] or type(error).__name__


def named(file: Any, name: str) -> Any:
    """Return the object at a path, following links inside the file and never one that leaves it.

    Parameters
    ----------
    file : h5py.File or h5py.Group
        Where the path begins; one that begins with ``/`` begins at the root.
    name : str

    Returns
    -------
    h5py.Group, h5py.Dataset or None
        None where nothing is at the path.

    Raises
    ------
    UnsupportedRecordingError
        An external link, or links that lead in a circle.
    """
    node, pending = (file.file["/"] if name.startswith("/") else file), _parts(name)
    budget = _MAX_SOFT_LINKS
    while pending:
        part = pending.pop(0)
        if not isinstance(node, h5py.Group) or not _has(node, part):
            return None
        link = node.get(part, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise UnsupportedRecordingError(
                f"{_file_name(file)}: {printable(node.name.rstrip('/'))}/{printable(part)} is a link into another file "
                f"({printable(link.filename)}), which is not followed; open that file"
            )
        if isinstance(link, h5py.SoftLink):
            budget -= 1
            if budget < 0:
                raise UnsupportedRecordingError(f"{_file_name(file)}: the links at {printable(name)} lead in a circle")
            pending = _parts(link.path) + pending
            node = file.file["/"] if link.path.startswith("/") else node
            continue
        node = node[part]
    return node


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _has(group: Any, part: str) -> bool:
    return bool(group.id.links.exists(part.encode("utf-8", "surrogateescape")))


def _file_name(node: Any) -> str:
    return printable(os.path.basename(node.file.filename))


def datasets_below(group: Any, *, most: int = _MAX_OBJECTS, depth: int = _MAX_DEPTH) -> Iterator[Any]:
    """Yield the datasets in a group and below it, each once, by hard links alone.

    Soft links inside the file lead to nothing that hard links do not; external ones leave it.

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
            below = node[name]
            address = h5py.h5o.get_info(below.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(below, h5py.Dataset):
                yield below
            elif isinstance(below, h5py.Group) and level < depth:
                pending.append((below, level + 1))


def hard_links(group: Any, most: int) -> list[bytes]:
    """Return the names of what is in a group itself, at most so many; what soft and external links name is not."""
    names: list[bytes] = []

    def visit(name: bytes, info: Any) -> bool | None:
        if info.type == h5py.h5l.TYPE_HARD:
            names.append(name)
        return True if len(names) >= most else None

    group.id.links.iterate(visit, info=True)
    return names


def attributes_of(node: Any) -> dict[str, Any]:
    """Return the attributes as plain numbers, text and lists; what is large or no data is left out.

    Nothing is unpickled: bytes stay text, references and opaque values are left out.
    """
    found: dict[str, Any] = {}
    for name in list(node.attrs)[:_MAX_ATTRIBUTES]:
        try:
            attribute = node.attrs.get_id(name)
            if attribute.get_storage_size() > _MAX_ATTRIBUTE_BYTES:
                continue
            value = plain(node.attrs[name])
        except HDF5_FAULTS:
            continue
        if value is not None:
            found[printable(name)] = value
    return found


def plain(value: Any) -> Any:
    """Return a value of h5py's as Python has it, or None for what is no data (references, opaque, empty)."""
    if isinstance(value, bytes):
        return _text(value.rstrip(b"\0"))
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, h5py.Empty | h5py.Reference | h5py.RegionReference | np.void):
        return None
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "biufSUO":
            return None
        listed = value.tolist()
        return [plain(item) for item in listed] if isinstance(listed, list) else plain(listed)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def text_of(attributes: Mapping[str, Any], key: str) -> str:
    """Return an attribute's text, an empty string when it is missing or no text."""
    value = attributes.get(key)
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else ""

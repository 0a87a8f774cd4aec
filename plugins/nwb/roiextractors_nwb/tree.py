"""The groups, datasets, attributes and links of an NWB file, through one interface for HDF5 and Zarr."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import h5py
import numpy as np
from roiextractors_hdf5.contents import HDF5_FAULTS, attribute_of, attributes_of, hard_links, named, open_hdf5, plain
from roiextractors_hdf5.dataset import refuse_other_files

from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceKindError,
    SourceNotFoundError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import (
    Budget,
    ZarrArray,
    read_json,
    single_file,
)

__all__ = ["Tree", "is_zarr", "local_path", "open_tree", "read_zarr", "root_of", "zarr_array"]

Group = TypeVar("Group")

_MARKS = (".zgroup", ".zattrs", "zarr.json")
_MAX_VALUES = 10_000  # larger datasets are not read as metadata
_MAX_VALUE_BYTES = 64 << 20
_MAX_NAMES = 20_000
_MAX_OBJECTS = 50_000  # groups and datasets in which series are searched for; takes about 3 s
_MAX_DEPTH = 8
_MAX_JSON = 4 << 20  # bytes
_MAX_LINKS = 16


class Tree(Protocol):
    """The content of a file; paths begin at the root, without a slash."""

    name: str

    def attributes(self, path: str) -> dict[str, Any]:
        """Return the attributes of a group or dataset as plain values."""

    def kind(self, path: str) -> str:
        """Return a group's neurodata_type; an empty string without one."""

    def groups(self, path: str) -> list[str]:
        """Return the names of the groups directly in a group, without those that are links."""

    def below(self, top: str) -> tuple[tuple[str, str], ...]:
        """Return the path and the neurodata_type of each group below one, each group once, without those in segmentations.

        Raises
        ------
        CorruptRecordingError
            There are more groups in the file than any recording has.
        """

    def target(self, path: str) -> str | None:
        """Return the path that a path leads to, following links inside the file; None if it does not exist."""

    def shape(self, path: str) -> tuple[int, ...] | None:
        """Return a dataset's shape; None if there is no dataset."""

    def value(self, path: str, *, most: int = _MAX_VALUES) -> Any:
        """Return a small dataset as plain numbers and text; None if there is none, or if it has more than ``most`` values."""

    def members(self, path: str) -> list[str]:
        """Return the names of all groups, datasets and links directly in a group, sorted."""

    def identity(self, path: str) -> Hashable | None:
        """Return what is the same for all paths that lead to one object, and for references to it; None if it does not exist."""

    def reference(self, path: str, attribute: str) -> Hashable | None:
        """Return the :meth:`identity` of the object that an attribute refers to; None if it refers to none in this file."""


def is_zarr(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder that Zarr wrote."""
    return any(os.path.isfile(os.path.join(path, name)) for name in _MARKS)


def root_of(path: str | os.PathLike[str]) -> str:
    """Return the folder of a Zarr given by one of its own files (``.zattrs``, ``.zgroup``, ``zarr.json``); else the path."""
    text = os.fspath(path)
    return os.path.dirname(text) or "." if os.path.basename(text) in _MARKS and os.path.isfile(text) else text


def local_path(file_path: Any) -> str:
    """Return the path of a file or folder; ``Path`` would turn a URL into a path that does not exist."""
    if "://" in str(file_path):
        raise SourceKindError(
            f"{printable(file_path)} is a URL; only local files can be opened. Download it (`dandi download` for DANDI) and open the copy"
        )
    return root_of(single_file(file_path, may_be_folder=True))


@contextmanager
def open_tree(path: str | os.PathLike[str]) -> Iterator[Tree]:
    """Open an NWB file of either kind for as long as the block lasts.

    Raises
    ------
    SourceKindError
        A folder that is not a Zarr.
    CorruptRecordingError, TruncatedRecordingError
        The file is damaged or truncated.
    """
    text = os.fspath(path)
    if os.path.isdir(text):
        if not is_zarr(text):
            raise SourceKindError(
                f"the folder {printable(text)} is not an NWB Zarr: it contains no .zgroup and no zarr.json"
            )
        yield _ZarrTree(text)
        return
    with open_hdf5(text) as file:
        yield _Hdf5Tree(file)


class _Hdf5Tree:
    def __init__(self, file: Any) -> None:
        self._file = file
        self.name = printable(os.path.basename(file.filename))
        self._walk = _Walk(self.name)
        self._seen: set[int] = set()  # addresses of the objects below the groups that were searched

    def attributes(self, path: str) -> dict[str, Any]:
        node = named(self._file, path)
        return {} if node is None else attributes_of(node)

    def kind(self, path: str) -> str:
        node = named(self._file, path)
        found = None if node is None else attribute_of(node, "neurodata_type")
        return found if isinstance(found, str) else ""

    def groups(self, path: str) -> list[str]:
        node = named(self._file, path)
        if not isinstance(node, h5py.Group):
            return []
        names = (name.decode("utf-8", "replace") for name in hard_links(node, _MAX_NAMES))
        return [name for name in names if node.get(name, getclass=True) is h5py.Group]

    def below(self, top: str) -> tuple[tuple[str, str], ...]:
        return self._walk.below(top, named(self._file, top), self._inside)

    def _inside(self, group: Any) -> Iterator[tuple[str, str, Any]]:
        for name in hard_links(group, _MAX_NAMES) if isinstance(group, h5py.Group) else ():
            self._walk.budget.spend()
            node = h5py.h5o.open(group.id, name)
            # Hard links can form circles, and lead to one group from any number of others
            address = h5py.h5o.get_info(node).addr
            if isinstance(node, h5py.h5g.GroupID) and address not in self._seen:
                self._seen.add(address)
                below = h5py.Group(node)
                kind = attribute_of(below, "neurodata_type")
                yield name.decode("utf-8", "replace"), kind if isinstance(kind, str) else "", below

    def target(self, path: str) -> str | None:
        node = named(self._file, path)
        return None if node is None else str(node.name).strip("/")

    def shape(self, path: str) -> tuple[int, ...] | None:
        node = named(self._file, path)
        return tuple(map(int, node.shape)) if isinstance(node, h5py.Dataset) and node.shape is not None else None

    def value(self, path: str, *, most: int = _MAX_VALUES) -> Any:
        node = named(self._file, path)
        if not isinstance(node, h5py.Dataset) or node.shape is None or node.size > most:
            return None
        # A text whose type is damaged looks like a list of varying length, and reading it ends the process
        if node.size * node.dtype.itemsize > _MAX_VALUE_BYTES or isinstance(node.id.get_type(), h5py.h5t.TypeVlenID):
            return None
        try:
            refuse_other_files(node, node.id.get_create_plist(), f"{self.name}: {printable(path)}")
            return plain(node[()])
        except HDF5_FAULTS as error:
            raise CorruptRecordingError(
                f"{self.name}: {printable(path)} cannot be read: {printable(error)[:200]}"
            ) from error

    def members(self, path: str) -> list[str]:
        node = named(self._file, path)
        if not isinstance(node, h5py.Group):
            return []
        names: list[bytes] = []

        def visit(name: bytes) -> bool | None:
            names.append(name)
            return True if len(names) >= _MAX_NAMES else None

        node.id.links.iterate(visit)
        return sorted(name.decode("utf-8", "surrogateescape") for name in names)

    def identity(self, path: str) -> Hashable | None:
        node = named(self._file, path)
        return None if node is None else int(h5py.h5o.get_info(node.id).addr)

    def reference(self, path: str, attribute: str) -> Hashable | None:
        node = named(self._file, path)
        try:
            kind = None if node is None else node.attrs.get_id(attribute).get_type()
            value = node.attrs.get(attribute) if isinstance(kind, h5py.h5t.TypeReferenceID) else None
            if not isinstance(value, h5py.Reference) or not value:
                return None
            # The address, and not the name, for which libhdf5 would search the whole file
            return int(h5py.h5o.get_info(h5py.h5r.dereference(value, self._file.id)).addr)
        except HDF5_FAULTS:
            return None


class _Walk:
    """The search for groups in one file, which is repeated for messages and not for the file.

    Parameters
    ----------
    name : str
        Of the file.
    """

    def __init__(self, name: str) -> None:
        self._groups: dict[str, tuple[tuple[str, str], ...]] = {}
        self.budget = Budget(
            _MAX_OBJECTS,
            name,
            "groups and datasets to search for series",
            advice="name one: open(..., series='acquisition/...')",
        )

    def below(
        self, top: str, group: Group, inside: Callable[[Group], Iterator[tuple[str, str, Group]]]
    ) -> tuple[tuple[str, str], ...]:
        """Return the path and the neurodata_type of each group below one.

        Parameters
        ----------
        top : str
            The path of the group.
        group
            What ``inside`` takes.
        inside : callable
            Returns the name, the neurodata_type and the group itself of each group directly in a group.
        """
        if top in self._groups:
            return self._groups[top]
        found: list[tuple[str, str]] = []
        pending = deque([(top, group, 0)])
        while pending:
            path, outer, depth = pending.popleft()
            for name, kind, below in inside(outer):
                found.append((f"{path}/{name}", kind))
                # The images in a PlaneSegmentation belong to the segmentation
                if depth < _MAX_DEPTH and kind != "PlaneSegmentation":
                    pending.append((f"{path}/{name}", below, depth + 1))
        self._groups[top] = tuple(found)
        return self._groups[top]


class _ZarrTree:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.name = printable(os.path.basename(os.path.normpath(folder)))
        self._walk = _Walk(self.name)

    def attributes(self, path: str) -> dict[str, Any]:
        where = self.target(path)
        found = {} if where is None else self._own_attributes(where)
        return {key: value for key, value in found.items() if key != "zarr_link" and not _is_reference(value)}

    def kind(self, path: str) -> str:
        found = self.attributes(path).get("neurodata_type")
        return found if isinstance(found, str) else ""

    def groups(self, path: str) -> list[str]:
        where = self.target(path)
        if where is None:
            return []
        with os.scandir(self._place(where)) as entries:
            names = sorted(entry.name for entry, _ in zip(entries, range(_MAX_NAMES), strict=False) if entry.is_dir())
        return [name for name in names if self._kind(f"{where}/{name}") == "group"]

    def below(self, top: str) -> tuple[tuple[str, str], ...]:
        return self._walk.below(top, top, self._inside)

    def _inside(self, path: str) -> Iterator[tuple[str, str, str]]:
        for name in self.groups(path):
            self._walk.budget.spend()
            yield name, self.kind(f"{path}/{name}"), f"{path}/{name}"

    def target(self, path: str) -> str | None:
        pending, node, budget = _checked_parts(path, self.name), "", _MAX_LINKS
        while pending:
            part = pending.pop(0)
            below = f"{node}/{part}".strip("/")
            if self._kind(below):
                node = below
                continue
            link = self._link(node, part)
            if link is None:
                return None
            budget -= 1
            if budget < 0:
                raise UnsupportedRecordingError(f"{self.name}: the links at {printable(path)} form a circle")
            pending, node = _checked_parts(link, self.name) + pending, ""  # paths of links begin at the root
        return node

    def shape(self, path: str) -> tuple[int, ...] | None:
        where = self.target(path)
        if where is None or self._kind(where) != "array":
            return None
        shape = (self._json(where, ".zarray") or self._json(where, "zarr.json")).get("shape")
        if not isinstance(shape, list) or not all(isinstance(n, int) and 0 <= n < 1 << 62 for n in shape):
            raise CorruptRecordingError(f"{self.name}: {printable(where)} has no valid shape: {printable(shape)[:80]}")
        return tuple(shape)

    def value(self, path: str, *, most: int = _MAX_VALUES) -> Any:
        shape, where = self.shape(path), self.target(path)
        # dtype=object: Python integers do not overflow
        if shape is None or where is None or int(np.prod(shape, dtype=object)) > most:
            return None
        found = plain(read_zarr(self._folder, where, (slice(None),) * len(shape)))
        # hdmf-zarr stores a scalar as an array of shape (1,)
        return found[0] if shape == (1,) and isinstance(found, list) and found else found

    def members(self, path: str) -> list[str]:
        where = self.target(path)
        if where is None:
            return []
        with os.scandir(self._place(where)) as entries:
            names = {entry.name for entry, _ in zip(entries, range(_MAX_NAMES), strict=False) if entry.is_dir()}
        links = self._own_attributes(where).get("zarr_link")
        named_links = [link.get("name") for link in links if isinstance(link, dict)] if isinstance(links, list) else []
        kept = {name for name in names if self._kind(f"{where}/{name}".strip("/"))}
        return sorted(kept | {name for name in named_links[:_MAX_NAMES] if isinstance(name, str) and name})

    def identity(self, path: str) -> Hashable | None:
        return self.target(path)

    def reference(self, path: str, attribute: str) -> Hashable | None:
        where = self.target(path)
        value = None if where is None else self._own_attributes(where).get(attribute)
        place = value.get("value") if isinstance(value, dict) and _is_reference(value) else None
        if not isinstance(place, dict) or self._is_elsewhere(str(place.get("source", "."))):
            return None
        return self.target(str(place.get("path", "")))

    def _own_attributes(self, where: str) -> Mapping[str, Any]:
        found = self._json(where, ".zattrs") or self._json(where, "zarr.json").get("attributes")
        return found if isinstance(found, dict) else {}

    def _link(self, node: str, part: str) -> str | None:
        # hdmf-zarr lists the links of a group in this attribute, with the file and the path of each
        links = self._own_attributes(node).get("zarr_link")
        for link in links if isinstance(links, list) else []:
            if isinstance(link, dict) and link.get("name") == part:
                source = str(link.get("source", "."))
                if self._is_elsewhere(source):
                    raise UnsupportedRecordingError(
                        f"{self.name}: {printable(node)}/{printable(part)} is a link to another file ({printable(source)}), which is not followed; open that file"
                    )
                return str(link.get("path", ""))
        return None

    def _is_elsewhere(self, source: str) -> bool:
        # The path is that at the time of writing, so after a move only the name can be compared
        name, own = (os.path.basename(os.path.normpath(path)) for path in (source, self._folder))
        return source not in (".", "") and name != own

    def _kind(self, where: str) -> str:
        place = self._place(where)
        if os.path.isfile(os.path.join(place, ".zarray")):
            return "array"
        if os.path.isfile(os.path.join(place, ".zgroup")):
            return "group"
        kind = self._json(where, "zarr.json").get("node_type")
        return kind if kind in ("array", "group") else ""

    def _place(self, where: str) -> str:
        return os.path.join(self._folder, *where.split("/")) if where else self._folder

    def _json(self, where: str, name: str) -> dict[str, Any]:
        return _json_at(os.path.join(self._place(where), name), self.name)


def _json_at(place: str, name: str) -> dict[str, Any]:
    try:
        found = read_json(place, limit=_MAX_JSON)
    except SourceNotFoundError:
        return {}
    except CorruptRecordingError as error:
        raise CorruptRecordingError(f"{name}: {error}") from error
    return found if isinstance(found, dict) else {}


def _checked_parts(path: str, name: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if any(part == ".." or "\\" in part or "\0" in part or ":" in part for part in parts):
        raise UnsupportedRecordingError(f"{name}: the path {printable(path)} leads out of the file and is not followed")
    return parts


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and "zarr_dtype" in value  # as hdmf-zarr encodes object references


def zarr_array(folder: str, where: str) -> ZarrArray:
    """Open one array of a Zarr folder.

    Raises
    ------
    UnsupportedRecordingError
        The array uses a codec that is not read, such as a pickle, which could run code.
    CorruptRecordingError
        Its description is not valid.
    """
    name = printable(os.path.basename(os.path.normpath(folder)))
    return ZarrArray(os.path.join(folder, *where.split("/")), name=f"{name}: {printable(where)}")


def read_zarr(folder: str, where: str, key: tuple[Any, ...]) -> np.ndarray:
    """Return a part of an array: slices, or along one axis an array of indices.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        A chunk does not decode, or is too short.
    """
    return zarr_array(folder, where).read(key)

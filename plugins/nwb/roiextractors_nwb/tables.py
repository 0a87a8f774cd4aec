"""The tables of ROIs of an NWB file: which there are, and the rows, masks and columns of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from roiextractors_core.errors import (
    CorruptRecordingError,
    StreamChoiceError,
    UnsupportedRecordingError,
    counted,
    printable,
)

from .series import SEARCHED, require_nwb_2
from .tree import Tree

__all__ = ["MaskColumn", "Table", "background_of", "chosen_table", "read_table", "table_names"]

_MASK_COLUMNS = ("voxel_mask", "pixel_mask", "image_mask")  # lists of pixels first: they are read faster
_MAX_ROIS = 1 << 20
_BACKGROUND = "Background"
_NAME = "PlaneSegmentation"
# NeuroConv describes its column of names so. It passes on the lists of pixels of roiextractors, which are (row, column, weight)
_NEUROCONV = "The unique identifier for each ROI."


@dataclass(frozen=True, slots=True)
class MaskColumn:
    """A column of masks.

    Attributes
    ----------
    kind : str
        ``"image_mask"``, ``"pixel_mask"`` or ``"voxel_mask"``.
    where : str
        The path of its data, with links followed.
    index : str or None
        The path of the list that says where each ROI ends, for lists of pixels.
    shape : tuple of int
        Of the data.
    """

    kind: str
    where: str
    index: str | None
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """One table of ROIs (a PlaneSegmentation).

    Attributes
    ----------
    path : str
    ids : tuple of str
        Of the ROIs.
    masks : tuple of MaskColumn
        The one to read first.
    columns : tuple of str
        The names of its other columns, in their order.
    doubts : tuple of str
        Sentences about what contradicts each other; they are warnings.
    has_rows_first : bool
        Whether the program that wrote its lists of pixels is known to write the row as x and the column as y.
    """

    path: str
    ids: tuple[str, ...]
    masks: tuple[MaskColumn, ...]
    columns: tuple[str, ...]
    doubts: tuple[str, ...]
    has_rows_first: bool = False


def table_names(tree: Tree) -> dict[str, str]:
    """Return the tables of ROIs to choose from, as name to path; where several have the same name, their paths are the names.

    Tables of background components belong to another table, and are not listed.

    Raises
    ------
    UnsupportedRecordingError
        The file is NWB 1, or contains no table of ROIs.
    """
    require_nwb_2(tree)
    every = sorted(_paths(tree))
    paths = [path for path in every if background_owner(path, every) is None]
    if not paths:
        raise UnsupportedRecordingError(f"{tree.name} contains no segmentation (PlaneSegmentation)")
    names = [path.rpartition("/")[2] for path in paths]
    return {printable(name if names.count(name) == 1 else path): path for name, path in zip(names, paths, strict=True)}


def chosen_table(tree: Tree, name: str | None) -> str:
    """Return the path of the table that was named, or of the only one.

    Raises
    ------
    StreamChoiceError
        Several, and none was named; or the named one does not exist.
    UnsupportedRecordingError
        There is no table of ROIs.
    """
    if name is not None and "/" in str(name) and _is_table(tree, str(name).strip("/")):
        return str(name).strip("/")
    names = table_names(tree)
    if name is None and len(names) > 1:
        raise StreamChoiceError.for_option(tree.name, "plane_segmentation", names)
    if name is not None and name not in names:
        # A table of background components can be opened by its name too
        hidden = [path for path in _paths(tree) if path.rpartition("/")[2] == name]
        if len(hidden) == 1:
            return hidden[0]
        raise StreamChoiceError.for_option(tree.name, "plane_segmentation", names, seen=name)
    return names[name] if name is not None else next(iter(names.values()))


def background_owner(path: str, every: list[str]) -> str | None:
    """Return the table whose background components a table contains, by its name; None for a table of ROIs."""
    folder, _, name = path.rpartition("/")
    if not name.startswith(_BACKGROUND):
        return None
    others = [other for other in every if other.rpartition("/")[0] == folder and other != path]
    own = [other for other in others if other.rpartition("/")[2] == name.removeprefix(_BACKGROUND)]
    tables = [other for other in others if not other.rpartition("/")[2].startswith(_BACKGROUND)]
    return own[0] if own else tables[0] if len(tables) == 1 else None


def background_of(tree: Tree, path: str) -> str | None:
    """Return the path of the table of background components that belongs to a table of ROIs."""
    every = sorted(_paths(tree))
    return next((other for other in every if background_owner(other, every) == path), None)


def read_table(tree: Tree, path: str) -> Table:
    """Return the rows and columns of a table, without reading masks.

    Raises
    ------
    CorruptRecordingError
        The ids or the masks contradict the number of rows.
    """
    doubts: list[str] = []
    columns = _column_names(tree, path)
    masks = tuple(_mask_columns(tree, path, doubts))
    ids = _ids(tree, path, masks, columns, doubts)
    for mask in masks:
        rows = tree.shape(mask.index) if mask.index else mask.shape
        if rows is None or not rows or rows[0] != len(ids):
            count = rows[0] if rows else 0
            raise CorruptRecordingError(
                f"{tree.name}: {printable(path)} has {counted(len(ids), 'id')} but {counted(count, 'mask')} in {mask.kind}"
            )
    others = tuple(name for name in columns if name not in _MASK_COLUMNS)
    words = tree.attributes(f"{path}/roi_name").get("description") if "roi_name" in others else None
    return Table(path, ids, masks, others, tuple(doubts), words == _NEUROCONV)


def _paths(tree: Tree) -> Iterator[str]:
    for top in SEARCHED:
        for path, kind in tree.below(top):
            if kind == _NAME or (kind.endswith("Segmentation") and _is_table(tree, path)):
                yield path


def _is_table(tree: Tree, path: str) -> bool:
    """Whether a group is a table of ROIs; extensions derive their own types."""
    kind = tree.kind(path)
    if kind == _NAME:
        return True
    masks = any(tree.shape(f"{path}/{name}") is not None for name in _MASK_COLUMNS)
    return masks and tree.shape(f"{path}/id") is not None


def _column_names(tree: Tree, path: str) -> list[str]:
    """Return the columns in the order of ``colnames``, and after them those that it leaves out."""
    stated = tree.attributes(path).get("colnames")
    names = [name for name in stated if isinstance(name, str)] if isinstance(stated, list) else []
    there = [name for name in tree.members(path) if name not in ("id", "imaging_plane", "reference_images")]
    indices = {name for name in there if name.endswith("_index") and name.removesuffix("_index") in there}
    return list(dict.fromkeys([*(n for n in names if n in there), *(n for n in there if n not in indices)]))


def _mask_columns(tree: Tree, path: str, doubts: list[str]) -> Iterator[MaskColumn]:
    for kind in _MASK_COLUMNS:
        try:
            where = tree.target(f"{path}/{kind}")
            index = tree.target(f"{path}/{kind}_index") if where else None
        except UnsupportedRecordingError as error:
            doubts.append(f"{error}; these masks are left out")
            continue
        shape = tree.shape(where) if where else None
        if where is None or shape is None:
            continue
        if kind == "image_mask":
            if len(shape) in (3, 4):
                yield MaskColumn(kind, where, None, shape)
            elif shape != (0,):  # pynwb writes an empty table like this
                doubts.append(
                    f"{tree.name}: {printable(where)} has the shape {shape}, expected (rois, x, y[, z]); these masks are left out"
                )
        elif index is not None and len(shape) == 1:
            yield MaskColumn(kind, where, index, shape)
        elif shape != (0,):
            doubts.append(
                f"{tree.name}: {printable(where)} has no index ({kind}_index) that says which pixels belong to which ROI; these masks are left out"
            )


def _ids(
    tree: Tree, path: str, masks: tuple[MaskColumn, ...], columns: list[str], doubts: list[str]
) -> tuple[str, ...]:
    shape = tree.shape(f"{path}/id")
    if shape is None:
        return tuple(map(str, range(_num_rows(tree, path, masks, columns))))
    values = tree.value(f"{path}/id", most=_MAX_ROIS) if len(shape) == 1 else None
    values = [values] if isinstance(values, int | str) else values  # the tree returns a list of one value as that value
    if not isinstance(values, list) or not all(isinstance(value, int | str) for value in values):
        raise CorruptRecordingError(
            f"{tree.name}: {printable(path)}/id must be a list of at most {_MAX_ROIS:,} whole numbers, got shape {shape}"
        )
    ids = tuple(printable(value) for value in values)
    repeated, count = Counter(ids).most_common(1)[0] if ids else ("", 0)
    if count > 1:
        doubts.append(
            f"{tree.name}: {printable(path)} has the id {repeated!r} more than once, so its ROIs are numbered from '0' in the order of its rows"
        )
        return tuple(map(str, range(len(ids))))
    negative = sum(name.startswith("-") for name in ids)
    if negative:
        doubts.append(
            f"{tree.name}: {counted(negative, 'id')} of {printable(path)} are negative; they are kept as they are"
        )
    return ids


def _num_rows(tree: Tree, path: str, masks: tuple[MaskColumn, ...], columns: list[str]) -> int:
    """Return the number of rows of a table without ids, which the schema requires."""
    places: list[Any] = [mask.index or mask.where for mask in masks] or [f"{path}/{name}" for name in columns]
    lengths = [shape[0] for shape in map(tree.shape, places) if shape]
    if lengths and max(lengths) > _MAX_ROIS:
        raise CorruptRecordingError(f"{tree.name}: {printable(path)} claims {max(lengths):,} ROIs; the file is damaged")
    return lengths[0] if lengths else 0

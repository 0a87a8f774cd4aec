"""The images that an NWB file stores with its ROIs, such as the mean or the correlation of the movie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from roiextractors_hdf5.dataset import Hdf5Dataset

from roiextractors_core.errors import UnsupportedRecordingError, printable

from .responses import name_suffix
from .tree import Tree, is_zarr, read_zarr

__all__ = ["Image", "image_shapes", "images_of", "read_image"]


@dataclass(frozen=True, slots=True)
class Image:
    """One image.

    Attributes
    ----------
    name : str
    where : str
        The path of its pixels, with links followed.
    shape : tuple of int
        As stored.
    axes : str
        As stored: ``"XY"`` by the schema; with a leading T for a series of one frame, and Z for planes.
    """

    name: str
    where: str
    shape: tuple[int, ...]
    axes: str


def image_shapes(tree: Tree, table: str) -> Iterator[tuple[int, ...]]:
    """Yield the shapes ``(x, y[, z])`` of the images that are stored with a table, reference images first."""
    for image in _candidates(tree, table, (), {}):
        yield image.shape[1:] if image.axes[0] == "T" else image.shape


def images_of(
    tree: Tree, table: str, frame: tuple[int, ...], others: Sequence[str], names: Mapping[str, str]
) -> tuple[tuple[Image, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the images of a table; warnings about them; and notes about those that are left out.

    Parameters
    ----------
    tree : Tree
    table : str
        The path of the table.
    frame : tuple of int
        ``(rows, columns)`` or ``(rows, columns, planes)``.
    others : sequence of str
        The paths of the other tables of the file.
    names : mapping of str to str
        The names of images that are known by their paths.
    """
    found: dict[str, Image] = {}
    doubts: list[str] = []
    notes: list[str] = []
    for image in _candidates(tree, table, others, names):
        shape = image.shape[1:] if image.axes[0] == "T" else image.shape
        across, down = shape[:2]
        fits = (down, across) == frame[:2] and shape[2:] in ((), frame[2:])
        turned = (across, down) == frame[:2] and shape[2:] in ((), frame[2:])
        if not fits and not turned:
            notes.append(
                f"{printable(image.where)} has the shape {shape} (x, y), not that of the frame, and is left out"
            )
            continue
        if not fits:
            doubts.append(
                f"{tree.name}: the image {printable(image.where)} is stored as (rows, columns), contrary to the "
                "schema; it is read in that order"
            )
            image = Image(image.name, image.where, image.shape, image.axes.replace("XY", "YX"))
        name = image.name if image.name not in found else "/".join(image.where.split("/")[-2:])
        found.setdefault(name, image)
    return tuple(Image(name, i.where, i.shape, i.axes) for name, i in found.items()), tuple(doubts), tuple(notes)


def read_image(path: str, image: Image) -> np.ndarray:
    """Return an image, ``(rows, columns[, planes])``.

    Parameters
    ----------
    path : str
        The NWB file or folder.
    image : Image
    """
    if is_zarr(path):
        stored = read_zarr(path, image.where, (slice(None),) * len(image.shape))
        if image.axes[0] == "T":
            stored = stored[0]
        return np.ascontiguousarray(stored if "YX" in image.axes else stored.swapaxes(0, 1))
    data = Hdf5Dataset(path, image.where, axes=image.axes)
    try:
        return np.ascontiguousarray(data.read(slice(0, 1))[0])
    finally:
        data.close()


def _candidates(tree: Tree, table: str, others: Sequence[str], names: Mapping[str, str]) -> Iterator[Image]:
    suffix = name_suffix(table)
    foreign = [end for end in map(name_suffix, others) if end and not suffix.endswith(end)]
    for path in _places(tree, table):
        name = path.rpartition("/")[2]
        try:
            # A reference image is a series
            where = tree.target(f"{path}/data") or tree.target(path)
        except UnsupportedRecordingError:
            continue  # a link to another file; the images are optional
        shape = (tree.shape(where) if where else None) or ()
        is_series = bool(where) and where != tree.target(path)
        is_single = is_series and len(shape) in (3, 4) and shape[0] == 1
        if any(name.endswith(end) for end in foreign) or 0 in shape:
            continue
        if is_single or (not is_series and len(shape) in (2, 3) and not _is_colour(tree, path, shape)):
            yield Image(
                names.get(path, printable(name)),
                where or "",
                shape,
                ("T" if is_single else "") + "XYZ"[: len(shape) - is_single],
            )


def _places(tree: Tree, table: str) -> Iterator[str]:
    """Yield the paths of the images in the table's module, and of its reference images."""
    for name in tree.members(f"{table}/reference_images"):
        yield f"{table}/reference_images/{name}"
    module = "/".join(table.split("/")[:2])
    for path, kind in tree.below(table.split("/")[0]):
        if kind == "Images" and f"{path}/".startswith(f"{module}/"):
            for name in tree.members(path):
                yield f"{path}/{name}"


def _is_colour(tree: Tree, path: str, shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and (tree.kind(path).startswith("RGB") or shape[2] in (3, 4))

"""The size of the frames that the masks of an NWB file are in; lists of pixels do not state it."""

from __future__ import annotations

from collections.abc import Iterator

from roiextractors_core.errors import UnsupportedRecordingError

from .images import image_shapes
from .series import SEARCHED
from .tables import Table
from .tree import Tree

__all__ = ["frame_of", "movies_of", "stated_frame"]


def stated_frame(table: Table) -> tuple[int, ...] | None:
    """Return ``(rows, columns[, planes])`` of dense masks; None for a table without them."""
    shapes = [column.shape for column in table.masks if column.kind == "image_mask"]
    if not shapes:
        return None
    x, y, *z = shapes[0][1:]
    return (y, x, *z)


def frame_of(tree: Tree, table: Table) -> tuple[int, ...] | None:
    """Return ``(rows, columns[, planes])`` by the first that says it: dense masks, images, the movie of the same imaging plane."""
    frame = stated_frame(table)
    if frame is not None:
        return frame
    shapes = list(image_shapes(tree, table.path)) or list(_movie_shapes(tree, table.path))
    if len(set(shapes)) != 1:
        return None  # images of different sizes do not say which is the frame's
    x, y, *z = shapes[0]
    return (y, x, *z)


def _movie_shapes(tree: Tree, table: str) -> Iterator[tuple[int, ...]]:
    for path, _ in movies_of(tree, table):
        shape = tree.shape(f"{path}/data") or ()
        if len(shape) in (3, 4) and 0 not in shape:
            yield shape[1:]


def movies_of(tree: Tree, table: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the type of each movie of the imaging plane of a table of ROIs."""
    plane = tree.identity(f"{table}/imaging_plane")
    if plane is None:
        return
    for top in SEARCHED:
        for path, kind in tree.below(top):
            if not kind.endswith("Series") or kind.endswith("ResponseSeries"):
                continue
            try:
                # The shape too, which follows the link of the pixels: one to another file is not read
                if tree.identity(f"{path}/imaging_plane") == plane and tree.shape(f"{path}/data") is not None:
                    yield path, kind
            except UnsupportedRecordingError:
                continue  # a link to another file

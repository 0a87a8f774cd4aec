"""The files of neurofinder: where the regions and the description of a dataset are."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from roiextractors_core import SourceNotFoundError
from roiextractors_core.errors import printable
from roiextractors_core.io import PositionedFile, Source, TiffDirectory, folder_names, is_file, is_folder

__all__ = ["Layout", "find_layout", "has_regions", "shape_of_images"]

# Datasets were published as "sources" first, and renamed to "regions"
_FILES = (("regions", "regions.json"), ("sources", "sources.json"))
_INFO = "info.json"
_HEAD_BYTES = 4096
_LIST_OF_REGIONS = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*+\[\s*+\{(?:[^\[]*?"regions"\s*+:\s*+\[\s*+\{)?[^\[]*?"coordinates"\s*+:\s*+\[\s*+\[\s*+-?[0-9]'
)
_WIDTH, _LENGTH = 256, 257  # TIFF


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one dataset.

    Attributes
    ----------
    regions : Path
    info : Path or None
        ``info.json``.
    images : Path or None
        The folder with one TIFF for each frame.
    """

    regions: Path
    info: Path | None
    images: Path | None


def find_layout(path: Path) -> Layout:
    """Return the files of a dataset from its folder, its folder of regions, or its file of regions.

    Raises
    ------
    SourceNotFoundError
        There are no regions in the folder.
    """
    regions = path
    if is_folder(path):
        inside = next(
            (path / file for pair in _FILES for file in (os.path.join(*pair), pair[1]) if is_file(path / file)), None
        )
        if inside is None:
            raise SourceNotFoundError(
                f"{printable(path.name)} contains neither regions/regions.json nor regions.json: datasets for testing were "
                "published without regions"
            )
        regions = inside
    folder = regions.parent
    # Inside of its dataset, the file is in a folder of its own
    root = folder.parent if (folder.name, regions.name) in _FILES and is_file(folder.parent / _INFO) else folder
    info, images = root / _INFO, root / "images"
    return Layout(regions, info if is_file(info) else None, images if is_folder(images) else None)


def has_regions(source: Source) -> bool:
    """Return whether the source is a list of regions, or a folder with one; for the evidence of the format."""
    path = find_layout(source.path).regions if source.is_folder else source.path
    return _LIST_OF_REGIONS.match(PositionedFile(path).read(0, _HEAD_BYTES)) is not None


def shape_of_images(folder: Path) -> tuple[int, int] | None:
    """Return rows and columns of the first image, or None if it is not TIFF."""
    first = min((name for name in folder_names(folder) if name.lower().endswith((".tif", ".tiff"))), default=None)
    if first is None:
        return None
    directory = TiffDirectory.parse(PositionedFile(folder / first).read)
    lengths = None if directory is None else (directory.value(_LENGTH), directory.value(_WIDTH))
    if lengths is None or not all(isinstance(value, tuple) and value for value in lengths):
        return None
    rows, columns = (int(value[0]) for value in lengths if value)
    return rows, columns

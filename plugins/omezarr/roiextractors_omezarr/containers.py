"""Finds the images in a folder that contains OME-Zarr images: collections, plates and wells, and groups of groups."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from roiextractors_core.errors import RoiExtractorsError
from roiextractors_core.io import is_file, is_folder, read_json

__all__ = ["described_by", "holds_images", "image_paths", "ome_description"]

_MAX_IMAGES = 10_000
_MAX_FOLDERS = 20_000
_MAX_DEPTH = 4  # a plate has three levels: row, column, field of view
_NOT_IMAGES = ("labels", "OME")  # segmentations, and the metadata of bioformats2raw


def holds_images(source: Any) -> bool:
    """Whether a Zarr group contains an image below it; for detection, where the group itself describes none.

    Parameters
    ----------
    source : roiextractors_core.registry.Source
    """
    return next(_images_below(str(source.path)), None) is not None


def image_paths(folder: str) -> tuple[str, ...]:
    """Return the images in a folder as paths relative to it; empty when the folder is an image itself.

    Parameters
    ----------
    folder : str

    Returns
    -------
    tuple of str
        ``("0", "1")`` of a bioformats2raw collection, ``("A/1/0", ...)`` of a plate, ``("Row_0/Col_0/Pos_000",)`` of other groups.

    References
    ----------
    OME-NGFF specification 0.4 and 0.5, "plate", "well" and "bioformats2raw.layout" metadata.
    """
    described = described_by(folder)
    if "multiscales" in described:
        return ()
    stated = _of_plate(folder, described) or _of_well(described) or _of_collection(folder, described)
    found = [path for path in stated if _is_image(_place(folder, path))]
    if not found:
        found = sorted(_images_below(folder), key=_natural)
    return tuple(dict.fromkeys(found[:_MAX_IMAGES]))


def ome_description(folder: str, series: str | None) -> tuple[str, int] | None:
    """Return the OME-XML that bioformats2raw wrote beside its images, and the number of the image in it; None if there is none.

    Parameters
    ----------
    folder : str
        Of the collection, or of one image of it.
    series : str or None
        The path of the image in the collection; None if the folder is an image itself.
    """
    top, path = (folder, series) if series is not None else (os.path.dirname(os.path.abspath(folder)), None)
    if path is None:
        path = os.path.basename(os.path.abspath(folder))
        if "bioformats2raw.layout" not in described_by(top):
            return None
    place = os.path.join(top, "OME", "METADATA.ome.xml")
    if not os.path.isfile(place):
        return None
    listed = described_by(os.path.join(top, "OME")).get("series")
    if isinstance(listed, list) and path in listed:
        return place, listed.index(path)
    return (place, int(path)) if path.isascii() and path.isdigit() and len(path) < 7 else None


def described_by(folder: str) -> Mapping[str, Any]:
    """Return the OME attributes of a group; empty where there are none."""
    attributes = _json(os.path.join(folder, ".zattrs"))
    if not attributes:
        # Zarr 3 (OME-Zarr 0.5) keeps attributes in zarr.json, below the key "ome"
        inside = _json(os.path.join(folder, "zarr.json")).get("attributes")
        attributes = inside if isinstance(inside, dict) else {}
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def _of_plate(folder: str, described: Mapping[str, Any]) -> list[str]:
    wells = _dicts(described, "plate", "wells")
    found: list[str] = []
    for well in _paths(wells):
        found += [f"{well}/{image}" for image in _of_well(described_by(_place(folder, well)))]
        if len(found) >= _MAX_IMAGES:
            break
    return found


def _of_well(described: Mapping[str, Any]) -> list[str]:
    return list(_paths(_dicts(described, "well", "images")))


def _of_collection(folder: str, described: Mapping[str, Any]) -> list[str]:
    if "bioformats2raw.layout" not in described:
        return []
    series = described_by(os.path.join(folder, "OME")).get("series")
    if isinstance(series, list) and all(_is_inside(path) for path in series):
        return [str(path) for path in series]
    found: list[str] = []
    # Without a list of series, the layout numbers the images from 0
    while len(found) < _MAX_IMAGES and is_folder(os.path.join(folder, str(len(found)))):
        found.append(str(len(found)))
    return found


def _images_below(folder: str) -> Iterator[str]:
    """Yield the images in groups below a folder, without entering an image, an array or a group of labels."""
    pending, listed = [("", 0)], 0
    while pending and listed < _MAX_FOLDERS:
        path, depth = pending.pop(0)
        listed += 1
        for name in _folders(_place(folder, path)):
            below = f"{path}/{name}".lstrip("/")
            place = _place(folder, below)
            if name in _NOT_IMAGES or not _is_group(place):
                continue
            if _is_image(place):
                yield below
            elif depth + 1 < _MAX_DEPTH:
                pending.append((below, depth + 1))


def _folders(place: str) -> list[str]:
    try:
        with os.scandir(place) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:  # not readable: nothing to list
        return []


def _is_group(place: str) -> bool:
    if is_file(os.path.join(place, ".zarray")):  # first: an array can have .zattrs too
        return False
    if is_file(os.path.join(place, ".zgroup")) or is_file(os.path.join(place, ".zattrs")):
        return True
    return _json(os.path.join(place, "zarr.json")).get("node_type") == "group"


def _is_image(place: str) -> bool:
    described = described_by(place)
    return "multiscales" in described and "image-label" not in described


def _place(folder: str, path: str) -> str:
    return os.path.join(folder, *path.split("/")) if path else folder


def _dicts(described: Mapping[str, Any], *keys: str) -> Sequence[Mapping[str, Any]]:
    value: Any = described
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _paths(items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from (str(item["path"]).strip("/") for item in items if _is_inside(item.get("path")))


def _is_inside(path: Any) -> bool:
    parts = str(path).split("/") if isinstance(path, str) else [".."]
    # A path in a file must stay in the folder on any system; ":" follows a drive on Windows
    return not any(part in ("", ".", "..") or "\\" in part or "\0" in part or ":" in part for part in parts)


def _natural(path: str) -> list[tuple[int, str]]:
    return [
        # isascii: str.isdigit accepts superscripts, which int() does not
        (int(part) if part.isascii() and part.isdigit() and len(part) < 19 else -1, part)
        for part in path.split("/")
    ]


def _json(place: str) -> dict[str, Any]:
    try:
        value = read_json(place)
    except RoiExtractorsError:  # zarr says what is wrong with it when the group is opened
        return {}
    return value if isinstance(value, dict) else {}

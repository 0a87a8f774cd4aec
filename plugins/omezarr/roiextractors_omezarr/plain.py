"""Reads plain Zarr arrays, such as those that ``dask.array.to_zarr`` writes, as recordings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsError,
    SourceKindError,
    StreamChoiceError,
    UnsupportedRecordingError,
    listed,
    printable,
)
from roiextractors_core.io import ZarrArray, ZarrGroup, choose_stream, folder_names, is_folder, open_zarr

from .containers import described_by
from .described import Described
from .extractor import OmeZarrImagingExtractor, StoredImage

__all__ = ["ZarrImagingExtractor", "holds_movie"]

_MAX_MEMBERS = 1000
_LETTERS = {
    "t": ("t", "time", "frame", "frames", "sample", "samples"),
    "c": ("c", "channel", "channels"),
    "z": ("z", "plane", "planes", "slice", "slices", "depth"),
    "y": ("y", "row", "rows", "height"),
    "x": ("x", "column", "columns", "col", "width"),
}
_LETTER_OF = {name: letter for letter, names in _LETTERS.items() for name in names}
_WORDS = {"t": "time", "c": "channels", "z": "planes", "y": "rows", "x": "columns"}
_MAX_COLORS = 4  # a last axis this short contains the colours of pictures, not columns


class ZarrImagingExtractor(OmeZarrImagingExtractor):
    """A plain Zarr array, or the only one in a group, as a recording.

    Three axes without names are taken to be time, rows and columns, which a note states; axes that are named (by xarray, or in
    Zarr 3) are read by their names.  More axes without names must be named.

    Parameters
    ----------
    file_path : str or os.PathLike
        The folder of an array, or of a group with arrays in it.
    sampling_frequency : float, optional
        Samples a second (Hz).
    series : str, optional
        One of several arrays of a group, by name.
    dimension_order : str, optional
        A letter for each axis, in the order stored: T (time), C (channels), Z (planes), Y (rows), X (columns).
    channel, plane : str or int, optional
        As for OME-Zarr; channels are numbered from 1.

    Raises
    ------
    StreamChoiceError
        Several arrays or channels, and none was named.
    UnsupportedRecordingError
        The order of the axes is not certain, or the array belongs to an OME-Zarr image or an NWB file.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        sampling_frequency: float | None = None,
        series: str | None = None,
        dimension_order: str | None = None,
        channel: str | int | None = None,
        plane: str | int | None = None,
    ) -> None:
        path = os.fspath(file_path)
        name = printable(os.path.basename(path.rstrip("/\\")) or path)
        self._series, array, only = _chosen(path, name, series)
        letters, self._axes_note = _letters(array, dimension_order)
        self._axes_note += only
        image = StoredImage.plain(array, letters, name)
        self._begin(path, name, image, Described(), sampling_frequency, channel, plane)

    def get_notes(self) -> tuple[str, ...]:
        """Return notes: how the axes were understood, and missing chunks."""
        return (*self._axes_note, *super().get_notes())

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the arrays, channels and planes that can be chosen."""
        path = os.fspath(file_path)
        name = printable(os.path.basename(path.rstrip("/\\")))
        names = _movies(path, name)
        found = {"series": names} if len(names) > 1 else {}
        chosen = options.get("series", names[0] if names else None)
        _, array, _ = _chosen(path, name, chosen)
        image = StoredImage.plain(array, _letters(array, options.get("dimension_order"))[0], name)
        if len(image.channels) > 1:
            found["channel"] = image.channels
        if image.length("z") > 1:
            found["plane"] = tuple(map(str, range(image.length("z"))))
        return found


def holds_movie(source: Any) -> bool:
    """Whether a folder is an array that can be a movie, or a group with such arrays directly in it; for detection.

    Parameters
    ----------
    source : roiextractors_core.registry.Source
    """
    path = str(source.path)
    name = os.path.basename(path)
    try:
        found = open_zarr(path, name=name)
        if isinstance(found, ZarrArray):
            return _can_be_movie(found)
        return bool(found is not None and _is_plain(found.attributes) and _movies(path, name))
    except RoiExtractorsError:
        return False


def _is_plain(attributes: Mapping[str, Any]) -> bool:
    """Whether no other format describes itself in these attributes."""
    others = (
        "ome",
        "multiscales",
        "plate",
        "well",
        "bioformats2raw.layout",
        "nwb_version",
        "neurodata_type",
        "zarr_dtype",
    )
    return not any(key in attributes for key in others)


def _can_be_movie(array: ZarrArray) -> bool:
    names = array.dimension_names
    is_named = _letters_of_names(names or ()) or not names or _is_unnamed(names)
    return array.dtype.kind in "biufc" and 3 <= array.ndim <= 5 and bool(is_named) and _is_plain(array.attributes)


def _is_unnamed(names: Sequence[str | None]) -> bool:
    # xarray names axes without a name dim_0, dim_1, ...
    return all(one is None or one == f"dim_{k}" for k, one in enumerate(names))


def _letters_of_names(names: Sequence[str | None]) -> str:
    """Return a letter for each name; empty if one is not understood."""
    letters = [_LETTER_OF.get(str(one).lower(), "") for one in names]
    is_whole = all(letters) and len(set(letters)) == len(letters) and {"y", "x"} <= set(letters)
    return "".join(letters) if is_whole else ""


def _movies(path: str, name: str) -> tuple[str, ...]:
    """Return the names of the arrays directly in a group that can be movies."""
    found = []
    for member in folder_names(path)[:_MAX_MEMBERS]:
        place = os.path.join(path, member)
        try:
            node = open_zarr(place, name=name) if is_folder(place) else None
        except RoiExtractorsError:  # not one that is read
            continue
        if isinstance(node, ZarrArray) and _can_be_movie(node):
            found.append(member)
    return tuple(sorted(found))


def _chosen(path: str, name: str, series: str | None) -> tuple[tuple[str, ...], ZarrArray, tuple[str, ...]]:
    """Return the arrays that can be chosen, the one that is read, and a note if it is the only one of a group."""
    if not is_folder(path):
        raise SourceKindError(
            f"{name} is a file; a Zarr array is a folder. Open the folder that contains .zarray or zarr.json"
        )
    found = open_zarr(path, name=name)
    if isinstance(found, ZarrArray):
        if series is not None:
            raise StreamChoiceError.for_option(name, "series", (), seen=series)
        _refuse_parts(found, path)
        return (), found, ()
    if not isinstance(found, ZarrGroup):
        raise CorruptRecordingError(
            f"{name} is not a Zarr array or group: it contains no .zarray, .zgroup or zarr.json"
        )
    names = _movies(path, name)
    if not names:
        raise UnsupportedRecordingError(
            f"{name} is a Zarr group without an array of three or more axes, so it has no movie"
        )
    member = names[choose_stream(name, "series", names, series)]
    only = (
        (f"{name}: its only array with three or more axes, {printable(member)!r}, is read",) if len(names) == 1 else ()
    )
    return names, ZarrArray(os.path.join(path, member), name=name, group=found), only


def _refuse_parts(array: ZarrArray, path: str) -> None:
    """Refuse an array of an image or a file that says more about it than the array itself."""
    above = os.path.dirname(os.path.abspath(path))
    described = described_by(above)
    if "multiscales" in described:
        raise UnsupportedRecordingError(
            f"{array.name} is an array of the OME-Zarr image {printable(os.path.basename(above))}, which names "
            "its axes; open that image instead"
        )
    if not _is_plain(array.attributes) or not _is_plain(described):
        raise UnsupportedRecordingError(
            f"{array.name} is a part of an NWB file, which states the order of its axes; open the folder of the file"
        )


def _letters(array: ZarrArray, order: str | None) -> tuple[str, tuple[str, ...]]:
    """Return a letter for each axis, and a note on how they were found."""
    shape, names = array.shape, array.dimension_names
    if order is not None:
        letters = str(order).lower()
        is_valid = len(set(letters)) == len(letters) and set(letters) <= set(_LETTERS) and {"y", "x"} <= set(letters)
        if not is_valid or len(letters) != len(shape):
            raise StreamChoiceError(
                f"dimension_order must have one letter for each of the {len(shape)} axes of {array.name}, of T, C, Z, Y and X, with Y and X; got {printable(order)!r:.40}"
            )
        return letters, ()
    if names and not _is_unnamed(names):
        letters = _letters_of_names(names) if len(names) == len(shape) else ""
        if letters:
            return letters, ()
        raise _uncertain(array, f"names its axes {printable(listed([str(one) for one in names]))[:80]}")
    if len(shape) != 3:
        raise _uncertain(array, f"has {len(shape)} axes without names")
    if shape[2] <= _MAX_COLORS < shape[1]:
        raise _uncertain(array, f"has a last axis of length {shape[2]}, which may be colours, planes or columns")
    return "tyx", (
        f"{array.name}: the array {shape} does not name its axes, which were taken to be (time, rows, columns)",
    )


def _uncertain(array: ZarrArray, words: str) -> UnsupportedRecordingError:
    example = {2: "YX", 3: "TYX", 4: "TZYX", 5: "TCZYX"}.get(array.ndim, "TYX")
    meanings = ", ".join(f"{letter.upper()} {word}" for letter, word in _WORDS.items())
    return UnsupportedRecordingError(
        f"{array.name}, of the shape {array.shape}, {words}; name them in order: open(..., dimension_order={example!r}) ({meanings})"
    )

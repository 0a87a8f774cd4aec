"""Finds the files of a Micro-Manager dataset from any one of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    SourceKindError,
    SourceNotFoundError,
    SourcePermissionError,
    SourceReadError,
    TruncatedRecordingError,
    listed,
    printable,
)
from roiextractors_core.io import PositionedFile

from .ndtiff import read_index
from .stack import StackHeader, read_chains, read_stacks
from .table import FrameTable

__all__ = ["Dataset", "dataset_of"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_INDEX, _FULL = "NDTiff.index", "Full resolution"
_SETTINGS = ("DisplaySettings.json", "display_settings.txt")
_STACK = re.compile(r"(.*)_MMStack(?:_.*)?(?:\.ome)?\.tiff?", re.IGNORECASE)
_NDTIFF = re.compile(r"(.*)_NDTiffStack(?:_\d+)?\.tiff?", re.IGNORECASE)


@dataclass(frozen=True)
class Dataset:
    """The frames of a dataset, and its summary metadata.

    Attributes
    ----------
    folder : str
        The folder of its TIFF files.
    name : str
        Safe to print.
    table : FrameTable
    summary : mapping
    is_ndtiff : bool
    """

    folder: str
    name: str
    table: FrameTable
    summary: Mapping[str, Any]
    is_ndtiff: bool


def dataset_of(file_path: Paths) -> Dataset:
    """Find and index a dataset.

    Parameters
    ----------
    file_path : str, os.PathLike, or a sequence of them
        Its folder, its ``NDTiff.index``, any of its TIFF files; or a list of image file stacks, which are then the only ones read.

    Raises
    ------
    TruncatedRecordingError
        There are only settings, or the TIFF files are missing.
    ChoiceError
        The folder contains several datasets.
    CorruptRecordingError, UnsupportedRecordingError, SourceKindError
    """
    if not isinstance(file_path, str | os.PathLike):
        return _of_list([os.path.abspath(os.fspath(path)) for path in file_path])
    path = os.path.abspath(os.fspath(file_path))
    return _of_folder(path) if os.path.isdir(path) else _of_file(path)


def _of_folder(folder: str) -> Dataset:
    names = _listing(folder)
    if _INDEX in names:
        return _ndtiff(folder, _INDEX, names)
    if _FULL in names and os.path.isdir(os.path.join(folder, _FULL)):
        return _of_folder(os.path.join(folder, _FULL))
    stacks = {match[1]: name for name in names if (match := _STACK.fullmatch(name))}
    if len(stacks) > 1:
        firsts = [next(n for n in names if n.startswith(f"{stem}_MMStack")) for stem in stacks]
        raise ChoiceError(
            f"the folder {_shown(folder)} contains {len(stacks)} datasets; open one of their files: {listed(map(printable, firsts))}"
        )
    if stacks:
        return _stacks(folder, sorted(name for name in names if _STACK.fullmatch(name)))
    if any(_NDTIFF.fullmatch(name) for name in names):
        return _without_index(folder, names)
    raise _nothing(folder, names)


def _of_file(path: str) -> Dataset:
    folder, name = os.path.split(path)
    if name in _SETTINGS:
        raise _nothing(folder, _listing(folder), name)
    file = PositionedFile(path)
    try:
        if file.read(0, 4) not in (b"II*\0", b"MM\0*"):
            return _ndtiff(folder, name, _listing(folder))
        header = StackHeader.of(file)
    finally:
        file.close()
    names = _listing(folder)
    if header.is_ndtiff:
        return _ndtiff(folder, _INDEX, names) if _INDEX in names else _without_index(folder, names, name)
    match = _STACK.fullmatch(name)
    if match is None:
        return _stacks(folder, [name])
    others = (other for other in names if (found := _STACK.fullmatch(other)) and found[1] == match[1])
    return _stacks(folder, sorted(others))


def _of_list(paths: list[str]) -> Dataset:
    folders = {os.path.dirname(path) for path in paths}
    if len(folders) != 1:
        raise SourceKindError(
            f"expected the files of one dataset, all in one folder; got files in {len(folders)} folders"
        )
    file = PositionedFile(paths[0])
    try:
        is_stack = not StackHeader.of(file).is_ndtiff
    finally:
        file.close()
    return _stacks(folders.pop(), [os.path.basename(path) for path in paths]) if is_stack else _of_file(paths[0])


def _ndtiff(folder: str, index: str, names: Sequence[str]) -> Dataset:
    table = read_index(os.path.join(folder, index))
    there = [name for name in table.files if name in set(names)]
    if not there:
        raise TruncatedRecordingError(
            f"{printable(index)} in {_shown(folder)} describes {len(table):,} frames, but their file {printable(table.files[0])} is missing; "
            "the recording is incomplete, copy its folder again"
        )
    header = _header(folder, there[0])
    return Dataset(folder, _shown(folder), table, header.summary, True)


def _without_index(folder: str, names: Sequence[str], name: str = "") -> Dataset:
    """Read NDTiff without its index: each frame's metadata contain its axes."""
    files = sorted((n for n in names if _NDTIFF.fullmatch(n)), key=_numbered) or [name]
    headers = [_header(folder, one) for one in files]
    table = read_chains(folder, files, headers)
    note = f"{_INDEX} is missing in {_shown(folder)}; the {len(table):,} frames were found by their directories"
    return Dataset(folder, _shown(folder), replace(table, warnings=(*table.warnings, note)), headers[0].summary, True)


def _stacks(folder: str, names: Sequence[str]) -> Dataset:
    files = sorted(names, key=_numbered)
    headers = [_header(folder, name) for name in files]
    if any(header.is_ndtiff for header in headers) or len({header.order for header in headers}) > 1:
        raise CorruptRecordingError(
            f"the files {listed(map(printable, files))} are of different kinds; open them one by one"
        )
    return Dataset(folder, _shown(folder), read_stacks(folder, files, headers), headers[0].summary, False)


def _header(folder: str, name: str) -> StackHeader:
    file = PositionedFile(os.path.join(folder, name))
    try:
        return StackHeader.of(file)
    finally:
        file.close()


def _nothing(folder: str, names: Sequence[str], given: str = "") -> Exception:
    settings = given or next((name for name in names if name in _SETTINGS), "")
    if not settings:
        return SourceKindError(
            f"the folder {_shown(folder)} does not contain a Micro-Manager dataset: neither {_INDEX} nor a file named *_MMStack*.ome.tif"
        )
    return TruncatedRecordingError(
        f"{_shown(folder)} contains {settings} but no images: neither {_INDEX} with its TIFF files nor a file named *_MMStack*.ome.tif; "
        "the recording is incomplete, copy its folder again"
        if not any(name.lower().endswith((".tif", ".tiff", ".index")) for name in names)
        else f"{settings} contains display settings, not images; open the folder {_shown(folder)}, or one of its TIFF files"
    )


def _numbered(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d{1,9})", name) if part]


def _shown(folder: str) -> str:
    name = os.path.basename(folder) or folder
    return printable(os.path.basename(os.path.dirname(folder)) if name == _FULL else name)


def _listing(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{printable(folder)} does not exist") from error
    except PermissionError as error:
        raise SourcePermissionError(f"no permission to list the folder {printable(folder)}") from error
    except OSError as error:
        raise SourceReadError(f"the folder {printable(folder)} could not be listed: {error.strerror}") from error

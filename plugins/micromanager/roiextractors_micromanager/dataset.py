"""Finds the files of a Micro-Manager dataset from any one of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    SourceKindError,
    SourceNotFoundError,
    SourcePermissionError,
    SourceReadError,
    TruncatedRecordingError,
    counted,
    listed,
    printable,
)
from roiextractors_core.io import PositionedFile, file_name_key

from .ndtiff import read_index
from .stack import StackHeader, directories_from, read_chains, read_stacks
from .table import FrameTable

__all__ = ["Dataset", "dataset_of"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_INDEX, _FULL = "NDTiff.index", "Full resolution"
_SETTINGS = ("DisplaySettings.json", "display_settings.txt")
_STACK = re.compile(r"(.*)_MMStack(?:_.*)?(?:\.ome)?\.tiff?", re.IGNORECASE)
_IDENTITY = ("UUID", "StartTime", "DateAndTime")
_NDTIFF = re.compile(r"(.*)_NDTiffStack(?:_\d+)?\.tiff?", re.IGNORECASE)


@dataclass(frozen=True)
class Dataset:
    """The frames of a dataset, and its summary metadata.

    Attributes
    ----------
    folder : str
        The folder of its TIFF files.
    name : str
        Its name, safe to print.
    table : FrameTable
    summary : mapping
    is_ndtiff : bool
    index : str
        The name of its index; empty if there is none.
    """

    folder: str
    name: str
    table: FrameTable
    summary: Mapping[str, Any]
    is_ndtiff: bool
    index: str = ""

    def get_paths(self) -> tuple[str, ...]:
        """Return the index and the TIFF files."""
        names = (self.index, *self.table.files) if self.index else self.table.files
        return tuple(os.path.join(self.folder, name) for name in names)


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
    # NDTiff 2 and pyramids keep the original frames in a folder of their own
    if _FULL in names and os.path.isdir(os.path.join(folder, _FULL)):
        return _of_folder(os.path.join(folder, _FULL))
    stacks = {match[1]: name for name in names if (match := _STACK.fullmatch(name))}
    if len(stacks) > 1:
        firsts = [next(n for n in names if n.startswith(f"{stem}_MMStack")) for stem in stacks]
        raise ChoiceError(
            f"the folder {_shown(folder)} contains {len(stacks)} datasets; open one of their files: {listed(map(printable, firsts))}"
        )
    if stacks:
        return _stacks(folder, sorted(name for name in names if _STACK.fullmatch(name)), known_by_name=True)
    if any(_NDTIFF.fullmatch(name) for name in names):
        return _without_index(folder, names)
    raise _nothing(folder, names)


def _of_file(path: str) -> Dataset:
    folder, name = os.path.split(path)
    if name in _SETTINGS:
        raise _nothing(folder, _listing(folder), name)
    file = PositionedFile(path)
    try:
        # An index may have been renamed, so it is recognised by not being a TIFF
        if file.read(0, 4) not in (b"II*\0", b"MM\0*"):
            return _ndtiff(folder, name, _listing(folder))
        header = StackHeader.of(file)
    finally:
        file.close()
    names = _listing(folder)
    if header.is_ndtiff:
        return _of_ndtiff_file(folder, names, name)
    match = _STACK.fullmatch(name)
    # The files of a stack are found by their names, so a renamed one is read alone
    if match is None:
        return _stacks(folder, [name])
    others = (other for other in names if (found := _STACK.fullmatch(other)) and found[1] == match[1])
    return _stacks(folder, sorted(others), known_by_name=True, given=name)


def _of_ndtiff_file(folder: str, names: Sequence[str], name: str) -> Dataset:
    if _INDEX not in names:
        return _without_index(folder, names, name)
    dataset = _ndtiff(folder, _INDEX, names)
    if name not in dataset.table.files:
        raise CorruptRecordingError(
            f"{printable(name)} is not described by {_INDEX} in the same folder, which is the index of "
            f"{listed(map(printable, dataset.table.files), limit=3)}; move {printable(name)} to a folder of its "
            "own to read it without the index"
        )
    return dataset


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
    # The index of NDTiff lists all of its files, so the first one given is enough
    return _stacks(folders.pop(), [os.path.basename(path) for path in paths]) if is_stack else _of_file(paths[0])


def _ndtiff(folder: str, index: str, names: Sequence[str]) -> Dataset:
    table = read_index(os.path.join(folder, index))
    if not set(table.files) <= set(names):
        on_disk = {file_name_key(name): name for name in names} | {name: name for name in names}
        table = replace(
            table, files=tuple(on_disk.get(name) or on_disk.get(file_name_key(name), name) for name in table.files)
        )
    there = [name for name in table.files if name in set(names)]
    if not there:
        raise TruncatedRecordingError(
            f"{printable(index)} in {_shown(folder)} describes {counted(len(table), 'frame')}, but their file {printable(table.files[0])} is missing; "
            "the recording is incomplete, copy its folder again"
        )
    headers = {name: _header(folder, name) for name in there}
    _require_belonging(folder, index, headers)
    warnings = (*table.warnings, *_not_described(folder, table, there, names))
    # The summary is in every file, and the first one may be missing
    return Dataset(folder, _shown(folder), replace(table, warnings=warnings), headers[there[0]].summary, True, index)


def _require_belonging(folder: str, index: str, headers: Mapping[str, StackHeader]) -> None:
    """Refuse a file that an index describes, but that is another kind of TIFF or of another acquisition."""
    first = next(iter(headers))
    for name, header in headers.items():
        if header.is_ndtiff and len(_by_acquisition([headers[first], header])) < 2:
            continue
        what = (
            f"is from a different acquisition than {printable(first)}" if header.is_ndtiff else "is not an NDTiff file"
        )
        raise CorruptRecordingError(
            f"{printable(name)} {what}, although {printable(index)} in {_shown(folder)} describes its frames; it was replaced or renamed. "
            "Copy the folder again, or open that file alone in a folder without the index"
        )


def _not_described(folder: str, table: FrameTable, there: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return sentences about frames and files that the index does not describe."""
    sentences = []
    advice = "left out. If they belong to this recording, move the index to another folder: all frames are then found by their directories"
    ends, counts = np.zeros(len(table.files), np.int64), np.bincount(table.numbers, minlength=len(table.files))
    # A frame's metadata follow its pixels, so a further directory would begin behind the last metadata
    np.maximum.at(ends, table.numbers, table.texts.sum(axis=1))
    for number, name in enumerate(table.files):
        # a truncated index has said so already
        more = (
            0
            if table.warnings or name not in there
            else _frames_after(os.path.join(folder, name), table.order, int(ends[number]))
        )
        if more:
            count = int(counts[number])
            sentences.append(
                f"{printable(name)} contains {count + more:,} frames, but the index describes {count:,}; the others are {advice}"
            )
    others = [name for name in names if _NDTIFF.fullmatch(name) and name not in table.files]
    if others:
        sentences.append(
            f"{listed(map(printable, others), limit=4)} in the same folder are not described by the index and are {advice}"
        )
    return tuple(sentences[:4])  # a set of a hundred files would repeat the sentence for each


def _frames_after(path: str, order: str, end: int) -> int:
    """Return the number of frames behind the last one of a file that the index describes, whose metadata end at a byte."""
    file = PositionedFile(path)
    try:
        return len(directories_from(file, order, end + end % 2))  # TIFF 6.0: directories begin at even offsets
    finally:
        file.close()


def _without_index(folder: str, names: Sequence[str], name: str = "") -> Dataset:
    """Read NDTiff without its index: each frame's metadata contain its axes."""
    given = _NDTIFF.fullmatch(name)
    stems = dict.fromkeys(match[1] for other in names if (match := _NDTIFF.fullmatch(other)))
    if not name and len(stems) > 1:
        firsts = [next(n for n in names if n.startswith(f"{stem}_NDTiffStack")) for stem in stems]
        raise ChoiceError(
            f"the folder {_shown(folder)} contains {len(stems)} datasets without an index; open one of their files: "
            f"{listed(map(printable, firsts), limit=6)}"
        )
    stem = given[1] if given else next(iter(stems), "")
    mine = (n for n in names if (match := _NDTIFF.fullmatch(n)) and match[1] == stem)
    files = [name] if name and not given else sorted(mine, key=_numbered)
    headers = [_header(folder, one) for one in files]
    _require_one_acquisition(files, headers)
    table = read_chains(folder, files, headers)
    note = f"{_INDEX} is missing in {_shown(folder)}; the {len(table):,} frames were found by their directories"
    return Dataset(folder, _shown(folder), replace(table, warnings=(*table.warnings, note)), headers[0].summary, True)


def _stacks(folder: str, names: Sequence[str], *, known_by_name: bool = False, given: str = "") -> Dataset:
    """Read image file stacks.

    Files that were only found by their names belong to the set if their summaries name the same acquisition as the given file.
    """
    files = sorted(names, key=_numbered)
    headers = [_header(folder, name) for name in files]
    warnings: tuple[str, ...] = ()
    if known_by_name:
        files, headers, warnings = _of_one_acquisition(folder, files, headers, given)
    else:
        _require_one_acquisition(files, headers)
    if any(header.is_ndtiff for header in headers) or len({header.order for header in headers}) > 1:
        raise CorruptRecordingError(
            f"the files {listed(map(printable, files))} are of different kinds; open them one by one"
        )
    table = read_stacks(folder, files, headers)
    return Dataset(
        folder, _shown(folder), replace(table, warnings=(*warnings, *table.warnings)), headers[0].summary, False
    )


def _of_one_acquisition(
    folder: str, files: list[str], headers: list[StackHeader], given: str
) -> tuple[list[str], list[StackHeader], tuple[str, ...]]:
    """Return the files of the acquisition of the given file, and a sentence about those that belong to others.

    Raises
    ------
    ChoiceError
        No file was given, and there are several acquisitions.
    """
    groups = _by_acquisition(headers)
    if len(groups) < 2:
        return files, headers, ()
    own = next((group for group in groups if given and files.index(given) in group), None)
    if own is None:
        firsts = listed((f"{printable(files[group[0]])} ({counted(len(group), 'file')})" for group in groups), limit=6)
        raise ChoiceError(
            f"the files in {_shown(folder)} are from {len(groups)} acquisitions, according to the start times "
            f"in their summaries, although their names begin alike: {firsts}; open one of these files"
        )
    others = [printable(name) for k, name in enumerate(files) if k not in own]
    return (
        [files[k] for k in own],
        [headers[k] for k in own],
        (f"{listed(others, limit=4)} left out: from another acquisition, according to the summary",),
    )


def _require_one_acquisition(files: Sequence[str], headers: Sequence[StackHeader]) -> None:
    groups = _by_acquisition(headers)
    if len(groups) > 1:
        raise CorruptRecordingError(
            f"{printable(files[groups[1][0]])} is from a different acquisition than "
            f"{printable(files[groups[0][0]])}, according to their summaries; open them one by one"
        )


def _by_acquisition(headers: Sequence[StackHeader]) -> list[list[int]]:
    """Return the files of each acquisition, as indices; a file that does not name its acquisition counts to the first."""
    groups: dict[tuple[str, ...], list[int]] = {}
    unknown = []
    for k, header in enumerate(headers):
        identity = tuple(str(header.summary[key]) if header.summary.get(key) else "" for key in _IDENTITY)
        if any(identity):
            groups.setdefault(identity, []).append(k)
        else:
            unknown.append(k)
    result = list(groups.values()) or [[]]
    result[0] = sorted([*result[0], *unknown])  # an incomplete summary is not evidence of another acquisition
    return result


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
    # _10 follows _9; the tuples have one form, so that numbers and text can be compared
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

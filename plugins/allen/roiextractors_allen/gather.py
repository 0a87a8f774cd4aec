"""Brings together the files of one recording: traces of the same ROIs, their masks, and the times of the samples."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from roiextractors_hdf5.contents import named, open_hdf5
from roiextractors_hdf5.matrix import is_numeric, read_array

from roiextractors_core.errors import (
    CorruptRecordingError,
    RecordingError,
    SourceNotFoundError,
    UnsupportedRecordingError,
    counted,
    listed,
    printable,
)
from roiextractors_core.io import folder_names, is_folder, read_bounded, single_file

from .masks import JsonMasks, read_json_masks, unmatched_words
from .tables import ORDER, TraceFile, TraceTable, read_trace_file

__all__ = ["Gathered", "JoinedTable", "gather", "read_times"]

_SUFFIXES = (".h5", ".hdf5")
_TRACE_WORDS = ("trace", "neuropil", "demix", "dff", "event", "extraction", "classification")
_MASK_WORDS = ("roi", "mask", "trace", "segment", "demix", "object", "filter")
_PICTURE_WORDS = ("maxint", "avgint", "projection", "average", "maximum")
_STEPS = ("extraction", "dff", "events", "classification")  # folders of the AIND pipeline
_MAX_FILES = 64  # of one kind, that are looked into
_PNG = b"\x89PNG\r\n\x1a\n"
_TIMES = "twop_vsync_fall"
_Read = tuple[TraceFile, list[TraceFile], list[str]]  # the main file, those beside it, and warnings
_NO_ROIS = "contains no ROIs; expected a list of objects with id, x, y and mask_matrix or mask"


@dataclass(frozen=True, slots=True)
class JoinedTable:
    """A table of traces, and which of its rows is each ROI; -1 where it has none."""

    table: TraceTable
    rows: np.ndarray


@dataclass
class Gathered:
    """The files of one recording.

    Attributes
    ----------
    main : TraceFile
        Its ROIs and samples are those of the recording.
    tables : dict
        The name of each trace and where it is.
    values : dict
        The name of each property, its values and its description.
    masks : JsonMasks or None
    frame_shape : tuple of int or None
        ``(rows, columns)`` from a file beside the masks.
    times : str
        The file with the times of the samples, or an empty string.
    paths : list of str
        All files that are read.
    notes, warnings : list of str
    """

    main: TraceFile
    tables: dict[str, JoinedTable] = field(default_factory=dict)
    values: dict[str, tuple[np.ndarray, str]] = field(default_factory=dict)
    masks: JsonMasks | None = None
    frame_shape: tuple[int, int] | None = None
    times: str = ""
    paths: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def gather(source: Any, masks: str | os.PathLike[str] | None) -> Gathered:
    """Return the files of the recording that a file or a folder is part of.

    Parameters
    ----------
    source : str or os.PathLike
        A file with traces, a JSON file with masks, or the folder of one recording.
    masks : str or os.PathLike, optional
        The JSON file with the masks, instead of one beside the traces.

    Raises
    ------
    UnsupportedRecordingError
        No traces were found, or traces of several recordings.
    CorruptRecordingError
        A file contradicts itself.
    """
    path = single_file(source, may_be_folder=True)
    if is_folder(path):
        main, others, words = _of_folder(path)
    elif _is_json(path):
        main, others, words = _of_masks(path)
        masks = path if masks is None else masks
    else:
        main, others, words = _of_file(path)
    found = Gathered(main, paths=[main.path], warnings=words)
    for file in [main, *others]:
        _join(found, file)
    folder = Path(main.path).parent
    _find_masks(found, folder, masks)
    found.paths = list(dict.fromkeys(found.paths))
    found.times = next(iter(_files_in(folder, _SUFFIXES, ("time_sync",))), "")
    if found.times:
        found.paths.append(found.times)
    return found


def _of_file(path: Path) -> _Read:
    main = read_trace_file(path)
    if main is None:
        raise UnsupportedRecordingError(
            f"{printable(path.name)} contains no known traces; expected the datasets data, FC or events with roi_names, or the "
            "groups rois and traces"
        )
    return main, *_companions(other for other in _trace_paths(path.parent) if not _is_same(other, path))


def _is_same(path: str, other: Path) -> bool:
    if os.stat(path).st_ino == 0:  # some network drives number no file
        return os.path.normcase(path) == os.path.normcase(other)
    return os.path.samefile(path, other)


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json" or read_bounded(path, 1, count=1) in (b"[", b"{")


def _of_masks(path: Path) -> _Read:
    """Return the traces beside a JSON file of masks whose ROIs it has; the ROIs alone, without samples, if there are none."""
    masks = read_json_masks(path)
    if masks is None:
        raise UnsupportedRecordingError(f"{printable(path.name)} {_NO_ROIS}")
    read, words = _companions(_trace_paths(path.parent))
    files = sorted((file for file in read if file.has_ids and set(file.ids) & set(masks.rois)), key=_priority)
    if files:
        return files[0], files[1:], words
    return TraceFile(os.fspath(path), tuple(masks.rois), True, ()), [], words


def _of_folder(folder: Path) -> _Read:
    read = [file for file in map(read_trace_file, _trace_paths(folder)) if file is not None]
    files = sorted(read, key=_priority)
    if not files or not files[0].tables:
        raise UnsupportedRecordingError(
            f"{printable(folder)} contains no known trace file; expected names such as roi_traces.h5, dff.h5 or extraction.h5"
        )
    main = files[0]
    rivals = [file for file in files[1:] if _is_of_another_recording(main, file)]
    if rivals:
        names = listed(file.file_name for file in (main, *rivals))
        raise UnsupportedRecordingError(
            f"{printable(folder)} contains the traces of several recordings: {names}; open one of these files"
        )
    return main, files[1:], []


def _priority(file: TraceFile) -> tuple[bool, int, str]:
    first = min((ORDER.index(table.name) for table in file.tables), default=len(ORDER))
    return not file.is_extraction, first, file.path


def _is_of_another_recording(main: TraceFile, file: TraceFile) -> bool:
    if main.has_ids and file.has_ids:
        return bool(file.tables) and not set(main.ids) & set(file.ids)
    return main.is_extraction and file.is_extraction


def _trace_paths(folder: Path) -> list[str]:
    """Return the files that may contain traces: in the folder, and in those of the other steps of the AIND pipeline."""
    folders = [folder]
    if folder.name in _STEPS:
        folders += [folder.parent / step for step in _STEPS if step != folder.name]
    else:
        folders += [folder / step for step in _STEPS]
    return [path for place in folders if place.is_dir() for path in _files_in(place, _SUFFIXES, _TRACE_WORDS)]


def _files_in(folder: Path, suffixes: Sequence[str], words: Iterable[str]) -> list[str]:
    names = sorted(folder_names(folder))
    chosen = [
        name for name in names if name.lower().endswith(tuple(suffixes)) and any(w in name.lower() for w in words)
    ]
    return [os.fspath(folder / name) for name in chosen[:_MAX_FILES] if (folder / name).is_file()]


def _companions(paths: Iterable[str]) -> tuple[list[TraceFile], list[str]]:
    """Return the traces in files beside the one that was named, and a sentence about each file that cannot be read."""
    files, words = [], []
    for path in paths:
        try:
            file = read_trace_file(path)
        except RecordingError as error:
            words.append(f"{printable(os.path.basename(path))} was left out: {error}")
            continue
        files += [file] if file is not None else []
    return files, words


def _join(found: Gathered, file: TraceFile) -> None:
    """Add the traces and properties of a file, matched by the ids of the ROIs."""
    main = found.main
    rows = _rows_of(main, file)
    if rows is None:
        found.notes.append(
            f"{file.file_name} and {main.file_name} have traces of different ROIs; {file.file_name} was left out"
        )
        return
    used = False
    _describe_unmatched(found, file, rows)
    for table in file.tables:
        if table.num_samples != main.num_samples:
            found.warnings.append(
                f"{file.file_name} has {counted(table.num_samples, 'sample')}, but {main.file_name} has "
                f"{main.num_samples:,}; the trace {table.name!r} was left out"
            )
        elif table.name in found.tables:
            other = printable(os.path.basename(found.tables[table.name].table.path))
            found.warnings.append(
                f"{other} and {file.file_name} both contain the trace {table.name!r}; the one in {other} is used"
            )
        else:
            found.tables[table.name] = JoinedTable(table, rows)
            used = True
    for name, (values, description) in file.values.items():
        if name not in found.values:
            found.values[name] = (_at_rows(values, rows), description)
            used = True
    if used and file is not main:
        found.paths.append(file.path)


def _rows_of(main: TraceFile, file: TraceFile) -> np.ndarray | None:
    """Return the row of each of the recording's ROIs in a file, -1 where it is missing; None if the file is of other ROIs."""
    if main.has_ids and file.has_ids:
        places = {name: k for k, name in enumerate(file.ids)}
        rows = np.array([places.get(name, -1) for name in main.ids], np.int64)
        return rows if file is main or (rows >= 0).any() else None
    # Without ids in either file, the numbers of the ROIs are their identity, if the files have one origin
    if main.has_ids or file.has_ids or len(main.ids) != len(file.ids) or _origin(main) != _origin(file):
        return None
    return np.arange(len(main.ids))


def _origin(file: TraceFile) -> str:
    """Return the part of a file's name that its steps have in common: ``123`` of ``123_dff.h5``."""
    stem = Path(file.path).stem
    return re.sub(r"_?(extraction|dff|events_oasis|events|classification)$", "", stem)


def _describe_unmatched(found: Gathered, file: TraceFile, rows: np.ndarray) -> None:
    missing = [name for name, row in zip(found.main.ids, rows.tolist(), strict=True) if row < 0]
    if missing:
        words = f"{file.file_name} has no traces of {counted(len(missing), 'ROI')}, which are NaN there: {listed(map(printable, missing))}"
        # Events are detected in the traces of valid ROIs only
        only_valid = any(table.name == "events" for table in file.tables)
        (found.notes if only_valid else found.warnings).append(words)
    known = set(found.main.ids)
    extra = [name for name in file.ids if name not in known] if file.has_ids else []
    if extra:
        only_valid = any(table.name == "events" for table in found.main.tables)
        (found.notes if only_valid else found.warnings).append(
            f"{file.file_name} has traces of {counted(len(extra), 'ROI')} that {found.main.file_name} does not have: "
            f"{listed(map(printable, extra))}"
        )


def _at_rows(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if (rows >= 0).all():
        same: np.ndarray = values[rows]
        return same
    result = np.full(len(rows), np.nan)
    result[rows >= 0] = values[rows[rows >= 0]]
    return result


def _find_masks(found: Gathered, folder: Path, masks: str | os.PathLike[str] | None) -> None:
    if found.main.is_extraction:
        if masks is not None:
            raise UnsupportedRecordingError(f"{found.main.file_name} contains the masks itself; leave masks= out")
        return
    if masks is not None:
        found.masks = _named_masks(masks, found.main.ids)
    else:
        found.masks = _masks_beside(found, folder)
    if found.masks is None:
        return
    found.paths.append(found.masks.path)
    words = unmatched_words(found.masks, found.main.ids)
    if words:
        found.warnings.append(words)
    extra = [name for name in found.masks.rois if name not in set(found.main.ids)]
    if extra:
        found.notes.append(
            f"{found.masks.file_name} has {counted(len(extra), 'ROI')} without traces, which were left out: {listed(map(printable, extra))}"
        )
    found.frame_shape = found.masks.frame_shape or _picture_shape(folder)


def _named_masks(path: str | os.PathLike[str], ids: Sequence[str]) -> JsonMasks:
    if not os.path.exists(path):
        raise SourceNotFoundError(f"masks={printable(path)!r}: this file does not exist")
    masks = read_json_masks(path)
    if masks is None:
        raise UnsupportedRecordingError(f"{printable(os.path.basename(path))} {_NO_ROIS}")
    if not set(ids) & set(masks.rois):
        raise CorruptRecordingError(
            f"{masks.file_name} has masks of the ROIs {_few(masks.rois)}, but the traces are of {_few(ids)}"
        )
    return masks


def _masks_beside(found: Gathered, folder: Path) -> JsonMasks | None:
    """Return the masks of the JSON file that has those of the most ROIs with traces."""
    ids, best, most = set(found.main.ids), None, 0
    for path in _files_in(folder, (".json",), _MASK_WORDS):
        try:
            masks = read_json_masks(path)
        except RecordingError as error:
            found.warnings.append(f"{printable(os.path.basename(path))} was left out: {error}")
            continue
        count = len(ids & set(masks.rois)) if masks is not None else 0
        if masks is not None and not count and ids:
            found.warnings.append(
                f"{masks.file_name} has masks of different ROIs ({_few(masks.rois)}) and was left out"
            )
        if count > most:
            best, most = masks, count
    return best


def _few(ids: Iterable[str]) -> str:
    return listed((printable(name) for name in ids), limit=3)


def _picture_shape(folder: Path) -> tuple[int, int] | None:
    """Return the shape of a projection beside the traces, which is that of the movie's frames; from its header alone."""
    for path in _files_in(folder, (".png",), _PICTURE_WORDS):
        head = read_bounded(path, 24, count=24) if os.path.getsize(path) >= 24 else b""
        if head[:8] == _PNG and head[12:16] == b"IHDR":
            columns, rows = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
            if 0 < rows < 1 << 20 and 0 < columns < 1 << 20:
                return rows, columns
    return None


def read_times(path: str, num_samples: int) -> tuple[np.ndarray | None, str]:
    """Return the times of the samples from a file of synchronized times, or None, and then a sentence why not.

    Parameters
    ----------
    path : str
    num_samples : int
        Of the traces.

    Returns
    -------
    times : numpy.ndarray or None
        Seconds, float64.
    words : str
    """
    file_name = printable(os.path.basename(path))
    try:
        with open_hdf5(path) as file:
            node = named(file, _TIMES)
            times = read_array(node).astype(np.float64) if is_numeric(node, 1) else None
    except RecordingError as error:
        return None, f"the times were left out: {error}"
    if times is None:
        return None, f"{file_name} has no times of the samples ({_TIMES}) and was left out"
    if len(times) != num_samples:
        return None, (
            f"{file_name} has {counted(len(times), 'time')} for {counted(num_samples, 'sample')}; the times were left out"
        )
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        return None, f"the times in {file_name} are not increasing, or not finite, and were left out"
    return times, ""

"""The files of a recording: which ones belong to it, in which order, and which are missing."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    RoiExtractorsWarning,
    SourceKindError,
    SourceNotFoundError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.io import choose_stream, folder_names, is_folder, missing_samples, silenced

from .arrangement import in_natural_order
from .naming import NamedFiles, name_files
from .pages import PageIndex

__all__ = ["Files", "Paths", "SizesInFolder", "files_of", "index_of", "recalled"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
_MAX_SHOWN = 3
_MAX_ODD = 64  # names in a pickle
_NUM_CHECKED = 16
_MIN_AGE = 4_000_000_000  # nanoseconds
_OTHER_NAMES = ("has a name of a different kind", "have names of a different kind")
_OTHER_NUMBERS = (
    "has a number out of line with the others (pattern= reads it too)",
    "have numbers out of line with the others (pattern= reads them too)",
)


@dataclass(frozen=True, slots=True)
class SizesInFolder:
    """The sizes of the files of a folder, where nearly all are alike: a pickle keeps them, and asks for a few again.

    Attributes
    ----------
    folder : str
    inode, modified : int
        Of the folder, which changes when a file is added, removed or renamed.
    count : int
        Of the TIFF files.
    usual : int
        The size of all files but those in ``odd``, in bytes.
    odd : tuple of (str, int)
        Names and sizes.
    """

    folder: str
    inode: int
    modified: int
    count: int
    usual: int
    odd: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, folder: str, names: Sequence[str], sizes: Sequence[int]) -> SizesInFolder | None:
        """Return the sizes, or None where they differ, or the folder has changed just now."""
        usual, count = Counter(sizes).most_common(1)[0]
        status = os.stat(folder)
        # A change within the resolution of the folder's time (2 s on FAT) would not be seen
        if len(sizes) - count > _MAX_ODD or time.time_ns() - status.st_mtime_ns < _MIN_AGE:
            return None
        odd = tuple((name, size) for name, size in zip(names, sizes, strict=True) if size != usual)
        return cls(folder, status.st_ino, status.st_mtime_ns, len(sizes), usual, odd)

    def recall(self, folder: str, names: Sequence[str]) -> list[int] | None:
        """Return the sizes, or None if the folder, or one of a few files that are looked at, has changed.

        Each file is checked when it is read, so that those that are not looked at are not trusted for long.
        """
        status = os.stat(folder)
        if (folder, status.st_ino, status.st_mtime_ns, len(names)) != (
            self.folder,
            self.inode,
            self.modified,
            self.count,
        ):
            return None
        odd = dict(self.odd)
        sizes = [odd.get(name, self.usual) for name in names]
        chosen = {*range(0, len(names), max(1, len(names) // _NUM_CHECKED)), len(names) - 1}
        is_same = all(os.path.getsize(os.path.join(folder, names[k])) == sizes[k] for k in chosen)
        return sizes if is_same else None


_RECALLED: ContextVar[SizesInFolder | None] = ContextVar("recalled", default=None)


@contextmanager
def recalled(sizes: SizesInFolder) -> Iterator[None]:
    """Use the sizes that a pickle has kept while the recording is made again."""
    token = _RECALLED.set(sizes)
    try:
        yield
    finally:
        _RECALLED.reset(token)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one channel and one position of a recording.

    Attributes
    ----------
    paths : tuple of str
        In the order of time, the planes of a sample one after the other.
    numbers : numpy.ndarray
        For each sample (or each file, where a file contains several) its number among those acquired, from 0; int64.
    total : int
        How many were acquired, as far as the names say.
    depth : int
        Planes of a sample that are files of their own; 1 where they are not.
    axes : str
        Of T, Z, C and P, those in the names.
    channels, positions : list of str
        In the names; empty where they do not vary.
    channel : str
        The chosen one.
    warnings : tuple
        Sentences, each with its category.
    folder : str
        That was given; empty where files were.
    sizes : numpy.ndarray
        Bytes of each file; empty where they were not asked for.
    sizes_in_folder : SizesInFolder, optional
        What a pickle keeps of them.
    """

    paths: tuple[str, ...]
    numbers: np.ndarray
    total: int
    depth: int = 1
    axes: str = "T"
    channels: list[str] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)
    channel: str = ""
    warnings: tuple[tuple[str, type[RoiExtractorsWarning]], ...] = ()
    folder: str = ""
    sizes: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    sizes_in_folder: SizesInFolder | None = None

    @property
    def missing(self) -> np.ndarray:
        """Numbers that are not among those of the files; int64."""
        if len(self.numbers) == self.total == 1 and self.numbers[0] == 0:  # one file, as nearly always
            return np.empty(0, np.int64)
        return missing_samples(self.total, self.numbers)


def files_of(
    file_path: Paths,
    *,
    pattern: str | None = None,
    in_order: bool = False,
    channel: str | int | None = None,
    position: str | int | None = None,
) -> Files:
    """Return the files of a recording: those of the list, the one file, or a folder's.

    Parameters
    ----------
    file_path : str, os.PathLike or a sequence of them
    pattern : str, optional
        See :func:`roiextractors_tiff.naming.name_files`.
    in_order : bool
        Whether only the order of the files matters, not their names.
    channel, position : str or int, optional
        Those of the names.

    Raises
    ------
    SourceKindError
        The folder contains no TIFF file, or the names do not say which file is what.
    StreamChoiceError
        The names contain several channels or positions, and none was chosen.
    """
    is_list = not isinstance(file_path, str | os.PathLike)
    folder = "" if is_list else os.fspath(file_path)  # type: ignore[arg-type]
    if not is_list and not is_folder(folder):
        return Files((folder,), np.zeros(1, np.int64), 1)
    warnings: list[tuple[str, type[RoiExtractorsWarning]]] = []
    if is_list:
        paths = [os.fspath(path) for path in file_path]  # type: ignore[union-attr]
        where = printable(os.path.basename(os.path.dirname(os.path.abspath(paths[0])))) if paths else "the list"
        names: list[str] = []
    else:
        where = f"the folder {printable(folder)}"
        start, names = os.path.join(folder, ""), _names_in(folder)
        paths = [start + name for name in names]
    kept, sizes = _RECALLED.get(), dict[str, int]()
    if len(paths) >= _MAX_SHOWN:
        again = kept.recall(folder, names) if kept is not None and not is_list else None
        sizes = dict(zip(paths, again or map(_size_of, paths), strict=True))
        kept = None if is_list else kept if again else SizesInFolder.of(folder, names, list(sizes.values()))
    if not is_list:
        paths = _without_strays(paths, [sizes[path] for path in paths] if sizes else [], where, warnings)
    if (in_order and pattern is None) or len(paths) < 2:
        return Files(
            tuple(paths), np.arange(len(paths)), len(paths), warnings=tuple(warnings), folder=folder,
            sizes=_sizes(sizes, paths), sizes_in_folder=kept,
        )  # fmt: skip
    named = name_files(paths, where=where, pattern=pattern, ordered=is_list)
    if named.left_out:
        warnings.append((_left_out(where, named.left_out, _OTHER_NAMES), RoiExtractorsWarning))
    if named.strays:
        warnings.append((_left_out(where, named.strays, _OTHER_NUMBERS), RoiExtractorsWarning))
    files = _chosen(named, paths, is_list, where, channel, position)
    warnings += _gaps(files, where)
    return Files(
        files.paths, files.numbers, files.total, files.depth, named.axes, files.channels, files.positions, files.channel,
        tuple(warnings), folder, _sizes(sizes, files.paths), kept,
    )  # fmt: skip


def _sizes(sizes: Mapping[str, int], paths: Sequence[str]) -> np.ndarray:
    return np.array([sizes[path] for path in paths] if sizes else [], np.int64)


def _size_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:  # a link to nothing
        return -1


def _names_in(folder: str) -> list[str]:
    # Names with a leading dot are companions that macOS writes ("._name.tif")
    names = in_natural_order(n for n in folder_names(folder) if n.lower().endswith(_SUFFIXES) and not n.startswith("."))
    if not names:
        raise SourceKindError(
            f"the folder {printable(folder)} contains no file with a suffix of {', '.join(_SUFFIXES)}"
        )
    return names


def _chosen(
    named: NamedFiles,
    paths: Sequence[str],
    is_list: bool,
    where: str,
    channel: str | int | None,
    position: str | int | None,
) -> Files:
    """Return the files of one channel and position, in order."""
    positions, channels = named.labels("P"), named.labels("C")
    place = positions[choose_stream(where, "position", positions, position)] if positions else ""
    label = channels[choose_stream(where, "channel", channels, channel, first=1)] if channels else ""
    times = [file.time for file in named.files]
    # The order of a list is the user's word: numbers that contradict it are not times
    if is_list and named.axes == "T" and any(b <= a for a, b in itertools.pairwise(times)):
        order = tuple(file.name for file in named.files)  # as the user gave them
        return Files(order, np.arange(len(order)), len(order))
    names, numbers, total, depth = named.samples(named.chosen(label, place))
    if not names:
        raise SourceKindError(
            f"{where}: no sample of its {counted(len(paths), 'file')} is complete; pass pattern=, or the list "
            "of files of one recording"
        )
    return Files(tuple(names), numbers, total, depth, named.axes, channels, positions, label)


def _gaps(files: Files, where: str) -> list[tuple[str, type[RoiExtractorsWarning]]]:
    missing = files.missing
    if not len(missing):
        return []
    before = int(np.searchsorted(files.numbers, missing[0])) * files.depth
    behind = printable(os.path.basename(files.paths[min(before, len(files.paths) - 1)]))
    what = "samples are incomplete in" if files.depth > 1 else "files are missing from"
    words = f"{where}: {len(missing):,} of {files.total:,} {what} the sequence, the first before {behind}; the others keep their times"
    return [(words, IncompleteRecordingWarning)]


def _without_strays(
    paths: list[str], sizes: Sequence[int], where: str, warnings: list[tuple[str, type[RoiExtractorsWarning]]]
) -> list[str]:
    """Return the files without the few whose pages are of another size or type, or damaged.

    Files of the same length as most others are not opened.
    """
    if not sizes:
        return paths
    usual, count = Counter(sizes).most_common(1)[0]
    odd = [k for k, size in enumerate(sizes) if size != usual]
    # Compressed files all differ in length; opening each of them would make opening a folder slow
    if count < 3 or len(odd) > max(1, len(paths) // 10):
        return paths
    with silenced():
        try:
            model = PageIndex.of(paths[sizes.index(usual)])
        except CorruptRecordingError:
            return paths
        strays, broken = [], []
        for k in odd:
            try:
                index = PageIndex.of(paths[k])
            except (CorruptRecordingError, UnsupportedRecordingError, SourceNotFoundError):
                broken.append(k)
                continue
            if not _are_alike(index, model):
                strays.append(k)
            index.close()
        model.close()
    for some, why, category in (
        (strays, ("has pages of another size or type", "have pages of another size or type"), RoiExtractorsWarning),
        (broken, ("is damaged, missing or not TIFF", "are damaged, missing or not TIFF"), IncompleteRecordingWarning),
    ):
        if some:
            warnings.append((_left_out(where, [paths[k] for k in some], why), category))
    left_out = {*strays, *broken}
    return [path for k, path in enumerate(paths) if k not in left_out]


def _are_alike(index: PageIndex, model: PageIndex) -> bool:
    return (index.page_shape, index.dtype, index.samples_per_pixel) == (
        model.page_shape,
        model.dtype,
        model.samples_per_pixel,
    )


def _left_out(where: str, paths: Sequence[str], why: tuple[str, str]) -> str:
    """Return the warning of files that are not read, with the reason for one and for several."""
    shown = [printable(os.path.basename(path)) for path in paths[:_MAX_SHOWN]]
    more = f" and {len(paths) - _MAX_SHOWN:,} more" if len(paths) > _MAX_SHOWN else ""
    names = ", ".join(shown) + more
    reason = why[len(paths) > 1]
    return f"{where}: {names} {reason} and {'are' if len(paths) > 1 else 'is'} left out"


def index_of(paths: tuple[str, ...], sizes: np.ndarray) -> PageIndex:
    """Return the pages of files of these sizes; of many files of one size, only the first and the last are opened at once."""
    if len(paths) < _MAX_SHOWN:
        return PageIndex.of(paths)
    odd = np.flatnonzero(sizes != sizes[0])
    # Many lengths mean compressed files, whose page counts do not follow from their sizes
    if len(odd) > 1 + len(paths) // 100:
        return PageIndex.of(paths)
    counts = np.empty(len(paths), np.int64)
    try:
        for k in (0, *odd.tolist()):
            with silenced():
                single = PageIndex.of(paths[k])
            single.close()
            # The number of pages of a damaged file says nothing about others of its length
            if single.damaged or not single.is_plain:
                return PageIndex.of(paths)
            counts[k if k else slice(None)] = single.num_pages
        index = PageIndex.of(paths, pages_per_file=counts)
        # The last file is opened as a check: equal lengths do not prove equal pages
        index.tags(index.num_pages - 1)
    except CorruptRecordingError:
        return PageIndex.of(paths)  # says which file differs, or how much of it is whole
    return index

"""Which files belong to one acquisition: found by name, in natural order, and checked by content."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from roiextractors_core.errors import ChoiceError, RoiExtractorsError, UnknownFormatError, listed, printable
from roiextractors_core.io import Source, TiffDirectory, folder_names

from .header import Header, epoch_of, frame_number_of

__all__ = ["FileSet", "files_of_acquisition", "first_of_folder", "holds_scanimage", "listing", "others_of_folder"]

_DESCRIPTION, _SOFTWARE, _ARTIST = 270, 305, 315
_SUFFIXES = (".tif", ".tiff")
_MAX_NAMED = 8
# Each try opens a file; a folder may contain thousands of other TIFF files
_MAX_TRIED = 64
_SAME_MOMENT = 1.0
"""Seconds: every file of an acquisition states the same beginning, and nobody starts two within a second."""


@dataclass(frozen=True, slots=True)
class FileSet:
    """The files of one acquisition.

    Attributes
    ----------
    paths : tuple of str
        In the order of recording.
    notes : tuple of str
        Files that were left out, and why.
    gaps : tuple of str
        The same, where a person should be warned: files that are missing, names that do not fit.
    """

    paths: tuple[str, ...]
    notes: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


def listing(folder: str) -> tuple[str, ...]:
    """Return the names in a folder; none where it may not be listed, for its files may be read all the same."""
    try:
        return folder_names(folder)
    except OSError:
        return ()


def files_of_acquisition(path: str, header: Header, names: Sequence[str]) -> FileSet:
    """Find the files over which ScanImage split the acquisition that ``path`` is a part of.

    Parameters
    ----------
    path : str
        Any of the files.
    header : Header
        Of that file.
    names : sequence of str
        The names in its folder, from :func:`listing`.

    Returns
    -------
    FileSet
        The file alone where ScanImage did not split it.  A file of the same name pattern that is not a
        ScanImage file, has frames of another size, or began at another moment is left out.

    References
    ----------
    The rule of roiextractors, from a developer of ScanImage: a grab with a finite number of frames a
    file, a loop, and a slow stack number their files behind the last underscore.
    """
    parts = _NUMBERED.match(os.path.basename(path))
    if parts is None or not _is_split(header):
        return FileSet((path,))
    folder, stem, suffix = os.path.dirname(path), parts[1], parts[3].lower()
    numbered, strangers = _sorted_names(names, stem, suffix, len(parts[2]))
    # Names alone do not decide: files of another acquisition may follow the same pattern
    own, in_loop = _Look.at(path), _state(header) == "loop"
    position = int(parts[2])
    kept, left_out = [], dict[str, list[str]]()
    for number, name in numbered:
        reason = (
            ""
            if name == os.path.basename(path)
            else own.objection(_Look.at(os.path.join(folder, name)), number - position, in_loop=in_loop)
        )
        if reason:
            left_out.setdefault(reason, []).append(name)
        else:
            kept.append((number, name))
    notes = [_left_out(names, reason) for reason, names in left_out.items()]
    gaps = _gaps([number for number, _ in kept], stem, suffix, len(parts[2]), _counts_from_one(header))
    if strangers:
        verb = "bears" if len(strangers) == 1 else "bear"
        left = "is" if len(strangers) == 1 else "are"
        gaps.append(
            f"{_named(strangers)} beside it {verb} no number of the sequence {printable(stem)}* and {left} left out"
        )
    # Stacks are numbered alike whether or not they belong together, but the files of a split acquisition and of a loop do
    told, untold = (_shortened(notes), []) if in_loop or _counts_from_one(header) else ([], _shortened(notes))
    return FileSet(tuple(os.path.join(folder, name) for _, name in kept), tuple(untold), (*gaps, *told))


def first_of_folder(folder: str, names: Sequence[str]) -> str:
    """Return the first ScanImage file of a folder, in natural order.

    Raises
    ------
    UnknownFormatError
        When none of the TIFF files is one.
    """
    for name in _tiff_names(names)[:_MAX_TRIED]:
        path = os.path.join(folder, name)
        if _Look.at(path).is_scanimage:
            return path
    raise UnknownFormatError(f"the folder {printable(folder)} contains no ScanImage TIFF file; pass the file itself")


def others_of_folder(folder: str, names: Sequence[str], paths: Sequence[str]) -> tuple[str, ...]:
    """Return notes about the folder's TIFF files that are not in ``paths``.

    Raises
    ------
    ChoiceError
        One of them is a ScanImage file too: the folder contains several acquisitions.
    """
    known = {os.path.basename(path) for path in paths}
    others = [name for name in _tiff_names(names) if name not in known]
    for name in others[:_MAX_TRIED]:
        if _Look.at(os.path.join(folder, name)).is_scanimage:
            first = os.path.basename(paths[0])
            raise ChoiceError(
                f"the folder {printable(folder)} contains several acquisitions, among them {listed([first, name])}; "
                "open one of these files, or pass the list of files"
            )
    verb = "is not a ScanImage file and is" if len(others) == 1 else "are not ScanImage files and are"
    return (f"{_named(others)} in the folder {verb} left out",) if others else ()


def holds_scanimage(source: Source) -> bool:
    """Return whether the first TIFF file that a folder lists is ScanImage's; the probe that detection asks of every folder."""
    first = next((name for name in source.members if _is_tiff(name)), None)
    return first is not None and _Look.at(os.path.join(source.path, first)).is_scanimage


_NUMBERED = re.compile(r"(.*_)(\d{1,18})(\.[^.]+)\Z", re.DOTALL)
_HEADER = re.compile(r"(?m)^(?:SI|scanimage|state)\.\w")


@dataclass(frozen=True, slots=True)
class _Look:
    """The properties of a file that its first directory shows."""

    is_scanimage: bool = False
    frame: tuple[object, ...] = ()
    epoch: datetime | None = None
    number: int | None = None
    problem: str = ""

    @classmethod
    def at(cls, path: str) -> _Look:
        try:
            with Source(path) as source:
                directory = source.tiff
                if directory is None:
                    return cls(problem="it is not a TIFF file")
                return cls._of(directory, source)
        except (RoiExtractorsError, OSError) as error:
            return cls(problem=printable(error))

    @classmethod
    def _of(cls, directory: TiffDirectory, source: Source) -> _Look:
        description = directory.value(_DESCRIPTION)
        page = description if isinstance(description, bytes) else b""
        texts = (directory.text(_SOFTWARE) or "", page.decode("utf-8", "replace"))
        number = frame_number_of(page)
        # The magic number of the static block is enough, even if the Software tag is damaged
        marked = source.head(20)[16:] == b"\x01\x03\x03\x07"
        return cls(
            is_scanimage=marked or number is not None or any(_HEADER.search(text) for text in texts),
            frame=tuple(directory.value(code) for code in (256, 257, 258, 339, 277)),
            epoch=epoch_of(page),
            number=number,
        )

    def objection(self, other: _Look, distance: int, *, in_loop: bool) -> str:
        """Return why the other file does not belong to this one, or an empty string.

        Parameters
        ----------
        other : _Look
        distance : int
            By how much its number is larger.
        in_loop : bool
            Whether the files of a loop are asked for, each of which may state its own beginning.
        """
        if other.problem:
            return other.problem
        if not other.is_scanimage:
            return "it is not a ScanImage file"
        if other.frame != self.frame:
            return "its frames have another size or type"
        later = (other.epoch - self.epoch).total_seconds() if self.epoch and other.epoch else 0.0
        # In a loop a file with a higher number must begin later; otherwise it is left from an earlier loop
        if abs(later) < _SAME_MOMENT or (in_loop and later * distance > 0):
            return ""
        return f"it is a separate acquisition, started at {other.epoch}"


def _is_split(header: Header) -> bool:
    if _state(header) == "loop" or (_state(header) == "grab" and _counts_from_one(header)):
        return True
    slices = header.count("SI.hStackManager.actualNumSlices", "SI.hStackManager.numSlices") or 1
    enabled = header.flag("SI.hStackManager.enable") is not False
    return header.text("SI.hStackManager.stackMode") == "slow" and enabled and slices > 1


def _state(header: Header) -> str:
    return header.text("SI.acqState") or header.text("SI4.acqState")


def _counts_from_one(header: Header) -> bool:
    """Return whether the acquisition is cut into files after a number of frames; they count from 1."""
    per_file = header.number("SI.hScan2D.logFramesPerFile", "SI4.loggingFramesPerFile")
    # Inf is ScanImage's word for one file without a limit
    return per_file is not None and per_file != math.inf


def _sorted_names(names: Iterable[str], stem: str, suffix: str, width: int) -> tuple[list[tuple[int, str]], list[str]]:
    """Return the numbered names in natural order, and the names with the same beginning but no number."""
    numbered: dict[int, str] = {}
    strangers: list[str] = []
    for name in sorted(names):
        if not (name.startswith(stem) and name.lower().endswith(suffix)):
            continue
        varying = name[len(stem) : -len(suffix)]
        if not (varying.isascii() and varying.isdigit() and len(varying) <= 18):
            strangers.append(name)
        # "_1" and "_00001" are one number: the one as wide as the given file's belongs to it
        elif int(varying) not in numbered or len(varying) == width:
            numbered[int(varying)] = name
    return sorted(numbered.items()), strangers


def _gaps(numbers: list[int], stem: str, suffix: str, width: int, from_one: bool) -> list[str]:
    missing: list[str] = []
    # A large first number is hardly a count from 1, so nothing before it is missing
    count, last = 0, 0 if from_one and numbers and numbers[0] < 10_000 else (numbers[0] - 1 if numbers else 0)
    for number in numbers:
        count += number - last - 1
        # A gap may be as large as the number in a name: it is counted, not listed
        room = max(0, _MAX_NAMED - len(missing))
        missing += [f"{stem}{k:0{width}d}{suffix}" for k in range(last + 1, min(number, last + 1 + room))]
        last = number
    if not count:
        return []
    more = f" and {count - len(missing):,} more" if count > len(missing) else ""
    names = ", ".join(printable(name) for name in missing)
    return [f"{names}{more} of the sequence {'are' if count > 1 else 'is'} missing; the files around it are joined"]


def _tiff_names(names: Iterable[str]) -> list[str]:
    return sorted(filter(_is_tiff, names), key=_natural)


def _is_tiff(name: str) -> bool:
    # macOS writes "._" companions with the same suffix on network drives
    return name.lower().endswith(_SUFFIXES) and not name.startswith("._")


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    pieces = re.split(r"(\d+)", name.lower())
    # Equal types at each place, since Python does not compare int and str
    return [(1, int(p), "") if k % 2 and len(p) < 19 else (0, 0, p) for k, p in enumerate(pieces)], name


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_MAX_NAMED])
    return shown + (f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else "")


def _left_out(names: Sequence[str], reason: str) -> str:
    if len(names) == 1:
        return f"{printable(names[0])} is left out: {reason}"
    return f"{_named(names)} are left out, each for the same reason: {reason}"


def _shortened(notes: list[str]) -> list[str]:
    rest = len(notes) - _MAX_NAMED
    return notes if rest <= 0 else [*notes[:_MAX_NAMED], f"{rest:,} more files beside it are left out"]

"""The two files of a recording: ``.sbx`` with the pixels, and the ``.mat`` of the same name with the info."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roiextractors_core.errors import (
    MissingDependencyError,
    RecordingError,
    SourceError,
    SourceKindError,
    SourceNotFoundError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import PositionedFile, Source

from .info import is_info, layout_of
from .mat_file import read_variable

__all__ = ["Pair", "is_scanbox", "pair_of"]

# The texts at the start of MAT files of version 5 to 7 and of version 7.3 (HDF5)
_SIGNATURES = (b"MATLAB 5.0", b"MATLAB 7.3")


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a recording, and the info that was read.

    Attributes
    ----------
    pixels : PositionedFile
    info_name : str
    info : mapping
    described_by : PositionedFile
        The ``.mat`` file.
    """

    pixels: PositionedFile
    info_name: str
    info: Mapping[str, Any]
    described_by: PositionedFile


def pair_of(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Pair:
    """Find both files by either of them.

    Parameters
    ----------
    source : str, os.PathLike, or a list of both files

    Raises
    ------
    SourceNotFoundError
        The other file is not in the same folder.
    UnsupportedRecordingError
        The MATLAB file does not contain the info of Scanbox.
    SourceKindError
        A list of other files than the two of one recording.
    """
    paths = [source] if isinstance(source, str | os.PathLike) else list(source)
    files = [PositionedFile(path) for path in paths]
    # By content, since the files may have any suffix
    infos = [file for file in files if _is_matlab(file)]
    pixels = [file for file in files if file not in infos]
    if len(infos) > 1 or len(pixels) > 1 or not files:
        raise SourceKindError(
            f"got {len(files)} files, but a Scanbox recording is one .sbx file and its .mat; open each recording "
            "and join them with concatenate"
        )
    known = infos[0] if infos else _info_beside(pixels[0])
    info = _info(known)
    return Pair(pixels[0] if pixels else _pixels_beside(known), known.name, info, known)


def is_scanbox(source: Source) -> bool:
    """Return whether a source is an info file of Scanbox, or is described by one next to it.

    Parameters
    ----------
    source : Source
        With a suffix other than ``.sbx``, the size must be a multiple of the described frames.
    """
    if source.is_folder:
        return False
    try:
        file = PositionedFile(source.path)
        if source.head(10) in _SIGNATURES:
            return is_info(read_variable(file, "info"))
        info = read_variable(_info_beside(PositionedFile(source.path)), "info")
        if not is_info(info):
            return False
        # An .sbx file is claimed whatever its size, so that a truncated one gets an error of this format
        if ".sbx" in source.suffixes[-1:]:
            return True
        # Sessions contain other files with the stem of the .mat; pixels are a whole number of frames
        return _beside(source.path, ".sbx") is None and source.size % layout_of(info, "").frame_bytes == 0
    # A probe answers; a damaged .mat of another program must not stop the detection of other formats
    except (RecordingError, SourceError, MissingDependencyError):
        return False


def _info(file: PositionedFile) -> Mapping[str, Any]:
    info = read_variable(file, "info")
    if not is_info(info):
        raise UnsupportedRecordingError(
            f"{file.name} is a MATLAB file without the info of a Scanbox recording: no variable 'info' with resfreq, "
            "recordsPerBuffer and config"
        )
    return dict(info)


def _pixels_beside(known: PositionedFile) -> PositionedFile:
    found = _beside(known.path, ".sbx")
    if found is None:
        raise SourceNotFoundError(
            f"{known.name} describes a Scanbox recording, but {printable(known.path.stem)}.sbx, which contains its pixels, is missing; "
            "put both into one folder, under one name"
        )
    return PositionedFile(found)


def _info_beside(pixels: PositionedFile) -> PositionedFile:
    found = _beside(pixels.path, ".mat")
    if found is None:
        raise SourceNotFoundError(
            f"{pixels.name} contains only pixels, but {printable(pixels.path.stem)}.mat, which gives their shape and rate, is missing; "
            "put both into one folder, under one name"
        )
    return PositionedFile(found)


def _beside(path: Path, suffix: str) -> Path | None:
    """Return the file of the same stem with the suffix in whatever case, or None; never the path itself."""
    exact = path.with_suffix(suffix)
    if exact != path and exact.is_file():
        return exact
    with contextlib.suppress(OSError):
        # Linux distinguishes the case of a suffix, the Windows machines of Scanbox do not
        for name in os.listdir(path.parent):
            stem, end = os.path.splitext(name)
            if stem == path.stem and end.lower() == suffix and name != path.name:
                return path.with_name(name)
    return None


def _is_matlab(file: PositionedFile) -> bool:
    return file.read(0, 10) in _SIGNATURES

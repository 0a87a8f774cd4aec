"""The members of a FluoView recording: its settings and its frames, in one file or in a folder."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceKindError,
    SourceNotFoundError,
    SourcePermissionError,
    SourceReadError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import PositionedFile, single_file

from .compound import SIGNATURE, CompoundFile
from .frames import FileFrames, Frames, StreamFrames
from .settings import MAX_BYTES, Settings

__all__ = ["Members", "members_of"]

_FRAME = re.compile(r"s_((?:[A-Z]\d{3,6})+)\.tif", re.IGNORECASE)
_AXIS = re.compile(r"([A-Z])(\d+)")
_INFO = "OibInfo.txt"
_FRAMES = ".oif.files"


class Members(ABC):
    """The settings and the frames of a recording.

    Attributes
    ----------
    name : str
        The recording's name, safe to print.
    main : Settings
    paths : tuple of str
        The file, and the folder of the frames where they are not inside it.
    """

    name: str
    main: Settings
    paths: tuple[str, ...]

    @abstractmethod
    def names(self) -> Sequence[str]:
        """Return the names of all members, without their folder."""

    @abstractmethod
    def settings(self, name: str) -> Settings:
        """Return the settings in a member, one of :meth:`names`."""

    @abstractmethod
    def frames(self, names: Sequence[str]) -> Frames:
        """Return these members as frames."""

    @abstractmethod
    def close(self) -> None:
        """Release the files."""

    def positions(self) -> dict[str, dict[str, int]]:
        """Return the position of each frame by axis, from 1; other TIFF files (references, previews) are left out."""
        matches = {name: _FRAME.fullmatch(name) for name in self.names()}
        return {name: _position(match[1]) for name, match in matches.items() if match}


class _OneFile(Members):
    """An ``.oib``: a compound file whose stream ``OibInfo.txt`` lists the others."""

    def __init__(self, path: str) -> None:
        self._file = PositionedFile(path)
        self.name = self._file.name
        self.paths = (path,)
        self._compound = CompoundFile(self._file)
        info = self._read(_INFO, _INFO).sections.get("OibSaveInfo", {})
        packing = info.get("Compression", "None")
        if packing not in ("None", "", "0"):
            raise UnsupportedRecordingError(
                f"{self.name} is compressed with {printable(packing)!r}, which is not supported; save it as .oif"
            )
        streams = {key: value for key, value in info.items() if key.startswith("Stream")}
        main = info.get("MainFileName", "")
        if main not in streams:
            raise CorruptRecordingError(
                f"{self.name}: {_INFO} gives {printable(main)!r} as the main file, but does not list such a stream"
            )
        self.main = self._read(main, streams[main])
        # OibInfo.txt gives each name with its folder, as in an .oif
        self._streams = {re.split(r"[\\/]", value)[-1]: key for key, value in streams.items()}

    def names(self) -> Sequence[str]:
        return tuple(self._streams)

    def settings(self, name: str) -> Settings:
        return self._read(self._streams[name], name)

    def frames(self, names: Sequence[str]) -> Frames:
        return StreamFrames(self._compound, [(self._streams[name], name) for name in names])

    def close(self) -> None:
        self._file.close()

    def _read(self, name: str, shown: str) -> Settings:
        stream = self._compound.stream(name, shown=shown)
        return Settings.of(stream.read(0, min(stream.size, MAX_BYTES)), stream.name)


class _Folder(Members):
    """An ``.oif``, and the folder with the frames next to it."""

    def __init__(self, path: str) -> None:
        file = PositionedFile(path)
        self.name = file.name
        try:
            self.main = _read_settings(file, self.name)
        finally:
            file.close()
        if self.main.ends_inside_a_line or not self.main.text("Axis Parameter Common", "AxisOrder"):
            raise TruncatedRecordingError(
                f"{self.name} is truncated: it ends before the axes of its frames, or inside a line"
            )
        self._folder, self._names = self._find_frames(path)
        self.paths = (path, self._folder)

    def names(self) -> Sequence[str]:
        return self._names

    def settings(self, name: str) -> Settings:
        file = PositionedFile(os.path.join(self._folder, name))
        try:
            return _read_settings(file, f"{self.name}: {file.name}")
        finally:
            file.close()

    def frames(self, names: Sequence[str]) -> Frames:
        return FileFrames(self._folder, names, frozenset(self._names))

    def close(self) -> None:
        """Do nothing: no file is kept open."""

    def _find_frames(self, path: str) -> tuple[str, tuple[str, ...]]:
        """Return the folder of the frames and its contents; it has the file's name, or its name before it was renamed."""
        place, name = os.path.split(path)
        # FluoView writes a path of Windows; more than one folder in it would lead elsewhere
        original = re.split(r"[\\/]", self.main.text("ProfileSaveInfo", "PtyFileNameS"))
        candidates = [
            f"{name}.files",
            f"{os.path.splitext(name)[0]}{_FRAMES}",
            original[0] if len(original) == 2 else "",
        ]
        on_disk = {entry.casefold(): entry for entry in _list_folder(place)}  # FluoView runs on Windows
        match = next((on_disk[entry.casefold()] for entry in candidates if entry.casefold() in on_disk), None)
        if match is None:
            raise SourceNotFoundError(
                f"the frames of {self.name} should be in the folder {self.name}.files next to it, which does not exist; copy both from "
                "the microscope's computer"
            )
        folder = os.path.join(place, match)
        return folder, tuple(sorted(_list_folder(folder)))


def members_of(path: Any) -> Members:
    """Return the members of the recording in a file, or of the one ``.oif`` in a folder.

    Parameters
    ----------
    path : str, os.PathLike or a list of one

    Raises
    ------
    SourceKindError
        There are several files, or the folder contains none or several.
    CorruptRecordingError, TruncatedRecordingError
        It is not a FluoView recording, or is damaged.
    """
    start = os.path.abspath(single_file(path, may_be_folder=True))
    if os.path.isdir(start):
        start = _settings_of(start)
    file = PositionedFile(start)
    # By content: an .oib may have any name
    is_one_file = file.read(0, len(SIGNATURE)) == SIGNATURE
    file.close()
    return _OneFile(start) if is_one_file else _Folder(start)


def _settings_of(folder: str) -> str:
    """Return the one ``.oif`` in a folder; for a folder of frames, the one next to it."""
    place, name = os.path.split(folder)
    if name.casefold().endswith(_FRAMES):
        expected = name[: -len(".files")]
        match = next((entry for entry in _list_folder(place) if entry.casefold() == expected.casefold()), None)
        if match is None:
            raise SourceNotFoundError(
                f"{printable(name)} contains the frames of {printable(expected)}, which is not next to it; "
                "copy both from the microscope's computer"
            )
        return os.path.join(place, match)
    names = sorted(entry for entry in _list_folder(folder) if entry.lower().endswith(".oif"))
    if len(names) != 1:
        words = f"{len(names)} ({', '.join(map(printable, names[:3]))}, ...)" if names else "none"
        raise SourceKindError(f"expected one .oif in the folder {printable(folder)}, got {words}; open the file itself")
    return os.path.join(folder, names[0])


def _list_folder(folder: str) -> list[str]:
    try:
        return os.listdir(folder or ".")
    except PermissionError as error:
        raise SourcePermissionError(f"no permission to list {printable(folder)}: {error.strerror}") from error
    except OSError as error:
        raise SourceReadError(f"{printable(folder)} could not be listed: {error.strerror or error}") from error


def _read_settings(file: PositionedFile, name: str) -> Settings:
    return Settings.of(file.read(0, MAX_BYTES), name)


def _position(words: str) -> dict[str, int]:
    return {letter: int(number) for letter, number in _AXIS.findall(words.upper())}

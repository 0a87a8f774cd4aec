"""What belongs to a recording of FluoView: its settings and its frames, in one file or in a folder."""

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
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import PositionedFile

from .compound import SIGNATURE, CompoundFile
from .frames import FileFrames, Frames, StreamFrames
from .settings import MOST_BYTES, Settings

__all__ = ["Members", "members_of"]

_FRAME = re.compile(r"s_((?:[A-Z]\d{3,6})+)\.tif", re.IGNORECASE)
_AXIS = re.compile(r"([A-Z])(\d+)")
_INFO = "OibInfo.txt"
_FRAMES = ".oif.files"


class Members(ABC):
    """The settings and the frames that make up a recording.

    Attributes
    ----------
    name : str
        The recording's, safe to print.
    main : Settings
    """

    name: str
    main: Settings

    @abstractmethod
    def names(self) -> Sequence[str]:
        """Return the names of all members, without a folder."""

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
        """Return each frame's position by axis, from 1 on; what else is a TIFF (a reference, a preview) is none."""
        found = {name: _FRAME.fullmatch(name) for name in self.names()}
        return {name: _position(match[1]) for name, match in found.items() if match}


class _OneFile(Members):
    """An ``.oib``: a compound file whose stream ``OibInfo.txt`` names the others."""

    def __init__(self, path: str) -> None:
        self._file = PositionedFile(path)
        self.name = self._file.name
        self._compound = CompoundFile(self._file)
        info = self._read(_INFO, _INFO).sections.get("OibSaveInfo", {})
        packing = info.get("Compression", "None")
        if packing not in ("None", "", "0"):
            raise UnsupportedRecordingError(
                f"{self.name} is packed by {printable(packing)!r}, which is not read; save it as .oif"
            )
        streams = {key: value for key, value in info.items() if key.startswith("Stream")}
        main = info.get("MainFileName", "")
        if main not in streams:
            raise CorruptRecordingError(
                f"{self.name}: {_INFO} names {printable(main)!r} as its main file, and no such stream"
            )
        self.main = self._read(main, streams[main])
        self._streams = {re.split(r"[\\/]", value)[-1]: key for key, value in streams.items()}

    def names(self) -> Sequence[str]:
        return tuple(self._streams)

    def settings(self, name: str) -> Settings:
        return self._read(self._streams[name], name)

    def frames(self, names: Sequence[str]) -> Frames:
        return StreamFrames(self._compound, [(self._streams[name], name) for name in names])

    def close(self) -> None:
        self._file.close()

    def _read(self, stream: str, called: str) -> Settings:
        found = self._compound.stream(stream, called=called)
        return Settings.of(found.read(0, min(found.size, MOST_BYTES)), found.name)


class _Folder(Members):
    """An ``.oif``, and the folder beside it that holds the frames."""

    def __init__(self, path: str) -> None:
        file = PositionedFile(path)
        self.name = file.name
        try:
            self.main = _settings(file, self.name)
        finally:
            file.close()
        self._folder, self._names = self._found(path)

    def names(self) -> Sequence[str]:
        return self._names

    def settings(self, name: str) -> Settings:
        file = PositionedFile(os.path.join(self._folder, name))
        try:
            return _settings(file, f"{self.name}: {file.name}")
        finally:
            file.close()

    def frames(self, names: Sequence[str]) -> Frames:
        return FileFrames(self._folder, names, frozenset(self._names))

    def close(self) -> None:
        """Nothing is held open."""

    def _found(self, path: str) -> tuple[str, tuple[str, ...]]:
        """Return the folder of the frames and its names: named as the file is, or as it was when it was written."""
        place, name = os.path.split(path)
        told = re.split(r"[\\/]", self.main.text("ProfileSaveInfo", "PtyFileNameS"))
        wanted = [f"{name}.files", f"{os.path.splitext(name)[0]}{_FRAMES}", told[0] if len(told) == 2 else ""]
        there = {entry.casefold(): entry for entry in _listed(place)}
        found = next((there[entry.casefold()] for entry in wanted if entry.casefold() in there), None)
        if found is None:
            raise SourceNotFoundError(
                f"{self.name} tells of frames in the folder {self.name}.files, which is not beside it; copy both from the microscope's computer"
            )
        folder = os.path.join(place, found)
        return folder, tuple(sorted(_listed(folder)))


def members_of(path: Any) -> Members:
    """Return the members of the recording that a file, or the one ``.oif`` in a folder, begins.

    Parameters
    ----------
    path : str, os.PathLike or a list of one

    Raises
    ------
    SourceKindError
        Several files, or a folder with none or several.
    CorruptRecordingError, TruncatedRecordingError
        It is no recording of FluoView, or damaged.
    """
    if not isinstance(path, str | os.PathLike):
        several = list(path)
        if len(several) != 1:
            raise SourceKindError(
                f"one .oib or .oif is one recording, and {len(several)} were given; open each by itself"
            )
        (path,) = several
    found = os.path.abspath(os.fspath(path))
    if os.path.isdir(found):
        found = _settings_of(found)
    file = PositionedFile(found)
    is_one_file = file.read(0, len(SIGNATURE)) == SIGNATURE
    file.close()
    return _OneFile(found) if is_one_file else _Folder(found)


def _settings_of(folder: str) -> str:
    """Return the one ``.oif`` in a folder; of a folder of frames, the one beside it."""
    place, name = os.path.split(folder)
    if name.casefold().endswith(_FRAMES):
        wanted = name[: -len(".files")].casefold()
        found = next((entry for entry in _listed(place) if entry.casefold() == wanted), None)
        if found is None:
            raise SourceNotFoundError(
                f"{printable(name)} holds the frames of {printable(name[: -len('.files')])}, which is not beside it; "
                "copy both from the microscope's computer"
            )
        return os.path.join(place, found)
    names = sorted(entry for entry in _listed(folder) if entry.lower().endswith(".oif"))
    if len(names) != 1:
        words = f"{len(names)} ({', '.join(map(printable, names[:3]))}, ...)" if names else "none"
        raise SourceKindError(
            f"of the files in {printable(folder)} one .oif is opened, and there is {words}; name the file"
        )
    return os.path.join(folder, names[0])


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder or ".")
    except PermissionError as error:
        raise SourcePermissionError(f"{printable(folder)} may not be listed: {error.strerror}") from error
    except OSError as error:
        raise SourceReadError(f"{printable(folder)} could not be listed: {error.strerror or error}") from error


def _settings(file: PositionedFile, name: str) -> Settings:
    return Settings.of(file.read(0, MOST_BYTES), name)


def _position(words: str) -> dict[str, int]:
    return {letter: int(number) for letter, number in _AXIS.findall(words.upper())}

"""The files of a Miniscope recording: sessions, devices, their videos and the files next to them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from roiextractors_core.errors import (
    RoiExtractorsError,
    SourceKindError,
    StreamChoiceError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import Source, folder_names, is_file, is_folder

__all__ = ["Device", "Session", "find_device", "holds_sessions", "is_video_of_scope", "json_of", "sessions_of"]

_MAX_FOLDERS = 2000
# Digits of a video's number; longer ones are times or dates, which say nothing of the videos before
_MAX_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Device:
    """The folder of one device.

    Attributes
    ----------
    folder : str
    videos : tuple of str
        Paths, in the order of recording.
    numbers : tuple of int
        The number in each video's name.
    generation : int
        3 or 4.
    facts : mapping
        The device's ``metaData.json``; empty where there is none.
    left_out : tuple of str
        Names of other videos in the folder.
    """

    folder: str
    videos: tuple[str, ...]
    numbers: tuple[int, ...]
    generation: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's name, by which a device is chosen."""
        return os.path.basename(self.folder)

    @property
    def kind(self) -> str:
        """``deviceType``, or an empty string."""
        value = self.facts.get("deviceType")
        return value if isinstance(value, str) else ""

    @property
    def is_scope(self) -> bool:
        """Whether this is a miniscope rather than a behaviour camera, by its type or else the name of its folder."""
        if self.kind:
            return self.kind.lower().startswith("miniscope")
        return not re.match(r"(behav|webcam|minicam|camera)", self.name.lower())


@dataclass(frozen=True, slots=True)
class Session:
    """One recording of all devices at the same time.

    Attributes
    ----------
    folder : str
    devices : tuple of Device
        Behaviour cameras among them.
    """

    folder: str
    devices: tuple[Device, ...]

    @property
    def name(self) -> str:
        """The folder's name, by which a session is chosen."""
        return os.path.basename(self.folder)

    @property
    def scopes(self) -> tuple[Device, ...]:
        """The devices that are miniscopes."""
        return tuple(device for device in self.devices if device.is_scope)


def find_device(path: str, *, session: str | None = None, device: str | None = None) -> Device:
    """Return the one device that a path and the choices name.

    Parameters
    ----------
    path : str
        A video, ``metaData.json``, ``timeStamps.csv``, ``timestamp.dat``, ``settings_and_notes.dat``; the folder of a device,
        of a session, or of several sessions.
    session, device : str, optional
        Names of folders.

    Raises
    ------
    StreamChoiceError
        There are several and none was named, or the named one does not exist.
    UnsupportedRecordingError
        It is a behaviour camera.
    SourceKindError
        The path contains no miniscope.
    """
    sessions = sessions_of(path)
    if not sessions:
        raise SourceKindError(f"{printable(path)} does not contain videos of a Miniscope")
    chosen: Session = _chosen(path, "session", sessions, session, lambda one: one.name)
    scopes = chosen.scopes
    if not scopes:
        raise _only_cameras(chosen.devices)
    found: Device = _chosen(chosen.folder, "device", scopes, device, lambda one: one.name)
    return found


def sessions_of(path: str) -> tuple[Session, ...]:
    """Return the sessions at a path, each with the devices that match the path."""
    if not is_folder(path):
        return _sessions_at_file(path)
    own = _device_at(path)
    if own is not None:
        return (Session(os.path.dirname(path), (own,)),)
    one = _session_at(path)
    if one.devices:
        return (one,)
    below = (_folder_session(os.path.join(path, name)) for name in _folders(path))
    return tuple(session for session in below if session.scopes)


def is_video_of_scope(source: Source) -> bool:
    """Return whether a video is in the folder of a miniscope, not of a behaviour camera; a probe."""
    if source.name.lower().startswith("behavcam"):
        return False
    device = _device_at(str(source.path.parent), given=source.name)
    return device is not None and device.is_scope


def holds_sessions(source: Source) -> bool:
    """Return whether a folder contains sessions with a miniscope; a probe."""
    return any(
        # Numbered videos alone are not evidence: other software numbers its videos too
        scope.facts.get("deviceType") or scope.generation == 3 or _has(scope.folder, "timeStamps.csv")
        for session in sessions_of(str(source.path))
        for scope in session.scopes
    )


def json_of(folder: str, name: str = "metaData.json") -> Mapping[str, Any]:
    """Return the JSON object in a file of a folder; empty if there is none."""
    path = _has(folder, name)
    if not path:
        return {}
    try:
        with Source(path) as source:
            found = source.json
    except (RoiExtractorsError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def _chosen(path: str, option: str, found: Sequence[Any], wanted: str | None, name: Callable[[Any], str]) -> Any:
    names = [name(one) for one in found]
    if wanted is None and len(found) == 1:
        return found[0]
    if wanted not in names:
        raise StreamChoiceError.for_option(os.path.basename(path) or path, option, names, seen=wanted)
    return found[names.index(wanted)]


def _only_cameras(devices: Iterable[Device]) -> UnsupportedRecordingError:
    camera = next(iter(devices))
    kind = f" ({printable(camera.kind)})" if camera.kind else ""
    return UnsupportedRecordingError(
        f"{printable(camera.name)} is a behaviour camera{kind}, not a miniscope; "
        f"open one of its videos instead: open({printable(camera.videos[0])!r}, format='video')"
    )


def _sessions_at_file(path: str) -> tuple[Session, ...]:
    folder, name = os.path.dirname(path), os.path.basename(path)
    if name.lower().startswith("behavcam"):
        raise UnsupportedRecordingError(
            f"{printable(name)} is from a behaviour camera, not a miniscope; open it with format='video'"
        )
    is_video = _is_avi(path)
    device = _device_at(folder, given=name if is_video else "")
    if device is not None:
        return (Session(os.path.dirname(folder), (device,)),)
    one = _session_at(folder)
    return (one,) if one.devices else ()


def _folder_session(folder: str) -> Session:
    own = _device_at(folder)
    return Session(folder, (own,)) if own is not None else _session_at(folder)


def _session_at(folder: str) -> Session:
    devices = (_device_at(os.path.join(folder, name)) for name in _folders(folder))
    return Session(folder, tuple(device for device in devices if device is not None and _is_told(device)))


def _is_told(device: Device) -> bool:
    """Return whether a name or a file next to the videos shows that Miniscope software wrote them."""
    return device.generation == 3 or "deviceType" in device.facts or bool(_has(device.folder, "timeStamps.csv"))


def _device_at(folder: str, given: str = "") -> Device | None:
    names = _names(folder)
    third = _numbered(names, r"mscam(\d+)\.avi")
    # V3 names are checked first: they are unmistakable, whereas other software numbers its videos as V4 does
    if third and (not given or re.fullmatch(r"mscam.*", given.lower())):
        return _device(folder, third, 3, given, names)
    fourth = _numbered(names, r"(\d+)\.avi")
    if not fourth and not given:
        return None
    return _device(folder, fourth, 4, given, names)


def _device(folder: str, numbered: list[tuple[int, str]], generation: int, given: str, names: Sequence[str]) -> Device:
    if given and given not in {name for _, name in numbered}:
        numbered = [(0, given)]  # a video with another name is a recording of its own
    chosen = {name for _, name in numbered}
    # V3 writes the behaviour camera's videos into the same folder
    others = (name for name in names if name.lower().endswith(".avi") and name not in chosen)
    return Device(
        folder=folder,
        videos=tuple(os.path.join(folder, name) for _, name in numbered),
        numbers=tuple(number for number, _ in numbered),
        generation=generation,
        facts=json_of(folder) if generation == 4 else {},  # V3 writes no metaData.json
        left_out=tuple(name for name in others if not name.lower().startswith("behavcam")),
    )


def _numbered(names: Iterable[str], pattern: str) -> list[tuple[int, str]]:
    found = [(match[1], name) for name in names if (match := re.fullmatch(pattern, name.lower()))]
    return sorted((int(digits), name) for digits, name in found if len(digits) <= _MAX_DIGITS)


def _is_avi(path: str) -> bool:
    try:
        with Source(path) as source:
            head = source.head(12)
    except RoiExtractorsError:
        return False
    return head[:4] == b"RIFF" and head[8:12] == b"AVI "


def _names(folder: str) -> tuple[str, ...]:
    try:
        return folder_names(folder)
    except OSError:
        return ()


def _folders(folder: str) -> list[str]:
    names = [name for name in _names(folder) if not name.startswith(".")]
    return [name for name in names[:_MAX_FOLDERS] if is_folder(os.path.join(folder, name))]


def _has(folder: str, name: str) -> str:
    """Return the path of a file in a folder, ignoring case; empty if there is none."""
    direct = os.path.join(folder, name)
    if is_file(direct):
        return direct
    return next((os.path.join(folder, n) for n in _names(folder) if n.lower() == name.lower()), "")

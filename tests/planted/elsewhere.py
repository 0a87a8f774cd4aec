"""Windows and macOS on Linux: what the packages of this repository see of the system, and what the system refuses.

Import it before ``roiextractors_core``, in a process of its own, and call :func:`disguise`; or run other tests in disguise:
``DISGUISE=windows python -m pytest -p tests.planted.elsewhere ...``.  Other libraries and the kit see Linux.
``DISGUISE=editor`` changes only the texts of recordings.

Windows here has no calls and modules of POSIX, opens in text mode without ``os.O_BINARY``, opens no folder, refuses to rename or
delete what is open, to rename over a name that exists, symbolic links, and names that it reserves; listings have no inode.  Its separator and
drives need real ones.
"""

from __future__ import annotations

import builtins
import errno
import os
import re
import shutil
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["disguise", "forget_inodes", "open_below", "write_companions"]

_OWN = ("roiextractors_", "benchmarks")
_NOT_DISGUISED = ("roiextractors_core.testing",)  # the kit counts open files by means of Linux
_MODULES = {"windows": {"fcntl", "resource", "pwd", "grp", "termios"}, "macos": set[str]()}
_LINUX = re.compile(
    r"sched_\w+|posix_f\w+|O_(DIRECT|PATH|TMPFILE|LARGEFILE|NOATIME)|copy_file_range|memfd_create|splice|eventfd\w*"
)
_POSIX = re.compile(
    r"p?(read|write)v2?|p(read|write)|fork\w*|register_at_fork|wait\w*|mkfifo|mknod|SEEK_(DATA|HOLE)|sysconf\w*|f?pathconf\w*"
    r"|O_(CLOEXEC|NONBLOCK|DIRECTORY|NOFOLLOW|SYNC|DSYNC|NOCTTY|ACCMODE)|(get|set)\w*[ug]id|get(pgrp|sid|priority|groups)"
    r"|f?(chown|chdir|statvfs)|lchown|fchmod|sendfile|nice|uname|sync|killpg|lockf|F_(U|T)?LOCK|F_TEST|RTLD_\w+|WNOHANG|fdatasync|truncate64"
)
_KEPT = {"write", "read", "waitpid", "waitstatus_to_exitcode", "chdir"}
_RESERVED = re.compile(r'[\x00-\x1f<>:"\\|?*]|[. ]$|^(con|prn|aux|nul|com[1-9]|lpt[1-9])(\.|$)', re.IGNORECASE)
_O_BINARY = 1 << 29
_APPLE_DOUBLE = b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(4080)


def disguise(system: str) -> None:
    """Let this process look like ``"windows"`` or ``"macos"`` until it ends."""
    places = {
        "os": _Disguised("os", os, _os_of(system), _hidden(system)),
        "sys": _Disguised("sys", sys, {"platform": {"windows": "win32", "macos": "darwin"}[system]}, None),
    }
    imported = builtins.__import__

    def disguised_import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if level == 0 and globals is not None:
            caller = globals.get("__name__") or ""
            if caller.startswith(_OWN) and not caller.startswith(_NOT_DISGUISED):
                if name in _MODULES[system]:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
                if name in places:
                    return places[name]
        return imported(name, globals, locals, fromlist, level)

    builtins.__import__ = disguised_import
    if system == "windows":
        shutil._use_fd_functions = False  # type: ignore[attr-defined]
        sys.addaudithook(_refuse)
        os.rename = _rename_unless_taken(os.rename)
        os.replace = _replace_no_folder(os.replace)
    if sys.flags.warn_default_encoding:  # the one of Windows is a code page
        warnings.filterwarnings("error", category=EncodingWarning, module="roiextractors_")


class _Disguised(types.ModuleType):
    """A module with other values, and without some names."""

    def __init__(self, name: str, real: types.ModuleType, values: dict[str, Any], hidden: Callable[[str], bool] | None):
        super().__init__(name)
        self.__dict__.update(_real=real, _hidden=hidden, **values)

    def __getattr__(self, name: str) -> Any:
        if self._hidden is not None and self._hidden(name):
            raise AttributeError(f"module {self.__name__!r} of this system has no attribute {name!r}")
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._real) if self._hidden is None or not self._hidden(name)]


def _hidden(system: str) -> Callable[[str], bool]:
    def is_hidden(name: str) -> bool:
        return name not in _KEPT and bool(_LINUX.fullmatch(name) or (system == "windows" and _POSIX.fullmatch(name)))

    return is_hidden


def _os_of(system: str) -> dict[str, Any]:
    if system == "macos":
        return {}
    return {"name": "nt", "O_BINARY": _O_BINARY, "O_NOINHERIT": 0, "open": _open, "scandir": _scandir}


def _open(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
    if not flags & _O_BINARY and os.fspath(path) != os.devnull:
        raise AssertionError(f"{os.fspath(path)!r} is opened in text mode: its line ends would be changed")
    return os.open(path, flags & ~_O_BINARY, mode, **more)


class _Entry:
    """An entry of a folder; its status comes from the listing, which has no inode."""

    def __init__(self, entry: os.DirEntry[str]) -> None:
        self._entry = entry

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        found = list(self._entry.stat(follow_symlinks=follow_symlinks))
        found[1:4] = [0, 0, 0]  # st_ino, st_dev, st_nlink
        status = self._entry.stat(follow_symlinks=follow_symlinks)
        return os.stat_result(found, {"st_mtime_ns": status.st_mtime_ns, "st_mtime": status.st_mtime})

    def __fspath__(self) -> str:
        return self._entry.path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)


class _scandir:  # as in os
    """A listing, which is an iterator and a context."""

    def __init__(self, path: Any = ".") -> None:
        self._entries = os.scandir(path)
        self.close = self._entries.close

    def __iter__(self) -> Iterator[Any]:
        return map(_Entry, self._entries)

    def __enter__(self) -> _scandir:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def forget_inodes() -> None:
    """Let all files of this process have inode 0, and names whose case does not matter, as on a network drive of Windows."""

    def without(look: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def look_without(*arguments: Any, **more: Any) -> os.stat_result:
            status = look(*arguments, **more)
            named = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
            return os.stat_result([status.st_mode, 0, *status[2:]], named)

        return look_without

    os.stat, os.lstat, os.fstat = without(os.stat), without(os.lstat), without(os.fstat)
    os.path.normcase = str.lower  # type: ignore[assignment]


def open_below(path: Any) -> list[str]:
    """Return the files that this process has open or mapped, at a path or in a folder."""
    place = os.path.realpath(os.path.dirname(os.path.abspath(os.fsdecode(path))))
    place = os.path.join(place, os.path.basename(os.fsdecode(path)))
    opened = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            opened.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:  # of the listing itself
            continue
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as lines:
        opened.update(line.rstrip("\n").split(maxsplit=5)[5] for line in lines if "/" in line)
    return sorted(name for name in opened if name == place or name.startswith(f"{place}/"))


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("os.remove", "os.rename"):
        _require_closed(arguments[0])
    if event == "os.rename" and os.path.isfile(arguments[1]):
        _require_closed(arguments[1])
    if event == "open" and isinstance(arguments[0], str | bytes):
        path, mode, flags = arguments
        is_temporary = (
            sys._getframe(1).f_globals.get("__name__") == "tempfile"
        )  # which opens a folder's name with an opener
        if not is_temporary and os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        if (mode and mode[0] in "wax") or (flags or 0) & os.O_CREAT:
            _require_name(path)
    elif event == "os.symlink":
        error = OSError(errno.EINVAL, "A required privilege is not held by the client", arguments[1])
        error.winerror = 1314  # type: ignore[attr-defined]
        raise error
    elif event in ("os.mkdir", "os.rename", "os.link"):
        _require_name(arguments[0 if event == "os.mkdir" else 1])


def _beside(place: Path) -> Iterator[Path]:
    """Yield the files and folders of a recording: all in its folder, and all below it."""
    yield from place.parent.iterdir()
    if place.is_dir():
        yield from place.rglob("*")


def write_companions(place: Path) -> None:
    """Write what macOS leaves beside the files of a recording on a share: AppleDouble files, and the look of each window."""
    folders = {place.parent}
    for path in list(_beside(place)):
        if path.name.startswith("."):
            continue
        folders.add(path.parent)
        path.with_name(f"._{path.name}").write_bytes(_APPLE_DOUBLE)
    for folder in folders:
        (folder / ".DS_Store").write_bytes(b"\0\0\0\x01Bud1" + bytes(200))


def resave_texts(place: Path) -> None:
    """Write the texts of a recording as an editor of Windows saves them: lines end with CR and LF, and a mark begins the file."""
    for path in {path for path in _beside(place) if path.is_file()}:
        content = path.read_bytes()
        try:
            text = content.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError:
            continue
        if text and "\0" not in text:
            path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))


_CHANGES = {"macos": write_companions, "editor": resave_texts}

if os.environ.get("DISGUISE") in _CHANGES:

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(fixturedef: Any) -> Iterator[None]:
        """Change every recording of the kit so."""
        made = yield
        if fixturedef.argname == "recording" and isinstance(made, str | Path):
            _CHANGES[os.environ["DISGUISE"]](Path(made))
        return made


def _require_closed(path: Any) -> None:
    opened = open_below(path)
    if opened:
        raise PermissionError(
            errno.EACCES, "The process cannot access the file because it is being used by another process", *opened[:1]
        )


def _require_name(path: Any) -> None:
    name = os.path.basename(os.fsdecode(path).rstrip("/"))
    if _RESERVED.search(name) and not os.fsdecode(path).startswith("/dev/"):
        raise OSError(
            errno.EINVAL, "The filename, directory name, or volume label syntax is incorrect", os.fsdecode(path)
        )


def _rename_unless_taken(rename: Callable[..., None]) -> Callable[..., None]:
    def rename_if_free(source: Any, target: Any, **more: Any) -> None:
        if os.path.lexists(target) and not os.path.samefile(source, target):
            raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", os.fspath(target))
        rename(source, target, **more)

    return rename_if_free


def _replace_no_folder(replace: Callable[..., None]) -> Callable[..., None]:
    def replace_a_file(source: Any, target: Any, **more: Any) -> None:
        if os.path.isdir(target):
            raise PermissionError(errno.EACCES, "Access is denied", os.fspath(target))
        replace(source, target, **more)

    return replace_a_file


if os.environ.get("DISGUISE") in ("windows", "macos") and "pytest" in sys.modules:
    disguise(os.environ["DISGUISE"])

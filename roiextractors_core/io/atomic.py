"""Files and folders that appear under their name only when they are whole."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import signal
import sys
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["remove_leftovers", "require_room", "write_then_rename"]

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def write_then_rename(
    target: Path, *, overwrite: bool = True, check: Callable[[Path], None] | None = None
) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to the target when the block ends without an error.

    The path has the target's name and is inside a hidden temporary folder next to the target, so that the rename stays on one
    disk. Other files that the block writes into this folder are moved next to the target too, before the target itself. When
    the block raises, the folder is removed, and what was under the target's name before is unchanged. The same happens when
    SIGTERM or SIGHUP end the process, if the block runs in the main thread and nothing else handles the signal. A process that
    is killed leaves the folder; the next call for the same target removes it.

    Parameters
    ----------
    target : pathlib.Path
        The file or folder to write. Its parent must exist.
    overwrite : bool
        Whether what is under the target's name, or under the name of another file of the block, is replaced. An empty folder is
        always replaced by a folder.
    check : callable, optional
        Called with each path just before something is moved there; it raises to prevent that.

    Yields
    ------
    pathlib.Path
        The temporary path. Nothing is there yet.

    Raises
    ------
    FileNotFoundError
        The block ended and nothing is at the temporary path.
    FileExistsError
        Something exists under one of the names, and ``overwrite`` is False.
    """
    remove_leftovers(target)
    folder = target.with_name(f"{_prefix(target)}{uuid.uuid4().hex[:12]}.partial")
    with _removed_at_signals(folder, target):
        lock = None
        try:
            lock = _create_locked(folder)
            partial = folder / "new" / target.name
            partial.parent.mkdir()
            identity = partial.parent.stat()
            yield partial
            if not os.path.samestat(identity, partial.parent.stat()):  # removed, and created again by a library
                raise FileNotFoundError(errno.ENOENT, f"{folder.name} was removed in the meantime")
            if not partial.exists():
                raise FileNotFoundError(f"nothing was written to {partial}")
            _commit(folder, target, overwrite, check)
        finally:
            if fcntl is None and lock is not None:  # Windows removes no file that is open
                os.close(lock)
            _remove(folder, target)
            if fcntl is not None and lock is not None:
                os.close(lock)


def remove_leftovers(target: Path) -> None:
    """Remove what a process that was killed while it wrote the target left next to it.

    Parameters
    ----------
    target : pathlib.Path
        As passed to :func:`write_then_rename`. Temporary folders of processes that are still writing are not touched.
    """
    own = re.compile(rf"{re.escape(_prefix(target))}[0-9a-f]{{12}}\.(partial|new)")
    with contextlib.suppress(OSError):
        for name in [name for name in os.listdir(target.parent) if own.fullmatch(name)]:
            with contextlib.suppress(OSError):
                _remove_if_abandoned(target.with_name(name), target)


def require_room(partial: Path, num_bytes: int) -> None:
    """Raise if the disk has too little free space for a file, before it is written.

    Parameters
    ----------
    partial : pathlib.Path
        The temporary path that a writer received.
    num_bytes : int
        The size of what it is going to write.

    Raises
    ------
    OSError
        ENOSPC, with both figures. ``convert`` adds the target's name.
    """
    free = shutil.disk_usage(partial.parent).free
    if free < num_bytes:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({num_bytes:,} bytes are needed, {free:,} are free)")


# The temporary folder, which the writing process locks: it contains "new" and "old"


def _prefix(target: Path) -> str:
    """Return the beginning of the names of a target's temporary folders; short, since the target's name may have 255 bytes."""
    return f".roiextractors-{zlib.crc32(os.fsencode(target.name)):08x}-"


def _create_locked(folder: Path) -> int | None:
    """Create a folder that is locked from the moment it has its name."""
    if fcntl is None:  # Windows renames no folder with an open file, and deletes no open file, which is lock enough
        folder.mkdir()
        return os.open(folder / "lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    unnamed = folder.with_suffix(".new")
    while True:
        unnamed.mkdir()
        try:
            descriptor = _lock(unnamed, create=True)
            unnamed.rename(folder)
            return descriptor
        except (FileNotFoundError, BlockingIOError):  # another process took it for abandoned, before it was locked
            if not folder.parent.is_dir():
                raise
        except BaseException:
            shutil.rmtree(unnamed, ignore_errors=True)
            raise


def _lock(folder: Path, *, create: bool) -> int | None:
    """Lock a folder and return the descriptor; None where the file system has no locks.

    Raises
    ------
    BlockingIOError
        Another process has locked it.
    """
    # A network share locks only what is open for writing, so no folder but a file in it
    for path, flags in ((folder, os.O_RDONLY), (folder / "lock", os.O_RDWR | (os.O_CREAT if create else 0))):
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                os.close(descriptor)
                raise
            except OSError:
                os.close(descriptor)
    return None


def _remove_if_abandoned(folder: Path, target: Path) -> None:
    if fcntl is None:
        os.unlink(folder / "lock")  # refused while its process is alive
        _restore(folder, target)
        return
    descriptor = _lock(folder, create=False)
    if descriptor is None:
        return
    try:
        _restore(folder, target)
    finally:
        os.close(descriptor)


def _restore(folder: Path, target: Path) -> None:
    """Undo what a process did that was killed, unless it had finished, and remove its folder."""
    partial = folder / "new" / target.name
    if os.path.lexists(partial) and not _is_same(partial, target):
        _undo(folder, target)
    _remove(folder, target)


def _remove(folder: Path, target: Path) -> None:
    with contextlib.suppress(OSError):
        if any(not os.path.lexists(target.with_name(path.name)) for path in (folder / "old").iterdir()):
            return  # what was replaced could not be given its name back, and is not lost
    for _ in range(20):  # threads of a library that failed may still be writing into it
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.05)


@contextmanager
def _removed_at_signals(folder: Path, target: Path) -> Iterator[None]:
    """Remove a folder when a signal ends the process that nothing else handles."""
    process = os.getpid()

    def end(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() == process:  # not in a forked child
            _remove(folder, target)
            shutil.rmtree(folder.with_suffix(".new"), ignore_errors=True)
        os.kill(os.getpid(), number)

    handled = []
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            with contextlib.suppress(ValueError):  # another interpreter than the main one
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, end)
                    handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            if signal.getsignal(number) is end:
                signal.signal(number, signal.SIG_DFL)


# The final names


def _commit(folder: Path, target: Path, overwrite: bool, check: Callable[[Path], None] | None) -> None:
    """Move everything to its name, the target last; undo all of it if one of them cannot be moved."""
    partial = folder / "new" / target.name
    moves = [*sorted(path for path in partial.parent.iterdir() if path.name != target.name), partial]
    for path in moves:
        destination = target.with_name(path.name)
        if check is not None:
            check(destination)
        if not overwrite and os.path.lexists(destination) and not (_is_folder(path) and _is_empty(destination)):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(destination))
        if path.is_file():
            _flush(path)
    (folder / "old").mkdir()
    try:
        for path in moves:
            destination = target.with_name(path.name)
            if overwrite:
                _replace(path, destination, folder / "old" / path.name)
            else:
                _place(path, destination)
    except BaseException:
        _undo(folder, target)
        raise


def _flush(path: Path) -> None:
    """Wait until a file is on the disk: on a network share, a full disk is reported only then."""
    with path.open("r+b") as stream:
        try:
            os.fsync(stream.fileno())
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):  # a file system that cannot be asked
                raise


def _place(path: Path, destination: Path) -> None:
    """Move a file or folder to a name that is free; a link fails where a rename would replace."""
    if _is_folder(path):
        if os.name == "nt" and _is_empty(destination):  # Windows renames to a name only if it is free
            destination.rmdir()
        path.rename(destination)  # fails unless the name is free or that of an empty folder
        return
    try:
        os.link(path, destination)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(destination):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(destination)) from None
        path.rename(destination)


def _replace(path: Path, destination: Path, old: Path) -> None:
    if not os.path.lexists(destination):
        _place(path, destination)
        return
    if not _is_folder(destination) and not _is_folder(path):
        if destination.is_file() and not destination.is_symlink():
            with contextlib.suppress(OSError):  # a file system without hard links
                os.link(destination, old)
        path.replace(destination)
        return
    if _exchange(path, destination):
        return
    # No other call replaces a folder that is not empty in one step: the old one waits in the temporary folder
    destination.rename(old)
    path.rename(destination)


def _undo(folder: Path, target: Path) -> None:
    """Give every name back what it had before the target itself was moved."""
    new, old = folder / "new", folder / "old"
    with contextlib.suppress(OSError):
        for path in new.iterdir():
            if _is_same(path, target.with_name(path.name)):  # placed by a link
                target.with_name(path.name).unlink()
    with contextlib.suppress(OSError):
        for path in old.iterdir():
            destination = target.with_name(path.name)
            if not _is_folder(path) or not os.path.lexists(destination):
                os.replace(path, destination)


def _exchange(path: Path, destination: Path) -> bool:
    """Exchange two names in one step; return False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    names = os.fsencode(path), os.fsencode(destination)
    return bool(call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_EXCHANGE)) == 0)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_same(path: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        here, there = path.lstat(), other.lstat()
        return here.st_ino != 0 and os.path.samestat(here, there)  # some network drives number no file
    return False


def _is_empty(path: Path) -> bool:
    return _is_folder(path) and not any(path.iterdir())

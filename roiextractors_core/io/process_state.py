"""Notices what the code of a plugin changes in the process, and restores it."""

from __future__ import annotations

import functools
import gc
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

__all__ = ["PROCESS_STATE", "StateItem", "process_state", "restore_process_state", "run_watched"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StateItem:
    """Something that belongs to the whole process.

    Attributes
    ----------
    get : callable
        Returns a value that can be compared.
    restore : callable
        Takes that value.
    is_shared : bool
        Whether other threads have reason to change it, so that a change cannot be attributed while there are any.
    """

    get: Callable[[], Any]
    restore: Callable[[Any], object]
    is_shared: bool = False


def process_state() -> dict[str, Any]:
    """Return what a plugin must not change when it is imported or opens a recording."""
    is_alone = len(sys._current_frames()) == 1  # threading.active_count() does not count those that C code started
    return {name: item.get() for name, item in PROCESS_STATE.items() if is_alone or not item.is_shared}


def restore_process_state(before: Mapping[str, Any]) -> tuple[str, ...]:
    """Restore what has changed since, where that is possible, and return its names.

    Parameters
    ----------
    before : mapping
        The result of :func:`process_state`.
    """
    changed = []
    for name, now in process_state().items():
        if name in before and before[name] is not None and now != before[name]:
            changed.append(name)
            try:
                PROCESS_STATE[name].restore(before[name])
            except Exception:  # noqa: BLE001 - a folder that no longer exists, a stream that is closed: it is reported, and remains
                continue
    return tuple(changed)


def run_watched(call: Callable[..., T], *arguments: Any) -> tuple[T, float, int, tuple[str, ...]]:
    """Run code of a plugin, and restore what it changed in the process.

    Parameters
    ----------
    call : callable
        Called with the arguments.

    Returns
    -------
    tuple
        The result, the seconds that it took, the number of modules that were imported, and the names of what it changed.
    """
    before, start, num_before = process_state(), time.perf_counter(), len(sys.modules)
    result = call(*arguments)
    seconds, num_modules = time.perf_counter() - start, len(sys.modules) - num_before
    return result, seconds, num_modules, restore_process_state(before)


def _restore_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _general_filters() -> list[Any]:
    """Return the filters that concern every library; one for its own messages concerns the library that adds it."""
    return [entry for entry in warnings.filters if entry[1] is entry[3] is None and entry[2].__module__ == "builtins"]


def _restore_filters(before: list[Any]) -> None:
    own = [entry for entry in warnings.filters if entry not in _general_filters()]
    warnings.filters[:] = [*own, *before]  # type: ignore[index]
    with warnings.catch_warnings():  # Python keeps what it decided by the old filters until it is told of a change
        pass


def _get_logging() -> Any:
    root = logging.getLogger()
    return root.level, root.handlers[:], root.filters[:], root.manager.disable


def _restore_logging(before: Any) -> None:
    root = logging.getLogger()
    level, root.handlers[:], root.filters[:], root.manager.disable = before
    root.setLevel(level)


_UNTOUCHED = "as numpy seeds it when it is imported"


def _get_numpy_random() -> Any:
    if "numpy.random" not in sys.modules:  # it is slow to import, and numpy imports it when it is first used
        return _UNTOUCHED
    name, key, position, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the one of the process
    if (int(key[0]), position) == _untouched_numpy_random():
        return _UNTOUCHED
    return name, np.asarray(key).tobytes(), position, *rest


@functools.cache
def _untouched_numpy_random() -> tuple[int, int]:
    _, key, position, *_ = np.random.RandomState().get_state(legacy=True)
    return int(key[0]), int(position)


def _restore_numpy_random(before: Any) -> None:
    if before == _UNTOUCHED:
        state = np.random.RandomState().get_state(legacy=True)
    else:
        state = (before[0], np.frombuffer(before[1], np.uint32), *before[2:])
    np.random.set_state(state)  # noqa: NPY002


def _get_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None


def _get_signals() -> Any:
    """Return the handlers, which only the main thread can set."""
    if threading.current_thread() is not threading.main_thread():
        return None
    return {number: signal.getsignal(number) for number in _SIGNALS}


def _restore_signals(before: Any) -> None:
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGUSR1", "SIGUSR2", "SIGBREAK")
    if hasattr(signal, name)
)


def _restore_collection(before: tuple[bool, tuple[int, int, int]]) -> None:
    gc.set_threshold(*before[1])
    if before[0]:
        gc.enable()
    else:
        gc.disable()


def _attribute(name: str) -> StateItem:
    return StateItem(lambda: getattr(sys, name), lambda before: setattr(sys, name, before), is_shared=True)


def _restore_list(values: list[Any]) -> Callable[[Any], None]:
    def restore(before: Any) -> None:
        values[:] = before

    return restore


PROCESS_STATE: Mapping[str, StateItem] = {
    "the environment": StateItem(lambda: dict(os.environ), _restore_environment, is_shared=True),
    "the working folder": StateItem(_get_folder, os.chdir),
    "the locale": StateItem(
        lambda: locale.setlocale(locale.LC_ALL), lambda before: locale.setlocale(locale.LC_ALL, before)
    ),
    "the recursion limit": StateItem(sys.getrecursionlimit, sys.setrecursionlimit),
    "sys.path": StateItem(lambda: sys.path[:], _restore_list(sys.path), is_shared=True),
    "the warning filters": StateItem(_general_filters, _restore_filters, is_shared=True),
    "warnings.showwarning": StateItem(
        lambda: warnings.showwarning, lambda before: setattr(warnings, "showwarning", before), is_shared=True
    ),
    "logging": StateItem(_get_logging, _restore_logging, is_shared=True),
    "the state of the random module": StateItem(random.getstate, random.setstate, is_shared=True),
    "the state of numpy.random": StateItem(_get_numpy_random, _restore_numpy_random, is_shared=True),
    "numpy's error handling": StateItem(np.geterr, lambda before: np.seterr(**before)),
    "numpy's print options": StateItem(np.get_printoptions, lambda before: np.set_printoptions(**before)),
    "signal handlers": StateItem(_get_signals, _restore_signals),
    "sys.stdout": _attribute("stdout"),
    "sys.stderr": _attribute("stderr"),
    "sys.excepthook": _attribute("excepthook"),
    "garbage collection": StateItem(
        lambda: (gc.isenabled(), gc.get_threshold()),
        _restore_collection,
        is_shared=True,
    ),
    "the default timeout of sockets": StateItem(
        lambda: (socket.getdefaulttimeout(),), lambda before: socket.setdefaulttimeout(*before), is_shared=True
    ),
}

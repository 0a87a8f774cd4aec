"""Third-party libraries: which are missing, how to install them, and what their errors mean."""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import CorruptRecordingError, MissingDependencyError, RoiExtractorsError, printable

__all__ = [
    "describe_missing",
    "import_library",
    "is_requirement",
    "library_errors",
    "missing_libraries",
    "missing_module",
]

# Only top-level modules: to look for a module inside of a package, Python imports the package
_REQUIREMENT = re.compile(r"[A-Za-z_]\w*(:[A-Za-z0-9][\w.-]*(\[[\w,.-]+\])?([<>=!~]=?[\w.*,<>=!~]+)?)?")


def is_requirement(text: str) -> bool:
    """Return whether a text is ``"module"``, or ``"module:distribution"`` where pip knows the library by another name."""
    return _REQUIREMENT.fullmatch(text) is not None


def missing_libraries(requires: Iterable[str]) -> tuple[str, ...]:
    """Return the names, as pip knows them, of the libraries that are not installed; nothing is imported.

    Parameters
    ----------
    requires : iterable of str
        Each is ``"module"``, or ``"module:distribution"`` where pip knows the library by another name.
    """
    pairs = (text.partition(":") for text in requires)
    return tuple(distribution or module for module, _, distribution in pairs if not _is_there(module))


def describe_missing(requires: Iterable[str]) -> str:
    """Return which of the libraries are not installed and how to install them; empty if all are installed."""
    missing = missing_libraries(requires)
    if not missing:
        return ""
    # A shell would take the brackets of an extra or a bound for its own
    quoted = " ".join(f'"{name}"' if re.search(r"[\[<>=!~]", name) else name for name in missing)
    how = (
        f"build this application again with {quoted}"
        if getattr(sys, "frozen", False)
        else f"python -m pip install {quoted}"
    )
    *others, last = missing
    return f"needs {', '.join(others)}{' and ' if others else ''}{last}, which {'are' if others else 'is'} not installed: {how}"


def import_library(requirement: str, subject: str, *, submodule: str = "") -> Any:
    """Import a library when it is first needed.

    Parameters
    ----------
    requirement : str
        ``"module"``, or ``"module:distribution"`` where pip knows the library by another name.
    subject : str
        What needs it, as the error names it: ``"cells.nd2"``.
    submodule : str
        A module inside the library.

    Raises
    ------
    MissingDependencyError
        It is not installed, or cannot be imported; the message says how to install it.
    """
    module, _, distribution = requirement.partition(":")
    try:
        return importlib.import_module(f"{module}.{submodule}" if submodule else module)
    except ImportError as error:
        name = distribution or module
        words = describe_missing((requirement,)) or (
            f"needs {name}, which cannot be imported ({printable(error)}): python -m pip install --upgrade {name}"
        )
        raise MissingDependencyError(f"{subject} {words}") from error


def missing_module(error: BaseException) -> str:
    """Return the sentence of :func:`describe_missing` if an error is the import of a library that is not installed, else empty."""
    module = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return describe_missing((module,)) if is_requirement(module) else ""


def _is_there(module: str) -> bool:
    if (
        module in sys.modules
    ):  # find_spec raises for a module without a spec; None stands for one that must not be imported
        return sys.modules[module] is not None
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a finder of some other library may refuse the name
        return False


@contextlib.contextmanager
def library_errors(name: str, library: str, *, reads_pixels: bool = False) -> Iterator[None]:
    """Raise the errors of another library for a damaged file as :class:`CorruptRecordingError`.

    Errors of this project, of the disk and of imports pass through.

    Parameters
    ----------
    name : str
        Of the file.
    library : str
        For the message.
    reads_pixels : bool
        Whether the user asked for pixels, which may be more than fits into memory.  Metadata is small, so running out of
        memory while it is read means that a damaged file claims an impossible length.
    """
    try:
        yield
    except (RoiExtractorsError, ImportError):
        raise
    except Exception as error:  # each library raises its own types, down to AssertionError, for a damaged file
        if isinstance(error, MemoryError) and reads_pixels:
            raise
        # EINVAL: an offset that no file can have
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        words = f"{type(error).__name__}: {printable(error)[:300]}"
        raise CorruptRecordingError(f"{name} cannot be read by {library}: {words}") from error

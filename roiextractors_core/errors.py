"""The exception tree: one root, each branch also a standard exception.

::

    RoiExtractorsError
    ├── SourceError                      the path cannot be used
    │   ├── SourceNotFoundError          (FileNotFoundError)
    │   ├── SourcePermissionError        (PermissionError)
    │   ├── SourceKindError              (ValueError)  a folder instead of a file, a URL, a pipe
    │   ├── EmptySourceError             (ValueError)
    │   └── SourceReadError              (OSError)     a read failed
    ├── ChoiceError                      (ValueError)  the format or the stream is unclear
    │   ├── UnknownFormatError
    │   │   └── FormatNotInstalledError
    │   ├── AmbiguousFormatError
    │   ├── UnknownOptionError           (TypeError)
    │   └── StreamChoiceError            lists the streams to choose from
    ├── RecordingError                   (ValueError)  the content of the file
    │   ├── CorruptRecordingError
    │   │   └── TruncatedRecordingError  (EOFError)
    │   └── UnsupportedRecordingError    valid, but not supported
    ├── RangeError                       (ValueError, IndexError)
    ├── RangeTypeError                   (TypeError)
    ├── ArithmeticTypeError              (TypeError)
    ├── TimesError                       (ValueError)  times are unknown or invalid
    ├── ClosedRecordingError             (ValueError)
    ├── TargetWriteError                 (OSError)  writing failed, for example on a full disk
    ├── DeclarationError                 (ValueError)  an invalid declaration of a plugin
    ├── PluginError                      (RuntimeError)  an unexpected error in a plugin
    └── MissingDependencyError           (ImportError)

    RoiExtractorsWarning (UserWarning)
    └── IncompleteRecordingWarning       part of the recording is missing

Messages say what is wrong, where, what was seen, and what to do.  Names from files pass through
:func:`printable`, so that no control character reaches a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "ArithmeticTypeError",
    "AmbiguousFormatError",
    "ChoiceError",
    "ClosedRecordingError",
    "CorruptRecordingError",
    "DeclarationError",
    "EmptySourceError",
    "FormatNotInstalledError",
    "IncompleteRecordingWarning",
    "MissingDependencyError",
    "PluginError",
    "RangeError",
    "RangeTypeError",
    "RecordingError",
    "RoiExtractorsError",
    "RoiExtractorsWarning",
    "SourceError",
    "SourceKindError",
    "SourceNotFoundError",
    "SourcePermissionError",
    "SourceReadError",
    "StreamChoiceError",
    "TargetWriteError",
    "TimesError",
    "TruncatedRecordingError",
    "UnknownFormatError",
    "UnknownOptionError",
    "UnsupportedRecordingError",
]


class RoiExtractorsError(Exception):
    """Base class of all errors that this library raises."""


class SourceError(RoiExtractorsError):
    """The path cannot be used, whatever its format."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """Nothing is at the path."""


class SourcePermissionError(SourceError, PermissionError):
    """The path exists, but permission to read it was denied."""


class SourceKindError(SourceError, ValueError):
    """The path is of the wrong kind: a folder instead of a file, a URL, a pipe."""


class EmptySourceError(SourceError, ValueError):
    """The file or folder is empty."""


class SourceReadError(SourceError, OSError):
    """The operating system failed while reading, or the file changed since it was opened."""


class ChoiceError(RoiExtractorsError, ValueError):
    """The format or the stream to open is unknown or ambiguous."""


class UnknownFormatError(ChoiceError):
    """No installed format recognises the source."""


class FormatNotInstalledError(UnknownFormatError):
    """The format is known, but the plugin that reads it is not installed."""


class AmbiguousFormatError(ChoiceError):
    """Two formats match the source equally well."""


class UnknownOptionError(ChoiceError, TypeError):
    """The format has no such option."""


class StreamChoiceError(ChoiceError):
    """A recording has several streams, and none or an unknown one was named.

    ``option`` is the keyword to pass to ``open``, for example ``"channel"``, and ``choices`` are its values.
    """

    # The keywords have defaults because an error is unpickled with its message alone; the attributes follow
    def __init__(self, message: str, *, option: str = "", choices: Iterable[object] = ()) -> None:
        super().__init__(message)
        self.option = option
        self.choices = tuple(choices)

    @classmethod
    def for_option(cls, name: str, option: str, choices: Iterable[object], seen: object = None) -> StreamChoiceError:
        """Create the error with the usual message: the streams of the recording, and what to type.

        ``name`` is that of the file or folder; ``seen`` is what the user passed, if it is not among the choices.
        """
        values = tuple(choices)
        asked = "" if seen is None else f", not {seen!r}"
        noun = option if option.endswith("s") or len(values) == 1 else f"{option}s"
        example = repr(values[0]) if values else "..."
        text = f"{printable(name)} has the {noun} {listed(values)}{asked}; choose one: open(..., {option}={example})"
        return cls(text, option=option, choices=values)


class RecordingError(RoiExtractorsError, ValueError):
    """The content of the recording cannot be read."""


class CorruptRecordingError(RecordingError):
    """The bytes contradict the format, or each other."""


class TruncatedRecordingError(CorruptRecordingError, EOFError):
    """The file ends before its content does."""


class UnsupportedRecordingError(RecordingError):
    """The recording is valid, but of a kind that this extractor does not support."""


class RangeError(RoiExtractorsError, ValueError, IndexError):
    """A range or index of samples, rows, columns or planes is outside the recording."""

    # Also an IndexError, which numpy raises for an index outside an array: code written for arrays catches it


class RangeTypeError(RoiExtractorsError, TypeError):
    """A range or index is not an integer."""


class ArithmeticTypeError(RoiExtractorsError, TypeError):
    """An operation on pixels that a recording does not compute while reading; the message says to read them."""


class TimesError(RoiExtractorsError, ValueError):
    """Sample times are unknown or invalid."""


class ClosedRecordingError(RoiExtractorsError, ValueError):
    """The recording was closed; open it again."""


class TargetWriteError(RoiExtractorsError, OSError):
    """The operating system failed while a file or folder was written: a full disk, a quota, a folder that vanished."""


class DeclarationError(RoiExtractorsError, ValueError):
    """A declaration of a format is invalid."""


class PluginError(RoiExtractorsError, RuntimeError):
    """A plugin raised an unexpected error, which is the cause of this one."""


class MissingDependencyError(RoiExtractorsError, ImportError):
    """An optional package is not installed; the message names it."""


class RoiExtractorsWarning(UserWarning):
    """Base class of the warnings of this library."""


class IncompleteRecordingWarning(RoiExtractorsWarning):
    """Part of the recording is missing or truncated; the message says which part."""


def printable(text: object) -> str:
    """Return text from a file, or ``str`` of anything, safe to print on one line: control characters and lone surrogates become escapes."""
    shown = str(text)
    # The name of a file may contain commands for the terminal, such as ESC ]0; which sets the title of the window
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode("ascii") for c in shown)


def listed(values: Iterable[object], *, limit: int = 12) -> str:
    """Return the values quoted and joined: ``'a', 'b' and 'c'``; those beyond the limit are only counted."""
    shown = [repr(value) for value in values]  # repr() makes spaces and empty names visible
    if len(shown) > limit:
        shown = [*shown[:limit], f"{len(shown) - limit} more"]
    if len(shown) < 2:
        return "".join(shown)
    return ", ".join(shown[:-1]) + " and " + shown[-1]


def counted(count: int, noun: str) -> str:
    """Return the number with its noun in singular or plural: ``1 sample``, ``1,000 samples``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

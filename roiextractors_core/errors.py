"""The exception tree: one root, each branch also a standard exception.

::

    RoiExtractorsError
    ├── SourceError                      the path itself
    │   ├── SourceNotFoundError          (FileNotFoundError)
    │   ├── SourcePermissionError        (PermissionError)
    │   ├── SourceKindError              (ValueError)  a folder for a file, a URL, a pipe
    │   ├── EmptySourceError             (ValueError)
    │   └── SourceReadError              (OSError)     the disk failed while reading
    ├── ChoiceError                      (ValueError)  finding the format, or what is inside
    │   ├── UnknownFormatError
    │   │   └── FormatNotInstalledError
    │   ├── AmbiguousFormatError
    │   ├── UnknownOptionError           (TypeError)
    │   └── StreamChoiceError            names the streams to choose from
    ├── RecordingError                   (ValueError)  the file's content
    │   ├── CorruptRecordingError
    │   │   └── TruncatedRecordingError  (EOFError)
    │   └── UnsupportedRecordingError    sound, but not readable here
    ├── RangeError                       (ValueError, IndexError)
    ├── RangeTypeError                   (TypeError)
    ├── TimesError                       (ValueError)  no rate known, or times that cannot be
    ├── ClosedRecordingError             (ValueError)
    ├── DeclarationError                 (ValueError)  a plugin declared what cannot be
    ├── PluginError                      (RuntimeError)  a plugin failed while it worked
    └── MissingDependencyError           (ImportError)

    RoiExtractorsWarning (UserWarning)
    └── IncompleteRecordingWarning       something was left out, and what

Messages say what, where, what was seen and what to do now.  Names that come out of files pass
:func:`printable` first, so that no control character reaches a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
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
    "TimesError",
    "TruncatedRecordingError",
    "UnknownFormatError",
    "UnknownOptionError",
    "UnsupportedRecordingError",
]


class RoiExtractorsError(Exception):
    """The root: every error that this library raises on purpose is one of these."""


class SourceError(RoiExtractorsError):
    """The path cannot be used, whatever its format."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """Nothing is at the path."""


class SourcePermissionError(SourceError, PermissionError):
    """The path exists and may not be read."""


class SourceKindError(SourceError, ValueError):
    """The path is not the kind of thing that is needed: a folder for a file, a URL, a pipe."""


class EmptySourceError(SourceError, ValueError):
    """The file holds no byte, or the folder no file."""


class SourceReadError(SourceError, OSError):
    """The operating system failed while reading, or the file changed since it was opened."""


class ChoiceError(RoiExtractorsError, ValueError):
    """What to open, or how, is not settled."""


class UnknownFormatError(ChoiceError):
    """No installed format recognises the source."""


class FormatNotInstalledError(UnknownFormatError):
    """The catalogue knows the format; the plugin that reads it is not installed."""


class AmbiguousFormatError(ChoiceError):
    """Two formats claim the source equally."""


class UnknownOptionError(ChoiceError, TypeError):
    """The format does not take this option."""


class StreamChoiceError(ChoiceError):
    """A recording holds several streams and none, or one that is not there, was named.

    Parameters
    ----------
    message : str
        The sentence for the person.
    option : str
        The keyword to pass to ``open``, for example ``"channel"``.
    choices : iterable of str
        The values that it takes.
    """

    def __init__(self, message: str, *, option: str = "", choices: Iterable[object] = ()) -> None:
        super().__init__(message)
        self.option = option
        self.choices = tuple(choices)

    def __reduce__(self) -> tuple[object, ...]:
        return (_restore_choice, (type(self), self.args[0], self.option, self.choices))

    @classmethod
    def for_option(cls, name: str, option: str, choices: Iterable[object], seen: object = None) -> StreamChoiceError:
        """Make the usual sentence: what the recording holds, and what to type.

        Parameters
        ----------
        name : str
            The recording's file or folder name.
        option : str
            The keyword, for example ``"channel"``.
        choices : iterable
            What there is to choose from; not empty.
        seen : optional
            What the user passed, when it is not among the choices.
        """
        values = tuple(choices)
        asked = "" if seen is None else f", and not {seen!r}"
        plural = option if option.endswith("s") else f"{option}s"
        example = repr(values[0]) if values else "..."
        text = (
            f"{printable(name)} holds the {plural} {listed(values)}{asked}; choose one: open(..., {option}={example})"
        )
        return cls(text, option=option, choices=values)


def _restore_choice(kind: type, message: str, option: str, choices: tuple[object, ...]) -> StreamChoiceError:
    error: StreamChoiceError = kind(message, option=option, choices=choices)
    return error


class RecordingError(RoiExtractorsError, ValueError):
    """The content of the recording stands in the way."""


class CorruptRecordingError(RecordingError):
    """The bytes contradict the format, or each other."""


class TruncatedRecordingError(CorruptRecordingError, EOFError):
    """The file ends before its own content does."""


class UnsupportedRecordingError(RecordingError):
    """The recording is sound, and this extractor does not read its kind."""


class RangeError(RoiExtractorsError, ValueError, IndexError):
    """A range or index of samples, rows, columns or planes lies outside the recording."""


class RangeTypeError(RoiExtractorsError, TypeError):
    """A range or index is not an integer."""


class TimesError(RoiExtractorsError, ValueError):
    """No times can be given: no rate is known, or the times cannot be right."""


class ClosedRecordingError(RoiExtractorsError, ValueError):
    """The recording was closed; open it again."""


class DeclarationError(RoiExtractorsError, ValueError):
    """A format declaration cannot be right."""


class PluginError(RoiExtractorsError, RuntimeError):
    """A plugin failed while it worked; the cause is kept."""


class MissingDependencyError(RoiExtractorsError, ImportError):
    """An optional package is needed; the message names what to install."""


class RoiExtractorsWarning(UserWarning):
    """The root of this library's warnings."""


class IncompleteRecordingWarning(RoiExtractorsWarning):
    """Part of the recording is missing or cut and was left out; the message says which part."""


def printable(text: object) -> str:
    """Return text that came out of a file, safe to print on one line.

    Parameters
    ----------
    text : object
        Anything; converted with ``str``.

    Returns
    -------
    str
        The text with control characters and lone surrogates written as escapes.
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode("ascii") for c in shown)


def listed(values: Iterable[object], *, limit: int = 12) -> str:
    """Return the values quoted and joined: ``'a', 'b' and 'c'``.

    Parameters
    ----------
    values : iterable
        What to show.
    limit : int
        After this many, the rest is counted.
    """
    shown = [repr(value) for value in values]
    if len(shown) > limit:
        shown = [*shown[:limit], f"{len(shown) - limit} more"]
    if len(shown) < 2:
        return "".join(shown)
    return ", ".join(shown[:-1]) + " and " + shown[-1]

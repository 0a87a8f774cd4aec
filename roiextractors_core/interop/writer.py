"""The contract of a writer: what ``FormatSpec(writer=...)`` names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from ..io.blocks import Progress

__all__ = ["CompanionWriter", "NamingWriter", "ReplacingWriter", "SeveralWriter", "Writer"]


class Writer(Protocol):
    """A function that writes a recording to a temporary path, which ``convert`` renames when the function returns.

    The keyword-only parameters after ``progress`` are the options that ``convert`` accepts for the format; each has a default.
    """

    def __call__(self, recording: Any, partial: Path, *, target: Path, progress: Progress, **options: Any) -> None:
        """Write the recording.

        Parameters
        ----------
        recording : ImagingExtractor
            Any recording, and any view of one. Read it in blocks (``roiextractors_core.io.read_blocks``).
        partial : pathlib.Path
            Write a file or a folder here. Nothing is there yet, and the folder around it is the writer's own: a file written
            next to ``partial`` is moved next to the target.
        target : pathlib.Path
            The path that ``partial`` is renamed to. Do not touch it; some formats store it.
        progress : callable
            Call it as ``progress(done, total)``, in bytes of the recording's pixels. It ends with ``progress(total, total)``.
        **options
            Declared by name, never as ``**options``, so that ``convert`` can refuse an unknown one.

        Raises
        ------
        UnsupportedRecordingError
            The format cannot store this recording. Raise it before the first block is read where that is possible.
        MissingDependencyError
            A library is missing; the message names what to install.
        """


@runtime_checkable
class NamingWriter(Protocol):
    """A writer of a format that prescribes the file's name, as CaImAn's memory maps do."""

    def target_name(self, recording: Any, target: Path, **options: Any) -> str:
        """Return the name under which the result appears in the target's folder.

        Parameters
        ----------
        recording : ImagingExtractor
        target : pathlib.Path
            As passed to ``convert``.
        **options
            As passed to ``convert``; the same as those of the writer.
        """


@runtime_checkable
class CompanionWriter(Protocol):
    """A writer that writes other files next to the target; ``convert`` checks their names before it writes."""

    def companion_names(self, target: Path) -> tuple[str, ...]:
        """Return the names of the other files in the target's folder.

        Parameters
        ----------
        target : pathlib.Path
            What is written.
        """


@runtime_checkable
class ReplacingWriter(Protocol):
    """A writer that knows its own results; with ``overwrite=True``, ``convert`` replaces nothing else.

    Without this method, a file is replaced, and a folder if the evidence of the format says yes.
    """

    def may_replace(self, path: Path) -> bool:
        """Return whether a file or folder is what this writer writes under this name, and nothing more.

        Parameters
        ----------
        path : pathlib.Path
            The existing target or companion, a regular file or a folder.
        """


@runtime_checkable
class SeveralWriter(Protocol):
    """A writer of a format whose files store several recordings.

    It receives one recording or, if there are several or the caller named it, a dict of recordings by name, in order.
    """

    takes_several: Literal[True]

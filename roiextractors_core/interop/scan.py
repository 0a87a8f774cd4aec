"""The recordings below a folder: each is opened, and closed again, for its facts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import (
    FormatNotInstalledError,
    IncompleteRecordingWarning,
    RoiExtractorsError,
    SourceKindError,
    StreamChoiceError,
    UnknownFormatError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from ..factory import open as open_recording
from ..io.blocks import Progress
from ..io.known import run_asked_once
from ..io.notices import received_by
from ..io.source import Source, looks_like
from ..metadata import as_plain
from ..registry.catalogue import catalogue
from ..registry.detection import matching
from ..registry.evidence import Strength
from ..registry.registry import Registry, RegistryState, default_registry
from ..registry.spec import KINDS, Match

__all__ = ["Finding", "Scan", "scan"]

_MAX_CHOICES = 8  # streams that are chosen one after the other, such as a session, then a unit, then a channel
# Many programs write files with these suffixes: such a file that no format recognises is not a damaged recording
_COMMON_SUFFIXES = frozenset(
    (".xml", ".json", ".env", ".txt", ".csv", ".dat", ".inf", ".info", ".ini", ".mat", ".yaml", ".yml", ".zip", ".raw")
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A recording below a folder, or a file that is broken.

    Attributes
    ----------
    path : str
        The file or folder to pass to ``open``.
    kind : str
        ``"imaging"`` or ``"segmentation"``.
    format : str
        Empty if it could not be opened.
    streams : mapping of str to tuple of str
        The options that choose a stream, and their values; the facts are those of the first.
    shape : tuple of int
        Samples, rows, columns and planes; of a segmentation, samples and ROIs.
    dtype : str
    sampling_frequency : float or None
        In Hz.
    duration : float or None
        In seconds.
    size : int
        Of the files on the disk, in bytes.
    missing : tuple of str
        What the file does not state (``"rate"``, ``"start time"``, ``"pixel size"``), or ``"parts"`` of the recording.
    notes : tuple of str
    error : str
        Why it could not be opened.
    """

    path: str
    kind: str = "imaging"
    format: str = ""
    streams: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    dtype: str = ""
    sampling_frequency: float | None = None
    duration: float | None = None
    size: int = 0
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return all of this as plain data."""
        data: dict[str, Any] = as_plain({name: getattr(self, name) for name in self.__slots__})
        return data


@dataclass(slots=True)
class Scan:
    """The recordings below a folder, found while one iterates over it: ``for finding in Scan(folder)``.

    Attributes
    ----------
    folder : str
    num_unknown : int
        Files that belong to no recording, so far.
    num_files : int
        Files that were looked at, so far.
    """

    folder: str
    registry: Registry | None = None
    progress: Progress | None = None
    num_unknown: int = 0
    num_files: int = 0
    _visited: set[tuple[int, int | str]] = field(default_factory=set)

    def __iter__(self) -> Iterator[Finding]:
        state = (self.registry or default_registry()).snapshot()
        self._visited.clear()
        self.num_unknown = self.num_files = 0
        # Inside a recording, only what is of another kind is a recording of its own, such as the ROIs of a movie
        pending: list[tuple[Path, frozenset[str]]] = [(Path(os.path.abspath(self.folder)), frozenset())]
        while pending:
            folder, known_kinds = pending.pop()
            look = _FolderLook(self, folder, state, known_kinds)
            try:
                # Every folder by itself: what is remembered of its files is forgotten behind it
                run_asked_once(look.run)
            finally:  # also after Ctrl-C
                yield from map(self._as_typed, look.findings)
            pending += reversed(look.below)

    def _as_typed(self, finding: Finding) -> Finding:
        """Return a finding with a path that begins as that of the folder does."""
        relative = os.path.relpath(finding.path, os.path.abspath(self.folder))
        return replace(finding, path=os.path.normpath(os.path.join(self.folder, relative)))

    def is_new(self, folder: Path) -> bool:
        """Return whether a folder was not visited yet, by this path or through a link."""
        with suppress(OSError):
            status = os.stat(folder)
            # Some network drives number no folder
            key = (status.st_dev, status.st_ino or os.path.realpath(folder))
            if key not in self._visited:
                self._visited.add(key)
                return True
        return False

    def count(self) -> None:
        """Count a file."""
        self.num_files += 1
        if self.progress is not None:
            self.progress(self.num_files, 0)


def scan(folder: str | os.PathLike[str], *, registry: Registry | None = None, progress: Progress | None = None) -> Scan:
    """Find the recordings and segmentations below a folder.

    A folder that is one recording is found once, and its files are not looked at. Hidden files and folders are left out. A link
    to a folder is followed once.

    Parameters
    ----------
    folder : str or os.PathLike
    registry : Registry, optional
        By default, the default registry.
    progress : callable, optional
        Called as ``progress(files, 0)``.

    Returns
    -------
    Scan
        To iterate over: each finding is given when its folder has been looked at.

    Raises
    ------
    SourceError
        The folder does not exist, or is a file.
    """
    with suppress(UnknownFormatError), Source(folder) as source:
        if not source.is_folder:
            raise SourceKindError(f"{printable(source.path)} is a file: open({str(source.path)!r})")
    return Scan(os.fspath(folder), registry, progress)


class _FolderLook:
    """One folder: whether it is a recording, and if not, which of its files are."""

    def __init__(self, scan: Scan, folder: Path, state: RegistryState, known_kinds: frozenset[str]) -> None:
        self._scan, self._folder, self._state, self._known_kinds = scan, folder, state, known_kinds
        self.findings: list[Finding] = []
        self.below: list[tuple[Path, frozenset[str]]] = []
        self._is_quiet = bool(known_kinds)
        self._read: set[str] = set()  # files and folders of the recordings that were found

    def run(self) -> None:
        if not self._scan.is_new(self._folder):
            return
        try:
            with os.scandir(self._folder) as listing:
                entries = sorted((e for e in listing if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            self.findings.append(Finding(str(self._folder), error=f"the folder could not be listed: {error.strerror}"))
            return
        files = [entry.path for entry in entries if _is(entry.is_file)]
        folders = [Path(entry.path) for entry in entries if _is(entry.is_dir)]
        self._open(self._folder)
        opened, failed = _split(self.findings)
        self.findings = opened
        if opened:
            files, inside = self._rest(files, opened)
            folders = [folder for folder in folders if not self._reads_inside(folder)]
        elif not failed and self._declares_suffix(self._folder):
            # A store of chunks, for example: thousands of files that are no recordings
            self._scan.num_unknown += 1
            return
        else:
            inside = self._known_kinds
        for path in files:
            self._look_at_file(path)
        if failed and not _split(self.findings)[0]:
            self.findings = failed  # its files are parts of it, so what it says stands for them
        self.below = [(folder, inside) for folder in folders]

    def _rest(self, files: list[str], opened: list[Finding]) -> tuple[list[str], frozenset[str]]:
        """Return which files of a recording folder may be others, and the kinds that its subfolders are not searched for."""
        own = os.path.abspath(self._folder)
        named = [path for path in self._read if path != own]
        is_flat = bool(named) and all(os.path.dirname(path) == own for path in named)
        specs = [self._state.specs[finding.format] for finding in opened if finding.format in self._state.specs]
        general = {name for spec in self._state.specs.values() for name in spec.specializes}
        is_general = bool(specs) and all(spec.name in general for spec in specs)
        if not is_general and not is_flat:
            for _ in files:
                self._scan.count()
            return [], self._known_kinds | {finding.kind for finding in opened}
        # A folder with a few images is one for their format, whatever else is in it. Of a format that is a folder, the files
        # that are not read are parts of it, unless they open by themselves
        self._is_quiet = not is_general
        ends = () if named else tuple(suffix for spec in specs for suffix in spec.extensions)
        return [path for path in files if not path.lower().endswith(ends or ("\0",))], self._known_kinds

    def _look_at_file(self, path: str) -> None:
        self._scan.count()
        before = len(self.findings)
        if path in self._read:
            return
        self._open(Path(path))
        if len(self.findings) == before and path not in self._read and not self._is_quiet:
            self._scan.num_unknown += 1

    def _open(self, path: Path) -> None:
        """Add what a path is: one finding for each kind that opens, or one with the reason if none does."""
        try:
            with Source(path) as source:
                matches = matching(source, self._state)
                words = looks_like(source) if not matches else ""
        except (RoiExtractorsError, OSError) as error:
            if path.is_file() and self._declares_suffix(path) and not self._is_quiet:
                self.findings.append(Finding(str(path), error=str(error)))
            return
        if not matches and not self._declares_suffix(path):
            return
        kinds = sorted({match.spec.kind for match in matches}) or [KINDS[0]]
        failed: list[Finding] = []
        before = len(self.findings)
        read: set[str] = set()
        for kind in kinds:
            if kind in self._known_kinds:
                continue
            match = next((match for match in matches if match.spec.kind == kind), None)
            try:
                finding = self._finding(path, kind, read)
            except (RoiExtractorsError, OSError, MemoryError) as error:
                if not _is_foreign(match, error, path):
                    said = _sentence(error, path, words)
                    failed.append(Finding(str(path), kind, size=_size([str(path)]), error=said))
                continue
            except Exception as error:  # noqa: BLE001 - the border to plugins: one that fails does not end the scan
                said = f"{printable(path.name)} could not be opened: {type(error).__name__}: {printable(error)}"
                failed.append(Finding(str(path), kind, size=_size([str(path)]), error=said))
                continue
            if finding is not None:
                self.findings.append(finding)
        self._read |= read  # both kinds of a file read it
        if len(self.findings) == before and not self._is_quiet:
            self.findings += failed[:1]

    def _finding(self, path: Path, kind: str, read: set[str]) -> Finding | None:
        """Open a path and return its facts; None for a recording that was found from another of its files."""
        issued: list[tuple[str, type[Warning]]] = []
        with received_by(lambda message, category: issued.append((message, category))):
            recording, streams = _open_first(path, kind, self._scan.registry)
        with recording:
            paths = recording.get_paths()
            if path.is_file() and any(p in self._read for p in paths):
                return None
            read.update(paths)
            facts = _facts(recording)
        incomplete = any(issubclass(category, IncompleteRecordingWarning) for _, category in issued)
        missing = (*(("parts",) if incomplete else ()), *facts.pop("missing"))
        format, notes = recording.provenance.format, tuple(recording.provenance.notes)
        return Finding(str(path), kind, format, streams, size=_size(paths), missing=missing, notes=notes, **facts)

    def _declares_suffix(self, path: Path) -> bool:
        """Return whether a format has the suffix of a path, if it is one that few other programs use."""
        suffix = path.suffix.lower()
        if not suffix or suffix in _COMMON_SUFFIXES:
            return False
        specs = (*self._state.specs.values(), *(entry.spec for entry in catalogue()))
        return any(suffix in spec.extensions for spec in specs)

    def _reads_inside(self, folder: Path) -> bool:
        start = os.path.join(os.path.abspath(folder), "")
        return any(path.startswith(start) for path in self._read)


def _is(question: Any) -> bool:
    try:
        return bool(question())
    except OSError:  # a link that leads in a circle
        return False


def _split(findings: list[Finding]) -> tuple[list[Finding], list[Finding]]:
    return [f for f in findings if not f.error], [f for f in findings if f.error]


def _is_foreign(match: Match | None, error: BaseException, path: Path) -> bool:
    """Whether an error says that a file is of another program, rather than broken."""
    if match is None or isinstance(error, FormatNotInstalledError):
        return False
    if match.strength is Strength.NAME and path.suffix.lower() in _COMMON_SUFFIXES:
        return True
    return match.spec.is_container and isinstance(error, UnsupportedRecordingError | UnknownFormatError)


def _sentence(error: BaseException, path: Path, words: str) -> str:
    if type(error) is UnknownFormatError and words:  # its message lists every format that was tried
        return f"{printable(path.name)} could not be identified: it looks like {words}"
    return str(error) or type(error).__name__


def _open_first(path: Path, kind: str, registry: Registry | None) -> tuple[Any, dict[str, tuple[str, ...]]]:
    """Open the first of all streams, and return the choices."""
    streams: dict[str, tuple[str, ...]] = {}
    for _ in range(_MAX_CHOICES):
        chosen = {option: values[0] for option, values in streams.items()}
        try:
            recording: Any = open_recording(path, kind=kind, registry=registry, **chosen)  # type: ignore[call-overload]
        except StreamChoiceError as error:
            if not error.option or error.option in streams or not error.choices:
                raise
            streams[error.option] = tuple(map(str, error.choices))
        else:
            return recording, streams
    raise SourceKindError(f"{printable(path)} asks for more than {counted(_MAX_CHOICES, 'choice')}")


def _facts(recording: Any) -> dict[str, Any]:
    rate, count = recording.get_sampling_frequency(), recording.get_num_samples()
    seconds: float | None = None
    if rate:
        seconds = count / rate
    elif recording.clock.source is not None and count:
        first, last = (float(recording.clock.times(k, k + 1)[0]) for k in (0, count - 1))
        seconds = (last - first) * count / max(1, count - 1)
    metadata = recording.metadata
    is_movie = recording.kind == "imaging"
    missing = [
        *(["rate"] if rate is None and recording.clock.source is None and count > 1 else []),
        *(["start time"] if metadata.start_time is None else []),
        *(["pixel size"] if is_movie and metadata.pixel_size is None else []),
        *(["masks"] if not is_movie and not recording.has_masks else []),
        *(["traces"] if not is_movie and not recording.get_trace_names() else []),
    ]
    return {
        "shape": tuple(recording.shape) if is_movie else (count, recording.get_num_rois()),
        "dtype": str(recording.dtype) if is_movie else "",
        "sampling_frequency": rate,
        "duration": seconds,
        "missing": tuple(missing),
    }


def _size(paths: Sequence[str]) -> int:
    """Return the bytes of files; of a folder, those inside it, unless files in it are named."""
    total = 0
    for path in paths:
        start = os.path.join(path, "")
        if any(other.startswith(start) for other in paths):
            continue
        with suppress(OSError):
            files = Path(path).rglob("*") if os.path.isdir(path) else (Path(path),)
            total += sum(file.stat().st_size for file in files if file.is_file())
    return total

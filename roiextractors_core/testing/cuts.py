"""Copies recordings, also under another name, and says how their files are damaged: cut, removed, without a key, exchanged."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SourceKindError

__all__ = [
    "Damage",
    "copy_recording",
    "cuts_of",
    "different_files",
    "exchanges_of",
    "files_of",
    "kin_of",
    "missing_keys_of",
    "paths_of",
    "removals_of",
]

MAX_KINDS = 8
MAX_KEYS = 12
MAX_LINES = 12
_MAX_TEXT = 1 << 20  # bytes

_MAX_NEIGHBOURS = 500
_MAX_BYTES = 64 << 20


def paths_of(recording: Any) -> tuple[Path, ...]:
    """Return the paths of a recording: one file or folder, or the files of a list.

    Raises
    ------
    SourceKindError
        When it is neither a path nor a list of them.
    """
    given = (recording,) if isinstance(recording, str | os.PathLike) else recording
    if not isinstance(given, list | tuple) or not given or not all(isinstance(p, str | os.PathLike) for p in given):
        raise SourceKindError(f"a recording is a path or a list of paths, got {given!r:.80}")
    return tuple(Path(os.path.abspath(os.fspath(path))) for path in given)


def kin_of(recording: Any) -> tuple[Path, ...]:
    """Return the files next to a recording's file that share its stem: headers, indices, times."""
    paths = paths_of(recording)
    if len(paths) > 1 or paths[0].is_dir():
        return ()
    stem = paths[0].name.partition(".")[0]
    beside = paths[0].parent.iterdir()
    return tuple(sorted(p for p in beside if p.is_file() and p != paths[0] and p.name.partition(".")[0] == stem))


def files_of(recording: Any) -> tuple[Path, ...]:
    """Return the files of a recording; those in a folder sorted by path."""
    return tuple(
        file
        for path in paths_of(recording)
        for file in (sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else (path,))
    )


def copy_recording(recording: Any, folder: Path, *, rename: Callable[[str], str] = lambda name: name) -> Any:
    """Copy a recording, with the files next to it, into a folder.

    Parameters
    ----------
    recording : str, os.PathLike or list of them
    folder : pathlib.Path
        Must not exist.
    rename : callable
        From the name of the recording's file or folder to that of the copy.

    Returns
    -------
    pathlib.Path or list of pathlib.Path
        The path or paths to open.
    """
    paths = paths_of(recording)
    base = Path(os.path.commonpath([path.parent for path in paths]))
    folder.mkdir(parents=True)
    for beside in _neighbours(base, paths):
        if beside.is_dir():
            _copy_folder(beside, folder / beside.name)
        else:
            shutil.copyfile(beside, folder / beside.name)
    copies = []
    for path in paths:
        there = folder / path.relative_to(base)
        target = there.with_name(rename(there.name))
        if there.exists():  # already copied as a neighbour
            there.rename(target)
        elif path.is_dir():
            _copy_folder(path, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        copies.append(target)
    return copies[0] if isinstance(recording, str | os.PathLike) else copies


def _neighbours(base: Path, paths: tuple[Path, ...]) -> list[Path]:
    """Return all entries of the folder; none if they are too many or the recording is a folder itself."""
    if len(paths) == 1 and paths[0].is_dir():
        return []
    total = count = 0
    for path in _walk(base):
        count, total = count + 1, total + path.stat().st_size
        if count > _MAX_NEIGHBOURS or total > _MAX_BYTES:
            return []
    return list(base.iterdir())


def _copy_folder(source: Path, target: Path) -> None:
    """Copy the content alone, so that the copy of a write-protected recording can be cut."""
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if path.is_dir():
            _copy_folder(path, target / path.name)
        elif path.is_file():
            shutil.copyfile(path, target / path.name)


def _walk(base: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(base):
        yield from (Path(folder) / name for name in names if (Path(folder) / name).is_file())


@dataclass(frozen=True, slots=True)
class Damage:
    """One change of a file of a recording.

    Attributes
    ----------
    path : str
        The file.
    words : str
        What was done to it.
    size : int or None
        The bytes that are left of it.
    content : bytes or None
        What is in it instead; it is removed where all of these are None.
    exchanged_with : str or None
        Another file, which gets its content, and whose content it gets.
    lost_keys : tuple of str
        The keys that are gone, where nothing else is.
    """

    path: str
    words: str
    size: int | None = None
    content: bytes | None = None
    exchanged_with: str | None = None
    lost_keys: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that change."""
        return tuple(Path(path) for path in (self.path, self.exchanged_with) if path is not None)

    def apply(self, originals: Mapping[Path, bytes]) -> None:
        """Change the files, which have the original contents."""
        path, *others = self.paths
        if others:
            path.write_bytes(originals[others[0]])
            others[0].write_bytes(originals[path])
            return
        path.unlink()
        if self.size is not None or self.content is not None:
            path.write_bytes(originals[path][: self.size] if self.content is None else self.content)

    def lost(self, original: bytes) -> int:
        """Return the number of bytes that are gone."""
        if self.exchanged_with is not None:
            return 0
        return len(original) - (len(self.content or b"") if self.size is None else self.size)


def cuts_of(files: tuple[Path, ...], *, places: int = 20, units: Iterable[int] = ()) -> tuple[Damage, ...]:
    """Return cuts of files: the largest after its first bytes, evenly, and at its very end; of the others, those that differ.

    Text files are also cut after whole lines, and where a section begins: what is left has the form of a whole file.

    Parameters
    ----------
    files : tuple of pathlib.Path
    places : int
        How many of the largest file, and of the first five others.
    units : iterable of int
        Bytes of a sample: the largest file is also cut by one and by two of them.
    """
    sized = sorted((path for path in files if path.stat().st_size > 1), key=lambda p: (-p.stat().st_size, str(p)))
    if not sized:
        return ()
    others = list(dict.fromkeys((*different_files(sized[1:]), *sized[1 : 1 + places // 4])))
    size = sized[0].stat().st_size
    whole = {size - times * unit for unit in units for times in (1, 2) if 0 < size - times * unit < size}
    most = places - min(2 * len(others), places // 2) - len(whole)
    sizes = {sized[0]: sorted({*_spread(size, most), *whole})}
    sizes.update((path, sorted({*_spread(path.stat().st_size, 2), *_inside_a_number(path)})) for path in others)
    cut = (
        Damage(str(path), f"{path.name} cut to {size:,} of {path.stat().st_size:,} bytes", size)
        for path, chosen in sizes.items()
        for size in chosen
    )
    return (*cut, *(damage for path in sizes for damage in _after_lines(path)))


def exchanges_of(files: Iterable[Path]) -> tuple[Damage, ...]:
    """Return exchanges of the contents of two files of one kind and size: of the first with the next, and with the last."""
    kinds: dict[tuple[Path, str, int], list[Path]] = defaultdict(list)
    for path in files:
        kinds[path.parent, re.sub(r"\d+", "", path.name), path.stat().st_size].append(path)
    several = sorted((paths for (*_, size), paths in kinds.items() if size and len(paths) > 1), key=len, reverse=True)
    pairs = []
    for paths in several[:MAX_KINDS]:
        first, *others = sorted(paths, key=lambda path: (len(path.name), str(path)))
        pairs += [(first, other) for other in dict.fromkeys((others[0], others[-1]))]
    return tuple(
        Damage(str(one), f"the contents of {one.name} and {other.name} exchanged", exchanged_with=str(other))
        for one, other in pairs
        if one.read_bytes() != other.read_bytes()
    )


def removals_of(files: Iterable[Path]) -> tuple[Damage, ...]:
    """Return the removal and the emptying of files: of those that differ."""
    chosen = different_files(files)
    removed = [Damage(str(path), f"{path.name}, a file of the recording or beside it, removed") for path in chosen]
    emptied = [Damage(str(path), f"{path.name} cut to 0 of {path.stat().st_size:,} bytes", 0) for path in chosen]
    return tuple(damage for pair in zip(removed, emptied, strict=True) for damage in pair)


def missing_keys_of(files: Iterable[Path]) -> tuple[Damage, ...]:
    """Return text files with one key less: of ``key = value`` lines, and of JSON objects."""
    return tuple(
        Damage(str(path), f"{path.name} without {key!r}", content=content, lost_keys=(key,))
        for path in different_files(files)
        for key, content in _without_keys(path)
    )


def different_files(files: Iterable[Path]) -> list[Path]:
    """Return a few files of each kind, told by name without digits: the first, the last, the smallest, the middle one."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        kinds[re.sub(r"\d+", "", path.name)].append(path)
    chosen: list[Path] = []
    for same_kind in sorted(kinds.values(), key=lambda paths: (len(paths), str(paths[0])))[:MAX_KINDS]:
        ordered = sorted(same_kind, key=lambda path: (len(path.name), str(path)))
        smallest = min(ordered, key=lambda path: (path.stat().st_size, -ordered.index(path)))
        chosen += dict.fromkeys((ordered[-1], ordered[0], smallest, ordered[len(ordered) // 2]))
    return chosen


def _text_of(path: Path) -> str:
    """Return the text of a text file; nothing of another."""
    if path.stat().st_size > _MAX_TEXT:
        return ""
    content = path.read_bytes()
    try:
        return "" if b"\0" in content else content.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _inside_a_number(path: Path) -> list[int]:
    """Return a size that ends inside the last number of a text whose last line has an end: what is left looks whole."""
    text = _text_of(path)
    numbers = list(re.finditer(r"\d[\d.]*\d", text)) if text.endswith("\n") and text.isascii() else []
    return [(numbers[-1].start() + numbers[-1].end()) // 2] if numbers else []


def _after_lines(path: Path) -> Iterator[Damage]:
    """Yield cuts of a text file after a whole line: a few lines, and those before a section."""
    text = _text_of(path)
    lines = text.splitlines(keepends=True)
    if len(lines) < 2 or _is_json(text):  # what is left of JSON is not JSON, wherever it is cut
        return
    counts = list(range(1, len(lines)))
    if len(counts) > MAX_LINES:
        sections = [count for count in counts if lines[count].lstrip().startswith("[")][: MAX_LINES // 2]
        evenly = (len(lines) * k // 6 for k in range(1, 6))
        counts = sorted({1, len(lines) - 1, *sections, *evenly} - {0})[:MAX_LINES]
    for count in counts:
        size = len("".join(lines[:count]).encode())
        words = f"{path.name} cut after line {count:,} of {len(lines):,}, {lines[count - 1].strip()!r:.80}"
        yield Damage(str(path), words, size, lost_keys=_keys_of(lines[count:]))


def _keys_of(lines: list[str]) -> tuple[str, ...]:
    """Return the keys of ``key = value`` lines; none where other lines than these, comments and sections are among them."""
    stated = [line for line in lines if line.strip() and line.lstrip()[0] not in "[#;"]
    matches = [_KEY.match(line) for line in stated[: MAX_KEYS + 1]]
    if len(matches) > MAX_KEYS or not all(matches):
        return ()
    return tuple(match[1] for match in matches if match)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


def _without_keys(path: Path) -> list[tuple[str, bytes]]:
    text = _text_of(path)
    if not text:
        return []
    try:
        whole = json.loads(text)
    except ValueError:
        lines = text.splitlines(keepends=True)
        keys = [(number, match[1]) for number, line in enumerate(lines) if (match := _KEY.match(line))]
        chosen = keys if len(keys) <= MAX_KEYS else keys[: MAX_KEYS - 1] + keys[-1:]
        return [(key, "".join(lines[:at] + lines[at + 1 :]).encode()) for at, key in chosen]
    named = list(whole)[:MAX_KEYS] if isinstance(whole, dict) else []
    return [(key, json.dumps({k: v for k, v in whole.items() if k != key}).encode()) for key in named]


_KEY = re.compile(r"""\s*["']?([A-Za-z_][\w .-]*?)["']?\s*[=:]\s*\S""")


def _spread(size: int, count: int) -> list[int]:
    if count <= 2:
        return sorted({size // 2, size - 1})[-count:] if size > 1 else []
    # Inside of magic numbers and short headers, and in the last record or trailer
    edges = [1, 3, 8, 17, 65, size - 1, size - 2, size - 9][: max(2, count // 2)]
    chosen = {at for at in edges if 0 < at < size}
    step = max(1, count - len(chosen))
    chosen |= {size * k // (step + 1) for k in range(1, step + 1)}
    return sorted(at for at in chosen if 0 < at < size)

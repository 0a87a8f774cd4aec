"""Which file of a sequence is which time, plane, channel and position: from the files' names."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from roiextractors_core.errors import DeclarationError, SourceKindError, counted, listed, printable

__all__ = ["NamedFile", "NamedFiles", "name_files"]

_LETTERS: Mapping[str, str] = {
    **dict.fromkeys(("c", "ch", "chan", "channel", "w", "wavelength"), "C"),
    **dict.fromkeys(("z", "plane", "slice", "sl", "depth", "zs"), "Z"),
    **dict.fromkeys(("t", "time", "timepoint", "tp", "frame", "fr", "f", "cycle"), "T"),
    **dict.fromkeys(("p", "pos", "position", "s", "series", "xy", "tile", "point", "scene", "site", "field"), "P"),
}
# Words that name the kind of file, not an axis, so the number behind them is a plain counter
_UNLETTERED = ("", "img", "image", "im", "stack", "movie")
# A closed list: any other word may be a condition or an animal, and guessing would mix recordings
_CHANNEL_WORDS = frozenset(
    [
        "gfp",
        "egfp",
        "yfp",
        "eyfp",
        "cfp",
        "bfp",
        "rfp",
        "tdtomato",
        "tomato",
        "mcherry",
        "cherry",
        "dsred",
        "gcamp",
        "gcamp6",
        "gcamp6f",
        "gcamp6s",
        "jrgeco",
        "rcamp",
        "dapi",
        "hoechst",
        "fitc",
        "tritc",
        "texasred",
        "cy3",
        "cy5",
        "alexa",
        "green",
        "red",
        "blue",
        "yellow",
        "farred",
    ]
)
_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".ome")
_NUMBER = re.compile(r"\d+")
_FIELDS = {"time": "T", "plane": "Z", "channel": "C", "position": "P"}
_WORDS = {axis: word for word, axis in _FIELDS.items()}
# Larger gaps are dates or identifiers, not lost files, and each missing sample is listed
_MAX_MISSING = 1_000_000
_MAX_STEP = 5
# A file beyond a gap of twice as many numbers as there are files is a stray; of fewer files nobody can tell
_STRAY_GAP, _MIN_STRAY_FREE = 2, 4


@dataclass(frozen=True, slots=True)
class NamedFile:
    """One file: its number or label along each axis that the names contain."""

    name: str
    time: int = 0
    plane: int = 0
    channel: str = ""
    position: str = ""


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """The files of a sequence.

    Attributes
    ----------
    files : sequence of NamedFile
        Those of all channels and positions.
    axes : str
        Of T, Z, C and P, those that vary in the names.
    left_out : tuple of str
        Names of files that do not belong to the sequence.
    strays : tuple of str
        The same by their numbers, which are far from those of the others, or of other digits.
    """

    files: Sequence[NamedFile]
    axes: str = "T"
    left_out: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()

    def labels(self, axis: str) -> list[str]:
        """Return the names of the channels or positions, in natural order; empty where they do not vary."""
        if axis not in self.axes:
            return []
        values = {file.channel if axis == "C" else file.position for file in self.files}
        return sorted(values, key=lambda text: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", text)])

    def chosen(self, channel: str, position: str) -> Sequence[NamedFile]:
        """Return the files of one channel and position."""
        return [file for file in self.files if (file.channel, file.position) == (channel, position)]

    def samples(self, chosen: Sequence[NamedFile]) -> tuple[list[str], np.ndarray, int, int]:
        """Return files in order of time and plane.

        Returns
        -------
        list of str
            Names of the files of whole samples, the planes of a sample one after the other.
        numpy.ndarray
            The number of each whole sample among those acquired, from 0; int64.
        int, int
            How many samples were acquired as far as the numbers say, and the planes of each.
        """
        planes = sorted({file.plane for file in self.files})
        by_place = {(file.time, file.plane): file.name for file in chosen}
        # Times of all channels: a time whose file is missing from one channel must not shift its later ones
        acquired = sorted({file.time for file in self.files})
        numbers, total = _numbers(np.array(acquired, np.int64))
        whole = [k for k, t in enumerate(acquired) if all((t, plane) in by_place for plane in planes)]
        names = [by_place[acquired[k], plane] for k in whole for plane in planes]
        return names, numbers[whole], total, len(planes)


def _numbers(times: np.ndarray) -> tuple[np.ndarray, int]:
    """Return times as numbers of samples from 0, and how many samples there were; in mere order where they do not count."""
    order = np.arange(len(times))
    if len(times) < 2:
        return order, len(times)
    distances = np.diff(times)
    if len(times) == 2:
        # Two numbers far from each other are dates or the like
        steps = [1] if distances[0] < _MAX_STEP else []
    else:
        # Where most files are lost, only the smallest distance is the step
        steps = [int(np.median(distances)), int(distances.min())]
    offsets = times - times[0]
    for step in steps:
        total = int(offsets[-1]) // step + 1
        most = min(_MAX_MISSING, (1000 if step == steps[0] else _MAX_STEP) * len(times))
        # Numbers off the step do not count samples, so only their order is used
        if not (offsets % step).any() and total - len(times) <= most:
            return offsets // step, total
    return order, len(times)


def name_files(names: Sequence[str], *, where: str, pattern: str | None = None, ordered: bool = False) -> NamedFiles:
    """Read time, plane, channel and position of each file of a sequence from the names.

    Parameters
    ----------
    names : sequence of str
        In natural order, or in the order of the recording.
    where : str
        For messages.
    pattern : str, optional
        The names with ``{time}``, ``{plane}``, ``{channel}`` and ``{position}`` in place of what varies, ``{name}`` for
        a text that is the same in all files, and ``{}`` for a text that does not matter.
    ordered : bool
        Whether the user gave the names in order; then names without a varying number are taken in it.

    Raises
    ------
    SourceKindError
        Several numbers or words vary, and nothing says what they are.
    DeclarationError
        The pattern is not valid, or fits no file.
    """
    if pattern is not None:
        return _by_pattern(names, pattern, where)
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    stems = [_stem(name) for name in names]
    for name, stem in zip(names, stems, strict=True):
        groups[tuple(_NUMBER.split(stem.lower()))].append(name)
    if len(groups) == 1:
        return _by_numbers(names, where, ordered=ordered, stems=stems)
    words = _by_words(groups, where)
    if words is not None:
        return words
    largest = max(groups.values(), key=len)
    if len(largest) > 2 * (len(names) - len(largest)) and all(
        len(group) == 1 for group in groups.values() if group is not largest
    ):
        files = _by_numbers(largest, where)
        belong = set(largest)
        return replace(files, left_out=tuple(n for n in names if n not in belong))
    if ordered and all(len(group) == 1 for group in groups.values()):
        return NamedFiles([NamedFile(name, time=k) for k, name in enumerate(names)])
    kinds = sorted("#".join(texts) for texts in groups)
    shown = ", ".join(printable(kind) for kind in kinds[:5])
    raise SourceKindError(
        f"{where} contains TIFF files of {len(kinds)} kinds of names ({shown}{', ...' if len(kinds) > 5 else ''}); "
        "open one file, pass the list of files of one recording, or describe what differs: open(..., "
        f"pattern={_suggested(names)!r})"
    )


def _stem(name: str) -> str:
    stem = os.path.basename(name)
    while stem.lower().endswith(_SUFFIXES):
        stem = stem[: stem.rindex(".")]
    return stem


def _by_numbers(
    names: Sequence[str],
    where: str,
    channel: str = "",
    *,
    ordered: bool = False,
    stems: Sequence[str] | None = None,
) -> NamedFiles:
    """Return the axes of names that differ in numbers alone."""
    stems = stems or [_stem(name) for name in names]
    texts = _NUMBER.split(stems[0])
    columns = list(zip(*map(_NUMBER.findall, stems), strict=True))
    # Python integers, since a number in a name may have more digits than int64
    varying = [k for k, column in enumerate(columns) if len(set(column)) > 1 and len(set(map(int, column))) > 1]
    if len(varying) < 2:
        if len(names) > 1 and not varying:
            return NamedFiles([NamedFile(name, k, channel=channel) for k, name in enumerate(names)])
        values = list(map(int, columns[varying[0]])) if varying else [0]
        # Larger numbers do not fit into int64; and the order of a list is the user's word where numbers give none
        if max(values) >= 1 << 62 or (ordered and len(set(values)) < len(values)):
            values = list(range(len(names)))
        elif varying and not ordered and (strays := _strays(columns[varying[0]])):
            return _without(strays, names, where, channel)
        files = [NamedFile(name, t, channel=channel) for name, t in zip(names, values, strict=True)]
        return _without_doubles(NamedFiles(files), where)
    axes = [_axis(texts[k]) for k in varying]
    if "T" not in axes:
        free = [k for k, axis in enumerate(axes) if axis == "-"]
        # One number without a letter beside lettered ones is nearly always the time
        if len(free) == 1:
            axes[free[0]] = "T"
    if len(set(axes)) < len(axes) or not set(axes) <= set("TZCP"):
        # A counter beside the time of day, or beside a number of bytes: each names every file, in one order
        counters = [np.array(list(map(int, columns[k])), dtype=object) for k in varying]
        unique = [np.argsort(counter, kind="stable") for counter in counters]
        if all(len(set(counter.tolist())) == len(names) for counter in counters) and all(
            (one == unique[0]).all() for one in unique
        ):
            return NamedFiles([NamedFile(n, int(k), channel=channel) for k, n in enumerate(np.array(names)[unique[0]])])
        raise SourceKindError(_ambiguous(names, counters, where))
    files, found = [], dict(zip(axes, varying, strict=True))
    if "T" in found and not ordered and (strays := _strays(columns[found["T"]])):
        return _without(strays, names, where, channel)
    for name, stem in zip(names, stems, strict=True):
        numbers = re.findall(r"\d+", stem)
        label = channel + (numbers[found["C"]] if "C" in found else "")
        position = numbers[found["P"]] if "P" in found else ""
        time, plane = (int(numbers[found[axis]]) if axis in found else 0 for axis in "TZ")
        files.append(NamedFile(name, time, plane, label, position))
    return _without_doubles(NamedFiles(files, "".join(axes)), where)


def _without(strays: Set[int], names: Sequence[str], where: str, channel: str) -> NamedFiles:
    kept = [name for k, name in enumerate(names) if k not in strays]
    return replace(_by_numbers(kept, where, channel), strays=tuple(names[k] for k in sorted(strays)))


def _strays(texts: Sequence[str]) -> set[int]:
    """Return which files of a folder are not of its sequence: a few whose number is far from all others, or of other digits.

    A year in the name of a single picture would otherwise be a frame behind thousands of missing ones.

    Parameters
    ----------
    texts : sequence of str
        The number of the time in each name.
    """
    several = sorted(set(texts))
    outside = _of_other_digits(several)
    values = np.array(sorted(int(text) for text in several if text not in outside), object)
    distances = np.diff(values)
    if len(values) >= _MIN_STRAY_FREE and distances.max() > _STRAY_GAP * len(values) * np.median(
        distances.astype(float)
    ):
        cut = int(distances.argmax()) + 1
        few = set((values[:cut] if cut < len(values) - cut else values[cut:]).tolist())
        outside |= {text for text in several if int(text) in few}
    # Many of them are a part of the recording, and what is between is missing
    return {k for k, text in enumerate(texts) if text in outside} if len(outside) <= _most_strays(several) else set()


def _most_strays(texts: Sequence[str]) -> int:
    return max(1, len(texts) // 10)


def _of_other_digits(texts: Sequence[str]) -> set[str]:
    """Return the few numbers with fewer digits than the others, or more zeros ahead."""
    widths = Counter(len(text) for text in texts if text.startswith("0") and len(text) > 1)
    width, count = widths.most_common(1)[0] if widths else (0, 0)
    # Programs that write zeros ahead write them to every number; those with more digits may be the ones behind 999
    found = {text for text in texts if len(text) < width or (text.startswith("0") and 1 < len(text) != width)}
    return found if 2 * count > len(texts) and len(found) <= _most_strays(texts) else set()


def _axis(text: str) -> str:
    """Return the axis that the letters before a number name; "-" for none, "?" for any other word."""
    letters = re.findall(r"[a-z]+", text.lower())
    last = letters[-1] if letters and re.search(r"[a-z][ _.-]*$", text.lower()) else ""
    return "-" if last in _UNLETTERED else _LETTERS.get(last, "?")


def _by_words(groups: Mapping[tuple[str, ...], Sequence[str]], where: str) -> NamedFiles | None:
    """Return the files whose names differ in one word that names a channel, or None."""
    keys = list(groups)
    if len({len(key) for key in keys}) > 1:
        return None
    places = [k for k in range(len(keys[0])) if len({key[k] for key in keys}) > 1]
    if len(places) != 1:
        return None
    texts = [key[places[0]] for key in keys]
    before, after = _common_start(texts), _common_start([text[::-1] for text in texts])[::-1]
    before = re.sub(r"[a-z]+$", "", before) if not re.search(r"(^|[^a-z])(ch|chan|channel)$", before) else before
    words = [
        text[len(before) : len(text) - len(after)] if len(before) + len(after) <= len(text) else "" for text in texts
    ]
    is_letter = re.search(r"(^|[^a-z])(ch|chan|channel)[ _-]*$", before) is not None
    stripped = [word.strip(" _-") for word in words]
    if not all(stripped) or not (is_letter or all(word in _CHANNEL_WORDS for word in stripped)):
        return None
    files: list[NamedFile] = []
    strays: tuple[str, ...] = ()
    axes = {"C"}
    for key, word in zip(keys, stripped, strict=True):
        at = len(words[0]) and groups[key][0].lower().find(word)
        label = os.path.basename(groups[key][0])
        label = label[label.lower().find(word) :][: len(word)] if at != -1 else word
        part = _by_numbers(groups[key], where, label)
        axes |= set(part.axes) if len(part.files) > 1 else set()
        # A channel in the word and another one in a number contradict each other
        if "C" in part.axes:
            return None
        files += part.files
        strays += part.strays
    return _without_doubles(NamedFiles(files, "".join(sorted(axes)), strays=strays), where)


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    length = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]


def _by_pattern(names: Sequence[str], pattern: str, where: str) -> NamedFiles:
    expression, axes = _expression(pattern)
    files, constants, left_out = [], Counter[str](), []
    for name in names:
        # A pattern may be given with the suffix or without it
        match = expression.fullmatch(os.path.basename(name)) or expression.fullmatch(_stem(name))
        if match is None:
            left_out.append(name)
            continue
        parts = match.groupdict()
        constants[parts.get("name") or ""] += 1
        time, plane = (int(parts.get(axis) or 0) for axis in "TZ")
        files.append(NamedFile(name, time, plane, parts.get("C") or "", parts.get("P") or ""))
    if not files:
        raise DeclarationError(
            f"pattern={pattern!r} matches none of the {len(names):,} files of {where}, such as "
            f"{printable(os.path.basename(names[0]))}"
        )
    if len(constants) > 1:
        shown = ", ".join(repr(printable(text)) for text in sorted(constants)[:5])
        raise DeclarationError(
            f"{{name}} of pattern={pattern!r} must be the same in all files, got {len(constants)} texts ({shown}); "
            "write one of them into the pattern, or call it {position} or {}"
        )
    return _without_doubles(NamedFiles(files, axes, tuple(left_out)), where)


def _expression(pattern: str) -> tuple[re.Pattern[str], str]:
    if not isinstance(pattern, str):
        raise DeclarationError(
            f"pattern must be a str such as '{{name}}_c{{channel}}_t{{time}}.tif', got {pattern!r:.80}"
        )
    pieces = re.split(r"\{([^{}]*)\}", pattern)
    text, axes = re.escape(pieces[0]), ""
    for named, literal in zip(pieces[1::2], pieces[2::2], strict=True):
        if named in _FIELDS:
            axis = _FIELDS[named]
            if axis in axes:
                raise DeclarationError(f"pattern={pattern!r} contains {{{named}}} twice")
            axes += axis
            # Times and planes are counted, so only digits fit; channels and positions may be words
            text += rf"(?P<{axis}>\d+)" if axis in "TZ" else rf"(?P<{axis}>.+?)"
        elif named == "name" and "(?P<name>" not in text:
            text += "(?P<name>.*?)"
        elif named == "":
            text += ".*?"
        else:
            raise DeclarationError(
                f"pattern={pattern!r} contains {{{named}}}; the fields are {{time}}, {{plane}}, {{channel}}, {{position}}, {{name}} once each, and {{}}"
            )
        text += re.escape(literal)
    if not axes:
        raise DeclarationError(
            f"pattern={pattern!r} contains none of {{time}}, {{plane}}, {{channel}} and {{position}}"
        )
    return re.compile(text, re.IGNORECASE), axes


def _without_doubles(files: NamedFiles, where: str) -> NamedFiles:
    """Refuse two files for one place."""
    seen: dict[tuple[int, int, str, str], str] = {}
    for file in files.files:
        other = seen.setdefault((file.time, file.plane, file.channel, file.position), file.name)
        if other is not file.name:
            shown = " and ".join(printable(os.path.basename(name)) for name in (other, file.name))
            raise SourceKindError(
                f"{where}: {shown} have the same numbers; pass pattern= with what differs, or the list of files of one recording"
            )
    return files


def _ambiguous(names: Sequence[str], columns: Sequence[np.ndarray], where: str) -> str:
    ranges = [f"{min(column)} to {max(column)}" for column in columns]
    shown = [printable(os.path.basename(name)) for name in (names[0], names[-1])]
    return (
        f"{where}: {len(columns)} numbers vary in the names of its {counted(len(names), 'file')} ({listed(ranges)}; {shown[0]} ... {shown[1]}), "
        f"and they do not say what they are. Name them, for example open(..., pattern={_suggested(names)!r}) with {{channel}}, {{plane}}, {{position}} and "
        "{time}; take all files in order as time by dimension_order='T'; or pass the list of files of one recording"
    )


def _suggested(names: Sequence[str]) -> str:
    """Return a pattern for the first name, whose last number that varies is the time."""
    stems = [os.path.basename(names[0]), os.path.basename(names[-1])]
    texts, numbers, others = re.split(r"\d+", stems[0]), *(re.findall(r"\d+", stem) for stem in stems)
    if len(numbers) != len(others):
        return "{position}_{time}" + os.path.splitext(stems[0])[1]
    varying = [k for k, (a, b) in enumerate(zip(numbers, others, strict=True)) if a != b]
    fields = dict(zip(reversed(varying), ("{time}", "{position}", "{channel}", "{plane}"), strict=False))
    parts = [text + fields.get(k, number) for k, (text, number) in enumerate(zip(texts, [*numbers, ""], strict=True))]
    return printable("".join(parts))

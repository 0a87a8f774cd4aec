"""ScanImage's own text: the header's ``key = value`` lines, and the lines that change from page to page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

__all__ = [
    "Header",
    "epoch_of",
    "epoch_text_of",
    "frame_number_of",
    "parse_header",
    "parse_moment",
    "parse_value",
    "stamp_of",
]

_MAX_TEXT = 256 << 20
_MAX_LINES = 4_000_000
_MAX_VALUE = 4 << 20  # a longer value stays text: it is not a setting
_DEEPEST = 24  # each level is a recursion: a text of brackets alone would overflow the stack


def parse_value(text: str) -> Any:
    """Return the Python value of a MATLAB literal; other text is returned as it is.

    Parameters
    ----------
    text : str
        The text after the ``=``: ``[1 4]``, ``'it''s'``, ``{[-1 1] [-1 1]}``, ``Inf``, ``true``.

    Returns
    -------
    int, float, bool, str or list
        Rows and columns become one list, a matrix a list of its rows, a cell a list, ``[]`` and ``{}`` an
        empty list.  Nothing is evaluated.

    Examples
    --------
    >>> parse_value("[1;2]"), parse_value("[0 1;2 3]"), parse_value("zeros(0,2)")
    ([1, 2], [[0, 1], [2, 3]], 'zeros(0,2)')
    """
    stripped = text.strip()
    if not stripped or len(stripped) > _MAX_VALUE:
        return stripped
    simple = _scalar(stripped)
    if simple is not None:
        return simple
    if stripped[0] not in "[{":
        return stripped
    plain = _plain_vector(stripped)
    if plain is not None:
        return plain
    try:
        return _Literal(stripped).value()
    except ValueError:
        return stripped


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one file; values are parsed on access.

    Attributes
    ----------
    lines : mapping of str to str
        Key to unparsed value, keys as in the file: ``SI.hChannels.channelSave``,
        ``scanimage.SI4.channelsSave``, ``state.acq.frameRate``.
    dialect : str
        ``"SI"`` (2015 and later), ``"SI4"`` (4.x and 5.0), ``"state"`` (3.x), or ``""`` without a header.
    roi_groups : mapping
        ScanImage's regions of interest, where the file contains them.
    frame : mapping of str to str
        The lines of the first page that change from page to page.
    """

    lines: Mapping[str, str] = field(default_factory=dict)
    dialect: str = ""
    roi_groups: Mapping[str, Any] = field(default_factory=dict)
    frame: Mapping[str, str] = field(default_factory=dict)

    def __contains__(self, key: str) -> bool:
        return self._text(key) is not None

    def get(self, key: str) -> Any:
        """Return a value, parsed, or None.

        Parameters
        ----------
        key : str
            Without the ``scanimage.`` that versions before 2015 put in front: ``SI.acqState``; for the dialect
            ``SI4`` without its number too: ``SI4.channelsSave`` finds ``scanimage.SI5.channelsSave``.
        """
        text = self._text(key)
        return None if text is None else parse_value(text)

    def number(self, *keys: str) -> float | None:
        """Return the first of the keys that has a number (it may be infinite, not NaN), or None."""
        for key in keys:
            value = self.get(key)
            value = value[0] if isinstance(value, list) and len(value) == 1 else value
            if isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value):
                return float(value)
        return None

    def rate(self, *keys: str) -> float | None:
        """Return the first of the keys that has a number above 0 and below infinity, or None."""
        for key in keys:
            value = self.number(key)
            if value is not None and 0 < value < math.inf:
                return value
        return None

    def count(self, *keys: str) -> int | None:
        """Return the first of the keys that has a whole number of 1 or more, or None."""
        for key in keys:
            value = self.number(key)
            if value is not None and 1 <= value < 2**53 and value == int(value):  # above 2**53, floats are not exact
                return int(value)
        return None

    def flag(self, key: str) -> bool | None:
        """Return whether the key is on; None if it is missing or not a truth value."""
        value = self.get(key)
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        return bool(value) if isinstance(value, bool | int | float) else None

    def numbers(self, key: str) -> tuple[float, ...]:
        """Return the key's numbers as a flat tuple; empty when there are none, or not all are finite numbers."""
        found = tuple(_flat(self.get(key)))
        numbers = [float(v) for v in found if isinstance(v, int | float) and not isinstance(v, bool)]
        # Without a NaN, the numbers behind it would belong to other planes or channels
        return tuple(numbers) if len(numbers) == len(found) and all(map(math.isfinite, numbers)) else ()

    def text(self, key: str) -> str:
        """Return the key's value as text, numbers too (``5.7`` and ``'5.7'`` alike); ``""`` when it is not there."""
        value = self.get(key)
        return "" if value is None or isinstance(value, list) else str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the key's strings as a tuple; empty when there are none."""
        value = self.get(key)
        return tuple(v for v in _flat(value) if isinstance(v, str)) if isinstance(value, list | str) else ()

    def to_dict(self) -> dict[str, Any]:
        """Return all values, parsed, under the file's own keys; the regions under ``RoiGroups``."""
        found = {key: parse_value(text) for group in (self.lines, self.frame) for key, text in group.items()}
        if self.roi_groups:
            found["RoiGroups"] = dict(self.roi_groups)
        return found

    def _text(self, key: str) -> str | None:
        if key in self.lines:
            return self.lines[key]
        if key.startswith("SI4."):
            rest = key[4:]
            # ScanImage 5.0 wrote SI5. where 4.x wrote SI4., with the same names behind it
            return next((self.lines[p + rest] for p in _CLASSIC if p + rest in self.lines), None)
        return self.lines.get(f"scanimage.{key}")


def parse_header(text: bytes | str, *, regions: bytes | str = b"", page: bytes | str = b"") -> Header:
    """Read a header.

    Parameters
    ----------
    text : bytes or str
        The text with the ``SI.``, ``scanimage.`` or ``state.`` lines, with any line ends, or the JSON that
        took their place for a while; bytes after a NUL are ignored.
    regions : bytes or str
        The JSON of the regions of interest; unreadable JSON is left out.
    page : bytes or str
        The description of the first page.

    Returns
    -------
    Header
    """
    lines: dict[str, str] = {}
    frame: dict[str, str] = {}
    groups: dict[str, Any] = {}
    for key, value in _pairs(_decoded(text)):
        (lines if key.startswith(_PREFIXES) else frame)[key] = value
    if page:
        # Descriptions of 5.1 and before contain the header too; `frame` is for the lines that change
        frame.update((key, value) for key, value in _pairs(_decoded(page)) if not key.startswith(_PREFIXES))
    if regions:
        found = _json(_decoded(regions))
        groups = found.get("RoiGroups", found) if isinstance(found, dict) else {}
    elif _decoded(text).lstrip()[:1] == "{":  # one JSON for both
        found = _json(_decoded(text))
        groups = found.get("RoiGroups", {}) if isinstance(found, dict) else {}
    return Header(lines, _dialect(lines), groups if isinstance(groups, dict) else {}, frame)


def _search(pattern: re.Pattern[bytes], names: tuple[bytes, ...], description: bytes) -> re.Match[bytes] | None:
    """Search a description from the first of the names on; finding that is a hundred times as fast as the pattern."""
    first = len(description)
    for name in names:  # a loop, not min(): it runs for each of the first pages
        place = description.find(name, 0, first)
        first = first if place < 0 else place
    # Before a name, the patterns match the end of a line, up to 8 blanks and a quote
    return pattern.search(description, max(0, first - 10)) if first < len(description) else None


def frame_number_of(description: bytes) -> int | None:
    """Return the frame number that a page states, from 1, or None."""
    found = _search(_NUMBER, (b"frameNumbers", b"Frame Number"), description)
    return int(found[1]) if found else None


def stamp_of(description: bytes) -> float | None:
    """Return the time that a page states, in seconds since the acquisition began, or None."""
    found = _search(_STAMP, (b"frameTimestamps_sec", b"Frame Timestamp(s)"), description)
    if found is None:
        return None
    try:
        stamp = float(found[1])
    except ValueError:
        return None
    return stamp if math.isfinite(stamp) else None


def epoch_of(description: bytes) -> datetime | None:
    """Return the moment at which the acquisition began, as a page states it, or None."""
    return parse_moment(epoch_text_of(description).decode("ascii", "replace"))


def epoch_text_of(description: bytes) -> bytes:
    """Return the moment at which the acquisition began as a page spells it, or nothing."""
    found = _search(_EPOCH, (b"epoch",), description)
    return found[1] if found else b""


def parse_moment(text: str) -> datetime | None:
    """Return a moment, without a time zone, from one of ScanImage's spellings, or None.

    Parameters
    ----------
    text : str
        ``2023  9 22 12 46 9.383`` (a MATLAB clock vector), ``10/9/2017 16:57:07.967`` (month first, 3.x) or
        ``18-05-2015 11:58:43.788`` (day first, 4.x).
    """
    numbers = re.findall(r"\d{1,9}(?:\.\d{0,9})?", text[:100])
    if len(numbers) != 6:
        return None
    first, second, third, hour, minute, seconds = numbers
    if re.match(r"\s*\d{1,2}/", text):
        year, month, day = third, first, second
    elif re.match(r"\s*\d{1,2}-", text):
        year, month, day = third, second, first
    else:
        year, month, day = first, second, third
    try:
        # A clock vector has fractions of seconds only; added, because datetime refuses 60.0
        start = datetime(int(year), int(month), int(float(day)), int(float(hour)), int(float(minute)))
        return start + timedelta(seconds=float(seconds))
    except (ValueError, OverflowError):
        return None


_PREFIXES = ("SI.", "scanimage.", "state.")
_CLASSIC = ("scanimage.SI5.", "scanimage.SI4.", "SI5.", "SI4.")
# Keys may be indexed, such as a(1).b{2}
_KEY = re.compile(r"[A-Za-z][\w.()\[\]{} -]{0,300}\Z")
# Bounded repeats: a description is a text of the file, and open ones could take quadratic time
_NUMBER = re.compile(
    rb'(?:\A|[\r\n{,])[ \t]{0,8}"?(?:frameNumbers|Frame Number)"?[ \t]{0,8}[=:][ \t]{0,40}(\d{1,18})\b'
)
_STAMP = re.compile(
    rb'(?:\A|[\r\n{,])[ \t]{0,8}"?(?:frameTimestamps_sec|Frame Timestamp\(s\))"?[ \t]{0,8}[=:][ \t]{0,40}([-+.\deE]{1,40})'
)
_EPOCH = re.compile(rb'(?:\A|[\r\n{,])[ \t]{0,8}"?epoch"?[ \t]{0,8}[=:][ \t]{0,8}\[([\d., \t]{1,80})\]')
_INTEGER = re.compile(r"[+-]?\d{1,300}\Z")  # Python refuses to convert over 4300 digits
_FLOAT = re.compile(r"[+-]?(?:\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})(?:[eE][+-]?\d{1,4})?\Z")
_WORDS: Mapping[str, Any] = {
    "true": True,
    "false": False,
    "Inf": math.inf,
    "+Inf": math.inf,
    "-Inf": -math.inf,
    "inf": math.inf,
    "-inf": -math.inf,
    "NaN": math.nan,
    "nan": math.nan,
}
_TOKEN = re.compile(r"""[ \t]*(?:('(?:[^']|'')*'|"(?:[^"]|"")*")|([\[\]{},;])|([^\s,;\[\]{}'"]+))""")


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    quote = text[0]
    if quote in "'\"" and len(text) > 1 and text[-1] == quote:
        inner = text[1:-1]
        # MATLAB doubles a quote inside quotes; a single one ends the text
        if quote not in inner.replace(quote * 2, ""):
            return inner.replace(quote * 2, quote)
    return None


def _plain_vector(text: str) -> list[Any] | None:
    """Return a vector or matrix of numbers, or None; a shortcut, since some have thousands of values."""
    if text[0] != "[" or text[-1] != "]" or any(c in text for c in "'\"{}") or "[" in text[1:]:
        return None
    rows = [[_scalar(item) for item in row.replace(",", " ").split()] for row in text[1:-1].split(";")]
    # None means text or nesting, which the bracket parser reads
    if any(value is None for row in rows for value in row) or "]" in text[:-1]:
        return None
    return _arranged(rows)


def _arranged(rows: list[list[Any]]) -> list[Any]:
    rows = [row for row in rows if row]
    if not rows:
        return []
    if len(rows) == 1:
        return rows[0]
    if all(len(row) == 1 for row in rows):
        return [row[0] for row in rows]
    return [list(row) for row in rows]


class _Literal:
    """A bracketed literal, read from left to right; ValueError if it is not one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def value(self) -> Any:
        token = self._next()
        found = self._group("]" if token == "[" else "}", 1)
        if self._text[self._at :].strip():
            raise ValueError("text after the closing bracket")
        return found

    def _group(self, closing: str, depth: int) -> list[Any]:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        rows: list[list[Any]] = [[]]
        while (token := self._next()) != closing:
            if token == ";":
                rows.append([])
            elif token == "[":
                rows[-1].append(self._group("]", depth + 1))
            elif token == "{":
                rows[-1].append(self._group("}", depth + 1))
            elif token != ",":
                rows[-1].append(self._item(token))
        return _arranged(rows)

    def _next(self) -> str:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            raise ValueError("the closing bracket is missing")
        self._at = found.end()
        return found[1] or found[2] or found[3]

    @staticmethod
    def _item(token: str) -> Any:
        found = _scalar(token)
        if found is None:
            raise ValueError("neither a number nor a string")
        return found


def _flat(value: Any) -> Iterator[Any]:
    if not isinstance(value, list):
        if value is not None:
            yield value
        return
    pending: list[Any] = list(reversed(value))  # no recursion: the order stays, whatever the depth
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(reversed(item))
        else:
            yield item


def _decoded(text: bytes | str) -> str:
    if isinstance(text, str):
        return text[:_MAX_TEXT].partition("\0")[0]
    raw = text[:_MAX_TEXT].partition(b"\0")[0]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")  # MATLAB on Windows writes paths in the system's code page


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the lines' keys and values; a line that is not a pair continues the value before it."""
    if text.lstrip()[:1] == "{":
        yield from _json_pairs(_json(text))
        return
    key, parts = "", [""]
    # ScanImage 3.x separates lines by carriage returns alone; splitlines() would also split at form feeds
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n", _MAX_LINES):
        name, sign, value = line.partition("=")
        name = name.strip()
        if sign and _KEY.match(name):
            if key:
                yield key, "\n".join(parts)
            key, parts = name, [value.strip()]
        # A value may contain line breaks
        elif line.strip():
            parts.append(line.rstrip())
    if key:
        yield key, "\n".join(parts)


def _json_pairs(found: Any) -> Iterator[tuple[str, str]]:
    pending: list[tuple[str, Any]] = [("", found)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, dict):
            pending.extend((f"{path}.{key}" if path else str(key), value[key]) for key in reversed(list(value)))
        elif path:
            yield path.removeprefix("FrameHeader."), _as_literal(value)


def _as_literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        # JSON values become MATLAB literals, so that one parser serves both kinds of header
        return "{" + " ".join(_as_literal(item) for item in value) + "}"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, int | float):
        return {"inf": "Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(value), repr(value))
    return "[]"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    # json.loads recurses once per bracket; a text of brackets alone raises RecursionError
    except (ValueError, RecursionError):
        return None


def _dialect(lines: Mapping[str, str]) -> str:
    for key in lines:
        if key.startswith("state."):
            return "state"
        if key.startswith(_CLASSIC):
            return "SI4"
        if key.startswith(("SI.", "scanimage.SI.")):
            return "SI"
    return ""

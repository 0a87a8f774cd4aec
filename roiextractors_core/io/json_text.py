"""JSON of recordings, parsed within bounds: its bytes, its values and its depth are limited before memory is used for them."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from ..errors import CorruptRecordingError, printable
from .positioned import read_bounded

__all__ = ["MAX_JSON_BYTES", "parse_json", "read_json", "require_bounded_json"]

MAX_JSON_BYTES = 64 << 20
_MAX_VALUES = 3_000_000  # a value takes up to 64 bytes in memory; a million times of frames, with room to spare
_MAX_DEPTH = 256
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]+|[\]}]+', re.DOTALL)


def read_json(path: str | os.PathLike[str], *, limit: int = MAX_JSON_BYTES) -> Any:
    """Return the content of a JSON file.

    Parameters
    ----------
    path : str or os.PathLike
    limit : int
        Bytes that the file may have.

    Raises
    ------
    CorruptRecordingError
        It is not JSON in UTF-8, is too large, has too many values or is nested too deeply.
    SourceNotFoundError, SourcePermissionError, SourceReadError
    """
    return parse_json(read_bounded(path, limit), os.fspath(path))


def parse_json(data: bytes, name: str) -> Any:
    """Return what JSON text in UTF-8 contains.

    Parameters
    ----------
    data : bytes
    name : str
        Of the file, for messages.

    Raises
    ------
    CorruptRecordingError
        As :func:`read_json`.
    """
    require_bounded_json(data, name)
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise CorruptRecordingError(f"{printable(name)} is not valid JSON: {printable(error)[:120]}") from error


def require_bounded_json(data: bytes, name: str) -> None:
    """Raise if JSON text would take far more memory than its bytes, or nests deeper than any description does.

    Raises
    ------
    CorruptRecordingError
    """
    brackets = data.count(b"[") + data.count(b"{")
    values = brackets + data.count(b",")  # at least the number of values; commas in texts count too
    if len(data) > MAX_JSON_BYTES or values > _MAX_VALUES:
        raise CorruptRecordingError(
            f"{printable(name)} has {len(data):,} bytes of JSON with {values:,} values; at most {MAX_JSON_BYTES:,} bytes and "
            f"{_MAX_VALUES:,} values are read"
        )
    if brackets > _MAX_DEPTH and _depth(data) > _MAX_DEPTH:
        raise CorruptRecordingError(f"{printable(name)} is JSON nested deeper than {_MAX_DEPTH} levels")


def _depth(data: bytes) -> int:
    """Return how deeply brackets nest outside of strings, counted without recursion; over 256 counts no further."""
    depth = deepest = 0
    for match in _TOKENS.finditer(data):
        text = match[0]
        if text[:1] in (b"[", b"{"):
            depth += len(text)
            if depth > deepest:
                deepest = depth
                if deepest > _MAX_DEPTH:
                    return deepest
        elif text[:1] != b'"':
            depth -= len(text)
    return deepest

"""Text at the beginning of a file: decoded leniently, and searched with regular expressions in a bounded time."""

from __future__ import annotations

import codecs
import importlib
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["MAX_SEARCHED", "decode_text", "pattern_fault", "search_text"]

MAX_SEARCHED = 4096
"""Characters in which a regular expression is searched: the time can grow with their square or cube."""

_MAX_LINE = 256
_MAX_PASSES = 8  # a repeat of fewer passes than this cannot make its content expensive


def decode_text(head: bytes, *, is_whole: bool) -> str:
    """Return the first bytes of a file as text, with ``\\n`` at the end of each line.

    UTF-16 is recognised by its byte order mark; other bytes are UTF-8 or, where they are not, Latin-1, which
    any bytes are.

    Parameters
    ----------
    head : bytes
    is_whole : bool
        Whether the file ends here; otherwise the last character may be cut.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = head[: len(head) // 2 * 2].decode("utf-16", "replace")
    else:
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(head, is_whole)
        except UnicodeDecodeError:
            text = head.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def search_text(pattern: str, text: str) -> bool:
    """Return whether a regular expression is found; ``^`` and ``$`` match at every line.

    Parameters
    ----------
    pattern : str
        Without a :func:`pattern_fault`.
    text : str
        Its first 4,096 characters are searched, and of each line the first 256: most repeats end with the line.
    """
    lines = "\n".join(line[:_MAX_LINE] for line in text[:MAX_SEARCHED].split("\n"))
    return re.search(pattern, lines, re.MULTILINE) is not None


def pattern_fault(pattern: str) -> str:
    """Return what is wrong with a regular expression, or an empty string.

    An alternative or a repeat inside a repeat can match the same text in a number of ways that doubles with every
    character; no bound of the text helps against it.
    """
    try:
        re.compile(pattern)
        parsed = importlib.import_module("re._parser").parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a valid regular expression: {error}"
    except ImportError:  # a private module of Python, which a later version may move
        return ""
    if _is_ambiguous(parsed, is_repeated=False):
        return "may take forever: it repeats a group that contains a repeat or alternatives; write the inner one as ++ or (?>...)"
    return ""


def _is_ambiguous(parsed: Iterable[tuple[Any, Any]], *, is_repeated: bool) -> bool:
    for operation, argument in parsed:
        name, inside = str(operation), is_repeated
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, _ = argument
            if is_repeated and most != least and name != "POSSESSIVE_REPEAT":
                return True
            inside = is_repeated or most > _MAX_PASSES
        elif name == "ATOMIC_GROUP":
            inside = False  # what it has matched is not tried in another way
        elif name == "BRANCH" and is_repeated:
            return True
        if any(_is_ambiguous(part, is_repeated=inside) for part in _parts(argument)):
            return True
    return False


def _parts(argument: Any) -> Iterable[Any]:
    """Yield the patterns inside the argument of an operation."""
    if hasattr(argument, "data"):
        yield argument
    elif isinstance(argument, tuple | list):
        for one in argument:
            yield from _parts(one)

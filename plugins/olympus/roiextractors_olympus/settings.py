"""The settings files of FluoView: sections of keys and values, as text."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping

from roiextractors_core.errors import CorruptRecordingError

__all__ = ["MOST_BYTES", "Settings"]

MOST_BYTES = 16 << 20
"""A longer settings file is none."""

_NO_TEXT = "[ColorLUTData]"
_COMMA = re.compile(r"-?\d+,\d+(\.0)?")


class Settings:
    """Sections of keys and values.

    Parameters
    ----------
    sections : mapping of str to mapping of str to str
        Values without the quotes around them.
    name : str
        The file's, for errors.

    References
    ----------
    The accounts of the packages oiffile (``SettingsFile``) and Bio-Formats (``FV1000Reader``).
    """

    def __init__(self, sections: Mapping[str, Mapping[str, str]], name: str) -> None:
        self.sections, self.name = sections, name

    @classmethod
    def of(cls, data: bytes, name: str) -> Settings:
        """Understand the content of a file.

        Parameters
        ----------
        data : bytes
            UTF-16 with its mark, or UTF-8.  A table of colours at the end is left out.
        name : str
            Safe to print.

        Raises
        ------
        CorruptRecordingError
            It is no text, or has no section.
        """
        try:
            is_wide = data[:2] == b"\xff\xfe"
            text = data[: len(data) // 2 * 2].decode("utf-16") if is_wide else data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CorruptRecordingError(f"{name} is no settings file of FluoView: it is no text ({error})") from error
        sections: dict[str, dict[str, str]] = {}
        current: dict[str, str] = {}
        for line in text.partition(_NO_TEXT)[0].splitlines():
            words = line.strip().rstrip("\0")
            if words.startswith("[") and words.endswith("]"):
                current = sections.setdefault(words[1:-1], {})
            elif "=" in words:
                key, _, value = words.partition("=")
                current[key.strip()] = _unquoted(value.strip())
        if not sections:
            raise CorruptRecordingError(f"{name} is no settings file of FluoView: it begins with {data[:12]!r}")
        return cls(sections, name)

    def text(self, section: str, key: str) -> str:
        """Return a value; nothing where it is not told, or told as none."""
        found = self.sections.get(section, {}).get(key, "")
        return "" if found in ("None", "(null)", "Unknown") else found

    def number(self, section: str, key: str) -> float | None:
        """Return a value as a number; None where it is not told, or none.

        A computer with a decimal comma writes ``0,207``, or ``0,207.0``.
        """
        found = self.text(section, key)
        if _COMMA.fullmatch(found):
            found = found.removesuffix(".0").replace(",", ".")
        with contextlib.suppress(ValueError):
            value = float(found)
            return value if math.isfinite(value) else None
        return None

    def count(self, section: str, key: str) -> int | None:
        """Return a value as a number of things; None where it is not told, or no such number."""
        found = self.number(section, key)
        return int(found) if found is not None and found == int(found) and 0 <= found < 1 << 31 else None


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value

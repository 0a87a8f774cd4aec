"""The settings files of FluoView: sections of keys and values, as text."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping

from roiextractors_core.errors import CorruptRecordingError

__all__ = ["MAX_BYTES", "Settings"]

MAX_BYTES = 16 << 20
"""At most this many bytes of a settings file are read."""

_NO_TEXT = "[ColorLUTData]"
_COMMA = re.compile(r"-?\d+,\d+(\.0)?")


class Settings:
    """Sections of keys and values.

    Parameters
    ----------
    sections : mapping of str to mapping of str to str
        Values without the quotes around them.
    name : str
        The file's name, for messages.

    References
    ----------
    The packages oiffile (``SettingsFile``) and Bio-Formats (``FV1000Reader``).
    """

    def __init__(
        self, sections: Mapping[str, Mapping[str, str]], name: str, *, ends_inside_a_line: bool = False
    ) -> None:
        self.sections, self.name = sections, name
        self.ends_inside_a_line = ends_inside_a_line  # FluoView ends every line

    @classmethod
    def of(cls, data: bytes, name: str) -> Settings:
        """Parse the contents of a file.

        Parameters
        ----------
        data : bytes
            UTF-16 with a byte order mark, or UTF-8.  A table of colours at the end is ignored.
        name : str
            The file's name, safe to print.

        Raises
        ------
        CorruptRecordingError
            The data are not text, or have no section.
        """
        try:
            is_wide = data[:2] == b"\xff\xfe"
            # A file that was cut at MAX_BYTES, or is truncated, may end inside a character
            text = data[: len(data) // 2 * 2].decode("utf-16") if is_wide else data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CorruptRecordingError(f"{name} is not a FluoView settings file: it is not text ({error})") from error
        sections: dict[str, dict[str, str]] = {}
        current: dict[str, str] = {}
        for line in text.partition(_NO_TEXT)[0].splitlines():
            words = line.strip().rstrip("\0")
            if words.startswith("[") and words.endswith("]"):
                current = sections.setdefault(words[1:-1], {})
            elif "=" in words:
                key, _, value = words.partition("=")
                current[key.strip()] = _unquote(value.strip())
        if not sections:
            raise CorruptRecordingError(f"{name} is not a FluoView settings file: it begins with {data[:12]!r}")
        return cls(
            sections, name, ends_inside_a_line=_NO_TEXT not in text and text.rstrip("\0")[-1:] not in ("\r", "\n")
        )

    def text(self, section: str, key: str) -> str:
        """Return a value; an empty string if it is missing or unknown."""
        value = self.sections.get(section, {}).get(key, "")
        return "" if value in ("None", "(null)", "Unknown") else value

    def number(self, section: str, key: str) -> float | None:
        """Return a value as a number; None if it is missing or not a finite number.

        A computer with a decimal comma writes ``0,207``, or ``0,207.0``.
        """
        text = self.text(section, key)
        if _COMMA.fullmatch(text):
            text = text.removesuffix(".0").replace(",", ".")
        with contextlib.suppress(ValueError):
            value = float(text)
            return value if math.isfinite(value) else None
        return None

    def count(self, section: str, key: str) -> int | None:
        """Return a value as an integer from 0 to 2**31; None if it is missing or not such a number."""
        value = self.number(section, key)
        return int(value) if value is not None and value == int(value) and 0 <= value < 1 << 31 else None


def _unquote(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value

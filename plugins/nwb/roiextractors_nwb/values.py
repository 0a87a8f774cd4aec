"""Values of an NWB file as numbers and text that can be used, or None."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

__all__ = ["finite", "moment", "positive", "texts", "whole"]

_FIRST_YEAR = 1970


def finite(value: Any) -> float | None:
    """Return a finite number, which may be inside lists of one value."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def positive(value: Any) -> float | None:
    """Return a finite number above 0."""
    found = finite(value)
    return found if found is not None and found > 0 else None


def whole(value: Any) -> int | None:
    """Return a whole number, 0 or above."""
    found = finite(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def texts(value: Any) -> Sequence[str]:
    """Return a text, or a list of texts, as a list; anything else is left out."""
    found = value if isinstance(value, list) else [value]
    return [item for item in found if isinstance(item, str)]


def moment(value: Any) -> datetime | None:
    """Return a date and time in ISO 8601."""
    text = value[0] if isinstance(value, list) and value else value
    try:
        found = datetime.fromisoformat(text.strip()) if isinstance(text, str) else None
    except ValueError:
        return None
    # Programs that do not know the start write the beginning of their own clock
    return found if found is not None and found.year > _FIRST_YEAR else None

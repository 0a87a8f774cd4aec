"""Draws short texts of digits into pictures, with a font of its own: 5 by 7 pixels a character."""

from __future__ import annotations

import numpy as np

__all__ = ["draw_stamp"]

# Seven rows of five pixels each; the highest bit is the left one
_GLYPHS = {
    "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14),
    "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14),
    "4": (2, 6, 10, 18, 31, 2, 2),
    "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12),
    ".": (0, 0, 0, 0, 0, 12, 12),
    "-": (0, 0, 0, 31, 0, 0, 0),
    "#": (10, 10, 31, 10, 31, 10, 10),
    "s": (0, 0, 15, 16, 14, 1, 30),
    " ": (0, 0, 0, 0, 0, 0, 0),
}
_ROWS, _COLUMNS, _MARGIN = 7, 5, 2


def draw_stamp(picture: np.ndarray, text: str, size: int = 1) -> None:
    """Draw a text in white on a darkened box in the upper left corner; a picture that is too small is left as it is.

    Parameters
    ----------
    picture : numpy.ndarray
        ``(rows, columns)``, uint8; changed in place.
    text : str
        Of digits and ``. - # s`` and blanks.
    size : int
        Pixels for each pixel of the font.
    """
    rows, columns = picture.shape
    while size > 1 and not _fits(text, size, rows, columns):
        size -= 1
    if not _fits(text, size, rows, columns):
        return
    letters = np.kron(_letters(text), np.ones((size, size), bool))
    margin = _MARGIN * size
    box = picture[: letters.shape[0] + 2 * margin, : letters.shape[1] + 2 * margin]
    box //= 4
    box[margin:-margin, margin:-margin][letters] = 255


def _fits(text: str, size: int, rows: int, columns: int) -> bool:
    width = (len(text) * (_COLUMNS + 1) - 1 + 2 * _MARGIN) * size
    # A third of the height at most: the picture is what is looked at
    return width <= columns and 3 * (_ROWS + 2 * _MARGIN) * size <= rows


def _letters(text: str) -> np.ndarray:
    parts = [np.array([[bool(row >> (4 - k) & 1) for k in range(5)] for row in _GLYPHS[c]]) for c in text]
    spaced = [part for glyph in parts for part in (glyph, np.zeros((_ROWS, 1), bool))]
    return np.concatenate(spaced[:-1], axis=1)

"""Choosing one of several streams: by its name, by an identifier, or by its number."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import StreamChoiceError

__all__ = ["choose_stream"]


def choose_stream(
    name: str,
    option: str,
    names: Sequence[str],
    given: str | int | None,
    *,
    identifiers: Sequence[str] = (),
    first: int = 0,
) -> int:
    """Return the place of the stream that was asked for; of the only one, when none was named.

    Parameters
    ----------
    name : str
        The recording's, for the error.
    option : str
        The keyword: ``"channel"``.
    names : sequence of str
        As ``streams`` lists them; empty for a recording that has nothing to choose.
    given : str, int or None
        What the user passed: a name comes before an identifier, and that before a number.
    identifiers : sequence of str
        Other names that the file has for the same streams, in the same order.
    first : int
        The number of the first stream: 1 for channels as people count them, 0 for planes.

    Raises
    ------
    StreamChoiceError
        Several and none was named, or one that is not there.
    """
    if given is None:
        if len(names) > 1:
            raise StreamChoiceError.for_option(name, option, names)
        return 0
    text = str(given)
    for known in (names, identifiers):
        if text in known:
            return list(known).index(text)
    number = int(text) - first if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not 0 <= number < max(1, len(names)):
        raise StreamChoiceError.for_option(name, option, names or (str(first),), seen=given)
    return number

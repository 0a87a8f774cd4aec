"""The choice of one stream among several, by name, identifier or number."""

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
    """Return the position of the requested stream, or of the only one if none was named.

    Parameters
    ----------
    name : str
        Name of the recording, for the error message.
    option : str
        The keyword: ``"channel"``.
    names : sequence of str
        As ``streams`` lists them; empty if there is nothing to choose.
    given : str, int or None
        The user's choice; a name is tried before an identifier, and an identifier before a number.
    identifiers : sequence of str
        Other names of the same streams, in the same order.
    first : int
        Number of the first stream: 1 for channels, which people count from 1, and 0 for planes.

    Raises
    ------
    StreamChoiceError
        There are several and none was named, or the named one does not exist.
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

"""A limit on the work that the content of one file may cause."""

from __future__ import annotations

from ..errors import CorruptRecordingError, printable

__all__ = ["Budget"]


class Budget:
    """A number of steps that a walk through a file may take; a file that needs more is refused.

    What a file claims (counts, links, chains) decides how long a walk takes, so each walk has a limit that no recording reaches and
    that takes a few seconds at most.  Steps are counted, not seconds, so that the same file always gives the same answer.

    Parameters
    ----------
    limit : int
        Steps that may be spent.
    where : str
        The file, or a part of it, for the message.
    what : str
        The steps in the plural: ``"objects"``.
    advice : str
        The end of the sentence.

    Examples
    --------
    >>> budget = Budget(2, "movie.h5", "objects")
    >>> budget.spend()
    >>> budget.spend()
    >>> budget.spend()
    Traceback (most recent call last):
        ...
    roiextractors_core.errors.CorruptRecordingError: movie.h5 has more than 2 objects; the file is damaged
    """

    __slots__ = ("_advice", "_left", "_limit", "_what", "_where")

    def __init__(self, limit: int, where: str, what: str, *, advice: str = "the file is damaged") -> None:
        self._left = self._limit = limit
        self._where, self._what, self._advice = where, what, advice

    @property
    def left(self) -> int:
        """Steps that are left."""
        return max(0, self._left)

    def spend(self, steps: int = 1) -> None:
        """Take steps off the budget.

        Parameters
        ----------
        steps : int

        Raises
        ------
        CorruptRecordingError
            More steps were taken than the limit.
        """
        self._left -= steps
        if self._left < 0:
            raise CorruptRecordingError(
                f"{printable(self._where)} has more than {self._limit:,} {self._what}; {self._advice}"
            )

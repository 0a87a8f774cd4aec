"""The times in ``timing.txt``: seconds since the start of the experiment, one per line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roiextractors_core.io import PositionedFile

__all__ = ["Timing"]

_MAX_BYTES = 32 << 20
_MIN_KNOWN = 3  # with fewer times, there is no earlier step to compare the last one with


@dataclass(frozen=True)
class Timing:
    """The samples' times, or why there are none.

    Attributes
    ----------
    seconds : numpy.ndarray or None
        One per sample, float64.
    note : str
        The reason if there are none; empty otherwise.

    References
    ----------
    ThorImage LS sources, ``AcquireSaveInfo``: the first line is 0, and each frame adds one; in stimulus mode the 0 comes
    before the first frame.
    """

    seconds: np.ndarray | None
    note: str = ""

    @property
    def stands_still(self) -> bool:
        """Whether the times are all the same, which is no loss of times but a clock that was not running."""
        return "do not advance" in self.note

    @classmethod
    def of(cls, path: str, *, samples: int, steps: Sequence[int], time_points: int) -> Timing:
        """Read the file.

        Parameters
        ----------
        path : str
        samples : int
            Number of samples in the recording.
        steps : sequence of int
            Possible numbers of lines per sample: one, one per plane, or one per plane and flyback frame.
        time_points : int
            Number of samples that the experiment describes.
        """
        values, why = _read_values(path)
        if values is None:
            return cls(None, f"{why}; times are computed from the rate")
        # A file of a stopped recording may have the times of all intended samples
        counts = sorted({samples, time_points})
        fitting = [step for step in dict.fromkeys(steps) for count in counts if len(values) == count * step]
        if not fitting and len(values) > 1 and values[0] == 0 and values[1] < 1e-3:
            values = values[1:]  # the 0 of stimulus mode, which is not a frame
            fitting = [step for step in dict.fromkeys(steps) for count in counts if len(values) == count * step]
        if not fitting or len(values) < (samples - 1) * fitting[0] + 1:
            return cls(
                None,
                f"{PositionedFile(path).name} contains {len(values):,} times for {samples:,} samples; times are "
                "computed from the rate",
            )
        return cls(np.ascontiguousarray(values[:: fitting[0]][:samples]))


def _read_values(path: str) -> tuple[np.ndarray | None, str]:
    file = PositionedFile(path)
    try:
        if file.size > _MAX_BYTES:
            return None, f"{file.name} is too large for a list of times ({file.size:,} bytes)"
        text = file.read(0, file.size)
    finally:
        file.close()
    try:
        # The whole text at once: a recording may have hundreds of thousands of times
        values = np.array(text.split(), np.float64)
    except ValueError:
        return None, f"{file.name} contains text that is not a number"
    # A value that is cut inside its digits is still a number
    if len(values) and not text.endswith((b"\n", b"\r")) and not _follows(values):
        return None, f"{file.name} is truncated inside its last line"
    if not np.isfinite(values).all() or (np.diff(values) < 0).any():
        return None, f"the times in {file.name} are not increasing"
    # A clock that stands still would give all samples the same time
    if len(values) > 1 and values[-1] == values[0]:
        return None, f"the times in {file.name} do not advance"
    return values, ""


def _follows(values: np.ndarray) -> bool:
    """Return whether the last value, on a line without an end, continues the others; it could be cut inside its digits."""
    if len(values) < _MIN_KNOWN:
        return False
    step = float(np.median(np.diff(values[:-1]))) if len(values) > _MIN_KNOWN else float(values[1] - values[0])
    return bool(abs(values[-1] - values[-2] - step) <= 1e-3 * abs(step))

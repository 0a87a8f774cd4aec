"""The frames that oiffile reads from an .oib file: what the fuzzer judges changed copies by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from oiffile import OifFile

__all__ = ["frames_of"]

COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def frames_of(path: Path, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield every frame of this shape."""
    with path.open("rb") as stream:
        if stream.read(8) != COMPOUND:
            return
    with OifFile(path) as file:
        for name in file.glob("*.tif"):
            try:
                frame = file.asarray(name)
            except (Exception, SystemExit):  # of one frame; the others are read all the same
                continue
            if frame.shape == shape:
                yield frame

"""Writes ``.npy`` files, with the times and metadata in a JSON file next to each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CorruptRecordingError
from ..io.atomic import require_room
from ..io.blocks import Progress, read_blocks
from ..io.positioned import PositionedFile
from ..io.sidecar import Sidecar

__all__ = ["NpyWriter", "write"]

_HEADER_BYTES = 256  # NumPy pads the header to a multiple of 64; four dimensions take 128


class NpyWriter:
    """Writes a recording as ``movie.npy`` and ``movie.npy.json``; see :class:`roiextractors_core.interop.writer.Writer`.

    References
    ----------
    NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays".
    """

    def __call__(self, recording: Any, partial: Path, *, target: Path, progress: Progress) -> None:
        """Write a recording."""
        dtype = np.lib.format.dtype_to_descr(recording.dtype)
        header = {"descr": dtype, "fortran_order": False, "shape": recording.shape}
        # Before the first block: a full disk after an hour helps nobody
        require_room(partial, recording.nbytes + _HEADER_BYTES)
        with partial.open("xb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for _, block in read_blocks(recording, progress=progress):
                stream.write(np.ascontiguousarray(block).data)
        file = PositionedFile(partial)
        try:
            # The sidecar describes the bytes as written, so that it is not applied to another file of the same name
            sidecar = Sidecar.of(recording).describing(file.read, file.size, recording.dtype)
        finally:
            file.close()
        partial.with_name(_sidecar_name(partial)).write_text(sidecar.to_json(), encoding="utf-8")

    def companion_names(self, target: Path) -> tuple[str, ...]:
        """Return the name of the JSON file."""
        return (_sidecar_name(target),)

    def may_replace(self, path: Path) -> bool:
        """Return whether a path is a file and, if it is a JSON file, one that this writer wrote."""
        if not path.is_file():
            return False
        if path.suffix.lower() != ".json":
            return True
        try:
            return Sidecar.from_json(path.read_bytes(), where=str(path)) is not None
        except CorruptRecordingError:  # under our key, so it was ours
            return True


write = NpyWriter()


def _sidecar_name(target: Path) -> str:
    return f"{target.name}.json"

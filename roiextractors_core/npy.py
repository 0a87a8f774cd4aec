"""Recordings that are arrays: in memory, and in NumPy's own file format."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import numpy as np

from .errors import (
    CorruptRecordingError,
    DeclarationError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from .imaging.extractor import BlockImagingExtractor, Samples
from .io.positioned import PositionedFile
from .io.sidecar import Sidecar
from .io.stored import StoredArray, StoredFrames
from .metadata import RecordingMetadata

__all__ = ["NpyImagingExtractor"]

_MAX_HEADER = 1 << 16
_MAX_COMPANION = 256 << 20


class NpyImagingExtractor(BlockImagingExtractor):
    """A ``.npy`` file as a recording, read from the disk as asked for; nothing in it is ever unpickled.

    Beside ``movie.npy``, ``movie.npy.json`` may hold its rate, times and metadata, as ``convert`` writes them.

    Only what is asked for is read; of arrays in Fortran order much more, since one sample of theirs is spread over the
    whole file.

    Parameters
    ----------
    file_path : str or os.PathLike
    sampling_frequency : float, optional
        Samples a second (Hz).
    dimension_order : str, optional
        The array's axes, one letter each of T (time), Z (planes), Y (rows), X (columns); the default is
        ``"YX"``, ``"TYX"`` or ``"TYXZ"`` by the number of dimensions.

    Raises
    ------
    UnsupportedRecordingError
        Objects (which would need pickle), structured or text arrays, or other numbers of dimensions.
    CorruptRecordingError, TruncatedRecordingError
        A header that cannot be read; a file shorter than its header says.

    References
    ----------
    NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays".
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        sampling_frequency: float | None = None,
        dimension_order: str | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._file = PositionedFile(file_path)
        self._shape, self._fortran, self._dtype, self._offset = _npy_header(self._file)
        self._axes = _checked_axes(dimension_order, self._shape, self._file.name)
        self._lengths = dict(zip(self._axes, self._shape, strict=True))
        self.is_volumetric = "Z" in self._axes
        self._frame_shape = (self._lengths["Y"], self._lengths["X"])
        self._companion = self._read_companion()
        self._is_plain = not self._fortran and self._axes in ("YX", "TYX", "TYXZ")
        self._frames = StoredFrames((self._file,), shape=self.get_sample_shape(), dtype=self._dtype)
        stored = self._shape[::-1] if self._fortran else self._shape
        self._array = StoredArray(self._file, shape=stored, dtype=self._dtype, offset=self._offset)

    def get_image_shape(self) -> tuple[int, int]:
        return self._frame_shape

    def get_num_samples(self) -> int:
        return self._lengths.get("T", 1)

    def get_num_planes(self) -> int:
        return self._lengths.get("Z", 1)

    def get_dtype(self) -> np.dtype[Any]:
        return self._dtype.newbyteorder("=")

    def get_sampling_frequency(self) -> float | None:
        """Return the rate in the sidecar file, or None."""
        return None if self._companion is None else self._companion.rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times in the sidecar file, or None."""
        start, end = self.resolve_range(start_sample, end_sample)
        if self._companion is None or self._companion.times is None:
            return None
        return self._companion.times[start:end].copy()

    def get_metadata(self) -> RecordingMetadata:
        return RecordingMetadata() if self._companion is None else self._companion.metadata

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        self.check_open()
        return self._part(samples, rows, columns, planes)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _read_companion(self) -> Sidecar | None:
        self._notes: tuple[str, ...] = ()
        beside = PositionedFile(f"{self._file.path}.json")
        try:
            size = os.stat(beside.path).st_size
        except OSError:
            return None
        if size > _MAX_COMPANION:
            self._notes = (
                f"{beside.name} was ignored: it has {size:,} bytes, more than the limit of {_MAX_COMPANION:,}",
            )
            return None
        found = Sidecar.from_json(beside.read(0, size), where=beside.name)
        beside.close()
        if found is not None and found.shape != self.shape:
            self._notes = (
                f"{beside.name} was not used: it is of a recording of shape {found.shape}, and this one is {self.shape}",
            )
            return None
        return found

    def _part(self, samples: Samples, rows: slice, columns: slice, planes: slice | None) -> np.ndarray:
        planes = slice(None) if planes is None else planes
        if not self._is_plain:
            return self._scattered_part((samples, rows, columns, planes))
        indices = np.arange(samples.start, samples.stop) if isinstance(samples, slice) else samples
        found = self._frames.read(self._offset + indices * self._frames.frame_bytes, rows, columns)
        if planes.indices(self.get_num_planes()) == (0, self.get_num_planes(), 1):
            return found
        return np.ascontiguousarray(found[..., planes])

    def _scattered_part(self, part: tuple[Any, ...]) -> np.ndarray:
        """Read what is spread over the file: an array in Fortran order, or with its axes in another order."""
        given = dict(zip("TYXZ", part, strict=True))
        letters = self._axes[::-1] if self._fortran else self._axes
        found = self._array.read([given[axis] for axis in letters])
        found = found.transpose([letters.index(axis) for axis in "TYXZ" if axis in letters])
        if "T" not in letters:
            found = found[np.newaxis][given["T"]]
        return np.ascontiguousarray(found)


def _npy_header(file: PositionedFile) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    head = file.read(0, 12)
    if head[:6] != b"\x93NUMPY" or len(head) < 10:
        raise CorruptRecordingError(f"{file.name} is not a .npy file: its first bytes are {head[:8].hex(' ')}")
    version = (head[6], head[7])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise UnsupportedRecordingError(
            f"{file.name} has .npy version {version[0]}.{version[1]}; supported are 1.0, 2.0 and 3.0"
        )
    width = 2 if version == (1, 0) else 4
    length, start = int.from_bytes(head[8 : 8 + width], "little"), 8 + width
    if length > _MAX_HEADER:
        raise CorruptRecordingError(
            f"{file.name} claims a header of {length:,} bytes, more than any array of numbers needs ({_MAX_HEADER:,})"
        )
    text = file.read(start, length)
    if len(text) < length:
        raise TruncatedRecordingError(f"{file.name} is truncated: got {len(text):,} of {length:,} header bytes")
    shape, fortran, dtype = _parsed_header(text.decode("utf-8" if version == (3, 0) else "latin-1"), file.name)
    offset, count = start + length, 1
    for number in shape:
        count *= number
    if file.size < offset + count * dtype.itemsize:
        raise TruncatedRecordingError(
            f"{file.name} is truncated: it has {file.size:,} bytes, expected {offset + count * dtype.itemsize:,} (shape {shape}, {dtype})"
        )
    return shape, fortran, dtype, offset


def _parsed_header(text: str, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    import ast

    found: Any = None
    with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        found = ast.literal_eval(text.strip())
    if not isinstance(found, dict) or set(found) != {"descr", "fortran_order", "shape"}:
        raise CorruptRecordingError(
            f"the header of {name} is not a dictionary of descr, fortran_order and shape: {printable(text[:80])!r}"
        )
    shape = found["shape"]
    if not isinstance(shape, tuple) or not all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 62 for n in shape
    ):
        raise CorruptRecordingError(f"the header of {name} has an invalid shape: {printable(repr(shape))[:80]}")
    try:
        dtype = np.dtype(found["descr"])
    except (TypeError, ValueError, SyntaxError, OverflowError, MemoryError, RecursionError) as error:
        raise CorruptRecordingError(
            f"the header of {name} has an unknown dtype: {printable(repr(found['descr']))[:80]}"
        ) from error
    if dtype.hasobject:
        raise UnsupportedRecordingError(
            f"{name} contains Python objects, and unpickling them could run code; save it again as an array of numbers"
        )
    if dtype.kind not in "biufc":
        raise UnsupportedRecordingError(
            f"{name} is an array of {printable(dtype)[:80]}; a recording must be an array of numbers"
        )
    return shape, bool(found["fortran_order"]), dtype


def _checked_axes(order: str | None, shape: tuple[int, ...], name: str) -> str:
    if order is None:
        usual = {2: "YX", 3: "TYX", 4: "TYXZ"}.get(len(shape))
        if usual is None:
            raise UnsupportedRecordingError(
                f"{name} has {len(shape)} dimensions {shape}; reshape it to (samples, rows, columns[, planes]) and save it again"
            )
        return usual
    axes = order.upper()
    if len(axes) != len(shape) or len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes) <= set("TZYX"):
        raise DeclarationError(
            f"dimension_order={order!r} does not fit {name} of shape {shape}; use one letter per axis from T, Z, Y, X, including Y and X"
        )
    return axes

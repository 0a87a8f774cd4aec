"""Recordings that are arrays: in memory, and in NumPy's own file format."""

from __future__ import annotations

import contextlib
import math
import os
from typing import Any

import numpy as np

from .errors import (
    DeclarationError,
    RoiExtractorsWarning,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from .imaging.extractor import BlockImagingExtractor, Samples
from .io.missing import missing_samples
from .io.notices import warn
from .io.npy_header import NpyHeader, read_npy_header
from .io.positioned import PositionedFile
from .io.sidecar import Sidecar
from .io.stored import StoredArray, StoredFrames
from .metadata import RecordingMetadata

__all__ = ["NpyImagingExtractor"]

_COLOURS = (3, 4)  # the length of a last axis that may be RGB or RGBA
# Names under which segmentations save traces and classifications, as arrays of two dimensions
_TRACES = frozenset(("f", "fneu", "spks", "iscell", "redcell"))
_OBJECTS = {
    "_seg.npy": "the masks of cells by Cellpose as Python objects, not a movie",
    "_proc.npy": "the results of Facemap as Python objects, not a movie",
    "ops.npy": "the settings of a segmentation as Python objects, not a movie",
    "stat.npy": "the ROIs of a segmentation as Python objects, not a movie",
}
# Files of the same stem with which other programs describe arrays
_DESCRIPTIONS = (".json", ".xml", ".yaml", ".yml", ".toml", ".ini")
_MAX_COMPANION = 256 << 20  # bytes


class NpyImagingExtractor(BlockImagingExtractor):
    """A ``.npy`` file as a recording, read from the disk on demand and never unpickled.

    ``movie.npy.json`` next to ``movie.npy`` may contain its rate, times and metadata, as ``convert`` writes them.  If it is of another
    movie, by its shape, size, dtype or checksum, it is not used, and a warning says so.

    Reads only the samples that you ask for; of arrays in Fortran order much more, since each of their samples is spread
    over the whole file.

    Parameters
    ----------
    file_path : str or os.PathLike
    sampling_frequency : float, optional
        Samples a second (Hz).
    dimension_order : str, optional
        The array's axes, one letter each of T (time), C (channels), Z (planes), Y (rows), X (columns); the default is
        ``"YX"``, ``"TYX"`` or ``"TYXZ"`` by the number of dimensions.
    channel : int, optional
        Which channel, from 0, if ``dimension_order`` has the letter C.
    allow_missing : bool
        Whether to read the whole samples of a file that is shorter than its header says.

    Raises
    ------
    UnsupportedRecordingError
        Objects (which would need pickle), structured or text arrays, or other numbers of dimensions.
    CorruptRecordingError, TruncatedRecordingError
        A header that cannot be read; a file that is shorter than its header says.
    StreamChoiceError
        There are several channels and none was chosen.

    Warns
    -----
    IncompleteRecordingWarning
        With ``allow_missing``: the file is shorter than its header says.
    RoiExtractorsWarning
        The shape suggests other axes than the default ones; bytes follow the array; the companion is of another movie.

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
        channel: int | None = None,
        allow_missing: bool = False,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._file = PositionedFile(file_path)
        self._shape, self._fortran, self._dtype, self._offset = _npy_header(self._file)
        self._axes = _checked_axes(dimension_order, self._shape, self._file.name)
        stated = dict(zip(self._axes, self._shape, strict=True))
        self._num_stated = stated.get("T", 1)
        whole, incomplete = _whole_samples(
            self._file, self._axes, self._shape, self._fortran, self._dtype, self._offset
        )
        if incomplete and not allow_missing:
            raise TruncatedRecordingError(
                f"{incomplete}; to read the {whole[0]:,} complete samples of {self._shape[0]:,}, open(..., allow_missing=True)"
            )
        self._shape = whole
        self._lengths = dict(zip(self._axes, self._shape, strict=True))
        self._channel = _checked_channel(channel, self._lengths.get("C"), self._file.name)
        self.is_volumetric = "Z" in self._axes
        self._frame_shape = (self._lengths["Y"], self._lengths["X"])
        self._companion, stale, ignored = self._read_companion(tuple(stated[axis] for axis in "TYXZ" if axis in stated))
        self._is_plain = not self._fortran and self._axes in ("YX", "TYX", "TYXZ")
        self._frames = StoredFrames((self._file,), shape=self.get_sample_shape(), dtype=self._dtype)
        # An array in Fortran order is its transpose in C order
        stored = self._shape[::-1] if self._fortran else self._shape
        self._array = StoredArray(self._file, shape=stored, dtype=self._dtype, offset=self._offset)
        is_guess = dimension_order is None and self._companion is None
        doubt, note = _doubts(self._file.name, self._shape, self._dtype) if is_guess else ("", "")
        self._num_written = self._count_written()
        contradictions = (
            stale,
            doubt,
            "" if self._companion is not None else _unused_description(str(self._file.path), self._file.name),
            "" if incomplete else _surplus(self._file, self._shape, self._dtype, self._offset),
        )
        read = f"{incomplete}; reading {whole[0]:,} of {self._num_stated:,} samples" if incomplete else ""
        zeros = self._zeros_at_the_end()
        self._notes = tuple(words for words in (read, zeros, *ignored, *contradictions, note) if words)
        for words in filter(None, (read, zeros)):
            warn(words)
        for words in filter(None, contradictions):
            warn(words, RoiExtractorsWarning)

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels, if ``dimension_order`` names an axis of them."""
        order = options.get("dimension_order")
        if not isinstance(order, str) or "C" not in order.upper():
            return {}
        file = PositionedFile(file_path)
        try:
            shape = _npy_header(file).shape
        finally:
            file.close()
        count = shape[_checked_axes(order, shape, file.name).index("C")]
        return {"channel": tuple(map(str, range(count)))} if count > 1 else {}

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

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples that the header counts but the file does not contain, or that were never written."""
        if self._num_written < self.get_num_samples():
            return np.arange(self._num_written, self.get_num_samples(), dtype=np.int64)
        return missing_samples(self._num_stated, self.get_num_samples())

    def get_paths(self) -> tuple[str, ...]:
        """Return the file, and its sidecar file if that is used."""
        beside = [] if self._companion is None else [os.path.abspath(f"{self._file.path}.json")]
        return tuple(dict.fromkeys([*super().get_paths(), *beside]))

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        self.check_open()
        return self._part(samples, rows, columns, planes)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _count_written(self) -> int:
        """Return how many samples come before zeros at the end of the file; ``open_memmap`` reserves them all at once."""
        count = self.get_num_samples()
        # Masks and spread-out samples are not recorded one after the other
        if not self._is_plain or "T" not in self._axes or self._dtype.kind == "b" or not self._frames.frame_bytes:
            return count
        return self._frames.count_written(count, offset=self._offset)

    def _zeros_at_the_end(self) -> str:
        count = self.get_num_samples()
        if self._num_written == count:
            return ""
        self.keeps_missing_samples = True
        return (
            f"{self._file.name} ends in zeros: after the first {self._num_written:,} of {count:,} samples, "
            "every pixel is 0. If the program that wrote it was interrupted, these samples were never written"
        )

    def _read_companion(self, shape: tuple[int, ...]) -> tuple[Sidecar | None, str, tuple[str, ...]]:
        """Return the sidecar; or a sentence about one that is of another movie; or a note about one that is too long."""
        beside = PositionedFile(f"{self._file.path}.json")
        try:
            size = os.stat(beside.path).st_size
        except OSError:
            return None, "", ()
        shape = shape if "T" in self._axes else (1, *shape)
        if size > _MAX_COMPANION:
            words = f"{beside.name} was ignored: it has {size:,} bytes, more than the limit of {_MAX_COMPANION:,}"
            return None, "", (words,)
        found = Sidecar.from_json(beside.read(0, size), where=beside.name)
        beside.close()
        if found is None:
            return None, "", ()
        if found.shape != shape:
            return (
                None,
                f"{beside.name} was not used: it describes a recording of shape {found.shape}, but this one has shape {shape}",
                (),
            )
        why = found.why_not_of(self._file.read, self._file.size, self._dtype)
        if why:
            return (
                None,
                f"{beside.name} was not used: it was written for a file with {why}, so {self._file.name} was saved again since; "
                "delete it, or write both with convert",
                (),
            )
        return found, "", ()

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
        given: dict[str, Any] = dict(zip("TYXZ", part, strict=True))
        given["C"] = slice(self._channel, self._channel + 1)
        letters = self._axes[::-1] if self._fortran else self._axes
        found = self._array.read([given[axis] for axis in letters])
        found = found.transpose([letters.index(axis) for axis in "TYXZC" if axis in letters])
        if "C" in letters:
            found = found[..., 0]
        if "T" not in letters:
            found = found[np.newaxis][given["T"]]
        return np.ascontiguousarray(found)


def _npy_header(file: PositionedFile) -> NpyHeader:
    name = file.name.lower()
    return read_npy_header(file, next((words for ending, words in _OBJECTS.items() if name.endswith(ending)), None))


def _whole_samples(
    file: PositionedFile, axes: str, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any], offset: int
) -> tuple[tuple[int, ...], str]:
    """Return the shape of the whole samples in the file, and a sentence if there are fewer than the header says.

    Raises
    ------
    TruncatedRecordingError
        Not one sample is whole: in Fortran order, or where time is not the first axis, each sample is spread over the file.
    """
    expected = offset + math.prod(shape) * dtype.itemsize
    if file.size >= expected:
        return shape, ""
    sample = math.prod(shape[1:]) * dtype.itemsize
    count = max(0, file.size - offset) // sample if sample and axes[0] == "T" and not fortran else 0
    if not count:
        raise TruncatedRecordingError(
            f"{file.name} is truncated: it has {file.size:,} bytes, expected {expected:,} (shape {shape}, {dtype})"
        )
    # numpy writes the header first, so a cut file and one that is still being written look the same
    return (count, *shape[1:]), (
        f"{file.name} is truncated: it has {file.size:,} bytes, expected {expected:,} (shape {shape}, {dtype})"
    )


def _surplus(file: PositionedFile, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int) -> str:
    end = offset + math.prod(shape) * dtype.itemsize
    if file.size <= end or file.size - end < dtype.itemsize:
        return ""
    if file.read(end, 6) == b"\x93NUMPY":
        return f"{file.name} contains more than one array; only the first is read"
    size, rest = divmod(file.size - offset, max(1, end - offset))
    factor = f", exactly {size} times the data that its header describes" if not rest and size > 1 else ""
    return f"{file.name} has {file.size - end:,} bytes after the array of shape {shape}{factor}; they are ignored"


def _unused_description(path: str, name: str) -> str:
    """Return a sentence about a file that may describe the array and is not read; often empty."""
    stem = os.path.splitext(path)[0]
    beside = [os.path.basename(stem + suffix) for suffix in _DESCRIPTIONS if os.path.isfile(stem + suffix)]
    if not beside:
        return ""
    return f"{printable(beside[0])} beside {name} may describe it and is not read"


def _doubts(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[str, str]:
    """Return a warning where the shape suggests other axes than the default ones, and a note on how it is read."""
    if len(shape) == 4:
        rows, columns, planes = shape[1:]
        read = f"{name} has the shape {shape} and is read as (samples, rows, columns, planes)"
        if planes in _COLOURS:
            words = f"{read}; if the last axis is colours or channels: open(..., dimension_order='TYXC', channel=0)"
            # Cameras write colours as bytes; volumes of three or four planes usually have deeper pixels
            return (words, "") if dtype == np.uint8 else ("", words)
        if 2 * rows <= min(columns, planes):
            return (
                f"{read}; if axis 1 is planes or channels: open(..., dimension_order='TZYX'), or 'TCYX' with channel=0",
                "",
            )
        return "", f"{read}; if the axes are in another order, pass dimension_order="
    if len(shape) == 3 and shape[2] in _COLOURS:
        # A note: a single picture saved for itself is tidy, and its frames of three columns are easily seen
        return "", (
            f"{name} has the shape {shape} and is read as {shape[0]:,} samples of {shape[1]:,} x {shape[2]}; if it is one picture with "
            "colours or channels: open(..., dimension_order='YXC', channel=0)"
        )
    if len(shape) == 2:
        if name.lower().removesuffix(".npy").removesuffix("_chan2") in _TRACES:
            raise UnsupportedRecordingError(
                f"the name of {name} (shape {shape}) is that of traces or of the classification of ROIs, not of "
                "a movie; open the movie, or pass "
                "dimension_order='YX' to read it as one frame"
            )
        return "", f"{name} is a two-dimensional array of shape {shape}; it is read as one frame, not as traces"
    if dtype.kind == "b":
        return "", f"{name} is a Boolean array; if these are masks of ROIs, they are not a movie"
    return "", ""


def _checked_channel(channel: Any, count: int | None, name: str) -> int:
    if channel is None and count in (None, 1):
        return 0
    if count is None:
        raise DeclarationError(
            f"channel={channel!r:.40} needs an axis of channels: dimension_order='TCYX', for example"
        )
    with contextlib.suppress(TypeError, ValueError):
        number = int(channel)
        if 0 <= number < count and not isinstance(channel, bool | float):
            return number
    raise StreamChoiceError.for_option(name, "channel", list(range(count)), seen=channel)


def _checked_axes(order: str | None, shape: tuple[int, ...], name: str) -> str:
    if order is None:
        usual = {2: "YX", 3: "TYX", 4: "TYXZ"}.get(len(shape))
        if usual is None:
            raise UnsupportedRecordingError(
                f"{name} has {len(shape)} dimensions {shape}; name its axes, open(..., dimension_order='TCZYX', channel=0), or reshape "
                "it to (samples, rows, columns[, planes]) and save it again"
            )
        return usual
    axes = order.upper()
    if len(axes) != len(shape) or len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes) <= set("TCZYX"):
        raise DeclarationError(
            f"dimension_order={order!r} does not fit {name} of shape {shape}; use one letter per axis from T, C, Z, Y, X, including Y and X"
        )
    return axes

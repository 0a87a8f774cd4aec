"""Reads one dataset of an HDF5 file as blocks of samples: by offset, chunk by chunk on all cores, or through h5py.

The bytes of a contiguous dataset are read at computed offsets.  Of a chunked dataset, only the chunks that a block touches are
read and decoded, on all cores.  Other storage is read by h5py itself, one read at a time.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np

from roiextractors_core.errors import (
    CorruptRecordingError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import (
    Box,
    Cell,
    ChunkGrid,
    MissingChunks,
    Part,
    Piece,
    PositionedFile,
    ProcessLock,
    StoredFrames,
    as_native,
    at_positions,
    missing_chunks,
    missing_samples,
    require_few_chunks,
    sample_pieces,
    share_out,
    unchanging_superblock,
)

from .contents import missing_bytes, named, open_hdf5, read_while_written

__all__ = ["Hdf5Dataset", "Layout", "layout_of", "refuse_other_files"]

# 1 to 3 are defined by the specification, the others are registered with The HDF Group
_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF, _BLOSC, _LZ4, _ZSTD = 1, 2, 3, 32000, 32001, 32004, 32015
_DECODED_HERE = frozenset((_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF, _BLOSC, _LZ4, _ZSTD))
_CHECKSUM_BYTES = 4  # Fletcher-32's, after the data
_COMPARED = 4096  # bytes of the first chunk, to detect that another file replaced this one
_PARALLEL_SPAN = 256 << 10  # a read; threads that make shorter ones wait for each other
_MAX_SCRATCH = 8 << 20  # bytes; a longer span with gaps is not read at once
_MAX_LOOKUPS = 128  # chunks looked up one by one; after that the whole index is read
_MAX_INDEX = 1 << 23  # chunks whose places are kept in one table
_MAX_KEPT = 1 << 16  # chunks whose places are kept when the table would be too large
_SECONDS_A_READ, _SECONDS_A_BYTE = 3e-6, 3e-10  # a call; and 3.3 GB/s
_MAX_UNCHECKED = 256 << 20  # bytes; a larger sample or chunk must be plausible from the bytes stored
_MAX_PACKED = 4096  # bytes that one stored byte can decode to
_MAX_CHUNK_BYTES = 1 << 32  # HDF5 stores the size of a chunk in 32 bits

Samples = slice | np.ndarray


@dataclass(frozen=True, slots=True)
class Layout:
    """How a dataset is stored in its file.

    Attributes
    ----------
    shape : tuple of int
        As stored.
    dtype : numpy.dtype
        As stored, in the file's byte order.
    kind : str
        ``"plain"``, ``"chunks"``, ``"fill"`` (nothing was ever written) or ``"h5py"`` (only h5py reads it).
    offset : int
        Of the first byte, for ``"plain"``.
    chunk : tuple of int
        The shape of a chunk, for ``"chunks"``.
    filters : tuple of int
        The numbers of the filters, in the order in which they were applied.
    fill : object
        The value of pixels that were never written.
    block : int
        Bytes of the user block before the HDF5 data.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: str
    offset: int = 0
    chunk: tuple[int, ...] = ()
    filters: tuple[int, ...] = ()
    fill: Any = 0
    block: int = 0

    @property
    def grid(self) -> tuple[int, ...]:
        """The number of chunks along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))


def layout_of(dataset: Any) -> Layout:
    """Return how an open dataset of numbers is stored in its file.

    Parameters
    ----------
    dataset : h5py.Dataset

    Raises
    ------
    UnsupportedRecordingError
        It does not contain numbers, its bytes are in another file, or its filter is not available.
    TruncatedRecordingError
        It extends beyond the end of the file.
    """
    where = f"{printable(os.path.basename(dataset.file.filename))}: {printable(dataset.name)}"
    dtype = _number_type(dataset, where)
    plist = dataset.id.get_create_plist()
    refuse_other_files(dataset, plist, where)
    filters = tuple(int(plist.get_filter(k)[0]) for k in range(plist.get_nfilters()))
    found = Layout(tuple(map(int, dataset.shape)), dtype, "h5py", filters=filters, block=_user_block(dataset))
    if math.prod(found.shape) and _is_bare(dataset, dtype):
        layout = plist.get_layout()
        if layout == h5py.h5d.CONTIGUOUS:
            found = _contiguous(found, dataset, where)
        elif layout == h5py.h5d.CHUNKED and set(filters) <= _DECODED_HERE:
            found = _changed(found, kind="chunks", chunk=tuple(map(int, dataset.chunks)), fill=dataset.fillvalue)
    if found.kind == "h5py":
        _require_filters(filters, where)
    elif found.chunk and math.prod(found.chunk) * dtype.itemsize > _MAX_CHUNK_BYTES:
        raise CorruptRecordingError(f"{where} has chunks of {found.chunk}, larger than HDF5 allows")
    return found


def _changed(layout: Layout, **changes: Any) -> Layout:
    values = {name: getattr(layout, name) for name in Layout.__slots__}
    return Layout(**{**values, **changes})


def _number_type(dataset: Any, where: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(dataset.dtype)
    except (TypeError, ValueError) as error:
        raise UnsupportedRecordingError(f"{where} has a type that numpy does not have: {printable(error)}") from None
    if dataset.shape is None:
        raise UnsupportedRecordingError(f"{where} is an empty dataset without a shape")
    if dtype.kind not in "biuf" or dtype.subdtype is not None:
        kinds = {
            "V": "records of several fields",
            "O": "text, references or ragged lists",
            "S": "text",
            "c": "complex numbers",
        }
        content = kinds.get(dtype.kind, f"{dtype}") if dtype.subdtype is None else "small arrays"
        raise UnsupportedRecordingError(f"{where} contains {content}; pixels must be numbers")
    bare: np.dtype[Any] = np.dtype(dtype.str)  # without the metadata that h5py adds
    return bare


def refuse_other_files(dataset: Any, plist: Any, where: str) -> None:
    """Refuse a dataset whose bytes are in other files.

    Parameters
    ----------
    dataset : h5py.Dataset
    plist : h5py.h5p.PropDCID
        Its creation properties.
    where : str
        For the message.

    Raises
    ------
    UnsupportedRecordingError
    """
    if plist.get_external_count():
        named_file = printable(plist.get_external(0)[0].decode("utf-8", "replace"))
        raise UnsupportedRecordingError(
            f"{where} stores its pixels in another file ({named_file}), which is not followed; copy them into this one with h5repack"
        )
    if dataset.is_virtual:
        # "." is the file itself
        others = sorted({source.file_name for source in dataset.virtual_sources()} - {"."})
        if others:
            raise UnsupportedRecordingError(
                f"{where} combines other files ({printable(others[0])}, ...), which are not followed; open those files"
            )


def _user_block(dataset: Any) -> int:
    return int(dataset.file.id.get_create_plist().get_userblock())


def _is_bare(dataset: Any, dtype: np.dtype[Any]) -> bool:
    """Whether the bytes in the file are those of numpy's type: not an enumeration, not an unusual precision."""
    if dtype.kind not in "iuf":
        return False
    with contextlib.suppress(TypeError, ValueError):
        # Enumerations and 12-bit types map to a numpy type, but their bytes need libhdf5's conversion
        return bool(h5py.h5t.py_create(dtype) == dataset.id.get_type())
    return False


def _contiguous(found: Layout, dataset: Any, where: str) -> Layout:
    offset = dataset.id.get_offset()  # None: space is allocated at the first write
    if offset is None:
        return _changed(found, kind="fill", fill=dataset.fillvalue)
    end = int(offset) + math.prod(found.shape) * found.dtype.itemsize
    size = os.path.getsize(dataset.file.filename)
    # A file shorter than its header states is truncated as a whole, and its complete samples are read later
    if end > size and not missing_bytes(dataset.file):
        raise TruncatedRecordingError(
            f"{where} extends to byte {end:,} but the file has {size:,} bytes; it is truncated"
        )
    return _changed(found, kind="plain", offset=int(offset))


def _require_filters(filters: Sequence[int], where: str) -> None:
    for number in filters:
        if not h5py.h5z.filter_avail(number):
            raise UnsupportedRecordingError(
                f"{where} uses the HDF5 filter {number}, which is not available; if hdf5plugin provides it, run "
                "`python -m pip install hdf5plugin` and `import hdf5plugin` before opening"
            )


class Hdf5Dataset:
    """One dataset of numbers, read as blocks ``(samples, rows, columns[, planes])`` in any order of its stored axes.

    Only the core's pooled descriptor stays open between reads.  Compressed chunks with pixels left to read stay decoded, up to
    64 MiB in the whole process.  Any number of threads may read.

    Parameters
    ----------
    path : str or os.PathLike
        The HDF5 file.
    name : str
        The dataset's path inside it; soft links inside the file are followed.
    axes : str
        The stored axes, one letter each: T samples, Y rows, X columns, Z planes; for any other letter, ``fixed`` gives the
        position to read.  A table of traces has the axes ``"T"``, ``"TX"`` or ``"XT"``; its shape is then
        ``(samples,)`` or ``(samples, columns)``.
    fixed : mapping, optional
        Letter to position: ``{"C": 1}`` reads the second channel.
    missing_value : int, optional
        What chunks that were never written contain, where the file leaves it at 0 and the dtype has it: a format that inverts
        its pixels gives the value that becomes 0.

    Raises
    ------
    UnsupportedRecordingError
        No such dataset, not numbers, axes that do not fit its dimensions, or bytes in other files.
    CorruptRecordingError, TruncatedRecordingError
        The file is damaged or truncated.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str,
        *,
        axes: str = "TYX",
        fixed: Mapping[str, int] | None = None,
        missing_value: int | None = None,
    ) -> None:
        self._arguments = (os.fspath(path), name, axes, dict(fixed or {}), missing_value)
        self._file = PositionedFile(path)
        self._name = name
        # Empty except for a file that a program is writing in SWMR mode
        self._is_written = bool(unchanging_superblock(self._file))
        self._zeros = ""
        held = read_while_written(path, lambda: self._look_at_dataset(axes, fixed or {}))
        self._fill_missing_with(missing_value)
        where = f"{self._file.name}: {printable(name)}"
        self._axes = _checked_axes(axes, self._layout.shape, where)
        self._lengths = dict(zip(axes, self._layout.shape, strict=True))
        self._check_size(held, where)
        self._fixed = {
            letter: self._position(letter, (fixed or {}).get(letter, 0)) for letter in axes if letter not in "TYXZ"
        }
        self._order = [axes.index(letter) for letter in "TYXZ" if letter in axes]
        self._grid = ChunkGrid(self._layout.shape, self._layout.chunk, self._layout.dtype)
        self._chunks = _DatasetChunks(self._file, name, self._layout, self._places, self._grid)
        planes = slice(0, self.num_planes) if self.is_volumetric else None
        self._whole_sample = (*(slice(0, n) for n in self.frame_shape), planes)
        self._is_in_order = self._layout.kind == "plain" and axes in ("TYX", "TYXZ")
        self._frames: StoredFrames | None = None
        if self._is_in_order and axes == "TYX":
            self._frames = StoredFrames((self._file,), shape=self._layout.shape[1:], dtype=self._layout.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_made_again, self._arguments)

    def __repr__(self) -> str:
        return f"Hdf5Dataset({self._arguments[0]!r}, {self._name!r}, axes={self._axes!r}, fixed={self._fixed!r})"

    @property
    def layout(self) -> Layout:
        """How the dataset is stored in its file."""
        return self._layout

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that :meth:`read` returns, in native byte order."""
        return self._layout.dtype.newbyteorder("=")

    @property
    def num_samples(self) -> int:
        """The length of the axis T, without samples at its end that were never written; 1 without such an axis."""
        return self._missing.num_samples

    @property
    def missing(self) -> MissingChunks:
        """Which chunks, and samples, are missing: never written, or after the end of a truncated file."""
        return self._missing

    def get_warnings(self, name: str) -> tuple[str, ...]:
        """Return warnings for the user: a truncated file, and missing chunks.

        Parameters
        ----------
        name : str
            The name of the recording.
        """
        words = self._missing.warnings(name)
        words += (f"{name} {self._zeros}",) if self._zeros else ()
        if not self._lost_bytes:
            return words
        whole = "" if words else "; no pixel is lost"
        return (f"{name} is truncated: it lacks {self._lost_bytes:,} bytes that its header states{whole}", *words)

    def get_notes(self, name: str) -> tuple[str, ...]:
        """Return :meth:`get_warnings`, and whether parts of the frame were never written."""
        written = (f"{name} is still being written; open it again to see more samples",) if self._is_written else ()
        return (*self.get_warnings(name), *self._missing.notes(name)[len(self._missing.warnings(name)) :], *written)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """``(rows, columns)``."""
        return self._length("Y"), self._length("X")

    @property
    def num_planes(self) -> int:
        """The length of the axis Z; 1 without one."""
        return self._length("Z")

    @property
    def is_volumetric(self) -> bool:
        """Whether there is an axis Z."""
        return "Z" in self._axes

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """``(samples, rows, columns[, planes])`` of a chunk; for a dataset without chunks, one whole sample."""
        stored = self._layout.chunk or tuple(
            1 if letter == "T" else length for letter, length in zip(self._axes, self._layout.shape, strict=True)
        )
        lengths = dict(zip(self._axes, stored, strict=True))
        return tuple(lengths.get(letter, 1) for letter in ("TYXZ" if self.is_volumetric else "TYX"))

    def read(
        self, samples: Samples, rows: slice | None = None, columns: slice | None = None, planes: slice | None = None
    ) -> np.ndarray:
        """Return a block.

        Parameters
        ----------
        samples : slice or numpy.ndarray
            A slice with ``0 <= start <= stop`` and step 1, or int64 indices in any order.
        rows, columns, planes : slice, optional
            With ``0 <= start <= stop`` and step 1; None means all.

        Returns
        -------
        numpy.ndarray
            ``(samples, rows, columns)``, with planes last where there is an axis Z; owned by the caller, native byte
            order; a transposed view of its own buffer where the axes are stored in another order.

        Raises
        ------
        TruncatedRecordingError, CorruptRecordingError
            Bytes are missing, or do not decode.
        """
        parts = (rows, columns, planes)
        if self._is_in_order and isinstance(samples, slice) and parts in (self._whole_sample, (None, None, None)):
            return self._read_frames(samples.start, samples.stop)
        if self._frames is not None:
            indices = np.arange(samples.start, samples.stop) if isinstance(samples, slice) else samples
            places = self._layout.offset + indices * self._frames.frame_bytes
            return self._frames.read(places, rows or slice(None), columns or slice(None))
        box = self._box(rows, columns, planes)
        count = samples.stop - samples.start if isinstance(samples, slice) else len(samples)
        shape = [
            count if letter == "T" else stop - start for letter, (start, stop) in zip(self._axes, box, strict=True)
        ]
        stored = np.empty(shape, self._layout.dtype)
        if stored.size:
            self._fill(stored, samples, box)
        return self._arranged(as_native(stored), count)

    def read_into(self, out: np.ndarray, box: Sequence[tuple[int, int]]) -> None:
        """Fill an array with a part of a dataset that has no axis T.

        Parameters
        ----------
        out : numpy.ndarray
            C-contiguous, of :attr:`dtype`, with the axes as stored.
        box : sequence of (int, int)
            The range of each stored axis; the end is exclusive.

        Raises
        ------
        TruncatedRecordingError, CorruptRecordingError
            Bytes are missing, or do not decode.
        """
        if out.size:
            self._fill(out.view(self._layout.dtype), slice(0, 1), list(box))
            as_native(out.view(self._layout.dtype))

    def _look_at_dataset(self, axes: str, fixed: Mapping[str, int]) -> int:
        """Find out how the dataset is stored and what is missing; return how many bytes are stored."""
        unchanging = unchanging_superblock(self._file)
        if unchanging:
            self._file.compare_at(*unchanging)
        with _open_same(self._file) as file:
            found = _dataset(file, self._name)
            self._layout = layout_of(found)
            held = int(found.id.get_storage_size())
            self._places = _Places(self._file, self._name, self._layout, is_written=self._is_written)
            self._lost_bytes = missing_bytes(file) if not self._is_written else 0
            self._missing = self._find_missing(found, held, axes, fixed)
            if unchanging and self._layout.chunk and found.id.get_num_chunks():
                # Frames that were recorded do not change: another file in the same place has other ones
                first = found.id.get_chunk_info(0)
                self._file.compare_at(*unchanging, (int(first.byte_offset), min(_COMPARED, int(first.size))))
        return held

    def _fill_missing_with(self, value: int | None) -> None:
        layout = self._layout
        if value is not None and not layout.fill and np.can_cast(np.min_scalar_type(value), layout.dtype):
            self._layout = _changed(layout, fill=value)

    def _find_missing(self, dataset: Any, held: int, axes: str, fixed: Mapping[str, int]) -> MissingChunks:
        """Return what is missing; the index of the chunks is read only when their number shows that some are."""
        layout, axis = self._layout, axes.find("T")
        count = layout.shape[axis] if 0 <= axis < len(layout.shape) else 1
        none = MissingChunks(0, 0, count, count)
        if layout.kind == "fill":
            return replace(none, num_missing=1, num_chunks=1, samples=missing_samples(count, 0))
        if layout.kind == "plain":
            return self._zeros_at_the_end(axis, none) if not self._lost_bytes else self._cut_plain(axis, none)
        if layout.kind == "h5py" and dataset.chunks:
            grid = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
            return replace(none, num_missing=max(0, grid - int(dataset.id.get_num_chunks())), num_chunks=grid)
        if layout.kind != "chunks" or len(axes) != len(layout.shape):
            return none
        total = math.prod(layout.grid)
        stored = (
            dataset.id.get_num_chunks() if layout.filters else held // (math.prod(layout.chunk) * layout.dtype.itemsize)
        )
        # All chunks are there: reading the whole index, which takes seconds for many, is not needed
        if stored >= total and not self._lost_bytes:
            return none
        # The table would take 24 bytes a chunk
        if total > _MAX_INDEX:
            return replace(none, num_missing=total - stored, num_chunks=total)
        present = self._places.present(dataset, is_cut=self._lost_bytes > 0)
        present = at_positions(
            present, [fixed.get(letter, 0) if letter not in "TYXZ" else None for letter in axes], layout.chunk
        )
        along = axis if axis >= 0 else None
        # A fill value other than 0 was chosen by the writer for samples that it does not write
        is_chosen = dataset.id.get_create_plist().fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
        keeps_end = is_chosen and bool(layout.fill) and not self._lost_bytes
        step = layout.chunk[axis] if axis >= 0 else 1
        found = missing_chunks(
            present,
            axis=along,
            chunk=step,
            num_samples=count,
            leaves_out_end=not keeps_end,
            is_cut=self._lost_bytes > 0,
        )
        if self._lost_bytes and len(found.samples) == found.num_samples:
            raise TruncatedRecordingError(
                f"{self._file.name} is truncated: it lacks {self._lost_bytes:,} bytes that its header states, and no sample of "
                f"{printable(self._name)} is whole"
            )
        return found

    def _zeros_at_the_end(self, axis: int, none: MissingChunks) -> MissingChunks:
        """Count the contiguous samples at the end that are 0 throughout: space is reserved before frames are written."""
        layout, count = self._layout, none.num_samples
        if axis != 0 or len(layout.shape) < 3 or self._is_written:
            return none
        rows, *rest = layout.shape[1:]
        frames = StoredFrames((self._file,), shape=(rows, math.prod(rest)), dtype=layout.dtype)
        written = frames.count_written(count, offset=layout.offset) if frames.frame_bytes else count
        if written < count:
            self._zeros = (
                f"ends in zeros: after the first {written:,} of {count:,} samples, every pixel is 0. If the "
                "recording was interrupted, these samples were never written"
            )
        return replace(none, samples=np.arange(written, count, dtype=np.int64))

    def _cut_plain(self, axis: int, none: MissingChunks) -> MissingChunks:
        """Return how many samples of contiguous pixels a truncated file contains."""
        layout = self._layout
        room = self._file.size - layout.offset
        needed = math.prod(layout.shape) * layout.dtype.itemsize
        if room >= needed:
            return none
        # With another first axis, each sample is spread over the file, so that the lost end is part of every one
        whole = max(0, room) // (needed // layout.shape[0]) if axis == 0 else 0
        if not whole:
            raise TruncatedRecordingError(
                f"{self._file.name}: {printable(self._name)} extends to byte {layout.offset + needed:,} but the file has {self._file.size:,} "
                "bytes; it is truncated, and no sample is whole"
            )
        return replace(none, num_samples=whole)

    def _check_size(self, held: int, where: str) -> None:
        """Refuse a sample or a chunk that is far larger than the bytes in the file can decode to."""
        lengths = [n for n, letter in zip(self._layout.shape, self._axes, strict=True) if letter in "YXZ"]
        claimed = self._layout.dtype.itemsize * max(math.prod(lengths), math.prod(self._layout.chunk or (0,)))
        if claimed > max(_MAX_UNCHECKED, held * _MAX_PACKED):
            raise CorruptRecordingError(
                f"{where} claims {claimed:,} bytes for one sample or chunk ({self._layout.shape} {self._layout.dtype}) but has only {held:,} "
                "bytes stored; the file is damaged"
            )

        if self._layout.chunk and len(self._layout.chunk) == len(self._layout.shape):
            chunk = [c for c, letter in zip(self._layout.chunk, self._axes, strict=True) if letter in "YXZ"]
            require_few_chunks(where, lengths, chunk)

    def close(self) -> None:
        """Release the descriptor and the kept chunks; a later read opens the file again."""
        self._grid.forget()
        self._file.close()

    def _read_frames(self, start: int, stop: int) -> np.ndarray:
        """Read whole samples that are stored one after the other in order."""
        shape = (stop - start, *self._layout.shape[1:])
        offset = self._layout.offset + start * math.prod(shape[1:]) * self._layout.dtype.itemsize
        return as_native(self._file.read_array(offset, shape, self._layout.dtype))

    def _length(self, letter: str) -> int:
        return self._lengths.get(letter, 1)

    def _position(self, letter: str, position: int) -> int:
        length = self._length(letter)
        if not 0 <= position < length:
            raise UnsupportedRecordingError(
                f"{self._file.name}: {printable(self._name)} has {length} positions along {letter}; {position} is out of range"
            )
        return position

    def _box(self, rows: slice | None, columns: slice | None, planes: slice | None) -> list[tuple[int, int]]:
        asked = {"Y": rows, "X": columns, "Z": planes}
        box = []
        for letter in self._axes:
            part = asked.get(letter)
            if letter in self._fixed:
                box.append((self._fixed[letter], self._fixed[letter] + 1))
            else:
                box.append((0, self._length(letter)) if part is None else (part.start, part.stop))
        return box

    def _fill(self, stored: np.ndarray, samples: Samples, box: list[tuple[int, int]]) -> None:
        axis = self._axes.find("T")
        pieces = [(stored, tuple(box))] if axis < 0 else sample_pieces(stored, axis, samples, box)
        if self._layout.kind == "fill":
            stored[...] = self._layout.fill
        elif self._layout.kind == "plain":
            _read_plain(self._file, self._layout, pieces)
        elif self._layout.kind == "chunks":
            self._grid.fill(pieces, self._chunks)
        else:
            _read_through_h5py(self._file, self._name, pieces)

    def _arranged(self, stored: np.ndarray, count: int) -> np.ndarray:
        lead = [k for k, letter in enumerate(self._axes) if letter in self._fixed]
        index: Any = (..., *[0] * len(lead))
        found: np.ndarray = stored.transpose([*self._order, *lead])[index]
        if "T" in self._axes:
            return found
        # One frame without a time axis is one sample; indices may repeat it
        return found[np.newaxis] if count == 1 else np.repeat(found[np.newaxis], count, axis=0)


@contextlib.contextmanager
def _open_same(file: PositionedFile) -> Iterator[Any]:
    """Open the file through h5py, checking that the path still names the same file."""
    file.require_unchanged()
    # Checked before and after: the path may be replaced while it is being opened
    with open_hdf5(file.path) as opened:
        file.require_unchanged()
        yield opened


def _made_again(
    path: str, name: str, axes: str, fixed: dict[str, int], missing_value: int | None = None
) -> Hdf5Dataset:
    return Hdf5Dataset(path, name, axes=axes, fixed=fixed, missing_value=missing_value)


def _dataset(file: Any, name: str) -> Any:
    found = named(file, name)
    if not isinstance(found, h5py.Dataset):
        kind = "a group" if isinstance(found, h5py.Group) else "missing" if found is None else "another object"
        raise UnsupportedRecordingError(
            f"{printable(os.path.basename(file.filename))}: {printable(name)} is {kind}, expected a dataset"
        )
    return found


def _checked_axes(axes: str, shape: tuple[int, ...], where: str) -> str:
    is_table = axes in ("T", "TX", "XT")  # one value, or one row of values, for each sample
    if len(axes) != len(shape) or len(set(axes)) != len(axes) or not (is_table or {"Y", "X"} <= set(axes)):
        raise UnsupportedRecordingError(
            f"{where} has the shape {shape}, which does not match the axes {axes!r}; expected one letter for "
            "each dimension, including Y and X"
        )
    return axes


# Contiguous bytes


def _read_plain(file: PositionedFile, layout: Layout, pieces: Sequence[Piece]) -> None:
    def read(part: Sequence[Piece]) -> None:
        for target, box in part:
            _read_spans(file, layout, target, box)

    share_out(pieces, read, min(target.nbytes for target, _ in pieces) >= _PARALLEL_SPAN)


def _read_spans(file: PositionedFile, layout: Layout, target: np.ndarray, box: Box) -> None:
    """Read spans of the file into the target; one long read over gaps can be faster than many short ones."""
    itemsize = layout.dtype.itemsize
    if target.flags.c_contiguous and all(part == (0, n) for part, n in zip(box[1:], layout.shape[1:], strict=True)):
        file.read_array_into(target, layout.offset + box[0][0] * math.prod(layout.shape[1:]) * itemsize)
        return
    steps = _byte_steps(layout.shape, itemsize)
    shape = tuple(stop - start for start, stop in box)
    origin = layout.offset + sum(start * step for (start, _), step in zip(box, steps, strict=True))
    depth = _best_depth(shape, steps, itemsize)
    span = _span_bytes(shape[depth:], steps[depth:], itemsize)
    whole = span == math.prod(shape[depth:]) * itemsize

    def read(outer: Sequence[Cell]) -> None:
        # Without gaps the bytes go to the target at once; with gaps, through a buffer that numpy sees with the file's own strides.
        is_direct = whole and target.flags.c_contiguous
        scratch = bytearray(0 if is_direct else span)
        view = memoryview(scratch)
        # Strides of the file let numpy skip the gaps in one copy
        pixels = None if is_direct else np.ndarray(shape[depth:], layout.dtype, scratch, 0, steps[depth:])
        fill = file.hold_open()
        for index in outer:
            offset = origin + sum(k * step for k, step in zip(index, steps, strict=False))
            if pixels is None:
                file.read_array_into(target[index], offset)
            else:
                fill(view, offset)
                target[index] = pixels

    share_out(list(np.ndindex(*shape[:depth])), read, span >= _PARALLEL_SPAN)


def _byte_steps(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    steps = [itemsize]
    for length in reversed(shape[1:]):
        steps.append(steps[-1] * length)
    return tuple(reversed(steps))


def _span_bytes(shape: tuple[int, ...], steps: tuple[int, ...], itemsize: int) -> int:
    return sum((n - 1) * step for n, step in zip(shape, steps, strict=True)) + itemsize


def _best_depth(shape: tuple[int, ...], steps: tuple[int, ...], itemsize: int) -> int:
    """Return how many leading axes to iterate over, with one read at each position."""
    best, least = len(shape) - 1, math.inf
    for depth in range(len(shape)):
        span = _span_bytes(shape[depth:], steps[depth:], itemsize)
        whole = span == math.prod(shape[depth:]) * itemsize
        cost = math.prod(shape[:depth]) * (_SECONDS_A_READ + span * _SECONDS_A_BYTE)
        if (whole or span <= _MAX_SCRATCH) and cost < least:
            best, least = depth, cost
    return best


# Storage that only h5py reads


def _read_through_h5py(file: PositionedFile, name: str, pieces: Sequence[Piece]) -> None:
    with _open_same(file) as opened:
        dataset = _dataset(opened, name)
        for target, box in pieces:
            target[...] = dataset[tuple(slice(start, stop) for start, stop in box)]


# Chunks


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a chunk is stored: its position in the grid; offset and bytes in the file; a bit for each filter that was skipped.

    A chunk that was never written has size 0.
    """

    cell: Cell
    offset: int
    size: int
    mask: int


_MAX_ADDRESS = 1 << 62  # so that the sum of an address and a size fits into int64


class _Places:
    """Where the chunks are stored: a few are looked up one by one; when many are needed, the whole index is read."""

    def __init__(self, file: PositionedFile, name: str, layout: Layout, *, is_written: bool = False) -> None:
        self._file, self._name, self._layout, self._is_written = file, name, layout, is_written
        self._lock = ProcessLock()
        self._kept: dict[Cell, _Place] = {}
        self._table: np.ndarray | None = None
        self._shift: int | None = None if layout.block else 0  # None: not known before the first chunk

    def of(self, cells: Sequence[Cell]) -> list[_Place]:
        """Return the places of chunks by their positions in the grid of chunks."""
        with self._lock:
            if self._table is None:
                missing = [cell for cell in cells if cell not in self._kept]
                if missing:
                    self._look(missing)
            if self._table is None:
                return [self._kept[cell] for cell in cells]
            rows = self._table[tuple(np.array(cells).T)]
            return [_Place(cell, *row) for cell, row in zip(cells, rows.tolist(), strict=True)]

    def present(self, dataset: Any, *, is_cut: bool) -> np.ndarray:
        """Return which chunks an open dataset has, over the grid of chunks; of a truncated file, those that end inside it."""
        with self._lock:
            table = self._read_index(dataset)
            if is_cut:  # a chunk after the end is read as one that was never written
                table[table[..., 0] > self._file.size - table[..., 1]] = 0
            present: np.ndarray = table[..., 1] > 0
            return present

    def _look(self, cells: Sequence[Cell]) -> None:
        read_while_written(self._file.path, lambda: self._look_once(cells))

    def _is_same_shape(self, shape: tuple[int, ...]) -> bool:
        """Whether a dataset has the shape that it had; one that is being written may have grown."""
        known = self._layout.shape
        if not self._is_written:
            return shape == known
        return len(shape) == len(known) and all(now >= then for now, then in zip(shape, known, strict=True))

    def _look_once(self, cells: Sequence[Cell]) -> None:
        few = len(self._kept) + len(cells) <= _MAX_LOOKUPS
        with _open_same(self._file) as file:
            dataset = _dataset(file, self._name)
            if dataset.chunks != self._layout.chunk or not self._is_same_shape(dataset.shape):
                raise CorruptRecordingError(f"{self._file.name} was changed since it was opened; open it again")
            # Each look-up searches the index by itself, so many of them take longer than reading all of it once.
            can_be_read = math.prod(self._layout.grid) <= _MAX_INDEX and hasattr(dataset.id, "chunk_iter")
            if few or not can_be_read:
                self._look_up(dataset, cells)
            if can_be_read and not (few and all(self._kept[cell].size for cell in cells)):
                self._read_index(dataset)  # many are needed; or one is missing, which may be a fault in the index

    def _look_up(self, dataset: Any, cells: Sequence[Cell]) -> None:
        if len(self._kept) > _MAX_KEPT:
            self._kept.clear()
        chunk = self._layout.chunk
        for cell in cells:
            info = dataset.id.get_chunk_info_by_coord(tuple(k * c for k, c in zip(cell, chunk, strict=True)))
            self._kept[cell] = self._place(dataset, cell, info)

    def _read_index(self, dataset: Any) -> np.ndarray:
        table = np.zeros((*self._layout.grid, 3), np.int64)
        chunk, grid = self._layout.chunk, self._layout.grid
        faults: list[str] = []
        outside: list[Any] = []

        def note(info: Any) -> None:
            cell = tuple(start // c for start, c in zip(info.chunk_offset, chunk, strict=True))
            if not all(k < n for k, n in zip(cell, grid, strict=True)):
                outside.append(info.chunk_offset)  # a dataset that is still being written may have some
                return
            if table[(*cell, 1)]:
                # Either entry may be the damaged one, so neither is used
                faults.append(f"the chunk at {tuple(info.chunk_offset)} is listed twice")
            place = self._place(dataset, cell, info)
            table[cell] = (place.offset, place.size, place.mask)

        dataset.id.chunk_iter(note)
        if outside and not table[..., 1].all() and not self._is_written:
            faults.append(
                f"a chunk at {tuple(map(int, outside[0]))}, outside of its shape, is listed, and one inside is missing"
            )
        if faults:
            raise CorruptRecordingError(
                f"{self._file.name}: the index of {printable(self._name)} contradicts itself: {faults[0]}"
            )
        self._table, self._kept = table, {}
        return table

    def _place(self, dataset: Any, cell: Cell, info: Any) -> _Place:
        if info.byte_offset is None or not info.size:
            return _Place(cell, 0, 0, 0)
        if self._shift is None:
            self._shift = self._shift_of(dataset, info)
        # An address of a damaged index may exceed int64; both are beyond the end of any file
        offset, size = (min(int(n), _MAX_ADDRESS) for n in (info.byte_offset + self._shift, info.size))
        return _Place(cell, offset, size, int(info.filter_mask))

    def _shift_of(self, dataset: Any, info: Any) -> int:
        """Return the number to add to chunk offsets in a file with a user block; releases of HDF5 differ in where they count from."""
        cell = info.chunk_offset
        # libhdf5 itself says which is right
        known = dataset.id.read_direct_chunk(tuple(cell))[1]
        if self._file.read(int(info.byte_offset) + self._layout.block, len(known)) == known:
            return self._layout.block
        return 0


class _DatasetChunks:
    """The source of a dataset's chunks, for a :class:`ChunkGrid`."""

    def __init__(self, file: PositionedFile, name: str, layout: Layout, places: _Places, grid: ChunkGrid) -> None:
        self._file, self._name, self._layout, self._places = file, name, layout, places
        self._nbytes, self._is_whole = grid.nbytes, grid.is_whole

    @property
    def is_encoded(self) -> bool:
        return bool(self._layout.filters)

    def locate(self, cells: Sequence[Cell]) -> list[_Place]:
        return self._places.of(cells)

    def fill(self, place: _Place, parts: Sequence[Part]) -> bool:
        if place.size == 0:
            for part, _ in parts:
                part[...] = self._layout.fill
            return True
        filters = self._filters_of(place)
        if not filters and place.size == self._nbytes:
            return self._fill_from_plain(place, parts)
        # All of the chunk is needed: decompressed into the result itself, without a copy
        if filters == [_DEFLATE] and self._is_whole(parts):
            data = self._bytes_of(place)
            with contextlib.suppress(ValueError, RuntimeError, MemoryError):  # then decode() finds out what is wrong
                return _inflate_into(parts[0][0], data)
        return False

    def decode(self, place: _Place) -> np.ndarray:
        filters = self._filters_of(place)
        if not filters and place.size == self._nbytes:
            return self._file.read_array(place.offset, self._layout.chunk, self._layout.dtype)
        data = self._bytes_of(place)
        # Decoders of Blosc do not compare the length with the one in the header (byte 12), and would return other memory
        if filters and filters[-1] == _BLOSC and (len(data) < 16 or int.from_bytes(data[12:16], "little") > len(data)):
            raise CorruptRecordingError(
                f"{self._file.name}: the chunk at {self._start_of(place)} of {printable(self._name)} is truncated: it has {len(data):,} bytes, "
                "but its Blosc header states more"
            )
        pixels = None
        with contextlib.suppress(ValueError, RuntimeError, MemoryError):
            pixels = _decoded(data, filters, self._layout.dtype.itemsize, self._nbytes)
        if pixels is not None and pixels.nbytes == self._nbytes:
            return pixels.view(self._layout.dtype).reshape(self._layout.chunk)
        # libhdf5 would read beyond the data of a chunk that was stored without filters and is too short.
        if len(filters) < len(self._layout.filters) or not filters:
            raise CorruptRecordingError(
                f"{self._file.name}: the chunk at {self._start_of(place)} of {printable(self._name)} is marked as stored without "
                f"filters but has {len(data):,} bytes, expected {self._nbytes:,}"
            )
        if pixels is not None or not _is_bounded(data, filters, self._nbytes):
            raise CorruptRecordingError(
                f"{self._file.name}: the chunk at {self._start_of(place)} of {printable(self._name)} cannot be "
                f"decoded to the {self._nbytes:,} bytes of its pixels; the file is damaged"
            )
        return self._decode_through_h5py(place)

    def _fill_from_plain(self, place: _Place, parts: Sequence[Part]) -> bool:
        """Read the parts of a chunk that is stored as its pixels."""
        target = parts[0][0]
        if len(parts) == 1 and target.nbytes == place.size and not target.flags.c_contiguous:
            return False  # all of it, in another order: read at once, then copied
        layout = Layout(self._layout.chunk, self._layout.dtype, "plain", offset=place.offset)
        for part, inside in parts:
            _read_spans(self._file, layout, part, tuple((s.start, s.stop) for s in inside))
        return True

    def _decode_through_h5py(self, place: _Place) -> np.ndarray:
        """Read a chunk that does not decode here as h5py reads it, or raise the reason that h5py gives."""
        start, shape, chunk = self._start_of(place), self._layout.shape, self._layout.chunk
        pixels = np.zeros(chunk, self._layout.dtype)
        # A chunk at the edge extends beyond the dataset's shape, where h5py reads nothing
        stops = [min(k + c, n) for k, c, n in zip(start, chunk, shape, strict=True)]
        inside = tuple(slice(0, stop - k) for k, stop in zip(start, stops, strict=True))
        try:
            _read_through_h5py(self._file, self._name, [(pixels[inside], tuple(zip(start, stops, strict=True)))])
        except CorruptRecordingError as error:
            raise CorruptRecordingError(
                f"{self._file.name}: the chunk at {start} of {printable(self._name)} cannot be decoded: {error.__cause__}"
            ) from error
        return pixels

    def _start_of(self, place: _Place) -> tuple[int, ...]:
        return tuple(k * c for k, c in zip(place.cell, self._layout.chunk, strict=True))

    def _filters_of(self, place: _Place) -> list[int]:
        """Return the filters that were applied to a chunk; its mask names those that were skipped."""
        return [number for k, number in enumerate(self._layout.filters) if not place.mask >> k & 1]

    def _bytes_of(self, place: _Place) -> bytes:
        # Before memory is allocated for a size that only a damaged index states; noise grows a little when compressed
        if place.size > 2 * self._nbytes + (1 << 16):
            raise CorruptRecordingError(
                f"{self._file.name} claims {place.size:,} bytes for a chunk of {printable(self._name)} with {self._nbytes:,} bytes of pixels"
            )
        data = self._file.read(place.offset, place.size)
        if len(data) < place.size:
            raise TruncatedRecordingError(
                f"{self._file.name} ends at byte {place.offset + len(data):,}, inside a chunk of {printable(self._name)} that "
                f"reaches to byte {place.offset + place.size:,}; the file is truncated"
            )
        return data


def _is_bounded(data: bytes, filters: Sequence[int], nbytes: int) -> bool:
    """Return whether a chunk cannot decode to more than its pixels: libhdf5 makes room for all that comes out of a filter."""
    packers = [number for number in filters if number not in (_SHUFFLE, _FLETCHER32)]
    if not packers:
        return True
    if packers != [_DEFLATE]:
        return False  # decoders of libhdf5 have no limit, and those that were tried are the same libraries
    limit = nbytes + _CHECKSUM_BYTES
    try:
        return len(zlib.decompressobj().decompress(data, limit + 1)) <= limit
    except zlib.error:
        return True  # libhdf5 finds the same fault, and says which


def _inflate_into(part: np.ndarray, data: bytes) -> bool:
    from imagecodecs import deflate_decode

    view = memoryview(part.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    return len(deflate_decode(data, out=view)) == part.nbytes


def _decoded(data: bytes, filters: Sequence[int], itemsize: int, nbytes: int) -> np.ndarray:
    """Undo the filters of a chunk, the last one first; return its bytes.

    Raises
    ------
    ValueError, RuntimeError
        The bytes do not decode, or their checksum is another.
    """
    found: Any = data
    for number in reversed(filters):
        found = _undone(found, number, itemsize, nbytes)
    return np.frombuffer(found, np.uint8)


def _undone(data: Any, number: int, itemsize: int, nbytes: int) -> Any:
    import imagecodecs

    if number == _DEFLATE:
        # The output is bounded: pixels, and a checksum where Fletcher-32 was applied before compression
        return imagecodecs.deflate_decode(data, out=nbytes + _CHECKSUM_BYTES)
    if number == _SHUFFLE:
        return _unshuffled(data, itemsize)
    if number == _FLETCHER32:
        return _checked(data)
    if number == _LZF:
        return imagecodecs.lzf_decode(data, out=nbytes + _CHECKSUM_BYTES)
    if number == _ZSTD:
        return imagecodecs.zstd_decode(data, out=nbytes + _CHECKSUM_BYTES)
    # The LZ4 filter of HDF5 adds a header of its own, which plain LZ4 does not decode
    decode = imagecodecs.lz4h5_decode if number == _LZ4 else imagecodecs.blosc_decode
    return decode(data, out=nbytes + _CHECKSUM_BYTES)


def _checked(data: Any) -> Any:
    import imagecodecs

    body = bytes(data[:-_CHECKSUM_BYTES])
    stored, found = bytes(data[-_CHECKSUM_BYTES:]), int(imagecodecs.h5checksum_fletcher32(body))
    if int.from_bytes(stored, "little") != found:
        raise ValueError(f"the chunk's checksum is {stored.hex()}, but its bytes give {found:08x}")
    return body


def _unshuffled(data: Any, itemsize: int) -> Any:
    planes = np.frombuffer(data, np.uint8)
    count = len(planes) // itemsize
    whole, rest = planes[: count * itemsize].reshape(itemsize, count), planes[count * itemsize :]
    if itemsize == 2:  # a shift is faster than two copies with gaps
        low, high = (0, 1) if sys.byteorder == "little" else (1, 0)
        words = np.left_shift(whole[high], 8, dtype=np.uint16)
        words |= whole[low]
        joined = words.view(np.uint8)
    else:
        joined = np.ascontiguousarray(whole.T).reshape(-1)
    # Shuffle leaves the bytes after the last whole value as they are
    return joined if not len(rest) else np.concatenate([joined, rest])

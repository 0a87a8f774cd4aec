"""A recording in the forms that suite2p and CaImAn read: as an array of their dtype, and as their own files."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import (
    CorruptRecordingError,
    DeclarationError,
    SourceKindError,
    TimesError,
    UnsupportedRecordingError,
    printable,
)
from .to_dask import sample_chunks

__all__ = ["ConvertedArray", "for_caiman", "for_suite2p", "write_caiman_mmap", "write_suite2p_binary"]

_FRAME_BLOCK = 32 << 20
_PIXEL_BLOCK = 128 << 20
_TILE_PIXELS = 4096
_MAX_COMPARED = 16
_VERSION = 1

Progress = Callable[[int, int], None]
Convert = Callable[[np.ndarray], np.ndarray]


class ConvertedArray:
    """A recording as a lazy, read-only array of another dtype; what does not fit is refused when it is read.

    Parameters
    ----------
    recording : ImagingExtractor
    dtype : numpy.dtype
    convert : callable
        From an array of the recording's dtype to one of ``dtype``.
    """

    def __init__(self, recording: Any, dtype: Any, convert: Convert) -> None:
        self.recording = recording
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._convert = convert

    @property
    def shape(self) -> tuple[int, ...]:
        """``(samples, rows, columns)`` or ``(samples, rows, columns, planes)``."""
        shape: tuple[int, ...] = self.recording.shape
        return shape

    @property
    def ndim(self) -> int:
        """3, or 4 when volumetric."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of pixels."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        return self._convert(np.asarray(self.recording[key]))

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[k] for k in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a recording cannot become an array without reading it; leave out copy=False")
        return np.asarray(self[...], dtype)

    def __repr__(self) -> str:
        return f"<{self.dtype} array {self.shape} of {self.recording!r}>"


def for_suite2p(recording: Any, *, scale: float | None = None) -> ConvertedArray:
    """Return a planar recording as the int16 array ``(frames, Ly, Lx)`` that suite2p's functions take.

    Nothing is clipped: a value that does not fit is refused when it is read.

    Parameters
    ----------
    recording : ImagingExtractor
        For volumes, one plane at a time: ``recording.select_plane(0)``.
    scale : float, optional
        Multiply by this: ``0.5`` for uint16, ``1000`` for a ΔF/F. Whole numbers are rounded down, as suite2p halves uint16; floats
        to the nearest.

    Raises
    ------
    UnsupportedRecordingError
        The recording is volumetric or complex; when read, a value does not fit into int16.
    """
    if recording.is_volumetric:
        raise UnsupportedRecordingError(
            f"suite2p takes planes one by one, and the recording has {recording.get_num_planes()}: "
            "for_suite2p(recording.select_plane(0)), or write_suite2p_binary, which writes all of them"
        )
    return ConvertedArray(recording, np.int16, _int16(recording, scale))


def for_caiman(recording: Any, *, rounding: bool = False) -> ConvertedArray:
    """Return a recording as the float32 array ``(frames, d1, d2[, d3])`` that CaImAn's functions take.

    Parameters
    ----------
    recording : ImagingExtractor
    rounding : bool
        Whether values that float32 cannot hold exactly (of float64, and whole numbers beyond 16,777,216) become the nearest it can.

    Raises
    ------
    UnsupportedRecordingError
        The recording is complex; when read, a value would have to be rounded and ``rounding`` was not passed.
    """
    return ConvertedArray(recording, np.float32, _float32(recording, rounding))


def write_suite2p_binary(
    recording: Any,
    folder: str | os.PathLike[str],
    *,
    second_channel: Any = None,
    scale: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the movies from which suite2p starts: ``suite2p/plane0/data.bin`` in a folder, and what describes them.

    Each plane gets a folder with ``data.bin`` (int16, little-endian, frames by rows by columns), ``data_chan2.bin`` for a second
    channel, and descriptions of plain numbers and texts: ``ops.npy`` for suite2p before 1.0, ``db.npy`` and ``settings.npy`` since.
    Files have temporary names until they are whole.

    Parameters
    ----------
    recording : ImagingExtractor
        The functional channel; its rate must be known. A view as well.
    folder : str or os.PathLike
        suite2p's ``save_path0``; made where it is not there.
    second_channel : ImagingExtractor, optional
        Of the same shape.
    scale : float, optional
        As for :func:`for_suite2p`; for both channels.
    resume : bool
        Whether what an interruption leaves is kept, and what an earlier one left is compared with the recording and continued.
    overwrite : bool
        Whether movies that are there are replaced, at the end.
    progress : callable, optional
        ``progress(done, total)`` in bytes of the recording's pixels.

    Returns
    -------
    dict
        What ``suite2p.run_s2p`` takes as ``db``: paths, ``nplanes``, ``nchannels``, ``Ly``, ``Lx``, ``nframes``, ``fs``.

    Raises
    ------
    TimesError
        The rate is not known: suite2p would take 10 Hz.
    UnsupportedRecordingError
        A value does not fit into int16, or the channels differ in shape.
    SourceKindError
        A movie is there already, or is the recording itself; or what is there to resume is of another recording.

    References
    ----------
    suite2p's ``BinaryFile``, ``init_dbs`` and ``run_plane``.
    """
    channels = (recording,) if second_channel is None else (recording, second_channel)
    _check_channels(channels)
    described = _described_for_suite2p(channels, Path(folder))
    targets = [
        _Target(place / name, channel, _int16(channel, scale), np.dtype("<i2"), plane)
        for plane, place in enumerate(_plane_folders(described))
        for name, channel in zip(("data.bin", "data_chan2.bin"), channels, strict=False)
    ]
    for place in _plane_folders(described):
        place.mkdir(parents=True, exist_ok=True)
    _write(targets, {"scale": scale}, resume=resume, overwrite=overwrite, progress=progress)
    _describe_planes(described)
    return described


def write_caiman_mmap(
    recording: Any,
    folder: str | os.PathLike[str],
    *,
    base: str = "memmap",
    order: str = "C",
    rounding: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write the memory map from which CaImAn starts, under the name that says its shape and order.

    The values are the recording's; CaImAn's own ``save_memmap`` adds 0.0001 to each.

    Parameters
    ----------
    recording : ImagingExtractor
        A view as well; planes become d3.
    folder : str or os.PathLike
        Of the file; it must be there.
    base : str
        What the name begins with.
    order : str
        ``"C"``, the time courses of the pixels, which CaImAn's source extraction reads; ``"F"``, frame behind frame, for motion correction.
    rounding : bool
        As for :func:`for_caiman`.
    resume, overwrite, progress
        As for :func:`write_suite2p_binary`.

    Returns
    -------
    pathlib.Path
        ``<base>_d1_<rows>_d2_<columns>_d3_<planes>_order_<order>_frames_<samples>.mmap``

    Raises
    ------
    UnsupportedRecordingError
        A value would have to be rounded, or the recording is empty.
    DeclarationError
        Another order, or a base that is no beginning of a name.
    SourceKindError
        As for :func:`write_suite2p_binary`; or the folder is not there.

    References
    ----------
    CaImAn's ``memmap_frames_filename``, ``decode_mmap_filename_dict`` and ``load_memmap``.
    """
    if order not in ("C", "F"):
        raise DeclarationError(f"order must be 'C' or 'F', and is {order!r:.40}")
    if not base or base != os.path.basename(base):
        raise DeclarationError(f"base must be the beginning of a file's name, and is {base!r:.80}")
    if recording.size == 0:
        raise UnsupportedRecordingError(f"a memory map holds no empty recording, and the shape is {recording.shape}")
    if not Path(folder).is_dir():
        raise SourceKindError(f"there is no folder {printable(folder)}")
    rows, columns, planes = recording.get_volume_shape()
    name = f"{base}_d1_{rows}_d2_{columns}_d3_{planes}_order_{order}_frames_{len(recording)}.mmap"
    target = _Target(
        Path(folder) / name,
        recording,
        _float32(recording, rounding),
        np.dtype("<f4"),
        columns_first=True,
        by_pixel=order == "C",
    )
    _write([target], {"rounding": rounding}, resume=resume, overwrite=overwrite, progress=progress)
    return target.path


# Values


def _int16(recording: Any, scale: float | None) -> Convert:
    if recording.dtype.kind == "c":
        raise UnsupportedRecordingError(
            f"suite2p takes int16, and the recording holds {recording.dtype}; pass its magnitude"
        )
    if scale is not None and not (isinstance(scale, int | float) and math.isfinite(scale) and scale != 0):
        raise DeclarationError(f"scale must be a finite number other than 0, and is {scale!r:.40}")
    return functools.partial(_as_int16, scale=scale)


def _as_int16(block: np.ndarray, *, scale: float | None) -> np.ndarray:
    if scale is None and np.can_cast(block.dtype, np.int16):
        return block.astype(np.int16, copy=False)
    rounded = np.rint if block.dtype.kind == "f" else np.floor
    values = block if scale is None else rounded(block * np.float64(scale))
    _check_int16(values, block.dtype, scale)
    found = values.astype(np.int16)
    if scale is None and not np.array_equal(found, values):
        raise UnsupportedRecordingError(
            f"suite2p takes int16, and the recording's {block.dtype} holds fractions; "
            "pass a scale by which they are multiplied before they are rounded (1 to round them as they are)"
        )
    return found


def _check_int16(values: np.ndarray, dtype: np.dtype[Any], scale: float | None) -> None:
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    limits = np.iinfo(np.int16)
    if not (limits.min <= low and high <= limits.max):  # NaN is neither
        after = "" if scale is None else f" after scale={scale}"
        raise UnsupportedRecordingError(
            f"suite2p takes int16, from -32,768 to 32,767, and the recording's {dtype} holds values from {low} to {high}{after}; "
            "pass a scale that makes them fit, for uint16 scale=0.5"
        )


def _float32(recording: Any, rounding: bool) -> Convert:
    if recording.dtype.kind == "c":
        raise UnsupportedRecordingError(
            f"CaImAn takes float32, and the recording holds {recording.dtype}; pass its magnitude"
        )
    return functools.partial(_as_float32, rounding=rounding)


def _as_float32(block: np.ndarray, *, rounding: bool) -> np.ndarray:
    dtype = block.dtype
    if np.can_cast(dtype, np.float32):
        return block.astype(np.float32, copy=False)
    with np.errstate(over="ignore"):
        found = block.astype(np.float32)
    if dtype.kind == "f" and (np.isinf(found) & np.isfinite(block)).any():
        raise UnsupportedRecordingError(
            f"CaImAn takes float32, and the recording's {dtype} holds values beyond its range"
        )
    if not rounding and not _is_exact(found, block):
        raise UnsupportedRecordingError(
            f"CaImAn takes float32, and the recording's {dtype} holds values that it cannot hold exactly; "
            "pass rounding=True for the nearest ones"
        )
    return found


def _is_exact(found: np.ndarray, block: np.ndarray) -> bool:
    if block.dtype.kind in "iu" and block.size and max(abs(int(block.min())), abs(int(block.max()))) > 1 << 53:
        return False  # float64, in which the two are compared, is not exact either
    return np.array_equal(found.astype(np.float64), block.astype(np.float64), equal_nan=True)


# suite2p's folders


def _check_channels(channels: Sequence[Any]) -> None:
    if len({channel.shape for channel in channels}) > 1:
        raise UnsupportedRecordingError(f"the channels differ in shape: {', '.join(str(c.shape) for c in channels)}")
    if channels[0].size == 0:
        raise UnsupportedRecordingError(f"suite2p takes no empty recording, and the shape is {channels[0].shape}")
    if channels[0].get_sampling_frequency() is None:
        raise TimesError(
            "suite2p must know the rate (it would take 10 Hz), and the recording tells none; pass sampling_frequency when opening it"
        )


def _described_for_suite2p(channels: Sequence[Any], folder: Path) -> dict[str, Any]:
    rows, columns = channels[0].get_frame_shape()
    root = os.path.abspath(folder)
    return {
        "data_path": [root],
        "save_path0": root,
        "save_folder": "suite2p",
        "fast_disk": root,
        "keep_movie_raw": False,
        "nplanes": channels[0].get_num_planes(),
        "nrois": 1,
        "nchannels": len(channels),
        "functional_chan": 1,
        "fs": float(channels[0].get_sampling_frequency()),
        "Ly": rows,
        "Lx": columns,
        "yrange": [0, rows],
        "xrange": [0, columns],
        "nframes": len(channels[0]),
    }


def _plane_folders(described: dict[str, Any]) -> list[Path]:
    root = Path(described["save_path0"], described["save_folder"])
    return [root / f"plane{k}" for k in range(described["nplanes"])]


def _describe_planes(described: dict[str, Any]) -> None:
    """Write the descriptions; their values are plain ones, so that loading them needs nothing but NumPy."""
    for number, place in enumerate(_plane_folders(described)):
        own = {
            **described,
            "iplane": number,
            "save_path": str(place),
            "fast_disk": str(place),
            "ops_path": str(place / "ops.npy"),
            "db_path": str(place / "db.npy"),
            "settings_path": str(place / "settings.npy"),
            "reg_file": str(place / "data.bin"),
        }
        if described["nchannels"] > 1:
            own["reg_file_chan2"] = str(place / "data_chan2.bin")
        for name, values in (("ops", own), ("db", own), ("settings", {"fs": described["fs"]})):
            partial = place / f".{name}.partial.npy"
            np.save(partial, np.array(values, dtype=object), allow_pickle=True)
            partial.replace(place / f"{name}.npy")


# Files that are whole or not there


@dataclass(frozen=True, slots=True)
class _Target:
    """One file: where, of which recording, and how its pixels lie.

    Attributes
    ----------
    path : pathlib.Path
    recording : ImagingExtractor
    convert : callable
    dtype : numpy.dtype
    plane : int or None
        The one plane that goes into it; None for all.
    columns_first : bool
        Whether the pixels of a sample count along its rows' axis first, as in Fortran.
    by_pixel : bool
        Whether the time course of a pixel lies in one piece, and not the pixels of a sample.
    """

    path: Path
    recording: Any
    convert: Convert
    dtype: np.dtype[Any]
    plane: int | None = None
    columns_first: bool = False
    by_pixel: bool = False

    @property
    def partial(self) -> Path:
        return self.path.with_name(f".{self.path.name}.partial")

    @property
    def note(self) -> Path:
        """What is said of the partial file: of which recording it is, and how much of it is there."""
        return self.path.with_name(f".{self.path.name}.partial.json")

    @property
    def pixels(self) -> int:
        rows, columns = self.recording.get_frame_shape()
        return int(rows * columns * (self.recording.get_num_planes() if self.plane is None else 1))

    def laid(self, block: np.ndarray) -> np.ndarray:
        """Return samples as ``(samples, pixels)``, the pixels in the file's order."""
        part = block if self.plane is None or block.ndim == 3 else block[..., self.plane]
        turned = part.transpose(0, *range(part.ndim - 1, 0, -1)) if self.columns_first else part
        return np.ascontiguousarray(self.convert(turned), self.dtype).reshape(len(block), -1)

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[int, np.ndarray], None]]:
        """Yield what stores laid samples from a place on."""
        if self.by_pixel:
            with self._mapped() as matrix:
                yield lambda start, block: _store_columns(matrix, start, block)
            return
        with self.partial.open("r+b" if self.partial.exists() else "w+b") as stream:
            yield lambda start, block: _store_frames(stream, start, block)

    def stored(self, index: int) -> np.ndarray:
        """Return one sample as the partial file holds it."""
        if self.by_pixel:
            with self._mapped() as matrix:
                return np.array(matrix[:, index])
        return np.fromfile(self.partial, self.dtype, self.pixels, offset=index * self.pixels * self.dtype.itemsize)

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[np.ndarray]:
        shape = (self.pixels, len(self.recording))
        with self.partial.open("r+b" if self.partial.exists() else "w+b") as stream:
            _reserve(stream, math.prod(shape) * self.dtype.itemsize)
            matrix = np.memmap(stream, self.dtype, "r+", shape=shape)
            try:
                yield matrix
            finally:
                matrix.flush()


def _reserve(stream: BinaryIO, size: int) -> None:
    """Take the room now: a map of a file that a full disk cannot hold would end the process."""
    if os.fstat(stream.fileno()).st_size == size:
        return
    stream.truncate(size)
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


def _store_columns(matrix: np.ndarray, start: int, block: np.ndarray) -> None:
    for first in range(0, len(matrix), _TILE_PIXELS):  # a transposition of all at once would miss the processor's cache
        tile = slice(first, first + _TILE_PIXELS)
        matrix[tile, start : start + len(block)] = block[:, tile].T


def _store_frames(stream: BinaryIO, start: int, block: np.ndarray) -> None:
    stream.seek(start * block.shape[1] * block.itemsize)
    stream.truncate()
    stream.write(block.data)
    stream.flush()


@dataclass(slots=True)
class _Writing:
    """Targets of one pass over the recordings."""

    targets: Sequence[_Target]
    identity: dict[str, Any]
    done: int = 0

    def run(self, tell: Progress) -> None:
        recording, total = self.targets[0].recording, sum(c.nbytes for c in self._channels())
        count = len(recording)
        length = sample_chunks(recording, _PIXEL_BLOCK if self.targets[0].by_pixel else _FRAME_BLOCK)[0]
        with contextlib.ExitStack() as stack:
            stores = [stack.enter_context(target.open()) for target in self.targets]
            for start in range(self.done, count, length):
                end = min(start + length, count)
                self._store(stores, start, end)
                self._remember(end)
                tell(total * end // count, total)

    def _store(self, stores: Sequence[Callable[[int, np.ndarray], None]], start: int, end: int) -> None:
        blocks = {id(channel): channel.get_series(start, end) for channel in self._channels()}
        for target, store in zip(self.targets, stores, strict=True):
            store(start, target.laid(blocks[id(target.recording)]))

    def _channels(self) -> list[Any]:
        return list({id(target.recording): target.recording for target in self.targets}.values())

    def _remember(self, done: int) -> None:
        self.done = done
        note = json.dumps({"version": _VERSION, "identity": self.identity, "done": done})
        for target in self.targets:
            passing = target.note.with_suffix(".tmp")
            passing.write_text(note, encoding="utf-8")
            passing.replace(target.note)

    def pick_up(self) -> None:
        """Continue behind what is there, when all of the targets have it and it is the recording's."""
        notes = [_read_note(target.note) for target in self.targets if target.partial.exists()]
        if len(notes) < len(self.targets) or None in notes:
            return
        self.done = min(int(note["done"]) for note in notes if note)
        for target, note in zip(self.targets, notes, strict=True):
            if note is None or note["identity"] != self.identity or not self._agrees(target):
                raise SourceKindError(
                    f"{printable(target.partial)} was begun with another recording or other options; delete it, or leave out resume"
                )

    def _agrees(self, target: _Target) -> bool:
        """Compare some samples: the first, the last, and others between them."""
        for index in np.unique(np.linspace(0, self.done - 1, min(self.done, _MAX_COMPARED)).astype(int)).tolist():
            there = target.stored(index)
            if not np.array_equal(
                there, target.laid(target.recording.get_series(index, index + 1))[0], equal_nan=there.dtype.kind == "f"
            ):
                return False
        return True

    def finish(self) -> None:
        for target in self.targets:
            target.partial.replace(target.path)
            target.note.unlink(missing_ok=True)

    def clean_up(self) -> None:
        for target in self.targets:
            target.partial.unlink(missing_ok=True)
            target.note.unlink(missing_ok=True)


def _write(
    targets: Sequence[_Target],
    options: dict[str, Any],
    *,
    resume: bool,
    overwrite: bool,
    progress: Progress | None,
) -> None:
    _check_places(targets, overwrite)
    writing = _Writing(targets, _identity(targets, options))
    if resume:
        writing.pick_up()
    else:
        writing.clean_up()
    try:
        writing.run(progress or (lambda done, total: None))
    except UnsupportedRecordingError:
        writing.clean_up()  # what does not fit today does not fit tomorrow
        raise
    except BaseException:
        if not resume:
            writing.clean_up()
        raise
    writing.finish()


def _check_places(targets: Sequence[_Target], overwrite: bool) -> None:
    own = {os.path.realpath(path) for target in targets for path in target.recording.provenance.paths}
    for target in targets:
        here = os.path.realpath(target.path)
        if here in own or any(here.startswith(path + os.sep) for path in own):
            raise SourceKindError(f"{printable(target.path)} is the recording itself; choose another folder")
        if os.path.lexists(target.path) and not overwrite:
            raise SourceKindError(f"{printable(target.path)} is there already; pass overwrite=True to replace it")


def _identity(targets: Sequence[_Target], options: dict[str, Any]) -> dict[str, Any]:
    """Return what tells one recording from another without reading it."""
    channels = {id(target.recording): target.recording for target in targets}.values()
    told = [
        {
            "paths": [[path, *_state(path)] for path in channel.provenance.paths],
            "shape": list(channel.shape),
            "dtype": str(channel.dtype),
        }
        for channel in channels
    ]
    identity: dict[str, Any] = json.loads(json.dumps({"channels": told, "options": options}))
    return identity


def _state(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def _read_note(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = found["version"] == _VERSION and isinstance(found["done"], int) and found["done"] >= 0
    except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError):
        return None
    if not known:
        raise CorruptRecordingError(f"{printable(path)} is of another version; delete it, or leave out resume")
    note: dict[str, Any] = found
    return note

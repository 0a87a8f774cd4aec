"""Writes the folder of plane folders from which suite2p starts, and gives recordings as the arrays that suite2p's functions take."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    DeclarationError,
    SourceKindError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import ConvertedArray, Progress, read_blocks, require_rate, require_room

__all__ = ["Suite2pWriter", "for_suite2p", "run_options", "write"]

_OWN_FILES = re.compile(r"plane[0-9]+/(data\.bin|data_chan2\.bin|ops\.npy|db\.npy|settings\.npy)")
_MAX_DESCRIPTION = 64 << 10  # bytes; this writer's are less than 4 KiB

_Convert = Callable[[np.ndarray], np.ndarray]


class Suite2pWriter:
    """Writes a recording as a suite2p folder; see :class:`roiextractors_core.interop.writer.Writer`."""

    def __call__(
        self,
        recording: Any,
        partial: Path,
        *,
        target: Path,
        progress: Progress,
        second_channel: Any = None,
        scale: float | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        """Write a recording.

        Each plane gets a folder ``plane0``, ``plane1``, ... with ``data.bin`` (int16, little-endian, frames by rows by columns),
        ``data_chan2.bin`` for a second channel, and descriptions made of plain numbers and texts: ``ops.npy`` for suite2p before
        1.0, ``db.npy`` and ``settings.npy`` since.

        Parameters
        ----------
        recording : ImagingExtractor
            The functional channel.
        partial, target, progress
            As in the contract. suite2p's ``save_path0`` is the target's parent, ``save_folder`` its name.
        second_channel : ImagingExtractor, optional
            Of the same shape as the recording.
        scale : float, optional
            As for :func:`for_suite2p`; for both channels.
        sampling_frequency : float, optional
            Volumes or frames per second (Hz); needed if the recording's rate is unknown.

        Raises
        ------
        TimesError
            The sampling rate is unknown: suite2p would assume 10 Hz.
        UnsupportedRecordingError
            A value does not fit in int16, the recording is empty, or the channels differ in shape.

        References
        ----------
        suite2p's ``BinaryFile``, ``init_dbs`` and ``run_plane``.
        """
        options = run_options(recording, target, second_channel=second_channel, sampling_frequency=sampling_frequency)
        channels = [recording] if second_channel is None else [recording, second_channel]
        converts = [_int16(channel, scale) for channel in channels]
        require_room(partial, sum(channel.size for channel in channels) * 2)  # bytes: int16
        partial.mkdir()
        folders = [partial / f"plane{plane}" for plane in range(options["nplanes"])]
        for folder in folders:
            folder.mkdir()
        count, total = len(recording), sum(channel.nbytes for channel in channels)
        with contextlib.ExitStack() as stack:
            names = ("data.bin", "data_chan2.bin")[: len(channels)]
            movies = [[stack.enter_context((folder / name).open("xb")) for folder in folders] for name in names]
            for start, first in read_blocks(recording):
                end = start + len(first)
                for channel, convert, planes in zip(channels, converts, movies, strict=True):
                    block = convert(first if channel is recording else channel.get_series(start, end))
                    for plane, movie in enumerate(planes):
                        part = block if block.ndim == 3 else block[..., plane]
                        movie.write(np.ascontiguousarray(part, "<i2").data)
                progress(total * end // count, total)
        _write_descriptions(options, folders, target)

    def may_replace(self, path: Path) -> bool:
        """Return whether a path is a folder with what this writer writes and nothing else.

        Raises
        ------
        SourceKindError
            It contains suite2p's results, which may have been curated by hand.
        """
        _check_no_results(path)
        return path.is_dir() and all(_is_own(file, path) for file in path.rglob("*") if not file.is_dir())


write = Suite2pWriter()


def run_options(
    recording: Any,
    target: str | os.PathLike[str],
    *,
    second_channel: Any = None,
    sampling_frequency: float | None = None,
) -> dict[str, Any]:
    """Return the ``db`` that ``suite2p.run_s2p`` takes for a folder written from a recording.

    Parameters
    ----------
    recording : ImagingExtractor
        The functional channel.
    target : str or os.PathLike
        The folder of plane folders, as passed to ``convert``.
    second_channel : ImagingExtractor, optional
    sampling_frequency : float, optional
        Volumes or frames per second (Hz); needed if the recording's rate is unknown.

    Returns
    -------
    dict
        Paths, ``nplanes``, ``nchannels``, ``Ly``, ``Lx``, ``nframes``, and ``fs`` in Hz; JSON can store it.

    Raises
    ------
    TimesError
        The sampling rate is unknown.
    UnsupportedRecordingError
        The recording is empty, or the channels differ in shape.
    """
    shapes = [channel.shape for channel in (recording, second_channel) if channel is not None]
    if len(set(shapes)) > 1:
        raise UnsupportedRecordingError(f"the channels differ in shape: {', '.join(map(str, shapes))}")
    if not recording.size:
        raise UnsupportedRecordingError(f"suite2p cannot read an empty recording (shape {recording.shape})")
    rate = require_rate(recording, sampling_frequency, needed_by="suite2p, which would assume 10 Hz,")
    rows, columns = recording.get_frame_shape()
    folder = Path(os.path.abspath(target))
    return {
        "data_path": [str(folder.parent)],
        "save_path0": str(folder.parent),
        "save_folder": folder.name,
        "fast_disk": str(folder.parent),
        "keep_movie_raw": False,
        "nplanes": recording.get_num_planes(),
        "nrois": 1,
        "nchannels": len(shapes),
        "functional_chan": 1,
        "fs": rate,
        "Ly": rows,
        "Lx": columns,
        "yrange": [0, rows],
        "xrange": [0, columns],
        "nframes": len(recording),
    }


def for_suite2p(recording: Any, *, scale: float | None = None) -> ConvertedArray:
    """Return a planar recording as the int16 array ``(frames, Ly, Lx)`` that suite2p's functions take.

    Nothing is clipped: a value that does not fit is refused when it is read.

    Parameters
    ----------
    recording : ImagingExtractor
        Of volumes, pass one plane at a time: ``recording.select_plane(0)``.
    scale : float, optional
        Multiply by this: ``0.5`` for uint16, ``1000`` for a ΔF/F. Integers are rounded down, as suite2p does when it halves
        uint16; floats are rounded to the nearest integer.

    Raises
    ------
    UnsupportedRecordingError
        The recording is volumetric or complex; when read, a value does not fit in int16.
    """
    if recording.is_volumetric:
        raise UnsupportedRecordingError(
            f"suite2p takes one plane at a time and this recording has {recording.get_num_planes()}: "
            'for_suite2p(recording.select_plane(0)), or convert(..., format="suite2p"), which writes all of them'
        )
    return ConvertedArray(recording, np.int16, _int16(recording, scale))


# Values


def _int16(recording: Any, scale: float | None) -> _Convert:
    if recording.dtype.kind == "c":
        raise UnsupportedRecordingError(
            f"suite2p needs int16 and this recording is {recording.dtype}; pass its magnitude"
        )
    if scale is not None and not (isinstance(scale, int | float) and math.isfinite(scale) and scale != 0):
        raise DeclarationError(f"scale must be a finite number other than 0, got {scale!r:.40}")
    return functools.partial(_as_int16, scale=scale)


def _as_int16(block: np.ndarray, *, scale: float | None) -> np.ndarray:
    if scale is None and np.can_cast(block.dtype, np.int16):
        return block.astype(np.int16, copy=False)
    rounded = np.rint if block.dtype.kind == "f" else np.floor
    values = block if scale is None else rounded(block * np.float64(scale))
    _check_int16(values, block.dtype, scale)
    result = values.astype(np.int16)
    if scale is None and not np.array_equal(result, values):
        raise UnsupportedRecordingError(
            f"suite2p needs int16 and this {block.dtype} recording contains fractions; "
            "pass scale=, by which they are multiplied before they are rounded (1 rounds them as they are)"
        )
    return result


def _check_int16(values: np.ndarray, dtype: np.dtype[Any], scale: float | None) -> None:
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    limits = np.iinfo(np.int16)
    if not (limits.min <= low and high <= limits.max):  # NaN compares as False
        after = "" if scale is None else f" after scale={scale}"
        raise UnsupportedRecordingError(
            f"suite2p needs int16 (-32,768 to 32,767) and this {dtype} recording contains values from {low} to {high}{after}; "
            "pass a scale= that makes them fit, for uint16 scale=0.5"
        )


# Files


def _is_own(file: Path, folder: Path) -> bool:
    if not _OWN_FILES.fullmatch(file.relative_to(folder).as_posix()):
        return False
    # suite2p stores images of a finished run in ops.npy
    return file.suffix == ".bin" or file.stat().st_size <= _MAX_DESCRIPTION


def _check_no_results(target: Path) -> None:
    """Refuse to replace a folder with results: they may have been curated by hand."""
    results = [path for name in ("stat.npy", "iscell.npy") for path in target.glob(f"plane*/{name}")]
    if results:
        raise SourceKindError(
            f"{printable(target)} contains suite2p's results ({results[0].parent.name}/{results[0].name}); choose another folder"
        )


def _write_descriptions(options: dict[str, Any], folders: Sequence[Path], target: Path) -> None:
    """Write the description of each plane, with the paths that it will have; plain values load with NumPy alone."""
    for number, folder in enumerate(folders):
        place = Path(os.path.abspath(target)) / folder.name
        own = {
            **options,
            "iplane": number,
            "save_path": str(place),
            "fast_disk": str(place),
            "ops_path": str(place / "ops.npy"),
            "db_path": str(place / "db.npy"),
            "settings_path": str(place / "settings.npy"),
            "reg_file": str(place / "data.bin"),
        }
        if options["nchannels"] > 1:
            own["reg_file_chan2"] = str(place / "data_chan2.bin")
        for name, values in (("ops", own), ("db", own), ("settings", {"fs": options["fs"]})):
            np.save(folder / f"{name}.npy", np.array(values, dtype=object), allow_pickle=True)

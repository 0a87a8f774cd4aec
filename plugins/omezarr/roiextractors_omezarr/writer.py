"""Writes OME-Zarr: one array at full resolution, compressed on all cores or on a dask cluster, without the library zarr."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roiextractors_core.errors import UnknownOptionError, UnsupportedRecordingError
from roiextractors_core.io import SIDECAR_KEY, Progress, Sidecar, run_tasks

__all__ = ["OmeZarrWriter", "write"]

_CHUNK_BYTES = 4 << 20
_MAX_CHUNK_BYTES = 64 << 20  # of one frame, which is divided into rows above this
_TASK_BYTES = 16 << 20  # as much as one core reads and compresses at a time
_MAX_TASK_BYTES = 64 << 20
_GZIP = 31  # zlib's window size, with the header of gzip
_LEVELS = {"zstd": (1, 1, 22), "blosc": (5, 0, 9), "gzip": (1, 0, 9)}  # the default, the lowest and the highest
# What the workers of a cluster write is renamed when it is complete
_UNFINISHED = "unfinished"
# Descriptions of Zarr 2 and 3, and chunks: 0/c/1/2/3, 0/1/2/3 or 0/1.2.3
_OWN_FILES = re.compile(
    r"([0-9]+/)?(zarr\.json|\.zarray|\.zattrs|\.zgroup|\.zmetadata)|[0-9]+/(c/)?[0-9]+([/.][0-9]+)*"
)


class OmeZarrWriter:
    """Writes a recording as OME-Zarr; see :class:`roiextractors_core.interop.writer.Writer`.

    References
    ----------
    The OME-Zarr specification, versions 0.4 and 0.5; the Zarr storage specifications, versions 2 and 3.
    """

    def __call__(
        self,
        recording: Any,
        partial: Path,
        *,
        target: Path,
        progress: Progress,
        compression: str | None = "zstd",
        level: int | None = None,
        version: str = "0.5",
        scheduler: Any = None,
    ) -> None:
        """Write a recording.

        Parameters
        ----------
        compression : str or None
            ``"zstd"``, ``"blosc"`` (Zstandard after a shuffle of the bits, for the smallest files) or ``"gzip"``; None to store the
            pixels as they are.
        level : int, optional
            Of the compression: 1 to 22 for zstd, 0 to 9 for the others.
        version : str
            Of OME-Zarr: ``"0.5"``, on Zarr 3, or ``"0.4"``, on Zarr 2, for programs that read no other.
        scheduler : str or distributed.Client, optional
            The address of a running dask scheduler, or a client of one, whose workers read and write the same paths; by default,
            all cores of this machine.

        Raises
        ------
        UnknownOptionError
            An option has a value that is not known.
        UnsupportedRecordingError
            The recording has a type that Zarr does not store.
        """
        compression, level = _checked_compression(compression, level)
        if version not in ("0.4", "0.5"):
            raise UnknownOptionError(f"version must be '0.5' or '0.4', got {version!r:.40}")
        layout = _Layout.of(recording, compression, level, is_version_2=version == "0.4")
        _write_descriptions(recording, partial, layout, version)
        array = partial / "0"
        folder = _Folder(str(array), str(array / _UNFINISHED) if scheduler is not None else "")
        if scheduler is not None:
            (array / _UNFINISHED).mkdir()
        count, total = len(recording), recording.nbytes
        spans = layout.spans(recording)
        tasks = run_tasks(_write_span, spans, recording, prepared=(folder, layout), scheduler=scheduler)
        try:
            with contextlib.closing(tasks):  # which waits for the tasks that run, also after an error
                for (_, end), _ in zip(spans, tasks, strict=True):
                    progress(total * end // max(1, count), total)
        except BaseException:
            if scheduler is not None:
                # Workers may still write: under the new name they find nothing, and the folder can be removed
                array.rename(partial / "failed")
            raise
        if scheduler is not None:
            for rest in (array / _UNFINISHED).iterdir():  # of workers that were lost
                rest.unlink()
            (array / _UNFINISHED).rmdir()

    def may_replace(self, path: Path) -> bool:
        """Return whether a path is a Zarr folder of one image: descriptions and chunks, and nothing else."""
        if not path.is_dir() or (path / "labels").exists():
            return False
        files = (file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir())
        return all(_OWN_FILES.fullmatch(file) for file in files)


write = OmeZarrWriter()


def _checked_compression(compression: Any, level: Any) -> tuple[str, int]:
    if compression is None:
        if level is not None:
            raise UnknownOptionError("level= needs a compression; remove it, or pass compression='zstd'")
        return "", 0
    if compression not in _LEVELS:
        raise UnknownOptionError(f"compression must be 'zstd', 'blosc', 'gzip' or None, got {compression!r:.40}")
    default, lowest, highest = _LEVELS[compression]
    if level is None:
        return compression, default
    if type(level) is not int or not lowest <= level <= highest:
        raise UnknownOptionError(
            f"level of {compression} must be a number from {lowest} to {highest}, got {level!r:.40}"
        )
    return compression, level


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the array is stored.

    Attributes
    ----------
    shape, chunk : tuple of int
        ``(t, y, x)`` or ``(t, z, y, x)``, as the specification orders them.
    dtype : numpy.dtype
        Little-endian.
    compression : str
        Empty for none.
    level : int
    is_version_2 : bool
        Zarr 2, else 3.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]
    compression: str
    level: int
    is_version_2: bool

    @classmethod
    def of(cls, recording: Any, compression: str, level: int, *, is_version_2: bool) -> _Layout:
        dtype = np.dtype(recording.dtype)
        if dtype.kind not in "biufc" or dtype.itemsize > 16:
            raise UnsupportedRecordingError(f"Zarr stores numbers, and this recording has the type {dtype}")
        rows, columns = recording.get_frame_shape()
        planes = (recording.get_num_planes(),) if recording.is_volumetric else ()
        row_bytes = max(1, columns * dtype.itemsize)
        height = max(1, min(rows, _MAX_CHUNK_BYTES // row_bytes))
        frame_bytes = max(1, rows * row_bytes)
        most = min(_CHUNK_BYTES // frame_bytes, _MAX_TASK_BYTES // (frame_bytes * math.prod(planes) or 1))
        length = max(1, min(len(recording), most))
        own = max(1, int(recording.get_chunk_shape()[0]))
        if own < length:
            length = length // own * own  # so that no chunk of the source is decoded for two of the target
        return cls(
            (len(recording), *planes, rows, columns),
            (length, *(1,) * len(planes), height, max(1, columns)),
            dtype.newbyteorder("<"),
            compression,
            level,
            is_version_2,
        )

    def spans(self, recording: Any) -> list[tuple[int, int]]:
        """Divide the samples into tasks: some chunks of the target each, and whole chunks of the source where these fit."""
        count, length = self.shape[0], self.chunk[0]
        nbytes = max(1, length * math.prod(self.shape[1:]) * self.dtype.itemsize)
        own = -(-max(1, int(recording.get_chunk_shape()[0])) // length)
        step = length * max(1, _TASK_BYTES // nbytes, min(own, _MAX_TASK_BYTES // nbytes))
        return [(start, min(start + step, count)) for start in range(0, count, step)]

    def path_of(self, cell: tuple[int, ...]) -> str:
        return "/".join((*(() if self.is_version_2 else ("c",)), *map(str, cell)))

    def description(self, names: tuple[str, ...]) -> Mapping[str, Any]:
        """Return the content of ``.zarray`` or ``zarr.json``."""
        kind, size = self.dtype.kind, self.dtype.itemsize
        zero: Any = False if kind == "b" else [0.0, 0.0] if kind == "c" else 0.0 if kind == "f" else 0
        shuffle = 2 if size > 1 else 0
        if self.is_version_2:
            codecs: dict[str, Any] = {
                "zstd": {"id": "zstd", "level": self.level},
                "blosc": {"id": "blosc", "cname": "zstd", "clevel": self.level, "shuffle": shuffle, "blocksize": 0},
                "gzip": {"id": "gzip", "level": self.level},
            }
            return {
                "zarr_format": 2, "shape": list(self.shape), "chunks": list(self.chunk), "dtype": self.dtype.str, "order": "C",
                "fill_value": zero, "filters": None, "compressor": codecs.get(self.compression), "dimension_separator": "/",
            }  # fmt: skip
        packed: dict[str, Any] = {
            "zstd": {"level": self.level, "checksum": False},
            "blosc": {"typesize": size, "cname": "zstd", "clevel": self.level, "shuffle": "bitshuffle" if shuffle else "noshuffle", "blocksize": 0},
            "gzip": {"level": self.level},
        }  # fmt: skip
        pixels: dict[str, Any] = {"name": "bytes"} | ({"configuration": {"endian": "little"}} if size > 1 else {})
        more = [{"name": self.compression, "configuration": packed[self.compression]}] if self.compression else []
        return {
            "zarr_format": 3, "node_type": "array", "shape": list(self.shape), "data_type": self.dtype.newbyteorder("=").name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunk)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": zero, "codecs": [pixels, *more], "attributes": {}, "dimension_names": list(names),
        }  # fmt: skip

    def encoder(self) -> Callable[[np.ndarray], Any]:
        """Return what compresses a chunk."""
        if not self.compression:
            return lambda chunk: chunk.data
        if self.compression == "gzip":
            return self._gzip
        import numcodecs

        if self.compression == "zstd":
            codec: Any = numcodecs.Zstd(self.level)
        else:
            codec = numcodecs.Blosc("zstd", self.level, 2 if self.dtype.itemsize > 1 else 0)
        encode: Callable[[np.ndarray], Any] = codec.encode
        return encode

    def _gzip(self, chunk: np.ndarray) -> bytes:
        stream = zlib.compressobj(
            self.level, zlib.DEFLATED, _GZIP
        )  # without a time, so that equal chunks are equal files
        return stream.compress(chunk.data) + stream.flush()


@dataclass(frozen=True, slots=True)
class _Folder:
    """The folder of the array, and one for files that are renamed when they are complete; empty to write them at once."""

    path: str
    unfinished: str


def _write_span(recording: Any, prepared: tuple[_Folder, _Layout], span: tuple[int, int]) -> None:
    """Write all chunks of some samples; on a cluster possibly twice, with the same content."""
    folder, layout = prepared
    start, end = span
    block = recording.get_series(start, end)
    block = np.moveaxis(block, 3, 1) if block.ndim == 4 else block
    encode = layout.encoder()
    made: set[str] = set()
    for cell, part in _parts(layout, start, end):
        pixels = block[part]
        if pixels.shape == layout.chunk:
            chunk = np.ascontiguousarray(pixels, layout.dtype)
        else:  # chunks at the edges are as large as the others
            chunk = np.zeros(layout.chunk, layout.dtype)
            chunk[tuple(map(slice, pixels.shape))] = pixels
        _write_file(folder, layout.path_of(cell), encode(chunk), made)


def _parts(layout: _Layout, start: int, end: int) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Yield the chunks of some samples: the position of each in the grid, and its part of the block."""
    first, *counts = layout.chunk[0], *(-(-n // c) for n, c in zip(layout.shape[1:], layout.chunk[1:], strict=True))
    for cell in itertools.product(range(start // first, -(-end // first)), *map(range, counts)):
        time = slice(cell[0] * first - start, min((cell[0] + 1) * first, end) - start)
        yield cell, (time, *(slice(k * c, (k + 1) * c) for k, c in zip(cell[1:], layout.chunk[1:], strict=True)))


def _write_file(folder: _Folder, name: str, content: Any, made: set[str]) -> None:
    parent = folder.path
    for part in name.split("/")[:-1]:
        # One level at a time: the folder of the array itself must not appear again after it was removed
        parent = f"{parent}/{part}"
        if parent not in made:
            with contextlib.suppress(FileExistsError):
                os.mkdir(parent)
            made.add(parent)
    place = f"{folder.path}/{name}"
    written = f"{folder.unfinished}/{uuid.uuid4().hex}" if folder.unfinished else place
    with open(written, "wb", buffering=0) as file:
        view = memoryview(content).cast("B")
        while view:  # one call may write less than all of a large chunk
            view = view[file.write(view) :]
    if folder.unfinished:
        os.replace(written, place)


def _write_descriptions(recording: Any, partial: Path, layout: _Layout, version: str) -> None:
    sidecar = Sidecar.of(recording)
    names = ("t", "z", "y", "x") if recording.is_volumetric else ("t", "y", "x")
    image = _multiscales(recording, sidecar)
    (partial / "0").mkdir(parents=True)
    if layout.is_version_2:
        image["multiscales"][0]["version"] = version
        _write_json(partial / ".zgroup", {"zarr_format": 2})
        _write_json(partial / ".zattrs", {**image, SIDECAR_KEY: sidecar.to_dict()})
        _write_json(partial / "0" / ".zarray", layout.description(names))
        return
    attributes = {"ome": {"version": version, **image}, SIDECAR_KEY: sidecar.to_dict()}
    _write_json(partial / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})
    _write_json(partial / "0" / "zarr.json", layout.description(names))


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _multiscales(recording: Any, sidecar: Sidecar) -> dict[str, Any]:
    """Return the description of the one array; axes without a known size have a scale of 1 and no unit."""
    metadata = sidecar.metadata
    size = metadata.pixel_size or (1.0, 1.0)
    seconds = 1.0 / sidecar.rate if sidecar.rate else 1.0
    scale = {"t": seconds, "z": metadata.plane_spacing or 1.0, "y": size[0], "x": size[1]}
    axes: list[dict[str, str]] = [{"name": "t", "type": "time"} | ({"unit": "second"} if sidecar.rate else {})]
    for name in ("z", "y", "x") if recording.is_volumetric else ("y", "x"):
        known = metadata.plane_spacing if name == "z" else metadata.pixel_size
        axes.append({"name": name, "type": "space"} | ({"unit": "micrometer"} if known is not None else {}))
    transformations = [{"type": "scale", "scale": [scale[axis["name"]] for axis in axes]}]
    datasets = [{"path": "0", "coordinateTransformations": transformations}]
    return {"multiscales": [{"name": "imaging", "axes": axes, "datasets": datasets}]}

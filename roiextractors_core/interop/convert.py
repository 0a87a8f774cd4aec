"""A recording written as another format, in bounded memory, under its name only when it is whole."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingDependencyError, SourceKindError, UnsupportedRecordingError, printable
from ..io.sidecar import SIDECAR_KEY, Sidecar
from .to_dask import sample_chunks

__all__ = ["convert", "target_formats"]

_BLOCK_BYTES = 32 << 20
_OME_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")

Progress = Callable[[int, int], None]


def convert(
    recording: Any,
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    start_time: datetime | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a recording as ``.npy``, OME-BigTIFF, OME-Zarr or NWB, by the target's suffix.

    The result opens with ``roiextractors_core.open`` and holds the same pixels, times and metadata. It is written under a temporary
    name beside the target and renamed at the end; an interruption leaves nothing.

    Parameters
    ----------
    recording : ImagingExtractor
        A view as well: a range of samples, a rectangle, a plane.
    target : str or os.PathLike
        ``.npy`` (with ``.npy.json`` beside it for times and metadata); ``.tif``, ``.tiff``, ``.btf``; ``.zarr``; ``.nwb``.
    overwrite : bool
        Whether a target that is there is replaced, at the end.
    start_time : datetime, optional
        For NWB, which must have one, where the recording tells none.
    progress : callable, optional
        ``progress(done, total)`` in bytes of pixels.

    Returns
    -------
    pathlib.Path
        The target.

    Raises
    ------
    SourceKindError
        The suffix is none of those, the target is there, or it is one of the recording's own files.
    UnsupportedRecordingError
        The target's format cannot hold this dtype, an empty recording, or an unknown start time.
    MissingDependencyError
        The library that writes the format is not installed.
    """
    path = Path(target)
    write, library, package = _writer_of(path)
    if importlib.util.find_spec(library) is None:
        raise MissingDependencyError(f"writing {path.suffix} needs {library}: python -m pip install {package}")
    _check_place(path, recording, overwrite)
    job = _Job(recording, Sidecar.of(recording), start_time, progress or (lambda done, total: None))
    partial = path.with_name(f".{uuid.uuid4().hex[:12]}.partial{path.suffix}")
    try:
        write(job, partial)
        _put_in_place(partial, path)
    finally:
        _remove(partial)
        _remove(partial.with_name(f"{partial.name}.json"))
    return path


def target_formats() -> tuple[str, ...]:
    """Return the suffixes that can be written."""
    return tuple(_WRITERS)


@dataclass(frozen=True, slots=True)
class _Job:
    recording: Any
    companion: Sidecar
    start_time: datetime | None
    tell: Progress

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield consecutive samples, C-contiguous with planes last."""
        count, total = len(self.recording), self.recording.nbytes
        length = sample_chunks(self.recording, _BLOCK_BYTES)[0]
        for start in range(0, count, length):
            yield self.recording.get_series(start, min(start + length, count))
            self.tell(min(start + length, count) * (total // max(1, count)), total)

    def frames(self) -> Iterator[np.ndarray]:
        """Yield frames, the planes of a sample one after the other."""
        for block in self.blocks():
            for sample in block:
                yield from (sample,) if sample.ndim == 2 else np.moveaxis(sample, 2, 0)

    def without_times(self) -> Sidecar:
        """Return the companion for a format that keeps the times itself."""
        return replace(self.companion, times=None)

    def require(self, right: bool, words: str) -> None:
        if not right:
            raise UnsupportedRecordingError(words)


def _check_place(path: Path, recording: Any, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise SourceKindError(f"{printable(path)}: there is no folder {printable(path.parent)}")
    own = {os.path.realpath(p) for p in recording.provenance.paths}
    here = os.path.realpath(path)
    if here in own or any(source.startswith(here + os.sep) for source in own):
        raise SourceKindError(f"{printable(path)} is the recording itself; choose another name")
    if os.path.lexists(path) and not overwrite:
        raise SourceKindError(f"{printable(path)} is there already; pass overwrite to replace it")


def _put_in_place(partial: Path, path: Path) -> None:
    beside = partial.with_name(f"{partial.name}.json")
    if beside.exists():
        beside.replace(path.with_name(f"{path.name}.json"))
    if path.is_dir() and not path.is_symlink():
        aside = path.with_name(f".{uuid.uuid4().hex[:12]}.replaced")
        path.rename(aside)
        partial.rename(path)
        shutil.rmtree(aside)
    else:
        partial.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


# One function a format


def _write_npy(job: _Job, partial: Path) -> None:
    recording = job.recording
    header = {"descr": np.lib.format.dtype_to_descr(recording.dtype), "fortran_order": False, "shape": recording.shape}
    with partial.open("xb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for block in job.blocks():
            stream.write(np.ascontiguousarray(block).data)
    partial.with_name(f"{partial.name}.json").write_text(job.companion.to_json(), encoding="utf-8")


def _write_tiff(job: _Job, partial: Path) -> None:
    import tifffile

    recording, name = job.recording, str(job.recording.dtype)
    job.require(name in _OME_DTYPES, f"OME-TIFF holds no {name}; write .npy or .zarr")
    job.require(recording.size > 0, f"OME-TIFF holds no empty recording, and the shape is {recording.shape}")
    rows, columns = recording.get_frame_shape()
    planes = (recording.get_num_planes(),) if recording.is_volumetric else ()
    with tifffile.TiffWriter(partial, bigtiff=True, ome=True) as file:
        file.write(
            job.frames(),
            shape=(len(recording), *planes, rows, columns),
            dtype=recording.dtype,
            photometric="minisblack",
            contiguous=False,
            metadata=_ome(job),
        )


def _ome(job: _Job) -> dict[str, Any]:
    """Return what OME has names for; the companion, as an annotation, keeps all of it to the last digit."""
    recording, companion = job.recording, job.companion
    found = companion.metadata
    told: dict[str, Any] = {"axes": "TZYX" if recording.is_volumetric else "TYX"}
    if companion.rate is not None:
        told |= {"TimeIncrement": 1.0 / companion.rate, "TimeIncrementUnit": "s"}
    if companion.times is not None:
        stamps = np.repeat(companion.times, recording.get_num_planes()).tolist()
        told["Plane"] = {"DeltaT": stamps, "DeltaTUnit": ["s"] * len(stamps)}
    if found.pixel_size is not None:
        told |= {"PhysicalSizeY": found.pixel_size[0], "PhysicalSizeYUnit": "µm"}
        told |= {"PhysicalSizeX": found.pixel_size[1], "PhysicalSizeXUnit": "µm"}
    if found.plane_spacing is not None:
        told |= {"PhysicalSizeZ": found.plane_spacing, "PhysicalSizeZUnit": "µm"}
    if found.channels:
        told["Channel"] = {"Name": [found.channels[0].name]}
    told["MapAnnotation"] = {"Namespace": SIDECAR_KEY, SIDECAR_KEY: json.dumps(job.without_times().to_dict())}
    return told


def _write_zarr(job: _Job, partial: Path) -> None:
    import zarr

    recording = job.recording
    planes = (recording.get_num_planes(),) if recording.is_volumetric else ()
    rows, columns = recording.get_frame_shape()
    group = zarr.open_group(partial, mode="w", zarr_format=3)
    length = max(1, min(len(recording), (4 << 20) // max(1, rows * columns * recording.dtype.itemsize)))
    array = group.create_array(
        "0",
        shape=(len(recording), *planes, rows, columns),
        chunks=(length, *(1,) * len(planes), max(1, rows), max(1, columns)),
        dtype=recording.dtype,
        dimension_names=("t", "z", "y", "x") if planes else ("t", "y", "x"),
    )
    start = 0
    for block in job.blocks():
        array[start : start + len(block)] = np.moveaxis(block, 3, 1) if planes else block
        start += len(block)
    group.attrs.update({"ome": _multiscales(job), SIDECAR_KEY: job.companion.to_dict()})


def _multiscales(job: _Job) -> dict[str, Any]:
    """Return the OME-Zarr 0.5 description of the one array."""
    recording, companion = job.recording, job.companion
    found = companion.metadata
    size = found.pixel_size or (1.0, 1.0)
    seconds = 1.0 / companion.rate if companion.rate else 1.0
    scale = {"t": seconds, "z": found.plane_spacing or 1.0, "y": size[0], "x": size[1]}
    axes: list[dict[str, str]] = [{"name": "t", "type": "time"} | ({"unit": "second"} if companion.rate else {})]
    for name in ("z", "y", "x") if recording.is_volumetric else ("y", "x"):
        known = found.plane_spacing if name == "z" else found.pixel_size
        axes.append({"name": name, "type": "space"} | ({"unit": "micrometer"} if known is not None else {}))
    transformed = [{"type": "scale", "scale": [scale[axis["name"]] for axis in axes]}]
    datasets = [{"path": "0", "coordinateTransformations": transformed}]
    return {"version": "0.5", "multiscales": [{"name": "imaging", "axes": axes, "datasets": datasets}]}


def _write_nwb(job: _Job, partial: Path) -> None:
    from pynwb import NWBHDF5IO

    start = job.companion.metadata.start_time or job.start_time
    job.require(
        start is not None, "NWB must have a start time, and the recording tells none; pass start_time (--start-time)"
    )
    job.require(job.recording.size > 0, f"NWB holds no empty recording, and the shape is {job.recording.shape}")
    with NWBHDF5IO(str(partial), mode="w") as stream:
        stream.write(_nwb_file(job, start))


def _nwb_file(job: _Job, start: Any) -> Any:
    from pynwb import NWBFile
    from pynwb.ophys import OpticalChannel, TwoPhotonSeries

    recording, companion = job.recording, job.companion
    found = companion.metadata
    names = ", ".join(printable(Path(path).name) for path in recording.provenance.paths) or "a recording in memory"
    begun = start if start.tzinfo else start.astimezone()  # NWB must have a zone; one that is not told is the local one
    file = NWBFile(session_description=f"converted from {names}", identifier=uuid.uuid4().hex, session_start_time=begun)
    device = file.create_device(name=found.device or "microscope")
    channel = found.channels[0] if found.channels else None
    light = OpticalChannel(
        name=channel.name.replace("/", "_") if channel else "OpticalChannel",
        description="unknown" if channel is None else channel.name,
        emission_lambda=float("nan") if channel is None else channel.emission_wavelength or float("nan"),
    )
    spacing = [*(reversed(found.pixel_size or ())), *([found.plane_spacing] if found.plane_spacing else [])]
    plane = file.create_imaging_plane(
        name="ImagingPlane",
        optical_channel=light,
        description="unknown",
        device=device,
        excitation_lambda=float("nan") if channel is None else channel.excitation_wavelength or float("nan"),
        indicator="unknown",
        location="unknown",
        **({"grid_spacing": spacing, "grid_spacing_unit": "micrometers"} if found.pixel_size else {}),
    )
    clock: dict[str, Any] = {"rate": companion.rate, "starting_time": 0.0}
    if companion.times is not None:
        clock = {"timestamps": companion.times}
    job.require(
        companion.times is not None or companion.rate is not None,
        "NWB must have a rate or times, and the recording tells none; pass sampling_frequency when opening it",
    )
    file.add_acquisition(
        TwoPhotonSeries(
            name="TwoPhotonSeries",
            data=_nwb_data(job),
            imaging_plane=plane,
            unit="n.a.",
            comments=json.dumps({SIDECAR_KEY: job.without_times().to_dict()}),
            **clock,
        )
    )
    return file


def _nwb_data(job: _Job) -> Any:
    from hdmf.data_utils import GenericDataChunkIterator

    recording = job.recording
    shape = recording.shape
    each = max(1, recording.nbytes // max(1, len(recording)))

    class Samples(GenericDataChunkIterator):  # type: ignore[misc]
        """NWB keeps (time, width, height[, depth])."""

        def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
            swapped = (selection[0], selection[2], selection[1], *selection[3:])
            job.tell(selection[0].stop * each, recording.nbytes)
            return np.asarray(recording[swapped]).swapaxes(1, 2)

        def _get_maxshape(self) -> tuple[int, ...]:
            return (shape[0], shape[2], shape[1], *shape[3:])

        def _get_dtype(self) -> np.dtype[Any]:
            dtype: np.dtype[Any] = recording.dtype
            return dtype

    whole = (shape[2], shape[1], *shape[3:])
    length = sample_chunks(recording, _BLOCK_BYTES)[0]
    return Samples(buffer_shape=(length, *whole), chunk_shape=(min(length, max(1, (1 << 20) // each)), *whole))


_WRITERS: dict[str, tuple[Callable[[_Job, Path], None], str, str]] = {
    ".npy": (_write_npy, "numpy", "numpy"),
    ".tif": (_write_tiff, "tifffile", "roiextractors-tiff"),
    ".tiff": (_write_tiff, "tifffile", "roiextractors-tiff"),
    ".btf": (_write_tiff, "tifffile", "roiextractors-tiff"),
    ".zarr": (_write_zarr, "zarr", '"roiextractors-core[convert]"'),
    ".nwb": (_write_nwb, "pynwb", '"roiextractors-core[convert]"'),
}


def _writer_of(path: Path) -> tuple[Callable[[_Job, Path], None], str, str]:
    found = _WRITERS.get(path.suffix.lower())
    if found is None:
        raise SourceKindError(
            f"{printable(path)}: what is written is told by the suffix, one of {', '.join(_WRITERS)}, and this one is {path.suffix!r}"
        )
    return found

"""Writes folders as minian does, without zarr: the bytes of each array are put together here."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np

__all__ = [
    "FRAMES",
    "ROWS_OF_TIMES",
    "UNITS",
    "contents",
    "write_array",
    "write_group",
    "write_minian",
    "write_netcdf",
    "write_times",
]

ROWS, COLUMNS, SAMPLES = 7, 5, 12
UNITS = np.array([4, 0, 9])  # as after cells were dropped and merged
FRAMES = np.arange(10, 10 + 2 * SAMPLES, 2)  # every other frame
ROWS_OF_TIMES = 60


def contents() -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
    """Return the values of each variable and the names of its axes; different in every direction."""
    rng = np.random.default_rng(3)
    footprints = np.zeros((3, ROWS, COLUMNS))
    footprints[0, 1, 2], footprints[0, 2, 2], footprints[0, 2, 3] = 0.5, 1.5, 0.25
    footprints[1, ROWS - 1, 0] = 2.0
    footprints[2, 0, 1:4] = 1.0, 2.0, 3.0
    return {
        "A": (footprints, ("unit_id", "height", "width")),
        "C": (rng.normal(size=(3, SAMPLES)), ("unit_id", "frame")),
        "S": (rng.normal(size=(3, SAMPLES)), ("unit_id", "frame")),
        "b0": (rng.normal(size=(3, SAMPLES)), ("unit_id", "frame")),
        "b": (rng.random((ROWS, COLUMNS)) + 0.5, ("height", "width")),
        "f": (rng.normal(size=SAMPLES), ("frame",)),
        "max_proj": (rng.normal(size=(ROWS, COLUMNS)), ("height", "width")),
    }


def labels(dim: str, length: int) -> np.ndarray:
    """Return the coordinate of an axis."""
    return {"unit_id": UNITS, "frame": FRAMES}.get(dim, np.arange(length))


def write_array(
    folder: Path,
    values: Any,
    dims: tuple[str, ...],
    *,
    chunks: tuple[int, ...] | None = None,
    version: int = 2,
    fill_value: Any = 0.0,
    skips_empty: bool = False,
    **changes: Any,
) -> None:
    """Write one array; ``changes`` replace parts of its description."""
    array = np.asarray(values)
    chunks = tuple(array.shape if chunks is None else chunks)
    folder.mkdir(parents=True, exist_ok=True)
    codec = numcodecs.Blosc("lz4", clevel=5, shuffle=1)
    if version == 2:
        facts = {
            "chunks": chunks, "compressor": codec.get_config() if array.dtype.kind != "U" else None, "dtype": array.dtype.str,
            "fill_value": fill_value if array.dtype.kind == "f" else None, "filters": None, "order": "C", "shape": array.shape, "zarr_format": 2,
        }  # fmt: skip
        (folder / ".zarray").write_text(json.dumps({**facts, **changes}), encoding="utf-8")
        (folder / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": dims}), encoding="utf-8")
    else:
        facts = {
            "shape": array.shape, "data_type": array.dtype.name, "fill_value": fill_value if array.dtype.kind == "f" else 0, "node_type": "array",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}}, "zarr_format": 3, "dimension_names": dims,
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}, "attributes": {},
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "blosc", "configuration": {"cname": "lz4"}}],
        }  # fmt: skip
        (folder / "zarr.json").write_text(json.dumps({**facts, **changes}), encoding="utf-8")
    for cell in itertools.product(*(range(-(-n // c)) for n, c in zip(array.shape, chunks, strict=True))):
        part = array[tuple(slice(k * c, (k + 1) * c) for k, c in zip(cell, chunks, strict=True))]
        whole = np.zeros(chunks, array.dtype)
        whole[tuple(slice(0, n) for n in part.shape)] = part
        if skips_empty and not whole.any():
            continue
        name = ".".join(map(str, cell)) or "0"
        path = folder / (name if version == 2 else "/".join(("c", *map(str, cell))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole.tobytes() if array.dtype.kind == "U" else codec.encode(np.ascontiguousarray(whole)))


def write_group(folder: Path, variables: dict[str, tuple[np.ndarray, tuple[str, ...]]], **options: Any) -> Path:
    """Write variables and the coordinates of their axes into one group."""
    folder.mkdir(parents=True, exist_ok=True)
    version = options.get("version", 2)
    is_old = version == 2
    described = {"zarr_format": 2} if is_old else {"zarr_format": 3, "node_type": "group", "attributes": {}}
    (folder / (".zgroup" if is_old else "zarr.json")).write_text(json.dumps(described), encoding="utf-8")
    for name, (values, dims) in variables.items():
        write_array(folder / name, values, dims, **options)
        for dim, length in zip(dims, values.shape, strict=True):
            write_array(folder / dim, labels(dim, length), (dim,), version=version)
    if is_old:
        write_array(folder / "animal", np.array("Ca_EEG3"), ())
    return folder


def write_netcdf(path: Path, *, transposed: bool = False, chunks: bool = False) -> Path:
    """Write all variables into one file of HDF5 with dimension scales, which is what a netCDF-4 file is."""
    import h5py

    with h5py.File(path, "w") as file:
        scales = {}
        for dim, length in {"unit_id": 3, "frame": SAMPLES, "height": ROWS, "width": COLUMNS}.items():
            scales[dim] = file.create_dataset(dim, data=labels(dim, length))
            scales[dim].make_scale(dim)
        for name, (values, dims) in contents().items():
            order = list(range(1, values.ndim)) + [0] if transposed else list(range(values.ndim))
            stored = values.transpose(order)
            shape = tuple(max(1, n // 2) for n in stored.shape) if chunks else None
            dataset = file.create_dataset(name, data=stored, chunks=shape, compression="gzip" if chunks else None)
            for axis, k in enumerate(order):
                dataset.dims[axis].attach_scale(scales[dims[k]])
        file["animal"] = "Ca_EEG3"
    return path


def write_times(path: Path, *, rows: int = ROWS_OF_TIMES) -> Path:
    """Write the table of the Miniscope software: 33 or 34 ms a frame, the first before the recording began."""
    lines = [f"{k},{k * 33 + k // 2 - 6},{k % 3}" for k in range(rows)]
    path.write_text("\n".join(["Frame Number,Time Stamp (ms),Buffer Index", *lines]) + "\n", encoding="utf-8")
    return path


def write_minian(
    folder: Path,
    *,
    transposed: bool = False,
    times: bool = True,
    variables: dict[str, tuple[np.ndarray, tuple[str, ...]]] | None = None,
    **options: Any,
) -> Path:
    """Write a folder of minian: one group for each variable."""
    for name, (values, dims) in (contents() if variables is None else variables).items():
        if transposed:
            order = list(range(1, values.ndim)) + [0]  # units last, and so on
            values, dims = np.ascontiguousarray(values.transpose(order)), tuple(dims[k] for k in order)
        write_group(folder / f"{name}.zarr", {name: (values, dims)}, **options)
    if times:
        write_times(folder / "timeStamps.csv")
    return folder

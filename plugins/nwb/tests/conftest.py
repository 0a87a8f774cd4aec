"""Where the real recordings are, and writers of NWB files that share no code with the plugin."""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, or a skip."""
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip(f"the real recordings are not at {folder}; ROIEXTRACTORS_TEST_DATA names another place")
    return folder


@pytest.fixture
def write_nwb() -> Callable[..., Path]:
    """Write a tree of groups, datasets, attributes and links as NWB in HDF5, by h5py alone."""
    return _write_hdf5


@pytest.fixture
def write_zarr() -> Callable[..., Path]:
    """Write the same tree as NWB in Zarr 2, by hand: JSON and chunks as they are."""
    return _write_zarr


@pytest.fixture
def session() -> Callable[..., dict[str, Any]]:
    """The parts of a session with one imaging plane."""
    return _session


@pytest.fixture
def series() -> Callable[..., dict[str, Any]]:
    """The parts of one series."""
    return _series


class Link(str):
    """The path that a link leads to."""


@pytest.fixture
def link() -> type[Link]:
    return Link


class Reference(str):
    """The path of the object that an attribute refers to."""


@pytest.fixture
def reference() -> type[Reference]:
    return Reference


def _session(**more: Any) -> dict[str, Any]:
    plane = "general/optophysiology/plane1"
    return {
        "@nwb_version": "2.7.0",
        "@neurodata_type": "NWBFile",
        "identifier": "an identifier",
        "session_description": "a session",
        "session_start_time": "2020-01-02T03:04:05+00:00",
        "timestamps_reference_time": "2020-01-02T03:04:00+00:00",
        "general/devices/Scope@neurodata_type": "Device",
        "general/devices/Scope@manufacturer": "Acme",
        f"{plane}@neurodata_type": "ImagingPlane",
        f"{plane}/device": Link("/general/devices/Scope"),
        f"{plane}/excitation_lambda": 920.0,
        f"{plane}/imaging_rate": 30.0,
        f"{plane}/indicator": "GCaMP6f",
        f"{plane}/grid_spacing": np.array([0.5, 0.25, 4.0]),
        f"{plane}/grid_spacing@unit": "micrometers",
        f"{plane}/green@neurodata_type": "OpticalChannel",
        f"{plane}/green/emission_lambda": 510.0,
        **more,
    }


def _series(path: str, data: Any, *, kind: str = "TwoPhotonSeries", **more: Any) -> dict[str, Any]:
    parts = {"@neurodata_type": kind, "/imaging_plane": Link("/general/optophysiology/plane1"), "/data": data, **more}
    return {f"{path}{key}": value for key, value in parts.items() if value is not None}


def _write_hdf5(path: Path, parts: Mapping[str, Any], **storage: Any) -> Path:
    with h5py.File(path, "w") as file:
        # References last: what they refer to must exist
        for key, value in sorted(parts.items(), key=lambda part: isinstance(part[1], Reference)):
            place, at, attribute = key.partition("@")
            if at and isinstance(value, Reference):
                file[place].attrs[attribute] = file[value].ref
            elif at:
                node = file[place] if place in file else file.require_group(place or "/")
                node.attrs[attribute] = value
            elif isinstance(value, Link):
                file[place] = h5py.SoftLink(value)
            elif isinstance(value, np.ndarray) and value.ndim > 2 and value.size:
                file.create_dataset(place, data=value, **storage)
            else:
                file[place] = value
    return path


def _write_zarr(folder: Path, parts: Mapping[str, Any]) -> Path:
    attributes: dict[str, dict[str, Any]] = {}
    for key, value in parts.items():
        place, at, attribute = key.partition("@")
        if at:
            plain = value.tolist() if isinstance(value, np.ndarray) else value
            if isinstance(value, Reference):
                plain = {"zarr_dtype": "object", "value": {"path": str(value), "source": ".", "object_id": None}}
            attributes.setdefault(place, {})[attribute] = plain
        elif isinstance(value, Link):
            parent, _, name = place.rpartition("/")
            attributes.setdefault(parent, {}).setdefault("zarr_link", []).append(
                {"name": name, "path": str(value), "source": "."}
            )
        else:
            _write_array(folder / place, value)
        parents = [
            folder,
            *(folder / p for p in _above(place if at and not isinstance(value, Link) else place.rpartition("/")[0])),
        ]
        for node in parents:
            node.mkdir(parents=True, exist_ok=True)
            if not (node / ".zarray").exists():
                (node / ".zgroup").write_text('{"zarr_format": 2}')
    for place, found in attributes.items():
        (folder / place / ".zattrs").write_text(json.dumps(found))
        if (folder / place / ".zarray").exists():
            (folder / place / ".zgroup").unlink(missing_ok=True)
    return folder


def _above(place: str) -> list[str]:
    parts = [part for part in place.split("/") if part]
    return ["/".join(parts[: k + 1]) for k in range(len(parts))]


def _write_array(place: Path, value: Any) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / ".zgroup").unlink(missing_ok=True)
    texts = (
        [value] if isinstance(value, str) else value if isinstance(value, list) and isinstance(value[0], str) else None
    )
    array = np.empty(len(texts), "O") if texts is not None else np.atleast_1d(np.asarray(value))
    together = 4 if array.ndim > 2 and array[:1].nbytes < 1 << 16 else 1
    chunk = (min(together, max(1, array.shape[0])), *array.shape[1:]) if array.ndim > 2 else array.shape
    facts = {
        "zarr_format": 2,
        "shape": array.shape,
        "chunks": [max(1, n) for n in chunk],
        "dtype": "|O" if texts is not None else array.dtype.descr if array.dtype.names else array.dtype.str,
        "compressor": None,
        "fill_value": base64.b64encode(bytes(array.dtype.itemsize)).decode() if array.dtype.names else 0,
        "order": "C",
        "filters": [{"id": "vlen-utf8"}] if texts is not None else None,
    }
    (place / ".zarray").write_text(json.dumps(facts))
    if texts is not None:
        coded = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
        (place / "0").write_bytes(struct.pack("<I", len(texts)) + coded)
    elif array.size:
        for k, start in enumerate(range(0, array.shape[0], chunk[0])):
            part = np.zeros(chunk, array.dtype)
            given = array[start : start + chunk[0]]
            part[: len(given)] = given
            (place / ".".join([str(k), *["0"] * (array.ndim - 1)])).write_bytes(part.tobytes())

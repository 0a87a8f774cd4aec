"""Writes OME-TIFF files by struct and text alone; shares no code with the plugin."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
TYPES = {"float32": "float", "float64": "double", "complex64": "complex", "complex128": "double-complex"}
FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, or a skip."""
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip(f"the real recordings are not at {folder}; ROIEXTRACTORS_TEST_DATA names another place")
    return folder


@pytest.fixture
def ome() -> Any:
    """The writers below under short names."""
    return SimpleNamespace(
        tiff=write_tiff,
        xml=document,
        pixels=pixels,
        data=tiff_data,
        binary_only=binary_only,
        in_order=in_order,
        frames=numbered_frames,
        simple=write_simple,
    )


def numbered_frames(*shape: int, dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    """Frames of noise, all different."""
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def write_tiff(
    path: Path,
    frames: Iterable[np.ndarray],
    description: str | bytes = "",
    *,
    order: str = "<",
    big: bool = False,
) -> Path:
    """Write one page a frame, ``(rows, columns)`` or ``(rows, columns, samples)``: directory, text, pixels."""
    count_form, entry_form, word, size = ("Q", "HHQQ", "Q", 8) if big else ("H", "HHII", "I", 4)
    mark = b"II" if order == "<" else b"MM"
    data = bytearray(mark + struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 0) if big else (42, 0))))
    following = len(data) - size
    text = description.encode() if isinstance(description, str) else description
    for number, frame in enumerate(frames):
        data += bytes(-len(data) % 8)
        struct.pack_into(order + word, data, following, len(data))
        words = text + b"\0" if number == 0 and text else b""
        samples = frame.shape[2] if frame.ndim == 3 else 1
        entries = {
            256: (4, frame.shape[1]),
            257: (4, frame.shape[0]),
            258: (3, 8 * frame.dtype.itemsize),
            259: (3, 1),
            262: (3, 2 if samples == 3 else 1),
            273: (16 if big else 4, 0),
            277: (3, samples),
            278: (4, frame.shape[0]),
            279: (4, frame.nbytes),
            339: (3, FORMATS[frame.dtype.kind]),
        }
        length = struct.calcsize(order + count_form) + (len(entries) + bool(words)) * (20 if big else 12) + size
        behind = len(data) + length
        begin = behind + len(words) + -(behind + len(words)) % 8
        entries[273] = (entries[273][0], begin)
        table = {code: (kind, 1, value) for code, (kind, value) in entries.items()}
        if words:
            table[270] = (2, len(words), behind)
        data += struct.pack(order + count_form, len(table))
        for code, (kind, count, value) in sorted(table.items()):
            data += _entry(order, entry_form, code, kind, count, value)
        following = len(data)
        data += bytes(size) + words
        data += bytes(begin - len(data)) + frame.astype(frame.dtype.newbyteorder(order)).tobytes()
    path.write_bytes(data)
    return path


def _entry(order: str, form: str, code: int, kind: int, count: int, value: int) -> bytes:
    if order == ">":  # a number stands at the beginning of its field
        width = {3: 16, 4: 32}.get(kind, 64)
        value <<= max(0, (32 if form == "HHII" else 64) - width) if kind in (3, 4) else 0
    return struct.pack(order + form, code, kind, count, value)


def document(*images: str, uuid: str = "", extra: str = "", creator: str = "writer of the tests") -> str:
    """The whole XML around ``Image`` elements that :func:`pixels` makes."""
    root = f' UUID="urn:uuid:{uuid}"' if uuid else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><!-- Warning: this comment is an OME-XML metadata block -->'
        f'<OME xmlns="{NAMESPACE}" Creator="{creator}"{root}>{"".join(images)}{extra}</OME>'
    )


def pixels(
    order: str,
    *,
    t: int = 1,
    c: int = 1,
    z: int = 1,
    frame: np.ndarray,
    data: str | Sequence[str] = "<TiffData/>",
    channels: str | None = None,
    planes: str = "",
    more: str = "",
    inside: str = "",
    name: str = "",
    number: int = 0,
    type: str | None = None,
) -> str:
    """An ``Image`` with its ``Pixels``."""
    named = f' Name="{name}"' if name else ""
    native = frame.dtype.newbyteorder("=").name
    kind = TYPES.get(native, native) if type is None else type
    if channels is None:
        channels = "".join(f'<Channel ID="Channel:{number}:{k}"/>' for k in range(c))
    return (
        f'<Image ID="Image:{number}"{named}>{inside}<Pixels ID="Pixels:{number}" DimensionOrder="{order}" Type="{kind}" '
        f'SizeX="{frame.shape[1]}" SizeY="{frame.shape[0]}" SizeZ="{z}" SizeC="{c}" SizeT="{t}" {more}>'
        f"{channels}{data if isinstance(data, str) else ''.join(data)}{planes}</Pixels></Image>"
    )


def tiff_data(file_name: str | None = None, uuid: str = "", **attributes: int) -> str:
    """A ``TiffData``: ``tiff_data("a.ome.tif", IFD=0, FirstT=3)``."""
    shown = "".join(f' {key}="{value}"' for key, value in attributes.items())
    named = "" if file_name is None else f' FileName="{file_name}"'
    inner = f"<UUID{named}>{f'urn:uuid:{uuid}' if uuid else ''}</UUID>" if named or uuid else ""
    return f"<TiffData{shown}>{inner}</TiffData>"


def binary_only(metadata_file: str, *, uuid: str, own: str) -> str:
    """The XML of a file that holds pixels alone."""
    return document(f'<BinaryOnly MetadataFile="{metadata_file}" UUID="urn:uuid:{uuid}"/>', uuid=own)


def in_order(movie: np.ndarray, order: str) -> list[np.ndarray]:
    """The frames of ``movie`` (T, C, Z, rows, columns) as they stand in a file of this DimensionOrder."""
    axes = [letter for letter in reversed(order) if letter in "TCZ"]
    sizes = dict(zip("TCZ", movie.shape[:3], strict=True))
    found = []
    for first in range(sizes[axes[0]]):
        for second in range(sizes[axes[1]]):
            for third in range(sizes[axes[2]]):
                where = dict(zip(axes, (first, second, third), strict=True))
                found.append(movie[where["T"], where["C"], where["Z"]])
    return found


def write_simple(path: Path, movie: np.ndarray, axes: str = "XYZCT", **more: Any) -> Path:
    """Write ``movie`` (T, C, Z, rows, columns) into one file, with ``<TiffData/>`` alone unless told otherwise."""
    t, c, z = movie.shape[:3]
    layout = {key: more.pop(key) for key in ("big", "order") if key in more}
    uuid = more.pop("uuid", "")
    xml = document(pixels(axes, t=t, c=c, z=z, frame=movie[0, 0, 0], **more), uuid=uuid)
    return write_tiff(path, in_order(movie, axes), xml, **layout)

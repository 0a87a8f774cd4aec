"""Writes videos: AVI chunk by chunk with struct alone, and the rest with PyAV; shares no code with the plugin."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
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
def write_avi() -> Callable[..., Path]:
    return _write_avi


@pytest.fixture
def encode() -> Callable[..., Path]:
    return _encode


@pytest.fixture
def noisy() -> Callable[..., np.ndarray]:
    return _noisy


def _noisy(count: int = 12, rows: int = 18, columns: int = 28, dtype: Any = np.uint8, seed: int = 3) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (count, rows, columns), dtype=dtype, endpoint=True)


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _list(kind: bytes, *bodies: bytes) -> bytes:
    return _chunk(b"LIST", kind + b"".join(bodies))


def _write_avi(
    path: Path,
    payloads: Sequence[bytes],
    *,
    shape: tuple[int, int],
    codec: bytes = b"Y800",
    bits: int = 8,
    rate: tuple[int, int] = (20, 1),
    extra: bytes = b"",
    height_sign: int = 1,
    index: str = "idx1",
    keys: Sequence[bool] | None = None,
    claimed: int | None = None,
    riffs: int = 1,
    closed: bool = True,
    audio_first: bool = False,
) -> Path:
    """Write an AVI file; an empty payload is a place without a picture.

    ``index`` is "idx1" (offsets from the list of frames), "absolute" (from the file), "opendml" (ix00 and indx) or "none".
    """
    number = 1 if audio_first else 0
    name = b"%02ddc" % number
    keys = [True] * len(payloads) if keys is None else keys
    rows, columns = shape
    cuts = [len(payloads) * k // riffs for k in range(riffs + 1)]

    def header(indices: Sequence[tuple[int, int, int]]) -> bytes:
        total = len(payloads) if claimed is None else claimed
        avih = struct.pack("<14I", 50_000, 0, 0, 0x10, total, 0, 1 + number, 0, columns, rows, 0, 0, 0, 0)
        strh = struct.pack(
            "<4s4sIHHIIIIIIII4H", b"vids", codec, 0, 0, 0, 0, rate[1], rate[0], 0, total, 0, 0, 0, 0, 0, columns, rows
        )
        strf = struct.pack("<IiiHH4sIiiII", 40, columns, rows * height_sign, 1, bits, codec, 0, 0, 0, 0, 0)
        parts = [_chunk(b"strh", strh), _chunk(b"strf", strf + extra)]
        if index == "opendml":
            table = b"".join(struct.pack("<QII", *entry) for entry in indices)
            parts.append(_chunk(b"indx", struct.pack("<HBBI4s12x", 4, 0, 0, riffs, name) + table))
        audio = struct.pack("<4s4sIHHIIIIIIII4H", b"auds", bytes(4), 0, 0, 0, 0, 1, 8000, 0, 0, 0, 0, 1, 0, 0, 0, 0)
        streams = [_list(b"strl", _chunk(b"strh", audio), _chunk(b"strf", bytes(18)))] if audio_first else []
        return _list(b"hdrl", _chunk(b"avih", avih), *streams, _list(b"strl", *parts)) + _chunk(b"JUNK", bytes(16))

    data = bytearray()
    indices: list[tuple[int, int, int]] = []
    prefix = len(header([(0, 0, 0)] * riffs))
    for riff in range(riffs):
        start = len(data)
        data += b"RIFF" + struct.pack("<I", 0) + (b"AVI " if riff == 0 else b"AVIX")
        data += bytes(prefix if riff == 0 else 0)
        movie = len(data)
        data += b"LIST" + struct.pack("<I", 0) + b"movi"
        old, new = b"", b""
        for k in range(cuts[riff], cuts[riff + 1]):
            base = 0 if index == "absolute" else movie + 8
            old += struct.pack("<4sIII", name, 0x10 if keys[k] else 0, len(data) - base, len(payloads[k]))
            size = len(payloads[k]) | (0 if keys[k] else 0x80000000)
            new += struct.pack("<II", len(data) + 8 - movie, size)
            data += _chunk(name, payloads[k])
            if audio_first:
                data += _chunk(b"00wb", b"sound")
        if index == "opendml":
            table = struct.pack("<HBBI4sQI", 2, 0, 1, cuts[riff + 1] - cuts[riff], name, movie, 0) + new
            indices.append((len(data), 8 + len(table), cuts[riff + 1] - cuts[riff]))
            data += _chunk(b"ix%02d" % number, table)
        if closed:
            struct.pack_into("<I", data, movie + 4, len(data) - movie - 8)
        if index in ("idx1", "absolute") and riff == 0:
            data += _chunk(b"idx1", old)
        if closed:
            struct.pack_into("<I", data, start + 4, len(data) - start - 8)
    data[12 : 12 + prefix] = header(indices or [(0, 0, 0)] * riffs)
    path.write_bytes(data)
    return path


def _encode(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "ffv1",
    pixels: str = "gray",
    source: str | None = None,
    rate: int = 25,
    stamps: Sequence[int] | None = None,
    **options: str,
) -> Path:
    """Encode frames with FFmpeg; ``source`` is the pixel format in which they are given."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        for k, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=source or pixels)
            picture = picture.reformat(format=pixels)
            picture.pts = k if stamps is None else stamps[k]
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path

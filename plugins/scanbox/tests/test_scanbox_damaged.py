"""Damaged side files, as fuzzing found them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi


def test_numbers_that_are_cut_inside_one_are_refused(
    tmp_path: Path,
    write_mat: Callable[..., Path],
    write_sbx: Callable[..., Path],
    version_2: Callable[..., dict[str, object]],
) -> None:
    write_mat(tmp_path / "movie.mat", info=version_2(24, 40))
    write_sbx(tmp_path / "movie.sbx", np.ones((3, 24, 40, 1), np.uint16))
    content = (tmp_path / "movie.mat").read_bytes()
    size = struct.unpack_from("<I", content, 132)[0]
    inner = zlib.decompress(content[136 : 136 + size])
    flags = struct.pack("<II", 6, 8)  # the array's flags: two numbers of 4 bytes
    assert inner[8:16] == flags
    packed = zlib.compress(inner[:8] + struct.pack("<II", 6, 7) + inner[16:])
    (tmp_path / "movie.mat").write_bytes(content[:128] + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(roi.RecordingError, match="7 bytes, expected numbers of 4 bytes"):
        roi.open(tmp_path / "movie.sbx", format="scanbox")

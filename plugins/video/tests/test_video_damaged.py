"""Damaged videos, as fuzzing found them: what cannot be known is refused, and every way to a frame gives the same."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import CorruptRecordingError

Make = Callable[..., Any]


def read(path: Path, **options: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with roi.open(path, **options) as recording:
            series = recording.get_series()
            for k in range(len(series)):
                np.testing.assert_array_equal(recording.get_samples([k])[0], series[k])
            return series


def test_checksums_are_compared_though_the_first_frame_is_the_damaged_one(
    tmp_path: Path, noisy: Make, encode: Make
) -> None:
    frames = noisy(12, 40, 50, np.uint16) >> 4
    deep = {"pixels": "gray12le", "source": "gray12le", "g": "4", "level": "3"}
    path = encode(tmp_path / "deep.avi", frames, **deep)
    content = bytearray(path.read_bytes())
    content[content.index(b"00dc", content.index(b"movi")) + 8 + 200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CorruptRecordingError, match=r"frame 0 of 12 at byte .*its checksum is wrong"):
        read(path)
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(4, 12), frames[4:])


def test_an_index_whose_frames_overlap_is_not_followed(tmp_path: Path, noisy: Make, write_avi: Make) -> None:
    frames = noisy(64, 20, 30)
    path = write_avi(tmp_path / "grey.avi", [frame.tobytes() for frame in frames], shape=(20, 30))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"idx1") + 8 + 16 * 11 + 8
    struct.pack_into("<I", content, entry, struct.unpack_from("<I", content, entry)[0] // 2)
    path.write_bytes(content)
    np.testing.assert_array_equal(read(path), frames)


def test_a_colour_table_holds_for_every_frame(tmp_path: Path, noisy: Make, write_avi: Make) -> None:
    frames = noisy(31, 15, 21)
    table = np.random.default_rng(1).integers(0, 256, (256, 4), dtype=np.uint8)
    table[:, 3] = 0
    padded = np.pad(frames[:, ::-1], ((0, 0), (0, 0), (0, 3)))
    path = write_avi(
        tmp_path / "dib.avi", [f.tobytes() for f in padded], shape=(15, 21), codec=bytes(4), extra=table.tobytes()
    )
    np.testing.assert_array_equal(read(path, channel="green"), table[:, 1][frames])


def test_frames_that_are_shorter_than_a_picture_are_refused(tmp_path: Path, noisy: Make, write_avi: Make) -> None:
    frames = noisy(5, 15, 21)
    padded = np.pad(frames[:, ::-1], ((0, 0), (0, 0), (0, 3)))
    path = write_avi(tmp_path / "dib.avi", [f.tobytes() for f in padded], shape=(15, 13_150), codec=bytes(4), bits=24)
    with pytest.raises(
        CorruptRecordingError, match=r"15 rows of 13,150 columns, which takes .* but the largest has 360"
    ):
        read(path)


def test_a_header_list_of_a_negative_length_is_no_header(tmp_path: Path, noisy: Make, write_avi: Make) -> None:
    path = write_avi(tmp_path / "grey.avi", [f.tobytes() for f in noisy(3, 8, 9)], shape=(8, 9))
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"LIST") + 4, 0)
    path.write_bytes(content)
    with pytest.raises(CorruptRecordingError, match="AVI"):
        read(path)

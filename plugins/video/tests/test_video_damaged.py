"""Damaged videos, as fuzzing found them: what cannot be known is refused, and every way to a frame gives the same."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import CorruptRecordingError, IncompleteRecordingWarning

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


# Files that say more, or less, than they contain


@pytest.mark.parametrize("index", ["idx1", "opendml", "none"])
def test_a_second_video_behind_the_first_is_not_read_and_told(
    tmp_path: Path, noisy: Make, write_avi: Make, encode: Make, index: str
) -> None:
    frames = noisy(6, 18, 28)
    path = write_avi(
        tmp_path / "a.avi", [frame.tobytes() for frame in frames], shape=(18, 28), index=index, height_sign=-1
    )
    alone = read(path)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.warns(
        IncompleteRecordingWarning, match=r"contains another AVI file from byte .*reading the 6 complete"
    ):
        recording = roi.open(path)
    with recording:
        np.testing.assert_array_equal(recording.get_series(), alone)
    mp4 = encode(tmp_path / "b.mp4", noisy(6, 18, 28), codec="mpeg4", pixels="yuv420p", source="gray")
    size = mp4.stat().st_size
    mp4.write_bytes(mp4.read_bytes() * 2)
    with pytest.warns(
        IncompleteRecordingWarning, match=rf"contains another file from byte {size:,} on, which is not read"
    ):
        recording = roi.open(mp4, channel="grey")
    with recording:
        assert len(recording) == 6


def test_more_frames_than_the_header_counts_are_read_and_noted(tmp_path: Path, noisy: Make, write_avi: Make) -> None:
    frames = noisy(6, 16, 28)
    path = write_avi(tmp_path / "a.avi", [frame.tobytes() for frame in frames], shape=(16, 28), claimed=3)
    with roi.open(path) as recording:
        assert len(recording) == 6
        assert recording.get_notes() == ("a.avi contains 6 frames, but its header says 3; reading all of them",)
        assert recording.metadata.bit_depth == 8


def test_a_rotation_is_noted_and_not_applied(tmp_path: Path, noisy: Make, encode: Make) -> None:
    path = encode(tmp_path / "a.mp4", noisy(4, 16, 32), codec="mpeg4", pixels="yuv420p", source="gray")
    with roi.open(path, channel="grey") as recording:
        stored = recording.get_series()
        assert not any("turned" in note for note in recording.get_notes())
    content = bytearray(path.read_bytes())
    one = 1 << 16
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    with roi.open(path, channel="grey") as recording:
        np.testing.assert_array_equal(recording.get_series(), stored)
        assert any(
            "rotated by 90 degrees on playback; reading the pixels as they are" in n for n in recording.get_notes()
        )


def test_frames_that_cannot_be_decoded_are_left_out_with_their_times(tmp_path: Path, noisy: Make, encode: Make) -> None:
    av = pytest.importorskip("av")
    slow = np.clip(noisy(1, 16, 32) // 4 + 2 * np.arange(24)[:, None, None], 0, 255).astype(np.uint8)
    path = encode(tmp_path / "a.mp4", slow, codec="mpeg4", pixels="yuv420p", source="gray", g="6", bf="0")
    with av.open(str(path)) as whole, av.open(str(tmp_path / "cut.mp4"), "w") as target:
        stream = target.add_stream_from_template(whole.streams.video[0])
        packets = [packet for packet in whole.demux(video=0) if packet.dts is not None]
        for packet in packets[4:]:
            packet.stream = stream
            target.mux(packet)
    words = "begins with 2 frames before its first key frame, which cannot be decoded and are skipped"
    with pytest.warns(IncompleteRecordingWarning, match=words):
        recording = roi.open(tmp_path / "cut.mp4", channel="grey")
    with recording, roi.open(path, channel="grey") as all_of_it:
        np.testing.assert_array_equal(recording.get_series(), all_of_it[6:])
        np.testing.assert_allclose(np.diff(recording.get_timestamps()), 1 / 25)


def test_a_frame_in_which_zeros_at_the_end_began_is_left_out(
    tmp_path: Path, write_avi: Callable[..., Path], noisy: Callable[..., np.ndarray]
) -> None:
    frames = noisy(8) | 1
    path = write_avi(tmp_path / "a.avi", [frame.tobytes() for frame in frames], shape=frames.shape[1:])
    whole = path.read_bytes()
    end = whole.index(frames[5].tobytes()) + frames[5].size // 2
    path.write_bytes(whole[:end] + bytes(len(whole) - end))
    with pytest.warns(roi.IncompleteRecordingWarning, match="is damaged at byte"):
        recording = roi.open(path)
    with recording:
        np.testing.assert_array_equal(recording.get_series(), frames[:5])


def test_zeros_in_place_of_the_index_that_began_inside_the_last_frame_take_it_with_them(
    tmp_path: Path, write_avi: Callable[..., Path], noisy: Callable[..., np.ndarray]
) -> None:
    frames = noisy(8) | 1
    path = write_avi(tmp_path / "a.avi", [frame.tobytes() for frame in frames], shape=frames.shape[1:])
    whole = path.read_bytes()
    end = whole.index(frames[7].tobytes()) + frames[7].size // 2
    path.write_bytes(whole[:end] + bytes(len(whole) - end))
    with pytest.warns(roi.IncompleteRecordingWarning, match="ends in zeros from inside the frame") as seen:
        recording = roi.open(path)
    with recording:
        np.testing.assert_array_equal(recording.get_series(), frames[:7])
        assert any(str(seen[0].message) in note for note in recording.get_notes())


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.avi.xml"])
def test_a_description_beside_a_video_is_said_not_to_be_read(
    tmp_path: Path, write_avi: Callable[..., Path], noisy: Callable[..., np.ndarray], name: str
) -> None:
    frames = noisy(4)
    path = write_avi(tmp_path / "a.avi", [frame.tobytes() for frame in frames], shape=frames.shape[1:])
    (tmp_path / "b.json").write_text("{}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        roi.open(path).close()
    (tmp_path / name).write_text("0\n40\n80\n120\n")
    with pytest.warns(roi.RoiExtractorsWarning, match=f"{name}. beside a.avi may describe it and is not read") as seen:
        recording = roi.open(path)
    assert str(seen[0].message) in recording.get_notes()


def test_a_matroska_file_that_ends_with_gigabytes_of_zeros_is_refused(
    tmp_path: Path, noisy: Make, encode: Make
) -> None:
    path = encode(tmp_path / "grey.mkv", noisy(12, 32, 48), pixels="gray", source="gray", level="3")
    os.truncate(path, 64 << 30)
    with pytest.raises(CorruptRecordingError, match=r"the last 536,870,912 are zeros"):
        roi.open(path)


@pytest.mark.parametrize(("codec", "name"), [("ffv1", "a.mkv"), ("mjpeg", "a.mkv")])
def test_a_matroska_file_that_ends_in_zeros_gives_its_whole_frames(
    tmp_path: Path, noisy: Make, encode: Make, codec: str, name: str
) -> None:
    frames = noisy(24, 40, 50, np.uint8)
    pixels = {"pixels": "gray", "source": "gray"} if codec == "ffv1" else {"pixels": "yuvj420p", "source": "gray"}
    path = encode(tmp_path / name, frames, codec=codec, **pixels)
    expected = read(path)
    whole = path.read_bytes()
    for part in (0.5, 0.8):
        end = int(len(whole) * part)
        path.write_bytes(whole[:end] + bytes(len(whole) - end))
        with pytest.warns(IncompleteRecordingWarning, match="ends in zeros from byte") as seen:
            recording = roi.open(path)
        with recording:
            assert 5 < len(recording) < 24
            np.testing.assert_array_equal(recording.get_series(), expected[: len(recording)])
            assert str(seen[0].message) in recording.get_notes()


def test_a_second_matroska_file_behind_the_first_is_not_read_and_said(
    tmp_path: Path, noisy: Make, encode: Make
) -> None:
    frames = noisy(10, 40, 50, np.uint8)
    path = encode(tmp_path / "a.mkv", frames, pixels="gray", source="gray")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.warns(IncompleteRecordingWarning, match="contains another file from byte") as seen:
        recording = roi.open(path)
    with recording:
        np.testing.assert_array_equal(recording.get_series(), frames)
        assert str(seen[0].message) in recording.get_notes()

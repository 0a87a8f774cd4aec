"""NDTiff datasets whose every pixel, time and number is known."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    IncompleteRecordingWarning,
    SourceKindError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)

Make = Callable[..., Any]


def same(seen: np.ndarray, wanted: np.ndarray) -> None:
    assert seen.dtype == wanted.dtype.newbyteorder("=")
    np.testing.assert_array_equal(seen, wanted)


def open_quietly(*args: Any, **options: Any) -> roi.ImagingExtractor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteRecordingWarning)
        return roi.open(*args, **options)


# Files


def test_any_file_of_the_dataset_opens_the_whole_of_it(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(7, 2)
    folder = write_ndtiff(tmp_path / "movie", by_axes(block), per_file=5)
    assert len(list(folder.glob("*.tif"))) == 3
    for path in (folder, *sorted(folder.iterdir())):
        with roi.open(path) as recording:
            assert recording.provenance.format == "micromanager"
            same(recording.get_series(), np.moveaxis(block[:, :, 0], 1, 3))
            same(recording[[6, 0, 3], 2:9, 5:, 1], block[[6, 0, 3], 1, 0, 2:9, 5:])


def test_an_index_of_another_name_is_known_by_its_content(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(3)
    folder = write_ndtiff(tmp_path / "movie", by_axes(block))
    (folder / "NDTiff.index").rename(folder / "table")
    with roi.open(folder / "table") as recording:
        same(recording.get_series(), block[:, 0, 0])


@pytest.mark.thorough
def test_files_of_the_index_are_found_in_another_case(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(7)
    folder = write_ndtiff(tmp_path / "movie", by_axes(block), per_file=5)
    for path in sorted(folder.glob("*.tif")):
        path.rename(folder / path.name.upper())
    for path in (folder, *sorted(folder.iterdir())):
        with roi.open(path) as recording:
            same(recording.get_series(), block[:, 0, 0])


@pytest.mark.parametrize("version", [(2,), (3, 0), (3, 1), (3, 2), (3, 3)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_versions_2_to_3_are_read(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make, version: Any, order: str
) -> None:
    block = pixels(3)
    folder = tmp_path / "movie" / "Full resolution" if version == (2,) else tmp_path / "movie"
    write_ndtiff(folder, by_axes(block), version=version, order=order)
    with roi.open(tmp_path / "movie") as recording:
        same(recording.get_series(), block[:, 0, 0])
        assert recording.get_sampling_frequency() == 25.0


@pytest.mark.parametrize("order", ["<", ">"])
def test_axes_of_256_bytes_do_not_hide_the_byte_order(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make, order: str
) -> None:
    block = pixels(3)
    name = "a" * (256 - len('{"time":0,"":0}'))
    folder = write_ndtiff(tmp_path / "movie", by_axes(block, **{name: 0}), order=order)
    assert (folder / "NDTiff.index").read_bytes()[:4] == (b"\0\x01\0\0" if order == "<" else b"\0\0\x01\0")
    with roi.open(folder) as recording:
        same(recording.get_series(), block[:, 0, 0])


def test_of_a_pyramid_the_full_resolution_is_read(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    tiles = {(r, c): pixels(3, seed=20 + 10 * r + c) for r, c in ((0, 0), (0, 1), (-1, 1))}
    frames = [frame for (r, c), block in tiles.items() for frame in by_axes(block, row=r, column=c)]
    write_ndtiff(tmp_path / "map" / "Full resolution", frames)
    write_ndtiff(tmp_path / "map" / "Downsampled_x2", by_axes(pixels(3, rows=12), row=0, column=0))
    assert roi.streams(tmp_path / "map") == {"row": ("-1", "0"), "column": ("0", "1")}
    with roi.open(tmp_path / "map", row=0, column=1) as recording:
        same(recording.get_series(), tiles[0, 1][:, 0, 0])
        assert "map" in str(roi.explain(tmp_path / "map"))
    with roi.open(tmp_path / "map", row="-1") as recording:
        same(recording.get_series(), tiles[-1, 1][:, 0, 0])
    with pytest.raises(StreamChoiceError, match=r"map has the rows '-1' and '0'"):
        roi.open(tmp_path / "map")


@pytest.mark.parametrize(
    ("bits", "dtype"),
    [(8, np.uint8), (10, np.uint16), (11, np.uint16), (12, np.uint16), (14, np.uint16), (16, np.uint16)],
)
def test_eight_bits_are_uint8_and_more_are_uint16(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make, bits: int, dtype: Any
) -> None:
    block = pixels(3, dtype=dtype)
    with roi.open(write_ndtiff(tmp_path / "movie", by_axes(block), bits=bits)) as recording:
        assert recording.dtype == dtype
        same(recording.get_series(), block[:, 0, 0])


def test_colour_is_refused_with_its_reason(tmp_path: Path, write_ndtiff: Make) -> None:
    frame = np.zeros((8, 9, 3), np.uint8)
    folder = write_ndtiff(tmp_path / "movie", [({"time": 0, "channel": "RGB"}, frame)])
    with pytest.raises(
        UnsupportedRecordingError,
        match=r"movie contains colour \(RGB\) or compressed frames at channel='RGB'.*format='tiff'",
    ):
        roi.open(folder)
    (folder / "NDTiff.index").unlink()
    with pytest.raises(UnsupportedRecordingError, match=r"contains colour \(RGB\)"):
        roi.open(folder)


def test_compressed_pixels_are_refused(tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make) -> None:
    folder = write_ndtiff(tmp_path / "movie", by_axes(pixels(2)))
    data = bytearray((folder / "NDTiff.index").read_bytes())
    data[-16:-12] = struct.pack("<I", 7)
    (folder / "NDTiff.index").write_bytes(data)
    with pytest.raises(UnsupportedRecordingError, match=r"entry 1 are compressed by method 7"):
        roi.open(folder)


# Axes


def test_channels_are_chosen_by_the_names_of_the_axes(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(4, 3, 2)
    folder = write_ndtiff(tmp_path / "movie", by_axes(block, ("DAPI", "FITC"), position="Pos2"))
    assert roi.streams(folder) == {"channel": ("DAPI", "FITC")}
    with pytest.raises(StreamChoiceError, match="movie has the channels 'DAPI' and 'FITC'; choose one"):
        roi.open(folder)
    with pytest.raises(StreamChoiceError, match=", not 'Cy5'"):
        roi.open(folder, channel="Cy5")
    for options in ({"channel": "FITC"}, {"channel_name": "FITC"}, {"channel": "FITC", "position": "Pos2"}):
        with roi.open(folder, **options) as recording:
            same(recording.get_series(), np.moveaxis(block[:, :, 1], 1, 3))
            assert [one.name for one in recording.metadata.channels] == ["FITC"]


def test_numbered_channels_and_positions_bear_the_names_of_the_summary(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    blocks = [pixels(3, 1, 2, seed=k) for k in range(2)]
    frames = [frame for k, block in enumerate(blocks) for frame in by_axes(block, (0, 1), position=k)]
    labels = [{"Label": "left"}, {"Label": "right"}]
    folder = write_ndtiff(tmp_path / "movie", frames, summary={"ChNames": ["GFP", "Cy5"], "StagePositions": labels})
    assert roi.streams(folder) == {"channel": ("GFP", "Cy5"), "position": ("left", "right")}
    for options in ({"channel": "Cy5", "position": "right"}, {"channel": 1, "position": "1"}):
        with roi.open(folder, **options) as recording:
            same(recording.get_series(), blocks[1][:, 0, 1])
    twice = write_ndtiff(tmp_path / "twice", frames, summary={"ChNames": ["GFP", "GFP"]})
    assert roi.streams(twice) == {"channel": ("0", "1"), "position": ("0", "1")}


def test_other_axes_are_chosen_together(tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make) -> None:
    blocks = {(laser, angle): pixels(3, seed=laser + angle) for laser, angle in ((405, 0), (488, 0), (488, 90))}
    frames = [f for (laser, angle), block in blocks.items() for f in by_axes(block, laser=laser, angle=angle)]
    folder = write_ndtiff(tmp_path / "movie", frames)
    texts = ("laser=405, angle=0", "laser=488, angle=0", "laser=488, angle=90")
    assert roi.streams(folder) == {"axes": texts}
    with pytest.raises(StreamChoiceError, match=r"movie contains frames at 'laser=405, angle=0', .*axes='laser=405"):
        roi.open(folder)
    for text, block in zip(texts, blocks.values(), strict=True):
        with roi.open(folder, axes=text) as recording:
            same(recording.get_series(), block[:, 0, 0])
    with roi.open(folder, axes={"angle": 90}) as recording:
        same(recording.get_series(), blocks[488, 90][:, 0, 0])
    with pytest.raises(StreamChoiceError, match="'angle=0' and 'angle=90'"):
        roi.open(folder, axes={"laser": 488})
    with pytest.raises(ChoiceError, match="has no axis 'lamp'; its axes are 'laser', 'angle' and 'time'"):
        roi.open(folder, axes="lamp=3")
    with pytest.raises(StreamChoiceError, match="and none at '488'"):
        roi.open(folder, axes="488")


def test_positions_without_time_are_samples_of_one(tmp_path: Path, pixels: Make, write_ndtiff: Make) -> None:
    block = pixels(3)
    frames = [({"position": name}, block[k, 0, 0]) for k, name in enumerate(("Pos2", "Pos0", "Pos1"))]
    folder = write_ndtiff(tmp_path / "places", frames)
    assert roi.streams(folder) == {"position": ("Pos2", "Pos0", "Pos1")}
    with roi.open(folder, position="Pos1") as recording:
        same(recording.get_series(), block[2:, 0, 0])


def test_times_and_planes_come_in_their_order_whatever_the_order_of_writing(
    tmp_path: Path, pixels: Make, write_ndtiff: Make
) -> None:
    block = pixels(4, 3)
    order = np.random.default_rng(3).permutation(12)
    frames = [({"z": int(k % 3) - 1, "time": int(k // 3) - 2}, block[k // 3, k % 3, 0]) for k in order]
    with roi.open(write_ndtiff(tmp_path / "movie", frames)) as recording:
        same(recording.get_series(), np.moveaxis(block[:, :, 0], 1, 3))


def test_a_frame_that_was_written_again_counts_as_the_last(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block, again = pixels(3), pixels(1, seed=9)
    folder = write_ndtiff(tmp_path / "movie", [*by_axes(block), ({"time": 1}, again[0, 0, 0])])
    with roi.open(folder) as recording:
        same(recording[1], again[0, 0, 0])
        assert "1 frame was written again later in the index; the last copy of each is used" in recording.get_notes()


def test_a_channel_of_every_second_time_has_half_the_rate(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(7, 1, 2)
    frames = [
        (axes, frame)
        for axes, frame in by_axes(block, ("fast", "slow"))
        if axes["channel"] == "fast" or axes["time"] % 2 == 0
    ]
    folder = write_ndtiff(tmp_path / "movie", frames)
    with roi.open(folder, channel="slow") as recording:
        same(recording.get_series(), block[::2, 0, 1])
        assert recording.get_sampling_frequency() == 12.5
        assert any("one in 2 time points was recorded at channel='slow'" in note for note in recording.get_notes())


# What is missing


def test_a_frame_missing_in_the_middle_is_named_and_the_rest_is_a_choice(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(5, 2)
    frames = [(axes, frame) for axes, frame in by_axes(block) if axes != {"z": 1, "time": 2}]
    folder = write_ndtiff(tmp_path / "movie", frames)
    with pytest.raises(
        TruncatedRecordingError, match=r"the frame at time=2, z=1 is missing \(1 of 10 frames.*allow_missing=True"
    ):
        roi.open(folder)
    with pytest.warns(
        IncompleteRecordingWarning, match="the frame at time=2, z=1 is missing; 1 of 5 samples are left out"
    ):
        recording = roi.open(folder, allow_missing=True)
    with recording:
        same(recording.get_series(), np.moveaxis(block[[0, 1, 3, 4], :, 0], 1, 3))
        np.testing.assert_allclose(recording.get_timestamps(), (1000 + 33.5 * np.array([0, 2, 5, 7])) / 1000)


def test_a_time_missing_in_the_middle_leaves_its_gap_in_the_times(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(6)
    frames = [frame for k, frame in enumerate(by_axes(block)) if k != 4]
    folder = write_ndtiff(tmp_path / "movie", frames, texts=lambda number, axes: {"ElapsedTime-ms": None})
    with pytest.raises(TruncatedRecordingError, match="the frame at time=4 is missing"):
        roi.open(folder)
    with open_quietly(folder, allow_missing=True) as recording:
        np.testing.assert_allclose(recording.get_timestamps(), np.array([0, 1, 2, 3, 5]) / 25.0)


def test_frames_missing_at_the_end_are_told(tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make) -> None:
    block = pixels(5, 2, 2)
    frames = by_axes(block, ("a", "b"))
    folder = write_ndtiff(tmp_path / "movie", frames[:-1])
    with pytest.warns(
        IncompleteRecordingWarning,
        match="5 samples are described, but only 4 are complete: the frame at time=4, z=1, channel='b' is",
    ):
        recording = roi.open(folder, channel="b")
    with recording:
        same(recording.get_series(), np.moveaxis(block[:4, :, 1], 1, 3))
    with roi.open(folder, channel="a") as recording:
        assert len(recording) == 5
    shorter = write_ndtiff(tmp_path / "shorter", frames[:-4])
    with pytest.warns(
        IncompleteRecordingWarning, match="5 samples are described, but only 4 are complete: the frame at time=4"
    ):
        roi.open(write_ndtiff(tmp_path / "told", frames[:-4], summary={"Frames": 5}), channel="b").close()
    with roi.open(shorter, channel="b") as recording:
        assert len(recording) == 4


def test_a_missing_file_is_named(tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make) -> None:
    block = pixels(6)
    folder = write_ndtiff(tmp_path / "movie", by_axes(block), per_file=2)
    shutil.copytree(folder, tmp_path / "middle")
    (folder / "movie_NDTiffStack_2.tif").unlink()
    with pytest.warns(IncompleteRecordingWarning) as told:
        recording = roi.open(folder)
    assert re.search(r"movie_NDTiffStack_2.tif is missing, so 2 of 6 frames are missing", str(told[0].message))
    assert "6 samples are described, but only 4 are complete: the frame at time=4 is missing" in str(told[1].message)
    with recording:
        same(recording.get_series(), block[:4, 0, 0])
    (tmp_path / "middle" / "movie_NDTiffStack_1.tif").unlink()
    with pytest.raises(TruncatedRecordingError, match="the frame at time=2 is missing"):
        roi.open(tmp_path / "middle")
    with open_quietly(tmp_path / "middle", allow_missing=True) as recording:
        same(recording.get_series(), block[[0, 1, 4, 5], 0, 0])


def test_a_cut_file_gives_its_whole_frames(tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make) -> None:
    block = pixels(6)
    folder = write_ndtiff(tmp_path / "movie", by_axes(block))
    path = folder / "movie_NDTiffStack.tif"
    os.truncate(path, path.stat().st_size - 3000)
    with pytest.warns(IncompleteRecordingWarning) as told:
        recording = roi.open(folder)
    assert re.search(r"movie_NDTiffStack.tif ends at byte [\d,]+, so 2 of 6 frames are missing", str(told[0].message))
    assert "6 samples are described, but only 4 are complete: the frame at time=4 is missing" in str(told[1].message)
    with recording:
        same(recording.get_series(), block[:4, 0, 0])
        os.truncate(path, 3000)
        with pytest.raises(TruncatedRecordingError, match="has 3,000 bytes, but had"):
            recording.get_series()


def test_an_index_without_its_files_is_told(tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make) -> None:
    folder = write_ndtiff(tmp_path / "movie", by_axes(pixels(6)))
    (folder / "movie_NDTiffStack.tif").unlink()
    for path in (folder, folder / "NDTiff.index"):
        with pytest.raises(
            TruncatedRecordingError,
            match=r"describes 6 frames, but their file movie_NDTiffStack.tif is missing",
        ):
            roi.open(path)


def test_files_without_their_index_are_read_by_their_directories(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(6, 2, 2)
    folder = write_ndtiff(tmp_path / "movie", by_axes(block, ("a", "b")), per_file=11)
    (folder / "NDTiff.index").unlink()
    for path in (folder, folder / "movie_NDTiffStack_1.tif"):
        with pytest.warns(
            IncompleteRecordingWarning, match=r"NDTiff.index is missing in movie; the 24 frames were found"
        ):
            recording = roi.open(path, channel="b")
        with recording:
            same(recording.get_series(), np.moveaxis(block[:, :, 1], 1, 3))
            np.testing.assert_allclose(recording.get_timestamps(1, 2), [(1000 + 33.5 * 5) / 1000])


def test_settings_alone_are_no_recording(tmp_path: Path) -> None:
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "DisplaySettings.json").write_text(json.dumps({"map": {"ChannelSettings": {"type": "PROPERTY_MAP"}}}))
    for path in (folder, folder / "DisplaySettings.json"):
        with pytest.raises(
            TruncatedRecordingError, match=r"settings contains DisplaySettings.json but no images: .* incomplete"
        ):
            roi.open(path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "display_settings.txt").write_text(json.dumps({"All channel settings": {}, "GFP": {"Min": 0}}))
    with pytest.raises(TruncatedRecordingError, match=r"other contains display_settings.txt but no images"):
        roi.open(other)


def test_a_folder_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing")
    with pytest.raises(SourceKindError, match="does not contain a Micro-Manager dataset"):
        roi.open(tmp_path, format="micromanager")


# Damage to the index


def test_a_cut_index_gives_its_whole_entries(tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make) -> None:
    block = pixels(6)
    folder = write_ndtiff(tmp_path / "movie", by_axes(block))
    path = folder / "NDTiff.index"
    data = path.read_bytes()
    for left in (len(data) - 1, len(data) - 33, len(data) - len(data) // 6 + 2):
        path.write_bytes(data[:left])
        with pytest.warns(
            IncompleteRecordingWarning,
            match=r"NDTiff.index ends at byte .* inside entry 5 .* the 5 entries before it are read",
        ):
            recording = roi.open(folder)
        with recording:
            same(recording.get_series(), block[:5, 0, 0])
    path.write_bytes(data[:20])
    with pytest.raises(TruncatedRecordingError, match=r"NDTiff.index has no complete entry in its 20 bytes"):
        roi.open(folder)


def test_an_index_written_in_advance_ends_at_its_zeros(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(6)
    with roi.open(write_ndtiff(tmp_path / "movie", by_axes(block), ending=b"\0" * 1000)) as recording:
        same(recording.get_series(), block[:, 0, 0])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'{"time":1}', b'{"time":1,', "the axes of entry 1 are not a JSON object"),
        (b'{"time":1}', b'[["time":1', "the axes of entry 1 are not a JSON object"),
        (b'{"time":1}', b'{"time":[]', "the axes of entry 1 are not a JSON object"),
        (b'{"time":1}', b'1],["a",11', "the axes of entry 1 are not a JSON object"),
        (b'{"time":1}', b'{"t":[1,2]}'[:10], "the axes of entry 1 are not"),
        (b'{"time":2}', b'{"time":{}}'[:10], "the axes of entry 2 are not|neither a whole number nor text"),
        (b'{"time":2}', b'{"time":.5'[:10], "the axes of entry 2 are not"),
        (b'{"time":2}', b'{"tim":1.5}'[:10], "the axes of entry 2 are not"),
        (
            b"movie_NDTiffStack.tif",
            b"../../../etc/somethin",
            "lists the file '../../../etc/somethin', which is outside its folder",
        ),
        (b"movie_NDTiffStack.tif", b"C:\\\\ovie_NDTiffStk.tif"[:21], "which is outside its folder"),
    ],
)
def test_a_damaged_index_is_told_by_its_entry(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make, old: bytes, new: bytes, words: str
) -> None:
    assert len(old) == len(new)
    folder = write_ndtiff(tmp_path / "movie", by_axes(pixels(4)))
    path = folder / "NDTiff.index"
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(CorruptRecordingError, match=words.replace("..", r"\.\.")):
        roi.open(folder)


def test_an_axis_of_fractions_is_refused(tmp_path: Path, pixels: Make, write_ndtiff: Make) -> None:
    folder = write_ndtiff(tmp_path / "movie", [({"time": 0.5 * k}, pixels(1)[0, 0, 0]) for k in range(3)])
    with pytest.raises(
        CorruptRecordingError, match="the axis 'time' has a value that is neither a whole number nor text"
    ):
        roi.open(folder)


def test_lengths_that_cannot_be_are_refused_at_their_byte(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    folder = write_ndtiff(tmp_path / "movie", by_axes(pixels(4)))
    path = folder / "NDTiff.index"
    data = path.read_bytes()
    entry = len(data) // 4
    path.write_bytes(data[:entry] + struct.pack("<I", 1 << 30) + data[entry + 4 :])
    with pytest.raises(CorruptRecordingError, match=rf"entry 1 at byte {entry} claims a text of 1,073,741,824 bytes"):
        roi.open(folder)


@pytest.mark.parametrize("size", [(0, 24), (1 << 31, 1 << 31)])
def test_frames_that_cannot_be_are_refused(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make, size: Any
) -> None:
    folder = write_ndtiff(tmp_path / "movie", by_axes(pixels(1)))
    path = folder / "NDTiff.index"
    data = bytearray(path.read_bytes())
    data[-28:-20] = struct.pack("<II", *size)
    path.write_bytes(data)
    with pytest.raises(CorruptRecordingError, match="which is not possible"):
        roi.open(folder)


def test_frames_of_two_sizes_are_refused(tmp_path: Path, pixels: Make, write_ndtiff: Make) -> None:
    folder = write_ndtiff(
        tmp_path / "movie", [({"time": 0}, pixels(1)[0, 0, 0]), ({"time": 1}, pixels(1, rows=12)[0, 0, 0])]
    )
    with pytest.raises(
        CorruptRecordingError, match=r"frame 1 has 12 x 40 pixels of 2 bytes, but the first has 24 x 40"
    ):
        roi.open(folder)


def test_times_far_from_each_other_do_not_fill_the_memory(tmp_path: Path, pixels: Make, write_ndtiff: Make) -> None:
    block = pixels(3)
    frames = [({"time": time}, block[k, 0, 0]) for k, time in enumerate((0, 1, 2**62))]
    with roi.open(write_ndtiff(tmp_path / "movie", frames)) as recording:
        same(recording.get_series(), block[:, 0, 0])
        assert recording.get_sampling_frequency() is None
        assert any("the times of the frames run from 0" in note for note in recording.get_notes())


# Times


def test_times_are_read_for_the_samples_that_are_asked(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roiextractors_micromanager import extractor

    read: list[Any] = []
    real = extractor.text_of
    monkeypatch.setattr(extractor, "text_of", lambda file, place: read.append(place) or real(file, place))
    folder = write_ndtiff(tmp_path / "movie", by_axes(pixels(50, 2)))
    with roi.open(folder) as recording:
        assert len(read) == 2  # of the first and the last sample, which are compared with the index
        np.testing.assert_allclose(
            recording.get_native_timestamps(10, 13), (1000 + 33.5 * np.array([20, 22, 24])) / 1000
        )
        assert len(set(read)) == 5


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ({"ElapsedTime-ms": None, "ReceivedTime": "2022-08-26 14:03:11.{:03d} -0700"}, [0, 0.05, 0.1]),
        ({"ElapsedTime-ms": None, "TimeReceivedByCore": "2022-08-26 14:03:11.{:03d}123456"}, [0, 0.05, 0.1]),
        ({"ElapsedTime-ms": {"type": "DOUBLE", "scalar": "{}"}}, [0, 0.05, 0.1]),
        ({"ElapsedTime-ms": {"PropType": "Double", "PropVal": "{}"}}, [0, 0.05, 0.1]),
        ({"ElapsedTime-ms": "{}"}, [0, 0.05, 0.1]),
        ({"ElapsedTime-ms": None, "ReceivedTime": "soon"}, None),
    ],
)
def test_times_of_every_version_are_understood(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make, text: dict[str, Any], times: list[float] | None
) -> None:
    def told(number: int, axes: Any) -> dict[str, Any]:
        filled = json.loads(json.dumps(text).replace("{:03d}", f"{50 * number:03d}").replace('"{}"', str(50 * number)))
        return filled if isinstance(filled, dict) else {}

    folder = write_ndtiff(tmp_path / "movie", by_axes(pixels(3)), texts=told)
    with roi.open(folder) as recording:
        seen = recording.get_native_timestamps()
        assert (seen is None) == (times is None)
        if times is not None:
            np.testing.assert_allclose(seen, times, atol=2e-6)


def test_a_frame_without_a_time_among_others_is_told(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    folder = write_ndtiff(
        tmp_path / "movie",
        by_axes(pixels(5)),
        texts=lambda number, axes: {"ElapsedTime-ms": None} if number == 3 else {},
    )
    with roi.open(folder) as recording:
        assert len(recording.get_native_timestamps(0, 3)) == 3
        with pytest.raises(CorruptRecordingError, match="the metadata of sample 3 have no ElapsedTime-ms"):
            recording.get_timestamps()


@pytest.mark.parametrize(
    ("summary", "rate"),
    [
        ({"Interval_ms": 40}, 25.0),
        ({"Interval_ms": "40.0"}, 25.0),
        ({"Interval_ms": 0}, 1000 / 33.5),
        ({"Interval_ms": None}, 1000 / 33.5),
        ({"Interval_ms": None, "WaitInterval": {"type": "DOUBLE", "scalar": 200.0}}, 5.0),
        ({"Interval_ms": 40, "CustomIntervals_ms": [10, 20]}, 1000 / 33.5),
        ({"Interval_ms": -1}, 1000 / 33.5),
        ({"Interval_ms": True}, 1000 / 33.5),
    ],
)
def test_the_rate_is_the_interval_and_never_the_displays(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make, summary: dict[str, Any], rate: float | None
) -> None:
    folder = write_ndtiff(tmp_path / "movie", by_axes(pixels(3)), summary=summary)
    (folder / "DisplaySettings.json").write_text(
        json.dumps({"map": {"PlaybackFPS": {"type": "DOUBLE", "scalar": 10.0}}})
    )
    with roi.open(folder) as recording:
        assert recording.get_sampling_frequency() == pytest.approx(rate, rel=1e-12)


# Metadata


def test_the_metadata_is_the_files(tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make) -> None:
    def told(number: int, axes: Any) -> dict[str, Any]:
        return {"PixelSizeAffine": "0.0;-0.5;0.0;0.25;0.0;0.0", "ZPosition_um_Intended": -3.0 * axes["z"]}

    folder = write_ndtiff(
        tmp_path / "movie", by_axes(pixels(3, 2)), texts=told, summary={"MicroManagerVersion": "2.0.3"}
    )
    with roi.open(folder) as recording:
        found = recording.metadata
    assert found.start_time == datetime(2022, 8, 26, 14, 3, 11, 250000, tzinfo=timezone(timedelta(hours=-7)))
    assert found.pixel_size == (0.5, 0.25)
    assert found.plane_spacing == 3.0
    assert (found.device, found.software) == ("Dhyana", "Micro-Manager 2.0.3")
    assert found.vendor["Summary"]["Interval_ms"] == 40.0
    assert found.vendor["FirstFrame"]["Axes"] == {"z": 0, "time": 0}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ({"PixelSizeAffine": "1.0;0.0;0.0;0.0;1.0;0.0", "PixelSizeUm": 0.65}, (0.65, 0.65)),
        ({"PixelSizeAffine": "soon", "PixelSizeUm": 0.65}, (0.65, 0.65)),
        ({"PixelSizeUm": None}, (0.5, 0.5)),
        ({"PixelSizeUm": 0}, (0.5, 0.5)),
    ],
)
def test_the_pixel_size_comes_from_where_it_was_measured(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make, text: dict[str, Any], size: tuple[float, float]
) -> None:
    with roi.open(write_ndtiff(tmp_path / "movie", by_axes(pixels(2)), texts=lambda number, axes: text)) as recording:
        assert recording.metadata.pixel_size == size


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (9, r"two entries claim the bytes .* the index is damaged"),
        (-1, r"the metadata of entry 3 are at byte [\d,]+, but its pixels end at [\d,]+; .* the index is damaged"),
    ],
)
def test_an_entry_that_points_beside_its_pixels_is_refused(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make, shift: int, words: str
) -> None:
    folder = write_ndtiff(tmp_path / "movie", by_axes(pixels(6)))
    index = folder / "NDTiff.index"
    content = bytearray(index.read_bytes())
    key = b'{"time":3}'
    name_at = content.index(key) + len(key)
    entry = name_at + 4 + int.from_bytes(content[name_at : name_at + 4], "little")
    offset = int.from_bytes(content[entry : entry + 4], "little")
    content[entry : entry + 4] = (offset + shift).to_bytes(4, "little")
    index.write_bytes(content)
    with pytest.raises(CorruptRecordingError, match=words):
        roi.open(folder)


# What frames say of themselves


def test_an_index_of_another_acquisition_is_refused(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(10)
    folder = write_ndtiff(tmp_path / "a" / "movie", by_axes(block))
    other = write_ndtiff(
        tmp_path / "b" / "movie", by_axes(pixels(10, seed=4)), texts=lambda *_: {"Camera": "Dhyana 95"}
    )
    shutil.copy(other / "NDTiff.index", folder)
    with pytest.raises(
        CorruptRecordingError, match=r"the index says that time=\d.* belongs to another acquisition.* move"
    ):
        roi.open(folder)
    (folder / "NDTiff.index").unlink()
    with pytest.warns(IncompleteRecordingWarning, match="is missing in movie; the 10 frames were found"):
        recording = roi.open(folder)
    with recording:
        same(recording.get_series(), block[:, 0, 0])


def test_frames_that_the_index_exchanges_are_refused_when_they_are_read(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(6)
    folder = write_ndtiff(tmp_path / "movie", by_axes(block))
    index = folder / "NDTiff.index"
    data = index.read_bytes().replace(b'{"time":1}', b'{"time":?}').replace(b'{"time":2}', b'{"time":1}')
    index.write_bytes(data.replace(b'{"time":?}', b'{"time":2}'))
    with roi.open(folder) as recording:
        same(recording[[0, 3, 4, 5]], block[[0, 3, 4, 5], 0, 0])
        with pytest.raises(
            CorruptRecordingError, match=r"the index says that time=1 is at .* but the frame there is at time=2"
        ):
            recording.get_series()
        with pytest.raises(CorruptRecordingError, match="but the frame there is at time=2"):
            recording.get_native_timestamps()


def test_a_frame_of_another_size_or_depth_than_the_index_says_is_refused(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    for name, text in (("size", {"Width": 24, "Height": 40}), ("depth", {"PixelType": "GRAY8"})):
        folder = write_ndtiff(tmp_path / name, by_axes(pixels(3)), texts=lambda *_, text=text: text)
        with pytest.raises(
            CorruptRecordingError, match=r"the metadata there describes (40 x 24 pixels|pixels of 1 bytes)"
        ):
            roi.open(folder)


def test_a_file_of_another_acquisition_under_the_name_in_the_index_is_refused(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    frames = by_axes(pixels(6))
    folder = write_ndtiff(tmp_path / "a" / "movie", frames, per_file=3)
    other = write_ndtiff(
        tmp_path / "b" / "movie",
        by_axes(pixels(6, seed=4)),
        per_file=3,
        summary={"StartTime": "2022-08-27 14:03:11 -0700"},
    )
    shutil.copy(other / "movie_NDTiffStack_1.tif", folder)
    with pytest.raises(
        CorruptRecordingError, match=r"movie_NDTiffStack_1.tif is from a different acquisition than movie_NDTiffStack"
    ):
        roi.open(folder)


def test_frames_and_files_that_the_index_does_not_describe_are_a_warning(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(8)
    folder = write_ndtiff(tmp_path / "movie", by_axes(block))
    short = write_ndtiff(tmp_path / "short" / "movie", by_axes(block[:5]))
    shutil.copy(short / "NDTiff.index", folder)
    with pytest.warns(
        IncompleteRecordingWarning, match=r"contains 8 frames, but the index describes 5.* move the index"
    ) as told:
        recording = roi.open(folder)
    with recording:
        same(recording.get_series(), block[:5, 0, 0])
        assert any("the index describes 5" in note for note in recording.get_notes())
        assert len(told) == 1
    whole = write_ndtiff(tmp_path / "whole", by_axes(block))
    shutil.copy(folder / "movie_NDTiffStack.tif", whole / "other_NDTiffStack.tif")
    with pytest.warns(
        IncompleteRecordingWarning, match="'other_NDTiffStack.tif' in the same folder are not described by the index"
    ):
        roi.open(whole).close()
    with pytest.raises(CorruptRecordingError, match=r"other_NDTiffStack.tif is not described by NDTiff.index"):
        roi.open(whole / "other_NDTiffStack.tif")
    (whole / "NDTiff.index").unlink()
    with pytest.raises(ChoiceError, match="contains 2 datasets without an index; open one of their files"):
        roi.open(whole)
    with open_quietly(whole / "whole_NDTiffStack.tif") as recording:
        same(recording.get_series(), block[:, 0, 0])


def test_zeros_at_the_end_of_the_index_or_of_a_file_give_the_whole_frames(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    block = pixels(6)
    folder = write_ndtiff(tmp_path / "movie", by_axes(block))
    index, data = folder / "NDTiff.index", (folder / "NDTiff.index").read_bytes()
    entry = len(data) // 6
    for left in (entry * 5 - 30, entry * 5 - 12, entry * 4 + 6, entry * 4 + 20):
        index.write_bytes(data[:left].ljust(len(data), b"\0"))
        with pytest.warns(
            IncompleteRecordingWarning, match=r"NDTiff.index contains zeros from byte [\d,]+, inside entry 4"
        ):
            recording = roi.open(folder)
        with recording:
            same(recording.get_series(), block[:4, 0, 0])
    index.write_bytes(data[: entry * 4].ljust(len(data), b"\0"))
    with pytest.warns(IncompleteRecordingWarning, match="contains 6 frames, but the index describes 4"):
        roi.open(folder).close()
    index.write_bytes(data)
    path = folder / "movie_NDTiffStack.tif"
    size = path.stat().st_size
    os.truncate(path, size - 3000)
    os.truncate(path, size)
    with pytest.warns(IncompleteRecordingWarning) as told:
        recording = roi.open(folder)
    assert "movie_NDTiffStack.tif ends in zeros, so 2 of 6 frames are missing" in str(told[0].message)
    assert "6 samples are described, but only 4 are complete" in str(told[1].message)
    with recording:
        same(recording.get_series(), block[:4, 0, 0])
        assert recording.get_missing_samples().tolist() == [4, 5]
        assert recording.get_paths() == (str(folder), str(index), str(path))


def test_a_clock_that_stands_still_is_not_used(tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make) -> None:
    still = {"ElapsedTime-ms": 0}
    with roi.open(write_ndtiff(tmp_path / "a", by_axes(pixels(4)), texts=lambda *_: still)) as recording:
        assert recording.get_native_timestamps() is None
        np.testing.assert_allclose(recording.get_timestamps(), np.arange(4) / 25)
        assert any("ElapsedTime-ms does not advance" in note for note in recording.get_notes())
    received = [f"2022-08-26 14:03:11.{100 * k:03d} -0700" for k in range(4)]
    texts = lambda number, axes: {**still, "ReceivedTime": received[number]}  # noqa: E731
    with roi.open(write_ndtiff(tmp_path / "b", by_axes(pixels(4)), texts=texts)) as recording:
        np.testing.assert_allclose(recording.get_timestamps(), np.arange(4) / 10, atol=2e-6)
        assert any("times are from ReceivedTime" in note for note in recording.get_notes())


def test_times_that_run_backwards_are_warned_about_when_they_are_read(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    texts = lambda number, axes: {"ElapsedTime-ms": (0, 50, 20, 90)[number]}  # noqa: E731
    with roi.open(write_ndtiff(tmp_path / "a", by_axes(pixels(4)), texts=texts)) as recording:
        with pytest.warns(roi.RoiExtractorsWarning, match="do not increase at 1 place, the first after sample 1"):
            times = recording.get_timestamps()
        np.testing.assert_allclose(times, [0.0, 0.05, 0.02, 0.09])
        assert "do not increase" in recording.get_notes()[-1]


def test_regular_times_give_the_rate_and_uneven_ones_do_not(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    for name, jitter, rate in (("regular", 0.01, 1000 / 33.5), ("uneven", 5.0, None)):
        texts = lambda number, axes, jitter=jitter: {"ElapsedTime-ms": 33.5 * number + jitter * (number % 3)}  # noqa: E731
        folder = write_ndtiff(tmp_path / name, by_axes(pixels(9)), texts=texts, summary={"Interval_ms": 0})
        with roi.open(folder) as recording:
            assert recording.get_sampling_frequency() == (rate and pytest.approx(rate, rel=1e-3))


def test_an_interval_that_was_not_kept_is_a_note(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make
) -> None:
    with roi.open(write_ndtiff(tmp_path / "movie", by_axes(pixels(4)))) as recording:
        assert any("the samples are 0.0335 s apart on average (29.8507 Hz)" in note for note in recording.get_notes())
    kept = write_ndtiff(tmp_path / "kept", by_axes(pixels(4)), summary={"Interval_ms": 33.5})
    with roi.open(kept) as recording:
        assert recording.get_notes() == ()


@pytest.mark.parametrize(
    ("label", "magnification", "aperture"),
    [
        ("Nikon 10X S Fluor", 10.0, None),
        ("3-Plan Apo 40x/1.3 Oil", 40.0, 1.3),
        ("XLUMPLFLN 20x W NA 1.00", 20.0, 1.0),
        ("N16XLWD-PF 0.8 NA", 16.0, 0.8),
        ("empty", None, None),
    ],
)
def test_objective_exposure_and_bit_depth_come_from_the_frame(
    tmp_path: Path, pixels: Make, by_axes: Make, write_ndtiff: Make, label: str, magnification: Any, aperture: Any
) -> None:
    text = {"TINosePiece-Label": label, "Exposure-ms": 12.5, "BitDepth": 12}
    with roi.open(write_ndtiff(tmp_path / "movie", by_axes(pixels(3)), bits=12, texts=lambda *_: text)) as recording:
        found = recording.metadata
    assert found.objective is not None
    assert (found.objective.name, found.objective.magnification) == (label, magnification)
    assert found.objective.numerical_aperture == aperture
    assert (found.bit_depth, found.channels[0].exposure_time) == (12, 0.0125)

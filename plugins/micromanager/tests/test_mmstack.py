"""Image file stacks (MMStack), written by the public specification and read back by tifffile as well."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    IncompleteRecordingWarning,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)

Make = Callable[..., Any]


def same(seen: np.ndarray, wanted: np.ndarray) -> None:
    assert seen.dtype == wanted.dtype.newbyteorder("=")
    np.testing.assert_array_equal(seen, wanted)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_writer_of_these_tests_writes_what_tifffile_reads(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make, order: str
) -> None:
    tifffile = pytest.importorskip("tifffile")
    block = pixels(3, 2, 2)
    path = write_stack(tmp_path / "movie_MMStack_Pos0.ome.tif", by_index(block), order=order)
    with tifffile.TiffFile(path, is_ome=False) as opened:
        told = opened.micromanager_metadata
        np.testing.assert_array_equal(np.stack([page.asarray() for page in opened.pages]), block.reshape(12, 24, 40))
    assert told["Summary"]["z-step_um"] == -2.0
    assert told["IndexMap"][:, :4].tolist() == [[c, z, t, 0] for t in range(3) for z in range(2) for c in range(2)]
    with roi.open(path, channel=1) as recording:
        same(recording.get_series(), np.moveaxis(block[:, :, 1], 1, 3))


def test_any_file_of_the_set_opens_all_of_its_files(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make
) -> None:
    block = pixels(9, 1, 2)
    frames = by_index(block)
    summary = {"ChNames": ["GFP", "Cy5"]}
    names = ("movie_MMStack_Pos0.ome.tif", "movie_MMStack_Pos0_1.ome.tif", "movie_MMStack_Pos0_2.ome.tif")
    for k, name in enumerate(names):
        write_stack(tmp_path / "movie" / name, frames[7 * k : 7 * k + 7], summary=summary)
    for path in (tmp_path / "movie", *(tmp_path / "movie").iterdir()):
        with roi.open(path, channel="Cy5") as recording:
            assert recording.provenance.format == "micromanager"
            same(recording.get_series(), block[:, 0, 1])
            assert recording.metadata.channels[0].name == "Cy5"
    with pytest.raises(TruncatedRecordingError, match=r"the frame at time=3, z=0, channel='Cy5'.* is missing"):
        roi.open([tmp_path / "movie" / names[0], tmp_path / "movie" / names[2]], channel="Cy5")


def test_a_stack_of_another_name_is_known_by_its_content(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make
) -> None:
    block = pixels(3)
    path = write_stack(tmp_path / "movie_MMStack_Pos0.ome.tif", by_index(block)).rename(tmp_path / "renamed")
    with roi.open(path) as recording:
        same(recording.get_series(), block[:, 0, 0])


def test_positions_in_one_file_or_in_several_are_a_stream(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make
) -> None:
    blocks = [pixels(4, seed=k) for k in range(3)]
    places = [by_index(block, k) for k, block in enumerate(blocks)]
    write_stack(
        tmp_path / "one" / "a_MMStack.ome.tif", [frame for frames in zip(*places, strict=True) for frame in frames]
    )
    for k, frames in enumerate(places):
        write_stack(tmp_path / "several" / f"a_MMStack_Pos{k}.ome.tif", frames)
    for folder in ("one", "several"):
        assert roi.streams(tmp_path / folder) == {"position": ("0", "1", "2")}
        with pytest.raises(StreamChoiceError, match=f"{folder} has the positions '0', '1' and '2'"):
            roi.open(tmp_path / folder)
        with roi.open(tmp_path / folder, position=2) as recording:
            same(recording.get_series(), blocks[2][:, 0, 0])


def test_two_datasets_in_a_folder_are_told_apart_by_a_file(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make
) -> None:
    blocks = {name: pixels(3, seed=len(name)) for name in ("one", "other")}
    for name, block in blocks.items():
        write_stack(tmp_path / f"{name}_MMStack_Pos0.ome.tif", by_index(block))
    with pytest.raises(
        ChoiceError,
        match=r"contains 2 datasets; open one of their files.*'one_MMStack_Pos0.ome.tif' and 'other_MMStack",
    ):
        roi.open(tmp_path)
    with roi.open(tmp_path / "other_MMStack_Pos0.ome.tif") as recording:
        same(recording.get_series(), blocks["other"][:, 0, 0])


def test_an_acquisition_that_was_interrupted_is_read_by_its_directories(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make
) -> None:
    block = pixels(6, 2)
    path = write_stack(tmp_path / "movie_MMStack_Pos0.ome.tif", by_index(block), finished=False, summary={"Frames": 6})
    with roi.open(path) as recording:
        same(recording.get_series(), np.moveaxis(block[:, :, 0], 1, 3))
        assert any("has no index map" in note for note in recording.get_notes())
    os.truncate(path, path.stat().st_size - 2500)
    with pytest.warns(IncompleteRecordingWarning, match="6 samples are described, but only 5 are complete"):
        recording = roi.open(path)
    with recording:
        same(recording.get_series(), np.moveaxis(block[:5, :, 0], 1, 3))


def test_fewer_frames_than_the_summary_describes_are_told(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make
) -> None:
    path = write_stack(tmp_path / "movie_MMStack_Pos0.ome.tif", by_index(pixels(4)), summary={"Frames": 100})
    with pytest.warns(
        IncompleteRecordingWarning,
        match="100 samples are described, but only 4 are complete: the frame at time=4 is missing",
    ):
        roi.open(path).close()


def test_colour_is_refused_with_its_reason(tmp_path: Path, write_stack: Make) -> None:
    frames = [((0, 0, t, 0), np.zeros((8, 9, 3), np.uint8)) for t in range(3)]
    path = write_stack(tmp_path / "movie_MMStack_Pos0.ome.tif", frames)
    with pytest.raises(UnsupportedRecordingError, match=r"contains colour \(RGB\) or compressed frames"):
        roi.open(path)


def test_ndtiff_1_is_refused_with_its_reason(tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make) -> None:
    path = write_stack(tmp_path / "movie_NDTiffStack.tif", by_index(pixels(2)))
    data = bytearray(path.read_bytes())
    data[24:32] = struct.pack("<II", 483729, 1)
    path.write_bytes(data)
    with pytest.raises(UnsupportedRecordingError, match="is NDTiff 1, which has no index file"):
        roi.open(path)


@pytest.mark.parametrize(
    ("at", "value", "error", "words"),
    [
        (12, 1 << 31, None, ""),
        (36, 1 << 30, CorruptRecordingError, "claims summary metadata of 1,073,741,824 bytes"),
        (4, 1 << 31, None, ""),
    ],
)
def test_numbers_in_the_header_that_cannot_be_are_survived_or_told(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make, at: int, value: int, error: Any, words: str
) -> None:
    block = pixels(3)
    path = write_stack(tmp_path / "movie_MMStack_Pos0.ome.tif", by_index(block))
    data = bytearray(path.read_bytes())
    data[at : at + 4] = struct.pack("<I", value)
    path.write_bytes(data)
    if error is not None:
        with pytest.raises(error, match=words):
            roi.open(path)
        return
    if at == 12:
        with pytest.warns(IncompleteRecordingWarning, match="its index map should be at byte 2,147,483,648 of"):
            recording = roi.open(path)
    else:
        recording = roi.open(path)
    with recording:
        same(recording.get_series(), block[:, 0, 0])


def test_a_directory_outside_the_file_is_told(tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make) -> None:
    path = write_stack(tmp_path / "movie_MMStack_Pos0.ome.tif", by_index(pixels(3)))
    data = bytearray(path.read_bytes())
    index = struct.unpack_from("<I", data, 12)[0]
    data[index + 8 + 20 + 16 : index + 8 + 20 + 20] = struct.pack("<I", 1 << 31)
    path.write_bytes(data)
    with pytest.raises(TruncatedRecordingError, match="the directory of frame 1 should be at byte 2,147,483,648"):
        roi.open(path)


def test_the_metadata_is_the_files(tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make) -> None:
    path = write_stack(
        tmp_path / "movie_MMStack_Pos0.ome.tif", by_index(pixels(3, 2)), texts=lambda number: {"Channel": "GFP"}
    )
    with roi.open(path) as recording:
        found = recording.metadata
        np.testing.assert_allclose(recording.get_timestamps(), (1000 + 33.5 * np.array([0, 2, 4])) / 1000)
        assert recording.get_sampling_frequency() == 10.0
    assert found.plane_spacing == 2.0
    assert found.pixel_size == (0.65, 0.65)
    assert str(found.start_time) == "2019-03-01 10:20:30+01:00"
    assert (found.device, found.software) == ("Dhyana", "Micro-Manager 2.0.0")
    assert found.channels[0].name == "GFP"


def test_files_that_claim_the_same_frames_are_refused_together(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make
) -> None:
    blocks = [pixels(3, seed=k) for k in range(2)]
    paths = [write_stack(tmp_path / f"a_MMStack_Pos{k}.ome.tif", by_index(block)) for k, block in enumerate(blocks)]
    with pytest.raises(
        CorruptRecordingError, match=r"a_MMStack_Pos0.ome.tif contains a frame at a position that another file claims"
    ):
        roi.open(tmp_path)
    for path, block in zip(paths, blocks, strict=True):
        with roi.open([path]) as recording:
            same(recording.get_series(), block[:, 0, 0])


def test_a_file_of_another_acquisition_is_left_out_or_refused_by_its_name(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make
) -> None:
    block, foreign = pixels(6), pixels(6, seed=7)
    names = ("a_MMStack_Pos0.ome.tif", "a_MMStack_Pos0_1.ome.tif")
    first = write_stack(tmp_path / names[0], by_index(block)[:3], summary={"UUID": "one"})
    second = write_stack(tmp_path / names[1], by_index(foreign)[3:], summary={"UUID": "two"})
    with pytest.raises(ChoiceError, match=r"are from 2 acquisitions.*'a_MMStack_Pos0.ome.tif \(1 file\)'.*open one"):
        roi.open(tmp_path)
    with pytest.raises(
        CorruptRecordingError, match=r"Pos0_1.ome.tif is from a different acquisition than a_MMStack_Pos0"
    ):
        roi.open([first, second])
    with pytest.warns(
        IncompleteRecordingWarning, match=r"'a_MMStack_Pos0_1.ome.tif' left out: from another acquisition"
    ):
        recording = roi.open(first)
    with recording:
        same(recording.get_series(), block[:3, 0, 0])
        assert recording.get_paths() == (str(first),)
    write_stack(second, by_index(block)[3:], summary={"UUID": "one"})
    with roi.open(tmp_path) as recording:
        same(recording.get_series(), block[:, 0, 0])
        assert recording.get_paths() == (str(tmp_path), str(first), str(second))


def test_later_files_of_a_set_alone_keep_their_place_in_time(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make
) -> None:
    block = pixels(6)
    later = write_stack(
        tmp_path / "a_MMStack_Pos0_1.ome.tif", by_index(block)[2:], texts=lambda number: {"ElapsedTime-ms": None}
    )
    with pytest.warns(
        IncompleteRecordingWarning, match="the first 2 samples are missing: the recording begins at time=2"
    ):
        recording = roi.open([later])
    with recording:
        same(recording.get_series(), block[2:, 0, 0])
        assert recording.get_missing_samples().tolist() == [0, 1]
        np.testing.assert_allclose(recording.get_timestamps(), np.arange(2, 6) / 10)


def test_an_index_map_that_contradicts_its_frames_is_a_warning(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make
) -> None:
    block = pixels(4)
    path = write_stack(tmp_path / "a_MMStack_Pos0.ome.tif", by_index(block))
    data = bytearray(path.read_bytes())
    at = struct.unpack_from("<I", data, 12)[0]
    complete = bytes(data)
    struct.pack_into("<I", data, at + 4, 3)  # one entry less
    path.write_bytes(data)
    with pytest.warns(IncompleteRecordingWarning, match="contains 1 more frames than the 3 of its index map"):
        roi.open(path).close()
    data = bytearray(complete)
    struct.pack_into("<I", data, at + 8 + 2 * 20 + 8, 3)  # the last two frames exchanged
    struct.pack_into("<I", data, at + 8 + 3 * 20 + 8, 2)
    path.write_bytes(data)
    with pytest.warns(IncompleteRecordingWarning, match="places frame 3 at .*time=2.*but its own metadata at .*time=3"):
        roi.open(path).close()


def test_a_stack_that_was_cut_is_told_from_one_without_a_map(
    tmp_path: Path, pixels: Make, by_index: Make, write_stack: Make
) -> None:
    block = pixels(6)
    path = write_stack(tmp_path / "movie_MMStack_Pos0.ome.tif", by_index(block))
    os.truncate(path, path.stat().st_size - 4500)
    with pytest.warns(IncompleteRecordingWarning, match="is truncated or damaged: its index map should be at byte"):
        recording = roi.open(path)
    with recording:
        same(recording.get_series(), block[: len(recording), 0, 0])
        assert 3 <= len(recording) < 6

"""Folders and lists of files: which file is which time, plane, channel and position."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import roiextractors_core as roi
from roiextractors_core.io import PositionedFile


def frame(value: int, rows: int = 16, columns: int = 20) -> np.ndarray:
    return np.full((rows, columns), value, np.uint16)


def write(
    folder: Path, pattern: str, times: Any, planes: Any = (0,), channels: Any = (0,), positions: Any = (0,)
) -> None:
    """Write one file for each place, whose pixels are 1000 t + 100 c + 10 p + z."""
    for t in times:
        for z in planes:
            for k, c in enumerate(channels):
                for j, p in enumerate(positions):
                    name = pattern.format(t=t, z=z, c=c, p=p)
                    tifffile.imwrite(folder / name, frame((1000 * t + 100 * k + 10 * j + z) % 65536), metadata=None)


def firsts(recording: Any) -> Any:
    return np.asarray(recording)[:, 0, 0].tolist()


@pytest.mark.parametrize(
    ("pattern", "channels", "channel"),
    [
        ("img_channel{c:03d}_position000_time{t:09d}_z000.tif", (0, 1), "001"),
        ("img_ch{c}_t{t:03d}.tif", (1, 2), "2"),
        ("img_t{t:03d}_c{c}.tif", (1, 2), "2"),
        ("{c}_{t:04d}.tif", ("GFP", "mCherry"), "mCherry"),
        ("movie_{c}_t{t}.tif", ("Green", "Red"), "Red"),
        ("Chan{c}_{t:04d}.tif", ("A", "B"), "B"),
        ("img_{t:09d}_{c}_000.tif", ("DAPI", "FITC"), "FITC"),
        ("f{t}_w{c}.TIF", (1, 2), "2"),
    ],
)
def test_letters_in_names_are_channels(tmp_path: Path, pattern: str, channels: tuple[Any, ...], channel: str) -> None:
    write(tmp_path, pattern, range(12), channels=channels)
    with pytest.raises(roi.StreamChoiceError, match="channel="):
        roi.open(tmp_path)
    assert channel in roi.streams(tmp_path)["channel"]
    found = roi.open(tmp_path, channel=channel)
    assert firsts(found) == [1000 * t + 100 for t in range(12)]
    assert found.metadata.channels[0].name == channel


def test_letters_in_names_are_planes_channels_and_positions(tmp_path: Path) -> None:
    write(tmp_path, "m_pos{p}_t{t:02d}_z{z}_c{c}.tif", range(4), range(3), (1, 2), (1, 2))
    streams = roi.streams(tmp_path)
    assert (streams["position"], streams["channel"]) == (("1", "2"), ("1", "2"))
    found = roi.open(tmp_path, position="2", channel="1")
    assert firsts(found) == [[1000 * t + 10 + z for z in range(3)] for t in range(4)]


@pytest.mark.parametrize(
    ("pattern", "positions"),
    [
        ("mouse{p}_{t:04d}.tif", (1, 2)),
        ("{p}_{t:03d}.tif", (20240101, 20240102)),
        ("ChanA_001_{p:03d}_{t:03d}.tif", (1, 2)),
    ],
)
def test_two_numbers_that_do_not_say_what_they_are_are_refused(
    tmp_path: Path, pattern: str, positions: tuple[int, ...]
) -> None:
    write(tmp_path, pattern, range(5), positions=positions)
    with pytest.raises(roi.SourceKindError, match=r"2 numbers vary .*pattern=.*dimension_order='T'.*list"):
        roi.open(tmp_path)
    with pytest.raises(roi.SourceKindError, match="2 numbers vary"):
        roi.open(sorted(tmp_path.iterdir()))
    assert len(roi.open(tmp_path, dimension_order="T")) == 10
    given = pattern.replace("{t:04d}", "{time}").replace("{t:03d}", "{time}")
    given = given.replace("{p:03d}", "{position}").replace("{p}", "{position}")
    second = roi.streams(tmp_path, pattern=given)["position"][1]
    assert firsts(roi.open(tmp_path, pattern=given, position=second)) == [1000 * t + 10 for t in range(5)]


def test_a_pattern_names_the_axes_and_leaves_out_other_names(tmp_path: Path) -> None:
    write(tmp_path, "run_{c}-{z}-{t}.tif", range(11), range(2), (5, 6))
    tifffile.imwrite(tmp_path / "average.tif", frame(7), metadata=None)
    options = {"pattern": "{name}_{channel}-{plane}-{time}.tif", "channel": "6"}
    with pytest.warns(roi.RoiExtractorsWarning, match=r"average\.tif has a name of a different kind and is left out"):
        found = roi.open(tmp_path, **options)
    assert firsts(found) == [[1000 * t + 100 + z for z in range(2)] for t in range(11)]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{name}_{when}.tif", "fields are"),
        ("a.tif", "contains none"),
        ("x{time}.tif", "matches none"),
        (3, "must be a str"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(tmp_path: Path, pattern: Any, words: str) -> None:
    write(tmp_path, "m_{t}.tif", range(3))
    with pytest.raises(roi.DeclarationError, match=words):
        roi.open(tmp_path, pattern=pattern)


def test_a_gap_in_the_numbers_is_a_warning_and_a_gap_in_the_times(tmp_path: Path) -> None:
    write(tmp_path, "f_{t:04d}.tif", (0, 1, 2, 5, 6))
    with pytest.warns(roi.IncompleteRecordingWarning, match=r"2 of 7 files are missing .*before f_0005\.tif") as seen:
        found = roi.open(tmp_path, sampling_frequency=10.0)
    assert found.get_timestamps().tolist() == pytest.approx([0.0, 0.1, 0.2, 0.5, 0.6])
    assert found.get_missing_samples().tolist() == [3, 4]
    assert str(seen[0].message) in found.get_notes()
    assert found.get_paths() == (str(tmp_path),)


def test_a_missing_stack_is_a_gap_of_as_many_samples_as_the_others_have(tmp_path: Path) -> None:
    for k in (1, 2, 4):
        stack = np.stack([frame(10 * k + j) for j in range(3)])
        tifffile.imwrite(tmp_path / f"stack_{k}.tif", stack, photometric="minisblack", metadata=None)
    with pytest.warns(roi.IncompleteRecordingWarning, match="1 of 4 files"):
        found = roi.open(tmp_path, sampling_frequency=1.0)
    assert found.get_missing_samples().tolist() == [6, 7, 8]
    assert found.get_timestamps().tolist() == [0, 1, 2, 3, 4, 5, 9, 10, 11]


def write_stacks(folder: Path, lengths: dict[int, int]) -> None:
    for k, length in lengths.items():
        stack = np.stack([frame(10 * k + j) for j in range(length)])
        tifffile.imwrite(folder / f"stack_{k}.tif", stack, photometric="minisblack", metadata=None)


def test_the_last_stack_may_be_shorter_and_keeps_its_times(tmp_path: Path) -> None:
    write_stacks(tmp_path, {0: 4, 2: 4, 3: 2})
    with pytest.warns(roi.IncompleteRecordingWarning, match="1 of 4 files"):
        found = roi.open(tmp_path, sampling_frequency=1.0)
    assert found.get_missing_samples().tolist() == [4, 5, 6, 7]
    assert found.get_timestamps().tolist() == [0, 1, 2, 3, 8, 9, 10, 11, 12, 13]
    assert firsts(found) == [0, 1, 2, 3, 20, 21, 22, 23, 30, 31]


def test_stacks_of_several_lengths_around_a_gap_say_that_their_times_are_not_known(tmp_path: Path) -> None:
    write_stacks(tmp_path, {0: 4, 1: 3, 3: 4})
    with pytest.warns(roi.IncompleteRecordingWarning) as seen:
        found = roi.open(tmp_path, sampling_frequency=1.0)
    assert any("not known how many samples are missing" in str(one.message) for one in seen)
    assert len(found) == 11


def test_an_orientation_is_noted_and_not_applied(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, frame(3), metadata=None, extratags=[(274, 3, 1, 3, True)])
    assert any("Orientation is 3" in note for note in roi.open(path).get_notes())


def test_a_volume_of_which_a_plane_is_missing_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "m_t{t}_z{z}.tif", range(4), range(3))
    (tmp_path / "m_t1_z2.tif").unlink()
    with pytest.warns(roi.IncompleteRecordingWarning, match="1 of 4 samples are incomplete"):
        found = roi.open(tmp_path)
    assert firsts(found) == [[1000 * t + z for z in range(3)] for t in (0, 2, 3)]
    assert found.get_missing_samples().tolist() == [1]


def test_a_stack_for_each_time_point_is_a_volume(tmp_path: Path) -> None:
    for t in range(3):
        for c in (1, 2):
            stack = np.stack([frame(1000 * t + 100 * c + z) for z in range(4)])
            tifffile.imwrite(tmp_path / f"m_t{t}_c{c}.tif", stack, photometric="minisblack", metadata=None)
    found = roi.open(tmp_path, channel="2")
    assert firsts(found) == [[1000 * t + 200 + z for z in range(4)] for t in range(3)]


@pytest.mark.parametrize("kind", ["size", "type", "damaged"])
def test_a_stray_file_is_left_out_with_a_warning_that_names_it(tmp_path: Path, kind: str) -> None:
    write(tmp_path, "f_{t:04d}.tif", range(6))
    stray = tmp_path / "f_0006.tif"
    if kind == "size":
        tifffile.imwrite(stray, frame(9, 8, 8), metadata=None)
    elif kind == "type":
        tifffile.imwrite(stray, frame(9).astype(np.float32), metadata=None)
    else:
        stray.write_bytes((tmp_path / "f_0000.tif").read_bytes()[:300])
    with pytest.warns(roi.RoiExtractorsWarning, match=r"f_0006\.tif .* is left out"):
        found = roi.open(tmp_path)
    assert firsts(found) == [1000 * t for t in range(6)]


def test_a_link_to_nothing_in_a_folder_is_left_out_or_named(tmp_path: Path) -> None:
    write(tmp_path, "f_{t:04d}.tif", range(12))
    (tmp_path / "f_0005.tif").unlink()
    (tmp_path / "f_0005.tif").symlink_to("nowhere")
    with pytest.warns(roi.IncompleteRecordingWarning) as caught:
        found = roi.open(tmp_path)
    assert "f_0005.tif is damaged, missing or not TIFF" in str(caught[0].message)
    assert found.get_missing_samples().tolist() == [5]
    for t in (7, 8, 9):  # of many, the first is named
        (tmp_path / f"f_{t:04d}.tif").unlink()
        (tmp_path / f"f_{t:04d}.tif").symlink_to("nowhere")
    with pytest.raises(roi.SourceNotFoundError, match="is a link to 'nowhere', which does not exist"):
        np.asarray(roi.open(tmp_path))


@pytest.mark.parametrize(
    ("pattern", "times", "strays"),
    [
        ("f_{t:03d}.tif", range(1, 11), ["f_2024.tif"]),
        ("f_{t:04d}.tif", range(1, 11), ["f_2024.tif"]),
        ("f_{t}.tif", range(1, 11), ["f_20240105.tif"]),
        ("f_{t:03d}.tif", range(1, 31), ["f_7.tif", "f_0009.tif"]),
        ("m_t{t:03d}_z0.tif", range(5), ["m_t900_z0.tif"]),
        ("f_{t:03d}.tif", range(900, 1005), ["f_5.tif"]),
    ],
)
def test_a_file_whose_number_is_out_of_line_is_left_out(
    tmp_path: Path, pattern: str, times: range, strays: list[str]
) -> None:
    write(tmp_path, pattern, times)
    if "_z0" in pattern:
        write(tmp_path, "m_t{t:03d}_z1.tif", times)
        tifffile.imwrite(tmp_path / strays[0].replace("z0", "z1"), frame(9), metadata=None)
    for name in strays:
        tifffile.imwrite(tmp_path / name, frame(9), metadata=None)
    with pytest.warns(roi.RoiExtractorsWarning, match=r"numbers? out of line with the others .*left out") as seen:
        found = roi.open(tmp_path)
    assert len(seen) == 1
    assert strays[0] in str(seen[0].message)
    assert np.asarray(found).reshape(len(found), -1)[:, 0].tolist() == [1000 * t % 65536 for t in times]
    assert not len(found.get_missing_samples())


def test_a_stray_year_is_read_where_the_pattern_or_the_list_says_so(tmp_path: Path) -> None:
    write(tmp_path, "f_{t:03d}.tif", range(1, 11))
    tifffile.imwrite(tmp_path / "f_2024.tif", frame(9), metadata=None)
    for source, options in ((tmp_path, {"pattern": "f_{time}.tif"}), (sorted(tmp_path.iterdir()), {})):
        with pytest.warns(roi.IncompleteRecordingWarning, match="2,013 of 2,024 files are missing"):
            found = roi.open(source, **options)
        assert firsts(found)[-2:] == [10000, 9]


def test_a_gap_that_is_as_long_as_the_rest_is_a_gap(tmp_path: Path) -> None:
    write(tmp_path, "f_{t:03d}.tif", [*range(10), *range(30, 34)])
    with pytest.warns(roi.IncompleteRecordingWarning, match="20 of 34 files"):
        assert roi.open(tmp_path).get_missing_samples().tolist() == list(range(10, 30))


def test_two_files_of_one_number_are_refused_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path, "f_{t}.tif", range(1, 5))
    write(tmp_path, "f_{t:02d}.tif", range(2, 4))
    with pytest.raises(roi.SourceKindError, match="have the same numbers"):
        roi.open(tmp_path)


def test_most_files_of_a_sequence_may_be_missing(tmp_path: Path) -> None:
    write(tmp_path, "f_{t:03d}.tif", (0, 1, 2, 5, 8, 11, 14))
    with pytest.warns(roi.IncompleteRecordingWarning, match="8 of 15 files"):
        found = roi.open(tmp_path, sampling_frequency=1.0)
    assert found.get_timestamps().tolist() == [0, 1, 2, 5, 8, 11, 14]


def test_a_counter_beside_a_time_of_day_is_one_axis(tmp_path: Path) -> None:
    for k in range(4):
        tifffile.imwrite(tmp_path / f"img_{k:03d}_{120000 + 7 * k}.tif", frame(k), metadata=None)
    assert firsts(roi.open(tmp_path)) == [0, 1, 2, 3]


def test_the_order_of_a_list_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "f_{t}.tif", range(4))
    assert firsts(roi.open([tmp_path / f"f_{t}.tif" for t in (3, 1, 2)])) == [3000, 1000, 2000]
    for name in ("before", "after"):
        tifffile.imwrite(tmp_path / f"{name}.tif", frame(len(name)), metadata=None)
    assert firsts(roi.open([tmp_path / "before.tif", tmp_path / "after.tif"])) == [6, 5]


@pytest.mark.thorough
def test_of_many_files_few_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "f_{t:05d}.tif", range(1))
    content = (tmp_path / "f_00000.tif").read_bytes()
    for k in range(3000):
        (tmp_path / f"f_{k:05d}.tif").write_bytes(content)
    opened: list[str] = []
    make = PositionedFile.__init__

    def count(self: PositionedFile, path: Any, *args: Any, **options: Any) -> None:
        opened.append(os.path.basename(path))
        make(self, path, *args, **options)

    monkeypatch.setattr(PositionedFile, "__init__", count)
    found = roi.open(tmp_path, format="tiff")
    assert len(found) == 3000
    assert set(opened) == {"f_00000.tif", "f_02999.tif"}

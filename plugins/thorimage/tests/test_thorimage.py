"""ThorImage recordings whose every pixel, time and number is known."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    IncompleteRecordingWarning,
    SourceNotFoundError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)

Make = Callable[..., Any]


def same(seen: np.ndarray, wanted: np.ndarray) -> None:
    assert seen.dtype == wanted.dtype
    np.testing.assert_array_equal(seen, wanted)


# Files and names


@pytest.mark.parametrize("digits", [3, 4])
def test_any_file_of_the_recording_opens_the_whole_of_it(
    tmp_path: Path, frames_of: Make, write_tiff: Make, digits: int
) -> None:
    frames = frames_of(4, 2, 2)
    folder = write_tiff(tmp_path / "movie", frames, digits=digits)
    for path in (folder, folder / "Experiment.xml", *sorted(folder.glob("*.tif"))[::5]):
        with roi.open(path, channel="ChanB") as recording:
            assert recording.provenance.format == "thorimage"
            same(recording.get_series(), np.moveaxis(frames[:, :, 1], 1, 3))


def test_an_experiment_without_its_suffix_is_known_by_its_content(
    tmp_path: Path, frames_of: Make, write_tiff: Make
) -> None:
    frames = frames_of(3)
    folder = write_tiff(tmp_path / "movie", frames)
    (folder / "Experiment.xml").rename(folder / "settings")
    with roi.open(folder / "settings") as recording:
        same(recording.get_series(), frames[:, 0, 0])


def test_previews_masks_and_other_files_are_no_data(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    frames = frames_of(3)
    folder = write_tiff(tmp_path / "movie", frames)
    for name in ("ChanA_Preview.tif", "z_stack_1_1_1_1.tif", "AVG_ChanA_0001_0001_0001_0001.tif"):
        tifffile.imwrite(folder / name, np.zeros((5, 6), np.float32))
    (folder / "ROIMask.raw").write_bytes(b"\1\0" * 100)
    (folder / "ROIs.xaml").write_text("<ROIs />")
    with roi.open(folder) as recording:
        same(recording.get_series(), frames[:, 0, 0])
    assert roi.explain(folder / "ChanA_Preview.tif").best.spec.name == "tiff"


def test_the_names_of_the_channels_are_those_of_the_files(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    frames = frames_of(2, 1, 2)
    folder = write_tiff(tmp_path / "movie", frames, names=["GCaMP_6s", "td Tomato"])
    assert roi.streams(folder) == {"channel": ("GCaMP_6s", "td Tomato")}
    with pytest.raises(StreamChoiceError, match="movie has the channels 'GCaMP_6s' and 'td Tomato'; choose one"):
        roi.open(folder)
    with pytest.raises(StreamChoiceError, match=", not 'ChanA'"):
        roi.open(folder, channel="ChanA")
    with roi.open(folder, channel_name="td Tomato") as recording:
        same(recording.get_series(), frames[:, 0, 1])
        assert [channel.name for channel in recording.metadata.channels] == ["td Tomato"]


@pytest.mark.thorough
@pytest.mark.parametrize("spell", [str.upper, str.lower])
def test_names_whose_case_was_changed_by_a_copy_are_those_of_the_channel(
    tmp_path: Path, frames_of: Make, write_tiff: Make, spell: Make
) -> None:
    frames = frames_of(3)
    folder = write_tiff(tmp_path / "movie", frames)
    for path in sorted(folder.iterdir()):
        path.rename(folder / spell(path.name))
    with roi.open(folder) as recording:
        same(recording.get_series(), frames[:, 0, 0])


@pytest.mark.parametrize(
    "other", ["ChanA_1.tif", "ChanA_1_2_3_4_5.tif", "ChanA_1_2__4.tif", "ChanA_1_2_3_4 copy.tif", "ChanA_2.txt"]
)
def test_names_of_another_kind_are_passed_over(tmp_path: Path, frames_of: Make, write_tiff: Make, other: str) -> None:
    frames = frames_of(3)
    folder = write_tiff(tmp_path / "movie", frames)
    (folder / other).write_bytes(b"no frame")
    (folder / "ChanA_0001_0001_0001_0002.tif").rename(folder / "ChanA_0001_0001_0001_0002.TIF")
    with roi.open(folder) as recording:
        same(recording.get_series(), frames[:, 0, 0])


def test_numbers_beyond_their_digits_go_on(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    frames = frames_of(1004, 1, 1, 3, 4)
    folder = write_tiff(tmp_path / "movie", frames, digits=3)
    assert (folder / "ChanA_001_001_001_1004.tif").exists()
    with roi.open(folder) as recording:
        same(recording.get_series(), frames[:, 0, 0])


def test_sites_and_tiles_are_streams(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    frames = {place: frames_of(2, seed=10 * place[0] + place[1]) for place in ((1, 1), (1, 2), (2, 1))}
    for place, block in frames.items():
        folder = write_tiff(tmp_path / "tiles", block, place=place)
    assert roi.streams(folder) == {"site": ("1", "2"), "tile": ("1", "2")}
    with pytest.raises(StreamChoiceError, match="has the sites '1' and '2'"):
        roi.open(folder)
    with pytest.raises(StreamChoiceError, match="has the tiles '1' and '2'"):
        roi.open(folder, site="1")
    with roi.open(folder, site=1, tile="2") as recording:
        same(recording.get_series(), frames[1, 2][:, 0, 0])
    with roi.open(folder, site="2") as recording:
        same(recording.get_series(), frames[2, 1][:, 0, 0])


def test_a_list_of_files_is_taken_alone(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    frames = frames_of(5)
    folder = write_tiff(tmp_path / "movie", frames)
    paths = sorted(folder.glob("*.tif"))
    with pytest.warns(IncompleteRecordingWarning, match="describes 5 samples, but only 2 are complete"):
        recording = roi.open(paths[:2], format="thorimage")
    with recording:
        same(recording.get_series(), frames[:2, 0, 0])


def test_without_its_experiment_a_frame_is_plain_tiff(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(2))
    (folder / "Experiment.xml").unlink()
    path = folder / "ChanA_0001_0001_0001_0001.tif"
    assert roi.explain(path).best.spec.name == "tiff"
    with pytest.raises(
        SourceNotFoundError, match=r"no Experiment.xml in movie, which is needed to read ChanA_0001_0001_0001_0001.tif"
    ):
        roi.open(path, format="thorimage")


def test_the_same_frame_under_two_names_is_refused(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(2))
    write_tiff(folder, frames_of(2), digits=3)
    with pytest.raises(CorruptRecordingError, match=r"ChanA_.*.tif exists twice"):
        roi.open(folder)


def test_the_folder_is_listed_once_and_frames_are_not_looked_at(
    tmp_path: Path, frames_of: Make, write_tiff: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roiextractors_thorimage.extractor import ThorImageImagingExtractor

    folder = write_tiff(tmp_path / "movie", frames_of(4))
    scanned: list[str] = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scanned.append(os.fspath(path)) or real(path))
    monkeypatch.setattr(os, "listdir", lambda path: pytest.fail("the folder is listed again"))
    ThorImageImagingExtractor(folder).close()
    assert scanned == [str(folder)]


# Planes


def test_steps_of_a_stage_that_was_not_used_are_no_planes(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    frames = frames_of(3)
    folder = write_tiff(tmp_path / "movie", frames, steps=16, fast_z=0)
    with roi.open(folder) as recording:
        assert recording.shape == (3, 24, 40)
        assert recording.get_sampling_frequency() == 30.0


def test_a_stack_taken_step_by_step_has_planes_and_no_rate(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    frames = frames_of(2, 3)
    folder = write_tiff(tmp_path / "stack", frames, mode=0, streaming=0, fast_z=1, frames=12000)
    with roi.open(folder) as recording:
        same(recording.get_series(), np.moveaxis(frames[:, :, 0], 1, 3))
        assert recording.get_sampling_frequency() is None
        assert "step by step" in recording.get_notes()[0]
        assert recording.metadata.plane_spacing == 15.0


def test_more_planes_in_the_files_than_described_are_read(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    frames = frames_of(2, 3)
    folder = write_tiff(tmp_path / "stack", frames, steps=1)
    with roi.open(folder) as recording:
        assert recording.get_num_planes() == 3
        assert any("describes 1 plane, but there are files for 3" in note for note in recording.get_notes())


# Rates


@pytest.mark.parametrize(
    ("changes", "planes", "rate"),
    [
        ({"average_mode": 0, "average": 5}, 1, 30.0),
        ({"average_mode": 1, "average": 5}, 1, 30.0 / 5),
        ({"average_mode": 1, "average": 0}, 1, 30.0),
        ({"flyback": 2}, 4, 30.0 / 6),
        ({"flyback": 0}, 4, 30.0 / 4),
        ({"flyback": 2, "average_mode": 1, "average": 3}, 4, 30.0 / 3 / 6),
        ({"mode": 0, "streaming": 0, "interval": 2.5}, 1, 0.4),
        ({"mode": 0, "streaming": 0, "interval": 60}, 4, 1 / 60),
        ({"rate": "none"}, 1, None),
        ({"rate": 0}, 1, None),
        ({"rate": "nan"}, 1, None),
        ({"rate": 13.967}, 1, 13.967),
    ],
)
def test_the_rate_is_that_of_the_samples(
    tmp_path: Path, frames_of: Make, write_tiff: Make, changes: dict[str, Any], planes: int, rate: float | None
) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(3, planes), **changes)
    with roi.open(folder) as recording:
        assert recording.get_sampling_frequency() == (None if rate is None else pytest.approx(rate, rel=1e-12))
        assert rate is not None or any("pass sampling_frequency" in note for note in recording.get_notes())


def test_averaging_that_no_times_confirm_is_a_note(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(3, 1), average_mode=1, average=4)
    with roi.open(folder) as recording:
        assert any("average of 4 frames" in note and "sampling_frequency=" in note for note in recording.get_notes())
    folder = write_tiff(tmp_path / "plain", frames_of(3, 1), average_mode=0, average=4)
    with roi.open(folder) as recording:
        assert recording.get_notes() == ()


def test_averaging_with_fast_planes_is_told(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(3, 2), average_mode=1, average=4)
    with roi.open(folder) as recording:
        assert any("do not average then" in note for note in recording.get_notes())


# Raw files


@pytest.mark.parametrize("digits", [3, 4])
def test_raw_channels_lie_behind_each_other_in_every_plane(
    tmp_path: Path, frames_of: Make, write_raw: Make, digits: int
) -> None:
    frames = frames_of(5, 3, 2)
    folder = write_raw(tmp_path / "raw", frames, flyback=2, digits=digits)
    for c, channel in enumerate(("ChanA", "ChanB")):
        with roi.open(next(folder.glob("Image*.raw")), channel=channel) as recording:
            same(recording.get_series(), np.moveaxis(frames[:, :, c], 1, 3))
            same(recording[1:4, 3:9, 5:, 1:], np.moveaxis(frames[1:4, 1:, c, 3:9, 5:], 1, 3))
            assert recording.get_notes() == ()


def test_a_raw_file_holds_the_enabled_channels_alone(tmp_path: Path, frames_of: Make, write_raw: Make) -> None:
    frames = frames_of(5, 1, 2)
    folder = write_raw(tmp_path / "raw", frames, names=["ChanB", "ChanD"], enabled=0b1010)
    with roi.open(folder, channel="ChanD") as recording:
        same(recording.get_series(), frames[:, 0, 1])


@pytest.mark.parametrize("told", ["", '<RawData onlyEnabledChannels="0" />', '<RawData onlyEnabledChannels="1" />'])
def test_disabled_channels_in_a_raw_file_are_passed_over(
    tmp_path: Path, frames_of: Make, write_raw: Make, told: str
) -> None:
    stored = frames_of(5, 1, 4)
    options = {"names": ["ChanB", "ChanD"], "enabled": 0b1010, "raw_data": told}
    folder = write_raw(tmp_path / "raw", stored[:, :, :2], stored=stored, **options)
    if 'onlyEnabledChannels="1"' in told:
        with pytest.warns(IncompleteRecordingWarning, match=r"exactly 2 times as many: .* pass raw_channels=4"):
            recording = roi.open(folder, channel="ChanD")
        with recording:
            assert len(recording) == 10
            assert any("but Image_0001_0001.raw contains 10; all are used" in note for note in recording.get_notes())
        with roi.open(folder, channel="ChanD", raw_channels=4) as recording:
            same(recording.get_series(), stored[:, 0, 3])
        for wrong in (1, 3, 17, "4"):
            with pytest.raises(ChoiceError, match=r"raw_channels=.*: expected 2 .* or a whole number from 4 to 16"):
                roi.open(folder, channel="ChanD", raw_channels=wrong)
        return
    with roi.open(folder, channel="ChanD") as recording:
        same(recording.get_series(), stored[:, 0, 3])
        assert recording.get_notes() == ("Image_0001_0001.raw contains 4 channels, of which 2 were enabled",)


def test_a_raw_file_of_frames_that_were_not_averaged_is_known_by_its_size(
    tmp_path: Path, frames_of: Make, write_raw: Make
) -> None:
    frames = frames_of(4)
    stored = frames_of(12)
    folder = write_raw(tmp_path / "raw", frames, stored=stored, average_mode=1, average=3)
    with roi.open(folder) as recording:
        same(recording.get_series(), stored[:, 0, 0])
        assert recording.get_sampling_frequency() == 30.0
        assert any("contains every single frame" in note for note in recording.get_notes())
    folder = write_raw(tmp_path / "averaged", frames, average_mode=1, average=3)
    with roi.open(folder) as recording:
        assert (len(recording), recording.get_sampling_frequency()) == (4, 10.0)


def test_raw_and_tiff_side_by_side_are_told_apart_by_the_path_and_the_experiment(
    tmp_path: Path, frames_of: Make, write_tiff: Make, write_raw: Make
) -> None:
    tiff, raw = frames_of(3, seed=1), frames_of(3, seed=2)
    folder = write_raw(write_tiff(tmp_path / "both", tiff), raw)
    with roi.open(folder) as recording:
        same(recording.get_series(), raw[:, 0, 0])
    with roi.open(folder / "ChanA_0001_0001_0001_0002.tif") as recording:
        same(recording.get_series(), tiff[:, 0, 0])


def test_a_cut_raw_file_gives_its_whole_samples(tmp_path: Path, frames_of: Make, write_raw: Make) -> None:
    frames = frames_of(5, 3)
    folder = write_raw(tmp_path / "raw", frames, flyback=1)
    path, frame = folder / "Image_0001_0001.raw", 24 * 40 * 2
    os.truncate(path, 15 * frame)  # the fourth volume lacks its flyback alone
    with pytest.warns(IncompleteRecordingWarning, match="4 samples are complete"), roi.open(folder) as recording:
        same(recording.get_series(), np.moveaxis(frames[:4, :, 0], 1, 3))
    os.truncate(path, 13 * frame + 100)
    with pytest.warns(IncompleteRecordingWarning) as told:
        recording = roi.open(folder)
    with recording:
        same(recording.get_series(), np.moveaxis(frames[:3, :, 0], 1, 3))
    assert "ends inside frame 13 (100 of its 1,920 bytes)" in str(told[0].message)
    assert "describes 20 frames per channel, but Image_0001_0001.raw contains 13; 3 samples are complete" in str(
        told[1].message
    )
    os.truncate(path, 2 * frame)
    with pytest.raises(
        TruncatedRecordingError, match=r"Image_0001_0001.raw has 3,840 bytes, but one sample needs 5,760"
    ):
        roi.open(folder)


def test_a_raw_file_cut_after_opening_is_told_when_it_is_read(tmp_path: Path, frames_of: Make, write_raw: Make) -> None:
    folder = write_raw(tmp_path / "raw", frames_of(5))
    with roi.open(folder) as recording:
        os.truncate(folder / "Image_0001_0001.raw", 5000)
        with pytest.raises(TruncatedRecordingError, match=r"Image_0001_0001.raw has 5,000 bytes"):
            recording.get_series()


@pytest.mark.parametrize("lsm", ['ThreePhotonEnable="1" NumberOfPlanes="4" '])
def test_multiplexed_planes_in_a_raw_frame_are_refused(
    tmp_path: Path, frames_of: Make, write_raw: Make, lsm: str
) -> None:
    folder = write_raw(tmp_path / "raw", frames_of(2), lsm=lsm)
    with pytest.raises(UnsupportedRecordingError, match="4 planes of three-photon multiplexing"):
        roi.open(folder)


@pytest.mark.parametrize("columns", ["0", "-3", "many", "99999999", "1e300"])
def test_a_size_of_frames_that_cannot_be_is_refused(
    tmp_path: Path, frames_of: Make, write_raw: Make, columns: str
) -> None:
    folder = write_raw(tmp_path / "raw", frames_of(2), columns=columns)
    with pytest.raises(CorruptRecordingError, match="does not give the size of a frame: got pixelY='24', pixelX="):
        roi.open(folder)


# Missing files


def test_a_frame_missing_in_the_middle_is_named_and_the_rest_is_a_choice(
    tmp_path: Path, frames_of: Make, write_tiff: Make
) -> None:
    frames = frames_of(5)
    folder = write_tiff(tmp_path / "movie", frames, digits=3)
    (folder / "ChanA_001_001_001_002.tif").unlink()
    with pytest.raises(
        TruncatedRecordingError, match=r"ChanA_001_001_001_002.tif is missing \(1 frame is .*allow_missing=True"
    ):
        roi.open(folder)
    with pytest.warns(IncompleteRecordingWarning, match=r"ChanA_001_001_001_002.tif is missing \(1 frame is missing\)"):
        recording = roi.open(folder, allow_missing=True)
    with recording:
        same(recording.get_series(), frames[[0, 2, 3, 4], 0, 0])
        np.testing.assert_allclose(recording.get_timestamps(), np.array([0, 2, 3, 4]) / 30.0)
        np.testing.assert_allclose(recording.slice_samples(1, 3).get_timestamps(), np.array([2, 3]) / 30.0)
        assert any("1 of 5 samples are left out" in note for note in recording.get_notes())


def test_a_plane_missing_in_the_middle_takes_its_volume_with_it(
    tmp_path: Path, frames_of: Make, write_tiff: Make
) -> None:
    frames = frames_of(4, 3, 2)
    folder = write_tiff(tmp_path / "movie", frames)
    (folder / "ChanB_0001_0001_0002_0003.tif").unlink()
    with roi.open(folder, channel="ChanA") as recording:
        same(recording.get_series(), np.moveaxis(frames[:, :, 0], 1, 3))
    with pytest.raises(TruncatedRecordingError, match=r"ChanB_0001_0001_0002_0003.tif is missing"):
        roi.open(folder, channel="ChanB")
    with pytest.warns(IncompleteRecordingWarning):
        recording = roi.open(folder, channel="ChanB", allow_missing=True)
    with recording:
        same(recording.get_series(), np.moveaxis(frames[[0, 1, 3], :, 1], 1, 3))


def test_frames_missing_at_the_end_are_warned_about(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    frames = frames_of(5, 2)
    folder = write_tiff(tmp_path / "movie", frames, status="Stopped")
    for name in ("0002_0004", "0001_0005", "0002_0005"):
        (folder / f"ChanA_0001_0001_{name}.tif").unlink()
    with pytest.warns(IncompleteRecordingWarning) as told:
        recording = roi.open(folder)
    with recording:
        same(recording.get_series(), np.moveaxis(frames[:3, :, 0], 1, 3))
    wanted = "describes 5 samples, but only 3 are complete: ChanA_0001_0001_0002_0004.tif is missing; the recording was stopped"
    assert [wanted in str(one.message) for one in told] == [True]


def test_planes_missing_everywhere_are_told(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    frames = frames_of(3, 2)
    folder = write_tiff(tmp_path / "movie", frames)
    for path in folder.glob("*_0002_000?.tif"):
        path.unlink()
    with pytest.warns(
        IncompleteRecordingWarning,
        match=r"describes 2 planes, but there are files for 1: ChanA_0001_0001_0002_0001.tif is missing",
    ):
        recording = roi.open(folder)
    with recording:
        same(recording.get_series(), frames[:, 0, 0])


def test_a_single_stack_that_lacks_a_plane_is_refused_by_name(
    tmp_path: Path, frames_of: Make, write_tiff: Make
) -> None:
    folder = write_tiff(tmp_path / "stack", frames_of(1, 3), mode=0)
    (folder / "ChanA_0001_0001_0003_0001.tif").unlink()
    with pytest.raises(
        TruncatedRecordingError, match=r"ChanA_0001_0001_0003_0001.tif is missing, and no sample of ChanA"
    ):
        roi.open(folder)


def test_a_channel_without_files_is_told(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    frames = frames_of(3, 1, 2)
    folder = write_tiff(tmp_path / "movie", frames)
    for path in folder.glob("ChanB*"):
        path.unlink()
    with pytest.warns(
        IncompleteRecordingWarning, match=r"lists the channel 'ChanB', but ChanB_0001_0001_0001_0001.tif is missing"
    ):
        recording = roi.open(folder)
    with recording:
        same(recording.get_series(), frames[:, 0, 0])


def test_an_experiment_without_frames_says_what_was_to_be_there(
    tmp_path: Path, frames_of: Make, write_tiff: Make
) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(2))
    for path in folder.glob("*.tif"):
        path.unlink()
    with pytest.raises(
        TruncatedRecordingError, match=r"movie contains Experiment.xml but no frames.* ChanA_0001_0001_0001_0001.tif"
    ):
        roi.open(folder)
    tifffile.imwrite(folder / "Image_scan_1_region_0_0.tif", np.zeros((2, 4, 5), np.uint16))
    with pytest.raises(UnsupportedRecordingError, match="format='ometiff'"):
        roi.open(folder)


def test_a_cut_frame_is_named_and_the_others_are_read(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    frames = frames_of(4)
    folder = write_tiff(tmp_path / "movie", frames)
    os.truncate(folder / "ChanA_0001_0001_0001_0003.tif", 700)
    with pytest.raises(TruncatedRecordingError, match=r"ChanA_0001_0001_0001_0003.tif.*allow_missing=True"):
        with roi.open(folder) as recording:
            same(recording.get_series(0, 2), frames[:2, 0, 0])
            recording.get_series()


@pytest.mark.parametrize("left", [0, 6, 100, 700])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_a_damaged_frame_is_left_out_by_choice(
    tmp_path: Path, frames_of: Make, write_tiff: Make, left: int, compression: str | None
) -> None:
    frames = frames_of(5)
    folder = write_tiff(tmp_path / "movie", frames, compression=compression)
    for point in (1, 4):
        os.truncate(folder / f"ChanA_0001_0001_0001_{point:04d}.tif", left)
    with pytest.raises(CorruptRecordingError, match=r"ChanA_0001_0001_0001_0001.tif.*allow_missing=True"):
        roi.open(folder)
    with pytest.warns(IncompleteRecordingWarning) as told:
        recording = roi.open(folder, allow_missing=True)
    with recording:
        same(recording.get_series(), frames[[1, 2, 4], 0, 0])
        np.testing.assert_allclose(recording.get_timestamps(), np.array([1, 2, 4]) / 30.0)
    assert "ChanA_0001_0001_0001_0001.tif is damaged (" in str(told[0].message)
    assert "2 frames are left out" in str(told[0].message)


def test_numbers_far_from_the_files_that_are_there_do_not_fill_the_memory(
    tmp_path: Path, frames_of: Make, write_tiff: Make
) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(2))
    (folder / "ChanA_0001_0001_0001_0002.tif").rename(folder / "ChanA_0001_0001_0001_999999999.tif")
    with pytest.raises(TruncatedRecordingError, match="time point 999,999,999, but only 2 of them exist"):
        roi.open(folder)


# Times


@pytest.mark.parametrize(("planes", "step"), [(1, 1), (3, 1), (3, 3), (3, 5)])
def test_times_are_those_of_the_first_plane(
    tmp_path: Path, frames_of: Make, write_tiff: Make, planes: int, step: int
) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(6, planes), flyback=2)
    lines = np.cumsum(np.linspace(0.03, 0.04, 6 * step)) - 0.03
    (folder / "timing.txt").write_text("".join(f"{t:.6g}\n" for t in lines))
    with roi.open(folder) as recording:
        assert recording.times_source == "native"
        np.testing.assert_allclose(recording.get_timestamps(), [float(f"{t:.6g}") for t in lines[::step]])
        np.testing.assert_allclose(
            recording.get_native_timestamps(2, 4), [float(f"{t:.6g}") for t in lines[::step][2:4]]
        )


def test_the_zero_before_the_first_frame_is_no_time_of_a_frame(
    tmp_path: Path, frames_of: Make, write_tiff: Make
) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(4))
    (folder / "timing.txt").write_text("0\n1e-05\n0.0334\n0.0667\n0.1\n")
    with roi.open(folder) as recording:
        np.testing.assert_allclose(recording.get_timestamps(), [1e-05, 0.0334, 0.0667, 0.1])


def test_a_last_line_without_its_end_counts_where_it_follows(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(5))
    times = np.arange(5) / 30
    (folder / "timing.txt").write_text("\n".join(map(str, times)))
    with roi.open(folder) as recording:
        np.testing.assert_allclose(recording.get_timestamps(), times)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0\n0.1\n", "timing.txt contains 2 times for 4 samples"),
        ("0\n0.1\n0.2\n0.3\n0\n0.1\n0.2\n0.3\n", "not increasing"),
        ("0\n0.1\nsoon\n0.3\n", "contains text that is not a number"),
        ("0\n0.1\n0.2\n0.2", "is truncated inside its last line"),
        ("0\n0.1\n0.2\nnan\n", "not increasing"),
        ("", "contains 0 times"),
    ],
)
def test_times_that_do_not_fit_are_ignored(
    tmp_path: Path, frames_of: Make, write_tiff: Make, text: str, why: str
) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(4))
    (folder / "timing.txt").write_text(text)
    with pytest.warns(IncompleteRecordingWarning, match=why):
        recording = roi.open(folder)
    with recording:
        assert recording.get_native_timestamps() is None
        np.testing.assert_allclose(recording.get_timestamps(), np.arange(4) / 30.0)
        assert any(why in note for note in recording.get_notes())


def test_times_of_a_recording_with_gaps_stay_with_their_samples(
    tmp_path: Path, frames_of: Make, write_tiff: Make
) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(5))
    (folder / "timing.txt").write_text("0\n0.1\n0.2\n0.4\n0.8\n")
    (folder / "ChanA_0001_0001_0001_0003.tif").unlink()
    (folder / "ChanA_0001_0001_0001_0005.tif").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteRecordingWarning)
        recording = roi.open(folder, allow_missing=True)
    with recording:
        np.testing.assert_allclose(recording.get_timestamps(), [0, 0.1, 0.4])


# What the experiment says


def test_the_metadata_is_the_experiments(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(2, 3), lsm='pixelWidthUM="0.25" pixelHeightUM="0.75" ')
    with roi.open(folder) as recording:
        found = recording.metadata
    assert found.start_time == datetime(2020, 5, 5, 15, 14, 26, tzinfo=UTC)
    assert found.pixel_size == (0.75, 0.25)
    assert found.plane_spacing == 15.0
    assert found.device == found.software == "ThorImage 4.0.2020.2171"
    assert found.vendor["LSM"]["@frameRate"] == "30.0"
    assert found.vendor["Wavelengths"]["Wavelength"]["@name"] == "ChanA"


def test_a_camera_has_its_own_pixels_and_rate(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(2))
    path = folder / "Experiment.xml"
    text = path.read_text().replace('primaryDetectorType="1"', 'primaryDetectorType="0"')
    path.write_text(text)
    with roi.open(folder) as recording:
        assert recording.metadata.pixel_size == (6.45 / 20, 2 * 6.45 / 20)
        assert recording.get_sampling_frequency() is None
    path.write_text(text.replace("<Camera ", '<Camera frameRateControlEnabled="1" frameRateControlValue="12.5" '))
    with roi.open(folder) as recording:
        assert recording.get_sampling_frequency() == 12.5


@pytest.mark.parametrize(
    ("edit", "error", "words"),
    [
        (lambda text: text[:900], CorruptRecordingError, "is not well-formed XML"),
        (
            lambda text: text.replace("?>", '?><!DOCTYPE a [<!ENTITY b "c">]>', 1),
            UnsupportedRecordingError,
            "contains a DOCTYPE",
        ),
        (
            lambda text: text.replace("ThorImageExperiment", "Experiment"),
            CorruptRecordingError,
            "is not a ThorImage experiment",
        ),
        (
            lambda text: text.replace("?>", ' encoding="klingon"?>', 1),
            CorruptRecordingError,
            "is not well-formed XML|encoding",
        ),
        (
            lambda text: text.replace("<Name", "<a>" * 200 + "</a>" * 200 + "<Name"),
            CorruptRecordingError,
            "more than .* elements",
        ),
    ],
)
def test_a_damaged_experiment_is_an_error(
    tmp_path: Path, frames_of: Make, write_tiff: Make, edit: Callable[[str], str], error: type[Exception], words: str
) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(2))
    path = folder / "Experiment.xml"
    path.write_text(edit(path.read_text()))
    with pytest.raises(error, match=words):
        roi.open(folder, format="thorimage")


def test_a_frame_of_several_pages_is_refused(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(1))
    tifffile.imwrite(
        folder / "ChanA_0001_0001_0001_0001.tif", np.zeros((3, 24, 40), np.uint16), photometric="minisblack"
    )
    with pytest.raises(UnsupportedRecordingError, match=r"ChanA_0001_0001_0001_0001.tif has 3 pages"):
        roi.open(folder)


# What contradicts the experiment or the names


def test_exactly_twice_as_many_frames_are_a_warning_with_the_options(
    tmp_path: Path, frames_of: Make, write_tiff: Make, write_raw: Make
) -> None:
    frames = frames_of(6)
    raw = write_raw(tmp_path / "raw", frames[:3], stored=frames)
    tiff = write_tiff(tmp_path / "tiff", frames, points=3)
    for folder, words in ((raw, "pass raw_channels=2"), (tiff, "another recording may be in the same folder")):
        with pytest.warns(IncompleteRecordingWarning, match=rf"These are exactly 2 times as many: .*{words}"):
            recording = roi.open(folder)
        with recording:
            same(recording.get_series(), frames[:, 0, 0])
    five = write_tiff(tmp_path / "five", frames[:5], points=3)
    with roi.open(five) as recording:
        assert any(
            "describes 3 samples, but there are files for 5; all are used" in note for note in recording.get_notes()
        )
    with pytest.raises(ChoiceError, match="raw_channels=2 is for raw files"):
        roi.open(five, raw_channels=2)


def test_files_of_every_frame_that_was_to_be_averaged_have_the_rate_of_the_scanner(
    tmp_path: Path, frames_of: Make, write_tiff: Make
) -> None:
    frames = frames_of(12)
    folder = write_tiff(tmp_path / "movie", frames, points=4, average_mode=1, average=3)
    with pytest.warns(IncompleteRecordingWarning, match="every single frame was saved, and the rate is the scanner's"):
        recording = roi.open(folder)
    with recording:
        assert (len(recording), recording.get_sampling_frequency()) == (12, 30.0)


def test_times_that_contradict_the_averaging_give_the_rate(tmp_path: Path, frames_of: Make, write_tiff: Make) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(6), average_mode=1, average=3)
    (folder / "timing.txt").write_text("".join(f"{k / 30:.6f}\n" for k in range(6)))
    with roi.open(folder) as recording:
        assert recording.get_sampling_frequency() == pytest.approx(30, rel=1e-4)
        assert any("the rate is 30" in note and "describes 10 Hz" in note for note in recording.get_notes())
    (folder / "timing.txt").write_text("0.5\n" * 6)
    with roi.open(folder) as recording:
        assert recording.get_native_timestamps() is None
        assert recording.get_sampling_frequency() == 10.0
        assert any("the times in timing.txt do not advance" in note for note in recording.get_notes())


def _say(folder: Path, frames: np.ndarray, name: str, plane: int, point: int, says: tuple[int, int] | None) -> None:
    text = (
        '{"shape": [24, 40]}'
        if says is None
        else f'<OME><Plane DeltaT="0" TheC="0" TheZ="{says[0]}" TheT="{says[1]}"/></OME>'
    )
    tifffile.imwrite(folder / name, frames[point, plane, 0], description=text, metadata=None)


@pytest.mark.parametrize("kind", ["exchanged", "another program's"])
def test_files_that_are_not_what_their_names_say_are_refused_by_name(
    tmp_path: Path, frames_of: Make, write_tiff: Make, kind: str
) -> None:
    frames = frames_of(8, 2)
    folder = write_tiff(tmp_path / "movie", frames)
    for point, plane in np.ndindex(8, 2):
        _say(folder, frames, f"ChanA_0001_0001_{plane + 1:04d}_{point + 1:04d}.tif", plane, point, (plane, point))
    with roi.open(folder) as recording:
        same(recording.get_series(), np.moveaxis(frames[:, :, 0], 1, 3))
    one, other = (folder / f"ChanA_0001_0001_0002_000{k}.tif" for k in (3, 4))
    left_out = [2]
    if kind == "exchanged":
        one.rename(folder / "aside")
        other.rename(one)
        (folder / "aside").rename(other)
        left_out = [2, 3]
    else:
        _say(folder, frames, one.name, 1, 2, None)
    words = (
        "identifies itself as plane 2 of time point 4"
        if kind == "exchanged"
        else "does not contain ThorImage's OME-XML"
    )
    with roi.open(folder) as recording:
        same(recording.get_series(0, 2), np.moveaxis(frames[:2, :, 0], 1, 3))
        with pytest.raises(CorruptRecordingError, match=rf"{one.name} {words}.*allow_missing=True"):
            recording.get_series()
    with pytest.warns(IncompleteRecordingWarning, match=rf"{one.name} {words}"):
        recording = roi.open(folder, allow_missing=True)
    with recording:
        same(recording.get_series(), np.moveaxis(np.delete(frames, left_out, 0)[:, :, 0], 1, 3))
        assert recording.get_missing_samples().tolist() == left_out


def test_missing_samples_are_counted_as_acquired(
    tmp_path: Path, frames_of: Make, write_tiff: Make, write_raw: Make
) -> None:
    folder = write_tiff(tmp_path / "movie", frames_of(5, 2), points=6)
    (folder / "ChanA_0001_0001_0002_0003.tif").unlink()
    with pytest.warns(IncompleteRecordingWarning):
        recording = roi.open(folder, allow_missing=True)
    with recording:
        assert recording.get_missing_samples().tolist() == [2, 5]
        assert str(folder) in recording.get_paths()
    raw = write_raw(tmp_path / "raw", frames_of(4))
    path = raw / "Image_0001_0001.raw"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.warns(
        IncompleteRecordingWarning, match="describes 4 frames per channel, but Image_0001_0001.raw contains 2"
    ):
        recording = roi.open(raw)
    with recording:
        assert recording.get_missing_samples().tolist() == [2, 3]
        assert recording.get_paths() == (str(raw),)


def test_objective_modality_laser_and_exposure_are_the_experiments(
    tmp_path: Path, frames_of: Make, write_tiff: Make
) -> None:
    folder = write_tiff(
        tmp_path / "movie", frames_of(2), raw_data='<PowerRegulator enable="1" start="4.5" stop="4.5" />'
    )
    path = folder / "Experiment.xml"
    text = path.read_text().replace(
        "</ThorImageExperiment>", '<MultiPhotonLaser enable="1" pos="920" /></ThorImageExperiment>'
    )
    path.write_text(text.replace('exposureTimeMS="0"', 'exposureTimeMS="25"').replace('name="20X"', 'name="16X Nikon"'))
    with roi.open(folder) as recording:
        found = recording.metadata
    assert found.objective is not None
    assert (found.objective.name, found.objective.magnification) == ("16X Nikon", 16.0)
    channel = found.channels[0]
    assert (found.modality, channel.laser_lines, channel.laser_power) == ("two-photon", (920.0,), 4.5)
    assert channel.exposure_time == 0.025


@pytest.mark.parametrize("steps", [-3, 0, 99999999999])
def test_a_stack_with_an_impossible_number_of_planes_is_a_warning(
    tmp_path: Path, frames_of: Make, write_raw: Make, steps: int
) -> None:
    folder = write_raw(tmp_path / "raw", frames_of(6))
    path = folder / "Experiment.xml"
    text = re.sub(r'steps="[^"]*"', f'steps="{steps}"', path.read_text())
    path.write_text(re.sub(r'zFastEnable="[^"]*"', 'zFastEnable="1"', text))
    with pytest.warns(IncompleteRecordingWarning, match=f"states '{steps}' planes") as seen:
        recording = roi.open(folder)
    with recording:
        assert str(seen[0].message).split(": ", 1)[1] in recording.get_notes()
        same(recording.get_series(), frames_of(6)[:, 0, 0])


def test_raw_frames_of_zeros_at_the_end_were_never_written(tmp_path: Path, frames_of: Make, write_raw: Make) -> None:
    frames = frames_of(8) + 1
    stored = frames.copy()
    stored[5:] = 0
    folder = write_raw(tmp_path / "raw", frames, stored=stored)
    with (
        pytest.warns(IncompleteRecordingWarning, match="describes 8 frames per channel"),
        pytest.warns(IncompleteRecordingWarning, match="ends in zeros.* 5 of 8 frames were written"),
    ):
        recording = roi.open(folder)
    with recording:
        same(recording.get_series(), frames[:5, 0, 0])
        assert recording.get_missing_samples().tolist() == [5, 6, 7]
        assert any("5 of 8 frames were written" in note for note in recording.get_notes())

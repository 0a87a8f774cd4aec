"""Both generations, through every file of theirs: which camera, which times, what is missing."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_video.times import parse_times, rate_of

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    StreamChoiceError,
    UnknownFormatError,
    UnsupportedRecordingError,
)
from roiextractors_core.io import PositionedFile

Make = Callable[..., Any]


def told(path: Any, match: str, **options: Any) -> Any:
    """Open what is incomplete; one of the warnings, and of the notes, must match."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recording = roi.open(path, **options)
    said = [str(one.message) for one in caught if one.category is IncompleteRecordingWarning]
    assert any(re.search(match, words) for words in said), said
    assert any(re.search(match, words) for words in recording.get_notes())
    return recording


# Fourth generation


def test_the_videos_of_a_device_are_one_recording_in_natural_order(
    tmp_path: Path, frames: Make, write_v4: Make
) -> None:
    taken = frames(60)
    folder = write_v4(tmp_path / "run", taken, a_file=5, pixels="gray")
    assert (folder / "11.avi").is_file()
    with roi.open(folder) as recording:
        np.testing.assert_array_equal(recording.get_series(), taken)
        np.testing.assert_array_equal(recording.get_samples([59, 3, 14, 3]), taken[[59, 3, 14, 3]])
        np.testing.assert_array_equal(recording[3:58:7, 2:9, ::2], taken[3:58:7, 2:9, ::2])
        assert recording.get_notes() == ()


@pytest.mark.parametrize("name", ["metaData.json", "timeStamps.csv", "0.avi", "2.avi", "", "../metaData.json", ".."])
def test_any_file_opens_the_whole(tmp_path: Path, frames: Make, write_v4: Make, name: str) -> None:
    taken = frames(25)
    folder = write_v4(tmp_path / "run", taken, a_file=10, pixels="gray")
    with roi.open(folder / name) as recording:
        assert recording.provenance.format == "miniscope"
        np.testing.assert_array_equal(recording.get_series(), taken)
        np.testing.assert_array_equal(recording.get_timestamps(), (np.arange(25) * 50 - 20) / 1000)


@pytest.mark.parametrize(
    ("codec", "pixels"), [("ffv1", "bgra"), ("ffv1", "gray"), ("rawvideo", "gray"), ("mjpeg", "yuvj420p")]
)
def test_each_compression_of_the_software_is_read(
    tmp_path: Path, frames: Make, write_v4: Make, codec: str, pixels: str
) -> None:
    rows, columns = np.mgrid[:48, :64]
    taken = np.stack([(rows + 2 * columns + 3 * k) % 200 for k in range(15)]).astype(np.uint8)
    with roi.open(write_v4(tmp_path / "run", taken, codec=codec, pixels=pixels)) as recording:
        assert recording.dtype == np.uint8
        difference = np.abs(recording.get_series().astype(int) - taken)
        assert difference.max() == 0 if codec != "mjpeg" else difference.mean() < 8


def test_what_is_said_beside_the_frames(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    with roi.open(write_v4(tmp_path / "run", frames())) as recording:
        found = recording.metadata
        assert found.start_time == datetime(2023, 2, 3, 4, 5, 6, 78_000)
        assert found.device == "Miniscope_V4_BNO"
        assert (found.vendor["device"]["led0"], found.vendor["device"]["ewl"]) == (21, 12)
        assert found.vendor["session"]["animalName"] == "mouse 7"
        assert json.loads(json.dumps(found.to_dict()))["vendor"]["device"]["gain"] == "Low"


def test_the_rate_is_that_of_the_times_whatever_the_videos_say(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    times = [-5, 28, 61, 95, 128, 161, 195, 1395, 1428, 1461]
    with roi.open(write_v4(tmp_path / "run", frames(10), times=times)) as recording:
        kept = [33, 33, 34, 33, 33, 34, 33, 33]
        assert recording.get_sampling_frequency() == pytest.approx(1000 * len(kept) / sum(kept), rel=1e-12)
        np.testing.assert_array_equal(recording.get_timestamps(), np.array(times) / 1000)


@pytest.mark.parametrize(
    ("stated", "rate"), [("15FPS", 15.0), (30, 30.0), ("22.5 fps", 22.5), ("fast", None), (0, None), (None, None)]
)
def test_without_times_the_stated_rate_holds(
    tmp_path: Path, frames: Make, write_v4: Make, stated: Any, rate: float | None
) -> None:
    folder = write_v4(tmp_path / "run", frames(), facts={"frameRate": stated})
    (folder / "timeStamps.csv").unlink()
    with told(folder, "timeStamps.csv is not next to the videos") as recording:
        assert recording.get_sampling_frequency() == rate
        assert recording.get_native_timestamps() is None
        assert recording.get_notes() == ("timeStamps.csv is not next to the videos, so the frames have no times",)


def test_without_its_facts_a_device_is_known_by_its_times(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    taken = frames()
    folder = write_v4(tmp_path / "run", taken, with_session=False)
    (folder / "metaData.json").unlink()
    for path in (folder, folder / "0.avi", folder / "timeStamps.csv", folder.parent):
        with roi.open(path) as recording:
            assert recording.provenance.format == "miniscope"
            np.testing.assert_array_equal(recording.get_series(), taken)
            assert recording.metadata.start_time is None


def test_more_times_than_frames_are_told_and_each_frame_keeps_its_own(
    tmp_path: Path, frames: Make, write_v4: Make
) -> None:
    folder = write_v4(tmp_path / "run", frames(10), times=range(0, 520, 40))
    words = (
        r"has 13 times but the videos have 10 frames; each frame gets the time with its number, and 3 times are unused"
    )
    with told(folder, words) as recording:
        np.testing.assert_array_equal(recording.get_timestamps(), np.arange(10) * 40 / 1000)
        assert recording.times_source == "native"


def test_fewer_times_than_frames_are_told_and_none_is_invented(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    folder = write_v4(tmp_path / "run", frames(10), times=range(0, 320, 40))
    words = r"timeStamps.csv has 8 times, too few for the 10 frames; the times are not used"
    with told(folder, words) as recording:
        assert recording.get_native_timestamps() is None
        assert recording.get_sampling_frequency() == 25.0


def test_times_that_do_not_rise_are_as_noted_and_told(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    folder = write_v4(tmp_path / "run", frames(5), times=[0, 40, 30, 120, 160])
    with told(folder, r"do not increase at 1 place, the first after frame 1; they are given as recorded") as recording:
        assert recording.get_timestamps().tolist() == [0.0, 0.04, 0.03, 0.12, 0.16]
        assert (
            "the times in timeStamps.csv do not increase at 1 place, the first after frame 1"
            in recording.get_notes()[0]
        )


def test_a_list_of_times_that_breaks_off_is_told(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    folder = write_v4(tmp_path / "run", frames(5))
    text = (folder / "timeStamps.csv").read_text(encoding="ascii")
    (folder / "timeStamps.csv").write_text(text[: text.index("4,180") + 4], encoding="ascii")
    words = r"line 6 of timeStamps.csv is not a row of times \('4,18'\); using the 4 rows before it"
    with told(folder, words) as recording:
        assert recording.get_native_timestamps() is None


def test_a_missing_video_is_a_gap_in_the_numbers_and_the_times(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    taken = frames(30)
    folder = write_v4(tmp_path / "run", taken, a_file=10, pixels="gray")
    (folder / "1.avi").unlink()
    places = np.concatenate([np.arange(10), np.arange(20, 30)])
    words = (
        r"the video between 0.avi and number 2 is missing; the 20 frames of Miniscope .* as a full video has 10 frames"
    )
    # In a list the user says which videos there are
    for path, match in (
        (folder, words),
        ([folder / "0.avi", folder / "2.avi"], r"30 times but the videos have 20 frames"),
    ):
        with told(path, match) as recording:
            np.testing.assert_array_equal(recording.get_series(), taken[places])
            np.testing.assert_array_equal(recording.get_timestamps(), (places * 50 - 20) / 1000)
            assert recording.get_missing_samples().tolist() == list(range(10, 20))


def test_without_a_list_of_times_the_frames_after_a_gap_are_later(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    folder = write_v4(tmp_path / "run", frames(30), a_file=10, pixels="gray")
    (folder / "1.avi").unlink()
    (folder / "timeStamps.csv").unlink()
    with told(folder, "number 2 is missing") as recording:
        assert recording.get_timestamps()[[0, 9, 10, 19]].tolist() == [0.0, 0.45, 1.0, 1.45]


def test_a_gap_ends_the_recording_where_videos_have_an_unknown_number_of_frames(
    tmp_path: Path, frames: Make, write_v4: Make
) -> None:
    taken = frames(30)
    folder = write_v4(tmp_path / "run", taken, a_file=10, pixels="gray", facts={"framesPerFile": None})
    (folder / "1.avi").unlink()
    words = r"'2.avi' of Miniscope is skipped: the video between 0.avi and number 2 is missing; reading the 10 frames before"
    with told(folder, words) as recording:
        np.testing.assert_array_equal(recording.get_series(), taken[:10])
        np.testing.assert_array_equal(recording.get_timestamps(), (np.arange(10) * 50 - 20) / 1000)
        assert recording.get_missing_samples().tolist() == list(range(10, 30))
    with told([folder / "0.avi", folder / "2.avi"], r"30 times but the videos have 20 frames") as recording:
        np.testing.assert_array_equal(recording.get_series(), np.concatenate([taken[:10], taken[20:]]))


def test_a_cut_or_damaged_video_is_a_gap(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    taken = frames(30)
    folder = write_v4(tmp_path / "run", taken, a_file=10, codec="rawvideo", pixels="gray")
    whole = (folder / "1.avi").read_bytes()
    (folder / "1.avi").write_bytes(whole[: whole.index(taken[17].tobytes())])
    with told(folder, r"1.avi is truncated: it ends at byte .* the 27 frames of Miniscope") as recording:
        np.testing.assert_array_equal(recording.get_series(), taken[[*range(17), *range(20, 30)]])
        assert recording.get_missing_samples().tolist() == [17, 18, 19]
        assert recording.get_timestamps()[17] == 0.98
    shutil.copy(folder / "0.avi", folder / "1.avi")
    (folder / "2.avi").write_bytes(b"RIFF\0\0\0\0AVI ")
    with told(folder, r"2.avi begins as AVI, but ends.* the 20 frames of Miniscope") as recording:
        assert len(recording) == 20
    (folder / "metaData.json").write_text('{"deviceType": "Miniscope_V4"}', encoding="ascii")
    with told(folder, r"'2.avi' of Miniscope is skipped: 2.avi begins as AVI, but ends") as recording:
        assert len(recording) == 20


@pytest.mark.parametrize("name", ["1634567890.avi", "99999999999999999999.avi", "99999.avi"])
def test_a_huge_number_is_not_a_place_in_a_series(
    tmp_path: Path, frames: Make, write_v4: Make, write_video: Make, name: str
) -> None:
    folder = write_v4(tmp_path / "run", frames(5), facts={"framesPerFile": 1_000_000})
    write_video(folder / name, frames(5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with roi.open(folder / name) as recording:
            assert len(recording) in (5, 10)
        with roi.open(folder) as recording:
            assert recording.get_notes()
    (folder / "0.avi").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with roi.open(folder / name) as recording:
            assert len(recording) == 5


def test_two_videos_of_one_number_are_refused(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    folder = write_v4(tmp_path / "run", frames(20), a_file=10)
    shutil.copy(folder / "0.avi", folder / "01.avi")
    with pytest.raises(UnsupportedRecordingError, match=r"two videos of the number 1, '01.avi' and '1.avi'"):
        roi.open(folder)
    with roi.open([folder / "0.avi", folder / "1.avi"]) as recording:
        assert len(recording) == 20


def test_a_last_number_that_lost_its_digits_is_not_a_time(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    folder = write_times(write_v4(tmp_path / "run", frames(5)), "Frame Number,Time Stamp (ms)", [])
    rows = "".join(f"{k},{100 + 50 * k}\n" for k in range(5))
    (folder / "timeStamps.csv").write_text(f"Frame Number,Time Stamp (ms)\n{rows[:-3]}", encoding="ascii")
    with told(folder, r"line 6 of timeStamps.csv is not a row of times \('4,3'\)") as recording:
        assert recording.get_native_timestamps() is None
    (folder / "timeStamps.csv").write_text(f"Frame Number,Time Stamp (ms)\n{rows[:-1]}", encoding="ascii")
    with roi.open(folder) as recording:
        assert recording.get_timestamps()[-1] == 0.3


def test_videos_of_different_frames_are_not_joined(
    tmp_path: Path, frames: Make, write_v4: Make, write_video: Make
) -> None:
    folder = write_v4(tmp_path / "run", frames(10), a_file=10)
    write_video(folder / "1.avi", frames(5, 16, 16))
    with pytest.raises(CorruptRecordingError, match=r"1.avi has 16 rows of 16 columns of uint8, but 0.avi has 24 rows"):
        roi.open(folder)


def test_a_video_without_a_number_is_left_out_and_named(
    tmp_path: Path, frames: Make, write_v4: Make, write_video: Make
) -> None:
    folder = write_v4(tmp_path / "run", frames(10))
    write_video(folder / "minian_mc.avi", frames(5))
    with roi.open(folder) as recording:
        assert len(recording) == 10
        assert recording.get_notes() == ("'minian_mc.avi' next to the videos has no number and is skipped",)


def test_behaviour_cameras_are_told_apart(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    taken = frames(12)
    write_v4(tmp_path / "run", taken)
    camera = write_v4(tmp_path / "run", frames(7, 32, 48), device="BehavCam_2", kind="WebCam-1920x1080")
    with roi.open(tmp_path / "run") as recording:
        np.testing.assert_array_equal(recording.get_series(), taken)
    assert roi.streams(tmp_path / "run") == {}
    for path in (camera, camera / "metaData.json", camera / "timeStamps.csv"):
        with pytest.raises(
            UnsupportedRecordingError, match=r"BehavCam_2 is a behaviour camera \(WebCam-1920x1080\), not a"
        ):
            roi.open(path)
    # As a video it has the times of the list beside it
    with roi.open(camera / "0.avi") as recording:
        assert recording.provenance.format == "video"
        np.testing.assert_array_equal(recording.get_timestamps(), (50 * np.arange(7) - 20) / 1000)
        assert recording.get_sampling_frequency() == pytest.approx(20.0)
        assert str(camera / "timeStamps.csv") in recording.get_paths()
        assert any("one for each of the 7 frames" in note for note in recording.get_notes())
    # Unless it does not match the frames
    with (camera / "timeStamps.csv").open("a", encoding="ascii") as listed:
        listed.write("7,330,0\n")
    with pytest.warns(roi.RoiExtractorsWarning, match=r"timeStamps\.csv beside it is a file of UCLA Miniscope") as said:
        recording = roi.open(camera / "0.avi")
    with recording:
        assert recording.provenance.format == "video"
        assert str(said[0].message) in recording.get_notes()
        assert recording.get_native_timestamps() is None


def test_the_videos_of_a_behaviour_camera_have_their_part_of_its_times(
    tmp_path: Path, frames: Make, write_v4: Make
) -> None:
    taken = frames(25)
    write_v4(tmp_path / "run", frames(5))
    camera = write_v4(tmp_path / "run", taken, device="BehavCam_2", kind="WebCam-1920x1080", a_file=10)
    for number, part in ((0, slice(0, 10)), (1, slice(10, 20)), (2, slice(20, 25))):
        with roi.open(camera / f"{number}.avi") as recording:
            np.testing.assert_array_equal(recording.get_series(), taken[part])
            np.testing.assert_array_equal(recording.get_timestamps(), (50 * np.arange(25)[part] - 20) / 1000)
    (camera / "1.avi").unlink()
    with pytest.warns(roi.RoiExtractorsWarning, match=r"timeStamps\.csv beside it"):
        roi.open(camera / "2.avi").close()


def test_several_miniscopes_and_sessions_are_chosen_from(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    first, second = frames(5, seed=1), frames(6, seed=2)
    write_v4(tmp_path / "day" / "10_00_00", first, device="Miniscope_A")
    write_v4(tmp_path / "day" / "10_00_00", second, device="Miniscope_B")
    write_v4(tmp_path / "day" / "11_00_00", first)
    assert roi.streams(tmp_path / "day") == {"session": ("10_00_00", "11_00_00")}
    assert roi.streams(tmp_path / "day", session="10_00_00") == {"device": ("Miniscope_A", "Miniscope_B")}
    with pytest.raises(StreamChoiceError, match="day has the sessions '10_00_00' and '11_00_00'; choose one"):
        roi.open(tmp_path / "day")
    with pytest.raises(StreamChoiceError, match="10_00_00 has the devices 'Miniscope_A' and 'Miniscope_B'; choose one"):
        roi.open(tmp_path / "day", session="10_00_00")
    with roi.open(tmp_path / "day", session="10_00_00", device="Miniscope_B") as recording:
        np.testing.assert_array_equal(recording.get_series(), second)
    with roi.open(tmp_path / "day" / "10_00_00" / "Miniscope_A" / "0.avi") as recording:
        np.testing.assert_array_equal(recording.get_series(), first)


# Untidy lists of times


def write_times(folder: Path, heading: str, rows: list[tuple[Any, ...]]) -> Path:
    lines = [heading, *(",".join(map(str, row)) for row in rows)]
    (folder / "timeStamps.csv").write_text("\n".join(lines) + "\n", encoding="ascii")
    return folder


@pytest.mark.parametrize(
    ("heading", "row"),
    [
        ("Frame Number,Time Stamp (ms),Buffer Index,DAQ Frame Number", lambda k: (k, 3 + 35 * k, 46, k + 7)),
        ("Frame Number,Time Stamp (ms),Buffer Index,Head,Roll,Pitch", lambda k: (k, 3 + 35 * k, 1, -0.5, "nan", "")),
        ("FrameNumber,TimeStamp(ms),BufferIndex", lambda k: (k, 3 + 35 * k, 1)),
        ("Time Stamp (ms),Buffer Index,Frame Number", lambda k: (3 + 35 * k, 1, k)),
        ("frame number,time stamp (s)", lambda k: (k, (3 + 35 * k) / 1000)),
        ("Frame Number,Time Stamp (us),Buffer Index", lambda k: (k, 3000 + 35000 * k, 1)),
    ],
)
def test_columns_of_times_are_found_by_name_and_unit(
    tmp_path: Path, frames: Make, write_v4: Make, heading: str, row: Any
) -> None:
    folder = write_times(write_v4(tmp_path / "run", frames(12)), heading, [row(k) for k in range(12)])
    with roi.open(folder) as recording:
        assert recording.times_source == "native"
        np.testing.assert_allclose(recording.get_timestamps(), (3 + 35 * np.arange(12)) / 1000, rtol=1e-12)
        assert len(recording.get_missing_samples()) == 0


def test_columns_that_are_not_known_are_named_in_the_warning(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    folder = write_v4(tmp_path / "run", frames(5))
    write_times(folder, "Frame Number,Ticks,Buffer Index", [(k, 40 * k, 0) for k in range(5)])
    with told(
        folder, r"has no column of times that is known \(its columns are Frame Number, Ticks, Buffer Index\)"
    ) as it:
        assert it.get_native_timestamps() is None
        assert it.get_sampling_frequency() == 20.0


def test_frames_that_the_hardware_counted_and_the_software_lost_are_missing_samples(
    tmp_path: Path, frames: Make, write_v4: Make
) -> None:
    folder = write_v4(tmp_path / "run", frames(12))
    heading = "Frame Number,Time Stamp (ms),Buffer Index,DAQ Frame Number"
    write_times(folder, heading, [(k, 35 * k + 70 * (k > 4), 46, 9 + k + 2 * (k > 4)) for k in range(12)])
    with told(folder, r"2 of 14 frames were lost during the recording .* the first after frame 4") as recording:
        assert recording.get_missing_samples().tolist() == [5, 6]
        assert not recording.keeps_missing_samples
        np.testing.assert_array_equal(recording.get_timestamps()[4:7], [0.14, 0.245, 0.28])


def test_frames_of_a_missing_video_are_missing_samples(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    folder = write_v4(tmp_path / "run", frames(30), a_file=10, pixels="gray")
    (folder / "1.avi").unlink()
    with told([folder / "0.avi", folder / "2.avi"], "30 times but the videos have 20 frames") as recording:
        assert recording.get_missing_samples().tolist() == list(range(10, 20))
    with told(folder, "number 2 is missing") as recording:
        assert recording.get_missing_samples().tolist() == list(range(10, 20))


@pytest.mark.parametrize("times", [[0] * 8, [1234] * 8, [0, 0, 0, 0, 0, 0, 40, 80]])
def test_a_clock_that_stands_still_gives_way_to_the_rate(
    tmp_path: Path, frames: Make, write_v4: Make, times: list[int]
) -> None:
    with roi.open(write_v4(tmp_path / "run", frames(8), times=times)) as recording:
        assert recording.get_native_timestamps() is None
        assert recording.get_sampling_frequency() == 20.0
        assert recording.get_notes() == ("the clock in timeStamps.csv does not advance; its times are not used",)


@pytest.mark.parametrize("bits", [16, 32])
def test_a_clock_whose_counter_was_full_goes_on(tmp_path: Path, frames: Make, write_v4: Make, bits: int) -> None:
    ticks = 2**bits - 100 + 33 * np.arange(9)
    with roi.open(write_v4(tmp_path / "run", frames(9), times=(ticks % 2**bits).tolist())) as recording:
        np.testing.assert_array_equal(recording.get_timestamps(), ticks / 1000)
        assert "restarted at 0 when its counter was full" in recording.get_notes()[0]


def test_a_first_time_below_0_that_lost_its_sign_is_below_0(tmp_path: Path, frames: Make, write_v3: Make) -> None:
    folder = write_v3(tmp_path / "run", frames(6), times=[2**32 - 6, 27, 60, 94, 127, 160])
    text = (folder / "timestamp.dat").read_text(encoding="ascii").splitlines()
    rows = sorted(text[1:], key=lambda line: int(line.split()[1]))
    (folder / "timestamp.dat").write_text("\n".join([text[0], *rows]) + "\n", encoding="ascii")
    with roi.open(folder) as recording:
        assert recording.get_timestamps()[:3].tolist() == [-0.006, 0.027, 0.06]


def test_a_long_list_of_times_is_read_at_once_and_no_warning_grows_with_it(
    tmp_path: Path, frames: Make, write_v3: Make
) -> None:
    folder = write_v3(tmp_path / "run", frames(5))
    rows = "".join(f"{k}\t{k}\t{33 * k}\t1\n" for k in range(100_000))
    (folder / "timestamp.dat").write_text(f"camNum\tframeNum\tsysClock\tbuffer\n{rows}", encoding="ascii")
    begun = time.process_time()
    with told(folder, r"rows of 100000 cameras \(1 of camera 0, .*, and 99,994 more\)") as recording:
        assert max(map(len, recording.get_notes())) < 1000
    assert time.process_time() - begun < 5


def test_every_file_that_is_read_is_named(tmp_path: Path, frames: Make, write_v4: Make) -> None:
    folder = write_v4(tmp_path / "run", frames(20), a_file=10)
    with roi.open(folder / "0.avi") as recording:
        names = {Path(path).relative_to(tmp_path / "run").as_posix() for path in recording.get_paths()}
        assert {f"Miniscope/{n}" for n in ("0.avi", "1.avi", "timeStamps.csv", "metaData.json")} <= names
        assert "metaData.json" in names
        assert recording.metadata.modality == "one-photon"


# Third generation


@pytest.mark.parametrize("name", ["msCam1.avi", "msCam2.avi", "timestamp.dat", "settings_and_notes.dat", ""])
@pytest.mark.parametrize("separator", ["\t", " "])
def test_the_third_generation_opens_by_any_of_its_files(
    tmp_path: Path, frames: Make, write_v3: Make, name: str, separator: str
) -> None:
    taken = frames(25)
    folder = write_v3(tmp_path / "H10_M2", taken, behaviour=frames(9, 32, 48), a_file=15, separator=separator)
    with roi.open(folder / name) as recording:
        assert recording.provenance.format == "miniscope"
        np.testing.assert_array_equal(recording.get_series(), taken)
        np.testing.assert_array_equal(recording.get_timestamps(), (np.arange(25) * 33 + 7) / 1000)
        assert recording.get_sampling_frequency() == pytest.approx(1000 / 33, rel=1e-12)
        assert recording.metadata.device == "Miniscope_V3"
        assert recording.metadata.vendor["settings"]["animal"] == "m42"


@pytest.mark.parametrize("camera", [0, 1])
def test_the_scope_is_the_camera_with_as_many_rows_as_frames(
    tmp_path: Path, frames: Make, write_v3: Make, camera: int
) -> None:
    folder = write_v3(tmp_path / "H10_M2", frames(25), behaviour=frames(9, 32, 48), camera=camera)
    with roi.open(folder) as recording:
        np.testing.assert_array_equal(recording.get_timestamps(), (np.arange(25) * 33 + 7) / 1000)


def test_the_behaviour_cameras_frames_tell_which_rows_are_not_the_scopes(
    tmp_path: Path, frames: Make, write_v3: Make
) -> None:
    folder = write_v3(tmp_path / "run", frames(25), behaviour=frames(9, 32, 48), times=range(0, 27 * 30, 30))
    with told(folder, "timestamp.dat has 27 times but the videos have 25 frames") as recording:
        np.testing.assert_array_equal(recording.get_timestamps(), np.arange(25) * 30 / 1000)


def test_cameras_that_cannot_be_told_apart_give_no_times(tmp_path: Path, frames: Make, write_v3: Make) -> None:
    folder = write_v3(tmp_path / "run", frames(9), behaviour=frames(9, 32, 48))
    words = r"rows of 2 cameras \(9 of camera 0, 9 of camera 1\), and none matches the 9 frames"
    with told(folder, words) as recording:
        assert recording.get_native_timestamps() is None
        assert recording.get_sampling_frequency() is None


def test_the_third_generations_behaviour_camera_is_a_video(tmp_path: Path, frames: Make, write_v3: Make) -> None:
    folder = write_v3(tmp_path / "run", frames(9), behaviour=frames(8, 32, 48))
    with roi.open(folder / "behavCam1.avi") as recording:
        assert recording.provenance.format == "video"
        np.testing.assert_array_equal(recording.get_timestamps(), (40 * np.arange(8) + 11) / 1000)
    # Where both cameras have as many frames, nothing shows which rows are its own
    folder = write_v3(tmp_path / "alike", frames(8), behaviour=frames(8, 32, 48))
    with pytest.warns(roi.RoiExtractorsWarning, match=r"timestamp\.dat beside it is a file of UCLA Miniscope"):
        roi.open(folder / "behavCam1.avi").close()
    with pytest.raises(UnsupportedRecordingError, match=r"behavCam1\.avi is from a behaviour camera, not a miniscope"):
        roi.open(folder / "behavCam1.avi", format="miniscope")


# What belongs to others


def test_times_without_videos_are_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "timeStamps.csv").write_text("Frame Number,Time Stamp (ms),Buffer Index\n0,-6,0\n", encoding="ascii")
    for path in (tmp_path, tmp_path / "timeStamps.csv"):
        with pytest.raises(UnknownFormatError):
            roi.open(path)


def test_a_video_beside_some_other_json_stays_a_video(tmp_path: Path, frames: Make, write_video: Make) -> None:
    write_video(tmp_path / "a.avi", frames(5), pixels="gray")
    (tmp_path / "notes.json").write_text('{"deviceType": 3}', encoding="ascii")
    with roi.open(tmp_path / "a.avi") as recording:
        assert recording.provenance.format == "video"
    assert not any(match.spec.name == "miniscope" for match in roi.explain(tmp_path).matches)


# The parts


def test_intervals_far_from_the_usual_one_do_not_count() -> None:
    assert rate_of(np.array([0.0, 0.1, 0.2, 5.2, 5.3])) == pytest.approx(10.0)
    assert rate_of(np.array([0.0, 0.077, 0.134, 0.201, 0.267])) == pytest.approx(4 / 0.267)
    assert rate_of(np.array([0.5])) is None
    assert rate_of(np.array([0.0, 0.0])) is None


@pytest.mark.parametrize("text", ["", "Frame Number,Time Stamp (ms),Buffer Index\n", "\0\0\0", "a,b,c\n1,x,2\n"])
def test_a_list_without_times_has_no_cameras(tmp_path: Path, text: str) -> None:
    (tmp_path / "timeStamps.csv").write_text(text, encoding="ascii")
    cameras, _ = parse_times(PositionedFile(tmp_path / "timeStamps.csv"))
    assert cameras == ()


# Real recordings


@pytest.mark.parametrize("name", ["miniscope/15_03_28", "miniscope/15_06_28"])
def test_a_real_recording_agrees_with_the_published_reader(recordings: Path, name: str) -> None:
    entries = json.loads((recordings / "EXPECTED.json").read_text(encoding="utf-8"))
    entry = next(entry for entry in entries if entry["id"] == name)
    with roi.open(recordings / entry["path"], **entry["options"]) as recording:
        series = recording.get_series()
        assert recording.shape == series.shape == tuple(entry["array_shape"])
        assert str(recording.dtype) == str(series.dtype) == entry["dtype"]
        assert float(series.sum(dtype=np.float64)) == entry["sum"]
        for index, wanted in entry["frames"].items():
            frame = recording[int(index)]
            assert hashlib.sha256(frame.tobytes()).hexdigest()[:32] == wanted
        assert recording.get_sampling_frequency() == pytest.approx(entry["sampling_frequency"], rel=1e-12)
        stamps, times = recording.get_native_timestamps(), entry["native_timestamps"]
        assert (len(stamps), list(stamps[:3]), list(stamps[-3:])) == (times["n"], times["first"], times["last"])


def test_a_real_experiment_is_opened_by_session(recordings: Path) -> None:
    folder = recordings / "miniscope" / "C6-J588_Disc5"
    assert roi.streams(folder) == {"session": ("15_03_28", "15_06_28")}
    with roi.open(folder, session="15_06_28") as recording:
        assert recording.get_timestamps().tolist() == [-0.025, 0.052, 0.109, 0.176, 0.242]
        assert recording.metadata.start_time == datetime(2021, 10, 7, 15, 6, 28, 607_000)
        assert recording.metadata.device == "Miniscope_V3"
        assert recording.get_notes() == ()


def test_a_real_behaviour_camera_and_a_real_list_of_times_are_not_claimed(recordings: Path) -> None:
    camera = recordings / "miniscope" / "C6-J588_Disc5" / "15_03_28" / "BehavCam_2"
    with pytest.raises(UnsupportedRecordingError, match="BehavCam_2 is a behaviour camera"):
        roi.open(camera)
    minian = recordings / "minian" / "gin_minian" / "segmented_data_3units_100frames"
    for path in (minian, minian / "timeStamps.csv"):
        assert not any(match.spec.name == "miniscope" for match in roi.explain(path).matches)

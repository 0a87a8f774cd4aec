"""Recordings whose frames, files and headers contradict each other: right pixels with their own times, or a sentence."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_scanimage.extractor import ScanImageImagingExtractor

from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    RoiExtractorsWarning,
    StreamChoiceError,
    TruncatedRecordingError,
)

Make = Callable[..., Any]


def text(number: int, *, period: float = 0.1, epoch: str = "[2024  3 21 9 5 7.25]", acquisition: int = 1) -> str:
    return (
        f"frameNumbers = {number}\nacquisitionNumbers = {acquisition}\nframeNumberAcquisition = {number}\n"
        f"frameTimestamps_sec = {(number - 1) * period:.9f}\nendOfAcquisition = 0\nepoch = {epoch}\nI2CData = {{}}\n"
    )


def stack(planes: int, flyback: int = 0, **more: str) -> dict[str, str | None]:
    keys = {
        "SI.hStackManager.enable": "true",
        "SI.hStackManager.actualNumSlices": str(planes),
        "SI.hStackManager.numFramesPerVolume": str(planes),
        "SI.hStackManager.numFramesPerVolumeWithFlyback": str(planes + flyback),
    }
    return {**keys, **{f"SI.hStackManager.{key}": value for key, value in more.items()}}


SPLIT: dict[str, str | None] = {"SI.hScan2D.logFramesPerFile": "5"}


@pytest.fixture
def write(tmp_path: Path, write_bigtiff: Make, header_text: Make) -> Make:
    """Write pages, each with its frame number and a pixel value."""

    def written(
        name: str,
        numbers: Sequence[int],
        values: Sequence[int],
        changes: dict[str, str | None] | None = None,
        **options: Any,
    ) -> Path:
        frames = np.stack([np.full((4, 6), value, "<i2") for value in values])
        texts = [text(number, **options) for number in numbers]
        return Path(write_bigtiff(tmp_path / name, header_text(changes), texts, frames))

    return written


def opened(path: Any, *messages: str, **options: Any) -> ScanImageImagingExtractor:
    """Open a recording; it warns of these messages and no other, and its notes have the same."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recording = ScanImageImagingExtractor(path, **options)
    seen = [str(one.message) for one in caught]
    assert len(seen) == len(messages), seen
    for message in messages:
        assert any(message in one for one in seen), (message, seen)
        assert any(message in note for note in recording.get_notes())
    return recording


def values_of(recording: ScanImageImagingExtractor) -> list[Any]:
    return [found.tolist() for found in recording.get_series()[:, 0, 0]]


def test_a_lost_page_of_a_volume_leaves_that_volume_out_and_no_plane_shifts(write: Make) -> None:
    numbers = [n for n in range(1, 25) if n != 6]
    path = write("v.tif", numbers, [10 * ((n - 1) // 4) + (n - 1) % 4 for n in numbers], stack(3, 1))
    with opened(path, "1 of 6 volumes are missing or incomplete") as recording:
        assert values_of(recording) == [[10 * v + p for p in range(3)] for v in (0, 2, 3, 4, 5)]
        np.testing.assert_allclose(recording.get_timestamps(), [0.2, 1.0, 1.4, 1.8, 2.2])
        np.testing.assert_array_equal(recording.get_missing_samples(), [1])
        np.testing.assert_array_equal(recording.get_samples([4, 1])[:, 0, 0, 0], [50, 20])
    with opened(path, "1 of 6 volumes", plane=2) as recording:
        assert values_of(recording) == [2, 22, 32, 42, 52]


@pytest.mark.parametrize("lost", [0, 1, 57, 121, 199])
def test_a_lost_page_of_one_channel_does_not_swap_the_channels(write: Make, lost: int) -> None:
    numbers = [n for n in range(1, 101) for _ in range(2)]
    values = [10 * n + k % 2 for k, n in enumerate(numbers)]
    frame = numbers[lost] - 1
    del numbers[lost], values[lost]
    changes: dict[str, str | None] = {"SI.hChannels.channelSave": "[1;2]", "SI.hChannels.channelsActive": "[1;2]"}
    path = write("c.tif", numbers, values, changes)
    for position in (0, 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IncompleteRecordingWarning)
            recording = ScanImageImagingExtractor(path, channel=position + 1)
        assert values_of(recording) == [10 * n + position for n in range(1, 101) if n != frame + 1]
        np.testing.assert_array_equal(recording.get_missing_samples(), [frame])
        np.testing.assert_allclose(recording.get_timestamps(), [n * 0.1 for n in range(100) if n != frame])
        assert recording.get_notes()
        recording.close()


def test_a_page_that_was_written_twice_does_not_make_up_for_a_lost_one(write: Make) -> None:
    numbers = [n if n != 7 else 6 for n in range(1, 31)]
    with opened(write("m.tif", numbers, numbers), "1 of 30 frames", "number of another one") as recording:
        assert values_of(recording) == [n for n in range(1, 31) if n != 7]
        np.testing.assert_array_equal(recording.get_missing_samples(), [6])
        np.testing.assert_allclose(recording.get_timestamps(), [n * 0.1 for n in range(30) if n != 6])


def test_a_page_that_was_written_twice_far_into_the_file_is_found_by_the_times(write: Make) -> None:
    numbers = [n if n != 1702 else 1701 for n in range(1, 2001)]
    with opened(write("m.tif", numbers, numbers)) as recording:
        assert recording.get_timestamps(0, 1701).shape == (1701,)
        with pytest.raises(
            CorruptRecordingError, match=r"page 1,701 of m\.tif states the frame number 1,701, expected 1,702"
        ):
            recording.get_timestamps()


def test_the_rate_of_the_times_needs_no_page_of_every_channel(write: Make) -> None:
    numbers = [n for n in range(1, 21) for _ in range(2)]
    del numbers[11], numbers[5]
    changes: dict[str, str | None] = {
        "SI.hChannels.channelSave": "[1;2]",
        "SI.hRoiManager.scanFrameRate": None,
        "SI.hRoiManager.scanFramePeriod": None,
    }
    with opened(write("c.tif", numbers, numbers, changes), "2 of 20 frames", "lack the pages", channel=1) as recording:
        assert recording.get_sampling_frequency() == pytest.approx(10.0)


def test_a_depth_that_is_not_a_number_does_not_shift_the_others(write: Make) -> None:
    numbers = list(range(1, 10))
    with opened(write("v.tif", numbers, numbers, stack(3, zs="[0 NaN 20 40]"))) as recording:
        assert recording.metadata.plane_positions == ()
    with opened(write("v.tif", numbers, numbers, stack(3, zs="[0 20 40]"))) as recording:
        assert recording.metadata.plane_positions == (0.0, 20.0, 40.0)


def test_many_lost_frames_are_found_wherever_they_are(write: Make) -> None:
    chosen = np.random.default_rng(3).random(3000) > 0.02
    chosen[0] = True
    numbers = (np.flatnonzero(chosen) + 1).tolist()
    with opened(write("m.tif", numbers, numbers), "frames are missing or incomplete") as recording:
        assert values_of(recording) == numbers
        np.testing.assert_array_equal(
            recording.get_missing_samples(), np.setdiff1d(np.arange(numbers[-1]), np.array(numbers) - 1)
        )
        some = [5, 1700, 3, len(numbers) - 1]
        np.testing.assert_array_equal(recording.get_samples(some)[:, 0, 0], np.array(numbers)[some])


def test_flyback_frames_that_the_file_lacks_by_number_are_nothing_to_warn_of(write: Make) -> None:
    numbers = [n for n in range(1, 25) if (n - 1) % 4 < 3]
    with opened(write("v.tif", numbers, numbers, stack(3, 1))) as recording:
        assert values_of(recording) == [[4 * v + p + 1 for p in range(3)] for v in range(6)]


def test_a_file_that_begins_within_a_volume_begins_with_the_next_one(write: Make) -> None:
    numbers = list(range(11, 21))
    messages = ("3 of 5 volumes are missing", "the files begin with frame 11 of the acquisition")
    with opened(write("second.tif", numbers, numbers, stack(3, 1)), *messages) as recording:
        assert values_of(recording) == [[13, 14, 15], [17, 18, 19]]
        np.testing.assert_array_equal(recording.get_missing_samples(), [0, 1, 2])
        np.testing.assert_allclose(recording.get_timestamps(), [1.4, 1.8])


def test_files_that_were_swapped_by_name_are_read_by_number(write: Make, tmp_path: Path) -> None:
    for k, name in enumerate((1, 3, 2, 4)):
        numbers = list(range(5 * k + 1, 5 * k + 6))
        write(f"s_00001_{name:05d}.tif", numbers, numbers, SPLIT)
    with opened(tmp_path / "s_00001_00001.tif") as recording:
        assert values_of(recording) == list(range(1, 21))
        np.testing.assert_allclose(recording.get_timestamps(), np.arange(20) * 0.1)
        assert [Path(path).name for path in recording.get_paths()] == [f"s_00001_{k:05d}.tif" for k in range(1, 5)]


def test_files_of_an_earlier_acquisition_are_left_out(write: Make, tmp_path: Path) -> None:
    for k in range(6):
        numbers = list(range(5 * k + 1, 5 * k + 6))
        old = {"epoch": "[2024  3 20 15 0 0.0]"} if k > 2 else {}
        write(f"m_00001_{k + 1:05d}.tif", numbers, [n + 1000 * bool(old) for n in numbers], SPLIT, **old)
    message = "m_00001_00004.tif, m_00001_00005.tif, m_00001_00006.tif are left out"
    with opened(tmp_path / "m_00001_00001.tif", message) as recording:
        assert values_of(recording) == list(range(1, 16))
        assert recording.get_paths() == tuple(str(tmp_path / f"m_00001_{k:05d}.tif") for k in (1, 2, 3))


def test_a_list_of_files_of_two_acquisitions_is_joined_in_their_order_with_a_warning(write: Make) -> None:
    new = write("b.tif", [1, 2, 3], [4, 5, 6], epoch="[2024  3 21 9 6 7.25]")
    old = write("a.tif", [1, 2, 3], [1, 2, 3])
    with opened([new, old], "the files are from 2 acquisitions") as recording:
        assert values_of(recording) == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose(recording.get_timestamps(), [0.0, 0.1, 0.2, 60.0, 60.1, 60.2])
        assert recording.metadata.start_time is not None
        assert recording.metadata.start_time.minute == 5


def test_acquisitions_that_state_no_beginning_are_told_apart_by_their_numbers(
    write_bigtiff: Make, header_text: Make, tmp_path: Path
) -> None:
    paths = []
    for k in range(2):
        texts = [text(n).replace("epoch", "unknown") for n in range(1, 6)]
        frames = np.stack([np.full((4, 6), 10 * k + n, "<i2") for n in range(5)])
        paths.append(write_bigtiff(tmp_path / f"{k}.tif", header_text(), texts, frames))
    with opened(paths, "the files are from 2 acquisitions") as recording:
        assert values_of(recording) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
        assert recording.get_native_timestamps() is None
        assert any("the clock restarts" in note for note in recording.get_notes())


def test_many_acquisitions_of_a_loop_are_joined_in_linear_time(write: Make, tmp_path: Path) -> None:
    loop: dict[str, str | None] = {"SI.acqState": "'loop'"}
    for k in range(300):
        write(
            f"t_{k + 1:05d}.tif",
            [1, 2],
            [k, k],
            loop,
            acquisition=k + 1,
            epoch=f"[2024 3 21 {9 + k // 60} {k % 60} 0.0]",
        )
    started = time.process_time()
    with opened(tmp_path / "t_00001.tif") as recording:
        assert values_of(recording) == [k for k in range(300) for _ in range(2)]
        np.testing.assert_allclose(recording.get_timestamps(), [60 * k + t for k in range(300) for t in (0, 0.1)])
    assert time.process_time() - started < 10


def test_a_lost_frame_of_a_slow_stack_takes_its_repeat_alone(write: Make) -> None:
    changes = stack(3, stackMode="'slow'", framesPerSlice="4") | {
        "SI.hStackManager.numFramesPerVolume": "12",
        "SI.hStackManager.numFramesPerVolumeWithFlyback": "12",
    }
    numbers = [n for n in range(1, 13) if n != 6]  # the second frame of the second plane
    path = write("s.tif", numbers, numbers, changes)
    with opened(path, "1 of 1 volumes are missing or incomplete", slice_sample=0) as recording:
        assert values_of(recording) == [[1, 5, 9]]
        assert recording.get_missing_samples().size == 0
    with pytest.raises(TruncatedRecordingError, match="no volume has all planes of slice_sample=1"):
        ScanImageImagingExtractor(path, slice_sample=1)
    with opened(path, "left out, except for repeats with all planes", interleave_slice_samples=True) as recording:
        assert values_of(recording) == [[1, 5, 9], [3, 7, 11], [4, 8, 12]]
        np.testing.assert_array_equal(recording.get_missing_samples(), [1])
        np.testing.assert_allclose(recording.get_timestamps(), [0.8, 1.0, 1.1])


def test_each_acquisition_of_a_loop_begins_a_volume(write: Make, tmp_path: Path) -> None:
    loop: dict[str, str | None] = {"SI.acqState": "'loop'", **stack(3, 1)}
    write("t_00001.tif", [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], loop)
    write("t_00002.tif", [1, 2, 3, 4], [11, 12, 13, 14], loop, acquisition=2)
    with opened(tmp_path / "t_00001.tif", "1 of 3 volumes are missing") as recording:
        assert values_of(recording) == [[1, 2, 3], [11, 12, 13]]


def test_totals_of_the_header_that_the_files_do_not_reach_or_exceed_are_a_warning(write: Make) -> None:
    numbers = list(range(1, 25))
    with opened(
        write("few.tif", numbers, numbers, stack(3, 1, actualNumVolumes="100")),
        "states 100 volumes, but the files end after 6",
    ) as recording:
        assert len(recording) == 6
        assert recording.get_missing_samples().size == 0
    path = write("many.tif", numbers, numbers, stack(3, 1, actualNumVolumes="5"))
    with opened(path, "states 5 volumes, but the files contain 6") as recording:
        assert len(recording) == 6
    full = {**SPLIT, "SI.hStackManager.framesPerSlice": "20"}
    path = write("m_00001.tif", range(1, 6), range(1, 6), full)
    with opened([path], "states 20 frames, but the files end after 5") as recording:
        assert len(recording) == 5


def test_flyback_that_the_file_lacks_is_found_by_the_totals_or_the_times_or_asked_for(
    write: Make, tmp_path: Path
) -> None:
    numbers, whole = list(range(1, 31)), [[3 * v + p + 1 for p in range(3)] for v in range(10)]
    path = write("total.tif", numbers, numbers, stack(3, 1, actualNumVolumes="10"))
    with opened(path, "exactly 10 volumes without them") as recording:
        assert values_of(recording) == whole
    path = write("unknown.tif", numbers, numbers, stack(3, 1))
    messages = "the last volume is not complete", "contains no flyback: pass flyback_frames=0"
    opened(path, *messages).close()
    with opened(path, flyback_frames=0) as recording:
        assert values_of(recording) == whole


def test_flyback_that_the_times_show_was_not_saved_is_not_left_out(
    write_bigtiff: Make, header_text: Make, tmp_path: Path
) -> None:
    numbers = range(1, 31)
    texts = [text(n).replace(f"{(n - 1) * 0.1:.9f}", f"{(n - 1 + (n - 1) // 3) * 0.1:.9f}") for n in numbers]
    frames = np.stack([np.full((4, 6), n, "<i2") for n in numbers])
    path = write_bigtiff(tmp_path / "t.tif", header_text(stack(3, 1)), texts, frames)
    with opened(path) as recording:
        assert values_of(recording) == [[3 * v + p + 1 for p in range(3)] for v in range(10)]
        assert any("the times show that they are not in the file" in note for note in recording.get_notes())


def test_averaging_that_contradicts_the_numbers_is_a_warning(write: Make) -> None:
    numbers = list(range(1, 81, 4))
    rate = {"SI.hRoiManager.scanFrameRate": "10"}
    with opened(write("e.tif", numbers, numbers, rate), "the frame numbers increase by 4") as recording:
        assert values_of(recording) == numbers
        assert recording.get_sampling_frequency() == 2.5
        assert recording.get_missing_samples().size == 0
    path = write("f.tif", range(1, 21), range(1, 21), rate | {"SI.hScan2D.logAverageFactor": "4"})
    with opened(path, "increase by 1: none were averaged") as recording:
        assert recording.get_sampling_frequency() == 10
    path = write("g.tif", range(1, 21), range(1, 21), rate | {"SI.hScan2D.logAverageFactor": "4"}, period=0.4)
    with opened(path) as recording:  # saved frames were numbered, and the times show the averaging
        assert recording.get_sampling_frequency() == 2.5


def test_saved_channels_that_contradict_the_pages_are_a_warning(write: Make) -> None:
    both: dict[str, str | None] = {"SI.hChannels.channelSave": "[1;2]", "SI.hChannels.channelsActive": "[1;2]"}
    with opened(
        write("c.tif", range(1, 41), range(1, 41), both), "the names of the channels are not certain"
    ) as recording:
        assert len(recording) == 40
    twice = [n for n in range(1, 21) for _ in range(2)]
    path = write("d.tif", twice, range(40))
    with pytest.raises(StreamChoiceError, match="'Channel 1' and 'Channel 2'"):
        ScanImageImagingExtractor(path)
    with opened(path, "the names of the channels are not certain", channel=2) as recording:
        assert values_of(recording) == list(range(1, 40, 2))


def test_pages_without_a_number_or_with_an_absurd_one_are_left_out(write: Make) -> None:
    numbers = [*range(1, 100), 10**15]
    with opened(write("n.tif", numbers, range(100)), "1 page states no frame number or an impossible one") as recording:
        assert values_of(recording) == list(range(99))
    numbers = [*range(1, 51), 10**15, *range(53, 101)]
    messages = "2 of 100 frames are missing", "1 page states no frame number or an impossible one"
    with opened(write("n.tif", numbers, numbers[:50] + [0] + numbers[51:]), *messages) as recording:
        assert values_of(recording) == [*range(1, 51), *range(53, 101)]
        np.testing.assert_array_equal(recording.get_missing_samples(), [50, 51])


def test_a_disk_that_was_full_leaves_the_whole_volumes(write: Make) -> None:
    path = write("full.tif", range(1, 25), range(1, 25), stack(3, 1))
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) * 17 // 24])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recording = ScanImageImagingExtractor(path)
    assert any(issubclass(one.category, IncompleteRecordingWarning) for one in caught)
    assert values_of(recording) == [[4 * v + p + 1 for p in range(3)] for v in range(4)]
    recording.close()


def test_a_truncated_file_in_the_middle_is_a_gap_in_the_times(write: Make, tmp_path: Path) -> None:
    for k in range(3):
        numbers = list(range(5 * k + 1, 5 * k + 6))
        path = write(f"m_00001_{k + 1:05d}.tif", numbers, numbers, SPLIT)
        if k == 1:
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    with opened(tmp_path / "m_00001_00001.tif", "m_00001_00002.tif", "2 of 15 frames are missing") as recording:
        assert values_of(recording) == [*range(1, 9), *range(11, 16)]
        np.testing.assert_array_equal(recording.get_missing_samples(), [8, 9])
        np.testing.assert_allclose(recording.get_timestamps()[[7, 8]], [0.7, 1.0])


def test_a_file_without_a_whole_page_is_left_out_of_its_sequence(write: Make, tmp_path: Path) -> None:
    for k in range(3):
        numbers = list(range(5 * k + 1, 5 * k + 6))
        path = write(f"m_00001_{k + 1:05d}.tif", numbers, numbers, SPLIT)
        if k == 1:
            raw = path.read_bytes()
            path.write_bytes(raw[: raw.index(b"frameNumbers = 6") + 300])
    messages = "m_00001_00002.tif is damaged and left out", "5 of 15 frames are missing"
    with opened(tmp_path / "m_00001_00001.tif", *messages) as recording:
        assert values_of(recording) == [*range(1, 6), *range(11, 16)]


def test_volumes_whose_pages_state_no_numbers_say_that_a_lost_page_shifts_them(
    write_bigtiff: Make, header_text: Make, tmp_path: Path
) -> None:
    frames = np.stack([np.full((4, 6), k, "<i2") for k in range(11)])
    path = write_bigtiff(tmp_path / "v.tif", header_text(stack(3)), [""] * 11, frames)
    with opened(path, "if a page before it was lost, all pages after that are assigned wrongly") as recording:
        assert values_of(recording) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_a_clock_that_stands_still_falls_back_to_the_rate(write: Make) -> None:
    with opened(write("z.tif", range(1, 31), range(30), period=0.0)) as recording:
        assert recording.get_native_timestamps() is None
        assert recording.get_sampling_frequency() == 30.5
        assert "all pages state the same time: times are computed from the rate" in recording.get_notes()


def test_times_that_run_backwards_are_warned_about_when_they_are_read(
    tmp_path: Path, write_bigtiff: Make, header_text: Make
) -> None:
    texts = [re.sub("(?<=sec = )[0-9.]+", f"{k % 4 / 10}", text(k + 1)) for k in range(8)]
    path = write_bigtiff(tmp_path / "r.tif", header_text(), texts, np.zeros((8, 4, 6), "<i2"))
    with opened(path) as recording:
        with pytest.warns(RoiExtractorsWarning, match="do not increase at 1 place, the first after sample 3"):
            times = recording.get_timestamps()
        np.testing.assert_allclose(times, [0.0, 0.1, 0.2, 0.3] * 2)
        recording.get_timestamps(2, 6)  # the same is not said twice
        assert "do not increase" in recording.get_notes()[-1]


def test_a_channel_that_is_lost_from_one_of_the_first_frames_does_not_hide_how_many_there_are(write: Make) -> None:
    numbers = [n for n in range(1, 21) for _ in range(2)]
    values = list(range(40))
    del numbers[5], values[5]
    changes: dict[str, str | None] = {"SI.hChannels.channelsActive": "[1;2]"}
    messages = "1 of 20 frames are missing", "1 frame lacks the pages of some channels"
    with opened(write("c.tif", numbers, values, changes), *messages, channel=2) as recording:
        assert values_of(recording) == [k for k in range(1, 40, 2) if k != 5]


def test_a_long_recording_is_not_read_page_by_page(
    write_bigtiff: Make, header_text: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [*range(1, 20_001), *range(20_011, 30_001)]
    frames = np.zeros((len(numbers), 4, 6), "<i2")
    path = write_bigtiff(tmp_path / "long.tif", header_text(), [text(n) for n in numbers], frames)
    from roiextractors_tiff.pages import PageIndex

    asked: list[int] = []
    descriptions = PageIndex.descriptions

    def counted(self: Any, pages: Any) -> list[bytes]:
        asked.append(len(pages))
        return descriptions(self, pages)

    monkeypatch.setattr(PageIndex, "descriptions", counted)
    started = time.process_time()
    with opened(path, "10 of 30,000 frames are missing") as recording:
        assert len(recording) == 29_990
    assert sum(asked) < 200
    assert time.process_time() - started < 5


def test_warnings_of_contradictions_are_of_their_own_category(write: Make) -> None:
    path = write("many.tif", range(1, 25), range(1, 25), stack(3, 1, actualNumVolumes="5"))
    with pytest.warns(RoiExtractorsWarning) as caught:
        ScanImageImagingExtractor(path).close()
    assert [one.category for one in caught] == [RoiExtractorsWarning]


def test_a_number_of_planes_that_contradicts_the_depths_is_a_warning(write: Make) -> None:
    numbers = list(range(1, 25))
    header = stack(4, 0, zs="[0 20 40]")
    with opened(write("m.tif", numbers, numbers, header), "states 4 planes, but lists 3 depths") as recording:
        assert recording.shape[0] == 6
    with opened(write("n.tif", numbers, numbers, stack(3, 1, zs="[0 20 40]"))) as recording:
        assert recording.metadata.plane_positions == (0.0, 20.0, 40.0)

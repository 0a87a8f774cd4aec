"""The extractor on files whose every pixel is known by arithmetic."""

from __future__ import annotations

import pickle
import time
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_scanimage.extractor import ScanImageImagingExtractor

from roiextractors_core.errors import (
    ChoiceError,
    ClosedRecordingError,
    CorruptRecordingError,
    IncompleteRecordingWarning,
    RangeError,
    RoiExtractorsWarning,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)

Make = Callable[..., Any]


def pages_of(block: np.ndarray) -> np.ndarray:
    """The page that each frame came from: frames are numbered in hundreds."""
    return block[..., 0, 0] // 100 if block.ndim == 3 else block[:, 0, 0, :] // 100


@pytest.fixture
def make(
    tmp_path: Path, write_bigtiff: Make, header_text: Make, page_texts: Make, numbered_frames: Make
) -> Callable[..., Path]:
    """Write one file: a modern header with some changes, and numbered pages."""

    def written(
        num_pages: int, changes: dict[str, str | None] | None = None, *, channels: int = 1, **options: Any
    ) -> Path:
        path = tmp_path / options.pop("name", "movie.tif")
        texts = options.pop("texts", None) or page_texts(
            num_pages, channels=channels, first=options.pop("first", 1), step=options.pop("step", 1)
        )
        frames = options.pop("frames", None)
        frames = numbered_frames(num_pages) if frames is None else frames
        return Path(write_bigtiff(path, header_text(changes), texts, frames, **options))

    return written


def volumes(
    planes: int, repeats: int = 1, flyback: int = 0, channels: int = 1, changes: dict[str, str | None] | None = None
) -> dict[str, str | None]:
    """The keys of a stack."""
    kept = planes * repeats
    zs = " ".join(str(10 + 5 * plane) for plane in range(planes) for _ in range(repeats))
    saved = " ".join(str(n) for n in range(1, channels + 1))
    return {
        "SI.hStackManager.enable": "true",
        "SI.hStackManager.actualNumSlices": str(planes),
        "SI.hStackManager.numSlices": str(planes),
        "SI.hStackManager.framesPerSlice": str(repeats),
        "SI.hStackManager.numFramesPerVolume": str(kept),
        "SI.hStackManager.numFramesPerVolumeWithFlyback": str(kept + flyback),
        "SI.hStackManager.zs": f"[{zs}]",
        "SI.hRoiManager.scanVolumeRate": "2.5",
        "SI.hChannels.channelSave": f"[{saved}]",
        "SI.hChannels.channelsActive": f"[{saved}]",
        **(changes or {}),
    }


def test_a_movie_gives_its_pages_in_order(make: Make, numbered_frames: Make) -> None:
    with ScanImageImagingExtractor(make(7)) as recording:
        assert recording.shape == (7, 4, 6)
        assert not recording.is_volumetric
        assert recording.get_sampling_frequency() == recording.frame_rate == 30.5
        assert recording.volume_rate is None
        np.testing.assert_array_equal(recording.get_series(), numbered_frames(7))
        np.testing.assert_array_equal(recording.get_series(2, 5), numbered_frames(7)[2:5])
        np.testing.assert_array_equal(recording[5:1:-2, 1:3, ::2], numbered_frames(7)[5:1:-2, 1:3, ::2])
        assert recording.get_series(3, 3).shape == (0, 4, 6)
        np.testing.assert_allclose(recording.get_timestamps(), np.arange(7) * 0.1)
        np.testing.assert_allclose(recording.get_timestamps(2, 4), [0.2, 0.3])
        assert recording.times_source == "native"
        with pytest.raises(RangeError, match="there are 7 samples"):
            recording.get_series(0, 8)
        with pytest.raises(RangeError, match="there are 7 samples"):
            recording.get_native_timestamps(0, 8)
    with pytest.raises(ClosedRecordingError, match="open it again"):
        recording.get_series()


def test_a_users_rate_wins(make: Make) -> None:
    with ScanImageImagingExtractor(make(3), sampling_frequency=9.0) as recording:
        assert recording.get_sampling_frequency() == 9.0


def test_the_header_tells_start_and_pixel_size(make: Make) -> None:
    with ScanImageImagingExtractor(make(3)) as recording:
        assert recording.metadata.start_time == datetime(2024, 3, 21, 9, 5, 7, 250_000)
        assert recording.metadata.pixel_size == (8 / 4, 24 / 6)
        assert recording.metadata.device == "ScanImage 2023.1.0"
        assert recording.metadata.plane_positions == ()
        assert recording.metadata.vendor["SI.hRoiManager.scanFrameRate"] == 30.5


def test_channels_are_interleaved_and_chosen_by_name_or_number(make: Make) -> None:
    path = make(10, {"SI.hChannels.channelSave": "[1;3]", "SI.hChannels.channelsActive": "[1;3]"}, channels=2)
    assert ScanImageImagingExtractor.get_streams(path) == {"channel": ("Channel 1", "Channel 3")}
    with pytest.raises(StreamChoiceError, match="has the channels 'Channel 1' and 'Channel 3'; choose one") as caught:
        ScanImageImagingExtractor(path)
    assert (caught.value.option, caught.value.choices) == ("channel", ("Channel 1", "Channel 3"))
    with pytest.raises(StreamChoiceError, match=", not 2; choose one"):
        ScanImageImagingExtractor(path, channel=2)
    for wanted in ("Channel 3", 3, "3"):
        with ScanImageImagingExtractor(path, channel=wanted) as recording:
            np.testing.assert_array_equal(pages_of(recording.get_series()), [1, 3, 5, 7, 9])
            np.testing.assert_array_equal(pages_of(recording.get_samples([4, 0, 4])), [9, 1, 9])
            np.testing.assert_allclose(recording.get_timestamps(), np.arange(5) * 0.1)
            assert [channel.name for channel in recording.metadata.channels] == ["Channel 3"]
            assert recording.get_notes() == ()


def test_the_fields_names_of_the_options_mean_the_same(make: Make) -> None:
    path = make(12, volumes(3, channels=2), channels=2)
    with ScanImageImagingExtractor(path, channel_name="Channel 2", plane_index=1) as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [3, 9])
    with ScanImageImagingExtractor(file_paths=[path], channel="Channel 2", channel_name="Channel 2") as recording:
        assert recording.shape == (2, 4, 6, 3)
    with pytest.raises(ChoiceError, match="channel='Channel 1' and channel_name='Channel 2' mean the same but differ"):
        ScanImageImagingExtractor(path, channel="Channel 1", channel_name="Channel 2")
    with pytest.raises(ChoiceError, match="no file was given"):
        ScanImageImagingExtractor()


def test_volumes_of_two_channels_repeats_and_flyback_come_apart_right(make: Make) -> None:
    # a volume: 3 planes x 2 repeats + 2 flyback = 8 frames = 16 pages; 3 volumes
    path = make(48, volumes(3, 2, 2, 2), channels=2)
    assert ScanImageImagingExtractor.get_streams(path) == {
        "channel": ("Channel 1", "Channel 2"),
        "slice_sample": ("0", "1"),
    }
    with ScanImageImagingExtractor(path, channel="Channel 2", slice_sample=1) as recording:
        assert recording.shape == (3, 4, 6, 3)
        # frames of the second repeat: 1, 3, 5 of each volume; page = frame * 2 + 1
        wanted = np.array([[3, 7, 11], [19, 23, 27], [35, 39, 43]])
        np.testing.assert_array_equal(pages_of(recording.get_series()), wanted)
        np.testing.assert_array_equal(pages_of(recording.get_series(1, 2)), wanted[1:2])
        np.testing.assert_array_equal(pages_of(recording.get_samples([2, 0])), wanted[[2, 0]])
        np.testing.assert_array_equal(recording[1, 2, 3, :], wanted[1] * 100 + 2 * 6 + 3)
        np.testing.assert_array_equal(recording[:, 1:3, 0, 2], wanted[:, 2, None] * 100 + np.array([6, 12]))
        np.testing.assert_allclose(recording.get_timestamps(), [0.5, 1.3, 2.1])  # frames 5, 13, 21 at 0.1 s
        np.testing.assert_array_equal(recording.get_original_frame_indices(), [11, 27, 43])
        np.testing.assert_array_equal(recording.get_original_frame_indices(0), [3, 19, 35])
        assert recording.get_sampling_frequency() == recording.volume_rate == 2.5
        assert recording.frame_rate == 30.5
        assert recording.metadata.plane_positions == (10.0, 15.0, 20.0)
        assert recording.metadata.plane_spacing == 5.0
    with ScanImageImagingExtractor(path, channel="Channel 1", interleave_slice_samples=True) as recording:
        assert recording.shape == (6, 4, 6, 3)
        wanted = np.array([[0, 4, 8], [2, 6, 10], [16, 20, 24], [18, 22, 26], [32, 36, 40], [34, 38, 42]])
        np.testing.assert_array_equal(pages_of(recording.get_series()), wanted)
        np.testing.assert_array_equal(pages_of(recording.get_series(1, 4)), wanted[1:4])
        np.testing.assert_allclose(recording.get_timestamps(), [0.4, 0.5, 1.2, 1.3, 2.0, 2.1])
        assert recording.get_sampling_frequency() == 2.5
    with ScanImageImagingExtractor(path, channel=1, slice_sample=0, plane=2) as recording:
        assert recording.shape == (3, 4, 6)
        np.testing.assert_array_equal(pages_of(recording.get_series()), [8, 24, 40])
        assert recording.metadata.plane_positions == (20.0,)


def test_several_frames_of_a_plane_ask_which(make: Make) -> None:
    path = make(12, volumes(3, 2))
    with pytest.raises(
        StreamChoiceError, match=r"slice_sample=0.* slice_sample=1.*interleave_slice_samples=True"
    ) as caught:
        ScanImageImagingExtractor(path)
    assert (caught.value.option, caught.value.choices) == ("slice_sample", ("0", "1"))
    with pytest.raises(StreamChoiceError, match="has the slice_samples '0' and '1', not 2"):
        ScanImageImagingExtractor(path, slice_sample=2)
    with pytest.raises(StreamChoiceError, match="has the planes '0', '1' and '2', not -1"):
        ScanImageImagingExtractor(path, slice_sample=0, plane=-1)


def test_a_reading_of_a_few_planes_reads_no_other_page(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScanImageImagingExtractor(make(40, volumes(4, flyback=1))) as recording:
        index = recording._files.index
        asked: list[int] = []
        read = type(index).read

        def watched(self: Any, pages: Any, *rest: Any, **more: Any) -> np.ndarray:
            asked.extend(int(page) for page in pages)
            return np.asarray(read(self, pages, *rest, **more))

        monkeypatch.setattr(type(index), "read", watched)
        assert recording[2:4, :, :, 1].shape == (2, 4, 6)
        assert asked == [11, 16]


def test_an_incomplete_last_volume_is_left_out_and_reported(make: Make) -> None:
    path = make(13, volumes(3, flyback=2))
    sentence = "the last volume is not complete: 3 of its 5 pages are in the file, and it is left out"
    with ScanImageImagingExtractor(path) as recording:
        assert recording.shape == (3, 4, 6, 3)  # the third volume lacks its flyback alone: it is complete
        assert recording.get_notes() == ()
    path = make(12, volumes(3, flyback=2))
    with (
        pytest.warns(IncompleteRecordingWarning, match=sentence.replace("3 of", "2 of")),
        pytest.warns(RoiExtractorsWarning, match=r"12 frames are not a whole number of such volumes.*flyback_frames=0"),
    ):
        recording = ScanImageImagingExtractor(path)
    assert recording.shape == (2, 4, 6, 3)
    assert recording.get_notes()[0] == sentence.replace("3 of", "2 of")
    assert len(recording.get_notes()) == 2
    np.testing.assert_array_equal(recording.get_missing_samples(), [2])
    recording.close()


def test_an_incomplete_last_frame_is_left_out_and_reported(make: Make) -> None:
    path = make(7, {"SI.hChannels.channelSave": "[1 2]"}, channels=2)
    with pytest.warns(
        IncompleteRecordingWarning, match="the last frame is not complete: 1 of its 2 channels are in the file"
    ):
        recording = ScanImageImagingExtractor(path, channel=1)
    assert recording.shape == (3, 4, 6)
    recording.close()


def test_less_than_one_volume_is_an_error_that_says_how_much_is_needed(make: Make) -> None:
    with pytest.raises(
        TruncatedRecordingError, match=r"contains 4 pages, but one volume takes 5 \(1 channel x 1 frame of each"
    ):
        ScanImageImagingExtractor(make(4, volumes(5)))


@pytest.mark.parametrize("stated", ["Inf", "54000", "6.00111e+06"])
def test_endless_frames_of_a_plane_are_a_movie(make: Make, stated: str) -> None:
    changes = volumes(3)
    changes |= {
        "SI.hStackManager.framesPerSlice": stated,
        "SI.hStackManager.stackMode": "'slow'",
        "SI.hStackManager.numFramesPerVolume": None,
        "SI.hStackManager.numFramesPerVolumeWithFlyback": None,
    }
    with ScanImageImagingExtractor(make(7, changes, name="plain.tif")) as recording:
        assert recording.shape == (7, 4, 6)
        assert recording.get_sampling_frequency() == 30.5
        assert any("are read as a movie" in note for note in recording.get_notes())


def test_a_stack_that_is_off_is_a_movie_whatever_its_stale_numbers(make: Make) -> None:
    changes = volumes(41, changes={"SI.hStackManager.enable": "false", "SI.hStackManager.framesPerSlice": "Inf"})
    with ScanImageImagingExtractor(make(7, changes)) as recording:
        assert recording.shape == (7, 4, 6)
        assert recording.get_notes() == ()


def test_a_stack_of_arbitrary_planes_is_counted_by_its_actual_planes(make: Make) -> None:
    changes = volumes(
        3, flyback=1, changes={"SI.hStackManager.numSlices": "1", "SI.hStackManager.stackDefinition": "'arbitrary'"}
    )
    with ScanImageImagingExtractor(make(12, changes)) as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [[0, 1, 2], [4, 5, 6], [8, 9, 10]])


def test_2016_says_by_other_keys_that_there_is_a_stack(make: Make) -> None:
    removed = dict.fromkeys(
        (
            "SI.hStackManager.enable",
            "SI.hStackManager.actualNumSlices",
            "SI.hStackManager.stackMode",
            "SI.hStackManager.numFramesPerVolume",
            "SI.hStackManager.numFramesPerVolumeWithFlyback",
        )
    )
    fast = {
        "SI.hFastZ.enable": "true",
        "SI.hFastZ.numFramesPerVolume": "5",
        "SI.hFastZ.discardFlybackFrames": "true",
        "SI.hFastZ.numDiscardFlybackFrames": "2",
        "SI.hStackManager.numSlices": "3",
        "SI.hStackManager.framesPerSlice": "1000",
        "SI.VERSION_MAJOR": "'2016'",
    }
    with ScanImageImagingExtractor(make(10, {**removed, **fast})) as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [[0, 1, 2], [5, 6, 7]])
        assert recording.metadata.device == "ScanImage 2016.1.0"
    with ScanImageImagingExtractor(make(10, {**removed, "SI.hStackManager.framesPerSlice": "Inf"})) as recording:
        assert recording.shape == (10, 4, 6)
    slow = {"SI.hStackManager.numSlices": "5", "SI.hStackManager.framesPerSlice": "1"}
    with ScanImageImagingExtractor(make(10, {**removed, **slow})) as recording:
        assert recording.shape == (2, 4, 6, 5)


def test_a_single_plane_with_flyback_leaves_the_flyback_out(make: Make) -> None:
    with ScanImageImagingExtractor(make(11, volumes(1, 3, 1))) as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [0, 1, 2, 4, 5, 6, 8, 9, 10])
        np.testing.assert_array_equal(pages_of(recording.get_series(2, 5)), [2, 4, 5])
        np.testing.assert_allclose(recording.get_timestamps(3, 5), [0.4, 0.5])
        assert recording.get_sampling_frequency() == 30.5


def test_averaging_divides_the_frame_rate_and_the_pages(make: Make) -> None:
    with ScanImageImagingExtractor(make(6, {"SI.hScan2D.logAverageFactor": "4"}, step=4, first=4)) as recording:
        assert recording.get_sampling_frequency() == 30.5 / 4
        assert recording.shape == (6, 4, 6)
        assert recording.get_notes() == ()
    changes = volumes(3, 400, changes={"SI.hScan2D.logAverageFactor": "400", "SI.hStackManager.stackMode": "'slow'"})
    with ScanImageImagingExtractor(make(6, changes, step=400, first=400, name="stack.tif")) as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [[0, 1, 2], [3, 4, 5]])


def test_averaging_that_the_frame_numbers_do_not_show_did_not_happen(make: Make) -> None:
    path = make(6, {"SI.hScan2D.logAverageFactor": "4"})
    with pytest.warns(RoiExtractorsWarning, match="none were"):
        recording = ScanImageImagingExtractor(path)
    with recording:
        assert recording.get_sampling_frequency() == 30.5
        assert recording.get_notes() == (
            "the header says that every 4 frames were averaged, but the frame numbers increase by 1: none were averaged",
        )


def test_averaging_over_planes_is_refused(make: Make) -> None:
    changes = volumes(2, 2, 1, changes={"SI.hScan2D.logAverageFactor": "2"})
    with pytest.raises(UnsupportedRecordingError, match=r"averaged every 2 frames .* so a page mixes planes"):
        ScanImageImagingExtractor(make(10, changes, step=2, first=2))


def test_the_pages_decide_how_many_channels_there_are(make: Make) -> None:
    path = make(6, {"SI.hChannels.channelsActive": "[2;3]"}, channels=2)
    with ScanImageImagingExtractor(path, channel="Channel 3") as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [1, 3, 5])
        assert "each frame number occurs on 2 pages" in recording.get_notes()[0]
    path = make(6, {"SI.hChannels.channelSave": "[2 4]"})
    with pytest.warns(RoiExtractorsWarning, match="the names of the channels are not certain"):
        recording = ScanImageImagingExtractor(path, channel="Channel 2")
    with recording:
        assert recording.shape == (6, 4, 6)
        assert "each frame number occurs on 1 page: 1 is read" in recording.get_notes()[0]


def test_descriptions_that_are_all_copies_of_the_first_decide_nothing(make: Make, page_texts: Make) -> None:
    path = make(60, {"SI.hChannels.channelSave": "[1 2]"}, texts=page_texts(1) * 60)
    with pytest.warns(RoiExtractorsWarning, match="all pages state the frame number 1"):
        recording = ScanImageImagingExtractor(path, channel=2)
    with recording:
        assert recording.shape == (30, 4, 6)
        assert recording.get_native_timestamps() is None


def test_lost_frames_are_noted(make: Make, page_texts: Make) -> None:
    texts = page_texts(5) + page_texts(5, first=9)
    with pytest.warns(IncompleteRecordingWarning, match=r"3 of 13 frames are missing .*the first is frame 5, counted"):
        recording = ScanImageImagingExtractor(make(10, texts=texts))
    with recording:
        assert any("3 of 13 frames are missing" in note for note in recording.get_notes())
        np.testing.assert_array_equal(recording.get_missing_samples(), [5, 6, 7])
        np.testing.assert_allclose(recording.get_timestamps(), np.array([0, 1, 2, 3, 4, 8, 9, 10, 11, 12]) * 0.1)


def test_a_file_without_the_block_before_the_first_page_is_read_by_its_tags(make: Make) -> None:
    path = make(12, volumes(3), static=False, regions='{"RoiGroups": {"imagingRoiGroup": {"rois": []}}}')
    with ScanImageImagingExtractor(path) as recording:
        assert recording.shape == (4, 4, 6, 3)
        assert recording.metadata.vendor["RoiGroups"] == {"imagingRoiGroup": {"rois": []}}


def test_a_file_that_lost_its_header_is_a_movie_by_its_frame_numbers(make: Make) -> None:
    path = make(8, channels=2, static=False)
    raw = path.read_bytes()
    start = raw.index(b"SI.LINE_FORMAT_VERSION")
    stop = raw.index(b"\0", start)
    path.write_bytes(raw[:start] + b"x" * (stop - start) + raw[stop:])
    with ScanImageImagingExtractor(path, channel="Channel 2") as recording:
        np.testing.assert_array_equal(pages_of(recording.get_series()), [1, 3, 5, 7])
        assert recording.get_sampling_frequency() == pytest.approx(10.0)  # by the times
        np.testing.assert_allclose(recording.get_timestamps(), [0.0, 0.1, 0.2, 0.3])


def test_a_tiff_that_is_not_scanimages_is_refused(tmp_path: Path, write_classic: Make, numbered_frames: Make) -> None:
    path = write_classic(tmp_path / "plain.tif", ["ImageJ=1.53t\nimages=2\n"] * 2, numbered_frames(2))
    with pytest.raises(UnsupportedRecordingError, match=r"plain\.tif has no ScanImage header.*format='tiff'"):
        ScanImageImagingExtractor(path)


def test_a_page_without_a_time_is_named(make: Make, page_texts: Make) -> None:
    texts = page_texts(6)
    texts[4] = texts[4].replace("frameTimestamps_sec", "frameTimestamps")
    with ScanImageImagingExtractor(make(6, texts=texts)) as recording:
        np.testing.assert_allclose(recording.get_native_timestamps(0, 4), [0.0, 0.1, 0.2, 0.3])
        with pytest.raises(CorruptRecordingError, match=r"page 4 of movie\.tif states no time"):
            recording.get_native_timestamps()


def test_a_cut_file_opens_without_its_last_page(make: Make) -> None:
    path = make(6)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.warns(IncompleteRecordingWarning, match=r"movie\.tif"):
        recording = ScanImageImagingExtractor(path)
    assert recording.shape == (5, 4, 6)
    np.testing.assert_array_equal(pages_of(recording.get_series()), range(5))
    recording.close()


def test_a_pickled_recording_opens_again_without_pixels(make: Make) -> None:
    path = make(12, volumes(3))
    with ScanImageImagingExtractor(path) as recording:
        packed = pickle.dumps(recording)
        assert len(packed) < 3000
        with pickle.loads(packed) as again:
            assert type(again) is ScanImageImagingExtractor
            np.testing.assert_array_equal(again.get_series(), recording.get_series())
            np.testing.assert_array_equal(again.get_timestamps(), recording.get_timestamps())


def test_views_keep_data_and_clock(make: Make) -> None:
    with ScanImageImagingExtractor(make(15, volumes(3, flyback=2))) as recording:
        view = recording.slice_samples(1, 3).slice_field_of_view(row_start=1, row_end=3)
        np.testing.assert_array_equal(view.get_series(), recording.get_series()[1:3, 1:3])
        np.testing.assert_allclose(view.get_timestamps(), [0.7, 1.2])
        np.testing.assert_array_equal(recording.select_plane(1).get_series(), recording.get_series()[..., 1])


@pytest.mark.thorough
def test_frame_66000_is_frame_66000(make: Make) -> None:
    count = 70_000
    frames = np.zeros((count, 4, 4), "<i2")
    frames[:, 0, 0], frames[:, 0, 1] = np.divmod(np.arange(count), 30_000)
    path = make(count, frames=frames, padded=330)
    started = time.perf_counter()
    with ScanImageImagingExtractor(path) as recording:
        assert time.perf_counter() - started < 5
        assert len(recording) == count
        for wanted in (0, 65_535, 65_536, 66_000, count - 1):
            frame = recording.get_samples([wanted])[0].astype(np.int64)
            assert frame[0, 0] * 30_000 + frame[0, 1] == wanted
            np.testing.assert_allclose(recording.get_timestamps(wanted, wanted + 1), [wanted * 0.1])
        np.testing.assert_array_equal(recording.get_series(65_000, 67_000), frames[65_000:67_000])
        assert recording.get_original_frame_indices()[66_000] == 66_000
    changes = volumes(7)
    path = make(count, changes, frames=frames, padded=330, name="volumes.tif")
    with ScanImageImagingExtractor(path, plane=5) as recording:
        assert len(recording) == 10_000
        np.testing.assert_array_equal(recording.get_series(9_990, 10_000), frames[5::7][9_990:])


def test_opening_warns_of_nothing_that_is_in_order(make: Make) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ScanImageImagingExtractor(make(9, volumes(3))).close()

"""Recordings written as movies to look at: what is in the file, by FFmpeg, and how it opens again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from roiextractors_video.stamp import draw_stamp

import roiextractors_core as roi
from roiextractors_core.cli import main

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*for viewing, not for analysis:roiextractors_core.errors.RoiExtractorsWarning"
)


def luma(path: Path) -> np.ndarray:
    """The frames as FFmpeg decodes them, ``(frames, rows, columns)``, luma from 16 to 235."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        return np.stack(
            [frame.to_ndarray()[: frame.height, : frame.width] for frame in container.decode(stream)]
        ).astype(int)


def ramp(dtype: Any = np.uint16, samples: int = 6, rows: int = 256, columns: int = 240) -> np.ndarray:
    """Each row is brighter than the one above it, from 0 to 1000; smooth, so that the encoder loses little."""
    row = np.linspace(0, 1000, rows)[:, None]
    return np.broadcast_to(row, (samples, rows, columns)).astype(dtype)


def converted(data: np.ndarray, target: Path, *, rate: float | None = 20.0, **options: Any) -> Path:
    return roi.convert(roi.NumpyImagingExtractor(data, sampling_frequency=rate), target, **options)


def test_the_movie_opens_again_with_its_frames_and_rate_and_says_what_it_is_for(tmp_path: Path) -> None:
    with pytest.warns(roi.RoiExtractorsWarning, match=r"movie.mp4: for viewing, not for analysis: 8 bits.* 2.5 times"):
        path = converted(ramp(), tmp_path / "movie.mp4", speed=2.5)
    with roi.open(path) as movie:
        assert movie.shape == (6, 256, 240)
        assert movie.get_sampling_frequency() == pytest.approx(50)
        assert any("was made for viewing, not for analysis" in note for note in movie.provenance.notes)
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # browsers begin before all is loaded


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32, np.float64, np.complex64])
def test_the_given_contrast_is_drawn_from_black_to_white(tmp_path: Path, dtype: Any) -> None:
    found = luma(converted(ramp(dtype), tmp_path / "a.mp4", contrast=(250, 750), time_stamp=False))
    expected = 16 + 219 * np.clip((ramp(np.float64) - 250) / 500, 0, 1)
    assert np.abs(found - expected).max() <= 3  # what the encoder may change


def test_negative_values_are_ordered_like_all_others(tmp_path: Path) -> None:
    found = luma(converted(ramp(np.int16) - 500, tmp_path / "a.mp4", contrast=(-500, 500), time_stamp=False))
    assert np.all(np.diff(found[0, :, 0]) >= -2)
    assert (found[0, 2:].min() <= 19, found.max() >= 232) == (True, True)


def test_without_a_contrast_the_percentiles_of_some_frames_decide(tmp_path: Path) -> None:
    data = ramp(np.uint16, samples=200)
    data[:, 0, :3] = 60_000  # hot pixels would make everything else black
    found = luma(converted(data, tmp_path / "a.mp4", time_stamp=False))
    low, high = np.percentile(data[0], (1, 99.7))
    expected = 16 + 219 * np.clip((ramp(np.float64) - low) / (high - low), 0, 1)
    assert np.abs(found[100, 8:] - expected[0, 8:]).max() <= 4


def test_odd_sizes_are_completed_by_a_copy_of_the_last_pixels(tmp_path: Path) -> None:
    found = luma(converted(ramp(rows=251, columns=241), tmp_path / "a.mp4", contrast=(0, 1000), time_stamp=False))
    assert found.shape == (6, 252, 242)
    assert found[:, -1].min() >= 230
    np.testing.assert_allclose(found[:, :, -1], found[:, :, -2], atol=2)


def test_small_frames_are_enlarged_by_a_whole_number_and_large_ones_thinned_out(tmp_path: Path) -> None:
    data = np.zeros((3, 30, 50), np.uint8)
    data[:, 10, 20] = 200
    found = luma(converted(data, tmp_path / "a.mp4", contrast=(0, 200), time_stamp=False))
    assert found.shape == (3, 120, 200)
    assert (found[0, 40:44, 80:84] > 200).all()
    assert converted(np.zeros((2, 4, 5000), np.uint8), tmp_path / "b.mp4", time_stamp=False)
    assert luma(tmp_path / "b.mp4").shape == (2, 2, 2500)


def test_pixels_without_a_value_are_black_and_a_constant_movie_is_grey(tmp_path: Path) -> None:
    data = ramp(np.float32) + 500
    data[:, -64:] = np.nan
    found = luma(converted(data, tmp_path / "nan.mp4", time_stamp=False))
    assert found[:, -60:].max() <= 20
    assert found[:, 180:190].min() >= 220  # the finite ones have the whole range
    for name, value in (("flat", 7.0), ("none", np.nan)):
        path = converted(np.full((4, 240, 240), value, np.float32), tmp_path / f"{name}.mp4", time_stamp=False)
        assert len(np.unique(luma(path))) == 1
    bits = luma(converted(ramp() > 500, tmp_path / "bool.mp4", time_stamp=False))
    assert (bits[0, 4, 0] <= 19, bits[0, -4, 0] >= 232) == (True, True)


def test_planes_are_side_by_side_and_one_can_be_chosen(tmp_path: Path) -> None:
    data = np.zeros((3, 300, 300, 4), np.uint16) + np.array([0, 300, 600, 900], np.uint16)
    found = luma(converted(data, tmp_path / "all.mp4", contrast=(0, 900), time_stamp=False))
    assert found.shape == (3, 602, 602)
    corners = [found[1, row, column] for row in (100, 500) for column in (100, 500)]
    assert corners == pytest.approx([16, 89, 162, 235], abs=2)
    for plane in (2, "2"):  # the command line passes text
        path = converted(data, tmp_path / f"{plane!r}.mp4", contrast=(0, 900), time_stamp=False, plane=plane)
        one = luma(path)
        assert one.shape == (3, 300, 300)
        assert one[0, 9, 9] == pytest.approx(162, abs=2)


def test_a_stamp_is_drawn_in_white_on_a_dark_box() -> None:
    picture = np.full((60, 40), 200, np.uint8)
    draw_stamp(picture, "1-")
    assert set(np.unique(picture[:11, :15])) == {50, 255}
    rows = ["".join(".#"[int(pixel == 255)] for pixel in row) for row in picture[2:9, 2:13]]
    assert rows == [
        "..#........",
        ".##........",
        "..#........",
        "..#...#####",
        "..#........",
        "..#........",
        ".###.......",
    ]
    assert (picture[11:] == 200).all()
    tiny = np.full((8, 8), 200, np.uint8)
    draw_stamp(tiny, "1-")
    assert (tiny == 200).all()


def test_each_frame_has_the_time_of_its_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr("roiextractors_video.writer.draw_stamp", lambda picture, text, size: texts.append(text))
    recording = roi.NumpyImagingExtractor(ramp(samples=4), times=np.array([-0.024, 0.042, 0.109, 0.942]))
    roi.convert(recording, tmp_path / "a.mp4")
    assert texts == ["-0.024 s", "0.042 s", "0.109 s", "0.942 s"]
    texts.clear()
    recording.set_times(1.6e9 + np.arange(4))
    roi.convert(recording.slice_samples(1), tmp_path / "b.mp4")
    assert texts == ["0.0 s", "1.0 s", "2.0 s"]
    texts.clear()
    with pytest.warns(roi.RoiExtractorsWarning, match="10 frames a second because the rate is unknown"):
        converted(ramp(samples=2), tmp_path / "c.mp4", rate=None)
    assert texts == ["#0", "#1"]
    plain = luma(converted(ramp() * 0, tmp_path / "d.mp4", time_stamp=False))
    assert len(np.unique(plain)) == 1


def test_the_rate_of_a_recording_that_has_only_times_is_that_of_its_median_interval(tmp_path: Path) -> None:
    recording = roi.NumpyImagingExtractor(ramp(), times=np.array([0, 0.1, 0.2, 0.3, 5.0, 5.1]))
    with roi.open(roi.convert(recording, tmp_path / "a.mp4", speed=3)) as movie:
        assert movie.get_sampling_frequency() == pytest.approx(30)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speed": 0}, "speed must be a number above 0, got 0"),
        ({"speed": "fast"}, "speed must be a number above 0, got 'fast'"),
        ({"speed": 1e6}, "frames a second; choose a speed"),
        ({"contrast": (5, 5)}, "contrast must be two numbers, black before white"),
        ({"contrast": 7}, "contrast must be two numbers"),
        ({"plane": 1}, "the recording has no planes"),
    ],
)
def test_an_option_without_a_sensible_value_is_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(roi.DeclarationError, match=words):
        converted(ramp(), tmp_path / "a.mp4", **options)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept_and_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"mine")
    with pytest.raises(roi.SourceKindError, match="already exists"):
        converted(ramp(), tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == b"mine"

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        converted(ramp(), tmp_path / "b.mp4", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_progress_ends_with_all_bytes(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    data = ramp(np.float64, samples=100)
    converted(data, tmp_path / "a.mp4", progress=lambda done, total: calls.append((done, total)))
    assert len(calls) > 1
    assert calls[-1] == (data.nbytes, data.nbytes)


def test_the_command_line_passes_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("rec.npy", ramp())
    arguments = [
        "--write-option",
        "speed=4",
        "--write-option",
        "contrast=[0, 1000]",
        "--option",
        "sampling_frequency=10",
    ]
    monkeypatch.setattr("sys.argv", ["roiextractors", "convert", "rec.npy", "movie.mp4", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    with roi.open("movie.mp4") as movie:
        assert movie.get_sampling_frequency() == pytest.approx(40)


def test_a_real_recording_plays(tmp_path: Path, recordings: Path) -> None:
    with roi.open(recordings / "miniscope" / "C6-J588_Disc5" / "15_03_28") as recording:
        path = roi.convert(recording, tmp_path / "a.mp4", speed=0.5, time_stamp=False)
        with roi.open(path) as movie:
            assert movie.shape == recording.shape
            assert movie.get_sampling_frequency() == pytest.approx(recording.get_sampling_frequency() / 2)
            for index in range(5):
                assert np.corrcoef(movie[index].ravel(), recording[index].ravel())[0, 1] > 0.6

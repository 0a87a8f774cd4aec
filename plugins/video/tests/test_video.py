"""Videos of every kind: counts, depth, colour, clocks, damage."""

from __future__ import annotations

import itertools
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from roiextractors_video import coded
from roiextractors_video.coded import PacketDecoder
from roiextractors_video.frames import open_frames

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    SourceKindError,
    StreamChoiceError,
    UnsupportedRecordingError,
)

Make = Callable[..., Any]
CUT = pytest.mark.filterwarnings("ignore::roiextractors_core.errors.IncompleteRecordingWarning")


def payloads(frames: np.ndarray) -> list[bytes]:
    return [frame.tobytes() for frame in frames]


def decoded(path: Path, form: str) -> np.ndarray:
    """All pictures in the order in which FFmpeg gives them, by PyAV alone."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format=form) for frame in container.decode(video=0)])


def usual_grey(bgr: np.ndarray) -> np.ndarray:
    """The weights of ITU-R BT.601 in 15 bits, which OpenCV's BGR2GRAY has."""
    blue, green, red = (bgr[..., k].astype(np.int64) for k in range(3))
    return ((3735 * blue + 19235 * green + 9798 * red + 16384) >> 15).astype(np.uint8)


# Where the frames stand


@pytest.mark.parametrize("index", ["idx1", "absolute", "opendml", "none"])
@pytest.mark.parametrize("audio_first", [False, True])
def test_frames_are_found_by_each_kind_of_index_and_without(
    tmp_path: Path, write_avi: Make, noisy: Make, index: str, audio_first: bool
) -> None:
    frames = noisy(9, 7, 5)
    path = write_avi(tmp_path / "m.avi", payloads(frames), shape=(7, 5), index=index, audio_first=audio_first)
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames)
        told = recording.get_notes() == ("m.avi has no usable index; its frames were found chunk by chunk",)
        assert told is (index == "none")


def test_an_index_that_lies_is_not_believed(tmp_path: Path, write_avi: Make, noisy: Make) -> None:
    frames = noisy(5, 8, 8)
    path = write_avi(tmp_path / "m.avi", payloads(frames), shape=(8, 8))
    data = path.read_bytes()
    at = data.index(b"idx1") + 8
    path.write_bytes(data[: at + 24] + struct.pack("<I", 20) + data[at + 28 :])
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames)
        assert "found chunk by chunk" in recording.get_notes()[0]


def test_a_recording_that_was_never_closed_is_read(tmp_path: Path, write_avi: Make, noisy: Make) -> None:
    frames = noisy(5, 8, 8)
    path = write_avi(tmp_path / "m.avi", payloads(frames), shape=(8, 8), index="none", closed=False, claimed=0)
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames)


def test_many_riffs_make_one_recording(tmp_path: Path, write_avi: Make, noisy: Make) -> None:
    frames = noisy(10, 7, 5)
    for index in ("opendml", "idx1", "none"):
        path = write_avi(tmp_path / f"{index}.avi", payloads(frames), shape=(7, 5), index=index, riffs=4)
        with roi.open(path) as recording:
            np.testing.assert_array_equal(recording.get_series(), frames)


def test_places_without_a_picture_are_no_frames_and_keep_the_clock(
    tmp_path: Path, write_avi: Make, noisy: Make
) -> None:
    frames = noisy(4, 8, 8)
    places = [frames[0].tobytes(), b"", frames[1].tobytes(), b"", frames[2].tobytes(), b"", frames[3].tobytes(), b""]
    with roi.open(write_avi(tmp_path / "m.avi", places, shape=(8, 8))) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames)
        np.testing.assert_array_equal(recording.get_timestamps(), [0.0, 0.1, 0.2, 0.3])
        assert recording.get_sampling_frequency() == 10.0
        assert "m.avi lists 8 frames, but 4 of them are empty" in recording.get_notes()[0]


@pytest.mark.parametrize(
    ("codec", "dtype"), [(b"Y800", np.uint8), (b"GREY", np.uint8), (b"Y8  ", np.uint8), (b"Y16 ", np.uint16)]
)
def test_uncompressed_grey_is_read_as_it_stands(
    tmp_path: Path, write_avi: Make, noisy: Make, codec: bytes, dtype: Any
) -> None:
    frames = noisy(6, 9, 10, dtype)
    path = write_avi(tmp_path / "m.avi", payloads(frames), shape=(9, 10), codec=codec, bits=8 * frames.itemsize)
    with roi.open(path) as recording:
        assert recording.dtype == dtype
        np.testing.assert_array_equal(recording[::-1, 2:5, 3:], frames[::-1, 2:5, 3:])


def test_a_grey_palette_gives_its_greys(tmp_path: Path, write_avi: Make, noisy: Make) -> None:
    frames = noisy(3, 4, 8)
    inverted = np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 4).tobytes()
    bitmap = {"shape": (4, 8), "codec": bytes(4), "extra": inverted}
    with roi.open(write_avi(tmp_path / "m.avi", payloads(frames[:, ::-1]), **bitmap)) as recording:
        np.testing.assert_array_equal(recording.get_series(), 255 - frames)
    with roi.open(write_avi(tmp_path / "n.avi", payloads(frames), **bitmap, height_sign=-1)) as recording:
        np.testing.assert_array_equal(recording.get_series(), 255 - frames)


def test_uncompressed_colours_are_chosen_from(tmp_path: Path, write_avi: Make, noisy: Make) -> None:
    colours = np.stack([noisy(3, 5, 7, seed=seed) for seed in range(3)], axis=-1)
    rows = np.zeros((3, 5, 24), np.uint8)
    rows[..., :21] = colours[:, ::-1].reshape(3, 5, 21)
    path = write_avi(tmp_path / "m.avi", payloads(rows), shape=(5, 7), codec=bytes(4), bits=24)
    with pytest.raises(
        StreamChoiceError, match=r"m\.avi has the channels 'grey', 'red', 'green' and 'blue'; choose one"
    ):
        roi.open(path)
    for place, name in enumerate(("blue", "green", "red")):
        with roi.open(path, channel=name) as recording:
            np.testing.assert_array_equal(recording.get_series(), colours[..., place])
            assert [channel.name for channel in recording.metadata.channels] == [name]
    with roi.open(path, channel="grey") as recording:
        np.testing.assert_array_equal(recording.get_series(), usual_grey(colours))


# Codecs


@pytest.mark.parametrize("pixels", ["gray", "gray10le", "gray12le", "gray16le"])
@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_ffv1_keeps_every_depth(tmp_path: Path, encode: Make, noisy: Make, pixels: str, suffix: str) -> None:
    bits = 8 if pixels == "gray" else int(pixels[4:6])
    frames = noisy(13, 20, 30, np.uint8 if bits == 8 else np.uint16) >> (0 if bits in (8, 16) else 16 - bits)
    options = {"level": "3", "g": "5", "slices": "4", "slicecrc": "1"}
    path = encode(tmp_path / f"m{suffix}", frames, pixels=pixels, **options)
    with roi.open(path) as recording:
        assert recording.dtype == frames.dtype
        assert roi.streams(path) == {}
        np.testing.assert_array_equal(recording.get_series(), frames)
        np.testing.assert_array_equal(recording.get_samples([11, 3, 3, 12, 0]), frames[[11, 3, 3, 12, 0]])


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix"),
    [
        ("mjpeg", "yuvj420p", ".avi"),
        ("mjpeg", "yuvj444p", ".mov"),
        ("libx264", "yuv420p", ".mp4"),
        ("libx264", "yuv422p", ".mkv"),
        ("mpeg4", "yuv420p", ".avi"),
        ("mpeg2video", "yuv420p", ".mpg"),
        ("mpeg2video", "yuv420p", ".ts"),
        ("libvpx", "yuv420p", ".webm"),
        ("libvpx-vp9", "yuv420p", ".webm"),
        ("wmv2", "yuv420p", ".wmv"),
        ("huffyuv", "yuv422p", ".avi"),
        ("ffv1", "yuv420p", ".avi"),
        ("ffv1", "bgra", ".avi"),
    ],
)
def test_every_channel_is_what_ffmpeg_decodes_one_by_one(
    tmp_path: Path, encode: Make, codec: str, pixels: str, suffix: str
) -> None:
    rows, columns = np.mgrid[:48, :64]
    shifts = [
        np.stack([(rows * a + columns * b + 5 * k) % 256 for a, b in ((1, 2), (3, 1), (2, 2))], -1) for k in range(31)
    ]
    path = encode(
        tmp_path / f"m{suffix}", np.array(shifts, np.uint8), codec=codec, pixels=pixels, source="rgb24", g="9"
    )
    whole = decoded(path, "bgr24")
    for name, frames in {
        "grey": usual_grey(whole),
        "blue": whole[..., 0],
        "green": whole[..., 1],
        "red": whole[..., 2],
    }.items():
        with roi.open(path, channel=name) as recording:
            np.testing.assert_array_equal(recording.get_series(), frames)
            for k in (30, 0, 17, 16, 8, 9):
                np.testing.assert_array_equal(recording[k, 5:40], frames[k, 5:40])


def test_luma_is_given_as_stored(tmp_path: Path, encode: Make, noisy: Make) -> None:
    path = encode(tmp_path / "m.mkv", noisy(5, 16, 16), pixels="yuv420p", source="gray", g="1")
    with av.open(str(path)) as container:
        stored = [np.asarray(frame.planes[0]).reshape(16, -1)[:, :16] for frame in container.decode(video=0)]
    with roi.open(path, channel="luma") as recording:
        np.testing.assert_array_equal(recording.get_series(), stored)


def test_a_grey_movie_stored_in_colour_opens_with_one_call_and_says_so(
    tmp_path: Path, encode: Make, noisy: Make
) -> None:
    frames = noisy(25, 24, 32)
    path = encode(tmp_path / "m.avi", np.repeat(frames[..., None], 3, -1), pixels="bgra", source="bgr24", g="12")
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames)
        assert recording.get_notes() == (
            "m.avi is stored in colour but shows none in its first, middle and last key frame; reading it as grey",
        )
    assert roi.streams(path) == {}


# Clocks


def test_times_are_the_streams_own_where_it_bears_them(tmp_path: Path, encode: Make, noisy: Make) -> None:
    stamps = [0, 1, 2, 5, 6, 10]
    path = encode(
        tmp_path / "m.mp4", noisy(6, 16, 16), codec="libx264", pixels="yuv420p", source="gray", rate=10, stamps=stamps
    )
    with roi.open(path, channel="grey") as recording:
        np.testing.assert_allclose(recording.get_timestamps(), np.array(stamps) / 10, rtol=0, atol=1e-12)
        assert recording.times_source == "native"
        assert recording.get_sampling_frequency() == pytest.approx(10.0)


def test_a_rate_that_milliseconds_cannot_hold_is_not_rounded(tmp_path: Path, encode: Make, noisy: Make) -> None:
    with roi.open(encode(tmp_path / "m.mkv", noisy(40, 16, 16), rate=30, g="1")) as recording:
        assert recording.get_sampling_frequency() == 30.0
        assert recording.get_timestamps(1, 3).tolist() == [0.033, 0.067]


def test_avi_counts_and_bears_no_times(tmp_path: Path, write_avi: Make, noisy: Make) -> None:
    with roi.open(
        write_avi(tmp_path / "m.avi", payloads(noisy(3, 4, 8)), shape=(4, 8), rate=(30_000, 1001))
    ) as recording:
        assert recording.get_native_timestamps() is None
        assert recording.get_sampling_frequency() == 30_000 / 1001
    with roi.open(write_avi(tmp_path / "n.avi", payloads(noisy(3, 4, 8)), shape=(4, 8), rate=(0, 0))) as recording:
        assert recording.get_sampling_frequency() == 20.0


# Damage


@CUT
@pytest.mark.parametrize("index", ["idx1", "none"])
def test_a_cut_file_gives_its_whole_frames_and_says_so(
    tmp_path: Path, write_avi: Make, noisy: Make, index: str
) -> None:
    frames = noisy(10, 20, 20)
    path = write_avi(tmp_path / "m.avi", payloads(frames), shape=(20, 20), index=index)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(frames[6].tobytes()) + 399])
    words = r"m\.avi is truncated: it ends at byte .* inside the chunk that begins at byte .*; reading the 6 complete frames"
    with pytest.warns(IncompleteRecordingWarning, match=words):
        recording = roi.open(path)
    with recording:
        np.testing.assert_array_equal(recording.get_series(), frames[:6])
        assert "reading the 6 complete frames" in recording.get_notes()[0]


def test_a_frame_that_cannot_be_decoded_is_named(tmp_path: Path, encode: Make, noisy: Make) -> None:
    options = {"level": "3", "g": "1", "slicecrc": "1"}
    path = encode(tmp_path / "m.avi", noisy(6, 40, 40), **options)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for k in range(300, 320):
        data[places[3][0] + 8 + k] ^= 0x55
    path.write_bytes(data)
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(0, 3), noisy(6, 40, 40)[:3])
        with pytest.raises(CorruptRecordingError, match=r"m\.avi: frame 3 of 6 at byte [\d,]+ cannot be decoded"):
            recording.get_series()
        np.testing.assert_array_equal(recording[4:], noisy(6, 40, 40)[4:])


def test_frames_decide_over_a_header_that_states_another_size(tmp_path: Path, encode: Make, noisy: Make) -> None:
    path = encode(tmp_path / "s.avi", noisy(2, 64, 64), codec="mjpeg", pixels="yuvj420p", source="gray")
    whole = decoded(path, "bgr24")
    data = bytearray(path.read_bytes())
    at = data.index(b"strf") + 8
    data[at + 4 : at + 12] = struct.pack("<ii", 16, 16)
    path.write_bytes(data)
    with roi.open(path, channel="grey") as recording:
        np.testing.assert_array_equal(recording.get_series(), usual_grey(whole))
        assert (
            "s.avi says 16 rows of 16 columns, but its frames have 64 rows of 64; using those of the frames"
            in recording.get_notes()
        )


def test_a_frame_of_another_size_in_the_middle_is_refused(
    tmp_path: Path, encode: Make, noisy: Make, write_avi: Make
) -> None:
    pictures = []
    for size in (32, 32, 64):
        path = encode(tmp_path / "one.avi", noisy(1, size, size), codec="mjpeg", pixels="yuvj420p", source="gray")
        with av.open(str(path)) as container:
            pictures.append(next(bytes(packet) for packet in container.demux(video=0)))
    path = write_avi(tmp_path / "m.avi", pictures, shape=(32, 32), codec=b"MJPG", bits=24)
    with roi.open(path, channel="grey") as recording:
        assert recording[:2].shape == (2, 32, 32)
        with pytest.raises(
            CorruptRecordingError, match=r"m\.avi: frame 2 has 64 rows of 64 columns, but the header says|frame 2 of 3"
        ):
            recording.get_series()


def test_a_picture_of_absurd_size_is_refused_before_it_is_made(tmp_path: Path, write_avi: Make) -> None:
    path = write_avi(tmp_path / "m.avi", [bytes(100)], shape=(60_000, 60_000), codec=b"FFV1", bits=24)
    with pytest.raises(UnsupportedRecordingError, match="60,000 rows and 60,000 columns"):
        roi.open(path)
    path = write_avi(tmp_path / "n.avi", [bytes(100)], shape=(0, 5))
    with pytest.raises(CorruptRecordingError, match="its header says 0 rows of 5 columns"):
        roi.open(path)


@pytest.mark.parametrize("content", [b"RIFF\0\0\0\0AVI ", b"RIFF\x20\0\0\0AVI LIST\x04\0\0\0hdrl" + bytes(20)])
def test_a_video_without_content_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.avi").write_bytes(content)
    with pytest.raises(CorruptRecordingError, match=r"m\.avi"):
        roi.open(tmp_path / "m.avi")
    (tmp_path / "m.mp4").write_bytes(struct.pack(">I", 24) + b"ftypisom" + bytes(4) + b"isommp42" + bytes(64))
    with pytest.raises(CorruptRecordingError, match=r"m\.mp4 begins as a video but cannot be opened|contains no"):
        roi.open(tmp_path / "m.mp4")


DAMAGE = """
import random, sys, warnings
import roiextractors_core as roi
warnings.simplefilter("ignore")
random.seed(7)
for name in sys.argv[1:]:
    whole = open(name, "rb").read()
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(random.choice([1, 3, 20])):
            data[random.randrange(len(data))] = random.randrange(256)
        del data[random.choice([len(data), random.randrange(1, len(data))]):]
        open(name, "wb").write(data)
        try:
            with roi.open(name, channel="grey") as recording:
                recording.get_samples([len(recording) - 1, 0])
        except roi.PluginError:
            raise
        except roi.RoiExtractorsError:
            pass
print("done")
"""


@pytest.mark.thorough
def test_damage_ends_in_an_error_of_ours_and_never_in_a_crash(tmp_path: Path, encode: Make, noisy: Make) -> None:
    grey = {"pixels": "yuv420p", "source": "gray"}
    paths = [
        encode(tmp_path / name, noisy(12, 32, 48), codec=codec, **grey)
        for name, codec in (
            ("a.mp4", "libx264"),
            ("b.mkv", "ffv1"),
            ("c.avi", "mpeg4"),
            ("d.webm", "libvpx"),
            ("e.avi", "ffv1"),
        )
    ]
    answer = subprocess.run(
        [sys.executable, "-c", DAMAGE, *map(str, paths)], capture_output=True, text=True, timeout=120
    )
    assert (answer.returncode, answer.stdout.strip()) == (0, "done"), answer.stderr[-2000:]


def test_a_file_of_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UnsupportedRecordingError, match=r"m\.mkv contains no video stream"):
        roi.open(path)


def test_several_files_or_a_folder_are_not_one_video(tmp_path: Path, write_avi: Make, noisy: Make) -> None:
    path = write_avi(tmp_path / "m.avi", payloads(noisy(3, 4, 8)), shape=(4, 8))
    with pytest.raises(SourceKindError, match="expected one file, got 2"):
        roi.open([path, path], format="video")
    with pytest.raises(SourceKindError, match="is a folder; open the file inside it"):
        roi.open(tmp_path, format="video")


# Manners


@pytest.mark.parametrize("pixels", ["gray", "bgra"])
def test_opening_decodes_nothing_where_every_frame_can_be_found(
    tmp_path: Path, encode: Make, noisy: Make, pixels: str
) -> None:
    source = noisy(20, 24, 32)
    frames = source if pixels == "gray" else np.repeat(source[..., None], 3, -1)
    path = encode(tmp_path / "m.avi", frames, pixels=pixels, source=pixels if pixels == "gray" else "bgr24", g="12")
    code = (
        "import sys; from roiextractors_video.frames import open_frames;"
        f"frames = open_frames({str(path)!r}); print(frames.num_frames, frames.dtype, 'av' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["20", "uint8", "False"]


def test_frames_are_read_from_many_threads_in_any_order(tmp_path: Path, encode: Make, noisy: Make) -> None:
    frames = noisy(60, 24, 32)
    path = encode(tmp_path / "m.mkv", frames, codec="libx264", pixels="gray", qp="0", g="10", bf="2")
    wrong: list[int] = []
    with roi.open(path, channel="luma") as recording:

        def look(seed: int) -> None:
            for k in np.random.default_rng(seed).integers(0, 60, 40).tolist():
                if not np.array_equal(recording[k], frames[k]):
                    wrong.append(k)

        threads = [threading.Thread(target=look, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


# Real videos


@pytest.mark.parametrize(
    ("name", "count", "shape", "rate", "source"),
    [
        ("movie_part1_108x122x200.avi", 100, (122, 108), 10.0, "native"),
        ("stream_daq_test_output_200px.avi", 94, (200, 200), 20.0, "computed"),
        ("realshort.mp4", 36, (240, 320), 90_000 / 2998, "native"),
    ],
)
def test_a_real_video_agrees_with_ffmpeg(
    recordings: Path, name: str, count: int, shape: tuple[int, int], rate: float, source: str
) -> None:
    path = recordings / "video" / name
    grey = usual_grey(decoded(path, "bgr24"))
    with roi.open(path, channel="grey") as recording:
        assert recording.shape == (count, *shape)
        assert recording.get_sampling_frequency() == pytest.approx(rate, rel=1e-12)
        assert recording.times_source == source
        np.testing.assert_array_equal(recording.get_series(), grey)
        np.testing.assert_array_equal(recording.get_samples([count - 1, 0, 7]), grey[[count - 1, 0, 7]])


def test_what_is_said_of_real_videos(recordings: Path) -> None:
    folder = recordings / "video"
    with roi.open(folder / "movie_part1_108x122x200.avi") as recording:
        assert recording.get_notes()[0].startswith(
            "movie_part1_108x122x200.avi lists 200 frames, but 100 of them are empty"
        )
        np.testing.assert_allclose(recording.get_timestamps(), np.arange(100) / 10, rtol=0, atol=1e-12)
    with roi.open(folder / "stream_daq_test_output_200px.avi") as recording:
        assert recording.get_notes() == ()
    channels = "'grey', 'luma', 'red', 'green' and 'blue'"
    with pytest.raises(StreamChoiceError, match=f"realshort.mp4 has the channels {channels}; choose one"):
        roi.open(folder / "realshort.mp4")


def test_the_frames_of_a_file_are_a_subject_of_their_own(recordings: Path) -> None:
    frames = open_frames(recordings / "video" / "stream_daq_test_output_200px.avi")
    assert (frames.num_frames, frames.rows, frames.columns, frames.codec) == (94, 200, 200, "rawvideo")
    part = frames.read(np.array([5, 2]), rows=slice(10, 20), columns=slice(0, 3))
    assert part.shape == (2, 10, 3)
    frames.close()


IN_TURN = {
    "ffv1_in_runs": {"codec": "ffv1", "level": "3", "g": "4"},
    "ffv1": {"codec": "ffv1", "level": "3", "g": "1"},
    "mjpeg": {"codec": "mjpeg", "pixels": "yuvj420p", "source": "gray"},
}


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The frames that decoders were asked for, on a machine of two cores."""
    asked: list[int] = []
    original = PacketDecoder.picture

    def noting(self: PacketDecoder, index: int, key: int) -> Any:
        asked.append(index)
        return original(self, index, key)

    monkeypatch.setattr(PacketDecoder, "picture", noting)
    monkeypatch.setattr(coded, "num_cores", lambda: 2)
    return asked


@pytest.mark.parametrize("kind", IN_TURN)
def test_frames_asked_for_one_by_one_are_decoded_on_all_cores_and_once(
    tmp_path: Path, encode: Make, noisy: Make, asked_for: list[int], kind: str
) -> None:
    path = encode(tmp_path / "in_turn.avi", noisy(11, 40, 52), **IN_TURN[kind])
    with roi.open(path, channel="grey") as recording:
        whole = recording.get_series()
        asked_for.clear()
        for k in range(11):
            np.testing.assert_array_equal(recording.get_series(k, k + 1), whole[k : k + 1])
            assert max(asked_for) <= k + (7 if kind == "ffv1_in_runs" else 1)
        assert sorted(asked_for) == list(range(11))
        for k in [5, 6, 7, 3, 4, 4, 5, 9, 10, 0]:
            np.testing.assert_array_equal(recording.get_series(k, k + 1)[0, 3:9], whole[k, 3:9])


def test_a_frame_that_is_damaged_stops_nobody_who_has_not_reached_it(
    tmp_path: Path, encode: Make, noisy: Make, asked_for: list[int]
) -> None:
    path = encode(tmp_path / "in_turn.avi", noisy(9, 40, 52), **IN_TURN["ffv1"])
    with roi.open(path) as recording:
        whole = recording.get_series()
    content = bytearray(path.read_bytes())
    start, end = content.index(b"movi"), content.index(b"idx1")
    places = [start + match.start() for match in re.finditer(b"00dc", bytes(content[start:end]))]
    content[places[5] + 100] ^= 0xFF
    path.write_bytes(content)
    with roi.open(path) as recording:
        for k in range(9):
            if k == 5:
                with pytest.raises(CorruptRecordingError, match="frame 5 of 9 at byte"):
                    recording.get_series(5, 6)
            else:
                np.testing.assert_array_equal(recording.get_series(k, k + 1), whole[k : k + 1])
    assert asked_for


FORKED = """
import os, sys
import numpy as np
import roiextractors_core as roi

recording = roi.open(sys.argv[1], channel="grey")
whole = recording.get_series()
recording.get_series(5, 6)


def number_of_wrong_reads(seed):
    wrong = 0
    for k in np.random.default_rng(seed).integers(0, len(whole), 60).tolist():
        try:
            wrong += not np.array_equal(recording.get_series(k, k + 1)[0], whole[k])
        except Exception:
            wrong += 1
    return wrong


children = []
for seed in range(3):
    child = os.fork()
    if not child:
        os._exit(number_of_wrong_reads(seed))
    children.append(child)
print(number_of_wrong_reads(9), *(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.quick(1)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize(
    ("name", "how"), [("m.mp4", {"codec": "libx264", "g": "12"}), ("m.avi", IN_TURN["ffv1"])], ids=str
)
def test_forked_processes_read_each_for_itself(tmp_path: Path, encode: Make, name: str, how: dict[str, str]) -> None:
    base = np.random.default_rng(1).integers(0, 255, (96, 128), np.uint8)
    frames = np.stack([np.roll(base, 3 * k, axis=1) for k in range(80)])
    path = encode(tmp_path / name, frames, pixels="yuv420p" if name == "m.mp4" else "gray", source="gray", **how)
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.split() == ["0"] * 4, ran.stderr


def numbered(count: int) -> np.ndarray:
    """Frames that show their number as six black or white bars, which survives any compression."""
    frames = np.full((count, 64, 96), 128, np.uint8)
    for frame, bar in itertools.product(range(count), range(6)):
        frames[frame, 8:56, 16 * bar : 16 * bar + 16] = 220 if frame >> bar & 1 else 30
    return frames


def numbers_in(frames: np.ndarray) -> list[int]:
    bars = frames.reshape(len(frames), 64, 6, 16)[:, 20:44, :, 4:12].mean(axis=(1, 3)) > 125
    return (bars @ (1 << np.arange(6))).tolist()


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.avi", "mpeg4"),
        ("b.avi", "libx264"),  # AVI stores no times, so the order is that of decoding
        ("c.avi", "mpeg2video"),
        ("d.ts", "mpeg2video"),
        ("e.mpg", "mpeg2video"),
        ("f.ts", "libx264"),
        ("g.mp4", "mpeg4"),
    ],
)
def test_frames_with_b_frames_between_come_in_the_order_in_which_they_are_shown(
    tmp_path: Path, encode: Make, name: str, codec: str
) -> None:
    path = encode(tmp_path / name, numbered(60), codec=codec, pixels="yuv420p", source="gray", g="12", bf="2", rate=20)
    with roi.open(path, channel="luma") as recording:
        assert numbers_in(recording.get_series()) == list(range(60))
        assert numbers_in(recording.get_samples([50, 2, 17, 59, 0])) == [50, 2, 17, 59, 0]
        times = recording.get_timestamps()
        np.testing.assert_allclose(np.diff(times), 0.05, atol=1e-9)
        assert times[0] == 0 or not name.endswith(".avi")
    with roi.open(path, channel="luma") as recording:
        assert numbers_in(recording.get_series(2, 3)) == [2]

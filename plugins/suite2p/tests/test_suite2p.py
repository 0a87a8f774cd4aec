"""suite2p's movies: planes, channels, stages."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    RoiExtractorsWarning,
    SourceKindError,
    SourceNotFoundError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import ImagingExtractorTests

Write = Callable[..., Path]
COUNT, ROWS, COLUMNS = 64, 96, 128


def movie(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-2000, 30_000, shape, dtype=np.int16)


class Suite2pTests(ImagingExtractorTests):
    format = "suite2p"

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return movie(COUNT, ROWS, COLUMNS)

    @pytest.fixture
    def expected_rate(self) -> float:
        return 7.5

    @pytest.fixture
    def expected_times(self) -> None:
        return None


class TestOnePlane(Suite2pTests):
    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, write_plane: Write) -> Path:
        write_plane(tmp_path / "suite2p" / "plane0", {"data.bin": expected})
        return tmp_path / "suite2p"


class TestThePlanesFolder(Suite2pTests):
    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, write_plane: Write) -> Path:
        return write_plane(tmp_path / "suite2p" / "plane0", {"data.bin": expected})


class TestItsDescription(Suite2pTests):
    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, write_plane: Write) -> Path:
        return write_plane(tmp_path / "suite2p" / "plane0", {"data.bin": expected}) / "ops.npy"


class TestItsMovie(Suite2pTests):
    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, write_plane: Write) -> Path:
        return write_plane(tmp_path / "suite2p" / "plane0", {"data.bin": expected}) / "data.bin"


class TestTheSecondChannelOfVolumes(Suite2pTests):
    open_options = {"channel": "chan2"}

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return movie(COUNT, ROWS, COLUMNS // 2, 3)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, write_plane: Write) -> Path:
        for k in range(3):
            other = movie(COUNT, ROWS, COLUMNS // 2, seed=9)
            movies = {"data.bin": other, "data_chan2.bin": expected[..., k]}
            write_plane(tmp_path / "suite2p" / f"plane{k}", movies, nplanes=3)
        return tmp_path / "suite2p"

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("chan1", "chan2"), "plane": ("plane0", "plane1", "plane2")}


class TestTheRawStage(Suite2pTests):
    open_options = {"stage": "raw"}

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, write_plane: Write) -> Path:
        movies = {"data.bin": movie(COUNT, ROWS, COLUMNS, seed=9), "data_raw.bin": expected}
        write_plane(tmp_path / "suite2p" / "plane0", movies)
        return tmp_path / "suite2p"

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"stage": ("registered", "raw")}


def write_newer(folder: Path, movies: dict[str, np.ndarray], **said: Any) -> Path:
    """Write what suite2p 1.0 writes in place of ops.npy."""
    folder.mkdir(parents=True)
    first = next(iter(movies.values()))
    for name, frames in movies.items():
        (folder / name).write_bytes(frames.astype("<i2").tobytes())
    db = {
        "data_path": ["/data/mouse"],
        "input_format": "tif",
        "keep_movie_raw": True,
        "nplanes": 1,
        "nrois": 1,
        "nchannels": len(movies),
        "lines": None,
        "ignore_flyback": None,
        "nframes": len(first),
        "Ly": first.shape[1],
        "Lx": first.shape[2],
        "iplane": np.int64(0),
        "save_path": PurePosixPath("/data/mouse/suite2p/plane0"),
        **said,
    }
    zone = timezone(timedelta(hours=-8), "PST")
    when = datetime(2026, 2, 3, 4, 5, 6, 789, zone)
    settings = {
        "torch_device": "cuda",
        "tau": 0.7,
        "fs": 15.25,
        "diameter": [12.0, 12.0],
        "date_proc": when,
        "run": {"a": 1},
    }
    np.save(folder / "db.npy", db, allow_pickle=True)  # type: ignore[arg-type]
    np.save(folder / "settings.npy", settings, allow_pickle=True)  # type: ignore[arg-type]
    np.save(folder / "reg_outputs.npy", {"yoff": np.zeros(3)}, allow_pickle=True)  # type: ignore[arg-type]
    return folder


class TestSuite2pOne(Suite2pTests):
    """Version 1.0: db.npy and settings.npy in place of ops.npy."""

    has_own_code = True

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        write_newer(tmp_path / "suite2p" / "plane0", {"data.bin": expected})
        return tmp_path / "suite2p"

    @pytest.fixture
    def expected_rate(self) -> float:
        return 15.25


def test_the_newer_layout_tells_its_times_and_paths_in_the_metadata(tmp_path: Path) -> None:
    plane = write_newer(tmp_path / "suite2p" / "plane0", {"data.bin": movie(3, 4, 5)})
    for path in (plane, plane / "db.npy", plane / "settings.npy", plane / "data.bin", plane.parent):
        with roi.open(path) as recording:
            assert recording.shape == (3, 4, 5)
            vendor = recording.metadata.to_dict()["vendor"]
            assert vendor["date_proc"] == "2026-02-03T04:05:06.000789-08:00"
            assert vendor["save_path"] == "/data/mouse/suite2p/plane0"
            assert (vendor["tau"], vendor["diameter"]) == (0.7, [12.0, 12.0])
            assert recording.metadata.start_time is None


def test_planes_stand_in_the_order_of_their_numbers(tmp_path: Path, write_plane: Write) -> None:
    for k in range(11):
        write_plane(tmp_path / f"plane{k}", {"data.bin": np.full((4, 3, 5), k)})
    with roi.open(tmp_path) as recording:
        assert recording.shape == (4, 3, 5, 11)
        assert recording[0, 0, 0].tolist() == list(range(11))
        assert recording[2:4, 1:2, 2:4, 3:9].tolist() == [[[[3, 4, 5, 6, 7, 8]] * 2]] * 2
    for plane in ("plane10", 10, "10"):
        with roi.open(tmp_path, plane=plane) as recording:
            assert (recording.shape, int(recording[0, 0, 0])) == ((4, 3, 5), 10)


def test_the_rate_of_a_plane_is_the_rate_of_the_volumes(tmp_path: Path, write_plane: Write) -> None:
    for k in range(2):
        write_plane(tmp_path / f"plane{k}", {"data.bin": movie(4, 3, 5)}, fs=np.float64(8.5), nplanes=2)
    with roi.open(tmp_path) as recording:
        assert recording.get_sampling_frequency() == 8.5
        assert recording.get_timestamps().tolist() == [k / 8.5 for k in range(4)]


def test_of_two_channels_one_must_be_chosen_and_a_files_name_chooses(tmp_path: Path, write_plane: Write) -> None:
    movies = {"data.bin": movie(4, 3, 5), "data_chan2.bin": movie(4, 3, 5, seed=2)}
    plane = write_plane(tmp_path / "plane0", movies, functional_chan=2)
    with pytest.raises(StreamChoiceError, match="plane0 has the channels 'chan1' and 'chan2'; choose one"):
        roi.open(plane)
    wanted = {"chan1": "data.bin", "functional": "data.bin", "chan2": "data_chan2.bin"}
    for channel, name in wanted.items():
        with roi.open(plane, channel=channel) as recording:
            np.testing.assert_array_equal(recording.get_series(), movies[name])
    for name, frames in movies.items():
        with roi.open(plane / name) as recording:
            np.testing.assert_array_equal(recording.get_series(), frames)
            assert "the other channel is available as channel='chan" in recording.get_notes()[0]
    with roi.open(plane / "data.bin", channel="chan2") as recording:
        np.testing.assert_array_equal(recording.get_series(), movies["data_chan2.bin"])
        assert [c.name for c in recording.metadata.channels] == ["chan2"]


def test_a_lost_second_channel_is_told(tmp_path: Path, write_plane: Write) -> None:
    plane = write_plane(tmp_path / "plane0", {"data.bin": movie(4, 3, 5)}, nchannels=2)
    with pytest.warns(
        IncompleteRecordingWarning, match=r"plane0/ops\.npy names 2 channels, but the movie of chan2 is missing"
    ):
        roi.open(plane).close()


@pytest.mark.parametrize("second", ["data_chan2_raw.bin", "data_raw_chan2.bin"])
def test_raw_movies_are_a_stage_of_their_own(tmp_path: Path, write_plane: Write, second: str) -> None:
    names = ("data.bin", "data_chan2.bin", "data_raw.bin", second)
    movies = {name: movie(4, 3, 5, seed=k) for k, name in enumerate(names)}
    plane = write_plane(tmp_path / "plane0", movies)
    assert roi.streams(plane) == {"channel": ("chan1", "chan2"), "stage": ("registered", "raw")}
    for name, frames in movies.items():
        channel, stage = "chan2" if "chan2" in name else "chan1", "raw" if "raw" in name else "registered"
        for path, options in ((plane, {"channel": channel, "stage": stage}), (plane / name, {})):
            with roi.open(path, **options) as recording:
                np.testing.assert_array_equal(recording.get_series(), frames)
    with roi.open(plane, channel="chan1") as recording:
        np.testing.assert_array_equal(recording.get_series(), movies["data.bin"])
        assert recording.get_notes() == ("reading the registered frames; the raw ones are available as stage='raw'",)
    with pytest.raises(StreamChoiceError, match="has the stages 'registered' and 'raw', not 'cooked'; choose one"):
        roi.open(plane, channel="chan1", stage="cooked")


def test_the_raw_stage_alone_is_read_and_noted(tmp_path: Path, write_plane: Write) -> None:
    plane = write_plane(tmp_path / "plane0", {"data_raw.bin": movie(4, 3, 5)}, nchannels=1)
    with roi.open(plane) as recording:
        np.testing.assert_array_equal(recording.get_series(), movie(4, 3, 5))
        assert "raw frames (data_raw.bin)" in recording.get_notes()[0]
    with pytest.raises(SourceNotFoundError, match=r"does not contain data\.bin"):
        roi.open(plane, stage="registered")


@pytest.mark.parametrize(
    ("said", "size", "words"),
    [
        (
            4,
            3 * 3 * 5 * 2,
            r"plane0/data\.bin contains 3 complete frames, but plane0/ops\.npy says 4",
        ),
        (4, 3 * 3 * 5 * 2 + 11, r"contains 3 complete frames and 11 bytes of another, but plane0/ops\.npy says 4"),
        (2, 3 * 3 * 5 * 2 + 11, r"contains 3 complete frames and 11 bytes of another; reading"),
    ],
)
def test_a_cut_movie_gives_its_whole_frames_and_says_so(
    tmp_path: Path, write_plane: Write, said: int, size: int, words: str
) -> None:
    plane = write_plane(tmp_path / "plane0", {"data.bin": movie(4, 3, 5)}, nframes=said)
    (plane / "data.bin").write_bytes(movie(4, 3, 5).astype("<i2").tobytes()[:size])
    with pytest.warns(IncompleteRecordingWarning, match=words):
        recording = roi.open(plane)
    with recording:
        np.testing.assert_array_equal(recording.get_series(), movie(4, 3, 5)[:3])
    (plane / "data.bin").write_bytes(b"1234567")
    with pytest.raises(TruncatedRecordingError, match=r"has 7 bytes, less than one frame of 3 x 5 \(30 bytes\)"):
        roi.open(plane)


def test_more_frames_than_were_promised_are_read_and_noted(tmp_path: Path, write_plane: Write) -> None:
    plane = write_plane(tmp_path / "plane0", {"data.bin": movie(4, 3, 5)}, nframes=3)
    with roi.open(plane) as recording:
        assert len(recording) == 4
        assert recording.get_notes() == ("plane0/data.bin contains 4 frames, but plane0/ops.npy says 3; reading all 4",)
        assert len(recording.get_missing_samples()) == 0


@pytest.mark.parametrize(
    ("said", "category", "words"),
    [
        (
            {"nframes": 2},
            RoiExtractorsWarning,
            r"contains 4 frames, but .* says 2.* exactly 2 times .* 8 x 5 would give 2",
        ),
        (
            {"Ly": 2},
            RoiExtractorsWarning,
            r"contains 8 frames, but .* says 4.* exactly 2 times as many: frames of 4 x 5",
        ),
        ({"Ly": 8}, IncompleteRecordingWarning, r"contains 2 .* says 4.* exactly 1/2: frames of 4 x 5 would give 4"),
    ],
)
def test_a_description_of_another_run_is_suspected_by_an_exact_factor(
    tmp_path: Path, write_plane: Write, said: dict[str, Any], category: type[Warning], words: str
) -> None:
    plane = write_plane(tmp_path / "plane0", {"data.bin": movie(4, 4, 5)}, **said)
    with pytest.warns(category, match=words + r".*format='raw', shape=\(rows, columns\)") as caught:
        recording = roi.open(plane)
    with recording:
        assert recording.get_notes() == (str(caught[0].message),)


@pytest.mark.parametrize("lost", ["folder", "description"])
def test_volumes_without_one_of_their_planes_are_a_decision_of_the_user(
    tmp_path: Path, write_plane: Write, lost: str
) -> None:
    for k in range(3):
        write_plane(tmp_path / f"plane{k}", {"data.bin": np.full((4, 3, 5), k)}, nplanes=3)
    if lost == "folder":
        shutil.rmtree(tmp_path / "plane1")
    else:
        (tmp_path / "plane1" / "ops.npy").unlink()
    words = r"'plane1' of the 3 planes of .* is missing.*plane='plane0'.*allow_missing=True"
    with pytest.raises(StreamChoiceError, match=words):
        roi.open(tmp_path)
    with roi.open(tmp_path, plane="plane2") as recording:
        assert int(recording[0, 0, 0]) == 2
    with roi.open(tmp_path / "plane2") as recording:
        assert recording.get_notes() == ()
    with pytest.warns(
        IncompleteRecordingWarning, match="'plane1' of .* the volumes have the planes 'plane0' and 'plane2'"
    ):
        recording = roi.open(tmp_path, allow_missing=True)
    with recording:
        assert recording[0, 0, 0].tolist() == [0, 2]


def test_the_one_plane_that_is_left_is_read_with_a_warning(tmp_path: Path, write_plane: Write) -> None:
    write_plane(tmp_path / "plane2", {"data.bin": movie(4, 3, 5)}, nplanes=3)
    with pytest.warns(
        IncompleteRecordingWarning, match="'plane0' and 'plane1' of the 3 planes .* reading plane2 alone"
    ):
        recording = roi.open(tmp_path)
    with recording:
        assert recording.shape == (4, 3, 5)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("F.npy", "fluorescence traces"),
        ("Fneu_chan2.npy", "neuropil traces"),
        ("spks.npy", "deconvolved traces"),
        ("iscell.npy", "the classification of ROIs"),
        ("stat.npy", "ROIs"),
    ],
)
def test_results_are_not_movies_and_the_error_names_them(
    tmp_path: Path, write_plane: Write, name: str, content: str
) -> None:
    plane = write_plane(tmp_path / "plane0", {"data.bin": movie(4, 3, 5)})
    np.save(plane / name, np.zeros((7, 4), np.float32))
    words = rf"{name} contains {content}.* by suite2p, not a movie; .*open\('.*plane0'\).*kind='segmentation'"
    for options in ({}, {"format": "suite2p"}):
        with pytest.raises(UnsupportedRecordingError, match=words):
            roi.open(plane / name, **options)


def test_the_files_that_are_read_are_named(tmp_path: Path, write_plane: Write) -> None:
    plane = write_plane(tmp_path / "plane0", {"data.bin": movie(4, 3, 5)})
    with roi.open(plane / "data.bin") as recording:
        assert {Path(path).name for path in recording.get_paths()} == {"data.bin", "ops.npy"}


def test_an_incomplete_last_volume_is_left_out_with_a_warning(tmp_path: Path, write_plane: Write) -> None:
    for k, count in enumerate((6, 6, 5)):
        write_plane(tmp_path / f"plane{k}", {"data.bin": movie(6, 3, 5, seed=k)[:count]})
    with pytest.warns(
        IncompleteRecordingWarning, match="plane0: 6, plane1: 6, plane2: 5.*reading the 5 complete volumes"
    ):
        recording = roi.open(tmp_path)
    with recording:
        wanted = np.stack([movie(6, 3, 5, seed=k)[:5] for k in range(3)], axis=3)
        np.testing.assert_array_equal(recording.get_series(), wanted)
    with roi.open(tmp_path, plane="plane0") as recording:
        assert len(recording) == 6


@pytest.mark.parametrize(
    ("second", "said", "words"),
    [
        ((4, 3, 6), {}, "their frames have different shapes"),
        ((9, 3, 5), {}, "they have from 4 to 9 frames"),
        ((4, 3, 5), {"second": {"fs": 30.0}}, "they have rates from 7.5 to 30 Hz"),
        ((4, 3, 5), {"lines": [np.arange(3)], "dy": 4, "dx": 0}, "they are regions of a mesoscope"),
        ((4, 3, 5), {"nrois": 2}, "they are regions of a mesoscope"),
    ],
)
def test_planes_that_make_no_volumes_are_chosen_one_by_one(
    tmp_path: Path, write_plane: Write, second: tuple[int, int, int], said: dict[str, Any], words: str
) -> None:
    only_second = said.pop("second", {})
    write_plane(tmp_path / "plane0", {"data.bin": movie(4, 3, 5)}, **said)
    write_plane(tmp_path / "plane1", {"data.bin": movie(*second)}, **said, **only_second)
    with pytest.raises(
        StreamChoiceError, match=f"the planes 'plane0' and 'plane1' of .* because {words}.*plane='plane0'"
    ) as caught:
        roi.open(tmp_path)
    assert (caught.value.option, caught.value.choices) == ("plane", ("plane0", "plane1"))
    with roi.open(tmp_path, plane="plane1") as recording:
        assert recording.shape == second


def test_planes_of_the_flyback_are_left_out_of_the_volumes(tmp_path: Path, write_plane: Write) -> None:
    for k in range(3):
        write_plane(tmp_path / f"plane{k}", {"data.bin": np.full((4, 3, 5), k)}, ignore_flyback=[0])
    with roi.open(tmp_path) as recording:
        assert recording[0, 0, 0].tolist() == [1, 2]
        assert recording.get_notes()[0].startswith("'plane0' is not part of the volumes (ignore_flyback)")
    with roi.open(tmp_path, plane=0) as recording:
        assert int(recording[0, 0, 0]) == 0


def test_a_plane_without_its_movie_is_named_and_another_offered(tmp_path: Path, write_plane: Write) -> None:
    for k in range(2):
        write_plane(tmp_path / f"plane{k}", {"data.bin": movie(4, 3, 5)})
    (tmp_path / "plane1" / "data.bin").unlink()
    with pytest.raises(
        SourceNotFoundError, match=r"plane1 does not contain data\.bin.*open a plane that has it: .*plane='plane0'"
    ):
        roi.open(tmp_path)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"Ly": 0}, "Ly = 0, which is not a number of pixels"),
        ({"Ly": -5}, "which is not a number"),
        ({"Ly": 2.5}, "which is not a number"),
        ({"Ly": "many"}, "which is not a number"),
        ({"Ly": True}, "which is not a number"),
        ({"Ly": 1 << 70}, "which is not a number"),
        ({"Ly": float("nan")}, "which is not a number"),
        ({"Lx": np.arange(2)}, "which is not a number"),
        ({"Lx": None}, "Lx = None, which is not a number of pixels"),
    ],
)
def test_a_size_that_cannot_be_is_refused(tmp_path: Path, write_plane: Write, said: dict[str, Any], words: str) -> None:
    plane = write_plane(tmp_path / "plane0", {"data.bin": movie(4, 3, 5)}, **said)
    with pytest.raises(CorruptRecordingError, match=words):
        roi.open(plane)


def test_a_rate_that_is_none_is_unknown(tmp_path: Path, write_plane: Write) -> None:
    for k, rate in enumerate((0, -1.0, float("nan"), "fast", None, [10.0])):
        plane = write_plane(tmp_path / str(k), {"data.bin": movie(4, 3, 5)}, fs=rate)
        with roi.open(plane) as recording:
            assert recording.get_sampling_frequency() is None


def test_the_numbers_may_be_arrays_of_one_number(tmp_path: Path, write_plane: Write) -> None:
    said = {"Ly": np.array(3), "Lx": np.array([5.0]), "fs": np.float32(2.5), "nframes": np.array([4], np.uint16)}
    with roi.open(write_plane(tmp_path / "plane0", {"data.bin": movie(4, 3, 5)}, **said)) as recording:
        assert recording.shape == (4, 3, 5)
        assert recording.get_sampling_frequency() == 2.5


def test_the_metadata_holds_numbers_texts_and_short_lists(tmp_path: Path, write_plane: Write) -> None:
    said = {
        "suite2p_version": "0.14.3",
        "block_size": [128, 64],
        "Vmap": [np.zeros((4, 4))],
        "nested": {"a": 1, "b": []},
    }
    with roi.open(write_plane(tmp_path / "plane0", {"data.bin": movie(4, 3, 5)}, **said)) as recording:
        metadata = recording.metadata.to_dict()
    assert metadata["software"] == "suite2p 0.14.3"
    vendor = metadata["vendor"]
    assert (vendor["tau"], vendor["diameter"], vendor["block_size"]) == (1.25, [12, 13], [128, 64])
    assert (vendor["filelist"][1], vendor["nested"]) == ("/data/mouse/file_00001.tif", {"a": 1, "b": "list"})
    assert "meanImg" not in vendor
    assert "Vmap" not in vendor


def test_presets_are_settings_and_no_recording(recordings: Path) -> None:
    folder = recordings / "suite2p" / "ops_presets_not_an_output_folder"
    for path in (folder, folder / "ops.npy", folder / "ops_1P.npy", folder / "ops_soma.npy"):
        with pytest.raises(
            UnsupportedRecordingError, match=r"contains settings of suite2p, not a recording: it has no Ly"
        ):
            roi.open(path)


def test_a_real_folder_without_its_movies_names_what_is_missing(recordings: Path) -> None:
    folder = recordings / "suite2p" / "two_plane_two_channel"
    missing = r"plane0 does not contain data\.bin\. .* wrote 250 frames of 128 x 128 to C:"
    with pytest.raises(SourceNotFoundError, match=missing):
        roi.open(folder / "ops1.npy")
    there = r".* To open the segmentation: open\(..., kind='segmentation'\)"
    for path in (folder, folder / "plane0", folder / "plane0" / "ops.npy"):
        with pytest.raises(SourceKindError, match=missing + there):
            roi.open(path)
    with pytest.raises(
        SourceKindError, match=r"combines the results of all planes .* open the folder above it" + there
    ):
        roi.open(folder / "combined")


def test_a_real_description_with_movies_put_beside_it_opens(recordings: Path, tmp_path: Path) -> None:
    frames = movie(250, 128, 128)
    for plane in ("plane0", "plane1"):
        (tmp_path / plane).mkdir()
        shutil.copy(recordings / "suite2p" / "two_plane_two_channel" / plane / "ops.npy", tmp_path / plane)
        for name in ("data.bin", "data_chan2.bin"):
            frames.tofile(tmp_path / plane / name)
    assert roi.streams(tmp_path) == {"channel": ("chan1", "chan2"), "plane": ("plane0", "plane1")}
    with roi.open(tmp_path, channel="chan1") as recording:
        assert (recording.shape, recording.get_sampling_frequency()) == ((250, 128, 128, 2), 10.0)
        np.testing.assert_array_equal(recording.get_series(7, 9), np.stack([frames[7:9]] * 2, axis=3))


def test_a_description_is_suite2ps_and_other_arrays_are_not(tmp_path: Path, write_plane: Write) -> None:
    plane = write_plane(tmp_path / "plane0", {"data.bin": movie(4, 3, 5)})
    np.save(plane / "F.npy", np.zeros((4, 5)))
    np.save(plane / "stat.npy", np.array([{"ypix": np.arange(4)}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "ops.npy", np.zeros((4, 5, 6)))
    found = {}
    for path in (plane / "ops.npy", plane / "F.npy", plane / "stat.npy", tmp_path / "ops.npy"):
        best = roi.explain(path).best
        assert best is not None
        found[str(path.relative_to(tmp_path))] = best.spec.name
    assert found == {
        "plane0/ops.npy": "suite2p",
        "plane0/F.npy": "suite2p",
        "plane0/stat.npy": "suite2p",
        "ops.npy": "npy",
    }
    # results are claimed in order to be refused by name; an array of others with such a name is not
    (tmp_path / "movies").mkdir()
    np.save(tmp_path / "movies" / "F.npy", np.zeros((4, 5, 6)))
    best = roi.explain(tmp_path / "movies" / "F.npy").best
    assert best is not None
    assert best.spec.name == "npy"


def test_pictures_with_a_description_among_them_are_not_claimed(tmp_path: Path, write_plane: Write) -> None:
    plane = write_plane(tmp_path / "plane0", {"data.bin": movie(4, 3, 5)})
    (tmp_path / "session").mkdir()
    shutil.copy(plane / "ops.npy", tmp_path / "session")
    (tmp_path / "session" / "movie_001.tif").write_bytes(b"II*\0" + bytes(40))
    assert "suite2p" not in [match.spec.name for match in roi.explain(tmp_path / "session").matches]


def test_files_under_other_names_open_with_the_format_named(tmp_path: Path, write_plane: Write) -> None:
    plane = write_plane(tmp_path / "plane0", {"data.bin": movie(4, 3, 5)})
    (plane / "data.bin").rename(plane / "mouse1")
    with roi.open(plane / "mouse1", format="suite2p") as recording:
        np.testing.assert_array_equal(recording.get_series(), movie(4, 3, 5))
    (plane / "mouse1").rename(plane / "data.bin")
    (plane / "ops.npy").rename(plane / "description")
    with roi.open(plane / "description", format="suite2p") as recording:
        assert recording.shape == (4, 3, 5)
    plane.rename(tmp_path / "anything")
    with pytest.raises(SourceNotFoundError, match=r"contains neither ops\.npy nor db\.npy.*format='raw'"):
        roi.open(tmp_path / "anything" / "data.bin", format="suite2p")


def test_what_is_no_folder_of_suite2p_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing")
    with pytest.raises(SourceKindError, match=r"is not a suite2p folder: it does not contain plane0"):
        roi.open(tmp_path, format="suite2p")
    with pytest.raises(SourceKindError, match="expected one file, got 2; pass the suite2p folder"):
        roi.open([tmp_path / "a.txt", tmp_path / "a.txt"], format="suite2p")


def image_of(rows: int, columns: int, count: int = 6) -> np.ndarray:
    """Frames with smooth spots and noise, so that a line resembles the next one."""
    rng = np.random.default_rng(rows)
    y, x = np.mgrid[:rows, :columns]
    still = sum(
        3000 * np.exp(-((y - rng.uniform(0, rows)) ** 2 + (x - rng.uniform(0, columns)) ** 2) / 20) for _ in range(14)
    )
    return (still + rng.normal(0, 300, (count, rows, columns))).astype("<i2")


def exchanged(folder: Path, **fields: Any) -> Path:
    """Write a plane whose Ly and Lx are exchanged: the frames have 40 rows of 56 columns."""
    place = folder / "plane0"
    place.mkdir(parents=True)
    image_of(40, 56).tofile(place / "data.bin")
    ops = {"Ly": 56, "Lx": 40, "nframes": 6, "fs": 10.0, "nplanes": 1, **fields}
    np.save(place / "ops.npy", np.array(ops, dtype=object))
    return folder


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"meanImg": np.zeros((40, 56), np.float32)}, r"meanImg in ops.npy has 40 x 56.*shape=\(40, 56\)"),
        ({"refImg": np.zeros((40, 56), np.int16)}, r"refImg in ops.npy has 40 x 56"),
        ({"yrange": [0, 40], "xrange": [0, 56]}, r"xrange in ops.npy ends at 56"),
        (
            {"yrange": [0, 30], "xrange": [0, 40], "max_proj": np.zeros((40, 30))},
            r"max_proj in ops.npy has 40 x 30, but the ranges are 30 x 40",
        ),
        ({}, r"the pixels look like lines of 56"),
    ],
)
def test_exchanged_rows_and_columns_are_suspected_by_all_that_the_folder_shows(
    tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    with pytest.warns(RoiExtractorsWarning, match=words) as caught:
        recording = roi.open(exchanged(tmp_path / "suite2p", **fields))
    with recording:
        assert recording.shape == (6, 56, 40)
        assert [str(w.message) for w in caught] == [n for n in recording.get_notes() if "Ly x Lx" in n]


def test_rois_and_a_second_description_show_the_frame_size(tmp_path: Path) -> None:
    folder = exchanged(tmp_path / "a")
    stat = [{"ypix": np.arange(5), "xpix": np.arange(51, 56), "lam": np.ones(5, np.float32)}]
    np.save(folder / "plane0" / "stat.npy", np.array(stat, dtype=object))
    with pytest.warns(RoiExtractorsWarning, match=r"an ROI in stat.npy has xpix = 55"):
        roi.open(folder).close()
    folder = exchanged(tmp_path / "b")
    np.save(folder / "plane0" / "db.npy", np.array({"Ly": 40, "Lx": 56, "nframes": 6}, dtype=object))
    with pytest.warns(RoiExtractorsWarning, match=r"db.npy says 40 x 56"):
        roi.open(folder).close()


def test_a_right_frame_size_is_not_suspected(tmp_path: Path) -> None:
    folder = exchanged(tmp_path / "a", Ly=40, Lx=56, meanImg=np.zeros((40, 56)), yrange=[2, 38], xrange=[0, 56])
    with roi.open(folder) as recording:
        np.testing.assert_array_equal(recording.get_series(), image_of(40, 56))
        assert recording.get_notes() == ()


def test_frames_of_zeros_at_the_end_were_never_written(tmp_path: Path) -> None:
    folder = exchanged(tmp_path / "a", Ly=40, Lx=56)
    movie = folder / "plane0" / "data.bin"
    stored = movie.read_bytes()
    end = 3 * 4480 + 1000
    movie.write_bytes(stored[:end] + bytes(len(stored) - end))
    with pytest.warns(IncompleteRecordingWarning, match="ends in zeros.* 3 of 6 frames were written"):
        recording = roi.open(folder)
    with recording:
        np.testing.assert_array_equal(recording.get_series(), image_of(40, 56)[:3])
        assert recording.get_missing_samples().tolist() == [3, 4, 5]

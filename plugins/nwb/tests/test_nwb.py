"""NWB files of both kinds: real ones, written ones, and what other programs write, read in the right order and at the right times."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from roiextractors_nwb.extractor import NwbImagingExtractor

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    SourceKindError,
    SourceNotFoundError,
    StreamChoiceError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import ImagingExtractorTests

Write = Callable[..., Path]
Parts = Callable[..., dict[str, Any]]


def stored(
    count: int = 70, width: int = 128, height: int = 96, *more: int, seed: int = 1, dtype: str = "<u2"
) -> np.ndarray:
    """Pixels as NWB stores them: (time, width, height[, depth])."""
    return np.random.default_rng(seed).integers(0, 4000, (count, width, height, *more)).astype(dtype)


class TestNwb(ImagingExtractorTests):
    """A planar series with a starting time, beside another of the same name."""

    format = "nwb"
    open_options = {"series": "acquisition/Movie"}

    @pytest.fixture
    def pixels(self) -> np.ndarray:
        return stored()

    @pytest.fixture
    def expected(self, pixels: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(pixels.swapaxes(1, 2))

    @pytest.fixture
    def parts(self, pixels: np.ndarray, session: Parts, series: Parts) -> dict[str, Any]:
        timing = {"/starting_time": 12.5, "/starting_time@rate": 15.5}
        others = {
            **series("processing/ophys/Movie", pixels[:3] + 1),
            **series("acquisition/One", pixels[:2], kind="OnePhotonSeries"),
        }
        return session(**series("acquisition/Movie", pixels, **timing), **others)

    @pytest.fixture
    def recording(self, tmp_path: Path, parts: dict[str, Any], write_nwb: Write) -> Path:
        return write_nwb(tmp_path / "session.nwb", parts)

    @pytest.fixture
    def expected_rate(self) -> float | None:
        return 15.5

    @pytest.fixture
    def expected_times(self) -> Any:
        return np.arange(70) / 15.5 + 12.5

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"series": ("acquisition/Movie", "One", "processing/ophys/Movie")}


class TestPackedVolumesWithTimestamps(TestNwb):
    open_options: dict[str, Any] = {}

    @pytest.fixture
    def pixels(self) -> np.ndarray:
        return stored(21, 20, 26, 3, dtype="<i2")

    @pytest.fixture
    def parts(self, pixels: np.ndarray, session: Parts, series: Parts) -> dict[str, Any]:
        return session(**series("acquisition/Volumes", pixels, **{"/timestamps": np.arange(21) * 0.11 + 3.0}))

    @pytest.fixture
    def recording(self, tmp_path: Path, parts: dict[str, Any], write_nwb: Write) -> Path:
        return write_nwb(tmp_path / "session.nwb", parts, chunks=(2, 20, 13, 1), compression="gzip", shuffle=True)

    @pytest.fixture
    def expected_rate(self) -> float | None:
        return 1 / 0.11  # regular timestamps

    @pytest.fixture
    def expected_times(self) -> Any:
        return np.arange(21) * 0.11 + 3.0

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {}


class TestNwbZarr(TestNwb):
    has_own_code = True
    # A missing chunk has the fill value; metres are the default unit of spacing
    files_know_their_place = False  # the name of a chunk alone says which one it is
    optional_parts = ("[0-9]*", "unit")
    # A missing attribute or text states nothing, and an empty chunk of text reads as a missing one
    test_a_missing_file_is_told_and_never_filled_in = None

    @pytest.fixture
    def recording(self, tmp_path: Path, parts: dict[str, Any], write_zarr: Write) -> Path:
        return write_zarr(tmp_path / "session.nwb.zarr", parts)

    @pytest.fixture
    def large_recording(self, tmp_path: Path, session: Parts, series: Parts, write_zarr: Write) -> Path:
        """Large enough for what zarr itself needs of memory not to count."""
        pixels = np.random.default_rng(9).integers(0, 4000, (60, 200, 256), dtype=np.uint16)
        return write_zarr(tmp_path / "large.nwb.zarr", session(**series("acquisition/Movie", pixels)))


class TestNwbZarrVolumes(TestPackedVolumesWithTimestamps):
    # A missing chunk has the fill value; metres are the default unit of spacing
    files_know_their_place = False  # the name of a chunk alone says which one it is
    optional_parts = ("[0-9]*", "unit")
    # A missing attribute or text states nothing, and an empty chunk of text reads as a missing one
    test_a_missing_file_is_told_and_never_filled_in = None

    @pytest.fixture
    def recording(self, tmp_path: Path, parts: dict[str, Any], write_zarr: Write) -> Path:
        return write_zarr(tmp_path / "session.nwb.zarr", parts)


class TestExternalTiffFiles(TestNwb):
    has_own_code = True
    open_options: dict[str, Any] = {}

    @pytest.fixture
    def parts(self, session: Parts, series: Parts) -> dict[str, Any]:
        more = {
            "/external_file": ["part_1.tif", "more\\part_2.tif"],
            "/external_file@starting_frame": np.array([0, 30]),
            "/format": "external",
            "/starting_time": 12.5,
            "/starting_time@rate": 15.5,
        }
        return session(**series("acquisition/Movie", np.empty((0, 0, 0), "u1"), **more))

    @pytest.fixture
    def recording(self, tmp_path: Path, parts: dict[str, Any], expected: np.ndarray, write_nwb: Write) -> Path:
        (tmp_path / "more").mkdir()
        tifffile.imwrite(tmp_path / "part_1.tif", expected[:30])
        tifffile.imwrite(tmp_path / "more" / "part_2.tif", expected[30:])
        return write_nwb(tmp_path / "session.nwb", parts)

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {}


# Real files


def test_a_real_one_photon_series_agrees_with_the_published_reader(recordings: Path) -> None:
    entries = json.loads((recordings / "EXPECTED.json").read_text(encoding="utf-8"))
    entry = next(entry for entry in entries if entry["id"] == "nwb/nwb/onephoton_movie.nwb/OnePhotonSeries")
    with roi.open(recordings / entry["path"], **entry["options"]) as recording:
        series, times = recording.get_series(), recording.get_native_timestamps()
        assert recording.provenance.format == "nwb"
        assert recording.shape == series.shape == tuple(entry["array_shape"])
        assert str(series.dtype) == entry["dtype"]
        assert float(series.sum(dtype=np.float64)) == entry["sum"]
        for index, wanted in entry["frames"].items():
            assert hashlib.sha256(recording[int(index)].astype("<u2").tobytes()).hexdigest()[:32] == wanted
        assert recording.get_sampling_frequency() == entry["sampling_frequency"]
        assert times is not None
        known = entry["native_timestamps"]
        assert (len(times), list(times[:3]), list(times[-3:])) == (known["n"], known["first"], known["last"])
        assert recording.metadata.device == "Miniscope"
        assert recording.metadata.modality == "one-photon"
        assert recording.metadata.start_time == datetime(2019, 10, 7, 16, 13, 46, 418463, tzinfo=UTC)
        channel = recording.metadata.channels[0]
        assert (channel.name, channel.emission_wavelength, channel.excitation_wavelength) == (
            "OpticalChannel",
            535.0,
            475.0,
        )


def test_a_real_file_with_more_timestamps_than_frames_says_so(recordings: Path) -> None:
    path = recordings / "nwb" / "unit" / "test_TwoPhotonSeries.nwb"
    with h5py.File(path, "r") as file:
        wanted = file["acquisition/test_2ps/data"][...].swapaxes(1, 2)
        first = file["acquisition/test_2ps/timestamps"][0]
    with pytest.warns(roi.RoiExtractorsWarning, match="1 sample but 10 timestamps"):
        opened = roi.open(path)
    with opened as recording:
        np.testing.assert_array_equal(recording.get_series(), wanted)
        np.testing.assert_array_equal(recording.get_timestamps(), [first])
        assert recording.get_notes()[-1].endswith("has 1 sample but 10 timestamps; the first 1 of them is used")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nwb_test.nwb", r"contains a segmentation \(processing/ophys/ImageSegmentation/PlaneSegmentation"),
        ("unit/test_PlaneSegmentation.nwb", r"contains a segmentation .*open\(\.\.\., kind='segmentation'\)"),
        (
            "no_ophys_aibs.nwb",
            r"contains no imaging series .*; it contains acquisition/raw_running_wheel_rotation \(TimeSeries\)",
        ),
        ("unit/test_ImagingPlane.nwb", r"contains no imaging series .*; it contains no data"),
        (
            "zarr_no_ophys/hdmf_zarr_ecephys_tutorial/ecephys_tutorial.nwb.zarr",
            r"it contains acquisition/ElectricalSeries",
        ),
        ("zarr_no_ophys/pynwb_zarr_tutorial/zarr_tutorial.nwb.zarr", r"it contains acquisition/synthetic_timeseries"),
    ],
)
def test_a_real_file_without_a_movie_says_what_it_holds(recordings: Path, name: str, words: str) -> None:
    # A file of ROIs is refused with the advice to open the other kind
    with pytest.raises((UnsupportedRecordingError, SourceKindError), match=words):
        roi.open(recordings / "nwb" / name)


# What other programs write


def test_what_pynwb_writes_is_read(tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
    ophys = pytest.importorskip("pynwb.ophys", reason="pynwb is not installed")
    file = pynwb.NWBFile("a session", "an identifier", datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC))
    channel = ophys.OpticalChannel(name="green", description="d", emission_lambda=510.0)
    plane = file.create_imaging_plane(
        name="plane", optical_channel=channel, description="d", device=file.create_device("Scope"), excitation_lambda=920.0,
        indicator="GCaMP6f", location="V1", grid_spacing=[0.5, 0.25], grid_spacing_unit="micrometers",
    )  # fmt: skip
    pixels = stored(9, 7, 5)
    file.add_acquisition(
        ophys.TwoPhotonSeries(name="Movie", data=pixels, imaging_plane=plane, rate=15.5, starting_time=2.0, unit="n.a.")
    )
    with pynwb.NWBHDF5IO(str(tmp_path / "by_pynwb.nwb"), "w") as io:
        io.write(file)
    with roi.open(tmp_path / "by_pynwb.nwb") as recording:
        np.testing.assert_array_equal(recording.get_series(), pixels.swapaxes(1, 2))
        np.testing.assert_array_equal(recording.get_timestamps(), np.arange(9) / 15.5 + 2.0)
        assert recording.metadata.pixel_size == (0.25, 0.5)
        assert recording.metadata.device == "Scope"


# Choosing


def test_series_are_named_and_paths_where_names_repeat(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    pixels = stored(4, 5, 6)
    parts = session(
        **series("acquisition/Movie", pixels),
        **series("processing/ophys/Corrected/Movie", pixels + 1),
        **series("acquisition/Green", pixels + 2, kind="MyLabsTwoPhotonSeries"),
        **series("stimulus/presentation/Screen", pixels + 3, kind="ImageSeries"),
    )
    path = write_nwb(tmp_path / "several.nwb", parts)
    names = ("Green", "acquisition/Movie", "processing/ophys/Corrected/Movie")
    assert roi.streams(path) == {"series": names}
    with pytest.raises(
        StreamChoiceError,
        match=r"has the series 'Green', 'acquisition/Movie' and .*; choose one: open\(..., series='Green'\)",
    ):
        roi.open(path)
    for name in ("Movie", "acquisition/None", ""):
        with pytest.raises(StreamChoiceError, match=r", not '"):
            roi.open(path, series=name)
    for k, name in ((2, "Green"), (2, "acquisition/Green"), (1, names[2]), (3, "stimulus/presentation/Screen")):
        with roi.open(path, series=name) as recording:
            np.testing.assert_array_equal(recording.get_series(), pixels.swapaxes(1, 2) + k)


def test_videos_of_behaviour_are_not_taken_for_recordings(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    nothing = np.empty((0, 0, 0), "u1")
    video = series(
        "acquisition/Camera", nothing, kind="ImageSeries", **{"/external_file": ["eye.avi"], "/format": "external"}
    )
    path = write_nwb(tmp_path / "videos.nwb", session(**series("acquisition/Movie", stored(4, 5, 6)), **video))
    assert roi.streams(path) == {}
    (tmp_path / "eye.avi").write_bytes(b"RIFF")
    with pytest.raises(
        UnsupportedRecordingError, match=r"the external file 'eye.avi', which is not a TIFF; open that file itself"
    ):
        roi.open(path, series="acquisition/Camera")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"/external_file": ["a.avi"], "/format": "external"}, "are in the video 'a.avi'; open that file"),
        ({}, r"contains no images: its data have the shape \(0, 0, 0\)"),
        ({"/external_file": [], "/format": "external"}, "contains no images"),
    ],
)
def test_a_series_without_images_says_where_they_are(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts, more: dict[str, Any], words: str
) -> None:
    path = write_nwb(tmp_path / "a.nwb", session(**series("acquisition/Movie", np.empty((0, 0, 0), "u1"), **more)))
    with pytest.raises(UnsupportedRecordingError, match=f"acquisition/Movie {words}"):
        roi.open(path)


# Metadata and times


@pytest.mark.parametrize(
    ("start", "rate", "words", "times"),
    [
        (1.0, -5.0, "has the rate -5.0", None),
        (1.0, np.nan, "has the rate nan", None),
        (np.nan, 2.0, "is nan, not a number of seconds: the times begin at 0", [0.0, 0.5, 1.0, 1.5]),
    ],
)
def test_a_rate_or_a_start_that_cannot_be_used_is_noted(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts, start: float, rate: float, words: str, times: Any
) -> None:
    more = {"/starting_time": start, "/starting_time@rate": rate}
    path = write_nwb(tmp_path / "a.nwb", session(**series("acquisition/Movie", stored(4, 5, 6), **more)))
    recording = roi.open(path)
    assert any(words in note for note in recording.get_notes())
    assert (None if recording.timestamps is None else recording.timestamps.tolist()) == times


def test_the_imaging_plane_and_the_session_become_metadata(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    parts = session(**series("acquisition/Volumes", stored(4, 5, 6, 3)))
    parts |= {
        "acquisition/Volumes/data@conversion": 2.0,
        "acquisition/Volumes/data@offset": 3.0,
        "acquisition/Volumes/data@unit": "V",
    }
    with roi.open(write_nwb(tmp_path / "volumes.nwb", parts)) as recording:
        found = recording.metadata
        assert found.pixel_size == (0.25, 0.5)
        assert found.plane_spacing == 4.0
        assert found.start_time == datetime(2020, 1, 2, 3, 4, 0, tzinfo=UTC)
        assert found.device == "Scope"
        assert [(c.name, c.emission_wavelength, c.excitation_wavelength) for c in found.channels] == [
            ("green", 510.0, 920.0)
        ]
        assert found.vendor["imaging_plane"]["imaging_rate"] == 30.0
        assert found.vendor["imaging_plane"]["indicator"] == "GCaMP6f"
        assert found.vendor["series"]["data"] == {"conversion": 2.0, "offset": 3.0, "unit": "V"}
        assert recording.get_sampling_frequency() is None
        assert recording.get_native_timestamps() is None
        assert recording.get_notes() == ("pixels are as stored; the file's conversion to 'V' is 2 * pixel + 3",)


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        ("meters", (0.25e6, 0.5e6)),
        ("um", (0.25, 0.5)),
        ("millimeters", (250.0, 500.0)),
        ("pixels", None),
        (None, (0.25e6, 0.5e6)),
    ],
)
def test_the_unit_of_the_grid_decides_the_size_of_a_pixel(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts, unit: str | None, size: Any
) -> None:
    parts = session(**series("acquisition/Movie", stored(4, 5, 6)))
    del parts["general/optophysiology/plane1/grid_spacing@unit"]
    if unit:
        parts["general/optophysiology/plane1/grid_spacing@unit"] = unit
    with roi.open(write_nwb(tmp_path / "grid.nwb", parts)) as recording:
        assert recording.metadata.pixel_size == size


def test_the_users_rate_runs_from_the_files_starting_time(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    timing = {"/starting_time": 5.0, "/starting_time@rate": 10.0}
    path = write_nwb(tmp_path / "rate.nwb", session(**series("acquisition/Movie", stored(4, 5, 6), **timing)))
    with roi.open(path, sampling_frequency=2.0) as recording:
        np.testing.assert_array_equal(recording.get_timestamps(), [5.0, 5.5, 6.0, 6.5])


def test_too_few_timestamps_are_told_and_not_taken(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    path = write_nwb(
        tmp_path / "few.nwb", session(**series("acquisition/Movie", stored(4, 5, 6), **{"/timestamps": np.arange(3.0)}))
    )
    with pytest.warns(roi.RoiExtractorsWarning, match="4 samples but 3 timestamps"):
        opened = roi.open(path)
    with opened as recording:
        assert recording.get_native_timestamps() is None
        assert recording.get_notes()[-1].endswith("has 4 samples but 3 timestamps; they are not used")


def test_timestamps_that_another_series_keeps_are_followed(
    tmp_path: Path, write_nwb: Write, write_zarr: Write, session: Parts, series: Parts, link: Any
) -> None:
    clock = {"acquisition/Clock@neurodata_type": "TimeSeries", "acquisition/Clock/timestamps": np.arange(4) * 0.5}
    parts = session(
        **clock,
        **series("acquisition/Movie", stored(4, 5, 6), **{"/timestamps": link("/acquisition/Clock/timestamps")}),
    )
    paths = [write_nwb(tmp_path / "linked.nwb", parts)]
    paths.append(write_zarr(tmp_path / "linked.nwb.zarr", parts))
    for path in paths:
        with roi.open(path) as recording:
            np.testing.assert_array_equal(recording.get_timestamps(), [0.0, 0.5, 1.0, 1.5])


def test_the_exposure_the_bits_and_the_modality_become_metadata(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    more = {"@exposure_time": 0.02, "@binning": np.uint8(2), "/bits_per_pixel": np.int32(12)}
    parts = session(**series("acquisition/Movie", stored(4, 5, 6), **more))
    parts |= {"acquisition/Movie@neurodata_type": "OnePhotonSeries", "session_start_time": "1970-01-01T00:00:00+00:00"}
    parts.pop("timestamps_reference_time", None)
    with roi.open(write_nwb(tmp_path / "one.nwb", parts)) as recording:
        found = recording.metadata
        assert (found.modality, found.bit_depth, found.start_time) == ("one-photon", 12, None)
        assert found.channels[0].exposure_time == 0.02
        assert found.vendor["series"]["binning"] == 2


def test_regular_timestamps_give_the_rate_and_irregular_ones_none(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    for name, times, rate in (("even", [5.0, 5.1, 5.2, 5.3], 10.0), ("uneven", [0.0, 0.1, 0.3, 0.4], None)):
        more = {"/timestamps": np.array(times)}
        path = write_nwb(tmp_path / f"{name}.nwb", session(**series("acquisition/Movie", stored(4, 5, 6), **more)))
        with roi.open(path) as recording:
            assert recording.get_sampling_frequency() == (rate if rate is None else pytest.approx(rate))


def test_timestamps_that_stand_still_are_not_used(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    more = {"/timestamps": np.zeros(4)}
    path = write_nwb(tmp_path / "still.nwb", session(**series("acquisition/Movie", stored(4, 5, 6), **more)))
    with pytest.warns(roi.RoiExtractorsWarning, match="the last timestamp are the same"):
        recording = roi.open(path)
    assert recording.get_native_timestamps() is None
    with pytest.warns(roi.RoiExtractorsWarning, match="the last timestamp are the same"):
        recording = roi.open(path, sampling_frequency=4.0)
    np.testing.assert_array_equal(recording.get_timestamps(), [0.0, 0.25, 0.5, 0.75])


def test_timestamps_in_milliseconds_are_converted_with_a_note(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    more = {"/timestamps": np.arange(4) * 50.0, "/timestamps@unit": "milliseconds"}
    path = write_nwb(tmp_path / "ms.nwb", session(**series("acquisition/Movie", stored(4, 5, 6), **more)))
    recording = roi.open(path)
    np.testing.assert_allclose(recording.get_timestamps(), np.arange(4) * 0.05)
    assert recording.get_sampling_frequency() == pytest.approx(20.0)
    assert any("'milliseconds', contrary to the schema" in note for note in recording.get_notes())


def test_a_rate_that_contradicts_timestamps_is_warned_about(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    more = {"/timestamps": np.arange(4) * 0.1, "/starting_time": 0.0, "/starting_time@rate": 30.0}
    path = write_nwb(tmp_path / "both.nwb", session(**series("acquisition/Movie", stored(4, 5, 6), **more)))
    with pytest.warns(roi.RoiExtractorsWarning, match="timestamps give 10 Hz, but it also states a rate of 30 Hz"):
        recording = roi.open(path)
    np.testing.assert_allclose(recording.get_timestamps(), np.arange(4) * 0.1)


@pytest.mark.parametrize(
    ("times", "rate", "words"),
    [
        ([0.0, 0.1, 0.2, 0.3], np.nan, ""),
        ([0.0, 0.1, 0.2, 0.0], 10.0, "timestamp are the same"),
        ([0.0, 0.1, 0.2, np.nan], 10.0, "timestamps give nan Hz"),
    ],
)
def test_a_rate_or_a_clock_that_gives_no_number_opens(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts, times: list[float], rate: float, words: str
) -> None:
    more = {"/timestamps": np.array(times), "/starting_time": 0.0, "/starting_time@rate": rate}
    path = write_nwb(tmp_path / "both.nwb", session(**series("acquisition/Movie", stored(4, 5, 6), **more)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recording = roi.open(path)
    assert [words in str(one.message) for one in caught] == ([True] if words else [])
    assert recording.get_series().shape[0] == 4


def test_a_dimension_that_contradicts_the_pixels_is_warned_about(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    right = {"/dimension": np.array([5, 6], np.int32)}
    path = write_nwb(tmp_path / "right.nwb", session(**series("acquisition/Movie", stored(4, 5, 6), **right)))
    assert roi.open(path).get_frame_shape() == (6, 5)
    wrong = {"/dimension": np.array([6, 5], np.int32)}
    path = write_nwb(tmp_path / "wrong.nwb", session(**series("acquisition/Movie", stored(4, 5, 6), **wrong)))
    with pytest.warns(
        roi.RoiExtractorsWarning, match=r"states 6 x 5 pixels \(x, y\).*stored as \(time, rows, columns\)"
    ):
        assert roi.open(path).get_frame_shape() == (6, 5)


# External files


def external(files: list[str], starts: list[int], **more: Any) -> dict[str, Any]:
    return {
        "/external_file": files,
        "/external_file@starting_frame": np.array(starts),
        "/format": "external",
        **{f"/{key}": value for key, value in more.items()},
    }


def test_one_external_file_that_begins_later_keeps_the_times_of_its_frames(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    pixels = stored(4, 5, 6)
    tifffile.imwrite(tmp_path / "late.tif", pixels, photometric="minisblack")
    more = external(["late.tif"], [3], timestamps=np.arange(7) * 0.5)
    path = write_nwb(tmp_path / "late.nwb", session(**series("acquisition/Movie", np.empty((0, 0, 0), "u1"), **more)))
    with pytest.warns(IncompleteRecordingWarning, match="begin at frame 3"):
        recording = roi.open(path)
    np.testing.assert_array_equal(recording.get_series(), pixels)
    np.testing.assert_array_equal(recording.get_timestamps(), [1.5, 2.0, 2.5, 3.0])
    assert recording.get_missing_samples().tolist() == [0, 1, 2]
    assert not recording.keeps_missing_samples
    assert recording.get_paths() == (str(path), str(tmp_path / "late.tif"))
    more = external(["late.tif"], [3], starting_time=10.0) | {"/starting_time@rate": 2.0}
    path = write_nwb(tmp_path / "rate.nwb", session(**series("acquisition/Movie", np.empty((0, 0, 0), "u1"), **more)))
    with pytest.warns(IncompleteRecordingWarning, match="begin at frame 3"):
        np.testing.assert_array_equal(roi.open(path).get_timestamps(), [11.5, 12.0, 12.5, 13.0])


def test_external_files_are_read_in_the_order_of_their_first_frames(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    pixels = stored(9, 5, 6)
    tifffile.imwrite(tmp_path / "a.tif", pixels[4:], photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", pixels[:4], photometric="minisblack")
    more = external(["a.tif", "b.tif"], [4, 0])
    path = write_nwb(tmp_path / "order.nwb", session(**series("acquisition/Movie", np.empty((0, 0, 0), "u1"), **more)))
    with pytest.warns(roi.RoiExtractorsWarning, match="in the order of starting_frame"):
        recording = roi.open(path)
    np.testing.assert_array_equal(recording.get_series(), pixels)


def test_external_files_with_more_axes_or_pages_than_the_series_states(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    tifffile.imwrite(tmp_path / "two.tif", np.zeros((4, 2, 5, 6), np.uint16), imagej=True, metadata={"axes": "TCYX"})
    tifffile.imwrite(tmp_path / "plain.tif", stored(8, 5, 6), photometric="minisblack")
    empty = np.empty((0, 0, 0), "u1")
    path = write_nwb(tmp_path / "two.nwb", session(**series("acquisition/Movie", empty, **external(["two.tif"], [0]))))
    with pytest.raises(UnsupportedRecordingError, match=r"'two.tif' has 2 channels.*open that file itself"):
        roi.open(path)
    more = external(["plain.tif"], [0], num_samples=np.uint32(4))
    path = write_nwb(tmp_path / "plain.nwb", session(**series("acquisition/Movie", empty, **more)))
    with pytest.warns(roi.RoiExtractorsWarning, match="num_samples is 4, .* contain 8, exactly 2 times as many"):
        assert len(roi.open(path)) == 8


@pytest.mark.parametrize(
    "name",
    [
        "/data/part.tif",
        "../part.tif",
        "sub/../../part.tif",
        "C:\\data\\part.tif",
        "\\\\server\\part.tif",
        "..\\part.tif",
        "https://host/part.tif",
    ],
)
def test_external_files_outside_the_folder_are_refused(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts, name: str
) -> None:
    more = {"/external_file": [name], "/format": "external"}
    path = write_nwb(
        tmp_path / "outside.nwb", session(**series("acquisition/Movie", np.empty((0, 0, 0), "u1"), **more))
    )
    with pytest.raises(UnsupportedRecordingError, match=r"which is outside its folder and is not followed"):
        roi.open(path)


def test_external_files_that_are_gone_or_disagree_are_told(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    more = {
        "/external_file": ["a.tif", "b.tif"],
        "/external_file@starting_frame": np.array([0, 5]),
        "/format": "external",
    }
    path = write_nwb(tmp_path / "parts.nwb", session(**series("acquisition/Movie", np.empty((0, 0, 0), "u1"), **more)))
    with pytest.raises(SourceNotFoundError, match=r"names the external file 'a.tif', which does not exist"):
        roi.open(path)
    with h5py.File(path, "a") as file:
        file["acquisition/Movie/num_samples"] = np.uint32(9)
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, stored(4, 5, 6), photometric="minisblack")
    with pytest.raises(
        CorruptRecordingError,
        match=r"starting_frame of acquisition/Movie is \[0, 5\], but the pages of the files give \[0, 4\]",
    ):
        roi.open(path)


@pytest.mark.parametrize("cut", ["a.tif", "b.tif"])
def test_a_damaged_external_file_is_a_note_or_refused_where_it_moves_others(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts, cut: str
) -> None:
    more = {"/external_file": ["a.tif", "b.tif"], "/format": "external"}
    path = write_nwb(tmp_path / "parts.nwb", session(**series("acquisition/Movie", np.empty((0, 0, 0), "u1"), **more)))
    for name in ("a.tif", "b.tif"):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            for frame in stored(4, 5, 6):
                writer.write(frame, photometric="minisblack", contiguous=False)
    damaged = tmp_path / cut
    damaged.write_bytes(damaged.read_bytes()[:-20])
    if cut == "a.tif":
        words = r"external file 'a\.tif' is damaged at its end, and nothing states"
        with pytest.warns(roi.IncompleteRecordingWarning), pytest.raises(CorruptRecordingError, match=words):
            roi.open(path)
        return
    with pytest.warns(roi.IncompleteRecordingWarning, match=r"b\.tif") as seen:
        recording = roi.open(path)
    assert 4 < len(recording) < 8
    assert str(seen[0].message) in recording.get_notes()


# What is refused


def test_nwb_1_is_said_to_be_nwb_1(tmp_path: Path, write_nwb: Write) -> None:
    path = write_nwb(
        tmp_path / "old.nwb", {"nwb_version": "NWB-1.0.6", "acquisition/timeseries/movie/data": stored(4, 5, 6)}
    )
    with pytest.raises(UnsupportedRecordingError, match=r"old.nwb is NWB 1.0.6; only NWB 2 is read"):
        roi.open(path)


def test_a_url_is_said_to_be_one() -> None:
    with pytest.raises(SourceKindError, match=r"is a URL.* only local files"):
        NwbImagingExtractor("https://api.dandiarchive.org/api/assets/1/download/")
    with pytest.raises(SourceKindError, match=r"is a URL.* only local files"):
        roi.open("s3://dandiarchive/blobs/1", format="nwb")


def test_links_into_other_files_are_not_followed(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    write_nwb(tmp_path / "raw.nwb", session(**series("acquisition/Movie", stored(4, 5, 6))))
    path = write_nwb(tmp_path / "linked.nwb", session(**series("acquisition/Movie", None)))
    with h5py.File(path, "a") as file:
        file["acquisition/Movie/data"] = h5py.ExternalLink("raw.nwb", "/acquisition/Movie/data")
    with pytest.raises(
        UnsupportedRecordingError, match=r"acquisition/Movie/data is a link to another file \(raw.nwb\)"
    ):
        roi.open(path)


def test_zarr_that_leads_elsewhere_or_needs_pickle_is_refused(
    tmp_path: Path, write_zarr: Write, session: Parts, series: Parts, link: Any
) -> None:
    pixels = stored(4, 5, 6)
    path = write_zarr(
        tmp_path / "climbs.nwb.zarr", session(**series("acquisition/Movie", pixels, **{"/timestamps": link("../../x")}))
    )
    with roi.open(path) as recording:
        assert any("leads out of the file and is not followed" in note for note in recording.get_notes())
    path = write_zarr(tmp_path / "pickled.nwb.zarr", session(**series("acquisition/Movie", pixels)))
    place = path / "acquisition" / "Movie" / "data" / ".zarray"
    place.write_text(place.read_text().replace('"filters": null', '"filters": [{"id": "pickle"}]'))
    with pytest.raises(
        UnsupportedRecordingError,
        match=r"uses the codec 'pickle', which is not supported \(a pickle could run code\); supported: .*zstd",
    ):
        roi.open(path)


@pytest.mark.parametrize(
    "compressor", [{"id": "zlib", "level": 1}, {"id": "zstd", "level": 1}, {"id": "bz2", "level": 9}]
)
def test_a_chunk_of_zarr_that_unpacks_to_more_is_refused(
    tmp_path: Path, write_zarr: Write, session: Parts, series: Parts, compressor: dict[str, Any]
) -> None:
    import numcodecs

    codec = numcodecs.get_codec(dict(compressor))
    pixels = stored(12, 5, 6)
    path = write_zarr(tmp_path / "bomb.nwb.zarr", session(**series("acquisition/Movie", pixels)))
    place = path / "acquisition" / "Movie" / "data"
    told = json.loads((place / ".zarray").read_text())
    (place / ".zarray").write_text(json.dumps({**told, "compressor": compressor}))
    for chunk in place.glob("*.0.0"):
        chunk.write_bytes(codec.encode(chunk.read_bytes()))
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), pixels.swapaxes(1, 2))
        (place / "1.0.0").write_bytes(codec.encode(np.zeros(1 << 23, np.uint8)))
        tracemalloc.start()
        with pytest.raises(
            roi.RecordingError, match=r"data: the chunk 1\.0\.0 cannot be decoded: it decompresses to more than the"
        ):
            recording.get_series(4, 8)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 << 20


def test_a_chunk_that_is_gone_is_told(tmp_path: Path, write_zarr: Write, session: Parts, series: Parts) -> None:
    pixels = stored(12, 5, 6)
    path = write_zarr(tmp_path / "lost.nwb.zarr", session(**series("acquisition/Movie", pixels)))
    (path / "acquisition" / "Movie" / "data" / "1.0.0").unlink()
    with pytest.warns(IncompleteRecordingWarning, match=r"lost.nwb.zarr: 1 of \d+ chunks of the pixels is missing"):
        recording = roi.open(path)
    with recording:
        np.testing.assert_array_equal(recording[0:4], pixels[0:4].swapaxes(1, 2))
        assert not recording[4:8].any()
        assert "read as the fill value" in recording.get_notes()[-1]
        assert recording.get_missing_samples().tolist() == [4, 5, 6, 7]
        assert recording.keeps_missing_samples


def test_chunks_of_hdf5_that_were_never_written_are_counted_and_an_interrupted_end_is_left_out(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts
) -> None:
    pixels = stored(12, 5, 6)
    path = write_nwb(
        tmp_path / "few.nwb", session(**series("acquisition/Movie", pixels, **{"/timestamps": np.arange(12) * 0.5}))
    )
    with h5py.File(path, "a") as file:
        group = file["acquisition/Movie"]
        attributes = dict(group["data"].attrs)
        del group["data"]
        made = group.create_dataset("data", shape=pixels.shape, dtype=pixels.dtype, chunks=(2, 5, 6))
        made.attrs.update(attributes)
        for start in (0, 4, 6):
            made[start : start + 2] = pixels[start : start + 2]
    with pytest.warns(IncompleteRecordingWarning) as seen:
        recording = roi.open(path)
    words = " ".join(str(warning.message) for warning in seen)
    assert "8 of 12 samples are complete" in words
    assert "1 of 4 chunks of the pixels is missing" in words
    pixels[2:4] = 0
    np.testing.assert_array_equal(recording.get_series(), pixels[:8].swapaxes(1, 2))
    np.testing.assert_array_equal(recording.get_timestamps(), np.arange(8) * 0.5)
    assert recording.get_missing_samples().tolist() == [2, 3]


def test_a_zarr_is_opened_through_its_own_mark(
    tmp_path: Path, write_zarr: Write, session: Parts, series: Parts
) -> None:
    pixels = stored(12, 5, 6)
    path = write_zarr(tmp_path / "whole.nwb.zarr", session(**series("acquisition/Movie", pixels)))
    with roi.open(path / ".zattrs") as recording:
        np.testing.assert_array_equal(recording.get_series(), pixels.swapaxes(1, 2))


def test_a_folder_that_is_no_zarr_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(SourceKindError, match=r"is not an NWB Zarr: it contains no .zgroup and no zarr.json"):
        NwbImagingExtractor(tmp_path)


@pytest.mark.parametrize("times", [[0.0, 0.2, 0.1, 0.3], [0.0, np.nan, 0.2, 0.3]])
def test_timestamps_that_do_not_increase_are_warned_about(
    tmp_path: Path, write_nwb: Write, session: Parts, series: Parts, times: list[float]
) -> None:
    more = {"/timestamps": np.array(times)}
    path = write_nwb(tmp_path / "back.nwb", session(**series("acquisition/Movie", stored(4, 5, 6), **more)))
    with pytest.warns(roi.RoiExtractorsWarning, match="do not increase at") as seen:
        recording = roi.open(path)
    assert str(seen[0].message) in recording.get_notes()
    np.testing.assert_array_equal(recording.get_timestamps(), times)

"""The writer of this format keeps the rules of the core, and what it writes opens again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.io import blocks
from roiextractors_core.testing import WriterTests

pytest.importorskip("pynwb", reason="pynwb is not installed: the extra [write]")


class TestWritingNwb(WriterTests):
    format = "nwb"
    target_name = "movie.nwb"
    dtypes = {"uint16": "uint16", "float32": "float32"}


def test_a_start_time_and_a_rate_are_required_before_anything_is_written(tmp_path: Path) -> None:
    bare = roi.NumpyImagingExtractor(np.zeros((3, 4, 5), np.uint8), sampling_frequency=1.0)
    with pytest.raises(roi.UnsupportedRecordingError, match=r"NWB needs a start time.*pass start_time='2026"):
        roi.convert(bare, tmp_path / "a.nwb")
    with pytest.raises(roi.UnsupportedRecordingError, match="ISO 8601 date and time, got 'noon'"):
        roi.convert(bare, tmp_path / "a.nwb", start_time="noon")
    without_rate = roi.NumpyImagingExtractor(np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(roi.TimesError, match="needs a sampling rate or times"):
        roi.convert(without_rate, tmp_path / "a.nwb", start_time="2026-01-31T12:00:00")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("start", ["2026-01-31T12:00:00", datetime(2026, 1, 31, 12)])
def test_a_start_time_can_be_passed(tmp_path: Path, start: str | datetime) -> None:
    recording = roi.NumpyImagingExtractor(np.ones((3, 4, 5), np.uint8), sampling_frequency=2.0)
    with roi.open(roi.convert(recording, tmp_path / "a.nwb", start_time=start)) as reopened:
        assert reopened.metadata.start_time is not None
        assert reopened.metadata.start_time.replace(tzinfo=None) == datetime(2026, 1, 31, 12)


START = datetime(2026, 1, 31, 12, tzinfo=UTC)
SUBJECT = {"subject_id": "m1", "species": "Mus musculus", "sex": "F", "age": "P90D"}


def movie(start: datetime | None = START, *, channel: str = "Green", **more: Any) -> roi.NumpyImagingExtractor:
    rng = np.random.default_rng(len(channel))
    metadata = roi.RecordingMetadata(start_time=start, channels=(roi.ChannelMetadata(channel),), **more)
    return roi.NumpyImagingExtractor(
        rng.integers(0, 999, (40, 12, 9)).astype("uint16"), sampling_frequency=8.0, metadata=metadata
    )


def with_times(times: np.ndarray, *, rate: float | None = None) -> roi.NumpyImagingExtractor:
    metadata = roi.RecordingMetadata(start_time=START)
    return roi.NumpyImagingExtractor(
        np.zeros((len(times), 4, 5), "uint8"), sampling_frequency=rate, times=times, metadata=metadata
    )


@contextmanager
def as_pynwb_reads(path: Path) -> Iterator[Any]:
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(str(path), "r") as stream:
        yield stream.read()


def test_several_recordings_are_written_into_one_file(tmp_path: Path) -> None:
    green, red = movie(), movie(channel="Red 2")
    told: list[tuple[int, int]] = []
    path = roi.convert([green, red], tmp_path / "a.nwb", progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (green.nbytes + red.nbytes,) * 2
    assert roi.streams(path) == {"series": ("TwoPhotonSeriesGreen", "TwoPhotonSeriesRed2")}
    for made, name in ((green, "TwoPhotonSeriesGreen"), (red, "TwoPhotonSeriesRed2")):
        with roi.open(path, series=name) as found:
            np.testing.assert_array_equal(found[...], made[...])
            assert found.metadata == made.metadata
    with as_pynwb_reads(path) as file:
        np.testing.assert_array_equal(file.acquisition["TwoPhotonSeriesRed2"].data[:].swapaxes(1, 2), red[...])
        assert sorted(file.imaging_planes) == ["ImagingPlaneGreen", "ImagingPlaneRed2"]
        assert len(file.devices) == 1


def test_a_dict_names_the_series_and_takes_paths(tmp_path: Path) -> None:
    source = roi.convert(movie(), tmp_path / "movie.npy")
    path = roi.convert({"raw": source, "part": movie().slice_samples(3)}, tmp_path / "a.nwb")
    assert roi.streams(path) == {"series": ("TwoPhotonSeriesPart", "TwoPhotonSeriesRaw")}
    with roi.open(path, series="TwoPhotonSeriesPart") as found:
        np.testing.assert_array_equal(found.get_timestamps(), np.arange(3, 40) / 8.0)


def test_a_path_with_several_channels_is_written_whole(tmp_path: Path) -> None:
    source = roi.convert([movie(), movie(channel="Red")], tmp_path / "source.nwb")
    path = roi.convert(source, tmp_path / "copy.nwb")
    assert len(roi.streams(path)["series"]) == 2
    with roi.open(path, series=roi.streams(path)["series"][1]) as found:
        np.testing.assert_array_equal(found[...], movie(channel="Red")[...])


def test_none_of_several_recordings_is_replaced(tmp_path: Path) -> None:
    source = roi.convert(movie(), tmp_path / "source.nwb")
    before = source.read_bytes()
    with roi.open(source) as opened, pytest.raises(roi.SourceKindError, match=r"source\.nwb"):
        roi.convert({"a": movie(), "b": opened}, source, overwrite=True)
    assert source.read_bytes() == before


def test_a_pixel_that_cannot_be_read_leaves_nothing_of_several(tmp_path: Path) -> None:
    class Broken(roi.NumpyImagingExtractor):
        def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
            raise roi.CorruptRecordingError("lost")

    broken = Broken(np.zeros((9, 4, 5), "uint8"), sampling_frequency=2.0)
    with pytest.raises(roi.CorruptRecordingError, match="lost"):
        roi.convert({"a": movie(), "b": broken}, tmp_path / "a.nwb")
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    without_rate = roi.NumpyImagingExtractor(np.zeros((3, 4, 5)))
    with pytest.raises(roi.TimesError, match=r"^b: NWB needs a sampling rate"):
        roi.convert({"a": movie(), "b": without_rate}, tmp_path / "a.nwb")
    assert list(tmp_path.iterdir()) == []


# Modality, indicator, location


@pytest.mark.parametrize(
    ("modality", "kind"),
    [
        ("one-photon", "OnePhotonSeries"),
        ("confocal", "OnePhotonSeries"),
        ("light-sheet", "OnePhotonSeries"),
        ("two-photon", "TwoPhotonSeries"),
        ("three-photon", "TwoPhotonSeries"),
        (None, "TwoPhotonSeries"),
    ],
)
def test_the_modality_chooses_the_type_of_the_series(tmp_path: Path, modality: str | None, kind: str) -> None:
    with as_pynwb_reads(roi.convert(movie(modality=modality), tmp_path / "a.nwb")) as file:
        (series,) = file.acquisition.values()
        assert type(series).__name__ == series.name == kind
        assert (modality or "does not say") in series.description
    with roi.open(tmp_path / "a.nwb") as found:
        assert found.metadata.modality == modality
    with as_pynwb_reads(roi.convert(movie(), tmp_path / "b.nwb", modality="one-photon")) as file:
        assert list(file.acquisition) == ["OnePhotonSeries"]
    with pytest.raises(roi.UnknownOptionError, match=r"modality must be one of 'two-photon'.*got 'x'"):
        roi.convert(movie(), tmp_path / "c.nwb", modality="x")


def test_indicator_and_location_are_as_given(tmp_path: Path) -> None:
    dyes = {"Green": "GCaMP6f", "Red": "tdTomato"}
    path = roi.convert([movie(), movie(channel="Red")], tmp_path / "a.nwb", indicator=dyes, location="VISp")
    with as_pynwb_reads(path) as file:
        planes = file.imaging_planes
        assert {name: (plane.indicator, plane.location) for name, plane in planes.items()} == {
            "ImagingPlaneGreen": ("GCaMP6f", "VISp"),
            "ImagingPlaneRed": ("tdTomato", "VISp"),
        }
    with pytest.raises(roi.UnknownOptionError, match="indicator names 'Blue'; the recordings are 'Green' and 'Red'"):
        roi.convert([movie(), movie(channel="Red")], tmp_path / "b.nwb", indicator={"Blue": "x"})


def test_what_the_file_says_of_the_optics_is_in_nwbs_own_fields(tmp_path: Path) -> None:
    channel = roi.ChannelMetadata("Green", 510.0, laser_lines=(920.0,), detection_band=(500.0, 550.0))
    lens = roi.ObjectiveMetadata("XLPLN25X", 25.0, 1.05)
    metadata = roi.RecordingMetadata(
        start_time=START, pixel_size=(0.5, 0.7), plane_spacing=4.0, channels=(channel,), objective=lens, device="Rig 2", software="Scan 5"
    )  # fmt: skip
    volume = roi.NumpyImagingExtractor(np.zeros((3, 4, 5, 2), "uint8"), sampling_frequency=2.0, metadata=metadata)
    with as_pynwb_reads(roi.convert(volume, tmp_path / "a.nwb")) as file:
        plane = file.imaging_planes["ImagingPlane"]
        assert list(plane.grid_spacing[:]) == [0.7, 0.5, 4.0]
        assert (plane.grid_spacing_unit, plane.excitation_lambda) == ("micrometers", 920.0)
        assert plane.optical_channel[0].emission_lambda == 510.0
        assert "500 to 550 nm" in plane.optical_channel[0].description
        assert plane.device.name == "Rig 2"
        assert plane.device.description == "software: Scan 5; objective: XLPLN25X, 25x, NA 1.05"
        assert list(file.acquisition["TwoPhotonSeries"].dimension[:]) == [5, 4, 2]


# Times


@pytest.mark.parametrize(
    ("times", "rate", "expected"),
    [
        (np.arange(50) / 30.0 + 4.0, 30.0, (30.0, 4.0)),
        (np.arange(50) / 29.5, 30.0, (29.5, 0.0)),  # the times, not a nominal rate
        (np.arange(50) * 0.1 + 1e-12 * np.sin(np.arange(50)), None, (10.0, 0.0)),
        (np.round(np.arange(50) / 30.0, 6), 30.0, None),  # a clock of microseconds
        (np.append(np.arange(49) / 30.0, 2.0), 30.0, None),
        (np.append(np.arange(49) / 30.0, np.nan), 30.0, None),
    ],
)
def test_times_on_a_grid_become_a_rate_and_a_start(
    tmp_path: Path, times: np.ndarray, rate: float | None, expected: tuple[float, float] | None
) -> None:
    recording = with_times(times, rate=rate)
    with as_pynwb_reads(roi.convert(recording, tmp_path / "a.nwb")) as file:
        series = file.acquisition["TwoPhotonSeries"]
        if expected is None:
            assert series.rate is None
            np.testing.assert_array_equal(series.timestamps[:], times)
        else:
            assert series.timestamps is None
            assert (series.rate, series.starting_time) == pytest.approx(expected, rel=1e-12)
    if np.isfinite(times).all():
        with roi.open(tmp_path / "a.nwb") as found:
            np.testing.assert_allclose(found.get_timestamps(), times, rtol=0, atol=1e-9)


def test_recordings_that_began_later_keep_their_place_in_the_session(tmp_path: Path) -> None:
    first, second = movie(), movie(START + timedelta(seconds=90.5), channel="Red")
    path = roi.convert([first, second], tmp_path / "a.nwb")
    with as_pynwb_reads(path) as file:
        assert file.session_start_time == START
        assert [file.acquisition[f"TwoPhotonSeries{name}"].starting_time for name in ("Green", "Red")] == [0.0, 90.5]
    with roi.open(path, series="TwoPhotonSeriesRed") as found:
        assert found.metadata.start_time == START
        np.testing.assert_allclose(found.get_timestamps(), second.get_timestamps() + 90.5)


def test_a_session_that_began_before_the_recording(tmp_path: Path) -> None:
    naive = movie(datetime(2026, 1, 31, 12))  # the zone of the session is that of its recordings
    with as_pynwb_reads(
        roi.convert(naive, tmp_path / "a.nwb", session={"start_time": "2026-01-31T11:59:00-05:00"})
    ) as file:
        assert file.session_start_time.isoformat() == "2026-01-31T11:59:00-05:00"
        assert file.acquisition["TwoPhotonSeries"].starting_time == 60.0
    with pytest.raises(roi.UnsupportedRecordingError, match=r"starts at 2026-01-31T13:00.* after the recording"):
        roi.convert(naive, tmp_path / "b.nwb", session={"start_time": "2026-01-31T13:00:00Z"})
    assert not (tmp_path / "b.nwb").exists()


# Subject and session


def test_subject_and_session_are_written(tmp_path: Path) -> None:
    session = {"experimenter": "Doe, Jane", "lab": "A lab", "session_id": "s1", "keywords": "imaging", "session_description": "rest"}  # fmt: skip
    subject = {**SUBJECT, "strain": "C57BL/6J", "date_of_birth": "2025-11-01"}
    with as_pynwb_reads(roi.convert(movie(), tmp_path / "a.nwb", subject=subject, session=session)) as file:
        assert (file.subject.subject_id, file.subject.species, file.subject.strain) == (
            "m1",
            "Mus musculus",
            "C57BL/6J",
        )
        assert (file.subject.sex, file.subject.age, file.subject.date_of_birth.year) == ("F", "P90D", 2025)
        assert (file.lab, file.session_id, file.session_description) == ("A lab", "s1", "rest")
        assert (tuple(file.experimenter), list(file.keywords[:])) == (("Doe, Jane",), ["imaging"])


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ({"subject_id": "m1"}, "the subject lacks 'species', 'sex' and 'age'"),
        ({**SUBJECT, "species": "mouse"}, "a Latin name such as 'Mus musculus', got 'mouse'"),
        ({**SUBJECT, "sex": "female"}, "sex must be one of 'M', 'F', 'U' and 'O', got 'female'"),
        ({**SUBJECT, "age": "90 days"}, "ISO 8601 duration such as 'P90D', got '90 days'"),
        ({**SUBJECT, "subject_id": "a/b"}, "subject_id must not contain '/'"),
    ],
)
def test_what_dandi_would_refuse_is_a_warning(tmp_path: Path, subject: dict[str, str], words: str) -> None:
    with pytest.warns(roi.RoiExtractorsWarning, match=f"DANDI does not accept this file yet: .*{words}"):
        path = roi.convert(movie(), tmp_path / "a.nwb", subject=subject)
    assert path.exists()


def test_a_complete_subject_gives_no_warning(tmp_path: Path) -> None:
    for k, more in enumerate([{}, {"age": "P90D/P95D"}, {"age": "P12W/"}, {"species": "http://purl.obolibrary.org/obo/NCBITaxon_10090"}]):  # fmt: skip
        roi.convert(movie(), tmp_path / f"{k}.nwb", subject={**SUBJECT, **more})
    worm = {**SUBJECT, "species": "Caenorhabditis elegans", "sex": "XX"}
    roi.convert(movie(), tmp_path / "worm.nwb", subject=worm)


def test_unknown_fields_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(roi.UnknownOptionError, match=r"subject has no field 'specie'; did you mean 'species'.*'sex'"):
        roi.convert(movie(), tmp_path / "a.nwb", subject={"specie": "Mus musculus"})
    with pytest.raises(roi.UnknownOptionError, match="session has no field 'labb'; did you mean 'lab'"):
        roi.convert(movie(), tmp_path / "a.nwb", session={"labb": "x"})
    with pytest.raises(roi.UnknownOptionError, match="subject must be a dict of its fields, got str"):
        roi.convert(movie(), tmp_path / "a.nwb", subject="m1")
    assert list(tmp_path.iterdir()) == []


# Chunks and compression


@pytest.mark.parametrize("compression", ["gzip", None, 4, "9"])
@pytest.mark.parametrize("shape", [(75, 40, 30), (75, 37, 128), (7, 110, 90), (3, 30, 25, 21), (5, 300, 70, 2)])
def test_pixels_are_in_chunks_as_h5py_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], compression: str | int | None
) -> None:
    monkeypatch.setattr("roiextractors_nwb.pixel_writer._CHUNK_BYTES", 1 << 14)  # some shapes are cut within a sample
    data = np.random.default_rng(1).integers(-300, 300, shape).astype("int16")
    recording = roi.NumpyImagingExtractor(
        data, sampling_frequency=2.0, metadata=roi.RecordingMetadata(start_time=START)
    )
    path = roi.convert(recording, tmp_path / "a.nwb", compression=compression)
    with h5py.File(path) as file:
        stored = file["acquisition/TwoPhotonSeries/data"]
        np.testing.assert_array_equal(stored[...].swapaxes(1, 2), data)
        assert np.prod(stored.chunks) * 2 <= 1 << 14
        assert stored.compression == (None if compression is None else "gzip")
        assert stored.compression_opts == {"gzip": 1, None: None, 4: 4, "9": 9}[compression]
    with roi.open(path) as found:
        np.testing.assert_array_equal(found[1:3], data[1:3])


def test_an_unknown_compression_is_refused(tmp_path: Path) -> None:
    for wrong in ("zip", 11, True, -1):
        with pytest.raises(
            roi.UnknownOptionError, match="compression must be 'gzip', a level of it from 1 to 9, or None"
        ):
            roi.convert(movie(), tmp_path / "a.nwb", compression=wrong)


@pytest.mark.parametrize("block", [1, 999, 5000, 1 << 20])
def test_blocks_of_any_length_fill_whole_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(blocks, "MAX_BLOCK_BYTES", block)
    monkeypatch.setattr("roiextractors_nwb.pixel_writer._CHUNK_BYTES", 7 * 12 * 9 * 2)
    with roi.open(roi.convert(movie(), tmp_path / "a.nwb")) as found:
        assert found.get_chunk_shape()[0] == 7
        np.testing.assert_array_equal(found[...], movie()[...])


class _OnWindows(datetime):
    """A date of which Windows does not know the local time."""

    def astimezone(self, tz: Any = None) -> Any:
        raise OSError(22, "Invalid argument")


def test_a_start_before_1970_has_a_zone_on_windows() -> None:
    from roiextractors_nwb.session import with_zone

    zoned = with_zone(_OnWindows(1961, 4, 12, 6, 7), None)
    assert zoned is not None
    assert zoned.utcoffset() is not None
    assert zoned.replace(tzinfo=None) == datetime(1961, 4, 12, 6, 7)

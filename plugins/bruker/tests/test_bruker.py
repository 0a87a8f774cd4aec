"""Prairie View recordings of every layout: what is read, when it was, and what is said when something is wrong."""

from __future__ import annotations

import os
import pickle
import re
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

Make = Callable[..., Any]
MISSING = pytest.mark.filterwarnings("ignore::roiextractors_core.errors.IncompleteRecordingWarning")


def changed(made: Any, old: str, new: str, count: int = -1) -> None:
    """Write the recording, then the XML again with a text in it replaced."""
    made.write()
    text = made.xml.read_text("utf-8-sig")
    assert old in text
    made.xml.write_text(text.replace(old, new, count), "utf-8")


def test_the_folder_and_every_file_of_it_open_the_same(prairie: Make, frames: Make) -> None:
    made = prairie()
    movie = frames(6)
    made.movie({(2, "Ch2"): movie})
    folder = made.write()
    (folder / f"{made.name}.env").write_text('<?xml version="1.0"?>\n<Environment version="5.6.64.400"></Environment>')
    (folder / f"{made.name}.companion.ome").write_text('<?xml version="1.0"?>\n<OME UUID="urn:uuid:1"></OME>')
    for path in (folder, *sorted(folder.iterdir()), [folder / "x", *folder.iterdir()][1:]):
        found = roi.open(path)
        assert found.provenance.format == "bruker", path
        np.testing.assert_array_equal(found.get_series(), movie)


def test_a_tiff_that_says_nothing_is_known_by_its_name_and_the_xml_beside(
    prairie: Make, frames: Make, tiff: Make
) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(2)})
    folder = made.write()
    path = folder / made.file(1, 2, 2)
    path.write_bytes(tiff(frames(2)[1:], software="other"))
    assert roi.open(path).shape == (2, 20, 12)
    (folder / f"{made.name}.xml").unlink()
    assert "bruker" not in {match.spec.name for match in roi.explain(path).matches}


def test_the_folder_and_the_xml_may_be_renamed(prairie: Make, frames: Make, tmp_path: Path) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(4)})
    folder = made.write()
    made.xml.rename(folder / "renamed")
    assert len(roi.open(folder / "renamed")) == 4
    (folder / "renamed").rename(folder / "b.xml")
    folder.rename(tmp_path / "another name")
    assert len(roi.open(tmp_path / "another name")) == 4
    assert len(roi.open(tmp_path / "another name" / made.file(1, 2, 3))) == 4


def test_two_recordings_in_one_folder_are_listed(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(2)})
    folder = made.write()
    text = made.xml.read_text("utf-8-sig")
    made.xml.rename(folder / "a.xml")
    (folder / "b.xml").write_text(text)
    with pytest.raises(
        roi.SourceKindError, match=r"contains 2 Prairie View recordings: 'a\.xml' and 'b\.xml'; open one"
    ):
        roi.open(folder)
    assert len(roi.open(folder / "b.xml")) == 2


def test_a_tiff_without_its_xml_says_what_is_missing(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(2)})
    folder = made.write()
    made.xml.unlink()
    with pytest.raises(roi.SourceNotFoundError, match=rf"contains no PVScan XML .*'{made.name}\.xml'.*format='tiff'"):
        roi.open(folder / made.file(1, 2, 1), format="bruker")
    assert roi.open(folder / made.file(1, 2, 1), format="tiff").shape == (1, 20, 12)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_Cycle00001_MarkPoints.xml", "<PVMarkPointSeriesElements Iterations='1'></PVMarkPointSeriesElements>"),
        ("_Cycle00001_VoltageRecording_001.xml", "<VRecSessionEntry><Frame/></VRecSessionEntry>"),
        (
            ".xml",
            '<PVScan version="5.3.64.300" date="4/11/2019 3:17:18 PM" notes=""><Sequence type="VoltageRecording" cycle="1">'
            '<VoltageRecording dataFile="a.csv" /></Sequence></PVScan>',
        ),
    ],
    ids=["stimulation points", "voltages", "a scan of voltages"],
)
def test_what_is_no_recording_of_images_is_not_claimed(tmp_path: Path, name: str, text: str) -> None:
    folder = tmp_path / "cell1-001"
    folder.mkdir()
    path = folder / f"cell1-001{name}"
    path.write_text(text)
    for source in (path, folder):
        assert roi.explain(source).best is None
    with pytest.raises(
        roi.UnsupportedRecordingError, match=r"not a PVScan|does not describe images .*VoltageRecording"
    ):
        roi.open(path, format="bruker")
    with pytest.raises(roi.SourceNotFoundError, match="contains no PVScan XML that describes images"):
        roi.open(folder, format="bruker")


def test_voltages_and_points_beside_a_recording_do_not_disturb(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(3)})
    made.sequences[0] = made.sequences[0].replace(
        "<PVStateShard />",
        '<PVStateShard />\n<VoltageRecording cycle="1" dataFile="a.csv" /><MarkPoints filename="m" />',
        1,
    )
    made.sequence(2, ['<VoltageRecording cycle="2" dataFile="b.csv" />'], kind="VoltageRecording")
    folder = made.write()
    (folder / f"{made.name}_Cycle00001_VoltageRecording_001.xml").write_text("<VRecSessionEntry/>")
    (folder / f"{made.name}_Cycle00001_MarkPoints.xml").write_text("<PVMarkPointSeriesElements/>")
    np.testing.assert_array_equal(roi.open(folder).get_series(), frames(3))


# Channels


def test_channels_have_their_own_names_in_the_order_of_their_numbers(prairie: Make, frames: Make) -> None:
    made = prairie()
    movies = {(2, "Green"): frames(3, offset=1), (1, "Red µ"): frames(3), (10, "Dodt"): frames(3, offset=2)}
    made.movie(movies)
    folder = made.write()
    assert roi.streams(folder) == {"channel": ("Red µ", "Green", "Dodt")}
    with pytest.raises(roi.StreamChoiceError, match=r"has the channels 'Red µ', 'Green' and 'Dodt'; choose one"):
        roi.open(folder)
    for number, name in movies:
        for choice in (name, number, str(number)):
            np.testing.assert_array_equal(roi.open(folder, channel=choice).get_series(), movies[number, name])
    with pytest.raises(roi.StreamChoiceError, match=", not 'Blue'"):
        roi.open(folder, channel="Blue")
    assert roi.open(folder, channel=2).metadata.channels[0].name == "Green"


def test_two_channels_of_one_name_are_told_apart(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(1, "GCaMP"): frames(2), (2, "GCaMP"): frames(2, offset=9)})
    folder = made.write()
    assert roi.streams(folder)["channel"] == ("GCaMP (1)", "GCaMP (2)")
    np.testing.assert_array_equal(roi.open(folder, channel="GCaMP (2)").get_series(), frames(2, offset=9))


def test_frames_without_a_channel_are_no_samples_of_it_and_a_note_says_so(prairie: Make, frames: Make) -> None:
    made = prairie()
    movie = frames(4)
    texts = []
    for k in range(4):
        files = [(1, "Red", made.file(1, 1, k + 1), None, movie[k])]
        files += [(2, "Green", made.file(1, 2, k + 1), None, movie[k] + 1)] if k % 2 else []
        texts.append(made.frame(k + 1, k * 0.5, k * 0.5, files))
    made.sequence(1, texts)
    found = roi.open(made.write(), channel="Green")
    np.testing.assert_array_equal(found.get_series(), movie[1::2] + 1)
    assert found.get_native_timestamps().tolist() == [0.5, 1.5]
    assert (
        "2 of 4 frames have no image of the channel 'Green'; the first is frame 1 of cycle 1"
        in found.provenance.notes[0]
    )


# Times


def test_bursts_that_begin_anew_keep_their_gaps(prairie: Make, frames: Make) -> None:
    made = prairie()
    times = made.movie({(2, "Ch2"): frames(9)}, bursts=[4, 2, 3], starts=[0.0, 10.5, 31.0], kind="BrightnessOverTime")
    found = roi.open(made.write())
    np.testing.assert_allclose(found.get_native_timestamps(), times, atol=1e-12)
    assert found.times_source == "native"
    assert found.get_sampling_frequency() == 1 / 0.033
    assert re.search(r"2 gaps of 10\.401 to 20\.467 s between its 3 cycles", found.provenance.notes[0])


def test_cycles_that_run_on_have_the_times_of_the_xml_to_the_last_bit(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(9)}, bursts=[3, 3, 3], starts=[0.0, 0.099, 0.198], restart=False)
    found = roi.open(made.write())
    assert found.get_native_timestamps().tolist() == [round(k * 0.033, 9) for k in range(9)]
    assert found.get_notes() == ()


def test_without_absolute_times_the_time_of_day_says_when_a_cycle_began(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie(
        {(2, "Ch2"): frames(6)},
        bursts=[3, 3],
        starts=[0.0, 20.25],
        absolute=False,
        times=("23:59:50.0000000", "00:00:10.2500000"),
    )
    found = roi.open(made.write())
    np.testing.assert_allclose(found.get_native_timestamps()[3:], 20.25 + np.arange(3) * 0.033, atol=1e-9)


def test_cycles_that_begin_anew_and_nobody_says_when_have_no_times(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(6)}, bursts=[3, 3], starts=[0.0, 20.25], absolute=False, times=("", ""))
    found = roi.open(made.write())
    assert found.get_native_timestamps() is None
    assert found.get_sampling_frequency() is None or found.get_sampling_frequency() == 1 / 0.033
    assert "the start of each cycle is unknown" in found.provenance.notes[0]


def test_one_frame_a_cycle_has_the_rate_of_the_cycles(prairie: Make, frames: Make) -> None:
    made = prairie(version="4.0.0.43", old=True, period=0.5)
    starts = [1.5 * k for k in range(5)]
    made.movie({(1, "Ch1"): frames(5)}, bursts=[1] * 5, starts=starts)
    found = roi.open(made.write())
    np.testing.assert_allclose(found.get_native_timestamps(), starts)
    assert found.get_sampling_frequency() == pytest.approx(1 / 1.5)


def test_a_frame_period_that_the_times_contradict_is_not_the_rate(prairie: Make, frames: Make) -> None:
    made = prairie(period=0.05)
    made.movie({(1, "Ch1"): frames(5)})
    changed(made, '"framePeriod" value="0.05"', '"framePeriod" value="0.033"')
    assert roi.open(made.folder).get_sampling_frequency() == pytest.approx(20.0)


def test_frames_at_uneven_times_have_no_rate(prairie: Make, frames: Make) -> None:
    made = prairie()
    movie = frames(6)
    times = [0.0, 0.1, 0.5, 0.6, 1.9, 4.0]
    files = [[(1, "Ch1", made.file(1, 1, k + 1), None, movie[k])] for k in range(6)]
    made.sequence(1, [made.frame(k + 1, times[k], times[k], files[k]) for k in range(6)])
    found = roi.open(made.write())
    assert found.get_sampling_frequency() is None
    assert found.get_timestamps().tolist() == times
    assert roi.open(made.folder, sampling_frequency=3.0).get_sampling_frequency() == 3.0


def test_a_single_frame_has_the_rate_of_its_frame_period(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(1, "Ch1"): frames(1)}, kind="Single")
    assert roi.open(made.write()).get_sampling_frequency() == 1 / 0.033


# Volumes


@pytest.fixture
def stack(frames: Make) -> np.ndarray:
    """Seven volumes of three planes."""
    return np.asarray(np.moveaxis(frames(21).reshape(7, 3, 20, 12), 1, -1))


DEPTHS = [["100.5", "-30"], ["100.5", "0"], ["100.5", "30"]]


@pytest.mark.parametrize("paged", [False, True], ids=["a file a plane", "a file a volume"])
def test_volumes_of_two_channels(prairie: Make, stack: np.ndarray, paged: bool) -> None:
    made = prairie()
    made.volumes({(1, "Red"): stack, (2, "Green"): stack + 5}, depths=DEPTHS, step=0.25, paged=paged)
    folder = made.write()
    assert roi.streams(folder) == {"channel": ("Red", "Green"), "plane": ("0", "1", "2")}
    found = roi.open(folder, channel="Green")
    np.testing.assert_array_equal(found.get_series(), stack + 5)
    np.testing.assert_array_equal(found[2:5, 3:9, 1:4, 1:], stack[2:5, 3:9, 1:4, 1:] + 5)
    np.testing.assert_array_equal(found.get_samples([6, 0, 0]), stack[[6, 0, 0]] + 5)
    assert found.get_sampling_frequency() == 4.0
    assert found.get_native_timestamps().tolist() == [k * 0.25 for k in range(7)]
    assert found.metadata.plane_positions == (70.5, 100.5, 130.5)
    assert found.metadata.plane_spacing == 30.0
    plane = roi.open(folder, channel="Green", plane="2")
    np.testing.assert_array_equal(plane.get_series(), stack[..., 2] + 5)
    assert plane.metadata.plane_positions == (130.5,)
    with pytest.raises(roi.StreamChoiceError, match="has the planes '0', '1' and '2', not 3"):
        roi.open(folder, channel="Green", plane=3)


@pytest.mark.parametrize("restart", [False, True], ids=["times run on", "times begin anew"])
def test_volumes_in_bursts_keep_their_gaps(prairie: Make, stack: np.ndarray, restart: bool) -> None:
    made = prairie()
    starts = [0.0, 0.25, 0.5, 0.75, 30.0, 30.25, 30.5]
    made.volumes({(1, "Red"): stack}, depths=DEPTHS, step=0, starts=starts, restart=restart)
    found = roi.open(made.write())
    np.testing.assert_allclose(found.get_native_timestamps(), starts, atol=1e-9)
    assert found.get_sampling_frequency() == pytest.approx(4.0)


def test_volumes_taken_in_the_other_direction_are_turned_by_their_positions(prairie: Make, stack: np.ndarray) -> None:
    made = prairie()
    times = made.volumes({(1, "Red"): stack}, depths=DEPTHS, step=0.25, turned=True)
    found = roi.open(made.write())
    np.testing.assert_array_equal(found.get_series(), stack)
    np.testing.assert_allclose(found.get_native_timestamps(), times)
    assert "3 of 7 volumes were acquired in the opposite direction" in found.provenance.notes[0]


def test_a_last_volume_of_fewer_planes_is_left_out_with_a_warning(prairie: Make, stack: np.ndarray) -> None:
    made = prairie()
    made.volumes({(1, "Red"): stack}, depths=DEPTHS, step=0.25)
    begin = made.sequences[-1].index('<Frame relativeTime="1.566"')
    made.sequences[-1] = made.sequences[-1][:begin] + "</Sequence>\n"
    with pytest.warns(
        roi.IncompleteRecordingWarning, match="1 of 7 volumes do not have the 3 planes .*the first is in cycle 7"
    ):
        found = roi.open(made.write())
    np.testing.assert_array_equal(found.get_series(), stack[:6])


def test_a_single_stack_is_one_volume(prairie: Make, stack: np.ndarray) -> None:
    made = prairie()
    made.volumes({(1, "Red"): stack[:1]}, depths=DEPTHS, step=0.25)
    made.sequences[0] = made.sequences[0].replace("TSeries ZSeries Element", "ZSeries")
    found = roi.open(made.write())
    assert found.shape == (1, 20, 12, 3)
    assert found.get_sampling_frequency() is None
    assert found.get_native_timestamps().tolist() == [0.0]


def test_volumes_and_single_planes_in_one_recording_are_a_choice(
    prairie: Make, stack: np.ndarray, frames: Make
) -> None:
    made = prairie()
    made.volumes({(1, "Red"): stack}, depths=DEPTHS, step=0.25)
    files = [[(1, "Red", made.file(8, 1, k + 1), None, frames(4)[k])] for k in range(4)]
    made.sequence(8, [made.frame(k + 1, 9 + k, 15.71 + k, files[k]) for k in range(4)])
    folder = made.write()
    assert roi.streams(folder) == {"series": ("TSeries ZSeries Element", "TSeries Timed Element")}
    with pytest.raises(roi.StreamChoiceError, match=r"choose one: open\(\.\.\., series='TSeries ZSeries Element'\)"):
        roi.open(folder)
    np.testing.assert_array_equal(roi.open(folder, series="TSeries ZSeries Element").get_series(), stack)
    np.testing.assert_array_equal(roi.open(folder, series="TSeries Timed Element").get_series(), frames(4))
    assert roi.streams(folder, series="TSeries ZSeries Element")["plane"] == ("0", "1", "2")


# Old versions and metadata


def test_settings_from_before_5_2_are_read(prairie: Make, frames: Make) -> None:
    made = prairie(version="5.0.32.100", old=True)
    made.state += made.setting("micronsPerPixel", {"XAxis": "0.5", "YAxis": "0.75"})
    made.state += made.setting("positionCurrent", {"ZAxis": ["-9", "62.45"]})
    made.state += made.setting("objectiveLens", "Olympus 40X") + made.setting("imagingDevice", "Ultima IV")
    made.movie({(2, ""): frames(3)})
    found = roi.open(made.write())
    np.testing.assert_array_equal(found.get_series(), frames(3))
    assert found.metadata.pixel_size == (0.75, 0.5)
    assert found.metadata.channels[0].name == "Ch2"
    assert found.metadata.device == "Ultima IV"
    assert found.metadata.vendor["Frame"]["objectiveLens"] == "Olympus 40X"
    assert found.metadata.vendor["Frame"]["positionCurrent"] == {"ZAxis": {"value": "-9,62.45"}}
    assert found.get_sampling_frequency() == 1 / 0.033


def test_metadata_is_what_the_xml_says(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.state += made.setting("micronsPerPixel", {"XAxis": "0.5", "YAxis": "0.75", "ZAxis": "5"})
    made.state += made.setting("laserWavelength", {"0": "920", "1": "1040"})
    made.state += made.setting("laserPower", {"0": "12.5", "1": "0"})
    made.movie({(2, "Green"): frames(3)})
    found = roi.open(made.write()).metadata
    assert found.start_time == datetime(2024, 1, 2, 21, 30, 9)
    assert found.pixel_size == (0.75, 0.5)
    assert found.plane_positions == ()
    assert found.channels[0].excitation_wavelength == 920.0
    assert found.software == "Prairie View 5.6.64.400"
    assert found.vendor["laserPower"] == {"0": {"value": "12.5"}, "1": {"value": "0"}}
    assert found.vendor["SystemIDs"] == [{"SystemID": "4886", "Description": "RIG"}]
    assert found.vendor["Sequence"]["time"] == "09:30:10.5000000"
    assert found.to_dict()["start_time"] == "2024-01-02T21:30:09"


def test_a_grid_of_stage_positions_is_a_note(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(2, "Green"): frames(3)})
    changed(made, 'cycle="1"', 'cycle="1" xYStageGridDefined="True"')
    assert "the stage moved over a grid of positions" in roi.open(made.folder).get_notes()[0]


@pytest.mark.parametrize("date", ["", "2/30/2024 9:30:09 PM", "yesterday", "31/12/2024 21:30:09"])
def test_a_date_that_is_none_is_left_out(prairie: Make, frames: Make, date: str) -> None:
    made = prairie()
    made.movie({(2, "Green"): frames(3)})
    changed(made, "1/2/2024 9:30:09 PM", date)
    assert roi.open(made.folder).metadata.start_time is None


def test_another_size_than_the_xml_says_is_a_note(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.state += made.setting("linesPerFrame", "512") + made.setting("pixelsPerLine", "512")
    made.movie({(2, "Green"): frames(3)})
    assert (
        "describes frames of 512 lines x 512 pixels, but the TIFF files have 20 rows x 12 columns"
        in roi.open(made.write()).get_notes()[0]
    )


# What is missing or cut


def test_a_missing_file_is_named_with_its_frame_and_the_rest_is_read_on_demand(prairie: Make, frames: Make) -> None:
    made = prairie()
    movie = frames(9)
    times = made.movie({(2, "Ch2"): movie}, bursts=[5, 4], starts=[0.0, 7.0])
    folder = made.write()
    (folder / made.file(1, 2, 4)).unlink()
    (folder / made.file(2, 2, 1)).unlink()
    with pytest.raises(
        roi.SourceNotFoundError,
        match=rf"frame 4 of cycle 1 \({made.file(1, 2, 4)}\) is missing; 2 of 9 frames are incomplete.*allow_missing=True",
    ):
        roi.open(folder)
    with pytest.warns(roi.IncompleteRecordingWarning, match=r"2 of 9 frames are left out.*frame 4 of cycle 1 \("):
        found = roi.open(folder, allow_missing=True)
    kept = [0, 1, 2, 4, 6, 7, 8]
    np.testing.assert_array_equal(found.get_series(), movie[kept])
    np.testing.assert_allclose(found.get_native_timestamps(), times[kept], atol=1e-12)
    assert found.get_sampling_frequency() == 1 / 0.033
    assert "2 of 9 frames are left out" in found.provenance.notes[0]


@MISSING
def test_a_missing_plane_takes_its_volume_with_it(prairie: Make, stack: np.ndarray) -> None:
    made = prairie()
    made.volumes({(1, "Red"): stack, (2, "Green"): stack + 1}, depths=DEPTHS, step=0.25)
    folder = made.write()
    (folder / made.file(3, 1, 2)).unlink()
    np.testing.assert_array_equal(roi.open(folder, channel="Green").get_series(), stack + 1)
    with pytest.raises(roi.SourceNotFoundError, match=r"frame 2 of cycle 3 .* is missing; 1 of 7 volumes"):
        roi.open(folder, channel="Red")
    found = roi.open(folder, channel="Red", allow_missing=True)
    np.testing.assert_array_equal(found.get_series(), stack[[0, 1, 3, 4, 5, 6]])
    assert found.get_native_timestamps().tolist() == [0.0, 0.25, 0.75, 1.0, 1.25, 1.5]


@pytest.mark.parametrize("left", [0, 1, 3000, -300])
def test_a_cut_file_is_an_error_that_names_frame_and_file_when_it_is_read(
    prairie: Make, frames: Make, left: int
) -> None:
    made = prairie()
    movie = frames(100, 64, 64)
    made.movie({(2, "Ch2"): movie})
    folder = made.write()
    path = folder / made.file(1, 2, 73)
    path.write_bytes(path.read_bytes()[:left])
    found = roi.open(folder)
    np.testing.assert_array_equal(found.get_series(0, 72), movie[:72])
    with pytest.raises(roi.CorruptRecordingError, match=rf"frame 73 of cycle 1: {path.name}"):
        found.get_series()
    with pytest.warns(roi.IncompleteRecordingWarning, match=r"1 of 100 frames are left out.*frame 73 of cycle 1"):
        whole = roi.open(folder, allow_missing=True)
    np.testing.assert_array_equal(whole.get_series(), np.delete(movie, 72, 0))


def test_a_file_that_goes_away_after_opening_is_named_with_its_frame(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(8)})
    folder = made.write()
    found = roi.open(folder)
    (folder / made.file(1, 2, 6)).unlink()
    with pytest.raises(
        roi.SourceNotFoundError, match=rf"frame 6 of cycle 1: .*{made.file(1, 2, 6)} does not exist.*allow_missing=True"
    ):
        found.get_series()


def test_fewer_pages_than_the_xml_says_name_the_page_and_the_rest_is_read_on_demand(
    prairie: Make, frames: Make, tiff: Make
) -> None:
    made = prairie()
    movie = frames(12)
    made.movie({(2, "Ch2"): movie}, bursts=[6, 6], starts=[0.0, 9.0], paged=True)
    folder = made.write()
    whole = (folder / made.file(1, 2, 1)).read_bytes()
    (folder / made.file(1, 2, 1)).write_bytes(tiff(movie[:4]))
    with pytest.raises(
        roi.TruncatedRecordingError,
        match=rf"frame 1 of cycle 1: {made.file(1, 2, 1)}: page 4 is missing: expected 6 pages",
    ):
        roi.open(folder).get_series()
    (folder / made.file(1, 2, 1)).write_bytes(whole)
    (folder / made.file(2, 2, 1)).write_bytes(tiff(movie[6:10]))
    with pytest.warns(
        roi.IncompleteRecordingWarning, match="2 of 12 frames are left out.* at the end; the first is frame 5"
    ):
        found = roi.open(folder)
    np.testing.assert_array_equal(found.get_series(), movie[:10])
    assert found.get_missing_samples().tolist() == [10, 11]
    with pytest.warns(
        roi.IncompleteRecordingWarning,
        match=rf"2 of 12 frames .* frame 5 of cycle 2 \(page 5 of {made.file(2, 2, 1)}\)",
    ):
        rest = roi.open(folder, allow_missing=True)
    np.testing.assert_array_equal(rest.get_series(), movie[:10])


@MISSING
@pytest.mark.parametrize("place", range(11))
def test_a_file_of_many_pages_cut_anywhere_gives_whole_frames_or_an_error(
    prairie: Make, frames: Make, place: int
) -> None:
    made = prairie()
    movie = frames(12)
    made.movie({(2, "Ch2"): movie}, bursts=[6, 6], starts=[0.0, 9.0], paged=True)
    folder = made.write()
    path = folder / made.file(2, 2, 1)
    content = path.read_bytes()
    path.write_bytes(content[: 1 + place * (len(content) - 2) // 11])
    for options in ({}, {"allow_missing": True}):
        found = roi.open(folder, **options)
        assert 6 <= len(found) < 12
        np.testing.assert_array_equal(found.get_series(), movie[: len(found)])
        assert found.get_missing_samples().tolist() == list(range(len(found), 12))


def test_more_pages_than_the_xml_says_are_a_contradiction(prairie: Make, frames: Make, tiff: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(6)}, bursts=[3, 3], starts=[0.0, 9.0], paged=True)
    folder = made.write()
    (folder / made.file(2, 2, 1)).write_bytes(tiff(frames(5)))
    with pytest.raises(
        roi.CorruptRecordingError, match=r"frame 1 of cycle 2: .* page 3 is one too many: expected 3 pages"
    ):
        roi.open(folder).get_series()


def test_a_frame_of_another_size_names_frame_and_file(prairie: Make, frames: Make, tiff: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(6)})
    folder = made.write()
    (folder / made.file(1, 2, 3)).write_bytes(tiff(frames(1, 20, 14)))
    with pytest.raises(
        roi.CorruptRecordingError,
        match=rf"frame 3 of cycle 1: {made.file(1, 2, 3)}: page 0 .* has 20 rows of 14 columns",
    ):
        roi.open(folder).get_series()
    with pytest.warns(roi.IncompleteRecordingWarning) as told:
        rest = roi.open(folder, allow_missing=True)
    assert "1 file is left out; the first is" in str(told[0].message)
    assert "which cannot be used (" in str(told[0].message)
    assert "1 of 6 frames are left out" in str(told[1].message)
    np.testing.assert_array_equal(rest.get_series(), np.delete(frames(6), 2, 0))
    (folder / made.file(1, 2, 3)).write_bytes(tiff(frames(2)))
    with pytest.raises(roi.CorruptRecordingError, match=r"page 1 is one too many.*open\(\.\.\., allow_missing=True\)"):
        roi.open(folder).get_series()
    with pytest.warns(roi.IncompleteRecordingWarning):
        rest = roi.open(folder, allow_missing=True)
    np.testing.assert_array_equal(rest.get_series(), np.delete(frames(6), 2, 0))


def test_a_cut_xml_says_where_and_its_whole_frames_are_read_on_demand(prairie: Make, frames: Make) -> None:
    made = prairie()
    movie = frames(9)
    made.movie({(2, "Ch2"): movie}, bursts=[5, 4], starts=[0.0, 7.0])
    folder = made.write()
    content = made.xml.read_bytes()
    made.xml.write_bytes(content[: content.index(made.file(2, 2, 3).encode()) + 200])
    for options in ({}, {"allow_missing": True}):
        with pytest.warns(
            roi.IncompleteRecordingWarning,
            match=r"ends at line \d+, after the beginning of frame 3 of cycle 2, before the end of the XML; the 7 complete frames",
        ):
            found = roi.open(folder, **options)
        np.testing.assert_array_equal(found.get_series(), movie[:7])


def test_an_xml_that_ends_in_the_first_volume_is_refused_and_one_in_the_second_gives_the_first(
    prairie: Make, frames: Make
) -> None:
    made = prairie()
    volumes = np.moveaxis(frames(9).reshape(3, 3, 20, 12), 1, -1)
    made.volumes({(1, "Red"): volumes}, depths=[["100", "-30"], ["100", "0"], ["100", "30"]], step=0.125)
    folder = made.write()
    content = made.xml.read_bytes()
    made.xml.write_bytes(content[: content.index(made.file(1, 1, 3).encode()) + 200])
    with pytest.raises(roi.TruncatedRecordingError, match=r"ends at line \d+.*; the first volume is not complete"):
        roi.open(folder)
    made.xml.write_bytes(content[: content.index(made.file(2, 1, 3).encode()) + 200])
    with (
        pytest.warns(roi.IncompleteRecordingWarning, match="1 of 2 volumes do not have the 3 planes"),
        pytest.warns(roi.IncompleteRecordingWarning, match="ends at line"),
    ):
        recording = roi.open(folder)
    np.testing.assert_array_equal(recording.get_series(), volumes[:1])
    recording.close()


def test_a_folder_whose_xml_is_cut_before_its_frames_is_no_other_format(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(1, "Ch1"): frames(4)})
    folder = made.write()
    content = made.xml.read_bytes()
    made.xml.write_bytes(content[: content.index(b"<Sequence")])
    assert roi.explain(folder).best.spec.name == "bruker"
    for path in (folder, made.xml):
        with pytest.raises(roi.TruncatedRecordingError, match=r"no frame before it is complete.*format='ometiff'"):
            roi.open(path)


@MISSING
@pytest.mark.parametrize("place", range(12))
def test_an_xml_cut_anywhere_is_an_error_or_fewer_frames(prairie: Make, frames: Make, place: int) -> None:
    made = prairie()
    movie = frames(9)
    made.movie({(2, "Ch2"): movie})
    folder = made.write()
    content = made.xml.read_bytes()
    made.xml.write_bytes(content[: 60 + place * (len(content) - 70) // 11])
    if place < 3:  # before the end of the first frame
        with pytest.raises(roi.RoiExtractorsError, match=re.escape(made.name)):
            roi.open(folder, format="bruker")
        return
    with pytest.warns(roi.IncompleteRecordingWarning, match=rf"{re.escape(made.name)}.xml ends at line"):
        series = roi.open(folder, format="bruker").get_series()
    assert 0 < len(series) < 9
    np.testing.assert_array_equal(series, movie[: len(series)])


# What cannot be


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        (
            'filename="',
            'filename="../',
            "CorruptRecordingError",
            r"frame 1 of cycle 1: '\.\./TSeries.*not the name of a file in",
        ),
        ('filename="', 'filename="C:\\', "CorruptRecordingError", "not the name of a file"),
        ('page="3"', 'page="0"', "CorruptRecordingError", "frame 3 of cycle 1: expected a page number from 1, got '0'"),
        ('page="3"', 'page="-1"', "CorruptRecordingError", "got '-1'"),
        ('page="3"', 'page="99999999999"', "CorruptRecordingError", "got '99999999999'"),
        (
            'page="3"',
            'page="2"',
            "CorruptRecordingError",
            "frame 2 of cycle 1 and frame 3 of cycle 1 are both page 2",
        ),
        ('channel="2"', 'channel="two"', "CorruptRecordingError", "the channel 'two' is not a number"),
        ("<PVScan", "<!DOCTYPE a [<!ENTITY b 'c'>]><PVScan", "UnsupportedRecordingError", "DOCTYPE"),
        ("</Frame>", "</Fram>", "CorruptRecordingError", r"is not well-formed XML: .* at line \d+.*frame 1 of cycle 1"),
        ("Frame", "Fraim", "UnsupportedRecordingError", "does not describe images .*TSeries Timed Element"),
        (
            'encoding="utf-8"',
            'encoding="utf-99"',
            "CorruptRecordingError",
            "unknown encoding|encoding that cannot be read",
        ),
        ("PVScan", "Settings", "UnsupportedRecordingError", "root 'Settings', not a PVScan"),
    ],
)
def test_the_error_about_a_damaged_xml_names_the_fault_and_the_frame(
    prairie: Make, frames: Make, old: str, new: str, error: str, words: str
) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(6)}, paged=True)
    changed(made, old, new)
    with pytest.raises(getattr(roi, error), match=words):
        roi.open(made.xml, format="bruker")


def test_a_frame_with_two_images_of_a_channel_is_a_contradiction(prairie: Make, frames: Make) -> None:
    made = prairie()
    movie = frames(2)
    files = [(1, "Ch1", made.file(1, 1, k + 1), None, movie[k]) for k in range(2)]
    made.sequence(1, [made.frame(1, 0.0, 0.0, files)])
    with pytest.raises(roi.CorruptRecordingError, match=r"frame 1 of cycle 1 has two images of the channel 'Ch1'"):
        roi.open(made.write())


def test_a_page_in_the_millions_allocates_nothing(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(6)}, paged=True)
    changed(made, 'page="6"', 'page="2000000000"')
    with pytest.raises(
        roi.TruncatedRecordingError,
        match=r"frame 1 of cycle 1: .* page 6 is missing: expected 2,000,000,000 pages",
    ):
        roi.open(made.folder)
    with pytest.warns(roi.IncompleteRecordingWarning, match="1 of 6 frames"):
        assert len(roi.open(made.folder, allow_missing=True)) == 5


def test_control_characters_that_no_xml_may_hold_do_not_disturb(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(2)})
    changed(made, 'notes=""', 'notes="a\x01b\x1b[31m"')
    assert roi.open(made.folder).metadata.vendor["notes"] == "ab[31m"


# Many files


def test_no_tiff_but_one_is_opened_and_the_folder_is_listed_once(
    prairie: Make, frames: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prairie()
    made.movie({(1, "Red"): frames(300, 4, 5), (2, "Green"): frames(300, 4, 5)})
    folder = made.write()
    opened: list[str] = []
    listed: list[str] = []
    system_open, scandir, listdir = os.open, os.scandir, os.listdir
    monkeypatch.setattr(os, "open", lambda path, *a, **k: (opened.append(str(path)), system_open(path, *a, **k))[1])
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(str(path)), scandir(path))[1])
    monkeypatch.setattr(os, "listdir", lambda path: (listed.append(str(path)), listdir(path))[1])
    found = roi.open(made.xml, format="bruker", channel="Green")
    assert [path for path in opened if path.endswith(".tif")] == [str(folder / made.file(1, 2, 1))]
    assert listed == [str(folder)]
    assert len(found) == 300
    assert len(pickle.dumps(found)) < 2000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found))[299], frames(300, 4, 5)[299])


def test_memory_goes_with_the_frames_and_not_with_the_size_of_the_xml(prairie: Make, frames: Make) -> None:
    made = prairie()
    texts = []
    for k in range(400):
        settings = "".join(made.setting(f"key{j}", {"0": "x" * 40, "1": "y" * 40}) for j in range(80))
        files = [(1, "Ch1", made.file(1, 1, k + 1), None, np.zeros((4, 5), np.uint16))]
        texts.append(made.frame(k + 1, k * 0.033, k * 0.033, files, more=settings))
    made.sequence(1, texts)
    folder = made.write()
    size = made.xml.stat().st_size
    assert size > 4 << 20
    roi.open(folder).close()
    tracemalloc.start()
    found = roi.open(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 400
    assert peak < 4 << 20


# What files say of themselves


def test_files_that_were_exchanged_or_replaced_are_refused_by_name(prairie: Make, frames: Make, tiff: Make) -> None:
    movie = frames(8)
    made, other = prairie(), prairie("TSeries-01022024-0930-002")
    for one, text in ((made, "a"), (other, "b")):
        one.uuids = text
        one.movie({(2, "Ch2"): movie})
        one.write()
    names = [made.file(1, 2, k + 1) for k in range(8)]
    np.testing.assert_array_equal(roi.open(made.folder).get_series(), movie)
    sound = {name: (made.folder / name).read_bytes() for name in names}
    foreign = (other.folder / other.file(1, 2, 4)).read_bytes().replace(other.name.encode(), made.name.encode())
    cases = {
        f"{names[3]} has the UUID of {names[4]}; the files were renamed": {
            names[3]: sound[names[4]],
            names[4]: sound[names[3]],
        },
        f"{names[3]} belongs to another recording": {names[3]: foreign},
        f"{names[3]} does not contain Prairie View's OME-XML": {names[3]: tiff(movie[3:4], text='{"shape": [20, 12]}')},
    }
    for words, files in cases.items():
        for name in names:
            (made.folder / name).write_bytes(files.get(name, sound[name]))
        found = roi.open(made.folder)
        np.testing.assert_array_equal(found.get_series(0, 3), movie[:3])
        with pytest.raises(roi.CorruptRecordingError, match=rf"frame 4 of cycle 1: {words}.*allow_missing=True"):
            found.get_series()
        with pytest.warns(roi.IncompleteRecordingWarning) as told:
            rest = roi.open(made.folder, allow_missing=True)
        assert words.partition(" ")[2] in str(told[0].message)
        left = [k for k, name in enumerate(names) if name not in files]
        np.testing.assert_array_equal(rest.get_series(), movie[left])
        assert rest.get_missing_samples().tolist() == [k for k in range(8) if k not in left]


def test_files_missing_at_the_end_are_a_warning(prairie: Make, frames: Make) -> None:
    made = prairie()
    movie = frames(9)
    made.movie({(2, "Ch2"): movie})
    folder = made.write()
    (folder / made.file(1, 2, 9)).unlink()
    path = folder / made.file(1, 2, 8)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.warns(
        roi.IncompleteRecordingWarning,
        match=r"2 of 9 frames are left out.* at the end; the first is frame 8 of cycle 1",
    ):
        found = roi.open(folder)
    np.testing.assert_array_equal(found.get_series(), movie[:7])
    assert found.get_missing_samples().tolist() == [7, 8]
    assert found.get_paths() == (str(made.xml), *(str(folder / made.file(1, 2, k)) for k in range(1, 8)))


def test_files_that_the_xml_does_not_list_are_a_warning(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(5)})
    folder = made.write()
    (folder / made.file(1, 2, 6)).write_bytes((folder / made.file(1, 2, 5)).read_bytes())
    (folder / made.file(1, 2, 7).replace(made.name, "another")).write_bytes(b"")
    with pytest.warns(roi.IncompleteRecordingWarning, match="1 file in the folder has a name like those of its frames"):
        found = roi.open(folder)
    assert len(found) == 5


@pytest.mark.parametrize("grid", [False, True], ids=["by the stage", "by the grid"])
@pytest.mark.parametrize("volumes", [False, True], ids=["frames", "volumes"])
def test_stage_positions_are_a_stream_and_do_not_alternate_in_time(
    prairie: Make, frames: Make, volumes: bool, grid: bool
) -> None:
    made = prairie()
    movie = frames(12)
    for cycle in range(4):
        stage = {"XAxis": [f"{500.0 * (cycle % 2) + 0.2 * cycle}"], "YAxis": ["-20"], "ZAxis": ["0", "0"]}
        more = made.setting("xYStageGridIndex", str(1 - cycle % 2)) if grid else made.setting("positionCurrent", stage)
        texts = []
        for k in range(3):
            files = [(1, "Red", made.file(cycle + 1, 1, k + 1), None, movie[3 * cycle + k])]
            texts.append(made.frame(k + 1, 10.0 * cycle + k, 10.0 * cycle + k, files, more=more))
        made.sequence(cycle + 1, texts, kind="TSeries ZSeries Element" if volumes else "TSeries Timed Element")
    folder = made.write()
    assert roi.streams(folder)["position"] == ("0", "1")
    with pytest.raises(
        roi.StreamChoiceError, match=r"has 2 stage positions \(0 is x=.*choose one: open\(\.\.\., position='0'\)"
    ):
        roi.open(folder)
    for place in range(2):
        found = roi.open(folder, position=place)
        expected = movie.reshape(4, 3, 20, 12)[place::2]
        times = np.array([0.0, 20.0]) + 10 * place
        if volumes:
            np.testing.assert_array_equal(found.get_series(), np.moveaxis(expected, 1, 3))
            np.testing.assert_allclose(found.get_timestamps(), times)
        else:
            np.testing.assert_array_equal(found.get_series(), expected.reshape(6, 20, 12))
            np.testing.assert_allclose(found.get_timestamps(), np.add.outer(times, np.arange(3)).ravel())


def test_a_clock_that_stands_still_is_not_used(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(5)})
    made.sequences[0] = re.sub(r'relativeTime="[^"]*"', 'relativeTime="0"', made.sequences[0])
    found = roi.open(made.write())
    np.testing.assert_allclose(found.get_native_timestamps(), np.arange(5) * 0.033)
    assert any("the relative times do not advance, so the absolute times" in note for note in found.get_notes())
    made.sequences[0] = re.sub(r'absoluteTime="[^"]*"', 'absoluteTime="6.71"', made.sequences[0])
    found = roi.open(made.write())
    assert found.get_native_timestamps() is None
    np.testing.assert_allclose(found.get_timestamps(), np.arange(5) * 0.033)
    assert any("the times do not advance" in note for note in found.get_notes())


@pytest.mark.parametrize(
    ("time", "relative", "start"),
    [
        ("21:30:09.9066674", 0.0, datetime(2024, 1, 2, 21, 30, 9, 906667)),
        ("21:45:00.5000000", 0.25, datetime(2024, 1, 2, 21, 45, 0, 250000)),
        ("00:10:00.5000000", 0.0, datetime(2024, 1, 3, 0, 10, 0, 500000)),
        ("12:00:00.5000000", 0.0, datetime(2024, 1, 2, 21, 30, 9)),
        ("soon", 0.0, datetime(2024, 1, 2, 21, 30, 9)),
    ],
)
def test_the_start_is_that_of_the_first_sequence(
    prairie: Make, frames: Make, time: str, relative: float, start: datetime
) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(3)}, starts=[relative], restart=False, times=[time])
    assert roi.open(made.write()).metadata.start_time == start


def test_entries_without_a_setting_are_not_added_to_the_one_before(prairie: Make, frames: Make) -> None:
    made = prairie("m")
    made.state += made.setting("positionCurrent", {"ZAxis": ["-9", "62.45"]})
    stray = '<SubindexedValue subindex="0" value="7" /><IndexedValue index="ZAxis" value="8" />'
    made.state += '<PVStateValue key="zoom" value="2" />' + stray
    pixels = frames(3)
    texts = [
        made.frame(k + 1, 0.1 * k, None, [(1, "Red", f"m_{k}.ome.tif", 1, pixels[k])], more=stray) for k in range(3)
    ]
    made.sequence(1, [stray, *texts])
    found = roi.open(made.write())
    assert found.metadata.vendor["positionCurrent"] == {
        "ZAxis": {"0": {"value": "-9", "description": "Z0"}, "1": {"value": "62.45", "description": "Z1"}}
    }


def test_a_position_without_devices_is_not_a_position_at_zero(prairie: Make, frames: Make) -> None:
    made, pixels = prairie("m"), frames(6)
    empty = '<PVStateValue key="positionCurrent"><SubindexedValues index="XAxis" /><SubindexedValues index="ZAxis" /></PVStateValue>'
    made.state += made.setting("positionCurrent", {"XAxis": ["1500"], "YAxis": ["3"], "ZAxis": ["-9"]})
    texts = [
        made.frame(k + 1, 0.1 * k, None, [(1, "Red", f"m_{k}.ome.tif", 1, pixels[k])], more=empty if k == 2 else "")
        for k in range(6)
    ]
    made.sequence(1, texts)
    found = roi.open(made.write())
    assert len(found) == 6
    assert roi.streams(made.folder) == {}


def test_objective_zoom_depth_and_lasers_are_the_settings(prairie: Make, frames: Make) -> None:
    made = prairie()
    for key, value in (("objectiveLens", "Nikon 16x"), ("objectiveLensMag", "16"), ("objectiveLensNA", "0.8")):
        made.state += made.setting(key, value)
    made.state += made.setting("opticalZoom", "1.5") + made.setting("laserWavelength", {"0": "930", "1": "1040"})
    made.state += made.setting("laserPower", {"0": "12", "1": "0"})
    made.movie({(2, "Ch2"): frames(3)})
    found = roi.open(made.write()).metadata
    assert found.objective is not None
    assert found.objective.name == "Nikon 16x"
    assert (found.objective.magnification, found.objective.numerical_aperture) == (16.0, 0.8)
    assert (found.zoom, found.bit_depth, found.modality) == (1.5, 13, "two-photon")
    assert (found.channels[0].laser_lines, found.channels[0].excitation_wavelength) == ((930.0,), 930.0)


def test_times_that_do_not_increase_are_a_warning(prairie: Make, frames: Make) -> None:
    made = prairie()
    made.movie({(2, "Ch2"): frames(5)})
    made.sequences[0] = made.sequences[0].replace('relativeTime="0.099"', 'relativeTime="0.01"')
    with pytest.warns(roi.RoiExtractorsWarning, match="do not increase at 1 place, the first after sample 2") as seen:
        found = roi.open(made.write())
    assert str(seen[0].message) in found.get_notes()

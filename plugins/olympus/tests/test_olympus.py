"""FluoView recordings: what another library reads, what is missing, and what is damaged."""

from __future__ import annotations

import os
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_olympus.compound import CompoundFile
from roiextractors_olympus.settings import Settings

import roiextractors_core as roi
from roiextractors_core.io import PositionedFile
from roiextractors_core.metadata import ObjectiveMetadata


def oracle(path: Path) -> dict[str, np.ndarray]:
    """Every frame by its name, as oiffile reads it."""
    with pytest.importorskip("oiffile").OifFile(path) as file:
        names = [name for name in file.glob("*.tif") if "-R" not in name]
        return {Path(name).name: file.asarray(name) for name in names}


def test_a_real_oib_is_what_oiffile_reads(recordings: Path, tmp_path: Path) -> None:
    path = recordings / "olympus" / "test.oib"
    with pytest.raises(roi.StreamChoiceError, match=r"test\.oib has the channels 'CH1', 'CH2' and 'TD1'"):
        roi.open(path)
    frames = oracle(path)
    assert len(frames) == 3
    for number, channel in enumerate(("CH1", "CH2", "TD1"), 1):
        found = roi.open(path, channel=channel)
        assert found.shape == (1, 256, 256)
        np.testing.assert_array_equal(found[0], frames[f"s_C{number:03}.tif"])
    with roi.open(path, channel="CH2") as found:
        assert found.dtype == np.uint16
        assert found.get_sampling_frequency() is None
        assert found.get_native_timestamps() is None
        metadata = found.metadata
    assert str(metadata.start_time) == "2012-07-26 15:13:35.976000"
    assert metadata.pixel_size == (0.177, 0.177)
    assert metadata.channels[0].emission_wavelength == 572
    assert metadata.channels[0].excitation_wavelength == 543
    assert metadata.vendor["Channel 2 Parameters"]["DyeName"] == "Alexa Fluor 546"
    assert metadata.device == "FV1000"
    assert metadata.objective == ObjectiveMetadata("UPLFLN 40X NA:0.75", 40.0, 0.75)
    assert (metadata.zoom, metadata.bit_depth, metadata.modality) == (7.0, 12, "confocal")
    assert metadata.channels[0].detection_band == (575.0, 675.0)
    with roi.open(path, channel="CH1") as found:
        channel = found.metadata.channels[0]
    assert (channel.laser_lines, channel.laser_power, channel.detection_band) == ((488.0,), 0.3, (505.0, 525.0))
    (tmp_path / "without_suffix").symlink_to(path)
    assert roi.explain(tmp_path / "without_suffix").best.spec.name == "oib"
    np.testing.assert_array_equal(
        roi.open(tmp_path / "without_suffix", channel="Alexa Fluor 546")[0], frames["s_C002.tif"]
    )


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("shuffled", [False, True])
def test_an_oib_of_either_kind_is_what_oiffile_reads(
    tmp_path: Path, frames_of: Any, write_oib: Any, sector: int, shuffled: bool
) -> None:
    movie = frames_of(5, 2, 2, 20, 30)
    path = write_oib(tmp_path / "m.oib", movie, sector=sector, shuffled=shuffled)
    frames = oracle(path)
    assert len(frames) == 20
    for c in range(2):
        with roi.open(path, channel=c + 1) as found:
            for t in range(5):
                for z in range(2):
                    np.testing.assert_array_equal(found[t, :, :, z], frames[f"s_C{c + 1:03}Z{z + 1:03}T{t + 1:03}.tif"])
                    np.testing.assert_array_equal(found[t, :, :, z], movie[t, z, c])
            np.testing.assert_array_equal(found[1:, 3:9, 4:20, 1], movie[1:, 1, c, 3:9, 4:20])


def test_some_frames_in_one_piece_and_some_in_several_are_read_in_any_order(
    tmp_path: Path, frames_of: Any, write_oib: Any
) -> None:
    movie = frames_of(9, 1, 1, 40, 30)
    path = write_oib(tmp_path / "m.oib", movie, sector=512)
    file = CompoundFile(PositionedFile(path))
    stream = file.stream("Stream00006")  # the TIFF of the third sample
    assert len(stream.runs) == 1
    content = bytearray(path.read_bytes())
    first, last = stream.runs[0][0] // 512 - 1, (sum(stream.runs[0]) - 1) // 512 - 1
    table = 512 + 4 * first  # exchange its second and third sector, in the table and in the file
    numbers = list(struct.unpack_from(f"<{last - first}I", content, table))
    assert numbers[0] == first + 1
    struct.pack_into("<3I", content, table, first + 2, first + 3, first + 1)
    second, third = ((first + k + 1) * 512 for k in (1, 2))
    content[second : second + 512], content[third : third + 512] = (
        content[third : third + 512],
        content[second : second + 512],
    )
    path.write_bytes(content)
    assert len(CompoundFile(PositionedFile(path)).stream("Stream00006").runs) == 4
    with roi.open(path) as found:
        np.testing.assert_array_equal(found.get_samples([8, 2, 2, 0, 3]), movie[[8, 2, 2, 0, 3], 0, 0])
        np.testing.assert_array_equal(found[1:4, 5:9, 7:20], movie[1:4, 0, 0, 5:9, 7:20])


def test_a_table_too_long_for_the_header_is_read(tmp_path: Path, write_compound: Any) -> None:
    big = np.random.default_rng(0).bytes(250 * 128 * 512)
    path = write_compound(tmp_path / "a", {"big": big, "Storage00001/small": b"xyz" * 50, "none": b""})
    file = CompoundFile(PositionedFile(path))
    assert set(file.names) == {"big", "small", "none"}
    assert file.stream("big").read(0, 1 << 30) == big
    assert file.stream("small").read(3, 6) == b"xyzxyz"
    assert file.stream("none").read(0, 10) == b""
    with pytest.raises(roi.SourceNotFoundError, match="a does not contain other"):
        file.stream("other")


# What the settings tell


def test_times_are_those_of_the_first_plane_of_each_sample(tmp_path: Path, frames_of: Any, write_oib: Any) -> None:
    times = np.array([0.5, 0.7, 1.1, 1.05])
    path = write_oib(tmp_path / "m.oib", frames_of(4, 2, 1, 8, 9), times=times, rate=3.0)
    found = roi.open(path)
    with pytest.warns(roi.RoiExtractorsWarning, match="do not increase at 1 place"):  # once
        np.testing.assert_allclose(found.get_native_timestamps(), times)
    np.testing.assert_allclose(found.get_native_timestamps(1, 3), times[1:3])
    assert found.get_sampling_frequency() == pytest.approx(3.0)
    assert found.times_source == "native"


def test_a_frame_without_settings_leaves_the_rate(tmp_path: Path, frames_of: Any, write_oib: Any) -> None:
    path = write_oib(tmp_path / "m.oib", frames_of(4, 1, 1, 8, 9), rate=4.0, leave_out=("s_C001T003.pty",))
    found = roi.open(path)
    assert found.get_native_timestamps() is None
    np.testing.assert_allclose(found.get_timestamps(), np.arange(4) / 4)


def test_only_the_settings_of_the_samples_that_are_asked_for_are_read(
    tmp_path: Path, frames_of: Any, write_oif: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_oif(tmp_path / "m.oif", frames_of(50, 1, 1, 8, 9), rate=4.0)
    read, make = [], Settings.of
    monkeypatch.setattr(Settings, "of", lambda data, name: read.append(name) or make(data, name))
    found = roi.open(path)
    assert found.times_source == "native"
    np.testing.assert_allclose(found.get_timestamps(40, 43), [10.0, 10.25, 10.5])
    np.testing.assert_allclose(found.get_timestamps(41, 43), [10.25, 10.5])
    assert [name for name in read if name.endswith(".pty")] == [f"m.oif: s_C001T{k:03}.pty" for k in (1, 2, 41, 42, 43)]


def test_a_time_that_is_not_told_is_no_number(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    path = write_oif(tmp_path / "m.oif", frames_of(4, 1, 1, 8, 9), times=np.array([0.0, 0.5, np.nan, 1.5]))
    found = roi.open(path)
    with pytest.warns(roi.IncompleteRecordingWarning, match="contains no time") as seen:
        np.testing.assert_array_equal(found.get_native_timestamps(), [0.0, 0.5, np.nan, 1.5])
    assert str(seen[0].message) in found.get_notes()


def test_an_oib_that_is_packed_as_a_whole_is_refused(tmp_path: Path, frames_of: Any, write_oib: Any) -> None:
    path = write_oib(tmp_path / "m.oib", frames_of(1, 1, 1, 8, 9), info={"Compression": "Zip"})
    with pytest.raises(roi.UnsupportedRecordingError, match=r"m\.oib is compressed with 'Zip', which is not supported"):
        roi.open(path)


def test_a_decimal_comma_is_understood(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    told = {"Reference Image Parameter": {"WidthConvertValue": "0,207.0", "HeightConvertValue": "0,25"}}
    path = write_oif(tmp_path / "m.oif", frames_of(1, 1, 1, 8, 9), changes=told)
    assert roi.open(path).metadata.pixel_size == (0.25, 0.207)


def test_sizes_that_are_not_told_follow_from_the_axes(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    told = {"Reference Image Parameter": {"WidthConvertValue": "?", "HeightUnit": ""}}
    path = write_oif(tmp_path / "m.oif", frames_of(1, 1, 1, 8, 9), changes=told)
    assert roi.open(path).metadata.pixel_size == (0.25, 0.5)


def test_channels_go_by_name_dye_and_number(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    movie = frames_of(2, 1, 2, 8, 9)
    path = write_oif(tmp_path / "m.oif", movie)
    for channel in ("CH2", "tdTomato", 2, "2"):
        np.testing.assert_array_equal(roi.open(path, channel=channel).get_series(), movie[:, 0, 1])
    same = {f"Channel {k} Parameters": {"CH Name": "CH1", "DyeName": "None"} for k in (1, 2)}
    path = write_oif(tmp_path / "n" / "m.oif", movie, changes=same)
    assert roi.streams(path) == {"channel": ("1", "2")}
    for channel in ("", "None", "GCaMP6"):
        with pytest.raises(roi.StreamChoiceError, match="has the channels '1' and '2', not"):
            roi.open(path, channel=channel)


def test_a_line_scan_says_what_its_rows_are(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    path = write_oif(
        tmp_path / "m.oif", frames_of(1, 1, 1, 50, 9), changes={"Axis Parameter Common": {"AxisOrder": "XT"}}
    )
    found = roi.open(path)
    assert found.shape == (1, 50, 9)
    assert found.get_notes() == ("the scan order is XT: the rows of a frame are along time (T)",)
    assert found.get_native_timestamps() is None


def test_wavelengths_are_refused(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    path = write_oif(tmp_path / "m.oif", frames_of(1, 1, 1, 8, 9))
    frame = tmp_path / "m.oif.files" / "s_C001.tif"
    frame.rename(frame.with_name("s_C001L001.tif"))
    with pytest.raises(roi.UnsupportedRecordingError, match=r"m\.oif was also scanned along wavelengths \(L\)"):
        roi.open(path)


# What is missing


def test_a_recording_that_was_ended_early_gives_its_whole_samples(
    tmp_path: Path, frames_of: Any, write_oif: Any
) -> None:
    movie = frames_of(6, 2, 1, 8, 9)
    path = write_oif(tmp_path / "m.oif", movie)
    for name in ("s_C001Z002T004", "s_C001Z001T005", "s_C001Z002T005", "s_C001Z001T006", "s_C001Z002T006"):
        (tmp_path / "m.oif.files" / f"{name}.tif").unlink()
    with pytest.warns(
        roi.IncompleteRecordingWarning,
        match=r"m\.oif: 3 of 6 described samples are complete and are read; the recording was stopped",
    ):
        found = roi.open(path)
    assert found.get_missing_samples().tolist() == [3, 4, 5]
    np.testing.assert_array_equal(found.get_series(), np.moveaxis(movie[:3, :, 0], 1, 3))


def test_a_frame_in_the_middle_that_is_not_there_is_an_error(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    path = write_oif(tmp_path / "m.oif", frames_of(6, 2, 1, 8, 9))
    (tmp_path / "m.oif.files" / "s_C001Z002T003.tif").unlink()
    with pytest.raises(
        roi.TruncatedRecordingError,
        match=r"the frame of channel 1, plane 2, sample 3 is missing.*open\(\.\.\., allow_missing=True\)",
    ):
        roi.open(path)
    with pytest.warns(
        roi.IncompleteRecordingWarning, match="5 of 6 described samples are complete and are read; the others have"
    ):
        found = roi.open(path, allow_missing=True)
    whole = roi.open(write_oif(tmp_path / "whole" / "m.oif", frames_of(6, 2, 1, 8, 9)))
    kept = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(found.get_series(), whole.get_series()[kept])
    np.testing.assert_array_equal(found.get_timestamps(), whole.get_timestamps()[kept])
    assert found.get_missing_samples().tolist() == [2]
    for path in (tmp_path / "m.oif.files").glob("*.pty"):
        path.unlink()
    with pytest.warns(roi.IncompleteRecordingWarning):
        found = roi.open(tmp_path / "m.oif", allow_missing=True)
    np.testing.assert_allclose(found.get_timestamps(), np.array(kept) / 8)


def test_frames_whose_settings_name_another_frame_are_refused(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    movie = frames_of(6, 1, 1, 8, 9)
    path = write_oif(tmp_path / "m.oif", movie)
    folder = tmp_path / "m.oif.files"
    for pty in folder.glob("s_C*.pty"):
        pty.write_bytes(pty.read_bytes().replace("s.tif".encode("utf-16-le"), f"{pty.stem}.tif".encode("utf-16-le")))
    np.testing.assert_array_equal(roi.open(path).get_series(), movie[:, 0, 0])
    for suffix in (".tif", ".pty"):
        one, other = (folder / f"s_C001T00{k}{suffix}" for k in (2, 3))
        one.rename(tmp_path / "aside")
        other.rename(one)
        (tmp_path / "aside").rename(other)
    found = roi.open(path)
    np.testing.assert_array_equal(found.get_series(3), movie[3:, 0, 0])
    with pytest.raises(
        roi.CorruptRecordingError, match=r"s_C001T002.pty contains the settings of s_C001T003.tif; the files"
    ):
        found.get_series()


def test_a_clock_that_stands_still_leaves_the_rate(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    path = write_oif(tmp_path / "m.oif", frames_of(5, 1, 1, 8, 9), rate=4.0, times=np.full(5, 22.0))
    found = roi.open(path)
    assert found.get_native_timestamps() is None
    np.testing.assert_allclose(found.get_timestamps(), np.arange(5) / 4)
    assert any("the times in the settings of the frames are all the same" in note for note in found.get_notes())


def test_settings_in_capitals_are_found(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    times = np.array([0, 0.25, 0.5, 0.9, 1.0])
    path = write_oif(tmp_path / "m.oif", frames_of(5, 1, 1, 8, 9), times=times)
    for member in (tmp_path / "m.oif.files").iterdir():
        member.rename(member.with_name(member.name.upper()))
    found = roi.open(path)
    np.testing.assert_allclose(found.get_timestamps(), times)
    folder = tmp_path / "m.oif.files"
    for pty in folder.glob("S_C*.PTY"):
        pty.write_bytes(pty.read_bytes().replace("s.tif".encode("utf-16-le"), f"{pty.stem}.tif".encode("utf-16-le")))
    np.testing.assert_allclose(roi.open(path).get_timestamps(), times)
    for suffix in (".TIF", ".PTY"):
        one, other = (folder / f"S_C001T00{k}{suffix}" for k in (2, 4))
        one.rename(tmp_path / "aside")
        other.rename(one)
        (tmp_path / "aside").rename(other)
    with pytest.raises(roi.CorruptRecordingError, match=r"S_C001T002\.PTY contains the settings of"):
        roi.open(path).get_series()


def _opened_with_its_rate(path: Path) -> Any:
    found = roi.open(path)
    return found, found.get_sampling_frequency()


@pytest.mark.parametrize("sample", [1, 3, 5])
def test_damaged_settings_of_a_frame_are_a_warning_and_its_time_is_not_known(
    tmp_path: Path, frames_of: Any, write_oif: Any, sample: int
) -> None:
    axis = {"Axis 4 Parameters Common": {"EndPosition": 0.0}}
    path = write_oif(tmp_path / "m.oif", frames_of(7, 1, 1, 8, 9), rate=4.0, changes=axis)
    (tmp_path / "m.oif.files" / f"s_C001T{sample:03d}.pty").write_bytes(b"\xff\xfe\0\xd8")
    with pytest.warns(roi.IncompleteRecordingWarning, match=rf"s_C001T{sample:03d}\.pty .* are NaN") as seen:
        found, rate = _opened_with_its_rate(path)
    assert rate == (None if sample == 1 else pytest.approx(4.0))  # without the first time, none is used
    assert str(seen[0].message) in found.get_notes()
    if sample > 1:
        times = found.get_native_timestamps()
        assert times is not None
        assert np.flatnonzero(np.isnan(times)).tolist() == [sample - 1]
    assert found.get_series().shape == (7, 8, 9)


def test_regular_times_give_the_rate_where_the_axis_does_not(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    axis = {"Axis 4 Parameters Common": {"EndPosition": 0.0}}
    path = write_oif(tmp_path / "a" / "m.oif", frames_of(5, 1, 1, 8, 9), rate=4.0, changes=axis)
    assert roi.open(path).get_sampling_frequency() == pytest.approx(4.0)
    times = np.array([0, 0.25, 0.5, 0.9, 1.0])
    path = write_oif(tmp_path / "b" / "m.oif", frames_of(5, 1, 1, 8, 9), times=times, changes=axis)
    assert roi.open(path).get_sampling_frequency() is None


def test_a_multiphoton_system_says_so(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    path = write_oif(tmp_path / "m.oif", frames_of(2, 1, 1, 8, 9))
    assert roi.open(path).metadata.modality == "two-photon"  # by its laser of 920 nm
    changes = {"Version Info": {"SystemName": "FLUOVIEW FVMPE-RS"}, "Channel 1 Parameters": {"ExcitationWavelength": 0}}
    path = write_oif(tmp_path / "mpe" / "m.oif", frames_of(2, 1, 1, 8, 9), changes=changes)
    assert roi.open(path).metadata.modality == "two-photon"


@pytest.mark.thorough
def test_numbers_that_no_recording_has_cost_nothing(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    samples = {"Axis 4 Parameters Common": {"MaxSize": 2_000_000_000}}
    path = write_oif(tmp_path / "t" / "m.oif", frames_of(3, 1, 1, 8, 9), changes=samples)
    with pytest.warns(roi.IncompleteRecordingWarning, match="3 of 2,000,000,000 described samples are complete"):
        assert len(roi.open(path)) == 3
    planes = {"Axis 3 Parameters Common": {"MaxSize": 2_000_000_000}}
    path = write_oif(tmp_path / "z" / "m.oif", frames_of(3, 2, 1, 8, 9), changes=planes)
    with pytest.raises(roi.TruncatedRecordingError, match="the frame of channel 1, plane 3, sample 1 is missing"):
        roi.open(path)


def test_no_frames_and_no_folder_are_errors(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    path = write_oif(tmp_path / "m.oif", frames_of(2, 1, 1, 8, 9))
    for frame in (tmp_path / "m.oif.files").glob("s_C*"):
        frame.unlink()
    with pytest.raises(roi.TruncatedRecordingError, match=r"m\.oif contains settings but no frames"):
        roi.open(path)
    shutil.rmtree(tmp_path / "m.oif.files")
    with pytest.raises(
        roi.SourceNotFoundError, match=r"the folder m\.oif\.files next to it, which does not exist; copy both"
    ):
        roi.open(path)


def test_a_file_that_was_renamed_finds_its_folder_and_no_other(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    movie = frames_of(2, 1, 1, 8, 9)
    path = write_oif(tmp_path / "m.oif", movie)
    renamed = path.rename(tmp_path / "mouse 3.oif")
    np.testing.assert_array_equal(roi.open(renamed).get_series(), movie[:, 0, 0])
    (tmp_path / "m.oif.files").rename(tmp_path / "n.oif.files")
    with pytest.raises(roi.SourceNotFoundError, match="next to it, which does not exist"):
        roi.open(renamed)


def test_the_folder_of_the_frames_is_the_recording(tmp_path: Path, frames_of: Any, write_oif: Any) -> None:
    movie = frames_of(3, 1, 2, 8, 9)
    path = write_oif(tmp_path / "m.oif", movie)
    found = roi.open(tmp_path / "m.oif.files", channel=2)
    np.testing.assert_array_equal(found.get_series(), movie[:, 0, 1])
    path.unlink()
    with pytest.raises(
        roi.SourceNotFoundError, match=r"m\.oif\.files contains the frames of m\.oif, which is not next to it"
    ):
        roi.open(tmp_path / "m.oif.files")


def test_a_folder_with_one_oif_is_opened_and_one_with_several_is_not(
    tmp_path: Path, frames_of: Any, write_oif: Any
) -> None:
    movie = frames_of(3, 1, 1, 8, 9)
    path = write_oif(tmp_path / "m.oif", movie)
    np.testing.assert_array_equal(roi.open(tmp_path).get_series(), movie[:, 0, 0])
    shutil.copy(path, tmp_path / "n.oif")
    with pytest.raises(roi.SourceKindError, match=r"expected one \.oif in the folder .*, got 2 \(m\.oif, n\.oif"):
        roi.open(tmp_path)
    with pytest.raises(roi.SourceKindError, match="expected one file, got 2"):
        roi.open([path, tmp_path / "n.oif"], format="oif")
    assert len(roi.open([path], format="oif")) == 3


# What is damaged


@pytest.fixture
def oib(tmp_path: Path, frames_of: Any, write_oib: Any) -> Path:
    path: Path = write_oib(tmp_path / "m.oib", frames_of(4, 1, 1, 48, 64), sector=512)
    return path


def changed(path: Path, at: int, form: str, *values: int) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, at, *values)
    path.write_bytes(content)
    return path


def frame_of(path: Path, number: int) -> tuple[int, int]:
    """Where the TIFF of a sample lies: byte and sector."""
    start = CompoundFile(PositionedFile(path)).stream(f"Stream{2 * number + 2:05}").runs[0][0]
    return start, start // 512 - 1


def test_sectors_in_a_circle_are_refused(oib: Path) -> None:
    directory = struct.unpack_from("<I", oib.read_bytes(), 48)[0]
    changed(oib, 512 + 4 * directory, "<I", directory)
    with pytest.raises(roi.CorruptRecordingError, match="the sectors of directory form a loop"):
        roi.open(oib, format="oib")


def test_a_chain_that_goes_on_in_another_stream_is_refused(oib: Path, tmp_path: Path) -> None:
    whole = oib.read_bytes()
    (_, sector), (_, other) = frame_of(oib, 1), frame_of(oib, 2)
    changed(oib, 512 + 4 * sector, "<I", other + 1)
    with pytest.raises(roi.CorruptRecordingError, match=rf"two chains of its sectors meet at {other + 1}"):
        roi.open(oib)
    entry = whole.index("Stream00006".encode("utf-16-le"))
    oib.write_bytes(whole)
    with pytest.raises(roi.CorruptRecordingError, match=rf"two chains of its sectors meet at {sector}"):
        roi.open(changed(oib, entry + 116, "<I", sector))


def test_a_chain_that_ends_early_is_refused(oib: Path) -> None:
    _, sector = frame_of(oib, 2)
    changed(oib, 512 + 4 * sector, "<I", 0xFFFFFFFE)
    with roi.open(oib) as found:
        assert found[1].shape == (48, 64)
        with pytest.raises(
            roi.CorruptRecordingError, match=r"s_C001T003\.tif needs [\d,]+ sectors, but its chain ends after 1"
        ):
            found.get_series()


def test_a_stream_whose_last_sector_is_free_is_refused(oib: Path) -> None:
    _, sector = frame_of(oib, 2)
    file = CompoundFile(PositionedFile(oib))
    last = sector + -(-file.stream("Stream00006").size // 512) - 1
    changed(oib, 512 + 4 * last, "<I", 0xFFFFFFFF)
    with (
        roi.open(oib) as found,
        pytest.raises(
            roi.CorruptRecordingError,
            match=rf"s_C001T003\.tif continues in sector {last:,}, and the table gives 0xffffffff",
        ),
    ):
        found.get_series()


@pytest.mark.parametrize(
    ("at", "form", "value", "words"),
    [
        (30, "<H", 20, r"got 2\^20"),
        (48, "<I", 1 << 30, "directory continues in sector 1,073,741,824"),
        (76, "<I", 1 << 30, "sector 1,073,741,824 of 512 bytes is needed; the file is truncated or damaged"),
        (60, "<I", 1 << 30, "the table of small sectors continues in sector"),
    ],
)
def test_numbers_that_no_file_has_are_refused(oib: Path, at: int, form: str, value: int, words: str) -> None:
    with pytest.raises(roi.RecordingError, match=words):
        roi.open(changed(oib, at, form, value), format="oib")


def test_a_list_of_tables_in_a_circle_is_refused(oib: Path) -> None:
    last = 512 * (frame_of(oib, 3)[1] + 2) - 4
    changed(oib, last, "<I", frame_of(oib, 3)[1])
    with pytest.raises(roi.CorruptRecordingError, match="the list of its table's sectors form a loop"):
        roi.open(changed(oib, 68, "<I", frame_of(oib, 3)[1]), format="oib")


def test_a_frame_of_another_size_is_refused(oib: Path) -> None:
    start, _ = frame_of(oib, 2)
    content = oib.read_bytes()
    tag = content.index(struct.pack("<HHI", 257, 4, 1), start)
    changed(oib, tag + 8, "<I", 12)
    with roi.open(oib) as found:
        assert found[1].shape == (48, 64)
        with pytest.raises(
            roi.CorruptRecordingError,
            match=r"s_C001T003\.tif has 12 x 64 pixels of uint16, but the first frame has 48 x 64",
        ):
            found[2]


def test_packed_frames_in_one_file_are_refused(tmp_path: Path, frames_of: Any, write_oib: Any) -> None:
    path = write_oib(tmp_path / "m.oib", frames_of(2, 1, 1, 24, 32), compression="lzw")
    with pytest.raises(roi.UnsupportedRecordingError, match=r"s_C001T001\.tif is a TIFF with compression 5"):
        roi.open(path)


def test_an_oib_that_tells_of_no_main_file_is_refused(tmp_path: Path, frames_of: Any, write_oib: Any) -> None:
    path = write_oib(tmp_path / "m.oib", frames_of(1, 1, 1, 8, 9), info={"MainFileName": "Stream09999"})
    with pytest.raises(roi.CorruptRecordingError, match=r"OibInfo\.txt gives 'Stream09999' as the main file"):
        roi.open(path)


def test_a_cut_file_is_told(oib: Path) -> None:
    os.truncate(oib, frame_of(oib, 3)[0] + 700)
    with pytest.raises(roi.RecordingError, match=r"m\.oib"), roi.open(oib, format="oib") as found:
        found.get_series()


def test_settings_are_text_in_sections() -> None:
    told = Settings.of(
        "\ufeff[A]\r\nx=\"1\"\r\ny='b=c'\r\n[A]\r\nz=(null)\r\n[ColorLUTData]\r\n\x01\x02".encode("utf-16-le"), "s"
    )
    assert told.sections == {"A": {"x": "1", "y": "b=c", "z": "(null)"}}
    assert (told.number("A", "x"), told.number("A", "y"), told.count("A", "none"), told.text("A", "z")) == (
        1,
        None,
        None,
        "",
    )
    assert Settings.of(b"[B]\nx=1e400\n", "s").number("B", "x") is None
    for nonsense in (b"", b"\xff\xfe\x00\xd8", b"text", b"\x80"):
        with pytest.raises(roi.CorruptRecordingError, match="s is not a FluoView settings file"):
            Settings.of(nonsense, "s")


def test_a_recording_pickles_as_its_path(oib: Path) -> None:
    found = roi.open(oib)
    assert len(pickle.dumps(found)) < 3000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).get_series(), found.get_series())


@pytest.mark.parametrize(("third", "best"), [("OibInfo.txt", "oib"), ("WordDocument", None)])
def test_an_oib_is_told_from_other_ole_files_by_its_directory(
    tmp_path: Path, write_compound: Any, third: str, best: str | None
) -> None:
    path = write_compound(tmp_path / "a.bin", {"Storage00001/Stream00001": b"x" * 5000, third: b"y"})
    found = roi.explain(path).best
    assert (found is not None and found.spec.name == "oib") == (best == "oib")


def test_other_texts_in_sections_are_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_bytes("\ufeff[Axis Parameter Common]\r\nx=1\r\n".encode("utf-16-le"))
    (tmp_path / "b.json").write_text("[1, 2]")
    for name in ("a.ini", "b.json"):
        found = roi.explain(tmp_path / name).best
        assert found is None or found.plugin != "roiextractors-olympus"


def test_settings_that_were_exchanged_or_cut_are_warned_about_when_the_times_are_read(
    tmp_path: Path, frames_of: Any, write_oif: Any
) -> None:
    path = write_oif(tmp_path / "m.oif", frames_of(7, 1, 1, 8, 9), rate=4.0)
    folder = tmp_path / "m.oif.files"
    third, fifth = folder / "s_C001T003.pty", folder / "s_C001T005.pty"
    whole, other = third.read_bytes(), fifth.read_bytes()
    third.write_bytes(other)
    fifth.write_bytes(whole)
    found = roi.open(path)
    with pytest.warns(roi.RoiExtractorsWarning, match="do not increase at 2 places, the first after sample 2") as seen:
        found.get_native_timestamps()
    assert str(seen[0].message) in found.get_notes()
    fifth.write_bytes(other)
    third.write_bytes(whole[:64])
    found = roi.open(path)
    with pytest.warns(roi.IncompleteRecordingWarning, match=r"s_C001T003\.pty"):
        times = found.get_native_timestamps()
    assert times is not None
    assert np.isnan(times[2])

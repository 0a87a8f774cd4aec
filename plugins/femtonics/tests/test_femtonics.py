"""MESc files: a real one against another program's reading, and written ones laid out as it.

Every channel here states MESc's usual conversion, scale -1 and offset 65535: the light is 65535 minus the stored integer.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from roiextractors_femtonics.extractor import FemtonicsImagingExtractor

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import ImagingExtractorTests

IDS = [f"femtonics/p29.mesc/MUnit_{unit}/{channel}" for unit in (0, 1) for channel in ("UG", "UR")]


def mesc_text(text: str) -> np.ndarray:
    """Text as MESc stores it: UTF-16 units in int16, with a zero at the end."""
    return np.frombuffer((text + "\0").encode("utf-16-le"), "<i2")


def add_unit(file: h5py.File, place: str, channels: dict[str, np.ndarray], **changes: Any) -> None:
    group = file.require_group(place)
    count, rows, columns = next(iter(channels.values())).shape
    facts: dict[str, Any] = {
        "XDim": np.uint64(columns),
        "YDim": np.uint64(rows),
        "ZDim": np.uint64(count),
        "VecChannelsSize": np.uint64(len(channels)),
        "XAxisConversionConversionLinearScale": 0.25,
        "XAxisConversionUnitName": mesc_text("µm"),
        "YAxisConversionConversionLinearScale": -0.5,
        "YAxisConversionUnitName": mesc_text("µm"),
        "ZAxisConversionConversionLinearScale": 32.0,
        "ZAxisConversionUnitName": mesc_text("ms"),
        "MeasurementDatePosix": np.uint64(1506671580),
        "MeasurementDateNanoSecs": np.uint32(903593500),
        "CreatingMEScVersion": mesc_text("MESc 3.3"),
        "CreatingMEScRevision": np.uint32(4356),
        "ExperimenterSetupID": mesc_text("SN7"),
        "MeasurementParamsXML": np.bytes_('<Task unit="µm"/>'.encode("latin-1")),
        "TypeDebugString": np.bytes_(b"MImage3D"),
    }
    for k, (name, data) in enumerate(channels.items()):
        group.create_dataset(f"Channel_{k}", data=data, chunks=(1, *data.shape[1:]), compression="gzip")
        facts[f"Channel_{k}_Name"] = mesc_text(name)
        facts[f"Channel_{k}_Conversion_ConversionLinearScale"] = -1.0
        facts[f"Channel_{k}_Conversion_ConversionLinearOffset"] = 65535.0
    for key, value in {**facts, **changes}.items():
        if value is not None:
            group.attrs[key] = value
    session = group.parent
    session.attrs["VecMUnitsSize"] = np.uint64(len(session))
    file.attrs["VecMSessionsSize"] = np.uint64(len(file))


def pixels(seed: int, count: int = 70, rows: int = 96, columns: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).integers(60000, 65536, (count, rows, columns)).astype("<u2")


class TestFemtonics(ImagingExtractorTests):
    format = "femtonics"
    fuzz_reader = f"{Path(__file__).with_name('by_h5py.py')}:frames_of"
    open_options = {"session": "MSession_1", "unit": "MUnit_2", "channel": "UR"}

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return 65535 - pixels(4)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        path = tmp_path / "measured.mesc"
        small = pixels(1, 3, 8, 9)
        with h5py.File(path, "w") as file:
            add_unit(file, "MSession_0/MUnit_2", {"UG": small, "UR": small})
            add_unit(file, "MSession_1/MUnit_10", {"UG": small, "UR": small})
            add_unit(file, "MSession_1/MUnit_2", {"UG": pixels(3), "UR": 65535 - expected})
        return path

    @pytest.fixture
    def expected_rate(self) -> float:
        return 31.25

    @pytest.fixture
    def expected_times(self) -> None:
        return None

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"session": ("MSession_0", "MSession_1"), "unit": ("MUnit_2", "MUnit_10"), "channel": ("UG", "UR")}


class TestOneChannelAsStored(TestFemtonics):
    open_options: dict[str, Any] = {"apply_conversion": False}

    @pytest.fixture
    def expected(self, frames: np.ndarray) -> np.ndarray:
        return frames

    @pytest.fixture
    def frames(self) -> np.ndarray:
        return pixels(9, 5, 20, 30)

    @pytest.fixture
    def recording(self, tmp_path: Path, frames: np.ndarray) -> Path:
        path = tmp_path / "movie.mesc"
        with h5py.File(path, "w") as file:
            add_unit(
                file,
                "MSession_0/MUnit_0",
                {"UG": frames},
                ZAxisConversionUnitName=mesc_text("s"),
                ZAxisConversionConversionLinearScale=0.032,
            )
        return path

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {}


@pytest.mark.parametrize("name", IDS)
def test_a_real_recording_agrees_with_the_published_reader(recordings: Path, name: str) -> None:
    entries = json.loads((recordings / "EXPECTED.json").read_text(encoding="utf-8"))
    entry = next(entry for entry in entries if entry["id"] == name)
    # The published reader returns the stored integers; the file's own conversion is tested below
    with roi.open(recordings / entry["path"], **entry["options"], apply_conversion=False) as recording:
        series = recording.get_series()
        assert recording.provenance.format == "femtonics"
        assert recording.shape == series.shape == tuple(entry["array_shape"])
        assert str(series.dtype) == entry["dtype"]
        assert float(series.sum(dtype=np.float64)) == entry["sum"]
        for index, wanted in entry["frames"].items():
            assert hashlib.sha256(recording[int(index)].astype("<u2").tobytes()).hexdigest()[:32] == wanted
        assert recording.get_sampling_frequency() == entry["sampling_frequency"]
        assert recording.get_native_timestamps() is None
        assert [channel.name for channel in recording.metadata.channels] == [entry["options"]["channel"]]


def test_a_real_recording_tells_where_and_how_it_was_made(recordings: Path) -> None:
    path = recordings / "femtonics" / "p29.mesc"
    assert roi.streams(path) == {"unit": ("MUnit_0", "MUnit_1"), "channel": ("UG", "UR")}
    with roi.open(path, unit=0, channel=1) as recording:
        found = recording.metadata
        assert found.start_time == datetime(2017, 9, 29, 7, 53, 0, 903593, tzinfo=UTC)
        assert found.pixel_size == (1.7821140546875, 1.7821140546875)
        assert found.device == "Femtonics SN20150066006-MBMoser_1"
        assert found.software == "MESc 3.3 (revision 4356)"
        assert found.modality == "two-photon"
        assert found.vendor["ExperimenterHostname"] == "KI-FEMTO-0185"
        assert 'DisplayName" id="SlowX' in found.vendor["MeasurementParamsXML"]
        assert 'value="µm"' in found.vendor["MeasurementParamsXML"]


def test_the_conversion_of_the_file_is_applied_by_default(recordings: Path) -> None:
    path = recordings / "femtonics" / "p29.mesc"
    with h5py.File(path) as file:
        numbers = file["MSession_0/MUnit_0/Channel_0"][()]
        facts = file["MSession_0/MUnit_0"].attrs
        prefix = "Channel_0_Conversion_ConversionLinear"
        assert (float(facts[f"{prefix}Scale"]), float(facts[f"{prefix}Offset"])) == (-1.0, 65535.0)
    with (
        roi.open(path, unit=0, channel="UG") as light,
        roi.open(path, unit=0, channel="UG", apply_conversion=False) as stored,
    ):
        assert light.dtype == stored.dtype == np.uint16
        np.testing.assert_array_equal(stored.get_series(), numbers)
        np.testing.assert_array_equal(light.get_series(), 65535 - numbers)
        np.testing.assert_array_equal(light[1, 3:5], 65535 - numbers[1, 3:5])
        # Light is counted from a dark floor: few pixels are bright, and the mean is above the median
        assert light[:].mean() > np.median(light[:])
        assert "scale -1, offset 65535) applied" in light.get_notes()[-1]
        assert "as stored" in stored.get_notes()[-1]


def test_a_conversion_that_leaves_the_type_gives_floats(tmp_path: Path) -> None:
    path, stored = tmp_path / "scaled.mesc", pixels(2, 4, 6, 7)
    with h5py.File(path, "w") as file:
        add_unit(file, "MSession_0/MUnit_0", {"UG": stored}, Channel_0_Conversion_ConversionLinearScale=0.5)
    with roi.open(path) as recording:
        assert recording.dtype == np.float64
        np.testing.assert_array_equal(recording.get_samples([3, 0]), stored[[3, 0]] * 0.5 + 65535.0)


@pytest.mark.parametrize(("word", "value"), [("Scale", 0.0), ("Scale", np.nan), ("Offset", np.nan)])
def test_a_conversion_that_cannot_be_applied_is_an_error(tmp_path: Path, word: str, value: float) -> None:
    path, stated = tmp_path / "a.mesc", {f"Channel_0_Conversion_ConversionLinear{word}": value}
    with h5py.File(path, "w") as file:
        add_unit(file, "MSession_0/MUnit_0", {"UG": pixels(2, 4, 6, 7)}, **stated)
    with pytest.raises(CorruptRecordingError, match=rf"{word.lower()} .*apply_conversion=False returns"):
        roi.open(path)
    assert roi.open(path, apply_conversion=False).dtype == np.uint16


def test_a_truncated_file_that_may_have_lost_its_conversion_is_an_error(tmp_path: Path) -> None:
    path, stored = tmp_path / "cut.mesc", pixels(2, 40, 60, 70)
    with h5py.File(path, "w") as file:
        add_unit(file, "MSession_0/MUnit_0", {"UG": stored}, Channel_0_Conversion_ConversionLinearOffset=0.0)
        file.create_dataset("end", data=np.arange(900))  # what is cut off; bytes that are lost read as 0
    with open(path, "r+b") as cut:
        cut.truncate(path.stat().st_size - 5)
    with pytest.raises(TruncatedRecordingError, match=r"apply_conversion=False returns the stored integers"):
        roi.open(path)
    with pytest.warns(roi.IncompleteRecordingWarning, match="truncated"):
        recording = roi.open(path, apply_conversion=False)
    np.testing.assert_array_equal(recording[:], stored)


def test_each_choice_is_asked_for_in_its_turn(tmp_path: Path) -> None:
    path, stored = tmp_path / "choices.mesc", pixels(2, 4, 6, 7)
    with h5py.File(path, "w") as file:
        add_unit(file, "MSession_0/MUnit_0", {"UG": stored})
        add_unit(file, "MSession_1/MUnit_0", {"UG": stored})
        add_unit(file, "MSession_1/MUnit_3", {"UG": stored, "UR": stored + 1})
    with pytest.raises(StreamChoiceError, match=r"has the sessions 'MSession_0' and 'MSession_1'; choose one"):
        roi.open(path)
    with pytest.raises(StreamChoiceError, match=r"has the units 'MUnit_0' and 'MUnit_3'; choose one"):
        roi.open(path, session=1)
    with pytest.raises(StreamChoiceError, match=r"has the channels 'UG' and 'UR'; choose one"):
        roi.open(path, session=1, unit=3)
    with pytest.raises(StreamChoiceError, match=r"has the unit 'MUnit_0', not 'MUnit_7'"):
        roi.open(path, session=0, unit="MUnit_7")
    for options in (
        {"unit": "MUnit_3", "channel": "Channel_1"},
        {"unit": 3, "channel": 1},
        {"unit": "3", "channel": "UR"},
    ):
        with roi.open(path, session="MSession_1", **options) as recording:
            np.testing.assert_array_equal(recording.get_series(), 65535 - (stored + 1))
    assert FemtonicsImagingExtractor.get_streams(path, session=0) == {"session": ("MSession_0", "MSession_1")}


def test_channels_of_one_name_go_by_their_numbers(tmp_path: Path) -> None:
    path, stored = tmp_path / "names.mesc", pixels(2, 4, 6, 7)
    with h5py.File(path, "w") as file:
        add_unit(file, "MSession_0/MUnit_0", {"a": stored, "b": stored}, Channel_1_Name=mesc_text("a"))
    assert roi.streams(path) == {"channel": ("Channel_0", "Channel_1")}


@pytest.mark.parametrize("claimed", [149, 2])
def test_the_frames_are_those_of_the_dataset_whatever_zdim_says(tmp_path: Path, claimed: int) -> None:
    path, stored = tmp_path / "zdim.mesc", pixels(2, 4, 6, 7)
    with h5py.File(path, "w") as file:
        add_unit(file, "MSession_0/MUnit_0", {"UG": stored}, ZDim=np.uint64(claimed))
    with roi.open(path) as recording:
        assert len(recording) == 4
        assert recording.get_notes()[0] == f"MSession_0/MUnit_0: ZDim states {claimed} frames, but the dataset has 4"


def test_frames_that_were_never_written_are_missing_and_left_out_at_the_end(tmp_path: Path) -> None:
    path, stored = tmp_path / "stopped.mesc", pixels(2, 9, 6, 7)
    with h5py.File(path, "w") as file:
        add_unit(file, "MSession_0/MUnit_0", {"UG": stored})
        unit = file["MSession_0/MUnit_0"]
        del unit["Channel_0"]
        made = unit.create_dataset("Channel_0", shape=stored.shape, dtype=stored.dtype, chunks=(1, 6, 7))
        for frame in (0, 1, 3, 4):
            made[frame] = stored[frame]
    with pytest.warns(roi.IncompleteRecordingWarning) as seen:
        recording = roi.open(path)
    words = [str(warning.message) for warning in seen]
    assert "5 of 9 samples are complete" in words[0]
    assert "1 of 5 chunks of the pixels is missing" in words[1]
    light = 65535 - stored
    light[2] = 0  # black; converting the file's fill value, 0, would give 65535
    np.testing.assert_array_equal(recording.get_series(), light[:5])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(recording)).get_series(), light[:5])
    assert recording.get_missing_samples().tolist() == [2]
    with pytest.warns(roi.IncompleteRecordingWarning):
        assert not roi.open(path, apply_conversion=False)[2].any()


def test_a_stack_in_depth_is_one_volume(tmp_path: Path) -> None:
    path, stored = tmp_path / "stack.mesc", pixels(2, 4, 6, 7)
    with h5py.File(path, "w") as file:
        add_unit(
            file,
            "MSession_0/MUnit_0",
            {"UG": stored},
            ZAxisConversionUnitName=mesc_text("µm"),
            ZAxisConversionConversionLinearScale=-2.0,
        )
    with roi.open(path) as recording:
        assert recording.shape == (1, 6, 7, 4)
        np.testing.assert_array_equal(recording[0, :, :, 2], 65535 - stored[2])
        assert recording.metadata.plane_spacing == 2.0
        assert recording.metadata.pixel_size == (0.5, 0.25)
        assert recording.get_sampling_frequency() is None


@pytest.mark.parametrize(
    ("unit", "step", "rate"),
    [("s", 0.5, 2.0), ("ms", 0.0, None), ("ms", np.nan, None), ("", 20.0, None), ("ms", None, None)],
)
def test_a_rate_needs_a_step_and_a_unit_of_time(
    tmp_path: Path, unit: str, step: float | None, rate: float | None
) -> None:
    path, stored = tmp_path / "rate.mesc", pixels(2, 4, 6, 7)
    with h5py.File(path, "w") as file:
        add_unit(
            file,
            "MSession_0/MUnit_0",
            {"UG": stored},
            ZAxisConversionUnitName=mesc_text(unit),
            ZAxisConversionConversionLinearScale=step,
        )
    with roi.open(path) as recording:
        assert recording.get_sampling_frequency() == rate


def test_units_of_other_kinds_are_named(tmp_path: Path) -> None:
    path = tmp_path / "lines.mesc"
    with h5py.File(path, "w") as file:
        file.attrs["VecMSessionsSize"] = np.uint64(1)
        unit = file.create_group("MSession_0/MUnit_0")
        unit.attrs["TypeDebugString"] = np.bytes_(b"MLineScan2D")
        unit["Channel_0"] = np.zeros((5, 6), np.uint16)
    with pytest.raises(
        UnsupportedRecordingError, match=r"its units are of other types: MSession_0/MUnit_0 \(MLineScan2D\)"
    ):
        roi.open(path)
    with h5py.File(path, "w") as file:
        file.attrs["VecMSessionsSize"] = np.uint64(0)
    with pytest.raises(UnsupportedRecordingError, match=r"contains no MESc movie: it contains no units"):
        roi.open(path)


def test_channels_in_other_files_are_not_followed(tmp_path: Path) -> None:
    path, stored = tmp_path / "linked.mesc", pixels(2, 4, 6, 7)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = stored
    with h5py.File(path, "w") as file:
        add_unit(file, "MSession_0/MUnit_0", {"UG": stored})
        file["MSession_0/MUnit_0/Channel_1"] = h5py.ExternalLink("other.h5", "data")
    with pytest.raises(UnsupportedRecordingError, match=r"is a link to another file \(other.h5\)"):
        roi.open(path)

"""ND2 files that are not tidy, written here chunk by chunk with the XML form of their metadata."""

from __future__ import annotations

import contextlib
import math
import struct
import tracemalloc
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

pytest.importorskip("nd2", reason="nd2 is not installed")

ROWS, COLUMNS = 6, 8
JULIAN = 2457000.25  # 8 December 2014, 18:00 UTC
T, P, Z = ("T", 1), ("P", 2), ("Z", 4)


def write_nd2(
    path: Path,
    loops: Sequence[tuple[tuple[str, int], int]],
    *,
    times: Sequence[float] | None = None,
    lost: Sequence[int] = (),
    more: int = 0,
    period: float = 0.0,
    flags: int = 0x10001,
    zeroed: Sequence[int] = (),
    calibrated: bool = True,
    julian: float = JULIAN,
    text: str = "",
    date: str = "",
    stamped: Sequence[float] = (),
    pixels: np.ndarray | None = None,
    packed: bool = False,
    attributes_first: bool = False,
) -> Path:
    """Write two channels of frames whose pixels are 100 times the channel and the number of the frame.

    ``loops`` are kinds and counts, outermost first; ``times`` are milliseconds, and ``lost`` frames are not written.
    """
    count = math.prod(count for _, count in loops) + more
    content = bytearray(
        chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), pad=False).ljust(4096, b"\0")
    )
    where: dict[bytes, tuple[int, int]] = {}

    def add(name: bytes, data: bytes) -> None:
        where[name] = (len(content), len(data))
        content.extend(chunk(name, data))

    sizes = {"uiWidth": COLUMNS, "uiHeight": ROWS, "uiWidthBytes": COLUMNS * 4, "uiComp": 2, "uiBpcInMemory": 16}
    compression = {"eCompression": 0, "dCompressionParam": 0.0} if packed else {}
    attributes = variant({**sizes, **compression, "uiBpcSignificant": 12, "uiSequenceCount": count})
    if attributes_first:
        add(b"ImageAttributesLV!", attributes)
    add(b"ImageMetadataLV!", variant(experiment(loops, period)))
    add(b"ImageMetadataSeqLV|0!", variant(picture(flags, calibrated, julian)))
    add(b"ImageTextInfoLV!", variant({"TextInfoItem_5": text, "TextInfoItem_9": date}))
    for number in range(count):
        if number not in lost:
            frame = np.empty((ROWS, COLUMNS, 2), np.uint16)
            frame[:] = (number, 100 + number) if pixels is None else pixels[number]
            data = zlib.compress(frame.tobytes()) if packed else frame.tobytes()
            add(b"ImageDataSeq|%d!" % number, struct.pack("<d", stamped[number] if stamped else 0.0) + data)
    if times is not None:
        add(b"CustomData|AcqTimesCache!", struct.pack(f"<{len(times)}d", *times))
    about = {"SWNameString": "NIS-Elements AR", "VersionString": "5.42.03"}
    add(b"CustomDataVar|AppInfo_V1_0!", variant(about))
    if not attributes_first:
        add(b"ImageAttributesLV!", attributes)
    entries = b"".join(name + struct.pack("<QQ", *place) for name, place in where.items())
    at = len(content)
    end = entries + b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", at)
    content += chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", end, pad=False)
    for number in zeroed:
        place, length = where[b"ImageDataSeq|%d!" % number]
        content[place : place + 4088 + length] = bytes(4088 + length)
    path.write_bytes(content)
    return path


def chunk(name: bytes, data: bytes, *, pad: bool = True) -> bytes:
    name = name.ljust(4072, b"\0") if pad else name
    return struct.pack("<IIQ", 0x0ABECEDA, len(name), len(data)) + name + data


def variant(values: Mapping[str, Any]) -> bytes:
    return f'<variant version="1.0"><no_name runtype="CLxListVariant">{nodes(values)}</no_name></variant>'.encode()


def nodes(values: Mapping[str, Any]) -> str:
    kinds = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}
    return "".join(
        f'<{name} runtype="CLxListVariant">{nodes(value)}</{name}>'
        if isinstance(value, Mapping)
        else f'<{name} runtype="{kinds[type(value)]}" value="{str(value).replace(chr(10), "&#10;")}"/>'
        for name, value in values.items()
    )


def experiment(loops: Sequence[tuple[tuple[str, int], int]], period: float) -> dict[str, Any]:
    if not loops:
        return {}
    (axis, kind), count = loops[0]
    parameters: dict[str, Any] = {"uiCount": count}
    if axis == "T":
        parameters |= {"dStart": 0.0, "dPeriod": period, "dDuration": 0.0}
    if axis == "P":
        parameters["Points"] = {f"p{k}": {"dPosX": float(k), "dPosY": 0.0, "dPosZ": 0.0} for k in range(count)}
    if axis == "Z":
        parameters |= {"dZStep": 1.5, "dZLow": 0.0, "dZHigh": 1.5 * (count - 1)}
    inner = experiment(loops[1:], period)
    return {"eType": kind, "uLoopPars": parameters} | ({"ppNextLevelEx": {"no_name": inner}} if inner else {})


def picture(flags: int, calibrated: bool, julian: float) -> dict[str, Any]:
    def spectrum(wave: float) -> dict[str, Any]:
        return {"pPoint": {"Point0": {"dTValue": 1.0, "dWavelength": wave, "eType": 1}}, "uiCount": 1}

    def band(centre: float, half: float) -> dict[str, Any]:
        return {"pPoint": {"Point0": {"dTValue": half, "dWavelength": centre, "eType": 4}}, "uiCount": 1}

    # The second line of the laser box was used for the first plane, and none for the second
    lasers = {"iMultiLaserUse0": 1, "dMultiLaserLinePower0-01": 12.5}
    lasers |= {f"iMultiLaserLineWavelength0-0{k}": wave for k, wave in enumerate((405, 488, 561))}
    settings = {
        f"a{k}": {"dExposureTime": 20.0 + k, "pDeviceSetting": lasers | {"iMultiLaserLineUsed0-01": 1 - k}}
        for k in range(2)
    }
    planes = {
        f"a{k}": {
            "sDescription": name,
            "uiCompCount": 1,
            "uiModalityMask": flags,
            "pFluorescentProbe": {"m_ExcitationSpectrum": spectrum(488.0), "m_EmissionSpectrum": spectrum(525.0)},
            "pFilterPath": {"m_sFilter": {"i0": {"m_EmissionSpectrum": band(525.0 + 75 * k, 25.0)}}},
            "uiSampleIndex": k,
        }
        for k, name in enumerate(("Green", "Red"))
    }
    return {
        "bCalibrated": calibrated,
        "dCalibration": 0.5 if calibrated else 1.0,
        "dTimeMSec": 0.0,
        "dTimeAbsolute": julian,
        "dObjectiveMag": 16.0,
        "dObjectiveNA": 0.8,
        "wsObjectiveName": "Nikon LWD 16x",
        "dZoom": 1.5,
        "sPicturePlanes": {"uiCount": 2, "sPlaneNew": planes, "sSampleSetting": settings},
    }


def values(recording: Any) -> list[Any]:
    first: list[Any] = recording.get_series()[:, 0, 0].tolist()
    return first


def test_regular_times_give_the_rate(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 5)], times=[100.0, 350.0, 600.05, 850.0, 1100.0])
    with roi.open(path, channel="Red") as recording:
        assert values(recording) == [100, 101, 102, 103, 104]
        assert recording.get_native_timestamps() == pytest.approx([0.1, 0.35, 0.60005, 0.85, 1.1])
        assert recording.get_sampling_frequency() == pytest.approx(4.0, rel=1e-3)
        assert recording.get_notes() == ()


@pytest.mark.parametrize(
    ("period", "times", "rate"),
    [
        (250.0, [0.0, 260.0, 500.0, 770.0], 4.0),  # nominal
        (250.0, [0.0, 900.0, 2100.0, 3000.0], None),  # the camera was slower than the loop asked for
        (0.0, [0.0, 260.0, 500.0, 770.0], None),
        (250.0, None, 4.0),
    ],
)
def test_the_period_of_the_loop_is_the_rate_unless_the_times_contradict_it(
    tmp_path: Path, period: float, times: list[float] | None, rate: float | None
) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 4)], times=times, period=period)
    with roi.open(path, channel="Green") as recording:
        assert recording.get_sampling_frequency() == rate


@pytest.mark.parametrize("times", [[0.0] * 4, [7.0] * 4])
def test_a_clock_of_an_nd2_that_stands_still_falls_back_to_the_rate(tmp_path: Path, times: list[float]) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 4)], times=times, period=250.0)
    with roi.open(path, channel="Green") as recording:
        assert recording.get_native_timestamps() is None
        assert recording.get_timestamps().tolist() == [0.0, 0.25, 0.5, 0.75]
        assert "do not increase" in recording.get_notes()[0]


@pytest.mark.parametrize("how", ["lost", "zeroed"])
def test_lost_frames_of_an_nd2_are_missing_samples_and_not_zeros(tmp_path: Path, how: str) -> None:
    times = [1000.0 * k for k in range(8)]
    path = write_nd2(tmp_path / "a.nd2", [(T, 4), (Z, 2)], times=times, **{how: [3]})
    with pytest.warns(roi.IncompleteRecordingWarning, match="3 of 4 samples.*sample 1 is left out: 1 frame is missing"):
        recording = roi.open(path, channel="Green")
    assert values(recording) == [[0, 1], [4, 5], [6, 7]]
    assert recording.slice_samples(1, 3).get_series()[:, 0, 0, 0].tolist() == [4, 6]
    assert recording.get_samples([2, 0])[:, 0, 0, 0].tolist() == [6, 0]
    assert recording.get_native_timestamps().tolist() == [0.0, 4.0, 6.0]
    assert recording.get_sampling_frequency() == 0.5
    assert recording.get_missing_samples().tolist() == [1]
    assert "3 of 4 samples" in recording.get_notes()[0]


def test_an_aborted_nd2_gives_the_samples_that_were_recorded(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 10), (Z, 2)], times=[500.0 * k for k in range(7)], lost=range(7, 20))
    with pytest.warns(roi.IncompleteRecordingWarning, match="3 of 10 samples"):
        recording = roi.open(path, channel="Green")
    assert values(recording) == [[0, 1], [2, 3], [4, 5]]
    assert recording.get_native_timestamps().tolist() == [0.0, 1.0, 2.0]
    assert recording.get_missing_samples().tolist() == list(range(3, 10))


@pytest.mark.parametrize("order", [(T, P), (P, T)])
def test_positions_of_an_nd2_are_scenes_and_never_alternate(tmp_path: Path, order: Any) -> None:
    counts = {"T": 3, "P": 2}
    path = write_nd2(
        tmp_path / "a.nd2", [(loop, counts[loop[0]]) for loop in order], times=[100.0 * k for k in range(6)]
    )
    assert roi.streams(path)["scene"] == ("XYPos:0", "XYPos:1")
    with pytest.raises(roi.StreamChoiceError, match="choose one"):
        roi.open(path, channel="Green")
    expected = [1, 3, 5] if order[0] == T else [3, 4, 5]
    with roi.open(path, channel="Green", scene="XYPos:1") as recording:
        assert values(recording) == expected
        assert recording.get_native_timestamps() == pytest.approx(np.array(expected) / 10)


def test_a_frame_lost_at_one_position_leaves_the_other_whole(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 3), (P, 2)], times=[100.0 * k for k in range(6)], lost=[2])
    with roi.open(path, channel="Green", scene=1) as whole:
        assert values(whole) == [1, 3, 5]
    with pytest.warns(roi.IncompleteRecordingWarning, match="2 of 3 samples"):
        recording = roi.open(path, channel="Green", scene=0)
    assert values(recording) == [0, 4]
    assert recording.get_native_timestamps() == pytest.approx([0.0, 0.4])


def test_frames_beyond_the_loops_are_said(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 3)], more=3, times=[0.0, 100.0, 200.0])
    with pytest.warns(roi.RoiExtractorsWarning, match="6 frames, of which 3 are outside its loops"):
        recording = roi.open(path, channel="Green")
    assert values(recording) == [0, 1, 2]


def test_a_truncated_nd2_gives_its_whole_samples_with_their_own_times(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 4), (Z, 2)], times=[0.0, 1.0], stamped=[500.0 * k for k in range(8)])
    content = path.read_bytes()
    with roi.open(path, channel="Red", sampling_frequency=2.0) as recording:
        whole = recording.get_series()
    path.write_bytes(content[:-500])  # in the map of chunks
    with pytest.warns(roi.IncompleteRecordingWarning, match=r"a\.nd2 is truncated.*8 complete frames"):
        recording = roi.open(path, channel="Red")
    np.testing.assert_array_equal(recording.get_series(), whole)
    path.write_bytes(
        content[: content.index(b"ImageDataSeq|5!") + 4072 + 20]
    )  # in the second plane of the third sample
    assert roi.streams(path, frame_shape=(ROWS, COLUMNS)) == {"channel": ("Green", "Red")}
    with pytest.warns(roi.IncompleteRecordingWarning, match="2 of 4 samples are complete.*samples 2, 3 are left out"):
        recording = roi.open(path, channel="Red", frame_shape=(ROWS, COLUMNS))
    np.testing.assert_array_equal(recording.get_series(), whole[:2])
    assert recording.get_native_timestamps().tolist() == [0.0, 1.0]
    assert recording.get_missing_samples().tolist() == [2, 3]
    assert recording.metadata.objective == roi.ObjectiveMetadata("Nikon LWD 16x", 16.0, 0.8)


def test_zeros_at_the_end_of_an_nd2_are_a_truncated_file(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 4)], attributes_first=True)
    content = path.read_bytes()
    end = content.index(b"ImageDataSeq|2!") - 16
    path.write_bytes(content[:end].ljust(len(content), b"\0"))
    with pytest.warns(roi.IncompleteRecordingWarning, match="2 of 4 samples.*2 complete frames"):
        recording = roi.open(path, channel="Green")  # the size of the frames comes before the damage
    assert values(recording) == [0, 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"is truncated.*frames \(192 bytes each\) .*pass frame_shape=\(rows, columns\)"),
        ({"frame_shape": (9, 9)}, r"frames of \(9, 9\) \(rows, columns\) do not fit the 192 bytes"),
        ({"frame_shape": "x"}, "do not fit the 192 bytes"),
    ],
)
def test_the_size_of_the_frames_of_a_truncated_nd2_is_asked_for(tmp_path: Path, options: Any, words: str) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 3)])
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(roi.TruncatedRecordingError, match=words):
        roi.open(path, channel="Green", **options)


def test_an_nd2_without_one_complete_frame_is_refused(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 3)])
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"ImageDataSeq|0!") + 4100])
    with pytest.raises(roi.TruncatedRecordingError, match="no complete frame"):
        roi.open(path, channel="Green")


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "zlib"])
def test_parts_of_frames_are_those_of_the_library(tmp_path: Path, packed: bool) -> None:
    nd2 = pytest.importorskip("nd2")
    pixels = np.random.default_rng(2).integers(0, 4000, (6, ROWS, COLUMNS, 2)).astype(np.uint16)
    path = write_nd2(tmp_path / "a.nd2", [(T, 3), (Z, 2)], pixels=pixels, packed=packed)
    right = nd2.imread(path)[:, :, 1]
    with roi.open(path, channel="Red") as recording:
        np.testing.assert_array_equal(recording.get_series(), np.moveaxis(right, 1, 3))
        np.testing.assert_array_equal(recording[[2, 0], 1:5, 3:, 1:], np.moveaxis(right[[2, 0], 1:, 1:5, 3:], 1, 3))
    np.testing.assert_array_equal(right, pixels[..., 1].reshape(3, 2, ROWS, COLUMNS))


def test_a_frame_that_does_not_decompress_is_a_corrupt_recording(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 3)], packed=True)
    content = bytearray(path.read_bytes())
    at = content.index(b"ImageDataSeq|1!") + 4072 + 8
    content[at : at + 8] = bytes(8)
    path.write_bytes(content)
    with roi.open(path, channel="Green") as recording, pytest.raises(roi.CorruptRecordingError, match="decompress"):
        recording.get_series()


def test_a_length_in_an_nd2_makes_no_room_for_more_than_the_file_has(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 2)])
    content = bytearray(path.read_bytes())
    at = content.index(b"ImageAttributesLV!") - 8
    struct.pack_into("<Q", content, at, 4_000_000_000)
    path.write_bytes(content)
    tracemalloc.start()
    with contextlib.suppress(roi.RecordingError):
        roi.open(path, channel="Green").get_series()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


@pytest.mark.parametrize(
    ("julian", "date", "expected"),
    [
        (JULIAN, "08/12/2014  19:00:00", datetime(2014, 12, 8, 18, tzinfo=UTC)),
        (-1.0, "28/12/2014  19:00:07", datetime(2014, 12, 28, 19, 0, 7)),
        (-1.0, "08/12/2014  19:00:00", None),
        (2440587.5, "", None),
        (0.0, "", None),
    ],
)
def test_the_start_of_an_nd2(tmp_path: Path, julian: float, date: str, expected: datetime | None) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 2)], times=[0.0, 1.0], julian=julian, date=date)
    with roi.open(path, channel="Green") as recording:
        assert recording.metadata.start_time == expected


@pytest.mark.parametrize(("flags", "modality"), [(0x10201, "two-photon"), (0x201, "confocal"), (0x101, "one-photon")])
def test_the_light_path_of_an_nd2(tmp_path: Path, flags: int, modality: str) -> None:
    lines = "Plane #1:\n Name: Green\n Exposure: 50 ms\n {Laser Wavelength}: 488.0 {Laser Power}: 2.5\nPlane #2:\n Name: Red\n"
    path = write_nd2(tmp_path / "a.nd2", [(T, 2)], times=[0.0, 1.0], flags=flags, text=lines)
    with roi.open(path, channel="Green") as recording:
        found = recording.metadata
    assert (found.modality, found.zoom, found.bit_depth) == (modality, 1.5, 12)
    assert found.objective == roi.ObjectiveMetadata("Nikon LWD 16x", 16.0, 0.8)
    assert found.software == "NIS-Elements AR 5.42.03"
    one = found.channels[0]
    assert (one.laser_lines, one.laser_power, one.exposure_time) == ((488.0,), 2.5, pytest.approx(0.05))
    with roi.open(path, channel="Red") as recording:
        assert recording.metadata.channels[0].laser_lines == ()


def test_the_settings_of_each_plane_of_an_nd2_give_band_exposure_and_the_used_laser(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 2)], times=[0.0, 1.0], flags=0x101)
    for number, (channel, lines, power) in enumerate((("Green", (488.0,), 12.5), ("Red", (), None))):
        with roi.open(path, channel=channel) as recording:
            one = recording.metadata.channels[0]
        assert one.detection_band == (500.0 + 75 * number, 550.0 + 75 * number)
        assert one.exposure_time == pytest.approx((20.0 + number) / 1000)
        assert (one.laser_lines, one.laser_power) == (lines, power)
    path = write_nd2(tmp_path / "b.nd2", [(T, 2)], times=[0.0, 1.0], flags=0x201)
    with roi.open(path, channel="Green") as recording:
        assert recording.metadata.channels[0].exposure_time is None  # of a scanner


def test_an_nd2_without_calibration_has_no_pixel_size(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", [(T, 2)], times=[0.0, 1.0], calibrated=False)
    with roi.open(path, channel="Green") as recording:
        assert recording.metadata.pixel_size is None

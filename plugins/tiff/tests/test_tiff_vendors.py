"""MetaMorph (STK, XML) and Zeiss LSM: written here byte by byte, by what is public of them, and compared with tifffile's reading."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import roiextractors_core as roi

_DAY = 2_455_260  # 5 March 2010 in the real file of MetaMorph, by its tag DateTime


def frames_of(count: int, rows: int = 6, columns: int = 7) -> np.ndarray:
    return np.arange(count * rows * columns, dtype="<u2").reshape(count, rows, columns)


def stk_facts(path: Path) -> dict[str, Any]:
    """Return what tifffile reads of a stack."""
    with tifffile.TiffFile(path) as file:
        return dict(file.stk_metadata)


class Bytes:
    """The content of a file that grows at its end."""

    def __init__(self) -> None:
        self.data = bytearray(b"II*\0\0\0\0\0")

    def add(self, content: bytes) -> int:
        """Append, and return the offset."""
        self.data += bytes(len(self.data) % 2)
        self.data += content
        return len(self.data) - len(content)

    def directory(self, entries: dict[int, tuple[int, int, int]], link_at: int) -> int:
        """Append a directory, point to it from ``link_at``, and return where its own link is."""
        body = struct.pack("<H", len(entries))
        for code, (kind, count, value) in sorted(entries.items()):
            body += struct.pack("<HHII", code, kind, count, value)
        at = self.add(body + bytes(4))
        struct.pack_into("<I", self.data, link_at, at)
        return at + len(body)


def page_tags(frame: np.ndarray, data: int, **more: Any) -> dict[int, tuple[int, int, int]]:
    rows, columns = frame.shape[-2:]
    bits = 8 * frame.dtype.itemsize
    return {
        **{256: (4, 1, columns), 257: (4, 1, rows), 258: (3, 1, bits), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)},
        **{273: (4, 1, data), 278: (4, 1, rows), 279: (4, 1, frame.nbytes)},
    }


def write_stk(
    path: Path,
    frames: np.ndarray,
    *,
    milliseconds: Sequence[int],
    distances: Sequence[float] | None = None,
    waves: Sequence[float] | None = None,
    calibrated: int = 1,
    unit: bytes = b"um",
) -> None:
    """Write a MetaMorph stack: all planes behind one directory, and the tables UIC1, UIC2 and UIC3."""
    out, count = Bytes(), len(frames)
    data = out.add(frames.tobytes())
    away, lights = distances or [0.0] * count, waves or [525.0] * count
    uic2 = out.add(
        b"".join(
            struct.pack("<6I", round(1000 * d), 1000, _DAY, ms, 0, 0) for d, ms in zip(away, milliseconds, strict=True)
        )
    )
    uic3 = out.add(b"".join(struct.pack("<2I", round(10 * w), 10) for w in lights))
    created = out.add(struct.pack("<2I", _DAY, milliseconds[0]))
    ratio, text = out.add(struct.pack("<2I", 645, 1000)), out.add(struct.pack("<I", len(unit) + 1) + unit + b"\0")
    named = [(b"_MagSetting_", b"20x Plan Fluor/0.45", None), (b"Camera Bit Depth", b"", 12)]
    places = []
    for name, value, number in named:
        tail = struct.pack("<BII", 1, number, 1) if number else struct.pack("<BB", 2, len(value)) + value
        places.append(out.add(bytes(4) + bytes([len(name)]) + name + struct.pack("<I", 0) + tail))
    pairs = [(3, calibrated), (4, ratio), (5, ratio), (6, text), (16, created), *((49, place) for place in places)]
    uic1 = out.add(b"".join(struct.pack("<2I", *pair) for pair in pairs))
    words = b"\0".join([b"Exposure: 40 ms\r\nBinning: 1 x 1"] * count) + b"\0"
    tags = page_tags(frames[0], data) | {270: (2, len(words), out.add(words))}
    tags |= {33628: (4, len(pairs), uic1), 33629: (5, count, uic2), 33630: (5, count, uic3)}
    out.directory(tags, 4)
    path.write_bytes(out.data)


NEW_TIFFFILE = pytest.mark.skipif(
    tifffile.__version__ < "2026", reason="an older tifffile reads the tags of MetaMorph otherwise"
)


@NEW_TIFFFILE
def test_a_metamorph_stack_states_size_exposure_lens_bits_and_times(tmp_path: Path) -> None:
    path, frames = tmp_path / "m.stk", frames_of(5)
    write_stk(path, frames, milliseconds=[43_732_203 + 50 * k for k in range(5)])
    found, theirs = roi.open(path), stk_facts(path)
    assert np.array_equal(found.get_series(), frames)
    metadata = found.metadata
    assert metadata.start_time == theirs["CreateTime"] == datetime(2010, 3, 5, 12, 8, 52, 203000)
    assert metadata.pixel_size == (theirs["YCalibration"], theirs["XCalibration"]) == (0.645, 0.645)
    assert metadata.objective == roi.ObjectiveMetadata("20x Plan Fluor/0.45", 20.0, 0.45)
    assert metadata.bit_depth == theirs["PlaneProperty"][1]["value"] == 12
    channel = metadata.channels[0]
    assert (channel.emission_wavelength, channel.exposure_time) == (theirs["Wavelengths"][0], pytest.approx(0.04))
    assert found.get_timestamps().tolist() == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert found.get_sampling_frequency() == pytest.approx(20.0)


def test_a_calibration_that_metamorph_switched_off_or_that_has_no_unit_of_length_is_not_used(tmp_path: Path) -> None:
    for number, options in enumerate(({"calibrated": 0}, {"unit": b"pixel"})):
        write_stk(tmp_path / f"{number}.stk", frames_of(2), milliseconds=[0, 50], **options)  # type: ignore[arg-type]
        assert roi.open(tmp_path / f"{number}.stk").metadata.pixel_size is None
    write_stk(tmp_path / "nm.stk", frames_of(2), milliseconds=[0, 50], unit=b"nm")
    assert roi.open(tmp_path / "nm.stk").metadata.pixel_size == pytest.approx((0.000645, 0.000645))


def test_planes_of_a_metamorph_stack_are_depths_or_channels_where_it_says_so(tmp_path: Path) -> None:
    frames, clock = frames_of(6), [50 * k for k in range(6)]
    deep = tmp_path / "deep.stk"
    write_stk(deep, frames, milliseconds=clock, distances=[0.5] * 6)
    found = roi.open(deep)
    with tifffile.TiffFile(deep) as theirs:
        assert theirs.series[0].axes == "ZYX"
    assert np.array_equal(found.get_series(), np.moveaxis(frames, 0, 2)[None])
    assert found.metadata.plane_spacing == 0.5
    assert any("read as depths; for times, pass dimension_order='T'" in note for note in found.get_notes())
    movie = roi.open(deep, dimension_order="T")
    assert (movie.shape, movie.get_sampling_frequency()) == ((6, 6, 7), pytest.approx(20.0))
    assert not any("read as depths" in note for note in movie.get_notes())
    colours = tmp_path / "colours.stk"
    write_stk(colours, frames, milliseconds=clock, waves=[525, 610] * 3)
    assert roi.streams(colours) == {"channel": ("525", "610")}
    red = roi.open(colours, channel="610")
    assert np.array_equal(red.get_series(), frames[1::2])
    assert red.get_timestamps().tolist() == pytest.approx([0, 0.1, 0.2])
    assert red.metadata.channels[0].emission_wavelength == 610
    blocks = tmp_path / "blocks.stk"
    write_stk(blocks, frames, milliseconds=clock, waves=[525] * 3 + [610] * 3)
    assert np.array_equal(roi.open(blocks, channel="610").get_series(), frames[3:])


def test_planes_of_a_metamorph_stack_in_no_regular_order_are_warned_about(tmp_path: Path) -> None:
    write_stk(tmp_path / "m.stk", frames_of(6), milliseconds=range(0, 300, 50), waves=[525, 525, 610, 610, 525, 610])
    with pytest.warns(roi.RoiExtractorsWarning, match=r"m\.stk: .*2 wavelengths.*no regular order.*dimension_order="):
        assert len(roi.open(tmp_path / "m.stk")) == 6
    write_stk(tmp_path / "z.stk", frames_of(6), milliseconds=range(0, 300, 50), distances=[0, 1, 1, 0, 1, 7])
    with pytest.warns(roi.RoiExtractorsWarning, match=r"z\.stk: .*distances along z.*num_planes="):
        assert len(roi.open(tmp_path / "z.stk")) == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert roi.open(tmp_path / "z.stk", dimension_order="TZ", num_planes=3).shape == (2, 6, 7, 3)


def test_a_clock_of_metamorph_that_stands_still_gives_no_times_and_a_note(tmp_path: Path) -> None:
    write_stk(tmp_path / "m.stk", frames_of(4), milliseconds=[700] * 4)
    found = roi.open(tmp_path / "m.stk", sampling_frequency=10.0)
    assert found.times_source == "rate" or found.get_native_timestamps() is None
    assert any("do not increase" in note for note in found.get_notes())


@NEW_TIFFFILE
def test_the_real_metamorph_file_states_what_tifffile_reads(recordings: Path) -> None:
    path = recordings / "formats/metamorph/MetamorphImage.tif"
    theirs, metadata = stk_facts(path), roi.open(path).metadata
    properties = {one["name"]: one["value"] for one in theirs["PlaneProperty"]}
    assert metadata.start_time == theirs["CreateTime"]
    assert metadata.pixel_size == (theirs["YCalibration"], theirs["XCalibration"])
    assert metadata.objective == roi.ObjectiveMetadata(properties["_MagSetting_"], 20.0, properties["_MagNA_"])
    assert metadata.bit_depth == properties["Camera Bit Depth"]
    assert metadata.channels[0].emission_wavelength == theirs["wavelength"]
    assert metadata.channels[0].exposure_time == pytest.approx(0.3)  # "Exposure: 300 ms" in the description


def test_placeholders_in_the_tags_of_metamorph_are_not_metadata(recordings: Path) -> None:
    folder = recordings / "bruker/NCCR32_2022_11_03_IntoTheVoid_t_series-005"
    path = next(folder.glob("*Ch2_000001.ome.tif"))  # 99 microns, day 0, a wavelength of 1.79
    metadata = roi.open(path, format="tiff").metadata
    assert (metadata.pixel_size, metadata.channels, metadata.objective) == (None, (), None)


# The XML of MetaMorph 7 and MetaXpress


def described(**properties: Any) -> str:
    """Return a description; underscores in names are hyphens, but for MetaMorph's own."""
    given = {
        "spatial-calibration-state": "on", "spatial-calibration-x": "325", "spatial-calibration-y": "325",
        "spatial-calibration-units": "nm", "wavelength": "525", "_IllumSetting_": "GFP", "_MagNA_": "0.75",
        "_MagSetting_": "20X S Fluor", "z-position": "100.0", "acquisition-time-local": "20240816 09:49:42.978",
    } | {key if key.startswith("_") else key.replace("_", "-"): value for key, value in properties.items()}  # fmt: skip
    props = "".join(f'<prop id="{key}" type="string" value="{value}"/>\n' for key, value in given.items())
    return (
        '<MetaData><prop id="Description" type="string" value="Exposure: 100 ms&#13;&#10;Binning: 1 x 1"/>\n'
        f'<prop id="ApplicationName" type="string" value="MetaMorph"/><PlaneInfo>\n{props}'
        '<custom-prop id="Camera Bit Depth" type="float" value="16"/></PlaneInfo></MetaData>'
    )


def write_described(path: Path, frames: np.ndarray, describe: Callable[[int], str]) -> None:
    with tifffile.TiffWriter(path) as out:
        for number, frame in enumerate(frames):
            out.write(
                frame, description=describe(number), software="MetaSeries", metadata=None, contiguous=False, resolution=(72, 72)
            )  # fmt: skip


def clock(seconds: float) -> str:
    return f"20240816 09:49:{42.978 + seconds:06.3f}"


def test_the_xml_of_metaxpress_states_size_wavelength_exposure_lens_and_times(tmp_path: Path) -> None:
    frames = frames_of(4)
    write_described(tmp_path / "m.tif", frames, lambda k: described(acquisition_time_local=clock(0.25 * k)))
    found = roi.open(tmp_path / "m.tif")
    metadata, channel = found.metadata, found.metadata.channels[0]
    assert np.array_equal(found.get_series(), frames)
    assert metadata.pixel_size == pytest.approx((0.325, 0.325))
    assert metadata.start_time == datetime(2024, 8, 16, 9, 49, 42, 978000)
    assert metadata.objective == roi.ObjectiveMetadata("20X S Fluor", 20.0, 0.75)
    assert (metadata.bit_depth, metadata.software) == (16, "MetaMorph")
    assert (channel.name, channel.emission_wavelength) == ("GFP", 525.0)
    assert channel.exposure_time == pytest.approx(0.1)
    assert found.get_timestamps().tolist() == pytest.approx([0, 0.25, 0.5, 0.75])
    assert found.get_sampling_frequency() == pytest.approx(4.0)


def test_files_of_metaxpress_have_their_own_times(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for k, seconds in enumerate((0.0, 1.0, 3.5)):
        text = described(acquisition_time_local=clock(seconds))
        write_described(folder / f"run_t{k + 1}.TIF", frames_of(1) + k, lambda _, text=text: text)  # type: ignore[misc]
    found = roi.open(folder)
    assert found.get_timestamps().tolist() == pytest.approx([0, 1, 3.5])
    assert found.metadata.pixel_size == pytest.approx((0.325, 0.325))


def test_pages_of_metaxpress_are_depths_or_channels_where_they_say_so(tmp_path: Path) -> None:
    frames, path = frames_of(8), tmp_path / "m.tif"
    write_described(
        path, frames,
        lambda k: described(
            acquisition_time_local=clock(k), z_position=f"{100 + 1.5 * (k // 2 % 2):.2f}",
            wavelength=(525, 610)[k % 2], _IllumSetting_=("GFP", "RFP")[k % 2],
        ),
    )  # fmt: skip
    assert roi.streams(path) == {"channel": ("GFP", "RFP"), "plane": ("0", "1")}
    found = roi.open(path, channel="RFP")
    assert np.array_equal(found.get_series(), np.moveaxis(frames.reshape(2, 2, 2, 6, 7)[:, :, 1], 1, 3))
    assert found.get_timestamps().tolist() == pytest.approx([0, 4])
    assert found.metadata.plane_spacing == pytest.approx(1.5)
    assert found.metadata.channels[0].emission_wavelength == 610


def test_a_focus_that_drifts_makes_no_volume(tmp_path: Path) -> None:
    heights = (100.0, 100.02, 99.97, 100.11, 100.3, 100.31)
    write_described(
        tmp_path / "m.tif", frames_of(6), lambda k: described(acquisition_time_local=clock(k), z_position=heights[k])
    )
    assert roi.open(tmp_path / "m.tif").shape == (6, 6, 7)


def test_a_calibration_of_metaxpress_that_is_off_is_not_used(tmp_path: Path) -> None:
    write_described(tmp_path / "m.tif", frames_of(2), lambda _: described(spatial_calibration_state="off"))
    assert roi.open(tmp_path / "m.tif").metadata.pixel_size is None


@pytest.mark.parametrize(("year", "start"), [(1970, None), (2024, datetime(2024, 1, 1, 0, 0, 7))])
def test_a_date_of_1970_is_not_a_start(tmp_path: Path, year: int, start: datetime | None) -> None:
    tifffile.imwrite(tmp_path / "m.tif", frames_of(2), datetime=f"{year}:01:01 00:00:07", metadata=None)
    assert roi.open(tmp_path / "m.tif").metadata.start_time == start


# Zeiss LSM


def scan_block(code: int, *parts: bytes) -> bytes:
    return struct.pack("<III", code, 0, 0) + b"".join(parts) + struct.pack("<III", 0xFFFFFFFF, 0, 0)


def entry(code: int, value: float | str) -> bytes:
    kind, data = (
        (2, str(value).encode() + b"\0")
        if isinstance(value, str)
        else (4, struct.pack("<i", value))
        if isinstance(value, int)
        else (5, struct.pack("<d", value))
    )
    return struct.pack("<III", code, kind, len(data)) + data


def track(name: str, line: float, power: float, band: tuple[float, float], acquire: int = 1) -> bytes:
    return scan_block(
        0x40000000,
        entry(0x40000006, acquire),
        scan_block(0x60000000, scan_block(0x70000000, entry(0x70000014, name), entry(0x7000000B, 1), entry(0x70000022, band[0]), entry(0x70000023, band[1]))),
        scan_block(0x80000000, scan_block(0x90000000, entry(0x90000003, line), entry(0x90000002, power), entry(0x90000004, 1)),
                   scan_block(0x90000000, entry(0x90000003, 633.0), entry(0x90000002, 1.0), entry(0x90000004, 0))),
        scan_block(0xC0000000, scan_block(0xD0000000, entry(0xD0000001, f"{name}-T1"), entry(0xD0000017, 1))),
    )  # fmt: skip


def write_lsm(
    path: Path,
    frames: np.ndarray,
    *,
    scan_type: int,
    sizes: dict[str, int],
    stamps: Sequence[float] = (),
    lines: Sequence[float] = (488.0,),
    interval: float = 0.0,
    data_type: int = 2,
) -> None:
    """Write pages, each with its thumbnail behind it; ``frames`` is (pages, channels, rows, columns)."""
    out, link = Bytes(), 4
    count = frames.shape[1]
    names = [f"Ch{k + 1}" for k in range(count)]
    tracks = [
        track(name, line, 4.5, (500.0 + 50 * k, 540.0 + 50 * k))
        for k, (name, line) in enumerate(zip(names, lines, strict=True))
    ]
    scan = out.add(
        scan_block(
            0x10000000, entry(0x10000004, "Plan-Apochromat 63x/1.40 Oil DIC M27"), entry(0x10000016, 2.5), entry(0x10000036, 40242.5 + 0.25 / 86400),
            scan_block(0x20000000, *tracks, track("Ch9", 561.0, 1.0, (600.0, 700.0), acquire=0)),
        )
    )  # fmt: skip
    block = (
        b"" if not stamps else struct.pack("<ii", 8 + 8 * len(stamps), len(stamps)) + np.array(stamps, "<f8").tobytes()
    )
    clock_at = out.add(block) if stamps else 0
    info = bytearray(512)
    struct.pack_into(
        "<Iiiiiiiiii",
        info,
        0,
        0x00400494C & 0xFFFFFFFF,
        512,
        7,
        6,
        sizes.get("Z", 1),
        count,
        sizes.get("T", 1),
        data_type,
        3,
        2,
    )
    struct.pack_into("<3d", info, 40, 2e-7, 3e-7, 1.5e-6)
    struct.pack_into("<H", info, 88, scan_type)
    struct.pack_into("<d", info, 112, interval)
    struct.pack_into("<I", info, 124, scan)
    struct.pack_into("<I", info, 132, clock_at)
    struct.pack_into("<ii", info, 264, sizes.get("P", 0), sizes.get("M", 0))
    info_at = out.add(bytes(info))
    thumbnail = np.full((2, 3), 9, "u1")
    for number, page in enumerate(frames):
        places = [out.add(channel.tobytes()) for channel in page]
        tags = page_tags(page[0], places[0])
        if count > 1:
            tags |= {
                277: (3, 1, count),
                284: (3, 1, 2),
                258: (3, count, out.add(struct.pack(f"<{count}H", *[16] * count))),
            }
            tags |= {
                273: (4, count, out.add(struct.pack(f"<{count}I", *places))),
                279: (4, count, out.add(struct.pack(f"<{count}I", *[page[0].nbytes] * count))),
            }
        if number == 0:
            tags |= {34412: (1, 512, info_at)}
        link = out.directory(tags | {254: (4, 1, 0)}, link)
        small = page_tags(thumbnail, out.add(thumbnail.tobytes())) | {254: (4, 1, 1)}
        link = out.directory(small, link)
    path.write_bytes(out.data)


def test_a_zeiss_lsm_is_read_by_its_axes_with_sizes_times_lasers_and_bands(tmp_path: Path) -> None:
    frames = frames_of(12).reshape(6, 2, 6, 7)
    path = tmp_path / "m.lsm"
    write_lsm(
        path,
        frames,
        scan_type=6,
        sizes={"T": 3, "Z": 2},
        stamps=[100.0, 102.0, 104.5],
        lines=(488.0, 561.0),
        interval=2.0,
    )
    with tifffile.TiffFile(path) as theirs:
        axes, facts, pixels = theirs.series[0].axes, theirs.lsm_metadata, theirs.asarray()
    assert (axes, pixels.shape) == ("TZCYX", (3, 2, 2, 6, 7))
    assert roi.streams(path) == {"channel": ("Ch1-T1", "Ch2-T1"), "plane": ("0", "1")}
    found = roi.open(path, channel="Ch2-T1")
    assert np.array_equal(found.get_series(), np.moveaxis(pixels[:, :, 1], 1, 3))
    metadata = found.metadata
    assert metadata.pixel_size == pytest.approx((1e6 * facts["VoxelSizeY"], 1e6 * facts["VoxelSizeX"]))
    assert metadata.plane_spacing == pytest.approx(1e6 * facts["VoxelSizeZ"])
    assert metadata.start_time == datetime(2010, 3, 5, 12, 0, 0, 250000)
    assert metadata.objective == roi.ObjectiveMetadata("Plan-Apochromat 63x/1.40 Oil DIC M27", 63.0, 1.4)
    assert (metadata.zoom, metadata.bit_depth, metadata.modality) == (facts["ScanInformation"]["ZoomX"], 12, "confocal")
    channel = metadata.channels[0]
    assert (channel.name, channel.laser_lines, channel.laser_power) == ("Ch2-T1", (561.0,), 4.5)
    assert channel.detection_band == (550.0, 590.0)
    assert found.get_timestamps().tolist() == pytest.approx((facts["TimeStamps"] - facts["TimeStamps"][0]).tolist())
    assert found.get_sampling_frequency() is None  # irregular, and not the interval that was set


def test_a_zeiss_lsm_in_time_has_a_rate_by_its_stamps_or_its_interval(tmp_path: Path) -> None:
    frames = frames_of(4).reshape(4, 1, 6, 7)
    write_lsm(tmp_path / "a.lsm", frames, scan_type=3, sizes={"T": 4}, stamps=[7.0, 7.5, 8.0, 8.5], lines=(920.0,))
    found = roi.open(tmp_path / "a.lsm")
    assert (found.get_sampling_frequency(), found.metadata.modality) == (pytest.approx(2.0), "two-photon")
    write_lsm(tmp_path / "b.lsm", frames, scan_type=3, sizes={"T": 4}, interval=0.25)
    assert roi.open(tmp_path / "b.lsm").get_sampling_frequency() == 4.0
    write_lsm(tmp_path / "c.lsm", frames, scan_type=3, sizes={"T": 4}, stamps=[5.0] * 4, interval=0.25)
    still = roi.open(tmp_path / "c.lsm")
    assert (still.get_sampling_frequency(), still.get_native_timestamps()) == (4.0, None)
    assert any("do not increase" in note for note in still.get_notes())


def test_positions_of_a_zeiss_lsm_are_streams(tmp_path: Path) -> None:
    frames = frames_of(6).reshape(6, 1, 6, 7)
    write_lsm(tmp_path / "m.lsm", frames, scan_type=3, sizes={"T": 3, "P": 2})
    assert roi.streams(tmp_path / "m.lsm") == {"position": ("0", "1")}
    assert np.array_equal(roi.open(tmp_path / "m.lsm", position=1).get_series(), frames[3:, 0])


def test_an_aborted_zeiss_lsm_gives_its_whole_volumes(tmp_path: Path) -> None:
    frames = frames_of(4).reshape(4, 1, 6, 7)
    write_lsm(tmp_path / "m.lsm", frames, scan_type=6, sizes={"T": 4, "Z": 2}, stamps=[0, 1, 2, 3])
    with pytest.warns(roi.IncompleteRecordingWarning, match=r"T=4 x Z=2.*2 samples"):
        found = roi.open(tmp_path / "m.lsm")
    assert np.array_equal(found.get_series(), np.moveaxis(frames[:, 0].reshape(2, 2, 6, 7), 1, 3))
    assert found.get_timestamps().tolist() == [0, 1]

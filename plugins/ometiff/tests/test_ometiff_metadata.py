"""What the OME-XML says beside the planes: names, times, rates, sizes, dates, and its units."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

MOVIE = np.random.default_rng(5).integers(0, 4000, (4, 1, 1, 10, 12)).astype(np.uint16)


def opened(ome: Any, folder: Path, movie: np.ndarray = MOVIE, *, channel: str | int | None = None, **more: Any) -> Any:
    path = ome.simple(folder / "m.ome.tif", movie, **more)
    return roi.open(path) if channel is None else roi.open(path, channel=channel)


def planes(times: list[str | None], unit: str = "", **where: int) -> str:
    rest = "".join(f' {key}="{value}"' for key, value in where.items())
    shown = f' DeltaTUnit="{unit}"' if unit else ""
    return "".join(
        f'<Plane TheT="{t}"{rest}' + (f' DeltaT="{time}"{shown}' if time is not None else "") + "/>"
        for t, time in enumerate(times)
    )


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ('TimeIncrement="0.05"', 20.0),
        ('TimeIncrement="50" TimeIncrementUnit="ms"', 20.0),
        ('TimeIncrement="50000" TimeIncrementUnit="µs"', 20.0),
        ('TimeIncrement="50000" TimeIncrementUnit="&#956;s"', 20.0),
        ('TimeIncrement="2" TimeIncrementUnit="min"', 1 / 120),
        ('TimeIncrement="0.0333333"', 1 / 0.0333333),
        ('TimeIncrement="0"', None),
        ('TimeIncrement="0.0" TimeIncrementUnit="s"', None),
        ('TimeIncrement="-1"', None),
        ('TimeIncrement="NaN"', None),
        ('TimeIncrement="INF"', None),
        ('TimeIncrement="soon"', None),
        ('TimeIncrement="5" TimeIncrementUnit="fortnight"', None),
        ("", None),
    ],
)
def test_the_rate_is_by_the_time_increment_and_its_unit(
    ome: Any, tmp_path: Path, text: str, rate: float | None
) -> None:
    with opened(ome, tmp_path, more=text) as recording:
        assert recording.get_sampling_frequency() == rate
        assert recording.times_source == (None if rate is None else "computed")


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("", ["0.5", "0.75", "1.0", "1.5"]),
        ("s", ["0.5", "0.75", "1.0", "1.5"]),
        ("ms", ["500", "750", "1000", "1500.0"]),
        ("µs", ["500000", "750000", "1000000", "1500000"]),
        ("min", ["0.5", "0.75", "1.0", "1.5"]),
    ],
)
def test_the_times_are_delta_t_in_its_unit(ome: Any, tmp_path: Path, unit: str, times: list[str]) -> None:
    with opened(ome, tmp_path, planes=planes(times, unit, TheC=0, TheZ=0)) as recording:
        wanted = [0.5, 0.75, 1.0, 1.5] if unit != "min" else [30.0, 45.0, 60.0, 90.0]
        assert recording.get_native_timestamps().tolist() == wanted
        assert recording.get_native_timestamps(1, 3).tolist() == wanted[1:3]
        assert recording.times_source == "native"
        assert recording.get_sampling_frequency() is None


def test_each_channel_has_its_own_times_and_a_volume_that_of_its_first_plane(ome: Any, tmp_path: Path) -> None:
    movie = ome.frames(3, 2, 2, 5, 6)
    shown = "".join(
        f'<Plane TheT="{t}" TheC="{c}" TheZ="{z}" DeltaT="{t + c * 0.25 + (1 - z) * 0.0625}"/>'
        for t in range(3)
        for c in range(2)
        for z in range(2)
    )
    with opened(ome, tmp_path, movie, channel="2", planes=shown) as recording:
        assert recording.get_native_timestamps().tolist() == [0.25, 1.25, 2.25]
    with roi.open(tmp_path / "m.ome.tif", channel="2", plane=0) as recording:
        assert recording.get_native_timestamps().tolist() == [0.3125, 1.3125, 2.3125]


def test_times_that_are_not_there_for_all_samples_are_left_out(ome: Any, tmp_path: Path) -> None:
    with opened(ome, tmp_path, planes=planes(["0", None, "1", None])) as recording:
        assert recording.get_native_timestamps() is None
        assert recording.get_notes() == ("m.ome.tif: DeltaT is given for only 2 of 4 samples and is ignored",)


def test_times_that_stand_still_are_no_clock(ome: Any, tmp_path: Path) -> None:
    with opened(ome, tmp_path, planes=planes(["0"] * 4), more='TimeIncrement="0.5"') as recording:
        assert recording.times_source == "computed"
        assert recording.get_notes() == ("m.ome.tif: DeltaT is 0 s for every sample, and is ignored",)


def test_times_that_do_not_increase_are_warned_about(ome: Any, tmp_path: Path) -> None:
    with pytest.warns(roi.RoiExtractorsWarning, match="do not increase at 1 place, the first after sample 1") as seen:
        recording = opened(ome, tmp_path, planes=planes(["0", "1", "0.5", "3"]))
    with recording:
        assert recording.get_timestamps().tolist() == [0.0, 1.0, 0.5, 3.0]
        assert str(seen[0].message) in recording.get_notes()


def test_a_rate_that_the_times_contradict_is_told(ome: Any, tmp_path: Path) -> None:
    shown = planes(["0", "1100", "2200", "3300"], "ms")
    with opened(ome, tmp_path, planes=shown, more='TimeIncrement="1" TimeIncrementUnit="ms"') as recording:
        assert recording.get_timestamps().tolist() == [0.0, 1.1, 2.2, 3.3]
        words = "TimeIncrement gives 1000 Hz, but by DeltaT samples are 1.1 s apart; the times of DeltaT are used"
        assert recording.get_notes() == (f"m.ome.tif: {words}",)


def test_times_of_the_old_schema_are_read(ome: Any, tmp_path: Path) -> None:
    shown = "".join(
        f'<Plane TheT="{t}" TheC="0" TheZ="0"><PlaneTiming DeltaT="{t * 0.5}" ExposureTime="0.1"/></Plane>'
        for t in range(4)
    )
    with opened(ome, tmp_path, planes=shown) as recording:
        assert recording.get_native_timestamps().tolist() == [0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ('PhysicalSizeX="0.5" PhysicalSizeY="0.25"', (0.25, 0.5)),
        ('PhysicalSizeX="0.5" PhysicalSizeY="250" PhysicalSizeYUnit="nm"', (0.25, 0.5)),
        ('PhysicalSizeX="0.001" PhysicalSizeXUnit="mm" PhysicalSizeY="5000" PhysicalSizeYUnit="Å"', (0.5, 1.0)),
        ('PhysicalSizeX="1" PhysicalSizeXUnit="in" PhysicalSizeY="1" PhysicalSizeYUnit="um"', (1.0, 25400.0)),
        ('PhysicalSizeX="1" PhysicalSizeXUnit="pixel" PhysicalSizeY="1" PhysicalSizeYUnit="pixel"', None),
        ('PhysicalSizeX="1"', None),
        ('PhysicalSizeX="0" PhysicalSizeY="0"', None),
        ('PhysicalSizeX="1" PhysicalSizeY="-1"', None),
    ],
)
def test_sizes_are_rows_before_columns_in_micrometres(ome: Any, tmp_path: Path, text: str, size: Any) -> None:
    with opened(ome, tmp_path, more=text) as recording:
        assert recording.metadata.pixel_size == size


def test_planes_have_their_spacing_and_positions(ome: Any, tmp_path: Path) -> None:
    movie = ome.frames(2, 1, 3, 5, 6)
    shown = "".join(
        f'<Plane TheT="{t}" TheC="0" TheZ="{z}" PositionZ="{z * 12.5 - 4}" PositionZUnit="µm"/>'
        for t in range(2)
        for z in (2, 0, 1)
    )
    path = ome.simple(tmp_path / "m.ome.tif", movie, planes=shown, more='PhysicalSizeZ="0.0125" PhysicalSizeZUnit="mm"')
    with roi.open(path) as recording:
        assert recording.metadata.plane_spacing == 12.5
        assert recording.metadata.plane_positions == (-4.0, 8.5, 21.0)
    with roi.open(path, plane=1) as recording:
        assert recording.metadata.plane_spacing is None
        assert recording.metadata.plane_positions == (8.5,)


def test_positions_in_an_arbitrary_frame_are_no_micrometres(ome: Any, tmp_path: Path) -> None:
    movie = ome.frames(2, 1, 2, 5, 6)
    shown = "".join(f'<Plane TheT="0" TheC="0" TheZ="{z}" PositionZ="{z}"/>' for z in range(2))
    with opened(ome, tmp_path, movie, planes=shown) as recording:
        assert recording.metadata.plane_positions == ()


@pytest.mark.parametrize(
    ("inside", "moment"),
    [
        ("<AcquisitionDate>2024-03-21T09:05:07</AcquisitionDate>", datetime(2024, 3, 21, 9, 5, 7)),
        ("<AcquisitionDate> 2024-03-21T09:05:07.25Z </AcquisitionDate>", datetime(2024, 3, 21, 9, 5, 7, 250000, UTC)),
        ("<CreationDate>2008-03-21T09:05:07</CreationDate>", datetime(2008, 3, 21, 9, 5, 7)),
        ("<AcquisitionDate>yesterday</AcquisitionDate>", None),
        ("<AcquisitionDate/>", None),
        ("", None),
    ],
)
def test_the_start_is_the_acquisition_date(ome: Any, tmp_path: Path, inside: str, moment: datetime | None) -> None:
    with opened(ome, tmp_path, inside=inside) as recording:
        assert recording.metadata.start_time == moment


@pytest.mark.parametrize(
    ("elements", "names"),
    [
        ('<Channel ID="a" Name="GCaMP6f"/><Channel ID="b" Name="mCherry"/>', ("GCaMP6f", "mCherry")),
        ('<Channel ID="a"/><Channel ID="b"/>', ("1", "2")),
        ('<Channel ID="a" Name="GCaMP6f"/><Channel ID="b"/>', ("GCaMP6f", "2")),
        ('<Channel ID="a" Name="same"/><Channel ID="b" Name="same"/>', ("a", "b")),
        ('<Channel Name="same"/><Channel Name="same"/>', ("1", "2")),
        ('<Channel ID="a" Name=" "/>', ("1", "2")),
        ("", ("1", "2")),
    ],
)
def test_channels_have_names_numbers_or_ids(ome: Any, tmp_path: Path, elements: str, names: tuple[str, ...]) -> None:
    movie = ome.frames(3, 2, 1, 5, 6)
    path = ome.simple(tmp_path / "m.ome.tif", movie, channels=elements)
    assert roi.streams(path)["channel"] == names
    with pytest.raises(roi.StreamChoiceError, match=f"has the channels '{names[0]}' and '{names[1]}'; choose one"):
        roi.open(path)
    for number, name in enumerate(names):
        for chosen in (name, number + 1):
            with roi.open(path, channel=chosen) as recording:
                assert np.array_equal(recording.get_series(), movie[:, number, 0])
                assert recording.metadata.channels[0].name == name
    for wrong in ("GFP", 0, 3, -1):
        with pytest.raises(roi.StreamChoiceError, match=f", not {wrong!r}; choose one"):
            roi.open(path, channel=wrong)


def test_a_channel_can_be_chosen_by_its_id(ome: Any, tmp_path: Path) -> None:
    movie = ome.frames(3, 2, 1, 5, 6)
    elements = '<Channel ID="Channel:0:0" Name="a"/><Channel ID="Channel:0:1" Name="b"/>'
    with opened(ome, tmp_path, movie, channel="Channel:0:1", channels=elements) as recording:
        assert np.array_equal(recording.get_series(), movie[:, 1, 0])


def test_wavelengths_are_nanometres(ome: Any, tmp_path: Path) -> None:
    elements = (
        '<Channel ID="a" Name="g" EmissionWavelength="0.52" EmissionWavelengthUnit="µm" ExcitationWavelength="0"/>'
    )
    with opened(ome, tmp_path, channels=elements) as recording:
        channel = recording.metadata.channels[0]
        assert (channel.name, channel.emission_wavelength, channel.excitation_wavelength) == ("g", 520.0, None)


def test_channels_of_the_old_schema_are_read(ome: Any, tmp_path: Path) -> None:
    inside = '<LogicalChannel ID="a" Name="Cy3" ExWave="550" EmWave="570"/>'
    with opened(ome, tmp_path, channels="", inside=inside) as recording:
        channel = recording.metadata.channels[0]
        assert (channel.name, channel.emission_wavelength, channel.excitation_wavelength) == ("Cy3", 570.0, 550.0)


def test_the_instrument_is_the_one_that_the_image_refers_to(ome: Any, tmp_path: Path) -> None:
    instruments = "".join(
        f'<Instrument ID="I:{k}"><Microscope Manufacturer="Maker {k}" Model="M{k}"/><Detector ID="D" Model="PMT"/></Instrument>'
        for k in range(2)
    )
    image = ome.pixels(
        "XYZCT", t=4, frame=MOVIE[0, 0, 0], inside='<InstrumentRef ID="I:1"/><Description>a cell</Description>'
    )
    path = ome.tiff(tmp_path / "m.ome.tif", MOVIE[:, 0, 0], ome.xml(instruments, image, creator="Scope 3.1"))
    with roi.open(path) as recording:
        metadata = recording.metadata
        assert (metadata.device, metadata.software) == ("Maker 1 M1", "Scope 3.1")
        assert metadata.vendor["Instrument"]["Detector"] == [{"ID": "D", "Model": "PMT"}]
        assert metadata.vendor["Description"] == "a cell"
        assert metadata.vendor["Pixels"]["DimensionOrder"] == "XYZCT"
        json.dumps(metadata.to_dict())


def test_an_axis_that_holds_another_is_told(ome: Any, tmp_path: Path) -> None:
    extra = (
        '<StructuredAnnotations><XMLAnnotation ID="A"><Value><Modulo><ModuloAlongT Type="lifetime" Start="0" End="3"/>'
        "</Modulo></Value></XMLAnnotation></StructuredAnnotations>"
    )
    xml = ome.xml(ome.pixels("XYZCT", t=4, frame=MOVIE[0, 0, 0]), extra=extra)
    with roi.open(ome.tiff(tmp_path / "m.ome.tif", MOVIE[:, 0, 0], xml)) as recording:
        assert "its T axis contains a further axis (ModuloAlongT), which is not separated" in recording.get_notes()[0]


def test_images_inside_annotations_are_none_of_the_recordings(ome: Any, tmp_path: Path) -> None:
    inner = ome.pixels("XYZCT", t=9, frame=MOVIE[0, 0, 0], name="inner", number=7)
    extra = f'<StructuredAnnotations><XMLAnnotation ID="A"><Value><OME>{inner}</OME></Value></XMLAnnotation></StructuredAnnotations>'
    xml = ome.xml(ome.pixels("XYZCT", t=4, frame=MOVIE[0, 0, 0]), extra=extra)
    with roi.open(ome.tiff(tmp_path / "m.ome.tif", MOVIE[:, 0, 0], xml)) as recording:
        assert np.array_equal(recording.get_series(), MOVIE[:, 0, 0])


def test_names_from_the_file_are_safe_to_print(ome: Any, tmp_path: Path) -> None:
    movie = ome.frames(3, 2, 1, 5, 6)
    elements = '<Channel ID="a" Name="red&#x9;\u202egreen"/><Channel ID="b" Name="b"/>'
    path = ome.simple(tmp_path / "m.ome.tif", movie, channels=elements)
    assert roi.streams(path)["channel"] == ("red\\t\\u202egreen", "b")


def lit(ome: Any, folder: Path, instrument: str, image: str) -> Any:
    frame = np.ones((6, 7), np.uint16)
    return roi.open(ome.tiff(folder / "l.ome.tif", [frame, frame + 1], ome.xml(instrument + image)))


def test_band_lasers_power_exposure_and_zoom_are_read_with_their_units(ome: Any, tmp_path: Path) -> None:
    instrument = (
        '<Instrument ID="I:0"><Laser ID="L:0" Wavelength="0.488" WavelengthUnit="µm"/><Laser ID="L:1" Wavelength="561"/>'
        '<Laser ID="L:2" Wavelength="640"/><Detector ID="D:0" Zoom="9"/><Detector ID="D:1" Zoom="3"/>'
        '<Filter ID="F:0"><TransmittanceRange CutIn="500" CutOut="550"/></Filter>'
        '<Filter ID="F:1"><TransmittanceRange CutIn="0.51" CutInUnit="µm" CutOut="600"/></Filter></Instrument>'
    )
    channel = (
        '<Channel ID="C:0"><LightSourceSettings ID="L:0" Attenuation="0.96"/><LightSourceSettings ID="L:2" Attenuation="1"/>'
        '<DetectorSettings ID="D:1"/><LightPath><EmissionFilterRef ID="F:0"/><EmissionFilterRef ID="F:1"/></LightPath></Channel>'
    )
    shown = "".join(
        f'<Plane TheT="{t}" TheC="0" TheZ="0" ExposureTime="{40 + t}" ExposureTimeUnit="ms"/>' for t in (0, 1)
    )
    frame = np.ones((6, 7), np.uint16)
    image = ome.pixels("XYZCT", t=2, frame=frame, channels=channel, planes=shown, inside='<InstrumentRef ID="I:0"/>')
    metadata = lit(ome, tmp_path, instrument, image).metadata
    one = metadata.channels[0]
    assert one.detection_band == pytest.approx((510.0, 550.0))
    assert (one.laser_lines, one.laser_power) == (pytest.approx((488.0,)), pytest.approx(4.0))
    assert one.exposure_time == pytest.approx(0.0405)
    assert metadata.zoom == 3.0


def test_lasers_filters_and_lenses_in_the_elements_of_old_schemas_are_read(ome: Any, tmp_path: Path) -> None:
    instrument = (
        '<Instrument ID="I:0"><LightSource ID="L:0" Manufacturer="Coherent"><Laser Type="Gas" Wavelength="514"/></LightSource>'
        '<Objective ID="O:0" Model="20x"><LensNA>0.75</LensNA><NominalMagnification>20</NominalMagnification></Objective>'
        '<Filter ID="F:0"><TransmittanceRange CutIn="520" CutOut="560"/></Filter>'
        '<FilterSet ID="S:0" EmFilter="F:0"/><Detector ID="D:0" Zoom="2.5"/></Instrument>'
    )
    inside = (
        '<InstrumentRef ID="I:0"/><ObjectiveRef ID="O:0"/><LogicalChannel ID="C:0" Mode="Laser Scanning Confocal" FilterSet="S:0">'
        '<LightSourceRef ID="L:0" Attenuation="0.5"/></LogicalChannel>'
    )
    shown = '<Plane TheT="0" TheC="0" TheZ="0"><PlaneTiming DeltaT="0" ExposureTime="0.2"/></Plane>'
    frame = np.ones((6, 7), np.uint16)
    image = ome.pixels("XYZCT", t=2, frame=frame, channels="", planes=shown, inside=inside)
    metadata = lit(ome, tmp_path, instrument, image).metadata
    one = metadata.channels[0]
    assert metadata.objective == roi.ObjectiveMetadata("20x", 20.0, 0.75)
    assert (metadata.modality, metadata.zoom) == ("confocal", 2.5)
    assert (one.laser_lines, one.laser_power, one.detection_band) == ((514.0,), 50.0, (520.0, 560.0))
    assert one.exposure_time == pytest.approx(0.2)


def test_a_start_in_1970_is_not_a_start(ome: Any, tmp_path: Path) -> None:
    with opened(ome, tmp_path, inside="<AcquisitionDate>1970-01-01T00:00:00</AcquisitionDate>") as recording:
        assert recording.metadata.start_time is None

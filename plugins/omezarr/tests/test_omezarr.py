"""OME-Zarr written by hand, as JSON and plain bytes, and real images of other programs."""

from __future__ import annotations

import itertools
import json
import re
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.testing import ImagingExtractorTests

SPACE = {"type": "space", "unit": "micrometer"}
KINDS = {"t": {"type": "time", "unit": "second"}, "c": {"type": "channel"}, "z": SPACE, "y": SPACE, "x": SPACE}


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def chunks_of(array: np.ndarray, chunk: tuple[int, ...]) -> Any:
    """Each chunk's place in the grid and its bytes, filled up at the border."""
    for place in itertools.product(*(range(-(-n // c)) for n, c in zip(array.shape, chunk, strict=True))):
        part = array[tuple(slice(k * c, (k + 1) * c) for k, c in zip(place, chunk, strict=True))]
        whole = np.zeros(chunk, array.dtype)
        whole[tuple(slice(0, n) for n in part.shape)] = part
        yield place, whole.tobytes()


def write_image(
    folder: Path,
    array: np.ndarray,
    axes: str,
    *,
    version: str = "0.4",
    chunk: tuple[int, ...] | None = None,
    scale: dict[str, float] | None = None,
    labels: tuple[str, ...] = (),
    more: dict[str, Any] | None = None,
) -> Path:
    """Write an image of version 0.4 (Zarr 2, zlib) or 0.5 (Zarr 3, plain) after the specification's text."""
    chunk = chunk or tuple(1 if axis in "tcz" else n for axis, n in zip(axes, array.shape, strict=True))
    factors = [(scale or {}).get(axis, 1.0) for axis in axes]
    dataset = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": factors}]}
    described: dict[str, Any] = {
        "multiscales": [
            {"version": version, "axes": [{"name": axis, **KINDS[axis]} for axis in axes], "datasets": [dataset]}
        ]
    }
    if labels:
        described["omero"] = {"channels": [{"label": label} for label in labels]}
    if version == "0.4":
        put(folder / ".zgroup", {"zarr_format": 2})
        put(folder / ".zattrs", {**described, **(more or {})})
        told = {"zarr_format": 2, "shape": array.shape, "chunks": chunk, "dtype": array.dtype.str, "fill_value": 0}
        told |= {"compressor": {"id": "zlib", "level": 1}, "order": "C", "filters": None, "dimension_separator": "/"}
        put(folder / "0" / ".zarray", told)
        for place, content in chunks_of(array, chunk):
            put(folder.joinpath("0", *map(str, place)), zlib.compress(content))
        return folder
    put(
        folder / "zarr.json",
        {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {"ome": {**described, "version": "0.5"}, **(more or {})},
        },
    )
    endian = "big" if array.dtype.byteorder == ">" else "little"
    told = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": array.shape,
        "data_type": array.dtype.newbyteorder("=").name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": endian}}],
        "attributes": {},
    }
    put(folder / "0" / "zarr.json", told)
    for place, content in chunks_of(array, chunk):
        put(folder.joinpath("0", "c", *map(str, place)), content)
    return folder


def noise(shape: tuple[int, ...], dtype: str = "<u2") -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 4000, shape).astype(dtype)


class TestPlanar(ImagingExtractorTests):
    format = "omezarr"
    optional_parts = (
        "[0-9]*",
        "dimension_separator",
    )  # a missing chunk has the fill value; "." is the default

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return noise((40, 48, 64))

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        return write_image(tmp_path / "movie.zarr", expected, "tyx", version="0.5", scale={"t": 0.125, "y": 0.5})

    @pytest.fixture
    def expected_rate(self) -> float:
        return 8.0

    @pytest.fixture
    def expected_times(self) -> None:
        return None


class TestVolumesOfOneChannelOfTwo(ImagingExtractorTests):
    format = "omezarr"
    has_own_code = True
    optional_parts = (
        "[0-9]*",
        "dimension_separator",
    )  # a missing chunk has the fill value; "." is the default
    open_options = {"channel": "red"}

    @pytest.fixture
    def everything(self) -> np.ndarray:
        return noise((12, 2, 3, 20, 31), ">i2")

    @pytest.fixture
    def expected(self, everything: np.ndarray) -> np.ndarray:
        return np.moveaxis(everything[:, 1], 1, 3).astype(np.int16)

    @pytest.fixture
    def recording(self, tmp_path: Path, everything: np.ndarray) -> Path:
        return write_image(
            tmp_path / "m.ome.zarr", everything, "tczyx", labels=("green", "red"), chunk=(5, 1, 2, 16, 16)
        )

    @pytest.fixture
    def expected_rate(self) -> float:
        return 1.0

    @pytest.fixture
    def expected_times(self) -> None:
        return None

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("green", "red"), "plane": ("0", "1", "2")}


class TestWhatConvertWrote(ImagingExtractorTests):
    format = "omezarr"
    optional_parts = (
        "[0-9]*",
        "dimension_separator",
    )  # a missing chunk has the fill value; "." is the default

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return noise((30, 24, 32))

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return np.cumsum(np.random.default_rng(4).random(30)) - 1.0

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray, expected_times: np.ndarray) -> Path:
        given = roi.NumpyImagingExtractor(expected, sampling_frequency=7.5, times=expected_times)
        return roi.convert(given, tmp_path / "written.zarr")

    @pytest.fixture
    def expected_rate(self) -> float:
        return 7.5


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yx", "zyx", "tyx", "cyx", "tzyx", "tcyx", "tczyx", "zctyx"])
def test_every_order_of_axes_comes_out_as_samples_rows_columns_planes(tmp_path: Path, version: str, axes: str) -> None:
    sizes = {"t": 4, "c": 2, "z": 3, "y": 6, "x": 5}
    array = noise(tuple(sizes[axis] for axis in axes))
    path = write_image(tmp_path / "a.zarr", array, axes, version=version)
    options: dict[str, Any] = {"channel": 2} if "c" in axes else {}
    if axes == "zctyx":
        with pytest.warns(roi.RoiExtractorsWarning, match="its axes are z, c, t, y, x"):
            roi.open(path, **options)
        warnings.simplefilter("ignore")
    expected = array.take(1, axes.index("c")) if "c" in axes else array
    left = axes.replace("c", "")
    if "t" not in left:
        expected, left = expected[np.newaxis], "t" + left
    expected = np.moveaxis(expected, [left.index(axis) for axis in left], ["tyxz".index(axis) for axis in left])
    with roi.open(path, **options) as recording:
        np.testing.assert_array_equal(recording.get_series(), expected)
        np.testing.assert_array_equal(recording.get_samples([0, 0]), expected[[0, 0]])
        assert recording.is_volumetric == ("z" in axes)
        if "z" in axes:
            with roi.open(path, plane="2", **options) as plane:
                np.testing.assert_array_equal(plane.get_series(), expected[..., 2])


def test_sizes_and_rate_come_from_scales_that_bear_a_unit(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", noise((3, 2, 4, 5)), "tzyx", scale={"t": 0.25, "z": 3.0, "y": 0.5, "x": 0.4})
    with roi.open(tmp_path / "a.zarr") as recording:
        assert recording.get_sampling_frequency() == 4.0
        assert recording.metadata.pixel_size == (0.5, 0.4)
        assert recording.metadata.plane_spacing == 3.0
        assert recording.times_source == "computed"
    told = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    for axis in told["multiscales"][0]["axes"]:
        axis.pop("unit", None)
    put(tmp_path / "a.zarr" / ".zattrs", told)
    with roi.open(tmp_path / "a.zarr") as recording:
        assert recording.get_sampling_frequency() is None
        assert recording.metadata.pixel_size is None


def test_the_scale_of_the_array_and_of_the_image_are_multiplied(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", noise((3, 4, 5)), "tyx", scale={"t": 1.0, "y": 0.5, "x": 0.5})
    told = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    told["multiscales"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [0.1, 2.0, 2.0]}]
    put(tmp_path / "a.zarr" / ".zattrs", told)
    with roi.open(tmp_path / "a.zarr") as recording:
        assert recording.get_sampling_frequency() == pytest.approx(10.0)
        assert recording.metadata.pixel_size == (1.0, 1.0)


def test_one_sample_has_no_rate(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", noise((1, 4, 5)), "tyx")
    assert roi.open(tmp_path / "a.zarr").get_sampling_frequency() is None


def test_a_collection_of_images_lists_them(tmp_path: Path) -> None:
    arrays = [noise((3, 4, 5)), noise((2, 6, 7))]
    for number, array in enumerate(arrays):
        write_image(tmp_path / "a.zarr" / str(number), array, "tyx")
    put(tmp_path / "a.zarr" / ".zgroup", {"zarr_format": 2})
    put(tmp_path / "a.zarr" / ".zattrs", {"bioformats2raw.layout": 3})
    assert roi.streams(tmp_path / "a.zarr") == {"series": ("0", "1")}
    with pytest.raises(roi.StreamChoiceError, match=r"a\.zarr has the series '0' and '1'; choose one"):
        roi.open(tmp_path / "a.zarr")
    with roi.open(tmp_path / "a.zarr", series="1") as recording:
        np.testing.assert_array_equal(recording.get_series(), arrays[1])


OPTICS = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" Creator="Bio-Formats 8"><Instrument ID="I:0">'
    '<Laser ID="L:0" Wavelength="920"/><Objective ID="O:0" Model="XLPLN25X" NominalMagnification="25" LensNA="1.05"/>'
    "</Instrument>{images}</OME>"
)


def described_image(number: int, array: np.ndarray) -> str:
    planes = "".join(
        f'<Plane TheT="{t}" TheC="0" TheZ="0" DeltaT="{100 * t + number}" DeltaTUnit="ms" ExposureTime="0.02"/>'
        for t in range(len(array))
    )
    return (
        f'<Image ID="Image:{number}"><AcquisitionDate>2024-05-06T07:08:09.25</AcquisitionDate><InstrumentRef ID="I:0"/>'
        f'<ObjectiveSettings ID="O:0"/><Pixels ID="P:{number}" DimensionOrder="XYZCT" Type="uint16" SignificantBits="12" '
        f'SizeX="{array.shape[2]}" SizeY="{array.shape[1]}" SizeZ="1" SizeC="1" SizeT="{len(array)}" PhysicalSizeX="500" '
        f'PhysicalSizeXUnit="nm" PhysicalSizeY="500" PhysicalSizeYUnit="nm"><Channel ID="C:0" Name="GFP" '
        f'AcquisitionMode="MultiPhotonMicroscopy"><LightSourceSettings ID="L:0"/></Channel>{planes}</Pixels></Image>'
    )


def test_the_ome_xml_of_bioformats2raw_gives_optics_times_and_sizes(tmp_path: Path) -> None:
    arrays = [noise((4, 5, 6 + k)) for k in range(2)]
    for number, array in enumerate(arrays):
        write_image(tmp_path / "a.zarr" / str(number), array, "tyx")
    put(tmp_path / "a.zarr" / ".zgroup", {"zarr_format": 2})
    put(tmp_path / "a.zarr" / ".zattrs", {"bioformats2raw.layout": 3})
    (tmp_path / "a.zarr" / "OME").mkdir()
    xml = OPTICS.format(images="".join(described_image(k, array) for k, array in enumerate(arrays)))
    (tmp_path / "a.zarr" / "OME" / "METADATA.ome.xml").write_text(xml)
    for found in (roi.open(tmp_path / "a.zarr", series="1"), roi.open(tmp_path / "a.zarr" / "1")):
        metadata, channel = found.metadata, found.metadata.channels[0]
        assert metadata.objective == roi.ObjectiveMetadata("XLPLN25X", 25.0, 1.05)
        assert (metadata.modality, metadata.bit_depth, metadata.software) == ("two-photon", 12, "Bio-Formats 8")
        assert str(metadata.start_time) == "2024-05-06 07:08:09.250000"
        assert (channel.laser_lines, channel.exposure_time) == ((920.0,), 0.02)
        assert found.get_timestamps().tolist() == pytest.approx([0.001, 0.101, 0.201, 0.301])
        assert str(tmp_path) in found.get_paths()[0]
    pixel_size = roi.open(tmp_path / "a.zarr", series="0").metadata.pixel_size
    assert pixel_size is not None


def test_an_ome_xml_of_other_sizes_or_damaged_is_not_used(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr" / "0", noise((4, 5, 6)), "tyx")
    put(tmp_path / "a.zarr" / ".zgroup", {"zarr_format": 2})
    put(tmp_path / "a.zarr" / ".zattrs", {"bioformats2raw.layout": 3})
    (tmp_path / "a.zarr" / "OME").mkdir()
    place = tmp_path / "a.zarr" / "OME" / "METADATA.ome.xml"
    for text, words in (
        (OPTICS.format(images=described_image(0, noise((3, 5, 6)))), "SizeT=3, but the array has 4"),
        (OPTICS.format(images=described_image(0, noise((4, 5, 6))))[:-20], "not used"),
        (OPTICS.format(images=""), "describes 0 images"),
    ):
        place.write_text(text)
        with pytest.warns(roi.RoiExtractorsWarning, match=words):
            found = roi.open(tmp_path / "a.zarr")
        assert found.metadata.objective is None
        assert any(words in note for note in found.get_notes())


def test_a_plate_lists_the_fields_of_its_wells(tmp_path: Path) -> None:
    arrays = {place: noise((3, 4, 5 + k)) for k, place in enumerate(("A/1/0", "A/1/1", "B/2/0"))}
    plate = tmp_path / "plate.zarr"
    for place, array in arrays.items():
        write_image(plate.joinpath(*place.split("/")), array, "tyx")
    put(plate / ".zgroup", {"zarr_format": 2})
    put(plate / ".zattrs", {"plate": {"wells": [{"path": "A/1"}, {"path": "B/2"}, {"path": "../C/3"}]}})
    for well, count in (("A/1", 2), ("B/2", 1)):
        put(plate / well / ".zgroup", {"zarr_format": 2})
        put(plate / well / ".zattrs", {"well": {"images": [{"path": str(k)} for k in range(count)]}})
        put(plate / well[0] / ".zgroup", {"zarr_format": 2})
    assert roi.streams(plate) == {"series": ("A/1/0", "A/1/1", "B/2/0")}
    with pytest.raises(roi.StreamChoiceError, match="'A/1/0', 'A/1/1' and 'B/2/0'; choose one"):
        roi.open(plate)
    np.testing.assert_array_equal(roi.open(plate, series="A/1/1").get_series(), arrays["A/1/1"])
    well = roi.open(plate / "B" / "2")
    np.testing.assert_array_equal(well.get_series(), arrays["B/2/0"])
    assert "only image, '0'" in well.get_notes()[0]


@pytest.mark.parametrize("below", ["rbc0", "Row_0/Col_0/Pos_000"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_below_groups_without_attributes_is_read(tmp_path: Path, below: str, version: str) -> None:
    array, group = noise((3, 4, 5)), {"zarr_format": 3, "node_type": "group", "attributes": {}}
    write_image(tmp_path / "a.zarr" / below, array, "tyx", version=version)
    place = tmp_path / "a.zarr"
    for part in below.split("/"):
        put(place / ("zarr.json" if version == "0.5" else ".zgroup"), group if version == "0.5" else {"zarr_format": 2})
        place /= part
    recording = roi.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(recording.get_series(), array)
    assert f"its only image, '{below}'" in recording.get_notes()[0]


def test_a_label_image_is_not_a_movie(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", noise((3, 4, 5)), "tyx")
    write_image(tmp_path / "a.zarr" / "labels" / "cells", noise((3, 4, 5)), "tyx", more={"image-label": {}})
    assert roi.open(tmp_path / "a.zarr").shape == (3, 4, 5)
    with pytest.raises(roi.UnsupportedRecordingError, match="label image"):
        roi.open(tmp_path / "a.zarr" / "labels" / "cells")


def test_axes_that_contradict_the_array_are_warned_about(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", noise((3, 4, 5)), "ytx", version="0.5")
    with pytest.warns(roi.RoiExtractorsWarning, match="axes are y, t, x, but the specification orders them"):
        assert roi.open(tmp_path / "a.zarr").shape == (4, 3, 5)
    write_image(tmp_path / "b.zarr", noise((3, 4, 5)), "tyx", version="0.5")
    described = json.loads((tmp_path / "b.zarr" / "0" / "zarr.json").read_text())
    put(tmp_path / "b.zarr" / "0" / "zarr.json", {**described, "dimension_names": ["y", "x", "t"]})
    with pytest.warns(roi.RoiExtractorsWarning, match="its array names them y, x, t"):
        assert roi.open(tmp_path / "b.zarr").shape == (3, 4, 5)


def test_levels_out_of_order_give_the_finest_with_a_warning(tmp_path: Path) -> None:
    array = noise((3, 8, 6))
    write_image(tmp_path / "a.zarr", array[:, ::2, ::2].copy(), "tyx", version="0.4")
    write_image(tmp_path / "b.zarr", array, "tyx", version="0.4")
    (tmp_path / "b.zarr" / "0").rename(tmp_path / "a.zarr" / "1")
    described = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    described["multiscales"][0]["datasets"] = [
        {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": [1.0, size, size]}]}
        for k, size in enumerate((1.0, 0.5))
    ]
    put(tmp_path / "a.zarr" / ".zattrs", described)
    with pytest.warns(roi.RoiExtractorsWarning, match="not in the order of their resolution; '1'"):
        np.testing.assert_array_equal(roi.open(tmp_path / "a.zarr").get_series(), array)


def test_an_absent_chunk_is_the_fill_value_as_zarr_says(tmp_path: Path) -> None:
    array = noise((3, 4, 5))
    write_image(tmp_path / "a.zarr", array, "tyx")
    (tmp_path / "a.zarr" / "0" / "1" / "0" / "0").unlink()
    array[1] = 0
    with pytest.warns(roi.IncompleteRecordingWarning, match="1 of 3 chunks of the pixels is missing .* sample 1"):
        recording = roi.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(recording.get_series(), array)
    assert recording.get_missing_samples().tolist() == [1]
    assert recording.keeps_missing_samples
    assert any("missing" in note for note in recording.get_notes())


def opened_with_warnings(path: Path, **options: Any) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        recording = roi.open(path, **options)
    return recording, [str(warning.message) for warning in seen]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_interrupted_recording_ends_before_its_missing_chunks(tmp_path: Path, version: str) -> None:
    array = noise((20, 8, 6))
    write_image(tmp_path / "a.zarr", array, "tyx", version=version, chunk=(2, 4, 6))
    for place in (tmp_path / "a.zarr" / "0").rglob("*"):
        parts = [int(part) for part in place.relative_to(tmp_path / "a.zarr" / "0").parts if part.isdigit()]
        if place.is_file() and len(parts) == 3 and (parts[0] > 5 or parts[:2] == [5, 1]):
            place.unlink()
    recording, words = opened_with_warnings(tmp_path / "a.zarr")
    assert len(words) == 1
    assert "10 of 20 samples are complete" in words[0]
    np.testing.assert_array_equal(recording.get_series(), array[:10])
    assert recording.get_missing_samples().size == 0


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_empty_files_at_the_end_are_not_samples(tmp_path: Path, version: str) -> None:
    array = noise((9, 8, 6))
    write_image(tmp_path / "a.zarr", array, "tyx", version=version)
    for place in (tmp_path / "a.zarr" / "0").rglob("*"):
        parts = [int(part) for part in place.relative_to(tmp_path / "a.zarr" / "0").parts if part.isdigit()]
        if place.is_file() and len(parts) == 3 and parts[0] > 3:
            place.write_bytes(b"")
    recording, words = opened_with_warnings(tmp_path / "a.zarr")
    assert "4 of 9 samples are complete" in words[0]
    np.testing.assert_array_equal(recording.get_series(), array[:4])


@pytest.mark.thorough
def test_millions_of_samples_that_were_never_written_cost_little(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", noise((9, 8, 6)), "tyx", version="0.4")
    described = tmp_path / "a.zarr" / "0" / ".zarray"
    described.write_text(re.sub(r'"shape": ?\[\s*9', '"shape": [2000000', described.read_text()))
    begun = time.process_time()
    recording, words = opened_with_warnings(tmp_path / "a.zarr")
    assert time.process_time() - begun < 5
    assert recording.shape == (9, 8, 6)
    assert "9 of 2,000,000 samples are complete" in words[0]


def write_shards(folder: Path, array: np.ndarray) -> Path:
    zarr = pytest.importorskip("zarr", minversion="3", reason="zarr 3 is not installed")
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    made = group.create_array("0", shape=array.shape, chunks=(1, 16, 20), shards=(4, 16, 20), dtype=array.dtype)
    made[...] = array
    axes = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    return folder


def test_shards_that_are_lost_or_cut_and_chunks_inside_them_are_counted(tmp_path: Path) -> None:
    array = noise((12, 16, 20))
    array[2] = 0  # zarr leaves it out of its shard
    recording, words = opened_with_warnings(write_shards(tmp_path / "inside.zarr", array))
    assert "1 of 12 chunks of the pixels is missing" in words[0]
    np.testing.assert_array_equal(recording.get_series(), array)
    assert recording.get_missing_samples().tolist() == [2]

    array = noise((12, 16, 20))
    (write_shards(tmp_path / "lost.zarr", array) / "0" / "c" / "1" / "0" / "0").unlink()
    recording, words = opened_with_warnings(tmp_path / "lost.zarr")
    assert "4 of 12 chunks of the pixels are missing" in words[0]
    assert recording.get_missing_samples().tolist() == [4, 5, 6, 7]
    array[4:8] = 0
    np.testing.assert_array_equal(recording.get_series(), array)

    array = noise((12, 16, 20))
    shard = write_shards(tmp_path / "cut.zarr", array) / "0" / "c" / "2" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:700])
    recording, words = opened_with_warnings(tmp_path / "cut.zarr")
    assert "8 of 12 samples are complete" in words[0]
    np.testing.assert_array_equal(recording.get_series(), array[:8])


def test_a_part_of_the_frame_that_was_never_written_is_a_note_and_no_warning(tmp_path: Path) -> None:
    array = noise((6, 8, 6))
    array[:, 4:] = 0
    write_image(tmp_path / "a.zarr", array, "tyx", version="0.5", chunk=(1, 4, 6))
    for number in range(6):
        (tmp_path / "a.zarr" / "0" / "c" / str(number) / "1" / "0").unlink()
    recording, words = opened_with_warnings(tmp_path / "a.zarr")
    assert not words
    assert "6 chunks, in parts of the frame that were never written" in recording.get_notes()[0]
    np.testing.assert_array_equal(recording.get_series(), array)
    assert recording.get_missing_samples().size == 0


def test_only_the_chunks_of_the_chosen_channel_count(tmp_path: Path) -> None:
    array = noise((5, 2, 8, 6))
    write_image(tmp_path / "a.zarr", array, "tcyx", version="0.4")
    (tmp_path / "a.zarr" / "0" / "3" / "1" / "0" / "0").unlink()
    assert opened_with_warnings(tmp_path / "a.zarr", channel=1)[1] == []
    assert opened_with_warnings(tmp_path / "a.zarr", channel=2)[0].get_missing_samples().tolist() == [3]


def test_an_array_in_very_many_folders_is_found_incomplete_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roiextractors_core.io.missing._MAX_LISTINGS", 3)
    write_image(tmp_path / "a.zarr", noise((6, 8, 6)), "tyx", version="0.5")
    (tmp_path / "a.zarr" / "0" / "c" / "3" / "0" / "0").unlink()
    recording, words = opened_with_warnings(tmp_path / "a.zarr")
    assert not words
    with pytest.warns(roi.IncompleteRecordingWarning, match="chunks are missing"):
        recording.get_series()
    recording.get_series()
    assert "chunks are missing" in recording.get_notes()[-1]


def test_a_cut_chunk_is_an_error_that_names_the_recording(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", noise((3, 40, 50)), "tyx")
    chunk = tmp_path / "a.zarr" / "0" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:300])
    with roi.open(tmp_path / "a.zarr") as recording:
        recording.get_series(0, 1)
        with pytest.raises(
            roi.CorruptRecordingError, match=r"a\.zarr: the chunk 1/0/0 cannot be decoded: it ends early"
        ):
            recording.get_series(1, 2)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"multiscales": 3}, roi.CorruptRecordingError, "multiscales must be a list of objects, got 3"),
        ({"multiscales": [{"axes": ["t", "y", "x"], "datasets": []}]}, roi.CorruptRecordingError, "datasets must be"),
        (
            {"multiscales": [{"axes": ["t", "y", "x"], "datasets": [{"path": "../b"}]}]},
            roi.CorruptRecordingError,
            "expected a path inside the image",
        ),
        (
            {"multiscales": [{"axes": ["t", "y", "x"], "datasets": [{"path": "9"}]}]},
            roi.CorruptRecordingError,
            "names the array '9', which does not exist",
        ),
        (
            {"multiscales": [{"axes": ["t", "q", "x"], "datasets": [{"path": "0"}]}]},
            roi.UnsupportedRecordingError,
            "has the axis 'q'",
        ),
        (
            {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]},
            roi.CorruptRecordingError,
            "names the axes y, x but its array has 3 dimensions",
        ),
    ],
)
def test_invalid_attributes_are_refused(
    tmp_path: Path, change: dict[str, Any], kind: type[Exception], words: str
) -> None:
    write_image(tmp_path / "a.zarr", noise((3, 4, 5)), "tyx", more=change)
    with pytest.raises(kind, match=words):
        roi.open(tmp_path / "a.zarr")


def test_a_plate_of_wells_and_a_file_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.zarr" / ".zgroup", {"zarr_format": 2})
    put(tmp_path / "a.zarr" / ".zattrs", {"plate": {"wells": []}})
    with pytest.raises(roi.UnsupportedRecordingError, match="is a plate of wells"):
        roi.open(tmp_path / "a.zarr", format="omezarr")
    with pytest.raises(roi.SourceKindError, match="an OME-Zarr image is a folder"):
        roi.open(tmp_path / "a.zarr" / ".zattrs", format="omezarr")


# What Bio-Formats and others wrote; the sums are zarr's own reading of the array of full resolution.


@pytest.mark.parametrize(
    ("path", "options", "shape", "dtype"),
    [
        ("bioformats2raw/camera.ome.zarr", {}, (1, 480, 640), "uint8"),
        ("bioformats2raw/xyz_8bit__mitotic_plate_calibrated.ome.zarr", {}, (1, 263, 263, 6), "uint8"),
        ("v05/cyx_uint8.zarr", {"channel": "2"}, None, "uint8"),
        ("v05/input9.zarr", {}, (1, 100, 100, 2), "bool"),
        ("v05/input13.zarr", {}, (1, 265, 329), "uint8"),
    ],
)
def test_a_real_image_opens(recordings: Path, path: str, options: dict[str, Any], shape: Any, dtype: str) -> None:
    zarr = pytest.importorskip("zarr", minversion="3", reason="zarr 3 is not installed")
    with roi.open(recordings / "ome_zarr" / path, **options) as recording:
        assert recording.provenance.format == "omezarr"
        assert shape is None or recording.shape == shape
        assert str(recording.dtype) == dtype
        group = zarr.open_group(recordings / "ome_zarr" / path, mode="r")
        array = np.asarray((group["0/0"] if "bioformats2raw" in path else group["0"])[...])
        wanted = array[int(options["channel"]) - 1] if options else array
        assert int(recording.get_series().sum(dtype=np.int64)) == int(wanted.sum(dtype=np.int64))


@pytest.mark.parametrize(
    ("key", "value"),
    [("chunks", None), ("chunks", [0, 4, 4]), ("shape", "many"), ("dtype", 7), ("compressor", {"id": "none such"})],
)
def test_a_description_of_an_array_that_cannot_be_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    array = {"zarr_format": 2, "shape": [2, 4, 4], "chunks": [1, 4, 4], "dtype": "<u2", "fill_value": 0, "order": "C"}
    array |= {"filters": None, "compressor": None, key: value}
    if value is None:
        del array[key]
    axes = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    (tmp_path / "image.zarr" / "0").mkdir(parents=True)
    (tmp_path / "image.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    described = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]}
    (tmp_path / "image.zarr" / ".zattrs").write_text(json.dumps(described))
    (tmp_path / "image.zarr" / "0" / ".zarray").write_text(json.dumps(array))
    with pytest.raises(roi.RecordingError):
        roi.open(tmp_path / "image.zarr").get_series()


@pytest.mark.parametrize("name", ["zstd", "blosc"])
def test_a_chunk_that_says_that_it_decodes_to_more_is_refused(tmp_path: Path, name: str) -> None:
    codec = {"zstd": numcodecs.Zstd(), "blosc": numcodecs.Blosc()}[name]
    zarr = pytest.importorskip("zarr", minversion="3", reason="zarr 3 is not installed")
    image = zarr.open_group(tmp_path / "image.zarr", mode="w", zarr_format=2)
    array = image.create_array("0", shape=(2, 4, 4), chunks=(1, 4, 4), dtype="u2", compressors=codec)
    array[...] = np.arange(32).reshape(2, 4, 4)
    axes = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    image.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    (chunk,) = (p for p in (tmp_path / "image.zarr").rglob("0.0.0"))
    chunk.write_bytes(codec.encode(np.zeros(1 << 24, np.uint8)))
    with roi.open(tmp_path / "image.zarr") as recording:
        np.testing.assert_array_equal(recording.get_series(1, 2)[0], np.arange(16, 32).reshape(4, 4))
        with pytest.raises(roi.RecordingError, match=r"decompresses to more than the 32 bytes|expected at most 65,600"):
            recording.get_series()


@pytest.mark.parametrize(
    ("version", "options"),
    [
        (2, {}),
        (2, {"filters": "delta"}),
        (3, {}),
        (3, {"order": "F"}),
    ],
)
@pytest.mark.parametrize("kept", [1, 17, 700, -1])
def test_a_truncated_chunk_of_blosc_is_refused_and_gives_no_other_memory(
    tmp_path: Path, version: int, options: dict[str, Any], kept: int
) -> None:
    zarr = pytest.importorskip("zarr", minversion="3", reason="zarr 3 is not installed")
    frames = np.random.default_rng(3).integers(1, 4000, (4, 24, 32)).astype(np.uint16)
    group = zarr.open_group(str(tmp_path / "m.ome.zarr"), mode="w", zarr_format=version)  # type: ignore[arg-type]
    more: dict[str, Any] = {}
    if version == 2:
        more["compressors"] = numcodecs.Blosc()
        if options:
            more["filters"] = [numcodecs.Delta(dtype="u2")]
    else:
        more["compressors"] = zarr.codecs.BloscCodec()
        if options:
            more["filters"] = [zarr.codecs.TransposeCodec(order=(0, 2, 1))]
    array = group.create_array("0", shape=frames.shape, dtype=frames.dtype, chunks=(1, 24, 32), **more)
    array[:] = frames
    axes = [{"name": name, "type": kind} for name, kind in (("t", "time"), ("y", "space"), ("x", "space"))]
    scale = [{"type": "scale", "scale": [1, 1, 1]}]
    image = {
        "multiscales": [
            {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
        ]
    }
    group.attrs.update(image if version == 2 else {"ome": {**image, "version": "0.5"}})
    assert np.array_equal(roi.open(tmp_path / "m.ome.zarr").get_series(), frames)
    (chunk,) = [
        p
        for p in (tmp_path / "m.ome.zarr" / "0").rglob("*")
        if p.is_file() and p.relative_to(tmp_path / "m.ome.zarr" / "0").as_posix() in ("c/2/0/0", "2.0.0")
    ]
    chunk.write_bytes(chunk.read_bytes()[:kept])
    recording = roi.open(tmp_path / "m.ome.zarr")
    assert np.array_equal(recording[:2], frames[:2])
    with pytest.raises(roi.CorruptRecordingError, match=r"truncated|cannot be decoded"):
        recording.get_series()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_chunks_outside_of_the_shape_are_a_warning(tmp_path: Path, version: str) -> None:
    array = noise((6, 8, 6))
    write_image(tmp_path / "a.zarr", array, "tyx", version=version, chunk=(2, 4, 6))
    path = tmp_path / "a.zarr" / "0" / ("zarr.json" if version == "0.5" else ".zarray")
    described = json.loads(path.read_text())
    described["shape"][0] = 4
    path.write_text(json.dumps(described))
    recording, words = opened_with_warnings(tmp_path / "a.zarr")
    assert len(words) == 1
    assert "outside of the shape (4, 8, 6) of its array" in words[0]
    assert words[0] in recording.get_notes()
    np.testing.assert_array_equal(recording.get_series(), array[:4])


def test_kept_times_of_another_shape_or_out_of_order_are_a_warning(tmp_path: Path) -> None:
    source = roi.NumpyImagingExtractor(noise((6, 8, 6)))
    source.set_times(np.arange(6.0) ** 2)
    roi.convert(source, tmp_path / "a.zarr", format="omezarr")
    path = tmp_path / "a.zarr" / "zarr.json"
    text = path.read_text()
    times = [0.0, 1.0, 4.0, 9.0, 16.0]
    disordered = {"times": [*times, 2.5]}, "do not increase at 1 place, the first after sample 4"
    shorter = {"times": times, "shape": [5, 8, 6]}, "a recording of another shape and are not used"
    for change, match in (disordered, shorter):
        changed = json.loads(text)
        changed["attributes"]["roiextractors"].update(change)
        path.write_text(json.dumps(changed))
        recording, words = opened_with_warnings(tmp_path / "a.zarr")
        assert any(match in one for one in words)
        assert set(words) <= set(recording.get_notes())

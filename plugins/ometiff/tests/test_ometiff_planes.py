"""Where the planes are: the dimension orders, TiffData by the specification's own examples, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)

ORDERS = ("XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC")
MOVIE = np.random.default_rng(3).integers(0, 4000, (4, 2, 3, 8, 9)).astype(np.uint16)
FRAMES = np.random.default_rng(4).integers(0, 4000, (24, 8, 9)).astype(np.uint16)


def volumes(path: Path, channel: str) -> np.ndarray:
    """One channel as (T, Z, rows, columns)."""
    with roi.open(path, channel=channel) as recording:
        return np.moveaxis(recording.get_series(), 3, 1)


@pytest.mark.parametrize("order", ORDERS)
def test_planes_lie_in_the_dimension_order(ome: Any, tmp_path: Path, order: str) -> None:
    path = ome.simple(tmp_path / "m.ome.tif", MOVIE, order)
    for number in range(2):
        assert np.array_equal(volumes(path, str(number + 1)), MOVIE[:, number])


@pytest.mark.parametrize("order", ORDERS)
def test_what_tifffile_writes_in_any_order_is_read(tmp_path: Path, order: str) -> None:
    axes = order[::-1][:-2]
    written = np.moveaxis(MOVIE, ["TCZ".index(axis) for axis in axes], [0, 1, 2])
    path = tmp_path / "t.ome.tif"
    tifffile.imwrite(path, written, metadata={"axes": f"{axes}YX"}, photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        assert (file.series[0].kind, file.series[0].axes) == ("ome", f"{axes}YX")
        assert f'DimensionOrder="{order}"' in str(file.ome_metadata)
    for number in range(2):
        assert np.array_equal(volumes(path, str(number + 1)), MOVIE[:, number])


def where_pages_land(ome: Any, folder: Path, order: str, sizes: tuple[int, int, int], data: str, count: int) -> Any:
    """Open a file of numbered frames, and return for every (T, C, Z) the number of the page that was read there."""
    t, c, z = sizes
    xml = ome.xml(ome.pixels(order, t=t, c=c, z=z, frame=FRAMES[0], data=data))
    path = ome.tiff(folder / "pages.ome.tif", FRAMES[:count], xml)
    numbers = {frame.tobytes(): k for k, frame in enumerate(FRAMES)}
    found = {}
    for channel in range(c):
        with roi.open(path, **({"channel": str(channel + 1)} if c > 1 else {})) as recording:
            series = recording.get_series().reshape(len(recording), 8, 9, z)
            for sample in range(len(recording)):
                for plane in range(z):
                    found[sample, channel, plane] = numbers[np.ascontiguousarray(series[sample, :, :, plane]).tobytes()]
    return found


def test_a_bare_tiff_data_takes_all_pages_and_leaves_the_extraneous_ones(ome: Any, tmp_path: Path) -> None:
    found = where_pages_land(ome, tmp_path, "XYZTC", (2, 2, 3), "<TiffData/>", 14)
    assert found == {(t, c, z): c * 6 + t * 3 + z for t in range(2) for c in range(2) for z in range(3)}


def test_a_page_that_the_count_leaves_out_is_lost(ome: Any, tmp_path: Path) -> None:
    data = '<TiffData PlaneCount="10"/>'
    xml = ome.xml(ome.pixels("XYCTZ", t=3, c=2, z=4, frame=FRAMES[0], data=data))
    path = ome.tiff(tmp_path / "p.ome.tif", FRAMES, xml)
    with pytest.raises(
        CorruptRecordingError, match=r"3 samples, but none is complete: no page is named for T=0, C=0, Z=2"
    ):
        roi.open(path, channel="1")


def test_pages_before_the_ifd_are_not_used(ome: Any, tmp_path: Path) -> None:
    found = where_pages_land(ome, tmp_path, "XYZTC", (2, 1, 4), '<TiffData IFD="3" PlaneCount="8"/>', 12)
    assert found == {(t, 0, z): 3 + t * 4 + z for t in range(2) for z in range(4)}


def test_pages_can_stand_in_reverse(ome: Any, tmp_path: Path) -> None:
    data = "".join(ome.data(IFD=k, FirstT=5 - k) for k in range(6))
    assert where_pages_land(ome, tmp_path, "XYZTC", (6, 1, 1), data, 6) == {(t, 0, 0): 5 - t for t in range(6)}


def test_an_ifd_without_a_count_is_one_page(ome: Any, tmp_path: Path) -> None:
    data = ome.data(IFD=4) + ome.data(IFD=1, FirstT=1, PlaneCount=2) + ome.data(IFD=0, FirstT=3)
    assert where_pages_land(ome, tmp_path, "XYZCT", (4, 1, 1), data, 6) == {
        (0, 0, 0): 4,
        (1, 0, 0): 1,
        (2, 0, 0): 2,
        (3, 0, 0): 0,
    }


def test_the_old_name_of_the_count_is_understood(ome: Any, tmp_path: Path) -> None:
    found = where_pages_land(ome, tmp_path, "XYZCT", (2, 1, 1), '<TiffData IFD="2" NumPlanes="2"/>', 5)
    assert found == {(0, 0, 0): 2, (1, 0, 0): 3}


def test_positions_that_count_from_one_are_understood(ome: Any, tmp_path: Path) -> None:
    data = "".join(ome.data(IFD=k, FirstT=k + 1, FirstC=1, FirstZ=1) for k in range(3))
    assert where_pages_land(ome, tmp_path, "XYZCT", (3, 1, 1), data, 3) == {(t, 0, 0): t for t in range(3)}


def test_what_is_said_twice_counts_once(ome: Any, tmp_path: Path) -> None:
    data = "".join(ome.data(IFD=k, FirstT=k) for k in (0, 1, 1, 2, 0))
    assert where_pages_land(ome, tmp_path, "XYZCT", (3, 1, 1), data, 3) == {(t, 0, 0): t for t in range(3)}


def test_two_pages_at_one_position_are_a_contradiction(ome: Any, tmp_path: Path) -> None:
    data = "".join(ome.data(IFD=k, FirstT=min(k, 1)) for k in range(3))
    xml = ome.xml(ome.pixels("XYZCT", t=2, frame=FRAMES[0], data=data))
    path = ome.tiff(tmp_path / "p.ome.tif", FRAMES[:3], xml)
    with pytest.raises(
        CorruptRecordingError, match=r"at T=1, C=0, Z=0 it places page 1 of p.ome.tif and page 2 of p.ome.tif"
    ):
        roi.open(path)


def test_passes_over_all_positions_of_one_time_are_times(ome: Any, tmp_path: Path) -> None:
    data = "".join(ome.data(IFD=k, FirstZ=k % 2) for k in range(6))
    planes = "".join(f'<Plane TheT="0" TheC="0" TheZ="{k % 2}" DeltaT="{k * 0.5}"/>' for k in range(6))
    xml = ome.xml(ome.pixels("XYZCT", z=2, frame=FRAMES[0], data=data, planes=planes))
    with roi.open(ome.tiff(tmp_path / "p.ome.tif", FRAMES[:6], xml)) as recording:
        assert recording.shape == (3, 8, 9, 2)
        assert np.array_equal(np.moveaxis(recording.get_series(), 3, 1).reshape(6, 8, 9), FRAMES[:6])
        assert recording.get_native_timestamps().tolist() == [0.0, 1.0, 2.0]
        assert "says SizeT=1 and lists every plane 3 times; these are read as time points" in recording.get_notes()[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ('<TiffData IFD="0" FirstT="9"/>', "TiffData element 1 of its OME-XML has FirstT=9, and SizeT is 2"),
        (
            '<TiffData IFD="0"/><TiffData IFD="1" FirstC="-1"/>',
            "element 2 of its OME-XML has FirstC=-1, and SizeC is 1",
        ),
        ('<TiffData IFD="-1"/>', "element 1 of its OME-XML has IFD=-1, which no file has"),
        ('<TiffData IFD="0" PlaneCount="-3"/>', "has PlaneCount=-3, which no file has"),
        ('<TiffData IFD="9999999999999999"/>', "IFD=9999999999999999, which no file has"),
        (
            '<TiffData IFD="99999999999999999999999"/>',
            "TiffData at line 1 has IFD='99999999999999999999'; expected whole",
        ),
        ('<TiffData IFD="one"/>', "TiffData at line 1 has IFD='one'; expected whole numbers"),
    ],
)
def test_positions_that_cannot_be_are_told(ome: Any, tmp_path: Path, data: str, words: str) -> None:
    xml = ome.xml(ome.pixels("XYZCT", t=2, frame=FRAMES[0], data=data))
    path = ome.tiff(tmp_path / "p.ome.tif", FRAMES[:2], xml)
    with pytest.raises(CorruptRecordingError, match=words):
        roi.open(path)


def test_an_ifd_beyond_the_file_is_told_with_file_and_frame(ome: Any, tmp_path: Path) -> None:
    data = ome.data(IFD=7) + ome.data(IFD=1, FirstT=1)
    path = ome.tiff(tmp_path / "p.ome.tif", FRAMES[:3], ome.xml(ome.pixels("XYZCT", t=2, frame=FRAMES[0], data=data)))
    words = r"2 samples, but none is complete: p.ome.tif contains 3 pages, but page 7 is needed for T=0, C=0, Z=0"
    with pytest.raises(TruncatedRecordingError, match=words):
        roi.open(path)


def test_whole_samples_from_the_start_are_read_where_pages_lack(ome: Any, tmp_path: Path) -> None:
    xml = ome.xml(ome.pixels("XYZCT", t=100, z=2, frame=FRAMES[0]))
    path = ome.tiff(tmp_path / "p.ome.tif", FRAMES[:7], xml)
    words = "100 samples; p.ome.tif contains 7 pages, but page 7 is needed for T=3, C=0, Z=1; the 3 complete samples"
    with pytest.warns(IncompleteRecordingWarning, match=words):
        recording = roi.open(path)
    assert recording.shape == (3, 8, 9, 2)
    assert np.array_equal(np.moveaxis(recording.get_series(), 3, 1).reshape(6, 8, 9), FRAMES[:6])
    assert words in recording.get_notes()[0]
    recording.close()


def test_a_hole_ends_the_recording(ome: Any, tmp_path: Path) -> None:
    data = "".join(ome.data(IFD=k, FirstT=k) for k in (0, 1, 3, 4))
    path = ome.tiff(tmp_path / "p.ome.tif", FRAMES[:5], ome.xml(ome.pixels("XYZCT", t=5, frame=FRAMES[0], data=data)))
    with pytest.warns(IncompleteRecordingWarning, match="no page is named for T=2, C=0, Z=0; the 2 complete samples"):
        recording = roi.open(path)
    assert np.array_equal(recording.get_series(), FRAMES[:2])
    recording.close()


def test_a_channel_that_goes_on_longer_is_read_whole(ome: Any, tmp_path: Path) -> None:
    xml = ome.xml(ome.pixels("XYCZT", t=3, c=2, frame=FRAMES[0]))
    path = ome.tiff(tmp_path / "p.ome.tif", FRAMES[:5], xml)
    with roi.open(path, channel="1") as recording:
        assert np.array_equal(recording.get_series(), FRAMES[0:5:2])
    with pytest.warns(IncompleteRecordingWarning, match="page 5 is needed for T=2, C=1, Z=0"):
        recording = roi.open(path, channel="2")
    assert np.array_equal(recording.get_series(), FRAMES[1:4:2])
    recording.close()


def test_sizes_that_cannot_be_take_neither_memory_nor_time(ome: Any, tmp_path: Path) -> None:
    image = ome.pixels(
        "XYZCT", t=2_000_000_000, z=2_000_000_000, frame=FRAMES[0], data='<TiffData PlaneCount="1000000000"/>'
    )
    path = ome.tiff(tmp_path / "p.ome.tif", FRAMES[:3], ome.xml(image))
    with pytest.raises(TruncatedRecordingError, match=r"p.ome.tif contains 3 pages, but page 3 is needed"):
        roi.open(path)
    many = '<TiffData IFD="0" PlaneCount="1000000"/>' * 1000
    image = ome.pixels("XYZCT", t=1_000_000, frame=FRAMES[0], data=many)
    path = ome.tiff(tmp_path / "q.ome.tif", FRAMES[:3], ome.xml(image))
    with pytest.raises(CorruptRecordingError):
        roi.open(path)


@pytest.mark.parametrize("size", ["SizeT='0'", "SizeT='-1'", "SizeT='x'", "SizeT='99999999999'"])
def test_a_size_that_no_image_has_is_told(ome: Any, tmp_path: Path, size: str) -> None:
    xml = ome.xml(ome.pixels("XYZCT", t=3, frame=FRAMES[0])).replace('SizeT="3"', size)
    with pytest.raises(CorruptRecordingError, match=f"{size}, which is impossible"):
        roi.open(ome.tiff(tmp_path / "p.ome.tif", FRAMES[:3], xml))


def test_an_order_that_is_none_is_told(ome: Any, tmp_path: Path) -> None:
    xml = ome.xml(ome.pixels("XYTTZ", t=3, frame=FRAMES[0]))
    with pytest.raises(CorruptRecordingError, match="DimensionOrder='XYTTZ', expected one of XYZCT, XYZTC"):
        roi.open(ome.tiff(tmp_path / "p.ome.tif", FRAMES[:3], xml))


def test_pages_of_another_size_than_the_xml_says_are_told(ome: Any, tmp_path: Path) -> None:
    xml = ome.xml(ome.pixels("XYZCT", t=3, frame=np.zeros((9, 8), np.uint16)))
    with pytest.raises(
        CorruptRecordingError, match=r"says 9 rows of 8 columns, but the pages of p.ome.tif have 8 rows of 9"
    ):
        roi.open(ome.tiff(tmp_path / "p.ome.tif", FRAMES[:3], xml))


def test_a_page_of_another_size_in_the_midst_is_told_with_its_number(ome: Any, tmp_path: Path) -> None:
    frames = [FRAMES[0], FRAMES[1], FRAMES[2][:, :5], FRAMES[3]]
    xml = ome.xml(ome.pixels("XYZCT", t=4, frame=FRAMES[0]))
    with pytest.raises(CorruptRecordingError, match=r"p.ome.tif: page 2 .* has 8 rows of 5 columns"):
        roi.open(ome.tiff(tmp_path / "p.ome.tif", frames, xml))


def test_pages_of_another_kind_behind_those_of_the_image_do_no_harm(ome: Any, tmp_path: Path) -> None:
    frames = [*FRAMES[:4], np.zeros((3, 3), np.uint8)]
    xml = ome.xml(ome.pixels("XYZCT", t=4, frame=FRAMES[0]))
    with roi.open(ome.tiff(tmp_path / "p.ome.tif", frames, xml)) as recording:
        assert np.array_equal(recording.get_series(), FRAMES[:4])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    "dtype",
    ["int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64", "complex64", "complex128"],
)
def test_every_type_of_pixels_is_read_in_both_byte_orders(
    ome: Any, tmp_path: Path, dtype: str, big: bool, order: str
) -> None:
    movie = ome.frames(3, 1, 1, 5, 7, dtype=dtype) - (100 if dtype[0] in "ifc" else 0)
    if dtype.startswith("complex"):
        movie = movie * np.array(1 + 2j, dtype)
    path = ome.simple(tmp_path / "m.ome.tif", movie, big=big, order=order)
    with roi.open(path) as recording:
        assert recording.dtype == np.dtype(dtype)
        assert recording.get_notes() == ()
        assert np.array_equal(recording.get_series(), movie[:, 0, 0])


def test_bits_are_refused(ome: Any, tmp_path: Path) -> None:
    path = ome.simple(tmp_path / "m.ome.tif", MOVIE[:, :1, :1].astype("uint8"), type="bit")
    with pytest.raises(UnsupportedRecordingError, match="pixels of the type bit, of which eight share a byte"):
        roi.open(path)


def test_the_pages_are_right_where_the_xml_says_another_type(ome: Any, tmp_path: Path) -> None:
    path = ome.simple(tmp_path / "m.ome.tif", MOVIE[:, :1, :1], type="int16")
    with roi.open(path) as recording:
        assert recording.dtype == np.uint16
        assert "says Type='int16', but the pages contain uint16" in recording.get_notes()[0]


@pytest.mark.parametrize("planar", [False, True])
def test_colours_are_channels(tmp_path: Path, planar: bool) -> None:
    movie = np.random.default_rng(1).integers(0, 255, (2, 3, 10, 12, 3)).astype(np.uint8)
    written = np.moveaxis(movie, 4, 2) if planar else movie
    tifffile.imwrite(
        tmp_path / "c.ome.tif",
        written,
        photometric="rgb",
        planarconfig="separate" if planar else "contig",
        metadata={"axes": "TZSYX" if planar else "TZYXS"},
    )
    for number, name in enumerate(("red", "green", "blue")):
        assert np.array_equal(volumes(tmp_path / "c.ome.tif", name), movie[..., number])


def test_pages_of_one_sample_are_channels_though_the_xml_claims_three_a_pixel(ome: Any, tmp_path: Path) -> None:
    channels = '<Channel ID="Channel:0:0" SamplesPerPixel="3"/>'
    movie = ome.frames(2, 3, 1, 8, 9)
    path = ome.simple(tmp_path / "m.ome.tif", movie, "XYCZT", channels=channels)
    for number in range(3):
        with roi.open(path, channel=number + 1) as recording:
            assert np.array_equal(recording.get_series(), movie[:, number, 0])


def test_colours_that_the_xml_does_not_count_are_a_contradiction(ome: Any, tmp_path: Path) -> None:
    frames = ome.frames(2, 8, 9, 3, dtype="uint8")
    xml = ome.xml(ome.pixels("XYCZT", t=2, c=1, frame=frames[0, :, :, 0]))
    with pytest.raises(CorruptRecordingError, match="says SizeC=1, but a page has 3 samples per pixel"):
        roi.open(ome.tiff(tmp_path / "m.ome.tif", frames, xml))


def test_a_pyramid_is_read_at_full_resolution(tmp_path: Path) -> None:
    movie = np.random.default_rng(1).integers(0, 4000, (5, 64, 96)).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "p.ome.tif", bigtiff=True) as writer:
        writer.write(movie, subifds=2, tile=(32, 32), metadata={"axes": "TYX"})
        writer.write(movie[:, ::2, ::2], subfiletype=1, tile=(32, 32))
        writer.write(movie[:, ::4, ::4], subfiletype=1, tile=(32, 32))
    with roi.open(tmp_path / "p.ome.tif") as recording:
        assert recording.shape == movie.shape
        assert np.array_equal(recording.get_series(), movie)
        assert np.array_equal(recording[1:4, 10:40, 33:90], movie[1:4, 10:40, 33:90])


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
def test_compressed_pages_are_read(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "m.ome.tif"
    written = MOVIE.astype(np.uint16)
    tifffile.imwrite(path, written, compression=compression, metadata={"axes": "TCZYX"}, photometric="minisblack")
    assert np.array_equal(volumes(path, "2"), MOVIE[:, 1])


def test_one_plane_of_volumes_is_a_movie(ome: Any, tmp_path: Path) -> None:
    path = ome.simple(tmp_path / "m.ome.tif", MOVIE[:, :1])
    with roi.open(path, plane=2) as recording:
        assert recording.shape == (4, 8, 9)
        assert np.array_equal(recording.get_series(), MOVIE[:, 0, 2])
        assert np.array_equal(recording[[3, 0], 2:5, 1:], MOVIE[[3, 0], 0, 2, 2:5, 1:])
    with pytest.raises(roi.StreamChoiceError, match="has the planes '0', '1' and '2', not 3; choose one"):
        roi.open(path, plane=3)


def test_planes_without_times_are_one_volume(ome: Any, tmp_path: Path) -> None:
    path = ome.simple(tmp_path / "m.ome.tif", MOVIE[:1, :1])
    with roi.open(path) as recording:
        assert recording.shape == (1, 8, 9, 3)
        assert np.array_equal(np.moveaxis(recording[0], 2, 0), MOVIE[0, 0])


@pytest.mark.parametrize("data", ["<TiffData/>", "an element a plane"])
def test_opening_walks_no_pages_where_they_lie_regularly(
    ome: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    movie = ome.frames(300, 1, 1, 5, 6)
    if data != "<TiffData/>":
        data = "".join(ome.data("m.ome.tif", IFD=t, FirstT=t, PlaneCount=1) for t in range(300))
    path = ome.simple(tmp_path / "m.ome.tif", movie, data=data)

    def walked(*_: Any) -> None:
        pytest.fail("the pages were walked")

    monkeypatch.setattr("roiextractors_tiff.pages.chain.Chain.batches", walked)
    with roi.open(path) as recording:
        assert np.array_equal(recording.get_series(), movie[:, 0, 0])

"""Files that are damaged, or that contain more than a recording: whole samples, a warning, or a refusal."""

from __future__ import annotations

import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from roiextractors_tiff.pages import PageIndex

import roiextractors_core as roi
from roiextractors_core import NumpyImagingExtractor
from roiextractors_core.io import PositionedFile
from roiextractors_core.registry.registry import Registry
from roiextractors_core.testing import write_tiff


def serials(count: int, rows: int = 24, columns: int = 32, dtype: str = "uint16") -> np.ndarray:
    """Frames without zeros whose first pixel is their number."""
    frames = np.random.default_rng(5).integers(1, 4000, (count, rows, columns)).astype(dtype)
    frames[:, 0, 0] = np.arange(count)
    return frames


def write(path: Path, frames: np.ndarray, *, uneven: bool = False, **options: Any) -> np.ndarray:
    """Write pages one by one; return the offset behind each one's directory and pixels."""
    with tifffile.TiffWriter(path, bigtiff=options.pop("bigtiff", False)) as file:
        for k, frame in enumerate(frames):
            text = "x" * (7 * k % 40 + 5) if uneven else None
            file.write(frame, contiguous=False, metadata=None, description=text, **options)
    with tifffile.TiffFile(path) as file:
        return np.array([max(page.dataoffsets[-1] + page.databytecounts[-1], page.offset) for page in file.pages])


LAYOUTS: list[dict[str, Any]] = [
    {},
    {"uneven": True},
    {"compression": "zlib"},
    {"uneven": True, "bigtiff": True},
    {"bigtiff": True},
    {"uneven": True, "compression": "zlib", "bigtiff": True, "rowsperstrip": 5},
    {"tile": (16, 16)},
]


@pytest.mark.parametrize("options", LAYOUTS, ids=lambda options: "-".join(map(str, options)) or "even")
@pytest.mark.parametrize("damage", ["cut", "zeros"])
def test_the_whole_pages_before_a_damaged_end_are_read(tmp_path: Path, options: dict[str, Any], damage: str) -> None:
    frames = serials(20)
    ends = write(tmp_path / "m.tif", frames, **options)
    content = (tmp_path / "m.tif").read_bytes()
    for length in (len(content) * 3 // 5, int(ends[11]), int(ends[11]) + 3, int(ends[11]) + 60, len(content) - 400):
        if damage == "zeros" and length > ends[18] and "compression" not in options:
            continue  # pixels may be zero: only what follows them shows that these are not
        kept = content[:length] + (bytes(len(content) - length) if damage == "zeros" else b"")
        (tmp_path / "m.tif").write_bytes(kept)
        with pytest.warns(roi.IncompleteRecordingWarning, match=r"m\.tif .* complete pages") as seen:
            found = roi.open(tmp_path / "m.tif", format="tiff")
        whole = int((ends <= length).sum())
        assert whole - 1 <= len(found) <= whole
        assert np.array_equal(found.get_series(), frames[: len(found)])
        assert set(found.get_notes()) == {str(one.message) for one in seen}


def test_zeros_with_which_a_compressor_pads_every_page_are_not_damage(tmp_path: Path) -> None:
    import zlib

    pages = np.random.default_rng(1).integers(0, 256, (3, 16, 16)).astype(np.uint8)
    padded = (zlib.compress(page.tobytes()) + bytes(40) for page in pages)
    tifffile.imwrite(
        tmp_path / "m.tif", padded, shape=pages.shape, dtype="u1", compression="zlib", photometric="minisblack"
    )
    assert np.array_equal(roi.open(tmp_path / "m.tif").get_series(), pages)


def test_a_file_without_a_whole_page_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "m.tif", serials(3), uneven=True)
    content = (tmp_path / "m.tif").read_bytes()
    (tmp_path / "m.tif").write_bytes(content[:400])
    with pytest.raises(roi.TruncatedRecordingError, match=r"m\.tif"):
        roi.open(tmp_path / "m.tif", format="tiff")


def test_a_directory_that_was_overwritten_ends_the_recording(tmp_path: Path) -> None:
    frames = serials(20)
    write(tmp_path / "m.tif", frames, uneven=True)
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        at = file.pages[9].offset
    with (tmp_path / "m.tif").open("r+b") as stream:
        stream.seek(at + 2)
        stream.write(bytes(range(1, 61)))
    with pytest.warns(roi.IncompleteRecordingWarning, match=r"damaged at .*page 9 .* 9 complete pages"):
        found = roi.open(tmp_path / "m.tif", format="tiff")
    assert np.array_equal(found.get_series(), frames[:9])


def write_far(path: Path, frames: np.ndarray, places: list[tuple[int, int]], *, big: bool = False) -> None:
    """Write pages to given places of directory and pixels, into a sparse file whose offsets have 32 bits."""
    size = frames[0].nbytes
    number, count = ("Q", "Q") if big else ("I", "H")
    with path.open("wb") as stream:
        stream.write(
            b"II+\0\x08\0\0\0" + struct.pack("<Q", places[0][0]) if big else b"II*\0" + struct.pack("<I", places[0][0])
        )
        for k, (table, data) in enumerate(places):
            text = b"page %03d of a file that is too large" % k
            entries = [
                (256, frames.shape[2]),
                (257, frames.shape[1]),
                (258, 16),
                (259, 1),
                (262, 1),
                (273, data),
                (277, 1),
                (278, frames.shape[1]),
                (279, size),
            ]
            following = places[k + 1][0] if k + 1 < len(places) else 0
            stream.seek(table)
            stream.write(struct.pack("<" + count, len(entries) + 1))
            for code, value in entries:
                stream.write(struct.pack("<HH" + 2 * number, code, 4, 1, value % (1 << 32)))
            stream.write(struct.pack("<HH" + 2 * number, 270, 2, len(text), (table + 256) % (1 << 32)))
            stream.write(struct.pack("<" + number, following % (1 << 32)))
            stream.seek(table + 256)
            stream.write(text)
            stream.seek(data)
            stream.write(frames[k].tobytes())


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("wraps", ["directory", "pixels"])
def test_pages_beyond_4_gib_of_classic_tiff_are_not_read_from_where_their_offsets_wrap_to(
    tmp_path: Path, wraps: str, big: bool
) -> None:
    frames = serials(4, 4, 5)
    far = (1 << 32) + (1100 if big else 1000)
    # Directory and pixels of each page; an offset of 32 bits loses what is above
    places = [(16, 500), (1000, 1400), ((1 << 32) - 2000, (1 << 32) - 900), (far, far + 400)]
    if wraps == "pixels":
        # BigTIFF can state any place: there the pixels of two pages show that it did not
        places[3] = ((1 << 32) - 700, (1 << 32) + 1390 if big else far)
    write_far(tmp_path / "m.tif", frames, places, big=big)
    pattern = r"damaged at .*3 complete pages" if big and wraps == "directory" else "4 GiB .* 3 complete pages"
    with pytest.warns(roi.IncompleteRecordingWarning, match=pattern):
        found = roi.open(tmp_path / "m.tif", format="tiff")
    assert np.array_equal(found.get_series(), frames[:3])


@pytest.mark.parametrize("big", [False, True])
def test_pages_at_equal_distances_are_found_behind_offsets_that_wrapped(tmp_path: Path, big: bool) -> None:
    frames, step = serials(12, 4, 5), 850_000_123
    places = [(16 + k * step, 16 + k * step + 400) for k in range(12)]
    write_far(tmp_path / "m.tif", frames, places, big=big)
    found = roi.open(tmp_path / "m.tif", format="tiff")
    assert np.array_equal(found.get_series(), frames)
    assert np.array_equal(found[7], frames[7])
    assert np.array_equal(found[[11, 2, 6], 1:3, 2:], frames[[11, 2, 6], 1:3, 2:])
    assert ["4 GiB" in note for note in found.get_notes()] == ([] if big else [True])
    index = PageIndex.of(tmp_path / "m.tif")
    texts = [b"page %03d of a file that is too large" % k for k in range(12)]
    assert index.descriptions(range(12)) == texts
    assert big or [index.tags(k)[270] for k in range(12)] == texts
    found.close()
    # A cut inside the tenth page is found although no offset states where that page is
    with (tmp_path / "m.tif").open("r+b") as stream:
        stream.truncate(places[9][1] + 7)
    with pytest.warns(roi.IncompleteRecordingWarning, match="9 complete pages"):
        found = roi.open(tmp_path / "m.tif", format="tiff")
    assert np.array_equal(found.get_series(), frames[:9])


def test_files_behind_a_damaged_one_are_not_moved_to_earlier_times(tmp_path: Path) -> None:
    frames = serials(15)
    for k in range(3):
        write(tmp_path / f"m_{k}.tif", frames[5 * k : 5 * k + 5], uneven=True)
    content = (tmp_path / "m_1.tif").read_bytes()
    (tmp_path / "m_1.tif").write_bytes(content[: len(content) // 2])
    with pytest.warns(roi.IncompleteRecordingWarning) as seen:
        found = roi.open(tmp_path)
    assert 6 <= len(found) < 10
    assert np.array_equal(found.get_series(), frames[: len(found)])
    assert any("m_2.tif" in str(one.message) and "not read" in str(one.message) for one in seen)
    assert {str(one.message) for one in seen} <= set(found.get_notes())


@pytest.mark.parametrize("flag", [1, 4])
@pytest.mark.parametrize("alternate", [True, False])
@pytest.mark.parametrize("step", [1, 4])
def test_pages_flagged_as_thumbnails_or_masks_are_not_samples(
    tmp_path: Path, flag: int, alternate: bool, step: int
) -> None:
    frames = serials(12)
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for k, frame in enumerate(frames):
            file.write(frame, contiguous=False, metadata=None)
            if alternate or k == 11:
                small = frame[::step, ::step] + 1 if flag == 1 else frame[::step, ::step] > 2000
                file.write(small, contiguous=False, metadata=None, subfiletype=flag)
    found = roi.open(tmp_path / "m.tif", format="tiff")
    assert np.array_equal(found.get_series(), frames)


def test_a_thumbnail_before_the_first_page_is_not_a_sample(tmp_path: Path) -> None:
    frames = serials(5)
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        file.write(frames[0, ::4, ::4], contiguous=False, metadata=None, subfiletype=1)
        for frame in frames:
            file.write(frame, contiguous=False, metadata=None)
    assert np.array_equal(roi.open(tmp_path / "m.tif", format="tiff").get_series(), frames)


def test_pages_that_are_all_flagged_are_samples(tmp_path: Path) -> None:
    frames = serials(5)
    write(tmp_path / "m.tif", frames, subfiletype=1)
    assert np.array_equal(roi.open(tmp_path / "m.tif", format="tiff").get_series(), frames)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}], ids=str)
def test_a_page_of_several_planes_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    planes = np.arange(3 * 20 * 24, dtype=np.uint16).reshape(3, 20, 24)
    tifffile.imwrite(tmp_path / "m.tif", planes, volumetric=True, photometric="minisblack", metadata=None, **options)
    with pytest.raises(roi.UnsupportedRecordingError, match="stores 3 planes in one page"):
        roi.open(tmp_path / "m.tif")


def test_a_change_of_the_predictor_is_named(tmp_path: Path) -> None:
    frames = np.zeros((2, 6, 8), np.uint16)
    with tifffile.TiffWriter(tmp_path / "m.tif") as writer:
        for frame, predictor in zip(frames, (False, True), strict=True):
            writer.write(frame, metadata=None, contiguous=False, compression="zlib", predictor=predictor)
    with pytest.raises(roi.CorruptRecordingError, match=r"page 1 .* predictor 2 .*; the pages before have"):
        roi.open(tmp_path / "m.tif")


def test_pages_of_two_sizes_are_refused_and_series_chooses_one(tmp_path: Path) -> None:
    frames = serials(12)
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for frame in frames:
            file.write(frame, contiguous=False, metadata=None)
            file.write(frame[::4, ::4], contiguous=False, metadata=None)
    with pytest.raises(roi.CorruptRecordingError, match=r"page 1 .* 6 rows of 8 columns.*series='0'"):
        roi.open(tmp_path / "m.tif", format="tiff")
    assert np.array_equal(roi.open(tmp_path / "m.tif", format="tiff", series="0").get_series(), frames)
    assert np.array_equal(roi.open(tmp_path / "m.tif", format="tiff", series="1").get_series(), frames[:, ::4, ::4])


def imagej(path: Path, frames: np.ndarray, *lines: str) -> Path:
    text = "\n".join(("ImageJ=1.54f", *lines, ""))
    tifffile.imwrite(path, frames, photometric="minisblack", metadata=None, description=text)
    return path


@pytest.mark.parametrize(
    ("unit", "interval", "rate"),
    [
        ("ms", 20, 50.0),
        ("msec", 50, 20.0),
        ("s", 0.5, 2.0),
        ("sec", 0.5, 2.0),
        ("min", 5, 1 / 300),
        ("hour", 1, 1 / 3600),
    ],
)
def test_the_frame_interval_is_read_with_its_unit(tmp_path: Path, unit: str, interval: float, rate: float) -> None:
    path = imagej(tmp_path / "m.tif", serials(12), "images=12", "frames=12", f"finterval={interval}", f"tunit={unit}")
    assert roi.open(path).get_sampling_frequency() == pytest.approx(rate)


def test_an_interval_in_an_unknown_unit_is_a_note_and_not_a_rate(tmp_path: Path) -> None:
    path = imagej(tmp_path / "m.tif", serials(12), "images=12", "frames=12", "finterval=3", "tunit=fortnight")
    found = roi.open(path)
    assert found.get_sampling_frequency() is None
    assert any("'fortnight'" in note and "sampling_frequency=" in note for note in found.get_notes())


def test_the_speed_of_a_player_is_not_a_sampling_frequency(tmp_path: Path) -> None:
    found = roi.open(imagej(tmp_path / "m.tif", serials(12), "images=12", "slices=12", "fps=7"))
    assert found.get_sampling_frequency() is None
    assert any("fps=7" in note for note in found.get_notes())


@pytest.mark.parametrize(
    ("resolution", "unit"),
    [(72, "INCH"), (72 / 2.54, "CENTIMETER"), (72, "CENTIMETER"), (96, "INCH"), (1, "CENTIMETER")],
)
def test_the_resolution_of_a_screen_is_not_a_pixel_size(tmp_path: Path, resolution: float, unit: str) -> None:
    write(tmp_path / "m.tif", serials(3), resolution=(resolution, resolution), resolutionunit=unit)
    assert roi.open(tmp_path / "m.tif", format="tiff").metadata.pixel_size is None


@pytest.mark.parametrize(
    ("shape", "axes", "options", "expected"),
    [
        ((5, 4), "TZYX", {}, (5, 24, 32, 4)),
        ((5, 2), "TCYX", {"channel": "2"}, (5, 24, 32)),
        ((5, 3, 2), "TZCYX", {"channel": "1"}, (5, 24, 32, 3)),
        ((2, 5, 3), "CTZYX", {"channel": "1"}, (5, 24, 32, 3)),
        ((5,), "QYX", {}, (5, 24, 32)),
    ],
)
def test_the_axes_that_tifffile_names_are_used(
    tmp_path: Path, shape: tuple[int, ...], axes: str, options: dict[str, Any], expected: tuple[int, ...]
) -> None:
    frames = serials(int(np.prod(shape)))
    tifffile.imwrite(
        tmp_path / "m.tif", frames.reshape(*shape, 24, 32), photometric="minisblack", metadata={"axes": axes}
    )
    found = roi.open(tmp_path / "m.tif", **options)
    assert found.shape == expected
    numbers = dict(zip(axes, np.indices(shape), strict=False))
    order = np.arange(len(frames)).reshape(shape)
    chosen = order[numbers["C"] == int(options["channel"]) - 1] if "C" in numbers else order.ravel()
    assert np.asarray(found)[:, 0, 0].ravel().tolist() == chosen.ravel().tolist()


@pytest.mark.parametrize("axes", ["TXY", "XY", "ZXY"])
def test_columns_before_rows_are_a_warning(tmp_path: Path, axes: str) -> None:
    frames = serials(5)[: 1 if axes == "XY" else 5]
    pixels = frames[0] if axes == "XY" else frames
    tifffile.imwrite(tmp_path / "m.tif", pixels, photometric="minisblack", metadata={"axes": axes})
    with pytest.warns(roi.RoiExtractorsWarning, match=rf"axes {axes}, with columns before rows; .* with 24 rows"):
        found = roi.open(tmp_path / "m.tif")
    assert found.get_frame_shape() == (24, 32)
    roi.open(
        tmp_path / "m.tif",
        dimension_order="ZT" if axes == "ZXY" else "T",
        **({"num_planes": 5} if axes == "ZXY" else {}),
    )


def test_channels_that_are_values_of_one_pixel_are_not_counted_in_pages(tmp_path: Path) -> None:
    frames = np.stack([serials(4, dtype="uint8") + k for k in range(3)], axis=-1)
    text = "ImageJ=1.54f\nimages=12\nchannels=3\nframes=4\nhyperstack=true\n"
    tifffile.imwrite(tmp_path / "m.tif", frames, photometric="rgb", metadata=None, description=text)
    assert np.array_equal(roi.open(tmp_path / "m.tif", channel="green").get_series(), frames[..., 1])


@pytest.mark.parametrize(
    "lines",
    [
        ("images=12", "frames=12", "hyperstack=true"),
        ("images=12", "slices=12"),
        ("images=12", "channels=1", "slices=1", "frames=12", "hyperstack=true"),
    ],
)
def test_a_description_that_claims_more_images_is_a_warning_with_both_numbers(
    tmp_path: Path, lines: tuple[str, ...]
) -> None:
    path = imagej(tmp_path / "m.tif", serials(7), *lines)
    with pytest.warns(roi.IncompleteRecordingWarning, match="claims 12 images, but the file has 7 pages") as seen:
        found = roi.open(path)
    assert len(found) == 7
    assert str(seen[0].message) in found.get_notes()


@pytest.mark.parametrize("wrong", ["frames=9", "channels=4", "slices=5"])
def test_hyperstack_numbers_that_contradict_the_pages_give_the_pages_as_they_are_with_a_warning(
    tmp_path: Path, wrong: str
) -> None:
    sizes = {"channels": "channels=2", "slices": "slices=3", "frames": "frames=4"}
    sizes[wrong.partition("=")[0]] = wrong
    path = imagej(tmp_path / "m.tif", serials(24), "images=24", *sizes.values(), "hyperstack=true", "finterval=0.5")
    with pytest.warns(roi.IncompleteRecordingWarning, match="24 pages .*dimension_order=") as seen:
        found = roi.open(path)
    assert (found.shape, found.get_sampling_frequency()) == ((24, 24, 32), None)
    assert str(seen[0].message) in found.get_notes()
    declared = roi.open(path, dimension_order="TZC", num_planes=3, num_channels=2, channel="2")
    assert declared.shape == (4, 24, 32, 3)


@pytest.mark.parametrize("shape", ["12, 24, 32", "3, 4, 24, 32"])
def test_a_shape_of_more_images_or_axes_than_pages_is_said(tmp_path: Path, shape: str) -> None:
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for k, frame in enumerate(serials(12 if shape.count(",") == 3 else 7)):
            text = f'{{"shape": [{shape}]}}' if k == 0 else None
            file.write(frame, contiguous=False, metadata=None, description=text)
    if shape.startswith("12"):
        with pytest.warns(roi.IncompleteRecordingWarning, match="claims 12 images, but the file has 7 pages"):
            assert len(roi.open(tmp_path / "m.tif", format="tiff")) == 7
        return
    found = roi.open(tmp_path / "m.tif", format="tiff")
    assert len(found) == 12
    assert any("3 x 4 x 24 x 32" in note and "dimension_order='TZ'" in note for note in found.get_notes())


def test_axes_that_are_not_understood_are_a_warning(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "m.tif",
        serials(12).reshape(3, 4, 24, 32),
        photometric="minisblack",
        metadata={"axes": "RHYX"},
    )
    with pytest.warns(roi.RoiExtractorsWarning, match=r"RHYX.*R=3 x H=4.*dimension_order="):
        assert len(roi.open(tmp_path / "m.tif", format="tiff")) == 12


def test_metadata_of_another_format_beside_a_plain_file_is_said_not_to_be_used(tmp_path: Path) -> None:
    write(tmp_path / "m.tif", serials(3))
    (tmp_path / "Setup.vendor").write_text("exposure 3")
    registry = Registry(entry_points=tuple)
    specs = [
        roi.FormatSpec(
            "tiff", "TIFF", "roiextractors_tiff.extractor:TiffImagingExtractor", (".tif",), evidence=roi.Magic(b"II*\0")
        ),
        roi.FormatSpec(
            "rig", "Rig", "nowhere:Rig", (".rig",), specializes=("tiff",), companions=("*.vendor", "Whole.txt")
        ),
    ]
    for spec in specs:
        registry.register(spec)
    with pytest.warns(
        roi.RoiExtractorsWarning, match=r"m\.tif is read as TIFF; Setup\.vendor .* Rig and is not used"
    ) as seen:
        found = roi.open(tmp_path / "m.tif", registry=registry)
    assert str(seen[0].message) in found.provenance.notes
    for one in (found, pickle.loads(pickle.dumps(found)), found.slice_samples(1)):
        assert one.get_notes().count(str(seen[0].message)) == 1
    (tmp_path / "Setup.vendor").rename(tmp_path / "NotWhole.txt")
    roi.open(tmp_path / "m.tif", registry=registry)
    (tmp_path / "NotWhole.txt").rename(tmp_path / "whole.TXT")
    with pytest.warns(roi.RoiExtractorsWarning, match=r"whole\.TXT"):
        roi.open(tmp_path / "m.tif", registry=registry)
    assert roi.open(tmp_path / "m.tif", registry=registry, format="tiff").shape == (3, 24, 32)


@pytest.mark.parametrize("name", ["m.json", "M.txt", "m.tif.xml"])
def test_a_description_beside_a_tiff_is_said_not_to_be_read(tmp_path: Path, name: str) -> None:
    write(tmp_path / "M.tif" if name[0] == "M" else tmp_path / "m.tif", serials(3))
    path = next(tmp_path.iterdir())
    (tmp_path / "other.json").write_text("{}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        roi.open(path, format="tiff")
    (tmp_path / name).write_text("rate 30")
    with pytest.warns(roi.RoiExtractorsWarning, match=f"{name}. beside {path.name} may describe it") as seen:
        recording = roi.open(path, format="tiff")
    assert str(seen[0].message) in recording.get_notes()


def test_a_metamorph_stack_has_all_planes_times_wavelength_and_pixel_size(tmp_path: Path) -> None:
    frames = serials(5, 6, 7)
    head = struct.Struct("<HHII")
    data, uic2, uic3, uic1, ratio, unit = 400, 1000, 1200, 1300, 1400, 1500
    entries = [
        (256, 4, 1, 7), (257, 4, 1, 6), (258, 4, 1, 16), (259, 4, 1, 1), (262, 4, 1, 1), (273, 4, 1, data), (277, 4, 1, 1),
        (278, 4, 1, 6), (279, 4, 1, 84), (33628, 4, 3, uic1), (33629, 5, 5, uic2), (33630, 5, 5, uic3),
    ]  # fmt: skip
    content = bytearray(1600)
    content[:8] = b"II*\0" + struct.pack("<I", 8)
    content[8:10] = struct.pack("<H", len(entries))
    for k, entry in enumerate(entries):
        head.pack_into(content, 10 + 12 * k, *entry)
    content[data : data + frames.nbytes] = frames.tobytes()
    for k in range(5):
        struct.pack_into("<6I", content, uic2 + 24 * k, 0, 1, 2451545, 43_200_000 + 50 * k, 0, 0)
        struct.pack_into("<2I", content, uic3 + 8 * k, 525, 1)
    struct.pack_into("<6I", content, uic1, 4, ratio, 5, ratio, 6, unit)
    struct.pack_into("<2I", content, ratio, 1, 2)
    struct.pack_into("<I2s", content, unit, 2, b"um")
    (tmp_path / "m.stk").write_bytes(content)
    found = roi.open(tmp_path / "m.stk")
    assert np.array_equal(found.get_series(), frames)
    assert found.get_timestamps().tolist() == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    metadata = found.metadata
    assert str(metadata.start_time) == "2000-01-02 12:00:00"  # as tifffile reads day 2,451,545
    assert (metadata.pixel_size, metadata.channels[0].emission_wavelength) == ((0.5, 0.5), 525.0)


@pytest.mark.parametrize("way", ["tifffile", "imagej", "directories first"])
def test_pages_of_zeros_at_the_end_are_said_and_count_as_missing(tmp_path: Path, way: str) -> None:
    frames = np.random.default_rng(1).integers(1, 900, (9, 24, 32)).astype(np.uint16)
    frames[6:] = 0
    path = tmp_path / "m.tif"
    if way == "directories first":
        write_tiff(NumpyImagingExtractor(frames, sampling_frequency=5.0), path)
    else:
        axes = {"axes": "TYX"}
        tifffile.imwrite(path, frames, photometric="minisblack", imagej=way == "imagej", metadata=axes)
    with pytest.warns(roi.IncompleteRecordingWarning, match="ends in zeros: its last 3 of 9 pages are 0") as seen:
        recording = roi.open(path, format="tiff")
    assert str(seen[0].message) in recording.get_notes()
    assert recording.get_missing_samples().tolist() == [6, 7, 8]
    assert recording.keeps_missing_samples
    np.testing.assert_array_equal(recording.get_series(), frames)
    tifffile.imwrite(path, np.zeros((3, 24, 32), np.uint16), photometric="minisblack")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        roi.open(path, format="tiff")


def test_a_file_of_zeros_alone_is_opened_without_reading_all_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, looked_at = tmp_path / "m.tif", list[int]()
    tifffile.imwrite(path, np.zeros((500, 24, 32), np.uint16), photometric="minisblack")
    end_of_data = PositionedFile.end_of_data

    def counted(self: PositionedFile, start: int, end: int) -> int:
        looked_at.append(start)
        return end_of_data(self, start, end)

    monkeypatch.setattr(PositionedFile, "end_of_data", counted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        roi.open(path, format="tiff").close()
    assert 2 <= len(looked_at) < 16


def test_pages_in_which_white_is_0_from_some_page_on_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    frames = serials(8).astype(np.uint16)
    with tifffile.TiffWriter(path) as writer:
        for k, frame in enumerate(frames):
            writer.write(frame, photometric="miniswhite" if k > 4 else "minisblack", contiguous=False)
    with pytest.warns(roi.RoiExtractorsWarning, match="0 is white in page 7 and black in the first page") as seen:
        recording = roi.open(path, format="tiff")
    assert str(seen[0].message) in recording.get_notes()
    np.testing.assert_array_equal(recording.get_series(), frames)


def test_a_description_of_the_name_of_a_folder_is_said_not_to_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "TSeries-1"
    folder.mkdir()
    for k in range(3):
        write(folder / f"m_{k:03d}.tif", serials(1) + k)
    (folder / "TSeries-1.xml").write_bytes(b"")
    with pytest.warns(roi.RoiExtractorsWarning, match="TSeries-1.xml. beside TSeries-1 may describe it") as seen:
        recording = roi.open(folder, format="tiff")
    assert str(seen[0].message) in recording.get_notes()

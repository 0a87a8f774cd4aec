"""ROIs of ImageJ: their pixels against ImageJ's own, their fields against roifile, and damaged files."""

from __future__ import annotations

import io
import os
import pickle
import struct
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

roifile = pytest.importorskip("roifile", reason="roifile is not installed: python -m pip install roifile")

# Computed by ImageJ 1.54 (RoiDecoder, then Roi.getMask) from the same bytes; the frame has 7 rows and 9 columns
MASKS = {
    "polygon": ".........|.####....|..######.|..#####..|...###...|...##....|.........",
    "polygon with fractions": ".........|...#.....|....##...|....####.|....###..|....#....|.........",
    "bow tie": "#......#.|##....##.|###..###.|###..###.|##....##.|#......#.|.........",
    "freehand": "..##.....|..####...|..####...|.######..|.##...#..|.#.......|.........",
    "traced": ".........|.####....|.####....|.######..|.######..|.######..|.........",
    "spline": ".........|.######..|.######..|.######..|.######..|.######..|.........",
    "oval": "..#####..|.#######.|.#######.|.#######.|..#####..|.........|.........",
    "oval with fractions": "..####...|..####...|.######..|.######..|.######..|..####...|..####...",
    "rectangle": ".........|..####...|..####...|..####...|.........|.........|.........",
    "rectangle with fractions": ".........|.........|.####....|.####....|.####....|.........|.........",
    "rounded rectangle": ".#######.|#########|#########|#########|#########|#########|.#######.",
    "ellipse": ".........|.#####...|.######..|.#######.|..######.|...#####.|.........",
    "rotated rectangle": ".........|.....##..|...####..|.######..|.####....|.##......|.........",
    "ring": "########.|########.|##....##.|##....##.|##....##.|########.|########.",
    "curves": "...##....|.######..|.#######.|.#######.|..######.|..#####..|.....#...",
    "points": ".........|.........|#........|...#...#.|.........|.........|.........",
}


@pytest.fixture
def rois(
    outline: Callable[..., Any], box: Callable[..., Any], composite: Callable[..., Any], on_axis: Callable[..., bytes]
) -> dict[str, Any]:
    ring = [(0, 0, 0), (1, 8, 0), (1, 8, 7), (1, 0, 7), (4,), (0, 2, 2), (1, 6, 2), (1, 6, 5), (1, 2, 5), (4,)]
    return {
        "polygon": outline([[1, 1], [8, 2], [4, 7]]),
        "polygon with fractions": outline([[1.5, 0.5], [8.25, 3.5], [3.5, 6.75], [4.0, 3.0]]),
        "bow tie": outline([[0, 0], [8, 6], [8, 0], [0, 6]]),
        "freehand": outline([[2, 0], [6, 1], [7, 5], [4, 4], [1, 6]], "freehand"),
        "traced": outline([[1, 1], [5, 1], [5, 3], [7, 3], [7, 6], [1, 6]], "traced"),
        "spline": outline([[2, 1], [7, 2], [6, 6], [1, 5]], spline=True),
        "oval": box(1, 0, 7, 5, "oval"),
        "oval with fractions": box(1.6, 0.4, 5.2, 6.5, "oval"),
        "rectangle": box(2, 1, 4, 3),
        "rectangle with fractions": box(1.5, 2.25, 3.25, 2.5),
        "rounded rectangle": box(0, 0, 9, 7, rounded_rect_arc_size=6),
        "ellipse": on_axis(1.0, 2.0, 8.0, 5.0, 0.6, is_ellipse=True),
        "rotated rectangle": on_axis(1.0, 5.0, 7.0, 2.0, 3.0, is_ellipse=False),
        "ring": composite(*ring),
        "curves": composite((0, 1, 3), (2, 1, 0, 4.5, 0.5), (3, 9, 0, 9, 7, 5, 6.5), (1, 2, 6), (4,)),
        "points": outline([[0.4, 1.6], [7.5, 2.5], [3, 3], [3.2, 3.1]], "point"),
    }


@pytest.fixture
def recording(tmp_path: Path, rois: dict[str, Any], pack: Callable[..., Path]) -> Path:
    """A RoiSet.zip with one ROI of each kind."""
    return pack(tmp_path / "RoiSet.zip", [(f"{name}.roi", data) for name, data in rois.items()])


def open_rois(path: Path, frame_shape: Any = (7, 9), **options: Any) -> Any:
    return roi.open(path, kind="segmentation", frame_shape=frame_shape, **options)


def drawn(mask: np.ndarray) -> str:
    return "|".join("".join("#" if pixel else "." for pixel in row) for row in mask)


# Pixels


def test_every_kind_has_the_pixels_that_imagej_gives_it(recording: Path) -> None:
    segmentation = open_rois(recording)
    assert segmentation.get_roi_ids() == list(MASKS)
    masks = segmentation.get_roi_masks()
    assert {name: drawn(masks.image(k)) for k, name in enumerate(MASKS)} == MASKS
    assert set(np.unique(masks.weights)) == {1.0}


@pytest.mark.parametrize(
    ("points", "width", "offsets"),
    [  # ImageJ's own tests of masks, as offsets into the mask of the bounding box
        ([[1, 1], [5, 1], [3, 3]], 4, [1, 2, 3, 6]),
        ([[1, 1], [2, 7], [4, 3]], 3, [0, 3, 4, 6, 7, 8, 10, 13]),
        ([[6, 13], [12, 10], [5, 7]], 7, [0, 7, 8, 9, 10, 14, 15, 16, 17, 18, 19, 22, 23, 24, 25, 26, 29, 30, 31, 36]),
        ([[1, 1], [4, 1], [4, 4], [1, 4]], 3, list(range(9))),
        ([[1, 1], [4, 2], [7, 4], [3, 2]], 6, [1, 9]),
    ],
)
def test_polygons_are_filled_as_in_the_tests_of_imagej(
    tmp_path: Path, outline: Callable[..., Any], points: list[list[int]], width: int, offsets: list[int]
) -> None:
    (tmp_path / "a.roi").write_bytes(outline(points).tobytes())
    left, top = np.min(points, axis=0)
    pixels = open_rois(tmp_path / "a.roi", (20, 30)).get_roi_pixel_masks()[0]
    assert sorted((pixels[:, 0] - top) * width + pixels[:, 1] - left) == offsets


def test_a_roi_that_reaches_beyond_the_frame_is_cut_with_a_warning(
    tmp_path: Path, outline: Callable[..., Any], pack: Callable[..., Path]
) -> None:
    path = pack(
        tmp_path / "r.zip",
        [("in.roi", outline([[0, 0], [2, 0], [2, 2]])), ("out.roi", outline([[5, 1], [9, 1], [9, 4], [5, 4]]))],
    )
    with pytest.warns(roi.RoiExtractorsWarning, match=r"1 ROI of r.zip \('out'\) extends beyond frame_shape=\(4, 7\)"):
        segmentation = open_rois(path, (4, 7))
    assert "extends beyond" in segmentation.get_notes()[0]
    assert segmentation.get_roi_masks(["out"]).pixel_list(0)[:, :2].tolist() == [
        [r, c] for r in (1, 2, 3) for c in (5, 6)
    ]


def test_a_roi_outside_of_the_frame_is_refused(tmp_path: Path, box: Callable[..., Any]) -> None:
    (tmp_path / "a.roi").write_bytes(box(30, 2, 5, 4).tobytes())
    with pytest.raises(
        roi.CorruptRecordingError, match=r"rows 2 to 6 and columns 30 to 35, outside of frame_shape=\(40, 20\)"
    ):
        open_rois(tmp_path / "a.roi", (40, 20))
    assert open_rois(tmp_path / "a.roi", (20, 40)).get_roi_masks().num_pixels.tolist() == [20]


def test_coordinates_above_32767_and_below_0_are_read_as_imagej_reads_them(
    tmp_path: Path, box: Callable[..., Any]
) -> None:
    far = box(40_000, 1, 5, 3)
    (tmp_path / "far.roi").write_bytes(far.tobytes())
    assert open_rois(tmp_path / "far.roi", (5, 40_010)).get_roi_locations().T.tolist() == [[2, 40_002]]
    (tmp_path / "low.roi").write_bytes(box(-2, 0, 4, 2).tobytes())
    with pytest.warns(roi.RoiExtractorsWarning, match=r"extends? beyond"):
        assert open_rois(tmp_path / "low.roi").get_roi_pixel_masks()[0][:, :2].tolist() == [
            [0, 0],
            [0, 1],
            [1, 0],
            [1, 1],
        ]


# Fields


def test_the_fields_are_those_of_roifile(
    tmp_path: Path, box: Callable[..., Any], outline: Callable[..., Any], pack: Callable[..., Path]
) -> None:
    first = box(1, 1, 3, 2, name="soma", position=7, c_position=1, z_position=2, t_position=3, group=4, version=228)
    first.stroke_color, first.fill_color, first.stroke_width = b"\xff\xff\x00\x00", b"\x80\x00\xff\x10", 3
    first.props = "depth: 120\n"
    path = pack(tmp_path / "RoiSet.zip", [("0001-0002.roi", first), ("b.roi", outline([[0, 0], [4, 0], [4, 4]]))])
    segmentation = open_rois(path)
    assert segmentation.get_roi_ids() == ["0001-0002", "b"]
    read = {key: segmentation.get_property(key).tolist() for key in segmentation.get_property_keys()}
    assert read == {
        "type": ["rectangle", "polygon"],
        "name": ["soma", ""],
        "position": [7, 0],
        "channel": [1, 0],
        "slice": [2, 0],
        "frame": [3, 0],
        "group": [4, 0],
        "stroke_color": ["#ff0000", ""],
        "fill_color": ["#8000ff10", ""],
        "stroke_width": [3.0, 0.0],
        "properties": ["depth: 120\n", ""],
    }
    assert segmentation.select_rois(["b"]).get_property("type").tolist() == ["polygon"]


def test_there_are_no_traces(recording: Path) -> None:
    segmentation = open_rois(recording)
    assert segmentation.get_num_samples() == 0
    assert segmentation.get_traces_dict() == {}
    assert segmentation.get_frame_shape() == (7, 9)
    assert segmentation.get_sampling_frequency() is None


def test_a_single_roi_is_called_by_its_own_name_or_that_of_the_file(tmp_path: Path, box: Callable[..., Any]) -> None:
    (tmp_path / "cell.roi").write_bytes(box(1, 1, 3, 2).tobytes())
    assert open_rois(tmp_path / "cell.roi").get_roi_ids() == ["cell"]
    (tmp_path / "cell.roi").write_bytes(box(1, 1, 3, 2, name="soma é").tobytes())
    assert open_rois(tmp_path / "cell.roi").get_roi_ids() == ["soma é"]


def test_names_that_repeat_get_a_number(tmp_path: Path, box: Callable[..., Any], pack: Callable[..., Path]) -> None:
    a, b, c, d = (box(k, k, 2, 2) for k in range(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the repeated name
        path = pack(tmp_path / "r.zip", [("cell.roi", a), ("cell-1.roi", b), ("cell.roi", c), ("cell.roi", d)])
    segmentation = open_rois(path)
    assert segmentation.get_roi_ids() == ["cell", "cell-1", "cell-2", "cell-3"]
    assert segmentation.get_roi_locations(["cell-2"]).T.tolist() == [[2, 2]]
    assert "contains the names 'cell' more than once" in segmentation.get_notes()[0]


def test_it_pickles_and_reads_in_threads(recording: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    segmentation = open_rois(recording)
    again = pickle.loads(pickle.dumps(segmentation))
    assert again.get_roi_masks() == segmentation.get_roi_masks()
    with ThreadPoolExecutor(4) as pool:
        assert all(
            masks == again.get_roi_masks() for masks in pool.map(lambda _: segmentation.get_roi_masks(), range(8))
        )


# What has no pixels


def test_lines_and_texts_are_left_out_with_a_warning(
    tmp_path: Path, box: Callable[..., Any], outline: Callable[..., Any], pack: Callable[..., Path]
) -> None:
    line = outline([[0, 0], [5, 5]], "line")
    text = box(1, 1, 4, 3, version=228, subtype=roifile.ROI_SUBTYPE.TEXT, text="note")
    kinds = [("l.roi", line), ("f.roi", outline([[0, 0], [1, 1], [3, 2]], "freeline")), ("t.roi", text)]
    path = pack(tmp_path / "r.zip", [*kinds, ("cell.roi", box(0, 0, 2, 2))])
    with pytest.warns(roi.RoiExtractorsWarning) as caught:
        segmentation = open_rois(path)
    assert segmentation.get_roi_ids() == ["cell"]
    assert [str(w.message).split(" which")[0] for w in caught] == [
        "2 ROIs of r.zip ('l' and 'f') are lines,",
        "1 ROI of r.zip ('t') are texts or images,",
    ]
    with pytest.raises(roi.UnsupportedRecordingError, match="contains neither areas nor points: 2 ROIs"):
        open_rois(pack(tmp_path / "lines.zip", kinds))


# The frame


def test_the_shape_of_the_frame_is_asked_for(recording: Path) -> None:
    with pytest.raises(
        roi.ChoiceError, match=r"does not contain the shape of the image.*frame_shape=\(rows, columns\)"
    ):
        roi.open(recording, kind="segmentation")
    assert open_rois(recording, "(7, 9)").get_frame_shape() == (7, 9)
    assert open_rois(recording, "7,9").get_frame_shape() == (7, 9)
    for wrong in ((7,), (7, 0), (7.5, 9), "x", 7, (1 << 40, 2), "(" * 5000):
        with pytest.raises(roi.ChoiceError, match="frame_shape must be"):
            open_rois(recording, wrong)


def test_a_movie_is_not_found_in_it_and_the_error_says_what_is(recording: Path) -> None:
    with pytest.raises(roi.SourceKindError, match="kind='segmentation'"):
        roi.open(recording)


@pytest.mark.parametrize("name", ["rois", "rois.bin", "RoiSet.ZIP"])
def test_it_is_recognised_by_content(recording: Path, tmp_path: Path, name: str) -> None:
    os.replace(recording, tmp_path / name)
    assert open_rois(tmp_path / name).get_num_rois() == len(MASKS)


def test_another_zip_archive_is_not_claimed(tmp_path: Path, pack: Callable[..., Path]) -> None:
    path = pack(tmp_path / "x.zip", [("readme.txt", b"hello"), ("a.roi", b"not an ROI")])
    with pytest.raises(roi.UnknownFormatError):
        open_rois(path)


# Archives


def test_other_entries_are_left_out_with_a_note_and_no_path_is_used(
    tmp_path: Path, box: Callable[..., Any], pack: Callable[..., Path]
) -> None:
    cell = box(0, 0, 2, 2)
    entries = [
        ("../../evil.roi", cell),
        ("/etc/x.roi", cell),
        ("__MACOSX/._a.roi", b"\0\5\x16\7"),
        ("notes.txt", b"..."),
        ("sub/", b""),
    ]
    folder = tmp_path / "in"
    folder.mkdir()
    segmentation = open_rois(pack(folder / "r.zip", entries))
    assert segmentation.get_roi_ids() == ["../../evil", "/etc/x"]
    assert segmentation.get_notes() == (
        "r.zip also contains '__MACOSX/._a.roi' and 'notes.txt'; these are not ROIs and are not read",
    )
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["in", "r.zip"]


def test_an_archive_with_fewer_rois_than_it_states_is_refused(
    tmp_path: Path, box: Callable[..., Any], pack: Callable[..., Path]
) -> None:
    path = pack(tmp_path / "r.zip", [("a.roi", box(0, 0, 2, 2)), ("b.roi", box(1, 1, 2, 2))])
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 32 : at + 34] = b"\xff\x00"  # the comment of the first entry covers the second one
    path.write_bytes(data)
    with pytest.raises(roi.CorruptRecordingError, match="states 2 entries but has 1"):
        open_rois(path, format="imagej-roi")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, box: Callable[..., Any], pack: Callable[..., Path]
) -> None:
    cell = box(0, 0, 2, 2).tobytes()
    bomb = pack(tmp_path / "one.zip", [("cell.roi", cell), ("bomb.roi", cell + bytes(100 << 20))])
    assert bomb.stat().st_size < 200_000
    with pytest.raises(roi.CorruptRecordingError, match="bytes of ROIs once decompressed"):
        open_rois(bomb)
    large = pack(tmp_path / "large.zip", [("large.roi", cell + bytes(9 << 20))])
    with pytest.raises(roi.CorruptRecordingError, match=r"'large.roi' in large.zip has 9,43\d,\d{3} bytes"):
        open_rois(large)
    # An entry that states less than it has is read up to that, and its checksum is wrong
    data = bytearray(pack(tmp_path / "lie.zip", [("a.roi", cell + bytes(1 << 20))]).read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 200)
    (tmp_path / "lie.zip").write_bytes(data)
    with pytest.raises(roi.CorruptRecordingError, match="damaged zip archive"):
        open_rois(tmp_path / "lie.zip", format="imagej-roi")


def test_a_directory_of_the_archive_that_is_too_large_is_not_read(tmp_path: Path, box: Callable[..., Any]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.roi", box(0, 0, 2, 2).tobytes())
    data = buffer.getvalue()
    at = data.rindex(b"PK\x01\x02")
    entry, end = data[at : data.rindex(b"PK\x05\x06")], bytearray(data[data.rindex(b"PK\x05\x06") :])
    count = (20 << 20) // len(entry)
    end[12:16] = struct.pack("<I", count * len(entry))
    (tmp_path / "many.zip").write_bytes(data[:at] + entry * count + end)
    with pytest.raises(roi.CorruptRecordingError, match="a directory of more than 16,777,216 bytes"):
        open_rois(tmp_path / "many.zip", format="imagej-roi")


def test_an_entry_without_a_name_or_before_the_file_is_no_surprise(
    tmp_path: Path, box: Callable[..., Any], pack: Callable[..., Path]
) -> None:
    data = bytearray(pack(tmp_path / "r.zip", [("a.roi", box(0, 0, 2, 2)), ("b.roi", box(1, 1, 2, 2))]).read_bytes())
    at = data.index(b"PK\x01\x02")
    nameless = bytearray(data)
    nameless[at + 46 : at + 51] = b"\0.roi"
    (tmp_path / "r.zip").write_bytes(nameless)  # zipfile cuts a name at its first NUL
    segmentation = open_rois(tmp_path / "r.zip", format="imagej-roi")
    assert segmentation.get_roi_ids() == ["b"]
    assert "also contains ''" in segmentation.get_notes()[0]
    end = data.index(b"PK\x05\x06")
    data[end + 16 : end + 20] = struct.pack(
        "<I", 2**31
    )  # where the directory should be: all offsets move before the file
    (tmp_path / "r.zip").write_bytes(data)
    with pytest.raises(roi.CorruptRecordingError, match="damaged zip archive"):
        open_rois(tmp_path / "r.zip", format="imagej-roi")


def test_an_encrypted_or_unusual_entry_is_refused(
    tmp_path: Path, box: Callable[..., Any], pack: Callable[..., Path]
) -> None:
    path = pack(tmp_path / "r.zip", [("a.roi", box(0, 0, 2, 2))], zipfile.ZIP_LZMA)
    with pytest.raises(roi.UnsupportedRecordingError, match=r"'a.roi' in r.zip is compressed by method 14"):
        open_rois(path, format="imagej-roi")
    data = bytearray(pack(tmp_path / "e.zip", [("a.roi", box(0, 0, 2, 2))]).read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(mark) + offset] |= 1
    (tmp_path / "e.zip").write_bytes(data)
    with pytest.raises(roi.UnsupportedRecordingError, match=r"'a.roi' in e.zip is encrypted"):
        open_rois(tmp_path / "e.zip", format="imagej-roi")


# Damaged ROIs


def changed(data: bytes, offset: int, form: str, *values: Any) -> bytes:
    result = bytearray(data)
    struct.pack_into(form, result, offset, *values)
    return bytes(result)


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("polygon", lambda d: d[:40], "40 bytes, too few for the header"),
        ("polygon", lambda d: d[:70], "70 bytes, but the ROI's 6 numbers end at byte 76"),
        ("polygon", lambda d: b"Joe!" + d[4:], "is not an ImageJ ROI: it starts with 4a 6f 65 21"),
        ("polygon", lambda d: changed(d, 16, ">H", 60_000), "120,000 numbers end at byte"),
        ("polygon", lambda d: changed(changed(d, 16, ">H", 0), 18, ">i", 2**31 - 1), "4,294,967,294 numbers"),
        ("polygon", lambda d: changed(changed(d, 16, ">H", 0), 18, ">i", -5), "an outline of -5 points"),
        ("polygon", lambda d: changed(d, 6, ">B", 6), "of type 6, which is not supported"),
        ("polygon", lambda d: changed(d, 6, ">B", 200), "of type 200, which is not supported"),
        (
            "polygon with fractions",
            lambda d: changed(d, 64 + 16, ">f", float("nan")),
            "coordinates that are not numbers of pixels",
        ),
        (
            "polygon with fractions",
            lambda d: changed(d, 64 + 16, ">f", 1e30),
            "coordinates that are not numbers of pixels",
        ),
        (
            "oval with fractions",
            lambda d: changed(d, 18, ">f", float("inf")),
            "coordinates that are not numbers of pixels",
        ),
        ("rectangle", lambda d: changed(d, 14, ">h", -4), "a rectangle of -6 x 3 pixels"),
        ("ring", lambda d: changed(d, 36, ">i", 2**30), "1,073,741,824 numbers end at byte"),
        ("ring", lambda d: changed(d, 6, ">B", 2), "a composite ROI of type 2, expected 1"),
        ("ring", lambda d: changed(d, 64, ">f", 7), "a segment of type 7, expected 0 to 4"),
        ("ring", lambda d: changed(d, 64, ">f", 0.5), "a segment of type 0.5, expected 0 to 4"),
        ("ring", lambda d: changed(d, 64, ">f", 1), "whose path does not begin with a point"),
        ("ring", lambda d: changed(d, 36, ">i", 2), "without an outline"),
    ],
)
def test_a_damaged_roi_is_one_clear_sentence(
    tmp_path: Path, rois: dict[str, Any], kind: str, change: Callable[[bytes], bytes], words: str
) -> None:
    (tmp_path / "a.roi").write_bytes(change(rois[kind].tobytes()))
    with pytest.raises(roi.RecordingError, match=words):
        open_rois(tmp_path / "a.roi", format="imagej-roi")


def test_a_second_header_outside_of_the_file_is_ignored_as_in_imagej(tmp_path: Path, box: Callable[..., Any]) -> None:
    data = box(1, 1, 3, 2, name="soma", group=3, version=228).tobytes()
    for value in (-7, len(data) - 8, 2**31 - 1):
        (tmp_path / "a.roi").write_bytes(changed(data, 60, ">i", value))
        assert open_rois(tmp_path / "a.roi").get_roi_ids() == ["a"]
    start = struct.unpack_from(">i", data, 60)[0]
    (tmp_path / "a.roi").write_bytes(changed(data, start + 20, ">i", 2**31 - 1))  # the length of the name
    assert open_rois(tmp_path / "a.roi").get_roi_ids() == ["a"]


def test_an_outline_of_endless_edges_is_refused_soon(tmp_path: Path, outline: Callable[..., Any]) -> None:
    zigzag = outline([[k, 60_000 * (k % 2)] for k in range(60_000)])
    (tmp_path / "z.roi").write_bytes(zigzag.tobytes())
    with pytest.warns(roi.RoiExtractorsWarning, match=r"extends? beyond"):
        segmentation = open_rois(tmp_path / "z.roi", (2048, 2048))
    start = time.process_time()
    with pytest.raises(roi.CorruptRecordingError, match=r"crosses [\d,]+ rows of pixels; at most 8,388,608"):
        segmentation.get_roi_masks()
    assert time.process_time() - start < 10


@pytest.mark.thorough
def test_curves_without_end_are_refused_soon(tmp_path: Path, composite: Callable[..., Any]) -> None:
    curves = composite((0, 0, 0), *[(2, 1e6, k, 0, k) for k in range(40_000)])
    (tmp_path / "c.roi").write_bytes(curves.tobytes())
    with pytest.warns(roi.RoiExtractorsWarning, match=r"extends? beyond"):
        segmentation = open_rois(tmp_path / "c.roi")
    start = time.process_time()
    with pytest.raises(roi.CorruptRecordingError, match="curves need more than"):
        segmentation.get_roi_masks()
    assert time.process_time() - start < 10


def test_several_files_are_refused_with_the_way_out(tmp_path: Path, box: Callable[..., Any]) -> None:
    for name in ("a.roi", "b.roi"):
        (tmp_path / name).write_bytes(box(0, 0, 2, 2).tobytes())
    with pytest.raises(roi.SourceKindError, match=r"pack the .roi files into one zip archive"):
        open_rois([tmp_path / "a.roi", tmp_path / "b.roi"])  # type: ignore[arg-type]


@pytest.mark.thorough
def test_any_changed_byte_is_an_error_of_ours_or_a_roi(tmp_path: Path, rois: dict[str, Any]) -> None:
    rng = np.random.default_rng(11)
    for name, made in rois.items():
        data = made if isinstance(made, bytes) else made.tobytes()
        for _ in range(40):
            damaged = bytearray(data[: rng.integers(20, len(data) + 1)])
            for _ in range(rng.integers(1, 5)):
                damaged[rng.integers(4, len(damaged))] = rng.integers(256)
            (tmp_path / "d.roi").write_bytes(damaged)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", roi.RoiExtractorsWarning)
                try:
                    segmentation = open_rois(tmp_path / "d.roi", format="imagej-roi")
                    segmentation.get_roi_masks()
                    segmentation.get_property("type")
                except roi.RoiExtractorsError:
                    continue
                except Exception as error:
                    raise AssertionError(f"{name}: {error!r}") from error

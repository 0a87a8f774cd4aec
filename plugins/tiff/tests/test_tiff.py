"""TIFF recordings: real ones against tifffile's reading, made ones of every kind, and damaged ones."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from roiextractors_tiff.pages import PageIndex
from roiextractors_tiff.pages.chain import Chain

import roiextractors_core as roi
from roiextractors_core.io import num_cores

MOVIE = np.random.default_rng(0).integers(0, 4000, (12, 20, 30)).astype(np.uint16)


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()[:32]


def expected_entries() -> list[dict[str, Any]]:
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    path = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside)) / "EXPECTED.json"
    if not path.is_file():
        return []
    return [entry for entry in json.loads(path.read_text()) if entry["path"].startswith("tiff/")]


def opened(path: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Open, taking the first of what an error lists."""
    try:
        return roi.open(path, **options), options
    except roi.StreamChoiceError as error:
        return opened(path, **{**options, error.option: error.choices[0]})


def pages_first(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 3, 1) if array.ndim == 4 else array


def all_channels(path: Path, options: dict[str, Any]) -> np.ndarray:
    """All channels as tifffile orders them: time, planes, channels, rows, columns."""
    rest = {key: value for key, value in options.items() if key != "channel"}
    names = roi.streams(path, **rest)["channel"]
    return np.stack([pages_first(np.asarray(roi.open(path, **rest, channel=name))) for name in names], axis=-3)


@pytest.mark.filterwarnings("ignore::roiextractors_core.errors.IncompleteRecordingWarning")
@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["id"]) for entry in expected_entries()])
def test_a_real_recording_reads_as_tifffile_reads_it(recordings: Path, entry: dict[str, Any]) -> None:
    path = recordings / entry["path"]
    found, options = opened(path)
    if entry["kind"] == "imaging":
        samples = pages_first(np.asarray(found))
        assert samples.shape == tuple(entry["array_shape"])
        assert {k: digest(samples[int(k)]) for k in entry["frames"]} == entry["frames"]
        return
    if entry["num_series"] > 1 and "series" not in options:
        # tifffile calls every frame that a loop wrote by itself a series and its series 0 is the first frame alone;
        # the recording is all of them, and series="0" is the oracle's
        assert len(found) == entry["num_pages"]
        options["series"] = "0"
    samples = all_channels(path, options) if "channel" in options else np.asarray(roi.open(path, **options))
    samples = samples if "channel" in options else pages_first(samples)
    assert samples.size == np.prod(entry["shape"])
    assert found.dtype == np.dtype(entry["dtype"])
    assert digest(samples) == entry["series0_sha"]


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "i4", "f4", "f8", "i8"])
def test_every_flavour_reads_what_was_written(tmp_path: Path, byteorder: Any, bigtiff: bool, dtype: str) -> None:
    movie = MOVIE.astype(dtype)
    tifffile.imwrite(
        tmp_path / "m.tif", movie.astype(movie.dtype.newbyteorder(byteorder)), bigtiff=bigtiff, byteorder=byteorder
    )
    found = roi.open(tmp_path / "m.tif")
    series = found.get_series()
    np.testing.assert_array_equal(series, movie)
    assert series.dtype.isnative
    assert series.flags.writeable
    np.testing.assert_array_equal(found[3:9, 2:7, 5:11], movie[3:9, 2:7, 5:11])
    np.testing.assert_array_equal(found.get_samples([7, 1, 1]), movie[[7, 1, 1]])


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", "zstd"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"rowsperstrip": 7}], ids=["one strip", "tiles", "strips"])
def test_compressed_pages_are_decoded(tmp_path: Path, compression: str, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "m.tif", MOVIE, compression=compression, **options)
    found = roi.open(tmp_path / "m.tif")
    np.testing.assert_array_equal(found.get_series(), MOVIE)
    np.testing.assert_array_equal(found[4, 3:9, 5:11], MOVIE[4, 3:9, 5:11])


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("options", [{"tile": (16, 16)}, {"rowsperstrip": 4}], ids=["tiles", "strips"])
def test_of_a_part_only_the_segments_that_it_lies_in_are_read(
    tmp_path: Path, compression: Any, options: dict[str, Any]
) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, MOVIE, compression=compression, **options)
    with tifffile.TiffFile(path) as file:
        last = file.pages[5].dataoffsets[-1], file.pages[5].databytecounts[-1]
    found = roi.open(path)
    parts = (slice(0, 12), slice(0, 14)), (slice(16, 20), slice(18, 30))
    for rows, columns in parts:
        np.testing.assert_array_equal(found[:, rows, columns], MOVIE[:, rows, columns])
    with path.open("r+b") as stream:
        stream.seek(last[0])
        stream.write(b"\xa5" * last[1])
    changed = roi.open(path)
    np.testing.assert_array_equal(changed[:, parts[0][0], parts[0][1]], MOVIE[:, parts[0][0], parts[0][1]])
    if compression is None:
        assert (changed[5, 16:, 18:] == 0xA5A5).all()
        return
    with pytest.raises(roi.CorruptRecordingError, match=r"page 5, segment \d at byte [\d,]+ cannot be decoded"):
        changed[:, 16:, 18:]


def test_a_part_of_each_frame_takes_no_memory_for_the_rest(tmp_path: Path) -> None:
    movie = np.zeros((400, 64, 512), np.uint16)
    movie[...] = np.arange(400)[:, None, None]
    tifffile.imwrite(tmp_path / "m.tif", movie)
    found = roi.open(tmp_path / "m.tif")
    tracemalloc.start()
    part = found[:, 8:40, 100:104]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(part, movie[:, 8:40, 100:104])
    assert peak - part.nbytes < (num_cores() + 1) << 20


def test_strips_and_tiles_without_compression_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", MOVIE, rowsperstrip=3)
    tifffile.imwrite(tmp_path / "t.tif", MOVIE, tile=(16, 16))
    for name in ("s.tif", "t.tif"):
        np.testing.assert_array_equal(roi.open(tmp_path / name).get_series(), MOVIE)


def test_an_imagej_hyperstack_has_its_axes(tmp_path: Path) -> None:
    stack = np.arange(3 * 4 * 2 * 5 * 6, dtype=np.uint16).reshape(3, 4, 2, 5, 6)
    facts = {"axes": "TZCYX", "finterval": 0.25, "unit": "um", "spacing": 3.0}
    tifffile.imwrite(tmp_path / "h.tif", stack, imagej=True, metadata=facts, resolution=(2.0, 4.0))
    with pytest.raises(
        roi.StreamChoiceError, match=r"has the channels '1' and '2'; choose one: open\(\.\.\., channel='1'\)"
    ):
        roi.open(tmp_path / "h.tif")
    assert roi.streams(tmp_path / "h.tif")["channel"] == ("1", "2")
    found = roi.open(tmp_path / "h.tif", channel="2")
    assert found.shape == (3, 5, 6, 4)
    np.testing.assert_array_equal(np.moveaxis(found.get_series(), 3, 1), stack[:, :, 1])
    np.testing.assert_array_equal(found[1, 2:4, :, 1:3], np.moveaxis(stack[1, 1:3, 1, 2:4], 0, -1))
    assert found.get_sampling_frequency() == 4.0
    assert found.metadata.plane_spacing == 3.0
    assert found.metadata.pixel_size == (0.25, 0.5)
    planar = roi.open(tmp_path / "h.tif", channel="1", plane=2)
    np.testing.assert_array_equal(planar.get_series(), stack[:, 2, 0])


def test_a_stack_labelled_with_slices_only_is_time_and_says_so(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "s.tif",
        MOVIE,
        imagej=False,
        description="ImageJ=1.53c\nimages=12\nslices=12\nloop=false\n",
        metadata=None,
    )
    found = roi.open(tmp_path / "s.tif")
    assert found.shape == (12, 20, 30)
    assert "read as time" in found.provenance.notes[0]
    assert roi.open(tmp_path / "s.tif", dimension_order="Z").shape == (1, 20, 30, 12)


def test_the_user_says_what_the_pages_are(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", MOVIE)
    found = roi.open(tmp_path / "m.tif", dimension_order="TZC", num_planes=3, num_channels=2, channel="2")
    assert found.shape == (2, 20, 30, 3)
    np.testing.assert_array_equal(found[1, :, :, 2], MOVIE[11])
    with pytest.warns(roi.IncompleteRecordingWarning, match="the last 2 of 12 pages"):
        assert len(roi.open(tmp_path / "m.tif", num_planes=5)) == 2
    with pytest.raises(roi.DeclarationError, match=r"12 pages.* divided into ZT"):
        roi.open(tmp_path / "m.tif", dimension_order="ZT", num_planes=5)


def test_files_of_one_recording_come_in_natural_order(tmp_path: Path) -> None:
    for k in range(12):
        tifffile.imwrite(tmp_path / f"Img_{k}.tif", MOVIE[k])
    np.testing.assert_array_equal(roi.open(tmp_path).get_series(), MOVIE)
    np.testing.assert_array_equal(
        roi.open([tmp_path / "Img_3.tif", tmp_path / "Img_1.tif"]).get_series(), MOVIE[[3, 1]]
    )
    tifffile.imwrite(tmp_path / "other.tif", MOVIE[0])
    with pytest.warns(roi.RoiExtractorsWarning, match=r"other\.tif has a name of a different kind and is left out"):
        np.testing.assert_array_equal(roi.open(tmp_path).get_series(), MOVIE)
    for k in range(3):
        tifffile.imwrite(tmp_path / f"other_{k}.tif", MOVIE[k])
    with pytest.raises(roi.SourceKindError, match=r"3 kinds of names.*pattern="):
        roi.open(tmp_path)


@pytest.fixture
def no_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where the chain of directories is followed."""

    def follow(self: Chain) -> Iterator[tuple[int, bytes]]:
        pytest.fail("the pages were walked")

    monkeypatch.setattr(Chain, "__iter__", follow)


@pytest.mark.usefixtures("no_walk")
def test_the_index_pickles_small_and_keeps_its_layout(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((5000, 4, 5), np.uint8), photometric="minisblack")
    index = PageIndex.of(tmp_path / "m.tif")
    assert index.num_pages == 5000
    assert len(pickle.dumps(index)) < 1000
    assert pickle.loads(pickle.dumps(index)).num_pages == 5000


def equidistant(
    path: Path,
    count: int,
    *,
    rows: int = 4,
    columns: int = 5,
    following: dict[int, int] | None = None,
    width: dict[int, int] | None = None,
) -> int:
    """Write BigTIFF pages as a microscope does, directory then pixels; returns the distance between pages."""
    tags, distance = 9, 8 + 20 * 9 + 8 + rows * columns * 2
    content = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16)
    for k in range(count):
        at = 16 + k * distance
        values = {
            256: (width or {}).get(k, columns),
            257: rows,
            258: 16,
            259: 1,
            262: 1,
            273: at + distance - rows * columns * 2,
            277: 1,
            278: rows,
            279: rows * columns * 2,
        }
        content += struct.pack("<Q", tags) + b"".join(
            struct.pack("<HHQQ", code, 16, 1, value) for code, value in values.items()
        )
        content += struct.pack("<Q", (following or {}).get(k, at + distance if k < count - 1 else 0))
        content += np.full(rows * columns, k, "<u2").tobytes()
    path.write_bytes(content)
    return distance


def test_a_chain_that_runs_in_a_circle_is_an_error(tmp_path: Path) -> None:
    distance = equidistant(tmp_path / "c.tif", 30)
    equidistant(tmp_path / "c.tif", 30, following={29: 16 + 5 * distance})
    with pytest.raises(roi.CorruptRecordingError, match=r"c\.tif: the chain of directories is circular"):
        roi.open(tmp_path / "c.tif")


def test_the_pages_before_a_pointer_outside_the_file_are_read_and_a_warning_names_page_and_offset(
    tmp_path: Path,
) -> None:
    equidistant(tmp_path / "p.tif", 30)
    expected = roi.open(tmp_path / "p.tif").get_series()[:11]
    equidistant(tmp_path / "p.tif", 30, following={10: 10**12})
    with pytest.warns(
        roi.IncompleteRecordingWarning, match=r"p\.tif .*page 11 .*1,000,000,000,000.* 11 complete pages"
    ) as seen:
        found = roi.open(tmp_path / "p.tif")
    assert np.array_equal(found.get_series(), expected)
    assert found.get_notes() == tuple(str(one.message) for one in seen)


def test_a_page_of_another_size_in_the_middle_names_page_and_offset(tmp_path: Path) -> None:
    distance = equidistant(tmp_path / "w.tif", 30, width={7: 3})
    with pytest.raises(
        roi.CorruptRecordingError,
        match=rf"w\.tif: page 7 \(directory at byte {16 + 7 * distance:,}\) has 4 rows of 3 columns",
    ):
        roi.open(tmp_path / "w.tif").get_series()


def test_a_file_cut_in_its_last_page_holds_the_whole_ones_and_says_so(tmp_path: Path) -> None:
    equidistant(tmp_path / "k.tif", 30)
    content = (tmp_path / "k.tif").read_bytes()
    (tmp_path / "k.tif").write_bytes(content[:-10])
    with pytest.warns(roi.IncompleteRecordingWarning, match="the 29 complete pages are read"):
        found = roi.open(tmp_path / "k.tif")
    np.testing.assert_array_equal(found.get_series()[:, 0, 0], np.arange(29))
    assert "29 complete pages" in found.provenance.notes[0]


@pytest.mark.filterwarnings("ignore::roiextractors_core.errors.IncompleteRecordingWarning")
@pytest.mark.parametrize("place", range(20))
@pytest.mark.parametrize("layout", ["equidistant", "tables behind", "compressed"])
def test_a_cut_file_is_an_error_or_fewer_pages_and_never_garbage(tmp_path: Path, place: int, layout: str) -> None:
    path = tmp_path / "t.tif"
    if layout == "equidistant":
        equidistant(path, 30)
        whole = np.arange(30, dtype=np.uint16)[:, None, None] + np.zeros((30, 4, 5), np.uint16)
    else:
        tifffile.imwrite(path, MOVIE, compression="zlib" if layout == "compressed" else None)
        whole = MOVIE
    content = path.read_bytes()
    path.write_bytes(content[: 1 + place * (len(content) - 2) // 19])
    try:
        series = roi.open(path, format="tiff").get_series()
    except roi.RoiExtractorsError as error:
        assert "t.tif" in str(error)  # noqa: PT017 - an error is one of two right outcomes
    else:
        np.testing.assert_array_equal(series, whole[: len(series)])


def test_a_claim_of_a_million_million_values_allocates_nothing(tmp_path: Path) -> None:
    equidistant(tmp_path / "m.tif", 3)
    content = bytearray((tmp_path / "m.tif").read_bytes())
    content[16 + 8 + 5 * 20 + 4 : 16 + 8 + 5 * 20 + 12] = struct.pack("<Q", 10**12)
    (tmp_path / "m.tif").write_bytes(content)
    with pytest.raises(roi.CorruptRecordingError, match=r"m\.tif: tag 273 of page 0 claims 1,000,000,000,000 values"):
        roi.open(tmp_path / "m.tif")


def test_a_row_of_a_thousand_million_pixels_is_refused(tmp_path: Path) -> None:
    equidistant(tmp_path / "r.tif", 3, width=dict.fromkeys(range(3), 10**9))
    with pytest.raises(roi.CorruptRecordingError, match=r"r\.tif: page 0 .* claims 4 rows of 1,000,000,000 columns"):
        roi.open(tmp_path / "r.tif")


def test_imagej_claims_more_images_than_the_file_holds(recordings: Path) -> None:
    with pytest.warns(roi.IncompleteRecordingWarning, match="claims 3,500 images but contains 1"):
        assert len(roi.open(recordings / "tiff" / "imagej_claims_3500_holds_1" / "0.tif")) == 1


@pytest.mark.parametrize("dtype", ["<c8", ">c8", "<c16", ">c16"])
def test_complex_pixels_are_read(tmp_path: Path, dtype: str) -> None:
    movie = (MOVIE[:3] + 1j * MOVIE[3:6]).astype(dtype)
    tifffile.imwrite(tmp_path / "c.tif", movie, byteorder=dtype[0], photometric="minisblack")
    found = np.asarray(roi.open(tmp_path / "c.tif"))
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(found, movie)


def test_opening_does_not_read_a_long_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roiextractors_tiff.pages.directory._MAX_VALUE", 1000)
    tifffile.imwrite(tmp_path / "long.tif", MOVIE[0], description="x" * 2000, metadata=None)
    index = PageIndex.of(tmp_path / "long.tif")
    assert index.num_pages == 1
    assert np.array_equal(index.read([0])[0], MOVIE[0])
    index.close()


def test_a_small_page_behind_equal_ones_is_no_cut_file(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "other.tif") as writer:
        for frame in (*MOVIE[:6], MOVIE[6][:5, :5]):
            writer.write(frame, contiguous=False, metadata=None)
    with pytest.raises(roi.CorruptRecordingError, match=r"page 6 .* has 5 rows of 5 columns"):
        PageIndex.of(tmp_path / "other.tif")


@pytest.mark.usefixtures("no_walk")
@pytest.mark.parametrize("extra", [0, 6])
def test_a_description_behind_all_pages_hides_no_regular_layout(tmp_path: Path, extra: int) -> None:
    text = b"<written when the number of pages was known>" * 100
    rows, columns = MOVIE.shape[1:]
    step = 2 + 9 * 12 + 4 + rows * columns * 2
    data = bytearray(struct.pack("<2sHI", b"II", 42, 8))
    end = 8 + step * len(MOVIE)
    for number, frame in enumerate(MOVIE):
        at = 8 + number * step
        entries = [(256, 4, 1, columns), (257, 4, 1, rows), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1)]
        entries += [
            (270, 2, len(text), end),
            (273, 4, 1, at + 2 + 9 * 12 + 4),
            (278, 4, 1, rows),
            (279, 4, 1, frame.nbytes),
        ]
        data += struct.pack("<H", 9) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
        data += struct.pack("<I", at + step if number < len(MOVIE) - 1 else 0) + frame.tobytes()
    (tmp_path / "m.tif").write_bytes(data + text + bytes(extra))
    index = PageIndex.of(tmp_path / "m.tif")
    assert (index.num_pages, index.notes) == (len(MOVIE), ())
    assert np.array_equal(index.read(slice(None)), MOVIE)
    index.close()

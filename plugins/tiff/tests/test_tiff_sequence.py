"""Sequences of TIFF files whose page counts are known: opened at need, checked at the first read, named when missing."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from roiextractors_tiff.pages import Directory, PageIndex
from roiextractors_tiff.pages.directory import TiffFile

import roiextractors_core as roi

FRAMES = np.random.default_rng(5).integers(0, 60000, (200, 24, 10)).astype(np.uint16)


def acquired(frame: np.ndarray, *, description: bytes = b"frame", strip_rows: int = 8, following: int = 0) -> bytes:
    """Return a file as an acquisition program writes one frame: pixels in strips, their tables, the directory, the text."""
    rows, columns = frame.shape
    data = frame.astype("<u2").tobytes()
    strips = -(-rows // strip_rows)
    step = strip_rows * columns * 2
    tables = 8 + len(data)
    directory = tables + 8 * strips
    tags = [
        (256, 4, 1, columns),
        (257, 4, 1, rows),
        (258, 3, 1, 16),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (270, 2, len(description) + 1, directory + 2 + 12 * 9 + 4),
        (273, 4, strips, tables if strips > 1 else 8),
        (278, 4, 1, strip_rows),
        (279, 4, strips, tables + 4 * strips if strips > 1 else len(data)),
    ]
    content = struct.pack("<2sHI", b"II", 42, directory) + data
    content += struct.pack(f"<{strips}I", *(8 + k * step for k in range(strips)))
    content += struct.pack(f"<{strips}I", *(min(step, len(data) - k * step) for k in range(strips)))
    content += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return content + struct.pack("<I", following) + description + b"\0"


@pytest.fixture
def sequence(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"s_{k:06d}.ome.tif" for k in range(len(FRAMES))]
    for k, path in enumerate(paths):
        path.write_bytes(acquired(FRAMES[k], description=b"master " * 9000 if k == 0 else b"<OME/>" * (k % 7)))
    return paths


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are parsed, in order."""
    seen: list[str] = []
    make = TiffFile.__init__

    def noted(self: Any, path: Any) -> None:
        seen.append(os.path.basename(path))
        make(self, path)

    monkeypatch.setattr(TiffFile, "__init__", noted)
    return seen


def ones(paths: list[Path]) -> list[int]:
    return [1] * len(paths)


def test_only_the_first_file_is_opened_and_the_others_are_read_by_its_pattern(
    sequence: list[Path], opened: list[str]
) -> None:
    index = PageIndex.of(sequence, pages_per_file=ones(sequence))
    assert opened == ["s_000000.ome.tif"]
    assert (index.num_pages, index.page_shape, index.dtype, index.absent) == (200, (24, 10), np.dtype("u2"), ())
    np.testing.assert_array_equal(index.read(slice(None)), FRAMES)
    assert opened == ["s_000000.ome.tif"]


def test_pages_come_in_any_order_and_rows_and_columns_are_cut(sequence: list[Path]) -> None:
    index = PageIndex.of(sequence, pages_per_file=np.array(ones(sequence)))
    np.testing.assert_array_equal(index.read([150, 3, 3, 199, 0]), FRAMES[[150, 3, 3, 199, 0]])
    np.testing.assert_array_equal(index.read([7]), FRAMES[7:8])
    np.testing.assert_array_equal(index.read(range(5, 90), slice(3, 17), slice(2, 9)), FRAMES[5:90, 3:17, 2:9])
    assert index.read([]).shape == (0, 24, 10)


def test_a_file_that_is_named_and_missing_is_said_when_it_is_read(sequence: list[Path]) -> None:
    sequence[17].unlink()
    index = PageIndex.of(sequence, pages_per_file=ones(sequence))
    np.testing.assert_array_equal(index.read(range(17)), FRAMES[:17])
    with pytest.raises(
        roi.SourceNotFoundError, match=r"s_000017\.ome\.tif does not exist: file 18 of the 200"
    ) as caught:
        index.read(range(10, 20))
    assert str(sequence[17]) in str(caught.value)


def test_one_listing_says_which_files_are_absent_without_a_look_at_each(
    sequence: list[Path], opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in (0, 1, 55):
        sequence[k].unlink()
    names = os.listdir(sequence[0].parent)
    with monkeypatch.context() as without:
        without.delattr(os, "stat")
        without.delattr(os, "listdir")
        index = PageIndex.of(sequence, pages_per_file=ones(sequence), names=names)
    assert index.absent == (0, 1, 55)
    assert opened == ["s_000002.ome.tif"]
    np.testing.assert_array_equal(index.read([2, 54, 56]), FRAMES[[2, 54, 56]])


def test_a_sequence_of_which_nothing_is_there_names_its_first_file(sequence: list[Path], tmp_path: Path) -> None:
    paths = [tmp_path / "gone" / path.name for path in sequence]
    with pytest.raises(roi.SourceNotFoundError, match=r"gone.s_000000\.ome\.tif does not exist"):
        PageIndex.of(paths, pages_per_file=ones(paths), names=[])


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (acquired(FRAMES[0, :16]), roi.CorruptRecordingError, r"page 0 .* has 16 rows of 10 columns"),
        (acquired(FRAMES[0]).replace(b"II", b"MM", 1), roi.CorruptRecordingError, "is not TIFF"),
        (
            acquired(FRAMES[0])[:300],
            roi.CorruptRecordingError,
            r"page 0 should be at byte 512, outside the file of 300",
        ),
        (acquired(FRAMES[0])[:540], roi.TruncatedRecordingError, "inside the directory of page 0"),
        (b"", roi.CorruptRecordingError, "is not TIFF: its first bytes are none"),
    ],
    ids=["other shape", "other bytes", "cut in the pixels", "cut in the directory", "empty"],
)
@pytest.mark.parametrize("how", [slice(None), [60], range(50, 70)], ids=["all", "one", "some"])
def test_a_file_that_differs_is_an_error_at_its_first_read_and_the_others_read(
    sequence: list[Path], content: bytes, error: type[Exception], words: str, how: Any
) -> None:
    sequence[60].write_bytes(content)
    index = PageIndex.of(sequence, pages_per_file=ones(sequence))
    with pytest.raises(error, match=rf"s_000060\.ome\.tif.*{words}"):
        index.read(how)
    np.testing.assert_array_equal(index.read(range(61, 200)), FRAMES[61:])


def test_a_directory_that_is_not_as_the_siblings_is_parsed_and_not_trusted(
    sequence: list[Path], opened: list[str]
) -> None:
    sequence[30].write_bytes(acquired(FRAMES[30], strip_rows=24))
    tifffile.imwrite(sequence[31], FRAMES[31])
    swapped = bytearray(acquired(FRAMES[32]))
    tables = 8 + FRAMES[32].nbytes
    swapped[tables : tables + 8] = swapped[tables + 4 : tables + 8] + swapped[tables : tables + 4]
    sequence[32].write_bytes(swapped)
    index = PageIndex.of(sequence, pages_per_file=ones(sequence))
    found = index.read(slice(None))
    np.testing.assert_array_equal(np.delete(found, 32, 0), np.delete(FRAMES, 32, 0))
    np.testing.assert_array_equal(found[32], FRAMES[32][[*range(8, 16), *range(8), *range(16, 24)]])
    assert set(opened) >= {f"s_{k:06d}.ome.tif" for k in (0, 30, 31, 32)}
    assert len(opened) < 7


@pytest.mark.parametrize("cut", [1, 3, 4])
def test_a_file_cut_in_the_last_bytes_of_its_directory_is_no_model_of_the_others(
    sequence: list[Path], cut: int
) -> None:
    for number in (0, 60):
        sequence[number].write_bytes(acquired(FRAMES[number]))
        os.truncate(sequence[number], Directory.of(sequence[number]).end - cut)
    index = PageIndex.of(sequence, pages_per_file=ones(sequence))
    np.testing.assert_array_equal(index.read(slice(None)), FRAMES)


def test_files_that_each_lie_otherwise_all_read(tmp_path: Path) -> None:
    paths = [tmp_path / f"v_{k:03d}.tif" for k in range(100)]
    for k, path in enumerate(paths):
        tifffile.imwrite(path, FRAMES[k], description="x" * (13 * k % 97), compression="zlib" if k % 2 else None)
    with pytest.raises(roi.CorruptRecordingError, match=r"v_001\.tif: page 0 .* compression 8"):
        PageIndex.of(paths, pages_per_file=ones(paths)).read(slice(None))
    index = PageIndex.of(paths[::2], pages_per_file=ones(paths[::2]))
    np.testing.assert_array_equal(index.read(slice(None)), FRAMES[:100:2])
    index = PageIndex.of(paths[1::2], pages_per_file=ones(paths[1::2]))
    np.testing.assert_array_equal(index.read(slice(None)), FRAMES[1:100:2])


def test_files_of_several_pages_and_of_one_make_one_sequence(tmp_path: Path, opened: list[str]) -> None:
    counts = [1, 1, 5, 1, 12, 1, 1, 3]
    paths, first = [], 0
    for k, count in enumerate(counts):
        paths.append(tmp_path / f"m_{k}.tif")
        tifffile.imwrite(paths[-1], FRAMES[first : first + count], photometric="minisblack")
        first += count
    index = PageIndex.of(paths, pages_per_file=counts)
    assert opened == ["m_0.tif"]
    assert index.pages_per_file == tuple(counts)
    np.testing.assert_array_equal(index.read(slice(None)), FRAMES[:25])
    np.testing.assert_array_equal(index.read([24, 8, 1, 8, 23], slice(4, 9)), FRAMES[[24, 8, 1, 8, 23], 4:9])
    assert index.tags(9)[256] == 10


@pytest.mark.parametrize(
    ("promised", "error", "words"),
    [
        (
            6,
            roi.TruncatedRecordingError,
            r"m_1\.tif: page 5 is missing: expected 6 pages, but the file of .* contains 5",
        ),
        (
            4,
            roi.CorruptRecordingError,
            r"m_1\.tif: page 4 is one too many: expected 4 pages, but the file contains 5",
        ),
        (
            1,
            roi.CorruptRecordingError,
            r"m_1\.tif: page 1 is one too many: expected 1 page, but the file contains 5",
        ),
    ],
)
def test_a_file_of_another_number_of_pages_than_promised_names_the_page(
    tmp_path: Path, promised: int, error: type[Exception], words: str
) -> None:
    paths = [tmp_path / "m_0.tif", tmp_path / "m_1.tif"]
    tifffile.imwrite(paths[0], FRAMES[0])
    tifffile.imwrite(paths[1], FRAMES[1:6], photometric="minisblack")
    index = PageIndex.of(paths, pages_per_file=[1, promised])
    np.testing.assert_array_equal(index.read([0]), FRAMES[:1])
    with pytest.raises(error, match=words):
        index.read([1])


@pytest.mark.parametrize("counts", [[1], [1, 0], [1, -2], [1.0, 1.0], [[1, 1]]])
def test_counts_that_cannot_be_are_refused(tmp_path: Path, counts: Any) -> None:
    with pytest.raises(roi.DeclarationError, match="pages_per_file must be 2 whole numbers of 1 or more"):
        PageIndex.of([tmp_path / "a.tif", tmp_path / "b.tif"], pages_per_file=counts)


def test_a_span_and_counts_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(roi.DeclarationError, match="span and pages_per_file"):
        PageIndex.of(tmp_path / "a.tif", pages_per_file=[1], span=(0, 1))


def test_a_sequence_pickles_small_and_knows_what_is_absent(sequence: list[Path], opened: list[str]) -> None:
    sequence[3].unlink()
    names = os.listdir(sequence[0].parent)
    index = PageIndex.of(sequence, pages_per_file=ones(sequence), names=names)
    content = pickle.dumps(index)
    assert len(content) < 2000
    again = pickle.loads(content)
    assert again.absent == (3,)
    assert list(again.paths) == list(index.paths)
    np.testing.assert_array_equal(again.read(range(4, 200)), FRAMES[4:])
    assert opened == ["s_000000.ome.tif"] * 2


def test_names_in_a_folder_are_paths(sequence: list[Path]) -> None:
    folder, names = sequence[0].parent, [path.name for path in sequence]
    index = PageIndex.of(names, pages_per_file=ones(sequence), folder=folder)
    assert list(index.paths) == [str(path) for path in sequence]
    assert index.paths[3:5] == [str(path) for path in sequence[3:5]]
    np.testing.assert_array_equal(index.read(slice(None)), FRAMES)
    assert list(pickle.loads(pickle.dumps(index)).paths) == [str(path) for path in sequence]
    assert PageIndex.of(names[:2], folder=folder).num_pages == 2


def test_few_files_are_remembered(tmp_path: Path) -> None:
    paths = [tmp_path / f"c_{k:03d}.tif" for k in range(150)]
    for path, frame in zip(paths, FRAMES, strict=False):
        tifffile.imwrite(path, frame, compression="zlib")
    index = PageIndex.of(paths, pages_per_file=ones(paths))
    np.testing.assert_array_equal(index.read(slice(None)), FRAMES[:150])
    assert len(index._files._known) <= 64
    index.close()
    assert len(index._files._known) == 0


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_part_of_each_file_is_the_part_of_its_frame(tmp_path: Path, order: Any) -> None:
    paths = [tmp_path / f"p_{k:03d}.tif" for k in range(40)]
    for path, frame in zip(paths, FRAMES, strict=False):
        several = {"rowsperstrip": 8, "compression": "zlib"} if path.stem == "p_017" else {}
        tifffile.imwrite(path, frame, byteorder=order, **several)
    with pytest.raises(roi.CorruptRecordingError, match=r"p_017\.tif: page 0 .* compression 8"):
        PageIndex.of(paths, pages_per_file=ones(paths)).read(slice(None), slice(3, 9), slice(5, 20))
    index = PageIndex.of(paths[:17], pages_per_file=ones(paths[:17]))
    chosen = np.array([16, 3, 3, 0])
    np.testing.assert_array_equal(index.read(chosen, slice(3, 9), slice(5, 20)), FRAMES[chosen, 3:9, 5:20])
    np.testing.assert_array_equal(index.read(slice(None), slice(None), slice(5, 20)), FRAMES[:17, :, 5:20])
    assert index.read(chosen, slice(4, 4)).shape == (4, 0, FRAMES.shape[2])


def test_threads_read_one_sequence_together(sequence: list[Path]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    index = PageIndex.of(sequence, pages_per_file=ones(sequence))
    reads: list[Callable[[], np.ndarray]] = [lambda k=k: index.read(range(k, 200, 7)) for k in range(7)]
    with ThreadPoolExecutor(4) as pool:
        for k, found in enumerate(pool.map(lambda read: read(), reads)):
            np.testing.assert_array_equal(found, FRAMES[k::7])

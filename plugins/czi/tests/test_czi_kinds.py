"""CZI files that are not tidy: planes by their coordinates, times by their source, and what is said of the rest."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from roiextractors_czi.compressed import decompress

import roiextractors_core as roi

Blocks = list[tuple[dict[str, int], np.ndarray]]
Place = Mapping[str, int]
_GUID = bytes(range(16))


def write_zisraw(
    path: Path,
    blocks: Sequence[tuple[Place, np.ndarray]],
    *,
    xml: str = "",
    stamps: Sequence[float] | None = None,
    acquired: Sequence[str] = (),
    reduced: Sequence[tuple[Place, np.ndarray]] = (),
    shift: Sequence[tuple[int, int]] = (),
    pack: Callable[[np.ndarray], bytes] | None = None,
) -> Path:
    """Write subblocks of one size in pixels, with a time (ISO 8601) each and the attachment ``TimeStamps`` where given.

    ``reduced`` are subblocks of half the resolution, and ``shift`` is where each block starts along X and Y.  ``pack`` compresses
    frames as JPEG XR.
    """
    content = bytearray(_segment(b"ZISRAWFILE", bytes(512)))
    entries = []
    both = [(axes, pixels, 1) for axes, pixels in blocks] + [(axes, pixels, 2) for axes, pixels in reduced]
    for number, (axes, pixels, factor) in enumerate(both):
        offset = shift[number] if number < len(shift) else (0, 0)
        entries.append(_entry(len(content), axes, pixels, factor, offset, 0 if pack is None else 4))
        data = pixels.tobytes() if pack is None else pack(pixels)
        time = acquired[number] if number < len(acquired) else ""
        words = (
            f"<METADATA><Tags><AcquisitionTime>{time}</AcquisitionTime></Tags></METADATA>" if time else "<METADATA/>"
        )
        head = struct.pack("<iiq", len(words), 0, len(data)) + entries[-1]
        content += _segment(b"ZISRAWSUBBLOCK", head.ljust(256, b"\0") + words.encode() + data)
    metadata = len(content)
    text = (xml or describe({})).encode()
    content += _segment(b"ZISRAWMETADATA", struct.pack("<ii", len(text), 0).ljust(256, b"\0") + text)
    directory = len(content)
    content += _segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", len(entries)) + b"".join(entries))
    attached = 0
    if stamps is not None:
        data = struct.pack("<ii", 8 + 8 * len(stamps), len(stamps)) + struct.pack(f"<{len(stamps)}d", *stamps)
        one = struct.pack("<2s10xqi16s8s80s", b"A1", len(content), 0, _GUID, b"CZTIMS", b"TimeStamps")
        content += _segment(b"ZISRAWATTACH", struct.pack("<i12x", len(data)) + one + bytes(112) + data)
        attached = len(content)
        content += _segment(b"ZISRAWATTDIR", struct.pack("<i252x", 1) + one)
    file_header = struct.pack("<ii8x16s16siqqiq", 1, 0, _GUID, _GUID, 0, directory, metadata, 0, attached)
    content[32 : 32 + len(file_header)] = file_header
    path.write_bytes(content)
    return path


def describe(
    sizes: Mapping[str, int], *, image: str = "", dimensions: str = "", rest: str = "", scaling: str = ""
) -> str:
    """Return the metadata of a file: the sizes of its axes and more elements of ``Image`` and ``Dimensions``."""
    counts = "".join(f"<Size{axis}>{count}</Size{axis}>" for axis, count in sizes.items())
    return (
        f"<ImageDocument><Metadata><Information><Image>{counts}{image}<Dimensions>{dimensions}</Dimensions></Image>"
        f"{rest}</Information><Scaling>{scaling}</Scaling></Metadata></ImageDocument>"
    )


def _segment(name: bytes, content: bytes) -> bytes:
    room = -len(content) % 32
    return struct.pack("<16sqq", name, len(content) + room, len(content)) + content + bytes(room)


def _entry(position: int, axes: Place, pixels: np.ndarray, factor: int, shift: tuple[int, int], packing: int) -> bytes:
    rows, columns = pixels.shape[:2]
    kind = {1: 0, 2: 1}[pixels.itemsize] if pixels.ndim == 2 else 3
    extent = {"X": (shift[0], columns), "Y": (shift[1], rows)}
    words = b"".join(
        struct.pack("<4siifi", axis.encode(), start, size * factor, 0.0, size) for axis, (start, size) in extent.items()
    )
    words += b"".join(struct.pack("<4siifi", axis.encode(), start, 1, 0.0, 1) for axis, start in axes.items())
    pyramid = 2 if factor > 1 else 0
    return struct.pack("<2siqiiB5xi", b"DV", kind, position, 0, packing, pyramid, len(axes) + 2) + words


def blocks(**axes: Any) -> Blocks:
    """Return a subblock for every combination of the values of axes; its pixels say which one it is."""
    ranges = [range(values) if isinstance(values, int) else values for values in axes.values()]
    return [
        (place, number_of(place)) for place in (dict(zip(axes, v, strict=True)) for v in itertools.product(*ranges))
    ]


def number_of(place: dict[str, int]) -> np.ndarray:
    digits = {"T": 1, "Z": 100, "C": 1000}
    value = sum(digits.get(axis, 10_000) * number for axis, number in place.items())
    return np.full((8, 10), value, np.uint16)


def values(recording: Any) -> list[Any]:
    first: list[Any] = recording.get_series()[:, 0, 0].tolist()
    return first


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    return lambda *args, **kwargs: write_zisraw(tmp_path / "a.czi", *args, **kwargs)


# Planes


def test_a_czi_that_begins_at_a_later_time_point_is_read(write: Callable[..., Path]) -> None:
    with roi.open(write(blocks(C=1, T=range(7, 11)))) as recording:
        assert values(recording) == [7, 8, 9, 10]
        assert recording.get_notes() == ()


def test_planes_and_channels_that_begin_at_a_later_number_are_read(write: Callable[..., Path]) -> None:
    path = write(blocks(C=range(1, 3), T=2, Z=range(2, 5)))
    assert roi.streams(path) == {"channel": ("2", "3")}
    with roi.open(path, channel="3") as recording:
        assert recording.shape == (2, 8, 10, 3)
        assert values(recording) == [[2200, 2300, 2400], [2201, 2301, 2401]]


def test_subblocks_in_any_order_are_placed_by_their_coordinates(write: Callable[..., Path]) -> None:
    with roi.open(write(blocks(T=4, Z=2)[::-1])) as recording:
        assert values(recording) == [[0, 100], [1, 101], [2, 102], [3, 103]]


def test_a_lost_frame_of_a_czi_is_a_gap_in_the_times(write: Callable[..., Path]) -> None:
    path = write([b for b in blocks(T=5) if b[0]["T"] != 2], stamps=[10.0, 10.5, 11.0, 11.5, 12.0])
    with pytest.warns(roi.IncompleteRecordingWarning, match=r"4 of 5 samples are complete.*sample 2 is left out"):
        recording = roi.open(path)
    assert values(recording) == [0, 1, 3, 4]
    assert recording.get_native_timestamps().tolist() == [0.0, 0.5, 1.5, 2.0]
    assert recording.get_sampling_frequency() == 2.0
    assert recording.get_missing_samples().tolist() == [2]
    assert recording.get_series(2, 4)[:, 0, 0].tolist() == [3, 4]
    assert "4 of 5 samples" in recording.get_notes()[0]


def test_a_lost_frame_without_times_keeps_its_place_on_the_grid(write: Callable[..., Path]) -> None:
    path = write([b for b in blocks(T=4) if b[0]["T"] != 1])
    with pytest.warns(roi.IncompleteRecordingWarning, match="3 of 4 samples"):
        recording = roi.open(path, sampling_frequency=4.0)
    assert recording.get_timestamps().tolist() == [0.0, 0.5, 0.75]


def test_a_volume_without_one_of_its_planes_is_left_out(write: Callable[..., Path]) -> None:
    path = write([b for b in blocks(T=3, C=2, Z=3) if b[0] != {"T": 1, "C": 1, "Z": 2}])
    with roi.open(path, channel="1") as whole:
        assert values(whole) == [[0, 100, 200], [1, 101, 201], [2, 102, 202]]
    with pytest.warns(roi.IncompleteRecordingWarning, match="2 of 3 samples.*1 plane is not in the file"):
        recording = roi.open(path, channel="2")
    assert values(recording) == [[1000, 1100, 1200], [1002, 1102, 1202]]
    assert recording.get_missing_samples().tolist() == [1]


def test_a_czi_that_states_more_samples_than_it_contains_was_aborted(write: Callable[..., Path]) -> None:
    path = write(blocks(T=4), xml=describe({"T": 9}), stamps=[0.0, 1.0, 2.0, 3.0])
    with pytest.warns(roi.IncompleteRecordingWarning, match="4 of 9 samples"):
        recording = roi.open(path)
    assert values(recording) == [0, 1, 2, 3]
    assert recording.get_missing_samples().tolist() == [4, 5, 6, 7, 8]
    assert recording.get_native_timestamps().tolist() == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("axis", "option"),
    [("H", "phase"), ("I", "illumination"), ("V", "view"), ("R", "rotation"), ("B", "block"), ("M", "tile")],
)
def test_other_axes_of_a_czi_are_streams(write: Callable[..., Path], axis: str, option: str) -> None:
    path = write(blocks(T=3, **{axis: 2}))
    assert roi.streams(path) == {option: ("0", "1")}
    with pytest.raises(roi.StreamChoiceError, match=rf"choose one: open\(\.\.\., {option}='0'\)"):
        roi.open(path)
    with roi.open(path, **{option: 1}) as recording:
        assert values(recording) == [10_000, 10_001, 10_002]


def test_a_second_scene_of_a_czi_is_never_mixed_into_the_first(write: Callable[..., Path]) -> None:
    scenes = "<S><Scenes><Scene Index='0' Name='A1'/><Scene Index='1' Name='B2'/></Scenes></S>"
    path = write(blocks(S=2, T=3), xml=describe({"T": 3, "S": 2}, dimensions=scenes))
    assert len(roi.streams(path)["scene"]) == 2
    with roi.open(path, scene=1) as recording:
        assert values(recording) == [10_000, 10_001, 10_002]


def test_tiles_without_a_number_are_refused(write: Callable[..., Path]) -> None:
    path = write([*blocks(T=2), *blocks(T=2)], shift=[(0, 0), (0, 0), (10, 0), (10, 0)])
    with pytest.raises(
        roi.UnsupportedRecordingError, match=r"2 tiles without a tile number.*split the tiles into scenes"
    ):
        roi.open(path)


def test_a_plane_that_is_there_twice_is_said(write: Callable[..., Path]) -> None:
    again = ({"T": 1}, np.full((8, 10), 77, np.uint16))
    with pytest.warns(roi.RoiExtractorsWarning, match="1 plane more than once; the first of each is read"):
        recording = roi.open(write([*blocks(T=3), again]))
    assert values(recording) == [0, 1, 2]


def test_levels_of_a_pyramid_are_not_samples(write: Callable[..., Path]) -> None:
    small = [({"T": t}, np.full((4, 5), 99, np.uint16)) for t in range(5)]
    with roi.open(write(blocks(T=3), reduced=small)) as recording:
        assert values(recording) == [0, 1, 2]
        assert recording.get_notes() == ()


def test_a_frame_of_another_size_is_left_out(write: Callable[..., Path]) -> None:
    path = write([*blocks(T=3), ({"T": 3}, np.zeros((4, 4), np.uint16))])
    with pytest.warns(roi.IncompleteRecordingWarning, match="3 of 4 samples.*another size"):
        recording = roi.open(path)
    assert values(recording) == [0, 1, 2]


def test_zeroed_subblocks_are_left_out(write: Callable[..., Path]) -> None:
    path = write(blocks(T=4))
    content = bytearray(path.read_bytes())
    last = content.rindex(b"ZISRAWSUBBLOCK")
    content[last : last + 100] = bytes(100)
    path.write_bytes(content)
    with pytest.warns(roi.IncompleteRecordingWarning, match="3 of 4 samples.*1 subblock is damaged"):
        recording = roi.open(path)
    assert values(recording) == [0, 1, 2]
    assert recording.get_missing_samples().tolist() == [3]


@pytest.mark.parametrize("how", ["cut", "zeros", "inside"])
def test_a_czi_that_lost_its_directory_gives_its_whole_samples(write: Callable[..., Path], how: str) -> None:
    path = write(blocks(T=4, Z=2), acquired=[f"2020-03-04T05:06:0{t}.5Z" for t in range(4) for _ in range(2)])
    content = bytearray(path.read_bytes())
    last = content.rindex(b"ZISRAWSUBBLOCK")
    end = {"cut": content.index(b"ZISRAWMETADATA"), "zeros": last, "inside": last + 100}[how]
    path.write_bytes(content[:end] + (bytes(len(content) - end) if how == "zeros" else b""))
    whole = 4 if how == "cut" else 3
    with pytest.warns(roi.IncompleteRecordingWarning, match=r"a\.czi"):
        recording = roi.open(path)
    assert values(recording) == [[0, 100], [1, 101], [2, 102], [3, 103]][:whole]
    assert recording.get_native_timestamps().tolist() == [0.0, 1.0, 2.0, 3.0][:whole]
    assert recording.get_missing_samples().tolist() == list(range(whole, 4))
    assert f"; {7 + (how == 'cut')} complete planes were found before the damage" in recording.get_notes()[0]


def test_colour_pixels_are_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match="colour samples"):
        roi.open(write([({"T": t}, np.zeros((8, 10, 3), np.uint8)) for t in range(2)]))


def test_compressed_subblocks_are_read_by_coordinates(tmp_path: Path) -> None:
    pyczi = pytest.importorskip("pylibCZIrw.czi")
    data = np.random.default_rng(3).integers(0, 4000, (4, 16, 20)).astype(np.uint16)
    with pyczi.create_czi(str(tmp_path / "z.czi"), compression_options="zstd1:ExplicitLevel=2") as document:
        for t in (5, 6, 8):
            document.write(data=data[t - 5][..., np.newaxis], plane={"T": t, "Z": 0, "C": 0})
        document.write_metadata("made")
    with pytest.warns(roi.IncompleteRecordingWarning, match="3 of 4 samples"):
        recording = roi.open(tmp_path / "z.czi")
    np.testing.assert_array_equal(recording.get_series(), data[[0, 1, 3]])


@pytest.mark.parametrize("compression", ["zstd1:ExplicitLevel=2", "zstd0:ExplicitLevel=3"])
def test_a_compressed_czi_that_lost_its_directory_gives_its_whole_samples(tmp_path: Path, compression: str) -> None:
    pyczi = pytest.importorskip("pylibCZIrw.czi")
    data = np.random.default_rng(3).integers(0, 4000, (4, 16, 20)).astype(np.uint16)
    path = tmp_path / "z.czi"
    with pyczi.create_czi(str(path), compression_options=compression) as document:
        for t in range(4):
            document.write(data=data[t][..., np.newaxis], plane={"T": t, "Z": 0, "C": 0})
        document.write_metadata("made")
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"ZISRAWSUBBLOCK") + 100])  # within the last sample
    with pytest.warns(roi.IncompleteRecordingWarning, match=r"z\.czi.*3 complete planes"):
        recording = roi.open(path)
    np.testing.assert_array_equal(recording.get_series(), data[:3])
    np.testing.assert_array_equal(recording[1, 2:5, 3:9], data[1, 2:5, 3:9])


@pytest.mark.parametrize("compression", ["zstd1:ExplicitLevel=2;PreProcess=HiLoByteUnpack", "zstd1:ExplicitLevel=2"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_compressed_frames_are_what_zeiss_own_library_reads(tmp_path: Path, compression: str, dtype: Any) -> None:
    pyczi = pytest.importorskip("pylibCZIrw.czi")
    data = np.random.default_rng(4).integers(0, 250, (3, 2, 40, 52)).astype(dtype) * (1 if dtype is np.uint8 else 200)
    path = tmp_path / "z.czi"
    with pyczi.create_czi(str(path), compression_options=compression) as document:
        for t, z in np.ndindex(3, 2):
            document.write(data=data[t, z][..., np.newaxis], plane={"T": t, "Z": z, "C": 0})
        document.write_metadata("made")
    with pyczi.open_czi(str(path)) as document:
        right = [[document.read(plane={"T": t, "C": 0, "Z": z})[..., 0] for z in range(2)] for t in range(3)]
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), np.moveaxis(np.array(right), 1, 3))
        np.testing.assert_array_equal(
            recording[[2, 0], 3:9, 7:, 1:], np.moveaxis(np.array(right), 1, 3)[[2, 0], 3:9, 7:, 1:]
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_frames_of_jpeg_xr_are_what_zeiss_own_library_reads(write: Callable[..., Path], dtype: Any) -> None:
    pyczi = pytest.importorskip("pylibCZIrw.czi")
    pixels = np.random.default_rng(4).integers(0, 250, (3, 48, 64)).astype(dtype)
    path = write([({"C": 0, "T": t}, pixels[t]) for t in range(3)], pack=lambda a: bytes(imagecodecs.jpegxr_encode(a)))
    with pyczi.open_czi(str(path)) as document:
        right = np.array([document.read(plane={"T": t, "C": 0})[..., 0] for t in range(3)])
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), right)
    np.testing.assert_array_equal(right, pixels)  # without loss


@pytest.mark.parametrize(
    ("data", "packing", "error", "words"),
    [
        (b"", 6, roi.CorruptRecordingError, "expected one of Zstd1"),
        (b"\x01not zstd", 6, roi.CorruptRecordingError, "cannot be read by imagecodecs"),
        (imagecodecs.zstd_encode(bytes(10)), 5, roi.CorruptRecordingError, "expected uint16 of"),
        (imagecodecs.zstd_encode(bytes(1 << 20)), 5, roi.CorruptRecordingError, "cannot be read by imagecodecs"),
        (b"II\xbc\x01" + bytes(40), 4, roi.CorruptRecordingError, r"JPEG XR states .* \(\), expected \(8, 10, 0, 2\)"),
        (
            imagecodecs.jpegxr_encode(np.zeros((9, 9), np.uint16)),
            4,
            roi.CorruptRecordingError,
            r"states .* \(9, 9, 0, 2\)",
        ),
        (
            imagecodecs.jpegxr_encode(np.zeros((8, 10), np.uint8)),
            4,
            roi.CorruptRecordingError,
            r"states .* \(8, 10, 0, 1\)",
        ),
        (b"x", 2, roi.UnsupportedRecordingError, "the compression LZW; save it"),
        (b"x", 77, roi.UnsupportedRecordingError, "the compression number 77"),
    ],
)
def test_frames_that_do_not_decompress_are_refused(data: bytes, packing: int, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        decompress(data, packing, shape=(8, 10), dtype=np.dtype("<u2"), name="a.czi")


@pytest.mark.parametrize(("at", "value"), [(11, 0x32), (11, 0x0E), (16, 0xA2), (16, 0x0F), (9, 0x80), (10, 0xA0)])
def test_a_header_of_jpeg_xr_that_would_end_the_process_is_refused(at: int, value: int) -> None:
    data = bytearray(imagecodecs.jpegxr_encode(np.zeros((48, 64), np.uint16)))
    data[data.index(b"WMPHOTO") + at] = value
    code = (
        "import sys, numpy; from roiextractors_czi.compressed import decompress\n"
        "try: decompress(sys.stdin.buffer.read(), 4, shape=(48, 64), dtype=numpy.dtype('<u2'), name='a')\n"
        "except Exception as error: print(type(error).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=bytes(data), capture_output=True, check=True)
    assert done.stdout.strip() in (b"CorruptRecordingError", b"")


def test_compressed_frames_without_imagecodecs_are_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(roi.MissingDependencyError, match=r"a\.czi, .*, needs imagecodecs, .* pip install imagecodecs"):
        decompress(b"", 5, shape=(8, 10), dtype=np.dtype("<u2"), name="a.czi")


# Times


def times_of(path: Path) -> tuple[Any, float | None, Any, tuple[str, ...]]:
    with roi.open(path) as recording:
        times = recording.get_native_timestamps()
        return (
            None if times is None else np.round(times, 9).tolist(),
            recording.get_sampling_frequency(),
            recording.metadata.start_time,
            recording.get_notes(),
        )


def test_times_of_subblocks_come_before_time_stamps(write: Callable[..., Path]) -> None:
    acquired = [f"2020-03-04T05:06:0{k}.2500001Z" for k in range(3)]
    times, rate, start, _ = times_of(write(blocks(T=3), acquired=acquired, stamps=[0.0, 9.0, 18.0]))
    assert (times, rate) == ([0.0, 1.0, 2.0], 1.0)
    assert start == datetime(2020, 3, 4, 5, 6, 0, 250000, UTC)


def test_times_of_subblocks_that_run_backwards_are_warned_about_when_they_are_read(write: Callable[..., Path]) -> None:
    acquired = [f"2020-03-04T05:06:0{k}.0000000Z" for k in (0, 3, 1, 5)]
    with pytest.warns(roi.RoiExtractorsWarning, match="do not increase at 1 place, the first after sample 1"):
        times, _, _, notes = times_of(write(blocks(T=4), acquired=acquired))
    assert times == [0.0, 3.0, 1.0, 5.0]
    assert "do not increase" in notes[-1]


@pytest.mark.parametrize("text", ["2020-03-04T05:06:07Z", "1970-01-01T00:00:01Z"])
def test_times_of_subblocks_that_stand_still_fall_back_with_a_note(write: Callable[..., Path], text: str) -> None:
    path = write(blocks(T=3), acquired=[text] * 3, stamps=[5.0, 5.5, 6.0])
    times, rate, _, notes = times_of(path)
    assert (times, rate) == ([0.0, 0.5, 1.0], 2.0)
    assert text.startswith("1970") or "do not increase" in notes[0]


@pytest.mark.parametrize("stamps", [[0.0, 0.0, 0.0], [3.0, 3.0, 3.0], [2.0, 1.0, 0.0]])
def test_time_stamps_that_do_not_increase_fall_back_to_positions(
    write: Callable[..., Path], stamps: list[float]
) -> None:
    steps = (
        "<T><Positions><Interval><StartPosition>0</StartPosition><Increment>0.25</Increment></Interval></Positions></T>"
    )
    path = write(blocks(T=3), stamps=stamps, xml=describe({"T": 3}, dimensions=steps))
    times, rate, _, notes = times_of(path)
    assert (times, rate) == (None, 4.0)
    assert "the times in TimeStamps do not increase" in notes[0]


def test_time_stamps_of_another_length_raise_a_warning_and_are_not_used(write: Callable[..., Path]) -> None:
    path = write(blocks(T=4), stamps=[0.0, 1.0])
    with pytest.warns(roi.RoiExtractorsWarning, match="TimeStamps contains 2 times for 4 samples"):
        recording = roi.open(path)
    assert recording.get_native_timestamps() is None
    assert "2 times for 4 samples" in recording.get_notes()[0]


def test_a_part_of_a_czi_has_the_times_of_its_own_samples(write: Callable[..., Path]) -> None:
    start = "<T><StartTime>2020-03-04T05:06:07.5000000Z</StartTime></T>"
    stamps = [100.0, 101.0, 102.0, 104.0, 108.0]
    path = write(blocks(T=range(2, 5)), stamps=stamps, xml=describe({"T": 3}, dimensions=start))
    times, rate, began, notes = times_of(path)
    assert (times, rate, notes) == ([0.0, 2.0, 6.0], None, ())
    assert began == datetime(2020, 3, 4, 5, 6, 9, 500000, UTC)


def test_offsets_of_the_positions_along_t_are_times(write: Callable[..., Path]) -> None:
    where = (
        "<T><StartTime>2020-03-04T05:06:07.1234567+01:00</StartTime>"
        "<Positions><List><Offsets>0 0.5 1 1.5</Offsets></List></Positions></T>"
    )
    times, rate, start, _ = times_of(write(blocks(T=4), xml=describe({"T": 4}, dimensions=where)))
    assert (times, rate) == ([0.0, 0.5, 1.0, 1.5], 2.0)
    assert start == datetime.fromisoformat("2020-03-04T05:06:07.123456+01:00")


@pytest.mark.parametrize(
    ("series", "acquisition", "expected"),
    [
        ("0001-01-01T01:34:17.49", "2016-02-12T09:41:02.4915604Z", "2016-02-12T09:41:02.491560+00:00"),
        ("1970-01-01T00:00:07Z", "", None),
        ("", "1970-01-01T00:00:00Z", None),
        ("", "2016-02-12T09:41:02.5", "2016-02-12T09:41:02.500000"),
    ],
)
def test_a_start_that_counts_from_nothing_is_not_a_start(
    write: Callable[..., Path], series: str, acquisition: str, expected: str | None
) -> None:
    xml = describe(
        {"T": 2},
        image=f"<AcquisitionDateAndTime>{acquisition}</AcquisitionDateAndTime>",
        dimensions=f"<T><StartTime>{series}</StartTime></T>",
    )
    start = times_of(write(blocks(T=2), xml=xml))[2]
    assert start == (None if expected is None else datetime.fromisoformat(expected))


def test_a_damaged_attachment_of_times_raises_a_warning(write: Callable[..., Path]) -> None:
    path = write(blocks(T=3), stamps=[0.0, 1.0, 2.0])
    content = bytearray(path.read_bytes())
    at = content.rindex(struct.pack("<ii", 32, 3))
    content[at + 4 : at + 8] = struct.pack("<i", 1 << 30)
    path.write_bytes(content)
    with pytest.warns(roi.RoiExtractorsWarning, match="its time stamps cannot be used"):
        recording = roi.open(path)
    assert values(recording) == [0, 1, 2]


# Metadata


def test_a_pulsed_laser_makes_two_photon_recordings(write: Callable[..., Path]) -> None:
    channel = (
        "<Channels><Channel Id='Channel:0' Name='Green'><AcquisitionMode>LaserScanningConfocalMicroscopy</AcquisitionMode>"
        "<DetectionWavelength><Ranges>500-550</Ranges></DetectionWavelength><ComponentBitCount>12</ComponentBitCount>"
        "<LightSourcesSettings><LightSourceSettings><Attenuation>0.9</Attenuation><Wavelength>920</Wavelength>"
        "<LightSource Id='L:1'/></LightSourceSettings></LightSourcesSettings></Channel></Channels>"
    )
    sources = (
        "<Instrument><LightSources><LightSource Id='L:1'><LightSourceType><Laser/></LightSourceType>"
        "<Manufacturer><Model>Chameleon Vision II</Model></Manufacturer></LightSource></LightSources></Instrument>"
    )
    with roi.open(write(blocks(T=2), xml=describe({"T": 2}, dimensions=channel, rest=sources))) as recording:
        found = recording.metadata
    assert (found.modality, found.bit_depth) == ("two-photon", 12)
    assert found.channels[0].detection_band == (500.0, 550.0)
    assert (found.channels[0].laser_lines, found.channels[0].laser_power) == ((920.0,), 10.0)

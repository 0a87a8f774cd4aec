"""What bioio reads, as recordings: the contract on files that other libraries wrote, choices, refusals, and who comes first."""

from __future__ import annotations

import contextlib
import errno
import json
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_bioio.extractor import at_the_border

import roiextractors_core as roi
from roiextractors_core.testing import ImagingExtractorTests


def made(
    times: int, planes: int, channels: int, rows: int = 24, columns: int = 32, dtype: Any = np.uint16
) -> np.ndarray:
    """Return ``(times, planes, channels, rows, columns)``, each frame another."""
    return np.random.default_rng(7).integers(0, 250, (times, planes, channels, rows, columns)).astype(dtype)


class TestLif(ImagingExtractorTests):
    """A planar LIF image of two channels, with stamps that are not equidistant."""

    format = "lif"
    open_options = {"channel": "Colour 2"}
    patience = 120.0

    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        pytest.importorskip("liffile", reason="liffile is not installed: roiextractors-bioio[lif]")

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return made(64, 1, 2)[:, 0, 1]

    @pytest.fixture
    def expected_rate(self) -> float:
        return 4.0

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return np.arange(64) * 0.25 + np.arange(64) % 2 * 0.01

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("Colour 1", "Colour 2")}

    @pytest.fixture
    def recording(self, tmp_path: Path, write_lif: Callable[..., Path], expected_times: np.ndarray) -> Path:
        return write_lif(tmp_path / "made.lif", {"series": made(64, 1, 2)}, stamps=expected_times)


class TestLifVolumes(TestLif):
    """Volumes of 8 bits, one stamp for each frame, one of two images."""

    open_options = {"scene": "second"}

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return np.moveaxis(made(6, 4, 1, 8, 12, np.uint8)[:, :, 0], 1, 3)

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return np.arange(24)[::4] * 0.0625

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"scene": ("first", "second")}

    @pytest.fixture
    def recording(self, tmp_path: Path, write_lif: Callable[..., Path]) -> Path:
        data = made(6, 4, 1, 8, 12, np.uint8)
        return write_lif(tmp_path / "made.lif", {"first": data[::-1], "second": data}, stamps=np.arange(24) * 0.0625)


class TestCzi(ImagingExtractorTests):
    """A volumetric CZI file of two channels, without times."""

    format = "czi"
    open_options = {"channel": "Green"}
    patience = 120.0

    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        pytest.importorskip("bioio_czi", reason="bioio-czi is not installed: roiextractors-bioio[czi]")

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return np.moveaxis(made(5, 3, 2)[:, :, 0], 1, 3)

    @pytest.fixture
    def expected_rate(self) -> None:
        return None

    @pytest.fixture
    def expected_times(self) -> None:
        return None

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("Green", "Red")}

    @pytest.fixture
    def recording(self, tmp_path: Path, write_czi: Callable[..., Path]) -> Path:
        return write_czi(tmp_path / "made.czi", made(5, 3, 2), names=("Green", "Red"))


class TestNd2(ImagingExtractorTests):
    """A file from the microscope, since nobody else writes ND2; what it holds by the library of its frames."""

    format = "nd2"
    open_options = {"channel": "5-FAM/pH 9.0"}
    patience = 120.0

    @pytest.fixture
    def recording(self, recordings: Path) -> Path:
        pytest.importorskip("bioio_nd2", reason="bioio-nd2 is not installed: roiextractors-bioio[nd2]")
        return recordings / "nikon" / "cluster.nd2"

    @pytest.fixture
    def expected(self, recording: Path) -> np.ndarray:
        nd2 = pytest.importorskip("nd2")
        return np.moveaxis(nd2.imread(recording)[:, :, 0], 1, 3)

    @pytest.fixture
    def expected_rate(self) -> float:
        return 2e3 / (21740.177914 - 445.083498)  # the times are regular to 6e-4 of a period

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return np.array([445.083498, 11086.180222, 21740.177914]) / 1e3

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("5-FAM/pH 9.0", "FM 4-64/2% CHAPS")}


# Choices


def test_a_lif_tells_sizes_start_and_rate(tmp_path: Path, write_lif: Callable[..., Path]) -> None:
    pytest.importorskip("liffile")
    stamps = np.arange(12) / 6.0
    path = write_lif(tmp_path / "a.lif", {"one": made(4, 3, 1)}, stamps=stamps)
    with roi.open(path) as recording:
        found = recording.metadata
        assert found.pixel_size == pytest.approx((0.75, 0.5))
        assert found.plane_spacing == pytest.approx(2.0)
        assert found.start_time == datetime(2021, 1, 29, 15, 45, 49, 503000, UTC)
        assert found.channels[0].name == "Colour 1"
        assert recording.get_native_timestamps() == pytest.approx([0.0, 0.5, 1.0, 1.5])
        assert recording.get_sampling_frequency() == 4.0
        json.dumps(found.to_dict())


@pytest.mark.parametrize(
    "stamps", [None, (), (0.0, 1.0, 2.0), (0.0, 3.0, 1.0, 2.0)], ids=["none", "empty", "few", "back"]
)
def test_stamps_that_fit_no_sample_are_no_times(tmp_path: Path, write_lif: Callable[..., Path], stamps: Any) -> None:
    pytest.importorskip("liffile")
    path = write_lif(tmp_path / "a.lif", {"one": made(4, 1, 1)}, stamps=stamps, seconds=None)
    is_few = stamps is not None and len(stamps) == 3
    said = pytest.warns(roi.RoiExtractorsWarning, match="3 time stamps") if is_few else contextlib.nullcontext()
    with said:
        recording = roi.open(path)
    with recording:
        assert recording.get_native_timestamps() is None
        assert recording.times_source is None


def test_channels_of_one_name_are_chosen_by_number(tmp_path: Path, write_lif: Callable[..., Path]) -> None:
    pytest.importorskip("liffile")
    data = made(3, 1, 2)
    path = write_lif(tmp_path / "a.lif", {"one": data}, colours=("Gray", "Gray"))
    assert roi.streams(path) == {"channel": ("1", "2")}
    with roi.open(path, channel=2) as recording:
        np.testing.assert_array_equal(recording.get_series(), data[:, 0, 1])


def test_a_scene_is_chosen_by_its_number_from_0(tmp_path: Path, write_lif: Callable[..., Path]) -> None:
    pytest.importorskip("liffile")
    data = {"first": made(3, 1, 1), "second": made(4, 1, 1)[:, ::-1]}
    path = write_lif(tmp_path / "a.lif", data)
    with pytest.raises(roi.StreamChoiceError, match="has the scenes 'first' and 'second'; choose one"):
        roi.open(path)
    with roi.open(path, scene=1) as recording:
        np.testing.assert_array_equal(recording.get_series(), data["second"][:, 0, 0])


def test_scenes_that_a_czi_does_not_name_raise_a_warning(tmp_path: Path, write_czi: Callable[..., Path]) -> None:
    pytest.importorskip("bioio_czi")
    data = made(3, 1, 1)
    path = write_czi(tmp_path / "a.czi", data, scenes=2)
    with pytest.warns(roi.IncompleteRecordingWarning, match="frames of 2 scenes but its metadata names 1"):
        recording = roi.open(path)
    np.testing.assert_array_equal(recording.get_series(), data[:, 0, 0])
    assert "2 scenes" in recording.get_notes()[0]


def test_a_lif_that_was_cut_gives_its_whole_samples(tmp_path: Path, write_lif: Callable[..., Path]) -> None:
    pytest.importorskip("liffile")
    data = made(5, 2, 1)
    path = write_lif(tmp_path / "a.lif", {"one": data}, stamps=np.arange(5.0))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(roi.IncompleteRecordingWarning, match="ends inside its image 'one': 4 of 5 samples are complete"):
        recording = roi.open(path)
    np.testing.assert_array_equal(recording.get_series(), np.moveaxis(data[:4, :, 0], 1, 3))
    assert recording.get_native_timestamps() == pytest.approx([0.0, 1.0, 2.0, 3.0])
    assert "4 of 5 samples" in recording.get_notes()[0]


# Refusals


def test_a_missing_plugin_of_bioio_is_named_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bioio_czi", None)
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE".ljust(2048, b"\0"))
    with pytest.raises(roi.MissingDependencyError, match=r'needs bioio-czi.*pip install "roiextractors-bioio\[czi\]"'):
        roi.open(tmp_path / "a.czi")


def test_a_file_that_bioio_cannot_read_is_a_corrupt_recording(tmp_path: Path) -> None:
    pytest.importorskip("liffile")
    broken = b"\x70\0\0\0\x20\0\0\0\x2a\x0c\0\0\0" + "<broken".encode("utf-16-le")
    (tmp_path / "a.lif").write_bytes(broken)
    with pytest.raises(roi.CorruptRecordingError, match=r"a\.lif cannot be read by liffile: "):
        roi.open(tmp_path / "a.lif")


def test_a_folder_and_several_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.lif").write_bytes(b"x")
    with pytest.raises(roi.SourceKindError, match="is a folder; open the file inside it"):
        roi.open(tmp_path, format="lif")
    with pytest.raises(roi.SourceKindError, match="expected one file, got 2"):
        roi.open([tmp_path / "a.lif", tmp_path / "a.lif"], format="lif")


class Tiled:
    """What a plugin of bioio gives for an image of tiles."""

    scenes = ("one",)
    channel_names = None
    dtype = np.dtype(np.uint8)
    time_interval = None

    class dims:
        order = "MTCZYX"
        shape = (4, 3, 1, 1, 8, 8)

    def set_scene(self, scene: int) -> None:
        pass

    def get_image_data(self, order: str, *, M: int, C: int, T: Any, Z: Any) -> np.ndarray:
        return np.full((3, 1, 8, 8), M, np.uint8)[T][:, Z]


def test_the_tiles_of_an_image_are_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roiextractors_bioio.extractor import BioioImagingExtractor

    monkeypatch.setattr(BioioImagingExtractor, "_open_image", classmethod(lambda cls, path: Tiled()))
    monkeypatch.setattr(BioioImagingExtractor, "reads_parts", True)
    with pytest.raises(roi.StreamChoiceError, match="has the tiles '0', '1', '2' and '3'; choose one"):
        BioioImagingExtractor(tmp_path / "a.czi")
    assert BioioImagingExtractor.get_streams(tmp_path / "a.czi") == {"tile": ("0", "1", "2", "3")}
    recording = BioioImagingExtractor(tmp_path / "a.czi", tile=2)
    np.testing.assert_array_equal(recording.get_series(), np.full((3, 8, 8), 2))


def test_an_image_of_colours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roiextractors_bioio.extractor import BioioImagingExtractor

    monkeypatch.setattr(Tiled.dims, "order", "STCZYX")
    monkeypatch.setattr(BioioImagingExtractor, "_open_image", classmethod(lambda cls, path: Tiled()))
    with pytest.raises(roi.UnsupportedRecordingError, match="an axis S of 4 colour samples; expected only T, C, Z"):
        BioioImagingExtractor(tmp_path / "a.czi")


class Still:
    """What a plugin of bioio that reads parts gives for one picture: neither time, nor planes, nor channels."""

    scenes = ("one",)
    channel_names = None
    dtype = np.dtype(np.uint8)
    time_interval = None

    class dims:
        order = "YX"
        shape = (8, 9)

    def set_scene(self, scene: int) -> None:
        pass

    def get_image_data(self, order: str) -> np.ndarray:
        return np.arange(72, dtype=np.uint8).reshape(1, 1, 8, 9)


def test_one_picture_is_a_recording_of_one_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roiextractors_bioio.extractor import BioioImagingExtractor

    monkeypatch.setattr(BioioImagingExtractor, "_open_image", classmethod(lambda cls, path: Still()))
    monkeypatch.setattr(BioioImagingExtractor, "reads_parts", True)
    recording = BioioImagingExtractor(tmp_path / "a.nd2")
    picture = np.arange(72, dtype=np.uint8).reshape(8, 9)
    assert recording.shape == (1, 8, 9)
    np.testing.assert_array_equal(recording.get_samples([0, 0]), [picture, picture])
    np.testing.assert_array_equal(recording[0, 2:4, 5:], picture[2:4, 5:])


# Who comes first


def test_what_other_plugins_recognise_never_goes_to_bioio(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", made(3, 1, 1)[:, 0, 0])
    for suffix in (".czi", ".nd2", ".lif", ".oib", ".oif", ".dv"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes((tmp_path / "a.npy").read_bytes())
        best = roi.explain(path).best
        assert best is not None
        assert best.spec.name == "npy"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jp2", bytes.fromhex("0000000c6a5020200d0a870a") + b"\0\0\0\x14ftypjp2 ".ljust(600, b"\0")),
        ("a.doc", bytes.fromhex("d0cf11e0a1b11ae1").ljust(4096, b"\0")),
        ("a.bin", b"\x70\0\0\0".ljust(600, b"\x01")),
    ],
)
def test_relatives_are_left_to_others(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    best = roi.explain(tmp_path / name).best
    assert best is None or best.plugin != "roiextractors-bioio"


def test_declaring_imports_nothing_of_bioio() -> None:
    code = "import roiextractors_core as roi, sys; roi.formats(); print([m for m in sys.modules if m.startswith(('bioio', 'nd2', 'liffile'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# bioio's own choice


# what bioio's plugins tell their authors
@pytest.mark.filterwarnings("ignore", "error::roiextractors_core.errors.RoiExtractorsWarning")
class TestBioioByName(ImagingExtractorTests):
    """An OME-Zarr image through bioio, which is asked for by name: the file is another plugin's."""

    format = "bioio"
    patience = 240.0

    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        pytest.importorskip("bioio_ome_zarr", reason="bioio and bioio-ome-zarr are not installed")

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return np.moveaxis(made(6, 3, 1, 10, 12)[:, :, 0], 1, 3)

    @pytest.fixture
    def expected_rate(self) -> float | None:
        return 4.0

    @pytest.fixture
    def expected_times(self) -> None:
        return None

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        pytest.importorskip("roiextractors_omezarr", reason="roiextractors-omezarr is not installed")
        told = roi.RecordingMetadata(pixel_size=(0.75, 0.5), plane_spacing=2.0)
        return roi.convert(roi.NumpyImagingExtractor(expected, 4.0, metadata=told), tmp_path / "made.zarr")

    def test_the_format_is_found_without_being_named(self, case: Any) -> None:
        best = roi.explain(case.recording).best
        assert best is None or best.spec.name != "bioio"

    def test_a_suffix_in_capitals_is_the_same_suffix(self, case: Any, workplace: Path) -> None:
        pytest.skip("the format is named, and not found")

    def test_opening_writes_nothing_and_runs_nothing_from_the_file(self, case: Any, workplace: Path) -> None:
        pytest.skip("dask, by which bioio lays out the frames, pickles objects of its own to name them")

    def test_sizes_bear_the_units_of_their_axes(self, recording: Path) -> None:
        with roi.open(recording, format="bioio") as opened:
            assert opened.metadata.pixel_size == pytest.approx((0.75, 0.5))
            assert opened.metadata.plane_spacing == pytest.approx(2.0)


@pytest.fixture
def ome_tiff(tmp_path: Path) -> Path:
    """Write ``(times, planes, channels, rows, columns)`` as OME-TIFF, of which bioio has a plugin as well."""
    pytest.importorskip("bioio_ome_tiff", reason="bioio-ome-tiff is not installed")
    tifffile = pytest.importorskip("tifffile")
    told = {
        "axes": "TZCYX",
        "PhysicalSizeX": 500.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.75,
        "PhysicalSizeYUnit": "µm",
        "TimeIncrement": 250.0,
        "TimeIncrementUnit": "ms",
        "Channel": {"Name": ["Green", "Red"]},
    }
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, made(5, 3, 2), ome=True, metadata=told, photometric="minisblack")
    return path


# what bioio's plugins tell their authors
@pytest.mark.filterwarnings("ignore", "error::roiextractors_core.errors.RoiExtractorsWarning")
def test_any_file_is_read_through_bioio_when_the_format_is_named(ome_tiff: Path) -> None:
    data = made(5, 3, 2)
    assert roi.streams(ome_tiff, format="bioio") == {"channel": ("Green", "Red")}
    with roi.open(ome_tiff, format="bioio", channel="Red") as recording:
        np.testing.assert_array_equal(recording.get_series(), np.moveaxis(data[:, :, 1], 1, 3))
        np.testing.assert_array_equal(recording.get_samples([4, 0, 4]), np.moveaxis(data[[4, 0, 4], :, 1], 1, 3))
        np.testing.assert_array_equal(recording[1:3, 5:9, :4, 1:], np.moveaxis(data[1:3, 1:, 1, 5:9, :4], 1, 3))
        assert recording.metadata.channels[0].name == "Red"
        json.dumps(recording.metadata.to_dict())


@pytest.mark.filterwarnings("ignore", "error::roiextractors_core.errors.RoiExtractorsWarning")
def test_a_file_that_no_bioio_plugin_reads_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("bioio", reason="bioio is not installed")
    (tmp_path / "a.vsi").write_bytes(b"nothing that is known")
    with pytest.raises(roi.RecordingError, match=r"a\.vsi cannot be read by bioio"):
        roi.open(tmp_path / "a.vsi")


def test_a_length_in_a_lif_is_no_reason_to_make_room_for_it(tmp_path: Path, write_lif: Callable[..., Path]) -> None:
    pytest.importorskip("liffile")
    path = write_lif(tmp_path / "a.lif", {"one": made(4, 1, 1)})
    content, name = path.read_bytes(), "MemBlock_1".encode("utf-16-le")
    at = content.rindex(name) - 4
    path.write_bytes(content[:at] + struct.pack("<I", 2_000_000_000) + content[at + 4 :])
    tracemalloc.start()
    with pytest.raises(roi.RecordingError):
        roi.open(path).get_series()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


@pytest.mark.parametrize(
    ("error", "reads_pixels", "seen"),
    [
        (
            OSError(errno.EINVAL, "Invalid argument"),
            True,
            roi.CorruptRecordingError,
        ),  # a place before the file's beginning
        (OSError(errno.EIO, "Input/output error"), True, OSError),
        (MemoryError(), False, roi.CorruptRecordingError),
        (MemoryError(), True, MemoryError),
        (struct.error("short"), True, roi.CorruptRecordingError),
    ],
    ids=["place", "disk", "length", "result", "damage"],
)
def test_errors_of_the_file_are_distinguished_from_errors_of_the_system(
    error: Exception, reads_pixels: bool, seen: type[Exception]
) -> None:
    with pytest.raises(seen) as caught, at_the_border("a.nd2", "nd2", reads_pixels=reads_pixels):
        raise error
    assert isinstance(caught.value, roi.CorruptRecordingError) == (seen is roi.CorruptRecordingError)

"""What bioio reads, as recordings: choices, refusals, who comes first, and files of its plugins."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.testing import ImagingExtractorTests


def made(
    times: int, planes: int, channels: int, rows: int = 24, columns: int = 32, dtype: Any = np.uint16
) -> np.ndarray:
    """Return ``(times, planes, channels, rows, columns)``, each frame another."""
    return np.random.default_rng(7).integers(0, 250, (times, planes, channels, rows, columns)).astype(dtype)


# Refusals


def test_bioio_that_is_not_installed_is_named_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / "a.vsi").write_bytes(b"nothing that is known")
    with pytest.raises(
        roi.MissingDependencyError, match=r"needs bioio, which is not installed: python -m pip install bioio"
    ):
        roi.open(tmp_path / "a.vsi")


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

    def get_image_dask_data(self, order: str, *, M: int, C: int) -> Any:
        array = pytest.importorskip("dask.array")
        return array.from_array(np.full((3, 1, 8, 8), M, np.uint8))


def test_the_tiles_of_an_image_are_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roiextractors_bioio.extractor import BioioImagingExtractor

    monkeypatch.setattr(BioioImagingExtractor, "_open_image", classmethod(lambda cls, path: Tiled()))
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
    """What a plugin of bioio gives for one picture: neither time, nor planes, nor channels."""

    scenes = ("one",)
    channel_names = None
    dtype = np.dtype(np.uint8)
    time_interval = None

    class dims:
        order = "YX"
        shape = (8, 9)

    def set_scene(self, scene: int) -> None:
        pass

    def get_image_dask_data(self, order: str) -> Any:
        array = pytest.importorskip("dask.array")
        return array.from_array(np.arange(72, dtype=np.uint8).reshape(1, 1, 8, 9))


def test_one_picture_is_a_recording_of_one_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roiextractors_bioio.extractor import BioioImagingExtractor

    monkeypatch.setattr(BioioImagingExtractor, "_open_image", classmethod(lambda cls, path: Still()))
    recording = BioioImagingExtractor(tmp_path / "a.nd2")
    picture = np.arange(72, dtype=np.uint8).reshape(8, 9)
    assert recording.shape == (1, 8, 9)
    np.testing.assert_array_equal(recording.get_samples([0, 0]), [picture, picture])
    np.testing.assert_array_equal(recording[0, 2:4, 5:], picture[2:4, 5:])


# Who comes first


def test_what_other_plugins_recognise_never_goes_to_bioio(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", made(3, 1, 1)[:, 0, 0])
    for suffix in (".dv", ".r3d", ".sldy", ".vsi", ".zvi"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes((tmp_path / "a.npy").read_bytes())
        best = roi.explain(path).best
        assert best is not None
        assert best.spec.name == "npy"


def test_files_of_unknown_content_are_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1").ljust(4096, b"\0"))
    best = roi.explain(tmp_path / "a.doc").best
    assert best is None or best.plugin != "roiextractors-bioio"


def test_declaring_imports_nothing_of_bioio() -> None:
    code = (
        "import roiextractors_core as roi, sys; roi.formats(); print([m for m in sys.modules if m.startswith('bioio')])"
    )
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

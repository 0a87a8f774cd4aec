"""NeuroConv takes these recordings as it takes its own, and what it writes reads back equal."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.registry.registry import default_registry
from roiextractors_core.testing import NoiseImagingExtractor

pytest.importorskip("neuroconv", reason="neuroconv is not installed; it is tested in an environment of its own")
# what NeuroConv and the packages that it imports tell their authors
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore", "error::roiextractors_core.errors.RoiExtractorsWarning"),
]

START = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
PLANAR, VOLUMETRIC = (24, 16, 20), (24, 16, 20, 3)
shapes = pytest.mark.parametrize("shape", [PLANAR, VOLUMETRIC], ids=["planar", "volumetric"])


class Clocked(roi.NumpyImagingExtractor):
    """A recording with hardware times that are not equidistant."""

    def get_native_timestamps(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        return irregular(len(self))[start:end]


def irregular(count: int) -> np.ndarray:
    return np.arange(count) * 0.1 + np.arange(count) % 3 * 0.004 + 7.0


@contextmanager
def written(recording: Any, path: Path, **options: Any) -> Iterator[Any]:
    """Write the recording by NeuroConv, and yield the series as pynwb reads it."""
    from neuroconv.tools.roiextractors import add_imaging_to_nwbfile
    from pynwb import NWBHDF5IO, NWBFile

    file = NWBFile(session_description="made up", identifier="1", session_start_time=START)
    add_imaging_to_nwbfile(recording, file, **options)
    with NWBHDF5IO(str(path), "w") as stream:
        stream.write(file)
    with NWBHDF5IO(str(path), "r") as stream:
        (series,) = stream.read().acquisition.values()
        yield series


def pixels(series: Any) -> np.ndarray:
    """NWB keeps (time, width, height[, depth])."""
    return np.swapaxes(series.data[:], 1, 2)


@shapes
def test_a_recording_with_a_rate(tmp_path: Path, shape: tuple[int, ...]) -> None:
    recording = NoiseImagingExtractor(shape, dtype=np.int16, sampling_frequency=12.5)
    with written(recording, tmp_path / "a.nwb") as series:
        np.testing.assert_array_equal(pixels(series), recording.get_series())
        assert (series.rate, series.starting_time, series.timestamps) == (12.5, 0.0, None)
        assert series.data.dtype == np.int16


@shapes
def test_a_recording_with_native_times(tmp_path: Path, shape: tuple[int, ...]) -> None:
    recording = Clocked(NoiseImagingExtractor(shape).get_series())
    with written(recording, tmp_path / "a.nwb") as series:
        np.testing.assert_array_equal(pixels(series), recording.get_series())
        np.testing.assert_array_equal(series.timestamps[:], irregular(24))


def test_times_that_the_user_set_win(tmp_path: Path) -> None:
    recording = Clocked(NoiseImagingExtractor(PLANAR).get_series())
    recording.set_times(irregular(24) * 2.0)
    assert recording.has_time_vector()
    with written(recording, tmp_path / "a.nwb") as series:
        np.testing.assert_array_equal(series.timestamps[:], irregular(24) * 2.0)


def test_regular_native_times_keep_their_start(tmp_path: Path) -> None:
    recording = NoiseImagingExtractor(PLANAR)
    recording.set_times(np.arange(24) * 0.125 + 40.0)
    with written(recording, tmp_path / "a.nwb") as series:
        assert (series.rate, series.starting_time) == (8.0, 40.0)


def test_a_view_keeps_its_times_when_they_are_asked_for(tmp_path: Path) -> None:
    part = NoiseImagingExtractor(PLANAR, sampling_frequency=10.0).slice_samples(6, 20).slice_field_of_view(2, 14, 0, 8)
    with written(part, tmp_path / "a.nwb", always_write_timestamps=True) as series:
        np.testing.assert_array_equal(pixels(series), part.get_series())
        np.testing.assert_allclose(series.timestamps[:], np.arange(6, 20) / 10.0)


@shapes
def test_without_an_iterator(tmp_path: Path, shape: tuple[int, ...]) -> None:
    recording = NoiseImagingExtractor(shape, sampling_frequency=10.0)
    with written(recording, tmp_path / "a.nwb", iterator_type=None) as series:
        np.testing.assert_array_equal(pixels(series), recording.get_series())


def test_small_buffers_and_chunks_cover_everything(tmp_path: Path) -> None:
    recording = NoiseImagingExtractor((23, 40, 30, 3), sampling_frequency=10.0)
    options = {"chunk_shape": (4, 10, 20, 1), "buffer_shape": (8, 20, 40, 2)}
    with written(recording, tmp_path / "a.nwb", iterator_options=options) as series:
        np.testing.assert_array_equal(pixels(series), recording.get_series())
        assert series.data.chunks == (4, 10, 20, 1)


@shapes
def test_the_iterator_tells_nwbs_shape_and_slices_as_an_array(shape: tuple[int, ...]) -> None:
    from neuroconv.tools.roiextractors.imagingextractordatachunkiterator import ImagingExtractorDataChunkIterator

    recording = NoiseImagingExtractor(shape, sampling_frequency=10.0)
    iterator = ImagingExtractorDataChunkIterator(recording, buffer_gb=1e-5, chunk_mb=2e-3)
    whole = np.swapaxes(recording.get_series(), 1, 2)
    assert (iterator.shape, len(iterator), iterator.dtype) == (whole.shape, 24, whole.dtype)
    seen = np.zeros_like(whole)
    for chunk in iterator:
        seen[chunk.selection] = chunk.data
    np.testing.assert_array_equal(seen, whole)
    np.testing.assert_array_equal(iterator[3:9, 2:5], whole[3:9, 2:5])


def test_one_photon_series_and_processed_ones(tmp_path: Path) -> None:
    from neuroconv.tools.roiextractors import add_imaging_to_nwbfile
    from pynwb import NWBFile

    file = NWBFile(session_description="made up", identifier="1", session_start_time=START)
    recording = NoiseImagingExtractor(PLANAR, sampling_frequency=10.0)
    add_imaging_to_nwbfile(recording, file, photon_series_type="OnePhotonSeries", parent_container="processing/ophys")
    (series,) = file.processing["ophys"].data_interfaces.values()
    assert type(series).__name__ == "OnePhotonSeries"


def test_a_file_of_a_microscope_goes_straight_through(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_scanimage", reason="roiextractors-scanimage is not installed")
    made = NoiseImagingExtractor((12, 16, 20, 2), dtype=np.int16, sampling_frequency=5.0)
    write_scanimage = pytest.importorskip("roiextractors_scanimage.testing").write_scanimage
    write_scanimage([made], tmp_path / "a.tif")
    with roi.open(tmp_path / "a.tif") as recording, written(recording, tmp_path / "a.nwb") as series:
        np.testing.assert_array_equal(pixels(series), made.get_series())


def test_neuroconvs_own_file_writer(tmp_path: Path) -> None:
    from neuroconv.tools.roiextractors import write_imaging_to_nwbfile
    from pynwb import NWBHDF5IO

    recording = NoiseImagingExtractor(VOLUMETRIC, sampling_frequency=10.0)
    metadata = {"NWBFile": {"session_start_time": START, "session_description": "made up", "identifier": "1"}}
    metadata["Ophys"] = {"MicroscopySeries": {"default_metadata_key": {"name": "Movie"}}}
    write_imaging_to_nwbfile(recording, tmp_path / "a.nwb", metadata=metadata)
    with NWBHDF5IO(str(tmp_path / "a.nwb"), "r") as stream:
        (series,) = stream.read().acquisition.values()
        np.testing.assert_array_equal(pixels(series), recording.get_series())


@pytest.mark.parametrize("photons", ["TwoPhotonSeries", "OnePhotonSeries"])
def test_the_lists_of_metadata_that_neuroconv_made_before(tmp_path: Path, photons: Any) -> None:
    from neuroconv.tools import roiextractors as theirs

    if not hasattr(theirs, "get_nwb_imaging_metadata"):
        pytest.skip("this NeuroConv makes no lists")
    recording = NoiseImagingExtractor(PLANAR, sampling_frequency=10.0)
    metadata = theirs.get_nwb_imaging_metadata(recording, photon_series_type=photons)
    with written(recording, tmp_path / "a.nwb", metadata=metadata, photon_series_type=photons) as series:
        np.testing.assert_array_equal(pixels(series), recording.get_series())
        assert (type(series).__name__, series.rate) == (photons, 10.0)


def test_an_interface_of_neuroconv_on_a_recording(tmp_path: Path) -> None:
    """What a lab's own interface does: an extractor inside, stubs, times that are shifted."""
    from neuroconv.datainterfaces.ophys.baseimagingextractorinterface import BaseImagingExtractorInterface
    from pynwb import NWBHDF5IO

    np.save(tmp_path / "movie.npy", NoiseImagingExtractor(PLANAR).get_series())

    class Interface(BaseImagingExtractorInterface):
        @classmethod
        def get_extractor_class(cls) -> Any:
            return roi.open

    interface = Interface(source=str(tmp_path / "movie.npy"), sampling_frequency=10.0, metadata_key="movie")
    interface.set_aligned_timestamps(irregular(24))
    metadata = interface.get_metadata()
    metadata["NWBFile"].update(session_start_time=START)
    interface.run_conversion(tmp_path / "a.nwb", metadata=metadata, stub_test=True, stub_samples=10)
    with NWBHDF5IO(str(tmp_path / "a.nwb"), "r") as stream:
        (series,) = stream.read().acquisition.values()
        np.testing.assert_array_equal(pixels(series), np.load(tmp_path / "movie.npy")[:10])
        np.testing.assert_array_equal(series.timestamps[:], irregular(24)[:10])


# What is written opens here again


@shapes
@pytest.mark.parametrize("clocked", [False, True], ids=["rate", "times"])
def test_what_neuroconv_wrote_opens_here(tmp_path: Path, shape: tuple[int, ...], clocked: bool) -> None:
    if default_registry().get("nwb") is None:
        pytest.skip("no format nwb is registered: roiextractors-nwb is not installed")
    made = NoiseImagingExtractor(shape, dtype=np.int16, sampling_frequency=12.5)
    if clocked:
        made.set_times(irregular(24))
    with written(made, tmp_path / "a.nwb"):
        pass
    with warnings.catch_warnings():
        # NeuroConv 0.10.2 writes rows before columns into `dimension`, which NWB defines as x and y
        warnings.filterwarnings("ignore", ".*dimension of acquisition", roi.RoiExtractorsWarning)
        recording = roi.open(tmp_path / "a.nwb")
    with recording:
        assert recording.provenance.format == "nwb"
        np.testing.assert_array_equal(recording.get_series(), made.get_series())
        np.testing.assert_allclose(recording.get_timestamps(), made.get_timestamps(), rtol=1e-12)
        assert recording.is_volumetric == made.is_volumetric


# What the field's own classes can do with these recordings


def test_every_public_name_of_the_fields_base_class_is_there() -> None:
    theirs = pytest.importorskip("roiextractors", reason="roiextractors is not installed").ImagingExtractor
    public = [name for name in dir(theirs) if not name.startswith("_")]
    assert [name for name in public if not hasattr(roi.ImagingExtractor, name)] == []


def test_a_recording_still_pickles_after_neuroconv_had_it(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", NoiseImagingExtractor(PLANAR).get_series())
    with roi.open(tmp_path / "movie.npy", sampling_frequency=10.0) as recording:
        with written(recording, tmp_path / "a.nwb"):
            pass
        again = pickle.loads(pickle.dumps(recording))
        np.testing.assert_array_equal(again.get_series(), recording.get_series())


# Segmentations


def a_segmentation(count: int = 5) -> roi.NumpySegmentationExtractor:
    rng = np.random.default_rng(4)
    masks = roi.RoiMasks.from_pixels(
        (12, 20), [(np.array([k, k, k + 1]), np.array([k + 3, k + 4, k + 4]), rng.random(3)) for k in range(count)]
    )
    return roi.NumpySegmentationExtractor(
        masks,
        {"raw": rng.random((30, count)), "neuropil": rng.random((30, count)), "dff": rng.random((30, count))},
        images={"mean": rng.random((12, 20)), "correlation": rng.random((12, 20))},
        properties={"snr": rng.random(count), "iscell": rng.random(count) > 0.5},
        sampling_frequency=15.0,
    )


def test_a_segmentation_is_written_and_read_back(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_nwb", reason="roiextractors-nwb is not installed")
    from neuroconv.tools.roiextractors import add_segmentation_to_nwbfile
    from pynwb import NWBHDF5IO, NWBFile

    rois = a_segmentation()
    for part in (rois, rois.select_rois(["3", "1"]).slice_samples(5, 20)):
        file = NWBFile(session_description="made up", identifier="1", session_start_time=START)
        add_segmentation_to_nwbfile(part, file)
        path = tmp_path / f"{part.get_num_rois()}.nwb"
        with NWBHDF5IO(str(path), "w") as stream:
            stream.write(file)
        with NWBHDF5IO(str(path), "r") as stream:
            # NWB counts x first: each mask is (columns, rows)
            table = next(iter(stream.read().processing["ophys"]["ImageSegmentation"].plane_segmentations.values()))
            stored = np.stack([np.asarray(mask) for mask in table["image_mask"][:]], axis=-1)
        np.testing.assert_allclose(np.swapaxes(stored, 0, 1), part.get_roi_image_masks(), rtol=1e-6)
        with roi.open(path, kind="segmentation") as again:
            assert again.get_frame_shape() == (12, 20)
            assert again.get_num_rois() == part.get_num_rois()
            np.testing.assert_allclose(again.get_roi_image_masks(), part.get_roi_image_masks(), rtol=1e-6)
            for name in ("raw", "neuropil", "dff"):
                np.testing.assert_array_equal(again.get_traces(name=name), part.get_traces(name=name))
            np.testing.assert_array_equal(again.get_property("snr"), part.get_property("snr"))
            assert again.get_sampling_frequency() == pytest.approx(15.0)


def test_masks_that_neuroconv_exchanges_are_warned_about() -> None:
    volumes = roi.NumpySegmentationExtractor(np.ones((4, 5, 3, 2), np.float32), np.zeros((9, 2)))
    with pytest.warns(roi.RoiExtractorsWarning, match="rows and columns swapped"):
        assert volumes._roi_masks.mask_tpe == "nwb-voxel_mask"

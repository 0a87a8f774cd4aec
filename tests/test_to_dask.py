"""A recording as a dask array and as an xarray.DataArray."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.interop.to_dask import sample_chunks
from roiextractors_core.testing.descriptors import held_open

dask_array = pytest.importorskip("dask.array", reason="dask is not installed: the extra [dask]")


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 4000, (40, 12, 9), dtype=np.uint16)


@pytest.fixture
def movie(tmp_path: Path, data: np.ndarray) -> Path:
    np.save(tmp_path / "movie.npy", data)
    return tmp_path / "movie.npy"


def test_the_array_is_the_recordings_in_shape_dtype_and_pixels(movie: Path, data: np.ndarray) -> None:
    with roi.open(movie) as recording:
        array = recording.to_dask(chunks=7)
        assert array.shape == data.shape
        assert array.dtype == data.dtype
        assert array.chunks[0] == (7, 7, 7, 7, 7, 5)
        np.testing.assert_array_equal(array.compute(scheduler="threads"), data)
        np.testing.assert_array_equal(array[3:30:2, 4, ::-1].compute(), data[3:30:2, 4, ::-1])


def test_only_what_is_asked_for_is_read(data: np.ndarray) -> None:
    asked: list[tuple[int, int]] = []

    class Counting(roi.NumpyImagingExtractor):
        def get_block(self, samples: Any, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
            asked.append((samples.stop - samples.start, rows.stop - rows.start))
            return super().get_block(samples, rows, columns, planes)

    array = Counting(data).to_dask(chunks=10)
    assert asked == []
    array[12:14, 3:5].compute(scheduler="synchronous")
    assert asked == [(2, 2)]


def test_views_and_volumes_are_arrays_too(tmp_path: Path) -> None:
    volume = np.random.default_rng(2).normal(size=(6, 5, 4, 3)).astype(np.float32)
    np.save(tmp_path / "volume.npy", volume)
    with roi.open(tmp_path / "volume.npy") as recording:
        np.testing.assert_array_equal(recording.to_dask().compute(), volume)
        view = recording.slice_samples(1, 5).select_plane(2).slice_field_of_view(1, 4)
        np.testing.assert_array_equal(view.to_dask(chunks=2).compute(), volume[1:5, 1:4, :, 2])


def test_the_graph_holds_a_path_and_no_pixels_and_keeps_no_file_open(movie: Path, data: np.ndarray) -> None:
    with roi.open(movie) as recording:
        array = recording.to_dask(chunks=10)
        graph = pickle.dumps(array.__dask_graph__())
        assert len(graph) < 4000
        assert data[0].tobytes()[:32] not in graph
        assert b"movie.npy" in graph
        recording.close()
        assert held_open([movie]) == ()


def test_the_same_file_has_the_same_name_and_a_changed_one_another(movie: Path, data: np.ndarray) -> None:
    first = roi.open(movie).to_dask().name
    assert roi.open(movie).to_dask().name == first
    np.save(movie, data[:20])
    assert roi.open(movie).to_dask().name != first
    in_memory = roi.NumpyImagingExtractor(data)
    assert in_memory.to_dask().name != in_memory.to_dask().name


def test_a_process_of_its_own_opens_the_recording_again(movie: Path, data: np.ndarray, run: Callable[..., str]) -> None:
    (movie.parent / "graph").write_bytes(pickle.dumps(roi.open(movie).to_dask(chunks=10)))
    code = f"""
import pickle, numpy as np
array = pickle.load(open({str(movie.parent / "graph")!r}, "rb"))
print(array[35:].sum().compute(scheduler="synchronous"))
"""
    assert run(code) == f"{data[35:].sum()}\n"


class Chunked(roi.NumpyImagingExtractor):
    """An array that is stored in chunks of 10 samples and 4 rows."""

    def get_chunk_shape(self) -> tuple[int, ...]:
        return (10, 4, 9)


def test_chunks_follow_the_file(data: np.ndarray) -> None:
    recording = Chunked(data)
    assert sample_chunks(recording, 1 << 20) == data.shape
    assert sample_chunks(recording, 25 * 12 * 9 * 2) == (20, 12, 9)
    assert sample_chunks(recording, 10 * 5 * 9 * 2) == (10, 4, 9)
    assert recording.slice_samples(0, 3).get_chunk_shape() == (3, 4, 9)


@pytest.mark.parametrize(
    ("chunks", "first"), [("auto", (40,)), (16, (16, 16, 8)), ((8, -1, -1), (8,) * 5), ({0: 30}, (30, 10))]
)
def test_chunks_are_given_as_dask_takes_them(movie: Path, chunks: Any, first: tuple[int, ...]) -> None:
    assert roi.open(movie).to_dask(chunks=chunks).chunks[0] == first


def test_chunks_that_cannot_be_are_refused_in_words(movie: Path) -> None:
    with pytest.raises(roi.RangeTypeError, match=r"chunks='many' does not fit the shape \(40, 12, 9\)"):
        roi.open(movie).to_dask(chunks="many")


def test_without_dask_it_says_what_to_install(movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(roi.MissingDependencyError, match=r"pip install \"dask\[array\]\""):
        roi.open(movie).to_dask()


# xarray

xarray = pytest.importorskip("xarray", reason="xarray is not installed: the extra [xarray]")


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[roi.ImagingExtractor, np.ndarray]:
    volume = np.random.default_rng(2).integers(0, 99, (6, 5, 4, 3), dtype=np.int16)
    metadata = roi.RecordingMetadata(
        pixel_size=(0.5, 0.25),
        plane_positions=(-10.0, 0.0, 10.0),
        channels=(roi.ChannelMetadata("GCaMP6"),),
        device="2p-RAM",
        vendor={"laser": 920},
    )
    recording = roi.NumpyImagingExtractor(volume, sampling_frequency=2.0, metadata=metadata)
    return recording, volume


@pytest.mark.parametrize("chunks", ["auto", None])
def test_the_axes_have_names_seconds_and_micrometres(
    labelled: tuple[roi.ImagingExtractor, np.ndarray], chunks: Any
) -> None:
    recording, volume = labelled
    found = recording.to_xarray(chunks=chunks)
    assert found.dims == ("time", "y", "x", "z")
    assert found.name == "GCaMP6"
    assert found.time.values.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert found.y.values.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert found.x.values.tolist() == [0.0, 0.25, 0.5, 0.75]
    assert found.z.values.tolist() == [-10.0, 0.0, 10.0]
    assert found.time.attrs == {"units": "s", "source": "computed"}
    assert found.attrs["device"] == "2p-RAM"
    assert found.attrs["vendor"] == '{"laser": 920}'
    np.testing.assert_array_equal(found.values, volume)
    np.testing.assert_array_equal(found.sel(time=1.5, z=0.0).values, volume[3, :, :, 1])


@pytest.mark.parametrize(
    "index",
    [
        {"time": [5, 0, 5], "x": slice(1, 3)},
        {"y": [4, 2], "z": 1},
        {"time": 2, "x": [0, 3]},
        {"time": slice(None, None, -2)},
        {"time": [3, 1], "y": 2, "z": 0},
        {"time": [3, 1], "y": [2, 0], "z": [0, 2]},
    ],
)
def test_a_lazy_array_without_dask_is_indexed_axis_by_axis(
    labelled: tuple[roi.ImagingExtractor, np.ndarray], index: dict[str, Any]
) -> None:
    recording, volume = labelled
    in_memory = xarray.DataArray(volume, dims=("time", "y", "x", "z"))
    expected = in_memory.isel(index)
    found = recording.to_xarray(chunks=None).isel(index)
    assert found.dims == expected.dims
    np.testing.assert_array_equal(found.values, expected.values)


def test_axes_without_a_known_scale_have_no_coordinates(data: np.ndarray) -> None:
    found = roi.NumpyImagingExtractor(data).to_xarray()
    assert list(found.coords) == []
    assert found.name == "imaging"


def test_xarray_opens_a_recording_by_the_engines_name(movie: Path, data: np.ndarray) -> None:
    with xarray.open_dataset(movie, engine="roiextractors", sampling_frequency=4.0) as found:
        assert list(found.data_vars) == ["imaging"]
        assert found.time.values[-1] == 39 / 4
        np.testing.assert_array_equal(found.imaging[5].values, data[5])
    with xarray.open_dataset(movie, engine="roiextractors", chunks={"time": 10}) as chunked:
        assert chunked.imaging.chunks[0] == (10, 10, 10, 10)
    with xarray.open_dataset(movie) as guessed:
        assert guessed.imaging.shape == data.shape
    with pytest.raises(roi.UnknownOptionError, match="takes no option 'colour'"):
        xarray.open_dataset(movie, engine="roiextractors", colour=1)

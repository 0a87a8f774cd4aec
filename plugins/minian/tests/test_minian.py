"""Results of minian: axes by their names, ROIs by their numbers, and what does not fit."""

from __future__ import annotations

import inspect
import json
import pickle
import random
import shutil
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_minian.extractor import MinianSegmentationExtractor

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    PluginError,
    RecordingError,
    RoiExtractorsError,
    RoiExtractorsWarning,
    SourceKindError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import SegmentationExtractorTests

sys.path.insert(0, str(Path(__file__).parent))
from minian_folder import FRAMES, UNITS, contents, write_array, write_group, write_minian, write_netcdf, write_times

VALUES = {name: values for name, (values, _) in contents().items()}
TIMES = (FRAMES * 33 + FRAMES // 2 - 6) / 1000


def require_right(rois: Any) -> None:
    assert rois.get_roi_ids() == ["4", "0", "9"]
    assert rois.get_frame_shape() == (7, 5)
    np.testing.assert_array_equal(rois.get_roi_image_masks(), VALUES["A"].transpose(1, 2, 0))
    for name, variable in {"denoised": "C", "deconvolved": "S", "baseline": "b0"}.items():
        np.testing.assert_array_equal(rois.get_traces(name=name), VALUES[variable].T)
    np.testing.assert_array_equal(rois.get_traces(name="background"), VALUES["f"][:, np.newaxis])
    np.testing.assert_array_equal(rois.get_background_image_masks(), VALUES["b"][..., np.newaxis])
    np.testing.assert_array_equal(rois.get_image("maximum_projection"), VALUES["max_proj"])
    assert rois.get_background_ids() == ["background-0"]
    assert rois.get_trace_names() == ("denoised", "baseline", "deconvolved")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_axes_are_placed_by_their_names(tmp_path: Path, transposed: bool, version: int) -> None:
    folder = write_minian(tmp_path / "minian", transposed=transposed, version=version)
    with roi.open(folder, kind="segmentation") as rois:
        assert rois.provenance.format == "minian"
        require_right(rois)
        np.testing.assert_array_equal(rois.get_timestamps(), TIMES)
        assert rois.times_source == "native"
        assert rois.get_sampling_frequency() == pytest.approx(1 / 0.067)
        assert rois.metadata.software == "minian"
        assert rois.get_notes() == ()
    with roi.open(folder, kind="segmentation", sampling_frequency=15.0) as rois:
        assert rois.get_sampling_frequency() == 15.0
        np.testing.assert_array_equal(rois.get_native_timestamps(), TIMES)


@pytest.mark.parametrize("transposed", [False, True])
def test_chunks_of_any_shape_are_read(tmp_path: Path, transposed: bool) -> None:
    variables = contents()
    for name, (values, dims) in variables.items():
        order = list(range(1, values.ndim)) + [0] if transposed else list(range(values.ndim))
        stored = np.ascontiguousarray(values.transpose(order))
        chunks = tuple(max(1, n // 2) for n in stored.shape)
        write_group(tmp_path / f"{name}.zarr", {name: (stored, tuple(dims[k] for k in order))}, chunks=chunks)
    with roi.open(tmp_path, kind="segmentation") as rois:
        require_right(rois)


@pytest.mark.parametrize("version", [2, 3])
def test_one_group_of_all_variables_is_read(tmp_path: Path, version: int) -> None:
    folder = write_group(tmp_path / "minian_dataset.zarr", contents(), version=version)
    with roi.open(folder, kind="segmentation", sampling_frequency=30) as rois:
        assert rois.provenance.format == "minian"
        require_right(rois)


@pytest.mark.parametrize("version", [2, 3])
def test_what_xarray_writes_is_read(tmp_path: Path, version: int) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("zarr", minversion="3")
    if "zarr_format" not in inspect.signature(xarray.Dataset.to_zarr).parameters:
        pytest.skip("this xarray writes one version of Zarr only")
    coordinates = {"unit_id": UNITS, "frame": FRAMES, "height": np.arange(7), "width": np.arange(5)}
    labels = {"animal": "Ca_EEG3", "session": "first"} if version == 2 else {}  # version 3 has no type for texts
    arrays = {
        name: xarray.DataArray(
            values, dims=dims, coords={dim: coordinates[dim] for dim in dims}, name=name
        ).assign_coords(labels)
        for name, (values, dims) in contents().items()
    }
    for name, array in arrays.items():  # as minian.utilities.save_minian does
        array.to_dataset().to_zarr(tmp_path / "minian" / f"{name}.zarr", zarr_format=version, consolidated=False)
    with roi.open(tmp_path / "minian", kind="segmentation") as rois:
        require_right(rois)
        assert rois.get_notes() == ()
        assert dict(rois.metadata.vendor) == labels
    arrays["A"] = arrays["A"].transpose("height", "width", "unit_id")
    xarray.merge(arrays.values(), compat="no_conflicts").to_zarr(
        tmp_path / "all.zarr", zarr_format=version, consolidated=version == 2
    )
    with roi.open(tmp_path / "all.zarr", kind="segmentation") as rois:
        require_right(rois)


def test_parts_are_read_by_roi_and_range(tmp_path: Path) -> None:
    with roi.open(write_minian(tmp_path / "m", transposed=True), kind="segmentation") as rois:
        part = rois.get_traces(name="denoised", roi_ids=["9", "4"], start_frame=3, end_frame=8)
        np.testing.assert_array_equal(part, VALUES["C"][[2, 0], 3:8].T)
        masks = rois.get_roi_masks(["9", "4", "9"])
        np.testing.assert_array_equal(masks.to_dense(), VALUES["A"][[2, 0, 2]].transpose(1, 2, 0))
        assert [list(map(float, row)) for row in masks.pixel_list(1)] == [[1, 2, 0.5], [2, 2, 1.5], [2, 3, 0.25]]
        view = rois.select_rois(["0", "9"]).slice_samples(2, 9)
        np.testing.assert_array_equal(view.get_traces(name="baseline"), VALUES["b0"][1:, 2:9].T)
        np.testing.assert_array_equal(view.get_traces(name="background"), VALUES["f"][2:9, np.newaxis])
        np.testing.assert_array_equal(view.get_timestamps(), TIMES[2:9])
        again = pickle.loads(pickle.dumps(rois))
        require_right(again)
        again.close()


def test_traces_are_placed_by_the_number_of_their_unit(tmp_path: Path) -> None:
    folder = write_minian(tmp_path / "m")
    order = [2, 0, 1]
    write_array(folder / "C.zarr" / "C", VALUES["C"][order], ("unit_id", "frame"))
    write_array(folder / "C.zarr" / "unit_id", UNITS[order], ("unit_id",))
    more = np.vstack([np.full((2, 12), 7.0), VALUES["S"]])
    write_array(folder / "S.zarr" / "S", more, ("unit_id", "frame"))
    write_array(folder / "S.zarr" / "unit_id", [77, 78, *UNITS], ("unit_id",))
    with pytest.warns(
        RoiExtractorsWarning, match=r"S.zarr/S has 5 units, but A has 3; those without a footprint are left out"
    ):
        rois = roi.open(folder, kind="segmentation")
    with rois:
        require_right(rois)


def test_traces_of_rois_that_a_movie_lacks_are_left_out(tmp_path: Path) -> None:
    folder = write_minian(tmp_path / "m")
    write_array(folder / "S.zarr" / "unit_id", [4, 0, 8], ("unit_id",))
    write_array(folder / "b0.zarr" / "b0", VALUES["b0"][:, :9], ("unit_id", "frame"))
    write_array(folder / "b0.zarr" / "frame", FRAMES[:9], ("frame",))
    with pytest.warns(RoiExtractorsWarning) as caught:
        rois = roi.open(folder, kind="segmentation")
    words = [str(w.message) for w in caught]
    assert any("'deconvolved' are left out: S.zarr/S has 3 units, but lacks 1 unit of A (9)" in text for text in words)
    assert any(
        "'baseline' are left out: b0.zarr/b0 has 9 frames, but not the same as the 12 of" in text for text in words
    )
    with rois:
        assert rois.get_trace_names() == ("denoised",)
        assert len(rois.get_notes()) == 2


def test_without_coordinates_the_order_counts(tmp_path: Path) -> None:
    folder = write_minian(tmp_path / "m", times=False)
    for path in [*folder.glob("*.zarr/unit_id"), *folder.glob("*.zarr/frame")]:
        shutil.rmtree(path)
    with roi.open(folder, kind="segmentation") as rois:
        assert rois.get_roi_ids() == ["0", "1", "2"]
        np.testing.assert_array_equal(rois.get_traces(name="denoised"), VALUES["C"].T)
        assert rois.get_native_timestamps() is None
        assert rois.get_sampling_frequency() is None
    write_array(folder / "S.zarr" / "S", VALUES["S"][:2], ("unit_id", "frame"))
    with pytest.warns(RoiExtractorsWarning, match=r"S.zarr/S has 2 units, but lacks 1 unit of A"):
        roi.open(folder, kind="segmentation").close()


def test_several_background_components_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    image, course = rng.random((3, 7, 5)), rng.random((12, 3))
    variables = {
        **contents(),
        "b": (image, ("unit_id", "height", "width")),
        "f": (course, ("frame", "unit_id")),
    }
    folder = write_minian(tmp_path / "m", variables=variables)
    with roi.open(folder, kind="segmentation") as rois:
        assert rois.get_background_ids() == ["background-0", "background-1", "background-2"]
        np.testing.assert_array_equal(rois.get_background_image_masks(), image.transpose(1, 2, 0))
        np.testing.assert_array_equal(rois.get_traces(name="background", roi_ids=["background-1"]), course[:, 1:2])
    # Their numbers say which time course belongs to which image
    write_array(folder / "f.zarr" / "unit_id", UNITS[[2, 0, 1]], ("unit_id",))
    with roi.open(folder, kind="segmentation") as rois:
        np.testing.assert_array_equal(rois.get_traces(name="background"), course[:, [1, 2, 0]])
    write_array(folder / "f.zarr" / "unit_id", UNITS + 1, ("unit_id",))
    with pytest.warns(
        RoiExtractorsWarning, match="the background is left out: its images and its time courses have different unit_id"
    ):
        roi.open(folder, kind="segmentation").close()
    write_array(folder / "f.zarr" / "f", course[:, 0], ("frame",))
    with pytest.warns(RoiExtractorsWarning, match="the background is left out: it has 3 images and 1 time course"):
        rois = roi.open(folder, kind="segmentation")
    assert rois.get_background_ids() == []
    rois.close()


class OnMinian(SegmentationExtractorTests):
    """What every folder below contains; the coordinates of pixels and labels of the animal say nothing about the data."""

    format = "minian"
    optional_parts = ("timeStamps.csv",)

    @pytest.fixture
    def expected(self) -> Any:
        background = roi.Background(
            ("background-0",),
            roi.RoiMasks.from_dense(VALUES["b"][..., np.newaxis]),
            {"background": VALUES["f"][:, np.newaxis]},
        )
        return roi.NumpySegmentationExtractor(
            VALUES["A"].transpose(1, 2, 0),
            {"denoised": VALUES["C"].T, "deconvolved": VALUES["S"].T, "baseline": VALUES["b0"].T},
            roi_ids=UNITS,
            images={"maximum_projection": VALUES["max_proj"]},
            background=background,
            sampling_frequency=1 / 0.067,
            times=TIMES,
        )


class TestAFolder(OnMinian):
    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return write_minian(tmp_path / "minian")


class TestAFolderOfTransposedArrays(OnMinian):
    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return write_minian(tmp_path / "minian", transposed=True, version=3)


class TestOneGroup(OnMinian):
    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        folder = write_group(tmp_path / "minian.zarr", contents())
        write_times(folder / "timeStamps.csv")
        return folder


class TestANetcdfFile(OnMinian):
    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        write_times(tmp_path / "timeStamps.csv")
        return write_netcdf(tmp_path / "minian.nc")


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_netcdf_file_is_read_by_the_names_of_its_axes(tmp_path: Path, transposed: bool, chunks: bool) -> None:
    path = write_netcdf(tmp_path / "minian.nc", transposed=transposed, chunks=chunks)
    with roi.open(path, kind="segmentation") as rois:
        assert rois.provenance.format == "minian"
        require_right(rois)
        part = rois.get_traces(name="denoised", roi_ids=["9", "4"], start_frame=3, end_frame=8)
        np.testing.assert_array_equal(part, VALUES["C"][[2, 0], 3:8].T)
        assert rois.get_roi_masks(["9", "0"]).num_pixels.tolist() == [3, 1]
        assert dict(rois.metadata.vendor) == {"animal": "Ca_EEG3"}
        assert rois.get_native_timestamps() is None
        assert rois.get_notes() == ()


def test_what_xarray_writes_as_netcdf_is_read(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    coordinates = {"unit_id": UNITS, "frame": FRAMES}  # height and width are axes without labels
    variables = {name: (dims, values) for name, (values, dims) in contents().items()}
    dataset = xarray.Dataset(variables, coords=coordinates).assign_coords(animal="Ca_EEG3")
    dataset.to_netcdf(tmp_path / "minian.nc", engine="h5netcdf")
    with roi.open(tmp_path / "minian.nc", kind="segmentation") as rois:
        require_right(rois)
        assert dict(rois.metadata.vendor) == {"animal": "Ca_EEG3"}


@pytest.mark.parametrize("value", [3, "x", [1.5, 2.5, 3.5]])
def test_references_to_axes_of_another_type_are_one_sentence(tmp_path: Path, value: Any) -> None:
    import h5py

    path = write_netcdf(tmp_path / "minian.nc")
    with h5py.File(path, "r+") as file:
        del file["A"].attrs["DIMENSION_LIST"]
        file["A"].attrs["DIMENSION_LIST"] = value
    with pytest.raises(roi.CorruptRecordingError, match="A has an attribute DIMENSION_LIST"):
        roi.open(path, kind="segmentation")


@pytest.mark.parametrize("place", ["name", "content"])
def test_a_text_whose_type_is_damaged_does_not_end_the_process(tmp_path: Path, place: str) -> None:
    import h5py

    path = write_netcdf(tmp_path / "minian.nc")
    if place == "name":
        with h5py.File(path, "r+") as file:
            file["C"].attrs["NAME"] = "C"
    key = b"NAME\0\0\0\0" if place == "name" else b""
    content = path.read_bytes()
    # A variable-length type: version 1 and class 9, then whether it is text (1) or a list (0)
    text, damaged = key + b"\x19\x01\x01\x00\x10\x00\x00\x00", key + b"\x19\x92\x01\x00\x10\x00\x00\x00"
    assert text in content
    path.write_bytes(content.replace(text, damaged))
    script = f"import roiextractors_core as roi; print(len(roi.open({str(path)!r}, kind='segmentation').get_roi_ids()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "3"), done.stderr


def test_a_netcdf_file_that_contradicts_itself_is_one_sentence(tmp_path: Path) -> None:
    import h5py

    path = write_netcdf(tmp_path / "minian.nc")
    with h5py.File(path, "r+") as file:
        del file["S"]
        file["S"] = h5py.ExternalLink("other.h5", "/S")
        del file["b0"]
        file.create_dataset("b0", (3, 1 << 40), "f8", chunks=(3, 1 << 10))
        del file["max_proj"]
        file["max_proj"] = np.zeros((7, 5))  # without names of axes
        del file["f"]
        file.create_dataset("f", (12,), "f8").dims[0].attach_scale(file["frame"])
    with pytest.warns(RoiExtractorsWarning) as caught:
        rois = roi.open(path, kind="segmentation")
    words = " ".join(str(w.message) for w in caught)
    assert "minian.nc: b0 claims the shape (3, 1099511627776)" in words
    assert "minian.nc: max_proj has the axes '' and '', expected 'height' and 'width'" in words
    assert "minian.nc: f has no chunks of values" in words
    with rois:
        assert rois.get_trace_names() == ("denoised",)
        np.testing.assert_array_equal(rois.get_traces(name="denoised"), VALUES["C"].T)
    (tmp_path / "old.nc").write_bytes(b"CDF\x01" + bytes(100))
    with pytest.raises(UnsupportedRecordingError, match="is a netCDF-3 file"):
        MinianSegmentationExtractor(tmp_path / "old.nc")


# Times


def opened_times(folder: Path, **options: Any) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with roi.open(folder, kind="segmentation", **options) as rois:
            return rois.get_native_timestamps(), [str(w.message) for w in caught]


def test_times_are_also_found_beside_the_folder(tmp_path: Path) -> None:
    folder = write_minian(tmp_path / "minian", times=False)
    write_times(tmp_path / "timeStamps.csv")
    with roi.open(folder, kind="segmentation") as rois:
        np.testing.assert_array_equal(rois.get_native_timestamps(), TIMES)
        assert any("the times are those of timeStamps.csv in the parent folder" in text for text in rois.get_notes())
        assert str(tmp_path / "timeStamps.csv") in rois.get_paths()
    other = tmp_path / "elsewhere"
    other.mkdir()
    moved = shutil.move(tmp_path / "timeStamps.csv", other / "times.csv")
    times, words = opened_times(folder, timestamps_path=moved)
    np.testing.assert_array_equal(times, TIMES)
    assert words == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the frames have no times"),
        ("Frame Number,Time Stamp (ms),Buffer Index\n", "has no rows of times"),
        ("\n".join(f"{k},{k * 33},0" for k in range(20)), "has 20 rows, but none for 7 frames of the 12 that were analysed (the first is frame 20)"),
        ("Frame Number,Time Stamp (ms)\n" + "\n".join(f"{k},{'abc' if k == 12 else k * 33}" for k in range(60)), "the frames have no times"),
        ("Frame Number,Time Stamp (ms)\n" + "\n".join(f"{k % 30},{k * 33}" for k in range(60)), "has two rows for one frame"),
        ("Frame Number,Pressure\n" + "\n".join(f"{k},{k}" for k in range(60)), "has no column of times"),
        (b"\x00\xff\xfe\x00" * 500, "the frames have no times"),
    ],
)  # fmt: skip
def test_a_table_of_times_that_does_not_fit_is_left_out(tmp_path: Path, text: str | bytes, words: str) -> None:
    folder = write_minian(tmp_path / "m")
    (folder / "timeStamps.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    times, sentences = opened_times(folder)
    assert times is None
    assert any(words in sentence for sentence in sentences), sentences


def test_a_row_that_is_cut_matters_only_for_its_frame(tmp_path: Path) -> None:
    folder = write_minian(tmp_path / "m")
    content = (folder / "timeStamps.csv").read_text()
    (folder / "timeStamps.csv").write_text(content[:-6])
    times, sentences = opened_times(folder)
    np.testing.assert_array_equal(times, TIMES)
    assert sentences == []


def test_rows_of_the_analysed_frames_alone_are_found_by_number(tmp_path: Path) -> None:
    folder = write_minian(tmp_path / "m")
    lines = (folder / "timeStamps.csv").read_text().splitlines()
    kept = [lines[0], *(lines[1 + k] for k in sorted(FRAMES, reverse=True)), lines[1]]
    (folder / "timeStamps.csv").write_text("\n".join(kept) + "\n")
    np.testing.assert_array_equal(opened_times(folder)[0], TIMES)


# Damage


def change(folder: Path, variable: str, inside: str | None = None, **changes: Any) -> None:
    path = folder / f"{variable}.zarr" / (inside or variable) / ".zarray"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_missing_chunks_are_read_as_the_fill_value_and_reported(tmp_path: Path) -> None:
    variables = {name: pair for name, pair in contents().items() if name in "AC"}
    folder = write_minian(tmp_path / "m", variables=variables, times=False)
    write_array(folder / "C.zarr" / "C", VALUES["C"], ("unit_id", "frame"), chunks=(1, 6))
    (folder / "C.zarr" / "C" / "1.1").unlink()
    with pytest.warns(
        RoiExtractorsWarning, match=r"1 of 6 chunks of C.zarr/C is missing \(lost, or never written\) and read as"
    ):
        rois = roi.open(folder, kind="segmentation")
    with rois:
        expected = VALUES["C"].copy()
        expected[1, 6:] = 0
        np.testing.assert_array_equal(rois.get_traces(name="denoised"), expected.T)


def test_empty_chunks_of_footprints_need_not_be_written(tmp_path: Path) -> None:
    folder = write_minian(tmp_path / "m")
    shutil.rmtree(folder / "A.zarr" / "A")
    write_array(
        folder / "A.zarr" / "A", VALUES["A"], ("unit_id", "height", "width"), chunks=(1, 4, 3), skips_empty=True
    )
    with roi.open(folder, kind="segmentation") as rois:  # without a warning
        require_right(rois)
        assert any("7 of 12 chunks of A.zarr/A are missing" in text for text in rois.get_notes())
    for path in (folder / "A.zarr" / "A").glob("[0-9]*"):
        path.unlink()
    with pytest.raises(CorruptRecordingError, match=r"A.zarr/A has no chunks of values"):
        roi.open(folder, kind="segmentation")


def test_arrays_without_any_chunk_are_left_out(tmp_path: Path) -> None:
    folder = write_minian(tmp_path / "m")
    for name in ("S", "f", "b", "max_proj"):
        for path in (folder / f"{name}.zarr" / name).glob("0*"):
            path.unlink()
    with pytest.warns(RoiExtractorsWarning) as caught:
        rois = roi.open(folder, kind="segmentation")
    words = " ".join(str(w.message) for w in caught)
    for name in ("S", "f", "b", "max_proj"):
        assert f"{name}.zarr/{name} has no chunks of values" in words
    with rois:
        assert rois.get_trace_names() == ("denoised", "baseline")
        assert rois.get_background() is None


@pytest.mark.parametrize("variable", ["A", "C"])
def test_a_truncated_chunk_is_an_error_when_it_is_read(tmp_path: Path, variable: str) -> None:
    folder = write_minian(tmp_path / "m")
    chunk = next((folder / f"{variable}.zarr" / variable).glob("0*"))
    chunk.write_bytes(chunk.read_bytes()[:-7])
    with roi.open(folder, kind="segmentation") as rois, pytest.raises(CorruptRecordingError, match="is truncated"):
        rois.get_roi_masks() if variable == "A" else rois.get_traces(name="denoised")


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"shape": [3, 1 << 30, 1 << 30]}, CorruptRecordingError, "it is damaged"),
        ({"shape": [1 << 30, 7, 5]}, CorruptRecordingError, "it is damaged"),
        ({"shape": [3, 7]}, CorruptRecordingError, "chunks of the impossible shape"),
        ({"shape": "many"}, CorruptRecordingError, "has the shape many, expected a list of lengths"),
        ({"shape": [3, 7, -5]}, CorruptRecordingError, "expected a list of lengths"),
        ({"shape": [3, True, 5]}, CorruptRecordingError, "expected a list of lengths"),
        ({"shape": [3, 8, 5]}, CorruptRecordingError, "has 8 pixels along height, but its coordinate height has 7"),
        ({"shape": [4, 7, 5]}, CorruptRecordingError, "A has 4 along unit_id"),
        ({"chunks": [1 << 20, 1 << 20, 1]}, CorruptRecordingError, "in chunks of"),
        ({"chunks": [0, 7, 5]}, CorruptRecordingError, "chunks of the impossible shape"),
        ({"dtype": "|O"}, UnsupportedRecordingError, "has the type |O"),
        ({"dtype": [["a", "<f8"]]}, UnsupportedRecordingError, "numbers and texts of a fixed length"),
        ({"dtype": "<U7"}, CorruptRecordingError, "should contain numbers"),
        ({"filters": [{"id": "pickle"}]}, UnsupportedRecordingError, "pickle"),
        ({"compressor": {"id": "pickle"}}, UnsupportedRecordingError, "pickle"),
        ({"compressor": "blosc"}, CorruptRecordingError, "not a description of an array"),
        ({"order": "G"}, CorruptRecordingError, "has the order 'G'"),
        ({"fill_value": "many"}, CorruptRecordingError, "has the fill value 'many'"),
        ({"zarr_format": 7}, CorruptRecordingError, "does not describe a Zarr 2 array"),
    ],
)  # fmt: skip
def test_an_impossible_description_is_one_sentence(
    tmp_path: Path, changes: dict[str, Any], kind: type[Exception], words: str
) -> None:
    folder = write_minian(tmp_path / "m")
    change(folder, "A", **changes)
    tracemalloc.start()
    with pytest.raises(kind) as caught:
        roi.open(folder, kind="segmentation")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert words in str(caught.value)
    assert peak < 50 << 20


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("key", ["shape", "chunks"])
def test_traces_of_an_impossible_length_are_left_out(tmp_path: Path, key: str, version: int) -> None:
    folder = write_minian(tmp_path / "m", version=version)
    shutil.rmtree(folder / "C.zarr" / "frame")
    path = folder / "C.zarr" / "C" / (".zarray" if version == 2 else "zarr.json")
    facts = json.loads(path.read_text())
    if key == "chunks" and version == 3:
        facts["chunk_grid"]["configuration"]["chunk_shape"] = [3, 999_999_999]
    else:
        facts[key] = [3, 999_999_999]
    path.write_text(json.dumps(facts))
    with pytest.warns(
        RoiExtractorsWarning, match="'denoised' are left out: .*but has only .* bytes stored; it is damaged"
    ):
        rois = roi.open(folder, kind="segmentation")
    with rois:
        assert rois.get_trace_names() == ("baseline", "deconvolved")


def test_a_label_of_impossible_characters_is_left_out(tmp_path: Path) -> None:
    folder = write_minian(tmp_path / "m")
    (folder / "A.zarr" / "animal" / "0").write_bytes(b"\xff\xff\xff\x7f" * 7)
    with roi.open(folder, kind="segmentation") as rois:
        assert "animal" not in rois.metadata.vendor


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        (["unit_id", "height"], "names 2 axes"),
        (["unit_id", "height", "height"], "names 3 axes"),
        (["unit_id", "height", "depth"], "expected 'height', 'unit_id' and 'width'"),
        ("unit_id", "does not name its axes"),
        ([1, 2, 3], "does not name its axes"),
    ],
)
def test_axes_of_other_names_are_refused(tmp_path: Path, dims: Any, words: str) -> None:
    folder = write_minian(tmp_path / "m")
    (folder / "A.zarr" / "A" / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": dims}))
    with pytest.raises(RecordingError) as caught:
        roi.open(folder, kind="segmentation")
    assert words in str(caught.value)


def test_contradictions_of_optional_arrays_leave_them_out(tmp_path: Path) -> None:
    folder = write_minian(tmp_path / "m")
    write_array(folder / "max_proj.zarr" / "max_proj", np.zeros((5, 7)), ("height", "width"))
    write_array(folder / "b.zarr" / "b", np.zeros((7, 6)), ("height", "width"))
    (folder / "f.zarr" / "f" / ".zarray").write_text("{not json")
    with pytest.warns(RoiExtractorsWarning) as caught:
        rois = roi.open(folder, kind="segmentation")
    words = " ".join(str(w.message) for w in caught)
    assert "max_proj.zarr/max_proj has 5 x 7 pixels, but A has 7 x 5" in words
    assert "b.zarr/b has 7 x 6 pixels" in words
    assert "f is left out" in words
    with rois:
        assert rois.get_image_names() == ()
        assert rois.get_background() is None


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([1, 1, 2]), "contains a number twice"),
        (np.array([1.5, 2, 3]), "should contain whole numbers"),
        (np.array([np.nan, 2, 3]), "should contain whole numbers"),
    ],
)
def test_units_need_different_numbers(tmp_path: Path, labels: np.ndarray, words: str) -> None:
    folder = write_minian(tmp_path / "m")
    write_array(folder / "A.zarr" / "unit_id", labels, ("unit_id",))
    with pytest.raises(CorruptRecordingError, match=words):
        roi.open(folder, kind="segmentation")


def test_a_weight_that_is_not_a_number_is_an_error(tmp_path: Path) -> None:
    values = VALUES["A"].copy()
    values[1, 3, 3] = np.nan
    folder = write_minian(tmp_path / "m", variables={**contents(), "A": (values, ("unit_id", "height", "width"))})
    with (
        roi.open(folder, kind="segmentation") as rois,
        pytest.raises(CorruptRecordingError, match="ROI number 1 has the weight nan"),
    ):
        rois.get_roi_masks()


def test_without_footprints_the_folder_is_not_a_segmentation(tmp_path: Path) -> None:
    folder = write_minian(tmp_path / "m")
    shutil.rmtree(folder / "A.zarr")
    with pytest.raises(UnsupportedRecordingError, match="does not contain the footprints"):
        MinianSegmentationExtractor(folder)
    with pytest.raises(SourceKindError, match="is a file; open the folder"):
        MinianSegmentationExtractor(folder / "timeStamps.csv")


def test_a_movie_that_minian_saved_is_not_claimed(tmp_path: Path) -> None:
    write_group(tmp_path / "varr_ref.zarr", {"varr_ref": (np.zeros((12, 7, 5)), ("frame", "height", "width"))})
    assert [match.spec.name for match in roi.explain(tmp_path, kind="segmentation").matches] == []


def test_opening_reads_no_traces_or_footprints(tmp_path: Path) -> None:
    folder = write_minian(tmp_path / "m")
    for name in VALUES:
        for path in (folder / f"{name}.zarr" / name).glob("[0-9]*"):
            path.write_bytes(b"not a chunk of anything")
    with roi.open(folder, kind="segmentation") as rois:
        assert rois.get_num_rois() == 3
        with pytest.raises(RecordingError):
            rois.get_traces(name="denoised")


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(4))
def test_random_damage_ends_in_one_of_our_errors(tmp_path: Path, seed: int) -> None:
    folder = write_minian(tmp_path / "m", version=2 + seed % 2, transposed=seed > 1)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    rng = random.Random(seed)
    outcomes = set()
    for _ in range(150):
        path = rng.choice(files)
        content = path.read_bytes()
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 6))):
            at = rng.randrange(max(1, len(damaged)))
            change = rng.choice((rng.randbytes(1), b"", b"9", b"-", rng.randbytes(6)))
            damaged[at : at + rng.choice((0, 1, 1, 20))] = change
        path.write_bytes(bytes(damaged))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RoiExtractorsWarning)
            try:
                with roi.open(folder, kind="segmentation", format="minian") as rois:
                    rois.get_roi_masks()
                    rois.get_traces_dict()
                    rois.get_images_dict()
                    rois.metadata.to_dict()
                outcomes.add("read")
            except PluginError:
                raise
            except RoiExtractorsError as error:
                outcomes.add(type(error).__name__)
        path.write_bytes(content)
    assert {"read", "CorruptRecordingError"} <= outcomes

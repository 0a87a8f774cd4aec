"""Plain Zarr arrays open as movies where nothing contradicts it, and say how their axes were understood."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.testing import ImagingExtractorTests


def put_array(
    folder: Path, array: np.ndarray, *, version: int = 2, names: Any = None, chunk: tuple[int, ...] | None = None
) -> Path:
    """Write an array of Zarr 2 or 3 after the specifications, uncompressed."""
    chunk = chunk or (2, *array.shape[1:])
    folder.mkdir(parents=True)
    if version == 2:
        facts: dict[str, Any] = {
            "zarr_format": 2, "shape": array.shape, "chunks": chunk, "dtype": array.dtype.str, "fill_value": 0, "order": "C",
            "filters": None, "compressor": None,
        }  # fmt: skip
        (folder / ".zarray").write_text(json.dumps(facts))
        if names:
            (folder / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": names}))
    else:
        facts = {
            "zarr_format": 3, "node_type": "array", "shape": array.shape, "data_type": array.dtype.name, "fill_value": 0,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
            "chunk_key_encoding": {"name": "default"}, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "attributes": {}, **({"dimension_names": names} if names else {}),
        }  # fmt: skip
        (folder / "zarr.json").write_text(json.dumps(facts))
    for k in range(-(-len(array) // chunk[0])):
        part = np.zeros(chunk, array.dtype)
        rows = array[k * chunk[0] : (k + 1) * chunk[0]]
        part[: len(rows)] = rows
        cell = [str(k), *"0" * (array.ndim - 1)]
        place = folder / (".".join(cell) if version == 2 else "/".join(["c", *cell]))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(part.tobytes())
    return folder


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 4000, shape).astype("<u2")


class TestPlainArrays(ImagingExtractorTests):
    format = "zarr"
    optional_parts = ("[0-9]*",)  # a missing chunk has the fill value
    claims = ("zarr",)
    files_know_their_place = False  # the name of a chunk alone says which one it is

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return noise(30, 24, 32)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        return put_array(tmp_path / "movie.zarr", expected)

    @pytest.fixture
    def expected_rate(self) -> None:
        return None

    @pytest.fixture
    def expected_times(self) -> None:
        return None


@pytest.mark.parametrize("version", [2, 3])
def test_what_dask_writes_opens_with_a_note_on_its_axes(tmp_path: Path, version: int) -> None:
    dask_array: Any = pytest.importorskip("dask.array")
    pytest.importorskip("zarr", minversion="3", reason="zarr 3 is not installed")
    movie = noise(21, 16, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dask, about its own keywords
        try:
            dask_array.to_zarr(
                dask_array.from_array(movie, (5, 16, 20)),
                str(tmp_path / "a.zarr"),
                zarr_array_kwargs={"zarr_format": version},
            )
        except TypeError:  # an older dask
            dask_array.to_zarr(dask_array.from_array(movie, (5, 16, 20)), str(tmp_path / "a.zarr"), zarr_format=version)
    with roi.open(tmp_path / "a.zarr", sampling_frequency=10.0) as recording:
        assert recording.provenance.format == "zarr"
        np.testing.assert_array_equal(recording[...], movie)
        assert recording.get_sampling_frequency() == 10.0
        (note,) = recording.get_notes()
    assert note == "a.zarr: the array (21, 16, 20) does not name its axes, which were taken to be (time, rows, columns)"


@pytest.mark.parametrize("version", [2, 3])
def test_axes_that_are_named_are_read_by_their_names(tmp_path: Path, version: int) -> None:
    movie = noise(8, 5, 12, 6)
    put_array(tmp_path / "a.zarr", movie, version=version, names=["x", "plane", "frame", "y"])
    with roi.open(tmp_path / "a.zarr") as recording:
        np.testing.assert_array_equal(recording[...], movie.transpose(2, 3, 0, 1))
        assert recording.get_notes() == ()


def test_more_axes_without_names_must_be_named(tmp_path: Path) -> None:
    movie = noise(8, 2, 12, 14)
    put_array(tmp_path / "a.zarr", movie)
    with pytest.raises(
        roi.UnsupportedRecordingError,
        match=r"has 4 axes without names; name them in order: open\(\.\.\., dimension_order='TZYX'\)",
    ):
        roi.open(tmp_path / "a.zarr")
    with roi.open(tmp_path / "a.zarr", dimension_order="TZYX") as recording:
        np.testing.assert_array_equal(recording[...], movie.transpose(0, 2, 3, 1))
        assert recording.get_notes() == ()
    with roi.open(tmp_path / "a.zarr", dimension_order="tcyx", channel=2) as recording:
        np.testing.assert_array_equal(recording[...], movie[:, 1])
    for wrong in ("tyx", "tzzx", "tqyx"):
        with pytest.raises(roi.StreamChoiceError, match="dimension_order must have one letter for each of the 4 axes"):
            roi.open(tmp_path / "a.zarr", dimension_order=wrong)


def test_a_last_axis_of_colours_is_not_taken_for_columns(tmp_path: Path) -> None:
    put_array(tmp_path / "a.zarr", noise(40, 30, 3))
    with pytest.raises(roi.UnsupportedRecordingError, match="a last axis of length 3"):
        roi.open(tmp_path / "a.zarr")


def test_the_only_movie_of_a_group_is_read_and_several_are_streams(tmp_path: Path) -> None:
    group = tmp_path / "session.zarr"
    movie = noise(6, 10, 12)
    put_array(group / "movie", movie)
    put_array(group / "shifts", noise(6, 2), chunk=(2, 2))
    (group / ".zgroup").write_text('{"zarr_format": 2}')
    with roi.open(group) as recording:
        np.testing.assert_array_equal(recording[...], movie)
        assert "its only array with three or more axes, 'movie', is read" in "\n".join(recording.get_notes())
    put_array(group / "other", movie + 1)
    assert roi.streams(group)["series"] == ("movie", "other")
    with pytest.raises(roi.StreamChoiceError, match="'movie' and 'other'"):
        roi.open(group)
    with roi.open(group, series="other") as recording:
        np.testing.assert_array_equal(recording[...], movie + 1)


def test_arrays_that_a_format_describes_better_are_refused(tmp_path: Path) -> None:
    """The columns of an NWB file come before its rows, and the arrays of minian are footprints."""
    image = roi.convert(roi.NumpyImagingExtractor(noise(6, 10, 12)), tmp_path / "image.zarr")
    with pytest.raises(
        roi.UnsupportedRecordingError, match=r"OME-Zarr image image\.zarr, which names its axes; open that"
    ):
        roi.open(image / "0")
    data = put_array(tmp_path / "a.nwb.zarr" / "Movie" / "data", noise(6, 10, 12))
    (data.parent / ".zattrs").write_text('{"neurodata_type": "TwoPhotonSeries"}')
    with pytest.raises(roi.UnsupportedRecordingError, match="a part of an NWB file"):
        roi.open(data)
    footprints = put_array(tmp_path / "A.zarr" / "A", noise(6, 10, 12), names=["unit_id", "height", "width"])
    with pytest.raises(roi.UnknownFormatError):
        roi.open(footprints)
    with pytest.raises(roi.UnsupportedRecordingError, match="names its axes 'unit_id', 'height' and 'width'"):
        roi.open(footprints, format="zarr")

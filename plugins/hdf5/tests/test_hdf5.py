"""Movies in HDF5 files that h5py wrote: found, told apart, read in the right order of axes, or refused by a sentence."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from roiextractors_hdf5.extractor import Hdf5ImagingExtractor

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    SourceKindError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import ImagingExtractorTests


def movie(*shape: int, dtype: str = "<u2", seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(dtype)


def written(
    path: Path, datasets: Mapping[str, Any], *, attributes: Mapping[str, Any] | None = None, **how: Any
) -> Path:
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file.create_dataset(name, data=data, **how)
        for place, value in (attributes or {}).items():
            name, _, key = place.rpartition("@")
            file[name or "/"].attrs[key] = value
    return path


class TestCaimanMovie(ImagingExtractorTests):
    """CaImAn's own file: /mov with the attribute fr."""

    format = "hdf5"
    claims = ("hdf5",)

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return movie(70, 96, 128, dtype="<f4")

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        return written(tmp_path / "movie.hdf5", {"mov": expected}, attributes={"mov@fr": 29.97, "mov@start_time": 0})

    @pytest.fixture
    def expected_rate(self) -> float:
        return 29.97

    @pytest.fixture
    def expected_times(self) -> None:
        return None


class TestPackedMovieWithChannels(TestCaimanMovie):
    """Five labelled axes, gzip with shuffle and checksum, big-endian."""

    has_own_code = True
    open_options = {"channel": "2"}

    @pytest.fixture
    def stored(self) -> np.ndarray:
        return movie(33, 3, 20, 26, 2, dtype=">i2")

    @pytest.fixture
    def expected(self, stored: np.ndarray) -> np.ndarray:
        return np.moveaxis(stored[..., 1], 1, 3).astype("<i2")

    @pytest.fixture
    def recording(self, tmp_path: Path, stored: np.ndarray) -> Path:
        path = tmp_path / "imaging.h5"
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset(
                "imaging", data=stored, chunks=(2, 1, 20, 26, 1), compression="gzip", shuffle=True, fletcher32=True
            )
            for axis, label in zip(dataset.dims, "tzyxc", strict=True):
                axis.label = label
        return path

    @pytest.fixture
    def expected_rate(self) -> None:
        return None

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("1", "2")}


class TestTwoMoviesInOneFile(TestCaimanMovie):
    open_options = {"dataset": "b/movie"}

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        return written(tmp_path / "two.h5", {"a": movie(5, 6, 7), "b/movie": expected}, attributes={"b@fps": 29.97})

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"dataset": ("a", "b/movie")}


# Real files


@pytest.mark.parametrize(
    ("name", "dataset", "order", "shape"),
    [
        ("hdf5/data_ch0.h5", "data/ch0", (0, 1, 2), (100, 100, 100)),
        ("hdf5/t0_channel0.h5", "t0/channel0", (0, 1, 2), (29, 8, 17)),
        ("allen/motion_corrected_video_short.h5", "data", (0, 1, 2), (4, 512, 512)),
        ("hdf5/imaging.h5", "imaging", (2, 0, 1), (20, 128, 256)),
        ("sima/example.h5", "imaging", (2, 0, 1), (20, 128, 256)),
    ],
)
def test_a_real_file_gives_the_pixels_that_h5py_gives(
    recordings: Path, name: str, dataset: str, order: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    entries = json.loads((recordings / "EXPECTED.json").read_text(encoding="utf-8"))
    with h5py.File(recordings / name, "r") as file:
        wanted = file[dataset][...].transpose(order)
    with roi.open(recordings / name) as recording:
        assert recording.provenance.format == "hdf5"
        assert recording.shape == shape
        np.testing.assert_array_equal(recording.get_series(), wanted)
        np.testing.assert_array_equal(recording[1:3, 2:7, ::2], wanted[1:3, 2:7, ::2])
        assert recording.get_sampling_frequency() is None
        assert any("pass dimension_order=" in note for note in recording.get_notes())
        total = float(recording.get_series().sum(dtype=np.float64))
    facts = next((entry for entry in entries if entry["path"] == name), None)
    assert facts is None or facts["datasets"][dataset][2] == total


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("caiman/caiman_analysis.hdf5", "the results of CaImAn"),
        ("extract/extract_public_output.mat", "the results of EXTRACT"),
        ("thorimage/tiff_zstack_two_channels/Episode001.h5", "ThorSync's lines and counters"),
    ],
)
def test_a_file_that_is_not_a_movie_is_refused(recordings: Path, name: str, words: str) -> None:
    with pytest.raises(UnsupportedRecordingError, match=words):
        Hdf5ImagingExtractor(recordings / name)


def test_an_nwb_file_is_left_to_its_plugin_and_a_dataset_in_it_can_be_named(recordings: Path) -> None:
    path = recordings / "nwb" / "onephoton_movie.nwb"
    with pytest.raises(UnsupportedRecordingError, match=r"is an NWB file.*roiextractors-nwb"):
        Hdf5ImagingExtractor(path)
    with Hdf5ImagingExtractor(path, dataset="acquisition/OnePhotonSeries/data") as recording:
        assert recording.shape == (200, 35, 29)


# The order of the axes


def label_dims(file: h5py.File) -> None:
    for axis, label in zip(file["movie"].dims, ("x", "y", "frames"), strict=True):
        axis.label = label


def attach_scales(file: h5py.File) -> None:
    for k, name in enumerate(("width", "height", "frame")):
        file[name] = np.arange(file["movie"].shape[k])
        file[name].make_scale(name)
        file["movie"].dims[k].attach_scale(file[name])


def set_attribute(key: str, value: Any) -> Any:
    def apply(file: h5py.File) -> None:
        file["movie"].attrs[key] = value

    return apply


TAGS = json.dumps({"axes": [{"key": key, "typeFlags": 2, "resolution": 0, "description": ""} for key in "xyt"]})


@pytest.mark.parametrize(
    "tell",
    [
        label_dims,
        attach_scales,
        set_attribute("axes", "XYT"),
        set_attribute("axes", ["x", "y", "t"]),
        set_attribute("axis_order", "columns, rows, time"),
        set_attribute("axistags", TAGS),
        set_attribute("axes", np.array([b"x", b"y", b"t"])),
    ],
)
def test_what_labels_the_axes_decides_their_order(tmp_path: Path, tell: Any) -> None:
    stored = movie(7, 8, 9)
    path = written(tmp_path / "labelled.h5", {"movie": stored})
    with h5py.File(path, "a") as file:
        tell(file)
    with Hdf5ImagingExtractor(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), stored.transpose(2, 1, 0))
        np.testing.assert_array_equal(recording.get_samples([8, 0, 0]), stored.transpose(2, 1, 0)[[8, 0, 0]])
        assert recording.get_notes() == ()
    with Hdf5ImagingExtractor(path, dimension_order="TYX") as recording:
        np.testing.assert_array_equal(recording.get_series(), stored)


@pytest.mark.parametrize(
    "tags", ["{", "[]", '{"axes": 3}', '{"axes": [{"key": "q"}, {"key": "y"}, {"key": "x"}]}', "[" * 5000]
)
def test_axistags_that_cannot_be_read_leave_the_usual_order(tmp_path: Path, tags: str) -> None:
    stored = movie(7, 8, 9)
    path = written(tmp_path / "tags.h5", {"movie": stored}, attributes={"movie@axistags": tags})
    with Hdf5ImagingExtractor(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), stored)


def test_what_matlab_wrote_is_stored_the_other_way_round(tmp_path: Path) -> None:
    stored = movie(5, 8, 6)
    path = written(tmp_path / "Y.mat", {"Y": stored}, attributes={"Y@MATLAB_class": np.bytes_(b"uint16")})
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), stored.transpose(0, 2, 1))


def test_four_axes_without_labels_take_the_fewest_for_planes_or_ask(tmp_path: Path) -> None:
    stored = movie(9, 3, 16, 18)
    with Hdf5ImagingExtractor(written(tmp_path / "zyx.h5", {"data": stored})) as recording:
        assert recording.shape == (9, 16, 18, 3)
        np.testing.assert_array_equal(recording.get_series(), np.moveaxis(stored, 1, 3))
        np.testing.assert_array_equal(recording[2:4, 1:9, :4, 1], stored[2:4, 1, 1:9, :4])
    with Hdf5ImagingExtractor(written(tmp_path / "one.h5", {"data": stored[:, :1]})) as recording:
        assert recording.shape == (9, 16, 18)
    asking = written(tmp_path / "cube.h5", {"data": movie(5, 6, 7, 8)})
    with pytest.raises(
        StreamChoiceError, match=r"shape \(5, 6, 7, 8\) and its axes have no labels.*dimension_order='TZYX'"
    ):
        Hdf5ImagingExtractor(asking)
    assert roi.streams(asking, format="hdf5")["dimension_order"][0] == "TZYX"
    with Hdf5ImagingExtractor(asking, dimension_order="TCYX", channel=2) as recording:
        assert recording.shape == (5, 7, 8)


@pytest.mark.parametrize("order", ["TYXZ", "TT", "TYY", "TYA", "TZC", ""])
def test_an_order_that_does_not_fit_is_refused(tmp_path: Path, order: str) -> None:
    path = written(tmp_path / "movie.h5", {"data": movie(4, 5, 6)})
    with pytest.raises(ChoiceError, match=r"does not fit movie.h5: /data of the shape \(4, 5, 6\).*'TYX'"):
        Hdf5ImagingExtractor(path, dimension_order=order)


def test_a_volume_or_a_frame_alone_is_one_sample(tmp_path: Path) -> None:
    stack = movie(4, 5, 6)
    path = written(tmp_path / "stack.h5", {"stack": stack, "picture": stack[0]})
    with Hdf5ImagingExtractor(path, dataset="stack", dimension_order="ZYX") as recording:
        assert recording.shape == (1, 5, 6, 4)
        np.testing.assert_array_equal(recording.get_samples([0, 0])[1], np.moveaxis(stack, 0, 2))
    with Hdf5ImagingExtractor(path, dataset="picture") as recording:
        np.testing.assert_array_equal(recording.get_series(), stack[:1])


# Rates and metadata


@pytest.mark.parametrize(
    "place", ["data/movie@fr", "data/movie@frameRate", "data@fps", "@sampling_rate", "@frame_rate_hz"]
)
def test_a_rate_is_read_from_the_dataset_its_groups_and_the_root(tmp_path: Path, place: str) -> None:
    path = written(tmp_path / "rate.h5", {"data/movie": movie(4, 5, 6)}, attributes={place: np.array([30.962890625])})
    with Hdf5ImagingExtractor(path) as recording:
        assert recording.get_sampling_frequency() == 30.962890625


def test_a_number_beside_the_movie_can_state_the_rate(tmp_path: Path) -> None:
    path = written(tmp_path / "rate.h5", {"mov": movie(4, 5, 6), "fr": 7.5, "speed": 3.0})
    with Hdf5ImagingExtractor(path) as recording:
        assert recording.get_sampling_frequency() == 7.5


def test_times_beside_the_movie_are_noted_and_not_read(tmp_path: Path) -> None:
    times = {"timestamps": np.arange(12) * 0.1, "timestamps_of_licks": np.arange(5.0), "other": np.arange(12.0)}
    with roi.open(written(tmp_path / "m.h5", {"mov": movie(12, 6, 7), **times})) as recording:
        assert recording.times_source is None
        assert [note for note in recording.get_notes() if "set_times" in note] == [
            "m.h5: /mov: /timestamps contains one number for each of the 12 samples, which is not read as a time; pass them to set_times"
        ]


def test_rates_that_disagree_are_told_and_none_is_taken(tmp_path: Path) -> None:
    path = written(
        tmp_path / "r.h5", {"mov": movie(4, 5, 6)}, attributes={"mov@fr": 30.0, "mov@sampling_rate": 15.0, "@fps": 9.0}
    )
    with pytest.warns(roi.RoiExtractorsWarning, match="fr = 30 and sampling_rate = 15 disagree"):
        opened = Hdf5ImagingExtractor(path)
    with opened as recording:
        assert recording.get_sampling_frequency() is None
        assert any("fr = 30 and sampling_rate = 15 disagree" in note for note in recording.get_notes())


@pytest.mark.parametrize(
    ("value", "unit", "rate"),
    [(0.03, "kHz", 30.0), (40.0, "ms", 25.0), (600.0, "1/min", 10.0), (30.0, "Hz", 30.0), (30.0, "frames/s", 30.0)],
)
def test_a_rate_is_read_with_the_unit_beside_it(tmp_path: Path, value: float, unit: str, rate: float) -> None:
    stated = {"mov@frame_rate": value, "mov@frame_rate_unit": unit}
    path = written(tmp_path / "a.h5", {"mov": movie(4, 5, 6)}, attributes=stated)
    assert roi.open(path).get_sampling_frequency() == pytest.approx(rate)
    own = {"frame_rate@unit": unit}
    path = written(tmp_path / "b.h5", {"mov": movie(4, 5, 6), "frame_rate": np.array(value)}, attributes=own)
    assert roi.open(path).get_sampling_frequency() == pytest.approx(rate)


def test_a_rate_further_away_that_disagrees_is_warned_about(tmp_path: Path) -> None:
    path = written(tmp_path / "r.h5", {"mov": movie(4, 5, 6)}, attributes={"mov@fr": 30.0, "@frame_rate": 10.0})
    with pytest.warns(roi.RoiExtractorsWarning, match="fr = 30 and frame_rate = 10 disagree; 30 Hz"):
        assert roi.open(path).get_sampling_frequency() == 30.0
    path = written(tmp_path / "same.h5", {"mov": movie(4, 5, 6)}, attributes={"mov@fr": 30.0, "@frame_rate": 30.001})
    assert roi.open(path).get_sampling_frequency() == 30.0


def test_a_rate_that_looks_like_a_period_is_warned_about(tmp_path: Path) -> None:
    path = written(tmp_path / "r.h5", {"mov": movie(4, 5, 6)}, attributes={"mov@rate": 0.033})
    with pytest.warns(roi.RoiExtractorsWarning, match=r"period in seconds, pass sampling_frequency=30\.303"):
        assert roi.open(path).get_sampling_frequency() == 0.033


def test_labels_that_contradict_each_other_are_warned_about(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("mov", data=movie(4, 6, 5))
        for axis, label in zip(made.dims, "yxt", strict=True):
            axis.label = label
        made.attrs["axes"] = "TYX"
    with pytest.warns(roi.RoiExtractorsWarning, match="name the axes YXT, but the attribute axes names them TYX"):
        assert roi.open(tmp_path / "a.h5").shape == (5, 4, 6)


@pytest.mark.parametrize("shape", [(64, 64, 100), (32, 40, 400), (40, 40, 20)])
def test_a_shape_that_looks_like_rows_columns_time_is_warned_about(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = written(tmp_path / "a.h5", {"mov": np.zeros(shape, np.uint8)})
    with pytest.warns(roi.RoiExtractorsWarning, match="dimension_order='YXT', else dimension_order='TYX'"):
        assert roi.open(path).shape == shape
    assert roi.open(path, dimension_order="YXT").shape == (shape[2], *shape[:2])
    assert roi.open(path, dimension_order="TYX").shape == shape


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data", "is an Imaris file"),
        ("t00000/s00/0/cells", "is a BigDataViewer file"),
        ("extractAnalysisOutput/filters", "results of EXTRACT through CIAtah"),
        ("cnmfeAnalysisOutput/extractedImages", "results of CNMF-E through CIAtah"),
        ("cellmaxAnalysisOutput/extractedImages", "results of CELLMax through CIAtah"),
        ("estimates/A", "results of CaImAn"),
        ("roi_names", "traces of ROIs"),
        ("filters", "footprints or traces of cells"),
        ("analysis/inputImages", "footprints or traces of cells"),
        ("cell_map", "footprints or traces of cells"),
        ("data/roi_masks", "footprints or traces of cells"),
    ],
)
def test_other_layouts_and_results_of_analyses_are_not_movies(tmp_path: Path, place: str, words: str) -> None:
    path = written(tmp_path / "a.h5", {place: movie(7, 8, 9)})
    with pytest.raises(UnsupportedRecordingError, match=words):
        Hdf5ImagingExtractor(path)
    # The second where the plugin that reads these results is installed
    with pytest.raises((UnsupportedRecordingError, roi.SourceKindError), match=f"{words}|contains a segmentation, not"):
        roi.open(path)
    assert roi.open(path, dataset=place).shape == (7, 8, 9)


def test_a_description_beside_the_file_that_is_not_read_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", {"mov": movie(7, 8, 9)})
    (tmp_path / "a.xml").write_text("<SpimData/>")
    with pytest.warns(roi.RoiExtractorsWarning, match="'a.xml' beside it is not read"):
        assert roi.open(path).shape == (7, 8, 9)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, "30", True, [1.0, 2.0]])
def test_what_is_no_rate_is_none(tmp_path: Path, value: Any) -> None:
    path = written(tmp_path / "r.h5", {"mov": movie(4, 5, 6)}, attributes={"mov@fr": value})
    with Hdf5ImagingExtractor(path) as recording:
        assert recording.get_sampling_frequency() is None


def test_element_sizes_are_planes_rows_columns_in_micrometres(tmp_path: Path) -> None:
    path = written(
        tmp_path / "sizes.h5",
        {"t0/channel0": movie(4, 5, 6)},
        attributes={"t0/channel0@element_size_um": [2.0, 0.5, 0.25]},
    )
    with Hdf5ImagingExtractor(path, dimension_order="ZYX") as recording:
        assert recording.metadata.pixel_size == (0.5, 0.25)
        assert recording.metadata.plane_spacing == 2.0
        assert recording.metadata.vendor["element_size_um"] == [2.0, 0.5, 0.25]


def test_channels_bear_the_names_that_the_file_gives(tmp_path: Path) -> None:
    stored = movie(4, 5, 6, 2)
    path = written(
        tmp_path / "named.h5", {"m": stored}, attributes={"m@axes": "TYXC", "m@channel_names": ["Green", "Red"]}
    )
    assert roi.streams(path) == {"channel": ("Green", "Red")}
    with pytest.raises(StreamChoiceError, match=r"has the channels 'Green' and 'Red'; choose one"):
        Hdf5ImagingExtractor(path)
    for channel in ("Red", 2, "2"):
        with Hdf5ImagingExtractor(path, channel=channel) as recording:
            np.testing.assert_array_equal(recording.get_series(), stored[..., 1])
            assert [c.name for c in recording.metadata.channels] == ["Red"]
    with pytest.raises(StreamChoiceError, match=r", not 'Blue'"):
        Hdf5ImagingExtractor(path, channel="Blue")


def test_pickled_attributes_stay_bytes(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "executed"),))

    path = written(
        tmp_path / "trap.hdf5", {"mov": movie(4, 5, 6)}, attributes={"mov@meta_data": np.void(pickle.dumps([Trap()]))}
    )
    with Hdf5ImagingExtractor(path) as recording:
        assert "meta_data" not in recording.metadata.vendor
    assert not (tmp_path / "executed").exists()


# What is refused, and what is not followed


def test_links_out_of_the_file_are_not_followed(tmp_path: Path) -> None:
    written(tmp_path / "other.h5", {"data": movie(4, 5, 6)})
    path = written(tmp_path / "links.h5", {"table": np.arange(5)})
    with h5py.File(path, "a") as file:
        file["out"] = h5py.ExternalLink("other.h5", "/data")
        file["group"] = h5py.ExternalLink("other.h5", "/")
        file["soft"] = h5py.SoftLink("/group/data")
    with pytest.raises(
        UnsupportedRecordingError,
        match=r"contains no dataset of numbers.*/table \(5,\) int64.*'group' and 'out' link to other files",
    ):
        Hdf5ImagingExtractor(path)
    for name in ("out", "group/data", "soft"):
        with pytest.raises(
            UnsupportedRecordingError, match=r"is a link to another file \(other.h5\), which is not followed"
        ):
            Hdf5ImagingExtractor(path, dataset=name)


def test_links_inside_the_file_are_followed_and_circles_end(tmp_path: Path) -> None:
    stored = movie(4, 5, 6)
    path = written(tmp_path / "links.h5", {"a/data": stored})
    with h5py.File(path, "a") as file:
        file["a/up"] = file["/"]
        file["alias"] = h5py.SoftLink("/a/up/a/data")
        file["loop"] = h5py.SoftLink("/pool")
        file["pool"] = h5py.SoftLink("loop")
        file["nowhere"] = h5py.SoftLink("/is/not")
    assert roi.streams(path) == {}
    for name in ("alias", "/a/data", None):
        with Hdf5ImagingExtractor(path, dataset=name) as recording:
            np.testing.assert_array_equal(recording.get_series(), stored)
    with pytest.raises(UnsupportedRecordingError, match=r"form a circle"):
        Hdf5ImagingExtractor(path, dataset="loop")
    for name in ("nowhere", "a", "b"):
        with pytest.raises(StreamChoiceError, match=r"has the dataset 'a/data', not"):
            Hdf5ImagingExtractor(path, dataset=name)


def test_pixels_in_other_files_are_refused(tmp_path: Path) -> None:
    np.arange(120, dtype="<u2").tofile(tmp_path / "pixels.raw")
    written(tmp_path / "part.h5", {"data": movie(4, 5, 6)})
    path = tmp_path / "outside.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", (4, 5, 6), "<u2", external=[("pixels.raw", 0, 240)])
        layout = h5py.VirtualLayout((4, 5, 6), "<u2")
        layout[...] = h5py.VirtualSource("part.h5", "data", (4, 5, 6))
        file.create_virtual_dataset("virtual", layout)
    with pytest.raises(UnsupportedRecordingError, match=r"stores its pixels in another file \(pixels.raw\)"):
        Hdf5ImagingExtractor(path, dataset="raw")
    with pytest.raises(UnsupportedRecordingError, match=r"combines other files \(part.h5"):
        Hdf5ImagingExtractor(path, dataset="virtual")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((3, 4, 5), [("a", "<f4"), ("b", "<i2")]), "contains records of several fields"),
        (np.full((3, 4, 5), b"text"), "contains text"),
        (np.zeros((3, 4, 5), "<c8"), "contains complex numbers|contains records"),
    ],
)
def test_values_that_are_not_pixels_are_refused(tmp_path: Path, data: np.ndarray, words: str) -> None:
    path = written(tmp_path / "records.h5", {"data": data})
    with pytest.raises(UnsupportedRecordingError, match=r"contains no dataset of numbers with three or more axes"):
        Hdf5ImagingExtractor(path)
    with pytest.raises(UnsupportedRecordingError, match=words):
        Hdf5ImagingExtractor(path, dataset="data", dimension_order="TYX")


def test_references_and_ragged_lists_are_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "references.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("refs", (3, 4, 5), h5py.ref_dtype)
        file.create_dataset("ragged", (3, 4, 5), h5py.vlen_dtype(np.int32))
    for name in ("refs", "ragged"):
        with pytest.raises(
            UnsupportedRecordingError, match=r"contains text, references or ragged lists; pixels must be numbers"
        ):
            Hdf5ImagingExtractor(path, dataset=name)


def test_an_empty_file_is_said_to_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedRecordingError, match=r"it contains no dataset"):
        roi.open(written(tmp_path / "empty.h5", {}))


def test_a_cut_file_is_said_to_be_cut(tmp_path: Path) -> None:
    path = written(tmp_path / "cut.h5", {"data": movie(40, 50, 60)})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(roi.IncompleteRecordingWarning) as seen:
        recording = roi.open(path)
    words = [str(warning.message) for warning in seen]
    assert "cut.h5 is truncated: it lacks 100 bytes" in words[0]
    assert "39 of 40 samples are complete" in words[1]
    np.testing.assert_array_equal(recording.get_series(), movie(40, 50, 60)[:39])
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(TruncatedRecordingError, match=r"is truncated"):
        roi.open(path)


@pytest.mark.parametrize("how", [{}, {"compression": "gzip"}])
def test_the_whole_samples_of_a_truncated_file_in_chunks_are_read(tmp_path: Path, how: dict[str, Any]) -> None:
    path, pixels = tmp_path / "cut.h5", movie(40, 50, 60)
    with h5py.File(path, "w") as file:
        made = file.create_dataset("mov", shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 50, 60), **how)
        made[...] = 0
        file.flush()
        made[...] = pixels
        infos = [made.id.get_chunk_info(k) for k in range(40)]
    end = max(info.byte_offset + info.size for info in infos)
    whole = [info.chunk_offset[0] for info in infos if info.byte_offset + info.size <= end - 10_000]
    path.write_bytes(path.read_bytes()[: end - 10_000])
    with pytest.warns(roi.IncompleteRecordingWarning) as seen:
        recording = roi.open(path)
    assert "is truncated" in str(seen[0].message)
    got = recording.get_series()
    missing = set(recording.get_missing_samples().tolist())
    assert len(got) - len(missing) == len(whole) < 40
    for k in range(len(got)):
        np.testing.assert_array_equal(got[k], 0 * pixels[k] if k in missing else pixels[k])


def test_an_interrupted_recording_ends_with_its_last_whole_sample(tmp_path: Path) -> None:
    pixels = movie(20, 16, 20)
    with h5py.File(tmp_path / "fill.h5", "w") as file:
        made = file.create_dataset(
            "mov", shape=(20, 16, 20), maxshape=(None, 16, 20), chunks=(1, 8, 20), dtype=pixels.dtype
        )
        made[:8] = pixels[:8]
        made[8, :8] = 1  # half of a frame
    with pytest.warns(roi.IncompleteRecordingWarning, match="8 of 20 samples are complete"):
        recording = roi.open(tmp_path / "fill.h5")
    np.testing.assert_array_equal(recording.get_series(), pixels[:8])
    assert recording.get_missing_samples().size == 0


def test_missing_chunks_that_only_h5py_reads_are_counted(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bits.h5", "w") as file:
        made = file.create_dataset("mov", shape=(6, 16, 20), chunks=(1, 16, 20), dtype=bool)
        made[:2] = True
        made[4:] = True
    with pytest.warns(roi.IncompleteRecordingWarning, match="2 of 6 chunks of the pixels are missing"):
        recording = roi.open(tmp_path / "bits.h5")
    assert recording.get_series().any(axis=(1, 2)).tolist() == [True, True, False, False, True, True]


def test_chunks_that_were_never_written_inside_are_missing_samples(tmp_path: Path) -> None:
    pixels = movie(20, 16, 20)
    with h5py.File(tmp_path / "gap.h5", "w") as file:
        made = file.create_dataset("mov", shape=(20, 16, 20), chunks=(2, 8, 20), dtype=pixels.dtype, compression="gzip")
        for start in (0, 2, 6, 8, 10, 12, 14, 16, 18):
            made[start : start + 2] = pixels[start : start + 2]
    with pytest.warns(
        roi.IncompleteRecordingWarning, match="2 of 20 chunks of the pixels are missing .* 2 of 20 samples"
    ):
        recording = roi.open(tmp_path / "gap.h5")
    pixels[4:6] = 0
    np.testing.assert_array_equal(recording.get_series(), pixels)
    assert recording.get_missing_samples().tolist() == [4, 5]
    assert recording.slice_samples(3, 5).get_missing_samples().tolist() == [1]


def test_what_only_begins_as_hdf5_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "begins.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(200)))
    with pytest.raises(CorruptRecordingError, match=r"begins.h5 cannot be opened as HDF5"):
        roi.open(path)


def test_a_list_of_one_file_is_that_file_and_of_several_is_refused(tmp_path: Path) -> None:
    paths = [written(tmp_path / name, {"data": movie(4, 5, 6)}) for name in ("a.h5", "b.h5")]
    with roi.open(paths[:1]) as recording:
        assert recording.shape == (4, 5, 6)
    with pytest.raises(SourceKindError, match=r"expected one file, got 2; open each of them and join"):
        roi.open(paths)
    with pytest.raises(SourceKindError, match=r"is a folder; open the file inside it"):
        roi.open(tmp_path, format="hdf5")


def test_a_search_ends_in_a_file_of_very_many_objects(tmp_path: Path) -> None:
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        node = file
        for _ in range(40):
            node = node.create_group("below")
        node["too_deep"] = movie(4, 5, 6)
        file["movie"] = movie(4, 5, 6)
    with roi.open(path) as recording:
        assert recording.shape == (4, 5, 6)
    assert Hdf5ImagingExtractor.get_streams(path) == {}


@pytest.mark.parametrize(
    ("order", "chunks", "expected"),
    [("TYX", (4, 8, 16), (4, 8, 16)), ("YXT", (8, 16, 4), (4, 8, 16)), ("TZYX", (4, 1, 8, 16), (4, 8, 16, 1))],
)
def test_the_chunks_of_the_file_are_told_in_the_order_of_the_recording(
    tmp_path: Path, order: str, chunks: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    sizes = {"T": 20, "Z": 2, "Y": 16, "X": 32}
    shape = tuple(sizes[letter] for letter in order)
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file.create_dataset("data", data=np.arange(np.prod(shape), dtype=np.uint16).reshape(shape), chunks=chunks)
    with roi.open(tmp_path / "movie.h5", dimension_order=order) as recording:
        assert recording.get_chunk_shape() == expected
        array = pytest.importorskip("dask.array") and recording.to_dask(chunks=8)
        assert array.chunks[0] == (8, 8, 4)
        np.testing.assert_array_equal(array.compute(), recording.get_series())


def test_a_plain_dataset_is_told_as_whole_samples(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file.create_dataset("data", data=np.zeros((5, 6, 7), np.uint8))
    with roi.open(tmp_path / "movie.h5") as recording:
        assert recording.get_chunk_shape() == (1, 6, 7)


def test_pixels_that_netcdf_packed_are_unpacked_as_xarray_does(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    path = tmp_path / "packed.nc"
    pixels = np.random.default_rng(3).normal(2.0, 0.5, (7, 20, 30))
    pixels[2, 3, 4] = np.nan
    movie = xarray.DataArray(pixels, dims=("time", "y", "x"), name="movie")
    packed = {"dtype": "int16", "scale_factor": 0.001, "add_offset": 2.0, "_FillValue": -32768}
    movie.to_netcdf(path, engine="h5netcdf", encoding={"movie": packed})
    with xarray.open_dataset(path, engine="h5netcdf") as dataset:
        expected = dataset["movie"].values
    with roi.open(path, format="hdf5") as recording:
        assert recording.dtype == recording[:].dtype == np.float64
        np.testing.assert_allclose(recording[:], expected, atol=1e-6)
        np.testing.assert_allclose(recording[:], pixels, atol=0.0006)
        assert np.isnan(recording[2, 3, 4])
        assert any("scale_factor 0.001, add_offset 2) applied" in note for note in recording.get_notes())
    with roi.open(path, format="hdf5", apply_conversion=False) as recording, h5py.File(path) as file:
        assert recording.dtype == np.int16
        np.testing.assert_array_equal(recording[:], file["movie"][()])
        assert any("pixels are as stored" in note for note in recording.get_notes())


def test_attributes_of_these_names_in_other_files_change_no_pixel(tmp_path: Path) -> None:
    path, frames = tmp_path / "movie.h5", np.arange(7 * 20 * 30, dtype=np.uint16).reshape(7, 20, 30)
    with h5py.File(path, "w") as file:
        file["movie"] = frames
        file["movie"].attrs["scale_factor"] = 4.0  # the binning, in one laboratory's files
    with roi.open(path) as recording:
        np.testing.assert_array_equal(recording[:], frames)
        assert recording.metadata.vendor["scale_factor"] == 4.0

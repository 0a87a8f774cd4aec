"""Regions of neurofinder: datasets, submissions, and files that are not what they should be."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

Write = Callable[..., Path]


@pytest.fixture
def recording(tmp_path: Path, write_dataset: Write) -> Path:
    """A dataset whose frames are not square, with two regions."""
    return write_dataset(tmp_path / "neurofinder.00.00")


def open_regions(path: Path, **options: Any) -> Any:
    return roi.open(path, kind="segmentation", **options)


def masks_by_the_published_example(regions: Path, dims: tuple[int, int]) -> np.ndarray:
    """As ``example.py`` of every dataset makes them: ``mask[zip(*coords)] = 1``."""
    masks = []
    for region in json.loads(regions.read_text()):
        mask = np.zeros(dims)
        mask[tuple(zip(*region["coordinates"], strict=True))] = 1
        masks.append(mask)
    return np.stack(masks, axis=-1)


def test_the_masks_are_those_of_the_published_example(recording: Path) -> None:
    segmentation = open_regions(recording)
    assert segmentation.get_roi_ids() == ["9000", "9001"]
    assert segmentation.get_frame_shape() == (20, 40)
    expected = masks_by_the_published_example(recording / "regions" / "regions.json", (20, 40))
    np.testing.assert_array_equal(segmentation.get_roi_image_masks(), expected)
    np.testing.assert_array_equal(
        segmentation.get_roi_pixel_masks(["9001"])[0], [[5, 30, 1], [5, 31, 1], [6, 31, 1], [19, 39, 1]]
    )


def test_rate_and_metadata_are_those_of_the_description(recording: Path) -> None:
    segmentation = open_regions(recording)
    assert segmentation.get_sampling_frequency() == 7.5
    assert segmentation.metadata.pixel_size == (0.8, 0.8)
    assert segmentation.metadata.vendor["indicator"] == "GCaMP6s"
    assert open_regions(recording, sampling_frequency=30.0).get_sampling_frequency() == 30.0
    assert segmentation.get_num_samples() == 0
    assert segmentation.get_traces_dict() == {}


@pytest.mark.parametrize("inside", ["", "regions", "regions/regions.json"])
def test_it_opens_by_any_of_its_names(recording: Path, inside: str) -> None:
    segmentation = open_regions(recording / inside)
    assert segmentation.get_frame_shape() == (20, 40)
    assert {Path(path).name for path in segmentation.get_paths()} == {"regions.json", "info.json"}
    again = pickle.loads(pickle.dumps(segmentation))
    assert again.get_roi_masks() == segmentation.get_roi_masks()


@pytest.mark.parametrize("file", ["sources/sources.json", "regions.json", "sources.json"])
def test_older_and_flat_folders_are_opened(tmp_path: Path, write_dataset: Write, file: str) -> None:
    folder = write_dataset(tmp_path / "d", file=file)
    assert open_regions(folder).get_frame_shape() == open_regions(folder / file).get_frame_shape() == (20, 40)


def test_a_file_alone_needs_the_shape_of_the_frames(tmp_path: Path, write_dataset: Write) -> None:
    path = write_dataset(tmp_path / "d", info=None) / "regions" / "regions.json"
    with pytest.raises(roi.ChoiceError, match=r"there is no info.json with dimensions.*frame_shape=\(rows, columns\)"):
        open_regions(path)
    assert open_regions(path, frame_shape=(20, 40)).get_roi_masks().shape == (20, 40)
    assert open_regions(path, frame_shape="20, 40").get_roi_masks().shape == (20, 40)
    for wrong in ((20,), (20, -1), "x", 3.5, (2.5, 4), "(" * 5000):
        with pytest.raises(roi.ChoiceError, match="frame_shape must be"):
            open_regions(path, frame_shape=wrong)


def test_the_images_of_a_dataset_are_a_movie_of_their_own(tmp_path: Path, write_dataset: Write) -> None:
    folder = write_dataset(tmp_path / "d", images=(20, 40))
    assert open_regions(folder).get_num_rois() == 2
    pytest.importorskip("roiextractors_tiff", reason="roiextractors-tiff is not installed")
    assert roi.open(folder / "images").shape == (3, 20, 40)
    traces = roi.traces(roi.open(folder / "images"), open_regions(folder))
    np.testing.assert_array_equal(traces, [[0, 0], [1, 1], [2, 2]])


def test_a_movie_is_not_found_in_the_regions_and_the_error_says_what_is(recording: Path) -> None:
    with pytest.raises(roi.SourceKindError, match="kind='segmentation'"):
        roi.open(recording / "regions" / "regions.json")


def test_a_description_that_contradicts_the_images_is_refused(tmp_path: Path, write_dataset: Write) -> None:
    folder = write_dataset(tmp_path / "d", images=(40, 20))
    with pytest.raises(roi.CorruptRecordingError, match="the first image has 40 rows and 20 columns"):
        open_regions(folder)
    assert open_regions(folder, frame_shape=(40, 40)).get_frame_shape() == (40, 40)


# Submissions


def test_one_dataset_of_a_submission_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    regions = [{"coordinates": [[0, 1], [2, 3]]}, {"coordinates": [[3, 3]]}]
    path.write_text(
        json.dumps([{"dataset": "00.00.test", "regions": regions}, {"dataset": "00.01.test", "regions": []}])
    )
    assert roi.streams(path, kind="segmentation") == {"dataset": ("00.00.test", "00.01.test")}
    with pytest.raises(roi.StreamChoiceError, match=r"has the datasets '00.00.test' and '00.01.test'"):
        open_regions(path, frame_shape=(4, 4))
    segmentation = open_regions(path, dataset="00.00.test", frame_shape=(4, 4))
    assert segmentation.get_roi_ids() == ["0", "1"]
    assert segmentation.get_roi_masks().num_pixels.tolist() == [2, 1]
    assert open_regions(path, dataset="00.01.test", frame_shape=(4, 4)).get_num_rois() == 0
    with pytest.raises(roi.StreamChoiceError, match="not '7'"):
        open_regions(path, dataset="7", frame_shape=(4, 4))


def test_a_dataset_is_not_chosen_where_there_is_one(recording: Path) -> None:
    assert roi.streams(recording, kind="segmentation") == {}
    with pytest.raises(roi.StreamChoiceError):
        open_regions(recording, dataset="00.00")


# Ids


def test_regions_without_ids_are_numbered(tmp_path: Path, write_dataset: Write) -> None:
    segmentation = open_regions(write_dataset(tmp_path / "d", [{"coordinates": [[0, 0]]}, {"coordinates": [[1, 1]]}]))
    assert segmentation.get_roi_ids() == ["0", "1"]
    assert segmentation.get_property_keys() == []


def test_ids_that_repeat_are_kept_as_a_property(tmp_path: Path, write_dataset: Write) -> None:
    twice = [{"id": 4, "coordinates": [[0, 0]]}, {"id": 4, "coordinates": [[1, 1]]}]
    segmentation = open_regions(write_dataset(tmp_path / "d", twice))
    assert segmentation.get_roi_ids() == ["0", "1"]
    assert segmentation.get_property("id").tolist() == ["4", "4"]
    assert "not unique" in segmentation.get_notes()[0]


@pytest.mark.parametrize("without", [{}, {"id": None}, {"id": ""}])
def test_ids_that_some_regions_lack_are_not_empty_names(
    tmp_path: Path, write_dataset: Write, without: dict[str, Any]
) -> None:
    regions = [{"id": 7, "coordinates": [[0, 0]]}, {**without, "coordinates": [[1, 1]]}]
    segmentation = open_regions(write_dataset(tmp_path / "n", regions=regions))
    assert segmentation.get_roi_ids() == ["0", "1"]
    assert segmentation.get_property("id").tolist() == ["7", ""]


def test_a_pixel_that_repeats_is_one_pixel(tmp_path: Path, write_dataset: Write) -> None:
    segmentation = open_regions(write_dataset(tmp_path / "d", [{"coordinates": [[3, 4], [1, 1], [3, 4.0]]}]))
    assert segmentation.get_roi_pixel_masks()[0].tolist() == [[1, 1, 1], [3, 4, 1]]
    assert open_regions(write_dataset(tmp_path / "e", [{"coordinates": [[1, 1]]}, {"coordinates": []}])).get_roi_masks(
        ["1"]
    ).num_pixels.tolist() == [0]


# Bad input


@pytest.mark.parametrize(
    ("coordinates", "words"),
    [
        ([[1, 2], [20, 3]], r"region '1' of regions.json has the pixel \[20, 3\], outside of the 20 x 40 frame"),
        ([[1, 2], [-1, 3]], r"the pixel \[-1, 3\], outside"),
        ([[1, 2], [10**30, 3]], "not a list of"),
        ([[1, 2], [1e300, 3]], "outside"),
        ([[1, 2], [1.5, 3]], "not whole pixels"),
        ([[1, 2], [float("nan"), 3]], "not whole pixels"),
        ([[1, 2], [float("inf"), 3]], "outside"),
        ([[1, 2, 3]], "coordinates in a volume"),
        ([[1, 2], [3]], r"not a list of \[row, column\]"),
        ([1, 2], r"not a list of \[row, column\]"),
        ([["1", "2"]], r"not a list of \[row, column\]"),
        ([[True, False]], r"not a list of \[row, column\]"),
        ("abc", r"not a list of \[row, column\]"),
        (None, r"not a list of \[row, column\]"),
        ({"a": 1}, r"not a list of \[row, column\]"),
    ],
)
def test_a_region_that_is_none_is_one_clear_sentence(
    tmp_path: Path, write_dataset: Write, coordinates: Any, words: str
) -> None:
    folder = write_dataset(tmp_path / "d", [{"coordinates": [[0, 0]]}, {"coordinates": coordinates}])
    with pytest.raises(roi.RecordingError, match=words):
        open_regions(folder)


def test_a_region_without_coordinates_is_refused(tmp_path: Path, write_dataset: Write) -> None:
    folder = write_dataset(tmp_path / "d", [{"id": 3, "coordinates": [[0, 0]]}, {"id": 7, "pixels": []}])
    with pytest.raises(roi.CorruptRecordingError, match=r"region '7' of regions.json has no coordinates"):
        open_regions(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"coordinates": [[0, 0]]}', "is not a list of regions"),
        ("[[[0, 0]]]", "is not a list of regions"),
        ('[{"coordinates": [[0, 0]]}', "is not valid JSON"),
        ("[" * 5000, "nested deeper"),
        ('[{"dataset": "a", "regions": 3}]', "not a list of JSON objects"),
        ('[{"dataset": "a", "regions": []}, {"dataset": "a", "regions": []}]', "a dataset more than once"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "regions.json").write_text(text)
    with pytest.raises(roi.RecordingError, match=words):
        open_regions(tmp_path / "regions.json", format="neurofinder", frame_shape=(4, 4))


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"dimensions": "512"}, r"has dimensions='512', expected \[rows, columns, frames\]"),
        ({"dimensions": [512]}, "expected"),
        ({"dimensions": [0, 5, 7]}, "expected"),
        ({"dimensions": [512.5, 512, 3]}, "expected"),
        ([1, 2], "info.json of the dataset is not a JSON object"),
    ],
)
def test_a_description_that_is_none_is_one_clear_sentence(
    tmp_path: Path, write_dataset: Write, info: Any, words: str
) -> None:
    with pytest.raises(roi.CorruptRecordingError, match=words):
        open_regions(write_dataset(tmp_path / "d", info=info))


def test_a_rate_or_a_resolution_that_is_none_is_unknown(tmp_path: Path, write_dataset: Write) -> None:
    for number, value in enumerate((0, -3, "7", None, True, float("nan"), [7])):
        info = {"dimensions": [20, 40, 9], "rate-hz": value, "pixels-per-micron": value}
        segmentation = open_regions(write_dataset(tmp_path / str(number), info=info))
        assert segmentation.get_sampling_frequency() is None
        assert segmentation.metadata.pixel_size is None


def test_a_dataset_for_testing_has_no_regions(tmp_path: Path, write_dataset: Write) -> None:
    folder = write_dataset(tmp_path / "d")
    (folder / "regions" / "regions.json").unlink()
    with pytest.raises(roi.SourceNotFoundError, match="published without regions"):
        open_regions(folder, format="neurofinder")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '[{"name": "Corsica", "coordinates": {"lat": 42.0}}]',
        '[{"type": "Feature", "geometry": {"coordinates": [[[1.5, 2]]]}}]',
    ],
)
def test_other_files_of_regions_are_not_claimed(tmp_path: Path, text: str) -> None:
    (tmp_path / "regions.json").write_text(text)
    with pytest.raises(roi.UnknownFormatError):
        open_regions(tmp_path / "regions.json")

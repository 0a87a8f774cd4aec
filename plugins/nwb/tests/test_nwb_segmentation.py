"""ROIs of NWB files in HDF5 and in Zarr: tables, masks, traces, clocks, columns, images, and files that contradict themselves."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import CorruptRecordingError, StreamChoiceError, UnsupportedRecordingError
from roiextractors_core.testing import SegmentationExtractorTests

Write = Callable[..., Path]
Parts = Callable[..., dict[str, Any]]

ROWS, COLUMNS, SAMPLES = 7, 11, 20
# Each ROI as (row, column, weight); none is symmetric, and the frame is not square
ROIS = (
    ((0, 1, 0.5), (0, 2, 0.25), (1, 2, 1.0)),
    ((3, 9, 2.0), (4, 9, 1.0), (4, 10, 0.75)),
    ((6, 0, 1.5),),
    ((2, 5, 1.0), (2, 6, 1.0), (2, 7, 3.0), (3, 5, 0.125)),
)
MODULE = "processing/ophys"
TABLE = f"{MODULE}/ImageSegmentation/PlaneSegmentation"
PIXELS = np.dtype([("x", "<u4"), ("y", "<u4"), ("weight", "<f4")])
VOXELS = np.dtype([("x", "<u4"), ("y", "<u4"), ("z", "<u4"), ("weight", "<f4")])


def dense(rois: Any = ROIS) -> np.ndarray:
    """Masks as NWB stores them: (rois, x, y)."""
    masks = np.zeros((len(rois), COLUMNS, ROWS), np.float32)
    for k, mask in enumerate(rois):
        for row, column, weight in mask:
            masks[k, column, row] = weight
    return masks


def pixels(rois: Any = ROIS) -> np.ndarray:
    return np.array([(column, row, weight) for mask in rois for row, column, weight in mask], PIXELS)


def ends(rois: Any = ROIS) -> np.ndarray:
    return np.cumsum([len(mask) for mask in rois]).astype("<u4")


def traces(offset: float = 0.0, count: int = len(ROIS), samples: int = SAMPLES) -> np.ndarray:
    """(samples, ROIs), each value different."""
    return (np.arange(samples)[:, None] * 10.0 + np.arange(count) + offset).astype("<f4")


def table(link: type, *, path: str = TABLE, ids: Any = None, **columns: Any) -> dict[str, Any]:
    """The parts of one table of ROIs; a column's name begins with a slash, and an attribute's with @."""
    columns = columns or {"/image_mask": dense()}
    names = [key[1:] for key in columns if key.startswith("/") and "@" not in key and not key.endswith("_index")]
    folder = path.rpartition("/")[0]
    return {
        f"{MODULE}@neurodata_type": "ProcessingModule",
        f"{folder}@neurodata_type": "ImageSegmentation",
        f"{path}@neurodata_type": "PlaneSegmentation",
        f"{path}@colnames": [name for name in names if name != "id"],
        f"{path}/imaging_plane": link("/general/optophysiology/plane1"),
        **({} if ids is False else {f"{path}/id": np.arange(len(ROIS)) if ids is None else np.asarray(ids)}),
        **{f"{path}{key}": value for key, value in columns.items()},
    }


def response(
    reference: type,
    path: str = f"{MODULE}/Fluorescence/RoiResponseSeries",
    data: Any = None,
    *,
    rois: Any = None,
    of: str = TABLE,
    container: str = "",
    timing: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The parts of one series of traces."""
    data = traces() if data is None else data
    clock = {"/starting_time": 2.0, "/starting_time@rate": 8.0} if timing is None else timing
    folder = path.rpartition("/")[0]
    kind = container or ("DfOverF" if folder.endswith("DfOverF") else "Fluorescence")
    return {
        f"{folder}@neurodata_type": kind,
        f"{path}@neurodata_type": "RoiResponseSeries",
        f"{path}/data": data,
        f"{path}/data@unit": "n.a.",
        f"{path}/rois": np.arange(np.shape(data)[1]) if rois is None else np.asarray(rois),
        f"{path}/rois@neurodata_type": "DynamicTableRegion",
        f"{path}/rois@table": reference("/" + of),
        **{f"{path}{key}": value for key, value in clock.items()},
    }


def images(**named: Any) -> dict[str, Any]:
    """A container of images; each is given as (x, y), as NWB stores them."""
    place = f"{MODULE}/SegmentationImages"
    found: dict[str, Any] = {f"{place}@neurodata_type": "Images"}
    for name, image in named.items():
        found |= {f"{place}/{name}": image, f"{place}/{name}@neurodata_type": "GrayscaleImage"}
    return found


def mean_image() -> np.ndarray:
    """(rows, columns)."""
    return np.arange(ROWS * COLUMNS, dtype="<f4").reshape(ROWS, COLUMNS)


def whole(session: Parts, link: type, reference: type) -> dict[str, Any]:
    """A session with everything a segmentation may have."""
    columns = {
        "/image_mask": dense(),
        "/Accepted": np.array([1, 0, 1, 1]),
        "/Accepted@description": "whether it is a cell",
        "/Rejected": np.array([0, 1, 0, 0]),
        "/snr": np.array([1.5, 2.5, np.nan, 4.5]),
        "/snr@description": "signal to noise",
        "/label": ["soma", "soma", "dendrite", "ä"],
    }
    return session(
        **{
            **table(link, ids=[4, 7, 9, 12], **columns),
            **response(reference),
            **response(reference, f"{MODULE}/Fluorescence/Neuropil", traces(1000)),
            **response(reference, f"{MODULE}/DfOverF/RoiResponseSeries", traces(2000)),
            **images(mean=mean_image().T, correlation=mean_image().T / 100),
        }
    )


FLUORESCENCE = f"{MODULE}/Fluorescence"


@pytest.fixture(params=["hdf5", "zarr"])
def write(request: pytest.FixtureRequest, tmp_path: Path, write_nwb: Write, write_zarr: Write) -> Write:
    """Write parts as an NWB file, in HDF5 and in Zarr."""
    if request.param == "zarr":
        return lambda parts, name="session": write_zarr(tmp_path / f"{name}.nwb.zarr", parts)
    return lambda parts, name="session": write_nwb(tmp_path / f"{name}.nwb", parts)


@pytest.fixture
def parts(session: Parts, link: type, reference: type) -> dict[str, Any]:
    return whole(session, link, reference)


@pytest.fixture
def recording(write: Write, parts: dict[str, Any]) -> Path:
    return write(parts)


def opened(path: Path, **options: Any) -> Any:
    return roi.open(path, kind="segmentation", **options)


def pixel_lists(rois: Any = ROIS) -> list[list[tuple[float, ...]]]:
    return [sorted(map(tuple, np.array(pixels_of, float).tolist())) for pixels_of in rois]


def as_sorted(masks: Any) -> list[list[tuple[float, ...]]]:
    return [sorted(map(tuple, mask.tolist())) for mask in masks]


# A tidy file


def test_a_tidy_file_is_read_without_a_warning(recording: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with opened(recording) as rois:
            assert rois.provenance.format == "nwb-segmentation"
            assert rois.get_roi_ids() == ["4", "7", "9", "12"]
            assert rois.get_frame_shape() == (ROWS, COLUMNS)
            assert rois.get_num_samples() == SAMPLES
            assert rois.get_sampling_frequency() == 8.0
            assert rois.get_trace_names() == ("raw", "dff", "neuropil")
            assert as_sorted(rois.get_roi_pixel_masks()) == pixel_lists()
            np.testing.assert_array_equal(rois.get_roi_image_masks(["9", "4"]), dense()[[2, 0]].transpose(2, 1, 0))
            np.testing.assert_array_equal(rois.get_traces(), traces())
            np.testing.assert_array_equal(rois.get_traces(["12", "7"], 3, 9, name="dff"), traces(2000)[3:9, [3, 1]])
            np.testing.assert_array_equal(rois.get_timestamps(), np.arange(SAMPLES) / 8.0 + 2.0)
            assert rois.get_image_names() == ("correlation", "mean")
            np.testing.assert_array_equal(rois.get_image("mean"), mean_image())
            assert rois.get_property_keys() == ["accepted", "rejected", "snr", "label"]
            np.testing.assert_array_equal(rois.get_property("accepted"), [True, False, True, True])
            np.testing.assert_array_equal(rois.get_property("snr", ["12", "4"]), [4.5, 1.5])
            assert rois.get_property_info("snr").description == "signal to noise"
            assert rois.get_property("label").tolist() == ["soma", "soma", "dendrite", "ä"]
            assert rois.get_background() is None
            assert rois.get_notes() == ()
            assert roi.streams(recording, kind="segmentation") == {}


def test_metadata_are_those_of_the_imaging_plane_and_the_session(recording: Path) -> None:
    with opened(recording) as rois:
        metadata = rois.metadata
        assert metadata.start_time is not None
        assert metadata.start_time.isoformat() == "2020-01-02T03:04:00+00:00"
        assert metadata.pixel_size == (0.25, 0.5)
        assert metadata.device == "Scope"
        assert metadata.channels[0].excitation_wavelength == 920.0
        assert metadata.channels[0].emission_wavelength == 510.0
        plane = metadata.vendor["imaging_plane"]
        assert (plane["indicator"], plane["imaging_rate"]) == ("GCaMP6f", 30.0)
        assert metadata.vendor["plane_segmentation"]["path"] == TABLE
        assert metadata.vendor["traces"]["raw"]["unit"] == "n.a."


def test_a_view_and_a_pickle_are_of_the_same_rois(recording: Path) -> None:
    with opened(recording) as rois:
        view = rois.select_rois(["12", "4"]).slice_samples(5, 9)
        for found in (view, pickle.loads(pickle.dumps(view))):
            assert found.get_roi_ids() == ["12", "4"]
            np.testing.assert_array_equal(found.get_traces(name="neuropil"), traces(1000)[5:9, [3, 0]])
            assert as_sorted(found.get_roi_pixel_masks()) == [pixel_lists()[3], pixel_lists()[0]]
            assert found.get_property("label").tolist() == ["ä", "soma"]
            np.testing.assert_array_equal(found.get_timestamps(), np.arange(5, 9) / 8.0 + 2.0)


def test_the_users_rate_runs_from_the_files_starting_time(recording: Path) -> None:
    with opened(recording, sampling_frequency=2.0) as rois:
        assert rois.get_sampling_frequency() == 2.0
        np.testing.assert_array_equal(rois.get_timestamps()[:3], [2.0, 2.5, 3.0])


def test_a_closed_segmentation_reads_nothing(recording: Path) -> None:
    rois = opened(recording)
    rois.close()
    with pytest.raises(roi.errors.ClosedRecordingError):
        rois.get_traces()
    with pytest.raises(roi.errors.ClosedRecordingError):
        rois.get_roi_masks()


def test_a_file_with_a_movie_and_rois_opens_either(
    write: Write, parts: dict[str, Any], series: Parts, session: Parts
) -> None:
    movie = np.arange(SAMPLES * COLUMNS * ROWS, dtype="<u2").reshape(SAMPLES, COLUMNS, ROWS)
    timing = {"/starting_time": 0.0, "/starting_time@rate": 8.0}
    path = write({**parts, **series("acquisition/Movie", movie, **timing)})
    with roi.open(path) as recording, opened(path) as rois:
        assert recording.shape == (SAMPLES, ROWS, COLUMNS)
        assert rois.get_num_rois() == len(ROIS)


def test_an_imaging_open_of_rois_alone_names_the_kind(recording: Path) -> None:
    with pytest.raises(roi.errors.RoiExtractorsError, match="kind='segmentation'"):
        roi.open(recording)


def test_a_movie_alone_is_not_a_segmentation(write: Write, session: Parts, series: Parts) -> None:
    path = write(session(**{**series("acquisition/Movie", np.zeros((3, 5, 6), "<u2"))}))
    with pytest.raises(roi.errors.RoiExtractorsError, match=r"contains no segmentation.*kind='imaging'"):
        opened(path)


# Masks


def test_lists_of_pixels_have_x_as_the_column(write: Write, session: Parts, link: type, reference: type) -> None:
    columns = {"/pixel_mask": pixels(), "/pixel_mask_index": ends()}
    path = write(session(**{**table(link, **columns), **response(reference), **images(mean=mean_image().T)}))
    with opened(path) as rois:
        assert rois.get_frame_shape() == (ROWS, COLUMNS)
        assert as_sorted(rois.get_roi_pixel_masks()) == pixel_lists()
        assert as_sorted(rois.get_roi_pixel_masks(["3", "1"])) == [pixel_lists()[3], pixel_lists()[1]]
        np.testing.assert_array_equal(rois.get_roi_image_masks(), dense().transpose(2, 1, 0))


def test_lists_of_voxels_have_planes_last(write: Write, session: Parts, link: type, series: Parts) -> None:
    voxels = np.array([(c, r, (r + c) % 3, w) for mask in ROIS for r, c, w in mask], VOXELS)
    movie = series("acquisition/Movie", np.zeros((2, COLUMNS, ROWS, 3), "<u2"))
    path = write(session(**{**table(link, **{"/voxel_mask": voxels, "/voxel_mask_index": ends()}), **movie}))
    with opened(path) as rois:
        assert rois.get_mask_shape() == (ROWS, COLUMNS, 3)
        expected = [sorted((float(r), float(c), float((r + c) % 3), w) for r, c, w in mask) for mask in ROIS]
        assert as_sorted(rois.get_roi_pixel_masks()) == expected
        assert rois.metadata.plane_spacing == 4.0


def test_dense_volumes_have_planes_last(write: Write, session: Parts, link: type) -> None:
    volume = np.stack([dense(), dense() * 0, dense() * 2], axis=-1)
    path = write(session(**{**table(link, **{"/image_mask": volume})}))
    with opened(path) as rois:
        assert rois.get_mask_shape() == (ROWS, COLUMNS, 3)
        np.testing.assert_array_equal(rois.get_roi_image_masks(), volume.transpose(2, 1, 3, 0))


def test_lists_are_read_before_dense_masks_and_a_note_says_so(write: Write, session: Parts, link: type) -> None:
    columns = {"/image_mask": dense() * 3, "/pixel_mask": pixels(), "/pixel_mask_index": ends()}
    with opened(write(session(**{**table(link, **columns)}))) as rois:
        assert as_sorted(rois.get_roi_pixel_masks()) == pixel_lists()
        assert rois.get_notes() == ("masks are read from pixel_mask; the table has image_mask as well",)


def test_a_frame_that_nothing_states_is_the_smallest_with_a_warning_or_the_users(
    write: Write, session: Parts, link: type
) -> None:
    path = write(
        session(**{**table(link, **{"/pixel_mask": pixels(ROIS[:2]), "/pixel_mask_index": ends(ROIS[:2])}, ids=[0, 1])})
    )
    with pytest.warns(roi.RoiExtractorsWarning, match=r"does not state the size.*5 rows and 11 columns.*frame_shape"):
        rois = opened(path)
    with rois:
        assert rois.get_frame_shape() == (5, 11)
        assert as_sorted(rois.get_roi_pixel_masks()) == pixel_lists(ROIS[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with opened(path, frame_shape=(ROWS, COLUMNS)) as rois:
            assert rois.get_frame_shape() == (ROWS, COLUMNS)
            assert as_sorted(rois.get_roi_pixel_masks()) == pixel_lists(ROIS[:2])


def test_a_frame_shape_that_contradicts_dense_masks_is_refused(recording: Path) -> None:
    with pytest.raises(
        UnsupportedRecordingError, match=r"have 7 rows and 11 columns; open without frame_shape=\(11, 7\)"
    ):
        opened(recording, frame_shape=(11, 7))
    with pytest.raises(UnsupportedRecordingError, match=r"frame_shape must be \(rows, columns\)"):
        opened(recording, frame_shape=(0, 7))


def test_x_and_y_that_are_exchanged_are_noticed_where_they_do_not_fit(write: Write, session: Parts, link: type) -> None:
    turned = pixels()
    turned["x"], turned["y"] = pixels()["y"], pixels()["x"]
    columns = {"/pixel_mask": turned, "/pixel_mask_index": ends()}
    with opened(write(session(**{**table(link, **columns), **images(mean=mean_image().T)}))) as rois:
        with pytest.warns(roi.RoiExtractorsWarning, match="x and y are exchanged"):
            masks = rois.get_roi_pixel_masks(["0"])
        assert as_sorted(masks) == pixel_lists()[:1]


def test_pixels_that_neuroconv_wrote_have_the_row_first(write: Write, session: Parts, link: type) -> None:
    """NeuroConv 0.10 writes ``tuple(pixel)`` of roiextractors' (row, column, weight) as (x, y, weight)."""
    square = {"mean": np.zeros((COLUMNS, COLUMNS))}
    turned = pixels()
    turned["x"], turned["y"] = pixels()["y"], pixels()["x"]
    columns = {
        "/pixel_mask": turned,
        "/pixel_mask_index": ends(),
        "/roi_name": ["a", "b", "c", "d"],
        "/roi_name@description": "The unique identifier for each ROI.",
    }
    for more in (images(**square), {}):
        path = write(session(**{**table(link, **columns), **more}), name=f"n{len(more)}")
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            rois = opened(path)
        with rois:
            assert rois.get_frame_shape() == ((COLUMNS, COLUMNS) if more else (ROWS, COLUMNS))
            with pytest.warns(roi.RoiExtractorsWarning, match="written by NeuroConv"):
                masks = rois.get_roi_pixel_masks()
            assert as_sorted(masks) == pixel_lists()
            assert "written by NeuroConv" in rois.get_notes()[-1]


def test_a_roi_without_pixels_is_an_empty_mask(write: Write, session: Parts, link: type) -> None:
    rois_with_none = (ROIS[0], (), ROIS[2])
    columns = {"/pixel_mask": pixels(rois_with_none), "/pixel_mask_index": ends(rois_with_none)}
    for masks in (columns, {"/image_mask": dense(rois_with_none)}):
        path = write(
            session(**{**table(link, ids=[0, 1, 2], **masks), **images(mean=mean_image().T)}), name=f"{len(masks)}"
        )
        with opened(path) as rois:
            assert rois.get_roi_masks().num_pixels.tolist() == [3, 0, 1]


def test_an_empty_table_has_no_rois(write: Write, session: Parts, link: type) -> None:
    path = write(session(**{**table(link, ids=np.empty(0, int), **{"/image_mask": np.empty((0, COLUMNS, ROWS))})}))
    with opened(path) as rois:
        assert rois.get_num_rois() == 0
        assert len(rois.get_roi_masks()) == 0


def test_a_table_without_masks_has_traces_alone(write: Write, session: Parts, link: type, reference: type) -> None:
    path = write(session(**{**table(link, **{"/snr": np.arange(4.0)}), **response(reference)}))
    with opened(path) as rois:
        assert not rois.has_masks
        np.testing.assert_array_equal(rois.get_traces(), traces())
        with pytest.raises(UnsupportedRecordingError, match="no masks"):
            rois.get_roi_masks()


def test_dense_masks_are_read_for_the_rois_asked_for_alone(
    tmp_path: Path, write_nwb: Write, parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from roiextractors_nwb.arrays import Hdf5Dataset

    path = write_nwb(tmp_path / "chunks.nwb", parts, chunks=(1, COLUMNS, ROWS), compression="gzip")
    asked: list[Any] = []
    read = Hdf5Dataset.read

    def noted(self: Any, samples: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(samples)
        return read(self, samples, *args, **kwargs)

    monkeypatch.setattr(Hdf5Dataset, "read", noted)
    with opened(path) as rois:
        assert asked == []
        assert as_sorted(rois.get_roi_pixel_masks(["9"])) == [pixel_lists()[2]]
    assert [part.tolist() for part in asked] == [[2]]


# Tables


def two_planes(session: Parts, link: type, reference: type) -> dict[str, Any]:
    folder = f"{MODULE}/ImageSegmentation"
    first, second = f"{folder}/PlaneSegmentationPlane0", f"{folder}/PlaneSegmentationPlane1"
    return session(
        **{
            **table(link, path=first),
            **table(link, path=second, ids=[0, 1], **{"/image_mask": dense(ROIS[2:])}),
            **response(reference, f"{FLUORESCENCE}/RoiResponseSeriesPlane0", traces(), of=first),
            **response(reference, f"{FLUORESCENCE}/NeuropilPlane0", traces(50), of=first),
            **response(reference, f"{FLUORESCENCE}/RoiResponseSeriesPlane1", traces(500, 2), of=second),
            **images(MeanPlane0=mean_image().T, MeanPlane1=mean_image().T + 1),
        }
    )


def test_every_table_is_a_stream_with_its_own_series_and_images(
    write: Write, session: Parts, link: type, reference: type
) -> None:
    path = write(two_planes(session, link, reference))
    names = ("PlaneSegmentationPlane0", "PlaneSegmentationPlane1")
    assert roi.streams(path, kind="segmentation") == {"plane_segmentation": names}
    with pytest.raises(StreamChoiceError, match="plane_segmentation='PlaneSegmentationPlane0'"):
        opened(path)
    with pytest.raises(StreamChoiceError, match="PlaneSegmentationPlane1"):
        opened(path, plane_segmentation="Plane2")
    with opened(path, plane_segmentation=names[0]) as rois:
        assert rois.get_trace_names() == ("raw", "neuropil")
        assert rois.get_image_names() == ("MeanPlane0",)
        np.testing.assert_array_equal(rois.get_traces(name="neuropil"), traces(50))
    with opened(path, plane_segmentation=f"{MODULE}/ImageSegmentation/{names[1]}") as rois:
        assert rois.get_trace_names() == ("raw",)
        assert rois.get_num_rois() == 2
        np.testing.assert_array_equal(rois.get_traces(), traces(500, 2))
        assert as_sorted(rois.get_roi_pixel_masks()) == pixel_lists(ROIS[2:])


def test_tables_of_one_name_are_chosen_by_path(write: Write, session: Parts, link: type) -> None:
    other = "processing/second/ImageSegmentation/PlaneSegmentation"
    path = write(session(**{**table(link), **table(link, path=other, ids=[5, 6], **{"/image_mask": dense(ROIS[:2])})}))
    assert roi.streams(path, kind="segmentation") == {"plane_segmentation": (TABLE, other)}
    with opened(path, plane_segmentation=other) as rois:
        assert rois.get_roi_ids() == ["5", "6"]


def test_a_table_of_background_components_is_the_background_of_the_other(
    write: Write, session: Parts, link: type, reference: type
) -> None:
    other = f"{MODULE}/ImageSegmentation/BackgroundPlaneSegmentation"
    path = write(
        session(
            **{
                **table(link),
                **table(link, path=other, ids=[0, 1], **{"/image_mask": dense(ROIS[:2])}),
                **response(reference),
                **response(reference, f"{FLUORESCENCE}/neuropil", traces(70, 2), of=other),
            }
        )
    )
    assert roi.streams(path, kind="segmentation") == {}
    with opened(path) as rois:
        assert rois.get_trace_names() == ("raw",)
        assert rois.get_background_ids() == ["0", "1"]
        assert as_sorted(rois.get_background_pixel_masks()) == pixel_lists(ROIS[:2])
        np.testing.assert_array_equal(rois.get_traces(name="background"), traces(70, 2))
        np.testing.assert_array_equal(rois.get_traces(["1"], 3, 5, name="background"), traces(70, 2)[3:5, [1]])
        view = rois.slice_samples(4, 9)
        np.testing.assert_array_equal(view.get_traces_dict()["background"], traces(70, 2)[4:9])
    with opened(path, plane_segmentation="BackgroundPlaneSegmentation") as alone:
        assert alone.get_num_rois() == 2


# Ids


def test_rois_without_ids_are_numbered(write: Write, session: Parts, link: type) -> None:
    with opened(write(session(**{**table(link, ids=False)}))) as rois:
        assert rois.get_roi_ids() == ["0", "1", "2", "3"]


def test_repeated_ids_are_replaced_and_negative_ones_kept_each_with_a_warning(
    write: Write, session: Parts, link: type
) -> None:
    with pytest.warns(roi.RoiExtractorsWarning, match=r"has the id '7' more than once.*numbered from '0'"):
        rois = opened(write(session(**{**table(link, ids=[5, 7, 6, 7])})))
    with rois:
        assert rois.get_roi_ids() == ["0", "1", "2", "3"]
    with pytest.warns(roi.RoiExtractorsWarning, match=r"2 ids of .* are negative"):
        rois = opened(write(session(**{**table(link, ids=[-1, 7, 6, -2])}), name="negative"))
    with rois:
        assert rois.get_roi_ids() == ["-1", "7", "6", "-2"]


# Traces


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Fluorescence/RoiResponseSeries", "raw"),
        ("Fluorescence/roi_response_series", "raw"),
        ("Fluorescence/Neuropil", "neuropil"),
        ("Fluorescence/Deconvolved", "deconvolved"),
        ("Fluorescence/Denoised", "denoised"),
        ("Fluorescence/Baseline", "baseline"),
        ("Fluorescence/DfOverF", "dff"),
        ("DfOverF/RoiResponseSeries", "dff"),
        ("DfOverF/anything", "dff"),
        ("Fluorescence/Events", "Events"),
        ("bare", "bare"),
    ],
)
def test_series_have_the_names_of_traces(
    tmp_path: Path, write_nwb: Write, session: Parts, link: type, reference: type, path: str, name: str
) -> None:
    kind = "ProcessingModule" if "/" not in path else ""
    file = write_nwb(
        tmp_path / "a.nwb", session(**{**table(link), **response(reference, f"{MODULE}/{path}", container=kind)})
    )
    with opened(file) as rois:
        assert rois.get_trace_names() == (name,)
        np.testing.assert_array_equal(rois.get_traces(name=name), traces())


def test_two_series_of_one_name_are_told_apart_by_their_containers(
    write: Write, session: Parts, link: type, reference: type
) -> None:
    path = write(
        session(
            **{
                **table(link),
                **response(reference),
                **response(reference, f"{MODULE}/Corrected/RoiResponseSeries", traces(9)),
                **response(reference, f"{MODULE}/Other/Spikes", traces(19)),
            }
        )
    )
    with opened(path) as rois:
        assert rois.get_trace_names() == ("raw", "Corrected/RoiResponseSeries", "Spikes")
        np.testing.assert_array_equal(rois.get_traces(name="Corrected/RoiResponseSeries"), traces(9))


def test_a_series_of_some_rois_raises_for_the_others(write: Write, session: Parts, link: type, reference: type) -> None:
    path = write(session(**{**table(link), **response(reference, data=traces(0, 2), rois=[3, 1])}))
    with opened(path) as rois:
        assert rois.get_trace_roi_ids("raw") == ["1", "3"]
        np.testing.assert_array_equal(rois.get_traces(["3", "1"]), traces(0, 2))
        np.testing.assert_array_equal(rois.select_rois(["1"]).get_traces(), traces(0, 2)[:, [1]])
        with pytest.raises(UnsupportedRecordingError, match=r"no values for 2 ROIs \('0' and '2'\).*get_trace_roi_ids"):
            rois.get_traces()
        assert rois.get_notes() == ("trace 'raw' has values of 2 of 4 ROIs",)


def test_a_series_in_another_order_is_put_in_the_order_of_the_table(
    write: Write, session: Parts, link: type, reference: type
) -> None:
    path = write(session(**{**table(link), **response(reference, rois=[2, 0, 3, 1])}))
    with opened(path) as rois:
        np.testing.assert_array_equal(rois.get_traces(), traces()[:, [1, 3, 0, 2]])


def test_a_series_that_is_stored_the_other_way_round_is_turned_with_a_warning(
    write: Write, session: Parts, link: type, reference: type
) -> None:
    path = write(session(**{**table(link), **response(reference, data=traces().T.copy(), rois=[0, 1, 2, 3])}))
    with pytest.warns(roi.RoiExtractorsWarning, match=r"stored as \(ROIs, samples\), contrary to the schema"):
        rois = opened(path)
    with rois:
        assert rois.get_num_samples() == SAMPLES
        np.testing.assert_array_equal(rois.get_traces(["2", "0"], 4, 8), traces()[4:8, [2, 0]])


def test_as_many_samples_as_rois_are_turned_only_by_their_timestamps(
    write: Write, session: Parts, link: type, reference: type
) -> None:
    square = traces(samples=4)
    path = write(session(**{**table(link), **response(reference, data=square, timing={"/timestamps": np.arange(4.0)})}))
    with opened(path) as rois:
        np.testing.assert_array_equal(rois.get_traces(), square)


def test_the_samples_of_a_single_roi_may_be_a_list(write: Write, session: Parts, link: type, reference: type) -> None:
    path = write(
        session(
            **{
                **table(link, ids=[8], **{"/image_mask": dense(ROIS[:1])}),
                **response(reference, data=traces(count=1)[:, 0], rois=[0]),
            }
        )
    )
    with opened(path) as rois:
        np.testing.assert_array_equal(rois.get_traces(start_frame=2, end_frame=5), traces(count=1)[2:5])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": traces(0, 3), "rois": [0, 1, 2, 3]}, r"has values of shape \(20, 3\) for 4 ROIs"),
        ({"rois": [0, 1, 2, 4]}, r"names row 4 of a table of 4 ROIs"),
        ({"rois": [0, 1, 2, -1]}, r"names row -1 of a table of 4 ROIs"),
        ({"rois": [0, 1, 2, 2]}, r"lists an ROI more than once"),
        ({"rois": [0.5, 1, 2, 3]}, r"identifies its ROIs by something other than rows"),
        ({"data": traces(samples=19)}, r"Neuropil has 19 samples, but .*RoiResponseSeries has 20"),
        ({"data": np.zeros((SAMPLES, 4, 2)), "rois": [0, 1, 2, 3]}, r"shape \(20, 4, 2\), not \(samples, ROIs\)"),
    ],
)
def test_a_series_that_contradicts_the_table_is_left_out_with_a_warning(
    write: Write, session: Parts, link: type, reference: type, change: dict[str, Any], words: str
) -> None:
    bad = response(reference, f"{FLUORESCENCE}/Neuropil", **change)
    path = write(session(**{**table(link), **response(reference), **bad}))
    with pytest.warns(roi.RoiExtractorsWarning, match=words + ".*left out"):
        rois = opened(path)
    with rois:
        assert rois.get_trace_names() == ("raw",)
        assert "left out" in rois.get_notes()[-1]
        np.testing.assert_array_equal(rois.get_traces(), traces())


def test_a_series_without_data_or_without_a_table_is_left_out(
    write: Write, session: Parts, link: type, reference: type
) -> None:
    path = f"{FLUORESCENCE}/Neuropil"
    for key, words in (
        ("data", "has no values"),
        ("rois", "does not name its ROIs"),
        ("rois@table", "which table its ROIs"),
    ):
        bad = response(reference, path)
        removed = {k: v for k, v in bad.items() if k != f"{path}/{key}" and not k.startswith(f"{path}/{key}@")}
        file = write(session(**{**table(link), **response(reference), **removed}), name=key.replace("@", "-"))
        with pytest.warns(roi.RoiExtractorsWarning, match=words):
            rois = opened(file)
        with rois:
            assert rois.get_trace_names() == ("raw",)


def test_a_conversion_is_a_note_and_values_are_as_stored(
    write: Write, session: Parts, link: type, reference: type
) -> None:
    facts = {
        f"{FLUORESCENCE}/RoiResponseSeries/data@conversion": 0.5,
        f"{FLUORESCENCE}/RoiResponseSeries/data@offset": 3.0,
    }
    with opened(write(session(**{**table(link), **response(reference), **facts}))) as rois:
        np.testing.assert_array_equal(rois.get_traces(), traces())
        assert rois.get_notes()[-1].endswith("conversion to 'n.a.' is 0.5 * value + 3")


# Times


def test_timestamps_are_the_clock_and_give_the_rate(write: Write, session: Parts, link: type, reference: type) -> None:
    stamps = np.arange(SAMPLES) * 0.25 + 7.0
    path = write(session(**{**table(link), **response(reference, timing={"/timestamps": stamps})}))
    with opened(path) as rois:
        np.testing.assert_array_equal(rois.get_timestamps(), stamps)
        assert rois.times_source == "native"
        assert rois.get_sampling_frequency() == 4.0


def test_clocks_that_contradict_each_other_are_a_warning_and_the_first_traces_is_used(
    write: Write, session: Parts, link: type, reference: type
) -> None:
    same = {"/timestamps": np.arange(SAMPLES) / 8.0 + 2.0}
    later = {"/starting_time": 2.5, "/starting_time@rate": 8.0}
    neuropil = f"{FLUORESCENCE}/Neuropil"
    agreeing = write(session(**{**table(link), **response(reference), **response(reference, neuropil, timing=same)}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(agreeing).close()
    path = write(
        session(**{**table(link), **response(reference), **response(reference, neuropil, timing=later)}), name="b"
    )
    with pytest.warns(roi.RoiExtractorsWarning, match=r"times of .*Neuropil differ from those of .*RoiResponseSeries"):
        rois = opened(path)
    with rois:
        assert rois.get_timestamps()[0] == 2.0


def test_too_few_timestamps_are_not_used(write: Write, session: Parts, link: type, reference: type) -> None:
    path = write(session(**{**table(link), **response(reference, timing={"/timestamps": np.arange(5.0)})}))
    with pytest.warns(roi.RoiExtractorsWarning, match=r"20 samples but 5 timestamps of .*; they are not used"):
        rois = opened(path)
    with rois:
        assert rois.get_native_timestamps() is None
        assert rois.get_sampling_frequency() is None


# Columns and images


def test_columns_that_are_not_one_value_a_roi_are_left_out(write: Write, session: Parts, link: type) -> None:
    columns = {
        "/image_mask": dense(),
        "/centroid": np.zeros((4, 2)),
        "/events": np.arange(9.0),
        "/events_index": np.array([2, 4, 6, 9]),
        "/short": np.arange(3.0),
        "/Accepted": np.array([0.5, 1, 0, 1]),
    }
    with opened(write(session(**{**table(link, **columns)}))) as rois:
        with pytest.warns(roi.RoiExtractorsWarning, match=r"column .*short has 3 values for 4 ROIs"):
            assert rois.get_property_keys() == ["Accepted"]  # not truth values
        notes = " ".join(rois.get_notes())
        assert "'centroid' has more than one number" in notes
        assert "'events' has lists of different lengths" in notes


def test_images_stored_as_rows_and_columns_are_turned_with_a_warning_and_others_left_out(
    write: Write, session: Parts, link: type
) -> None:
    parts = session(**{**table(link), **images(mean=mean_image(), other=np.zeros((3, 3)))})
    with pytest.warns(roi.RoiExtractorsWarning, match=r"image .*mean is stored as \(rows, columns\)"):
        rois = opened(write(parts))
    with rois:
        assert rois.get_image_names() == ("mean",)
        np.testing.assert_array_equal(rois.get_image("mean"), mean_image())
        assert any("other has the shape (3, 3)" in note for note in rois.get_notes())


def test_a_reference_image_of_one_frame_is_an_image(write: Write, session: Parts, link: type, series: Parts) -> None:
    reference_image = series("acquisition/Reference", mean_image().T[np.newaxis].copy(), kind="ImageSeries")
    movie = series("acquisition/Movie", np.zeros((5, COLUMNS, ROWS), "<u2"))
    links = {
        f"{TABLE}/reference_images/Reference": link("/acquisition/Reference"),
        f"{TABLE}/reference_images/Movie": link("/acquisition/Movie"),
    }
    with opened(write(session(**{**table(link), **reference_image, **movie, **links}))) as rois:
        assert rois.get_image_names() == ("Reference",)
        np.testing.assert_array_equal(rois.get_image("Reference"), mean_image())


# Files that contradict themselves


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ([3, 2, 7, 11], r"decreases from 3 to 2 at ROI '1'"),
        ([3, 6, 7, 12], r"ends at 12 for ROI '3', but there are 11 pixels"),
        ([0.5, 6, 7, 11], r"must be 4 whole numbers"),
        ([-3, 6, 7, 11], r"decreases from 0 to -3 at ROI '0'"),
    ],
)
def test_an_index_that_contradicts_the_pixels_is_refused(
    write: Write, session: Parts, link: type, index: list[Any], words: str
) -> None:
    columns = {"/pixel_mask": pixels(), "/pixel_mask_index": np.array(index)}
    with opened(write(session(**{**table(link, **columns), **images(mean=mean_image().T)}))) as rois:
        with pytest.raises(CorruptRecordingError, match=words):
            rois.get_roi_masks()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("x", 11, r"has pixels .*outside of the frame of 7 rows and 11 columns"),
        ("weight", np.nan, r"ROI '1' has the weight nan"),
        ("weight", np.inf, r"ROI '1' has the weight inf"),
    ],
)
def test_pixels_outside_and_weights_that_are_no_numbers_are_refused(
    write: Write, session: Parts, link: type, field: str, value: Any, words: str
) -> None:
    bad = pixels()
    bad[field][4] = value
    columns = {"/pixel_mask": bad, "/pixel_mask_index": ends()}
    with opened(write(session(**{**table(link, **columns), **images(mean=mean_image().T)}))) as rois:
        with pytest.raises(CorruptRecordingError, match=words):
            rois.get_roi_masks(["0", "1"])


def test_a_pixel_that_is_listed_twice_is_refused(write: Write, session: Parts, link: type) -> None:
    bad = pixels()
    bad[4] = bad[3]
    columns = {"/pixel_mask": bad, "/pixel_mask_index": ends()}
    with opened(write(session(**{**table(link, **columns), **images(mean=mean_image().T)}))) as rois:
        with pytest.raises(CorruptRecordingError, match=r"ROI '1' contains pixel \(3, 9\) twice"):
            rois.get_roi_masks()


def test_a_dense_mask_with_nan_is_refused(write: Write, session: Parts, link: type) -> None:
    masks = dense()
    masks[2, 3, 3] = np.nan
    with opened(write(session(**{**table(link, **{"/image_mask": masks})}))) as rois:
        assert len(rois.get_roi_masks(["0", "1", "3"])) == 3
        with pytest.raises(CorruptRecordingError, match=r"the mask of ROI '2' .* contains nan"):
            rois.get_roi_masks()


def test_masks_of_another_number_than_ids_are_refused(write: Write, session: Parts, link: type) -> None:
    with pytest.raises(CorruptRecordingError, match="has 3 ids but 4 masks in image_mask"):
        opened(write(session(**{**table(link, ids=[0, 1, 2])})))


def test_pixels_without_an_index_are_left_out(write: Write, session: Parts, link: type) -> None:
    with pytest.warns(roi.RoiExtractorsWarning, match=r"no index \(pixel_mask_index\)"):
        rois = opened(write(session(**{**table(link, **{"/pixel_mask": pixels()})})))
    with rois:
        assert not rois.has_masks


def test_ids_that_are_not_a_list_of_numbers_are_refused(write: Write, session: Parts, link: type) -> None:
    with pytest.raises(CorruptRecordingError, match="id must be a list of at most"):
        opened(write(session(**{**table(link, ids=np.zeros((2, 2)))})))


def test_links_to_other_files_are_not_followed(
    tmp_path: Path, write_nwb: Write, session: Parts, link: type, reference: type
) -> None:
    secret = write_nwb(tmp_path / "secret.h5", {"masks": dense(), "traces": traces()})
    parts = session(**{**table(link), **response(reference), **response(reference, f"{FLUORESCENCE}/Neuropil")})
    path = write_nwb(tmp_path / "session.nwb", parts)
    with h5py.File(path, "r+") as file:
        for place, name in ((f"{TABLE}/image_mask", "masks"), (f"{FLUORESCENCE}/Neuropil/data", "traces")):
            del file[place]
            file[place] = h5py.ExternalLink(secret.name, name)
    with pytest.warns(roi.RoiExtractorsWarning, match="link to another file") as issued:
        rois = opened(path)
    with rois:
        assert not rois.has_masks
        assert rois.get_trace_names() == ("raw",)
    assert len(issued) == 2


def test_a_mask_whose_chunk_is_lost_is_warned_about(recording: Path) -> None:
    if recording.is_file():
        with h5py.File(recording, "r+") as file:
            del file[f"{TABLE}/image_mask"]
            file.create_dataset(f"{TABLE}/image_mask", (4, COLUMNS, ROWS), "<f4", chunks=(1, COLUMNS, ROWS))[2] = 1.0
    else:
        (recording / TABLE / "image_mask" / "0.0.0").unlink()
    with opened(recording) as rois:
        with pytest.warns(
            roi.RoiExtractorsWarning, match=r"mask of ROI '4' is empty, and \d chunks? of .*image_mask"
        ) as issued:
            rois.get_roi_masks()
        assert len(issued) == 1


def test_traces_whose_chunks_are_lost_are_warned_about(
    write_zarr: Write, tmp_path: Path, parts: dict[str, Any]
) -> None:
    path = write_zarr(tmp_path / "session.nwb.zarr", parts)
    (path / FLUORESCENCE / "Neuropil" / "data" / "0.0").unlink()
    with pytest.warns(roi.RoiExtractorsWarning, match=r"1 chunk of .*Neuropil are missing"):
        opened(path).close()


def test_masks_in_external_storage_are_refused(tmp_path: Path, write_nwb: Write, session: Parts, link: type) -> None:
    columns = {"/pixel_mask": pixels(), "/pixel_mask_index": ends()}
    path = write_nwb(tmp_path / "session.nwb", session(**{**table(link, **columns), **images(mean=mean_image().T)}))
    secret = tmp_path / "secret.bin"
    secret.write_bytes(pixels().tobytes())
    with h5py.File(path, "r+") as file:
        del file[f"{TABLE}/pixel_mask"]
        stored = [(str(secret), 0, secret.stat().st_size)]
        file.create_dataset(f"{TABLE}/pixel_mask", (len(pixels()),), pixels().dtype, external=stored)
    with opened(path) as rois:
        with pytest.raises(UnsupportedRecordingError, match="in another file"):
            rois.get_roi_masks()


def test_links_in_a_circle_end(tmp_path: Path, write_nwb: Write, session: Parts, link: type, reference: type) -> None:
    parts = session(
        **{
            **table(link),
            **response(reference),
            **{f"{FLUORESCENCE}/Neuropil@neurodata_type": "RoiResponseSeries", f"{FLUORESCENCE}/Neuropil/x": 1},
        }
    )
    path = write_nwb(tmp_path / "session.nwb", parts)
    with h5py.File(path, "r+") as file:
        for a, b in (("rois", "data"), ("data", "rois")):
            file[f"{FLUORESCENCE}/Neuropil/{a}"] = h5py.SoftLink(f"/{FLUORESCENCE}/Neuropil/{b}")
        del file[f"{TABLE}/imaging_plane"]
        file[f"{TABLE}/imaging_plane"] = h5py.SoftLink(f"/{TABLE}/imaging_plane")
    with pytest.warns(roi.RoiExtractorsWarning, match="form a circle"):
        rois = opened(path)
    with rois:
        assert rois.get_trace_names() == ("raw",)


def test_a_list_of_pixels_that_was_never_written_is_refused(
    tmp_path: Path, write_nwb: Write, session: Parts, link: type
) -> None:
    columns = {"/pixel_mask": pixels(), "/pixel_mask_index": ends()}
    path = write_nwb(tmp_path / "session.nwb", session(**{**table(link, **columns), **images(mean=mean_image().T)}))
    with h5py.File(path, "r+") as file:
        del file[f"{TABLE}/pixel_mask"]
        file.create_dataset(f"{TABLE}/pixel_mask", (1 << 40,), pixels().dtype, chunks=(1 << 20,))
    with opened(path) as rois:
        with pytest.raises(CorruptRecordingError, match="pixel_mask is incomplete"):
            rois.get_roi_masks()


@pytest.mark.quick(1)
@pytest.mark.parametrize("part", ["attributes", "everything"])
def test_a_text_whose_type_is_damaged_does_not_end_the_process(
    tmp_path: Path, write_nwb: Write, session: Parts, link: type, part: str
) -> None:
    """libhdf5 crashes when it reads a list of which it does not know the kind, so it must not be asked to."""
    path = write_nwb(tmp_path / "session.nwb", session(**table(link)))
    content = path.read_bytes()
    # A variable-length type: version 1 and class 9, then whether it is text (1) or a list (0)
    text, damaged = b"\x19\x01\x01\x00\x10\x00\x00\x00", b"\x19\x92\x01\x00\x10\x00\x00\x00"
    if part == "attributes":
        text, damaged = b"neurodata_type\0\0" + text, b"neurodata_type\0\0" + damaged
    assert content.count(text) > 5
    path.write_bytes(content.replace(text, damaged))
    script = (
        f"import roiextractors_core as roi; roi.open({str(path)!r}, kind='segmentation', format='nwb-segmentation')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "contains no segmentation" in done.stderr


def test_a_table_that_claims_very_many_rois_is_refused(
    tmp_path: Path, write_nwb: Write, session: Parts, link: type
) -> None:
    path = write_nwb(tmp_path / "session.nwb", session(**{**table(link)}))
    with h5py.File(path, "r+") as file:
        del file[f"{TABLE}/id"]
        file.create_dataset(f"{TABLE}/id", (1 << 40,), "<i8", chunks=(1 << 20,))
    with pytest.raises(CorruptRecordingError, match="at most 1,048,576 whole numbers"):
        opened(path)


# The kit


class TestNwbSegmentation(SegmentationExtractorTests):
    """A table with dense masks, in HDF5."""

    format = "nwb-segmentation"

    @pytest.fixture
    def recording(self, tmp_path: Path, parts: dict[str, Any], write_nwb: Write) -> Path:
        return write_nwb(tmp_path / "session.nwb", parts)

    @pytest.fixture
    def expected(self) -> roi.NumpySegmentationExtractor:
        return roi.NumpySegmentationExtractor(
            dense().transpose(2, 1, 0),
            {"raw": traces(), "neuropil": traces(1000), "dff": traces(2000)},
            roi_ids=["4", "7", "9", "12"],
            images={"mean": mean_image(), "correlation": mean_image() / 100},
            properties={
                "accepted": [True, False, True, True],
                "rejected": [False, True, False, False],
                "snr": [1.5, 2.5, np.nan, 4.5],
                "label": ["soma", "soma", "dendrite", "ä"],
            },
            sampling_frequency=8.0,
            times=np.arange(SAMPLES) / 8.0 + 2.0,
        )


class TestNwbSegmentationZarr(TestNwbSegmentation):
    # A missing attribute or text states nothing, and chunks of masks need not be written where they are 0
    test_a_missing_file_is_an_error_or_said = None

    @pytest.fixture
    def recording(self, tmp_path: Path, parts: dict[str, Any], write_zarr: Write) -> Path:
        return write_zarr(tmp_path / "session.nwb.zarr", parts)


class TestPixelListsOfOneTableOfTwo(TestNwbSegmentation):
    """Lists of pixels, timestamps, and another table in the same file."""

    open_options = {"plane_segmentation": "PlaneSegmentation"}
    # The movies of this format have another option; test_an_imaging_open_of_rois_alone_names_the_kind opens without one
    test_opening_as_a_movie_names_the_kind = None

    @pytest.fixture
    def parts(self, session: Parts, link: type, reference: type) -> dict[str, Any]:
        timing = {"/timestamps": np.arange(SAMPLES) * 0.11 + 3.0}
        columns = {"/pixel_mask": pixels(), "/pixel_mask_index": ends()}
        second = table(link, path=f"{MODULE}/ImageSegmentation/Second", ids=[1, 2], **{"/image_mask": dense(ROIS[:2])})
        return session(
            **{
                **table(link, ids=[3, 2, 1, 0], **columns),
                **response(reference, timing=timing),
                **second,
                **images(mean=mean_image().T),
            }
        )

    @pytest.fixture
    def expected(self) -> roi.NumpySegmentationExtractor:
        return roi.NumpySegmentationExtractor(
            dense().transpose(2, 1, 0),
            traces(),
            roi_ids=["3", "2", "1", "0"],
            images={"mean": mean_image()},
            sampling_frequency=1 / 0.11,
            times=np.arange(SAMPLES) * 0.11 + 3.0,
        )

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"plane_segmentation": ("PlaneSegmentation", "Second")}


class TestLongChunkedTraces(TestNwbSegmentation):
    """Traces of more than a megabyte, in compressed chunks of some ROIs."""

    @pytest.fixture
    def long_traces(self) -> np.ndarray:
        return np.random.default_rng(0).random((100_000, 4)).astype("<f4")

    @pytest.fixture
    def recording(
        self, tmp_path: Path, session: Parts, link: type, reference: type, long_traces: np.ndarray, write_nwb: Write
    ) -> Path:
        path = write_nwb(tmp_path / "session.nwb", session(**{**table(link), **response(reference)}))
        with h5py.File(path, "r+") as file:
            place = f"{FLUORESCENCE}/RoiResponseSeries/data"
            del file[place]
            file.create_dataset(place, data=long_traces, chunks=(4096, 2), compression="gzip", shuffle=True)
        return path

    @pytest.fixture
    def expected(self, long_traces: np.ndarray) -> roi.NumpySegmentationExtractor:
        times = np.arange(len(long_traces)) / 8.0 + 2.0
        return roi.NumpySegmentationExtractor(
            dense().transpose(2, 1, 0), long_traces, sampling_frequency=8.0, times=times
        )
